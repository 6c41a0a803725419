//! The learnt peer against T-RTP-01 to T-RTP-04: what opens the way back, what locks, what moves a lock, and what never does.

mod common;

use std::net::SocketAddr;

use common::*;
use proptest::prelude::*;
use warp_media::learn::LOCK_RUN;
use warp_media::{
    Carries, DropReason, ForwardRule, Judgement, LearntPeer, MediaPath, RuleState, SourcePolicy,
};

const NAT: &str = "203.0.113.5";
const PHONE: &str = "203.0.113.5:61000";
/// The same phone after its NAT has given it another port.
const REBOUND: &str = "203.0.113.5:62000";
const SECOND: &str = "203.0.113.6:7000";
const THIRD: &str = "192.0.2.99:7000";

fn passed() -> Judgement {
    forwarded(MediaPath::Rtp)
}

const REFUSED: Judgement = Judgement::Drop(DropReason::Source);

/// Packets `from..from + count` of SSRC 1, 20 ms apart from `ms` on; how many passed.
fn send(state: &mut RuleState, source: &str, from: u16, count: u16, ms: u64) -> u16 {
    let mut let_in = 0;
    for i in 0..count {
        let judged = state.apply(&rtp(1, from.wrapping_add(i)), addr(source), at_ms(ms + u64::from(i) * 20));
        let_in += u16::from(judged == passed());
    }
    let_in
}

/// A phone that is locked by packets 0 to 9 at 0 to 180 ms.
fn locked() -> RuleState {
    let mut state = learn(Carries::Rtp, &[NAT, "203.0.113.6"]);
    assert_eq!(send(&mut state, PHONE, 0, 10, 0), 10);
    assert!(state.is_locked() && state.peer() == Some(addr(PHONE)));
    state
}

/// The rule of the moment, `spoken` SDPs later, on hold or not.
fn next_rule(state: &RuleState, spoken: u32, on_hold: bool) -> ForwardRule {
    let rule = state.rule().clone();
    ForwardRule { source: rule.source.at(spoken, on_hold), ..rule }
}

#[test]
fn t_rtp_04_the_first_packet_of_an_allowed_address_opens_the_way_back() {
    for carries in [Carries::Rtp, Carries::Mux, Carries::Raw] {
        let mut state = learn(carries, &[NAT]);
        assert_eq!(state.apply(&rtp(1, 0), addr(THIRD), at_ms(0)), REFUSED);
        assert_eq!((state.peer(), state.destination(), state.take_news()), (None, None, None));
        // Three packets that punch a hole, or three indicators of a fax, and then silence.
        for s in 0..3 {
            assert_eq!(state.apply(&rtp(1, s), addr(PHONE), at_ms(20 * u64::from(s))), passed());
        }
        let ssrc = if carries == Carries::Raw { 0 } else { 1 };
        let candidate = LearntPeer { address: addr(PHONE), ssrc, locked: false };
        assert_eq!(state.take_news(), Some(candidate));
        assert_eq!(state.take_news(), None, "said once");
        assert_eq!((state.destination(), state.is_locked()), (Some(addr(PHONE)), false));
        assert_eq!(state.only_source(at_ms(60)), None, "others may still have something to earn");
    }
}

