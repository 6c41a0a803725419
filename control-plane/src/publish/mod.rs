//! Rows to policy snapshot: read consistently, compile, keep for replay, publish (RFC 0003).
//!
//! Invariants: a snapshot is stored before calls are decided by it, so that the decision of every CDR can be repeated; the
//! prefix index is built again only when a deck in use changes; rows are read again only of the sections that a change touched; a row that cannot be compiled is left out, logged and
//! metered, and never stops the others; a failure leaves the last snapshot in force.

pub mod archive;
pub mod compile;
pub mod kept;
pub mod messaging;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use warp_feed::Publisher;
use warp_model::Wall;
use warp_model::sync::lock;
use warp_policy::{Code, LcrIndex, Snapshot, SnapshotId};

use crate::App;
use crate::store::StoreError;
use crate::store::published::Section;
use compile::{Compiler, Sources};

/// Longest time until a change that was not announced is seen.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Snapshots kept in memory for rating calls again.
const RECENT: usize = 64;
/// Longest pause between attempts while the database is away.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Why nothing was published.
#[derive(Debug)]
pub enum PublishError {
    /// The database refused, or is away.
    Store(StoreError),
    /// Rows that do not make a snapshot even without the bad ones.
    Compile(String),
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(e) => write!(f, "{e}"),
            Self::Compile(e) => f.write_str(e),
        }
    }
}

impl std::error::Error for PublishError {}

impl From<StoreError> for PublishError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

/// Compiles and publishes; one at a time.
pub struct Publication {
    publisher: Publisher<Snapshot>,
    compiler: Mutex<Compiler>,
    recent: std::sync::Mutex<VecDeque<Arc<Snapshot>>>,
    /// The last snapshot with what its index was made of.
    sources: std::sync::Mutex<Option<(Arc<Snapshot>, Sources)>>,
    /// What the last publications read again, newest first.
    touched: std::sync::Mutex<VecDeque<Vec<Section>>>,
}

impl Publication {
    /// Publishes to the readers of this channel.
    pub fn new(publisher: Publisher<Snapshot>) -> Self {
        Self {
            publisher,
            compiler: Mutex::new(Compiler::new()),
            recent: Default::default(),
            sources: Default::default(),
            touched: Default::default(),
        }
    }

    /// The snapshot that calls are decided from.
    pub fn latest(&self) -> Arc<Snapshot> {
        self.publisher.subscriber().latest()
    }

