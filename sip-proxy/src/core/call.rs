//! One call of the policy mode, from its INVITE to its record: what is known of it, and its beginning.
//!
//! A call is lent out of the slab while something happens to it ([`Core::with_call`]), so that the core's other parts can be used at
//! the same time. Its messages are handled in order: while the relay is asked, further ones wait in `held`.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use warp_model::cdr::{CallRecord, Outcome, ReleaseSide};
use warp_model::json::JsonText;
use warp_model::{CallId, Lent, Mono, VendorTrunkId};
use warp_policy::credit::Waiting;
use warp_policy::screen::{Bound, Reservation, VendorReservation};
use warp_policy::{
    CallInput, Decision, Directory, InboundDecision, Live, Refusal, Snapshot, TrunkIx, VendorTrunk,
};
use warp_sip::dialog::{Dialog, Party, Side};
use warp_sip::flow::{Flow, LinkId};
use warp_sip::header::Header;
use warp_sip::message::{Message, Method, Outline};
use warp_sip::proxy::ResponseContext;
use warp_sip::transaction::NEVER;

use super::calls::{Calls, LOOK};
use super::cdr;
use super::exchange::Exchange;
use super::health::{AddressHealth, TrunkHealth, Vendors};
use super::inbound::Twin;
use super::locate::Finding;
use super::media::Pending;
use super::route::{self, Plan};
use super::session_timers;
use super::slab::Id;
pub(crate) use super::target::{Origin, Target};
use super::timers::Key;
use super::transactions::Transactions;
use super::uac::Uac;

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Vendors are being tried.
    Setup,
    /// A vendor rings.
    Ringing,
    /// A 2xx went to the caller.
    Answered,
    /// Over; kept until late messages have died out.
    Over,
}

/// One attempt to reach the called side.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) target: Target,
    /// Which of the target's addresses.
    pub(crate) address: u16,
    pub(crate) flow: Flow,
    /// Its INVITE transaction, once it is out.
    pub(crate) client: Option<Id>,
    /// Names its media dialogue at the relay.
    pub(crate) via_branch: Vec<u8>,
    /// The relay knows it.
    pub(crate) offered: bool,
    /// Our numbers and credentials towards the vendor.
    pub(crate) uac: Uac,
    /// No 1xx by then: the next vendor (F-NET-02). NEVER once one came.
    pub(crate) first_1xx_at: Mono,
    /// No 18x by then: the next vendor. NEVER once one came.
    pub(crate) progress_by: Mono,
    pub(crate) started: Mono,
    pub(crate) open: bool,
    pub(crate) reservation: Option<Lent<VendorReservation>>,
    /// Its own question to the relay: the offer for its INVITE, or the SDP of an 18x or 2xx.
    pub(crate) ask: Option<Pending>,
}

/// A callee of the branch at hand besides the one that speaks: early dialogs of forks behind the vendor (RFC 3261 §12.1).
#[derive(Debug, Default)]
pub(crate) struct Peer {
    party: Party,
    flow: Option<Flow>,
    exchange: Exchange,
}

/// A message that waits for the relay.
#[derive(Debug)]
pub(crate) enum Held {
    /// A response of a branch, already accepted by its transaction.
    Branch { branch: u16, flow: Flow, bytes: Vec<u8> },
    /// A response to an in-dialog request.
    InDialog { server: Id, offered: bool, flow: Flow, bytes: Vec<u8> },
    /// A request, not looked at yet.
    Request { flow: Flow, bytes: Vec<u8> },
}

