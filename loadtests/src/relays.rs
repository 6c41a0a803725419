//! Relays that speak ng, started for one run: ours and an installed rtpengine.

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Our relay; `{ng}`, `{ports}`, `{from}` and `{to}` are filled in.
pub const WARP: &str = "target/release/warp launch media ng={ng} ports={ports} threads=1";
/// rtpengine in user space.
pub const RTPENGINE: &str = "rtpengine --config-file=none --table=-1 --interface=127.0.0.1 --listen-ng={ng} \
    --port-min={from} --port-max={to} --foreground --log-stderr --log-level=2";

/// A command as others can repeat it: its program without the folder that it lay in here.
pub fn without_folder(command: &str) -> &str {
    let program = command.split(' ').next().unwrap_or("");
    command.get(program.rfind('/').map_or(0, |at| at + 1)..).unwrap_or(command)
}

/// A running relay. It ends with this value.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    /// The address of its control port, which speaks ng.
    pub ng: SocketAddr,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Relay {
    /// Starts a command (words split at spaces) with media ports `from` to `to`, and waits until it answers.
    pub fn start(command: &str, from: u16, to: u16) -> Result<Self> {
        // Outside the range that phones get their ports from: a relay sends no media to its control port.
        let ng = (9_000..10_000)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .find(|at| UdpSocket::bind(at).is_ok())
            .context("no free port for ng")?;
        let words: Vec<String> = command
            .split_whitespace()
            .map(|w| {
                w.replace("{ng}", &ng.to_string())
                    .replace("{ports}", &format!("{from}-{to}"))
                    .replace("{from}", &from.to_string())
                    .replace("{to}", &to.to_string())
            })
            .collect();
        let (program, rest) = words.split_first().context("empty command")?;
        let child = Command::new(program).args(rest).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let relay = Self { child, ng };
        wait_for_ping(ng)?;
        Ok(relay)
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn wait_for_ping(ng: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let end = Instant::now() + Duration::from_secs(10);
    for n in 0.. {
        let _ = socket.send_to(format!("ping{n} d7:command4:pinge").as_bytes(), ng);
        if socket.recv_from(&mut [0; 256]).is_ok() {
            return Ok(());
        }
        if Instant::now() > end {
            break;
        }
    }
    bail!("no answer to ping")
}

/// True when the program of a command is installed; else it says on stderr that it is skipped.
pub fn is_there(name: &str, command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or_default();
    let found = match program.contains('/') {
        true => std::path::Path::new(program).exists(),
        false => std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists())),
    };
    if !found {
        eprintln!("{name}: {program} is not here, skipped");
    }
    found
}

/// What the figures were measured on.
pub fn facts() -> Value {
    let first = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok();
        let text = output
            .map(|o| {
                String::from_utf8_lossy(if o.stdout.is_empty() { &o.stderr } else { &o.stdout }).into_owned()
            })
            .unwrap_or_default();
        text.lines().next().unwrap_or_default().trim().to_owned()
    };
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|l| l.split_once(':').filter(|(k, _)| k.trim() == name));
        line.map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
    };
    json!({
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, |n| n.get()),
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": first("uname", &["-sr"]),
        "rustc": first("rustc", &["-V"]),
        "rtpengine": first("rtpengine", &["--version"]),
        "commit": first("git", &["rev-parse", "--short", "HEAD"]),
        "date": first("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        "load_average_before": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    })
}
