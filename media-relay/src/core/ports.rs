//! The port pool: even/odd pairs in random order over the range, with a quarantine (T-RTP-09).
//!
//! Invariants: a pair is handed out at most once at a time; a pair given back rests for [`QUARANTINE`], unless no rested one is
//! left: then the one that has rested longest is given, and counted; memory is bounded by the range. Absent on purpose: sockets. The server wraps the pool and binds what it hands out ([`Ports`]).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use warp_media::LocalPort;
use warp_model::Mono;
use warp_model::hash::SplitMix;

/// How long a port rests before it is given again, where rested ones are left (T-RTP-09).
pub const QUARANTINE: Duration = Duration::from_secs(10);

/// An even port for RTP and the odd one above it for RTCP, on one local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortPair {
    /// Index into the relay's list of local addresses.
    pub ip: u8,
    /// The RTP port, an even number.
    pub rtp: u16,
}

impl PortPair {
    /// The local port for RTP.
    pub fn rtp_port(self) -> LocalPort {
        LocalPort { ip: self.ip, port: self.rtp }
    }

    /// The local port for RTCP: the one above.
    pub fn rtcp_port(self) -> LocalPort {
        LocalPort { ip: self.ip, port: self.rtp.saturating_add(1) }
    }
}

/// Where the book gets its ports: the pool itself in tests and in the simulator; in the server, the pool behind a wrapper that
/// binds each pair before handing it out, so that a port in use elsewhere is found at once.
pub trait Ports {
    /// A pair on local address `ip`; `None` when all are handed out (`Ran out of ports`).
    fn take(&mut self, ip: u8, now: Mono) -> Option<PortPair>;
    /// Its user is gone: the pair rests, then may be given again.
    fn give_back(&mut self, pair: PortPair, now: Mono);
    /// The local addresses, by index.
    fn ips(&self) -> &[IpAddr];
    /// True for a port of the range, lent or not.
    fn has(&self, port: u16) -> bool;
    /// Pairs now handed out, and pairs there are, on address `ip`.
    fn usage(&self, ip: u8) -> (usize, usize);
    /// The RTP port last handed out on address `ip`; 0 = none yet.
    fn last(&self, ip: u8) -> u16;
    /// Pairs on address `ip` that nobody has and whose rest is not over.
    fn resting(&self, ip: u8, now: Mono) -> usize;
    /// Pairs on address `ip` that nobody here has and that another program was found to use, at most ten seconds ago.
    fn elsewhere(&self, _ip: u8, _now: Mono) -> usize {
        0
    }
    /// Pairs that were given before their rest was over, since the start.
    fn given_early(&self) -> u64;
    /// The last `take` failed because the process may open no more files, and not because every pair is lent.
    fn lacks_descriptors(&self) -> bool {
        false
    }
}

/// Why a pool cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortError {
    /// No local address is configured.
    NoAddress,
    /// More than 256 local addresses.
    TooManyAddresses,
    /// The range holds no even/odd pair.
    EmptyRange,
}

impl std::fmt::Display for PortError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "no local media address",
            Self::TooManyAddresses => "more than 256 local media addresses",
            Self::EmptyRange => "the port range holds no even/odd pair",
        })
    }
}

impl std::error::Error for PortError {}

/// Pairs of one local address.
#[derive(Debug)]
struct Shelf {
    /// Never ordered: a taken pair is drawn from a random place.
    free: Vec<u16>,
    resting: VecDeque<(Mono, u16)>,
    /// Used by another program, and until when that is believed.
    elsewhere: VecDeque<(Mono, u16)>,
    /// One bit per pair handed out, so that a pair given back twice changes nothing.
    out: Vec<bool>,
    used: usize,
    last: u16,
    given_early: u64,
}

/// The pool of port pairs of all local addresses.
#[derive(Debug)]
pub struct PortPool {
    ips: Vec<IpAddr>,
    first: u16,
    shelves: Vec<Shelf>,
    /// Spreads ports over the range; not a secret: the source check is what keeps strangers out.
    random: SplitMix,
}

impl PortPool {
    /// Pairs of `ports` on each of `ips`, in an order drawn from `seed`.
    pub fn new(ips: &[IpAddr], ports: RangeInclusive<u16>, seed: u64) -> Result<Self, PortError> {
        if ips.is_empty() {
            return Err(PortError::NoAddress);
        }
        if ips.len() > 256 {
            return Err(PortError::TooManyAddresses);
        }
        let first = (u32::from(*ports.start()).max(2) + 1) & !1;
        let last = u32::from(*ports.end());
        let pairs: Vec<u16> = (first..last).step_by(2).filter_map(|p| u16::try_from(p).ok()).collect();
        if pairs.is_empty() {
            return Err(PortError::EmptyRange);
        }
        let shelf = || Shelf {
            free: pairs.clone(),
            resting: VecDeque::new(),
            elsewhere: VecDeque::new(),
            out: vec![false; pairs.len()],
            used: 0,
            last: 0,
            given_early: 0,
        };
        Ok(Self {
            ips: ips.to_vec(),
            first: u16::try_from(first).map_err(|_| PortError::EmptyRange)?,
            shelves: ips.iter().map(|_| shelf()).collect(),
            random: SplitMix::new(seed),
        })
    }

