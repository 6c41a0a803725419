//! `warp serve` as an operator meets it: roles that cannot work, a start that fails, a start behind a kill −9, and the drain.

mod stack;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use stack::carrier::{CALLED, CALLER, CUSTOMER_IP, Carrier, VENDOR_IP, VendorSpec};
use stack::sipp::{Calls, Sipp, Transport};
use stack::{free_port, have, poll_until, signal_pid, tail};

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// A node with free ports in `dir`.
struct Node {
    dir: PathBuf,
    file: PathBuf,
    sip: SocketAddr,
    api: SocketAddr,
    ops: SocketAddr,
    ng: SocketAddr,
}

impl Node {
    fn new(dir: &Path) -> Node {
        let (sip, api, ops, ng) =
            (local(free_port()), local(free_port()), local(free_port()), local(free_port()));
        let file = dir.join("warp.toml");
        let text = format!(
            "[node]\ndata_dir = \"{}\"\ndrain_timeout = \"30s\"\n[ops]\nlisten = \"{ops}\"\n[api]\nlisten = \"{api}\"\n\
             [sip]\nlisten = [\"udp:{sip}\"]\n[media]\nng = \"{ng}\"\nports = \"27000-27199\"\n[events]\nsegment = \"64KiB\"\n",
            dir.join("data").display()
        );
        std::fs::write(&file, text).expect("warp.toml");
        Node { dir: dir.to_owned(), file, sip, api, ops, ng }
    }

    fn command(&self, roles: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warp"));
        command.args(["serve", "--roles", roles, "--config"]).arg(&self.file).env_remove("DATABASE_URL");
        command.stdin(Stdio::null());
        command
    }

    fn start(&self, roles: &str, log: &str) -> Child {
        let log = std::fs::File::create(self.dir.join(log)).expect("log");
        self.command(roles).stdout(Stdio::null()).stderr(log).spawn().expect("warp serve starts")
    }

    fn log(&self, name: &str) -> String {
        tail(&self.dir.join(name))
    }
}

/// An answer of the ops listener, head and body; `None` while nobody listens.
fn get(ops: SocketAddr, path: &str) -> Option<String> {
    ask(ops, path, "")
}

/// An answer of the API to a key.
fn with_key(api: SocketAddr, path: &str, key: &str) -> Option<String> {
    ask(api, path, &format!("Authorization: Bearer {key}\r\n"))
}

fn ask(at: SocketAddr, path: &str, fields: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n{fields}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Status and body of `/readyz`.
fn ready(ops: SocketAddr) -> Option<(u16, Value)> {
    let text = get(ops, "/readyz")?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(text.split("\r\n\r\n").nth(1)?.trim()).ok()?))
}

/// A process that a test started; it does not outlive the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        signal_pid(self.0.id(), "TERM");
        signal_pid(self.0.id(), "TERM");
        if poll_until(Duration::from_secs(20), || self.0.try_wait().ok().flatten()).is_none() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Processes whose command line names `dir`.
fn processes_of(dir: &Path) -> Vec<String> {
    let word = dir.display().to_string();
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    all.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&word))
        .collect()
}

#[test]
fn roles_that_cannot_work_are_refused_and_say_why() {
    let dir = tempfile::tempdir().expect("tempdir");
    let node = Node::new(dir.path());
    for (roles, why) in
        [("sip,media", "routing data"), ("jobs", "the database"), ("sip,api,media", "without jobs")]
    {
        let out = node.command(roles).output().expect("warp runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{roles}: {said}");
        assert!(said.contains(why) && said.contains("hint: add"), "{roles}: {said}");
        assert!(!dir.path().join("data").exists(), "{roles}: nothing was begun");
    }
}

