//! Each edit by itself: what it takes, what it writes, and what it leaves alone.

use warp_sdp::*;

const SESSION: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=old\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

/// Attribute, and which field of [`Strip`] takes it; 0 = none.
const ATTRIBUTES: [(&str, u8); 20] = [
    ("candidate:1 1 UDP 1 192.0.2.1 9 typ host", 1),
    ("remote-candidates:1 192.0.2.1 9", 1),
    ("end-of-candidates", 1),
    ("ice-ufrag:abcd", 1),
    ("ice-options:trickle", 1),
    ("fingerprint:sha-256 AA", 2),
    ("setup:actpass", 2),
    ("tls-id:1", 2),
    ("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x", 3),
    ("rtcp:4001", 4),
    ("rtcp-mux", 5),
    ("rtcp-mux-only", 5),
    ("bundle-only", 6),
    ("group:BUNDLE a b", 6),
    ("mid:a", 7),
    ("group:LS a b", 0),
    ("group", 0),
    ("rtcp-fb:96 nack", 0),
    ("iced:tea", 0),
    ("sendonly", 0),
];

fn strip(field: u8) -> Strip {
    Strip {
        ice: field == 1,
        dtls: field == 2,
        crypto: field == 3,
        rtcp: field == 4,
        rtcp_mux: field == 5,
        bundle: field == 6,
        mid: field == 7,
    }
}

fn attributes(without: u8) -> String {
    let left = ATTRIBUTES.iter().filter(|(_, field)| *field != without || without == 0);
    left.map(|(text, _)| format!("a={text}\r\n")).collect()
}

#[test]
fn each_field_of_strip_takes_its_attributes_and_no_others() {
    let media = "m=audio 4000 RTP/AVP 96\r\n";
    let text = format!("{SESSION}{}{media}{}", attributes(0), attributes(0));
    let sdp = Sdp::parse(text.as_bytes()).unwrap();
    for field in 0..=7 {
        let session = SessionEdit { strip: strip(field), ..SessionEdit::default() };
        let edit = [MediaEdit { strip: strip(field), ..MediaEdit::default() }];
        for (session, edit, expected) in [
            (&session, &[][..], format!("{SESSION}{}{media}{}", attributes(field), attributes(0))),
            (
                &SessionEdit::default(),
                &edit[..],
                format!("{SESSION}{}{media}{}", attributes(0), attributes(field)),
            ),
        ] {
            let mut out = Vec::new();
            sdp.write(session, edit, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{field}");
        }
    }
}

#[test]
fn names_and_versions_of_the_session_are_written_one_by_one() {
    let sdp = Sdp::parse(SESSION.as_bytes()).unwrap();
    let written = |session: SessionEdit<'_>| {
        let mut out = Vec::new();
        sdp.write(&session, &[], &mut out);
        String::from_utf8(out).unwrap()
    };
    let of = |origin| written(SessionEdit { origin, ..SessionEdit::default() });
    let default = OriginEdit::default();
    let expect = |line: &str| SESSION.replace("o=- 1 2 IN IP4 192.0.2.1", line);
    assert_eq!(of(OriginEdit { username: Some(b"u"), ..default }), expect("o=u 1 2 IN IP4 192.0.2.1"));
    assert_eq!(of(OriginEdit { session_id: Some(b"77"), ..default }), expect("o=- 77 2 IN IP4 192.0.2.1"));
    assert_eq!(of(OriginEdit { version: Some(9), ..default }), expect("o=- 1 9 IN IP4 192.0.2.1"));
    let six = "2001:db8::1".parse().ok();
    assert_eq!(of(OriginEdit { address: six, ..default }), expect("o=- 1 2 IN IP6 2001:db8::1"));
    let named = written(SessionEdit { name: Some(b"new"), ..SessionEdit::default() });
    assert_eq!(named, SESSION.replace("s=old", "s=new"));
    let added = written(SessionEdit { add: vec!["a=x".into(), "a=y".into()], ..SessionEdit::default() });
    assert_eq!(added, format!("{SESSION}a=x\r\na=y\r\n"));
}

