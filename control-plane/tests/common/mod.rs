//! One private cluster per test binary, one database per test. A guardian process ends the cluster when the test binary
//! ends, however it ends. Without PostgreSQL programs the tests skip with a printed line; under CI=true they fail.
#![allow(dead_code)]

use std::future::Future;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use warp_control_plane::store::cluster::Cluster;
use warp_control_plane::store::{Store, StoreError, migrate};

static CLUSTER: OnceLock<Option<Arc<Cluster>>> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);
static COPYING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// Codes of problems that a schema cannot know: what only the state of the platform says, what fields say of each other, and what has a
/// grammar of its own (lines of a sheet, regular expressions).
pub const OF_STATE: &[&str] = &[
    "no_such_object",
    "no_such_number",
    "currency_mismatch",
    "taken",
    "operators_only",
    "cannot_change",
    "belongs_together",
    "contradicts",
    "protected",
    "invalid_line",
    "invalid_pattern",
    "not_configured",
];

/// Migrated once, copied for each test.
const TEMPLATE: &str = "warp_template";

/// The cluster of this test binary, or `None` with a printed line.
pub fn cluster() -> Option<Arc<Cluster>> {
    CLUSTER
        .get_or_init(|| {
            if Cluster::binaries().is_none() {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true and no PostgreSQL programs");
                println!("skipped: no PostgreSQL server programs (apt-get install postgresql)");
                return None;
            }
            let dir = std::env::temp_dir().join(format!("warp-test-pg-{}", std::process::id()));
            let cluster = Cluster::start(&dir).expect("private cluster");
            guard(&cluster, &dir);
            let cluster = Arc::new(cluster);
            let template = cluster.clone();
            let made = std::thread::spawn(move || {
                runtime().block_on(async {
                    let store = Store::on_cluster(template, TEMPLATE).await?;
                    store.disconnect().await;
                    Ok::<(), StoreError>(())
                })
            });
            made.join().unwrap().unwrap_or_else(|e| panic!("template database: {e}"));
            Some(cluster)
        })
        .clone()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs a test on a database of its own.
pub fn with_database<F, Fut>(test: F)
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = ()>,
{
    let Some(cluster) = cluster() else { return };
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    runtime().block_on(async move {
        // PostgreSQL copies a template for one at a time.
        let copying = COPYING.lock().await;
        let made = migrate::copy(&cluster.options("warp_super", "postgres"), TEMPLATE, &name).await;
        made.unwrap_or_else(|e| panic!("database: {e}"));
        drop(copying);
        let store = Store::migrated(cluster, &name).await.unwrap_or_else(|e| panic!("database: {e}"));
        test(store).await;
    });
}

/// A shell that waits for the end of our pipe, then stops the postmaster and removes its folder.
fn guard(cluster: &Cluster, dir: &PathBuf) {
    let data = cluster.data_dir();
    let script = "cat >/dev/null; kill -QUIT \"$(head -1 \"$0/postmaster.pid\")\" 2>/dev/null; \
                  while [ -e \"$0/postmaster.pid\" ]; do sleep 0.1; done; rm -rf \"$1\" \"$0\"";
    let child = Command::new("sh")
        .args(["-c", script])
        .arg(data)
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("guardian");
    // The pipe stays open until this process ends.
    std::mem::forget(child);
}

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warp_control_plane::app::caller::Audience;
use warp_control_plane::app::input::Input;
use warp_control_plane::app::permission::{Permission, Role};
use warp_control_plane::app::{Ctx, keys};
use warp_control_plane::config::DevIssuerSettings;
use warp_control_plane::oidc::dev::{self, Person};
use warp_control_plane::{Config, ControlPlane, Database, Handles};

/// A running API on a database of its own.
pub struct Api {
    /// The control plane that runs.
    pub control: ControlPlane,
    /// The first operator's key, which may do everything.
    pub operator: String,
}

/// An answer of the API, whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.body))
    }
    pub fn data(&self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, self.body);
        self.json()["data"].clone()
    }
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or("").to_owned()
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| {
            let (n, v) = l.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| v.trim())
        })
    }
}

