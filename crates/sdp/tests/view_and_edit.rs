//! Facts of the view (RFC 8866, RFC 3605, RFC 5761), minimal edits, limits and hostile SDP (T-NG-06).

use std::net::IpAddr;

use warp_sdp::*;

const OFFER: &str = "v=0\r\no=alice 2890844526 2890844527 IN IP4 host.example.com\r\ns=A call\r\nc=IN IP4 198.51.100.1\r\nb=AS:80\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
m=audio 49170 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=candidate:1 1 UDP 2130706431 198.51.100.1 49170 typ host\r\na=ice-ufrag:x\r\na=rtcp:53020\r\na=rtcp-mux\r\na=x-ours:keep  me\r\na=sendrecv\r\n\
m=video 51372 RTP/AVP 99\r\ni=a title\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:99 H264/90000\r\na=rtcp:51400 IN IP6 2001:db8::2\r\na=sendonly\r\n\
m=image 0 udptl t38\r\n";

fn ip(t: &str) -> IpAddr {
    t.parse().unwrap()
}

#[test]
fn facts_of_an_offer() {
    let sdp = Sdp::parse(OFFER.as_bytes()).unwrap();
    let o = sdp.origin().unwrap();
    assert_eq!(
        (o.username, o.session_id, o.version),
        (&b"alice"[..], &b"2890844526"[..], &b"2890844527"[..])
    );
    assert_eq!((o.address_type, o.address), (&b"IP4"[..], &b"host.example.com"[..]));
    assert_eq!(sdp.connection().unwrap().ip, ip("198.51.100.1"));
    let media: Vec<_> = sdp.media().collect();
    assert_eq!(media.len(), 3);
    assert_eq!(media.iter().map(Media::index).collect::<Vec<_>>(), [0, 1, 2], "what an edit names them by");
    let audio = media[0];
    assert_eq!((audio.kind(), audio.port(), audio.protocol()), (&b"audio"[..], 49170, &b"RTP/AVP"[..]));
    assert_eq!(audio.formats().collect::<Vec<_>>(), [b"0", b"8", &b"101"[..]]);
    assert_eq!(audio.rtcp(), Some(Rtcp { port: 53020, ip: None }));
    assert!(audio.has_rtcp_mux() && !audio.is_hold());
    assert_eq!(audio.ptime_ms(), Some(20));
    let maps: Vec<_> = audio.rtpmaps().collect();
    assert_eq!(maps[1], RtpMap { payload_type: 101, name: b"telephone-event", clock: 8000, channels: None });
    let video = media[1];
    assert_eq!(video.connection().unwrap().ip, ip("2001:db8::1"));
    assert_eq!(video.rtcp(), Some(Rtcp { port: 51400, ip: Some(ip("2001:db8::2")) }));
    assert_eq!(video.direction(), Direction::SendOnly);
    assert!(video.is_hold());
    assert!(media[2].is_rejected() && !media[2].is_hold());
}

#[test]
fn edits_touch_only_what_they_name() {
    let sdp = Sdp::parse(OFFER.as_bytes()).unwrap();
    let strip = Strip { ice: true, rtcp: true, rtcp_mux: true, bundle: true, ..Strip::default() };
    let session = SessionEdit {
        origin: OriginEdit { address: Some(ip("203.0.113.9")), ..OriginEdit::default() },
        connection: Some(ip("203.0.113.9")),
        strip,
        ..SessionEdit::default()
    };
    let edit = |port: u16, add: &str| MediaEdit {
        port: Some(port),
        connection: Some(ip("203.0.113.9")),
        strip,
        add: vec![add.to_owned()],
        ..MediaEdit::default()
    };
    let mut out = Vec::new();
    sdp.write(&session, &[edit(30000, "a=rtcp:30001"), edit(30002, "a=rtcp:30003")], &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "v=0\r\no=alice 2890844526 2890844527 IN IP4 203.0.113.9\r\ns=A call\r\nc=IN IP4 203.0.113.9\r\nb=AS:80\r\nt=0 0\r\n\
m=audio 30000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=x-ours:keep  me\r\na=sendrecv\r\na=rtcp:30001\r\n\
m=video 30002 RTP/AVP 99\r\ni=a title\r\nc=IN IP4 203.0.113.9\r\na=rtpmap:99 H264/90000\r\na=sendonly\r\na=rtcp:30003\r\n\
m=image 0 udptl t38\r\n"
    );
}

