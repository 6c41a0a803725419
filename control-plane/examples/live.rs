//! How long a change of a trunk takes until calls are decided by it, on a platform with many customers and addresses.
//!
//! `cargo run --release -p warp-control-plane --example live [customers=10000] [addresses=100000] [changes=50] [out=FILE]`
//!
//! Each change is a PATCH of one trunk by HTTP; it is live when the snapshot that calls are decided by has it. CPU is the kernel's account
//! (`schedstat`) of the runtime that serves the API and publishes, per change; what PostgreSQL does is not in it. `sections` are those that
//! the last publication read again.

#[path = "../../bench/src/facts.rs"]
#[allow(dead_code, reason = "the machine's facts alone are wanted")]
mod facts;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use warp_control_plane::app::seed::Seed;
use warp_control_plane::store::cluster::Cluster;
use warp_control_plane::store::{Scope, Store};
use warp_control_plane::{Config, Database, Handles};
use warp_model::{CustomerId, TrunkId};
use warp_policy::Snapshot;

fn main() {
    let args: BTreeMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect();
    let number = |key: &str, default: u64| args.get(key).and_then(|v| v.parse().ok()).unwrap_or(default);
    let (customers, addresses) = (number("customers", 10_000).max(1), number("addresses", 100_000));
    let changes = number("changes", 50).max(1);

    let facts = facts::Facts::read();
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = Arc::new(Cluster::start(&dir.path().join("pg")).expect("PostgreSQL"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("api")
        .enable_all()
        .build()
        .expect("runtime");
    let store = runtime.block_on(Store::on_cluster(cluster.clone(), "warp")).expect("store");
    let config =
        Config::new(Database::Private { dir: dir.path().join("pg") }, SocketAddr::from(([127, 0, 0, 1], 0)));
    let (publisher, snapshots) = warp_feed::channel(Snapshot::empty());
    let handles = Handles {
        publisher,
        live: None,
        events: None,
        messaging: None,
        queue: None,
        registry: warp_telemetry::Registry::new(),
        first_key: None,
    };
    let control = runtime
        .block_on(warp_control_plane::start_on(store.clone(), config, handles))
        .expect("control plane");
    let key = control.operator_key.as_ref().expect("the first key").reveal().clone();
    let begun = Instant::now();
    runtime.block_on(async {
        let seed = Seed::new(&control.app);
        let csv = "NPANXX,Interstate,Intrastate,Indeterminate\n1415,0.01,0.01,0.01\n".to_owned();
        let deck = seed.deck("retail", "us", csv).await.expect("deck");
        let partition = seed.partition(json!({ "name": "premium", "vendors": [] })).await.expect("partition");
        fill(&store, customers, addresses, &deck.to_string(), &partition.to_string()).await;
        control.app.publish_now().await.expect("snapshot");
    });
    let filled_s = begun.elapsed().as_secs_f64();

    let trunk = TrunkId::from_u128(1_000_000);
    let name_now = || {
        let snapshot = snapshots.latest();
        let name = snapshot.directory.trunks().find(|(_, t)| t.id == trunk).map(|(_, t)| t.name.clone());
        name.unwrap_or_default()
    };
    assert_eq!(name_now(), "t", "the trunk is in the snapshot");
    let mut stream = std::net::TcpStream::connect(control.addr).expect("the API");
    let mut times = Vec::new();
    let cpu = cpu_of("api");
    for n in 0..changes {
        let (name, began) = (format!("change {n}"), Instant::now());
        let status = patch(
            &mut stream,
            &format!("/api/v1/admin/trunks/{trunk}"),
            &key,
            &json!({ "name": name }).to_string(),
        );
        assert_eq!(status, 200, "the change was refused");
        while name_now() != name {
            assert!(began.elapsed() < Duration::from_secs(30), "the change does not become live");
            std::thread::sleep(Duration::from_millis(2));
        }
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    let cpu_ms = cpu_of("api").saturating_sub(cpu) as f64 / changes as f64 / 1e6;
    times.sort_by(f64::total_cmp);
    let at = |p: f64| times[((times.len() - 1) as f64 * p) as usize];
    let sections = control.app.publication.touched().first().map(|s| format!("{s:?}"));
    let result = json!({
        "what": "a PATCH of a trunk until it is live", "facts": facts, "customers": customers, "addresses": addresses,
        "changes": changes, "live_ms": { "p50": at(0.5), "p90": at(0.9), "max": at(1.0) }, "api_cpu_ms": cpu_ms,
        "sections": sections, "filled_s": filled_s,
    });
    let text = serde_json::to_string_pretty(&result).unwrap_or_default();
    println!("{text}");
    if let Some(out) = args.get("out") {
        std::fs::write(out, text + "\n").expect("results file");
    }
    runtime.block_on(control.stop_tasks());
    let _ = cluster.stop_now();
}

/// Customers with a trunk each, and addresses that are shared out over the trunks, by three statements.
async fn fill(store: &Store, customers: u64, addresses: u64, deck: &str, partition: &str) {
    let ids: Vec<String> =
        (0..customers).map(|n| CustomerId::from_u128(u128::from(n) + 1_000_000).to_string()).collect();
    let trunks: Vec<String> =
        (0..customers).map(|n| TrunkId::from_u128(u128::from(n) + 1_000_000).to_string()).collect();
    let mut tx = store.begin(Scope::Operator("bench")).await.expect("a transaction");
    tx.allow_long_statements().await.expect("a long statement");
    let made = "INSERT INTO customers (id, name, status, currency, sell_deck_ids, partition_id)
        SELECT id, id, 'active', 'USD', ARRAY[$2], $3 FROM unnest($1::text[]) AS id";
    let made = sqlx::query(made).bind(&ids).bind(deck).bind(partition);
    made.execute(tx.db()).await.expect("customers");
    let made = "INSERT INTO trunks (id, customer_id, name, status, destinations)
        SELECT t, c, 't', 'active', ARRAY['domestic'] FROM unnest($1::text[], $2::text[]) AS n (t, c)";
    sqlx::query(made).bind(&trunks).bind(&ids).execute(tx.db()).await.expect("trunks");
    let made = "INSERT INTO trunk_ips (customer_id, trunk_id, address)
        SELECT ($1::text[])[1 + n % $3], ($2::text[])[1 + n % $3], inet '20.0.0.0' + n * 2 FROM generate_series(0, $4 - 1) AS n";
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let made = sqlx::query(made).bind(&ids).bind(&trunks).bind(count(customers)).bind(count(addresses));
    made.execute(tx.db()).await.expect("addresses");
    tx.commit().await.expect("committed");
}

/// The status of a PATCH over a kept connection.
fn patch(stream: &mut std::net::TcpStream, path: &str, key: &str, body: &str) -> u16 {
    let request = format!(
        "PATCH {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("the request");
    // Its head and body come in one or several pieces.
    let mut answer = Vec::new();
    let mut piece = [0; 16_384];
    loop {
        let n = stream.read(&mut piece).expect("the answer");
        answer.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().filter_map(|l| l.split_once(": "));
            let length = length.filter(|(k, _)| k.eq_ignore_ascii_case("content-length"));
            let length: usize = length.filter_map(|(_, v)| v.parse().ok()).next().unwrap_or(0);
            if body.len() >= length || n == 0 {
                return head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
            }
        }
        assert!(n > 0, "the connection ended");
    }
}

/// Nanoseconds that all threads of this process with a name were on a CPU.
fn cpu_of(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named =
        tasks.filter(|t| std::fs::read_to_string(t.path().join("comm")).is_ok_and(|c| c.trim() == name));
    let of = |t: std::fs::DirEntry| {
        let text = std::fs::read_to_string(t.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    named.map(of).sum()
}
