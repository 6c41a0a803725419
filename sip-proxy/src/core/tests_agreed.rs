//! What both sides have agreed on, when offers come to nothing, cross, or are answered by somebody else (RFC 3264, RFC 6337).

use warp_ng::{Command as Ng, Reply};

use super::tests_offers::told_for_good;
use super::tests_static::addr;
use super::tests_world::*;
use super::types::{AskId, Command, MediaError};

const NEW: &str =
    "v=0\r\no=- 1 2 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4008 RTP/AVP 0\r\n";
const RELIABLE: &str = "Require: 100rel\r\nRSeq: 1\r\n";

/// What the relay was asked since the last look: `offer` or `answer`, and the description.
fn told(w: &mut World) -> Vec<(&'static str, String)> {
    let text = |sdp: Vec<u8>| String::from_utf8(sdp).unwrap();
    w.questions()
        .into_iter()
        .map(|q| match q {
            Ng::Offer(c) => ("offer", text(c.sdp)),
            Ng::Answer(c) => ("answer", text(c.sdp)),
            Ng::Delete(_) => ("delete", String::new()),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn as_agreed() -> Vec<(&'static str, String)> {
    vec![("offer", SDP.to_owned()), ("answer", SDP.to_owned())]
}

/// A request within the dialog with this CSeq.
fn numbered(method: &str, ok: &str, caller: bool, n: u32, body: &str) -> String {
    let text = inside(method, ok, caller, &format!("{method}{n}{caller}"), "", body);
    let held = if method == "ACK" { 1 } else { 2 };
    text.replace(&format!("CSeq: {held} "), &format!("CSeq: {n} "))
}

/// The next question, which waits for its answer.
fn next_ask(w: &mut World) -> AskId {
    w.asked.pop_front().unwrap().0
}

fn sdp_reply(text: &str) -> Result<Reply, MediaError> {
    Ok(Reply::Sdp { sdp: text.as_bytes().to_vec(), warning: None, recordings: Vec::new() })
}

/// Two callees of one branch: what one has answered early is its own, and is what its 2xx repeats.
#[test]
fn each_callee_of_a_fork_has_its_own_answer_and_address() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "Supported: 100rel\r\n", SDP));
    let at_v = w.to(V1);
    // Both are behind a NAT: they are reached where they spoke from.
    let (port1, port2) = (V1, "203.0.113.1:5080");
    let mut rings = vec![];
    for (tag, from, contact, sdp) in [("b1", port1, "10.0.0.1", SDP), ("b2", port2, "10.0.0.2", NEW)] {
        w.give(from, &reply(&at_v, "183 Session Progress", tag, contact, RELIABLE, sdp));
        rings.push(w.to(CUSTOMER));
    }
    for (n, (ring, who)) in
        [(&rings[0], port1), (&rings[1], port2), (&rings[0], port1)].into_iter().enumerate()
    {
        w.give(CUSTOMER, &inside("INFO", ring, true, &format!("i{n}"), "", ""));
        assert!(w.to(who).starts_with("INFO "), "{n}");
    }
    w.questions();
    w.give(port2, &reply(&at_v, "180 Ringing", "b2", "10.0.0.2", "", ""));
    w.take();
    w.give(port1, &reply(&at_v, "200 OK", "b1", "10.0.0.1", "", SDP));
    assert_eq!(body(&w.to(CUSTOMER)), format!("relay:{SDP}"));
    assert_eq!(told_for_good(&mut w), SDP);
}

