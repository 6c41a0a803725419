//! Fuzz targets as plain functions (`ref/threats-and-faults` §4): called by seeded tests on every run, and by a fuzzer where there is one.
//!
//! Each takes any bytes and must return: what must hold is asserted. Absent on purpose: anything that production code calls.

use crate::digest::{Challenge, Credentials, Ha1, verify};
use crate::edit::{Edit, NewVia};
use crate::flow::Transport;
use crate::header::{Header, NameAddr, Params, Reason, Via, lex};
use crate::message::{Message, ResponseDraft, call_id_of, check, check_proxy, kind_of};
use crate::session::Session;
use crate::stream::{Frame, Framer};
use crate::uri::Uri;

/// A datagram into the parser: reading everything, copying it, forwarding it, answering it. A message that parsed and is forwarded parses
/// again, and means the same.
pub fn fuzz_sip_parse(data: &[u8]) {
    let msg = match Message::parse(data) {
        Ok(msg) => msg,
        Err(error) => {
            let mut out = Vec::new();
            let answered = ResponseDraft::new(0).broken(data, &error, &mut out);
            assert_eq!(answered, error.status.is_some());
            assert!(!answered || out.starts_with(b"SIP/2.0 "));
            return;
        }
    };
    read_all(&msg);
    assert_eq!(call_id_of(data), Some(msg.call_id()));
    assert_eq!(kind_of(data), Some((msg.status(), msg.method_of_cseq())));
    let _ = check_proxy(&msg, &[]);
    let sound = check(&msg).is_ok();
    let mut same = Vec::new();
    assert!(Edit::new(&msg).write_to(&mut same).is_ok());
    assert_eq!(same, msg.bytes());
    if !msg.is_request() {
        return;
    }
    let mut answer = Vec::new();
    ResponseDraft {
        to_tag: Some(b"t"),
        source: Some(([192, 0, 2, 1], 5060).into()),
        ..ResponseDraft::new(486)
    }
    .write(&msg, &mut answer);
    let parsed = Message::parse(&answer);
    assert!(parsed.is_ok_and(|r| r.cseq() == msg.cseq() && r.status() == Some(486)));
    if sound {
        forward(&msg);
    }
}

fn read_all(msg: &Message<'_>) {
    for line in msg.headers() {
        assert!(!line.name.is_empty());
        assert!(line.header == Header::Other || Header::from_name(line.name) == line.header);
    }
    for header in Header::ALL {
        let lines = msg.lines_of(*header).count();
        assert_eq!(lines > 0, msg.has(*header));
        assert!(lines <= 1 || !header.is_single());
        let _ = msg.values(*header).count();
        let _ = msg.number(*header);
        for address in msg.addresses(*header) {
            let _ = (address.uri(), address.tag(), address.display_text());
        }
    }
    let _ = (msg.vias().count(), msg.sdp(), msg.method_text(), msg.header_named(b"x"));
    assert!(msg.body().len() <= msg.bytes().len());
}

/// What a proxy does to a request, and what must be left of it.
fn forward(msg: &Message<'_>) {
    let (vias, routes) = (msg.vias().count(), msg.routes().count());
    let mut out = Vec::new();
    let mut edit = Edit::new(msg);
    edit.mark_received_rport(([198, 51, 100, 1], 5099).into())
        .push_via(NewVia {
            transport: Transport::Udp,
            sent_by: b"192.0.2.1:5060",
            branch: b"z9hG4bKfuzz",
            rport: false,
        })
        .set_max_forwards(9)
        .set_uri(b"sip:next@192.0.2.2")
        .add_record_route(b"<sip:192.0.2.1;lr>")
        .remove_route_top()
        .remove_trust_headers()
        .ensure_content_length();
    let written = edit.write_to(&mut out).is_ok();
    assert!(written);
    // The limits count our additions too, so a message at its limit may be over it now.
    let Ok(next) = Message::parse(&out) else {
        assert!(
            msg.headers().count() > 120
                || vias >= 70
                || routes >= 60
                || msg.head_end() > 16_000
                || msg.record_routes().count() >= 69
        );
        return;
    };
    assert_eq!(next.vias().count(), vias.saturating_add(1));
    assert_eq!(next.routes().count(), routes.saturating_sub(1));
    assert_eq!(next.top_via().branch, Some(&b"z9hG4bKfuzz"[..]));
    assert_eq!(next.vias().nth(1).and_then(|v| v.branch), msg.top_via().branch);
    assert_eq!((next.max_forwards(), next.cseq(), next.call_id()), (Some(9), msg.cseq(), msg.call_id()));
    assert_eq!((next.from_tag(), next.to_tag()), (msg.from_tag(), msg.to_tag()));
    assert_eq!(next.body(), msg.body());
    assert!(crate::edit::TRUST_HEADERS.iter().all(|h| !next.has(*h)));
}

