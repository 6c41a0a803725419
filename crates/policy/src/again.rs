//! The price of a call by other decks than those that priced it: for rating again after a price list was put right.
//!
//! The call keeps what was decided: its number, its jurisdiction, the vendor that carried it. Only the price lists, the terms and the
//! rounding are those of the snapshot that is given.

use std::fmt;

use warp_model::VendorTrunkId;
use warp_model::cdr::CallRating;

use crate::code::Code;
use crate::explain::DecisionRecord;
use crate::price::{rate_call, rate_call_on_net};
use crate::rate::RatingError;
use crate::snapshot::Snapshot;

/// Why a call has no price by these decks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgainError {
    /// An emergency call, or one that was refused: nothing to price.
    NotPriced,
    /// The trunk is there no more.
    NoTrunk,
    /// The vendor trunk that carried the call is there no more.
    NoVendorTrunk,
    /// The customer's decks have no price for it.
    NoSellPrice,
    /// The vendor's decks have no price for it.
    NoBuyPrice,
    /// The sum cannot be made.
    Rating(RatingError),
}

impl AgainError {
    /// The word for it.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotPriced => "not_priced",
            Self::NoTrunk => "no_trunk",
            Self::NoVendorTrunk => "no_vendor_trunk",
            Self::NoSellPrice => "no_sell_price",
            Self::NoBuyPrice => "no_buy_price",
            Self::Rating(_) => "out_of_range",
        }
    }
}

impl fmt::Display for AgainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPriced => "the call has no price",
            Self::NoTrunk => "its trunk is there no more",
            Self::NoVendorTrunk => "the vendor trunk that carried it is there no more",
            Self::NoSellPrice => "the customer's decks have no price for it",
            Self::NoBuyPrice => "the vendor's decks have no price for it",
            Self::Rating(_) => "the sum cannot be made",
        })
    }
}

impl std::error::Error for AgainError {}

/// Prices an answered outbound call of `duration_ms`, that `carried` carried, by the decks of another snapshot. Errors: see [`AgainError`].
pub fn rate_again(
    snapshot: &Snapshot,
    decision: &DecisionRecord,
    carried: Option<VendorTrunkId>,
    duration_ms: u64,
) -> Result<CallRating, AgainError> {
    if decision.emergency.is_some() || decision.sell.is_none() {
        return Err(AgainError::NotPriced);
    }
    let (directory, lcr) = (&snapshot.directory, &snapshot.lcr);
    let routed = decision.routed.ok_or(AgainError::NotPriced)?;
    let whole = Code::whole(routed);
    let ix = directory.trunk_ix(decision.inputs.trunk).ok_or(AgainError::NoTrunk)?;
    let trunk = directory.trunk(ix).ok_or(AgainError::NoTrunk)?;
    let row = lcr.find(routed).ok_or(AgainError::NoSellPrice)?;
    let column = lcr.sell_column(&trunk.sell_decks).ok_or(AgainError::NoSellPrice)?;
    let sell = lcr.sell_rate(column, row, whole, decision.jurisdiction, trunk.rounding);
    let sell = sell.ok_or(AgainError::NoSellPrice)?;
    if decision.on_net.is_some() {
        return rate_call_on_net(snapshot, &sell, duration_ms).map_err(AgainError::Rating);
    }
    let carried = carried.ok_or(AgainError::NoVendorTrunk)?;
    let vendor = directory.vendor_trunk_ix(carried).and_then(|t| directory.vendor(directory.vendor_of(t)?));
    let vendor = vendor.ok_or(AgainError::NoVendorTrunk)?;
    // Under a point-of-interconnection policy the vendor has a jurisdiction of its own.
    let own = decision.candidates.iter().find(|c| c.vendor_trunk == carried).and_then(|c| c.jurisdiction);
    let column = lcr.buy_column(&vendor.buy_decks).ok_or(AgainError::NoBuyPrice)?;
    let buy = lcr.buy_rate(column, row, whole, own.or(decision.jurisdiction), vendor.rounding);
    let buy = buy.ok_or(AgainError::NoBuyPrice)?;
    rate_call(snapshot, &sell, &buy, duration_ms).map_err(AgainError::Rating)
}
