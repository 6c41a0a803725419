//! What a new deck version changes, shown before anybody approves it and kept with the version (`ref/telecom-domain` §3).

use serde::{Deserialize, Serialize};
use warp_model::{Nanos, Wall};

use super::{Deck, Recognised, Row, Terms};
use crate::code::Code;

/// Moves that a report lists.
pub const LARGEST: usize = 10;

/// Rows that a report shows of the sheet's head, of its dearest and of its cheapest.
pub const SHOWN: [usize; 3] = [5, 3, 2];

/// Counts of codes, and the largest moves. Prices are compared as they will be when every announced change has come, and one that rises at
/// once counts as dearer whatever comes later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version that it was compared with; `None`: there was none in force.
    pub base: Option<u32>,
    /// Rows of the sheet below its header, those that were not understood among them.
    pub rows_read: usize,
    /// Rows of the version, of all dates.
    pub rows: usize,
    /// Codes that the base does not price.
    pub new: usize,
    /// A price, fee or increment rises, whatever else falls.
    pub dearer: usize,
    /// Something falls and nothing rises.
    pub cheaper: usize,
    /// How many codes do not change.
    pub same: usize,
    /// Codes that the base prices and this version will not.
    pub ended: usize,
    /// Of all codes: the vendor does not carry them.
    pub blocked: usize,
    /// Places that were not understood; then nothing was stored.
    pub not_understood: usize,
    /// Codes with a price at once.
    pub in_force: usize,
    /// Rows that begin later.
    pub begin_later: usize,
    /// Rows of the base that stay until the sheet's word on their code begins.
    pub carried: usize,
    /// The next moment at which the price of a code begins, changes or ends. A row that begins or ends where another one of its
    /// code says the same changes nothing.
    pub next_change: Option<Wall>,
    /// The largest moves: by absolute change of a price per minute or of a set-up fee, then by that of the increments.
    pub largest: Vec<Move>,
    /// What was recognised in the sheet.
    pub recognised: Recognised,
    /// Rows of the sheet as they were understood ([`sample`]).
    #[serde(default)]
    pub sample: Vec<Row>,
}

/// Some rows of a sheet as they were understood, in its order: the first ones, to be held beside the sheet, and the dearest and
/// the cheapest of the others, by which a wrong unit is seen.
pub fn sample(rows: &[Row]) -> Vec<Row> {
    let [first, dearest, cheapest] = SHOWN;
    let price = |i: &usize| rows.get(*i).map(|r| r.rates.into_iter().max());
    let mut others: Vec<usize> =
        (first..rows.len()).filter(|i| rows.get(*i).is_some_and(|r| !r.blocked)).collect();
    others.sort_by_key(|i| std::cmp::Reverse(price(i)));
    let ends = others.iter().take(dearest).chain(others.iter().skip(dearest).rev().take(cheapest));
    let mut shown: Vec<usize> = (0..first.min(rows.len())).chain(ends.copied()).collect();
    shown.sort_unstable();
    shown.into_iter().filter_map(|i| rows.get(i).copied()).collect()
}

/// One code whose price moves: of the jurisdiction where it moves most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The dial code whose price moves.
    pub code: Code,
    /// The price before, per minute.
    pub old: Nanos,
    /// The price after, per minute.
    pub new: Nanos,
    /// Increments and set-up fee before.
    pub old_terms: Terms,
    /// Increments and set-up fee after.
    pub new_terms: Terms,
    /// When; `None`: at once.
    pub from: Option<Wall>,
}

