//! Choosing and ordering candidates of one row.
//!
//! Vendors are not sorted as a whole: a pass over the row keeps the best eight keys, they are judged in order, and only when
//! all eight fell out does the next pass look behind them.

use warp_model::Wall;

use super::bind::{Entry, PartitionBinding, expected, mix};
use super::{CallInput, Candidate, Candidates, Decision, Live};
use crate::code::Code;
use crate::deck::Terms;
use crate::directory::{Strategy, VendorTrunkIx};
use crate::lcr::{Block, RowIx};
use crate::number_plan::{DestinationClass, Jurisdiction, JurisdictionRule};
use crate::rate::{SellRate, charge_x60};
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;
use warp_model::{E164, Nanos};

/// Why a vendor or one of its trunks is no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exclusion {
    /// A block holds: its position among the vendor's blocks.
    Blocked(usize),
    /// The vendor's deck is in another currency than the customer's, and there is no exchange rate.
    Currency,
    /// The customer's price for the expected call leaves less than the margin.
    Margin,
    /// The vendor has no enabled trunk.
    NoTrunk,
    /// The trunk is out of rotation.
    Down,
    /// All channels of the trunk are in use.
    Channels,
    /// The trunk's calls per second are used up.
    Cps,
}

/// The facts that prices of one call are compared with.
pub(crate) struct Call<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) partition: &'a PartitionBinding,
    pub(crate) block: Block<'a>,
    pub(crate) at: Wall,
    pub(crate) call_hash: u64,
    pub(crate) routed: E164,
    pub(crate) class: DestinationClass,
    pub(crate) jurisdiction: Option<Jurisdiction>,
    pub(crate) sell: SellRate,
    /// 60 × the customer's price of the expected call.
    pub(crate) sell_x60: i128,
}

/// A vendor's price for the expected call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) rate: i64,
    pub(crate) jurisdiction: Option<Jurisdiction>,
    /// 60 × the price of the expected call.
    pub(crate) cost_x60: u64,
    /// Order: smaller first; unique in a row.
    pub(crate) key: u128,
}

/// Does any vendor of the partition have a rate in this row?
pub(super) fn anyone_offers(snapshot: &Snapshot, partition: &PartitionBinding, row: RowIx) -> bool {
    snapshot.lcr.block(row).is_some_and(|b| b.presence.iter().zip(&partition.mask).any(|(p, m)| p & m != 0))
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        partition: &'a PartitionBinding,
        input: &CallInput<'_>,
        decision: &Decision,
        row: RowIx,
        sell: &SellRate,
    ) -> Option<Call<'a>> {
        let (sell_s, _) = expected(partition.expected_ms, sell.terms, sell.rounding);
        Some(Call {
            snapshot,
            partition,
            block: snapshot.lcr.block(row)?,
            at: input.at,
            call_hash: input.call_hash,
            routed: decision.routed?,
            class: decision.class?,
            jurisdiction: decision.jurisdiction,
            sell: *sell,
            sell_x60: charge_x60(sell.rate_per_min, sell.terms.setup_fee, sell_s),
        })
    }

    /// The jurisdiction that a vendor sees, and the rule when it is the vendor's own.
    pub(crate) fn jurisdiction_of(&self, entry: &Entry) -> (Option<Jurisdiction>, Option<JurisdictionRule>) {
        match entry.interconnection {
            None => (self.jurisdiction, None),
            Some(state) => {
                let plan = &self.snapshot.number_plan;
                let (j, rule) = plan.jurisdiction_at(state, self.routed, self.class);
                (j, Some(rule))
            }
        }
    }

    /// What a vendor asks, from its slot in the row.
    #[inline]
    pub(crate) fn offer(&self, entry: &Entry, entry_at: usize, slot: usize) -> Option<Offer> {
        let jurisdiction = if self.partition.any_interconnection {
            self.jurisdiction_of(entry).0
        } else {
            self.jurisdiction
        };
        let lcr = &self.snapshot.lcr;
        let (rate, terms) = lcr.price_and_terms(&self.block, entry.column, slot, jurisdiction)?;
        let (billable_s, setup_x60) = match terms {
            None => (entry.billable_s, entry.setup_x60),
            Some(t) => self.expected(t, entry),
        };
        // Prices are not below zero (checked when a deck is made).
        let cost_x60 = (rate as u64).saturating_mul(billable_s).saturating_add(setup_x60);
        Some(Offer { rate, jurisdiction, cost_x60, key: self.key(entry, entry_at, slot, cost_x60) })
    }

    #[cold]
    fn expected(&self, terms: Terms, entry: &Entry) -> (u64, u64) {
        expected(self.partition.expected_ms, terms, entry.rounding)
    }

    /// priority (16 bits) | cost or share (64) | heavier first (16) | entry (16) | slot (16).
    #[inline]
    fn key(&self, entry: &Entry, entry_at: usize, slot: usize, cost_x60: u64) -> u128 {
        let (priority, order) = match self.partition.strategy {
            Strategy::Cost => (0, cost_x60),
            Strategy::PriorityCost => (entry.priority, cost_x60),
            Strategy::WeightedShare => (0, share(self.call_hash, entry.seed, entry.weight)),
        };
        u128::from(priority) << 112
            | u128::from(order) << 48
            | u128::from(u16::MAX - entry.weight) << 32
            | (entry_at as u128 & 0xFFFF) << 16
            | (slot as u128 & 0xFFFF)
    }

    /// Runs over the vendors that have a rate: entry, its position, its slot.
    #[inline]
    pub(crate) fn each(&self, mut f: impl FnMut(&'a Entry, usize, usize)) {
        let mut slot = 0;
        for (w, (presence, mask)) in self.block.presence.iter().zip(&self.partition.mask).enumerate() {
            let mut bits = *presence;
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                bits ^= bit;
                if mask & bit != 0 {
                    let column = w * 32 + bit.trailing_zeros() as usize;
                    let (first, count) = self.partition.by_column.get(column).copied().unwrap_or((0, 0));
                    for at in first..first + count {
                        if let Some(entry) = self.partition.entries.get(usize::from(at)) {
                            f(entry, usize::from(at), slot);
                        }
                    }
                }
                slot += 1;
            }
        }
    }
}