/// A call from its INVITE to its record, made of branches.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: Id,
    pub(crate) key: u128,
    /// A further call with the same Call-ID and From tag, begun before this one: forks below a PBX, spirals.
    pub(crate) elder: Option<Id>,
    /// Of the Request-URI of its INVITE.
    pub(crate) uri_hash: u64,
    /// What we call it towards the relay: nobody else can name it so.
    pub(crate) media_id: Vec<u8>,
    /// The public id, as the key of an index.
    pub(crate) cdr_key: u128,
    /// The same of the called customer's side, when both are customers of ours; 0: there is none.
    pub(crate) twin_key: u128,
    /// The callee's 2xx was acknowledged.
    pub(crate) acked: bool,
    /// Vendor trunks that were tried.
    pub(crate) vendors: u16,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) origin: Origin,
    pub(crate) decision: Option<Decision>,
    /// Of a call to one of our numbers, instead of `decision`.
    pub(crate) inbound: Option<Box<InboundDecision>>,
    /// The called customer's side, when both are customers of ours: then there are both decisions.
    pub(crate) twin: Option<Box<Twin>>,
    pub(crate) record: Option<Box<CallRecord>>,
    /// Server transaction of the first INVITE, and its bytes.
    pub(crate) server: Id,
    pub(crate) invite: Vec<u8>,
    /// Where everything stands in them, and where their SDP: they need not be read again.
    pub(crate) outline: Option<Box<Outline>>,
    pub(crate) offer: Option<Range<usize>>,
    pub(crate) invite_cseq: u32,
    pub(crate) flow: Flow,
    /// When the INVITE came: all times of the record are its wall time and what has passed since (F-TIME-01).
    pub(crate) began: Mono,
    pub(crate) phase: Phase,
    pub(crate) branches: Vec<Branch>,
    /// What DNS has said of the names of its targets.
    pub(crate) findings: Vec<Finding>,
    /// Candidates used up.
    pub(crate) tried: usize,
    /// What those that failed have said (RFC 3261 §16.7 step 6).
    pub(crate) finals: ResponseContext,
    pub(crate) cancelled: bool,
    /// The customer's channel, token and first minute; settled or given back at the end.
    pub(crate) reservation: Option<Lent<Reservation>>,
    /// Counters, and health of vendor trunks, in the order of the snapshot's directory.
    pub(crate) bound: Arc<Bound>,
    pub(crate) health: Arc<Vendors>,
    pub(crate) dialog: Dialog,
    pub(crate) callee_flow: Option<Flow>,
    /// Offer and answer with that callee.
    pub(crate) exchange: Exchange,
    pub(crate) peers: Vec<Peer>,
    /// The INVITE carried no SDP: the offer is in the 2xx, the answer in the ACK.
    pub(crate) late_offer: bool,
    /// The relay holds media of this call.
    pub(crate) media_open: bool,
    pub(crate) answered: Option<Mono>,
    /// Longest duration; then how long the entry lingers.
    pub(crate) ends_at: Mono,
    /// When an answered call ends that its caller has not confirmed (`confirm`).
    pub(crate) confirm_by: Mono,
    /// When an answered call ends that nobody has refreshed (`session_timers`).
    pub(crate) refresh_by: Mono,
    /// When the next minute of an answered call must be paid for (`Reservation::hold`).
    pub(crate) hold_at: Mono,
    /// When an answered call that is paid ahead must be paid on, or looked at because its lease ends.
    /// One that waits for money: when it looks again.
    pub(crate) pay_at: Mono,
    /// Its place among the calls that wait for money (`credit`), and how long it may.
    pub(crate) waits: Option<Lent<Waiting>>,
    pub(crate) wait_until: Mono,
    /// The question of a transaction within the dialog, or about the whole call.
    pub(crate) ask: Option<Pending>,
    pub(crate) held: VecDeque<Held>,
    pub(crate) armed: Mono,
    pub(crate) gone: bool,
    /// Connections that find it ([`Calls::relink`]).
    pub(crate) links: [LinkId; 2],
}

