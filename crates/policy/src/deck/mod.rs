//! A version of a rate deck: dial codes with their prices, immutable, known by the hash of its content.
//!
//! [`sheet`] reads a vendor's file, [`Deck::new`] turns rows into the compact canonical form that is hashed and stored,
//! [`Deck::replaced`] and [`Deck::merged`] make the next version from a full and a partial file, [`report`] says what it
//! changes before somebody approves it. Prices are nano-units per minute; a row holds the three US prices, which are equal
//! where no jurisdiction applies, or says that its code is not carried. Absent on purpose: OCN/LATA decks (they need a LERG to
//! be expanded) and prices by origin country (refused by the reader, never read over).

pub mod canon;
mod next;
pub mod report;
pub mod sheet;

use std::fmt;

use serde::{Deserialize, Serialize};
use warp_model::{Currency, DeckId, Nanos, Wall};

pub use self::report::{Move, Report};
pub use self::sheet::{Field, ImportOptions, LineError, Recognised, SheetOptions, read_text};
use crate::code::Code;

/// Increments and set-up fee of a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// First increment in seconds, at least 1.
    pub initial_s: u32,
    /// Further increments in seconds, at least 1.
    pub next_s: u32,
    /// Once per answered call.
    pub setup_fee: Nanos,
}

impl Terms {
    /// `initial/next` without a set-up fee.
    pub const fn of(initial_s: u32, next_s: u32) -> Terms {
        Terms { initial_s, next_s, setup_fee: Nanos::ZERO }
    }
}

/// What kind of codes a deck has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeckKind {
    /// NPA, NPANXX and longer, three prices.
    Us,
    /// Country and destination codes of the world, one price.
    Az,
}

impl DeckKind {
    /// Usual increments: 6/6 in the USA, 1/1 elsewhere.
    pub fn usual_terms(self) -> Terms {
        match self {
            Self::Us => Terms::of(6, 6),
            Self::Az => Terms::of(1, 1),
        }
    }
}

/// What a deck version is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeckMeta {
    /// The deck, all its versions.
    pub id: DeckId,
    /// The version of the deck, counted from 1.
    pub version: u32,
    /// The name of the deck, for people.
    pub name: String,
    /// What kind of codes the deck has.
    pub kind: DeckKind,
    /// Of all its amounts.
    pub currency: Currency,
}

impl DeckMeta {
    /// As it stands in a CDR: `deck_…@N`.
    pub fn label(&self) -> String {
        let mut text = self.id.text();
        text.push(b"@");
        text.push_number(u64::from(self.version), 1);
        text.as_str().to_owned()
    }
}

/// One row of a deck as read or listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The dial code that the row prices.
    pub code: Code,
    /// Prices per minute: interstate, intrastate, indeterminate.
    pub rates: [Nanos; 3],
    /// Increments and fee of the row.
    pub terms: Terms,
    /// In force from; `None` = always.
    pub from: Option<Wall>,
    /// Until (exclusive); `None` = open.
    pub until: Option<Wall>,
    /// The vendor does not carry the code: no price of the deck holds for its numbers, that of a shorter code neither.
    /// Prices, fee and increments of such a row mean nothing.
    pub blocked: bool,
}

/// What an import read: rows, and codes that the file ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeckRows {
    /// In the file's order.
    pub rows: Vec<Row>,
    /// Codes marked as removed, with the time from which.
    pub ended: Vec<(Code, Option<Wall>)>,
    /// What was recognised in the file, and what a person should know of it.
    pub recognised: Recognised,
}

/// Why rows do not make a deck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeckError {
    /// There is not one row.
    Empty,
    /// Two rows with one code and one effective date.
    Duplicate(Code),
    /// A price or fee below zero.
    Negative(Code),
    /// A price per minute or a fee above one million: a call at such a price could not be summed.
    TooDear(Code),
    /// An increment of zero or above an hour.
    Increment(Code),
    /// It ends before it begins.
    Period(Code),
    /// More than 32,767 different terms or 65,535 different periods.
    TooVaried,
    /// Not the stored form of a deck.
    Malformed(&'static str),
}

