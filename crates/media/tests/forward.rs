//! The packet fast path against the media threats (`ref/threats-and-faults` T-RTP), RFC 3550 and RFC 5761.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;
use warp_media::forward::{Lock, Path, packet_limit};
use warp_media::{
    Carries, ClockTable, DropReason, Egress, ForwardRule, LearnPolicy, LocalPort, RuleState, SourcePolicy,
    StreamCounters, Verdict,
};
use warp_model::Mono;

const A: &str = "192.0.2.1:4000";
const B: &str = "198.51.100.2:5000";
const OUT: LocalPort = LocalPort { ip: 0, port: 30_002 };

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at_ms(ms: u64) -> Mono {
    Mono(1_000_000_000 + ms * 1_000_000)
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut p = vec![0x80, 0];
    p.extend_from_slice(&sequence.to_be_bytes());
    p.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    p.extend_from_slice(&ssrc.to_be_bytes());
    p.extend_from_slice(&[0xD5; 160]);
    p
}

fn rr(ssrc: u32) -> Vec<u8> {
    let mut p = vec![0x80, 201, 0, 1];
    p.extend_from_slice(&ssrc.to_be_bytes());
    p
}

fn rule(carries: Carries, source: SourcePolicy) -> ForwardRule {
    let out = Some(Egress { port: OUT, to: Some(addr(B)) });
    ForwardRule {
        local: LocalPort { ip: 0, port: 30_000 },
        carries,
        protected: false,
        source,
        rtp: out,
        rtcp: out,
        companion: None,
        max_packets_per_s: 0,
        clocks: ClockTable::new(),
        counters: Arc::new(StreamCounters::default()),
        reverse: None,
    }
}

fn exact(carries: Carries) -> RuleState {
    RuleState::new(rule(carries, SourcePolicy::Exact(addr(A))))
}

fn learn(carries: Carries, allowed: &[&str]) -> RuleState {
    let list = allowed.iter().map(|ip| ip.parse::<IpAddr>().unwrap());
    RuleState::new(rule(carries, SourcePolicy::Learn(LearnPolicy::new(list, 1))))
}

fn forwarded(path: Path) -> Verdict {
    Verdict::Forward { dest: addr(B), out_port: OUT, path }
}

#[test]
fn t_rtp_01_02_only_the_address_and_port_of_the_sdp_pass() {
    let mut state = exact(Carries::Mux);
    assert_eq!(state.apply(&rtp(1, 1), addr(A), at_ms(0)), forwarded(Path::Rtp));
    for stranger in ["192.0.2.1:4001", "192.0.2.2:4000", "[::ffff:192.0.2.1]:4000"] {
        for packet in [rtp(1, 2), rr(1)] {
            assert_eq!(state.apply(&packet, addr(stranger), at_ms(1)), Verdict::Drop(DropReason::Source));
        }
    }
    assert_eq!(state.apply(&rtp(1, 2), addr(A), at_ms(20)), forwarded(Path::Rtp));
    let c = &state.rule().counters;
    assert_eq!((c.packets.load(Relaxed), c.dropped(DropReason::Source)), (2, 6));
    assert_eq!(c.snapshot(0).lost, 0);
}

#[test]
fn t_rtp_03_speaking_first_gains_nothing() {
    let mut state = exact(Carries::Rtp);
    for s in 0..50 {
        let verdict = state.apply(&rtp(9, s), addr("203.0.113.9:1"), at_ms(u64::from(s)));
        assert_eq!(verdict, Verdict::Drop(DropReason::Source));
    }
    assert_eq!(state.take_lock(), None);
    assert_eq!(state.apply(&rtp(1, 7), addr(A), at_ms(60)), forwarded(Path::Rtp));
    let mut nobody = RuleState::new(rule(Carries::Rtp, SourcePolicy::Nobody));
    assert_eq!(nobody.apply(&rtp(1, 7), addr(A), at_ms(0)), Verdict::Drop(DropReason::Source));
}

