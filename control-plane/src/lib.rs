//! The control plane: REST API, PostgreSQL store, snapshot publisher, CDR posting.
//!
//! Layers, top to bottom: `api` (the HTTP edge: limits, keys, envelope, OpenAPI) → `app` (one function per use case) →
//! `store` (rows), `publish` (rows → policy snapshot), `billing` (event log → rows). What can be computed sits in
//! `warp_policy`. No call ever waits for anything in here: calls are decided from the last published snapshot.
#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod audience;
pub mod billing;
pub mod config;
pub mod destination;
pub mod jobs;
pub mod metrics;
pub mod noun;
pub mod oidc;
pub mod outbox;
pub mod publish;
pub mod store;
pub mod webhooks;

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use sha2::Digest;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use warp_events::{EventLog, TOPIC_CDR_VOICE};
use warp_model::sync::lock;
use warp_model::{CustomerId, Mono, Secret, Wall};
use warp_policy::messaging::Messaging;
use warp_policy::{Snapshot, VendorTrunkLive};
use warp_telemetry::Registry;
use warp_telemetry::health::Part;

use api::endpoint::Endpoint;
pub use api::limiter::Edge;
use api::limiter::Limiter;
use api::tls::Tls;
use app::caller::{Audience, Who};
pub use config::Config;
use metrics::Metrics;
use oidc::Issuers;
use oidc::dev::DevIssuer;
use publish::messaging::MessagingFeed;
use publish::{Publication, PublishError};
pub use store::{Database, is_database_url};
use store::{Store, StoreError};

/// What the composition root gives.
pub struct Handles {
    /// Where compiled snapshots are published to.
    pub publisher: warp_feed::Publisher<Snapshot>,
    /// Live figures of the vendor trunks, in the order of the snapshot's directory, for the route tester.
    pub live: Option<LiveFigures>,
    /// Where finished calls are read from; `None` = nothing is posted here.
    pub events: Option<EventLog>,
    /// Where what SMSCs decide by is published to; `None` = there is none here.
    pub messaging: Option<warp_feed::Publisher<Messaging>>,
    /// The queue of the SMSC of this process, whose messages are posted; `None` = there is none.
    pub queue: Option<EventLog>,
    /// Where the metrics are shown.
    pub registry: Registry,
    /// Is told the first operator's key as soon as the database has it, whatever the rest of the start comes to: nobody can read
    /// it there. `None`: whoever starts it takes it from [`ControlPlane::operator_key`].
    pub first_key: Option<FirstKey>,
}

/// Shows the first operator's key to whoever started the process.
pub type FirstKey = Arc<dyn Fn(&str) + Send + Sync>;

/// Reads the live figures that the call path would decide with.
pub type LiveFigures = Arc<dyn Fn(&Snapshot) -> Vec<VendorTrunkLive> + Send + Sync>;

/// Everything that use cases share.
pub struct App {
    /// The settings of the start.
    pub config: Config,
    /// The door to the rows in PostgreSQL.
    pub store: Store,
    /// The metrics of the control plane.
    pub metrics: Metrics,
    /// Every endpoint of the API.
    pub endpoints: Vec<Endpoint>,
    /// Who says who somebody is.
    pub issuers: Issuers,
    /// The issuer of the demo world, when there is one.
    pub dev_issuer: Option<Arc<DevIssuer>>,
    /// The certificate of the listener, when it speaks TLS.
    pub tls: Option<Arc<Tls>>,
    /// The token buckets of the edge.
    pub limits: EdgeLimits,
    /// Limits of the edge in force.
    edge: ArcSwap<Edge>,
    /// Rings after each committed change that calls depend on.
    pub changed: Notify,
    /// Rings when a call was posted whose price could not be checked at once.
    pub unchecked: Notify,
    /// What calls are decided from.
    pub publication: Publication,
    /// What SMSCs decide by.
    pub messaging: Option<MessagingFeed>,
    /// Live figures of the vendor trunks.
    pub live: Option<LiveFigures>,
    /// Where events stand, for those who follow them.
    pub feed: outbox::Feed,
    /// Sends deliveries of webhooks.
    pub webhooks: webhooks::send::Sender,
    /// Sends their mails; `None`: this platform sends none.
    pub mail: Option<webhooks::mail::Post>,
    /// Places of downloads: so many at once.
    pub downloads: Arc<tokio::sync::Semaphore>,
    /// Told whether the database answers.
    health: OnceLock<Part>,
    /// Where the proxy's vendor trunks stand.
    trunk_door: OnceLock<app::trunk_health::Door>,
    /// What the proxy's calls are paid from.
    credit_door: OnceLock<billing::credit::Door>,
    /// Answers what nodes are asked, of this process.
    node_door: OnceLock<app::nodes::Door>,
    /// The name of this process, which no other one has.
    process: String,
    /// The SMSC of this process.
    message_door: OnceLock<app::messages::Door>,
    /// Every record that was in the event log at the start, those of earlier processes included, is posted.
    caught_up: AtomicBool,
    /// The same of the queue of messages; true where there is none.
    messages_caught_up: AtomicBool,
    started: Instant,
}

