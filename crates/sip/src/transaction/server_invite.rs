//! Server transaction for INVITE (RFC 3261 §17.2.1, with the Accepted state of RFC 6026 §7.1 and §8.5).
//!
//! In: repeated INVITEs, ACK, the core's responses and the time. Out: `Send` for a response that may go out, `Resend` of the
//! last one (on a repeated INVITE; by timer G for 300–699), `PassUp` of an ACK that belongs to a 2xx. After one final
//! 300–699 nothing else is ever sent; after a 2xx only further 2xx. Timer H ends a missing ACK as `TimedOut`.
//! On reliable transports timer G is off and timer I is zero.

use warp_model::Mono;

use super::{Action, Actions, Deadlines, ServerInput, TimerName, Timers};

/// States of RFC 6026 figure 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No final response yet.
    Proceeding,
    /// A 2xx was sent; repeated INVITEs are swallowed (timer L).
    Accepted,
    /// A 300–699 was sent; waiting for its ACK (timers G and H).
    Completed,
    /// ACK came; its repetitions are swallowed (timer I).
    Confirmed,
    /// The transaction is over and may be forgotten.
    Terminated,
}

/// The state machine of one server transaction for INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerInvite {
    state: State,
    reliable: bool,
    timers: Deadlines,
}

impl ServerInvite {
    /// The INVITE came for the first time. The core answers 100 within 200 ms through [`Self::on_input`].
    pub fn start(reliable: bool) -> ServerInvite {
        ServerInvite { state: State::Proceeding, reliable, timers: Deadlines::OFF }
    }

    /// Takes one input; gives what to do, and sets the timers.
    pub fn on_input(&mut self, input: ServerInput, t: &Timers, now: Mono) -> Actions {
        use State::*;
        match (self.state, input) {
            (Proceeding, ServerInput::Respond(100..=199)) => Actions::one(Action::Send),
            (Proceeding, ServerInput::Respond(200..=299)) => {
                self.state = Accepted;
                self.timers = Deadlines::start(None, t.t1_64(), now);
                Actions::one(Action::Send)
            }
            (Proceeding, ServerInput::Respond(300..=699)) => {
                self.state = Completed;
                self.timers = Deadlines::start((!self.reliable).then_some(t.t1), t.t1_64(), now);
                Actions::one(Action::Send)
            }
            (Accepted, ServerInput::Respond(200..=299)) => Actions::one(Action::Send),
            (Proceeding | Completed, ServerInput::Request) => Actions::one(Action::Resend),
            (Accepted, ServerInput::Ack) => Actions::one(Action::PassUp),
            (Completed, ServerInput::Ack) => {
                if self.reliable {
                    self.end();
                    return Actions::one(Action::Terminated);
                }
                self.state = Confirmed;
                self.timers = Deadlines::start(None, t.t4, now);
                Actions::NONE
            }
            (Completed, ServerInput::TransportError) => {
                self.end();
                Actions::two(Action::TransportFailed, Action::Terminated)
            }
            // RFC 6026 §7.1: a lost connection does not end Proceeding or Accepted.
            (Proceeding, ServerInput::TransportError) => Actions::one(Action::TransportFailed),
            _ => Actions::NONE,
        }
    }

    /// Takes the time that has come; gives what to do when a timer fired.
    pub fn on_timeout(&mut self, t: &Timers, now: Mono) -> Actions {
        let unacknowledged = self.state == State::Completed;
        let actions = self.timers.on_timeout(now, t.t2, unacknowledged);
        self.over(actions)
    }

    /// Stops timer G: the 300–699 is not repeated by itself. For strangers over UDP (T-SIP-13).
    pub fn hush(&mut self) {
        self.timers.retransmit_at = super::NEVER;
    }

    /// The state that the machine is in.
    pub fn state(&self) -> State {
        self.state
    }

    /// When to call [`Self::on_timeout`].
    pub fn next_timeout(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// Running timers with their deadlines.
    pub fn running(&self) -> [Option<(TimerName, Mono)>; 2] {
        let expire = match self.state {
            State::Accepted => TimerName::L,
            State::Confirmed => TimerName::I,
            _ => TimerName::H,
        };
        self.timers.named(TimerName::G, expire)
    }

    fn over(&mut self, actions: Actions) -> Actions {
        if actions.contains(Action::Terminated) {
            self.state = State::Terminated;
        }
        actions
    }

    fn end(&mut self) {
        self.state = State::Terminated;
        self.timers = Deadlines::OFF;
    }
}
