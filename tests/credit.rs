//! Prepaid credit over two processes on one PostgreSQL, with real calls: one process is killed, and nothing is ever spent twice.

mod stack;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stack::api::Api;
use stack::carrier::{CALLED, CALLER, CUSTOMER_IP, Carrier, VENDOR_IP, VendorSpec};
use stack::sipp::{Calls, Sipp, Transport};
use stack::{Launched, free_port, have, poll_until};
use warp_control_plane::store::Store;
use warp_control_plane::store::cluster::Cluster;

/// A PostgreSQL of the test's own, which outlives the processes that use it.
struct Database {
    cluster: Arc<Cluster>,
    dir: std::path::PathBuf,
    url: String,
}

impl Database {
    fn start() -> Option<Database> {
        Cluster::binaries()?;
        let dir = std::env::temp_dir().join(format!("warp-test-credit-{}", std::process::id()));
        let cluster = Arc::new(Cluster::start(&dir).expect("private cluster"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let store = runtime.block_on(Store::on_cluster(cluster.clone(), "credit")).expect("database");
        runtime.block_on(store.disconnect());
        let options = cluster.options("warp_app", "credit");
        let socket = options.get_socket().expect("a socket").display().to_string().replace('/', "%2F");
        let url = format!("postgres://warp_app@{socket}/credit?sslmode=disable");
        Some(Database { cluster, dir, url })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let data = self.cluster.data_dir().to_owned();
        let _ = self.cluster.stop();
        for dir in [data, self.dir.clone()] {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

fn settings(db: &Database, node: &str) -> Vec<String> {
    vec![
        format!("api.database_url=\"{}\"", db.url),
        format!("node.name=\"{node}\""),
        "api.credit_lease=\"6s\"".into(),
    ]
}

/// A second node on the same database.
fn second(dir: &Path, db: &Database) -> Launched {
    let mut args = vec![
        format!("dir={}", dir.join("data").display()),
        format!("sip=127.0.0.1:{}", free_port()),
        format!("api=127.0.0.1:{}", free_port()),
        format!("ops=127.0.0.1:{}", free_port()),
        "ip=127.0.0.1".into(),
        "ports=20000-21999".into(),
        "world=none".into(),
    ];
    args.extend(settings(db, "b"));
    Launched::start("all", &args, &dir.join("warp.log"))
}

fn call(to: SocketAddr, talk: Duration) -> Calls<'static> {
    Calls {
        scenario: "customer_call.xml",
        to,
        local: (CUSTOMER_IP, free_port()).into(),
        transport: Transport::Udp,
        caller: CALLER,
        called: CALLED,
        talk,
        count: 1,
        per_second: 1,
        auth: None,
    }
}

fn nanos(money: &Value) -> i64 {
    let read = money["amount"].as_str().and_then(|t| t.parse::<warp_model::Nanos>().ok());
    read.unwrap_or_else(|| panic!("no amount: {money}")).0
}

/// Balance, what is held, and what is free; the promise is checked each time.
fn money(admin: &Api, ban: &str, had: i64) -> (i64, i64, i64) {
    let b = admin.get(&format!("/admin/bans/{ban}/balance"));
    let (balance, held, free) = (nanos(&b["balance"]), nanos(&b["held"]), nanos(&b["free"]));
    assert!(free >= 0 && balance >= 0 && balance <= had, "posted and lent: {b:#}");
    (balance, held, free)
}

#[test]
fn f_proc_04_two_nodes_on_one_postgresql_never_overspend_though_one_is_killed() {
    if !have("sipp", "two_nodes_never_overspend") {
        return;
    }
    let Some(db) = Database::start() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true and no PostgreSQL programs");
        println!("skipped: two_nodes_never_overspend: no PostgreSQL server programs");
        return;
    };
    let (dir_a, dir_b) = (tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir"));
    let answers: SocketAddr = (VENDOR_IP, free_port()).into();
    let _vendor = Sipp::vendor(dir_a.path(), "vendor_answer.xml", answers, Transport::Udp, free_port(), 100);
    let spec = VendorSpec { slug: "answers", rate: "0.004", addr: answers, transport: Transport::Udp };
    let a = Carrier::start_with(dir_a.path(), &[spec], true, &settings(&db, "a"));
    let b = second(dir_b.path(), &db);

    // Ten increments of six seconds at 0.012 a minute, and no more.
    let had = 12_000_000;
    let bans = format!("/admin/customers/{}/bans", a.customer_id);
    let ban = a.admin.post(&bans, json!({"name": "prepaid", "mode": "prepaid"}));
    let ban = ban["id"].as_str().expect("id").to_owned();
    a.admin.ok("PATCH", &format!("/admin/trunks/{}", a.trunk), Some(&json!({"ban_id": ban})));
    // The command line books it.
    let warp = |words: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_warp"))
            .args(words)
            .args(["--json", "--api-url", &format!("http://{}", a.launched.addr("api"))])
            .args(["--api-key", &a.launched.ready["operator_key"]])
            .output()
            .expect("warp runs");
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), said)
    };
    let top_up = ["ledger", "top-up", &ban, "0.012", "--reason", "wire 17", "--key", "wire-17"];
    assert_eq!(warp(&top_up).0, Some(0), "{:?}", warp(&top_up));
    assert_eq!(warp(&top_up).0, Some(0), "the same key books nothing again");
    let (code, listed) = warp(&["ledger", "list", "--ban", &ban]);
    assert_eq!((code, listed.lines().count()), (Some(0), 1), "{listed}");
    assert!(warp(&["balances", &ban]).1.contains("0.012"), "{:?}", warp(&["balances", &ban]));

    // Both nodes borrow ahead, without a call.
    let holders = || {
        let leases = a.admin.get(&format!("/admin/leases?ban={ban}"));
        let leases = leases.as_array().expect("a list").clone();
        let has = |node: &str| leases.iter().any(|l| l["node"] == node && nanos(&l["held"]) > 1_200_000);
        (has("a") && has("b")).then_some(())
    };
    assert!(poll_until(Duration::from_secs(20), holders).is_some(), "{:?}", warp(&["leases", "list"]));
    // Calls that would talk for minutes on both.
    let long = Duration::from_secs(300);
    let _on_a = Sipp::calls(dir_a.path(), &call(a.sip, long));
    let _on_b = Sipp::calls(dir_b.path(), &call(b.addr("sip"), long));
    let spent = poll_until(Duration::from_secs(20), || {
        // Each has paid on for more than what was lent ahead of it.
        let leases = a.admin.get(&format!("/admin/leases?ban={ban}"));
        let granted: i64 = leases.as_array()?.iter().map(|l| nanos(&l["granted"])).sum();
        money(&a.admin, &ban, had);
        (granted > had / 2).then_some(())
    });
    assert!(spent.is_some(), "{:?}", warp(&["leases", "list"]));

    // The answer of each call is in a journal: a call that is not, is not known to anybody after the kill.
    for node in [&a.launched, &b] {
        let url = format!("http://{}/metrics", node.addr("ops"));
        let up = poll_until(Duration::from_secs(20), || {
            let text = ureq::get(&url).call().ok()?.body_mut().read_to_string().ok()?;
            text.contains("warp_sip_dialogs{state=\"confirmed\"} 1").then_some(())
        });
        assert!(
            up.is_some(),
            "no call at {url}: {:#} {:?}",
            a.admin.get("/admin/calls"),
            warp(&["leases", "list"])
        );
    }

    // One is killed in the middle of its call; what it holds stays held, and the other goes on with what is free.
    let api_b = Api::new(b.addr("api"), &a.launched.ready["operator_key"]);
    assert!(money(&a.admin, &ban, had).1 > 0);
    let a = a.kill_and_restart(dir_a.path());
    money(&api_b, &ban, had);
    let ended = poll_until(Duration::from_secs(90), || {
        money(&a.admin, &ban, had);
        let list = a.admin.get("/admin/calls?limit=200");
        let calls = list.as_array()?.clone();
        let cut = calls.iter().any(|c| c["internal_code"] == "no_credit" && c["outcome"] == "answered");
        (cut && calls.iter().any(|c| c["recovered"] == true)).then_some(calls)
    });
    let calls = ended.unwrap_or_else(|| {
        panic!(
            "{:#}\n{:?}\n{}",
            a.admin.get("/admin/calls"),
            money(&a.admin, &ban, had),
            a.launched.log_tail()
        )
    });
    let cut = calls.iter().find(|c| c["internal_code"] == "no_credit").expect("it was there");
    let ms = cut["duration_ms"].as_i64().expect("duration");
    assert_eq!((ms % 6_000, cut["billable_s"].as_i64()), (0, Some(ms / 1_000)), "whole increments: {cut:#}");
    // The lease of the killed process is over when its records are posted; each nano that is gone is in the price of a call.
    let released = poll_until(Duration::from_secs(60), || {
        let leases = a.admin.get(&format!("/admin/leases?ban={ban}"));
        let nodes: Vec<&str> = leases.as_array()?.iter().filter_map(|l| l["node"].as_str()).collect();
        let twice = nodes.iter().filter(|n| **n == "a").count() > 1
            || nodes.iter().filter(|n| **n == "b").count() > 1;
        (!twice).then_some(())
    });
    assert!(released.is_some(), "{:#}", a.admin.get(&format!("/admin/leases?ban={ban}")));
    let sold: i64 = calls.iter().filter(|c| !c["price"].is_null()).map(|c| nanos(&c["price"])).sum();
    assert_eq!(sold, had - money(&a.admin, &ban, had).0, "{calls:#?}");

    // An account without money: 402 before a vendor is tried.
    let bans = format!("/admin/customers/{}/bans", a.customer_id);
    let empty = a.admin.post(&bans, json!({"name": "empty", "mode": "prepaid"}));
    a.admin.ok("PATCH", &format!("/admin/trunks/{}", a.trunk), Some(&json!({"ban_id": empty["id"]})));
    let refused = poll_until(Duration::from_secs(30), || {
        let mut one = Sipp::calls(dir_a.path(), &call(a.sip, Duration::from_millis(100)));
        poll_until(Duration::from_secs(5), || (!one.running()).then_some(()));
        let list = a.admin.get("/admin/calls?limit=200");
        list.as_array()?.iter().find(|c| c["sip_code"] == 402).cloned()
    });
    let refused = refused.expect("a call that nobody pays is refused");
    assert_eq!((&refused["internal_code"], &refused["q850"]), (&json!("no_credit"), &json!(21)));
    drop(b);
}
