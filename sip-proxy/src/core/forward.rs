//! Copies that go on: the forwarded request with its branch (RFC 3261 §16.6), ACK for 2xx, and what a proxy makes itself of a
//! request that it sent: CANCEL (§9.1) and ACK for 300–699 (§17.1.1.3).

use std::borrow::Cow;
use std::io::Write;
use std::net::SocketAddr;

use warp_model::VendorTrunkId;
use warp_policy::directory::HeaderRule;
use warp_sip::edit::{Edit, NewVia};
use warp_sip::flow::{Flow, Transport};
use warp_sip::header::Header;
use warp_sip::message::{Message, Method, max_breadth};
use warp_sip::proxy::{CancelState, TimerC};
use warp_sip::transaction::{ClientInvite, ClientOther, NEVER};

use super::reject::{hex, unhex};
use super::route::{self, Plan};
use super::slab::Id;
use super::table::{ClientMachine, ClientTxn, Owner};
use super::transactions::Transactions;
use super::{headers, media};

/// Length of our branches: cookie, mark, id, nonce, loop hash.
const BRANCH: usize = 8 + 16 + 16 + 8;
const MARK: &[u8] = b"z9hG4bKw";
/// Max-Breadth of a request that came without one (RFC 5393 §5.3.3.1).
const MAX_BREADTH: &[u8] = b"60";
/// The same as a number.
pub(super) const BREADTH: u32 = 60;

/// How a request is copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy<'x> {
    pub(crate) plan: &'x Plan<'x>,
    /// Listener that it came in by, and goes out by.
    pub(crate) incoming: usize,
    pub(crate) out_by: usize,
    pub(crate) came: Flow,
    pub(crate) record_route: bool,
    /// Remove what only trusted peers may say (T-SIP-03).
    pub(crate) untrusted: bool,
    /// Remove credentials for our realm: nobody downstream needs them (T-SIP-10).
    pub(crate) strip_credentials: bool,
    /// Another Request-URI than the plan's.
    pub(crate) uri: Option<&'x [u8]>,
    /// A further header line: name and value.
    pub(crate) extra: Option<(&'x str, &'x [u8])>,
    /// Another SDP body.
    pub(crate) sdp: Option<&'x [u8]>,
    /// It is an offer.
    pub(crate) offers: bool,
    /// In the cookie of our Record-Route: tells the calls of one Call-ID apart.
    pub(crate) salt: u64,
    /// The vendor trunk that it goes to.
    pub(crate) vendor: Option<VendorTrunkId>,
    /// Headers with other values; an empty one takes the header away.
    pub(crate) lines: &'x [(Header, Vec<u8>)],
    /// Of the peer that it goes to.
    pub(crate) rules: &'x [HeaderRule],
    /// Of an emergency call.
    pub(crate) emergency: bool,
    /// Route values that it gets; empty: none.
    pub(crate) path: &'x [u8],
    /// Later requests of the dialog reach the sender, or the receiver, by this flow alone: it stands in our Record-Route.
    pub(crate) pin_in: bool,
    /// Its share of the breadth of its request; `None`: all of it.
    pub(crate) breadth: Option<u32>,
    pub(crate) pin_out: bool,
}

impl<'x> Copy<'x> {
    pub(crate) fn new(plan: &'x Plan<'x>, came: Flow) -> Copy<'x> {
        Copy {
            plan,
            incoming: 0,
            out_by: 0,
            came,
            record_route: false,
            untrusted: false,
            strip_credentials: false,
            uri: None,
            extra: None,
            sdp: None,
            offers: false,
            salt: 0,
            vendor: None,
            lines: &[],
            rules: &[],
            emergency: false,
            path: b"",
            breadth: None,
            pin_in: false,
            pin_out: false,
        }
    }
}

