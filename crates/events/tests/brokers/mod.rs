//! Real brokers of Apache Kafka on loopback, in KRaft: each one broker and controller, with a small heap.
//!
//! `scripts/kafka/fetch` brings the files. Where they or Java are missing, a test prints a line and counts as skipped.

#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Brokers that are killed when this is dropped.
pub struct Brokers {
    dir: tempfile::TempDir,
    lib: PathBuf,
    nodes: Vec<Node>,
}

struct Node {
    broker: SocketAddr,
    process: Option<Child>,
}

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(120);
/// The identity of the cluster; any will do.
const CLUSTER: &str = "d2FycC1rYWZrYS10ZXN0cw";

fn lib() -> Option<PathBuf> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|p| p.join("scripts/kafka").is_dir())?;
    let lib = root.join("target/peers/kafka");
    let java = Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    (lib.is_dir() && java.is_ok_and(|s| s.success())).then_some(lib)
}

fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

impl Brokers {
    /// So many brokers, of which each answers. `None`, with a line: Kafka cannot be had here.
    pub fn start(count: usize) -> Option<Brokers> {
        let Some(lib) = lib() else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true and no Apache Kafka");
            println!("skipped: no Apache Kafka here (scripts/kafka/fetch, and a Java runtime)");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let brokers: Vec<SocketAddr> = (0..count).map(|_| free_port()).collect();
        let controllers: Vec<SocketAddr> = (0..count).map(|_| free_port()).collect();
        let voters: Vec<String> =
            controllers.iter().enumerate().map(|(n, at)| format!("{}@{at}", n + 1)).collect();
        for n in 0..count {
            let id = n + 1;
            let settings = format!(
                "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
                 listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\nadvertised.listeners=PLAINTEXT://{broker}\n\
                 controller.listener.names=CONTROLLER\nlog.dirs={dir}/data-{id}\nauto.create.topics.enable=false\n\
                 offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
                 num.network.threads=1\nnum.io.threads=2\nlog.cleaner.dedupe.buffer.size=2097152\n\
                 broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n\
                 replica.lag.time.max.ms=4000\ncontrolled.shutdown.enable=false\n",
                voters = voters.join(","),
                broker = brokers[n],
                controller = controllers[n],
                dir = dir.path().display(),
            );
            fs::write(dir.path().join(format!("server-{id}.properties")), settings).unwrap();
        }
        let nodes = brokers.into_iter().map(|broker| Node { broker, process: None }).collect();
        let mut all = Brokers { dir, lib, nodes };
        all.format(count);
        all.restart(&(0..count).collect::<Vec<_>>());
        Some(all)
    }

    /// `HOST:PORT` of each of them.
    pub fn servers(&self) -> Vec<String> {
        self.nodes.iter().map(|n| n.broker.to_string()).collect()
    }

    /// Ends one by SIGKILL.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut process) = self.nodes[n].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts those that were killed, and waits until they listen.
    pub fn restart(&mut self, killed: &[usize]) {
        // One alone waits for the others' votes.
        killed.iter().for_each(|n| self.launch(*n));
        killed.iter().for_each(|n| self.wait_for(*n));
    }

    fn java(&self, heap: &str) -> Command {
        let mut java = Command::new("java");
        java.args([heap, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp"])
            .arg(format!("{}/*", self.lib.display()))
            .stdin(Stdio::null());
        java
    }

    /// The first broker's folder by Kafka's own tool, the others' after it: a JVM for each takes seconds.
    fn format(&self, count: usize) {
        let root = self.dir.path();
        let out = self
            .java("-Xmx128m")
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"])
            .arg(root.join("server-1.properties"))
            .output()
            .unwrap();
        assert!(out.status.success(), "format: {}", String::from_utf8_lossy(&out.stderr));
        let first = root.join("data-1");
        for id in 2..=count {
            let own = root.join(format!("data-{id}"));
            fs::create_dir(&own).unwrap();
            for entry in fs::read_dir(&first).unwrap().map(|e| e.unwrap()) {
                fs::copy(entry.path(), own.join(entry.file_name())).unwrap();
            }
            let meta = own.join("meta.properties");
            let text = fs::read_to_string(&meta).unwrap();
            let mut file = fs::File::create(&meta).unwrap();
            for line in text.lines() {
                // The folder's own identity is made at the start when it is missing.
                match line.split_once('=') {
                    Some(("node.id", _)) => writeln!(file, "node.id={id}").unwrap(),
                    Some(("directory.id", _)) => {}
                    _ => writeln!(file, "{line}").unwrap(),
                }
            }
        }
    }

    fn launch(&mut self, n: usize) {
        let id = n + 1;
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join(format!("server-{id}.out")))
            .unwrap();
        let process = self
            .java("-Xmx256m")
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "kafka.Kafka"])
            .arg(self.dir.path().join(format!("server-{id}.properties")))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.nodes[n].process = Some(process);
    }

    fn wait_for(&mut self, n: usize) {
        let deadline = Instant::now() + START;
        let said = self.dir.path().join(format!("server-{}.out", n + 1));
        let node = &mut self.nodes[n];
        while TcpStream::connect_timeout(&node.broker, Duration::from_secs(1)).is_err() {
            let ended = node.process.as_mut().is_none_or(|p| p.try_wait().unwrap().is_some());
            let said = || fs::read_to_string(&said).unwrap_or_default();
            assert!(!ended && Instant::now() < deadline, "broker {n} does not start: {}", said());
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        for n in 0..self.nodes.len() {
            self.kill(n);
        }
    }
}
