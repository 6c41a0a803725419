//! Small tables of the standards, row by row: phrases, methods, transports, verdicts on bodies, and sides of a dialog.

use warp_sip::dialog::{Dialog, Party, Side};
use warp_sip::flow::{Flow, LinkId, Transport};
use warp_sip::header::Header;
use warp_sip::message::{Message, Method, ResponseDraft, reason_phrase};
use warp_sip::proxy;
use warp_sip::session::BodyError;

/// RFC 3261 §21 and the registry of response codes; a class has a word of its own for codes that nobody registered.
#[test]
fn reason_phrases_are_the_registrys() {
    let registered = "100 Trying|180 Ringing|181 Call Is Being Forwarded|182 Queued|183 Session Progress|200 OK|\
        202 Accepted|204 No Notification|300 Multiple Choices|301 Moved Permanently|302 Moved Temporarily|305 Use Proxy|\
        380 Alternative Service|400 Bad Request|401 Unauthorized|402 Payment Required|403 Forbidden|404 Not Found|\
        405 Method Not Allowed|406 Not Acceptable|407 Proxy Authentication Required|408 Request Timeout|410 Gone|\
        413 Request Entity Too Large|414 Request-URI Too Long|415 Unsupported Media Type|416 Unsupported URI Scheme|\
        420 Bad Extension|421 Extension Required|422 Session Interval Too Small|423 Interval Too Brief|\
        480 Temporarily Unavailable|481 Call/Transaction Does Not Exist|482 Loop Detected|483 Too Many Hops|\
        484 Address Incomplete|485 Ambiguous|486 Busy Here|487 Request Terminated|488 Not Acceptable Here|489 Bad Event|\
        491 Request Pending|493 Undecipherable|500 Server Internal Error|501 Not Implemented|502 Bad Gateway|\
        503 Service Unavailable|504 Server Time-out|505 Version Not Supported|513 Message Too Large|600 Busy Everywhere|\
        603 Decline|604 Does Not Exist Anywhere|606 Not Acceptable|607 Unwanted|608 Rejected|199 Progress|299 OK|\
        399 Redirected|499 Request Failure|599 Server Failure|699 Global Failure";
    for row in registered.split('|') {
        let (status, phrase) = row.trim().split_once(' ').unwrap();
        assert_eq!(reason_phrase(status.parse().unwrap()), phrase, "{status}");
    }
}

#[test]
fn methods_are_their_tokens_to_the_letter() {
    use Method::*;
    let all = [
        ("INVITE", Invite),
        ("ACK", Ack),
        ("BYE", Bye),
        ("CANCEL", Cancel),
        ("OPTIONS", Options),
        ("REGISTER", Register),
        ("PRACK", Prack),
        ("UPDATE", Update),
        ("INFO", Info),
        ("SUBSCRIBE", Subscribe),
        ("NOTIFY", Notify),
        ("REFER", Refer),
        ("MESSAGE", Message),
        ("PUBLISH", Publish),
    ];
    for (token, method) in all {
        assert_eq!(Method::from_token(token.as_bytes()), method);
        assert_eq!((method.token(), method.to_string().as_str()), (token, token));
        assert_eq!(Method::from_token(token.to_lowercase().as_bytes()), Other, "case counts (RFC 3261 §7.1)");
    }
    assert_eq!((Method::from_token(b"FOO"), Other.token()), (Other, "OTHER"));
}

/// RFC 3261 §18.1.1, §19.1.2 and §25.1, RFC 7118 §5.2 and §8.
#[test]
fn transports_by_token_parameter_port_and_what_they_promise() {
    for (transport, token, param, port, reliable, secure) in [
        (Transport::Udp, "UDP", "udp", 5060, false, false),
        (Transport::Tcp, "TCP", "tcp", 5060, true, false),
        (Transport::Tls, "TLS", "tls", 5061, true, true),
        (Transport::Ws, "WS", "ws", 80, true, false),
        (Transport::Wss, "WSS", "wss", 443, true, true),
    ] {
        assert_eq!((transport.token(), transport.param(), transport.default_port()), (token, param, port));
        assert_eq!((transport.is_reliable(), transport.is_secure()), (reliable, secure), "{token}");
        assert_eq!(transport.to_string(), token);
        for spelling in [token, param] {
            assert_eq!(Transport::from_token(spelling.as_bytes()), Some(transport));
        }
    }
    assert_eq!(Transport::from_token(b""), None);
    let (a, b) = ("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5070".parse().unwrap());
    let flow = Flow::udp(a, b);
    assert_eq!((flow.transport, flow.local, flow.remote, flow.link), (Transport::Udp, a, b, LinkId::NONE));
    assert_eq!(Flow::unlinked(Transport::Wss, a, b).transport, Transport::Wss);
    assert!(LinkId(1).is_some() && !LinkId::NONE.is_some());
}