/// The API's port is taken when the database runs already; the ops port, when everything does.
#[test]
fn a_start_that_fails_says_so_once_and_leaves_nothing_running() {
    let dir = tempfile::tempdir().expect("tempdir");
    let node = Node::new(dir.path());
    let mut first_keys = Vec::new();
    for (taken, key) in [(node.api, "api"), (node.ops, "ops.listen"), (node.sip, "sip.listen")] {
        let (tcp, udp) = (TcpListener::bind(taken), UdpSocket::bind(taken));
        assert!(tcp.is_ok() && udp.is_ok());
        let out = node.command("sip,media,api,jobs").output().expect("warp runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{said}");
        let error: Vec<&str> = said.lines().filter(|line| line.starts_with("warp: ")).collect();
        assert_eq!(error.len(), 1, "{said}");
        assert!(error[0].contains(&taken.to_string()) || error[0].contains(key), "{said}");
        assert_eq!(error[0].matches("Address already in use").count(), 1, "once: {said}");
        let left = poll_until(Duration::from_secs(30), || processes_of(dir.path()).is_empty().then_some(()));
        assert!(left.is_some(), "{:?} after {key} was taken", processes_of(dir.path()));
        assert!(!dir.path().join("data/pg/data/postmaster.pid").exists(), "{key}");
        let out = String::from_utf8_lossy(&out.stdout).into_owned();
        first_keys.extend(
            out.lines().filter_map(|line| line.split_once("(shown once): ")).map(|(_, k)| k.to_owned()),
        );
    }
    // The key is in the database from then on, where nobody can read it: the start that made it has shown it, though it failed.
    let [key] = &first_keys[..] else { panic!("shown: {first_keys:?}") };
    let _running = Ended(node.start("sip,media,api,jobs", "serve.log"));
    let up = poll_until(Duration::from_secs(30), || ready(node.ops).filter(|(status, _)| *status == 200));
    assert!(up.is_some(), "{}", node.log("serve.log"));
    let answer = with_key(node.api, "/api/v1/admin/keys", key).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"first operator\""), "{answer}");
}

/// A supervisor starts again at once: the dying process has its lock and its sockets a moment longer.
#[test]
fn f_proc_04_a_start_right_behind_a_kill_succeeds() {
    let dir = tempfile::tempdir().expect("tempdir");
    let node = Node::new(dir.path());
    let up = |n: usize| {
        let ready =
            poll_until(Duration::from_secs(20), || ready(node.ops).filter(|(status, _)| *status == 200));
        assert!(ready.is_some(), "start {n}: {}", node.log("serve.log"));
    };
    let mut running = node.start("media", "serve.log");
    up(0);
    for n in 1..=25 {
        running.kill().expect("kill -9");
        // Not waited for: what is dying is still there.
        let next = node.start("media", "serve.log");
        let mut dead = std::mem::replace(&mut running, next);
        up(n);
        assert!(running.try_wait().expect("wait").is_none(), "start {n} ended: {}", node.log("serve.log"));
        dead.wait().expect("reaped");
    }
    drop(Ended(running));
    assert!(UdpSocket::bind(node.ng).is_ok());
}

/// While calls go on after SIGTERM, the node says that it takes no new ones, and goes when they have ended.
#[test]
fn readyz_is_503_while_it_drains_and_calls_go_on() {
    if !have("sipp", "readyz_is_503_while_it_drains_and_calls_go_on") {
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let vendor = SocketAddr::from((VENDOR_IP, free_port()));
    let specs = [VendorSpec { slug: "answers", rate: "0.004", addr: vendor, transport: Transport::Udp }];
    let answering = Sipp::vendor(dir.path(), "vendor_answer.xml", vendor, Transport::Udp, free_port(), 100);
    let carrier = Carrier::start_with(dir.path(), &specs, true, &["node.drain_timeout=30s".to_owned()]);
    let ops = carrier.launched.addr("ops");
    let (status, body) = ready(ops).expect("readyz");
    assert_eq!((status, &body["draining"]), (200, &false.into()), "{body}");
    for part in ["sip", "media", "routing"] {
        assert_eq!(body["parts"][part]["state"], "up", "{body}");
    }
    let call = Calls {
        scenario: "customer_call.xml",
        to: carrier.sip,
        local: (CUSTOMER_IP, free_port()).into(),
        transport: Transport::Udp,
        caller: CALLER,
        called: CALLED,
        talk: Duration::from_secs(4),
        count: 1,
        per_second: 1,
        auth: None,
    };
    let calling = Sipp::calls(dir.path(), &call);
    let answered = poll_until(Duration::from_secs(10), || {
        let metrics = get(ops, "/metrics")?;
        metrics.contains("warp_sip_dialogs{state=\"confirmed\"} 1").then_some(())
    });
    assert!(answered.is_some(), "no call: {}", calling.report());
    signal_pid(carrier.launched.pid(), "TERM");
    let seen =
        poll_until(Duration::from_secs(30), || ready(ops).filter(|(_, body)| body["draining"] == true));
    let (status, body) = seen.expect("it says that it drains");
    assert_eq!((status, &body["ready"]), (503, &false.into()), "{body}");
    // The call is not cut off: SIPp sees it to its end, and then the process goes.
    calling.finish(Duration::from_secs(20));
    let Carrier { launched, .. } = carrier;
    let gone = poll_until(Duration::from_secs(20), || ready(ops).is_none().then_some(()));
    assert!(gone.is_some(), "{}", launched.log_tail());
    drop(answering);
}

/// One ng command to the relay and its answer, without the cookie.
fn ng(at: SocketAddr, cookie: &str, command: &str) -> Option<String> {
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    socket.send_to(format!("{cookie} {command}").as_bytes(), at).ok()?;
    let mut bytes = [0; 8192];
    let (n, _) = socket.recv_from(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..n)?).into_owned();
    Some(text.strip_prefix(cookie)?.trim().to_owned())
}

