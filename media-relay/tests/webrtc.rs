//! ICE and DTLS-SRTP: what is negotiated, and media between an agent such as a browser is, plain phones, and Debian's
//! rtpengine.

mod common;
mod desk;
mod engine;
mod programs;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Phone;
use desk::{answer, at, offer, port, run, text};
use engine::Client;
use programs::{audio_port, has, rtp, socket, wait_for};
use serde_json::json;
use warp_dtls::Identity;
use warp_media::ice::{Candidate, Credentials, IceSetup};
use warp_media::keying::{DigestKind, DtlsSetup, Fingerprint, Handshake, HandshakeMaker, KeySlot, SlotMaker};
use warp_media::packet::RoomyPacket;
use warp_media::pipeline::Stage;
use warp_media::rtp::{PacketClass, classify};
use warp_media::session::{SessionMachine, SessionOutput, SessionSetup, Source};
use warp_media::{LocalPort, MediaPath, SourcePolicy};
use warp_media_relay::core::book::{Book, BookConfig, KeySource};
use warp_media_relay::core::secure;
use warp_model::Mono;
use warp_ng::{Command, Dtls, Ice, IceLite, Query, Reply, SdpCommand, Transport};
use warp_sdp::Sdp;

fn counting(bytes: &mut [u8]) -> bool {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    bytes.iter_mut().for_each(|b| *b = NEXT.fetch_add(1, Ordering::Relaxed));
    true
}

/// A certificate that never shakes hands.
#[derive(Debug)]
struct Paper;

impl HandshakeMaker for Paper {
    fn make(&self, _: bool, _: &[Fingerprint], _: Mono) -> Option<Box<dyn Handshake>> {
        None
    }
    fn certificate(&self) -> &[u8] {
        b"paper"
    }
}

fn book() -> Book {
    let config =
        BookConfig { keys: KeySource(counting), dtls: Some(Arc::new(Paper)), ..BookConfig::default() };
    desk::book_with(config, 30_000..=30_999)
}

/// ICE as the offer has it: commands of this process say so.
fn by_checks(c: SdpCommand) -> SdpCommand {
    SdpCommand { ice: Some(Ice::Default), ..c }
}

fn plain(ip: &str, port: u16) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n")
}

const PRINT: &str =
    "sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB";

/// As Chromium writes it.
fn browser(ip: &str, port: u16, ufrag: &str, setup: &str) -> String {
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio {port} UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 {ip}\r\n\
         a=rtcp:9 IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2122260223 {ip} {port} typ host generation 0\r\na=ice-ufrag:{ufrag}\r\n\
         a=ice-pwd:0123456789012345678901\r\na=ice-options:trickle\r\na=fingerprint:{PRINT}\r\na=setup:{setup}\r\na=mid:0\r\n\
         a=sendrecv\r\na=rtcp-mux\r\n"
    )
}

fn value<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|l| l.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}

fn has_line(sdp: &str, line: &str) -> bool {
    sdp.lines().any(|l| l == line)
}

