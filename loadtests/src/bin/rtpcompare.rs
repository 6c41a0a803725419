//! Our relay against a real rtpengine in user space: the same RTP load through both, alternating A B A B, medians and their
//! ratio as JSON and as a table.
//!
//! `rtpcompare [rounds=5] [seconds=5] [calls=500] [tick_us=1000] [spread=tick|even] [fifo=0] [cpu=N] [out=FILE] [warp="COMMAND …"] [rtpengine="COMMAND …"]`
//!
//! Commands are split at spaces; `{ng}` and `{ports}` in them are filled in. Each run starts its relay anew. Without an
//! installed rtpengine only our side runs and there is no ratio.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

const WARP: &str = "target/release/warp launch media ng={ng} ports={ports} threads=1";
const RTPENGINE: &str = "rtpengine --config-file=none --table=-1 --interface=127.0.0.1 --listen-ng={ng} \
    --port-min={from} --port-max={to} --foreground --log-stderr --log-level=2";

fn main() -> Result<()> {
    let mut args = BTreeMap::new();
    for arg in std::env::args().skip(1) {
        let (key, value) = arg.split_once('=').with_context(|| format!("not key=value: {arg}"))?;
        args.insert(key.to_owned(), value.to_owned());
    }
    let mut take = |key: &str, default: &str| args.remove(key).unwrap_or_else(|| default.to_owned());
    let rounds: usize = take("rounds", "5").parse().context("rounds")?;
    let load: Vec<(&str, String)> = [
        ("calls", "500"),
        ("seconds", "5"),
        ("warmup", "2"),
        ("tick_us", "1000"),
        ("spread", "tick"),
        ("fifo", "0"),
        ("cpu", ""),
    ]
    .map(|(key, default)| (key, take(key, default)))
    .into();
    let out = take("out", "");
    let sides = [("warp", take("warp", WARP)), ("rtpengine", take("rtpengine", RTPENGINE))];
    if let Some(key) = args.keys().next() {
        bail!("unknown argument {key}");
    }
    let sides: Vec<_> = sides.into_iter().filter(|(name, command)| is_there(name, command)).collect();
    ensure!(!sides.is_empty() && rounds > 0, "nothing to run");

    let facts = facts();
    let mut runs: Vec<Value> = Vec::new();
    for round in 0..rounds {
        for (name, command) in &sides {
            let run = run(name, command, &load).with_context(|| format!("{name}, round {round}"))?;
            eprintln!("round {round} {name:10} {} s per million packets", run["cpu_s_per_million_packets"]);
            runs.push(run);
        }
    }
    let middle = |name: &str, key: &str| {
        let mut all: Vec<f64> =
            runs.iter().filter(|r| r["label"] == name).filter_map(|r| r[key].as_f64()).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let mut medians = BTreeMap::new();
    for (name, _) in &sides {
        let figures: BTreeMap<_, _> = [
            "cpu_s_per_million_packets",
            "run_s_per_million_packets",
            "packets_lost",
            "packets_foreign",
            "packets_per_sleep",
            "rss_kb",
        ]
        .into_iter()
        .map(|key| (key, middle(name, key)))
        .collect();
        medians.insert(*name, figures);
    }
    let cpu = |name| middle(name, "cpu_s_per_million_packets");
    let ratio = cpu("warp").zip(cpu("rtpengine")).map(|(a, b)| (a / b * 1_000.0).round() / 1_000.0);
    println!(
        "{:12} {:>14} {:>10} {:>14} {:>10}",
        "relay", "CPU s/1e6 pkt", "lost", "packets/sleep", "RSS kB"
    );
    for (name, m) in &medians {
        let show = |key| m.get(key).copied().flatten().map_or("-".into(), |v| format!("{v}"));
        println!(
            "{name:12} {:>14} {:>10} {:>14} {:>10}",
            show("cpu_s_per_million_packets"),
            show("packets_lost"),
            show("packets_per_sleep"),
            show("rss_kb")
        );
    }
    if let Some(ratio) = ratio {
        println!("warp / rtpengine = {ratio}");
    }
    let result = json!({
        "what": "RTP relay: process CPU (user + system) per million delivered packets, loopback, user space",
        "facts": facts,
        "load": load.into_iter().collect::<BTreeMap<_, _>>(),
        "rounds": rounds,
        "commands": sides.iter().map(|(n, c)| (*n, without_folder(c))).collect::<BTreeMap<_, _>>(),
        "medians": medians,
        "warp_to_rtpengine": ratio,
        "runs": runs,
    });
    if !out.is_empty() {
        std::fs::write(&out, serde_json::to_string_pretty(&result)? + "\n")?;
    }
    Ok(())
}

/// A command as others can repeat it: its program without the folder that it lay in here.
fn without_folder(command: &str) -> &str {
    let program = command.split(' ').next().unwrap_or("");
    command.get(program.rfind('/').map_or(0, |at| at + 1)..).unwrap_or(command)
}

/// A relay that ends with this value.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(name: &str, command: &str, load: &[(&str, String)]) -> Result<Value> {
    // Outside the range that phones get their ports from: a relay sends no media to its control port.
    let ng = (9_000..10_000)
        .map(|port| std::net::SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|at| UdpSocket::bind(at).is_ok())
        .context("no free port for ng")?;
    let (from, to) = (10_000, 29_999);
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
    let relay = Relay(child);
    wait_for_ping(ng)?;
    let rtpload = std::env::current_exe()?.with_file_name("rtpload");
    let output = Command::new(rtpload)
        .args([format!("ng={ng}"), format!("pid={}", relay.0.id()), format!("label={name}")])
        .args(load.iter().map(|(k, v)| format!("{k}={v}")))
        .stderr(Stdio::inherit())
        .output()
        .context("rtpload, beside this program")?;
    ensure!(output.status.success(), "rtpload failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn wait_for_ping(ng: std::net::SocketAddr) -> Result<()> {
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

fn is_there(name: &str, command: &str) -> bool {
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
fn facts() -> Value {
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
