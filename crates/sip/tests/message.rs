//! Reading, editing and answering messages: the normal cases and the rules of T-SIP-03.

use warp_sip::edit::{Edit, NewVia};
use warp_sip::flow::Transport;
use warp_sip::header::Header;
use warp_sip::message::{self, Kind, Message, Method, ResponseDraft};

const INVITE: &str = "INVITE sip:+14155550100@192.0.2.9;user=phone SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKa1, SIP/2.0/TCP host2;branch=z9hG4bKb2\r\n\
v: SIP/2.0/UDP 192.0.2.3;branch=z9hG4bKc3\r\n\
Max-Forwards: 70\r\n\
Route: <sip:192.0.2.9;lr>, <sip:192.0.2.10;lr>\r\n\
Route: <sip:192.0.2.11;lr>\r\n\
From: \"Alice\" <sip:alice@example.com>;tag=f1\r\n\
To: <sip:+14155550100@192.0.2.9>\r\n\
Call-ID: abc@192.0.2.1\r\n\
CSeq: 7 INVITE\r\n\
m: <sip:alice@192.0.2.1:5060>\r\n\
P-Asserted-Identity: <sip:+12125550100@example.com>\r\n\
X-Unknown :  kept  \r\n\
c: application/sdp\r\n\
l: 5\r\n\
\r\n\
v=0\r\n";