#[test]
fn a_browser_and_a_phone_are_each_told_what_they_speak() {
    let mut b = book();
    let mut first = offer("c", "f", browser("198.51.100.7", 4000, "abcd", "actpass"));
    first.transport_protocol = Some(Transport::RtpAvp);
    first.ice = Some(Ice::Remove);
    let told = text(run(&mut b, Command::Offer(first.clone()), at(0)));
    assert!(told.contains(" RTP/AVP 0\r\n"), "{told}");
    for word in ["ice", "candidate", "fingerprint", "setup", "BUNDLE"] {
        assert!(!told.contains(word), "{word}: {told}");
    }
    let back =
        text(run(&mut b, Command::Answer(by_checks(answer("c", "f", "t", plain("192.0.2.2", 5000)))), at(1)));
    assert!(
        back.contains(" UDP/TLS/RTP/SAVPF 0\r\n") && has_line(&back, "a=rtcp-mux"),
        "a browser takes no answer without: {back}"
    );
    // As rtpengine does, the relay begins where it may, and names the section as the offer did.
    assert_eq!((value(&back, "setup"), value(&back, "mid")), (Some("active"), Some("0")), "{back}");
    let print = Fingerprint::of(DigestKind::Sha256, b"paper").to_string();
    assert_eq!(value(&back, "fingerprint"), Some(print.as_str()));
    assert_eq!((value(&back, "ice-ufrag").unwrap().len(), value(&back, "ice-pwd").unwrap().len()), (8, 24));
    assert!(has_line(&back, "a=ice-options:trickle") && has_line(&back, "a=end-of-candidates"));
    let ours = port(&back);
    assert!(
        has_line(&back, &format!("a=candidate:1 1 UDP 2130706431 203.0.113.9 {ours} typ host")),
        "{back}"
    );
    assert!(!back.contains("a=candidate:1 2 "), "RTCP is muxed");
    // The same again is the same session: nothing of ours changes.
    first.to_tag = Some(b"t".to_vec());
    text(run(&mut b, Command::Offer(first.clone()), at(2)));
    let again =
        text(run(&mut b, Command::Answer(by_checks(answer("c", "f", "t", plain("192.0.2.2", 5000)))), at(3)));
    for name in ["ice-ufrag", "ice-pwd", "setup", "fingerprint"] {
        assert_eq!(value(&again, name), value(&back, name), "{name}");
    }
    // New credentials of the browser are an ICE restart (RFC 8445 §9).
    first.sdp = browser("198.51.100.7", 4000, "efgh", "actpass").into_bytes();
    text(run(&mut b, Command::Offer(first), at(4)));
    let restarted =
        text(run(&mut b, Command::Answer(by_checks(answer("c", "f", "t", plain("192.0.2.2", 5000)))), at(5)));
    assert_ne!(value(&restarted, "ice-ufrag"), value(&back, "ice-ufrag"));
    let Reply::Stats(stats) =
        run(&mut b, Command::Query(Query { call_id: b"c".to_vec(), ..Query::default() }), at(6))
    else {
        panic!()
    };
    let flags = |tag: &[u8]| stats.tags.iter().find(|t| t.tag == tag).unwrap().medias[0].flags;
    assert!(flags(b"f").dtls && flags(b"f").ice && !flags(b"f").ice_controlling && !flags(b"t").dtls);
}

#[test]
fn a_phone_that_calls_a_browser_is_offered_on_with_checks_and_handshake() {
    let mut b = book();
    let mut first = offer("c", "f", plain("198.51.100.1", 4000));
    (first.transport_protocol, first.ice) = (Some(Transport::UdpTlsRtpSavpf), Some(Ice::Force));
    first.rtcp_mux.offer = true;
    let told = text(run(&mut b, Command::Offer(first.clone()), at(0)));
    assert!(told.contains(" UDP/TLS/RTP/SAVPF 0\r\n") && has_line(&told, "a=setup:actpass"), "{told}");
    assert!(
        value(&told, "ice-ufrag").is_some() && told.contains("a=candidate:1 2 UDP 2130706430 "),
        "{told}"
    );
    assert!(!told.contains("crypto"), "keys are never in two places");
    // An answer without a certificate is no answer; a hold that is refused changes nothing.
    let bad =
        answer("c", "f", "t", browser("192.0.2.2", 5000, "wxyz", "active").replace("a=fingerprint", "a=x"));
    let Reply::Error { reason } = run(&mut b, Command::Answer(bad), at(1)) else { panic!("taken") };
    assert!(reason.starts_with("Error rewriting SDP: section 1"), "{reason}");
    let good = answer("c", "f", "t", browser("192.0.2.2", 5000, "wxyz", "active"));
    let back = text(run(&mut b, Command::Answer(good), at(1)));
    assert!(
        back.contains(" RTP/AVP 0\r\n") && !back.contains("ice-") && !back.contains("fingerprint"),
        "{back}"
    );
    // Only who passes a check is let in on the browser's side, and nothing is sent before.
    let rules: Vec<_> = desk::rules(&mut b);
    let towards =
        rules.iter().rev().find(|r| r.source == SourcePolicy::Checked).expect("a rule for the browser");
    let setup = towards.pipeline.as_ref().unwrap().session.as_ref().unwrap();
    let ice = setup.ice.as_ref().unwrap();
    assert!(ice.controlling && !ice.lite, "the offerer decides");
    assert_eq!(
        ice.candidates.iter().map(|c| c.address).collect::<Vec<_>>(),
        ["192.0.2.2:5000".parse().unwrap()]
    );
    assert!(!setup.dtls.as_ref().unwrap().active, "the browser begins");
    let towards_phone = rules.iter().rev().find(|r| matches!(r.source, SourcePolicy::Exact(_))).unwrap();
    let out = &towards_phone.pipeline.as_ref().unwrap().outputs[0];
    assert!(out.egress.to.is_none() && out.protect.is_some());
}