impl fmt::Display for DeckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the deck has no rows"),
            Self::Duplicate(c) => write!(f, "code {c} twice with one effective date"),
            Self::Negative(c) => write!(f, "code {c}: a price below zero"),
            Self::TooDear(c) => write!(f, "code {c}: a price above one million"),
            Self::Increment(c) => write!(f, "code {c}: increments are 1 to 3,600 seconds"),
            Self::Period(c) => write!(f, "code {c}: ends before it begins"),
            Self::TooVaried => f.write_str("too many different increments, fees or dates"),
            Self::Malformed(what) => write!(f, "not a stored deck: {what}"),
        }
    }
}

impl std::error::Error for DeckError {}

/// A deck version in compact, canonical form: about 24 bytes a row, sorted by code, then by effective date.
#[derive(Clone)]
pub struct Deck {
    meta: DeckMeta,
    codes: Vec<Code>,
    /// Nano-units per minute, or (flag in `terms`) `rates[0]` is a position in `big`.
    rates: Vec<[u32; 3]>,
    /// Position in `terms_of`, with [`BIG`].
    terms: Vec<u16>,
    /// Position in `periods`.
    period: Vec<u16>,
    terms_of: Vec<Terms>,
    periods: Vec<(i64, i64)>,
    big: Vec<[i64; 3]>,
    /// Positions of rows whose code is not carried, sorted.
    blocked: Vec<u32>,
    hash: [u8; 32],
}

/// Highest price per minute and fee. Four hours at it fit in [`Nanos`] ten times.
pub const MAX_PRICE: i64 = 1_000_000 * 1_000_000_000;
/// Flag in `terms`: the price does not fit in 32 bits.
const BIG: u16 = 0x8000;

impl Deck {
    /// From rows in any order.
    ///
    /// Errors: see [`DeckError`]; the first one found in code order.
    pub fn new(meta: DeckMeta, rows: Vec<Row>) -> Result<Deck, DeckError> {
        if rows.is_empty() {
            return Err(DeckError::Empty);
        }
        Deck::of_rows(meta, rows)
    }

    fn of_rows(meta: DeckMeta, mut rows: Vec<Row>) -> Result<Deck, DeckError> {
        // One content has one form: what means nothing is the same everywhere.
        for row in rows.iter_mut().filter(|r| r.blocked) {
            (row.rates, row.terms) = ([Nanos::ZERO; 3], NOT_CARRIED);
        }
        rows.sort_unstable_by_key(|r| (r.code, start(r.from)));
        let mut terms_of: Vec<Terms> = rows.iter().map(|r| r.terms).collect();
        terms_of.sort_unstable();
        terms_of.dedup();
        let mut periods: Vec<(i64, i64)> = rows.iter().map(|r| (start(r.from), end(r.until))).collect();
        periods.sort_unstable();
        periods.dedup();
        if terms_of.len() >= usize::from(BIG) || periods.len() > usize::from(u16::MAX) {
            return Err(DeckError::TooVaried);
        }
        let mut deck = Deck {
            meta,
            codes: Vec::with_capacity(rows.len()),
            rates: Vec::with_capacity(rows.len()),
            terms: Vec::with_capacity(rows.len()),
            period: Vec::with_capacity(rows.len()),
            terms_of,
            periods,
            big: Vec::new(),
            blocked: Vec::new(),
            hash: [0; 32],
        };
        let mut last = None;
        for (i, row) in rows.iter().enumerate() {
            check(row)?;
            if row.blocked {
                deck.blocked.push(i as u32);
            }
            if last == Some((row.code, start(row.from))) {
                return Err(DeckError::Duplicate(row.code));
            }
            last = Some((row.code, start(row.from)));
            let mut terms = deck.terms_of.binary_search(&row.terms).unwrap_or(0) as u16;
            let period = deck.periods.binary_search(&(start(row.from), end(row.until))).unwrap_or(0) as u16;
            let small = row.rates.map(|r| u32::try_from(r.0).ok());
            let rates = match small {
                [Some(a), Some(b), Some(c)] => [a, b, c],
                _ => {
                    terms |= BIG;
                    deck.big.push(row.rates.map(|r| r.0));
                    [(deck.big.len() - 1) as u32, 0, 0]
                }
            };
            deck.codes.push(row.code);
            deck.rates.push(rates);
            deck.terms.push(terms);
            deck.period.push(period);
        }
        deck.hash = deck.compute_hash();
        Ok(deck)
    }

