//! A start while PostgreSQL is away: calls are decided by the last snapshot on disk, the API comes when the database does. One
//! while it is there, and nothing can be published.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::path::Path;

use serde_json::json;
use sqlx::ConnectOptions;
use warp_control_plane::app::seed::Seed;
use warp_control_plane::publish::kept;
use warp_control_plane::store::cluster::Cluster;
use warp_control_plane::store::migrate;

use super::*;
use crate::config::{Loaded, Sources};
use crate::run::load;

/// Nobody reads the first operator's key.
fn nobody() -> FirstKey {
    Arc::new(|_| ())
}

/// A cluster that ends with its test.
pub(super) struct Database(Cluster);

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.0.stop_now();
        // It may lie elsewhere than asked for, when the service user cannot reach the test's folder.
        let _ = std::fs::remove_dir_all(self.0.data_dir());
    }
}

impl Database {
    /// `None` with a printed line where there are no PostgreSQL programs.
    pub(super) fn start(dir: &Path) -> Option<Database> {
        if Cluster::binaries().is_none() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true and no PostgreSQL programs");
            println!("skipped: no PostgreSQL server programs (apt-get install postgresql)");
            return None;
        }
        let cluster = Cluster::start(dir).expect("cluster");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let owner = cluster.options("warp_super", "postgres");
        runtime.block_on(migrate::bootstrap(&owner, migrate::DATABASE)).expect("roles and database");
        Some(Database(cluster))
    }

    fn url(&self, role: &str) -> String {
        let options = self.0.options(role, migrate::DATABASE);
        let socket = options.get_socket().expect("a socket").display().to_string().replace('/', "%2F");
        format!("postgres://{role}@localhost:{}/{}?host={socket}", options.get_port(), migrate::DATABASE)
    }

    /// What a node on this database is told, with its data in the folder `data` of `dir`.
    pub(super) fn node(&self, dir: &Path, data: &str) -> Loaded {
        let path = dir.join(format!("{data}.toml"));
        let text = format!(
            "[node]\ndata_dir = \"{}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n[sip]\nlisten = [\"udp:127.0.0.1:0\"]\nanchor_media = false\n\
             [events]\nsegment = \"64KiB\"\n[api]\nlisten = \"127.0.0.1:0\"\ndatabase_url = \"{}\"\nmigrate_url = \"{}\"\n",
            dir.join(data).display(),
            self.url(migrate::APP_ROLE),
            self.url(migrate::MIGRATE_ROLE)
        );
        std::fs::write(&path, text).unwrap();
        load(&Config::default(), &Sources { file: Some(path), ..Sources::default() }).unwrap()
    }

    /// Lets the publisher read what has changed, or keeps it from that.
    async fn let_publish(&self, may: bool) {
        // A right that is taken away comes back with the migrations of the next start.
        let (from, to) = if may { ("away", "published_sections") } else { ("published_sections", "away") };
        let statement = format!("ALTER TABLE {from} RENAME TO {to}");
        let mut owner = self.0.options("warp_super", migrate::DATABASE).connect().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut owner).await.unwrap();
    }
}

pub(super) fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "not within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A vendor, a customer and its trunk; gives the snapshot that holds them.
async fn seeded(app: &warp_control_plane::App, vendor_at: SocketAddr) -> String {
    let seed = Seed::new(app);
    let csv = |rate: &str| format!("NPANXX,Interstate,Intrastate,Indeterminate\n415,{rate},{rate},{rate}\n");
    let sell = seed.deck("sell", "us", csv("0.01")).await.unwrap();
    let buy = seed.deck("buy", "us", csv("0.004")).await.unwrap();
    let vendor = json!({ "slug": "alpha", "name": "Alpha", "buy_deck_ids": [buy] });
    let vendor = seed.vendor(vendor).await.unwrap();
    let trunk = json!({ "name": "a1", "addresses": [vendor_at.to_string()] });
    seed.vendor_trunk(vendor, trunk).await.unwrap();
    let partition = json!({ "name": "economy", "vendors": [{ "vendor_id": vendor }] });
    let partition = seed.partition(partition).await.unwrap();
    let customer = json!({ "name": "Acme", "sell_deck_ids": [sell], "partition_id": partition });
    let customer = seed.customer(customer).await.unwrap();
    seed.trunk(customer, json!({ "name": "pbx" }), &["127.0.0.1"], &[]).await.unwrap();
    app.publish_now().await.unwrap().to_string()
}

