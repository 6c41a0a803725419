//! How much is in use: channels, calls per second and daily spend of trunks, customers and vendor trunks.
//!
//! One [`Usage`] per process. Its slots belong to ids, so they outlive snapshots; [`Usage::bind`] (once per snapshot and
//! shard, under a lock) gives the dense table that the call path uses without any lock. What a call took it holds as a
//! [`Lent`] [`Reservation`]; dropping that gives everything back, so no path can leak a channel.
//!
//! T-SIP-06: the price of the first 60 seconds is reserved before the call goes out, so that 1,000 INVITEs at once cannot
//! each see the old balance; a long call reserves each further minute before it begins ([`Reservation::hold`]). What was
//! spent before the process began is given back to it at its start ([`Usage::restore`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use warp_model::sync::lock;
use warp_model::{BanId, CustomerId, GiveBack, Lent, Mono, Nanos, Now, TrunkId, Wall};

use crate::credit::{Held, Missed, Place, Waiting, Wallet};
use crate::directory::{Directory, Limits, TrunkIx, VendorTrunkIx};
use crate::rate::{self, SellRate};
use crate::refusal::Refusal;
use crate::route::VendorTrunkLive;

/// Counters of one trunk, customer or vendor trunk.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    channels: AtomicU32,
    /// Virtual time of the token bucket, ns on the monotonic clock (GCRA).
    next_call_ns: AtomicU64,
    /// Day that `spent` belongs to (days since 1970 in the customer's zone).
    day: AtomicI64,
    /// Nano-units spent and reserved on `day`.
    spent: AtomicI64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Slot {
    fn take_channel(&self, limit: Option<u32>) -> bool {
        let limit = limit.unwrap_or(u32::MAX);
        self.channels
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then(|| n.saturating_add(1)))
            .is_ok()
    }

    fn free_channel(&self) {
        let _ = self.channels.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
    }

    /// A call may start now: at most `cps` in any second, all of them at once when the trunk was idle.
    fn take_token(&self, cps: Option<u32>, now_ns: u64) -> bool {
        let Some(cps) = cps else { return true };
        let Some(step) = SECOND_NS.checked_div(u64::from(cps)) else {
            return false;
        };
        self.next_call_ns
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |t| {
                let t = t.max(now_ns);
                (t.saturating_sub(now_ns) + step <= SECOND_NS).then(|| t.saturating_add(step))
            })
            .is_ok()
    }

    fn token_ready(&self, cps: Option<u32>, now_ns: u64) -> bool {
        let Some(cps) = cps else { return true };
        let Some(step) = SECOND_NS.checked_div(u64::from(cps)) else {
            return false;
        };
        let t = self.next_call_ns.load(Ordering::Acquire);
        t.saturating_sub(now_ns) + step <= SECOND_NS
    }

    /// A call that did not go out gives its token back.
    fn return_token(&self, cps: Option<u32>) {
        let step = cps.and_then(|c| SECOND_NS.checked_div(u64::from(c)));
        let _ = self
            .next_call_ns
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |t| step.map(|s| t.saturating_sub(s)));
    }

    /// Begins the day when it is a new one. A racing reservation of the old day is lost with it: less than a call each.
    fn enter_day(&self, day: i64) {
        if self.day.fetch_max(day, Ordering::AcqRel) < day {
            self.spent.store(0, Ordering::Release);
        }
    }

    fn spend(&self, amount: i64, limit: Option<Nanos>, day: i64) -> bool {
        self.enter_day(day);
        let limit = limit.map_or(i64::MAX, |l| l.0);
        self.spent
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |s| {
                s.checked_add(amount).filter(|n| *n <= limit)
            })
            .is_ok()
    }

    /// Adds what was spent on a day before the process began.
    fn restore(&self, amount: i64, day: i64) {
        self.enter_day(day);
        self.correct(amount, day);
    }

    /// Corrects what was reserved on `day`; nothing when that day is over.
    fn correct(&self, by: i64, day: i64) {
        if self.day.load(Ordering::Acquire) == day {
            let _ =
                self.spent.fetch_update(Ordering::AcqRel, Ordering::Acquire, |s| Some(s.saturating_add(by)));
        }
    }
}

