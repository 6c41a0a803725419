//! `[smsc]`: the SMSC's part of `warp.toml`. Accounts, vendors and routes are rows of the control plane.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use warp_net::tls::TlsFiles;
use warp_smsc::{Callbacks, Config as SmscConfig, SmscLimits};

use super::rules::Rule;
use super::{Network, Size};

/// `[smsc]`: the SMSC, its listeners and its queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Smsc {
    /// The name that binds are answered with.
    pub system_id: String,
    /// Where customers bind by SMPP. Loopback unless told otherwise.
    pub listen: Option<SocketAddr>,
    /// Where customers bind by SMPP over TLS.
    pub listen_tls: Option<SocketAddr>,
    /// Certificate of that listener (PEM, with those that lead to its root). A renewed one is taken by itself.
    pub tls_certificate: Option<PathBuf>,
    /// Private key of that certificate (PEM).
    pub tls_key: Option<PathBuf>,
    /// Roots that vendors are trusted by which are reached by TLS (PEM). Absent: those of web browsers.
    pub vendor_ca: Option<PathBuf>,
    /// Where Jasmin's HTTP API listens. Absent: nowhere.
    pub http: Option<SocketAddr>,
    /// Messages that are not done at a time: further ones are refused with ESME_RMSGQFUL.
    pub messages: u32,
    /// Connections of customers together: further ones are closed.
    pub connections: u32,
    /// Bytes of the queue on disk above which nothing more is taken.
    pub limit: Size,
    /// Networks that calls of Jasmin's API (`dlr-url`) may lead to besides public addresses.
    pub callback_networks: Vec<Network>,
}

impl Default for Smsc {
    fn default() -> Self {
        let limits = SmscLimits::default();
        Self {
            system_id: "WARP".to_owned(),
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 2775))),
            listen_tls: None,
            tls_certificate: None,
            tls_key: None,
            vendor_ca: None,
            http: None,
            messages: u32::try_from(limits.messages).unwrap_or(u32::MAX),
            connections: u32::try_from(limits.connections).unwrap_or(u32::MAX),
            limit: Size(50 << 30),
            callback_networks: Vec::new(),
        }
    }
}

/// What the keys of the section must be.
pub(super) const RULES: &[Rule<Smsc>] = &[
    Rule::new("system_id", "1 to 15 characters", |smsc| (1..=15).contains(&smsc.system_id.len())),
    Rule::new("messages", "at least 1", |smsc| smsc.messages > 0),
    Rule::new("connections", "at least 1", |smsc| smsc.connections > 0),
    Rule::new("tls_certificate", "there together with tls_key and listen_tls", |smsc: &Smsc| {
        let all = [smsc.tls_certificate.is_some(), smsc.tls_key.is_some(), smsc.listen_tls.is_some()];
        all.iter().all(|there| *there == all[0])
    })
    .with(&["tls_key", "listen_tls"]),
];

impl Smsc {
    /// The SMSC of these settings, without accounts and vendors, and with accounts kept of every message.
    pub fn node(&self) -> SmscConfig {
        let files = self.tls_certificate.clone().zip(self.tls_key.clone());
        let networks = self.callback_networks.iter().map(|n| n.0).collect();
        SmscConfig {
            listen: self.listen,
            listen_tls: self.listen_tls,
            certificate: files.map(|(certificate, key)| TlsFiles { certificate, key, roots: None }),
            roots: self.vendor_ca.clone(),
            http: self.http,
            callbacks: Callbacks { networks, ..Callbacks::default() },
            limits: SmscLimits {
                messages: self.messages as usize,
                connections: self.connections as usize,
                ..SmscLimits::default()
            },
            recorded: true,
            ..SmscConfig::new(&self.system_id)
        }
    }
}
