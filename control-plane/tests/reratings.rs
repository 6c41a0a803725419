//! Rating again: a wrong price list is put right, the calls get another version of their price, and the ledger the difference.
mod common;

use common::{Api, audit, event_log, eventually, record, with_api};
use serde_json::{Value, json};
use warp_control_plane::billing::consumer::{Consumer, Step};
use warp_events::TOPIC_CDR_VOICE;
use warp_model::{CallId, TrunkId, Wall};
use warp_policy::{CallInput, Live, decide, explain};

struct World {
    trunk: String,
    ban: String,
    key: String,
    sell: String,
    buy: String,
}

async fn deck(api: &Api, name: &str) -> String {
    let deck = api.op("POST", "/rate-decks", Some(json!({ "name": name, "kind": "us" }))).await.data();
    deck["id"].as_str().unwrap().to_owned()
}

/// Puts another price into force, since ever.
async fn price(api: &Api, deck: &str, rate: &str) {
    let bearer = format!("Bearer {}", api.operator);
    let path = format!("/api/v1/admin/rate-decks/{deck}/versions?activate=true");
    let csv = format!("NPANXX,Interstate,Intrastate,Indeterminate\n415,{rate},{rate},{rate}\n");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/csv")];
    let r = api.send("POST", &path, &headers, csv.as_bytes()).await;
    assert_eq!(r.status, 201, "{}", r.body);
    api.control.app.publish_now().await.unwrap();
}

async fn world(api: &Api) -> World {
    let (sell, buy) = (deck(api, "sell").await, deck(api, "buy").await);
    price(api, &sell, "0.1").await;
    price(api, &buy, "0.004").await;
    let body = json!({ "slug": "v", "name": "V", "buy_deck_ids": [buy] });
    let vendor = api.op("POST", "/vendors", Some(body)).await.data()["id"].as_str().unwrap().to_owned();
    let body = json!({ "name": "t1", "addresses": ["127.0.0.1:5080"] });
    assert_eq!(api.op("POST", &format!("/vendors/{vendor}/trunks"), Some(body)).await.status, 201);
    let body = json!({ "name": "p", "vendors": [{ "vendor_id": vendor }] });
    let partition = api.op("POST", "/partitions", Some(body)).await.data();
    let (customer, key) = api.customer("Acme").await;
    let body = json!({ "sell_deck_ids": [sell], "partition_id": partition["id"] });
    assert_eq!(api.op("PATCH", &format!("/customers/{customer}"), Some(body)).await.status, 200);
    let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let (trunk, ban) = (text(&trunk["id"]), text(&trunk["ban_id"]));
    api.control.app.publish_now().await.unwrap();
    World { trunk, ban, key, sell, buy }
}

/// A call of a minute that was decided and priced as the lists say now, posted by the real consumer.
async fn call(api: &Api, w: &World, change: impl Fn(&mut Value)) -> String {
    let trunk: TrunkId = w.trunk.parse().unwrap();
    let snapshot = eventually("the trunk live", || async {
        let s = api.control.app.publication.latest();
        s.directory.trunk_ix(trunk).is_some().then_some(s)
    })
    .await;
    let ix = snapshot.directory.trunk_ix(trunk).unwrap();
    let at = api.control.app.wall();
    let (caller, called) = ("+12125550100", "+14155550123");
    let input = CallInput {
        trunk: ix,
        caller: caller.as_bytes(),
        called: called.as_bytes(),
        at,
        call_hash: 7,
        lrn: None,
    };
    let decision = decide(&snapshot, &input, &Live::default());
    let written = explain(&snapshot, &input, &Live::default(), &decision);
    let first = *decision.result.as_ref().unwrap().get(0).unwrap();
    let rating =
        warp_policy::rate_call(&snapshot, &decision.sell.unwrap(), &first.buy.unwrap(), 60_000).unwrap();
    let id = CallId::new(at, api.control.app.random_id()).to_string();
    let customer = snapshot.directory.customer(snapshot.directory.customer_of(ix).unwrap()).unwrap().id;
    let mut value = record(&id, &customer.to_string(), &w.trunk);
    value["snapshot_id"] = json!(snapshot.id.to_string());
    value["setup_at"] = json!(at.0);
    value["answer_at"] = json!(at.0 + 1_000_000);
    value["end_at"] = json!(at.0 + 61_000_000);
    value["vendor_id"] = json!(snapshot.directory.vendor(first.vendor).unwrap().id.to_string());
    let vendor_trunk = snapshot.directory.vendor_trunk(first.vendor_trunk).unwrap().id;
    value["vendor_trunk_id"] = json!(vendor_trunk.to_string());
    value["decision"] = serde_json::to_value(&written).unwrap();
    value["rating"] = serde_json::to_value(&rating).unwrap();
    change(&mut value);
    let dir = tempfile::tempdir().unwrap();
    let log = event_log(dir.path());
    let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
    topic.append_durable(id.as_bytes(), value.to_string().as_bytes()).unwrap();
    let app = &api.control.app;
    let consumer = Consumer::new(app.store.clone(), &log, "test", app.metrics.clone());
    assert_eq!(consumer.unwrap().step().await.unwrap(), Step::Posted(1));
    id
}

