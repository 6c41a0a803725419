//! The packet fast path against the media threats (`ref/threats-and-faults` T-RTP), RFC 3550 and RFC 5761.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use common::*;
use proptest::prelude::*;
use warp_media::rtp::PacketClass;
use warp_media::{
    Carries, DropReason, Egress, Judgement, MediaPath, RuleState, SourcePolicy, StreamCounters, packet_limit,
};
use warp_model::Mono;

#[test]
fn t_rtp_01_02_only_the_address_and_port_of_the_sdp_pass() {
    let mut state = exact(Carries::Mux);
    assert_eq!(state.apply(&rtp(1, 1), addr(A), at_ms(0)), forwarded(MediaPath::Rtp));
    for stranger in ["192.0.2.1:4001", "192.0.2.2:4000", "[::ffff:192.0.2.1]:4000"] {
        for packet in [rtp(1, 2), rr(1)] {
            assert_eq!(state.apply(&packet, addr(stranger), at_ms(1)), Judgement::Drop(DropReason::Source));
        }
    }
    assert_eq!(state.apply(&rtp(1, 2), addr(A), at_ms(20)), forwarded(MediaPath::Rtp));
    let c = &state.rule().counters;
    assert_eq!((c.packets.load(Relaxed), c.dropped(DropReason::Source)), (2, 6));
    assert_eq!(c.snapshot(0).lost, 0);
}

#[test]
fn t_rtp_03_speaking_first_gains_nothing() {
    let mut state = exact(Carries::Rtp);
    for s in 0..50 {
        let verdict = state.apply(&rtp(9, s), addr("203.0.113.9:1"), at_ms(u64::from(s)));
        assert_eq!(verdict, Judgement::Drop(DropReason::Source));
    }
    assert_eq!(state.take_news(), None);
    assert_eq!(state.apply(&rtp(1, 7), addr(A), at_ms(60)), forwarded(MediaPath::Rtp));
    let mut nobody = RuleState::new(rule(Carries::Rtp, SourcePolicy::Nobody));
    assert_eq!(nobody.apply(&rtp(1, 7), addr(A), at_ms(0)), Judgement::Drop(DropReason::Source));
}

#[test]
fn t_rtp_08_bye_passes_and_ends_nothing() {
    let mut state = exact(Carries::Rtcp);
    let bye = [rr(1), vec![0x81, 203, 0, 1, 0, 0, 0, 1]].concat();
    assert_eq!(state.apply(&bye, addr(A), at_ms(0)), forwarded(MediaPath::Rtcp));
    assert_eq!(state.rule().counters.rtcp_byes.load(Relaxed), 1);
    assert_eq!(state.apply(&rr(1), addr(A), at_ms(1)), forwarded(MediaPath::Rtcp));
    assert_eq!(state.apply(&bye, addr(B), at_ms(1)), Judgement::Drop(DropReason::Source));
}

#[test]
fn t_rtp_11_packets_over_the_limit_are_dropped_and_only_those() {
    let mut limited = rule(Carries::Rtp, SourcePolicy::Exact(addr(A)));
    limited.max_packets_per_s = packet_limit(20);
    assert_eq!(limited.max_packets_per_s, 200);
    let mut state = RuleState::new(limited);
    // One packet a millisecond for ten seconds: one second's burst, then the rate.
    let passed = (0..10_000u16)
        .filter(|s| state.apply(&rtp(1, *s), addr(A), at_ms(u64::from(*s))) == forwarded(MediaPath::Rtp))
        .count();
    assert!((2_190..=2_210).contains(&passed), "{passed}");
    // Strangers do not use up the limit, and a quiet second later all is well.
    for _ in 0..1_000 {
        state.apply(&rtp(1, 1), addr(B), at_ms(10_000));
    }
    assert_eq!(state.apply(&rtp(1, 10_001), addr(A), at_ms(11_000)), forwarded(MediaPath::Rtp));
}

