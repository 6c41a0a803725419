//! Who gets which handle. "One process" and "six pods" differ in this file only.
//!
//! Order of the start: metrics and health → recovery of journals (before any traffic) → event log and pump → media relay →
//! control plane (which publishes the first snapshot) → SIP proxy → readiness. The end is the other way round.

mod control;
pub(crate) mod event_log;
mod messaging;
mod names;
mod nodes;
mod recovered;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_users;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context;
use warp_control_plane::FirstKey;
use warp_events::{EventLog, EventsMetrics, JournalOptions, LogOptions, Pump, PumpOptions, TOPIC_CDR_VOICE};
use warp_model::Mono;
use warp_model::sync::lock;
use warp_policy::Snapshot;
use warp_policy::messaging::Messaging;
use warp_sip_proxy::core::{Command, LiveCall, Mode, Resume, Transport};
use warp_sip_proxy::{Commander, MediaControl, Proxy};
use warp_telemetry::logging::{self, Format, Levels, LogHandle};
use warp_telemetry::metrics::{FloatGauge, Gauge, Kind, Sample};
use warp_telemetry::{Health, Registry};

use crate::config::{Change, Config, Loaded, LogFormat, reloaded, values};
use crate::run::{OpsThread, Roles, RunFolder};

/// A running node: everything that `warp serve`, `warp dev` and the launch profile `all` start.
pub struct Stack {
    /// The metrics of everything that runs here.
    pub registry: Registry,
    /// The health of every part.
    pub health: Health,
    /// The addresses that are really listened on, where 0 was asked for too.
    pub addresses: Addresses,
    /// The event log of the node.
    pub events: EventLog,
    /// `run/` of its data folder.
    pub folder: RunFolder,
    in_force: Arc<Mutex<Config>>,
    log: LogHandle,
    reloads: Reloads,
    // Dropped in this order: traffic first, then what records it.
    proxy: Option<Proxy>,
    _capture: Option<warp_capture::Running>,
    relay: Option<warp_media_relay::Relay>,
    messages: Option<messaging::Messages>,
    pump: Option<Pump>,
    control_plane: Option<control::ControlThread>,
    ops: Option<OpsThread>,
    recovered: usize,
    _lock: crate::run::Taken,
}

/// Where a node listens, with real ports.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// The first address of SIP over UDP; `None` without one.
    pub sip_udp: Option<SocketAddr>,
    /// The first address of SIP over TCP; `None` without one.
    pub sip_tcp: Option<SocketAddr>,
    /// The addresses of SIP over TLS, WebSocket, and both, by transport.
    pub sip_links: Vec<(Transport, SocketAddr)>,
    /// Where the REST API listens; `None` = not, or not yet.
    pub api: Option<SocketAddr>,
    /// The address of metrics and health; `None` without one.
    pub ops: Option<SocketAddr>,
    /// Where the ng control protocol listens; `None` = nowhere.
    pub ng: Option<SocketAddr>,
    /// Where customers bind by SMPP; `None` = nowhere, or not yet.
    pub smpp: Option<SocketAddr>,
    /// Where Jasmin's HTTP API listens; `None` = nowhere, or not yet.
    pub sms_http: Option<SocketAddr>,
}

struct Reloads {
    successful: Gauge,
    at: FloatGauge,
}

impl Stack {
    /// Starts the roles of a node. Traffic is taken when this returns.
    /// Errors: another process has the data folder, an address is taken, the database cannot be started, …
    pub fn start(loaded: &Loaded, roles: Roles) -> anyhow::Result<Stack> {
        Self::start_with(loaded, roles, false, None)
    }

    /// As [`Stack::start`]; a database that does not answer is no error when the last snapshot is on disk: calls are taken, and
    /// the API starts when the database is there. `first_key` is told the first operator's key when one is made, now or then,
    /// and also by a start that fails afterwards.
    pub fn start_even_without_database(
        loaded: &Loaded,
        roles: Roles,
        first_key: FirstKey,
    ) -> anyhow::Result<Stack> {
        Self::start_with(loaded, roles, true, Some(first_key))
    }

