//! Protocol meets the queue: customers' binds, messages, vendors' binds, receipts. Pure: bytes and time in, bytes and wishes out (RFC 0017).
//!
//! The owner feeds connections ([`Core::accepted`], [`Core::connected`], [`Core::bytes`], [`Core::closed`]) and time
//! ([`Core::timeout`]); after each round it appends [`Core::batch`] to the topic and says so ([`Core::appended`]), carries out
//! [`Core::poll`], and sends what [`Core::take_dirty`] names. When the topic is durable up to a number it says that
//! ([`Core::durable`]): then answers go out.
//!
//! Code map: [`links`] connections and sessions · [`customer`] what ESMEs ask · [`vendor`] binds to vendors, sending, their answers ·
//! [`receipts`] what vendors deliver · [`deliver`] what customers get · [`multi`] messages to several · [`replace`] other texts for messages that wait · [`jasmin`] requests of the HTTP door · [`door`] what becomes of
//! them · [`callbacks`] who is told by HTTP · [`joined`] texts in parts for them · [`store`] messages and timers · [`commit`] what waits for the
//! disk · [`routing`] where messages go · [`pricing`] what they cost · [`consent`] who does not want to hear of whom · [`configure`] other settings while it runs ·
//! [`restore`] the state after a start · [`ready`] whose turn it is · [`guard`] guessing of passwords · [`secrets`] those that take long to be checked.
//!
//! Invariants: no message is answered or sent on before its record is durable; the record of sending is written before the bytes go; a final
//! state is never overwritten; an id of an account is nothing to another account.

mod callbacks;
mod commit;
mod configure;
pub mod consent;
mod customer;
mod deliver;
mod door;
mod guard;
pub mod jasmin;
mod joined;
mod links;
mod message;
mod multi;
mod pricing;
mod ready;
mod receipts;
mod replace;
mod restore;
mod routing;
mod secrets;
mod slab;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_configure;
#[cfg(test)]
mod tests_consent;
#[cfg(test)]
mod tests_door;
#[cfg(test)]
mod tests_field;
#[cfg(test)]
mod tests_multi;
#[cfg(test)]
mod tests_optout;
#[cfg(test)]
mod tests_pricing;
#[cfg(test)]
mod tests_restart;
#[cfg(test)]
mod tests_routes;
#[cfg(test)]
mod tests_secrets;
#[cfg(test)]
mod tests_world;
mod throttle;
mod vendor;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp_model::hash::SplitMix;
use warp_model::{Lent, Mono, Now, Wall};
use warp_policy::credit::Held;

pub use callbacks::Call;
pub use commit::Batch;
pub use secrets::Check;
pub use slab::Key;

use warp_policy::messaging::Table;

use crate::config::{Config, Destination};
use crate::metrics::Metrics;
use callbacks::Callbacks;
use commit::Act;
use deliver::AccountState;
use guard::Guard;
use links::Connection;
use receipts::Parked;
use secrets::Secrets;
use slab::Slab;
use store::Store;
use vendor::VendorState;

/// What the core wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to the vendor of this place; tell by [`Core::connected`] or [`Core::closed`].
    Connect(Key, SocketAddr, usize),
    /// Send what is left of it, and close it. Its key is dead; [`Core::closed`] is not wanted.
    Close(Key),
}

/// What the disk did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageFault {
    /// There is no space: ESME_RMSGQFUL.
    Full,
    /// Anything else is wrong: ESME_RSYSERR.
    Broken,
}

/// What waits for a vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFigures {
    /// The name of the vendor.
    pub name: String,
    /// Messages that are ready to go out.
    pub ready: usize,
    /// Messages that it has, whose end is waited for.
    pub carried: usize,
    /// How many binds stand.
    pub bound: usize,
    /// Binds that there should be.
    pub binds: usize,
}

