//! What a call owes to those who wait for it, when it ends, fails over, or has to put their messages aside.

use warp_ng::{Command as Ng, Reply};

use super::tests_edge::signed;
use super::tests_static::{addr, at, line, lines};
use super::tests_world::*;
use super::types::Command;
use super::{AskId, Core};

fn find<'w>(sent: &'w [(std::net::SocketAddr, String)], to: &str, starts: &str) -> Option<&'w str> {
    sent.iter().find(|(at, t)| *at == addr(to) && t.starts_with(starts)).map(|(_, t)| t.as_str())
}

/// The relay answers its oldest question.
fn say(w: &mut World, text: &str) {
    let (id, _) = w.asked.pop_front().expect("a question");
    w.answer(id, Ok(Reply::Sdp { sdp: text.as_bytes().to_vec(), warning: None, recordings: Vec::new() }));
}

/// An answered call; from now on the relay is asked by hand.
fn answered_slowly() -> (World, String) {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.questions();
    w.relay = false;
    (w, ok)
}

/// Requests without a final that nobody works on: no question, and no branch that is answered or runs into its time-out.
fn forgotten(w: &World) -> usize {
    let table = &w.core.tx.table;
    let waits = |id| table.clients.get(id).is_some_and(|t| t.machine.is_open());
    table.servers.iter().filter(|(_, t)| t.machine.is_open() && !t.client.is_some_and(waits)).count()
}

fn end(w: &mut World) {
    w.relay = true;
    w.drain();
    w.nothing_is_left();
}

/// F-NET-02: silence is that of the branch at hand, whatever the caller has heard of the one before.
#[test]
fn f_net_02_a_silent_vendor_after_one_that_rang_is_given_up_in_time() {
    for (says, patience) in [("", 2_000), ("100 Trying", 20_000)] {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let first = w.to(V1);
        w.give(V1, &reply(&first, "180 Ringing", "bt", V1, "", ""));
        w.give(V1, &reply(&first, "503 Service Unavailable", "bt", V1, "", ""));
        let sent = w.take();
        let second = find(&sent, V2, "INVITE ").expect("failover");
        if !says.is_empty() {
            w.give(V2, &reply(second, says, "", V2, "", ""));
        }
        w.wait(patience - 100);
        let sent = w.take();
        assert!(find(&sent, V3, "INVITE ").is_none(), "{says}: too early");
        w.wait(200);
        let sent = w.take();
        assert!(find(&sent, V3, "INVITE ").is_some(), "{says}: {sent:#?}");
        assert_eq!(find(&sent, V2, "CANCEL ").is_some(), !says.is_empty(), "{says}");
        w.wait(40_000);
        // Nor is the call looked at more often than something is due.
        assert_eq!((w.ended.len(), w.ended[0].legs.len()), (1, 3));
        w.nothing_is_left();
    }
}

/// RFC 3261 §15.1.2: a pending request within the dialog is answered when the call ends.
#[test]
fn a_request_that_waits_for_the_relay_is_answered_when_its_call_ends() {
    for method in ["INVITE", "UPDATE"] {
        let (mut w, ok) = answered_slowly();
        w.give(CUSTOMER, &inside(method, &ok, true, "re", "", SDP));
        w.take();
        let cdr_id = w.answered[0].cdr_id;
        w.command(Command::EndCall { cdr_id, reason: "operator" });
        let sent = w.take();
        let refused = find(&sent, CUSTOMER, "SIP/2.0 487 ").unwrap_or_else(|| panic!("{method}: {sent:#?}"));
        assert_eq!(line(refused, "CSeq"), format!("2 {method}"));
        assert!(find(&sent, CUSTOMER, "BYE ").is_some() && find(&sent, V1, "BYE ").is_some());
        end(&mut w);
        assert!(w.core.tx.table.is_unindexed());
    }
}

