//! One typed configuration for the process, from layers: default < file < `conf.d` < environment < flag.
//!
//! Each product has its own `Config`; this file composes them as the sections of `warp.toml`. Every key has a default that
//! works on a laptop. Unknown keys and wrong values are errors that name `file:line:column` and the key, all of them at
//! once. A [`Loaded`] is whole or does not exist: a bad file changes nothing (F-CFG-01).

mod api;
mod capture;
mod layers;
mod listening;
pub(crate) mod login;
mod mail;
mod rules;
mod sip;
mod smsc;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use api::{Api, KeyFile};
pub use capture::{Capture, CaptureCalls, CaptureMask};
pub(crate) use layers::from_text;
pub use layers::{ConfigError, Origin, Sources};
pub use listening::{LISTEN_KEYS, listening};
pub use login::Login;
pub use mail::Mail;
pub use sip::{Algorithm, Listen, Sip};
pub use smsc::Smsc;
pub use units::{Network, Size, Span};

/// Everything that can be set, by section of `warp.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `[node]`: this process and its folders.
    pub node: Node,
    /// `[log]`: what is logged, and in which form.
    pub log: Log,
    /// `[ops]`: metrics and health.
    pub ops: Ops,
    /// `[events]`: the journal and the event log.
    pub events: Events,
    /// `[api]`: the control plane.
    pub api: Api,
    /// `[login]`: where people sign in.
    pub login: Login,
    /// `[mail]`: how events are mailed.
    pub mail: Mail,
    /// `[sip]`: the proxy and its calls.
    pub sip: Sip,
    /// `[capture]`: messages of calls, for pictures.
    pub capture: Capture,
    /// `[media]`: the relay and its ports.
    pub media: warp_media_relay::Config,
    /// `[smsc]`: the SMSC and its queue.
    pub smsc: Smsc,
}

/// `[node]`: this process, its name and its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Name of this node in logs, call records and metrics.
    pub name: String,
    /// Folder where the state of this node lives.
    pub data_dir: PathBuf,
    /// How long calls may go on after the first SIGTERM.
    pub drain_timeout: Span,
}

impl Default for Node {
    fn default() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = Some(name.trim()).filter(|name| !name.is_empty()).unwrap_or("warp");
        Self {
            name: name.to_owned(),
            data_dir: PathBuf::from("/var/lib/warp"),
            drain_timeout: Span(Duration::from_secs(1_800)),
        }
    }
}

/// `[log]`: what is logged, and in which form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Form of the lines: `auto` is human on a terminal and JSON elsewhere.
    pub format: LogFormat,
    /// The least level that is logged, by target: `info`, or `warn,sip_proxy=debug`.
    pub levels: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, levels: "info".to_owned() }
    }
}

/// The form of log lines, for [`Log::format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// Lines for people, with colours on a terminal.
    Human,
    /// One JSON object per line.
    Json,
}

/// `[ops]`: the listener for operators' machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ops {
    /// The address of `/metrics`, `/healthz` and `/readyz`.
    pub listen: SocketAddr,
}

impl Default for Ops {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

/// `[events]`: call journal and event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Preallocated size of a journal segment (two per shard) and of a log segment.
    pub segment: Size,
    /// Bytes of all journals, and of one topic, above which the disk counts as full.
    pub limit: Size,
    /// How long acknowledged events are kept.
    pub keep: Span,
    /// Brokers of Apache Kafka, `HOST:PORT`, that keep the event log in place of this machine's disk; empty: the disk. The
    /// journals stay on the disk.
    pub kafka: Vec<String>,
    /// Before the names of the topics in Kafka: another platform on the same brokers has another one.
    pub kafka_prefix: String,
    /// On how many brokers each record stands.
    pub kafka_replicas: u16,
    /// How many of them must have a record before it counts as written.
    pub kafka_min_in_sync: u16,
    /// A file with settings for TLS and credentials as Kafka's clients have them (`NAME=VALUE`; names that begin with
    /// `security.`, `sasl.` or `ssl.`).
    pub kafka_client: Option<PathBuf>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            segment: Size(64 << 20),
            limit: Size(50 << 30),
            keep: Span(Duration::from_secs(7 * 86_400)),
            kafka: Vec::new(),
            kafka_prefix: "warp.".to_owned(),
            kafka_replicas: 3,
            kafka_min_in_sync: 2,
            kafka_client: None,
        }
    }
}

