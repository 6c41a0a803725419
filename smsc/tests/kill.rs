//! kill −9 of a process under load, again and again on one folder: nothing acknowledged is lost, and a window is doubled at most.

#[path = "../../tests/stack/smpp.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod smpp;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use smpp::{Carrier, Esme, id_of, text_of};
use warp_events::EventsMetrics;
use warp_smpp::Command as Pdu;
use warp_smsc::{Account, Config, Limits, Metrics, Vendor};
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
        std::thread::yield_now();
    }
}

/// Where the process that is to be killed finds its folder and its carrier.
const ENVIRONMENT: &str = "WARP_TEST_SMSC";

/// Not a test of its own: the process that the test below starts, which is this program again. Without the variable it does nothing.
#[test]
fn the_process_that_is_killed() {
    let Ok(given) = std::env::var(ENVIRONMENT) else { return };
    let (carrier, dir) = given.split_once(' ').expect("carrier and folder");
    let config = Config {
        system_id: "WARP".to_owned(),
        listen: Some("127.0.0.1:0".parse().expect("address")),
        accounts: vec![Account::new("foo", "bar")],
        vendors: vec![Vendor::new("SIM", "SIM", "sim", vec![carrier.parse().expect("address")])],
        mt_default: Some(0),
        mo_default: Some(0),
        limits: Limits::default(),
    };
    let seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
    let options = warp_smsc::queue_options(EventsMetrics::detached());
    let metrics = Metrics::register(&Registry::new());
    let smsc = warp_smsc::start(config, Path::new(dir), options, metrics, seed as u64).expect("starts");
    println!("\nready {}", smsc.address().expect("listens"));
    loop {
        std::thread::park();
    }
}

/// A running process; killed with the test.
struct Running {
    child: Child,
    at: SocketAddr,
}

impl Running {
    fn start(dir: &Path, carrier: &Carrier) -> Running {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "the_process_that_is_killed", "--nocapture"])
            .env(ENVIRONMENT, format!("{} {}", carrier.at, dir.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let at = lines.find_map(|line| line.strip_prefix("ready ")?.parse().ok()).expect("it comes up");
        Running { child, at }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

#[test]
fn f_proc_03_kill_9_under_load_loses_nothing_and_doubles_a_window_at_most() {
    const ROUNDS: u32 = 3;
    let dir = tempfile::tempdir().expect("tempdir");
    let carrier = Carrier::start(Duration::from_millis(5));
    let mut ledger = Ledger::default();
    let mut made = 0;
    for _ in 0..ROUNDS {
        let smsc = Running::start(dir.path(), &carrier);
        let mut foo = Esme::bind(smsc.at, "foo", "bar");
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
            (ledger.acknowledged.len() >= before + 500).then_some(())
        });
        assert!(enough.is_some(), "{} acknowledged", ledger.acknowledged.len() - before);
        // SIGKILL.
        drop(smsc);
        // What was answered before the kill is still in the socket.
        ledger.take(&mut foo);
    }
    let smsc = Running::start(dir.path(), &carrier);
    let mut foo = Esme::bind(smsc.at, "foo", "bar");
    let done = poll_until(Duration::from_secs(60), || {
        ledger.take(&mut foo);
        ledger.acknowledged.keys().all(|id| ledger.receipts.contains(id)).then_some(())
    });
    let carried = carrier.texts();
    let lost: Vec<&String> =
        ledger.acknowledged.values().filter(|text| !carried.contains_key(*text)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let untold = ledger.acknowledged.keys().filter(|id| !ledger.receipts.contains(*id)).count();
    assert!(done.is_some(), "{untold} receipts are missing");
    let doubled: u32 = carried.values().map(|n| n - 1).sum();
    assert!(doubled <= ROUNDS * 10, "{doubled} doubled by {ROUNDS} kills at a window of 10");
}
