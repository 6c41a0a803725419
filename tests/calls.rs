//! Real calls through the whole stack: SIPp → warp → SIPp with RTP, and the CDR as the API tells it.

mod stack;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use stack::carrier::{CALLED, CALLER, CUSTOMER_IP, Carrier, PASSWORD, VENDOR_IP, VendorSpec};
use stack::sipp::{Calls, Sipp, Transport};
use stack::{free_port, have, poll_until};

fn at(ip: [u8; 4]) -> SocketAddr {
    (ip, free_port()).into()
}

fn customer_call<'a>(carrier: &Carrier, transport: Transport, auth: Option<(&'a str, &'a str)>) -> Calls<'a> {
    Calls {
        scenario: if auth.is_some() { "customer_call_digest.xml" } else { "customer_call.xml" },
        to: carrier.sip,
        local: at(CUSTOMER_IP),
        transport,
        caller: CALLER,
        called: CALLED,
        talk: Duration::from_millis(1_500),
        count: 1,
        per_second: 1,
        auth,
    }
}

/// The three vendors of the failover tests: one refuses, one is dead, the dearest answers.
/// Dead means: over UDP datagrams vanish (F-NET-02), over TCP the connection is refused (F-NET-05).
struct Vendors {
    specs: Vec<VendorSpec>,
    /// Bound and never read, so that not even an ICMP message tells of it.
    _blackhole: Option<UdpSocket>,
    _refusing: Sipp,
    _answering: Sipp,
}

fn vendors(dir: &Path, transport: Transport) -> Vendors {
    let (refuses, dead, answers) = (at(VENDOR_IP), at(VENDOR_IP), at(VENDOR_IP));
    let spec = |slug, rate, addr| VendorSpec { slug, rate, addr, transport };
    let blackhole = (transport == Transport::Udp).then(|| UdpSocket::bind(dead).expect("a free port"));
    Vendors {
        _blackhole: blackhole,
        specs: vec![
            spec("refuses", "0.001", refuses),
            spec("dead", "0.002", dead),
            spec("answers", "0.004", answers),
        ],
        _refusing: Sipp::vendor(dir, "vendor_503.xml", refuses, transport, free_port(), 100),
        _answering: Sipp::vendor(dir, "vendor_answer.xml", answers, transport, free_port(), 100),
    }
}

/// What the API must say of one answered call of about 1.5 s that two vendors did not carry.
fn assert_carried_by_the_third(carrier: &Carrier, call: &Value, transport: Transport) {
    assert_eq!(call["outcome"], "answered", "{call:#}");
    assert_eq!(call["sip_code"], 200);
    assert_eq!(call["vendor_id"], carrier.vendors[2].as_str());
    assert_eq!(call["route_rank"], 3);
    assert_eq!(call["jurisdiction"], "interstate");
    let ms = call["duration_ms"].as_i64().expect("duration");
    assert!((1_400..2_500).contains(&ms), "{ms} ms of a talk of 1,500");
    // 6/6: six seconds; 0.012 × 6 / 60 and 0.004 × 6 / 60.
    assert_eq!(call["billable_s"], 6);
    assert_eq!(call["price"], json!({"amount": "0.0012", "currency": "USD"}));
    assert_eq!(call["cost"], json!({"amount": "0.0004", "currency": "USD"}));
    assert_eq!(call["margin"], json!({"amount": "0.0008", "currency": "USD"}));

    let detail = carrier.call(call["id"].as_str().expect("id"));
    let record = &detail["record"];
    let codes: Vec<i64> = record["legs"]
        .as_array()
        .expect("legs")
        .iter()
        .map(|l| l["sip_code"].as_i64().unwrap_or(-1))
        .collect();
    let dead = if transport == Transport::Udp { 408 } else { 503 };
    assert_eq!(codes, [503, dead, 200], "{record:#}");
    for direction in ["to_callee", "to_caller"] {
        let packets = record["media"][direction]["packets"].as_u64().unwrap_or(0);
        assert!(packets >= 30, "{direction}: {packets} packets of 1.5 s at 50/s: {record:#}");
    }
    let decision = record["decision"].to_string();
    for id in &carrier.vendors {
        assert!(decision.contains(id.as_str()), "the decision names {id}: {decision}");
    }
    assert!(record["rating"]["sell"]["sum"].as_str().is_some_and(|s| s.contains("0.012")), "{record:#}");
}

