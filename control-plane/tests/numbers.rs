//! Numbers: whose they are, where their calls go, and what a change of one publishes.
mod common;

use common::{Api, event_log, record, with_api};
use serde_json::{Value, json};
use warp_control_plane::billing::consumer::{Consumer, Step};
use warp_control_plane::publish::archive;
use warp_events::TOPIC_CDR_VOICE;
use warp_model::CallId;

async fn trunk(api: &Api, key: &str) -> String {
    let made = api.call(key, "POST", "/api/v1/trunks", Some(json!({ "name": "pbx" }))).await.data();
    made["id"].as_str().unwrap().to_owned()
}

async fn number(api: &Api, number: &str, customer: Option<&str>) -> String {
    let made = api.op("POST", "/numbers", Some(json!({ "number": number, "customer_id": customer }))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.data()["id"].as_str().unwrap().to_owned()
}

/// T-API-04: what is another's does not exist, and no number leads to another's trunk.
#[test]
fn t_api_04_a_number_is_its_customers_and_leads_to_that_customers_trunks_only() {
    with_api(|api| async move {
        let ((mine, key), (_, other)) = (api.customer("Mine").await, api.customer("Other").await);
        let (own_trunk, foreign_trunk) = (trunk(&api, &key).await, trunk(&api, &other).await);
        let id = number(&api, "(415) 555-0199", Some(&mine)).await;
        let stock = number(&api, "+14155550198", None).await;
        let path = format!("/api/v1/numbers/{id}");
        let targets = |trunk: &str| Some(json!({ "targets": [{ "trunk_id": trunk, "weight": 3 }] }));
        for (method, body) in
            [("GET", None), ("PATCH", targets(&foreign_trunk)), ("PUT", targets(&foreign_trunk))]
        {
            let there = api.call(&other, method, &path, body.clone()).await;
            let nowhere =
                api.call(&other, method, "/api/v1/numbers/num_06f7jv8c1gdyzv3n1v8d5h2k4m", body).await;
            assert_eq!((there.status, &there.json()["error"]), (404, &nowhere.json()["error"]), "{method}");
        }
        // The inventory is the carrier's.
        assert_eq!(api.call(&key, "GET", &format!("/api/v1/numbers/{stock}"), None).await.status, 404);
        for (key, seen) in [(&key, vec![id.clone()]), (&other, vec![])] {
            let list = api.call(key, "GET", "/api/v1/numbers", None).await.data();
            let ids: Vec<&str> = list.as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap()).collect();
            assert_eq!(ids, seen);
        }
        for (method, path) in [
            ("POST", "/api/v1/admin/numbers".to_owned()),
            ("POST", format!("/api/v1/admin/numbers/{id}/release")),
            ("DELETE", format!("/api/v1/admin/numbers/{id}")),
        ] {
            assert_eq!(api.call(&key, method, &path, None).await.status, 403, "{method} {path}");
        }
        let foreign = api.call(&key, "PATCH", &path, targets(&foreign_trunk)).await;
        let detail = foreign.json()["error"]["details"][0].clone();
        assert_eq!(
            (foreign.status, &detail["field"]),
            (422, &json!("targets[0].trunk_id")),
            "{}",
            foreign.body
        );
        // The carrier sees both trunks, and leads no number to another customer's either.
        let carrier = api.op("PATCH", &format!("/numbers/{id}"), targets(&foreign_trunk)).await;
        assert_eq!(
            (carrier.status, &carrier.json()["error"]["details"][0]),
            (422, &detail),
            "{}",
            carrier.body
        );
        let own = api.call(&key, "PATCH", &path, targets(&own_trunk)).await.data();
        assert_eq!(
            own["targets"],
            json!([{ "trunk_id": own_trunk, "username": null, "priority": 0, "weight": 3 }])
        );
        // A trunk that calls go to is not deleted under them, and another's inbound addresses are not to be seen.
        let gone = api.call(&key, "DELETE", &format!("/api/v1/trunks/{own_trunk}"), None).await;
        assert_eq!((gone.status, gone.code().as_str()), (409, "in_use"), "{}", gone.body);
        let inbound = format!("/api/v1/trunks/{foreign_trunk}/inbound");
        assert_eq!(api.call(&key, "GET", &inbound, None).await.status, 404);
        let takes = Some(json!({ "addresses": ["192.0.2.9:5060"] }));
        assert_eq!(api.call(&key, "PUT", &inbound, takes).await.status, 404);
    });
}

