//! From a change in the API to the snapshot that calls are decided from, and back from a decision to its snapshot.
mod common;

use std::net::IpAddr;
use std::sync::Arc;

use common::{Api, eventually, with_api};
use serde_json::{Value, json};
use warp_control_plane::publish::archive;
use warp_control_plane::store::Scope;
use warp_policy::directory::{
    DiversionForm, HeaderRule, HeaderTerms, IdentityForm, NumberFormat, ReasonForm,
};
use warp_policy::{CallInput, Live, Snapshot, decide, explain, replay};

/// Ids of a small world: one customer with a trunk at 192.0.2.7, two vendors.
struct World {
    trunk: String,
    key: String,
    cheap: String,
}

async fn deck(api: &Api, name: &str, rows: &str) -> String {
    let deck = api.op("POST", "/rate-decks", Some(json!({ "name": name, "kind": "us" }))).await.data();
    let id = deck["id"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {}", api.operator);
    let path = format!("/api/v1/admin/rate-decks/{id}/versions?activate=true");
    let csv = format!("NPANXX,Interstate,Intrastate,Indeterminate\n{rows}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/csv")];
    assert_eq!(api.send("POST", &path, &headers, csv.as_bytes()).await.status, 201);
    id
}

async fn world(api: &Api) -> World {
    let sell = deck(api, "sell", "415,0.01,0.012,0.015\n212,0.01,0.012,0.015\n").await;
    let mut vendors = Vec::new();
    for (slug, rate, port) in [("alpha", "0.004", 5080), ("beta", "0.006", 5081)] {
        let buy = deck(api, slug, &format!("415,{rate},{rate},{rate}\n")).await;
        let body = json!({ "slug": slug, "name": slug, "buy_deck_ids": [buy] });
        let id = api.op("POST", "/vendors", Some(body)).await.data()["id"].as_str().unwrap().to_owned();
        let body = json!({ "name": "t1", "addresses": [format!("127.0.0.1:{port}")], "auth_username": "u", "auth_password": "vendor-secret" });
        assert_eq!(api.op("POST", &format!("/vendors/{id}/trunks"), Some(body)).await.status, 201);
        vendors.push(id);
    }
    let body = json!({ "name": "economy", "vendors": vendors.iter().map(|v| json!({ "vendor_id": v })).collect::<Vec<_>>() });
    let partition = api.op("POST", "/partitions", Some(body)).await.data();
    let (customer, key) = api.customer("Acme").await;
    let body = json!({ "sell_deck_ids": [sell], "partition_id": partition["id"] });
    assert_eq!(api.op("PATCH", &format!("/customers/{customer}"), Some(body)).await.status, 200);
    let body = json!({ "name": "pbx", "channels": 10 });
    let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(body)).await.data();
    let trunk = trunk["id"].as_str().unwrap().to_owned();
    let ip = json!({ "address": "192.0.2.7" });
    assert_eq!(api.call(&key, "POST", &format!("/api/v1/trunks/{trunk}/ips"), Some(ip)).await.status, 201);
    World { trunk, key, cheap: vendors.swap_remove(0) }
}

fn latest(api: &Api) -> Arc<Snapshot> {
    api.control.app.publication.latest()
}

/// Waits for a snapshot of which this holds.
async fn live(api: &Api, what: &str, holds: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    eventually(what, || async { Some(latest(api)).filter(|s| holds(s)) }).await
}

fn caller_ip() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

