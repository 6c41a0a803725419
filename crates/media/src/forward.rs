//! The packet fast path: what may enter a local port, and where it goes.
//!
//! A [`ForwardRule`] is plain data, one per local UDP port: the user-space shard runs it through [`RuleState::apply`], and a
//! kernel path could be filled from the same values. Invariants: the source (address **and** port) is checked on every
//! packet (T-RTP-01…03); an address is learnt only from the rule's list and locked after [`LOCK_RUN`] packets in sequence
//! of one SSRC, and never again without a new rule (T-RTP-04); nothing in here allocates, blocks or reads a clock.
//! Absent on purpose: sockets, SRTP, and any decision on calls (an RTCP BYE passes and ends nothing, T-RTP-08).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use warp_model::Mono;

use crate::counters::{StreamCounters, bump};
use crate::quality::{Jitter, SeqEvent, SeqTracker};
use crate::rtcp::{self, Compound, Item};
use crate::rtp::{PacketClass, RtpView, classify};

/// Packets in sequence of one SSRC from one source that lock a learnt address (T-RTP-04).
pub const LOCK_RUN: u8 = 5;
/// Addresses that one rule may learn from.
pub const LEARN_ADDRESSES: usize = 8;
/// Dynamic payload types with a clock of their own in one rule.
pub const DYNAMIC_CLOCKS: usize = 12;

/// A local UDP port: index of the address in the relay's list, and the port number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPort {
    /// Index into the relay's list of local addresses.
    pub ip: u8,
    /// UDP port.
    pub port: u16,
}

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// RTP; RTCP has a port of its own.
    Rtp,
    /// RTCP only.
    Rtcp,
    /// RTP and RTCP (RFC 5761).
    Mux,
    /// Anything from the right source, unread: T.38 UDPTL and other non-RTP media.
    Raw,
}

/// Who may send to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePolicy {
    /// Nobody yet (the other side has not answered).
    Nobody,
    /// This address and port, from the SDP.
    Exact(SocketAddr),
    /// A NAT is in front of the peer: learn its address.
    Learn(LearnPolicy),
}

/// What may be learnt (T-RTP-04): the signalling source, or addresses of the trunk's media set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnPolicy {
    allowed: [Option<IpAddr>; LEARN_ADDRESSES],
    /// What is learnt is a source only: the peer receives where its SDP says (an asymmetric peer).
    pub source_only: bool,
    /// Changes when new SDP allows learning again; the same value keeps what was learnt over a new rule.
    pub epoch: u32,
}

impl LearnPolicy {
    /// From a list; addresses beyond [`LEARN_ADDRESSES`] are left out (fewer sources, never more).
    pub fn new(allowed: impl IntoIterator<Item = IpAddr>, epoch: u32) -> Self {
        let mut list = [None; LEARN_ADDRESSES];
        for (slot, ip) in list.iter_mut().zip(allowed) {
            *slot = Some(ip);
        }
        Self { allowed: list, source_only: false, epoch }
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
}

/// Where packets of one kind leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Our port towards the receiver: packets carry it as their source.
    pub port: LocalPort,
    /// The receiver by its SDP. `None`: wait until `port` has learnt its peer. A learnt peer of `port` goes first.
    pub to: Option<SocketAddr>,
}

/// Clock rates by payload type: the static ones of RFC 3551 and up to [`DYNAMIC_CLOCKS`] of the SDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockTable([(u8, u32); DYNAMIC_CLOCKS]);

impl ClockTable {
    /// Static types only.
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
#[derive(Clone, Debug)]
pub struct ForwardRule {
    /// The port this rule is for.
    pub local: LocalPort,
    /// What it carries.
    pub carries: Carries,
    /// SRTP passing through unopened: only the clear header fields are checked and read.
    pub protected: bool,
    /// Who may send.
    pub source: SourcePolicy,
    /// Where RTP (or raw media) goes; `None` = counted and dropped.
    pub rtp: Option<Egress>,
    /// Where RTCP goes; `None` = counted and dropped.
    pub rtcp: Option<Egress>,
    /// The RTCP port beside this RTP port, when not muxed: what is learnt here is told there.
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

/// Why a packet went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// Neither RTP nor RTCP, or its lengths are wrong.
    Malformed,
    /// Right shape on the wrong port (RTCP on an RTP-only port, STUN or DTLS without a peer for it).
    Kind,
    /// Not from the expected address and port.
    Source,
    /// Over the port's packet limit.
    Rate,
    /// Nowhere to send it yet.
    NoDestination,
}

impl DropReason {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// All, in the order of [`DropReason::index`].
    pub const ALL: [DropReason; Self::COUNT] =
        [Self::Malformed, Self::Kind, Self::Source, Self::Rate, Self::NoDestination];

