//! What all shards of a process share: limits in atomics, keys, health of vendor trunks. Made once. No lock on the path of a
//! trunk's call; signing in by digest takes one for its nonce count.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use warp_model::sync::lock;
use warp_model::{GiveBack, Lent, Mono, Now, VendorTrunkId};
use warp_policy::{Directory, Usage, VendorTrunkLive};
use warp_sip::digest::{NonceCounts, NonceIssuer};
use warp_sip::registrar::Binding;
use warp_state::Record;

use super::call::printable;
use super::health::{ACCOUNT_FAILURES, Failures, Health, Learnt, SOURCE_FAILURES, TrunkState};
use super::inbound::Callbacks;
use super::location::Locations;
use super::mirror::{FOREIGN, Writer, columns_of};
use super::names::Names;
use super::random::{Keyed, Rng};
use super::route::Ours;
use super::strangers::Strangers;
use super::types::{Listener, Registered};

/// Nonces in use that are remembered against replays (T-SIP-09).
const NONCES: usize = 1_000_000;

/// Shared by the cores of one process.
pub struct Shared {
    pub(crate) strangers: Strangers,
    /// Keys of Record-Route cookies and loop hashes: the same on every shard.
    pub(crate) keyed: Keyed,
    pub(crate) usage: Usage,
    pub(crate) health: Health,
    pub(crate) learnt: Learnt,
    pub(crate) failures: Failures<IpAddr>,
    /// The same by account: the keyed hash of its name.
    pub(crate) account_failures: Failures<u64>,
    pub(crate) callbacks: Callbacks,
    /// Where registered users are.
    pub(crate) locations: Locations,
    /// What DNS says of the names of peers.
    pub(crate) names: Names,
    pub(crate) nonces: NonceIssuer,
    nonce_counts: Mutex<NonceCounts>,
    transactions: AtomicUsize,
    draining: AtomicBool,
    /// Shards whose call journal cannot be written (F-DISK-01).
    unrecorded: AtomicUsize,
}

/// Room for one transaction among those of all shards.
#[derive(Debug)]
pub(crate) struct Place(Arc<Shared>);

