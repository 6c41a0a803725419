//! The LCR figure: full decisions over 30 vendors × 500,000 prefixes at 85 % coverage, three jurisdictions, 92 % domestic
//! calls at random. Prints percentiles and memory, and writes them with the machine's facts.
//!
//! `cargo run --release -p warp-bench --bin lcr [vendors=30] [prefixes=500000] [coverage=85] [calls=1000000] [out=FILE]`
//!
//! Decks are generated twice (two passes of the index builder), so that one deck at a time is in memory. A decision is the
//! whole of `decide`: reading both numbers, class, jurisdiction, sell price, candidates with live figures, margin and prices.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use warp_bench::deckgen::{World, directory};
use warp_bench::facts::{Facts, memory_mib};
use warp_model::Wall;
use warp_model::hash::SplitMix;
use warp_policy::lcr::Side;
use warp_policy::{
    CallInput, LcrBuilder, Live, NumberPlan, RateList, Snapshot, TrunkIx, VendorTrunkLive, decide, explain,
};

fn main() {
    let args: BTreeMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect();
    let number =
        |key: &str, default: u64| -> u64 { args.get(key).and_then(|v| v.parse().ok()).unwrap_or(default) };
    let vendors = number("vendors", 30);
    let prefixes = number("prefixes", 500_000) as usize;
    let coverage = number("coverage", 85).clamp(1, 100) as usize;
    let calls = number("calls", 1_000_000) as usize;
    let seed = number("seed", 7);
    let facts = Facts::read();

    let plan = Arc::new(NumberPlan::seed());
    let begin = Instant::now();
    let world = World::new(&plan, prefixes * 100 / coverage, seed);
    let before = memory_mib("VmRSS");
    let mut rows = 0usize;
    let mut build_s = 0.0;
    let mut builder = LcrBuilder::new(&plan, Wall(0), vendors as usize);
    let sell = RateList { decks: vec![world.sell_deck(seed)] };
    let list = |n: u64| RateList { decks: vec![world.vendor_deck(n, prefixes, seed)] };
    for n in 0..vendors {
        let list = list(n);
        rows += list.decks[0].len();
        let t = Instant::now();
        builder.survey(Side::Buy, &list).expect("a generated deck");
        build_s += t.elapsed().as_secs_f64();
    }
    builder.survey(Side::Sell, &sell).expect("a generated deck");
    let t = Instant::now();
    builder.lay_out().expect("the layout");
    build_s += t.elapsed().as_secs_f64();
    for n in 0..vendors {
        let list = list(n);
        let t = Instant::now();
        builder.fill(&list).expect("the same deck");
        build_s += t.elapsed().as_secs_f64();
    }
    builder.fill(&sell).expect("the same deck");
    let t = Instant::now();
    let index = Arc::new(builder.finish().expect("the index"));
    build_s += t.elapsed().as_secs_f64();
    drop(sell);
    eprintln!("built in {:.1} s, with generating {:.1} s", build_s, begin.elapsed().as_secs_f64());

    let directory = Arc::new(directory(vendors, 4).build().expect("a generated directory"));
    let t = Instant::now();
    let snapshot = Snapshot::new(directory, index.clone(), plan);
    let bind_us = t.elapsed().as_micros();
    let live = vec![VendorTrunkLive::default(); vendors as usize];
    let live = Live::new(&live);
    let rss = memory_mib("VmRSS") - before;
    let index_mib = index.memory_bytes() as f64 / 1_048_576.0;

    let mut rng = SplitMix::new(seed ^ 99);
    let texts: Vec<(String, String)> = (0..calls)
        .map(|_| (world.caller(&mut rng).to_string(), world.called(92, &mut rng).to_string()))
        .collect();
    let input = |i: usize| {
        let (caller, called) = &texts[i];
        CallInput {
            trunk: TrunkIx(0),
            caller: caller.as_bytes(),
            called: called.as_bytes(),
            at: Wall(0),
            call_hash: i as u64,
            lrn: None,
        }
    };
    // Warm up on a tenth, then each decision on its own clock.
    for i in 0..calls / 10 {
        black_box(decide(&snapshot, &input(i), &live));
    }
    let mut ns = Vec::with_capacity(calls);
    let (mut routed, mut offered, mut refused) = (0u64, 0u64, BTreeMap::<&str, u64>::new());
    for i in 0..calls {
        let input = input(i);
        let t = Instant::now();
        let d = black_box(decide(black_box(&snapshot), &input, &live));
        ns.push(t.elapsed().as_nanos() as u64);
        match d.result {
            Ok(list) => {
                routed += 1;
                offered += list.len() as u64;
            }
            Err(r) => *refused.entry(r.code()).or_default() += 1,
        }
    }
    let clock = {
        let mut c: Vec<u64> = (0..10_000).map(|_| Instant::now().elapsed().as_nanos() as u64).collect();
        c.sort_unstable();
        c[5_000]
    };
    let t = Instant::now();
    for i in 0..calls {
        black_box(decide(black_box(&snapshot), &input(i), &live));
    }
    let mean_ns = t.elapsed().as_nanos() as f64 / calls as f64;
    ns.sort_unstable();
    let at = |p: f64| ns[((ns.len() - 1) as f64 * p) as usize];
    let t = Instant::now();
    let explained = 1_000.min(calls);
    for i in 0..explained {
        let input = input(i);
        let d = decide(&snapshot, &input, &live);
        black_box(explain(&snapshot, &input, &live, &d));
    }
    let explain_us = t.elapsed().as_micros() as f64 / explained as f64;

    let result = json!({
        "what": "full LCR decision, decision record not counted",
        "vendors": vendors, "prefixes_per_vendor": prefixes, "coverage_percent": coverage,
        "rates": rows, "rows_of_the_index": index.len(), "domestic_percent": 92, "calls": calls,
        "decide_ns": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "mean_back_to_back": mean_ns,
            "clock_overhead_included_in_percentiles": clock},
        "memory_mib": {"index_tables": index_mib, "rss_growth_by_index_and_snapshot": rss, "process_rss": memory_mib("VmRSS"),
            "process_peak": memory_mib("VmHWM")},
        "build_s": build_s, "bind_directory_us": bind_us as u64, "explain_us_mean": explain_us,
        "routed": routed, "candidates_mean": offered as f64 / routed.max(1) as f64, "refused": refused,
        "reach": {"p50_ns": 1000, "memory_mib": 250},
        "glibc_tunables": std::env::var("GLIBC_TUNABLES").ok(),
        "facts": facts,
    });
    println!(
        "{:>12} {:>8} {:>8} {:>8} {:>10} {:>10}",
        "p50 ns", "p90", "p99", "p99.9", "mean ns", "index MiB"
    );
    println!(
        "{:>12} {:>8} {:>8} {:>8} {:>10.0} {:>10.1}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        mean_ns,
        index_mib
    );
    let text = serde_json::to_string_pretty(&result).expect("plain JSON");
    match args.get("out") {
        Some(path) => std::fs::write(path, text + "\n").expect("the results file"),
        None => println!("{text}"),
    }
}