    /// Place in arrays of counters.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Which of the two egresses of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// [`ForwardRule::rtp`].
    Rtp = 0,
    /// [`ForwardRule::rtcp`].
    Rtcp = 1,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it, unchanged, from `out_port` to `dest`.
    Forward {
        /// Receiver.
        dest: SocketAddr,
        /// Our port towards it.
        out_port: LocalPort,
        /// Which egress that is.
        path: Path,
    },
    /// Nothing.
    Drop(DropReason),
}

/// An address that was learnt and locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The peer of this port from now on.
    pub peer: SocketAddr,
    /// SSRC it was learnt from (0 for raw media).
    pub ssrc: u32,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    source: SocketAddr,
    ssrc: u32,
    next: u16,
    run: u8,
}

/// A rule at work. One per local port, owned by one shard.
///
/// What a packet touches lies together in the first 256 bytes, in the order of use: with thousands of streams each packet
/// finds its rule outside the cache, and the lines it needs are what it costs.
#[derive(Debug)]
#[repr(C)]
pub struct RuleState {
    /// The only source let in, once known.
    peer: Option<SocketAddr>,
    carries: Carries,
    protected: bool,
    locked: bool,
    has_new_lock: bool,
    payload_type: u8,
    hz: u32,
    /// Theoretical arrival time of the packet limit, ns: a bucket of one second's packets.
    next_free_ns: u64,
    cost_ns: u64,
    counters: Arc<StreamCounters>,
    dest: [Option<SocketAddr>; 2],
    out_ports: [Option<LocalPort>; 2],
    sequence: SeqTracker,
    jitter: Jitter,
    cold: Box<Cold>,
}

/// What few packets need.
#[derive(Debug)]
struct Cold {
    rule: ForwardRule,
    new_lock: Option<Lock>,
    candidate: Option<Candidate>,
    companion_lock: Option<Lock>,
}

impl RuleState {
    /// Begin with a rule.
    pub fn new(rule: ForwardRule) -> Self {
        let peer = match rule.source {
            SourcePolicy::Exact(address) => Some(address),
            SourcePolicy::Nobody | SourcePolicy::Learn(_) => None,
        };
        Self {
            peer,
            carries: rule.carries,
            protected: rule.protected,
            locked: false,
            has_new_lock: false,
            payload_type: 0xFF,
            hz: 0,
            next_free_ns: 0,
            cost_ns: 1_000_000_000u64.checked_div(u64::from(rule.max_packets_per_s)).unwrap_or(0),
            counters: Arc::clone(&rule.counters),
            dest: [rule.rtp.and_then(|e| e.to), rule.rtcp.and_then(|e| e.to)],
            out_ports: [rule.rtp.map(|e| e.port), rule.rtcp.map(|e| e.port)],
            sequence: SeqTracker::default(),
            jitter: Jitter::default(),
            cold: Box::new(Cold { rule, new_lock: None, candidate: None, companion_lock: None }),
        }
    }

    /// Take a newer rule for the same port. What was learnt stays while the source policy is the same (epoch included),
    /// the figures stay while the counters are the same.
    pub fn replace(&mut self, rule: ForwardRule) {
        let mut next = Self::new(rule);
        if next.cold.rule.source == self.cold.rule.source {
            next.peer = self.peer;
            next.locked = self.locked;
            next.cold.candidate = self.cold.candidate;
            next.cold.companion_lock = self.cold.companion_lock;
        }
        if Arc::ptr_eq(&next.counters, &self.counters) {
            next.sequence = self.sequence;
            next.jitter = self.jitter;
        }
        next.next_free_ns = self.next_free_ns;
        *self = next;
    }

    /// The rule.
    pub fn rule(&self) -> &ForwardRule {
        &self.cold.rule
    }

    /// The one source that is let in, when there is one: a socket may be connected to it.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// True when [`RuleState::peer`] was learnt.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    /// Address learnt by the last packet, once.
    #[inline]
    pub fn take_lock(&mut self) -> Option<Lock> {
        if !self.has_new_lock {
            return None;
        }
        self.has_new_lock = false;
        self.cold.new_lock.take()
    }

    /// The port of an egress has learnt its peer: packets go there from now on.
    pub fn set_destination(&mut self, path: Path, to: SocketAddr) {
        match path {
            Path::Rtp => self.dest[0] = Some(to),
            Path::Rtcp => self.dest[1] = Some(to),
        }
    }