#[test]
fn a_number_is_assigned_once_ages_after_its_release_and_is_there_once() {
    with_api(|api| async move {
        let ((mine, key), (theirs, _)) = (api.customer("Mine").await, api.customer("Other").await);
        let id = number(&api, "+14155550199", None).await;
        let twice = api.op("POST", "/numbers", Some(json!({ "number": "4155550199" }))).await;
        assert_eq!(
            (twice.status, &twice.json()["error"]["field"]),
            (422, &json!("number")),
            "{}",
            twice.body
        );
        let act = async |what: &str, body: Value| {
            api.op("POST", &format!("/numbers/{id}/{what}"), Some(body)).await
        };
        let to = |customer: &str| json!({ "customer_id": customer });
        let release = async || api.op("POST", &format!("/numbers/{id}/release"), None).await;
        assert_eq!(release().await.status, 409, "nobody has it");
        let assigned = act("assign", to(&mine)).await.data();
        assert_eq!((&assigned["state"], &assigned["customer_id"]), (&json!("assigned"), &json!(mine)));
        assert_eq!(act("assign", to(&theirs)).await.status, 409, "somebody has it");
        assert_eq!(api.op("DELETE", &format!("/numbers/{id}"), None).await.status, 409);
        let named = json!({ "cnam": "ACME", "e911_address": "1 Main St, San Francisco CA 94105" });
        let seen = api.call(&key, "PATCH", &format!("/api/v1/numbers/{id}"), Some(named)).await.data();
        assert_eq!(seen["cnam"], "ACME");
        let released = release().await.data();
        assert_eq!((&released["state"], &released["cnam"]), (&json!("ageing"), &Value::Null));
        assert!(released["released_at"].is_string() && released["e911_address"].is_null(), "{released}");
        assert_eq!(act("assign", to(&theirs)).await.status, 409, "it ages");
        // As if it had been long ago.
        let store = &api.control.app.store;
        let mut tx = store.begin(warp_control_plane::store::Scope::Operator("test")).await.unwrap();
        tx.run(sqlx::query("UPDATE numbers SET released_at = now() - interval '91 days'")).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(act("assign", to(&theirs)).await.data()["state"], "assigned");
        for wrong in [json!({ "cnam": "sixteen letters!" }), json!({ "e911_address": "x".repeat(201) })] {
            assert_eq!(api.op("PATCH", &format!("/numbers/{id}"), Some(wrong)).await.status, 422);
        }
    });
}

