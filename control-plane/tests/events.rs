//! Events: the catalogue and its schemas, the transaction that makes the fact, the order of places, and streams.
mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Api, Reply, event_log, record, with_api};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use warp_control_plane::app::caller::Audience;
use warp_control_plane::app::events::catalogue::{CATALOGUE, DeckActivated};
use warp_control_plane::app::trunk_health::{Door, Standing};
use warp_control_plane::billing::consumer::{Consumer, Step};
use warp_control_plane::outbox::{STREAMS_EACH, standings};
use warp_control_plane::store::{Scope, outbox};
use warp_events::TOPIC_CDR_VOICE;
use warp_model::CallId;

async fn keyed(api: &Api, path: &str, key: &str, body: Value) -> Reply {
    let bearer = format!("Bearer {}", api.operator);
    let headers =
        [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", key)];
    api.send("POST", &format!("/api/v1/admin{path}"), &headers, body.to_string().as_bytes()).await
}

fn usd(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "USD" })
}

/// All events of a type that this key sees, oldest first.
async fn told(api: &Api, key: &str, admin: bool, kind: &str) -> Vec<Value> {
    let at = if admin { "/api/v1/admin/events" } else { "/api/v1/events" };
    let path = format!("{at}?type={kind}&sort=created_at&limit=200");
    api.call(key, "GET", &path, None).await.data().as_array().unwrap().clone()
}

async fn own(api: &Api, key: &str, kind: &str) -> Vec<Value> {
    told(api, key, false, kind).await
}

async fn all(api: &Api, kind: &str) -> Vec<Value> {
    told(api, &api.operator, true, kind).await
}

/// The checked-in schemas are those of the types; each file is one event of the catalogue.
#[test]
fn the_schemas_of_events_are_those_of_the_types() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let write = std::env::var("WARP_WRITE_OPENAPI").is_ok();
    if write {
        std::fs::create_dir_all(&dir).unwrap();
    }
    for event in CATALOGUE {
        let path = dir.join(format!("{}.json", event.name));
        let text = format!("{:#}\n", event.schema());
        if write {
            std::fs::write(&path, &text).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == text,
            "{} is not what the types say: run with WARP_WRITE_OPENAPI=1",
            path.display()
        );
    }
    let files = std::fs::read_dir(&dir).unwrap().count();
    assert_eq!(files, CATALOGUE.len(), "a file of {} is of no event", dir.display());
}

/// An event that was read has the form of its schema: its fields, all of them, no others, and of their types.
fn fits(event: &Value) {
    let kind = event["type"].as_str().unwrap();
    let schema = CATALOGUE.iter().find(|e| e.name == kind).unwrap_or_else(|| panic!("{kind}")).schema();
    let check = |schema: &Value, value: &Value| {
        let fields: Vec<&String> = value.as_object().unwrap().keys().collect();
        let mut known: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        known.retain(|k| fields.contains(k));
        assert_eq!(known.len(), fields.len(), "{kind}: {value}");
        for needed in schema["required"].as_array().unwrap() {
            assert!(value.get(needed.as_str().unwrap()).is_some(), "{kind} lacks {needed}: {value}");
        }
        for (name, value) in value.as_object().unwrap() {
            let types = &schema["properties"][name]["type"];
            let types: Vec<&str> = match types {
                Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
                one => one.as_str().into_iter().collect(),
            };
            let is = match value {
                Value::Null => "null",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Number(_) => "integer",
                Value::Bool(_) => "boolean",
                Value::Object(_) => "object",
            };
            assert!(types.is_empty() || types.contains(&is), "{kind}.{name} is {is}, not {types:?}");
        }
    };
    check(&schema, event);
    check(&schema["properties"]["data"], &event["data"]);
}

