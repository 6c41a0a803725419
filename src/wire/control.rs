//! The control plane on a runtime of its own: nothing on the call path shares its threads.
//!
//! When the database does not answer at the start, the node may begin without it: calls are decided by the last snapshot that
//! was kept on disk, and the control plane starts by itself as soon as the database is there (RFC 0003).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use warp_capture::Capture;
use warp_control_plane::app::messages::Door as MessageDoor;
use warp_control_plane::app::trunk_health::{Door, Standing};
use warp_control_plane::app::trunks::Registration;
use warp_control_plane::billing::credit::Door as CreditDoor;
use warp_control_plane::publish::kept;
use warp_control_plane::store::{Store, StoreError};
use warp_control_plane::{ControlPlane, Edge, FirstKey, Handles, LiveFigures, StartError};
use warp_events::EventLog;
use warp_feed::Publisher;
use warp_model::sync::lock;
use warp_policy::Snapshot;
use warp_policy::credit::Wallet;
use warp_policy::messaging::Messaging;
use warp_sip_proxy::Commander;
use warp_sip_proxy::core::{Registered, TrunkState};
use warp_telemetry::health::Part;
use warp_telemetry::{Health, Registry};

use crate::config::Config;

/// A running control plane, or one that waits for its database. Dropping it stops listener, tasks and the private
/// PostgreSQL cluster.
pub(super) struct ControlThread {
    runtime: Option<tokio::runtime::Runtime>,
    shared: Arc<Shared>,
    addr: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    waiting: Option<JoinHandle<()>>,
}

/// What the control plane posts and publishes besides calls.
pub(super) struct Logs {
    /// Finished calls; `None` = nothing is posted here.
    pub(super) events: Option<EventLog>,
    /// Where what SMSCs decide by is published to.
    pub(super) messaging: Option<Publisher<Messaging>>,
    /// The queue of the SMSC.
    pub(super) queue: Option<EventLog>,
}

/// What the thread that waits for the database shares with its owner.
struct Shared {
    /// The name of this node.
    node: String,
    control: Mutex<Option<ControlPlane>>,
    /// Limits at the edge that a reload brought while there was no edge.
    edge: Mutex<Option<Edge>>,
    /// The proxy that came before the API, and what it captures.
    proxy: Mutex<Option<(Commander, Option<Capture>)>>,
    /// The SMSC that came before the API.
    messages: Mutex<Option<MessageDoor>>,
    /// What its messages are paid from, when there is no proxy.
    wallet: Mutex<Option<CreditDoor>>,
    api: Part,
    postgres: Part,
}

/// Longest pause between attempts to reach the database.
const RETRY_MAX: Duration = Duration::from_secs(2);

impl ControlThread {
    /// Starts it. `without_database`: when the database does not answer and a snapshot was kept on disk, that one is published
    /// and the control plane comes later.
    pub(super) fn start(
        config: &Config,
        publisher: Publisher<Snapshot>,
        live: LiveFigures,
        logs: Logs,
        (registry, health): (&Registry, &Health),
        without_database: bool,
        first_key: Option<FirstKey>,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("api")
            .enable_all()
            .build()
            .context("runtime")?;
        let settings = config.api.control_plane(config);
        let shared = Arc::new(Shared {
            node: config.node.name.clone(),
            control: Mutex::new(None),
            edge: Mutex::new(None),
            proxy: Mutex::new(None),
            messages: Mutex::new(None),
            wallet: Mutex::new(None),
            api: health.optional("api"),
            postgres: health.optional("postgres"),
        });
        let Logs { events, messaging, queue } = logs;
        let registry = registry.clone();
        let handles = Handles { publisher, live: Some(live), events, messaging, queue, registry, first_key };
        let (stop, stopping) = watch::channel(false);
        let mut thread = Self { runtime: None, shared: shared.clone(), addr: None, stop, waiting: None };
        match runtime.block_on(Store::open(&settings.database)) {
            Ok(store) => {
                let started = warp_control_plane::start_opened(store, settings, handles);
                let control = runtime.block_on(started).context("control plane")?;
                thread.addr = Some(control.addr);
                shared.take(control);
            }
            Err(away @ (StoreError::Unavailable(_) | StoreError::TooSlow | StoreError::Cluster(_)))
                if without_database =>
            {
                let Some(last) = last_kept(&settings) else {
                    return Err(anyhow::Error::new(StartError::Store(away)).context("control plane"));
                };
                tracing::warn!(
                    snapshot = %last.snapshot.id,
                    kept_at = %last.written_at,
                    error = %away,
                    "PostgreSQL does not answer: calls are decided by the last snapshot on disk, the API starts when PostgreSQL is there"
                );
                shared.wait(&away);
                handles.publisher.publish(last.snapshot);
                let on = runtime.handle().clone();
                let waiting = std::thread::Builder::new()
                    .name("api-start".to_owned())
                    .spawn(move || on.block_on(shared.start_later(settings, handles, stopping)));
                thread.waiting = Some(waiting.context("thread")?);
            }
            Err(e) => return Err(anyhow::Error::new(StartError::Store(e)).context("control plane")),
        }
        thread.runtime = Some(runtime);
        Ok(thread)
    }

