//! One connection as a machine, for both sides: states, windows, sequence numbers and timers (SMPP 3.4 §2.2 to §2.9).
//!
//! The owner frames the bytes, gives each header to [`Session::handle`], which says what is to be done with the PDU, takes a sequence
//! number for each own request from [`Session::request`], and asks [`Session::poll`] after each of them and when [`Session::deadline`]
//! comes. The machine writes no bytes; what it wants sent is named in what it returns.
//!
//! Invariants: an answer to enquire_link waits for no window; a response to nothing is counted and ignored; what is in flight is bounded by
//! the window in each direction; after [`Action::Close`] nothing comes any more.

mod table;

use std::collections::VecDeque;
use std::time::Duration;

use warp_model::Mono;

use crate::command::Command;
use crate::frame::Header;
use crate::status::Status;
pub use table::{allowed, bound};

/// Who is who in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The external entity: it binds.
    Esme,
    /// The message centre: it is bound to.
    Smsc,
}

impl Side {
    /// The side that is at the other end.
    pub const fn other(self) -> Side {
        match self {
            Side::Esme => Side::Smsc,
            Side::Smsc => Side::Esme,
        }
    }
}

/// Where a session stands (§2.2; Unbound: 5.0 §2.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Connected, and not bound yet.
    Open,
    /// Bound, and the ESME sends.
    BoundTx,
    /// Bound, and the ESME receives.
    BoundRx,
    /// The ESME sends and receives.
    BoundTrx,
    /// After unbind: connected, about to be closed.
    Unbound,
    /// The connection is over.
    Closed,
}

impl State {
    /// All of them, for tables that are walked.
    pub const ALL: [State; 6] =
        [State::Open, State::BoundTx, State::BoundRx, State::BoundTrx, State::Unbound, State::Closed];

    /// Whether a bind stands.
    pub const fn is_bound(self) -> bool {
        matches!(self, State::BoundTx | State::BoundRx | State::BoundTrx)
    }
}

/// The timers of a session (§2.9), each with our default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// From the connection to the bind; then it is closed. 30 s.
    pub session_init: Duration,
    /// Without traffic for so long, enquire_link is sent. 30 s.
    pub enquire_link: Duration,
    /// Without anything but enquire_link for so long, the session is unbound. 300 s; zero: never.
    pub inactivity: Duration,
    /// A request without an answer is given up after so long. 60 s.
    pub response: Duration,
    /// From the first byte of a PDU to its last. 10 s.
    pub pdu_read: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        let s = Duration::from_secs;
        Timers {
            session_init: s(30),
            enquire_link: s(30),
            inactivity: s(300),
            response: s(60),
            pdu_read: s(10),
        }
    }
}

/// What to do with a PDU that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A request to bind as this: check it, then call [`Session::bound`] or leave it, and answer.
    Bind(State),
    /// A request for the application. Answer it, and say so by [`Session::answered`].
    Request,
    /// The answer to the own request that had this token.
    Answer {
        /// As it was given to [`Session::request`].
        token: u64,
        /// Which request it was.
        command: Command,
    },
    /// Answer at once with this status, by [`crate::pdu::reply`]; nothing else is to be done.
    Reply(Status),
    /// A notice without an answer: outbind, alert_notification.
    Notice,
    /// The peer unbinds: take no more requests; [`Action::UnbindAnswered`] comes when what is in flight is answered.
    Unbinding,
    /// Nothing to do: the answer to enquire_link, a response that nobody waits for, a PDU after the end.
    Ignored,
}

/// What the machine wants done by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send enquire_link with this sequence number.
    Enquire(u32),
    /// Send unbind with this sequence number.
    Unbind(u32),
    /// Answer the peer's unbind of this sequence number; [`Action::Close`] follows.
    UnbindAnswered(u32),
    /// No answer came to the own request of this token, or the session ended first.
    Expired {
        /// As it was given to [`Session::request`].
        token: u64,
        /// Which request it was.
        command: Command,
    },
    /// Close the connection. It is the last action.
    Close(Closing),
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// No bind came in time.
    NoBind,
    /// Two enquire_links were not answered.
    DeadLink,
    /// An unbind was exchanged, or not answered in time.
    Unbound,
    /// Part of a PDU came, and its rest did not in time (T-SMS-06).
    SlowPdu,
    /// The connection broke, or its owner gave it up.
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    sequence: u32,
    command: Command,
    token: u64,
    sent: Mono,
}