#[test]
fn roles_and_lite_follow_the_command_and_the_peer() {
    for (theirs, dtls, ours) in [
        ("actpass", None, "active"),
        ("actpass", Some(Dtls::Passive), "passive"),
        ("active", None, "passive"),
        ("passive", Some(Dtls::Passive), "active"),
    ] {
        let mut b = book();
        let mut c = offer("c", "f", browser("198.51.100.7", 4000, "abcd", theirs));
        c.transport_protocol = Some(Transport::RtpAvp);
        c.ice_lite = IceLite { forward: false, backward: true };
        text(run(&mut b, Command::Offer(c), at(0)));
        let mut reply = by_checks(answer("c", "f", "t", plain("192.0.2.2", 5000)));
        reply.dtls = dtls;
        let back = text(run(&mut b, Command::Answer(reply), at(1)));
        assert_eq!(value(&back, "setup"), Some(ours), "{theirs} {dtls:?}");
        assert!(has_line(&back, "a=ice-lite"), "{back}");
    }
}

/// T-NG-06: checks are not sent where media would not be either; without means nothing is promised.
#[test]
fn t_ng_06_candidates_that_may_not_be_sent_to_are_passed_over() {
    let mut b = book();
    let more = "a=candidate:2 1 udp 1 127.0.0.1 22222 typ host\r\na=candidate:3 1 udp 1 224.0.0.1 5 typ host\r\na=candidate:4 1 udp 1 2001:db8::1 5 typ host\r\n";
    let mut c = offer("c", "f", browser("198.51.100.7", 4000, "abcd", "actpass") + more);
    c.transport_protocol = Some(Transport::RtpAvp);
    text(run(&mut b, Command::Offer(c), at(0)));
    text(run(&mut b, Command::Answer(by_checks(answer("c", "f", "t", plain("192.0.2.2", 5000)))), at(1)));
    let rules = desk::rules(&mut b);
    let ice =
        rules.iter().filter_map(|r| r.pipeline.as_ref()?.session.as_ref()?.ice.clone()).next_back().unwrap();
    assert_eq!(ice.candidates.len(), 1, "{:?}", ice.candidates);
    // Without a certificate, or with one that nobody names, a line is not taken.
    let mut poor =
        desk::book_with(BookConfig { keys: KeySource(counting), ..BookConfig::default() }, 30_000..=30_999);
    let nameless = browser("198.51.100.7", 4000, "abcd", "actpass").replace("a=fingerprint", "a=x");
    for (book, sdp) in [(&mut poor, browser("198.51.100.7", 4000, "abcd", "actpass")), (&mut b, nameless)] {
        let mut c = offer("d", "f", sdp);
        c.transport_protocol = Some(Transport::RtpAvp);
        assert!(matches!(run(book, Command::Offer(c), at(2)), Reply::Error { .. }));
    }
}

/// What a browser is to the relay: a socket, checks, a handshake, keys.
struct Agent {
    socket: UdpSocket,
    machine: SessionMachine,
    identity: Arc<Identity>,
    slot: Arc<KeySlot>,
    words: Credentials,
    begun: Instant,
    peer: Option<SocketAddr>,
    stages: [Box<dyn Stage>; 2],
    /// Media that came, opened.
    came: Vec<Vec<u8>>,
    /// Of the last packet that it has sent.
    sequence: u16,
}