/// A whole configuration with where each value came from.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The values after all layers.
    pub config: Config,
    /// `section.key` → origin; what is not here is a default.
    pub origins: BTreeMap<String, Origin>,
}

/// One value that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The key, as `section.key`.
    pub key: String,
    /// The value before the reload.
    pub old: String,
    /// The value from the reload on.
    pub new: String,
    /// Whether a reload applies it; otherwise it needs a restart.
    pub live: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.key, bare(&self.old), bare(&self.new))?;
        if self.live { Ok(()) } else { f.write_str(" (needs a restart)") }
    }
}

/// A text without the quotes that TOML wants around it.
fn bare(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).filter(|v| !v.is_empty()).unwrap_or(value)
}

/// Keys that a running process cannot change: sockets, threads, folders and databases, names that stand in records, metrics and
/// stored digests, how long records are kept, and what a call keeps from its beginning. Every other key takes effect by a reload.
const FIXED: &[&str] = &[
    "node.name",
    "node.data_dir",
    "log.format",
    "ops.listen",
    "events.segment",
    "events.limit",
    "events.keep",
    "events.kafka",
    "events.kafka_prefix",
    "events.kafka_replicas",
    "events.kafka_min_in_sync",
    "events.kafka_client",
    "api.listen",
    "api.tls_certificate",
    "api.tls_key",
    "api.database_url",
    "api.migrate_url",
    "api.database_dir",
    "api.live_keys",
    "api.consumer",
    "api.calls_keep",
    "api.credit_lease",
    "api.calls_unbilled",
    "api.seal_key",
    "api.webhook_networks",
    "api.webhook_ca",
    "login.customer_issuer",
    "login.customer_audience",
    "login.customer_client",
    "login.customer_client_secret",
    "login.customer_url",
    "login.customer_step_up_acr",
    "login.operator_issuer",
    "login.operator_audience",
    "login.operator_client",
    "login.operator_client_secret",
    "login.operator_url",
    "login.operator_step_up_acr",
    "login.session_idle",
    "login.session_lifetime",
    "login.demo",
    "mail.host",
    "mail.port",
    "mail.tls",
    "mail.ca",
    "mail.user",
    "mail.password",
    "mail.from",
    "sip.listen",
    "sip.advertise",
    "sip.tls_certificate",
    "sip.tls_key",
    "sip.tls_roots",
    "sip.web_origins",
    "sip.dns_servers",
    "sip.shards",
    "sip.pin_shards",
    "sip.realm",
    "sip.anchor_media",
    "sip.media_ng",
    "capture.calls",
    "capture.sample",
    "capture.memory",
    "capture.keep",
    "capture.limit",
    "capture.mask",
    "capture.hep",
    "capture.hep_id",
    "capture.hep_mask",
    "media.ng",
    "media.ng_tcp",
    "media.http",
    "media.ng_allow_public",
    "media.ng_allow",
    "media.ips",
    "media.advertise",
    "media.interfaces",
    "media.ports",
    "media.threads",
    "media.pin_cpus",
    "media.tos",
    "media.b2b_url",
    "media.xmlrpc_format",
    "media.connect_sockets",
    "media.sdp",
    "media.sounds",
    "media.record",
    "media.record_files",
    "media.record_keep_days",
    "media.record_limit_mib",
    "smsc.system_id",
    "smsc.listen",
    "smsc.listen_tls",
    "smsc.tls_certificate",
    "smsc.tls_key",
    "smsc.vendor_ca",
    "smsc.http",
    "smsc.messages",
    "smsc.connections",
    "smsc.limit",
    "smsc.callback_networks",
];

