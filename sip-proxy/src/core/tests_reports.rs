//! Public fault reports of other systems that were faults here, too. Each test names its report.

use warp_model::cdr::{Outcome, ReleaseSide};
use warp_sip::flow::{Flow, LinkId, Transport};

use super::tests_offers::told_for_good;
use super::tests_static::{addr, at, line, lines};
use super::tests_world::*;
use super::types::Listener;

fn first_lines(w: &mut World, who: &str) -> Vec<String> {
    let sent = w.take().into_iter().filter(|(to, _)| *to == addr(who));
    sent.map(|(_, t)| t.lines().next().unwrap_or("").to_owned()).collect()
}

/// kamailio#2419: a proxy below us forks, and sends its caller's ACK with the branch of its first fork, which is over or still rings.
#[test]
fn an_ack_with_the_branch_of_another_fork_reaches_its_callee() {
    for over in [true, false] {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let at_a = w.to(V1);
        w.give(CUSTOMER, &invite("+14155550124", "c1", "", "").replace("z9hG4bKc1", "z9hG4bKc1.1"));
        let at_b = w.to(V1);
        if over {
            w.give(V1, &reply(&at_a, "486 Busy Here", "ta", V1, "", ""));
            let busy = w.take().into_iter().find(|(to, _)| *to == addr(CUSTOMER)).unwrap().1;
            let ack =
                invite(NUMBER, "c1", "", "").replace("INVITE sip", "ACK sip").replace("1 INVITE", "1 ACK");
            let ack =
                ack.replace(&format!("To: {}", line(&ack, "To")), &format!("To: {}", line(&busy, "To")));
            w.give(CUSTOMER, &ack);
            assert!(w.take().is_empty(), "it ends here");
        }
        w.give(V1, &reply(&at_b, "200 OK", "tb", V1, "", ""));
        let ok = w.to(CUSTOMER);
        w.give(CUSTOMER, &inside("ACK", &ok, true, "c1", "", ""));
        assert!(w.to(V1).starts_with("ACK "), "over: {over}");
    }
}

/// siphon-sip#380, ivozprovider#672: the vendor has let it ring for a while and gives up. Another vendor would ring the same callee again.
#[test]
fn a_408_of_a_callee_that_rang_ends_the_call() {
    for rang in [true, false] {
        let mut w = World::new(true, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let at_v = w.to(V1);
        let first = if rang { "180 Ringing" } else { "100 Trying" };
        w.give(V1, &reply(&at_v, first, if rang { "bt" } else { "" }, V1, "", ""));
        w.take();
        w.give(V1, &reply(&at_v, "408 Request Timeout", "bt", V1, "", ""));
        let sent = w.take();
        let next = sent.iter().any(|(to, t)| *to == addr(V2) && t.starts_with("INVITE "));
        let told = sent.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 408 "));
        assert_eq!((next, told), (!rang, rang), "{sent:?}");
        if rang {
            assert_eq!((w.ended[0].outcome, w.ended[0].legs.len()), (Outcome::NoAnswer, 1));
            w.nothing_is_left();
        }
    }
}

/// kamailio#4829, RFC 3261 §15: the caller hangs up by a BYE while it rings. The vendor knows a CANCEL; many know no early BYE, and one that
/// rang on was answered, and billed.
#[test]
fn an_early_bye_of_the_caller_ends_the_call() {
    for late in [false, true] {
        let mut w = World::new(true, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
        let ring = w.to(CUSTOMER);
        w.give(CUSTOMER, &inside("BYE", &ring, true, "bye", "Reason: Q.850;cause=16\r\n", ""));
        let sent = w.take();
        let cancel = sent.iter().find(|(to, t)| *to == addr(V1) && t.starts_with("CANCEL ")).unwrap();
        assert_eq!(line(&cancel.1, "Reason"), "Q.850;cause=16");
        assert!(!sent.iter().any(|(_, t)| t.starts_with("BYE ")));
        for (status, cseq) in [("200 ", "2 BYE"), ("487 ", "1 INVITE")] {
            let told = |t: &str| t.starts_with(&format!("SIP/2.0 {status}")) && line(t, "CSeq") == cseq;
            assert!(sent.iter().any(|(to, t)| *to == addr(CUSTOMER) && told(t)), "{status} {sent:?}");
        }
        let record = &w.ended[0];
        assert_eq!((record.outcome, record.release_side), (Outcome::Cancelled, ReleaseSide::Caller));
        w.give(V1, &reply(&cancel.1, "200 OK", "bt", V1, "", ""));
        w.take();
        match late {
            false => {
                w.give(V1, &reply(&at_v, "487 Request Terminated", "bt", V1, "", ""));
                assert!(w.to(V1).starts_with("ACK "));
            }
            // It was answered at that moment.
            true => {
                w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
                let sent = first_lines(&mut w, V1);
                assert!(sent[0].starts_with("ACK ") && sent[1].starts_with("BYE "), "{sent:?}");
                assert!(w.answered.is_empty());
            }
        }
        w.nothing_is_left();
        assert_eq!(w.ended.len(), 1);
    }
    // Behind the vendor two ring: it is about one of them.
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "b1", V1, "", ""));
    let ring = w.to(CUSTOMER);
    w.give(V1, &reply(&at_v, "180 Ringing", "b2", V1, "", ""));
    w.take();
    w.give(CUSTOMER, &inside("BYE", &ring, true, "bye", "", ""));
    assert!(w.to(V1).starts_with("BYE "));
    assert!(w.ended.is_empty());
}

