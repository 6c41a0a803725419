//! The price of an answered call by the snapshot that it pinned: both sides, with the names of the deck versions.
//!
//! The arithmetic is in [`rate`](crate::rate); here it meets the decks, so that the lower rooms know no snapshot.

use warp_model::cdr::CallRating;

use crate::rate::{BuyRate, RatingError, SellRate, rate_side};
use crate::snapshot::Snapshot;

/// Prices an answered call on both sides.
///
/// In: the rates of its decision, the duration from answer to end in ms. Errors: see [`RatingError`].
pub fn rate_call(
    snapshot: &Snapshot,
    sell: &SellRate,
    buy: &BuyRate,
    duration_ms: u64,
) -> Result<CallRating, RatingError> {
    let label = |deck: u32| snapshot.lcr.deck(deck).map(|d| d.label()).ok_or(RatingError::UnknownDeck);
    let sell_side = rate_side(sell, label(sell.deck)?, duration_ms)?;
    let buy_side = rate_side(buy, label(buy.deck)?, duration_ms)?;
    let margin =
        (sell.currency == buy.currency).then(|| sell_side.charge.checked_sub(buy_side.charge)).flatten();
    Ok(CallRating { sell: sell_side, buy: buy_side, margin })
}
