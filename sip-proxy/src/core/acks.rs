//! ACKs of our calls: those that a party sends, with the answer to a late offer or without, and those that we owe in its place; and 2xx that
//! came too late, which are acknowledged and ended (PRODUCT §6).

use warp_sip::dialog::Side;
use warp_sip::flow::Flow;
use warp_sip::header::Header;
use warp_sip::message::{Message, Method};

use super::admission::cookie_of;
use super::call::{Call, Held, Phase};
use super::calls::Calls;
use super::cdr;
use super::confirm;
use super::dialogs::line_of;
use super::exchange::fitted;
use super::forward::Copy;
use super::media::Waiting;
use super::route::{self, Plan};
use super::slab::Id;
use super::table::Owner;
use super::transactions::Transactions;

/// Late callees of one INVITE that are answered (T-SIP-14).
const REAPED: usize = 64;

impl Calls {
    /// ACKs a 2xx to a re-INVITE in the asker's place.
    pub(super) fn ack_for(
        &mut self,
        call: &mut Call,
        answerer: Side,
        came: Flow,
        msg: &Message<'_>,
        tx: &mut Transactions,
    ) {
        let Some(flow) =
            self.way_to(call, answerer, came, tx).filter(|_| msg.method_of_cseq() == Method::Invite)
        else {
            return;
        };
        let via = tx.via_without_answer(&flow);
        let mut ack = tx.take_buf();
        let signature = match answerer {
            Side::Callee => call.branch().and_then(|b| b.uac.of_ack()),
            Side::Caller => None,
        };
        let extra = signature.map_or_else(Vec::new, |(name, value)| line_of(*name, value));
        call.dialog.write_ack(answerer, msg.cseq().0, &via, &extra, &mut ack);
        tx.transmit(flow, ack);
    }

    /// An ACK whose SDP (the answer to a late offer) cannot be anchored goes on without it. Media is as it was; a call that never had any ends.
    pub(super) fn ack_without_media(
        &mut self,
        call: &mut Call,
        flow: Flow,
        msg: &Message<'_>,
        tx: &mut Transactions,
    ) {
        self.forward_call_ack(call, flow, msg, Some(b""), tx);
        call.exchange.owed = None;
        if call.exchange.callee.is_empty() {
            self.end_answered(call, "media_unavailable", tx);
        } else {
            call.exchange.restore = true;
        }
    }

    /// ACK for a 2xx of one of our calls.
    pub(super) fn ack(&mut self, flow: Flow, msg: &Message<'_>, tx: &mut Transactions) {
        let Some((id, side)) = self.find_call(&flow, msg, tx) else {
            tx.stats.stray += 1;
            return;
        };
        self.with_call(id, tx, |calls, call, tx| {
            if !calls.may_speak(call, side, &flow) {
                tx.stats.spoofed += 1;
                return;
            }
            if call.is_asking() {
                let bytes = tx.copy_buf(msg.bytes());
                calls.hold(call, Held::Request { flow, bytes }, tx);
                return;
            }
            let callee = if side == Side::Caller { msg.to_tag() } else { msg.from_tag() };
            if !callee.is_some_and(|tag| call.turn_to(tag)) {
                tx.stats.stray += 1;
                return;
            }
            call.follow(side, &flow, msg);
            let sdp = if call.phase == Phase::Answered { tx.session(msg) } else { Ok(None) };
            let Ok(None) = sdp else {
                calls.ack_with_sdp(call, side, flow, msg, sdp.ok().flatten(), tx);
                return;
            };
            calls.forward_call_ack(call, flow, msg, None, tx);
            call.exchange.unanswered(side, msg.cseq().0);
        });
    }

    /// The SDP of an ACK is the answer to a late offer, when one is owed. Else it changes nothing and goes no further (pjsip#339): media
    /// would pass the relay by.
    fn ack_with_sdp(
        &mut self,
        call: &mut Call,
        side: Side,
        flow: Flow,
        msg: &Message<'_>,
        sdp: Option<&[u8]>,
        tx: &mut Transactions,
    ) {
        let cseq = msg.cseq().0;
        let Some(owed) = call.exchange.owed_by_ack(side, cseq) else {
            // A repetition of the one that carried the answer carries it again.
            let again = call.exchange.acked.take_if(|(n, _)| *n == cseq);
            let sdp = again.as_ref().map_or(&b""[..], |(_, sdp)| sdp);
            self.forward_call_ack(call, flow, msg, Some(sdp), tx);
            call.exchange.acked = again.or(call.exchange.acked.take());
            return;
        };
        let Some(sdp) = sdp else {
            tx.stats.media_failures += 1;
            self.ack_without_media(call, flow, msg, tx);
            return;
        };
        // The callee asked, the sender of the ACK answers.
        let (from, to) = (msg.from_tag().unwrap_or(b""), msg.to_tag().unwrap_or(b""));
        let whole = fitted(&owed.offer, sdp);
        let sdp = whole.as_deref().unwrap_or(sdp);
        let c = self.sdp_command(call, None, to, Some(from), sdp, side, flow.remote.ip());
        let bytes = tx.copy_buf(msg.bytes());
        let what = Waiting::Ack { flow, bytes, offer: owed.offer };
        self.ask_media(call, warp_ng::Command::Answer(c), what, tx);
    }