impl Transactions {
    /// Forwards a request by a new client transaction. `None` when there is no room.
    pub(super) fn forward_request(
        &mut self,
        msg: &Message<'_>,
        copy: &Copy<'_>,
        flow: Flow,
        owner: Owner,
    ) -> Option<Id> {
        let Some(place) = self.shared.place(self.room(copy.emergency)) else {
            self.stats.table_full += 1;
            return None;
        };
        let reliable = flow.transport.is_reliable();
        let timers = &self.config.timers;
        let invite = msg.method() == Method::Invite;
        let machine = if invite {
            ClientMachine::Invite(ClientInvite::start(reliable, timers, self.now.mono).0)
        } else {
            ClientMachine::Other(ClientOther::start(reliable, timers, self.now.mono).0)
        };
        let nonce = self.rng.u64();
        let timer_c = invite.then(|| TimerC::start(timers.c, self.now.mono));
        let id = self.table.insert_client(ClientTxn {
            _place: place,
            nonce,
            machine,
            method: msg.method(),
            flow,
            request: Vec::new(),
            owner,
            cancel: CancelState::default(),
            reason: Vec::new(),
            cancelled_by: None,
            timer_c,
            offered: copy.offers,
            vendor: copy.vendor,
            tries: 0,
            realm: None,
            reaped: Vec::new(),
            nth: 0,
            armed: NEVER,
        });
        // At once: whatever happens to the rest, its timers end it.
        self.arm_client(id);
        if let Owner::Server(server) = owner
            && let Some(txn) = self.table.servers.get_mut(server)
        {
            txn.client = Some(id);
        }
        let branch = branch_of(id.as_u64(), nonce, self.loop_hash(msg, copy.plan));
        let mut buf = self.take_buf();
        if !self.write_copy(msg, copy, flow, &branch, &mut buf) {
            self.give_buf(buf);
            self.remove_client(id);
            return None;
        }
        // Kept for repetitions, ACK and CANCEL, and to be sent again with credentials.
        if invite || !reliable || copy.vendor.is_some() {
            let kept = self.copy_buf(&buf);
            if let Some(txn) = self.table.clients.get_mut(id) {
                txn.request = kept;
            }
        }
        self.transmit(flow, buf);
        self.arm_client(id);
        Some(id)
    }

    /// Forwards an ACK for a 2xx: no transaction, a branch that nobody answers.
    pub(super) fn forward_ack(
        &mut self,
        flow: Flow,
        msg: &Message<'_>,
        plan: &Plan<'_>,
        transport: Transport,
        remote: SocketAddr,
    ) {
        let incoming = route::listener_of(&self.ours, &flow);
        let Some((out_by, out_flow)) = route::way_out(&self.ours, incoming, &flow, transport, remote) else {
            self.stats.stray += 1;
            return;
        };
        let copy = Copy { incoming, out_by, ..Copy::new(plan, flow) };
        self.send_ack_copy(msg, &copy, out_flow);
    }

    /// Sends the copy of an ACK for a 2xx.
    pub(super) fn send_ack_copy(&mut self, msg: &Message<'_>, copy: &Copy<'_>, out_flow: Flow) {
        let branch = branch_of(0, self.rng.u64(), self.loop_hash(msg, copy.plan));
        let mut buf = self.take_buf();
        if self.write_copy(msg, copy, out_flow, &branch, &mut buf) {
            self.transmit(out_flow, buf);
        } else {
            self.give_buf(buf);
        }
    }

