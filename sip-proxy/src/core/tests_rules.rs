//! Rules of the carrier on the call path: an override sends a call to other vendors, a block refuses it; what is written of both.

use warp_model::VendorId;
use warp_policy::DecisionRecord;
use warp_policy::directory::*;

use super::tests_static::{addr, line};
use super::tests_world::*;

fn applies(code: &str) -> Applies {
    Applies { code: Some(code.parse().unwrap()), ..Applies::default() }
}

/// San Francisco goes by vendor 3 only.
fn overridden(rows: &mut DirectoryBuilder) {
    let third = PartitionVendor { vendor: VendorId::from_u128(3), priority: 0, weight: 1 };
    let other = Partition { name: "other".into(), vendors: vec![third], ..rows.partitions[0].clone() };
    rows.partitions.push(other);
    rows.overrides.push(Override {
        id: "ovr_1".into(),
        applies: applies("1415"),
        partition: "other".into(),
        reason: "ticket 812".into(),
    });
}

fn decision(w: &World) -> DecisionRecord {
    serde_json::from_str(w.ended[0].decision.as_ref().unwrap().get()).unwrap()
}

#[test]
fn an_override_sends_a_call_to_the_vendors_of_its_partition_and_the_record_says_why() {
    let mut w = World::new(true, overridden);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let sent = w.to(V3);
    assert!(sent.starts_with("INVITE "), "{sent}");
    w.give(V3, &reply(&sent, "503 Service Unavailable", "x", V3, "", ""));
    let out = w.take();
    assert!(
        out.iter().all(|(to, _)| *to != addr(V1) && *to != addr(V2)),
        "no other vendor is tried: {out:?}"
    );
    let record = decision(&w);
    let rule = record.overridden_by.unwrap();
    assert_eq!((rule.id.as_str(), rule.level, rule.reason.as_str()), ("ovr_1", Level::Route, "ticket 812"));
    assert_eq!((record.partition.as_deref(), record.candidates.len()), (Some("other"), 1));
}

fn blocked(rows: &mut DirectoryBuilder) {
    rows.emergency_route = vec![rows.vendor_trunks[0].id];
    rows.call_blocks.push(CallBlock {
        id: "blk_1".into(),
        applies: Applies { customer: Some(rows.customers[0].id), ..Applies::default() },
        caller: None,
        reason: "fraud".into(),
    });
}

#[test]
fn t_sip_06_a_blocked_call_is_403_before_a_vendor_is_tried_and_a_call_for_help_goes_through() {
    let mut w = World::new(true, blocked);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let out = w.take();
    assert!(out.iter().all(|(to, _)| *to == addr(CUSTOMER)), "{out:?}");
    let refused = &out.last().unwrap().1;
    assert!(refused.starts_with("SIP/2.0 403 Call Blocked"), "{refused}");
    assert!(line(refused, "Reason").starts_with("Q.850;cause=21"), "{refused}");
    assert!(!refused.contains("fraud"), "why is the carrier's business");
    let r = &w.ended[0];
    assert_eq!((r.internal_code.as_str(), r.sip_code, r.legs.len()), ("call_blocked", 403, 0));
    assert_eq!(decision(&w).blocked_by.unwrap().id, "blk_1");
    w.give(CUSTOMER, &invite("911", "c2", "", SDP));
    assert!(w.to(V1).starts_with("INVITE "));
}
