//! One call for people: legs, price, media, decision.

use std::fmt::Write as _;

use serde_json::Value;

use super::columns::duration;
use super::{Vendors, text};

/// Everything that is known of a call.
pub(super) fn text_of(call: &Value, vendors: &Vendors) -> String {
    let mut out = String::new();
    let record = &call["record"];
    let _ = writeln!(out, "{}   {} → {}", text(call, "id"), text(call, "caller"), text(call, "called"));
    let _ = writeln!(
        out,
        "  {} ({}), {}{}",
        text(call, "outcome"),
        call["sip_code"],
        duration(call["duration_ms"].as_u64().unwrap_or(0)),
        if call["recovered"] == true { ", end reconstructed after a crash" } else { "" }
    );
    let _ = writeln!(
        out,
        "  setup {}   answer {}   end {}",
        text(call, "setup_at"),
        or_dash(call, "answer_at"),
        text(call, "end_at")
    );
    let _ = writeln!(
        out,
        "  trunk {}   from {}   {}",
        or_dash(call, "trunk_id"),
        text(record, "ingress_ip"),
        or_dash(call, "jurisdiction")
    );
    let _ = writeln!(out, "  Call-ID {}", or_dash(record, "sip_call_id"));
    if !text(call, "internal_code").is_empty() {
        let _ = writeln!(out, "  reason {}", text(call, "internal_code"));
    }
    out.push_str("\nlegs\n");
    for leg in record["legs"].as_array().into_iter().flatten() {
        let vendor = vendors.name(text(leg, "vendor_id"));
        let _ = writeln!(
            out,
            "  {}  {:<10} {:<16} {:>4}  pdd {:>6}  {}",
            leg["attempt_no"],
            if vendor.is_empty() { "-" } else { &vendor },
            text(leg, "egress_ip"),
            leg["sip_code"],
            leg["pdd_ms"].as_u64().map_or("-".to_owned(), |ms| format!("{ms} ms")),
            ended(leg)
        );
    }
    if record["rating"].is_object() {
        out.push_str("\nprice\n");
        for side in ["sell", "buy"] {
            let rated = &record["rating"][side];
            // Customers are not told what we pay.
            if rated.is_object() {
                let (sum, deck, prefix) =
                    (text(rated, "sum"), text(rated, "deck_version"), text(rated, "prefix"));
                let _ = writeln!(out, "  {side:<5} {sum}  ({deck} prefix {prefix})");
            }
        }
    }
    if record["media"].is_object() {
        out.push_str("\nmedia\n");
        for way in ["to_callee", "to_caller"] {
            let m = &record["media"][way];
            let mos =
                m["mos_x100"].as_u64().map_or("-".to_owned(), |m| format!("{}.{:02}", m / 100, m % 100));
            let _ = writeln!(
                out,
                "  {way:<10} {} packets, {} lost, jitter {} µs, MOS {mos}",
                m["packets"], m["lost"], m["jitter_us"]
            );
        }
    }
    if record["decision"].is_object() {
        let _ = writeln!(out, "\ndecision (snapshot {})", text(call, "snapshot_id"));
        out.push_str(&super::super::route::decision_text(&record["decision"]));
    }
    out.trim_end().to_owned()
}

/// Who ended a leg, and of a failover why it was one.
fn ended(leg: &Value) -> String {
    let by = text(leg, "ended_by");
    if by != "failover" {
        return by.to_owned();
    }
    let cause = leg["q850"].as_u64().map_or_else(String::new, |cause| format!(", Q.850 {cause}"));
    match leg["sip_code"].as_u64() {
        Some(408) => format!("{by}: no answer in time{cause}"),
        Some(code) if code > 0 => format!("{by}: refused with {code}{cause}"),
        _ => format!("{by}: the process ended"),
    }
}

fn or_dash<'a>(value: &'a Value, name: &str) -> &'a str {
    Some(text(value, name)).filter(|t| !t.is_empty()).unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Why each vendor was left stands behind the word, and only there.
    #[test]
    fn a_failover_says_why_and_other_ends_do_not() {
        let leg = |n: u8, code: Value, q850: Value, by: &str| json!({ "attempt_no": n, "vendor_id": "vnd_1", "egress_ip": "192.0.2.80", "sip_code": code, "q850": q850, "ended_by": by });
        let call = json!({
            "id": "call_1", "caller": "+12025550100", "called": "4155550123", "outcome": "answered", "sip_code": 200, "duration_ms": 61_000,
            "setup_at": "2026-11-29T00:00:00.000Z", "end_at": "2026-11-29T00:01:01.000Z",
            "record": { "legs": [
                leg(1, json!(503), json!(34), "failover"),
                leg(2, json!(408), Value::Null, "failover"),
                leg(3, json!(0), Value::Null, "failover"),
                leg(4, json!(200), json!(16), "answered"),
            ] },
        });
        let text = text_of(&call, &Vendors([("vnd_1".to_owned(), "alpha".to_owned())].into()));
        let legs: Vec<&str> = text.lines().filter(|l| l.contains("192.0.2.80")).collect();
        assert_eq!(legs.len(), 4, "{text}");
        let ends = [
            "failover: refused with 503, Q.850 34",
            "failover: no answer in time",
            "failover: the process ended",
            "answered",
        ];
        for (leg, end) in legs.iter().zip(ends) {
            assert!(leg.ends_with(&format!("  {end}")) && leg.contains("alpha"), "{leg}");
        }
    }
}