async fn rerate(api: &Api, key: &str, more: Value) -> Value {
    let now = api.control.app.wall();
    let day = 86_400_000_000;
    let time = |us: i64| {
        let text = serde_json::to_value(warp_control_plane::store::types::Time(Wall(us))).unwrap();
        text.as_str().unwrap().to_owned()
    };
    let mut body = json!({ "setup_from": time(now.0 - day), "setup_before": time(now.0 + day), "reason": "deck of the wrong month" });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let bearer = format!("Bearer {}", api.operator);
    let headers =
        [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", key)];
    let r = api.send("POST", "/api/v1/admin/calls/rerate", &headers, body.to_string().as_bytes()).await;
    assert_eq!(r.status, 200, "{}", r.body);
    r.data()
}

async fn balance(api: &Api, ban: &str) -> String {
    let seen = api.op("GET", &format!("/bans/{ban}/balance"), None).await.data();
    seen["balance"]["amount"].as_str().unwrap().to_owned()
}

#[test]
fn a_wrong_price_is_put_right_by_a_difference_and_neither_call_nor_posting_changes() {
    with_api(|api| async move {
        let w = world(&api).await;
        let (first, second) = (call(&api, &w, |_| ()).await, call(&api, &w, |_| ()).await);
        assert_eq!(balance(&api, &w.ban).await, "-0.2");
        let usage = api.op("GET", &format!("/ledger?ban={}", w.ban), None).await.data();
        let none = rerate(&api, "a", json!({})).await;
        assert_eq!(
            (&none["looked_at"], &none["changed"]),
            (&json!(2), &json!(0)),
            "nothing was wrong: {none}"
        );
        // The list said ten cents and meant one; the vendor takes half.
        price(&api, &w.sell, "0.01").await;
        price(&api, &w.buy, "0.002").await;
        let dry = rerate(&api, "b", json!({ "dry_run": true })).await;
        assert_eq!((&dry["changed"], &dry["accounts"][0]["posting_id"]), (&json!(2), &Value::Null));
        assert_eq!(dry["accounts"][0]["difference"], json!({ "amount": "-0.18", "currency": "USD" }));
        assert_eq!(balance(&api, &w.ban).await, "-0.2", "a dry run writes nothing");
        let done = rerate(&api, "c", json!({})).await;
        assert_eq!((&done["changed"], &done["skipped"]), (&json!(2), &json!([])), "{done}");
        assert_eq!(balance(&api, &w.ban).await, "-0.02");
        let posting = done["accounts"][0]["posting_id"].as_str().unwrap().to_owned();
        let posted = api.op("GET", &format!("/ledger/{posting}"), None).await.data();
        assert_eq!(
            (&posted["kind"], &posted["amount"]["amount"], &posted["calls"], &posted["reason"]),
            (&json!("rerating"), &json!("0.18"), &json!(2), &json!("deck of the wrong month"))
        );
        let seen = api.op("GET", &format!("/ledger?ban={}&sort=created_at", w.ban), None).await.data();
        let before: Vec<&Value> = seen.as_array().unwrap().iter().filter(|p| p["kind"] == "usage").collect();
        assert_eq!(before.len(), usage.as_array().unwrap().len());
        for id in [&first, &second] {
            let detail = api.op("GET", &format!("/calls/{id}"), None).await.data();
            assert_eq!(detail["record"]["rating"]["sell"]["charge"], "0.1", "the record is as it was");
            // Who bills from a list, a detail or an export sees the price that counts.
            let shown = |c: &Value| {
                (c["price"]["amount"].clone(), c["cost"]["amount"].clone(), c["price_version"].clone())
            };
            let now = (json!("0.01"), json!("0.002"), json!(2));
            assert_eq!(shown(&detail), now);
            let list = api.op("GET", "/calls", None).await.data();
            let listed = list.as_array().unwrap().iter().find(|c| c["id"] == id.as_str()).unwrap();
            assert_eq!((shown(listed), listed["margin"]["amount"].clone()), (now, json!("0.008")));
            let own = api.call(&w.key, "GET", &format!("/api/v1/calls/{id}"), None).await.data();
            assert_eq!(shown(&own), (json!("0.01"), Value::Null, json!(2)));
            let prices = api.op("GET", &format!("/calls/{id}/prices"), None).await.data();
            let version = &prices["versions"][0];
            assert_eq!(
                (
                    &version["version"],
                    &version["price"]["amount"],
                    &version["cost"]["amount"],
                    &version["difference"]["amount"]
                ),
                (&json!(2), &json!("0.01"), &json!("0.002"), &json!("-0.09"))
            );
            assert_eq!(version["posting_id"], posting.as_str());
            let own = api.call(&w.key, "GET", &format!("/api/v1/calls/{id}/prices"), None).await;
            let shown = &own.data()["versions"][0];
            assert_eq!(
                (&shown["price"]["amount"], &shown["cost"], &shown["rating"]["buy"]),
                (&json!("0.01"), &Value::Null, &Value::Null)
            );
        }
        let (_, stranger) = api.customer("Other").await;
        let foreign = format!("/api/v1/calls/{first}/prices");
        assert_eq!(api.call(&stranger, "GET", &foreign, None).await.status, 404);
        // Again is nothing; another price is a version more, and its difference is to the one before.
        assert_eq!(rerate(&api, "d", json!({})).await["changed"], 0);
        price(&api, &w.sell, "0.03").await;
        let third = rerate(&api, "e", json!({ "trunk_id": w.trunk })).await;
        assert_eq!(third["accounts"][0]["difference"]["amount"], "0.04");
        assert_eq!(balance(&api, &w.ban).await, "-0.06");
        let prices = api.op("GET", &format!("/calls/{first}/prices"), None).await.data();
        assert_eq!(
            (prices["versions"].as_array().unwrap().len(), &prices["versions"][1]["version"]),
            (2, &json!(3))
        );
        audit(&api).await;
    });
}

#[test]
fn calls_that_cannot_be_priced_again_keep_their_price_and_say_why() {
    with_api(|api| async move {
        let w = world(&api).await;
        let good = call(&api, &w, |_| ()).await;
        let inbound = call(&api, &w, |r| r["direction"] = json!("inbound")).await;
        let bare = call(&api, &w, |r| r["decision"] = json!({ "candidates": [] })).await;
        let nobody = call(&api, &w, |r| r["vendor_trunk_id"] = json!("vtk_00000000000000000000000009")).await;
        let recovered = call(&api, &w, |r| r["recovered"] = json!(true)).await;
        price(&api, &w.sell, "0.01").await;
        let done = rerate(&api, "a", json!({})).await;
        let why: Vec<(&str, &str)> = done["skipped"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| (s["call_id"].as_str().unwrap(), s["why"].as_str().unwrap()))
            .collect();
        assert_eq!(
            why,
            [
                (inbound.as_str(), "inbound"),
                (bare.as_str(), "no_decision"),
                (nobody.as_str(), "no_vendor_trunk")
            ]
        );
        assert_eq!(
            (&done["looked_at"], &done["changed"]),
            (&json!(4), &json!(1)),
            "{recovered} may still change: {done}"
        );
        assert!(done["next_after"].is_null());
        let prices = api.op("GET", &format!("/calls/{good}/prices"), None).await.data();
        assert_eq!(prices["versions"].as_array().unwrap().len(), 1);
        // Without the price nobody is charged nothing: the call keeps what it cost.
        let bearer = format!("Bearer {}", api.operator);
        let path = format!("/api/v1/admin/rate-decks/{}/versions?activate=true", w.sell);
        let csv = b"NPANXX,Interstate,Intrastate,Indeterminate\n212,0.01,0.01,0.01\n";
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/csv")];
        assert_eq!(api.send("POST", &path, &headers, csv).await.status, 201);
        api.control.app.publish_now().await.unwrap();
        let done = rerate(&api, "b", json!({})).await;
        assert!(
            done["skipped"]
                .as_array()
                .unwrap()
                .iter()
                .any(|s| s["call_id"] == good && s["why"] == "no_sell_price"),
            "{done}"
        );
        audit(&api).await;
    });
}