fn ip_acl_call(transport: Transport, name: &str) {
    if !have("sipp", name) {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let v = vendors(dir.path(), transport);
    let carrier = Carrier::start(dir.path(), &v.specs, true);
    Sipp::calls(dir.path(), &customer_call(&carrier, transport, None)).finish(Duration::from_secs(30));
    let calls = carrier.calls(1);
    assert_eq!(calls.len(), 1);
    assert_carried_by_the_third(&carrier, &calls[0], transport);
    // The customer sees the price and not from whom we buy.
    let id = calls[0]["id"].as_str().expect("id");
    let own = carrier.customer.get(&format!("/calls/{id}")).to_string();
    assert!(own.contains("0.0012") && !own.contains("0.0004") && !own.contains("vnd_"), "{own}");
}

#[test]
fn ip_acl_call_over_udp_fails_over_from_503_and_from_a_dead_vendor() {
    ip_acl_call(Transport::Udp, "ip_acl_call_over_udp");
}

#[test]
fn ip_acl_call_over_tcp_fails_over_from_503_and_from_a_dead_vendor() {
    ip_acl_call(Transport::Tcp, "ip_acl_call_over_tcp");
}

#[test]
fn digest_calls_over_udp_and_tcp() {
    if !have("sipp", "digest_calls_over_udp_and_tcp") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let answers = at(VENDOR_IP);
    let _vendor = Sipp::vendor(dir.path(), "vendor_answer.xml", answers, Transport::Udp, free_port(), 100);
    let spec = VendorSpec { slug: "answers", rate: "0.004", addr: answers, transport: Transport::Udp };
    let carrier = Carrier::start(dir.path(), &[spec], false);
    for transport in [Transport::Udp, Transport::Tcp] {
        let calls = customer_call(&carrier, transport, Some(("pbx1", PASSWORD)));
        Sipp::calls(dir.path(), &calls).finish(Duration::from_secs(30));
    }
    let calls = carrier.calls(2);
    assert_eq!(calls.iter().filter(|c| c["outcome"] == "answered").count(), 2, "{calls:#?}");
    let record = carrier.call(calls[0]["id"].as_str().expect("id"));
    assert_eq!(record["record"]["ingress_user"], "pbx1");
    // Each call was challenged (at least) once, and answered rightly once.
    let url = format!("http://{}/metrics", carrier.launched.addr("ops"));
    let counted = poll_until(Duration::from_secs(10), || {
        let text = ureq::get(&url).call().ok()?.body_mut().read_to_string().ok()?;
        let value = |result: &str| {
            let name = format!("warp_sip_auth_total{{result=\"{result}\"}} ");
            text.lines().find_map(|l| l.strip_prefix(&name)?.parse::<f64>().ok())
        };
        (value("ok")? == 2.0 && value("challenge")? >= 2.0).then_some(())
    });
    assert!(counted.is_some(), "warp_sip_auth_total does not tell of two sign-ins");
}

/// PRODUCT §6: a change reaches the proxy within a second, and calls in the air do not notice.
#[test]
fn a_disabled_trunk_is_refused_at_once_and_its_call_in_the_air_goes_on() {
    if !have("sipp", "a_disabled_trunk_is_refused_at_once") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let answers = at(VENDOR_IP);
    let _vendor = Sipp::vendor(dir.path(), "vendor_answer.xml", answers, Transport::Udp, free_port(), 100);
    let spec = VendorSpec { slug: "answers", rate: "0.004", addr: answers, transport: Transport::Udp };
    let carrier = Carrier::start(dir.path(), &[spec], true);
    let mut long = customer_call(&carrier, Transport::Udp, None);
    long.talk = Duration::from_secs(15);
    let long = Sipp::calls(dir.path(), &long);
    await_live_calls(&carrier, 1);

    let trunk = format!("/trunks/{}", carrier.trunk);
    carrier.customer.ok("PATCH", &trunk, Some(&json!({"name": "pbx", "status": "disabled"})));
    // One short call after the other, until the ledger has one that was refused because of the trunk.
    let mut tries = 0;
    let mut short_call = || {
        let mut short = customer_call(&carrier, Transport::Udp, None);
        short.talk = Duration::from_millis(50);
        let mut sipp = Sipp::calls(dir.path(), &short);
        poll_until(Duration::from_secs(20), || (!sipp.running()).then_some(())).expect("SIPp ends");
        tries += 1;
        // The long one is in the air: it has no record yet.
        carrier.calls(tries)
    };
    let refused = poll_until(Duration::from_secs(15), || {
        short_call().into_iter().find(|call| call["internal_code"] == "trunk_disabled")
    });
    let refused = refused.unwrap_or_else(|| panic!("still carried\n{}", carrier.launched.log_tail()));
    assert_eq!((&refused["outcome"], &refused["sip_code"]), (&json!("rejected"), &json!(403)), "{refused:#}");
    assert!(refused["vendor_id"].is_null() && refused["price"].is_null(), "{refused:#}");
    // From then on none is carried.
    let after = short_call();
    assert_eq!(after[0]["internal_code"], "trunk_disabled", "{:#}", after[0]);
    long.finish(Duration::from_secs(40));
    let all = carrier.calls(after.len() + 1);
    let long = all.iter().find(|call| call["duration_ms"].as_u64() > Some(10_000)).expect("the long call");
    assert_eq!(long["outcome"], "answered", "it went on: {long:#}");
}

/// A vendor that answers every INVITE with a redirection to `node`, until its socket gets `stop`.
fn redirecting_vendor(at: SocketAddr, node: SocketAddr) -> std::thread::JoinHandle<()> {
    let socket = UdpSocket::bind(at).expect("a free port");
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text == "stop" {
                return;
            }
            if text.starts_with("INVITE ") {
                let moved = final_of(&text, "302 Moved Temporarily", &format!("Contact: <sip:{node}>\r\n"));
                socket.send_to(moved.as_bytes(), from).expect("sent");
            }
        }
    })
}

