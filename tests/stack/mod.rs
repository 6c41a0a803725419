//! The harness of whole-stack tests: a `warp` process started through the launch contract, its API, and SIPp peers.
//!
//! Every wait here is for a condition, with a deadline. Processes are ended by the guard that started them.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod api;
pub mod carrier;
pub mod dev;
pub mod sipp;
pub mod smpp;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a stack may take to say `ready` (a private PostgreSQL cluster is made on the first start).
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running `loadtests/launch PROFILE …`.
pub struct Launched {
    child: Child,
    /// The `key=value` pairs of the ready line.
    pub ready: BTreeMap<String, String>,
    /// Lines of stdout after the ready line.
    rest: mpsc::Receiver<String>,
    log: PathBuf,
}

impl Launched {
    /// Starts a profile and waits for its ready line. stderr goes to `log`.
    pub fn start(profile: &str, args: &[String], log: &Path) -> Launched {
        Launched::start_within(None, profile, args, log)
    }

    /// The same in a process that may open so many files.
    pub fn start_within(descriptors: Option<u32>, profile: &str, args: &[String], log: &Path) -> Launched {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("log file");
        let mut child = command_within(descriptors, &root.join("loadtests/launch"))
            .arg(profile)
            .args(args)
            .env("WARP_BIN", env!("CARGO_BIN_EXE_warp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("loadtests/launch starts");
        let stdout = child.stdout.take().expect("piped");
        let (tx, rest) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tx.send(line).is_err() {
                    break;
                }
            }
        });
        let line = match rest.recv_timeout(READY_WITHIN) {
            Ok(line) => line,
            Err(why) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{profile}: no ready line ({why}); log:\n{}", tail(log));
            }
        };
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("ready"), "first line of stdout is {line:?}; log:\n{}", tail(log));
        let ready: BTreeMap<String, String> = words
            .map(|w| w.split_once('=').unwrap_or_else(|| panic!("{w:?} in {line:?} is not key=value")))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        assert_eq!(ready["profile"], profile);
        assert_eq!(ready["pid"], child.id().to_string(), "launch execs the binary: the pid is its own");
        Launched { child, ready, rest, log: log.to_owned() }
    }

    /// Address under `key` in the ready line.
    pub fn addr(&self, key: &str) -> SocketAddr {
        let text =
            self.ready.get(key).unwrap_or_else(|| panic!("no {key}= in the ready line: {:?}", self.ready));
        text.parse().unwrap_or_else(|_| panic!("{key}={text} is not an address"))
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM (or another signal), then the exit code, and the stdout lines that came after the ready line.
    pub fn signal_and_wait(mut self, signal: &str, within: Duration) -> (Option<i32>, Vec<String>) {
        signal_pid(self.child.id(), signal);
        let code = poll_until(within, || self.child.try_wait().expect("wait"))
            .unwrap_or_else(|| panic!("did not end {within:?} after {signal}; log:\n{}", tail(&self.log)));
        (code.code(), self.rest.iter().collect())
    }

    /// kill −9, and reaps it.
    pub fn kill_9(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The end of its log, for messages of failed assertions.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // First politely, so that a private PostgreSQL cluster is stopped by its owner.
            signal_pid(self.child.id(), "TERM");
            if poll_until(Duration::from_secs(10), || self.child.try_wait().ok().flatten()).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}

/// A program that may open so many files; `None`: as many as we may ourselves.
pub fn command_within(descriptors: Option<u32>, program: &Path) -> Command {
    let Some(descriptors) = descriptors else { return Command::new(program) };
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")]).arg(program);
    command
}

/// Sends a signal to a process that a test started.
pub fn signal_pid(pid: u32, signal: &str) {
    let _ =
        Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).stderr(Stdio::null()).status();
}

/// Calls `check` until it gives a value or the time is over.
pub fn poll_until<T>(within: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + within;
    loop {
        if let Some(value) = check() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20)); // poll interval of the one waiting helper
    }
}

/// An even loopback port that is free, the first of four (SIPp takes media ports in pairs of pairs), for UDP and TCP at this moment. Below the range from which
/// the system gives out ports by itself, so that nobody else comes in between.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..2_500 {
        // Test processes that run side by side begin at different places.
        let n = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(61));
        let port = 12_000 + (n % 2_500) as u16 * 4;
        if TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok()
        {
            return port;
        }
    }
    panic!("no free port");
}

/// The last lines of a log file.
pub fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// True when a program is installed; otherwise prints the `skipped: …` line that the summary counts.
pub fn have(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")])
        .any(|dir| dir.join(program).is_file());
    if !found {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{program} is not installed, and CI=true");
        println!("skipped: {test}: {program} is not installed");
    }
    found
}
