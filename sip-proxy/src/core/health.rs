//! Health of vendor trunks, sources that signed in, and sources that fail to: tables of the process in atomics.
//!
//! A vendor trunk is out of rotation after some successive time-outs or transport failures (F-NET-02), or for as long as its
//! Retry-After says (F-NET-03). When the time is over, or a probe was answered, it takes a tenth of its calls, and a tenth more
//! each second. Until it has answered a call, one more failure after a time-out puts it out again at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use warp_model::{Mono, VendorTrunkId};
use warp_policy::WHOLE;

use super::strangers::mix;

/// Trunks of one process are hundreds; two of them in one slot would share their health.
const SLOTS: usize = 16_384;
/// Bits for the time, in ms.
const TIME_BITS: u32 = 48;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// Time of a trunk that never was out.
const NEVER_OUT: u64 = 0;
/// Percent of calls that a returning trunk takes at first, and more of them each step.
const RAMP: u8 = 10;
const RAMP_STEP_MS: u64 = 1_000;

/// Health of vendor trunks.
pub(crate) struct Health(Vec<AtomicU64>);

impl Health {
    pub(crate) fn new() -> Health {
        Health((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }

    fn slot(&self, id: VendorTrunkId) -> &AtomicU64 {
        let n = id.as_u128();
        &self.0[mix(n as u64 ^ (n >> 64) as u64) as usize % SLOTS]
    }

    /// Whether it is out of rotation.
    pub(crate) fn is_down(&self, id: VendorTrunkId, now: Mono) -> bool {
        self.slot(id).load(Ordering::Relaxed) & TIME > now.0 / 1_000_000
    }

    /// Percent of calls that it takes in its turn: 0 while it is out of rotation, 10 when it comes back, 10 more each second.
    pub(crate) fn share(&self, id: VendorTrunkId, now: Mono) -> u8 {
        let (back, now) = (self.slot(id).load(Ordering::Relaxed) & TIME, now.0 / 1_000_000);
        match now.checked_sub(back) {
            None => 0,
            Some(_) if back == NEVER_OUT => WHOLE,
            Some(ms) => u8::try_from(ms / RAMP_STEP_MS + 1).unwrap_or(WHOLE).saturating_mul(RAMP).min(WHOLE),
        }
    }

    /// It answered something.
    pub(crate) fn alive(&self, id: VendorTrunkId) {
        let slot = self.slot(id);
        if slot.load(Ordering::Relaxed) >> TIME_BITS != 0 {
            slot.fetch_and(TIME, Ordering::Relaxed);
        }
    }

    /// It did not; after `limit` times in a row it rests until `until`. True when it is out of rotation now.
    pub(crate) fn failed(&self, id: VendorTrunkId, limit: u32, until: Mono) -> bool {
        let failures = |v: u64| (v >> TIME_BITS).saturating_add(1).min(u64::from(u16::MAX));
        let before = self.slot(id).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |v| {
            let n = failures(v);
            let rest = if n >= u64::from(limit) { (until.0 / 1_000_000) & TIME } else { v & TIME };
            Some(n << TIME_BITS | rest)
        });
        before.is_ok_and(|v| failures(v) >= u64::from(limit))
    }

    /// It answered a probe: back in rotation, whatever was held against it, and slowly.
    pub(crate) fn up(&self, id: VendorTrunkId, now: Mono) {
        self.slot(id).store((now.0 / 1_000_000) & TIME, Ordering::Relaxed);
    }

    /// It asked for a pause.
    pub(crate) fn rest(&self, id: VendorTrunkId, until: Mono) {
        let until = (until.0 / 1_000_000) & TIME;
        let _ = self.slot(id).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |v| {
            Some((v & !TIME) | (v & TIME).max(until))
        });
    }
}

/// Sources that have signed in by digest lately: no strangers any more. Of fixed size; the oldest of a set goes.
pub(crate) struct Learnt {
    key: u64,
    slots: Vec<AtomicU64>,
}

const WAYS: usize = 4;
const LEARNT_FOR: Duration = Duration::from_secs(600);

impl Learnt {
    pub(crate) fn new(key: u64) -> Learnt {
        Learnt { key, slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }

    fn set(&self, ip: IpAddr) -> (u64, &[AtomicU64]) {
        let n = match ip.to_canonical() {
            IpAddr::V4(v4) => u128::from(u32::from(v4)),
            IpAddr::V6(v6) => u128::from(v6),
        };
        let h = mix(n as u64 ^ mix((n >> 64) as u64 ^ self.key));
        let first = (h as usize % (SLOTS / WAYS)) * WAYS;
        (h >> TIME_BITS, &self.slots[first..first + WAYS])
    }

    /// It signed in.
    pub(crate) fn learn(&self, ip: IpAddr, now: Mono) {
        let (tag, set) = self.set(ip);
        let until = ((now + LEARNT_FOR).0 / 1_000_000) & TIME;
        let held = |s: &AtomicU64| s.load(Ordering::Relaxed);
        let slot = set
            .iter()
            .find(|s| held(s) >> TIME_BITS == tag)
            .or_else(|| set.iter().min_by_key(|s| held(s) & TIME));
        if let Some(slot) = slot {
            slot.store(tag << TIME_BITS | until, Ordering::Relaxed);
        }
    }

    /// Whether it has, within ten minutes.
    pub(crate) fn knows(&self, ip: IpAddr, now: Mono) -> bool {
        let (tag, set) = self.set(ip);
        set.iter().any(|s| {
            let v = s.load(Ordering::Relaxed);
            v >> TIME_BITS == tag && v & TIME > now.0 / 1_000_000
        })
    }
}

/// Who fails to sign in (T-SIP-08): a source, or an account whatever the source. So many failures in 60 s are 5 minutes in which it fails by
/// itself. Only failures take the lock.
pub(crate) struct Failures<K> {
    limit: u32,
    any: AtomicBool,
    sources: Mutex<HashMap<K, Source>>,
}

struct Source {
    since: Mono,
    count: u32,
    silent_until: Mono,
}

const MAX_SOURCES: usize = 65_536;
/// Of one source: it is not answered any more.
pub(crate) const SOURCE_FAILURES: u32 = 10;
/// Of one account, from all sources together: sources that have not signed in lately are refused, right or wrong.
pub(crate) const ACCOUNT_FAILURES: u32 = 30;
const WINDOW: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(300);

impl<K: Eq + Hash> Failures<K> {
    pub(crate) fn new(limit: u32) -> Self {
        Failures { limit, any: AtomicBool::new(false), sources: Mutex::default() }
    }