impl Branch {
    /// The vendor trunk that it goes to.
    pub(crate) fn vendor_trunk<'d>(&self, directory: &'d Directory) -> Option<&'d VendorTrunk> {
        directory.vendor_trunk(self.target.vendor()?)
    }

    /// Its INVITE went out.
    pub(crate) fn sent(&mut self, client: Id, tx: &Transactions) {
        self.client = Some(client);
        self.first_1xx_at = tx.now.mono + tx.config.first_1xx;
        self.progress_by = tx.now.mono + tx.config.first_18x;
    }
}

impl Call {
    /// The SDP of its INVITE, when media is anchored.
    pub(crate) fn offer(&self) -> Option<&[u8]> {
        self.invite.get(self.offer.clone()?)
    }

    /// The emergency code that was dialled: such a call passes every limit (`ref/integrations` §11, `ref/telecom-domain` §9).
    pub(crate) fn emergency(&self) -> Option<u16> {
        self.decision.as_ref()?.emergency
    }

    /// In the cookie of its Record-Route: no other call has it, whatever the two have in common (RFC 0010).
    pub(crate) fn salt(&self) -> u64 {
        (self.cdr_key >> 64) as u64 ^ self.cdr_key as u64
    }

    /// Health of the vendor trunk that a branch goes to.
    pub(crate) fn health_of(&self, branch: u16) -> Option<&Arc<TrunkHealth>> {
        self.health.of(self.branches.get(usize::from(branch))?.target.vendor()?)
    }

    /// The branch being tried, or that answered.
    pub(crate) fn branch(&self) -> Option<&Branch> {
        self.branches.last()
    }

    /// Health of the address that a branch goes to.
    pub(crate) fn address_of(&self, branch: u16) -> Option<&Arc<AddressHealth>> {
        let branch = self.branches.get(usize::from(branch))?;
        self.places(branch.target).find(|p| p.number == branch.address)?.health
    }

    /// The vendor trunk of the branch at hand.
    pub(crate) fn vendor_id(&self) -> Option<VendorTrunkId> {
        self.branch()?.vendor_trunk(&self.snapshot.directory).map(|t| t.id)
    }

    /// Whether this side may send the other one a REFER: towards a vendor only where its trunk allows it.
    pub(crate) fn may_refer(&self, side: Side) -> bool {
        let vendor = match (side, self.origin) {
            (Side::Caller, _) => self.branch().and_then(|b| b.target.vendor()),
            (Side::Callee, Origin::Vendor(ix)) => Some(ix),
            (Side::Callee, Origin::Trunk(_)) => None,
        };
        vendor.is_none_or(|ix| self.snapshot.directory.vendor_trunk(ix).is_some_and(|t| t.allow_refer))
    }

    /// Whether one of its dialogs has this callee.
    pub(crate) fn knows(&self, tag: &[u8]) -> bool {
        self.dialog.callee.tag == tag || self.peers.iter().any(|p| p.party.tag == tag)
    }

    /// Whether it has one callee at most.
    pub(crate) fn is_alone(&self) -> bool {
        self.peers.is_empty()
    }

    /// Whether a question is open: what arrives meanwhile waits.
    pub(crate) fn is_asking(&self) -> bool {
        self.ask.is_some() || self.branches.iter().any(|b| b.ask.is_some())
    }

    /// Turns to the callee with this tag: from now on `dialog`, `callee_flow` and `exchange` are its. False when there is none.
    pub(crate) fn turn_to(&mut self, tag: &[u8]) -> bool {
        if self.dialog.callee.tag == tag {
            return true;
        }
        let Some(peer) = self.peers.iter_mut().find(|p| p.party.tag == tag) else {
            return false;
        };
        std::mem::swap(&mut peer.party, &mut self.dialog.callee);
        std::mem::swap(&mut peer.flow, &mut self.callee_flow);
        std::mem::swap(&mut peer.exchange, &mut self.exchange);
        true
    }

