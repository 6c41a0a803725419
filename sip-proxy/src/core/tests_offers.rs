//! Offer and answer (RFC 3264): what is not owed changes nothing, what does not fit is made to fit, what is refused leaves media as it was.

use warp_ng::{Command as Ng, Reply};
use warp_sip::flow::{Flow, Transport};

use super::tests_static::{addr, at, line};
use super::tests_world::*;
use super::types::Listener;

const NEW: &str =
    "v=0\r\no=- 1 2 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4008 RTP/AVP 0\r\n";

fn video(sdp: &str) -> String {
    format!("{sdp}m=video 4010 RTP/AVP 96 97\r\na=rtpmap:96 VP8/90000\r\n")
}

/// The answer that the relay was told again, when the call was answered: its silence counts from now on.
pub(super) fn told_for_good(w: &mut World) -> String {
    match w.questions().as_slice() {
        [Ng::Answer(c)] if !c.flags.provisional => String::from_utf8(c.sdp.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// pjsip#339: an SDP in the ACK of a finished exchange.
#[test]
fn an_sdp_in_an_ack_that_owes_none_is_ignored() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    w.questions();
    let multipart = |text: String| {
        let body = format!("--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b--\r\n");
        let head = text.split_once("Content-Type").unwrap().0.to_owned();
        format!(
            "{head}Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let plain = inside("ACK", &ok, true, "ack", "", SDP);
    for text in [plain.clone(), plain.clone(), multipart(plain)] {
        w.give(CUSTOMER, &text);
        let ack = w.to(V1);
        assert!(ack.starts_with("ACK ") && body(&ack).is_empty() && !ack.contains("Content-Type"), "{ack}");
    }
    // The same in the middle of the call.
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re", "", SDP));
    let again = w.to(V1);
    w.give(V1, &reply(&again, "200 OK", "", V1, "", SDP));
    w.take();
    w.questions();
    w.give(CUSTOMER, &inside("ACK", &ok, true, "rack", "", SDP).replace("1 ACK", "2 ACK"));
    assert!(body(&w.to(V1)).is_empty());
    assert!(w.questions().is_empty());
    assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0));
    hangs_up(&mut w, &ok, 3, 1);
}

#[test]
fn a_repeated_ack_carries_the_answer_again() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    let ack = inside("ACK", &ok, true, "ack", "", SDP);
    w.give(CUSTOMER, &ack);
    let first = w.to(V1);
    assert_eq!(body(&first), format!("relay:{SDP}"));
    w.questions();
    // The vendor did not get it.
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
    w.give(CUSTOMER, &ack);
    assert_eq!(body(&w.to(V1)), body(&first));
    assert!(w.questions().is_empty(), "the relay knows it already");
}

/// RFC 3262 §5: the offer stands in a reliable 18x, its answer in the PRACK; what the 2xx says then is not owed.
#[test]
fn a_late_offer_in_a_reliable_18x_is_answered_by_its_prack() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "Supported: 100rel\r\n", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "Require: 100rel\r\nRSeq: 1\r\n", SDP));
    let ring = w.to(CUSTOMER);
    assert!(matches!(w.questions().remove(0), Ng::Offer(c) if c.from_tag == b"bt"));
    w.give(CUSTOMER, &inside("PRACK", &ring, true, "p1", "RAck: 1 1 INVITE\r\n", NEW));
    let prack = w.to(V1);
    assert_eq!(body(&prack), format!("relay:{NEW}"));
    let Ng::Answer(a) = w.questions().remove(0) else { panic!("the caller answers") };
    assert_eq!((a.from_tag.as_slice(), a.to_tag.as_deref()), (&b"bt"[..], Some(&b"at"[..])));
    // A 200 to a PRACK cannot offer anything.
    w.give(V1, &reply(&prack, "200 OK", "", V1, "", SDP));
    assert!(body(&w.to(CUSTOMER)).is_empty());
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    assert!(ok.starts_with("SIP/2.0 200 ") && body(&ok).is_empty());
    assert_eq!(told_for_good(&mut w), NEW);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    assert!(w.to(V1).starts_with("ACK "));
    assert_eq!(w.core.live_calls(), 1);
}

