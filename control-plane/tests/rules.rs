//! Overrides, blocks, exchange rates and rounding: from the API to the decision of a call, and what it says of them.
mod common;

use common::{Api, eventually, with_api};
use serde_json::{Value, json};

struct World {
    trunk: String,
    customer: String,
    key: String,
    alpha: String,
    beta: String,
}

async fn deck(api: &Api, name: &str, currency: &str, rows: &str) -> String {
    let body = json!({ "name": name, "kind": "us", "currency": currency });
    let deck = api.op("POST", "/rate-decks", Some(body)).await.data();
    let id = deck["id"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {}", api.operator);
    let path = format!("/api/v1/admin/rate-decks/{id}/versions?activate=true");
    let csv = format!("NPANXX,Interstate,Intrastate,Indeterminate\n{rows}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/csv")];
    let r = api.send("POST", &path, &headers, csv.as_bytes()).await;
    assert_eq!(r.status, 201, "{}", r.body);
    id
}

/// A customer with a trunk; alpha, who asks 0.004 dollars, and beta, who asks 0.005 of `currency`.
async fn world(api: &Api, currency: &str) -> World {
    let sell = deck(api, "sell", "USD", "415,0.01,0.012,0.015\n").await;
    let mut vendors = Vec::new();
    for (slug, rate, port, currency) in [("alpha", "0.004", 5080, "USD"), ("beta", "0.005", 5081, currency)] {
        let buy = deck(api, slug, currency, &format!("415,{rate},{rate},{rate}\n")).await;
        let body = json!({ "slug": slug, "name": slug, "buy_deck_ids": [buy] });
        let id = api.op("POST", "/vendors", Some(body)).await.data()["id"].as_str().unwrap().to_owned();
        let body = json!({ "name": "t1", "addresses": [format!("127.0.0.1:{port}")] });
        assert_eq!(api.op("POST", &format!("/vendors/{id}/trunks"), Some(body)).await.status, 201);
        vendors.push(id);
    }
    let partition = partition(api, "both", &vendors).await;
    let (customer, key) = api.customer("Acme").await;
    let body = json!({ "sell_deck_ids": [sell], "partition_id": partition });
    assert_eq!(api.op("PATCH", &format!("/customers/{customer}"), Some(body)).await.status, 200);
    let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "pbx" }))).await.data();
    let beta = vendors.pop().unwrap();
    let alpha = vendors.pop().unwrap();
    World { trunk: trunk["id"].as_str().unwrap().to_owned(), customer, key, alpha, beta }
}

async fn partition(api: &Api, name: &str, vendors: &[String]) -> String {
    let vendors: Vec<Value> = vendors.iter().map(|v| json!({ "vendor_id": v })).collect();
    let made = api.op("POST", "/partitions", Some(json!({ "name": name, "vendors": vendors }))).await.data();
    made["id"].as_str().unwrap().to_owned()
}

/// The decision of a call to San Francisco once `holds` of it.
async fn decided(api: &Api, w: &World, what: &str, more: Value, holds: impl Fn(&Value) -> bool) -> Value {
    let mut body = json!({ "trunk_id": w.trunk, "to": "+14155550123", "from": "+12125550100" });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    eventually(what, || async {
        let r = api.op("POST", "/route", Some(body.clone())).await;
        (r.status == 200).then(|| r.data()["decision"].clone()).filter(|d| holds(d))
    })
    .await
}

fn first(d: &Value) -> &str {
    d["candidates"][0]["vendor_name"].as_str().unwrap_or_default()
}

