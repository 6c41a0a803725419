//! The packet fast path: what may enter a local port, and where it goes.
//!
//! A [`ForwardRule`] is plain data, one per local UDP port: the user-space shard runs it through [`RuleState::apply`], and a
//! kernel path could be filled from the same values. Invariants: the source (address **and** port) is checked on every
//! packet (T-RTP-01…03); an address is learnt only from the rule's list, as [`crate::learn`] says (T-RTP-04); nothing in
//! here allocates, blocks or reads a clock. Absent on purpose: sockets, SRTP, and any decision on calls (an RTCP BYE passes
//! and ends nothing, T-RTP-08).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use warp_model::Mono;

use crate::counters::{StreamCounters, bump};
use crate::learn::{Heard, Incumbent, Learner, LearntPeer, same};
use crate::packet::RoomyPacket;
use crate::pipeline::RunningPipeline;
use crate::port::{Carries, DropReason, LocalPort, MediaPath};
use crate::quality::{Jitter, SeqEvent, SeqTracker};
use crate::rtcp::{self, Compound, Fault, Item};
use crate::rtp::{PacketClass, RtpView, classify};
use crate::rule::{ForwardRule, LearnPolicy, SourcePolicy};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Send it, unchanged, from `out_port` to `dest`.
    Forward {
        /// The receiver's address and port.
        dest: SocketAddr,
        /// Our port towards it.
        out_port: LocalPort,
        /// Which egress that is.
        path: MediaPath,
    },
    /// Let in by a rule with a pipeline: send it to each [`RuleState::next_receiver`], after [`RuleState::protect`].
    Fan(MediaPath),
    /// For the port's session, not for the far side: STUN or DTLS. `expected`: it comes from the port's peer.
    Session {
        /// What kind of packet it is.
        class: PacketClass,
        /// Its source is the one that is let in.
        expected: bool,
    },
    /// Nothing: it ends here, counted by its reason.
    Drop(DropReason),
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
    /// Nothing is to be learnt from the peer's packets.
    settled: bool,
    has_news: bool,
    /// There is a pipeline: seen without a look at what few packets need.
    piped: bool,
    payload_type: u8,
    hz: u32,
    /// Theoretical arrival time of the packet limit, ns: a bucket of one second's packets.
    next_free_ns: u64,
    cost_ns: u64,
    /// The peer's latest packet.
    heard_ns: u64,
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
    learner: Learner,
    news: Option<LearntPeer>,
    pipeline: Option<RunningPipeline>,
}

impl RuleState {
    /// Begin with a rule.
    pub fn new(rule: ForwardRule) -> Self {
        Self::with_stages(rule, None)
    }

    fn with_stages(rule: ForwardRule, before: Option<RunningPipeline>) -> Self {
        let peer = match rule.source {
            SourcePolicy::Exact(address) => Some(address),
            SourcePolicy::Nobody | SourcePolicy::Learn(_) | SourcePolicy::Checked => None,
        };
        let pipeline = rule.pipeline.as_ref().map(|p| RunningPipeline::new(p, before));
        Self {
            peer,
            carries: rule.carries,
            protected: rule.protected,
            settled: !matches!(rule.source, SourcePolicy::Learn(_)),
            has_news: false,
            piped: pipeline.is_some(),
            payload_type: 0xFF,
            hz: 0,
            next_free_ns: 0,
            cost_ns: 1_000_000_000u64.checked_div(u64::from(rule.max_packets_per_s)).unwrap_or(0),
            heard_ns: 0,
            counters: Arc::clone(&rule.counters),
            dest: [rule.rtp.and_then(|e| e.to), rule.rtcp.and_then(|e| e.to)],
            out_ports: [rule.rtp.map(|e| e.port), rule.rtcp.map(|e| e.port)],
            sequence: SeqTracker::default(),
            jitter: Jitter::default(),
            cold: Box::new(Cold { rule, learner: Learner::default(), news: None, pipeline }),
        }
    }

    /// Take a newer rule for the same port. What was learnt stays while the learn policy keeps it, but new SDP opens a lock
    /// to be earned anew; the figures stay while the counters are the same, running stages while their makers are.
    pub fn replace(&mut self, rule: ForwardRule) {
        let mut next = Self::with_stages(rule, self.cold.pipeline.take());
        if let (SourcePolicy::Learn(now), SourcePolicy::Learn(before)) =
            (next.cold.rule.source, self.cold.rule.source)
            && now.keeps(&before)
        {
            next.peer = self.peer;
            next.cold.learner = self.cold.learner;
            if now.spoken != before.spoken {
                next.cold.learner.reopen();
            }
            next.settled = next.cold.learner.is_settled();
        }
        if next.cold.rule.source == SourcePolicy::Checked && self.cold.rule.source == SourcePolicy::Checked {
            // Until the session names another.
            next.peer = self.peer;
        }
        if Arc::ptr_eq(&next.counters, &self.counters) {
            next.sequence = self.sequence;
            next.jitter = self.jitter;
        }
        next.next_free_ns = self.next_free_ns;
        next.heard_ns = self.heard_ns;
        *self = next;
    }