fn edited(text: &str, f: impl Fn(&mut Edit<'_, '_>)) -> String {
    let msg = Message::parse(text.as_bytes()).unwrap();
    let mut edit = Edit::new(&msg);
    f(&mut edit);
    let mut out = Vec::new();
    edit.write_to(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_invite_is_read_in_place() {
    let m = Message::parse(INVITE.as_bytes()).unwrap();
    assert_eq!(
        m.kind(),
        Kind::Request { method: Method::Invite, uri: b"sip:+14155550100@192.0.2.9;user=phone" }
    );
    assert_eq!(m.cseq(), (7, Method::Invite));
    assert_eq!(m.call_id(), b"abc@192.0.2.1");
    assert_eq!((m.from_tag(), m.to_tag()), (Some(&b"f1"[..]), None));
    assert_eq!(m.top_via().branch, Some(&b"z9hG4bKa1"[..]));
    assert_eq!(m.vias().count(), 3);
    assert_eq!(m.max_forwards(), Some(70));
    assert_eq!(m.routes().count(), 3);
    assert_eq!(m.contacts().next().unwrap().uri, b"sip:alice@192.0.2.1:5060");
    assert_eq!(m.header_named(b"x-unknown"), Some(&b"kept"[..]));
    assert_eq!(m.sdp(), Some(&b"v=0\r\n"[..]));
    assert_eq!(m.method_text(), b"INVITE");
    message::check(&m).unwrap();
    message::check_proxy(&m, &[]).unwrap();
}

#[test]
fn no_edit_copies_every_byte() {
    assert_eq!(edited(INVITE, |_| ()), INVITE);
}

#[test]
fn a_forwarded_copy_differs_where_it_was_edited_only() {
    let out = edited(INVITE, |e| {
        e.mark_received_rport("198.51.100.7:6000".parse().unwrap())
            .push_via(NewVia {
                transport: Transport::Udp,
                sent_by: b"192.0.2.9:5060",
                branch: b"z9hG4bKnew",
                rport: false,
            })
            .set_max_forwards(69)
            .set_uri(b"sip:x@y")
            .add_record_route(b"<sip:192.0.2.9;lr>")
            .remove_route_top()
            .remove_trust_headers()
            .add_header(b"X-New", b"1");
    });
    let expected = INVITE
        .replace("INVITE sip:+14155550100@192.0.2.9;user=phone SIP", "INVITE sip:x@y SIP")
        .replace(
            "Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKa1,",
            "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKnew\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa1;rport=6000;received=198.51.100.7,",
        )
        .replace("Max-Forwards: 70", "Record-Route: <sip:192.0.2.9;lr>\r\nMax-Forwards: 69")
        .replace("<sip:192.0.2.9;lr>, <sip:192.0.2.10;lr>", "<sip:192.0.2.10;lr>")
        .replace("P-Asserted-Identity: <sip:+12125550100@example.com>\r\n", "")
        .replace("l: 5\r\n", "l: 5\r\nX-New: 1\r\n");
    assert_eq!(out, expected);
}

#[test]
fn values_are_popped_one_by_one() {
    let out = edited(INVITE, |e| {
        e.remove_route_top().remove_route_top().pop_via().pop_via();
    });
    assert!(out.contains("\r\nRoute: <sip:192.0.2.11;lr>\r\nFrom"), "{out}");
    assert_eq!(out.matches("Route:").count(), 1);
    assert!(out.contains("SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.3"), "{out}");
    let out = edited(INVITE, |e| {
        e.pop_via();
    });
    assert!(out.contains("SIP/2.0\r\nVia: SIP/2.0/TCP host2"), "{out}");
    let out = edited(INVITE, |e| {
        e.remove_route_last().add_route_last(b"<sip:a>").push_route(b"<sip:b>");
    });
    assert!(
        out.contains(
            "Route: <sip:b>\r\nRoute: <sip:192.0.2.9;lr>, <sip:192.0.2.10;lr>\r\nRoute: <sip:a>\r\nFrom"
        ),
        "{out}"
    );
    // From both ends, until nothing is left of the line.
    let two = INVITE.replace("Route: <sip:192.0.2.11;lr>\r\n", "");
    let out = edited(&two, |e| {
        e.remove_route_top().remove_route_last();
    });
    assert!(!out.contains("Route"), "{out}");
    Message::parse(out.as_bytes()).unwrap();
    // One is left between them, and one that stands alone.
    let three = INVITE.replace("10;lr>\r\nRoute: <sip:192.0.2.11;lr>", "10;lr>, <sip:192.0.2.11;lr>");
    let out = edited(&three, |e| {
        e.remove_route_top().remove_route_last();
    });
    assert!(out.contains("\r\nRoute: <sip:192.0.2.10;lr>\r\nFrom"), "{out}");
    let out = edited(INVITE, |e| {
        e.remove_route_top().remove_route_last();
    });
    assert!(out.contains("\r\nRoute: <sip:192.0.2.10;lr>\r\nFrom"), "{out}");
}

#[test]
fn bodies_are_replaced_with_their_headers() {
    let out = edited(INVITE, |e| {
        e.replace_body(b"application/sdp", b"v=0\r\no=-\r\n");
    });
    let m = Message::parse(out.as_bytes()).unwrap();
    assert_eq!(m.sdp(), Some(&b"v=0\r\no=-\r\n"[..]));
    assert_eq!(m.lines_of(Header::ContentLength).count(), 1);
    let out = edited(INVITE, |e| {
        e.replace_body(b"", b"");
    });
    let m = Message::parse(out.as_bytes()).unwrap();
    assert_eq!(m.body(), b"");
    assert!(!m.has(Header::ContentType));
}

#[test]
fn responses_copy_what_they_must() {
    let m = Message::parse(INVITE.as_bytes()).unwrap();
    let mut out = Vec::new();
    ResponseDraft {
        to_tag: Some(b"t9"),
        source: Some("198.51.100.7:6000".parse().unwrap()),
        headers: &[("Retry-After", b"5")],
        ..ResponseDraft::new(503)
    }
    .write(&m, &mut out);
    let r = Message::parse(&out).unwrap();
    assert_eq!(r.status(), Some(503));
    assert_eq!(r.to_tag(), Some(&b"t9"[..]));
    assert_eq!(r.cseq(), m.cseq());
    assert_eq!(r.vias().count(), 3);
    assert_eq!(r.top_via().rport, Some(Some(6000)));
    assert_eq!(r.top_via().received_ip(), Some([198, 51, 100, 7].into()));
    assert_eq!(r.number(Header::RetryAfter), Some(5));
    message::check(&r).unwrap();
}

/// A backslash outside of quotes escapes nothing: neither the quote behind it nor a NUL.
#[test]
fn t_sip_03_a_nul_is_escaped_within_quotes_only() {
    for (value, reads) in [
        ("\"a\\\0\"", true),
        ("\\\"a\\\0\"", true),
        ("\"a\\\"\\\0\"", true),
        ("a\\\0", false),
        ("\"a\0\"", false),
        ("\"a\\\\\0\"", false),
        ("\"a\" \\\0", false),
        ("\\\"a\" b\\\0\"", false),
    ] {
        let text = INVITE.replace("X-Unknown :  kept", &format!("X-Unknown: {value}"));
        assert_eq!(Message::parse(text.as_bytes()).is_ok(), reads, "{value:?}");
    }
}

#[test]
fn t_sip_03_smuggling_is_refused_by_the_one_parser() {
    let bad = [
        ("Max-Forwards: 70", "Max-Forwards: 70\r\nMax-Forwards: 71"),
        ("l: 5", "l: 5\r\nContent-Length: 5"),
        ("Call-ID: abc", "Call-ID: abc\rX: y"),
        ("Call-ID: abc", "Call-ID: a\0bc"),
        ("Call-ID: abc", "Call-ID: abc\nX: y"),
        ("X-Unknown : ", "X Unknown: "),
        ("\"Alice\"", "\"Al\0ice\""),
        ("f1\r\n", "f1\r\nf: <sip:eve@example.com>;tag=e\r\n"),
    ];
    for (from, to) in bad {
        let text = INVITE.replacen(from, to, 1);
        assert_ne!(text, INVITE);
        let e = Message::parse(text.as_bytes()).unwrap_err();
        assert_eq!(e.status, Some(400), "{to:?}: {e}");
        // Who sent it is told which of the three it was.
        let said = ["\0", "\rX", "\nX"].iter().position(|sign| to.contains(sign) && !to.contains("\r\n"));
        if let Some(which) = said {
            assert_eq!(
                e.reason,
                ["NUL in header", "bare CR in header", "bare LF in header"][which],
                "{to:?}"
            );
        }
        let mut out = Vec::new();
        assert!(ResponseDraft::new(0).broken(text.as_bytes(), &e, &mut out));
        assert!(out.starts_with(b"SIP/2.0 400 "), "{to:?}");
    }
}

/// RFC 3261 §8.2.7: a stateless answer gives a repeated request the same To tag, and another request another one.
#[test]
fn the_tag_of_an_answer_to_broken_requests_is_that_of_the_request() {
    let tag = |call_id: &str, cseq: u32| {
        let text = INVITE
            .replacen("Max-Forwards: 70", "Max-Forwards: 70\r\nMax-Forwards: 71", 1)
            .replacen("Call-ID: abc", &format!("Call-ID: {call_id}"), 1)
            .replacen("CSeq: 7 ", &format!("CSeq: {cseq} "), 1);
        let e = Message::parse(text.as_bytes()).unwrap_err();
        let mut out = Vec::new();
        assert!(ResponseDraft::new(0).broken(text.as_bytes(), &e, &mut out));
        let out = String::from_utf8(out).unwrap();
        let to = out.lines().find(|l| l.starts_with("To:") || l.starts_with("t:")).unwrap();
        to.rsplit_once("tag=").unwrap().1.to_owned()
    };
    assert_eq!(tag("one", 1), tag("one", 1));
    let tags: std::collections::BTreeSet<String> = (0..64).map(|n| tag(&format!("call{n}"), 1)).collect();
    assert_eq!(tags.len(), 64);
    assert_ne!(tag("one", 1), tag("one", 2));
    // All of its letters tell requests apart, not some.
    for at in 1..16 {
        let letters: std::collections::BTreeSet<u8> = tags.iter().map(|t| t.as_bytes()[at]).collect();
        assert!(letters.len() > 8 && letters.iter().all(|b| (b'a'..=b'p').contains(b)), "{at}: {letters:?}");
    }
    // Not all letters are one number again: neighbours differ.
    assert!(
        tags.iter().all(|t| t.len() == 16 && (2..16).any(|i| t.as_bytes()[i] != t.as_bytes()[1])),
        "{tags:?}"
    );
}

/// RFC 5393 §5.3.3.1 and RFC 3261 §16.3: whom a proxy asks, and whom it does not.
#[test]
fn breadth_and_proxy_require_hold_for_requests_that_open_something() {
    let verdict = |method: &str, line: &str| {
        let text = INVITE
            .replacen("INVITE ", &format!("{method} "), 1)
            .replacen(" INVITE\r\n", &format!(" {method}\r\n"), 1)
            .replacen("Max-Forwards: 70", &format!("Max-Forwards: 70\r\n{line}"), 1);
        let m = Message::parse(text.as_bytes()).unwrap();
        message::check_proxy(&m, &[b"known"]).map_err(|r| r.status).err()
    };
    for method in ["INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "BYE"] {
        assert_eq!(verdict(method, "Max-Breadth: 0"), Some(440), "{method}");
        assert_eq!(verdict(method, "Max-Breadth: x"), Some(400), "{method}");
        assert_eq!(verdict(method, "Proxy-Require: known, foo"), Some(420), "{method}");
    }
    for method in ["ACK", "CANCEL", "REGISTER"] {
        assert_eq!(verdict(method, "Max-Breadth: 0"), None, "{method}");
    }
    for method in ["ACK", "CANCEL"] {
        assert_eq!(verdict(method, "Proxy-Require: foo"), None, "{method}");
    }
    assert_eq!(verdict("REGISTER", "Proxy-Require: foo"), Some(420));
    for line in ["Max-Breadth: 1", "Proxy-Require: known", "Proxy-Require: KNOWN"] {
        assert_eq!(verdict("INVITE", line), None, "{line}");
    }
}

#[test]
fn t_sip_03_trust_headers_go_by_parsed_name() {
    for spelling in [
        "P-ASSERTED-IDENTITY: <sip:a@b>",
        "p-asserted-identity \t: <sip:a@b>",
        "P-Asserted-Identity:\r\n <sip:a@b>",
        "Remote-Party-ID: <sip:a@b>",
        "diversion: <sip:a@b>\r\nDiversion: <sip:c@d>",
        "x-INTERNAL : yes",
        "P-Charge-Info: <sip:a@b>",
        "p-preferred-IDENTITY : <sip:a@b>",
        "History-Info: <sip:a@b>;index=1\r\nhistory-info: <sip:c@d>;index=1.1",
    ] {
        let text = INVITE.replace("P-Asserted-Identity: <sip:+12125550100@example.com>", spelling);
        let out = edited(&text, |e| {
            e.remove_trust_headers();
        });
        assert_eq!(
            out,
            INVITE.replace("P-Asserted-Identity: <sip:+12125550100@example.com>\r\n", ""),
            "{spelling}"
        );
    }
}

#[test]
fn t_sip_03_the_call_id_for_sharding_is_the_parsers() {
    let odd = ["Call-ID: abc", "call-id:abc", "i: abc", "I \t: abc", "Call-ID:\r\n abc", "CALL-ID  :  abc  "];
    for line in odd {
        let text = INVITE.replace("Call-ID: abc@192.0.2.1", line);
        assert_eq!(message::call_id_of(text.as_bytes()), Some(&b"abc"[..]), "{line:?}");
        assert_eq!(Message::parse(text.as_bytes()).unwrap().call_id(), b"abc", "{line:?}");
    }
    let hidden = INVITE
        .replace("X-Unknown :", "X-Unknown: a\r\n Call-ID: evil\r\nX-Other:")
        .replace("Call-ID: abc", "X-Id: abc");
    assert_eq!(message::call_id_of(hidden.as_bytes()), None, "a folded line is no header");
    assert_eq!(message::call_id_of(b"\r\n\r\n"), None);
}

/// Messages are counted by the parser's own reading of them, not by a search of their bytes.
#[test]
fn t_sip_03_the_kind_for_counting_is_the_parsers() {
    let ok = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
              Call-ID: abc\r\nCSeq: 7 BYE\r\nContent-Length: 0\r\n\r\n";
    for line in ["CSeq: 7 BYE", "cseq:7 BYE", "CSEQ \t:7\t BYE", "CSeq:\r\n 7 BYE"] {
        let text = ok.replace("CSeq: 7 BYE", line);
        let msg = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(message::kind_of(text.as_bytes()), Some((msg.status(), Method::Bye)), "{line:?}");
    }
    assert_eq!(message::kind_of(INVITE.as_bytes()), Some((None, Method::Invite)));
    for (text, status) in [
        (ok.replace("CSeq: 7 BYE", "CSeq: \r\n CSeq: 8 INFO"), 200),
        (ok.replace("CSeq: 7 BYE", "X: 1").replace("\r\n\r\n", "\r\n\r\n\nCSeq: 7 BYE\r\n"), 200),
        (ok.replace("CSeq: 7 BYE", "Subject: a\r\n CSeq: 7 BYE"), 200),
        ("SIP/2.0 486 Busy\r\n".to_owned(), 486),
    ] {
        assert_eq!(message::kind_of(text.as_bytes()), Some((Some(status), Method::Other)), "{text}");
    }
    for noise in
        [&b""[..], b"\r\n\r\n", b"\0\xff\r\n", b"SIP/2.0 99 x\r\n", b"SIP/2.0 2000 x\r\n", b"INVITE\r\n"]
    {
        assert_eq!(message::kind_of(noise), None, "{noise:?}");
    }
}

#[test]
fn too_many_edits_write_nothing() {
    let m = Message::parse(INVITE.as_bytes()).unwrap();
    let mut edit = Edit::new(&m);
    for _ in 0..32 {
        edit.add_header(b"X-Y", b"z");
    }
    let mut out = Vec::new();
    edit.write_to(&mut out).unwrap();
    assert_eq!(Message::parse(&out).unwrap().headers().count(), m.headers().count() + 32);
    out.clear();
    assert!(edit.add_header(b"X-Y", b"z").write_to(&mut out).is_err());
    assert!(out.is_empty());
}

#[test]
fn edits_within_removed_lines_go_with_them() {
    let out = edited(INVITE, |e| {
        e.remove_route_top()
            .remove_header(Header::Route)
            .push_route(b"<sip:n;lr>")
            .set_max_forwards(3)
            .remove_header(Header::MaxForwards);
    });
    assert_eq!(out.matches("Route:").count(), 1);
    assert!(out.contains("Route: <sip:n;lr>\r\nFrom"), "{out}");
    assert!(!out.contains("Max-Forwards"), "{out}");
    Message::parse(out.as_bytes()).unwrap();
}

#[test]
fn received_is_written_for_ipv6_and_replaces_what_the_sender_claimed() {
    for (via, expected) in [
        (
            "SIP/2.0/UDP [2001:db8::1];rport;branch=z9hG4bKa1",
            "SIP/2.0/UDP [2001:db8::1];branch=z9hG4bKa1;rport=6000;received=2001:db8::9",
        ),
        ("SIP/2.0/UDP host;branch=z9hG4bKa1", "SIP/2.0/UDP host;branch=z9hG4bKa1;received=2001:db8::9"),
        (
            "SIP/2.0/UDP host;received=192.0.2.66;branch=z9hG4bKa1;rport=1",
            "SIP/2.0/UDP host;branch=z9hG4bKa1;rport=6000;received=2001:db8::9",
        ),
        ("SIP/2.0/UDP [2001:db8::9];branch=z9hG4bKa1", "SIP/2.0/UDP [2001:db8::9];branch=z9hG4bKa1"),
    ] {
        let text = INVITE.replace("SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKa1", via);
        let out = edited(&text, |e| {
            e.mark_received_rport("[2001:db8::9]:6000".parse().unwrap());
        });
        assert_eq!(out, text.replace(via, expected), "{via}");
    }
}

fn request(from: &str, contact: &str) -> String {
    format!(
        "INVITE sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: {from}\r\nTo: <sip:b@192.0.2.2>\r\nCall-ID: n\r\nCSeq: 1 INVITE\r\nContact: {contact}\r\n\r\n"
    )
}

/// What keeps to the grammar is never sloppy, whatever its scheme is, or without one.
#[test]
fn addresses_of_the_grammar_are_not_sloppy() {
    use warp_sip::header::NameAddr;
    for (raw, uri) in [
        ("<sip:a@h>;tag=1", "sip:a@h"),
        ("\"A\" <urn:service:sos>", "urn:service:sos"),
        ("A <alice>", "alice"),
        ("<1:2>;q=1", "1:2"),
        ("sip:a@h;tag=1", "sip:a@h"),
        ("alice", "alice"),
    ] {
        let address = NameAddr::parse_lenient(raw.as_bytes()).unwrap();
        assert_eq!((address.uri, address.sloppy), (uri.as_bytes(), false), "{raw}");
    }
}

/// An edit of a line that is removed goes with the line.
#[test]
fn what_is_removed_is_not_written_elsewhere() {
    let plain = edited(INVITE, |e| {
        e.remove_header(Header::Contact);
    });
    assert!(!plain.contains("\r\nm: "), "{plain}");
    let msg = Message::parse(INVITE.as_bytes()).unwrap();
    let contact = msg.contacts().next().unwrap().uri;
    let mut out = Vec::new();
    Edit::new(&msg)
        .remove_header(Header::Contact)
        .replace_slice(contact, b"sip:other@h")
        .write_to(&mut out)
        .unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), plain);
}