impl Report {
    /// Compares `new`, which takes over at `at`, with the version in force.
    pub fn of(base: Option<&Deck>, new: &Deck, at: Wall, recognised: Recognised) -> Report {
        let mut out = Report {
            base: base.map(|b| b.meta().version),
            rows_read: recognised.rows_read,
            rows: new.len(),
            in_force: new.in_force(at).filter(|r| !r.blocked).count(),
            begin_later: new.rows().filter(|r| r.from.is_some_and(|f| f > at)).count(),
            recognised,
            ..Report::default()
        };
        let mut moves: Vec<(Step, Move)> = Vec::new();
        let mut passing = 0usize;
        let mut olds = ByCode { deck: base, at: 0 };
        let mut news = ByCode { deck: Some(new), at: 0 };
        loop {
            let (o, n) = (olds.code(), news.code());
            let Some(code) = [o, n].into_iter().flatten().min() else { break };
            let old = if o == Some(code) { olds.take() } else { Range::default() };
            let new = if n == Some(code) { news.take() } else { Range::default() };
            let (was, is) = (row_at(base, old, at.0), row_at(news.deck, new, at.0));
            out.next_change = [out.next_change, changes(news.deck, new, at)].into_iter().flatten().min();
            let (old, new) = settled(base, old, new, news.deck, at);
            out.blocked += usize::from(new.is_some_and(|r| r.blocked));
            let priced = |r: Option<Row>| r.filter(|r| !r.blocked);
            // What rises at once is told, though it ends or falls later.
            let rises = priced(was).zip(priced(is)).filter(|(was, is)| direction(was, is) == 1);
            if let Some((was, is)) = rises {
                note(&was, &is, at, &mut moves);
            }
            match (priced(old), priced(new)) {
                (None, None) => {}
                (None, Some(_)) => out.new += 1,
                (Some(_), None) => {
                    out.ended += 1;
                    passing += usize::from(rises.is_some());
                }
                (Some(old), Some(new)) => {
                    let later = direction(&old, &new);
                    if rises.is_some() && later != 1 {
                        out.dearer += 1;
                        continue;
                    }
                    match later {
                        0 => out.same += 1,
                        1 => out.dearer += 1,
                        _ => out.cheaper += 1,
                    }
                    if rises.is_none() {
                        note(&old, &new, at, &mut moves);
                    }
                }
            }
        }
        if passing > 0 {
            out.recognised.notes.push(format!("codes that get dearer at once and end later: {passing}"));
        }
        moves.sort_by_key(|(step, m)| (std::cmp::Reverse(*step), m.code));
        out.largest = moves.into_iter().take(LARGEST).map(|(_, m)| m).collect();
        out
    }
}

/// Positions of a code's rows.
#[derive(Clone, Copy, Default)]
struct Range {
    from: usize,
    to: usize,
}

/// Walks a deck code by code.
struct ByCode<'a> {
    deck: Option<&'a Deck>,
    at: usize,
}

impl ByCode<'_> {
    fn code(&self) -> Option<Code> {
        self.deck?.codes.get(self.at).copied()
    }

    fn take(&mut self) -> Range {
        let from = self.at;
        let code = self.code();
        while self.code() == code && code.is_some() {
            self.at += 1;
        }
        Range { from, to: self.at }
    }
}

/// The row of a code that counts at a moment.
fn row_at(deck: Option<&Deck>, r: Range, t: i64) -> Option<Row> {
    let mut rows = (r.from..r.to).filter_map(|i| deck?.row(i));
    rows.rfind(|row| super::start(row.from) <= t && t < super::end(row.until))
}

/// When what a code costs changes next.
fn changes(deck: Option<&Deck>, r: Range, at: Wall) -> Option<Wall> {
    let says = |t: i64| row_at(deck, r, t).map(|row| (row.rates, row.terms, row.blocked));
    let bounds = |i: usize| deck?.row(i).map(|row| [row.from, row.until]);
    let mut times: Vec<i64> =
        (r.from..r.to).filter_map(bounds).flatten().flatten().map(|t| t.0).filter(|t| *t > at.0).collect();
    times.sort_unstable();
    let now = says(at.0);
    times.into_iter().find(|t| says(*t) != now).map(Wall)
}

/// The rows that count in the end: open ones; else those of now; else the next to come.
fn settled(
    base: Option<&Deck>,
    old: Range,
    new: Range,
    deck: Option<&Deck>,
    at: Wall,
) -> (Option<Row>, Option<Row>) {
    const IN_THE_END: i64 = i64::MAX - 1;
    let (o, n) = (row_at(base, old, IN_THE_END), row_at(deck, new, IN_THE_END));
    if o.is_some() || n.is_some() {
        return (o.or_else(|| row_at(base, old, at.0)), n);
    }
    let next = |deck: Option<&Deck>, r: Range| {
        (r.from..r.to).filter_map(|i| deck?.row(i)).rfind(|row| super::start(row.from) > at.0)
    };
    let either = |deck, r| next(deck, r).or_else(|| row_at(deck, r, at.0));
    (either(base, old), either(deck, new))
}

/// How far a move goes: in money, then in seconds of increments.
type Step = (i64, u32);