/// The same for one whose 2xx waits: its sender gets the ACK (RFC 3261 §13.2.2.4), before the BYE.
#[test]
fn a_final_that_waits_for_the_relay_is_acked_when_its_call_ends() {
    let (mut w, ok) = answered_slowly();
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re", "", SDP));
    say(&mut w, "v=0\r\n");
    let again = w.take();
    let again = find(&again, V1, "INVITE ").expect("passed on");
    w.give(V1, &reply(again, "200 OK", "", V1, "", SDP));
    assert!(w.take().is_empty(), "it waits");
    w.command(Command::MediaTimeout {
        media_id: w.answered[0].cdr_id.to_string().into_bytes(),
        due: super::tests_static::at(w.ms).mono,
    });
    let sent = w.take();
    assert_eq!(line(find(&sent, CUSTOMER, "SIP/2.0 487 ").expect("a final"), "CSeq"), "2 INVITE");
    let to_v1: Vec<&str> = sent.iter().filter(|(to, _)| *to == addr(V1)).map(|(_, t)| &t[..4]).collect();
    assert_eq!(to_v1, ["ACK ", "BYE "]);
    assert_eq!(line(find(&sent, V1, "ACK ").unwrap(), "CSeq"), "2 ACK");
    end(&mut w);
}

/// F-PROC-05: a panic drops what waits, but the finals that nobody would repeat are said.
#[test]
fn f_proc_05_who_waits_behind_a_question_is_answered_after_a_panic() {
    let (mut w, ok) = answered_slowly();
    w.give(CUSTOMER, &inside("INFO", &ok, true, "i1", "", ""));
    let info = w.to(V1);
    w.give(V1, &inside("UPDATE", &ok, false, "u1", "", SDP));
    w.give(V1, &reply(&info, "200 OK", "", V1, "", ""));
    w.give(CUSTOMER, &inside("INFO", &ok, true, "i2", "", "").replace("CSeq: 2", "CSeq: 3"));
    assert!(w.take().is_empty(), "both wait");
    w.core.panic_in(&[1]);
    say(&mut w, "v=0\r\n");
    assert_eq!(w.core.stats().panics, 1);
    let sent = w.take();
    let finals: Vec<&str> =
        sent.iter().filter(|(_, t)| t.starts_with("SIP/2.0 500 ")).map(|(_, t)| line(t, "CSeq")).collect();
    assert_eq!(finals, ["2 UPDATE", "2 INFO"], "{sent:#?}");
    end(&mut w);
    assert!(w.core.tx.table.is_unindexed());
}

/// The same wherever the panic is, and a second one while the call is broken off: nobody is left without a final, or with a transaction.
#[test]
fn f_proc_05_who_waits_behind_a_question_is_let_go_by_two_panics() {
    for first in 1..14 {
        for second in 0..14 {
            let (mut w, ok) = answered_slowly();
            w.give(CUSTOMER, &inside("INFO", &ok, true, "i1", "", ""));
            let info = w.to(V1);
            w.give(V1, &inside("UPDATE", &ok, false, "u1", "", SDP));
            w.give(V1, &reply(&info, "200 OK", "", V1, "", ""));
            w.core.panic_in(&[first, second]);
            say(&mut w, "v=0\r\n");
            w.core.panic_in(&[]);
            w.relay = true;
            w.drain();
            assert_eq!(forgotten(&w), 0, "{first} {second}");
            if w.core.stats().panics > 0 {
                assert_eq!(w.core.live_calls(), 0, "{first} {second}");
            } else if let Some(cdr_id) = w.answered.first().map(|r| r.cdr_id) {
                w.command(Command::EndCall { cdr_id, reason: "operator" });
            }
            w.nothing_is_left();
            assert!(w.core.tx.table.is_unindexed(), "{first} {second}");
            assert_eq!(w.ended.len(), 1, "{first} {second}");
        }
    }
}

