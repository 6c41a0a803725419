//! What a panic costs the control thread: the command that it happens in (G-1).

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use warp_model::Mono;
use warp_net::mailbox::mailbox;
use warp_ng::{Command, Reply};
use warp_telemetry::metrics::Registry;

use super::bound::BoundPorts;
use super::control::{ControlThread, PortsShown, ToControl};
use super::kept::Keep;
use crate::config::Config;
use crate::core::book::{Book, BookConfig};
use crate::core::ports::{PortPair, PortPool, Ports};
use crate::metrics::Metrics;

/// Bound ports that panic at a `take` of the test's choice.
struct Bomb {
    ports: BoundPorts,
    /// Takes until it goes off; below 0 = never.
    fuse: Arc<AtomicI64>,
}

impl Ports for Bomb {
    fn take(&mut self, ip: u8, now: Mono) -> Option<PortPair> {
        assert_ne!(self.fuse.fetch_sub(1, Relaxed), 0, "meant");
        self.ports.take(ip, now)
    }
    fn give_back(&mut self, pair: PortPair, now: Mono) {
        self.ports.give_back(pair, now);
    }
    fn ips(&self) -> &[IpAddr] {
        self.ports.ips()
    }
    fn has(&self, port: u16) -> bool {
        self.ports.has(port)
    }
    fn usage(&self, ip: u8) -> (usize, usize) {
        self.ports.usage(ip)
    }
    fn last(&self, ip: u8) -> u16 {
        self.ports.last(ip)
    }
    fn resting(&self, ip: u8, now: Mono) -> usize {
        self.ports.resting(ip, now)
    }
    fn given_early(&self) -> u64 {
        self.ports.given_early()
    }
}

#[test]
fn g_1_a_panic_costs_one_command_and_neither_the_listener_nor_what_waits_behind_it() {
    let ip: IpAddr = [127, 0, 0, 1].into();
    let pool = PortPool::new(&[ip], 16_000..=16_039, 5).unwrap();
    let registry = Registry::new();
    let metrics = Metrics::new(&registry, &["127.0.0.1".to_owned()], &pool);
    let (ports, waiting) = BoundPorts::new(pool, 0, Arc::new(Keep::new(0)));
    let fuse = Arc::new(AtomicI64::new(-1));
    let book = Book::new(BookConfig::default(), Box::new(Bomb { ports, fuse: Arc::clone(&fuse) }));
    let (to_shard, _shard) = mailbox(1_024).unwrap();
    let (control, inbox) = mailbox(64).unwrap();
    let shown = PortsShown { names: vec!["127.0.0.1".to_owned()], range: (16_000, 16_039) };
    let mut thread =
        ControlThread::new(book, waiting, vec![to_shard], inbox, metrics, shown, Box::new(|_, _| ()))
            .unwrap();
    let at = thread.listen(SocketAddr::new(ip, 0), &Config::default()).unwrap();
    let thread = std::thread::spawn(move || thread.run());

    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.connect(at).unwrap();
    let ask = |request: &str| {
        client.send(request.as_bytes()).unwrap();
        let mut buffer = [0; 65_536];
        let len = client.recv(&mut buffer).expect("no answer");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    };
    let sdp = "v=0\\r\\no=- 1 1 IN IP4 127.0.0.1\\r\\ns=-\\r\\nc=IN IP4 127.0.0.1\\r\\nt=0 0\\r\\nm=audio 9000 RTP/AVP 0\\r\\n";
    let offer = |cookie: &str| {
        format!(r#"{cookie} {{"command":"offer","call-id":"c","from-tag":"f","sdp":"{sdp}"}}"#)
    };
    let metric = |name: &str| {
        let text = registry.render();
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default().to_owned();
        line.rsplit(' ').next().unwrap_or_default().parse::<f64>().unwrap()
    };
    // The second pair of the offer goes off: the first goes back, and the listener lives.
    fuse.store(1, Relaxed);
    let refused = ask(&offer("c1"));
    assert!(refused.starts_with("c1 ") && refused.contains("Internal error"), "{refused}");
    assert!(ask("p1 d7:command4:pinge").contains("pong"));
    assert_eq!((metric("warp_media_ports_used"), metric("warp_media_panics_total")), (0.0, 1.0));
    assert!(ask(&offer("c2")).contains("m=audio 16"));
    assert_eq!((metric("warp_media_ports_used"), metric("warp_media_sessions")), (2.0, 1.0));

    // In process: one whose answer panics, and one behind it in the same wake-up: the thread itself puts both there.
    let (tx, rx) = std::sync::mpsc::channel();
    let bad = ToControl::Command(Box::new(Command::Ping), None, Box::new(|_| panic!("meant")));
    let good = ToControl::Command(Box::new(Command::Ping), None, Box::new(move |reply| drop(tx.send(reply))));
    let to_itself = control.clone();
    let both = Box::new(move |_| assert!([bad, good].map(|m| to_itself.send(m).is_ok()) == [true; 2]));
    assert!(control.send(ToControl::Command(Box::new(Command::Ping), None, both)).is_ok());
    assert_eq!(rx.recv_timeout(Duration::from_secs(10)), Ok(Reply::Pong));
    assert_eq!(metric("warp_media_panics_total"), 2.0);
    assert!(control.send(ToControl::Stop).is_ok());
    thread.join().unwrap();
}
