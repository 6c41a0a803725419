//! Webhooks: what is sent, to whom, how it is signed, what happens when it is not taken, and where it may not lead. The receiver is a
//! real server of the test's own.
mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Api, event_log, eventually, insert_call, record, with_configured_api};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use warp_control_plane::Config;
use warp_control_plane::api::endpoint::Audience;
use warp_control_plane::api::openapi;
use warp_control_plane::billing::consumer::{Consumer, Step};
use warp_control_plane::store::Scope;
use warp_control_plane::webhooks::send::{Resolve, Sender, Settings};
use warp_events::TOPIC_CDR_VOICE;
use warp_model::CallId;

/// A delivery that arrived.
#[derive(Clone, Debug)]
struct Arrived {
    id: String,
    signature: String,
    body: String,
}

impl Arrived {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What the receiver answers.
#[derive(Clone, Debug)]
enum Reaction {
    Answer(String),
    /// Nothing, and the connection stays open.
    Silence,
}

/// An HTTP server that keeps what arrives, and answers as it is told; 200 when it is told nothing.
struct Receiver {
    at: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    reactions: Arc<Mutex<VecDeque<Reaction>>>,
    usual: Arc<Mutex<Reaction>>,
}

fn status(code: u16) -> Reaction {
    Reaction::Answer(format!("HTTP/1.1 {code} X\r\nContent-Length: 2\r\n\r\nhm"))
}

impl Receiver {
    async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Receiver {
            at: listener.local_addr().unwrap(),
            arrived: Arc::default(),
            reactions: Arc::default(),
            usual: Arc::new(Mutex::new(status(200))),
        };
        let (arrived, reactions, usual) = (this.arrived.clone(), this.reactions.clone(), this.usual.clone());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (arrived, reactions, usual) = (arrived.clone(), reactions.clone(), usual.clone());
                tokio::spawn(async move {
                    if let Some(request) = read(&mut socket).await {
                        arrived.lock().unwrap().push(request);
                        let told = reactions.lock().unwrap().pop_front();
                        match told.unwrap_or_else(|| usual.lock().unwrap().clone()) {
                            Reaction::Answer(text) => drop(socket.write_all(text.as_bytes()).await),
                            // Until the other side leaves.
                            Reaction::Silence => drop(socket.read(&mut [0; 1]).await),
                        }
                    }
                });
            }
        });
        this
    }

    fn url(&self) -> String {
        format!("http://{}/hook?x=1", self.at)
    }

    fn will(&self, reactions: impl IntoIterator<Item = Reaction>) {
        self.reactions.lock().unwrap().extend(reactions);
    }

    fn always(&self, reaction: Reaction) {
        *self.usual.lock().unwrap() = reaction;
    }

    fn all(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    async fn wait_for(&self, count: usize) -> Vec<Arrived> {
        eventually("deliveries", async || Some(self.all()).filter(|a| a.len() >= count)).await
    }
}

async fn read(socket: &mut tokio::net::TcpStream) -> Option<Arrived> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                head.lines().find_map(|l| {
                    let (n, v) = l.split_once(':')?;
                    n.eq_ignore_ascii_case(name).then(|| v.trim().to_owned())
                })
            };
            let length: usize = header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                assert!(head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{head}");
                assert_eq!(header("content-type").as_deref(), Some("application/json"));
                let (id, signature) = (header("warp-webhook-id")?, header("warp-signature")?);
                return Some(Arrived { id, signature, body: body.to_owned() });
            }
        }
        let n = socket.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..n]);
    }
}

/// Webhooks may lead to this machine.
fn local(config: &mut Config) {
    config.webhooks.networks = vec!["127.0.0.0/8".parse().unwrap()];
}

/// A webhook of a key's customer: its id and its secret.
async fn webhook(api: &Api, key: &str, url: &str, events: Value) -> (String, String) {
    let body = json!({ "name": "h", "url": url, "events": events });
    let made = api.call(key, "POST", "/api/v1/webhooks", Some(body)).await.data();
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{name}: {made}")).to_owned();
    (text("id"), text("secret"))
}

/// Something that happens to a customer.
async fn happens(api: &Api, customer: &str, name: &str) {
    let user = json!({ "name": name, "role": "engineer", "subject": name });
    assert_eq!(api.op("POST", &format!("/customers/{customer}/users"), Some(user)).await.status, 201);
}

