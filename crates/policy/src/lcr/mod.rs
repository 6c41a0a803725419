//! The prefix index: every rate of every deck in force, resolved at build time.
//!
//! One row per dial code that any deck names. A row holds, for each buy column (a vendor's list of decks), the rate of that
//! vendor's longest code that covers the row: a call needs one search, not one per vendor. NANP numbers reach their row
//! through a table of all 1,000,000 NPANXX; longer codes are the row's next neighbours; numbers of the world are found by a
//! binary search inside their first three digits. Row block, in 32-bit words:
//!
//! ```text
//! presence bits [words] | exception bits [words] | code length, first exception | inter [n] | intra [n] | indeterminate [n]
//! ```
//!
//! with `n` = vendors present, in column order; rows without jurisdiction have one group of rates only. Rates are nano-units
//! in 32 bits. An exception says what differs from "matched by the row's own code, at the column's usual terms, price below
//! 4.29": it has the code's length, the terms, and whether the rates are positions in a table of large prices.
//!
//! Sell columns (a trunk's list of decks) share the rows: one dictionary number per row, in pages of 256 rows that are
//! stored once however often they repeat, so that flat price lists cost nothing.

mod build;
mod stored;

use std::fmt;

use warp_model::{Currency, DeckId, E164, Nanos, Wall};

pub use build::{BuildError, LcrBuilder, RateList, Side};
pub use stored::StoredError;

use crate::code::{Code, pow10};
use crate::deck::{DeckMeta, Terms};
use crate::number_plan::Jurisdiction;
use crate::rate::{Rate, Rounding};

/// No row, no dictionary entry.
const NONE: u32 = u32::MAX;
/// Rows per sell page: a shift.
const PAGE_BITS: u32 = 8;
/// An NPANXX entry: row + 1 in the low bits, then one bit for each thousands block (eighth digit) that has a row of its own,
/// then a flag: there are longer codes still, so search. The blocks' rows follow the exchange's row in order.
const ROW_BITS: u32 = 32;
/// See [`ROW_BITS`].
const LONGER: u64 = 1 << (ROW_BITS + 10);
/// Highest number of rows.
const MAX_ROWS: usize = (1 << 31) - 2;
/// Position of a row's first exception: the word's low bits; above them the length of the row's code.
const FIRST_EXCEPTION: u32 = (1 << 28) - 1;
/// Flag of a row offset: one group of rates only.
const SINGLE: u32 = 1 << 31;
/// Highest number of columns on one side.
pub const MAX_COLUMNS: usize = 1_024;

/// A column of the index: a list of decks that is searched as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its decks, in order of preference among equal codes.
    pub decks: Vec<DeckId>,
    /// Of all its amounts.
    pub currency: Currency,
    /// The terms that most of its rows have (position in the table of terms).
    usual_terms: u16,
}

/// Increments and fee, and the deck they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DeckTerms {
    terms: Terms,
    deck: u16,
}

/// A resolved sell price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SellEntry {
    rates: [i64; 3],
    terms: u16,
    code_len: u8,
}

/// What differs from the usual: terms, length of the matched code, large prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exception(u32);

impl Exception {
    fn of(terms: u16, code_len: usize, big: bool) -> Exception {
        Exception(u32::from(terms) | ((code_len as u32 & 15) << 16) | (u32::from(big) << 20))
    }
    fn terms(self) -> u16 {
        (self.0 & 0xFFFF) as u16
    }
    fn code_len(self) -> usize {
        (self.0 >> 16 & 15) as usize
    }
    fn big(self) -> bool {
        self.0 >> 20 & 1 == 1
    }
}

/// The immutable index. Made by [`LcrBuilder`] or [`LcrIndex::build`].
pub struct LcrIndex {
    key: [u8; 32],
    next_change: Option<Wall>,
    decks: Vec<DeckMeta>,
    terms: Vec<DeckTerms>,
    buy: Vec<Column>,
    sell: Vec<Column>,
    /// Words of 32 columns.
    words: usize,
    /// Sorted.
    codes: Vec<Code>,
    /// The next shorter code that this one falls back to.
    parents: Vec<u32>,
    npanxx: Vec<u64>,
    /// Offset of the exchange's own row, so that the row's number need not be waited for.
    npanxx_offset: Vec<u32>,
    /// First row at or after each group of three first digits (1,001 entries).
    world: Vec<u32>,
    offsets: Vec<u32>,
    data: Vec<u32>,
    exceptions: Vec<u32>,
    big: Vec<i64>,
    sell_pages: Vec<Vec<u32>>,
    page_pool: Vec<u32>,
    sell_entries: Vec<SellEntry>,
}

