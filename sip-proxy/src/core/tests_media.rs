//! Media of a call: offers and answers in their order, late offers, refreshes, a relay that fails, and SDP within multipart bodies (RFC 5621).

use warp_model::cdr::Outcome;
use warp_ng::{AddressFamily, Command as Ng, Reply};
use warp_sip::flow::Transport as Hop;

use super::tests_static::{addr, line};
use super::tests_world::*;
use super::types::{Listener, MediaError};

#[test]
fn a_session_refresh_renews_the_media_of_both_sides() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.questions();
    for (method, caller, branch) in [("INVITE", true, "re1"), ("UPDATE", false, "up1")] {
        let (from, to) = if caller { (CUSTOMER, V1) } else { (V1, CUSTOMER) };
        w.give(from, &inside(method, &ok, caller, branch, "Contact: <sip:new@192.0.2.10>\r\n", SDP));
        let again = w.to(to);
        assert!(again.starts_with(&format!("{method} ")));
        assert_eq!(body(&again), format!("relay:{SDP}"));
        let Ng::Offer(o) = w.questions().remove(0) else { panic!() };
        assert_eq!(o.to_tag.as_deref(), Some(if caller { &b"bt"[..] } else { &b"at"[..] }));
        let done = reply(&again, "200 OK", "", to, "", SDP);
        w.give(to, &done);
        let back = w.to(from);
        assert_eq!(body(&back), format!("relay:{SDP}"));
        assert!(matches!(w.questions().remove(0), Ng::Answer(_)));
        if method == "INVITE" {
            // Repeated 2xx to the re-INVITE: our copy again.
            w.give(to, &done);
            assert_eq!(w.to(from), back);
            w.give(from, &inside("ACK", &ok, caller, "rack", "", "").replace("1 ACK", "2 ACK"));
            assert!(w.to(to).starts_with("ACK "));
        }
    }
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    assert!(w.questions().is_empty());
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    assert_eq!(body(&ok), format!("relay:{SDP}"));
    let Ng::Offer(o) = w.questions().remove(0) else { panic!() };
    assert_eq!(o.from_tag, b"bt");
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", SDP));
    assert_eq!(body(&w.to(V1)), format!("relay:{SDP}"));
    let Ng::Answer(a) = w.questions().remove(0) else { panic!() };
    assert_eq!((a.from_tag.as_slice(), a.to_tag.as_deref()), (&b"bt"[..], Some(&b"at"[..])));
}

#[test]
fn a_relay_that_fails_or_is_silent_refuses_the_call() {
    for silent in [false, true] {
        let mut w = World::new(true, |_| ());
        w.relay = false;
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let (id, _) = w.asked.pop_front().unwrap();
        if silent {
            w.wait(1_100);
        } else {
            w.answer(id, Err(MediaError::Unreachable));
        }
        let out = w.to(CUSTOMER);
        assert!(out.starts_with("SIP/2.0 503 "));
        assert_eq!(w.ended[0].internal_code, "media_unavailable");
        // Too late now.
        w.answer(id, Ok(Reply::Sdp { sdp: b"x".to_vec(), warning: None, recordings: Vec::new() }));
        assert!(w.take().is_empty());
        w.nothing_is_left();
    }
}

#[test]
fn messages_wait_in_order_while_the_relay_is_asked() {
    let mut w = World::new(true, |_| ());
    w.relay = false;
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let (id, _) = w.asked.pop_front().unwrap();
    w.answer(id, Ok(Reply::Sdp { sdp: b"one".to_vec(), warning: None, recordings: Vec::new() }));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "", SDP));
    let (id, _) = w.asked.pop_front().unwrap();
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    assert!(w.take().is_empty());
    w.answer(id, Ok(Reply::Sdp { sdp: b"two".to_vec(), warning: None, recordings: Vec::new() }));
    let (id, _) = w.asked.pop_front().unwrap();
    w.answer(id, Ok(Reply::Sdp { sdp: b"three".to_vec(), warning: None, recordings: Vec::new() }));
    let seen: Vec<String> = w.take().iter().map(|(_, t)| t[8..11].to_owned()).collect();
    assert_eq!(seen, ["183", "180", "200"]);
}

