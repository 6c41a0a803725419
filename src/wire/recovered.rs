//! The price of a call whose end was reconstructed: from the rates in its decision record, for its known duration.

use warp_model::cdr::{CallRating, CallRecord, RatedSide};
use warp_policy::explain::{CandidateRecord, DecisionRecord, PricedRate};
use warp_policy::rate::{self, Rate, Rounding};

/// Completes a recovered record. A record that cannot be rated says so (`rating_failed`) and is an alarm, never free.
pub(super) fn rate(call: &mut CallRecord) {
    match rating(call) {
        Some(rating) => call.rating = Some(rating),
        None => {
            tracing::error!(cdr_id = %call.cdr_id, "recovered call cannot be rated");
            call.internal_code = "rating_failed".to_owned();
        }
    }
}

fn rating(call: &CallRecord) -> Option<CallRating> {
    let decision: DecisionRecord = serde_json::from_str(call.decision.as_ref()?.get()).ok()?;
    let carried = |c: &&CandidateRecord| Some(c.vendor_trunk) == call.vendor_trunk_id;
    let buy = decision.candidates.iter().find(carried)?.buy.as_ref()?;
    let sell = side(decision.sell.as_ref()?, call.duration_ms)?;
    let buy = side(buy, call.duration_ms)?;
    let margin = (sell.currency == buy.currency).then(|| sell.charge.checked_sub(buy.charge)).flatten();
    Some(CallRating { sell, buy, margin })
}

fn side(priced: &PricedRate, duration_ms: u64) -> Option<RatedSide> {
    let rate = Rate {
        rate_per_min: priced.rate_per_min,
        terms: warp_policy::deck::Terms {
            initial_s: priced.increment_initial_s,
            next_s: priced.increment_next_s,
            setup_fee: priced.setup_fee,
        },
        code: priced.prefix.parse().ok()?,
        deck: 0,
        currency: priced.currency,
        rounding: Rounding::default(),
    };
    rate::rate_side(&rate, priced.deck_version.clone(), duration_ms).ok()
}