/// Puts down what moves: the price that moves most, with fee and increments.
fn note(old: &Row, new: &Row, at: Wall, moves: &mut Vec<(Step, Move)>) {
    let apart = |o: Nanos, n: Nanos| n.0.saturating_sub(o.0).saturating_abs();
    let steps = old.rates.iter().zip(new.rates).map(|(o, n)| (apart(*o, n), *o, n));
    // Of equal moves the first: interstate before intrastate.
    let most = steps.reduce(|best, next| if next.0 > best.0 { next } else { best });
    let Some((step, o, n)) = most else { return };
    let (a, b) = (old.terms, new.terms);
    let seconds = a.initial_s.abs_diff(b.initial_s).max(a.next_s.abs_diff(b.next_s));
    let step = (step.max(apart(a.setup_fee, b.setup_fee)), seconds);
    if step == (0, 0) {
        return;
    }
    // Only the largest are wanted: the others leave now and then.
    if moves.len() >= 64 * LARGEST {
        moves.sort_by_key(|(step, m)| (std::cmp::Reverse(*step), m.code));
        moves.truncate(LARGEST);
    }
    let from = new.from.filter(|f| *f > at);
    moves.push((step, Move { code: new.code, old: o, new: n, old_terms: a, new_terms: b, from }));
}