/// The token buckets of the edge: by key, by customer, by address.
pub struct EdgeLimits {
    /// The bucket of each key and each user.
    pub by_key: Limiter<Who>,
    /// Of all keys of a customer.
    pub by_customer: Limiter<CustomerId>,
    /// The bucket of failed authentications from each address.
    pub by_address: Limiter<std::net::IpAddr>,
    /// Hashes of keys that were good lately.
    known: Mutex<HashSet<[u8; 32]>>,
}

/// Files that are downloaded at once.
const DOWNLOADS: usize = 64;

/// Hashes of good keys that are remembered; when full, all are forgotten and learnt again.
const KNOWN_KEYS: usize = 10_000;

impl EdgeLimits {
    /// Was this secret good lately? It is still checked: this only says that it is no guess.
    pub(crate) fn is_known(&self, secret: &str) -> bool {
        lock(&self.known).contains(&digest(secret))
    }

    /// It is good.
    pub(crate) fn know(&self, secret: &str) {
        let mut known = lock(&self.known);
        if known.len() >= KNOWN_KEYS {
            known.clear();
        }
        known.insert(digest(secret));
    }
}

fn digest(secret: &str) -> [u8; 32] {
    sha2::Sha256::digest(secret.as_bytes()).into()
}

/// Why the control plane does not start.
#[derive(Debug)]
pub enum StartError {
    /// The database refused, or is away.
    Store(StoreError),
    /// The address cannot be listened on.
    Listen(SocketAddr, std::io::Error),
    /// The first snapshot could not be made.
    Publish(PublishError),
    /// The event log could not be read.
    Events(String),
    /// The key of secrets at rest cannot be used.
    Seal(store::seal::SealError),
    /// A first key or object could not be made.
    Bootstrap(String),
    /// The certificate of the listener cannot be used.
    Tls(String),
    /// The issuer of the demo world has no key.
    DevIssuer(String),
    /// The secret of our client at an issuer cannot be read.
    Login(String),
    /// The certificates that endpoints of webhooks may have cannot be read.
    Webhooks(String),
    /// The settings of mail cannot be used.
    Mail(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(e) => write!(f, "{e}"),
            Self::Listen(addr, e) => write!(f, "API listener {addr}: {e}"),
            Self::Publish(e) => write!(f, "first snapshot: {e}"),
            Self::Events(e) => write!(f, "event log: {e}"),
            Self::Seal(e) => write!(f, "{e}"),
            Self::Bootstrap(e) => write!(f, "first start: {e}"),
            Self::Tls(e) => write!(f, "certificate of the API: {e}"),
            Self::DevIssuer(e) => write!(f, "issuer of the demo world: {e}"),
            Self::Login(e) => write!(f, "sign-in of browsers: {e}"),
            Self::Webhooks(e) => write!(f, "api.webhook_ca: {e}"),
            Self::Mail(e) => f.write_str(e),
        }
    }
}

impl std::error::Error for StartError {}

impl From<StoreError> for StartError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<store::seal::SealError> for StartError {
    fn from(e: store::seal::SealError) -> Self {
        Self::Seal(e)
    }
}