#[test]
fn keys_users_and_decks_are_told_with_what_was_done_and_to_whom_it_belongs_only() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let (_, other) = api.customer("Other").await;
        let made = api.call(&key, "POST", "/api/v1/keys", Some(json!({ "name": "k" }))).await.data();
        let id = made["key"]["id"].as_str().unwrap();
        let rotated =
            api.call(&key, "POST", &format!("/api/v1/keys/{id}/rotate"), Some(json!({}))).await.data();
        // An operator ends it: the event is the customer's all the same.
        assert_eq!(api.op("DELETE", &format!("/keys/{id}"), None).await.status, 200);
        let user = json!({ "name": "Ada", "role": "engineer", "subject": "auth0|1" });
        let user = api.call(&key, "POST", "/api/v1/users", Some(user)).await.data();
        let user = user["id"].as_str().unwrap();
        let path = format!("/api/v1/users/{user}");
        assert_eq!(api.call(&key, "PATCH", &path, Some(json!({ "role": "billing" }))).await.status, 200);
        assert_eq!(api.call(&key, "DELETE", &path, None).await.status, 200);

        let created = own(&api, &key, "key.created").await;
        assert_eq!(created.len(), 2, "the one that was made for it, and its own: {created:?}");
        assert_eq!(
            (&created[1]["data"]["key_id"], &created[1]["customer_id"]),
            (&json!(id), &json!(customer))
        );
        let next = own(&api, &key, "key.rotated").await;
        assert_eq!(next[0]["data"]["replaced_by"], rotated["key"]["id"]);
        assert_eq!(own(&api, &key, "key.revoked").await[0]["data"]["key_id"], id);
        for (kind, field, value) in [
            ("user.created", "role", json!("engineer")),
            ("user.changed", "role", json!("billing")),
            ("user.deleted", "user_id", json!(user)),
        ] {
            let events = own(&api, &key, kind).await;
            assert_eq!(events.len(), 1, "{kind}");
            assert_eq!(events[0]["data"][field], value, "{kind}");
        }
        // Nothing of it is another customer's.
        let foreign = own(&api, &other, "key.created").await;
        assert_eq!(foreign.len(), 1, "{foreign:?}");
        let first = created[0]["id"].as_str().unwrap();
        assert_eq!(api.call(&other, "GET", &format!("/api/v1/events/{first}"), None).await.status, 404);
        assert_eq!(api.call(&key, "GET", &format!("/api/v1/events/{first}"), None).await.data(), created[0]);
        // What is the carrier's own has no name for customers.
        let deck = json!({ "name": "d", "kind": "az" });
        let deck = api.op("POST", "/rate-decks", Some(deck)).await.data();
        let path =
            format!("/api/v1/admin/rate-decks/{}/versions?activate=true", deck["id"].as_str().unwrap());
        let bearer = format!("Bearer {}", api.operator);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/csv")];
        for number in [1, 2] {
            let sheet = format!("Code,Rate\n44,0.0{number}\n");
            assert_eq!(api.send("POST", &path, &headers, sheet.as_bytes()).await.status, 201);
        }
        let decks = all(&api, "deck.activated").await;
        let seen: Vec<_> = decks.iter().map(|e| (&e["data"]["previous"], &e["data"]["number"])).collect();
        assert_eq!(seen, [(&Value::Null, &json!(1)), (&json!(1), &json!(2))]);
        let hidden = api.call(&key, "GET", "/api/v1/events?type=deck.activated", None).await;
        assert_eq!((hidden.status, hidden.code().as_str()), (422, "validation_failed"), "{}", hidden.body);
        let everything = api.op("GET", "/events?limit=200", None).await.data();
        everything.as_array().unwrap().iter().for_each(fits);
        let of_one = api.op("GET", &format!("/events?customer={customer}&limit=200"), None).await.data();
        assert!(of_one.as_array().unwrap().iter().all(|e| e["customer_id"] == json!(customer)));
    });
}

/// A refused change has told nothing: the event is in its transaction.
#[test]
fn a_change_that_is_undone_has_told_nothing() {
    with_api(|api| async move {
        let store = &api.control.app.store;
        let event = |number| DeckActivated { deck_id: "d".into(), name: "n".into(), number, previous: None };
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        outbox::tell(&mut tx, None, event(1)).await.unwrap();
        drop(tx);
        assert_eq!(all(&api, "deck.activated").await, Vec::<Value>::new());
        // Nobody changes one, and its place stays.
        let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
        outbox::tell(&mut tx, None, event(2)).await.unwrap();
        tx.commit().await.unwrap();
        for sql in ["UPDATE outbox SET data = '{}'", "UPDATE outbox SET position = 99"] {
            let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
            assert!(sqlx::query(sql).execute(tx.db()).await.is_err(), "{sql}");
        }
    });
}