    /// What it is called.
    pub fn meta(&self) -> &DeckMeta {
        &self.meta
    }

    /// SHA-256 of the stored form.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Rows, of all dates.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Never true for a deck that was made.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// All rows by code, then by date.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        (0..self.codes.len()).filter_map(|i| self.row(i))
    }

    /// The row at a position.
    pub fn row(&self, i: usize) -> Option<Row> {
        let (from, until) = *self.periods.get(usize::from(*self.period.get(i)?))?;
        Some(Row {
            code: *self.codes.get(i)?,
            rates: self.rates_at(i)?.map(Nanos),
            terms: *self.terms_of.get(usize::from(*self.terms.get(i)? & !BIG))?,
            from: (from != i64::MIN).then_some(Wall(from)),
            until: (until != i64::MAX).then_some(Wall(until)),
            blocked: !self.blocked.is_empty() && self.blocked.binary_search(&(i as u32)).is_ok(),
        })
    }

    /// Has it a row of this code, of any date?
    pub fn names(&self, code: Code) -> bool {
        self.codes.binary_search(&code).is_ok()
    }

    /// Positions of the rows of a code, oldest first.
    fn positions(&self, code: Code) -> std::ops::Range<usize> {
        let from = self.codes.partition_point(|c| *c < code);
        let to = self.codes.get(from..).map_or(0, |rest| rest.partition_point(|c| *c == code));
        from..from + to
    }

    /// Positions of the rows whose codes begin with a code, its own among them: by code, then by date.
    pub fn below(&self, head: Code) -> std::ops::Range<usize> {
        let from = self.codes.partition_point(|c| *c < head);
        let to = self.codes.get(from..).map_or(0, |rest| rest.partition_point(|c| head.covers(*c)));
        from..from + to
    }

    /// This version with those rows only whose codes a number begins with, in the same order: what a decision on the number
    /// needs. It may have none.
    pub fn covering(&self, whole: Code) -> Deck {
        let heads = (1..=whole.len()).map(|n| whole.head(n));
        let rows = heads.flat_map(|c| self.positions(c)).filter_map(|i| self.row(i)).collect();
        // Rows of a deck make a deck.
        Deck::of_rows(self.meta.clone(), rows).unwrap_or_else(|_| self.clone())
    }

    fn rates_at(&self, i: usize) -> Option<[i64; 3]> {
        let rates = *self.rates.get(i)?;
        if self.terms.get(i)? & BIG == 0 {
            Some(rates.map(i64::from))
        } else {
            self.big.get(rates[0] as usize).copied()
        }
    }

    /// The rows in force at a time, one per code in code order: among equal codes the newest not in the future. Codes that
    /// are not carried are among them.
    pub fn in_force(&self, at: Wall) -> impl Iterator<Item = Row> + '_ {
        let mut i = 0;
        std::iter::from_fn(move || {
            while i < self.codes.len() {
                let code = *self.codes.get(i)?;
                let mut best = None;
                while self.codes.get(i) == Some(&code) {
                    let (from, until) =
                        self.period.get(i).and_then(|p| self.periods.get(usize::from(*p)).copied())?;
                    if from <= at.0 && at.0 < until {
                        best = Some(i);
                    }
                    i += 1;
                }
                if let Some(row) = best.and_then(|b| self.row(b)) {
                    return Some(row);
                }
            }
            None
        })
    }

    /// The first moment after `at` at which [`in_force`](Self::in_force) may give something else.
    pub fn next_change(&self, at: Wall) -> Option<Wall> {
        self.periods
            .iter()
            .flat_map(|(from, until)| [*from, *until])
            .filter(|t| *t > at.0 && *t != i64::MAX)
            .min()
            .map(Wall)
    }
}

impl fmt::Debug for Deck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deck({}, {} rows)", self.meta.label(), self.len())
    }
}

