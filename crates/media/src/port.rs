//! Names of the packet path's places: local ports, what they carry, the two paths out of a rule, and why a packet stops.

use std::net::SocketAddr;

/// A local UDP port: index of the address in the relay's list, and the port number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPort {
    /// Index into the relay's list of local addresses.
    pub ip: u8,
    /// UDP port number, in host order.
    pub port: u16,
}

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// RTP; RTCP has a port of its own.
    Rtp,
    /// RTCP alone, beside an RTP port.
    Rtcp,
    /// RTP and RTCP (RFC 5761).
    Mux,
    /// Anything from the right source, unread: T.38 UDPTL and other non-RTP media.
    Raw,
}

/// Why a packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Neither RTP nor RTCP, or its lengths are wrong.
    Malformed,
    /// Right shape on the wrong port (RTCP on an RTP-only port, STUN or DTLS that no session awaits).
    Kind,
    /// Not from the expected address and port.
    Source,
    /// Over the port's packet limit.
    Rate,
    /// Nowhere to send it yet.
    NoDestination,
    /// SRTP without a valid tag (T-RTP-05).
    SrtpAuth,
    /// SRTP that came before, or too late to be known.
    SrtpReplay,
}

impl DropReason {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All, in the order of [`DropReason::index`].
    pub const ALL: [DropReason; Self::COUNT] = [
        Self::Malformed,
        Self::Kind,
        Self::Source,
        Self::Rate,
        Self::NoDestination,
        Self::SrtpAuth,
        Self::SrtpReplay,
    ];

    /// Place in arrays of counters.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Which of the two ways through a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaPath {
    /// RTP, ZRTP and raw media.
    Rtp = 0,
    /// Sender and receiver reports and what else RTCP carries.
    Rtcp = 1,
}

/// Where packets of one kind leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Our port towards the receiver: packets carry it as their source.
    pub port: LocalPort,
    /// The receiver by its SDP. `None`: wait until `port` has heard its peer. A learnt peer of `port` goes first, a candidate
    /// too.
    pub to: Option<SocketAddr>,
}
