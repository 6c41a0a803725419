//! The calls of one shard (policy mode): which call a message, an answer, a timer or an operator means.
//!
//! A call is lent out of the slab while something happens to it ([`Calls::with_call`]). Its messages are handled in order: while a
//! question is open, further ones wait.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use warp_model::{CallId, Mono, VendorTrunkId};
use warp_policy::screen::Bound;
use warp_policy::{Looked, Refusal, Snapshot};
use warp_sip::flow::{Flow, LinkId};
use warp_sip::message::{Message, Method};
use warp_sip::transaction::NEVER;

use super::answer::Heard;
use super::auth::Ingress;
use super::call::{Branch, Call, Origin, Phase};
use super::cdr;
use super::confirm;
use super::health::Vendors;
use super::ingress::Arrived;
use super::locate::NAMED;
use super::probe::Probe;
use super::random::HashTable;
use super::session_timers;
use super::slab::{Id, Slab};
use super::table::Owner;
use super::transactions::{Failed, Transactions};
use super::unrecorded::UNRECORDED;

/// Calls, and the questions that they have asked.
pub(crate) struct Calls {
    /// Counters, and health of vendor trunks, in the order of the snapshot's directory.
    pub(super) bound: Option<(Arc<Bound>, Arc<Vendors>)>,
    /// Kept for its capacity.
    pub(super) looked: Looked,
    /// What a record carries as JSON is written here first; kept for its capacity.
    pub(super) written: Vec<u8>,
    pub(super) all: Slab<Box<Call>>,
    /// The youngest call of a key; the others follow from elder to elder.
    pub(super) by_dialog: HashTable<Id>,
    /// By public id; on-net by that of each side.
    pub(super) by_cdr: HashTable<Id>,
    /// Calls that a connection carries, on one side or the other.
    pub(super) by_link: HashMap<LinkId, BTreeSet<Id>>,
    /// Calls that are not over.
    pub(super) live: usize,
    pub(super) asks: BTreeMap<u64, Owner>,
    pub(super) next_ask: u64,
    /// Vendor trunks out of rotation that this shard asks for a sign of life.
    pub(super) probes: BTreeMap<VendorTrunkId, Probe>,
    /// How long answered probes took, since the server last asked.
    pub(super) probe_times: Vec<(VendorTrunkId, Duration)>,
    /// Requests that waited for an answer which has come: [`super::Core`] takes them from here as if they had just arrived.
    pub(super) ready: VecDeque<(Id, Flow, Vec<u8>)>,
}