const LOCAL: LocalPort = LocalPort { ip: 0, port: 1 };

impl Agent {
    fn new() -> Agent {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let slot: Arc<KeySlot> = Arc::default();
        let stages = SlotMaker::both(&slot).map(|m| m.make());
        Agent {
            socket,
            machine: SessionMachine::default(),
            identity: Arc::new(Identity::generate(Mono(0)).unwrap()),
            slot,
            words: Credentials { ufrag: "agent".into(), password: "a-password-of-the-agents-own".into() },
            begun: Instant::now(),
            peer: None,
            stages,
            came: Vec::new(),
            sequence: 100,
        }
    }

    fn now(&self) -> Mono {
        Mono(self.begun.elapsed().as_nanos() as u64)
    }

    fn sdp(&self, setup: &str, ice: bool) -> String {
        let at = self.socket.local_addr().unwrap();
        let print = Fingerprint::of(DigestKind::Sha256, self.identity.certificate());
        let lines = match ice {
            true => format!(
                "a=candidate:1 1 udp 2122260223 127.0.0.1 {} typ host\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
                at.port(),
                self.words.ufrag,
                self.words.password
            ),
            false => String::new(),
        };
        format!(
            "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio {} UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 127.0.0.1\r\n{lines}\
             a=fingerprint:{print}\r\na=setup:{setup}\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n",
            at.port()
        )
    }