/// RFC 3261 §15.1.2: who hangs up hears at once that it was heard. The figures are for the record.
#[test]
fn the_200_to_a_bye_does_not_wait_for_the_figures() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.relay = false;
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    let bye = w.to(V1);
    w.give(V1, &reply(&bye, "200 OK", "bt", V1, "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
    assert!(w.ended.is_empty(), "its record waits for them");
    let (id, _) = w.asked.pop_back().unwrap();
    w.answer(id, Ok(Reply::Stats(Default::default())));
    assert_eq!(w.ended.len(), 1);
    assert!(w.take().is_empty());
    w.nothing_is_left();
}

#[test]
fn a_cancel_while_the_relay_is_asked_leaves_no_media_behind() {
    let mut w = World::new(true, |_| ());
    w.relay = false;
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let cancel =
        invite(NUMBER, "c1", "", "").replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL");
    w.give(CUSTOMER, &cancel);
    assert!(w.take().iter().any(|(_, t)| t.starts_with("SIP/2.0 487 ")));
    let q = w.questions();
    assert!(matches!((&q[0], &q[1]), (Ng::Offer(o), Ng::Delete(d)) if o.via_branch == d.via_branch), "{q:?}");
    assert_eq!(w.ended[0].outcome, Outcome::Cancelled);
    w.nothing_is_left();
}

const KIND: &str = "multipart/mixed;boundary=b1";

/// SDP between two other parts, as a gateway sends it.
fn mixed(sdp: &str) -> String {
    format!(
        "--b1\r\nContent-Type: application/pidf+xml\r\nContent-ID: <loc@pbx>\r\n\r\n<presence/>\r\n--b1\r\n\
         Content-Type: application/sdp\r\n\r\n{sdp}\r\n--b1\r\nContent-Type: application/isup;version=itu-t92+\r\n\
         Content-Disposition: signal;handling=optional\r\n\r\n\x01\x00\x49\r\n--b1--\r\n"
    )
}

/// The same message with its body said to be of another type.
fn typed(message: &str, kind: &str) -> String {
    message.replace(
        "Content-Type: application/sdp\r\nContent-Length",
        &format!("Content-Type: {kind}\r\nContent-Length"),
    )
}

fn is_whole(message: &str) -> bool {
    line(message, "Content-Length") == body(message).len().to_string()
}

fn offered(w: &mut World) -> Vec<u8> {
    match w.questions().remove(0) {
        Ng::Offer(c) | Ng::Answer(c) => c.sdp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sdp_in_a_multipart_body_is_anchored_and_the_other_parts_stay() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &typed(&invite(NUMBER, "c1", "", &mixed(SDP)), KIND));
    let at_v = w.to(V1);
    assert_eq!(offered(&mut w), SDP.as_bytes());
    assert_eq!(body(&at_v), mixed(&format!("relay:{SDP}")));
    assert_eq!(line(&at_v, "Content-Type"), KIND);
    assert!(is_whole(&at_v));

    w.give(V1, &typed(&reply(&at_v, "200 OK", "bt", V1, "", &mixed(SDP)), KIND));
    let ok = w.to(CUSTOMER);
    assert_eq!(offered(&mut w), SDP.as_bytes());
    assert_eq!(body(&ok), mixed(&format!("relay:{SDP}")));
    assert!(is_whole(&ok));
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    w.take();

    let update = typed(&inside("UPDATE", &ok, true, "up", "", &mixed(SDP)), KIND);
    w.give(CUSTOMER, &update);
    let update = w.to(V1);
    assert_eq!((offered(&mut w), is_whole(&update)), (SDP.as_bytes().to_vec(), true));
    assert_eq!(body(&update), mixed(&format!("relay:{SDP}")));
    w.give(V1, &typed(&reply(&update, "200 OK", "", V1, "", &mixed(SDP)), KIND));
    let done = w.to(CUSTOMER);
    assert_eq!((body(&done), is_whole(&done)), (mixed(&format!("relay:{SDP}")).as_str(), true));
}

#[test]
fn a_late_offer_in_multipart_bodies_is_anchored_both_ways() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &typed(&reply(&at_v, "200 OK", "bt", V1, "", &mixed(SDP)), KIND));
    let ok = w.to(CUSTOMER);
    assert!(matches!(w.questions().remove(0), Ng::Offer(c) if c.sdp == SDP.as_bytes()));
    w.give(CUSTOMER, &typed(&inside("ACK", &ok, true, "ack", "", &mixed(SDP)), KIND));
    let ack = w.to(V1);
    assert_eq!((body(&ack), is_whole(&ack)), (mixed(&format!("relay:{SDP}")).as_str(), true));
    assert!(matches!(w.questions().remove(0), Ng::Answer(c) if c.sdp == SDP.as_bytes()));
}

