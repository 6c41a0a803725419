//! Health of vendor trunks in a whole core: out of rotation, back again, and how fast (F-NET-02, F-NET-03).

use warp_policy::{DecisionRecord, replay};

use super::TrunkState;
use super::tests_static::{addr, at};
use super::tests_world::*;

/// The vendor that a call goes to first. The call is cancelled at once, and no time passes but the gaps between messages.
fn first_choice(w: &mut World, call: &str) -> &'static str {
    let before = w.ms;
    w.give(CUSTOMER, &invite(NUMBER, call, "", ""));
    let (to, request) = w.take().into_iter().find(|(_, t)| t.starts_with("INVITE ")).unwrap();
    let vendor = [V1, V2, V3].into_iter().find(|v| addr(v) == to).unwrap();
    w.give(vendor, &reply(&request, "486 Busy Here", "x", vendor, "", ""));
    w.take();
    w.ms = before;
    vendor
}

/// The decision of the call in the air with this Call-ID.
fn decision_of(w: &World, call: &str) -> DecisionRecord {
    let call = w.core.calls.all.iter().find(|(_, c)| c.dialog.call_id == call.as_bytes()).unwrap().1;
    serde_json::from_str(call.record.as_ref().unwrap().decision.as_ref().unwrap().get()).unwrap()
}

#[test]
fn f_net_02_a_vendor_that_times_out_three_times_is_out_of_rotation() {
    let mut w = World::new(false, |_| ());
    for n in 0..3 {
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
        w.to(V1);
        w.wait(2_100);
        let second = w.take().into_iter().find(|(to, _)| *to == addr(V2)).unwrap().1;
        w.give(V2, &reply(&second, "486 Busy Here", "x", V2, "", ""));
        w.take();
    }
    w.give(CUSTOMER, &invite(NUMBER, "c9", "", ""));
    assert!(w.to(V2).starts_with("INVITE "), "vendor 1 is skipped");
    let record = w.core.calls.all.iter().find_map(|(_, c)| c.record.clone()).unwrap();
    assert!(record.decision.unwrap().get().contains("down"), "and the decision record says so");
}

#[test]
fn f_net_03_retry_after_of_a_vendor_is_honoured() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let first = w.to(V1);
    w.give(V1, &reply(&first, "503 Overload", "x", V1, "Retry-After: 20\r\n", ""));
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    assert!(w.to(V2).starts_with("INVITE "));
    w.wait(21_000);
    w.take();
    // Back, with a tenth of its calls; nine seconds later with all of them.
    let shares = [0, 9_000].map(|ms| {
        w.wait(ms);
        (0..100).filter(|n| first_choice(&mut w, &format!("r{ms}-{n}")) == V1).count()
    });
    assert!((3..=25).contains(&shares[0]), "{shares:?}");
    assert_eq!(shares[1], 100);
}

/// Three calls in a row that vendor 1 says nothing to.
fn put_vendor_1_out(w: &mut World) {
    for n in 0..3 {
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
        w.to(V1);
        w.wait(2_100);
        let second = w.take().into_iter().find(|(to, _)| *to == addr(V2)).unwrap().1;
        w.give(V2, &reply(&second, "486 Busy Here", "x", V2, "", ""));
        w.take();
    }
}

/// Who gets the first INVITE of a call; it is cancelled by nobody and goes on.
fn goes_to(w: &mut World, call: &str) -> String {
    w.give(CUSTOMER, &invite(NUMBER, call, "", ""));
    w.take().into_iter().find(|(_, t)| t.starts_with("INVITE ")).unwrap().0.to_string()
}

#[test]
fn f_net_02_a_probe_brings_a_vendor_back() {
    let mut w = World::new(false, |_| ());
    put_vendor_1_out(&mut w);
    let options = |w: &mut World| {
        w.take().into_iter().find(|(to, t)| *to == addr(V1) && t.starts_with("OPTIONS ")).map(|(_, t)| t)
    };
    w.wait(9_900);
    // One each five seconds: what is lost is not repeated, the next one follows.
    let sent = w.take().into_iter().filter(|(to, t)| *to == addr(V1) && t.starts_with("OPTIONS ")).count();
    assert_eq!(sent, 1);
    w.wait(100);
    let probe = options(&mut w).unwrap();
    assert_eq!(goes_to(&mut w, "c8"), V2);
    // Answered before its rest of 30 s is over.
    w.give(V1, &reply(&probe, "200 OK", "o", V1, "", ""));
    w.take();
    let times: Vec<_> = w.core.take_probe_times().map(|(id, _)| id).collect();
    assert_eq!(times, [warp_model::VendorTrunkId::from_u128(1)], "only the probe that was answered");
    let mut shares = Vec::new();
    for second in 0..11 {
        shares.push((0..100).filter(|n| first_choice(&mut w, &format!("s{second}-{n}")) == V1).count());
        w.wait(1_000);
    }
    assert!((3..=25).contains(&shares[0]) && (30..=75).contains(&shares[4]), "{shares:?}");
    assert_eq!(shares[10], 100, "{shares:?}");
    w.wait(10_000);
    assert!(options(&mut w).is_none(), "and is asked no more");
}

