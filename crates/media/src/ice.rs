//! One component's connectivity checks (ICE, RFC 8445): lite and full, either role, without sockets or a clock.
//!
//! An [`IceAgent`] has one local candidate, the port itself, and the peer's candidates, told and found. It answers checks
//! that carry our password, and nothing else: all other bytes meet silence (T-RTP-07). A full agent also checks, nominates
//! where it is controlling, and asks for consent every few seconds (RFC 7675). What it finds comes out as the address that
//! media goes to and comes from. Absent on purpose: gathering, TURN, TCP candidates.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use warp_model::Mono;

use crate::stun::{Role, StunKind, StunView, StunWriter, TransactionId};

/// Addresses of the peer that are kept, told and found together.
pub const PAIRS: usize = 24;
/// Time between two checks of one agent (RFC 8445 §14.2 says 50 ms for what is not media yet).
const PACE: Duration = Duration::from_millis(50);
/// First wait for an answer (RFC 8489 §6.2.1); it doubles each time.
const RETRY: Duration = Duration::from_millis(500);
/// A check is sent so many times.
const TRIES: u8 = 7;
/// A controlling agent waits so long for a better pair after the first that works.
const PATIENCE: Duration = Duration::from_millis(200);
/// Consent is asked for so often on average (RFC 7675 §5.1), and gone after [`CONSENT_LOST`].
const CONSENT: Duration = Duration::from_secs(5);
/// Media stops when nobody has consented for so long.
const CONSENT_LOST: Duration = Duration::from_secs(30);

/// A moment so much later; as late as can be where there is none.
pub(crate) fn after(at: Mono, wait: Duration) -> Mono {
    Mono(at.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
}

/// A user name fragment and its password (RFC 8839 §5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The fragment, 4 to 256 characters.
    pub ufrag: String,
    /// The password, 22 to 256 characters.
    pub password: String,
}

/// Never shows a password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.ufrag)
    }
}

/// An address that the peer told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it may be reached.
    pub address: SocketAddr,
    /// Higher is better (RFC 8445 §5.1.2).
    pub priority: u32,
}

/// What one agent begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceSetup {
    /// What the peer's checks carry.
    pub ours: Credentials,
    /// What our checks carry.
    pub theirs: Credentials,
    /// The peer's candidates for this component.
    pub candidates: Vec<Candidate>,
    /// We decide on the pair, until a conflict says otherwise.
    pub controlling: bool,
    /// We only answer (RFC 8445 §2.5).
    pub lite: bool,
    /// Settles a conflict of roles; random.
    pub tie_breaker: u64,
    /// Begin of our transaction ids; random.
    pub seed: TransactionId,
    /// Priority of our candidate of this component.
    pub priority: u32,
}

/// What an agent made of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It carried a right password, or is a keep-alive of the peer.
    Taken,
    /// It is not answered.
    Unwanted,
}

