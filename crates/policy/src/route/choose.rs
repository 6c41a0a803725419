//! Choosing and ordering candidates of one row.
//!
//! One pass over the row prices the expected call for every vendor; then the best one is taken out again and again and
//! judged, until there are enough. Most vendors are never sorted or judged at all.

use warp_model::Wall;

use super::{CallInput, Candidate, Candidates, Decision, Live, WHOLE};
use crate::bindings::{Entry, Hot, PartitionBinding, expected};
use crate::code::Code;
use crate::deck::Terms;
use crate::directory::{Strategy, VendorTrunkIx};
use crate::lcr::{Block, COPIED, Exception};
use crate::number_plan::{DestinationClass, Jurisdiction, JurisdictionRule};
use crate::rate::{self, SellRate, charge_x60};
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;
use warp_model::hash::mix;
use warp_model::{Currency, E164, Nanos};

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
    /// Some vendor asks in another currency than the customer pays, and exchange rates are known.
    converts: bool,
    /// What the expected call may cost at most (× 60), or nothing is left.
    highest_cost: Option<u64>,
}

/// A vendor's price for the expected call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) rate: i64,
    pub(crate) jurisdiction: Option<Jurisdiction>,
    /// What differs from the column's usual.
    pub(crate) exception: Option<Exception>,
    /// 60 × the price of the expected call.
    pub(crate) cost_x60: u64,
    /// Smaller first; unique in a row: cost or share (54 bits, saturated) | the vendor's rank among equals (10 bits).
    pub(crate) key: u64,
}