    /// A pair that was just taken turned out to be used by another program: for ten seconds it is given only where there is no other.
    pub fn is_elsewhere(&mut self, pair: PortPair, now: Mono) {
        if let Some(shelf) = self.returned(pair) {
            shelf.elsewhere.push_back((now + QUARANTINE, pair.rtp));
        }
    }

    /// The shelf of a pair that was out and is no more; `None`: it was not.
    fn returned(&mut self, pair: PortPair) -> Option<&mut Shelf> {
        let place = pair.rtp.checked_sub(self.first)?;
        let shelf = self.shelves.get_mut(usize::from(pair.ip))?;
        let out = shelf.out.get_mut(usize::from(place / 2))?;
        if !std::mem::take(out) {
            return None;
        }
        shelf.used -= 1;
        Some(shelf)
    }
}

/// How many of a list, which is in the order of its times, have not come to theirs.
fn not_yet(list: &VecDeque<(Mono, u16)>, now: Mono) -> usize {
    list.len() - list.partition_point(|(until, _)| *until <= now)
}

impl Ports for PortPool {
    fn take(&mut self, ip: u8, now: Mono) -> Option<PortPair> {
        let random = self.random.draw();
        let first = self.first;
        let shelf = self.shelves.get_mut(usize::from(ip))?;
        for waits in [&mut shelf.resting, &mut shelf.elsewhere] {
            while let Some((_, port)) = waits.pop_front_if(|(until, _)| *until <= now) {
                shelf.free.push(port);
            }
        }
        let rested = usize::try_from(random % u64::try_from(shelf.free.len()).ok()?.max(1)).ok()?;
        let rtp = if !shelf.free.is_empty() {
            shelf.free.swap_remove(rested)
        } else if let Some((_, port)) = shelf.resting.pop_front() {
            shelf.given_early += 1;
            port
        } else {
            shelf.elsewhere.pop_front()?.1
        };
        if let Some(out) = shelf.out.get_mut(usize::from((rtp - first) / 2)) {
            *out = true;
        }
        shelf.used += 1;
        shelf.last = rtp;
        Some(PortPair { ip, rtp })
    }

    fn give_back(&mut self, pair: PortPair, now: Mono) {
        if let Some(shelf) = self.returned(pair) {
            shelf.resting.push_back((now + QUARANTINE, pair.rtp));
        }
    }

    fn ips(&self) -> &[IpAddr] {
        &self.ips
    }

    fn has(&self, port: u16) -> bool {
        let pairs = self.shelves.first().map_or(0, |s| s.out.len());
        port.checked_sub(self.first).is_some_and(|place| usize::from(place / 2) < pairs)
    }

    fn usage(&self, ip: u8) -> (usize, usize) {
        self.shelves.get(usize::from(ip)).map_or((0, 0), |s| (s.used, s.out.len()))
    }

    fn last(&self, ip: u8) -> u16 {
        self.shelves.get(usize::from(ip)).map_or(0, |s| s.last)
    }

    fn resting(&self, ip: u8, now: Mono) -> usize {
        self.shelves.get(usize::from(ip)).map_or(0, |s| not_yet(&s.resting, now))
    }

    fn elsewhere(&self, ip: u8, now: Mono) -> usize {
        self.shelves.get(usize::from(ip)).map_or(0, |s| not_yet(&s.elsewhere, now))
    }

