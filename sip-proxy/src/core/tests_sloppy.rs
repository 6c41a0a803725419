//! What peers write by hand: sloppy display names, odd Contacts, pings with a name. Who may, and what becomes of it.

use super::tests_static::{config, core_with, give, invite as static_invite, line, lines, response};
use super::tests_world::*;

/// As PBXs and telephones write them (nksip#20 and the like); all five were 400 once.
const NAMES: [&str; 5] = ["O'Neil (Sales)", "Bond, James", "joe@x", "\"\"Joe\"\"", "\"Joe\" Bloggs"];

fn sloppy(message: &str, name: &str) -> String {
    message.replace("From: <sip:", &format!("From: {name} <sip:"))
}

#[test]
fn a_sloppy_name_of_an_acl_peer_passes_as_it_came() {
    for name in NAMES {
        let mut w = World::new(false, |_| ());
        let contact = format!("Contact: {name} <sip:a@{CUSTOMER}>");
        let first = sloppy(&invite(NUMBER, "c1", "", ""), name)
            .replace(&format!("Contact: <sip:a@{CUSTOMER}>"), &contact);
        w.give(CUSTOMER, &first);
        let at_v = w.to(V1);
        assert_eq!(line(&at_v, "From"), line(&first, "From"), "{name}");
        assert!(at_v.contains(&contact), "{at_v}");
        // The vendor may be as sloppy in its own name.
        let to = format!("To: {name} <sip:");
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", "").replace("To: <sip:", &to));
        let ok = w.to(CUSTOMER);
        assert!(ok.starts_with("SIP/2.0 200 ") && ok.contains(&to), "{ok}");
        w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
        assert!(w.to(V1).starts_with("ACK "), "{name}");
        // Our own BYE names both as they named themselves.
        w.wait(61_000);
        w.take();
        w.give(V1, &inside("BYE", &ok, false, "bye", "", ""));
        let bye = w.to(CUSTOMER);
        assert!(bye.starts_with("BYE ") && bye.contains(&to.replace("To:", "From:")), "{bye}");
        assert_eq!((w.answered.len(), w.ended.len(), w.ended[0].caller.as_str()), (1, 1, "+14155550100"));
        w.give(CUSTOMER, &reply(&bye, "200 OK", "", CUSTOMER, "", ""));
        w.nothing_is_left();
        one_record(&w, 1, 61, 11_000_000, 1_100_000);
    }
}

#[test]
fn a_sloppy_stranger_is_challenged_where_he_may_sign_in_and_refused_elsewhere() {
    let home = "198.18.0.5:5060";
    for name in NAMES {
        let mut w = World::new(false, |_| ());
        w.give(home, &sloppy(&invite(NUMBER, "d1", "", "").replace(CUSTOMER, home), name));
        let challenge = w.to(home);
        assert!(challenge.starts_with("SIP/2.0 407 "), "{challenge}");
        w.give(home, &sloppy(&super::tests_edge::signed(&challenge, b"secret", home, "d2"), name));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
        let ok = w.to(home);
        w.give(home, &inside("ACK", &ok, true, "ack", "", "").replace(CUSTOMER, home));
        assert!(w.to(V1).starts_with("ACK "));
        // Long after we have forgotten that he signed in, his call is still his to end.
        w.wait(1_200_000);
        w.take();
        w.give(home, &inside("BYE", &ok, true, "bye", "", "").replace(CUSTOMER, home));
        assert!(w.to(V1).starts_with("BYE "), "{name}");
        assert_eq!(w.ended.len(), 1);
        // With his last call he is a stranger again. What is not addressed to us, or is no request that he could sign: 400.
        for (from, to) in [(format!("@{US} SIP"), "@192.0.2.77 SIP"), ("INVITE".into(), "OPTIONS")] {
            w.wait(700_000);
            let other = invite(NUMBER, "d3", "", "").replace(CUSTOMER, home).replace(&from, to);
            w.give(home, &sloppy(&other, name));
            let answer = w.to(home);
            assert!(answer.starts_with("SIP/2.0 400 "), "{to}: {answer}");
            w.give(home, &other);
            assert!(!w.to(home).starts_with("SIP/2.0 400 "), "{to}");
        }
    }
}