/// A final response without a body to a request as it came; `more` are further header lines.
fn final_of(request: &str, status: &str, more: &str) -> String {
    let kept = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    let head: String = request
        .lines()
        .filter(|l| kept.iter().any(|k| l.starts_with(k)))
        .map(|l| if l.starts_with("To:") { format!("{l};tag=r\r\n") } else { format!("{l}\r\n") })
        .collect();
    format!("SIP/2.0 {status}\r\n{head}{more}Content-Length: 0\r\n\r\n")
}

/// Places one short call; the newest of the `placed` calls, and the status and address of each of its legs.
fn placed_call(carrier: &Carrier, dir: &Path, placed: usize) -> (Value, Vec<(i64, String)>) {
    let mut call = customer_call(carrier, Transport::Udp, None);
    call.talk = Duration::from_millis(50);
    Sipp::calls(dir, &call).finish(Duration::from_secs(30));
    let newest = carrier.calls(placed).swap_remove(0);
    let record = carrier.call(newest["id"].as_str().expect("id"))["record"].take();
    let legs = record["legs"].as_array().expect("legs").iter();
    let legs = legs
        .map(|l| (l["sip_code"].as_i64().unwrap_or(-1), l["egress_ip"].as_str().unwrap_or("").to_owned()))
        .collect();
    (newest, legs)
}

/// A vendor that never answers OPTIONS, and an INVITE, with 503, only while it is `alive`; it ends with its socket's word `stop`.
fn vendor_without_options(at: SocketAddr, alive: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let socket = UdpSocket::bind(at).expect("a free port");
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text == "stop" {
                return;
            }
            if text.starts_with("INVITE ") && alive.load(Ordering::SeqCst) {
                let refused = final_of(&text, "503 Service Unavailable", "");
                socket.send_to(refused.as_bytes(), from).expect("sent");
            }
        }
    })
}