/// Is a vendor with this offer acceptable at all? `None` = yes.
pub(crate) fn judge(call: &Call<'_>, entry: &Entry, offer: &Offer) -> Option<Exclusion> {
    if entry.currency != call.sell.currency {
        return Some(Exclusion::Currency);
    }
    if entry.has_blocks {
        let number = Code::whole(call.routed);
        let blocks = call.snapshot.directory.blocks_of_vendor(entry.vendor);
        for (i, b) in blocks.enumerate() {
            if b.holds(number, call.at) {
                return Some(Exclusion::Blocked(i));
            }
        }
    }
    if !call.partition.loss_ok && !margin_holds(call, offer) {
        return Some(Exclusion::Margin);
    }
    None
}

/// `buy + margin per minute + share of sell ≤ sell`, all for the expected call, without a division.
fn margin_holds(call: &Call<'_>, offer: &Offer) -> bool {
    let margin = call.partition.margin;
    let per_min = i128::from(margin.per_min.0) * i128::from(call.partition.expected_ms / 1_000);
    let needed = i128::from(offer.cost_x60) + per_min;
    needed * 10_000 <= call.sell_x60 * (10_000 - i128::from(margin.bps))
}

/// Is a trunk of an acceptable vendor usable now? `None` = yes.
pub(crate) fn judge_trunk(snapshot: &Snapshot, live: &Live<'_>, ix: VendorTrunkIx) -> Option<Exclusion> {
    let figures = live.of(ix);
    let limit = snapshot.directory.vendor_trunk(ix)?.limits.channels;
    if !figures.up {
        Some(Exclusion::Down)
    } else if limit.is_some_and(|l| figures.channels_used >= l) {
        Some(Exclusion::Channels)
    } else if !figures.cps_ok {
        Some(Exclusion::Cps)
    } else {
        None
    }
}

/// How many keys one pass keeps.
const PASS: usize = 8;

