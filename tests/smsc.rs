//! The SMSC as it is launched: the path of a message, kill −9 under load.

mod stack;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use stack::smpp::{Carrier, Esme, id_of, text_of};
use stack::{Launched, poll_until};
use warp_smpp::{Command as Pdu, Status};

fn launch(dir: &Path, carrier: &Carrier, more: &[String]) -> Launched {
    let mut args = vec![
        "smpp=127.0.0.1:0".to_owned(),
        format!("upstream={}", carrier.at),
        format!("dir={}", dir.join("queue").display()),
    ];
    args.extend_from_slice(more);
    Launched::start("smsc", &args, &dir.join("smsc.log"))
}

#[test]
fn a_message_goes_to_the_vendor_and_its_receipt_comes_back() {
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let smsc = launch(dir.path(), &carrier, &[]);
    let mut foo = Esme::bind(smsc.addr("smpp"), "foo", "bar");
    let sequence = foo.submit("hello").expect("sent");
    let mut got = Vec::new();
    let receipt = poll_until(Duration::from_secs(20), || {
        got.extend(foo.receive());
        got.iter().find(|(h, _)| h.command == Pdu::DELIVER_SM).cloned()
    });
    let (header, body) = receipt.unwrap_or_else(|| panic!("no receipt: {}", smsc.log_tail()));
    let answer =
        got.iter().find(|(h, _)| h.sequence == sequence && h.command.is_response()).expect("an answer");
    assert_eq!(answer.0.status, Status::ROK);
    let text = text_of(&header, &body);
    assert!(text.contains(&id_of(&answer.0, &answer.1)) && text.contains("stat:DELIVRD"), "{text}");
    assert_eq!(carrier.texts(), BTreeMap::from([("hello".to_owned(), 1)]));
    // A message of a handset.
    carrier.originate("hi there");
    let got = poll_until(Duration::from_secs(20), || {
        foo.receive().into_iter().find(|(h, _)| h.command == Pdu::DELIVER_SM)
    });
    let (header, body) = got.expect("delivered");
    assert_eq!(text_of(&header, &body), "hi there");
    // T-SMS-08: the other account has its limit.
    let mut slow = Esme::bind(smsc.addr("smpp"), "slow", "bar");
    for _ in 0..20 {
        slow.submit("x").expect("sent");
    }
    let mut statuses = Vec::new();
    poll_until(Duration::from_secs(20), || {
        let answers = slow.receive().into_iter().filter(|(h, _)| h.command == Pdu::SUBMIT_SM.response());
        statuses.extend(answers.map(|(h, _)| h.status));
        (statuses.len() == 20).then_some(())
    });
    let taken = statuses.iter().filter(|s| s.is_ok()).count();
    assert!((1..10).contains(&taken), "{statuses:?}");
    assert!(statuses.iter().all(|s| s.is_ok() || *s == Status::RTHROTTLED));
    let (code, rest) = smsc.signal_and_wait("TERM", Duration::from_secs(30));
    assert_eq!((code, rest), (Some(0), vec![]));
}

/// Status and body of a request.
fn http(at: std::net::SocketAddr, target: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(at).expect("the door listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("time-out");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (text[9..12].parse().expect("a status"), body)
}

/// A second vendor, and a route that prefers it; the first one gets what it refuses, or all while it is not bound.
#[test]
fn a_file_of_routes_sends_messages_to_another_vendor_and_is_explained() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (first, second) = (Carrier::start(Duration::ZERO), Carrier::start(Duration::ZERO));
    let file = dir.path().join("routes.toml");
    let routes = format!(
        "[[vendor]]\nname = \"B\"\nsystem_id = \"SIM\"\npassword = \"sim\"\naddresses = [\"{}\"]\n\
         [[mt]]\norder = 20\nkind = \"failover\"\nto = [\"B\", \"SIM\"]\ntext = \"to B\"\n",
        second.at
    );
    std::fs::write(&file, routes).expect("file");
    let smsc = launch(dir.path(), &first, &[format!("routes={}", file.display())]);
    let mut foo = Esme::bind(smsc.addr("smpp"), "foo", "bar");
    // Both are bound when each has answered a message of its own.
    let arrives = |foo: &mut Esme, text: &str, carrier: &Carrier| {
        let mut n = 0;
        let found = poll_until(Duration::from_secs(20), || {
            n += 1;
            foo.submit(&format!("{text} {n}")).expect("sent");
            foo.receive();
            carrier.texts().keys().any(|t| t.starts_with(text)).then_some(())
        });
        assert!(found.is_some(), "{text}: {}", smsc.log_tail());
    };
    arrives(&mut foo, "to SIM", &first);
    arrives(&mut foo, "to B", &second);
    assert!(!second.texts().keys().any(|t| t.starts_with("to SIM")));
    drop(second);
    arrives(&mut foo, "to B, which is gone", &first);

    let explain = |more: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_warp"))
            .args(["route", "--sms", "--routes"])
            .arg(&file)
            .args(["491701234567", "--text", "to B"])
            .args(more)
            .output()
            .expect("warp runs");
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (code, said) = explain(&[]);
    assert_eq!((code, said.as_str()), (Some(0), "route 20 failover → B, SIM: taken\ngoes to B\n"));
    let (_, said) = explain(&["--down", "B"]);
    assert!(said.ends_with("route 20 failover → B (not bound), SIM: taken\ngoes to SIM\n"), "{said}");
    let (_, said) = explain(&["--user", "nobody"]);
    assert_eq!(said, "");
    let (_, said) = explain(&["--connector", "B", "--json"]);
    assert!(
        said.contains("\"target\": \"smpps(foo)\"") || said.contains("\"target\":\"smpps(foo)\""),
        "{said}"
    );
}

