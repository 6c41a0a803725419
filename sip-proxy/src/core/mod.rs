//! The proxy core of one shard, without I/O: bytes and a time in, bytes and records out (guide §4).
//!
//! The server calls a `handle_*`, then drains [`Core::poll_output`], then asks [`Core::poll_timeout`].
//! Every message of a call reaches the same shard ([`shard_of`]). Same seed and inputs give the same outputs.
//!
//! Three structs, and [`Core`] dispatches between them: [`transactions`] (messages in and out; `table` what it holds, `answer` what
//! responses mean to it, `forward` copies, `reject` responses of our own, `timers`), [`calls`] (policy mode; `call` one of them and its
//! branches, `failover`, `dialogs`, `media`, `cdr`, `live`, `probe`, `resume`), [`proxying`] (launch profile `proxy`). Above that, [`registrar`] (launch profile
//! `registrar`; `location` its table, `forks` requests that go to several contacts, `lookups` those that wait for
//! other nodes, `mirror` rows of theirs, `sign_in` digest for it and for trunks).
//!
//! Code map beside them: [`types`] what goes in and out · `ingress` the checks of a request before either gets it · `auth` who calls ·
//! `route` where requests go · `buffers` for messages · `strangers` buckets · `health` of vendors · `overload`.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::sync::Arc;

use warp_model::hash::{fnv1a, mix};
use warp_model::{Mono, Now, VendorTrunkId};
use warp_policy::Snapshot;
use warp_sip::flow::Flow;
use warp_sip::message::{Kind, Message};

mod acks;
mod admission;
mod answer;
mod auth;
mod believe;
mod buffers;
mod call;
mod calls;
mod cancel;
mod cdr;
mod confirm;
mod credit;
mod dialogs;
mod exchange;
mod failover;
mod forks;
mod forward;
mod headers;
mod health;
mod inbound;
mod ingress;
mod live;
mod locate;
mod location;
mod lookups;
mod media;
mod mirror;
mod names;
pub mod overload;
mod panic;
mod pins;
mod probe;
mod proxying;
mod random;
mod redirect;
mod registrar;
mod reject;
mod resume;
mod route;
mod session_timers;
mod shared;
mod sign_in;
mod slab;
mod strangers;
mod table;
mod target;
mod timers;
mod transactions;
pub mod types;
mod uac;
mod unrecorded;
mod wheel;

#[cfg(test)]
mod tests_addresses;
#[cfg(test)]
mod tests_agreed;
#[cfg(test)]
mod tests_challenge;
#[cfg(test)]
mod tests_confirm;
#[cfg(test)]
mod tests_credit;
#[cfg(test)]
mod tests_dropped;
#[cfg(test)]
mod tests_edge;
#[cfg(test)]
mod tests_emergency;
#[cfg(test)]
mod tests_forks;
#[cfg(test)]
mod tests_fuzz;
#[cfg(test)]
mod tests_headers;
#[cfg(test)]
mod tests_health;
#[cfg(test)]
mod tests_inbound;
#[cfg(test)]
mod tests_live;
#[cfg(test)]
mod tests_media;
#[cfg(test)]
mod tests_mirror;
#[cfg(test)]
mod tests_names;
#[cfg(test)]
mod tests_offers;
#[cfg(test)]
mod tests_overload;
#[cfg(test)]
mod tests_panic;
#[cfg(test)]
mod tests_paths;
#[cfg(test)]
mod tests_policy;
#[cfg(test)]
mod tests_questions;
#[cfg(test)]
mod tests_records;
#[cfg(test)]
mod tests_refer;
#[cfg(test)]
mod tests_registrar;
#[cfg(test)]
mod tests_reports;
#[cfg(test)]
mod tests_rules;
#[cfg(test)]
mod tests_session_timers;
#[cfg(test)]
mod tests_sloppy;
#[cfg(test)]
mod tests_static;
#[cfg(test)]
mod tests_users;
#[cfg(test)]
mod tests_walks;
#[cfg(test)]
mod tests_ways;
#[cfg(test)]
pub(crate) mod tests_world;