/// What an agent wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IceOutput {
    /// Send this from the port.
    Transmit(SocketAddr, Vec<u8>),
    /// Media goes there and comes from there; `None`: from nobody any more.
    Peer(Option<SocketAddr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CheckState {
    Waiting,
    Asked { id: TransactionId, tries: u8, next: Mono },
    Works,
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    address: SocketAddr,
    priority: u32,
    state: CheckState,
    /// It has sent a check with our password.
    heard: bool,
    /// The peer, or we, chose it.
    nominated: bool,
    /// Our check under way nominates it.
    nominates: bool,
}

/// The checks of one component, under way and done.
#[derive(Debug)]
pub struct IceAgent {
    setup: IceSetup,
    controlling: bool,
    pairs: Vec<Pair>,
    peer: Option<SocketAddr>,
    /// The peer was chosen, not only found.
    is_chosen: bool,
    next_check: Mono,
    works_since: Option<Mono>,
    consent_at: Mono,
    consented: Mono,
    /// The question for consent that is under way.
    asked: Option<TransactionId>,
    count: u32,
    out: VecDeque<IceOutput>,
}

impl IceAgent {
    /// Begins its checks at `now`.
    pub fn new(setup: IceSetup, now: Mono) -> Self {
        let mut agent = Self {
            controlling: setup.controlling && !setup.lite,
            setup,
            pairs: Vec::new(),
            peer: None,
            is_chosen: false,
            next_check: now,
            works_since: None,
            consent_at: now,
            consented: now,
            asked: None,
            count: 0,
            out: VecDeque::new(),
        };
        for candidate in agent.setup.candidates.clone() {
            agent.know(candidate.address, candidate.priority);
        }
        agent
    }

    /// Both speak under the same names as at its beginning: no ICE restart.
    pub fn is_of(&self, setup: &IceSetup) -> bool {
        (&self.setup.ours, &self.setup.theirs, self.setup.lite) == (&setup.ours, &setup.theirs, setup.lite)
    }

    /// Candidates that came later (trickle, RFC 8838).
    pub fn add(&mut self, candidates: &[Candidate]) {
        for candidate in candidates {
            self.know(candidate.address, candidate.priority);
        }
    }

    /// Where media goes, once that is known.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// True for an address that has shown that it knows a password.
    pub fn is_valid(&self, address: SocketAddr) -> bool {
        let shown = |p: &Pair| p.address == address && (p.heard || p.state == CheckState::Works);
        self.pairs.iter().any(shown)
    }

    fn know(&mut self, address: SocketAddr, priority: u32) -> Option<usize> {
        if let Some(at) = self.pairs.iter().position(|p| p.address == address) {
            return Some(at);
        }
        if self.pairs.len() >= PAIRS {
            return None;
        }
        let state = CheckState::Waiting;
        let pair = Pair { address, priority, state, heard: false, nominated: false, nominates: false };
        self.pairs.push(pair);
        self.pairs.len().checked_sub(1)
    }

    /// A STUN message that came to the port.
    pub fn handle(&mut self, from: SocketAddr, bytes: &[u8], now: Mono) -> Checked {
        let Some(view) = StunView::parse(bytes) else { return Checked::Unwanted };
        let taken = match view.kind() {
            StunKind::Request => self.on_request(from, &view, now),
            StunKind::Success | StunKind::Error => self.on_response(from, &view, now),
            StunKind::Indication => (self.peer == Some(from)).then_some(()),
        };
        if taken.is_none() {
            return Checked::Unwanted;
        }
        self.nominate(now);
        Checked::Taken
    }

    fn on_request(&mut self, from: SocketAddr, view: &StunView<'_>, now: Mono) -> Option<()> {
        let ours = &self.setup.ours;
        let name = view.username()?.strip_prefix(ours.ufrag.as_bytes())?;
        let is_ours = name.first() == Some(&b':') && view.is_from(ours.password.as_bytes());
        is_ours.then_some(())?;
        let password = ours.password.clone();
        let id = view.transaction();
        let reply = StunWriter::new(StunKind::Error, id);
        if let Some(kind) = view.unknown() {
            self.send(from, reply.error(420).unknown(kind).signed(password.as_bytes()));
            return Some(());
        }
        if !self.settle_roles(view.role()) {
            self.send(from, reply.error(487).signed(password.as_bytes()));
            return Some(());
        }
        let reply = StunWriter::new(StunKind::Success, id).mapped(from);
        self.send(from, reply.signed(password.as_bytes()));
        // More addresses than anybody has: it is answered, and not checked.
        let at = self.know(from, view.priority().unwrap_or(0));
        let Some(pair) = at.and_then(|at| self.pairs.get_mut(at)) else { return Some(()) };
        pair.heard = true;
        let chosen = view.nominates() && !self.controlling;
        pair.nominated |= chosen;
        if self.setup.lite {
            if chosen || self.peer.is_none() {
                self.choose(from, chosen);
            }
            return Some(());
        }
        match pair.state {
            CheckState::Works if chosen => self.choose(from, true),
            CheckState::Works | CheckState::Asked { .. } => {}
            // A triggered check (RFC 8445 §7.3.1.4).
            CheckState::Waiting | CheckState::Failed => self.check(at.unwrap_or_default(), false, now),
        }
        Some(())
    }

    /// RFC 8445 §7.3.1.1. False: the other one must change.
    fn settle_roles(&mut self, theirs: Option<Role>) -> bool {
        let ours = self.setup.tie_breaker;
        match theirs {
            Some(Role::Controlling(tie)) if self.controlling => {
                if ours >= tie {
                    return false;
                }
                self.controlling = false;
            }
            Some(Role::Controlled(tie)) if !self.controlling => {
                if self.setup.lite || ours < tie {
                    return false;
                }
                self.controlling = true;
            }
            _ => {}
        }
        true
    }

    fn on_response(&mut self, from: SocketAddr, view: &StunView<'_>, now: Mono) -> Option<()> {
        view.is_from(self.setup.theirs.password.as_bytes()).then_some(())?;
        let id = view.transaction();
        let success = view.kind() == StunKind::Success;
        if self.asked == Some(id) {
            // An error is no consent, and no end either: the time decides.
            if success && self.peer == Some(from) {
                (self.asked, self.consented) = (None, now);
            }
            return Some(());
        }
        let waits = |p: &Pair| {
            p.address == from && matches!(p.state, CheckState::Asked { id: asked, .. } if asked == id)
        };
        let at = self.pairs.iter().position(waits)?;
        let pair = self.pairs.get_mut(at)?;
        if !success {
            if view.error_code() == Some(487) {
                // The other one stays what it is (RFC 8445 §7.2.5.1).
                self.controlling = !self.controlling && !self.setup.lite;
                self.check(at, false, now);
            } else {
                (pair.state, pair.nominates) = (CheckState::Failed, false);
            }
            return Some(());
        }
        pair.state = CheckState::Works;
        pair.nominated |= std::mem::take(&mut pair.nominates);
        let chosen = pair.nominated;
        self.works_since.get_or_insert(now);
        if chosen || self.peer.is_none() {
            self.choose(from, chosen);
            (self.consented, self.consent_at) = (now, after(now, self.consent_wait()));
        }
        Some(())
    }

    /// Media goes there. A chosen one is never replaced by one that was only found.
    fn choose(&mut self, address: SocketAddr, chosen: bool) {
        if self.is_chosen && !chosen {
            return;
        }
        self.is_chosen |= chosen;
        if self.peer != Some(address) {
            self.peer = Some(address);
            self.asked = None;
            self.out.push_back(IceOutput::Peer(self.peer));
        }
    }

    fn role(&self) -> Role {
        let tie = self.setup.tie_breaker;
        if self.controlling { Role::Controlling(tie) } else { Role::Controlled(tie) }
    }

    fn request(&mut self, nominates: bool) -> (TransactionId, Vec<u8>) {
        self.count = self.count.wrapping_add(1);
        let mut id = self.setup.seed;
        for (byte, add) in id.iter_mut().zip(self.count.to_be_bytes()) {
            *byte ^= add;
        }
        (id, self.request_of(id, nominates))
    }

    fn request_of(&self, id: TransactionId, nominates: bool) -> Vec<u8> {
        let setup = &self.setup;
        StunWriter::new(StunKind::Request, id)
            .username(&setup.theirs.ufrag, &setup.ours.ufrag)
            // As a peer-reflexive one would have it: the type's share is 110 of 126.
            .priority((setup.priority & 0x00FF_FFFF) | 110 << 24)
            .role(self.role())
            .use_candidate(nominates)
            .signed(setup.theirs.password.as_bytes())
    }

    fn check(&mut self, at: usize, nominates: bool, now: Mono) {
        let (id, request) = self.request(nominates);
        let Some(pair) = self.pairs.get_mut(at) else { return };
        pair.state = CheckState::Asked { id, tries: 1, next: after(now, RETRY) };
        pair.nominates = nominates;
        let address = pair.address;
        self.send(address, request);
    }

    fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.out.push_back(IceOutput::Transmit(to, bytes));
    }

    /// Between 0.8 and 1.2 of the mean, so that many agents do not ask at once (RFC 7675 §5.1).
    fn consent_wait(&self) -> Duration {
        let part = u32::from(self.setup.seed.first().copied().unwrap_or(0) ^ (self.count as u8)) & 0x7F;
        CONSENT.saturating_mul(part.saturating_add(256)).checked_div(320).unwrap_or(CONSENT)
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        if self.setup.lite {
            return;
        }
        self.retry(now);
        if self.next_check <= now {
            self.next_check = after(now, PACE);
            self.check_next(now);
        }
        self.nominate(now);
        self.ask_for_consent(now);
    }

    fn retry(&mut self, now: Mono) {
        for at in 0..self.pairs.len() {
            let Some(pair) = self.pairs.get_mut(at) else { continue };
            let CheckState::Asked { id, tries, next } = pair.state else { continue };
            if next > now {
                continue;
            }
            if tries >= TRIES {
                (pair.state, pair.nominates) = (CheckState::Failed, false);
                continue;
            }
            let wait = RETRY.saturating_mul(1u32.checked_shl(u32::from(tries.min(5))).unwrap_or(32));
            pair.state = CheckState::Asked { id, tries: tries.saturating_add(1), next: after(now, wait) };
            let (address, nominates) = (pair.address, pair.nominates);
            let request = self.request_of(id, nominates);
            self.send(address, request);
        }
    }

    fn check_next(&mut self, now: Mono) {
        let waiting = self.pairs.iter().enumerate().filter(|(_, p)| p.state == CheckState::Waiting);
        if let Some((at, _)) = waiting.max_by_key(|(_, p)| (p.heard, p.priority)) {
            self.check(at, false, now);
        }
    }

    /// Where we are controlling: the best pair that works, when none that may still be better is open, or after a while.
    fn nominate(&mut self, now: Mono) {
        let Some(since) = self.works_since.filter(|_| self.controlling && !self.is_chosen) else { return };
        if self.pairs.iter().any(|p| p.nominates) {
            return;
        }
        let works = self.pairs.iter().enumerate().filter(|(_, p)| p.state == CheckState::Works);
        let Some((at, best)) = works.max_by_key(|(_, p)| p.priority) else { return };
        let open = |p: &Pair| matches!(p.state, CheckState::Waiting | CheckState::Asked { .. });
        let may_be_better = self.pairs.iter().any(|p| open(p) && p.priority > best.priority);
        if !may_be_better || now.since(since) >= PATIENCE {
            self.check(at, true, now);
        }
    }

    fn ask_for_consent(&mut self, now: Mono) {
        let Some(peer) = self.peer.filter(|_| self.works_since.is_some()) else { return };
        if now.since(self.consented) >= CONSENT_LOST {
            // Whoever shows up again is checked anew.
            (self.peer, self.is_chosen, self.asked, self.works_since) = (None, false, None, None);
            for pair in &mut self.pairs {
                (pair.state, pair.heard, pair.nominated) = (CheckState::Waiting, false, false);
                pair.nominates = false;
            }
            self.out.push_back(IceOutput::Peer(None));
            return;
        }
        if self.consent_at <= now {
            let (id, request) = self.request(false);
            self.asked = Some(id);
            self.consent_at = after(now, self.consent_wait());
            self.send(peer, request);
        }
    }

    /// When to call [`IceAgent::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        if self.setup.lite {
            return None;
        }
        let open = |p: &Pair| match p.state {
            CheckState::Waiting => Some(self.next_check),
            CheckState::Asked { next, .. } => Some(next),
            CheckState::Works | CheckState::Failed => None,
        };
        let checks = self.pairs.iter().filter_map(open).min();
        let works = self.pairs.iter().any(|p| p.state == CheckState::Works);
        let under_way = self.pairs.iter().any(|p| p.nominates);
        let nominates = self.controlling && !self.is_chosen && works && !under_way;
        let nominate = self.works_since.filter(|_| nominates).map(|since| after(since, PATIENCE));
        let consent = self.peer.filter(|_| self.works_since.is_some());
        let consent = consent.map(|_| self.consent_at.min(after(self.consented, CONSENT_LOST)));
        [checks, nominate, consent].into_iter().flatten().min()
    }

    /// What to do next; drain after every `handle…`.
    pub fn poll_output(&mut self) -> Option<IceOutput> {
        self.out.pop_front()
    }
}

#[cfg(test)]
#[path = "tests_ice.rs"]
mod tests;
