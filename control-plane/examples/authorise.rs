//! How many calls a second are authorised by leases: a node's purses are filled by the agent from a private PostgreSQL, ahead of the calls.
//!
//! `cargo run --release -p warp-control-plane --example authorise [bans=1] [rate=10000] [seconds=10] [hold_ms=3000] [warmup=5] [out=FILE]`
//!
//! Calls come evenly, `rate` a second over `bans` prepaid accounts in turn. Each holds its first minute when it begins, and is settled at that
//! price after `hold_ms`. A call that finds no money is refused, as the proxy would, and is counted: the figure holds where `refused` is 0.
//! The latency is of taking the money alone. CPU is the kernel's account (`schedstat`): `calls` is the thread that asks for the calls,
//! `agent` the runtime of the agent.

#[path = "../../bench/src/facts.rs"]
#[allow(dead_code, reason = "the machine's facts alone are wanted")]
mod facts;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use warp_control_plane::billing::credit::{Agent, Door};
use warp_control_plane::store::cluster::Cluster;
use warp_control_plane::store::{Scope, Store};
use warp_control_plane::{App, Config, Database};
use warp_model::{BanId, Mono, Nanos};
use warp_policy::Snapshot;
use warp_policy::credit::{Held, Missed, Wallet};

/// What a minute costs, in nano-units of the currency.
const MINUTE: Nanos = Nanos(12_000_000);
/// How often the agent looks after the purses, as in the program.
const LOOK_EVERY: Duration = Duration::from_millis(200);

