//! Packets, addresses and rules that the tests of the packet path share.
#![allow(dead_code)] // each test file uses its part

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use warp_media::{
    Carries, ClockTable, Egress, ForwardRule, Judgement, LearnPolicy, LocalPort, MediaPath, RuleState,
    SourcePolicy, StreamCounters,
};
use warp_model::Mono;

pub const A: &str = "192.0.2.1:4000";
pub const B: &str = "198.51.100.2:5000";
pub const OUT: LocalPort = LocalPort { ip: 0, port: 30_002 };

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn at_ms(ms: u64) -> Mono {
    Mono(1_000_000_000 + ms * 1_000_000)
}

pub fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut p = vec![0x80, 0];
    p.extend_from_slice(&sequence.to_be_bytes());
    p.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    p.extend_from_slice(&ssrc.to_be_bytes());
    p.extend_from_slice(&[0xD5; 160]);
    p
}

pub fn rr(ssrc: u32) -> Vec<u8> {
    let mut p = vec![0x80, 201, 0, 1];
    p.extend_from_slice(&ssrc.to_be_bytes());
    p
}

pub fn rule(carries: Carries, source: SourcePolicy) -> ForwardRule {
    let out = Some(Egress { port: OUT, to: Some(addr(B)) });
    ForwardRule {
        local: LocalPort { ip: 0, port: 30_000 },
        carries,
        protected: false,
        source,
        rtp: out,
        rtcp: out,
        pipeline: None,
        companion: None,
        max_packets_per_s: 0,
        clocks: ClockTable::new(),
        counters: Arc::new(StreamCounters::default()),
        reverse: None,
    }
}

pub fn exact(carries: Carries) -> RuleState {
    RuleState::new(rule(carries, SourcePolicy::Exact(addr(A))))
}

pub fn learn_policy(allowed: &[&str]) -> SourcePolicy {
    let list = allowed.iter().map(|ip| ip.parse::<IpAddr>().unwrap());
    SourcePolicy::Learn(LearnPolicy::new(list, 1))
}

pub fn learn(carries: Carries, allowed: &[&str]) -> RuleState {
    RuleState::new(rule(carries, learn_policy(allowed)))
}

pub fn forwarded(path: MediaPath) -> Judgement {
    Judgement::Forward { dest: addr(B), out_port: OUT, path }
}
