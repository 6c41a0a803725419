//! A rule as a pipeline: steps in their order, in the room of the buffer, and one packet to several receivers.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use common::*;
use warp_media::packet::{HEAD_ROOM, RoomyPacket, TAIL_ROOM};
use warp_media::pipeline::{Output, Pipeline, Stage, StageMaker};
use warp_media::{
    Carries, DropReason, Egress, ForwardRule, Judgement, LocalPort, MediaPath, RuleState, SourcePolicy,
};
use warp_model::Mono;

/// A tag of four bytes at the end that names its key, checked and taken off, or put on with a count of packets before it.
#[derive(Debug)]
enum Seal {
    Open { key: u8 },
    Close { key: u8, made: Arc<AtomicU32> },
}

#[derive(Debug)]
struct Opening(u8);

#[derive(Debug)]
struct Closing {
    key: u8,
    count: u8,
}

impl StageMaker for Seal {
    fn make(&self) -> Box<dyn Stage> {
        match self {
            Seal::Open { key } => Box::new(Opening(*key)),
            Seal::Close { key, made } => {
                made.fetch_add(1, Relaxed);
                Box::new(Closing { key: *key, count: 0 })
            }
        }
    }
}

impl Stage for Opening {
    fn run(&mut self, packet: &mut RoomyPacket<'_>, _: MediaPath, _: Mono) -> Result<(), DropReason> {
        if !packet.bytes().ends_with(&[self.0; 4]) {
            return Err(DropReason::Malformed);
        }
        packet.cut_tail(4);
        Ok(())
    }
}

impl Stage for Closing {
    fn run(&mut self, packet: &mut RoomyPacket<'_>, _: MediaPath, _: Mono) -> Result<(), DropReason> {
        self.count += 1;
        let tag = [self.count, self.key, self.key, self.key];
        packet.grow_tail(4).ok_or(DropReason::Malformed)?.copy_from_slice(&tag);
        Ok(())
    }
}

/// Sets the marker.
#[derive(Debug)]
struct Mark;

impl StageMaker for Mark {
    fn make(&self) -> Box<dyn Stage> {
        Box::new(Mark)
    }
}

impl Stage for Mark {
    fn run(&mut self, packet: &mut RoomyPacket<'_>, path: MediaPath, _: Mono) -> Result<(), DropReason> {
        if path == MediaPath::Rtp {
            packet.bytes_mut()[1] |= 0x80;
        }
        Ok(())
    }
}

const TAP: &str = "198.51.100.9:9000";
const TAP_PORT: LocalPort = LocalPort { ip: 0, port: 40_000 };

fn sealed_rule(made: &Arc<AtomicU32>, source: SourcePolicy) -> ForwardRule {
    let close = |key| Arc::new(Seal::Close { key, made: Arc::clone(made) });
    let out =
        |path, port, to, protect| Output { path, egress: Egress { port, to }, protect, is_played: false };
    let pipeline = Pipeline {
        unprotect: Some(Arc::new(Seal::Open { key: 7 })),
        stages: vec![Arc::new(Mark)],
        outputs: vec![
            out(MediaPath::Rtp, OUT, Some(addr(B)), Some(close(8))),
            out(MediaPath::Rtp, TAP_PORT, Some(addr(TAP)), None),
            out(MediaPath::Rtcp, OUT, None, Some(close(9))),
        ],
        ..Pipeline::default()
    };
    ForwardRule { pipeline: Some(Arc::new(pipeline)), ..rule(Carries::Mux, source) }
}

/// What leaves for one packet: port, receiver, bytes.
fn through(
    state: &mut RuleState,
    packet: &[u8],
    source: &str,
) -> Result<Vec<(LocalPort, String, Vec<u8>)>, Judgement> {
    let mut buffer = [vec![0xEE; HEAD_ROOM], packet.to_vec(), vec![0xEE; TAIL_ROOM]].concat();
    let mut p = RoomyPacket::new(&mut buffer, HEAD_ROOM, HEAD_ROOM + packet.len()).unwrap();
    let path = match state.apply_pipeline(&mut p, addr(source), at_ms(1)) {
        Judgement::Fan(path) => path,
        other => return Err(other),
    };
    let clear = p.bytes().to_vec();
    let mut out = Vec::new();
    let mut next = 0;
    while let Some(receiver) = state.next_receiver(path, next) {
        next = receiver + 1;
        let mut copy = [clear.clone(), vec![0xEE; TAIL_ROOM]].concat();
        let mut p = RoomyPacket::new(&mut copy, 0, clear.len()).unwrap();
        let (port, to) = state.protect(receiver, &mut p, at_ms(1)).map_err(Judgement::Drop)?;
        out.push((port, to.to_string(), p.bytes().to_vec()));
    }
    Ok(out)
}

