//! The proxy core of one shard, without I/O: bytes and a time in, bytes and records out (guide §4).
//!
//! The server calls a `handle_*`, then drains [`Core::poll_output`], then asks [`Core::poll_timeout`].
//! Every message of a call reaches the same shard ([`shard_of`]). Same seed and inputs give the same outputs.
//!
//! Code map: [`types`] what goes in and out · `ingress` requests as they come · `route` where they go · `forward` copies,
//! branches, ACK, CANCEL · `answer` responses · `timers` · `reject` our own responses · `table` transactions ·
//! `strangers` buckets · `call`, `failover`, `media`, `cdr` the policy mode.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use warp_model::{Mono, Now, VendorTrunkId};
use warp_policy::screen::Bound;
use warp_policy::{Snapshot, VendorTrunkLive};
use warp_sip::flow::Flow;
use warp_sip::message::{Kind, Message};

mod answer;
mod auth;
mod call;
mod cdr;
mod dialogs;
mod failover;
mod forward;
mod health;
mod ingress;
mod media;
pub mod overload;
mod probe;
mod random;
mod reject;
mod resume;
mod route;
mod shared;
mod slab;
mod strangers;
mod table;
mod timers;
pub mod types;
mod wheel;

#[cfg(test)]
mod tests_edge;
#[cfg(test)]
mod tests_fuzz;
#[cfg(test)]
mod tests_health;
#[cfg(test)]
mod tests_media;
#[cfg(test)]
mod tests_overload;
#[cfg(test)]
mod tests_policy;
#[cfg(test)]
mod tests_sloppy;
#[cfg(test)]
mod tests_static;
#[cfg(test)]
mod tests_world;

pub use resume::Resume;
pub use shared::Shared;
pub use types::*;

use call::Call;
use probe::Probe;
use random::{HashTable, Keyed, Rng};
use route::Ours;
use slab::{Id, Slab};
use table::Table;
use timers::Key;
use wheel::Wheel;

/// The proxy core of one shard.
pub struct Core {
    config: Arc<CoreConfig>,
    shared: Arc<Shared>,
    ours: Vec<Ours>,
    rng: Rng,
    keyed: Keyed,
    table: Table,
    wheel: Wheel<Key>,
    due: Vec<Key>,
    out: VecDeque<Output>,
    /// Buffers to write messages into.
    pool: Vec<Vec<u8>>,
    /// Buffers for copies of small messages, which live as long as their transactions.
    small: Vec<Vec<u8>>,
    stats: CoreStats,
    snapshot: Option<Arc<Snapshot>>,
    bound: Option<Arc<Bound>>,
    /// Kept for its capacity.
    live: Vec<VendorTrunkLive>,
    calls: Slab<Box<Call>>,
    by_dialog: HashTable<Id>,
    asks: BTreeMap<u64, Id>,
    next_ask: u64,
    /// Vendor trunks out of rotation that this shard asks for a sign of life.
    probes: BTreeMap<VendorTrunkId, Probe>,
    /// How long answered probes took, since the server last asked.
    probe_times: Vec<(VendorTrunkId, std::time::Duration)>,
    /// Remote addresses whose transport failed lately (bounded), so that a flood of ICMP costs one look each.
    failed: VecDeque<(std::net::SocketAddr, Mono)>,
    /// Share of new calls to be refused, of [`overload::FULL`] (F-LOAD-01).
    shed: u32,
}

impl Core {
    /// A core for one shard. `seed` is the process's (or the test's); shards differ by their number.
    /// `config.listeners` must not be empty.
    pub fn new(config: Arc<CoreConfig>, shard: u16, seed: [u8; 32], shared: Arc<Shared>) -> Core {
        let mut rng = Rng::new(seed, shard);
        let keyed = Keyed::new(&mut rng);
        Core {
            ours: config.listeners.iter().copied().map(Ours::new).collect(),
            config,
            shared,
            rng,
            keyed,
            table: Table::new(),
            wheel: Wheel::new(),
            due: Vec::new(),
            out: VecDeque::new(),
            pool: Vec::new(),
            small: Vec::new(),
            stats: CoreStats::default(),
            snapshot: None,
            bound: None,
            live: Vec::new(),
            calls: Slab::new(),
            by_dialog: HashTable::default(),
            asks: BTreeMap::new(),
            next_ask: 0,
            probes: BTreeMap::new(),
            probe_times: Vec::new(),
            failed: VecDeque::new(),
            shed: 0,
        }
    }