/// Runs a test against a started API.
pub fn with_api<F, Fut>(test: F)
where
    F: FnOnce(Arc<Api>) -> Fut,
    Fut: Future<Output = ()>,
{
    with_configured_api(|_| {}, test);
}

/// The same with other settings.
pub fn with_configured_api<F, Fut>(change: impl FnOnce(&mut Config), test: F)
where
    F: FnOnce(Arc<Api>) -> Fut,
    Fut: Future<Output = ()>,
{
    with_database(|store| async move {
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::new(Database::Private { dir: PathBuf::new() }, listen);
        let folder = tempfile::tempdir().unwrap();
        config.dev_issuer =
            Some(DevIssuerSettings { key_file: folder.path().join("issuer.key"), people: demo_people() });
        change(&mut config);
        let control = warp_control_plane::start_on(store, config, handles()).await.expect("start");
        let operator = control.operator_key.as_ref().expect("first key").reveal().clone();
        let api = Arc::new(Api { control, operator });
        test(api.clone()).await;
        api.control.stop_tasks().await;
        drop(folder);
    });
}

/// Handles without an event log.
pub fn handles() -> Handles {
    let (publisher, _) = warp_feed::channel(warp_policy::Snapshot::empty());
    Handles {
        publisher,
        live: None,
        events: None,
        messaging: None,
        queue: None,
        registry: warp_telemetry::Registry::new(),
        first_key: None,
    }
}

/// Sends raw bytes to a server, reads to the end of the connection.
pub async fn raw(at: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out).await;
    let text = String::from_utf8_lossy(&out).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

impl Api {
    /// Sends raw bytes, reads to the end of the connection.
    pub async fn raw(&self, bytes: &[u8]) -> Reply {
        raw(self.control.addr, bytes).await
    }

    /// A request with any headers and body.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes).await
    }

    /// A JSON request with a key.
    pub async fn call(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
        let bearer = format!("Bearer {key}");
        let text = body.map(|b| b.to_string()).unwrap_or_default();
        self.send(
            method,
            path,
            &[("Authorization", &bearer), ("Content-Type", "application/json")],
            text.as_bytes(),
        )
        .await
    }

    /// A request with the first operator's key, below `/api/v1/admin`.
    pub async fn op(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.call(&self.operator, method, &format!("/api/v1/admin{path}"), body).await
    }

    /// A customer and its key.
    pub async fn customer(&self, name: &str) -> (String, String) {
        let made = self.op("POST", "/customers", Some(serde_json::json!({ "name": name }))).await.data();
        let id = made["id"].as_str().unwrap().to_owned();
        // No key may grant a key what wants a second factor: the program itself may.
        let ctx = Ctx::system(&self.control.app, "test");
        let key = keys::create(&ctx, Some(id.parse().unwrap()), keys::ApiKeyInput::everything("k")).await;
        (id, key.unwrap().secret)
    }

    /// A key that does alone what wants a second factor, as the program itself may make one; whole, with its secret.
    pub async fn key_alone(&self, customer: Option<&str>, mut body: Value) -> Value {
        let alone = Permission::SensitiveUnattended.as_str();
        match body["scopes"].as_array_mut() {
            Some(scopes) => scopes.push(alone.into()),
            None => body["scopes"] = serde_json::json!(["*", alone]),
        }
        let input = keys::ApiKeyInput::from_json(&body).unwrap();
        let ctx = Ctx::system(&self.control.app, "test");
        let made = keys::create(&ctx, customer.map(|c| c.parse().unwrap()), input).await;
        serde_json::to_value(made.unwrap()).unwrap()
    }

    /// A user of this role: of a customer, or of the carrier. Signs in at the demo issuer; gives the user's id and the token.
    pub async fn person(&self, role: Role, customer: Option<&str>) -> (String, String) {
        let subject = subject_of(role);
        let path = customer.map_or("/operators".to_owned(), |c| format!("/customers/{c}/users"));
        let body = serde_json::json!({ "name": subject, "role": role.as_str(), "subject": subject });
        let made = self.op("POST", &path, Some(body)).await.data();
        (made["id"].as_str().unwrap().to_owned(), self.sign_in(role.audience(), &subject, "").await)
    }

    /// The access token of a subject of the demo issuer, by the authorization code flow. `extra` is added to the first request.
    pub async fn sign_in(&self, audience: Audience, subject: &str, extra: &str) -> String {
        use base64::Engine;
        use sha2::Digest;
        let verifier = "v".repeat(43);
        let challenge = sha2::Sha256::digest(verifier.as_bytes());
        let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(challenge);
        let back = "http://127.0.0.1:1/back";
        let query = format!(
            "client_id=warp-dev&response_type=code&code_challenge_method=S256&code_challenge={challenge}&redirect_uri={back}\
             &audience={}&login_hint={subject}&state=s{extra}",
            dev::audience(audience)
        );
        let sent = self.send("GET", &format!("/dev/authorize?{query}"), &[], b"").await;
        let to =
            sent.header("location").unwrap_or_else(|| panic!("{} {}", sent.status, sent.body)).to_owned();
        let code = to.split("code=").nth(1).unwrap().split('&').next().unwrap();
        let form = format!(
            "grant_type=authorization_code&client_id=warp-dev&redirect_uri={back}&code={code}&code_verifier={verifier}"
        );
        let form_type = [("Content-Type", "application/x-www-form-urlencoded")];
        let tokens = self.send("POST", "/dev/token", &form_type, form.as_bytes()).await;
        tokens.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", tokens.body)).to_owned()
    }
}

