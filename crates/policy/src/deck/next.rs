//! The next version of a deck: a full or a partial file laid over the version in force (`ref/telecom-domain` §3).
//!
//! The vendor's newest word on a code counts from its date on: whatever the version had for that code from then on is gone,
//! and what was in force before ends there. So a price that is to end does end, and an older one without an end does not
//! come back behind it. Codes that a partial file does not name stay as they are. Codes that a full file does not name end
//! when the file begins: at once when any of its rows counts by then, else with its first row.

use std::collections::{BTreeMap, BTreeSet};

use warp_model::Wall;

use super::{Deck, DeckError, DeckMeta, DeckRows, Row, end, start};
use crate::code::Code;

/// What the file says of one code, in the order of time.
#[derive(Default)]
struct Word {
    rows: Vec<Row>,
    ends: Vec<i64>,
}

impl Deck {
    /// This version with a partial file laid over it, to take over at `at`. What the file gives without a date begins, or
    /// ends, at `at`; rows that are over by then are left out.
    ///
    /// Errors: as [`Deck::new`]; one code both priced and ended with one date is [`DeckError::Duplicate`]; nothing left is
    /// [`DeckError::Empty`].
    pub fn merged(&self, meta: DeckMeta, delta: &DeckRows, at: Wall) -> Result<Deck, DeckError> {
        let mut words: BTreeMap<Code, Word> = BTreeMap::new();
        for row in &delta.rows {
            let from = row.from.unwrap_or(at);
            words.entry(row.code).or_default().rows.push(Row { from: Some(from), ..*row });
        }
        for (code, when) in &delta.ended {
            words.entry(*code).or_default().ends.push(when.unwrap_or(at).0);
        }
        let mut rows: Vec<Row> = Vec::with_capacity(self.len() + delta.rows.len());
        for row in self.rows() {
            let first = words.get(&row.code).and_then(Word::first);
            rows.extend(first.map_or(Some(row), |first| cut(row, first)));
        }
        for (code, word) in &words {
            for row in &word.rows {
                let from = start(row.from);
                if word.ends.contains(&from) {
                    return Err(DeckError::Duplicate(*code));
                }
                let next = word.ends.iter().copied().filter(|e| *e > from).min();
                rows.extend(next.map_or(Some(*row), |next| cut(*row, next)));
            }
        }
        rows.retain(|r| end(r.until) > at.0);
        Deck::new(meta, rows)
    }

    /// A full file as the next version, to take over at `at` from `base`, the version in force. Rows of the base stay until
    /// the file's word on their code begins; the second value is how many. Rows without a date count at once.
    ///
    /// Errors: as [`Deck::new`].
    pub fn replaced(
        base: Option<&Deck>,
        meta: DeckMeta,
        file: &DeckRows,
        at: Wall,
    ) -> Result<(Deck, usize), DeckError> {
        let mut rows = file.rows.clone();
        let mut ended: BTreeMap<Code, i64> = BTreeMap::new();
        for (code, when) in &file.ended {
            let when = when.unwrap_or(at).0;
            ended.entry(*code).and_modify(|e| *e = when.min(*e)).or_insert(when);
        }
        // A row that the same file ends later is cut; one that it ends at once or before was never meant.
        for row in &mut rows {
            let Some(when) = ended.get(&row.code).filter(|w| **w < end(row.until)) else { continue };
            match cut(*row, *when) {
                Some(short) => *row = short,
                None if start(row.from) > *when => {}
                None => return Err(DeckError::Duplicate(row.code)),
            }
        }
        let mut carried = 0;
        if let Some(base) = base {
            let begins =
                rows.iter().map(|r| start(r.from)).chain(ended.values().copied()).min().unwrap_or(at.0);
            let mut first: BTreeMap<Code, i64> = ended.clone();
            for row in rows.iter().filter(|r| start(r.from) > at.0) {
                let from = start(row.from);
                first.entry(row.code).and_modify(|f| *f = from.min(*f)).or_insert(from);
            }
            let now: BTreeSet<Code> = rows.iter().filter(|r| start(r.from) <= at.0).map(|r| r.code).collect();
            if begins > at.0 || first.values().any(|f| *f > at.0) {
                for row in base.rows().filter(|r| !now.contains(&r.code)) {
                    let until = first.get(&row.code).copied().unwrap_or(begins);
                    if let Some(kept) = cut(row, until).filter(|k| end(k.until) > at.0) {
                        rows.push(kept);
                        carried += 1;
                    }
                }
            }
        }
        Deck::new(meta, rows).map(|d| (d, carried))
    }

