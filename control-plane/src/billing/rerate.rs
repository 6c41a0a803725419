//! Rating again: the decision of a CDR is repeated from its snapshot, the call is priced again, and both must come out as
//! they were recorded. Zero tolerance (PRODUCT §2.10): a difference is an alarm.

use warp_model::VendorTrunkId;
use warp_model::cdr::{CallRating, CallRecord, Direction};
use warp_policy::{
    Decision, DecisionRecord, InboundRecord, Snapshot, rate_call, rate_call_on_net, replay, replay_inbound,
};

use crate::metrics::RatingResult;

/// What rating again says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RatingCheck {
    /// Nothing to rate: not answered, or an emergency call.
    None,
    /// The same price on both sides.
    Confirmed,
    /// Another price, another vendor, or no price at all for an answered call.
    Mismatch,
    /// The snapshot is not at hand.
    Unchecked,
}

impl RatingCheck {
    /// As what it is counted; `None`: there was nothing to rate.
    pub fn counted(self) -> Option<RatingResult> {
        match self {
            Self::None => None,
            Self::Confirmed => Some(RatingResult::Confirmed),
            Self::Mismatch => Some(RatingResult::Mismatch),
            Self::Unchecked => Some(RatingResult::Unchecked),
        }
    }

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Confirmed => "confirmed",
            Self::Mismatch => "mismatch",
            Self::Unchecked => "unchecked",
        }
    }
}

/// A decision made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeated {
    /// It has the same candidates in the same order, or the same refusal.
    pub same_decision: bool,
    /// What rating the repeated decision says.
    pub rating: RatingCheck,
}

/// Repeats the decision and the price of a record with its snapshot. `None`: the record carries no decision, or one that
/// this snapshot cannot repeat.
pub fn repeat(snapshot: &Snapshot, record: &CallRecord) -> Option<Repeated> {
    if record.direction == Direction::Inbound {
        return repeat_inbound(snapshot, record);
    }
    let recorded: DecisionRecord = serde_json::from_str(record.decision.as_ref()?.get()).ok()?;
    let again = replay(snapshot, &recorded)?;
    Some(Repeated {
        same_decision: same(snapshot, &recorded, &again),
        rating: rate(snapshot, record, &again),
    })
}

/// The same of a call to one of our numbers.
fn repeat_inbound(snapshot: &Snapshot, record: &CallRecord) -> Option<Repeated> {
    let recorded: InboundRecord = serde_json::from_str(record.decision.as_ref()?.get()).ok()?;
    let again = replay_inbound(snapshot, &recorded)?;
    let directory = &snapshot.directory;
    let targets = again.result.iter().flat_map(|list| list.iter());
    let ids: Vec<_> = targets.map(|ix| directory.trunk(ix).map(|t| t.id)).collect();
    let were: Vec<_> = recorded.targets.iter().map(|t| Some(t.trunk)).collect();
    let rating = match (record.answer_at, again.sell, again.buy) {
        (None, ..) => RatingCheck::None,
        (_, Some(sell), _) if record.on_net => {
            verdict(rate_call_on_net(snapshot, &sell, record.duration_ms).ok(), record)
        }
        (_, Some(sell), Some(buy)) => {
            verdict(rate_call(snapshot, &sell, &buy, record.duration_ms).ok(), record)
        }
        // A call back to somebody who called for help needs no price.
        _ if again.callback && record.rating.is_none() => RatingCheck::None,
        _ => RatingCheck::Mismatch,
    };
    Some(Repeated { same_decision: ids == were && again.result.err() == recorded.refusal, rating })
}

/// The price only, as the consumer checks it.
pub fn check(snapshot: Option<&Snapshot>, record: &CallRecord) -> RatingCheck {
    if record.answer_at.is_none() {
        return RatingCheck::None;
    }
    match snapshot {
        None => RatingCheck::Unchecked,
        Some(s) => repeat(s, record).map_or(RatingCheck::Mismatch, |r| r.rating),
    }
}

fn same(snapshot: &Snapshot, recorded: &DecisionRecord, again: &Decision) -> bool {
    let ids: Vec<Option<VendorTrunkId>> = match &again.result {
        Ok(list) => {
            list.iter().map(|c| snapshot.directory.vendor_trunk(c.vendor_trunk).map(|t| t.id)).collect()
        }
        Err(_) => Vec::new(),
    };
    let were: Vec<Option<VendorTrunkId>> = recorded.candidates.iter().map(|c| Some(c.vendor_trunk)).collect();
    ids == were && again.result.err() == recorded.refusal
}

fn rate(snapshot: &Snapshot, record: &CallRecord, again: &Decision) -> RatingCheck {
    if record.answer_at.is_none() || again.emergency.is_some() {
        return RatingCheck::None;
    }
    let used = again.result.as_ref().ok().and_then(|list| {
        list.iter()
            .find(|c| snapshot.directory.vendor_trunk(c.vendor_trunk).map(|t| t.id) == record.vendor_trunk_id)
    });
    if record.on_net {
        let price = again.sell.and_then(|sell| rate_call_on_net(snapshot, &sell, record.duration_ms).ok());
        return verdict(price, record);
    }
    let price = match (&again.sell, used.and_then(|c| c.buy)) {
        (Some(sell), Some(buy)) => rate_call(snapshot, sell, &buy, record.duration_ms).ok(),
        _ => None,
    };
    verdict(price, record)
}

fn verdict(price: Option<CallRating>, record: &CallRecord) -> RatingCheck {
    if price.is_some() && price == record.rating { RatingCheck::Confirmed } else { RatingCheck::Mismatch }
}
