//! A call as a line: for people, and with everything that a bill needs for spreadsheets.

use serde_json::Value;

use super::{Vendors, text};

/// Over the lines for people: what stands in each column, and in what unit where the values do not say it themselves.
const HEAD: [&str; 8] = ["call", "from", "to", "outcome", "SIP", "vendor", "duration", "price of the call"];

/// Which time of a call its line begins with: that by which the lines are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// When it began, as in lists.
    Begin,
    /// When it ended, as in a tail.
    End,
}

/// The line over the lines for people.
pub(super) fn heading(by: By) -> String {
    let time = if by == By::Begin { "begun (UTC)" } else { "ended (UTC)" };
    let [call, from, to, outcome, code, vendor, duration, price] = HEAD.map(str::to_owned);
    aligned([time.to_owned(), call, from, to, outcome, code, vendor, duration, price])
}

fn aligned([time, id, from, to, outcome, code, vendor, duration, price]: [String; 9]) -> String {
    format!(
        "{time:<24}  {id:<31}  {from:<15}  {to:<16}  {outcome:<9}  {code:>4}  {vendor:<8}  {duration:>9}  {price}"
    )
}

/// Fields of a line of CSV.
pub(super) const COLUMNS: &[&str] = &[
    "id",
    "customer_id",
    "trunk_id",
    "caller",
    "called",
    "caller_e164",
    "called_e164",
    "direction",
    "number_id",
    "jurisdiction",
    "setup_at",
    "answer_at",
    "end_at",
    "pdd_ms",
    "duration_ms",
    "outcome",
    "sip_code",
    "q850",
    "release_side",
    "internal_code",
    "prefix",
    "rate_per_min",
    "increments",
    "setup_fee",
    "billable_s",
    "price",
    "currency",
    "price_version",
    "deck_version",
    "rating_status",
    "vendor",
    "vendor_trunk_id",
    "route_rank",
    "cost",
    "cost_currency",
    "margin",
];

/// A call as the fields of [`COLUMNS`].
pub(super) fn fields(call: &Value, vendors: &Vendors) -> Vec<String> {
    // In a list the rating was asked for; of one call it stands in its record.
    let rating = if call["rating"].is_object() { &call["rating"] } else { &call["record"]["rating"] };
    let sell = &rating["sell"];
    let field = |name: &str| match name {
        "vendor" => vendors.name(text(call, "vendor_id")),
        "price" | "cost" | "margin" => text(&call[name], "amount").to_owned(),
        "currency" => text(&call["price"], "currency").to_owned(),
        "cost_currency" => text(&call["cost"], "currency").to_owned(),
        "prefix" | "deck_version" => text(sell, name).to_owned(),
        "rate_per_min" | "setup_fee" => amount(&sell[name]),
        "increments" if sell["increment_initial_s"].is_u64() => {
            format!("{}/{}", sell["increment_initial_s"], sell["increment_next_s"])
        }
        "increments" => String::new(),
        _ => match &call[name] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        },
    };
    COLUMNS.iter().map(|name| field(name)).collect()
}

/// An amount of a record: a decimal text, or an object with one.
fn amount(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(nanos) => warp_model::Nanos(nanos.as_i64().unwrap_or(0)).to_string(),
        other => text(other, "amount").to_owned(),
    }
}

/// A call as a line for people.
pub(super) fn line(call: &Value, vendors: &Vendors, by: By) -> String {
    let vendor = vendors.name(text(call, "vendor_id"));
    let of = |name: &str| text(call, name).to_owned();
    aligned([
        of(if by == By::Begin { "setup_at" } else { "end_at" }),
        of("id"),
        of("caller"),
        of("called"),
        of("outcome"),
        call["sip_code"].to_string(),
        if vendor.is_empty() { "-".to_owned() } else { vendor },
        duration(call["duration_ms"].as_u64().unwrap_or(0)),
        money(&call["price"]),
    ])
}

/// A length of time as people read it: `4m 12s`.
pub(super) fn duration(ms: u64) -> String {
    match ms / 1_000 {
        0 => format!("{ms}ms"),
        s if s < 60 => format!("{s}s"),
        s if s < 3_600 => format!("{}m {:02}s", s / 60, s % 60),
        s => format!("{}h {:02}m", s / 3_600, s / 60 % 60),
    }
}