    /// Has it a price in force at a time?
    pub fn has_price_at(&self, at: Wall) -> bool {
        self.in_force(at).any(|r| !r.blocked)
    }
}

impl Word {
    fn first(&self) -> Option<i64> {
        self.rows.iter().map(|r| start(r.from)).chain(self.ends.iter().copied()).min()
    }
}

/// What is left of a row when it ends at `when`.
fn cut(row: Row, when: i64) -> Option<Row> {
    let until = end(row.until).min(when);
    (start(row.from) < until).then(|| Row { until: (until != i64::MAX).then_some(Wall(until)), ..row })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{meta, row};
    use super::*;
    use crate::deck::DeckRows;

    const NOW: Wall = Wall(1_000);

    fn dated(code: &str, rate: i64, from: Option<i64>, until: Option<i64>) -> Row {
        Row { from: from.map(Wall), until: until.map(Wall), ..row(code, rate) }
    }

    fn delta(rows: Vec<Row>, ended: &[(&str, Option<i64>)]) -> DeckRows {
        let ended = ended.iter().map(|(c, t)| (c.parse().unwrap(), t.map(Wall))).collect();
        DeckRows { rows, ended, ..DeckRows::default() }
    }

    fn at(deck: &Deck, t: i64) -> Vec<(String, i64)> {
        deck.in_force(Wall(t)).map(|r| (r.code.to_string(), r.rates[0].0)).collect()
    }

    fn base() -> Deck {
        // 1415 with an effective date of its own, 1212 since ever with a rise to come, 1303 untouched.
        Deck::new(
            meta(1),
            vec![
                dated("1415", 10, Some(500), None),
                dated("1212", 5, None, None),
                dated("1212", 6, Some(5_000), None),
                dated("1303", 7, None, None),
            ],
        )
        .unwrap()
    }

    #[test]
    fn missing_rows_stay_and_named_ones_change_from_their_date() {
        let d = delta(
            vec![dated("1415", 30, Some(2_000), None), dated("1808", 9, None, None)],
            &[("1212", Some(3_000))],
        );
        let next = base().merged(meta(2), &d, NOW).unwrap();
        let want = |list: &[(&str, i64)]| list.iter().map(|(c, r)| ((*c).to_owned(), *r)).collect::<Vec<_>>();
        assert_eq!(at(&next, 999), want(&[("1212", 5), ("1303", 7), ("1415", 10)]));
        assert_eq!(at(&next, 1_000), want(&[("1212", 5), ("1303", 7), ("1415", 10), ("1808", 9)]));
        assert_eq!(at(&next, 2_000), want(&[("1212", 5), ("1303", 7), ("1415", 30), ("1808", 9)]));
        // The rise to 6 is gone with its code.
        assert_eq!(at(&next, 6_000), want(&[("1303", 7), ("1415", 30), ("1808", 9)]));
    }

    #[test]
    fn a_row_without_a_date_counts_from_now_and_over_rows_that_have_one() {
        let next = base().merged(
            meta(2),
            &delta(vec![dated("1415", 8, None, None), dated("1212", 4, None, None)], &[]),
            NOW,
        );
        let next = next.unwrap();
        for t in [1_000, 9_000] {
            assert_eq!(at(&next, t), [("1212".into(), 4), ("1303".into(), 7), ("1415".into(), 8)], "{t}");
        }
    }

    #[test]
    fn what_expires_does_not_give_way_to_an_older_price() {
        let next = base()
            .merged(meta(2), &delta(vec![dated("1303", 3, Some(1_500), Some(2_500))], &[]), NOW)
            .unwrap();
        let rate = |t| at(&next, t).into_iter().find(|(c, _)| c == "1303").map(|(_, r)| r);
        assert_eq!([rate(1_400), rate(1_500), rate(2_499), rate(2_500)], [Some(7), Some(3), Some(3), None]);
    }

    #[test]
    fn ended_and_offered_again() {
        let d = delta(vec![dated("1303", 9, Some(4_000), None)], &[("1303", Some(2_000)), ("1999", None)]);
        let next = base().merged(meta(2), &d, NOW).unwrap();
        let rate = |t| at(&next, t).into_iter().find(|(c, _)| c == "1303").map(|(_, r)| r);
        assert_eq!([rate(1_999), rate(2_000), rate(3_999), rate(4_000)], [Some(7), None, None, Some(9)]);
        assert!(!base().names("1999".parse().unwrap()) && base().names("1212".parse().unwrap()));
        // Priced and then ended by one file.
        let d = delta(vec![dated("1303", 9, Some(2_000), None)], &[("1303", Some(3_000))]);
        let next = base().merged(meta(2), &d, NOW).unwrap();
        assert!(
            at(&next, 2_500).contains(&("1303".into(), 9))
                && at(&next, 3_000).iter().all(|(c, _)| c != "1303")
        );
        let both = delta(vec![dated("1303", 9, None, None)], &[("1303", None)]);
        assert_eq!(base().merged(meta(2), &both, NOW), Err(DeckError::Duplicate("1303".parse().unwrap())));
    }

    #[test]
    fn nothing_left_is_an_error_and_what_is_over_is_left_out() {
        let all = [("1415", None), ("1212", None), ("1303", None)];
        assert_eq!(base().merged(meta(2), &delta(vec![], &all), NOW), Err(DeckError::Empty));
        let next = base().merged(meta(2), &delta(vec![], &all[..1]), NOW).unwrap();
        assert!(!next.names("1415".parse().unwrap()));
        assert_eq!(next.len(), 3);
    }

    #[test]
    fn a_full_file_that_begins_later_leaves_todays_prices_in_force_until_then() {
        let file =
            delta(vec![dated("1415", 20, Some(9_000), None), dated("1999", 3, Some(8_000), None)], &[]);
        let (next, carried) = Deck::replaced(Some(&base()), meta(2), &file, NOW).unwrap();
        assert_eq!(carried, 4);
        let want = |list: &[(&str, i64)]| list.iter().map(|(c, r)| ((*c).to_owned(), *r)).collect::<Vec<_>>();
        assert_eq!(at(&next, 1_000), want(&[("1212", 5), ("1303", 7), ("1415", 10)]));
        assert_eq!(at(&next, 7_999), want(&[("1212", 6), ("1303", 7), ("1415", 10)]));
        // The file begins at 8,000: what it does not name ends, what it names later stays until its date.
        assert_eq!(at(&next, 8_000), want(&[("1415", 10), ("1999", 3)]));
        assert_eq!(at(&next, 9_000), want(&[("1415", 20), ("1999", 3)]));
    }

    #[test]
    fn a_full_file_of_today_ends_what_it_does_not_name_and_keeps_what_rises_later() {
        let file = delta(vec![dated("1415", 20, Some(9_000), None), dated("1212", 3, None, None)], &[]);
        let (next, carried) = Deck::replaced(Some(&base()), meta(2), &file, NOW).unwrap();
        assert_eq!(carried, 1);
        assert_eq!(at(&next, 1_000), [("1212".to_owned(), 3), ("1415".to_owned(), 10)]);
        let (alone, carried) =
            Deck::replaced(Some(&base()), meta(2), &delta(vec![dated("1212", 3, None, None)], &[]), NOW)
                .unwrap();
        assert_eq!((alone.len(), carried), (1, 0));
        assert_eq!(Deck::replaced(None, meta(1), &file, NOW).unwrap().1, 0);
    }

    #[test]
    fn a_full_file_may_end_codes_at_a_date() {
        let ends = [("1303", Some(5_000)), ("1415", None)];
        let file = delta(vec![dated("1212", 3, None, None)], &ends);
        let (next, _) = Deck::replaced(Some(&base()), meta(2), &file, NOW).unwrap();
        assert_eq!(at(&next, 4_999), [("1212".to_owned(), 3), ("1303".to_owned(), 7)]);
        assert_eq!(at(&next, 5_000), [("1212".to_owned(), 3)]);
        assert!(next.has_price_at(NOW));
        let blocked = Row { blocked: true, ..dated("1212", 3, None, None) };
        assert!(!Deck::new(meta(3), vec![blocked]).unwrap().has_price_at(NOW));
    }
}