#[test]
fn t_rtp_04_five_in_sequence_lock_doubled_and_swapped_or_not() {
    type Arrivals = &'static [u16];
    let whole: [Arrivals; 9] = [
        &[0, 1, 2, 3, 4],
        &[0, 0, 1, 1, 2, 2, 3, 3, 4],
        &[1, 0, 3, 2, 4],
        &[65_534, 65_535, 0, 1, 2],
        &[10, 12, 13, 14, 15, 16],
        &[10, 12, 11, 14, 13],
        // As far apart as a run remembers, and beyond: then it begins anew.
        &[0, 31, 1, 2, 3, 4],
        &[40, 8, 9, 10, 11, 12],
        &[8, 40, 41, 42, 43, 44],
    ];
    for arrivals in whole {
        let mut state = learn(Carries::Rtp, &[NAT]);
        for (i, s) in arrivals.iter().enumerate() {
            assert!(!state.is_locked(), "{arrivals:?} at {i}");
            assert_eq!(state.apply(&rtp(1, *s), addr(PHONE), at_ms(i as u64)), passed());
        }
        assert!(state.is_locked(), "{arrivals:?}");
        state.take_news();
        assert_eq!(state.only_source(at_ms(100)), Some(addr(PHONE)));
    }
    let broken: [Arrivals; 6] = [
        &[0, 0, 0, 0, 0, 0],
        &[0, 2, 4, 6, 8, 10],
        &[0, 1, 2, 3, 3, 40, 41, 42, 43],
        &[4, 3, 2, 1, 900, 0],
        &[0, 1, 2, 3, 35, 36],
        &[36, 37, 38, 39, 7, 40],
    ];
    for arrivals in broken {
        let mut state = learn(Carries::Rtp, &[NAT]);
        for s in arrivals {
            assert_eq!(state.apply(&rtp(1, *s), addr(PHONE), at_ms(0)), passed());
        }
        assert!(!state.is_locked(), "{arrivals:?}");
    }
    // Of one SSRC.
    let mut state = learn(Carries::Rtp, &[NAT]);
    for (ssrc, s) in [(1, 0), (1, 1), (2, 2), (2, 3), (1, 4), (1, 5), (1, 6), (1, 7)] {
        state.apply(&rtp(ssrc, s), addr(PHONE), at_ms(0));
    }
    assert!(!state.is_locked());
    state.apply(&rtp(1, 8), addr(PHONE), at_ms(0));
    assert!(state.is_locked());
    assert_eq!(LOCK_RUN, 5);
}

#[test]
fn t_rtp_04_one_candidate_at_a_time_displaced_only_by_a_run_of_five() {
    let mut state = learn(Carries::Rtp, &[NAT, "203.0.113.6"]);
    assert_eq!(send(&mut state, PHONE, 0, 3, 0), 3);
    // Another allowed one speaks in between: it neither speaks nor hears until its own run is whole.
    assert_eq!(send(&mut state, SECOND, 100, 4, 5), 0);
    assert_eq!(send(&mut state, SECOND, 200, 4, 6), 0, "a new run");
    let hello = [&[0x10, 0, 0, 1][..], b"ZRTP", &[0; 40]].concat();
    assert_eq!(state.apply(&hello, addr(SECOND), at_ms(80)), REFUSED, "key agreement earns nothing");
    assert_eq!(state.apply(&rr(1), addr(SECOND), at_ms(80)), Judgement::Drop(DropReason::Kind));
    assert_eq!(state.destination(), Some(addr(PHONE)));
    state.take_news();
    assert_eq!(send(&mut state, SECOND, 204, 3, 90), 3, "its fifth and what follows");
    assert_eq!(state.take_news(), Some(LearntPeer { address: addr(SECOND), ssrc: 1, locked: true }));
    assert_eq!((state.peer(), state.is_locked()), (Some(addr(SECOND)), true));
    assert_eq!(send(&mut state, PHONE, 3, 20, 100), 0);
    // Raw media has no sequence: five packets.
    let mut fax = learn(Carries::Raw, &[NAT, "203.0.113.6"]);
    assert_eq!(send(&mut fax, PHONE, 0, 3, 0), 3);
    assert_eq!(send(&mut fax, SECOND, 0, 4, 0), 0);
    assert_eq!(send(&mut fax, SECOND, 0, 1, 0), 1);
    assert_eq!(fax.peer(), Some(addr(SECOND)));
}