#[test]
fn jasmins_http_door_is_there_and_logs_no_password() {
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let smsc = launch(dir.path(), &carrier, &["http=127.0.0.1:0".to_owned(), "log=trace".to_owned()]);
    let at = smsc.addr("http");
    assert_eq!(http(at, "/ping"), (200, "Jasmin/PONG".to_owned()));
    let (status, body) = http(at, "/send?username=foo&password=bar&to=49170&content=by+http");
    assert!(status == 200 && body.starts_with("Success \""), "{status} {body}");
    assert_eq!(http(at, "/send?username=foo&password=s3cr3tpw&to=49170&content=x").0, 403);
    let there = poll_until(Duration::from_secs(20), || carrier.texts().contains_key("by http").then_some(()));
    assert!(there.is_some(), "{}", smsc.log_tail());
    let log = std::fs::read_to_string(dir.path().join("smsc.log")).expect("log");
    assert!(!log.contains("s3cr3tpw") && !log.contains("password="), "a password in the log");
}

/// What a customer knows of its messages across restarts.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeMap<String, String>,
    receipts: BTreeSet<String>,
    waiting: BTreeMap<u32, String>,
}

impl Ledger {
    fn take(&mut self, esme: &mut Esme) {
        for (header, body) in esme.receive() {
            if header.command == Pdu::DELIVER_SM {
                self.receipts.insert(text_of(&header, &body)[3..39].to_owned());
            } else if let Some(text) = self.waiting.remove(&header.sequence)
                && header.status.is_ok()
            {
                self.acknowledged.insert(id_of(&header, &body), text);
            }
        }
    }
}

/// Two processes with one queue would both send what waits in it, and both write its log.
#[test]
fn one_process_has_a_queue() {
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::ZERO);
    let smsc = launch(dir.path(), &carrier, &[]);
    let queue = format!("dir={}", dir.path().join("queue").display());
    let mut second = std::process::Command::new(env!("CARGO_BIN_EXE_warp"))
        .args(["launch", "smsc", "smpp=127.0.0.1:0", &format!("upstream={}", carrier.at), &queue])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("warp runs");
    if poll_until(Duration::from_secs(20), || second.try_wait().expect("wait")).is_none() {
        second.kill().expect("ended");
    }
    let second = second.wait_with_output().expect("output");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("in use by another warp (process {})", smsc.pid())), "{said}");
    assert!(second.stdout.is_empty(), "{second:?}");
}

#[test]
fn f_proc_03_kill_9_under_load_loses_nothing_and_doubles_a_window_at_most() {
    const ROUNDS: u32 = 10;
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::from_millis(5));
    let mut ledger = Ledger::default();
    let mut made = 0;
    for _ in 0..ROUNDS {
        let smsc = launch(dir.path(), &carrier, &[]);
        let mut foo = Esme::bind(smsc.addr("smpp"), "foo", "bar");
        ledger.waiting.clear();
        let before = ledger.acknowledged.len();
        // Until enough were acknowledged while others are in flight.
        let enough = poll_until(Duration::from_secs(60), || {
            while ledger.waiting.len() < 200 {
                made += 1;
                let text = format!("text {made}");
                ledger.waiting.insert(foo.submit(&text)?, text);
            }
            ledger.take(&mut foo);
            (ledger.acknowledged.len() >= before + 250).then_some(())
        });
        assert!(enough.is_some(), "{} acknowledged: {}", ledger.acknowledged.len() - before, smsc.log_tail());
        smsc.kill_9();
        // What was answered before the kill is still in the socket.
        ledger.take(&mut foo);
    }
    let smsc = launch(dir.path(), &carrier, &[]);
    let mut foo = Esme::bind(smsc.addr("smpp"), "foo", "bar");
    let done = poll_until(Duration::from_secs(60), || {
        ledger.take(&mut foo);
        ledger.acknowledged.keys().all(|id| ledger.receipts.contains(id)).then_some(())
    });
    let carried = carrier.texts();
    let lost: Vec<&String> =
        ledger.acknowledged.values().filter(|text| !carried.contains_key(*text)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let untold = ledger.acknowledged.keys().filter(|id| !ledger.receipts.contains(*id)).count();
    assert!(done.is_some(), "{untold} receipts are missing: {}", smsc.log_tail());
    let doubled: u32 = carried.values().map(|n| n - 1).sum();
    assert!(doubled <= ROUNDS * 10, "{doubled} doubled by {ROUNDS} kills at a window of 10");
}