/// The ageing is the number's, not its row's: deleted and made again it goes on, also when both come at the same moment.
#[test]
fn a_number_ages_on_when_it_is_deleted_and_made_again() {
    with_api(|api| async move {
        let ((mine, _), (theirs, _)) = (api.customer("Mine").await, api.customer("Other").await);
        let text = "+14155550199";
        let made = async |customer: Option<&str>| {
            api.op("POST", "/numbers", Some(json!({ "number": text, "customer_id": customer }))).await
        };
        let id = number(&api, text, Some(&mine)).await;
        let released = api.op("POST", &format!("/numbers/{id}/release"), None).await.data();
        assert_eq!(api.op("DELETE", &format!("/numbers/{id}"), None).await.status, 200);
        // Not even to who had it: as it was with the row.
        for customer in [&theirs, &mine] {
            let refused = made(Some(customer)).await;
            assert_eq!((refused.status, refused.code().as_str()), (409, "in_use"), "{}", refused.body);
        }
        let again = made(None).await.data();
        assert_eq!((&again["state"], &again["released_at"]), (&json!("ageing"), &released["released_at"]));
        let id = again["id"].as_str().unwrap().to_owned();
        let assign = async |id: &str| {
            let to = json!({ "customer_id": theirs });
            api.op("POST", &format!("/numbers/{id}/assign"), Some(to)).await
        };
        assert_eq!(assign(&id).await.status, 409, "it ages");
        // A second time, and by two who do it at once: whoever makes it waits for the one who deletes it.
        let store = &api.control.app.store;
        let mut tx = store.begin(warp_control_plane::store::Scope::Operator("test")).await.unwrap();
        tx.run(sqlx::query("DELETE FROM numbers")).await.unwrap();
        let (other, ()) = tokio::join!(made(None), async {
            let waits = "SELECT pid::text AS id FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO numbers%'";
            // Each look in a transaction of its own: within one nothing changes.
            loop {
                let mut looks =
                    store.begin(warp_control_plane::store::Scope::Operator("test")).await.unwrap();
                if tx_rows(&mut looks, waits).await > 0 {
                    break;
                }
                tokio::task::yield_now().await;
            }
            tx.commit().await.unwrap();
        });
        assert_eq!(other.data()["state"], "ageing", "{}", other.body);
        let id = other.data()["id"].as_str().unwrap().to_owned();
        // Long ago: then it is as any other, and nothing is kept of it.
        let mut tx = store.begin(warp_control_plane::store::Scope::Operator("test")).await.unwrap();
        tx.run(sqlx::query("UPDATE numbers SET released_at = now() - interval '91 days'")).await.unwrap();
        tx.run(sqlx::query("UPDATE released_numbers SET released_at = now() - interval '91 days'"))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(api.op("DELETE", &format!("/numbers/{id}"), None).await.status, 200);
        let mut tx = store.begin(warp_control_plane::store::Scope::Operator("test")).await.unwrap();
        assert_eq!(tx_rows(&mut tx, "SELECT number FROM released_numbers").await, 0);
        assert_eq!(made(Some(&theirs)).await.data()["state"], "assigned");
    });
}

/// Rows of a query.
async fn tx_rows(tx: &mut warp_control_plane::store::Tx, query: &'static str) -> usize {
    sqlx::query(query).fetch_all(tx.db()).await.unwrap().len()
}