/// It never answers OPTIONS, as many do not: after its rest a call or two find out how it is.
#[test]
fn f_net_02_a_vendor_that_ignores_options_comes_back_by_a_call() {
    let mut w = World::new(false, |_| ());
    put_vendor_1_out(&mut w);
    w.wait(29_000);
    w.take();
    assert_eq!(goes_to(&mut w, "t1"), V2);
    w.wait(1_500);
    w.take();
    // One call is its trial. Those beside it go elsewhere, and the trial costs its caller two seconds.
    assert_eq!(goes_to(&mut w, "t2"), V1);
    assert_eq!(goes_to(&mut w, "t3"), V2);
    let record = decision_of(&w, "t3");
    let why = record.excluded.iter().find(|e| e.vendor_name == "vendor 1").unwrap();
    assert_eq!((why.reason.as_str(), why.rule.as_str()), ("down", "no response to several calls in a row"));
    w.wait(2_100);
    assert!(w.take().iter().any(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")), "t2 goes on");
    // Silent: it rests for another 30 s, from that one failure.
    assert_eq!(goes_to(&mut w, "t4"), V2);
    w.wait(30_100);
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "t5", "", ""));
    let trial = w.take().into_iter().find(|(to, t)| *to == addr(V1) && t.starts_with("INVITE ")).unwrap().1;
    w.give(V1, &reply(&trial, "486 Busy Here", "x", V1, "", ""));
    w.take();
    // A word is enough: back with a tenth, and with all after nine seconds.
    w.wait(9_100);
    let last = (0..100).filter(|n| first_choice(&mut w, &format!("z{n}")) == V1).count();
    assert_eq!(last, 100);
}

/// By hand, and for the trunk that was meant: two trunks never share a slot, however their ids look.
#[test]
fn f_net_02_a_reset_brings_a_vendor_back_and_no_other() {
    let id = warp_model::VendorTrunkId::from_u128;
    let mut w = World::new(false, |_| ());
    put_vendor_1_out(&mut w);
    assert_eq!(goes_to(&mut w, "r1"), V2);
    let shared = w.core.tx.shared.clone();
    assert!(matches!(shared.vendor_trunk(id(1), at(w.ms).mono), Some(TrunkState::Down(..))));
    assert!(shared.reset_vendor_trunk(id(2)) && !shared.reset_vendor_trunk(id(99)));
    assert_eq!(goes_to(&mut w, "r2"), V2);
    assert!(shared.reset_vendor_trunk(id(1)));
    assert_eq!(shared.vendor_trunk(id(1), at(w.ms).mono), Some(TrunkState::Up));
    assert_eq!(goes_to(&mut w, "r3"), V1);
    // Ten thousand trunks: one is out, and only one.
    let bound = super::health::Health::default();
    let directory = snapshot(|d| {
        let one = d.vendor_trunks[0].clone();
        for n in 10..10_010_u128 {
            let mut more = one.clone();
            (more.id, more.name) = (warp_model::VendorTrunkId::from_u128(n << 40), format!("t{n}"));
            d.vendor_trunks.push(more);
        }
    })
    .directory
    .clone();
    let vendors = bound.bind(&directory);
    let (first, now) = (vendors.of(warp_policy::VendorTrunkIx(7)).unwrap(), at(1_000).mono);
    first.rest(at(60_000).mono);
    let down = directory.vendor_trunks().filter(|(ix, _)| vendors.of(*ix).unwrap().is_down(now)).count();
    assert_eq!(down, 1);
}

#[test]
fn f_net_02_a_returning_vendor_is_passed_over_with_a_reason_that_replays() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let first = w.to(V1);
    w.give(V1, &reply(&first, "503 Overload", "x", V1, "Retry-After: 20\r\n", ""));
    w.wait(20_500);
    w.take();
    let passed = (0..100).map(|n| format!("p{n}")).find(|call| {
        w.give(CUSTOMER, &invite(NUMBER, call, "", ""));
        !w.take().iter().any(|(to, t)| *to == addr(V1) && t.starts_with("INVITE "))
    });
    let record = decision_of(&w, &passed.unwrap());
    let ranked: Vec<_> =
        record.candidates.iter().map(|c| (c.vendor_name.as_str(), c.passed_over.as_deref())).collect();
    let why = Some("takes 10 % of calls while it comes back");
    assert_eq!(ranked, [("vendor 2", None), ("vendor 3", None), ("vendor 1", why)]);
    assert_eq!(
        record.inputs.live.iter().map(|l| (l.up, l.share)).collect::<Vec<_>>(),
        [(true, 10), (true, 100), (true, 100)]
    );
    let snapshot = w.core.tx.snapshot.clone().unwrap();
    let again: Vec<_> = replay(&snapshot, &record).unwrap().result.unwrap().iter().map(|c| c.rank).collect();
    assert_eq!(again, [1, 2, 3]);
    let order = |r: &DecisionRecord| r.candidates.iter().map(|c| c.vendor_trunk).collect::<Vec<_>>();
    let ids = replay(&snapshot, &record).unwrap().result.unwrap();
    let ids: Vec<_> =
        ids.iter().map(|c| snapshot.directory.vendor_trunk(c.vendor_trunk).unwrap().id).collect();
    assert_eq!(ids, order(&record));
}

#[test]
fn f_net_02_the_only_vendor_is_used_while_it_comes_back() {
    let mut w = World::new(false, |d| {
        d.partitions[0].vendors.truncate(1);
    });
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let first = w.to(V1);
    w.give(V1, &reply(&first, "503 Overload", "x", V1, "Retry-After: 20\r\n", ""));
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 503 "), "out is out");
    w.wait(21_000);
    w.take();
    assert!((0..50).all(|n| first_choice(&mut w, &format!("o{n}")) == V1));
}
