//! RFC 4475 and RFC 5118: every message against the verdict in `testdata/torture.md` (T-SIP-01, T-SIP-02), and what the RFCs say about the
//! meaning of the valid ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use warp_sip::edit::Edit;
use warp_sip::header::Header;
use warp_sip::message::{self, Kind, Message, Method, ResponseDraft};
use warp_sip::uri::{Scheme, Uri};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.sip"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// File, section and verdict of each row.
fn rows() -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(folder().join("torture.md")).unwrap();
    text.lines()
        .filter(|l| l.starts_with("| rfc"))
        .map(|l| {
            let cells: Vec<&str> = l.split('|').map(str::trim).collect();
            (cells[1].into(), cells[2].into(), cells[3].into())
        })
        .collect()
}

/// What a proxy that knows no extension does with a datagram.
fn verdict(bytes: &[u8]) -> String {
    let msg = match Message::parse(bytes) {
        Ok(msg) => msg,
        Err(e) => return e.status.map_or("drop".into(), |s| s.to_string()),
    };
    match message::check(&msg).and_then(|()| message::check_proxy(&msg, &[])) {
        Ok(()) => "accept".into(),
        Err(_) if !msg.is_request() => "drop".into(),
        Err(reject) => reject.status.to_string(),
    }
}

#[test]
fn t_sip_01_t_sip_02_every_message_gets_its_verdict() {
    let rows = rows();
    assert_eq!(rows.len(), 61);
    let mut wrong = Vec::new();
    for (name, section, expected) in &rows {
        let got = verdict(&bytes(name));
        if got != *expected {
            wrong.push(format!(
                "{name} ({section}): {got}, not {expected}: {:?}",
                Message::parse(&bytes(name)).err()
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_names_every_file() {
    let named: BTreeSet<String> = rows().into_iter().map(|r| r.0).collect();
    let mut there = BTreeSet::new();
    for rfc in ["rfc4475", "rfc5118"] {
        for entry in std::fs::read_dir(folder().join(rfc)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            there.insert(format!("{rfc}/{}", name.strip_suffix(".sip").unwrap()));
        }
    }
    assert_eq!(named, there);
}

#[test]
fn t_sip_01_valid_messages_are_forwarded_byte_for_byte() {
    for (name, ..) in rows().iter().filter(|r| r.2 == "accept") {
        let bytes = bytes(name);
        let msg = Message::parse(&bytes).unwrap();
        let mut out = Vec::new();
        Edit::new(&msg).write_to(&mut out).unwrap();
        if name.ends_with("dblreq") {
            assert!(bytes.starts_with(&out) && out.len() < bytes.len());
        } else {
            assert_eq!(out, bytes, "{name}");
        }
        assert_eq!(msg.bytes(), &out[..], "{name}");
    }
}

#[test]
fn t_sip_01_refused_requests_are_answered_from_what_can_be_read() {
    for (name, _, verdict) in rows().iter().filter(|r| r.2.parse::<u16>().is_ok()) {
        let bytes = bytes(name);
        let mut out = Vec::new();
        match Message::parse(&bytes) {
            Err(e) => assert!(ResponseDraft::new(0).broken(&bytes, &e, &mut out), "{name}"),
            Ok(msg) => message::respond(&msg, verdict.parse().unwrap(), "", Some(b"t"), &[], &mut out),
        }
        assert!(out.starts_with(format!("SIP/2.0 {verdict} ").as_bytes()), "{name}");
        let text = String::from_utf8_lossy(&out);
        assert!(
            text.contains("\r\nVia: SIP") && text.ends_with("Content-Length: 0\r\n\r\n"),
            "{name}: {text}"
        );
    }
}

#[test]
fn rfc4475_3_1_1_1_wsinv_is_understood() {
    let bytes = bytes("rfc4475/wsinv");
    let m = Message::parse(&bytes).unwrap();
    assert_eq!(m.cseq(), (9, Method::Invite));
    assert_eq!(m.max_forwards(), Some(68));
    assert_eq!(m.to_tag(), Some(&b"1918181833n"[..]));
    assert_eq!(m.from_tag(), Some(&b"98asjd8"[..]));
    assert_eq!(m.from().display_text(), "J Rosenberg \\\"");
    let vias: Vec<_> = m.vias().collect();
    assert_eq!(vias.len(), 3);
    assert_eq!(vias[0].host, b"192.0.2.2");
    assert_eq!(vias[1].branch, Some(&b"z9hG4bK9ikj8"[..]));
    assert_eq!((vias[1].host, vias[2].host), (&b"spindle.example.com"[..], &b"192.168.255.111"[..]));
    assert_eq!(vias[2].branch, Some(&b"z9hG4bK30239"[..]));
    assert_eq!(m.routes().next().unwrap().uri().unwrap().host, b"services.example.com");
    assert_eq!(m.header(Header::Subject), Some(&b""[..]));
    let contact = m.contacts().next().unwrap();
    assert_eq!(contact.params.value(b"newparam"), Some(&b"newvalue"[..]));
    assert_eq!(contact.params.value(b"Q"), Some(&b"0.33"[..]));
    assert_eq!(m.sdp().map(<[u8]>::len), Some(150));
}

#[test]
fn rfc4475_3_1_1_escapes_stay_where_they_mean_something() {
    let data = bytes("rfc4475/esc01");
    let m = Message::parse(&data).unwrap();
    let uri = Uri::parse(m.request_uri().unwrap()).unwrap();
    assert_eq!(uri.user_unescaped(&mut [0; 64]), Some(&b"sips:user@example.com"[..]));
    assert_eq!(uri.host, b"example.net");
    let data = bytes("rfc4475/escnull");
    let m = Message::parse(&data).unwrap();
    let contacts: Vec<_> = m.contacts().map(|c| c.uri().unwrap()).collect();
    assert!(!contacts[0].is_equal(&contacts[1]), "two distinct contacts");
    assert_eq!(contacts[1].user_unescaped(&mut [0; 8]), Some(&b"\0\0"[..]));
    let data = bytes("rfc4475/esc02");
    let m = Message::parse(&data).unwrap();
    assert_eq!((m.method(), m.method_text()), (Method::Other, &b"RE%47IST%45R"[..]));
    assert_eq!(m.contacts().count(), 2);
    let data = bytes("rfc4475/intmeth");
    let m = Message::parse(&data).unwrap();
    assert_eq!(m.method_text(), b"!interesting-Method0123456789_*+`.%indeed'~");
    assert_eq!(m.from_tag(), Some(&b"_token~1'+`*%!-."[..]));
    assert_eq!(m.to().display, b"\"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f\"");
    let data = bytes("rfc4475/semiuri");
    let m = Message::parse(&data).unwrap();
    assert_eq!(Uri::parse(m.request_uri().unwrap()).unwrap().host, b"example.com");
}

#[test]
fn rfc4475_3_1_1_11_mpart01_keeps_every_byte_of_its_signature() {
    let data = bytes("rfc4475/mpart01");
    let m = Message::parse(&data).unwrap();
    assert_eq!(m.body().len(), 553);
    let at = m.body().len() - b"\r\n--7a9cbec02ceef655--\r\n".len() - 342;
    let signature = &m.body()[at..at + 342];
    // A DER sequence says its own length: 0x0152 and the four bytes of its head.
    assert_eq!(&signature[..4], &[0x30, 0x82, 0x01, 0x52]);
    assert!(signature.ends_with(&[0xbc, 0x99, 0xd0, 0x05]));
}

#[test]
fn rfc4475_3_1_1_others() {
    let data = bytes("rfc4475/longreq");
    let m = Message::parse(&data).unwrap();
    assert_eq!(m.vias().count(), 34);
    assert_eq!(m.top_via().host, b"sip33.example.com");
    let data = bytes("rfc4475/dblreq");
    let m = Message::parse(&data).unwrap();
    assert_eq!((m.method(), m.body()), (Method::Register, &b""[..]));
    let data = bytes("rfc4475/transports");
    let m = Message::parse(&data).unwrap();
    assert_eq!(m.vias().filter(|v| v.transport().is_none()).count(), 2);
    let data = bytes("rfc4475/noreason");
    let m = Message::parse(&data).unwrap();
    assert_eq!(m.kind(), Kind::Response { status: 100, reason: b"" });
    let data = bytes("rfc4475/badbranch");
    let m = Message::parse(&data).unwrap();
    assert_eq!(m.top_via().rfc3261_branch(), None);
    let data = bytes("rfc4475/cparam01");
    let m = Message::parse(&data).unwrap();
    let contact = m.contacts().next().unwrap();
    assert!(contact.params.has(b"unknownparam") && !contact.uri().unwrap().params.has(b"unknownparam"));
    let data = bytes("rfc4475/cparam02");
    let m = Message::parse(&data).unwrap();
    let contact = m.contacts().next().unwrap();
    assert!(!contact.params.has(b"unknownparam") && contact.uri().unwrap().params.has(b"unknownparam"));
    let data = bytes("rfc4475/unksm2");
    let m = Message::parse(&data).unwrap();
    assert_eq!(m.to().uri().unwrap().scheme, Scheme::Other);
    let data = bytes("rfc4475/regescrt");
    let m = Message::parse(&data).unwrap();
    assert_eq!(m.routes().count(), 0, "T-SIP-16: never turned into headers");
}

#[test]
fn rfc5118_4_addresses_mean_what_they_should() {
    let uri_ip = |name: &str| {
        let data = bytes(name);
        let m = Message::parse(&data).unwrap();
        let uri = Uri::parse(m.request_uri().unwrap()).unwrap();
        (uri.ip().unwrap().to_string(), uri.port)
    };
    assert_eq!(uri_ip("rfc5118/ipv6-good"), ("2001:db8::10".into(), None));
    assert_eq!(uri_ip("rfc5118/port-ambiguous"), ("2001:db8::10:5070".into(), None));
    assert_eq!(uri_ip("rfc5118/port-unambiguous"), ("2001:db8::10".into(), Some(5070)));
    assert_eq!(uri_ip("rfc5118/ipv6-bug-abnf-3-colons"), uri_ip("rfc5118/ipv6-correct-abnf-2-colons"));
    for name in ["with", "no"] {
        let data = bytes(&format!("rfc5118/via-received-param-{name}-delim"));
        let m = Message::parse(&data).unwrap();
        assert_eq!(m.top_via().received_ip().unwrap().to_string(), "2001:db8::9:255");
    }
    let data = bytes("rfc5118/ipv4-mapped-ipv6");
    let m = Message::parse(&data).unwrap();
    assert_eq!(m.top_via().ip().unwrap().to_canonical().to_string(), "192.0.2.10");
    assert_eq!(m.top_via().port, Some(19823));
}
