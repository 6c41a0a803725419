//! Figures belong to a direction: what the caller sent is never shown, summed or ended as what the callee sent.

mod desk;

use std::sync::atomic::Ordering::Relaxed;

use desk::*;
use warp_media::{DropReason, StreamCounters};
use warp_media_relay::core::Output;
use warp_ng::{Command, Delete, Query, SsrcStats, TagStats};

/// What a shard would have counted.
struct Heard {
    ssrc: u32,
    packets: u64,
    lost: u64,
    jitter_us: u32,
    rtt_us: u32,
    payload_type: u32,
    refused: u64,
}

const CALLER: Heard = Heard {
    ssrc: 0xA,
    packets: 1_000,
    lost: 250,
    jitter_us: 7_000,
    rtt_us: 40_000,
    payload_type: 0,
    refused: 3,
};
const CALLEE: Heard = Heard {
    ssrc: 0xB,
    packets: 2_000,
    lost: 20,
    jitter_us: 1_000,
    rtt_us: 90_000,
    payload_type: 8,
    refused: 11,
};

fn count(counters: &StreamCounters, h: &Heard) {
    counters.packets.store(h.packets, Relaxed);
    counters.bytes.store(h.packets * 172, Relaxed);
    counters.expected.store(h.packets + h.lost, Relaxed);
    counters.received.store(h.packets, Relaxed);
    counters.jitter_us.store(h.jitter_us, Relaxed);
    counters.rtt_us.store(h.rtt_us, Relaxed);
    counters.ssrc.store(h.ssrc, Relaxed);
    counters.payload_type.store(h.payload_type, Relaxed);
    counters.rtcp_packets.store(h.packets / 100, Relaxed);
    counters.rtcp_bytes.store(h.packets, Relaxed);
    counters.rtcp_ssrc.store(h.ssrc + 0x100, Relaxed);
    counters.drops[DropReason::Source.index()].store(h.refused, Relaxed);
}

fn check(tag: &TagStats, mine: &Heard, theirs: &Heard) {
    let [rtp, rtcp] = &tag.medias[0].streams[..] else { panic!("{tag:?}") };
    assert_eq!((rtp.ssrc, rtcp.ssrc), (Some(mine.ssrc), Some(mine.ssrc + 0x100)));
    assert_eq!((rtp.received.packets, rtp.received.bytes), (mine.packets, mine.packets * 172));
    assert_eq!((rtp.sent.packets, rtp.received.errors), (theirs.packets, mine.refused));
    assert_eq!((rtcp.received.packets, rtcp.sent.packets), (mine.packets / 100, theirs.packets / 100));
    check_source(rtp.source.as_ref().unwrap(), mine, theirs);
}

fn check_source(source: &SsrcStats, mine: &Heard, theirs: &Heard) {
    assert_eq!((source.ssrc, source.packets, source.lost), (mine.ssrc, mine.packets, mine.lost));
    let average = &source.average;
    assert_eq!(
        (average.jitter_us, average.round_trip_leg_us),
        (u64::from(mine.jitter_us), u64::from(mine.rtt_us))
    );
    assert_eq!(average.round_trip_us, u64::from(mine.rtt_us + theirs.rtt_us));
    assert_eq!(average.loss_percent, mine.lost * 100 / (mine.packets + mine.lost));
}

