//! What is asked of a request before it costs anything: who it comes from, whether there is room, whether it is a repetition, a call for
//! help, a loop, or of a dialog that we record-routed.

use std::net::IpAddr;

use warp_model::Lent;
use warp_policy::TrunkIx;
use warp_policy::number_plan::Dialled;
use warp_sip::digest::Credentials;
use warp_sip::flow::Flow;
use warp_sip::header::{Header, Via};
use warp_sip::message::{Message, Method};
use warp_sip::transaction::{Action, NEVER, ServerInput, ServerInvite, ServerOther};
use warp_sip::uri::Uri;

use super::route::{self, Plan};
use super::shared::Place;
use super::slab::Id;
use super::table::{ServerMachine, ServerTxn};
use super::transactions::Transactions;
use super::types::Mode;
use super::{forward, reject};

impl Transactions {
    /// Whether a source has no account here and has not signed in lately.
    pub(super) fn is_stranger(&self, ip: IpAddr) -> bool {
        let signed_in = || self.config.mode == Mode::Policy && self.shared.learnt.knows(ip, self.now.mono);
        !self.is_known(ip) && !signed_in()
    }

    /// The trunk with this address; `None`: of a user who has not signed in yet, or of nobody.
    pub(super) fn trunk_of(&self, source: IpAddr) -> Option<TrunkIx> {
        self.snapshot.as_ref()?.directory.trunk_by_ip(source)
    }

    /// Whether the Request-URI is an emergency number of the plan (dialled as that trunk may; without a trunk: or as any might), or the
    /// emergency URN (RFC 5031).
    pub(super) fn is_emergency(&self, msg: &Message<'_>, trunk: Option<TrunkIx>) -> bool {
        let uri = msg.request_uri().unwrap_or(b"");
        (|| {
            let uri = Uri::parse(uri).ok()?;
            if uri.is_emergency_service() {
                return Some(true);
            }
            let snapshot = self.snapshot.as_ref()?;
            let (mut digits, plan) = ([0; 256], &snapshot.number_plan);
            let user = uri.user_unescaped(&mut digits)?;
            Some(match trunk.and_then(|ix| snapshot.directory.trunk(ix)) {
                Some(trunk) => matches!(plan.dialled(user, &trunk.dial), Ok(Dialled::Emergency(_))),
                None => plan.may_be_emergency(user),
            })
        })()
        .unwrap_or(false)
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
        let place = self.shared.place(self.room(false))?;
        Some(self.keep_server(flow, msg, bytes, key, stranger, place))
    }

    /// The same for the INVITE of an emergency call, which has room of its own in a full table.
    pub(super) fn begin_emergency(
        &mut self,
        flow: Flow,
        msg: &Message<'_>,
        bytes: &[u8],
        key: u128,
    ) -> Option<Id> {
        let place = self.shared.place(self.room(true))?;
        Some(self.keep_server(flow, msg, bytes, key, false, place))
    }

    /// Transactions that there may be.
    pub(super) fn room(&self, emergency: bool) -> usize {
        self.config.transactions.saturating_add(if emergency { EMERGENCY_ROOM } else { 0 })
    }

    fn keep_server(
        &mut self,
        flow: Flow,
        msg: &Message<'_>,
        bytes: &[u8],
        key: u128,
        stranger: bool,
        place: Lent<Place>,
    ) -> Id {
        let reliable = flow.transport.is_reliable();
        let machine = if msg.method() == Method::Invite {
            ServerMachine::Invite(ServerInvite::start(reliable))
        } else {
            ServerMachine::Other(ServerOther::start(reliable))
        };
        let request = self.copy_buf(bytes);
        let id = self.table.insert(ServerTxn {
            _place: place,
            key,
            machine,
            method: msg.method(),
            flow: route::reply_flow(msg, &flow),
            source: flow.remote,
            cseq: msg.cseq().0,
            request,
            response: Vec::new(),
            client: None,
            call: None,
            stranger,
            nth: 0,
            armed: NEVER,
        });
        self.begun = Some(id);
        id
    }