#[test]
fn a_change_is_live_in_a_new_snapshot_and_the_index_is_shared() {
    with_api(|api| async move {
        let w = world(&api).await;
        let before =
            live(&api, "the trunk's address", |s| s.directory.trunk_by_ip(caller_ip()).is_some()).await;
        assert!(!before.lcr.is_empty());
        let path = format!("/api/v1/trunks/{}", w.trunk);
        assert_eq!(api.call(&w.key, "PATCH", &path, Some(json!({ "channels": 3 }))).await.status, 200);
        let channels = |s: &Snapshot| {
            let ix = s.directory.trunk_by_ip(caller_ip())?;
            s.directory.trunk(ix)?.limits.channels
        };
        let after = live(&api, "the new limit", |s| channels(s) == Some(3)).await;
        assert_eq!(channels(&before), Some(10), "a call in the air keeps its snapshot");
        assert!(Arc::ptr_eq(&before.lcr, &after.lcr), "the prefix index was built again for a trunk's limit");
        assert_ne!(before.id, after.id);
        let user = json!({ "username": "pbx1", "password": "correct horse battery" });
        api.call(&w.key, "POST", &format!("{path}/credentials"), Some(user)).await.data();
        let s = live(&api, "the digest user", |s| s.directory.digest_user("pbx1").is_some()).await;
        let (_, ha1) = s.directory.digest_user("pbx1").unwrap();
        let (md5, sha256) = warp_control_plane::app::trunks::ha1("pbx1", "warp", "correct horse battery");
        assert_eq!((ha1.realm.as_str(), ha1.md5.as_ref().unwrap().reveal()), ("warp", &md5));
        assert_eq!(ha1.sha256.as_ref().unwrap().reveal(), &sha256);
        assert_eq!(api.call(&w.key, "DELETE", &path, None).await.status, 200);
        live(&api, "the trunk gone", |s| s.directory.trunk_by_ip(caller_ip()).is_none()).await;
    });
}

#[test]
fn the_route_tester_decides_as_the_call_path_and_shows_customers_less() {
    with_api(|api| async move {
        let w = world(&api).await;
        let decks = api.op("GET", "/rate-decks", None).await.data();
        let sell = decks.as_array().unwrap().iter().find(|d| d["name"] == "sell").unwrap()["id"].clone();
        let line = format!("warp_lcr_routes_loaded{{deck=\"{}\"}} 2\n", sell.as_str().unwrap());
        live(&api, "the sell deck's rows", |_| api.control.registry().render().contains(&line)).await;
        live(&api, "the trunk's address", |s| s.directory.trunk_by_ip(caller_ip()).is_some()).await;
        let body = json!({ "trunk_id": w.trunk, "to": "+1 (415) 555-0123", "from": "+12125550100" });
        let full = api.op("POST", "/route", Some(body.clone())).await.data();
        let decision = &full["decision"];
        assert_eq!(decision["candidates"][0]["vendor"], w.cheap.as_str(), "{decision}");
        assert_eq!(decision["jurisdiction"], "interstate");
        assert_eq!(decision["sell"]["rate_per_min"], "0.01");
        let own = api.call(&w.key, "POST", "/api/v1/route", Some(body.clone())).await;
        let shown = own.data();
        assert_eq!(
            shown["decision"]["candidates"],
            json!([{ "rank": 1, "jurisdiction": "interstate" }, { "rank": 2, "jurisdiction": "interstate" }])
        );
        assert_eq!(shown["decision"]["sell"]["rate_per_min"], "0.01");
        for hidden in ["alpha", "0.004", w.cheap.as_str(), "economy"] {
            assert!(!own.body.contains(hidden), "a customer sees {hidden}: {}", own.body);
        }
        let (_, stranger) = api.customer("Other").await;
        assert_eq!(api.call(&stranger, "POST", "/api/v1/route", Some(body)).await.status, 404);
        let excluded = json!({ "vendor_id": w.cheap, "kind": "temporary", "reason": "maintenance", "ends_at": "2099-01-01T00:00:00Z" });
        assert_eq!(api.op("POST", "/exclusions", Some(excluded)).await.status, 201);
        let again = json!({ "trunk_id": w.trunk, "to": "4155550123" });
        let moved = eventually("the other vendor first", || async {
            let d = api.op("POST", "/route", Some(again.clone())).await.data()["decision"].clone();
            (d["candidates"][0]["vendor_name"] == "beta").then_some(d)
        });
        assert_eq!(moved.await["excluded"][0]["reason"], "blocked");
    });
}

