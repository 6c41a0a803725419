//! Building the index in two passes over the decks, so that only one deck needs to be in memory at a time.
//!
//! `survey` every deck (which codes exist, who has them) → `lay_out` (rows, fallbacks, places) → `fill` every deck (rates)
//! → `finish` (what a vendor does not name itself comes from its shorter code; sell pages; lookup tables).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use warp_model::{DeckId, Wall};

use super::{
    Column, DeckTerms, Exception, Exchange, FIRST_EXCEPTION, LINE, LINE_BYTES, LONGER, LcrIndex, MAX_COLUMNS,
    MAX_ROWS, NONE, PAGE_BITS, Pages, SAME, SINGLE, Scale, SellEntry, pair, unit,
};
use crate::code::{Code, pow10};
use crate::deck::{Deck, Row};
use crate::number_plan::NumberPlan;

/// Decks that are searched as one list.
#[derive(Clone, Debug, Default)]
pub struct RateList {
    /// In order of preference among equal codes.
    pub decks: Vec<Arc<Deck>>,
}

/// Why an index cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// A list without decks.
    EmptyList,
    /// Decks of one list in two currencies.
    Currencies(String),
    /// More than 1,024 lists on one side, 65,535 decks, 65,535 different terms, or two billion rows.
    TooLarge(&'static str),
    /// `fill` was given other decks than `survey`.
    OutOfStep,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyList => f.write_str("a rate list without decks"),
            Self::Currencies(d) => write!(f, "{d}: another currency than the list's first deck"),
            Self::TooLarge(what) => write!(f, "too many {what}"),
            Self::OutOfStep => f.write_str("the two passes saw different decks"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Which side a list is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Lists by which vendors charge us.
    Buy,
    /// Lists by which customers pay us.
    Sell,
}

struct Surveyed {
    side: Side,
    decks: Vec<u16>,
    hashes: Vec<[u8; 32]>,
    /// Key material, as [`key_list`] makes it.
    key: Vec<u8>,
}

/// Builds a [`LcrIndex`]; see the module's text for the order of calls.
pub struct LcrBuilder<'a> {
    plan: &'a NumberPlan,
    at: Wall,
    index: LcrIndex,
    surveyed: Vec<Surveyed>,
    deck_of: BTreeMap<[u8; 32], u16>,
    terms_of: HashMap<DeckTerms, u16>,
    /// Codes of all decks with the buy columns that name them (bits, `words` each).
    codes: Vec<Code>,
    own: Vec<u32>,
    /// Codes that a buy column's vendor does not carry: they do not fall back to a shorter code of the column.
    holes: Vec<(Code, usize)>,
    filled: usize,
    /// Row, column, exception: of what a vendor names itself.
    exceptions: Vec<(u32, u32, Exception)>,
    /// Per sell column: dictionary entry per row.
    sell_rows: Vec<Vec<u32>>,
    sell_of: HashMap<SellEntry, u32>,
    wide_of: HashMap<[i64; 3], u32>,
}

impl std::hash::Hash for DeckTerms {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.terms, self.deck).hash(state);
    }
}

impl std::hash::Hash for SellEntry {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.rates, self.terms, self.code_len).hash(state);
    }
}

impl LcrIndex {
    /// Builds from lists that are all in memory.
    pub fn build(
        buy: &[RateList],
        sell: &[RateList],
        plan: &NumberPlan,
        at: Wall,
    ) -> Result<LcrIndex, BuildError> {
        let mut b = LcrBuilder::new(plan, at, buy.len());
        for list in buy {
            b.survey(Side::Buy, list)?;
        }
        for list in sell {
            b.survey(Side::Sell, list)?;
        }
        b.lay_out()?;
        for list in buy.iter().chain(sell) {
            b.fill(list)?;
        }
        b.finish()
    }

    /// The key that an index built from these would have: equal keys need no new build.
    pub fn key_of(buy: &[RateList], sell: &[RateList], plan: &NumberPlan, at: Wall) -> [u8; 32] {
        let mut h = key_start(plan);
        for (side, list) in buy.iter().map(|l| (Side::Buy, l)).chain(sell.iter().map(|l| (Side::Sell, l))) {
            h.update(key_list(side, list, at));
        }
        h.finalize().into()
    }
}

fn key_start(plan: &NumberPlan) -> Sha256 {
    let mut h = Sha256::new();
    h.update(b"warp-lcr-1");
    h.update(plan.hash());
    h
}