    fn start_with(
        loaded: &Loaded,
        roles: Roles,
        without_database: bool,
        first_key: Option<FirstKey>,
    ) -> anyhow::Result<Stack> {
        let config = loaded.config.clone();
        let folder = RunFolder::of(&config);
        let lock =
            folder.take().with_context(|| format!("data folder {}", config.node.data_dir.display()))?;
        let registry = Registry::new();
        let log = start_log(&config, &registry);
        warp_telemetry::process::register(&registry, crate::BUILD, &roles.to_string());
        let health = Health::new(&registry);
        let reloads = Reloads {
            successful: registry.gauge(
                "warp_config_last_reload_successful",
                "1 when the last reload of the configuration was applied.",
            ),
            at: registry.float_gauge(
                "warp_config_last_reload_success_timestamp_seconds",
                "When a configuration was applied last, in seconds since 1970 (Unix time).",
            ),
        };
        reloads.applied();
        watch_disk(&registry, config.node.data_dir.clone());
        let seed = seed()?;

        let metrics = EventsMetrics::new(&registry);
        let journal = JournalOptions {
            segment_bytes: config.events.segment.0,
            limit_bytes: config.events.limit.0,
            ..JournalOptions::new(metrics.clone())
        };
        let journals = config.node.data_dir.join("journal");
        let longest = config.sip.max_duration.0;
        let recovery =
            warp_events::recover(&journals, &journal, &mut |call| recovered::complete(call, longest))?;
        if recovery.records > 0 {
            let (calls, records, damaged) = (recovery.calls.len(), recovery.records, recovery.damaged);
            tracing::info!(calls, records, damaged, "call journals recovered");
        }
        let log_options = LogOptions {
            segment_bytes: config.events.segment.0,
            keep: config.events.keep.0,
            limit_bytes: config.events.limit.0,
            ..LogOptions::new(metrics.clone())
        };
        let events = event_log::open(&config, log_options, &registry, &health)?;
        let topic = events.topic(TOPIC_CDR_VOICE)?;
        if roles.api && roles.jobs {
            // The consumer comes when the database answers. Until it says what it has, nothing is deleted.
            topic.hold(&config.api.consumer);
        }
        let pump = Pump::start(&journals, topic, PumpOptions::default(), metrics)?;

        let mut addresses = Addresses::default();
        let commander: Arc<OnceLock<Commander>> = Arc::default();
        let relay = if roles.media {
            let to_proxy = commander.clone();
            let on_timeout = Box::new(move |media_id: Vec<u8>, due: Mono| {
                if let Some(proxy) = to_proxy.get() {
                    proxy.command(Command::MediaTimeout { media_id, due });
                }
            });
            let relay = warp_media_relay::start(config.media.clone(), seed, &registry, on_timeout)?;
            addresses.ng = relay.ng_addr();
            health.required("media").up();
            Some(relay)
        } else {
            None
        };

        let (publisher, snapshots) = warp_feed::channel(Snapshot::empty());
        names::show(&registry, snapshots.clone());
        if roles.sip {
            // What is not fed is not ready: without routing data every call would be refused.
            let routing = health.required("routing");
            snapshots.on_change(Box::new(move || routing.up()));
        }
        let (messaging, published) = warp_feed::channel(Messaging::default());
        let queue = if roles.smsc {
            let options = LogOptions {
                limit_bytes: config.smsc.limit.0,
                ..warp_smsc::queue_options(EventsMetrics::detached())
            };
            Some(EventLog::open(&config.node.data_dir.join("smsc"), options)?)
        } else {
            None
        };
        let control_plane = if roles.api {
            let posts = roles.jobs.then(|| events.clone());
            let of_proxy = commander.clone();
            // A node without a proxy has no figures: then the tester decides as for an idle network.
            let live =
                move |snapshot: &Snapshot| of_proxy.get().map_or(Vec::new(), |p| p.vendor_trunks(snapshot));
            let control = control::ControlThread::start(
                &config,
                publisher,
                Arc::new(live),
                control::Logs {
                    events: posts,
                    messaging: roles.smsc.then_some(messaging),
                    queue: queue.clone(),
                },
                (&registry, &health),
                without_database && roles.sip,
                first_key,
            )?;
            addresses.api = control.addr();
            Some(control)
        } else {
            None
        };

        let capture = config.capture.settings(&config.node.data_dir, &config.node.name).filter(|_| roles.sip);
        let capture = capture.map(|settings| warp_capture::Running::start(settings, &registry)).transpose();
        let capture = capture.context("capture")?;
        let pictures = capture.as_ref().map(warp_capture::Running::capture);
        let proxy = if roles.sip {
            let part = health.required("sip");
            let mut sip = warp_sip_proxy::Config::new(config.sip.core(Mode::Policy, &config.node.name));
            sip.shards = config.sip.shards;
            sip.pin_shards = config.sip.pin_shards;
            sip.tls = config.sip.tls();
            sip.web_origins = config.sip.web_origins.clone();
            sip.dns = config.sip.dns();
            let handles = warp_sip_proxy::Handles {
                state: None,
                snapshots: Some(snapshots),
                media: media_control(&config, relay.as_ref()),
                journal: Some((journals, journal)),
                capture: pictures.clone(),
                spent: pump.spent().iter().map(recovered::spent).collect(),
                seed,
                metrics: warp_sip_proxy::Metrics::register(&registry),
            };
            let listen: Vec<String> = config.sip.listen.iter().map(ToString::to_string).collect();
            let proxy = warp_sip_proxy::start(sip, handles)
                .with_context(|| format!("sip.listen {}", listen.join(", ")))?;
            addresses.sip_udp = proxy.udp_addr();
            addresses.sip_tcp = proxy.tcp_addr();
            let links =
                proxy.addresses().iter().filter(|(t, _)| !matches!(t, Transport::Udp | Transport::Tcp));
            addresses.sip_links = links.copied().collect();
            let _ = commander.set(proxy.commander());
            if let Some(control) = &control_plane {
                control.serves(proxy.commander(), pictures);
            }
            // Calls that a crash cut off: their media is gone, so both parties are told (PRODUCT §6).
            for resume in recovery.calls.iter().filter_map(|c| Resume::read(c.resume.as_ref()?)) {
                proxy.command(Command::EndRecovered(Box::new(resume)));
            }
            part.up();
            Some(proxy)
        } else {
            None
        };

        let messages = if let Some(queue) = queue {
            let part = health.optional("smsc");
            let wallet = match (&proxy, &control_plane) {
                (Some(proxy), _) => proxy.commander().wallet(),
                (None, Some(control)) => control.lends(&config.node.name),
                (None, None) => Arc::default(),
            };
            let metrics = warp_smsc::Metrics::register(&registry);
            let [a, b, c, d, e, f, g, h, ..] = seed;
            let seed = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            let base = config.smsc.node();
            let messages = messaging::Messages::start(base, queue, (metrics, part), seed, wallet, published)?;
            if let Some(control) = &control_plane {
                control.sends_through(messages.door());
            }
            (addresses.smpp, addresses.sms_http) = (messages.address(), messages.http());
            Some(messages)
        } else {
            None
        };

        let in_force = Arc::new(Mutex::new(config.clone()));
        show_config_hash(&registry, in_force.clone());
        let ops = OpsThread::start(Some(config.ops.listen), &registry, &health)?;
        addresses.ops = ops.addr();
        let stack = Stack {
            registry,
            health,
            addresses,
            events,
            folder,
            in_force,
            log,
            reloads,
            proxy,
            _capture: capture,
            relay,
            messages,
            pump: Some(pump),
            control_plane,
            ops: Some(ops),
            recovered: recovery.calls.len(),
            _lock: lock,
        };
        stack.show_config();
        Ok(stack)
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        lock(&self.in_force).clone()
    }

