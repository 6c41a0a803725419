//! The replies of a relay, as typed values (`ref/ng-protocol.md` §1 errors, §5 statistics).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use warp_model::cdr::StreamFigures;
use warp_model::now::Wall;

use crate::statistics::RelayStatistics;

/// One reply of a relay.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The reply to `ping`.
    Pong,
    /// Done, with nothing else to say.
    Ok {
        /// Non-fatal trouble, for example an unknown call at `delete`.
        warning: Option<Cow<'static, str>>,
    },
    /// To `offer` and `answer`: the SDP for the other side.
    Sdp {
        /// The whole SDP to pass on.
        sdp: Vec<u8>,
        /// Trouble that ends nothing, in words.
        warning: Option<Cow<'static, str>>,
        /// Paths of the files of the call's recordings, when it is recorded.
        recordings: Vec<Vec<u8>>,
    },
    /// To `play media`: milliseconds of the sound.
    Playing {
        /// `duration` on the wire.
        duration_ms: u64,
    },
    /// To `stop media`: where it stood, in milliseconds.
    Stopped {
        /// `last-frame-pos` on the wire.
        position_ms: u64,
    },
    /// To `query` and `delete`.
    Stats(Box<CallStats>),
    /// The reply to `statistics`.
    Statistics(Box<RelayStatistics>),
    /// The reply to `list`: the call-ids.
    Calls(Vec<Vec<u8>>),
    /// Refused or failed; the exact texts are in [`reasons`].
    Error {
        /// Why, in words: `error-reason`.
        reason: Cow<'static, str>,
    },
    /// Full. To clients without `supports: load limit` the codec writes an ordinary error of the same text.
    LoadLimit {
        /// One of the `LIMIT_…` texts in [`reasons`].
        message: Cow<'static, str>,
    },
}

impl Reply {
    /// An error of a fixed text.
    pub const fn error(reason: &'static str) -> Self {
        Self::Error { reason: Cow::Borrowed(reason) }
    }

    /// True for everything but `Error` and `LoadLimit`.
    pub fn is_ok(&self) -> bool {
        !matches!(self, Self::Error { .. } | Self::LoadLimit { .. })
    }
}

/// Texts that clients compare or operators search for (`ref/ng-protocol.md` §1).
pub mod reasons {
    #![allow(missing_docs)] // each constant is its own text
    pub const NO_PAYLOAD: &str = "Invalid data (no payload)";
    pub const INVALID_FORMAT: &str = "Invalid NG data format";
    pub const BAD_BENCODE: &str = "Could not decode bencode dictionary";
    pub const BAD_JSON: &str = "Failed to parse JSON document";
    pub const BAD_JSON_DICTIONARY: &str = "Could not decode JSON dictionary";
    pub const NO_COMMAND: &str = "Dictionary contains no key \"command\"";
    pub const UNRECOGNIZED_COMMAND: &str = "Unrecognized command";
    pub const NO_HANDLER: &str = "No command handler";
    pub const NO_SDP: &str = "No SDP body in message";
    pub const NO_CALL_ID: &str = "No call-id in message";
    pub const NO_FROM_TAG: &str = "No from-tag in message";
    pub const NO_TO_TAG: &str = "No to-tag in message";
    pub const BAD_SDP: &str = "Failed to parse SDP";
    pub const INCOMPLETE_SDP: &str = "Incomplete SDP specification";
    pub const UNKNOWN_CALL_ID: &str = "Unknown call-id";
    pub const UNKNOWN_CALL_ID_OTHERS: &str = "Unknown call-ID";
    pub const NO_LABEL: &str = "No monologue matching the given label";
    pub const NO_ADDRESS: &str = "Failed to match address to any tag";
    pub const NO_SUCH_TAG: &str = "From-tag given, but no such tag exists";
    pub const NOT_FOUND: &str = "Call-ID not found or tags didn't match";
    pub const INVALID_DIALOGUE: &str = "Invalid dialogue association";
    pub const REWRITING_SDP: &str = "Error rewriting SDP";
    pub const OUT_OF_PORTS: &str = "Ran out of ports";
    pub const NO_MEDIA_FILE: &str = "No media file specified";
    pub const PLAY_FILE: &str = "Failed to start media playback from file";
    pub const PLAY_BLOB: &str = "Failed to start media playback from blob";
    pub const PLAY_DATABASE: &str = "Failed to start media playback from database";
    pub const NOT_PLAYING: &str = "Not currently playing media";
    pub const NO_PARTY: &str = "No participant party specified";
    pub const NO_DTMF_SOURCE: &str = "Monologue has no media capable of DTMF injection";
    pub const NO_DTMF_SINK: &str = "There is no sink media capable of DTMF playback";
    pub const DTMF_CODE: &str = "Out of range 'code' specified";
    pub const INVALID_LIMIT: &str = "invalid limit, must be >= 0";
    pub const LIMIT_SESSIONS: &str = "Parallel session limit reached";
    pub const LIMIT_CPU: &str = "CPU usage limit exceeded";
    pub const LIMIT_LOAD: &str = "Load limit exceeded";
    pub const LIMIT_BANDWIDTH: &str = "Bandwidth limit exceeded";

