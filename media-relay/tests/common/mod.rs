//! Phones on loopback and a relay between them, for the tests of the whole relay.
#![allow(dead_code)] // each test file uses its part

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use warp_media_relay::{Config, Relay, start};
use warp_ng::{Command, Delete, Reply, SdpCommand};
use warp_telemetry::metrics::Registry;

/// How long a test waits for what must happen.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Large families of which a series is shown from the first scrape that finds it other than zero.
const SHOWN_ONCE_COUNTED: &[&str] = &["warp_media_streams"];

/// A relay with its metrics and the calls it timed out.
pub struct World {
    pub relay: Relay,
    pub registry: Registry,
    pub timed_out: Receiver<Vec<u8>>,
}

impl World {
    /// Start on loopback with what `change` sets.
    pub fn new(change: impl FnOnce(&mut Config)) -> World {
        // Tests run side by side: each process and test takes another part of the range.
        let mut config = Config { ports: 20_000..=31_999, ..Config::default() };
        change(&mut config);
        let registry = Registry::new();
        let (tx, timed_out) = channel();
        let seed = std::array::from_fn(|i| (std::process::id() >> (i % 4 * 8)) as u8 ^ i as u8 ^ unique());
        let on_timeout = Box::new(move |call_id, _due| drop(tx.send(call_id)));
        let relay = start(config, seed, &registry, on_timeout).unwrap();
        World { relay, registry, timed_out }
    }

    /// Carry out a command that must succeed with SDP; our addresses in it.
    pub fn sdp(&self, command: Command) -> Media {
        match self.relay.control().ask(command) {
            Reply::Sdp { sdp, .. } => Media::read(&String::from_utf8(sdp).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// Offer of `a`, answer of `b`: connected phones.
    pub fn call(&self, id: &str, a: &mut Phone, b: &mut Phone) {
        b.relay = Some(self.sdp(Command::Offer(offer(id, &a.sdp()))));
        a.relay = Some(self.sdp(Command::Answer(answer(id, &b.sdp()))));
    }

    /// End the call now.
    pub fn delete(&self, id: &str) -> Reply {
        self.relay.control().ask(Command::Delete(Delete::call(id)))
    }

    /// Value of a metric series, by the start of its line. A series that was never anything but zero is not shown in large
    /// families ([`SHOWN_ONCE_COUNTED`]): it counts as zero.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.registry.render();
        let family = series.split('{').next().unwrap_or_default();
        let starts = |l: &&str| l.starts_with(series) && l[series.len()..].starts_with([' ', '{']);
        if SHOWN_ONCE_COUNTED.contains(&family) && !text.lines().any(|l| starts(&l)) {
            return 0.0;
        }
        let line = text.lines().find(|l| l.starts_with(series) && l[series.len()..].starts_with([' ', '{']));
        line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {series}"))
    }

    /// Waits until `done` is true; fails with `what` when it takes too long.
    pub fn wait(&self, what: &str, done: impl Fn(&World) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < end, "never: {what}");
            std::thread::yield_now();
        }
    }
}

fn unique() -> u8 {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(0);
    NEXT.fetch_add(29, Ordering::Relaxed)
}

/// A command with the offer.
pub fn offer(id: &str, sdp: &str) -> SdpCommand {
    SdpCommand::new(id, "caller", sdp)
}

/// A command with the answer.
pub fn answer(id: &str, sdp: &str) -> SdpCommand {
    SdpCommand { to_tag: Some(b"callee".to_vec()), ..SdpCommand::new(id, "caller", sdp) }
}

/// Our addresses in an SDP that the relay wrote.
#[derive(Clone, Debug)]
pub struct Media {
    pub rtp: SocketAddr,
    pub rtcp: SocketAddr,
    pub mux: bool,
    pub text: String,
}

/// Our addresses in an SDP that came by ng.
pub fn read(sdp: &str) -> Media {
    Media::read(sdp)
}

impl Media {
    fn read(sdp: &str) -> Media {
        let ip: IpAddr = sdp
            .lines()
            .filter_map(|l| l.strip_prefix("c=IN IP"))
            .find_map(|l| l.split(' ').nth(1)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("{sdp}"));
        let port = sdp
            .lines()
            .find_map(|l| l.strip_prefix("m=audio ")?.split(' ').next()?.parse::<u16>().ok())
            .unwrap_or_else(|| panic!("{sdp}"));
        let mux = sdp.lines().any(|l| l.trim() == "a=rtcp-mux");
        let rtcp = sdp
            .lines()
            .find_map(|l| l.strip_prefix("a=rtcp:")?.split([' ', '\r']).next()?.parse().ok())
            .unwrap_or(if mux { port } else { port + 1 });
        let (rtp, rtcp) = (SocketAddr::new(ip, port), SocketAddr::new(ip, rtcp));
        Media { rtp, rtcp, mux, text: sdp.to_owned() }
    }
}

