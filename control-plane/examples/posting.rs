//! What writing and posting one call costs: CPU of each part and bytes on disk, through the real journal, pump, event log,
//! consumer (rating each call again) and a private PostgreSQL.
//!
//! `cargo run --release -p warp-control-plane --example posting [calls=6000] [rate=50] [out=FILE]`
//!
//! `rate` calls a second, evenly; 0 = as fast as they can be written. CPU is the kernel's account of on-CPU time per thread
//! (`schedstat`): `journal` writes both records of a call, `pump` copies, `api` is the runtime of the consumer, `postgres` is
//! the postmaster with all its processes. Bytes are tables with indexes and TOAST, and the records in the event log, WAL
//! apart; the journal's segments go when they are copied.

#[path = "../../bench/src/facts.rs"]
#[allow(dead_code, reason = "the machine's facts alone are wanted")]
mod facts;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Row;
use warp_control_plane::app::seed::Seed;
use warp_control_plane::billing::consumer::Consumer;
use warp_control_plane::store::cluster::Cluster;
use warp_control_plane::store::{Scope, Store};
use warp_control_plane::{App, Config, Database};
use warp_events::{
    EventLog, EventsMetrics, Journal, JournalOptions, LogOptions, Pump, PumpOptions, TOPIC_CDR_VOICE,
};
use warp_model::cdr::{
    CDR_VERSION, CallRecord, JournalRecord, LegRecord, MediaFigures, Outcome, ReleaseSide, StreamFigures,
};
use warp_model::{CallId, Wall};
use warp_policy::{CallInput, Live, Snapshot, VendorTrunkLive, decide, explain, rate_call};

