//! What a directory and an index mean to each other: resolved once per snapshot, so that a decision follows positions.
//!
//! Cheap: a change of the directory binds again and builds no index.

use std::collections::HashMap;

use warp_model::DeckId;
use warp_model::hash::mix;

use crate::deck::Terms;
use crate::directory::{CustomerIx, Directory, PartitionIx, Strategy, TrunkIx, VendorIx};
use crate::lcr::LcrIndex;
use crate::number_plan::State;
use crate::rate::{self, Rounding};

/// Most candidates of a decision.
pub const MAX_CANDIDATES: usize = 8;

/// A vendor of a partition, bound to its column.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) vendor: VendorIx,
    pub(crate) column: usize,
    /// Rank of the vendor's priority among those of the partition.
    pub(crate) priority: u64,
    /// Among equals: the heavier first, then by position. Unique in the partition.
    pub(crate) rank: u64,
    pub(crate) weight: u16,
    /// Seconds billed of the expected call at the column's usual terms.
    pub(crate) billable_s: u64,
    /// 60 × the set-up fee at the usual terms.
    pub(crate) setup_x60: u64,
    pub(crate) interconnection: Option<State>,
    pub(crate) rounding: Rounding,
    pub(crate) currency: warp_model::Currency,
    /// Stable over snapshots, for weighted shares.
    pub(crate) seed: u64,
    pub(crate) has_blocks: bool,
}

/// A partition, bound.
#[derive(Clone, Debug)]
pub(crate) struct PartitionBinding {
    pub(crate) ix: PartitionIx,
    pub(crate) strategy: Strategy,
    pub(crate) max_candidates: usize,
    pub(crate) expected_ms: u64,
    pub(crate) margin: crate::directory::Margin,
    pub(crate) loss_ok: bool,
    /// By column order.
    pub(crate) entries: Vec<Entry>,
    /// For plain price order: what prices a column, by group of prices (inter, intra, indeterminate, one for all).
    pub(crate) plain: Option<[Vec<Hot>; 4]>,
    /// Entries by rank.
    pub(crate) by_rank: Vec<u16>,
    /// Bits that are left for the cost beside the priority.
    pub(crate) cost_bits: u32,
    /// First entry and count of each column.
    pub(crate) by_column: Vec<(u16, u16)>,
    /// Columns that have an entry.
    pub(crate) mask: Vec<u32>,
    /// Vendors without rates in this index.
    pub(crate) unbound: Vec<VendorIx>,
    pub(crate) any_interconnection: bool,
    /// Of all its entries; `None`: they are of several, or there are none.
    pub(crate) currency: Option<warp_model::Currency>,
}

/// What prices the expected call (× 60) at a column's usual terms: `sum + first · a + own · b`, where `a` and `b` are the row's
/// 16-bit units (codes of the interstate price and of the group's own, or low and high half of the one price). Modulo 2⁶⁴, as
/// a base may be below zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hot {
    pub(crate) sum: u64,
    pub(crate) first: u64,
    pub(crate) own: u64,
    /// Of the column's entry.
    pub(crate) rank: u64,
}

/// What the lists of a directory are bound to in an index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {
    sell: Vec<Option<usize>>,
    /// The columns of single prices, by their decks.
    lists: HashMap<Vec<DeckId>, usize>,
    inbound_sell: Vec<Option<usize>>,
    inbound_buy: Vec<Option<usize>>,
    partition_of: Vec<PartitionIx>,
    partitions: Vec<PartitionBinding>,
}

impl Bindings {
    pub(crate) fn new(directory: &Directory, lcr: &LcrIndex) -> Bindings {
        let sell = directory.trunks().map(|(_, t)| lcr.sell_column(&t.sell_decks)).collect();
        let partition_of =
            directory.trunks().map(|(ix, _)| directory.partition_of(ix).unwrap_or_default()).collect();
        let partitions = (0..)
            .map(PartitionIx)
            .zip(&directory.rows().partitions)
            .map(|(ix, p)| bind(directory, lcr, ix, p))
            .collect();
        let lists: HashMap<_, _> =
            lcr.sell_columns().iter().enumerate().map(|(i, c)| (c.decks.clone(), i)).collect();
        let column = |decks: &[DeckId]| lists.get(decks).copied();
        let inbound_sell = directory.customers().map(|(_, c)| column(&c.inbound.decks)).collect();
        let inbound_buy = directory.vendors().map(|(_, v)| column(&v.inbound.decks)).collect();
        Bindings { sell, lists, inbound_sell, inbound_buy, partition_of, partitions }
    }

    /// The column of single prices of these decks.
    pub(crate) fn list(&self, decks: &[DeckId]) -> Option<usize> {
        self.lists.get(decks).copied()
    }

    /// What a customer pays for inbound calls.
    pub(crate) fn inbound_sell(&self, customer: CustomerIx) -> Option<usize> {
        *self.inbound_sell.get(customer.at())?
    }

    /// What a vendor charges for inbound calls.
    pub(crate) fn inbound_buy(&self, vendor: VendorIx) -> Option<usize> {
        *self.inbound_buy.get(vendor.at())?
    }

    #[inline]
    pub(crate) fn sell_column(&self, trunk: TrunkIx) -> Option<usize> {
        *self.sell.get(trunk.at())?
    }

    #[inline]
    pub(crate) fn partition(&self, ix: PartitionIx) -> Option<&PartitionBinding> {
        self.partitions.get(ix.at())
    }

