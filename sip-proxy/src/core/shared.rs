//! What all shards of a process share: limits in atomics, keys, health of vendor trunks. Made once; no locks on the call path.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::random::{Keyed, Rng};
use super::strangers::Strangers;
use super::types::CoreConfig;

/// Shared by the cores of one process.
pub struct Shared {
    pub(crate) strangers: Strangers,
    /// Keys of Record-Route cookies and loop hashes: the same on every shard.
    pub(crate) keyed: Keyed,
    transactions: AtomicUsize,
    draining: AtomicBool,
}

impl Shared {
    /// With a seed of its own (from the operating system, or of a test).
    pub fn new(config: &CoreConfig, seed: [u8; 32]) -> Shared {
        let mut rng = Rng::new(seed, u16::MAX);
        Shared {
            strangers: Strangers::new(config.strangers, rng.u64()),
            keyed: Keyed::new(&mut rng),
            transactions: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// Transactions of all shards.
    pub fn transactions(&self) -> usize {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Takes room for one transaction; false when the table is full.
    pub(crate) fn take_transaction(&self, limit: usize) -> bool {
        if self.transactions.fetch_add(1, Ordering::Relaxed) >= limit {
            self.transactions.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub(crate) fn give_transaction(&self) {
        self.transactions.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether new calls are refused.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
