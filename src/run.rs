//! Start, reload, drain, stop.

mod folder;
mod ops;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

pub use folder::{Reload, RunFolder, Taken};
pub use ops::OpsThread;

use crate::cli::{ConfigFile, Failure};
use crate::config::{Config, Loaded, Sources};
use crate::signals::{self, ProcessRequest};
use crate::wire::Stack;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The SIP proxy, which decides calls.
    pub sip: bool,
    /// The media relay, which carries RTP.
    pub media: bool,
    /// REST API and snapshot publisher.
    pub api: bool,
    /// CDR posting and other background work.
    pub jobs: bool,
    /// The SMSC, which carries short messages.
    pub smsc: bool,
}

impl Roles {
    /// Every role that there is.
    pub const ALL: Roles = Roles { sip: true, media: true, api: true, jobs: true, smsc: true };

    /// Refuses a set that cannot work in one process with this configuration. Errors: what is missing and why, with what to do.
    pub fn check(self, config: &Config) -> Result<(), Failure> {
        let refused = |why: &str, hint: &str| {
            Err(Failure::new(format!("roles {self} cannot work: {why}")).with_code(2).hint(hint))
        };
        if self.sip && !self.api {
            return refused(
                "sip decides from the routing data that api publishes, and a node gets none from another one yet",
                "add api and jobs to --roles",
            );
        }
        if self.sip && config.sip.anchor_media && !self.media && config.sip.media_ng.is_none() {
            return refused(
                "calls are anchored, and there is no media relay",
                "add media to --roles, name a relay with sip.media_ng, or set sip.anchor_media = false",
            );
        }
        if self.sip && !self.jobs {
            return refused("no call would be posted without jobs", "add jobs to --roles");
        }
        if self.smsc && !(self.api && self.jobs) {
            return refused(
                "smsc carries messages by what api publishes, and jobs posts them; a node gets neither from another one yet",
                "add api and jobs to --roles",
            );
        }
        if self.jobs && !self.api {
            return refused("jobs works on the database that api opens", "add api to --roles");
        }
        if self.media && !self.sip && config.media.ng.is_none() {
            return refused("nobody can drive a relay alone without an ng address", "set media.ng");
        }
        Ok(())
    }
}

impl FromStr for Roles {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut roles = Roles { sip: false, media: false, api: false, jobs: false, smsc: false };
        for word in text.split(',').map(str::trim) {
            match word {
                "sip" => roles.sip = true,
                "media" => roles.media = true,
                "api" => roles.api = true,
                "jobs" => roles.jobs = true,
                "smsc" => roles.smsc = true,
                other => return Err(format!("{other:?} is no role; roles are sip, media, smsc, api, jobs")),
            }
        }
        Ok(roles)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("sip", self.sip),
            ("media", self.media),
            ("smsc", self.smsc),
            ("api", self.api),
            ("jobs", self.jobs),
        ];
        let on: Vec<&str> = all.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        f.write_str(&on.join(","))
    }
}

/// `warp serve`: starts the roles and runs until it is told to stop. Errors: what a start can fail of.
pub fn serve(file: &ConfigFile, roles: Roles) -> anyhow::Result<u8> {
    let base = Config::default();
    let sources = Sources::of_process(file.config.clone());
    let loaded = load(&base, &sources)?;
    roles.check(&loaded.config)?;
    let dir = &loaded.config.node.data_dir;
    if dir.join("secrets.toml").exists() {
        let message = format!("{} is the folder of a dev world; its identities stay there", dir.display());
        return Err(Failure::new(message).hint("set node.data_dir").into());
    }
    let (ask, asks) = signals::listen()?;
    let stack = Stack::start_even_without_database(&loaded, roles, Arc::new(show_first_key))?;
    let shown = |at: Option<SocketAddr>| at.map_or_else(|| "none".to_owned(), |at| at.to_string());
    let (sip, api) = (shown(stack.addresses.sip_udp), shown(stack.addresses.api));
    tracing::info!(%roles, sip, api, "ready");
    let watch = Watch::start(sources.clone(), ask)?;
    attend(stack, &base, &sources, &asks);
    drop(watch);
    Ok(0)
}

/// On stdout, not in the log: logs are shipped and kept.
fn show_first_key(key: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "first operator's API key (shown once): {key}");
    let _ = out.flush();
}

