//! The commands a relay understands, as typed values (`ref/ng-protocol.md` §2–§4).
//!
//! Byte strings (`Vec<u8>`) hold what SIP carries: Call-IDs, tags and branches are opaque bytes and compare byte for byte.

use std::net::IpAddr;

/// One command to a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // commands live for microseconds; a box would cost more than the bytes
pub enum Command {
    /// Are you there? Answered at once, whatever the load.
    Ping,
    /// SDP of the offering side; the reply carries the SDP for the other side.
    Offer(SdpCommand),
    /// SDP of the answering side (`to_tag` speaks).
    Answer(SdpCommand),
    /// Ends a dialogue or a call; the reply carries its statistics.
    Delete(Delete),
    /// Statistics of a call.
    Query(Query),
    /// Keeps back, or lets pass again, what a party sends.
    Keep(KeepBack),
    /// Plays something to a party, or stops that.
    Play(Play),
    /// Records a call, or stops that.
    Record(Record),
    /// Figures of the whole relay.
    Statistics,
    /// Call-IDs, at most `limit` of them.
    List {
        /// At most so many; 32 when the client named none.
        limit: u64,
    },
}

impl Command {
    /// The call this is about, if any.
    pub fn call_id(&self) -> Option<&[u8]> {
        match self {
            Self::Offer(c) | Self::Answer(c) => Some(&c.call_id),
            Self::Delete(c) => Some(&c.call_id),
            Self::Query(c) => Some(&c.call_id),
            Self::Keep(c) => Some(&c.call_id),
            Self::Play(c) => Some(&c.call_id),
            Self::Record(c) => Some(&c.call_id),
            Self::Ping | Self::List { .. } | Self::Statistics => None,
        }
    }

    /// The `command` value on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Offer(_) => "offer",
            Self::Answer(_) => "answer",
            Self::Delete(_) => "delete",
            Self::Query(_) => "query",
            Self::Keep(c) => c.what.name(),
            Self::Play(c) => c.what.name(),
            Self::Record(c) => c.what.name(),
            Self::List { .. } => "list",
            Self::Statistics => "statistics",
        }
    }
}

/// `offer` or `answer` (`ref/ng-protocol.md` §4).
///
/// In an offer `from_tag` speaks and `to_tag` is absent unless it is a re-offer. In an answer `to_tag` speaks and
/// `from_tag` is who asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SdpCommand {
    /// Call-ID of the SIP dialogue: it names the call.
    pub call_id: Vec<u8>,
    /// From-tag of the SIP message that carries (offer) or carried (answer) the offer.
    pub from_tag: Vec<u8>,
    /// To-tag; required in an answer.
    pub to_tag: Option<Vec<u8>>,
    /// Via branch of the forwarded INVITE: tells early offers of one From-tag apart (forks).
    pub via_branch: Option<Vec<u8>>,
    /// The SDP, at most 65,000 bytes on the wire and 16 KiB by the SDP limits.
    pub sdp: Vec<u8>,
    /// Where the SIP message came from.
    pub received_from: Option<IpAddr>,
    /// Ours (`media-ips`): further source addresses that this side's media may come from (the trunk's media set).
    pub media_ips: Vec<IpAddr>,
    /// What to do with ICE; absent keeps the peer's default.
    pub ice: Option<Ice>,
    /// On which sides we only answer checks (`ICE-lite`).
    pub ice_lite: IceLite,
    /// Transport of the outgoing side's media lines; absent leaves what was offered.
    pub transport_protocol: Option<Transport>,
    /// How RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: RtcpMux,
    /// Which session-level lines to replace.
    pub replace: Replace,
    /// The words of the `flags` list.
    pub flags: Flags,
    /// Logical interfaces, from the speaker's side to the other side.
    pub direction: Option<(Vec<u8>, Vec<u8>)>,
    /// Family of the addresses in the outgoing SDP.
    pub address_family: Option<AddressFamily>,
    /// Shown in the outgoing SDP instead of our own address, when it is of the same family.
    pub media_address: Option<IpAddr>,
    /// DTLS for the outgoing side.
    pub dtls: Option<Dtls>,
    /// `SDES: off`: no SDES keys towards the outgoing side.
    pub sdes_off: bool,
    /// `SDES: pad`: the keys are written with the padding of base 64.
    pub sdes_pad: bool,
    /// `SDES: lifetime`: our `a=crypto` lines name the life of their key, 2^31 packets (RFC 4568 §6.1).
    pub sdes_lifetime: bool,
    /// `SDES: no-SUITE`: suites that are not used.
    pub sdes_no: Vec<Vec<u8>>,
    /// `SDES: only-SUITE`: no others are used.
    pub sdes_only: Vec<Vec<u8>>,
    /// DSCP and ECN byte of the call's outgoing packets: 0–255; negative leaves it as it is; 256 and more is the default.
    pub tos: Option<i64>,
    /// `codec`: which codecs the other side gets to see. Nothing is transcoded yet.
    pub codec: Codecs,
    /// `sdp-attr`: attributes of the outgoing SDP to add, remove or replace.
    pub attributes: Vec<AttributeEdits>,
    /// `sdp-media-remove`: kinds of media sections that the other side must not use.
    pub media_remove: Vec<Vec<u8>>,
    /// Label of the speaking party.
    pub label: Option<Vec<u8>>,
    /// Free text kept with the call.
    pub metadata: Option<Vec<u8>>,
    /// `record-call`: the call is recorded from now on, or no more; `None` changes nothing.
    pub record: Option<bool>,
    /// What the client calls files of a recording: `recording-file` and the like, by key. Never a name of ours (T-NG-05).
    pub file_names: Vec<(&'static str, Vec<u8>)>,
    /// Who is told when the call's media times out, instead of the client that set it up.
    pub xmlrpc_callback: Option<IpAddr>,
}

