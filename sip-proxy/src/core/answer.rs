//! Responses of branches (RFC 3261 §16.7, §17.1): matched by our branch, given to their transaction, and passed on.

use warp_model::Now;
use warp_sip::edit::Edit;
use warp_sip::flow::Flow;
use warp_sip::message::{Message, Method};
use warp_sip::transaction::{Action, Actions, ClientInput};

use super::Core;
use super::forward::parse_branch;
use super::slab::Id;
use super::table::Owner;
use super::types::Mode;

impl Core {
    pub(super) fn on_response(&mut self, flow: Flow, msg: &Message<'_>, status: u16, now: Now) {
        let Some(id) = self.branch_owner(flow, msg) else {
            self.stats.stray += 1;
            return;
        };
        let timers = &self.config.timers;
        let Some(txn) = self.table.clients.get_mut(id) else {
            return;
        };
        let owner = txn.owner;
        self.stats.repeated_responses_in += u64::from(status >= 200 && !txn.machine.is_open());
        let actions = txn.machine.on_input(ClientInput::Response(status), timers, now.mono);
        let mut cancel = false;
        if txn.method == Method::Invite {
            if status < 200 {
                if !txn.cancel.wanted()
                    && let Some(c) = &mut txn.timer_c
                {
                    c.on_response(status, timers.c, now.mono);
                }
                cancel = txn.machine.is_open() && txn.cancel.on_provisional();
            } else {
                txn.cancel.on_final();
                txn.timer_c = None;
            }
        }
        if actions.contains(Action::Ack) {
            self.send_ack(id, msg);
        }
        if actions.contains(Action::PassUp) {
            match owner {
                // A 503 says that the proxy it comes from is out of service: ours to say only of the hop that takes everything
                // (RFC 3261 §16.7 step 6).
                Owner::Server(server) if status == 503 && !self.is_next(flow) => {
                    self.answer(server, 500, "", &[], now);
                }
                Owner::Server(server) => self.pass_back(server, msg, status, now),
                Owner::Leg { call, leg } => {
                    let told = self.with_call(call, now, |core, call| {
                        core.leg_response(call, leg, flow, msg, now);
                    });
                    // The call is forgotten, its vendor answers: nobody must be left talking to a wall.
                    if told.is_none() && (200..300).contains(&status) {
                        self.ack_and_bye(id, msg, now);
                    }
                }
                Owner::InDialog { call, server } => {
                    let offered = self.table.clients.get(id).is_some_and(|t| t.offered);
                    let told = self.with_call(call, now, |core, call| {
                        core.in_dialog_response(call, server, offered, flow, msg, now);
                    });
                    if told.is_none() {
                        self.pass_back(server, msg, status, now);
                    }
                }
                Owner::Probe(trunk) if status >= 200 => self.probe_answered(trunk, status, now),
                Owner::Probe(_) | Owner::Ours => {}
            }
        }
        if cancel {
            self.send_cancel(id, now);
        }
        self.after_client(id, actions);
    }

    /// The client transaction of a response: our branch with its nonce, the method of CSeq, and the address that we asked.
    fn branch_owner(&self, flow: Flow, msg: &Message<'_>) -> Option<Id> {
        let (mut id, nonce) = parse_branch(msg.top_via().branch?)?;
        let mut txn = self.table.clients.get(id)?;
        if msg.method_of_cseq() == Method::Cancel && txn.method == Method::Invite {
            id = txn.cancelled_by?;
            txn = self.table.clients.get(id)?;
        }
        let same = txn.nonce == nonce
            && txn.method == msg.method_of_cseq()
            && txn.flow.transport == flow.transport
            && self.may_answer(txn.flow, flow);
        same.then_some(id)
    }

    /// T-SIP-11: a response comes from where the request went, or from another known peer.
    fn may_answer(&self, asked: Flow, came: Flow) -> bool {
        asked.remote.ip() == came.remote.ip() || self.is_known(came.remote.ip())
    }

    /// Whether a response came from the one hop that takes what is addressed to us.
    fn is_next(&self, flow: Flow) -> bool {
        matches!(self.config.mode, Mode::Static { next, .. } if next == flow.remote)
    }

    /// Passes a response back by a server transaction, our Via taken off. 100 ends here (RFC 3261 §16.7 step 5).
    pub(super) fn pass_back(&mut self, server: Id, msg: &Message<'_>, status: u16, now: Now) {
        if status == 100 {
            return;
        }
        let mut buf = self.take_buf();
        let mut edit = Edit::new(msg);
        edit.pop_via();
        let reliable = self.table.servers.get(server).is_some_and(|t| t.flow.transport.is_reliable());
        if reliable {
            edit.ensure_content_length();
        }
        if edit.write_to(&mut buf).is_err() {
            self.give_buf(buf);
            return;
        }
        self.send_response(server, status, buf, now);
    }

    /// A branch ended without an answer: 408 or 503 as if received (RFC 3261 §16.7, §16.9). Nothing is sent for requests other
    /// than INVITE that timed out (RFC 4320 §4.2).
    pub(super) fn branch_failed(&mut self, id: Id, timed_out: bool, now: Now) {
        let Some(txn) = self.table.clients.get(id) else {
            return;
        };
        self.stats.timeouts += 1;
        let (invite, cancelled) = (txn.method == Method::Invite, txn.cancel.wanted());
        match txn.owner {
            Owner::Leg { call, leg } => {
                self.with_call(call, now, |core, call| core.leg_silent(call, leg, timed_out, now));
            }
            Owner::Server(server) | Owner::InDialog { server, .. } if invite && timed_out => {
                self.answer(server, if cancelled { 487 } else { 408 }, "", &[], now);
            }
            // The only next hop is gone, so a repetition would fail as well: 503 is ours to say (§16.7 step 6).
            Owner::Server(server) | Owner::InDialog { server, .. } if !timed_out => {
                self.answer(server, 503, "", &[], now);
            }
            Owner::Server(server) | Owner::InDialog { server, .. } => self.remove_server(server),
            Owner::Probe(_) | Owner::Ours => {}
        }
    }

    /// Carries out what is left of a client machine's actions, and sets its next look.
    pub(super) fn after_client(&mut self, id: Id, actions: Actions) {
        if actions.contains(Action::Terminated) {
            self.remove_client(id);
            return;
        }
        // After a final only an INVITE that failed needs its request, for the ACK; after a 2xx nobody does.
        let over = self.table.clients.get_mut(id).and_then(|txn| {
            let keep = txn.machine.is_open()
                || txn.machine.is_completed_invite()
                || matches!(txn.owner, Owner::Leg { .. });
            (!keep).then(|| std::mem::take(&mut txn.request))
        });
        if let Some(request) = over {
            self.give_buf(request);
        }
        self.arm_client(id);
    }

    /// The same for a server machine.
    pub(super) fn after_server(&mut self, id: Id, actions: Actions) {
        if actions.contains(Action::Terminated) {
            self.remove_server(id);
        } else {
            self.arm_server(id);
        }
    }
}