    #[inline]
    pub(crate) fn partition_of(&self, trunk: TrunkIx) -> Option<&PartitionBinding> {
        self.partitions.get(self.partition_of.get(trunk.at())?.at())
    }
}

fn bind(
    directory: &Directory,
    lcr: &LcrIndex,
    ix: PartitionIx,
    partition: &crate::directory::Partition,
) -> PartitionBinding {
    let expected_ms = u64::from(partition.expected_duration_s) * 1_000;
    let mut entries = Vec::new();
    let mut unbound = Vec::new();
    for pv in &partition.vendors {
        let Some(vendor_ix) = directory.vendor_ix(pv.vendor) else {
            continue;
        };
        let Some(vendor) = directory.vendor(vendor_ix) else {
            continue;
        };
        let bound = lcr.buy_column(&vendor.buy_decks).and_then(|column| {
            let terms = lcr.usual_terms(column)?;
            let currency = lcr.buy_columns().get(column)?.currency;
            Some((column, terms, currency))
        });
        let Some((column, terms, currency)) = bound.filter(|_| vendor.enabled) else {
            unbound.push(vendor_ix);
            continue;
        };
        let (billable_s, setup_x60) = expected(expected_ms, terms, vendor.rounding);
        let id = vendor.id.as_u128();
        entries.push(Entry {
            vendor: vendor_ix,
            column,
            priority: u64::from(pv.priority),
            rank: 0,
            weight: pv.weight,
            billable_s,
            setup_x60,
            interconnection: vendor.interconnection,
            rounding: vendor.rounding,
            currency,
            seed: mix((id >> 64) as u64 ^ mix(id as u64)),
            has_blocks: directory.blocks_of_vendor(vendor_ix).next().is_some(),
        });
    }
    entries.sort_by_key(|e| (e.column, e.vendor));
    let mut by_rank: Vec<u16> = (0..entries.len() as u16).collect();
    by_rank.sort_by_key(|at| entries.get(usize::from(*at)).map(|e| (std::cmp::Reverse(e.weight), *at)));
    for (rank, at) in by_rank.iter().enumerate() {
        if let Some(e) = entries.get_mut(usize::from(*at)) {
            e.rank = rank as u64;
        }
    }
    let mut priorities: Vec<u64> = entries.iter().map(|e| e.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    for e in &mut entries {
        e.priority = priorities.partition_point(|p| *p < e.priority) as u64;
    }
    let cost_bits = 54 - usize::BITS.saturating_sub(priorities.len().leading_zeros());
    let mut by_column = vec![(0, 0); lcr.buy_columns().len()];
    let mut mask = vec![0u32; lcr.mask_words()];
    for (i, e) in entries.iter().enumerate() {
        if let Some((first, count)) = by_column.get_mut(e.column) {
            if *count == 0 {
                *first = i as u16;
            }
            *count += 1;
        }
        if let Some(word) = mask.get_mut(e.column / 32) {
            *word |= 1 << (e.column % 32);
        }
    }
    PartitionBinding {
        ix,
        strategy: partition.strategy,
        max_candidates: usize::from(partition.max_candidates).clamp(1, MAX_CANDIDATES),
        expected_ms,
        margin: partition.margin,
        loss_ok: partition.loss_ok,
        plain: plain(partition.strategy, lcr, &entries, &by_column),
        by_rank,
        cost_bits,
        currency: one_of(entries.iter().map(|e| e.currency)),
        any_interconnection: entries.iter().any(|e| e.interconnection.is_some()),
        entries,
        by_column,
        mask,
        unbound,
    }
}

/// What all are; `None`: they differ, or there are none.
fn one_of<T: PartialEq>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.all(|x| x == first).then_some(first)
}

/// `None`: the order is not by price alone, or a column has several entries.
fn plain(
    strategy: Strategy,
    lcr: &LcrIndex,
    entries: &[Entry],
    by_column: &[(u16, u16)],
) -> Option<[Vec<Hot>; 4]> {
    let by_price = strategy == Strategy::Cost && entries.iter().all(|e| e.interconnection.is_none());
    if !by_price || by_column.iter().any(|(_, count)| *count > 1) {
        return None;
    }
    Some([0, 1, 2, 3].map(|group| {
        let mut columns = vec![Hot::default(); by_column.len()];
        for e in entries {
            // The one price of a row without jurisdiction stands in halves, not in codes.
            let terms =
                if group == 3 { Some([0, 1, 1 << 16]) } else { lcr.scale(e.column).map(|s| s.terms(group)) };
            let [base, first, own] = terms.unwrap_or_default().map(|x| (x as u64).wrapping_mul(e.billable_s));
            if let Some(hot) = columns.get_mut(e.column) {
                *hot = Hot { sum: base.wrapping_add(e.setup_x60), first, own, rank: e.rank };
            }
        }
        columns
    }))
}

/// Seconds billed of the expected call, and 60 × the fee. Terms were checked when the deck was made.
pub(crate) fn expected(expected_ms: u64, terms: Terms, rounding: Rounding) -> (u64, u64) {
    let s = rate::billable_s(expected_ms, terms, rounding.partial_second).unwrap_or(u64::MAX);
    let fee = u64::try_from(terms.setup_fee.0).unwrap_or(0);
    (s, fee.saturating_mul(60))
}