    /// A request within the dialog came from another port of its sender's address, or over another connection: that is where it can be
    /// reached when what it wrote leads nowhere (kamailio#2308, drachtio-server#493).
    pub(crate) fn follow(&mut self, side: Side, came: &Flow, msg: &Message<'_>) {
        let learnt = match side {
            Side::Caller => Some(&mut self.flow),
            Side::Callee => self.callee_flow.as_mut(),
        };
        // It must listen where it sends from: it has its responses there.
        let listens = route::reply_flow(msg, came).remote == came.remote;
        let same = |l: &Flow| l.transport == came.transport && l.remote.ip() == came.remote.ip();
        if let Some(learnt) = learnt.filter(|l| listens && same(l)) {
            *learnt = *came;
        }
    }

    /// A response of the branch names its callee, which may be a new one.
    pub(crate) fn meet(&mut self, tag: &[u8]) {
        if self.turn_to(tag) {
            return;
        }
        let party =
            std::mem::replace(&mut self.dialog.callee, Party { tag: tag.to_vec(), ..Party::default() });
        let peer =
            Peer { party, flow: self.callee_flow.take(), exchange: std::mem::take(&mut self.exchange) };
        if !peer.party.tag.is_empty() && self.peers.len() < PEERS {
            self.peers.push(peer);
        }
    }

    /// The next branch is tried: whom the last one found is nobody's callee any more.
    pub(crate) fn forget_callees(&mut self) {
        self.peers.clear();
        self.dialog.callee = Party::default();
        self.callee_flow = None;
        self.exchange = Exchange::default();
    }

    pub(crate) fn next_timeout(&self) -> Mono {
        let first = self
            .branches
            .last()
            .filter(|l| l.open && l.client.is_some())
            .map_or(NEVER, |l| l.first_1xx_at.min(l.progress_by));
        let asks = self.branches.iter().map(|b| &b.ask).chain([&self.ask]).flatten();
        let ask = asks.map(|a| a.deadline).min().unwrap_or(NEVER);
        first
            .min(ask)
            .min(self.ends_at)
            .min(self.confirm_by)
            .min(self.refresh_by)
            .min(self.hold_at)
            .min(self.pay_at)
    }
}

/// Calls of one Call-ID and From tag at a time (T-SIP-14: branches open at once).
const KIN: usize = 64;

/// Early dialogs of one branch that are told apart.
const PEERS: usize = 64;

/// Messages of one call that may wait for the relay, finals not counted.
const HELD: usize = 32;

/// Whether a response is a final one.
pub(super) fn is_final(response: &[u8]) -> bool {
    response.get(8).is_some_and(|class| (b'2'..=b'6').contains(class))
}

/// Whether a final comes again until it has its ACK: a 2xx to INVITE (RFC 3261 §13.3.1.4).
fn is_repeated(response: &[u8]) -> bool {
    let invite = |m: Message<'_>| m.method_of_cseq() == Method::Invite;
    response.get(8) == Some(&b'2') && Message::parse(response).is_ok_and(invite)
}

