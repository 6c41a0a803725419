//! Client transaction for everything but INVITE and ACK (RFC 3261 §17.1.2).
//!
//! In: responses of one branch and the time. Out: retransmissions (timer E: T1 doubling to T2, T2 once a 1xx came) and
//! `PassUp` for each provisional and the one final response. Timer F ends it after 64·T1 as `TimedOut`. On reliable
//! transports timer E is off and timer K is zero.

use warp_model::Mono;

use super::{Action, Actions, ClientInput, Deadlines, TimerName, Timers};

/// States of RFC 3261 figure 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Request sent, nothing heard.
    Trying,
    /// A provisional response (1xx) came.
    Proceeding,
    /// A final came; its repetitions are swallowed (timer K).
    Completed,
    /// The transaction is over and may be forgotten.
    Terminated,
}

/// The state machine of one client transaction for any other request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOther {
    state: State,
    reliable: bool,
    timers: Deadlines,
}

impl ClientOther {
    /// The request goes out now. The first action is always `Send`.
    pub fn start(reliable: bool, t: &Timers, now: Mono) -> (ClientOther, Actions) {
        let timers = Deadlines::start((!reliable).then_some(t.t1), t.t1_64(), now);
        let machine = ClientOther { state: State::Trying, reliable, timers };
        (machine, Actions::one(Action::Send))
    }

    /// Takes one input; gives what to do, and sets the timers.
    pub fn on_input(&mut self, input: ClientInput, t: &Timers, now: Mono) -> Actions {
        use State::*;
        match (self.state, input) {
            (Trying | Proceeding, ClientInput::Response(100..=199)) => {
                self.state = Proceeding;
                Actions::one(Action::PassUp)
            }
            (Trying | Proceeding, ClientInput::Response(200..=699)) => {
                if self.reliable {
                    self.end();
                    return Actions::two(Action::PassUp, Action::Terminated);
                }
                self.state = Completed;
                self.timers = Deadlines::start(None, t.t4, now);
                Actions::one(Action::PassUp)
            }
            (Trying | Proceeding, ClientInput::TransportError) => {
                self.end();
                Actions::two(Action::TransportFailed, Action::Terminated)
            }
            _ => Actions::NONE,
        }
    }

    /// Takes the time that has come; gives what to do when a timer fired.
    pub fn on_timeout(&mut self, t: &Timers, now: Mono) -> Actions {
        if self.state == State::Proceeding {
            // RFC 3261 §17.1.2.2: in Proceeding timer E is reset to T2.
            self.timers.interval = t.t2;
        }
        let unanswered = matches!(self.state, State::Trying | State::Proceeding);
        let actions = self.timers.on_timeout(now, t.t2, unanswered);
        self.over(actions)
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
            State::Trying | State::Proceeding => TimerName::F,
            _ => TimerName::K,
        };
        self.timers.named(TimerName::E, expire)
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
