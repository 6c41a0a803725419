//! What arrives on a media port for ourselves and not for the far side: STUN and DTLS (RFC 7983).
//!
//! A shard has one [`SessionMachine`]; a rule whose port has a session says so in its pipeline (RFC 0042). A session is an
//! agent of ICE, an association of DTLS, or both. Invariants: nothing is sent to a source that has not passed a check, or,
//! without ICE, is not the one that signalling named (T-RTP-06, T-RTP-07); a stranger's handshake has no part in the true
//! one's; what a session learns comes out as [`SessionOutput`] and changes nothing by itself. Ports without a session take
//! keep-alives of their peer and drop all else in silence.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp_model::Mono;

use crate::ice::{Checked, IceAgent, IceOutput, IceSetup, after};
use crate::keying::{DtlsSetup, Handshake, Progress};
use crate::port::{DropReason, LocalPort};
use crate::rtp::PacketClass;
use crate::stun::{StunKind, StunView};

/// Handshakes that one session begins at most; each costs two signatures.
const HANDSHAKES: u8 = 8;
/// Handshakes of one session that are under way at once: behind a NAT whose address is shared a stranger may have begun one.
const AT_ONCE: usize = 4;

/// A session's next timer is this far away at the least.
const SOONEST: Duration = Duration::from_millis(1);

/// What a session made of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOutcome {
    /// It was for it.
    Taken,
    /// Nobody awaits it: dropped in silence, for this reason.
    Unwanted(DropReason),
}

/// What the session of one port begins with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionSetup {
    /// Connectivity checks; `None`: the peer is the one of the rule.
    pub ice: Option<IceSetup>,
    /// Handshakes that make the keys.
    pub dtls: Option<DtlsSetup>,
    /// Where an active handshake begins without ICE.
    pub peer: Option<SocketAddr>,
}

/// Where a packet came from, as the port's rule sees it.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its address and port.
    pub address: SocketAddr,
    /// It is the port's peer.
    pub expected: bool,
    /// It is the peer, or may become it.
    pub allowed: bool,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionOutput {
    /// Send this datagram from a port.
    Transmit {
        /// The port that sends it.
        port: LocalPort,
        /// The address that it goes to.
        to: SocketAddr,
        /// What the datagram says.
        bytes: Vec<u8>,
    },
    /// The peer of the port has proved itself there; `None`: it has not consented for too long.
    Peer {
        /// The port whose peer that is.
        port: LocalPort,
        /// Where media comes from and goes to.
        address: Option<SocketAddr>,
    },
}

#[derive(Debug)]
struct Attempt {
    /// Whose it is; `None`: that of the agent's peer, wherever it is.
    with: Option<SocketAddr>,
    handshake: Box<dyn Handshake>,
    /// The library has given it up: a new ClientHello begins another.
    is_broken: bool,
}

#[derive(Debug)]
struct Session {
    setup: Arc<SessionSetup>,
    ice: Option<IceAgent>,
    attempts: Vec<Attempt>,
    begun: u8,
    /// The last source of a handshake: answered there while no pair is chosen.
    heard: Option<SocketAddr>,
    due: Option<Mono>,
}

/// The sessions of a shard's ports, and their timers.
#[derive(Debug, Default)]
pub struct SessionMachine {
    sessions: HashMap<LocalPort, Session>,
    timers: BTreeSet<(Mono, LocalPort)>,
    out: VecDeque<SessionOutput>,
}

impl SessionMachine {
    /// A rule says what the session of its port is. What is the same goes on: an ICE restart leaves the keys of DTLS (RFC 8842
    /// §5), and the media where it is until a new pair is found.
    pub fn install(&mut self, port: LocalPort, setup: Option<&Arc<SessionSetup>>, now: Mono) {
        let Some(setup) = setup else { return self.remove(port) };
        let before = self.sessions.remove(&port);
        let mut session = match before {
            Some(session) if session.setup == *setup => {
                self.sessions.insert(port, session);
                return;
            }
            Some(session) => session,
            None => Session {
                setup: Arc::clone(setup),
                ice: None,
                attempts: Vec::new(),
                begun: 0,
                heard: None,
                due: None,
            },
        };
        match (&mut session.ice, &setup.ice) {
            // The same generation goes on, with what was told since (RFC 8838 §5).
            (Some(agent), Some(ice)) if agent.is_of(ice) => agent.add(&ice.candidates),
            (agent, ice) => *agent = ice.clone().map(|ice| IceAgent::new(ice, now)),
        }
        if session.setup.dtls != setup.dtls || session.setup.peer != setup.peer && setup.ice.is_none() {
            session.attempts.clear();
            (session.begun, session.heard) = (0, None);
        }
        session.setup = Arc::clone(setup);
        if let Some(agent) = &mut session.ice {
            agent.handle_timeout(now);
        }
        self.sessions.insert(port, session);
        self.go_on(port, now);
    }