impl SdpCommand {
    /// A plain command with everything optional left at its default.
    pub fn new(call_id: impl Into<Vec<u8>>, from_tag: impl Into<Vec<u8>>, sdp: impl Into<Vec<u8>>) -> Self {
        Self { call_id: call_id.into(), from_tag: from_tag.into(), sdp: sdp.into(), ..Self::default() }
    }
}

/// `delete`: a From-tag (and branch) ends one side's dialogue; the last one ends the call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delete {
    /// Call-ID of the call to end.
    pub call_id: Vec<u8>,
    /// Absent: the whole call.
    pub from_tag: Option<Vec<u8>>,
    /// Looked at only with flag `to-tag`.
    pub to_tag: Option<Vec<u8>>,
    /// Only the dialogue of this branch.
    pub via_branch: Option<Vec<u8>>,
    /// Seconds in which media still flows; absent means the relay's default. Our own proxy sends 0.
    pub delete_delay: Option<u64>,
    /// Flag `fatal`: an unknown call is an error instead of a warning.
    pub fatal: bool,
    /// Flag `to-tag`: `to_tag` must match too.
    pub match_to_tag: bool,
    /// Flag `fast`: no statistics in the reply.
    pub fast: bool,
}

impl Delete {
    /// Ends the whole call at once.
    pub fn call(call_id: impl Into<Vec<u8>>) -> Self {
        Self { call_id: call_id.into(), delete_delay: Some(0), ..Self::default() }
    }
}

/// `query`: tags narrow the parties that are reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Call-ID of the call that is asked about.
    pub call_id: Vec<u8>,
    /// Only this party and those it talks to.
    pub from_tag: Option<Vec<u8>>,
    /// Only this party and those it talks to.
    pub to_tag: Option<Vec<u8>>,
}

/// What of a party's media a [`KeepBack`] is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kept {
    /// All media: nothing of it passes.
    #[default]
    Media,
    /// What is said: silence passes instead.
    Voice,
    /// Telephone events (RFC 4733).
    Dtmf,
}

/// `block media`, `silence media` and `block DTMF`, and their opposites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAction {
    /// What is kept back.
    pub what: Kept,
    /// It passes again from now on.
    pub ends: bool,
}