/// The table of what is in use, one for the process.
#[derive(Debug, Default)]
pub struct Usage {
    table: Mutex<Table>,
    wallet: Arc<Wallet>,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<(u8, u128), Arc<Slot>>,
    /// Restored, of customers whose zone is not known yet: no directory with them was bound.
    waiting: HashMap<CustomerId, Vec<Spent>>,
}

/// What a customer's calls through one trunk cost before this process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The customer that spent it.
    pub customer: CustomerId,
    /// The trunk through which the customer called.
    pub trunk: TrunkId,
    /// When the calls began: on which day that was is told by the customer's zone.
    pub at: Wall,
    /// The sum of the prices, in nano-units of the currency of the customer.
    pub amount: Nanos,
}

const TRUNK: u8 = 0;
const CUSTOMER: u8 = 1;
const VENDOR_TRUNK: u8 = 2;

/// The table in the order of one directory; what the call path uses.
#[derive(Debug)]
pub struct Bound {
    directory: Arc<Directory>,
    trunks: Vec<Arc<Slot>>,
    customers: Vec<Arc<Slot>>,
    vendor_trunks: Vec<Arc<Slot>>,
    /// By trunk: where the money is that its calls are paid from, when they are paid ahead.
    places: Vec<Option<Arc<Place>>>,
}

/// Figures of one trunk for the operator's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// How many calls are up now.
    pub channels: u32,
    /// Spent and reserved today.
    pub spent: Nanos,
}

/// What a call holds on its customer's side. Unless it is [settled](Reservation::settle), all of it goes back: a call that was
/// never answered costs nothing.
#[derive(Debug)]
pub struct Reservation {
    trunk: Arc<Slot>,
    customer: Arc<Slot>,
    /// What a minute costs; `None`: an emergency call, which no limit ends.
    rate: Option<SellRate>,
    /// Daily limits of the trunk and of the customer, as they were at the INVITE.
    limits: [Option<Nanos>; 2],
    utc_offset_min: i32,
    /// On `day`.
    reserved: i64,
    /// Fell on days that are over.
    before: i64,
    day: i64,
    /// What it holds of its billing account; `None`: it is not paid ahead.
    credit: Option<Credit>,
}

/// What a call that is paid ahead holds, and how far that goes.
#[derive(Debug)]
struct Credit {
    place: Arc<Place>,
    held: Lent<Held>,
    /// Whole increments, in seconds.
    paid_s: u64,
}

impl Credit {
    /// Pays the first minute, or as many whole increments of it as there is money for.
    fn begin(place: &Arc<Place>, rate: &SellRate, now: Mono) -> Result<Credit, Refusal> {
        let (whole, first) = (price_of(rate, AHEAD_MS)?, Nanos(price_of(rate, 0)?));
        place.comes(first);
        let held = |(paid_s, price)| {
            let held = place.hold(price, now)?;
            Some(Credit { place: Arc::clone(place), held, paid_s })
        };
        let free = || place.purse().map_or(Nanos::ZERO, |p| p.free());
        let all = rate::affordable(rate, AHEAD_MS, Nanos(whole)).and_then(held);
        // Between looking and taking another call may have been faster; then it is looked once more.
        let part = || rate::affordable(rate, AHEAD_MS, free()).and_then(held);
        if let Some(credit) = all {
            return Ok(credit);
        }
        place.miss(Missed { want: Nanos(whole), need: first });
        part().or_else(part).ok_or(Refusal::NoCredit)
    }

    /// Pays up to a minute more; false when there is not even one more increment.
    fn more(&mut self, rate: &SellRate, now: Mono) -> bool {
        let had = self.held.amount();
        let ms = self.paid_s.saturating_mul(1_000).saturating_add(AHEAD_MS);
        let whole = price_of(rate, ms).unwrap_or(i64::MAX);
        if self.take(rate, ms, Nanos(whole), now) {
            return true;
        }
        let next = price_of(rate, self.paid_s.saturating_mul(1_000).saturating_add(1)).unwrap_or(i64::MAX);
        let more = |to: i64| Nanos(to.saturating_sub(had.0));
        self.place.miss(Missed { want: more(whole), need: more(next) });
        let free = self.held.purse().free();
        self.take(rate, ms, Nanos(had.0.saturating_add(free.0)), now)
    }

    fn take(&mut self, rate: &SellRate, ms: u64, most: Nanos, now: Mono) -> bool {
        let had = self.held.amount();
        let Some((paid_s, price)) = rate::affordable(rate, ms, most).filter(|(s, _)| *s > self.paid_s) else {
            return false;
        };
        let taken = self.held.more(Nanos(price.0.saturating_sub(had.0).max(0)), now);
        if taken {
            self.paid_s = paid_s;
        }
        taken
    }
}

