//! A browser that is registered at our registrar by WSS calls a plain SIP phone through our own proxy and relay, with nothing
//! beside WARP: Debian's Chromium with JsSIP. Audio flows both ways, both ends hear it, and the call has its record (RFC 0050).

mod stack;

use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use stack::carrier::{CALLED, CALLER, Carrier, PASSWORD, VENDOR_IP, VendorSpec};
use stack::sipp::Transport;
use stack::{free_port, have};

/// How long the whole may take: a browser starts, on a machine that may be busy.
const DEADLINE: Duration = Duration::from_secs(120);

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers")
}

/// Why there can be no call by a browser; `None`: there can.
fn missing(test: &str) -> bool {
    let programs = have("node", test) && have("chromium", test);
    let folder = |p: &str| peers().join("node_modules").join(p).is_dir();
    let packages = ["jssip", "playwright-core", "esbuild"].into_iter().all(folder);
    if programs && !packages {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "scripts/bootstrap test has not brought npm's packages"
        );
        println!("skipped: {test}: packages of npm are not installed");
    }
    !(programs && packages)
}

/// Ended when dropped.
struct Browser(Child);

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

/// µ-law, as linear samples.
fn linear(byte: u8) -> i32 {
    let b = !byte;
    let magnitude = ((i32::from(b & 0x0F) << 3) + 0x84) << (b >> 4 & 7);
    if b & 0x80 != 0 { 0x84 - magnitude } else { magnitude - 0x84 }
}

fn ulaw(sample: i32) -> u8 {
    (0..=255u8).min_by_key(|byte| (linear(*byte) - sample).abs()).unwrap()
}

/// 20 ms of 400 Hz in µ-law, eight whole waves.
fn tone() -> Vec<u8> {
    let wave = |n: usize| (f64::from(n as u32) * 400.0 * std::f64::consts::TAU / 8_000.0).sin() * 8_000.0;
    (0..160).map(|n| ulaw(wave(n) as i32)).collect()
}

/// A plain SIP phone of the test's own, which a vendor has: takes one call, plays a tone and listens.
struct Phone {
    sip: UdpSocket,
    rtp: UdpSocket,
    /// Where its media goes, and the offer that it got.
    relay: Option<SocketAddr>,
    offer: String,
    sent: u16,
    heard: usize,
    loud: usize,
    over: bool,
}

impl Phone {
    fn new(at: SocketAddr) -> Phone {
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

    fn listen(&mut self) {
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

    fn play(&mut self, tone: &[u8]) {
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

#[test]
fn a_browser_registered_by_wss_calls_a_plain_phone_through_warp_alone() {
    if missing("a_browser_registered_by_wss_calls_a_plain_phone_through_warp_alone") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at: SocketAddr = (VENDOR_IP, free_port()).into();
    let mut phone = Phone::new(at);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (sip, wss) = (free_port(), free_port());
    let more = [
        format!("sip.listen=[\"udp:127.0.0.1:{sip}\", \"wss:127.0.0.1:{wss}\"]"),
        format!("sip.tls_certificate={}", certificate.display()),
        format!("sip.tls_key={}", key.display()),
        // A browser names a domain, and no port.
        "sip.domains=[\"carrier.test\"]".to_owned(),
        // It starts in between.
        "sip.first_1xx=5s".to_owned(),
    ];
    let vendor = VendorSpec { slug: "plain", rate: "0.004", addr: at, transport: Transport::Udp };
    let carrier = Carrier::start_with(dir.path(), &[vendor], false, &more);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("media-relay/tests/browser/call.mjs");
    let mut browser = Browser(
        Command::new("node")
            .arg(script)
            .arg(peers())
            .arg(format!("wss://127.0.0.1:{wss}"))
            .args(["pbx1", PASSWORD, "carrier.test", CALLER, CALLED])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let end = Instant::now() + DEADLINE;
    let (tone, mut next) = (tone(), Instant::now());
    let status = loop {
        assert!(Instant::now() < end, "the call does not end: heard {}, {} loud", phone.heard, phone.loud);
        phone.listen();
        if Instant::now() >= next {
            next += Duration::from_millis(20);
            phone.play(&tone);
        }
        if let Some(status) = browser.0.try_wait().unwrap() {
            break status;
        }
    };
    let (mut said, mut faults) = (String::new(), String::new());
    browser.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    browser.0.stderr.take().unwrap().read_to_string(&mut faults).unwrap();
    let log = carrier.launched.log_tail();
    assert!(status.success(), "{said}\n{faults}\n{}\n{log}", phone.offer);
    // What the browser heard of the phone, and the phone of the browser, whose microphone beeps once a second.
    let heard: Value = serde_json::from_str(said.trim()).unwrap();
    let figures = (heard["packets"].as_u64().unwrap(), heard["energy"].as_f64().unwrap());
    assert!(figures.0 >= 150 && figures.1 >= 0.01, "{heard}");
    let agreed = (heard["dtls"].as_str(), heard["codec"].as_str());
    assert_eq!(agreed, (Some("connected"), Some("audio/PCMU")), "{heard}");
    assert!(phone.heard >= 100 && phone.loud >= 5, "{} {}", phone.heard, phone.loud);
    // It hung up, and the call is his customer's, with a price.
    while !phone.over {
        assert!(Instant::now() < end, "no BYE");
        phone.listen();
    }
    let call = carrier.call(carrier.calls(1)[0]["id"].as_str().expect("id"));
    assert_eq!(call["trunk_id"].as_str(), Some(carrier.trunk.as_str()), "{call}");
    assert_eq!(call["outcome"], "answered", "{call}");
}
