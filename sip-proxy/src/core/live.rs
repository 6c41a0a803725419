//! Calls in the air as others see them: what each has cost so far, looked at a piece of the table at a time; and their end by hand.
//!
//! Whoever looks asks for a piece of [`PIECE`] slots, then for the next one, so that no look holds up the messages of a shard for long.
//! A call between two customers of ours is two calls here, as it is two records: each side has its own id, trunk and price.

use std::net::SocketAddr;

use warp_model::cdr::{CallRating, CallRecord, Direction, RatedSide};
use warp_model::{CallId, CustomerId, Money, Mono, NumberId, TrunkId, VendorId, VendorTrunkId, Wall};
use warp_policy::{rate_call, rate_call_on_net};

use super::call::{Call, Phase};
use super::calls::Calls;
use super::cdr;
use super::slab::Id;
use super::transactions::Transactions;

/// A call in the air, as one side of it has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveCall {
    /// Public id, as in the call's record.
    pub cdr_id: CallId,
    /// The caller's Call-ID of SIP.
    pub sip_call_id: String,
    /// The customer who pays for the call; `None` before that is known.
    pub customer_id: Option<CustomerId>,
    /// Where it came in; of an inbound call where it is delivered to.
    pub trunk_id: Option<TrunkId>,
    /// Which way it goes, seen from the customer.
    pub direction: Direction,
    /// Both sides are customers of ours.
    pub on_net: bool,
    /// The number of ours that is called.
    pub number_id: Option<NumberId>,
    /// Vendor being tried, or that carries it.
    pub vendor_id: Option<VendorId>,
    /// The vendor's trunk that is tried, or that carries the call.
    pub vendor_trunk_id: Option<VendorTrunkId>,
    /// The caller's number as it was received.
    pub caller: String,
    /// The caller asked not to be named to the called side.
    pub private: bool,
    /// The called number as it was dialled.
    pub called: String,
    /// The called number in E.164, when it is one.
    pub called_e164: Option<String>,
    /// It is a call for help: nobody but its parties ends it.
    pub emergency: bool,
    /// `setup`, `ringing` or `answered`.
    pub state: &'static str,
    /// When the INVITE was received.
    pub setup_at: Wall,
    /// When the call was answered; `None` before.
    pub answer_at: Option<Wall>,
    /// Milliseconds since the answer; 0 before.
    pub duration_ms: u64,
    /// Vendors, or trunks of the called one, that were tried so far.
    pub attempts: u16,
    /// What the customer would pay if it ended now; `None` before the answer.
    pub price: Option<Money>,
    /// What we would pay its vendor; `None` before the answer, and when no vendor carries it.
    pub cost: Option<Money>,
    /// Where its INVITE came from.
    pub origin: SocketAddr,
    /// Where its branches lead, in their order.
    pub targets: Vec<SocketAddr>,
}

/// Which calls somebody looks for; what is absent is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookFor {
    /// The call with this public id.
    pub id: Option<CallId>,
    /// Calls with this Call-ID of SIP.
    pub sip_call_id: Option<String>,
    /// Calls of this customer.
    pub customer: Option<CustomerId>,
    /// Calls over this trunk of a customer.
    pub trunk: Option<TrunkId>,
    /// Calls that this vendor carries, or is asked to.
    pub vendor: Option<VendorId>,
    /// Calls whose caller or called number has these digits in it.
    pub number: Option<String>,
}

/// What a look at a piece of the table has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookedAt {
    /// The calls, in the order of the table.
    pub calls: Vec<LiveCall>,
    /// Where the next piece begins; `None`: this was the last one.
    pub next: Option<u32>,
}

/// Who hangs up a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUpBy {
    /// Somebody of the carrier's staff.
    Operator,
    /// The customer whose call it is, by its key or its console.
    Customer,
}

impl HangUpBy {
    /// The word in the record (`internal_code`).
    pub fn as_str(self) -> &'static str {
        match self {
            HangUpBy::Operator => "operator",
            HangUpBy::Customer => "customer",
        }
    }
}

/// What came of it when somebody hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HungUp {
    /// It is not here, or not a call of whoever hung up.
    NotHere,
    /// It is over already.
    Over,
    /// A call for help is left to those who speak.
    Emergency,
    /// It ends now; how it stood: `setup`, `ringing` or `answered`.
    Ended(&'static str),
}

impl LookFor {
    fn is(&self, call: &LiveCall) -> bool {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let has = |wanted: &String| {
            let wanted = digits(wanted);
            let e164 = call.called_e164.as_deref().unwrap_or_default();
            [&call.caller, &call.called, e164].iter().any(|n| digits(n).contains(&wanted))
        };
        self.id.is_none_or(|id| id == call.cdr_id)
            && self.sip_call_id.as_ref().is_none_or(|id| *id == call.sip_call_id)
            && self.customer.is_none_or(|c| call.customer_id == Some(c))
            && self.trunk.is_none_or(|t| call.trunk_id == Some(t))
            && self.vendor.is_none_or(|v| call.vendor_id == Some(v))
            && self.number.as_ref().is_none_or(has)
    }
}