#[test]
fn the_decision_of_a_call_can_be_repeated_from_its_snapshot_id() {
    with_api(|api| async move {
        let w = world(&api).await;
        let snapshot =
            live(&api, "the trunk's address", |s| s.directory.trunk_by_ip(caller_ip()).is_some()).await;
        let trunk = snapshot.directory.trunk_by_ip(caller_ip()).unwrap();
        let at = api.control.app.wall();
        let call = CallInput {
            trunk,
            caller: b"+12125550100",
            called: b"+14155550123",
            at,
            call_hash: 7,
            lrn: None,
        };
        let decision = decide(&snapshot, &call, &Live::default());
        let record = explain(&snapshot, &call, &Live::default(), &decision);
        assert!(decision.result.is_ok(), "{}", record.summary);
        // The world goes on: other prices, other limits.
        let bearer = format!("Bearer {}", api.operator);
        let decks = api.op("GET", "/rate-decks", None).await.data();
        let alpha = decks.as_array().unwrap().iter().find(|d| d["name"] == "alpha").unwrap()["id"].clone();
        let path = format!("/api/v1/admin/rate-decks/{}/versions?activate=true", alpha.as_str().unwrap());
        let csv = b"NPANXX,Interstate,Intrastate,Indeterminate\n415,0.009,0.009,0.009\n";
        api.send("POST", &path, &[("Authorization", &bearer), ("Content-Type", "text/csv")], csv)
            .await
            .data();
        let trunk_path = format!("/api/v1/trunks/{}", w.trunk);
        api.call(&w.key, "PATCH", &trunk_path, Some(json!({ "destinations": ["toll_free"] }))).await.data();
        let now = live(&api, "the new world", |s| {
            s.directory.trunk_by_ip(caller_ip()).is_some_and(|ix| {
                decide(s, &CallInput { trunk: ix, ..call }, &Live::default()).result.is_err()
            })
        });
        assert_ne!(now.await.id, snapshot.id);
        let stored = archive::load(&api.control.app.store, record.snapshot_id).await.unwrap().expect("kept");
        assert_eq!(stored.id, snapshot.id);
        assert_eq!(
            format!("{:?}", replay(&stored, &record).unwrap().result),
            format!("{:?}", decision.result)
        );
        let unknown = archive::load(&api.control.app.store, "0".repeat(32).parse().unwrap()).await.unwrap();
        assert!(unknown.is_none());
    });
}

#[test]
fn changes_of_other_processes_are_heard_and_a_bad_row_stops_nothing() {
    with_api(|api| async move {
        let w = world(&api).await;
        live(&api, "the trunk's address", |s| s.directory.trunk_by_ip(caller_ip()).is_some()).await;
        // As another process: no use case of ours, only the database.
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        sqlx::query("UPDATE vendors SET status = 'suspended' WHERE slug = 'beta'")
            .execute(tx.db())
            .await
            .unwrap();
        sqlx::query(
            "INSERT INTO trunks (id, customer_id, name, status, destinations, media_ips)
             SELECT 'trk_00000000000000000000000bad', customer_id, 'bad', 'active', '{}', '{nonsense}' FROM trunks WHERE id = $1",
        )
        .bind(&w.trunk)
        .execute(tx.db())
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let s = live(&api, "the suspended vendor", |s| s.directory.vendors().any(|(_, v)| !v.enabled)).await;
        assert!(s.directory.trunk_by_ip(caller_ip()).is_some());
        assert_eq!(s.directory.trunks().count(), 1, "the row that cannot be read is left out");
    });
}

#[test]
fn secrets_are_not_told() {
    with_api(|api| async move {
        let _ = world(&api).await;
        for path in ["/vendors", "/vendor-trunks", "/audit?limit=200", "/partitions"] {
            let r = api.op("GET", path, None).await;
            assert_eq!(r.status, 200);
            assert!(!r.body.contains("vendor-secret"), "{path}");
        }
        let snapshot = latest(&api);
        assert!(!format!("{:?}", snapshot.directory.rows().vendor_trunks).contains("vendor-secret"));
    });
}

#[test]
fn a_trunk_in_another_currency_than_its_deck_is_refused() {
    with_api(|api| async move {
        let deck = deck(&api, "usd", "415,0.01,0.01,0.01\n").await;
        let body = json!({ "name": "Euro", "currency": "EUR", "sell_deck_ids": [deck] });
        let r = api.op("POST", "/customers", Some(body)).await;
        let details: &Value = &r.json()["error"]["details"];
        assert_eq!(details[0]["code"], "currency_mismatch");
    });
}

