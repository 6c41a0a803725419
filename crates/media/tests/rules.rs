//! What a rule says: limits, clocks, whom it lets learn; and that a snapshot shows each figure as itself.

mod common;

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use common::*;
use warp_media::quality::{Impairment, mos_x100};
use warp_media::{
    ClockTable, DYNAMIC_CLOCKS, DropReason, LEARN_ADDRESSES, LearnPolicy, SourcePolicy, StreamCounters,
    packet_limit,
};

#[test]
fn t_rtp_11_the_limit_is_twice_the_codecs_rate_and_a_hundred() {
    for (ptime_ms, limit) in [(0, 200), (20, 200), (10, 300), (30, 166), (40, 150), (60, 132), (1_000, 102)] {
        assert_eq!(packet_limit(ptime_ms), limit, "{ptime_ms} ms");
    }
    assert_eq!(packet_limit(u32::MAX), 200, "a packet time of nobody: as 20 ms");
}

/// RFC 3551 §6, tables 4 and 5.
#[test]
fn static_payload_types_have_their_clocks() {
    let table = ClockTable::new();
    for payload_type in 0..=127u8 {
        let hz = match payload_type {
            0 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 13 | 15 | 18 => 8_000,
            6 => 16_000,
            10 | 11 => 44_100,
            16 => 11_025,
            17 => 22_050,
            14 | 25 | 26 | 28 | 31 | 32 | 33 | 34 => 90_000,
            _ => 0,
        };
        assert_eq!(table.hz(payload_type), hz, "{payload_type}");
    }
}

#[test]
fn dynamic_clocks_are_set_replaced_and_bounded() {
    let mut table = ClockTable::new();
    for i in 0..DYNAMIC_CLOCKS as u8 {
        table.set(96 + i, 1_000 + u32::from(i));
    }
    table.set(120, 48_000);
    assert_eq!(table.hz(120), 0, "no room, no figure");
    table.set(97, 48_000);
    for i in 0..DYNAMIC_CLOCKS as u8 {
        let hz = if i == 1 { 48_000 } else { 1_000 + u32::from(i) };
        assert_eq!(table.hz(96 + i), hz);
    }
    let mut moved = ClockTable::new();
    moved.set(0, 16_000);
    assert_eq!((moved.hz(0), moved.hz(8)), (16_000, 8_000), "the SDP goes before the table");
}

#[test]
fn t_rtp_04_a_policy_allows_its_list_and_keeps_what_it_shares() {
    let ip = |i: u8| IpAddr::from([192, 0, 2, i]);
    let long = LearnPolicy::new((1..=20).map(ip), 3);
    for i in 0..=20 {
        assert_eq!(long.allows(ip(i)), (1..=LEARN_ADDRESSES as u8).contains(&i), "{i}");
    }
    assert!(!LearnPolicy::new([], 0).allows(ip(1)));
    let policy = LearnPolicy::new([ip(1)], 3);
    let later = SourcePolicy::Learn(policy).at(9, true);
    let SourcePolicy::Learn(later) = later else { panic!() };
    assert_eq!((later.spoken, later.on_hold), (9, true));
    assert!(later.keeps(&policy));
    assert!(!policy.source_only().keeps(&policy));
    assert!(!LearnPolicy::new([ip(2)], 3).keeps(&policy) && !LearnPolicy::new([ip(1)], 4).keeps(&policy));
    let exact = SourcePolicy::Exact(addr(A));
    assert_eq!((exact.at(9, true), SourcePolicy::Nobody.at(9, true)), (exact, SourcePolicy::Nobody));
}

#[test]
fn a_snapshot_shows_each_figure_as_itself() {
    let c = StreamCounters::default();
    for (i, counter) in [
        &c.packets,
        &c.bytes,
        &c.expected,
        &c.received,
        &c.last_packet_ns,
        &c.rtcp_packets,
        &c.rtcp_bytes,
        &c.duplicates,
        &c.reordered,
        &c.late,
        &c.first_packet_ns,
    ]
    .into_iter()
    .enumerate()
    {
        counter.store(1_000 + i as u64, Relaxed);
    }
    c.expected.store(2_003, Relaxed);
    c.send_errors.store(7, Relaxed);
    for (i, drops) in c.drops.iter().enumerate() {
        drops.store(10 + i as u64, Relaxed);
    }
    for (value, counter) in (1u32..).zip([
        &c.sequence,
        &c.timestamp,
        &c.jitter_us,
        &c.jitter_max_us,
        &c.ssrc,
        &c.rtt_us,
        &c.rtcp_ssrc,
    ]) {
        counter.store(value * 100_000, Relaxed);
    }
    c.sequence.store(65_535, Relaxed);
    c.payload_type.store(96, Relaxed);
    let s = c.snapshot(5_000);
    assert_eq!((s.packets, s.bytes, s.expected, s.lost), (1_000, 1_001, 2_003, 1_000));
    assert_eq!((s.last_packet_ns, s.rtcp_packets, s.rtcp_bytes), (1_004, 1_005, 1_006));
    assert_eq!((s.duplicates, s.reordered, s.late, s.first_packet_ns), (1_007, 1_008, 1_009, 1_010));
    assert_eq!((s.sequence, s.timestamp, s.jitter_us, s.jitter_max_us), (65_535, 200_000, 300_000, 400_000));
    assert_eq!((s.ssrc, s.rtt_us, s.rtcp_ssrc, s.payload_type), (500_000, 600_000, 700_000, 96));
    // All reasons but the one that is nobody's fault.
    assert_eq!(s.errors, 7 + 10 + 11 + 12 + 13 + 15 + 16);
    for (i, reason) in DropReason::ALL.into_iter().enumerate() {
        assert_eq!((reason.index(), c.dropped(reason)), (i, 10 + i as u64));
    }
    assert_eq!(s.loss_x10000, 4_992);
    let both = Impairment { loss_x10000: 4_992, jitter_us: 300_000, rtt_us: 605_000 };
    assert_eq!(s.mos_x100, mos_x100(both));
    // More received than expected (late ones of before a restart) is no negative loss; nothing expected is no opinion.
    c.received.store(5_000, Relaxed);
    assert_eq!((c.snapshot(0).lost, c.snapshot(0).loss_x10000), (0, 0));
    c.expected.store(0, Relaxed);
    assert_eq!(c.snapshot(0).mos_x100, 0);
}

#[test]
fn the_far_legs_round_trip_lowers_the_mos() {
    let c = StreamCounters::default();
    c.expected.store(100, Relaxed);
    c.received.store(100, Relaxed);
    c.rtt_us.store(200_000, Relaxed);
    let at = |rtt_us| mos_x100(Impairment { rtt_us, ..Impairment::default() });
    assert_eq!((c.snapshot(0).mos_x100, c.snapshot(500_000).mos_x100), (at(200_000), at(700_000)));
    assert!(at(700_000) < at(200_000));
}
