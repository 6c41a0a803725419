//! The sharded runtime on real sockets: order of back-to-back messages, streams and their limits, commands.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use warp_net::epoll::{Epoll, Events, Interest};
use warp_net::tcp::{ReadOutcome, TcpConnection};
use warp_net::udp::{Received, UdpOptions, UdpSocket};
use warp_sip::flow::Transport;
use warp_sip::header::Header;
use warp_sip::message::{Kind, Message, Method};
use warp_sip::stream::{Frame, Framer};
use warp_sip_proxy::core::{Command, CoreConfig, Listener, Mode};
use warp_sip_proxy::{Config, Handles, MediaControl, Metrics, Proxy, start};
use warp_telemetry::Registry;

const DEADLINE: Duration = Duration::from_secs(60);

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn proxy(next: SocketAddr, shards: u16, change: impl FnOnce(&mut Config)) -> (Proxy, Registry) {
    let listener = |transport| Listener { transport, bind: any(), advertise: None };
    let mode = Mode::Static { next, trusted: vec!["127.0.0.1/32".parse().unwrap()] };
    let core = CoreConfig::new(mode, vec![listener(Transport::Udp), listener(Transport::Tcp)]);
    let mut config = Config::new(core);
    config.shards = shards;
    change(&mut config);
    let registry = Registry::new();
    let handles = Handles {
        snapshots: None,
        media: MediaControl::None,
        state: None,
        journal: None,
        capture: None,
        spent: Vec::new(),
        seed: [9; 32],
        metrics: Metrics::register(&registry),
    };
    (start(config, handles).unwrap(), registry)
}

/// A UDP peer that waits for datagrams with a deadline.
struct Peer {
    socket: UdpSocket,
    epoll: Epoll,
    buffer: Vec<u8>,
}

impl Peer {
    fn new() -> Peer {
        let options = UdpOptions { receive_buffer: Some(4 << 20), ..UdpOptions::default() };
        let socket = UdpSocket::bind(any(), &options).unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(&socket, 0, Interest::READ).unwrap();
        Peer { socket, epoll, buffer: vec![0; 65_536] }
    }

    fn addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    fn receive(&mut self, within: Duration) -> Option<(Vec<u8>, SocketAddr)> {
        let deadline = Instant::now() + within;
        let mut events = Events::with_capacity(1);
        loop {
            if let Received::Datagram { len, from } = self.socket.recv_from(&mut self.buffer) {
                return Some((self.buffer[..len].to_vec(), from));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.epoll.wait(&mut events, Some(left)).unwrap();
        }
    }

    fn send(&self, text: &str, to: SocketAddr) {
        self.socket.send_to(text.as_bytes(), to);
    }
}

fn request(method: &str, uri: &str, call: &str, via: &str, to_tag: &str, cseq: u32, routes: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: {via};branch=z9hG4bK-{call}-{cseq}-{method}\r\nMax-Forwards: 70\r\n{routes}\
         From: <sip:alice@example.com>;tag=a{call}\r\nTo: <sip:100@example.com>{to_tag}\r\nCall-ID: {call}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:alice@{}>\r\nContent-Length: 0\r\n\r\n",
        via.rsplit(' ').next().unwrap_or_default(),
    )
}

/// A response with what RFC 3261 §8.2.6.2 copies.
fn response(msg: &Message<'_>, status: &str, contact: SocketAddr) -> String {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for line in msg.headers() {
        let name = match line.header {
            Header::Via => "Via",
            Header::RecordRoute => "Record-Route",
            Header::From => "From",
            Header::CallId => "Call-ID",
            Header::CSeq => "CSeq",
            Header::To => "To",
            _ => continue,
        };
        let value = String::from_utf8_lossy(line.value).into_owned();
        let tag = if name == "To" && msg.to_tag().is_none() { ";tag=b" } else { "" };
        out.push_str(&format!("{name}: {value}{tag}\r\n"));
    }
    out.push_str(&format!("Contact: <sip:bob@{contact}>\r\nContent-Length: 0\r\n\r\n"));
    out
}

/// Answers INVITE with 180 and 200 back to back, BYE with 200; tells the order of requests by call.
fn callee(mut peer: Peer, seen: mpsc::Sender<(String, String)>, stop: mpsc::Receiver<()>) {
    let contact = peer.addr();
    while stop.try_recv().is_err() {
        let Some((bytes, from)) = peer.receive(Duration::from_millis(100)) else { continue };
        let Ok(msg) = Message::parse(&bytes) else { panic!("unreadable") };
        let call = String::from_utf8_lossy(msg.call_id()).into_owned();
        let _ = seen.send((call, String::from_utf8_lossy(msg.method_text()).into_owned()));
        match msg.method() {
            Method::Invite => {
                peer.send(&response(&msg, "180 Ringing", contact), from);
                peer.send(&response(&msg, "200 OK", contact), from);
            }
            Method::Bye => peer.send(&response(&msg, "200 OK", contact), from),
            _ => {}
        }
    }
}