#[test]
fn f_pg_01_a_start_without_postgresql_takes_calls_from_the_last_snapshot_on_disk_and_the_api_follows() {
    let dir = tempfile::tempdir().unwrap();
    let Some(database) = Database::start(&dir.path().join("pg")) else { return };
    let (customer, vendor) =
        (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    for socket in [&customer, &vendor] {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    let loaded_from = |data: &str| database.node(dir.path(), data);
    let roles: Roles = "sip,api,jobs".parse().unwrap();
    let loaded = loaded_from("data");
    let stack = Stack::start(&loaded, roles).unwrap();
    let app = stack.control_plane.as_ref().unwrap().app().unwrap();
    // Driven all the time: connections that the seeding opens go to the pool of the control plane.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let published = runtime.block_on(seeded(&app, vendor.local_addr().unwrap()));
    let (at, key) = (snapshot_dir(&loaded.config), loaded.config.node.data_dir.join("seal.key"));
    until("the snapshot is on disk", || {
        kept::read(&at, &key).ok().flatten().filter(|k| k.snapshot.id.to_string() == published)
    });
    drop(app);
    stack.stop();

    database.0.stop_now().unwrap();
    let Err(refused) = Stack::start(&loaded, roles) else { panic!("no database") };
    let refused = format!("{refused:#}");
    assert!(refused.contains("database unavailable"), "{refused}");
    let Err(nothing_kept) = Stack::start_even_without_database(&loaded_from("other"), roles, nobody()) else {
        panic!("no database and no snapshot")
    };
    let nothing_kept = format!("{nothing_kept:#}");
    assert!(nothing_kept.contains("database unavailable"), "{nothing_kept}");

    let stack = Stack::start_even_without_database(&loaded, roles, nobody()).unwrap();
    assert_eq!(stack.addresses.api, None);
    let ready = stack.health.readiness();
    assert!(ready.ready, "{ready:?}");
    let parts = ready.to_json()["parts"].clone();
    assert!(parts["api"].to_string().contains("waits for PostgreSQL"), "{parts}");
    assert!(parts["postgres"].to_string().contains("database unavailable"), "{parts}");
    let (from, to) = (customer.local_addr().unwrap(), stack.addresses.sip_udp.unwrap());
    let invite = format!(
        "INVITE sip:+14155550123@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:+12125550100@{from}>;tag=a\r\nTo: <sip:+14155550123@{to}>\r\nCall-ID: without-postgres@test\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:{from}>\r\nContent-Length: 0\r\n\r\n"
    );
    customer.send_to(invite.as_bytes(), to).unwrap();
    let mut bytes = [0; 4_096];
    // OPTIONS may come first: trunks are looked after.
    let asked = until("the INVITE at the vendor", || {
        let n = vendor.recv(&mut bytes).expect("a message");
        let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
        text.starts_with("INVITE ").then_some(text)
    });
    assert!(asked.contains("Call-ID: without-postgres@test"), "{asked}");

    // What nobody has posted stays, however old: the consumer comes with the database. Each record fills a segment.
    let topic = stack.events.topic(TOPIC_CDR_VOICE).unwrap();
    for _ in 0..4 {
        topic.append_durable(b"no record", &[0; 60 << 10]).unwrap();
    }
    let far = warp_model::Wall(i64::MAX);
    assert_eq!(topic.retain(far), 0);

    database.0.launch().unwrap();
    until("the API", || (stack.health.readiness().to_json()["parts"]["api"]["state"] == "up").then_some(()));
    let app = stack.control_plane.as_ref().unwrap().app().unwrap();
    assert_eq!(app.publication.latest().directory.trunks().count(), 1);
    assert!(stack.operator_key().is_ok());
    until("the consumer has them", || (topic.retain(far) > 0).then_some(()));
    drop(app);
    stack.stop();
}

/// What is not fed is not ready: a start whose first snapshot fails is refused though PostgreSQL is there, one that is fed, if only
/// with the snapshot of an empty database, is ready and stays so when the publisher fails.
#[test]
fn a_proxy_is_fed_before_it_is_ready_and_stays_ready_when_the_publisher_fails() {
    let dir = tempfile::tempdir().unwrap();
    let Some(database) = Database::start(&dir.path().join("pg")) else { return };
    let roles: Roles = "sip,api,jobs".parse().unwrap();
    let loaded = database.node(dir.path(), "data");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stack = Stack::start(&loaded, roles).unwrap();
    let ready_with_postgres = |state: &str| {
        let parts = until(state, || {
            let parts = stack.health.readiness().to_json()["parts"].clone();
            (parts["postgres"]["state"] == state).then_some(parts)
        });
        assert!(stack.health.readiness().ready && parts["routing"]["state"] == "up", "{parts}");
        parts
    };
    ready_with_postgres("up");
    // Calls go on with the last snapshot, and the answer says why there is no newer one.
    runtime.block_on(database.let_publish(false));
    let parts = ready_with_postgres("down");
    assert!(parts["postgres"].to_string().contains("published_sections"), "{parts}");
    runtime.block_on(database.let_publish(true));
    ready_with_postgres("up");
    stack.stop();
    runtime.block_on(database.let_publish(false));
    for even_without in [false, true] {
        let started = if even_without {
            Stack::start_even_without_database(&loaded, roles, nobody())
        } else {
            Stack::start(&loaded, roles)
        };
        let Err(refused) = started else { panic!("nothing could be published") };
        assert!(format!("{refused:#}").contains("first snapshot"), "{refused:#}");
    }
    runtime.block_on(database.let_publish(true));
    Stack::start(&loaded, roles).expect("the refused start left nothing running").stop();
}

/// `df` divides by what people can use: blocks kept for root are neither used nor free.
#[test]
fn the_disk_is_as_full_as_df_says() {
    let ratio = |all, free, available| used_ratio(Blocks { all, free, available });
    assert_eq!(ratio(1_000, 400, 350), 600.0 / 950.0);
    // All that people may use is used, and root still has its part: full, as df says.
    assert_eq!(ratio(1_000, 50, 0), 1.0);
    assert_eq!((ratio(1_000, 1_000, 950), ratio(0, 0, 0)), (0.0, 0.0));
    // The same disk by df itself, which rounds up to whole percents; somebody may write in between.
    let dir = std::env::temp_dir();
    let out = std::process::Command::new("df").arg("-P").arg(&dir).output().expect("df");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let said = text.lines().nth(1).and_then(|l| l.split_ascii_whitespace().nth(4)?.strip_suffix('%'));
    let said: f64 = said.and_then(|t| t.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    let ours = used_ratio(blocks(&dir).expect("a file system")) * 100.0;
    assert!((said - 2.0..=said + 1.0).contains(&ours), "df says {said} %, we {ours} %");
}

/// `warp doctor` reads the addresses of a running node by these keys: none may be missing.
#[test]
fn each_address_that_a_node_listens_on_has_its_key() {
    let mut config = Config::default();
    let at = "127.0.0.1:1".parse().unwrap();
    (config.media.ng, config.media.ng_tcp, config.media.http) = (Some(at), Some(at), Some(at));
    (config.smsc.listen, config.smsc.listen_tls, config.smsc.http) = (Some(at), Some(at), Some(at));
    let keys: BTreeSet<&str> = crate::config::listening(&config).into_iter().map(|l| l.key).collect();
    assert_eq!(keys, BTreeSet::from(crate::config::LISTEN_KEYS));
}

/// A build in a checkout knows its commit; one from an archive is told it by `WARP_REVISION`.
#[test]
fn the_revision_is_known() {
    let root = env!("CARGO_MANIFEST_DIR");
    if !Path::new(root).join(".git").exists() {
        println!("skipped: no checkout");
        return;
    }
    let revision = crate::BUILD.revision;
    assert_ne!(revision, "unknown");
    let asked = ["-C", root, "cat-file", "-e", &format!("{revision}^{{commit}}")];
    // Where there is no git, the form must do.
    match std::process::Command::new("git").args(asked).status() {
        Ok(status) => assert!(status.success(), "{revision} is no commit of this checkout"),
        Err(_) => assert!(revision.len() == 12 && revision.bytes().all(|b| b.is_ascii_hexdigit())),
    }
}
