//! What an SDP may cost: at most 64 bytes of memory for each of its own, and 64 KiB (G-1, T-NG-06).

use allocation_counter::measure;
use warp_sdp::{MediaEdit, Sdp, SessionEdit};

fn check(data: &[u8]) -> bool {
    let limit = data.len() as u64 * 64 + 65_536;
    let mut read = false;
    let used = measure(|| {
        if let Ok(sdp) = Sdp::parse(data) {
            read = true;
            let edits = vec![MediaEdit { port: Some(9), ..MediaEdit::default() }; sdp.media_count()];
            let mut out = Vec::new();
            sdp.write(&SessionEdit::default(), &edits, &mut out);
            for media in sdp.media() {
                // Views own nothing.
                let _ = (media.rtpmaps().count(), media.formats().count(), media.effective_direction());
            }
        }
    });
    assert!(used.bytes_max <= limit, "{} bytes took {}", data.len(), used.bytes_max);
    assert!(used.count_total <= 64, "{} allocations for {} bytes", used.count_total, data.len());
    read
}

#[test]
fn t_ng_06_damaged_and_largest_sdps_cost_no_more_than_their_size_allows() {
    let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    let section =
        "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:4001\r\na=sendrecv\r\n";
    let whole = format!("{head}{section}{section}");
    let mut state = 0x0A11_0C8Du64;
    let mut below = move |n: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
    };
    let mut read = 0;
    for _ in 0..10_000 {
        let mut data = whole.clone().into_bytes();
        for _ in 0..=below(3) {
            let at = below(data.len());
            match below(4) {
                0 => data[at] = below(256) as u8,
                1 => drop(data.remove(at)),
                2 => data.insert(at, b"\r\n =:/mcao0-"[below(12)]),
                _ => {
                    let piece = data[at..(at + below(80)).min(data.len())].to_vec();
                    data.extend(piece);
                }
            }
        }
        read += usize::from(check(&data));
    }
    assert!(read > 1_000, "only {read} could be read: the test proves little");
    // As many lines, sections and formats as the limits allow.
    let lines = format!("{head}{}", "a=x\r\n".repeat(512));
    assert!(check(lines.as_bytes()));
    assert!(check(format!("{head}{}", "\r\n".repeat(16_000)).as_bytes()));
    assert!(check(format!("{head}{}", section.repeat(16)).as_bytes()));
    assert!(check(format!("{head}m=audio 1 RTP/AVP{}\r\n", " 0".repeat(128)).as_bytes()));
    assert!(!check(&vec![b'v'; 100_000]));
}
