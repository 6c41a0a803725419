//! A change publishes the sections that it touches, and those once.
mod common;

use std::sync::Arc;

use common::{Api, eventually, with_api};
use serde_json::{Value, json};
use warp_control_plane::publish::archive;
use warp_control_plane::store::Scope;
use warp_control_plane::store::published::page_of;

/// Sections of the publications since `seen`, oldest first.
fn since(api: &Api, seen: usize) -> Vec<Vec<String>> {
    let all = api.control.app.publication.touched();
    let new = all.len() - seen;
    all.iter().take(new).rev().map(|s| s.iter().map(ToString::to_string).collect()).collect()
}

/// Makes a change by the API; gives what the one publication that it caused has read again.
async fn touched(api: &Arc<Api>, what: &str, method: &str, path: &str, body: Option<Value>) -> Vec<String> {
    let before = api.control.app.publication.touched().len();
    let r = api.op(method, path, body).await;
    assert!(r.status < 300, "{what}: {} {}", r.status, r.body);
    eventually(what, || async { (api.control.app.publication.touched().len() > before).then_some(()) }).await;
    // Whatever else was heard of this change has been worked on when this returns.
    api.control.app.publish_now().await.unwrap();
    let mut new = since(api, before);
    assert_eq!(new.len(), 1, "{what} was published {} times: {new:?}", new.len());
    new.pop().unwrap()
}

#[test]
fn each_nouns_change_reads_its_own_section_again_and_is_published_once() {
    with_api(|api| async move {
        let (customer, _) = api.customer("Acme").await;
        let (other, _) = api.customer("Other").await;
        api.control.app.publish_now().await.unwrap();
        let page = vec![format!("customers/{}", page_of(&customer))];
        let trunk = api
            .op("POST", &format!("/customers/{customer}/trunks"), Some(json!({ "name": "t" })))
            .await
            .data();
        let id = trunk["id"].as_str().unwrap().to_owned();
        api.control.app.publish_now().await.unwrap();
        let channels = Some(json!({ "channels": 7 }));
        assert_eq!(touched(&api, "a trunk", "PATCH", &format!("/trunks/{id}"), channels.clone()).await, page);
        assert_eq!(
            touched(&api, "a customer", "PATCH", &format!("/customers/{customer}"), channels).await,
            page
        );
        let user = Some(json!({ "username": "u", "password": "correct horse battery" }));
        assert_eq!(touched(&api, "a user", "POST", &format!("/trunks/{id}/credentials"), user).await, page);
        let ip = Some(json!({ "address": "192.0.2.7" }));
        assert_eq!(
            touched(&api, "an address", "POST", &format!("/trunks/{id}/ips"), ip).await,
            ["addresses"]
        );
        let vendor = Some(json!({ "slug": "v", "name": "V" }));
        assert_eq!(touched(&api, "a vendor", "POST", "/vendors", vendor).await, ["vendors"]);
        let vid = api.op("GET", "/vendors", None).await.data()[0]["id"].as_str().unwrap().to_owned();
        let body = Some(json!({ "name": "t", "addresses": ["127.0.0.1:5080"] }));
        assert_eq!(
            touched(&api, "a vendor trunk", "POST", &format!("/vendors/{vid}/trunks"), body).await,
            ["vendors"]
        );
        let body = Some(json!({ "vendor_id": vid, "kind": "permanent", "reason": "r" }));
        assert_eq!(touched(&api, "an exclusion", "POST", "/exclusions", body).await, ["vendors"]);
        let vtk = api.op("GET", "/vendor-trunks", None).await.data()[0]["id"].clone();
        let body = Some(json!({ "vendor_trunk_ids": [vtk] }));
        assert_eq!(touched(&api, "the emergency route", "PUT", "/emergency-route", body).await, ["vendors"]);
        let body = Some(json!({ "name": "p", "vendors": [{ "vendor_id": vid }] }));
        assert_eq!(touched(&api, "a partition", "POST", "/partitions", body).await, ["partitions"]);
        let partition = api.op("GET", "/partitions", None).await.data()[0]["id"].clone();
        let body = Some(json!({ "partition_id": partition, "reason": "r" }));
        assert_eq!(touched(&api, "an override", "POST", "/overrides", body).await, ["rules"]);
        let body = Some(json!({ "code": "2524", "reason": "r" }));
        assert_eq!(touched(&api, "a block", "POST", "/blocks", body).await, ["rules"]);
        let worth = json!({ "amount": "1.0842", "currency": "USD" });
        let body = Some(json!({ "currency": "EUR", "worth": worth, "reason": "r" }));
        assert_eq!(touched(&api, "an exchange rate", "POST", "/exchange-rates", body).await, ["rules"]);
        // A partition's new name reaches the trunks that use it, although their page is not read again.
        let partition = api.op("GET", "/partitions", None).await.data()[0]["id"].as_str().unwrap().to_owned();
        let body = Some(json!({ "partition_id": partition }));
        assert_eq!(touched(&api, "its use", "PATCH", &format!("/trunks/{id}"), body).await, page);
        let body = Some(json!({ "name": "renamed" }));
        assert_eq!(
            touched(&api, "its name", "PATCH", &format!("/partitions/{partition}"), body).await,
            ["partitions"]
        );
        let latest = api.control.app.publication.latest();
        let row = latest.directory.trunk(latest.directory.trunk_ix(id.parse().unwrap()).unwrap()).unwrap();
        assert_eq!((row.partition.as_str(), row.acl.len(), row.digest.len()), ("renamed", 1, 1));
        assert_eq!(touched(&api, "a trunk's end", "DELETE", &format!("/trunks/{id}"), None).await.len(), 2);
        // What calls do not depend on publishes nothing.
        let before = api.control.app.publication.touched().len();
        assert_eq!(
            api.op("POST", &format!("/customers/{other}/bans"), Some(json!({ "name": "b" }))).await.status,
            201
        );
        assert_eq!(api.op("POST", "/keys", Some(json!({ "name": "k" }))).await.status, 201);
        api.control.app.publish_now().await.unwrap();
        assert_eq!(since(&api, before), Vec::<Vec<String>>::new());
    });
}

