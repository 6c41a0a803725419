//! CANCEL of a re-INVITE that has not been passed on yet (RFC 3261 §9.2): its SDP is at the relay, or it waits behind another question.

use warp_sip::flow::Flow;
use warp_sip::message::{Message, Method};

use super::call::Held;
use super::calls::Calls;
use super::media::Waiting;
use super::slab::Id;
use super::transactions::Transactions;

impl Calls {
    /// CANCEL of a re-INVITE whose SDP is at the relay: it goes no further (RFC 3261 §9.2).
    pub(super) fn reinvite_cancelled(
        &mut self,
        flow: &Flow,
        msg: &Message<'_>,
        invite: Id,
        tx: &mut Transactions,
    ) {
        let Some((id, _)) = self.find_call(flow, msg, tx) else {
            return;
        };
        self.with_call(id, tx, |calls, call, tx| {
            let waits = |what: &Waiting| matches!(what, Waiting::Request { server, .. } if *server == invite);
            if call.ask.as_ref().is_some_and(|ask| waits(&ask.what)) {
                calls.drop_asks(call, 487, tx);
                // What the relay was told is taken back.
                call.exchange.dirty = true;
                call.exchange.restore |= call.exchange.open == 0;
            }
        });
    }

    /// Puts a CANCEL behind its re-INVITE, when that waits for a question and is nobody's transaction yet. False: there is none.
    pub(super) fn hold_cancel(&mut self, flow: &Flow, msg: &Message<'_>, tx: &mut Transactions) -> bool {
        let Some((id, side)) = self.find_call(flow, msg, tx) else {
            return false;
        };
        let branch = msg.top_via().branch;
        let held = self.with_call(id, tx, |calls, call, tx| {
            let waits = call.is_asking()
                && calls.may_speak(call, side, flow)
                && call.held.iter().any(|held| is_invite_of(held, branch));
            if waits {
                let bytes = tx.copy_buf(msg.bytes());
                calls.hold(call, Held::Request { flow: *flow, bytes }, tx);
            }
            waits
        });
        held == Some(true)
    }
}

/// Whether a message that waits is the INVITE with this branch.
fn is_invite_of(held: &Held, branch: Option<&[u8]>) -> bool {
    let Held::Request { bytes, .. } = held else {
        return false;
    };
    Message::parse(bytes).is_ok_and(|m| m.method() == Method::Invite && m.top_via().branch == branch)
}