/// The subject of a role at the demo issuer.
pub fn subject_of(role: Role) -> String {
    format!("{}-{}", role.audience().as_str(), role.as_str())
}

fn demo_people() -> Vec<Person> {
    let of = |audience| {
        Role::all(audience).map(move |role| Person {
            subject: subject_of(role),
            name: "Demo".into(),
            audience,
        })
    };
    of(Audience::Customer).chain(of(Audience::Operator)).collect()
}

/// Waits for a condition, at most 30 s.
pub async fn eventually<T, Fut: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> Fut) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let mut look = tokio::time::interval(std::time::Duration::from_millis(10));
    loop {
        look.tick().await;
        if let Some(value) = probe().await {
            return value;
        }
        assert!(std::time::Instant::now() < deadline, "not within 30 s: {what}");
    }
}

/// A record of an answered call as the data plane writes it.
pub fn record(cdr_id: &str, customer: &str, trunk: &str) -> Value {
    let side = serde_json::json!({
        "deck_version": "deck_1@1", "prefix": "1415", "rate_per_min": "0.01", "increment_initial_s": 6,
        "increment_next_s": 6, "setup_fee": "0", "billable_s": 60, "charge": "0.01", "currency": "USD", "sum": "60 s"
    });
    let text = r#"{
        "cdr_id": "CDR", "version": 1, "sip_call_id": "abc@host", "customer_id": "CUSTOMER", "trunk_id": "TRUNK",
        "ingress_ip": "192.0.2.7", "ingress_user": null, "caller": "+12025550100", "called": "4155550123",
        "caller_e164": "+12025550100", "called_e164": "+14155550123", "jurisdiction": "interstate",
        "setup_at": 1795353285000000, "progress_at": null, "answer_at": 1795353286000000,
        "end_at": 1795353346000000, "pdd_ms": 40, "duration_ms": 60000, "sip_code": 200, "q850": 16,
        "release_side": "caller", "internal_code": "", "outcome": "answered", "recovered": false,
        "snapshot_id": "snap", "route_rank": 1, "vendor_id": "vnd_00000000000000000000000001",
        "vendor_trunk_id": "vtk_00000000000000000000000001",
        "rating": { "sell": SIDE, "buy": SIDE, "margin": "0" }, "media": null, "decision": { "candidates": [] },
        "legs": [{ "attempt_no": 1, "vendor_id": "vnd_00000000000000000000000001", "vendor_trunk_id": null,
            "egress_ip": "192.0.2.80", "start_at": 1795353285000100, "pdd_ms": 40, "sip_code": 200, "q850": null,
            "end_at": 1795353286000000, "ended_by": "answered" }],
        "node": "n1"
    }"#;
    let text = text
        .replace("CDR", cdr_id)
        .replace("CUSTOMER", customer)
        .replace("TRUNK", trunk)
        .replace("SIDE", &side.to_string());
    serde_json::from_str(&text).unwrap()
}

