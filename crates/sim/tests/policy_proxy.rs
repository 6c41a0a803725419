//! 1,000 seeds of the whole proxy: trunk, decision, three vendors that answer, refuse, ring for ever or are dead, a relay that is
//! sometimes deaf, on a network that loses, repeats and reorders. The invariants of `ref/threats-and-faults` §4 and the ledger.
//!
//! A failure prints its seed: `WARP_SEED=17 cargo test -p warp-sim --test policy_proxy` runs only that one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp_sim::agent::{Behaviour, CallPlan, Vendor};
use warp_sim::carrier;
use warp_sim::net::Weather;
use warp_sim::rng::Rng;
use warp_sim::world::World;
use warp_sip::flow::Transport;
use warp_sip_proxy::core::{Command, CoreConfig, Listener, Mode};

const SEEDS: u64 = 1_000;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn behaviour(rng: &mut Rng) -> Behaviour {
    match rng.below(12) {
        0 => Behaviour::Refuse(486),
        1 => Behaviour::Refuse(503),
        2 => Behaviour::Refuse(500),
        3 => Behaviour::Refuse(404),
        4 => Behaviour::Ring,
        5 | 6 => Behaviour::Silent,
        _ => Behaviour::Answer(Duration::from_millis(rng.below(8_000))),
    }
}

fn world(seed: u64, snapshot: &Arc<warp_policy::Snapshot>) -> World {
    let mut rng = Rng::new(seed ^ 0xCA11);
    let proxy = addr("10.0.0.1:5060");
    let listener = Listener { transport: Transport::Udp, bind: proxy, advertise: None };
    let stream = Listener { transport: Transport::Tcp, ..listener };
    let config = CoreConfig::new(Mode::Policy, vec![listener, stream]);
    let weather = Weather {
        loss_per_mille: [0, 10, 50, 200][rng.below(4) as usize],
        duplicate_per_mille: rng.below(100),
        delay: Duration::from_millis(1 + rng.below(40)),
        jitter: Duration::from_millis(rng.below(120)),
    };
    let vendors =
        vendors().iter().map(|v| Vendor::new(*v, behaviour(&mut rng), Duration::from_secs(3))).collect();
    let mut w = World::new(seed, config, proxy, vendors, weather);
    w.relay_deaf_per_mille = [0, 0, 0, 30][rng.below(4) as usize];
    let now = w.clock();
    w.core_mut().handle_snapshot(snapshot.clone(), now);
    w
}

fn vendors() -> [SocketAddr; 3] {
    [addr("10.0.1.1:5060"), addr("10.0.1.2:5060"), addr("10.0.1.3:5060")]
}

