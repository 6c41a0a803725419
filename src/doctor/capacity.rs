//! Ports, descriptors and CPU as calls a second that this machine can carry.
//!
//! The sums stand on measured costs (`bench/results`), on calls of three minutes with one packet every 20 ms each way, and on
//! every call being anchored. They are a first guess for sizing, not a promise: a load test of one's own decides.

use super::{Finding, Level, finding};
use crate::config::Config;

/// Length of a call.
const TALK_S: f64 = 180.0;
/// How long a pair of ports rests before it is given again by preference.
const REST_S: f64 = 10.0;
/// Pairs of ports of a call, one towards each party.
const PAIRS: f64 = 2.0;
/// Sockets of a call: RTP and RTCP towards each party.
const SOCKETS: f64 = 4.0;
/// Part of the descriptors that sockets of resting ports may take.
const KEPT: f64 = 0.25;
/// Descriptors of everything else.
const OTHER_DESCRIPTORS: f64 = 1_000.0;
/// CPU seconds to set a call up, end it, and post its record: the full path, not plain proxying.
const SIGNALLING_S: f64 = 0.001_5;
/// CPU seconds of relaying one packet.
const PACKET_S: f64 = 0.000_004_2;
/// Packets of a call each second, both ways.
const PACKETS: f64 = 100.0;

/// What each resource allows, in calls a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Capacity {
    ports: f64,
    descriptors: f64,
    cpu: f64,
}

impl Capacity {
    /// `pairs` of ports over all addresses, `descriptors` of the process, `cpus`.
    pub(super) fn new(pairs: usize, descriptors: f64, cpus: usize) -> Self {
        let free = (descriptors - OTHER_DESCRIPTORS).max(0.0);
        // The relay keeps sockets of resting ports, one a port and a quarter of the descriptors at most. Where every port can have
        // one, calls lack none.
        let ports = pairs as f64 * 2.0;
        let kept = if ports <= free { 0.0 } else { descriptors * KEPT };
        let at_once = (free - kept).max(0.0) / SOCKETS;
        Self {
            ports: pairs as f64 / pairs_for(1.0, TALK_S),
            descriptors: at_once / TALK_S,
            cpu: cpus as f64 / (SIGNALLING_S + PACKET_S * PACKETS * TALK_S),
        }
    }

    fn least(self) -> f64 {
        self.ports.min(self.descriptors).min(self.cpu)
    }
}

/// Pairs of ports that so many calls a second hold, each for so many seconds and its rest.
pub(crate) fn pairs_for(calls_per_s: f64, seconds: f64) -> f64 {
    calls_per_s * PAIRS * (seconds + REST_S)
}

/// Pairs of ports of a configuration, over all its addresses.
pub(crate) fn pairs_of(config: &Config) -> usize {
    let (low, high) = (u32::from(*config.media.ports.start()), u32::from(*config.media.ports.end()));
    // From the first even port to the last odd one.
    high.div_ceil(2).saturating_sub(low.div_ceil(2)) as usize * config.media.ips.len()
}

/// The finding about this machine with this configuration.
pub(super) fn of_machine(config: &Config) -> Finding {
    let pairs = pairs_of(config);
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let descriptors = hard_limit().unwrap_or(0.0);
    let capacity = Capacity::new(pairs, descriptors, cpus);
    let least = capacity.least();
    let found = format!(
        "about {least:.1} calls/s of 3 min, {:.0} at once; ports allow {:.1}/s ({} ports, four a call, which rest 10 s after it), descriptors {:.1}/s \
         ({descriptors:.0}), CPU {:.1}/s ({cpus})",
        least * TALK_S,
        capacity.ports,
        pairs.saturating_mul(2),
        capacity.descriptors,
        capacity.cpu,
    );
    if capacity.descriptors <= least && capacity.descriptors < capacity.cpu {
        let fix = "ulimit -Hn 1048576   (systemd: LimitNOFILE=1048576)";
        return finding("capacity", Level::Warn, found, fix);
    }
    if capacity.ports < capacity.cpu {
        let wanted = pairs_for(capacity.cpu, TALK_S).ceil() as usize;
        let fix = format!(
            "set media.ports to a range of {} ports, or media.ips to more addresses: CPU would carry that many",
            wanted.saturating_mul(2) / config.media.ips.len().max(1)
        );
        return finding("capacity", Level::Warn, found, fix);
    }
    finding("capacity", Level::Ok, found, "")
}

/// Most descriptors that a process may allow itself.
pub(super) fn hard_limit() -> Option<f64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|l| l.starts_with("Max open files"))?;
    let hard = line.split_ascii_whitespace().nth(4)?;
    if hard == "unlimited" { Some(1e9) } else { hard.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_resource_decides() {
        let near = |a: f64, b: f64| (a - b).abs() < b * 0.01;
        // 5,000 pairs: 2,500 calls at once that hold their ports 190 s.
        let by_ports = Capacity::new(5_000, 1e6, 64);
        assert!(near(by_ports.least(), 13.16), "{by_ports:?}");
        // 4 descriptors each: of 25,000 a quarter is kept with resting ports, and 17,750 are 4,437 calls of 180 s.
        let by_descriptors = Capacity::new(1_000_000, 25_000.0, 64);
        assert!(near(by_descriptors.least(), 24.65), "{by_descriptors:?}");
        // With a descriptor for every port none is taken from calls.
        let for_all = Capacity::new(12_000, 25_000.0, 64);
        assert!(near(for_all.descriptors, 33.3), "{for_all:?}");
        // 77 ms of CPU a call.
        let by_cpu = Capacity::new(1_000_000, 1e6, 2);
        assert!(near(by_cpu.least(), 25.9), "{by_cpu:?}");
        assert_eq!(Capacity::new(0, 500.0, 1).least(), 0.0);
    }

    #[test]
    fn a_range_that_is_too_small_is_named_with_the_size_that_it_needs() {
        let mut config = Config::default();
        config.media.ports = 30_000..=30_099;
        let small = of_machine(&config);
        assert!(small.level == Level::Warn && small.found.contains("(100 ports, four a call"), "{small:?}");
        assert!(small.fix.contains("media.ports"), "{small:?}");
    }
}
