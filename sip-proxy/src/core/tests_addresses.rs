//! A vendor trunk with several addresses: tried in order and by health before the next vendor. Answers that come too late, and BYEs that must
//! not come too early.

use warp_policy::directory::DirectoryBuilder;
use warp_sip::flow::Flow;

use super::tests_static::{addr, at, line};
use super::tests_world::*;
use super::types::Command;

const SECOND: &str = "203.0.113.11:5060";
const THIRD: &str = "203.0.113.12:5070";

fn several(rows: &mut DirectoryBuilder) {
    rows.vendor_trunks[0].addresses = vec![addr(V1), addr(SECOND), addr(THIRD)];
    rows.vendor_trunks[0].limits.channels = Some(1);
}

/// To whom INVITEs went since the last look.
fn invited(w: &mut World) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = vec![];
    for (to, text) in w.take().into_iter().filter(|(_, t)| t.starts_with("INVITE ")) {
        // What is repeated went once.
        if all.iter().all(|(_, t)| *t != text) {
            all.push((to.to_string(), text));
        }
    }
    all
}

/// The INVITE that somebody got, as the last one; repetitions of an earlier one may stand before it.
fn only(w: &mut World, who: &str) -> String {
    let mut all = invited(w);
    let (to, text) = all.pop().expect("an INVITE");
    assert!(to == who && all.len() < 2, "{to} {all:?}");
    text
}