    /// Sends a request of our own making by a client transaction. `vendor`: to whose trunk, and the realm that its dialog's INVITE was
    /// challenged by. `write` gets our Via value.
    pub(super) fn originate(
        &mut self,
        flow: Flow,
        method: Method,
        owner: Owner,
        vendor: Option<(VendorTrunkId, Option<Box<[u8]>>)>,
        write: impl FnOnce(&[u8], &mut Vec<u8>),
    ) {
        let Some(place) = self.shared.place(self.room(false)) else {
            self.stats.table_full += 1;
            return;
        };
        let nonce = self.rng.u64();
        // A probe that is lost is followed by the next one: it is not repeated by timer E.
        let repeats = !flow.transport.is_reliable() && !matches!(owner, Owner::Probe(_));
        let (machine, _) = ClientOther::start(!repeats, &self.config.timers, self.now.mono);
        let (vendor, realm) = vendor.map_or((None, None), |(vendor, realm)| (Some(vendor), realm));
        let id = self.table.insert_client(ClientTxn {
            _place: place,
            nonce,
            machine: ClientMachine::Other(machine),
            method,
            flow,
            request: Vec::new(),
            owner,
            cancel: CancelState::default(),
            reason: Vec::new(),
            cancelled_by: None,
            timer_c: None,
            offered: false,
            vendor,
            tries: 0,
            realm,
            reaped: Vec::new(),
            nth: 0,
            armed: NEVER,
        });
        let via = self.via_value(&flow, &branch_of(id.as_u64(), nonce, 0));
        let mut buf = self.take_buf();
        write(&via, &mut buf);
        let kept = self.copy_buf(&buf);
        if let Some(txn) = self.table.clients.get_mut(id) {
            txn.request = kept;
        }
        self.transmit(flow, buf);
        self.arm_client(id);
    }

    /// Sends a request again with credentials for a realm, as a new transaction with the next number (RFC 3261 §22.2).
    pub(super) fn send_again(
        &mut self,
        former: Id,
        request: &Message<'_>,
        number: u32,
        (header, credentials): &(Header, Vec<u8>),
        realm: &[u8],
    ) -> Option<Id> {
        let place = self.shared.place(self.room(false))?;
        let txn = self.table.clients.get(former)?;
        let (flow, method, timers) = (txn.flow, txn.method, &self.config.timers);
        let reliable = flow.transport.is_reliable();
        let machine = match method {
            Method::Invite => ClientMachine::Invite(ClientInvite::start(reliable, timers, self.now.mono).0),
            _ => ClientMachine::Other(ClientOther::start(reliable, timers, self.now.mono).0),
        };
        let timer_c = (method == Method::Invite).then(|| TimerC::start(timers.c, self.now.mono));
        let nonce = self.rng.u64();
        let next = ClientTxn {
            _place: place,
            nonce,
            machine,
            method,
            flow,
            request: Vec::new(),
            owner: txn.owner,
            vendor: txn.vendor,
            tries: txn.tries.saturating_add(1),
            realm: Some(realm.into()),
            cancel: CancelState::default(),
            reason: txn.reason.clone(),
            cancelled_by: None,
            timer_c,
            offered: txn.offered,
            reaped: Vec::new(),
            nth: 0,
            armed: NEVER,
        };
        let id = self.table.insert_client(next);
        self.arm_client(id);
        let loop_hash = request.top_via().branch.and_then(loop_hash_of).unwrap_or(0);
        let branch = branch_of(id.as_u64(), nonce, loop_hash);
        let sent_by = self.sent_by(&flow).into_owned();
        let cseq = format!("{number} {}", method.token());
        let via = NewVia { transport: flow.transport, sent_by: &sent_by, branch: &branch, rport: false };
        let mut buf = self.take_buf();
        let mut edit = Edit::new(request);
        edit.pop_via().push_via(via);
        edit.replace_header(Header::CSeq, cseq.as_bytes());
        edit.replace_header(*header, credentials);
        if edit.write_to(&mut buf).is_err() {
            self.give_buf(buf);
            self.remove_client(id);
            return None;
        }
        let kept = self.copy_buf(&buf);
        if let Some(txn) = self.table.clients.get_mut(id) {
            txn.request = kept;
        }
        self.transmit(flow, buf);
        Some(id)
    }

    /// A Via value for a message that nobody answers.
    pub(super) fn via_without_answer(&mut self, flow: &Flow) -> Vec<u8> {
        let nonce = self.rng.u64();
        self.via_value(flow, &branch_of(0, nonce, 0))
    }

