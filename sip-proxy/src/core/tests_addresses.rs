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
    w.wait(61_000);
    w.take();
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert!(w.to(THIRD).starts_with("BYE "));
    let r = &w.ended[0];
    assert_eq!(
        r.legs.iter().map(|l| (l.sip_code, l.ended_by.as_str())).collect::<Vec<_>>(),
        [(408, "no_response"), (503, "transport_error"), (200, "answered")]
    );
    assert_eq!((r.vendor_id.unwrap().as_u128(), r.route_rank), (1, Some(1)));
    one_record(&w, 1, 61, 11_000_000, 1_100_000);
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

/// RFC 3261 §8.2.2.2: a platform that has not forgotten the first INVITE takes the same number for a merged request (482). Another address
/// of it gets the next one, and both sides stay consistent; another vendor gets the caller's.
#[test]
fn a_further_invite_to_the_same_platform_has_a_new_number() {
    for lost in [false, true] {
        let mut w = World::new(true, several);
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let first = only(&mut w, V1);
        assert_eq!(line(&first, "CSeq"), "1 INVITE");
        match lost {
            true => w.wait(2_100),
            false => w.give(V1, &reply(&first, "503 Service Unavailable", "x", V1, "", "")),
        }
        let second = only(&mut w, SECOND);
        assert_eq!(line(&second, "CSeq"), "2 INVITE");
        for name in ["Call-ID", "From", "To", "Max-Forwards"] {
            assert_eq!(line(&second, name), line(&first, name));
        }
        w.give(
            SECOND,
            &reply(&second, "183 Session Progress", "bt", SECOND, "Require: 100rel\r\nRSeq: 5\r\n", SDP),
        );
        let ring = w.to(CUSTOMER);
        assert_eq!(line(&ring, "CSeq"), "1 INVITE");
        w.give(CUSTOMER, &inside("PRACK", &ring, true, "pr", "RAck: 5 1 INVITE\r\n", ""));
        let prack = w.to(SECOND);
        assert_eq!((line(&prack, "CSeq"), line(&prack, "RAck")), ("3 PRACK", "5 2 INVITE"));
        w.give(SECOND, &reply(&prack, "200 OK", "", SECOND, "", ""));
        assert_eq!(line(&w.to(CUSTOMER), "CSeq"), "2 PRACK");
        let final_ok = reply(&second, "200 OK", "bt", SECOND, "", SDP);
        w.give(SECOND, &final_ok);
        let ok = w.to(CUSTOMER);
        assert_eq!(line(&ok, "CSeq"), "1 INVITE");
        w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
        assert_eq!(line(&w.to(SECOND), "CSeq"), "2 ACK");
        if lost {
            // The first one was heard after all: what is sent for it has its own number.
            w.give(V1, &reply(&first, "180 Ringing", "late", V1, "", ""));
            assert_eq!(line(&w.to(V1), "CSeq"), "1 CANCEL");
        }
        // Our own BYE, and one of another process after a restart, are ahead of what the vendor was told.
        let resume = super::Resume::read(w.answered[0].resume.as_ref().unwrap()).unwrap();
        let cdr_id = w.answered[0].cdr_id;
        w.command(Command::EndCall { cdr_id, reason: "operator" });
        let sent = w.take();
        let bye =
            |who: &str| &sent.iter().find(|(to, t)| *to == addr(who) && t.starts_with("BYE ")).unwrap().1;
        assert_eq!((line(bye(SECOND), "CSeq"), line(bye(CUSTOMER), "CSeq")), ("4 BYE", "1 BYE"));
        w.command(Command::EndRecovered(Box::new(resume)));
        let sent = w.take();
        let late = sent.iter().find(|(to, t)| *to == addr(SECOND) && t.starts_with("BYE ")).unwrap();
        let number: u32 = line(&late.1, "CSeq").split(' ').next().unwrap().parse().unwrap();
        assert!(number > 65_536, "{number}");
    }

    // The next vendor has never heard of the call; another trunk at the same address has.
    for (address, number) in [(V2, "1 INVITE"), ("203.0.113.1:5080", "2 INVITE")] {
        let mut w = World::new(
            true,
            if address == V2 {
                |_| ()
            } else {
                |d| d.vendor_trunks[1].addresses = vec![addr("203.0.113.1:5080")]
            },
        );
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let first = only(&mut w, V1);
        // 482: the loop or the merged request is this vendor's own.
        w.give(V1, &reply(&first, "482 Request merged", "x", V1, "", ""));
        let second = only(&mut w, address);
        assert_eq!(line(&second, "CSeq"), number);
        w.give(address, &reply(&second, "486 Busy Here", "y", address, "", ""));
        let sent = w.take();
        let ack = sent.iter().find(|(_, t)| t.starts_with("ACK ")).unwrap();
        assert_eq!(line(&ack.1, "CSeq"), number.replace("INVITE", "ACK"));
        let busy = sent.iter().find(|(to, _)| *to == addr(CUSTOMER)).unwrap();
        assert_eq!((line(&busy.1, "CSeq"), &busy.1[..12]), ("1 INVITE", "SIP/2.0 486 "));
        assert_eq!(w.ended[0].legs[0].sip_code, 482);
        w.nothing_is_left();
    }
    // A 483 comes back through all that lies between: it ends the call.
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = only(&mut w, V1);
    w.give(V1, &reply(&first, "483 Too Many Hops", "x", V1, "", ""));
    assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 483 ")));
}