#[test]
fn an_override_routes_calls_by_its_partition_while_it_holds_and_the_most_specific_one_decides() {
    with_api(|api| async move {
        let w = world(&api, "USD").await;
        decided(&api, &w, "alpha first", json!({}), |d| first(d) == "alpha").await;
        let (a, b) = (
            partition(&api, "a", std::slice::from_ref(&w.alpha)).await,
            partition(&api, "b", std::slice::from_ref(&w.beta)).await,
        );
        let body = json!({ "partition_id": b, "code": "1415", "reason": "trial of beta", "ends_at": "2099-01-01T00:00:00Z" });
        let route = api.op("POST", "/overrides", Some(body)).await.data();
        let d = decided(&api, &w, "beta by the route", json!({}), |d| first(d) == "beta").await;
        assert_eq!(
            d["overridden_by"],
            json!({ "id": route["id"], "level": "route", "reason": "trial of beta" })
        );
        assert_eq!((&d["partition"], d["candidates"].as_array().unwrap().len()), (&json!("b"), 1));
        // A customer sees where its call goes as before, and not why.
        let asked = json!({ "trunk_id": w.trunk, "to": "+14155550123" });
        let own = api.call(&w.key, "POST", "/api/v1/route", Some(asked)).await;
        assert!(
            own.status == 200 && !own.body.contains("trial of beta") && !own.body.contains("ovr_"),
            "{}",
            own.body
        );
        // At another time it does not hold.
        let later = json!({ "at": "2099-01-02T00:00:00Z" });
        assert_eq!(first(&decided(&api, &w, "afterwards", later, |_| true).await), "alpha");
        // The customer's goes before the route's, the trunk's before the customer's.
        let body = json!({ "partition_id": a, "customer_id": w.customer, "reason": "contract" });
        api.op("POST", "/overrides", Some(body)).await.data();
        let d = decided(&api, &w, "alpha by contract", json!({}), |d| first(d) == "alpha").await;
        assert_eq!(d["overridden_by"]["level"], "customer");
        let body = json!({ "partition_id": b, "trunk_id": w.trunk, "reason": "this trunk", "days": ["sat", "sun"], "hours": "22:00-06:00" });
        let of_trunk = api.op("POST", "/overrides", Some(body)).await.data();
        // 2026-12-05 is a Saturday.
        let night = json!({ "at": "2026-12-05T23:00:00Z" });
        let d = decided(&api, &w, "beta by night", night, |d| first(d) == "beta").await;
        assert_eq!(d["overridden_by"]["id"], of_trunk["id"]);
        for at in ["2026-12-04T23:00:00Z", "2026-12-05T21:59:00Z", "2026-12-07T06:00:00Z"] {
            let d = decided(&api, &w, at, json!({ "at": at }), |_| true).await;
            assert_eq!(d["overridden_by"]["level"], "customer", "{at}");
        }
        // A partition that an override names stays; a trunk takes its overrides with it.
        assert_eq!(api.op("DELETE", &format!("/partitions/{b}"), None).await.status, 409);
        assert_eq!(api.op("DELETE", &format!("/trunks/{}", w.trunk), None).await.status, 200);
        let gone = format!("/overrides/{}", of_trunk["id"].as_str().unwrap());
        assert_eq!(api.op("GET", &gone, None).await.status, 404);
        common::audit(&api).await;
    });
}

#[test]
fn a_block_refuses_calls_while_it_holds_and_says_to_operators_why() {
    with_api(|api| async move {
        let w = world(&api, "USD").await;
        decided(&api, &w, "alpha first", json!({}), |d| first(d) == "alpha").await;
        let body = json!({ "caller_code": "1212", "customer_id": w.customer, "reason": "spoofed callers" });
        let block = api.op("POST", "/blocks", Some(body)).await.data();
        let d = decided(&api, &w, "blocked", json!({}), |d| d["refusal"] == "call_blocked").await;
        assert_eq!(
            d["blocked_by"],
            json!({ "id": block["id"], "level": "customer", "reason": "spoofed callers" })
        );
        assert_eq!(d["candidates"], json!([]));
        let asked = json!({ "trunk_id": w.trunk, "to": "+14155550123", "from": "+12125550100" });
        let own = api.call(&w.key, "POST", "/api/v1/route", Some(asked)).await;
        assert_eq!(own.data()["decision"]["refusal"], "call_blocked");
        assert!(!own.body.contains("spoofed") && !own.body.contains("blk_"), "{}", own.body);
        let other = json!({ "from": "+12135550100" });
        assert_eq!(first(&decided(&api, &w, "another caller", other, |_| true).await), "alpha");
        let one = format!("/blocks/{}", block["id"].as_str().unwrap());
        assert_eq!(api.op("DELETE", &one, None).await.status, 200);
        decided(&api, &w, "free again", json!({}), |d| first(d) == "alpha").await;
    });
}