/// RFC 4475 §3.1.2.15 lets a sloppy name be refused or read. Who may be sloppy is the caller's to say; nobody may in headers that route or assert.
#[test]
fn sloppy_names_are_refused_by_check_and_let_pass_by_its_lenient_form() {
    let plain = "<sip:a@192.0.2.1>";
    for name in ["O'Neil (Sales)", "Bond, James", "joe@x", "\"\"Joe\"\"", "\"Joe\" Bloggs"] {
        let sloppy = format!("{name} <sip:a@192.0.2.1>;tag=1");
        let text = request(&sloppy, plain);
        let m = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(
            (m.from().uri, m.from_tag(), m.is_sloppy()),
            (&b"sip:a@192.0.2.1"[..], Some(&b"1"[..]), true)
        );
        assert_eq!(message::check(&m).unwrap_err().status, 400, "{name}");
        message::check_lenient(&m).unwrap();
        // The same in a Contact, where a comma could also be one between two of them.
        let contact = format!("{name} <sip:a@192.0.2.9>");
        let text = request("<sip:a@h>;tag=1", &contact);
        let m = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(message::check(&m).unwrap_err().status, 400, "{name}");
        message::check_lenient(&m).unwrap();
        let uris: Vec<_> = m.contacts().map(|c| c.uri).collect();
        assert_eq!(uris, [&b"sip:a@192.0.2.9"[..]], "{name}");
    }
    let text = request("<sip:a@h>;tag=1", "<sip:1@h>, sip:2@h, \"x, y\" <sip:3@h>");
    let m = Message::parse(text.as_bytes()).unwrap();
    let uris: Vec<_> = m.contacts().map(|c| c.uri).collect();
    assert_eq!(uris, [&b"sip:1@h"[..], b"sip:2@h", b"sip:3@h"]);
    message::check(&m).unwrap();
    for (header, value) in [
        ("Route", "Bond, James <sip:r@h;lr>"),
        ("Record-Route", "O'Neil (Sales) <sip:r@h;lr>"),
        ("Contact", "a, b <sip:1@h>, <sip:2@h>"),
        ("Contact", "(x) <sip:1@h> y"),
    ] {
        let text =
            request("<sip:a@h>;tag=1", plain).replace("\r\n\r\n", &format!("\r\n{header}: {value}\r\n\r\n"));
        let m = Message::parse(text.as_bytes()).unwrap();
        assert!(message::check_lenient(&m).is_err(), "{header}: {value}");
    }
    let text = request("<sip:a@h>;tag=1", plain)
        .replace("\r\n\r\n", "\r\nP-Asserted-Identity: Bond, James <sip:7@h>\r\n\r\n");
    let m = Message::parse(text.as_bytes()).unwrap();
    assert!(m.addresses(Header::PAssertedIdentity).all(|a| a.uri != b"sip:7@h" || !a.sloppy));
}