/// A row of the index, found for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowIx(pub u32);

impl LcrIndex {
    /// An index without rates: every call is refused.
    pub fn empty() -> LcrIndex {
        LcrIndex {
            key: [0; 32],
            next_change: None,
            decks: Vec::new(),
            terms: Vec::new(),
            buy: Vec::new(),
            sell: Vec::new(),
            words: 0,
            codes: Vec::new(),
            parents: Vec::new(),
            npanxx: Vec::new(),
            npanxx_offset: Vec::new(),
            world: Vec::new(),
            offsets: Vec::new(),
            data: Vec::new(),
            exceptions: Vec::new(),
            big: Vec::new(),
            sell_pages: Vec::new(),
            page_pool: Vec::new(),
            sell_entries: Vec::new(),
        }
    }

    /// Hash of what it was made from: deck versions and their order, the number plan, and which rows are in force.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// When rates change next: the index must be built again before.
    pub fn next_change(&self) -> Option<Wall> {
        self.next_change
    }

    /// The decks it was made from.
    pub fn decks(&self) -> &[DeckMeta] {
        &self.decks
    }

    /// A deck by the position that a [`Rate`] carries.
    pub fn deck(&self, ix: u32) -> Option<&DeckMeta> {
        self.decks.get(ix as usize)
    }

    /// Buy columns.
    pub fn buy_columns(&self) -> &[Column] {
        &self.buy
    }

    /// Sell columns.
    pub fn sell_columns(&self) -> &[Column] {
        &self.sell
    }

    /// The buy column of a list of decks.
    pub fn buy_column(&self, decks: &[DeckId]) -> Option<usize> {
        self.buy.iter().position(|c| c.decks == decks)
    }

    /// The sell column of a list of decks.
    pub fn sell_column(&self, decks: &[DeckId]) -> Option<usize> {
        self.sell.iter().position(|c| c.decks == decks)
    }

    /// Rows: dial codes over all decks.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// No rows.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Words of 32 bits in a mask over the buy columns.
    pub fn mask_words(&self) -> usize {
        self.words
    }

    /// Bytes of memory that its tables take.
    pub fn memory_bytes(&self) -> usize {
        let pages: usize = self.sell_pages.iter().map(|p| p.capacity() * 4).sum();
        (self.codes.capacity() + self.npanxx.capacity()) * 8
            + (self.parents.capacity()
                + self.npanxx_offset.capacity()
                + self.world.capacity()
                + self.offsets.capacity()
                + self.data.capacity()
                + self.exceptions.capacity()
                + self.page_pool.capacity())
                * 4
            + self.big.capacity() * 8
            + self.sell_entries.capacity() * std::mem::size_of::<SellEntry>()
            + self.terms.capacity() * std::mem::size_of::<DeckTerms>()
            + pages
    }

    /// The row of the longest code that covers a number.
    #[inline]
    pub fn find(&self, number: E164) -> Option<RowIx> {
        match number.npanxx() {
            Some(npanxx) => self.find_nanp(number, npanxx),
            None => self.find_world(number),
        }
    }

    #[inline]
    fn find_nanp(&self, number: E164, npanxx: u32) -> Option<RowIx> {
        let entry = *self.npanxx.get(npanxx as usize)?;
        let row = (entry as u32).checked_sub(1)?;
        if entry >> ROW_BITS == 0 {
            return Some(RowIx(row));
        }
        if entry & LONGER != 0 {
            return self.search_below(row, number);
        }
        let block = number.as_u64() / 1_000 % 10;
        let blocks = (entry >> ROW_BITS) as u32;
        if blocks >> block & 1 == 0 {
            return Some(RowIx(row));
        }
        let before = (blocks & ((1 << block) - 1)).count_ones();
        Some(RowIx(row + 1 + before))
    }

    /// The codes below an exchange follow it in order; a later one that covers the number is a longer one.
    #[cold]
    fn search_below(&self, row: u32, number: E164) -> Option<RowIx> {
        let whole = Code::whole(number);
        let first = row + 1;
        let mut best = row;
        for (code, at) in self.codes.get(first as usize..)?.iter().zip(first..) {
            if *code > whole {
                break;
            }
            if code.covers(whole) {
                best = at;
            }
        }
        Some(RowIx(best))
    }

