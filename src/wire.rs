//! Who gets which handle. "One process" and "six pods" differ in this file only.
//!
//! Order of the start: metrics and health → recovery of journals (before any traffic) → event log and pump → media relay →
//! control plane (which publishes the first snapshot) → SIP proxy → readiness. The end is the other way round.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Config;

/// `key`, address, UDP, TCP of everything that the configuration listens on.
pub fn listen_addresses(config: &Config) -> Vec<(&'static str, SocketAddr, bool, bool)> {
    use warp_sip_proxy::core::Transport;
    let mut all = vec![("ops.listen", config.ops.listen, false, true)];
    all.extend(config.sip.listen.iter().map(|l| {
        let udp = l.transport == Transport::Udp;
        ("sip.listen", l.at, udp, !udp)
    }));
    all.extend(config.media.ng.map(|at| ("media.ng", at, true, false)));
    all
}

/// Where the call journals of a node are.
pub fn journal_dir(config: &Config) -> PathBuf {
    config.node.data_dir.join("journal")
}

/// Where the event log of a node is.
pub fn log_dir(config: &Config) -> PathBuf {
    config.node.data_dir.join("events")
}