#[test]
fn t_rtp_04_learning_is_from_the_list_and_locks_after_five_in_sequence() {
    let mut state = learn(Carries::Rtp, &["203.0.113.5", "203.0.113.6"]);
    let peer = addr("203.0.113.5:61000");
    assert_eq!(state.apply(&rtp(1, 0), addr(A), at_ms(0)), Verdict::Drop(DropReason::Source));
    // A gap, another SSRC or another source begins the run again.
    let broken = [(1, 10), (1, 11), (1, 13), (1, 14), (2, 15), (1, 16), (1, 17), (1, 18), (1, 19)];
    for (ssrc, s) in broken {
        assert_eq!(state.apply(&rtp(ssrc, s), peer, at_ms(0)), forwarded(Path::Rtp));
        assert_eq!(state.take_lock(), None);
    }
    state.apply(&rtp(1, 20), addr("203.0.113.6:61000"), at_ms(1));
    for s in 20..24 {
        state.apply(&rtp(1, s), peer, at_ms(2));
        assert_eq!(state.take_lock(), None);
    }
    state.apply(&rtp(1, 24), peer, at_ms(3));
    assert_eq!(state.take_lock(), Some(Lock { peer, ssrc: 1 }));
    assert_eq!(state.take_lock(), None);
    assert_eq!(state.peer(), Some(peer));
    // From now on not even the listed addresses, nor another port of the same one.
    for other in ["203.0.113.6:61000", "203.0.113.5:61001"] {
        for s in 25..40 {
            assert_eq!(state.apply(&rtp(1, s), addr(other), at_ms(4)), Verdict::Drop(DropReason::Source));
        }
    }
    assert_eq!(state.peer(), Some(peer));
    // A new rule of the same epoch keeps it, a new epoch learns again.
    let same_epoch = state.rule().clone();
    state.replace(same_epoch.clone());
    assert_eq!((state.peer(), state.is_locked()), (Some(peer), true));
    let policy = LearnPolicy::new(["203.0.113.6".parse().unwrap()], 2);
    state.replace(ForwardRule { source: SourcePolicy::Learn(policy), ..same_epoch });
    assert_eq!(state.peer(), None);
    for s in 0..5 {
        state.apply(&rtp(5, s), addr("203.0.113.6:7"), at_ms(9));
    }
    assert_eq!(state.peer(), Some(addr("203.0.113.6:7")));
}

#[test]
fn t_rtp_04_rtcp_port_learns_only_after_rtp_and_with_its_ssrc() {
    let mut state = learn(Carries::Rtcp, &["203.0.113.5"]);
    let rtcp_peer = addr("203.0.113.5:61001");
    assert_eq!(state.apply(&rr(1), rtcp_peer, at_ms(0)), Verdict::Drop(DropReason::Source));
    state.companion_locked(Lock { peer: addr("203.0.113.5:61000"), ssrc: 1 });
    assert_eq!(state.apply(&rr(2), rtcp_peer, at_ms(0)), Verdict::Drop(DropReason::Source));
    assert_eq!(state.peer(), None);
    assert_eq!(state.apply(&rr(1), rtcp_peer, at_ms(0)), forwarded(Path::Rtcp));
    assert_eq!(state.take_lock().map(|l| l.peer), Some(rtcp_peer));
    // Muxed: RTCP alone teaches nothing.
    let mut muxed = learn(Carries::Mux, &["203.0.113.5"]);
    assert_eq!(muxed.apply(&rr(1), rtcp_peer, at_ms(0)), Verdict::Drop(DropReason::Source));
}

#[test]
fn t_rtp_08_bye_passes_and_ends_nothing() {
    let mut state = exact(Carries::Rtcp);
    let bye = [rr(1), vec![0x81, 203, 0, 1, 0, 0, 0, 1]].concat();
    assert_eq!(state.apply(&bye, addr(A), at_ms(0)), forwarded(Path::Rtcp));
    assert_eq!(state.rule().counters.rtcp_byes.load(Relaxed), 1);
    assert_eq!(state.apply(&rr(1), addr(A), at_ms(1)), forwarded(Path::Rtcp));
    assert_eq!(state.apply(&bye, addr(B), at_ms(1)), Verdict::Drop(DropReason::Source));
}

#[test]
fn t_rtp_11_packets_over_the_limit_are_dropped_and_only_those() {
    let mut limited = rule(Carries::Rtp, SourcePolicy::Exact(addr(A)));
    limited.max_packets_per_s = packet_limit(20);
    assert_eq!(limited.max_packets_per_s, 200);
    let mut state = RuleState::new(limited);
    // One packet a millisecond for ten seconds: one second's burst, then the rate.
    let passed = (0..10_000u16)
        .filter(|s| state.apply(&rtp(1, *s), addr(A), at_ms(u64::from(*s))) == forwarded(Path::Rtp))
        .count();
    assert!((2_190..=2_210).contains(&passed), "{passed}");
    // Strangers do not use up the limit, and a quiet second later all is well.
    for _ in 0..1_000 {
        state.apply(&rtp(1, 1), addr(B), at_ms(10_000));
    }
    assert_eq!(state.apply(&rtp(1, 10_001), addr(A), at_ms(11_000)), forwarded(Path::Rtp));
}

#[test]
fn kinds_stay_on_their_ports() {
    let stun = [0u8, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0];
    let dtls = [22u8, 254, 253, 0, 0, 0, 0, 0, 0];
    let mut only_rtp = exact(Carries::Rtp);
    let mut only_rtcp = exact(Carries::Rtcp);
    let mut raw = exact(Carries::Raw);
    assert_eq!(only_rtp.apply(&rr(1), addr(A), at_ms(0)), Verdict::Drop(DropReason::Kind));
    assert_eq!(only_rtcp.apply(&rtp(1, 1), addr(A), at_ms(0)), Verdict::Drop(DropReason::Kind));
    for p in [&stun[..], &dtls] {
        assert_eq!(only_rtp.apply(p, addr(A), at_ms(0)), Verdict::Drop(DropReason::Kind));
        assert_eq!(raw.apply(p, addr(A), at_ms(0)), forwarded(Path::Rtp));
    }
    assert_eq!(only_rtp.apply(&[0x80; 5], addr(A), at_ms(0)), Verdict::Drop(DropReason::Malformed));
    assert_eq!(only_rtp.apply(&[], addr(A), at_ms(0)), Verdict::Drop(DropReason::Malformed));
    assert_eq!(raw.apply(&rtp(1, 1), addr(B), at_ms(0)), Verdict::Drop(DropReason::Source));
}