impl GiveBack for Place {
    fn give_back(&mut self) {
        self.0.transactions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// With a seed of its own (from the operating system, or of a test).
    pub fn new(seed: [u8; 32]) -> Shared {
        let mut rng = Rng::new(seed, u16::MAX);
        let mut nonce_key = [0; 32];
        for part in nonce_key.chunks_exact_mut(8) {
            part.copy_from_slice(&rng.u64().to_be_bytes());
        }
        let instance = rng.u64();
        Shared {
            strangers: Strangers::new(rng.u64()),
            keyed: Keyed::new(&mut rng),
            usage: Usage::new(),
            health: Health::default(),
            learnt: Learnt::new(rng.u64()),
            failures: Failures::new(SOURCE_FAILURES),
            account_failures: Failures::new(ACCOUNT_FAILURES),
            callbacks: Callbacks::default(),
            locations: Locations::new(instance),
            names: Names::default(),
            nonces: NonceIssuer::new(nonce_key, None),
            nonce_counts: Mutex::new(NonceCounts::new(NONCES, Mono(0))),
            transactions: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            unrecorded: AtomicUsize::new(0),
        }
    }

    /// Channels, calls per second and spend of trunks, for the operator's view.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// What a decision would look at now: the vendor trunks of `directory`, in its order.
    pub fn vendor_trunks(&self, directory: &Arc<Directory>, now: Now) -> Vec<VendorTrunkLive> {
        let (usage, health) = (self.usage.bind(directory), self.health.bind(directory));
        directory.vendor_trunks().map(|(ix, _)| health.look(&usage, ix, now)).collect()
    }

    /// The names that lead to an address by TLS: those that its certificate may have.
    pub(crate) fn names_at(&self, at: std::net::SocketAddr) -> Vec<String> {
        self.names.of(at)
    }

    /// Contacts of registered users.
    pub fn registrations(&self) -> usize {
        self.locations.len()
    }

    /// The phones that a user has registered in a domain, the most wanted first.
    pub fn registered(&self, user: &str, domain: &str, now: Mono) -> Vec<Registered> {
        let aor = [user, "@", domain].concat();
        let text = |bytes: &[u8]| printable(bytes.to_vec());
        let shown = |b: Binding| Registered {
            contact: text(&b.contact),
            transport: b.flow.transport,
            source: b.flow.remote,
            user_agent: Some(text(&b.user_agent)).filter(|agent| !agent.is_empty()),
            expires_in: b.expires.since(now),
        };
        self.locations.look(aor.as_bytes(), now).into_iter().map(shown).collect()
    }

    /// A row of ours is in Redis, since the batch of this number.
    pub(crate) fn stored(&self, record: &Record, batch: u64) {
        let aor = [&record.aor.username[..], b"@", &record.aor.domain].concat();
        self.locations.with(&aor, |bindings| {
            let same = |b: &&mut Binding| {
                b.ruid == record.ruid
                    && b.call_id == record.call_id
                    && b.cseq == record.cseq
                    && b.mark != FOREIGN
            };
            if let Some(binding) = bindings.edit().iter_mut().find(same) {
                binding.mark = batch;
            }
        });
    }

    /// The rows of one part of the table that were not written since a batch; `None`: there is no such part.
    pub(crate) fn unstored(
        &self,
        part: usize,
        floor: u64,
        domain: &str,
        listeners: &[Listener],
        server_id: u32,
        now: Now,
    ) -> Option<Vec<Record>> {
        let ours: Vec<Ours> = listeners.iter().map(|l| Ours::new(*l)).collect();
        let writer = Writer { ours: &ours, keyed: &self.keyed, server_id, now };
        self.locations.of_part(part, |aor, b| {
            let wanted = b.mark < floor && b.mark != FOREIGN && b.expires > now.mono;
            wanted.then(|| writer.record(columns_of(aor, domain), b))
        })
    }

    /// Transactions of all shards.
    pub fn transactions(&self) -> usize {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Whether new calls are refused: draining, or a call journal cannot be written.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.unrecorded.load(Ordering::Relaxed) > 0
    }

    /// A shard's call journal cannot be written any more (`true`) or again (`false`): new calls are refused meanwhile, because
    /// a call without a record is not carried (F-DISK-01).
    pub fn unrecorded(&self, failing: bool) {
        if failing {
            self.unrecorded.fetch_add(1, Ordering::Relaxed);
        } else {
            self.unrecorded.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Where a vendor trunk stands, and why; `None`: no snapshot in use has it.
    pub fn vendor_trunk(&self, id: VendorTrunkId, now: Mono) -> Option<TrunkState> {
        Some(self.health.of(id)?.state(now))
    }

    /// An operator says that a vendor trunk is well: it takes all its calls from now on, whatever was held against it. False: no
    /// snapshot in use has it.
    pub fn reset_vendor_trunk(&self, id: VendorTrunkId) -> bool {
        self.health.of(id).map(|slot| slot.reset()).is_some()
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Takes room for one transaction; `None` when the table is full. Dropping the place gives it back, however that comes about.
    pub(crate) fn place(self: &Arc<Self>, limit: usize) -> Option<Lent<Place>> {
        let place = Lent::new(Place(Arc::clone(self)));
        // Counted first: the place that is dropped for want of room takes itself back.
        (self.transactions.fetch_add(1, Ordering::Relaxed) < limit).then_some(place)
    }

    /// Notes a verified use of a nonce; false for a replay.
    pub(crate) fn accept_nonce(&self, nonce: u64, count: u32, now: Mono) -> bool {
        let mut counts = lock(&self.nonce_counts);
        counts.accept(nonce, count, now)
    }
}
