//! Settings of the control plane. The composition root fills them from `warp.toml`.

use std::net::SocketAddr;

use crate::api::limiter::Limit;
use crate::store::Database;

/// Everything that an operator may set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the rows are.
    pub database: Database,
    /// Listener of the API; port 0 = chosen by the OS. Loopback unless told otherwise (T-CFG-02).
    pub listen: SocketAddr,
    /// A taken port is not an error: take the next free one (`warp dev`).
    pub next_free_port: bool,
    /// Digest realm that trunk credentials are made for.
    pub realm: String,
    /// New keys say `wk_live_` instead of `wk_test_`.
    pub live_keys: bool,
    /// Requests of one key.
    pub key_limit: Limit,
    /// Requests of all keys of one customer.
    pub customer_limit: Limit,
    /// Failed authentications of one address.
    pub address_limit: Limit,
    /// Name of this consumer in the event cursors: one per deployment.
    pub consumer: String,
}

impl Config {
    /// Defaults of a laptop.
    pub fn new(database: Database, listen: SocketAddr) -> Self {
        Self {
            database,
            listen,
            next_free_port: false,
            realm: "warp".into(),
            live_keys: false,
            key_limit: Limit { per_second: 200, burst: 400 },
            customer_limit: Limit { per_second: 400, burst: 800 },
            address_limit: Limit { per_second: 5, burst: 20 },
            consumer: "postgres".into(),
        }
    }
}