    /// Calls that a crash before this start had cut off: each has its record, up to its last heartbeat.
    pub fn recovered_calls(&self) -> usize {
        self.recovered
    }

    /// An operator's key: the one of the first start, or a new one.
    pub fn operator_key(&self) -> anyhow::Result<String> {
        let control = self.control_plane.as_ref().context("this node has no API")?;
        control.operator_key()
    }

    fn show_config(&self) {
        let text = serde_json::to_string(&values(&self.config())).unwrap_or_default();
        if let Err(error) = self.folder.write("config.json", &text) {
            tracing::warn!(%error, "run folder");
        }
    }

    /// Applies what a reload can change, logs the whole difference, and gives it. What needs a restart stays as it was.
    pub fn apply(&self, loaded: &Loaded) -> Vec<Change> {
        let old = self.config();
        let (changes, new) = reloaded(&old, &loaded.config);
        for change in &changes {
            tracing::info!("config {change}");
        }
        if new.log.levels != old.log.levels
            && let Ok(levels) = Levels::parse(&new.log.levels)
        {
            self.log.set_levels(levels);
        }
        if let Some(proxy) = self.proxy.as_ref().filter(|_| new.sip != old.sip) {
            proxy.configure(new.sip.core(Mode::Policy, &new.node.name));
        }
        if let Some(relay) = self.relay.as_ref().filter(|_| new.media != old.media) {
            relay.configure(&new.media);
        }
        if let Some(control) = self.control_plane.as_ref().filter(|_| new.api != old.api) {
            control.configure(new.api.edge());
        }
        *lock(&self.in_force) = new;
        self.reloads.applied();
        self.show_config();
        changes
    }