/// The machine of one connection.
#[derive(Debug)]
pub struct Session {
    us: Side,
    state: State,
    timers: Timers,
    /// Own requests that may be in flight.
    window: usize,
    /// Requests of the peer that may be in flight.
    peer_window: usize,
    next: u32,
    outstanding: VecDeque<Outstanding>,
    unanswered: usize,
    opened: Mono,
    /// The last PDU that arrived.
    heard: Mono,
    /// The last PDU of either side that was no enquire_link.
    active: Mono,
    enquiry: Option<(u32, Mono)>,
    missed: u8,
    /// The sequence number of the unbind that we sent, and when.
    unbinding: Option<(u32, Mono)>,
    /// The sequence number of the unbind that the peer sent.
    peer_unbinds: Option<u32>,
    /// When the first byte of an unfinished PDU came.
    partial: Option<Mono>,
    closing: Option<Closing>,
    /// Responses that nobody waited for.
    strays: u64,
}

/// Most requests in flight in one direction, whatever an account says.
pub const WINDOW: usize = 4_096;
const SEQUENCE_MAX: u32 = 0x7FFF_FFFF;

/// Why no request can be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The window is full.
    Window,
    /// The state does not allow it.
    State,
}

impl Session {
    /// A session that was connected now. Windows are 1 to [`WINDOW`].
    pub fn new(us: Side, timers: Timers, window: usize, peer_window: usize, now: Mono) -> Session {
        Session {
            us,
            state: State::Open,
            timers,
            window: window.clamp(1, WINDOW),
            peer_window: peer_window.clamp(1, WINDOW),
            next: 1,
            outstanding: VecDeque::new(),
            unanswered: 0,
            opened: now,
            heard: now,
            active: now,
            enquiry: None,
            missed: 0,
            unbinding: None,
            peer_unbinds: None,
            partial: None,
            closing: None,
            strays: 0,
        }
    }

    /// Where it stands now.
    pub fn state(&self) -> State {
        self.state
    }

