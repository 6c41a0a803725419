//! `[api]`: the control plane's part of `warp.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use warp_control_plane::api::limiter::Limit;
use warp_control_plane::api::tls::TlsFiles;
use warp_control_plane::billing::retention::Retention;
use warp_control_plane::{Database, Edge, is_database_url};
use warp_model::Secret;

use super::rules::Rule;
use super::{Config, Network, Size, Span};

/// Where a database is, as a URL that may hold a password: it is read and written, and never printed (G-7).
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl From<&str> for DatabaseUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// `[api]`: the control plane and its database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Address of the REST API. Loopback unless told otherwise.
    pub listen: SocketAddr,
    /// Certificate of the REST API (PEM, with those that lead to its root). Absent: plain HTTP. A renewed one is taken by itself.
    pub tls_certificate: Option<PathBuf>,
    /// Private key of that certificate (PEM).
    pub tls_key: Option<PathBuf>,
    /// PostgreSQL as the app role (neither superuser nor BYPASSRLS); also `DATABASE_URL`. Absent: a private cluster.
    pub database_url: Option<DatabaseUrl>,
    /// PostgreSQL as the role that owns the schema; without it, migrations are not applied here.
    pub migrate_url: Option<DatabaseUrl>,
    /// Folder of the private cluster; absent: `pg` in the data folder.
    pub database_dir: Option<PathBuf>,
    /// New keys say `wk_live_` instead of `wk_test_`.
    pub live_keys: bool,
    /// Name of the CDR consumer in the event cursors: one per deployment.
    pub consumer: String,
    /// How long posted calls are kept, from their INVITE on.
    pub calls_keep: Span,
    /// Whether a call with a price that is on no bill may leave after that time too.
    pub calls_unbilled: Unbilled,
    /// How long money of an account is lent to this node. While PostgreSQL is away, calls that are paid ahead go on for about so long;
    /// what a node holds that is lost comes back no earlier.
    pub credit_lease: Span,
    /// Key that vendors' passwords and the secrets of webhooks are sealed with in the database: `file:PATH`; absent: `seal.key` in the
    /// data folder, made at the first start. All nodes of a deployment need the same one.
    pub seal_key: Option<KeyFile>,
    /// Requests a second that one key may send in the long run.
    pub key_rate: u32,
    /// Requests of one key that may come at once.
    pub key_burst: u32,
    /// Requests a second that all keys of one customer may send in the long run.
    pub customer_rate: u32,
    /// Requests of all keys of one customer that may come at once.
    pub customer_burst: u32,
    /// Failed authentications a second that one address may have in the long run.
    pub address_rate: u32,
    /// Failed authentications of one address that may come at once.
    pub address_burst: u32,
    /// Largest JSON body of a request.
    pub body_limit: Size,
    /// Largest file that may be uploaded.
    pub upload_limit: Size,
    /// Longest time to the end of a request's head.
    pub head_timeout: Span,
    /// Longest time for a body to arrive.
    pub body_timeout: Span,
    /// Networks that webhooks may lead to besides public addresses; there also by http and on any port.
    pub webhook_networks: Vec<Network>,
    /// Certificates (PEM) that endpoints of webhooks may have besides those that come from public ones.
    pub webhook_ca: Option<PathBuf>,
    /// Proxies in front of us: only their `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
}

/// What retention does with a call that has a price and is on no bill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unbilled {
    /// It stays, and is counted.
    #[default]
    Keep,
    /// It goes; how many went is said.
    Delete,
}

/// `file:PATH`: where a secret is, never the secret itself (T-CFG-01).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile(pub PathBuf);

impl std::str::FromStr for KeyFile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // The text may be the secret itself, so it is not repeated.
        let path = text.strip_prefix("file:").filter(|p| !p.is_empty());
        path.map(|p| Self(p.into())).ok_or_else(|| "must be file:PATH, never the key itself".to_owned())
    }
}

impl std::fmt::Display for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file:{}", self.0.display())
    }
}

