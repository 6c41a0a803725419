//! Where a dialog's requests go, what a CANCEL says, what a redirection becomes, and what a connection that closes costs.

use warp_policy::directory::DirectoryBuilder;
use warp_sip::flow::{Flow, LinkId, Transport as Hop};

use super::tests_static::{addr, at, line};
use super::tests_world::*;
use super::types::{Command, Listener};

const INSIDE_US: &str = "10.0.0.1:5060";
const PBX: &str = "10.1.0.10:5060";
const SBC: &str = "10.2.0.1:5060";

/// A carrier's inside: we, a customer's PBX and a vendor's SBC on private addresses.
fn inside_world() -> World {
    fn private(d: &mut DirectoryBuilder) {
        d.trunks[0].acl = vec!["10.1.0.0/24".parse().unwrap(), "10.1.9.9".parse().unwrap()];
        d.vendor_trunks[0].addresses = vec![addr(SBC)];
        d.vendor_trunks[0].signalling_ips = vec!["10.2.0.7".parse().unwrap(), "169.254.1.1".parse().unwrap()];
    }
    let mut w = World::with(false, private, |c| c.listeners[0].bind = addr(INSIDE_US));
    w.us = addr(INSIDE_US);
    w
}

/// An answered call of the inside world, whose parties name `a` and `b` in their Contacts; the vendor also record-routes by `rr`.
fn inside_call(w: &mut World, a: &str, b: &str, rr: &str) -> (String, String) {
    let first = invite(NUMBER, "p1", "", "").replace(CUSTOMER, PBX).replace(US, INSIDE_US);
    let first = first.replace(&format!("Contact: <sip:a@{PBX}>"), &format!("Contact: <sip:a@{a}>"));
    w.give(PBX, &first);
    let at_v = w.to(SBC);
    let ours = format!("Record-Route: {}", line(&at_v, "Record-Route"));
    let theirs = if rr.is_empty() { ours.clone() } else { format!("Record-Route: <sip:{rr};lr>\r\n{ours}") };
    w.give(SBC, &reply(&at_v, "200 OK", "bt", b, "", "").replace(&ours, &theirs));
    let ok = w.to(PBX);
    assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
    (ok, at_v)
}

/// Where an ACK and a BYE of the caller go, and the BYE that we send him.
fn targets(w: &mut World, ok: &str) -> [String; 3] {
    let sent = |w: &mut World, method: &str| {
        w.take()
            .into_iter()
            .find(|(_, t)| t.starts_with(method))
            .map_or("nowhere".to_owned(), |(to, _)| to.to_string())
    };
    let mut out = Vec::new();
    for method in ["ACK", "INFO"] {
        w.give(PBX, &inside(method, ok, true, method, "", "").replace(CUSTOMER, PBX));
        out.push(sent(w, method));
    }
    w.wait(61_000);
    w.take();
    w.give(SBC, &inside("BYE", ok, false, "bye", "", "").replace(V1, SBC));
    out.push(sent(w, "BYE"));
    one_record(w, 1, 61, 11_000_000, 1_100_000);
    out.try_into().unwrap()
}

