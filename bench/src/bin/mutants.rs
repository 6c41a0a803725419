//! Do the tests notice? A seeded sample of small changes to the code, one at a time, by cargo-mutants; the table goes to
//! `bench/results/mutants-DATE.json`. `make mutants [CRATE=sip] [COUNT=40] [SEED=1]`.
//!
//! First each change meets the tests of its own package. What they miss meets the tests of the packages that stand on it (the
//! simulator, the products, the whole stack). What still lives is a survivor: it wants a test, or, where no test can tell the
//! two apart, a line with the reason in `bench/mutants-accepted.txt`.
//!
//! All changes of a room are built at once, each behind a switch, and the tests run with one of them on; what has no switch is
//! built alone by cargo-mutants (`alone=yes`: everything is; `alone=no`: that is left out, to look round). Rooms that stand in the file already, of the same seed and
//! count, stay: a long sample may be taken room by room.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use warp_bench::facts::Facts;
use warp_bench::together::{self, Listed, Outcome, Plan};
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
#[derive(Clone, Default, Serialize, Deserialize)]
struct Tally {
    room: String,
    /// The state that was sampled; `+` behind it: with changes that were not committed.
    commit: String,
    /// Whose tests ran besides the room's own.
    above: Vec<String>,
    /// Changes that can be made in this room at all.
    possible: usize,
    sampled: usize,
    /// Noticed by a test, or by the time-out that a test would run into.
    caught: usize,
    /// Of those, noticed only by the tests of packages above.
    caught_above: usize,
    /// Did not compile: says nothing, counts nowhere.
    unviable: usize,
    /// Left out (`alone=no`).
    untried: usize,
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
            Some((key, value)) if ["crate", "count", "seed", "out", "above", "alone"].contains(&key) => {
                words.insert(key.to_owned(), value.to_owned());
            }
            _ => stop(&format!(
                "mutants: `{arg}` is not one of crate= count= seed= above=no alone=yes|no out="
            )),
        }
    }
    let number = |key: &str, default: u64| match words.get(key) {
        Some(text) => {
            text.parse().unwrap_or_else(|_| stop(&format!("mutants: {key}={text} is not a number")))
        }
        None => default,
    };
    let (count, seed) = (number("count", 40) as usize, number("seed", 1));
    let how = How {
        above: words.get("above").is_none_or(|w| w != "no"),
        alone: words.get("alone").map(|w| w == "yes"),
    };
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
    let day = facts.date.get(..10).unwrap_or("today").to_owned();
    let out = words
        .get("out")
        .map_or_else(|| PathBuf::from(format!("bench/results/mutants-{day}.json")), PathBuf::from);
    let accepted = accepted();
    let mut tallies = standing(&out, seed, count);
    for room in rooms {
        let tally = sample(room, count, seed, how, &accepted);
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
        tallies.retain(|t| t.room != tally.room);
        tallies.push(tally);
        // After each room: the next one may take an hour.
        store(&out, &facts, seed, count, &tallies);
    }
}

/// How changes meet tests.
#[derive(Clone, Copy)]
struct How {
    above: bool,
    /// Everything; nothing; `None`: what has no switch.
    alone: Option<bool>,
}

/// The rooms of a file that was begun, when it is of the same sample.
fn standing(out: &Path, seed: u64, count: usize) -> Vec<Tally> {
    let text = std::fs::read_to_string(out).unwrap_or_default();
    let begun: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if begun["seed"] != seed || begun["count"] != count {
        return Vec::new();
    }
    serde_json::from_value(begun["rooms"].clone()).unwrap_or_default()
}

fn store(out: &Path, facts: &Facts, seed: u64, count: usize, tallies: &[Tally]) {
    let order = |t: &Tally| ROOMS.iter().position(|r| r.name == t.room);
    let mut rooms = tallies.to_vec();
    rooms.sort_by_key(order);
    let (caught, missed) = rooms.iter().fold((0, 0), |(c, m), t| (c + t.caught, m + t.missed));
    let results = Results {
        what: "single changes to the code, noticed by the tests: make mutants".into(),
        facts: facts.clone(),
        seed,
        count,
        rooms,
        caught,
        missed,
        share: share(caught, missed),
    };
    let text = serde_json::to_string_pretty(&results).unwrap_or_default() + "\n";
    if let Err(e) = std::fs::write(out, text) {
        stop(&format!("mutants: {}: {e}", out.display()));
    }
    println!("all: {caught} of {} noticed ({:.0} %), {}", caught + missed, results.share, out.display());
}