/// Issue 6 §6: a vendor that ignores OPTIONS is back by hand. Its trunk is really down: it was silent to a call, its rest is long, and
/// nothing that it does by itself brings it back before that.
#[test]
fn f_net_02_warp_vendors_reset_brings_a_trunk_back_that_is_really_down() {
    if !have("sipp", "warp_vendors_reset") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    // Addresses of their own, so that legs tell the two apart.
    let (silent, dearer) = (at([127, 0, 0, 13]), at(VENDOR_IP));
    let alive = Arc::new(AtomicBool::new(false));
    let vendor = vendor_without_options(silent, Arc::clone(&alive));
    let _dearer = Sipp::vendor(dir.path(), "vendor_answer.xml", dearer, Transport::Udp, free_port(), 100);
    let spec = |slug, rate, addr| VendorSpec { slug, rate, addr, transport: Transport::Udp };
    let specs = [spec("silent", "0.001", silent), spec("dearer", "0.004", dearer)];
    let more = ["sip.trunk_down_after=1".to_owned(), "sip.trunk_down_for=10m".to_owned()];
    let carrier = Carrier::start_with(dir.path(), &specs, true, &more);
    let warp = |args: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_warp"))
            .args(args)
            .current_dir(dir.path())
            .env("WARP_API_URL", format!("http://{}", carrier.launched.addr("api")))
            .env("WARP_API_KEY", &carrier.launched.ready["operator_key"])
            .output()
            .expect("warp runs");
        let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        (out.status.code(), text)
    };
    let health = || {
        let (code, text) = warp(&["vendor-trunks", "health"]);
        assert_eq!(code, Some(0), "{text}");
        text.lines().find(|l| l.contains("silent")).expect("its line").to_owned()
    };
    assert!(health().ends_with(" up"), "{}", health());
    let ip = |of: SocketAddr| of.ip().to_string();
    let (_, legs) = placed_call(&carrier, dir.path(), 1);
    assert_eq!(legs, [(408, ip(silent)), (200, ip(dearer))], "silence costs it the call");
    let down = poll_until(Duration::from_secs(30), || Some(health()).filter(|line| line.contains(" down: ")));
    let down = down.unwrap_or_else(|| panic!("it is not down: {}", health()));
    assert!(down.contains("tried again in 5") || down.contains("tried again in 6"), "600 s or less: {down}");
    // It would take calls again, and nobody asks it but with OPTIONS, which it does not answer.
    alive.store(true, Ordering::SeqCst);
    let (_, legs) = placed_call(&carrier, dir.path(), 2);
    assert_eq!(legs, [(200, ip(dearer))], "it rests");
    let (code, text) = warp(&["vendors", "reset", "silent"]);
    assert!(
        code == Some(0) && text.contains("silent") && text.trim_end().ends_with(" up"),
        "{code:?} {text}"
    );
    let (_, legs) = placed_call(&carrier, dir.path(), 3);
    assert_eq!(legs, [(503, ip(silent)), (200, ip(dearer))], "from the next call on");
    let (code, text) = warp(&["vendors", "reset", "nobody"]);
    assert!(code == Some(2) && text.contains("there is no vendor \"nobody\""), "{code:?} {text}");
    UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(b"stop", silent)).expect("sent");
    vendor.join().expect("the silent vendor ends");
}