    /// Our address as peers of this flow know it.
    pub(super) fn sent_by(&self, flow: &Flow) -> Cow<'_, [u8]> {
        let by = route::listener_of(&self.ours, flow);
        self.ours.get(by).map_or(Cow::Borrowed(&b""[..]), |o| o.sent_by(flow.local, flow.local))
    }

    fn via_value(&self, flow: &Flow, branch: &[u8]) -> Vec<u8> {
        let sent_by = self.sent_by(flow);
        let token = flow.transport.token().as_bytes();
        [b"SIP/2.0/", token, b" ", &sent_by, b";branch=", branch].concat()
    }

    /// Writes the forwarded copy (RFC 3261 §16.6 steps 1 to 8). False when it needs more edits than there are.
    fn write_copy(
        &self,
        msg: &Message<'_>,
        copy: &Copy<'_>,
        out_flow: Flow,
        branch: &[u8],
        buf: &mut Vec<u8>,
    ) -> bool {
        let plan = copy.plan;
        let (Some(ours_in), Some(ours_out)) = (self.ours.get(copy.incoming), self.ours.get(copy.out_by))
        else {
            return false;
        };
        let (local_in, local_out) = (copy.came.local, out_flow.local);
        let sent_by_in = ours_in.sent_by(local_in, local_in);
        let sent_by_out = ours_out.sent_by(local_out, local_in);
        let whole = copy.sdp.and_then(|sdp| media::whole_body(msg, sdp));
        let share = copy.breadth.map(|n| n.to_string());
        let mut edit = Edit::new(msg);
        edit.mark_received_rport(copy.came.remote);
        edit.push_via(NewVia { transport: out_flow.transport, sent_by: &sent_by_out, branch, rport: false });
        let hops = msg.max_forwards().map_or(70, |n| n.saturating_sub(1).min(255));
        edit.set_max_forwards(hops);
        // Where one branch at a time is open it has the whole breadth of its request; those that are open together share it (RFC 5393
        // §5.3.3.1). Who says none gets the usual one.
        if msg.to_tag().is_none() && msg.method() != Method::Ack {
            if let Some(share) = &share {
                edit.remove_named(b"Max-Breadth").add_header(b"Max-Breadth", share.as_bytes());
            } else if max_breadth(msg).is_none() {
                edit.add_header(b"Max-Breadth", MAX_BREADTH);
            }
        }
        for _ in 0..plan.popped {
            edit.remove_route_top();
        }
        if plan.strict_before {
            edit.remove_route_last();
            edit.set_uri(plan.uri.raw);
        }
        let mut target = Vec::new();
        if let (true, Some(route)) = (plan.strict_after(), plan.route) {
            // RFC 3261 §16.6 step 6: a strict router gets the Request-URI, the target goes last.
            let _ = write!(target, "<{}>", String::from_utf8_lossy(plan.uri.raw));
            edit.remove_route_top();
            edit.add_route_last(&target);
            edit.set_uri(route.raw);
        } else if let Some(uri) = copy.uri {
            edit.set_uri(uri);
        }
        let (mut rr_in, mut rr_out) = (RouteText::new(), RouteText::new());
        if copy.record_route {
            let cookie = self.cookie(msg.call_id(), copy.salt);
            let pin = |wanted: bool, flow: &Flow| {
                if wanted { self.pin_of(flow, msg.call_id()) } else { Vec::new() }
            };
            let (pin_in, pin_out) = (pin(copy.pin_in, &copy.came), pin(copy.pin_out, &out_flow));
            rr_in.set(&sent_by_in, ours_in.listener.transport, cookie, &pin_in);
            // Two entries when transport or address differ, so that each side finds one it can reach (RFC 5658), and where a side has a
            // flow of its own: the lower one of those that a request brings is then the far side's.
            if copy.incoming != copy.out_by || copy.pin_in || copy.pin_out {
                rr_out.set(&sent_by_out, ours_out.listener.transport, cookie, &pin_out);
                edit.add_record_route(rr_out.as_bytes());
            }
            edit.add_record_route(rr_in.as_bytes());
        }
        if !copy.path.is_empty() {
            edit.push_route(copy.path);
        }
        if copy.untrusted {
            edit.remove_trust_headers();
        }
        if copy.strip_credentials {
            edit.remove_header(Header::ProxyAuthorization);
        }
        if let Some((name, value)) = copy.extra {
            edit.add_header(name.as_bytes(), value);
        }
        for (header, value) in copy.lines {
            headers::put(&mut edit, *header, value);
        }
        headers::apply(&mut edit, copy.rules);
        if let Some(sdp) = copy.sdp {
            media::put_sdp(&mut edit, sdp, whole.as_deref());
        } else if out_flow.transport.is_reliable() {
            edit.ensure_content_length();
        }
        edit.write_to(buf).is_ok()
    }

    /// Wants a branch gone: CANCEL now, or when its first 1xx comes.
    pub(super) fn want_cancel(&mut self, client: Id) {
        let due = match self.table.clients.get_mut(client) {
            Some(txn) if txn.machine.is_open() => txn.cancel.want(),
            _ => false,
        };
        if due {
            self.send_cancel(client);
        }
    }

    /// Why the caller wants a branch gone, from his CANCEL: the CANCEL that we send says the same (RFC 3326 §2, RFC 3261 §16.10).
    pub(super) fn note_reason(&mut self, client: Id, cancel: &Message<'_>) {
        let Some(txn) = self.table.clients.get_mut(client).filter(|t| t.reason.is_empty()) else {
            return;
        };
        for value in cancel.lines_of(Header::Reason) {
            if txn.reason.len() + value.len() <= REASON_BYTES {
                for part in [b"Reason: ", value, b"\r\n"] {
                    txn.reason.extend_from_slice(part);
                }
            }
        }
    }

    /// Gives a branch up: nothing more is sent for it but the CANCEL that a late 1xx asks for, and the ACK and BYE that a late 2xx asks for.
    pub(super) fn abandon(&mut self, client: Id) {
        if let Some(txn) = self.table.clients.get_mut(client)
            && let ClientMachine::Invite(m) = &mut txn.machine
        {
            m.hush();
        }
        self.want_cancel(client);
    }

    /// Sends the CANCEL of an INVITE branch, by a client transaction of its own with the same branch (RFC 3261 §9.1).
    pub(super) fn send_cancel(&mut self, client: Id) {
        let grace = self.config.timers.t1_64();
        let Some(txn) = self.table.clients.get_mut(client) else {
            return;
        };
        // If no final comes within 64·T1, the branch counts as over.
        txn.timer_c = Some(TimerC::start(grace, self.now.mono));
        let (flow, nonce) = (txn.flow, txn.nonce);
        let request = std::mem::take(&mut txn.request);
        let reason = std::mem::take(&mut txn.reason);
        let mut buf = self.take_buf();
        let made = derived(&request, Method::Cancel, None, &reason, &mut buf);
        if let Some(txn) = self.table.clients.get_mut(client) {
            txn.request = request;
        }
        self.arm_client(client);
        let Some(place) = self.shared.place(self.room(false)).filter(|_| made) else {
            self.give_buf(buf);
            return;
        };
        let (machine, _) =
            ClientOther::start(flow.transport.is_reliable(), &self.config.timers, self.now.mono);
        let request = self.copy_buf(&buf);
        let id = self.table.insert_client(ClientTxn {
            _place: place,
            nonce,
            machine: ClientMachine::Other(machine),
            method: Method::Cancel,
            flow,
            request,
            owner: Owner::Ours,
            cancel: CancelState::default(),
            reason: Vec::new(),
            cancelled_by: None,
            timer_c: None,
            offered: false,
            vendor: None,
            tries: 0,
            realm: None,
            reaped: Vec::new(),
            nth: 0,
            armed: NEVER,
        });
        // The CANCEL must carry the INVITE's branch: its own transaction is found through the INVITE's.
        if let Some(txn) = self.table.clients.get_mut(client) {
            txn.cancelled_by = Some(id);
        }
        self.transmit(flow, buf);
        self.arm_client(id);
    }

    /// Sends the ACK for a 300–699 of a branch. `response` supplies the To header.
    pub(super) fn send_ack(&mut self, client: Id, response: &Message<'_>) {
        let Some(txn) = self.table.clients.get_mut(client) else {
            return;
        };
        let flow = txn.flow;
        let request = std::mem::take(&mut txn.request);
        let mut buf = self.take_buf();
        let made = derived(&request, Method::Ack, response.header(Header::To), b"", &mut buf);
        if let Some(txn) = self.table.clients.get_mut(client) {
            txn.request = request;
        }
        if made {
            self.transmit(flow, buf);
        } else {
            self.give_buf(buf);
        }
    }
}