/// A transaction that began first and ends last is read last: who goes on from the last event that he saw misses none.
#[test]
fn what_becomes_readable_later_has_a_later_place() {
    with_api(|api| async move {
        let store = &api.control.app.store;
        let event = |number| DeckActivated { deck_id: "d".into(), name: "n".into(), number, previous: None };
        let mut slow = store.begin(Scope::Operator("test")).await.unwrap();
        outbox::tell(&mut slow, None, event(1)).await.unwrap();
        let mut fast = store.begin(Scope::Operator("test")).await.unwrap();
        outbox::tell(&mut fast, None, event(2)).await.unwrap();
        // It does not wait for the slow one.
        fast.commit().await.unwrap();
        let page = api.op("GET", "/events?type=deck.activated&sort=created_at", None).await.json();
        assert_eq!(page["data"][0]["data"]["number"], 2);
        let cursor = page["meta"]["last_cursor"].as_str().unwrap().to_owned();
        let on = format!("/events?type=deck.activated&sort=created_at&cursor={cursor}");
        let nothing = api.op("GET", &on, None).await.json();
        assert_eq!((&nothing["data"], &nothing["meta"]["last_cursor"]), (&json!([]), &json!(cursor)));
        slow.commit().await.unwrap();
        let next = api.op("GET", &on, None).await.data();
        assert_eq!((next.as_array().unwrap().len(), &next[0]["data"]["number"]), (1, &json!(1)));
        // The newest-first list begins with it, and names the place to go on from.
        let newest = api.op("GET", "/events?type=deck.activated&limit=1", None).await.json();
        assert_eq!(
            (&newest["data"][0]["data"]["number"], &newest["meta"]["last_cursor"]),
            (&json!(1), &next[0]["id"])
        );
    });
}

/// An account with this mode and lines, and a trunk that it pays for.
async fn account(api: &Api, body: Value) -> (String, String, String, String) {
    let (customer, key) = api.customer("Acme").await;
    let ban = api.op("POST", &format!("/customers/{customer}/bans"), Some(body)).await.data();
    let ban = ban["id"].as_str().unwrap().to_owned();
    let trunk = json!({ "name": "t", "ban_id": ban });
    let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(trunk)).await.data();
    (customer, key, trunk["id"].as_str().unwrap().to_owned(), ban)
}

/// The calls of several accounts come in one batch: each account gets its one posting, and each tells of its own line.
#[test]
fn the_accounts_of_one_batch_are_posted_to_together_and_each_tells_of_its_own_line() {
    with_api(|api| async move {
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let mut all = Vec::new();
        for (n, line, key_of_it) in [(1, "0", "a"), (2, "5", "b"), (3, "0", "c")] {
            let body = json!({ "name": "prepaid", "mode": "prepaid", "low_balance": usd(line) });
            let (customer, key, trunk, ban) = account(&api, body).await;
            let body = json!({ "amount": usd("5"), "reason": "wire" });
            assert_eq!(keyed(&api, &format!("/bans/{ban}/top-ups"), key_of_it, body).await.status, 201);
            for call in 0..n {
                let id = CallId::from_u128(100 * n + call).to_string();
                let value = record(&id, &customer, &trunk).to_string();
                topic.append_durable(id.as_bytes(), value.as_bytes()).unwrap();
            }
            all.push((n, key, ban));
        }
        let app = &api.control.app;
        let mut consumer = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        assert_eq!(consumer.step().await.unwrap(), Step::Posted(6));
        for (n, key, ban) in all {
            let balance = api.op("GET", &format!("/bans/{ban}/balance"), None).await.data();
            assert_eq!(balance["balance"]["amount"], format!("4.9{}", 10 - n), "{n} calls at 0.01");
            let list = api.op("GET", &format!("/ledger?ban={ban}"), None).await.data();
            let usage: Vec<_> = list.as_array().unwrap().iter().filter(|p| p["kind"] == "usage").collect();
            assert_eq!((usage.len(), &usage[0]["calls"]), (1, &json!(n)), "{list}");
            assert_eq!(own(&api, &key, "balance.low").await.len(), usize::from(n == 2));
        }
    });
}

