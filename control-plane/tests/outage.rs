//! PostgreSQL goes away and comes back. Alone in its binary, because it stops the cluster.
mod common;

use common::{event_log, eventually, record, with_database};
use serde_json::json;
use sqlx::Row;
use warp_control_plane::store::Scope;
use warp_control_plane::{Config, Database, Handles};
use warp_events::TOPIC_CDR_VOICE;
use warp_model::{CallId, CustomerId, TrunkId};

#[test]
fn f_pg_01_calls_are_kept_the_api_says_503_and_everything_goes_on_afterwards() {
    with_database(|store| async move {
        let cluster = common::cluster().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let log = event_log(dir.path());
        let topic = log.topic(TOPIC_CDR_VOICE).unwrap();
        let (publisher, snapshots) = warp_feed::channel(warp_policy::Snapshot::empty());
        let registry = warp_telemetry::Registry::new();
        let handles = Handles {
            publisher,
            live: None,
            events: Some(log.clone()),
            messaging: None,
            queue: None,
            registry,
            first_key: None,
        };
        let config =
            Config::new(Database::Private { dir: Default::default() }, "127.0.0.1:0".parse().unwrap());
        let control = warp_control_plane::start_on(store.clone(), config, handles).await.unwrap();
        let operator = control.operator_key.as_ref().unwrap().reveal().clone();
        let api = common::Api { control, operator };
        let append = |n: u128| {
            let id = CallId::from_u128(n).to_string();
            let value =
                record(&id, &CustomerId::from_u128(1).to_string(), &TrunkId::from_u128(1).to_string());
            topic.append_durable(id.as_bytes(), value.to_string().as_bytes()).unwrap();
        };
        let posted = async |n: i64| {
            eventually("calls posted", || async {
                let mut tx = store.begin(Scope::Operator("test")).await.ok()?;
                let row = sqlx::query("SELECT count(*) FROM calls").fetch_one(tx.db()).await.ok()?;
                (row.get::<i64, _>(0) == n).then_some(())
            })
            .await
        };
        append(1);
        posted(1).await;
        let before = snapshots.latest().id;
        let stopping = cluster.clone();
        tokio::task::spawn_blocking(move || stopping.stop_now()).await.unwrap().unwrap();
        for n in 2..50 {
            append(n);
        }
        let refused = api.op("POST", "/customers", Some(json!({ "name": "x" }))).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "unavailable"));
        assert!(refused.header("retry-after").is_some());
        let health = api.send("GET", "/api/v1/health", &[], b"").await;
        assert_eq!((health.status, health.data()["status"].clone()), (200, json!("degraded")));
        assert_eq!(snapshots.latest().id, before, "calls go on with the last snapshot");
        let starting = cluster.clone();
        tokio::task::spawn_blocking(move || starting.launch()).await.unwrap().unwrap();
        posted(49).await;
        let made = eventually("the API back", || async {
            let r = api.op("POST", "/customers", Some(json!({ "name": "y" }))).await;
            (r.status == 201).then_some(r)
        });
        let customer = made.await.data()["id"].as_str().unwrap().parse::<CustomerId>().unwrap();
        eventually("publishing again", || async { snapshots.latest().directory.customer_ix(customer) }).await;
        api.control.stop_tasks().await;
    });
}

/// The cluster that we started is ours to start again: the postmaster dies by kill −9, nobody helps, and the API is back.
#[test]
fn f_pg_01_a_killed_private_cluster_is_started_again() {
    use warp_control_plane::store::cluster::Cluster;
    if Cluster::binaries().is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true and no PostgreSQL programs");
        println!("skipped: no PostgreSQL server programs");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::Private { dir: dir.path().join("pg") };
        let config = Config::new(database, "127.0.0.1:0".parse().unwrap());
        let control = warp_control_plane::start(config, common::handles()).await.unwrap();
        let operator = control.operator_key.as_ref().unwrap().reveal().clone();
        let api = common::Api { control, operator };
        let data = api.control.app.store.cluster().unwrap().data_dir().to_owned();
        let pid = || {
            let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
            text.lines().next()?.trim().parse::<u32>().ok()
        };
        assert_eq!(api.op("POST", "/customers", Some(json!({ "name": "before" }))).await.status, 201);
        let first = pid().unwrap();
        let killed = std::process::Command::new("kill").args(["-9", &first.to_string()]).status().unwrap();
        assert!(killed.success());
        eventually("another postmaster", || async { pid().filter(|p| *p != first) }).await;
        eventually("the API back", || async {
            let r = api.op("POST", "/customers", Some(json!({ "name": "after" }))).await;
            assert!(matches!(r.status, 201 | 503), "{} {}", r.status, r.body);
            (r.status == 201).then_some(())
        })
        .await;
        let names = api.op("GET", "/customers", None).await.data().to_string();
        assert!(names.contains("before") && names.contains("after"), "{names}");
        api.control.stop().await;
        assert_eq!(pid(), None, "the cluster of a control plane that stopped has stopped too");
        let _ = std::fs::remove_dir_all(data.parent().unwrap());
    });
}
