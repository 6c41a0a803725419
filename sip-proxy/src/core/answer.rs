//! Responses of branches (RFC 3261 §16.7, §17.1): matched by our branch, given to their transaction, and passed on.

use warp_sip::edit::Edit;
use warp_sip::flow::Flow;
use warp_sip::header::Header;
use warp_sip::message::{Message, Method};
use warp_sip::transaction::{Action, Actions, ClientInput};

use super::forward::parse_branch;
use super::slab::Id;
use super::table::Owner;
use super::transactions::{Failed, Transactions};

/// A response that a transaction has accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) client: Id,
    pub(super) owner: Owner,
    /// The request carried an SDP offer that the relay rewrote.
    pub(super) offered: bool,
    /// A CANCEL waited for a first 1xx.
    cancel: bool,
    actions: Actions,
}

impl Heard {
    /// Whether the owner hears of it.
    pub(super) fn passes(&self) -> bool {
        self.actions.contains(Action::PassUp)
    }
}

impl Transactions {
    pub(super) fn on_response(&mut self, flow: Flow, msg: &Message<'_>, status: u16) -> Option<Heard> {
        let Some(client) = self.branch_owner(flow, msg) else {
            self.stats.stray += 1;
            return None;
        };
        let timers = &self.config.timers;
        let txn = self.table.clients.get_mut(client)?;
        let (owner, offered) = (txn.owner, txn.offered);
        self.stats.repeated_responses_in += u64::from(status >= 200 && !txn.machine.is_open());
        let actions = txn.machine.on_input(ClientInput::Response(status), timers, self.now.mono);
        let mut cancel = false;
        if txn.method == Method::Invite {
            if status < 200 {
                if !txn.cancel.wanted()
                    && let Some(c) = &mut txn.timer_c
                {
                    c.on_response(status, timers.c, self.now.mono);
                }
                cancel = txn.machine.is_open() && txn.cancel.on_provisional();
            } else {
                txn.cancel.on_final();
                txn.timer_c = None;
            }
        }
        // Whoever waits for it hears of it below, or of a panic on the way.
        if let (Owner::Server(server) | Owner::InDialog { server, .. }, 200..) = (owner, status) {
            self.begun = Some(server);
        }
        if actions.contains(Action::Ack) {
            self.send_ack(client, msg);
        }
        Some(Heard { client, owner, offered, cancel, actions })
    }

    /// What is left to do for a response when its owner has heard of it.
    pub(super) fn after_response(&mut self, heard: &Heard) {
        if heard.cancel {
            self.send_cancel(heard.client);
        }
        self.after_client(heard.client, heard.actions);
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

    /// Passes a response back by a server transaction, our Via taken off. 100 ends here (RFC 3261 §16.7 step 5).
    pub(super) fn pass_back(&mut self, server: Id, msg: &Message<'_>, status: u16) {
        if status == 100 {
            return;
        }
        self.begun = Some(server);
        if let Some(buf) = self.copy_back(server, msg) {
            self.send_response(server, status, buf);
        }
    }

    /// A response as it goes back by a server transaction: our Via taken off, its CSeq as the asker counts.
    pub(super) fn copy_back(&mut self, server: Id, msg: &Message<'_>) -> Option<Vec<u8>> {
        let mut buf = self.take_buf();
        let cseq = self.asked_as(server, msg);
        let mut edit = Edit::new(msg);
        edit.pop_via();
        if let Some(cseq) = &cseq {
            edit.replace_header(Header::CSeq, cseq);
        }
        let reliable = self.table.servers.get(server).is_some_and(|t| t.flow.transport.is_reliable());
        if reliable {
            edit.ensure_content_length();
        }
        if edit.write_to(&mut buf).is_err() {
            self.give_buf(buf);
            return None;
        }
        Some(buf)
    }

    /// The CSeq of a response as its asker counts, when the vendor was sent another number.
    pub(super) fn asked_as(&self, server: Id, msg: &Message<'_>) -> Option<Vec<u8>> {
        let (number, method) = msg.cseq();
        let asked = self.table.servers.get(server)?.cseq;
        (asked != number).then(|| format!("{asked} {}", method.token()).into_bytes())
    }

    /// A branch of a server transaction ended without an answer: 408 or 503 as if received (RFC 3261 §16.7, §16.9). Nothing is sent for
    /// requests other than INVITE that timed out (RFC 4320 §4.2).
    pub(super) fn fail_server(&mut self, server: Id, failed: &Failed) {
        if !failed.timed_out {
            // The only next hop is gone, so a repetition would fail as well: 503 is ours to say (§16.7 step 6).
            self.answer(server, 503, "", &[]);
        } else if failed.invite {
            self.answer(server, if failed.cancelled { 487 } else { 408 }, "", &[]);
        } else {
            self.remove_server(server);
        }
    }

    /// Sends the kept 2xx of a server transaction again.
    pub(super) fn resend_ok(&mut self, server: Id) {
        let Some(txn) = self.table.servers.get_mut(server) else {
            return;
        };
        if txn.response.is_empty() || txn.machine.is_open() {
            return;
        }
        let (flow, response) = (txn.flow, std::mem::take(&mut txn.response));
        let copy = self.copy_buf(&response);
        if let Some(txn) = self.table.servers.get_mut(server) {
            txn.response = response;
        }
        self.stats.repeated_responses_out += 1;
        self.transmit(flow, copy);
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
                || matches!(txn.owner, Owner::Branch { .. } | Owner::Fork { .. });
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