#[test]
fn t_rtp_01_02_03_04_a_third_address_gains_nothing_in_the_first_second_or_later() {
    let mut state = learn(Carries::Mux, &[NAT]);
    for ms in 0..3_000u64 {
        // The attacker is faster, first, and has the right SSRC and numbers.
        let s = (ms / 20) as u16;
        for packet in
            [rtp(1, s), rtp(1, s.wrapping_add(1)), rr(1), [&[0x10, 0, 0, 1][..], b"ZRTP", &[0; 40]].concat()]
        {
            assert_eq!(state.apply(&packet, addr(THIRD), at_ms(ms)), REFUSED);
        }
        if ms >= 500 && ms % 20 == 0 {
            assert_eq!(state.apply(&rtp(1, s), addr(PHONE), at_ms(ms)), passed());
        }
        assert!(state.peer().is_none_or(|p| p == addr(PHONE)));
    }
    // Not by silence, not by the same SDP again.
    state.replace(next_rule(&state, 7, false));
    assert_eq!(send(&mut state, THIRD, 150, 500, 10_000), 0);
    assert_eq!(state.peer(), Some(addr(PHONE)));
    // A muxed port learns from RTP only.
    let mut muxed = learn(Carries::Mux, &[NAT]);
    assert_eq!(muxed.apply(&rr(1), addr(PHONE), at_ms(0)), REFUSED);
    assert_eq!(muxed.peer(), None);
}

#[test]
fn t_rtp_04_a_lock_survives_signalling_that_does_not_move_the_media() {
    let mut state = locked();
    // A newer rule without new SDP of this party: nothing changes at all.
    state.replace(next_rule(&state, 0, false));
    assert_eq!((state.peer(), state.is_locked()), (Some(addr(PHONE)), true));
    assert_eq!(state.only_source(at_ms(200)), Some(addr(PHONE)));
    assert_eq!(send(&mut state, REBOUND, 10, 20, 200), 0);
    // The same SDP again: it stays, goes on, and closes the matter with its own run.
    state.replace(next_rule(&state, 1, false));
    assert_eq!((state.peer(), state.is_locked()), (Some(addr(PHONE)), true));
    assert_eq!(state.only_source(at_ms(610)), None);
    assert_eq!(send(&mut state, PHONE, 10, 5, 620), 5);
    assert_eq!(state.only_source(at_ms(720)), Some(addr(PHONE)), "earned anew");
    assert_eq!(send(&mut state, REBOUND, 15, 20, 900), 0);
    // SDP that moves the media: learnt anew, from nothing.
    let SourcePolicy::Learn(policy) = state.rule().source else { panic!() };
    let mut moved = policy;
    moved.epoch += 1;
    let moved = SourcePolicy::Learn(moved);
    state.replace(ForwardRule { source: moved, ..state.rule().clone() });
    assert_eq!((state.peer(), state.is_locked(), state.destination()), (None, false, None));
    assert_eq!(send(&mut state, SECOND, 0, 1, 2_000), 1);
    // And a list that changes is another policy whatever its number.
    let other = learn_policy(&["203.0.113.7"]);
    state.replace(ForwardRule { source: other, ..state.rule().clone() });
    assert_eq!(state.peer(), None);
}