/// CANCEL or ACK made of the INVITE that we sent: same Request-URI, top Via, From, Call-ID, CSeq number and Route; To as given,
/// and `extra`: whole header lines.
fn derived(request: &[u8], method: Method, to: Option<&[u8]>, extra: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(msg) = Message::parse(request) else {
        return false;
    };
    let mut line = |parts: &[&[u8]]| {
        parts.iter().for_each(|p| out.extend_from_slice(p));
        out.extend_from_slice(b"\r\n");
    };
    let token = method.token().as_bytes();
    line(&[token, b" ", msg.request_uri().unwrap_or(b""), b" SIP/2.0"]);
    line(&[b"Via: ", msg.top_via().raw]);
    line(&[b"Max-Forwards: 70"]);
    for r in msg.lines_of(Header::Route) {
        line(&[b"Route: ", r]);
    }
    line(&[b"From: ", msg.header(Header::From).unwrap_or(b"")]);
    line(&[b"To: ", to.or(msg.header(Header::To)).unwrap_or(b"")]);
    line(&[b"Call-ID: ", msg.call_id()]);
    line(&[b"CSeq: ", msg.cseq().0.to_string().as_bytes(), b" ", token]);
    out.extend_from_slice(extra);
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    true
}

/// Of the Reason lines of a CANCEL that are passed on.
const REASON_BYTES: usize = 1_024;