impl Serialize for KeyFile {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyFile {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Default for Api {
    fn default() -> Self {
        let edge = Edge::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls_certificate: None,
            tls_key: None,
            database_url: None,
            migrate_url: None,
            database_dir: None,
            live_keys: false,
            consumer: "postgres".to_owned(),
            calls_keep: Span(warp_control_plane::config::CALLS_KEEP),
            calls_unbilled: Unbilled::Keep,
            credit_lease: Span(Duration::from_secs(120)),
            seal_key: None,
            key_rate: edge.key_limit.per_second,
            key_burst: edge.key_limit.burst,
            customer_rate: edge.customer_limit.per_second,
            customer_burst: edge.customer_limit.burst,
            address_rate: edge.address_limit.per_second,
            address_burst: edge.address_limit.burst,
            body_limit: Size(edge.body_bytes as u64),
            upload_limit: Size(edge.upload_bytes as u64),
            head_timeout: Span(edge.head_timeout),
            body_timeout: Span(edge.body_timeout),
            webhook_networks: Vec::new(),
            webhook_ca: None,
            trusted_proxies: Vec::new(),
        }
    }
}

const COUNT: &str = "at least 1";
const HTTP_TIME: &str = "more than 0 and at most 10m";
const DATABASE: &str =
    "must be postgres://ROLE[:PASSWORD]@HOST[:PORT]/DATABASE, or with ?host=FOLDER for a unix socket";

fn is_http_time(time: Span) -> bool {
    !time.0.is_zero() && time.0 <= Duration::from_secs(600)
}

/// What the keys of the section must be.
pub(super) const RULES: &[Rule<Api>] = &[
    // The text may hold a password, so it is not repeated.
    Rule::new("database_url", DATABASE, |api| {
        api.database_url.as_ref().is_none_or(|url| is_database_url(&url.0))
    }),
    Rule::new("migrate_url", DATABASE, |api| {
        api.migrate_url.as_ref().is_none_or(|url| is_database_url(&url.0))
    }),
    Rule::new("tls_key", "certificate and key belong together", |api: &Api| {
        api.tls_key.is_some() == api.tls_certificate.is_some()
    })
    .with(&["tls_certificate"]),
    Rule::new("key_rate", COUNT, |api| api.key_rate > 0),
    Rule::new("key_burst", COUNT, |api| api.key_burst > 0),
    Rule::new("customer_rate", COUNT, |api| api.customer_rate > 0),
    Rule::new("customer_burst", COUNT, |api| api.customer_burst > 0),
    Rule::new("address_rate", COUNT, |api| api.address_rate > 0),
    Rule::new("address_burst", COUNT, |api| api.address_burst > 0),
    Rule::new("body_limit", "1KiB to 16MiB", |api| (1 << 10..=16 << 20).contains(&api.body_limit.0)),
    Rule::new("upload_limit", "1KiB to 64MiB", |api| (1 << 10..=64 << 20).contains(&api.upload_limit.0)),
    Rule::new("calls_keep", "at least 30d", |api| api.calls_keep.0 >= Duration::from_secs(30 * 86_400)),
    Rule::new("credit_lease", "4s to 1h", |api| {
        (Duration::from_secs(4)..=Duration::from_secs(3_600)).contains(&api.credit_lease.0)
    }),
    Rule::new("head_timeout", HTTP_TIME, |api| is_http_time(api.head_timeout)),
    Rule::new("body_timeout", HTTP_TIME, |api| is_http_time(api.body_timeout)),
];

impl Api {
    /// Limits at the edge: what a reload can change.
    pub fn edge(&self) -> Edge {
        let bytes = |size: Size| usize::try_from(size.0).unwrap_or(usize::MAX);
        Edge {
            key_limit: Limit { per_second: self.key_rate, burst: self.key_burst },
            customer_limit: Limit { per_second: self.customer_rate, burst: self.customer_burst },
            address_limit: Limit { per_second: self.address_rate, burst: self.address_burst },
            body_bytes: bytes(self.body_limit),
            upload_bytes: bytes(self.upload_limit),
            head_timeout: self.head_timeout.0,
            body_timeout: self.body_timeout.0,
            trusted_proxies: self.trusted_proxies.iter().map(|n| n.0).collect(),
        }
    }

    /// The control plane's configuration; the digest realm is the proxy's.
    pub fn control_plane(&self, config: &Config) -> warp_control_plane::Config {
        let database = match &self.database_url {
            Some(app) => Database::Url {
                app: Secret::new(app.0.clone()),
                migrate: self.migrate_url.as_ref().map(|url| Secret::new(url.0.clone())),
            },
            None => Database::Private { dir: crate::wire::database_dir(config) },
        };
        let mut out = warp_control_plane::Config::new(database, self.listen);
        out.tls = self
            .tls_certificate
            .clone()
            .zip(self.tls_key.clone())
            .map(|(certificate, key)| TlsFiles { certificate, key });
        out.realm = config.sip.realm.clone();
        out.live_keys = self.live_keys;
        out.consumer = self.consumer.clone();
        out.snapshot_dir = Some(crate::wire::snapshot_dir(config));
        out.spool = Some(warp_control_plane::jobs::Spool {
            dir: config.node.data_dir.join("jobs"),
            node: config.node.name.clone(),
        });
        out.retention =
            Retention { keep: self.calls_keep.0, unbilled_too: self.calls_unbilled == Unbilled::Delete };
        out.credit_lease = self.credit_lease.0;
        out.edge = self.edge();
        out.webhooks = warp_control_plane::webhooks::send::Settings {
            networks: self.webhook_networks.iter().map(|n| n.0).collect(),
            ca: self.webhook_ca.clone(),
        };
        out.mail = config.mail.settings();
        out.customer_issuer = config.login.customer();
        out.operator_issuer = config.login.operator();
        out.sessions = config.login.sessions();
        out.consoles = Some(crate::consoles::ALL);
        out.dev_issuer = config.login.demo(&config.node.data_dir);
        let own = || config.node.data_dir.join("seal.key");
        out.key_file = Some(self.seal_key.as_ref().map_or_else(own, |key| key.0.clone()));
        out
    }
}