/// The posting that takes a balance below its line tells it; the next ones do not, until it was above the line again.
#[test]
fn a_balance_is_told_to_be_low_and_spent_once_per_crossing_by_the_posting_that_crosses() {
    with_api(|api| async move {
        let lines = json!({ "name": "prepaid", "mode": "prepaid", "low_balance": usd("0.025") });
        let (customer, key, trunk, ban) = account(&api, lines).await;
        assert_eq!(own(&api, &key, "limit.reached").await.len(), 0, "a new account has crossed nothing");
        let top_up = async |key: &str, amount: &str| {
            let body = json!({ "amount": usd(amount), "reason": "wire" });
            assert_eq!(keyed(&api, &format!("/bans/{ban}/top-ups"), key, body).await.status, 201);
        };
        top_up("a", "0.05").await;
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let app = &api.control.app;
        let mut consumer = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        let mut number = 0;
        // Each call costs 0.01, and each is a batch of its own.
        let mut call = async || {
            number += 1;
            let id = CallId::from_u128(number).to_string();
            let value = record(&id, &customer, &trunk).to_string();
            topic.append_durable(id.as_bytes(), value.as_bytes()).unwrap();
            assert_eq!(consumer.step().await.unwrap(), Step::Posted(1));
            (own(&api, &key, "balance.low").await.len(), own(&api, &key, "limit.reached").await.len())
        };
        assert_eq!(call().await, (0, 0), "0.04");
        assert_eq!(call().await, (0, 0), "0.03");
        assert_eq!(call().await, (1, 0), "0.02: below the line");
        assert_eq!(call().await, (1, 0), "0.01");
        assert_eq!(call().await, (1, 1), "0: nothing left");
        assert_eq!(call().await, (1, 1), "-0.01: told already");
        top_up("b", "0.05").await;
        assert_eq!(call().await, (1, 1), "0.03");
        assert_eq!(call().await, (2, 1), "0.02: it was above the line meanwhile");
        let low = own(&api, &key, "balance.low").await;
        assert_eq!((&low[0]["data"]["balance"], &low[0]["data"]["ban_id"]), (&usd("0.02"), &json!(ban)));
        low.iter().for_each(fits);
        own(&api, &key, "limit.reached").await.iter().for_each(fits);
        // A line that is drawn elsewhere is crossed, too.
        let path = format!("/bans/{ban}");
        let line = async |amount: &str| {
            assert_eq!(api.op("PATCH", &path, Some(json!({ "low_balance": usd(amount) }))).await.status, 200);
            own(&api, &key, "balance.low").await.len()
        };
        assert_eq!((line("0.001").await, line("7").await), (2, 3));
    });
}

#[test]
fn a_postpaid_account_tells_when_its_credit_is_used_up() {
    with_api(|api| async move {
        let lines = json!({ "name": "b", "mode": "postpaid", "credit_limit": usd("3") });
        let (_, key, _, ban) = account(&api, lines).await;
        let debit = async |key: &str, amount: &str| {
            let body = json!({ "amount": usd(amount), "direction": "debit", "reason": "r" });
            assert_eq!(keyed(&api, &format!("/bans/{ban}/adjustments"), key, body).await.status, 201);
        };
        debit("1", "2.999999999").await;
        assert_eq!(own(&api, &key, "limit.reached").await.len(), 0);
        // The same request again moves no money and tells nothing again.
        for _ in 0..2 {
            debit("2", "0.000000001").await;
        }
        let told = own(&api, &key, "limit.reached").await;
        assert_eq!(told.len(), 1);
        assert_eq!(
            (&told[0]["data"]["limit"], &told[0]["data"]["credit_limit"]),
            (&json!("credit"), &usd("3"))
        );
    });
}

