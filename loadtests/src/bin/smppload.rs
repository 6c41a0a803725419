//! Messages through an SMSC over SMPP: customers' binds, and the vendor behind it that sends receipts. One line of JSON.
//!
//! `smppload smpp=IP:PORT vendor=IP:PORT [pid=PID[,PID]] [key=value …]`
//!
//! `http=IP:PORT target=PATH`: customers come by HTTP instead; `{dlr}` in the target is where news are told, `%2F` for `/`.
//!
//! `mode=through`: measured for `seconds` after `warmup`. `mode=fill`: `count` messages without a vendor, then the memory of `pid`.
//! `mode=empty`: only the vendor, until `count` messages came. Start the vendor before the SMSC, or it waits for its next try.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use warp_loadtests::process::Cpu;
use warp_loadtests::smpp::{Done, Load, Seen, customer, percentile, vendor};
use warp_loadtests::smshttp::{ends, sender};

/// How long answers and receipts are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let mut args = BTreeMap::new();
    for arg in std::env::args().skip(1) {
        let (key, value) = arg.split_once('=').with_context(|| format!("not key=value: {arg}"))?;
        args.insert(key.to_owned(), value.to_owned());
    }
    let mut take = |key: &str, default: &str| args.remove(key).unwrap_or_else(|| default.to_owned());
    let mode = take("mode", "through");
    let smpp: SocketAddr = take("smpp", "127.0.0.1:2775").parse().context("smpp")?;
    let upstream: SocketAddr = take("vendor", "127.0.0.1:2776").parse().context("vendor")?;
    let pid = take("pid", "");
    let pid: Vec<u32> =
        pid.split(',').filter(|p| !p.is_empty()).map(str::parse).collect::<Result<_, _>>().context("pid")?;
    let (http, target) = (take("http", ""), take("target", ""));
    let http: Option<SocketAddr> =
        Some(http).filter(|h| !h.is_empty()).map(|h| h.parse()).transpose().context("http")?;
    let binds: usize = take("binds", "2").parse().context("binds")?;
    let window: usize = take("window", "500").parse().context("window")?;
    let rate: f64 = take("rate", "0").parse().context("rate")?;
    let seconds = Duration::from_secs_f64(take("seconds", "10").parse().context("seconds")?);
    let warmup = Duration::from_secs_f64(take("warmup", "2").parse().context("warmup")?);
    let count: u64 = take("count", "1000000").parse().context("count")?;
    let octets: usize = take("octets", "40").parse().context("octets")?;
    let (system_id, password) = (take("system_id", "foo"), take("password", "bar"));
    let label = take("label", "warp");
    if let Some(key) = args.keys().next() {
        bail!("unknown argument {key}");
    }
    ensure!((1..=64).contains(&binds) && octets <= 160, "binds: 1 to 64; octets: 160 at most");
    let seen = Arc::new(Seen::default());
    let load = Load {
        at: smpp,
        system_id,
        password,
        window,
        rate: rate / binds as f64,
        count: 0,
        receipts: true,
        octets,
    };
    let begun = Instant::now();
    match mode.as_str() {
        "through" => {
            vendor(upstream, Arc::clone(&seen))?;
            through(&load, http.map(|at| (at, target.as_str())), binds, warmup, seconds, &pid, &seen, &label)
        }
        "fill" => fill(Load { count: count / binds as u64, ..load }, binds, &pid, &label),
        "empty" => {
            vendor(upstream, Arc::clone(&seen))?;
            while seen.messages.load(Ordering::Relaxed) < count && begun.elapsed() < 12 * PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
            let line = json!({
                "label": label, "mode": "empty", "messages": seen.messages.load(Ordering::Relaxed),
                "first_message_s": seen.first_us.load(Ordering::Relaxed) as f64 / 1e6,
                "seconds": begun.elapsed().as_secs_f64(), "rss_kb": rss(&pid),
            });
            println!("{line}");
            Ok(())
        }
        other => bail!("mode={other}: through, fill or empty"),
    }
}

/// What all these processes take together; `None`: there are none.
fn cost(pids: &[u32]) -> Result<Option<(f64, u64)>> {
    let mut sum = None;
    for pid in pids {
        let cpu = Cpu::of(*pid).with_context(|| format!("process {pid}"))?;
        let (seconds, kb) = sum.unwrap_or((0.0, 0));
        sum = Some((seconds + cpu.user_s + cpu.system_s, kb + cpu.rss_kb));
    }
    Ok(sum)
}