impl Calls {
    /// Lends a call out, lets something happen to it, and puts it back (or drops it when it is gone). Then what waited for it.
    pub(super) fn with_call<R>(
        &mut self,
        id: Id,
        tx: &mut Transactions,
        f: impl FnOnce(&mut Calls, &mut Call, &mut Transactions) -> R,
    ) -> Option<R> {
        let mut call = self.all.lend(id)?;
        let was_live = call.phase != Phase::Over;
        let result = self.step_call(&mut call, tx, f);
        loop {
            if call.is_asking() {
                break;
            }
            if std::mem::take(&mut call.exchange.restore)
                && self.step_call(&mut call, tx, |calls, call, tx| calls.restore_media(call, tx))
                    != Some(false)
            {
                continue;
            }
            // What waited for the relay goes on in its order, until something asks again.
            match call.held.pop_front() {
                None => break,
                Some(Held::Branch { branch, flow, bytes }) => {
                    if let Ok(msg) = Message::parse(&bytes) {
                        self.step_call(&mut call, tx, |calls, call, tx| {
                            calls.branch_response(call, branch, flow, &msg, tx);
                        });
                    }
                    tx.give_buf(bytes);
                }
                Some(Held::InDialog { server, offered, flow, bytes }) => {
                    // Nobody else has this final any more.
                    tx.begun = Some(server);
                    if let Ok(msg) = Message::parse(&bytes) {
                        self.step_call(&mut call, tx, |calls, call, tx| {
                            calls.in_dialog_response(call, server, offered, flow, &msg, tx);
                        });
                    }
                    tx.give_buf(bytes);
                }
                // A request finds its call by itself, so the call must be back first; and what came after it waits for it.
                Some(Held::Request { flow, bytes }) => {
                    self.ready.push_back((id, flow, bytes));
                    break;
                }
            }
        }
        self.live -= usize::from(was_live && call.phase == Phase::Over);
        let gone = call.gone;
        self.relink(id, &mut call, gone);
        if call.gone {
            self.unlink(id, &call);
            tx.give_buf(std::mem::take(&mut call.invite));
            self.all.remove_lent(id);
        } else {
            // Looked at once a minute at least: a call of seconds must not leave its four-hour limit in the wheel.
            let at = call.next_timeout().min(tx.now.mono + LOOK);
            if at < call.armed {
                call.armed = at;
                tx.wheel.arm(at, Key::Call(id));
            }
            self.all.give_back(id, call);
        }
        result
    }

    /// Puts a message aside until the relay has answered. When too many wait, what is repeated or can be done without is dropped, and a
    /// request is refused. Finals that are sent once are kept, however many there are: each has a transaction of ours behind it.
    pub(super) fn hold(&mut self, call: &mut Call, held: Held, tx: &mut Transactions) {
        let kept = match &held {
            _ if call.held.len() < HELD => true,
            Held::Branch { bytes, .. } | Held::InDialog { bytes, .. } => {
                is_final(bytes) && !is_repeated(bytes)
            }
            Held::Request { .. } => false,
        };
        if kept {
            call.held.push_back(held);
            return;
        }
        tx.stats.held_full += 1;
        if let Held::Request { flow, bytes } = &held
            && let Ok(msg) = Message::parse(bytes)
        {
            tx.refuse(flow, &msg, 503, "", &[("Retry-After", b"1")], false);
        }
    }

