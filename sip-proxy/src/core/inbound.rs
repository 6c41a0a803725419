//! Calls to our numbers: a vendor brings them, the customer's trunks take them, one after the other until one answers.

use warp_model::Mono;
use warp_model::cdr::{CallRating, CallRecord, Direction, Paid};
use warp_model::json::JsonText;
use warp_model::{CallId, CustomerId, Lent, NumberId};
use warp_policy::inbound::Brings;
use warp_policy::screen::Reservation;
use warp_policy::{
    InboundInput, NumberBook, Refusal, TrunkIx, VendorTrunkIx, decide_inbound, explain_inbound,
    rate_call_on_net,
};

use super::call::{Call, Target};
use super::calls::Calls;
use super::cdr;
use super::credit;
use super::failover::{BRANCHES, next_address};
use super::transactions::Transactions;

/// The called customer's side of a call between two customers of ours: what its own record has of its own, and what it holds.
#[derive(Debug)]
pub(crate) struct Twin {
    pub(super) cdr_id: CallId,
    pub(super) customer: CustomerId,
    pub(super) number: NumberId,
    decision: JsonText,
    pub(crate) reservation: Option<Lent<Reservation>>,
    /// Who pays for the called side.
    pub(super) paid: Option<Paid>,
    rating: Option<CallRating>,
    /// Why his side was refused, which the caller is not told.
    code: Option<&'static str>,
}

/// The called customer's record, made of the caller's; `None`: the call has one record only.
pub(super) fn twin_of(call: &Call) -> Option<Box<CallRecord>> {
    let (twin, record) = call.twin.as_ref().zip(call.record.as_ref())?;
    let directory = &call.snapshot.directory;
    let trunks = call.branches.iter().map(|b| directory.trunk(b.target.trunk()?).map(|t| t.id));
    let mut r = record.clone();
    r.cdr_id = twin.cdr_id;
    r.direction = Direction::Inbound;
    r.customer_id = Some(twin.customer);
    r.number_id = Some(twin.number);
    r.trunk_id = trunks.clone().next_back().flatten();
    r.ingress_user = None;
    let over_ms = record.paid.map_or(0, |p| p.over_ms);
    r.paid = twin.paid.map(|p| Paid { over_ms, ..p });
    r.decision = Some(twin.decision.clone());
    r.rating.clone_from(&twin.rating);
    r.resume = None;
    if let Some(code) = twin.code {
        r.internal_code = code.to_owned();
    }
    for (leg, trunk) in r.legs.iter_mut().zip(trunks) {
        leg.trunk_id = trunk;
    }
    Some(r)
}

/// Prices both sides of an answered call between two customers; gives the caller's. Settles what the called one had reserved.
pub(super) fn charge_on_net(call: &mut Call, duration_ms: u64) -> Option<CallRating> {
    let snapshot = call.snapshot.clone();
    let rated = |sell| rate_call_on_net(&snapshot, &sell, duration_ms).ok();
    if let Some(twin) = &mut call.twin {
        twin.rating = call.inbound.as_ref().and_then(|d| d.sell).and_then(rated);
        if let Some((reservation, rating)) = twin.reservation.take().zip(twin.rating.as_ref()) {
            Reservation::settle(reservation, rating.sell.charge);
        }
    }
    call.decision.as_ref().and_then(|d| d.sell).and_then(rated)
}

impl Calls {
    /// A customer calls a number of a customer: no vendor is asked. The caller's side was admitted; now the called one is asked.
    pub(super) fn deliver_on_net(&mut self, call: &mut Call, trunk: TrunkIx, tx: &mut Transactions) {
        let snapshot = call.snapshot.clone();
        let Some((caller, called)) = call.record.as_ref().map(|r| (r.caller.clone(), r.called.clone()))
        else {
            return;
        };
        let number = call.decision.as_ref().and_then(|d| d.called);
        let input = InboundInput {
            from: Brings::Trunk(trunk),
            caller: caller.as_bytes(),
            called: called.as_bytes(),
            at: tx.now.wall,
            call_hash: tx.shared.keyed.hash64(&[b"share", &call.dialog.call_id]),
            callback: number.is_some_and(|n| tx.shared.callbacks.awaits(n, tx.now.mono)),
        };
        let decision = decide_inbound(&snapshot, &input);
        let explained = explain_inbound(&snapshot, &input, &decision);
        if let (Some(customer), Some(number)) = (explained.customer, explained.number) {
            let decision = JsonText::with(&explained, &mut self.written);
            let cdr_id = CallId::new(tx.now.wall, tx.rng.u128());
            call.twin_key = cdr_id.as_u128();
            self.by_cdr.insert(call.twin_key, call.id);
            call.twin = Some(Box::new(Twin {
                cdr_id,
                customer,
                number,
                decision,
                reservation: None,
                paid: None,
                rating: None,
                code: None,
            }));
        }
        if let Some(r) = &mut call.record {
            r.on_net = true;
        }
        call.inbound = Some(Box::new(decision));
        match decision.result {
            Ok(_) => self.next_trunk(call, tx),
            Err(refusal) => self.refuse_by_policy(call, refusal, tx),
        }
    }