pub use cdr::is_emergency;
pub use health::TrunkState;
pub use panic::CallRef;
pub use resume::Resume;
pub use shared::Shared;
pub use types::*;

use calls::Calls;
use proxying::StaticProxy;
use registrar::Registrar;
use table::Owner;
use timers::Key;
use transactions::{Failed, Transactions};

/// The proxy core of one shard: transactions, and either calls (policy mode) or static proxying on top of them. It dispatches
/// between the three and does nothing else.
pub struct Core {
    tx: Transactions,
    calls: Calls,
    proxy: Option<StaticProxy>,
    registrar: Option<Registrar>,
    due: Vec<Key>,
    /// Share of new calls to be refused, of [`overload::FULL`] (F-LOAD-01).
    shed: u32,
    shard: u16,
    /// What the message at hand is.
    read: Option<MessageKind>,
}

impl Core {
    /// A core for one shard. `seed` is the process's (or the test's); shards differ by their number.
    /// `config.listeners` must not be empty.
    pub fn new(config: Arc<CoreConfig>, shard: u16, seed: [u8; 32], shared: Arc<Shared>) -> Core {
        Core {
            proxy: StaticProxy::of(&config.mode),
            registrar: Registrar::of(&config),
            tx: Transactions::new(config, shard, seed, shared),
            calls: Calls::new(),
            due: Vec::new(),
            shed: 0,
            shard,
            read: None,
        }
    }

    /// Makes room for so many transactions of each side beforehand, and touches that memory: the first calls of a process then
    /// pay for no page faults. More are stored all the same.
    pub fn make_room(&mut self, transactions: usize) {
        self.tx.table.servers.make_room(transactions);
        self.tx.table.clients.make_room(transactions);
    }

    /// One datagram, or one framed message of a stream.
    pub fn handle_message(&mut self, flow: Flow, bytes: &[u8], now: Now) {
        self.tx.now = now;
        self.guarded(|core| core.on_message(flow, bytes));
        self.go_on();
    }

    fn on_message(&mut self, flow: Flow, bytes: &[u8]) {
        let tx = &mut self.tx;
        let stranger = tx.is_stranger(flow.remote.ip());
        // Before anything is read of it (T-SIP-12). ACK is never answered and makes no state; responses must find a branch of ours.
        let signed_in =
            || tx.config.mode.is_registrar() && tx.shared.learnt.knows(flow.remote.ip(), tx.now.mono);
        let costs_a_token =
            stranger && !signed_in() && !bytes.starts_with(b"ACK ") && !bytes.starts_with(b"SIP/2.0 ");
        let source = flow.remote.ip();
        if costs_a_token && !tx.shared.strangers.admit(&tx.config.strangers, source, tx.now.mono) {
            tx.stats.stranger_dropped += 1;
            return;
        }
        match Message::parse(bytes) {
            Ok(msg) => {
                self.read = Some((msg.status(), msg.method()));
                match msg.kind() {
                    Kind::Request { .. } => {
                        self.tx.stats.requests_in += 1;
                        self.on_request(flow, &msg, bytes, stranger);
                    }
                    Kind::Response { .. } if msg.is_sloppy() && !self.reads_sloppy_responses() => {
                        self.tx.stats.malformed += 1;
                    }
                    Kind::Response { status, .. } => {
                        self.tx.stats.responses_in += 1;
                        self.on_response(flow, &msg, status);
                    }
                }
            }
            Err(error) => {
                self.tx.stats.malformed += 1;
                self.tx.on_malformed(flow, bytes, &error, stranger);
            }
        }
    }

    /// Requests that had to wait for an answer to a question of their call, in the order in which they came.
    fn go_on(&mut self) {
        while let Some((call, flow, bytes)) = self.calls.ready.pop_front() {
            if let Ok(msg) = Message::parse(&bytes) {
                self.guarded(|core| core.on_request(flow, &msg, &bytes, false));
            }
            self.tx.give_buf(bytes);
            // What waited behind it.
            self.calls.with_call(call, &mut self.tx, |_, _, _| ());
        }
    }

