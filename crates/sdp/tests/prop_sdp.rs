//! print(parse(b)) == b for generated SDPs and for mutations of real ones; edits keep everything they do not name.

use proptest::collection::vec;
use proptest::prelude::*;
use warp_sdp::fuzzing::fuzz_sdp;
use warp_sdp::*;

fn attribute() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a=sendonly".to_owned()),
        Just("a=rtcp-mux".to_owned()),
        Just("a=candidate:1 1 UDP 1 1.2.3.4 5 typ host".to_owned()),
        "a=rtcp:[ -~]{0,20}",
        "a=[a-z-]{1,12}(:[ -~]{0,30})?",
        "b=AS:[0-9]{1,4}",
    ]
}

fn section() -> impl Strategy<Value = Vec<String>> {
    (0u16.., prop::bool::ANY, vec(attribute(), 0..8)).prop_map(|(port, own, attributes)| {
        let mut lines = vec![format!("m=audio {port} RTP/AVP 0 101")];
        if own {
            lines.push("c=IN IP6 2001:db8::7".to_owned());
        }
        lines.extend(attributes);
        lines
    })
}

fn text() -> impl Strategy<Value = String> {
    (vec(section(), 0..5), vec(attribute(), 0..3), prop::bool::ANY, prop::bool::ANY).prop_map(
        |(sections, session, crlf, last)| {
            let mut lines: Vec<String> =
                ["v=0", "o=- 1 2 IN IP4 192.0.2.1", "s= ", "c=IN IP4 192.0.2.1", "t=0 0"]
                    .map(str::to_owned)
                    .to_vec();
            lines.extend(session);
            lines.extend(sections.into_iter().flatten());
            let end = if crlf { "\r\n" } else { "\n" };
            lines.join(end) + if last { end } else { "" }
        },
    )
}

proptest! {
    #[test]
    fn unedited_output_is_the_input(text in text()) {
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        let mut out = b"before".to_vec();
        sdp.write(&SessionEdit::default(), &[], &mut out);
        prop_assert_eq!(&out[6..], text.as_bytes());
        fuzz_sdp(text.as_bytes());
    }

    #[test]
    fn a_new_port_changes_one_line_each(text in text(), port: u16) {
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        let edits = vec![MediaEdit { port: Some(port), ..MediaEdit::default() }; sdp.media_count()];
        let mut out = Vec::new();
        sdp.write(&SessionEdit::default(), &edits, &mut out);
        let (a, b) = (text.clone(), String::from_utf8(out).unwrap());
        for (old, new) in a.lines().zip(b.lines()) {
            if old.starts_with("m=") {
                prop_assert_eq!(new, format!("m=audio {port} RTP/AVP 0 101"));
            } else {
                prop_assert_eq!(old, new);
            }
        }
        prop_assert_eq!(a.lines().count(), b.lines().count());
    }

    #[test]
    fn any_bytes_are_read_without_panic(data in vec(any::<u8>(), 0..300)) {
        fuzz_sdp(&data);
        let mut with_head = b"v=0\r\nc=IN IP4 1.1.1.1\r\n".to_vec();
        with_head.extend(data);
        fuzz_sdp(&with_head);
    }
}

#[test]
fn t_ng_06_mutated_sdps_never_panic_and_keep_their_bytes() {
    const REAL: &[u8] = b"v=0\r\no=- 3846 2 IN IP4 10.0.0.5\r\ns=-\r\nc=IN IP4 10.0.0.5\r\nt=0 0\r\na=group:BUNDLE a\r\n\
m=audio 4000 RTP/SAVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\na=rtcp:4001 IN IP4 10.0.0.5\r\na=rtcp-mux\r\na=candidate:1 1 UDP 1 1.1.1.1 1 typ host\r\n\
m=video 0 RTP/AVP 99\r\ni=t\r\nc=IN IP6 ::1\r\na=inactive\r\n";
    let mut state = 0x00C0_FFEE_u64;
    let mut next = move |n: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
    };
    let mut accepted = 0;
    for _ in 0..30_000 {
        let mut data = REAL.to_vec();
        for _ in 0..=next(3) {
            let at = next(data.len());
            match next(5) {
                0 => data[at] = next(256) as u8,
                1 => drop(data.remove(at)),
                2 => data.insert(at, b"\r\n\0 =:/mcao0-"[next(13)]),
                3 => data.truncate(at.max(1)),
                _ => {
                    let end = (at + next(60)).min(data.len());
                    let piece = data[at..end].to_vec();
                    data.extend(piece);
                }
            }
        }
        accepted += usize::from(Sdp::parse(&data).is_ok());
        fuzz_sdp(&data);
    }
    assert!(accepted > 3_000, "only {accepted} mutations were readable: the test proves little");
}
