//! Server transaction for everything but INVITE and ACK (RFC 3261 §17.2.2).
//!
//! In: repeated requests, the core's responses and the time. Out: `Send` for a response that may go out, `Resend` of the last
//! one on a repeated request. After one final response nothing else is ever sent. Timer J (64·T1, zero on reliable
//! transports) ends it. A core that never answers is ended by its client transaction's timer F, not here.

use warp_model::Mono;

use super::{Action, Actions, Deadlines, ServerInput, TimerName, Timers};

/// States of RFC 3261 figure 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing has been sent yet.
    Trying,
    /// A 1xx was sent.
    Proceeding,
    /// The final response was sent (timer J).
    Completed,
    /// The transaction is over and may be forgotten.
    Terminated,
}

/// The state machine of one server transaction for any other request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerOther {
    state: State,
    reliable: bool,
    timers: Deadlines,
}

impl ServerOther {
    /// The request came for the first time.
    pub fn start(reliable: bool) -> ServerOther {
        ServerOther { state: State::Trying, reliable, timers: Deadlines::OFF }
    }

    /// Takes one input; gives what to do, and sets the timers.
    pub fn on_input(&mut self, input: ServerInput, t: &Timers, now: Mono) -> Actions {
        use State::*;
        match (self.state, input) {
            (Trying | Proceeding, ServerInput::Respond(100..=199)) => {
                self.state = Proceeding;
                Actions::one(Action::Send)
            }
            (Trying | Proceeding, ServerInput::Respond(200..=699)) => {
                if self.reliable {
                    self.end();
                    return Actions::two(Action::Send, Action::Terminated);
                }
                self.state = Completed;
                self.timers = Deadlines::start(None, t.t1_64(), now);
                Actions::one(Action::Send)
            }
            (Proceeding | Completed, ServerInput::Request) => Actions::one(Action::Resend),
            (Proceeding | Completed, ServerInput::TransportError) => {
                self.end();
                Actions::two(Action::TransportFailed, Action::Terminated)
            }
            _ => Actions::NONE,
        }
    }

    /// Takes the time that has come; gives what to do when a timer fired.
    pub fn on_timeout(&mut self, t: &Timers, now: Mono) -> Actions {
        let actions = self.timers.on_timeout(now, t.t2, false);
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
        // No timer retransmits here: the name of the first is never used.
        self.timers.named(TimerName::J, TimerName::J)
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
