//! What a stateful proxy decides (RFC 3261 §16), apart from bytes and sockets: which response of several branches is the
//! best, what a vendor's failure means for serial failover, when CANCEL may be sent, timer C, and the mapping between SIP
//! status codes and Q.850 causes.
//!
//! Tables: `tables/failover.md`, `tables/q850.md`, walked by `tests/tables.rs`.

use std::time::Duration;

use warp_model::Mono;

use crate::header::{Reason, Values};

/// Which final responses the branches of one request have had, and which of them is the one to forward
/// (RFC 3261 §16.7 step 6). Holds no bytes: the owner keeps the response of [`ResponseContext::best`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseContext {
    best: Option<(u16, u16)>,
}

impl ResponseContext {
    /// A branch ended with `status` (300–699; a time-out is 408, a transport failure 503). True when this response is now
    /// the best one and replaces what the owner kept.
    pub fn add(&mut self, branch: u16, status: u16) -> bool {
        let better = self.best.is_none_or(|(_, held)| rank(status) < rank(held));
        if better {
            self.best = Some((branch, status));
        }
        better
    }

    /// Branch and status of the best final so far.
    pub fn best(&self) -> Option<(u16, u16)> {
        self.best
    }
}

/// Lower is better: 6xx before all; then the lowest class; inside 4xx those that help the caller to try again first.
fn rank(status: u16) -> (u16, u16, u16) {
    match status {
        600..=699 => (0, 0, status),
        400..=499 => {
            let helpful = matches!(status, 401 | 407 | 415 | 420 | 484);
            // 408 and 487 of our own making say least.
            let poor = matches!(status, 408 | 487);
            let order = match (helpful, poor) {
                (true, _) => 0,
                (false, false) => 1,
                (false, true) => 2,
            };
            (4, order, status)
        }
        _ => (status / 100, u16::from(status == 503), status),
    }
}

/// Whether the next candidate is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This vendor could not do it; another may.
    Next,
    /// The called side has spoken: pass it back.
    Stop,
}

/// What a route plan may say about failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailoverRules {
    /// The plan does not trust a vendor's 404: try the next one.
    pub distrust_404: bool,
}

/// Meaning of a vendor's final response to the first INVITE of a call. `cause` is the Q.850 cause of its Reason header
/// (RFC 3326), which decides a 480. Time-outs are 408, transport failures 503.
pub fn verdict(status: u16, cause: Option<u8>, rules: &FailoverRules) -> Verdict {
    match status {
        404 if rules.distrust_404 => Verdict::Next,
        // Where a vendor would send the call is between the vendor and us: its Contacts never reach a customer (PRODUCT §6).
        300..=399 => Verdict::Next,
        480 => match cause {
            Some(3 | 27 | 34 | 38 | 41 | 42) => Verdict::Next,
            _ => Verdict::Stop,
        },
        // 482 is a loop or a merged request of that vendor's own making: the call never left it. A 483 comes back through all that is
        // between, each of which would begin anew with its next vendor, so it ends the call (RFC 5393 §3).
        401..=403 | 405..=408 | 415 | 420 | 421 | 481 | 482 | 488 => Verdict::Next,
        500..=505 | 513 | 580 => Verdict::Next,
        _ => Verdict::Stop,
    }
}

/// CANCEL of one branch (RFC 3261 §9.1, §16.10): only after a 1xx, at most once, never after a final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelState {
    wanted: bool,
    provisional: bool,
    sent: bool,
    done: bool,
}

impl CancelState {
    /// The caller (or timer C, or failover) wants this branch gone. True: send CANCEL now.
    pub fn want(&mut self) -> bool {
        self.wanted = true;
        self.due()
    }

    /// A 1xx came (100 counts). True: send the CANCEL that was waiting for it.
    pub fn on_provisional(&mut self) -> bool {
        self.provisional = true;
        self.due()
    }

    /// A final came: nothing to cancel any more.
    pub fn on_final(&mut self) {
        self.done = true;
    }

    /// Whether somebody wants this branch gone.
    pub fn wanted(&self) -> bool {
        self.wanted
    }

    /// Whether any 1xx came.
    pub fn provisional(&self) -> bool {
        self.provisional
    }

    fn due(&mut self) -> bool {
        let due = self.wanted && self.provisional && !self.sent && !self.done;
        self.sent |= due;
        due
    }
}

/// Timer C of one INVITE branch (RFC 3261 §16.6 step 11, §16.7 step 2, §16.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerC {
    at: Mono,
}

/// What to do when timer C fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerCFired {
    /// A 1xx had come: send CANCEL.
    Cancel,
    /// Nothing had come: as a received 408.
    TimedOut,
}

impl TimerC {
    /// The INVITE goes out.
    pub fn start(c: Duration, now: Mono) -> TimerC {
        let mut timer = TimerC { at: now };
        timer.restart(c, now);
        timer
    }

