//! Token buckets for sources without an account (T-SIP-12): one per /32 (IPv6: /64), then one for all strangers together.
//!
//! One table for the process, of fixed size, without locks: each bucket is one `AtomicU64` that holds a tag of its source and
//! the time at which it will be full again (a token bucket as a "theoretical arrival time", GCRA). When a set is full
//! the bucket that has been full for longest is given to the new source: a spoofed flood over many sources can make a
//! source forget its debt, but not pass the bucket for all.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use warp_model::Mono;
use warp_model::hash::mix;
use warp_sip::flow::Flow;
use warp_sip::message::{Message, Method, Reject, check, check_lenient};

use super::Core;
use super::route::Plan;
use super::table::server_key;
use super::types::Mode;

/// Rates for strangers (PRODUCT §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangerLimits {
    /// Requests per second of one source; 20.
    pub per_source_per_s: u32,
    /// Requests at once of one source; 40.
    pub per_source_burst: u32,
    /// Requests per second of all strangers together; 1,000.
    pub all_per_s: u32,
}

impl Default for StrangerLimits {
    fn default() -> Self {
        StrangerLimits { per_source_per_s: 20, per_source_burst: 40, all_per_s: 1_000 }
    }
}

const SETS: usize = 16_384;
const WAYS: usize = 4;
/// Time unit of a bucket: 100 µs; 40 bits of it are 3.5 years.
const UNIT_NS: u64 = 100_000;
const TIME_MASK: u64 = (1 << 40) - 1;

/// The buckets of all shards.
pub(crate) struct Strangers {
    key: u64,
    buckets: Vec<AtomicU64>,
    all: AtomicU64,
}

impl Strangers {
    /// Empty buckets. `key` keeps strangers from choosing whose bucket they share.
    pub(crate) fn new(key: u64) -> Self {
        Strangers {
            key,
            buckets: (0..SETS * WAYS).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
        }
    }

    /// Takes one token of `source` and one of all strangers. False: drop without an answer.
    pub(crate) fn admit(&self, l: &StrangerLimits, source: IpAddr, now: Mono) -> bool {
        let now = now.0 / UNIT_NS;
        self.admit_source(l, source, now) && take(&self.all, 0, now, l.all_per_s, l.all_per_s)
    }

    fn admit_source(&self, l: &StrangerLimits, source: IpAddr, now: u64) -> bool {
        let prefix = match warp_model::net::source_of(source) {
            IpAddr::V4(v4) => u64::from(u32::from(v4)),
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64 ^ 0x6666_0000_0000_0000,
        };
        let h = mix(prefix ^ self.key);
        let tag = (h >> 40).max(1); // 24 bits, never 0
        let first = (h as usize % SETS) * WAYS;
        let Some(set) = self.buckets.get(first..first + WAYS) else {
            return false;
        };
        let held = |b: &AtomicU64| b.load(Ordering::Relaxed);
        let bucket = set
            .iter()
            .find(|b| held(b) >> 40 == tag)
            .or_else(|| set.iter().min_by_key(|b| held(b) & TIME_MASK));
        bucket.is_some_and(|b| take(b, tag, now, l.per_source_per_s, l.per_source_burst))
    }
}

/// GCRA: a token costs `1/rate`; the debt may not exceed `burst` tokens.
fn take(bucket: &AtomicU64, tag: u64, now: u64, rate: u32, burst: u32) -> bool {
    let cost = ((1_000_000_000 / UNIT_NS) / u64::from(rate.max(1))).max(1);
    let limit = now + cost * u64::from(burst);
    bucket
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            let debt_until = if held >> 40 == tag { held & TIME_MASK } else { 0 };
            let next = debt_until.max(now) + cost;
            (next <= limit).then_some(tag << 40 | (next & TIME_MASK))
        })
        .is_ok()
}

