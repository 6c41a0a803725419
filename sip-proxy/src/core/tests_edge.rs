//! What an ACK, a drain, a jump of the clock, and odd contents may and may not do, in a whole core.

use warp_model::{Now, Wall};
use warp_sip::digest::{self, Challenge, Ha1};
use warp_sip::flow::Flow;

use warp_ng::Command as Ng;

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

/// A first INVITE with credentials for the SHA-256 offer of a challenge.
pub(super) fn signed(challenge: &str, password: &[u8], from: &str, call: &str) -> String {
    let offer = lines(challenge, "Proxy-Authenticate")[0];
    let c = Challenge::parse(offer.as_bytes()).unwrap();
    let ha1 = Ha1::new(c.algorithm, b"pbx", b"warp", password);
    let (uri, mut value) = (format!("sip:{NUMBER}@{US}"), vec![]);
    digest::respond(&c, b"pbx", &ha1, b"INVITE", uri.as_bytes(), call.as_bytes(), 1, &mut value);
    let header = format!("Proxy-Authorization: {}\r\n", String::from_utf8(value).unwrap());
    invite(NUMBER, call, &header, "").replace(CUSTOMER, from)
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
            let signed = signed(&challenge, b"secret", home, call);
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

#[test]
fn t_sip_08_an_account_guessed_at_from_everywhere_believes_only_whom_it_knows() {
    let mut w = World::new(false, |_| ());
    let call_from = |w: &mut World, from: &str, password: &[u8], call: &str| {
        w.give(from, &invite(NUMBER, &format!("{call}a"), "", "").replace(CUSTOMER, from));
        let challenge = w.to(from);
        w.give(from, &signed(&challenge, password, from, &format!("{call}b")));
        w.take().into_iter().map(|(_, t)| t).find(|t| !t.starts_with("SIP/2.0 100 ")).unwrap()
    };
    let office = "198.18.0.5:5060";
    assert!(call_from(&mut w, office, b"secret", "first").starts_with("INVITE "));
    for n in 0..30 {
        let out = call_from(&mut w, &format!("198.18.{}.9:5060", n + 1), b"guess", &format!("g{n}"));
        assert!(out.starts_with("SIP/2.0 403 "), "{n}: {out}");
    }
    let (elsewhere, again) = ("198.18.77.7:5060", "198.18.77.8:5060");
    assert!(
        call_from(&mut w, elsewhere, b"secret", "new").starts_with("SIP/2.0 403 "),
        "right, and not believed"
    );
    assert!(call_from(&mut w, office, b"secret", "second").starts_with("INVITE "), "known since before");
    w.wait(301_000);
    w.take();
    assert!(call_from(&mut w, again, b"secret", "late").starts_with("INVITE "));
}

#[test]
fn t_sip_03_a_vendor_vouches_for_nobody_in_its_responses() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    let claims = "p-asserted-identity : <sip:ceo@bank>\r\nRemote-Party-ID: <sip:x@y>\r\nX-Internal: 1\r\nX-Other: kept\r\n";
    let clean = |text: &str| {
        let lower = text.to_lowercase();
        !["asserted", "remote-party", "x-internal"].iter().any(|n| lower.contains(n))
            && text.contains("X-Other: kept")
    };
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, claims, ""));
    assert!(clean(&w.to(CUSTOMER)));
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, claims, ""));
    let ok = w.to(CUSTOMER);
    assert!(clean(&ok));
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re", "", ""));
    let again = w.to(V1);
    w.give(V1, &reply(&again, "200 OK", "", V1, claims, ""));
    assert!(clean(&w.to(CUSTOMER)));
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    let second = w.to(V1);
    w.give(V1, &reply(&second, "486 Busy Here", "bt", V1, claims, ""));
    assert!(clean(&w.take().into_iter().find(|(to, _)| *to == addr(CUSTOMER)).unwrap().1));
}

#[test]
fn t_sip_11_who_copies_the_call_id_of_a_call_in_the_air_touches_nothing_of_it() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.questions();
    // Another address of a customer, the same Call-ID, a tag of its own.
    let other = "192.0.2.11:5060";
    let copied = invite(NUMBER, "c1", "", SDP).replace(CUSTOMER, other).replace("tag=at", "tag=evil");
    w.give(other, &copied.replace("z9hG4bKc1", "z9hG4bKevil"));
    // A call of its own, with a name of its own at the relay: its end is not the other's.
    let his = w.to(V1);
    assert!(his.starts_with("INVITE "));
    let Ng::Offer(offer) = w.questions().remove(0) else { panic!() };
    assert_ne!(offer.call_id, w.answered[0].cdr_id.to_string().into_bytes());
    w.give(V1, &reply(&his, "486 Busy Here", "x", V1, "", ""));
    w.take();
    let forgotten = w.questions();
    assert!(matches!(&forgotten[..], [Ng::Delete(d)] if d.call_id == offer.call_id), "{forgotten:?}");
    assert_eq!(w.core.live_calls(), 1);
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert!(w.to(V1).starts_with("BYE "));
}

