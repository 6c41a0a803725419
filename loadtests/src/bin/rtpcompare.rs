//! Our relay against a real rtpengine in user space: the same RTP load through both, alternating A B A B, medians and their
//! ratio as JSON and as a table.
//!
//! `rtpcompare [rounds=5] [seconds=5] [calls=500] [tick_us=1000] [spread=tick|even] [fifo=0] [cpu=N] [out=FILE] [warp="COMMAND …"] [rtpengine="COMMAND …"]`
//!
//! Commands are split at spaces; `{ng}` and `{ports}` in them are filled in. Each run starts its relay anew. Without an
//! installed rtpengine only our side runs and there is no ratio.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use warp_loadtests::relays::{RTPENGINE, Relay, WARP, facts, is_there, without_folder};

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

fn run(name: &str, command: &str, load: &[(&str, String)]) -> Result<Value> {
    let relay = Relay::start(command, 10_000, 29_999)?;
    let rtpload = std::env::current_exe()?.with_file_name("rtpload");
    let output = Command::new(rtpload)
        .args([format!("ng={}", relay.ng), format!("pid={}", relay.pid()), format!("label={name}")])
        .args(load.iter().map(|(k, v)| format!("{k}={v}")))
        .stderr(Stdio::inherit())
        .output()
        .context("rtpload, beside this program")?;
    ensure!(output.status.success(), "rtpload failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}
