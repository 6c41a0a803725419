//! Borrows money of accounts from PostgreSQL for the calls of this node, ahead of them (RFC 0014): no INVITE waits for it. The node's side
//! is `policy::credit::Wallet`, whose purses calls take from; the bank's side are the rows of `store::credit`.
//!
//! A purse is filled before the bank's answer is older than the lease: its end is counted from before the request left. Whatever is not
//! known after a fault (was it written or not?) is taken to be the smaller amount on the node, and the larger one at the bank.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use warp_model::{BanId, Mono, Nanos};
use warp_policy::credit::{LeaseRequest, Place, Purse, Wallet};

use crate::App;
use crate::store::credit::{self as rows, Holder};
use crate::store::{Scope, StoreError};

/// How the agent reaches the proxy of this process.
#[derive(Clone)]
pub struct Door {
    /// What its calls are paid from.
    pub wallet: Arc<Wallet>,
    /// The monotonic clock of its shards.
    pub mono: Arc<dyn Fn() -> Mono + Send + Sync>,
    /// The name of the node, for people.
    pub node: String,
}

/// How often purses are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What a purse has at least when there is plenty: one unit of the currency.
const BASE: i64 = 1_000_000_000;
/// What it has of a smaller account: so many increments of a call, or a part of what is left of the account, when that is more.
const INCREMENTS: i64 = 20;
/// Which part of an account a purse has at least: a fiftieth.
const PART: i64 = 50;
/// What it has while no call has shown yet how large an increment is, so that the first call finds money: a twentieth of the unit.
const FIRST: i64 = BASE / 20;
/// But no more than this part of a small account: less than what the bank keeps for one node near the end, so that it goes to one with calls.
const FIRST_PART: i64 = 5;
/// The most that an idle node keeps is this part of an account: what the bank lends one node at once.
const MOST: i64 = 4;
/// Pause before an account that had less to lend than was wanted is asked again, unless a call was refused for it.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often leases of processes that are gone are looked for.
const LOST_EVERY: Duration = Duration::from_secs(5);
/// A purse that no call has used for so long gives back what is beyond its base, and of a small account everything.
const IDLE: Duration = Duration::from_secs(30);
/// An account with less than this is small: a first call waits for the bank a moment, and no node that lies idle holds a part of it.
const SMALL: i64 = FIRST * FIRST_PART;
/// How old may be what an idle node knows of an account: others may have spent what it then has to give back.
const KNOWN_FOR: Duration = Duration::from_secs(25);

/// Looks after the purses until told to stop.
pub async fn run(app: Arc<App>, log: Option<String>, mut stop: watch::Receiver<bool>) {
    let mut agent = None;
    while tokio::time::timeout(LOOK_EVERY, stop.wait_for(|s| *s)).await.is_err() {
        if agent.is_none() {
            agent = app.credit_door().map(|door| Agent::new(app.clone(), door.clone(), log.clone()));
        }
        if let Some(agent) = &mut agent {
            agent.look(app.has_caught_up()).await;
        }
    }
}

/// What is known of the purses of this process.
pub struct Agent {
    app: Arc<App>,
    door: Door,
    holder: Holder,
    known: HashMap<BanId, Known>,
    /// Leases that ended, whose cost the bank does not know yet.
    ended: Vec<Arc<Purse>>,
    lost_at: Mono,
}

struct Known {
    /// When the account was seen first.
    since: Mono,
    /// When the bank was last asked and did not give what was wanted.
    denied: Option<Mono>,
    /// When a call used the purse, or wanted to; `None`: none ever did.
    used: Option<Mono>,
    /// What was left at the bank when it last lent something, or got it back.
    left: i64,
}

impl Known {
    /// What a node keeps of an account that nobody calls from here: enough for its next calls, and a small part of what there is, so that
    /// many nodes hold no small account among them. `free` is what it has now; `None`: it has no lease, and the bank is not known either.
    /// `rests`: no call used it for [`IDLE`]. Then nothing is kept of an account that is [`SMALL`].
    fn keeps(&self, free: Option<i64>, increment: i64, rests: bool) -> i64 {
        let next = increment.saturating_mul(INCREMENTS).min(BASE);
        let Some(has) = free.map(|free| self.left.max(0).saturating_add(free)) else {
            return if increment > 0 { next } else { BASE };
        };
        if rests && has < SMALL {
            return 0;
        }
        let next = if increment > 0 { next } else { FIRST.min(has / FIRST_PART) };
        let most = has / MOST;
        // Near the end of the money it goes to one node, and not to one that has no calls.
        if most < increment { 0 } else { next.max(has / PART).min(BASE).min(most) }
    }
}