/// A Contact that a peer chose comes back as the Request-URI of its dialog (RFC 3261 §12.2.1.1): what passes in the one passes in the other.
/// Outside of a dialog it is ours to read, and 400.
#[test]
fn odd_contacts_pass_and_so_do_the_requests_that_they_cause() {
    for odd in [
        "sip:192.0.2.1;thinfo=\"aGk=\"",
        "sip:a@b@192.0.2.1",
        "sip:192.0.2.1;",
        "sip:a|b@192.0.2.1",
        "foo:bar",
    ] {
        let text = request("<sip:a@h>;tag=1", &format!("<{odd}>"));
        message::check(&Message::parse(text.as_bytes()).unwrap()).unwrap();
        let inside = text.replace("INVITE sip:b@192.0.2.2", &format!("INVITE {odd}"));
        let m = Message::parse(inside.as_bytes()).unwrap();
        let refused = message::check(&m).and_then(|()| message::check_proxy(&m, &[])).unwrap_err().status;
        assert_eq!(refused, if odd == "foo:bar" { 416 } else { 400 }, "{odd}");
        let inside = inside.replace("To: <sip:b@192.0.2.2>", "To: <sip:b@192.0.2.2>;tag=2");
        let m = Message::parse(inside.as_bytes()).unwrap();
        message::check(&m).and_then(|()| message::check_proxy(&m, &[])).unwrap();
        assert_eq!(m.request_uri(), Some(odd.as_bytes()));
        // A registrar reads what it is told to bind.
        let register = text.replace("INVITE", "REGISTER");
        let m = Message::parse(register.as_bytes()).unwrap();
        assert_eq!(message::check(&m).is_err(), odd != "foo:bar", "{odd}");
    }
}