/// The answer in a reliable 18x is the answer: the 2xx repeats it, whatever an UPDATE has changed since, and the relay is asked for nothing new.
#[test]
fn an_answer_that_was_acknowledged_early_is_repeated_as_it_was() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "Supported: 100rel\r\n", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "Require: 100rel\r\nRSeq: 1\r\n", SDP));
    let early = w.to(CUSTOMER);
    w.questions();
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", NEW));
    let ok = w.to(CUSTOMER);
    assert_eq!(body(&ok), body(&early));
    assert_eq!(told_for_good(&mut w), SDP);
    assert_eq!(w.answered.len(), 1);
}

/// Restcomm#983, webrtc-rs#66: audio and video offered, one section answered. The vendor breaks RFC 3264 §6; the call is fine.
#[test]
fn an_answer_with_fewer_or_more_sections_is_made_to_fit() {
    let asked = |w: &mut World| match w.questions().remove(0) {
        Ng::Answer(c) => String::from_utf8(c.sdp).unwrap(),
        other => panic!("{other:?}"),
    };
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", &video(SDP)));
    let at_v = w.to(V1);
    w.questions();
    let padded = format!("{SDP}m=video 0 RTP/AVP 96\r\n");
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "", SDP));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 183 "));
    assert_eq!(asked(&mut w), padded);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    assert_eq!(body(&ok), format!("relay:{padded}"));
    assert_eq!(asked(&mut w), padded);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    w.take();
    // A re-INVITE, answered with too much, and with too little.
    for (n, answer, fits) in [(2, video(&video(SDP)), video(SDP)), (3, SDP.to_owned(), padded)] {
        let re = inside("INVITE", &ok, true, &format!("re{n}"), "", &video(NEW));
        w.give(CUSTOMER, &re.replace("CSeq: 2", &format!("CSeq: {n}")));
        let again = w.to(V1);
        w.questions();
        w.give(V1, &reply(&again, "200 OK", "", V1, "", &answer));
        assert_eq!(asked(&mut w), fits);
        assert_eq!(body(&w.to(CUSTOMER)), format!("relay:{fits}"));
    }
    // Late offer, answered short in the ACK.
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re4", "", "").replace("CSeq: 2", "CSeq: 4"));
    let again = w.to(V1);
    w.give(V1, &reply(&again, "200 OK", "", V1, "", &video(SDP)));
    w.take();
    w.questions();
    w.give(CUSTOMER, &inside("ACK", &ok, true, "a4", "", NEW).replace("1 ACK", "4 ACK"));
    assert_eq!(body(&w.to(V1)), format!("relay:{NEW}m=video 0 RTP/AVP 96\r\n"));
    assert_eq!(w.core.live_calls(), 1);
    hangs_up(&mut w, &ok, 5, 1);
}