#[test]
fn the_spend_of_a_day_is_told_with_the_first_call_that_it_refuses_once_for_a_trunk_and_a_day() {
    with_api(|api| async move {
        let (customer, key, trunk, ban) = account(&api, json!({ "name": "b" })).await;
        // Ten hours west: its day ends at ten in the morning of UTC.
        let path = format!("/customers/{customer}");
        let body = json!({ "utc_offset_min": -600, "daily_spend": usd("5") });
        assert_eq!(api.op("PATCH", &path, Some(body)).await.status, 200);
        let limit = json!({ "daily_spend": usd("3") });
        api.call(&key, "PATCH", &format!("/api/v1/trunks/{trunk}"), Some(limit)).await.data();
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let app = &api.control.app;
        let mut consumer = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        let today = app.wall().0 / 86_400_000_000 * 86_400_000_000;
        let mut number = 0;
        let mut refused = async |code: &str, hour: i64| {
            number += 1;
            let id = CallId::new(app.wall(), number).to_string();
            let mut value = record(&id, &customer, &trunk);
            value["internal_code"] = json!(code);
            value["outcome"] = json!("rejected");
            value["setup_at"] = json!(today + hour * 3_600_000_000);
            (value["answer_at"], value["rating"]) = (Value::Null, Value::Null);
            topic.append_durable(id.as_bytes(), value.to_string().as_bytes()).unwrap();
            assert_eq!(consumer.step().await.unwrap(), Step::Posted(1));
            own(&api, &key, "limit.reached").await.len()
        };
        assert_eq!(refused("trunk_cps", 1).await, 0, "another limit");
        assert_eq!(refused("daily_spend", 1).await, 1);
        assert_eq!(refused("daily_spend", 9).await, 1, "told already");
        assert_eq!(refused("daily_spend", 10).await, 2, "another day there");
        let told = own(&api, &key, "limit.reached").await;
        told.iter().for_each(fits);
        let data = &told[0]["data"];
        assert_eq!(
            (&data["limit"], &data["trunk_id"], &data["ban_id"]),
            (&json!("daily_spend"), &json!(trunk), &json!(ban))
        );
        assert_eq!(
            (&data["daily_spend"], &data["credit_limit"]),
            (&usd("3"), &Value::Null),
            "the lowest that counts"
        );
    });
}

/// Vendor trunks as a proxy sees them: by id, whether they are down.
type Down = Arc<Mutex<Vec<String>>>;

#[test]
fn a_vendor_is_down_with_its_last_trunk_and_up_with_the_first_one() {
    with_api(|api| async move {
        let vendor = api.op("POST", "/vendors", Some(json!({ "name": "V", "slug": "v" }))).await.data();
        let mut trunks = Vec::new();
        for name in ["a", "b"] {
            let body = json!({ "name": name, "addresses": ["192.0.2.9:5060"] });
            let path = format!("/vendors/{}/trunks", vendor["id"].as_str().unwrap());
            let made = api.op("POST", &path, Some(body)).await.data();
            trunks.push(made["id"].as_str().unwrap().to_owned());
        }
        let down: Down = Arc::default();
        let (seen, app) = (down.clone(), &api.control.app);
        app.vendor_trunks_through(Door {
            registrations: Arc::new(|_, _| Vec::new()),
            node: "n1".into(),
            standing: Arc::new(move |id| {
                let is_down = seen.lock().unwrap().contains(&id.to_string());
                let state = if is_down { "down" } else { "up" };
                let reason = is_down.then_some("timeout");
                Some(Standing { state, share: 100, reason, back_in_s: None })
            }),
            reset: Arc::new(|_| true),
        });
        let look = async |are_down: &[&String]| {
            *down.lock().unwrap() = are_down.iter().map(|t| (*t).clone()).collect();
            // The program looks by itself as well: whoever comes first writes it, and nobody twice.
            for _ in 0..3 {
                standings::look(app).await.unwrap();
            }
            let mut counts = Vec::new();
            for kind in ["vendor_trunk.down", "vendor.down", "vendor_trunk.up", "vendor.up"] {
                let events = all(&api, kind).await;
                events.iter().for_each(fits);
                counts.push(events.len());
            }
            counts
        };
        assert_eq!(look(&[]).await, [0, 0, 0, 0]);
        assert_eq!(look(&[&trunks[0]]).await, [1, 0, 0, 0]);
        assert_eq!(look(&[&trunks[0], &trunks[1]]).await, [2, 1, 0, 0]);
        assert_eq!(look(&[&trunks[1]]).await, [2, 1, 1, 1]);
        assert_eq!(look(&[]).await, [2, 1, 2, 1]);
        let first = &all(&api, "vendor_trunk.down").await[0]["data"];
        assert_eq!((&first["node"], &first["reason"]), (&json!("n1"), &json!("timeout")));
        assert_eq!(first["vendor_trunk_id"], json!(trunks[0]));
    });
}

/// A stream of events, read line by line.
struct Stream {
    lines: tokio::io::Lines<BufReader<tokio::net::TcpStream>>,
}