/// RFC 3261 §21.4.13: a 415 says what would have been understood.
#[test]
fn verdicts_on_bodies() {
    let malformed = BodyError::Malformed("Bad Content-Type");
    assert_eq!(
        (malformed.status(), malformed.phrase(), malformed.headers().len()),
        (400, "Bad Content-Type", 0)
    );
    let unsupported = BodyError::Unsupported("Too Many Body Parts");
    assert_eq!((unsupported.status(), unsupported.phrase()), (415, "Too Many Body Parts"));
    assert_eq!(unsupported.headers(), [("Accept", &b"application/sdp, multipart/mixed"[..])]);
    assert_eq!((BodyError::Encoded.status(), BodyError::Encoded.phrase()), (415, "Encoded Body"));
    assert_eq!(BodyError::Encoded.headers(), [("Accept-Encoding", &b"identity"[..])]);
}

/// Commas separate values in these (RFC 3261 §7.3.1); in others they are text.
#[test]
fn lists_are_split_and_nothing_else_is() {
    use Header::*;
    let lists = [
        Via,
        Route,
        RecordRoute,
        Contact,
        Path,
        ServiceRoute,
        PAssertedIdentity,
        PPreferredIdentity,
        Diversion,
        HistoryInfo,
        RemotePartyId,
        Require,
        ProxyRequire,
        Supported,
        Unsupported,
        Allow,
        Reason,
    ];
    for header in warp_sip::header::Header::ALL {
        assert_eq!(header.is_list(), lists.contains(header), "{header:?}");
    }
    assert!(!Other.is_list() && !Other.is_single() && Other.name().is_empty());
    assert_eq!((Via.name(), PChargingVector.name()), ("Via", "P-Charging-Vector"));
    assert!(CallId.is_single() && CSeq.is_single() && !Via.is_single());
    for (compact, long) in [
        ("v", Via),
        ("f", From),
        ("t", To),
        ("i", CallId),
        ("m", Contact),
        ("l", ContentLength),
        ("c", ContentType),
        ("e", ContentEncoding),
        ("k", Supported),
        ("s", Subject),
        ("x", SessionExpires),
        ("r", ReferTo),
        ("b", ReferredBy),
        ("o", Event),
        ("u", AllowEvents),
        ("a", AcceptContact),
        ("j", RejectContact),
        ("d", RequestDisposition),
        ("y", Identity),
    ] {
        assert_eq!(warp_sip::header::Header::from_name(compact.as_bytes()), long, "{compact}");
    }
}

#[test]
fn a_dialog_has_two_sides() {
    assert_eq!((Side::Caller.other(), Side::Callee.other()), (Side::Callee, Side::Caller));
    let party =
        |name: &str| Party { tag: name.into(), target: format!("sip:{name}@h").into(), ..Party::default() };
    let mut d = Dialog { call_id: b"x".to_vec(), caller: party("a"), callee: party("b"), shown: vec![] };
    assert_eq!(
        (d.party(Side::Caller).tag.as_slice(), d.party(Side::Callee).tag.as_slice()),
        (&b"a"[..], &b"b"[..])
    );
    d.party_mut(Side::Callee).cseq = 5;
    assert_eq!((d.caller.cseq, d.callee.cseq), (0, 5));
    // The same number again is in order (a repetition), a target that is not given stays.
    assert!(d.on_request(Side::Callee, 5, None));
    assert_eq!(d.request_uri(Side::Callee), b"sip:b@h");
    assert_eq!(d.next_hop(Side::Callee), b"sip:b@h");
    d.callee.routes = vec![b"<sip:loose;lr>".to_vec()];
    assert_eq!(
        (d.request_uri(Side::Callee), d.next_hop(Side::Callee)),
        (&b"sip:b@h"[..], &b"sip:loose;lr"[..])
    );
    d.callee.routes = vec![b"<sip:strict>".to_vec(), b"<sip:second;lr>".to_vec()];
    assert_eq!(
        (d.request_uri(Side::Callee), d.next_hop(Side::Callee)),
        (&b"sip:strict"[..], &b"sip:strict"[..])
    );
    let mut out = Vec::new();
    d.write_ack(Side::Callee, 3, b"v", b"X: y\r\n", &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "ACK sip:strict SIP/2.0\r\nVia: v\r\nMax-Forwards: 70\r\nRoute: <sip:second;lr>\r\nRoute: <sip:b@h>\r\n\
         From: \r\nTo: \r\nCall-ID: x\r\nCSeq: 3 ACK\r\nX: y\r\nContent-Length: 0\r\n\r\n"
    );
    // The highest number there is is not passed.
    d.caller.cseq = u32::MAX;
    assert_eq!(d.write_request("BYE", Side::Callee, b"v", b"", &mut Vec::new()), u32::MAX);
}