/// A running control plane.
pub struct ControlPlane {
    /// Where the API listens.
    pub addr: SocketAddr,
    /// The first operator's key, made just now because there was none: show it once.
    pub operator_key: Option<Secret<String>>,
    /// For use cases in process: the demo world, the CLI.
    pub app: Arc<App>,
    registry: Registry,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Opens the store, starts publisher, consumer and listener. Runs on the caller's tokio runtime.
pub async fn start(config: Config, handles: Handles) -> Result<ControlPlane, StartError> {
    let store = Store::open(&config.database).await?;
    start_opened(store, config, handles).await
}

/// The same when the store is open already.
pub async fn start_opened(
    store: Store,
    config: Config,
    handles: Handles,
) -> Result<ControlPlane, StartError> {
    let cluster = store.shared_cluster();
    let control = match start_on(store, config, handles).await {
        Ok(control) => control,
        Err(why) => {
            // A start that fails leaves nothing running.
            if let Some(cluster) = cluster {
                store::stop_cluster(cluster).await;
            }
            return Err(why);
        }
    };
    // A cluster that we started is ours to keep alive; a server of somebody else's is not.
    if let Some(cluster) = control.app.store.shared_cluster() {
        let keeper = tokio::spawn(keep_alive(cluster, control.stop.subscribe()));
        lock(&control.tasks).push(keeper);
    }
    Ok(control)
}

/// Looks after the private PostgreSQL until told to stop: a postmaster that died is started again (F-PG-01).
async fn keep_alive(cluster: Arc<store::cluster::Cluster>, mut stop: watch::Receiver<bool>) {
    let mut pause = KEEPER_LOOKS;
    while tokio::time::timeout(pause, stop.wait_for(|s| *s)).await.is_err() {
        let looked = cluster.clone();
        pause = match tokio::task::spawn_blocking(move || looked.revive()).await {
            Ok(Ok(false)) => KEEPER_LOOKS,
            Ok(Ok(true)) => {
                tracing::warn!("the private PostgreSQL had died and was started again");
                KEEPER_LOOKS
            }
            Ok(Err(e)) => {
                tracing::warn!(error = %e, "the private PostgreSQL died and does not start");
                (pause * 2).min(KEEPER_LOOKS_MAX)
            }
            Err(e) => {
                tracing::error!(error = %e, "the look after the private PostgreSQL failed");
                KEEPER_LOOKS_MAX
            }
        };
    }
}

/// How often the private PostgreSQL is looked after; its return within 5 s is promised (F-PG-01).
const KEEPER_LOOKS: Duration = Duration::from_millis(500);
/// Longest pause while it does not start.
const KEEPER_LOOKS_MAX: Duration = Duration::from_secs(15);

/// As [`start_opened`], without looking after a private cluster.
pub async fn start_on(store: Store, config: Config, handles: Handles) -> Result<ControlPlane, StartError> {
    let Handles { publisher, live, events, messaging, queue, registry, first_key } = handles;
    let store = match &config.key_file {
        Some(path) => {
            let seal = store::seal::Seal::open(path, &store).await?;
            store.sealed_with(seal)
        }
        None => store,
    };
    store::seal::seal_what_is_clear(&store).await?;
    let listen = config.listen;
    let listener = bind(listen, config.next_free_port).await?;
    let addr = listener.local_addr().map_err(|e| StartError::Listen(listen, e))?;
    let mut app = App::new(store, config, &registry, publisher, live);
    app.messaging = messaging.map(MessagingFeed::new);
    app.messages_caught_up = AtomicBool::new(queue.is_none());
    app.issuers_at(addr)?;
    if let Some(files) = app.config.tls.clone() {
        let tls = Tls::open(files).map_err(|e| StartError::Tls(e.to_string()))?;
        app.tls = Some(Arc::new(tls));
    }
    app.webhooks = webhooks::send::Sender::new(&app.config.webhooks).map_err(StartError::Webhooks)?;
    app.mail =
        app.config.mail.as_ref().map(webhooks::mail::Post::new).transpose().map_err(StartError::Mail)?;
    let app = Arc::new(app);
    let first = app::keys::bootstrap(&app::Ctx::system(&app, "bootstrap")).await;
    let first = first.map_err(|e| StartError::Bootstrap(e.to_string()))?;
    if let (Some(tell), Some(key)) = (&first_key, &first) {
        tell(&key.secret);
    }
    // The first snapshot is there before the first request, and before the caller goes on to start the data plane.
    app.publication.publish_now(&app).await.map_err(StartError::Publish)?;
    if let Some(messaging) = &app.messaging {
        messaging.publish_now(&app).await?;
    }
    let (stop, stopping) = watch::channel(false);
    let mut tasks = vec![
        tokio::spawn(publish::run(app.clone(), stopping.clone())),
        tokio::spawn(publish::listen(app.clone(), stopping.clone())),
        tokio::spawn(housekeeping(app.clone(), stopping.clone())),
        tokio::spawn(outbox::run(app.clone(), stopping.clone())),
        tokio::spawn(webhooks::run(app.clone(), stopping.clone())),
        tokio::spawn(outbox::standings::run(app.clone(), stopping.clone())),
        tokio::spawn(app::nodes::run(app.clone(), stopping.clone())),
    ];
    let log_id = match &events {
        Some(log) => Some(log.topic(TOPIC_CDR_VOICE).map_err(|e| StartError::Events(e.to_string()))?.log()),
        None => None,
    };
    tasks.push(tokio::spawn(billing::credit::run(app.clone(), log_id, stopping.clone())));
    if let Some(log) = &events {
        let name = app.config.consumer.clone();
        let consumer = billing::consumer::Consumer::new(app.store.clone(), log, &name, app.metrics.clone());
        let consumer = consumer.map_err(|e| StartError::Events(e.to_string()))?;
        tasks.push(tokio::spawn(consumer.rating_again(app.clone()).run(stopping.clone())));
        tasks.push(tokio::spawn(billing::recheck::run(app.clone(), stopping.clone())));
        tasks.push(tokio::spawn(billing::retention::run(app.clone(), stopping.clone())));
    }
    if let Some(log) = &queue {
        let name = format!("{}-messages", app.config.consumer);
        let consumer =
            billing::messages::MessageConsumer::new(app.store.clone(), log, &name, app.metrics.clone());
        let consumer = consumer.map_err(|e| StartError::Events(e.to_string()))?;
        tasks.push(tokio::spawn(consumer.telling(app.clone()).run(stopping.clone())));
    }
    if let Some(spool) = app.config.spool.clone() {
        tasks.push(tokio::spawn(jobs::run(app.clone(), spool, stopping.clone())));
    }
    if let Some(dir) = app.config.snapshot_dir.clone() {
        tasks.push(tokio::spawn(publish::kept::run(app.clone(), dir, stopping.clone())));
    }
    if app.tls.is_some() {
        tasks.push(tokio::spawn(watch_certificate(app.clone(), stopping.clone())));
    }
    tasks.push(tokio::spawn(api::server::run(listener, app.clone(), stopping)));
    Ok(ControlPlane {
        addr,
        operator_key: first.map(|k| Secret::new(k.secret)),
        app,
        registry,
        stop,
        tasks: tasks.into(),
    })
}

/// The wanted address, or (when allowed) the next free port within 100.
async fn bind(wanted: SocketAddr, next_free: bool) -> Result<tokio::net::TcpListener, StartError> {
    let mut addr = wanted;
    loop {
        match tokio::net::TcpListener::bind(addr).await {
            Ok(listener) => return Ok(listener),
            Err(e) => {
                let taken = e.kind() == std::io::ErrorKind::AddrInUse;
                let next = addr.port().checked_add(1).filter(|p| p - wanted.port() <= 100);
                match next {
                    Some(port) if taken && next_free => addr.set_port(port),
                    _ => return Err(StartError::Listen(addr, e)),
                }
            }
        }
    }
}

/// Looks whether the certificate was renewed, until told to stop.
async fn watch_certificate(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    while tokio::time::timeout(api::tls::LOOKS, stop.wait_for(|s| *s)).await.is_err() {
        app.renew_certificate();
    }
}

/// Deletes what has expired, every ten minutes, until told to stop.
async fn housekeeping(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        let expired = async {
            let mut tx = app.store.begin(store::Scope::Operator("housekeeping")).await?;
            store::housekeeping::expire(&mut tx).await?;
            tx.commit().await
        };
        if let Err(e) = app::keys::watch_recovered(&app).await {
            tracing::debug!(error = %e, "recovered keys are counted when the database answers");
        }
        if let Err(e) = expired.await {
            tracing::debug!(error = %e, "housekeeping waits for the database");
        }
        let pause = Duration::from_secs(600);
        if tokio::time::timeout(pause, stop.wait_for(|s| *s)).await.is_ok() {
            return;
        }
    }
}

