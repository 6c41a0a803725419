//! What DNS has said of the names of peers, for all shards: fresh while its TTL lasts, and afterwards the last good answer for as long as
//! DNS does not answer. A lock is held for one look or one change; only calls to peers with names come here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use warp_model::Mono;
use warp_model::sync::lock;
use warp_sip::flow::Transport;
use warp_sip::resolve::{LookupError, Servers, Wanted};

use super::health::AddressHealth;

/// Names that are remembered; when there are more, the one whose answer ends first is forgotten.
pub(crate) const NAMES: usize = 4_096;
/// How long DNS is left alone about a name that it did not answer: meanwhile the last good answer is used at once.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// Between two questions for an answer that is about to end.
const AHEAD_EVERY: Duration = Duration::from_secs(5);

/// What is known of one name.
#[derive(Debug)]
pub(crate) struct Located {
    /// Where it leads.
    pub(crate) servers: Servers,
    health: Vec<(SocketAddr, Arc<AddressHealth>)>,
}

impl Located {
    /// How an address of it has done lately.
    pub(crate) fn health(&self, at: SocketAddr) -> Option<&Arc<AddressHealth>> {
        self.health.iter().find(|(a, _)| *a == at).map(|(_, health)| health)
    }
}

#[derive(Debug, Default)]
struct Entry {
    found: Option<Arc<Located>>,
    /// No question is needed before.
    until: Mono,
    /// From then on somebody may ask ahead.
    ahead: Mono,
}

/// What there is to know now.
#[derive(Debug)]
pub(crate) struct Look {
    /// The last good answer.
    pub(crate) found: Option<Arc<Located>>,
    /// It is to be used as it is; else DNS is to be asked first.
    pub(crate) fresh: bool,
    /// Fresh, but about to end: ask, and wait for nothing.
    pub(crate) ahead: bool,
}

/// The names of peers that DNS was asked for.
#[derive(Debug, Default)]
pub(crate) struct Names {
    table: Mutex<BTreeMap<Wanted, Entry>>,
}

impl Names {
    /// What is known of a name.
    pub(crate) fn look(&self, wanted: &Wanted, now: Mono) -> Look {
        let mut table = lock(&self.table);
        let Some(entry) = table.get_mut(wanted) else {
            return Look { found: None, fresh: false, ahead: false };
        };
        let fresh = now < entry.until;
        let ahead = fresh && entry.ahead <= now;
        if ahead {
            entry.ahead = now + AHEAD_EVERY;
        }
        Look { found: entry.found.clone(), fresh, ahead }
    }

    /// What DNS has answered.
    pub(crate) fn learn(&self, wanted: &Wanted, answer: Result<Servers, LookupError>, now: Mono) {
        let mut table = lock(&self.table);
        if table.len() >= NAMES && !table.contains_key(wanted) {
            let first = table.iter().min_by_key(|(_, e)| e.until).map(|(name, _)| name.clone());
            first.map(|name| table.remove(&name));
        }
        let entry = table.entry(wanted.clone()).or_default();
        let seconds = |n: u32| Duration::from_secs(u64::from(n));
        match answer {
            Ok(servers) => {
                entry.until = now + seconds(servers.ttl);
                entry.ahead = now + seconds(servers.ttl).mul_f32(0.9);
                let before = entry.found.take();
                let all = servers.list.iter().flat_map(|s| s.addresses.iter());
                let health = all.map(|at| {
                    let known = before.as_ref().and_then(|b| b.health(*at));
                    (*at, known.cloned().unwrap_or_default())
                });
                let health = health.collect();
                entry.found = Some(Arc::new(Located { servers, health }));
            }
            Err(LookupError::NoServer(ttl)) => {
                *entry = Entry { found: None, until: now + seconds(ttl), ahead: now + seconds(ttl) };
            }
            Err(LookupError::Failed) => {
                // An answer that is still good stays as long as it was said to.
                entry.until = entry.until.max(now + LEFT_ALONE);
                entry.ahead = entry.until;
            }
        }
    }

    /// Whether a name leads to an address.
    pub(crate) fn leads(&self, wanted: &Wanted, ip: IpAddr) -> bool {
        let (table, ip) = (lock(&self.table), ip.to_canonical());
        let found = table.get(wanted).and_then(|e| e.found.as_ref());
        found.is_some_and(|l| l.servers.list.iter().flat_map(|s| &s.addresses).any(|a| a.ip() == ip))
    }

    /// The names that lead to an address by TLS: the ones that its certificate may have.
    pub(crate) fn of(&self, at: SocketAddr) -> Vec<String> {
        let table = lock(&self.table);
        let leads = |l: &Arc<Located>| {
            let mut tls = l.servers.list.iter().filter(|s| s.transport == Transport::Tls);
            tls.any(|s| s.addresses.contains(&at))
        };
        table
            .iter()
            .filter(|(_, e)| e.found.as_ref().is_some_and(leads))
            .map(|(w, _)| w.host.clone())
            .collect()
    }
}
