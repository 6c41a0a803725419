//! Requests within the dialogs of our calls: matched by Call-ID and tags, checked for their source (T-SIP-11), sent to where the dialog
//! says (never to where a request would like to be sent: T-SIP-05), and the BYEs that we originate. ACKs are in `acks`.

use std::net::SocketAddr;

use warp_model::cdr::ReleaseSide;
use warp_sip::dialog::Side;
use warp_sip::edit::Edit;
use warp_sip::flow::Flow;
use warp_sip::header::Header;
use warp_sip::message::{Message, Method};
use warp_sip::proxy::cause_of_reason;

use super::believe;
use super::call::{Call, Held, NO_ANSWER, Origin, Phase, Target};
use super::calls::Calls;
use super::cdr;
use super::confirm;
use super::exchange::{Owed, fitted, set};
use super::forward::Copy;
use super::headers;
use super::ingress::Arrived;
use super::media::{self, Waiting};
use super::route::{self, Plan};
use super::session_timers;
use super::slab::Id;
use super::table::Owner;
use super::transactions::Transactions;

impl Calls {
    /// The call of a message with a To tag, and who sent it. Of several with the same Call-ID and From tag it is the one whose dialog has the
    /// other tag, and where this source may speak: a spiral's calls differ in nothing else. One that is just being made comes next.
    pub(super) fn find_call(&self, flow: &Flow, msg: &Message<'_>, tx: &Transactions) -> Option<(Id, Side)> {
        let (from, to) = (msg.from_tag()?, msg.to_tag()?);
        let mut best = None;
        for (caller, callee, side) in [(from, to, Side::Caller), (to, from, Side::Callee)] {
            for (id, call) in self.kin(tx.call_key(msg.call_id(), caller)) {
                let (here, knows) = (self.may_speak(call, side, flow), call.knows(callee));
                let rank = (knows && here, here && call.is_asking(), knows, here);
                if best.is_none_or(|(held, _, _)| rank > held) {
                    best = Some((rank, id, side));
                }
            }
        }
        best.map(|(_, id, side)| (id, side))
    }

    /// Further calls of the same dialog: it spirals through us (RFC 5393), and what is between the two may not have asked to stay on its way.
    fn spirals(&self, id: Id, callee: &[u8]) -> Vec<Id> {
        let Some(call) = self.all.get(id) else {
            return Vec::new();
        };
        let same = |(other, c): &(Id, &Call)| {
            *other != id && c.phase == Phase::Answered && c.dialog.callee.tag == callee
        };
        self.kin(call.key).filter(same).map(|(other, _)| other).collect()
    }

    /// T-SIP-11: the learnt peer, or an address of the trunk that it belongs to.
    pub(super) fn may_speak(&self, call: &Call, side: Side, flow: &Flow) -> bool {
        let ip = flow.remote.ip();
        let directory = &call.snapshot.directory;
        match side {
            Side::Caller => {
                let of_trunk = || match call.origin {
                    Origin::Trunk(ix) => directory.trunk_by_ip(ip) == Some(ix),
                    Origin::Vendor(ix) => {
                        directory.inbound_trunk(ip) == Some(ix)
                            || directory.vendor_trunks_by_ip(ip).contains(&ix)
                    }
                };
                call.flow.remote.ip() == ip || of_trunk()
            }
            Side::Callee => {
                let of_trunk = || {
                    let target = call.branch().map(|b| b.target);
                    let (carried, taken) = (target.and_then(Target::vendor), target.and_then(Target::trunk));
                    directory.vendor_trunks_by_ip(ip).iter().any(|ix| Some(*ix) == carried)
                        || taken.is_some_and(|ix| directory.trunk_by_ip(ip) == Some(ix))
                };
                call.callee_flow.is_some_and(|f| f.remote.ip() == ip)
                    || call.branch().is_some_and(|b| b.flow.remote.ip() == ip || call.is_found(b.target, ip))
                    || of_trunk()
            }
        }
    }