/// A 2xx to a re-INVITE that waits behind a question has its ACK before the BYE; its asker hears 500, and so does one whose request is gone
/// that the answer would be made of: without a word.
#[test]
fn f_proc_05_a_final_that_waits_behind_a_question_is_acked_after_a_panic() {
    for request_is_gone in [false, true] {
        let (mut w, ok) = answered_slowly();
        w.give(CUSTOMER, &inside("INVITE", &ok, true, "re", "", ""));
        let again = w.take();
        let again = find(&again, V1, "INVITE ").expect("passed on").to_owned();
        w.give(V1, &inside("UPDATE", &ok, false, "u1", "", SDP));
        w.give(V1, &reply(&again, "200 OK", "", V1, "", ""));
        assert!(w.take().is_empty(), "both wait");
        if request_is_gone {
            let ids: Vec<_> = w.core.tx.table.servers.iter().map(|(id, _)| id).collect();
            for txn in ids {
                w.core.tx.table.servers.get_mut(txn).unwrap().request.clear();
            }
        }
        w.core.panic_in(&[1]);
        say(&mut w, "v=0\r\n");
        let sent = w.take();
        let to_v1: Vec<&str> = sent.iter().filter(|(to, _)| *to == addr(V1)).map(|(_, t)| &t[..4]).collect();
        let finals: Vec<&str> = sent
            .iter()
            .filter(|(_, t)| t.starts_with("SIP/2.0 500 "))
            .map(|(_, t)| line(t, "CSeq"))
            .collect();
        match request_is_gone {
            false => {
                assert_eq!((to_v1, finals), (vec!["SIP/", "ACK ", "BYE "], vec!["2 UPDATE", "2 INVITE"]))
            }
            true => assert_eq!((to_v1, finals), (vec!["ACK ", "BYE "], vec![])),
        }
        end(&mut w);
        assert!(w.core.tx.table.is_unindexed());
    }
}

/// Wherever the panic is between a question's answer and what follows from it, or between a final and its asker: somebody says a final, and
/// no transaction is left.
#[test]
fn f_proc_05_a_panic_leaves_no_asker_within_a_dialog_without_an_answer() {
    for n in 1..12 {
        for at_the_final in [false, true] {
            let (mut w, ok) = answered_slowly();
            w.give(CUSTOMER, &inside("INVITE", &ok, true, "re", "", SDP));
            if !at_the_final {
                w.core.panic_in(&[n]);
            }
            say(&mut w, "v=0\r\n");
            let sent = w.take();
            if let Some(again) = find(&sent, V1, "INVITE ").filter(|_| at_the_final) {
                w.core.panic_in(&[n]);
                w.give(V1, &reply(again, "486 Busy Here", "", V1, "", ""));
            }
            w.relay = true;
            w.drain();
            w.core.panic_in(&[]);
            assert_eq!(forgotten(&w), 0, "{n} {at_the_final}");
            if let Some(cdr_id) = w.answered.first().map(|r| r.cdr_id) {
                w.command(Command::EndCall { cdr_id, reason: "operator" });
            }
            w.nothing_is_left();
            assert!(w.core.tx.table.is_unindexed(), "{n} {at_the_final}");
        }
    }
}

/// A BYE of ours follows an ACK of ours (RFC 0010), wherever the panic was, and when the whole core is given up.
#[test]
fn f_proc_05_no_bye_before_the_ack() {
    let mut byes = 0;
    for n in 1..24 {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let at_v = w.to(V1);
        w.core.panic_in(&[n]);
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
        let sent = w.take();
        let to_v1: Vec<&str> = sent.iter().filter(|(to, _)| *to == addr(V1)).map(|(_, t)| &t[..4]).collect();
        if to_v1.contains(&"BYE ") {
            byes += 1;
            assert_eq!(to_v1, ["ACK ", "BYE "], "panic {n}");
            assert_eq!(line(find(&sent, V1, "ACK ").unwrap(), "CSeq"), "1 ACK");
        }
    }
    assert!(byes > 0);
    // With a question on the way to the caller's 200, and a further panic while the call is broken off.
    let mut byes = 0;
    for first in 1..16 {
        for second in 0..8 {
            let mut w = World::new(true, |_| ());
            w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
            let at_v = w.to(V1);
            w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "", SDP));
            w.take();
            w.core.panic_in(&[first, second]);
            w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
            w.core.panic_in(&[]);
            let sent = w.take();
            let to_v1: Vec<&str> =
                sent.iter().filter(|(to, _)| *to == addr(V1)).map(|(_, t)| &t[..4]).collect();
            if to_v1.contains(&"BYE ") {
                byes += 1;
                assert_eq!(to_v1[0], "ACK ", "{first} {second}: {to_v1:?}");
            }
            w.command(Command::Drain { end_calls: true });
            w.nothing_is_left();
        }
    }
    assert!(byes > 0);
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    w.take();
    let call = w.core.next_call().unwrap();
    assert!(w.core.close_books(call, at(w.ms)).is_some(), "another core sends the BYEs");
    w.drain();
    assert!(w.to(V1).starts_with("ACK "));
}