/// Does any vendor of the partition have a rate in this row?
pub(super) fn anyone_offers(block: &Block<'_>, partition: &PartitionBinding) -> bool {
    partition.mask.iter().enumerate().any(|(word, mask)| block.presence(word) & mask != 0)
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        partition: &'a PartitionBinding,
        input: &CallInput<'_>,
        decision: &Decision,
        block: Block<'a>,
        sell: &SellRate,
    ) -> Option<Call<'a>> {
        let (sell_s, _) = expected(partition.expected_ms, sell.terms, sell.rounding);
        let sell_x60 = charge_x60(sell.rate_per_min, sell.terms.setup_fee, sell_s);
        Some(Call {
            snapshot,
            partition,
            block,
            at: input.at,
            call_hash: input.call_hash,
            routed: decision.routed?,
            class: decision.class?,
            jurisdiction: decision.jurisdiction,
            sell: *sell,
            sell_x60,
            converts: partition.currency != Some(sell.currency) && snapshot.directory.exchanges(),
            highest_cost: highest_cost(snapshot, partition, sell, sell_x60),
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
    pub(crate) fn offer(&self, entry: &Entry, slot: usize) -> Option<Offer> {
        let jurisdiction = if self.partition.any_interconnection {
            self.jurisdiction_of(entry).0
        } else {
            self.jurisdiction
        };
        let lcr = &self.snapshot.lcr;
        let (rate, exception) = lcr.price(&self.block, entry.column, slot, jurisdiction)?;
        let (billable_s, setup_x60) = match exception {
            None => (entry.billable_s, entry.setup_x60),
            Some(e) => self.expected(lcr.terms_of(e)?, entry),
        };
        // Prices are not below zero (checked when a deck is made).
        let cost_x60 = (rate as u64).saturating_mul(billable_s).saturating_add(setup_x60);
        let cost_x60 = if self.converts { self.in_sold_currency(entry, cost_x60) } else { cost_x60 };
        Some(Offer {
            rate,
            jurisdiction,
            exception,
            cost_x60,
            key: key(self.order(entry, cost_x60), entry.rank),
        })
    }

    /// A vendor's cost in the currency of the customer's price; as it is where no rate is known.
    #[cold]
    fn in_sold_currency(&self, entry: &Entry, cost_x60: u64) -> u64 {
        match self.exchange(entry.currency) {
            Some(rate) => u64::try_from(rate::exchanged(i128::from(cost_x60), rate)).unwrap_or(u64::MAX),
            None => cost_x60,
        }
    }

    /// The exchange rate by which a vendor's price is compared; `None`: it is of the same currency, or nobody has said.
    pub(crate) fn exchange(&self, bought: Currency) -> Option<Nanos> {
        self.snapshot.directory.exchange(bought, self.sell.currency)
    }

    #[cold]
    fn expected(&self, terms: Terms, entry: &Entry) -> (u64, u64) {
        expected(self.partition.expected_ms, terms, entry.rounding)
    }

    /// By plan: cost; priority and cost; share.
    #[inline]
    fn order(&self, entry: &Entry, cost_x60: u64) -> u64 {
        match self.partition.strategy {
            Strategy::Cost => cost_x60,
            Strategy::PriorityCost => {
                let room = self.partition.cost_bits;
                entry.priority << room | cost_x60.min((1 << room) - 1)
            }
            Strategy::WeightedShare => share(self.call_hash, entry.seed, entry.weight),
        }
    }

    /// Prices every vendor of the row. Returns how many; at most as many as there is room for.
    #[inline]
    fn price_all(&self, out: &mut [u64]) -> usize {
        if let Some(groups) = self.partition.plain.as_ref().filter(|_| !self.converts) {
            let group = match self.block.one_price() {
                true => 3,
                false => self.jurisdiction.map_or(2, Jurisdiction::column),
            };
            let hot = groups.get(group).map_or(&[][..], Vec::as_slice);
            return match self.block.copied() {
                Some(units) => {
                    self.price_plain(hot, group, out, |at| units.get(at % COPIED).copied().unwrap_or(0))
                }
                None => self.price_plain(hot, group, out, |at| self.block.unit(at)),
            };
        }
        let mut n = 0usize;
        self.each(|at, slot| {
            if let Some(offer) = self.partition.entries.get(at).and_then(|e| self.offer(e, slot))
                && let Some(place) = out.get_mut(n)
            {
                *place = offer.key;
                n = n.wrapping_add(1);
            }
        });
        n
    }

    /// [`Call::price_all`] where price alone counts: a few instructions for each vendor. `unit` reads the row's block.
    #[inline(always)]
    fn price_plain(&self, hot: &[Hot], group: usize, out: &mut [u64], unit: impl Fn(usize) -> u16) -> usize {
        let (first, stride, apart) = self.block.places(group);
        let mut n = 0usize;
        let mut at = first;
        for (word, mask) in self.partition.mask.iter().enumerate().take(self.block.words()) {
            let exceptions = self.block.exception_bits(word);
            let mut bits = self.block.presence(word);
            while bits != 0 {
                let column = word.wrapping_mul(32).wrapping_add(bits.trailing_zeros() as usize);
                let bit = bits & bits.wrapping_neg();
                bits ^= bit;
                let here = at;
                at = at.wrapping_add(stride);
                if mask & bit == 0 {
                    continue;
                }
                let key = if exceptions & bit == 0 {
                    let Some(hot) = hot.get(column) else { continue };
                    // The price has at most 32 bits and is billed for at most two days; a fee is at most a million: fits.
                    let cost_x60 = hot
                        .sum
                        .wrapping_add(hot.first.wrapping_mul(u64::from(unit(here))))
                        .wrapping_add(hot.own.wrapping_mul(u64::from(unit(here.wrapping_add(apart)))));
                    key(cost_x60, hot.rank)
                } else {
                    let Some(offer) = self.offer_of_column(column, here.wrapping_sub(first) / stride) else {
                        continue;
                    };
                    offer.key
                };
                if let Some(place) = out.get_mut(n) {
                    *place = key;
                    n = n.wrapping_add(1);
                }
            }
        }
        n
    }

    /// The offer of the one vendor that is bound to a column.
    fn offer_of_column(&self, column: usize, slot: usize) -> Option<Offer> {
        let (at, _) = *self.partition.by_column.get(column)?;
        self.offer(self.partition.entries.get(usize::from(at))?, slot)
    }

    /// Runs over the vendors that have a rate: position of the entry, and its slot.
    #[inline]
    pub(crate) fn each(&self, mut f: impl FnMut(usize, usize)) {
        let partition = self.partition;
        let mut slot = 0;
        for (w, mask) in partition.mask.iter().enumerate().take(self.block.words()) {
            let mut bits = self.block.presence(w);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                bits ^= bit;
                if mask & bit != 0 {
                    let column = w * 32 + bit.trailing_zeros() as usize;
                    let (first, count) = partition.by_column.get(column).copied().unwrap_or((0, 0));
                    for at in first..first + count {
                        f(usize::from(at), slot);
                    }
                }
                slot += 1;
            }
        }
    }
}

