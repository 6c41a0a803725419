//! Client transaction for INVITE (RFC 3261 §17.1.1, with the Accepted state of RFC 6026 §7.2 and §8.4).
//!
//! In: responses of one branch and the time. Out: retransmissions (timer A, doubling from T1 until the first 1xx), ACK for
//! 300–699, and `PassUp` for each response that the proxy core must see (several 2xx when a fork answered twice).
//! Timer B ends it after 64·T1 as `TimedOut`, which the proxy core treats as a received 408. On reliable transports timer A
//! is off and timer D is zero. Timer C belongs to the proxy core (`crate::proxy`).

use std::time::Duration;

use warp_model::Mono;

use super::{Action, Actions, ClientInput, Deadlines, TimerName, Timers};

/// States of RFC 6026 figure 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// INVITE sent, nothing heard.
    Calling,
    /// A provisional response (1xx) came.
    Proceeding,
    /// A 2xx came; its repetitions and those of other forks are passed up (timer M).
    Accepted,
    /// A 300–699 came; its repetitions are acknowledged here (timer D).
    Completed,
    /// The transaction is over and may be forgotten.
    Terminated,
}

/// The state machine of one client transaction for INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientInvite {
    state: State,
    reliable: bool,
    timers: Deadlines,
}

impl ClientInvite {
    /// The INVITE goes out now. The first action is always `Send`.
    pub fn start(reliable: bool, t: &Timers, now: Mono) -> (ClientInvite, Actions) {
        let timers = Deadlines::start((!reliable).then_some(t.t1), t.t1_64(), now);
        let machine = ClientInvite { state: State::Calling, reliable, timers };
        (machine, Actions::one(Action::Send))
    }

    /// Takes one input; gives what to do, and sets the timers.
    pub fn on_input(&mut self, input: ClientInput, t: &Timers, now: Mono) -> Actions {
        use State::*;
        match (self.state, input) {
            (Calling | Proceeding, ClientInput::Response(100..=199)) => {
                self.state = Proceeding;
                self.timers = Deadlines::OFF;
                Actions::one(Action::PassUp)
            }
            (Calling | Proceeding, ClientInput::Response(200..=299)) => {
                self.state = Accepted;
                self.timers = Deadlines::start(None, t.t1_64(), now);
                Actions::one(Action::PassUp)
            }
            (Accepted, ClientInput::Response(200..=299)) => Actions::one(Action::PassUp),
            (Calling | Proceeding, ClientInput::Response(300..=699)) => {
                if self.reliable {
                    self.end();
                    return Actions::three(Action::Ack, Action::PassUp, Action::Terminated);
                }
                self.state = Completed;
                self.timers = Deadlines::start(None, t.d, now);
                Actions::two(Action::Ack, Action::PassUp)
            }
            (Completed, ClientInput::Response(300..=699)) => Actions::one(Action::Ack),
            (Calling | Proceeding | Completed, ClientInput::TransportError) => {
                self.end();
                Actions::two(Action::TransportFailed, Action::Terminated)
            }
            // Late or absurd: swallowed (RFC 6026 §8.4; a lost connection after a 2xx changes nothing here).
            _ => Actions::NONE,
        }
    }

    /// Takes the time that has come; gives what to do when a timer fired.
    pub fn on_timeout(&mut self, _t: &Timers, now: Mono) -> Actions {
        let unanswered = self.state == State::Calling;
        let actions = self.timers.on_timeout(now, Duration::MAX, unanswered);
        self.over(actions)
    }

    /// Stops timer A: nothing more is sent for this branch, but its late answers are still understood until timer B.
    /// For branches that the proxy core gave up before their first 1xx (F-NET-02).
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
            State::Calling => TimerName::B,
            State::Accepted => TimerName::M,
            _ => TimerName::D,
        };
        self.timers.named(TimerName::A, expire)
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