/// F-DISK-01: the ACK of an unrecorded answer has the number of its INVITE, though a PRACK came after that.
#[test]
fn f_disk_01_the_ack_of_an_unrecorded_answer_has_the_number_of_its_invite() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "Supported: 100rel\r\n", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "Require: 100rel\r\nRSeq: 1\r\n", ""));
    let ring = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("PRACK", &ring, true, "p1", "RAck: 1 1 INVITE\r\n", ""));
    let prack = w.to(V1);
    w.give(V1, &reply(&prack, "200 OK", "", V1, "", ""));
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    w.take();
    let cdr_id = w.answered[0].cdr_id;
    w.command(Command::EndCall { cdr_id, reason: "journal" });
    let sent = w.take();
    assert_eq!(line(find(&sent, V1, "ACK ").unwrap(), "CSeq"), "1 ACK");
    assert_eq!(line(find(&sent, V1, "BYE ").unwrap(), "CSeq"), "3 BYE");
    // The vendor repeats its 2xx: nothing of it reaches the caller.
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    assert!(w.take().iter().all(|(to, _)| *to == addr(V1)));
}

/// RFC 3261 §9.2: CANCEL of a re-INVITE that is at the relay, and of one that waits behind another question.
#[test]
fn cancel_of_a_reinvite_that_waits_takes_effect() {
    let cancel = |invite: &str| {
        let head = invite.split_once("\r\n\r\n").unwrap().0;
        let kept = head.lines().filter(|l| !l.starts_with("Content"));
        let text: Vec<String> = kept.map(|l| l.replace("INVITE", "CANCEL")).collect();
        text.join("\r\n") + "\r\nContent-Length: 0\r\n\r\n"
    };
    let (mut w, ok) = answered_slowly();
    let again = inside("INVITE", &ok, true, "re", "", SDP);
    w.give(CUSTOMER, &again);
    w.take();
    w.give(CUSTOMER, &cancel(&again));
    let sent = w.take();
    let finals: Vec<String> =
        sent.iter().map(|(_, t)| format!("{} {}", &t[8..11], line(t, "CSeq"))).collect();
    assert_eq!(finals, ["200 2 CANCEL", "487 2 INVITE"]);
    // The relay has heard an offer that nobody else did: it is told what was agreed, and the vendor nothing.
    w.asked.pop_front().unwrap();
    assert!(matches!(w.asked.front(), Some((_, Ng::Offer(c))) if c.sdp == SDP.as_bytes()));
    w.relay = true;
    w.drain();
    assert!(w.take().is_empty());
    w.questions();
    w.relay = false;
    // Behind an UPDATE of the vendor.
    w.give(V1, &inside("UPDATE", &ok, false, "u1", "", SDP));
    let again = again.replace("z9hG4bKre", "z9hG4bKre2").replace("CSeq: 2", "CSeq: 3");
    w.give(CUSTOMER, &again);
    w.give(CUSTOMER, &cancel(&again));
    assert!(w.take().is_empty(), "both wait");
    // A CANCEL of nothing does not, nor one from elsewhere.
    w.give(CUSTOMER, &cancel(&again).replace("z9hG4bKre2", "z9hG4bKre3"));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 481 "));
    w.give(V3, &cancel(&again));
    assert!(w.to(V3).starts_with("SIP/2.0 481 "));
    say(&mut w, "v=0\r\n");
    say(&mut w, "v=1\r\n");
    let sent = w.take();
    assert_eq!(line(find(&sent, CUSTOMER, "SIP/2.0 200 ").expect("to the CANCEL"), "CSeq"), "3 CANCEL");
    let at_v = find(&sent, V1, "INVITE ").expect("it was on its way").to_owned();
    w.give(V1, &reply(&at_v, "100 Trying", "", V1, "", ""));
    let cancelled = w.to(V1);
    assert!(cancelled.starts_with("CANCEL "));
    w.give(V1, &reply(&at_v, "487 Request Terminated", "", V1, "", ""));
    assert!(find(&w.take(), CUSTOMER, "SIP/2.0 487 ").is_some());
    w.command(Command::Drain { end_calls: true });
    end(&mut w);
}

