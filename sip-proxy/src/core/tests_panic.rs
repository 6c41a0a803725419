//! What a panic costs in a whole core (F-PROC-05), and the calls of a core that is given up. The simulator walks every step of a call
//! (`crates/sim/tests/panics.rs`).

use warp_model::Nanos;
use warp_model::cdr::Outcome;

use super::tests_static::{addr, at, config, core_with, invite as static_invite, sent, udp};
use super::tests_world::*;
use super::types::Command;
use super::{Core, Shared};

/// Nobody had taken the request yet: it is answered, and its transaction ends.
#[test]
fn f_proc_05_a_request_that_nobody_took_gets_500() {
    let mut w = World::new(false, |_| ());
    let (ok, _) = answered(&mut w, "");
    // The BYE is a transaction of ours before its call hears of it.
    w.core.panic_in(&[1]);
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert_eq!(w.core.stats().panics, 1);
    let out = w.take();
    assert!(out.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("BYE ")), "{out:#?}");
    assert!(out.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("BYE ")), "{out:#?}");
    assert_eq!((w.ended.len(), w.ended[0].internal_code.as_str()), (1, "internal_error"));
    assert!(w.ended[0].rating.is_some());
    w.nothing_is_left();
}

/// A timer that panics costs the others that were due with it nothing.
#[test]
fn f_proc_05_timers_that_were_due_together_are_all_looked_at() {
    let mut w = World::new(false, |_| ());
    for n in 0..5 {
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
    }
    w.take();
    // All of them have a silent vendor; the first to be looked at panics.
    w.core.panic_in(&[1]);
    w.wait(2_200);
    assert_eq!(w.core.stats().panics, 1);
    let next = w.take().iter().filter(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")).count();
    assert!(next >= 4, "{next}");
    w.wait(400_000);
    assert_eq!(w.ended.len(), 5);
    w.nothing_is_left();
}

#[test]
fn f_proc_05_the_calls_of_a_core_that_is_given_up_end_properly() {
    let mut w = World::new(true, |_| ());
    answered(&mut w, SDP);
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", SDP));
    let ringing = w.to(V1);
    w.give(V1, &reply(&ringing, "180 Ringing", "b2", V1, "", ""));
    w.relay = false;
    w.give(CUSTOMER, &invite(NUMBER, "c3", "", SDP)); // waits for the relay
    w.take();
    w.questions();
    w.ms += 5_000;
    assert_eq!(w.core.live_calls(), 3);
    let directory = w.core.tx.snapshot.clone().unwrap().directory.clone();
    let shared = w.core.tx.shared.clone();
    let bound = shared.usage.bind(&directory);
    let trunk = directory.trunks().next().unwrap().0;
    assert_eq!(bound.trunk(trunk).unwrap().channels, 3);

    let mut dialogs = Vec::new();
    while let Some(call) = w.core.next_call() {
        dialogs.extend(w.core.close_books(call, at(w.ms)));
    }
    w.drain();
    assert_eq!(w.core.stats().panics, 0, "none of it panicked");
    // One record each: the answered one with its duration and price, the others unanswered.
    let mut ended: Vec<_> = w.ended.iter().map(|r| (r.sip_call_id.as_str(), r.sip_code, r.outcome)).collect();
    ended.sort_by_key(|r| r.0);
    assert_eq!(
        ended,
        [("c1", 200, Outcome::Answered), ("c2", 500, Outcome::Failed), ("c3", 500, Outcome::Failed)]
    );
    assert!(w.ended.iter().all(|r| r.internal_code == "internal_error"));
    let first = w.ended.iter().find(|r| r.sip_call_id == "c1").unwrap();
    assert!(first.duration_ms >= 5_000);
    let charge = first.rating.as_ref().unwrap().sell.charge;
    assert!(charge > Nanos(0));
    // Nothing is lent any more, and the day's spend is what was charged.
    let gauges = bound.trunk(trunk).unwrap();
    assert_eq!((gauges.channels, gauges.spent), (0, charge));
    for (ix, _) in directory.vendor_trunks() {
        assert_eq!(bound.vendor_trunk_channels(ix), Some(0));
    }
    // Whoever waits for a final has one, the vendor that rings is told, the relay forgets all three.
    let out = w.take();
    let finals = out.iter().filter(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 500 ")).count();
    assert_eq!(finals, 2, "{out:#?}");
    assert!(out.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("CANCEL ")), "{out:#?}");
    let deletes = w.questions().iter().filter(|q| matches!(q, warp_ng::Command::Delete(_))).count();
    assert!(deletes >= 3, "{deletes}");

    // Its transactions go with it, and another core ends the dialog both ways.
    let config = w.core.config().clone();
    w.core = Core::new(config, 0, [8; 32], shared.clone());
    w.core.handle_snapshot(snapshot(|_| ()), at(w.ms));
    assert_eq!(shared.transactions(), 0);
    assert_eq!(dialogs.len(), 1);
    for dialog in dialogs {
        w.command(Command::EndRecovered(dialog));
    }
    let byes: Vec<_> =
        w.take().into_iter().filter(|(_, t)| t.starts_with("BYE ")).map(|(to, _)| to).collect();
    assert_eq!(byes, [addr(V1), addr(CUSTOMER)]);
    assert_eq!(w.ended.len(), 3, "and no further record");
}

/// What panics again while the books are closed is counted, and costs its own part only.
#[test]
fn f_proc_05_what_panics_while_a_core_is_given_up_is_counted() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    w.take();
    w.core.panic_in(&[1]);
    while let Some(call) = w.core.next_call() {
        assert!(w.core.close_books(call, at(w.ms)).is_none(), "nobody had answered it");
    }
    w.drain();
    assert_eq!((w.core.stats().panics, w.core.live_calls()), (1, 0));
}

/// A panic between taking room in the table and having the transaction in it.
#[test]
fn f_proc_05_a_place_that_no_transaction_has_yet_comes_back_with_an_unwind() {
    let shared = std::sync::Arc::new(Shared::new([3; 32]));
    let step = std::panic::AssertUnwindSafe(|| {
        let _place = shared.place(1).unwrap();
        assert!(shared.place(1).is_none() && shared.transactions() == 1);
        panic!("meant");
    });
    let why = std::panic::catch_unwind(step).unwrap_err();
    assert_eq!((why.downcast_ref(), shared.transactions()), (Some(&"meant"), 0));
}

/// Room in the table of all shards is given back with the transaction, whichever way that goes.
#[test]
fn f_proc_05_places_of_transactions_come_back_with_an_unwind() {
    let mut core = core_with(config(&["192.0.2.0/24"]));
    let shared: std::sync::Arc<Shared> = core.tx.shared.clone();
    for step in 1..4 {
        core.panic_in(&[step]);
        let text = static_invite().replace("z9hG4bKi1", &format!("z9hG4bKi{step}"));
        core.handle_message(udp("192.0.2.5:5060"), text.as_bytes(), at(u64::from(step)));
        sent(&mut core);
    }
    assert!(core.stats().panics >= 2);
    while let Some(next) = core.poll_timeout() {
        let ms = (next.0 - at(0).mono.0).div_ceil(1_000_000);
        core.handle_timeout(at(ms));
        sent(&mut core);
    }
    assert_eq!((core.transactions(), shared.transactions()), ((0, 0), 0));
}
