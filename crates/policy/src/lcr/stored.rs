//! The stored form of the index: a section of the snapshot, loaded without building.
//!
//! `WARPLCR02\n`, SHA-256 of everything after it, then the tables with their counts, little endian. Loading checks the hash
//! and the shape; lookups are bounds-checked besides, so a wrong table can cost a rate but never the process.

use std::fmt;

use sha2::{Digest, Sha256};
use warp_model::{Currency, DeckId, Nanos, Wall};

use super::{
    Column, DeckTerms, LINE_BYTES, LcrIndex, MAX_COLUMNS, MAX_ROWS, Pages, SINGLE, Scale, SellEntry,
};
use crate::code::Code;
use crate::deck::Terms;

const MAGIC: &[u8] = b"WARPLCR02\n";
/// What the stored forms of all versions begin with; 01 had 32-bit prices.
const FAMILY: &[u8] = b"WARPLCR";

/// Why bytes are no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredError(pub &'static str);

impl fmt::Display for StoredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a stored prefix index: {}", self.0)
    }
}

impl std::error::Error for StoredError {}

const CUT: StoredError = StoredError("cut short");

#[derive(serde::Serialize, serde::Deserialize)]
struct Head {
    key: [u8; 32],
    next_change: Option<Wall>,
    decks: Vec<crate::deck::DeckMeta>,
    words: usize,
    buy: Vec<(Vec<DeckId>, Currency, u16)>,
    /// Of the buy columns: bases, units.
    scales: Vec<([i64; 3], [i64; 3])>,
    sell: Vec<(Vec<DeckId>, Currency, u16)>,
    /// Initial, next, fee, deck.
    terms: Vec<(u32, u32, i64, u16)>,
}

impl LcrIndex {
    /// The stored form of the index: a section of the snapshot.
    pub fn to_bytes(&self) -> Vec<u8> {
        let columns =
            |list: &[Column]| list.iter().map(|c| (c.decks.clone(), c.currency, c.usual_terms)).collect();
        let head = Head {
            key: self.key,
            next_change: self.next_change,
            decks: self.decks.clone(),
            words: self.words,
            buy: columns(&self.buy),
            scales: self.buy.iter().map(|c| c.scale.parts()).collect(),
            sell: columns(&self.sell),
            terms: self
                .terms
                .iter()
                .map(|t| (t.terms.initial_s, t.terms.next_s, t.terms.setup_fee.0, t.deck))
                .collect(),
        };
        let mut out = Vec::with_capacity(self.memory_bytes() + 65_536);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; 32]);
        let json = serde_json::to_vec(&head).unwrap_or_default();
        count(&mut out, json.len());
        out.extend_from_slice(&json);
        count(&mut out, self.codes.len());
        for c in &self.codes {
            out.extend_from_slice(&c.packed().to_le_bytes());
        }
        for table in [&self.exchanges, &self.data] {
            count(&mut out, table.len());
            out.extend_from_slice(table);
        }
        for table in [&self.parents, &self.world, &self.offsets, &self.exceptions, &self.page_pool] {
            words(&mut out, table);
        }
        for pages in &self.sell_pages {
            words(&mut out, pages);
        }
        count(&mut out, self.wide.len());
        for price in self.wide.iter().flatten() {
            out.extend_from_slice(&price.to_le_bytes());
        }
        count(&mut out, self.sell_entries.len());
        for e in &self.sell_entries {
            for r in e.rates {
                out.extend_from_slice(&r.to_le_bytes());
            }
            out.extend_from_slice(&e.terms.to_le_bytes());
            out.push(e.code_len);
        }
        let start = MAGIC.len() + 32;
        let hash = Sha256::digest(out.get(start..).unwrap_or(&[]));
        if let Some(slot) = out.get_mut(MAGIC.len()..start) {
            slot.copy_from_slice(&hash);
        }
        out
    }

    /// Reads the stored form; checks hash and shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<LcrIndex, StoredError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(match bytes.starts_with(FAMILY) {
            true => StoredError("made by another version of WARP; it has to be built again from its decks"),
            false => StoredError("wrong first bytes"),
        })?;
        let (hash, rest) = rest.split_at_checked(32).ok_or(CUT)?;
        if Sha256::digest(rest).as_slice() != hash {
            return Err(StoredError("the hash is another one"));
        }
        let mut r = Reader { rest };
        let n = r.count(1)?;
        let head: Head = serde_json::from_slice(r.take(n)?).map_err(|_| StoredError("head"))?;
        let n = r.count(8)?;
        let mut codes = Vec::with_capacity(n);
        for c in r.take(n * 8)?.chunks_exact(8) {
            let raw = u64::from_le_bytes(c.try_into().map_err(|_| CUT)?);
            codes.push(Code::from_packed(raw).ok_or(StoredError("dial code"))?);
        }
        let n = r.count(1)?;
        let exchanges = Pages::copy_of(r.take(n)?);
        let n = r.count(1)?;
        let data = Pages::copy_of(r.take(n)?);
        if head.scales.len() != head.buy.len() {
            return Err(StoredError("scales"));
        }
        let scales = head
            .scales
            .into_iter()
            .map(|(base, unit)| Scale::from_parts(base, unit).ok_or(StoredError("scales")))
            .collect::<Result<Vec<_>, _>>()?;
        let columns = |list: Vec<(Vec<DeckId>, Currency, u16)>, scales: Vec<Scale>| {
            list.into_iter()
                .zip(scales.into_iter().chain(std::iter::repeat(Scale::default())))
                .map(|((decks, currency, usual_terms), scale)| Column { decks, currency, usual_terms, scale })
                .collect::<Vec<_>>()
        };
        let mut index = LcrIndex {
            key: head.key,
            next_change: head.next_change,
            decks: head.decks,
            terms: head
                .terms
                .into_iter()
                .map(|(initial_s, next_s, fee, deck)| DeckTerms {
                    terms: Terms { initial_s, next_s, setup_fee: Nanos(fee) },
                    deck,
                })
                .collect(),
            buy: columns(head.buy, scales),
            sell: columns(head.sell, Vec::new()),
            words: head.words,
            codes,
            parents: r.words()?,
            exchanges,
            world: r.words()?,
            offsets: r.words()?,
            data,
            exceptions: r.words()?,
            page_pool: r.words()?,
            sell_pages: Vec::new(),
            wide: Vec::new(),
            sell_entries: Vec::new(),
        };
        for _ in 0..index.sell.len() {
            index.sell_pages.push(r.words()?);
        }
        let n = r.count(24)?;
        for _ in 0..n {
            index.wide.push(r.prices()?);
        }
        let n = r.count(27)?;
        for _ in 0..n {
            index.sell_entries.push(SellEntry {
                rates: r.prices()?,
                terms: u16::from_le_bytes(r.array()?),
                code_len: u8::from_le_bytes(r.array()?),
            });
        }
        if !r.rest.is_empty() {
            return Err(StoredError("bytes after the end"));
        }
        index.check()?;
        Ok(index)
    }

    /// Shape: tables of one length where they must be, fallbacks that go backwards (so that a search ends).
    fn check(&self) -> Result<(), StoredError> {
        let rows = self.codes.len();
        let sound = self.parents.len() == rows
            && self.offsets.len() == rows
            && rows <= MAX_ROWS
            && self.buy.len() <= self.words * 32
            && self.words <= MAX_COLUMNS / 32
            && self.codes.is_sorted()
            && self.wide.iter().flatten().all(|p| *p >= 0)
            && self.parents.iter().zip(0u32..).all(|(p, row)| *p == super::NONE || *p < row)
            && self.offsets.iter().all(|o| ((o & !SINGLE) as usize) < self.data.len() / LINE_BYTES);
        if sound { Ok(()) } else { Err(StoredError("shape")) }
    }
}

