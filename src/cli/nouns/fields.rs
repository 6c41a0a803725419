//! Fields of a declared noun as texts: those that are typed, by their published forms, and those that are shown.

use serde_json::{Map, Value, json};
use warp_control_plane::api::{self, openapi};
use warp_control_plane::app::caller::Audience;
use warp_control_plane::noun::{Noun, Origin};

use crate::cli::names::Labels;
use crate::cli::{Failure, names};

/// The forms of what makes an object of this noun, as the API publishes them.
pub(in crate::cli) fn forms(noun: &Noun) -> Map<String, Value> {
    let document = openapi::document(&api::endpoints(), Audience::Operator);
    properties(&document, &input_of(&document, noun))
}

/// What can be said of an object of this noun, a field a line, those that a new one must have first.
pub(in crate::cli) fn explained(noun: &Noun, makes: bool) -> String {
    let document = openapi::document(&api::endpoints(), Audience::Operator);
    let (name, forms) = (input_of(&document, noun), forms(noun));
    let must = document["components"]["schemas"][name.as_str()]["required"].as_array();
    let must: Vec<&str> = must.into_iter().flatten().filter_map(Value::as_str).collect();
    let (first, rest): (Vec<_>, Vec<_>) = forms.iter().partition(|(name, _)| must.contains(&name.as_str()));
    let mut text = String::from("Fields:\n");
    for (name, form) in first.into_iter().chain(rest) {
        let needed = if makes && must.contains(&name.as_str()) { " (needed)" } else { "" };
        let what = form["description"].as_str().unwrap_or_default();
        text.push_str(&format!("  {:<36}{needed} {what}\n", format!("{name}={}", shape(form))));
    }
    text
}

/// How a value of this form is written.
fn shape(form: &Value) -> String {
    let of_id = names::prefixes(form);
    match form["type"].as_str() {
        _ if is_money(form) => "'0.05 USD'".to_owned(),
        _ if !of_id.is_empty() => "ID-OR-NAME".to_owned(),
        Some("integer" | "number") => "NUMBER".to_owned(),
        Some("boolean") => "true|false".to_owned(),
        Some("array") => match shape(&form["items"]) {
            item if item == "JSON" && named_by(&form["items"]).is_some() => "ID-OR-NAME,…".to_owned(),
            item if item.contains('|') => item,
            item => format!("{item},…"),
        },
        Some("object") => "JSON".to_owned(),
        _ => {
            let words: Vec<&str> =
                form["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            match words.len() {
                0 => "TEXT".to_owned(),
                1..=8 => words.join("|"),
                _ => "WORD".to_owned(),
            }
        }
    }
}

