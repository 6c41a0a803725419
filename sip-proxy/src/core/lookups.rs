//! Requests that wait for the registrations of other nodes (RFC 0036): a short while, then memory must do (F-REDIS-04).

use std::time::Duration;

use warp_sip::flow::Flow;
use warp_sip::message::Message;
use warp_sip::registrar::{Bindings, Changes};
use warp_state::{StateReply, Write};

use super::ingress::Arrived;
use super::mirror::{self, Reader, Writer};
use super::route::Plan;
use super::slab::{Id, Slab};
use super::timers::Key;
use super::transactions::Transactions;
use super::types::{AskId, Output, Question, SharedRegistrations};

/// How late the wheel may be.
const TICK: Duration = Duration::from_millis(9);

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) server: Id,
    pub(super) flow: Flow,
    pub(super) bytes: Vec<u8>,
    pub(super) key: u128,
    pub(super) stranger: bool,
    pub(super) aor: Vec<u8>,
    pub(super) step: Step,
}

/// What it waits for.
#[derive(Debug)]
pub(super) enum Step {
    /// A request for a user: his contacts.
    Deliver,
    /// A REGISTER: the contacts that are there.
    Register,
    /// A REGISTER: that it is written. The header lines of its 200.
    Written(Vec<(&'static str, Vec<u8>)>),
}

impl Waiting {
    /// The request, as it arrived, for who goes on with it.
    pub(super) fn with<R>(
        &self,
        tx: &mut Transactions,
        step: impl FnOnce(&Arrived<'_, '_>, &mut Transactions) -> R,
    ) -> Option<R> {
        let msg = Message::parse(&self.bytes).ok()?;
        let config = tx.config.clone();
        let plan = Plan::of(&config, &self.flow, &msg)?;
        let Waiting { flow, ref bytes, key, stranger, .. } = *self;
        Some(step(&Arrived { flow, msg: &msg, bytes, plan: &plan, key, stranger }, tx))
    }
}

/// The requests of one shard that wait.
#[derive(Debug)]
pub(super) struct Lookups {
    waiting: Slab<Waiting>,
}

impl Default for Lookups {
    fn default() -> Lookups {
        Lookups { waiting: Slab::new() }
    }
}

impl Lookups {
    /// A request waits for an answer, for no longer than the deadline since it came.
    pub(super) fn wait(
        &mut self,
        waiting: Waiting,
        question: Question,
        by: &SharedRegistrations,
        tx: &mut Transactions,
    ) {
        let id = self.waiting.insert(waiting);
        tx.out.push_back(Output::Ask { id: AskId(id.as_u64()), question });
        // The wheel is late by up to a tick, and the deadline is the last moment.
        tx.wheel.arm(tx.now.mono + by.deadline.saturating_sub(TICK), Key::Lookup(id));
    }

    /// It goes on waiting, for another answer, until the same deadline.
    pub(super) fn wait_again(&mut self, id: Id, waiting: Waiting, question: Question, tx: &mut Transactions) {
        tx.out.push_back(Output::Ask { id: AskId(id.as_u64()), question });
        self.waiting.give_back(id, waiting);
    }

    /// The request that waits for this; it is to be given back or removed.
    pub(super) fn lend(&mut self, id: Id) -> Option<Waiting> {
        self.waiting.lend(id)
    }

    pub(super) fn remove_lent(&mut self, id: Id) {
        self.waiting.remove_lent(id);
    }

    /// A caller takes his request back. True: it waited, and goes nowhere.
    pub(super) fn cancel(&mut self, server: Id) -> bool {
        let found = self.waiting.iter().find(|(_, w)| w.server == server && matches!(w.step, Step::Deliver));
        let id = found.map(|(id, _)| id);
        id.is_some_and(|id| self.waiting.remove(id).is_some())
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Transactions {
    /// Takes in what other nodes know of somebody.
    pub(super) fn take_in(&self, aor: &[u8], answer: Option<&StateReply>) {
        if let Some(StateReply::Found(looked)) = answer {
            let reader =
                Reader { ours: &self.ours, config: &self.config, keyed: &self.shared.keyed, now: self.now };
            self.shared.locations.with(aor, |bindings: &mut Bindings| reader.merge(bindings, looked));
        }
    }

    /// What a REGISTER changed, as rows.
    pub(super) fn rows_of(
        &self,
        aor: &[u8],
        domain: &str,
        changes: &Changes,
        by: &SharedRegistrations,
    ) -> Write {
        let writer =
            Writer { ours: &self.ours, keyed: &self.shared.keyed, server_id: by.server_id, now: self.now };
        let columns = mirror::columns_of(aor, domain);
        Write {
            puts: changes.put.iter().map(|b| writer.record(columns.clone(), b)).collect(),
            removed: changes.removed.iter().map(|b| mirror::removal_of(b, self.now.mono)).collect(),
        }
    }
}
