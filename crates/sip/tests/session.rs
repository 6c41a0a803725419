//! The session description in multipart bodies: found, replaced with everything else byte for byte, refused when it cannot be told (T-SIP-18).

use proptest::prelude::*;
use warp_sip::edit::Edit;
use warp_sip::message::Message;
use warp_sip::session::{BodyError, Session};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

fn message(kind: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n\
         Call-ID: x\r\nCSeq: 1 INVITE\r\nMax-Forwards: 9\r\n{extra}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The SDP found, or the answer.
fn found(kind: &str, body: &str) -> Result<Option<String>, u16> {
    let bytes = message(kind, "", body.as_bytes());
    let msg = Message::parse(&bytes).unwrap();
    let text = |s: Session<'_>| String::from_utf8(s.sdp.to_vec()).unwrap();
    Session::of(&msg).map(|s| s.map(text)).map_err(BodyError::status)
}

fn mixed(parts: &[&str]) -> String {
    parts.iter().map(|p| format!("--b1\r\n{p}\r\n")).collect::<String>() + "--b1--\r\n"
}

fn sdp_part(extra: &str) -> String {
    format!("Content-Type: application/sdp\r\n{extra}\r\n{SDP}")
}

#[test]
fn a_part_is_found_wherever_it_stands() {
    let isup = "Content-Type: application/isup;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n\x01\x00--b1";
    let some = Ok(Some(SDP.to_owned()));
    assert_eq!(found("multipart/mixed;boundary=b1", &mixed(&[&sdp_part("")])), some);
    assert_eq!(found("multipart/mixed;boundary=\"b1\"", &mixed(&[&sdp_part(""), isup])), some);
    assert_eq!(found("MULTIPART / Related ; Boundary=b1;x=y", &mixed(&[isup, &sdp_part("")])), some);
    let preamble = format!("not a part\r\n{}epilogue\r\n", mixed(&[isup, &sdp_part("")]));
    assert_eq!(found("multipart/mixed;boundary=b1", &preamble), some);
    let padded = mixed(&[&sdp_part("")]).replace("--b1\r\n", "--b1 \t\r\n");
    assert_eq!(found("multipart/mixed;boundary=b1", &padded), some);
    let folded = "content-type :\r\n application/sdp;\r\n\tx=y\r\nContent-Disposition: SESSION;handling=required\r\n\r\n";
    assert_eq!(found("multipart/mixed;boundary=b1", &mixed(&[&format!("{folded}{SDP}")])), some);
    // A part without headers is plain text, whatever it looks like; so is one whose type is not said.
    assert_eq!(found("multipart/mixed;boundary=b1", &mixed(&[&format!("\r\n{SDP}")])), Ok(None));
    assert_eq!(found("multipart/mixed;boundary=b1", &mixed(&[isup])), Ok(None));
    assert_eq!(found("application / sdp", SDP), some);
    assert_eq!(found("application/pidf+xml", "<presence/>"), Ok(None));
}

#[test]
fn t_sip_18_two_levels_are_looked_into_and_no_more() {
    let inner = |part: &str| {
        format!("Content-Type: multipart/alternative;boundary=in\r\n\r\n--in\r\n{part}\r\n--in--\r\n")
    };
    let deep = |part: &str| {
        inner(&format!("Content-Type: multipart/mixed;boundary=x\r\n\r\n--x\r\n{part}\r\n--x--\r\n"))
    };
    assert_eq!(found("multipart/mixed;boundary=b1", &mixed(&[&inner(&sdp_part(""))])), Ok(Some(SDP.into())));
    assert_eq!(found("multipart/mixed;boundary=b1", &mixed(&[&deep(&sdp_part(""))])), Err(415));
    let many = vec!["\r\nx"; 33];
    assert_eq!(found("multipart/mixed;boundary=b1", &mixed(&many[..32])), Ok(None));
    assert_eq!(found("multipart/mixed;boundary=b1", &mixed(&many)), Err(415));
    let long = format!("X-Long: {}\r\n\r\nx", "y".repeat(4_096));
    assert_eq!(found("multipart/mixed;boundary=b1", &mixed(&[&long])), Err(400));
}

#[test]
fn t_sip_18_what_is_encoded_sealed_or_ambiguous_is_415() {
    let kind = "multipart/mixed;boundary=b1";
    for part in [
        sdp_part("Content-Transfer-Encoding: base64\r\n"),
        sdp_part("Content-Encoding: gzip\r\n"),
        sdp_part("Content-Disposition: early-session\r\n"),
        "Content-Type: application/pkcs7-mime\r\n\r\nx".into(),
    ] {
        assert_eq!(found(kind, &mixed(&[&part])), Err(415), "{part}");
    }
    assert_eq!(found(kind, &mixed(&[&sdp_part(""), &sdp_part("")])), Err(415));
    assert_eq!(found("multipart/signed;boundary=b1", &mixed(&[&sdp_part("")])), Err(415));
    // Sealed by the outer or by the inner one.
    for (outer, inner) in
        [("signed", "alternative"), ("encrypted", "mixed"), ("mixed", "signed"), ("mixed", "encrypted")]
    {
        let part = format!(
            "Content-Type: multipart/{inner};boundary=in\r\n\r\n--in\r\n{}\r\n--in--\r\n",
            sdp_part("")
        );
        let kind = format!("multipart/{outer};boundary=b1");
        assert_eq!(found(&kind, &mixed(&[&part])), Err(415), "{outer} {inner}");
    }
    assert_eq!(found("application/pkcs7-mime", "x"), Err(415));
    let zipped = message("application/sdp", "Content-Encoding: gzip\r\n", b"\x1f\x8b\x08");
    let error = Session::of(&Message::parse(&zipped).unwrap()).unwrap_err();
    assert_eq!((error.status(), error.headers()[0].0), (415, "Accept-Encoding"));
    let plain = message("application/sdp", "Content-Encoding: identity\r\n", SDP.as_bytes());
    assert!(Session::of(&Message::parse(&plain).unwrap()).unwrap().is_some());
}

#[test]
fn t_sip_03_what_two_readers_could_read_differently_is_400() {
    let kind = "multipart/mixed;boundary=b1";
    let good = mixed(&["\r\nhello", &sdp_part("")]);
    for bad in [
        good.replace("--b1--", "--b2--"),
        good.replace("--b1--\r\n", "--b1-"),
        good.replace("hello", "hello\n--b1\nContent-Type: application/sdp\n\nv=0\n"),
        good.replace("hello", "hello\r--b1"),
        good.replace("hello", "hello\r\n--b1x"),
        good.replacen("--b1\r\n", "--b1\n", 1),
        format!("{good}--b1\r\n{}\r\n--b1--\r\n", sdp_part("")),
        "--b1\r\n--b1--\r\n".into(),
        mixed(&["no colon\r\n\r\nx"]),
        mixed(&["Content-Type: text/plain\r\nContent-Type: application/sdp\r\n\r\nx"]),
        mixed(&["Content-Type: application/sdp (x)\r\n\r\nx"]),
        mixed(&["Content-Type: text/plain\nX: y\r\n\r\nx"]),
        mixed(&["Content Type: text/plain\r\n\r\nx"]),
        mixed(&["Content-Type: application/sdp"]),
        mixed(&["Content-Type: application/sdp\r\n\r\n"]),
        mixed(&["Content-Type: application/sdp\r\nContent-Length: -1\r\n\r\nx"]),
        String::from("no part at all"),
    ] {
        assert_eq!(found(kind, &bad), Err(400), "{bad}");
    }
    for kind in [
        "",
        "sdp",
        "application/sdp (x)",
        "application/",
        "/sdp",
        "application/sdp/x",
        "text/plain, application/sdp",
    ] {
        assert_eq!(found(kind, SDP), Err(400), "{kind}");
    }
    let long = "b".repeat(71);
    for kind in [
        "multipart/mixed",
        "multipart/mixed;boundary",
        "multipart/mixed;boundary=b1;boundary=b2",
        "multipart/mixed;boundary=\"\"",
        "multipart/mixed;boundary=\"b1 \"",
        "multipart/mixed;boundary=\"b\\1\"",
        &format!("multipart/mixed;boundary={long}"),
    ] {
        assert_eq!(found(kind, &good), Err(400), "{kind}");
    }
    let most = "b".repeat(70);
    let body = good.replace("b1", &most);
    assert!(found(&format!("multipart/mixed;boundary={most}"), &body).unwrap().is_some());
}

#[test]
fn a_parts_own_content_length_follows_its_content() {
    let body = mixed(&[&sdp_part(&format!("Content-Length: {}\r\nX-A: b\r\n", SDP.len()))]);
    let bytes = message("multipart/mixed;boundary=b1", "", body.as_bytes());
    let msg = Message::parse(&bytes).unwrap();
    let rebuilt = Session::of(&msg).unwrap().unwrap().rebuilt(b"v=0\r\n").unwrap();
    let expected = body.replace(SDP, "v=0\r\n").replace(&format!("Length: {}", SDP.len()), "Length: 5");
    assert_eq!(String::from_utf8(rebuilt).unwrap(), expected);
}

/// A part that is no session description: headers and bytes in which no line begins with the boundary.
fn other_part() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec![
        "",
        "Content-Type: application/isup;version=x\r\n",
        "Content-Type: application/pidf+xml\r\nContent-ID: <a@b>\r\n",
        "content-disposition: render\r\n",
        "Content-Transfer-Encoding: base64\r\n",
    ]);
    (kind, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(kind, mut bytes)| {
        bytes.iter_mut().filter(|b| **b == b'-').for_each(|b| *b = b'_');
        [kind.as_bytes(), b"\r\n", &bytes].concat()
    })
}