/// drachtio-server#100, RFC 3261 §12.2.1.1 and §16.12: a private peer's Contact and Record-Route lead where they say, as far as the
/// trunk vouches for it, and nowhere else (T-SIP-05).
#[test]
fn t_sip_05_a_private_peer_is_believed_within_its_own_addresses() {
    for (a, b, rr, expected) in [
        // Another port, and another node of each, that their trunks list.
        ("10.1.0.10:5070", "10.2.0.1:5080", "", ["10.2.0.1:5080", "10.2.0.1:5080", "10.1.0.10:5070"]),
        ("10.1.0.77:5060", "10.2.0.7:5090", "", ["10.2.0.7:5090", "10.2.0.7:5090", "10.1.0.77:5060"]),
        (
            "10.1.9.9:5060",
            "10.99.0.1:5060",
            "10.2.0.7:5062",
            ["10.2.0.7:5062", "10.2.0.7:5062", "10.1.9.9:5060"],
        ),
        // Nobody vouches for these: where they spoke from.
        ("10.3.0.1:5060", "10.3.0.2:5060", "", [SBC, SBC, PBX]),
        ("10.2.0.7:5060", "10.1.0.10:5060", "", [SBC, SBC, PBX]),
        ("127.0.0.1:5060", "127.0.0.1:5060", "10.3.0.3:5060", [SBC, SBC, PBX]),
        // We ourselves, a link that ends at the next router, and addresses that name no host.
        (INSIDE_US, INSIDE_US, "", [SBC, SBC, PBX]),
        ("169.254.1.1:5060", "169.254.1.1:5060", "", [SBC, SBC, PBX]),
        ("0.0.0.0:5060", "224.0.0.1:5060", "", [SBC, SBC, PBX]),
    ] {
        let mut w = inside_world();
        let (ok, _) = inside_call(&mut w, a, b, rr);
        assert_eq!(targets(&mut w, &ok), expected.map(str::to_owned), "{a} {b} {rr}");
    }
    // A peer on a public address whose Contact is private is behind a NAT: where it spoke from, whatever the trunk lists.
    let mut w = World::new(false, |d| {
        d.vendor_trunks[0].signalling_ips = vec!["10.2.0.7".parse().unwrap()];
        d.trunks[0].acl.push("10.1.0.0/24".parse().unwrap());
    });
    w.give(CUSTOMER, &invite(NUMBER, "n1", "", "").replace("sip:a@192.0.2.10", "sip:a@10.1.0.5"));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", "10.2.0.7", "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    assert!(w.to(V1).starts_with("ACK sip:"));
    w.give(V1, &inside("BYE", &ok, false, "bye", "", ""));
    assert!(w.to(CUSTOMER).starts_with("BYE sip:"));
}

/// T-SIP-05 is about in-dialog requests only: a first INVITE goes where its trunk says. And a stream is opened to listed addresses only.
#[test]
fn t_sip_05_streams_lead_to_listed_private_addresses_only() {
    for (a, reached) in [("10.1.0.77:5062", false), ("10.1.9.9:5062", true)] {
        let mut w = inside_world();
        let mut config = (*w.core.config().clone()).clone();
        config.listeners.push(Listener { transport: Hop::Tcp, bind: addr(INSIDE_US), advertise: None });
        let shared = w.core.tx.shared.clone();
        let snapshot = w.core.tx.snapshot.clone().unwrap();
        w.core = super::Core::new(std::sync::Arc::new(config), 0, [9; 32], shared);
        w.core.handle_snapshot(snapshot, at(0));
        let tcp = Flow { transport: Hop::Tcp, link: LinkId(4), ..Flow::udp(addr(INSIDE_US), addr(PBX)) };
        let first = invite(NUMBER, "p1", "", "")
            .replace(CUSTOMER, PBX)
            .replace(US, INSIDE_US)
            .replace("SIP/2.0/UDP", "SIP/2.0/TCP")
            .replace(&format!("Contact: <sip:a@{PBX}>"), &format!("Contact: <sip:a@{a};transport=tcp>"));
        w.core.handle_message(tcp, first.as_bytes(), at(10));
        w.drain();
        let at_v = w.to(SBC);
        w.give(SBC, &reply(&at_v, "200 OK", "bt", SBC, "", ""));
        let ok = w.to(PBX);
        w.give(SBC, &inside("BYE", &ok, false, "bye", "", "").replace(V1, SBC));
        let (to, _) = w.take().into_iter().find(|(_, t)| t.starts_with("BYE ")).unwrap();
        assert_eq!(to.to_string() == a, reached, "{a}: {to}");
    }
}

/// In-dialog requests of another node of the vendor are its own when the trunk lists it, and a stranger's when not (T-SIP-11).
#[test]
fn t_sip_11_another_node_of_a_vendor_may_speak_when_it_is_listed() {
    for (node, believed) in [("203.0.113.77:5060", true), ("203.0.113.78:5060", false)] {
        let mut w =
            World::new(false, |d| d.vendor_trunks[0].signalling_ips = vec!["203.0.113.77".parse().unwrap()]);
        let (ok, _) = answered(&mut w, "");
        w.wait(61_000);
        w.take();
        w.give(node, &inside("BYE", &ok, false, "bye", "", ""));
        assert_eq!(w.ended.len(), usize::from(believed), "{node}");
        assert_eq!(w.take().iter().any(|(_, t)| t.starts_with("SIP/2.0 481 ")), !believed);
        if believed {
            one_record(&w, 1, 61, 11_000_000, 1_100_000);
        }
    }
}