    /// A first INVITE of an authenticated trunk, or of a vendor: screen, decide, and try the first vendor.
    #[allow(clippy::too_many_arguments)] // one call site
    pub(super) fn begin_call(
        &mut self,
        flow: Flow,
        msg: &Message<'_>,
        bytes: &[u8],
        plan: &Plan<'_>,
        origin: Origin,
        user: Option<&str>,
        txn_key: u128,
        tx: &mut Transactions,
    ) {
        let (Some(snapshot), Some((bound, health))) = (tx.snapshot.clone(), self.bound.clone()) else {
            tx.refuse(&flow, msg, 503, "", &[("Retry-After", b"5")], false);
            return;
        };
        let offer = match tx.session(msg) {
            Ok(sdp) => sdp.and_then(|sdp| within(bytes, sdp)),
            Err(e) => {
                tx.refuse(&flow, msg, e.status(), e.phrase(), e.headers(), false);
                return;
            }
        };
        let call_key = tx.call_key(msg.call_id(), msg.from_tag().unwrap_or(b""));
        let uri_hash = tx.keyed.hash64(&[b"uri", msg.request_uri().unwrap_or(b"")]);
        // RFC 3261 §8.2.2.2: the same request came by another way, and would be billed twice. Another Request-URI is a fork of the caller's
        // side or a spiral (RFC 5393 §4.2.1), another trunk somebody else: a call of its own.
        let (mut same, mut kin) = (false, 0);
        for (_, c) in self.kin(call_key) {
            kin += 1;
            same |= c.phase != Phase::Over
                && (c.origin, c.invite_cseq, c.uri_hash) == (origin, msg.cseq().0, uri_hash);
        }
        if same || kin >= KIN {
            tx.stats.loops += 1;
            tx.refuse(&flow, msg, 482, "", &[], false);
            return;
        }
        let least = origin.headers(&snapshot.directory).and_then(|t| t.session_min_s);
        if let Some(seconds) = session_timers::too_small(msg, least)
            && !origin.trunk().is_some_and(|trunk| tx.is_emergency(msg, Some(trunk)))
        {
            let least = seconds.to_string();
            tx.refuse(&flow, msg, 422, "", &[("Min-SE", least.as_bytes())], false);
            return;
        }
        let full = self.all.len() >= tx.config.calls;
        let mut server = None;
        if !full {
            server = tx.begin_server(flow, msg, bytes, txn_key, false);
        }
        if server.is_none()
            && let Some(trunk) = origin.trunk()
            && tx.is_emergency(msg, Some(trunk))
        {
            server = tx.begin_emergency(flow, msg, bytes, txn_key);
        }
        let Some(server) = server else {
            tx.on_table_full(&flow, msg, false);
            return;
        };
        tx.stats.calls_started += 1;
        let random = tx.rng.u128();
        let cdr_id = CallId::new(tx.now.wall, random);
        let record = cdr::begin(&tx.config, &snapshot, msg, plan, flow, origin, user, cdr_id, tx.now);
        let ring_limit = tx.config.timers.c + tx.config.timers.t1_64();
        let mut call = Box::new(Call {
            id: Id::from_u64(0),
            key: call_key,
            elder: self.by_dialog.get(&call_key).copied(),
            uri_hash,
            media_id: cdr_id.to_string().into_bytes(),
            cdr_key: cdr_id.as_u128(),
            twin_key: 0,
            acked: false,
            vendors: 0,
            origin,
            decision: None,
            inbound: None,
            twin: None,
            record: Some(Box::new(record)),
            server,
            invite: tx.copy_buf(bytes),
            outline: msg.outline().map(Box::new),
            invite_cseq: msg.cseq().0,
            flow,
            began: tx.now.mono,
            phase: Phase::Setup,
            branches: Vec::new(),
            findings: Vec::new(),
            tried: 0,
            finals: ResponseContext::default(),
            cancelled: false,
            reservation: None,
            bound,
            health,
            dialog: Dialog::default(),
            callee_flow: None,
            exchange: Exchange::default(),
            peers: Vec::new(),
            late_offer: offer.is_none(),
            offer,
            media_open: false,
            answered: None,
            // Nothing rings longer than all its branches could.
            ends_at: tx.now.mono + ring_limit * u32::from(tx.config.max_attempts.max(1)),
            ask: None,
            held: VecDeque::new(),
            confirm_by: NEVER,
            refresh_by: NEVER,
            hold_at: NEVER,
            pay_at: NEVER,
            waits: None,
            wait_until: NEVER,
            armed: NEVER,
            gone: false,
            links: [LinkId::NONE; 2],
            snapshot,
        });
        call.dialog.call_id = msg.call_id().to_vec();
        call.dialog.caller.tag = msg.from_tag().unwrap_or(b"").to_vec();
        call.dialog.caller.address = msg.from().raw.to_vec();
        call.dialog.caller.cseq = msg.cseq().0;
        // Who gives no Contact is called as he calls himself.
        call.dialog.caller.target = msg.contacts().next().unwrap_or(msg.from()).uri.to_vec();
        let id = self.all.insert(call);
        self.live += 1;
        self.by_dialog.insert(call_key, id);
        self.by_cdr.insert(cdr_id.as_u128(), id);
        if let Some(txn) = tx.table.servers.get_mut(server) {
            txn.call = Some(id);
        }
        self.with_call(id, tx, |calls, call, tx| {
            call.id = id;
            tx.trying(server, &flow, msg);
            match origin {
                Origin::Trunk(trunk) => calls.screen_and_route(call, trunk, tx),
                Origin::Vendor(vendor_trunk) => calls.screen_and_deliver(call, vendor_trunk, tx),
            }
        });
    }