    /// The rule that is at work, as it was given.
    pub fn rule(&self) -> &ForwardRule {
        &self.cold.rule
    }

    /// The one source that is let in, when there is one.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// True when [`RuleState::peer`] was learnt and locked.
    pub fn is_locked(&self) -> bool {
        self.cold.learner.locked
    }

    /// The peer that a socket may be connected to: the kernel then refuses everybody else, so nobody else may have
    /// anything to earn. A learnt one only while it speaks: see [`RuleState::is_silent`].
    pub fn only_source(&self, now: Mono) -> Option<SocketAddr> {
        match self.cold.rule.source {
            SourcePolicy::Learn(_) => self.peer.filter(|_| self.settled && !self.is_silent(now)),
            SourcePolicy::Exact(_) | SourcePolicy::Nobody => self.peer,
            // Its checks may come from other addresses.
            SourcePolicy::Checked => None,
        }
    }

    /// The port's session has found the peer there, or lost it. Whoever proved itself by a handshake is a candidate to be
    /// learnt, like the first that speaks.
    pub fn session_peer(&mut self, address: Option<SocketAddr>) {
        let before = self.peer;
        match (self.cold.rule.source, address) {
            (SourcePolicy::Checked, _) => self.peer = address,
            (SourcePolicy::Learn(policy), Some(at)) if self.peer.is_none() && policy.allows(at.ip()) => {
                self.learn(LearntPeer { address: at, ssrc: self.sequence.ssrc(), locked: false });
            }
            _ => {}
        }
        if self.peer != before && self.peer.is_some() {
            self.has_news = true;
            self.cold.news = self.learnt();
        }
    }

    /// A locked peer has not been heard for [`crate::learn::OPEN_SILENCE`].
    pub fn is_silent(&self, now: Mono) -> bool {
        now.since(Mono(self.heard_ns)) >= crate::learn::OPEN_SILENCE
    }

    /// What is learnt here, as others use it: a candidate or a locked peer.
    pub fn learnt(&self) -> Option<LearntPeer> {
        if !matches!(self.cold.rule.source, SourcePolicy::Learn(_) | SourcePolicy::Checked) {
            return None;
        }
        let checked = self.cold.rule.source == SourcePolicy::Checked;
        let ssrc = self.sequence.ssrc();
        self.peer.map(|address| LearntPeer { address, ssrc, locked: checked || self.cold.learner.locked })
    }

    /// Where media for this port's party goes instead of its SDP's address: `None` when it was not learnt.
    pub fn destination(&self) -> Option<SocketAddr> {
        match self.cold.rule.source {
            SourcePolicy::Learn(policy) if !policy.source_only => self.peer,
            SourcePolicy::Checked => self.peer,
            _ => None,
        }
    }

    /// What the last packet taught, once.
    #[inline]
    pub fn take_news(&mut self) -> Option<LearntPeer> {
        if !self.has_news {
            return None;
        }
        self.has_news = false;
        self.cold.news.take()
    }

    /// The party behind `port` was heard at `peer`: what leaves from that port goes there from now on. `None`: it is not
    /// known any more, and what the SDP says counts.
    pub fn set_destination(&mut self, port: LocalPort, peer: Option<SocketAddr>) {
        let said = [self.cold.rule.rtp, self.cold.rule.rtcp];
        for (dest, egress) in self.dest.iter_mut().zip(said) {
            if let Some(egress) = egress.filter(|e| e.port == port) {
                *dest = peer.or(egress.to);
            }
        }
        if let Some(pipeline) = &mut self.cold.pipeline {
            pipeline.set_destination(port, peer);
        }
    }

    /// The RTP port beside this RTCP port has locked its peer: an address of the same IP may now be learnt here, by one
    /// packet of the same SSRC.
    pub fn companion_locked(&mut self, lock: LearntPeer) {
        let learner = &mut self.cold.learner;
        if learner.companion.replace(lock) != Some(lock) {
            learner.reopen();
            self.settled = learner.is_settled() || !matches!(self.cold.rule.source, SourcePolicy::Learn(_));
        }
    }