impl ControlPlane {
    /// Where its metrics are shown.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Ends listener and tasks, then the pool and the private cluster.
    pub async fn stop(self) {
        self.stop_tasks().await;
        if let Err(e) = self.app.store.close().await {
            tracing::warn!(error = %e, "the database did not stop cleanly");
        }
    }

    /// Ends listener and tasks; the database stays.
    pub async fn stop_tasks(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks {
            if let Err(e) = task.await {
                tracing::error!(error = %e, "a task of the control plane ended badly");
            }
        }
    }
}

impl App {
    /// Without listener and tasks: for tests and for use cases in process.
    pub fn new(
        store: Store,
        config: Config,
        registry: &Registry,
        publisher: warp_feed::Publisher<Snapshot>,
        live: Option<LiveFigures>,
    ) -> Self {
        store.count_requests_in(warp_telemetry::health::request_seconds(registry, "postgres"));
        Self {
            limits: EdgeLimits {
                by_key: Limiter::new(10_000),
                by_customer: Limiter::new(10_000),
                by_address: Limiter::new(10_000),
                known: Mutex::default(),
            },
            issuers: Issuers::new(config.customer_issuer.clone(), config.operator_issuer.clone()),
            dev_issuer: None,
            tls: None,
            edge: ArcSwap::from_pointee(config.edge.clone()),
            metrics: Metrics::new(registry),
            endpoints: api::endpoints(),
            changed: Notify::new(),
            unchecked: Notify::new(),
            publication: Publication::new(publisher),
            messaging: None,
            live,
            feed: outbox::Feed::default(),
            webhooks: webhooks::send::Sender::public(),
            mail: None,
            downloads: Arc::new(tokio::sync::Semaphore::new(DOWNLOADS)),
            health: OnceLock::new(),
            trunk_door: OnceLock::new(),
            credit_door: OnceLock::new(),
            node_door: OnceLock::new(),
            process: process_name(),
            message_door: OnceLock::new(),
            caught_up: AtomicBool::new(false),
            messages_caught_up: AtomicBool::new(true),
            started: Instant::now(),
            config,
            store,
        }
    }