    /// No room: 503 to INVITE, silence to others (model::limits).
    pub(super) fn on_table_full(&mut self, flow: &Flow, msg: &Message<'_>, stranger: bool) {
        self.stats.table_full += 1;
        if msg.method() == Method::Invite {
            self.refuse(flow, msg, 503, "", &[("Retry-After", b"10")], stranger);
        }
    }

    pub(super) fn on_repetition(&mut self, id: Id) {
        self.stats.repeated_requests_in += 1;
        let Some(txn) = self.table.servers.get_mut(id) else {
            return;
        };
        let actions = txn.machine.on_input(ServerInput::Request, &self.config.timers, self.now.mono);
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

    /// Whether a source is a known peer: never limited by the buckets of strangers.
    pub(super) fn is_known(&self, ip: IpAddr) -> bool {
        self.config.is_known(self.snapshot.as_deref(), ip)
    }

    /// Whether a Record-Route cookie is ours for this Call-ID.
    pub(super) fn is_our_cookie(&self, cookie: Option<&[u8]>, call_id: &[u8]) -> bool {
        cookie.is_some_and(|c| c.len() == 16 && reject::unhex(c) == Some(self.cookie(call_id, 0)))
    }

    /// Whether a Record-Route value is one that we wrote for this Call-ID (and, of a call of ours, for the call with this salt), at whatever
    /// address we are known. A spiral has entries of several of our calls: each splits the list at its own.
    pub(super) fn is_our_route(&self, raw: &[u8], call_id: &[u8], salt: u64) -> bool {
        let cookie = cookie_of(raw);
        cookie.is_some_and(|c| c == self.cookie(call_id, salt))
    }

    /// In our Record-Route: shows later that the dialog came through us.
    pub(super) fn cookie(&self, call_id: &[u8], salt: u64) -> u64 {
        self.shared.keyed.hash64(&[b"route", call_id, &salt.to_be_bytes()])
    }

    /// RFC 5393 §4.2: one of the Vias is ours and was made for the same routing decision.
    pub(super) fn is_loop(&self, msg: &Message<'_>, plan: &Plan<'_>) -> bool {
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

    /// Hash of all that decides where a request goes (RFC 5393 §4.2.1). Its CSeq does not: all Vias of a request tell of its own way, and a
    /// number that we raised for a vendor's challenge would hide the loop. Nor do credentials for another realm than ours.
    pub(super) fn loop_hash(&self, msg: &Message<'_>, plan: &Plan<'_>) -> u32 {
        self.shared.keyed.hash64(&[
            b"loop",
            plan.uri.raw,
            plan.route.map_or(&b""[..], |r| r.raw),
            msg.call_id(),
            msg.from_tag().unwrap_or(b""),
            msg.to_tag().unwrap_or(b""),
            self.credentials_of(msg),
        ]) as u32
    }

    /// The line of Proxy-Authorization that we look at; whatever it says where nobody signs in here.
    fn credentials_of<'m>(&self, msg: &Message<'m>) -> &'m [u8] {
        let realm = self.config.realm.name.as_bytes();
        let ours = |line: &&[u8]| {
            self.config.mode != Mode::Policy || Credentials::parse(line).is_ok_and(|c| c.realm == realm)
        };
        msg.lines_of(Header::ProxyAuthorization).find(ours).unwrap_or(b"")
    }

    /// Whether a stranger's source is silenced for its failures (T-SIP-08).
    pub(super) fn is_silenced(&self, ip: IpAddr) -> bool {
        self.shared.failures.is_silenced(&ip, self.now.mono)
    }

    /// Key of a call: Call-ID and the caller's tag, which every message of its dialogs carries on one side or the other.
    pub(super) fn call_key(&self, call_id: &[u8], caller_tag: &[u8]) -> u128 {
        self.keyed.hash128(&[b"call", call_id, caller_tag])
    }
}

/// Transactions of emergency calls beyond [`super::CoreConfig::transactions`].
const EMERGENCY_ROOM: usize = 4_096;

/// The cookie in a Record-Route value.
pub(super) fn cookie_of(raw: &[u8]) -> Option<u64> {
    let uri = Uri::parse(warp_sip::dialog::uri_of(raw)).ok()?;
    uri.params.value(b"w").filter(|c| c.len() == 16).and_then(reject::unhex)
}
