//! The price of a call from its decision record alone: for a call whose process died, when the snapshot that decided it may
//! be out of reach. The arithmetic is [`crate::rate`]'s, the terms and the rounding are those that the record carries.

use std::fmt;

use warp_model::VendorTrunkId;
use warp_model::cdr::CallRating;

use crate::deck::Terms;
use crate::explain::{DecisionRecord, PricedRate};
use crate::rate::{Rate, RatingError, rate_on_net, rate_sides};

/// Why a recorded decision does not price a call. Such a call is an alarm, never free (PRODUCT §2.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedError {
    /// The record has no price for the customer.
    NoSellPrice,
    /// The vendor trunk that carried the call is none of the record's candidates, or has no price there.
    NoBuyPrice,
    /// A price's matched code is no code.
    BadPrefix,
    /// The sum cannot be made.
    Rating(RatingError),
}

impl fmt::Display for RecordedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSellPrice => f.write_str("the decision has no price for the customer"),
            Self::NoBuyPrice => {
                f.write_str("the decision has no price of the vendor trunk that carried the call")
            }
            Self::BadPrefix => f.write_str("a matched code of the decision cannot be read"),
            Self::Rating(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for RecordedError {}

impl From<RatingError> for RecordedError {
    fn from(e: RatingError) -> Self {
        Self::Rating(e)
    }
}

/// Prices an answered call of `duration_ms` (answer to end) that `carried` carried, by the rates of its decision.
///
/// `Ok(None)`: an emergency call, which has no price on either side. Errors: see [`RecordedError`].
pub fn rate_recorded(
    record: &DecisionRecord,
    carried: Option<VendorTrunkId>,
    duration_ms: u64,
) -> Result<Option<CallRating>, RecordedError> {
    if record.emergency.is_some() {
        return Ok(None);
    }
    let sell = record.sell.as_ref().ok_or(RecordedError::NoSellPrice)?;
    if record.on_net.is_some() {
        return Ok(Some(rate_on_net((&rate_of(sell)?, sell.deck_version.clone()), duration_ms)?));
    }
    let candidate = record.candidates.iter().find(|c| Some(c.vendor_trunk) == carried);
    let buy = candidate.and_then(|c| c.buy.as_ref()).ok_or(RecordedError::NoBuyPrice)?;
    let (sell_rate, buy_rate) = (rate_of(sell)?, rate_of(buy)?);
    let rating = rate_sides(
        (&sell_rate, sell.deck_version.clone()),
        (&buy_rate, buy.deck_version.clone()),
        duration_ms,
        candidate.and_then(|c| c.exchange),
    )?;
    Ok(Some(rating))
}

pub(crate) fn rate_of(priced: &PricedRate) -> Result<Rate, RecordedError> {
    Ok(Rate {
        rate_per_min: priced.rate_per_min,
        terms: Terms {
            initial_s: priced.increment_initial_s,
            next_s: priced.increment_next_s,
            setup_fee: priced.setup_fee,
        },
        code: priced.prefix.parse().map_err(|_| RecordedError::BadPrefix)?,
        // Its label is at hand; no index is asked.
        deck: 0,
        currency: priced.currency,
        rounding: priced.rounding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_model::{Nanos, TrunkId, VendorId, Wall};

    fn priced(rate: &str, rounding: Option<serde_json::Value>) -> serde_json::Value {
        let mut priced = serde_json::json!({
            "deck_version": "deck_x@1", "prefix": "1415555", "rate_per_min": rate, "increment_initial_s": 6,
            "increment_next_s": 6, "setup_fee": "0", "currency": "USD", "expected_charge": "0", "sum": "",
        });
        if let Some(rounding) = rounding {
            priced["rounding"] = rounding;
        }
        priced
    }

    fn decision(sell: serde_json::Value, buy: &[(u128, serde_json::Value)]) -> DecisionRecord {
        let candidates: Vec<_> = buy
            .iter()
            .map(|(id, buy)| {
                serde_json::json!({
                    "rank": id, "vendor": VendorId::from_u128(*id), "vendor_name": "v",
                    "vendor_trunk": VendorTrunkId::from_u128(id * 11), "vendor_trunk_name": "main",
                    "jurisdiction": null, "jurisdiction_rule": null, "buy": buy, "expected_margin": null,
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "version": 1, "snapshot_id": crate::Snapshot::empty().id,
            "inputs": {"trunk": TrunkId::from_u128(5), "caller": "", "called": "", "at": Wall(0), "call_hash": "0",
                       "lrn": null, "live": []},
            "summary": "", "sell": sell, "candidates": candidates, "excluded": [], "max_duration_s": 3600,
        }))
        .unwrap()
    }

    fn two_vendors() -> DecisionRecord {
        decision(priced("0.012", None), &[(1, priced("0.002", None)), (2, priced("0.004", None))])
    }

    #[test]
    fn a_recorded_call_costs_what_its_decision_said_of_the_vendor_that_carried_it() {
        let carried = Some(VendorTrunkId::from_u128(22));
        let rating = rate_recorded(&two_vendors(), carried, 61_001).unwrap().unwrap();
        // 62 begun seconds are 66 in increments of six; the vendor that carried it was the second choice.
        assert_eq!((rating.sell.billable_s, rating.sell.charge), (66, Nanos(13_200_000)));
        assert_eq!((rating.buy.billable_s, rating.buy.charge), (66, Nanos(4_400_000)));
        assert_eq!(rating.margin, Some(Nanos(8_800_000)));
    }

    #[test]
    fn the_rounding_is_that_of_the_contract_on_each_side() {
        let cents_up = serde_json::json!({"mode": "up", "places": 2, "partial_second": "down"});
        let record = decision(priced("0.012", Some(cents_up)), &[(1, priced("0.002", None))]);
        let rating = rate_recorded(&record, Some(VendorTrunkId::from_u128(11)), 60_900).unwrap().unwrap();
        // The customer's begun second does not count: 60 s, 0.012, up to 0.02. The vendor's does: 66 s, 0.0022.
        assert_eq!((rating.sell.billable_s, rating.sell.charge), (60, Nanos(20_000_000)));
        assert_eq!((rating.buy.billable_s, rating.buy.charge), (66, Nanos(2_200_000)));
    }

    #[test]
    fn a_decision_that_does_not_price_the_call_is_an_error_and_an_emergency_call_has_no_price() {
        let carried = Some(VendorTrunkId::from_u128(11));
        let mut record = two_vendors();
        assert_eq!(rate_recorded(&record, None, 1), Err(RecordedError::NoBuyPrice));
        assert_eq!(
            rate_recorded(&record, Some(VendorTrunkId::from_u128(33)), 1),
            Err(RecordedError::NoBuyPrice)
        );
        record.sell.as_mut().unwrap().prefix = "none".to_owned();
        assert_eq!(rate_recorded(&record, carried, 1), Err(RecordedError::BadPrefix));
        record.sell = None;
        assert_eq!(rate_recorded(&record, carried, 1), Err(RecordedError::NoSellPrice));
        record.emergency = Some(911);
        assert_eq!(rate_recorded(&record, carried, 1), Ok(None));
    }
}