/// The core of one SMSC.
#[derive(Debug)]
pub struct Core {
    config: Arc<Config>,
    metrics: Metrics,
    random: SplitMix,
    connections: Slab<Connection>,
    /// Connections of customers, by source address.
    per_source: HashMap<std::net::IpAddr, usize>,
    customers: usize,
    guard: Guard,
    secrets: Secrets,
    accounts: Vec<AccountState>,
    by_system_id: HashMap<Vec<u8>, usize>,
    by_name: HashMap<Vec<u8>, usize>,
    vendors: Vec<VendorState>,
    mt: Table<usize>,
    mo: Table<Destination>,
    /// Routes of texts in parts, by the first part that came.
    ways: routing::Ways,
    /// Destinations that were refused of submit_multi requests that wait for the disk.
    refused: HashMap<(Key, u32), Vec<u8>>,
    store: Store,
    parked: Parked,
    outputs: VecDeque<Output>,
    dirty: Vec<Key>,
    /// Money of messages that wait for the disk.
    held: HashMap<Key, Lent<Held>>,
    /// New forms of messages that wait for the disk, by number.
    forms: HashMap<usize, replace::Form>,
    next_form: usize,
    /// Accounts that something may be delivered to now.
    waking: Vec<usize>,
    callbacks: Callbacks,
    joined: joined::Joined,
    consent: consent::Consent,
    /// Answers to requests of the HTTP door, by their token.
    answers: VecDeque<(u64, jasmin::JasminReply)>,
    /// Bytes of a closed connection that are still to be sent.
    last_words: Vec<(Key, Vec<u8>)>,
    next_tick: Mono,
    draining: bool,
}