#[test]
fn the_plain_proxy_is_strict_unless_it_is_told_otherwise() {
    for name in NAMES {
        for (lenient, from, passes) in [
            (false, "192.0.2.5:5060", false),
            (true, "192.0.2.5:5060", true),
            (true, "198.18.0.9:5060", false),
        ] {
            let mut config = config(&["192.0.2.0/24"]);
            config.lenient_names = lenient;
            let mut core = core_with(config);
            let out = give(&mut core, from, &sloppy(&static_invite(), name), 0);
            assert_eq!(out.iter().any(|(_, t)| t.starts_with("INVITE ")), passes, "{name} {lenient} {out:?}");
            assert_eq!(out.iter().any(|(_, t)| t.starts_with("SIP/2.0 400 ")), !passes, "{name} {out:?}");
        }
    }
    // A response to a request that we sent, the same.
    for lenient in [false, true] {
        let mut config = config(&["192.0.2.0/24"]);
        config.lenient_names = lenient;
        let mut core = core_with(config);
        let out = give(&mut core, "192.0.2.5:5060", &static_invite(), 0);
        let (next, sent) = out.iter().find(|(_, t)| t.starts_with("INVITE ")).cloned().unwrap();
        let ringing = response(&sent, "180 Ringing", "192.0.2.9").replace("To: <", "To: O'Neil (x) <");
        assert!(ringing.contains("O'Neil"), "{ringing}");
        let out = give(&mut core, &next.to_string(), &ringing, 10);
        assert_eq!(out.len(), usize::from(lenient), "{out:?}");
    }
}

/// Contacts in a 200 and the ACK and BYE to them (freeswitch#2824, SIP.js#419, #560, #593): the same bytes, whatever they are.
#[test]
fn an_odd_contact_comes_back_as_the_target_of_its_dialog() {
    let odd = [
        "sip:b@203.0.113.1;x;y=1",
        "sip:b;c=d@203.0.113.1",
        "sip:203.0.113.1:5060;thinfo=\"dGhpbmZv=\"",
        "sip:b#c@203.0.113.1",
        "sip:a@b@203.0.113.1",
        "sip:b@203.0.113.1;",
        "sip:b|c@203.0.113.1:5060",
        "sip:b@203.0.113.1;;lr",
    ];
    for contact in odd {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let at_v = w.to(V1);
        let ok = reply(&at_v, "200 OK", "bt", V1, "", "").replace(&format!("sip:b@{V1}"), contact);
        w.give(V1, &ok);
        let ok = w.to(CUSTOMER);
        assert!(ok.contains(&format!("Contact: <{contact}>")), "{ok}");
        for (method, n) in [("ACK", "a"), ("INFO", "i"), ("BYE", "b")] {
            if method == "BYE" {
                w.wait(61_000);
                w.take();
            }
            let request = inside(method, &ok, true, n, "", "").replace(&format!("sip:x@{V1}"), contact);
            w.give(CUSTOMER, &request);
            let there = w.to(V1);
            assert!(there.starts_with(&format!("{method} {contact} SIP/2.0\r\n")), "{there}");
        }
        one_record(&w, 1, 61, 11_000_000, 1_100_000);

        // Through the plain proxy it leads where its host says.
        let mut core = core_with(config(&["192.0.2.0/24"]));
        let out = give(&mut core, "192.0.2.5:5060", &static_invite(), 0);
        let (next, sent) = out.iter().find(|(_, t)| t.starts_with("INVITE ")).cloned().unwrap();
        let ok = response(&sent, "200 OK", contact);
        let out = give(&mut core, &next.to_string(), &ok, 10);
        let ok = out.iter().find(|(_, t)| t.starts_with("SIP/2.0 200 ")).unwrap().1.clone();
        let route: String = lines(&ok, "Record-Route").iter().map(|r| format!("Route: {r}\r\n")).collect();
        for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
            let request = format!(
                "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.5:5060;branch=z9hG4bK{method}\r\nMax-Forwards: 70\r\n\
                 {route}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n",
                line(&ok, "From"),
                line(&ok, "To"),
                line(&ok, "Call-ID"),
            );
            let out = give(&mut core, "192.0.2.5:5060", &request, 20);
            let there = out.iter().find(|(to, _)| to.to_string() == "203.0.113.1:5060");
            assert!(there.is_some_and(|(_, t)| t.starts_with(&format!("{method} {contact} "))), "{out:?}");
        }
    }
}

/// JsSIP#445, sipml5#182: a ping names somebody. RFC 3261 §11.2: the answer is the one that an INVITE would find ready.
#[test]
fn options_with_a_user_part_is_answered_as_options() {
    let mut w = World::new(false, |_| ());
    for user in ["ping@", "", "+14155550123@"] {
        let text = invite("x", &format!("o{}", user.len()), "", "")
            .replace("INVITE", "OPTIONS")
            .replace("sip:x@", &format!("sip:{user}"));
        w.give(CUSTOMER, &text);
        let answer = w.to(CUSTOMER);
        assert!(answer.starts_with("SIP/2.0 200 ") && line(&answer, "Allow").contains("INVITE"), "{answer}");
        w.give(CUSTOMER, &text.replace("Max-Forwards: 70", "Max-Forwards: 0").replace("z9hG4bK", "z9hG4bKz"));
        assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "), "{user}");
    }
    let elsewhere = invite("x", "o9", "", "")
        .replace("INVITE", "OPTIONS")
        .replace("sip:x@198.51.100.1:5060 SIP", "sip:x@h SIP");
    w.give(CUSTOMER, &elsewhere);
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 403 "));
    assert!(w.answered.is_empty() && w.ended.is_empty(), "a ping is no call and has no record");
}
