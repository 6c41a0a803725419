//! Settings of the control plane. The composition root fills them from `warp.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::consoles::Consoles;
use crate::api::limiter::Edge;
use crate::api::tls::TlsFiles;
use crate::billing::retention::Retention;
use crate::jobs;
use crate::oidc::dev::Person;
use crate::oidc::issuer::IssuerSettings;
use crate::store::Database;
use crate::webhooks;

/// Posted calls are kept for 18 months, as US carriers must keep toll records (47 CFR §42.6).
pub const CALLS_KEEP: Duration = Duration::from_secs(548 * 86_400);

/// Everything that an operator may set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the rows are.
    pub database: Database,
    /// Listener of the API; port 0 = chosen by the OS. Loopback unless told otherwise (T-CFG-02).
    pub listen: SocketAddr,
    /// The certificate of the listener; `None`: it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// A taken port is not an error: take the next free one (`warp dev`).
    pub next_free_port: bool,
    /// Digest realm that trunk credentials are made for.
    pub realm: String,
    /// New keys say `wk_live_` instead of `wk_test_`.
    pub live_keys: bool,
    /// Limits at the edge, of the start; a reload may bring others ([`crate::App::configure`]).
    pub edge: Edge,
    /// Name of this consumer in the event cursors: one per deployment.
    pub consumer: String,
    /// Folder where the last published snapshot is kept for a start without PostgreSQL; `None`: nowhere (tests).
    pub snapshot_dir: Option<PathBuf>,
    /// Where jobs put their files; `None`: jobs are carried out elsewhere.
    pub spool: Option<jobs::Spool>,
    /// How long posted calls are kept.
    pub retention: Retention,
    /// How long a lease of credit lasts at the bank; its node ends it an eighth earlier. While PostgreSQL is away calls that are paid
    /// ahead go on for about so long.
    pub credit_lease: Duration,
    /// File with the key that vendors' passwords are sealed with in the database; made when it does not exist. `None`: a key that
    /// ends with the process (tests).
    pub key_file: Option<PathBuf>,
    /// Who says who users of customers are; `None`: they have keys only.
    pub customer_issuer: Option<IssuerSettings>,
    /// Who says who the carrier's own people are; `None`: they have keys only.
    pub operator_issuer: Option<IssuerSettings>,
    /// How long browsers stay signed in.
    pub sessions: SessionLimits,
    /// Where webhooks may lead besides public addresses.
    pub webhooks: webhooks::send::Settings,
    /// The mail server of the platform; `None`: it sends no mail.
    pub mail: Option<webhooks::mail::Settings>,
    /// The issuer of the demo world, which answers on our own listener. Never in production: nobody proves anything to it.
    pub dev_issuer: Option<DevIssuerSettings>,
    /// The portals for browsers; `None`: nothing but the API is served.
    pub consoles: Option<Consoles>,
}

/// How long a browser stays signed in. It signs in again at whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Longest time between two requests, to the minute.
    pub idle: Duration,
    /// Longest time from the sign-in on.
    pub lifetime: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(3_600), lifetime: Duration::from_secs(12 * 3_600) }
    }
}

/// What the issuer of the demo world needs.
#[derive(Clone, Debug)]
pub struct DevIssuerSettings {
    /// File with its key; made when it does not exist.
    pub key_file: PathBuf,
    /// Who can sign in.
    pub people: Vec<Person>,
}

impl Config {
    /// Defaults of a laptop.
    pub fn new(database: Database, listen: SocketAddr) -> Self {
        Self {
            database,
            listen,
            tls: None,
            next_free_port: false,
            realm: "warp".into(),
            live_keys: false,
            edge: Edge::default(),
            consumer: "postgres".into(),
            snapshot_dir: None,
            spool: None,
            retention: Retention { keep: CALLS_KEEP, unbilled_too: false },
            credit_lease: Duration::from_secs(120),
            key_file: None,
            customer_issuer: None,
            operator_issuer: None,
            sessions: SessionLimits::default(),
            webhooks: webhooks::send::Settings::default(),
            mail: None,
            dev_issuer: None,
            consoles: None,
        }
    }
}
