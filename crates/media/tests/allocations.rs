//! The packet path asks the heap for nothing, whatever comes (G-1, G-3).

use std::net::SocketAddr;
use std::sync::Arc;

use allocation_counter::measure;
use warp_media::packet::{HEAD_ROOM, RoomyPacket, TAIL_ROOM};
use warp_media::pipeline::{Output, Pipeline};
use warp_media::tap::{Ring, Tap};
use warp_media::{
    Carries, ClockTable, Egress, ForwardRule, Judgement, LearnPolicy, LocalPort, MediaPath, RuleState,
    SourcePolicy, StreamCounters,
};
use warp_model::Mono;

/// A call that is recorded: each packet is judged, copied into the ring and handed on, without the heap, also when the ring is full.
#[test]
fn g_3_a_recorded_packet_allocates_nothing() {
    let peer = SocketAddr::from(([192, 0, 2, 1], 4_000));
    let ring = Arc::new(Ring::new(1 << 16));
    let mut rule = state(Carries::Mux, SourcePolicy::Exact(peer)).rule().clone();
    let egress = rule.rtp.expect("an egress");
    let output = |path| Output { path, egress, protect: None, is_played: false };
    rule.pipeline = Some(Arc::new(Pipeline {
        stages: vec![Arc::new(Tap { leg: 7, ring: Arc::clone(&ring) })],
        outputs: vec![output(MediaPath::Rtp), output(MediaPath::Rtcp)],
        ..Pipeline::default()
    }));
    let mut state = RuleState::new(rule);
    let mut lot = vec![0; HEAD_ROOM + 172 + TAIL_ROOM];
    lot[HEAD_ROOM..HEAD_ROOM + 12].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7]);
    let (mut taken, mut lost) = (0u64, 0);
    for round in 0..5_000u64 {
        lot[HEAD_ROOM + 2..HEAD_ROOM + 4].copy_from_slice(&(round as u16).to_be_bytes());
        let used = measure(|| {
            let mut packet = RoomyPacket::new(&mut lot, HEAD_ROOM, HEAD_ROOM + 172).expect("room");
            let judged = state.apply_pipeline(&mut packet, peer, Mono(round * 20_000_000));
            assert_eq!(judged, Judgement::Fan(MediaPath::Rtp));
            assert!(state.protect(0, &mut packet, Mono(0)).is_ok());
        });
        assert_eq!(used.count_total, 0, "round {round}");
        if round % 1_000 == 999 {
            ring.take(ring.end(), |tapped| taken += u64::from(tapped.leg == 7 && tapped.length == 172));
            lost += ring.take_lost();
        }
    }
    assert!(taken > 1_000 && lost > 1_000 && taken + lost == 5_000, "{taken} {lost}");
}

fn state(carries: Carries, source: SourcePolicy) -> RuleState {
    let port = LocalPort { ip: 0, port: 30_000 };
    let out = Some(Egress { port, to: Some(SocketAddr::from(([198, 51, 100, 1], 4_000))) });
    RuleState::new(ForwardRule {
        local: port,
        carries,
        protected: false,
        source,
        rtp: out,
        rtcp: out,
        pipeline: None,
        companion: None,
        max_packets_per_s: 200,
        clocks: ClockTable::new(),
        counters: Arc::new(StreamCounters::default()),
        reverse: Some(Arc::new(StreamCounters::default())),
    })
}

#[test]
fn g_3_judging_a_packet_allocates_nothing() {
    let peer = SocketAddr::from(([192, 0, 2, 1], 4_000));
    let stranger = SocketAddr::from(([203, 0, 113, 7], 5_000));
    let learn = SourcePolicy::Learn(LearnPolicy::new([peer.ip()], 1));
    let mut states = [
        state(Carries::Mux, SourcePolicy::Exact(peer)),
        state(Carries::Mux, learn),
        state(Carries::Rtcp, SourcePolicy::Exact(peer)),
        state(Carries::Raw, learn),
    ];
    let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7];
    packet.resize(172, 0x55);
    let report = [0x81, 201, 0, 7, 0, 0, 0, 7, 0, 0, 0, 9].into_iter().chain([0; 20]).collect::<Vec<u8>>();
    let mut random = 0x5EED_u64;
    for round in 0..50_000u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bytes = if random & 7 == 0 { report.clone() } else { packet.clone() };
        bytes[2..4].copy_from_slice(&(round as u16).to_be_bytes());
        if random & 0x30 == 0 {
            let at = (random >> 40) as usize % bytes.len();
            bytes[at] = (random >> 32) as u8;
        }
        let from = if random & 0xC0 == 0 { stranger } else { peer };
        let used = measure(|| {
            for state in &mut states {
                let _ = (state.apply(&bytes, from, Mono(round * 5_000_000)), state.take_news());
            }
        });
        assert_eq!(used.count_total, 0, "round {round}");
    }
    assert!(
        states.iter().all(|s| s.rule().counters.snapshot(0).packets > 0 || s.rule().carries == Carries::Rtcp)
    );
}
