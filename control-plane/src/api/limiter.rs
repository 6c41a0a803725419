//! Token buckets per key, per customer and per address (T-API-08). Bounded, without a walk: the table has a young and an old
//! half. What is used stands in the young one; when that is full it becomes the old one, and what was in there is forgotten.
//! So a bucket is kept until half a table of others has been used since.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use warp_model::sync::lock;
use warp_model::{Mono, limits};
use warp_policy::Cidr;

use crate::app::decks::DECK_BYTES;

/// How fast a token bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests a second in the long run.
    pub per_second: u32,
    /// Requests that may come at once.
    pub burst: u32,
}

/// What the headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Requests of a whole bucket; sent as `RateLimit-Limit`.
    pub limit: u32,
    /// Requests that are left; sent as `RateLimit-Remaining`.
    pub remaining: u32,
    /// `RateLimit-Reset` and, when refused, `Retry-After`: whole seconds, at least 1 when refused.
    pub reset_s: u64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Tokens × 10⁹.
    level: u128,
    at: Mono,
}

/// A token bucket for each key.
#[derive(Debug)]
pub struct Limiter<K> {
    half: usize,
    halves: Mutex<Halves<K>>,
}

#[derive(Debug)]
struct Halves<K> {
    young: HashMap<K, Bucket>,
    old: HashMap<K, Bucket>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// At most `cap` buckets, at least two.
    pub fn new(cap: usize) -> Self {
        let halves = Halves { young: HashMap::new(), old: HashMap::new() };
        Self { half: (cap / 2).max(1), halves: Mutex::new(halves) }
    }

    /// Whether `key` has no token left, without taking one.
    pub fn is_exhausted(&self, limit: Limit, key: &K, now: Mono) -> bool {
        let halves = lock(&self.halves);
        halves
            .young
            .get(key)
            .or_else(|| halves.old.get(key))
            .is_some_and(|b| b.level + gained(u128::from(limit.per_second), now.since(b.at)) < ONE)
    }

    /// Takes one token of `key`. The limit may differ from call to call: a bucket keeps its level, and holds no more than the
    /// burst of now.
    pub fn take(&self, limit: Limit, key: K, now: Mono) -> Allowance {
        let full = u128::from(limit.burst) * ONE;
        let mut halves = lock(&self.halves);
        if !halves.young.contains_key(&key) {
            let known = halves.old.remove(&key).unwrap_or(Bucket { level: full, at: now });
            if halves.young.len() >= self.half {
                halves.old = std::mem::take(&mut halves.young);
            }
            halves.young.insert(key.clone(), known);
        }
        let bucket = halves.young.entry(key).or_insert(Bucket { level: full, at: now });
        let gain = gained(u128::from(limit.per_second), now.since(bucket.at));
        bucket.level = full.min(bucket.level + gain);
        bucket.at = now;
        let allowed = bucket.level >= ONE;
        if allowed {
            bucket.level -= ONE;
        }
        let rate = u128::from(limit.per_second.max(1));
        let wanted = if allowed { full - bucket.level } else { ONE - bucket.level };
        let seconds = wanted.div_ceil(rate * ONE);
        Allowance {
            allowed,
            limit: limit.burst,
            remaining: u32::try_from(bucket.level / ONE).unwrap_or(u32::MAX),
            reset_s: u64::try_from(seconds).unwrap_or(u64::MAX),
        }
    }
}

const ONE: u128 = 1_000_000_000;

fn gained(per_second: u128, elapsed: Duration) -> u128 {
    per_second.saturating_mul(elapsed.as_nanos())
}