impl Call {
    /// How it stands, as a word.
    fn state(&self) -> &'static str {
        match self.phase {
            Phase::Answered => "answered",
            Phase::Ringing => "ringing",
            Phase::Setup | Phase::Over => "setup",
        }
    }

    /// As its customers see it: one, of a call between two of them two, none when it is over.
    fn live(&self, now: Mono) -> impl Iterator<Item = LiveCall> {
        let record = self.record.as_deref().filter(|_| self.phase != Phase::Over);
        let first = record.map(|r| self.seen(r, now));
        let second = record.zip(self.twin.as_deref()).map(|(r, twin)| {
            let directory = &self.snapshot.directory;
            let trunk = self.branch().and_then(|b| directory.trunk(b.target.trunk()?));
            LiveCall {
                cdr_id: twin.cdr_id,
                customer_id: Some(twin.customer),
                trunk_id: trunk.map(|t| t.id),
                direction: Direction::Inbound,
                number_id: Some(twin.number),
                price: self.running(now).1,
                ..self.seen(r, now)
            }
        });
        first.into_iter().chain(second)
    }

    fn seen(&self, r: &CallRecord, now: Mono) -> LiveCall {
        let (rating, _) = self.running(now);
        let lasted = self.answered.map_or(0, |answered| now.since(answered).as_millis());
        let (price, cost) = rating.unzip();
        LiveCall {
            cdr_id: r.cdr_id,
            sip_call_id: r.sip_call_id.clone(),
            customer_id: r.customer_id,
            trunk_id: r.trunk_id,
            direction: r.direction,
            on_net: r.on_net,
            number_id: r.number_id,
            vendor_id: r.vendor_id,
            vendor_trunk_id: r.vendor_trunk_id,
            caller: r.caller.clone(),
            private: r.private,
            called: r.called.clone(),
            called_e164: r.called_e164.clone(),
            emergency: self.emergency().is_some(),
            state: self.state(),
            setup_at: r.setup_at,
            answer_at: r.answer_at,
            duration_ms: u64::try_from(lasted).unwrap_or(u64::MAX),
            attempts: u16::try_from(r.legs.len()).unwrap_or(u16::MAX),
            price,
            cost: cost.flatten(),
            origin: self.flow.remote,
            targets: self.branches.iter().map(|b| b.flow.remote).collect(),
        }
    }

    /// What it would cost if it ended now: the customer's price with the vendor's, and of a call between two customers the called
    /// one's price.
    fn running(&self, now: Mono) -> (Option<(Money, Option<Money>)>, Option<Money>) {
        let Some(answered) = self.answered.filter(|_| self.phase == Phase::Answered) else {
            return (None, None);
        };
        let lasted_ms = u64::try_from(now.since(answered).as_millis()).unwrap_or(u64::MAX);
        let money = |side: &RatedSide| side.charge.of(side.currency);
        let both = |r: &CallRating| (money(&r.sell), Some(money(&r.buy)));
        if self.twin.is_none() {
            let rates = cdr::rates_of(self);
            let rated = rates.and_then(|(sell, buy)| rate_call(&self.snapshot, &sell, &buy, lasted_ms).ok());
            return (rated.as_ref().map(both), None);
        }
        let own = |sell| rate_call_on_net(&self.snapshot, &sell, lasted_ms).ok().map(|r| money(&r.sell));
        let caller = self.decision.as_ref().and_then(|d| d.sell).and_then(own);
        let called = self.inbound.as_ref().and_then(|d| d.sell).and_then(own);
        (caller.map(|price| (price, None)), called)
    }
}

impl Calls {
    /// Calls in the air, in the order of their beginning.
    pub(super) fn list(&self, now: Mono) -> Vec<LiveCall> {
        // One that is on-net once, as the caller has it.
        let mut all: Vec<LiveCall> = self.all.iter().filter_map(|(_, c)| c.live(now).next()).collect();
        all.sort_by_key(|c| (c.setup_at, c.cdr_id));
        all
    }

    /// The calls of a piece of the table that somebody looks for. One that is named by its id is found without a look at others.
    pub(super) fn look_at(&self, which: &LookFor, from: u32, now: Mono) -> LookedAt {
        if let Some(id) = which.id {
            let call = self.by_cdr.get(&id.as_u128()).and_then(|id| self.all.get(*id));
            let seen = call.into_iter().flat_map(|c| c.live(now));
            return LookedAt { calls: seen.filter(|c| which.is(c)).collect(), next: None };
        }
        let (piece, next) = self.all.piece(from, PIECE);
        let seen = piece.flat_map(|(_, call)| call.live(now));
        LookedAt { calls: seen.filter(|c| which.is(c)).collect(), next }
    }

    /// Ends a call because somebody hangs up, when it is his or he is the carrier.
    pub(super) fn hang_up(
        &mut self,
        cdr_id: CallId,
        customer: Option<CustomerId>,
        by: HangUpBy,
        tx: &mut Transactions,
    ) -> HungUp {
        let found = self.by_cdr.get(&cdr_id.as_u128()).copied();
        let Some((id, call)) = found.and_then(|id| Some((id, self.all.get(id)?))) else {
            return HungUp::NotHere;
        };
        let own = |c: &LiveCall| c.cdr_id == cdr_id && (customer.is_none() || c.customer_id == customer);
        let answer = match call.phase {
            Phase::Over if customer.is_none() => HungUp::Over,
            _ if !call.live(tx.now.mono).any(|c| own(&c)) => HungUp::NotHere,
            _ if call.emergency().is_some() => HungUp::Emergency,
            _ => HungUp::Ended(call.state()),
        };
        if matches!(answer, HungUp::Ended(_)) {
            self.end_by_hand(id, by, tx);
        }
        answer
    }

    fn end_by_hand(&mut self, id: Id, by: HangUpBy, tx: &mut Transactions) {
        self.end_call(id, by.as_str(), tx);
    }
}

/// Slots of the table that one look is at: tens of microseconds.
pub(super) const PIECE: u32 = 256;