    /// True when packets must go through [`RuleState::apply_pipeline`].
    #[inline]
    pub fn has_pipeline(&self) -> bool {
        self.piped
    }

    /// Judge one datagram that came to this port from `source`.
    ///
    /// Checks in this order: first bytes and length, source, packet limit, header lengths, learning; then the figures.
    /// The packet is never changed.
    #[inline]
    pub fn apply(&mut self, packet: &[u8], source: SocketAddr, now: Mono) -> Judgement {
        let class = classify(packet);
        let path = match (class, self.carries) {
            (PacketClass::Rtp, Carries::Rtp | Carries::Mux) => MediaPath::Rtp,
            (PacketClass::Rtcp, Carries::Rtcp | Carries::Mux) => MediaPath::Rtcp,
            (_, Carries::Raw) => MediaPath::Rtp,
            _ => match self.odd_class(class, packet, source) {
                Ok(path) => path,
                Err(judgement) => return judgement,
            },
        };
        if !self.peer.is_some_and(|peer| same(peer, source))
            && let Err(reason) = self.admit_other(packet, path, class, source, now)
        {
            return self.drop_packet(reason);
        }
        if self.is_over_the_limit(now) {
            return self.drop_packet(DropReason::Rate);
        }
        if let Err(reason) = self.read(packet, path, source, now) {
            return self.drop_packet(reason);
        }
        let (dest, out_port) = match path {
            MediaPath::Rtp => (self.dest[0], self.out_ports[0]),
            MediaPath::Rtcp => (self.dest[1], self.out_ports[1]),
        };
        match (dest, out_port) {
            (Some(dest), Some(out_port)) => Judgement::Forward { dest, out_port, path },
            _ => self.drop_packet(DropReason::NoDestination),
        }
    }

    /// As [`RuleState::apply`], for a rule with a pipeline: its first step comes before anything is read or learnt, its
    /// stages after it; the packet is changed in place.
    pub fn apply_pipeline(
        &mut self,
        packet: &mut RoomyPacket<'_>,
        source: SocketAddr,
        now: Mono,
    ) -> Judgement {
        let path = match self.path_of(classify(packet.bytes()), packet.bytes(), source) {
            Ok(path) if self.may_come(source) => path,
            Ok(_) => return self.drop_packet(DropReason::Source),
            Err(judgement) => return judgement,
        };
        // Taken out so that the figures can be written meanwhile.
        let Some(mut pipeline) = self.cold.pipeline.take() else {
            return self.drop_packet(DropReason::NoDestination);
        };
        let opened = pipeline.unprotect(packet, path, now);
        let done = match opened.map(|()| self.admit(packet.bytes(), source, now)) {
            Ok(Ok(path)) => {
                self.read(packet.bytes(), path, source, now).and_then(|()| pipeline.stages(packet, path, now))
            }
            Ok(Err(judgement)) => {
                self.cold.pipeline = Some(pipeline);
                return judgement;
            }
            Err(reason) => Err(reason),
        };
        let wanted = pipeline.next_receiver(path, 0).is_some();
        self.cold.pipeline = Some(pipeline);
        match done {
            Ok(()) if wanted => Judgement::Fan(path),
            Ok(()) => self.drop_packet(DropReason::NoDestination),
            Err(reason) => self.drop_packet(reason),
        }
    }

    /// The next place in the egress list, from `at` on, that a packet of this path goes to.
    pub fn next_receiver(&self, path: MediaPath, at: usize) -> Option<usize> {
        self.cold.pipeline.as_ref()?.next_receiver(path, at)
    }

    /// The place in the egress list that what we play goes to; `None` while nobody is known there.
    pub fn played_receiver(&self) -> Option<usize> {
        self.cold.pipeline.as_ref()?.played_receiver()
    }

    /// The last step for one receiver, on its own copy of the packet: from which port, to whom.
    pub fn protect(
        &mut self,
        receiver: usize,
        packet: &mut RoomyPacket<'_>,
        now: Mono,
    ) -> Result<(LocalPort, SocketAddr), DropReason> {
        let pipeline = self.cold.pipeline.as_mut().ok_or(DropReason::NoDestination)?;
        let sent = pipeline.protect(receiver, packet, now);
        if let Err(reason) = sent {
            self.drop_packet(reason);
        }
        sent
    }

    /// The packet limit (T-RTP-11), with this packet counted.
    #[inline]
    fn is_over_the_limit(&mut self, now: Mono) -> bool {
        if self.cost_ns == 0 {
            return false;
        }
        let free = self.next_free_ns.max(now.0);
        if free.wrapping_sub(now.0) > 1_000_000_000 {
            return true;
        }
        self.next_free_ns = free.wrapping_add(self.cost_ns);
        false
    }