    fn find_world(&self, number: E164) -> Option<RowIx> {
        let whole = Code::whole(number);
        let group = (whole.aligned() / pow10(12)) as usize;
        let from = *self.world.get(group)? as usize;
        let to = *self.world.get(group + 1)? as usize;
        let before = self.codes.get(from..to)?.partition_point(|c| *c <= whole);
        // The last code not after the number, then up through shorter ones until one covers it.
        let mut row = (from + before).checked_sub(1)? as u32;
        while !self.codes.get(row as usize)?.covers(whole) {
            row = *self.parents.get(row as usize)?;
        }
        Some(RowIx(row))
    }

    /// The code of a row.
    pub fn code(&self, row: RowIx) -> Option<Code> {
        self.codes.get(row.0 as usize).copied()
    }

    /// The vendors' rates of a row.
    #[inline]
    pub(crate) fn block(&self, row: RowIx) -> Option<Block<'_>> {
        self.block_at(row, *self.offsets.get(row.0 as usize)?)
    }

    /// The vendors' rates of the row that was found for a number.
    #[inline]
    pub(crate) fn block_of(&self, number: E164, row: RowIx) -> Option<Block<'_>> {
        if let Some(npanxx) = number.npanxx() {
            let at = npanxx as usize;
            if *self.npanxx.get(at)? as u32 == row.0 + 1 {
                return self.block_at(row, *self.npanxx_offset.get(at)?);
            }
        }
        self.block(row)
    }

    #[inline]
    fn block_at(&self, row: RowIx, offset: u32) -> Option<Block<'_>> {
        let at = (offset & !SINGLE) as usize;
        let block = self.data.get(at..)?;
        // The rates lie on the next cache lines: ask for all of them now, in one wait instead of three.
        std::hint::black_box(block.get(16).copied());
        std::hint::black_box(block.get(32).copied());
        let (presence, rest) = block.split_at_checked(self.words)?;
        let (exceptions, rest) = rest.split_at_checked(self.words)?;
        let (first, rates) = rest.split_first()?;
        let n: u32 = presence.iter().map(|w| w.count_ones()).sum();
        let groups = if offset & SINGLE != 0 { 1 } else { 3 };
        Some(Block {
            presence,
            exceptions,
            first_exception: *first & FIRST_EXCEPTION,
            code_len: (*first >> 28) as usize,
            rates: rates.get(..n as usize * groups)?,
            n: n as usize,
            row,
        })
    }

    /// A sell price: its rate for a jurisdiction (`None`: the one price). `whole` is a number, or a code, of this row.
    pub fn sell_rate(
        &self,
        column: usize,
        row: RowIx,
        whole: Code,
        jurisdiction: Option<Jurisdiction>,
        rounding: Rounding,
    ) -> Option<Rate> {
        let page = *self.sell_pages.get(column)?.get((row.0 >> PAGE_BITS) as usize)?;
        let at = (page << PAGE_BITS) | (row.0 & ((1 << PAGE_BITS) - 1));
        let entry = self.page_pool.get(at as usize)?;
        let entry = self.sell_entries.get(*entry as usize)?;
        let rate = entry.rates.get(jurisdiction.map_or(2, Jurisdiction::column))?;
        let terms = self.terms.get(usize::from(entry.terms))?;
        Some(Rate {
            rate_per_min: Nanos(*rate),
            terms: terms.terms,
            code: whole.head(usize::from(entry.code_len)),
            deck: u32::from(terms.deck),
            currency: self.sell.get(column)?.currency,
            rounding,
        })
    }

    /// A buy price of one column, in full. `whole` is a number, or a code, of this row.
    pub fn buy_rate(
        &self,
        column: usize,
        row: RowIx,
        whole: Code,
        jurisdiction: Option<Jurisdiction>,
        rounding: Rounding,
    ) -> Option<Rate> {
        let block = self.block(row)?;
        let slot = block.slot(column)?;
        self.buy_rate_at(&block, column, slot, whole, jurisdiction, rounding)
    }

    /// A buy price by its slot in the row.
    pub(crate) fn buy_rate_at(
        &self,
        block: &Block<'_>,
        column: usize,
        slot: usize,
        whole: Code,
        jurisdiction: Option<Jurisdiction>,
        rounding: Rounding,
    ) -> Option<Rate> {
        let (rate, exception) = self.price(block, column, slot, jurisdiction)?;
        let info = self.buy.get(column)?;
        let terms = self.terms.get(usize::from(exception.map_or(info.usual_terms, Exception::terms)))?;
        Some(Rate {
            rate_per_min: Nanos(rate),
            terms: terms.terms,
            code: whole.head(exception.map_or(block.code_len, Exception::code_len)),
            deck: u32::from(terms.deck),
            currency: info.currency,
            rounding,
        })
    }

    /// Price per minute of a slot, and its exception.
    #[inline]
    fn price(
        &self,
        block: &Block<'_>,
        column: usize,
        slot: usize,
        jurisdiction: Option<Jurisdiction>,
    ) -> Option<(i64, Option<Exception>)> {
        let raw = block.rate(slot, jurisdiction)?;
        if !block.is_exception(column) {
            return Some((i64::from(raw), None));
        }
        let e = Exception(*self.exceptions.get(block.exception_at(column))?);
        let rate = if e.big() { *self.big.get(raw as usize)? } else { i64::from(raw) };
        Some((rate, Some(e)))
    }

    /// The usual terms of a buy column.
    pub(crate) fn usual_terms(&self, column: usize) -> Option<Terms> {
        let info = self.buy.get(column)?;
        self.terms.get(usize::from(info.usual_terms)).map(|t| t.terms)
    }

    /// Price per minute and, when they are not the column's usual ones, the terms.
    #[inline]
    pub(crate) fn price_and_terms(
        &self,
        block: &Block<'_>,
        column: usize,
        slot: usize,
        jurisdiction: Option<Jurisdiction>,
    ) -> Option<(i64, Option<Terms>)> {
        let (rate, exception) = self.price(block, column, slot, jurisdiction)?;
        match exception {
            None => Some((rate, None)),
            Some(e) => {
                let terms = self.terms.get(usize::from(e.terms()))?;
                Some((rate, Some(terms.terms)))
            }
        }
    }
}