impl PartialEq for Deck {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

fn start(t: Option<Wall>) -> i64 {
    t.map_or(i64::MIN, |t| t.0)
}

fn end(t: Option<Wall>) -> i64 {
    t.map_or(i64::MAX, |t| t.0)
}

/// Increments of a row whose code is not carried.
const NOT_CARRIED: Terms = Terms::of(1, 1);

fn check(row: &Row) -> Result<(), DeckError> {
    if row.rates.iter().any(|r| r.0 < 0) || row.terms.setup_fee.0 < 0 {
        return Err(DeckError::Negative(row.code));
    }
    let prices = row.rates.iter().chain([&row.terms.setup_fee]);
    if prices.into_iter().any(|p| p.0 > MAX_PRICE) {
        return Err(DeckError::TooDear(row.code));
    }
    let fine = 1..=3_600;
    if !fine.contains(&row.terms.initial_s) || !fine.contains(&row.terms.next_s) {
        return Err(DeckError::Increment(row.code));
    }
    if start(row.from) >= end(row.until) {
        return Err(DeckError::Period(row.code));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn meta(version: u32) -> DeckMeta {
        DeckMeta {
            id: DeckId::from_u128(7),
            version,
            name: "test".into(),
            kind: DeckKind::Us,
            currency: Currency::USD,
        }
    }

    pub(crate) fn row(code: &str, rate: i64) -> Row {
        Row {
            code: code.parse().unwrap(),
            rates: [Nanos(rate), Nanos(rate + 1), Nanos(rate + 2)],
            terms: Terms::of(6, 6),
            from: None,
            until: None,
            blocked: false,
        }
    }

    #[test]
    fn the_newest_row_not_in_the_future_is_in_force() {
        let mut old = row("1415", 10);
        old.until = Some(Wall(500));
        let mut new = row("1415", 20);
        new.from = Some(Wall(100));
        let deck = Deck::new(meta(1), vec![new, old, row("1212", 5)]).unwrap();
        let rate = |at| deck.in_force(Wall(at)).find(|r| r.code.to_string() == "1415").map(|r| r.rates[0].0);
        assert_eq!(rate(99), Some(10));
        assert_eq!(rate(100), Some(20));
        assert_eq!(rate(900), Some(20));
        assert_eq!(deck.next_change(Wall(0)), Some(Wall(100)));
        assert_eq!(deck.next_change(Wall(500)), None);
    }

    #[test]
    fn the_rows_that_cover_a_number() {
        let later = Row { from: Some(Wall(100)), ..row("1415", 20) };
        let deck =
            Deck::new(meta(1), vec![row("1", 1), row("1415", 10), later, row("14155", 3), row("1416", 5)])
                .unwrap();
        let codes: Vec<String> =
            deck.covering("14155550123".parse().unwrap()).rows().map(|r| r.code.to_string()).collect();
        assert_eq!(codes, ["1", "1415", "1415", "14155"]);
        assert_eq!(deck.covering("4420".parse().unwrap()).len(), 0);
    }

    #[test]
    fn the_rows_below_a_code() {
        let rows = ["1", "1415", "14155", "1416", "142", "44"].map(|c| row(c, 1)).to_vec();
        let deck = Deck::new(meta(1), rows).unwrap();
        let below = |head: &str| {
            let rows = deck.below(head.parse().unwrap()).filter_map(|i| deck.row(i));
            rows.map(|r| r.code.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(below("141"), "1415 14155 1416");
        assert_eq!(below("1415"), "1415 14155");
        assert_eq!((below("44").as_str(), below("33").as_str(), below("440").as_str()), ("44", "", ""));
    }

    #[test]
    fn large_prices_are_kept() {
        let deck = Deck::new(meta(1), vec![row("881", 9_999_999_999), row("1", 1)]).unwrap();
        let last = deck.rows().last().unwrap();
        assert_eq!(last.rates[2], Nanos(10_000_000_001));
    }

    #[test]
    fn bad_rows_are_refused() {
        let twice = vec![row("1415", 1), row("1415", 2)];
        assert!(matches!(Deck::new(meta(1), twice), Err(DeckError::Duplicate(_))));
        assert!(matches!(Deck::new(meta(1), vec![row("1415", -5)]), Err(DeckError::Negative(_))));
        let mut zero = row("1415", 1);
        zero.terms.next_s = 0;
        assert!(matches!(Deck::new(meta(1), vec![zero]), Err(DeckError::Increment(_))));
        assert!(matches!(Deck::new(meta(1), vec![]), Err(DeckError::Empty)));
    }
}