    /// True for an `error-reason` of this text, also when its author says behind it where and why
    /// (`Failed to parse SDP: bad m= line (line 5, byte 83)`).
    pub fn is(reason: &str, text: &str) -> bool {
        reason.strip_prefix(text).is_some_and(|more| more.is_empty() || more.starts_with(':'))
    }

    /// True when the SDP is to blame, and not the relay or its load: a proxy answers 488.
    pub fn is_of_sdp(reason: &str) -> bool {
        [BAD_SDP, INCOMPLETE_SDP, NO_SDP, REWRITING_SDP].iter().any(|text| is(reason, text))
    }
}

/// Packet counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many packets were counted.
    pub packets: u64,
    /// Bytes of the UDP payload.
    pub bytes: u64,
    /// Packets dropped or failed.
    pub errors: u64,
}

impl Counts {
    /// The sum of both, which stops at the largest number.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
            errors: self.errors.saturating_add(other.errors),
        }
    }
}

/// Statistics of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallStats {
    /// When the first offer came.
    pub created: Wall,
    /// Last offer or answer.
    pub last_signal: Wall,
    /// Free text that the client left with the call.
    pub metadata: Option<Vec<u8>>,
    /// RTP packets received of all parties.
    pub rtp: Counts,
    /// RTCP packets received of all parties.
    pub rtcp: Counts,
    /// Sources seen, in order of SSRC.
    pub ssrcs: Vec<SsrcStats>,
    /// Parties, in order of appearance.
    pub tags: Vec<TagStats>,
}

impl CallStats {
    /// What the party `tag` sent, over all its RTP streams: sums of counters, the worst jitter, the lowest average MOS.
    /// For call records: `figures_from(caller's tag)` is the direction to the callee. Zeros for an unknown tag.
    pub fn figures_from(&self, tag: &[u8]) -> StreamFigures {
        let mut out = StreamFigures::default();
        let streams = self
            .tags
            .iter()
            .filter(|t| t.tag == tag)
            .flat_map(|t| &t.medias)
            .flat_map(|m| &m.streams)
            .filter(|s| !s.rtcp);
        for stream in streams {
            out.packets = out.packets.saturating_add(stream.received.packets);
            out.bytes = out.bytes.saturating_add(stream.received.bytes);
            // Both sides may use one SSRC (an echo does): what the stream itself knows goes first.
            let by_ssrc = || self.ssrcs.iter().find(|s| Some(s.ssrc) == stream.ssrc);
            if let Some(source) = stream.source.as_ref().or_else(by_ssrc) {
                out.lost = out.lost.saturating_add(source.lost);
                out.jitter_us = out.jitter_us.max(source.average.jitter_us);
                if let Some(mos) = source.average.mos_x100 {
                    out.mos_x100 = Some(out.mos_x100.map_or(mos, |m| m.min(mos)));
                }
            }
        }
        out
    }
}

/// Figures of one RTP source (SSRC).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SsrcStats {
    /// The SSRC of the RTP stream.
    pub ssrc: u32,
    /// RTP packets received from the source.
    pub packets: u64,
    /// The bytes of those packets.
    pub bytes: u64,
    /// Cumulative loss (RFC 3550 A.3), never below zero here.
    pub lost: u64,
    /// RTP timestamp of its last packet.
    pub last_timestamp: u32,
    /// Last RTP sequence number.
    pub last_sequence: u32,
    /// Over the whole stream.
    pub average: MosFigures,
    /// At its worst; absent when never measured.
    pub lowest: Option<MosFigures>,
    /// At its best; absent when never measured.
    pub highest: Option<MosFigures>,
    /// Over time, in order.
    pub progression: Vec<MosFigures>,
    /// Seconds between two of them.
    pub progression_s: u64,
}