/// Finals have been taken by their transactions, which swallow repetitions: they are kept, however much waits before them.
#[test]
fn t_sip_14_a_final_is_never_dropped_and_a_request_too_many_is_refused() {
    // 18x without end while the relay is asked about the first, then 486.
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.questions();
    w.relay = false;
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "", SDP));
    for _ in 0..40 {
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    }
    w.give(V1, &reply(&at_v, "486 Busy Here", "bt", V1, "", ""));
    w.take();
    say(&mut w, "v=0\r\n");
    let sent = w.take();
    assert!(find(&sent, CUSTOMER, "SIP/2.0 486 ").is_some(), "{}", sent.len());
    assert_eq!(sent.iter().filter(|(_, t)| t.starts_with("SIP/2.0 180 ")).count(), 32);
    assert_eq!(w.core.stats().held_full, 8);
    end(&mut w);
    // A 2xx comes again until it has its ACK: it is none of those that are kept.
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.questions();
    w.relay = false;
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "", SDP));
    for _ in 0..40 {
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    }
    assert_eq!(w.core.stats().held_full, 8);
    w.relay = true;
    say(&mut w, "v=0\r\n");
    w.drain();
    assert!(find(&w.take(), CUSTOMER, "SIP/2.0 200 ").is_some());
    w.command(Command::Drain { end_calls: true });
    end(&mut w);
    // Requests within the dialog, then the final of one of the other side.
    let (mut w, ok) = answered_slowly();
    w.give(CUSTOMER, &inside("INFO", &ok, true, "i1", "", ""));
    let info = w.to(V1);
    w.give(CUSTOMER, &inside("UPDATE", &ok, true, "u1", "", SDP).replace("CSeq: 2", "CSeq: 3"));
    for n in 0..33 {
        let more = inside("INFO", &ok, false, &format!("v{n}"), "", "");
        w.give(V1, &more.replace("CSeq: 2", &format!("CSeq: {}", n + 2)));
    }
    assert!(w.to(V1).starts_with("SIP/2.0 503 "), "one too many");
    w.give(V1, &reply(&info, "404 Not Found", "", V1, "", ""));
    say(&mut w, "v=0\r\n");
    let sent = w.take();
    assert_eq!(line(find(&sent, CUSTOMER, "SIP/2.0 404 ").expect("kept"), "CSeq"), "2 INFO");
    w.command(Command::Drain { end_calls: true });
    end(&mut w);
}

