//! What may be sent is what is published: values that are made from the OpenAPI documents are taken, values that the documents
//! exclude are refused with their field. What only the state of the platform can say (an object that does not exist, another
//! currency than the customer's) is told apart by its code.
mod common;

use common::{Api, OF_STATE, Reply, with_configured_api};
use proptest::strategy::{Strategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use warp_control_plane::api::endpoint::{Access, Audience, Endpoint, Takes};
use warp_control_plane::api::limiter::Limit;
use warp_control_plane::api::openapi;
use warp_model::hash::SplitMix;

/// Values of each operation.
const ROUNDS: usize = 12;
struct Maker<'d> {
    document: &'d Value,
    runner: TestRunner,
    random: SplitMix,
}

impl<'d> Maker<'d> {
    /// The same values in every run.
    fn of(document: &'d Value) -> Self {
        Self { document, runner: TestRunner::deterministic(), random: SplitMix::new(6) }
    }

    fn pick(&mut self, below: usize) -> usize {
        self.random.below(below as u64) as usize
    }

    fn resolved<'v>(&'v self, schema: &'v Value) -> &'v Value {
        let target = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        target.map_or(schema, |t| self.document.pointer(t.trim_start_matches('#')).expect("a reference"))
    }

    fn text(&mut self, schema: &Value) -> String {
        if schema["format"] == "date-time" {
            let times =
                ["2026-11-29T12:00:00Z", "2026-02-28T23:59:60.123456789012+14:00", "1999-12-31t00:00:00.5z"];
            return times[self.pick(times.len())].to_owned();
        }
        let pattern = schema["pattern"].as_str().unwrap_or("^[a-z]{1,8}$");
        let inner = pattern.trim_start_matches('^').trim_end_matches('$');
        // ECMA names a character by \uXXXX, the generator by \x{XXXX}.
        let mut parts = inner.split(r"\u");
        let mut rust = parts.next().unwrap_or("").to_owned();
        for part in parts {
            let (code, rest) = part.split_at(4);
            rust.push_str(&format!(r"\x{{{code}}}{rest}"));
        }
        let texts = string_regex(&rust).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        let bound = |name: &str, otherwise| schema[name].as_u64().unwrap_or(otherwise) as usize;
        let (least, most) = (bound("minLength", 0), bound("maxLength", u64::MAX));
        let mut made = (0..2_000).map(|_| texts.new_tree(&mut self.runner).unwrap().current());
        let fits = made.find(|t| (least..=most).contains(&t.chars().count()));
        fits.unwrap_or_else(|| panic!("no text of {pattern} has {least} to {most} characters"))
    }

    /// A value of a schema; `all`: with every property and no null.
    fn value(&mut self, schema: &Value, all: bool) -> Value {
        if schema["nullable"] == true && !all && self.pick(4) == 0 {
            return Value::Null;
        }
        let schema = self.resolved(schema).clone();
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<&Value> = words.iter().filter(|w| !w.is_null()).collect();
            return words[self.pick(words.len())].clone();
        }
        match schema["type"].as_str() {
            Some("string") => self.text(&schema).into(),
            Some("boolean") => (self.pick(2) == 0).into(),
            Some("integer") => {
                let (low, high) = (schema["minimum"].as_i64().unwrap(), schema["maximum"].as_i64().unwrap());
                [low, high, low + (high - low) / 2][self.pick(3)].into()
            }
            Some("array") => {
                let bound = |name: &str, otherwise| schema[name].as_u64().unwrap_or(otherwise) as usize;
                let (least, most) = (bound("minItems", 0).max(usize::from(all)), bound("maxItems", 3).min(3));
                let wanted = least + self.pick(most - least + 1);
                let mut items: Vec<Value> = Vec::new();
                for _ in 0..100 {
                    let item = self.value(&schema["items"], all);
                    if items.len() < wanted && (schema["uniqueItems"] != true || !items.contains(&item)) {
                        items.push(item);
                    }
                }
                items.into()
            }
            _ => {
                let mut map = Map::new();
                let required = schema["required"].as_array().cloned().unwrap_or_default();
                for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                    if all || required.iter().any(|r| r == name) || self.pick(2) == 0 {
                        map.insert(name.clone(), self.value(field, all));
                    }
                }
                if schema["additionalProperties"].is_object() {
                    // Keys of such an object are texts of any kind.
                    map.insert("Col\u{0}umn".into(), self.value(&schema["additionalProperties"], all));
                }
                map.into()
            }
        }
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// As a client sends a parameter: a list with commas, JSON as its text.
fn in_query(parameter: &Value, value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if parameter["explode"] == false => {
            items.iter().map(|i| i.as_str().unwrap()).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    };
    format!("{}={}", encoded(parameter["name"].as_str().unwrap()), encoded(&text))
}