    /// A 101–199 came: it runs anew. (100 does not count: RFC 3261 §16.7 step 2.)
    pub fn on_response(&mut self, status: u16, c: Duration, now: Mono) {
        if (101..=199).contains(&status) {
            self.restart(c, now);
        }
    }

    /// The time at which it fires.
    pub fn at(&self) -> Mono {
        self.at
    }

    /// Fires when due, once; then it is off.
    pub fn fire(&mut self, provisional: bool, now: Mono) -> Option<TimerCFired> {
        if self.at > now {
            return None;
        }
        self.at = Mono(u64::MAX);
        Some(if provisional { TimerCFired::Cancel } else { TimerCFired::TimedOut })
    }

    fn restart(&mut self, c: Duration, now: Mono) {
        let ns = u64::try_from(c.as_nanos()).unwrap_or(u64::MAX);
        self.at = Mono(now.0.saturating_add(ns));
    }
}

/// Q.850 cause of a SIP status (RFC 3398 §8.2.6.1 and common practice). 2xx: 16, normal clearing.
pub fn cause_of_status(status: u16) -> u8 {
    match status {
        200..=299 | 487 => 16,
        400 | 481 | 500 | 503 => 41,
        401 | 402 | 403 | 407 | 603 => 21,
        404 | 485 | 604 => 1,
        405 => 63,
        406 | 415 | 488 | 501 => 79,
        408 | 504 => 102,
        410 => 22,
        480 => 18,
        482 | 483 => 25,
        484 => 28,
        486 | 600 => 17,
        502 => 38,
        606 => 58,
        _ => 127,
    }
}

/// SIP status of a Q.850 cause (RFC 3398 §7.2.4.1 and common practice).
pub fn status_of_cause(cause: u8) -> u16 {
    match cause {
        1..=3 | 26 => 404,
        16 | 19 | 20 | 31 => 480,
        17 => 486,
        18 => 408,
        21 | 55 | 57 | 87 => 403,
        22 | 23 => 410,
        27 => 502,
        28 => 484,
        29 | 79 => 501,
        34 | 38 | 41 | 42 | 47 | 58 | 88 => 503,
        65 | 70 => 488,
        102 => 504,
        _ => 500,
    }
}

/// The Q.850 cause in a Reason header value (RFC 3326): `Q.850;cause=17;text="user busy"`, first of a list.
/// `None` when the protocol is another one, or the cause is not 0–127.
pub fn cause_of_reason(value: &[u8]) -> Option<u8> {
    Values::new(value)
        .filter_map(|v| Reason::parse(v).ok())
        .filter(Reason::is_q850)
        .find_map(|r| u8::try_from(r.cause?).ok().filter(|c| *c <= 127))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_response_prefers_6xx_then_the_lowest_class() {
        let mut c = ResponseContext::default();
        assert!(c.add(0, 503));
        assert!(c.add(1, 500));
        assert!(c.add(2, 408));
        assert!(!c.add(3, 502));
        assert!(c.add(4, 404));
        assert!(c.add(5, 407));
        assert!(!c.add(6, 404));
        assert!(c.add(7, 302));
        assert!(c.add(8, 603));
        assert!(!c.add(9, 603));
        assert_eq!(c.best(), Some((8, 603)));
    }

    #[test]
    fn cancel_waits_for_a_provisional_and_goes_once() {
        let mut c = CancelState::default();
        assert!(!c.want());
        assert!(c.on_provisional());
        assert!(!c.on_provisional());
        assert!(!c.want());

        let mut c = CancelState::default();
        assert!(!c.on_provisional());
        assert!(c.want());

        let mut c = CancelState::default();
        c.on_provisional();
        c.on_final();
        assert!(!c.want());
    }

    #[test]
    fn timer_c_runs_anew_on_101_to_199_only() {
        let d = Duration::from_secs(181);
        let mut c = TimerC::start(d, Mono(0));
        c.on_response(100, d, Mono(5));
        assert_eq!(c.at(), Mono(181_000_000_000));
        c.on_response(183, d, Mono(5));
        assert_eq!(c.at(), Mono(181_000_000_005));
        assert_eq!(c.fire(true, Mono(181_000_000_004)), None);
        assert_eq!(c.fire(true, Mono(181_000_000_005)), Some(TimerCFired::Cancel));
        assert_eq!(c.fire(true, Mono(u64::MAX - 1)), None);
    }

    #[test]
    fn reason_values() {
        let cases: [(&[u8], Option<u8>); 7] = [
            (b"Q.850;cause=17;text=\"user busy\"", Some(17)),
            (b"q.850 ; cause = 34", Some(34)),
            (b"SIP;cause=200, Q.850;cause=16", Some(16)),
            (b"SIP;cause=486", None),
            (b"Q.850;cause=300", None),
            (b"Q.850;cause=", None),
            (b"", None),
        ];
        for (value, want) in cases {
            assert_eq!(cause_of_reason(value), want, "{value:?}");
        }
    }
}
