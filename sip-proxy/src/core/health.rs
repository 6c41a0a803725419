//! Health of vendor trunks, sources that signed in, and sources that fail to: tables of the process in atomics.
//!
//! A vendor trunk is out of rotation after some successive time-outs or transport failures (F-NET-02), or for as long as its
//! Retry-After says (F-NET-03). After a Retry-After, or when a probe was answered, it takes a tenth of its calls, and a tenth more
//! each second. After failures it is on trial when its rest is over, whether it answers probes or not: one call every two seconds, until one
//! is answered by anything at all (then the tenth), or fails (then it rests again).
//!
//! Each trunk has a slot of its own, for as long as the process lives. A call reaches it by its snapshot's index, without a lock.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use warp_model::hash::mix;
use warp_model::sync::lock;
use warp_model::{Mono, Now, VendorTrunkId};
use warp_policy::screen::Bound;
use warp_policy::{Directory, DownCause, VendorTrunk, VendorTrunkIx, VendorTrunkLive, WHOLE};

/// Bits for the time, in ms.
const TIME_BITS: u32 = 48;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// Out for its failures: on trial when its rest is over.
const OUT: u64 = 1 << 63;
/// Failures in a row, at most.
const MOST: u64 = (1 << 15) - 1;
/// Time of a trunk that never was out.
const NEVER_OUT: u64 = 0;
/// Percent of calls that a returning trunk takes at first, and more of them each step.
const RAMP: u8 = 10;
const RAMP_STEP_MS: u64 = 1_000;
/// From one call of a trial to the next: longer than it takes to see one fail ([`super::types::CoreConfig::first_1xx`]).
const TRIAL_MS: u64 = 2_000;

/// Health of one vendor trunk.
#[derive(Debug, Default)]
pub(crate) struct TrunkHealth {
    /// `OUT`, failures in a row, and since when (or from when on) it takes calls again.
    word: AtomicU64,
    /// When the next call of a trial may go.
    trial: AtomicU64,
    /// Why it went out last, a [`DownCause`].
    cause: AtomicU8,
}

/// Where a trunk stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkState {
    /// The trunk takes its calls.
    Up,
    /// Takes so many percent of them, and more each second.
    Returning(u8),
    /// Out of rotation, for so long, and why.
    Down(Duration, DownCause),
    /// Its rest is over: single calls try whether it answers. Why it was out.
    OnTrial(DownCause),
}

fn ms(at: Mono) -> u64 {
    at.0 / 1_000_000
}

impl TrunkHealth {
    fn time(&self) -> (u64, bool) {
        let word = self.word.load(Ordering::Relaxed);
        (word & TIME, word & OUT != 0)
    }

    /// Whether it is out of rotation; on trial it is not.
    pub(crate) fn is_down(&self, now: Mono) -> bool {
        self.time().0 > ms(now)
    }

    /// Whether it is out for its failures, on trial or not yet.
    pub(crate) fn is_out(&self) -> bool {
        self.time().1
    }

    /// Percent of calls that it takes in its turn: 0 while it is out of rotation, 10 when it comes back, 10 more each second. On trial
    /// all of them, but only while a call of the trial may go.
    pub(crate) fn share(&self, now: Mono) -> u8 {
        let ((back, out), now) = (self.time(), ms(now));
        match now.checked_sub(back) {
            None => 0,
            Some(_) if out && self.trial.load(Ordering::Relaxed) > now => 0,
            Some(_) if out => WHOLE,
            Some(_) if back == NEVER_OUT => WHOLE,
            Some(passed) => {
                u8::try_from(passed / RAMP_STEP_MS + 1).unwrap_or(WHOLE).saturating_mul(RAMP).min(WHOLE)
            }
        }
    }