/// Reads a configuration; all its mistakes as one error.
pub fn load(base: &Config, sources: &Sources) -> Result<Loaded, Failure> {
    Loaded::load(base, sources).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::new(lines.join(crate::cli::BETWEEN))
    })
}

/// Does what signals ask until the process shall end, then stops the stack: SIGHUP reloads, the first SIGTERM drains, the
/// second ends at once.
pub fn attend(stack: Stack, base: &Config, sources: &Sources, asks: &Receiver<ProcessRequest>) {
    let on_stop = || {
        let drain_timeout = stack.config().node.drain_timeout.to_string();
        tracing::info!(
            drain_timeout,
            "told to stop: no new calls; it ends with the calls in the air, or when told once more"
        );
    };
    attend_with(&stack, base, sources, asks, on_stop);
    stack.stop();
}

/// As [`attend`], without the stop; `on_stop` is called when the first SIGTERM came.
pub fn attend_with(
    stack: &Stack,
    base: &Config,
    sources: &Sources,
    asks: &Receiver<ProcessRequest>,
    on_stop: impl FnOnce(),
) {
    let mut reloads = 0;
    loop {
        match asks.recv() {
            Ok(ProcessRequest::Reload) => {
                reloads += 1;
                reload(stack, base, sources, reloads);
            }
            Ok(ProcessRequest::Dump) => dump(stack),
            Ok(ProcessRequest::Stop) | Err(_) => break,
        }
    }
    on_stop();
    let timeout = stack.config().node.drain_timeout.0;
    drain(stack, timeout, asks);
}

fn reload(stack: &Stack, base: &Config, sources: &Sources, number: u64) {
    let outcome = match Loaded::load(base, sources) {
        Ok(loaded) => {
            let changes = stack.apply(&loaded).iter().map(ToString::to_string).collect();
            Reload { number, changes, errors: Vec::new() }
        }
        Err(errors) => {
            stack.refuse();
            for error in &errors {
                tracing::error!("config not reloaded: {error}");
            }
            Reload { number, changes: Vec::new(), errors: errors.iter().map(ToString::to_string).collect() }
        }
    };
    let text = serde_json::to_string(&outcome).unwrap_or_default();
    if let Err(error) = stack.folder.write("reload.json", &text) {
        tracing::warn!(%error, "run folder");
    }
}

fn dump(stack: &Stack) {
    let calls = stack.calls();
    tracing::info!(calls = calls.len(), addresses = ?stack.addresses, "state");
    for call in calls.iter().take(100) {
        tracing::info!(call_id = %call.cdr_id, state = call.state, setup_at = %call.setup_at, "call in the air");
    }
}

/// Waits for the calls in the air, at most `timeout`, then BYEs the rest. A second SIGTERM ends the wait at once.
fn drain(stack: &Stack, timeout: Duration, asks: &Receiver<ProcessRequest>) {
    stack.drain();
    let until = Instant::now() + timeout;
    loop {
        if !stack.has_calls() {
            return;
        }
        let left = until.saturating_duration_since(Instant::now());
        match asks.recv_timeout(left.min(Duration::from_millis(200))) {
            Ok(ProcessRequest::Stop) => {
                tracing::warn!("told twice: ending at once");
                return;
            }
            _ if left.is_zero() => break,
            _ => {}
        }
    }
    if !timeout.is_zero() {
        stack.end_calls(Duration::from_secs(2));
    }
}

/// Asks for a reload when one of the files changes.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the thread. Errors: it cannot be started.
    pub fn start(sources: Sources, ask: Sender<ProcessRequest>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("config-watch".to_owned()).spawn(move || {
            let mut seen = stamps(&sources);
            while !stopped.load(Ordering::Acquire) {
                std::thread::park_timeout(Duration::from_secs(1));
                let now = stamps(&sources);
                if now != seen {
                    seen = now;
                    let _ = ask.send(ProcessRequest::Reload);
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Name, time and size of every configuration file.
fn stamps(sources: &Sources) -> Vec<(PathBuf, Option<(SystemTime, u64)>)> {
    let stamp = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    sources.files().into_iter().map(|path| (path.clone(), stamp(&path))).collect()
}

#[cfg(test)]
mod tests;
