//! `warp route TO`: the route tester; with `--sms` for short messages.

mod sms;

use clap::Args;
use serde_json::{Value, json};

use warp_policy::{Refusal, Unpriced};

use super::client::Client;
use super::names;
use super::output::Output;
use super::{Common, Failure, Form};

#[derive(Args, Debug)]
pub(super) struct RouteArgs {
    /// Called number, for example +442071234567.
    to: String,
    /// Calling number.
    #[arg(long, default_value = "+12025550100")]
    from: String,
    /// Trunk: trk_… or the trunk's name; default: the first one there is.
    #[arg(long)]
    trunk: Option<String>,
    /// Time of the call (RFC 3339); default: now.
    #[arg(long)]
    at: Option<String>,
    /// Explains the way of a short message instead of a call, by a file of routes; no server is asked.
    #[arg(long, requires = "routes", conflicts_with = "trunk")]
    sms: bool,
    #[command(flatten)]
    message: sms::MessageArgs,
}

pub(super) fn run(args: &RouteArgs, common: &Common) -> Result<u8, Failure> {
    if args.sms {
        return sms::run(&args.to, &args.from, args.at.as_deref(), &args.message, common);
    }
    let client = Client::of(common)?;
    let decision = ask(&client, args.trunk.as_deref(), &args.from, &args.to, args.at.as_deref())?;
    let refused = !decision["refusal"].is_null();
    let out = Output::new(common, COLUMNS);
    if common.form() == Form::Csv && !common.json {
        // One line for each vendor, those that were excluded too.
        for row in lines(&decision) {
            out.item(|| Value::Null, || row, String::new);
        }
    } else {
        out.item(|| decision.clone(), Vec::new, || decision_text(&decision));
    }
    Ok(u8::from(refused))
}

const COLUMNS: &[&str] = &[
    "rank",
    "vendor",
    "vendor_trunk",
    "jurisdiction",
    "prefix",
    "rate_per_min",
    "currency",
    "deck_version",
    "passed_over",
    "excluded",
];

/// Candidates in their order, then what was excluded and why.
fn lines(d: &Value) -> Vec<Vec<String>> {
    let text = |v: &Value| match v {
        Value::Null => String::new(),
        _ => plain(v),
    };
    let of = |name: &'static str| d[name].as_array().into_iter().flatten();
    let candidate = |c: &Value| {
        let buy = &c["buy"];
        let all = [
            &c["rank"],
            &c["vendor_name"],
            &c["vendor_trunk_name"],
            &c["jurisdiction"],
            &buy["prefix"],
            &buy["rate_per_min"],
            &buy["currency"],
            &buy["deck_version"],
            &c["passed_over"],
            &Value::Null,
        ];
        all.map(text).to_vec()
    };
    let excluded = |e: &Value| {
        let mut row = vec![String::new(); COLUMNS.len()];
        row[1] = text(&e["vendor_name"]);
        row[2] = text(&e["vendor_trunk_name"]);
        row[9] = format!("{}: {}", text(&e["reason"]), text(&e["rule"]));
        row
    };
    of("candidates").map(candidate).chain(of("excluded").map(excluded)).collect()
}

/// The decision record for a call that is not made.
pub(crate) fn ask(
    client: &Client,
    trunk: Option<&str>,
    from: &str,
    to: &str,
    at: Option<&str>,
) -> Result<Value, Failure> {
    client.either(|of| ask_as(client, of, trunk, from, to, at))
}

fn ask_as(
    client: &Client,
    of: &str,
    trunk: Option<&str>,
    from: &str,
    to: &str,
    at: Option<&str>,
) -> Result<Value, Failure> {
    let trunk = match trunk {
        Some(named) => names::named(client, "trk", named)?,
        None => {
            let first =
                client.page(&format!("{of}/trunks?limit=1&sort=created_at"))?.items.into_iter().next();
            let id = first.and_then(|t| t["id"].as_str().map(str::to_owned));
            id.ok_or_else(|| {
                Failure::new("there is no trunk yet").with_code(3).hint("name one with --trunk")
            })?
        }
    };
    let mut body = json!({"trunk_id": trunk, "from": from, "to": to});
    if let Some(at) = at {
        body["at"] = at.into();
    }
    let mut answer = client.json("POST", &format!("{of}/route"), &body)?;
    // The record itself, whether it comes bare or in an envelope of its own.
    Ok(if answer["decision"].is_object() { answer["decision"].take() } else { answer })
}

