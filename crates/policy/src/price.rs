//! The price of an answered call by the snapshot that it pinned: both sides, with the names of the deck versions.
//!
//! The arithmetic is in [`rate`](crate::rate); here it meets the decks, so that the lower rooms know no snapshot.

use warp_model::cdr::CallRating;

use crate::rate::{BuyRate, RatingError, SellRate, rate_on_net, rate_sides};
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
    let exchange = snapshot.directory.exchange(buy.currency, sell.currency);
    rate_sides((sell, label(sell.deck)?), (buy, label(buy.deck)?), duration_ms, exchange)
}

/// Prices one customer's side of an answered call between two customers of ours, which no vendor carried.
///
/// In: what that customer pays by, the duration from answer to end in ms. Errors: see [`RatingError`].
pub fn rate_call_on_net(
    snapshot: &Snapshot,
    sell: &SellRate,
    duration_ms: u64,
) -> Result<CallRating, RatingError> {
    let label = snapshot.lcr.deck(sell.deck).map(|d| d.label()).ok_or(RatingError::UnknownDeck)?;
    rate_on_net((sell, label), duration_ms)
}
