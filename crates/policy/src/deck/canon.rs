//! The stored form of a deck version: what is hashed, kept and sent to the nodes.
//!
//! `WARPDECK1\n`, length and JSON of the meta data, then tables with their counts, little endian. A deck that says of codes that
//! they are not carried begins with `WARPDECK2\n` and ends with the positions of those rows. One content has one form: rows
//! and tables are sorted. Reading checks everything, so that a stored deck can be trusted like a made one.

use sha2::{Digest, Sha256};
use warp_model::Nanos;

use super::{BIG, Deck, DeckError, DeckMeta, Terms};
use crate::code::Code;

const MAGIC: &[u8] = b"WARPDECK1\n";
/// With the positions of rows whose code is not carried.
const MAGIC_2: &[u8] = b"WARPDECK2\n";

impl Deck {
    /// The stored form of the deck: the bytes that are hashed and kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len() * 24 + 1_024);
        out.extend_from_slice(if self.blocked.is_empty() { MAGIC } else { MAGIC_2 });
        // A struct of plain fields always has a JSON form.
        let meta = serde_json::to_vec(&self.meta).unwrap_or_default();
        put_u32(&mut out, meta.len());
        out.extend_from_slice(&meta);
        put_u32(&mut out, self.terms_of.len());
        for t in &self.terms_of {
            out.extend_from_slice(&t.initial_s.to_le_bytes());
            out.extend_from_slice(&t.next_s.to_le_bytes());
            out.extend_from_slice(&t.setup_fee.0.to_le_bytes());
        }
        put_u32(&mut out, self.periods.len());
        for (from, until) in &self.periods {
            out.extend_from_slice(&from.to_le_bytes());
            out.extend_from_slice(&until.to_le_bytes());
        }
        put_u32(&mut out, self.big.len());
        for b in self.big.iter().flatten() {
            out.extend_from_slice(&b.to_le_bytes());
        }
        put_u32(&mut out, self.codes.len());
        for c in &self.codes {
            out.extend_from_slice(&c.packed().to_le_bytes());
        }
        for r in self.rates.iter().flatten() {
            out.extend_from_slice(&r.to_le_bytes());
        }
        for t in self.terms.iter().chain(&self.period) {
            out.extend_from_slice(&t.to_le_bytes());
        }
        if !self.blocked.is_empty() {
            put_u32(&mut out, self.blocked.len());
            for b in &self.blocked {
                out.extend_from_slice(&b.to_le_bytes());
            }
        }
        out
    }

    /// Reads the stored form and checks it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Deck, DeckError> {
        let mut r = Reader { rest: bytes };
        let magic = r.take(MAGIC.len())?;
        if magic != MAGIC && magic != MAGIC_2 {
            return Err(DeckError::Malformed("wrong first bytes"));
        }
        let n = r.count(1)?;
        let meta: DeckMeta =
            serde_json::from_slice(r.take(n)?).map_err(|_| DeckError::Malformed("meta data"))?;
        let n = r.count(16)?;
        let mut terms_of = Vec::with_capacity(n);
        for _ in 0..n {
            terms_of.push(Terms {
                initial_s: u32::from_le_bytes(r.array()?),
                next_s: u32::from_le_bytes(r.array()?),
                setup_fee: Nanos(i64::from_le_bytes(r.array()?)),
            });
        }
        let n = r.count(16)?;
        let mut periods = Vec::with_capacity(n);
        for _ in 0..n {
            periods.push((i64::from_le_bytes(r.array()?), i64::from_le_bytes(r.array()?)));
        }
        let n = r.count(24)?;
        let mut big = Vec::with_capacity(n);
        for _ in 0..n {
            big.push([
                i64::from_le_bytes(r.array()?),
                i64::from_le_bytes(r.array()?),
                i64::from_le_bytes(r.array()?),
            ]);
        }
        let n = r.count(24)?;
        let mut codes = Vec::with_capacity(n);
        for _ in 0..n {
            codes.push(
                Code::from_packed(u64::from_le_bytes(r.array()?)).ok_or(DeckError::Malformed("dial code"))?,
            );
        }
        let mut rates = Vec::with_capacity(n);
        for _ in 0..n {
            rates.push([
                u32::from_le_bytes(r.array()?),
                u32::from_le_bytes(r.array()?),
                u32::from_le_bytes(r.array()?),
            ]);
        }
        let mut terms = Vec::with_capacity(n);
        for _ in 0..n {
            terms.push(u16::from_le_bytes(r.array()?));
        }
        let mut period = Vec::with_capacity(n);
        for _ in 0..n {
            period.push(u16::from_le_bytes(r.array()?));
        }
        let mut blocked = Vec::new();
        if magic == MAGIC_2 {
            let n = r.count(4)?;
            blocked.reserve(n);
            for _ in 0..n {
                blocked.push(u32::from_le_bytes(r.array()?));
            }
            let rising = blocked.is_sorted_by(|a, b| a < b);
            if n == 0 || !rising || blocked.last().is_some_and(|b| *b as usize >= codes.len()) {
                return Err(DeckError::Malformed("codes that are not carried"));
            }
        }
        if !r.rest.is_empty() {
            return Err(DeckError::Malformed("bytes after the end"));
        }
        let deck = Deck {
            meta,
            codes,
            rates,
            terms,
            period,
            terms_of,
            periods,
            big,
            blocked,
            hash: Sha256::digest(bytes).into(),
        };
        deck.verify()?;
        Ok(deck)
    }

    fn verify(&self) -> Result<(), DeckError> {
        if self.codes.is_empty() {
            return Err(DeckError::Empty);
        }
        let mut last = None;
        for i in 0..self.codes.len() {
            let row = self.row(i).ok_or(DeckError::Malformed("reference"))?;
            super::check(&row)?;
            if row.blocked && (row.rates != [Nanos::ZERO; 3] || row.terms != super::NOT_CARRIED) {
                return Err(DeckError::Malformed("a price of a code that is not carried"));
            }
            let key = (row.code, super::start(row.from));
            if last.is_some_and(|l| l >= key) {
                return Err(DeckError::Malformed("order"));
            }
            last = Some(key);
        }
        // One content, one form: every table entry is used in order.
        let sorted = |n: usize, w: bool| if w { Ok(n) } else { Err(DeckError::Malformed("table")) };
        sorted(0, self.terms_of.is_sorted() && self.periods.is_sorted())?;
        let flagged = self.terms.iter().filter(|t| **t & BIG != 0).count();
        sorted(0, flagged == self.big.len())?;
        Ok(())
    }

    pub(super) fn compute_hash(&self) -> [u8; 32] {
        Sha256::digest(self.to_bytes()).into()
    }
}

