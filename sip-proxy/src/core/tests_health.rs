//! Health of vendor trunks in a whole core: out of rotation, back again, and how fast (F-NET-02, F-NET-03).

use warp_policy::{DecisionRecord, replay};

use super::tests_static::addr;
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

#[test]
fn f_net_02_a_probe_brings_a_vendor_back() {
    let mut w = World::new(false, |_| ());
    for n in 0..3 {
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
        w.to(V1);
        w.wait(2_100);
        let second = w.take().into_iter().find(|(to, _)| *to == addr(V2)).unwrap().1;
        w.give(V2, &reply(&second, "486 Busy Here", "x", V2, "", ""));
        w.take();
    }
    let options = |w: &mut World| {
        w.take().into_iter().find(|(to, t)| *to == addr(V1) && t.starts_with("OPTIONS ")).map(|(_, t)| t)
    };
    w.wait(5_000);
    assert!(options(&mut w).is_some());
    // Unanswered: still out after the time that a failure costs.
    w.wait(60_000);
    let probe = options(&mut w).unwrap();
    w.give(CUSTOMER, &invite(NUMBER, "c8", "", ""));
    assert!(w.take().iter().any(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")));
    let last = {
        w.wait(6_000);
        options(&mut w).unwrap_or(probe)
    };
    w.give(V1, &reply(&last, "200 OK", "o", V1, "", ""));
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
