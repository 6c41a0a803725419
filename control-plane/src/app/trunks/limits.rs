//! The limits of a trunk and their two owners. What an operator's key writes is the carrier's, what a customer's key writes is the
//! customer's own; the lower of both counts, so that a customer's key lifts nothing that the carrier has set.

use warp_policy::number_plan::ClassSet;

use super::{Ctx, Destination, TrunkStatus, Word};
use crate::noun::trunk::TrunkRow;
use crate::store::trunks::TightestRow;
use crate::store::types::Amount;

crate::view! {
    /// The limits of a trunk by their owner. The lower of both counts.
    pub struct TrunkLimits {
        /// What counts: of each limit the lower of both.
        pub in_force: SideLimits,
        /// What the carrier has set. A customer's key cannot lift it.
        pub carrier: SideLimits,
        /// What the customer has set for itself.
        pub customer: SideLimits,
    }
}

crate::view! {
    /// Limits of a trunk: those of one side, or those in force. Null: no limit.
    pub struct SideLimits {
        /// Whether the trunk takes calls.
        pub status: Word<TrunkStatus>,
        /// How many calls may be up at once.
        pub channels: Option<i32>,
        /// How many calls may begin per second.
        pub cps: Option<i32>,
        /// The highest price per minute; dearer calls are refused.
        pub max_rate_per_min: Option<Amount>,
        /// The most that is spent in one day of the customer's time zone.
        pub daily_spend: Option<Amount>,
        /// The longest that a call may last, in seconds. Null in force: the platform's own limit.
        pub max_duration_s: Option<i32>,
        /// The classes of destinations that are allowed. Null: all that the other side allows.
        pub destinations: Option<Vec<Word<Destination>>>,
        /// Whether calls without a valid caller number are refused.
        pub require_valid_caller: bool,
    }
}

impl SideLimits {
    /// Of each limit the lower of both.
    pub(super) fn in_force(a: &Self, b: &Self) -> Self {
        let destinations = match (&a.destinations, &b.destinations) {
            (Some(a), Some(b)) => Some(a.iter().filter(|d| b.contains(d)).cloned().collect()),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Self {
            status: if a.status == TrunkStatus::Active.as_str() { &b.status } else { &a.status }.clone(),
            channels: lower(a.channels, b.channels),
            cps: lower(a.cps, b.cps),
            max_rate_per_min: lower_amount(a.max_rate_per_min, b.max_rate_per_min),
            daily_spend: lower_amount(a.daily_spend, b.daily_spend),
            max_duration_s: lower(a.max_duration_s, b.max_duration_s),
            destinations,
            require_valid_caller: a.require_valid_caller || b.require_valid_caller,
        }
    }
}

/// Which side of a trunk's limits the key writes.
pub(super) fn is_customer(ctx: &Ctx<'_>) -> bool {
    ctx.scope.customer().is_some()
}

/// The lower of two limits, of which each may be absent.
fn lower<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The same for amounts, which are in one currency: the customer's.
fn lower_amount(a: Option<Amount>, b: Option<Amount>) -> Option<Amount> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0.amount < a.0.amount { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// The limits of one owner.
pub(super) struct OwnedLimits {
    pub(super) status: String,
    pub(super) channels: Option<i32>,
    pub(super) cps: Option<i32>,
    /// The highest price a minute, in nano-units.
    pub(super) max_rate_per_min: Option<i64>,
    /// What may be spent in a day, in nano-units.
    pub(super) daily_spend: Option<i64>,
    pub(super) max_duration_s: Option<i32>,
    /// Classes; `None` only on the customer's side: all that the carrier allows.
    pub(super) destinations: Option<Vec<String>>,
    pub(super) require_valid_caller: bool,
}

/// Both sides' limits.
pub(super) struct Sides {
    pub(super) carrier: OwnedLimits,
    pub(super) own: OwnedLimits,
}

impl Sides {
    pub(super) fn of(row: &TrunkRow) -> Self {
        let nanos = |a: Option<Amount>| a.map(|a| a.0.amount.0);
        Self {
            carrier: OwnedLimits {
                status: row.status.clone(),
                channels: row.channels,
                cps: row.cps,
                max_rate_per_min: nanos(row.max_rate_per_min),
                daily_spend: nanos(row.daily_spend),
                max_duration_s: row.max_duration_s,
                destinations: Some(row.destinations.clone()),
                require_valid_caller: row.require_valid_caller,
            },
            own: OwnedLimits {
                status: row.own_status.clone(),
                channels: row.own_channels,
                cps: row.own_cps,
                max_rate_per_min: nanos(row.own_max_rate_per_min),
                daily_spend: nanos(row.own_daily_spend),
                max_duration_s: row.own_max_duration_s,
                destinations: row.own_destinations.clone(),
                require_valid_caller: row.own_require_valid_caller,
            },
        }
    }
}

pub(super) fn no_limits() -> OwnedLimits {
    OwnedLimits {
        status: TrunkStatus::Active.as_str().to_owned(),
        channels: None,
        cps: None,
        max_rate_per_min: None,
        daily_spend: None,
        max_duration_s: None,
        destinations: None,
        require_valid_caller: false,
    }
}

/// What the carrier allows where it has not said anything else.
pub(super) fn usual_words() -> Vec<String> {
    ClassSet::default().iter().map(|c| c.as_str().to_owned()).collect()
}

/// The carrier's limits that a customer's new trunk begins with: the tightest of its other trunks.
pub(super) fn begins_with(tightest: Option<TightestRow>) -> OwnedLimits {
    let Some(t) = tightest else {
        return OwnedLimits { destinations: Some(usual_words()), ..no_limits() };
    };
    let everywhere = |class: &String| t.destinations.iter().all(|list| list.split(',').any(|d| d == class));
    OwnedLimits {
        status: if t.all_active { TrunkStatus::Active } else { TrunkStatus::Disabled }.as_str().to_owned(),
        channels: t.channels,
        cps: t.cps,
        max_rate_per_min: t.max_rate_per_min,
        daily_spend: t.daily_spend,
        max_duration_s: t.max_duration_s,
        destinations: Some(usual_words().into_iter().filter(everywhere).collect()),
        require_valid_caller: t.require_valid_caller,
    }
}

/// Whether a new trunk, which would begin with `others`, is held as tightly as this one.
pub(super) fn held_as_tightly(this: &OwnedLimits, others: &OwnedLimits) -> bool {
    fn at_most<T: Ord>(other: Option<T>, this: Option<T>) -> bool {
        match (other, this) {
            (_, None) => true,
            (Some(other), Some(this)) => other <= this,
            (None, Some(_)) => false,
        }
    }
    let none = Vec::new();
    let (mine, theirs) =
        (this.destinations.as_ref().unwrap_or(&none), others.destinations.as_ref().unwrap_or(&none));
    this.status == TrunkStatus::Active.as_str()
        && at_most(others.channels, this.channels)
        && at_most(others.cps, this.cps)
        && at_most(others.max_rate_per_min, this.max_rate_per_min)
        && at_most(others.daily_spend, this.daily_spend)
        && at_most(others.max_duration_s, this.max_duration_s)
        && theirs.iter().all(|d| mine.contains(d))
        && (others.require_valid_caller || !this.require_valid_caller)
}