    /// A wrong password or an unknown user.
    pub(crate) fn failed(&self, who: K, now: Mono) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= MAX_SOURCES {
            sources.retain(|_, s| s.silent_until > now || now.since(s.since) < WINDOW);
            if sources.len() >= MAX_SOURCES {
                return; // the bucket of all strangers bounds how fast this can be reached
            }
        }
        let s = sources.entry(who).or_insert(Source { since: now, count: 0, silent_until: Mono(0) });
        if now.since(s.since) >= WINDOW {
            (s.since, s.count) = (now, 0);
        }
        s.count += 1;
        if s.count >= self.limit {
            s.silent_until = now + SILENCE;
            self.any.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it has failed too often.
    pub(crate) fn is_silenced(&self, who: &K, now: Mono) -> bool {
        self.any.load(Ordering::Relaxed) && {
            let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            sources.get(who).is_some_and(|s| s.silent_until > now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(n: u64) -> Mono {
        Mono(n * 1_000_000_000)
    }

    #[test]
    fn f_net_02_three_failures_in_a_row_put_a_trunk_out_until_it_answers() {
        let h = Health::new();
        let id = VendorTrunkId::from_u128(77);
        h.failed(id, 3, s(40));
        h.failed(id, 3, s(41));
        h.alive(id);
        h.failed(id, 3, s(42));
        h.failed(id, 3, s(43));
        assert!(!h.is_down(id, s(13)));
        h.failed(id, 3, s(44));
        assert!(h.is_down(id, s(14)));
        assert!(!h.is_down(id, s(45)));
        assert!(h.failed(id, 3, s(76)), "one more failure is enough");
        assert!(h.is_down(id, s(46)));
        h.up(id, s(46));
        assert!(!h.is_down(id, s(46)));
    }

    #[test]
    fn f_net_02_a_trunk_that_comes_back_takes_a_tenth_more_each_second() {
        let h = Health::new();
        let id = VendorTrunkId::from_u128(78);
        let share = |ms: u64| h.share(id, Mono(ms * 1_000_000));
        assert_eq!(share(0), 100);
        for _ in 0..3 {
            h.failed(id, 3, s(40));
        }
        assert_eq!((share(39_999), share(40_000), share(40_999), share(41_000)), (0, 10, 10, 20));
        assert_eq!((share(48_999), share(49_000), share(3_600_000)), (90, 100, 100));
        // A probe brings it back at once, and no faster.
        h.failed(id, 3, s(80));
        h.up(id, s(60));
        assert_eq!((share(60_000), share(64_500), share(69_000)), (10, 50, 100));
        // Out again in the middle of it.
        h.rest(id, s(70));
        assert_eq!((share(65_000), share(70_000)), (0, 10));
    }

    #[test]
    fn f_net_03_retry_after_is_a_pause() {
        let h = Health::new();
        let id = VendorTrunkId::from_u128(5);
        h.rest(id, s(30));
        assert!(h.is_down(id, s(29)));
        h.alive(id);
        assert!(h.is_down(id, s(29)));
        assert!(!h.is_down(id, s(30)));
    }

    #[test]
    fn t_sip_08_ten_failures_are_five_minutes_of_silence() {
        let f = Failures::new(SOURCE_FAILURES);
        let ip: IpAddr = "203.0.113.4".parse().unwrap();
        for n in 0..9 {
            f.failed(ip, s(n));
        }
        assert!(!f.is_silenced(&ip, s(9)));
        f.failed(ip, s(9));
        assert!(f.is_silenced(&ip, s(308)));
        assert!(!f.is_silenced(&ip, s(310)));
        assert!(!f.is_silenced(&"203.0.113.5".parse().unwrap(), s(10)));
    }

    #[test]
    fn a_source_that_signed_in_is_known_for_ten_minutes() {
        let l = Learnt::new(9);
        let ip: IpAddr = "2001:db8::1".parse().unwrap();
        assert!(!l.knows(ip, s(0)));
        l.learn(ip, s(0));
        assert!(l.knows(ip, s(599)));
        assert!(!l.knows(ip, s(600)));
    }
}