    /// What [`RuleState::apply`] checks before it reads: first bytes, source, packet limit.
    fn admit(&mut self, packet: &[u8], source: SocketAddr, now: Mono) -> Result<MediaPath, Judgement> {
        let class = classify(packet);
        let path = self.path_of(class, packet, source)?;
        if !self.peer.is_some_and(|peer| same(peer, source)) {
            let admitted = self.admit_other(packet, path, class, source, now);
            admitted.map_err(|reason| self.drop_packet(reason))?;
        }
        match self.is_over_the_limit(now) {
            true => Err(self.drop_packet(DropReason::Rate)),
            false => Ok(path),
        }
    }

    fn path_of(
        &mut self,
        class: PacketClass,
        packet: &[u8],
        source: SocketAddr,
    ) -> Result<MediaPath, Judgement> {
        match (class, self.carries) {
            (PacketClass::Rtp, Carries::Rtp | Carries::Mux) => Ok(MediaPath::Rtp),
            (PacketClass::Rtcp, Carries::Rtcp | Carries::Mux) => Ok(MediaPath::Rtcp),
            (_, Carries::Raw) => Ok(MediaPath::Rtp),
            _ => self.odd_class(class, packet, source),
        }
    }

    /// The peer, or an address that may become it.
    pub fn may_come(&self, source: SocketAddr) -> bool {
        let allowed = || match self.cold.rule.source {
            SourcePolicy::Learn(policy) => policy.allows(source.ip()),
            SourcePolicy::Exact(_) | SourcePolicy::Nobody | SourcePolicy::Checked => false,
        };
        self.peer.is_some_and(|peer| same(peer, source)) || allowed()
    }

    #[cold]
    fn odd_class(
        &mut self,
        class: PacketClass,
        packet: &[u8],
        source: SocketAddr,
    ) -> Result<MediaPath, Judgement> {
        match (class, self.carries) {
            (PacketClass::Zrtp, Carries::Rtp | Carries::Mux) => Ok(MediaPath::Rtp),
            // A marker and a payload type of 64 to 95.
            (PacketClass::Rtcp, Carries::Rtp) if !rtcp::is_compound(packet, self.protected) => {
                Ok(MediaPath::Rtp)
            }
            (PacketClass::Stun | PacketClass::Dtls, _) => {
                let expected = self.peer.is_some_and(|peer| same(peer, source));
                Err(Judgement::Session { class, expected })
            }
            (PacketClass::Other, _) => Err(self.drop_packet(DropReason::Malformed)),
            _ => Err(self.drop_packet(DropReason::Kind)),
        }
    }

    /// A source that is not the peer. RTP and raw media of allowed addresses teach; nothing else does.
    #[cold]
    fn admit_other(
        &mut self,
        packet: &[u8],
        path: MediaPath,
        class: PacketClass,
        source: SocketAddr,
        now: Mono,
    ) -> Result<(), DropReason> {
        let refused = Err(DropReason::Source);
        match self.cold.rule.source {
            SourcePolicy::Learn(policy) if policy.allows(source.ip()) => match (path, self.peer) {
                (MediaPath::Rtcp, _) if self.carries == Carries::Rtcp => self.admit_rtcp(source),
                // A muxed port learns from RTP only.
                (MediaPath::Rtcp, _) => refused,
                (MediaPath::Rtp, None) => Ok(()),
                (MediaPath::Rtp, Some(peer)) => {
                    self.admit_challenger(packet, class, source, &policy, peer, now)
                }
            },
            _ => refused,
        }
    }

    /// RTCP from where the RTP comes from; who sends it is looked at when it is read.
    fn admit_rtcp(&self, source: SocketAddr) -> Result<(), DropReason> {
        let beside = self.cold.learner.companion.is_some_and(|lock| lock.address.ip() == source.ip());
        if beside && !self.settled { Ok(()) } else { Err(DropReason::Source) }
    }

    fn admit_challenger(
        &mut self,
        packet: &[u8],
        class: PacketClass,
        source: SocketAddr,
        policy: &LearnPolicy,
        peer: SocketAddr,
        now: Mono,
    ) -> Result<(), DropReason> {
        let heard = match self.carries {
            Carries::Raw => Heard { source, ssrc: 0, sequence: None },
            _ if class == PacketClass::Zrtp => return Err(DropReason::Source),
            _ => {
                let view = RtpView::parse_header(packet).map_err(|_| DropReason::Source)?;
                Heard { source, ssrc: view.ssrc(), sequence: Some(view.sequence()) }
            }
        };
        let incumbent = Incumbent {
            address: peer,
            ssrc: self.sequence.ssrc(),
            highest: self.sequence.highest(),
            silent_for: now.since(Mono(self.heard_ns)),
        };
        if !self.cold.learner.heard_other(heard, policy, incumbent) {
            return Err(DropReason::Source);
        }
        self.learn(LearntPeer { address: source, ssrc: heard.ssrc, locked: true });
        Ok(())
    }

