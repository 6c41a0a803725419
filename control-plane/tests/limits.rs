//! Each limit of a trunk has an owner; the lower of both counts, and a customer's key lifts nothing that the carrier has set.
mod common;

use common::{Api, eventually, with_api};
use serde_json::{Value, json};
use warp_control_plane::api::endpoint::Audience;
use warp_control_plane::api::openapi;
use warp_model::TrunkId;
use warp_policy::directory::Limits;

fn usd(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "USD" })
}

/// Limits that calls are decided by.
fn in_force(api: &Api, trunk: &str) -> Option<(bool, Limits, Vec<String>)> {
    let id: TrunkId = trunk.parse().unwrap();
    let s = api.control.app.publication.latest();
    let row = s.directory.trunk(s.directory.trunk_ix(id)?)?.clone();
    let classes = row.destinations.iter().map(|c| c.as_str().to_owned()).collect();
    Some((row.enabled, row.limits, classes))
}

#[test]
fn limits_set_by_the_carrier_cannot_be_lifted_with_a_customers_key() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let carrier = json!({ "name": "pbx", "channels": 10, "cps": 5, "max_rate_per_min": usd("0.05"),
            "daily_spend": usd("100"), "max_duration_s": 3600, "destinations": ["domestic", "toll_free"] });
        let made = api.op("POST", &format!("/customers/{customer}/trunks"), Some(carrier)).await.data();
        let id = made["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/trunks/{id}");
        // Lifting by PATCH, by null and by PUT: each is taken as the customer's own wish, and the carrier's limit stands.
        let lift = json!({ "channels": 1000, "cps": null, "max_rate_per_min": usd("9"), "daily_spend": null,
            "max_duration_s": 86400 });
        let lifted = api.call(&key, "PATCH", &path, Some(lift)).await.data();
        let replaced = api.call(&key, "PUT", &path, Some(json!({ "name": "pbx" }))).await.data();
        for trunk in [&lifted["limits"]["in_force"], &replaced["limits"]["in_force"]] {
            assert_eq!(
                (&trunk["channels"], &trunk["cps"], &trunk["max_duration_s"]),
                (&json!(10), &json!(5), &json!(3600)),
                "{trunk}"
            );
            assert_eq!((&trunk["max_rate_per_min"], &trunk["daily_spend"]), (&usd("0.05"), &usd("100")));
            assert_eq!(trunk["destinations"], json!(["domestic", "toll_free"]));
        }
        assert_eq!(lifted["limits"]["customer"]["channels"], 1000);
        assert_eq!(lifted["limits"]["carrier"]["channels"], 10);
        let wider = api.call(&key, "PATCH", &path, Some(json!({ "destinations": ["international"] }))).await;
        assert_eq!((wider.status, wider.code().as_str()), (403, "forbidden"));
        // What the customer sets lower counts, and the carrier sees both.
        let lower =
            json!({ "channels": 3, "cps": 50, "daily_spend": usd("7.5"), "destinations": ["domestic"] });
        let trunk = api.call(&key, "PATCH", &path, Some(lower)).await.data()["limits"]["in_force"].clone();
        assert_eq!((&trunk["channels"], &trunk["cps"]), (&json!(3), &json!(5)));
        assert_eq!((&trunk["daily_spend"], &trunk["destinations"]), (&usd("7.5"), &json!(["domestic"])));
        let seen = api.op("GET", &format!("/trunks/{id}"), None).await.data();
        assert_eq!(seen["limits"]["customer"]["cps"], 50);
        // The call path decides by the lower of both.
        let (_, limits, classes) = eventually("the lower limits", || async {
            in_force(&api, &id).filter(|(_, l, _)| l.channels == Some(3))
        })
        .await;
        assert_eq!((limits.cps, limits.max_duration_s), (Some(5), Some(3600)));
        assert_eq!(limits.daily_spend.map(|n| n.0), Some(7_500_000_000));
        assert_eq!(limits.max_rate_per_min.map(|n| n.0), Some(50_000_000));
        assert_eq!(classes, ["domestic"]);
        // The carrier's change of its own side leaves the customer's alone.
        let raised = api.op("PATCH", &format!("/trunks/{id}"), Some(json!({ "channels": 2 }))).await.data();
        assert_eq!((&raised["channels"], &raised["limits"]["customer"]["channels"]), (&json!(2), &json!(3)));
        assert_eq!(raised["limits"]["in_force"]["channels"], 2);
    });
}