/// T-SIP-08, T-SIP-12: who has a call in the air may end it, whatever happens at his address.
#[test]
fn t_sip_12_the_bye_of_a_digest_caller_is_no_strangers() {
    let mut w = World::new(false, |_| ());
    let home = "198.18.0.5:5060";
    w.give(home, &invite(NUMBER, "d1", "", "").replace(CUSTOMER, home));
    let challenge = w.to(home);
    w.give(home, &signed(&challenge, b"secret", home, "d2"));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    let ok = w.to(home);
    w.give(home, &inside("ACK", &ok, true, "ack", "", "").replace(CUSTOMER, home));
    w.wait(700_000);
    // Another phone behind the same address does not know its password.
    for n in 0..12 {
        w.give(home, &invite(NUMBER, &format!("x{n}"), "", "").replace(CUSTOMER, home));
        let challenge = w.take().pop().map(|(_, t)| t).filter(|t| t.starts_with("SIP/2.0 407 "));
        if let Some(challenge) = challenge {
            w.give(home, &signed(&challenge, b"guess", home, &format!("y{n}")));
        }
    }
    w.take();
    w.give(home, &inside("BYE", &ok, true, "bye", "", "").replace(CUSTOMER, home));
    assert!(w.to(V1).starts_with("BYE "));
    assert_eq!(w.ended.len(), 1);
    // Ten minutes after his last call he is one again.
    w.wait(700_000);
    w.core.handle_timeout(at(w.ms));
    assert!(w.core.tx.is_stranger(addr(home).ip()));
}

/// RFC 0010: the cookie in our Record-Route differs per call, whatever two calls have in common.
#[test]
fn the_record_route_of_each_call_is_its_own() {
    let mut w = World::new(false, |_| ());
    let mut routes = Vec::new();
    for n in 1..=3 {
        let text = invite(NUMBER, "c1", "", "").replace("z9hG4bKc1", &format!("z9hG4bKc1x{n}"));
        w.give(CUSTOMER, &text.replace("CSeq: 1", &format!("CSeq: {n}")));
        routes.push(lines(&w.to(V1), "Record-Route")[0].to_owned());
    }
    routes.sort();
    routes.dedup();
    assert_eq!(routes.len(), 3);
}

/// RFC 5393 §4.2: a loop through a vendor that challenges is one, though our answer has a higher CSeq.
#[test]
fn rfc_5393_a_loop_through_a_vendor_that_challenges_is_found() {
    let mut w = World::new(false, |d| {
        d.vendor_trunks[0].credentials = Some(warp_policy::directory::Credentials {
            username: "us".into(),
            password: warp_model::Secret::new("pw".into()),
            realm: Some("vendor1".into()),
        });
    });
    let first = invite(NUMBER, "c1", "", "");
    w.give(CUSTOMER, &first);
    let at_v = w.to(V1);
    let challenge =
        "Proxy-Authenticate: Digest realm=\"vendor1\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n";
    w.give(V1, &reply(&at_v, "407 Proxy Authentication Required", "x", V1, challenge, ""));
    let sent = w.take();
    let signed = find(&sent, V1, "INVITE ").expect("again");
    assert_eq!(line(signed, "CSeq"), "2 INVITE");
    // The vendor sends it back to where it came from, with the number that was dialled.
    let top = format!("Via: SIP/2.0/UDP {CUSTOMER};branch=z9hG4bKback\r\nVia: ");
    let (_, rest) = signed.split_once("\r\n").unwrap();
    let back = format!("INVITE sip:{NUMBER}@{US} SIP/2.0\r\n{}", rest.replacen("Via: ", &top, 1));
    w.give(CUSTOMER, &back);
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 482 "));
    assert_eq!((w.core.stats().loops, w.core.live_calls()), (1, 1));
}

/// Answers to the questions of a core that was given up are nobody's.
#[test]
fn f_proc_05_a_new_core_goes_on_with_the_numbers_of_its_questions() {
    let mut w = World::new(true, |_| ());
    w.relay = false;
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let AskId(last) = w.asked.back().unwrap().0;
    let mut new = Core::new(w.core.config().clone(), 0, [8; 32], w.core.tx.shared.clone());
    new.handle_snapshot(snapshot(|_| ()), at(w.ms));
    new.go_on_after(&w.core);
    w.core = new;
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", SDP));
    assert!(w.asked.back().unwrap().0 > AskId(last));
}
