//! The launch contract (`loadtests/README.md`): one ready line, traffic at once, exit 0 at once on SIGINT and SIGTERM.

mod stack;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use stack::sipp::{Calls, Sipp, Transport};
use stack::{Launched, free_port, have, poll_until};

fn local(port: u16) -> SocketAddr {
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
        (vec!["registrar", "tls=127.0.0.1:0"], "cert="),
        (vec!["registrar", "redis=http://127.0.0.1:1/0"], "redis://HOST:PORT/DB"),
        (vec!["registrar", "redis=redis-cluster://127.0.0.1:1/0"], "redis://HOST:PORT/DB"),
        (vec!["registrar", "redis=redis://127.0.0.1:1/0", "mode=sometimes"], "through or behind"),
        (vec!["registrar", "mode=through"], "redis="),
        (vec!["proxy", "next=127.0.0.1:1", "redis=redis://127.0.0.1:1/0"], "redis"),
        (vec!["proxy", "lisen=127.0.0.1:5060"], "lisen"),
        (vec!["media", "ng=here"], "here"),
        (vec!["media", "ng=0.0.0.0:2223", "ip=127.0.0.1"], "ng=0.0.0.0"),
        (vec!["media", "ng=127.0.0.1:0", "ports=40000-39000"], "warp: ports: "),
        (vec!["proxy", "listen=127.0.0.1:0", "next=127.0.0.1:9", "shards=0"], "shards=0: 1 to 255"),
        (vec!["registrar", "listen=127.0.0.1:0", "shards=256"], "shards=256: 1 to 255"),
        (
            vec!["proxy", "listen=127.0.0.1:0", "next=localhost:5060"],
            "next=localhost:5060: an address and a port",
        ),
        (vec!["registrar", "listen=:5060"], "listen=:5060: an address and a port"),
        (vec!["smsc", "upstream=carrier:2775"], "upstream=carrier:2775: an address and a port"),
        (vec!["smsc", "upstream=127.0.0.1:9", "queue=amqp://h"], "the only engine is embedded"),
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

/// `rtpengine-cli --help | head -1`: the reader is gone before the end.
#[test]
fn help_into_a_closed_pipe_is_no_panic() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let out = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtests/rtpengine-cli"))
        .arg("--help")
        .env("WARP_BIN", env!("CARGO_BIN_EXE_warp"))
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .output()
        .expect("rtpengine-cli runs");
    assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(0), ""));
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

/// SIPp registers by digest and is called; all listeners stand in the ready line with their real ports. F-REDIS-01: that no Redis is there
/// keeps nobody from anything.
#[test]
fn registrar_takes_sipps_phones_and_names_its_listeners() {
    let test = "registrar_takes_sipps_phones_and_names_its_listeners";
    if !(have("sipp", test) && have("openssl", test)) {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=127.0.0.1", "-keyout", &file("key.pem"), "-out", &file("cert.pem")])
        .stderr(Stdio::null())
        .status();
    assert!(made.is_ok_and(|s| s.success()), "a certificate");
    let any = "127.0.0.1:0";
    let mut args: Vec<String> =
        ["listen", "tls", "ws", "wss"].iter().map(|key| format!("{key}={any}")).collect();
    args.extend([
        format!("cert={}", file("cert.pem")),
        format!("key={}", file("key.pem")),
        "shards=2".into(),
    ]);
    args.push(format!("redis=redis://{}/0", local(free_port())));
    let launched = Launched::start("registrar", &args, &dir.path().join("registrar.log"));
    assert_eq!((&launched.ready["domain"][..], &launched.ready["shards"][..]), ("carrier.test", "2"));
    for key in ["listen", "tls", "ws", "wss"] {
        let at = launched.addr(key);
        assert_ne!(at.port(), 0, "{key}");
        assert!(std::net::TcpStream::connect(at).is_ok(), "{key}: nobody listens on {at}");
    }
    let (us, phone) = (launched.addr("listen"), local(free_port()));
    let within = Duration::from_secs(60);
    Sipp::register(dir.path(), us, "100", phone, 300).finish(within);
    let answering = Sipp::vendor(dir.path(), "vendor_answer.xml", phone, Transport::Udp, free_port(), 10);
    let calls = Calls {
        scenario: "customer_call.xml",
        to: us,
        local: local(free_port()),
        transport: Transport::Udp,
        caller: "200",
        called: "100",
        talk: Duration::from_millis(100),
        count: 10,
        per_second: 10,
        auth: None,
    };
    Sipp::calls(dir.path(), &calls).finish(within);
    answering.finish(within);
    Sipp::register(dir.path(), us, "100", phone, 0).finish(within);
    let (code, rest) = launched.signal_and_wait("TERM", Duration::from_secs(30));
    assert_eq!((code, rest), (Some(0), Vec::new()));
}

/// A socket that waits at most five seconds for a datagram.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(local(free_port())).expect("socket");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("time-out");
    socket
}