/// What a call holds of a vendor trunk.
#[derive(Debug)]
pub struct VendorReservation {
    slot: Arc<Slot>,
}

impl Usage {
    /// A table in which nothing is in use.
    pub fn new() -> Usage {
        Usage::default()
    }

    /// Takes over what was spent before this process began, so that a restart gives nobody a second daily limit. Before
    /// traffic; it counts from the first directory on that knows the customer.
    pub fn restore(&self, spent: impl IntoIterator<Item = Spent>) {
        let mut table = lock(&self.table);
        for one in spent {
            table.waiting.entry(one.customer).or_default().push(one);
        }
        // A later day begins with nothing: the days come in order.
        for list in table.waiting.values_mut() {
            list.sort_by_key(|s| s.at);
        }
    }

    /// The table in a directory's order. Ids seen before keep their counters.
    pub fn bind(&self, directory: &Arc<Directory>) -> Bound {
        let mut table = lock(&self.table);
        let Table { slots, waiting } = &mut *table;
        let mut slot = |kind: u8, id: u128| slots.entry((kind, id)).or_default().clone();
        if !waiting.is_empty() {
            for (_, customer) in directory.customers() {
                for spent in waiting.remove(&customer.id).unwrap_or_default() {
                    let day = day_of(spent.at, customer.utc_offset_min);
                    slot(CUSTOMER, customer.id.as_u128()).restore(spent.amount.0, day);
                    slot(TRUNK, spent.trunk.as_u128()).restore(spent.amount.0, day);
                }
            }
        }
        Bound {
            trunks: directory.trunks().map(|(_, t)| slot(TRUNK, t.id.as_u128())).collect(),
            customers: directory.customers().map(|(_, c)| slot(CUSTOMER, c.id.as_u128())).collect(),
            vendor_trunks: directory
                .vendor_trunks()
                .map(|(_, t)| slot(VENDOR_TRUNK, t.id.as_u128()))
                .collect(),
            places: directory
                .trunks()
                .map(|(_, t)| t.payer.filter(|p| p.ahead).map(|p| self.wallet.place(p.ban)))
                .collect(),
            directory: directory.clone(),
        }
    }

    /// What calls that are paid ahead are paid from.
    pub fn wallet(&self) -> &Arc<Wallet> {
        &self.wallet
    }
}

impl Bound {
    /// Whether a call that [`Bound::admit`] refused for want of credit may get its first increment in a moment: the money is at the bank
    /// as far as is known, or was not asked for since the call came, at `since`.
    pub fn may_get_credit(&self, trunk: TrunkIx, sell: &SellRate, since: Mono) -> bool {
        let place = self.places.get(trunk.at()).and_then(Option::as_ref);
        let first = price_of(sell, 0).map(Nanos);
        place.zip(first.ok()).is_some_and(|(place, first)| place.may_get(first, since))
    }

    /// A place among the calls that wait for money of the trunk's account. `None`: too many wait already.
    pub fn wait_for_credit(&self, trunk: TrunkIx) -> Option<Lent<Waiting>> {
        self.places.get(trunk.at()).and_then(Option::as_ref)?.wait()
    }