/// What one side reads is what it has set: sent back whole, it turns no limit of the other side into its own.
#[test]
fn put_of_what_was_read_changes_nothing_for_either_side() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let carrier = json!({ "name": "pbx", "channels": 10, "max_rate_per_min": usd("0.05"), "max_duration_s": 3600,
            "destinations": ["domestic", "toll_free", "canada"] });
        let made = api.op("POST", &format!("/customers/{customer}/trunks"), Some(carrier)).await.data();
        let id = made["id"].as_str().unwrap();
        let (mine, theirs) = (format!("/api/v1/trunks/{id}"), format!("/api/v1/admin/trunks/{id}"));
        let own = json!({ "channels": 3, "cps": 2, "daily_spend": usd("7.5"), "max_duration_s": 60, "status": "disabled",
            "destinations": ["domestic"], "require_valid_caller": true });
        assert_eq!(api.call(&key, "PATCH", &mine, Some(own)).await.status, 200);
        let document = openapi::document(&api.control.app.endpoints, Audience::Customer);
        let fields =
            document["components"]["schemas"]["TrunkInput"]["properties"].as_object().unwrap().clone();
        for (key, path) in [(&api.operator, &theirs), (&key, &mine)] {
            let before = api.call(key, "GET", path, None).await.data();
            let mut whole = before.clone();
            whole.as_object_mut().unwrap().retain(|name, _| fields.contains_key(name));
            let after = api.call(key, "PUT", path, Some(whole)).await.data();
            assert_eq!(after["version"].as_i64(), before["version"].as_i64().map(|v| v + 1));
            for field in fields.keys().chain([&"limits".to_owned()]) {
                assert_eq!(after[field], before[field], "{path}: {field}");
            }
        }
        let seen = api.call(&api.operator, "GET", &theirs, None).await.data();
        assert_eq!(
            (&seen["channels"], &seen["cps"], &seen["status"]),
            (&json!(10), &Value::Null, &json!("active"))
        );
        assert_eq!(seen["limits"]["in_force"]["channels"], 3);
    });
}

#[test]
fn a_trunk_that_the_carrier_has_disabled_is_not_enabled_with_a_customers_key() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "pbx" }))).await.data();
        let id = trunk["id"].as_str().unwrap().to_owned();
        let off = json!({ "status": "disabled", "require_valid_caller": true });
        assert_eq!(api.op("PATCH", &format!("/trunks/{id}"), Some(off)).await.status, 200);
        let on = json!({ "status": "active", "require_valid_caller": false });
        let tried = api.call(&key, "PATCH", &format!("/api/v1/trunks/{id}"), Some(on)).await.data();
        let tried = &tried["limits"]["in_force"];
        assert_eq!((&tried["status"], &tried["require_valid_caller"]), (&json!("disabled"), &json!(true)));
        eventually("the trunk disabled", || async { in_force(&api, &id).filter(|(on, _, _)| !on) }).await;
        // The other way round: the customer's own word holds against the carrier's "active" too.
        assert_eq!(
            api.op("PATCH", &format!("/trunks/{id}"), Some(json!({ "status": "active" }))).await.status,
            200
        );
        let own = json!({ "status": "disabled" });
        let said = api.call(&key, "PATCH", &format!("/api/v1/trunks/{id}"), Some(own)).await.data();
        assert_eq!(said["status"], "disabled");
        let seen = api.op("GET", &format!("/trunks/{id}"), None).await.data();
        assert_eq!(
            (&seen["limits"]["in_force"]["status"], &seen["limits"]["carrier"]["status"], &seen["status"]),
            (&json!("disabled"), &json!("active"), &json!("active"))
        );
    });
}

#[test]
fn a_new_trunk_lifts_nothing_and_a_held_one_is_not_deleted_to_make_room() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Acme").await;
        let carrier = json!({ "name": "held", "channels": 4, "max_rate_per_min": usd("0.02"), "destinations": ["domestic"] });
        let held = api.op("POST", &format!("/customers/{customer}/trunks"), Some(carrier)).await.data();
        let held = format!("/api/v1/trunks/{}", held["id"].as_str().unwrap());
        let refused = api.call(&key, "DELETE", &held, None).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
        let second = api
            .call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "new", "channels": 500 })))
            .await
            .data();
        let counts = &second["limits"]["in_force"];
        assert_eq!((&counts["channels"], &counts["max_rate_per_min"]), (&json!(4), &usd("0.02")));
        assert_eq!(counts["destinations"], json!(["domestic"]));
        // Now another trunk is held as tightly: one of them may go, the last may not.
        assert_eq!(api.call(&key, "DELETE", &held, None).await.status, 200);
        let second = format!("/api/v1/trunks/{}", second["id"].as_str().unwrap());
        assert_eq!(api.call(&key, "DELETE", &second, None).await.status, 403);
        // Nor does a new trunk carry calls in the place of one that the carrier has disabled.
        let (stopped, stopped_key) = api.customer("Stopped").await;
        let off = json!({ "name": "off", "status": "disabled" });
        assert_eq!(api.op("POST", &format!("/customers/{stopped}/trunks"), Some(off)).await.status, 201);
        let new =
            api.call(&stopped_key, "POST", "/api/v1/trunks", Some(json!({ "name": "new" }))).await.data();
        assert_eq!(new["limits"]["in_force"]["status"], "disabled");
        let new = format!("/api/v1/trunks/{}", new["id"].as_str().unwrap());
        let on = api.call(&stopped_key, "PATCH", &new, Some(json!({ "status": "active" }))).await;
        assert_eq!(on.data()["limits"]["in_force"]["status"], "disabled");
        // A trunk without limits of the carrier is the customer's to delete.
        let (_, free) = api.customer("Other").await;
        let trunk = api
            .call(&free, "POST", "/api/v1/trunks", Some(json!({ "name": "t", "channels": 1 })))
            .await
            .data();
        let trunk = format!("/api/v1/trunks/{}", trunk["id"].as_str().unwrap());
        assert_eq!(api.call(&free, "DELETE", &trunk, None).await.status, 200);
    });
}
