//! A vendor that is strict and real: libsofia-sip-ua, the stack of FreeSWITCH, built here from `stack/sofia_vendor.c`. It challenges INVITE
//! and re-INVITE, and answers a repeated CSeq with 482 (RFC 3261 §22.2, §8.2.2.2).

mod stack;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;
use stack::carrier::{CALLED, CALLER, CUSTOMER_IP, Carrier, VENDOR_IP, VendorSpec};
use stack::sipp::Transport;
use stack::{free_port, have, poll_until};

/// The running vendor; it ends with its stdin.
struct Sofia {
    child: Child,
    lines: Receiver<String>,
}

impl Sofia {
    fn build(dir: &Path) -> std::path::PathBuf {
        let flags = Command::new("pkg-config")
            .args(["--cflags", "--libs", "sofia-sip-ua"])
            .output()
            .expect("pkg-config");
        assert!(flags.status.success(), "libsofia-sip-ua-dev is not installed: scripts/bootstrap test");
        let flags = String::from_utf8(flags.stdout).expect("text");
        let (source, program) = ("tests/stack/sofia_vendor.c", dir.join("sofia_vendor"));
        let built = Command::new("cc")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["-O1", "-Wall", "-o"])
            .arg(&program)
            .arg(source)
            .args(flags.split_whitespace())
            .output()
            .expect("cc");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        program
    }

    /// `second`: one platform with two addresses, which has no room for the first INVITE of a call.
    fn start(dir: &Path, at: SocketAddr, second: Option<u16>) -> Sofia {
        let mut child = Command::new(Self::build(dir))
            .args([at.ip().to_string(), at.port().to_string(), "warp".into(), "s3cret".into()])
            .arg(free_port().to_string())
            .args(second.map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the vendor starts");
        let out = BufReader::new(child.stdout.take().expect("stdout"));
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let vendor = Sofia { child, lines };
        assert_eq!(vendor.line(), "ready");
        vendor
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(20)).expect("the vendor says something")
    }
}

impl Drop for Sofia {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A caller that knows one call.
struct Caller {
    socket: UdpSocket,
    to: SocketAddr,
    /// Of the last final response, for the requests of the dialog.
    ok: String,
    cseq: u32,
}

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 42000 RTP/AVP 0\r\n";

fn line<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).unwrap_or("")
}

impl Caller {
    fn new(to: SocketAddr) -> Caller {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::from(CUSTOMER_IP), 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_secs(15))).expect("timeout");
        Caller { socket, to, ok: String::new(), cseq: 0 }
    }

    fn send(&self, method: &str, cseq: u32, body: &str) {
        let us = self.socket.local_addr().expect("address");
        let (uri, to, routes) = match self.ok.as_str() {
            "" => (format!("sip:{CALLED}@{}", self.to), format!("<sip:{CALLED}@{}>", self.to), String::new()),
            ok => {
                let contact = line(ok, "Contact").trim_start_matches('<');
                let contact = contact.split('>').next().unwrap_or_default().to_owned();
                let routes = ok.lines().filter_map(|l| l.strip_prefix("Record-Route: "));
                (contact, line(ok, "To").to_owned(), routes.map(|r| format!("Route: {r}\r\n")).collect())
            }
        };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {us};branch=z9hG4bK{method}{cseq};rport\r\nMax-Forwards: 70\r\n\
             {routes}From: <sip:{CALLER}@{us}>;tag=caller\r\nTo: {to}\r\nCall-ID: sofia@{us}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:a@{us}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.send_to(text.as_bytes(), self.to).expect("sent");
    }

    /// Sends a request and waits for its final response; ACKs a 2xx.
    fn ask(&mut self, method: &str, body: &str) -> u16 {
        self.cseq += 1;
        let cseq = format!("{} {method}", self.cseq);
        self.send(method, self.cseq, body);
        let mut buffer = [0; 65_536];
        loop {
            let n =
                self.socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{method}: no final response: {e}"));
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            let status = text.get(8..11).and_then(|s| s.parse::<u16>().ok()).unwrap_or(0);
            if !text.starts_with("SIP/2.0 ") || status < 200 || line(&text, "CSeq") != cseq {
                continue;
            }
            if method == "INVITE" && status < 300 {
                self.ok = text;
                self.send("ACK", self.cseq, "");
            }
            return status;
        }
    }
}