    /// A call is about to go there. False: it is out, or on trial and has its call already.
    pub(crate) fn begin(&self, now: Mono) -> bool {
        let ((back, out), now) = (self.time(), ms(now));
        back <= now
            && (!out
                || self
                    .trial
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |t| {
                        (t <= now).then(|| now.saturating_add(TRIAL_MS))
                    })
                    .is_ok())
    }

    /// It answered something: nothing is held against it any more, and a trial is over.
    pub(crate) fn alive(&self, now: Mono) {
        if self.word.load(Ordering::Relaxed) >> TIME_BITS == 0 {
            return;
        }
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |v| {
            let back = v & TIME;
            Some(if v & OUT != 0 { back.max(ms(now) & TIME) } else { back })
        });
    }

    /// It did not; after `limit` times in a row, and at once on trial, it rests until `until`. True when it is out of rotation now.
    pub(crate) fn failed(&self, limit: u32, until: Mono, cause: DownCause) -> bool {
        let after = |v: u64| {
            let n = ((v & !OUT) >> TIME_BITS).saturating_add(1).min(MOST);
            let out = v & OUT != 0 || n >= u64::from(limit);
            (n, out)
        };
        let before = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |v| {
            let (n, out) = after(v);
            let rest = if out { OUT | (ms(until) & TIME) } else { v & TIME };
            Some(n << TIME_BITS | rest)
        });
        let out = before.is_ok_and(|v| after(v).1);
        if out {
            self.cause.store(cause as u8, Ordering::Relaxed);
            self.trial.store(0, Ordering::Relaxed);
        }
        out
    }

    /// It answered a probe: back in rotation, whatever was held against it, and slowly.
    pub(crate) fn up(&self, now: Mono) {
        self.word.store(ms(now) & TIME, Ordering::Relaxed);
    }

    /// It asked for a pause.
    pub(crate) fn rest(&self, until: Mono) {
        let until = ms(until) & TIME;
        self.cause.store(DownCause::RetryAfter as u8, Ordering::Relaxed);
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |v| {
            Some((v & !TIME) | (v & TIME).max(until))
        });
    }

    /// An operator says that it is well: all of its calls, at once.
    pub(crate) fn reset(&self) {
        self.word.store(NEVER_OUT, Ordering::Relaxed);
        self.trial.store(0, Ordering::Relaxed);
    }

    /// Why it takes no calls, or went out last.
    pub(crate) fn cause(&self) -> DownCause {
        DownCause::ALL.get(usize::from(self.cause.load(Ordering::Relaxed))).copied().unwrap_or_default()
    }

    /// The state as people are told it.
    pub(crate) fn state(&self, now: Mono) -> TrunkState {
        let ((back, out), at) = (self.time(), ms(now));
        match back.checked_sub(at).filter(|left| *left > 0) {
            Some(left) => TrunkState::Down(Duration::from_millis(left), self.cause()),
            None if out => TrunkState::OnTrial(self.cause()),
            None => match self.share(now) {
                WHOLE => TrunkState::Up,
                share => TrunkState::Returning(share),
            },
        }
    }
}

/// Health of one address of a vendor trunk that has several: in which order they are tried.
#[derive(Debug, Default)]
pub(crate) struct AddressHealth {
    /// Failures in a row, and until when it comes after the others.
    word: AtomicU64,
}

impl AddressHealth {
    /// Whether it comes after the others.
    pub(crate) fn is_resting(&self, now: Mono) -> bool {
        self.word.load(Ordering::Relaxed) & TIME > ms(now)
    }

    /// It answered something.
    pub(crate) fn alive(&self) {
        if self.word.load(Ordering::Relaxed) != 0 {
            self.word.store(0, Ordering::Relaxed);
        }
    }

    /// It did not; after `limit` times in a row it comes after the others until `until`.
    pub(crate) fn failed(&self, limit: u32, until: Mono) {
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |v| {
            let n = (v >> TIME_BITS).saturating_add(1).min(MOST);
            let rest = if n >= u64::from(limit) { ms(until) & TIME } else { v & TIME };
            Some(n << TIME_BITS | rest)
        });
    }
}

type Slots<K, T> = Mutex<HashMap<K, Arc<T>>>;

/// The slots of all vendor trunks that the process has known, and of their addresses.
#[derive(Debug, Default)]
pub(crate) struct Health {
    trunks: Slots<VendorTrunkId, TrunkHealth>,
    addresses: Slots<(VendorTrunkId, SocketAddr), AddressHealth>,
}

/// The slots in the order of one directory: what a call uses, without a lock.
#[derive(Debug, Default)]
pub(crate) struct Vendors {
    trunks: Vec<Arc<TrunkHealth>>,
    /// Of the addresses of each, in their order.
    addresses: Vec<Vec<Arc<AddressHealth>>>,
}

impl Health {
    /// In the order of a directory. Trunks that are in none of the directories in use are forgotten.
    pub(crate) fn bind(&self, directory: &Directory) -> Vendors {
        let mut slots = lock(&self.trunks);
        let trunks = directory.vendor_trunks().map(|(_, t)| slots.entry(t.id).or_default().clone()).collect();
        slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        let mut slots = lock(&self.addresses);
        let mut of = |t: &VendorTrunk| -> Vec<Arc<AddressHealth>> {
            t.addresses.iter().map(|a| slots.entry((t.id, *a)).or_default().clone()).collect()
        };
        let addresses = directory.vendor_trunks().map(|(_, t)| of(t)).collect();
        slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        Vendors { trunks, addresses }
    }