/// A posted call of a customer, through the real consumer.
pub async fn insert_call(api: &Api, customer: &str, trunk: &str) -> String {
    insert_changed_call(api, customer, trunk, |_| {}).await
}

/// The same of another record.
pub async fn insert_changed_call(
    api: &Api,
    customer: &str,
    trunk: &str,
    change: impl FnOnce(&mut Value),
) -> String {
    let dir = tempfile::tempdir().unwrap();
    let log = event_log(dir.path());
    let id = warp_model::CallId::new(api.control.app.wall(), api.control.app.random_id()).to_string();
    let mut value = record(&id, customer, trunk);
    change(&mut value);
    let value = value.to_string();
    let topic = log.topic(warp_events::TOPIC_CDR_VOICE).unwrap();
    topic.append_durable(id.as_bytes(), value.as_bytes()).unwrap();
    let app = &api.control.app;
    let consumer = warp_control_plane::billing::consumer::Consumer::new(
        app.store.clone(),
        &log,
        "test",
        app.metrics.clone(),
    );
    let step = consumer.unwrap().step().await.unwrap();
    assert_eq!(step, warp_control_plane::billing::consumer::Step::Posted(1));
    id
}

/// An event log in a folder.
pub fn event_log(dir: &std::path::Path) -> warp_events::EventLog {
    let metrics = warp_events::EventsMetrics::new(&warp_telemetry::Registry::new());
    warp_events::EventLog::open(dir, warp_events::LogOptions::new(metrics)).unwrap()
}

/// The sum of each account's lines is nothing, and that of its lines `balance` is its balance.
pub async fn audit(api: &Api) {
    let mut tx =
        api.control.app.store.begin(warp_control_plane::store::Scope::Operator("test")).await.unwrap();
    let wrong: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM (SELECT posting_id FROM ledger_lines GROUP BY posting_id HAVING sum(amount) <> 0) x)
            + (SELECT count(*) FROM ban_balances b WHERE balance <> (SELECT sum(amount) FROM ledger_lines l
                WHERE l.ban_id = b.ban_id AND l.account = 'balance'))
            + (SELECT count(*) FROM calls c WHERE posting_id IS NOT NULL
                AND NOT EXISTS (SELECT FROM ledger_postings p WHERE p.id = c.posting_id AND p.ban_id = c.ban_id))
            + (SELECT count(*) FROM bans b WHERE (SELECT coalesce(sum(sell), 0) FROM calls c WHERE c.ban_id = b.id)
                <> -(SELECT coalesce(sum(amount), 0) FROM ledger_postings p WHERE p.ban_id = b.id AND kind = 'usage'))",
    )
    .fetch_one(tx.db())
    .await
    .unwrap();
    assert_eq!(wrong, 0, "the books do not agree");
}

/// Gives the targets of a route an id of a bind to this vendor.
pub async fn with_targets(api: &Api, body: &mut Value, vendor: &str) {
    if body["targets"].is_array() {
        body["targets"] = serde_json::json!([a_bind(api, vendor).await]);
    }
}

/// The id of a bind to this vendor, which is made when there is none.
async fn a_bind(api: &Api, vendor: &str) -> String {
    let id = |bind: &Value| bind["id"].as_str().map(str::to_owned);
    if let Some(id) = id(&api.op("GET", "/vendor-binds?name=any", None).await.data()[0]) {
        return id;
    }
    let body = serde_json::json!({ "name": "any", "addresses": ["192.0.2.9:2775"], "system_id": "warp" });
    id(&api.op("POST", &format!("/vendors/{vendor}/binds"), Some(body)).await.data()).unwrap()
}

/// Gives another value to those of these fields that are there.
pub fn renamed(body: &mut Value, fields: &[&str]) {
    for field in fields.iter().filter(|f| body[**f].is_string()).copied().collect::<Vec<_>>() {
        body[field] = "another".into();
    }
}
