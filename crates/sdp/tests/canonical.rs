//! The canonical rendering, whole text against whole text: which line stands where is what its clients compare
//! (`ref/ng-protocol.md`, "Canonical rendering"). The peer that it follows is met in `media-relay/tests/canonical.rs`.

use std::net::{IpAddr, Ipv4Addr};

use warp_sdp::{
    AttributeChanges, CanonicalMedia, CanonicalSession, Direction, OriginEdit, RefusedSection, Sdp, Strip,
};

/// Every kind of line in an order that is not the canonical one.
const MIXED: &str = "v=0\r\no=alice 11 12 IN IP4 198.51.100.1\r\ns=call\r\nb=X-OWN:7\r\nb=RR:3\r\nb=AS:64\r\n\
    c=IN IP4 198.51.100.1\r\nt=1 2\r\nk=prompt\r\na=tool:x\r\na=sendonly\r\ni=info\r\n\
    m=audio 4000 RTP/AVP 96 8 0 101 18\r\nb=TIAS:9\r\nb=AS:32\r\ni=voice\r\n\
    a=ptime:20\r\na=maxptime:40\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:old\r\na=sendonly\r\na=rtcp:4001\r\n\
    a=rtcp-mux\r\na=ssrc:1 cname:a\r\na=extmap:1 urn:e\r\na=extmap-allow-mixed\r\na=rtcp-fb:* ccm fir\r\n\
    a=rtcp-fb:96 nack\r\na=fmtp:101 0-15\r\na=fmtp:96 x=1\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=rtpmap:96 opus/48000/2\r\na=rtpmap:96 second/48000\r\na=rtpmap:8 PCMA/8000/1\r\na=rtpmap:77 nobody/8000\r\n\
    a=bundle-only\r\na=label:one\r\na=mid:a\r\na=tls-id:t\r\na=fingerprint:sha-256 F\r\na=setup:actpass\r\n";

fn said() -> CanonicalMedia<'static> {
    CanonicalMedia {
        port: 30_000,
        ip: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        rtcp: Some("30001".to_owned()),
        ..CanonicalMedia::refused(true)
    }
}