/// The state of the work tree.
fn commit() -> String {
    let git = |args: &[&str]| {
        let out = Command::new("git").args(args).output().map(|o| o.stdout).unwrap_or_default();
        String::from_utf8_lossy(&out).trim().to_owned()
    };
    // Results and notes change no test.
    let changed =
        git(&["status", "--porcelain", "--", ".", ":!bench/results", ":!bench/mutants-accepted.txt"]);
    git(&["rev-parse", "--short", "HEAD"]) + if changed.is_empty() { "" } else { "+" }
}

/// Samples one room and runs its changes.
fn sample(room: &Room, count: usize, seed: u64, how: How, accepted: &BTreeSet<String>) -> Tally {
    let listed = list(room);
    let mut names: Vec<String> = listed.keys().cloned().collect();
    let possible = names.len();
    let mut draw = SplitMix::new(seed);
    let mut chosen = BTreeSet::new();
    while chosen.len() < count && !names.is_empty() {
        let at = draw.below(names.len() as u64) as usize;
        chosen.insert(names.swap_remove(at));
    }
    let mut tally = Tally {
        room: room.name.into(),
        commit: commit(),
        possible,
        sampled: chosen.len(),
        ..Tally::default()
    };
    let (known, open): (Vec<String>, Vec<String>) =
        chosen.into_iter().partition(|n| accepted.contains(&place_free(n)));
    tally.accepted = known.len();
    let chosen_open = open.len();
    let (mut missed, mut unviable) = (Vec::new(), 0);
    for (name, outcome) in meet(room, &[room.package], &listed, &open, how, "own") {
        match outcome {
            Some(Outcome::Caught | Outcome::TimedOut) => tally.caught += 1,
            Some(Outcome::Missed) => missed.push(name),
            None => unviable += 1,
        }
    }
    tally.unviable = unviable;
    tally.untried = chosen_open - tally.caught - missed.len() - unviable;
    if how.above && !missed.is_empty() {
        tally.above = room.above.iter().map(|p| (*p).to_owned()).collect();
        let by_above = meet(room, room.above, &listed, &missed, how, "above");
        missed.retain(|name| {
            let caught = matches!(by_above.get(name), Some(Some(Outcome::Caught | Outcome::TimedOut)));
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

/// The outcome of each change with the tests of `packages`; `None`: it does not compile.
fn meet(
    room: &Room,
    packages: &[&str],
    listed: &BTreeMap<String, Value>,
    names: &[String],
    how: How,
    pass: &str,
) -> BTreeMap<String, Option<Outcome>> {
    let mut outcomes = BTreeMap::new();
    if how.alone != Some(true) {
        let entries = names.iter().filter_map(|n| listed.get(n));
        let changes: Vec<Listed> = entries.zip(1..).filter_map(|(e, n)| Listed::of(e, n)).collect();
        let (crate_folder, _) = room.files.split_once("/src/").unwrap_or((room.files, ""));
        let root = format!("{crate_folder}/src/lib.rs");
        let tree = build_folder().with_file_name("mutants-tree");
        let plan = Plan { tree, build: build_folder(), root: &root, packages };
        let found = together::run(&plan, &changes).unwrap_or_else(|e| stop(&format!("mutants: {e}")));
        outcomes.extend(found.into_iter().map(|(name, outcome)| (name, Some(outcome))));
    }
    if how.alone == Some(false) {
        return outcomes;
    }
    let alone: Vec<String> = names.iter().filter(|n| !outcomes.contains_key(*n)).cloned().collect();
    let by_cargo = run(room, packages, &alone, pass);
    for name in alone {
        let outcome = match by_cargo.get(&name).map(String::as_str) {
            Some("CaughtMutant") => Some(Outcome::Caught),
            Some("Timeout") => Some(Outcome::TimedOut),
            Some("MissedMutant") => Some(Outcome::Missed),
            Some("Unviable") => None,
            other => stop(&format!("mutants: no outcome for {name}: {other:?}")),
        };
        outcomes.insert(name, outcome);
    }
    outcomes
}

/// Every change that cargo-mutants knows for a room, by name.
fn list(room: &Room) -> BTreeMap<String, Value> {
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
    let entries = all.as_array().into_iter().flatten();
    entries.filter_map(|m| Some((m["name"].as_str()?.to_owned(), m.clone()))).collect()
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
    command.args(together::features(packages));
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
