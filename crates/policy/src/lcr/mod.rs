//! The prefix index: every rate of every deck in force, resolved at build time.
//!
//! One row per dial code that any deck names. A row holds, for each buy column (a vendor's list of decks), the rate of that
//! vendor's longest code that covers the row: a call needs one search, not one per vendor. NANP numbers reach their row
//! through a table of all 1,000,000 NPANXX; longer codes are the row's next neighbours; numbers of the world are found by a
//! binary search inside their first three digits. A row's block begins on a cache line; in 16-bit units, low half first:
//!
//! ```text
//! presence bits [2·words] | exception bits [2·words] | code length, first exception [2] | inter [n] | intra [n] | indeterminate [n]
//! ```
//!
//! with `n` = vendors present, in column order. Prices are coded by the column's [`Scale`]: `base + unit · code`, where intra
//! and indeterminate count from inter; so a decision multiplies instead of looking up, and reads two or three cache lines.
//! Rows without jurisdiction have one group only, of nano-units in 32 bits. An exception says what differs from "matched by
//! the row's own code, at the column's usual terms, priced by the scale": it has the code's length, the terms, and whether the
//! prices stand in a table of wide ones, by a position that the first 32 bits of codes hold.
//!
//! Sell columns (a trunk's list of decks) share the rows: one dictionary number per row, in pages of 256 rows that are
//! stored once however often they repeat; a page of equal rows is that number alone. So flat price lists cost nothing.

mod build;
mod pages;
mod scale;
mod stored;

use std::fmt;

use warp_model::{Currency, DeckId, E164, Nanos, Wall};

pub use build::{BuildError, LcrBuilder, RateList, Side};
pub(crate) use scale::Scale;
pub use stored::StoredError;

use self::pages::Pages;
use crate::code::{Code, pow10};
use crate::deck::{DeckMeta, Terms};
use crate::number_plan::Jurisdiction;
use crate::rate::{Rate, Rounding};

/// No row, no dictionary entry.
const NONE: u32 = u32::MAX;
/// Rows per sell page: a shift.
const PAGE_BITS: u32 = 8;
/// In [`Exchange::longer`], above one bit for each thousands block: there are longer codes still, so search.
const LONGER: u32 = 1 << 10;
/// Flag of a sell page: all its rows have the entry that the other bits number (all ones: no price).
const SAME: u32 = 1 << 31;
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
    /// How a buy column's prices are coded.
    scale: Scale,
}

/// What the NPANXX table says of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Exchange {
    /// Row + 1 of the longest code of at most seven digits; 0 = none.
    row: u32,
    /// That row's offset, so that the row's number need not be waited for.
    offset: u32,
    /// One bit for each thousands block (eighth digit) that has a row of its own, and [`LONGER`]. The blocks' rows follow the
    /// exchange's row in order.
    longer: u32,
}

impl Exchange {
    /// Stored with a word to spare, so that an entry lies in one cache line.
    const BYTES: usize = 16;

    #[inline]
    fn read(table: &[u8], npanxx: usize) -> Option<Exchange> {
        let at = npanxx.checked_mul(Self::BYTES)?;
        let [row, offset, longer, _] = table.get(at..)?.first_chunk::<16>()?.as_chunks::<4>().0 else {
            return None;
        };
        let word = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        Some(Exchange { row: word(row), offset: word(offset), longer: word(longer) })
    }

    fn write(self, table: &mut [u8], npanxx: usize) {
        let words = [self.row, self.offset, self.longer, 0];
        for (to, word) in table.chunks_exact_mut(4).skip(npanxx * 4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Units of 16 bits in a line of 64 bytes, which the processor fetches at once.
const LINE: usize = 32;
/// Bytes of a line.
const LINE_BYTES: usize = 2 * LINE;
/// Units that a decision copies to have them in one piece: those of 30 vendors.
pub(crate) const COPIED: usize = 4 * LINE;

/// The unit at a position counted from the first line.
#[inline]
fn unit(lines: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*lines.get(at.wrapping_mul(2)..)?.first_chunk()?))
}

/// Two units as one word, low half first.
#[inline]
fn pair(lines: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*lines.get(at.wrapping_mul(2)..)?.first_chunk()?))
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

/// The code that a number matched in a row.
pub(crate) struct Matched {
    whole: Code,
    /// Of the row itself, which most columns match by.
    row: Code,
}

impl Matched {
    #[inline]
    fn code(&self, exception: Option<Exception>) -> Code {
        exception.map_or(self.row, |e| self.whole.head(e.code_len()))
    }
}

/// What differs from the usual: terms, length of the matched code, wide prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exception(u32);