#[test]
fn figures_keep_to_their_direction() {
    let (mut book, mut rules) = (book(), Rules::default());
    let mut o = offer("c", "caller", sdp("198.51.100.1", 4000, ""));
    o.label = Some(b"trunk of the caller".to_vec());
    let to_callee = text(run(&mut book, Command::Offer(o), at(0)));
    let mut a = answer("c", "caller", "callee", sdp("192.0.2.2", 5000, ""));
    a.label = Some(b"trunk of the callee".to_vec());
    let to_caller = text(run(&mut book, Command::Answer(a), at(0)));
    rules.drain(&mut book);
    // The caller sends to the port in what it was told.
    count(&rules.at(port(&to_caller)).counters, &CALLER);
    count(&rules.at(port(&to_callee)).counters, &CALLEE);
    // Reports that come in with one direction speak of the other.
    let reverse = rules.at(port(&to_caller)).reverse.as_ref().unwrap();
    assert_eq!(reverse.ssrc.load(Relaxed), CALLEE.ssrc);
    // One look at the interval, then the running one has nothing new.
    book.handle_samples(at(10));
    let query = Query { call_id: b"c".to_vec(), from_tag: None, to_tag: None };
    let shown = stats(run(&mut book, Command::Query(query), at(12)));
    let of = |tag: &[u8]| shown.tags.iter().find(|t| t.tag == tag).unwrap();
    check(of(b"caller"), &CALLER, &CALLEE);
    check(of(b"callee"), &CALLEE, &CALLER);
    let [first, second] = &shown.ssrcs[..] else { panic!("{:?}", shown.ssrcs) };
    check_source(first, &CALLER, &CALLEE);
    check_source(second, &CALLEE, &CALLER);
    assert_eq!(first.progression.iter().map(|e| e.loss_percent).collect::<Vec<_>>(), [20]);
    assert_eq!(second.progression.iter().map(|e| e.loss_percent).collect::<Vec<_>>(), [0]);
    assert_eq!((shown.rtp.packets, shown.rtcp.packets), (3_000, 30));
    let from = |tag: &[u8]| shown.figures_from(tag);
    assert_eq!((from(b"caller").packets, from(b"caller").lost), (CALLER.packets, CALLER.lost));
    assert_eq!((from(b"callee").packets, from(b"callee").lost), (CALLEE.packets, CALLEE.lost));
    // And at the end: by sender, beside the sender's label.
    let delete = Delete { delete_delay: Some(0), ..Delete::call("c") };
    assert!(run(&mut book, Command::Delete(delete), at(20)).is_ok());
    let ended = std::iter::from_fn(|| book.poll_output()).find_map(|output| match output {
        Output::StreamEnded(stream) => Some(stream),
        _ => None,
    });
    let ended = ended.expect("the stream has ended");
    assert_eq!(ended.figures.map(|f| (f.ssrc, f.lost, f.rtt_us)), [(0xA, 250, 40_000), (0xB, 20, 90_000)]);
    let labels = ended.labels.map(|l| String::from_utf8(l.unwrap()).unwrap());
    assert_eq!(labels, ["trunk of the caller", "trunk of the callee"]);
}

/// PBXs write `rtp/avp` in small letters (field/media.md, m-line-oddities): it is plain RTP like any other, in the offer and in the answer.
#[test]
fn the_protocol_of_a_media_line_is_read_in_any_letter_case() {
    for (offered, answered) in
        [("rtp/avp", "RTP/AVP"), ("RTP/AVP", "rtp/avp"), ("Rtp/Avp", "rtp/AVP"), ("rtp/avpf", "RTP/AVPF")]
    {
        let (mut book, mut rules) = (book(), Rules::default());
        let written =
            |address: &str, port: u16, protocol: &str| sdp(address, port, "").replace("RTP/AVP", protocol);
        let o = offer("c1", "f", written("198.51.100.1", 4000, offered));
        let to_callee = text(run(&mut book, Command::Offer(o), at(0)));
        assert!(to_callee.contains(&format!(" {offered} 0 101")), "as it was written: {to_callee}");
        let a = answer("c1", "f", "t", written("192.0.2.2", 5000, answered));
        let to_caller = text(run(&mut book, Command::Answer(a), at(1)));
        let (callers, callees) = (port(&to_caller), port(&to_callee));
        assert!(callers > 0 && callees > 0, "{offered} {answered}: nothing is rejected");
        rules.drain(&mut book);
        for (at, to) in [(callers, "192.0.2.2:5000"), (callees, "198.51.100.1:4000")] {
            let rule = rules.at(at);
            assert_eq!(rule.rtp.unwrap().to, Some(sock(to)), "{offered} {answered}");
            assert_eq!(rule.max_packets_per_s, 200, "as for any RTP");
            assert_eq!(rule.clocks.hz(101), 8_000);
        }
    }
}