    /// Makes room for so many transactions of each side beforehand, and touches that memory: the first calls of a process then
    /// pay for no page faults. More are stored all the same.
    pub fn make_room(&mut self, transactions: usize) {
        self.table.servers.make_room(transactions);
        self.table.clients.make_room(transactions);
    }

    /// One datagram, or one framed message of a stream.
    pub fn handle_message(&mut self, flow: Flow, bytes: &[u8], now: Now) {
        let stranger = self.is_stranger(flow.remote.ip(), now);
        // Before anything is read of it (T-SIP-12). ACK is never answered and makes no state; responses must find a branch of ours.
        let costs_a_token = stranger && !bytes.starts_with(b"ACK ") && !bytes.starts_with(b"SIP/2.0 ");
        if costs_a_token && !self.shared.strangers.admit(&self.config.strangers, flow.remote.ip(), now.mono) {
            self.stats.stranger_dropped += 1;
            return;
        }
        match Message::parse(bytes) {
            Ok(msg) => match msg.kind() {
                Kind::Request { .. } => {
                    self.stats.requests_in += 1;
                    self.on_request(flow, &msg, bytes, stranger, now);
                }
                Kind::Response { .. } if msg.is_sloppy() && !self.reads_sloppy_responses() => {
                    self.stats.malformed += 1;
                }
                Kind::Response { status, .. } => {
                    self.stats.responses_in += 1;
                    self.on_response(flow, &msg, status, now);
                }
            },
            Err(error) => {
                self.stats.malformed += 1;
                self.on_malformed(flow, bytes, &error, stranger);
            }
        }
    }

    /// The transport could not deliver to (or lost) this flow: connection refused or closed, ICMP unreachable.
    pub fn handle_flow_error(&mut self, flow: Flow, now: Now) {
        self.on_flow_error(flow, now);
    }

    /// The answer to a question. Late answers, and answers to questions that nobody asked, are ignored.
    pub fn handle_answer(&mut self, ask: AskId, answer: Answer, now: Now) {
        self.on_answer(ask, answer, now);
    }

    /// An operator, or another part of the process, wants something.
    pub fn handle_command(&mut self, command: Command, now: Now) {
        match command {
            Command::Drain { end_calls } => {
                self.shared.drain();
                if end_calls {
                    let all: Vec<Id> = self.calls.iter().map(|(id, _)| id).collect();
                    for id in all {
                        self.end_call(id, "drain", now);
                    }
                }
            }
            Command::EndCall { cdr_id, reason } => {
                let hit = self
                    .calls
                    .iter()
                    .find(|(_, c)| c.record.as_ref().is_some_and(|r| r.cdr_id == cdr_id))
                    .map(|(id, _)| id);
                if let Some(id) = hit {
                    self.end_call(id, reason, now);
                }
            }
            Command::MediaTimeout { sip_call_id } => self.media_timeout(&sip_call_id, now),
            Command::EndRecovered(resume) => self.end_recovered(*resume, now),
            Command::Configure(config) => {
                self.config = Arc::new((*config).clone().keeping_fixed_parts_of(&self.config));
            }
            Command::ListCalls { reply } => {
                let mut all: Vec<LiveCall> = self.calls.iter().filter_map(|(_, c)| c.live()).collect();
                all.sort_by_key(|c| (c.setup_at, c.cdr_id));
                reply(all);
            }
        }
    }

    /// A new snapshot: for calls that begin from now on; those in the air keep theirs.
    pub fn handle_snapshot(&mut self, snapshot: Arc<Snapshot>, now: Now) {
        let _ = now;
        self.bound = Some(Arc::new(self.shared.usage.bind(&snapshot.directory)));
        self.snapshot = Some(snapshot);
    }

    /// The share of new calls to be refused from now on, of [`overload::FULL`] (F-LOAD-01).
    pub fn set_overload(&mut self, level: u32) {
        self.shed = level;
    }