fn received(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (n, from) = socket.recv_from(&mut buffer).expect("a datagram in time");
    (String::from_utf8_lossy(&buffer[..n]).into_owned(), from)
}

/// The first datagram that begins with `word`.
fn next_of(socket: &UdpSocket, word: &str) -> String {
    std::iter::repeat_with(|| received(socket).0).find(|text| text.starts_with(word)).expect("endless")
}

fn request(from: &UdpSocket, line: &str, branch: u32, to_tag: &str, routes: &[&str]) -> String {
    let at = from.local_addr().expect("address");
    let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
    let method = line.split(' ').next().unwrap_or_default();
    format!(
        "{line} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{branch}\r\nMax-Forwards: 70\r\n{routes}\
         From: <sip:alice@atlanta.example.com>;tag=a\r\nTo: <sip:bob@biloxi.example.com>{to_tag}\r\n\
         Call-ID: outbound-1\r\nCSeq: {branch} {method}\r\nContact: <sip:alice@{at}>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Suites that work by messages set the way out, not the Request-URI: everything that is no dialog of ours goes there.
#[test]
fn with_outbound_requests_go_there_whatever_their_uri_and_route_say() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (caller, callee, elsewhere) = (socket(), socket(), socket());
    let proxy = local(free_port());
    let out = callee.local_addr().expect("address");
    let args = [format!("listen={proxy}"), format!("outbound={out}")];
    let launched = Launched::start("proxy", &args, &dir.path().join("proxy.log"));
    assert_eq!((launched.addr("outbound"), launched.addr("next")), (out, out));

    let other = elsewhere.local_addr().expect("address");
    let route = format!("<sip:{other};lr>");
    let uris = [
        "sip:bob@biloxi.example.com".to_owned(),
        format!("sip:bob@{other}"),
        format!("sip:{proxy}"),
        "tel:+14155550123".to_owned(),
    ];
    for (branch, uri) in (1..).zip(&uris) {
        let line = format!("OPTIONS {uri}");
        caller.send_to(request(&caller, &line, branch, "", &[&route]).as_bytes(), proxy).expect("sent");
        let copy = next_of(&callee, &line);
        assert!(copy.contains(&format!("Route: {route}\r\n")), "{copy}");
        assert!(copy.contains(&format!("SIP/2.0/UDP {proxy};branch=")), "{copy}");
    }

    // A dialog of ours goes where it leads: its target is at another address here.
    let invite = request(&caller, "INVITE sip:bob@biloxi.example.com", 100, "", &[]);
    caller.send_to(invite.as_bytes(), proxy).expect("sent");
    let copy = next_of(&callee, "INVITE");
    let kept =
        |name: &str| copy.lines().filter(move |l| l.starts_with(name)).collect::<Vec<_>>().join("\r\n");
    let record_route = kept("Record-Route");
    let (vias, from, call_id) = (kept("Via"), kept("From"), kept("Call-ID"));
    let ok = format!(
        "SIP/2.0 200 OK\r\n{vias}\r\n{record_route}\r\n{from}\r\nTo: <sip:bob@biloxi.example.com>;tag=b\r\n{call_id}\r\n\
         CSeq: 100 INVITE\r\nContact: <sip:bob@{other}>\r\nContent-Length: 0\r\n\r\n"
    );
    callee.send_to(ok.as_bytes(), proxy).expect("sent");
    next_of(&caller, "SIP/2.0 200");
    let ours = record_route.split_once(": ").expect("Record-Route").1.to_owned();
    let bye = request(&caller, &format!("BYE sip:bob@{other}"), 101, ";tag=b", &[&ours]);
    caller.send_to(bye.as_bytes(), proxy).expect("sent");
    assert!(next_of(&elsewhere, "BYE").contains("CSeq: 101 BYE"));
    // The same without our route is none.
    let stray = request(&caller, &format!("BYE sip:bob@{other}"), 102, ";tag=b", &[]);
    caller.send_to(stray.as_bytes(), proxy).expect("sent");
    assert!(next_of(&callee, "BYE").contains("CSeq: 102 BYE"));
}

/// An ng client over UDP, in bencode.
struct Ng {
    socket: UdpSocket,
    at: SocketAddr,
    sent: u32,
}

impl Ng {
    fn new(at: SocketAddr) -> Ng {
        let socket = socket();
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("time-out");
        Ng { socket, at, sent: 0 }
    }

    fn ask(&mut self, keys: &[(&str, &str)]) -> String {
        self.ask_with(keys, "")
    }

    fn describe(&mut self, command: &str, direction: &str, phone: &UdpSocket) -> String {
        let at = phone.local_addr().expect("address");
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
            at.port(),
            ip = at.ip()
        );
        let mut keys = vec![("call-id", "c1"), ("command", command), ("from-tag", "a"), ("sdp", &sdp)];
        if command == "answer" {
            keys.push(("to-tag", "b"));
        }
        let mut whole = self.ask_with(&keys, direction);
        whole.drain(..whole.find("v=0").unwrap_or_else(|| panic!("no SDP in {whole}")));
        whole
    }

    /// One command with keys and texts, and a `direction` list when it is not empty; repeated until it is answered.
    fn ask_with(&mut self, keys: &[(&str, &str)], direction: &str) -> String {
        let text = |t: &str| format!("{}:{t}", t.len());
        let mut body: String = keys.iter().map(|(key, value)| text(key) + &text(value)).collect();
        if !direction.is_empty() {
            let list: String = direction.split(' ').map(text).collect();
            body.push_str(&format!("9:directionl{list}e"));
        }
        self.sent += 1;
        let datagram = format!("{}_c d{body}e", self.sent);
        let mut buffer = vec![0; 65_536];
        let n = poll_until(Duration::from_secs(10), || {
            self.socket.send_to(datagram.as_bytes(), self.at).ok()?;
            self.socket.recv(&mut buffer).ok()
        });
        String::from_utf8_lossy(&buffer[..n.expect("an answer to ng")]).into_owned()
    }
}