/// RFC 3262 §5: the offer in a reliable 18x is the caller's to answer; a PRACK of the callee with a description answers nothing.
#[test]
fn an_offer_is_answered_by_whom_it_was_made_to() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "Supported: 100rel\r\n", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, RELIABLE, SDP));
    let ring = w.to(CUSTOMER);
    assert_eq!(told(&mut w), [("offer", SDP.to_owned())]);
    w.give(V1, &numbered("PRACK", &ring, false, 2, NEW));
    let odd = w.to(CUSTOMER);
    assert_eq!(told(&mut w), [("offer", NEW.to_owned())]);
    w.give(CUSTOMER, &reply(&odd, "481 No", "", CUSTOMER, "", ""));
    w.take();
    w.questions();
    w.give(CUSTOMER, &numbered("PRACK", &ring, true, 2, NEW));
    w.take();
    assert_eq!(told(&mut w), [("answer", NEW.to_owned())]);
    // The same with the ACK of a re-INVITE without a description.
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &numbered("INVITE", &ok, true, 2, ""));
    let again = w.to(V1);
    w.give(V1, &reply(&again, "200 OK", "", V1, "", NEW));
    w.take();
    w.questions();
    w.give(V1, &numbered("ACK", &ok, false, 2, NEW));
    assert!(body(&w.to(CUSTOMER)).is_empty());
    assert_eq!(told(&mut w), []);
    w.give(CUSTOMER, &numbered("ACK", &ok, true, 2, SDP));
    assert_eq!(body(&w.to(V1)), format!("relay:{SDP}"));
    assert_eq!(told(&mut w), [("answer", SDP.to_owned())]);
    // Repetitions of that ACK carry it again, and no other does.
    w.give(CUSTOMER, &numbered("INVITE", &ok, true, 3, NEW));
    let again = w.to(V1);
    w.give(V1, &reply(&again, "200 OK", "", V1, "", SDP));
    w.take();
    w.give(CUSTOMER, &numbered("ACK", &ok, true, 3, NEW));
    assert!(body(&w.to(V1)).is_empty(), "this one answers nothing");
    w.give(CUSTOMER, &numbered("ACK", &ok, true, 2, SDP));
    assert_eq!(body(&w.to(V1)), format!("relay:{SDP}"));
}

/// A preview in an 18x is no agreement: the re-INVITE that fails after it leaves the session as it was.
#[test]
fn an_18x_to_a_reoffer_agrees_on_nothing() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &numbered("INVITE", &ok, true, 2, NEW));
    let again = w.to(V1);
    w.give(V1, &reply(&again, "183 Session Progress", "", V1, "", NEW));
    w.take();
    w.questions();
    w.give(V1, &reply(&again, "488 Not Acceptable Here", "", V1, "", ""));
    assert_eq!(told(&mut w), as_agreed());
}

/// An offer that the relay took and that went nowhere, or whose answer it did not take, is taken back.
#[test]
fn what_the_relay_took_in_vain_is_taken_back() {
    // No room for the transaction that would carry it on.
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.questions();
    w.relay = false;
    w.give(CUSTOMER, &numbered("UPDATE", &ok, true, 2, NEW));
    let id = next_ask(&mut w);
    let mut config = (**w.core.config()).clone();
    config.transactions = 0;
    w.command(Command::Configure(std::sync::Arc::new(config)));
    w.relay = true;
    w.answer(id, sdp_reply("x"));
    w.drain();
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 480 "));
    assert_eq!(told(&mut w), as_agreed());
    // The relay refuses the answer.
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &numbered("INVITE", &ok, true, 2, NEW));
    let again = w.to(V1);
    w.questions();
    w.relay = false;
    w.give(V1, &reply(&again, "200 OK", "", V1, "", NEW));
    let id = next_ask(&mut w);
    w.relay = true;
    w.answer(id, Ok(Reply::Error { reason: "Bad".into() }));
    w.drain();
    assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 503 ")));
    assert_eq!(told(&mut w), as_agreed());
}