    /// The configuration in force. Deadlines that were set by an earlier one stay: a transaction under way, a call's longest
    /// duration, a trunk out of rotation.
    pub fn config(&self) -> &Arc<CoreConfig> {
        &self.config
    }

    /// Calls in the air.
    pub fn live_calls(&self) -> usize {
        self.calls.iter().filter(|(_, c)| c.phase != call::Phase::Over).count()
    }

    /// Time has passed. Calling it early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(now.mono, &mut due);
        for key in due.drain(..) {
            self.on_due(key, now);
        }
        self.due = due;
    }

    /// What to do next; drain until `None` after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call [`Core::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.wheel.next()
    }

    /// Gives a sent buffer back.
    pub fn recycle(&mut self, buf: TransmitBuf) {
        self.give_buf(buf.0);
    }

    /// Counters.
    pub fn stats(&self) -> CoreStats {
        self.stats
    }

    /// How long each probe of a vendor trunk took that was answered since the last call.
    pub fn take_probe_times(&mut self) -> impl Iterator<Item = (VendorTrunkId, std::time::Duration)> + '_ {
        self.probe_times.drain(..)
    }

    /// Living server and client transactions of this shard.
    pub fn transactions(&self) -> (usize, usize) {
        (self.table.servers.len(), self.table.clients.len())
    }

    /// The same by kind: client INVITE, server INVITE, client other, server other.
    pub fn transaction_kinds(&self) -> [usize; 4] {
        self.table.kinds()
    }

    fn take_buf(&mut self) -> Vec<u8> {
        self.pool.pop().unwrap_or_else(|| Vec::with_capacity(BUF_BYTES))
    }

    fn give_buf(&mut self, mut buf: Vec<u8>) {
        let pool = match buf.capacity() {
            0 => return,
            1..=SMALL_BUF_BYTES => &mut self.small,
            n if n <= POOL_BUF_BYTES => &mut self.pool,
            _ => return,
        };
        if pool.len() < POOL_BUFS {
            buf.clear();
            pool.push(buf);
        }
    }

    /// A pooled copy, in no more memory than its size wants: most of what a transaction keeps for 32 seconds is a small response.
    fn copy_buf(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buf = match bytes.len() {
            ..=SMALL_BUF_BYTES => self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL_BUF_BYTES)),
            _ => self.take_buf(),
        };
        buf.extend_from_slice(bytes);
        buf
    }

    fn transmit(&mut self, flow: Flow, bytes: Vec<u8>) {
        if route::is_refused(&self.config, &flow) {
            self.stats.refused_destination += 1;
            self.give_buf(bytes);
            return;
        }
        self.out.push_back(Output::Transmit { flow, bytes: TransmitBuf(bytes) });
    }

    fn remove_server(&mut self, id: Id) {
        if let Some(txn) = self.table.remove(id) {
            self.shared.give_transaction();
            self.give_buf(txn.request);
            self.give_buf(txn.response);
        }
    }

    fn remove_client(&mut self, id: Id) {
        if let Some(txn) = self.table.remove_client(id) {
            self.shared.give_transaction();
            self.give_buf(txn.request);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        for _ in 0..self.table.servers.len() + self.table.clients.len() {
            self.shared.give_transaction();
        }
    }
}

/// Which shard a message belongs to: by its Call-ID, so that every message of one call meets the same core. Messages without a
/// readable Call-ID go to shard 0, which refuses them.
pub fn shard_of(bytes: &[u8], shards: u16) -> u16 {
    if shards <= 1 {
        return 0;
    }
    warp_sip::message::call_id_of(bytes).map_or(0, |id| shard_of_call_id(id, shards))
}

/// The shard of a Call-ID.
pub fn shard_of_call_id(id: &[u8], shards: u16) -> u16 {
    if shards <= 1 {
        return 0;
    }
    // FNV-1a: the choice of a shard is no secret, and a flood at one shard is bounded by the buckets.
    let h = id
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3));
    (strangers::mix(h) % u64::from(shards)) as u16
}

const POOL_BUFS: usize = 4_096;
/// Nearly every message that is written fits without growing.
const BUF_BYTES: usize = 2_048;
const SMALL_BUF_BYTES: usize = 512;
const POOL_BUF_BYTES: usize = 8_192;
