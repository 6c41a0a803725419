//! Requests as they come in (RFC 3261 §16.3, §17.2): strangers' buckets, repetitions, ACK and CANCEL, the checks that a proxy owes,
//! and then either static forwarding or the policy of a call.

use std::net::IpAddr;

use warp_model::Now;
use warp_policy::number_plan::{DialRules, Dialled};
use warp_sip::flow::Flow;
use warp_sip::header::{Header, Via};
use warp_sip::message::{Message, Method, check_proxy};
use warp_sip::transaction::{Action, NEVER, ServerInput, ServerInvite, ServerOther};
use warp_sip::uri::Uri;

use super::auth::Ingress;
use super::reject::TAG;
use super::route::{self, Plan};
use super::slab::Id;
use super::table::{Owner, ServerMachine, ServerTxn, server_key};
use super::types::Mode;
use super::{Core, forward, overload, reject};

impl Core {
    /// Whether a source has no account here and has not signed in lately.
    pub(super) fn is_stranger(&self, ip: IpAddr, now: Now) -> bool {
        let signed_in = || self.config.mode == Mode::Policy && self.shared.learnt.knows(ip, now.mono);
        !self.is_known(ip) && !signed_in()
    }

    pub(super) fn on_request(
        &mut self,
        flow: Flow,
        msg: &Message<'_>,
        bytes: &[u8],
        stranger: bool,
        now: Now,
    ) {
        if msg.method() == Method::Ack {
            self.on_ack(flow, msg, stranger, now);
            return;
        }
        let silent =
            || self.is_silenced(flow.remote.ip(), now) || (self.config.drop_scanners && is_scanner(msg));
        if stranger && silent() {
            self.stats.scanner_dropped += 1;
            return;
        }
        let key = server_key(&self.shared.keyed, msg, msg.method_text());
        if let Some(id) = self.table.find(key) {
            self.on_repetition(id, now);
            return;
        }
        if self.shed > 0 && self.is_shed(msg, flow.remote.ip()) {
            self.stats.shed += 1;
            // Short and not the same for all: who waits that long shall not come back together.
            let seconds = [b'1' + (self.shed_draw(msg) % 4) as u8];
            self.refuse(&flow, msg, 503, "Overload", &[("Retry-After", &seconds)], stranger);
            return;
        }
        if let Err(r) = self.check_for(&flow, msg, stranger).and_then(|()| check_proxy(msg, SUPPORTED)) {
            // OPTIONS to us needs no further hop (RFC 3261 §11); one to somebody else is 483 like the rest (RFC 4475 §3.3.11).
            if r.status == 483 && Plan::of(&self.config, &flow, msg).is_some_and(|p| self.is_ping(msg, &p)) {
                self.answer_options(&flow, msg, stranger);
                return;
            }
            self.stats.max_forwards += u64::from(r.status == 483);
            let unsupported = r.unsupported.map(|u| [("Unsupported", u)]);
            let headers = unsupported.as_ref().map_or(&[][..], |u| &u[..]);
            self.refuse(&flow, msg, r.status, r.reason, headers, stranger);
            return;
        }
        if msg.method() == Method::Cancel {
            self.on_cancel(flow, msg, key, stranger, now);
            return;
        }
        let Some(plan) = Plan::of(&self.config, &flow, msg) else {
            self.refuse(&flow, msg, 400, "", &[], stranger);
            return;
        };
        if self.is_ping(msg, &plan) {
            self.answer_options(&flow, msg, stranger);
            return;
        }
        if self.is_loop(msg, &plan) {
            self.stats.loops += 1;
            self.refuse(&flow, msg, 482, "", &[], stranger);
            return;
        }
        if self.config.mode == Mode::Policy {
            self.policy_request(flow, msg, bytes, &plan, key, stranger, now);
            return;
        }
        self.static_request(flow, msg, bytes, &plan, key, stranger, now);
    }

    /// OPTIONS that is ours to answer: outside of a dialog, addressed to us. Without policy a user part names somebody behind the next hop;
    /// with it nobody is there but us, whatever name a peer pings (JsSIP#445, sipml5#182).
    fn is_ping(&self, msg: &Message<'_>, plan: &Plan<'_>) -> bool {
        msg.method() == Method::Options
            && msg.to_tag().is_none()
            && plan.names_us
            && (plan.uri.user.is_none() || self.config.mode == Mode::Policy)
    }

    /// Whether overload control refuses a request (F-LOAD-01): a first INVITE whose hash falls below the level. What belongs to a call that was
    /// admitted never is, nor OPTIONS, nor an emergency call.
    fn is_shed(&self, msg: &Message<'_>, source: IpAddr) -> bool {
        msg.method() == Method::Invite
            && msg.to_tag().is_none()
            && self.shed_draw(msg) % u64::from(overload::FULL) < u64::from(self.shed)
            && !self.is_emergency(msg, source)
    }

