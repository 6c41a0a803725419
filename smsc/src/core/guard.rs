//! Guessing of passwords costs time (T-SMS-05): after five failures of a source, or at an account, each next one makes strangers wait
//! 1, 2, 4 … 60 seconds. A source that has bound an account before is no stranger to it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use warp_model::Mono;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whom {
    Source(IpAddr),
    Account(Vec<u8>),
}

#[derive(Debug, Default)]
pub(crate) struct Guard {
    failures: HashMap<Whom, (u32, Mono)>,
    known: HashSet<(IpAddr, Vec<u8>)>,
}

/// Sources and accounts that are remembered; when there are more, all are forgotten, which costs an attacker nothing and us no memory.
const REMEMBERED: usize = 20_000;
const FREE: u32 = 5;
const LONGEST: u32 = 60;

impl Guard {
    /// Until when this source is made to wait at this account.
    pub(crate) fn waits_until(&self, source: IpAddr, account: &[u8]) -> Mono {
        let until = |whom: &Whom| self.failures.get(whom).map_or(Mono(0), |(_, until)| *until);
        let by_source = until(&Whom::Source(source));
        if self.known.contains(&(source, account.to_vec())) {
            return by_source;
        }
        by_source.max(until(&Whom::Account(account.to_vec())))
    }

    /// A bind was refused.
    pub(crate) fn failed(&mut self, source: IpAddr, account: &[u8], now: Mono) {
        if self.failures.len() >= REMEMBERED {
            self.failures.clear();
        }
        for whom in [Whom::Source(source), Whom::Account(account.to_vec())] {
            let (count, until) = self.failures.entry(whom).or_insert((0, Mono(0)));
            *count = count.saturating_add(1);
            if let Some(over) = count.checked_sub(FREE) {
                let seconds = 1u32.checked_shl(over).unwrap_or(LONGEST).min(LONGEST);
                *until = now + Duration::from_secs(u64::from(seconds));
            }
        }
    }

    /// A bind was accepted.
    pub(crate) fn succeeded(&mut self, source: IpAddr, account: &[u8]) {
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.failures.remove(&Whom::Source(source));
        self.known.insert((source, account.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_sms_05_strangers_wait_and_who_was_bound_before_does_not() {
        let mut guard = Guard::default();
        let s = 1_000_000_000u64;
        let ip = |n: u8| IpAddr::from([192, 0, 2, n]);
        guard.succeeded(ip(9), b"foo");
        for _ in 0..4 {
            guard.failed(ip(1), b"foo", Mono(0));
        }
        assert_eq!(guard.waits_until(ip(1), b"foo"), Mono(0));
        let waits: Vec<u64> = (0..8)
            .map(|_| {
                guard.failed(ip(1), b"foo", Mono(0));
                guard.waits_until(ip(1), b"bar").0 / s
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(
            guard.waits_until(ip(2), b"foo"),
            Mono(60 * s),
            "the account is guessed at, wherever from"
        );
        assert_eq!(guard.waits_until(ip(9), b"foo"), Mono(0), "its customer is let in");
        assert_eq!(guard.waits_until(ip(2), b"bar"), Mono(0));
    }
}
