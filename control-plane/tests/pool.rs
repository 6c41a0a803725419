//! The pool of connections to PostgreSQL is empty: told once in ten seconds and counted (F-PROC-07). Alone in its program, because the log
//! of a program is one.

mod common;

#[path = "../../crates/telemetry/tests/caught/mod.rs"]
mod caught;

use caught::CaughtLog;
use common::{eventually, with_database};
use serde_json::json;
use warp_control_plane::store::{POOL_CONNECTIONS, Scope};
use warp_control_plane::{Config, Database, Handles};

#[test]
fn f_proc_07_an_empty_pool_of_connections_is_one_line_in_ten_seconds_and_counted() {
    let log = CaughtLog::of_program(tracing::Level::ERROR);
    let begun = std::time::Instant::now();
    with_database(|store| async move {
        let (publisher, _) = warp_feed::channel(warp_policy::Snapshot::empty());
        let registry = warp_telemetry::Registry::new();
        let handles = Handles {
            publisher,
            live: None,
            events: None,
            messaging: None,
            queue: None,
            registry: registry.clone(),
            first_key: None,
        };
        let config =
            Config::new(Database::Private { dir: Default::default() }, "127.0.0.1:0".parse().unwrap());
        let control = warp_control_plane::start_on(store.clone(), config, handles).await.unwrap();
        let operator = control.operator_key.as_ref().unwrap().reveal().clone();
        let api = common::Api { control, operator };
        let in_vain = || {
            let text = registry.render();
            let line = text.lines().find(|l| l.starts_with("warp_database_pool_exhausted_total ")).unwrap();
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(in_vain(), 0);
        // Ours are all that there are, but for those that the control plane holds at the moment; what it gives back we take.
        let (mut held, mut refused, before) = (Vec::new(), 0, in_vain());
        while refused < 3 {
            if let Ok(tx) = store.begin(Scope::Operator("test")).await {
                held.push(tx);
                continue;
            }
            let reply = api.op("POST", "/customers", Some(json!({ "name": "x" }))).await;
            assert!(
                matches!((reply.status, reply.code().as_str()), (503, "unavailable") | (201, _)),
                "{reply:?}"
            );
            refused += usize::from(reply.status == 503);
        }
        assert!(held.len() <= POOL_CONNECTIONS as usize);
        let counted = in_vain();
        assert!(counted >= before + 3, "{before} {counted}");
        let lines = log.take();
        let told: Vec<&String> =
            lines.iter().filter(|l| l.contains("no connection to PostgreSQL in time")).collect();
        let most = 1 + begun.elapsed().as_secs() / 10;
        assert!(!told.is_empty() && told.len() as u64 <= most, "at most one in ten seconds: {told:#?}");
        assert!(told[0].contains(&format!("connections={POOL_CONNECTIONS} ")), "{told:#?}");
        drop(held);
        eventually("the API back", || async {
            (api.op("POST", "/customers", Some(json!({ "name": "d" }))).await.status == 201).then_some(())
        })
        .await;
        api.control.stop_tasks().await;
    });
}
