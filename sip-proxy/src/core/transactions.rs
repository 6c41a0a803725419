//! The transactions of one shard: the only way in and out for messages, and the time of the input at hand.
//!
//! Verbs: begin a server transaction and answer it, forward or originate a request, take a response, look at a timer. Whom a client
//! transaction works for is written in it ([`Owner`]); what was heard of it goes to that owner through [`super::Core`], which
//! dispatches. Nothing here knows what a call is.

use std::collections::VecDeque;
use std::sync::Arc;

use warp_model::{Mono, Now};
use warp_policy::Snapshot;
use warp_sip::flow::Flow;
use warp_sip::message::Method;

use super::Shared;
use super::buffers::Buffers;
use super::random::{Keyed, Rng};
use super::route::{self, Ours};
use super::slab::Id;
use super::table::{Owner, Table};
use super::timers::Key;
use super::types::{CoreConfig, CoreStats, Output, TransmitBuf};
use super::wheel::Wheel;

/// Transactions with what they need: configuration, timers, buffers, outputs.
pub(crate) struct Transactions {
    /// Of the input at hand.
    pub(super) now: Now,
    pub(super) config: Arc<CoreConfig>,
    pub(super) shared: Arc<Shared>,
    pub(super) ours: Vec<Ours>,
    pub(super) rng: Rng,
    pub(super) keyed: Keyed,
    pub(super) table: Table,
    pub(super) wheel: Wheel<Key>,
    pub(super) out: VecDeque<Output>,
    buffers: Buffers,
    pub(super) stats: CoreStats,
    /// Who our peers are (policy mode).
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// Remote addresses whose transport failed lately (bounded), so that a flood of ICMP costs one look each.
    pub(super) failed: VecDeque<(std::net::SocketAddr, Mono)>,
    /// The server transaction that the input at hand began, or whose final it is: nobody has it when a panic cuts the input off.
    pub(super) begun: Option<Id>,
    /// In tests, the steps at which to panic ([`Transactions::trip`]), each counted from the one before.
    #[cfg(any(test, feature = "faults"))]
    pub(super) panic_in: VecDeque<u32>,
}

/// A client transaction that ended without a final response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    pub(super) client: Id,
    pub(super) owner: Owner,
    pub(super) invite: bool,
    /// Somebody wanted it gone.
    pub(super) cancelled: bool,
    /// A time-out, else the transport.
    pub(super) timed_out: bool,
    pub(super) actions: warp_sip::transaction::Actions,
}

impl Transactions {
    pub(super) fn new(config: Arc<CoreConfig>, shard: u16, seed: [u8; 32], shared: Arc<Shared>) -> Self {
        let mut rng = Rng::new(seed, shard);
        let keyed = Keyed::new(&mut rng);
        Transactions {
            now: Now::default(),
            ours: config.listeners.iter().copied().map(Ours::new).collect(),
            config,
            shared,
            rng,
            keyed,
            table: Table::new(),
            wheel: Wheel::new(),
            out: VecDeque::new(),
            buffers: Buffers::default(),
            stats: CoreStats::default(),
            snapshot: None,
            failed: VecDeque::new(),
            begun: None,
            #[cfg(any(test, feature = "faults"))]
            panic_in: VecDeque::new(),
        }
    }

    /// A place where tests make the core panic: whatever goes out, and whatever a call begins to do. Nothing in a product.
    pub(super) fn trip(&mut self) {
        #[cfg(any(test, feature = "faults"))]
        #[allow(clippy::panic)]
        {
            if let Some(left) = self.panic_in.front_mut() {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.panic_in.pop_front();
                    panic!("meant by a test");
                }
            }
        }
    }

    /// A buffer to write a message into.
    pub(super) fn take_buf(&mut self) -> Vec<u8> {
        self.buffers.take()
    }

    pub(super) fn give_buf(&mut self, buf: Vec<u8>) {
        self.buffers.give(buf);
    }

    /// A pooled copy, in no more memory than its size wants.
    pub(super) fn copy_buf(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.buffers.copy(bytes)
    }

    pub(super) fn transmit(&mut self, flow: Flow, bytes: Vec<u8>) {
        self.send(flow, TransmitBuf { bytes, answers: None });
    }

    /// The same for a response, which the server then need not read to count it.
    pub(super) fn transmit_response(&mut self, flow: Flow, bytes: Vec<u8>, status: u16, method: Method) {
        self.send(flow, TransmitBuf { bytes, answers: Some((status, method)) });
    }

    fn send(&mut self, flow: Flow, buf: TransmitBuf) {
        self.trip();
        if route::is_refused(&self.config, &flow) {
            self.stats.refused_destination += 1;
            self.give_buf(buf.bytes);
            return;
        }
        self.out.push_back(Output::Transmit { flow, bytes: buf });
    }

    pub(super) fn remove_server(&mut self, id: Id) {
        if let Some(txn) = self.table.remove(id) {
            self.give_buf(txn.request);
            self.give_buf(txn.response);
        }
    }

    pub(super) fn remove_client(&mut self, id: Id) {
        if let Some(txn) = self.table.remove_client(id) {
            self.give_buf(txn.request);
        }
    }
}