/// A late offer that the ACK does not answer is taken back with that ACK, and only once: not by an ACK of another request, not by a
/// repetition, not by the next refusal.
#[test]
fn a_late_offer_without_an_answer_is_taken_back_once() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &numbered("INVITE", &ok, true, 2, ""));
    let again = w.to(V1);
    w.give(V1, &reply(&again, "200 OK", "", V1, "", NEW));
    w.take();
    w.questions();
    for (n, back) in [(1, vec![]), (2, as_agreed()), (2, vec![])] {
        w.give(CUSTOMER, &numbered("ACK", &ok, true, n, ""));
        assert!(w.to(V1).starts_with("ACK "));
        assert_eq!(told(&mut w), back, "ACK {n}");
    }
    for (n, back) in [(3, vec![]), (4, vec![])] {
        w.give(CUSTOMER, &numbered("INVITE", &ok, true, n, ""));
        let again = w.to(V1);
        let broken = reply(&again, "200 OK", "", V1, "", "--b1\r\n");
        w.give(V1, &broken.replace("application/sdp", "multipart/mixed;boundary=b1"));
        assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 502 ")));
        assert_eq!(told(&mut w), back, "{n}");
    }
}

/// Offers cross, one is answered first and the other is refused then: the relay is told what was agreed, not left with the refused one.
#[test]
fn an_offer_that_is_refused_after_another_was_answered_is_taken_back() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &numbered("UPDATE", &ok, true, 2, NEW));
    let ours = w.to(V1);
    w.give(V1, &numbered("UPDATE", &ok, false, 2, SDP));
    let theirs = w.to(CUSTOMER);
    w.give(V1, &reply(&ours, "200 OK", "", V1, "", SDP));
    w.take();
    w.questions();
    w.give(CUSTOMER, &reply(&theirs, "491 Request Pending", "", CUSTOMER, "", ""));
    w.take();
    assert_eq!(told(&mut w), [("offer", NEW.to_owned()), ("answer", SDP.to_owned())]);
}

/// RFC 3261 §13.2.1: the 2xx has no description because something was agreed before. That is what counts: the preview in an 18x only when an
/// UPDATE has not changed it.
#[test]
fn what_an_update_agreed_on_while_it_rang_is_not_overwritten_by_a_preview() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "", SDP));
    let ring = w.to(CUSTOMER);
    w.give(CUSTOMER, &numbered("UPDATE", &ring, true, 2, SDP));
    let update = w.to(V1);
    w.give(V1, &reply(&update, "200 OK", "", V1, "", NEW));
    assert_eq!(body(&w.to(CUSTOMER)), format!("relay:{NEW}"));
    w.questions();
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
    assert_eq!(told_for_good(&mut w), NEW);
}

/// The relay holds media from the callee's offer on, and is told to forget it at the end; a call that is over asks for nothing more.
#[test]
fn media_of_a_late_offer_is_forgotten_and_never_opened_again() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "", SDP));
    w.take();
    w.questions();
    w.give(V1, &reply(&at_v, "486 Busy Here", "bt", V1, "", ""));
    assert_eq!(told(&mut w), [("delete", String::new())]);
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &numbered("BYE", &ok, true, 2, ""));
    w.take();
    w.questions();
    w.give(V1, &numbered("UPDATE", &ok, false, 2, NEW));
    w.take();
    assert_eq!(told(&mut w), []);
    w.nothing_is_left();
}

/// The answer in an ACK ends its own offer: another one that is still open is not taken back by the refusal of a third.
#[test]
fn the_answer_in_an_ack_closes_no_other_offer() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &numbered("INVITE", &ok, true, 2, ""));
    let again = w.to(V1);
    w.give(V1, &numbered("UPDATE", &ok, false, 2, NEW));
    let theirs = w.to(CUSTOMER);
    w.give(V1, &reply(&again, "200 OK", "", V1, "", SDP));
    w.take();
    w.give(CUSTOMER, &numbered("ACK", &ok, true, 2, SDP));
    w.take();
    w.give(CUSTOMER, &numbered("UPDATE", &ok, true, 3, NEW));
    let ours = w.to(V1);
    w.questions();
    w.give(CUSTOMER, &reply(&theirs, "491 Request Pending", "", CUSTOMER, "", ""));
    w.take();
    assert_eq!(told(&mut w), [], "ours is still open");
    w.give(V1, &reply(&ours, "491 Request Pending", "", V1, "", ""));
    assert_eq!(told(&mut w), as_agreed());
}