    /// The RTP port beside this RTCP port has learnt its peer: the same address may now be learnt here, by one packet of
    /// the same SSRC.
    pub fn companion_locked(&mut self, lock: Lock) {
        self.cold.companion_lock = Some(lock);
    }

    /// Judge one datagram that came to this port from `source`.
    ///
    /// Checks in this order: first bytes and length, source, packet limit, header lengths, learning; then the figures.
    /// The packet is never changed.
    #[inline]
    pub fn apply(&mut self, packet: &[u8], source: SocketAddr, now: Mono) -> Verdict {
        let class = classify(packet);
        let path = match (class, self.carries) {
            (PacketClass::Rtp, Carries::Rtp | Carries::Mux) => Path::Rtp,
            (PacketClass::Rtcp, Carries::Rtcp | Carries::Mux) => Path::Rtcp,
            (_, Carries::Raw) => Path::Rtp,
            (PacketClass::Other, _) => return self.drop_packet(DropReason::Malformed),
            _ => return self.drop_packet(DropReason::Kind),
        };
        match self.peer {
            Some(peer) if same(peer, source) => {}
            Some(_) => return self.drop_packet(DropReason::Source),
            None if self.may_be_learnt(source) => {}
            None => return self.drop_packet(DropReason::Source),
        }
        if self.cost_ns != 0 {
            let free = self.next_free_ns.max(now.0);
            if free.wrapping_sub(now.0) > 1_000_000_000 {
                return self.drop_packet(DropReason::Rate);
            }
            self.next_free_ns = free.wrapping_add(self.cost_ns);
        }
        let read = match path {
            Path::Rtp if self.carries == Carries::Raw => self.count_raw(packet, source),
            Path::Rtp => self.count_rtp(packet, source, now),
            Path::Rtcp => self.count_rtcp(packet, source, now),
        };
        if let Err(reason) = read {
            return self.drop_packet(reason);
        }
        self.counters.last_packet_ns.store(now.0, Relaxed);
        let (dest, out_port) = match path {
            Path::Rtp => (self.dest[0], self.out_ports[0]),
            Path::Rtcp => (self.dest[1], self.out_ports[1]),
        };
        match (dest, out_port) {
            (Some(dest), Some(out_port)) => Verdict::Forward { dest, out_port, path },
            _ => self.drop_packet(DropReason::NoDestination),
        }
    }

    #[cold]
    fn drop_packet(&mut self, reason: DropReason) -> Verdict {
        if let Some(counter) = self.counters.drops.get(reason.index()) {
            bump(counter, 1);
        }
        Verdict::Drop(reason)
    }

    #[cold]
    fn may_be_learnt(&self, source: SocketAddr) -> bool {
        let SourcePolicy::Learn(policy) = self.cold.rule.source else {
            return false;
        };
        if !policy.allows(source.ip()) {
            return false;
        }
        match self.carries {
            Carries::Rtcp => self.cold.companion_lock.is_some_and(|lock| lock.peer.ip() == source.ip()),
            Carries::Rtp | Carries::Mux | Carries::Raw => true,
        }
    }

    fn count_rtp(&mut self, packet: &[u8], source: SocketAddr, now: Mono) -> Result<(), DropReason> {
        let view = if self.protected { RtpView::parse_protected(packet) } else { RtpView::parse(packet) }
            .map_err(|_| DropReason::Malformed)?;
        let (ssrc, sequence) = (view.ssrc(), view.sequence());
        if self.peer.is_none() {
            self.learn(source, ssrc, sequence);
        }
        let c = &self.counters;
        let event = self.sequence.update(ssrc, sequence);
        if matches!(event, SeqEvent::First | SeqEvent::Restart) {
            self.jitter.new_source();
            c.ssrc.store(ssrc, Relaxed);
            if c.first_packet_ns.load(Relaxed) == 0 {
                c.first_packet_ns.store(now.0, Relaxed);
            }
        }
        let payload_type = view.payload_type();
        if payload_type != self.payload_type {
            self.payload_type = payload_type;
            self.hz = self.cold.rule.clocks.hz(payload_type);
            c.payload_type.store(u32::from(payload_type), Relaxed);
        }
        let timestamp = view.timestamp();
        if event == (SeqEvent::InOrder { gap: 0 }) || event == SeqEvent::First {
            self.jitter.update(timestamp, self.hz, now);
            let jitter = self.jitter.micros();
            c.jitter_us.store(jitter, Relaxed);
            if jitter > c.jitter_max_us.load(Relaxed) {
                c.jitter_max_us.store(jitter, Relaxed);
            }
        } else {
            c.duplicates.store(self.sequence.duplicates(), Relaxed);
            c.reordered.store(self.sequence.reordered(), Relaxed);
            c.late.store(self.sequence.late(), Relaxed);
        }
        bump(&c.packets, 1);
        bump(&c.bytes, packet.len() as u64);
        c.expected.store(self.sequence.expected(), Relaxed);
        c.received.store(self.sequence.received(), Relaxed);
        c.sequence.store(u32::from(sequence), Relaxed);
        c.timestamp.store(timestamp, Relaxed);
        Ok(())
    }

