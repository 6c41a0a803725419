//! What only the inside shows: the marking of sockets, and rules with a pipeline on a shard.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::SockRef;
use warp_media::packet::RoomyPacket;
use warp_media::pipeline::{Output, Pipeline, Stage, StageMaker};
use warp_media::{
    Carries, ClockTable, DropReason, Egress, ForwardRule, LocalPort, MediaPath, SourcePolicy, StreamCounters,
};
use warp_model::Mono;
use warp_net::mailbox::mailbox;
use warp_net::media::MediaSocket;
use warp_telemetry::metrics::Registry;

use super::bound::{BoundPorts, Handed, Waiting};
use super::kept::Keep;
use super::shard::{Shard, ToShard, Tuning};
use crate::core::ports::{PortPair, PortPool, Ports};
use crate::metrics::Metrics;

/// A second descriptor of the same socket.
fn twin(socket: &MediaSocket) -> OwnedFd {
    socket.as_fd().try_clone_to_owned().unwrap()
}

/// The new socket of a port.
fn taken(waiting: &Waiting, port: LocalPort) -> MediaSocket {
    match waiting.take(port, 0) {
        Handed::Open(socket) => socket,
        _ => panic!("not new"),
    }
}

fn tos(socket: &OwnedFd) -> u32 {
    SockRef::from(socket).tos_v4().unwrap()
}

#[test]
fn sockets_are_marked_while_they_wait_and_at_the_shard() {
    let pool = PortPool::new(&["127.0.0.1".parse().unwrap()], 18_000..=18_999, 5).unwrap();
    let metrics = Metrics::new(&Registry::new(), &["127.0.0.1".to_owned()], &pool);
    let (mut ports, waiting) = BoundPorts::new(pool, 184, Arc::new(Keep::new(0)));
    let pair: PortPair = ports.take(0, Mono(0)).unwrap();
    let port: LocalPort = pair.rtp_port();
    assert_eq!(waiting.mark(port, Some(96)), None, "done here");
    let socket = taken(&waiting, port);
    let seen = twin(&socket);
    assert_eq!(tos(&seen), 96);
    let other = twin(&taken(&waiting, pair.rtcp_port()));
    assert_eq!(tos(&other), 184, "the default");
    assert_eq!(waiting.mark(port, Some(40)), Some(40), "for the shard");
    assert_eq!(waiting.mark(port, None), Some(184));

    let (to_shard, inbox) = mailbox(16).unwrap();
    let (control, _from_shard) = mailbox(16).unwrap();
    let mut shard =
        Shard::new(inbox, control, metrics, Tuning { connect: true, cpu: None }, Arc::new(Keep::new(0)))
            .unwrap();
    let unknown = LocalPort { ip: 0, port: 1 };
    for message in
        [ToShard::Open(port, socket), ToShard::Mark(unknown, 8), ToShard::Mark(port, 40), ToShard::Stop]
    {
        assert!(to_shard.send(message).is_ok());
    }
    shard.run();
    assert_eq!(tos(&seen), 40);
}

/// Puts a letter before and behind the packet.
#[derive(Clone, Copy, Debug)]
struct Wrap(u8);

impl StageMaker for Wrap {
    fn make(&self) -> Box<dyn Stage> {
        Box::new(*self)
    }
}

impl Stage for Wrap {
    fn run(&mut self, packet: &mut RoomyPacket<'_>, _: MediaPath, _: Mono) -> Result<(), DropReason> {
        packet.grow_head(1).ok_or(DropReason::Malformed)?[0] = self.0;
        packet.grow_tail(1).ok_or(DropReason::Malformed)?[0] = self.0;
        Ok(())
    }
}

/// RTP of this peer, for a port of a shard.
fn rule(local: LocalPort, from: SocketAddr, pipeline: Option<Pipeline>) -> ForwardRule {
    ForwardRule {
        local,
        carries: Carries::Rtp,
        protected: false,
        source: SourcePolicy::Exact(from),
        rtp: None,
        rtcp: None,
        pipeline: pipeline.map(Arc::new),
        companion: None,
        max_packets_per_s: 0,
        clocks: ClockTable::new(),
        counters: Arc::default(),
        reverse: None,
    }
}

fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let at = socket.local_addr().unwrap();
    (socket, at)
}

#[test]
fn a_rule_with_a_pipeline_sends_each_receiver_its_own_packet_and_sessions_meet_silence() {
    let pool = PortPool::new(&["127.0.0.1".parse().unwrap()], 17_000..=17_999, 5).unwrap();
    let registry = Registry::new();
    let metrics = Metrics::new(&registry, &["127.0.0.1".to_owned()], &pool);
    let (mut ports, waiting) = BoundPorts::new(pool, 0, Arc::new(Keep::new(0)));
    let (to_shard, inbox) = mailbox(64).unwrap();
    let (control, _from_shard) = mailbox(64).unwrap();
    let mut shard =
        Shard::new(inbox, control, metrics, Tuning { connect: true, cpu: None }, Arc::new(Keep::new(0)))
            .unwrap();
    let [inside, outside] = [(); 2].map(|()| ports.take(0, Mono(0)).unwrap());
    let ((phone, phone_at), (far, far_at), (tap, tap_at)) = (peer(), peer(), peer());
    let output = |port: LocalPort, to, letter| Output {
        path: MediaPath::Rtp,
        egress: Egress { port, to: Some(to) },
        protect: Some(Arc::new(Wrap(letter)) as Arc<dyn StageMaker>),
        is_played: false,
    };
    let outputs = vec![
        output(outside.rtp_port(), far_at, b'F'),
        // A port of ours that is not there: the others hear all the same.
        output(LocalPort { ip: 0, port: 1 }, tap_at, b'-'),
        output(outside.rtcp_port(), tap_at, b'T'),
    ];
    let pipeline =
        Pipeline { unprotect: None, stages: vec![Arc::new(Wrap(b's'))], outputs, ..Pipeline::default() };
    let counters = Arc::new(StreamCounters::default());
    let rule =
        ForwardRule { counters: Arc::clone(&counters), ..rule(inside.rtp_port(), phone_at, Some(pipeline)) };
    for port in [inside.rtp_port(), outside.rtp_port(), outside.rtcp_port()] {
        assert!(to_shard.send(ToShard::Open(port, taken(&waiting, port))).is_ok());
    }
    assert!(to_shard.send(ToShard::Install(rule)).is_ok());
    let thread = std::thread::spawn(move || shard.run());
    let to = SocketAddr::from(([127, 0, 0, 1], inside.rtp_port().port));
    // Some so large that only a few fit into the lot: all must come, whole and in order, at both.
    let packet = |n: u16| {
        let mut p = vec![0x80, 0, (n >> 8) as u8, n as u8];
        p.resize(if n.is_multiple_of(5) { 30_000 } else { 172 }, n as u8);
        p
    };
    let wrapped = |n: u16, letter: u8| [&[letter, b's'][..], &packet(n), &[b's', letter]].concat();
    let mut buffer = vec![0; 65_536];
    for lot in 0..20u16 {
        for n in lot * 8..lot * 8 + 8 {
            phone.send_to(&packet(n), to).unwrap();
        }
        for n in lot * 8..lot * 8 + 8 {
            for (socket, letter) in [(&far, b'F'), (&tap, b'T')] {
                let (len, from) = socket.recv_from(&mut buffer).expect("nothing arrived");
                assert!(buffer[..len] == wrapped(n, letter), "packet {n} for {}", letter as char);
                let port = if letter == b'F' { outside.rtp_port() } else { outside.rtcp_port() };
                assert_eq!(from.port(), port.port);
            }
        }
    }
    // For us, not for the far side: a keep-alive is taken, anything else is refused and counted; neither is answered.
    let keep_alive = [&[0, 0x11, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
    for p in [&keep_alive, &request, &packet(1_000)] {
        phone.send_to(p, to).unwrap();
    }
    let len = far.recv(&mut buffer).unwrap();
    assert!(buffer[..len] == wrapped(1_000, b'F'), "the next that is heard");
    assert_eq!((counters.dropped(DropReason::Kind), counters.packets.load(Relaxed)), (1, 161));
    phone.set_nonblocking(true).unwrap();
    assert!(phone.recv(&mut buffer).is_err(), "answered");
    assert!(to_shard.send(ToShard::Stop).is_ok());
    thread.join().unwrap();
    let text = registry.render();
    assert!(text.lines().any(|l| l.starts_with("warp_media_panics_total") && l.ends_with(" 0")), "{text}");
}

/// A stage that cannot be made.
#[derive(Clone, Copy, Debug)]
struct Broken;

impl StageMaker for Broken {
    fn make(&self) -> Box<dyn Stage> {
        panic!("meant")
    }
}

/// The messages behind it belong to other calls.
#[test]
fn g_1_a_rule_that_panics_costs_the_shard_no_other_message_of_the_wake_up() {
    let pool = PortPool::new(&["127.0.0.1".parse().unwrap()], 18_040..=18_049, 5).unwrap();
    let registry = Registry::new();
    let metrics = Metrics::new(&registry, &["127.0.0.1".to_owned()], &pool);
    let (mut ports, waiting) = BoundPorts::new(pool, 0, Arc::new(Keep::new(0)));
    let (to_shard, inbox) = mailbox(64).unwrap();
    let (control, _from_shard) = mailbox(64).unwrap();
    let mut shard =
        Shard::new(inbox, control, metrics, Tuning { connect: true, cpu: None }, Arc::new(Keep::new(0)))
            .unwrap();
    let [first, inside, outside] = [(); 3].map(|()| ports.take(0, Mono(0)).unwrap().rtp_port());
    let ((phone, phone_at), (far, far_at)) = (peer(), peer());
    let rule = |local, stages| {
        let egress = Egress { port: outside, to: Some(far_at) };
        let outputs = vec![Output { path: MediaPath::Rtp, egress, protect: None, is_played: false }];
        rule(local, phone_at, Some(Pipeline { stages, outputs, ..Pipeline::default() }))
    };
    for port in [first, inside, outside] {
        assert!(to_shard.send(ToShard::Open(port, taken(&waiting, port))).is_ok());
    }
    // All are there before the shard begins: it takes them in one wake-up.
    for message in [
        ToShard::Install(rule(first, vec![Arc::new(Broken)])),
        ToShard::Install(rule(inside, vec![Arc::new(Wrap(b's'))])),
    ] {
        assert!(to_shard.send(message).is_ok());
    }
    let thread = std::thread::spawn(move || shard.run());
    let mut packet = vec![0x80; 172];
    packet[1] = 0;
    phone.send_to(&packet, ("127.0.0.1", inside.port)).unwrap();
    let mut buffer = [0; 256];
    let len = far.recv(&mut buffer).expect("the rule behind it is there");
    assert_eq!(buffer[..len], [&b"s"[..], &packet, b"s"].concat());
    assert!(to_shard.send(ToShard::Stop).is_ok());
    thread.join().unwrap();
    let text = registry.render();
    assert!(text.lines().any(|l| l.starts_with("warp_media_panics_total") && l.ends_with(" 1")), "{text}");
}

#[test]
fn no_more_sockets_rest_than_may() {
    let pool = PortPool::new(&["127.0.0.1".parse().unwrap()], 18_030..=18_037, 5).unwrap();
    let metrics = Metrics::new(&Registry::new(), &["127.0.0.1".to_owned()], &pool);
    let keep = Arc::new(Keep::new(3));
    let (mut ports, waiting) = BoundPorts::new(pool, 0, Arc::clone(&keep));
    let (to_shard, inbox) = mailbox(64).unwrap();
    let (control, _from_shard) = mailbox(64).unwrap();
    let mut shard =
        Shard::new(inbox, control, metrics, Tuning { connect: true, cpu: None }, Arc::clone(&keep)).unwrap();
    let (_, phone_at) = peer();
    let mut all = Vec::new();
    for _ in 0..4 {
        let pair = ports.take(0, Mono(0)).unwrap();
        for port in [pair.rtp_port(), pair.rtcp_port()] {
            let rule = rule(port, phone_at, None);
            for message in [
                ToShard::Open(port, taken(&waiting, port)),
                ToShard::Install(rule),
                ToShard::Close(port),
                // Said again, it changes nothing.
                ToShard::Close(port),
            ] {
                assert!(to_shard.send(message).is_ok());
            }
            all.push(port.port);
        }
    }
    let thread = std::thread::spawn(move || {
        shard.run();
        shard
    });
    let kept = || {
        let is_held = |port: &&u16| UdpSocket::bind(("127.0.0.1", **port)).is_err();
        all.iter().filter(is_held).count()
    };
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while kept() != 3 {
        assert!(std::time::Instant::now() < end, "{} are kept", kept());
        std::thread::yield_now();
    }
    assert!(to_shard.send(ToShard::Stop).is_ok());
    drop(thread.join().unwrap());
    assert_eq!(kept(), 0, "all go with their shard");
}

/// What a packet thread looks at while a party behind a NAT is learnt among `n` other ports.
fn looks_of_learning(n: usize, first_port: u16) -> u64 {
    let range = first_port..=first_port + 999;
    let pool = PortPool::new(&["127.0.0.1".parse().unwrap()], range, 5).unwrap();
    let metrics = Metrics::new(&Registry::new(), &["127.0.0.1".to_owned()], &pool);
    let (mut ports, waiting) = BoundPorts::new(pool, 0, Arc::new(Keep::new(0)));
    let (to_shard, inbox) = mailbox(2_048).unwrap();
    let (control, _from_shard) = mailbox(64).unwrap();
    let mut shard =
        Shard::new(inbox, control, metrics, Tuning { connect: true, cpu: None }, Arc::new(Keep::new(0)))
            .unwrap();
    let ((phone, phone_at), (far, far_at)) = (peer(), peer());
    for _ in 0..n {
        let port = ports.take(0, Mono(0)).unwrap().rtp_port();
        assert!(to_shard.send(ToShard::Open(port, taken(&waiting, port))).is_ok());
        assert!(to_shard.send(ToShard::Install(rule(port, far_at, None))).is_ok());
    }
    let [inside, outside] = [(); 2].map(|()| ports.take(0, Mono(0)).unwrap().rtp_port());
    for port in [inside, outside] {
        assert!(to_shard.send(ToShard::Open(port, taken(&waiting, port))).is_ok());
    }
    let egress = |port, to| Some(Egress { port, to });
    let learn = SourcePolicy::Learn(warp_media::LearnPolicy::new([phone_at.ip()], 1));
    let of_phone =
        ForwardRule { source: learn, rtp: egress(outside, Some(far_at)), ..rule(inside, phone_at, None) };
    let of_far = ForwardRule { rtp: egress(inside, None), ..rule(outside, far_at, None) };
    for rule in [of_phone, of_far] {
        assert!(to_shard.send(ToShard::Install(rule)).is_ok());
    }
    let mut events = warp_net::epoll::Events::with_capacity(64);
    // The rules first: a wake-up for each lot of messages, and never one that nothing ends.
    for _ in 0..(2 * n + 4).div_ceil(64) {
        assert!(to_shard.send(ToShard::Mark(LocalPort { ip: 0, port: 1 }, 0)).is_ok());
        shard.wake_up(&mut events);
    }
    let before = shard.looks();
    let mut buffer = [0; 256];
    for n in 0..6 {
        let mut packet = vec![0x80, 0, 0, n];
        packet.resize(172, n);
        phone.send_to(&packet, ("127.0.0.1", inside.port)).unwrap();
        shard.wake_up(&mut events);
        assert_eq!(far.recv(&mut buffer).unwrap(), 172);
    }
    // The way back is open: it was learnt.
    far.send_to(&[0x80; 172], ("127.0.0.1", outside.port)).unwrap();
    shard.wake_up(&mut events);
    assert_eq!(phone.recv(&mut buffer).unwrap(), 172);
    shard.looks() - before
}

/// Issue 6 §4: learning on the packet thread costs the ports of its call, however many others there are.
#[test]
fn what_is_learnt_costs_no_walk_over_the_ports() {
    let (few, many) = (looks_of_learning(2, 19_000), looks_of_learning(300, 16_000));
    assert_eq!(few, many, "what is looked at grows with the ports");
    assert!(few < 200, "{few}");
}