    /// Sends an ACK on, without a transaction.
    pub(super) fn forward_call_ack(
        &mut self,
        call: &mut Call,
        came: Flow,
        msg: &Message<'_>,
        sdp: Option<&[u8]>,
        tx: &mut Transactions,
    ) {
        let from_caller = msg.from_tag().is_some_and(|t| t == call.dialog.caller.tag);
        let to = if from_caller { Side::Callee } else { Side::Caller };
        let (Some(plan), Some(flow)) = (Plan::of(&tx.config, &came, msg), self.way_to(call, to, came, tx))
        else {
            return;
        };
        if from_caller {
            confirm::acknowledged(call);
        }
        let target = confirm::instead_of_us(call, to, &plan);
        let (mut lines, signature) = self.translated(call, from_caller, msg, &flow, b"", tx);
        call.told(msg, to, &mut lines);
        let copy = Copy {
            rules: call.terms(to).map_or(&[], |t| &t.rules),
            lines: &lines,
            uri: target.as_deref(),
            extra: signature.as_ref().map(|(name, value)| (name.name(), value.as_slice())),
            incoming: route::listener_of(&tx.ours, &came),
            out_by: route::listener_of(&tx.ours, &flow),
            untrusted: true,
            strip_credentials: true,
            sdp,
            ..Copy::new(&plan, came)
        };
        tx.send_ack_copy(msg, &copy, flow);
    }

    /// The ACK that the callee's 2xx is still owed: a BYE must not come before it (RFC 3261 §13.2.2.4, §15).
    pub(super) fn ack_callee(&mut self, call: &mut Call, tx: &mut Transactions) {
        if call.acked {
            return;
        }
        let Some(flow) = self.way_to(call, Side::Callee, call.flow, tx) else {
            return;
        };
        let Some(uac) = call.branch().map(|b| &b.uac) else {
            return;
        };
        let extra = uac.of_ack().map_or_else(Vec::new, |(name, value)| line_of(*name, value));
        let cseq = uac.of(call.invite_cseq);
        let via = tx.via_without_answer(&flow);
        let mut ack = tx.take_buf();
        call.dialog.write_ack(Side::Callee, cseq, &via, &extra, &mut ack);
        tx.transmit(flow, ack);
        // Not before: a panic on the way leaves it to whoever breaks the call off.
        call.acked = true;
    }

    /// A 2xx that came too late or twice: ACK it and end that dialog (PRODUCT §6). The ACK is kept, for repetitions of the 2xx.
    pub(super) fn ack_and_bye(&mut self, client: Id, msg: &Message<'_>, tx: &mut Transactions) {
        let Some(txn) = tx.table.clients.get_mut(client) else {
            return;
        };
        let (flow, vendor) = (txn.flow, txn.vendor.map(|trunk| (trunk, txn.realm.clone())));
        let tag = msg.to_tag().unwrap_or(b"");
        if let Some((_, ack)) = txn.reaped.iter().find(|(held, _)| held == tag) {
            let again = ack.clone();
            tx.transmit(flow, again);
            return;
        }
        if txn.reaped.len() >= REAPED {
            return;
        }
        let request = std::mem::take(&mut txn.request);
        let Ok(invite) = Message::parse(&request) else {
            return;
        };
        let mut dialog = cdr::dialog_of(&invite, msg);
        let routes: Vec<&[u8]> = msg.record_routes().map(|r| r.raw).collect();
        // Ours is the entry that we put on top of the INVITE.
        let ours = invite.record_routes().next().and_then(|r| cookie_of(r.raw));
        dialog.set_routes(routes.into_iter(), |raw| ours.is_some() && cookie_of(raw) == ours);
        let cseq = invite.cseq().0;
        // With what the INVITE was signed with (RFC 3261 §22.1).
        let signed = [Header::Authorization, Header::ProxyAuthorization]
            .iter()
            .flat_map(|h| invite.lines_of(*h).flat_map(|value| line_of(*h, value)))
            .collect::<Vec<u8>>();
        // Kept until both are out: a panic on the way leaves them to the next repetition of the 2xx.
        if let Some(txn) = tx.table.clients.get_mut(client) {
            txn.request = request;
        }
        let via = tx.via_without_answer(&flow);
        let mut ack = tx.take_buf();
        dialog.write_ack(Side::Callee, cseq, &via, &signed, &mut ack);
        let kept = ack.clone();
        tx.transmit(flow, ack);
        tx.originate(flow, Method::Bye, Owner::Ours, vendor, |via, out| {
            dialog.write_request("BYE", Side::Callee, via, b"", out);
        });
        if let Some(txn) = tx.table.clients.get_mut(client) {
            // The INVITE stays: a further callee of a fork behind the vendor may answer as late.
            txn.reaped.push((tag.to_vec(), kept));
        }
    }
}