    /// The same for all requests of a call, so that one which was challenged is not refused at its second try.
    fn shed_draw(&self, msg: &Message<'_>) -> u64 {
        self.shared.keyed.hash64(&[b"shed", msg.call_id()])
    }

    /// Whether the Request-URI is an emergency number of the plan (dialled as the trunk of this address may), or the emergency URN (RFC 5031).
    pub(super) fn is_emergency(&self, msg: &Message<'_>, source: IpAddr) -> bool {
        let uri = msg.request_uri().unwrap_or(b"");
        (|| {
            let uri = Uri::parse(uri).ok()?;
            if uri.is_emergency_service() {
                return Some(true);
            }
            let snapshot = self.snapshot.as_ref()?;
            let directory = &snapshot.directory;
            let usual = DialRules::default();
            let trunk = directory.trunk_by_ip(source).and_then(|ix| directory.trunk(ix));
            let rules = trunk.map_or(&usual, |t| &t.dial);
            let dialled = snapshot.number_plan.dialled(uri.user_unescaped(&mut [0; 256])?, rules).ok()?;
            Some(matches!(dialled, Dialled::Emergency(_)))
        })()
        .unwrap_or(false)
    }

    /// Launch profile `proxy`: to `next` when it is addressed to us, else by Request-URI and Route.
    #[allow(clippy::too_many_arguments)] // one call site; a struct of them would say less
    fn static_request(
        &mut self,
        flow: Flow,
        msg: &Message<'_>,
        bytes: &[u8],
        plan: &Plan<'_>,
        key: u128,
        stranger: bool,
        now: Now,
    ) {
        let Mode::Static { next, .. } = self.config.mode else {
            return;
        };
        // T-SIP-05: from strangers only what is for us, or belongs to a dialog that we record-routed.
        if stranger && !plan.names_us && !self.is_our_cookie(plan.cookie, msg.call_id()) {
            self.stats.acl += 1;
            self.refuse(&flow, msg, 403, "", &[], true);
            return;
        }
        let target = if plan.names_us { Some((flow.transport, next)) } else { route::resolve(&plan.next()) };
        let Some((transport, remote)) = target else {
            self.refuse(&flow, msg, 404, "", &[], stranger);
            return;
        };
        let incoming = route::listener_of(&self.ours, &flow);
        let Some((out_by, out_flow)) = route::way_out(&self.ours, incoming, &flow, transport, remote) else {
            self.refuse(&flow, msg, 500, "No transport to next hop", &[], stranger);
            return;
        };
        if route::is_refused(&self.config, &out_flow) {
            self.stats.refused_destination += 1;
            self.refuse(&flow, msg, 403, "", &[], stranger);
            return;
        }
        let initial = msg.to_tag().is_none();
        if initial && msg.method() == Method::Invite && self.shared.is_draining() {
            self.refuse(&flow, msg, 503, "", &[("Retry-After", b"5")], stranger);
            return;
        }
        let Some(server) = self.begin_server(flow, msg, bytes, key, stranger) else {
            self.on_table_full(&flow, msg, stranger);
            return;
        };
        if msg.method() == Method::Invite {
            self.trying(server, &flow, msg, now);
        }
        let copy = forward::Copy {
            plan,
            incoming,
            out_by,
            came: flow,
            record_route: initial && makes_dialog(msg.method()),
            untrusted: stranger,
            ..forward::Copy::new(plan, flow)
        };
        if self.forward_request(msg, &copy, out_flow, Owner::Server(server), now).is_none() {
            self.answer(server, 503, "", &[("Retry-After", b"5")], now);
        }
    }

    /// Makes the server transaction of a request; `None` when there is no room.
    pub(super) fn begin_server(
        &mut self,
        flow: Flow,
        msg: &Message<'_>,
        bytes: &[u8],
        key: u128,
        stranger: bool,
    ) -> Option<Id> {
        if stranger && self.table.of_stranger(flow.remote.ip()) >= self.config.transactions_per_stranger {
            return None;
        }
        if !self.shared.take_transaction(self.config.transactions) {
            return None;
        }
        let reliable = flow.transport.is_reliable();
        let machine = if msg.method() == Method::Invite {
            ServerMachine::Invite(ServerInvite::start(reliable))
        } else {
            ServerMachine::Other(ServerOther::start(reliable))
        };
        let request = self.copy_buf(bytes);
        Some(self.table.insert(ServerTxn {
            key,
            machine,
            method: msg.method(),
            flow: route::reply_flow(msg, &flow),
            source: flow.remote,
            request,
            response: Vec::new(),
            client: None,
            call: None,
            stranger,
            armed: NEVER,
        }))
    }