/// Whether a reload applies `section.key`.
fn is_live(key: &str) -> bool {
    !FIXED.contains(&key)
}

/// Calls `$do!(section, field)` for each section: the one list of them.
macro_rules! sections {
    ($do:ident) => {
        $do!(node);
        $do!(log);
        $do!(ops);
        $do!(events);
        $do!(api);
        $do!(login);
        $do!(mail);
        $do!(sip);
        $do!(capture);
        $do!(media);
        $do!(smsc);
    };
}

impl Loaded {
    /// Reads all layers over `base` (the defaults of a command, such as those of `warp dev`).
    /// Errors: every mistake found, in the order of the files.
    pub fn load(base: &Config, sources: &Sources) -> Result<Loaded, Vec<ConfigError>> {
        let layers::Read { mut settings, mut sections, mut errors } = sources.read();
        let mut loaded = Loaded { config: base.clone(), origins: BTreeMap::new() };
        let mut known: Vec<&'static str> = Vec::new();
        macro_rules! take {
            ($name:ident) => {
                known.push(stringify!($name));
                let mine = settings.remove(stringify!($name)).unwrap_or_default();
                loaded.config.$name =
                    section(stringify!($name), &base.$name, mine, &mut loaded.origins, &mut errors);
            };
        }
        sections!(take);
        for (name, keys) in settings {
            let origin = sections.remove(&name);
            let origin = origin.or_else(|| keys.into_values().next().map(|(_, origin)| origin));
            let origin = origin.unwrap_or(Origin::Default);
            errors.push(ConfigError::unknown(origin, name.clone(), &name, &known));
        }
        loaded.one_underscore(&sources.env, &mut errors);
        loaded.check(&mut errors);
        // As whoever corrects them goes through the files; what stands in none of them comes last.
        let files = sources.files();
        errors.sort_by_key(|e| match &e.origin {
            Origin::File(path, line, column) => {
                (files.iter().position(|file| file == path).unwrap_or(files.len()), *line, *column)
            }
            _ => (usize::MAX, 0, 0),
        });
        if errors.is_empty() { Ok(loaded) } else { Err(errors) }
    }

    /// `WARP_SIP_T1` for `WARP_SIP__T1`: it would be ignored, and whoever set it believes that it counts. Only names of keys that
    /// there are: orchestrators set variables such as `WARP_SIP_PORT` by themselves.
    fn one_underscore(&self, env: &[(String, String)], errors: &mut Vec<ConfigError>) {
        let keys = self.keys();
        for (name, _) in env {
            let rest = name.strip_prefix("WARP_").filter(|rest| !rest.contains("__"));
            let Some((section, key)) = rest.and_then(|rest| rest.split_once('_')) else { continue };
            let path = format!("{section}.{key}").to_ascii_lowercase();
            if keys.contains_key(path.strip_suffix("_file").unwrap_or(&path)) {
                let message =
                    format!("sets nothing; two underscores follow the section: WARP_{section}__{key}");
                errors.push(ConfigError { origin: Origin::Env(name.clone()), key: String::new(), message });
            }
        }
    }

    /// `section.key` and value of every key that has one, secrets as `***`.
    pub fn values(&self) -> BTreeMap<String, String> {
        values(&self.config)
    }

    /// The same of every key that there is: `None` where nothing is set.
    pub fn keys(&self) -> BTreeMap<String, Option<String>> {
        let mut out: BTreeMap<String, Option<String>> =
            self.values().into_iter().map(|(key, value)| (key, Some(value))).collect();
        macro_rules! add {
            ($name:ident) => {
                // TOML has no word for nothing, JSON has.
                let all = serde_json::to_value(&self.config.$name).unwrap_or_default();
                for (key, _) in all.as_object().into_iter().flatten() {
                    out.entry(format!("{}.{key}", stringify!($name))).or_insert(None);
                }
            };
        }
        sections!(add);
        out
    }
}