    /// Opens the issuer of the demo world, when the deployment asked for one. It stands for each audience that has no other.
    fn issuers_at(&mut self, addr: SocketAddr) -> Result<(), StartError> {
        for settings in [&self.config.customer_issuer, &self.config.operator_issuer].into_iter().flatten() {
            // The file is read at each use, so that a new secret needs no restart; that it is there is seen now.
            let secret = settings.client.as_ref().and_then(|c| c.secret_file.as_deref());
            secret.map(oidc::issuer::read_secret).transpose().map_err(StartError::Login)?;
        }
        let Some(settings) = &self.config.dev_issuer else { return Ok(()) };
        let opened = DevIssuer::open(&settings.key_file, &format!("http://{addr}"), settings.people.clone());
        let dev = opened.map_err(StartError::DevIssuer)?;
        let of = |audience| {
            Some(oidc::issuer::IssuerSettings {
                issuer: dev.issuer().to_owned(),
                audience: oidc::dev::audience(audience).to_owned(),
                client: Some(oidc::issuer::ClientSettings {
                    id: oidc::dev::CLIENT.to_owned(),
                    secret_file: None,
                    url: format!("http://{addr}"),
                    step_up_acr: None,
                }),
            })
        };
        self.issuers = Issuers::new(
            self.config.customer_issuer.clone().or_else(|| of(Audience::Customer)),
            self.config.operator_issuer.clone().or_else(|| of(Audience::Operator)),
        );
        self.dev_issuer = Some(Arc::new(dev));
        Ok(())
    }

    /// From now on this part of the process' health says whether the database answers. Only the first call counts.
    pub fn report_health_to(&self, part: Part) {
        let _ = self.health.set(part);
        self.changed.notify_one();
    }

    /// From now on the health of vendor trunks is asked and changed through this door.
    pub fn vendor_trunks_through(&self, door: app::trunk_health::Door) {
        let _ = self.trunk_door.set(door);
    }

