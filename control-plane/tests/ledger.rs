//! The ledger of billing accounts: what calls cost, what operators book, and that nothing is counted twice or changed.
mod common;

use common::{Api, Reply, audit, event_log, record, with_api};
use serde_json::{Value, json};
use warp_control_plane::billing::consumer::{Consumer, Step};
use warp_control_plane::store::{Scope, StoreError};
use warp_events::TOPIC_CDR_VOICE;
use warp_model::{CallId, TrunkId};

/// A customer, its key, a trunk, and the account that pays for it.
async fn account(api: &Api, name: &str) -> (String, String, String, String) {
    let (customer, key) = api.customer(name).await;
    let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    (customer, key, text(&trunk["id"]), text(&trunk["ban_id"]))
}

async fn keyed(api: &Api, path: &str, key: &str, body: Value) -> Reply {
    let bearer = format!("Bearer {}", api.operator);
    let headers =
        [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", key)];
    api.send("POST", &format!("/api/v1/admin{path}"), &headers, body.to_string().as_bytes()).await
}

async fn balance(api: &Api, ban: &str) -> String {
    let seen = api.op("GET", &format!("/bans/{ban}/balance"), None).await.data();
    seen["balance"]["amount"].as_str().unwrap().to_owned()
}

fn usd(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "USD" })
}

#[test]
fn t_api_10_money_moves_once_per_key_and_never_without_one() {
    with_api(|api| async move {
        let (_, _, _, ban) = account(&api, "Acme").await;
        let path = format!("/bans/{ban}/top-ups");
        let body = json!({ "amount": usd("25.5"), "reason": "wire 17" });
        let none = api.op("POST", &path, Some(body.clone())).await;
        assert_eq!((none.status, none.code().as_str()), (400, "bad_request"), "{}", none.body);
        let first = keyed(&api, &path, "wire-17", body.clone()).await;
        assert_eq!(first.status, 201, "{}", first.body);
        assert_eq!(
            keyed(&api, &path, "wire-17", body.clone()).await.body,
            first.body,
            "the first answer again"
        );
        assert_eq!(balance(&api, &ban).await, "25.5");
        // The answers are forgotten after a day, the ledger's key is not.
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        sqlx::query("DELETE FROM idempotency_keys").execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        let again = keyed(&api, &path, "wire-17", body).await;
        assert_eq!((again.status, again.code().as_str()), (409, "conflict"), "{}", again.body);
        assert_eq!(balance(&api, &ban).await, "25.5");
        // A refusal does not burn the key, and gives it back before it is heard of.
        for (amount, direction) in [("0", "credit"), ("1", "sideways")].repeat(10) {
            let body = json!({ "amount": usd(amount), "direction": direction, "reason": "r" });
            assert_eq!(keyed(&api, &format!("/bans/{ban}/adjustments"), "x", body).await.status, 422);
        }
        let eur = json!({ "amount": { "amount": "1", "currency": "EUR" }, "reason": "r" });
        assert_eq!(keyed(&api, &path, "eur", eur).await.status, 422, "another currency");
        audit(&api).await;
    });
}

