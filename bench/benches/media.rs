//! RTP: the rule that every packet passes, alone in the cache and among 1,000 streams; parsing; quality figures.

use std::net::SocketAddr;
use std::sync::Arc;

use divan::{AllocProfiler, Bencher, black_box};
use warp_media::quality::{Impairment, Jitter, SeqTracker, mos_x100};
use warp_media::rtcp::Compound;
use warp_media::rtp::RtpView;
use warp_media::{
    Carries, ClockTable, Egress, ForwardRule, LocalPort, RuleState, SourcePolicy, StreamCounters,
    packet_limit,
};
use warp_model::Mono;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn source() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 20], 21_432))
}

fn state(port: u16) -> RuleState {
    let to = Some(SocketAddr::from(([203, 0, 113, 9], 30_412)));
    let out = Some(Egress { port: LocalPort { ip: 0, port: port + 1 }, to });
    RuleState::new(ForwardRule {
        local: LocalPort { ip: 0, port },
        carries: Carries::Mux,
        protected: false,
        source: SourcePolicy::Exact(source()),
        rtp: out,
        rtcp: out,
        pipeline: None,
        companion: None,
        max_packets_per_s: packet_limit(20),
        clocks: ClockTable::new(),
        counters: Arc::new(StreamCounters::default()),
        reverse: None,
    })
}

fn packet() -> [u8; 172] {
    let mut p = [0xD5; 172];
    p[..12].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    p
}

/// Sequence number and timestamp of packet `n`.
fn stamp(p: &mut [u8; 172], n: u64) {
    p[2..4].copy_from_slice(&(n as u16).to_be_bytes());
    p[4..8].copy_from_slice(&(n as u32).wrapping_mul(160).to_be_bytes());
}

/// 1,000 packets of one stream: all of the rule, in the cache.
#[divan::bench(items_count = 1_000u32)]
fn apply_one_stream(bencher: Bencher<'_, '_>) {
    let (mut state, mut p, mut n) = (state(30_000), packet(), 0u64);
    bencher.bench_local(|| {
        for _ in 0..1_000 {
            n += 1;
            stamp(&mut p, n);
            black_box(state.apply(black_box(&p), source(), Mono(n * 20_000_000)));
        }
    });
}

/// One packet of each of 1,000 streams in turn.
#[divan::bench(items_count = 1_000u32)]
fn apply_1000_streams(bencher: Bencher<'_, '_>) {
    let mut states: Vec<_> = (0..1_000).map(|i| state(30_000 + 2 * i)).collect();
    let (mut p, mut n) = (packet(), 0u64);
    bencher.bench_local(|| {
        n += 1;
        stamp(&mut p, n);
        for state in &mut states {
            black_box(state.apply(black_box(&p), source(), Mono(n * 20_000_000)));
        }
    });
}

/// A stranger's packet: refusals must cost less than acceptance (G-3).
#[divan::bench(items_count = 1_000u32)]
fn refuse_stranger(bencher: Bencher<'_, '_>) {
    let (mut state, p) = (state(30_000), packet());
    let stranger = SocketAddr::from(([192, 0, 2, 66], 4_000));
    bencher.bench_local(|| {
        for _ in 0..1_000 {
            black_box(state.apply(black_box(&p), stranger, Mono(1)));
        }
    });
}

/// Header view with all fields read.
#[divan::bench]
fn rtp_view(bencher: Bencher<'_, '_>) {
    let p = packet();
    bencher.bench_local(|| {
        let v =
            RtpView::parse(black_box(&p)).map(|v| (v.ssrc(), v.sequence(), v.timestamp(), v.payload().len()));
        black_box(v)
    });
}

/// SR + SDES, checked and walked.
#[divan::bench]
fn rtcp_compound(bencher: Bencher<'_, '_>) {
    let mut p = vec![0x81, 200, 0, 12];
    p.resize(52, 1);
    p.extend_from_slice(&[0x81, 202, 0, 3, 0, 0, 0, 1, 1, 3, b'a', b'@', b'b', 0, 0, 0]);
    bencher.bench_local(|| black_box(Compound::parse(black_box(&p)).map(Iterator::count)));
}

/// Sequence tracker and jitter, 1,000 packets with one in 50 lost.
#[divan::bench(items_count = 1_000u32)]
fn quality_1000_packets(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let (mut tracker, mut jitter) = (SeqTracker::default(), Jitter::default());
        for n in (0..1_000u64).filter(|n| n % 50 != 3) {
            tracker.update(7, n as u16);
            jitter.update((n * 160) as u32, 8_000, Mono(n * 20_000_000 + n % 7 * 100_000));
        }
        black_box((tracker.expected(), jitter.micros()))
    });
}

/// One value of the E-model from loss, delay and codec.
#[divan::bench]
fn mos(bencher: Bencher<'_, '_>) {
    let i = Impairment { loss_x10000: 120, jitter_us: 4_000, rtt_us: 90_000 };
    bencher.bench_local(|| mos_x100(black_box(i)));
}