fn branch_of(id: u64, nonce: u64, loop_hash: u32) -> [u8; BRANCH] {
    let mut out = [0; BRANCH];
    out[..8].copy_from_slice(MARK);
    hex(u128::from(id), &mut out[8..24]);
    hex(u128::from(nonce), &mut out[24..40]);
    hex(u128::from(loop_hash), &mut out[40..]);
    out
}

/// Slab id and nonce of a branch of ours.
pub(super) fn parse_branch(branch: &[u8]) -> Option<(Id, u64)> {
    if branch.len() != BRANCH || !branch.starts_with(MARK) {
        return None;
    }
    Some((Id::from_u64(unhex(&branch[8..24])?), unhex(&branch[24..40])?))
}

/// Loop hash of a branch of our making.
pub(super) fn loop_hash_of(branch: &[u8]) -> Option<u32> {
    if branch.len() != BRANCH || !branch.starts_with(MARK) {
        return None;
    }
    unhex(&branch[40..]).map(|n| n as u32)
}

/// Room for a Record-Route value of ours.
const ROUTE: usize = 192;

/// A Record-Route value of ours, without allocation: `<sip:192.0.2.1:5060;transport=tcp;lr;w=0123456789abcdef>`.
struct RouteText {
    text: [u8; ROUTE],
    len: usize,
}

impl RouteText {
    fn new() -> RouteText {
        RouteText { text: [0; ROUTE], len: 0 }
    }

    fn set(&mut self, sent_by: &[u8], transport: Transport, cookie: u64, pin: &[u8]) {
        let mut digits = [0; 16];
        hex(u128::from(cookie), &mut digits);
        let mut rest = &mut self.text[..];
        for part in [
            &b"<sip:"[..],
            sent_by,
            if transport == Transport::Udp { b"" } else { b";transport=" },
            if transport == Transport::Udp { b"" } else { transport.param().as_bytes() },
            b";lr;w=",
            &digits,
            if pin.is_empty() { b"" } else { b";f=" },
            pin,
            b">",
        ] {
            // A sent-by is at most 47 bytes, a pin 76, the rest 49: it fits.
            let _ = rest.write_all(part);
        }
        self.len = ROUTE - rest.len();
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}