#[test]
fn kinds_stay_on_their_ports() {
    let stun = [0u8, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0];
    let dtls = [22u8, 254, 253, 0, 0, 0, 0, 0, 0];
    let mut only_rtp = exact(Carries::Rtp);
    let mut only_rtcp = exact(Carries::Rtcp);
    let mut raw = exact(Carries::Raw);
    assert_eq!(only_rtp.apply(&rr(1), addr(A), at_ms(0)), Judgement::Drop(DropReason::Kind));
    assert_eq!(only_rtcp.apply(&rtp(1, 1), addr(A), at_ms(0)), Judgement::Drop(DropReason::Kind));
    for (p, class) in [(&stun[..], PacketClass::Stun), (&dtls, PacketClass::Dtls)] {
        for (from, expected) in [(A, true), (B, false)] {
            let session = Judgement::Session { class, expected };
            assert_eq!(only_rtp.apply(p, addr(from), at_ms(0)), session);
            assert_eq!(only_rtcp.apply(p, addr(from), at_ms(0)), session);
        }
        assert_eq!(raw.apply(p, addr(A), at_ms(0)), forwarded(MediaPath::Rtp));
    }
    assert_eq!(only_rtp.apply(&[0x80; 5], addr(A), at_ms(0)), Judgement::Drop(DropReason::Malformed));
    assert_eq!(only_rtp.apply(&[], addr(A), at_ms(0)), Judgement::Drop(DropReason::Malformed));
    assert_eq!(raw.apply(&rtp(1, 1), addr(B), at_ms(0)), Judgement::Drop(DropReason::Source));
}

#[test]
fn protected_streams_are_not_read_beyond_their_clear_fields() {
    let mut encrypted = rule(Carries::Mux, SourcePolicy::Exact(addr(A)));
    encrypted.protected = true;
    let mut state = RuleState::new(encrypted);
    let mut srtp = rtp(1, 1);
    srtp[0] |= 0x20; // padding: its count is encrypted
    *srtp.last_mut().unwrap() = 0xFF;
    assert_eq!(state.apply(&srtp, addr(A), at_ms(0)), forwarded(MediaPath::Rtp));
    let mut srtcp = rr(1);
    srtcp.extend_from_slice(&[0x5A; 13]);
    assert_eq!(state.apply(&srtcp, addr(A), at_ms(0)), forwarded(MediaPath::Rtcp));
    let mut clear = exact(Carries::Mux);
    assert_eq!(clear.apply(&srtcp, addr(A), at_ms(0)), Judgement::Drop(DropReason::Malformed));
}

#[test]
fn without_a_destination_packets_are_counted_only() {
    let mut held = rule(Carries::Rtp, SourcePolicy::Exact(addr(A)));
    held.rtp = Some(Egress { port: OUT, to: None });
    let mut state = RuleState::new(held);
    assert_eq!(state.apply(&rtp(1, 1), addr(A), at_ms(0)), Judgement::Drop(DropReason::NoDestination));
    state.set_destination(warp_media::LocalPort { ip: 0, port: 1 }, Some(addr(A)));
    assert_eq!(state.apply(&rtp(1, 2), addr(A), at_ms(0)), Judgement::Drop(DropReason::NoDestination));
    state.set_destination(OUT, Some(addr(B)));
    assert_eq!(state.apply(&rtp(1, 3), addr(A), at_ms(0)), forwarded(MediaPath::Rtp));
    let s = state.rule().counters.snapshot(0);
    assert_eq!((s.packets, s.errors), (3, 0));
}

#[test]
fn round_trip_is_read_from_reports_that_answer_forwarded_ones() {
    let (caller, callee) = (Arc::new(StreamCounters::default()), Arc::new(StreamCounters::default()));
    let side = |own: &Arc<StreamCounters>, far: &Arc<StreamCounters>| {
        let mut r = rule(Carries::Rtcp, SourcePolicy::Exact(addr(A)));
        (r.counters, r.reverse) = (Arc::clone(own), Some(Arc::clone(far)));
        RuleState::new(r)
    };
    let (mut from_caller, mut from_callee) = (side(&caller, &callee), side(&callee, &caller));
    let ntp = [0xAB, 0xCD, 0xEF, 0x01];
    from_caller.apply(&sender_report(ntp), addr(A), at_ms(0));
    from_callee.apply(&answering_report(ntp, 65_536 / 2), addr(A), at_ms(580)); // held for 500 ms
    assert_eq!(caller.rtt_us.load(Relaxed), 80_000);
    assert_eq!(callee.rtt_us.load(Relaxed), 0);
}

