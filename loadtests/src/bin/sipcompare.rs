//! Our proxy against a real Kamailio: the same SIPp calls through both, alternating A B A B in one run.
//!
//! `sipcompare [rounds=3] [calls=4000] [rate=200] [hold_ms=100] [warmup=500] [out=FILE] [warp="COMMAND …"] [kamailio=PROGRAM]
//! [only=warp|kamailio]`
//!
//! SIPp → proxy → SIPp on loopback, UDP: INVITE, 180 and 200 back to back, ACK, BYE, 200; record-routed. Measured between
//! the first and the last call of a run: CPU (user + system) of the proxy's process with all its children, calls that failed,
//! retransmissions of the caller, response times of INVITE (to 180) and BYE, memory (proportional set size). Prints a table,
//! and JSON with the machine's facts. Without an installed Kamailio only our side runs.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

const WARP: &str = "loadtests/launch proxy listen={listen} next={next} shards=1";
const KAMAILIO_CFG: &str = include_str!("../../kamailio/proxy.cfg");
const UAC: &str = include_str!("../../sipp/proxy_uac.xml");
const UAS: &str = include_str!("../../sipp/proxy_uas.xml");

struct Load {
    calls: u32,
    rate: u32,
    hold_ms: u32,
    warmup: u32,
}