impl KeepAction {
    /// All of them, with the `command` value on the wire.
    pub const ALL: [(&'static str, Self); 6] = [
        ("block media", Self { what: Kept::Media, ends: false }),
        ("unblock media", Self { what: Kept::Media, ends: true }),
        ("silence media", Self { what: Kept::Voice, ends: false }),
        ("unsilence media", Self { what: Kept::Voice, ends: true }),
        ("block DTMF", Self { what: Kept::Dtmf, ends: false }),
        ("unblock DTMF", Self { what: Kept::Dtmf, ends: true }),
    ];

    /// The `command` value on the wire.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// A command about what one party of a call sends, or all of them (`ref/ng-protocol.md` §2, party selection).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepBack {
    /// Call-ID of the call.
    pub call_id: Vec<u8>,
    /// What is to be done.
    pub what: KeepAction,
    /// Only this party; looked at with `directional` alone.
    pub from_tag: Option<Vec<u8>>,
    /// Only the party of this label.
    pub label: Option<Vec<u8>>,
    /// Only the party whose SDP names this media address.
    pub address: Option<IpAddr>,
    /// Flag `directional`: the From-tag names a party.
    pub directional: bool,
}

/// Where the sound of `play media` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    /// `file`: a name in the folder of sounds.
    File(Vec<u8>),
    /// `blob`: the file itself.
    Blob(Vec<u8>),
    /// `blob64`: the same in base 64.
    Blob64(Vec<u8>),
    /// `db-id`: a number in a database, which we have not.
    Database,
}

/// What a [`Play`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayAction {
    /// `play media`: the party hears a sound instead of the others.
    Media {
        /// Where it comes from; `None`: the command did not say.
        sound: Option<Sound>,
        /// How often; 0 = not said: once, or as often as the time lets it.
        times: u32,
        /// Milliseconds at most, all passes together; 0 = no limit.
        limit_ms: u64,
        /// Where the first pass begins, in milliseconds.
        start_ms: u64,
    },
    /// `stop media`: the others are heard again.
    Stop,
    /// `play DTMF`: the others hear a key of the party.
    Dtmf {
        /// Number of the event (RFC 4733 §3.2); `None`: none of the sixteen keys.
        event: Option<u8>,
        /// How long the key is pressed, in milliseconds.
        duration_ms: u32,
        /// Milliseconds until the next one.
        pause_ms: u32,
        /// dBm0 below nothing, 0 to 63.
        volume: u8,
    },
}

impl PlayAction {
    /// The `command` value on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Media { .. } => "play media",
            Self::Stop => "stop media",
            Self::Dtmf { .. } => "play DTMF",
        }
    }
}

/// A command that plays something in a call (`ref/ng-protocol.md` §2). One party is named, or all are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Play {
    /// Call-ID of the call.
    pub call_id: Vec<u8>,
    /// What is to be done.
    pub what: PlayAction,
    /// The party of this tag.
    pub from_tag: Option<Vec<u8>>,
    /// The party of this label.
    pub label: Option<Vec<u8>>,
    /// The party whose SDP names this media address.
    pub address: Option<IpAddr>,
    /// `all`: every party is meant.
    pub all: bool,
}

/// What a [`Record`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordAction {
    /// `start recording`: of all media of the call; one that pauses goes on.
    Start,
    /// `pause recording`, or `stop recording` with `pause=yes`: nothing is written until it is started again.
    Pause,
    /// `stop recording`: its files are complete.
    Stop,
}