#[test]
fn rules_that_contradict_themselves_or_name_nobody_are_refused_by_their_field() {
    with_api(|api| async move {
        let w = world(&api, "USD").await;
        let p = partition(&api, "p", &[]).await;
        for (path, body, field, code) in [
            (
                "/overrides",
                json!({ "partition_id": p, "reason": "r", "trunk_id": w.trunk, "customer_id": w.customer }),
                "customer_id",
                "contradicts",
            ),
            (
                "/overrides",
                json!({ "partition_id": p, "reason": "r", "code": "1", "class": "canada" }),
                "class",
                "contradicts",
            ),
            (
                "/overrides",
                json!({ "partition_id": p, "reason": "r", "ends_at": "2020-01-01T00:00:00Z" }),
                "ends_at",
                "contradicts",
            ),
            (
                "/overrides",
                json!({ "partition_id": "prt_00000000000000000000000001", "reason": "r" }),
                "partition_id",
                "no_such_object",
            ),
            (
                "/overrides",
                json!({ "partition_id": p, "reason": "r", "trunk_id": "trk_00000000000000000000000001" }),
                "trunk_id",
                "no_such_object",
            ),
            ("/overrides", json!({ "partition_id": p, "reason": "r", "hours": "8-18" }), "hours", "invalid"),
            (
                "/overrides",
                json!({ "partition_id": p, "reason": "r", "hours": "24:00-06:00" }),
                "hours",
                "invalid",
            ),
            ("/overrides", json!({ "partition_id": p, "reason": "r", "code": "0121" }), "code", "invalid"),
            (
                "/blocks",
                json!({ "reason": "r", "customer_id": "cus_00000000000000000000000001" }),
                "customer_id",
                "no_such_object",
            ),
            (
                "/blocks",
                json!({ "reason": "r", "starts_at": "2090-01-01T00:00:00Z", "ends_at": "2089-01-01T00:00:00Z" }),
                "ends_at",
                "contradicts",
            ),
            (
                "/exchange-rates",
                json!({ "currency": "EUR", "worth": { "amount": "1", "currency": "EUR" }, "reason": "r" }),
                "worth",
                "contradicts",
            ),
            (
                "/exchange-rates",
                json!({ "currency": "EUR", "worth": { "amount": "0", "currency": "USD" }, "reason": "r" }),
                "worth",
                "contradicts",
            ),
        ] {
            let r = api.op("POST", path, Some(body.clone())).await;
            let error = r.json()["error"].clone();
            assert_eq!((r.status, error["field"].as_str()), (422, Some(field)), "{body}: {}", r.body);
            assert_eq!(error["details"][0]["code"], code, "{body}: {}", r.body);
        }
        let rate = json!({ "currency": "EUR", "worth": { "amount": "1", "currency": "USD" }, "reason": "r" });
        assert_eq!(api.op("POST", "/exchange-rates", Some(rate.clone())).await.status, 201);
        let twice = api.op("POST", "/exchange-rates", Some(rate)).await;
        assert_eq!((twice.status, &twice.json()["error"]["details"][0]["field"]), (409, &json!("currency")));
    });
}

