//! The SMSC with real customers: Python's smpplib and aiosmpplib, jsmpp, and Debian's Kannel.

#[path = "../../tests/stack/smpp.rs"]
#[allow(dead_code, reason = "the whole-stack tests use the rest")]
mod smpp;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use smpp::Carrier;
use warp_events::EventsMetrics;
use warp_smsc::{Account, Config, Destination, Metrics, Smsc, Vendor};
use warp_telemetry::Registry;

/// Calls `check` until it gives a value or the time is over.
fn poll_until<T>(within: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + within;
    loop {
        if let Some(value) = check() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10)); // poll interval of the one waiting helper
    }
}

fn launch(dir: &Path, carrier: &Carrier) -> (Smsc, SocketAddr) {
    let config = Config {
        listen: Some("127.0.0.1:0".parse().expect("address")),
        accounts: vec![Account::new("foo", "bar")],
        vendors: vec![Vendor::new("SIM", "SIM", "sim", vec![carrier.at])],
        mt_default: Some(0),
        mo_default: Some(Destination::Account(0)),
        ..Config::new("WARP")
    };
    let options = warp_smsc::queue_options(EventsMetrics::detached());
    let smsc =
        warp_smsc::start(config, dir, options, Metrics::register(&Registry::new()), 1).expect("starts");
    let at = smsc.address().expect("listens");
    (smsc, at)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// The Python that has this module: of the peers that `scripts/bootstrap test` makes, or any.
fn python(module: &str, test: &str) -> Option<PathBuf> {
    let import = format!("import {module}");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/bin/python3");
    let found = [own, "python3".into()].into_iter().find(|python| {
        let tried = Command::new(python).args(["-c", &import]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{module} is not installed, and CI=true");
        println!("skipped: {test}: Python's {module} is not installed");
    }
    found
}

/// Sends three messages, one of them in parts, and waits for the receipts of all parts.
const SMPPLIB: &str = r#"
import sys, smpplib.client, smpplib.gsm, smpplib.consts
host, port = sys.argv[1].rsplit(":", 1)
client = smpplib.client.Client(host, int(port), timeout=20)
sent, receipts = set(), {}
def delivered(pdu):
    id = pdu.receipted_message_id
    id = (id.decode() if isinstance(id, bytes) else id).rstrip("\0")
    receipts[id] = pdu.short_message.decode()
    return 0
client.set_message_sent_handler(lambda pdu: sent.add(pdu.message_id.decode()))
client.set_message_received_handler(delivered)
client.connect()
client.bind_transceiver(system_id="foo", password="bar")
count = 0
for text in ["plain", "with € and {braces}", "long " * 60]:
    parts, coding, flag = smpplib.gsm.make_parts(text)
    for part in parts:
        client.send_message(source_addr_ton=5, source_addr="WARP", dest_addr_ton=1, dest_addr_npi=1,
            destination_addr="491701234567", short_message=part, data_coding=coding, esm_class=flag, registered_delivery=True)
        count += 1
while len(receipts) < count:
    client.read_once()
assert sent == set(receipts), (sent, receipts)
assert all("stat:DELIVRD" in text for text in receipts.values()), receipts
client.unbind()
client.disconnect()
print("ok", count)
"#;

#[test]
fn pythons_smpplib_sends_and_gets_its_receipts() {
    let Some(python) = python("smpplib", "pythons_smpplib_sends_and_gets_its_receipts") else { return };
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let (_smsc, at) = launch(&dir.path().join("queue"), &carrier);
    let out = Command::new(python).args(["-c", SMPPLIB, &at.to_string()]).output().expect("python runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("ok 4"), "{said}{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn aiosmpplib_sends_and_gets_its_receipts() {
    let Some(python) = python("aiosmpplib", "aiosmpplib_sends_and_gets_its_receipts") else { return };
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let (_smsc, at) = launch(&dir.path().join("queue"), &carrier);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/aio.py");
    let out = Command::new(python).arg(script).arg(at.to_string()).output().expect("python runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("ok 3"), "{said}{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn jsmpp_sends_to_one_and_to_several_and_gets_its_receipts() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let jars = here.join("../target/peers/jsmpp");
    if !jars.join("jsmpp-3.0.0.jar").exists() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "jsmpp is not there, and CI=true");
        return println!(
            "skipped: jsmpp_sends_to_one_and_to_several_and_gets_its_receipts: jsmpp is not there"
        );
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let (_smsc, at) = launch(&dir.path().join("queue"), &carrier);
    let out = Command::new("java")
        .args(["-cp", &format!("{}/*", jars.display())])
        .arg(here.join("tests/peers/Jsmpp.java"))
        .args([at.ip().to_string(), at.port().to_string()])
        .output()
        .expect("java runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("ok"), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(carrier.texts().get("to three from jsmpp"), Some(&3));
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, args: &[&str], log: &Path) -> Ended {
    let out = std::fs::File::create(log).expect("log");
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(out.try_clone().expect("clone")).stderr(out);
    Ended(command.spawn().expect("starts"))
}

/// Kannel binds to us as to any SMSC: its sendsms door makes a submit_sm, our receipt makes its dlr-url, and a message of a handset its
/// sms-service.
#[test]
fn debians_kannel_sends_and_gets_its_receipts() {
    let test = "debians_kannel_sends_and_gets_its_receipts";
    if !Path::new("/usr/sbin/bearerbox").is_file() || !Path::new("/usr/sbin/smsbox").is_file() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "Kannel is not installed, and CI=true");
        println!("skipped: {test}: Kannel is not installed");
        return;
    }
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let (_smsc, at) = launch(&dir.path().join("queue"), &carrier);
    let hooks = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (admin, smsbox, door) = (free_port(), free_port(), free_port());
    let hook = hooks.local_addr().expect("address");
    let config = dir.path().join("kannel.conf");
    let text = format!(
        "group = core\nadmin-port = {admin}\nadmin-password = x\nadmin-interface = 127.0.0.1\nsmsbox-port = {smsbox}\n\
         smsbox-interface = 127.0.0.1\nbox-deny-ip = \"*.*.*.*\"\nbox-allow-ip = \"127.0.0.1\"\ndlr-storage = internal\n\n\
         group = smsc\nsmsc = smpp\nsmsc-id = warp\nhost = 127.0.0.1\nport = {}\ntransceiver-mode = true\n\
         smsc-username = foo\nsmsc-password = bar\nsystem-type = \"\"\naddress-range = \"\"\nreconnect-delay = 1\n\n\
         group = smsbox\nbearerbox-host = 127.0.0.1\nsendsms-port = {door}\nsendsms-interface = 127.0.0.1\n\n\
         group = sendsms-user\nusername = u\npassword = p\n\n\
         group = sms-service\nkeyword = default\nget-url = \"http://{hook}/mo?text=%a&from=%p\"\nmax-messages = 0\n",
        at.port()
    );
    std::fs::write(&config, text).expect("config");
    let config = config.display().to_string();
    let log = dir.path().join("bearerbox.log");
    let _bearerbox = start("/usr/sbin/bearerbox", &["-v", "1", &config], &log);
    // A smsbox that finds no bearerbox gives up.
    let up = poll_until(Duration::from_secs(30), || std::net::TcpStream::connect(("127.0.0.1", smsbox)).ok());
    assert!(up.is_some(), "{}", tail(&log));
    let _smsbox = start("/usr/sbin/smsbox", &["-v", "1", &config], &dir.path().join("smsbox.log"));
    let url = format!(
        "http://127.0.0.1:{door}/cgi-bin/sendsms?username=u&password=p&from=WARP&to=491701234567&text=from+kannel\
         &dlr-mask=3&dlr-url=http%3A%2F%2F{hook}%2Fdlr%3Ftype%3D%25d"
    );
    let accepted = poll_until(Duration::from_secs(30), || {
        let out = Command::new("curl").args(["-s", "-m", "5", &url]).output().expect("curl runs");
        String::from_utf8_lossy(&out.stdout).contains("Accepted").then_some(())
    });
    assert!(accepted.is_some(), "{}", tail(&log));
    hooks.set_nonblocking(true).expect("non-blocking");
    let receipt = hook_call(&hooks, "/dlr");
    assert!(receipt.is_some_and(|line| line.contains("type=1")), "no receipt reached Kannel: {}", tail(&log));
    assert_eq!(carrier.texts().get("from kannel"), Some(&1));
    carrier.originate("from a handset");
    let message = hook_call(&hooks, "/mo").unwrap_or_else(|| panic!("no message: {}", tail(&log)));
    assert!(message.contains("from+a+handset") || message.contains("from%20a%20handset"), "{message}");
}

/// The first request line that asks for `path`; every request is answered 200.
fn hook_call(hooks: &TcpListener, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    poll_until(Duration::from_secs(30), || {
        let (mut stream, _) = hooks.accept().ok()?;
        stream.set_nonblocking(false).expect("blocking");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("time-out");
        let mut request = vec![0; 4_096];
        let n = stream.read(&mut request).ok()?;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let line = String::from_utf8_lossy(&request[..n]).lines().next()?.to_owned();
        line.contains(path).then_some(line)
    })
}
