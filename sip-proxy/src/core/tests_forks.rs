//! One Call-ID, several calls: forks below a PBX, spirals through another trunk, and requests that are the same by two ways (RFC 3261 §8.2.2.2,
//! §16.3, RFC 5393).

use warp_model::TrunkId;
use warp_ng::Command as Ng;
use warp_policy::directory::DirectoryBuilder;

use super::tests_static::{addr, line};
use super::tests_world::*;
use super::types::Command;

const OTHER: &str = "+14155550199";

/// The same caller, Call-ID, tag and CSeq; another branch and number.
fn fork(number: &str, branch: &str) -> String {
    invite(number, "c1", "", SDP).replace("branch=z9hG4bKc1", &format!("branch=z9hG4bK{branch}"))
}

/// A PBX that rings two numbers at once (sofia-sip#227, JsSIP#617): two calls, each with its own media, dialog and record.
#[test]
fn two_forks_below_a_pbx_are_two_calls() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &fork(NUMBER, "f1"));
    let one = w.to(V1);
    w.give(CUSTOMER, &fork(OTHER, "f2"));
    let two = w.to(V1);
    assert!(one.contains(NUMBER) && two.starts_with(&format!("INVITE sip:{OTHER}@")));
    let ids: Vec<_> = w
        .questions()
        .into_iter()
        .map(|q| match q {
            Ng::Offer(o) => o.call_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_ne!(ids[0], ids[1], "the relay knows two calls");
    w.give(V1, &reply(&one, "180 Ringing", "b1", V1, "Require: 100rel\r\nRSeq: 1\r\n", ""));
    let ring1 = w.to(CUSTOMER);
    w.give(V1, &reply(&two, "180 Ringing", "b2", V1, "Require: 100rel\r\nRSeq: 1\r\n", ""));
    let ring2 = w.to(CUSTOMER);
    for (ring, tag) in [(&ring2, "b2"), (&ring1, "b1")] {
        w.give(CUSTOMER, &inside("PRACK", ring, true, &format!("p{tag}"), "RAck: 1 1 INVITE\r\n", ""));
        let prack = w.to(V1);
        assert!(line(&prack, "To").ends_with(&format!(";tag={tag}")), "{prack}");
        w.give(V1, &reply(&prack, "200 OK", "", V1, "", ""));
        w.take();
    }
    w.give(V1, &reply(&one, "200 OK", "b1", V1, "", SDP));
    let ok1 = w.to(CUSTOMER);
    w.give(V1, &reply(&two, "200 OK", "b2", V1, "", SDP));
    let ok2 = w.to(CUSTOMER);
    for ok in [&ok1, &ok2] {
        w.give(CUSTOMER, &inside("ACK", ok, true, "ack", "", ""));
        assert_eq!(line(&w.to(V1), "To"), line(ok, "To"));
    }
    // The PBX keeps the second. Media of the first is over by our own id.
    w.wait(10_000);
    w.give(CUSTOMER, &inside("BYE", &ok1, true, "bye1", "", "").replace("CSeq: 2", "CSeq: 3"));
    assert!(line(&w.to(V1), "To").ends_with(";tag=b1"));
    assert_eq!((w.core.live_calls(), w.ended.len()), (1, 1));
    w.command(Command::MediaTimeout { media_id: ids[0].clone(), due: super::tests_static::at(w.ms).mono });
    assert_eq!(w.core.live_calls(), 1, "that call is over already");
    w.command(Command::MediaTimeout { media_id: b"c1".to_vec(), due: super::tests_static::at(w.ms).mono });
    assert_eq!(w.core.live_calls(), 1, "a Call-ID is nobody's name");
    w.wait(10_000);
    w.give(V1, &inside("BYE", &ok2, false, "bye2", "", ""));
    assert!(line(&w.to(CUSTOMER), "From").ends_with(";tag=b2"));
    let durations: Vec<u64> = w.ended.iter().map(|r| r.duration_ms / 1_000).collect();
    assert_eq!(durations, [10, 20]);
    assert!(w.ended.iter().all(|r| r.sip_call_id == "c1"));
    assert_ne!(w.ended[0].cdr_id, w.ended[1].cdr_id);
    // 10 and 20 seconds and some messages: two and four times six seconds.
    billed(&w.ended[0], 1, 10, 2_000_000, 200_000);
    billed(&w.ended[1], 1, 20, 4_000_000, 400_000);
    w.nothing_is_left();
}

/// The same request by two ways would be billed twice.
#[test]
fn the_same_request_on_another_branch_is_482() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &fork(NUMBER, "f1"));
    let one = w.to(V1);
    w.give(CUSTOMER, &fork(NUMBER, "f2"));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 482 "));
    // When it is over, the caller may try again by another way (RFC 3263 §4.3).
    w.give(V1, &reply(&one, "486 Busy Here", "x", V1, "", ""));
    w.take();
    w.give(CUSTOMER, &fork(NUMBER, "f3"));
    assert!(w.to(V1).starts_with("INVITE "));
    // Another attempt of the same dialog is another request.
    w.give(CUSTOMER, &fork(NUMBER, "f4").replace("CSeq: 1", "CSeq: 2"));
    assert!(w.to(V1).starts_with("INVITE "));
}

/// T-SIP-14: not without bound.
#[test]
fn t_sip_14_forks_of_one_call_id_are_bounded() {
    let mut w = World::new(false, |_| ());
    let mut refused = 0;
    for n in 0..70 {
        w.give(CUSTOMER, &fork(&format!("+14155551{n:03}"), &format!("f{n}")));
        refused += w.take().iter().filter(|(_, t)| t.starts_with("SIP/2.0 482 ")).count();
    }
    assert_eq!((w.core.live_calls(), refused), (64, 6));
    w.nothing_is_left();
}