fn rss(pids: &[u32]) -> Option<u64> {
    cost(pids).ok().flatten().map(|(_, kb)| kb)
}

#[allow(clippy::too_many_arguments, reason = "what the command line says")]
fn through(
    load: &Load,
    http: Option<(SocketAddr, &str)>,
    binds: usize,
    warmup: Duration,
    seconds: Duration,
    pid: &[u32],
    seen: &Seen,
    label: &str,
) -> Result<()> {
    let idle_kb = rss(pid);
    let done = Arc::new(Done::default());
    let calls = Arc::new(AtomicU64::new(0));
    let told_at = if http.is_some() { ends(Arc::clone(&calls))?.to_string() } else { String::new() };
    let threads: Vec<_> = (0..binds)
        .map(|_| {
            let (load, done) = (load.clone(), Arc::clone(&done));
            let door = http.map(|(at, target)| (at, target.replace("{dlr}", &told_at)));
            std::thread::spawn(move || match door {
                Some((at, target)) => sender(at, &target, load.rate, &done),
                None => customer(&load, &done, PATIENCE),
            })
        })
        .collect();
    std::thread::sleep(warmup);
    ensure!(done.accepted.load(Ordering::Relaxed) > 0, "no message was taken within {warmup:?}");
    let (before, tool_before) = (cost(pid)?, cost(&[std::process::id()])?);
    let receipts = || done.receipts.load(Ordering::Relaxed) + calls.load(Ordering::Relaxed);
    let counted = || (receipts(), done.accepted.load(Ordering::Relaxed));
    let (begun, from) = (Instant::now(), counted());
    done.measure.store(true, Ordering::Relaxed);
    std::thread::sleep(seconds);
    done.measure.store(false, Ordering::Relaxed);
    let (took, to) = (begun.elapsed().as_secs_f64(), counted());
    let (after, tool_after) = (cost(pid)?, cost(&[std::process::id()])?);
    // Receipts of what is on its way are waited for, so that what is missing is lost. The binds stay until then.
    done.stop.store(true, Ordering::Relaxed);
    let end = Instant::now() + PATIENCE / 2;
    let missing = || {
        let owed = done.sent.load(Ordering::Relaxed).saturating_sub(done.refused.load(Ordering::Relaxed));
        owed.saturating_sub(receipts())
    };
    while missing() > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    let missing = missing();
    done.leave.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| anyhow::anyhow!("a bind panicked"))??);
    }
    times.sort_unstable();
    let (told, accepted) = ((to.0 - from.0) as f64, (to.1 - from.1) as f64);
    let spent =
        |after: Option<(f64, u64)>, before: Option<(f64, u64)>| after.zip(before).map(|(a, b)| a.0 - b.0);
    let smsc = spent(after, before);
    let line = json!({
        "label": label, "mode": "through", "seconds": took, "binds": binds, "window": load.window,
        "rate": load.rate * binds as f64, "octets": load.octets,
        "delivered_per_s": told / took, "accepted_per_s": accepted / took,
        "cpu_s_per_1000": smsc.map(|s| s * 1_000.0 / told.max(1.0)),
        "cpu_cores": smsc.map(|s| s / took),
        "tool_cpu_cores": spent(tool_after, tool_before).map(|s| s / took),
        "answer_p50_ms": percentile(&times, 0.5), "answer_p90_ms": percentile(&times, 0.9),
        "answer_p99_ms": percentile(&times, 0.99),
        "refused": done.refused.load(Ordering::Relaxed),
        "receipts_missing": missing, "vendor_messages": seen.messages.load(Ordering::Relaxed),
        "rss_before_kb": idle_kb, "rss_kb": after.map(|a| a.1),
    });
    println!("{line}");
    Ok(())
}

fn fill(load: Load, binds: usize, pid: &[u32], label: &str) -> Result<()> {
    let idle_kb = rss(pid);
    let done = Arc::new(Done::default());
    done.leave.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let threads: Vec<_> = (0..binds)
        .map(|_| {
            let (load, done) = (load.clone(), Arc::clone(&done));
            std::thread::spawn(move || customer(&load, &done, PATIENCE))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a bind panicked"))??;
    }
    let took = begun.elapsed().as_secs_f64();
    let accepted = done.accepted.load(Ordering::Relaxed);
    let line = json!({
        "label": label, "mode": "fill", "seconds": took, "accepted": accepted,
        "refused": done.refused.load(Ordering::Relaxed), "accepted_per_s": accepted as f64 / took,
        "rss_before_kb": idle_kb, "rss_kb": rss(pid),
    });
    println!("{line}");
    Ok(())
}