    /// A response of a branch goes to the one whom the branch works for.
    fn on_response(&mut self, flow: Flow, msg: &Message<'_>, status: u16) {
        let Some(heard) = self.tx.on_response(flow, msg, status) else {
            return;
        };
        if heard.passes() {
            self.guarded(|core| match (heard.owner, &core.proxy) {
                (Owner::Fork { fork, branch }, _) => core.fork_response(fork, branch, &heard, msg, status),
                (Owner::Server(server), Some(proxy)) => {
                    proxy.response(server, flow, msg, status, &mut core.tx);
                }
                _ => core.calls.response(&heard, flow, msg, status, &mut core.tx),
            });
        }
        self.tx.after_response(&heard);
    }

    fn fork_response(
        &mut self,
        fork: slab::Id,
        branch: u16,
        heard: &answer::Heard,
        msg: &Message<'_>,
        status: u16,
    ) {
        let Some(registrar) = &mut self.registrar else { return };
        if registrar.forks.response(fork, branch, heard, msg, status, &mut self.tx) {
            self.calls.ack_and_bye(heard.client, msg, &mut self.tx);
        }
    }

    /// So does its end without one.
    fn on_failed(&mut self, failed: Failed) {
        self.guarded(|core| match failed.owner {
            Owner::Server(server) => core.tx.fail_server(server, &failed),
            Owner::Fork { fork, branch } => {
                if let Some(registrar) = &mut core.registrar {
                    registrar.forks.failed(fork, branch, &failed, &mut core.tx);
                }
            }
            _ => core.calls.failed(&failed, &mut core.tx),
        });
        self.tx.after_client(failed.client, failed.actions);
    }

    /// The transport could not deliver to (or lost) this flow: connection refused or closed, ICMP unreachable.
    pub fn handle_flow_error(&mut self, flow: Flow, now: Now) {
        self.tx.now = now;
        for client in self.tx.branches_on(&flow) {
            self.guarded(|core| {
                if let Some(failed) = core.tx.transport_failed(client) {
                    core.on_failed(failed);
                }
            });
        }
        if flow.transport.is_reliable() {
            self.guarded(|core| core.calls.forget_stream(&flow, &mut core.tx));
            self.guarded(|core| core.tx.responses_lost(&flow));
        }
        self.go_on();
    }

    /// The answer to a question. Late answers, and answers to questions that nobody asked, are ignored.
    pub fn handle_answer(&mut self, ask: AskId, answer: AskReply, now: Now) {
        self.tx.now = now;
        self.guarded(|core| core.calls.on_answer(ask, answer, &mut core.tx));
        self.go_on();
    }

    /// What other nodes know of somebody, or that changes are written: the answer to [`Question::Look`] or [`Question::Write`].
    pub fn handle_state(&mut self, ask: AskId, answer: &warp_state::StateReply, now: Now) {
        self.tx.now = now;
        self.guarded(|core| {
            if let Some(registrar) = &mut core.registrar {
                registrar.looked(slab::Id::from_u64(ask.0), Some(answer), &mut core.tx);
            }
        });
    }