#[test]
fn t_rtp_04_after_the_same_sdp_a_rebound_phone_earns_the_lock_while_the_old_port_is_silent() {
    for source in [REBOUND, SECOND] {
        let mut state = locked(); // last packet at 180 ms
        state.replace(next_rule(&state, 1, false));
        assert_eq!(send(&mut state, source, 10, 4, 200), 0);
        assert_eq!(state.destination(), Some(addr(PHONE)), "until another has earned it");
        assert_eq!(send(&mut state, source, 14, 6, 280), 6);
        assert_eq!((state.destination(), state.is_locked()), (Some(addr(source)), true));
        assert_eq!(send(&mut state, PHONE, 10, 10, 500), 0, "closed again");
    }
    // A peer that speaks in between was not silent: the run begins anew.
    let mut state = locked();
    state.replace(next_rule(&state, 1, false));
    assert_eq!(send(&mut state, REBOUND, 10, 4, 200), 0);
    assert_eq!(send(&mut state, PHONE, 10, 1, 270), 1);
    assert_eq!(send(&mut state, REBOUND, 14, 4, 400), 0);
    assert_eq!(send(&mut state, REBOUND, 18, 2, 480), 2);
    // Squeezed between two packets of a speaking peer a run earns nothing, however often it is tried.
    let mut state = locked();
    state.replace(next_rule(&state, 1, false));
    for round in 0..4u16 {
        let ms = 200 + u64::from(round) * 20;
        assert_eq!(state.apply(&rtp(1, 10 + round), addr(PHONE), at_ms(ms)), passed());
        for i in 0..10 {
            assert_eq!(state.apply(&rtp(1, 11 + round * 10 + i), addr(REBOUND), at_ms(ms + 10)), REFUSED);
        }
    }
    assert_eq!(send(&mut state, PHONE, 14, 1, 280), 1);
    assert_eq!(send(&mut state, REBOUND, 15, 50, 300), 0);
    assert_eq!(state.peer(), Some(addr(PHONE)));
}

#[test]
fn t_rtp_04_without_new_sdp_a_lock_moves_only_to_the_same_stream_at_the_same_address() {
    // Last packet of the phone: number 9 at 180 ms. Silent for two seconds at 2,180.
    let tried = |source: &str, ssrc: u32, from: u16, ms: u64, on_hold: bool| {
        let mut state = locked();
        state.replace(next_rule(&state, 0, on_hold));
        for i in 0..20u16 {
            state.apply(&rtp(ssrc, from.wrapping_add(i)), addr(source), at_ms(ms + u64::from(i)));
        }
        state.peer() == Some(addr(source))
    };
    assert!(tried(REBOUND, 1, 110, 2_180, false), "a NAT that gave another port");
    assert!(tried(REBOUND, 1, 10, 5_000, false));
    assert!(tried(REBOUND, 1, 9 + 2_996, 60_000, false), "the fifth is 3,000 further");
    assert!(!tried(REBOUND, 1, 9 + 2_997, 60_000, false));
    assert!(!tried(REBOUND, 1, 110, 2_100, false), "too early");
    assert!(!tried(REBOUND, 1, 110, 60_000, true), "on hold silence says nothing");
    assert!(!tried(REBOUND, 2, 110, 60_000, false), "another stream");
    assert!(!tried(REBOUND, 1, 65_000, 60_000, false), "older numbers");
    assert!(!tried(REBOUND, 1, 9 + 3_001, 60_000, false), "numbers from elsewhere");
    assert!(!tried(SECOND, 1, 110, 60_000, false), "another address, though it was allowed");
    assert!(!tried(THIRD, 1, 110, 60_000, false));
    // The whole run is needed, and the media of the first four is not heard.
    let mut state = locked();
    assert_eq!(send(&mut state, REBOUND, 110, 7, 2_200), 3);
    assert_eq!((state.destination(), state.is_locked()), (Some(addr(REBOUND)), true));
    // The phone that speaks again in between was not gone.
    let mut state = locked();
    assert_eq!(send(&mut state, REBOUND, 110, 4, 2_200), 0);
    assert_eq!(send(&mut state, PHONE, 10, 1, 2_290), 1);
    assert_eq!(send(&mut state, REBOUND, 114, 50, 2_300), 0);
    // Raw media has nothing to recognise a stream by.
    let mut fax = learn(Carries::Raw, &[NAT]);
    assert_eq!(send(&mut fax, PHONE, 0, 10, 0), 10);
    assert_eq!(send(&mut fax, REBOUND, 10, 50, 60_000), 0);
}

#[test]
fn a_silent_peer_is_no_longer_the_only_one_that_the_socket_hears() {
    let state = locked();
    assert_eq!(state.only_source(at_ms(1_179)), Some(addr(PHONE)));
    assert_eq!(state.only_source(at_ms(1_181)), None, "long before it may move");
    let exact = exact(Carries::Rtp);
    assert_eq!(exact.only_source(at_ms(3_600_000)), Some(addr(A)), "an address of the SDP stays");
}

