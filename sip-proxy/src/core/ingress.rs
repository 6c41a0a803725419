//! Requests as they come in (RFC 3261 §16.3, §17.2): strangers' buckets, repetitions, ACK and CANCEL, the checks that a proxy owes,
//! and then either static forwarding or the policy of a call.

use std::net::IpAddr;

use warp_sip::flow::Flow;
use warp_sip::header::Header;
use warp_sip::message::{Message, Method, check_proxy};
use warp_sip::transaction::{Action, ServerInput};

use super::reject::TAG;
use super::route::Plan;
use super::table::{ServerTxn, server_key};
use super::{Core, overload};

/// A request that is new, well-formed and no loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived<'x, 'm> {
    pub(super) flow: Flow,
    pub(super) msg: &'x Message<'m>,
    pub(super) bytes: &'x [u8],
    pub(super) plan: &'x Plan<'m>,
    /// Of its server transaction.
    pub(super) key: u128,
    pub(super) stranger: bool,
}

impl Core {
    pub(super) fn on_request(&mut self, flow: Flow, msg: &Message<'_>, bytes: &[u8], stranger: bool) {
        if msg.method() == Method::Ack {
            self.on_ack(flow, msg, stranger);
            return;
        }
        let silent =
            || self.tx.is_silenced(flow.remote.ip()) || (self.tx.config.drop_scanners && is_scanner(msg));
        if stranger && silent() {
            self.tx.stats.scanner_dropped += 1;
            return;
        }
        let key = server_key(&self.tx.shared.keyed, msg, msg.method_text());
        if let Some(id) = self.tx.table.find(key) {
            self.tx.on_repetition(id);
            return;
        }
        if self.shed > 0 && self.is_shed(msg, flow.remote.ip()) {
            self.tx.stats.shed += 1;
            // Short and not the same for all: who waits that long shall not come back together.
            let seconds = [b'1' + (self.shed_draw(msg) % 4) as u8];
            self.tx.refuse(&flow, msg, 503, "Overload", &[("Retry-After", &seconds)], stranger);
            return;
        }
        if let Err(r) = self.check_for(&flow, msg, stranger).and_then(|()| check_proxy(msg, SUPPORTED)) {
            // OPTIONS to us needs no further hop (RFC 3261 §11); one to somebody else is 483 like the rest (RFC 4475 §3.3.11).
            let plan = || Plan::of(&self.tx.config, &flow, msg);
            if matches!(r.status, 440 | 483) && plan().is_some_and(|p| self.is_ping(msg, &p)) {
                self.tx.answer_options(&flow, msg, stranger);
                return;
            }
            self.tx.stats.max_forwards += u64::from(r.status == 483);
            let unsupported = r.unsupported.map(|u| [("Unsupported", u)]);
            let headers = unsupported.as_ref().map_or(&[][..], |u| &u[..]);
            self.tx.refuse(&flow, msg, r.status, r.reason, headers, stranger);
            return;
        }
        if msg.method() == Method::Cancel {
            self.on_cancel(flow, msg, key, stranger);
            return;
        }
        let Some(plan) = Plan::of(&self.tx.config, &flow, msg) else {
            self.tx.refuse(&flow, msg, 400, "", &[], stranger);
            return;
        };
        if self.tx.config.outbound.is_none() && self.is_ping(msg, &plan) {
            self.tx.answer_options(&flow, msg, stranger);
            return;
        }
        if self.tx.is_loop(msg, &plan) {
            self.tx.stats.loops += 1;
            self.tx.refuse(&flow, msg, 482, "", &[], stranger);
            return;
        }
        let arrived = Arrived { flow, msg, bytes, plan: &plan, key, stranger };
        if let Some(registrar) = &mut self.registrar
            && registrar.request(&arrived, &mut self.tx)
        {
            return;
        }
        match &self.proxy {
            Some(proxy) => proxy.request(&arrived, &mut self.tx),
            None => self.calls.request(&arrived, &mut self.tx),
        }
    }

    /// OPTIONS that is ours to answer: outside of a dialog, addressed to us. Without policy a user part names somebody behind the next hop;
    /// with it nobody is there but us, whatever name a peer pings (JsSIP#445, sipml5#182).
    fn is_ping(&self, msg: &Message<'_>, plan: &Plan<'_>) -> bool {
        msg.method() == Method::Options
            && msg.to_tag().is_none()
            && plan.names_us
            && (plan.uri.user.is_none() || self.proxy.is_none())
    }

    /// Whether overload control refuses a request (F-LOAD-01): a first INVITE whose hash falls below the level. What belongs to a call that was
    /// admitted never is, nor OPTIONS, nor an emergency call.
    fn is_shed(&self, msg: &Message<'_>, source: IpAddr) -> bool {
        msg.method() == Method::Invite
            && msg.to_tag().is_none()
            && self.shed > 0
            && self.shed_draw(msg) % u64::from(overload::FULL) < u64::from(self.shed)
            && !self.tx.is_emergency(msg, self.tx.trunk_of(source))
    }

    /// The same for all requests of a call, so that one which was challenged is not refused at its second try.
    fn shed_draw(&self, msg: &Message<'_>) -> u64 {
        self.tx.shared.keyed.hash64(&[b"shed", msg.call_id()])
    }