    /// A request with a To tag (not ACK, not CANCEL).
    pub(super) fn in_dialog(&mut self, arrived: &Arrived<'_, '_>, tx: &mut Transactions) {
        let Arrived { flow, msg, bytes, plan, key, stranger } = *arrived;
        let Some((id, side)) = self.find_call(&flow, msg, tx) else {
            tx.refuse(&flow, msg, 481, "", &[], stranger);
            return;
        };
        let cause = msg.lines_of(Header::Reason).find_map(cause_of_reason).unwrap_or(16);
        let release = match side {
            Side::Caller => ReleaseSide::Caller,
            Side::Callee => ReleaseSide::Callee,
        };
        let mut ended = false;
        self.with_call(id, tx, |calls, call, tx| {
            if !calls.may_speak(call, side, &flow) {
                tx.stats.spoofed += 1;
                tx.refuse(&flow, msg, 481, "", &[], stranger);
                return;
            }
            // What it belongs to may be just being made: a BYE directly behind a 200, a re-INVITE before the ACK.
            if call.is_asking() {
                let bytes = tx.copy_buf(bytes);
                calls.hold(call, Held::Request { flow, bytes }, tx);
                return;
            }
            let other = match side {
                Side::Caller => msg.to_tag(),
                Side::Callee => msg.from_tag(),
            };
            if !other.is_some_and(|tag| call.turn_to(tag)) {
                tx.stats.spoofed += 1;
                tx.refuse(&flow, msg, 481, "", &[], stranger);
                return;
            }
            let Some(server) = tx.begin_server(flow, msg, bytes, key, false) else {
                tx.on_table_full(&flow, msg, stranger);
                return;
            };
            // RFC 4028 §8.1. Nothing of the call is other than before it asked.
            if let Some(seconds) = session_timers::too_small(msg, call.least_interval(side))
                && call.emergency().is_none()
            {
                tx.answer(server, 422, "", &[("Min-SE", seconds.to_string().as_bytes())]);
                return;
            }
            call.follow(side, &flow, msg);
            let target = matches!(msg.method(), Method::Invite | Method::Update)
                .then(|| msg.contacts().next().map(|c| c.uri))
                .flatten();
            call.dialog.on_request(side, msg.cseq().0, target);
            // What it asks for, the vendor would do at a price that nobody here knows (PRODUCT §6).
            if msg.method() == Method::Refer && !call.may_refer(side) {
                tx.answer(server, 403, "", &[]);
                return;
            }
            // The callee hangs up, and its 2xx was lost on the way (RFC 3261 §15 has it wait for the ACK; some do not): the caller hears that
            // nobody answers, and the 2xx, when it is repeated, is ACKed and ended.
            let ringing = matches!(call.phase, Phase::Setup | Phase::Ringing);
            if msg.method() == Method::Bye && side == Side::Callee && ringing {
                tx.answer(server, 200, "", &[]);
                if let Some(client) = call.branch().filter(|b| b.open).and_then(|b| b.client) {
                    tx.abandon(client);
                }
                calls.branch_over(call, 480, None, "callee_bye", tx);
                calls.refuse_call(call, 480, "", NO_ANSWER, 19, None, tx);
                return;
            }
            // The caller hangs up while it rings, by a BYE (RFC 3261 §15). Towards the vendor that is a CANCEL: it may know no early BYE, ring on
            // and answer. Where several callees ring it is about one of them.
            if msg.method() == Method::Bye && side == Side::Caller && ringing && call.is_alone() {
                tx.answer(server, 200, "", &[]);
                if let Some(client) = call.branch().filter(|b| b.open).and_then(|b| b.client) {
                    if call.tells_why(Side::Callee) {
                        tx.note_reason(client, msg);
                    }
                    tx.abandon(client);
                }
                calls.branch_over(call, 487, None, "cancelled", tx);
                calls.refuse_call(call, 487, "", "", 16, None, tx);
                return;
            }
            if msg.method() == Method::Invite {
                tx.trying(server, &flow, msg);
            }
            let carries = matches!(msg.method(), Method::Invite | Method::Update | Method::Prack);
            let anchored = carries && call.phase != Phase::Over;
            match if anchored { tx.session(msg) } else { Ok(None) } {
                Err(e) => tx.answer(server, e.status(), e.phrase(), e.headers()),
                Ok(Some(sdp)) => calls.anchor_request(call, side, server, flow, msg, sdp, tx),
                Ok(None) => calls.forward_in_dialog(call, side, server, flow, msg, Some(plan), None, tx),
            }
            if msg.method() == Method::Bye {
                calls.close_answered(call, release, cause, "", tx);
            }
            ended = msg.method() == Method::Bye;
        });
        let callee = if side == Side::Caller { msg.to_tag() } else { msg.from_tag() };
        for other in if ended { self.spirals(id, callee.unwrap_or(b"")) } else { Vec::new() } {
            self.with_call(other, tx, |calls, call, tx| calls.close_answered(call, release, cause, "", tx));
        }
    }