impl Core {
    /// The checks that the parser leaves open, for whom they are: a peer with an account may write display names that can be delimited only, a
    /// stranger may when his request will be challenged or belongs to what such a peer began (PRODUCT §6).
    pub(super) fn check_for<'a>(
        &self,
        flow: &Flow,
        msg: &Message<'a>,
        stranger: bool,
    ) -> Result<(), Reject<'a>> {
        check(msg).or_else(|refused| match self.may_be_sloppy(flow, msg, stranger) {
            true => check_lenient(msg),
            false => Err(refused),
        })
    }

    fn may_be_sloppy(&self, flow: &Flow, msg: &Message<'_>, stranger: bool) -> bool {
        let plan = || Plan::of(&self.tx.config, flow, msg);
        match self.tx.config.mode {
            Mode::Static { .. } | Mode::Registrar(_) if !self.tx.config.lenient_names => false,
            Mode::Policy | Mode::Static { .. } | Mode::Registrar(_) if !stranger => true,
            Mode::Static { .. } | Mode::Registrar(_) => {
                plan().is_some_and(|p| self.tx.is_our_cookie(p.cookie, msg.call_id()))
            }
            Mode::Policy => match msg.method() {
                // In a dialog or for a transaction that passed; who speaks is checked there.
                _ if msg.to_tag().is_some() => self.calls.find_call(flow, msg, &self.tx).is_some(),
                Method::Cancel => {
                    self.tx.table.find(server_key(&self.tx.shared.keyed, msg, b"INVITE")).is_some()
                }
                Method::Invite => plan().is_some_and(|p| p.names_us),
                _ => false,
            },
        }
    }

    /// Whether responses may have such names: each is one to a request of ours.
    pub(super) fn reads_sloppy_responses(&self) -> bool {
        self.tx.config.mode == Mode::Policy || self.tx.config.lenient_names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Mono {
        Mono(3_600_000_000_000 + ms * 1_000_000)
    }

    #[test]
    fn t_sip_12_one_source_gets_its_burst_then_its_rate() {
        let s = Strangers::new(5);
        let ip: IpAddr = "203.0.113.9".parse().unwrap();
        let passed = (0..1_000).filter(|_| s.admit(&StrangerLimits::default(), ip, at_ms(0))).count();
        assert_eq!(passed, 40);
        let passed = (0..1_000).filter(|i| s.admit(&StrangerLimits::default(), ip, at_ms(*i))).count();
        assert!((18..=20).contains(&passed), "{passed}");
        // Another source is untouched, and so is a /64 neighbour's neighbour.
        assert!(s.admit(&StrangerLimits::default(), "203.0.113.10".parse().unwrap(), at_ms(0)));
    }

    #[test]
    fn t_sip_12_what_a_flooding_source_is_refused_takes_nothing_from_the_other_strangers() {
        let (s, l) = (Strangers::new(5), StrangerLimits::default());
        let flood: IpAddr = "203.0.113.9".parse().unwrap();
        assert_eq!((0..10_000).filter(|_| s.admit(&l, flood, at_ms(0))).count(), 40);
        let others = (0..2_000u32).map(|i| IpAddr::V4((0x0B00_0000 + i).into()));
        assert_eq!(others.filter(|ip| s.admit(&l, *ip, at_ms(0))).count(), 1_000 - 40);
    }

    #[test]
    fn f_cfg_02_another_rate_holds_from_the_next_request_on() {
        let s = Strangers::new(5);
        let ip: IpAddr = "203.0.113.9".parse().unwrap();
        let wide = StrangerLimits { per_source_per_s: 20, per_source_burst: 60, all_per_s: 1_000 };
        assert_eq!((0..1_000).filter(|_| s.admit(&StrangerLimits::default(), ip, at_ms(0))).count(), 40);
        assert_eq!(
            (0..1_000).filter(|_| s.admit(&wide, ip, at_ms(0))).count(),
            20,
            "what is left of the wider burst"
        );
        assert!(!s.admit(&StrangerLimits::default(), ip, at_ms(0)), "and its debt is kept");
    }

    #[test]
    fn t_sip_12_an_ipv6_source_is_its_64() {
        let s = Strangers::new(5);
        let passed = (0..1_000u16)
            .filter(|i| {
                s.admit(&StrangerLimits::default(), format!("2001:db8:1:2::{i:x}").parse().unwrap(), at_ms(0))
            })
            .count();
        assert_eq!(passed, 40);
        assert!(s.admit(&StrangerLimits::default(), "2001:db8:1:3::1".parse().unwrap(), at_ms(0)));
    }

    #[test]
    fn t_sip_12_all_strangers_share_one_bucket() {
        let s = Strangers::new(5);
        let passed = (0..200_000u32)
            .filter(|i| s.admit(&StrangerLimits::default(), IpAddr::V4((0x0B00_0000 + i).into()), at_ms(0)))
            .count();
        assert_eq!(passed, 1_000);
    }
}