#[test]
fn seeding_twice_makes_one_world() {
    with_api(|api| async move {
        let app = &api.control.app;
        let mut ids = Vec::new();
        for address in ["127.0.0.1:5090", "127.0.0.1:5091"] {
            let seed = warp_control_plane::app::seed::Seed::new(app);
            let csv = |rate: &str| {
                format!("NPANXX,Interstate,Intrastate,Indeterminate\n415,{rate},{rate},{rate}\n")
            };
            let sell = seed.deck("retail", "us", csv("0.01")).await.unwrap();
            let buy = seed.deck("alpha", "us", csv("0.004")).await.unwrap();
            let vendor = seed
                .vendor(json!({ "slug": "alpha", "name": "Alpha", "buy_deck_ids": [buy] }))
                .await
                .unwrap();
            let vt =
                seed.vendor_trunk(vendor, json!({ "name": "a1", "addresses": [address] })).await.unwrap();
            let partition = seed
                .partition(json!({ "name": "economy", "vendors": [{ "vendor_id": vendor }] }))
                .await
                .unwrap();
            let body = json!({ "name": "Demo", "sell_deck_ids": [sell], "partition_id": partition });
            let customer = seed.customer(body).await.unwrap();
            let users = [("demo1001", "generated-password")];
            let trunk = seed.trunk(customer, json!({ "name": "pbx" }), &["127.0.0.5"], &users).await.unwrap();
            let published = app.publish_now().await.unwrap();
            let snapshot = latest(&api);
            assert_eq!(snapshot.id, published);
            assert_eq!(snapshot.directory.vendor_addresses().next().unwrap().to_string(), address);
            assert_eq!(
                snapshot.directory.trunk_by_ip("127.0.0.5".parse().unwrap()),
                snapshot.directory.trunk_ix(trunk)
            );
            ids.push((sell, buy, vendor, vt, partition.to_string(), customer, trunk));
            let key = seed.key(Some(customer), "demo").await.unwrap();
            assert_eq!(api.call(key.reveal(), "GET", "/api/v1/trunks", None).await.status, 200);
        }
        assert_eq!(ids[0], ids[1]);
    });
}