#[test]
fn a_connection_line_is_added_only_where_the_session_one_does_not_do() {
    let text = "v=0\no=- 1 1 IN IP4 1.1.1.1\ns=-\nc=IN IP4 1.1.1.1\nt=0 0\nm=audio 4000 RTP/AVP 0\nm=audio 4002 RTP/AVP 0\ni=x\na=y";
    let sdp = Sdp::parse(text.as_bytes()).unwrap();
    let session = SessionEdit { connection: Some(ip("2.2.2.2")), ..SessionEdit::default() };
    let edit = |a: &str| MediaEdit {
        connection: Some(ip(a)),
        direction: Some(Direction::Inactive),
        ..MediaEdit::default()
    };
    let mut out = Vec::new();
    sdp.write(&session, &[edit("2.2.2.2"), edit("::1")], &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "v=0\no=- 1 1 IN IP4 1.1.1.1\ns=-\nc=IN IP4 2.2.2.2\nt=0 0\nm=audio 4000 RTP/AVP 0\na=inactive\nm=audio 4002 RTP/AVP 0\ni=x\nc=IN IP6 ::1\na=y\na=inactive\n"
    );
}

#[test]
fn formats_can_be_taken_away_and_put_in_order() {
    let text = "v=0\r\ns=-\r\nc=IN IP4 1.1.1.1\r\nm=audio 4000  RTP/AVP 0 18 8 101\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtcp-fb:* nack\r\n";
    let sdp = Sdp::parse(text.as_bytes()).unwrap();
    let edit = MediaEdit { formats: Some(vec![b"8", b"0", b"101"]), ..MediaEdit::default() };
    let mut out = Vec::new();
    sdp.write(&SessionEdit::default(), &[edit], &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "v=0\r\ns=-\r\nc=IN IP4 1.1.1.1\r\nm=audio 4000  RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtcp-fb:* nack\r\n"
    );
}

#[test]
fn attributes_are_removed_and_replaced_by_value_or_name() {
    let text =
        b"v=0\r\na=x:1\r\nc=IN IP4 192.0.2.1\r\nm=audio 1 RTP/AVP 0\r\na=x:1\r\na=x:2\r\na=y\r\na=ptime:20";
    let sdp = Sdp::parse(text).unwrap();
    let removed = [b"x:1".to_vec(), b"y".to_vec()];
    let substituted = [(b"ptime:20".to_vec(), b"ptime:30".to_vec()), (b"x".to_vec(), b"never".to_vec())];
    let attributes = AttributeChanges { remove: &removed, substitute: &substituted };
    let media = [MediaEdit { attributes, ..MediaEdit::default() }];
    let mut out = Vec::new();
    sdp.write(&SessionEdit::default(), &media, &mut out);
    let head = "v=0\r\na=x:1\r\nc=IN IP4 192.0.2.1\r\nm=audio 1 RTP/AVP 0\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), format!("{head}a=x:2\r\na=ptime:30\r\n"));
    let by_name = [b"x".to_vec()];
    let attributes = AttributeChanges { remove: &by_name, substitute: &[] };
    let session = SessionEdit { attributes, ..SessionEdit::default() };
    let mut out = Vec::new();
    sdp.write(&session, &[], &mut out);
    assert!(out.starts_with(b"v=0\r\nc=") && out.ends_with(&text[text.len() - 30..]));
}

#[test]
fn half_a_line_end_at_the_end_is_completed() {
    let sdp = Sdp::parse(b"v=0\r\ns=-\r\nc=IN IP4 1.1.1.1\r\nm=audio 4000 RTP/AVP 0\r").unwrap();
    let edit = MediaEdit { add: vec!["a=x".to_owned()], ..MediaEdit::default() };
    let mut out = Vec::new();
    sdp.write(&SessionEdit::default(), &[edit], &mut out);
    assert!(out.ends_with(b"RTP/AVP 0\r\na=x\r\n"));
}