    /// The port has another peer, or knows its own for sure now.
    fn learn(&mut self, peer: LearntPeer) {
        self.peer = Some(peer.address);
        self.settled = self.cold.learner.is_settled();
        self.has_news = true;
        self.cold.news = Some(peer);
    }

    /// A packet of the peer, or of the first that speaks.
    #[cold]
    fn heard_peer(&mut self, heard: Heard) {
        let first = self.peer.is_none();
        if self.cold.learner.heard_peer(heard) || first {
            let locked = self.cold.learner.locked;
            self.learn(LearntPeer { address: heard.source, ssrc: heard.ssrc, locked });
        }
    }

    #[inline]
    fn read(
        &mut self,
        packet: &[u8],
        path: MediaPath,
        source: SocketAddr,
        now: Mono,
    ) -> Result<(), DropReason> {
        match path {
            MediaPath::Rtp if self.carries == Carries::Raw => self.count_raw(packet, source),
            MediaPath::Rtp => self.count_rtp(packet, source, now)?,
            MediaPath::Rtcp => self.count_rtcp(packet, source, now)?,
        }
        self.heard_ns = now.0;
        self.counters.last_packet_ns.store(now.0, Relaxed);
        Ok(())
    }

    /// Count a packet that was judged to be a session's and that the session does not want either.
    pub fn refuse(&mut self, reason: DropReason) {
        self.drop_packet(reason);
    }

    #[cold]
    fn drop_packet(&mut self, reason: DropReason) -> Judgement {
        if let Some(counter) = self.counters.drops.get(reason.index()) {
            bump(counter, 1);
        }
        Judgement::Drop(reason)
    }

    fn count_rtp(&mut self, packet: &[u8], source: SocketAddr, now: Mono) -> Result<(), DropReason> {
        let Ok(view) = RtpView::parse_header(packet) else {
            return self.count_zrtp(packet, source);
        };
        let (ssrc, sequence) = (view.ssrc(), view.sequence());
        if !self.settled {
            self.heard_peer(Heard { source, ssrc, sequence: Some(sequence) });
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

    /// Key agreement between the end points: passed on as it is.
    #[cold]
    fn count_zrtp(&mut self, packet: &[u8], source: SocketAddr) -> Result<(), DropReason> {
        if classify(packet) != PacketClass::Zrtp {
            return Err(DropReason::Malformed);
        }
        if self.peer.is_none() {
            self.learn(LearntPeer { address: source, ssrc: 0, locked: false });
        }
        bump(&self.counters.packets, 1);
        bump(&self.counters.bytes, packet.len() as u64);
        Ok(())
    }

    fn count_raw(&mut self, packet: &[u8], source: SocketAddr) {
        if !self.settled {
            self.heard_peer(Heard { source, ssrc: 0, sequence: None });
        }
        bump(&self.counters.packets, 1);
        bump(&self.counters.bytes, packet.len() as u64);
    }

    #[cold]
    fn count_rtcp(&mut self, packet: &[u8], source: SocketAddr, now: Mono) -> Result<(), DropReason> {
        let first_sender =
            || packet.get(4..).and_then(|b| b.first_chunk::<4>()).map(|b| u32::from_be_bytes(*b));
        let compound = match Compound::parse(packet) {
            _ if self.protected => None,
            Ok(compound) => Some(compound),
            // The receiver may judge it.
            Err(Fault::Padding) => None,
            Err(_) => return Err(DropReason::Malformed),
        };
        let sender = match &compound {
            Some(compound) => compound.sender_ssrc(),
            None => first_sender().ok_or(DropReason::Malformed)?,
        };
        if self.carries == Carries::Rtcp && !self.settled {
            match self.cold.learner.companion {
                Some(lock) if lock.ssrc == sender && lock.address.ip() == source.ip() => {
                    self.cold.learner.lock();
                    self.learn(LearntPeer { address: source, ssrc: sender, locked: true });
                }
                _ if self.peer.is_some_and(|peer| same(peer, source)) => {}
                // A forged sender is not let in.
                _ => return Err(DropReason::Source),
            }
        }
        if let Some(compound) = compound {
            self.read_reports(compound, now);
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
