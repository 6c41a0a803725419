//! Start, reload, drain, stop.

mod folder;
mod ops;

use std::fmt;
use std::str::FromStr;

pub use folder::{Reload, RunFolder};
pub use ops::OpsThread;

use crate::cli::ConfigFile;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// SIP proxy.
    pub sip: bool,
    /// Media relay.
    pub media: bool,
    /// REST API and snapshot publisher.
    pub api: bool,
    /// CDR posting and other background work.
    pub jobs: bool,
}

impl Roles {
    /// Everything that exists.
    pub const ALL: Roles = Roles { sip: true, media: true, api: true, jobs: true };
}

impl FromStr for Roles {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut roles = Roles { sip: false, media: false, api: false, jobs: false };
        for word in text.split(',').map(str::trim) {
            match word {
                "sip" => roles.sip = true,
                "media" => roles.media = true,
                "api" => roles.api = true,
                "jobs" => roles.jobs = true,
                "smsc" => return Err("the role smsc does not exist yet".to_owned()),
                other => return Err(format!("{other:?} is no role; roles are sip, media, api, jobs")),
            }
        }
        Ok(roles)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [("sip", self.sip), ("media", self.media), ("api", self.api), ("jobs", self.jobs)];
        let on: Vec<&str> = all.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        f.write_str(&on.join(","))
    }
}

/// `warp serve`.
pub fn serve(_file: &ConfigFile, _roles: Roles) -> anyhow::Result<u8> {
    anyhow::bail!("not wired yet")
}