fn main() -> Result<()> {
    let mut args = BTreeMap::new();
    for arg in std::env::args().skip(1) {
        let (key, value) = arg.split_once('=').with_context(|| format!("not key=value: {arg}"))?;
        args.insert(key.to_owned(), value.to_owned());
    }
    let mut take = |key: &str, default: &str| args.remove(key).unwrap_or_else(|| default.to_owned());
    let rounds: usize = take("rounds", "3").parse().context("rounds")?;
    let load = Load {
        calls: take("calls", "4000").parse().context("calls")?,
        rate: take("rate", "200").parse().context("rate")?,
        hold_ms: take("hold_ms", "100").parse().context("hold_ms")?,
        warmup: take("warmup", "500").parse().context("warmup")?,
    };
    let out = take("out", "");
    let only = take("only", "");
    let warp = take("warp", WARP);
    let kamailio = take("kamailio", "kamailio");
    if let Some(key) = args.keys().next() {
        bail!("unknown argument {key}");
    }
    ensure!(installed("sipp"), "sipp is not installed");
    let mut sides = vec!["warp", "kamailio"];
    if !installed(&kamailio) {
        eprintln!("kamailio is not installed, skipped");
        sides.retain(|s| *s != "kamailio");
    }
    sides.retain(|s| only.is_empty() || *s == only);

    let facts = facts();
    let mut runs: Vec<Value> = Vec::new();
    for round in 0..rounds {
        for side in &sides {
            let folder =
                std::env::temp_dir().join(format!("sipcompare-{}-{side}-{round}", std::process::id()));
            fs::create_dir_all(&folder)?;
            let run = run(side, &warp, &kamailio, &folder, &load)
                .with_context(|| format!("{side}, round {round} ({})", folder.display()))?;
            eprintln!(
                "round {round} {side:9} {} CPU s per 1,000 calls, {} failed",
                run["cpu_s_per_1000_calls"], run["failed"]
            );
            runs.push(run);
            fs::remove_dir_all(&folder)?;
        }
    }
    let middle = |side: &str, key: &str| {
        let mut all: Vec<f64> = runs
            .iter()
            .filter(|r| r["side"] == side)
            .filter_map(|r| r.pointer(key).and_then(Value::as_f64))
            .collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let keys = [
        ("CPU s/1000", "/cpu_s_per_1000_calls"),
        ("scheduler", "/scheduler_s_per_1000_calls"),
        ("failed", "/failed"),
        ("retrans", "/retransmissions"),
        ("INVITE p50", "/invite_ms/p50"),
        ("p99 ms", "/invite_ms/p99"),
        ("BYE p50", "/bye_ms/p50"),
        ("p99 ms", "/bye_ms/p99"),
        ("PSS MiB", "/pss_mib"),
    ];
    println!("{:10}{}", "medians", keys.iter().map(|(k, _)| format!(" {k:>11}")).collect::<String>());
    let mut medians = BTreeMap::new();
    for side in &sides {
        let cells: String = keys
            .iter()
            .map(|(_, k)| format!(" {:>11}", middle(side, k).map_or("-".into(), |v| format!("{v:.3}"))))
            .collect();
        println!("{side:10}{cells}");
        medians.insert(
            *side,
            keys.iter()
                .map(|(_, k)| (k.trim_start_matches('/'), middle(side, k)))
                .collect::<BTreeMap<_, _>>(),
        );
    }
    let ratio = |key: &str| {
        let (a, b) = (middle("warp", key)?, middle("kamailio", key)?);
        (b > 0.0).then(|| (a / b * 1_000.0).round() / 1_000.0)
    };
    let ratios = json!({
        "cpu": ratio("/cpu_s_per_1000_calls"),
        "scheduler": ratio("/scheduler_s_per_1000_calls"),
    });
    if sides.len() == 2 {
        println!("warp / kamailio: CPU {}, by the scheduler's clock {}", ratios["cpu"], ratios["scheduler"]);
    }
    let result = json!({
        "what": "record-routed calls SIPp -> proxy -> SIPp on loopback over UDP; process CPU (user + system) with children",
        "facts": facts,
        "load": {"calls": load.calls, "rate_per_s": load.rate, "hold_ms": load.hold_ms, "warmup_calls": load.warmup},
        "rounds": rounds,
        "sides": {"warp": warp, "kamailio": "loadtests/kamailio/proxy.cfg: tm + rr, 2 UDP workers"},
        "medians": medians,
        "warp_to_kamailio": ratios,
        "runs": runs,
    });
    let text = serde_json::to_string_pretty(&result)? + "\n";
    if out.is_empty() {
        print!("{text}");
    } else {
        fs::write(&out, text)?;
    }
    Ok(())
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Kamailio ends its workers on SIGTERM only.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(side: &str, warp: &str, kamailio: &str, folder: &Path, load: &Load) -> Result<Value> {
    let [proxy, callee, caller] = free_ports()?;
    fs::write(folder.join("uac.xml"), UAC)?;
    fs::write(folder.join("uas.xml"), UAS)?;
    let fill = |t: &str| t.replace("{listen}", &proxy.to_string()).replace("{next}", &callee.to_string());
    let log = fs::File::create(folder.join("proxy.log"))?;
    let mut command = match side {
        "kamailio" => {
            fs::write(folder.join("kamailio.cfg"), fill(KAMAILIO_CFG))?;
            let mut c = Command::new(kamailio);
            c.args(["-DD", "-E", "-m", "256", "-M", "16", "-f"]).arg(folder.join("kamailio.cfg"));
            c.arg("-Y").arg(folder);
            c
        }
        _ => {
            let words = fill(warp);
            let mut words = words.split_whitespace();
            let mut c = Command::new(words.next().context("empty command")?);
            c.args(words);
            c
        }
    };
    let child = command.stdout(Stdio::null()).stderr(log).spawn().context("the proxy does not start")?;
    let proxy_process = Running(child);
    let uas = Command::new("sipp")
        .args(["-sf", "uas.xml", "-i", "127.0.0.1", "-p", &callee.port().to_string(), "-nostdin"])
        .args(["-mp", "26000", "-skip_rlimit"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _uas = Running(uas);
    if let Err(e) = wait_for_answer(proxy) {
        let log = fs::read_to_string(folder.join("proxy.log")).unwrap_or_default();
        bail!("{e}; its log: {}", log.lines().take(5).collect::<Vec<_>>().join(" | "));
    }
    let pid = proxy_process.0.id();
    call(folder, caller, proxy, load.warmup, load)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "csv") {
            fs::remove_file(path)?;
        }
    }
    let before = Cpu::of(pid);
    let begin = Instant::now();
    call(folder, caller, proxy, load.calls, load)?;
    let took = begin.elapsed().as_secs_f64();
    let after = Cpu::of(pid);
    let stats = Stats::read(folder)?;
    let thousand = |s: f64| round(s * 1_000.0 / f64::from(load.calls), 4);
    Ok(json!({
        "side": side,
        "calls": load.calls,
        "seconds": round(took, 2),
        "cpu_s_per_1000_calls": thousand(after.ticks_s - before.ticks_s),
        "user_s_per_1000_calls": thousand(after.user_s - before.user_s),
        "scheduler_s_per_1000_calls": thousand(after.scheduler_s - before.scheduler_s),
        "processes": after.processes,
        "failed": stats.failed,
        "successful": stats.successful,
        "retransmissions": stats.retransmissions,
        "invite_ms": stats.percentiles("invite"),
        "bye_ms": stats.percentiles("bye"),
        "pss_mib": round(after.pss_mib, 1),
    }))
}

/// One SIPp caller until its last call; calls that failed are counted, not an error.
fn call(folder: &Path, from: SocketAddr, to: SocketAddr, calls: u32, load: &Load) -> Result<()> {
    let limit = (load.rate * (load.hold_ms + 2_000) / 1_000).max(100);
    let status = Command::new("sipp")
        .args(["-sf", "uac.xml", "-i", "127.0.0.1", "-p", &from.port().to_string(), "-nostdin"])
        .args(["-m", &calls.to_string(), "-r", &load.rate.to_string(), "-l", &limit.to_string()])
        .args(["-d", &load.hold_ms.to_string(), "-mp", "24000", "-skip_rlimit"])
        .args([
            "-timeout",
            "180",
            "-timer_resol",
            "1",
            "-trace_stat",
            "-fd",
            "1",
            "-trace_rtt",
            "-rtt_freq",
            "1",
        ])
        .arg(to.to_string())
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    // 0: all well; 1: some call failed.
    ensure!(matches!(status.code(), Some(0 | 1)), "sipp ended with {status}");
    Ok(())
}

/// Three free UDP ports.
fn free_ports() -> Result<[SocketAddr; 3]> {
    let sockets =
        [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
    Ok([sockets[0].local_addr()?, sockets[1].local_addr()?, sockets[2].local_addr()?])
}

/// Until the proxy answers a request that it must not forward.
fn wait_for_answer(proxy: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let me = socket.local_addr()?;
    let end = Instant::now() + Duration::from_secs(15);
    let mut n = 0;
    while Instant::now() < end {
        n += 1;
        let text = format!(
            "OPTIONS sip:ping@{proxy} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bKready{n}\r\nMax-Forwards: 0\r\n\
             From: <sip:ready@{me}>;tag=r{n}\r\nTo: <sip:ping@{proxy}>\r\nCall-ID: ready{n}@{me}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        let _ = socket.send_to(text.as_bytes(), proxy);
        if socket.recv_from(&mut [0; 2048]).is_ok() {
            return Ok(());
        }
    }
    bail!("the proxy at {proxy} does not answer")
}

/// CPU of a process with all its descendants.
struct Cpu {
    user_s: f64,
    ticks_s: f64,
    scheduler_s: f64,
    pss_mib: f64,
    processes: usize,
}

impl Cpu {
    fn of(root: u32) -> Cpu {
        let mut pids = vec![root];
        let mut at = 0;
        while let Some(pid) = pids.get(at).copied() {
            at += 1;
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for task in tasks {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                pids.extend(children.split_whitespace().filter_map(|p| p.parse::<u32>().ok()));
            }
        }
        let mut cpu =
            Cpu { user_s: 0.0, ticks_s: 0.0, scheduler_s: 0.0, pss_mib: 0.0, processes: pids.len() };
        for pid in pids {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields: Vec<f64> = stat
                .rsplit_once(')')
                .map(|(_, rest)| rest.split_whitespace().skip(1).map(|f| f.parse().unwrap_or(0.0)).collect())
                .unwrap_or_default();
            // utime and stime are fields 14 and 15 of proc(5), in 1/100 s.
            let (user, system) = (fields.get(10).unwrap_or(&0.0), fields.get(11).unwrap_or(&0.0));
            cpu.user_s += user / 100.0;
            cpu.ticks_s += (user + system) / 100.0;
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let ns = text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
                cpu.scheduler_s += ns.unwrap_or(0.0) / 1e9;
            }
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let kib = rollup
                .lines()
                .find_map(|l| l.strip_prefix("Pss:"))
                .and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
            cpu.pss_mib += kib.unwrap_or(0.0) / 1_024.0;
        }
        cpu
    }
}

/// What SIPp counted.
struct Stats {
    successful: u64,
    failed: u64,
    retransmissions: u64,
    times: BTreeMap<String, Vec<f64>>,
}

impl Stats {
    fn read(folder: &Path) -> Result<Stats> {
        let csv: Vec<PathBuf> = fs::read_dir(folder)?
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "csv"))
            .collect();
        let (mut last, mut times) = (BTreeMap::new(), BTreeMap::<String, Vec<f64>>::new());
        for path in csv {
            let text = fs::read_to_string(&path)?;
            let mut lines = text.lines().filter(|l| !l.is_empty());
            let header: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
            if header.first().is_some_and(|h| h.starts_with("Date_ms")) {
                for line in lines {
                    let mut cells = line.split(';').skip(1);
                    if let (Some(ms), Some(name)) = (cells.next().and_then(|c| c.parse().ok()), cells.next())
                    {
                        times.entry(name.trim().to_owned()).or_default().push(ms);
                    }
                }
            } else if let Some(line) = lines.next_back() {
                last =
                    header.iter().map(|h| (*h).to_owned()).zip(line.split(';').map(str::to_owned)).collect();
            }
        }
        let count = |name: &str| last.get(name).and_then(|v: &String| v.parse().ok());
        for list in times.values_mut() {
            list.sort_by(f64::total_cmp);
        }
        Ok(Stats {
            successful: count("SuccessfulCall(C)").context("no SuccessfulCall(C) in SIPp's statistics")?,
            failed: count("FailedCall(C)").context("no FailedCall(C) in SIPp's statistics")?,
            retransmissions: count("Retransmissions(C)").unwrap_or(0),
            times,
        })
    }

    fn percentiles(&self, name: &str) -> Value {
        let Some(list) = self.times.get(name).filter(|l| !l.is_empty()) else {
            return Value::Null;
        };
        let at = |p: f64| round(list[((list.len() - 1) as f64 * p) as usize], 3);
        json!({"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0), "count": list.len()})
    }
}

fn round(v: f64, places: i32) -> f64 {
    let unit = 10f64.powi(places);
    (v * unit).round() / unit
}

fn installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|f| f.join(program).exists()))
}

/// What the figures were measured on.
fn facts() -> Value {
    let first = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default().trim().to_owned()
    };
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|l| l.split_once(':').filter(|(k, _)| k.trim() == name));
        line.map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
    };
    json!({
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, |n| n.get()),
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": first("uname", &["-sr"]),
        "rustc": first("rustc", &["-V"]),
        "kamailio": first("kamailio", &["-v"]),
        "sipp": first("sipp", &["-v"]),
        "commit": first("git", &["rev-parse", "--short", "HEAD"]),
        "date": first("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        "load_average_before": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    })
}