    /// Reserves a channel, a token and the price of the first 60 seconds, on the trunk and on its customer. All or nothing.
    ///
    /// `sell` is `None` for emergency calls: those are counted but never refused.
    pub fn admit(
        &self,
        trunk: TrunkIx,
        sell: Option<&SellRate>,
        now: Now,
    ) -> Result<Lent<Reservation>, Refusal> {
        let row = self.directory.trunk(trunk).ok_or(Refusal::TrunkDisabled)?;
        let customer_ix = self.directory.customer_of(trunk).ok_or(Refusal::TrunkDisabled)?;
        let customer = self.directory.customer(customer_ix).ok_or(Refusal::TrunkDisabled)?;
        let (Some(ts), Some(cs)) = (self.trunks.get(trunk.at()), self.customers.get(customer_ix.at())) else {
            return Err(Refusal::TrunkDisabled);
        };
        let none = Limits::default();
        let (tl, cl) = match sell {
            Some(_) => (&row.limits, &customer.limits),
            None => (&none, &none),
        };
        let amount = match sell {
            Some(rate) => first_minute(rate)?,
            None => 0,
        };
        let now_ns = now.mono.0;
        let day = day_of(now.wall, customer.utc_offset_min);

        // Each step undoes the ones before it when it fails.
        if !ts.take_channel(tl.channels) {
            return Err(Refusal::TrunkChannels);
        }
        let undo_trunk = Lent::new(|| ts.free_channel());
        if !cs.take_channel(cl.channels) {
            return Err(Refusal::CustomerChannels);
        }
        let undo_customer = Lent::new(|| cs.free_channel());
        if !ts.spend(amount, tl.daily_spend, day) {
            return Err(Refusal::DailySpend);
        }
        let undo_spend = Lent::new(|| ts.correct(-amount, day));
        if !cs.spend(amount, cl.daily_spend, day) {
            return Err(Refusal::DailySpend);
        }
        let undo_customer_spend = Lent::new(|| cs.correct(-amount, day));
        let credit = match (sell, self.places.get(trunk.at()).and_then(Option::as_ref)) {
            // What costs nothing needs no money: an account without any still takes its toll-free calls.
            (Some(rate), Some(place)) if !rate.is_free() => Some(Credit::begin(place, rate, now.mono)?),
            _ => None,
        };
        if !ts.take_token(tl.cps, now_ns) {
            return Err(Refusal::TrunkCps);
        }
        if !cs.take_token(cl.cps, now_ns) {
            ts.return_token(tl.cps);
            return Err(Refusal::CustomerCps);
        }
        undo_trunk.keep();
        undo_customer.keep();
        undo_spend.keep();
        undo_customer_spend.keep();
        Ok(Lent::new(Reservation {
            trunk: ts.clone(),
            customer: cs.clone(),
            rate: sell.copied(),
            limits: [tl.daily_spend, cl.daily_spend],
            utc_offset_min: customer.utc_offset_min,
            reserved: amount,
            before: 0,
            day,
            credit,
        }))
    }

    /// Reserves a channel and a token of a vendor trunk, right before an attempt. `None`: full, try the next candidate.
    pub fn take_vendor_trunk(&self, ix: VendorTrunkIx, now: Now) -> Option<Lent<VendorReservation>> {
        let row = self.directory.vendor_trunk(ix)?;
        let slot = self.vendor_trunks.get(ix.at())?;
        if !slot.take_channel(row.limits.channels) {
            return None;
        }
        if !slot.take_token(row.limits.cps, now.mono.0) {
            slot.free_channel();
            return None;
        }
        Some(Lent::new(VendorReservation { slot: slot.clone() }))
    }

    /// The same for an emergency call: counted, refused by no limit. `None`: the directory has no such trunk.
    pub fn count_vendor_trunk(&self, ix: VendorTrunkIx) -> Option<Lent<VendorReservation>> {
        let slot = self.vendor_trunks.get(ix.at())?;
        slot.take_channel(None).then(|| Lent::new(VendorReservation { slot: slot.clone() }))
    }

    /// Live figures of a vendor trunk as [`decide`](crate::decide) takes them; `up` says whether it is in rotation.
    pub fn look(&self, ix: VendorTrunkIx, now: Now, up: bool) -> VendorTrunkLive {
        let cps = self.directory.vendor_trunk(ix).and_then(|t| t.limits.cps);
        match self.vendor_trunks.get(ix.at()) {
            Some(slot) => VendorTrunkLive {
                up,
                channels_used: slot.channels.load(Ordering::Relaxed),
                cps_ok: slot.token_ready(cps, now.mono.0),
                ..VendorTrunkLive::default()
            },
            None => VendorTrunkLive { up: false, ..VendorTrunkLive::default() },
        }
    }

    /// The directory it is in the order of.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Figures of a trunk.
    pub fn trunk(&self, ix: TrunkIx) -> Option<Gauges> {
        let slot = self.trunks.get(ix.at())?;
        Some(Gauges {
            channels: slot.channels.load(Ordering::Relaxed),
            spent: Nanos(slot.spent.load(Ordering::Relaxed)),
        })
    }

    /// Channels in use on a vendor trunk.
    pub fn vendor_trunk_channels(&self, ix: VendorTrunkIx) -> Option<u32> {
        Some(self.vendor_trunks.get(ix.at())?.channels.load(Ordering::Relaxed))
    }
}