/// Equal for two moments between which no row begins or ends.
fn key_list(side: Side, list: &RateList, at: Wall) -> Vec<u8> {
    let mut out = vec![side as u8, list.decks.len() as u8];
    for deck in &list.decks {
        out.extend_from_slice(&deck.hash());
        let change = deck.next_change(at).map_or(i64::MAX, |w| w.0);
        out.extend_from_slice(&change.to_le_bytes());
    }
    out
}

impl<'a> LcrBuilder<'a> {
    /// An index of the rows in force at `at`, with this many buy columns.
    pub fn new(plan: &'a NumberPlan, at: Wall, buy_columns: usize) -> LcrBuilder<'a> {
        let mut index = LcrIndex::empty();
        index.words = buy_columns.div_ceil(32);
        LcrBuilder {
            plan,
            at,
            index,
            surveyed: Vec::new(),
            deck_of: BTreeMap::new(),
            terms_of: HashMap::new(),
            codes: Vec::new(),
            own: Vec::new(),
            holes: Vec::new(),
            filled: 0,
            exceptions: Vec::new(),
            sell_rows: Vec::new(),
            sell_of: HashMap::new(),
            wide_of: HashMap::new(),
        }
    }

    /// First pass: one list. Columns are numbered in the order of calls, on each side.
    pub fn survey(&mut self, side: Side, list: &RateList) -> Result<(), BuildError> {
        let first = list.decks.first().ok_or(BuildError::EmptyList)?;
        let currency = first.meta().currency;
        if let Some(d) = list.decks.iter().find(|d| d.meta().currency != currency) {
            return Err(BuildError::Currencies(d.meta().label()));
        }
        let mut decks = Vec::new();
        for deck in &list.decks {
            let next = u16::try_from(self.index.decks.len()).map_err(|_| BuildError::TooLarge("decks"))?;
            let ix = *self.deck_of.entry(deck.hash()).or_insert(next);
            if ix == next {
                self.index.decks.push(deck.meta().clone());
            }
            decks.push(ix);
            let change = deck.next_change(self.at);
            self.index.next_change = match (self.index.next_change, change) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        // The terms that most rows have are the column's usual ones.
        let mut counts: BTreeMap<DeckTerms, usize> = BTreeMap::new();
        let most = list.decks.iter().map(|d| d.len()).sum::<usize>();
        let mut codes = Vec::with_capacity(most);
        let every = most.div_ceil(SAMPLES).max(1);
        let mut samples = Vec::new();
        let mut holes = Vec::new();
        for (i, (pos, row)) in merged(list, self.at).enumerate() {
            if row.blocked {
                holes.push(row.code);
                continue;
            }
            if i % every == 0 && self.plan.code_has_jurisdiction(row.code) {
                samples.push(row.rates.map(|r| r.0));
            }
            codes.push(row.code);
            let deck = decks.get(pos).copied().unwrap_or_default();
            let terms = DeckTerms { terms: row.terms, deck };
            *counts.entry(terms).or_default() += 1;
        }
        let usual = counts
            .iter()
            .max_by_key(|(_, n)| **n)
            .map_or(DeckTerms { terms: first.meta().kind.usual_terms(), deck: 0 }, |(t, _)| *t);
        let usual_terms = self.terms_ix(usual)?;
        let columns = match side {
            Side::Buy => &mut self.index.buy,
            Side::Sell => &mut self.index.sell,
        };
        let column = columns.len();
        columns.push(Column {
            decks: list.decks.iter().map(|d| d.meta().id).collect::<Vec<DeckId>>(),
            currency,
            usual_terms,
            scale: if side == Side::Buy { Scale::fitting(&samples) } else { Scale::default() },
        });
        let too_many = match side {
            Side::Buy => column >= MAX_COLUMNS || column >= self.index.words * 32,
            Side::Sell => column >= usize::from(u16::MAX),
        };
        if too_many {
            return Err(BuildError::TooLarge("rate lists"));
        }
        self.union(&codes, (side == Side::Buy).then_some(column));
        // A hole is a row of its own, without a price.
        if !holes.is_empty() {
            self.union(&holes, None);
            if side == Side::Buy {
                self.holes.extend(holes.into_iter().map(|c| (c, column)));
            }
        }
        self.surveyed.push(Surveyed {
            side,
            decks,
            hashes: list.decks.iter().map(|d| d.hash()).collect(),
            key: key_list(side, list, self.at),
        });
        Ok(())
    }

    fn terms_ix(&mut self, terms: DeckTerms) -> Result<u16, BuildError> {
        let next =
            u16::try_from(self.index.terms.len()).map_err(|_| BuildError::TooLarge("different terms"))?;
        let ix = *self.terms_of.entry(terms).or_insert(next);
        if ix == next {
            self.index.terms.push(terms);
        }
        Ok(ix)
    }

    /// Merges sorted codes into the rows.
    fn union(&mut self, new: &[Code], column: Option<usize>) {
        let words = self.index.words;
        let bit = column.map(|c| (c / 32, 1u32 << (c % 32)));
        let mut codes = Vec::with_capacity(self.codes.len().max(new.len()) + new.len() / 16);
        let mut own = Vec::with_capacity(codes.capacity() * words);
        let (mut i, mut j) = (0, 0);
        let zeros = vec![0u32; words];
        loop {
            let (a, b) = (self.codes.get(i), new.get(j));
            let code = match (a, b) {
                (None, None) => break,
                (Some(a), Some(b)) => *a.min(b),
                (Some(c), None) | (None, Some(c)) => *c,
            };
            let from = own.len();
            if a == Some(&code) {
                own.extend_from_slice(self.own.get(i * words..(i + 1) * words).unwrap_or(&zeros));
                i += 1;
            } else {
                own.extend_from_slice(&zeros);
            }
            if b == Some(&code) {
                j += 1;
                if let Some((word, bit)) = bit
                    && let Some(w) = own.get_mut(from + word)
                {
                    *w |= bit;
                }
            }
            codes.push(code);
        }
        self.codes = codes;
        self.own = own;
    }

    /// Between the passes: rows, what they fall back to, and their places.
    pub fn lay_out(&mut self) -> Result<(), BuildError> {
        // Every exchange with longer codes below it gets a row of its own.
        let mut exchanges: Vec<Code> = self
            .codes
            .iter()
            .filter(|c| c.len() > 7)
            .filter_map(|c| c.npanxx_part().map(Code::npanxx))
            .collect();
        exchanges.dedup();
        self.union(&exchanges, None);
        let rows = self.codes.len();
        if rows > MAX_ROWS {
            return Err(BuildError::TooLarge("dial codes"));
        }
        self.holes.sort_unstable();
        let mut holes = self.holes.iter().copied().peekable();
        let mut closed = vec![0u32; self.index.words];
        let words = self.index.words;
        let mut parents = Vec::with_capacity(rows);
        let mut above: Vec<u32> = Vec::new();
        let mut offsets = Vec::with_capacity(rows);
        let mut presence_of: Vec<u32> = self.own.clone();
        let mut size = 0usize;
        for (i, code) in self.codes.iter().enumerate() {
            while let Some(p) = above.last() {
                if self.codes.get(*p as usize).is_some_and(|c| c.covers(*code)) {
                    break;
                }
                above.pop();
            }
            let parent = above
                .last()
                .copied()
                .filter(|p| self.codes.get(*p as usize).is_some_and(|c| falls_back(self.plan, *c, *code)))
                .unwrap_or(NONE);
            above.push(i as u32);
            parents.push(parent);
            closed.fill(0);
            while let Some((_, column)) = holes.next_if(|(c, _)| c == code) {
                if let Some(word) = closed.get_mut(column / 32) {
                    *word |= 1 << (column % 32);
                }
            }
            let mut n = 0;
            for w in 0..words {
                let inherited = match parent {
                    NONE => 0,
                    p => presence_of.get(p as usize * words + w).copied().unwrap_or(0),
                };
                let inherited = inherited & !closed.get(w).copied().unwrap_or(0);
                if let Some(bits) = presence_of.get_mut(i * words + w) {
                    *bits |= inherited;
                    n += bits.count_ones() as usize;
                }
            }
            let three = self.plan.code_has_jurisdiction(*code);
            if size >= SINGLE as usize {
                return Err(BuildError::TooLarge("rates"));
            }
            offsets.push(size as u32 | if three { 0 } else { SINGLE });
            size += (4 * words + 2 + n * if three { 3 } else { 2 }).div_ceil(LINE);
        }
        let mut data = Pages::zeroed(size * LINE_BYTES);
        for (i, offset) in offsets.iter().enumerate() {
            let at = (offset & !SINGLE) as usize * LINE;
            for (w, bits) in presence_of.iter().skip(i * words).take(words).enumerate() {
                set_pair(&mut data, at + 2 * w, *bits);
            }
        }
        self.index.codes = std::mem::take(&mut self.codes);
        self.index.codes.shrink_to_fit();
        self.index.parents = parents;
        self.index.offsets = offsets;
        self.index.data = data;
        Ok(())
    }

    /// Second pass: the same lists in the same order.
    pub fn fill(&mut self, list: &RateList) -> Result<(), BuildError> {
        let seen = self.surveyed.get(self.filled).ok_or(BuildError::OutOfStep)?;
        if !list.decks.iter().map(|d| d.hash()).eq(seen.hashes.iter().copied()) {
            return Err(BuildError::OutOfStep);
        }
        let (side, decks) = (seen.side, seen.decks.clone());
        let column = self.surveyed.iter().take(self.filled).filter(|s| s.side == side).count();
        self.filled += 1;
        let mut sell = match side {
            Side::Sell => vec![NONE; self.index.codes.len()],
            Side::Buy => Vec::new(),
        };
        let mut at = 0;
        for (pos, row) in merged(list, self.at) {
            while self.index.codes.get(at).is_some_and(|c| *c < row.code) {
                at += 1;
            }
            if self.index.codes.get(at) != Some(&row.code) {
                return Err(BuildError::OutOfStep);
            }
            if row.blocked {
                if let Some(slot) = sell.get_mut(at) {
                    *slot = HOLE;
                }
                continue;
            }
            let deck = decks.get(pos).copied().unwrap_or_default();
            let terms = self.terms_ix(DeckTerms { terms: row.terms, deck })?;
            let mut rates = row.rates.map(|r| r.0);
            if !self.plan.code_has_jurisdiction(row.code) {
                // One price; where a deck gives three, the dearest.
                let [a, b, c] = rates;
                rates = [a.max(b).max(c); 3];
            }
            match side {
                Side::Buy => self.put(column, at, terms, rates, row.code.len())?,
                Side::Sell => {
                    let entry = SellEntry { rates, terms, code_len: row.code.len() as u8 };
                    let next = self.index.sell_entries.len() as u32;
                    if next >= SAME - 1 {
                        return Err(BuildError::TooLarge("sell prices"));
                    }
                    let ix = *self.sell_of.entry(entry).or_insert(next);
                    if ix == next {
                        self.index.sell_entries.push(entry);
                    }
                    if let Some(slot) = sell.get_mut(at) {
                        *slot = ix;
                    }
                }
            }
        }
        if side == Side::Sell {
            self.sell_rows.push(sell);
        }
        Ok(())
    }

    /// Writes one vendor's own rate.
    fn put(
        &mut self,
        column: usize,
        row: usize,
        terms: u16,
        rates: [i64; 3],
        len: usize,
    ) -> Result<(), BuildError> {
        let places = self.places(row, column).ok_or(BuildError::OutOfStep)?;
        let info = self.index.buy.get(column).ok_or(BuildError::OutOfStep)?;
        let coded = match places.single {
            // Its prices are equal.
            true => u32::try_from(rates[0]).ok().map(halves),
            false => info.scale.codes(rates),
        };
        if coded.is_none() || terms != info.usual_terms {
            let e = Exception::of(terms, len, coded.is_none());
            self.exceptions.push((row as u32, column as u32, e));
        }
        let units = match coded {
            Some(units) => units,
            None => {
                let next =
                    u32::try_from(self.index.wide.len()).map_err(|_| BuildError::TooLarge("wide prices"))?;
                let ix = *self.wide_of.entry(rates).or_insert(next);
                if ix == next {
                    self.index.wide.push(rates);
                }
                halves(ix)
            }
        };
        for (at, value) in places.list().zip(units) {
            set(&mut self.index.data, at, value);
        }
        Ok(())
    }

    /// Where the prices of a column of a row are.
    fn places(&self, row: usize, column: usize) -> Option<Places> {
        let offset = *self.index.offsets.get(row)?;
        let block = self.index.block(super::RowIx(row as u32))?;
        let slot = block.slot(column)?;
        let first = (offset & !SINGLE) as usize * LINE + block.rates;
        Some(match block.single {
            true => Places { first: first + 2 * slot, step: 1, single: true },
            false => Places { first: first + slot, step: block.n, single: false },
        })
    }

    /// Resolves fallbacks and makes the lookup tables.
    pub fn finish(mut self) -> Result<LcrIndex, BuildError> {
        if self.filled != self.surveyed.len() {
            return Err(BuildError::OutOfStep);
        }
        self.resolve()?;
        self.paginate();
        self.tables();
        let mut h = key_start(self.plan);
        for s in &self.surveyed {
            h.update(&s.key);
        }
        let mut index = self.index;
        index.key = h.finalize().into();
        index.exceptions.shrink_to_fit();
        index.wide.shrink_to_fit();
        Ok(index)
    }

    /// What a vendor does not name itself comes from the row that this one falls back to, which is complete by then.
    fn resolve(&mut self) -> Result<(), BuildError> {
        self.exceptions.sort_unstable_by_key(|(r, c, _)| (*r, *c));
        let words = self.index.words;
        let own_exceptions = std::mem::take(&mut self.exceptions);
        let mut next = own_exceptions.iter().peekable();
        for row in 0..self.index.codes.len() {
            let offset = self.index.offsets.get(row).copied().unwrap_or(0);
            let at = (offset & !SINGLE) as usize * LINE;
            let first = u32::try_from(self.index.exceptions.len())
                .ok()
                .filter(|n| *n <= FIRST_EXCEPTION)
                .ok_or(BuildError::TooLarge("exceptions"))?;
            let len = self.index.codes.get(row).map_or(0, |c| c.len()) as u32;
            let parent = self.index.parents.get(row).copied().unwrap_or(NONE);
            for word in 0..words {
                let presence = pair(&self.index.data, at + 2 * word).unwrap_or(0);
                let own = self.own.get(row * words + word).copied().unwrap_or(0);
                let mut marks = 0;
                let mut bits = presence;
                while bits != 0 {
                    let bit = bits & bits.wrapping_neg();
                    bits ^= bit;
                    let column = word * 32 + bit.trailing_zeros() as usize;
                    if own & bit != 0 {
                        if let Some((_, _, e)) =
                            next.next_if(|(r, c, _)| (*r as usize, *c as usize) == (row, column))
                        {
                            marks |= bit;
                            self.index.exceptions.push(e.0);
                        }
                    } else {
                        let e = self.inherit(row, parent, column).ok_or(BuildError::OutOfStep)?;
                        marks |= bit;
                        self.index.exceptions.push(e.0);
                    }
                }
                set_pair(&mut self.index.data, at + 2 * (words + word), marks);
            }
            set_pair(&mut self.index.data, at + 4 * words, first | len << 28);
        }
        Ok(())
    }

    /// Copies a column's prices from the row above; its code is shorter, which is an exception.
    fn inherit(&mut self, row: usize, parent: u32, column: usize) -> Option<Exception> {
        let from = self.places(parent as usize, column)?;
        let to = self.places(row, column)?;
        // Both price by jurisdiction or neither does: a code without it is never reached from one with it (`falls_back`).
        if from.single != to.single {
            return None;
        }
        for (f, t) in from.list().zip(to.list()) {
            let value = unit(&self.index.data, f)?;
            set(&mut self.index.data, t, value);
        }
        let block = self.index.block(super::RowIx(parent))?;
        Some(if block.is_exception(column) {
            Exception(*self.index.exceptions.get(block.exception_at(column))?)
        } else {
            let usual = self.index.buy.get(column)?.usual_terms;
            let len = self.index.codes.get(parent as usize)?.len();
            Exception::of(usual, len, false)
        })
    }

    /// Sell columns: fallbacks, then pages that are stored once.
    fn paginate(&mut self) {
        let size = 1usize << PAGE_BITS;
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        for mut column in std::mem::take(&mut self.sell_rows) {
            for row in 0..column.len() {
                let parent = self.index.parents.get(row).copied().unwrap_or(NONE);
                if column.get(row) == Some(&NONE) && parent != NONE {
                    let value = column.get(parent as usize).copied().unwrap_or(NONE);
                    if let Some(slot) = column.get_mut(row) {
                        *slot = value;
                    }
                }
            }
            column.iter_mut().filter(|e| **e == HOLE).for_each(|e| *e = NONE);
            column.resize(column.len().div_ceil(size) * size, NONE);
            let mut pages = Vec::with_capacity(column.len() / size);
            for page in column.chunks(size) {
                if let Some(entry) = page.first().filter(|e| page.iter().all(|p| p == *e)) {
                    pages.push(entry | SAME);
                    continue;
                }
                let next = known.len() as u32;
                let ix = *known.entry(page.to_vec()).or_insert(next);
                if ix == next {
                    self.index.page_pool.extend_from_slice(page);
                }
                pages.push(ix);
            }
            self.index.sell_pages.push(pages);
        }
        self.index.page_pool.shrink_to_fit();
        self.index.sell_entries.shrink_to_fit();
    }

    fn tables(&mut self) {
        let index = &mut self.index;
        let mut exchanges = vec![Exchange::default(); 1_000_000];
        for (row, code) in index.codes.iter().enumerate() {
            if code.aligned() / pow10(14) != 1 {
                continue;
            }
            let len = code.len();
            if len > 7 {
                if let Some(e) = code.npanxx_part().and_then(|n| exchanges.get_mut(n as usize)) {
                    let block = code.aligned() / pow10(7) % 10;
                    e.longer |= if len == 8 { 1 << block } else { LONGER };
                }
                continue;
            }
            // Shorter codes come first, longer ones write over them.
            let first = (code.aligned() / pow10(8) % 1_000_000) as u32;
            let count = pow10(7 - len) as u32;
            let offset = index.offsets.get(row).copied().unwrap_or(0);
            for npanxx in first..first + count {
                if falls_back(self.plan, *code, Code::npanxx(npanxx))
                    && let Some(e) = exchanges.get_mut(npanxx as usize)
                {
                    *e = Exchange { row: row as u32 + 1, offset, longer: 0 };
                }
            }
        }
        // Area codes that nobody sells stay untouched memory.
        index.exchanges = Pages::zeroed(exchanges.len() * Exchange::BYTES);
        for (npanxx, exchange) in exchanges.into_iter().enumerate().filter(|(_, e)| e.row != 0) {
            exchange.write(&mut index.exchanges, npanxx);
        }
        index.world = (0..=1_000u64)
            .map(|group| {
                let from = group * pow10(12);
                index.codes.partition_point(|c| c.aligned() < from) as u32
            })
            .collect();
    }
}

/// May a number below `code` be priced by the shorter `above`? A bare `1` (or a part of an area code) means the USA: it
/// reaches no other country of the plan and no toll-free or premium number (`ref/telecom-domain` §1).
fn falls_back(plan: &NumberPlan, above: Code, code: Code) -> bool {
    let part_of_npa = above.len() < 4 && above.aligned() / pow10(14) == 1;
    !part_of_npa || plan.code_has_jurisdiction(code)
}

/// The rows in force of a list, one per code, in code order, with the position of their deck.
fn merged(list: &RateList, at: Wall) -> impl Iterator<Item = (usize, Row)> + '_ {
    let mut sources: Vec<_> = list.decks.iter().map(|d| d.in_force(at).peekable()).collect();
    std::iter::from_fn(move || {
        let code = sources.iter_mut().filter_map(|s| s.peek().map(|r| r.code)).min()?;
        let mut out = None;
        for (pos, source) in sources.iter_mut().enumerate() {
            if let Some(row) = source.next_if(|r| r.code == code) {
                out = out.or(Some((pos, row)));
            }
        }
        out
    })
}

/// Where a column's prices of a row lie: their codes in turn (inter, intra, indeterminate), or the halves of the one price.
#[derive(Clone, Copy)]
struct Places {
    first: usize,
    step: usize,
    single: bool,
}

impl Places {
    fn list(self) -> impl Iterator<Item = usize> {
        (0..if self.single { 2 } else { 3 }).map(move |i| self.first + i * self.step)
    }
}

/// 32 bits as units, low half first.
fn halves(word: u32) -> [u16; 3] {
    [(word & 0xFFFF) as u16, (word >> 16) as u16, 0]
}

fn set(lines: &mut [u8], at: usize, value: u16) {
    if let Some(unit) = lines.get_mut(2 * at..).and_then(|rest| rest.first_chunk_mut()) {
        *unit = value.to_le_bytes();
    }
}

fn set_pair(lines: &mut [u8], at: usize, word: u32) {
    let [low, high, _] = halves(word);
    set(lines, at, low);
    set(lines, at + 1, high);
}

/// While sell columns are built: a code without a price that takes none from a shorter one.
const HOLE: u32 = NONE - 1;
/// A column's scale is fitted to about as many of its rows.
const SAMPLES: usize = 16_384;