fn main() {
    let args: BTreeMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect();
    let number = |key: &str, default: u64| args.get(key).and_then(|v| v.parse().ok()).unwrap_or(default);
    let (calls, rate) = (number("calls", 6_000).max(1), number("rate", 50));

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
    let registry = warp_telemetry::Registry::new();
    let (publisher, snapshots) = warp_feed::channel(Snapshot::empty());
    let app = Arc::new(App::new(store.clone(), config, &registry, publisher, None));
    runtime.block_on(seed(&app));
    let snapshot = snapshots.latest();

    let metrics = EventsMetrics::new(&registry);
    let log =
        EventLog::open(&dir.path().join("events"), LogOptions::new(metrics.clone())).expect("event log");
    let topic = log.topic(TOPIC_CDR_VOICE).expect("topic");
    let journals = dir.path().join("journal");
    let mut journal = Journal::open(&journals, 0, JournalOptions::new(metrics.clone())).expect("journal");
    let pump = Pump::start(&journals, topic.clone(), PumpOptions::default(), metrics).expect("pump");
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let consumer = Consumer::new(store.clone(), &log, "bench", app.metrics.clone()).expect("consumer");
    let consumer = runtime.spawn(consumer.rating_again(app.clone()).run(stopping));

    let postmaster = postmaster(cluster.data_dir());
    let table_before = runtime.block_on(table_bytes(&store));
    let (threads, postgres) = (cpu_of_threads(), cpu_of_tree(postmaster));
    let begun = Instant::now();
    let mut json_bytes = 0;
    let mut journal_ns = 0;
    for n in 0..calls {
        let due =
            begun + Duration::from_nanos(n.saturating_mul(1_000_000_000).checked_div(rate).unwrap_or(0));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let record = Box::new(call(&snapshot, n, app.wall()));
        json_bytes += serde_json::to_vec(&record).map_or(0, |j| j.len());
        let before = own_cpu();
        journal.append(&JournalRecord::Answered(record.clone())).expect("journal");
        journal.append(&JournalRecord::Ended(record)).expect("journal");
        journal_ns += own_cpu() - before;
    }
    while runtime.block_on(posted(&store)) < calls {
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = begun.elapsed();
    let after = cpu_of_threads();
    let part = |name: &str| after.get(name).unwrap_or(&0).saturating_sub(*threads.get(name).unwrap_or(&0));
    let per_call = |ns: u64| (ns as f64 / calls as f64 / 1_000.0).round() / 1_000.0;
    let (pump_ms, api_ms) = (per_call(part("cdr-pump")), per_call(part("api")));
    let postgres_ms = per_call(cpu_of_tree(postmaster).saturating_sub(postgres));
    let table = runtime.block_on(table_bytes(&store)).saturating_sub(table_before);
    let log_bytes = log_bytes(&topic);
    let bytes = |n: u64| n / calls;
    let result = json!({
        "facts": facts, "calls": calls, "rate": rate, "seconds": took.as_secs_f64(),
        "cpu_ms_per_call": {
            "pump": pump_ms, "api": api_ms, "postgres": postgres_ms,
            "all_three": ((pump_ms + api_ms + postgres_ms) * 1_000.0).round() / 1_000.0,
            "journal": per_call(journal_ns),
        },
        "bytes_per_call": {
            "tables_and_indexes": bytes(table), "event_log": bytes(log_bytes), "all": bytes(table + log_bytes),
            "json": bytes(json_bytes as u64),
        },
        "verdicts": verdicts(&runtime, &store),
    });
    println!("{}", serde_json::to_string_pretty(&result).unwrap_or_default());
    if let Some(out) = args.get("out") {
        std::fs::write(out, serde_json::to_string_pretty(&result).unwrap_or_default() + "\n")
            .expect("results file");
    }
    stop.send_replace(true);
    let _ = runtime.block_on(consumer);
    drop((journal, pump));
    let _ = cluster.stop_now();
}

/// Three vendors in one partition, a customer with a trunk.
async fn seed(app: &App) {
    let seed = Seed::new(app);
    let csv = |rate: &str| format!("NPANXX,Interstate,Intrastate,Indeterminate\n1415,{rate},{rate},{rate}\n");
    let sell = seed.deck("retail", "us", csv("0.012")).await.expect("deck");
    let mut vendors = Vec::new();
    for (n, rate) in ["0.0042", "0.0057", "0.0061"].into_iter().enumerate() {
        let name = ["alpha", "beta", "gamma"][n];
        let buy = seed.deck(name, "us", csv(rate)).await.expect("deck");
        let row = json!({ "slug": name, "name": name, "buy_deck_ids": [buy] });
        let vendor = seed.vendor(row).await.expect("vendor");
        let row = json!({ "name": "main", "addresses": [format!("127.0.0.1:{}", 5080 + n)] });
        seed.vendor_trunk(vendor, row).await.expect("vendor trunk");
        vendors.push(json!({ "vendor_id": vendor }));
    }
    let partition =
        seed.partition(json!({ "name": "premium", "vendors": vendors })).await.expect("partition");
    let row = json!({ "name": "Demo", "sell_deck_ids": [sell], "partition_id": partition });
    let customer = seed.customer(row).await.expect("customer");
    seed.trunk(customer, json!({ "name": "pbx" }), &["127.0.0.5"], &[]).await.expect("trunk");
    app.publish_now().await.expect("snapshot");
}

/// A call as the data plane writes it: the first vendor refused, the second carried it.
fn call(snapshot: &Snapshot, n: u64, now: Wall) -> CallRecord {
    let directory = &snapshot.directory;
    let (trunk, row) = directory.trunks().next().expect("a trunk");
    let live = vec![VendorTrunkLive::default(); directory.vendor_trunks().count()];
    let live = Live::new(&live);
    let (caller, called) = (format!("+1212555{:04}", n % 10_000), format!("+1415555{:04}", n * 7 % 10_000));
    let input = CallInput {
        trunk,
        caller: caller.as_bytes(),
        called: called.as_bytes(),
        at: now,
        call_hash: n.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        lrn: None,
    };
    let decision = decide(snapshot, &input, &live);
    let explained = explain(snapshot, &input, &live, &decision);
    let duration_ms = 30_000 + n * 7_919 % 200_000;
    let carried = decision.result.as_ref().ok().and_then(|c| c.get(1)).expect("two candidates");
    let rating =
        rate_call(snapshot, &decision.sell.expect("a price"), &carried.buy.expect("a price"), duration_ms);
    let random = u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let leg = |at: usize, code: u16, by: &str| LegRecord {
        attempt_no: at as u16 + 1,
        vendor_id: explained.candidates.get(at).map(|c| c.vendor),
        vendor_trunk_id: explained.candidates.get(at).map(|c| c.vendor_trunk),
        trunk_id: None,
        egress_ip: [127, 0, 0, 1].into(),
        start_at: now,
        pdd_ms: Some(120 + n % 900),
        sip_code: code,
        q850: Some(if code == 200 { 16 } else { 34 }),
        end_at: now,
        ended_by: by.to_owned(),
    };
    let stream = |k: u64| StreamFigures {
        packets: duration_ms / 20 - n % k,
        bytes: duration_ms / 20 * 172,
        lost: n % k,
        jitter_us: 400 + n * 13 % 900,
        mos_x100: Some(430 + (n % 12) as u16),
    };
    CallRecord {
        cdr_id: CallId::new(now, random),
        version: CDR_VERSION,
        sip_call_id: format!("{random:032x}@pbx.example.com"),
        customer_id: Some(row.customer),
        trunk_id: Some(row.id),
        direction: Default::default(),
        on_net: false,
        number_id: None,
        ingress_ip: [127, 0, 0, 5].into(),
        ingress_user: None,
        caller,
        private: false,
        called,
        caller_e164: explained.caller.map(|c| c.to_string()),
        called_e164: explained.called.map(|c| c.to_string()),
        jurisdiction: explained.jurisdiction.map(|j| j.as_str().to_owned()),
        setup_at: now,
        progress_at: Some(now),
        answer_at: Some(now),
        end_at: now.plus(Duration::from_millis(duration_ms)),
        pdd_ms: Some(120 + n % 900),
        duration_ms,
        sip_code: 200,
        q850: Some(16),
        release_side: ReleaseSide::Caller,
        internal_code: String::new(),
        outcome: Outcome::Answered,
        recovered: false,
        snapshot_id: snapshot.id.to_string(),
        route_rank: Some(2),
        vendor_id: explained.candidates.get(1).map(|c| c.vendor),
        vendor_trunk_id: explained.candidates.get(1).map(|c| c.vendor_trunk),
        rating: rating.ok(),
        media: Some(MediaFigures { to_callee: stream(5), to_caller: stream(7) }),
        decision: Some(warp_model::json::JsonText::of(&explained)),
        legs: vec![leg(0, 503, "failover"), leg(1, 200, "answered")],
        node: "bench".to_owned(),
        paid: None,
        resume: None,
    }
}

async fn posted(store: &Store) -> u64 {
    one(store, "SELECT count(*) FROM calls").await
}

/// Everything that grows with calls, of whichever version the schema is.
async fn table_bytes(store: &Store) -> u64 {
    one(
        store,
        "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c WHERE c.relkind = 'r'
            AND (c.relname LIKE 'calls%' OR c.relname = 'call_legs')",
    )
    .await
}

async fn one(store: &Store, statement: &'static str) -> u64 {
    let mut tx = store.begin(Scope::Operator("bench")).await.expect("transaction");
    let row = sqlx::query(statement).fetch_one(tx.db()).await.expect("row");
    u64::try_from(row.get::<i64, _>(0)).unwrap_or(0)
}

fn verdicts(runtime: &tokio::runtime::Runtime, store: &Store) -> Value {
    runtime.block_on(async {
        let mut tx = store.begin(Scope::Operator("bench")).await.expect("transaction");
        let statement = "SELECT rating_status, count(*) FROM calls GROUP BY 1";
        let rows = sqlx::query(statement).fetch_all(tx.db()).await.expect("rows");
        rows.iter().map(|r| (r.get::<String, _>(0), json!(r.get::<i64, _>(1)))).collect()
    })
}

/// Frames of the topic: what the records take in its segments.
fn log_bytes(topic: &warp_events::Topic) -> u64 {
    const FRAME_AND_HEAD: usize = 20 + 10;
    let (mut reader, mut bytes) = (topic.from_floor(), 0);
    while reader.cursor() != topic.end() {
        for event in reader.next_batch(1_000).expect("event log") {
            bytes += (FRAME_AND_HEAD + event.key.len() + event.value.len()) as u64;
        }
    }
    bytes
}

fn own_cpu() -> u64 {
    on_cpu(Path::new("/proc/thread-self/schedstat"))
}

/// On-CPU nanoseconds of this process' threads, by name.
fn cpu_of_threads() -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok) {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default().trim().to_owned();
        *out.entry(name).or_default() += on_cpu(&task.path().join("schedstat"));
    }
    out
}

/// The same of a process and its children; PostgreSQL's processes have one thread each.
fn cpu_of_tree(root: u32) -> u64 {
    let mut sum = on_cpu(Path::new(&format!("/proc/{root}/schedstat")));
    for process in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if parent == Some(root) {
            sum += on_cpu(&process.path().join("schedstat"));
        }
    }
    sum
}

fn on_cpu(path: &Path) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn postmaster(data: &Path) -> u32 {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).expect("postmaster.pid");
    text.lines().next().and_then(|l| l.trim().parse().ok()).expect("a process id")
}
