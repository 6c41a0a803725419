//! A rate sheet of 200,000 rows from its bytes to the stored form of a version, with every check and the report.
//!
//! `cargo run --release -p warp-bench --bin sheet [rows=200000] [rounds=5] [out=FILE]`
//!
//! The sheet has what vendors' sheets have: names, country and dial code, price, date, increments, fee, status, currency and
//! remarks, and lines above and below. It is compared with a version of the same size.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;
use warp_bench::facts::{Facts, memory_mib};
use warp_model::{Currency, DeckId, Wall};
use warp_policy::deck::{Deck, DeckKind, DeckMeta, ImportOptions, Recognised, Report, read_text};

fn sheet(rows: usize, step: usize) -> String {
    let mut text = String::from(
        "Example Carrier Ltd\nDestination,Country Code,Dial Code,Rate (USD/min),Effective Date,Billing Increment,Setup Fee,Status,Currency,Remarks\n",
    );
    for n in 0..rows {
        let country = ["44", "33", "49", "52", "7"][n % 5];
        let price = 1 + (n * 7 + n % 3 * step) % 900_000;
        text.push_str(&format!(
            "\"Place {n}, mobile\",{country},{country}{:07},0.{price:06},2026-0{}-01,{},0,{},USD,\n",
            n / 5,
            1 + n % 9,
            ["1/1", "60/1", "60/60"][n % 3],
            ["New", "Increase", "Unchanged"][n % 3],
        ));
    }
    text.push_str("\nTotal: these rows\n");
    text
}

fn main() {
    let args: BTreeMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect();
    let number = |key: &str, usual: usize| args.get(key).and_then(|v| v.parse().ok()).unwrap_or(usual);
    let (rows, rounds) = (number("rows", 200_000), number("rounds", 5).max(1));
    let options = ImportOptions { kind: DeckKind::Az, ..ImportOptions::default() };
    let at = Wall::from_unix_ms(1_795_953_600_000);
    let meta = |version| DeckMeta {
        id: DeckId::from_u128(1),
        version,
        name: "sheet".into(),
        kind: DeckKind::Az,
        currency: Currency::USD,
    };
    let base = read_text(sheet(rows, 0).as_bytes(), &options).expect("a sheet");
    let base = Deck::replaced(None, meta(1), &base, at).expect("a deck").0;
    let text = sheet(rows, 5);
    let mut times: Vec<(f64, f64)> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            let read = read_text(text.as_bytes(), &options).expect("a sheet");
            let parsed = begun.elapsed().as_secs_f64();
            let (deck, _) = Deck::replaced(Some(&base), meta(2), &read, at).expect("a deck");
            let report = Report::of(Some(&base), &deck, at, Recognised::default());
            assert_eq!(report.same + report.dearer + report.cheaper, rows);
            assert!(deck.to_bytes().len() > rows);
            (begun.elapsed().as_secs_f64(), parsed)
        })
        .collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (whole, parsed) = times.get(rounds / 2).copied().unwrap_or_default();
    println!(
        "{rows} rows, {} MB: {whole:.3} s, of which {parsed:.3} s reading (median of {rounds})",
        text.len() / 1_000_000
    );
    if let Some(path) = args.get("out") {
        let result = json!({ "facts": Facts::read(), "rows": rows, "bytes": text.len(), "rounds": rounds,
            "median_s": whole, "reading_s": parsed, "memory_mib": memory_mib("VmHWM") });
        let written =
            std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&result).expect("JSON")));
        written.expect("the result is written");
    }
}
