//! What a browser's call needs at its other end: the browser as a process, and a plain SIP phone that plays a tone and listens.

use std::net::{SocketAddr, UdpSocket};
use std::process::Child;
use std::time::Duration;

/// A browser of the test, which is ended when this is dropped.
pub struct Browser(pub Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line of a message, without its end.
fn header<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let is = |l: &&str| l.split(':').next().is_some_and(|n| n.trim().eq_ignore_ascii_case(name));
    head.split("\r\n").filter(is).collect()
}

/// RFC 3551's µ-law, as linear samples.
fn linear(byte: u8) -> i32 {
    let b = !byte;
    let magnitude = ((i32::from(b & 0x0F) << 3) + 0x84) << (b >> 4 & 7);
    if b & 0x80 != 0 { 0x84 - magnitude } else { magnitude - 0x84 }
}

fn ulaw(sample: i32) -> u8 {
    (0..=255u8).min_by_key(|byte| (linear(*byte) - sample).abs()).unwrap()
}

/// 20 ms of 400 Hz in µ-law, eight whole waves.
pub fn tone() -> Vec<u8> {
    let wave = |n: usize| (f64::from(n as u32) * 400.0 * std::f64::consts::TAU / 8_000.0).sin() * 8_000.0;
    (0..160).map(|n| ulaw(wave(n) as i32)).collect()
}

/// A plain SIP phone: takes one call, plays a tone and listens.
pub struct Phone {
    pub sip: UdpSocket,
    pub rtp: UdpSocket,
    /// Where its media goes, and the offer that it got.
    pub relay: Option<SocketAddr>,
    pub offer: String,
    sent: u16,
    pub heard: usize,
    pub loud: usize,
    pub over: bool,
}

impl Phone {
    pub fn new(at: SocketAddr) -> Phone {
        let sockets = [at, SocketAddr::new(at.ip(), 0)].map(|at| UdpSocket::bind(at).unwrap());
        for socket in &sockets {
            socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        }
        let [sip, rtp] = sockets;
        Phone { sip, rtp, relay: None, offer: String::new(), sent: 0, heard: 0, loud: 0, over: false }
    }

    fn answer(&self, request: &str, to: SocketAddr, body: &str) {
        let mut out = "SIP/2.0 200 OK\r\n".to_owned();
        for name in ["Via", "Record-Route", "From", "Call-ID", "CSeq"] {
            for line in header(request, name) {
                out += &format!("{line}\r\n");
            }
        }
        let line = header(request, "To")[0];
        let tag = if line.contains(";tag=") { "" } else { ";tag=phone" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let at = self.sip.local_addr().unwrap();
        out += &format!(
            "{line}{tag}\r\nContact: <sip:phone@{at}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.sip.send_to(out.as_bytes(), to).unwrap();
    }

    pub fn listen(&mut self) {
        let mut buffer = vec![0; 65_536];
        if let Ok((n, from)) = self.sip.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with("INVITE ") {
                for word in ["fingerprint", "candidate", "ice-ufrag", "UDP/TLS", "rtcp-mux"] {
                    assert!(!text.contains(word), "a plain phone is told of {word}: {text}");
                }
                let line = |start: &str| {
                    text.lines().find_map(|l| l.strip_prefix(start)).unwrap_or_else(|| panic!("{text}"))
                };
                let port: u16 = line("m=audio ").split(' ').next().unwrap().parse().unwrap();
                self.relay = Some(format!("{}:{port}", line("c=IN IP4 ").trim()).parse().unwrap());
                let own = self.rtp.local_addr().unwrap();
                let (ip, port) = (own.ip(), own.port());
                let sdp = format!(
                    "v=0\r\no=p 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
                );
                self.answer(&text, from, &sdp);
                self.offer = text;
            } else if text.starts_with("BYE ") || text.starts_with("OPTIONS ") {
                self.answer(&text, from, "");
                self.over |= text.starts_with("BYE ");
            }
        }
        while let Ok((n, from)) = self.rtp.recv_from(&mut buffer) {
            assert_eq!(Some(from), self.relay, "media comes from the relay");
            if n > 12 && buffer[1] & 0x7F == 0 {
                self.heard += 1;
                let square = |b: &u8| i64::from(linear(*b)).pow(2);
                let energy = buffer[12..n].iter().map(square).sum::<i64>() / (n as i64 - 12);
                self.loud += usize::from(energy > 100_000);
            }
        }
    }

    pub fn play(&mut self, tone: &[u8]) {
        let Some(relay) = self.relay else { return };
        self.sent = self.sent.wrapping_add(1);
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&self.sent.to_be_bytes());
        packet.extend_from_slice(&(u32::from(self.sent) * 160).to_be_bytes());
        packet.extend_from_slice(&77u32.to_be_bytes());
        packet.extend_from_slice(tone);
        self.rtp.send_to(&packet, relay).unwrap();
    }
}
