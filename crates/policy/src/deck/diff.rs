//! What a new deck version changes, shown before anybody approves it (`ref/telecom-domain` §3).

use serde::Serialize;
use warp_model::{Nanos, Wall};

use super::{Deck, Row};
use crate::code::Code;

/// Counts of a comparison, at one moment each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeckDiff {
    /// Codes that the old one did not have.
    pub new: usize,
    /// At least one price, fee or increment rose, none fell… or some rose while others fell: treated as dearer.
    pub up: usize,
    /// Something fell and nothing rose.
    pub down: usize,
    /// Nothing changed.
    pub same: usize,
    /// Codes that the new one does not have.
    pub ended: usize,
    /// Of `up`: take effect with less notice than was asked for.
    pub short_notice: usize,
    /// The largest moves by absolute change of the interstate (or only) price.
    pub largest: Vec<Move>,
}

/// One price that moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Move {
    /// Dial code.
    pub code: Code,
    /// Before.
    pub old: Nanos,
    /// After.
    pub new: Nanos,
}

impl DeckDiff {
    /// A count as hundredths of a percent of all codes seen.
    pub fn share_bps(&self, count: usize) -> u64 {
        let all = (self.new + self.up + self.down + self.same + self.ended) as u64;
        (count as u64 * 10_000).checked_div(all).unwrap_or(0)
    }
}

/// Compares two versions at `at` (the moment the new one takes over, or later to see rows that are scheduled).
/// `announced` and `notice_s` give the notice that increases need; `largest` bounds the list of moves.
pub fn diff(
    old: Option<&Deck>,
    new: &Deck,
    at: Wall,
    announced: Wall,
    notice_s: u64,
    largest: usize,
) -> DeckDiff {
    let mut out = DeckDiff::default();
    let mut moves: Vec<(i64, Move)> = Vec::new();
    let due = announced.plus(std::time::Duration::from_secs(notice_s));
    let mut olds = old.into_iter().flat_map(|d| d.in_force(at)).peekable();
    let mut news = new.in_force(at).peekable();
    loop {
        match (olds.peek().copied(), news.peek().copied()) {
            (None, None) => break,
            (Some(o), n) if n.is_none_or(|n| o.code < n.code) => {
                out.ended += 1;
                olds.next();
            }
            (o, Some(n)) if o.is_none_or(|o| n.code < o.code) => {
                out.new += 1;
                news.next();
            }
            (Some(o), Some(n)) => {
                olds.next();
                news.next();
                match direction(&o, &n) {
                    0 => out.same += 1,
                    d => {
                        let [a, ..] = o.rates;
                        let [b, ..] = n.rates;
                        let step = b.0.saturating_sub(a.0).saturating_abs();
                        moves.push((step, Move { code: n.code, old: a, new: b }));
                        if d > 0 {
                            out.up += 1;
                            out.short_notice += usize::from(n.from.unwrap_or(at) < due);
                        } else {
                            out.down += 1;
                        }
                    }
                }
            }
            // The guards above leave nothing else.
            (Some(_), None) | (None, Some(_)) => break,
        }
    }
    moves.sort_by_key(|(step, m)| (std::cmp::Reverse(*step), m.code));
    out.largest = moves.into_iter().take(largest).map(|(_, m)| m).collect();
    out
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

    #[test]
    fn counts_every_kind() {
        let old =
            Deck::new(meta(1), vec![row("1201", 10), row("1202", 10), row("1203", 10), row("1204", 10)])
                .unwrap();
        let new = Deck::new(meta(2), vec![row("1201", 10), row("1202", 30), row("1203", 5), row("1205", 1)])
            .unwrap();
        let d = diff(Some(&old), &new, Wall(0), Wall(0), 7 * 86_400, 1);
        assert_eq!((d.new, d.up, d.down, d.same, d.ended, d.short_notice), (1, 1, 1, 1, 1, 1));
        assert_eq!(d.largest[0].code.to_string(), "1202");
        assert_eq!(d.share_bps(d.up), 2_000);
        assert_eq!(diff(None, &new, Wall(0), Wall(0), 0, 5).new, 4);
    }
}
