//! One call for people: legs, price, media, decision.

use std::fmt::Write as _;

use serde_json::Value;
use warp_policy::Refusal;

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
    let _ = write!(out, "  trunk {}   from {}", or_dash(call, "trunk_id"), text(record, "ingress_ip"));
    // Calls abroad and calls without a price have none.
    let _ = match text(call, "jurisdiction") {
        "" => writeln!(out),
        jurisdiction => writeln!(out, "   {jurisdiction}"),
    };
    let _ = writeln!(out, "  Call-ID {}", or_dash(record, "sip_call_id"));
    let code = text(call, "internal_code");
    if !code.is_empty() {
        let known = Refusal::ALL.into_iter().find(|r| r.code() == code);
        let _ = match known {
            Some(refusal) => writeln!(
                out,
                "  reason {code}: {}",
                super::super::route::because(refusal, &record["decision"])
            ),
            None => writeln!(out, "  reason {code}"),
        };
    }
    let legs: Vec<&Value> = record["legs"].as_array().into_iter().flatten().collect();
    out.push_str(if legs.is_empty() { "\nlegs\n  none: nobody was called\n" } else { "\nlegs\n" });
    for leg in legs {
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
        out.push_str("\ndecision\n");
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

    /// A refused call: no column without a value, what the reason means, and nothing twice.
    #[test]
    fn a_refused_call_says_what_its_reason_means() {
        let call = json!({
            "id": "call_1", "caller": "+12025550100", "called": "4155550123", "outcome": "rejected", "sip_code": 402, "duration_ms": 0,
            "setup_at": "2026-11-29T00:00:00.000Z", "end_at": "2026-11-29T00:00:00.000Z", "trunk_id": "trk_1", "snapshot_id": "s1",
            "internal_code": "no_credit",
            "record": { "ingress_ip": "192.0.2.9", "legs": [], "decision": {"refusal": null, "summary": "alpha is first.", "snapshot_id": "s1"} },
        });
        let text = text_of(&call, &Vendors([].into()));
        assert!(text.contains("  trunk trk_1   from 192.0.2.9\n"), "{text}");
        let reason = format!("  reason no_credit: {}\n", Refusal::NoCredit.meaning());
        assert!(text.contains(&reason) && text.contains("legs\n  none: nobody was called\n"), "{text}");
        assert_eq!(text.matches("snapshot").count(), 1, "{text}");
    }

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