    /// Asks the relay about the SDP of a request: an offer, or the answer in a PRACK to the offer of a reliable 18x.
    #[allow(clippy::too_many_arguments)] // the parts of one message on its way
    fn anchor_request(
        &mut self,
        call: &mut Call,
        side: Side,
        server: Id,
        flow: Flow,
        msg: &Message<'_>,
        sdp: &[u8],
        tx: &mut Transactions,
    ) {
        let owed = match msg.method() {
            Method::Prack => call.exchange.owed.take_if(|o| o.by == side).map(|o| o.offer),
            _ => None,
        };
        let (from, to) = (msg.from_tag().unwrap_or(b""), msg.to_tag().unwrap_or(b""));
        let ip = flow.remote.ip();
        let command = match &owed {
            Some(offer) => {
                let whole = fitted(offer, sdp);
                let sdp = whole.as_deref().unwrap_or(sdp);
                warp_ng::Command::Answer(self.sdp_command(call, None, to, Some(from), sdp, side, ip))
            }
            None => warp_ng::Command::Offer(self.sdp_command(call, None, from, Some(to), sdp, side, ip)),
        };
        call.media_open = true;
        let bytes = tx.copy_buf(msg.bytes());
        self.ask_media(call, command, Waiting::Request { side, server, flow, bytes, owed }, tx);
    }

    /// The answer to an offer in a response went to the relay.
    pub(super) fn late_answer(
        &mut self,
        call: &mut Call,
        by: Side,
        offer: &[u8],
        bytes: &[u8],
        tx: &mut Transactions,
    ) {
        let Ok(msg) = Message::parse(bytes) else {
            return;
        };
        if let Ok(Some(answer)) = tx.session(&msg) {
            call.exchange.agreed(by.other(), offer, answer);
        }
        // In a PRACK: what the 2xx says of media is not owed any more.
        call.exchange.early |= msg.method() == Method::Prack;
    }