#[test]
fn t_rtp_04_rtcp_port_learns_only_after_rtp_and_with_its_ssrc() {
    let allowed = [NAT, "203.0.113.6"];
    let mut state = learn(Carries::Rtcp, &allowed);
    let (port, other) = ("203.0.113.5:61001", "203.0.113.5:62001");
    let pass = forwarded(MediaPath::Rtcp);
    assert_eq!(state.apply(&rr(1), addr(port), at_ms(0)), REFUSED);
    state.companion_locked(LearntPeer { address: addr(PHONE), ssrc: 1, locked: true });
    assert_eq!(state.apply(&rr(2), addr(port), at_ms(0)), REFUSED);
    assert_eq!(state.apply(&rr(1), addr(SECOND), at_ms(0)), REFUSED, "allowed, but not where RTP is from");
    assert_eq!(state.peer(), None);
    assert_eq!(state.apply(&rr(1), addr(port), at_ms(0)), pass);
    assert_eq!(state.take_news().map(|l| (l.address, l.locked)), Some((addr(port), true)));
    assert_eq!((state.apply(&rr(1), addr(port), at_ms(0)), state.take_news()), (pass, None), "told once");
    assert_eq!(state.apply(&rr(1), addr(other), at_ms(0)), REFUSED);
    // RTP has moved: RTCP may follow, once, by the same sign.
    state.companion_locked(LearntPeer { address: addr(REBOUND), ssrc: 1, locked: true });
    assert_eq!(state.apply(&rr(2), addr(other), at_ms(1)), REFUSED);
    assert_eq!(state.apply(&rr(1), addr(other), at_ms(1)), pass);
    assert_eq!(state.apply(&rr(1), addr(port), at_ms(1)), REFUSED);
    assert_eq!(state.peer(), Some(addr(other)));
}

#[test]
fn an_asymmetric_peer_is_heard_from_where_it_sends_and_hears_where_its_sdp_says() {
    let SourcePolicy::Learn(policy) = learn_policy(&[NAT]) else { panic!() };
    let mut state = RuleState::new(rule(Carries::Rtp, SourcePolicy::Learn(policy.source_only())));
    assert_eq!(send(&mut state, PHONE, 0, 10, 0), 10);
    assert_eq!((state.peer(), state.destination()), (Some(addr(PHONE)), None));
}

proptest! {
    /// Whatever is mixed in, whenever: one source at a time, never a third address, and news of every change.
    #[test]
    fn t_rtp_04_one_allowed_peer_at_a_time(
        mix in prop::collection::vec((0u8..5, 0u16..40, 0u8..12, 0u64..2_500), 1..300),
    ) {
        let mut state = learn(Carries::Rtp, &[NAT, "203.0.113.6"]);
        let sources = [PHONE, REBOUND, SECOND, THIRD, "10.0.0.1:1"].map(addr);
        let (mut now, mut spoken) = (0, 0);
        let mut peer: Option<SocketAddr> = None;
        for (i, (who, s, event, pause)) in mix.iter().enumerate() {
            now += if *event == 0 { *pause } else { 20 };
            if *event == 1 {
                spoken += 1;
                state.replace(next_rule(&state, spoken, *s % 2 == 0));
            }
            let source = sources[usize::from(*who)];
            let sequence = if *event < 8 { i as u16 } else { *s };
            let judged = state.apply(&rtp(1, sequence), source, at_ms(now));
            if let Some(news) = state.take_news() {
                peer = Some(news.address);
            }
            prop_assert_eq!(state.peer(), peer);
            prop_assert_eq!(judged == passed(), peer == Some(source));
            prop_assert!(*who < 3 || judged == REFUSED);
        }
    }
}
