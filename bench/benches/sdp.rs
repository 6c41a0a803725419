//! SDP: reading and rewriting what a relay rewrites for every offer and answer.

use std::net::IpAddr;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use warp_sdp::{MediaEdit, OriginEdit, Sdp, SessionEdit, Strip};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const SDP: &str = "v=0\r\no=carrier 3725198 3725198 IN IP4 198.51.100.20\r\ns=-\r\nc=IN IP4 198.51.100.20\r\nt=0 0\r\nm=audio 21432 RTP/AVP 0 8 101\r\n\
    a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";

fn edits() -> (SessionEdit<'static>, Vec<MediaEdit<'static>>) {
    let ip = IpAddr::from([203, 0, 113, 9]);
    let strip =
        Strip { ice: true, dtls: true, crypto: true, rtcp: true, rtcp_mux: true, bundle: true, mid: false };
    let session = SessionEdit {
        origin: OriginEdit { address: Some(ip), ..OriginEdit::default() },
        connection: Some(ip),
        strip,
        ..SessionEdit::default()
    };
    let media = MediaEdit {
        port: Some(30_412),
        connection: Some(ip),
        strip,
        add: vec!["a=rtcp:30413".to_owned()],
        ..MediaEdit::default()
    };
    (session, vec![media])
}

/// Reading alone: the index of a description.
#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    bencher
        .counter(BytesCount::of_str(SDP))
        .bench_local(|| Sdp::parse(black_box(SDP.as_bytes())).unwrap().media_count());
}

/// Index, the facts that a relay needs, and the rewritten copy.
#[divan::bench]
fn rewrite(bencher: Bencher<'_, '_>) {
    let (session, media) = edits();
    let mut out = Vec::with_capacity(1_024);
    bencher.counter(BytesCount::of_str(SDP)).bench_local(|| {
        out.clear();
        let sdp = Sdp::parse(black_box(SDP.as_bytes())).unwrap();
        let audio = sdp.media_at(0).unwrap();
        black_box((audio.port(), audio.connection(), audio.rtcp(), audio.has_rtcp_mux(), audio.direction()));
        sdp.write(&session, &media, &mut out);
        out.len()
    });
}

/// The largest SDP that is read at all: 16 sections, 16 KiB.
#[divan::bench]
fn rewrite_largest(bencher: Bencher<'_, '_>) {
    let mut text =
        "v=0\r\no=- 1 1 IN IP4 198.51.100.20\r\ns=-\r\nc=IN IP4 198.51.100.20\r\nt=0 0\r\n".to_owned();
    for _ in 0..16 {
        text.push_str("m=audio 21432 RTP/AVP 0 8 101\r\n");
        text.push_str(&"a=x-attribute:0123456789012345678901234567890123456789\r\n".repeat(17));
    }
    assert!(text.len() <= 32_768);
    let (session, media) = edits();
    let media = vec![media[0].clone(); 16];
    let mut out = Vec::with_capacity(32_768);
    bencher.counter(BytesCount::of_str(&text)).bench_local(|| {
        out.clear();
        Sdp::parse(black_box(text.as_bytes())).unwrap().write(&session, &media, &mut out);
        out.len()
    });
}