fn render(
    source: &str,
    session: &CanonicalSession<'_>,
    media: &[CanonicalMedia<'_>],
    missing: &[(usize, RefusedSection<'_>)],
) -> String {
    let mut out = Vec::new();
    Sdp::parse(source.as_bytes()).unwrap().write_canonical(session, media, missing, &mut out);
    String::from_utf8(out).unwrap().replace("\r\n", "\n")
}

/// The lines from the `m=` on.
fn section(source: &str, edit: CanonicalMedia<'_>) -> String {
    let all = render(source, &CanonicalSession::default(), &[edit], &[]);
    all[all.find("m=").unwrap()..].to_owned()
}

#[test]
fn every_line_has_its_place() {
    let text = render(MIXED, &CanonicalSession::default(), &[said()], &[]);
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "v=0",
        "o=alice 11 12 IN IP4 198.51.100.1",
        "s=call",
        "i=info",
        "b=AS:64",
        "b=RR:3",
        "t=1 2",
        "a=tool:x",
        "m=audio 30000 RTP/AVP 96 8 0 101 18",
        "i=voice",
        "c=IN IP4 203.0.113.9",
        "b=AS:32",
        "b=TIAS:9",
        "a=mid:a",
        "a=label:one",
        "a=bundle-only",
        // Each format has its map, its parameters, its feedback; the first map counts, one channel is not written.
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 x=1",
        "a=rtcp-fb:96 nack",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=rtpmap:18 G729/8000",
        "a=extmap:1 urn:e",
        "a=extmap-allow-mixed",
        "a=ssrc:1 cname:a",
        "a=rtcp-fb:* ccm fir",
        "a=sendonly",
        "a=rtcp:30001",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:old",
        "a=setup:actpass",
        "a=fingerprint:sha-256 F",
        "a=tls-id:t",
        "a=ptime:20",
        "a=maxptime:40",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn every_static_payload_type_says_what_it_is() {
    // RFC 3551 §6, tables 4 and 5.
    let known = [
        (0, "PCMU/8000"),
        (3, "GSM/8000"),
        (4, "G723/8000"),
        (5, "DVI4/8000"),
        (6, "DVI4/16000"),
        (7, "LPC/8000"),
        (8, "PCMA/8000"),
        (9, "G722/8000"),
        (10, "L16/44100/2"),
        (11, "L16/44100"),
        (12, "QCELP/8000"),
        (13, "CN/8000"),
        (14, "MPA/90000"),
        (15, "G728/8000"),
        (16, "DVI4/11025"),
        (17, "DVI4/22050"),
        (18, "G729/8000"),
        (25, "CelB/90000"),
        (26, "JPEG/90000"),
        (28, "nv/90000"),
        (31, "H261/90000"),
        (32, "MPV/90000"),
        (33, "MP2T/90000"),
        (34, "H263/90000"),
    ];
    for number in 0u8..=127 {
        let source = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {number}\r\n"
        );
        let text = section(&source, said());
        let map = text.lines().find_map(|l| l.strip_prefix("a=rtpmap:"));
        let name = known.iter().find(|(n, _)| *n == number).map(|(n, name)| format!("{n} {name}"));
        assert_eq!(map, name.as_deref(), "{number}");
    }
}

#[test]
fn what_is_asked_for_stands_instead_of_what_was_said() {
    let changes = (
        vec![b"ssrc".to_vec(), b"extmap:1 urn:e".to_vec()],
        vec![(b"label:one".to_vec(), b"label:two".to_vec()), (b"tool:x".to_vec(), b"tool:y".to_vec())],
    );
    let attributes = AttributeChanges { remove: &changes.0, substitute: &changes.1 };
    let session = CanonicalSession {
        origin: OriginEdit {
            address: Some("2001:db8::1".parse().unwrap()),
            username: Some(b"warp"),
            session_id: Some(b"5"),
            version: Some(6),
        },
        name: Some(b"ours"),
        attributes,
        keep_direction: true,
        own: vec!["a=own".to_owned()],
        add: vec!["a=last".to_owned()],
        ..CanonicalSession::default()
    };
    let media = CanonicalMedia {
        ip: "2001:db8::2".parse().unwrap(),
        protocol: Some("RTP/SAVP"),
        formats: Some(vec![b"0", b"96"]),
        direction: Some(Direction::Inactive),
        mid: Some("z".to_owned()),
        mux: true,
        keys: vec!["a=crypto:1 new".to_owned()],
        strip: Strip { crypto: true, dtls: true, mid: true, ..Strip::default() },
        attributes,
        add: vec!["a=added".to_owned()],
        ..said()
    };
    let text = render(MIXED, &session, &[media], &[]);
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "v=0",
        "o=warp 5 6 IN IP6 2001:db8::1",
        "s=ours",
        "i=info",
        "b=AS:64",
        "b=RR:3",
        "t=1 2",
        "a=own",
        "a=tool:y",
        "a=sendonly",
        "a=last",
        "m=audio 30000 RTP/SAVP 0 96",
        "i=voice",
        "c=IN IP6 2001:db8::2",
        "b=AS:32",
        "b=TIAS:9",
        "a=mid:z",
        "a=label:two",
        "a=bundle-only",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 x=1",
        "a=rtcp-fb:96 nack",
        "a=extmap-allow-mixed",
        "a=rtcp-fb:* ccm fir",
        "a=inactive",
        "a=rtcp:30001",
        "a=rtcp-mux",
        "a=crypto:1 new",
        "a=ptime:20",
        "a=maxptime:40",
        "a=added",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_refused_section_ends_behind_its_names() {
    let text = section(MIXED, CanonicalMedia::refused(true));
    assert_eq!(
        text,
        "m=audio 0 RTP/AVP 96 8 0 101 18\ni=voice\nc=IN IP4 0.0.0.0\nb=AS:32\nb=TIAS:9\na=mid:a\na=label:one\na=bundle-only\n"
    );
    let six = section(MIXED, CanonicalMedia { whole: true, ..CanonicalMedia::refused(false) });
    assert!(six.contains("\nc=IN IP6 ::\n") && six.ends_with("a=bundle-only\n"), "{six}");
}

#[test]
fn what_is_not_rtp_is_passed_on_whole() {
    let fax = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=image 4000 udptl t38\r\na=T38FaxVersion:0\r\na=ptime:20\r\na=rtpmap:0 PCMU/8000\r\n";
    let whole = CanonicalMedia { whole: true, direction: Some(Direction::RecvOnly), ..said() };
    assert_eq!(
        section(fax, whole.clone()),
        "m=image 30000 udptl t38\nc=IN IP4 203.0.113.9\na=T38FaxVersion:0\na=ptime:20\na=rtpmap:0 PCMU/8000\na=recvonly\n"
    );
    // A direction of its own stays.
    let own = format!("{fax}a=sendonly\r\n");
    assert!(section(&own, whole).ends_with("a=rtpmap:0 PCMU/8000\na=sendonly\n"));
}

#[test]
fn sections_are_left_out_and_refused_ones_put_back_where_they_stood() {
    let two = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 34\r\n";
    let gone = CanonicalMedia { remove: true, ..said() };
    let refused = |kind, formats| RefusedSection { kind, protocol: b"RTP/AVP", formats };
    let missing =
        [(0, refused(b"text", b"98")), (1, refused(b"audio", b"")), (2, refused(b"video", b"99 100"))];
    let text = render(two, &CanonicalSession::default(), &[gone, said()], &missing);
    let sections: Vec<&str> = text.lines().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(
        sections,
        [
            "m=text 0 RTP/AVP 98",
            "m=audio 0 RTP/AVP 0",
            "m=video 30000 RTP/AVP 34",
            "m=video 0 RTP/AVP 99 100"
        ]
    );
}

#[test]
fn a_session_that_says_nothing_says_nobody() {
    // RFC 8866 §5.2 and §5.3.
    let bare = "v=0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n";
    let text = render(bare, &CanonicalSession::default(), &[CanonicalMedia { rtcp: None, ..said() }], &[]);
    assert_eq!(
        text,
        "v=0\no=- 0 0 IN IP4 0.0.0.0\ns=-\nt=0 0\nm=audio 30000 RTP/AVP 0\nc=IN IP4 203.0.113.9\na=rtpmap:0 PCMU/8000\n"
    );
}