#[test]
fn figures_of_a_stream_with_loss() {
    let mut state = exact(Carries::Rtp);
    let mut sent = 0;
    for s in 0..1_000u16 {
        if s % 50 != 7 {
            state.apply(&rtp(0xFEED, s), addr(A), at_ms(u64::from(s) * 20));
            sent += 1;
        }
    }
    state.apply(&rtp(0xFEED, 999), addr(A), at_ms(20_000));
    let f = state.rule().counters.snapshot(0);
    assert_eq!((f.packets, f.expected, f.lost, f.duplicates), (sent + 1, 1_000, 20, 1));
    assert_eq!((f.loss_x10000, f.ssrc, f.payload_type, f.sequence), (200, 0xFEED, 0, 999));
    assert_eq!((f.bytes, f.jitter_us), ((sent + 1) * 172, 0));
    assert!((420..435).contains(&f.mos_x100), "{}", f.mos_x100);
    assert_eq!((f.first_packet_ns, f.last_packet_ns), (at_ms(0).0, at_ms(20_000).0));
}

/// `first` and the second byte, then as [`rtp`].
fn with_head(first: u8, second: u8, sequence: u16) -> Vec<u8> {
    let mut p = rtp(1, sequence);
    (p[0], p[1]) = (first, second);
    p
}

/// RFC 5761 §4 keeps payload types 64 to 95 free where RTP and RTCP share a port, and nowhere else.
#[test]
fn payload_types_64_to_95_with_a_marker_are_media_without_mux() {
    for payload_type in 64..=95u8 {
        let marked = 0x80 | payload_type;
        for protected in [false, true] {
            let mut alone = rule(Carries::Rtp, SourcePolicy::Exact(addr(A)));
            alone.protected = protected;
            let mut alone = RuleState::new(alone);
            for s in 0..60u16 {
                if (200..=207).contains(&marked) && matches!(s, 1 | 6 | 42) {
                    continue; // the one number in 65,536 that makes RTCP of this packet
                }
                let p = with_head(0x80, marked, s);
                assert_eq!(
                    alone.apply(&p, addr(A), at_ms(0)),
                    forwarded(MediaPath::Rtp),
                    "{payload_type} {s}"
                );
            }
            assert_eq!(alone.rule().counters.snapshot(0).payload_type, payload_type);
        }
        let muxed = exact(Carries::Mux).apply(&with_head(0x80, marked, 1_000), addr(A), at_ms(0));
        let expected = match marked {
            // As RTCP it has a wrong length.
            192..=223 => Judgement::Drop(DropReason::Malformed),
            _ => forwarded(MediaPath::Rtp),
        };
        assert_eq!(muxed, expected, "{payload_type}");
    }
    // Real RTCP on the RTP port is none of the media.
    let mut alone = exact(Carries::Rtp);
    let report = [vec![0x81, 201, 0, 7, 0, 0, 0, 1], vec![0; 24]].concat();
    for p in [rr(1), report.clone(), [rr(1), vec![0x81, 203, 0, 1, 0, 0, 0, 1]].concat()] {
        assert_eq!(alone.apply(&p, addr(A), at_ms(0)), Judgement::Drop(DropReason::Kind));
    }
    let mut protected = rule(Carries::Rtp, SourcePolicy::Exact(addr(A)));
    protected.protected = true;
    let mut protected = RuleState::new(protected);
    for clear in [rr(1), report, [vec![0x80, 200, 0, 6], vec![0; 24]].concat()] {
        let sealed = [clear, vec![0x5A; 14]].concat();
        // The tag and index behind it are not part of the first packet's length.
        assert_eq!(protected.apply(&sealed, addr(A), at_ms(0)), Judgement::Drop(DropReason::Kind));
    }
    assert_eq!(alone.rule().counters.snapshot(0).packets, 0);
}