impl Exception {
    fn of(terms: u16, code_len: usize, wide: bool) -> Exception {
        Exception(u32::from(terms) | ((code_len as u32 & 15) << 16) | (u32::from(wide) << 20))
    }
    fn terms(self) -> u16 {
        (self.0 & 0xFFFF) as u16
    }
    fn code_len(self) -> usize {
        (self.0 >> 16 & 15) as usize
    }
    fn wide(self) -> bool {
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
    /// [`Exchange`]s by NPANXX; empty in an index without rates.
    exchanges: Pages,
    /// First row at or after each group of three first digits (1,001 entries).
    world: Vec<u32>,
    /// First line of each row's block, and [`SINGLE`].
    offsets: Vec<u32>,
    data: Pages,
    exceptions: Vec<u32>,
    /// Prices that the scale does not reach: inter, intra, indeterminate.
    wide: Vec<[i64; 3]>,
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
            exchanges: Pages::default(),
            world: Vec::new(),
            offsets: Vec::new(),
            data: Pages::default(),
            exceptions: Vec::new(),
            wide: Vec::new(),
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

    /// The columns of buying prices, in their order.
    pub fn buy_columns(&self) -> &[Column] {
        &self.buy
    }

    /// The columns of selling prices, in their order.
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

    /// Whether there are no rows.
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
        self.codes.capacity() * 8
            + self.exchanges.len()
            + self.data.len()
            + (self.parents.capacity()
                + self.world.capacity()
                + self.offsets.capacity()
                + self.exceptions.capacity()
                + self.page_pool.capacity())
                * 4
            + self.wide.capacity() * 24
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
        let exchange = Exchange::read(&self.exchanges, npanxx as usize)?;
        let row = exchange.row.checked_sub(1)?;
        let blocks = exchange.longer;
        if blocks == 0 {
            return Some(RowIx(row));
        }
        if blocks & LONGER != 0 {
            return self.search_below(row, number);
        }
        let block = number.as_u64() / 1_000 % 10;
        if blocks >> block & 1 == 0 {
            return Some(RowIx(row));
        }
        let before = (blocks & ((1 << block) - 1)).count_ones();
        Some(RowIx(row.wrapping_add(1 + before)))
    }

    /// The codes below an exchange follow it in order; a later one that covers the number is a longer one.
    #[cold]
    fn search_below(&self, row: u32, number: E164) -> Option<RowIx> {
        let whole = Code::whole(number);
        let first = row.checked_add(1)?;
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
            let exchange = Exchange::read(&self.exchanges, npanxx as usize)?;
            if exchange.row.checked_sub(1) == Some(row.0) {
                return self.block_at(row, exchange.offset);
            }
        }
        self.block(row)
    }

    #[inline]
    fn block_at(&self, row: RowIx, offset: u32) -> Option<Block<'_>> {
        let lines = self.data.get((offset & !SINGLE) as usize * LINE_BYTES..)?;
        // The rates lie on the next cache lines: ask for all of them now, in one wait instead of three.
        std::hint::black_box(lines.get(LINE_BYTES).copied());
        std::hint::black_box(lines.get(2 * LINE_BYTES).copied());
        let words = self.words;
        let mut n = 0;
        for word in 0..words {
            n += pair(lines, 2 * word)?.count_ones() as usize;
        }
        let single = offset & SINGLE != 0;
        let first = pair(lines, 4 * words)?;
        let rates = 4 * words + 2;
        let end = rates + n * if single { 2 } else { 3 };
        Some(Block {
            lines: lines.get(..end.div_ceil(LINE) * LINE_BYTES)?,
            words,
            rates,
            n,
            single,
            first_exception: first & FIRST_EXCEPTION,
            code_len: (first >> 28) as usize,
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
        let entry = if page & SAME != 0 {
            page & !SAME
        } else {
            let at = (page as usize) << PAGE_BITS | (row.0 & ((1 << PAGE_BITS) - 1)) as usize;
            *self.page_pool.get(at)?
        };
        let entry = self.sell_entries.get(entry as usize)?;
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
        let (rate, exception) = self.price(&block, column, slot, jurisdiction)?;
        self.buy_rate_at(column, rate, exception, &block.matched(whole), rounding)
    }

    /// A buy price that [`LcrIndex::price`] gave, in full.
    #[inline]
    pub(crate) fn buy_rate_at(
        &self,
        column: usize,
        rate: i64,
        exception: Option<Exception>,
        matched: &Matched,
        rounding: Rounding,
    ) -> Option<Rate> {
        let info = self.buy.get(column)?;
        let terms = self.terms.get(usize::from(exception.map_or(info.usual_terms, Exception::terms)))?;
        Some(Rate {
            rate_per_min: Nanos(rate),
            terms: terms.terms,
            code: matched.code(exception),
            deck: u32::from(terms.deck),
            currency: info.currency,
            rounding,
        })
    }

    /// Price per minute of a slot, and its exception.
    #[inline]
    pub(crate) fn price(
        &self,
        block: &Block<'_>,
        column: usize,
        slot: usize,
        jurisdiction: Option<Jurisdiction>,
    ) -> Option<(i64, Option<Exception>)> {
        let exception = match block.is_exception(column) {
            false => None,
            true => Some(Exception(*self.exceptions.get(block.exception_at(column))?)),
        };
        let group = jurisdiction.map_or(2, Jurisdiction::column);
        let rate = if exception.is_some_and(Exception::wide) {
            *self.wide.get(block.position(slot)? as usize)?.get(group)?
        } else if block.single {
            i64::from(block.position(slot)?)
        } else {
            let (first, own) = block.codes(slot, group)?;
            self.buy.get(column)?.scale.price(group, first, own)
        };
        Some((rate, exception))
    }

    /// How a buy column's prices are coded.
    pub(crate) fn scale(&self, column: usize) -> Option<&Scale> {
        self.buy.get(column).map(|c| &c.scale)
    }

    /// The usual terms of a buy column.
    pub(crate) fn usual_terms(&self, column: usize) -> Option<Terms> {
        let info = self.buy.get(column)?;
        self.terms.get(usize::from(info.usual_terms)).map(|t| t.terms)
    }

    /// The terms of an exception.
    #[inline]
    pub(crate) fn terms_of(&self, exception: Exception) -> Option<Terms> {
        self.terms.get(usize::from(exception.terms())).map(|t| t.terms)
    }
}