/// Limits of the HTTP edge. Each request sees one version of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Requests of one key.
    pub key_limit: Limit,
    /// Requests of all keys of one customer.
    pub customer_limit: Limit,
    /// Failed authentications of one address.
    pub address_limit: Limit,
    /// Largest JSON body in bytes; beyond: 413.
    pub body_bytes: usize,
    /// Largest CSV upload in bytes; beyond: 413.
    pub upload_bytes: usize,
    /// Longest time to the end of a request's head, also the longest idle time between requests; then the connection is closed.
    pub head_timeout: Duration,
    /// Longest time for a body to arrive; then 408.
    pub body_timeout: Duration,
    /// Only these may say by `X-Forwarded-For` for whom they speak (T-API-08).
    pub trusted_proxies: Vec<Cidr>,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            key_limit: Limit { per_second: 200, burst: 400 },
            customer_limit: Limit { per_second: 400, burst: 800 },
            address_limit: Limit { per_second: 5, burst: 20 },
            body_bytes: limits::HTTP_BODY_BYTES,
            upload_bytes: DECK_BYTES,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Edge {
    /// Whether this address is a proxy of ours.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|p| p.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_api_08_a_bucket_empties_and_refills_and_others_are_untouched() {
        let limiter = Limiter::new(10);
        let limit = Limit { per_second: 2, burst: 3 };
        let at = |ms: u64| Mono(ms * 1_000_000);
        let taken: Vec<bool> = (0..4).map(|_| limiter.take(limit, "a", at(0)).allowed).collect();
        assert_eq!(taken, [true, true, true, false]);
        assert_eq!(limiter.take(limit, "a", at(0)).reset_s, 1);
        assert!(limiter.is_exhausted(limit, &"a", at(400)) && !limiter.is_exhausted(limit, &"a", at(500)));
        assert!(!limiter.is_exhausted(limit, &"c", at(0)));
        assert!(limiter.take(limit, "b", at(0)).allowed);
        assert!(limiter.take(limit, "a", at(500)).allowed);
        assert!(!limiter.take(limit, "a", at(600)).allowed);
        assert_eq!(limiter.take(limit, "a", at(10_000)).remaining, 2);
    }

    #[test]
    fn f_cfg_02_another_limit_holds_from_the_next_request_on() {
        let limiter = Limiter::new(10);
        let narrow = Limit { per_second: 1, burst: 2 };
        let wide = Limit { per_second: 1_000, burst: 10 };
        assert!(limiter.take(narrow, "a", Mono(0)).allowed && limiter.take(narrow, "a", Mono(0)).allowed);
        assert!(!limiter.take(narrow, "a", Mono(0)).allowed);
        let second = Mono(1_000_000_000);
        assert_eq!(limiter.take(wide, "a", second).remaining, 9, "refilled at the new rate to the new burst");
        assert_eq!(limiter.take(narrow, "a", second).remaining, 1, "cut to the burst of now");
    }

    #[test]
    fn the_table_is_bounded() {
        let limiter = Limiter::new(4);
        let limit = Limit { per_second: 1, burst: 1 };
        for i in 0..100u64 {
            limiter.take(limit, i, Mono(i));
        }
        let halves = limiter.halves.lock().unwrap();
        assert!(halves.young.len() + halves.old.len() <= 4);
    }

    #[test]
    fn t_api_08_an_empty_bucket_is_not_washed_out_by_fewer_than_half_a_table_of_others() {
        let limiter = Limiter::new(8);
        let limit = Limit { per_second: 1, burst: 1 };
        limiter.take(limit, 0, Mono(0));
        for i in 1..5u64 {
            assert!(limiter.take(limit, i, Mono(0)).allowed);
            assert!(limiter.is_exhausted(limit, &0, Mono(0)), "{i}");
        }
        // Used again, it is young again.
        assert!(!limiter.take(limit, 0, Mono(0)).allowed);
        for i in 5..9u64 {
            limiter.take(limit, i, Mono(0));
            assert!(limiter.is_exhausted(limit, &0, Mono(0)), "{i}");
        }
        for i in 9..20u64 {
            limiter.take(limit, i, Mono(0));
        }
        assert!(!limiter.is_exhausted(limit, &0, Mono(0)));
    }
}