    /// Responses that belonged to no request.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// Own requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.outstanding.len()
    }

    /// How many more requests may be sent now; 0 while the session is not bound or ends.
    pub fn room(&self) -> usize {
        if !self.state.is_bound() || self.unbinding.is_some() || self.peer_unbinds.is_some() {
            return 0;
        }
        self.window.saturating_sub(self.outstanding.len())
    }

    /// Whether the peer has as many requests in flight as it may: stop reading, or throttle.
    pub fn is_full(&self) -> bool {
        self.unanswered >= self.peer_window
    }

    /// A customer's account says what its windows and timers are; known after the bind only.
    pub fn configure(&mut self, timers: Timers, window: usize, peer_window: usize) {
        self.timers = timers;
        self.window = window.clamp(1, WINDOW);
        self.peer_window = peer_window.clamp(1, WINDOW);
    }

    /// A PDU arrived: says what is to be done with it.
    pub fn handle(&mut self, header: &Header, now: Mono) -> Incoming {
        if self.state == State::Closed || self.closing.is_some() {
            return Incoming::Ignored;
        }
        self.heard = now;
        self.missed = 0;
        let command = header.command;
        if command.is_response() {
            return self.handle_response(header, now);
        }
        if command == Command::ENQUIRE_LINK {
            return Incoming::Reply(Status::ROK);
        }
        self.active = now;
        if !command.is_known() {
            return Incoming::Reply(Status::RINVCMDID);
        }
        if command.is_bind() && self.state.is_bound() && self.us == Side::Smsc {
            return Incoming::Reply(Status::RALYBND);
        }
        if !allowed(command, self.state, self.us.other()) || self.peer_unbinds.is_some() {
            return if command.has_response() {
                Incoming::Reply(Status::RINVBNDSTS)
            } else {
                Incoming::Ignored
            };
        }
        if !command.has_response() {
            return Incoming::Notice;
        }
        if command == Command::UNBIND {
            self.peer_unbinds = Some(header.sequence);
            return Incoming::Unbinding;
        }
        if let Some(state) = bound(command) {
            return Incoming::Bind(state);
        }
        if self.unbinding.is_some() {
            // We are going: what comes now is not taken, and told so.
            return Incoming::Reply(Status::RINVBNDSTS);
        }
        if self.is_full() {
            return Incoming::Reply(Status::RTHROTTLED);
        }
        self.unanswered = self.unanswered.saturating_add(1);
        Incoming::Request
    }

    fn handle_response(&mut self, header: &Header, now: Mono) -> Incoming {
        if self.enquiry.is_some_and(|(sequence, _)| sequence == header.sequence) {
            self.enquiry = None;
            return Incoming::Ignored;
        }
        if self.unbinding.is_some_and(|(sequence, _)| sequence == header.sequence) {
            self.state = State::Unbound;
            self.closing = Some(Closing::Unbound);
            return Incoming::Ignored;
        }
        let matches = |o: &Outstanding| {
            o.sequence == header.sequence
                && (header.command == o.command.response() || header.command == Command::GENERIC_NACK)
        };
        let Some(at) = self.outstanding.iter().position(matches) else {
            self.strays = self.strays.saturating_add(1);
            return Incoming::Ignored;
        };
        self.active = now;
        let Some(found) = self.outstanding.remove(at) else { return Incoming::Ignored };
        if let Some(state) = bound(found.command)
            && header.status.is_ok()
            && header.command != Command::GENERIC_NACK
        {
            self.state = state;
        }
        Incoming::Answer { token: found.token, command: found.command }
    }

    /// The bind was accepted: the session stands in this state now.
    pub fn bound(&mut self, state: State) {
        self.state = state;
    }

    /// A request that [`Incoming::Request`] gave was answered.
    pub fn answered(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// Takes a sequence number for an own request. `token` comes back with its answer, or when none comes.
    /// Errors: the window is full, or the state does not allow it.
    pub fn request(&mut self, command: Command, token: u64, now: Mono) -> Result<u32, Refused> {
        if !allowed(command, self.state, self.us) || self.closing.is_some() {
            return Err(Refused::State);
        }
        if !command.is_bind() && self.room() == 0 {
            return Err(Refused::Window);
        }
        let sequence = self.sequence();
        self.active = now;
        if command.has_response() {
            self.outstanding.push_back(Outstanding { sequence, command, token, sent: now });
        }
        Ok(sequence)
    }

    /// Goes on with this number, 1 to 0x7FFFFFFF: for a session whose numbers are to begin elsewhere than at 1.
    pub fn skip_to_sequence(&mut self, next: u32) {
        self.next = next.clamp(1, SEQUENCE_MAX);
    }

    /// Begins to unbind: no more requests are taken or sent; what is in flight is waited for. One that is not bound is closed.
    pub fn unbind(&mut self, now: Mono) -> Option<u32> {
        if self.unbinding.is_some() || self.closing.is_some() {
            return None;
        }
        if !self.state.is_bound() {
            self.closing = Some(Closing::Unbound);
            return None;
        }
        let sequence = self.sequence();
        self.unbinding = Some((sequence, now));
        Some(sequence)
    }

    /// The connection is gone: each own request without an answer expires by [`Session::poll`], the oldest first.
    pub fn lost(&mut self) {
        if self.closing.is_none() {
            self.closing = Some(Closing::Lost);
        }
    }

    /// Whether part of a PDU waits for its rest (after each read).
    pub fn partial(&mut self, partial: bool, now: Mono) {
        self.partial = match (partial, self.partial) {
            (true, None) => Some(now),
            (true, since) => since,
            (false, _) => None,
        };
    }

    /// What is to be done by now; ask until it gives `None`.
    pub fn poll(&mut self, now: Mono) -> Option<Action> {
        if self.state == State::Closed {
            return None;
        }
        if let Some(sequence) = self.peer_unbinds
            && self.unanswered == 0
            && self.closing.is_none()
        {
            self.state = State::Unbound;
            self.closing = Some(Closing::Unbound);
            return Some(Action::UnbindAnswered(sequence));
        }
        if let Some(why) = self.closing {
            // Each own request hears of its end before the connection goes.
            if let Some(o) = self.outstanding.pop_front() {
                return Some(Action::Expired { token: o.token, command: o.command });
            }
            self.state = State::Closed;
            return Some(Action::Close(why));
        }
        if let Some(front) = self.outstanding.front()
            && now >= front.sent + self.timers.response
        {
            let (token, command) = (front.token, front.command);
            self.outstanding.pop_front();
            return Some(Action::Expired { token, command });
        }
        if let Some(since) = self.partial
            && now >= since + self.timers.pdu_read
        {
            self.closing = Some(Closing::SlowPdu);
            return self.poll(now);
        }
        if let Some((_, at)) = self.unbinding {
            if now >= at + self.timers.response {
                self.closing = Some(Closing::Unbound);
                return self.poll(now);
            }
            return None;
        }
        if !self.state.is_bound() {
            if now >= self.opened + self.timers.session_init {
                self.closing = Some(Closing::NoBind);
                return self.poll(now);
            }
            return None;
        }
        self.poll_link(now)
    }

    fn poll_link(&mut self, now: Mono) -> Option<Action> {
        if let Some((_, at)) = self.enquiry
            && now >= at + self.enquiry_patience()
        {
            self.enquiry = None;
            self.missed = self.missed.saturating_add(1);
            if self.missed >= 2 {
                self.closing = Some(Closing::DeadLink);
                return self.poll(now);
            }
            return Some(self.enquire(now));
        }
        if !self.timers.inactivity.is_zero() && now >= self.active + self.timers.inactivity {
            return self.unbind(now).map(Action::Unbind);
        }
        if self.enquiry.is_none() && now >= self.heard + self.timers.enquire_link {
            return Some(self.enquire(now));
        }
        None
    }

    /// When to ask [`Session::poll`] again at the latest; `None` after the end.
    pub fn deadline(&self) -> Option<Mono> {
        if self.state == State::Closed {
            return None;
        }
        if self.closing.is_some() || (self.peer_unbinds.is_some() && self.unanswered == 0) {
            return Some(Mono(0));
        }
        let timers = &self.timers;
        let response = self.outstanding.front().map(|o| o.sent + timers.response);
        let partial = self.partial.map(|since| since + timers.pdu_read);
        let state = if let Some((_, at)) = self.unbinding {
            at + timers.response
        } else if !self.state.is_bound() {
            self.opened + timers.session_init
        } else {
            let link = match self.enquiry {
                Some((_, at)) => at + self.enquiry_patience(),
                None => self.heard + timers.enquire_link,
            };
            if timers.inactivity.is_zero() { link } else { link.min(self.active + timers.inactivity) }
        };
        [response, partial].into_iter().flatten().chain([state]).min()
    }

    fn enquire(&mut self, now: Mono) -> Action {
        let sequence = self.sequence();
        self.enquiry = Some((sequence, now));
        Action::Enquire(sequence)
    }

    /// A link is asked twice within the time of one answer, so that a dead one costs no more than that.
    fn enquiry_patience(&self) -> Duration {
        self.timers.response.checked_div(2).unwrap_or(self.timers.response)
    }

    fn sequence(&mut self) -> u32 {
        let sequence = self.next;
        self.next = if sequence >= SEQUENCE_MAX { 1 } else { sequence.saturating_add(1) };
        sequence
    }
}