    /// The door to the proxy of this process, when there is one.
    pub fn trunk_door(&self) -> Option<&app::trunk_health::Door> {
        self.trunk_door.get()
    }

    /// From now on money is borrowed for the calls of this proxy. Only the first call counts.
    pub fn lend_credit_through(&self, door: billing::credit::Door) {
        let _ = self.credit_door.set(door);
    }

    /// From now on what nodes are asked is answered for this process through this door. Only the first call counts.
    pub fn nodes_through(&self, door: app::nodes::Door) {
        let _ = self.node_door.set(door);
    }

    /// The door to what this process can tell of its calls, when it has a proxy.
    pub fn node_door(&self) -> Option<&app::nodes::Door> {
        self.node_door.get()
    }

    /// The name of this process among those that ask and answer one another.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// What the calls of this process' proxy are paid from, when there is one.
    pub fn credit_door(&self) -> Option<&billing::credit::Door> {
        self.credit_door.get()
    }

    /// Whether the records of every earlier process of this node are posted.
    pub fn has_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire) && self.messages_caught_up.load(Ordering::Acquire)
    }

    /// Every message that was in the queue at the start is posted.
    pub(crate) fn messages_caught_up(&self) {
        self.messages_caught_up.store(true, Ordering::Release);
    }

    /// From now on messages are sent through this door. Only the first call counts.
    pub fn messages_through(&self, door: app::messages::Door) {
        let _ = self.message_door.set(door);
    }

    /// The SMSC of this process, when there is one.
    pub fn message_door(&self) -> Option<&app::messages::Door> {
        self.message_door.get()
    }

    /// They are: the end of the event log was reached.
    pub(crate) fn caught_up(&self) {
        self.caught_up.store(true, Ordering::Release);
    }

    /// Other limits at the edge, for requests that begin from now on (F-CFG-02).
    pub fn configure(&self, edge: Edge) {
        self.edge.store(Arc::new(edge));
        self.renew_certificate();
    }

    /// Takes the certificate of the listener anew when its files have changed.
    pub(crate) fn renew_certificate(&self) {
        let Some(tls) = &self.tls else { return };
        match tls.reload() {
            Ok(true) => tracing::info!("the certificate of the API was renewed"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "the new certificate of the API cannot be used; the old one stays")
            }
        }
    }

    /// Limits at the edge in force.
    pub fn edge(&self) -> Arc<Edge> {
        self.edge.load_full()
    }

    /// The database answered, or why it did not.
    pub(crate) fn database_is(&self, fault: Option<String>) {
        match (self.health.get(), fault) {
            (Some(part), None) => part.up(),
            (Some(part), Some(why)) => part.down(why),
            (None, _) => {}
        }
    }

    /// What the wall clock says now.
    pub fn wall(&self) -> Wall {
        wall_now()
    }

    /// The monotonic clock since our start.
    pub fn mono(&self) -> Mono {
        Mono(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Fills `out` from the operating system's generator.
    pub fn random(&self, out: &mut [u8]) {
        random(out);
    }

    /// Random bits for an id.
    pub fn random_id(&self) -> u128 {
        let mut bytes = [0; 16];
        self.random(&mut bytes);
        u128::from_le_bytes(bytes)
    }

    /// Publishes what the rows say now; when it returns, new calls are decided by it. The demo world calls it once at
    /// the end of its seeding.
    pub async fn publish_now(&self) -> Result<warp_policy::SnapshotId, PublishError> {
        if let Some(messaging) = &self.messaging {
            messaging.publish_now(self).await?;
        }
        self.publication.publish_now(self).await
    }

    /// The published snapshot, as in CDRs.
    pub fn snapshot_id(&self) -> String {
        self.publication.latest().id.to_string()
    }
}

fn random(out: &mut [u8]) {
    if let Err(e) = getrandom::fill(out) {
        // Without randomness no secret may be made; Linux never gets here after boot.
        tracing::error!(error = %e, "no randomness");
        std::process::abort();
    }
}

fn process_name() -> String {
    let mut bytes = [0; 16];
    random(&mut bytes);
    format!("{:032x}", u128::from_le_bytes(bytes))
}

pub(crate) fn wall_now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