/// How often sessions and vendors are looked at; their timers are seconds.
const TICK: Duration = Duration::from_millis(100);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Core {
    /// A core without connections and messages. `seed` makes ids and jitter.
    pub fn new(config: Arc<Config>, metrics: Metrics, seed: u64) -> Core {
        let accounts = config.accounts.iter().map(AccountState::new).collect();
        let (by_system_id, by_name) = configure::named(&config);
        let vendors = config.vendors.iter().map(VendorState::new).collect();
        // They were checked before; without routes nothing is taken.
        let (mt, mo) = config.tables().unwrap_or_else(|_| routing::no_tables());
        let mut random = SplitMix::new(seed);
        let secrets = Secrets::new(&mut random);
        let mut consent = consent::Consent::default();
        consent.take(&config.opt_outs);
        Core {
            config,
            metrics,
            random,
            connections: Slab::new(),
            per_source: HashMap::new(),
            customers: 0,
            guard: Guard::default(),
            secrets,
            accounts,
            by_system_id,
            by_name,
            vendors,
            mt,
            mo,
            ways: routing::Ways::default(),
            refused: HashMap::new(),
            store: Store::new(),
            parked: Parked::default(),
            outputs: VecDeque::new(),
            dirty: Vec::new(),
            held: HashMap::new(),
            forms: HashMap::new(),
            next_form: 0,
            waking: Vec::new(),
            callbacks: Callbacks::default(),
            joined: joined::Joined::default(),
            consent,
            answers: VecDeque::new(),
            last_words: Vec::new(),
            next_tick: Mono(0),
            draining: false,
        }
    }

    /// What is to be appended to the topic now.
    pub fn batch(&self) -> &Batch {
        self.store.commit.batch()
    }

    /// The batch was appended; `end` is the number after its last record. Until then nothing else is told to the core.
    pub fn appended(&mut self, end: u64) {
        self.store.appended(end);
        self.parked.at(end);
    }

    /// All records before `number` are durable.
    pub fn durable(&mut self, number: u64, now: Now) {
        for act in self.store.commit.durable(number) {
            self.act(act, now);
        }
    }

    fn act(&mut self, act: Act, now: Now) {
        match act {
            Act::Taken { message, waits } => {
                self.paid(message);
                self.answer_submit(waits, message);
                self.let_go(message, now);
            }
            Act::Originated { message, connection, sequence, data } => {
                self.answer_delivery(connection, sequence, data, warp_smpp::Status::ROK);
                self.deliverable(message, now);
            }
            Act::Over { message } => self.deliverable(message, now),
            Act::Replaced { message, form, connection, sequence } => {
                let status = self.replaced(message, form, now);
                self.answer_replace(connection, sequence, status);
            }
            Act::Receipt { connection, sequence, data } => {
                self.answer_delivery(connection, sequence, data, warp_smpp::Status::ROK);
            }
            Act::Consent { place } => self.consented(place),
        }
    }

    /// The records before `below` will not be durable; `None`: the batch could not be appended. What waits for them is refused, and
    /// facts are written again with the next batch.
    pub fn storage_failed(&mut self, fault: StorageFault, below: Option<u64>) {
        self.metrics.storage_errors.inc(());
        let (submit, delivery) = match fault {
            StorageFault::Full => (warp_smpp::Status::RMSGQFUL, warp_smpp::Status::RX_T_APPN),
            StorageFault::Broken => (warp_smpp::Status::RSYSERR, warp_smpp::Status::RX_T_APPN),
        };
        for act in self.store.commit.failed(below) {
            match act {
                Act::Taken { message, waits } => {
                    // What it had paid goes back.
                    self.held.remove(&message);
                    self.store.remove(message);
                    self.metrics.submits.inc(crate::metrics::Taken::Storage);
                    self.refuse_submit(waits, submit);
                }
                Act::Originated { message, connection, sequence, data } => {
                    self.store.remove(message);
                    self.answer_delivery(connection, sequence, data, delivery);
                }
                // The fact is written again; until then the customer does not hear of it.
                Act::Over { message } => self.over_again(message),
                Act::Replaced { form, connection, sequence, .. } => {
                    self.forms.remove(&form);
                    self.answer_replace(connection, sequence, submit);
                }
                Act::Receipt { connection, sequence, data } => {
                    self.answer_delivery(connection, sequence, data, delivery);
                }
                Act::Consent { place } => self.not_consented(place),
            }
        }
    }

    /// The number of the oldest record that is needed. Call it now and then, and release what stands before.
    /// `end` is the number of the next record: when what is needed is a small part of what stands there, some is written again.
    pub fn oldest(&mut self, end: u64) -> u64 {
        let Some(oldest) = self.store.oldest() else { return self.parked.oldest().unwrap_or(end) };
        let live = self.store.len() as u64;
        if end.saturating_sub(oldest) > live.saturating_mul(16).saturating_add(REWRITE_ABOVE) {
            let config = Arc::clone(&self.config);
            self.store.rewrite(REWRITTEN, |message| {
                let name = |text: Option<&String>| text.map(|t| t.clone().into_bytes()).unwrap_or_default();
                (
                    name(config.accounts.get(message.account()).map(|a| &a.name)),
                    name(config.vendors.get(message.vendor()).map(|v| &v.name)),
                )
            });
        }
        self.parked.oldest().map_or(oldest, |parked| oldest.min(parked))
    }

    /// The next wish; drain until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Time has passed: does what is due.
    pub fn timeout(&mut self, now: Now) {
        if now.mono >= self.next_tick {
            self.next_tick = now.mono + TICK;
            for key in self.connections.keys() {
                self.settle(key, now);
            }
            self.connect_vendors(now);
            self.parked.expire(now, &self.metrics);
            self.metrics.messages.set((), self.store.len() as i64);
            self.metrics.connections.set((), self.connections.len() as i64);
        }
        while let Some(key) = self.store.pop_due(now.wall) {
            self.on_due(key, now);
        }
        self.tell_incomplete(now);
        self.wake_callbacks(now);
    }

    /// When to call [`Core::timeout`] at the latest.
    pub fn deadline(&self, now: Now) -> Mono {
        let due = self.store.next_due().map(|at| {
            let us = u64::try_from(at.0.saturating_sub(now.wall.0)).unwrap_or(0);
            now.mono + Duration::from_micros(us)
        });
        let paced = self.vendors.iter().filter_map(|v| v.paced_until);
        due.into_iter()
            .chain(paced)
            .chain(self.callbacks.next_rest())
            .chain(self.joined.next())
            .chain([self.next_tick])
            .min()
            .unwrap_or(self.next_tick)
    }

    /// All that a wake-up brought was told: sends what can be sent now, to vendors and to customers. The batch is appended after it, and
    /// then what was written goes out.
    pub fn round(&mut self, now: Now) {
        for vendor in 0..self.vendors.len() {
            self.pump_vendor(vendor, now);
        }
        while let Some(account) = self.waking.pop() {
            if let Some(state) = self.accounts.get_mut(account) {
                state.woken = false;
            }
            self.pump_account(account, now);
        }
    }

    /// Begins to end: takes no more binds and messages, unbinds every session when what is in flight is answered.
    pub fn drain(&mut self, now: Now) {
        self.draining = true;
        for key in self.connections.keys() {
            self.unbind(key, now);
        }
    }

    /// Whether all connections are gone.
    pub fn is_drained(&self) -> bool {
        self.draining && self.connections.len() == 0
    }

    /// What waits for each vendor, in their order.
    pub fn queues(&self) -> Vec<QueueFigures> {
        let all = self.config.vendors.iter().zip(&self.vendors);
        all.map(|(config, state)| QueueFigures {
            name: config.name.clone(),
            ready: state.ready.len(),
            carried: state.carried.len(),
            bound: state.bound(),
            binds: config.addresses.len(),
        })
        .collect()
    }

    fn new_id(&mut self, at: Wall) -> u128 {
        let random = u128::from(self.random.draw()) << 64 | u128::from(self.random.draw());
        warp_model::MessageId::new(at, random).as_u128()
    }
}

/// Records above which what is needed of them is written again, some at a time.
const REWRITE_ABOVE: u64 = 200_000;
const REWRITTEN: usize = 256;