/// The name of the published type that makes an object of this noun.
fn input_of(document: &Value, noun: &Noun) -> String {
    let body = &document["paths"][noun.paths.made_at]["post"]["requestBody"]["content"]["application/json"];
    let path = body["schema"]["$ref"].as_str().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The forms of the fields of a published type.
pub(in crate::cli) fn forms_of(name: &str) -> Map<String, Value> {
    properties(&openapi::document(&api::endpoints(), Audience::Operator), name)
}

fn properties(document: &Value, name: &str) -> Map<String, Value> {
    let whole = whole_form(document, &document["components"]["schemas"][name], 4);
    whole["properties"].as_object().cloned().unwrap_or_default()
}

/// A form with those that it names by `$ref` in their places, so many levels deep.
fn whole_form(document: &Value, form: &Value, deep: u8) -> Value {
    match form {
        Value::Object(fields) if deep > 0 => match fields.get("$ref").and_then(Value::as_str) {
            Some(path) => {
                let name = path.rsplit('/').next().unwrap_or_default();
                whole_form(document, &document["components"]["schemas"][name], deep - 1)
            }
            None => {
                let each = fields.iter().map(|(name, of)| (name.clone(), whole_form(document, of, deep)));
                Value::Object(each.collect())
            }
        },
        other => other.clone(),
    }
}

/// The JSON of a text, by the form of its field. A text that is none stays one: the API says what is wrong with it. Errors: an
/// amount that is none, in words that fit the command line.
pub(in crate::cli) fn value(name: &str, form: &Value, text: &str) -> Result<Value, Failure> {
    let parsed = || serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    Ok(match form["type"].as_str() {
        _ if text.is_empty() => Value::Null,
        Some("string") => text.into(),
        Some("array") if !text.starts_with('[') => {
            text.split(',').map(|item| value(name, &form["items"], item.trim())).collect::<Result<_, _>>()?
        }
        Some("integer" | "number" | "boolean" | "array") => parsed(),
        _ if text.starts_with('{') => parsed(),
        // A list of things that are each named by one id: `targets=pbx-1`.
        Some("object") if !is_money(form) => match named_by(form) {
            Some(id) => json!({ id: text }),
            None => parsed(),
        },
        // An amount, or a field that the API does not know.
        _ => match text.split_once(' ') {
            Some((amount, currency)) if is_decimal(amount) => {
                json!({ "amount": amount, "currency": currency })
            }
            _ if is_money(form) => {
                let message = format!("{name}: {text:?} is no amount with its currency");
                let hint = format!("{name}='{} USD', with a point before decimals", example_of(text));
                return Err(Failure::new(message).with_code(2).hint(hint));
            }
            _ => parsed(),
        },
    })
}

/// The list that an object has now with more items behind it. Of what stands there only what can be written is kept.
pub(in crate::cli) fn added(
    name: &str,
    form: &Value,
    now: Option<&Value>,
    more: Value,
) -> Result<Value, Failure> {
    let Value::Array(more) = more else {
        let message = format!("{name}: is no list, so nothing can be added to it");
        return Err(Failure::new(message).with_code(2).hint(format!("{name}=VALUE")));
    };
    let Some(now) = now else {
        let message = format!("{name}: has no items yet");
        return Err(Failure::new(message).with_code(2).hint(format!("{name}=ITEM,ITEM")));
    };
    let kept = |item: &Value| match (item, form["items"]["properties"].as_object()) {
        (Value::Object(fields), Some(known)) => {
            let fields = fields.iter().filter(|(name, _)| known.contains_key(*name));
            Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        _ => item.clone(),
    };
    let before = now[name].as_array().into_iter().flatten().map(kept);
    Ok(before.chain(more).collect())
}

/// The form of an amount.
pub(in crate::cli) fn is_money(form: &Value) -> bool {
    ["amount", "currency"].iter().all(|name| form["properties"].get(name).is_some())
}

/// The one field of an object that holds an id and must be there.
fn named_by(form: &Value) -> Option<String> {
    let must = form["required"].as_array()?.iter().filter_map(Value::as_str);
    let mut ids = must.filter(|name| !names::prefixes(&form["properties"][*name]).is_empty());
    ids.next().map(str::to_owned).filter(|_| ids.next().is_none())
}

/// Digits with at most one point.
pub(in crate::cli) fn is_decimal(text: &str) -> bool {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    [whole, rest].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// What somebody may have meant who wrote 1,50 or 5EUR: its digits, a comma as a point.
pub(in crate::cli) fn example_of(text: &str) -> String {
    let digits: String = text
        .chars()
        .filter(|c| c.is_ascii_digit() || ",.".contains(*c))
        .map(|c| if c == ',' { '.' } else { c })
        .collect();
    if is_decimal(&digits) { digits } else { "1.50".to_owned() }
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

/// The names over a list for people: the declared fields; what names another object goes by that one's name.
pub(in crate::cli) fn head(noun: &Noun) -> Vec<&'static str> {
    let name = |field: &'static str| field.strip_suffix("_id").unwrap_or(field);
    std::iter::once("id").chain(noun.listed.iter().copied().map(name)).collect()
}

/// The cells of a line for people.
pub(in crate::cli) fn cells(noun: &Noun, object: &Value, labels: &mut Labels<'_>) -> Vec<String> {
    let of = |field: &str| match &object[field] {
        Value::String(id) if field.ends_with("_id") => labels.name(id),
        Value::Array(ids) if field.ends_with("_ids") || field == "targets" => {
            ids.iter().map(|id| labels.name(&cell(id))).collect::<Vec<_>>().join(",")
        }
        other => cell(other),
    };
    std::iter::once(cell(&object["id"])).chain(noun.listed.iter().copied().map(of)).collect()
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
        let of = |forms: &Map<String, Value>, name: &str, text| value(name, &forms[name], text).unwrap();
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
        let two = json!([{ "vendor_id": "alpha" }, { "vendor_id": "b" }]);
        assert_eq!(of(&members, "vendors", "alpha,b"), two);
        assert_eq!(of(&forms_of("NumberInput"), "targets", "pbx-1"), json!([{ "trunk_id": "pbx-1" }]));
    }

    /// The help of each noun's `make` names its own fields, what they take, and which of them are needed.
    #[test]
    fn the_help_of_each_noun_lists_its_own_fields() {
        for noun in noun::ALL.iter().filter(|n| n.verbs.iter().any(|d| d.verb == noun::Verb::Create)) {
            let mut all = <super::super::NounCommand as clap::Subcommand>::augment_subcommands(
                clap::Command::new("warp"),
            );
            let make = all
                .find_subcommand_mut(super::super::word(noun))
                .unwrap()
                .find_subcommand_mut("make")
                .unwrap();
            let help = make.render_help().to_string();
            for (name, _) in forms(noun) {
                assert!(help.contains(&format!("\n  {name}=")), "{}: {name}\n{help}", noun.one);
            }
        }
        let route = explained(&noun::message_route::MESSAGE_ROUTE, true);
        assert!(
            route.contains("targets=ID-OR-NAME,…")
                && route.contains("kind=static|random|failover|least_cost"),
            "{route}"
        );
        assert!(route.lines().any(|l| l.starts_with("  reason=TEXT") && l.contains("(needed)")), "{route}");
        assert!(!explained(&noun::message_route::MESSAGE_ROUTE, false).contains("(needed)"));
        let partition = explained(&noun::partition::PARTITION, true);
        assert!(
            partition.contains("vendors=ID-OR-NAME,…") && partition.contains("margin_per_min='0.05 USD'"),
            "{partition}"
        );
    }

    #[test]
    fn items_are_laid_behind_those_of_today_without_what_nobody_writes() {
        let form = &forms(&noun::partition::PARTITION)["vendors"];
        let now = json!({"vendors": [{"since": "x", "vendor_id": "vnd_1", "priority": 2, "weight": 1}]});
        let more = value("vendors", form, "mine").unwrap();
        let all = added("vendors", form, Some(&now), more).unwrap();
        assert_eq!(all, json!([{"vendor_id": "vnd_1", "priority": 2, "weight": 1}, {"vendor_id": "mine"}]));
        assert!(added("vendors", form, None, json!([])).is_err());
        assert!(added("channels", &json!({}), Some(&now), json!(3)).is_err());
    }

    #[test]
    fn an_amount_that_is_none_is_told_as_the_command_line_writes_it() {
        let trunk = forms(&noun::trunk::TRUNK);
        for (text, hint) in [
            ("250", "daily_spend='250 USD', with a point before decimals"),
            ("2,75", "daily_spend='2.75 USD', with a point before decimals"),
            ("1,50 USD", "daily_spend='1.50 USD', with a point before decimals"),
            ("much", "daily_spend='1.50 USD', with a point before decimals"),
        ] {
            let why = value("daily_spend", &trunk["daily_spend"], text).unwrap_err();
            assert_eq!((why.code, why.hint.as_str()), (2, hint), "{text}");
            assert!(why.message.contains(text) && !why.message.contains('{'), "{}", why.message);
        }
    }

    #[test]
    fn each_noun_is_shown_in_columns_that_its_answers_have() {
        for noun in noun::ALL {
            let seen = (noun.examples.seen)(Audience::Operator);
            let columns = columns(noun);
            assert_eq!(columns.first(), Some(&"id"), "{columns:?}");
            assert!(columns.iter().all(|c| seen.get(c).is_some()), "{columns:?}");
            assert!(noun.listed.iter().all(|field| seen.get(field).is_some()), "{:?}", noun.listed);
            assert!(!noun.listed.is_empty() && !noun.listed.contains(&"id"), "{}", noun.one);
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