/// A kept snapshot is its sections: a change adds those that it touched, and the whole comes out of them again.
#[test]
fn a_change_keeps_its_sections_only_and_each_snapshot_comes_out_again() {
    with_api(|api| async move {
        let count = async || {
            use sqlx::Row;
            let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
            let row = sqlx::query("SELECT count(*) FROM snapshot_sections").fetch_one(tx.db()).await.unwrap();
            row.get::<i64, _>(0)
        };
        let mut customers = Vec::new();
        for n in 0..12 {
            let (id, _) = api.customer(&format!("c{n}")).await;
            let trunk =
                api.op("POST", &format!("/customers/{id}/trunks"), Some(json!({ "name": "t" }))).await.data();
            let trunk = trunk["id"].as_str().unwrap().to_owned();
            let ip = json!({ "address": format!("192.0.2.{n}") });
            assert_eq!(api.op("POST", &format!("/trunks/{trunk}/ips"), Some(ip)).await.status, 201);
            customers.push(id);
        }
        api.control.app.publish_now().await.unwrap();
        let (before, first) = (count().await, api.control.app.publication.latest());
        let path = format!("/customers/{}", customers[3]);
        assert_eq!(api.op("PATCH", &path, Some(json!({ "channels": 5 }))).await.status, 200);
        api.control.app.publish_now().await.unwrap();
        let second = api.control.app.publication.latest();
        assert_ne!(first.id, second.id);
        assert_eq!(count().await - before, 1, "one customer's page is new");
        for snapshot in [first, second] {
            let again = archive::load(&api.control.app.store, snapshot.id).await.unwrap().expect("kept");
            assert_eq!(again.id, snapshot.id);
            assert_eq!(again.directory.rows(), snapshot.directory.rows());
        }
    });
}