    /// The port is another call's, or nobody's.
    pub fn remove(&mut self, port: LocalPort) {
        if self.sessions.is_empty() {
            return;
        }
        if let Some(due) = self.sessions.remove(&port).and_then(|gone| gone.due) {
            self.timers.remove(&(due, port));
        }
    }

    /// A packet that [`crate::Judgement::Session`] hands over.
    pub fn handle(
        &mut self,
        port: LocalPort,
        class: PacketClass,
        source: Source,
        packet: &[u8],
        now: Mono,
    ) -> SessionOutcome {
        let Some(session) = self.sessions.get_mut(&port) else {
            return without_session(class, source, packet);
        };
        let outcome = match (class, &mut session.ice) {
            (PacketClass::Stun, Some(agent)) => match agent.handle(source.address, packet, now) {
                Checked::Taken => SessionOutcome::Taken,
                Checked::Unwanted if agent.peer() == Some(source.address) => {
                    SessionOutcome::Unwanted(DropReason::Kind)
                }
                Checked::Unwanted => SessionOutcome::Unwanted(DropReason::Source),
            },
            (PacketClass::Dtls, agent) => {
                let may = match agent {
                    Some(agent) => agent.is_valid(source.address),
                    None => source.allowed,
                };
                match may {
                    true => self.on_dtls(port, source.address, packet, now),
                    false => SessionOutcome::Unwanted(DropReason::Source),
                }
            }
            _ => without_session(class, source, packet),
        };
        if outcome == SessionOutcome::Taken {
            self.go_on(port, now);
        }
        outcome
    }

    fn on_dtls(&mut self, port: LocalPort, from: SocketAddr, packet: &[u8], now: Mono) -> SessionOutcome {
        let unwanted = SessionOutcome::Unwanted(DropReason::Kind);
        let Some(session) = self.sessions.get_mut(&port) else { return unwanted };
        let Some(dtls) = &session.setup.dtls else { return unwanted };
        let with = session.ice.is_none().then_some(from);
        let at = session.attempts.iter().position(|h| h.with == with);
        let anew = session.attempts.get(at.unwrap_or(usize::MAX)).is_none_or(|h| h.is_broken);
        if anew {
            // Only a first flight begins one, and only while there are no keys.
            if dtls.active || !is_client_hello(packet) || dtls.slot.is_filled() || session.begun >= HANDSHAKES
            {
                return unwanted;
            }
            if let Some(at) = at {
                session.attempts.remove(at);
            }
            if session.attempts.len() >= AT_ONCE {
                return unwanted;
            }
            let Some(handshake) = dtls.begin(now) else { return unwanted };
            session.begun = session.begun.saturating_add(1);
            session.attempts.push(Attempt { with, handshake, is_broken: false });
        }
        session.heard = Some(from);
        let Some(attempt) = session.attempts.iter_mut().find(|h| h.with == with) else { return unwanted };
        match attempt.handshake.handle(packet, now) {
            Progress::UnderWay => {}
            Progress::Ended => attempt.is_broken = true,
            Progress::Done(keys) => {
                let [theirs, ours] = &*keys;
                let is_first = session.setup.dtls.as_ref().is_some_and(|d| d.slot.fill(theirs, ours));
                if let Some(address) = with.filter(|_| is_first) {
                    self.out.push_back(SessionOutput::Peer { port, address: Some(address) });
                }
            }
        }
        SessionOutcome::Taken
    }

