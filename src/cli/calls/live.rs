//! `warp calls live` and `warp calls hang-up`: calls in the air, with what they cost so far, and the end of one by hand.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::client::{Client, encoded};
use super::super::names;
use super::super::output::Output;
use super::super::{Common, Failure};
use super::columns::{duration, money};
use super::{Vendors, text};

/// Which calls in the air, and how often they are looked at.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct LiveArgs {
    /// Only calls whose caller or called number has these digits in it.
    #[arg(long)]
    number: Option<String>,
    /// Only calls of this trunk, by id or name.
    #[arg(long)]
    trunk: Option<String>,
    /// Only calls of this customer, by id or name (operators only).
    #[arg(long)]
    customer: Option<String>,
    /// Only calls that this vendor carries, by id, slug or name (operators only).
    #[arg(long)]
    vendor: Option<String>,
    /// Rows at most, the newest calls; 1 to 500.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Look once and end; without a terminal, and with --json, that is so anyhow.
    #[arg(long)]
    once: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=3600))]
    every: u16,
}

const COLUMNS: &[&str] = &[
    "id",
    "node",
    "customer_id",
    "trunk_id",
    "direction",
    "caller",
    "called",
    "state",
    "setup_at",
    "answer_at",
    "duration_ms",
    "price",
    "currency",
    "cost",
    "cost_currency",
    "vendor",
    "vendor_trunk_id",
    "attempts",
];