    /// Says that a reload failed: the configuration in force stays whole.
    pub fn refuse(&self) {
        self.reloads.successful.set((), 0);
    }

    /// Calls in the air; none when there is no proxy, or when its shards do not answer within two seconds.
    pub fn calls(&self) -> Vec<LiveCall> {
        self.listed_calls().unwrap_or_default()
    }

    /// `None`: the shards did not answer.
    fn listed_calls(&self) -> Option<Vec<LiveCall>> {
        let Some(proxy) = &self.proxy else { return Some(Vec::new()) };
        let (tx, rx) = mpsc::channel();
        proxy.command(Command::ListCalls { reply: Box::new(move |calls| drop(tx.send(calls))) });
        rx.recv_timeout(Duration::from_secs(2)).ok()
    }

    /// Whether a call is in the air: one of the proxy, or on a relay that others drive, one of theirs. Shards that do
    /// not answer are taken to carry some: a drain that is not sure waits.
    pub fn has_calls(&self) -> bool {
        match (&self.proxy, &self.relay) {
            (None, Some(relay)) => {
                let all = relay.control().ask(warp_ng::Command::List { limit: 1 });
                matches!(all, warp_ng::Reply::Calls(calls) if !calls.is_empty())
            }
            _ => self.listed_calls().is_none_or(|calls| !calls.is_empty()),
        }
    }

    /// Takes no new work: readiness off, new INVITE and OPTIONS get 503, calls in the air go on.
    pub fn drain(&self) {
        self.health.drain();
        if let Some(proxy) = &self.proxy {
            proxy.drain(false);
        }
    }