#[test]
fn protected_streams_are_not_read_beyond_their_clear_fields() {
    let mut encrypted = rule(Carries::Mux, SourcePolicy::Exact(addr(A)));
    encrypted.protected = true;
    let mut state = RuleState::new(encrypted);
    let mut srtp = rtp(1, 1);
    srtp[0] |= 0x20; // padding: its count is encrypted
    *srtp.last_mut().unwrap() = 0xFF;
    assert_eq!(state.apply(&srtp, addr(A), at_ms(0)), forwarded(Path::Rtp));
    let mut srtcp = rr(1);
    srtcp.extend_from_slice(&[0x5A; 13]);
    assert_eq!(state.apply(&srtcp, addr(A), at_ms(0)), forwarded(Path::Rtcp));
    let mut clear = exact(Carries::Mux);
    assert_eq!(clear.apply(&srtp, addr(A), at_ms(0)), Verdict::Drop(DropReason::Malformed));
    assert_eq!(clear.apply(&srtcp, addr(A), at_ms(0)), Verdict::Drop(DropReason::Malformed));
}

#[test]
fn without_a_destination_packets_are_counted_only() {
    let mut held = rule(Carries::Rtp, SourcePolicy::Exact(addr(A)));
    held.rtp = Some(Egress { port: OUT, to: None });
    let mut state = RuleState::new(held);
    assert_eq!(state.apply(&rtp(1, 1), addr(A), at_ms(0)), Verdict::Drop(DropReason::NoDestination));
    state.set_destination(Path::Rtp, addr(B));
    assert_eq!(state.apply(&rtp(1, 2), addr(A), at_ms(0)), forwarded(Path::Rtp));
    let s = state.rule().counters.snapshot(0);
    assert_eq!((s.packets, s.errors), (2, 0));
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
    let mut sr = vec![0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0xAB, 0xCD, 0xEF, 0x01, 0, 0];
    sr.extend_from_slice(&[0; 12]);
    from_caller.apply(&sr, addr(A), at_ms(0));
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 2, 0, 0, 0, 1];
    report.extend_from_slice(&[0; 12]);
    report.extend_from_slice(&[0xAB, 0xCD, 0xEF, 0x01]);
    report.extend_from_slice(&(65_536u32 / 2).to_be_bytes()); // held for 500 ms
    from_callee.apply(&report, addr(A), at_ms(580));
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
            Verdict::Forward { path: Path::Rtp, .. } => {
                let view = warp_media::rtp::RtpView::parse(&p).unwrap();
                assert!(view.payload().len() <= p.len() - 12);
                let _ = (view.csrcs().count(), view.extensions().count(), view.marker());
                passed += 1;
            }
            Verdict::Forward { path: Path::Rtcp, .. } => {
                for item in warp_media::rtcp::Compound::parse(&p).unwrap() {
                    if let warp_media::rtcp::Item::Description(chunks) = item {
                        let _ = warp_media::rtcp::cname(chunks);
                    }
                }
                passed += 1;
            }
            Verdict::Drop(_) => refused += 1,
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
            if let Verdict::Forward { .. } = state.apply(&bytes, from, at_ms(1)) {
                prop_assert!(mine);
                prop_assert!(carries == Carries::Raw || bytes.len() >= 8);
            }
            let _ = learn(carries, &["203.0.113.77"]).apply(&bytes, from, at_ms(1));
        }
    }

    /// Whatever is mixed in, a locked rule lets in its peer only.
    #[test]
    fn t_rtp_04_one_peer_for_ever(mix in prop::collection::vec((0u8..4, any::<u16>()), 1..200)) {
        let mut state = learn(Carries::Rtp, &["203.0.113.5", "203.0.113.6"]);
        let sources = [addr("203.0.113.5:1"), addr("203.0.113.5:2"), addr("203.0.113.6:1"), addr("10.0.0.1:1")];
        let mut locked = None;
        for (i, (who, s)) in mix.iter().enumerate() {
            let source = sources[usize::from(*who)];
            let verdict = state.apply(&rtp(1, if *who == 0 { i as u16 } else { *s }), source, at_ms(i as u64));
            if let Some(peer) = locked {
                prop_assert_eq!(matches!(verdict, Verdict::Forward { .. }), source == peer);
            }
            if *who == 3 { prop_assert_eq!(verdict, Verdict::Drop(DropReason::Source)); }
            if let Some(lock) = state.take_lock() {
                prop_assert!(locked.is_none());
                locked = Some(lock.peer);
            }
        }
    }
}