fn schema_of(parameter: &Value) -> &Value {
    if parameter["content"].is_object() {
        &parameter["content"]["application/json"]["schema"]
    } else {
        &parameter["schema"]
    }
}

/// Objects that paths can name.
struct World {
    names: Vec<(&'static str, String)>,
    key: String,
}

async fn world(api: &Api) -> World {
    let id = |data: Value| data["id"].as_str().unwrap().to_owned();
    let (customer, key) = api.customer("Acme").await;
    let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
    let ban = trunk["ban_id"].as_str().unwrap().to_owned();
    let trunk = id(trunk);
    let body = json!({ "amount": { "amount": "1", "currency": "USD" }, "reason": "r" }).to_string();
    let bearer = format!("Bearer {}", api.operator);
    let headers =
        [("Authorization", &*bearer), ("Content-Type", "application/json"), ("Idempotency-Key", "first")];
    let top_ups = format!("/api/v1/admin/bans/{ban}/top-ups");
    let posting = id(api.send("POST", &top_ups, &headers, body.as_bytes()).await.data());
    let vendor = id(api.op("POST", "/vendors", Some(json!({ "slug": "first", "name": "V" }))).await.data());
    let body = json!({ "name": "v", "addresses": ["127.0.0.1:5080"] });
    let vendor_trunk = id(api.op("POST", &format!("/vendors/{vendor}/trunks"), Some(body)).await.data());
    let partition = id(api.op("POST", "/partitions", Some(json!({ "name": "p" }))).await.data());
    let deck = id(api.op("POST", "/rate-decks", Some(json!({ "name": "d", "kind": "us" }))).await.data());
    let call = common::insert_call(api, &customer, &trunk).await;
    let number = json!({ "number": "+14155550199", "customer_id": customer });
    let number = id(api.op("POST", "/numbers", Some(number)).await.data());
    let names = vec![
        ("{number_id}", number),
        ("{customer_id}", customer),
        ("{ban_id}", ban),
        ("{posting_id}", posting),
        ("{trunk_id}", trunk),
        ("{vendor_id}", vendor),
        ("{vendor_trunk_id}", vendor_trunk),
        ("{partition_id}", partition),
        ("{deck_id}", deck),
        ("{call_id}", call),
        ("{number}", "1".to_owned()),
    ];
    World { names, key }
}

impl World {
    fn path(&self, e: &Endpoint) -> String {
        // What is deleted must not be missed by the others.
        let keep = if e.method == "DELETE" { 0 } else { usize::MAX };
        let path = self.names.iter().take(keep).fold(e.path.to_owned(), |p, (name, id)| p.replace(name, id));
        path.split('/').map(|p| if p.starts_with('{') { "x_1" } else { p }).collect::<Vec<_>>().join("/")
    }

