//! Agent to agent over loopback: every behaviour, UDP and TCP, with RTP both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use warp_sip::flow::Transport;
use warp_ua::{Agent, AgentConfig, Behaviour, CallResult, CallSpec, EndedBy};

fn agent(ip: IpAddr, seed: u64) -> Agent {
    let rule = |called: &str| match called {
        "486" => Behaviour::Refuse { status: 486, after: Duration::from_millis(20), q850: Some(17) },
        "ring" => Behaviour::Ring,
        "silent" => Behaviour::Silent,
        "hangup" => Behaviour::Answer {
            ring: Duration::ZERO,
            answer: Duration::from_millis(10),
            early_media: false,
            hang_up: Some(Duration::from_millis(100)),
            rtp: true,
        },
        "early" => Behaviour::Answer {
            ring: Duration::ZERO,
            answer: Duration::from_millis(100),
            early_media: true,
            hang_up: None,
            rtp: true,
        },
        _ => Behaviour::answer_after(Duration::from_millis(30)),
    };
    let config = AgentConfig { local: SocketAddr::new(ip, 0), media_ip: ip, seed, rule: Arc::new(rule) };
    Agent::start(config).expect("agent starts")
}

fn call(ip: IpAddr, called: &str, change: impl FnOnce(&mut CallSpec)) -> CallResult {
    let (a, b) = (agent(ip, 1), agent(ip, 2));
    let mut spec = CallSpec::new(b.addr(), "12025550100", called);
    spec.talk = Duration::from_millis(300);
    change(&mut spec);
    a.call(spec).recv_timeout(Duration::from_secs(40)).expect("a result")
}

fn assert_talked(r: &CallResult) {
    assert_eq!((r.status, r.ended_by), (200, EndedBy::Us), "{r:?}");
    assert!(r.rtp_sent >= 5 && r.rtp_received >= 5, "{r:?}");
    assert!(r.talk >= Duration::from_millis(300), "{r:?}");
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn answered_over_udp() {
    let r = call(V4, "14155550123", |_| {});
    assert_talked(&r);
    assert_eq!(r.statuses, [100, 180, 200]);
}

#[test]
fn answered_over_tcp() {
    assert_talked(&call(V4, "14155550123", |s| s.transport = Transport::Tcp));
}

#[test]
fn answered_over_ipv6() {
    assert_talked(&call(V6, "14155550123", |_| {}));
    assert_talked(&call(V6, "14155550123", |s| s.transport = Transport::Tcp));
}

#[test]
fn the_callee_hangs_up() {
    let r = call(V4, "hangup", |s| s.talk = Duration::from_secs(30));
    assert_eq!((r.status, r.ended_by), (200, EndedBy::Them), "{r:?}");
}

#[test]
fn busy() {
    let r = call(V4, "486", |_| {});
    assert_eq!((r.status, r.ended_by), (486, EndedBy::NotAnswered), "{r:?}");
}

#[test]
fn cancelled_while_ringing() {
    let r = call(V4, "ring", |s| s.cancel_after = Some(Duration::from_millis(50)));
    assert_eq!((r.status, r.ended_by), (487, EndedBy::NotAnswered), "{r:?}");
}

#[test]
fn early_media() {
    let r = call(V4, "early", |_| {});
    assert_talked(&r);
    assert_eq!(r.statuses, [100, 183, 200]);
}

#[test]
fn many_calls_on_two_threads() {
    let (a, b) = (agent(V4, 1), agent(V4, 2));
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let mut spec = CallSpec::new(b.addr(), "12025550100", "14155550123");
            spec.talk = Duration::from_millis(300);
            a.call(spec)
        })
        .collect();
    for rx in waiting {
        assert_eq!(rx.recv_timeout(Duration::from_secs(10)).expect("a result").status, 200);
    }
}