    /// Sends an in-dialog request on by a client transaction. `plan`: when it was made already. `sdp`: the relay's, and whether it offers.
    #[allow(clippy::too_many_arguments)] // the parts of one message on its way
    pub(super) fn forward_in_dialog(
        &mut self,
        call: &mut Call,
        side: Side,
        server: Id,
        came: Flow,
        msg: &Message<'_>,
        plan: Option<&Plan<'_>>,
        sdp: Option<(&[u8], bool)>,
        tx: &mut Transactions,
    ) {
        let offers = sdp.is_some_and(|(_, offers)| offers);
        let sent = (|| {
            let callee = if side == Side::Caller { msg.to_tag() } else { msg.from_tag() };
            call.turn_to(callee?);
            let read = if plan.is_none() { Plan::of(&tx.config, &came, msg) } else { None };
            let plan = plan.or(read.as_ref())?;
            let flow = self.way_to(call, side.other(), came, tx)?;
            let from_caller = side == Side::Caller;
            let target = confirm::instead_of_us(call, side.other(), plan);
            let uri = target.as_deref().unwrap_or(plan.sent_as(msg));
            let (mut lines, signature) = self.translated(call, from_caller, msg, &flow, uri, tx);
            call.told(msg, side.other(), &mut lines);
            call.ask_refreshes(msg, side, &mut lines);
            let copy = Copy {
                rules: call.terms(side.other()).map_or(&[], |t| &t.rules),
                vendor: call.vendor_id().filter(|_| from_caller),
                lines: &lines,
                uri: target.as_deref(),
                extra: signature.as_ref().map(|(name, value)| (name.name(), value.as_slice())),
                incoming: route::listener_of(&tx.ours, &came),
                out_by: route::listener_of(&tx.ours, &flow),
                untrusted: true,
                strip_credentials: true,
                sdp: sdp.map(|(sdp, _)| sdp),
                offers,
                ..Copy::new(plan, came)
            };
            let owner = Owner::InDialog { call: call.id, server };
            let client = tx.forward_request(msg, &copy, flow, owner)?;
            if let Some(txn) = tx.table.servers.get_mut(server) {
                txn.client = Some(client);
            }
            Some(())
        })();
        if sent.is_none() {
            if offers {
                call.exchange.closed();
            }
            tx.answer(server, 480, "", &[]);
        }
    }

    /// A response to an in-dialog request.
    pub(super) fn in_dialog_response(
        &mut self,
        call: &mut Call,
        server: Id,
        offered: bool,
        flow: Flow,
        msg: &Message<'_>,
        tx: &mut Transactions,
    ) {
        // Of a call that is over only its figures are asked for, and they change no answer: the 2xx to a BYE does not wait for them.
        if call.is_asking() && call.phase != Phase::Over {
            let bytes = tx.copy_buf(msg.bytes());
            self.hold(call, Held::InDialog { server, offered, flow, bytes }, tx);
            return;
        }
        let status = msg.status().unwrap_or(0);
        if status == 100 {
            return;
        }
        if let Some(branch) = call.branches.last_mut() {
            branch.uac.listen(msg);
        }
        if matches!(status, 401 | 407) {
            if offered {
                call.exchange.closed();
            }
            tx.challenge_unanswered(server, msg);
            return;
        }
        let Some((side, repeated)) = tx.table.servers.get(server).map(|t| {
            let side = if t.source.ip() == call.flow.remote.ip() { Side::Caller } else { Side::Callee };
            (side, !t.machine.is_open())
        }) else {
            return;
        };
        // From tag of the response is who asked; the answerer is the other one.
        let answerer = match msg.from_tag() {
            Some(t) if t == call.dialog.caller.tag => Side::Callee,
            Some(_) => Side::Caller,
            None => side.other(),
        };
        let callee = if answerer == Side::Callee { msg.to_tag() } else { msg.from_tag() };
        call.turn_to(callee.unwrap_or(b""));
        if repeated && (200..300).contains(&status) {
            match tx.table.servers.get(server).is_some_and(|t| t.response.starts_with(b"SIP/2.0 2")) {
                true => tx.resend_ok(server),
                // Its asker was told another thing: the ACK is ours.
                false => self.ack_for(call, answerer, flow, msg, tx),
            }
            return;
        }
        if (200..300).contains(&status)
            && matches!(msg.method_of_cseq(), Method::Invite | Method::Update)
            && let Some(contact) = msg.contacts().next()
        {
            call.dialog.party_mut(answerer).target = contact.uri.to_vec();
        }
        let method = msg.method_of_cseq();
        let carries = matches!(method, Method::Invite | Method::Update | Method::Prack);
        let anchored = carries && status < 300 && call.phase != Phase::Over;
        let bytes = tx.copy_buf(msg.bytes());
        match if anchored { tx.session(msg) } else { Ok(None) } {
            Err(_) => {
                tx.stats.media_failures += 1;
                self.refuse_in_dialog(call, server, flow, offered, &bytes, 502, tx);
            }
            Ok(Some(sdp)) => {
                let (from, to) = (msg.from_tag().unwrap_or(b""), msg.to_tag().unwrap_or(b""));
                let ip = flow.remote.ip();
                let (command, offer) = if offered {
                    let offer = offer_of(server, tx);
                    let whole = fitted(&offer, sdp);
                    let sdp = whole.as_deref().unwrap_or(sdp);
                    let c = self.sdp_command(call, None, from, Some(to), sdp, answerer, ip);
                    (warp_ng::Command::Answer(c), Some(offer))
                } else if method == Method::Invite {
                    // The request had none: this is the offer, its answer comes in the ACK.
                    let c = self.sdp_command(call, None, to, Some(from), sdp, answerer, ip);
                    (warp_ng::Command::Offer(c), None)
                } else {
                    // Nobody asked for it (RFC 3264 §4, RFC 3262 §5).
                    self.pass_in_dialog(call, server, msg, Some(b""), tx);
                    tx.give_buf(bytes);
                    return;
                };
                self.ask_media(call, command, Waiting::Response { server, flow, bytes, offer }, tx);
                return;
            }
            Ok(None) => {
                // Answered in an 18x (RFC 3262 §5, RFC 6337 §2.1).
                if offered && (200..300).contains(&status) && !call.exchange.preview.is_empty() {
                    let answer = std::mem::take(&mut call.exchange.preview);
                    call.exchange.answered(answerer.other(), &offer_of(server, tx), &answer);
                } else if offered && status >= 200 {
                    // Refused, or accepted without a word about media: what was agreed before holds.
                    call.exchange.closed();
                }
                self.pass_in_dialog(call, server, msg, None, tx);
            }
        }
        tx.give_buf(bytes);
    }