#[test]
fn a_packet_is_opened_changed_and_sealed_for_each_receiver() {
    let made = Arc::new(AtomicU32::new(0));
    let mut state = RuleState::new(sealed_rule(&made, SourcePolicy::Exact(addr(A))));
    assert!(state.has_pipeline());
    for n in 1..=3u8 {
        let sealed = [rtp(1, u16::from(n)), vec![7; 4]].concat();
        let mut clear = rtp(1, u16::from(n));
        clear[1] = 0x80;
        let for_b = [clear.clone(), vec![n, 8, 8, 8]].concat();
        let out = through(&mut state, &sealed, A).unwrap();
        assert_eq!(out, [(OUT, B.to_owned(), for_b), (TAP_PORT, TAP.to_owned(), clear)]);
    }
    // The figures are those of the opened packets.
    let f = state.rule().counters.snapshot(0);
    assert_eq!((f.packets, f.bytes, f.expected, f.payload_type), (3, 3 * 172, 3, 0));
    // RTCP has a receiver whose address is not known yet.
    let report = [rr(1), vec![7; 4]].concat();
    assert_eq!(through(&mut state, &report, A), Err(Judgement::Drop(DropReason::NoDestination)));
    state.set_destination(OUT, Some(addr(A)));
    let out = through(&mut state, &report, A).unwrap();
    assert_eq!(out, [(OUT, A.to_owned(), [rr(1), vec![1, 9, 9, 9]].concat())]);
    let [(port, to, _), (_, tap, _)] =
        &through(&mut state, &[rtp(1, 9), vec![7; 4]].concat(), A).unwrap()[..]
    else {
        panic!()
    };
    assert_eq!((*port, to.as_str(), tap.as_str()), (OUT, A, TAP), "a learnt peer goes first, for its port");
    state.set_destination(OUT, None);
    let out = through(&mut state, &[rtp(1, 10), vec![7; 4]].concat(), A).unwrap();
    assert_eq!(out[0].1, B, "unlearnt: what the SDP says counts again");
    assert_eq!(through(&mut state, &report, A), Err(Judgement::Drop(DropReason::NoDestination)));
}

#[test]
fn t_rtp_05_what_cannot_be_opened_has_not_come() {
    let made = Arc::new(AtomicU32::new(0));
    for source in [SourcePolicy::Exact(addr(A)), learn_policy(&["192.0.2.1"])] {
        let mut state = RuleState::new(sealed_rule(&made, source));
        for s in 0..20 {
            let forged = [rtp(1, s), vec![6; 4]].concat();
            assert_eq!(through(&mut state, &forged, A), Err(Judgement::Drop(DropReason::Malformed)));
        }
        let f = state.rule().counters.snapshot(0);
        assert_eq!((f.packets, f.expected, f.last_packet_ns), (0, 0, 0));
        assert_eq!((state.is_locked(), state.take_news(), state.learnt()), (false, None, None));
        let good = [rtp(1, 1), vec![7; 4]].concat();
        assert_eq!(through(&mut state, &good, A).unwrap().len(), 2);
        assert_eq!(through(&mut state, &good, TAP), Err(Judgement::Drop(DropReason::Source)));
        // A stranger's packet costs no opening.
        let strange = [rtp(1, 2), vec![6; 4]].concat();
        assert_eq!(through(&mut state, &strange, TAP), Err(Judgement::Drop(DropReason::Source)));
        // Nor does it displace who was heard.
        for s in 0..20 {
            let forged = [rtp(1, s), vec![6; 4]].concat();
            let judged = through(&mut state, &forged, "192.0.2.1:9").unwrap_err();
            assert!(matches!(judged, Judgement::Drop(DropReason::Malformed | DropReason::Source)));
        }
        assert_eq!(state.peer(), Some(addr(A)));
    }
}

#[test]
fn a_newer_rule_keeps_the_stages_that_it_names_again() {
    let made = Arc::new(AtomicU32::new(0));
    let first = sealed_rule(&made, SourcePolicy::Exact(addr(A)));
    let mut state = RuleState::new(first.clone());
    let sealed = |n| [rtp(1, n), vec![7; 4]].concat();
    let tag = |state: &mut RuleState, n| through(state, &sealed(n), A).unwrap()[0].2[172];
    assert_eq!((tag(&mut state, 1), tag(&mut state, 2)), (1, 2));
    assert_eq!(made.load(Relaxed), 2);
    state.replace(ForwardRule { max_packets_per_s: 500, ..first });
    assert_eq!((tag(&mut state, 3), made.load(Relaxed)), (3, 2), "its count goes on");
    state.replace(sealed_rule(&made, SourcePolicy::Exact(addr(A))));
    assert_eq!((tag(&mut state, 4), made.load(Relaxed)), (1, 4), "other keys begin anew");
    state.replace(rule(Carries::Mux, SourcePolicy::Exact(addr(A))));
    assert!(!state.has_pipeline());
    assert_eq!(state.apply(&rtp(1, 5), addr(A), at_ms(2)), forwarded(MediaPath::Rtp));
}