impl Agent {
    /// For the proxy behind a door; `log` names the event log that its records come by, when it has one.
    pub fn new(app: Arc<App>, door: Door, log: Option<String>) -> Self {
        let process = format!("{:032x}", app.random_id());
        // Without a log of its own the records of a process that is lost are looked for by nobody but an operator.
        let log = log.unwrap_or_else(|| format!("none:{process}"));
        let holder = Holder { node: door.node.clone(), process, log };
        Self { app, door, holder, known: HashMap::new(), ended: Vec::new(), lost_at: Mono(0) }
    }

    /// One look at all purses. A database that is away changes nothing: purses go on with what they have, until their leases end.
    /// `caught_up`: the records of every earlier process of this node are posted.
    pub async fn look(&mut self, caught_up: bool) {
        for place in self.door.wallet.places() {
            if let Err(error) = self.look_after(&place).await {
                tracing::debug!(%error, ban = %place.ban(), "credit waits for PostgreSQL");
            }
        }
        let now = self.now();
        for purse in std::mem::take(&mut self.ended) {
            let closed = match purse.closing(now) {
                Some(cost) => self.close(&purse, cost).await,
                None => Ok(false),
            };
            match closed {
                Ok(true) => {}
                Ok(false) => self.ended.push(purse),
                Err(error) => {
                    tracing::debug!(%error, ban = %purse.ban(), "what a lease has cost waits for PostgreSQL");
                    self.ended.push(purse);
                }
            }
        }
        if caught_up && now.since(self.lost_at) >= LOST_EVERY {
            self.lost_at = now;
            if let Err(error) = self.release_lost().await {
                tracing::debug!(%error, "leases of earlier processes wait for PostgreSQL");
            }
        }
    }

    fn now(&self) -> Mono {
        (self.door.mono)()
    }

    async fn look_after(&mut self, place: &Place) -> Result<(), StoreError> {
        let now = self.now();
        let mut purse = place.purse();
        if purse.as_ref().is_some_and(|p| p.ends() <= now) {
            self.ended.extend(place.put(None));
            purse = None;
        }
        let (missed, taken) = (place.missed(), place.taken());
        let known =
            self.known.entry(place.ban()).or_insert(Known { since: now, denied: None, used: None, left: 0 });
        let (free, held) = purse.as_ref().map_or((0, 0), |p| (p.free().0, p.held().0));
        if held > 0 || taken.0 > 0 || missed.want.0 > 0 {
            known.used = Some(now);
        }
        let idle = held == 0 && known.used.is_none_or(|used| now.since(used) >= IDLE);
        let rests = idle && now.since(known.used.unwrap_or(known.since)) >= IDLE;
        let lease = self.app.config.credit_lease;
        let increment = place.increment();
        let keeps = known.keeps(purse.as_ref().map(|p| p.free().0), increment.0, rests);
        let goal = match idle {
            true => keeps,
            // Who has calls wants at least the next one's beginning, however little there is.
            false => keeps.max(increment.0.saturating_mul(INCREMENTS).min(BASE)),
        };
        let goal = goal.max(held).max(taken.0.saturating_mul(4)).max(missed.want.0.saturating_mul(2));
        // A lease that holds nothing, of an account that nobody here calls from, is left to end.
        let old = if idle { (lease - lease / 8).saturating_sub(KNOWN_FOR) } else { Duration::ZERO };
        let renew = (!idle || free.max(goal) > 0)
            && purse.as_ref().is_some_and(|p| p.ends() <= now + old.max(lease / 2));
        // A purse that calls empty is filled at each look; only who had nothing to lend is left alone for a while.
        let waits = known.denied.is_some_and(|at| now.since(at) < ASK_AGAIN);
        let short = free < goal / 2 && !waits;
        if missed.want.0 > 0 || short || renew {
            // Until the bank gives what is wanted: it may have nothing, or be away.
            known.denied = Some(now);
            let want = if free < goal { goal.saturating_sub(free) } else { 0 };
            let lease = purse.as_ref().map(|p| p.epoch());
            let ask = LeaseRequest {
                want: Nanos(want),
                need: missed.need.max(increment),
                has: Nanos(free),
                calls: !idle,
                lease,
            };
            self.borrow(place, ask, now).await?;
        }
        if free > if idle { goal } else { goal.saturating_mul(4) }
            && let Some(purse) = purse
        {
            let back = purse.take_back(Nanos(free.saturating_sub(goal)));
            self.give_back(place, &purse, back).await?;
        }
        Ok(())
    }