#[test]
fn a_direction_takes_the_place_of_the_old_ones() {
    let section = |lines: &str| format!("{SESSION}m=audio 4000 RTP/AVP 0\r\n{lines}");
    let edit = [MediaEdit { direction: Some(Direction::RecvOnly), ..MediaEdit::default() }];
    for (before, after) in [
        ("a=x\r\na=sendonly\r\na=y\r\n", "a=x\r\na=recvonly\r\na=y\r\n"),
        ("a=sendrecv\r\na=y\r\na=inactive\r\n", "a=recvonly\r\na=y\r\n"),
        ("a=x\r\n", "a=x\r\na=recvonly\r\n"),
    ] {
        let text = section(before);
        let mut out = Vec::new();
        Sdp::parse(text.as_bytes()).unwrap().write(&SessionEdit::default(), &edit, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), section(after));
    }
}

#[test]
fn formats_that_go_take_their_own_lines_only() {
    let lines = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:96 X/8000\r\na=fmtp:96 y\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:0 nack\r\na=rtcp-fb:* pli\r\na=ptime:20\r\na=imageattr:96 z\r\n";
    let text = format!("{SESSION}m=audio 4000 RTP/AVP 0 96\r\n{lines}");
    let edit = [MediaEdit {
        formats: Some(vec![b"0"]),
        port: Some(9),
        protocol: Some("RTP/SAVP"),
        ..MediaEdit::default()
    }];
    let mut out = Vec::new();
    Sdp::parse(text.as_bytes()).unwrap().write(&SessionEdit::default(), &edit, &mut out);
    let left =
        "a=rtpmap:0 PCMU/8000\r\na=rtcp-fb:0 nack\r\na=rtcp-fb:* pli\r\na=ptime:20\r\na=imageattr:96 z\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), format!("{SESSION}m=audio 9 RTP/SAVP 0\r\n{left}"));
}

/// RFC 3264 §6.1, all sixteen pairs.
#[test]
fn directions_meet_as_the_rfc_says() {
    use Direction::*;
    let all = [SendRecv, SendOnly, RecvOnly, Inactive];
    let table = [
        [SendRecv, RecvOnly, SendOnly, Inactive],
        [SendOnly, Inactive, SendOnly, Inactive],
        [RecvOnly, RecvOnly, Inactive, Inactive],
        [Inactive, Inactive, Inactive, Inactive],
    ];
    for (offer, row) in all.into_iter().zip(table) {
        for (answer, result) in all.into_iter().zip(row) {
            assert_eq!(offer.with_answer(answer), result, "{offer:?} {answer:?}");
        }
    }
    for d in all {
        assert_eq!(Direction::from_name(d.as_str().as_bytes()), Some(d));
        assert_eq!(Direction::of(d.sends(), d.receives()), d);
        assert_eq!((d.reversed().sends(), d.reversed().receives()), (d.receives(), d.sends()));
    }
    assert_eq!(Direction::from_name(b"sendrec"), None);
}

#[test]
fn hold_is_not_wanting_to_receive() {
    let of = |ip: &str, line: &str| {
        let text = format!(
            "v=0\r\ns=-\r\nc=IN IP4 {ip}\r\nm=audio 4000 RTP/AVP 0\r\n{line}m=audio 0 RTP/AVP 0\r\na=inactive\r\n"
        );
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        let (first, refused) = (sdp.media_at(0).unwrap(), sdp.media_at(1).unwrap());
        assert!(refused.is_rejected() && !refused.is_hold());
        (first.effective_direction(), first.is_hold())
    };
    use Direction::*;
    assert_eq!(of("192.0.2.1", ""), (SendRecv, false));
    assert_eq!(of("192.0.2.1", "a=recvonly\r\n"), (RecvOnly, false));
    assert_eq!(of("192.0.2.1", "a=sendonly\r\n"), (SendOnly, true));
    assert_eq!(of("192.0.2.1", "a=inactive\r\n"), (Inactive, true));
    assert_eq!(of("0.0.0.0", ""), (SendOnly, true));
    assert_eq!(of("0.0.0.0", "a=recvonly\r\n"), (Inactive, true));
}