    /// Where the API listens; `None` while it waits for the database.
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Its use cases, when it runs.
    #[cfg(test)]
    pub(super) fn app(&self) -> Option<Arc<warp_control_plane::App>> {
        lock(&self.shared.control).as_ref().map(|c| c.app.clone())
    }

    /// Other limits at the edge, from the next request on.
    pub(super) fn configure(&self, edge: Edge) {
        *lock(&self.shared.edge) = Some(edge.clone());
        if let Some(control) = &*lock(&self.shared.control) {
            control.app.configure(edge);
        }
    }

    /// From now on the API knows where the vendor trunks of this proxy stand, and puts them back; and money is borrowed for its calls.
    pub(super) fn serves(&self, proxy: Commander, pictures: Option<Capture>) {
        *lock(&self.shared.proxy) = Some((proxy.clone(), pictures.clone()));
        if let Some(control) = &*lock(&self.shared.control) {
            serve(&control.app, &self.shared.node, proxy, pictures);
        }
    }

    /// From now on messages of the API go through this door.
    pub(super) fn sends_through(&self, door: MessageDoor) {
        *lock(&self.shared.messages) = Some(door.clone());
        if let Some(control) = &*lock(&self.shared.control) {
            control.app.messages_through(door);
        }
    }

    /// Money is borrowed into this wallet from now on: there is no proxy.
    pub(super) fn lends(&self, node: &str) -> Arc<Wallet> {
        let wallet: Arc<Wallet> = Arc::default();
        let mono = Arc::new(|| warp_net::clock::Clock::now().mono);
        let door = CreditDoor { wallet: wallet.clone(), mono, node: node.to_owned() };
        *lock(&self.shared.wallet) = Some(door.clone());
        if let Some(control) = &*lock(&self.shared.control) {
            control.app.lend_credit_through(door);
        }
        wallet
    }

    /// The operator's key that was made because there was none.
    pub(super) fn first_key(&self) -> Option<String> {
        let control = lock(&self.shared.control);
        let key = control.as_ref()?.operator_key.as_ref()?;
        Some(key.reveal().clone())
    }

    /// The key of the first start when this is it, otherwise a new one.
    pub(super) fn operator_key(&self) -> anyhow::Result<String> {
        if let Some(key) = self.first_key() {
            return Ok(key);
        }
        use warp_control_plane::app::{Ctx, keys};
        let app = lock(&self.shared.control).as_ref().map(|c| c.app.clone());
        let (Some(runtime), Some(app)) = (&self.runtime, app) else {
            anyhow::bail!("the control plane is not running");
        };
        let ctx = Ctx::system(&app, "a new operator's key");
        let made = runtime.block_on(keys::create(&ctx, None, keys::ApiKeyInput::everything("warp")));
        Ok(made.map_err(|e| anyhow::anyhow!("operator's key: {e}"))?.secret)
    }
}

/// What the control plane and the proxy of one process have in common.
fn serve(app: &warp_control_plane::App, node: &str, proxy: Commander, pictures: Option<Capture>) {
    let of_clock = proxy.clone();
    app.lend_credit_through(warp_control_plane::billing::credit::Door {
        wallet: proxy.wallet(),
        mono: Arc::new(move || of_clock.mono()),
        node: node.to_owned(),
    });
    app.nodes_through(super::nodes::door(node, proxy.clone(), pictures));
    app.vendor_trunks_through(door(node, proxy));
}