    /// The relay took the SDP of a response: both know it now, or it is an offer that the ACK answers.
    pub(super) fn in_dialog_agreed(
        &mut self,
        call: &mut Call,
        server: Id,
        msg: &Message<'_>,
        offer: Option<Vec<u8>>,
        tx: &mut Transactions,
    ) {
        let Ok(Some(sdp)) = tx.session(msg) else {
            return;
        };
        let by_caller = msg.from_tag().is_some_and(|t| t == call.dialog.caller.tag);
        let asker = if by_caller { Side::Caller } else { Side::Callee };
        let last = msg.status().is_some_and(|s| s >= 200);
        match offer {
            Some(offer) if last => call.exchange.answered(asker, &offer, sdp),
            Some(_) => set(&mut call.exchange.preview, sdp),
            None => {
                let cseq = tx.table.servers.get(server).map_or(msg.cseq().0, |t| t.cseq);
                call.exchange.owed = Some(Owed { by: asker, offer: sdp.to_vec(), cseq });
                call.exchange.dirty = true;
            }
        }
    }

    /// Passes a response to an in-dialog request back, with the relay's SDP where it has one.
    pub(super) fn pass_in_dialog(
        &mut self,
        call: &mut Call,
        server: Id,
        msg: &Message<'_>,
        sdp: Option<&[u8]>,
        tx: &mut Transactions,
    ) {
        // It goes to who asked.
        let by_caller = msg.from_tag().is_some_and(|t| t == call.dialog.caller.tag);
        let asker = if by_caller { Side::Caller } else { Side::Callee };
        let timed = call.refreshed_again(server, msg, asker, tx);
        let whole = sdp.and_then(|sdp| media::whole_body(msg, sdp));
        let mut buf = tx.take_buf();
        let cseq = tx.asked_as(server, msg);
        let mut edit = Edit::new(msg);
        edit.pop_via().remove_trust_headers();
        if let Some(cseq) = &cseq {
            edit.replace_header(Header::CSeq, cseq);
        }
        if let Some((header, value)) = call.named(msg, asker) {
            edit.replace_header(header, value);
        }
        for (header, value) in timed.iter().flatten() {
            edit.replace_header(*header, value);
        }
        let reason = headers::reason_for(msg, call.terms(asker));
        if let Some(reason) = &reason {
            headers::put(&mut edit, Header::Reason, reason);
        }
        headers::apply(&mut edit, call.terms(asker).map_or(&[], |t| &t.rules));
        match sdp {
            Some(sdp) => media::put_sdp(&mut edit, sdp, whole.as_deref()),
            None => drop(edit.ensure_content_length()),
        }
        if edit.write_to(&mut buf).is_err() {
            tx.give_buf(buf);
            return;
        }
        tx.send_response(server, msg.status().unwrap_or(0), buf);
    }

