//! What an ACK, a drain, a jump of the clock, and odd contents may and may not do, in a whole core.

use warp_model::{Now, Wall};
use warp_sip::digest::{self, Challenge, Ha1};
use warp_sip::flow::Flow;

use super::tests_static::{addr, at, line, lines};
use super::tests_world::*;
use super::types::Command;

/// The ACK of a caller for a final response other than 2xx to its INVITE.
fn ack_of(invite: &str, response: &str) -> String {
    let head = invite.split_once("\r\n\r\n").unwrap().0;
    let ack: Vec<String> = head
        .lines()
        .filter(|l| !l.starts_with("Content") && !l.starts_with("Contact"))
        .map(|l| match l {
            l if l.starts_with("To: ") => format!("To: {}", line(response, "To")),
            l => l.replace("INVITE", "ACK"),
        })
        .collect();
    ack.join("\r\n") + "\r\nContent-Length: 0\r\n\r\n"
}

#[test]
fn an_ack_of_a_stateless_final_is_absorbed_and_only_true_strays_are_counted() {
    let mut w = World::new(false, |_| ());
    let home = "198.18.0.5:5060";
    // A challenge, a refusal of policy's door, an overload refusal: none has a transaction.
    let plain = invite(NUMBER, "d1", "", "").replace(CUSTOMER, home);
    w.give(home, &plain);
    let challenge = w.to(home);
    assert!(challenge.starts_with("SIP/2.0 407 "));
    assert_eq!(w.core.transactions(), (0, 0));
    w.give(home, &ack_of(&plain, &challenge));
    let zero = invite(NUMBER, "d2", "", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    w.give(CUSTOMER, &zero);
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 483 "));
    w.give(CUSTOMER, &ack_of(&zero, &refused));
    w.core.set_overload(super::overload::FULL);
    let shed = invite(NUMBER, "d3", "", "");
    w.give(CUSTOMER, &shed);
    let refused = w.to(CUSTOMER);
    w.give(CUSTOMER, &ack_of(&shed, &refused));
    // The ACK of an INVITE that had a transaction, after it is over.
    w.core.set_overload(0);
    let late = invite("+12125550100", "d4", "", "");
    w.give(CUSTOMER, &late);
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 404 "));
    w.wait(60_000);
    w.take();
    assert_eq!(w.core.transactions(), (0, 0));
    w.give(CUSTOMER, &ack_of(&late, &refused));
    assert!(w.take().is_empty());
    assert_eq!(w.core.stats().stray, 0);
    // A tag that is not ours, ours of another call, and none: strays.
    for to in ["<sip:x@h>;tag=0123456789abcdef01234567", line(&challenge, "To"), "<sip:x@h>"] {
        let stray = ack_of(&late, &format!("To: {to}\r\n"));
        w.give(CUSTOMER, &stray);
    }
    assert!(w.take().is_empty());
    assert_eq!(w.core.stats().stray, 3);
}

#[test]
fn f_upg_01_a_draining_proxy_refuses_new_work_and_finishes_what_it_has() {
    let mut w = World::new(false, |_| ());
    let (ok, _) = answered(&mut w, "");
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    let ringing = w.to(V1);
    w.command(Command::Drain { end_calls: false });
    // Peers are told to go elsewhere, by OPTIONS and by INVITE; the record says why.
    let options = invite("x", "o1", "", "").replace("INVITE", "OPTIONS").replace("sip:x@", "sip:");
    w.give(CUSTOMER, &options);
    let answer = w.to(CUSTOMER);
    assert!(answer.starts_with("SIP/2.0 503 ") && line(&answer, "Retry-After") == "30");
    w.give(CUSTOMER, &invite(NUMBER, "c3", "", ""));
    let answer = w.to(CUSTOMER);
    assert!(answer.starts_with("SIP/2.0 503 ") && line(&answer, "Retry-After") == "5");
    assert_eq!((w.ended.len(), w.ended[0].internal_code.as_str()), (1, "draining"));
    // A call in set-up is answered, one in the air is re-negotiated, and both end in their own time.
    w.give(V1, &reply(&ringing, "200 OK", "b2", V1, "", ""));
    let second = w.to(CUSTOMER);
    assert!(second.starts_with("SIP/2.0 200 "));
    w.give(CUSTOMER, &inside("ACK", &second, true, "ack2", "", ""));
    assert!(w.to(V1).starts_with("ACK "));
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re", "", ""));
    assert!(w.to(V1).starts_with("INVITE "));
    w.wait(60_000);
    w.take();
    assert_eq!(w.core.live_calls(), 2);
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", "").replace("2 BYE", "3 BYE"));
    assert!(w.to(V1).starts_with("BYE "));
    assert_eq!(w.core.live_calls(), 1);
    // Time is up, or the second signal came: what is left ends both ways, with its record.
    w.command(Command::Drain { end_calls: true });
    let byes: Vec<_> =
        w.take().into_iter().filter(|(_, t)| t.starts_with("BYE ")).map(|(to, _)| to).collect();
    assert_eq!(byes, [addr(V1), addr(CUSTOMER)]);
    assert_eq!(w.core.live_calls(), 0);
    assert_eq!((w.answered.len(), w.ended.len()), (2, 3));
    assert_eq!(w.ended[2].internal_code, "drain");
    w.nothing_is_left();
}

/// The time of the world with the wall clock put forward or back.
fn shifted(w: &World, ms: i64) -> Now {
    let now = at(w.ms);
    Now { wall: Wall(now.wall.0 + ms * 1_000), ..now }
}

#[test]
fn f_time_01_nonces_of_another_time_are_stale_and_a_new_one_works_at_once() {
    const HOUR: i64 = 3_600_000;
    for jump in [HOUR, -HOUR] {
        let mut w = World::new(false, |_| ());
        let home = "198.18.0.5:5060";
        let flow = Flow::udp(addr(US), addr(home));
        w.give(home, &invite(NUMBER, "d1", "", "").replace(CUSTOMER, home));
        let mut challenge = w.to(home);
        for (call, expected) in [("d2", "SIP/2.0 407 "), ("d3", "INVITE ")] {
            let offer = lines(&challenge, "Proxy-Authenticate")[0].to_owned();
            let c = Challenge::parse(offer.as_bytes()).unwrap();
            let ha1 = Ha1::new(c.algorithm, b"pbx", b"warp", b"secret");
            let (uri, mut value) = (format!("sip:{NUMBER}@{US}"), vec![]);
            digest::respond(&c, b"pbx", &ha1, b"INVITE", uri.as_bytes(), b"cn", 1, &mut value);
            let header = format!("Proxy-Authorization: {}\r\n", String::from_utf8(value).unwrap());
            let signed = invite(NUMBER, call, &header, "").replace(CUSTOMER, home);
            let now = shifted(&w, jump);
            w.core.handle_message(flow, signed.as_bytes(), now);
            w.drain();
            let out = w.take().into_iter().map(|(_, t)| t).find(|t| !t.starts_with("SIP/2.0 100 ")).unwrap();
            assert!(out.starts_with(expected), "{jump} {call}: {out}");
            if call == "d2" {
                assert!(out.contains("stale=true"), "{out}");
                challenge = out;
            }
        }
    }
}

#[test]
fn f_time_01_a_record_keeps_its_order_when_the_clock_jumps_back() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    let back = |w: &mut World, from: &str, text: &str| {
        w.ms += 1_000;
        let now = shifted(w, -3_600_000);
        w.core.handle_message(Flow::udp(addr(US), addr(from)), text.as_bytes(), now);
        w.drain();
    };
    back(&mut w, V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    back(&mut w, V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    let ok = w.take().into_iter().map(|(_, t)| t).find(|t| t.starts_with("SIP/2.0 200 ")).unwrap();
    back(&mut w, CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    let r = &w.ended[0];
    let ms = |t: Wall| (t.0 - r.setup_at.0) / 1_000;
    assert_eq!(r.setup_at, at(10).wall);
    let times = (ms(r.progress_at.unwrap()), ms(r.answer_at.unwrap()), ms(r.end_at), ms(r.legs[0].end_at));
    assert_eq!((times, r.duration_ms), ((1_000, 2_000, 3_000, 3_000), 1_000));
}

#[test]
fn t_sip_16_embedded_headers_are_never_headers() {
    let mut w = World::new(false, |_| ());
    let evil = "?Route=%3Csip:203.0.113.66%3E&Replaces=x%3Bto-tag%3Da&P-Asserted-Identity=%3Ctel:+1900%3E";
    // In a Request-URI they are refused; in Contact they stay where they are.
    let text = invite(NUMBER, "c1", "", "");
    w.give(CUSTOMER, &text.replace(&format!("@{US} SIP"), &format!("@{US}{evil} SIP")));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 400 "));
    let contact = format!("Contact: <sip:a@{CUSTOMER}{evil}>");
    let text = invite(NUMBER, "c2", "", "").replace(&format!("Contact: <sip:a@{CUSTOMER}>"), &contact);
    w.give(CUSTOMER, &text);
    let at_v = w.to(V1);
    assert_eq!(lines(&at_v, "Contact"), [contact.strip_prefix("Contact: ").unwrap()]);
    for name in ["Route", "Replaces", "P-Asserted-Identity"] {
        assert!(lines(&at_v, name).is_empty(), "{name}");
    }
    // The callee's, with escapes that would end a line: our own requests to it carry the URI, and no line more.
    let odd = reply(&at_v, "200 OK", "bt", V1, "", "")
        .replace(&format!("<sip:b@{V1}>"), &format!("<sip:b%0D%0AX-Evil:1@{V1}?X-Evil=1%0D%0AY:%202>"));
    w.give(V1, &odd);
    w.take();
    w.command(Command::Drain { end_calls: true });
    let bye = w.take().into_iter().find(|(to, t)| *to == addr(V1) && t.starts_with("BYE ")).unwrap().1;
    assert!(lines(&bye, "X-Evil").is_empty() && lines(&bye, "Y").is_empty(), "{bye}");
    assert!(warp_sip::message::Message::parse(bye.as_bytes()).is_ok(), "{bye}");
}

#[test]
fn t_sip_19_texts_of_strangers_are_tamed_in_records() {
    let mut w = World::new(false, |_| ());
    let long = "x".repeat(400);
    // What RFC 3261 lets through: quoted pairs of control characters, escapes in the user part.
    let display = format!("\"\\\u{1b}[31m\\\u{7}\\\"';DROP {long}\"");
    let text = invite(NUMBER, "c1", "", "")
        .replace("From: <sip:+14155550100@", &format!("From: {display} <sip:%0D%0Aevil%1B%5B2J{long}@"));
    w.give(CUSTOMER, &text.replace("Call-ID: c1", &format!("Call-ID: c1{long}")));
    let first = w.take().remove(0).1;
    assert!(first.starts_with("SIP/2.0 100 "), "{first}");
    w.wait(700_000);
    let r = &w.ended[0];
    for text in [&r.caller, &r.called, &r.sip_call_id] {
        assert!(text.len() <= 256 && !text.chars().any(char::is_control), "{text:?}");
    }
    let json = serde_json::to_string(r).unwrap();
    assert!(!json.chars().any(char::is_control), "one record is one line");
    assert!(r.decision.as_ref().unwrap().get().len() < 8_192);
}
