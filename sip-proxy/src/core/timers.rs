//! Time: what the wheel hands out, transport failures, and looks ahead.

use warp_sip::flow::Flow;
use warp_sip::message::Method;
use warp_sip::proxy::TimerCFired;
use warp_sip::transaction::{Action, Actions, ClientInput, NEVER, ServerInput};

use super::slab::Id;
use super::table::ClientTxn;
use super::transactions::{Failed, Transactions};

/// What to look at when the wheel says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Server(Id),
    Client(Id),
    Call(Id),
    Probes,
    /// A fork that was answered.
    Fork(Id),
    /// Expired bindings.
    Locations,
    /// A request that waits for the shared registrations.
    Lookup(Id),
}

impl Transactions {
    pub(super) fn arm_server(&mut self, id: Id) {
        if let Some(txn) = self.table.servers.get_mut(id)
            && let Some(at) = txn.machine.next_timeout()
            && at < txn.armed
        {
            txn.armed = at;
            self.wheel.arm(at, Key::Server(id));
        }
    }

    pub(super) fn arm_client(&mut self, id: Id) {
        if let Some(txn) = self.table.clients.get_mut(id)
            && let Some(at) = txn.next_timeout()
            && at < txn.armed
        {
            txn.armed = at;
            self.wheel.arm(at, Key::Client(id));
        }
    }

    pub(super) fn server_due(&mut self, id: Id) {
        let Some(txn) = self.table.servers.get_mut(id) else {
            return;
        };
        if txn.armed > self.now.mono {
            return; // a later look is armed, or none
        }
        txn.armed = NEVER;
        let actions = txn.machine.on_timeout(&self.config.timers, self.now.mono);
        if actions.contains(Action::Resend) && !txn.response.is_empty() {
            let (flow, response) = (txn.flow, std::mem::take(&mut txn.response));
            let copy = self.copy_buf(&response);
            if let Some(txn) = self.table.servers.get_mut(id) {
                txn.response = response;
            }
            self.stats.repeated_responses_out += 1;
            self.transmit(flow, copy);
        }
        self.after_server(id, actions);
    }

    /// `Some` when the transaction ended without an answer: its owner must hear of it.
    pub(super) fn client_due(&mut self, id: Id) -> Option<Failed> {
        let txn = self.table.clients.get_mut(id)?;
        if txn.armed > self.now.mono {
            return None;
        }
        txn.armed = NEVER;
        let provisional = txn.cancel.provisional() && !txn.cancel.wanted();
        let fired = txn.timer_c.as_mut().and_then(|c| c.fire(provisional, self.now.mono));
        match fired {
            Some(TimerCFired::Cancel) => self.want_cancel(id),
            Some(TimerCFired::TimedOut) => return self.ended(id, true, Actions::one(Action::Terminated)),
            None => {}
        }
        let txn = self.table.clients.get_mut(id)?;
        let actions = txn.machine.on_timeout(&self.config.timers, self.now.mono);
        if actions.contains(Action::Resend) && !txn.request.is_empty() {
            let (flow, request) = (txn.flow, std::mem::take(&mut txn.request));
            let copy = self.copy_buf(&request);
            if let Some(txn) = self.table.clients.get_mut(id) {
                txn.request = request;
            }
            self.stats.repeated_requests_out += 1;
            self.transmit(flow, copy);
        }
        if actions.contains(Action::TimedOut) {
            return self.ended(id, true, actions);
        }
        self.after_client(id, actions);
        None
    }

    /// What the owner of a transaction must know when it ended without an answer.
    fn ended(&mut self, client: Id, timed_out: bool, actions: Actions) -> Option<Failed> {
        let txn = self.table.clients.get(client)?;
        self.stats.timeouts += 1;
        let (invite, cancelled) = (txn.method == Method::Invite, txn.cancel.wanted());
        Some(Failed { client, owner: txn.owner, invite, cancelled, timed_out, actions })
    }

    /// All branches to that remote address that nobody has answered yet.
    pub(super) fn branches_on(&mut self, flow: &Flow) -> Vec<Id> {
        // Strangers can have errors sent to us for addresses that we only answered: those cost nothing.
        let there = self.table.gone_to(flow.transport, flow.remote);
        if !flow.transport.is_reliable() && there.is_empty() {
            return Vec::new();
        }
        // One look for a burst of ICMP.
        if !flow.transport.is_reliable() {
            let now = self.now.mono;
            self.failed.retain(|(_, at)| now.since(*at) < ONE_LOOK);
            if self.failed.iter().any(|(r, _)| *r == flow.remote) || self.failed.len() >= 64 {
                return Vec::new();
            }
            self.failed.push_back((flow.remote, now));
        }
        let unanswered =
            |t: &ClientTxn| t.machine.is_open() && !(t.method == Method::Invite && t.cancel.provisional());
        self.table
            .gone_to(flow.transport, flow.remote)
            .iter()
            .copied()
            .filter(|id| self.table.clients.get(*id).is_some_and(unanswered))
            .collect()
    }

    /// The transport of a branch failed. `Some`: its owner must hear of it.
    pub(super) fn transport_failed(&mut self, id: Id) -> Option<Failed> {
        let txn = self.table.clients.get_mut(id)?;
        let actions = txn.machine.on_input(ClientInput::TransportError, &self.config.timers, self.now.mono);
        if actions.contains(Action::TransportFailed) {
            return self.ended(id, false, actions);
        }
        self.after_client(id, actions);
        None
    }

    /// Responses still owed on a stream that is gone.
    pub(super) fn responses_lost(&mut self, flow: &Flow) {
        let lost: Vec<Id> = self
            .table
            .answered_over(flow.link)
            .iter()
            .copied()
            .filter(|id| self.table.servers.get(*id).is_some_and(|t| !t.machine.is_open()))
            .collect();
        for id in lost {
            if let Some(txn) = self.table.servers.get_mut(id) {
                let input = ServerInput::TransportError;
                let actions = txn.machine.on_input(input, &self.config.timers, self.now.mono);
                self.after_server(id, actions);
            }
        }
    }
}

const ONE_LOOK: std::time::Duration = std::time::Duration::from_millis(20);