/// RFC 3261 §8.2.6: what a response of ours copies, adds and leaves.
#[test]
fn answers_carry_what_their_status_asks_for() {
    let request = |method: &str, to: &str| {
        format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1, SIP/2.0/UDP h2;branch=z9hG4bK2\r\n\
             Record-Route: <sip:p;lr>\r\nFrom: <sip:a@h>;tag=1\r\nTo: {to}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\
             Timestamp: 54\r\nMax-Forwards: 70\r\n\r\n"
        )
    };
    let answer = |text: &str, answer: ResponseDraft<'_>| {
        let mut out = Vec::new();
        answer.write(&Message::parse(text.as_bytes()).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    };
    let invite = request("INVITE", "<sip:b@h>");
    let tagged = |status| ResponseDraft { to_tag: Some(b"9"), ..ResponseDraft::new(status) };
    // 100: no tag, the time stamp, no route set (RFC 3261 §8.2.6.1, §12.1.1).
    assert_eq!(
        answer(&invite, tagged(100)),
        "SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1, SIP/2.0/UDP h2;branch=z9hG4bK2\r\n\
         From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nTimestamp: 54\r\nContent-Length: 0\r\n\r\n"
    );
    for (method, status, routes) in [
        ("INVITE", 101, true),
        ("INVITE", 180, true),
        ("INVITE", 299, true),
        ("INVITE", 300, false),
        ("SUBSCRIBE", 200, true),
        ("REFER", 202, true),
        ("NOTIFY", 200, true),
        ("OPTIONS", 200, false),
        ("BYE", 200, false),
    ] {
        let text = answer(&request(method, "<sip:b@h>"), tagged(status));
        assert_eq!(text.contains("Record-Route: <sip:p;lr>"), routes, "{method} {status}: {text}");
        assert!(text.contains("To: <sip:b@h>;tag=9\r\n") && !text.contains("Timestamp"), "{text}");
    }
    let text = answer(&request("INVITE", "<sip:b@h>;tag=theirs"), tagged(486));
    assert!(
        text.starts_with("SIP/2.0 486 Busy Here\r\n") && text.contains("To: <sip:b@h>;tag=theirs\r\n"),
        "{text}"
    );
    let own = ResponseDraft {
        reason: "No Such Trunk",
        body: Some(("text/plain", b"why")),
        ..ResponseDraft::new(403)
    };
    let text = answer(&invite, own);
    assert!(text.starts_with("SIP/2.0 403 No Such Trunk\r\n"), "{text}");
    assert!(text.ends_with("Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nwhy"), "{text}");
    // Marked with the source: the first of two values in one line, the other stays.
    let from =
        ResponseDraft { source: Some("198.51.100.7:6000".parse().unwrap()), ..ResponseDraft::new(404) };
    let text = answer(&invite, from);
    assert!(
        text.contains("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;received=198.51.100.7, SIP/2.0/UDP h2;branch=z9hG4bK2\r\n"),
        "{text}"
    );
    // A response is not answered.
    assert_eq!(answer(&text, tagged(400)), "");
}

/// The registered causes that SIP has no other word for, and those that a status maps to (RFC 3398 §7.2.4.1, §8.2.6.1).
#[test]
fn causes_and_statuses_at_the_ends_of_their_ranges() {
    for (cause, status) in [
        (0, 500),
        (1, 404),
        (3, 404),
        (4, 500),
        (15, 500),
        (16, 480),
        (17, 486),
        (18, 408),
        (19, 480),
        (20, 480),
        (21, 403),
        (22, 410),
        (23, 410),
        (24, 500),
        (26, 404),
        (27, 502),
        (28, 484),
        (29, 501),
        (31, 480),
        (34, 503),
        (38, 503),
        (41, 503),
        (42, 503),
        (47, 503),
        (55, 403),
        (57, 403),
        (58, 503),
        (65, 488),
        (70, 488),
        (79, 501),
        (87, 403),
        (88, 503),
        (102, 504),
        (127, 500),
    ] {
        assert_eq!(proxy::status_of_cause(cause), status, "{cause}");
    }
    for (status, cause) in [
        (199, 127),
        (200, 16),
        (299, 16),
        (300, 127),
        (400, 41),
        (409, 127),
        (482, 25),
        (483, 25),
        (487, 16),
        (503, 41),
        (504, 102),
        (606, 58),
        (607, 127),
    ] {
        assert_eq!(proxy::cause_of_status(status), cause, "{status}");
    }
}