    async fn send(
        &self,
        api: &Api,
        audience: Audience,
        e: &Endpoint,
        query: &[String],
        body: Option<&Value>,
    ) -> Reply {
        let key = if audience == Audience::Operator { &api.operator } else { &self.key };
        let path = format!("{}?{}", self.path(e), query.join("&"));
        let bearer = format!("Bearer {key}");
        let kind = if matches!(e.takes, Takes::Csv(_)) { "text/csv" } else { "application/json" };
        let text = body.map(Value::to_string).unwrap_or_default();
        static KEYS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let once = format!("k{}", KEYS.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", kind)];
        headers.extend(e.keyed.then_some(("Idempotency-Key", once.as_str())));
        api.send(e.method.as_str(), &path, &headers, text.as_bytes()).await
    }
}

fn body_schema(operation: &Value) -> Option<&Value> {
    operation["requestBody"]["content"]
        .as_object()?
        .iter()
        .find(|(kind, _)| kind.contains("json"))
        .map(|(_, c)| &c["schema"])
}

fn generous(c: &mut warp_control_plane::Config) {
    let limit = Limit { per_second: 1_000_000, burst: 1_000_000 };
    (c.edge.key_limit, c.edge.customer_limit) = (limit, limit);
}

/// Why an answer refuses the request itself, not what it asks of the present state.
fn refusal(r: &Reply) -> Option<String> {
    // A stream of events is no JSON.
    let told = if r.status == 200 { Value::Null } else { r.json()["error"].clone() };
    match r.status {
        200..=299 | 403 | 404 | 409 => None,
        503 if told["message"].as_str().is_some_and(|m| m.contains("not live yet")) => None,
        422 if told["code"] == "deck_invalid" => None,
        422 => {
            let details = told["details"].as_array().cloned().unwrap_or_default();
            let of_state = |d: &Value| OF_STATE.contains(&d["code"].as_str().unwrap_or(""));
            (details.is_empty() || !details.iter().all(of_state)).then(|| r.body.clone())
        }
        _ => Some(r.body.clone()),
    }
}

/// The endpoints for these callers, each with its operation in their document.
fn operations(api: &Api, document: &Value, audience: Audience) -> Vec<(Endpoint, Value)> {
    let all = api.control.app.endpoints.iter();
    let of_audience = all.filter(|e| matches!(e.access, Access::Scope(a, _) if a == audience));
    let operation = |e: &Endpoint| document["paths"][e.path][e.method.as_str().to_lowercase()].clone();
    of_audience.map(|e| (e.clone(), operation(e))).collect()
}

#[test]
fn what_the_documents_allow_is_taken() {
    with_configured_api(generous, |api| async move {
        let world = world(&api).await;
        let mut wrong = Vec::new();
        let mut sent = 0;
        for audience in [Audience::Customer, Audience::Operator] {
            let document = openapi::document(&api.control.app.endpoints, audience);
            let mut maker = Maker::of(&document);
            for (e, operation) in operations(&api, &document, audience) {
                let parameters: Vec<Value> = operation["parameters"].as_array().cloned().unwrap_or_default();
                for _ in 0..ROUNDS {
                    let mut query = Vec::new();
                    for p in parameters.iter().filter(|p| p["in"] == "query") {
                        if p["required"] == true || maker.pick(3) == 0 {
                            let value = maker.value(schema_of(p), false);
                            query.push(in_query(p, &value));
                        }
                    }
                    let body = body_schema(&operation).map(|s| maker.value(s, false));
                    let r = world.send(&api, audience, &e, &query, body.as_ref()).await;
                    sent += 1;
                    if let Some(why) = refusal(&r) {
                        wrong.push(format!(
                            "{} {} {query:?} {body:?}\n  {} {why}",
                            e.method, e.path, r.status
                        ));
                        break;
                    }
                }
            }
        }
        assert!(sent > 500, "{sent} requests");
        assert!(
            wrong.is_empty(),
            "{} operations refuse what they publish:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    });
}

/// Values that a schema excludes: null where it is not nullable, a number beside the bounds, a word that is not in the list, a list
/// that is too long, a text of another form.
fn excluded(maker: &Maker<'_>, schema: &Value) -> Vec<Value> {
    let mut out = Vec::new();
    if schema["nullable"] != true {
        out.push(Value::Null);
    }
    let schema = maker.resolved(schema);
    match schema["type"].as_str() {
        Some("integer") => {
            for (bound, step) in [("minimum", -1), ("maximum", 1)] {
                out.extend(schema[bound].as_i64().map(|n| json!(n + step)));
            }
            if schema["enum"].is_array() {
                out.push(json!(7_777));
            }
            out.push(json!(1.5));
            out.push(json!("1"));
        }
        Some("string") => {
            out.extend([json!(1), json!("\u{1}"), json!(["x"])]);
            out.extend(schema["maxLength"].as_u64().map(|n| json!("x".repeat(n as usize + 1))));
            if schema["enum"].is_array() {
                out.push(json!("no such word"));
            }
        }
        Some("boolean") => out.extend([json!("true"), json!(0)]),
        Some("array") => {
            out.extend([json!({}), json!("x"), json!([null])]);
            out.extend(schema["minItems"].as_u64().filter(|n| *n > 0).map(|_| json!([])));
        }
        _ => out.extend([json!([]), json!("x"), json!({ "colour": "red" })]),
    }
    out
}

#[test]
fn what_the_documents_exclude_is_refused_with_its_field() {
    with_configured_api(generous, |api| async move {
        let world = world(&api).await;
        let mut wrong = Vec::new();
        let mut sent = 0;
        for audience in [Audience::Customer, Audience::Operator] {
            let document = openapi::document(&api.control.app.endpoints, audience);
            let mut maker = Maker::of(&document);
            for (e, operation) in operations(&api, &document, audience) {
                if let Some(schema) = body_schema(&operation) {
                    let schema = maker.resolved(schema).clone();
                    let good = maker.value(&schema, true);
                    for (field, of) in schema["properties"].as_object().into_iter().flatten() {
                        for bad in excluded(&maker, of) {
                            let mut body = good.clone();
                            body[field] = bad.clone();
                            let r = world.send(&api, audience, &e, &[], Some(&body)).await;
                            sent += 1;
                            let details =
                                r.json()["error"]["details"].as_array().cloned().unwrap_or_default();
                            let named = |d: &Value| {
                                d["field"].as_str().is_some_and(|f| {
                                    f.trim_start_matches("options").contains(field.as_str()) || f == "options"
                                })
                            };
                            if r.status != 404 && !(r.status == 422 && details.iter().any(named)) {
                                wrong.push(format!(
                                    "{} {} {field}: {bad}\n  {} {}",
                                    e.method, e.path, r.status, r.body
                                ));
                            }
                        }
                    }
                }
                for p in
                    operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query")
                {
                    let schema = schema_of(p);
                    let mut bad: Vec<Value> = Vec::new();
                    for (bound, step) in [("minimum", -1), ("maximum", 1)] {
                        bad.extend(schema[bound].as_i64().map(|n| json!(n + step)));
                    }
                    if schema["enum"].is_array()
                        || schema["items"]["enum"].is_array()
                        || schema["format"].is_string()
                    {
                        bad.push(json!("no such word"));
                    }
                    if schema["pattern"].is_string() || p["content"].is_object() {
                        bad.push(json!("\u{1}"));
                    }
                    assert!(!bad.is_empty(), "{} {}: anything is allowed", e.path, p["name"]);
                    for value in bad {
                        let r = world.send(&api, audience, &e, &[in_query(p, &value)], None).await;
                        sent += 1;
                        if ![400, 404, 422].contains(&r.status) || r.status == 404 && !e.path.contains('{') {
                            wrong.push(format!(
                                "{} {} {}={value}\n  {} {}",
                                e.method, e.path, p["name"], r.status, r.body
                            ));
                        }
                    }
                }
            }
        }
        assert!(sent > 500, "{sent} requests");
        assert!(wrong.is_empty(), "{} excluded values were taken:\n{}", wrong.len(), wrong.join("\n"));
    });
}