    /// Decides a vendor's call; then the first trunk of the number, or a refusal with its record.
    pub(super) fn screen_and_deliver(
        &mut self,
        call: &mut Call,
        vendor_trunk: VendorTrunkIx,
        tx: &mut Transactions,
    ) {
        let snapshot = call.snapshot.clone();
        let Some((caller, called)) = call.record.as_ref().map(|r| (r.caller.clone(), r.called.clone()))
        else {
            return;
        };
        let number = warp_policy::inbound::number_called(&snapshot, called.as_bytes());
        let input = InboundInput {
            from: Brings::Vendor(vendor_trunk),
            caller: caller.as_bytes(),
            called: called.as_bytes(),
            at: tx.now.wall,
            call_hash: tx.shared.keyed.hash64(&[b"share", &call.dialog.call_id]),
            callback: number.is_some_and(|n| tx.shared.callbacks.awaits(n.number, tx.now.mono)),
        };
        let decision = decide_inbound(&snapshot, &input);
        let explained = explain_inbound(&snapshot, &input, &decision);
        let written = JsonText::with(&explained, &mut self.written);
        cdr::inbound_decided(call.record.as_deref_mut(), &explained, written);
        call.inbound = Some(Box::new(decision));
        if tx.shared.is_draining() && !decision.callback {
            self.refuse_call(call, 503, "Draining", "draining", 42, Some(b"5"), tx);
            return;
        }
        match decision.result {
            Ok(_) => self.next_trunk(call, tx),
            Err(refusal) => self.refuse_by_policy(call, refusal, tx),
        }
    }

    /// Tries the next trunk of the number that has room and an address; without one the call fails. What the last one held is given back:
    /// the call holds one trunk's channel at a time.
    pub(super) fn next_trunk(&mut self, call: &mut Call, tx: &mut Transactions) {
        let Some(decision) = call.inbound.as_deref().copied() else {
            return;
        };
        let Ok(targets) = decision.result else {
            return;
        };
        let mut refused = None;
        while let Some((ix, user)) = targets.get(call.tried).filter(|_| call.branches.len() < BRANCHES) {
            held_by_called(call, None);
            let target = user.map_or(Target::Trunk(ix), |user| Target::User(ix, user));
            if !self.locate(call, target, tx) {
                return;
            }
            call.tried += 1;
            let Some(way) = next_address(call, target, call.branches.len(), tx) else {
                continue;
            };
            // The call back to somebody who called for help is counted and held by no limit.
            let sell = decision.sell.filter(|_| !decision.callback);
            match call.bound.admit(ix, sell.as_ref(), tx.now) {
                Ok(reservation) => {
                    held_by_called(call, Some(reservation));
                    cdr::paid_by(call, ix);
                }
                // The customer's order of trunks stands: the next one is no way around a purse that is small.
                Err(Refusal::NoCredit) if credit::waits(call, ix, sell.as_ref(), tx) => {
                    call.tried -= 1;
                    return;
                }
                Err(refusal) => {
                    refused = Some(refusal);
                    continue;
                }
            }
            call.waits = None;
            self.begin_branch(call, target, way, None, tx);
            return;
        }
        match (call.finals.best(), refused) {
            // What the callee's side has said of the call is the vendor's to hear.
            (Some((_, status @ (404 | 406 | 480 | 488))), _) => {
                let cause = warp_sip::proxy::cause_of_status(status);
                self.refuse_call(call, status, "", Refusal::TargetsExhausted.code(), cause, None, tx);
            }
            // It is the called customer's matter, and of one number only: whoever calls hears no more than that nobody takes the call, and
            // sends his other calls as before.
            (None, Some(why)) => {
                let none = Refusal::TargetsExhausted;
                let cause = if why.retry_after() { none.q850() } else { why.q850() };
                // The called customer's record says why; a caller of ours has another one.
                let code = call.twin.as_mut().map_or(why.code(), |twin| {
                    twin.code = Some(why.code());
                    none.code()
                });
                let (status, reason) = match why {
                    Refusal::NoCredit if tx.config.called_without_credit != none.sip_status() => {
                        (tx.config.called_without_credit, "")
                    }
                    _ => (none.sip_status(), none.reason()),
                };
                self.refuse_call(call, status, reason, code, cause, None, tx);
            }
            _ => self.refuse_by_policy(call, Refusal::TargetsExhausted, tx),
        }
    }
}

/// What the called customer's trunk holds of the call.
fn held_by_called(call: &mut Call, reservation: Option<Lent<Reservation>>) {
    match &mut call.twin {
        Some(twin) => twin.reservation = reservation,
        None => call.reservation = reservation,
    }
}

/// Numbers that called for help lately. A call to one of them may be the call back of the answering point, which no limit holds up
/// (47 CFR §9.10, RFC 7090).
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    /// Almost always nobody has: then no lock is taken.
    count: std::sync::atomic::AtomicUsize,
    until: std::sync::Mutex<std::collections::HashMap<warp_model::E164, Mono>>,
}

/// How long a call back is awaited.
const AWAITED: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);
/// Numbers that are remembered; when there are more, the one that is awaited the shortest is forgotten.
const REMEMBERED: usize = 10_000;

impl Callbacks {
    /// A number has called for help. One that is nobody's here is called back by other ways, and takes no place: a flood of made-up callers
    /// makes no real one forgotten.
    pub(crate) fn called_for_help(&self, number: warp_model::E164, book: &NumberBook, now: Mono) {
        if book.find(number).is_none() {
            return;
        }
        let mut until = warp_model::sync::lock(&self.until);
        if until.len() >= REMEMBERED {
            until.retain(|_, t| *t > now);
        }
        if until.len() >= REMEMBERED
            && let Some(first) = until.iter().min_by_key(|(_, t)| **t).map(|(n, _)| *n)
        {
            until.remove(&first);
        }
        until.insert(number, now + AWAITED);
        self.count.store(until.len(), std::sync::atomic::Ordering::Release);
    }

    /// Whether a call back to this number is awaited.
    pub(crate) fn awaits(&self, number: warp_model::E164, now: Mono) -> bool {
        self.count.load(std::sync::atomic::Ordering::Acquire) > 0
            && warp_model::sync::lock(&self.until).get(&number).is_some_and(|t| *t > now)
    }
}
