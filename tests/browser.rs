//! A browser that is registered at our registrar by WSS calls a plain SIP phone through our own proxy and relay, with nothing
//! beside WARP: Debian's Chromium with JsSIP. Audio flows both ways, both ends hear it, and the call has its record (RFC 0050).

#[path = "../media-relay/tests/browser/phone.rs"]
mod phone;
mod stack;

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use phone::{Browser, Phone, tone};
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