/// An amount with its currency as people write it; a dash where there is none.
pub(super) fn money(value: &Value) -> String {
    match (value["amount"].as_str(), value["currency"].as_str()) {
        (Some(amount), Some("USD")) => format!("${amount}"),
        (Some(amount), Some(currency)) => format!("{amount} {currency}"),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_csv_has_what_a_bill_needs() {
        let call = serde_json::json!({
            "id": "call_1", "direction": "inbound", "number_id": "num_1", "price_version": 2, "customer_id": "cus_1", "trunk_id": "trk_1", "caller": "+12025550100", "called": "14155550123",
            "answer_at": "2026-11-29T00:00:00.000Z", "duration_ms": 61_001, "billable_s": 66, "outcome": "answered", "sip_code": 200,
            "price": {"amount": "0.0132", "currency": "USD"}, "cost": null, "vendor_id": "vnd_1", "q850": null,
            "rating": {"sell": {"rate_per_min": "0.012", "increment_initial_s": 6, "increment_next_s": 6, "setup_fee": "0",
                                "prefix": "1415555", "deck_version": "deck_x@1"}},
        });
        let vendors = Vendors([("vnd_1".to_owned(), "alpha".to_owned())].into());
        let fields = fields(&call, &vendors);
        let of = |name: &str| &fields[COLUMNS.iter().position(|c| *c == name).unwrap()];
        for (name, value) in [
            ("id", "call_1"),
            ("customer_id", "cus_1"),
            ("answer_at", "2026-11-29T00:00:00.000Z"),
            ("duration_ms", "61001"),
            ("rate_per_min", "0.012"),
            ("increments", "6/6"),
            ("billable_s", "66"),
            ("price", "0.0132"),
            ("currency", "USD"),
            ("deck_version", "deck_x@1"),
            ("direction", "inbound"),
            ("number_id", "num_1"),
            ("price_version", "2"),
            ("vendor", "alpha"),
            ("q850", ""),
            ("cost", ""),
        ] {
            assert_eq!(of(name), value, "{name}");
        }
        assert_eq!(fields.len(), COLUMNS.len());
    }

    #[test]
    fn the_heading_stands_over_the_columns_and_says_what_they_are_in() {
        let call = serde_json::json!({
            "id": "call_00000000000000000000000001", "caller": "+12025550100", "called": "+14155550123",
            "setup_at": "2026-11-28T23:55:48.000Z", "end_at": "2026-11-29T00:00:00.000Z", "duration_ms": 252_000, "outcome": "answered", "sip_code": 200,
            "price": {"amount": "0.0132", "currency": "USD"}, "vendor_id": "vnd_1",
        });
        let vendors = Vendors([("vnd_1".to_owned(), "alpha".to_owned())].into());
        for (by, name, value) in [
            (By::Begin, "begun (UTC)", "2026-11-28T23:55:48.000Z"),
            (By::End, "ended (UTC)", "2026-11-29T00:00:00.000Z"),
        ] {
            assert!(heading(by).starts_with(name) && line(&call, &vendors, by).starts_with(value));
        }
        let (head, line) = (heading(By::End), line(&call, &vendors, By::End));
        for (name, value) in [
            ("ended (UTC)", "2026-11-29T00:00:00.000Z"),
            ("call", "call_0000"),
            ("from", "+1202"),
            ("to", "+1415"),
            ("outcome", "answered"),
            ("vendor", "alpha"),
            ("price of the call", "$0.0132"),
        ] {
            assert_eq!(
                head.find(&format!("{name} ")).or(head.find(name)),
                line.find(value),
                "{name}\n{head}\n{line}"
            );
        }
        // Numbers stand at the right of their columns.
        for (name, value) in [("SIP", "200 "), ("duration", "4m 12s")] {
            let end = |text: &str, word: &str| text.find(word).map(|at| at + word.trim_end().len());
            assert_eq!(end(&head, name), end(&line, value), "{name}\n{head}\n{line}");
        }
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