/// Why a call was refused, as the end of a sentence: of one that could not be rated whose price is missing, where its decision says so.
/// Customers, whose decisions have no summary, are told of no vendor.
pub(crate) fn because(refusal: Refusal, decision: &Value) -> &'static str {
    if refusal != Refusal::RatingFailed || !decision.is_object() {
        return refusal.meaning();
    }
    let bought = !decision["buy"].is_null() || !decision["inputs"]["trunk"].is_null();
    let why = Unpriced::of(decision["direction"] == "inbound", !decision["sell"].is_null(), bought);
    if decision["summary"].is_string() { why.meaning() } else { why.to_customers() }
}

/// A decision record for people.
pub(crate) fn decision_text(d: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    // Customers are not told whom we buy from; then there is no summary and no vendor.
    let mut out = match d["summary"].as_str() {
        Some(summary) => format!("  {summary}\n"),
        None if !d["refusal"].is_null() => {
            let code = plain(&d["refusal"]);
            let known = Refusal::ALL.into_iter().find(|r| r.code() == code);
            known.map_or_else(
                || format!("  Refused: {code}.\n"),
                |r| format!("  Refused ({r}): {}.\n", because(r, d)),
            )
        }
        None => {
            let all = |name: &'static str| d[name].as_array().into_iter().flatten();
            let out = all("excluded").filter(|e| e["reason"] != "tries").count();
            format!("  {} candidates, {out} excluded.\n", all("candidates").count())
        }
    };
    if d["jurisdiction"].is_string() {
        out.push_str(&format!(
            "  {} ({} → {}), {}\n",
            text(&d["jurisdiction"]),
            text(&d["orig_state"]),
            text(&d["term_state"]),
            plain(&d["jurisdiction_rule"])
        ));
    }
    if d["sell"].is_object() {
        out.push_str(&format!(
            "  customer pays {}{}  ({} prefix {})\n",
            per_minute(&d["sell"]),
            terms(&d["sell"]),
            text(&d["sell"]["deck_version"]),
            text(&d["sell"]["prefix"])
        ));
    }
    let named = |c: &&Value| c["vendor_name"].is_string();
    for c in d["candidates"].as_array().into_iter().flatten().filter(named) {
        out.push_str(&format!(
            "  {:>2}. {:<16} {:<16} ",
            c["rank"],
            text(&c["vendor_name"]),
            text(&c["vendor_trunk_name"])
        ));
        let buy = &c["buy"];
        // An emergency call has no price.
        out.push_str(&match buy.is_object() {
            true => {
                let (rate, prefix) = (per_minute(buy), text(&buy["prefix"]));
                format!("{rate:>14}  prefix {prefix:<8} {}\n", text(&buy["sum"]))
            }
            false => "whatever it costs\n".to_owned(),
        });
        if let Some(why) = c["passed_over"].as_str() {
            out.push_str(&format!("      passed over: {why}\n"));
        }
    }
    for e in d["excluded"].as_array().into_iter().flatten() {
        let reason = plain(&e["reason"]);
        // Whom there was no need of is not shut out, and is not counted as excluded.
        let mark = if reason == "tries" { '·' } else { '–' };
        let said = match e["rule"].as_str().filter(|rule| !rule.is_empty()).or_else(|| meaning(&reason)) {
            Some(words) => format!("{reason}: {words}"),
            None => reason,
        };
        let name = e["vendor_name"].as_str().unwrap_or("a vendor");
        out.push_str(&format!("   {mark}  {name:<16} {said}\n"));
    }
    out.push_str(&format!("  snapshot {}", plain(&d["snapshot_id"])));
    out
}