#[test]
fn t_sip_18_a_body_that_cannot_be_anchored_is_refused_and_changes_nothing() {
    let mut w = World::new(true, |_| ());
    let broken = mixed(SDP).replace("--b1--", "--b2--");
    let twice = mixed(&format!("{SDP}\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n{SDP}"));
    for (n, (text, kind, extra, status)) in [
        (broken.as_str(), KIND, "", "400"),
        (&twice, KIND, "", "415"),
        (SDP, "application/pkcs7-mime", "", "415"),
        ("\x1f\x08bomb", "application/sdp", "Content-Encoding: gzip\r\n", "415"),
    ]
    .into_iter()
    .enumerate()
    {
        w.give(CUSTOMER, &typed(&invite(NUMBER, &format!("c{n}"), extra, text), kind));
        let answer = w.to(CUSTOMER);
        assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{answer}");
        assert_eq!(answer.contains("\r\nAccept"), status == "415", "{answer}");
    }
    assert_eq!((w.core.calls.all.len(), w.core.transactions()), (0, (0, 0)));
    // Not anchored: it is passed on as it came, compressed or not.
    let mut w = World::new(false, |_| ());
    w.give(
        CUSTOMER,
        &typed(&invite(NUMBER, "c1", "Content-Encoding: gzip\r\n", "\x1f\x08bomb"), "application/sdp"),
    );
    let at_v = w.to(V1);
    assert_eq!((body(&at_v), line(&at_v, "Content-Encoding")), ("\x1f\x08bomb", "gzip"));
    w.give(CUSTOMER, &typed(&invite(NUMBER, "c2", "", &broken), KIND));
    assert_eq!(body(&w.to(V1)), broken);
}

#[test]
fn t_sip_18_a_vendor_whose_200_cannot_be_anchored_is_hung_up_on() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    let broken = mixed(SDP).replace("--b1--", "--b2--");
    w.give(V1, &typed(&reply(&at_v, "183 Session Progress", "bt", V1, "", &broken), KIND));
    assert!(w.take().is_empty(), "an 18x with it is left out");
    w.give(V1, &typed(&reply(&at_v, "200 OK", "bt", V1, "", &broken), KIND));
    let starts: Vec<String> = w.take().iter().map(|(_, t)| t[..11].to_owned()).collect();
    assert!(starts[0].starts_with("ACK ") && starts[1].starts_with("BYE "), "{starts:?}");
    assert_eq!(starts[2], "SIP/2.0 503");
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    w.nothing_is_left();
}

#[test]
fn an_in_dialog_answer_that_cannot_be_anchored_does_not_pass_the_relay_by() {
    for broken in [true, false] {
        let mut w = World::new(true, |_| ());
        let (ok, _) = answered(&mut w, SDP);
        w.questions();
        w.give(CUSTOMER, &inside("INVITE", &ok, true, "re1", "Contact: <sip:a@192.0.2.10>\r\n", SDP));
        let again = w.to(V1);
        let done = match broken {
            true => typed(&reply(&again, "200 OK", "", V1, "", "--b1\r\n"), KIND),
            false => reply(&again, "200 OK", "", V1, "", SDP),
        };
        w.relay = false;
        w.asked.clear();
        w.give(V1, &done);
        if !broken {
            let (id, _) = w.asked.pop_front().unwrap();
            w.answer(id, Err(MediaError::Unreachable));
        }
        let status = if broken { "SIP/2.0 502 " } else { "SIP/2.0 503 " };
        let sent = w.take();
        assert!(sent[0].1.starts_with("ACK sip:b@203.0.113.1:5060 ") && line(&sent[0].1, "CSeq") == "2 ACK");
        assert!(sent[1].1.starts_with(status) && body(&sent[1].1).is_empty(), "{sent:?}");
        assert_eq!(sent.len(), 2);
        // The relay is told what was agreed before.
        w.relay = true;
        w.drain();
        // The callee did not get our ACK and repeats its 200: ACK again. The caller's ACK for our failure ends here.
        w.give(V1, &done);
        assert!(w.to(V1).starts_with("ACK "));
        let ack = inside("ACK", &ok, true, "re1", "", "").replace("1 ACK", "2 ACK");
        w.give(CUSTOMER, &ack);
        assert!(w.take().is_empty());
        // The call goes on.
        assert_eq!(w.core.live_calls(), 1);
        w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", "").replace("2 BYE", "3 BYE"));
        assert!(w.take().iter().any(|(_, t)| t.starts_with("BYE ")));
    }
}