/// F-NET-01, F-NET-02: whatever the network and the vendors do, one CDR per call, one final per transaction, no media and no
/// timers left.
#[test]
fn f_net_01_a_thousand_seeds_keep_the_ledger() {
    let only: Option<u64> = std::env::var("WARP_SEED").ok().and_then(|s| s.parse().ok());
    let snapshot = Arc::new(carrier::snapshot("10.0.2.0/24", &vendors()));
    let mut seen: BTreeMap<u16, u32> = BTreeMap::new();
    let (mut answered, mut lost, mut failovers) = (0, 0, 0);
    let (mut signed_in, mut over_tcp, mut reinvited, mut spoofed) = (0, 0, 0, 0);
    for seed in only.map_or(0..SEEDS, |s| s..s + 1) {
        let mut w = world(seed, &snapshot);
        w.spoofer.per_mille = [0, 0, 300][w.rng.below(3) as usize];
        for n in 0..3u64 {
            let plan = CallPlan {
                talk: Duration::from_millis(w.rng.below(20_000)),
                cancel_after: w.rng.chance(200).then(|| Duration::from_millis(w.rng.below(10_000))),
                callee_hangs_up: w.rng.chance(300),
                stream: w.rng.chance(300),
                signs_in: w.rng.chance(250),
                reinvite_after: w.rng.chance(400).then(|| Duration::from_millis(w.rng.below(8_000))),
            };
            let called = if plan.callee_hangs_up { "14155550129" } else { "14155550123" };
            // A user calls from an address that no trunk lists.
            let network = if plan.signs_in { 4 } else { 2 };
            let caller = SocketAddr::new([10, 0, network, n as u8 + 1].into(), 5060);
            w.place(n, caller, called, plan);
            let at = w.now + Duration::from_millis(w.rng.below(2_000));
            w.run_until(at);
        }
        if w.rng.chance(50) {
            let at = w.now + Duration::from_millis(w.rng.below(15_000));
            w.run_until(at);
            let (now, end_calls) = (w.clock(), w.rng.chance(500));
            w.core_mut().handle_command(Command::Drain { end_calls }, now);
        }
        // Longest life: three vendors ringing until timer C, then the last timers.
        let end = w.now + Duration::from_secs(1_200);
        w.run_until(end);
        let mut faults = w.faults();
        faults.extend(w.ledger_faults());
        assert!(faults.is_empty(), "seed {seed} (WARP_SEED={seed} repeats it):\n{}", faults.join("\n"));
        for caller in w.callers.values() {
            *seen.entry(caller.finals.first().copied().unwrap_or(0)).or_default() += 1;
        }
        signed_in += w.core_mut().stats().auth_ok;
        over_tcp += w.tcp_messages();
        reinvited += w.vendors.iter().map(|v| v.reinvited).sum::<u64>();
        spoofed += w.core_mut().stats().spoofed;
        // Who overhears everything ends no call and answers none: its tag and its words are nowhere.
        let forged =
            w.ended().filter(|r| r.sip_code == 603 || r.legs.iter().any(|l| l.sip_code == 603)).count();
        assert_eq!(forged, 0, "seed {seed}: a forged response was believed");
        assert!(w.callers.values().all(|c| !c.answered_tags.contains(&"evil".to_owned())), "seed {seed}");
        answered += w.figures().0;
        lost += w.figures().2;
        failovers += w.core_mut().stats().failovers;
    }
    println!("finals {seen:?}, {answered} answered, {failovers} failovers, {lost} datagrams lost");
    // The worlds were not empty: every kind of end occurred, and the network was bad.
    if only.is_none() {
        for status in [200, 404, 486, 487, 503] {
            assert!(seen.get(&status).is_some_and(|n| *n > 30), "{status}: {seen:?}");
        }
        assert!(failovers > 300 && lost > 1_000);
        println!(
            "{signed_in} signed in, {over_tcp} messages over TCP, {reinvited} re-INVITEs, {spoofed} forgeries refused"
        );
        assert!(signed_in > 300 && over_tcp > 2_000 && reinvited > 150 && spoofed > 200);
    }
}

/// What a world came to: per call its Call-ID, code, duration, post-dial delay and price, and the statuses that its caller saw.
fn outcome(seed: u64, snapshot: &Arc<warp_policy::Snapshot>, jumps: bool) -> Vec<String> {
    let mut w = world(seed, snapshot);
    for n in 0..3u64 {
        let plan = CallPlan {
            talk: Duration::from_millis(w.rng.below(20_000)),
            cancel_after: w.rng.chance(200).then(|| Duration::from_millis(w.rng.below(10_000))),
            ..CallPlan::default()
        };
        w.place(n, SocketAddr::new([10, 0, 2, n as u8 + 1].into(), 5060), "14155550123", plan);
        let at = w.now + Duration::from_millis(w.rng.below(2_000));
        w.run_until(at);
    }
    for step in 0..40u64 {
        if jumps {
            w.wall_shift_ms = [3_600_000, -3_600_000, 0, 1_000][(step % 4) as usize];
        }
        let at = w.now + Duration::from_millis(731);
        w.run_until(at);
    }
    let end = w.now + Duration::from_secs(1_200);
    w.run_until(end);
    let faults: Vec<String> = w.faults().into_iter().chain(w.ledger_faults()).collect();
    assert!(faults.is_empty(), "seed {seed}: {}", faults.join("\n"));
    let mut all: Vec<String> = w
        .ended()
        .map(|r| {
            let order = [Some(r.setup_at), r.answer_at, Some(r.end_at)];
            assert!(order.iter().flatten().is_sorted(), "seed {seed}: {order:?}");
            let charge = r.rating.as_ref().map(|x| x.sell.charge);
            let span = r.end_at.0 - r.setup_at.0;
            format!("{} {} {} {:?} {charge:?} {span}", r.sip_call_id, r.sip_code, r.duration_ms, r.pdd_ms)
        })
        .chain(w.callers.values().map(|c| format!("{:?}", c.finals)))
        .collect();
    all.sort();
    all
}

/// F-TIME-01: a wall clock that jumps an hour forward and back changes no timer, no duration, no price, and no message.
#[test]
fn f_time_01_jumps_of_the_wall_clock_change_nothing_but_dates() {
    let snapshot = Arc::new(carrier::snapshot("10.0.2.0/24", &vendors()));
    let mut answered = 0;
    for seed in 0..100 {
        let calm = outcome(seed, &snapshot, false);
        assert_eq!(calm, outcome(seed, &snapshot, true), "seed {seed}");
        answered += calm.iter().filter(|l| l.contains(" 200 ")).count();
    }
    assert!(answered > 100, "{answered}");
}