impl LiveArgs {
    fn query(&self, client: &Client) -> Result<String, Failure> {
        let id = |what: &Option<String>, prefix: &str| {
            what.as_ref().map(|named| names::named(client, prefix, named)).transpose()
        };
        let all = [
            ("number", self.number.clone()),
            ("trunk", id(&self.trunk, "trk")?),
            ("customer", id(&self.customer, "cus")?),
            ("vendor", id(&self.vendor, "vnd")?),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Ok(given.map(|(name, value)| format!("&{name}={}", encoded(&value))).collect())
    }
}

/// The calls in the air, again and again on a terminal.
pub(super) fn live(args: &LiveArgs, client: &Client, common: &Common) -> Result<u8, Failure> {
    let vendors = Vendors::of(client);
    let query = args.query(client)?;
    let look = || client.either(|of| client.get(&format!("{of}/calls/live?most={}{query}", args.limit)));
    let screen = std::io::stdout().is_terminal() && Output::new(common, COLUMNS).is_for_people();
    if args.once || !screen || common.quiet {
        let seen = look()?;
        let out = Output::new(common, COLUMNS);
        out.heading(&heading());
        for call in seen["calls"].as_array().into_iter().flatten() {
            out.item(|| call.clone(), || fields(call, &vendors), || line(call, &vendors));
        }
        warn_of_missing(&seen, common);
        return Ok(0);
    }
    loop {
        let seen = look()?;
        let mut page = format!("\x1b[H\x1b[2J{}\n{}\n", summary(&seen), heading());
        for call in seen["calls"].as_array().into_iter().flatten() {
            page.push_str(&line(call, &vendors));
            page.push('\n');
        }
        let _ = write!(std::io::stdout(), "{page}").and_then(|()| std::io::stdout().flush());
        std::thread::sleep(Duration::from_secs(args.every.into()));
    }
}

/// Ends a call; says how it stood.
pub(super) fn hang_up(id: &str, reason: &str, client: &Client, common: &Common) -> Result<u8, Failure> {
    let ended = client.either(|of| {
        client.json("POST", &format!("{of}/calls/{}/hang-up", encoded(id)), &json!({"reason": reason}))
    })?;
    Output::new(common, &["id", "state", "internal_code", "node"]).item(
        || ended.clone(),
        || ["id", "state", "internal_code", "node"].map(|name| text(&ended, name).to_owned()).to_vec(),
        || {
            let node = match text(&ended, "node") {
                "" => String::new(),
                node => format!(" on node {node}"),
            };
            format!("hung up {}{node}; it was {}", text(&ended, "id"), text(&ended, "state"))
        },
    );
    Ok(0)
}

fn summary(seen: &Value) -> String {
    let calls: Vec<&Value> = seen["calls"].as_array().into_iter().flatten().collect();
    let shown = calls.len();
    let found = seen["found"].as_u64().unwrap_or(0);
    let talking = calls.iter().filter(|c| c["state"] == "answered").count();
    let mut line = format!("{found} calls in the air, {talking} of the {shown} shown are answered");
    for node in silent(seen) {
        line.push_str(&format!("; node {node} does not answer"));
    }
    if seen["complete"] == false && silent(seen).is_empty() {
        line.push_str("; some calls are missing");
    }
    line
}

fn silent(seen: &Value) -> Vec<&str> {
    let nodes = seen["nodes"].as_array().into_iter().flatten();
    nodes.filter(|n| n["answered"] == false).map(|n| text(n, "node")).collect()
}

/// A list that lacks calls says so, but not among its rows.
fn warn_of_missing(seen: &Value, common: &Common) {
    if seen["complete"] == false && !common.quiet {
        let nodes = silent(seen).join(", ");
        let whose = if nodes.is_empty() { "some calls".to_owned() } else { format!("calls of {nodes}") };
        let _ = writeln!(std::io::stderr(), "warp: {whose} are missing: not every node has answered");
    }
}

fn heading() -> String {
    aligned(["since", "call", "from", "to", "state", "vendor", "so far", "price", "cost"].map(str::to_owned))
}

fn aligned([since, id, from, to, state, vendor, so_far, price, cost]: [String; 9]) -> String {
    let row = format!(
        "{since:<12}  {id:<31}  {from:<15}  {to:<16}  {state:<8}  {vendor:<8}  {so_far:>7}  {price:<10}  {cost}"
    );
    row.trim_end().to_owned()
}

fn line(call: &Value, vendors: &Vendors) -> String {
    let of = |name: &str| text(call, name).to_owned();
    let vendor = vendors.name(text(call, "vendor_id"));
    // The date is today's: the time of day is enough.
    let since = of("setup_at").get(11..23).map(str::to_owned).unwrap_or_default();
    aligned([
        since,
        of("id"),
        of("caller"),
        of("called"),
        of("state"),
        if vendor.is_empty() { "-".to_owned() } else { vendor },
        duration(call["duration_ms"].as_u64().unwrap_or(0)),
        money(&call["price"]),
        if call["cost"].is_null() { String::new() } else { money(&call["cost"]) },
    ])
}

fn fields(call: &Value, vendors: &Vendors) -> Vec<String> {
    let field = |name: &str| match name {
        "vendor" => vendors.name(text(call, "vendor_id")),
        "price" | "cost" => text(&call[name], "amount").to_owned(),
        "currency" => text(&call["price"], "currency").to_owned(),
        "cost_currency" => text(&call["cost"], "currency").to_owned(),
        _ => match &call[name] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        },
    };
    COLUMNS.iter().map(|name| field(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_in_the_air_is_a_line_under_its_heading_and_a_missing_node_is_named() {
        let call = json!({
            "id": "call_00000000000000000000000001", "caller": "+12025550100", "called": "+14155550123",
            "setup_at": "2026-12-01T08:00:01.250Z", "duration_ms": 252_000, "state": "answered",
            "price": {"amount": "0.0132", "currency": "USD"}, "cost": {"amount": "0.004", "currency": "USD"},
            "vendor_id": "vnd_1",
        });
        let vendors = Vendors([("vnd_1".to_owned(), "alpha".to_owned())].into());
        let (head, row) = (heading(), line(&call, &vendors));
        for (name, value) in [
            ("since", "08:00:01.250"),
            ("from", "+1202"),
            ("to ", "+1415"),
            ("state", "answered"),
            ("vendor", "alpha"),
            ("price", "$0.0132"),
            ("cost", "$0.004"),
        ] {
            assert_eq!(head.find(name), row.find(value), "{name}\n{head}\n{row}");
        }
        assert!(row.contains("4m 12s"), "{row}");
        let seen = json!({"found": 7, "complete": false, "calls": [call],
            "nodes": [{"node": "a", "answered": true}, {"node": "b", "answered": false}]});
        let said = summary(&seen);
        assert_eq!(said, "7 calls in the air, 1 of the 1 shown are answered; node b does not answer");
    }
}