    /// Limits, then the decision, then the first vendor; or a refusal with its record.
    fn screen_and_route(&mut self, call: &mut Call, trunk: TrunkIx, tx: &mut Transactions) {
        let snapshot = call.snapshot.clone();
        let (caller, called) = match &call.record {
            Some(r) => (r.caller.clone(), r.called.clone()),
            None => return,
        };
        let input = CallInput {
            trunk,
            caller: caller.as_bytes(),
            called: called.as_bytes(),
            at: tx.now.wall,
            call_hash: tx.shared.keyed.hash64(&[b"share", &call.dialog.call_id]),
            lrn: None,
        };
        self.looked.begin();
        let looked = std::cell::RefCell::new(&mut self.looked);
        let (bound, health) = (&call.bound, &call.health);
        let look = |ix| looked.borrow_mut().at(ix, || health.look(bound, ix, tx.now));
        let (decision, record) = decide(&snapshot, &input, &Live::lazily(&look), &mut self.written);
        cdr::decided(call.record.as_deref_mut(), &decision, record);
        call.decision = Some(decision);
        if decision.emergency.is_some()
            && let Some(number) = decision.caller.and_then(|c| c.number)
        {
            tx.shared.callbacks.called_for_help(number, &snapshot.numbers, tx.now.mono);
        }
        // Nor is an emergency call refused for a drain, or for a journal that cannot be written (F-DISK-01 is about calls that are paid for).
        if tx.shared.is_draining() && decision.emergency.is_none() {
            self.refuse_call(call, 503, "Draining", "draining", 42, Some(b"5"), tx);
            return;
        }
        self.admit(call, trunk, tx);
    }

    /// A refusal of policy: its status, its cause, and a record.
    pub(super) fn refuse_by_policy(&mut self, call: &mut Call, refusal: Refusal, tx: &mut Transactions) {
        let retry: Option<&[u8]> = refusal.retry_after().then_some(b"1");
        let (status, reason) = (refusal.sip_status(), refusal.reason());
        self.refuse_call(call, status, reason, refusal.code(), refusal.q850(), retry, tx);
    }

    /// Ends a call that was not answered with a response of our own.
    #[allow(clippy::too_many_arguments)] // the facts of a refusal, said once
    pub(super) fn refuse_call(
        &mut self,
        call: &mut Call,
        status: u16,
        phrase: &str,
        code: &str,
        cause: u8,
        retry_after: Option<&[u8]>,
        tx: &mut Transactions,
    ) {
        let reason = format!("Q.850;cause={cause};text=\"{phrase}\"");
        let mut headers: Vec<(&str, &[u8])> = Vec::new();
        if call.tells_why(Side::Caller) {
            headers.push(("Reason", reason.as_bytes()));
        }
        if let Some(seconds) = retry_after {
            headers.push(("Retry-After", seconds));
        }
        tx.answer(call.server, status, phrase, &headers);
        let outcome = match status {
            487 => Outcome::Cancelled,
            _ if call.branches.is_empty() => Outcome::Rejected,
            // A target that is switched off, or says nothing, is not somebody who does not answer.
            408 | 480 if code == NO_ANSWER => Outcome::NoAnswer,
            _ => Outcome::Failed,
        };
        let side = if status == 487 { ReleaseSide::Caller } else { ReleaseSide::System };
        self.close_unanswered(call, status, Some(cause), outcome, side, code, tx);
    }

    /// Whether the vendor of a call may hear why its caller gave up.
    pub(super) fn tells_why(&self, id: Id) -> bool {
        self.all.get(id).is_none_or(|call| call.tells_why(Side::Callee))
    }