    /// ACK: for a 300–699 of ours it ends here; for a 2xx it goes on to the callee, without a transaction (RFC 3261 §16.10, §17.1.1.3).
    fn on_ack(&mut self, flow: Flow, msg: &Message<'_>, stranger: bool) {
        let key = server_key(&self.tx.shared.keyed, msg, b"INVITE");
        if let Some(id) = self.tx.table.find(key)
            && let Some(txn) = self.tx.table.servers.get_mut(id)
            && !is_of_another_fork(txn, msg)
        {
            if txn.source.ip() != flow.remote.ip() {
                self.tx.stats.spoofed += 1;
                return;
            }
            let actions = txn.machine.on_input(ServerInput::Ack, &self.tx.config.timers, self.tx.now.mono);
            if !actions.contains(Action::PassUp) {
                self.tx.after_server(id, actions);
                return;
            }
        }
        // For a final that we gave without a transaction (a challenge, a refusal), or of one that is over: it ends here, too (RFC 3261 §8.2.7).
        // Our tag says so, which nobody else can make.
        if msg.to_tag().is_some_and(|t| t.len() == TAG && t == self.tx.tag_for(msg)) {
            return;
        }
        // End to end from here on. It must belong to a dialog, pass the checks that cost no answer, and lead somewhere.
        let sound = self.check_for(&flow, msg, stranger).and_then(|()| check_proxy(msg, SUPPORTED));
        if msg.to_tag().is_none() || sound.is_err() {
            self.tx.stats.stray += 1;
            return;
        }
        match &self.proxy {
            Some(proxy) => proxy.ack(flow, msg, stranger, &mut self.tx),
            None => self.calls.ack(flow, msg, &mut self.tx),
        }
    }

    /// CANCEL (RFC 3261 §9.2, §16.10): answered here, and the branch of its INVITE is cancelled when it may be.
    fn on_cancel(&mut self, flow: Flow, msg: &Message<'_>, key: u128, stranger: bool) {
        let invite = self.tx.table.find(server_key(&self.tx.shared.keyed, msg, b"INVITE"));
        let matched = invite.and_then(|id| self.tx.table.servers.get(id).map(|t| (id, t)));
        // T-SIP-11: branch and source must match.
        let Some((invite, open)) = matched
            .filter(|(_, t)| t.source.ip() == flow.remote.ip())
            .map(|(id, t)| (id, t.machine.is_open()))
        else {
            // Its INVITE may be one that waits behind a question of its call: then it waits as well.
            if invite.is_none() && self.proxy.is_none() && self.calls.hold_cancel(&flow, msg, &mut self.tx) {
                return;
            }
            self.tx.stats.spoofed += u64::from(invite.is_some());
            self.tx.refuse(&flow, msg, 481, "", &[], stranger);
            return;
        };
        let Some(server) = self.tx.begin_server(flow, msg, msg.bytes(), key, stranger) else {
            self.tx.on_table_full(&flow, msg, stranger);
            return;
        };
        self.tx.answer(server, 200, "", &[]);
        let Some(txn) = self.tx.table.servers.get(invite).filter(|_| open) else {
            return;
        };
        let (call, client) = (txn.call, txn.client);
        // With a policy it is a call's.
        let mut registrar = self.registrar.as_mut().filter(|_| self.tx.config.mode.is_registrar());
        if let (Some(fork), Some(registrar)) = (call, &mut registrar) {
            registrar.forks.cancelled(fork, msg, &mut self.tx);
            return;
        }
        if let (None, None, Some(registrar)) = (call, client, &mut registrar)
            && registrar.cancelled(invite, &mut self.tx)
        {
            return;
        }
        if let Some(client) = client
            && call.is_none_or(|id| self.calls.tells_why(id))
        {
            self.tx.note_reason(client, msg);
        }
        match (call, client) {
            (Some(call), _) => self.calls.cancelled(call, &mut self.tx),
            (None, Some(client)) => self.tx.want_cancel(client),
            // A re-INVITE that waits for the relay: nobody else has it yet.
            (None, None) => self.calls.reinvite_cancelled(&flow, msg, invite, &mut self.tx),
        }
    }
}

/// Requests that begin a dialog: they get our Record-Route (RFC 3261 §16.6 step 4).
pub(super) fn makes_dialog(method: Method) -> bool {
    matches!(method, Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)
}

/// kamailio#2419: a proxy below that forks sends the ACK for a 2xx with the branch of its first fork. That one has failed, or still rings: its
/// final has another To tag (RFC 3261 §17.1.1.3), or there is none.
fn is_of_another_fork(txn: &ServerTxn, ack: &Message<'_>) -> bool {
    if !txn.machine.failed_or_open() || ack.to_tag().is_none() {
        return false;
    }
    if txn.machine.is_open() {
        return true;
    }
    let response = Message::parse(&txn.response);
    response.is_ok_and(|r| r.to_tag() != ack.to_tag())
}

/// Whether a request is that of a scanner (T-SIP-13).
fn is_scanner(msg: &Message<'_>) -> bool {
    let agent = msg.header(Header::UserAgent).unwrap_or(b"");
    SCANNERS.iter().any(|s| agent.windows(s.len()).any(|w| w.eq_ignore_ascii_case(s)))
}

const SCANNERS: [&[u8]; 7] =
    [b"friendly-scanner", b"sipvicious", b"sipcli", b"sundayddr", b"vaxsipuseragent", b"pplsip", b"sip-scan"];

/// Option tags that we know when a Proxy-Require names them.
pub(super) const SUPPORTED: &[&[u8]] = &[];