#[test]
fn directions() {
    use Direction::*;
    assert_eq!(SendRecv.with_answer(RecvOnly), SendOnly);
    assert_eq!(SendRecv.with_answer(Inactive), Inactive);
    assert_eq!(SendOnly.with_answer(SendRecv), SendOnly);
    assert_eq!(SendOnly.with_answer(SendOnly), Inactive);
    assert_eq!(SendOnly.reversed(), RecvOnly);
    let session_level = "v=0\ns=-\nc=IN IP4 1.1.1.1\na=inactive\nm=audio 4000 RTP/AVP 0\nm=audio 4000 RTP/AVP 0\na=recvonly\n";
    let sdp = Sdp::parse(session_level.as_bytes()).unwrap();
    let of: Vec<_> = sdp.media().map(|m| m.direction()).collect();
    assert_eq!(of, [Inactive, RecvOnly]);
    let zero = Sdp::parse(b"v=0\ns=-\nc=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\n").unwrap();
    assert_eq!(zero.media_at(0).unwrap().effective_direction(), SendOnly);
    assert!(zero.media_at(0).unwrap().is_hold());
}

#[test]
fn an_answer_gets_as_many_sections_as_its_offer() {
    let text = "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nc=IN IP4 1.1.1.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n\r\n";
    let sdp = Sdp::parse(text.as_bytes()).unwrap();
    let missing = [
        RefusedSection { kind: b"video", protocol: b"RTP/AVP", formats: b"96 97" },
        RefusedSection { kind: b"image", protocol: b"udptl", formats: b"" },
    ];
    let mut out = Vec::new();
    sdp.write_padded(&SessionEdit::default(), &[], &missing, &mut out);
    let body = text.trim_end();
    assert_eq!(
        String::from_utf8(out.clone()).unwrap(),
        format!("{body}\r\nm=video 0 RTP/AVP 96 97\r\nm=image 0 udptl 0\r\n\r\n"),
        "blank lines stay at the end"
    );
    let longer = Sdp::parse(&out).unwrap();
    let edits = [MediaEdit::default(), MediaEdit { remove: true, ..MediaEdit::default() }];
    let mut shorter = Vec::new();
    longer.write(&SessionEdit::default(), &edits, &mut shorter);
    assert_eq!(String::from_utf8(shorter).unwrap(), format!("{body}\r\nm=image 0 udptl 0\r\n\r\n"));
    let none = Sdp::parse(b"v=0\ns=-").unwrap();
    let mut one = Vec::new();
    none.write_padded(&SessionEdit::default(), &[], &missing[..1], &mut one);
    assert_eq!(one, b"v=0\ns=-\nm=video 0 RTP/AVP 96 97\n");
}

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nc=IN IP4 1.1.1.1\r\nt=0 0\r\n";

fn with(lines: &str) -> String {
    format!("{HEAD}{lines}")
}

#[test]
fn rtcp_attributes_that_name_no_place_say_nothing() {
    for value in [
        "9 IN IP4 0.0.0.0",
        "9 IN IP6 ::",
        "",
        " ",
        "x",
        "0",
        "-1",
        "70000",
        "99999999999",
        "4005 1.1.1.1",
        "4005 IN IP4",
        "4005 IN IP4 gateway.example.com",
        "4005 IN IP4 1.1.1.1 x",
        "4005 IN IP6 1.1.1.1",
        "4005 IN IP4 224.0.0.9",
    ] {
        let text = with(&format!("m=audio 4000 RTP/AVP 0\r\na=rtcp:{value}\r\n"));
        let sdp = Sdp::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{value:?}: {e}"));
        assert_eq!(sdp.media_at(0).unwrap().rtcp(), None, "{value:?}");
    }
    let rtcp = |lines: &str| {
        let text = with(&format!("m=audio 4000 RTP/AVP 0\r\n{lines}"));
        Sdp::parse(text.as_bytes()).unwrap().media_at(0).unwrap().rtcp()
    };
    assert_eq!(rtcp("a=rtcp: 4005\r\n"), Some(Rtcp { port: 4005, ip: None }));
    assert_eq!(rtcp("a=rtcp:4005 in ip4 2.2.2.2\r\n"), Some(Rtcp { port: 4005, ip: Some(ip("2.2.2.2")) }));
    assert_eq!(rtcp("a=rtcp\r\na=rtcp:x\r\na=rtcp:4007\r\na=rtcp:4009\r\n").unwrap().port, 4007);
}