#[test]
fn what_was_booked_is_taken_back_once_and_stays_to_be_read() {
    with_api(|api| async move {
        let (_, key, _, ban) = account(&api, "Acme").await;
        let debit = json!({ "amount": usd("3"), "direction": "debit", "reason": "fee" });
        let fee = keyed(&api, &format!("/bans/{ban}/adjustments"), "a", debit).await.data();
        assert_eq!(
            (fee["amount"]["amount"].as_str(), balance(&api, &ban).await.as_str()),
            (Some("-3"), "-3")
        );
        let path = format!("/ledger/{}/reversal", fee["id"].as_str().unwrap());
        let back = keyed(&api, &path, "b", json!({ "reason": "by mistake" })).await.data();
        assert_eq!((&back["reverses"], back["amount"]["amount"].as_str()), (&fee["id"], Some("3")));
        assert_eq!(balance(&api, &ban).await, "0");
        assert_eq!(keyed(&api, &path, "c", json!({ "reason": "twice" })).await.status, 409);
        let path = format!("/ledger/{}/reversal", back["id"].as_str().unwrap());
        assert_eq!(keyed(&api, &path, "d", json!({ "reason": "back and forth" })).await.status, 409);
        let list =
            api.call(&key, "GET", &format!("/api/v1/ledger?ban={ban}&sort=created_at"), None).await.data();
        let kinds: Vec<&str> = list.as_array().unwrap().iter().map(|p| p["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["adjustment", "reversal"]);
        assert_eq!(list[0]["reversed_by"], back["id"]);
        let page = api.call(&key, "GET", "/api/v1/ledger?limit=1", None).await.json();
        let cursor = page["meta"]["next_cursor"].as_str().unwrap();
        let next =
            api.call(&key, "GET", &format!("/api/v1/ledger?limit=1&cursor={cursor}"), None).await.data();
        assert_eq!(next[0]["id"], fee["id"]);
        audit(&api).await;
        let lines = api.op("GET", "/audit?limit=200", None).await.body;
        assert!(lines.contains("ledger.adjustment") && lines.contains("ledger.reversal"), "{lines}");
    });
}

#[test]
fn t_api_04_a_ledger_does_not_exist_for_another_customer() {
    with_api(|api| async move {
        let (mine, key, _, ban) = account(&api, "Acme").await;
        let (_, other, _, _) = account(&api, "Other").await;
        let body = json!({ "amount": usd("5"), "reason": "r" });
        let made = keyed(&api, &format!("/bans/{ban}/top-ups"), "k", body.clone()).await.data();
        let id = made["id"].as_str().unwrap();
        for (path, none) in [
            (format!("/api/v1/ledger/{id}"), "/api/v1/ledger/pst_00000000000000000000000001".to_owned()),
            (
                format!("/api/v1/bans/{ban}/balance"),
                "/api/v1/bans/ban_00000000000000000000000001/balance".to_owned(),
            ),
        ] {
            assert_eq!(api.call(&key, "GET", &path, None).await.status, 200, "{path}");
            let (there, none) =
                (api.call(&other, "GET", &path, None).await, api.call(&other, "GET", &none, None).await);
            assert_eq!((there.status, &there.json()["error"]), (404, &none.json()["error"]), "{path}");
        }
        for query in ["", &format!("?ban={ban}")] {
            let r = api.call(&other, "GET", &format!("/api/v1/ledger{query}"), None).await;
            assert_eq!((r.status, &r.json()["data"]), (200, &json!([])), "{query}");
        }
        let r = api.call(&key, "GET", &format!("/api/v1/ledger?customer={mine}"), None).await;
        assert_eq!(r.status, 400, "a customer has no such filter");
        // Nor does a customer move money.
        for path in [format!("/api/v1/bans/{ban}/top-ups"), format!("/api/v1/admin/bans/{ban}/top-ups")] {
            let r = api.call(&key, "POST", &path, Some(body.clone())).await;
            assert!(r.status == 404 || r.status == 403, "{path}: {}", r.body);
        }
    });
}

#[test]
fn t_pg_01_nobody_changes_or_deletes_a_posting_and_none_is_unbalanced() {
    with_api(|api| async move {
        let (customer, _, _, ban) = account(&api, "Acme").await;
        let body = json!({ "amount": usd("5"), "reason": "r" });
        keyed(&api, &format!("/bans/{ban}/top-ups"), "k", body).await.data();
        let store = &api.control.app.store;
        for sql in [
            "UPDATE ledger_postings SET amount = 1",
            "DELETE FROM ledger_lines",
            "UPDATE ledger_lines SET amount = 1",
            "TRUNCATE ledger_lines",
        ] {
            let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
            assert!(sqlx::query(sql).execute(tx.db()).await.is_err(), "{sql}");
        }
        for (currency, other) in [("USD", 999), ("EUR", -1_000)] {
            let mut tx = store.begin(Scope::Operator("test")).await.unwrap();
            let posting = "INSERT INTO ledger_postings (id, customer_id, ban_id, kind, key, currency, amount, reason, actor)
                VALUES ('pst_x', $1, $2, 'adjustment', 'x', $3, 1000, 'r', 'a')";
            sqlx::query(posting).bind(&customer).bind(&ban).bind(currency).execute(tx.db()).await.unwrap();
            let lines = "INSERT INTO ledger_lines VALUES ('pst_x', $1, $2, 'balance', 1000), ('pst_x', $1, $2, 'cash', $3)";
            sqlx::query(lines)
                .bind(&customer)
                .bind(&ban)
                .bind(i64::from(other))
                .execute(tx.db())
                .await
                .unwrap();
            assert!(matches!(tx.commit().await, Err(StoreError::Check(_))), "{currency} {other}");
        }
        assert_eq!(balance(&api, &ban).await, "5");
        audit(&api).await;
    });
}

#[test]
fn calls_are_in_the_ledger_once_with_one_posting_per_account_and_batch() {
    with_api(|api| async move {
        let (customer, _, trunk, ban) = account(&api, "Acme").await;
        let (other, _, other_trunk, other_ban) = account(&api, "Other").await;
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let id = |n: u128| CallId::from_u128(n).to_string();
        let put = |n: u128, customer: &str, trunk: &str, change: &dyn Fn(&mut Value)| {
            let mut call = record(&id(n), customer, trunk);
            change(&mut call);
            topic.append_durable(id(n).as_bytes(), call.to_string().as_bytes()).unwrap();
        };
        let app = &api.control.app;
        let consumer = || Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        let drain = async || {
            let mut c = consumer();
            while c.step().await.unwrap() != Step::Idle {}
        };
        let same = |_: &mut Value| {};
        let gone = TrunkId::from_u128(9).to_string();
        put(1, &customer, &trunk, &same);
        put(2, &customer, &gone, &same);
        put(1, &customer, &trunk, &same);
        put(3, &other, &other_trunk, &same);
        put(4, &customer, &trunk, &|r| r["rating"] = Value::Null);
        put(5, &customer, &trunk, &|r| {
            r["recovered"] = json!(true);
            r["rating"]["sell"]["charge"] = json!("0.004");
        });
        drain().await;
        assert_eq!(
            (balance(&api, &ban).await, balance(&api, &other_ban).await),
            ("-0.024".into(), "-0.01".into())
        );
        let postings = api.op("GET", &format!("/ledger?ban={ban}"), None).await.data();
        assert_eq!((postings.as_array().unwrap().len(), &postings[0]["calls"]), (1, &json!(3)));
        // All of it comes again, and the real end of the fifth call with it: only the difference is posted.
        put(5, &customer, &trunk, &same);
        let mut tx = app.store.begin(Scope::Operator("test")).await.unwrap();
        sqlx::query("DELETE FROM log_cursors").execute(tx.db()).await.unwrap();
        tx.commit().await.unwrap();
        drain().await;
        assert_eq!(
            (balance(&api, &ban).await, balance(&api, &other_ban).await),
            ("-0.03".into(), "-0.01".into())
        );
        audit(&api).await;
        // What is in another currency than its account is put aside, and stops nothing.
        put(6, &customer, &trunk, &|r| r["rating"]["sell"]["currency"] = json!("EUR"));
        put(7, &customer, &trunk, &same);
        drain().await;
        assert_eq!(balance(&api, &ban).await, "-0.04");
        let mut tx = app.store.begin(Scope::Operator("test")).await.unwrap();
        let aside: i64 =
            sqlx::query_scalar("SELECT count(*) FROM cdr_rejects").fetch_one(tx.db()).await.unwrap();
        assert_eq!(aside, 1);
        drop(tx);
        audit(&api).await;
    });
}

/// A record with a real end takes the place of a reconstructed one that had cost something: what that one had cost goes back to whoever had
/// paid it, also when the call was free in the end, or is another account's now.
#[test]
fn what_a_reconstructed_call_had_cost_goes_back_to_whoever_had_paid_it() {
    with_api(|api| async move {
        let (customer, _, trunk, ban) = account(&api, "Acme").await;
        let bans = format!("/customers/{customer}/bans");
        let second = api.op("POST", &bans, Some(json!({ "name": "second" }))).await.data();
        let second = second["id"].as_str().unwrap().to_owned();
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let put = |n: u128, change: &dyn Fn(&mut Value)| {
            let id = CallId::from_u128(n).to_string();
            let mut call = record(&id, &customer, &trunk);
            change(&mut call);
            topic.append_durable(id.as_bytes(), call.to_string().as_bytes()).unwrap();
        };
        let app = &api.control.app;
        let drain = async || {
            let mut c = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
            while c.step().await.unwrap() != Step::Idle {}
        };
        for n in 1..=3 {
            put(n, &|r| r["recovered"] = json!(true));
        }
        drain().await;
        assert_eq!(balance(&api, &ban).await, "-0.03");
        // It was not answered; it was answered and free; it is paid by another account.
        put(1, &|r| (r["rating"], r["answer_at"]) = (Value::Null, Value::Null));
        put(2, &|r| r["rating"]["sell"]["charge"] = json!("0"));
        put(3, &|r| r["paid"] = json!({ "ban_id": second }));
        drain().await;
        assert_eq!(
            (balance(&api, &ban).await, balance(&api, &second).await),
            ("0".into(), "-0.01".into()),
            "each once, and nobody pays for what was free"
        );
        audit(&api).await;
    });
}

#[test]
fn a_customer_begins_with_an_account_and_the_first_one_pays_for_what_names_none() {
    with_api(|api| async move {
        let (customer, key, trunk, first) = account(&api, "Acme").await;
        let own = api.call(&key, "GET", "/api/v1/bans", None).await.data();
        assert_eq!((own.as_array().unwrap().len(), &own[0]["id"]), (1, &json!(first)));
        assert_eq!((&own[0]["mode"], &own[0]["credit_limit"]), (&json!("postpaid"), &Value::Null));
        let bans = format!("/customers/{customer}/bans");
        let prepaid = json!({ "name": "prepaid", "mode": "prepaid" });
        let second = api.op("POST", &bans, Some(prepaid)).await.data();
        let at = format!("/trunks/{trunk}");
        let moved = api.op("PATCH", &at, Some(json!({ "ban_id": second["id"] }))).await.data();
        assert_eq!(moved["ban_id"], second["id"]);
        let back = api.op("PATCH", &at, Some(json!({ "ban_id": null }))).await.data();
        assert_eq!(back["ban_id"], json!(first));
        assert_eq!(
            api.op("DELETE", &format!("/bans/{first}"), None).await.status,
            409,
            "a trunk refers to it"
        );
        let unused = format!("/bans/{}", second["id"].as_str().unwrap());
        assert_eq!(api.op("DELETE", &unused, None).await.status, 200);
        for (body, field) in [
            (json!({ "name": "x", "mode": "prepaid", "credit_limit": usd("1") }), "credit_limit"),
            (json!({ "name": "x", "currency": "EUR" }), "currency"),
            (json!({ "name": "x", "cycle_day": 29 }), "cycle_day"),
        ] {
            let r = api.op("POST", &bans, Some(body)).await;
            assert_eq!((r.status, &r.json()["error"]["field"]), (422, &json!(field)), "{}", r.body);
        }
        // A customer reads its accounts and changes none.
        let r = api.call(&key, "PATCH", &format!("/api/v1/bans/{first}"), Some(json!({ "name": "y" }))).await;
        assert_eq!(r.status, 405);
    });
}