impl RecordAction {
    /// All of them, with the `command` value on the wire.
    pub const ALL: [(&'static str, Self); 3] =
        [("start recording", Self::Start), ("pause recording", Self::Pause), ("stop recording", Self::Stop)];

    /// The `command` value on the wire.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// A command about the recording of a call (`ref/ng-protocol.md` §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Call-ID of the call.
    pub call_id: Vec<u8>,
    /// What is to be done.
    pub what: RecordAction,
    /// Free text kept with the call and its recording.
    pub metadata: Option<Vec<u8>>,
    /// What the client calls the files, by key. Never a name of ours (T-NG-05).
    pub file_names: Vec<(&'static str, Vec<u8>)>,
}

/// Keys that name files of a recording.
pub const FILE_KEYS: [&str; 4] =
    ["recording-file", "recording-dir", "recording-pattern", "output-destination"];

/// Number of the event of a key (RFC 4733 §3.2): `0` to `9`, `*`, `#`, `A` to `D`, or the number itself.
pub fn dtmf_event(text: &[u8]) -> Option<u8> {
    const KEYS: &[u8] = b"0123456789*#ABCD";
    if let [key] = text {
        let key = key.to_ascii_uppercase();
        return KEYS.iter().position(|k| *k == key).and_then(|at| u8::try_from(at).ok());
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|n| *n < 16)
}

/// `ICE-lite` key: where we only answer checks (RFC 8445 §2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IceLite {
    /// Towards the side that gets the offer.
    pub forward: bool,
    /// Towards the side that made it.
    pub backward: bool,
}

/// `ICE` key: what the other side is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ice {
    /// Strip the ICE attributes of the SDP.
    Remove,
    /// Strip theirs, add only ours.
    Force,
    /// As `force` when the SDP had ICE, else none.
    Default,
    /// Add ours at low priority.
    Optional,
    /// As force, with relay candidates.
    ForceRelay,
}

/// `transport-protocol` key (RFC 3551, 3711, 4585, 5124, 5764).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Plain RTP: `RTP/AVP` (RFC 3551).
    RtpAvp,
    /// RTP with early feedback: `RTP/AVPF` (RFC 4585).
    RtpAvpf,
    /// SRTP with keys in the SDP: `RTP/SAVP` (RFC 3711).
    RtpSavp,
    /// SRTP with early feedback: `RTP/SAVPF` (RFC 5124).
    RtpSavpf,
    /// SRTP with keys by DTLS: `UDP/TLS/RTP/SAVP` (RFC 5764).
    UdpTlsRtpSavp,
    /// The same with early feedback: `UDP/TLS/RTP/SAVPF` (RFC 5764).
    UdpTlsRtpSavpf,
    /// `accept`: in an answer, take a protocol that the answerer changed.
    Accept,
}

impl Transport {
    /// Text on the wire and in SDP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RtpAvp => "RTP/AVP",
            Self::RtpAvpf => "RTP/AVPF",
            Self::RtpSavp => "RTP/SAVP",
            Self::RtpSavpf => "RTP/SAVPF",
            Self::UdpTlsRtpSavp => "UDP/TLS/RTP/SAVP",
            Self::UdpTlsRtpSavpf => "UDP/TLS/RTP/SAVPF",
            Self::Accept => "accept",
        }
    }

    /// The protocol of that text; `None` for any other.
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        [
            Self::RtpAvp,
            Self::RtpAvpf,
            Self::RtpSavp,
            Self::RtpSavpf,
            Self::UdpTlsRtpSavp,
            Self::UdpTlsRtpSavpf,
            Self::Accept,
        ]
        .into_iter()
        .find(|t| t.as_str().as_bytes() == text)
    }
}

/// `DTLS` key: whether the outgoing side speaks DTLS, and in which role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtls {
    /// No DTLS towards the outgoing side.
    Off,
    /// Prefer the passive role.
    Passive,
    /// Prefer the active role.
    Active,
}

/// `rtcp-mux` list (RFC 5761).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtcpMux {
    /// Offer muxing to the other side even when it was not offered to us.
    pub offer: bool,
    /// Offer muxing only (RTCP port = RTP port in the offer).
    pub require: bool,
    /// Muxed on the offerer's side, never offered on.
    pub demux: bool,
    /// Accept muxing of the offerer even when the other side does not.
    pub accept: bool,
    /// Never accept muxing, of neither side.
    pub reject: bool,
}

/// One entry of `sdp-attr`. Values are what follows `a=`; those with a line end or another control character are left
/// out on reading, because they would write lines of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeEdits {
    /// `audio`, `video` …; empty is the part before the first `m=` (`none` and `global` on the wire).
    pub kind: Vec<u8>,
    /// Added at the end of the section.
    pub add: Vec<Vec<u8>>,
    /// Taken out: the whole value, or the name alone for all attributes of that name.
    pub remove: Vec<Vec<u8>>,
    /// Whole values and what to write instead.
    pub substitute: Vec<(Vec<u8>, Vec<u8>)>,
}