#[test]
fn user_names_of_the_origin_may_be_empty_or_have_blanks() {
    for (line, user, edited) in [
        ("o=John Q. Doe 12 34 IN IP4 10.0.0.1", "John Q. Doe", "o=John Q. Doe 12 34 IN IP4 2.2.2.2"),
        ("o= 12 34 IN IP4 10.0.0.1", "", "o=- 12 34 IN IP4 2.2.2.2"),
        ("o=- 12\t34 IN IP4 host ", "-", "o=- 12 34 IN IP4 2.2.2.2"),
    ] {
        let text = format!("v=0\r\n{line}\r\ns=-\r\n");
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        let o = sdp.origin().unwrap();
        assert_eq!((o.username, o.session_id, o.version), (user.as_bytes(), &b"12"[..], &b"34"[..]));
        let origin = OriginEdit { address: Some(ip("2.2.2.2")), ..OriginEdit::default() };
        let mut out = Vec::new();
        sdp.write(&SessionEdit { origin, ..SessionEdit::default() }, &[], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("v=0\r\n{edited}\r\ns=-\r\n"));
    }
}

#[test]
fn media_lines_are_read_as_they_are_sent() {
    for (line, port, formats, edited) in [
        ("m=video 0 RTP/AVP", 0, 0, "m=video 9000 RTP/AVP"),
        ("m=image 0 udptl", 0, 0, "m=image 9000 udptl"),
        ("m=audio 4000/2 RTP/AVP 0 8", 4000, 2, "m=audio 9000 RTP/AVP 0 8"),
        ("m=audio\t4000\tRTP/AVP\t0  8\t", 4000, 2, "m=audio\t9000\tRTP/AVP\t0  8"),
        ("m=audio 4000 rtp/avp 0 ", 4000, 1, "m=audio 9000 rtp/avp 0"),
        ("m=audio 4000 RTP/AVP", 4000, 0, "m=audio 9000 RTP/AVP"),
    ] {
        let text = with(&format!("{line}\r\n"));
        let sdp = Sdp::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}"));
        let media = sdp.media_at(0).unwrap();
        assert_eq!((media.port(), media.formats().count()), (port, formats), "{line}");
        let edits = [MediaEdit { port: Some(9000), ..MediaEdit::default() }];
        let mut out = Vec::new();
        sdp.write(&SessionEdit::default(), &edits, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), with(&format!("{edited}\r\n")));
    }
}

#[test]
fn blanks_at_line_ends_and_nuls_behind_the_text_hide_nothing() {
    let text = "v=0 \r\no=- 1 1 IN IP4 1.1.1.1 \r\ns=-\r\nc=IN IP4 1.1.1.1/127 \r\n \r\nm=audio 4000 RTP/AVP 0 \r\na=sendonly\t \r\na=rtcp-mux  \r\n";
    for nuls in ["", "\0", "\0\0\0"] {
        let whole = format!("{text}{nuls}");
        let sdp = Sdp::parse(whole.as_bytes()).unwrap();
        let media = sdp.media_at(0).unwrap();
        assert_eq!((media.direction(), media.has_rtcp_mux()), (Direction::SendOnly, true));
        let mut out = Vec::new();
        sdp.write(&SessionEdit::default(), &[], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text, "blanks keep, NULs go");
        assert_eq!(sdp.bytes(), text.as_bytes());
    }
}

#[test]
fn an_address_that_nobody_uses_may_be_anything() {
    for lines in [
        "m=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP 99\r\nc=IN IP4 camera.example.com\r\n",
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 1.1.1.1\r\nc=IN IP4 224.2.1.1/127\r\n",
    ] {
        assert_eq!(Sdp::parse(with(lines).as_bytes()).err(), None, "{lines}");
    }
    let own = "v=0\r\nc=IN IP4 host.example.com\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 1.1.1.1\r\n";
    assert_eq!(Sdp::parse(own.as_bytes()).err(), None);
    let needed = "v=0\r\nc=IN IP4 host.example.com\r\nm=audio 4000 RTP/AVP 0\r\n";
    let error = Sdp::parse(needed.as_bytes()).err();
    assert_eq!(error, Some(SdpError { cause: SdpFault::Connection, line: 2, offset: 5 }));
}