pub(super) fn candidates(
    snapshot: &Snapshot,
    input: &CallInput<'_>,
    live: &Live<'_>,
    partition: &PartitionBinding,
    row: RowIx,
    decision: &Decision,
    sell: &SellRate,
) -> Result<Candidates, Refusal> {
    let call = Call::new(snapshot, partition, input, decision, row, sell).ok_or(Refusal::RatingFailed)?;
    let mut out = Candidates::new();
    let (mut offered, mut unavailable) = (false, false);
    let mut after: Option<u128> = None;
    'passes: loop {
        let mut best = [u128::MAX; PASS];
        let mut kept = 0usize;
        call.each(|entry, at, slot| {
            let Some(offer) = call.offer(entry, at, slot) else {
                return;
            };
            offered = true;
            if after.is_none_or(|a| offer.key > a) {
                kept = insert(&mut best, kept, offer.key);
            }
        });
        for key in best.iter().take(kept) {
            let (at, slot) = ((key >> 16 & 0xFFFF) as usize, (key & 0xFFFF) as usize);
            let Some(entry) = partition.entries.get(at) else {
                continue;
            };
            let Some(offer) = call.offer(entry, at, slot) else {
                continue;
            };
            match judge(&call, entry, &offer) {
                None => {}
                Some(Exclusion::Margin) => {
                    // Everybody behind is dearer still.
                    if partition.strategy == Strategy::Cost {
                        break 'passes;
                    }
                    continue;
                }
                Some(_) => {
                    unavailable = true;
                    continue;
                }
            }
            let trunks = snapshot.directory.trunks_of_vendor(entry.vendor);
            unavailable |= trunks.is_empty();
            for ix in trunks {
                if judge_trunk(snapshot, live, *ix).is_some() {
                    unavailable = true;
                    continue;
                }
                let buy = snapshot
                    .lcr
                    .buy_rate(entry.column, row, offer.jurisdiction, entry.rounding)
                    .ok_or(Refusal::RatingFailed)?;
                let rank = out.len() as u16 + 1;
                out.push(Candidate {
                    vendor_trunk: *ix,
                    vendor: entry.vendor,
                    buy: Some(buy),
                    jurisdiction: offer.jurisdiction,
                    rank,
                });
                if out.len() >= partition.max_candidates {
                    break 'passes;
                }
            }
        }
        if kept < PASS {
            break;
        }
        after = best.last().copied();
    }
    match (out.is_empty(), offered, unavailable) {
        (false, ..) => Ok(out),
        (true, false, _) => Err(Refusal::NoRoute),
        (true, true, true) => Err(Refusal::NoRouteAvailable),
        (true, true, false) => Err(Refusal::NoRouteAtMargin),
    }
}

/// Keeps the smallest keys in order. Returns how many there are now.
#[inline]
fn insert(best: &mut [u128; PASS], kept: usize, key: u128) -> usize {
    if best.last().is_some_and(|last| key >= *last) {
        return kept;
    }
    let mut carry = key;
    for slot in best.iter_mut() {
        if carry < *slot {
            std::mem::swap(&mut carry, slot);
        }
    }
    (kept + 1).min(PASS)
}

/// Weighted order without a float: each vendor draws −log₂ of a uniform number and divides it by its weight; the smallest
/// comes first. That puts a vendor first with probability weight ÷ sum of weights, and orders the rest the same way.
fn share(call_hash: u64, seed: u64, weight: u16) -> u64 {
    let draw = mix(call_hash ^ seed) | 1;
    let zeros = u64::from(draw.leading_zeros());
    // log₂(1 + f) ≈ f + 0.343·f·(1 − f), error below 0.01; f in 16 bits.
    let f = draw.checked_shl(zeros as u32 + 1).unwrap_or(0) >> 48;
    let log = f + ((((f * (65_536 - f)) >> 16) * 22_487) >> 16);
    let minus_log2 = ((zeros + 1) << 16).saturating_sub(log.min(65_535));
    (minus_log2 << 24) / u64::from(weight.max(1))
}

/// Prices per minute are compared as they are read: `Nanos` for records.
pub(crate) fn nanos(offer: &Offer) -> Nanos {
    Nanos(offer.rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_keys_are_kept_in_order() {
        let mut best = [u128::MAX; PASS];
        let mut kept = 0;
        for k in [5u128, 3, 9, 1, 7, 2, 8, 4, 6, 0] {
            kept = insert(&mut best, kept, k);
        }
        assert_eq!(kept, PASS);
        assert_eq!(best, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn shares_follow_the_weights() {
        let vendors = [(11u64, 1u16), (22, 2), (33, 7)];
        let mut first = [0u32; 3];
        for call in 0..100_000u64 {
            let winner = (0..3).min_by_key(|i| share(mix(call), vendors[*i].0, vendors[*i].1)).unwrap();
            first[winner] += 1;
        }
        for (count, want) in first.iter().zip([10_000u32, 20_000, 70_000]) {
            assert!(count.abs_diff(want) < 1_500, "{first:?}");
        }
    }
}
