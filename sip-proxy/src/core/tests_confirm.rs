//! Calls that are answered and never confirmed, and dialogs whose parties do not say, or do not use, where they are to be called.

use warp_model::cdr::{Outcome, ReleaseSide};
use warp_policy::directory::Credentials;

use super::tests_static::{addr, at, line, lines};
use super::tests_world::*;
use super::types::Command;

/// What was sent to somebody since the last look, by method and CSeq; repetitions count once.
fn heard(w: &mut World, who: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (_, text) in w.take().into_iter().filter(|(to, _)| *to == addr(who)) {
        let first = format!("{} | {}", text.lines().next().unwrap_or(""), line(&text, "CSeq"));
        if !all.contains(&first) {
            all.push(first);
        }
    }
    all
}

/// Its 200 went to the caller.
fn answered_now(w: &mut World) -> String {
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    w.to(CUSTOMER)
}

/// pjsip#1131 and #1857, RFC 3261 §13.3.1.4: the caller is gone before its ACK. The vendor ought to hang up after 64·T1; one that does not
/// would talk, and bill, until the longest duration.
#[test]
fn a_call_that_nobody_acknowledges_ends() {
    let mut w = World::new(true, |_| ());
    answered_now(&mut w);
    w.wait(36_900);
    assert!(w.take().is_empty(), "a vendor that hangs up by itself comes first");
    assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0));
    w.wait(200);
    let sent = w.take();
    let of = |who: &str| -> Vec<String> {
        let mine = sent.iter().filter(|(to, _)| *to == addr(who));
        mine.map(|(_, t)| line(t, "CSeq").to_owned()).collect()
    };
    assert_eq!((of(V1), of(CUSTOMER)), (vec!["1 ACK".into(), "2 BYE".into()], vec!["1 BYE".into()]));
    let r = &w.ended[0];
    assert_eq!(
        (r.internal_code.as_str(), r.q850, r.release_side, r.outcome),
        ("no_ack", Some(102), ReleaseSide::System, Outcome::Answered)
    );
    one_record(&w, 1, 37, 7_000_000, 700_000);
    w.nothing_is_left();

    // A timer that comes late costs nothing.
    let mut w = World::new(true, |_| ());
    answered_now(&mut w);
    w.ms += 39_900;
    w.core.handle_timeout(at(w.ms));
    w.drain();
    assert_eq!((w.ended[0].internal_code.as_str(), w.ended[0].duration_ms), ("no_ack", 37_000));

    // An ACK that comes late is one.
    let mut w = World::new(true, |_| ());
    let ok = answered_now(&mut w);
    w.wait(36_500);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    assert!(w.to(V1).starts_with("ACK "));
    w.wait(3_600_000);
    assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0));
}

/// A call for help is ended by those who talk.
#[test]
fn a_call_for_help_is_not_ended_for_a_lost_ack() {
    for cancelled in [false, true] {
        let mut w = World::new(false, |d| d.emergency_route = vec![warp_model::VendorTrunkId::from_u128(1)]);
        w.give(CUSTOMER, &invite("911", "e1", "", ""));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
        if cancelled {
            let cancel = invite("911", "e1", "", "").replace("INVITE sip", "CANCEL sip");
            w.give(CUSTOMER, &cancel.replace("1 INVITE", "1 CANCEL"));
        }
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
        w.take();
        w.wait(600_000);
        assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0), "cancelled: {cancelled}");
    }
}