    fn count_raw(&mut self, packet: &[u8], source: SocketAddr) -> Result<(), DropReason> {
        if self.peer.is_none() {
            let next = self.cold.candidate.map_or(0, |c| c.next);
            self.learn(source, 0, next);
        }
        bump(&self.counters.packets, 1);
        bump(&self.counters.bytes, packet.len() as u64);
        Ok(())
    }

    #[cold]
    fn learn(&mut self, source: SocketAddr, ssrc: u32, sequence: u16) {
        let run = match self.cold.candidate {
            Some(c) if same(c.source, source) && c.ssrc == ssrc && c.next == sequence => {
                c.run.saturating_add(1)
            }
            _ => 1,
        };
        self.cold.candidate = Some(Candidate { source, ssrc, next: sequence.wrapping_add(1), run });
        if run >= LOCK_RUN {
            self.lock(Lock { peer: source, ssrc });
        }
    }

    fn lock(&mut self, lock: Lock) {
        self.peer = Some(lock.peer);
        self.locked = true;
        self.has_new_lock = true;
        self.cold.new_lock = Some(lock);
    }

    #[cold]
    fn count_rtcp(&mut self, packet: &[u8], source: SocketAddr, now: Mono) -> Result<(), DropReason> {
        let sender = if self.protected {
            packet
                .get(4..)
                .and_then(|b| b.first_chunk::<4>())
                .map(|b| u32::from_be_bytes(*b))
                .ok_or(DropReason::Malformed)?
        } else {
            let compound = Compound::parse(packet).map_err(|_| DropReason::Malformed)?;
            if self.peer.is_some() {
                self.read_reports(compound, now);
            }
            compound.sender_ssrc()
        };
        if self.peer.is_none() {
            match self.cold.companion_lock {
                Some(lock) if lock.ssrc == sender => self.lock(Lock { peer: source, ssrc: sender }),
                // A muxed port learns from RTP only; a forged sender is not let in.
                _ => return Err(DropReason::Source),
            }
        }
        self.counters.rtcp_ssrc.store(sender, Relaxed);
        bump(&self.counters.rtcp_packets, 1);
        bump(&self.counters.rtcp_bytes, packet.len() as u64);
        Ok(())
    }

    fn read_reports(&self, compound: Compound<'_>, now: Mono) {
        let own = &self.counters;
        for item in compound {
            let reports = match item {
                Item::SenderReport { ntp_middle, reports, .. } => {
                    own.sr_ntp_middle.store(ntp_middle, Relaxed);
                    own.sr_at_ns.store(now.0, Relaxed);
                    reports
                }
                Item::ReceiverReport { reports, .. } => reports,
                Item::Bye(_) => {
                    bump(&own.rtcp_byes, 1);
                    continue;
                }
                Item::Description(_) | Item::Other { .. } => continue,
            };
            let Some(far) = &self.cold.rule.reverse else {
                continue;
            };
            for report in reports.iter() {
                let sent_at = far.sr_at_ns.load(Relaxed);
                if report.last_sr == 0 || sent_at == 0 || report.last_sr != far.sr_ntp_middle.load(Relaxed) {
                    continue;
                }
                let since_us = now.0.saturating_sub(sent_at) / 1_000;
                if let Some(rtt) = rtcp::round_trip_us(since_us, report.delay_since_last_sr) {
                    far.rtt_us.store(rtt, Relaxed);
                }
            }
        }
    }
}

/// Same address and port; flow label and scope of IPv6 do not matter.
#[inline]
fn same(a: SocketAddr, b: SocketAddr) -> bool {
    match (a, b) {
        (SocketAddr::V4(a), SocketAddr::V4(b)) => a == b,
        (SocketAddr::V6(a), SocketAddr::V6(b)) => a.port() == b.port() && a.ip() == b.ip(),
        _ => false,
    }
}