    /// Takes what the other side said.
    fn hear(&mut self, sdp: &str, offerer: bool, active: bool) {
        let parsed = Sdp::parse(sdp.as_bytes()).unwrap();
        let section = parsed.media().next().unwrap();
        let there = SocketAddr::new(section.connection().unwrap().ip, section.port());
        let said = secure::dtls(&section).expect("a fingerprint");
        let ice = secure::ice(&section).map(|said| IceSetup {
            ours: self.words.clone(),
            theirs: said.credentials,
            candidates: said.candidates[0].iter().map(|c| Candidate { ..*c }).collect(),
            controlling: offerer,
            lite: false,
            tie_breaker: 5,
            seed: [5; 12],
            priority: secure::priority(0),
        });
        if ice.is_none() {
            self.peer = Some(there);
        }
        let dtls = DtlsSetup {
            maker: Arc::clone(&self.identity) as Arc<dyn HandshakeMaker>,
            active,
            fingerprints: said.fingerprints,
            slot: Arc::clone(&self.slot),
        };
        let setup = SessionSetup { ice, dtls: Some(dtls), peer: Some(there) };
        let now = self.now();
        self.machine.install(LOCAL, Some(&Arc::new(setup)), now);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                SessionOutput::Transmit { to, bytes, .. } => drop(self.socket.send_to(&bytes, to)),
                SessionOutput::Peer { address, .. } => self.peer = address,
            }
        }
    }

    /// Works until `done`, at most for [`common::DEADLINE`].
    fn work(&mut self, what: &str, done: impl Fn(&Agent) -> bool) {
        let end = Instant::now() + common::DEADLINE;
        let mut buffer = vec![0; 2_048];
        while !done(self) {
            assert!(Instant::now() < end, "never: {what}");
            let now = self.now();
            if self.machine.poll_timeout().is_some_and(|due| due <= now) {
                self.machine.handle_timeout(now);
            }
            self.flush();
            let Ok((len, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let class = classify(&buffer[..len]);
            match class {
                PacketClass::Stun | PacketClass::Dtls => {
                    let expected = self.peer == Some(from);
                    let source = Source { address: from, expected, allowed: expected };
                    let _ = self.machine.handle(LOCAL, class, source, &buffer[..len], now);
                    self.flush();
                }
                _ => {
                    let path = if class == PacketClass::Rtcp { MediaPath::Rtcp } else { MediaPath::Rtp };
                    buffer.resize(4_096, 0);
                    let mut packet = RoomyPacket::new(&mut buffer, 0, len).unwrap();
                    if self.stages[0].run(&mut packet, path, now).is_ok() {
                        self.came.push(packet.bytes().to_vec());
                    }
                }
            }
        }
    }

    fn connect(&mut self) {
        self.work("the handshake", |a| a.slot.is_filled() && a.peer.is_some());
    }

    fn sealed(&mut self, plain: &[u8]) -> Vec<u8> {
        let path = if classify(plain) == PacketClass::Rtcp { MediaPath::Rtcp } else { MediaPath::Rtp };
        let mut buffer = vec![0; plain.len() + 64];
        buffer[..plain.len()].copy_from_slice(plain);
        let mut packet = RoomyPacket::new(&mut buffer, 0, plain.len()).unwrap();
        self.stages[1].run(&mut packet, path, Mono(0)).unwrap();
        packet.bytes().to_vec()
    }

    fn next(&mut self) -> u16 {
        self.sequence += 1;
        self.sequence
    }

    fn send(&mut self, plain: &[u8]) {
        let sealed = self.sealed(plain);
        self.socket.send_to(&sealed, self.peer.unwrap()).unwrap();
    }
}

/// Packets by turns both ways, until each has come through: the first ones may be ahead of the far end's keys.
fn both_ways(agent: &mut Agent, phone: &UdpSocket, relay: SocketAddr) {
    let mut buffer = [0; 2_048];
    phone.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let end = Instant::now() + common::DEADLINE;
    loop {
        let sequence = agent.next();
        agent.send(&rtp(7, sequence));
        if phone.recv(&mut buffer).is_ok_and(|n| buffer[..n] == rtp(7, sequence)) {
            break;
        }
        assert!(Instant::now() < end, "the agent is not heard");
    }
    for _ in 0..20 {
        let sequence = agent.next();
        agent.send(&rtp(7, sequence));
        wait_for(phone, "the agent's packet", |p, _| (p == rtp(7, sequence)).then_some(()));
        phone.send_to(&rtp(9, sequence), relay).unwrap();
        let wanted = rtp(9, sequence);
        agent.work("the phone's packet", |a| a.came.last() == Some(&wanted));
    }
}

#[test]
fn t_rtp_06_07_a_browser_calls_a_phone_and_strangers_change_nothing() {
    let world = common::World::new(|_| {});
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let mallory = Identity::generate(Mono(0)).unwrap();
    for (name, lite, passive) in [("full", false, false), ("lite", true, false), ("passive", false, true)] {
        let mut agent = Agent::new();
        let mut phone = Phone::new("127.0.0.1", false, 9);
        let mut c = common::offer(name, &agent.sdp("actpass", true));
        (c.transport_protocol, c.ice) = (Some(Transport::RtpAvp), Some(Ice::Remove));
        c.ice_lite.backward = lite;
        let towards = world.sdp(Command::Offer(c));
        phone.relay = Some(towards.clone());
        let mut reply = by_checks(common::answer(name, &phone.sdp()));
        reply.dtls = passive.then_some(Dtls::Passive);
        let told = world.sdp(Command::Answer(reply));
        // A stranger's hello, check, and media, before the true ones and between them.
        let print = Fingerprint::of(DigestKind::Sha256, agent.identity.certificate());
        let hello = mallory.make(true, &[print], Mono(0)).unwrap().poll_transmit().unwrap();
        let shout = |times: usize| {
            for _ in 0..times {
                for bytes in [
                    &hello[..],
                    &[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
                    &rtp(6, 6),
                ] {
                    stranger.send_to(bytes, told.rtp).unwrap();
                }
            }
        };
        shout(20);
        agent.hear(&told.text, true, passive);
        shout(20);
        agent.connect();
        shout(20);
        both_ways(&mut agent, &phone.rtp, towards.rtp);
        // The agent's own bytes, broken: the call stays up.
        let there = agent.peer.unwrap();
        let sequence = agent.next();
        let good = agent.sealed(&rtp(7, sequence));
        for cut in 1..good.len() {
            agent.socket.send_to(&good[..cut], there).unwrap();
        }
        for first in [0u8, 1, 20, 22, 23, 40, 63, 128, 200] {
            let mut bytes = vec![first; 60];
            bytes[1] = first.wrapping_mul(3);
            agent.socket.send_to(&bytes, there).unwrap();
        }
        both_ways(&mut agent, &phone.rtp, towards.rtp);
        assert!(stranger.recv_from(&mut [0; 100]).is_err(), "{name}: strangers hear nothing");
        let Reply::Stats(stats) = world.delete(name) else { panic!() };
        let flags = stats.tags.iter().find(|t| t.tag == b"caller").unwrap().medias[0].flags;
        assert!(flags.dtls && flags.ice, "{name}");
    }
    world.wait("what strangers sent is counted", |w| {
        w.metric("warp_media_packet_errors_total{reason=\"bad_source\"}") >= 100.0
    });
    assert_eq!(world.metric("warp_media_panics_total"), 0.0);
}

#[test]
fn a_phone_calls_a_browser_and_a_phone_with_a_handshake_and_no_checks() {
    let world = common::World::new(|_| {});
    for ice in [true, false] {
        let name = format!("ice-{ice}");
        let (mut agent, mut phone) = (Agent::new(), Phone::new("127.0.0.1", false, 9));
        let mut c = common::offer(&name, &phone.sdp());
        c.transport_protocol = Some(Transport::UdpTlsRtpSavpf);
        c.ice = Some(if ice { Ice::Force } else { Ice::Remove });
        (c.rtcp_mux.offer, c.rtcp_mux.require) = (true, true);
        let towards = world.sdp(Command::Offer(c));
        let mut reply = common::answer(&name, &agent.sdp("active", ice));
        reply.ice = Some(Ice::Remove);
        let told = world.sdp(Command::Answer(reply));
        phone.relay = Some(told.clone());
        agent.hear(&towards.text, false, true);
        agent.connect();
        both_ways(&mut agent, &phone.rtp, told.rtp);
        // Reports too, each on its own way.
        let report = [&[0x80, 201, 0, 1][..], &7u32.to_be_bytes()].concat();
        agent.send(&report);
        let mut buffer = [0; 100];
        let n = phone.rtcp.recv(&mut buffer).expect("a report");
        assert_eq!(buffer[..n], report);
        phone.rtcp.send_to(&report, told.rtcp).unwrap();
        agent.work("the phone's report", |a| a.came.last() == Some(&report));
    }
}

/// The keys of a call outlive an ICE restart, and media goes on over it.
#[test]
fn an_ice_restart_leaves_the_keys() {
    let world = common::World::new(|_| {});
    let (mut agent, mut phone) = (Agent::new(), Phone::new("127.0.0.1", false, 9));
    let ask = |agent: &Agent, tagged: bool| {
        let mut c = common::offer("restart", &agent.sdp("actpass", true));
        (c.transport_protocol, c.ice) = (Some(Transport::RtpAvp), Some(Ice::Remove));
        c.to_tag = tagged.then(|| b"callee".to_vec());
        c
    };
    let towards = world.sdp(Command::Offer(ask(&agent, false)));
    phone.relay = Some(towards.clone());
    let told = world.sdp(Command::Answer(by_checks(common::answer("restart", &phone.sdp()))));
    agent.hear(&told.text, true, false);
    agent.connect();
    both_ways(&mut agent, &phone.rtp, towards.rtp);
    agent.words = Credentials { ufrag: "again".into(), password: "another-password-of-the-agent".into() };
    world.sdp(Command::Offer(ask(&agent, true)));
    let again = world.sdp(Command::Answer(by_checks(common::answer("restart", &phone.sdp()))));
    assert_ne!(value(&again.text, "ice-ufrag"), value(&told.text, "ice-ufrag"));
    agent.peer = None;
    agent.hear(&again.text, true, false);
    agent.connect();
    both_ways(&mut agent, &phone.rtp, towards.rtp);
}

/// A real rtpengine as the other end of checks and handshake, in both orders and with either end beginning.
#[test]
fn media_passes_between_us_and_rtpengine_by_ice_and_dtls() {
    if !has("rtpengine", "media_passes_between_us_and_rtpengine_by_ice_and_dtls") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut theirs = Client::rtpengine(&folder, 38_400);
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let mut ours = Client::ours(&world);
    for (at, (we_are_first, passive, ice)) in [
        (true, false, "force"),
        (false, false, "force"),
        (true, true, "force"),
        (false, true, "force"),
        (true, false, "remove"),
        (false, true, "remove"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("dtls-{at}");
        let (caller, callee) = (socket(), socket());
        let here = |s: &UdpSocket| plain("127.0.0.1", s.local_addr().unwrap().port());
        let (first, second) = if we_are_first { (&mut ours, &mut theirs) } else { (&mut theirs, &mut ours) };
        let ask = |command: &str, sdp: String, more: serde_json::Value| {
            let mut c = json!({"command":command,"call-id":name,"from-tag":"f","sdp":sdp});
            if command == "answer" {
                c["to-tag"] = json!("t");
            }
            for (key, value) in more.as_object().unwrap() {
                c[key] = value.clone();
            }
            c
        };
        let close =
            json!({"transport-protocol":"UDP/TLS/RTP/SAVPF","ICE":ice,"rtcp-mux":["offer"],"SDES":["off"]});
        let middle = first.sdp(&ask("offer", here(&caller), close));
        assert!(middle.contains("UDP/TLS/RTP/SAVPF ") && middle.contains("a=setup:actpass"), "{middle}");
        let open = json!({"transport-protocol":"RTP/AVP","ICE":"remove","rtcp-mux":["demux"]});
        let last = second.sdp(&ask("offer", middle, open));
        assert!(last.contains("RTP/AVP ") && !last.contains("a=fingerprint"), "{last}");
        let role = if passive { json!({"DTLS":"passive"}) } else { json!({}) };
        let back = second.sdp(&ask("answer", here(&callee), role));
        assert_eq!(
            value(&back, "setup").map(str::trim),
            Some(if passive { "passive" } else { "active" }),
            "{back}"
        );
        let end = first.sdp(&ask("answer", back, json!({"ICE":"remove"})));
        let (to_caller, to_callee) = (audio_port(&end), audio_port(&last));
        let mut buffer = [0; 2_048];
        let until = Instant::now() + common::DEADLINE;
        let mut sequence = 0u16;
        // The first ones may be ahead of checks and handshake.
        let mut heard = [false; 2];
        while heard != [true; 2] {
            assert!(Instant::now() < until, "{name}: {heard:?}");
            sequence += 1;
            caller.send_to(&rtp(7, sequence), ("127.0.0.1", to_caller)).unwrap();
            callee.send_to(&rtp(9, sequence), ("127.0.0.1", to_callee)).unwrap();
            for (i, (s, ssrc)) in [(&callee, 7), (&caller, 9)].into_iter().enumerate() {
                heard[i] |= s
                    .recv(&mut buffer)
                    .is_ok_and(|n| buffer[8..12] == u32::to_be_bytes(ssrc)[..] && n == rtp(ssrc, 0).len());
            }
        }
        for _ in 0..20 {
            sequence += 1;
            caller.send_to(&rtp(7, sequence), ("127.0.0.1", to_caller)).unwrap();
            wait_for(&callee, &format!("{name}: the caller's packet"), |p, _| {
                (p == rtp(7, sequence)).then_some(())
            });
            callee.send_to(&rtp(9, sequence), ("127.0.0.1", to_callee)).unwrap();
            wait_for(&caller, &format!("{name}: the callee's packet"), |p, _| {
                (p == rtp(9, sequence)).then_some(())
            });
        }
    }
}

/// Commands as ng clients write them.
#[test]
fn the_words_of_ng_are_understood() {
    let mut c = SdpCommand::new("c", "f", "");
    (c.ice, c.dtls, c.ice_lite) =
        (Some(Ice::Force), Some(Dtls::Passive), IceLite { forward: true, backward: true });
    let mut bytes = Vec::new();
    warp_ng::codec::encode_request(
        b"k",
        warp_ng::Encoding::Json,
        true,
        &Command::Offer(c.clone()),
        &mut bytes,
    );
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("\"ICE-lite\":\"both\"") && text.contains("\"DTLS\":\"passive\""), "{text}");
}
