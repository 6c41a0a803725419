//! Figures of a stream as a shard counts them: over new rules, new sources, steps and late packets.

mod common;

use std::sync::atomic::Ordering::Relaxed;

use common::*;
use warp_media::{Carries, DropReason, ForwardRule, Judgement, MediaPath, RuleState, SourcePolicy};

/// A packet of SSRC `ssrc` whose timestamp is `ahead` units before its usual one.
fn stamped(ssrc: u32, sequence: u16, ahead: u32) -> Vec<u8> {
    let mut p = rtp(ssrc, sequence);
    let timestamp = u32::from(sequence).wrapping_mul(160).wrapping_add(ahead);
    p[4..8].copy_from_slice(&timestamp.to_be_bytes());
    p
}

/// Every second packet 5 ms late.
fn shaky(state: &mut RuleState, numbers: std::ops::Range<u16>) {
    for s in numbers {
        let late = u64::from(s % 2) * 5;
        assert_eq!(
            state.apply(&rtp(1, s), addr(A), at_ms(u64::from(s) * 20 + late)),
            forwarded(MediaPath::Rtp)
        );
    }
}

#[test]
fn jitter_and_its_largest_value_are_kept_over_a_new_rule() {
    let mut state = exact(Carries::Rtp);
    shaky(&mut state, 0..400);
    let before = state.rule().counters.snapshot(0);
    assert!((4_000..=5_000).contains(&before.jitter_us), "{}", before.jitter_us);
    assert_eq!((before.jitter_max_us, before.timestamp), (before.jitter_us, 399 * 160));
    state.replace(ForwardRule { max_packets_per_s: 500, ..state.rule().clone() });
    shaky(&mut state, 400..402);
    let after = state.rule().counters.snapshot(0);
    assert!(after.jitter_us >= 4_000, "{}", after.jitter_us);
    assert_eq!((after.expected, after.lost), (402, 0));
    // A calm stream lets the value fall, and the largest one stands.
    for s in 402..900u16 {
        state.apply(&rtp(1, s), addr(A), at_ms(u64::from(s) * 20 + 5));
    }
    let calm = state.rule().counters.snapshot(0);
    assert!(
        calm.jitter_us < 1_000 && calm.jitter_max_us >= 4_000,
        "{} {}",
        calm.jitter_us,
        calm.jitter_max_us
    );
    assert_eq!(calm.first_packet_ns, at_ms(0).0);
}

#[test]
fn another_source_begins_with_a_clock_of_its_own() {
    let mut state = exact(Carries::Rtp);
    for s in 0..50u16 {
        state.apply(&rtp(1, s), addr(A), at_ms(u64::from(s) * 20));
    }
    // Half a second off: within what would count as jitter of one source.
    for s in 50..100u16 {
        state.apply(&stamped(2, s, 4_000), addr(A), at_ms(u64::from(s) * 20));
    }
    let f = state.rule().counters.snapshot(0);
    assert_eq!((f.jitter_us, f.jitter_max_us, f.ssrc, f.expected, f.lost), (0, 0, 2, 100, 0));
}

#[test]
fn late_and_reordered_packets_show_in_the_figures() {
    let mut state = exact(Carries::Rtp);
    for s in [0, 1, 2, 3, 4, 10, 9, 9, 11, 5, 12] {
        state.apply(&rtp(1, s), addr(A), at_ms(u64::from(s) * 20));
    }
    let f = state.rule().counters.snapshot(0);
    assert_eq!((f.reordered, f.late, f.duplicates, f.expected, f.lost), (2, 1, 1, 13, 3));
}

#[test]
fn t_rtp_11_the_packet_limit_survives_a_new_rule() {
    let mut limited = rule(Carries::Rtp, SourcePolicy::Exact(addr(A)));
    limited.max_packets_per_s = 200;
    let mut state = RuleState::new(limited.clone());
    let burst = |state: &mut RuleState, from: u16| {
        (from..from + 400)
            .filter(|s| state.apply(&rtp(1, *s), addr(A), at_ms(0)) == forwarded(MediaPath::Rtp))
            .count()
    };
    assert!((200..=202).contains(&burst(&mut state, 0)));
    for _ in 0..5 {
        state.replace(limited.clone());
        assert_eq!(burst(&mut state, 1_000), 0, "a re-offer is no new second");
    }
    assert_eq!(state.rule().counters.dropped(DropReason::Rate), 400 - 201 + 5 * 400);
}

#[test]
fn rtcp_is_counted_in_packets_and_bytes() {
    let mut state = exact(Carries::Mux);
    for _ in 0..3 {
        assert_eq!(state.apply(&rr(7), addr(A), at_ms(5)), forwarded(MediaPath::Rtcp));
    }
    let f = state.rule().counters.snapshot(0);
    assert_eq!((f.rtcp_packets, f.rtcp_bytes, f.rtcp_ssrc, f.packets), (3, 24, 7, 0));
    assert_eq!(f.last_packet_ns, at_ms(5).0);
}

/// LSR 0 says that no sender report has come (RFC 3550 §6.4.1), also where the sender's clock says 0.
#[test]
fn a_report_that_answers_nothing_gives_no_round_trip() {
    let far = std::sync::Arc::new(warp_media::StreamCounters::default());
    let mut of_far = rule(Carries::Rtcp, SourcePolicy::Exact(addr(B)));
    of_far.counters = std::sync::Arc::clone(&far);
    let sender_report = [&[0x80, 200, 0, 6, 0, 0, 0, 1][..], &[0; 20]].concat();
    RuleState::new(of_far).apply(&sender_report, addr(B), at_ms(0));
    let mut near = rule(Carries::Rtcp, SourcePolicy::Exact(addr(A)));
    near.reverse = Some(std::sync::Arc::clone(&far));
    let mut near = RuleState::new(near);
    let report = |last_sr: u32| {
        [&[0x81, 201, 0, 7, 0, 0, 0, 2, 0, 0, 0, 1][..], &[0; 12], &last_sr.to_be_bytes(), &[0; 4]].concat()
    };
    for last_sr in [0, 5] {
        assert_eq!(near.apply(&report(last_sr), addr(A), at_ms(80)), forwarded(MediaPath::Rtcp));
    }
    assert_eq!(far.rtt_us.load(Relaxed), 0);
}

#[test]
fn a_restart_counts_from_the_second_packet_on() {
    let mut state = exact(Carries::Rtp);
    for s in [0, 1, 2, 30_000, 30_001, 30_002] {
        assert!(matches!(state.apply(&rtp(1, s), addr(A), at_ms(u64::from(s))), Judgement::Forward { .. }));
    }
    let f = state.rule().counters.snapshot(0);
    assert_eq!((f.packets, f.expected, f.lost), (6, 5, 0));
}

/// The marker stands beside the payload type and neither shows in the other (RFC 3550 §5.1).
#[test]
fn marker_and_payload_type_share_a_byte() {
    for (byte, marker, payload_type) in
        [(0x00, false, 0), (0x08, false, 8), (0x7F, false, 127), (0x80, true, 0), (0xFF, true, 127)]
    {
        let mut packet = rtp(1, 1);
        packet[1] = byte;
        // 64 to 95 would be RTCP's first.
        let view = warp_media::rtp::RtpView::parse_header(&packet).unwrap();
        assert_eq!((view.marker(), view.payload_type()), (marker, payload_type), "{byte:#x}");
    }
}
