//! The SIP side of WARP with a real rtpengine as its media relay: one call, anchored there over ng, with its figures in
//! the call record.

mod stack;

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stack::carrier::{CALLED, CALLER, CUSTOMER_IP, Carrier, VENDOR_IP, VendorSpec};
use stack::sipp::{Calls, Sipp, Transport};
use stack::{free_port, have, poll_until, signal_pid};

/// A running rtpengine in user space, ended with the test.
struct Engine {
    child: Child,
    ng: SocketAddr,
}

impl Engine {
    fn start(dir: &std::path::Path) -> Engine {
        let ng = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let child = Command::new("rtpengine")
            .args([
                "--config-file=none",
                "--foreground",
                "--table=-1",
                "--interface=127.0.0.1",
                "--log-level=1",
            ])
            .args([format!("--listen-ng={ng}"), "--port-min=28000".into(), "--port-max=28999".into()])
            .arg(format!("--pidfile={}", dir.join("rtpengine.pid").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rtpengine starts");
        let engine = Engine { child, ng };
        assert!(engine.ask("d7:command4:pinge").contains("4:pong"));
        engine
    }

    /// One command in bencode, repeated until it is answered. The cookie is of its length: rtpengine answers a cookie that
    /// it knows from its cache, whoever asks.
    fn ask(&self, command: &str) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("time-out");
        socket.connect(self.ng).expect("connect");
        let mut buffer = vec![0; 65_536];
        let answer = poll_until(Duration::from_secs(10), || {
            let _ = socket.send(format!("{}_test {command}", command.len()).as_bytes());
            socket.recv(&mut buffer).ok()
        });
        let n = answer.expect("rtpengine answers");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        signal_pid(self.child.id(), "TERM");
        if poll_until(Duration::from_secs(5), || self.child.try_wait().ok().flatten()).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[test]
fn a_call_is_anchored_on_a_real_rtpengine() {
    let name = "a_call_is_anchored_on_a_real_rtpengine";
    if !have("sipp", name) || !have("rtpengine", name) {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let engine = Engine::start(dir.path());
    let at = |ip: [u8; 4]| SocketAddr::from((ip, free_port()));
    // SIPp takes four media ports from the one that it is told.
    let media = || (free_port(), free_port()).0;
    let (refuses, answers) = (at(VENDOR_IP), at(VENDOR_IP));
    let spec = |slug, rate, addr| VendorSpec { slug, rate, addr, transport: Transport::Udp };
    let specs = [spec("refuses", "0.001", refuses), spec("answers", "0.004", answers)];
    let _refusing = Sipp::vendor(dir.path(), "vendor_503.xml", refuses, Transport::Udp, media(), 100);
    let _answering = Sipp::vendor(dir.path(), "vendor_answer.xml", answers, Transport::Udp, media(), 100);
    let carrier = Carrier::start_with(dir.path(), &specs, true, &[format!("sip.media_ng={}", engine.ng)]);
    let call = Calls {
        scenario: "customer_call.xml",
        to: carrier.sip,
        local: at(CUSTOMER_IP),
        transport: Transport::Udp,
        caller: CALLER,
        called: CALLED,
        talk: Duration::from_millis(1_500),
        count: 1,
        per_second: 1,
        auth: None,
    };
    Sipp::calls(dir.path(), &call).finish(Duration::from_secs(30));
    let calls = carrier.calls(1);
    assert_eq!(calls[0]["outcome"], "answered", "{:#}", calls[0]);
    let detail = carrier.call(calls[0]["id"].as_str().expect("id"));
    let media = &detail["record"]["media"];
    for direction in ["to_callee", "to_caller"] {
        let packets = media[direction]["packets"].as_u64().unwrap_or(0);
        assert!(packets >= 30, "{direction}: {packets} packets of 1.5 s at 50/s: {media:#}");
    }
    // Nothing is left behind: neither the call nor the branch that was refused.
    let left = engine.ask("d7:command4:list5:limiti9ee");
    assert!(left.contains("5:callsle"), "{left}");
}