    /// The SDP of a response to an in-dialog request cannot be anchored: it is not passed on, because media would go past the relay. The asker
    /// hears a failure, so both sides keep the session that they had; a 2xx is ACKed by us. An 18x is left out, the final will decide.
    #[allow(clippy::too_many_arguments)] // the parts of one message on its way
    pub(super) fn refuse_in_dialog(
        &mut self,
        call: &mut Call,
        server: Id,
        flow: Flow,
        offered: bool,
        bytes: &[u8],
        status: u16,
        tx: &mut Transactions,
    ) {
        let Ok(msg) = Message::parse(bytes) else {
            return;
        };
        if msg.status().is_none_or(|s| s < 200) {
            return;
        }
        call.exchange.refused(offered);
        if msg.method_of_cseq() == Method::Invite {
            let by_caller = msg.from_tag().is_some_and(|t| t == call.dialog.caller.tag);
            self.ack_for(call, if by_caller { Side::Callee } else { Side::Caller }, flow, &msg, tx);
        }
        tx.answer(server, status, "", &[]);
    }

    /// Where requests towards a party go: to its first route or target when that is a usable address, else to where it spoke from.
    pub(super) fn way_to(&self, call: &Call, to: Side, came: Flow, tx: &Transactions) -> Option<Flow> {
        let learnt = match to {
            Side::Caller => call.flow,
            Side::Callee => call.callee_flow?,
        };
        let written =
            warp_sip::uri::Uri::parse_target(call.dialog.next_hop(to)).ok().and_then(|u| route::resolve(&u));
        let incoming = route::listener_of(&tx.ours, &came);
        let usable = written
            // Behind a NAT, or over the stream that it opened: the address that it spoke from is the one that works.
            .filter(|(t, a)| *t == learnt.transport && !(t.is_reliable() && a.ip() == learnt.remote.ip()))
            .filter(|(t, a)| believe::may_lead(call, to, &learnt, *t, a.ip()))
            .and_then(|(t, a): (_, SocketAddr)| route::way_out(&tx.ours, incoming, &came, t, a))
            .map(|(_, f)| f)
            .filter(|f| !route::is_refused(&tx.config, f));
        Some(usable.unwrap_or(learnt))
    }

    /// A stream closed: the calls that it carried are reached at the addresses that their parties wrote.
    pub(super) fn forget_stream(&mut self, flow: &Flow, tx: &mut Transactions) {
        let carried: Vec<Id> = self.by_link.get(&flow.link).into_iter().flatten().copied().collect();
        let mut written = Vec::new();
        for (id, call) in carried.into_iter().filter_map(|id| Some((id, self.all.get(id)?))) {
            for (side, learnt) in [(Side::Caller, Some(call.flow)), (Side::Callee, call.callee_flow)] {
                if learnt == Some(*flow)
                    && let Ok(uri) = warp_sip::uri::Uri::parse_target(call.dialog.next_hop(side))
                    && let Some((transport, remote)) = route::resolve(&uri)
                    && let Some((_, out)) = route::way_out(&tx.ours, usize::MAX, flow, transport, remote)
                {
                    written.push((id, side, out));
                }
            }
        }
        for (id, side, out) in written {
            if let Some(call) = self.all.get_mut(id) {
                match side {
                    Side::Caller => call.flow = out,
                    Side::Callee => call.callee_flow = Some(out),
                }
            }
        }
        self.by_link.remove(&flow.link);
    }