/// The first vendor is a customer as well: what we send it comes back to another number of ours.
fn vendor_is_customer(rows: &mut DirectoryBuilder) {
    let mut trunk = rows.trunks[0].clone();
    trunk.id = TrunkId::from_u128(2);
    trunk.name = "hairpin".into();
    trunk.acl = vec!["203.0.113.1/32".parse().unwrap()];
    trunk.digest = vec![];
    rows.trunks.push(trunk);
}

/// A spiral (RFC 5393 §4.2.1): out by a vendor and in again by its trunk, for another number. Two calls with the same Call-ID and tags.
fn spiral(record_routes: bool) -> (World, String, String) {
    let mut w = World::new(true, vendor_is_customer);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let out = w.to(V1);
    // The vendor is a proxy: it sends the request on, to us.
    let via = format!("Via: SIP/2.0/UDP {V1};branch=z9hG4bKv1\r\n");
    let rr = if record_routes { format!("Record-Route: <sip:{V1};lr>\r\n") } else { String::new() };
    let back = out
        .replace(&format!("INVITE sip:{NUMBER}@{V1}"), &format!("INVITE sip:{OTHER}@{US}"))
        .replacen("Via: ", &format!("{via}{rr}Via: "), 1)
        .replace("Max-Forwards: 69", "Max-Forwards: 68");
    w.give(V1, &back);
    // Vendor 1 would be asked again: it is busy with itself, the next one takes it.
    let again = w.to(V1);
    assert!(again.starts_with(&format!("INVITE sip:{OTHER}@{V1}")), "{again}");
    w.give(V1, &reply(&again, "503 Loop", "x", V1, "", ""));
    let there = w.take().into_iter().find(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")).unwrap().1;
    w.give(V2, &reply(&there, "200 OK", "bt", V2, "", SDP));
    let inner = w.to(V1);
    assert!(inner.starts_with("SIP/2.0 200 "));
    w.give(V1, &inner.replacen(&via, "", 1));
    let ok = w.to(CUSTOMER);
    assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
    assert_eq!((w.answered.len(), w.core.live_calls()), (2, 2));
    (w, ok, via)
}

#[test]
fn a_spiral_through_another_trunk_is_a_call_of_its_own() {
    let (mut w, ok, _) = spiral(true);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    let ack = w.to(V1);
    assert!(ack.starts_with("ACK "), "{ack}");
    w.wait(5_000);
    // By the vendor, who wanted to stay on the way, and through us again.
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    let bye = w.to(V1);
    assert!(bye.starts_with("BYE "));
    let on = bye.replace(&format!("Route: <sip:{V1};lr>\r\n"), "");
    w.give(V1, &on.replacen("Via: ", &format!("Via: SIP/2.0/UDP {V1};branch=z9hG4bKv9\r\nVia: "), 1));
    assert!(w.take().iter().any(|(to, t)| *to == addr(V2) && t.starts_with("BYE ")));
    assert_eq!(w.ended.len(), 2);
    for record in &w.ended {
        // The outer call went to the first vendor, the inner one to the second.
        let vendor = record.trunk_id.unwrap().as_u128();
        billed(record, vendor, 5, 1_000_000, [0, 100_000, 200_000][usize::try_from(vendor).unwrap()]);
    }
    let mut trunks: Vec<u128> = w.ended.iter().map(|r| r.trunk_id.unwrap().as_u128()).collect();
    trunks.sort();
    assert_eq!(trunks, [1, 2]);
    w.nothing_is_left();
}

/// The vendor between the two has not asked to stay on the way: the BYE passes it by, and ends both calls all the same.
#[test]
fn a_bye_that_passes_the_vendor_of_a_spiral_by_ends_both_calls() {
    let (mut w, ok, _) = spiral(false);
    w.wait(5_000);
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert!(w.take().iter().any(|(_, t)| t.starts_with("BYE ")));
    assert_eq!(w.ended.len(), 2, "nobody pays for a call that is over");
    w.nothing_is_left();
}

/// T-SIP-11: who calls himself like a call in the air gets a call of his own, and nothing of the other's.
#[test]
fn t_sip_11_another_customer_with_the_same_call_id_ends_only_his_own() {
    let mut w = World::new(true, |rows| {
        vendor_is_customer(rows);
        rows.trunks[1].acl = vec!["192.0.2.128/28".parse().unwrap()];
    });
    let thief = "192.0.2.130:5060";
    let (ok, _) = answered(&mut w, SDP);
    w.questions();
    w.give(thief, &invite(NUMBER, "c1", "", SDP).replace(CUSTOMER, thief));
    let his = w.to(V1);
    let Ng::Offer(offer) = w.questions().remove(0) else { panic!() };
    assert_ne!(offer.call_id, w.answered[0].cdr_id.to_string().into_bytes());
    w.give(V1, &reply(&his, "200 OK", "bx", V1, "", SDP));
    let his_ok = w.to(thief);
    w.give(thief, &inside("BYE", &ok, true, "steal", "", "").replace(CUSTOMER, thief));
    assert!(w.to(thief).starts_with("SIP/2.0 481 "));
    assert_eq!(w.core.live_calls(), 2);
    w.give(thief, &inside("BYE", &his_ok, true, "own", "", "").replace(CUSTOMER, thief));
    assert!(line(&w.to(V1), "To").ends_with(";tag=bx"));
    assert_eq!((w.core.live_calls(), w.ended.len()), (1, 1));
}
