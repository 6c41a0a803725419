//! T-API-06: a seeded mutator behind the real router and a real database. It walks every operation of the OpenAPI documents with
//! a body, a query and headers that are right, and with thousands that are not: never a server error, always the envelope
//! with a code of the closed list and a request id. The seed makes a failure repeat.
mod common;

use common::{Api, Reply, insert_call, with_configured_api};
use serde_json::{Map, Value, json};
use warp_control_plane::api::endpoint::Audience;
use warp_control_plane::api::error::Code;
use warp_control_plane::api::limiter::Limit;
use warp_control_plane::api::openapi;

/// Wrong bodies, queries and heads of each operation.
const ROUNDS: usize = 14;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Values that no field wants. The long ones are cut from these by the mutator.
fn nasty(rng: &mut Rng) -> Value {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e308),
        json!(-0.5),
        json!(""),
        json!("\u{0}"),
        json!("\u{7f}\u{1b}[31m"),
        json!("a\r\nb: c"),
        json!("x".repeat(9_000)),
        json!("٣٤"),
        json!("\u{202e}\u{feff}"),
        json!("9999-99-99T99:99:99Z"),
        json!("0001-01-01T00:00:00Z"),
        json!("300.1.2.3/33"),
        json!("::/0"),
        json!("'; DROP TABLE calls; --"),
        json!("+"),
        json!("99999999999999999999"),
        json!([]),
        json!({}),
        json!([null]),
        json!({ "amount": "1e9", "currency": "USD" }),
        json!({ "amount": "-0.000000000001", "currency": "usd" }),
        json!(vec!["a"; 300]),
        deep,
    ];
    rng.pick(&values).clone()
}

/// A right value of a schema, as far as a schema tells.
fn right(root: &Value, schema: &Value, ids: &Map<String, Value>, name: &str) -> Value {
    if let Some(target) = schema["$ref"].as_str() {
        return right(root, root.pointer(target.trim_start_matches('#')).unwrap(), ids, name);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return right(root, &parts[0], ids, name);
    }
    let words = schema["enum"].as_array();
    if let Some(value) = ids.get(name).filter(|v| words.is_none_or(|w| w.contains(v)))
        && schema["type"] != "object"
    {
        return value.clone();
    }
    if let Some(first) = words.and_then(|w| w.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let properties = schema["properties"].as_object().cloned().unwrap_or_default();
            properties.iter().map(|(n, s)| (n.clone(), right(root, s, ids, n))).collect::<Map<_, _>>().into()
        }
        Some("array") => json!([right(root, &schema["items"], ids, name.trim_end_matches('s'))]),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(false),
        _ => json!("x"),
    }
}

/// Another value at one place of a document.
fn replace_somewhere(value: &mut Value, rng: &mut Rng) {
    match value {
        Value::Object(map) if !map.is_empty() && rng.below(5) > 0 => {
            let key = map.keys().nth(rng.below(map.len())).unwrap().clone();
            match rng.below(8) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(format!("{key}_"), nasty(rng))),
                _ => replace_somewhere(&mut map[&key], rng),
            }
        }
        Value::Array(items) if !items.is_empty() && rng.below(3) > 0 => {
            let at = rng.below(items.len());
            replace_somewhere(&mut items[at], rng);
        }
        other => *other = nasty(rng),
    }
}

fn mutated(base: &Value, rng: &mut Rng) -> Vec<u8> {
    let mut tree = base.clone();
    for _ in 0..=rng.below(2) {
        replace_somewhere(&mut tree, rng);
    }
    let mut text = tree.to_string();
    match rng.below(9) {
        0 => text = base.to_string().replacen('{', "{\"name\":1,\"name\":2,", 1),
        1 => text = format!("{}{text}{}", "[".repeat(200), "]".repeat(200)),
        2 => text = text.replace("\"x\"", "\"\\ud800\""),
        3 => text.push_str(" {}"),
        _ => {}
    }
    let mut bytes = text.into_bytes();
    if rng.below(3) == 0 {
        damage(&mut bytes, rng);
    }
    bytes
}