#[test]
fn an_exchange_rate_lets_a_vendor_of_another_currency_compete() {
    with_api(|api| async move {
        let w = world(&api, "EUR").await;
        let d = decided(&api, &w, "alpha alone", json!({}), |d| first(d) == "alpha").await;
        assert_eq!(
            (&d["excluded"][0]["reason"], &d["excluded"][0]["vendor_name"]),
            (&json!("currency"), &json!("beta"))
        );
        let rate = |amount: &str| json!({ "currency": "EUR", "worth": { "amount": amount, "currency": "USD" }, "reason": "r" });
        let made = api.op("POST", "/exchange-rates", Some(rate("0.5"))).await.data();
        // 0.005 euros are 0.0025 dollars.
        let d = decided(&api, &w, "beta first", json!({}), |d| first(d) == "beta").await;
        assert_eq!(
            (&d["candidates"][0]["exchange"], &d["candidates"][0]["buy"]["currency"]),
            (&json!("0.5"), &json!("EUR"))
        );
        assert_eq!(d["candidates"][0]["expected_margin"], "0.0225", "3 minutes: 0.03 less 0.0075");
        let one = format!("/exchange-rates/{}", made["id"].as_str().unwrap());
        api.op("PUT", &one, Some(rate("3"))).await.data();
        let d = decided(&api, &w, "beta too dear", json!({}), |d| first(d) == "alpha").await;
        let beta = d["excluded"].as_array().unwrap().iter().find(|e| e["vendor_name"] == "beta").unwrap();
        assert_eq!(beta["reason"], "margin", "{beta}");
    });
}

#[test]
fn how_a_contract_rounds_is_set_by_operators_and_decides_the_charge() {
    with_api(|api| async move {
        let w = world(&api, "USD").await;
        let path = format!("/trunks/{}", w.trunk);
        let own = format!("/api/v1{path}");
        let usual = api.call(&w.key, "GET", &own, None).await.data();
        assert_eq!(
            (&usual["rounding_mode"], &usual["rounding_places"]),
            (&json!("half_away_from_zero"), &json!(6))
        );
        let r = api.call(&w.key, "PATCH", &own, Some(json!({ "rounding_mode": "down" }))).await;
        assert_eq!(
            (r.status, &r.json()["error"]["details"][0]["field"]),
            (403, &json!("rounding_mode")),
            "{}",
            r.body
        );
        let cents = json!({ "rounding_mode": "up", "rounding_places": 2, "partial_second": "half_up" });
        api.op("PATCH", &path, Some(cents)).await.data();
        // A customer who replaces its trunk leaves it as it is.
        api.call(&w.key, "PUT", &own, Some(json!({ "name": "pbx" }))).await.data();
        let charge = |d: &Value| d["sell"]["expected_charge"].as_str().unwrap_or_default().to_owned();
        // 180 s at 0.01 are 0.03; at 0.015, when nobody knows who calls, 0.045, which is 0.05 in whole cents.
        let nobody = json!({ "from": null });
        decided(&api, &w, "cents", nobody.clone(), |d| charge(d) == "0.05").await;
        let line = json!({ "rounding_level": "line" });
        api.op("PATCH", &path, Some(line)).await.data();
        decided(&api, &w, "exact", nobody, |d| charge(d) == "0.045").await;
        let beta = format!("/vendors/{}", w.beta);
        let set =
            api.op("PATCH", &beta, Some(json!({ "rounding_places": 1, "rounding_mode": "up" }))).await.data();
        assert_eq!(set["rounding_places"], 1);
        let of_beta = |d: &Value| {
            let all = d["candidates"].as_array().cloned().unwrap_or_default();
            let beta = all.into_iter().find(|c| c["vendor_name"] == "beta");
            beta.and_then(|b| b["buy"]["expected_charge"].as_str().map(str::to_owned)).unwrap_or_default()
        };
        decided(&api, &w, "tenths", json!({}), |d| of_beta(d) == "0.1").await;
    });
}