    /// The slot of a trunk; `None`: no directory in use has it.
    pub(crate) fn of(&self, id: VendorTrunkId) -> Option<Arc<TrunkHealth>> {
        lock(&self.trunks).get(&id).cloned()
    }
}

impl Vendors {
    /// The slot of a trunk of that directory.
    pub(crate) fn of(&self, ix: VendorTrunkIx) -> Option<&Arc<TrunkHealth>> {
        self.trunks.get(ix.at())
    }

    /// The slot of one of its addresses.
    pub(crate) fn address(&self, ix: VendorTrunkIx, address: usize) -> Option<&Arc<AddressHealth>> {
        self.addresses.get(ix.at())?.get(address)
    }

    /// What a decision sees of a trunk: its use, and its health. One trunk at a time, because a decision looks at a few of many.
    pub(crate) fn look(&self, usage: &Bound, ix: VendorTrunkIx, now: Now) -> VendorTrunkLive {
        let health = self.of(ix);
        let share = health.map_or(0, |h| h.share(now.mono));
        VendorTrunkLive { share, cause: health.map(|h| h.cause()), ..usage.look(ix, now, share > 0) }
    }
}

/// How many sources [`Learnt`] has room for.
const SLOTS: usize = 16_384;

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
        let mut sources = lock(&self.sources);
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
            let sources = lock(&self.sources);
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

    const SILENT: DownCause = DownCause::NoResponse;

    #[test]
    fn f_net_02_on_trial_one_failure_is_enough_and_an_answer_begins_the_return_now() {
        let h = TrunkHealth::default();
        assert!(h.failed(1, s(10), SILENT));
        assert!(h.begin(s(11)) && !h.begin(s(12)), "one call of the trial in two seconds");
        assert!(h.failed(3, s(12), SILENT), "at once, whatever the limit");
        assert!(h.is_down(s(11)) && h.begin(s(12)), "a further trial when the rest is over");
        // Late, after its rest: it comes back from then on, not from the end of the rest.
        h.alive(s(50));
        assert_eq!((h.share(s(50)), h.share(s(52))), (10, 30));
    }

    #[test]
    fn f_net_03_a_shorter_rest_does_not_end_a_longer_one() {
        let h = TrunkHealth::default();
        h.rest(s(100));
        h.rest(s(50));
        assert!(h.is_down(s(60)) && !h.is_down(s(100)));
    }

    /// Each trunk of a large carrier has a place of its own: what one does is never held against another, nor forgiven to it.
    #[test]
    fn trunks_share_no_health_however_many_there_are() {
        let directory = super::super::tests_world::snapshot(|d| {
            let first = d.vendor_trunks[0].clone();
            d.vendor_trunks = (0..3_000u128)
                .map(|n| VendorTrunk {
                    // As ids are made: some of one moment, which differ in their last bits, and some far apart.
                    id: VendorTrunkId::from_u128(if n % 2 == 0 { 1 << 100 | n } else { n << 64 | 7 }),
                    name: format!("t{n}"),
                    ..first.clone()
                })
                .collect();
        })
        .directory
        .clone();
        let bound = Health::default().bind(&directory);
        let all: Vec<_> = directory.vendor_trunks().map(|(ix, _)| ix).collect();
        assert_eq!(all.len(), 3_000);
        let fails = |n: usize| n % 7 == 3;
        for (n, ix) in all.iter().enumerate() {
            let health = bound.of(*ix).expect("a place of its own");
            if fails(n) {
                assert!(health.failed(1, s(100), SILENT));
            } else {
                health.alive(s(1));
            }
        }
        for (n, ix) in all.iter().enumerate() {
            assert_eq!(bound.of(*ix).expect("its place").is_down(s(50)), fails(n), "trunk {n}");
        }
    }

    /// A trunk or address that no directory in use has is forgotten.
    #[test]
    fn what_left_the_directory_is_forgotten() {
        let of = |tweak| super::super::tests_world::snapshot(tweak).directory.clone();
        let health = Health::default();
        let first = health.bind(&of(|_| ()));
        let second = health.bind(&of(|d| {
            d.vendor_trunks[0].addresses = vec!["203.0.113.99:5060".parse().unwrap()];
            d.vendor_trunks.truncate(1);
        }));
        let held = || (lock(&health.trunks).len(), lock(&health.addresses).len());
        assert_eq!(held(), (3, 4), "calls of the first still use it");
        drop(first);
        drop(second);
        drop(health.bind(&of(|d| d.vendor_trunks.truncate(1))));
        assert_eq!(held(), (1, 1));
    }

    /// The table is used whole: of as many sources as fill a third of it nearly all are remembered.
    #[test]
    fn t_sip_12_thousands_of_sources_are_remembered_at_once() {
        let learnt = Learnt::new(7);
        let ips: Vec<IpAddr> = (0..SLOTS as u32 / 3).map(|n| IpAddr::V4((0x0B00_0000 + n).into())).collect();
        ips.iter().for_each(|ip| learnt.learn(*ip, s(1)));
        let known = ips.iter().filter(|ip| learnt.knows(**ip, s(2))).count();
        assert!(known * 100 > ips.len() * 95, "{known} of {}", ips.len());
    }

    #[test]
    fn f_net_02_three_failures_in_a_row_put_a_trunk_out_until_it_answers() {
        let h = TrunkHealth::default();
        h.failed(3, s(40), SILENT);
        h.failed(3, s(41), SILENT);
        h.alive(s(11));
        h.failed(3, s(42), SILENT);
        assert!(!h.failed(3, s(43), SILENT));
        assert!(!h.is_down(s(13)));
        assert!(h.failed(3, s(44), DownCause::Unreachable));
        assert!(h.is_down(s(14)) && !h.begin(s(14)));
        assert_eq!(h.state(s(14)), TrunkState::Down(Duration::from_secs(30), DownCause::Unreachable));
        assert!(!h.is_down(s(45)));
        assert!(h.failed(3, s(76), SILENT), "one more failure is enough");
        assert!(h.is_down(s(46)));
        h.up(s(46));
        assert!(!h.is_down(s(46)) && !h.is_out());
    }

    /// A vendor that ignores OPTIONS comes back by a call or two, and a dead one costs no more than those.
    #[test]
    fn f_net_02_a_trunk_on_trial_gets_one_call_every_two_seconds() {
        let h = TrunkHealth::default();
        for _ in 0..3 {
            h.failed(3, s(40), SILENT);
        }
        let at = |ms: u64| Mono(ms * 1_000_000);
        assert_eq!((h.share(at(39_999)), h.begin(at(39_999))), (0, false));
        assert_eq!((h.share(at(40_000)), h.state(at(40_000))), (WHOLE, TrunkState::OnTrial(SILENT)));
        assert!(h.begin(at(40_000)));
        assert_eq!((h.share(at(41_999)), h.begin(at(41_999))), (0, false), "it has its call");
        assert!(h.begin(at(42_000)));
        // Silence again: it rests, and then the same.
        assert!(h.failed(3, at(72_000), SILENT));
        assert_eq!((h.share(at(71_999)), h.begin(at(72_000))), (0, true));
        // The call gets a word: a tenth, and a tenth more each second.
        h.alive(at(72_100));
        assert_eq!([72_100, 73_100, 81_100].map(|t| h.share(at(t))), [10, 20, 100]);
        assert_eq!(h.state(at(73_100)), TrunkState::Returning(20));
        assert!(!h.failed(3, at(110_000), SILENT), "and three failures are three again");
    }

    #[test]
    fn a_reset_brings_a_trunk_back_at_once_and_whole() {
        let h = TrunkHealth::default();
        h.rest(s(300));
        for _ in 0..3 {
            h.failed(3, s(400), SILENT);
        }
        h.reset();
        assert_eq!((h.share(s(1)), h.begin(s(1)), h.state(s(1))), (WHOLE, true, TrunkState::Up));
    }

    #[test]
    fn f_net_02_a_trunk_that_comes_back_takes_a_tenth_more_each_second() {
        let h = TrunkHealth::default();
        let share = |ms: u64| h.share(Mono(ms * 1_000_000));
        assert_eq!(share(0), 100);
        h.rest(s(40));
        assert_eq!((share(39_999), share(40_000), share(40_999), share(41_000)), (0, 10, 10, 20));
        assert_eq!((share(48_999), share(49_000), share(3_600_000)), (90, 100, 100));
        // A probe brings it back at once, and no faster.
        for _ in 0..3 {
            h.failed(3, s(80), SILENT);
        }
        h.up(s(60));
        assert_eq!((share(60_000), share(64_500), share(69_000)), (10, 50, 100));
        // Out again in the middle of it.
        h.rest(s(70));
        assert_eq!((share(65_000), share(70_000)), (0, 10));
    }

    #[test]
    fn f_net_03_retry_after_is_a_pause() {
        let h = TrunkHealth::default();
        h.rest(s(30));
        assert!(h.is_down(s(29)));
        assert_eq!(h.state(s(29)), TrunkState::Down(Duration::from_secs(1), DownCause::RetryAfter));
        h.alive(s(29));
        assert!(h.is_down(s(29)));
        assert!(!h.is_down(s(30)));
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

    #[test]
    fn f_net_02_an_address_comes_after_the_others_after_its_failures() {
        let a = AddressHealth::default();
        a.failed(2, s(30));
        assert!(!a.is_resting(s(0)), "one of two");
        a.alive();
        a.failed(2, s(30));
        assert!(!a.is_resting(s(0)), "it had answered in between");
        a.failed(2, s(40));
        assert!(a.is_resting(s(39)) && !a.is_resting(s(40)));
        a.failed(2, s(70));
        assert!(a.is_resting(s(69)), "and each further one");
        a.alive();
        assert!(!a.is_resting(s(0)));
    }

    #[test]
    fn t_sip_08_failures_are_counted_within_a_minute_and_of_so_many_sources() {
        let f = Failures::new(3);
        for (who, t) in
            [("slow", 0), ("slow", 30), ("slow", 60), ("slow", 119), ("fast", 0), ("fast", 59), ("fast", 59)]
        {
            f.failed(who, s(t));
        }
        assert!(!f.is_silenced(&"slow", s(119)), "a new minute counts anew");
        assert!(f.is_silenced(&"fast", s(358)) && !f.is_silenced(&"fast", s(359)));
        f.failed("slow", s(119));
        assert!(f.is_silenced(&"slow", s(119)));
        // A full table takes nobody in until somebody's time is over; who is silent stays.
        let f = Failures::new(2);
        f.failed(0, s(0));
        f.failed(0, s(0));
        for n in 1..MAX_SOURCES {
            f.failed(n, s(1));
        }
        let newcomer = MAX_SOURCES + 1;
        for t in [2, 60] {
            f.failed(newcomer, s(t));
            f.failed(newcomer, s(t));
            assert!(!f.is_silenced(&newcomer, s(t)), "{t}");
        }
        f.failed(newcomer, s(61));
        f.failed(newcomer, s(61));
        assert!(f.is_silenced(&newcomer, s(61)) && f.is_silenced(&0, s(299)) && !f.is_silenced(&0, s(300)));
        // Its silence ends with the second in which it is heard again, and its place is free in the same one.
        let f = Failures::new(1);
        for n in 0..MAX_SOURCES {
            f.failed(n, s(0));
        }
        f.failed(newcomer, s(299));
        assert!(!f.is_silenced(&newcomer, s(299)));
        f.failed(newcomer, s(300));
        assert!(f.is_silenced(&newcomer, s(300)));
    }

    #[test]
    fn who_signs_in_again_is_known_again_and_nobody_else() {
        let l = Learnt::new(9);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        l.learn(ip("192.0.2.1"), s(0));
        l.learn(ip("::ffff:192.0.2.1"), s(500));
        assert!(l.knows(ip("192.0.2.1"), s(1_099)) && !l.knows(ip("192.0.2.1"), s(1_100)));
        let others = (0..=255u8).filter(|n| *n != 1 && l.knows([192, 0, 2, *n].into(), s(500))).count();
        assert_eq!(others, 0);
        // Of a set of four the one whose time is over first makes room.
        let set = |n: u32| l.set(IpAddr::from(n.to_be_bytes())).1.as_ptr();
        let same: Vec<IpAddr> = (1 << 24..)
            .filter(|n| set(*n) == set(1 << 24))
            .take(5)
            .map(|n| IpAddr::from(n.to_be_bytes()))
            .collect();
        for (ip, t) in same.iter().zip([10, 40, 20, 30, 50]) {
            l.learn(*ip, s(t));
        }
        let known: Vec<bool> = same.iter().map(|ip| l.knows(*ip, s(60))).collect();
        assert_eq!(known, [false, true, true, true, true]);
    }

    #[test]
    fn f_net_02_after_the_most_failures_one_more_is_no_fewer() {
        let h = TrunkHealth::default();
        for _ in 0..MOST + 2 {
            h.failed(u32::MAX, s(40), SILENT);
        }
        assert!(!h.is_out() && !h.is_down(s(0)));
        assert!(h.failed(MOST as u32, s(40), SILENT) && h.is_out());
        assert_eq!(h.word.load(Ordering::Relaxed) >> TIME_BITS, MOST | OUT >> TIME_BITS);
    }
}