/// The values of a configuration as texts, by key ([`Loaded::values`]).
pub fn values(config: &Config) -> BTreeMap<String, String> {
    let mut out = plain(config);
    for (path, value) in &mut out {
        if is_secret(path) {
            *value = MASK.to_owned();
        }
    }
    out
}

/// The same with secrets: never to be shown.
fn plain(config: &Config) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    macro_rules! add {
        ($name:ident) => {
            for (key, value) in table(&config.$name) {
                out.insert(format!("{}.{key}", stringify!($name)), value.to_string());
            }
        };
    }
    sections!(add);
    out
}

/// What a reload does to the configuration in force: every change from `old` to `wanted` (a secret's too, without its
/// values), and the configuration that is in force then, in which keys that need a restart are as they were.
pub fn reloaded(old: &Config, wanted: &Config) -> (Vec<Change>, Config) {
    let mut changes = diff(&plain(old), &plain(wanted));
    for change in changes.iter_mut().filter(|c| is_secret(&c.key)) {
        change.old = MASK.to_owned();
        change.new = MASK.to_owned();
    }
    let mut new = wanted.clone();
    macro_rules! keep {
        ($name:ident) => {
            let (before, mut after) = (table(&old.$name), table(&wanted.$name));
            for key in FIXED.iter().filter_map(|k| k.strip_prefix(concat!(stringify!($name), "."))) {
                match before.get(key) {
                    Some(value) => after.insert(key.to_owned(), value.clone()),
                    None => after.remove(key),
                };
            }
            // Both came from whole configurations, so the mixture can be read; if not, nothing of the section changes.
            new.$name = after.try_into().unwrap_or_else(|_| old.$name.clone());
        };
    }
    sections!(keep);
    (changes, new)
}

const MASK: &str = "\"***\"";

/// What changes from `old` to `new`.
pub fn diff(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Change> {
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |of: &BTreeMap<String, String>, key: &String| {
        of.get(key).cloned().unwrap_or_else(|| "unset".to_owned())
    };
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| Change { key: key.clone(), old: text(old, key), new: text(new, key), live: is_live(key) })
        .collect()
}

fn is_secret(key: &str) -> bool {
    ["secret", "password", "database_url", "migrate_url"].iter().any(|word| key.contains(word))
}

fn table<T: Serialize>(value: &T) -> toml::Table {
    toml::Table::try_from(value).unwrap_or_default()
}

/// One section: each key is tried alone over the base first, so that each mistake is reported at its own place. A key that cannot be
/// read stays as in the base, so that the others are checked all the same.
fn section<T: Serialize + DeserializeOwned + Clone>(
    name: &str,
    base: &T,
    settings: layers::Settings,
    origins: &mut BTreeMap<String, Origin>,
    errors: &mut Vec<ConfigError>,
) -> T {
    let mut whole = table(base);
    for (key, (value, origin)) in settings {
        let path = format!("{name}.{key}");
        let mut alone = table(base);
        alone.insert(key.clone(), value.clone());
        match alone.try_into::<T>() {
            Ok(_) => {
                whole.insert(key, value);
                origins.insert(path, origin);
            }
            Err(why) => errors.push(ConfigError::wrong(origin, path, &key, why.message())),
        }
    }
    match whole.try_into() {
        Ok(section) => section,
        Err(why) => {
            errors.push(ConfigError {
                origin: Origin::Default,
                key: name.to_owned(),
                message: why.message().to_owned(),
            });
            base.clone()
        }
    }
}

/// The file that is read when no `--config` is given: `/etc/warp/warp.toml`, if it exists.
pub fn default_file() -> Option<PathBuf> {
    let path = Path::new("/etc/warp/warp.toml");
    path.exists().then(|| path.to_owned())
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
