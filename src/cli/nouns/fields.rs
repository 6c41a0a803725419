//! Fields of a declared noun as texts: those that are typed, by their published forms, and those that are shown.

use serde_json::{Map, Value, json};
use warp_control_plane::api::{self, openapi};
use warp_control_plane::app::caller::Audience;
use warp_control_plane::noun::{Noun, Origin};

/// The forms of what makes an object of this noun, as the API publishes them.
pub(in crate::cli) fn forms(noun: &Noun) -> Map<String, Value> {
    let document = openapi::document(&api::endpoints(), Audience::Operator);
    let body = &document["paths"][noun.paths.made_at]["post"]["requestBody"]["content"]["application/json"];
    let name = body["schema"]["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    properties(&document, name)
}

/// The forms of the fields of a published type.
pub(in crate::cli) fn forms_of(name: &str) -> Map<String, Value> {
    properties(&openapi::document(&api::endpoints(), Audience::Operator), name)
}

fn properties(document: &Value, name: &str) -> Map<String, Value> {
    document["components"]["schemas"][name]["properties"].as_object().cloned().unwrap_or_default()
}

/// The JSON of a text, by the form of its field. A text that is none stays one: the API says what is wrong with it.
pub(in crate::cli) fn value(form: &Value, text: &str) -> Value {
    let parsed = || serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    match form["type"].as_str() {
        _ if text.is_empty() => Value::Null,
        Some("string") => text.into(),
        Some("array") if !text.starts_with('[') => {
            text.split(',').map(|item| value(&form["items"], item.trim())).collect()
        }
        Some("integer" | "number" | "boolean" | "array") => parsed(),
        // An amount, or a field that the API does not know.
        _ => match text.split_once(' ') {
            Some((amount, currency)) if !text.starts_with('{') => {
                json!({ "amount": amount, "currency": currency })
            }
            _ => parsed(),
        },
    }
}

/// The columns of a line: the id, whose it is, what was written, then the rest.
pub(in crate::cli) fn columns(noun: &Noun) -> Vec<&'static str> {
    let seen = (noun.examples.seen)(Audience::Operator);
    let shown = |origin: Origin| {
        let of = noun.columns.iter().filter(move |c| c.origin == origin).map(|c| c.field);
        of.filter(|field| seen.get(field).is_some()).collect::<Vec<_>>()
    };
    let (ids, rest): (Vec<_>, Vec<_>) =
        shown(Origin::Given).into_iter().partition(|field| field.ends_with("id"));
    [ids, shown(Origin::Written), rest].concat()
}

/// The fields of a line.
pub(in crate::cli) fn row(columns: &[&str], object: &Value) -> Vec<String> {
    columns.iter().map(|name| cell(&object[*name])).collect()
}

/// A line for people: the id, and what lists are filtered by.
pub(in crate::cli) fn facts(noun: &Noun, object: &Value) -> String {
    let mut line = format!("{:<30}", cell(&object["id"]));
    for filter in noun.filters {
        let text = cell(&object[filter.column]);
        let width = if text.len() > 24 { 30 } else { 16 };
        line.push_str(&format!("  {:<width$}", if text.is_empty() { "-" } else { &text }));
    }
    line.trim_end().to_owned()
}

/// An object for people: a field a line, those of the line of columns first.
pub(in crate::cli) fn whole(object: &Value, columns: &[&str]) -> String {
    let fields = object.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let others = fields.filter(|name| !columns.contains(name));
    let lines = columns.iter().copied().chain(others).filter(|name| object.get(name).is_some());
    lines
        .map(|name| format!("{name:<20}  {}", cell(&object[name])).trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A value as a text: an amount with its currency, items of a list with blanks.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|i| !i.is_object() && !i.is_array()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(" ")
        }
        Value::Object(money) if money.len() == 2 && money.contains_key("amount") => {
            format!("{} {}", cell(&value["amount"]), cell(&value["currency"]))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_control_plane::noun;

    #[test]
    fn a_text_becomes_what_the_field_takes() {
        let trunk = forms(&noun::trunk::TRUNK);
        let vendor_trunk = forms(&noun::vendor_trunk::VENDOR_TRUNK);
        let of = |forms: &Map<String, Value>, name: &str, text| value(&forms[name], text);
        assert_eq!(of(&trunk, "channels", "30"), json!(30));
        assert_eq!(of(&trunk, "name", "30"), json!("30"), "a name of digits is a text");
        assert_eq!(of(&vendor_trunk, "tech_prefix", "9"), json!("9"));
        assert_eq!(of(&trunk, "strip_required", "true"), json!(true));
        assert_eq!(of(&trunk, "channels", ""), Value::Null);
        assert_eq!(of(&trunk, "channels", "many"), json!("many"), "the API says what is wrong");
        assert_eq!(of(&trunk, "media_ips", "192.0.2.1, 192.0.2.2"), json!(["192.0.2.1", "192.0.2.2"]));
        assert_eq!(of(&trunk, "strip_prefixes", "9"), json!(["9"]));
        let amount = json!({ "amount": "0.05", "currency": "USD" });
        assert_eq!(of(&trunk, "max_rate_per_min", "0.05 USD"), amount);
        assert_eq!(of(&trunk, "max_rate_per_min", r#"{"amount":"0.05","currency":"USD"}"#), amount);
        let members = forms(&noun::partition::PARTITION);
        assert_eq!(of(&members, "vendors", r#"[{"vendor_id":"v"}]"#), json!([{ "vendor_id": "v" }]));
    }

    #[test]
    fn each_noun_is_shown_in_columns_that_its_answers_have() {
        for noun in noun::ALL {
            let seen = (noun.examples.seen)(Audience::Operator);
            let columns = columns(noun);
            assert_eq!(columns.first(), Some(&"id"), "{columns:?}");
            assert!(columns.iter().all(|c| seen.get(c).is_some()), "{columns:?}");
            assert!(facts(noun, &seen).starts_with(seen["id"].as_str().unwrap()));
            assert!(!forms(noun).is_empty(), "{}", noun.one);
        }
        let trunk = (noun::trunk::TRUNK.examples.seen)(Audience::Operator);
        assert!(
            whole(&trunk, &["id"]).contains("max_rate_per_min      0.05 USD"),
            "{}",
            whole(&trunk, &["id"])
        );
    }
}
