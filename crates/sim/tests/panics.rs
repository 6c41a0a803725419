//! A panic at any step of a call (F-PROC-05): whatever the core was doing, the call ends with one record, both sides hear of it, and
//! nothing that it had borrowed stays away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp_policy::Snapshot;
use warp_sim::agent::{Behaviour, CallPlan, Vendor};
use warp_sim::carrier;
use warp_sim::net::Weather;
use warp_sim::world::World;
use warp_sip::flow::Transport;
use warp_sip_proxy::core::{CoreConfig, Listener, Mode};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn vendors() -> [SocketAddr; 3] {
    [addr("10.0.1.1:5060"), addr("10.0.1.2:5060"), addr("10.0.1.3:5060")]
}

const TALK: Duration = Duration::from_secs(7);

/// What vendors and caller do, one way a call can go.
struct Script {
    behaviours: [Behaviour; 3],
    plan: CallPlan,
}

fn scripts() -> Vec<Script> {
    let plan = CallPlan { talk: TALK, ..CallPlan::default() };
    let answer = Behaviour::Answer(Duration::from_secs(1));
    vec![
        Script { behaviours: [answer; 3], plan },
        Script { behaviours: [Behaviour::Refuse(503), answer, answer], plan },
        Script { behaviours: [Behaviour::Silent, Behaviour::Silent, answer], plan },
        Script { behaviours: [answer; 3], plan: CallPlan { callee_hangs_up: true, ..plan } },
        Script {
            behaviours: [Behaviour::Ring; 3],
            plan: CallPlan { cancel_after: Some(Duration::from_secs(4)), ..plan },
        },
        Script {
            behaviours: [answer; 3],
            plan: CallPlan { reinvite_after: Some(Duration::from_secs(2)), ..plan },
        },
        Script { behaviours: [answer; 3], plan: CallPlan { stream: true, ..plan } },
        Script { behaviours: [Behaviour::Refuse(486); 3], plan },
        Script { behaviours: [Behaviour::Refuse(503); 3], plan },
    ]
}

fn world(script: &Script, snapshot: &Arc<Snapshot>) -> World {
    let proxy = addr("10.0.0.1:5060");
    let listener = Listener { transport: Transport::Udp, bind: proxy, advertise: None };
    let stream = Listener { transport: Transport::Tcp, ..listener };
    let config = CoreConfig::new(Mode::Policy, vec![listener, stream]);
    let all = vendors().iter().zip(script.behaviours).map(|(v, b)| Vendor::new(*v, b, TALK)).collect();
    let mut w = World::new(7, config, proxy, all, Weather::CALM);
    let now = w.clock();
    w.core_mut().handle_snapshot(snapshot.clone(), now);
    w
}

/// Runs one call, with a panic at step `at` (0: none). Gives whether it came to that, and the codes of the records.
fn run(script: &Script, snapshot: &Arc<Snapshot>, at: u32, again: u32) -> (u64, Vec<String>) {
    let mut w = world(script, snapshot);
    if at > 0 {
        w.core_mut().panic_in(&[at, again]);
    }
    let called = if script.plan.callee_hangs_up { "14155550129" } else { "14155550123" };
    w.place(1, addr("10.0.2.1:5060"), called, script.plan);
    let later = w.now + Duration::from_secs(20);
    w.run_until(later);
    let fired = w.core_mut().stats().panics;
    w.core_mut().panic_in(&[]);
    let until = w.now + Duration::from_secs(1_200);
    w.run_until(until);
    let mut faults = w.faults();
    faults.extend(w.ledger_faults());
    faults.extend(w.lent(&snapshot.directory));
    let records = w.ended().count();
    if records != 1 {
        faults.push(format!("{records} records"));
    }
    let broken = faults.join("\n");
    assert!(faults.is_empty(), "panic at step {at}, {again}:\n{broken}");
    (fired, w.ended().map(|r| r.internal_code.clone()).collect())
}

#[test]
fn f_proc_05_a_panic_at_any_step_of_a_call_ends_it_properly() {
    // The trace of a panic that is meant is of no use to a reader of this test.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some("meant by a test") {
            usual(info);
        }
    }));
    let snapshot = Arc::new(carrier::snapshot("10.0.2.0/24", &vendors()));
    let mut broken = 0;
    for (n, script) in scripts().iter().enumerate() {
        run(script, &snapshot, 0, 0);
        let mut steps = 0;
        loop {
            steps += 1;
            let (fired, codes) = run(script, &snapshot, steps, 0);
            if fired == 0 {
                break;
            }
            broken += u32::from(codes == ["internal_error"]);
            // And one more while the first is cleared up.
            for again in 1..6 {
                run(script, &snapshot, steps, again);
            }
        }
        assert!(steps > 10, "script {n}: {steps} steps");
    }
    assert!(broken > 60, "{broken}");
}
