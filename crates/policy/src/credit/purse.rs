//! The node side of credit: what calls are paid from. A [`Wallet`] per process has one place per account; in it is the [`Purse`] of the
//! lease that the node has now. A call takes from it by one atomic, waits for nobody, and puts back what it did not use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use warp_model::sync::lock;
use warp_model::{BanId, GiveBack, Lent, Mono, Nanos};

/// The money of one lease on its node.
#[derive(Debug)]
pub struct Purse {
    ban: BanId,
    epoch: i64,
    /// Not spent and not held by a call. The only figure that calls change, so that no two of them see the same money.
    free: AtomicI64,
    /// What finished calls have cost.
    spent: AtomicI64,
    /// All that was lent, less what was taken back.
    granted: AtomicI64,
    /// Calls that hold something of it.
    calls: AtomicU32,
    /// When it ends, ns on the monotonic clock.
    ends: AtomicU64,
}

/// Far below nothing: what calls give back does not make a shut purse one that can be taken from.
const SHUT: i64 = i64::MIN / 2;

/// What a call holds of a purse. Dropped, all of it goes back.
#[derive(Debug)]
pub struct Held {
    purse: Arc<Purse>,
    amount: i64,
}

impl Purse {
    /// Of a lease that the bank has just written down, with what it lent.
    pub fn new(ban: BanId, epoch: i64, granted: Nanos, ends: Mono) -> Self {
        Self {
            ban,
            epoch,
            free: AtomicI64::new(granted.0),
            spent: AtomicI64::new(0),
            granted: AtomicI64::new(granted.0),
            calls: AtomicU32::new(0),
            ends: AtomicU64::new(ends.0),
        }
    }

    /// The account whose money it is.
    pub fn ban(&self) -> BanId {
        self.ban
    }

    /// Which lease of the account.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// When it ends unless it is extended: calls that are paid from it end then.
    pub fn ends(&self) -> Mono {
        Mono(self.ends.load(Ordering::Acquire))
    }

    /// What no call holds.
    pub fn free(&self) -> Nanos {
        Nanos(self.free.load(Ordering::Acquire).max(0))
    }

    /// What calls hold, as nearly as can be said while they change it.
    pub fn held(&self) -> Nanos {
        let granted = self.granted.load(Ordering::Acquire);
        Nanos(granted.saturating_sub(self.free().0).saturating_sub(self.spent().0).max(0))
    }

    /// What finished calls have cost.
    pub fn spent(&self) -> Nanos {
        Nanos(self.spent.load(Ordering::Acquire))
    }

    /// Calls that are paid from it.
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::Acquire)
    }

    /// The bank has lent more, and the lease goes on until then.
    pub fn extend(&self, more: Nanos, ends: Mono) {
        self.granted.fetch_add(more.0, Ordering::AcqRel);
        self.free.fetch_add(more.0, Ordering::AcqRel);
        self.ends.fetch_max(ends.0, Ordering::AcqRel);
    }

    /// Takes what no call holds off it, at most so much, to be given back to the bank; how much it was.
    pub fn take_back(&self, most: Nanos) -> Nanos {
        let taken = |free: i64| free.min(most.0).max(0);
        let before = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |f| f.checked_sub(taken(f)));
        let back = before.map_or(0, taken);
        self.granted.fetch_sub(back, Ordering::AcqRel);
        Nanos(back)
    }

    /// What all its calls have cost, when it has ended and no call holds anything of it. From then on nothing can be taken from it, also by
    /// a shard that was held up after it had read its clock. `None`: not yet.
    pub fn closing(&self, now: Mono) -> Option<Nanos> {
        if now < self.ends() {
            return None;
        }
        // First the purse is shut, then calls are counted: who took something before is among them.
        let _ = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |f| {
            (f > SHUT / 2).then(|| SHUT.saturating_add(f))
        });
        (self.calls() == 0).then(|| self.spent())
    }

    fn take(&self, amount: i64, now: Mono) -> bool {
        now < self.ends()
            && self
                .free
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |f| {
                    f.checked_sub(amount).filter(|left| *left >= 0)
                })
                .is_ok()
    }

    /// Holds so much for a call. `None`: there is not so much, or the lease has ended.
    pub fn hold(self: &Arc<Self>, amount: Nanos, now: Mono) -> Option<Lent<Held>> {
        // Counted first: who sees no call and an ended lease may say what it has cost.
        self.calls.fetch_add(1, Ordering::AcqRel);
        let mut held = Lent::new(Held { purse: Arc::clone(self), amount: 0 });
        held.more(amount, now).then_some(held)
    }
}

