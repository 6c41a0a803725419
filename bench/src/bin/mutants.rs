//! Do the tests notice? A seeded sample of small changes to the code, one at a time, by cargo-mutants; the table goes to
//! `bench/results/mutants-DATE.json`. `make mutants [CRATE=sip] [COUNT=40] [SEED=1]`.
//!
//! First each change meets the tests of its own package. What they miss meets the tests of the packages that stand on it (the
//! simulator, the products, the whole stack). What still lives is a survivor: it wants a test, or, where no test can tell the
//! two apart, a line with the reason in `bench/mutants-accepted.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use serde_json::Value;
use warp_bench::facts::Facts;
use warp_model::hash::SplitMix;

/// One room to sample from.
struct Room {
    name: &'static str,
    package: &'static str,
    /// Glob of the files to change.
    files: &'static str,
    /// Packages whose tests run the room too.
    above: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    Room {
        name: "sip",
        package: "warp-sip",
        files: "crates/sip/src/**",
        above: &["warp-sip-proxy", "warp-sim"],
    },
    Room {
        name: "sdp",
        package: "warp-sdp",
        files: "crates/sdp/src/**",
        above: &["warp-media-relay", "warp-sip-proxy"],
    },
    Room {
        name: "ng",
        package: "warp-ng",
        files: "crates/ng/src/**",
        above: &["warp-media-relay", "warp-sip-proxy"],
    },
    Room { name: "media", package: "warp-media", files: "crates/media/src/**", above: &["warp-media-relay"] },
    Room {
        name: "policy",
        package: "warp-policy",
        files: "crates/policy/src/**",
        above: &["warp-sip-proxy", "warp-control-plane"],
    },
    Room {
        name: "events",
        package: "warp-events",
        files: "crates/events/src/**",
        above: &["warp-control-plane", "warp-platform"],
    },
    Room {
        name: "sip-proxy",
        package: "warp-sip-proxy",
        files: "sip-proxy/src/core/**",
        above: &["warp-sim", "warp-platform"],
    },
    Room {
        name: "media-relay",
        package: "warp-media-relay",
        files: "media-relay/src/core/**",
        above: &["warp-platform"],
    },
    Room {
        name: "control-plane",
        package: "warp-control-plane",
        files: "control-plane/src/**",
        above: &["warp-platform"],
    },
];

/// What became of one room's sample.
#[derive(Default, Serialize)]
struct Tally {
    room: String,
    /// Changes that can be made in this room at all.
    possible: usize,
    sampled: usize,
    /// Noticed by a test, or by the time-out that a test would run into.
    caught: usize,
    /// Of those, noticed only by the tests of packages above.
    caught_above: usize,
    /// Did not compile: says nothing, counts nowhere.
    unviable: usize,
    /// Listed as changes that no test can tell apart.
    accepted: usize,
    /// Noticed by no test.
    missed: usize,
    /// caught / (caught + missed), percent.
    share: f64,
    survivors: Vec<String>,
}

#[derive(Serialize)]
struct Results {
    what: String,
    facts: Facts,
    seed: u64,
    count: usize,
    rooms: Vec<Tally>,
    caught: usize,
    missed: usize,
    share: f64,
}

fn main() {
    let mut words: BTreeMap<String, String> = BTreeMap::new();
    for arg in std::env::args().skip(1) {
        match arg.split_once('=') {
            Some((key, value)) if ["crate", "count", "seed", "out", "above"].contains(&key) => {
                words.insert(key.to_owned(), value.to_owned());
            }
            _ => stop(&format!("mutants: `{arg}` is not one of crate= count= seed= above=no out=")),
        }
    }
    let number = |key: &str, default: u64| match words.get(key) {
        Some(text) => {
            text.parse().unwrap_or_else(|_| stop(&format!("mutants: {key}={text} is not a number")))
        }
        None => default,
    };
    let (count, seed) = (number("count", 40) as usize, number("seed", 1));
    let above = words.get("above").is_none_or(|w| w != "no");
    let rooms: Vec<&Room> = match words.get("crate") {
        Some(names) => names
            .split(',')
            .map(|name| {
                ROOMS.iter().find(|r| r.name == name || r.package == name).unwrap_or_else(|| {
                    let known: Vec<&str> = ROOMS.iter().map(|r| r.name).collect();
                    stop(&format!("mutants: no room `{name}`; there are {}", known.join(" ")))
                })
            })
            .collect(),
        None => ROOMS.iter().collect(),
    };
    let facts = Facts::read();
    let accepted = accepted();
    let mut tallies = Vec::new();
    for room in rooms {
        let tally = sample(room, count, seed, above, &accepted);
        eprintln!(
            "{}: {} of {} noticed ({:.0} %)",
            tally.room,
            tally.caught,
            tally.caught + tally.missed,
            tally.share
        );
        for name in &tally.survivors {
            eprintln!("  survives: {name}");
        }
        tallies.push(tally);
    }
    let (caught, missed) = tallies.iter().fold((0, 0), |(c, m), t| (c + t.caught, m + t.missed));
    let day = facts.date.get(..10).unwrap_or("today").to_owned();
    let results = Results {
        what: "single changes to the code, noticed by the tests: make mutants".into(),
        facts,
        seed,
        count,
        rooms: tallies,
        caught,
        missed,
        share: share(caught, missed),
    };
    let out = words
        .get("out")
        .map_or_else(|| PathBuf::from(format!("bench/results/mutants-{day}.json")), PathBuf::from);
    let text = serde_json::to_string_pretty(&results).unwrap_or_default() + "\n";
    if let Err(e) = std::fs::write(&out, text) {
        stop(&format!("mutants: {}: {e}", out.display()));
    }
    println!("all: {caught} of {} noticed ({:.0} %), {}", caught + missed, results.share, out.display());
}