    async fn borrow(&mut self, place: &Place, ask: LeaseRequest, asked: Mono) -> Result<(), StoreError> {
        let lease = self.app.config.credit_lease;
        // Counted from here, and shorter than at the bank: the node's calls have been cut when the bank takes the lease to be over.
        let ends = self.now() + (lease - lease / 8);
        let mut tx = self.app.store.begin(Scope::Operator("credit")).await?;
        let Some(mut locked) = rows::lock(&mut tx, place.ban()).await? else { return Ok(()) };
        let expires_at = locked.now.plus(lease);
        let Some(grant) = locked.account.lend(&self.holder.process, ask, locked.now, expires_at) else {
            // Nobody waits for what is not lent.
            place.bank_has(Nanos::ZERO, asked);
            return Ok(());
        };
        rows::write(&mut tx, place.ban(), &locked, Some(&self.holder)).await?;
        tx.commit().await?;
        if let Some(known) = self.known.get_mut(&place.ban()) {
            known.left = grant.left.0;
            known.denied = known.denied.filter(|_| grant.more < ask.want);
        }
        match place.purse().filter(|p| p.epoch() == grant.epoch) {
            Some(purse) => purse.extend(grant.more, ends),
            None => {
                let purse = Purse::new(place.ban(), grant.epoch, grant.more, ends);
                self.ended.extend(place.put(Some(Arc::new(purse))));
            }
        }
        place.bank_has(grant.left, asked);
        Ok(())
    }

    /// What was taken off a purse is given back; when that fails it stays lent until the lease is closed.
    async fn give_back(&mut self, place: &Place, purse: &Purse, back: Nanos) -> Result<(), StoreError> {
        let mut tx = self.app.store.begin(Scope::Operator("credit")).await?;
        let Some(mut locked) = rows::lock(&mut tx, purse.ban()).await? else { return Ok(()) };
        if locked.account.give_back(&self.holder.process, purse.epoch(), back) {
            rows::write(&mut tx, purse.ban(), &locked, None).await?;
            tx.commit().await?;
            let free = locked.account.free();
            if let Some(known) = self.known.get_mut(&purse.ban()) {
                known.left = free.0;
            }
            place.bank_has(free, Mono(0));
        }
        Ok(())
    }

    /// The bank is told what a lease has cost. True: there is nothing more to do.
    async fn close(&self, purse: &Purse, cost: Nanos) -> Result<bool, StoreError> {
        let mut tx = self.app.store.begin(Scope::Operator("credit")).await?;
        let Some(mut locked) = rows::lock(&mut tx, purse.ban()).await? else { return Ok(true) };
        if locked.account.close(&self.holder.process, purse.epoch(), cost) {
            rows::write(&mut tx, purse.ban(), &locked, None).await?;
            tx.commit().await?;
        }
        Ok(true)
    }

    /// Processes that had the data folder before us are gone, and all their records are posted: what they did not spend comes back.
    async fn release_lost(&self) -> Result<(), StoreError> {
        let mut tx = self.app.store.begin(Scope::Operator("credit")).await?;
        let lost = rows::lost(&mut tx, &self.holder).await?;
        for (ban, epoch) in lost {
            let Ok(ban) = ban.parse::<BanId>() else { continue };
            let Some(mut locked) = rows::lock(&mut tx, ban).await? else { continue };
            if locked.account.release(epoch, locked.now) {
                rows::write(&mut tx, ban, &locked, None).await?;
                tracing::info!(%ban, epoch, "the lease of an earlier process of this node is over");
            }
        }
        tx.commit().await
    }
}