/// Bytes flipped, put in, taken out, cut off: also what is no UTF-8 any more.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len());
        match rng.below(4) {
            0 if !bytes.is_empty() => bytes[at] = rng.below(256) as u8,
            1 => bytes.insert(at, *rng.pick(b"\0\xff\x80\"{}[],:\\9-e\r\n")),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            _ => {}
        }
    }
}

/// The rule of T-API-06 for one answer.
fn assert_proper(reply: &Reply, what: &str) {
    assert!((200..500).contains(&reply.status), "{what}: {} {} {}", reply.status, reply.head, reply.body);
    if reply.status == 302 {
        // A browser goes on elsewhere.
        assert!(reply.header("location").is_some() && reply.body.is_empty(), "{what}: {}", reply.head);
        return;
    }
    let is_json = reply.header("content-type") == Some("application/json");
    if reply.status < 300 && !is_json {
        return; // documents
    }
    let body: Value =
        serde_json::from_str(&reply.body).unwrap_or_else(|e| panic!("{what}: {e}: {}", reply.body));
    if reply.status < 300 && body.get("openapi").is_some() {
        return;
    }
    assert_eq!(body["success"], reply.status < 300, "{what}: {body}");
    let id = body["meta"]["request_id"].as_str().unwrap_or("");
    assert!(!id.is_empty() && reply.header("x-request-id") == Some(id), "{what}: {body}");
    if reply.status >= 300 {
        let code = Code::ALL.iter().find(|c| Some(c.as_str()) == body["error"]["code"].as_str());
        let code = code.unwrap_or_else(|| panic!("{what}: a code that is not of the list: {body}"));
        assert_eq!(code.status(), reply.status, "{what}: {body}");
        assert!(body["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{what}: {body}");
    }
}

/// 503 is what F-PG-03 asks for on a machine that is too busy; then once more.
async fn send(api: &Api, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let first = api.send(method, path, headers, body).await;
    if first.status == 503 { api.send(method, path, headers, body).await } else { first }
}

/// Objects that paths and bodies name, by the names that they have there.
async fn world(api: &Api) -> (Map<String, Value>, String) {
    let (customer, key) = api.customer("Caller").await;
    let (other, _) = api.customer("Target").await;
    let mut ids = Map::new();
    let made = |value: Value| value["id"].clone();
    let deck = made(api.op("POST", "/rate-decks", Some(json!({ "name": "d", "kind": "us" }))).await.data());
    let vendor = json!({ "slug": "v", "name": "v" });
    let vendor = made(api.op("POST", "/vendors", Some(vendor)).await.data());
    let trunks = format!("/vendors/{}/trunks", vendor.as_str().unwrap());
    let vendor_trunk = json!({ "name": "t", "addresses": ["192.0.2.1:5060"] });
    let vendor_trunk = made(api.op("POST", &trunks, Some(vendor_trunk)).await.data());
    let partition = made(api.op("POST", "/partitions", Some(json!({ "name": "p" }))).await.data());
    let trunk = made(api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data());
    let call = insert_call(api, &customer, trunk.as_str().unwrap()).await;
    let bans = format!("/customers/{other}/bans");
    let ban = made(api.op("POST", &bans, Some(json!({ "name": "b" }))).await.data());
    let exclusion = json!({ "vendor_id": vendor, "kind": "permanent", "reason": "bad audio" });
    let exclusion = made(api.op("POST", "/exclusions", Some(exclusion)).await.data());
    let rule = json!({ "partition_id": partition, "reason": "r", "code": "1999" });
    let rule = made(api.op("POST", "/overrides", Some(rule)).await.data());
    let block = json!({ "reason": "r", "code": "1999" });
    let block = made(api.op("POST", "/blocks", Some(block)).await.data());
    let rate = json!({ "currency": "EUR", "worth": { "amount": "1.08", "currency": "USD" }, "reason": "r" });
    let rate = made(api.op("POST", "/exchange-rates", Some(rate)).await.data());
    let number = json!({ "number": "+14155550188", "customer_id": other });
    let number = made(api.op("POST", "/numbers", Some(number)).await.data());
    let operator = json!({ "email": "op@example.com", "name": "o", "role": "noc", "subject": "op" });
    let operator = made(api.op("POST", "/operators", Some(operator)).await.data());
    let user = json!({ "email": "us@example.com", "name": "u", "role": "billing", "subject": "us" });
    let user = made(api.op("POST", &format!("/customers/{other}/users"), Some(user)).await.data());
    let job = json!({ "kind": "call_export", "call_export": {} });
    let job = made(api.op("POST", "/jobs", Some(job)).await.data());
    let schedule = json!({
        "name": "s", "kind": "call_export", "call_export": {}, "every": "day", "at": "02:00", "time_zone": "UTC"
    });
    let schedule = made(api.op("POST", "/schedules", Some(schedule)).await.data());
    let hook = json!({ "name": "h", "url": "https://hooks.acme.example/warp", "events": ["balance.low"] });
    let hook = made(api.call(&key, "POST", "/api/v1/webhooks", Some(hook)).await.data());
    let account = json!({ "name": "a", "system_id": "a-1", "password": "a-secret" });
    let accounts = format!("/customers/{other}/smpp-accounts");
    let account = made(api.op("POST", &accounts, Some(account)).await.data());
    let bind = json!({ "name": "b", "addresses": ["192.0.2.1:2775"], "system_id": "warp" });
    let binds = format!("/vendors/{}/binds", vendor.as_str().unwrap());
    let bind = made(api.op("POST", &binds, Some(bind)).await.data());
    for (name, id) in [
        ("webhook_id", hook),
        ("url", json!("https://hooks.acme.example/other")),
        ("smpp_account_id", account),
        ("vendor_bind_id", bind),
        ("job_id", job),
        ("schedule_id", schedule),
        ("time_zone", json!("Europe/Berlin")),
        ("exclusion_id", exclusion),
        ("override_id", rule),
        ("block_id", block),
        ("exchange_rate_id", rate),
        ("number_id", number),
        ("operator_id", operator),
        ("user_id", user),
        ("customer_id", json!(other)),
        ("deck_id", deck.clone()),
        ("sell_deck_id", deck.clone()),
        ("buy_deck_id", deck),
        ("vendor_id", vendor.clone()),
        ("vendor", vendor),
        ("vendor_trunk_id", vendor_trunk),
        ("partition_id", partition),
        ("trunk_id", trunk),
        ("call_id", json!(call)),
        ("ban_id", ban),
        ("number", json!("+14155550177")),
        ("email", json!("ada@example.com")),
        ("reason", json!("asked for by mail")),
        ("mode", json!("postpaid")),
        ("signalling_ip", json!("192.0.2.9")),
        ("network", json!("198.51.100.0/28")),
        ("cap", json!("0.5")),
        ("username", json!("u")),
        ("name", json!("n")),
        ("slug", json!("s-1")),
        ("addresse", json!("192.0.2.9:5060")),
        ("address", json!("192.0.2.77")),
        ("media_ip", json!("192.0.2.9")),
        ("password", json!("correct-horse-battery")),
        ("auth_password", json!("pw")),
        ("amount", json!("0.5")),
        ("currency", json!("USD")),
        ("from", json!("+12025550100")),
        ("to", json!("+14155550123")),
        ("ends_at", json!("2099-01-01T00:00:00Z")),
        ("starts_at", json!("2098-01-01T00:00:00Z")),
        ("at", json!("2026-11-22T00:00:00Z")),
        ("scope", json!("trunks:read")),
        ("ip_allow", json!(["127.0.0.1"])),
        ("code", json!("44")),
        ("tech_prefix", json!("9")),
        ("interconnection", json!("CA")),
        ("strip_prefixe", json!("9")),
        ("terms_days", json!(30)),
    ] {
        ids.insert(name.to_owned(), id);
    }
    (ids, key)
}

fn generous(config: &mut warp_control_plane::Config) {
    let all = Limit { per_second: 1_000_000, burst: 1_000_000 };
    (config.edge.key_limit, config.edge.customer_limit, config.edge.address_limit) = (all, all, all);
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[test]
fn t_api_06_mutated_bodies_queries_and_heads_of_every_operation_get_a_proper_answer() {
    with_configured_api(generous, |api| async move {
        let (ids, customer_key) = world(&api).await;
        let (long_id, long_key) = ("r".repeat(70), "k".repeat(200));
        let mut rng = Rng(20_261_128);
        let (mut operations, mut accepted, mut refused) = (0, 0, 0);
        for (audience, key) in [(Audience::Customer, &customer_key), (Audience::Operator, &api.operator)] {
            let document = openapi::document(&api.control.app.endpoints, audience);
            let bearer = format!("Bearer {key}");
            for (template, item) in document["paths"].as_object().unwrap() {
                for (method, operation) in item.as_object().unwrap() {
                    operations += 1;
                    let method = method.to_ascii_uppercase();
                    // What is deleted is somebody else's or nobody's: the world shall live.
                    let spare = method == "DELETE";
                    let part = |p: &str| match p.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                        Some(name) if !spare => {
                            ids.get(name).and_then(Value::as_str).unwrap_or("x").to_owned()
                        }
                        Some(_) => "x".to_owned(),
                        None => p.to_owned(),
                    };
                    let path = template.split('/').map(part).collect::<Vec<_>>().join("/");
                    let content = operation["requestBody"]["content"].as_object();
                    let kind =
                        content.and_then(|c| c.keys().next_back()).map_or("application/json", String::as_str);
                    let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
                    let base = match content {
                        Some(_) if kind == "text/csv" => None,
                        Some(c) if method == "PATCH" => Some(patch_of(&document, item, c)),
                        Some(c) => Some(c[kind]["schema"].clone()),
                        None => None,
                    };
                    let base = base.map(|schema| right(&document, &schema, &ids, ""));
                    let whole = base.as_ref().map(|b| b.to_string().into_bytes()).unwrap_or_default();
                    let plain = send(&api, &method, &path, &headers, &whole).await;
                    assert_proper(&plain, &format!("{method} {path}"));
                    accepted += usize::from(plain.status < 300);
                    let query = operation["parameters"].as_array().into_iter().flatten();
                    let query: Vec<&str> =
                        query.filter(|p| p["in"] == "query").filter_map(|p| p["name"].as_str()).collect();
                    for round in 0..ROUNDS {
                        let body = base.as_ref().map(|b| mutated(b, &mut rng)).unwrap_or_default();
                        let mut target = path.clone();
                        if rng.below(3) == 0 || (body.is_empty() && !query.is_empty()) {
                            let name = if query.is_empty() { "limit" } else { rng.pick(&query) };
                            let value = match nasty(&mut rng) {
                                Value::String(text) => encoded(&text),
                                other => encoded(&other.to_string()),
                            };
                            let more = *rng.pick(&[
                                "",
                                "&",
                                "&&x",
                                "&limit=1&limit=1",
                                "%zz",
                                "=%ff",
                                "&cursor=%00",
                                "&sort=id",
                            ]);
                            target.push_str(&format!("?{}={value}{more}", encoded(name)));
                        }
                        let id = *rng.pick(&["ok-1", "", "a b", "<script>", "\u{e9}", "x\ty", &long_id]);
                        let again = format!("key-{operations}-{round}");
                        let again = *rng.pick(&[again.as_str(), "", "\u{e9}", &long_key]);
                        let version = *rng.pick(&[
                            "\"1\"",
                            "*",
                            "W/\"1\"",
                            "\"99999999999999999999\"",
                            "\u{e9}",
                            "\"-1\"",
                        ]);
                        let mut all = vec![headers[0], headers[1], ("X-Request-Id", id)];
                        match rng.below(4) {
                            0 => all.push(("Idempotency-Key", again)),
                            1 => all.push(("If-Match", version)),
                            2 => all.push(("X-Forwarded-For", "::ffff:1.2.3.4, unknown, 300.1.1.1, \u{e9}")),
                            _ => {}
                        }
                        let reply = send(&api, &method, &target, &all, &body).await;
                        let shown = String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
                        assert_proper(&reply, &format!("{method} {target} {all:?} {shown}"));
                        refused += usize::from(reply.status >= 400);
                    }
                }
            }
        }
        // The right bodies are mostly right, and the wrong ones mostly wrong: otherwise the test looks at one door only.
        assert!(accepted * 2 > operations, "{accepted} of {operations} operations took a right request");
        assert!(refused > operations * ROUNDS / 3, "{refused} refused");
        let metrics = api.control.registry().render();
        assert!(metrics.contains("warp_http_panics_total 0"), "a handler panicked");
    });
}

/// A merge patch is described by the object that PUT takes at the same path.
fn patch_of(document: &Value, item: &Value, content: &Map<String, Value>) -> Value {
    let put = &item["put"]["requestBody"]["content"]["application/json"]["schema"];
    if put.is_object() {
        return put.clone();
    }
    let text = content.values().next().unwrap()["schema"]["description"].as_str().unwrap_or("");
    let name = text.rsplit(' ').next().unwrap_or("").trim_end_matches('.');
    document["components"]["schemas"][name].clone()
}

#[test]
fn t_api_06_mutated_uploads_get_a_proper_answer() {
    with_configured_api(generous, |api| async move {
        let whole = "NPANXX,Interstate,Intrastate,Indeterminate,Increment,Setup Fee,Effective Date\n\
                     201,0.0100,0.0200,0.0300,6/6,0,2020-01-01\n\"212\",0.01,0.02,0.03,30/6,0.001,2020-01-01\n\
                     415555,0.5,0.6,0.7,60/60,,2021-06-30\n";
        let bearer = format!("Bearer {}", api.operator);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/csv")];
        let mut rng = Rng(7);
        let mut outcomes = std::collections::BTreeMap::new();
        for kind in ["us", "az"] {
            let deck = json!({ "name": kind, "kind": kind });
            let made = api.op("POST", "/rate-decks", Some(deck)).await;
            if made.status != 201 {
                continue;
            }
            let path = format!("/api/v1/admin/rate-decks/{}/versions", made.data()["id"].as_str().unwrap());
            for round in 0..150 {
                let mut bytes = whole.as_bytes().to_vec();
                match rng.below(6) {
                    0 => damage(&mut bytes, &mut rng),
                    1 => {
                        let text = nasty(&mut rng).to_string();
                        bytes = whole.replacen("0.0100", &text, 1).into_bytes();
                    }
                    2 => bytes = whole.replacen("201", &"9".repeat(rng.below(30)), 1).into_bytes(),
                    3 => {
                        let end = *rng.pick(&["\r", "\r\n", "\0\n", ";\n", "\n\n\n", "\"\n"]);
                        bytes = whole.replace('\n', end).into_bytes();
                    }
                    4 => {
                        let separator = *rng.pick(&[";", "\t", "|", ",,", "\u{a0}"]);
                        bytes = whole.replace(',', separator).into_bytes();
                    }
                    _ => {
                        damage(&mut bytes, &mut rng);
                        bytes.extend_from_slice(whole.as_bytes());
                    }
                }
                let reply = send(&api, "POST", &path, &headers, &bytes).await;
                assert_proper(&reply, &format!("round {round}: {}", String::from_utf8_lossy(&bytes)));
                *outcomes.entry(reply.status).or_insert(0) += 1;
            }
        }
        assert!(outcomes.len() >= 2, "only one kind of answer: {outcomes:?}");
    });
}

#[test]
fn t_api_06_control_characters_in_a_head_are_refused_and_the_listener_lives() {
    // A connection whose Connection header was damaged is kept until the head of a next request is late.
    let brisk = |config: &mut warp_control_plane::Config| {
        generous(config);
        config.edge.head_timeout = std::time::Duration::from_millis(100);
    };
    with_configured_api(brisk, |api| async move {
        let good = format!(
            "GET /api/v1/admin/vendors HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
            api.operator
        );
        assert_eq!(api.raw(good.as_bytes()).await.status, 200);
        let mut rng = Rng(11);
        for round in 0..200 {
            let mut bytes = good.clone().into_bytes();
            // Not the end of the head: what is cut off there is waited for, and that has its own test.
            let end = bytes.len() - 4;
            for _ in 0..=rng.below(3) {
                let at = rng.below(end);
                bytes[at] = rng.below(256) as u8;
            }
            let reply = api.raw(&bytes).await;
            // A head that is no HTTP gets 400 without a body, or the end of the connection.
            assert!(
                reply.status < 500,
                "round {round}: {} {}",
                reply.status,
                String::from_utf8_lossy(&bytes)
            );
            if !reply.body.is_empty() {
                assert_proper(&reply, &format!("round {round}"));
            }
        }
        assert_eq!(api.raw(good.as_bytes()).await.status, 200);
    });
}