/// Samples one room and runs its changes.
fn sample(room: &Room, count: usize, seed: u64, above: bool, accepted: &BTreeSet<String>) -> Tally {
    let mut names = list(room);
    names.sort();
    names.dedup();
    let possible = names.len();
    let mut draw = SplitMix::new(seed);
    let mut chosen = BTreeSet::new();
    while chosen.len() < count && !names.is_empty() {
        let at = draw.below(names.len() as u64) as usize;
        chosen.insert(names.swap_remove(at));
    }
    let mut tally = Tally { room: room.name.into(), possible, sampled: chosen.len(), ..Tally::default() };
    let (known, open): (Vec<String>, Vec<String>) =
        chosen.into_iter().partition(|n| accepted.contains(&place_free(n)));
    tally.accepted = known.len();
    let own = run(room, &[room.package], &open, "own");
    let mut missed = Vec::new();
    for name in open {
        match own.get(&name).map(String::as_str) {
            Some("CaughtMutant" | "Timeout") => tally.caught += 1,
            Some("Unviable") => tally.unviable += 1,
            Some("MissedMutant") => missed.push(name),
            other => stop(&format!("mutants: no outcome for {name}: {other:?}")),
        }
    }
    if above && !missed.is_empty() {
        let by_above = run(room, room.above, &missed, "above");
        missed.retain(|name| {
            let caught = matches!(by_above.get(name).map(String::as_str), Some("CaughtMutant" | "Timeout"));
            tally.caught += usize::from(caught);
            tally.caught_above += usize::from(caught);
            !caught
        });
    }
    tally.missed = missed.len();
    tally.share = share(tally.caught, tally.missed);
    tally.survivors = missed;
    tally
}

/// Every change that cargo-mutants knows for a room.
fn list(room: &Room) -> Vec<String> {
    let out = Command::new("cargo")
        .args(["mutants", "--list", "--json", "--no-config", "-p", room.package, "-f", room.files])
        .output()
        .unwrap_or_else(|e| {
            stop(&format!("mutants: cargo mutants: {e}; install it: cargo install cargo-mutants --locked"))
        });
    if !out.status.success() {
        stop(&format!("mutants: {}", String::from_utf8_lossy(&out.stderr)));
    }
    let all: Value = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    all.as_array().into_iter().flatten().filter_map(|m| m["name"].as_str().map(str::to_owned)).collect()
}

/// Runs the named changes against the tests of `packages`: name → outcome.
fn run(room: &Room, packages: &[&str], names: &[String], pass: &str) -> BTreeMap<String, String> {
    if names.is_empty() {
        return BTreeMap::new();
    }
    let folder = Path::new("target/mutants").join(room.name).join(pass);
    let _ = std::fs::remove_dir_all(&folder);
    if let Err(e) = std::fs::create_dir_all(&folder) {
        stop(&format!("mutants: {}: {e}", folder.display()));
    }
    let pattern = names.iter().map(|n| format!("^{}$", escape(n))).collect::<Vec<_>>().join("|");
    let mut command = Command::new("cargo");
    command
        .args([
            "mutants",
            "--no-config",
            "--baseline",
            "skip",
            "--timeout",
            "300",
            "--profile",
            "ci",
            "--colors",
            "never",
        ])
        .args(["-p", room.package, "-f", room.files, "--re", &pattern, "-o"])
        .arg(&folder)
        .env("CARGO_TARGET_DIR", build_folder())
        .env("CARGO_INCREMENTAL", "1")
        .env("PROPTEST_CASES", "64");
    for package in packages {
        command.args(["--test-package", package]);
    }
    // Its own exit code says that there are survivors; the outcomes say which.
    if let Err(e) = command.status() {
        stop(&format!("mutants: cargo mutants: {e}"));
    }
    let file = folder.join("mutants.out/outcomes.json");
    let text =
        std::fs::read_to_string(&file).unwrap_or_else(|e| stop(&format!("mutants: {}: {e}", file.display())));
    let all: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    all["outcomes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|o| {
            Some((o["scenario"]["Mutant"]["name"].as_str()?.to_owned(), o["summary"].as_str()?.to_owned()))
        })
        .collect()
}

/// Where the changed copies are built: cargo-mutants works in a copy of the tree, so that the path must be absolute.
fn build_folder() -> PathBuf {
    let set = std::env::var_os("MUTANTS_TARGET_DIR").map(PathBuf::from);
    let path = set.unwrap_or_else(|| PathBuf::from("target/mutants-build"));
    std::path::absolute(&path).unwrap_or(path)
}

/// The accepted survivors: one a line, `file: change = reason`; `#` begins a remark.
fn accepted() -> BTreeSet<String> {
    let text = std::fs::read_to_string("bench/mutants-accepted.txt").unwrap_or_default();
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|l| match l.rsplit_once(" = ") {
            Some((name, reason)) if !reason.trim().is_empty() => name.trim().to_owned(),
            _ => stop(&format!("mutants: bench/mutants-accepted.txt: `{l}` has no reason behind ` = `")),
        })
        .collect()
}

/// A change's name without its line and column, so that a list of names outlives edits above it.
fn place_free(name: &str) -> String {
    let Some((file, rest)) = name.split_once(".rs:") else { return name.to_owned() };
    let change = rest.split_once(": ").map_or(rest, |(_, change)| change);
    format!("{file}.rs: {change}")
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn share(caught: usize, missed: usize) -> f64 {
    match caught + missed {
        0 => 100.0,
        all => (caught as f64 * 1_000.0 / all as f64).round() / 10.0,
    }
}

fn stop(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(2);
}
