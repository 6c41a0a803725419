//! The number book: whose each of our numbers is, and where its calls go. A section of the snapshot, kept in pages by the last digits of
//! the number, so that a change publishes one page and shares the others.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use warp_model::{CustomerId, DeckId, E164, NumberId, TrunkId};

/// Pages of the book. A number stands on the page `digits mod PAGES`.
pub const PAGES: u64 = 64;

/// Most trunks that one number may lead to.
pub const MAX_TARGETS: usize = 8;

/// The page that a number stands on, 0 to 63.
pub fn page_of(number: E164) -> u8 {
    (number.as_u64() % PAGES) as u8
}

/// A number that a customer has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Number {
    /// The id of the number.
    pub id: NumberId,
    /// The number in E.164.
    pub number: E164,
    /// Who has it, and pays for its calls.
    pub customer: CustomerId,
    /// Price lists of its calls; empty: those of the customer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sell_decks: Vec<DeckId>,
    /// Where its calls go.
    #[serde(default)]
    pub destination: Destination,
}

/// Where the calls of a number go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// Nowhere yet: calls are refused with 480.
    #[default]
    Nowhere,
    /// To trunks of the customer: the smaller priority first, among equals by weight.
    Trunks(Vec<TrunkTarget>),
}

/// A trunk that takes calls of a number, or one registered user of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkTarget {
    /// The id of the trunk.
    pub trunk: TrunkId,
    /// The digest user of the trunk whose registered phones take the call; absent: the trunk's own addresses do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The smaller is tried first.
    #[serde(default)]
    pub priority: u16,
    /// Share among equal priorities; at least 1.
    #[serde(default = "one")]
    pub weight: u16,
}

fn one() -> u16 {
    1
}

/// Why rows make no page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageError {
    /// The number is there twice.
    Twice(E164),
    /// The number belongs on another page.
    Elsewhere(E164),
    /// Bytes that are no rows; in words.
    Unreadable(String),
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice(n) => write!(f, "{n} is there twice"),
            Self::Elsewhere(n) => write!(f, "{n} belongs on page {}", page_of(*n)),
            Self::Unreadable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PageError {}

/// One page of the book: rows in the order of their numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    key: [u8; 32],
    /// Of each row, so that a search touches little memory.
    digits: Vec<u64>,
    rows: Vec<Number>,
}

impl Page {
    /// A page of these rows, which may come in any order. Errors: a number twice, or one of another page.
    pub fn build(page: u8, mut rows: Vec<Number>) -> Result<Page, PageError> {
        rows.sort_by_key(|r| r.number);
        for (a, b) in rows.iter().zip(rows.iter().skip(1)) {
            if a.number == b.number {
                return Err(PageError::Twice(a.number));
            }
        }
        if let Some(other) = rows.iter().find(|r| page_of(r.number) != page) {
            return Err(PageError::Elsewhere(other.number));
        }
        let json = serde_json::to_vec(&rows).unwrap_or_default();
        let digits = rows.iter().map(|r| r.number.as_u64()).collect();
        Ok(Page { key: Sha256::digest(&json).into(), digits, rows })
    }

    /// From the stored form.
    pub fn from_bytes(page: u8, bytes: &[u8]) -> Result<Page, PageError> {
        let rows = serde_json::from_slice(bytes).map_err(|e| PageError::Unreadable(e.to_string()))?;
        Page::build(page, rows)
    }

    /// The stored form: JSON of the rows.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.rows).unwrap_or_default()
    }

    /// SHA-256 of the stored form.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// The rows in the order of their numbers.
    pub fn rows(&self) -> &[Number] {
        &self.rows
    }

    fn find(&self, number: E164) -> Option<&Number> {
        let at = self.digits.binary_search(&number.as_u64()).ok()?;
        self.rows.get(at)
    }
}

/// The book: pages by their number; one that is absent has no rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberBook {
    pages: BTreeMap<u8, Arc<Page>>,
}

impl NumberBook {
    /// A book of these rows. Errors: a number twice.
    pub fn of(rows: Vec<Number>) -> Result<NumberBook, PageError> {
        let mut by_page: BTreeMap<u8, Vec<Number>> = BTreeMap::new();
        for row in rows {
            by_page.entry(page_of(row.number)).or_default().push(row);
        }
        let mut book = NumberBook::default();
        for (page, rows) in by_page {
            book.put(page, Arc::new(Page::build(page, rows)?));
        }
        Ok(book)
    }

    /// Puts a page in the place of the one with the same number; a page without rows takes it out.
    pub fn put(&mut self, page: u8, content: Arc<Page>) {
        match content.rows.is_empty() {
            true => drop(self.pages.remove(&page)),
            false => drop(self.pages.insert(page, content)),
        }
    }

    /// The pages that have rows, in their order.
    pub fn pages(&self) -> impl Iterator<Item = (u8, &Arc<Page>)> {
        self.pages.iter().map(|(page, content)| (*page, content))
    }

    /// A page; `None` = it has no rows.
    pub fn page(&self, page: u8) -> Option<&Arc<Page>> {
        self.pages.get(&page)
    }

    /// Whose a number is; `None` = it is nobody's here.
    pub fn find(&self, number: E164) -> Option<&Number> {
        self.pages.get(&page_of(number))?.find(number)
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.pages.values().map(|p| p.rows.len()).sum()
    }

    /// Whether there is no number.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(n: u64) -> Number {
        Number {
            id: NumberId::from_u128(u128::from(n)),
            number: E164::from_value(n).unwrap(),
            customer: CustomerId::from_u128(1),
            sell_decks: vec![],
            destination: Destination::Nowhere,
        }
    }

    proptest! {
        #[test]
        fn every_number_is_found_and_no_other(
            rows in proptest::collection::btree_set(1_000u64..100_000, 0..200), other in 1_000u64..100_000,
        ) {
            let book = NumberBook::of(rows.iter().rev().map(|n| row(*n)).collect()).unwrap();
            prop_assert_eq!(book.len(), rows.len());
            for n in &rows {
                prop_assert_eq!(book.find(E164::from_value(*n).unwrap()).map(|r| r.number.as_u64()), Some(*n));
            }
            prop_assert_eq!(book.find(E164::from_value(other).unwrap()).is_some(), rows.contains(&other));
            for (n, page) in book.pages() {
                prop_assert_eq!(&Page::from_bytes(n, &page.to_bytes()).unwrap(), &**page);
            }
        }
    }

    #[test]
    fn a_page_refuses_a_number_twice_and_one_of_another_page() {
        let twice = Page::build(page_of(row(1_064).number), vec![row(1_064), row(1_064)]);
        assert_eq!(twice.unwrap_err(), PageError::Twice(row(1_064).number));
        assert!(matches!(Page::build(0, vec![row(1_001)]), Err(PageError::Elsewhere(_))));
        assert!(matches!(Page::from_bytes(0, b"{"), Err(PageError::Unreadable(_))));
    }

    #[test]
    fn a_page_that_becomes_empty_is_gone() {
        let mut book = NumberBook::of(vec![row(1_000), row(1_001)]).unwrap();
        let page = page_of(row(1_000).number);
        book.put(page, Arc::new(Page::build(page, vec![]).unwrap()));
        assert_eq!((book.len(), book.find(row(1_000).number)), (1, None));
    }
}