/// The rates of a row.
pub(crate) struct Block<'a> {
    pub(crate) presence: &'a [u32],
    exceptions: &'a [u32],
    first_exception: u32,
    /// Digits of the row's code.
    code_len: usize,
    rates: &'a [u32],
    n: usize,
    pub(crate) row: RowIx,
}

impl Block<'_> {
    /// The place of a column among those present.
    pub(crate) fn slot(&self, column: usize) -> Option<usize> {
        let (word, bit) = (column / 32, 1u32 << (column % 32));
        let w = *self.presence.get(word)?;
        if w & bit == 0 {
            return None;
        }
        let before: u32 = self.presence.iter().take(word).map(|w| w.count_ones()).sum();
        Some((before + (w & (bit - 1)).count_ones()) as usize)
    }

    /// The rates of one jurisdiction, in slot order.
    #[inline]
    pub(crate) fn group(&self, jurisdiction: Option<Jurisdiction>) -> &[u32] {
        let one_price = self.rates.len() == self.n;
        let group = if one_price { 0 } else { jurisdiction.map_or(2, Jurisdiction::column) };
        self.rates.get(group * self.n..(group + 1) * self.n).unwrap_or(&[])
    }

    #[inline]
    fn rate(&self, slot: usize, jurisdiction: Option<Jurisdiction>) -> Option<u32> {
        self.group(jurisdiction).get(slot).copied()
    }

    /// Which columns differ from the usual.
    #[inline]
    pub(crate) fn exception_bits(&self, word: usize) -> u32 {
        self.exceptions.get(word).copied().unwrap_or(0)
    }

    #[inline]
    fn is_exception(&self, column: usize) -> bool {
        self.exceptions.get(column / 32).is_some_and(|w| w & (1 << (column % 32)) != 0)
    }

    fn exception_at(&self, column: usize) -> usize {
        let (word, bit) = (column / 32, 1u32 << (column % 32));
        let before: u32 = self.exceptions.iter().take(word).map(|w| w.count_ones()).sum();
        let within = self.exceptions.get(word).map_or(0, |w| (w & (bit - 1)).count_ones());
        (self.first_exception + before + within) as usize
    }
}

impl fmt::Debug for LcrIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LcrIndex")
            .field("rows", &self.codes.len())
            .field("buy", &self.buy.len())
            .field("sell", &self.sell.len())
            .field("bytes", &self.memory_bytes())
            .finish()
    }
}