fn restored(w: &mut World) -> Vec<(String, String)> {
    w.questions()
        .into_iter()
        .map(|q| match q {
            Ng::Offer(c) => ("offer".to_owned(), String::from_utf8(c.sdp).unwrap()),
            Ng::Answer(c) => ("answer".to_owned(), String::from_utf8(c.sdp).unwrap()),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// RFC 3261 §14.1: a refused re-INVITE leaves the session as it was. A relay that took the offer is told what both had agreed on.
#[test]
fn a_refused_reoffer_gives_the_relay_the_old_descriptions_again() {
    for method in ["INVITE", "UPDATE"] {
        let mut w = World::new(true, |_| ());
        let (ok, _) = answered(&mut w, SDP);
        let old = [("offer".to_owned(), SDP.to_owned()), ("answer".to_owned(), SDP.to_owned())];
        w.questions();
        w.give(CUSTOMER, &inside(method, &ok, true, "re1", "", NEW));
        let again = w.to(V1);
        assert_eq!(restored(&mut w), [("offer".to_owned(), NEW.to_owned())]);
        w.give(V1, &reply(&again, "488 Not Acceptable Here", "", V1, "", ""));
        assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 488 ")));
        assert_eq!(restored(&mut w), old, "{method}");
        // One that is accepted is what is told the next time.
        w.give(CUSTOMER, &inside(method, &ok, true, "re2", "", NEW).replace("CSeq: 2", "CSeq: 3"));
        let again = w.to(V1);
        w.give(V1, &reply(&again, "200 OK", "", V1, "", SDP));
        w.take();
        w.questions();
        w.give(V1, &inside(method, &ok, false, "re3", "", &video(SDP)));
        let again = w.to(CUSTOMER);
        w.questions();
        w.give(CUSTOMER, &reply(&again, "491 Request Pending", "", CUSTOMER, "", ""));
        w.take();
        assert_eq!(restored(&mut w), [("offer".into(), NEW.into()), ("answer".into(), SDP.into())]);
        // Nobody answers it at all.
        w.give(CUSTOMER, &inside(method, &ok, true, "re4", "", &video(SDP)).replace("CSeq: 2", "CSeq: 4"));
        w.take();
        w.questions();
        w.wait(200_000);
        assert_eq!(restored(&mut w), [("offer".into(), NEW.into()), ("answer".into(), SDP.into())]);
        assert_eq!(w.core.live_calls(), 1);
    }
}

/// pjsip#1166: offers cross; one is refused, the other accepted: a 200 through, and media by it.
#[test]
fn of_crossing_offers_the_accepted_one_counts() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re1", "", NEW));
    let to_v = w.to(V1);
    w.give(V1, &inside("INVITE", &ok, false, "re2", "", &video(SDP)));
    let to_c = w.to(CUSTOMER);
    w.questions();
    w.give(CUSTOMER, &reply(&to_c, "491 Request Pending", "", CUSTOMER, "", ""));
    let sent = w.take();
    assert!(sent.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("SIP/2.0 491 ")), "{sent:?}");
    assert!(restored(&mut w).is_empty(), "the other offer is still open");
    w.give(V1, &reply(&to_v, "200 OK", "", V1, "", SDP));
    assert_eq!(body(&w.to(CUSTOMER)), format!("relay:{SDP}"));
    assert_eq!(restored(&mut w), [("answer".to_owned(), SDP.to_owned())]);
    // Both refused: what was agreed before them, once.
    let mut open = vec![];
    for (from, to, caller, n) in [(CUSTOMER, V1, true, 5), (V1, CUSTOMER, false, 6)] {
        let text = inside("INVITE", &ok, caller, &format!("g{n}"), "", &video(SDP));
        w.give(from, &text.replace("CSeq: 2", &format!("CSeq: {n}")));
        open.push((to, w.to(to)));
    }
    w.questions();
    for (to, text) in open {
        w.give(to, &reply(&text, "491 Request Pending", "", to, "", ""));
    }
    assert_eq!(restored(&mut w), [("offer".into(), NEW.into()), ("answer".into(), SDP.into())]);
    hangs_up(&mut w, &ok, 7, 1);
}

/// An answer that the relay refuses does not end a call that had media before.
#[test]
fn a_refused_answer_in_the_ack_of_a_reinvite_leaves_the_call_as_it_was() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re1", "", ""));
    let again = w.to(V1);
    w.give(V1, &reply(&again, "200 OK", "", V1, "", NEW));
    w.take();
    w.questions();
    w.relay = false;
    w.give(CUSTOMER, &inside("ACK", &ok, true, "a1", "", SDP).replace("1 ACK", "2 ACK"));
    let (id, _) = w.asked.pop_front().unwrap();
    w.relay = true;
    w.core.handle_answer(
        id,
        super::types::AskReply::Media(Ok(Reply::Error { reason: "Bad".into() })),
        at(w.ms),
    );
    w.drain();
    let ack = w.to(V1);
    assert!(ack.starts_with("ACK ") && body(&ack).is_empty());
    assert_eq!(restored(&mut w), [("offer".into(), SDP.into()), ("answer".into(), SDP.into())]);
    assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0));
}