/// OpenSIPS#1388 and #2867, livekit-sip#756: CANCEL and 200 cross. The 200 passes (RFC 3261 §16.7) and its caller ought to hang up (§15);
/// one that does not has left, and nobody hears the callee.
#[test]
fn a_call_that_is_answered_while_its_caller_gives_up_ends() {
    let cancel =
        invite(NUMBER, "c1", "", "").replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL");
    for acks in [false, true] {
        let mut w = World::new(true, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
        w.take();
        w.give(CUSTOMER, &cancel);
        let to_vendor = w.take().into_iter().find(|(to, _)| *to == addr(V1)).unwrap().1;
        assert!(to_vendor.starts_with("CANCEL "));
        // It came too late.
        w.give(V1, &reply(&to_vendor, "481 Call/Transaction Does Not Exist", "x", V1, "", ""));
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
        let ok = w.to(CUSTOMER);
        assert!(ok.starts_with("SIP/2.0 200 ") && line(&ok, "CSeq") == "1 INVITE", "{ok}");
        if acks {
            w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
            assert!(w.to(V1).starts_with("ACK "));
        }
        w.wait(3_900);
        assert!(w.take().is_empty());
        w.wait(200);
        let at_vendor = heard(&mut w, V1);
        assert_eq!(at_vendor.iter().any(|t| t.starts_with("ACK ")), !acks, "{at_vendor:?}");
        assert!(at_vendor.last().is_some_and(|t| t.starts_with("BYE ")), "{at_vendor:?}");
        assert_eq!((w.core.live_calls(), w.ended[0].internal_code.as_str()), (0, "cancelled"));
        one_record(&w, 1, 4, 1_000_000, 100_000);
        w.nothing_is_left();
    }
    // One that hangs up as it should has hung up.
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    w.give(CUSTOMER, &cancel);
    w.take();
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert_eq!(w.ended.len(), 1);
    assert_eq!((w.ended[0].internal_code.as_str(), w.ended[0].release_side), ("", ReleaseSide::Caller));
}

fn without_routes(request: &str) -> String {
    lines(request, "Route").iter().fold(request.to_owned(), |t, r| t.replace(&format!("Route: {r}\r\n"), ""))
}

/// jambonz sbc-outbound#211, dsiprouter#56: who knows no Record-Route and no Contact sends everything to us, and names us. The dialog knows
/// whom he means; the other side must find itself in the Request-URI.
#[test]
fn a_request_that_names_us_names_its_dialogs_peer_behind_us() {
    let mut w = World::new(true, |d| {
        d.vendor_trunks[0].credentials = Some(Credentials {
            username: "warp".into(),
            password: warp_model::Secret::new("secret".into()),
            realm: Some("vendor".into()),
        });
    });
    let ok = answered_now(&mut w);
    let to_us = |text: &str, old: &str| without_routes(text).replacen(old, &format!("sip:{NUMBER}@{US}"), 1);
    let (callee, caller) = (format!("sip:x@{V1}"), format!("sip:x@{CUSTOMER}"));
    w.give(CUSTOMER, &to_us(&inside("ACK", &ok, true, "ack", "", ""), &callee));
    assert!(w.to(V1).starts_with(&format!("ACK sip:b@{V1} SIP/2.0\r\n")));
    // A challenge is answered for the URI that the vendor sees.
    w.give(CUSTOMER, &to_us(&inside("INFO", &ok, true, "info", "", ""), &callee));
    let info = w.to(V1);
    assert!(info.starts_with(&format!("INFO sip:b@{V1} SIP/2.0\r\n")), "{info}");
    let ask = "Proxy-Authenticate: Digest realm=\"vendor\", nonce=\"n1\", qop=\"auth\", algorithm=MD5\r\n";
    w.give(V1, &reply(&info, "407 Proxy Authentication Required", "", V1, ask, ""));
    let info = w.to(V1);
    assert!(info.starts_with(&format!("INFO sip:b@{V1} SIP/2.0\r\n")), "{info}");
    assert!(line(&info, "Proxy-Authorization").contains(&format!("uri=\"sip:b@{V1}\"")), "{info}");
    w.give(V1, &reply(&info, "200 OK", "", V1, "", ""));
    w.take();
    w.give(V1, &to_us(&inside("INFO", &ok, false, "vinfo", "", ""), &caller));
    let at_c = w.to(CUSTOMER);
    assert!(at_c.starts_with(&format!("INFO sip:a@{CUSTOMER} SIP/2.0\r\n")), "{at_c}");
    w.give(CUSTOMER, &reply(&at_c, "200 OK", "", CUSTOMER, "", ""));
    w.wait(61_000);
    w.take();
    w.give(V1, &to_us(&inside("BYE", &ok, false, "bye", "", ""), &caller).replace("2 BYE", "3 BYE"));
    assert!(w.to(CUSTOMER).starts_with(&format!("BYE sip:a@{CUSTOMER} SIP/2.0\r\n")));
    one_record(&w, 1, 61, 11_000_000, 1_100_000);
}

/// pjsip#1096 and #3394: a 2xx without a tag (RFC 2543 let it be left out). No dialog can be made of it, so it is ended where it came from,
/// and the next vendor carries the call.
#[test]
fn an_answer_without_a_tag_is_the_next_vendors_turn() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    // What rings without one may ring (pjsip#2066).
    w.give(V1, &reply(&at_v, "183 Session Progress", "", V1, "", SDP));
    assert_eq!(body(&w.to(CUSTOMER)), format!("relay:{SDP}"));
    let untagged = reply(&at_v, "200 OK", "", V1, "", SDP);
    w.give(V1, &untagged);
    let sent = w.take();
    let firsts: Vec<(std::net::SocketAddr, &str)> =
        sent.iter().map(|(to, t)| (*to, t.split(' ').next().unwrap_or(""))).collect();
    assert_eq!(firsts, [(addr(V1), "ACK"), (addr(V1), "BYE"), (addr(V2), "INVITE")], "{sent:#?}");
    assert!(w.answered.is_empty(), "nobody pays for it");
    let at_v2 = sent[2].1.clone();
    w.give(V1, &untagged);
    assert!(w.to(V1).starts_with("ACK "), "a repetition gets its ACK");
    w.give(V2, &reply(&at_v2, "200 OK", "bt", V2, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    hangs_up(&mut w, &ok, 2, 2);
    let legs: Vec<(u16, &str)> = w.ended[0].legs.iter().map(|l| (l.sip_code, l.ended_by.as_str())).collect();
    assert_eq!(legs, [(502, "no_tag"), (200, "answered")]);
    w.nothing_is_left();
    // The caller has given up: nobody else is asked.
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "", V1, "", ""));
    let cancel = invite(NUMBER, "c1", "", "").replace("INVITE sip", "CANCEL sip");
    w.give(CUSTOMER, &cancel.replace("1 INVITE", "1 CANCEL"));
    w.take();
    w.give(V1, &reply(&at_v, "200 OK", "", V1, "", SDP));
    let sent = w.take();
    assert!(sent.iter().all(|(_, t)| !t.starts_with("INVITE ")), "{sent:#?}");
    assert!(sent.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 487 ")), "{sent:#?}");
    assert_eq!(w.ended[0].outcome, Outcome::Cancelled);
    w.nothing_is_left();
}

fn without_contact(text: &str, uri: &str) -> String {
    let line = format!("Contact: <{uri}>\r\n");
    assert!(text.contains(&line), "{text}");
    text.replace(&line, "")
}

/// Neither side says where it is to be called (RFC 3261 §8.1.1.8 and §12.1.1 have them do it). They are called as they were named, by our own
/// BYE as well, and by the one for an answer that came too late.
#[test]
fn a_dialog_without_contacts_can_be_talked_in_and_ended() {
    let (asked, given) = (format!("sip:a@{CUSTOMER}"), format!("sip:b@{V1}"));
    let named = format!("sip:{NUMBER}@{V1}");
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &without_contact(&invite(NUMBER, "c1", "", SDP), &asked));
    let at_v = w.to(V1);
    w.give(V1, &without_contact(&reply(&at_v, "200 OK", "bt", V1, "", SDP), &given));
    let ok = w.to(CUSTOMER);
    let ack = inside("ACK", &ok, true, "ack", "", "");
    w.give(CUSTOMER, &ack.replacen(&format!("sip:x@{V1}"), &format!("sip:{NUMBER}@{US}"), 1));
    assert!(w.to(V1).starts_with(&format!("ACK {named} SIP/2.0\r\n")));
    let cdr_id = w.answered[0].cdr_id;
    w.command(Command::EndCall { cdr_id, reason: "operator" });
    let sent = w.take();
    let bye = |who: &str| &sent.iter().find(|(to, t)| *to == addr(who) && t.starts_with("BYE ")).unwrap().1;
    assert!(bye(V1).starts_with(&format!("BYE {named} SIP/2.0\r\n")), "{}", bye(V1));
    let of_caller = format!("BYE sip:+14155550100@{CUSTOMER} SIP/2.0\r\n");
    assert!(bye(CUSTOMER).starts_with(&of_caller), "{}", bye(CUSTOMER));

    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", SDP));
    let first = w.to(V1);
    w.wait(2_100);
    assert!(w.take().iter().any(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")));
    w.give(V1, &without_contact(&reply(&first, "200 OK", "bt", V1, "", SDP), &given));
    let sent = w.take();
    assert!(sent[0].1.starts_with(&format!("ACK {named} SIP/2.0\r\n")), "{}", sent[0].1);
    assert!(sent[1].1.starts_with(&format!("BYE {named} SIP/2.0\r\n")), "{}", sent[1].1);
}

/// A vendor that rings anew for ever keeps timer C from firing; the call has an end all the same: timer C and 64·T1 for each attempt
/// that it may make.
#[test]
fn a_call_that_rings_anew_for_ever_ends_when_all_its_attempts_could_have() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    let timers = &w.core.tx.config.timers;
    let each = (timers.c + timers.t1_64()).as_millis();
    let end = u64::try_from(each).unwrap() * u64::from(w.core.tx.config.max_attempts);
    while w.ms + 100_000 < end {
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
        w.wait(99_000);
    }
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    w.take();
    w.wait(end - w.ms - 1_000);
    assert!(!w.take().iter().any(|(_, t)| t.starts_with("CANCEL ")), "it rings on");
    w.wait(2_000);
    assert!(w.take().iter().any(|(to, t)| *to == addr(V1) && t.starts_with("CANCEL ")));
    w.give(V1, &reply(&at_v, "487 Request Terminated", "bt", V1, "", ""));
    assert_eq!(w.ended[0].internal_code, "setup_timeout");
    w.nothing_is_left();
}