    /// Ends a call by our own will: BYE both ways, or CANCEL and a final when it was not answered.
    pub(super) fn end_call(&mut self, id: Id, reason: &str, tx: &mut Transactions) {
        self.with_call(id, tx, |calls, call, tx| match call.phase {
            Phase::Over => {}
            Phase::Answered => calls.end_answered(call, reason, tx),
            Phase::Setup | Phase::Ringing => {
                if let Some(client) = call.branch().filter(|l| l.open).and_then(|l| l.client) {
                    tx.abandon(client);
                }
                calls.drop_asks(call, 487, tx);
                calls.branch_over(call, 487, None, "ended_by_us", tx);
                calls.refuse_call(call, 480, "", reason, 31, None, tx);
            }
        });
    }

    /// BYE both ways, and the record.
    pub(super) fn end_answered(&mut self, call: &mut Call, reason: &str, tx: &mut Transactions) {
        if call.phase != Phase::Answered {
            return;
        }
        // A 2xx to a re-INVITE that waits gets its ACK before the BYE.
        self.drop_asks(call, 487, tx);
        self.ack_callee(call, tx);
        for side in [Side::Callee, Side::Caller] {
            self.send_bye(call, side, tx);
        }
        self.close_answered(call, ReleaseSide::System, cdr::cause_of_code(reason), reason, tx);
    }

    /// A BYE of ours towards one side, in the other's name.
    pub(super) fn send_bye(&mut self, call: &mut Call, to: Side, tx: &mut Transactions) {
        let came = if to == Side::Caller { call.callee_flow.unwrap_or(call.flow) } else { call.flow };
        let Some(flow) = self.way_to(call, to, came, tx) else {
            return;
        };
        let realm = call.branch().and_then(|b| b.uac.realm());
        let vendor = call.vendor_id().filter(|_| to == Side::Callee).map(|trunk| (trunk, realm));
        let uri = call.dialog.request_uri(to).to_vec();
        let snapshot = call.snapshot.clone();
        let mut extra = Vec::new();
        let caller_cseq = call.dialog.caller.cseq;
        if to == Side::Callee
            && let Some(branch) = call.branches.last_mut()
        {
            let trunk = branch.vendor_trunk(&snapshot.directory);
            let signed = trunk.and_then(|t| branch.uac.sign(t, &flow, Method::Bye, &uri, tx));
            extra = signed.map_or_else(Vec::new, |(name, value)| line_of(name, &value));
            // In the vendor's numbers.
            call.dialog.caller.cseq = branch.uac.again(None, Method::Bye).max(1) - 1;
        }
        let dialog = &mut call.dialog;
        tx.originate(flow, Method::Bye, Owner::Ours, vendor, |via, out| {
            dialog.write_request("BYE", to, via, &extra, out);
        });
        call.dialog.caller.cseq = call.dialog.caller.cseq.max(caller_cseq);
    }
}

/// The offer in the request of a server transaction.
fn offer_of(server: Id, tx: &Transactions) -> Vec<u8> {
    let request = tx.table.servers.get(server).map_or(&b""[..], |t| &t.request);
    let Ok(msg) = Message::parse(request) else {
        return Vec::new();
    };
    tx.session(&msg).ok().flatten().unwrap_or(b"").to_vec()
}

/// A header line with its end.
pub(super) fn line_of(name: Header, value: &[u8]) -> Vec<u8> {
    [name.name().as_bytes(), b": ", value, b"\r\n"].concat()
}
