//! Vendors by name with real sockets: a DNS server of the tests' own, which answers, lies, loops or is silent, and a proxy that asks it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use warp_feed::Publisher;
use warp_policy::Snapshot;
use warp_policy::directory::DirectoryBuilder;
use warp_sip::flow::Transport;

use super::tests_journal::{invite, world};
use crate::config::{Config, Dns};
use crate::core::{CoreConfig, Listener, Mode};
use crate::metrics::Metrics;
use crate::server::media_control::MediaControl;
use crate::{Handles, Proxy, start};

const NAPTR: u16 = 35;
const SRV: u16 = 33;
const A: u16 = 1;
const CNAME: u16 = 5;

/// What the server does when it is asked.
#[derive(Clone)]
enum Says {
    /// These records: type and data, for an hour.
    Records(Vec<(u16, Vec<u8>)>),
    /// With this code and nothing else: 2 is SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Code(u8),
    /// Nothing at all.
    Silence,
    /// Bytes that are no message, then one for another question, and never the answer.
    Garbage,
}

/// A DNS server that knows what it is told to, and what it was asked.
#[derive(Clone)]
struct Server {
    at: SocketAddr,
    book: Arc<Mutex<HashMap<(String, u16), Says>>>,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
}

/// A name as DNS writes it.
fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|l| !l.is_empty());
    let mut out: Vec<u8> = labels.flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
    out.push(0);
    out
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> (u16, Vec<u8>) {
    let head: Vec<u8> = [priority, weight, port].iter().flat_map(|n| n.to_be_bytes()).collect();
    (SRV, [head, name(target)].concat())
}

fn naptr(order: u16, service: &str, replacement: &str) -> (u16, Vec<u8>) {
    let mut out = [order.to_be_bytes(), 1_u16.to_be_bytes()].concat();
    for text in ["s", service, ""] {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
    out.extend(name(replacement));
    (NAPTR, out)
}

fn a(ip: [u8; 4]) -> (u16, Vec<u8>) {
    (A, ip.to_vec())
}

impl Server {
    fn start() -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = Server { at: socket.local_addr().unwrap(), book: Arc::default(), asked: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while let Ok((n, from)) = socket.recv_from(&mut buffer) {
                for answer in serving.answers(&buffer[..n]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        server
    }

    fn says(&self, of: &str, kind: u16, says: Says) {
        self.book.lock().unwrap().insert((of.to_owned(), kind), says);
    }

    fn answers(&self, query: &[u8]) -> Vec<Vec<u8>> {
        let mut at = 12;
        let mut labels = Vec::new();
        while query[at] != 0 {
            let n = usize::from(query[at]);
            labels.push(String::from_utf8_lossy(&query[at + 1..=at + n]).to_lowercase());
            at += n + 1;
        }
        let question = &query[12..at + 5];
        let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        let asked = (labels.join("."), kind);
        let says = self.book.lock().unwrap().get(&asked).cloned().unwrap_or(Says::Code(3));
        self.asked.lock().unwrap().push(asked);
        let message = |code: u8, question: &[u8], records: &[(u16, Vec<u8>)]| {
            let counts = [1_u16, records.len() as u16, 0, 0];
            let mut out = [&query[..2], &[0x81, 0x80 | code]].concat();
            out.extend(counts.iter().flat_map(|n| n.to_be_bytes()));
            out.extend_from_slice(question);
            for (kind, data) in records {
                out.extend_from_slice(&[0xC0, 12]);
                out.extend_from_slice(&kind.to_be_bytes());
                out.extend_from_slice(&[0, 1, 0, 0, 0x0E, 0x10]);
                out.extend_from_slice(&(data.len() as u16).to_be_bytes());
                out.extend_from_slice(data);
            }
            out
        };
        match says {
            Says::Records(records) => vec![message(0, question, &records)],
            Says::Code(code) => vec![message(code, question, &[])],
            Says::Silence => vec![],
            Says::Garbage => {
                let other = [name("evil.test"), vec![0, 1, 0, 1]].concat();
                vec![vec![0xFF; 40], query[..2].to_vec(), message(0, &other, &[a([192, 0, 2, 66])])]
            }
        }
    }

    fn asked(&self, of: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(name, _)| name == of).count()
    }
}

struct Running {
    proxy: Proxy,
    us: SocketAddr,
    customer: UdpSocket,
    _publisher: Publisher<Snapshot>,
}

/// A proxy whose cheapest vendor has only this name, by this transport.
fn running(dns: &[SocketAddr], change: impl FnOnce(&mut DirectoryBuilder)) -> Running {
    let (customer, _, snapshots) = world();
    let whole = snapshots.latest();
    let mut rows = whole.directory.rows().clone();
    rows.vendor_trunks[0].addresses.clear();
    rows.vendor_trunks[0].hosts = vec!["sip.vendor.test".parse().unwrap()];
    change(&mut rows);
    let (publisher, snapshots) = warp_feed::channel(Snapshot::empty());
    publisher.publish(whole.with_directory(Arc::new(rows.build().unwrap())));
    let listener =
        Listener { transport: Transport::Udp, bind: "127.0.0.1:0".parse().unwrap(), advertise: None };
    let mut core = CoreConfig::new(Mode::Policy, vec![listener]);
    core.anchor_media = false;
    core.dns_deadline = Duration::from_secs(10);
    let mut config = Config::new(core);
    // A silent server costs its time-out; where there is one alone, it speaks, and a busy machine may keep it from that.
    let timeout = Duration::from_millis(if dns.len() > 1 { 300 } else { 5_000 });
    config.dns = Dns { servers: dns.to_vec(), timeout, give_up: Duration::from_secs(10) };
    let handles = Handles {
        snapshots: Some(snapshots),
        state: None,
        media: MediaControl::None,
        journal: None,
        capture: None,
        spent: Vec::new(),
        seed: [7; 32],
        metrics: Metrics::detached(),
    };
    let proxy = start(config, handles).unwrap();
    let us = proxy.udp_addr().unwrap();
    Running { proxy, us, customer, _publisher: publisher }
}

impl Running {
    fn call(&self, call: &str) {
        let text = invite(self.us, self.customer.local_addr().unwrap(), "+14155550123", call);
        self.customer.send_to(text.as_bytes(), self.us).unwrap();
    }

    /// The next message that begins so.
    fn next(socket: &UdpSocket, begins: &str) -> String {
        let end = Instant::now() + Duration::from_secs(30);
        let mut buffer = [0; 4_096];
        while Instant::now() < end {
            let n = socket.recv(&mut buffer).expect("a message in time");
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with(begins) {
                return text;
            }
        }
        panic!("no {begins}");
    }
}

#[test]
fn a_call_goes_to_where_naptr_srv_and_a_lead() {
    let dns = Server::start();
    let there = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 3), 0)).unwrap();
    there.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // What we have no listener for comes first there, and is passed over; the first server of the others is a dead port.
    let services = [naptr(1, "SIP+D2T", "_sip._tcp.far.test"), naptr(2, "SIP+D2U", "_sip._udp.far.test")];
    dns.says("sip.vendor.test", NAPTR, Says::Records(services.to_vec()));
    let port = there.local_addr().unwrap().port();
    let rows = vec![srv(2, 1, port, "node.far.test"), srv(1, 1, 9, "dead.far.test")];
    dns.says("_sip._udp.far.test", SRV, Says::Records(rows));
    dns.says("node.far.test", A, Says::Records(vec![a([127, 0, 0, 3])]));
    dns.says("dead.far.test", A, Says::Records(vec![a([127, 0, 0, 4])]));
    let r = running(&[dns.at], |rows| {
        rows.vendor_trunks[0].transport = warp_policy::directory::Transport::Auto;
    });
    for call in ["c1", "c2"] {
        r.call(call);
        // The one before is repeated meanwhile.
        while !Running::next(&there, "INVITE ").contains(&format!("Call-ID: {call}\r\n")) {}
    }
    assert_eq!(dns.asked("sip.vendor.test"), 1, "both calls by one look-up: {:?}", dns.asked.lock().unwrap());
    assert_eq!(dns.asked("_sip._tcp.far.test"), 0);
    r.proxy.stop();
}