impl Held {
    /// The purse that it is held of.
    pub fn purse(&self) -> &Purse {
        &self.purse
    }

    /// How much is held.
    pub fn amount(&self) -> Nanos {
        Nanos(self.amount)
    }

    /// Holds more. False: there is not so much, or the lease has ended; nothing more is held.
    pub fn more(&mut self, amount: Nanos, now: Mono) -> bool {
        let taken = amount.0 >= 0 && self.purse.take(amount.0, now);
        if taken {
            self.amount = self.amount.saturating_add(amount.0);
        }
        taken
    }

    /// The call is over and has cost so much, never more than is held; the rest goes back.
    pub fn settle(mut lent: Lent<Held>, cost: Nanos) {
        let cost = cost.0.clamp(0, lent.amount);
        lent.purse.spent.fetch_add(cost, Ordering::AcqRel);
        lent.amount = lent.amount.saturating_sub(cost);
    }
}

impl GiveBack for Held {
    fn give_back(&mut self) {
        self.purse.free.fetch_add(self.amount, Ordering::AcqRel);
        self.purse.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The purses of a process, one place per account.
#[derive(Debug, Default)]
pub struct Wallet {
    places: Mutex<HashMap<BanId, Arc<Place>>>,
    /// Calls of all accounts that wait for money.
    waiting: Arc<AtomicU32>,
}

/// Calls of one account that may wait for money at a time; a further one is refused at once.
pub const WAITING_OF_ACCOUNT: u32 = 1_024;
/// The same for all accounts of a process together.
pub const WAITING_IN_ALL: u32 = 4_096;

/// The place of a call that waits for money which the bank has. Dropped, it is free for another call.
#[derive(Debug)]
pub struct Waiting {
    place: Arc<Place>,
}

impl GiveBack for Waiting {
    fn give_back(&mut self) {
        self.place.waiting.fetch_sub(1, Ordering::AcqRel);
        self.place.waiting_in_all.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What calls asked for in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// The largest amount; 0 = none.
    pub want: Nanos,
    /// The largest first increment: less would have been of no use.
    pub need: Nanos,
}

/// Where an account's purse is, and what was missed there.
#[derive(Debug)]
pub struct Place {
    ban: BanId,
    purse: Mutex<Option<Arc<Purse>>>,
    /// What calls asked for and did not get since [`Place::missed`] was read: the largest, and what would have been of use.
    missed: Mutex<Missed>,
    /// What calls took since [`Place::taken`] was read.
    taken: AtomicI64,
    /// The first increment of the last call.
    increment: AtomicI64,
    /// What the bank could lend when it was asked last.
    at_bank: AtomicI64,
    /// When that asking began, ns on the monotonic clock; 0: it was never asked.
    asked: AtomicU64,
    /// Calls that wait for money of this account, and of all.
    waiting: AtomicU32,
    waiting_in_all: Arc<AtomicU32>,
}

impl Wallet {
    /// The place of an account; it is made when it is asked for the first time.
    pub fn place(&self, ban: BanId) -> Arc<Place> {
        let make = || {
            let (purse, missed) = (Mutex::new(None), Mutex::default());
            let [taken, increment, at_bank] = [0, 0, 0].map(AtomicI64::new);
            let (waiting, waiting_in_all) = (AtomicU32::new(0), Arc::clone(&self.waiting));
            let asked = AtomicU64::new(0);
            Arc::new(Place { ban, purse, missed, taken, increment, at_bank, asked, waiting, waiting_in_all })
        };
        lock(&self.places).entry(ban).or_insert_with(make).clone()
    }

    /// All places, in no order.
    pub fn places(&self) -> Vec<Arc<Place>> {
        lock(&self.places).values().cloned().collect()
    }
}

impl Place {
    /// The account whose place it is.
    pub fn ban(&self) -> BanId {
        self.ban
    }

    /// The purse of the lease that the node has now.
    pub fn purse(&self) -> Option<Arc<Purse>> {
        lock(&self.purse).clone()
    }

    /// Puts another purse there; calls of the one before go on with theirs.
    pub fn put(&self, purse: Option<Arc<Purse>>) -> Option<Arc<Purse>> {
        std::mem::replace(&mut lock(&self.purse), purse)
    }

    /// Holds so much for a call. `None`: no lease has so much now.
    pub fn hold(&self, amount: Nanos, now: Mono) -> Option<Lent<Held>> {
        let held = self.purse().and_then(|p| p.hold(amount, now));
        if held.is_some() {
            self.taken.fetch_add(amount.0, Ordering::AcqRel);
        }
        held
    }

    /// Notes what the first increment of a call costs that comes now.
    pub fn comes(&self, increment: Nanos) {
        self.increment.store(increment.0, Ordering::Release);
    }

    /// The first increment of the last call: less than that is of no use here. 0: there was no call.
    pub fn increment(&self) -> Nanos {
        Nanos(self.increment.load(Ordering::Acquire))
    }

    /// Notes what the bank could lend, and that it was asked for all that calls had missed before `asked`.
    pub fn bank_has(&self, free: Nanos, asked: Mono) {
        self.at_bank.store(free.0, Ordering::Release);
        self.asked.fetch_max(asked.0, Ordering::AcqRel);
    }

    /// Whether a call that came at `since` and did not get `amount` may get it in a moment: the purse and what the bank was last known to have
    /// come to so much, or the bank has not been asked since the call came. Money may have been paid in meanwhile, and what is known of an account
    /// that nobody called from is old. False where nobody asks.
    pub fn may_get(&self, amount: Nanos, since: Mono) -> bool {
        let free = self.purse().map_or(Nanos::ZERO, |p| p.free());
        let asked = self.asked.load(Ordering::Acquire);
        let old = asked > 0 && asked < since.0;
        old || self.at_bank.load(Ordering::Acquire).saturating_add(free.0.max(0)) >= amount.0
    }

    /// A place for a call that waits for money. `None`: [`WAITING_OF_ACCOUNT`] calls of this account wait, or [`WAITING_IN_ALL`] calls.
    pub fn wait(self: &Arc<Self>) -> Option<Lent<Waiting>> {
        let taken = |of: &AtomicU32, most: u32| {
            let one_more = |n: u32| (n < most).then_some(n + 1);
            of.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
        };
        if !taken(&self.waiting, WAITING_OF_ACCOUNT) {
            return None;
        }
        if !taken(&self.waiting_in_all, WAITING_IN_ALL) {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Lent::new(Waiting { place: Arc::clone(self) }))
    }

    /// How many calls wait for money of this account.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Notes that a call did not get what it wanted: it is asked for behind the call's back.
    pub fn miss(&self, missed: Missed) {
        let mut all = lock(&self.missed);
        *all = Missed { want: all.want.max(missed.want), need: all.need.max(missed.need) };
    }

    /// What was asked for in vain since this was read last.
    pub fn missed(&self) -> Missed {
        std::mem::take(&mut lock(&self.missed))
    }

    /// What calls took since this was read last.
    pub fn taken(&self) -> Nanos {
        Nanos(self.taken.swap(0, Ordering::AcqRel))
    }
}
