//! `warp calls list|show|tail`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, encoded};
use super::{Common, Failure, Form};

#[derive(Args, Debug)]
pub(super) struct CallsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Newest first.
    List {
        /// Only answered, busy, no_answer, cancelled, rejected or failed.
        #[arg(long)]
        outcome: Option<String>,
        /// Only this trunk (trk_…).
        #[arg(long)]
        trunk: Option<String>,
        /// Only this called number.
        #[arg(long)]
        to: Option<String>,
        /// Only this caller.
        #[arg(long)]
        from: Option<String>,
        /// Only this final SIP status.
        #[arg(long)]
        code: Option<u16>,
        /// Rows.
        #[arg(long, default_value_t = 20)]
        limit: u16,
    },
    /// One call: legs, decision, price with the sum written out.
    Show {
        /// call_…
        id: String,
    },
    /// Calls as they end; Ctrl-C stops.
    Tail {
        /// Ends after so many.
        #[arg(long)]
        count: Option<u64>,
    },
}

pub(super) fn run(args: &CallsArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    match &args.verb {
        Verb::List { outcome, trunk, to, from, code, limit } => {
            let mut path = format!("/calls?limit={limit}");
            let code = code.map(|c| c.to_string());
            let filters =
                [("outcome", outcome), ("trunk", trunk), ("called", to), ("caller", from), ("code", &code)];
            for (name, value) in filters {
                if let Some(value) = value {
                    path.push_str(&format!("&{name}={}", encoded(value)));
                }
            }
            let calls = client.either(|of| client.page(&format!("{of}{path}")))?.items;
            head(common);
            let vendors = vendor_slugs(&client);
            calls.iter().for_each(|call| print(call, &vendors, common));
            Ok(0)
        }
        Verb::Show { id } => {
            let call = client.either(|of| client.get(&format!("{of}/calls/{}", encoded(id))))?;
            if common.json {
                println!("{call}");
            } else {
                show(&call, &vendor_slugs(&client));
            }
            Ok(0)
        }
        Verb::Tail { count } => tail(&client, *count, common),
    }
}

/// Names of the columns: on a terminal, and always in CSV.
fn head(common: &Common) {
    if common.output == Form::Csv {
        super::say(common, format_args!("{}", COLUMNS.join(",")));
    } else if !common.json && std::io::stdout().is_terminal() {
        super::say(common, format_args!("{HEAD}"));
    }
}

const COLUMNS: &[&str] = &[
    "end_at",
    "id",
    "caller",
    "called",
    "outcome",
    "sip_code",
    "vendor",
    "duration_ms",
    "price",
    "currency",
];

/// A call as a line of [`COLUMNS`].
fn csv(call: &Value, vendor: &str) -> String {
    let number = |name: &str| call[name].as_i64().map_or_else(String::new, |n| n.to_string());
    let fields = [
        text(call, "end_at").to_owned(),
        text(call, "id").to_owned(),
        text(call, "caller").to_owned(),
        text(call, "called").to_owned(),
        text(call, "outcome").to_owned(),
        number("sip_code"),
        vendor.to_owned(),
        number("duration_ms"),
        text(&call["price"], "amount").to_owned(),
        text(&call["price"], "currency").to_owned(),
    ];
    fields.map(|f| quoted(&f)).join(",")
}