impl Stream {
    async fn open(api: &Api, key: &str, last: Option<&str>) -> Stream {
        let mut socket = tokio::net::TcpStream::connect(api.control.addr).await.unwrap();
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!(
            "GET /api/v1/events/stream HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {key}\r\nAccept: text/event-stream\r\n{last}\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Stream { lines: BufReader::new(socket).lines() };
        let status = stream.line().await.unwrap();
        assert!(status.contains(" 200 "), "{status}");
        while stream.line().await.is_some_and(|l| !l.is_empty()) {}
        stream
    }

    async fn line(&mut self) -> Option<String> {
        let read = tokio::time::timeout(Duration::from_secs(30), self.lines.next_line());
        read.await.expect("within 30 s").unwrap()
    }

    /// The next event: its id and its JSON.
    async fn event(&mut self) -> (String, Value) {
        let mut id = String::new();
        loop {
            let line = self.line().await.expect("the stream goes on");
            if let Some(text) = line.strip_prefix("id: ") {
                text.clone_into(&mut id);
            }
            if let Some(text) = line.strip_prefix("data: ") {
                return (id, serde_json::from_str(text).unwrap());
            }
        }
    }
}

#[test]
fn a_stream_gives_what_happens_and_goes_on_behind_the_last_event_that_was_seen() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let (other, _) = api.customer("Other").await;
        let mut stream = Stream::open(&api, &key, None).await;
        let user = |subject: &str| json!({ "name": subject, "role": "engineer", "subject": subject });
        let customer = api.call(&key, "GET", "/api/v1/customer", None).await.data()["id"].clone();
        let path = format!("/customers/{}/users", customer.as_str().unwrap());
        // Another customer's are not in it.
        let foreign = api.op("POST", &format!("/customers/{other}/users"), Some(user("x"))).await;
        assert_eq!(foreign.status, 201);
        for subject in ["one", "two"] {
            assert_eq!(api.op("POST", &path, Some(user(subject))).await.status, 201);
        }
        let (first, event) = stream.event().await;
        assert_eq!((&event["data"]["name"], &event["id"]), (&json!("one"), &json!(first)));
        drop(stream);
        // Nothing is lost while nobody reads.
        assert_eq!(api.op("POST", &path, Some(user("three"))).await.status, 201);
        let mut again = Stream::open(&api, &key, Some(&first)).await;
        assert_eq!(again.event().await.1["data"]["name"], "two");
        assert_eq!(again.event().await.1["data"]["name"], "three");
        assert_eq!(api.op("POST", &path, Some(user("four"))).await.status, 201);
        assert_eq!(again.event().await.1["data"]["name"], "four");
        // Who does not ask for a stream gets what there is, and the end of the answer.
        let bearer = format!("Bearer {key}");
        let path = format!("/api/v1/events/stream?after={first}&type=user.created");
        let now = api.send("GET", &path, &[("Authorization", &bearer)], b"").await;
        assert_eq!(now.header("content-type"), Some("text/event-stream"));
        assert_eq!(now.body.matches("event: user.created").count(), 3, "{}", now.body);
        let wrong =
            api.send("GET", "/api/v1/events/stream?after=x", &[("Authorization", &bearer)], b"").await;
        assert_eq!(wrong.status, 422, "{}", wrong.body);
    });
}

#[test]
fn a_key_has_so_many_streams_and_a_stop_ends_them_all() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let mut open = Vec::new();
        for _ in 0..STREAMS_EACH {
            open.push(Stream::open(&api, &key, None).await);
        }
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
        let more = api.send("GET", "/api/v1/events/stream", &headers, b"").await;
        assert_eq!((more.status, more.header("retry-after")), (429, Some("10")), "{}", more.body);
        // Who leaves makes room.
        drop(open.pop());
        common::eventually("a place", async || {
            let r =
                api.send("GET", "/api/v1/events/stream", &[("Authorization", bearer.as_str())], b"").await;
            (r.status == 200).then_some(())
        })
        .await;
        api.control.stop_tasks().await;
        for stream in &mut open {
            while stream.line().await.is_some() {}
        }
    });
}

#[test]
fn customers_know_the_names_of_what_concerns_them_only() {
    let own = warp_control_plane::app::events::names(Audience::Customer);
    assert!(own.contains(&"balance.low") && !own.contains(&"deck.activated"), "{own:?}");
    let mut all = warp_control_plane::app::events::names(Audience::Operator);
    assert_eq!(all.len(), CATALOGUE.iter().filter(|e| e.is_kept()).count());
    all = CATALOGUE.iter().map(|e| e.name).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), CATALOGUE.len(), "a name twice");
    let reserved = ["message.", "trunk.", "registration."];
    assert!(all.iter().all(|name| !reserved.iter().any(|r| name.starts_with(r))), "{all:?}");
}
