//! A browser calls a plain SIP phone: Debian's Chromium with JsSIP over a secure WebSocket, Kamailio with its rtpengine module, our
//! relay between ICE, DTLS-SRTP and plain RTP. Audio flows both ways, and both ends hear it.

mod common;
mod kamailio;
#[path = "browser/phone.rs"]
mod phone;
mod programs;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kamailio::Kamailio;
use phone::{Browser, Phone, tone};
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

#[test]
fn a_browser_calls_a_plain_phone_and_both_hear_each_other() {
    if missing("a_browser_calls_a_plain_phone_and_both_hear_each_other") {
        return;
    }
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let mut phone = Phone::new("127.0.0.1:0".parse().unwrap());
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
    assert!(status.success(), "{said}\n{faults}\n{}", phone.offer);
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