/// Route lines for requests inside the dialog, from the Record-Route of a 200.
fn routes(msg: &Message<'_>) -> String {
    let set: Vec<String> =
        msg.values(Header::RecordRoute).map(|v| String::from_utf8_lossy(v).into_owned()).collect();
    set.iter().rev().map(|r| format!("Route: {r}\r\n")).collect()
}

/// 180 then 200, and ACK then BYE, back to back in a thousand calls on two shards: never reordered, none lost.
#[test]
fn back_to_back_messages_of_a_call_are_never_reordered() {
    const CALLS: usize = 1_000;
    const AT_ONCE: usize = 50;
    let bob = Peer::new();
    let bob_addr = bob.addr();
    let (proxy, registry) = proxy(bob_addr, 2, |_| {});
    let to = proxy.udp_addr().unwrap();
    let (seen_tx, seen) = mpsc::channel();
    let (stop, stopped) = mpsc::channel();
    let bob = std::thread::spawn(move || callee(bob, seen_tx, stopped));

    let mut alice = Peer::new();
    let via = format!("SIP/2.0/UDP {}", alice.addr());
    let uri = format!("sip:100@{to}");
    let mut state: HashMap<String, Vec<u16>> = HashMap::new();
    let (mut started, mut done) = (0, 0);
    let begin = Instant::now();
    while done < CALLS {
        while started < CALLS && started - done < AT_ONCE {
            alice.send(&request("INVITE", &uri, &format!("call{started}"), &via, "", 1, ""), to);
            started += 1;
        }
        assert!(begin.elapsed() < DEADLINE, "{done} of {CALLS} calls");
        let Some((bytes, _)) = alice.receive(Duration::from_secs(5)) else { continue };
        let msg = Message::parse(&bytes).unwrap();
        let call = String::from_utf8_lossy(msg.call_id()).into_owned();
        let Kind::Response { status, .. } = msg.kind() else { panic!("a request came back") };
        let codes = state.entry(call.clone()).or_default();
        match (msg.method_of_cseq(), status) {
            (Method::Invite, 100) => {}
            (Method::Invite, 180) => codes.push(180),
            (Method::Invite, 200) => {
                if codes.contains(&200) {
                    continue; // a retransmission on a slow machine
                }
                assert_eq!(codes, &[180], "180 comes before 200 in {call}");
                codes.push(200);
                let target = format!("sip:bob@{bob_addr}");
                let routes = routes(&msg);
                alice.send(&request("ACK", &target, &call, &via, ";tag=b", 1, &routes), to);
                alice.send(&request("BYE", &target, &call, &via, ";tag=b", 2, &routes), to);
            }
            (Method::Bye, 200) => done += 1,
            other => panic!("{other:?} in {call}"),
        }
    }
    stop.send(()).unwrap();
    bob.join().unwrap();
    let mut order: HashMap<String, Vec<String>> = HashMap::new();
    for (call, method) in seen.try_iter() {
        let list = order.entry(call).or_default();
        if list.last() != Some(&method) {
            list.push(method);
        }
    }
    assert_eq!(order.len(), CALLS);
    for (call, methods) in order {
        assert_eq!(methods, ["INVITE", "ACK", "BYE"], "{call}");
    }
    proxy.stop();
    let text = registry.render();
    assert!(text.contains("warp_sip_panics_total 0"));
    assert!(text.contains("warp_sip_mailbox_full_total 0"));
    assert!(!text.contains("warp_sip_handed_over_total 0"), "both shards took part");
}