    /// Calls `listener` after each publication until what it gives is dropped.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) -> warp_feed::Listening {
        self.publisher.subscriber().listen(listener)
    }

    /// A snapshot that was published lately.
    pub fn recent(&self, id: SnapshotId) -> Option<Arc<Snapshot>> {
        let recent = lock(&self.recent);
        recent.iter().find(|s| s.id == id).cloned()
    }

    /// A snapshot for a call to this number at another time: the published one where no row begins or ends between, else one
    /// whose index has the rows of that time, of the deck versions in force now.
    pub async fn snapshot_at(&self, at: Wall, number: Code) -> Result<Arc<Snapshot>, PublishError> {
        let held = lock(&self.sources).clone();
        let Some((snapshot, sources)) = held else { return Ok(self.latest()) };
        if at >= sources.at && snapshot.lcr.next_change().is_none_or(|change| at < change) {
            return Ok(snapshot);
        }
        let made = tokio::task::spawn_blocking(move || {
            let index = sources.index_at(at, number)?;
            Ok(Arc::new(Snapshot::new(snapshot.directory.clone(), Arc::new(index), sources.plan)))
        });
        made.await.map_err(|e| PublishError::Compile(e.to_string()))?
    }

    /// Remembers a snapshot: as many as share the newest two indexes, [`RECENT`] at most. An index is large, directories
    /// are small.
    fn remember(&self, snapshot: Arc<Snapshot>) {
        let mut recent = lock(&self.recent);
        recent.push_front(snapshot);
        recent.truncate(RECENT);
        let mut indexes: Vec<*const LcrIndex> = Vec::new();
        let whole = recent.iter().take_while(|s| {
            let index = Arc::as_ptr(&s.lcr);
            if !indexes.contains(&index) {
                indexes.push(index);
            }
            indexes.len() <= 2
        });
        let keep = whole.count();
        recent.truncate(keep);
    }

    /// The sections that each of the last publications read again, newest first; [`RECENT`] at most.
    pub fn touched(&self) -> Vec<Vec<Section>> {
        lock(&self.touched).iter().cloned().collect()
    }

    fn note(&self, sections: Vec<Section>) {
        let mut touched = lock(&self.touched);
        touched.push_front(sections);
        touched.truncate(RECENT);
    }

    /// Compiles what the rows say now and publishes it, unless it is what is published already. When this returns, new
    /// calls are decided by it.
    pub async fn publish_now(&self, app: &App) -> Result<SnapshotId, PublishError> {
        let started = Instant::now();
        let mut compiler = self.compiler.lock().await;
        let Some(compiled) = compiler.compile(&app.store, app.wall()).await? else {
            return Ok(self.latest().id);
        };
        let id = compiled.snapshot.id;
        if id == self.latest().id {
            compiler.published();
            return Ok(id);
        }
        archive::keep(&app.store, &compiled).await?;
        self.remember(compiled.snapshot.clone());
        let sources = (compiled.snapshot.clone(), compiled.sources.clone());
        *lock(&self.sources) = Some(sources);
        let version = self.publisher.publish_arc(compiled.snapshot.clone());
        compiler.published();
        self.note(compiled.touched.clone());
        app.metrics.decks_loaded(&compiler.decks(), app.mono());
        app.metrics.snapshots_published.inc(());
        app.metrics.publish_seconds.observe((), started.elapsed());
        let sections = compiled.touched.len();
        tracing::info!(snapshot = %id, version, sections, took_ms = started.elapsed().as_millis(), "snapshot published");
        Ok(id)
    }

    /// When rows of a deck in force begin or end next.
    async fn next_change(&self) -> Option<Duration> {
        let at = self.compiler.lock().await.next_change()?;
        let now = crate::wall_now();
        Some(Duration::from_micros(u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0)))
    }
}

/// Publishes after each change until told to stop.
pub async fn run(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut pause = Duration::from_millis(100);
    let mut failed = false;
    loop {
        if !failed {
            let wait = app.publication.next_change().await.map_or(LOOK_EVERY, |d| d.min(LOOK_EVERY));
            tokio::select! {
                () = app.changed.notified() => {}
                () = stopped(&mut stop) => return,
                _ = tokio::time::timeout(wait, std::future::pending::<()>()) => {}
            }
        }
        let published = app.publication.publish_now(&app).await;
        let published = match (published, &app.messaging) {
            (Ok(_), Some(messaging)) => messaging.publish_now(&app).await.map_err(PublishError::Store),
            (published, _) => published.map(drop),
        };
        match published {
            Ok(()) => {
                app.database_is(None);
                failed = false;
                pause = Duration::from_millis(100);
            }
            Err(e) => {
                app.database_is(Some(e.to_string()));
                app.metrics.publish_failures.inc(());
                tracing::warn!(error = %e, "no new snapshot; calls go on with the last one");
                failed = true;
                if tokio::time::timeout(pause, stopped(&mut stop)).await.is_ok() {
                    return;
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Hears of changes that other processes make (`LISTEN warp_change`) until told to stop. A lost connection counts as a
/// change: something may have been missed.
pub async fn listen(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        let heard = tokio::select! {
            r = hear(&app) => r,
            () = stopped(&mut stop) => return,
        };
        if let Err(e) = heard {
            tracing::debug!(error = %e, "not listening for changes");
        }
        if tokio::time::timeout(Duration::from_secs(1), stopped(&mut stop)).await.is_ok() {
            return;
        }
    }
}

async fn hear(app: &App) -> Result<(), StoreError> {
    let mut changes = app.store.listen("warp_change").await?;
    loop {
        app.changed.notify_one();
        if !changes.next().await? {
            app.changed.notify_one();
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}