/// PRODUCT §6: a vendor's redirection is the next vendor's turn, until its trunk says by API that it is followed, and to which nodes.
#[test]
fn a_redirection_is_followed_once_the_vendors_trunk_says_so() {
    if !have("sipp", "a_redirection_is_followed") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    const NODE_IP: [u8; 4] = [127, 0, 0, 12];
    let (door, node, dearer) = (at(VENDOR_IP), at(NODE_IP), at(VENDOR_IP));
    let redirecting = redirecting_vendor(door, node);
    let _node = Sipp::vendor(dir.path(), "vendor_answer.xml", node, Transport::Udp, free_port(), 100);
    let _dearer = Sipp::vendor(dir.path(), "vendor_answer.xml", dearer, Transport::Udp, free_port(), 100);
    let spec = |slug, rate, addr| VendorSpec { slug, rate, addr, transport: Transport::Udp };
    let specs = [spec("redirects", "0.001", door), spec("dearer", "0.004", dearer)];
    let carrier = Carrier::start(dir.path(), &specs, true);
    let mut placed = 0;
    let mut call = || {
        placed += 1;
        placed_call(&carrier, dir.path(), placed)
    };
    let ip = |ip: [u8; 4]| std::net::IpAddr::from(ip).to_string();
    // Nothing was said: the next vendor.
    let (first, legs) = call();
    assert_eq!(first["vendor_id"], carrier.vendors[1].as_str(), "{first:#}");
    assert_eq!(legs, [(302, ip(VENDOR_IP)), (200, ip(VENDOR_IP))]);

    let trunks = carrier.admin.get(&format!("/admin/vendor-trunks?vendor={}", carrier.vendors[0]));
    let trunk = format!("/admin/vendor-trunks/{}", trunks[0]["id"].as_str().expect("id"));
    let nodes = json!({"signalling_ips": [ip(NODE_IP)], "follow_redirects": true});
    carrier.admin.ok("PATCH", &trunk, Some(&nodes));
    // Within a second its redirections are followed, at its own price.
    let followed = poll_until(Duration::from_secs(10), || {
        Some(call()).filter(|(call, _)| call["vendor_id"] == carrier.vendors[0].as_str())
    });
    let (followed, legs) =
        followed.unwrap_or_else(|| panic!("never followed\n{}", carrier.launched.log_tail()));
    assert_eq!(legs, [(302, ip(VENDOR_IP)), (200, ip(NODE_IP))]);
    assert_eq!(followed["outcome"], "answered", "{followed:#}");
    assert_eq!(followed["cost"], json!({"amount": "0.0001", "currency": "USD"}), "{followed:#}");
    UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(b"stop", door)).expect("sent");
    redirecting.join().expect("the redirecting vendor ends");
}

/// F-CFG-02: the configuration is read again and again while calls are set up, talk and end. None is lost, a bad file changes
/// nothing, and what was read last holds for the next call.
#[test]
fn f_cfg_02_reloads_under_load_lose_no_call_and_the_next_call_sees_the_new_values() {
    if !have("sipp", "f_cfg_02_reloads_under_load") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let (refuses, answers) = (at(VENDOR_IP), at(VENDOR_IP));
    let _refusing = Sipp::vendor(dir.path(), "vendor_503.xml", refuses, Transport::Udp, free_port(), 1_000);
    let _vendor = Sipp::vendor(dir.path(), "vendor_answer.xml", answers, Transport::Udp, free_port(), 1_000);
    let spec = |slug, rate, addr| VendorSpec { slug, rate, addr, transport: Transport::Udp };
    let specs = [spec("refuses", "0.001", refuses), spec("answers", "0.004", answers)];
    let file = dir.path().join("warp.toml");
    let calm = "[sip]\nfirst_18x = \"20s\"\n[media]\nmedia_timeout_s = 60\n";
    std::fs::write(&file, calm).expect("file");
    let more = [format!("config={}", file.display()), "shards=2".into()];
    let carrier = Carrier::start_with(dir.path(), &specs, true, &more);
    let read = |text: &str, number: u64| {
        std::fs::write(&file, text).expect("file");
        stack::signal_pid(carrier.launched.pid(), "HUP");
        let outcome = poll_until(Duration::from_secs(10), || {
            let text = std::fs::read_to_string(dir.path().join("data/run/reload.json")).ok()?;
            let outcome: Value = serde_json::from_str(&text).ok()?;
            (outcome["number"] == number).then_some(outcome)
        });
        outcome.unwrap_or_else(|| panic!("reload {number} never came\n{}", carrier.launched.log_tail()))
    };

    let mut load = customer_call(&carrier, Transport::Udp, None);
    (load.count, load.per_second, load.talk) = (40, 20, Duration::from_millis(1_000));
    let mut load = Sipp::calls(dir.path(), &load);
    await_live_calls(&carrier, 5);
    let brisk = "[sip]\nfirst_18x = \"9s\"\nstranger_rate = 7\n[media]\nmedia_timeout_s = 30\n[api]\nkey_rate = 100\n";
    let mut reloads = 0;
    while load.running() {
        reloads += 1;
        let outcome = match reloads % 3 {
            0 => read("[sip]\nfirst_18x = \"soon\"\n", reloads),
            1 => read(brisk, reloads),
            _ => read(calm, reloads),
        };
        let errors = outcome["errors"].as_array().expect("errors").len();
        assert_eq!(errors, usize::from(reloads % 3 == 0), "{outcome}");
    }
    assert!(reloads >= 3, "{reloads} reloads while calls ran");
    load.finish(Duration::from_secs(30));
    let calls = carrier.calls(40);
    assert_eq!(calls.iter().filter(|c| c["outcome"] == "answered").count(), 40, "{calls:#?}");

    // One vendor for a call, and the first one refuses; a body of more than a kilobyte is too large.
    let outcome = read("[sip]\nmax_attempts = 1\n[api]\nbody_limit = \"1KiB\"\n", reloads + 1);
    let changes = outcome["changes"].to_string();
    assert!(
        changes.contains("sip.max_attempts: 5 -> 1") && changes.contains("api.body_limit: 1MiB -> 1KiB"),
        "{changes}"
    );
    let long = json!({"name": "x".repeat(2_000)});
    assert_eq!(carrier.customer.send("POST", "/trunks", Some(&long)).0, 413);
    let mut one = customer_call(&carrier, Transport::Udp, None);
    one.talk = Duration::from_millis(50);
    let mut one = Sipp::calls(dir.path(), &one);
    assert!(poll_until(Duration::from_secs(20), || (!one.running()).then_some(())).is_some());
    let refused = &carrier.calls(41)[0];
    assert_eq!((&refused["outcome"], &refused["sip_code"]), (&json!("failed"), &json!(503)), "{refused:#}");
}