fn count(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(&(n as u64).to_le_bytes());
}

fn words(out: &mut Vec<u8>, table: &[u32]) {
    count(out, table.len());
    for w in table {
        out.extend_from_slice(&w.to_le_bytes());
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], StoredError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(CUT)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoredError> {
        self.take(N)?.try_into().map_err(|_| CUT)
    }

    fn count(&mut self, size: usize) -> Result<usize, StoredError> {
        let n = usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| CUT)?;
        if n.checked_mul(size).is_none_or(|b| b > self.rest.len()) {
            return Err(StoredError("count"));
        }
        Ok(n)
    }

    fn prices(&mut self) -> Result<[i64; 3], StoredError> {
        let mut prices = [0; 3];
        for p in &mut prices {
            *p = i64::from_le_bytes(self.array()?);
        }
        Ok(prices)
    }

    fn words(&mut self) -> Result<Vec<u32>, StoredError> {
        let n = self.count(4)?;
        Ok(self
            .take(n * 4)?
            .chunks_exact(4)
            .filter_map(|c| c.try_into().ok().map(u32::from_le_bytes))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bytes_are_refused() {
        let good = LcrIndex::empty().to_bytes();
        assert!(LcrIndex::from_bytes(&good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(LcrIndex::from_bytes(&bad).is_err(), "{at}");
            assert!(LcrIndex::from_bytes(&good[..at]).is_err());
        }
    }

    /// Two codes with one price each, as it is written.
    fn index() -> LcrIndex {
        use std::sync::Arc;

        use warp_model::{Currency, DeckId, Nanos, Wall};

        use crate::deck::{Deck, DeckKind, DeckMeta, Row};

        let kind = DeckKind::Us;
        let row = |code: &str| Row {
            code: code.parse().unwrap(),
            rates: [Nanos(1_000_000); 3],
            terms: kind.usual_terms(),
            from: None,
            until: None,
            blocked: false,
        };
        let meta = DeckMeta {
            id: DeckId::from_u128(1),
            version: 1,
            name: "deck".into(),
            kind,
            currency: Currency::USD,
        };
        let deck = Arc::new(Deck::new(meta, vec![row("1415"), row("1415555")]).unwrap());
        let list = [crate::RateList { decks: vec![deck] }];
        LcrIndex::build(&list, &list, &crate::NumberPlan::seed(), Wall(0)).unwrap()
    }

    /// Each shape that is wrong by itself, behind a hash that is right: what was written by somebody else's hand is refused, and not
    /// followed.
    #[test]
    fn a_table_that_leads_elsewhere_is_refused() {
        type Damage = fn(&mut LcrIndex);
        let stored = |damage: Damage| {
            let mut index = index();
            damage(&mut index);
            LcrIndex::from_bytes(&index.to_bytes()).map(|_| ()).map_err(|e| e.0)
        };
        assert_eq!(stored(|_| ()), Ok(()));
        let wrong: [(&str, Damage); 8] = [
            ("a row without a parent", |i| i.parents.truncate(1)),
            ("a row without an offset", |i| i.offsets.truncate(1)),
            ("a parent that is no shorter code", |i| i.parents[0] = 1),
            ("a code out of order", |i| i.codes.swap(0, 1)),
            ("the last offset behind the data", |i| *i.offsets.last_mut().unwrap() = 1 << 20),
            ("an offset at the end of the data", |i| i.offsets[0] = (i.data.len() / LINE_BYTES) as u32),
            ("a price below zero", |i| i.wide.push([0, -1, 0])),
            ("more columns than words", |i| i.words = 0),
        ];
        for (what, damage) in wrong {
            assert_eq!(stored(damage), Err("shape"), "{what}");
        }
    }
}