#[test]
fn rtpmaps_that_can_be_read_are_read() {
    let lines = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:127 opus/48000/2\r\na=rtpmap:128 X/1\r\na=rtpmap:x Y/1\r\na=rtpmap:5 Z\r\na=rtpmap\r\na=rtpmap:7 W/99999999999\r\na=ptime: 30\r\n";
    let text = format!("{SESSION}m=audio 4000 RTP/AVP 0\r\n{lines}");
    let sdp = Sdp::parse(text.as_bytes()).unwrap();
    let media = sdp.media_at(0).unwrap();
    let maps: Vec<_> = media.rtpmaps().map(|m| (m.payload_type, m.name, m.clock, m.channels)).collect();
    assert_eq!(maps, [(0, &b"PCMU"[..], 8_000, None), (127, b"opus", 48_000, Some(&b"2"[..]))]);
    assert_eq!((media.ptime_ms(), media.index(), media.has_connection_line()), (Some(30), 0, false));
    assert_eq!(sdp.session_name(), Some(&b"old"[..]));
    // A connection line of its own counts as one whether it can be read or not.
    for (line, ip) in [("c=IN IP4 192.0.2.9\r\n", "192.0.2.9"), ("", "192.0.2.1")] {
        let text =
            format!("{SESSION}m=audio 4000 RTP/AVP 0\r\n{line}m=video 0 RTP/AVP 0\r\nc=IN IP4 host\r\n");
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        let (first, second) = (sdp.media_at(0).unwrap(), sdp.media_at(1).unwrap());
        assert_eq!((first.has_connection_line(), second.has_connection_line()), (!line.is_empty(), true));
        assert_eq!(first.connection().map(|c| c.ip), ip.parse().ok());
    }
}

#[test]
fn each_fault_says_what_is_wrong() {
    for (fault, words) in [
        (SdpFault::TooLong, "SDP is too long"),
        (SdpFault::TooManySections, "too many m= lines"),
        (SdpFault::TooManyFormats, "too many formats in an m= line"),
        (SdpFault::TooManyAttributes, "too many attributes in a section"),
        (SdpFault::Line, "line is not type=value"),
        (SdpFault::Version, "SDP does not begin with v=0"),
        (SdpFault::Media, "bad m= line"),
        (SdpFault::Connection, "bad c= line"),
        (SdpFault::Origin, "bad o= line"),
        (SdpFault::Incomplete, "media without c= line"),
    ] {
        assert_eq!(fault.as_str(), words);
        let of_whole = SdpError { cause: fault, line: 0, offset: 0 };
        let of_line = SdpError { cause: fault, line: 3, offset: 17 };
        assert_eq!(
            (of_whole.to_string(), of_line.to_string()),
            (words.to_owned(), format!("{words} (line 3, byte 17)"))
        );
    }
}

/// Multicast sessions may name several; of a unicast one the first counts, and one is written.
#[test]
fn of_several_connection_lines_the_first_counts_and_one_is_written() {
    let text = "v=0\r\nc=IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.2\r\nm=audio 4000 RTP/AVP 0\r\n";
    let sdp = Sdp::parse(text.as_bytes()).unwrap();
    assert_eq!(sdp.connection().map(|c| c.ip), "192.0.2.1".parse().ok());
    let session = SessionEdit { connection: "203.0.113.9".parse().ok(), ..SessionEdit::default() };
    let mut out = Vec::new();
    sdp.write(&session, &[], &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "v=0\r\nc=IN IP4 203.0.113.9\r\nm=audio 4000 RTP/AVP 0\r\n");
    // A first one that cannot be read is not made good by a second.
    let hidden = "v=0\r\nc=IN IP4 host.example.com\r\nc=IN IP4 192.0.2.2\r\nm=audio 4000 RTP/AVP 0\r\n";
    let error = Sdp::parse(hidden.as_bytes()).err();
    assert_eq!(error, Some(SdpError { cause: SdpFault::Connection, line: 2, offset: 5 }));
}
