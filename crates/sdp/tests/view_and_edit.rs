//! Facts of the view (RFC 8866, RFC 3605, RFC 5761), minimal edits, limits and hostile SDP (T-NG-06).

use std::net::IpAddr;

use warp_sdp::offer_answer::check_answer;
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
fn answers_must_fit_their_offers() {
    let body = |m: &str| format!("v=0\ns=-\nc=IN IP4 1.1.1.1\n{m}");
    let check = |offer: &str, answer: &str| {
        let (o, a) = (body(offer), body(answer));
        check_answer(&Sdp::parse(o.as_bytes()).unwrap(), &Sdp::parse(a.as_bytes()).unwrap())
    };
    let audio = "m=audio 4000 RTP/AVP 0\n";
    assert_eq!(check(audio, audio), Ok(()));
    assert_eq!(check(audio, "m=audio 0 RTP/AVP 0\n"), Ok(()));
    assert_eq!(check(audio, "m=video 4000 RTP/AVP 0\n"), Err(AnswerError::Kind));
    assert_eq!(check(audio, &audio.repeat(2)), Err(AnswerError::MediaCount));
    assert_eq!(check("m=audio 0 RTP/AVP 0\n", audio), Err(AnswerError::Revived));
}

#[test]
fn t_ng_06_hostile_sdp_is_refused() {
    let with =
        |lines: &str| format!("v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nc=IN IP4 1.1.1.1\r\nt=0 0\r\n{lines}");
    for (lines, error) in [
        ("m=audio -1 RTP/AVP 0\r\n", SdpError::Media),
        ("m=audio 65536 RTP/AVP 0\r\n", SdpError::Media),
        ("m=audio 99999 RTP/AVP 0\r\n", SdpError::Media),
        ("m=audio +5 RTP/AVP 0\r\n", SdpError::Media),
        ("m=audio 4000/2 RTP/AVP 0\r\n", SdpError::Media),
        ("m=audio 4000 RTP/AVP\r\n", SdpError::Media),
        ("m=audio\r\n", SdpError::Media),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 1.1.1\r\n", SdpError::Connection),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n", SdpError::Connection),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1\r\n", SdpError::Connection),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 1.1.1.1\r\n", SdpError::Connection),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 evil.example.com\r\n", SdpError::Connection),
        ("m=audio 4000 RTP/AVP 0\r\na=rtcp:99999\r\n", SdpError::Rtcp),
        ("m=audio 4000 RTP/AVP 0\r\na=rtcp:1 IN IP4 x\r\n", SdpError::Rtcp),
        ("nonsense\r\n", SdpError::Line),
        ("a=with\0nul\r\n", SdpError::Line),
        ("a=with\rcr\r\n", SdpError::Line),
    ] {
        assert_eq!(Sdp::parse(with(lines).as_bytes()).err(), Some(error), "{lines:?}");
    }
    assert_eq!(Sdp::parse(b"").err(), Some(SdpError::Version));
    assert_eq!(Sdp::parse(b"s=-\r\nv=0\r\n").err(), Some(SdpError::Version));
    assert_eq!(Sdp::parse(b"v=0\nm=audio 4000 RTP/AVP 0\n").err(), Some(SdpError::Incomplete));
    assert_eq!(Sdp::parse(b"v=0\no=- 1 IN IP4 x\n").err(), Some(SdpError::Origin));
}

#[test]
fn t_ng_06_sizes_have_limits() {
    let head = "v=0\r\nc=IN IP4 1.1.1.1\r\n";
    let size = |body: String| Sdp::parse(format!("{head}{body}").as_bytes()).err();
    let line = "m=audio 4000 RTP/AVP 0\r\n";
    assert_eq!(size(line.repeat(16)), None);
    assert_eq!(size(line.repeat(17)), Some(SdpError::TooLarge));
    assert_eq!(size(format!("m=audio 4000 RTP/AVP{}\r\n", " 0".repeat(64))), None);
    assert_eq!(size(format!("m=audio 4000 RTP/AVP{}\r\n", " 0".repeat(65))), Some(SdpError::TooLarge));
    assert_eq!(size(format!("{line}{}", "a=x\r\n".repeat(128))), None);
    assert_eq!(size(format!("{line}{}", "a=x\r\n".repeat(129))), Some(SdpError::TooLarge));
    assert_eq!(size(format!("a={}\r\n", "x".repeat(16_384))), Some(SdpError::TooLarge));
}