#[test]
fn a_posted_call_is_rated_again_and_can_be_replayed() {
    use warp_control_plane::billing::consumer::{Consumer, Step};
    with_api(|api| async move {
        let w = world(&api).await;
        let snapshot =
            live(&api, "the trunk's address", |s| s.directory.trunk_by_ip(caller_ip()).is_some()).await;
        let trunk = snapshot.directory.trunk_by_ip(caller_ip()).unwrap();
        let customer = snapshot.directory.trunk(trunk).unwrap().customer.to_string();
        let at = api.control.app.wall();
        let call = CallInput {
            trunk,
            caller: b"+12125550100",
            called: b"+14155550123",
            at,
            call_hash: 7,
            lrn: None,
        };
        let decision = decide(&snapshot, &call, &Live::default());
        let explained = explain(&snapshot, &call, &Live::default(), &decision);
        let first = *decision.result.as_ref().unwrap().get(0).unwrap();
        let price =
            warp_policy::rate_call(&snapshot, &decision.sell.unwrap(), &first.buy.unwrap(), 60_000).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let log = common::event_log(dir.path());
        let topic = log.topic(warp_events::TOPIC_CDR_VOICE).unwrap();
        let mut ids = Vec::new();
        for charge in [price.sell.charge.to_string(), "0.5".to_owned()] {
            let id = warp_model::CallId::new(at, api.control.app.random_id()).to_string();
            let mut record = common::record(&id, &customer, &w.trunk);
            record["decision"] = serde_json::to_value(&explained).unwrap();
            record["rating"] = serde_json::to_value(&price).unwrap();
            record["rating"]["sell"]["charge"] = json!(charge);
            record["snapshot_id"] = json!(snapshot.id.to_string());
            record["vendor_trunk_id"] = json!(explained.candidates[0].vendor_trunk);
            topic.append_durable(id.as_bytes(), record.to_string().as_bytes()).unwrap();
            ids.push(id);
        }
        let app = api.control.app.clone();
        let consumer = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        assert_eq!(consumer.rating_again(app.clone()).step().await.unwrap(), Step::Posted(2));
        for (id, status, rating) in [(&ids[0], "confirmed", "confirmed"), (&ids[1], "mismatch", "mismatch")] {
            let posted = api.op("GET", &format!("/calls/{id}"), None).await.data();
            assert_eq!(posted["rating_status"], status);
            let again = api.op("POST", &format!("/calls/{id}/replay"), None).await.data();
            assert_eq!(
                (again["same_decision"].clone(), again["rating"].clone()),
                (json!(true), json!(rating))
            );
        }
        let own = api.call(&w.key, "GET", &format!("/api/v1/calls/{}", ids[0]), None).await;
        assert!(
            !own.body.contains("alpha") && own.data()["record"]["decision"]["sell"]["rate_per_min"] == "0.01"
        );
        let text = api.control.registry().render();
        assert!(text.contains(r#"warp_rating_total{product="voice",result="mismatch"} 1"#), "{text}");
    });
}

/// Decks change faster than calls end: the snapshot that a call pinned is in no memory any more when it is posted.
#[test]
fn calls_in_the_air_during_a_burst_of_deck_changes_are_checked_against_the_snapshot_that_they_pinned() {
    use warp_control_plane::billing::consumer::{Consumer, Step};
    use warp_control_plane::billing::recheck::{Gone, check_all};
    with_api(|api| async move {
        let app = api.control.app.clone();
        let w = world(&api).await;
        let mut pinned = Vec::new();
        for round in 0..6 {
            let snapshot =
                live(&api, "the trunk's address", |s| s.directory.trunk_by_ip(caller_ip()).is_some()).await;
            pinned.push(snapshot);
            // Another index each time.
            let made = deck(&api, &format!("other {round}"), &format!("212,0.0{round}1,0.01,0.01\n")).await;
            let before = latest(&api).id;
            let vendor = json!({ "slug": format!("v{round}"), "name": "v", "buy_deck_ids": [made] });
            let vendor = api.op("POST", "/vendors", Some(vendor)).await;
            assert_eq!(vendor.status, 201, "{}", vendor.body);
            live(&api, "a new snapshot", |s| s.id != before).await;
        }
        let dir = tempfile::tempdir().unwrap();
        let log = common::event_log(dir.path());
        let topic = log.topic(warp_events::TOPIC_CDR_VOICE).unwrap();
        let mut ids = Vec::new();
        for (n, snapshot) in pinned.iter().enumerate() {
            let trunk = snapshot.directory.trunk_by_ip(caller_ip()).unwrap();
            let customer = snapshot.directory.trunk(trunk).unwrap().customer.to_string();
            let at = app.wall();
            let (caller, called) = (b"+12125550100", b"+14155550123");
            let call = CallInput { trunk, caller, called, at, call_hash: 7, lrn: None };
            let decision = decide(snapshot, &call, &Live::default());
            let explained = explain(snapshot, &call, &Live::default(), &decision);
            let first = *decision.result.as_ref().unwrap().get(0).unwrap();
            let (sell, buy) = (decision.sell.unwrap(), first.buy.unwrap());
            let price = warp_policy::rate_call(snapshot, &sell, &buy, 60_000).unwrap();
            let id = warp_model::CallId::new(at, app.random_id()).to_string();
            let mut record = common::record(&id, &customer, &w.trunk);
            record["decision"] = serde_json::to_value(&explained).unwrap();
            record["rating"] = serde_json::to_value(&price).unwrap();
            if n == 1 {
                record["rating"]["sell"]["charge"] = json!("0.5");
            }
            record["snapshot_id"] = json!(if n == 2 { "0".repeat(32) } else { snapshot.id.to_string() });
            record["vendor_trunk_id"] = json!(explained.candidates[0].vendor_trunk);
            topic.append_durable(id.as_bytes(), record.to_string().as_bytes()).unwrap();
            ids.push(id);
        }
        assert!(app.publication.recent(pinned[0].id).is_none(), "or the test tests nothing");
        let consumer = Consumer::new(app.store.clone(), &log, "t", app.metrics.clone()).unwrap();
        assert_eq!(consumer.rating_again(app.clone()).step().await.unwrap(), Step::Posted(ids.len()));
        let status = async |id: &str| {
            let call = api.op("GET", &format!("/calls/{id}"), None).await.data();
            call["rating_status"].as_str().unwrap().to_owned()
        };
        assert_eq!(status(&ids[0]).await, "unchecked");
        let (_keep, stop) = tokio::sync::watch::channel(false);
        let mut gone = Gone::default();
        assert!(check_all(&app, &mut gone, &stop).await.unwrap() >= 2);
        for (n, id) in ids.iter().enumerate() {
            let want = ["confirmed", "mismatch", "unchecked"].get(n).copied().unwrap_or("confirmed");
            assert_eq!(status(id).await, want, "call {n}");
        }
        assert_eq!(
            check_all(&app, &mut gone, &stop).await.unwrap(),
            0,
            "what is gone is not asked for again and again"
        );
    });
}

/// Everything in the database that could hold a vendor's password, as text.
async fn dump(api: &Api) -> String {
    use sqlx::Row;
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    let mut out = String::new();
    for statement in [
        "SELECT to_jsonb(t)::text FROM vendor_trunks t",
        "SELECT encode(content, 'escape') FROM snapshot_sections",
        "SELECT manifest::text FROM snapshots",
        "SELECT to_jsonb(t)::text FROM audit_log t",
        "SELECT to_jsonb(t)::text FROM idempotency_keys t",
    ] {
        for row in sqlx::query(statement).fetch_all(tx.db()).await.unwrap() {
            out.push_str(&row.get::<String, _>(0));
        }
    }
    out
}

fn passwords(snapshot: &Snapshot) -> Vec<String> {
    let trunks = snapshot.directory.rows().vendor_trunks.iter();
    trunks.filter_map(|t| Some(t.credentials.as_ref()?.password.reveal().clone())).collect()
}

#[test]
fn g_7_vendors_passwords_are_sealed_in_rows_and_kept_snapshots_and_old_clear_ones_become_so() {
    use warp_control_plane::StartError;
    use warp_control_plane::store::seal::SealError;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("seal.key");
    let file = key.clone();
    common::with_configured_api(
        |c| c.key_file = Some(file),
        |api| async move {
            world(&api).await;
            live(&api, "both passwords", |s| passwords(s) == ["vendor-secret", "vendor-secret"]).await;
            let text = dump(&api).await;
            assert!(
                text.contains("vendor_id") && !text.contains("vendor-secret"),
                "a password is stored in clear"
            );

            // As an earlier version left it.
            api.control.stop_tasks().await;
            let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
            sqlx::query("INSERT INTO snapshot_sections (sha256, kind, content) VALUES (repeat('0', 64), 'directory', '{\"a\":\"old-secret\"}')")
            .execute(tx.db())
            .await
            .unwrap();
            tx.commit().await.unwrap();
            assert!(dump(&api).await.contains("old-secret"));
            let start = |path: std::path::PathBuf| {
                let mut config = api.control.app.config.clone();
                config.listen.set_port(0);
                config.key_file = Some(path);
                warp_control_plane::start_on(api.control.app.store.clone(), config, common::handles())
            };
            let again = start(key.clone()).await.expect("start");
            assert_eq!(passwords(&again.app.publication.latest()), ["vendor-secret", "vendor-secret"]);
            again.stop_tasks().await;
            assert!(!dump(&api).await.contains("old-secret"), "what was clear is sealed");

            // A node without the key does not make another one: what is sealed would be lost.
            let lost = start(key.with_extension("elsewhere")).await.err().expect("no key");
            assert!(matches!(lost, StartError::Seal(SealError::Lost(_))), "{lost}");
            // With a wrong one the trunks stay out of the snapshot, and nothing else does.
            std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
            let wrong = start(key).await.expect("start");
            let latest = wrong.app.publication.latest();
            assert_eq!(
                (latest.directory.rows().vendor_trunks.len(), latest.directory.rows().trunks.len()),
                (0, 1)
            );
            wrong.stop_tasks().await;
        },
    );
}

/// Terms of headers (RFC 0046) of a vendor's trunk and of a customer's: from the API into the snapshot, refused where a rule may not stand,
/// and left alone by the customer.
#[test]
fn t_sip_03_terms_of_headers_reach_the_snapshot_and_no_protected_header_does() {
    with_api(|api| async move {
        let w = world(&api).await;
        let list = api.op("GET", &format!("/vendor-trunks?vendor={}", w.cheap), None).await.data();
        let vendors = list[0]["id"].as_str().unwrap().to_owned();
        let of_vendor = |s: &Snapshot| {
            let ix = s.directory.vendor_trunk_ix(vendors.parse().unwrap())?;
            s.directory.vendor_trunk(ix).map(|t| t.headers.clone())
        };
        let of_trunk = |s: &Snapshot| {
            let rows = s.directory.rows();
            rows.trunks.iter().find(|t| t.id.to_string() == w.trunk).map(|t| t.headers.clone())
        };
        live(&api, "what nobody has set", |s| {
            of_vendor(s) == Some(HeaderTerms::of_a_carrier()) && of_trunk(s) == Some(HeaderTerms::default())
        })
        .await;
        let body = json!({
            "identity_form": "remote_party_id", "caller_format": "e164", "diversion_form": "history_info", "reason_form": "always",
            "header_rules": ["set User-Agent: WARP, \"one\"", "remove X-Account"], "codecs": ["PCMU", "opus/48000"], "session_expires_s": 1800, "session_min_s": 120,
            "recording": true,
        });
        let expected = HeaderTerms {
            trusted: false,
            identity: IdentityForm::RemotePartyId,
            caller_format: Some(NumberFormat::E164),
            diversion: DiversionForm::HistoryInfo,
            reason: ReasonForm::Always,
            rules: vec![
                HeaderRule::Set("User-Agent".into(), "WARP, \"one\"".into()),
                HeaderRule::Remove("X-Account".into()),
            ],
            codecs: vec!["PCMU".into(), "opus/48000".into()],
            session_expires_s: Some(1800),
            session_min_s: Some(120),
            recording: true,
        };
        for path in [format!("/vendor-trunks/{vendors}"), format!("/trunks/{}", w.trunk)] {
            let mut change = body.clone();
            // Each gets the other one of what it had.
            change["identity_trusted"] = json!(!path.starts_with("/vendor"));
            let changed = api.op("PATCH", &path, Some(change.clone())).await;
            assert_eq!(changed.status, 200, "{}", changed.body);
            for (field, value) in change.as_object().unwrap() {
                assert_eq!(&changed.data()[field], value, "{field}");
            }
            for (rules, code) in [
                (json!(["remove Via"]), "protected"),
                (json!(["add p-asserted-identity: <sip:1@x>"]), "protected"),
                (json!(["remove m"]), "protected"),
                (json!(["add X-A: 1\r\nVia: x"]), "invalid"),
                (json!(["replace X-A: 1"]), "invalid"),
                (json!(vec!["remove X-A"; 9]), "out_of_range"),
            ] {
                let refused = api.op("PATCH", &path, Some(json!({ "header_rules": rules }))).await;
                assert_eq!(refused.status, 422, "{rules}: {}", refused.body);
                assert!(refused.body.contains(code), "{rules}: {}", refused.body);
            }
        }
        live(&api, "the terms of both", |s| {
            of_vendor(s) == Some(expected.clone())
                && of_trunk(s) == Some(HeaderTerms { trusted: true, ..expected.clone() })
        })
        .await;
        // What a customer writes of its trunk leaves them as they are, also by PUT of what it has seen.
        let path = format!("/api/v1/trunks/{}", w.trunk);
        let body = json!({ "name": "pbx", "channels": 7 });
        assert_eq!(api.call(&w.key, "PUT", &path, Some(body)).await.status, 200);
        let refused = api.call(&w.key, "PATCH", &path, Some(json!({ "header_rules": [] }))).await;
        assert_eq!(refused.status, 403, "{}", refused.body);
        let s = live(&api, "the customer's change", |s| {
            let rows = s.directory.rows();
            rows.trunks.iter().any(|t| t.id.to_string() == w.trunk && t.limits.channels == Some(7))
        })
        .await;
        assert_eq!(of_trunk(&s), Some(HeaderTerms { trusted: true, ..expected }));
    });
}

/// The other nodes of a vendor's platform, and whether its redirections are followed: from the API into the snapshot, and back out of it.
#[test]
fn nodes_and_redirections_of_a_vendor_trunk_reach_the_snapshot() {
    with_api(|api| async move {
        let w = world(&api).await;
        let list = api.op("GET", &format!("/vendor-trunks?vendor={}", w.cheap), None).await.data();
        let trunk = list[0]["id"].as_str().unwrap().to_owned();
        // What nobody has set is off, also for a trunk that stood there before.
        assert_eq!((&list[0]["signalling_ips"], &list[0]["follow_redirects"]), (&json!([]), &json!(false)));
        assert_eq!(list[0]["allow_refer"], false);
        let of = |s: &Snapshot| {
            let ix = s.directory.vendor_trunk_ix(trunk.parse().unwrap())?;
            s.directory
                .vendor_trunk(ix)
                .map(|t| (t.signalling_ips.clone(), t.follow_redirects, t.allow_refer))
        };
        live(&api, "the vendor's trunk", |s| of(s) == Some((vec![], false, false))).await;
        let path = format!("/vendor-trunks/{trunk}");
        let body = json!({ "signalling_ips": ["192.0.2.21", "2001:db8::7"], "follow_redirects": true, "allow_refer": true });
        let changed = api.op("PATCH", &path, Some(body)).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        assert_eq!(changed.data()["signalling_ips"], json!(["192.0.2.21", "2001:db8::7"]));
        let nodes: Vec<IpAddr> = vec!["192.0.2.21".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let s = live(&api, "its nodes", |s| of(s) == Some((nodes.clone(), true, true))).await;
        // Each is known as the vendor's, and no call begins there.
        for node in &nodes {
            assert_eq!(s.directory.vendor_trunks_by_ip(*node).len(), 1);
            assert!(s.directory.trunk_by_ip(*node).is_none());
        }
        // A change of something else keeps them; the password stays too.
        assert_eq!(api.op("PATCH", &path, Some(json!({ "channels": 7 }))).await.status, 200);
        let s = live(&api, "the other limit", |s| {
            s.directory
                .vendor_trunk_ix(trunk.parse().unwrap())
                .and_then(|ix| s.directory.vendor_trunk(ix))
                .is_some_and(|t| t.limits.channels == Some(7))
        })
        .await;
        assert_eq!(of(&s), Some((nodes, true, true)));
        // Not an address that a host can have or that we would send to, not the same twice, no port, no name.
        for (wrong, code) in [
            (json!(["0.0.0.0"]), "invalid"),
            (json!(["224.0.0.1"]), "invalid"),
            (json!(["169.254.1.1"]), "invalid"),
            (json!(["fe80::1"]), "invalid"),
            (json!(["192.0.2.21:5060"]), "invalid"),
            (json!(["sbc.example.com"]), "invalid"),
            (json!(["192.0.2.21", "192.0.2.21"]), "taken"),
            (json!("192.0.2.21"), "wrong_type"),
            (json!((1..=33).map(|n| format!("192.0.2.{n}")).collect::<Vec<_>>()), "out_of_range"),
        ] {
            let refused = api.op("PATCH", &path, Some(json!({ "signalling_ips": wrong }))).await;
            assert_eq!(refused.status, 422, "{wrong}: {}", refused.body);
            let detail = &refused.json()["error"]["details"][0];
            assert!(detail["field"].as_str().unwrap().starts_with("signalling_ips"), "{detail}");
            assert_eq!(detail["code"], code, "{wrong}");
        }
        let refused = api.op("PATCH", &path, Some(json!({ "follow_redirects": "yes" }))).await;
        assert_eq!(refused.status, 422, "{}", refused.body);
        // Null takes them away; a trunk made with them has them at once.
        let body = json!({ "signalling_ips": null, "follow_redirects": null, "allow_refer": null });
        assert_eq!(api.op("PATCH", &path, Some(body)).await.status, 200);
        live(&api, "none again", |s| of(s) == Some((vec![], false, false))).await;
        let body = json!({ "name": "t2", "addresses": ["127.0.0.1:5090"], "signalling_ips": ["192.0.2.30"], "follow_redirects": true });
        let made = api.op("POST", &format!("/vendors/{}/trunks", w.cheap), Some(body)).await.data();
        assert_eq!(
            (&made["signalling_ips"], &made["follow_redirects"]),
            (&json!(["192.0.2.30"]), &json!(true))
        );
    });
}
