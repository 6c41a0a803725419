//! The four transaction machines of RFC 3261 §17 with the Accepted states of RFC 6026, as pure values.
//!
//! A machine knows no bytes: its owner keeps the request and the last response, tells the machine what happened and when,
//! and carries out the [`Action`]s it gets back. Timers are data inside the machine ([`Deadlines`]): the owner asks
//! `next_timeout` and calls `on_timeout`; calling early or twice does nothing.
//!
//! The specification is `tables/*.md`; `tests/tables.rs` walks every row of it against the code.
//!
//! Absent on purpose: matching (the owner has the table), 100 Trying (the owner answers it through `on_respond`), ACK for
//! 2xx (end to end, no transaction: RFC 3261 §13.2.2.4).

use std::time::Duration;

use warp_model::Mono;

pub mod client_invite;
pub mod client_other;
pub mod server_invite;
pub mod server_other;

pub use client_invite::ClientInvite;
pub use client_other::ClientOther;
pub use server_invite::ServerInvite;
pub use server_other::ServerOther;

/// What the owner must do, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send what was just handed in (the request at the start, or the response of `on_respond`), and keep it.
    Send,
    /// Send again what was kept: the request of a client transaction, the last response of a server transaction.
    Resend,
    /// Send (again) the ACK for the kept 300–699 response (RFC 3261 §17.1.1.3).
    Ack,
    /// The proxy core must see this message.
    PassUp,
    /// The peer never answered (timers B, F), or never acknowledged (timer H). Client side: as a received 408.
    TimedOut,
    /// The transport failed. Client side: as a received 503 (RFC 3261 §16.9).
    TransportFailed,
    /// The transaction is over: forget it.
    Terminated,
}

/// At most three [`Action`]s, in order, without allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions([Option<Action>; 3]);

impl Actions {
    /// There is nothing to do.
    pub const NONE: Actions = Actions([None; 3]);

    /// A list of one action.
    pub const fn one(a: Action) -> Actions {
        Actions([Some(a), None, None])
    }

    /// Two actions, in order.
    pub const fn two(a: Action, b: Action) -> Actions {
        Actions([Some(a), Some(b), None])
    }

    /// Three actions, in order.
    pub const fn three(a: Action, b: Action, c: Action) -> Actions {
        Actions([Some(a), Some(b), Some(c)])
    }

    /// Whether `a` is among them.
    pub fn contains(&self, a: Action) -> bool {
        self.0.contains(&Some(a))
    }
}

impl IntoIterator for Actions {
    type Item = Action;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Action>, 3>>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

/// What a client transaction is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientInput {
    /// A response of this branch with its status, 100 to 699.
    Response(u16),
    /// The transport could not deliver (ICMP, connection refused or closed).
    TransportError,
}

/// What a server transaction is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerInput {
    /// The request came again.
    Request,
    /// ACK (INVITE transactions only).
    Ack,
    /// The core answers with this status.
    Respond(u16),
    /// The transport could not deliver.
    TransportError,
}

/// Names of the timers (RFC 3261 appendix A table 4, RFC 6026 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum TimerName {
    A,
    B,
    D,
    E,
    F,
    G,
    H,
    I,
    J,
    K,
    L,
    M,
}

/// The base timers. Everything else is derived (RFC 3261 appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip estimate; 500 ms.
    pub t1: Duration,
    /// Cap of retransmission intervals for non-INVITE requests and INVITE responses; 4 s.
    pub t2: Duration,
    /// How long a message lives in the network; 5 s.
    pub t4: Duration,
    /// Timer C: INVITE at a proxy without a final answer; more than 3 minutes.
    pub c: Duration,
    /// Timer D on unreliable transports; at least 32 s.
    pub d: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            c: Duration::from_secs(181),
            d: Duration::from_secs(32),
        }
    }
}

impl Timers {
    /// 64·T1: timers B, F, H, J, L and M.
    pub fn t1_64(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}

/// The deadline of a timer that is not set.
pub const NEVER: Mono = Mono(u64::MAX);

/// The (at most) two running timers of a transaction: one that retransmits, one that ends the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    retransmit_at: Mono,
    interval: Duration,
    expire_at: Mono,
}

impl Deadlines {
    const OFF: Deadlines = Deadlines { retransmit_at: NEVER, interval: Duration::ZERO, expire_at: NEVER };

    fn start(retransmit: Option<Duration>, expire: Duration, now: Mono) -> Deadlines {
        Deadlines {
            retransmit_at: retransmit.map_or(NEVER, |d| later(now, d)),
            interval: retransmit.unwrap_or(Duration::ZERO),
            expire_at: later(now, expire),
        }
    }

    fn next(&self) -> Option<Mono> {
        let at = self.retransmit_at.min(self.expire_at);
        (at != NEVER).then_some(at)
    }

    fn named(&self, retransmit: TimerName, expire: TimerName) -> [Option<(TimerName, Mono)>; 2] {
        [
            (self.retransmit_at != NEVER).then_some((retransmit, self.retransmit_at)),
            (self.expire_at != NEVER).then_some((expire, self.expire_at)),
        ]
    }

    /// What the clock says, the same for all machines: the state's time is up (`unanswered`: while the peer still owed something), or a
    /// retransmission is due. Nothing when no timer runs.
    fn on_timeout(&mut self, now: Mono, cap: Duration, unanswered: bool) -> Actions {
        if self.expire_at <= now {
            *self = Deadlines::OFF;
            return match unanswered {
                true => Actions::two(Action::TimedOut, Action::Terminated),
                false => Actions::one(Action::Terminated),
            };
        }
        match self.retransmit_due(now, cap) {
            true => Actions::one(Action::Resend),
            false => Actions::NONE,
        }
    }

    /// True when a retransmission is due; the next one is armed after the doubled interval, at most `cap`.
    fn retransmit_due(&mut self, now: Mono, cap: Duration) -> bool {
        if self.retransmit_at > now {
            return false;
        }
        self.interval = self.interval.saturating_mul(2).min(cap);
        self.retransmit_at = later(now, self.interval);
        true
    }
}

fn later(now: Mono, d: Duration) -> Mono {
    Mono(now.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
}