/// The relay was silent about an offer that it may have taken, while another one was open: the end of that one takes both back.
#[test]
fn an_offer_that_the_relay_may_have_taken_is_taken_back_with_the_next() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &numbered("INVITE", &ok, true, 2, ""));
    let again = w.to(V1);
    w.give(V1, &numbered("UPDATE", &ok, false, 2, NEW));
    let theirs = w.to(CUSTOMER);
    w.give(V1, &reply(&again, "200 OK", "", V1, "", SDP));
    w.give(CUSTOMER, &numbered("ACK", &ok, true, 2, SDP));
    w.take();
    w.questions();
    w.relay = false;
    w.give(CUSTOMER, &numbered("UPDATE", &ok, true, 3, NEW));
    let id = next_ask(&mut w);
    w.relay = true;
    w.answer(id, Err(MediaError::Timeout));
    w.drain();
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 503 "));
    assert_eq!(told(&mut w), [], "theirs is still open");
    w.give(CUSTOMER, &reply(&theirs, "491 Request Pending", "", CUSTOMER, "", ""));
    w.take();
    assert_eq!(told(&mut w), as_agreed());
}

/// A response that offers, and that the relay cannot be given, ends no offer of another request; one that the relay may have taken is taken
/// back.
#[test]
fn a_late_offer_that_cannot_be_passed_on_closes_no_other_offer() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(V1, &numbered("UPDATE", &ok, false, 2, NEW));
    let theirs = w.to(CUSTOMER);
    w.give(CUSTOMER, &numbered("INVITE", &ok, true, 2, ""));
    let again = w.to(V1);
    w.questions();
    let broken = reply(&again, "200 OK", "", V1, "", "--b1\r\n");
    w.give(V1, &broken.replace("application/sdp", "multipart/mixed;boundary=b1"));
    assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 502 ")));
    assert_eq!(told(&mut w), [], "the UPDATE is still open");
    w.give(CUSTOMER, &reply(&theirs, "491 Request Pending", "", CUSTOMER, "", ""));
    w.take();
    assert_eq!(told(&mut w), as_agreed());
    // A relay that does not answer.
    w.give(CUSTOMER, &numbered("INVITE", &ok, true, 3, ""));
    let again = w.to(V1);
    w.relay = false;
    w.give(V1, &reply(&again, "200 OK", "", V1, "", NEW));
    let id = next_ask(&mut w);
    w.relay = true;
    w.answer(id, Err(MediaError::Timeout));
    w.drain();
    assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 503 ")));
    assert_eq!(told(&mut w), as_agreed());
}

/// RFC 3262 §5: a re-INVITE that was answered in an 18x has no description in its 2xx; what was agreed is that of the 18x.
#[test]
fn a_reoffer_that_was_answered_in_an_18x_is_agreed_by_its_2xx() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    for (n, offer, early) in [(2, NEW, true), (3, SDP, false)] {
        w.give(CUSTOMER, &numbered("INVITE", &ok, true, n, offer));
        let again = w.to(V1);
        if early {
            w.give(V1, &reply(&again, "183 Session Progress", "", V1, RELIABLE, NEW));
            assert_eq!(body(&w.to(CUSTOMER)), format!("relay:{NEW}"));
            w.give(V1, &reply(&again, "180 Ringing", "", V1, "", ""));
            w.take();
        }
        w.questions();
        w.give(V1, &reply(&again, "200 OK", "", V1, "", ""));
        assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
        let held = vec![("offer", NEW.to_owned()), ("answer", NEW.to_owned())];
        assert_eq!(told(&mut w), if early { vec![] } else { held }, "{n}");
    }
}