fn main() {
    let args: BTreeMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect();
    let number = |key: &str, default: u64| args.get(key).and_then(|v| v.parse().ok()).unwrap_or(default);
    let (bans, rate) = (number("bans", 1).max(1), number("rate", 10_000).max(1));
    let (seconds, warmup) = (number("seconds", 10).max(1), number("warmup", 5));
    let hold = Duration::from_millis(number("hold_ms", 3_000));

    let facts = facts::Facts::read();
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = Arc::new(Cluster::start(&dir.path().join("pg")).expect("PostgreSQL"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("agent")
        .enable_all()
        .build()
        .expect("runtime");
    let store = runtime.block_on(Store::on_cluster(cluster.clone(), "warp")).expect("store");
    let config =
        Config::new(Database::Private { dir: dir.path().join("pg") }, SocketAddr::from(([127, 0, 0, 1], 0)));
    let registry = warp_telemetry::Registry::new();
    let (publisher, _snapshots) = warp_feed::channel(Snapshot::empty());
    let app = Arc::new(App::new(store.clone(), config, &registry, publisher, None));
    let accounts = runtime.block_on(seed(&store, bans));

    let (wallet, begun) = (Arc::new(Wallet::default()), Instant::now());
    let mono =
        move || Mono(1_000_000_000 + u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX / 2));
    let door = Door { wallet: wallet.clone(), mono: Arc::new(mono), node: "bench".into() };
    let places: Vec<_> = accounts.iter().map(|ban| wallet.place(*ban)).collect();
    for place in &places {
        place.comes(MINUTE);
    }
    let (stop, mut stopping) = tokio::sync::watch::channel(false);
    let mut agent = Agent::new(app, door, None);
    let agent = runtime.spawn(async move {
        while tokio::time::timeout(LOOK_EVERY, stopping.wait_for(|s| *s)).await.is_err() {
            agent.look(true).await;
        }
    });

    let own = || cpu_ns(std::path::Path::new("/proc/thread-self"));
    let agents = || cpu_of("agent");
    let mut held: VecDeque<(Instant, warp_model::Lent<Held>)> = VecDeque::new();
    let (mut admitted, mut refused, mut taking) = (0u64, 0u64, Vec::new());
    let start = Instant::now();
    let (measured_from, end) = (Duration::from_secs(warmup), Duration::from_secs(warmup + seconds));
    let mut before = None;
    let mut call = 0u64;
    while start.elapsed() < end {
        let due = start + Duration::from_nanos(call.saturating_mul(1_000_000_000) / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        while held.front().is_some_and(|(at, _)| at.elapsed() >= hold) {
            held.pop_front().into_iter().for_each(|(_, lent)| Held::settle(lent, MINUTE));
        }
        let measured = start.elapsed() >= measured_from;
        if measured && before.is_none() {
            before = Some((own(), agents()));
        }
        let place = &places[usize::try_from(call % bans).unwrap_or(0)];
        call += 1;
        let t = Instant::now();
        place.comes(MINUTE);
        let got = place.hold(MINUTE, mono());
        let took = t.elapsed().as_nanos();
        match got {
            Some(lent) => held.push_back((Instant::now(), lent)),
            None => place.miss(Missed { want: MINUTE, need: MINUTE }),
        }
        if measured {
            taking.push(took);
            match held.back().is_some_and(|(at, _)| *at >= t) {
                true => admitted += 1,
                false => refused += 1,
            }
        }
    }
    let (own_before, agents_before) = before.unwrap_or_default();
    let (calls_ns, agent_ns) = (own().saturating_sub(own_before), agents().saturating_sub(agents_before));
    taking.sort_unstable();
    let at =
        |p: f64| taking.get(((taking.len().max(1) - 1) as f64 * p) as usize).copied().unwrap_or(0) as u64;
    let result = json!({
        "what": "calls authorised by leases, one node, PostgreSQL on the same machine",
        "facts": facts, "bans": bans, "rate": rate, "seconds": seconds, "hold_ms": hold.as_millis() as u64,
        "admitted": admitted, "refused": refused, "admitted_per_s": admitted / seconds,
        "take_ns": { "p50": at(0.5), "p99": at(0.99), "p999": at(0.999) },
        "cpu_ms_per_s": { "calls": calls_ns / seconds / 1_000_000, "agent": agent_ns / seconds / 1_000_000 },
    });
    let text = serde_json::to_string_pretty(&result).unwrap_or_default();
    println!("{text}");
    if let Some(out) = args.get("out") {
        std::fs::write(out, text + "\n").expect("results file");
    }
    stop.send_replace(true);
    let _ = runtime.block_on(agent);
    drop(held);
    let _ = cluster.stop_now();
}

/// Prepaid accounts of one customer, each with a million on it.
async fn seed(store: &Store, bans: u64) -> Vec<BanId> {
    let ids: Vec<BanId> = (0..bans).map(|n| BanId::from_u128(u128::from(n) + 1_000)).collect();
    let texts: Vec<String> = ids.iter().map(BanId::to_string).collect();
    let mut tx = store.begin(Scope::Operator("bench")).await.expect("a transaction");
    let customer = "INSERT INTO customers (id, name, status, currency) VALUES ('cus_00000000000000000000000001', 'Bench', 'active', 'USD')";
    sqlx::query(customer).execute(tx.db()).await.expect("a customer");
    let made = "INSERT INTO bans (id, customer_id, name, currency, cycle_day, terms_days, mode)
        SELECT id, 'cus_00000000000000000000000001', id, 'USD', 1, 30, 'prepaid' FROM unnest($1::text[]) AS id";
    sqlx::query(made).bind(&texts).execute(tx.db()).await.expect("accounts");
    let filled = "UPDATE ban_balances SET balance = 1000000000000000 WHERE ban_id = ANY($1)";
    sqlx::query(filled).bind(&texts).execute(tx.db()).await.expect("balances");
    tx.commit().await.expect("committed");
    ids
}

/// Nanoseconds that a thread was on a CPU.
fn cpu_ns(task: &std::path::Path) -> u64 {
    let text = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Of all threads of this process with a name.
fn cpu_of(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named =
        tasks.filter(|t| std::fs::read_to_string(t.path().join("comm")).is_ok_and(|c| c.trim() == name));
    named.map(|t| cpu_ns(&t.path())).sum()
}