async fn sql(api: &Api, text: &'static str) {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    sqlx::query(text).execute(tx.db()).await.unwrap();
    tx.commit().await.unwrap();
}

/// The deliveries of a webhook, newest first, when all of them stand so.
async fn standing(api: &Api, key: &str, hook: &str, status: &str) -> Vec<Value> {
    eventually(status, async || {
        let all = api.call(key, "GET", &format!("/api/v1/webhooks/{hook}/deliveries"), None).await.data();
        let all = all.as_array().unwrap().clone();
        (!all.is_empty() && all.iter().all(|d| d["status"] == status)).then_some(all)
    })
    .await
}

/// The example of the documentation says whether a delivery is genuine.
fn is_genuine(secret: &str, arrived: &Arrived, now: Option<i64>) -> bool {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/how-to/webhooks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let code =
        page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let script = format!(
        "{code}\nimport sys\nnow = float(sys.argv[5]) if sys.argv[5] else None\n\
         print(is_genuine(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4].encode(), now))\n"
    );
    let now = now.map(|n| n.to_string()).unwrap_or_default();
    let arguments = [secret, &arrived.id, &arrived.signature, &arrived.body, &now];
    let out = std::process::Command::new("python3").arg("-c").arg(script).args(arguments).output();
    let out = out.expect("python3 runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim() == "True"
}

#[test]
fn t_hook_02_events_are_sent_signed_and_the_example_of_the_docs_takes_genuine_ones_only() {
    with_configured_api(local, |api| async move {
        let receiver = Receiver::start().await;
        let (customer, key) = api.customer("Acme").await;
        let (other, _) = api.customer("Other").await;
        let (hook, secret) = webhook(&api, &key, &receiver.url(), json!(["user.created"])).await;
        // The secret is in no other answer, and not in the audit log.
        let shown = api.call(&key, "GET", &format!("/api/v1/webhooks/{hook}"), None).await;
        assert!(shown.status == 200 && shown.data().get("secret").is_none() && !shown.body.contains(&secret));
        assert!(!api.op("GET", "/audit?limit=200", None).await.body.contains(&secret));
        happens(&api, &other, "stranger").await;
        happens(&api, &customer, "one").await;
        let first = receiver.wait_for(1).await.remove(0);
        assert_eq!(first.json()["id"], first.id);
        assert_eq!(
            (&first.json()["type"], &first.json()["data"]["name"]),
            (&json!("user.created"), &json!("one"))
        );
        assert!(is_genuine(&secret, &first, None));
        for (forged, when) in [
            (Arrived { body: first.body.replace("one", "two"), ..first.clone() }, None),
            (Arrived { id: "evt_0".into(), ..first.clone() }, None),
            (Arrived { signature: first.signature.replace("t=1", "t=2"), ..first.clone() }, None),
            (Arrived { signature: "t=1,v1=".into(), ..first.clone() }, Some(1)),
            (first.clone(), Some(4_102_444_800)),
        ] {
            assert!(!is_genuine(&secret, &forged, when), "{forged:?}");
        }
        assert!(!is_genuine("whsec_another", &first, None));
        // While a secret rolls both fit; without an overlap the new one alone.
        let roll = format!("/api/v1/webhooks/{hook}/secret");
        let next = api.call(&key, "POST", &roll, Some(json!({}))).await.data()["secret"].clone();
        let next = next.as_str().unwrap();
        happens(&api, &customer, "three").await;
        let both = receiver.wait_for(2).await.remove(1);
        assert!(is_genuine(next, &both, None) && is_genuine(&secret, &both, None), "{}", both.signature);
        let last =
            api.call(&key, "POST", &roll, Some(json!({ "overlap_s": 0 }))).await.data()["secret"].clone();
        happens(&api, &customer, "four").await;
        let alone = receiver.wait_for(3).await.remove(2);
        assert!(is_genuine(last.as_str().unwrap(), &alone, None) && !is_genuine(next, &alone, None));
        // A test is an event that says nothing, whatever the webhook asks for.
        let test = api.call(&key, "POST", &format!("/api/v1/webhooks/{hook}/test"), None).await;
        assert_eq!(test.status, 201, "{}", test.body);
        let sent = receiver.wait_for(4).await.remove(3);
        assert_eq!(
            (sent.json()["type"].as_str(), &sent.json()["data"]["webhook_id"]),
            (Some("webhook.test"), &json!(hook))
        );
        let at = test.header("location").unwrap();
        let seen = eventually("the end of it", async || {
            let d = api.call(&key, "GET", at, None).await.data();
            (d["status"] == "delivered").then_some(d)
        })
        .await;
        assert_eq!(
            (&seen["last_status"], &seen["last_answer"], &seen["body"]),
            (&json!(200), &json!("hm"), &json!(sent.body))
        );
    });
}

#[test]
fn t_hook_03_what_is_not_taken_is_tried_again_dies_after_a_day_and_is_replayed() {
    with_configured_api(local, |api| async move {
        let receiver = Receiver::start().await;
        let (customer, key) = api.customer("Acme").await;
        let (hook, _) = webhook(&api, &key, &receiver.url(), json!(["user.created"])).await;
        // Refused, redirected, no HTTP at all, and then taken: each attempt is the same delivery.
        let redirect = format!("HTTP/1.1 302 X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", receiver.url());
        receiver.will([status(500), Reaction::Answer(redirect), Reaction::Answer("220 smtp\r\n".into())]);
        happens(&api, &customer, "one").await;
        for n in 1..=4 {
            let arrived = receiver.wait_for(n).await;
            assert!(arrived.iter().all(|a| a.id == arrived[0].id && a.body == arrived[0].body));
            let path = format!("/api/v1/webhooks/{hook}/deliveries/{}", arrived[0].id);
            let d = eventually("what came of it", async || {
                let d = api.call(&key, "GET", &path, None).await.data();
                let over = d["status"] == "delivered"
                    || (d["attempts"] == n && !d["last_ms"].is_null() && d["next_at"].is_string());
                // While it is tried the lease is in next_at, and the answer of before is still there.
                let said = [json!(500), json!(302), Value::Null, json!(200)];
                (over && d["last_status"] == said[n - 1]).then_some(d)
            })
            .await;
            assert_eq!(d["attempts"], n);
            // Nobody waits for the pause: it is over now.
            sql(&api, "UPDATE webhook_deliveries SET next_at = now() WHERE status = 'waiting'").await;
        }
        assert_eq!(standing(&api, &key, &hook, "delivered").await.len(), 1);
        // A day of failures later it is dead.
        receiver.always(status(503));
        happens(&api, &customer, "two").await;
        receiver.wait_for(5).await;
        sql(&api, "UPDATE webhook_deliveries SET due_since = now() - interval '24 hours', next_at = now() WHERE status = 'waiting'").await;
        let dead = format!("/api/v1/webhooks/{hook}/deliveries?status=dead");
        let dead = eventually("its death", async || {
            let all = api.call(&key, "GET", &dead, None).await.data();
            all[0].is_object().then_some(all)
        })
        .await;
        assert!(dead[0]["next_at"].is_null() && dead[0]["finished_at"].is_string(), "{dead}");
        // One is replayed, and then the range of all that are dead.
        receiver.always(status(204));
        let before = receiver.all().len();
        let one = dead[0]["event_id"].as_str().unwrap();
        let again = format!("/api/v1/webhooks/{hook}/deliveries/{one}/replay");
        assert_eq!(api.call(&key, "POST", &again, None).await.data()["attempts"], 0);
        receiver.wait_for(before + 1).await;
        standing(&api, &key, &hook, "delivered").await;
        let range =
            json!({ "from": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z", "status": "delivered" });
        let path = format!("/api/v1/webhooks/{hook}/replay");
        assert_eq!(api.call(&key, "POST", &path, Some(range.clone())).await.data()["deliveries"], 2);
        receiver.wait_for(before + 3).await;
        let (_, foreign) = api.customer("Other").await;
        for path in [&path, &again] {
            assert_eq!(api.call(&foreign, "POST", path, Some(range.clone())).await.status, 404, "{path}");
        }
    });
}

#[test]
fn t_hook_03_a_silent_endpoint_delays_no_other_and_gets_four_at_once() {
    with_configured_api(local, |api| async move {
        let (silent, lively) = (Receiver::start().await, Receiver::start().await);
        silent.always(Reaction::Silence);
        let (customer, key) = api.customer("Acme").await;
        let (hook, _) = webhook(&api, &key, &silent.url(), json!(["user.created"])).await;
        for n in 0..9 {
            happens(&api, &customer, &format!("u{n}")).await;
        }
        silent.wait_for(4).await;
        // It holds its four, and the other one gets its events meanwhile.
        webhook(&api, &key, &lively.url(), json!(["user.created"])).await;
        happens(&api, &customer, "more").await;
        lively.wait_for(1).await;
        let path = format!("/api/v1/webhooks/{hook}/deliveries");
        let first = eventually("the end of its patience", async || {
            let arrived = silent.all().len();
            let all = api.call(&key, "GET", &path, None).await.data();
            let ended = all.as_array().unwrap().iter().find(|d| d["last_error"].is_string()).cloned();
            // Until the first of them has ended no fifth one has come.
            assert!(ended.is_some() || arrived == 4, "{arrived} at once");
            ended
        })
        .await;
        assert_eq!(first["last_error"], "no answer within 5 s");
        assert!(first["last_ms"].as_i64().unwrap() >= 5_000, "{first}");
    });
}

#[test]
fn t_hook_03_a_webhook_that_fails_for_three_days_is_disabled_and_the_others_hear_of_it() {
    with_configured_api(local, |api| async move {
        let (broken, good) = (Receiver::start().await, Receiver::start().await);
        broken.always(status(500));
        let (customer, key) = api.customer("Acme").await;
        let (hook, _) = webhook(&api, &key, &broken.url(), json!([])).await;
        webhook(&api, &key, &good.url(), json!(["webhook.disabled"])).await;
        happens(&api, &customer, "one").await;
        let path = format!("/api/v1/webhooks/{hook}");
        eventually("a failure", async || {
            let w = api.call(&key, "GET", &path, None).await.data();
            w["failing_since"].is_string().then_some(())
        })
        .await;
        sql(
            &api,
            "UPDATE webhooks SET failing_since = now() - interval '3 days' WHERE failing_since IS NOT NULL",
        )
        .await;
        sql(&api, "UPDATE webhook_deliveries SET next_at = now() WHERE status = 'waiting'").await;
        let told = good.wait_for(1).await.remove(0).json();
        assert_eq!((&told["type"], &told["data"]["webhook_id"]), (&json!("webhook.disabled"), &json!(hook)));
        let w = api.call(&key, "GET", &path, None).await.data();
        assert_eq!(w["status"], "disabled");
        assert!(w["disabled_at"].is_string(), "{w}");
        let test = api.call(&key, "POST", &format!("{path}/test"), None).await;
        assert_eq!((test.status, test.code().as_str()), (409, "conflict"));
        // It is taken up again, begins without failures, and what waited goes on.
        broken.always(status(200));
        let w = api.call(&key, "PATCH", &path, Some(json!({ "status": "active" }))).await.data();
        assert_eq!((&w["status"], w["version"].as_i64()), (&json!("active"), Some(3)));
        sql(&api, "UPDATE webhook_deliveries SET next_at = now() WHERE status = 'waiting'").await;
        standing(&api, &key, &hook, "delivered").await;
        let w = api.call(&key, "GET", &path, None).await.data();
        assert!(w["failing_since"].is_null() && w["disabled_at"].is_null(), "{w}");
    });
}

/// The carrier's own webhooks hear of every customer and of what no customer hears; no customer sees them or asks for such events.
#[test]
fn t_api_04_a_webhook_of_the_carrier_hears_of_all_customers_and_no_customer_sees_it() {
    with_configured_api(local, |api| async move {
        let (all, some) = (Receiver::start().await, Receiver::start().await);
        let (acme, key) = api.customer("Acme").await;
        let (other, foreign) = api.customer("Other").await;
        let made = async |url: String, events: Value| {
            let body = json!({ "name": "noc", "url": url, "events": events });
            let r = api.op("POST", "/webhooks", Some(body)).await;
            assert_eq!((r.status, &r.json()["data"]["customer_id"]), (201, &Value::Null), "{}", r.body);
            assert!(r.data()["secret"].is_string(), "{}", r.body);
            (r.data()["id"].as_str().unwrap().to_owned(), r.data()["secret"].as_str().unwrap().to_owned())
        };
        let (hook, secret) = made(all.url(), json!([])).await;
        made(some.url(), json!(["vendor.down", "deck.activated", "webhook.disabled"])).await;
        // What happens to two customers, and what is the carrier's alone.
        happens(&api, &acme, "one").await;
        happens(&api, &other, "two").await;
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        let down = warp_control_plane::app::events::catalogue::VendorDown {
            vendor_id: "vnd_00000000000000000000000001".into(),
            name: "V".into(),
            node: "n1".into(),
        };
        warp_control_plane::store::outbox::tell(&mut tx, None, down).await.unwrap();
        tx.commit().await.unwrap();
        let arrived = eventually("three events", async || {
            let arrived = all.all();
            let of = |kind: &str| arrived.iter().filter(|a| a.json()["type"] == kind).count();
            (of("user.created") == 2 && of("vendor.down") == 1).then_some(arrived)
        })
        .await;
        assert!(arrived.iter().all(|a| is_genuine(&secret, a, None)));
        let customers: Vec<Value> = arrived
            .iter()
            .map(Arrived::json)
            .filter(|e| e["type"] == "user.created")
            .map(|e| e["customer_id"].clone())
            .collect();
        assert!(customers.contains(&json!(acme)) && customers.contains(&json!(other)), "{customers:?}");
        assert_eq!(some.wait_for(1).await[0].json()["type"], "vendor.down");
        // A webhook of a customer that is disabled is heard of across customers.
        let broken = Receiver::start().await;
        broken.always(status(500));
        let (theirs, _) = webhook(&api, &key, &broken.url(), json!(["user.created"])).await;
        happens(&api, &acme, "three").await;
        broken.wait_for(1).await;
        eventually("a failure", async || {
            let w = api.call(&key, "GET", &format!("/api/v1/webhooks/{theirs}"), None).await.data();
            w["failing_since"].is_string().then_some(())
        })
        .await;
        let past =
            "UPDATE webhooks SET failing_since = now() - interval '3 days' WHERE failing_since IS NOT NULL";
        sql(&api, past).await;
        sql(&api, "UPDATE webhook_deliveries SET next_at = now() WHERE status = 'waiting'").await;
        let told = some.wait_for(2).await.remove(1).json();
        assert_eq!((&told["type"], &told["customer_id"]), (&json!("webhook.disabled"), &json!(acme)));
        // To customers it does not exist, nor do its deliveries; and what operators alone read is not sent to customers.
        let delivery = format!("/api/v1/webhooks/{hook}/deliveries/{}", arrived[0].id);
        let one = format!("/api/v1/webhooks/{hook}");
        for path in [&one, &format!("{one}/deliveries"), &delivery] {
            assert_eq!(api.call(&foreign, "GET", path, None).await.status, 404, "{path}");
        }
        for path in [format!("{one}/secret"), format!("{one}/test"), format!("{delivery}/replay")] {
            assert_eq!(api.call(&foreign, "POST", &path, Some(json!({}))).await.status, 404, "{path}");
        }
        assert_eq!(api.call(&foreign, "DELETE", &one, None).await.status, 404);
        assert_eq!(api.call(&foreign, "GET", "/api/v1/webhooks", None).await.data(), json!([]));
        assert!(
            api.control
                .app
                .endpoints
                .iter()
                .any(|e| e.path == "/api/v1/admin/webhooks" && e.method == "POST")
        );
        let body = json!({ "name": "h", "url": all.url(), "events": ["user.created", "vendor.down"] });
        for (key, path) in [
            (&foreign, "/api/v1/webhooks".to_owned()),
            (&api.operator, format!("/api/v1/admin/customers/{other}/webhooks")),
        ] {
            let r = api.call(key, "POST", &path, Some(body.clone())).await;
            let details = r.json()["error"]["details"].clone();
            let said = (r.status, &details[0]["field"], &details[0]["code"]);
            assert_eq!(said, (422, &json!("events[1]"), &json!("operators_only")), "{path}: {}", r.body);
        }
        let (own, carriers) = (
            openapi::document(&api.control.app.endpoints, Audience::Customer),
            openapi::document(&api.control.app.endpoints, Audience::Operator),
        );
        let words = |document: &Value| {
            document["components"]["schemas"]["WebhookInput"]["properties"]["events"]["items"].to_string()
        };
        assert!(!words(&own).contains("vendor.down") && words(&carriers).contains("vendor.down"));
        assert!(!own.to_string().contains("x-operators") && !carriers.to_string().contains("x-operators"));
    });
}

#[test]
fn a_webhook_of_the_carrier_gets_calls_only_when_it_asks_for_them() {
    with_configured_api(local, |api| async move {
        let (all, calls) = (Receiver::start().await, Receiver::start().await);
        let (customer, key) = api.customer("Acme").await;
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
        let trunk = trunk["id"].as_str().unwrap();
        api.op("POST", "/webhooks", Some(json!({ "name": "all", "url": all.url() }))).await.data();
        // Nobody asks for calls yet: none is made a delivery.
        let first = insert_call(&api, &customer, trunk).await;
        let body = json!({ "name": "calls", "url": calls.url(), "events": ["call.completed"] });
        api.op("POST", "/webhooks", Some(body)).await.data();
        let second = insert_call(&api, &customer, trunk).await;
        let arrived = calls.wait_for(1).await.remove(0).json();
        assert_eq!(
            (&arrived["data"]["call_id"], &arrived["customer_id"]),
            (&json!(second), &json!(customer))
        );
        happens(&api, &customer, "one").await;
        eventually("the event of a user", async || {
            all.all().iter().any(|a| a.json()["type"] == "user.created").then_some(())
        })
        .await;
        let of_calls = |r: &Receiver| r.all().iter().filter(|a| a.body.contains("call_")).count();
        assert_eq!((of_calls(&all), of_calls(&calls)), (0, 1), "{first}");
    });
}

#[test]
fn events_of_calls_come_from_the_event_log_once_per_call() {
    with_configured_api(local, |api| async move {
        let receiver = Receiver::start().await;
        let (customer, key) = api.customer("Acme").await;
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
        webhook(&api, &key, &receiver.url(), json!(["call.completed", "call.failed"])).await;
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let app = &api.control.app;
        let mut consumer = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        let put = |n: u128, change: &dyn Fn(&mut Value)| {
            let id = CallId::from_u128(n).to_string();
            let mut call = record(&id, &customer, trunk["id"].as_str().unwrap());
            change(&mut call);
            topic.append_durable(id.as_bytes(), call.to_string().as_bytes()).unwrap();
        };
        put(1, &|_| {});
        put(2, &|c| {
            (c["outcome"], c["sip_code"], c["answer_at"]) = (json!("failed"), json!(503), Value::Null);
            c["rating"] = Value::Null;
        });
        // The same record again is no new call.
        put(1, &|_| {});
        while consumer.step().await.unwrap() != Step::Idle {}
        let arrived = receiver.wait_for(2).await;
        let find = |kind: &str| arrived.iter().map(Arrived::json).find(|e| e["type"] == kind).unwrap();
        let (done, failed) = (find("call.completed"), find("call.failed"));
        assert_eq!(
            (&done["data"]["duration_ms"], &done["data"]["price"]["amount"]),
            (&json!(60_000), &json!("0.01"))
        );
        assert_eq!(done["data"]["call_id"], CallId::from_u128(1).to_string());
        assert_eq!(
            (&failed["data"]["sip_code"], &failed["data"]["outcome"]),
            (&json!(503), &json!("failed"))
        );
        assert!(!done.to_string().contains("vnd_") && !done.to_string().contains("buy"), "{done}");
        // They are no rows of the outbox.
        let mut tx = app.store.begin(Scope::Operator("test")).await.unwrap();
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE type LIKE 'call.%'")
            .fetch_one(tx.db())
            .await
            .unwrap();
        assert_eq!((rows, receiver.all().len()), (0, 2));
    });
}

/// The name is looked up once for each delivery, each address is judged, and the connection goes to one that was.
#[test]
fn t_hook_01_a_name_that_leads_inside_is_not_connected_to_and_is_looked_up_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let receiver = Receiver::start().await;
        let port = receiver.at.port();
        let asked = Arc::new(AtomicUsize::new(0));
        let leading = |addresses: &'static [&'static str], asked: &Arc<AtomicUsize>| -> Resolve {
            let asked = asked.clone();
            Arc::new(move |_, port| {
                // What was public at the first look leads inside at the next one.
                let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
                let now = if first { addresses } else { &["127.0.0.1"] };
                let found = now.iter().map(|a| SocketAddr::new(a.parse().unwrap(), port)).collect();
                Box::pin(async move { Ok(found) })
            })
        };
        let public = Sender::new(&Settings::default()).unwrap();
        for addresses in [
            &["127.0.0.1"] as &'static [&'static str],
            &["10.0.0.1"],
            &["169.254.169.254"],
            &["::1"],
            &["::ffff:127.0.0.1"],
            &["64:ff9b::7f00:1"],
            &["8.8.8.8", "192.168.1.1"],
        ] {
            asked.store(0, Ordering::SeqCst);
            let sender = public.clone().resolving(leading(addresses, &asked));
            let outcome = sender.send("https://hook.example/hook?x=1", &[], "{}").await;
            assert_eq!(outcome.error, "its host has an address that is not public", "{addresses:?}");
            assert_eq!((outcome.status, asked.load(Ordering::SeqCst)), (None, 1));
        }
        for url in [
            "http://hook.example/",
            "https://hook.example:22/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "ftp://hook.example/",
        ] {
            asked.store(0, Ordering::SeqCst);
            let sender = public.clone().resolving(leading(&["8.8.8.8"], &asked));
            let outcome = sender.send(url, &[], "{}").await;
            assert!(outcome.status.is_none() && !outcome.error.is_empty(), "{url}: {outcome:?}");
        }
        // An allowed network is reached by the one look-up that was judged.
        let settings = Settings { networks: vec!["127.0.0.0/8".parse().unwrap()], ca: None };
        asked.store(0, Ordering::SeqCst);
        let sender = Sender::new(&settings).unwrap().resolving(leading(&["127.0.0.1"], &asked));
        let headers = [("warp-webhook-id", "evt_1".to_owned()), ("warp-signature", "t=1,v1=0".to_owned())];
        let outcome = sender.send(&format!("http://hook.example:{port}/hook?x=1"), &headers, "{}").await;
        assert_eq!(
            (outcome.status, asked.load(Ordering::SeqCst), receiver.all().len()),
            (Some(200), 1, 1),
            "{outcome:?}"
        );
    });
}