/// Reads whole messages of a stream until `enough`.
fn read_messages(stream: &mut TcpStream, framer: &mut Framer, out: &mut Vec<Vec<u8>>, enough: usize) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut buffer = [0; 4_096];
    while out.len() < enough {
        let n = stream.read(&mut buffer).expect("bytes in time");
        assert!(n > 0, "closed");
        framer.push(&buffer[..n]);
        while let Some(frame) = framer.poll_frame() {
            match frame {
                Frame::Message(m) => out.push(m.to_vec()),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Accepts connections and answers INVITE with 180 and 200 back to back on each.
fn tcp_callee(listener: TcpListener) {
    let contact = listener.local_addr().unwrap();
    while let Ok((mut stream, _)) = listener.accept() {
        std::thread::spawn(move || {
            let mut framer = Framer::new();
            let mut buffer = [0; 4_096];
            while let Ok(n) = stream.read(&mut buffer) {
                if n == 0 {
                    return;
                }
                framer.push(&buffer[..n]);
                while let Some(Frame::Message(m)) = framer.poll_frame() {
                    let msg = Message::parse(m).unwrap();
                    if msg.method() == Method::Invite && msg.is_request() {
                        let both = ["180 Ringing", "200 OK"].map(|s| response(&msg, s, contact)).concat();
                        stream.write_all(both.as_bytes()).unwrap();
                    }
                }
            }
        });
    }
}

/// TCP through two shards: a request is framed however it is split, its answers come back on its own connection and in
/// order, whichever shard owns the call and whichever the connection.
#[test]
fn responses_go_back_on_the_connection_of_the_request() {
    let bob = TcpListener::bind(any()).unwrap();
    let (proxy, registry) = proxy(bob.local_addr().unwrap(), 2, |_| {});
    std::thread::spawn(move || tcp_callee(bob));
    let to = proxy.tcp_addr().unwrap();
    // Enough calls that both shards own some of them.
    for i in 0..16 {
        let mut alice = TcpStream::connect(to).unwrap();
        let via = format!("SIP/2.0/TCP {}", alice.local_addr().unwrap());
        let text = request("INVITE", &format!("sip:100@{to}"), &format!("tcp{i}"), &via, "", 1, "");
        let (a, b) = text.as_bytes().split_at(37);
        alice.write_all(b"\r\n\r\n").unwrap(); // keep-alive: answered by a line end
        alice.write_all(a).unwrap();
        alice.flush().unwrap();
        alice.write_all(b).unwrap();
        let mut got = Vec::new();
        read_messages(&mut alice, &mut Framer::new(), &mut got, 3);
        let codes: Vec<u16> = got.iter().map(|m| Message::parse(m).unwrap().status().unwrap()).collect();
        assert_eq!(codes, [100, 180, 200], "call {i}");
    }
    proxy.stop();
    assert!(!registry.render().contains("warp_sip_handed_over_total 0"), "both shards took part");
}

/// RFC 3261 §18.2.2: the connection of the request is gone when the answer comes: it goes to the address of the Via.
#[test]
fn an_answer_whose_connection_is_gone_goes_to_the_address_of_the_via() {
    let bob = TcpListener::bind(any()).unwrap();
    let (proxy, _) = proxy(bob.local_addr().unwrap(), 1, |_| {});
    let to = proxy.tcp_addr().unwrap();
    let home = TcpListener::bind(any()).unwrap();
    let mut alice = TcpStream::connect(to).unwrap();
    let via = format!("SIP/2.0/TCP {}", home.local_addr().unwrap());
    let text = request("INVITE", &format!("sip:100@{to}"), "gone", &via, "", 1, "");
    alice.write_all(text.as_bytes()).unwrap();
    let (mut at_bob, _) = bob.accept().unwrap();
    let mut invite = Vec::new();
    read_messages(&mut at_bob, &mut Framer::new(), &mut invite, 1);
    alice.shutdown(std::net::Shutdown::Both).unwrap();
    drop(alice);
    // The proxy has seen the end when it serves a later connection.
    let mut other = TcpStream::connect(to).unwrap();
    other.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    other.read_exact(&mut pong).unwrap();
    let answer = response(&Message::parse(&invite[0]).unwrap(), "200 OK", bob.local_addr().unwrap());
    at_bob.write_all(answer.as_bytes()).unwrap();
    let (mut back, _) = home.accept().unwrap();
    let mut got = Vec::new();
    read_messages(&mut back, &mut Framer::new(), &mut got, 1);
    assert_eq!(Message::parse(&got[0]).unwrap().status(), Some(200));
    proxy.stop();
}

/// The next hop's address on TCP: one connection is opened and serves all requests to that address.
#[test]
fn an_opened_connection_is_reused_by_its_remote_address() {
    let bob = TcpListener::bind(any()).unwrap();
    let next = bob.local_addr().unwrap();
    let (proxy, _) = proxy(next, 1, |_| {});
    let to = proxy.tcp_addr().unwrap();
    let alice = Peer::new();
    let udp = proxy.udp_addr().unwrap();
    let via = format!("SIP/2.0/UDP {}", alice.addr());
    // Routed by RFC 3261: the Request-URI names another host and asks for TCP.
    let uri = format!("sip:100@{next};transport=tcp");
    for i in 0..3 {
        alice.send(&request("OPTIONS", &uri, &format!("opt{i}"), &via, "", 1, ""), udp);
    }
    let (mut stream, from) = bob.accept().unwrap();
    assert_ne!(from, to);
    let mut got = Vec::new();
    read_messages(&mut stream, &mut Framer::new(), &mut got, 3);
    for (i, m) in got.iter().enumerate() {
        assert_eq!(Message::parse(m).unwrap().call_id(), format!("opt{i}").as_bytes());
    }
    bob.set_nonblocking(true).unwrap();
    assert!(bob.accept().is_err(), "a second connection was opened");
    proxy.stop();
}

/// T-SIP-04: a broken Content-Length gets a 400, then the stream ends; what follows on it is never a message.
#[test]
fn t_sip_04_bad_framing_is_answered_and_closed() {
    let bob = Peer::new();
    let (proxy, registry) = proxy(bob.addr(), 1, |_| {});
    let to = proxy.tcp_addr().unwrap();
    let mut alice = TcpStream::connect(to).unwrap();
    let via = format!("SIP/2.0/TCP {}", alice.local_addr().unwrap());
    let good = request("OPTIONS", &format!("sip:100@{to}"), "smuggled", &via, "", 1, "");
    let bad = good.replace("Content-Length: 0", "Content-Length: -5").replace("smuggled", "bad");
    alice.write_all(format!("{bad}{good}").as_bytes()).unwrap();
    alice.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut all = Vec::new();
    alice.read_to_end(&mut all).unwrap();
    let text = String::from_utf8_lossy(&all);
    assert!(text.starts_with("SIP/2.0 400 "), "{text}");
    assert_eq!(text.matches("Call-ID:").count(), 1, "{text}");
    proxy.stop();
    let metrics = registry.render();
    assert!(metrics.contains("warp_sip_parse_errors_total{reason=\"framing\"} 1"));
    assert!(metrics.contains("warp_sip_connections{transport=\"tcp\",state=\"open\"} 0"));
}

/// T-SIP-15: silent connections are closed after the time for a first message, and more than one source's share is refused at accept. A
/// peer that speaks is served while they are open, and keeps its connection when they are gone.
#[test]
fn t_sip_15_silent_and_surplus_connections_are_closed_while_others_are_served() {
    const SHARE: u64 = 4;
    let bob = Peer::new();
    let (proxy, registry) = proxy(bob.addr(), 1, |c| {
        c.streams.per_stranger = SHARE as u32;
        c.streams.first_message = Duration::from_secs(3);
    });
    let to = proxy.tcp_addr().unwrap();
    let metric = |name: &str| -> u64 {
        let text = registry.render();
        let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("0");
        line.trim().parse().unwrap_or(0)
    };
    let open = || metric("warp_sip_connections{transport=\"tcp\",state=\"open\"}");
    let (refused, timed_out) = ("warp_sip_streams_refused_total", "warp_sip_streams_timed_out_total");
    let begin = Instant::now();
    let wait = |what: &str, holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(begin.elapsed() < DEADLINE, "{what}: {}", registry.render());
            std::thread::yield_now();
        }
    };
    // One source takes its share, and more.
    let source = std::net::IpAddr::from([127, 0, 0, 2]);
    let connect = |_| TcpConnection::connect(to, Some(source), 1_000).unwrap();
    let mut silent: Vec<TcpConnection> = (0..SHARE + 2).map(connect).collect();
    wait("all have come", &|| open() + metric(refused) == SHARE + 2);
    assert_eq!((open(), metric(refused)), (SHARE, 2));
    // Another one speaks meanwhile.
    let mut alice = TcpStream::connect(to).unwrap();
    let via = format!("SIP/2.0/TCP {}", alice.local_addr().unwrap());
    let uri = format!("sip:{to}");
    let (mut framer, mut served) = (Framer::new(), 0);
    let mut ask = || {
        served += 1;
        let text = request("OPTIONS", &uri, &format!("good{served}"), &via, "", served, "");
        alice.write_all(text.as_bytes()).unwrap();
        let mut got = Vec::new();
        read_messages(&mut alice, &mut framer, &mut got, 1);
        assert_eq!(Message::parse(&got[0]).unwrap().status(), Some(200));
    };
    ask();
    assert_eq!(metric(timed_out), 0, "the silent ones are still there");
    wait("the silent ones are closed", &|| metric(timed_out) == SHARE);
    ask();
    // Closed to their peer, too, and not by a word.
    for stream in &mut silent {
        let mut buffer = [0; 16];
        loop {
            match stream.read(&mut buffer) {
                ReadOutcome::Empty => assert!(begin.elapsed() < DEADLINE, "closed"),
                ReadOutcome::Bytes(n) => panic!("{n} bytes to who said nothing"),
                _ => break,
            }
        }
    }
    wait("only she is left", &|| open() == 1);
    assert_eq!((metric(timed_out), metric(refused)), (SHARE, 2));
    proxy.stop();
}

/// T-SIP-15, T-SIP-12: strangers may hold three quarters of all connections, however many addresses they have; a known peer
/// still connects and is served.
#[test]
fn t_sip_15_strangers_cannot_take_the_places_of_known_peers() {
    const TOTAL: u32 = 40;
    let bob = Peer::new();
    let (proxy, registry) = proxy(bob.addr(), 1, |c| {
        c.streams.total = TOTAL;
        c.streams.per_stranger = 4;
    });
    let to = proxy.tcp_addr().unwrap();
    let metric = |name: &str| -> u64 {
        let text = registry.render();
        let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("0");
        line.trim().parse().unwrap_or(0)
    };
    // 5 from each of 10 addresses that have no account: 4 each by their own share, 30 in all.
    let mut strangers = Vec::new();
    for i in 0..50_u8 {
        let ip = std::net::IpAddr::from([127, 0, 0, 2 + i % 10]);
        strangers.push(TcpConnection::connect(to, Some(ip), 1_000).unwrap());
    }
    let begin = Instant::now();
    while metric("warp_sip_connections{transport=\"tcp\",state=\"open\"}")
        + metric("warp_sip_streams_refused_total")
        < 50
    {
        assert!(begin.elapsed() < DEADLINE);
        std::thread::yield_now();
    }
    assert_eq!(
        metric("warp_sip_connections{transport=\"tcp\",state=\"open\"}"),
        u64::from(TOTAL - TOTAL / 4)
    );
    let mut alice = TcpStream::connect(to).unwrap();
    alice.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    alice.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    alice.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
    drop(strangers);
    proxy.stop();
}

/// F-NET-05: a callee whose port is closed costs its own calls only; the listener goes on.
#[test]
fn f_net_05_icmp_errors_do_not_end_the_listener() {
    let gone = Peer::new();
    let dead = gone.addr();
    drop(gone);
    let (proxy, registry) = proxy(dead, 1, |_| {});
    let to = proxy.udp_addr().unwrap();
    let mut alice = Peer::new();
    let via = format!("SIP/2.0/UDP {}", alice.addr());
    for i in 0..5 {
        alice.send(&request("INVITE", &format!("sip:100@{to}"), &format!("dead{i}"), &via, "", 1, ""), to);
        let begin = Instant::now();
        let status = loop {
            assert!(begin.elapsed() < DEADLINE);
            let Some((bytes, _)) = alice.receive(Duration::from_secs(5)) else { continue };
            let msg = Message::parse(&bytes).unwrap();
            let status = msg.status().unwrap();
            if status >= 200 && msg.call_id() == format!("dead{i}").as_bytes() {
                break status;
            }
        };
        assert!(matches!(status, 500 | 503 | 408), "{status}");
    }
    proxy.stop();
    assert!(!registry.render().contains("warp_sip_socket_errors_total{reason=\"unreachable\"} 0"));
}

/// Garbage on both transports: nothing happens but counters (G-1).
#[test]
fn g_1_noise_is_survived() {
    let bob = Peer::new();
    let (proxy, registry) = proxy(bob.addr(), 2, |_| {});
    let (udp, tcp) = (proxy.udp_addr().unwrap(), proxy.tcp_addr().unwrap());
    let alice = Peer::new();
    let mut x = 88_172_645_463_325_252_u64;
    for _ in 0..500 {
        let noise: Vec<u8> = (0..(x % 400))
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x as u8
            })
            .collect();
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        alice.socket.send_to(&noise, udp);
        if x.is_multiple_of(10)
            && let Ok(mut s) = TcpStream::connect(tcp)
        {
            let _ = s.write_all(&noise);
        }
    }
    let (tx, rx) = mpsc::channel();
    proxy.command(Command::ListCalls { reply: Box::new(move |calls| tx.send(calls).unwrap()) });
    assert!(rx.recv_timeout(DEADLINE).unwrap().is_empty(), "every shard still answers");
    proxy.stop();
    assert!(registry.render().contains("warp_sip_panics_total 0"));
}