/// RFC 3261 §16.7 step 6 and §21.5.4 (Metaswitch/sprout#1791): a peer that reads Retry-After sends us nothing at all for so long, for one
/// destination that cannot be reached.
#[test]
fn what_is_about_one_destination_asks_for_no_pause() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    for v in [V1, V2, V3] {
        let asked = w.take().into_iter().find(|(to, t)| *to == addr(v) && t.starts_with("INVITE"));
        w.give(v, &reply(&asked.unwrap().1, "500 Server Error", "x", v, "", ""));
    }
    let failed = w.take().into_iter().find(|(to, _)| *to == addr(CUSTOMER)).unwrap().1;
    assert!(failed.starts_with("SIP/2.0 503 ") && lines(&failed, "Retry-After").is_empty(), "{failed}");
    // Nor when all vendors were passed over.
    let mut w = World::new(false, |d| {
        d.vendor_trunks.iter_mut().for_each(|t| t.limits.channels = Some(0));
    });
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let failed = w.to(CUSTOMER);
    assert!(failed.starts_with("SIP/2.0 503 ") && lines(&failed, "Retry-After").is_empty(), "{failed}");
}

/// kamailio#2308: the NAT of a party gave it another port. drachtio-server#493: it came back over another connection, and nothing closed the first.
#[test]
fn a_party_is_reached_where_it_speaks_from_now() {
    let asked = |w: &mut World, from: &str, reliable: bool, via: &str| {
        let configured = w.core.config().listeners.len();
        assert_eq!(configured, 2);
        let flow = |remote: &str, link: u64| Flow {
            transport: if reliable { Transport::Tcp } else { Transport::Udp },
            local: addr(US),
            remote: addr(remote),
            link: if reliable { LinkId(link) } else { LinkId::NONE },
        };
        let token = if reliable { "SIP/2.0/TCP 192" } else { "SIP/2.0/UDP 192" };
        let param = if reliable { ";transport=tcp" } else { "" };
        let first = invite(NUMBER, "n1", "", "").replace("SIP/2.0/UDP 192", token);
        let first = first.replace("<sip:a@192.0.2.10:5060>", &format!("<sip:a@10.1.0.5:5060{param}>"));
        let give = |w: &mut World, remote: &str, link: u64, text: &str| {
            w.ms += 10;
            w.core.handle_message(flow(remote, link), text.as_bytes(), at(w.ms));
            w.drain();
        };
        give(w, CUSTOMER, 7, &first);
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
        let ok = w.to(CUSTOMER);
        give(w, CUSTOMER, 7, &inside("ACK", &ok, true, "ack", "", "").replace("SIP/2.0/UDP 192", token));
        w.take();
        let info = inside("INFO", &ok, true, "info", "", "").replace("SIP/2.0/UDP 192", token);
        give(w, from, 8, &info.replace(&format!("{CUSTOMER};branch"), &format!("{via};branch")));
        assert!(w.to(V1).starts_with("INFO "));
        w.give(V1, &inside("BYE", &ok, false, "bye", "", ""));
        w.take().into_iter().find(|(_, t)| t.starts_with("BYE ")).unwrap().0.to_string()
    };
    let two = |c: &mut super::types::CoreConfig| {
        c.listeners.push(Listener { transport: Transport::Tcp, bind: addr(US), advertise: None });
    };
    for (from, reliable, via, reached) in [
        ("192.0.2.10:40001", false, "192.0.2.10:5060;rport", "192.0.2.10:40001"),
        ("192.0.2.10:40001", false, "192.0.2.10:40001", "192.0.2.10:40001"),
        // It sends from there and listens elsewhere.
        ("192.0.2.10:40001", false, "192.0.2.10:5060", CUSTOMER),
        // Another node of the trunk.
        ("192.0.2.11:5060", false, "192.0.2.11:5060;rport", CUSTOMER),
        ("192.0.2.10:40001", true, "192.0.2.10:5060", "192.0.2.10:40001"),
    ] {
        let mut w = World::with(false, |_| (), two);
        assert_eq!(asked(&mut w, from, reliable, via), reached, "{from} {reliable} {via}");
    }
}