/// What a reason without a rule of its own means.
fn meaning(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "no_rate" => "none of its decks in force has a price for the number (not listed, blocked, or ended)",
        "vendor_disabled" => "the vendor is switched off",
        "no_trunk" => "it has no trunk that takes calls",
        _ => return None,
    })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `$0.0042/min` of a priced rate.
fn per_minute(priced: &Value) -> String {
    format!("{}/min", amount(priced))
}

/// Increments, and what each call costs besides, of a priced rate: ` in 60/60 s, 0.05 a call`.
fn terms(priced: &Value) -> String {
    let mut out = String::new();
    if let (Some(first), Some(next)) =
        (priced["increment_initial_s"].as_u64(), priced["increment_next_s"].as_u64())
    {
        out.push_str(&format!(" in {first}/{next} s"));
    }
    let fee = match &priced["setup_fee"] {
        Value::String(text) => text.clone(),
        Value::Number(n) => warp_model::Nanos(n.as_i64().unwrap_or(0)).to_string(),
        _ => return out,
    };
    if fee != "0" {
        out.push_str(&format!(", {fee} a call"));
    }
    out
}

/// `$0.0042` of a priced rate.
pub(crate) fn amount(priced: &Value) -> String {
    let rate = match &priced["rate_per_min"] {
        Value::String(text) => text.clone(),
        Value::Number(n) => warp_model::Nanos(n.as_i64().unwrap_or(0)).to_string(),
        _ => return "-".to_owned(),
    };
    match priced["currency"].as_str() {
        Some("USD") | None => format!("${rate}"),
        Some(other) => format!("{rate} {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_reads_what_a_refusal_means_and_no_null() {
        let refused = decision_text(&json!({"refusal": "invalid_number", "snapshot_id": "s1"}));
        assert!(
            refused.starts_with("  Refused (invalid_number): what was dialled is no number"),
            "{refused}"
        );
        let taken = decision_text(&json!({"refusal": null, "snapshot_id": "s1", "candidates": [{}, {}],
            "excluded": [{"reason": "no_rate"}, {"reason": "tries"}]}));
        assert!(taken.contains("2 candidates, 1 excluded"), "{taken}");
        assert!(taken.contains("–  a vendor         no_rate: none of its decks"), "{taken}");
        assert!(taken.contains("·  a vendor         tries\n") && !taken.contains("null"), "{taken}");
    }

    /// Two prices per minute that look alike may be far apart by their terms.
    #[test]
    fn what_the_customer_pays_names_increments_and_the_fee() {
        let sell = |fee: Value| {
            json!({"rate_per_min": "0.02", "currency": "USD", "increment_initial_s": 60, "increment_next_s": 6,
            "setup_fee": fee, "deck_version": "deck_1@1", "prefix": "44"})
        };
        for (fee, said) in [
            (json!("0.05"), "$0.02/min in 60/6 s, 0.05 a call  (deck_1@1"),
            (json!(50_000_000), "$0.02/min in 60/6 s, 0.05 a call  (deck_1@1"),
            (json!("0"), "$0.02/min in 60/6 s  (deck_1@1"),
        ] {
            let text = decision_text(
                &json!({"refusal": null, "summary": "s.", "snapshot_id": "s1", "sell": sell(fee)}),
            );
            assert!(text.contains(said), "{text}");
        }
        let emergency = decision_text(&json!({"refusal": null, "summary": "s.", "snapshot_id": "s1",
            "candidates": [{"rank": 1, "vendor_name": "Alpha", "vendor_trunk_name": "main", "buy": null}]}));
        assert!(
            emergency.contains("  1. Alpha            main             whatever it costs\n"),
            "{emergency}"
        );
    }

    #[test]
    fn an_operator_reads_the_rule_or_what_the_reason_means() {
        let text = decision_text(&json!({"refusal": null, "summary": "alpha is first.", "snapshot_id": "s1",
            "excluded": [{"vendor_name": "Delta", "reason": "no_rate", "rule": ""},
                {"vendor_name": "Slow", "reason": "tries", "rule": "at most 4 tries"}]}));
        assert!(text.contains("–  Delta            no_rate: none of its decks in force"), "{text}");
        assert!(text.contains("·  Slow             tries: at most 4 tries"), "{text}");
    }
}