    /// Does what a session wants, after something has happened to it.
    fn go_on(&mut self, port: LocalPort, now: Mono) {
        let Some(session) = self.sessions.get_mut(&port) else { return };
        let mut found = None;
        if let Some(agent) = &mut session.ice {
            while let Some(output) = agent.poll_output() {
                self.out.push_back(match output {
                    IceOutput::Transmit(to, bytes) => SessionOutput::Transmit { port, to, bytes },
                    IceOutput::Peer(address) => SessionOutput::Peer { port, address },
                });
            }
            found = agent.peer();
        }
        session.begin(found, now);
        for attempt in &mut session.attempts {
            let to = attempt.with.or(found).or(session.heard);
            while let Some(bytes) = attempt.handshake.poll_transmit() {
                if let Some(to) = to {
                    self.out.push_back(SessionOutput::Transmit { port, to, bytes });
                }
            }
        }
        let checks = session.ice.as_ref().and_then(IceAgent::poll_timeout);
        let flights = session.attempts.iter().filter(|h| !h.is_broken);
        let flight = flights.filter_map(|h| h.handshake.poll_timeout()).min();
        let old = session.due;
        // Never in this wake-up again: what is due without end must not hold up packets.
        let due = [checks, flight].into_iter().flatten().min().map(|at| at.max(after(now, SOONEST)));
        if old != due {
            if let Some(old) = old {
                self.timers.remove(&(old, port));
            }
            self.timers.extend(due.map(|at| (at, port)));
            if let Some(session) = self.sessions.get_mut(&port) {
                session.due = due;
            }
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        while let Some((at, port)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, port));
            let Some(session) = self.sessions.get_mut(&port) else { continue };
            session.due = None;
            if let Some(agent) = &mut session.ice {
                agent.handle_timeout(now);
            }
            for attempt in session.attempts.iter_mut().filter(|h| !h.is_broken) {
                let is_due = attempt.handshake.poll_timeout().is_some_and(|due| due <= now);
                if is_due && attempt.handshake.handle_timeout(now) == Progress::Ended {
                    attempt.is_broken = true;
                }
            }
            self.go_on(port, now);
        }
    }

    /// When to call [`SessionMachine::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What to do next; drain after every `handle…` and `install`.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        self.out.pop_front()
    }

    /// Sessions that there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

impl Session {
    /// An active handshake begins where the peer is, when that is known; a broken one begins anew.
    fn begin(&mut self, found: Option<SocketAddr>, now: Mono) {
        let Some(dtls) = self.setup.dtls.as_ref().filter(|d| d.active && !d.slot.is_filled()) else { return };
        let to = if self.ice.is_some() { found } else { self.setup.peer };
        let Some(to) = to else { return };
        let with = self.ice.is_none().then_some(to);
        let running = self.attempts.iter().any(|h| !h.is_broken);
        if running || self.begun >= HANDSHAKES {
            return;
        }
        self.attempts.clear();
        if let Some(handshake) = dtls.begin(now) {
            self.begun = self.begun.saturating_add(1);
            self.attempts.push(Attempt { with, handshake, is_broken: false });
        }
    }
}

/// A record of the handshake in epoch 0 that begins with a ClientHello (RFC 6347 §4.2.1).
fn is_client_hello(packet: &[u8]) -> bool {
    packet.first() == Some(&22) && packet.get(3..5) == Some(&[0, 0]) && packet.get(13) == Some(&1)
}

/// Nobody awaits it: a keep-alive of the peer is taken all the same (RFC 8445 §11 and RFC 6263 §4.6 keep NAT bindings open).
fn without_session(class: PacketClass, source: Source, packet: &[u8]) -> SessionOutcome {
    // A stranger's is a stranger's packet, whatever it holds.
    if !source.expected {
        return SessionOutcome::Unwanted(DropReason::Source);
    }
    let is_keep_alive = || StunView::parse(packet).is_some_and(|v| v.kind() == StunKind::Indication);
    match class {
        PacketClass::Stun if is_keep_alive() => SessionOutcome::Taken,
        _ => SessionOutcome::Unwanted(DropReason::Kind),
    }
}

#[cfg(test)]
#[path = "tests_session.rs"]
mod tests;