#[test]
fn f_dns_servers_that_lie_loop_or_are_silent_hold_no_call_and_no_other_name() {
    let good = |dns: &Server, port: u16| {
        dns.says("_sip._udp.sip.vendor.test", SRV, Says::Records(vec![srv(1, 1, port, "node.vendor.test")]));
        dns.says("node.vendor.test", A, Says::Records(vec![a([127, 0, 0, 3])]));
    };
    // Two servers: the first is silent, refuses, fails or babbles; the second knows.
    for says in [Says::Silence, Says::Code(2), Says::Code(5), Says::Garbage] {
        let (bad, well) = (Server::start(), Server::start());
        for (of, kind) in
            [("_sip._udp.sip.vendor.test", SRV), ("node.vendor.test", A), ("node.vendor.test", 28)]
        {
            bad.says(of, kind, says.clone());
        }
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 3), 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        good(&well, socket.local_addr().unwrap().port());
        let r = running(&[bad.at, well.at], |_| ());
        r.call("c1");
        let there = Running::next(&socket, "INVITE ");
        assert!(there.starts_with("INVITE sip:+14155550123@sip.vendor.test "), "{there}");
        r.proxy.stop();
    }
    // One server, and it leads the name round in a circle, or answers with nothing but lies: the call ends, and in time.
    let around = Server::start();
    around.says("_sip._udp.sip.vendor.test", SRV, Says::Records(vec![(CNAME, name("b.test"))]));
    around.says("b.test", SRV, Says::Records(vec![(CNAME, name("_sip._udp.sip.vendor.test"))]));
    let liar = Server::start();
    liar.says("_sip._udp.sip.vendor.test", SRV, Says::Records(vec![srv(1, 1, 5060, "node.vendor.test")]));
    liar.says("node.vendor.test", A, Says::Records(vec![a([255, 255, 255, 255]), a([224, 0, 0, 1])]));
    for dns in [around, liar] {
        let r = running(&[dns.at], |_| ());
        r.call("c1");
        let refused = Running::next(&r.customer, "SIP/2.0 503");
        assert!(refused.contains("Q.850;cause=34"), "{refused}");
        assert!(dns.asked("_sip._udp.sip.vendor.test") > 0);
        assert!(dns.asked.lock().unwrap().len() <= 64, "{:?}", dns.asked.lock().unwrap());
        r.proxy.stop();
    }
}