/// A multipart body (its first line is the Content-Type) through the splitter: what is found lies within the body, and another description in
/// its place is found again there, with every other byte as it was.
pub fn fuzz_sip_session(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (kind, body) = data.split_at_checked(at).unwrap_or((data, b""));
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let head = b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n\
                 Call-ID: x\r\nCSeq: 1 INVITE\r\nMax-Forwards: 9\r\nContent-Type: ";
    let message = [head, kind, b"\r\n\r\n", body].concat();
    let Ok(msg) = Message::parse(&message) else {
        return;
    };
    let found = match Session::of(&msg) {
        Ok(Some(found)) => found,
        Ok(None) => return,
        Err(error) => {
            assert!(matches!(error.status(), 400 | 415) && !error.phrase().is_empty());
            return;
        }
    };
    let Some(rebuilt) = found.rebuilt(b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n") else {
        assert_eq!(found.sdp, msg.body());
        return;
    };
    let mut out = Vec::new();
    assert!(Edit::new(&msg).replace_content(&rebuilt).write_to(&mut out).is_ok());
    let again = Message::parse(&out);
    let second = again.as_ref().ok().and_then(|m| Session::of(m).ok().flatten());
    assert!(second.is_some_and(|s| s.sdp.starts_with(b"v=0\r\no=- 1 1")));
    // And back: the same bytes, but for a part's own Content-Length that was not right.
    let back = second.and_then(|s| s.rebuilt(found.sdp));
    assert!(
        back.is_some_and(
            |b| b.len().abs_diff(msg.body().len()) <= 20 && (found.has_length() || b == msg.body())
        )
    );
}

/// A stream into the framer, in pieces whose sizes the data chooses; every frame into the parser.
pub fn fuzz_sip_stream(data: &[u8]) {
    let mut framer = Framer::new();
    let mut rest = data;
    while let [size, tail @ ..] = rest {
        let (piece, after) = tail.split_at_checked(usize::from(*size)).unwrap_or((tail, b""));
        framer.push(piece);
        while let Some(frame) = framer.poll_frame() {
            match frame {
                Frame::Message(bytes) => {
                    let _ = Message::parse(bytes);
                }
                Frame::Ping => {}
                Frame::Broken { head, error } => {
                    let mut out = Vec::new();
                    let _ = ResponseDraft::new(0).broken(head, &error, &mut out);
                }
            }
        }
        assert!(framer.memory() <= 200_000);
        rest = after;
    }
}

/// A URI: what parses prints as it was, equals itself, and has a host that is one.
pub fn fuzz_sip_uri(data: &[u8]) {
    let Ok(uri) = Uri::parse(data) else {
        return;
    };
    assert_eq!(uri.raw, data);
    // A name given twice makes a URI that equals nothing (RFC 3261 §19.1.1 forbids it).
    let twice = |p: Params<'_>| p.into_iter().any(|(n, v)| p.find(n) != Some(v));
    assert!(uri.is_equal(&uri) || twice(uri.params));
    let mut buffer = [0; 64];
    let _ =
        (uri.number(&mut buffer).is_some(), uri.ip(), uri.is_loose(), uri.routing_number(), uri.has_npdi());
    assert!(!data.iter().any(|b| matches!(b, b'\r' | b'\n' | b' ' | b'<' | b'>' | b'"')));
}

/// Header values: Via, addresses, parameters, Reason, lists.
pub fn fuzz_sip_via(data: &[u8]) {
    if let Ok(via) = Via::parse(data) {
        assert!(!via.host.is_empty() && via.params.check().is_ok());
        let _ = (via.transport(), via.ip(), via.received_ip(), via.rfc3261_branch());
        let again = Via::parse(via.raw);
        assert_eq!(again, Ok(via));
    }
    if let Ok(address) = NameAddr::parse(data) {
        let _ = (address.uri(), address.params.check(), address.display_text());
    }
    let _ = (Reason::parse(data), Params(data).check(), Params(data).into_iter().count());
    let mut rest = Some(data);
    while let Some(text) = rest {
        match lex::split_comma(text) {
            Ok((value, after)) => {
                assert!(value.len() <= text.len());
                rest = after;
            }
            Err(_) => return,
        }
    }
}

/// Digest headers of both directions.
pub fn fuzz_sip_digest(data: &[u8]) {
    let _ = Challenge::parse(data);
    if let Ok(credentials) = Credentials::parse(data) {
        let ha1 = Ha1::decoy(credentials.algorithm);
        let _ = (credentials.count(), verify(&credentials, b"INVITE", &ha1));
    }
}