    /// The caller gave up.
    pub(super) fn cancelled(&mut self, id: Id, tx: &mut Transactions) {
        self.with_call(id, tx, |calls, call, tx| {
            if matches!(call.phase, Phase::Answered | Phase::Over) || call.cancelled {
                return;
            }
            call.cancelled = true;
            let branch = call.branches.last().filter(|l| l.open).map(|l| (l.client, l.first_1xx_at));
            match branch {
                // Its answer (487, or a 2xx that was faster) ends the call.
                Some((Some(client), NEVER)) => tx.want_cancel(client),
                // Nothing heard of that vendor yet, or nothing sent: do not let the caller wait.
                Some((Some(client), _)) => {
                    tx.abandon(client);
                    calls.branch_over(call, 487, None, "cancelled", tx);
                    calls.refuse_call(call, 487, "", "", 16, None, tx);
                }
                _ => {
                    calls.drop_asks(call, 487, tx);
                    calls.branch_over(call, 487, None, "cancelled", tx);
                    calls.refuse_call(call, 487, "", "", 16, None, tx);
                }
            }
        });
    }

    /// Requests of a first INVITE's kind from whom we do not know, or that policy does not carry.
    pub(super) fn out_of_dialog(
        &mut self,
        flow: Flow,
        msg: &Message<'_>,
        plan: &Plan<'_>,
        stranger: bool,
        tx: &mut Transactions,
    ) {
        // T-SIP-05: what is not for us is not for anybody we would ask.
        let status = match msg.method() {
            _ if !plan.names_us => {
                tx.stats.acl += u64::from(stranger);
                403
            }
            Method::Bye | Method::Prack | Method::Update | Method::Info => 481,
            Method::Other => 501,
            _ => 405,
        };
        let allow: &[(&str, &[u8])] = if status == 405 {
            &[("Allow", b"INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, REFER, NOTIFY")]
        } else {
            &[]
        };
        tx.refuse(&flow, msg, status, "", allow, stranger);
    }
}

/// It rang, and nobody took it.
pub(super) const NO_ANSWER: &str = "no_answer";

/// Where a part of `whole` stands in it. `None`: it is no part of it.
fn within(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let range = start..start.checked_add(part.len())?;
    (whole.get(range.clone()) == Some(part)).then_some(range)
}

/// User part of who calls: of whom we believe P-Asserted-Identity, else Remote-Party-ID; else From.
pub(super) fn caller_of(msg: &Message<'_>, trust_asserted: bool) -> String {
    let mut out = [0; 256];
    let first = |header| msg.addresses(header).next();
    let asserted = || first(Header::PAssertedIdentity).or_else(|| super::headers::calling_party(msg));
    let from = trust_asserted.then(asserted).flatten().unwrap_or(msg.from());
    let text = |u: warp_sip::uri::Uri<'_>| {
        u.number(&mut [0; 64])
            .map(<[u8]>::to_vec)
            .or_else(|| u.user_unescaped(&mut out).map(<[u8]>::to_vec))
            .unwrap_or_default()
    };
    from.uri().map(text).map_or_else(|_| String::new(), printable)
}

/// Text for a record: lossy, without control characters, at most 256 bytes (T-SIP-19).
pub(super) fn printable(bytes: Vec<u8>) -> String {
    // Nearly all are short and plain.
    let bytes = match String::from_utf8(bytes) {
        Ok(text) if text.len() <= 256 && text.bytes().all(|b| (0x20..0x7F).contains(&b)) => return text,
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut out: String = text.chars().filter(|c| !c.is_control()).collect();
    while out.len() > 256 {
        out.pop();
    }
    out
}

fn decide(
    snapshot: &Snapshot,
    input: &CallInput<'_>,
    live: &Live<'_>,
    buffer: &mut Vec<u8>,
) -> (Decision, JsonText) {
    let decision = warp_policy::decide(snapshot, input, live);
    let record = warp_policy::explain(snapshot, input, live, &decision);
    (decision, JsonText::with(&record, buffer))
}