/// TLS: the name of the URL, and a certificate that is trusted.
#[test]
fn t_hook_01_https_wants_a_certificate_of_the_name() {
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let made = rcgen::generate_simple_self_signed(vec!["hook.example".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()];
        let config =
            tokio_rustls::rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(chain, key)
                .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else { return };
                    let _ = stream.read(&mut [0; 4_096]).await;
                    let big =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
                    let _ = stream.write_all(big.as_bytes()).await;
                });
            }
        });
        let networks = vec!["127.0.0.0/8".parse().unwrap()];
        let resolve: Resolve =
            Arc::new(|_, port| Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) }));
        let trusting = Settings { networks: networks.clone(), ca: Some(ca) };
        let send = async |settings: &Settings, host: &str| {
            let sender = Sender::new(settings).unwrap().resolving(resolve.clone());
            sender.send(&format!("https://{host}:{port}/"), &[], "{}").await
        };
        let good = send(&trusting, "hook.example").await;
        assert_eq!((good.status, good.answer.len()), (Some(200), 512), "the first bytes: {}", good.error);
        let other = send(&trusting, "another.example").await;
        assert!(other.status.is_none() && other.error.starts_with("TLS: "), "{other:?}");
        let unknown = send(&Settings { networks, ca: None }, "hook.example").await;
        assert!(unknown.status.is_none() && unknown.error.starts_with("TLS: "), "{unknown:?}");
    });
}

