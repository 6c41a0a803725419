//! The launch contract (`loadtests/README.md`): one ready line, traffic at once, exit 0 at once on SIGINT and SIGTERM.

mod stack;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use stack::sipp::{Calls, Sipp, Transport};
use stack::{Launched, free_port, have};

fn local(port: u16) -> std::net::SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[test]
fn proxy_and_media_say_ready_once_and_end_at_once() {
    let dir = tempfile::tempdir().expect("tempdir");
    let profiles = [
        ("proxy", vec![format!("listen={}", local(free_port())), format!("next={}", local(free_port()))]),
        (
            "media",
            vec![format!("ng={}", local(free_port())), "ip=127.0.0.1".into(), "ports=22000-22999".into()],
        ),
    ];
    for (profile, args) in profiles {
        for signal in ["TERM", "INT"] {
            let log = dir.path().join(format!("{profile}-{signal}.log"));
            let launched = Launched::start(profile, &args, &log);
            let (code, rest) = launched.signal_and_wait(signal, Duration::from_secs(5));
            assert_eq!(code, Some(0), "{profile} on {signal}: {}", stack::tail(&log));
            assert_eq!(rest, Vec::<String>::new(), "{profile}: stdout carries one line and no more");
        }
    }
}

#[test]
fn a_wrong_word_is_named_and_nothing_starts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (args, word) in [
        (vec!["nonsense"], "nonsense"),
        (vec!["proxy", "lisen=127.0.0.1:5060"], "lisen"),
        (vec!["media", "ng=here"], "here"),
        (vec!["media", "ng=0.0.0.0:2223", "ip=127.0.0.1"], "0.0.0.0"),
    ] {
        let out = Command::new(root.join("loadtests/launch"))
            .args(&args)
            .env("WARP_BIN", env!("CARGO_BIN_EXE_warp"))
            .output()
            .expect("launch runs");
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{args:?} started");
        assert!(stderr.contains(word), "{args:?}: {stderr}");
        assert!(out.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&out.stdout));
    }
}

/// SIPp → proxy → SIPp over UDP and TCP, on one shard and on two, without policy.
#[test]
fn sipp_calls_through_the_static_proxy() {
    if !have("sipp", "sipp_calls_through_the_static_proxy") {
        return;
    }
    for (transport, shards) in
        [(Transport::Udp, 1), (Transport::Udp, 2), (Transport::Tcp, 1), (Transport::Tcp, 2)]
    {
        let dir = tempfile::tempdir().expect("tempdir");
        let (proxy, vendor) = (local(free_port()), local(free_port()));
        let args = [format!("listen={proxy}"), format!("next={vendor}"), format!("shards={shards}")];
        let launched = Launched::start("proxy", &args, &dir.path().join("proxy.log"));
        let answering = Sipp::vendor(dir.path(), "vendor_answer.xml", vendor, transport, free_port(), 20);
        let calling = Sipp::calls(
            dir.path(),
            &Calls {
                scenario: "customer_call.xml",
                to: proxy,
                local: local(free_port()),
                transport,
                caller: "12025550100",
                called: "14155550123",
                talk: Duration::from_millis(200),
                count: 20,
                per_second: 20,
                auth: None,
            },
        );
        calling.finish(Duration::from_secs(30));
        answering.finish(Duration::from_secs(10));
        drop(launched);
    }
}