/// 1 dearer, -1 cheaper, 0 the same.
fn direction(old: &Row, new: &Row) -> i32 {
    let parts = |r: &Row| {
        let [a, b, c] = r.rates;
        [a.0, b.0, c.0, r.terms.setup_fee.0, i64::from(r.terms.initial_s), i64::from(r.terms.next_s)]
    };
    let pairs = parts(old).into_iter().zip(parts(new));
    let rose = pairs.clone().any(|(o, n)| n > o);
    let fell = pairs.into_iter().any(|(o, n)| n < o);
    match (rose, fell) {
        (true, _) => 1,
        (false, true) => -1,
        (false, false) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{meta, row};
    use super::*;

    fn deck(version: u32, rows: Vec<Row>) -> Deck {
        Deck::new(meta(version), rows).unwrap()
    }

    #[test]
    fn counts_every_kind() {
        let old = deck(1, ["1201", "1202", "1203", "1204", "1206"].map(|c| row(c, 10)).to_vec());
        let mut rows = vec![row("1201", 10), row("1202", 30), row("1203", 5), row("1205", 1)];
        rows.push(Row { blocked: true, ..row("1206", 0) });
        let r = Report::of(Some(&old), &deck(2, rows), Wall(0), Recognised::default());
        assert_eq!((r.new, r.dearer, r.cheaper, r.same, r.ended, r.blocked), (1, 1, 1, 1, 2, 1));
        assert_eq!((r.base, r.rows, r.in_force, r.begin_later), (Some(1), 5, 4, 0));
        let moved: Vec<_> = r.largest.iter().map(|m| (m.code.to_string(), m.old.0, m.new.0)).collect();
        assert_eq!(moved, [("1202".to_owned(), 10, 30), ("1203".to_owned(), 10, 5)]);
        assert_eq!(Report::of(None, &old, Wall(0), Recognised::default()).new, 5);
    }

    /// An increment of a minute costs a short call sixty times what a second does: it stands among the moves, and so does a fee.
    #[test]
    fn fees_and_increments_are_moves() {
        let with = |code, rate, initial_s, fee| Row {
            terms: Terms { setup_fee: Nanos(fee), ..Terms::of(initial_s, initial_s) },
            ..row(code, rate)
        };
        let old = deck(1, vec![with("1201", 10, 1, 0), with("1202", 20, 1, 100), with("1203", 5, 1, 0)]);
        let new = deck(2, vec![with("1201", 10, 60, 0), with("1202", 10, 1, 900), with("1203", 5, 1, 0)]);
        let r = Report::of(Some(&old), &new, Wall(0), Recognised::default());
        assert_eq!((r.dearer, r.same), (2, 1));
        let shown: Vec<_> = r
            .largest
            .iter()
            .map(|m| (m.code.to_string(), m.old.0, m.new.0, m.old_terms, m.new_terms))
            .collect();
        let terms = |s, fee| Terms { setup_fee: Nanos(fee), ..Terms::of(s, s) };
        let want = [
            ("1202".to_owned(), 20, 10, terms(1, 100), terms(1, 900)),
            ("1201".to_owned(), 10, 10, terms(1, 0), terms(60, 0)),
        ];
        assert_eq!(shown, want);
    }

    /// What rises at once is no fall because it falls later, and no mere end because it ends later.
    #[test]
    fn what_rises_at_once_is_told_whatever_comes_later() {
        let old = deck(1, ["1201", "1202", "1203"].map(|c| row(c, 10)).to_vec());
        let until = |code, rate| Row { until: Some(Wall(500)), ..row(code, rate) };
        let later = |code, rate| Row { from: Some(Wall(500)), ..row(code, rate) };
        let new = deck(2, vec![until("1201", 50), until("1202", 40), later("1202", 5), row("1203", 10)]);
        let r = Report::of(Some(&old), &new, Wall(100), Recognised::default());
        assert_eq!((r.dearer, r.cheaper, r.same, r.ended), (1, 0, 1, 1));
        let moved: Vec<_> = r.largest.iter().map(|m| (m.code.to_string(), m.new.0, m.from)).collect();
        assert_eq!(moved, [("1201".to_owned(), 50, None), ("1202".to_owned(), 40, None)]);
        assert!(r.recognised.notes[0].contains("dearer at once and end later: 1"));
    }

    #[test]
    fn announced_changes_count_as_they_will_be() {
        let old = deck(1, vec![row("1201", 10), row("1202", 10), row("1203", 10)]);
        let later = |code, rate| Row { from: Some(Wall(500)), ..row(code, rate) };
        let cut = |code| Row { until: Some(Wall(500)), ..row(code, 10) };
        let new = deck(2, vec![cut("1201"), later("1201", 12), cut("1202"), row("1203", 10)]);
        let r = Report::of(Some(&old), &new, Wall(100), Recognised::default());
        assert_eq!((r.new, r.dearer, r.cheaper, r.same, r.ended), (0, 1, 0, 1, 1));
        assert_eq!((r.begin_later, r.next_change), (1, Some(Wall(500))));
        assert_eq!(r.largest[0].from, Some(Wall(500)));
    }

    /// A row that ends below another one of its code, or where one with the same price begins, changes nothing then.
    #[test]
    fn the_next_change_is_one_of_a_price() {
        let span = |code, rate, from: Option<i64>, until: Option<i64>| Row {
            from: from.map(Wall),
            until: until.map(Wall),
            ..row(code, rate)
        };
        let next = |rows| Report::of(None, &deck(1, rows), Wall(100), Recognised::default()).next_change;
        let covered = span("1201", 10, None, Some(300));
        assert_eq!(next(vec![covered, span("1201", 20, Some(50), None)]), None);
        assert_eq!(next(vec![covered, span("1201", 20, Some(50), Some(400))]), Some(Wall(400)));
        assert_eq!(next(vec![covered, span("1201", 10, Some(300), None)]), None);
        assert_eq!(next(vec![covered, span("1201", 11, Some(300), None)]), Some(Wall(300)));
        assert_eq!(next(vec![covered, span("1202", 10, Some(200), None)]), Some(Wall(200)));
        assert_eq!(next(vec![row("1201", 10)]), None);
    }

    #[test]
    fn a_sample_has_the_head_the_dearest_and_the_cheapest() {
        let mut rows: Vec<Row> = (0..20).map(|n| row(&format!("1{}", 201 + n), 100 + n)).collect();
        rows[11].rates[2] = Nanos(9_000);
        rows[12].rates = [Nanos(1); 3];
        rows[13] = Row { blocked: true, ..row("1299", 0) };
        let shown: Vec<String> = sample(&rows).iter().map(|r| r.code.to_string()).collect();
        let want = ["1201", "1202", "1203", "1204", "1205", "1206", "1212", "1213", "1219", "1220"]
            .map(str::to_owned);
        assert_eq!(shown, want);
        assert_eq!(sample(&rows[..3]), rows[..3]);
        assert_eq!(sample(&[]), []);
    }

    #[test]
    fn the_ten_largest_of_many() {
        let codes: Vec<String> = (0..2_000).map(|n| format!("1201{n:04}")).collect();
        let old = deck(1, codes.iter().map(|c| row(c, 10_000)).collect());
        let new = deck(2, codes.iter().enumerate().map(|(i, c)| row(c, 10_000 + i as i64)).collect());
        let r = Report::of(Some(&old), &new, Wall(0), Recognised::default());
        let steps: Vec<i64> = r.largest.iter().map(|m| m.new.0 - m.old.0).collect();
        assert_eq!(steps, (1_990..2_000).rev().collect::<Vec<_>>());
        assert_eq!((r.dearer, r.same), (1_999, 1));
    }
}