    /// BYE both ways to every call in the air, and waits a moment for their ends.
    pub fn end_calls(&self, within: Duration) {
        let Some(proxy) = &self.proxy else { return };
        proxy.drain(true);
        let until = Instant::now() + within;
        while Instant::now() < until && !self.calls().is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends everything, in order: traffic, records, listeners. Calls in the air are cut off and end in the ledger at the
    /// next start.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.proxy.take());
        drop(self.relay.take());
        drop(self.messages.take());
        // The pump looks once more: everything that ended is in the event log.
        drop(self.pump.take());
        drop(self.control_plane.take());
        drop(self.ops.take());
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.end();
    }
}

impl Reloads {
    fn applied(&self) {
        self.successful.set((), 1);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.at.set(now.map_or(0.0, |d| d.as_secs_f64()));
    }
}

fn media_control(config: &Config, relay: Option<&warp_media_relay::Relay>) -> MediaControl {
    if !config.sip.anchor_media {
        return MediaControl::None;
    }
    match (config.sip.media_ng, relay) {
        (Some(ng), _) => MediaControl::Udp(ng),
        (None, Some(relay)) => {
            let control = relay.control();
            MediaControl::InProcess(Arc::new(move |command, reply| control.submit(command, reply)))
        }
        (None, None) => MediaControl::None,
    }
}

fn start_log(config: &Config, registry: &Registry) -> LogHandle {
    let format = match config.log.format {
        LogFormat::Auto => Format::Auto,
        LogFormat::Human => Format::Human,
        LogFormat::Json => Format::Json,
    };
    // Checked when the configuration was loaded.
    let levels = Levels::parse(&config.log.levels).or_else(|_| Levels::parse("info"));
    match levels {
        Ok(levels) => logging::init(format, levels, &config.node.name, registry),
        Err(_) => unreachable!("\"info\" is a level"),
    }
}

/// `warp_config_hash_info{hash}`: nodes that should be alike are.
fn show_config_hash(registry: &Registry, in_force: Arc<Mutex<Config>>) {
    let hash = move || {
        let values = values(&lock(&in_force));
        let text = values.iter().map(|(key, value)| format!("{key}={value}\n")).collect::<String>();
        warp_model::hash::fnv1a(text.bytes())
    };
    registry.observe(
        Kind::Gauge,
        "warp_config_hash_info",
        "Always 1; the hash of the configuration in force is in the label.",
        &["hash"],
        move || vec![Sample::number(vec![("hash", format!("{:016x}", hash()))], 1.0)],
    );
}

/// The alarm at 80 % of F-DISK-01 is a rule over this.
fn watch_disk(registry: &Registry, dir: PathBuf) {
    let used = move || Some(Sample::number(Vec::new(), used_ratio(blocks(&dir)?)));
    registry.observe(
        Kind::Gauge,
        "warp_data_disk_used_ratio",
        "Used part of the disk that holds call records and events, from 0 to 1, as df shows it.",
        &[],
        move || used().into_iter().collect(),
    );
}

/// Blocks of a file system: all, free, and free for everybody.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    all: u64,
    free: u64,
    available: u64,
}

fn blocks(dir: &std::path::Path) -> Option<Blocks> {
    let space = rustix::fs::statvfs(dir).ok()?;
    Some(Blocks { all: space.f_blocks, free: space.f_bfree, available: space.f_bavail })
}

/// As `df` says it: what is used, of what is used and what is free for everybody. Blocks kept for root are neither.
fn used_ratio(of: Blocks) -> f64 {
    let used = of.all.saturating_sub(of.free) as f64;
    used / (used + of.available as f64).max(1.0)
}

fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0u8; 32];
    getrandom::fill(&mut seed).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    Ok(seed)
}

/// Where the last published snapshot is kept.
pub fn snapshot_dir(config: &Config) -> PathBuf {
    config.node.data_dir.join("snapshot")
}

/// Where the private PostgreSQL cluster of a node is wanted; as root it may lie elsewhere (`Cluster::home`).
pub fn database_dir(config: &Config) -> PathBuf {
    config.api.database_dir.clone().unwrap_or_else(|| config.node.data_dir.join("pg"))
}