    /// An operator, or another part of the process, wants something.
    pub fn handle_command(&mut self, command: Command, now: Now) {
        self.tx.now = now;
        self.guarded(|core| core.on_command(command));
        self.go_on();
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Configure(config) => {
                self.tx.config = Arc::new((*config).clone().keeping_fixed_parts_of(&self.tx.config));
            }
            Command::Drain { end_calls } => {
                self.tx.shared.drain();
                if end_calls {
                    self.calls.end_all("drain", &mut self.tx);
                }
            }
            Command::EndCall { cdr_id, reason } => self.calls.end(cdr_id, reason, &mut self.tx),
            Command::MediaTimeout { media_id, due } => self.calls.media_timeout(&media_id, due, &mut self.tx),
            Command::EndRecovered(resume) => self.calls.end_recovered(*resume, &mut self.tx),
            Command::ListCalls { reply } => reply(self.calls.list(self.tx.now.mono)),
            Command::LookAtCalls { which, from, reply } => {
                reply(self.calls.look_at(&which, from, self.tx.now.mono));
            }
            Command::HangUp { cdr_id, customer, by, reply } => {
                reply(self.calls.hang_up(cdr_id, customer, by, &mut self.tx));
            }
        }
    }

    /// A new snapshot: for calls that begin from now on; those in the air keep theirs.
    pub fn handle_snapshot(&mut self, snapshot: Arc<Snapshot>, now: Now) {
        self.tx.now = now;
        self.calls.bind(&snapshot, &self.tx);
        // One shard asks for all.
        if self.shard == 0 {
            self.calls.ask_for_new_names(&snapshot.directory, &mut self.tx);
        }
        self.tx.snapshot = Some(snapshot);
    }

    /// The share of new calls to be refused from now on, of [`overload::FULL`] (F-LOAD-01).
    pub fn set_overload(&mut self, level: u32) {
        self.shed = level;
    }

    /// The configuration in force. Deadlines that were set by an earlier one stay: a transaction under way, a call's longest
    /// duration, a trunk out of rotation.
    pub fn config(&self) -> &Arc<CoreConfig> {
        &self.tx.config
    }

    /// Whether an address has no account here and has not signed in lately.
    pub fn is_stranger(&self, ip: std::net::IpAddr) -> bool {
        self.tx.is_stranger(ip)
    }

    /// Calls in the air.
    pub fn live_calls(&self) -> usize {
        self.calls.live
    }

    /// Time has passed. Calling it early or twice does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        self.tx.now = now;
        self.tx.wheel.advance(now.mono, &mut self.due);
        for i in 0..self.due.len() {
            let Some(key) = self.due.get(i).copied() else { break };
            self.guarded(|core| core.on_due(key));
            self.go_on();
        }
        self.due.clear();
    }

    fn on_due(&mut self, key: Key) {
        match key {
            Key::Server(id) => self.tx.server_due(id),
            Key::Client(id) => {
                if let Some(failed) = self.tx.client_due(id) {
                    self.on_failed(failed);
                }
            }
            Key::Call(id) => self.calls.call_due(id, &mut self.tx),
            Key::Probes => self.calls.probes_due(&mut self.tx),
            Key::Fork(id) => {
                if let Some(registrar) = &mut self.registrar {
                    registrar.forks.due(id, &mut self.tx);
                }
            }
            Key::Lookup(id) => {
                if let Some(registrar) = &mut self.registrar {
                    registrar.looked(id, None, &mut self.tx);
                }
            }
            Key::Locations => {
                if let Some(registrar) = &mut self.registrar {
                    registrar.sweep(&mut self.tx);
                }
            }
        }
    }

    /// What to do next; drain until `None` after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.tx.out.pop_front()
    }

    /// When to call [`Core::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.tx.wheel.next()
    }

    /// Gives a sent buffer back.
    pub fn recycle(&mut self, buf: TransmitBuf) {
        self.tx.give_buf(buf.bytes);
    }

    /// What the message of the last [`Core::handle_message`] was; once, and `None` when it was dropped unread or could not be read.
    pub fn take_read(&mut self) -> Option<MessageKind> {
        self.read.take()
    }

    /// The counters of this core, all monotonic.
    pub fn stats(&self) -> CoreStats {
        self.tx.stats
    }

    /// How long each probe of a vendor trunk took that was answered since the last call.
    pub fn take_probe_times(&mut self) -> impl Iterator<Item = (VendorTrunkId, std::time::Duration)> + '_ {
        self.calls.probe_times.drain(..)
    }

    /// Living server and client transactions of this shard.
    pub fn transactions(&self) -> (usize, usize) {
        (self.tx.table.servers.len(), self.tx.table.clients.len())
    }

    /// The same by kind: client INVITE, server INVITE, client other, server other.
    pub fn transaction_kinds(&self) -> [usize; 4] {
        self.tx.table.kinds()
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
    // The choice of a shard is no secret, and a flood at one shard is bounded by the buckets.
    (mix(fnv1a(id.iter().copied())) % u64::from(shards)) as u16
}