proptest! {
    #[test]
    fn only_the_description_changes(
        boundary in "[A-Za-z0-9'()+_,./:=?-]{1,70}",
        before in prop::collection::vec(other_part(), 0..4),
        after in prop::collection::vec(other_part(), 0..4),
        nested in any::<bool>(),
        new in "(v=0\r\n)([a-z]=[ -~]{0,40}\r\n){0,8}",
    ) {
        let joined = |sdp: &str| {
            let mut session = format!("Content-Type: application/sdp\r\n\r\n{sdp}").into_bytes();
            if nested {
                session = [
                    &b"Content-Type: multipart/alternative;boundary=nested\r\n\r\n--nested\r\n"[..],
                    &session,
                    b"\r\n--nested--",
                ].concat();
            }
            let mut out = Vec::new();
            for part in before.iter().chain([&session]).chain(&after) {
                out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
                out.extend_from_slice(part);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
            out
        };
        prop_assume!(!"nested".starts_with(&boundary) && !"nested--".starts_with(&boundary));
        let bytes = message(&format!("multipart/mixed;boundary=\"{boundary}\""), "", &joined(SDP));
        let msg = Message::parse(&bytes).unwrap();
        let session = Session::of(&msg).unwrap().unwrap();
        prop_assert_eq!(session.sdp, SDP.as_bytes());
        let rebuilt = session.rebuilt(new.as_bytes()).unwrap();
        prop_assert_eq!(&rebuilt, &joined(&new));
        let mut out = Vec::new();
        Edit::new(&msg).replace_content(&rebuilt).write_to(&mut out).unwrap();
        let again = Message::parse(&out).unwrap();
        prop_assert_eq!(again.body(), &rebuilt[..]);
        prop_assert_eq!(again.headers().count(), msg.headers().count());
        prop_assert_eq!(again.content().unwrap().0, b"multipart/mixed");
    }
}