/// The customer's day (days since 1970 in its zone).
fn day_of(at: Wall, utc_offset_min: i32) -> i64 {
    let local_s = at.0.div_euclid(1_000_000).saturating_add(i64::from(utc_offset_min) * 60);
    local_s.div_euclid(86_400)
}

/// Price of the first 60 seconds, rounded as the contract says.
fn first_minute(rate: &SellRate) -> Result<i64, Refusal> {
    price_of(rate, AHEAD_MS)
}

/// A call is always paid for one minute ahead.
const AHEAD_MS: u64 = 60_000;

fn price_of(rate: &SellRate, ms: u64) -> Result<i64, Refusal> {
    rate::billable_s(ms, rate.terms, rate.rounding.partial_second)
        .and_then(|s| rate::charge(rate, s))
        .map(|n| n.0)
        .map_err(|_| Refusal::RatingFailed)
}

impl Reservation {
    /// Holds a running call to the daily limits: reserves its price for one minute more than the `run` that it has behind it,
    /// on the day that it is now. Call it before each minute of the call begins.
    ///
    /// Errors: the limit of the trunk or of the customer is reached; nothing more was reserved, and the call is to end with
    /// the minute that it is in.
    pub fn hold(&mut self, run: Duration, now: Now) -> Result<(), Refusal> {
        let Some(rate) = &self.rate else { return Ok(()) };
        let ms = u64::try_from(run.as_millis()).unwrap_or(u64::MAX).saturating_add(AHEAD_MS);
        let more = price_of(rate, ms)?.saturating_sub(self.before).saturating_sub(self.reserved);
        if more <= 0 {
            return Ok(());
        }
        let day = day_of(now.wall, self.utc_offset_min);
        let (held, before) = if day > self.day {
            (0, self.before.saturating_add(self.reserved))
        } else {
            (self.reserved, self.before)
        };
        let day = day.max(self.day);
        let [of_trunk, of_customer] = self.limits;
        if !self.trunk.spend(more, of_trunk, day) {
            return Err(Refusal::DailySpend);
        }
        if !self.customer.spend(more, of_customer, day) {
            self.trunk.correct(-more, day);
            return Err(Refusal::DailySpend);
        }
        (self.reserved, self.before, self.day) = (held.saturating_add(more), before, day);
        Ok(())
    }

    /// How far the call is paid, from its answer; `None`: it is not paid ahead, and nothing of this kind ends it.
    pub fn paid(&self) -> Option<Duration> {
        self.credit.as_ref().map(|c| Duration::from_secs(c.paid_s))
    }

    /// When the lease ends that the call is paid from; the call ends then, unless the lease was extended.
    pub fn lease_ends(&self) -> Option<Mono> {
        self.credit.as_ref().map(|c| c.held.purse().ends())
    }

    /// The account that pays the call ahead, and which of its leases.
    pub fn lease(&self) -> Option<(BanId, i64)> {
        self.credit.as_ref().map(|c| (c.held.purse().ban(), c.held.purse().epoch()))
    }

    /// Pays up to a minute more than is paid, in whole increments. False: there is no money for one more.
    pub fn pay_on(&mut self, now: Mono) -> bool {
        match (&mut self.credit, &self.rate) {
            (Some(credit), Some(rate)) => credit.more(rate, now),
            _ => true,
        }
    }

    /// The call ended: what was reserved becomes what it cost, and the channels go back.
    pub fn settle(mut lent: Lent<Reservation>, charge: Nanos) {
        if let Some(credit) = lent.credit.take() {
            Held::settle(credit.held, charge);
        }
        let today = charge.0.saturating_sub(lent.before).max(0);
        let by = today.saturating_sub(lent.reserved);
        lent.trunk.correct(by, lent.day);
        lent.customer.correct(by, lent.day);
        lent.reserved = 0;
    }

    /// What it holds of the day's spend, in nano-units.
    pub fn reserved(&self) -> Nanos {
        Nanos(self.reserved)
    }
}

impl GiveBack for Reservation {
    fn give_back(&mut self) {
        self.trunk.free_channel();
        self.customer.free_channel();
        if self.reserved != 0 {
            self.trunk.correct(-self.reserved, self.day);
            self.customer.correct(-self.reserved, self.day);
        }
    }
}

impl GiveBack for VendorReservation {
    fn give_back(&mut self) {
        self.slot.free_channel();
    }
}