/// kamailio#919, OpenSIPS#1969, #1064: a strict vendor carries a whole call through us; our credentials never reach the customer, and his
/// numbers never reach the vendor twice.
#[test]
fn a_strict_vendor_that_challenges_everything_carries_a_call() {
    if !have("pkg-config", "a_strict_vendor_that_challenges_everything") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let at: SocketAddr = (VENDOR_IP, free_port()).into();
    let vendor = Sofia::start(dir.path(), at, None);
    let spec = VendorSpec { slug: "strict", rate: "0.004", addr: at, transport: Transport::Udp };
    let carrier = Carrier::start(dir.path(), &[spec], true);
    let trunks = carrier.admin.get("/admin/vendor-trunks");
    let trunk = trunks[0]["id"].as_str().expect("id");
    let login = json!({"auth_username": "warp", "auth_password": "s3cret", "auth_realm": "vendor"});
    carrier.admin.ok("PATCH", &format!("/admin/vendor-trunks/{trunk}"), Some(&login));

    // The change is with the proxy within a second: a call before that is refused, and tried again as a new one.
    let answered = poll_until(Duration::from_secs(15), || {
        let mut caller = Caller::new(carrier.sip);
        (caller.ask("INVITE", SDP) == 200).then_some(caller)
    });
    let mut caller = answered.unwrap_or_else(|| panic!("never answered\n{}", carrier.launched.log_tail()));
    assert_eq!(caller.ask("INVITE", SDP), 200, "re-INVITE");
    assert_eq!(caller.ask("BYE", ""), 200);

    // What the vendor saw of the call that went: every try has a number of its own, in rising order, and none was merged.
    let mut seen = Vec::new();
    while seen.last().is_none_or(|l: &String| !l.starts_with("BYE")) {
        seen.push(vendor.line());
    }
    assert!(seen.iter().all(|l| !l.starts_with("refused")), "{seen:#?}");
    let from = seen.iter().position(|l| l.ends_with(" ok")).expect("an admitted INVITE");
    let words: Vec<(&str, u32, &str)> = seen[from..]
        .iter()
        .map(|l| {
            let mut w = l.splitn(3, ' ');
            let (method, cseq, what) = (w.next(), w.next(), w.next());
            (method.unwrap_or(""), cseq.and_then(|n| n.parse().ok()).unwrap_or(0), what.unwrap_or("").trim())
        })
        .collect();
    let what: Vec<(&str, &str)> = words.iter().map(|w| (w.0, w.2)).collect();
    assert_eq!(
        what,
        [("INVITE", "ok"), ("ACK", ""), ("INVITE", "challenged"), ("INVITE", "ok"), ("ACK", ""), ("BYE", ""),],
        "{seen:#?}"
    );
    let numbers: Vec<u32> = words.iter().filter(|w| w.0 != "ACK").map(|w| w.1).collect();
    assert!(numbers.windows(2).all(|n| n[0] < n[1]), "{seen:#?}");
    // An ACK has the number of the INVITE that it is for (RFC 3261 §13.2.2.4).
    assert_eq!((words[1].1, words[4].1), (words[0].1, words[3].1), "{seen:#?}");

    // Tries that were refused have records too, which may come first.
    let answered = poll_until(Duration::from_secs(15), || {
        let calls = carrier.calls(1);
        let answered: Vec<_> = calls.into_iter().filter(|c| c["outcome"] == "answered").collect();
        (!answered.is_empty()).then_some(answered)
    });
    let answered = answered.unwrap_or_else(|| panic!("no answered call: {:#?}", carrier.calls(1)));
    assert_eq!(answered.len(), 1, "{answered:#?}");
    assert_eq!(answered[0]["vendor_id"], carrier.vendors[0].as_str());
}

/// RFC 3261 §8.2.2.2: one platform behind two addresses of a trunk. It has refused the INVITE at the first one and not forgotten it: with the
/// same CSeq it answers 482 at the second one, with the next one it carries the call.
#[test]
fn a_strict_vendor_with_two_addresses_carries_the_call_at_the_second() {
    if !have("pkg-config", "a_strict_vendor_with_two_addresses") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let (at, second): (SocketAddr, u16) = ((VENDOR_IP, free_port()).into(), free_port());
    let vendor = Sofia::start(dir.path(), at, Some(second));
    let spec = VendorSpec { slug: "strict", rate: "0.004", addr: at, transport: Transport::Udp };
    let carrier = Carrier::start(dir.path(), &[spec], true);
    let trunks = carrier.admin.get("/admin/vendor-trunks");
    let trunk = trunks[0]["id"].as_str().expect("id");
    let both = [at, SocketAddr::new(at.ip(), second)].map(|a| a.to_string());
    let changed = json!({"addresses": both, "auth_username": "warp", "auth_password": "s3cret", "auth_realm": "vendor"});
    carrier.admin.ok("PATCH", &format!("/admin/vendor-trunks/{trunk}"), Some(&changed));
    let answered = poll_until(Duration::from_secs(15), || {
        let mut caller = Caller::new(carrier.sip);
        (caller.ask("INVITE", SDP) == 200).then_some(caller)
    });
    let mut caller = answered.unwrap_or_else(|| panic!("never answered\n{}", carrier.launched.log_tail()));
    assert_eq!(caller.ask("BYE", ""), 200);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|l: &String| !l.starts_with("BYE")) {
        seen.push(vendor.line());
    }
    assert!(seen.iter().all(|l| !l.starts_with("refused")), "{seen:#?}");
    let last: Vec<&str> = seen.iter().rev().take(5).rev().map(|l| l.trim()).collect();
    assert_eq!(last, ["INVITE 1 full", "INVITE 2 challenged", "INVITE 3 ok", "ACK 3", "BYE 4"], "{seen:#?}");
}