/// A change of a number publishes its page; a network belongs to one vendor trunk; a kept snapshot comes out with its numbers.
#[test]
fn a_change_of_a_number_publishes_its_page_alone_and_a_network_is_one_vendor_trunks() {
    with_api(|api| async move {
        let (mine, key) = api.customer("Mine").await;
        let own = trunk(&api, &key).await;
        let id = number(&api, "+14155550199", Some(&mine)).await;
        number(&api, "+14155550200", Some(&mine)).await;
        let publish = async || {
            api.control.app.publish_now().await.unwrap();
            let touched = api.control.app.publication.touched();
            touched.first().map(|s| s.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap_or_default()
        };
        publish().await;
        let targets = json!({ "targets": [{ "trunk_id": own }] });
        assert_eq!(api.op("PATCH", &format!("/numbers/{id}"), Some(targets)).await.status, 200);
        assert_eq!(publish().await, [format!("numbers/{}", 14_155_550_199_u64 % 64)]);
        let takes = json!({ "addresses": ["192.0.2.9:5060"], "number_format": "national" });
        assert_eq!(api.op("PUT", &format!("/trunks/{own}/inbound"), Some(takes.clone())).await.status, 200);
        assert_eq!(publish().await, ["inbound"]);
        let latest = api.control.app.publication.latest();
        assert_eq!(latest.numbers.len(), 2);
        let row = latest.directory.trunk(latest.directory.trunk_ix(own.parse().unwrap()).unwrap()).unwrap();
        assert_eq!(row.deliver.addresses, ["192.0.2.9:5060".parse().unwrap()]);
        let again = archive::load(&api.control.app.store, latest.id).await.unwrap().expect("kept");
        assert_eq!((again.id, &*again.numbers), (latest.id, &*latest.numbers));
        let vendor = api.op("POST", "/vendors", Some(json!({ "slug": "v", "name": "V" }))).await.data();
        let mut ids = Vec::new();
        for (name, at) in [("a", "192.0.2.20:5060"), ("b", "192.0.2.21:5060")] {
            let path = format!("/vendors/{}/trunks", vendor["id"].as_str().unwrap());
            let made = api.op("POST", &path, Some(json!({ "name": name, "addresses": [at] }))).await.data();
            ids.push(made["id"].as_str().unwrap().to_owned());
        }
        let networks = Some(json!({ "networks": ["198.51.100.0/28"] }));
        let set = async |n: usize| {
            api.op("PUT", &format!("/vendor-trunks/{}/inbound", ids[n]), networks.clone()).await
        };
        assert_eq!(set(0).await.status, 200);
        let taken = set(1).await;
        assert_eq!(
            (taken.status, &taken.json()["error"]["field"]),
            (422, &json!("networks")),
            "{}",
            taken.body
        );
        publish().await;
        let latest = api.control.app.publication.latest();
        let found = latest.directory.inbound_trunk("198.51.100.7".parse().unwrap()).unwrap();
        assert_eq!(latest.directory.vendor_trunk(found).unwrap().id.to_string(), ids[0]);
    });
}

/// RFC 3325 §7: the customer is outside of the circle that may know who called. Neither a list, nor a record with its decision, nor a filter
/// tells it; the carrier sees it. What the customer itself dials it goes on reading.
#[test]
fn t_sip_03_who_asks_for_privacy_is_not_named_to_the_customer_in_any_answer() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let own = trunk(&api, &key).await;
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let ids: Vec<String> = (1..=3).map(|n| CallId::from_u128(n).to_string()).collect();
        for (id, direction, private) in
            [(&ids[0], "inbound", true), (&ids[1], "inbound", false), (&ids[2], "outbound", true)]
        {
            let mut call = record(id, &customer, &own);
            (call["direction"], call["private"]) = (json!(direction), json!(private));
            call["rating"]["sell"]["prefix"] = json!("1202555");
            call["decision"] = json!({ "direction": "inbound", "caller": "+12025550100", "caller_class": "valid", "orig_state": "DC",
                "inputs": { "caller": "+12025550100", "called": "4155550123" }, "sell": { "prefix": "1202555" } });
            topic.append_durable(id.as_bytes(), call.to_string().as_bytes()).unwrap();
        }
        let app = &api.control.app;
        let mut consumer = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        while consumer.step().await.unwrap() != Step::Idle {}
        let found = async |key: &str, query: &str| {
            let path = if key == api.operator { "/api/v1/admin/calls" } else { "/api/v1/calls" };
            let r = api.call(key, "GET", &format!("{path}{query}"), None).await;
            assert_eq!(r.status, 200, "{}", r.body);
            r.data()
        };
        let told =
            |call: &Value| call.to_string().contains("2025550100") || call.to_string().contains("1202555");
        let expanded = "?expand=legs,rating,route&sort=setup_at";
        for (who, named) in [(&key, [false, true, true]), (&api.operator, [true; 3])] {
            let list = found(who, expanded).await;
            let list = list.as_array().unwrap();
            assert_eq!(list.iter().map(told).collect::<Vec<_>>(), named, "{list:#?}");
            for (id, named) in ids.iter().zip(named) {
                assert_eq!(told(&found(who, &format!("/{id}")).await), named, "{id}");
            }
            // Nor is it found out by asking for a number.
            let asked = found(who, "?caller=%2B12025550100").await;
            assert_eq!(asked.as_array().unwrap().len(), named.iter().filter(|n| **n).count());
        }
        let hidden = found(&key, &format!("/{}", ids[0])).await;
        assert_eq!(
            (&hidden["caller"], &hidden["record"]["caller"]),
            (&json!("anonymous"), &json!("anonymous"))
        );
        assert_eq!((&hidden["caller_e164"], &hidden["record"]["private"]), (&Value::Null, &json!(true)));
    });
}