/// `codec` dictionary (or flags `codec-OP-NAME`): the operations that only take codecs away. Names are those of
/// `a=rtpmap`, in any case; `all` and `full` mean every codec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codecs {
    /// Take out of the outgoing SDP.
    pub strip: Vec<Vec<u8>>,
    /// Keep these where present, in this order, when everything else is stripped.
    pub offer: Vec<Vec<u8>>,
    /// Keep these when everything else is stripped.
    pub except: Vec<Vec<u8>>,
    /// Hide from the other side. Without a transcoder that is as good as `strip`.
    pub mask: Vec<Vec<u8>>,
    /// Hide from the other side, as `mask` does.
    pub consume: Vec<Vec<u8>>,
    /// As if never offered.
    pub ignore: Vec<Vec<u8>>,
}

/// `replace` list: what of the session lines is written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replace {
    /// The address in `o=` becomes the one that media goes to.
    pub origin: bool,
    /// Whole `o=` line: address, user name, session id and version.
    pub origin_full: bool,
    /// `s=` stays what the receiver was told first.
    pub session_name: bool,
    /// User name in `o=` stays what the receiver was told first.
    pub username: bool,
    /// Count the version in `o=` up only when the SDP changed.
    pub sdp_version: bool,
    /// Count it up always.
    pub force_increment_sdp_version: bool,
    /// Replace `c=` 0.0.0.0 like any other address.
    pub zero_address: bool,
}

/// `flags` list: those that mean something here. Unknown ones are dropped on reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `trust-address`: media address from the SDP (the default).
    pub trust_address: bool,
    /// `SIP-source-address`: media address is where the SIP message came from.
    pub sip_source_address: bool,
    /// `symmetric` (the peer's default; here learning is decided by PRODUCT §6 alone).
    pub symmetric: bool,
    /// `asymmetric`: the peer receives where its SDP says and sends from another port of that address.
    pub asymmetric: bool,
    /// `strict-source`: the default here, accepted for compatibility.
    pub strict_source: bool,
    /// `no-rtcp-attribute`: no `a=rtcp` in the outgoing SDP.
    pub no_rtcp_attribute: bool,
    /// `full-rtcp-attribute`: `a=rtcp` with address.
    pub full_rtcp_attribute: bool,
    /// `original-sendrecv`: keep the media direction attribute as it is.
    pub original_sendrecv: bool,
    /// `loop-protect`: mark SDP that went through us, and pass it unchanged when it comes again.
    pub loop_protect: bool,
    /// `port-latching`: keep local ports when the remote port changes.
    pub port_latching: bool,
    /// `no-port-latching`: take new local ports when the remote port changes.
    pub no_port_latching: bool,
    /// `unidirectional`: accepted for compatibility; it changes nothing here.
    pub unidirectional: bool,
    /// `reset`: forget what was learnt of this side.
    pub reset: bool,
    /// `generate-mid`: give an `a=mid` to media sections that have none.
    pub generate_mid: bool,
    /// `provisional`: this answer came in an 18x; the call is still ringing, and silence does not end it.
    pub provisional: bool,
}

/// `address-family` key: the family of the addresses in the outgoing SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFamily {
    /// IPv4, `IP4` on the wire.
    Ip4,
    /// IPv6, `IP6` on the wire.
    Ip6,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_which_call_it_is_about() {
        let call_id = b"c1".to_vec();
        let of_a_call = [
            Command::Delete(Delete { call_id: call_id.clone(), ..Delete::default() }),
            Command::Query(Query { call_id: call_id.clone(), ..Query::default() }),
            Command::Keep(KeepBack { call_id, ..KeepBack::default() }),
        ];
        for command in of_a_call {
            assert_eq!(command.call_id(), Some(&b"c1"[..]), "{}", command.name());
        }
        for command in [Command::Ping, Command::Statistics, Command::List { limit: 1 }] {
            assert_eq!(command.call_id(), None, "{}", command.name());
        }
    }
}