/// The rates of a row.
pub(crate) struct Block<'a> {
    /// Whole lines, from the block's first one to its last.
    lines: &'a [u8],
    /// Words of 32 columns.
    words: usize,
    /// Where the first group begins.
    rates: usize,
    n: usize,
    /// One group of 32 bits each, instead of three groups of codes.
    single: bool,
    first_exception: u32,
    /// Digits of the row's code.
    code_len: usize,
    pub(crate) row: RowIx,
}

impl Block<'_> {
    /// The place of a column among those present.
    pub(crate) fn slot(&self, column: usize) -> Option<usize> {
        let (word, bit) = (column / 32, 1u32 << (column % 32));
        let w = self.presence(word);
        if w & bit == 0 {
            return None;
        }
        let before: u32 = (0..word).map(|w| self.presence(w).count_ones()).sum();
        Some((before + (w & (bit - 1)).count_ones()) as usize)
    }

    /// Words of 32 columns.
    #[inline]
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Which columns have a rate.
    #[inline]
    pub(crate) fn presence(&self, word: usize) -> u32 {
        if word < self.words { pair(self.lines, 2 * word).unwrap_or(0) } else { 0 }
    }

    /// Are prices here one for all jurisdictions?
    #[inline]
    pub(crate) fn one_price(&self) -> bool {
        self.single
    }

    /// What a number (or a code) of this row matches by.
    pub(crate) fn matched(&self, whole: Code) -> Matched {
        Matched { whole, row: whole.head(self.code_len) }
    }

    /// A unit of the block.
    #[inline]
    pub(crate) fn unit(&self, at: usize) -> u16 {
        unit(self.lines, at).unwrap_or(0)
    }

    /// The block's units in one piece, when they are few.
    #[inline]
    pub(crate) fn copied(&self) -> Option<[u16; COPIED]> {
        let mut out = [0; COPIED];
        if self.lines.len() > COPIED * 2 {
            return None;
        }
        for (to, from) in out.iter_mut().zip(self.lines.as_chunks::<2>().0) {
            *to = u16::from_le_bytes(*from);
        }
        Some(out)
    }

    /// Of a group (3: the one price of a row without jurisdiction): the first slot's first unit, how far it is to the next
    /// slot's, and how far from a slot's first unit to its second.
    #[inline]
    pub(crate) fn places(&self, group: usize) -> (usize, usize, usize) {
        if self.single { (self.rates, 2, 1) } else { (self.rates, 1, group.wrapping_mul(self.n)) }
    }

    /// The codes of a slot: of its interstate price and of a group's own (0 to 2).
    #[inline]
    pub(crate) fn codes(&self, slot: usize, group: usize) -> Option<(u16, u16)> {
        let at = self.rates.wrapping_add(slot);
        Some((unit(self.lines, at)?, unit(self.lines, at.wrapping_add(group.wrapping_mul(self.n)))?))
    }

    /// The 32 bits of a slot: the one price, or a position among the wide prices.
    #[inline]
    pub(crate) fn position(&self, slot: usize) -> Option<u32> {
        if self.single {
            return pair(self.lines, self.rates + 2 * slot);
        }
        let (low, high) = self.codes(slot, 1)?;
        Some(u32::from(low) | u32::from(high) << 16)
    }

    /// Which columns differ from the usual.
    #[inline]
    pub(crate) fn exception_bits(&self, word: usize) -> u32 {
        if word < self.words { pair(self.lines, 2 * (self.words + word)).unwrap_or(0) } else { 0 }
    }

    #[inline]
    fn is_exception(&self, column: usize) -> bool {
        self.exception_bits(column / 32) & (1 << (column % 32)) != 0
    }

    fn exception_at(&self, column: usize) -> usize {
        let (word, bit) = (column / 32, 1u32 << (column % 32));
        let before: u32 = (0..word).map(|w| self.exception_bits(w).count_ones()).sum();
        let within = (self.exception_bits(word) & (bit - 1)).count_ones();
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