/// An end point with an RTP and an RTCP socket (one and the same port number apart when not muxed).
pub struct Phone {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub mux: bool,
    pub ssrc: u32,
    pub sequence: u16,
    pub relay: Option<Media>,
    /// Address written in the SDP instead of the real one (behind NAT).
    pub claimed: Option<IpAddr>,
}

impl Phone {
    pub fn new(ip: &str, mux: bool, ssrc: u32) -> Phone {
        let any: SocketAddr = SocketAddr::new(ip.parse().unwrap(), 0);
        let [rtp, rtcp] = [(); 2].map(|()| UdpSocket::bind(any).unwrap());
        for socket in [&rtp, &rtcp] {
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
        }
        Phone { rtp, rtcp, mux, ssrc, sequence: 0, relay: None, claimed: None }
    }

    pub fn sdp(&self) -> String {
        let at = self.rtp.local_addr().unwrap();
        let ip = self.claimed.unwrap_or(at.ip());
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let rtcp = match self.mux {
            true => "a=rtcp-mux\r\n".to_owned(),
            false => format!("a=rtcp:{}\r\n", self.rtcp.local_addr().unwrap().port()),
        };
        format!(
            "v=0\r\no=- {} 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=sendrecv\r\n{rtcp}",
            self.ssrc,
            at.port()
        )
    }

    /// The next RTP packet of this phone.
    pub fn next_rtp(&mut self) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        rtp(self.ssrc, self.sequence)
    }

    pub fn send_rtp(&mut self) -> Vec<u8> {
        let packet = self.next_rtp();
        self.rtp.send_to(&packet, self.relay.as_ref().unwrap().rtp).unwrap();
        packet
    }

    pub fn send_rtcp(&mut self) -> Vec<u8> {
        let mut packet = vec![0x80, 201, 0, 1];
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        let relay = self.relay.as_ref().unwrap();
        if self.mux {
            self.rtp.send_to(&packet, relay.rtp).unwrap();
        } else {
            self.rtcp.send_to(&packet, relay.rtcp).unwrap();
        }
        packet
    }

    /// The next datagram on the RTP socket; it must come from the relay's RTP port.
    pub fn recv_rtp(&self) -> Vec<u8> {
        self.recv(&self.rtp, self.relay.as_ref().unwrap().rtp)
    }

    /// The next datagram where this phone expects RTCP.
    pub fn recv_rtcp(&self) -> Vec<u8> {
        let relay = self.relay.as_ref().unwrap();
        if self.mux { self.recv(&self.rtp, relay.rtp) } else { self.recv(&self.rtcp, relay.rtcp) }
    }

    fn recv(&self, socket: &UdpSocket, from: SocketAddr) -> Vec<u8> {
        let mut buffer = [0; 2_048];
        let (len, source) = socket.recv_from(&mut buffer).expect("nothing arrived");
        assert_eq!(source, from);
        buffer[..len].to_vec()
    }

    /// Nothing waits on either socket.
    pub fn is_quiet(&self) -> bool {
        [&self.rtp, &self.rtcp].iter().all(|s| {
            s.set_nonblocking(true).unwrap();
            let quiet = s.recv_from(&mut [0; 16]).is_err();
            s.set_nonblocking(false).unwrap();
            quiet
        })
    }
}

/// Twenty packets each way by turns, then a report each way: all arrive unchanged.
pub fn both_ways(a: &mut Phone, b: &mut Phone) {
    for _ in 0..20 {
        let packet = a.send_rtp();
        assert_eq!(b.recv_rtp(), packet, "unchanged");
        let packet = b.send_rtp();
        assert_eq!(a.recv_rtp(), packet);
    }
    let report = a.send_rtcp();
    assert_eq!(b.recv_rtcp(), report);
    let report = b.send_rtcp();
    assert_eq!(a.recv_rtcp(), report);
}

/// A PCMU packet of 20 ms.
pub fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut p = vec![0x80, 0];
    p.extend_from_slice(&sequence.to_be_bytes());
    p.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    p.extend_from_slice(&ssrc.to_be_bytes());
    p.resize(172, 0xD5);
    p
}