#[test]
fn the_best_response_of_all_vendors_reaches_the_caller() {
    let cases = [
        (["488 Not Acceptable Here", "503 No", "500 No"], "488", 79),
        (["503 No", "406 Not Acceptable", "503 No"], "406", 79),
        (["403 Forbidden", "407 Auth", "502 Bad"], "503", 34),
        (["503 No", "503 No", "504 No"], "503", 34),
    ];
    for (n, (statuses, expected, cause)) in cases.into_iter().enumerate() {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
        for (vendor, status) in [V1, V2, V3].into_iter().zip(statuses) {
            let request = w
                .take()
                .into_iter()
                .find(|(to, t)| *to == addr(vendor) && t.starts_with("INVITE "))
                .unwrap()
                .1;
            w.give(vendor, &reply(&request, status, "x", vendor, "", ""));
        }
        let out = w.take().into_iter().find(|(to, _)| *to == addr(CUSTOMER)).unwrap().1;
        assert!(out.starts_with(&format!("SIP/2.0 {expected} ")), "{out}");
        assert!(line(&out, "Reason").starts_with(&format!("Q.850;cause={cause};")), "{out}");
        assert_eq!(w.ended[0].internal_code, "vendors_exhausted");
    }
}

#[test]
fn a_cancel_needs_no_hops() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    w.take();
    let cancel = invite(NUMBER, "c1", "", "")
        .replace("INVITE", "CANCEL")
        .replace("Max-Forwards: 70", "Max-Forwards: 0");
    w.give(CUSTOMER, &cancel);
    let sent = w.take();
    assert!(sent.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 200 ")), "{sent:?}");
    assert!(sent.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("CANCEL ")));
}

#[test]
fn a_call_for_help_by_its_urn_goes_the_emergency_way_whatever_is_full() {
    let mut w = World::with(
        false,
        |d| d.emergency_route = vec![warp_model::VendorTrunkId::from_u128(2)],
        |config| config.calls = 2,
    );
    for n in 0..2 {
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
        w.to(V1);
    }
    // G-2: the table is full, and says so.
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    let full = w.to(CUSTOMER);
    assert!(full.starts_with("SIP/2.0 503 ") && line(&full, "Retry-After") == "10");
    assert_eq!(w.core.stats().table_full, 1);
    w.core.set_overload(super::overload::FULL);
    for (n, urn) in ["urn:service:sos", "URN:service:sos.fire"].into_iter().enumerate() {
        let call = invite("911", &format!("e{n}"), "", "")
            .replace(&format!("INVITE sip:911@{US}"), &format!("INVITE {urn}"));
        w.give(CUSTOMER, &call);
        assert!(
            w.to(V2).starts_with(&format!("INVITE sip:77%23911@{V2} SIP/2.0\r\n")),
            "the vendor's own prefix"
        );
    }
    let sosa =
        invite("911", "e9", "", "").replace(&format!("INVITE sip:911@{US}"), "INVITE urn:service:sosa");
    w.core.set_overload(0);
    w.give(CUSTOMER, &sosa);
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 416 "));
}

/// Credentials by an algorithm that the realm does not offer are as good as none: the right password in MD5 is refused where only SHA-256
/// is offered, and the other way round. Each is accepted where it is offered.
#[test]
fn t_sip_08_credentials_by_an_algorithm_that_is_not_offered_are_refused() {
    const HOME: &str = "198.18.0.5:5060";
    for (offered, other) in [("SHA-256", "MD5"), ("MD5", "SHA-256")] {
        let only: fn(&mut super::types::CoreConfig) = match offered {
            "MD5" => |c| c.realm.sha256 = false,
            _ => |c| c.realm.md5 = false,
        };
        let mut w = World::with(false, |_| (), only);
        w.give(HOME, &invite(NUMBER, "d1", "", "").replace(CUSTOMER, HOME));
        let challenge = w.to(HOME);
        let offers = lines(&challenge, "Proxy-Authenticate");
        assert_eq!(offers.len(), 1);
        assert!(offers[0].contains(&format!("algorithm={offered}")), "{offers:?}");
        let sign = |algorithm: &str, call: &str| {
            let offer = offers[0].replace(offered, algorithm);
            let c = Challenge::parse(offer.as_bytes()).unwrap();
            let ha1 = Ha1::new(c.algorithm, b"pbx", b"warp", b"secret");
            let uri = format!("sip:{NUMBER}@{US}");
            let mut value = vec![];
            digest::respond(&c, b"pbx", &ha1, b"INVITE", uri.as_bytes(), b"cn", 1, &mut value);
            let header = format!("Proxy-Authorization: {}\r\n", String::from_utf8(value).unwrap());
            invite(NUMBER, call, &header, "").replace(CUSTOMER, HOME)
        };
        w.give(HOME, &sign(other, "d2"));
        assert!(w.to(HOME).starts_with("SIP/2.0 403 "), "{other} where {offered} is offered");
        assert_eq!((w.core.live_calls(), w.core.stats().auth_ok), (0, 0));
        w.give(HOME, &sign(offered, "d3"));
        assert!(w.to(V1).starts_with("INVITE "));
        assert_eq!(w.core.stats().auth_ok, 1);
    }
}