#[test]
fn t_ng_06_hostile_sdp_is_refused_with_line_and_cause() {
    // Offset and number of the line behind the head.
    let (offset, line) = (HEAD.len() as u32, 6);
    let audio = "m=audio 4000 RTP/AVP 0\r\n";
    let (offset_2, line_2) = (offset + audio.len() as u32, line + 1);
    for (lines, cause) in [
        ("m=audio -1 RTP/AVP 0\r\n", SdpFault::Media),
        ("m=audio 65536 RTP/AVP 0\r\n", SdpFault::Media),
        ("m=audio 99999 RTP/AVP 0\r\n", SdpFault::Media),
        ("m=audio +5 RTP/AVP 0\r\n", SdpFault::Media),
        ("m=audio 4000/x RTP/AVP 0\r\n", SdpFault::Media),
        ("m=audio 4000/0 RTP/AVP 0\r\n", SdpFault::Media),
        ("m=audio 4000/2/2 RTP/AVP 0\r\n", SdpFault::Media),
        ("m=audio 4000\r\n", SdpFault::Media),
        ("m=audio\r\n", SdpFault::Media),
        ("nonsense\r\n", SdpFault::Line),
        ("a=with\0nul\r\n", SdpFault::Line),
        ("a=with\rcr\r\n", SdpFault::Line),
    ] {
        let error = Sdp::parse(with(lines).as_bytes()).err();
        assert_eq!(error, Some(SdpError { cause, line, offset }), "{lines:?}");
    }
    for address in [
        "IN IP4 1.1.1",
        "IN IP4 1.1.1.1/x",
        "IN IP4 1.1.1.1 x",
        "IN IP4 224.2.1.1/127",
        "IN IP4 224.2.1.1",
        "IN IP6 1.1.1.1",
        "IN IP4 evil.example.com",
        "ATM IP4 1.1.1.1",
        "",
    ] {
        for more in ["", "m=video 4002 RTP/AVP 99\r\n"] {
            let error = Sdp::parse(with(&format!("{audio}c={address}\r\n{more}")).as_bytes()).err();
            let expected = SdpError { cause: SdpFault::Connection, line: line_2, offset: offset_2 };
            assert_eq!(error, Some(expected), "{address:?}");
        }
    }
    let at = |bytes: &[u8]| Sdp::parse(bytes).err().map(|e| (e.cause, e.line, e.offset));
    assert_eq!(at(b""), Some((SdpFault::Version, 1, 0)));
    assert_eq!(at(b"\0\0"), Some((SdpFault::Version, 1, 0)));
    assert_eq!(at(b"s=-\r\nv=0\r\n"), Some((SdpFault::Version, 1, 0)));
    assert_eq!(at(b"v=0\nm=audio 4000 RTP/AVP 0\n"), Some((SdpFault::Incomplete, 2, 4)));
    for origin in ["- 1 1", "", "- 1 1 IN IP4", "- 1 1 XX IP4 1.1.1.1"] {
        assert_eq!(at(format!("v=0\no={origin}\n").as_bytes()), Some((SdpFault::Origin, 2, 4)), "{origin}");
    }
    let error = Sdp::parse(b"v=0\nm=audio x RTP/AVP 0\n").unwrap_err();
    assert_eq!(error.to_string(), "bad m= line (line 2, byte 4)");
}

/// RFC 4566 §5: the type of a line is one letter.
#[test]
fn a_line_without_a_letter_is_refused() {
    for line in ["1=x", "==x", "-=x", "é=x", "x"] {
        let text = format!("v=0\r\n{line}\r\nm=audio 4000 RTP/AVP 0\r\n");
        let error = Sdp::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string().split(" (").nth(1), Some("line 2, byte 5)"), "{line}: {error}");
    }
    let odd = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nX=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    assert!(Sdp::parse(odd).is_ok());
}

#[test]
fn t_ng_06_sizes_have_limits() {
    let head = "v=0\r\nc=IN IP4 1.1.1.1\r\n";
    let size = |body: String| Sdp::parse(format!("{head}{body}").as_bytes()).err().map(|e| e.cause);
    let line = "m=audio 4000 RTP/AVP 0\r\n";
    assert_eq!(size(line.repeat(16)), None);
    assert_eq!(size(line.repeat(17)), Some(SdpFault::TooManySections));
    assert_eq!(size(format!("m=audio 4000 RTP/AVP{}\r\n", " 0".repeat(128))), None);
    assert_eq!(size(format!("m=audio 4000 RTP/AVP{}\r\n", " 0".repeat(129))), Some(SdpFault::TooManyFormats));
    assert_eq!(size(format!("{line}{}", "a=x\r\n".repeat(512))), None);
    let two = format!("{line}{}", "a=x\r\n".repeat(300)).repeat(2);
    assert_eq!(size(two), None, "each section has its own count");
    assert_eq!(size(format!("{line}{}", "a=x\r\n".repeat(513))), Some(SdpFault::TooManyAttributes));
    assert_eq!(size(format!("a={}\r\n", "x".repeat(32_768))), Some(SdpFault::TooLong));
}