    /// No room: 503 to INVITE, silence to others (model::limits).
    pub(super) fn on_table_full(&mut self, flow: &Flow, msg: &Message<'_>, stranger: bool) {
        self.stats.table_full += 1;
        if msg.method() == Method::Invite {
            self.refuse(flow, msg, 503, "", &[("Retry-After", b"10")], stranger);
        }
    }

    fn on_repetition(&mut self, id: Id, now: Now) {
        self.stats.repeated_requests_in += 1;
        let Some(txn) = self.table.servers.get_mut(id) else {
            return;
        };
        let actions = txn.machine.on_input(ServerInput::Request, &self.config.timers, now.mono);
        if actions.contains(Action::Resend) && !txn.response.is_empty() {
            let (flow, response) = (txn.flow, std::mem::take(&mut txn.response));
            let copy = self.copy_buf(&response);
            if let Some(txn) = self.table.servers.get_mut(id) {
                txn.response = response;
            }
            self.stats.repeated_responses_out += 1;
            self.transmit(flow, copy);
        }
    }

    /// ACK: for a 300–699 of ours it ends here; for a 2xx it goes on to the callee, without a transaction (RFC 3261 §16.10, §17.1.1.3).
    fn on_ack(&mut self, flow: Flow, msg: &Message<'_>, stranger: bool, now: Now) {
        let key = server_key(&self.shared.keyed, msg, b"INVITE");
        if let Some(id) = self.table.find(key)
            && let Some(txn) = self.table.servers.get_mut(id)
        {
            if txn.source.ip() != flow.remote.ip() {
                self.stats.spoofed += 1;
                return;
            }
            let actions = txn.machine.on_input(ServerInput::Ack, &self.config.timers, now.mono);
            if !actions.contains(Action::PassUp) {
                self.after_server(id, actions);
                return;
            }
        }
        // For a final that we gave without a transaction (a challenge, a refusal), or of one that is over: it ends here, too (RFC 3261 §8.2.7).
        // Our tag says so, which nobody else can make.
        if msg.to_tag().is_some_and(|t| t.len() == TAG && t == self.tag_for(msg)) {
            return;
        }
        // End to end from here on. It must belong to a dialog, pass the checks that cost no answer, and lead somewhere.
        let sound = self.check_for(&flow, msg, stranger).and_then(|()| check_proxy(msg, SUPPORTED));
        if msg.to_tag().is_none() || sound.is_err() {
            self.stats.stray += 1;
            return;
        }
        if self.config.mode == Mode::Policy {
            self.call_ack(flow, msg, now);
            return;
        }
        let Some(plan) = Plan::of(&self.config, &flow, msg) else {
            return;
        };
        if stranger && !self.is_our_cookie(plan.cookie, msg.call_id()) {
            self.stats.stray += 1;
            return;
        }
        self.static_ack(flow, msg, &plan);
    }

    fn static_ack(&mut self, flow: Flow, msg: &Message<'_>, plan: &Plan<'_>) {
        let Mode::Static { next, .. } = self.config.mode else {
            return;
        };
        let target = if plan.names_us { Some((flow.transport, next)) } else { route::resolve(&plan.next()) };
        let Some((transport, remote)) = target else {
            self.stats.stray += 1;
            return;
        };
        self.forward_ack(flow, msg, plan, transport, remote);
    }

    /// CANCEL (RFC 3261 §9.2, §16.10): answered here, and the branch of its INVITE is cancelled when it may be.
    fn on_cancel(&mut self, flow: Flow, msg: &Message<'_>, key: u128, stranger: bool, now: Now) {
        let invite = self.table.find(server_key(&self.shared.keyed, msg, b"INVITE"));
        let matched = invite.and_then(|id| self.table.servers.get(id).map(|t| (id, t)));
        // T-SIP-11: branch and source must match.
        let Some((invite, open)) = matched
            .filter(|(_, t)| t.source.ip() == flow.remote.ip())
            .map(|(id, t)| (id, t.machine.is_open()))
        else {
            self.stats.spoofed += u64::from(invite.is_some());
            self.refuse(&flow, msg, 481, "", &[], stranger);
            return;
        };
        let Some(server) = self.begin_server(flow, msg, msg.bytes(), key, stranger) else {
            self.on_table_full(&flow, msg, stranger);
            return;
        };
        self.answer(server, 200, "", &[], now);
        let Some(txn) = self.table.servers.get(invite).filter(|_| open) else {
            return;
        };
        match (txn.call, txn.client) {
            (Some(call), _) => self.call_cancelled(call, now),
            (None, Some(client)) => self.want_cancel(client, now),
            (None, None) => {}
        }
    }