#[test]
fn a_relay_that_others_drive_drains_as_a_proxy_does() {
    let dir = tempfile::tempdir().expect("tempdir");
    let node = Node::new(dir.path());
    let mut relay = Ended(node.start("media", "relay.log"));
    let up = poll_until(Duration::from_secs(20), || ready(node.ops).filter(|(status, _)| *status == 200));
    assert!(up.is_some(), "{}", node.log("relay.log"));
    // Who starts it by hand and stops it by Ctrl-C hears that it goes; before, nothing is wrong with it.
    let wrong = |said: &str| ["WARN", "ERROR"].iter().any(|level| said.to_uppercase().contains(level));
    assert!(!wrong(&node.log("relay.log")), "{}", node.log("relay.log"));
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let offer = format!("d7:call-id2:c17:command5:offer8:from-tag2:f13:sdp{}:{sdp}e", sdp.len());
    let answer = ng(node.ng, "k1", &offer).expect("an answer");
    assert!(answer.contains("6:result2:ok"), "{answer}");
    signal_pid(relay.0.id(), "TERM");
    let seen = poll_until(Duration::from_secs(30), || ready(node.ops).filter(|(status, _)| *status == 503));
    assert_eq!(seen.expect("it says that it drains").1["draining"], true);
    assert!(node.log("relay.log").contains("told to stop: no new calls"), "{}", node.log("relay.log"));
    let pong = ng(node.ng, "k2", "d7:command4:pinge").expect("it still answers");
    assert!(pong.contains("pong"), "{pong}");
    assert!(relay.0.try_wait().expect("wait").is_none(), "{}", node.log("relay.log"));
    // With its last call it goes.
    let ended = ng(node.ng, "k3", "d7:call-id2:c17:command6:delete12:delete-delayi0e8:from-tag2:f1e");
    assert!(ended.expect("an answer").contains("6:result2:ok"));
    let gone = poll_until(Duration::from_secs(10), || relay.0.try_wait().expect("wait"));
    assert!(gone.is_some_and(|status| status.success()), "{}", node.log("relay.log"));
    // It carried no call of a proxy: there is no place of records to remember, and nothing to warn of.
    assert!(!wrong(&node.log("relay.log")), "{}", node.log("relay.log"));
}

/// `[log]` and `[ops]`: with another value the node logs in another form, other lines, and is asked at another address.
#[test]
fn each_value_of_log_and_ops_changes_what_a_node_does() {
    for (format, levels, json, lines) in [
        ("json", "info", true, true),
        ("human", "info", false, true),
        // No terminal here.
        ("auto", "info", true, true),
        ("json", "error", true, false),
        ("json", "error,platform=info", true, true),
        ("json", "info,platform=error", true, false),
    ] {
        let dir = tempfile::tempdir().expect("tempdir");
        let node = Node::new(dir.path());
        let text = std::fs::read_to_string(&node.file).expect("warp.toml");
        let log = format!("{text}[log]\nformat = \"{format}\"\nlevels = \"{levels}\"\n");
        std::fs::write(&node.file, log).expect("warp.toml");
        let mut relay = Ended(node.start("media", "relay.log"));
        // Each node has an ops address of its own, and answers there.
        let up = poll_until(Duration::from_secs(20), || ready(node.ops).filter(|(status, _)| *status == 200));
        assert!(up.is_some(), "{}", node.log("relay.log"));
        signal_pid(relay.0.id(), "TERM");
        let gone = poll_until(Duration::from_secs(20), || relay.0.try_wait().expect("wait"));
        assert!(gone.is_some_and(|status| status.success()), "{}", node.log("relay.log"));
        let said = std::fs::read_to_string(dir.path().join("relay.log")).expect("log");
        let of_node: Vec<&str> =
            said.lines().filter(|l| l.contains("ready") && l.contains("media")).collect();
        assert_eq!(!of_node.is_empty(), lines, "{format} {levels}: {said}");
        for line in of_node {
            let read: Result<Value, _> = serde_json::from_str(line);
            assert_eq!(read.is_ok(), json, "{format} {levels}: {line}");
        }
    }
}