/// F-PROC-01: kill −9 with calls in the air. Every call that was answered with 200 is in the ledger exactly once, those in
/// the air with the duration up to the last heartbeat.
#[test]
fn f_proc_01_kill_9_in_mid_call_loses_and_doubles_nothing() {
    if !have("sipp", "f_proc_01_kill_9_in_mid_call") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let answers = at(VENDOR_IP);
    let _vendor = Sipp::vendor(dir.path(), "vendor_answer.xml", answers, Transport::Udp, free_port(), 1_000);
    let spec = VendorSpec { slug: "answers", rate: "0.004", addr: answers, transport: Transport::Udp };
    let mut carrier = Carrier::start(dir.path(), &[spec], true);

    // Ten short calls that end before the kill, and ten long ones that are in the air.
    let mut short = customer_call(&carrier, Transport::Udp, None);
    (short.count, short.per_second, short.talk) = (10, 20, Duration::from_millis(300));
    Sipp::calls(dir.path(), &short).finish(Duration::from_secs(20));
    let mut long = customer_call(&carrier, Transport::Udp, None);
    (long.count, long.per_second, long.talk) = (10, 20, Duration::from_secs(60));
    let long = Sipp::calls(dir.path(), &long);
    await_live_calls(&carrier, 10);
    // At least two heartbeats of life.
    let begun = std::time::Instant::now();
    poll_until(Duration::from_secs(3), || (begun.elapsed() > Duration::from_millis(2_500)).then_some(()));
    let lived = begun.elapsed();

    carrier = carrier.kill_and_restart(dir.path());
    drop(long);
    let calls = carrier.calls(20);
    assert_eq!(calls.len(), 20, "each call once");
    let answered = calls.iter().filter(|c| c["outcome"] == "answered").count();
    assert_eq!(answered, 20);
    let recovered: Vec<&Value> = calls.iter().filter(|c| c["recovered"] == true).collect();
    assert_eq!(recovered.len(), 10, "{calls:#?}");
    for call in &recovered {
        let ms = call["duration_ms"].as_i64().expect("duration") as f64;
        let lived = lived.as_millis() as f64;
        assert!((lived - 1_300.0..lived + 1_500.0).contains(&ms), "{ms} ms recorded, {lived} ms lived");
        assert!(call["price"]["amount"].is_string(), "a recovered call is rated: {call:#}");
    }

    // And once more: a second start finds nothing to recover and posts nothing twice.
    carrier = carrier.kill_and_restart(dir.path());
    assert_eq!(carrier.calls(20).len(), 20);
}

