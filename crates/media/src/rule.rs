//! The rule of one local port: plain data that the call book compiles and a shard runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::counters::StreamCounters;
use crate::pipeline::Pipeline;
use crate::port::{Carries, Egress, LocalPort};

/// Addresses that one rule may learn from.
pub const LEARN_ADDRESSES: usize = 8;
/// Dynamic payload types with a clock of their own in one rule.
pub const DYNAMIC_CLOCKS: usize = 12;

/// Who may send to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePolicy {
    /// Nobody yet (the other side has not answered).
    Nobody,
    /// This address and port, from the SDP.
    Exact(SocketAddr),
    /// A NAT is in front of the peer: learn its address.
    Learn(LearnPolicy),
    /// The address that the port's session names: a pair of ICE that passed a check (RFC 8445 §7).
    Checked,
}

impl SourcePolicy {
    /// The same with the facts of the moment: how many SDPs the party has sent, and whether it may be silent on hold.
    pub fn at(self, spoken: u32, on_hold: bool) -> Self {
        match self {
            Self::Learn(policy) => Self::Learn(LearnPolicy { spoken, on_hold, ..policy }),
            fixed => fixed,
        }
    }
}

/// What may be learnt (T-RTP-04): the signalling source, or addresses of the trunk's media set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnPolicy {
    allowed: [Option<IpAddr>; LEARN_ADDRESSES],
    /// What is learnt is a source only: the peer receives where its SDP says (an asymmetric peer).
    pub source_only: bool,
    /// Changes when new SDP moves the media: learning begins anew. The same value keeps what was learnt over a new rule.
    pub epoch: u32,
    /// Changes with each SDP of the party: one that does not move the media keeps the lock until it is earned anew.
    pub spoken: u32,
    /// The party may be silent because it is on hold: its silence says nothing.
    pub on_hold: bool,
}

impl LearnPolicy {
    /// From a list; addresses beyond [`LEARN_ADDRESSES`] are left out (fewer sources, never more).
    pub fn new(allowed: impl IntoIterator<Item = IpAddr>, epoch: u32) -> Self {
        let mut list = [None; LEARN_ADDRESSES];
        for (slot, ip) in list.iter_mut().zip(allowed) {
            *slot = Some(ip);
        }
        Self { allowed: list, source_only: false, epoch, spoken: 0, on_hold: false }
    }

    /// The same, for a peer that receives elsewhere than it sends from.
    pub fn source_only(self) -> Self {
        Self { source_only: true, ..self }
    }

    /// True when packets of `ip` may be learnt from.
    #[inline]
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.allowed.contains(&Some(ip))
    }

    /// What was learnt under `before` holds under this one.
    pub fn keeps(&self, before: &Self) -> bool {
        let fixed = |p: &Self| (p.allowed, p.source_only, p.epoch);
        fixed(self) == fixed(before)
    }
}

/// Clock rates by payload type: the static ones of RFC 3551 and up to [`DYNAMIC_CLOCKS`] of the SDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockTable([(u8, u32); DYNAMIC_CLOCKS]);

impl ClockTable {
    /// A table that knows the clocks of the static payload types only (RFC 3551 §6).
    pub fn new() -> Self {
        Self::default()
    }

    /// Add or replace one; ignored when the table is full (that payload type then has no jitter figure).
    pub fn set(&mut self, payload_type: u8, hz: u32) {
        let found = self.0.iter_mut().find(|(pt, rate)| *rate == 0 || *pt == payload_type);
        if let Some(slot) = found {
            *slot = (payload_type, hz);
        }
    }

    /// Units a second; 0 when unknown.
    pub fn hz(&self, payload_type: u8) -> u32 {
        if let Some((_, hz)) = self.0.iter().find(|(pt, hz)| *hz != 0 && *pt == payload_type) {
            return *hz;
        }
        match payload_type {
            0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => 8_000,
            6 => 16_000,
            10 | 11 => 44_100,
            16 => 11_025,
            17 => 22_050,
            14 | 25 | 26 | 28 | 31..=34 => 90_000,
            _ => 0,
        }
    }
}

/// Everything a packet path must know about one local port.
///
/// `receive → unprotect? → stages → egress list`: without a [`Pipeline`] that is one egress for each path and nothing in
/// between, the straight code of nearly every packet.
#[derive(Clone, Debug)]
pub struct ForwardRule {
    /// The port this rule is for.
    pub local: LocalPort,
    /// What kind of packets the port carries.
    pub carries: Carries,
    /// SRTP passing through unopened: only the clear header fields are checked and read.
    pub protected: bool,
    /// From whom packets are taken.
    pub source: SourcePolicy,
    /// Where RTP (or raw media) goes; `None` = counted and dropped.
    pub rtp: Option<Egress>,
    /// Where RTCP goes; `None` = counted and dropped.
    pub rtcp: Option<Egress>,
    /// Steps and further egresses; `None` for plain forwarding.
    pub pipeline: Option<Arc<Pipeline>>,
    /// The other port of the pair when RTCP is not muxed: what the RTP port locks is told to the RTCP port.
    pub companion: Option<LocalPort>,
    /// Packets a second let through (T-RTP-11): 2 × the codec's rate + 100; see [`packet_limit`]. 0 = no limit.
    pub max_packets_per_s: u32,
    /// Clock rates for the jitter.
    pub clocks: ClockTable,
    /// Figures of what comes in here. RTP and RTCP port of one side share one.
    pub counters: Arc<StreamCounters>,
    /// Figures of the other direction: reports that come in here speak of it.
    pub reverse: Option<Arc<StreamCounters>>,
}

/// T-RTP-11: 2 × packets a second of the codec + 100, for a packet time in milliseconds (0 = 20 ms).
pub fn packet_limit(ptime_ms: u32) -> u32 {
    let per_s = 1_000u32.checked_div(ptime_ms).filter(|n| *n > 0).unwrap_or(50);
    per_s.saturating_mul(2).saturating_add(100)
}