#[test]
fn t_hook_01_a_webhook_that_cannot_lead_outside_is_not_made() {
    with_configured_api(
        |_| {},
        |api| async move {
            let (_, key) = api.customer("Acme").await;
            for url in [
                "http://hooks.example/",
                "https://10.0.0.1/",
                "https://[::1]/",
                "https://u@hooks.example/",
                "https://hooks.example:22/",
                "x",
            ] {
                let body = json!({ "name": "h", "url": url });
                let r = api.call(&key, "POST", "/api/v1/webhooks", Some(body)).await;
                assert_eq!(
                    (r.status, &r.json()["error"]["field"]),
                    (422, &json!("url")),
                    "{url}: {}",
                    r.body
                );
            }
        },
    );
}

/// The control plane dies while an endpoint holds a delivery: the next one sends it again, and what happened meanwhile too.
#[test]
fn a_delivery_outlives_the_process_that_sends_it() {
    if let Ok(database) = std::env::var("WEBHOOK_CHILD") {
        return child(&database);
    }
    let Some(cluster) = common::cluster() else { return };
    common::with_database(|store| async move {
        let receiver = Receiver::start().await;
        receiver.will([Reaction::Silence]);
        let place: (String,) =
            sqlx::query_as("SELECT current_database()::text").fetch_one(store.listen_pool()).await.unwrap();
        let socket =
            cluster.options("warp_app", &place.0).get_socket().expect("a socket").display().to_string();
        let url = format!(
            "postgres://warp_app@localhost/{}?host={socket}&port={}",
            place.0,
            cluster.options("warp_app", &place.0).get_port()
        );
        let key_file = tempfile::tempdir().unwrap();
        let mut config = settings(key_file.path());
        // The customer, its webhook and what happens, without anybody who delivers.
        let control =
            warp_control_plane::start_on(store.clone(), config.clone(), common::handles()).await.unwrap();
        let operator = control.operator_key.as_ref().unwrap().reveal().clone();
        let api = Api { control, operator };
        let (customer, key) = api.customer("Acme").await;
        let (hook, _) = webhook(&api, &key, &receiver.url(), json!(["user.created"])).await;
        api.control.stop_tasks().await;
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_delivery_outlives_the_process_that_sends_it", "--nocapture"])
            .env("WEBHOOK_CHILD", format!("{url} {}", key_file.path().display()))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // It happens in the database: whoever lives hears of it.
        let ctx = warp_control_plane::app::Ctx::system(&api.control.app, "test");
        let told = async |n: &str| {
            let mut tx = ctx.begin().await.unwrap();
            let created = warp_control_plane::app::events::catalogue::UserCreated {
                user_id: n.into(),
                name: n.into(),
                role: "engineer".to_owned().into(),
                status: "active".to_owned().into(),
            };
            warp_control_plane::store::outbox::tell(&mut tx, Some(customer.parse().unwrap()), created)
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };
        told("one").await;
        let first = receiver.wait_for(1).await.remove(0);
        child.kill().unwrap();
        child.wait().unwrap();
        told("two").await;
        config.listen = "127.0.0.1:0".parse().unwrap();
        let next = warp_control_plane::start_on(store, config, common::handles()).await.unwrap();
        // The lease of the dead process is over at once.
        let mut tx = next.app.store.begin(Scope::Operator("test")).await.unwrap();
        sqlx::query("UPDATE webhook_deliveries SET next_at = now() WHERE status = 'waiting'")
            .execute(tx.db())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let all = receiver.wait_for(3).await;
        assert_eq!(all.iter().filter(|a| a.id == first.id).count(), 2, "the first again");
        assert_eq!(all.iter().filter(|a| a.json()["data"]["name"] == "two").count(), 1);
        let api = Api { control: next, operator: api.operator.clone() };
        standing(&api, &key, &hook, "delivered").await;
        api.control.stop_tasks().await;
    });
}

fn settings(folder: &std::path::Path) -> Config {
    let database = warp_control_plane::Database::Private { dir: folder.to_owned() };
    let mut config = Config::new(database, "127.0.0.1:0".parse().unwrap());
    config.key_file = Some(folder.join("seal.key"));
    local(&mut config);
    config
}

/// A control plane that delivers until it is killed.
fn child(told: &str) {
    let (url, folder) = told.split_once(' ').unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut config = settings(folder.as_ref());
        config.database =
            warp_control_plane::Database::Url { app: warp_model::Secret::new(url.to_owned()), migrate: None };
        let _control = warp_control_plane::start(config, common::handles()).await.unwrap();
        // Until it is killed, or its parent is gone.
        let _ = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await;
    });
}