/// sems-server/sems#133: the SDP came in the 18x, the 2xx has none (RFC 6337 §2.1 allows it after a reliable one; others do it all the same). To the
/// relay the call still rang, and its silence did not end it.
#[test]
fn t_rtp_10_a_2xx_without_sdp_makes_the_answer_of_its_18x_final() {
    for extra in ["Require: 100rel\r\nRSeq: 1\r\n", ""] {
        let mut w = World::new(true, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "Supported: 100rel\r\n", SDP));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, extra, SDP));
        assert!(w.to(CUSTOMER).starts_with("SIP/2.0 183 "));
        w.questions();
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
        let ok = w.to(CUSTOMER);
        assert!(ok.starts_with("SIP/2.0 200 ") && body(&ok).is_empty());
        assert_eq!(told_for_good(&mut w), SDP);
        // Said once.
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
        assert!(w.questions().is_empty());
    }
    // Nothing was described at all.
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.questions();
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    assert!(w.questions().is_empty());
}

/// OpenSIPS#3919: the 200 follows its reliable 18x so closely that the PRACK comes after it. It belongs to the same callee, and what it
/// acknowledges would be repeated for 32 s and fail the call (RFC 3262 §3).
#[test]
fn a_prack_behind_its_200_reaches_its_callee() {
    for acked in [false, true] {
        let mut w = World::new(true, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "Supported: 100rel\r\n", SDP));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "Require: 100rel\r\nRSeq: 7\r\n", ""));
        let ring = w.to(CUSTOMER);
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
        let ok = w.to(CUSTOMER);
        if acked {
            w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
            assert!(w.to(V1).starts_with("ACK "));
        }
        w.give(CUSTOMER, &inside("PRACK", &ring, true, "late", "RAck: 7 1 INVITE\r\n", ""));
        let prack = w.to(V1);
        assert_eq!((&prack[..6], line(&prack, "RAck")), ("PRACK ", "7 1 INVITE"));
        w.give(V1, &reply(&prack, "200 OK", "", V1, "", ""));
        assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "), "acked: {acked}");
        w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
        w.take();
        hangs_up(&mut w, &ok, 3, 1);
    }
}

/// siphon-sip#421, RFC 3262 §5: the answer came in the reliable 18x, so the PRACK may offer anew, and the 200 to it answers. Both are anchored.
#[test]
fn an_offer_in_a_prack_is_answered_in_its_200() {
    let new = SDP.replace("m=audio 4000", "m=audio 4008");
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "Supported: 100rel\r\n", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "Require: 100rel\r\nRSeq: 1\r\n", SDP));
    let ring = w.to(CUSTOMER);
    w.questions();
    w.give(CUSTOMER, &inside("PRACK", &ring, true, "p1", "RAck: 1 1 INVITE\r\n", &new));
    let prack = w.to(V1);
    assert_eq!(body(&prack), format!("relay:{new}"));
    assert!(matches!(w.questions().as_slice(), [warp_ng::Command::Offer(o)] if o.sdp == new.as_bytes()));
    w.give(V1, &reply(&prack, "200 OK", "", V1, "", SDP));
    assert_eq!(body(&w.to(CUSTOMER)), format!("relay:{SDP}"));
    assert!(matches!(w.questions().as_slice(), [warp_ng::Command::Answer(a)] if a.sdp == SDP.as_bytes()));
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    w.take();
    hangs_up(&mut w, &ok, 3, 1);
}
