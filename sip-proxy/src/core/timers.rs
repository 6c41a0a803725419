//! Time: what the wheel hands out, transport failures, and looks ahead.

use warp_model::Now;
use warp_sip::flow::Flow;
use warp_sip::message::Method;
use warp_sip::proxy::TimerCFired;
use warp_sip::transaction::{Action, ClientInput, NEVER, ServerInput};

use super::Core;
use super::call::Phase;
use super::slab::Id;

/// What to look at when the wheel says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Server(Id),
    Client(Id),
    Call(Id),
    Probes,
}

impl Core {
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

    pub(super) fn on_due(&mut self, key: Key, now: Now) {
        match key {
            Key::Server(id) => self.server_due(id, now),
            Key::Client(id) => self.client_due(id, now),
            Key::Call(id) => self.call_due(id, now),
            Key::Probes => self.probes_due(now),
        }
    }

    fn call_due(&mut self, id: Id, now: Now) {
        let end = self.with_call(id, now, |core, call| {
            if call.armed > now.mono {
                return None;
            }
            call.armed = NEVER;
            core.ask_overdue(call, now);
            let late = |t: &super::call::Leg| t.first_1xx_at.min(t.progress_by) <= now.mono;
            if call.phase == Phase::Setup && call.leg().is_some_and(|l| l.open && late(l)) {
                core.no_progress(call, now);
            }
            if call.ends_at > now.mono {
                return None;
            }
            match call.phase {
                Phase::Over => {
                    // A record still waiting for figures that never came goes out now.
                    core.write_ended(call, now);
                    call.gone = true;
                    None
                }
                Phase::Answered => Some("max_duration"),
                Phase::Setup | Phase::Ringing => Some("setup_timeout"),
            }
        });
        if let Some(Some(reason)) = end {
            self.end_call(id, reason, now);
        }
    }

    fn server_due(&mut self, id: Id, now: Now) {
        let Some(txn) = self.table.servers.get_mut(id) else {
            return;
        };
        if txn.armed > now.mono {
            return; // a later look is armed, or none
        }
        txn.armed = NEVER;
        let actions = txn.machine.on_timeout(&self.config.timers, now.mono);
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

    fn client_due(&mut self, id: Id, now: Now) {
        let Some(txn) = self.table.clients.get_mut(id) else {
            return;
        };
        if txn.armed > now.mono {
            return;
        }
        txn.armed = NEVER;
        let provisional = txn.cancel.provisional() && !txn.cancel.wanted();
        let fired = txn.timer_c.as_mut().and_then(|c| c.fire(provisional, now.mono));
        if let Some(fired) = fired {
            match fired {
                TimerCFired::Cancel => self.want_cancel(id, now),
                TimerCFired::TimedOut => {
                    self.branch_failed(id, true, now);
                    self.remove_client(id);
                    return;
                }
            }
        }
        let Some(txn) = self.table.clients.get_mut(id) else {
            return;
        };
        let actions = txn.machine.on_timeout(&self.config.timers, now.mono);
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
            self.branch_failed(id, true, now);
        }
        self.after_client(id, actions);
    }

    /// All branches to that remote address that nobody has answered yet failed; so did responses still owed on that stream.
    pub(super) fn on_flow_error(&mut self, flow: Flow, now: Now) {
        // Strangers can have errors sent to us for addresses that we only answered: those cost nothing.
        if !flow.transport.is_reliable() && !self.table.is_target(flow.remote) {
            return;
        }
        // One look for a burst of ICMP.
        if !flow.transport.is_reliable() {
            self.failed.retain(|(_, at)| now.mono.since(*at) < ONE_LOOK);
            if self.failed.iter().any(|(r, _)| *r == flow.remote) || self.failed.len() >= 64 {
                return;
            }
            self.failed.push_back((flow.remote, now.mono));
        }
        let hit: Vec<Id> = self
            .table
            .clients
            .iter()
            .filter(|(_, t)| {
                t.flow.transport == flow.transport
                    && t.flow.remote == flow.remote
                    && t.machine.is_open()
                    && !(t.method == Method::Invite && t.cancel.provisional())
            })
            .map(|(id, _)| id)
            .collect();
        for id in hit {
            let Some(txn) = self.table.clients.get_mut(id) else {
                continue;
            };
            let actions = txn.machine.on_input(ClientInput::TransportError, &self.config.timers, now.mono);
            if actions.contains(Action::TransportFailed) {
                self.branch_failed(id, false, now);
            }
            self.after_client(id, actions);
        }
        if flow.transport.is_reliable() {
            self.forget_stream(&flow);
            let lost: Vec<Id> = self
                .table
                .servers
                .iter()
                .filter(|(_, t)| t.flow == flow && !t.machine.is_open())
                .map(|(id, _)| id)
                .collect();
            for id in lost {
                if let Some(txn) = self.table.servers.get_mut(id) {
                    let input = ServerInput::TransportError;
                    let actions = txn.machine.on_input(input, &self.config.timers, now.mono);
                    self.after_server(id, actions);
                }
            }
        }
    }
}

const ONE_LOOK: std::time::Duration = std::time::Duration::from_millis(20);
