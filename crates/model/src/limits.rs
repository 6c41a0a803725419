//! Limits of what strangers may send, with what happens when full (`ref/threats-and-faults` §1).
//! Those that an operator may change are defaults of a package's `Config`.

/// SIP over UDP: bytes read of one datagram. A larger one cannot exist.
pub const SIP_UDP_BYTES: usize = 65_507;
/// SIP over TCP: bytes of one message. When exceeded: 513, then close.
pub const SIP_STREAM_BYTES: usize = 65_536;
/// Bytes of all header lines of one message. When exceeded: 513.
pub const SIP_HEADER_BYTES: usize = 16_384;
/// Bytes of one header value on a stream. When exceeded: 513, then close.
pub const SIP_HEADER_VALUE_BYTES: usize = 8_192;
/// Header lines of one message. When exceeded: 400.
pub const SIP_HEADERS: usize = 128;
/// Via values. When exceeded: 400.
pub const SIP_VIAS: usize = 70;
/// Route and Record-Route values together. When exceeded: 400.
pub const SIP_ROUTES: usize = 70;
/// Contact values. When exceeded: 400.
pub const SIP_CONTACTS: usize = 32;
/// Bytes of one URI. When exceeded: 414 for the Request-URI, 400 elsewhere.
pub const SIP_URI_BYTES: usize = 1_024;
/// Parameters of one URI or header value. When exceeded: 400.
pub const SIP_PARAMS: usize = 64;
/// Transactions of all kinds in one process. When full: 503 + Retry-After to INVITE, drop of others.
pub const SIP_TRANSACTIONS: usize = 1_000_000;
/// Calls in the air of one shard. When full: 503 + Retry-After to new ones but emergency calls (G-2).
pub const SIP_CALLS: usize = 200_000;
/// Server transactions of one stranger. When full: 503 + Retry-After to INVITE, drop of others.
pub const SIP_TRANSACTIONS_PER_STRANGER: usize = 10_000;
/// Streams of one source, and in all. When full: refused at accept; a quarter of the total is kept for known peers.
pub const SIP_STREAMS_PER_SOURCE: usize = 64;
/// Connections of SIP over TCP that a node holds, over all sources ([`SIP_STREAMS_PER_SOURCE`]).
pub const SIP_STREAMS: usize = 20_000;
/// Seconds until the first whole message on a new stream. When exceeded: close.
pub const SIP_STREAM_FIRST_MESSAGE_S: u64 = 5;
/// Seconds of silence on a stream. When exceeded: close.
pub const SIP_STREAM_IDLE_S: u64 = 120;

/// SDP: bytes, media lines, formats and attributes of one media line. When exceeded: 488. A browser's offer of video has
/// some 200 attributes a section, and of audio and video together some 20 kB; payload types are at most 128.
pub const SDP_BYTES: usize = 32_768;
/// Media sections (`m=`) of one SDP. When exceeded: 488.
pub const SDP_MEDIA: usize = 16;
/// Formats of one media section. When exceeded: 488.
pub const SDP_FORMATS: usize = 128;
/// Attributes (`a=`) of one media section. When exceeded: 488.
pub const SDP_ATTRIBUTES: usize = 512;

/// ng: bytes of one datagram, nesting depth, elements, bytes of one string. When exceeded: `result: error`.
pub const NG_BYTES: usize = 65_507;
/// Lists and dictionaries within one another in an ng message. When exceeded: `result: error`.
pub const NG_DEPTH: usize = 16;
/// Elements of an ng message, over all its lists and dictionaries. When exceeded: `result: error`.
pub const NG_ELEMENTS: usize = 4_096;
/// Bytes of one string of an ng message. When exceeded: `result: error`.
pub const NG_STRING_BYTES: usize = 65_000;
/// ng replies kept for repeated cookies (T-NG-03). When full: the oldest goes.
pub const NG_COOKIES: usize = 65_536;

/// HTTP: bytes of all headers (431), of a body (413), JSON depth (400).
pub const HTTP_HEADER_BYTES: usize = 16_384;
/// See [`HTTP_HEADER_BYTES`]. Deck uploads have their own limit.
pub const HTTP_BODY_BYTES: usize = 1_048_576;
/// Lists and objects within one another in a JSON body.
pub const JSON_DEPTH: usize = 64;