fn put_u32(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(&(n as u32).to_le_bytes());
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], DeckError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DeckError::Malformed("cut short"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DeckError> {
        self.take(N)?.try_into().map_err(|_| DeckError::Malformed("cut short"))
    }

    /// A count of things of at least `size` bytes each: never more than the bytes that are left.
    fn count(&mut self, size: usize) -> Result<usize, DeckError> {
        let n = u32::from_le_bytes(self.array()?) as usize;
        if n.checked_mul(size).is_none_or(|b| b > self.rest.len()) {
            return Err(DeckError::Malformed("count"));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Row;
    use super::super::tests::{meta, row};
    use super::*;
    use proptest::prelude::*;

    fn deck() -> Deck {
        Deck::new(meta(3), vec![row("1415555", 4_200_000), row("1", 7), row("881", 5_000_000_000)]).unwrap()
    }

    #[test]
    fn codes_that_are_not_carried_are_kept_and_other_decks_keep_their_form() {
        let mut rows: Vec<_> = deck().rows().collect();
        rows.push(Row { blocked: true, ..row("1415", 9) });
        let a = Deck::new(meta(3), rows.clone()).unwrap();
        rows.pop();
        rows.push(Row { blocked: true, ..row("1415", 8) });
        assert_eq!(
            Deck::new(meta(3), rows).unwrap().hash(),
            a.hash(),
            "the price of such a row means nothing"
        );
        let b = Deck::from_bytes(&a.to_bytes()).unwrap();
        assert!(a.rows().eq(b.rows()) && b.rows().filter(|r| r.blocked).count() == 1);
        assert!(a.to_bytes().starts_with(b"WARPDECK2") && deck().to_bytes().starts_with(b"WARPDECK1"));
        let mut bytes = a.to_bytes();
        let n = bytes.len();
        bytes[n - 4] = 9;
        assert!(Deck::from_bytes(&bytes).is_err());
    }

    #[test]
    fn stored_form_round_trips_and_is_canonical() {
        let a = deck();
        let b = Deck::from_bytes(&a.to_bytes()).unwrap();
        assert_eq!(a.hash(), b.hash());
        assert!(a.rows().eq(b.rows()));
        let mut rows: Vec<_> = a.rows().collect();
        rows.reverse();
        assert_eq!(Deck::new(meta(3), rows).unwrap().hash(), a.hash());
    }

    proptest! {
        #[test]
        fn mutated_stored_forms_never_panic(at in 0usize..400, value in any::<u8>(), cut in 0usize..400) {
            let mut bytes = deck().to_bytes();
            let n = bytes.len();
            bytes[at % n] = value;
            let _ = Deck::from_bytes(&bytes).map(|d| d.rows().count());
            bytes.truncate(cut % n);
            prop_assert!(Deck::from_bytes(&bytes).is_err());
        }
    }
}