/// pjsip#4477, dsiprouter#221: silence, a dead port and a 503, each costs an address and no vendor. The one channel of the trunk is kept.
#[test]
fn all_addresses_of_a_vendor_come_before_the_next_vendor() {
    let mut w = World::new(true, several);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = only(&mut w, V1);
    assert!(first.starts_with(&format!("INVITE sip:{NUMBER}@{V1} ")));
    w.wait(2_100);
    let second = only(&mut w, SECOND);
    assert!(second.starts_with(&format!("INVITE sip:{NUMBER}@{SECOND} ")));
    w.core.handle_flow_error(Flow::udp(addr(US), addr(SECOND)), at(w.ms));
    w.drain();
    let third = only(&mut w, THIRD);
    // Each has its own media.
    let branches: Vec<_> = w
        .questions()
        .iter()
        .filter_map(|q| match q {
            warp_ng::Command::Offer(o) => o.via_branch.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(branches.len(), 3);
    w.give(THIRD, &reply(&third, "200 OK", "bt", THIRD, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    assert!(w.to(THIRD).starts_with("ACK "));
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert!(w.to(THIRD).starts_with("BYE "));
    let r = &w.ended[0];
    assert_eq!(
        r.legs.iter().map(|l| (l.sip_code, l.ended_by.as_str())).collect::<Vec<_>>(),
        [(408, "no_response"), (503, "transport_error"), (200, "answered")]
    );
    assert_eq!((r.vendor_id.unwrap().as_u128(), r.route_rank), (1, Some(1)));
    assert!(r.rating.is_some());
    w.nothing_is_left();

    // All of them are out of service: then the next vendor, and the trunk has failed once.
    let mut w = World::new(true, several);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    for who in [V1, SECOND, THIRD] {
        let there = only(&mut w, who);
        w.give(who, &reply(&there, "503 Service Unavailable", "x", who, "", ""));
    }
    only(&mut w, V2);
    // What is about the call and not about the node is not asked at each of them.
    let mut w = World::new(true, several);
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", SDP));
    let there = only(&mut w, V1);
    w.give(V1, &reply(&there, "500 Server Error", "x", V1, "", ""));
    only(&mut w, V2);
}

/// The number of vendors that are tried does not depend on how many addresses they list.
#[test]
fn dead_addresses_cost_no_vendor() {
    let mut w = World::with(true, several, |c| c.max_attempts = 2);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    for who in [V1, SECOND, THIRD, V2] {
        only(&mut w, who);
        w.wait(2_100);
    }
    assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 503 ")));
    w.nothing_is_left();
}

#[test]
fn f_net_02_an_address_that_fails_comes_after_the_others_and_its_trunk_stays_up() {
    let mut w = World::new(false, several);
    let mut call = 0;
    let mut ask = |w: &mut World, first: &str| {
        call += 1;
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{call}"), "", ""));
        let there = only(w, first);
        if first == V1 {
            w.wait(2_100);
            let there = only(w, SECOND);
            w.give(SECOND, &reply(&there, "486 Busy Here", "x", SECOND, "", ""));
        } else {
            w.give(first, &reply(&there, "486 Busy Here", "x", first, "", ""));
        }
        w.take();
    };
    for _ in 0..3 {
        ask(&mut w, V1);
    }
    // Three in a row: the second one is asked at once, and the trunk is not out of rotation.
    for _ in 0..3 {
        ask(&mut w, SECOND);
    }
    assert!(w.core.calls.probes.is_empty());
    w.wait(31_000);
    ask(&mut w, V1);
    ask(&mut w, SECOND);
    // Retry-After of one node is for that node.
    w.wait(31_000);
    w.give(CUSTOMER, &invite(NUMBER, "r1", "", ""));
    let there = only(&mut w, V1);
    w.give(V1, &reply(&there, "503 Busy", "x", V1, "Retry-After: 20\r\n", ""));
    only(&mut w, SECOND);
}

/// All addresses are dead: the trunk goes out, each of them is probed, and the one that answers comes first.
#[test]
fn f_net_02_probes_go_to_every_address() {
    let mut w = World::new(false, several);
    for n in 0..3 {
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
        let mut asked: Vec<(String, String)> = vec![];
        let mut other = String::new();
        for _ in 0..3 {
            asked.extend(invited(&mut w));
            w.wait(2_100);
        }
        for (to, text) in invited(&mut w) {
            if to == V2 {
                other = text;
            } else {
                asked.push((to, text));
            }
        }
        let mut asked: Vec<String> = asked.into_iter().map(|(to, _)| to).collect();
        asked.sort();
        asked.dedup();
        assert_eq!(asked, [SECOND, THIRD, V1], "sorted as text");
        w.give(V2, &reply(&other, "486 Busy Here", "x", V2, "", ""));
        w.take();
    }
    w.wait(5_100);
    let probes: Vec<_> = w.take().into_iter().filter(|(_, t)| t.starts_with("OPTIONS ")).collect();
    assert_eq!(probes.iter().map(|(to, _)| to.to_string()).collect::<Vec<_>>(), [V1, SECOND, THIRD]);
    w.give(THIRD, &reply(&probes[2].1, "200 OK", "x", THIRD, "", ""));
    w.wait(10_000);
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "again", "", ""));
    only(&mut w, THIRD);
}

/// RFC 0007: what the vendor may bill stands in the record of the attempt.
#[test]
fn a_late_2xx_stands_in_the_leg_record() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = w.to(V1);
    w.wait(2_100);
    let second = only(&mut w, V2);
    w.give(V2, &reply(&second, "200 OK", "b2", V2, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(V1, &reply(&first, "200 OK", "b1", V1, "", SDP));
    w.take();
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    let legs: Vec<_> = w.ended[0].legs.iter().map(|l| (l.sip_code, l.ended_by.as_str())).collect();
    assert_eq!(legs, [(200, "late_answer"), (200, "answered")]);
    assert!(w.ended[0].legs[0].end_at > w.ended[0].legs[0].start_at);
}

/// F-DISK-01: the answer could not be written, so the call is ended before its caller has acknowledged anything. The vendor's 2xx gets its
/// ACK, then the BYE (RFC 3261 §15).
#[test]
fn f_disk_01_a_call_that_ends_before_its_ack_is_acknowledged_first() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    w.take();
    let cdr_id = w.answered[0].cdr_id;
    w.command(Command::EndCall { cdr_id, reason: "journal" });
    let to_v: Vec<String> = w.take().into_iter().filter(|(to, _)| *to == addr(V1)).map(|(_, t)| t).collect();
    let first: Vec<&str> = to_v.iter().map(|t| &t[..4]).collect();
    assert_eq!(first, ["ACK ", "BYE "]);
    assert_eq!((line(&to_v[0], "CSeq"), line(&to_v[1], "CSeq")), ("1 ACK", "2 BYE"));
    assert!(line(&to_v[0], "To").ends_with(";tag=bt"));
    // Once it has its ACK there is no second one.
    let mut w = World::new(true, |_| ());
    answered(&mut w, SDP);
    let cdr_id = w.answered[0].cdr_id;
    w.command(Command::EndCall { cdr_id, reason: "operator" });
    assert!(w.take().iter().all(|(_, t)| t.starts_with("BYE ")));
}

/// Forks behind the vendor that all answer: the first is the call, each of the others gets its own ACK and BYE, once.
#[test]
fn every_further_2xx_of_a_fork_is_acked_and_byed() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "b1", V1, "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
    for round in 0..2 {
        for tag in ["b2", "b3", "b4"] {
            w.give(V1, &reply(&at_v, "200 OK", tag, V1, "", ""));
            let sent = w.take();
            let methods: Vec<&str> = sent.iter().map(|(_, t)| &t[..4]).collect();
            assert_eq!(methods, if round == 0 { vec!["ACK ", "BYE "] } else { vec!["ACK "] }, "{tag}");
            assert!(
                sent.iter().all(|(to, t)| *to == addr(V1) && line(t, "To").ends_with(&format!(";tag={tag}")))
            );
            if let Some((_, bye)) = sent.get(1) {
                w.give(V1, &reply(bye, "200 OK", "", V1, "", ""));
            }
        }
    }
    assert_eq!((w.core.live_calls(), w.answered.len()), (1, 1));
}