/// Largest order value: what is dearer is equal to it.
const DEAREST: u64 = (1 << 54) - 1;
/// Bits of a vendor's rank in a key.
const RANK_BITS: u32 = 10;

#[inline]
fn key(order: u64, rank: u64) -> u64 {
    order.min(DEAREST) << RANK_BITS | rank
}

/// Is a vendor with this offer acceptable at all? `None` = yes.
pub(crate) fn judge(call: &Call<'_>, entry: &Entry, offer: &Offer) -> Option<Exclusion> {
    if entry.currency != call.sell.currency && call.exchange(entry.currency).is_none() {
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
    if !call.partition.loss_ok && call.highest_cost.is_none_or(|h| offer.cost_x60 > h) {
        return Some(Exclusion::Margin);
    }
    None
}

/// The highest cost (× 60) of the expected call at which the margin is left:
/// `buy + margin per minute ≤ sell − share of sell`. `None`: not even a free call leaves it.
/// Nor does any call when the margin is of another currency than the price and no exchange rate is known.
fn highest_cost(
    snapshot: &Snapshot,
    partition: &PartitionBinding,
    sell: &SellRate,
    sell_x60: i128,
) -> Option<u64> {
    let margin = partition.margin;
    let per_min = i128::from(margin.per_min.0) * i128::from(partition.expected_ms / 1_000);
    let per_min = match margin.fits(sell.currency) {
        true => per_min,
        false => rate::exchanged(per_min, snapshot.directory.exchange(margin.currency, sell.currency)?),
    };
    let kept = match margin.bps {
        0 => sell_x60,
        bps => (sell_x60 * (10_000 - i128::from(bps))).div_euclid(10_000),
    };
    let limit = kept - per_min;
    (limit >= 0).then(|| u64::try_from(limit).unwrap_or(u64::MAX))
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

/// Does a trunk that is coming back leave this call to others? Drawn from the call's hash, so that it replays; as its share
/// rises, calls are only added.
#[inline]
pub(crate) fn passed_over(snapshot: &Snapshot, live: &Live<'_>, ix: VendorTrunkIx, call_hash: u64) -> bool {
    let share = live.of(ix).share;
    share < WHOLE && {
        let id = snapshot.directory.vendor_trunk(ix).map_or(0, |t| t.id.as_u128());
        mix(call_hash ^ mix(id as u64 ^ (id >> 64) as u64)) % u64::from(WHOLE) >= u64::from(share)
    }
}

/// Vendors that are priced without allocation.
const INLINE: usize = 32;

#[allow(clippy::too_many_arguments)] // the facts of one call, on its only path
pub(super) fn candidates(
    snapshot: &Snapshot,
    input: &CallInput<'_>,
    live: &Live<'_>,
    partition: &PartitionBinding,
    block: Block<'_>,
    decision: &Decision,
    sell: &SellRate,
    out: &mut Candidates,
) -> Result<(), Refusal> {
    let call = Call::new(snapshot, partition, input, decision, block, sell).ok_or(Refusal::RatingFailed)?;
    let mut few = [0u64; INLINE];
    let mut many;
    let room: &mut [u64] = if partition.entries.len() <= INLINE {
        &mut few
    } else {
        many = vec![0u64; partition.entries.len()];
        &mut many
    };
    let n = call.price_all(room);
    let keys = room.get(..n).unwrap_or(&[]);
    if keys.is_empty() {
        return Err(Refusal::NoRoute);
    }
    let mut unavailable = false;
    // Trunks that are coming back and leave this call to others: behind all others, so that nothing is refused for their sake.
    let mut returning: Option<Candidates> = None;
    let code_of = call.block.matched(Code::whole(call.routed));
    // The first four in one pass; only when more are wanted, or some fell out, the others one by one.
    let first = first_four(keys);
    let mut next = 0usize;
    let mut last = None;
    loop {
        let key = match (first.get(next).copied(), last) {
            (Some(u64::MAX), _) => None,
            (Some(key), _) => Some(key),
            (None, Some(last)) => next_after(keys, last),
            (None, None) => None,
        };
        let Some(key) = key else { break };
        next = next.wrapping_add(1);
        last = Some(key);
        let rank = (key & ((1 << RANK_BITS) - 1)) as usize;
        let entry = partition.by_rank.get(rank).and_then(|at| partition.entries.get(usize::from(*at)));
        let Some(entry) = entry else {
            continue;
        };
        let Some(slot) = call.block.slot(entry.column) else {
            continue;
        };
        let Some(offer) = call.offer(entry, slot) else {
            continue;
        };
        match judge(&call, entry, &offer) {
            None => {}
            // Everybody behind is dearer still.
            Some(Exclusion::Margin) if partition.strategy == Strategy::Cost && offer.cost_x60 < DEAREST => {
                break;
            }
            Some(Exclusion::Margin) => continue,
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
                .buy_rate_at(entry.column, offer.rate, offer.exception, &code_of, entry.rounding)
                .ok_or(Refusal::RatingFailed)?;
            let to = match passed_over(snapshot, live, *ix, call.call_hash) {
                false => &mut *out,
                true => returning.get_or_insert_with(Candidates::new),
            };
            let rank = to.len() as u16 + 1;
            to.push(Candidate {
                vendor_trunk: *ix,
                vendor: entry.vendor,
                buy: Some(buy),
                jurisdiction: offer.jurisdiction,
                rank,
            });
            if out.len() >= partition.max_candidates {
                return Ok(());
            }
        }
    }
    if let Some(returning) = returning {
        let room = partition.max_candidates.saturating_sub(out.len());
        for c in returning.iter().take(room) {
            out.push(Candidate { rank: out.len() as u16 + 1, ..*c });
        }
    }
    match (out.is_empty(), unavailable) {
        (false, _) => Ok(()),
        (true, true) => Err(Refusal::NoRouteAvailable),
        (true, false) => Err(Refusal::NoRouteAtMargin),
    }
}

/// The four smallest keys in order, `u64::MAX` where there are fewer. Without branches: which vendors are cheap cannot be
/// predicted.
#[inline]
fn first_four(keys: &[u64]) -> [u64; 4] {
    let [mut a, mut b, mut c, mut d] = [u64::MAX; 4];
    for key in keys.iter().copied() {
        let (x, y) = (a.min(key), a.max(key));
        a = x;
        let (x, z) = (b.min(y), b.max(y));
        b = x;
        let (x, w) = (c.min(z), c.max(z));
        c = x;
        d = d.min(w);
    }
    [a, b, c, d]
}

/// The smallest key above one; keys are unique.
#[inline]
fn next_after(keys: &[u64], last: u64) -> Option<u64> {
    let next = keys.iter().fold(u64::MAX, |best, k| {
        let k = if *k > last { *k } else { u64::MAX };
        best.min(k)
    });
    (next != u64::MAX).then_some(next)
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
    fn the_smallest_keys_come_in_order() {
        let keys = [5u64, 3, 9, 1, 7, 2];
        assert_eq!(first_four(&keys), [1, 2, 3, 5]);
        assert_eq!(next_after(&keys, 5), Some(7));
        assert_eq!(next_after(&keys, 9), None);
        assert_eq!(first_four(&[4]), [4, u64::MAX, u64::MAX, u64::MAX]);
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