    /// Policy mode: in-dialog requests to their call, first INVITEs to a new one.
    #[allow(clippy::too_many_arguments)] // one call site
    fn policy_request(
        &mut self,
        flow: Flow,
        msg: &Message<'_>,
        bytes: &[u8],
        plan: &Plan<'_>,
        key: u128,
        stranger: bool,
        now: Now,
    ) {
        if msg.to_tag().is_some() {
            self.in_dialog(flow, msg, bytes, key, stranger, now);
        } else if msg.method() == Method::Invite && plan.names_us {
            if let Ingress::Trunk(trunk, user) = self.authenticate(&flow, msg, stranger, now) {
                self.begin_call(flow, msg, bytes, plan, trunk, user.as_deref(), key, now);
            }
        } else {
            self.out_of_dialog(flow, msg, plan, stranger);
        }
    }

    /// Whether a source is a known peer: never limited by the buckets of strangers.
    pub(super) fn is_known(&self, ip: IpAddr) -> bool {
        match &self.config.mode {
            Mode::Static { next, trusted } => next.ip() == ip || trusted.iter().any(|c| c.contains(ip)),
            Mode::Policy => self
                .snapshot
                .as_ref()
                .is_some_and(|s| s.directory.trunk_by_ip(ip).is_some() || s.directory.is_vendor_ip(ip)),
        }
    }

    /// Whether a Record-Route cookie is ours for this Call-ID.
    pub(super) fn is_our_cookie(&self, cookie: Option<&[u8]>, call_id: &[u8]) -> bool {
        cookie.is_some_and(|c| c.len() == 16 && reject::unhex(c) == Some(self.cookie(call_id)))
    }

    /// Whether a Record-Route value is one that we wrote for this Call-ID, at whatever address we are known.
    pub(super) fn is_our_route(&self, raw: &[u8], call_id: &[u8]) -> bool {
        Uri::parse(warp_sip::dialog::uri_of(raw))
            .is_ok_and(|u| self.is_our_cookie(u.params.value(b"w"), call_id))
    }

    /// In our Record-Route: shows later that the dialog came through us.
    pub(super) fn cookie(&self, call_id: &[u8]) -> u64 {
        self.shared.keyed.hash64(&[b"route", call_id])
    }

    /// RFC 5393 §4.2: one of the Vias is ours and was made for the same routing decision.
    fn is_loop(&self, msg: &Message<'_>, plan: &Plan<'_>) -> bool {
        // The top Via has been read already, and nearly every request has only that one.
        let top = msg.top_via().branch.and_then(forward::loop_hash_of);
        let below = msg.values(Header::Via).skip(1).map_while(|v| Via::parse(v).ok());
        let below = below.filter_map(|v| v.branch).filter_map(forward::loop_hash_of);
        let mut ours = top.into_iter().chain(below).peekable();
        ours.peek().is_some() && {
            let hash = self.loop_hash(msg, plan);
            ours.any(|h| h == hash)
        }
    }

    /// Hash of all that decides where a request goes (RFC 5393 §4.2.1).
    pub(super) fn loop_hash(&self, msg: &Message<'_>, plan: &Plan<'_>) -> u32 {
        self.shared.keyed.hash64(&[
            b"loop",
            plan.uri.raw,
            plan.route.map_or(&b""[..], |r| r.raw),
            msg.call_id(),
            msg.from_tag().unwrap_or(b""),
            msg.to_tag().unwrap_or(b""),
            &msg.cseq().0.to_be_bytes(),
            msg.header(Header::ProxyAuthorization).unwrap_or(b""),
        ]) as u32
    }
}

/// Requests that begin a dialog: they get our Record-Route (RFC 3261 §16.6 step 4).
pub(super) fn makes_dialog(method: Method) -> bool {
    matches!(method, Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)
}

/// T-SIP-13.
fn is_scanner(msg: &Message<'_>) -> bool {
    let agent = msg.header(Header::UserAgent).unwrap_or(b"");
    SCANNERS.iter().any(|s| agent.windows(s.len()).any(|w| w.eq_ignore_ascii_case(s)))
}

const SCANNERS: [&[u8]; 7] =
    [b"friendly-scanner", b"sipvicious", b"sipcli", b"sundayddr", b"vaxsipuseragent", b"pplsip", b"sip-scan"];

/// Option tags that we know when a Proxy-Require names them.
pub(super) const SUPPORTED: &[&[u8]] = &[];
