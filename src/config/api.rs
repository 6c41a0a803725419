//! `[api]`: the control plane's part of `warp.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use warp_control_plane::Database;
use warp_model::Secret;

use super::Config;

/// `[api]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// REST API. Loopback unless told otherwise.
    pub listen: SocketAddr,
    /// PostgreSQL as the app role (neither superuser nor BYPASSRLS); also `DATABASE_URL`. Absent: a private cluster.
    pub database_url: Option<String>,
    /// PostgreSQL as the role that owns the schema; without it, migrations are not applied here.
    pub migrate_url: Option<String>,
    /// Folder of the private cluster; absent: `pg` in the data folder.
    pub database_dir: Option<PathBuf>,
    /// New keys say `wk_live_` instead of `wk_test_`.
    pub live_keys: bool,
    /// Name of the CDR consumer in the event cursors: one per deployment.
    pub consumer: String,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            database_url: None,
            migrate_url: None,
            database_dir: None,
            live_keys: false,
            consumer: "postgres".to_owned(),
        }
    }
}

impl Api {
    /// The control plane's configuration; the digest realm is the proxy's.
    pub fn control_plane(&self, config: &Config) -> warp_control_plane::Config {
        let database = match &self.database_url {
            Some(app) => Database::Url {
                app: Secret::new(app.clone()),
                migrate: self.migrate_url.clone().map(Secret::new),
            },
            None => Database::Private {
                dir: self.database_dir.clone().unwrap_or_else(|| crate::wire::database_dir(config)),
            },
        };
        let mut out = warp_control_plane::Config::new(database, self.listen);
        out.realm = config.sip.realm.clone();
        out.live_keys = self.live_keys;
        out.consumer = self.consumer.clone();
        out
    }
}
