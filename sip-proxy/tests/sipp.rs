//! Interop: SIPp calls SIPp through the static proxy on two shards, over UDP and TCP, IPv4 and IPv6.
//! Without SIPp the tests are skipped with a line; under `CI=true` that is a failure.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use warp_sip::flow::Transport;
use warp_sip_proxy::core::{CoreConfig, Listener, Mode};
use warp_sip_proxy::{Config, Handles, MediaControl, Metrics, start};
use warp_telemetry::Registry;

const CALLS: &str = "200";
const DEADLINE: Duration = Duration::from_secs(90);

fn have_sipp() -> bool {
    if Command::new("sipp").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        return true;
    }
    println!("skipped: no sipp on this machine");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "sipp is missing under CI");
    false
}

/// Ends its process when dropped.
struct Sipp(Child, PathBuf);

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sipp(dir: &Path, scenario: &str, transport: &str, local: SocketAddr, more: &[&str]) -> Sipp {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadtests/sipp");
    let log = dir.join(format!("{scenario}.log"));
    let out = std::fs::File::create(&log).unwrap();
    let child = Command::new("sipp")
        .arg("-sf")
        .arg(scenarios.join(scenario))
        .args(["-t", transport, "-i", &local.ip().to_string(), "-p", &local.port().to_string()])
        .args(["-nostdin", "-timeout", "80"])
        .args(more)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    Sipp(child, log)
}

/// A port that is free on both transports now.
fn free(ip: &str) -> SocketAddr {
    loop {
        let udp = UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
        let addr = udp.local_addr().unwrap();
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// True once the port is taken: SIPp listens. Read from the kernel's tables: a bind tried here would hold the port at the very
/// moment when SIPp wants it.
fn taken(transport: &str, addr: SocketAddr) -> bool {
    let (table, state) = match (transport.starts_with('u'), addr.is_ipv4()) {
        (true, true) => ("/proc/net/udp", "07"),
        (true, false) => ("/proc/net/udp6", "07"),
        (false, true) => ("/proc/net/tcp", "0A"),
        (false, false) => ("/proc/net/tcp6", "0A"),
    };
    let port = format!(":{:04X}", addr.port());
    std::fs::read_to_string(table).unwrap().lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1).is_some_and(|local| local.ends_with(&port)) && words.get(3) == Some(&state)
    })
}

fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !ready() {
        assert!(begin.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

fn calls_through(ip: &str, transport: &str) {
    if !have_sipp() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Without a number of calls: a repeated INVITE that comes late counts as one, and the callee would end too early.
    let callee = (0..5).find_map(|_| {
        let addr = free(ip);
        let mut uas = sipp(dir.path(), "proxy_uas.xml", transport, addr, &[]);
        let mut ended = || uas.0.try_wait().unwrap().is_some();
        wait_for("the callee listens", || taken(transport, addr) || ended());
        // It ends when somebody was quicker at its port.
        (!ended()).then_some((uas, addr))
    });
    let (uas, callee) = callee.expect("a port for the callee");
    let caller = free(ip);
    let any = SocketAddr::new(ip.parse().unwrap(), 0);
    let listener = |transport| Listener { transport, bind: any, advertise: None };
    let mode = Mode::Static { next: callee, trusted: vec![ip.parse().unwrap()] };
    let core = CoreConfig::new(mode, vec![listener(Transport::Udp), listener(Transport::Tcp)]);
    let mut config = Config::new(core);
    config.shards = 2;
    let registry = Registry::new();
    let handles = Handles {
        snapshots: None,
        media: MediaControl::None,
        state: None,
        journal: None,
        capture: None,
        spent: Vec::new(),
        seed: [5; 32],
        metrics: Metrics::register(&registry),
    };
    let proxy = start(config, handles).unwrap();
    let to = if transport.starts_with('u') { proxy.udp_addr() } else { proxy.tcp_addr() }.unwrap();

    let mut uac = sipp(
        dir.path(),
        "proxy_uac.xml",
        transport,
        caller,
        &[&to.to_string(), "-m", CALLS, "-r", "100", "-d", "20", "-s", "100"],
    );
    // SIPp ends itself after 80 s.
    let status = uac.0.wait().unwrap();
    let read = |s: &Sipp| {
        let text = std::fs::read(&s.1).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(6_000)..]).into_owned()
    };
    assert!(status.success(), "{status:?}\n{}\n{}", read(&uac), read(&uas));
    proxy.stop();
    let metrics = registry.render();
    for line in [
        "warp_sip_panics_total 0",
        "warp_sip_mailbox_full_total 0",
        "warp_sip_dropped_total{reason=\"malformed\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    let name = if transport.starts_with('u') { "udp" } else { "tcp" };
    let answered =
        format!("warp_sip_requests_total{{method=\"BYE\",direction=\"egress\",transport=\"{name}\"}} ");
    let byes = metrics.lines().find_map(|l| l.strip_prefix(&answered)).unwrap_or("0");
    assert!(byes.parse::<u64>().unwrap() >= CALLS.parse().unwrap(), "{byes} BYEs over {name}");
}

#[test]
fn sipp_calls_sipp_over_udp() {
    calls_through("127.0.0.1", "u1");
}

#[test]
fn sipp_calls_sipp_over_tcp() {
    calls_through("127.0.0.1", "t1");
}

#[test]
fn sipp_calls_sipp_over_udp_and_ipv6() {
    calls_through("::1", "u1");
}