/// RFC 3326 §2: why the caller hung up reaches the vendor (`SIP;cause=200` keeps a missed call off its display).
#[test]
fn a_cancel_says_why_to_the_vendor() {
    const WHY: &str = "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\nReason: Q.850;cause=26\r\n";
    for early in [false, true] {
        let mut w = World::new(false, |_| ());
        let first = invite(NUMBER, "c1", "", "");
        w.give(CUSTOMER, &first);
        let at_v = w.to(V1);
        let ringing = reply(&at_v, "180 Ringing", "bt", V1, "", "");
        if !early {
            w.give(V1, &ringing);
            w.take();
        }
        let cancel =
            first.replace("INVITE", "CANCEL").replace("Content-Length", &format!("{WHY}Content-Length"));
        w.give(CUSTOMER, &cancel);
        if early {
            // Nothing was heard of the vendor yet: the CANCEL waits for its first 1xx.
            w.take();
            w.give(V1, &ringing);
        }
        let sent =
            w.take().into_iter().find(|(to, t)| *to == addr(V1) && t.starts_with("CANCEL ")).unwrap().1;
        assert!(sent.contains(WHY), "{sent}");
    }
    // Without a reason there is none, and one of megabytes is none either.
    let mut w = World::new(false, |_| ());
    let first = invite(NUMBER, "c2", "", "");
    w.give(CUSTOMER, &first);
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    w.take();
    let long = format!("Reason: x;text=\"{}\"\r\nContent-Length", "y".repeat(2_000));
    w.give(CUSTOMER, &first.replace("INVITE", "CANCEL").replace("Content-Length", &long));
    let sent = w.take().into_iter().find(|(_, t)| t.starts_with("CANCEL ")).unwrap().1;
    assert!(!sent.contains("Reason"), "{sent}");
}

