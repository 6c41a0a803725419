//! The bank side of credit: one account with its leases, as rows are read into it. Each change is made under the lock of the account's
//! row, so that one change sees what the one before it left.

use warp_model::{Nanos, Wall};

/// Money of an account that is lent to one process of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which of the account's leases it is; grows, and is never given twice.
    pub epoch: i64,
    /// The node that has it, with the process: a restart is another one.
    pub node: String,
    /// All that was lent, less what came back.
    pub granted: Nanos,
    /// What calls of the lease have cost, as far as posted.
    pub posted: Nanos,
    /// When it ends by the bank's clock; the node ended it before.
    pub expires_at: Wall,
    /// Nothing is lent to it any more.
    pub closed: bool,
}

impl Lease {
    /// What of it may still be posted: lent, and not yet in the balance.
    pub fn held(&self) -> Nanos {
        Nanos(self.granted.0.saturating_sub(self.posted.0).max(0))
    }
}

/// An account at the bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The sum of what was posted; negative is a debt.
    pub balance: Nanos,
    /// How far it may owe, 0 when it is prepaid.
    pub credit: Nanos,
    /// The last epoch that was given.
    pub epoch: i64,
    /// The leases that hold money, or may get more.
    pub leases: Vec<Lease>,
}

/// What a node asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// How much it would like to have free, for its calls of the next while.
    pub want: Nanos,
    /// How much makes a difference: the first whole increment of a call; less is of no use to it. 0: it is not known.
    pub need: Nanos,
    /// How much of it the node has free in the lease that it goes on with: only the rest is missing.
    pub has: Nanos,
    /// Whether calls come there: near the end of the money nothing is lent to a node that has none.
    pub calls: bool,
    /// The lease that it would like to go on with. One that has ended on the node is named by nobody: it is closed, and its node must not
    /// have money of two purses in one lease.
    pub lease: Option<i64>,
}

/// What a node got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which lease it was added to.
    pub epoch: i64,
    /// More money, which may be none.
    pub more: Nanos,
    /// When the lease ends by the bank's clock.
    pub expires_at: Wall,
    /// What may still be lent now, to this node and to the others.
    pub left: Nanos,
}

/// A part of what is free that one node gets at most, so that the others find something too.
const SHARE: i64 = 4;

impl Account {
    /// What is lent and not yet posted.
    pub fn held(&self) -> Nanos {
        self.leases.iter().fold(Nanos::ZERO, |sum, l| Nanos(sum.0.saturating_add(l.held().0)))
    }

    /// What may still be lent; negative when more was posted than there was.
    pub fn free(&self) -> Nanos {
        let has = i128::from(self.balance.0) + i128::from(self.credit.0) - i128::from(self.held().0);
        Nanos(i64::try_from(has).unwrap_or(if has < 0 { i64::MIN } else { i64::MAX }))
    }

    /// Lends to a process of a node: to its lease, or to a new one when it has none that goes on. `None`: there is nothing for it, and
    /// it has no lease.
    pub fn lend(&mut self, node: &str, ask: LeaseRequest, now: Wall, expires_at: Wall) -> Option<Grant> {
        let more = self.share(node, ask, now);
        // A lease that has ended by the bank's clock has ended on its node before: it is never extended.
        let open =
            |l: &&mut Lease| Some(l.epoch) == ask.lease && l.node == node && !l.closed && l.expires_at > now;
        if let Some(lease) = self.leases.iter_mut().find(open) {
            lease.granted = Nanos(lease.granted.0.saturating_add(more.0));
            lease.expires_at = lease.expires_at.max(expires_at);
            let (epoch, expires_at) = (lease.epoch, lease.expires_at);
            return Some(Grant { epoch, more, expires_at, left: self.free() });
        }
        if more <= Nanos::ZERO {
            return None;
        }
        self.epoch = self.epoch.saturating_add(1);
        let lease = Lease {
            epoch: self.epoch,
            node: node.to_owned(),
            granted: more,
            posted: Nanos::ZERO,
            expires_at,
            closed: false,
        };
        self.leases.push(lease);
        Some(Grant { epoch: self.epoch, more, expires_at, left: self.free() })
    }

    /// How much of what is free a node gets: a quarter at most, while that is of use; near the end of the money one increment, and only on
    /// one node, of those that hold so much the one whose lease has gone on longest. A node that holds less, as one without calls does, keeps
    /// no other one from the rest.
    fn share(&self, node: &str, ask: LeaseRequest, now: Wall) -> Nanos {
        let free = self.free().0;
        if free <= 0 || ask.want.0 <= 0 {
            return Nanos::ZERO;
        }
        let quarter = free.checked_div(SHARE).unwrap_or(0);
        let useful = ask.need.0.max(1);
        // What a node has already makes an increment whole with less; who has one whole asks for the next.
        let missing = useful.checked_sub(ask.has.0).filter(|m| *m > 0).unwrap_or(useful).min(useful);
        if quarter >= missing {
            return Nanos(ask.want.0.max(missing).min(quarter));
        }
        let holds = |l: &&Lease| !l.closed && l.expires_at > now && l.held().0 >= useful;
        let owner = self.leases.iter().filter(holds).min_by_key(|l| l.epoch);
        if free < missing || owner.is_some_and(|l| l.node != node) {
            return Nanos::ZERO;
        }
        // What is left at the end, when nobody waits for an increment, is not worth lending.
        if ask.need <= Nanos::ZERO || !ask.calls { Nanos::ZERO } else { Nanos(missing.min(free)) }
    }

    /// A node has taken money off its lease, which it cannot spend any more. False: it is not its lease, or does not hold so much.
    pub fn give_back(&mut self, node: &str, epoch: i64, amount: Nanos) -> bool {
        let lease = self.leases.iter_mut().find(|l| l.epoch == epoch && l.node == node && !l.closed);
        let Some(lease) = lease.filter(|l| amount >= Nanos::ZERO && amount <= l.held()) else {
            return false;
        };
        lease.granted = Nanos(lease.granted.0.saturating_sub(amount.0));
        true
    }

    /// A node says what all calls of a lease of its own have cost: the lease is over, and what is not posted of that stays held until it
    /// is. Saying it again changes nothing. False: it has no such lease.
    pub fn close(&mut self, node: &str, epoch: i64, cost: Nanos) -> bool {
        let Some(lease) = self.leases.iter_mut().find(|l| l.epoch == epoch && l.node == node) else {
            return false;
        };
        if !lease.closed {
            lease.closed = true;
            lease.granted = cost.clamp(Nanos::ZERO, lease.granted).max(lease.posted);
        }
        true
    }

    /// A call of a lease was posted: what it cost goes from the balance, and is not held any more.
    pub fn post(&mut self, epoch: Option<i64>, cost: Nanos) {
        self.balance = Nanos(self.balance.0.saturating_sub(cost.0));
        if let Some(lease) = self.leases.iter_mut().find(|l| Some(l.epoch) == epoch) {
            lease.posted = Nanos(lease.posted.0.saturating_add(cost.0));
        }
    }

    /// The money of a lease that will be spent by nobody comes back: its process is lost and all its records are posted, or an operator
    /// says so. False: there is none, or it has not ended yet.
    pub fn release(&mut self, epoch: i64, now: Wall) -> bool {
        let ended = |l: &&mut Lease| l.epoch == epoch && (l.closed || l.expires_at <= now);
        let Some(lease) = self.leases.iter_mut().find(ended) else { return false };
        lease.closed = true;
        lease.granted = lease.posted;
        true
    }
}