#[test]
fn an_in_dialog_request_that_cannot_be_anchored_is_refused_and_the_call_goes_on() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.questions();
    for (method, branch, cseq) in [("INVITE", "re1", "2"), ("UPDATE", "up1", "3")] {
        let text = typed(&inside(method, &ok, true, branch, "", "--b1\r\n"), KIND);
        w.give(CUSTOMER, &text.replace(&format!("2 {method}"), &format!("{cseq} {method}")));
        assert!(w.to(CUSTOMER).starts_with("SIP/2.0 400 "));
    }
    assert!(w.questions().is_empty());
    assert_eq!(w.core.live_calls(), 1);
}

#[test]
fn an_ack_whose_answer_cannot_be_anchored_goes_without_it_and_ends_the_call() {
    for broken in [true, false] {
        let mut w = World::new(true, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
        let ok = w.to(CUSTOMER);
        w.relay = false;
        w.asked.clear();
        match broken {
            true => w.give(CUSTOMER, &typed(&inside("ACK", &ok, true, "ack", "", "--b1\r\n"), KIND)),
            false => {
                w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", SDP));
                let (id, _) = w.asked.pop_front().unwrap();
                w.answer(id, Err(MediaError::Unreachable));
            }
        }
        let sent = w.take();
        assert!(
            sent[0].1.starts_with("ACK ")
                && body(&sent[0].1).is_empty()
                && !sent[0].1.contains("Content-Type")
        );
        assert!(sent[1..].iter().all(|(_, t)| t.starts_with("BYE ")) && sent.len() == 3, "{sent:?}");
        w.relay = true;
        w.drain();
        w.nothing_is_left();
        assert_eq!(w.ended[0].internal_code, "media_unavailable");
    }
}

const US6: &str = "[2001:db8::1]:5060";
const V6: &str = "[2001:db8::5]:5060";

/// RFC 6157: a vendor that is reached by IPv6 has media by IPv6 of our relay, whatever the caller speaks; and each later offer says
/// the family of who hears it. Every call between the two was lost when the vendor had answered.
#[test]
fn a_call_between_the_families_asks_for_media_of_the_hearers_family() {
    let mut w = World::with(
        true,
        |rows| rows.vendor_trunks[0].addresses = vec![addr(V6)],
        |config| {
            let (bind, transport) = (addr(US6), Hop::Udp);
            config.listeners.push(Listener { transport, bind, advertise: None });
        },
    );
    let family = |asked: Vec<Ng>| match asked.into_iter().next() {
        Some(Ng::Offer(c) | Ng::Answer(c)) => c.address_family,
        other => panic!("{other:?}"),
    };
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V6);
    assert_eq!(family(w.questions()), Some(AddressFamily::Ip6));
    w.us = addr(US6);
    w.give(V6, &reply(&at_v, "200 OK", "bt", V6, "", SDP));
    let ok = w.to(CUSTOMER);
    assert_eq!(family(w.questions()), Some(AddressFamily::Ip4));
    w.us = addr(US);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    w.take();
    w.us = addr(US6);
    w.give(V6, &inside("INVITE", &ok, false, "re", "", SDP).replace(V1, V6));
    assert_eq!(family(w.questions()), Some(AddressFamily::Ip4), "the caller hears the callee's offer");
    // In one family nothing is said: a phone may speak of media by another one than it signals by.
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", SDP));
    assert_eq!(family(w.questions()), None);
}