    fn given_early(&self) -> u64 {
        self.shelves.iter().map(|s| s.given_early).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const IP: &[IpAddr] = &[IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];

    fn at(s: u64) -> Mono {
        Mono(s * 1_000_000_000)
    }

    #[test]
    fn ranges() {
        assert_eq!(PortPool::new(&[], 10..=20, 1).err(), Some(PortError::NoAddress));
        assert_eq!(PortPool::new(IP, 11..=12, 1).err(), Some(PortError::EmptyRange));
        let pool = PortPool::new(IP, 11..=15, 1).unwrap();
        assert_eq!(pool.usage(0), (0, 2)); // 12+13, 14+15
        let mut pool = PortPool::new(IP, 65_530..=65_535, 1).unwrap();
        assert_eq!(pool.usage(0), (0, 3));
        // What runs out are its ports: it opens no files.
        assert_eq!((0..4).filter(|_| pool.take(0, at(0)).is_some()).count(), 3);
        assert!(!pool.lacks_descriptors());
    }

    #[test]
    fn t_rtp_09_ports_are_random_and_rest_ten_seconds() {
        let mut pool = PortPool::new(IP, 30_000..=30_199, 7).unwrap();
        let order: Vec<u16> = (0..100).map(|_| pool.take(0, at(0)).unwrap().rtp).collect();
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 100);
        let rising = order.windows(2).filter(|w| w[1] == w[0] + 2).count();
        assert!(rising < 10, "{rising} of 99 are sequential");
        assert_eq!(pool.take(0, at(0)), None);
        // Rested ones first; when none is left the one that has rested longest, counted.
        let pair = |at: usize| PortPair { ip: 0, rtp: order[at] };
        pool.give_back(pair(3), at(100));
        pool.give_back(pair(3), at(100));
        pool.give_back(pair(8), at(101));
        pool.give_back(pair(5), at(105));
        assert_eq!((pool.resting(0, at(109)), pool.given_early()), (3, 0));
        assert_eq!(pool.take(0, at(110)), Some(pair(3)), "rested");
        assert_eq!((pool.resting(0, at(110)), pool.given_early()), (2, 0));
        assert_eq!(pool.take(0, at(110)), Some(pair(8)), "the longest-resting");
        assert_eq!((pool.resting(0, at(110)), pool.given_early()), (1, 1));
        assert_eq!(pool.take(0, at(110)), Some(pair(5)));
        assert_eq!(pool.take(0, at(110)), None, "all are out");
        assert_eq!((pool.usage(0), pool.given_early()), ((100, 100), 2));
        assert!(pool.has(30_000) && pool.has(30_199) && !pool.has(30_200) && !pool.has(29_999));
    }

    #[test]
    fn t_rtp_09_a_rested_port_goes_before_one_that_rests() {
        let mut pool = PortPool::new(IP, 30_000..=30_003, 7).unwrap();
        let first = pool.take(0, at(0)).unwrap();
        pool.give_back(first, at(0));
        let second = pool.take(0, at(1)).unwrap();
        assert_ne!(first, second);
        assert_eq!(pool.given_early(), 0);
    }

    #[test]
    fn what_another_program_uses_does_not_rest_and_is_tried_last() {
        let mut pool = PortPool::new(IP, 30_000..=30_005, 7).unwrap();
        let all: Vec<PortPair> = (0..3).map(|_| pool.take(0, at(0)).unwrap()).collect();
        pool.is_elsewhere(all[0], at(0));
        pool.is_elsewhere(all[0], at(0));
        pool.give_back(all[1], at(5));
        assert_eq!((pool.usage(0), pool.resting(0, at(6)), pool.elsewhere(0, at(6))), ((1, 3), 1, 1));
        assert_eq!(pool.take(0, at(6)), Some(all[1]), "one that rests goes before");
        assert_eq!(pool.take(0, at(6)), Some(all[0]), "it may be free again");
        assert_eq!((pool.take(0, at(6)), pool.given_early()), (None, 1));
        pool.is_elsewhere(all[0], at(6));
        assert_eq!(
            (pool.elsewhere(0, at(15)), pool.elsewhere(0, at(16))),
            (1, 0),
            "that is believed for ten seconds"
        );
        pool.give_back(all[2], at(16));
        assert_eq!(pool.take(0, at(16)), Some(all[0]), "then it is a port like any other");
    }

    proptest! {
        #[test]
        fn a_pair_is_out_once(ops in prop::collection::vec((any::<bool>(), 0usize..20, 0u64..4), 1..200), seed in any::<u64>()) {
            let ips = [IP[0], "::1".parse().unwrap()];
            let mut pool = PortPool::new(&ips, 40_000..=40_015, seed).unwrap();
            let (mut out, mut now) = (Vec::<PortPair>::new(), 0);
            for (take, pick, later) in ops {
                now += later;
                if take {
                    if let Some(pair) = pool.take((pick % 2) as u8, at(now)) {
                        prop_assert!(pair.rtp % 2 == 0 && !out.contains(&pair));
                        prop_assert!((40_000..40_016).contains(&pair.rtp));
                        out.push(pair);
                    }
                } else if !out.is_empty() {
                    let pair = out.swap_remove(pick % out.len());
                    pool.give_back(pair, at(now));
                }
                prop_assert_eq!(pool.usage(0).0 + pool.usage(1).0, out.len());
            }
        }
    }
}