/// A flow over TCP from a peer.
fn tcp(remote: &str, link: u64) -> Flow {
    Flow {
        transport: Transport::Tcp,
        local: addr(US),
        remote: addr(remote),
        link: warp_sip::flow::LinkId(link),
    }
}

fn also_tcp(config: &mut super::types::CoreConfig) {
    config.listeners.push(Listener { transport: Transport::Tcp, bind: addr(US), advertise: None });
}

/// drachtio-srf#87, RFC 3261 §13.3.1.4: the vendor has not got the ACK and repeats its 200, over TCP as over UDP. Whatever the transports of
/// the two, the customer gets its copy again, and its ACK goes on.
#[test]
fn a_lost_ack_is_repaired_between_udp_and_tcp_both_ways() {
    for (customer, vendor) in
        [(Transport::Tcp, Transport::Udp), (Transport::Udp, Transport::Tcp), (Transport::Tcp, Transport::Tcp)]
    {
        let tweak: Tweak = match vendor {
            Transport::Tcp => |d| d.vendor_trunks[0].transport = warp_policy::directory::Transport::Tcp,
            _ => |_| (),
        };
        let mut w = World::with(true, tweak, also_tcp);
        let give = |w: &mut World, who: &str, text: &str| {
            let over = if who == CUSTOMER { customer } else { vendor };
            let link = if who == CUSTOMER { 7 } else { 8 };
            w.ms += 10;
            let flow = if over == Transport::Tcp { tcp(who, link) } else { Flow::udp(addr(US), addr(who)) };
            let own = format!("SIP/2.0/UDP {}", &who[..who.len() - 5]);
            let text = text.replace(&own, &own.replace("UDP", over.token()));
            w.core.handle_message(flow, text.as_bytes(), at(w.ms));
            w.drain();
        };
        let contact = if vendor == Transport::Tcp { format!("{V1};transport=tcp") } else { V1.to_owned() };
        give(&mut w, CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let at_v = w.to(V1);
        assert!(line(&at_v, "Via").starts_with(&format!("SIP/2.0/{} ", vendor.token())));
        let final_ok = reply(&at_v, "200 OK", "bt", &contact, "", SDP);
        give(&mut w, V1, &final_ok);
        let ok = w.to(CUSTOMER);
        assert!(line(&ok, "Via").starts_with(&format!("SIP/2.0/{} ", customer.token())));
        // The first ACK is lost, or comes: the vendor repeats its 200 until it has one.
        for n in 0..4 {
            w.wait(500);
            give(&mut w, V1, &final_ok);
            assert_eq!(w.to(CUSTOMER), ok, "the customer's copy again");
            give(&mut w, CUSTOMER, &inside("ACK", &ok, true, &format!("ack{n}"), "", ""));
            let ack = w.to(V1);
            assert_eq!((line(&ack, "CSeq"), ack.starts_with("ACK ")), ("1 ACK", true));
            assert!(line(&ack, "Via").starts_with(&format!("SIP/2.0/{} ", vendor.token())));
        }
        assert_eq!((w.core.live_calls(), w.answered.len(), w.ended.len()), (1, 1, 0));
        w.wait(59_500);
        w.take();
        give(&mut w, CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
        let bye = w.to(V1);
        give(&mut w, V1, &reply(&bye, "200 OK", "", &contact, "", ""));
        assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
        one_record(&w, 1, 61, 11_000_000, 1_100_000);
    }
}