/// OpenSIPS#656, libresbc#118: a redirection of a vendor is the next vendor's turn, and its Contacts are nobody's business.
#[test]
fn a_vendors_redirection_never_reaches_the_customer() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let mut at_v = w.to(V1);
    let secret = "Contact: <sip:r@198.18.7.7>\r\nContact: <sip:s@198.18.7.8>\r\n";
    for (vendor, next) in [(V1, V2), (V2, V3)] {
        w.give(vendor, &reply(&at_v, "302 Moved Temporarily", "x", vendor, secret, ""));
        let out = w.take();
        assert!(out.iter().all(|(to, _)| [V1, V2, V3].iter().any(|v| addr(v) == *to)), "{out:#?}");
        at_v = out.into_iter().find(|(to, t)| *to == addr(next) && t.starts_with("INVITE ")).unwrap().1;
    }
    w.give(V3, &reply(&at_v, "301 Moved Permanently", "x", V3, secret, ""));
    let all = w.take();
    let last = &all.iter().find(|(to, _)| *to == addr(CUSTOMER)).unwrap().1;
    assert!(
        last.starts_with("SIP/2.0 503 ") && !last.contains("198.18") && !last.contains("Contact"),
        "{last}"
    );
    assert_eq!(w.ended.len(), 1);
    assert!(w.ended[0].legs.iter().all(|l| (301..=302).contains(&l.sip_code)));
    assert!(w.answered.is_empty() && w.ended[0].rating.is_none() && w.ended[0].duration_ms == 0);

    // The next vendor answers: its call, at its price.
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "302 Moved Temporarily", "x", V1, secret, ""));
    let at_v = w.take().into_iter().find(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")).unwrap().1;
    w.give(V2, &reply(&at_v, "200 OK", "bt", V2, "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    hangs_up(&mut w, &ok, 2, 2);
}

/// A closed connection costs what it carried: the index gives those calls and transactions, and is empty when they are gone.
#[test]
fn a_closed_connection_finds_what_it_carried_and_nothing_else() {
    let mut w = World::new(false, |_| ());
    let mut config = (*w.core.config().clone()).clone();
    config.listeners.push(Listener { transport: Hop::Tcp, bind: addr(US), advertise: None });
    let shared = w.core.tx.shared.clone();
    let snapshot = w.core.tx.snapshot.clone().unwrap();
    w.core = super::Core::new(std::sync::Arc::new(config), 0, [9; 32], shared);
    w.core.handle_snapshot(snapshot, at(0));
    // Many calls by datagrams, three by one connection and two by another of the same address.
    for n in 0..50 {
        w.give(CUSTOMER, &invite(NUMBER, &format!("u{n}"), "", ""));
    }
    let flow = |link| Flow { transport: Hop::Tcp, link: LinkId(link), ..Flow::udp(addr(US), addr(CUSTOMER)) };
    for n in 0..5_u64 {
        let text = invite(NUMBER, &format!("t{n}"), "", "").replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        w.core.handle_message(flow(if n < 3 { 7 } else { 8 }), text.as_bytes(), at(w.ms + n));
    }
    w.drain();
    let of = |w: &World, link| w.core.calls.by_link.get(&LinkId(link)).map_or(0, |c| c.len());
    assert_eq!([of(&w, 7), of(&w, 8)], [3, 2]);
    assert_eq!(w.core.tx.table.answered_over(LinkId(7)).len(), 3);
    assert_eq!(w.core.tx.table.gone_to(Hop::Udp, addr(V1)).len(), 55);
    assert!(w.core.tx.table.gone_to(Hop::Tcp, addr(V1)).is_empty(), "another transport is another way");
    assert_eq!(w.core.live_calls(), 55);
    w.core.handle_flow_error(flow(7), at(w.ms + 10));
    w.drain();
    assert_eq!([of(&w, 7), of(&w, 8)], [0, 2]);
    // They are over in time, and no index holds on to them.
    w.wait(700_000);
    assert_eq!((w.core.live_calls(), w.core.transactions()), (0, (0, 0)));
    assert!(w.core.calls.by_link.is_empty() && w.core.tx.table.is_unindexed());
}

/// A vendor whose 200 was lost and that hangs up at once: nobody pays for a call that the caller never had, and nobody is left in it.
#[test]
fn a_bye_of_a_callee_whose_200_was_lost_ends_the_call_unanswered() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    let ringing = w.to(CUSTOMER);
    w.give(V1, &inside("BYE", &ringing, false, "bye", "", ""));
    let out = w.take();
    assert!(out.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("SIP/2.0 200 ")), "{out:#?}");
    assert!(out.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 480 ")), "{out:#?}");
    assert!(!out.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("BYE ")), "no dialog of his");
    // The 200 comes after all.
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    let out = w.take();
    for method in ["ACK ", "BYE "] {
        assert!(out.iter().any(|(to, t)| *to == addr(V1) && t.starts_with(method)), "{out:#?}");
    }
    assert_eq!((w.answered.len(), w.ended.len()), (0, 1));
    w.nothing_is_left();
}

/// Where its trunk allows it a redirection is followed: to an own address of the vendor, once, and with the number that was priced.
#[test]
fn a_redirection_is_followed_to_the_vendors_own_addresses_where_its_trunk_allows_it() {
    fn follows(d: &mut DirectoryBuilder) {
        d.vendor_trunks[0].follow_redirects = true;
        d.vendor_trunks[0].signalling_ips = vec!["203.0.113.50".parse().unwrap()];
    }
    const NODE: &str = "203.0.113.50:5070";
    let contact = |uri: &str| format!("Contact: <sip:{uri}>\r\n");
    for (uris, next) in [
        (vec![NODE], NODE),
        (vec!["+14155550123@203.0.113.50:5070"], NODE),
        (vec!["198.18.7.7", "203.0.113.50:5070"], NODE),
        // Somebody else's address, another number, another transport, and where it came from.
        (vec!["198.18.7.7"], V2),
        (vec!["+14155550999@203.0.113.50:5070"], V2),
        (vec!["203.0.113.50:5070;transport=tcp"], V2),
        (vec![V1], V2),
        (vec![], V2),
    ] {
        let mut w = World::new(false, follows);
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let at_v = w.to(V1);
        let moved = reply(&at_v, "302 Moved Temporarily", "x", V1, "", "")
            .replace(&contact(&format!("b@{V1}")), &uris.iter().map(|u| contact(u)).collect::<String>());
        w.give(V1, &moved);
        let out = w.take();
        assert!(out.iter().all(|(to, _)| *to != addr(CUSTOMER)), "{out:#?}");
        let (to, there) = out.into_iter().find(|(_, t)| t.starts_with("INVITE ")).unwrap();
        assert_eq!(to, addr(next), "{uris:?}");
        if next == NODE {
            assert!(there.starts_with(&format!("INVITE sip:{NUMBER}@{NODE} ")), "{there}");
            assert_eq!(line(&there, "CSeq"), "2 INVITE", "not the number of the one that was redirected");
            // It sends us in a circle: the next vendor.
            let back = reply(&there, "302 Moved Temporarily", "y", V1, "", "");
            w.give(NODE, &back);
            let out = w.take();
            assert!(out.iter().any(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")), "{out:#?}");
        }
    }
}

/// RFC 3261 §12.2: a re-INVITE or UPDATE may move either side. What comes after goes to the new target, with a number above all that the
/// dialog has used, also where we end the call.
#[test]
fn a_reinvite_moves_the_target_and_numbers_rise_on() {
    let target = |who: &str| format!("Contact: <sip:moved@{who}>\r\n");
    for method in ["INVITE", "UPDATE"] {
        let mut w = World::new(false, |_| ());
        let (ok, _) = answered(&mut w, "");
        let (from_caller, from_callee) = ("192.0.2.11:5070", "203.0.113.1:5080");
        // The caller asks at CSeq 2 and moves; the callee moves in its 200.
        w.give(CUSTOMER, &inside(method, &ok, true, "re1", &target(from_caller), ""));
        let at_v = w.to(V1);
        let moved = reply(&at_v, "200 OK", "", V1, "", "")
            .replace(&format!("Contact: <sip:b@{V1}>\r\n"), &target(from_callee));
        w.give(V1, &moved);
        assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
        if method == "INVITE" {
            let ack = inside("ACK", &ok, true, "ack2", "", "").replace("1 ACK", "2 ACK");
            w.give(CUSTOMER, &ack);
            assert!(w.to(from_callee).starts_with("ACK "), "the ACK of the re-INVITE");
        }
        // One that is refused is counted all the same.
        w.give(
            V1,
            &inside(method, &ok, false, "re2", "", "")
                .replace(&format!("2 {method}"), &format!("7 {method}")),
        );
        let at_c = w.to(from_caller);
        w.give(from_caller, &reply(&at_c, "488 Not Acceptable Here", "", from_caller, "", ""));
        w.take();
        // An odd number of the caller's, far ahead.
        w.give(CUSTOMER, &inside("INFO", &ok, true, "info", "", "").replace("2 INFO", "40 INFO"));
        let info = w.to(from_callee);
        w.give(from_callee, &reply(&info, "200 OK", "", from_callee, "", ""));
        w.take();
        let cdr_id = w.answered[0].cdr_id;
        w.command(Command::EndCall { cdr_id, reason: "operator" });
        let out = w.take();
        let bye = |who: &str| {
            let found = out.iter().find(|(to, t)| *to == addr(who) && t.starts_with("BYE "));
            found.unwrap_or_else(|| panic!("{method}: no BYE to {who}: {out:#?}")).1.clone()
        };
        let (callee, caller) = (bye(from_callee), bye(from_caller));
        assert!(callee.starts_with(&format!("BYE sip:moved@{from_callee} ")), "{callee}");
        assert!(caller.starts_with(&format!("BYE sip:moved@{from_caller} ")), "{caller}");
        assert_eq!((line(&callee, "CSeq"), line(&caller, "CSeq")), ("41 BYE", "8 BYE"), "{method}");
    }
}