/// `[events]`: the size of segments, how much a topic may take, and how long what is acknowledged is kept.
#[test]
fn each_value_of_events_changes_what_a_node_keeps() {
    use warp_events::{EventsError, TOPIC_CDR_VOICE};
    use warp_platform::config::{Config, Sources};

    /// Sizes of journal segments, of log segments, records until the topic is full, and whether they go when they were acknowledged
    /// an hour ago.
    fn kept(events: &str) -> (u64, u64, usize, bool) {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("warp.toml");
        let text = format!(
            "[node]\ndata_dir = \"{}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n[sip]\nlisten = [\"udp:127.0.0.1:0\"]\n\
             anchor_media = false\n[events]\n{events}",
            dir.path().join("data").display()
        );
        std::fs::write(&file, text).expect("warp.toml");
        let sources = Sources { file: Some(file), ..Sources::default() };
        let loaded = warp_platform::run::load(&Config::default(), &sources).expect("a configuration");
        let stack =
            warp_platform::wire::Stack::start(&loaded, "sip".parse().expect("roles")).expect("a node");
        let sizes = |folder: &str, extension: &str| {
            let mut open = vec![dir.path().join("data").join(folder)];
            let mut found = Vec::new();
            while let Some(at) = open.pop() {
                for entry in std::fs::read_dir(at).expect("folder") {
                    let path = entry.expect("entry").path();
                    match path.is_dir() {
                        true => open.push(path),
                        false if path.extension().is_some_and(|e| e == extension) => {
                            found.push(path.metadata().expect("size").len());
                        }
                        false => {}
                    }
                }
            }
            found.into_iter().max().unwrap_or(0)
        };
        let topic = stack.events.topic(TOPIC_CDR_VOICE).expect("topic");
        topic.append_durable(b"k", b"first").expect("room");
        let (journal, log) = (sizes("journal", "jrn"), sizes("events", "log"));
        let record = vec![7; 16 << 10];
        let mut records = 0;
        while records < 200 {
            match topic.append_durable(b"k", &record) {
                Ok(_) => records += 1,
                Err(EventsError::Full) => break,
                Err(other) => panic!("{other}"),
            }
        }
        let mut reader = topic.from_floor();
        while !reader.next_batch(64).expect("records").is_empty() {}
        reader.acknowledge("postgres");
        let hour = warp_model::Wall(
            i64::try_from(
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now").as_micros(),
            )
            .expect("a time")
                + 3_600_000_000,
        );
        let gone = topic.retain(hour) > 0;
        stack.stop();
        (journal, log, records, gone)
    }
    let usual = kept("segment = \"64KiB\"\nlimit = \"1MiB\"\nkeep = \"30m\"\n");
    let larger = kept("segment = \"128KiB\"\nlimit = \"1MiB\"\nkeep = \"30m\"\n");
    let longer = kept("segment = \"64KiB\"\nlimit = \"1MiB\"\nkeep = \"2h\"\n");
    let fuller = kept("segment = \"64KiB\"\nlimit = \"2MiB\"\nkeep = \"30m\"\n");
    assert_eq!((usual.0, usual.1, larger.0, larger.1), (64 << 10, 64 << 10, 128 << 10, 128 << 10));
    assert!(
        usual.3 && !longer.3,
        "what was acknowledged an hour ago goes after 30 minutes, and stays for two hours"
    );
    assert!((40..64).contains(&usual.2), "a MiB: {}", usual.2);
    assert!((90..128).contains(&fuller.2), "two: {}", fuller.2);
}