/// Quality figures. On the wire MOS is × 10, jitter in ms, round-trip time in µs, loss in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MosFigures {
    /// Mean opinion score × 100 (100 to 450); absent without enough packets.
    pub mos_x100: Option<u16>,
    /// Round-trip time from end to end in µs; 0 when unknown.
    pub round_trip_us: u64,
    /// Between the relay and the receiver of the stream, µs; 0 when unknown.
    pub round_trip_leg_us: u64,
    /// Interarrival jitter in µs (RFC 3550 A.8).
    pub jitter_us: u64,
    /// Packet loss in percent.
    pub loss_percent: u64,
    /// How many measurements the figures are made of.
    pub samples: u64,
    /// When, for the lowest and the highest.
    pub reported_at: Option<Wall>,
}

/// A party of a call, with its media.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TagStats {
    /// SIP tag; empty while nameless (before its first answer).
    pub tag: Vec<u8>,
    /// Branch of its early dialogue.
    pub via_branch: Option<Vec<u8>>,
    /// The label that the proxy gave it.
    pub label: Option<Vec<u8>>,
    /// When the party appeared in the call.
    pub created: Wall,
    /// Tags of the parties it talks to (`subscriptions`, and `in dialogue with` for old clients).
    pub peers: Vec<Vec<u8>>,
    /// Media sections in the order of the SDP.
    pub medias: Vec<MediaStats>,
}

/// One media section of a party.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaStats {
    /// 1, 2, 3 …
    pub index: u32,
    /// Kind of media, as in `m=`: `audio`, `video` …
    pub kind: Vec<u8>,
    /// Protocol as in `m=`: `RTP/AVP` and others.
    pub protocol: Vec<u8>,
    /// First codec of the party's SDP, for example `PCMU/8000`; empty when there is none.
    pub codec: Vec<u8>,
    /// The state of the media, as flags.
    pub flags: MediaFlags,
    /// RTP, then RTCP unless multiplexed.
    pub streams: Vec<StreamStats>,
}

/// State of a media section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaFlags {
    /// Both sides of the section are known.
    pub initialized: bool,
    /// RTCP on the RTP port.
    pub rtcp_mux: bool,
    /// SRTP goes through unopened.
    pub passthrough: bool,
    /// SRTP with keys of the SDP is opened and made here.
    pub sdes: bool,
    /// SRTP with keys of a DTLS handshake is opened and made here.
    pub dtls: bool,
    /// Its packets come from who passed a check of ICE.
    pub ice: bool,
    /// We decide on the pair of candidates.
    pub ice_controlling: bool,
    /// The party receives elsewhere than it sends from.
    pub asymmetric: bool,
    /// Its SDP is checked for loops.
    pub loop_check: bool,
    /// The party may send.
    pub send: bool,
    /// The party may receive.
    pub recv: bool,
}

/// One stream (RTP or RTCP) of a media section.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamStats {
    /// Our address and port.
    pub local: SocketAddr,
    /// Where its packets come from, as learnt or signalled.
    pub endpoint: Option<SocketAddr>,
    /// Where the SDP says they come from.
    pub advertised: Option<SocketAddr>,
    /// When the last packet was received; `None` before the first.
    pub last_packet: Option<Wall>,
    /// The SSRC that was seen; `None` = none yet.
    pub ssrc: Option<u32>,
    /// It carries RTCP; otherwise it carries RTP.
    pub rtcp: bool,
    /// A packet of the right source came.
    pub confirmed: bool,
    /// Packets received of the party.
    pub received: Counts,
    /// Packets sent to the party.
    pub sent: Counts,
    /// The source of this very stream. In process only: on the wire sources are listed by SSRC.
    pub source: Option<SsrcStats>,
}

impl StreamStats {
    /// Our address, without the port.
    pub fn local_ip(&self) -> IpAddr {
        self.local.ip()
    }
}