fn door(node: &str, proxy: Commander) -> Door {
    let (of_reset, of_users) = (proxy.clone(), proxy.clone());
    Door {
        node: node.to_owned(),
        standing: Arc::new(move |id| proxy.vendor_trunk(id).map(standing)),
        reset: Arc::new(move |id| of_reset.reset_vendor_trunk(id)),
        registrations: Arc::new(move |user, realm| {
            of_users.registrations(user, realm).into_iter().map(registration).collect()
        }),
    }
}

/// The same of a phone.
fn registration(of: Registered) -> Registration {
    Registration {
        contact: of.contact,
        transport: of.transport.param().to_owned(),
        source: of.source.to_string(),
        user_agent: of.user_agent,
        expires_in_s: i64::try_from(of.expires_in.as_secs()).unwrap_or(i64::MAX),
    }
}

/// The proxy's words in those of the API.
fn standing(state: TrunkState) -> Standing {
    let (state, share, reason, back_in_s) = match state {
        TrunkState::Up => ("up", 100, None, None),
        TrunkState::Returning(share) => ("returning", share, None, None),
        TrunkState::Down(left, why) => ("down", 0, Some(why.as_str()), Some(left.as_secs())),
        TrunkState::OnTrial(why) => ("on_trial", 0, Some(why.as_str()), None),
    };
    Standing { state, share, reason, back_in_s }
}

impl Shared {
    fn take(&self, control: ControlPlane) {
        control.app.report_health_to(self.postgres.clone());
        let edge = lock(&self.edge).clone();
        if let Some(edge) = edge {
            control.app.configure(edge);
        }
        let mut place = lock(&self.control);
        // With the place held: a proxy that comes now waits, and then finds the control plane.
        let proxy = lock(&self.proxy).clone();
        if let Some((proxy, pictures)) = proxy {
            serve(&control.app, &self.node, proxy, pictures);
        }
        let (messages, wallet) = (lock(&self.messages).clone(), lock(&self.wallet).clone());
        if let Some(door) = messages {
            control.app.messages_through(door);
        }
        if let Some(door) = wallet {
            control.app.lend_credit_through(door);
        }
        *place = Some(control);
        self.api.up();
    }

    fn wait(&self, why: &StoreError) {
        self.postgres.down(why.to_string());
        self.api.down("waits for PostgreSQL");
    }

    /// Opens the database when it answers, then starts what needs it.
    async fn start_later(
        self: Arc<Self>,
        settings: warp_control_plane::Config,
        handles: Handles,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut pause = Duration::from_millis(250);
        let store = loop {
            if tokio::time::timeout(pause, stop.wait_for(|s| *s)).await.is_ok() {
                return;
            }
            match Store::open(&settings.database).await {
                Ok(store) => break store,
                Err(e) => {
                    tracing::debug!(error = %e, "PostgreSQL does not answer yet");
                    self.wait(&e);
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        };
        match warp_control_plane::start_opened(store, settings, handles).await {
            Ok(control) => {
                tracing::info!(api = %control.addr, "PostgreSQL answers: the API has started");
                self.take(control);
            }
            Err(e) => {
                tracing::error!(error = %e, "the control plane does not start; calls go on with the snapshot of the start");
                self.api.down(e.to_string());
            }
        }
    }
}

fn last_kept(settings: &warp_control_plane::Config) -> Option<kept::Kept> {
    let (dir, key) = (settings.snapshot_dir.as_ref()?, settings.key_file.as_ref()?);
    match kept::read(dir, key) {
        Ok(kept) => kept,
        Err(error) => {
            tracing::error!(%error, "the snapshot on disk cannot be used");
            None
        }
    }
}

impl Drop for ControlThread {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        self.stop.send_replace(true);
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.join();
        }
        let control = lock(&self.shared.control).take();
        if let Some(control) = control {
            runtime.block_on(control.stop());
        }
        runtime.shutdown_timeout(Duration::from_secs(2));
    }
}
