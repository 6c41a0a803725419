//! `warp decks prices`: the rows of a version, as calls are priced by them, and the same rows in the report on a sheet.

use std::ops::ControlFlow;

use clap::Args;
use serde_json::Value;

use super::super::client::{Client, MOST};
use super::super::output::Output;
use super::super::{Common, Failure};
use super::{fields, find, text};

#[derive(Args, Debug)]
pub(super) struct PricesArgs {
    /// Name or id (deck_…).
    deck: String,
    /// 1, 2, 3 …; the version in force when absent, else the newest one.
    number: Option<u32>,
    /// Only dial codes that begin with these digits.
    #[arg(long, value_name = "DIGITS")]
    code: Option<String>,
    /// Rows; more than one page of the API is fetched as needed. 0: all there are.
    #[arg(long, default_value = "50")]
    limit: usize,
}

const COLUMNS: &[&str] = &[
    "code",
    "carried",
    "interstate",
    "intrastate",
    "indeterminate",
    "currency",
    "increments",
    "setup_fee",
    "from",
    "until",
];

pub(super) fn run(client: &Client, common: &Common, args: &PricesArgs) -> Result<u8, Failure> {
    let id = find(client, Some(&args.deck))?;
    let number = match args.number {
        Some(number) => number.to_string(),
        None => number_of(client, &id)?,
    };
    let mut path = format!("/admin/rate-decks/{id}/versions/{number}/prices");
    if let Some(code) = &args.code {
        path = format!("{path}?code={}", super::super::client::encoded(code.trim_start_matches('+')));
    }
    let out = Output::new(common, COLUMNS);
    out.heading(HEADING);
    let wanted = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut shown = 0usize;
    client.walk(&path, wanted.min(MOST), |row| {
        out.item(|| row.clone(), || fields(&flat(&row), COLUMNS), || line(&row));
        shown += 1;
        if shown < wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(0)
}

/// The version in force, else the newest one.
fn number_of(client: &Client, id: &str) -> Result<String, Failure> {
    let active = client.get(&format!("/admin/rate-decks/{id}"))?["active_version"].take();
    if !active.is_null() {
        return Ok(active.to_string());
    }
    let newest = client.page(&format!("/admin/rate-decks/{id}/versions?limit=1"))?;
    let newest = newest.items.first().map(|v| v["number"].to_string());
    newest.ok_or_else(|| {
        Failure::new("the deck has no version yet").with_code(3).hint("warp decks import FILE")
    })
}

/// Over the rows for people.
pub(super) const HEADING: &str = "code             per minute    increments  fee        from";

/// A row with plain amounts, for columns.
fn flat(row: &Value) -> Value {
    let mut out = row.clone();
    out["currency"] = row["interstate"]["currency"].clone();
    for name in ["interstate", "intrastate", "indeterminate", "setup_fee"] {
        out[name] = row[name]["amount"].clone();
    }
    out
}

/// A row for people: one price where the three are the same.
pub(super) fn line(row: &Value) -> String {
    let code = text(&row["code"]);
    let from = row["from"].as_str().unwrap_or("always");
    let until = row["until"].as_str().map_or(String::new(), |t| format!(" until {t}"));
    if row["carried"] == false {
        return format!("{code:<16} not carried                          {from}{until}");
    }
    let prices = ["interstate", "intrastate", "indeterminate"].map(|name| text(&row[name]["amount"]));
    let price = match &prices {
        [a, b, c] if a == b && b == c => a.clone(),
        all => all.join(" / "),
    };
    let (increments, fee) = (text(&row["increments"]), text(&row["setup_fee"]["amount"]));
    format!("{code:<16} {price:<13} {increments:<11} {fee:<10} {from}{until}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whoever reads a deck sees what a call costs: price, increments, fee, and from when.
    #[test]
    fn a_row_says_what_a_call_costs() {
        let usd = |amount: &str| json!({"amount": amount, "currency": "USD"});
        let row = |prices: [&str; 3], from: Value| {
            json!({"code": "44", "carried": true, "interstate": usd(prices[0]), "intrastate": usd(prices[1]),
                "indeterminate": usd(prices[2]), "increments": "60/1", "setup_fee": usd("0.05"), "from": from, "until": null})
        };
        let words = |row: &Value| line(row).split_whitespace().collect::<Vec<_>>().join(" ");
        let one = row(["0.0125"; 3], Value::Null);
        assert_eq!(words(&one), "44 0.0125 60/1 0.05 always");
        let three = row(["0.01", "0.02", "0.03"], "2026-12-05T00:00:00Z".into());
        assert_eq!(words(&three), "44 0.01 / 0.02 / 0.03 60/1 0.05 2026-12-05T00:00:00Z");
        let gone = json!({"code": "44", "carried": false, "interstate": null, "from": null, "until": "2027"});
        assert_eq!(words(&gone), "44 not carried always until 2027");
        assert_eq!(
            fields(&flat(&three), COLUMNS),
            ["44", "true", "0.01", "0.02", "0.03", "USD", "60/1", "0.05", "2026-12-05T00:00:00Z", ""]
        );
        assert_eq!(
            fields(&flat(&gone), &["code", "carried", "interstate", "currency"]),
            ["44", "false", "", ""]
        );
    }
}