impl Calls {
    pub(super) fn new() -> Calls {
        Calls {
            bound: None,
            looked: Looked::default(),
            written: Vec::new(),
            all: Slab::new(),
            by_dialog: HashTable::default(),
            by_cdr: HashTable::default(),
            by_link: HashMap::new(),
            live: 0,
            asks: BTreeMap::new(),
            next_ask: 0,
            probes: BTreeMap::new(),
            probe_times: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// In-dialog requests to their call, first INVITEs to a new one.
    pub(super) fn request(&mut self, arrived: &Arrived<'_, '_>, tx: &mut Transactions) {
        let Arrived { flow, msg, bytes, plan, key, stranger } = *arrived;
        if msg.to_tag().is_some() {
            self.in_dialog(arrived, tx);
        } else if msg.method() == Method::Invite && plan.names_us {
            match self.authenticate(&flow, msg, stranger, tx) {
                Ingress::Trunk(trunk, user) => {
                    let origin = Origin::Trunk(trunk);
                    self.begin_call(flow, msg, bytes, plan, origin, user.as_deref(), key, tx);
                }
                Ingress::Vendor(vendor_trunk) => {
                    self.begin_call(flow, msg, bytes, plan, Origin::Vendor(vendor_trunk), None, key, tx);
                }
                Ingress::Answered => {}
            }
        } else {
            self.out_of_dialog(flow, msg, plan, stranger, tx);
        }
    }

    /// A response that a transaction of ours has accepted.
    pub(super) fn response(
        &mut self,
        heard: &Heard,
        flow: Flow,
        msg: &Message<'_>,
        status: u16,
        tx: &mut Transactions,
    ) {
        if matches!(status, 401 | 407) {
            if self.answer_challenge(heard, msg, tx) {
                return;
            }
            let asked = tx.table.clients.get(heard.client);
            let unanswered = asked.is_some_and(|t| t.vendor.is_some() && !t.cancel.wanted());
            tx.stats.challenges_unanswered += u64::from(unanswered);
        }
        match heard.owner {
            Owner::Branch { call, branch } => {
                let told = self.with_call(call, tx, |calls, call, tx| {
                    calls.branch_response(call, branch, flow, msg, tx);
                });
                // The call is forgotten, or broke before it knew, and its vendor answers: nobody must be left talking to a wall.
                let reaped = || self.all.get(call).is_some_and(|c| c.acked);
                if told.is_none() && (200..300).contains(&status) && !reaped() {
                    self.ack_and_bye(heard.client, msg, tx);
                }
            }
            Owner::InDialog { call, server } => {
                let told = self.with_call(call, tx, |calls, call, tx| {
                    calls.in_dialog_response(call, server, heard.offered, flow, msg, tx);
                });
                if told.is_none() {
                    match status {
                        401 | 407 => tx.challenge_unanswered(server, msg),
                        // What it says may name who is not to be named, and nobody knows any more: only the answer itself goes on.
                        100..200 => {}
                        200..300 if msg.method_of_cseq() == Method::Invite => {
                            tx.pass_back(server, msg, status)
                        }
                        _ => tx.answer(server, status, "", &[]),
                    }
                }
            }
            Owner::Probe(trunk) if status >= 200 => self.probe_answered(trunk, flow.remote, status, tx),
            Owner::Fork { .. } | Owner::Probe(_) | Owner::Ours | Owner::Call(_) => {}
            Owner::Server(server) => tx.pass_back(server, msg, status),
        }
    }

    /// A transaction of ours ended without a final response.
    pub(super) fn failed(&mut self, failed: &Failed, tx: &mut Transactions) {
        match failed.owner {
            Owner::Branch { call, branch } => {
                self.with_call(call, tx, |calls, call, tx| {
                    calls.branch_silent(call, branch, failed.timed_out, tx);
                });
            }
            Owner::InDialog { call, server } => {
                self.with_call(call, tx, |_, call, tx| {
                    if tx.table.clients.get(failed.client).is_some_and(|t| t.offered) {
                        call.exchange.closed();
                    }
                });
                tx.fail_server(server, failed);
            }
            Owner::Server(server) => tx.fail_server(server, failed),
            Owner::Fork { .. } | Owner::Probe(_) | Owner::Ours | Owner::Call(_) => {}
        }
    }

    /// The calls of one Call-ID and From tag, youngest first.
    pub(super) fn kin(&self, key: u128) -> impl Iterator<Item = (Id, &Call)> {
        let mut next = self.by_dialog.get(&key).copied();
        std::iter::from_fn(move || {
            let id = next?;
            let call = self.all.get(id)?;
            next = call.elder;
            Some((id, &**call))
        })
    }

    /// A call is forgotten.
    pub(super) fn unlink(&mut self, id: Id, call: &Call) {
        self.by_cdr.remove(&call.cdr_key);
        self.by_cdr.remove(&call.twin_key);
        if self.by_dialog.get(&call.key) == Some(&id) {
            match call.elder {
                Some(elder) => drop(self.by_dialog.insert(call.key, elder)),
                None => drop(self.by_dialog.remove(&call.key)),
            }
            return;
        }
        let younger = self.kin(call.key).find(|(_, c)| c.elder == Some(id)).map(|(id, _)| id);
        if let Some(younger) = younger.and_then(|id| self.all.get_mut(id)) {
            younger.elder = call.elder;
        }
    }

    /// Counters for the calls that begin from now on.
    pub(super) fn bind(&mut self, snapshot: &Snapshot, tx: &Transactions) {
        let directory = &snapshot.directory;
        let (usage, health) = (tx.shared.usage.bind(directory), tx.shared.health.bind(directory));
        self.bound = Some((Arc::new(usage), Arc::new(health)));
    }

    /// Puts a call where its connections find it, when it has come to others; `gone`: nowhere.
    pub(super) fn relink(&mut self, id: Id, call: &mut Call, gone: bool) {
        let links = match gone {
            true => [LinkId::NONE; 2],
            false => [call.flow.link, call.callee_flow.map_or(LinkId::NONE, |f| f.link)],
        };
        if call.links == links {
            return;
        }
        for old in std::mem::replace(&mut call.links, links) {
            if let Some(calls) = self.by_link.get_mut(&old) {
                calls.remove(&id);
                if calls.is_empty() {
                    self.by_link.remove(&old);
                }
            }
        }
        for link in links.into_iter().filter(|l| l.is_some()) {
            self.by_link.entry(link).or_default().insert(id);
        }
    }

    /// Ends every call.
    pub(super) fn end_all(&mut self, reason: &str, tx: &mut Transactions) {
        let all: Vec<Id> = self.all.iter().map(|(id, _)| id).collect();
        for id in all {
            self.end_call(id, reason, tx);
        }
    }

    /// Ends one call by its public id.
    pub(super) fn end(&mut self, cdr_id: CallId, reason: &str, tx: &mut Transactions) {
        match self.by_cdr.get(&cdr_id.as_u128()).copied() {
            Some(id) if reason == UNRECORDED => self.end_unrecorded(id, tx),
            Some(id) => self.end_call(id, reason, tx),
            None => {}
        }
    }

    /// A timer of a call.
    pub(super) fn call_due(&mut self, id: Id, tx: &mut Transactions) {
        let end = self.with_call(id, tx, |calls, call, tx| {
            let now = tx.now.mono;
            if call.armed > now {
                return None;
            }
            call.armed = NEVER;
            calls.asks_overdue(call, tx);
            calls.admit_again(call, tx);
            // Who has a call in the air is no stranger, however long ago he signed in: his BYE must not be lost in a flood of theirs, nor by a
            // neighbour's wrong password (T-SIP-08, T-SIP-12).
            if call.phase != Phase::Over && call.record.as_ref().is_some_and(|r| r.ingress_user.is_some()) {
                tx.shared.learnt.learn(call.flow.remote.ip(), now);
            }
            // Nor is a peer that was found by its name.
            if call.phase != Phase::Over
                && let Some(branch) = call.branch().filter(|b| b.address >= NAMED)
            {
                tx.shared.learnt.learn(branch.flow.remote.ip(), now);
            }
            // Of the branch at hand, whatever the caller has heard of those before it (F-NET-02).
            let late = |t: &Branch| t.first_1xx_at.min(t.progress_by) <= now;
            let tried = matches!(call.phase, Phase::Setup | Phase::Ringing);
            if tried && call.branch().is_some_and(|l| l.open && late(l)) {
                calls.no_progress(call, tx);
            }
            if call.ends_at > now {
                let unconfirmed = confirm::unconfirmed(call, now);
                if unconfirmed.is_some() {
                    // It is charged until then, however late this timer is.
                    call.ends_at = call.confirm_by;
                }
                return unconfirmed
                    .or_else(|| session_timers::expired(call, now))
                    .or_else(|| pay(call, now))
                    .or_else(|| hold(call, tx));
            }
            match call.phase {
                Phase::Over => {
                    // A record still waiting for figures that never came goes out now.
                    calls.write_ended(call, tx);
                    call.gone = true;
                    None
                }
                Phase::Answered => Some("max_duration"),
                Phase::Setup | Phase::Ringing => Some("setup_timeout"),
            }
        });
        if let Some(Some(reason)) = end {
            self.end_call(id, reason, tx);
        }
    }
}

/// Holds an answered call to the limits that are money, minute by minute; gives the reason to end it.
fn hold(call: &mut Call, tx: &Transactions) -> Option<&'static str> {
    let now = tx.now.mono;
    let began = call.answered.filter(|_| call.phase == Phase::Answered && call.hold_at <= now)?;
    // The minute begins when it was to begin: a timer of milliseconds too late is no reason to pay for a second more.
    let run = now.max(call.hold_at + (HOLD_EVERY - FIRST_HOLD)).since(began);
    call.hold_at = (call.hold_at + HOLD_EVERY).max(now);
    let held = call.reservation.as_mut().map_or(Ok(()), |r| r.hold(run, tx.now));
    let twin = call.twin.as_mut().and_then(|t| t.reservation.as_mut());
    let held = held.and_then(|()| twin.map_or(Ok(()), |r| r.hold(run, tx.now)));
    held.err().map(|refusal| refusal.code())
}

/// Pays an answered call on that is paid ahead, a second before what is paid is over; gives the reason to end it. Without credit it ends
/// at the last second that is paid.
fn pay(call: &mut Call, now: Mono) -> Option<&'static str> {
    let answered = call.answered.filter(|_| call.phase == Phase::Answered && call.pay_at <= now)?;
    if cdr::reservations(call).filter_map(|r| r.lease_ends()).any(|ends| ends <= now) {
        return Some("lease_ended");
    }
    let of_twin = call.twin.as_mut().and_then(|t| t.reservation.as_mut());
    for reservation in call.reservation.iter_mut().chain(of_twin) {
        if reservation.paid().is_some_and(|paid| answered + paid <= now + PAY_AHEAD) {
            reservation.pay_on(now);
        }
    }
    if cdr::reservations(call).filter_map(|r| r.paid()).any(|paid| answered + paid <= now) {
        return Some(Refusal::NoCredit.code());
    }
    call.pay_at = pay_at(call, now);
    None
}

/// When a call must be paid on, or looked at because its lease ends.
pub(super) fn pay_at(call: &Call, now: Mono) -> Mono {
    let Some(answered) = call.answered else { return NEVER };
    let next = cdr::reservations(call).filter_map(|r| {
        let paid_until = answered + r.paid()?;
        let ahead = Mono(paid_until.0.saturating_sub(PAY_AHEAD.as_nanos() as u64));
        // One that could not be paid on is tried once more at the very end.
        let next = if ahead > now { ahead } else { paid_until };
        Some(next.min(r.lease_ends()?))
    });
    next.min().unwrap_or(NEVER)
}

/// How long before the end of what is paid a call is paid on.
const PAY_AHEAD: Duration = Duration::from_secs(1);

/// The first minute is paid for at the INVITE; the next one a second before it begins, so that a call that may not have it ends
/// within what is paid.
pub(super) const FIRST_HOLD: Duration = Duration::from_secs(59);
const HOLD_EVERY: Duration = Duration::from_secs(60);

/// Longest time between two looks at a call.
pub(super) const LOOK: Duration = Duration::from_secs(60);