/// Port of the first `m=` line.
fn media_port(sdp: &str) -> u16 {
    let line = sdp.split("m=audio ").nth(1).unwrap_or_else(|| panic!("no m= in {sdp}"));
    line.split(' ').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// `lenient=on`: a known peer's display name may break the grammar as long as it can be delimited; by default it is 400.
#[test]
fn a_known_peer_may_be_sloppy_where_lenient_is_on() {
    let dir = tempfile::tempdir().expect("tempdir");
    for lenient in [None, Some("off"), Some("on")] {
        let (caller, callee, proxy) = (socket(), socket(), local(free_port()));
        let next = callee.local_addr().expect("address");
        let mut args = vec![format!("listen={proxy}"), format!("next={next}"), "trusted=127.0.0.1".into()];
        args.extend(lenient.map(|word| format!("lenient={word}")));
        let launched = Launched::start("proxy", &args, &dir.path().join("proxy.log"));
        let invite = request(&caller, &format!("INVITE sip:bob@{proxy}"), 1, "", &[]);
        let sloppy = invite.replace("From: <", "From: O'Neil (Sales) <");
        caller.send_to(sloppy.as_bytes(), proxy).expect("sent");
        if lenient == Some("on") {
            assert!(next_of(&callee, "INVITE").contains("\r\nFrom: O'Neil (Sales) <sip:alice@"));
        } else {
            assert!(next_of(&caller, "SIP/2.0 ").starts_with("SIP/2.0 400 "), "{lenient:?}");
        }
        let (code, _) = launched.signal_and_wait("TERM", Duration::from_secs(30));
        assert_eq!(code, Some(0));
    }
}

/// The relay's addresses as rtpengine writes them: names for `direction`, and the address that others see.
#[test]
fn the_media_profile_knows_interfaces_by_name() {
    let dir = tempfile::tempdir().expect("tempdir");
    let at = local(free_port());
    let args = [
        format!("ng={at}"),
        "interface=pub/127.0.0.1!198.51.100.7".into(),
        "interface=priv/127.0.0.2".into(),
        "interface=far/198.51.100.77".into(),
        "ports=26600-26799".into(),
    ];
    let log = dir.path().join("media.log");
    let launched = Launched::start("media", &args, &log);
    // An address that this machine does not have is told, at once and by name; the others serve.
    let told = std::fs::read_to_string(&log).expect("the log");
    let lines: Vec<&str> = told.lines().filter(|l| l.contains("none of this machine")).collect();
    assert!(
        matches!(lines.as_slice(), [one] if one.contains("far") && one.contains("198.51.100.77")),
        "{told}"
    );
    let (mut ng, phone) = (Ng::new(at), socket());
    let offered = ng.describe("offer", "priv pub", &phone);
    assert!(offered.contains("c=IN IP4 198.51.100.7\r\n"), "{offered}");
    assert!((26_600..=26_799).contains(&media_port(&offered)), "{offered}");
    let answered = ng.describe("answer", "", &phone);
    assert!(answered.contains("c=IN IP4 127.0.0.2\r\n"), "{answered}");
    let (code, _) = launched.signal_and_wait("INT", Duration::from_secs(30));
    assert_eq!(code, Some(0));
}

/// Starts `loadtests/rtpengine-cli` with `args`; gives the process once it is ready.
fn rtpengine_cli(args: &[String], log: &Path, environment: &[(&str, &Path)]) -> std::process::Child {
    rtpengine_cli_within(None, args, log, environment)
}

/// The same in a process that may open so many files.
fn rtpengine_cli_within(
    descriptors: Option<u32>,
    args: &[String],
    log: &Path,
    environment: &[(&str, &Path)],
) -> std::process::Child {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = stack::command_within(descriptors, &root.join("loadtests/rtpengine-cli"));
    command
        .args(args)
        .env("WARP_BIN", env!("CARGO_BIN_EXE_warp"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command.envs(environment.iter().copied()).stderr(std::fs::File::create(log).expect("log"));
    let mut child = command.spawn().expect("rtpengine-cli runs");
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
    assert!(line.starts_with("ready profile=rtpengine"), "{line:?} {}", stack::tail(log));
    child
}

fn ends_with_0_on_int(mut child: std::process::Child, log: &Path) {
    stack::signal_pid(child.id(), "INT");
    let code = poll_until(Duration::from_secs(30), || child.try_wait().expect("wait"));
    assert_eq!(code.and_then(|c| c.code()), Some(0), "{}", stack::tail(log));
}

#[test]
fn rtpengine_cli_takes_the_command_line_of_rtpengine() {
    let dir = tempfile::tempdir().expect("tempdir");
    let log = dir.path().join("relay.log");
    let pidfile = dir.path().join("relay.pid");
    let port = free_port();
    let args = [
        "--config-file=none",
        "-t",
        "-1",
        "-i",
        "pub/127.0.0.1!198.51.100.7",
        "--interface=priv/127.0.0.2",
        "-n",
        &port.to_string(),
        "-m",
        "26000",
        "--port-max",
        "26199",
        "--num-threads=2",
        "-f",
        "-E",
        "-L",
        "4",
        "-c",
        "12345",
        "--silence-detect=1",
        "--log-mark-prefix",
        "X",
        "--surely-unknown",
        "-p",
        &pidfile.display().to_string(),
    ]
    .map(str::to_owned);
    let child = rtpengine_cli(&args, &log, &[]);
    assert_eq!(std::fs::read_to_string(&pidfile).expect("pidfile").trim(), child.id().to_string());
    // A port alone is on loopback (T-NG-01).
    let mut ng = Ng::new(local(port));
    assert!(ng.ask(&[("command", "ping")]).contains("4:pong"));
    let phone = socket();
    let offered = ng.describe("offer", "priv pub", &phone);
    assert!(offered.contains("c=IN IP4 198.51.100.7\r\n"), "{offered}");
    assert!((26_000..=26_199).contains(&media_port(&offered)), "{offered}");
    let answered = ng.describe("answer", "", &phone);
    assert!(answered.contains("c=IN IP4 127.0.0.2\r\n"), "{answered}");
    let said = std::fs::read_to_string(&log).expect("log");
    for name in ["-c", "--silence-detect", "--log-mark-prefix", "--surely-unknown"] {
        assert!(said.lines().next().unwrap_or_default().contains(name), "{name} in {said}");
    }
    assert!(!said.contains("12345") && !said.contains(" X"), "values belong to their options: {said}");
    ends_with_0_on_int(child, &log);
}

#[test]
fn rtpengine_cli_knows_every_option_of_the_installed_rtpengine() {
    if !have("rtpengine", "rtpengine_cli_knows_every_option_of_the_installed_rtpengine") {
        return;
    }
    let help = Command::new("rtpengine").arg("--help").output().expect("rtpengine runs");
    let ours =
        Command::new(env!("CARGO_BIN_EXE_warp")).args(["launch", "rtpengine", "--", "--help"]).output();
    let ours = String::from_utf8_lossy(&ours.expect("warp runs").stdout).into_owned();
    let theirs = String::from_utf8_lossy(&help.stdout).into_owned();
    let names: Vec<&str> =
        theirs.split_whitespace().filter_map(|w| w.strip_prefix("--")?.split('=').next()).collect();
    assert!(names.len() > 100, "{theirs}");
    for name in names {
        assert!(ours.split_whitespace().any(|w| w.strip_prefix("--") == Some(name)), "--{name} is not known");
    }
}

/// Lines of a log that say `what`.
fn lines_with(log: &Path, what: &str) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter(|l| l.contains(what)).map(str::to_owned).collect()
}

/// What runs out is said once, with how much of it there is: not never, and not with each refusal.
#[test]
fn f_proc_07_what_a_relay_runs_out_of_is_one_line() {
    let dir = tempfile::tempdir().expect("tempdir");
    // Eight ports are two calls; one session is one call; forty descriptors are a few calls, whatever the ports.
    for (name, more, descriptors, line, facts) in [
        (
            "ports",
            vec!["--port-max=26407"],
            None,
            "media ports are exhausted",
            vec!["\"used\":4", "\"resting\":0", "\"total\":4"],
        ),
        (
            "sessions",
            vec!["--port-max=26599", "--max-sessions=1"],
            None,
            "media sessions are exhausted",
            vec!["\"limit\":1"],
        ),
        (
            "descriptors",
            vec!["--port-max=26599"],
            Some(40),
            "no descriptors for media ports",
            vec!["ulimit -n"],
        ),
    ] {
        let log = dir.path().join(format!("{name}.log"));
        let port = free_port();
        let mut args: Vec<String> =
            ["-i", "127.0.0.1", "-m", "26400", "-n", &port.to_string()].map(str::to_owned).to_vec();
        args.extend(more.iter().map(|m| (*m).to_owned()));
        let child = rtpengine_cli_within(descriptors, &args, &log, &[]);
        let mut ng = Ng::new(local(port));
        let phone = socket();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
            phone.local_addr().expect("address").port()
        );
        let mut refused = 0;
        for n in 0..60 {
            let id = format!("c{n}");
            let keys = [("call-id", id.as_str()), ("command", "offer"), ("from-tag", "a"), ("sdp", &sdp)];
            refused += usize::from(!ng.ask(&keys).contains("m=audio"));
        }
        assert!((20..60).contains(&refused), "{name}: {refused} of 60 refused");
        let said = poll_until(Duration::from_secs(10), || {
            Some(lines_with(&log, line)).filter(|lines| !lines.is_empty())
        });
        let said = said.unwrap_or_else(|| panic!("{name}: nothing is said: {}", stack::tail(&log)));
        assert_eq!(said.len(), 1, "{name}: {said:#?}");
        for fact in facts {
            assert!(said[0].contains(fact), "{name}: {fact} in {}", said[0]);
        }
        // What runs out are descriptors for ports: a sixteenth is left to records, connections and the API.
        if let Some(limit) = descriptors {
            let open = std::fs::read_dir(format!("/proc/{}/fd", child.id())).expect("a process").count();
            assert!((30..=limit as usize - 2).contains(&open), "{open} of {limit} are open");
        }
        // And nothing else is said of it, least of all that something other has run out.
        let errors = lines_with(&log, "exhausted").len() + lines_with(&log, "no descriptors").len();
        assert_eq!(errors, 1, "{name}: {}", stack::tail(&log));
        assert!(ng.ask(&[("command", "ping")]).contains("4:pong"), "{name}: it goes on");
        ends_with_0_on_int(child, &log);
    }
}

/// Connections that nobody takes: from a source that has too many, and when the process may open no more files (F-PROC-07).
#[test]
fn f_proc_07_connections_that_are_refused_are_one_line() {
    let dir = tempfile::tempdir().expect("tempdir");
    for (descriptors, trusted, line, fact) in [
        (None, "127.0.0.7", "TCP connections are refused", "\"source\":\"127.0.0.1\""),
        (Some(40), "127.0.0.1", "no descriptors or memory for TCP connections", "ulimit -n"),
    ] {
        let log = dir.path().join(format!("{}.log", fact.replace(['"', ':', ' '], "-")));
        let at = local(free_port());
        // Where requests go on to is known by itself, so it is not the source of these connections.
        let args = [format!("listen={at}"), "next=127.0.0.9:5060".into(), format!("trusted={trusted}")];
        let launched = Launched::start_within(descriptors, "proxy", &args, &log);
        // The kernel takes them all; what the proxy does with them is its business.
        let held: Vec<_> = (0..120).filter_map(|_| std::net::TcpStream::connect(at).ok()).collect();
        assert!(held.len() > 100, "{}", held.len());
        let said = poll_until(Duration::from_secs(10), || {
            Some(lines_with(&log, line)).filter(|lines| !lines.is_empty())
        });
        let said = said.unwrap_or_else(|| panic!("nothing is said: {}", stack::tail(&log)));
        assert!(said.len() == 1 && said[0].contains(fact), "{said:#?}");
        drop(held);
        let (code, _) = launched.signal_and_wait("TERM", Duration::from_secs(30));
        assert_eq!(code, Some(0), "{}", stack::tail(&log));
    }
}

/// A suite that preloads a library sees every datagram: by recvmsg and sendto of libc, on sockets that are never connected.
#[test]
fn rtpengine_cli_makes_its_sockets_through_libc() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (source, library) = (dir.path().join("shim.c"), dir.path().join("shim.so"));
    std::fs::write(&source, SHIM).expect("shim");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(made.expect("cc runs").success());
    let (log, calls) = (dir.path().join("relay.log"), dir.path().join("calls"));
    let port = free_port();
    let args = ["-i", "127.0.0.1", "-m", "26200", "-M", "26399", "-n", &port.to_string()].map(str::to_owned);
    let child = rtpengine_cli(&args, &log, &[("LD_PRELOAD", &library), ("SHIM_LOG", &calls)]);
    let mut ng = Ng::new(local(port));
    let (a, b) = (socket(), socket());
    let to_b = media_port(&ng.describe("offer", "", &a));
    let to_a = media_port(&ng.describe("answer", "", &b));
    let packet = |seq: u8| [&[0x80, 0, 0, seq, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0xFF; 160]].concat();
    for seq in 1..=20 {
        a.send_to(&packet(seq), local(to_a)).expect("sent");
        received(&b);
        b.send_to(&packet(seq), local(to_b)).expect("sent");
        received(&a);
    }
    let text = std::fs::read_to_string(&calls).expect("the shim was there");
    let count = |name: &str| text.lines().filter(|line| *line == name).count();
    assert!(count("recvmsg") >= 42 && count("send") >= 42, "{} {}", count("recvmsg"), count("send"));
    assert_eq!((count("recvfrom"), count("connect")), (0, 0));
    ends_with_0_on_int(child, &log);
}

/// Writes the name of each datagram function of libc that is called.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void say(const char *name) {
    const char *path = getenv("SHIM_LOG");
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
    if (fd < 0) return;
    if (write(fd, name, strlen(name)) < 0) abort();
    close(fd);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags) {
    ssize_t (*real)(int, struct msghdr *, int) = dlsym(RTLD_NEXT, "recvmsg");
    ssize_t n = real(fd, m, flags);
    if (n > 0) say("recvmsg\n");
    return n;
}

ssize_t recvfrom(int fd, void *b, size_t n, int flags, struct sockaddr *a, socklen_t *l) {
    ssize_t (*real)(int, void *, size_t, int, struct sockaddr *, socklen_t *) = dlsym(RTLD_NEXT, "recvfrom");
    ssize_t got = real(fd, b, n, flags, a, l);
    if (got > 0) say("recvfrom\n");
    return got;
}

ssize_t sendto(int fd, const void *b, size_t n, int flags, const struct sockaddr *a, socklen_t l) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    say("send\n");
    return real(fd, b, n, flags, a, l);
}

int connect(int fd, const struct sockaddr *a, socklen_t l) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    say("connect\n");
    return real(fd, a, l);
}
"#;