/// T-SIP-06: who has used up a day's money gets no second one by a restart. What finished calls cost counts, and what calls cost that
/// the kill cut off.
#[test]
fn t_sip_06_what_was_spent_today_counts_after_kill_9() {
    if !have("sipp", "t_sip_06_what_was_spent_today_counts_after_kill_9") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let answers = at(VENDOR_IP);
    let _vendor = Sipp::vendor(dir.path(), "vendor_answer.xml", answers, Transport::Udp, free_port(), 100);
    let spec = VendorSpec { slug: "answers", rate: "0.004", addr: answers, transport: Transport::Udp };
    let mut carrier = Carrier::start(dir.path(), &[spec], true);
    let path = format!("/trunks/{}", carrier.trunk);
    let limit = |carrier: &Carrier, amount: &str| {
        let limit = json!({"daily_spend": {"amount": amount, "currency": "USD"}});
        carrier.customer.ok("PATCH", &path, Some(&limit));
    };
    // A minute is 0.012: that much is held while a call begins. Six seconds are 0.0012.
    limit(&carrier, "0.0125");
    let mut call = customer_call(&carrier, Transport::Udp, None);
    call.talk = Duration::from_millis(300);
    Sipp::calls(dir.path(), &call).finish(Duration::from_secs(20));
    assert_eq!(carrier.calls(1)[0]["price"]["amount"], "0.0012");

    let refused = |carrier: &Carrier, calls: usize| {
        let mut call = customer_call(carrier, Transport::Udp, None);
        call.talk = Duration::from_millis(300);
        let mut call = Sipp::calls(dir.path(), &call);
        assert!(poll_until(Duration::from_secs(20), || (!call.running()).then_some(())).is_some());
        let last = carrier.calls(calls)[0].clone();
        assert_eq!(
            (&last["outcome"], &last["sip_code"], &last["internal_code"]),
            (&json!("rejected"), &json!(403), &json!("daily_spend")),
            "{last:#}"
        );
    };
    carrier = carrier.kill_and_restart(dir.path());
    carrier.await_routable();
    refused(&carrier, 2);

    // Room for one more beginning; the kill comes while that call is in the air, and recovery ends and prices it.
    limit(&carrier, "0.0143");
    let in_force = poll_until(Duration::from_secs(15), || {
        let mut long = customer_call(&carrier, Transport::Udp, None);
        long.talk = Duration::from_secs(60);
        let mut long = Sipp::calls(dir.path(), &long);
        poll_until(Duration::from_secs(3), || (live_calls(&carrier) >= 1 || !long.running()).then_some(()));
        (live_calls(&carrier) >= 1).then_some(long)
    });
    let long = in_force.expect("a call within the raised limit");
    // At least two heartbeats of life.
    let begun = std::time::Instant::now();
    poll_until(Duration::from_secs(3), || (begun.elapsed() > Duration::from_millis(2_500)).then_some(()));
    let before = carrier.calls(2).len();
    carrier = carrier.kill_and_restart(dir.path());
    drop(long);
    let recovered = carrier.calls(before + 1)[0].clone();
    assert_eq!(
        (&recovered["recovered"], &recovered["price"]["amount"]),
        (&json!(true), &json!("0.0012")),
        "{recovered:#}"
    );
    carrier.await_routable();
    refused(&carrier, before + 2);
}

/// Calls in the air, from the metrics.
fn live_calls(carrier: &Carrier) -> u64 {
    let url = format!("http://{}/metrics", carrier.launched.addr("ops"));
    let Ok(mut answer) = ureq::get(&url).call() else { return 0 };
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    let confirmed = text.lines().find(|l| l.starts_with("warp_sip_dialogs{state=\"confirmed\"}"));
    let figure = confirmed.and_then(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
    figure.unwrap_or(0.0) as u64
}

/// Waits until so many calls are in the air.
fn await_live_calls(carrier: &Carrier, wanted: u64) {
    let up = poll_until(Duration::from_secs(15), || (live_calls(carrier) >= wanted).then_some(()));
    assert!(up.is_some(), "never {wanted} calls in the air\n{}", carrier.launched.log_tail());
}
