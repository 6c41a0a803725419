//! 1,000 seeds of the record-routing proxy without policy, on a network that loses, repeats and reorders.
//!
//! A failure prints its seed: `WARP_SEED=17 cargo test -p warp-sim` runs only that one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use warp_sim::agent::{Behaviour, CallPlan, Vendor};
use warp_sim::net::Weather;
use warp_sim::rng::Rng;
use warp_sim::world::World;
use warp_sip::flow::Transport;
use warp_sip_proxy::core::{CoreConfig, Listener, Mode};

const SEEDS: u64 = 1_000;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn world(seed: u64) -> World {
    let mut rng = Rng::new(seed ^ 0x5EED);
    let proxy = addr("10.0.0.1:5060");
    let vendor = addr("10.0.1.1:5060");
    let behaviour = match rng.below(10) {
        0 => Behaviour::Refuse(486),
        1 => Behaviour::Refuse(503),
        2 => Behaviour::Ring,
        3 => Behaviour::Silent,
        _ => Behaviour::Answer(Duration::from_millis(rng.below(8_000))),
    };
    let mode = Mode::Static { next: vendor, trusted: vec!["10.0.0.0/8".parse().expect("cidr")] };
    let listener = Listener { transport: Transport::Udp, bind: proxy, advertise: None };
    let config = CoreConfig::new(mode, vec![listener]);
    let weather = Weather {
        loss_per_mille: [0, 10, 50, 200][rng.below(4) as usize],
        duplicate_per_mille: rng.below(100),
        delay: Duration::from_millis(1 + rng.below(40)),
        jitter: Duration::from_millis(rng.below(120)),
    };
    let vendors = vec![Vendor::new(vendor, behaviour, Duration::from_secs(3))];
    World::new(seed, config, proxy, vendors, weather)
}

/// F-NET-01: loss, duplication and reordering; nothing is left behind, nobody gets two answers.
#[test]
fn f_net_01_a_thousand_seeds_keep_the_rules() {
    let only: Option<u64> = std::env::var("WARP_SEED").ok().and_then(|s| s.parse().ok());
    let mut seen: BTreeMap<u16, u32> = BTreeMap::new();
    let mut lost = 0;
    for seed in only.map_or(0..SEEDS, |s| s..s + 1) {
        let mut w = world(seed);
        for n in 0..3u64 {
            let plan = CallPlan {
                talk: Duration::from_millis(w.rng.below(20_000)),
                cancel_after: w.rng.chance(250).then(|| Duration::from_millis(w.rng.below(10_000))),
                callee_hangs_up: w.rng.chance(300),
                ..CallPlan::default()
            };
            let called = if plan.callee_hangs_up { "14155550129" } else { "14155550123" };
            let caller = SocketAddr::new([10, 0, 2, n as u8 + 1].into(), 5060);
            w.place(n, caller, called, plan);
            let at = w.now + Duration::from_millis(w.rng.below(2_000));
            w.run_until(at);
        }
        // Longest life: ringing until timer C, then the last timers.
        let end = w.now + Duration::from_secs(600);
        w.run_until(end);
        let faults = w.faults();
        assert!(faults.is_empty(), "seed {seed} (WARP_SEED={seed} repeats it):\n{}", faults.join("\n"));
        for caller in w.callers.values() {
            *seen.entry(caller.finals.first().copied().unwrap_or(0)).or_default() += 1;
        }
        lost += w.figures().2;
    }
    println!("finals {seen:?}, {lost} datagrams lost");
    // The worlds were not empty: every kind of end occurred, and the network was bad.
    if only.is_none() {
        for status in [200, 408, 486, 487, 503] {
            assert!(seen.get(&status).is_some_and(|n| *n > 50), "{status}: {seen:?}");
        }
        assert!(lost > 1_000);
    }
}