/// RFC 7983: 16 to 19; RFC 6189: end points agree on keys in the media path itself.
#[test]
fn zrtp_passes_between_the_peers_and_for_nobody_else() {
    let hello = [&[0x10, 0, 0, 1][..], b"ZRTP", &[0; 40]].concat();
    for carries in [Carries::Rtp, Carries::Mux] {
        let mut state = exact(carries);
        assert_eq!(state.apply(&hello, addr(A), at_ms(0)), forwarded(MediaPath::Rtp));
        assert_eq!(state.apply(&hello, addr(B), at_ms(0)), Judgement::Drop(DropReason::Source));
        let f = state.rule().counters.snapshot(0);
        assert_eq!((f.packets, f.bytes, f.expected, f.ssrc), (1, 48, 0, 0), "it has no sequence of media");
        let mut other = hello.clone();
        other[4] = b'z';
        assert_eq!(state.apply(&other, addr(A), at_ms(0)), Judgement::Drop(DropReason::Malformed));
    }
    assert_eq!(exact(Carries::Rtcp).apply(&hello, addr(A), at_ms(0)), Judgement::Drop(DropReason::Kind));
    // Behind a NAT it opens the way back, and locks nothing.
    let mut nat = learn(Carries::Rtp, &["192.0.2.1"]);
    for _ in 0..20 {
        assert_eq!(nat.apply(&hello, addr(A), at_ms(0)), forwarded(MediaPath::Rtp));
    }
    assert_eq!((nat.peer(), nat.is_locked()), (Some(addr(A)), false));
}

#[test]
fn wrong_padding_is_the_receivers_affair() {
    for count in [0u8, 161, 255] {
        let mut p = rtp(1, 1);
        p[0] |= 0x20;
        *p.last_mut().unwrap() = count;
        assert_eq!(exact(Carries::Rtp).apply(&p, addr(A), at_ms(0)), forwarded(MediaPath::Rtp));
    }
    let mut report = [rr(7), vec![0x80, 201, 0, 1, 0, 0, 0, 7]].concat();
    report[0] |= 0x20; // padding in a packet that is not the last
    let mut state = exact(Carries::Rtcp);
    assert_eq!(state.apply(&report, addr(A), at_ms(0)), forwarded(MediaPath::Rtcp));
    assert_eq!(state.rule().counters.snapshot(0).rtcp_ssrc, 7);
    report[3] = 9; // but lengths count
    assert_eq!(state.apply(&report, addr(A), at_ms(0)), Judgement::Drop(DropReason::Malformed));
    let mut longer = rtp(1, 1);
    longer[0] |= 0x10;
    longer[14..16].copy_from_slice(&[1, 0]);
    assert_eq!(exact(Carries::Rtp).apply(&longer, addr(A), at_ms(0)), Judgement::Drop(DropReason::Malformed));
}

/// SR with an NTP time, and a report that answers it after `held` 1/65,536 s.
fn sender_report(ntp: [u8; 4]) -> Vec<u8> {
    let mut sr = vec![0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, ntp[0], ntp[1], ntp[2], ntp[3], 0, 0];
    sr.extend_from_slice(&[0; 12]);
    sr
}

fn answering_report(ntp: [u8; 4], held: u32) -> Vec<u8> {
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 2, 0, 0, 0, 1];
    report.extend_from_slice(&[0; 12]);
    report.extend_from_slice(&ntp);
    report.extend_from_slice(&held.to_be_bytes());
    report
}

#[test]
fn t_rtp_08_reports_of_a_source_that_is_not_let_in_are_not_read() {
    let (caller, callee) = (Arc::new(StreamCounters::default()), Arc::new(StreamCounters::default()));
    let ntp = [1, 2, 3, 4];
    for (source, carries) in [
        (SourcePolicy::Exact(addr(A)), Carries::Rtcp),
        (SourcePolicy::Exact(addr(A)), Carries::Mux),
        (SourcePolicy::Nobody, Carries::Rtcp),
        (learn_policy(&["203.0.113.5"]), Carries::Rtcp),
        (learn_policy(&["203.0.113.5"]), Carries::Mux),
    ] {
        let mut of_callee = rule(carries, source);
        (of_callee.counters, of_callee.reverse) = (Arc::clone(&callee), Some(Arc::clone(&caller)));
        let mut from_callee = RuleState::new(of_callee);
        let mut of_caller = rule(Carries::Rtcp, SourcePolicy::Exact(addr(B)));
        of_caller.counters = Arc::clone(&caller);
        RuleState::new(of_caller).apply(&sender_report(ntp), addr(B), at_ms(0));
        for stranger in ["203.0.113.5:9", "198.51.100.77:9"] {
            for packet in [answering_report(ntp, 0), sender_report([9; 4]), vec![0x81, 203, 0, 1, 0, 0, 0, 1]]
            {
                let judged = from_callee.apply(&packet, addr(stranger), at_ms(100));
                assert_eq!(judged, Judgement::Drop(DropReason::Source), "{source:?}");
            }
        }
    }
    let f = callee.snapshot(0);
    assert_eq!((caller.rtt_us.load(Relaxed), f.rtcp_packets, f.rtcp_ssrc), (0, 0, 0));
    assert_eq!(callee.rtcp_byes.load(Relaxed), 0);
    assert_eq!(f.last_packet_ns, 0, "and are no sign of life");
}