/// RFC 4180: quotes where a separator, a quote or a line end is inside. A number as dialled is a peer's text: one that a
/// spreadsheet would take for a formula gets an apostrophe.
fn quoted(field: &str) -> String {
    let number = field.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    let formula = !number && field.starts_with(['=', '@', '-', '+', '\t']);
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    if field.contains([',', '"', '\r', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

const HEAD: &str = "ended                     call                             from             to                outcome    code  vendor    duration   price";

fn tail(client: &Client, count: Option<u64>, common: &Common) -> Result<u8, Failure> {
    let vendors = vendor_slugs(client);
    head(common);
    let mut seen: BTreeMap<String, ()> = BTreeMap::new();
    let mut first = true;
    let mut shown = 0u64;
    loop {
        let mut fresh: Vec<Value> = client
            .either(|of| client.page(&format!("{of}/calls?limit=100")))?
            .items
            .into_iter()
            .filter(|call| !seen.contains_key(call["id"].as_str().unwrap_or_default()))
            .collect();
        // Records come in the order of their beginning; people want the order of their end.
        fresh.sort_by(|a, b| text(a, "end_at").cmp(text(b, "end_at")));
        for call in fresh {
            seen.insert(text(&call, "id").to_owned(), ());
            if first {
                continue;
            }
            print(&call, &vendors, common);
            shown += 1;
            if count.is_some_and(|count| shown >= count) {
                return Ok(0);
            }
        }
        while seen.len() > 5_000 {
            seen.pop_first();
        }
        first = false;
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

fn vendor_slugs(client: &Client) -> BTreeMap<String, String> {
    let page = client.page("/admin/vendors?limit=100").map(|p| p.items).unwrap_or_default();
    page.iter().map(|v| (text(v, "id").to_owned(), text(v, "slug").to_owned())).collect()
}

/// `4m 12s`.
fn duration(ms: u64) -> String {
    match ms / 1_000 {
        0 => format!("{ms}ms"),
        s if s < 60 => format!("{s}s"),
        s if s < 3_600 => format!("{}m {:02}s", s / 60, s % 60),
        s => format!("{}h {:02}m", s / 3_600, s / 60 % 60),
    }
}

fn money(value: &Value) -> String {
    match (value["amount"].as_str(), value["currency"].as_str()) {
        (Some(amount), Some("USD")) => format!("${amount}"),
        (Some(amount), Some(currency)) => format!("{amount} {currency}"),
        _ => "-".to_owned(),
    }
}

fn print(call: &Value, vendors: &BTreeMap<String, String>, common: &Common) {
    if common.json {
        super::say(common, format_args!("{call}"));
        return;
    }
    let vendor = text(call, "vendor_id");
    if common.output == Form::Csv {
        super::say(common, format_args!("{}", csv(call, vendors.get(vendor).map_or(vendor, String::as_str))));
        return;
    }
    let line = format!(
        "{:<24}  {:<31}  {:<15}  {:<16}  {:<9}  {:>4}  {:<8}  {:>9}  {}",
        text(call, "end_at"),
        text(call, "id"),
        text(call, "caller"),
        text(call, "called"),
        text(call, "outcome"),
        call["sip_code"],
        vendors.get(vendor).map_or(if vendor.is_empty() { "-" } else { vendor }, String::as_str),
        duration(call["duration_ms"].as_u64().unwrap_or(0)),
        money(&call["price"]),
    );
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

fn show(call: &Value, vendors: &BTreeMap<String, String>) {
    let record = &call["record"];
    let name = |id: &Value| {
        let id = id.as_str().unwrap_or("-");
        vendors.get(id).cloned().unwrap_or_else(|| id.to_owned())
    };
    println!("{}   {} → {}", text(call, "id"), text(call, "caller"), text(call, "called"));
    println!(
        "  {} ({}), {}{}",
        text(call, "outcome"),
        call["sip_code"],
        duration(call["duration_ms"].as_u64().unwrap_or(0)),
        if call["recovered"] == true { ", end reconstructed after a crash" } else { "" }
    );
    println!(
        "  setup {}   answer {}   end {}",
        text(call, "setup_at"),
        or_dash(call, "answer_at"),
        text(call, "end_at")
    );
    println!(
        "  trunk {}   from {}   {}",
        or_dash(call, "trunk_id"),
        text(record, "ingress_ip"),
        or_dash(call, "jurisdiction")
    );
    if !text(call, "internal_code").is_empty() {
        println!("  reason {}", text(call, "internal_code"));
    }
    println!("\nlegs");
    for leg in record["legs"].as_array().into_iter().flatten() {
        println!(
            "  {}  {:<10} {:<16} {:>4}  pdd {:>6}  {}",
            leg["attempt_no"],
            name(&leg["vendor_id"]),
            text(leg, "egress_ip"),
            leg["sip_code"],
            leg["pdd_ms"].as_u64().map_or("-".to_owned(), |ms| format!("{ms} ms")),
            text(leg, "ended_by")
        );
    }
    if record["rating"].is_object() {
        println!("\nprice");
        for side in ["sell", "buy"] {
            let side_value = &record["rating"][side];
            println!(
                "  {side:<5} {}  ({} prefix {})",
                text(side_value, "sum"),
                text(side_value, "deck_version"),
                text(side_value, "prefix")
            );
        }
    }
    if record["media"].is_object() {
        println!("\nmedia");
        for way in ["to_callee", "to_caller"] {
            let m = &record["media"][way];
            let mos =
                m["mos_x100"].as_u64().map_or("-".to_owned(), |m| format!("{}.{:02}", m / 100, m % 100));
            println!(
                "  {way:<10} {} packets, {} lost, jitter {} µs, MOS {mos}",
                m["packets"], m["lost"], m["jitter_us"]
            );
        }
    }
    if record["decision"].is_object() {
        println!("\ndecision (snapshot {})", text(call, "snapshot_id"));
        println!("{}", super::route::decision_text(&record["decision"]));
    }
}

fn or_dash<'a>(value: &'a Value, name: &str) -> &'a str {
    Some(text(value, name)).filter(|t| !t.is_empty()).unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_quoted_and_holds_no_formula() {
        let call = serde_json::json!({
            "end_at": "2026-11-22T00:00:00.000Z", "id": "call_1", "caller": "+12025550100", "called": "=HYPERLINK(\"x\",1)",
            "outcome": "rejected", "sip_code": 404, "duration_ms": 0, "price": null
        });
        assert_eq!(
            csv(&call, "a,b"),
            "2026-11-22T00:00:00.000Z,call_1,+12025550100,\"'=HYPERLINK(\"\"x\"\",1)\",rejected,404,\"a,b\",0,,"
        );
        assert_eq!(COLUMNS.len(), csv(&Value::Null, "v").split(',').count());
    }

    #[test]
    fn durations_and_money_as_people_write_them() {
        assert_eq!(duration(252_000), "4m 12s");
        assert_eq!(duration(999), "999ms");
        assert_eq!(duration(59_999), "59s");
        assert_eq!(duration(3_725_000), "1h 02m");
        assert_eq!(money(&serde_json::json!({"amount": "0.0042", "currency": "USD"})), "$0.0042");
        assert_eq!(money(&Value::Null), "-");
    }
}
