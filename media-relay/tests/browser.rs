//! A browser calls a plain SIP phone: Debian's Chromium with JsSIP over a secure WebSocket, Kamailio with its rtpengine module, our
//! relay between ICE, DTLS-SRTP and plain RTP. Audio flows both ways, and both ends hear it.

mod common;
mod kamailio;
mod programs;

use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kamailio::{Kamailio, header};
use programs::has;
use serde_json::Value;

/// How long the whole may take: a browser starts, on a machine that may be busy.
const DEADLINE: Duration = Duration::from_secs(120);

/// `PHONE` is put in.
const ROUTES: &str = r#"
request_route {
    if (has_totag()) {
        if (is_method("BYE")) rtpengine_manage();
        loose_route();
        t_relay();
        exit;
    }
    if (is_method("INVITE")) {
        record_route();
        rtpengine_manage("replace-origin RTP/AVP ICE=remove DTLS=off rtcp-mux-demux via-branch=1");
        $du = "sip:127.0.0.1:PHONE";
        t_on_reply("ANSWER");
        t_relay();
    }
    exit;
}

onreply_route[ANSWER] {
    if (has_body("application/sdp")) rtpengine_manage("replace-origin ICE=force via-branch=2");
}
"#;

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers")
}

/// Why there can be no call by a browser; `None`: there can.
fn missing(test: &str) -> bool {
    let all = has("kamailio", test) && has("node", test) && has("openssl", test) && has("chromium", test);
    let modules = ["websocket.so", "tls.so"].into_iter().all(|m| {
        let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        folders.map(|f| f.path().join("kamailio/modules").join(m)).any(|p| p.is_file())
    });
    let packages = ["jssip", "playwright-core", "esbuild"]
        .into_iter()
        .all(|p| peers().join("node_modules").join(p).is_dir());
    if all && !(modules && packages) {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "scripts/bootstrap test has not brought all that a browser's call needs"
        );
        println!(
            "skipped: {test}: Kamailio's WebSocket and TLS modules or packages of npm are not installed"
        );
    }
    !(all && modules && packages)
}

/// Ended when dropped.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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

/// 20 ms of 400 Hz: the same 160 samples in each packet, eight whole waves.
fn tone() -> Vec<u8> {
    let wave = |n: usize| (f64::from(n as u32) * 400.0 * std::f64::consts::TAU / 8_000.0).sin() * 8_000.0;
    (0..160).map(|n| ulaw(wave(n) as i32)).collect()
}

/// A plain SIP phone of the test's own: takes one call, plays a tone and listens.
struct Phone {
    sip: UdpSocket,
    rtp: UdpSocket,
    /// Where its media goes, and the answer that it gave.
    relay: Option<SocketAddr>,
    answer: String,
    sent: u16,
    heard: usize,
    loud: usize,
    over: bool,
}

impl Phone {
    fn new() -> Phone {
        let [sip, rtp] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        for s in [&sip, &rtp] {
            s.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        }
        Phone { sip, rtp, relay: None, answer: String::new(), sent: 0, heard: 0, loud: 0, over: false }
    }

    fn reply(&self, request: &str, status: &str, body: &str) -> String {
        let mut out = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "Record-Route", "From", "Call-ID", "CSeq"] {
            for line in header(request, name) {
                out += &format!("{line}\r\n");
            }
        }
        let to = header(request, "To")[0];
        let tag = if to.contains(";tag=") { "" } else { ";tag=phone" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let at = self.sip.local_addr().unwrap();
        out + &format!(
            "{to}{tag}\r\nContact: <sip:phone@{at}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn listen(&mut self) {
        let mut buffer = vec![0; 65_536];
        if let Ok((n, from)) = self.sip.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with("INVITE ") {
                for word in ["fingerprint", "candidate", "UDP/TLS"] {
                    assert!(!text.contains(word), "a plain phone is told of {word}: {text}");
                }
                let line = |start: &str| {
                    text.lines().find_map(|l| l.strip_prefix(start)).unwrap_or_else(|| panic!("{text}"))
                };
                let port: u16 = line("m=audio ").split(' ').next().unwrap().parse().unwrap();
                self.relay = Some(format!("{}:{port}", line("c=IN IP4 ").trim()).parse().unwrap());
                let own = self.rtp.local_addr().unwrap().port();
                let sdp = format!(
                    "v=0\r\no=p 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {own} RTP/AVP 0\r\n"
                );
                self.answer = self.reply(&text, "200 OK", &sdp);
                self.sip.send_to(self.answer.as_bytes(), from).unwrap();
            } else if text.starts_with("BYE ") {
                self.sip.send_to(self.reply(&text, "200 OK", "").as_bytes(), from).unwrap();
                self.over = true;
            }
        }
        while let Ok((n, from)) = self.rtp.recv_from(&mut buffer) {
            assert_eq!(Some(from), self.relay, "media comes from the relay");
            if n > 12 && buffer[1] & 0x7F == 0 {
                self.heard += 1;
                let energy: i64 =
                    buffer[12..n].iter().map(|b| i64::from(linear(*b)).pow(2)).sum::<i64>() / (n as i64 - 12);
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
fn a_browser_calls_a_plain_phone_and_both_hear_each_other() {
    if missing("a_browser_calls_a_plain_phone_and_both_hear_each_other") {
        return;
    }
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let mut phone = Phone::new();
    let routes = ROUTES.replace("PHONE", &phone.sip.local_addr().unwrap().port().to_string());
    let (kamailio, wss) = Kamailio::start_web(world.relay.ng_addr().unwrap().port(), &routes);
    let end = Instant::now() + DEADLINE;
    // The browser tries once.
    while std::net::TcpStream::connect(("127.0.0.1", wss)).is_err() {
        assert!(Instant::now() < end, "Kamailio does not listen");
        std::thread::yield_now();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/call.mjs");
    let mut browser = Browser(
        Command::new("node")
            .arg(script)
            .arg(peers())
            .arg(format!("wss://127.0.0.1:{wss}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let (tone, mut next) = (tone(), Instant::now());
    let status = loop {
        assert!(
            Instant::now() < end,
            "the call does not end: heard {} of it, {} loud",
            phone.heard,
            phone.loud
        );
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
    assert!(status.success(), "{said}\n{faults}\n{}", phone.answer);
    // What the browser heard of the phone.
    let heard: Value = serde_json::from_str(said.trim()).unwrap();
    println!(
        "the browser heard {heard}; the phone heard {} packets, {} of them loud",
        phone.heard, phone.loud
    );
    assert!(
        heard["packets"].as_u64().unwrap() >= 150 && heard["energy"].as_f64().unwrap() >= 0.01,
        "{heard}"
    );
    assert_eq!(
        (heard["dtls"].as_str(), heard["codec"].as_str()),
        (Some("connected"), Some("audio/PCMU")),
        "{heard}"
    );
    // What the phone heard of the browser: its microphone beeps once a second.
    assert!(
        phone.heard >= 100 && phone.loud >= 5 && phone.over,
        "{} {} {}",
        phone.heard,
        phone.loud,
        phone.over
    );
    drop(kamailio);
    assert_eq!(world.metric("warp_media_panics_total"), 0.0);
}