/// SplitMix64.
struct Seeded(u64);
impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// G-1: seeded mutations of good packets: no panic, and whatever passes has the lengths it states.
#[test]
fn g_1_mutated_packets_never_panic_and_never_pass_with_wrong_lengths() {
    let mut with_all = rtp(3, 3);
    with_all[0] = 0xB2;
    with_all.splice(12..12, [0, 0, 0, 1, 0, 0, 0, 2, 0xBE, 0xDE, 0, 1, 0x10, 1, 0, 0]);
    *with_all.last_mut().unwrap() = 4;
    let sdes = vec![0x81, 202, 0, 3, 0, 0, 0, 1, 1, 3, b'a', b'@', b'b', 0, 0, 0];
    let corpus = [rtp(1, 1), with_all, rr(1), [rr(9), sdes, vec![0x81, 203, 0, 1, 0, 0, 0, 9]].concat()];
    let mut random = Seeded(0x5EED);
    let mut state = exact(Carries::Mux);
    let mut learner = learn(Carries::Mux, &["192.0.2.1"]);
    let (mut passed, mut refused) = (0, 0);
    for round in 0..200_000u64 {
        let mut p = corpus[(random.next() % 4) as usize].clone();
        for _ in 0..=random.next() % 4 {
            let i = (random.next() % p.len() as u64) as usize;
            match random.next() % 4 {
                0 => p[i] = random.next() as u8,
                1 => p[i] ^= 1 << (random.next() % 8),
                2 => p.truncate(i.max(1)),
                _ => p.extend_from_slice(&random.next().to_le_bytes()),
            }
        }
        learner.apply(&p, addr(A), Mono(round));
        match state.apply(&p, addr(A), Mono(round)) {
            Judgement::Forward { path: MediaPath::Rtp, .. } => {
                let view = warp_media::rtp::RtpView::parse_header(&p).unwrap();
                assert!(view.payload().len() <= p.len() - 12);
                let _ = (view.csrcs().count(), view.extensions().count(), view.marker());
                passed += 1;
            }
            Judgement::Forward { path: MediaPath::Rtcp, .. } => {
                let compound = warp_media::rtcp::Compound::parse(&p);
                assert!(matches!(compound, Ok(_) | Err(warp_media::rtcp::Fault::Padding)), "{compound:?}");
                for item in compound.into_iter().flatten() {
                    if let warp_media::rtcp::Item::Description(chunks) = item {
                        let _ = warp_media::rtcp::cname(chunks);
                    }
                }
                passed += 1;
            }
            _ => refused += 1,
        }
    }
    assert!(passed > 20_000 && refused > 20_000, "{passed} {refused}");
}

proptest! {
    #[test]
    fn any_bytes_from_anywhere(bytes in prop::collection::vec(any::<u8>(), 0..200), port in any::<u16>(), mine in any::<bool>()) {
        let from = if mine { addr(A) } else { SocketAddr::new("203.0.113.77".parse().unwrap(), port) };
        for carries in [Carries::Rtp, Carries::Rtcp, Carries::Mux, Carries::Raw] {
            let mut state = exact(carries);
            if let Judgement::Forward { .. } = state.apply(&bytes, from, at_ms(1)) {
                prop_assert!(mine);
                prop_assert!(carries == Carries::Raw || bytes.len() >= 8);
            }
            let _ = learn(carries, &["203.0.113.77"]).apply(&bytes, from, at_ms(1));
        }
    }
}
