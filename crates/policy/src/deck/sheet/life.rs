//! What becomes of a row's code, and when: its status and its dates together.
//!
//! A status says what the vendor does with the code, a date since or until when; only both together say whose price counts on
//! which day. Where they do not, the row is refused: a hole that begins or ends on the wrong day gives the calls of a withdrawn
//! network to the price of its country.

use warp_model::Wall;

use super::options::Field;
use super::words::Said;

/// The dates of a row; ends are the moments from which something is no longer so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dates {
    /// The row begins, or its change does.
    pub(super) from: Option<Wall>,
    /// Its price counts until then.
    pub(super) until: Option<Wall>,
    /// The row is gone from then on.
    pub(super) removed: Option<Wall>,
    /// The code is not carried from then on.
    pub(super) blocked: Option<Wall>,
    /// What lines above the header say of all prices.
    pub(super) sheet_from: Option<Wall>,
    pub(super) sheet_until: Option<Wall>,
}

/// What follows; a time of `None` is: at once, or without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    /// From when until when the row's price counts.
    pub(super) price: Option<(Option<Wall>, Option<Wall>)>,
    /// The code is removed from then on.
    pub(super) removed: Option<Option<Wall>>,
    /// The code is not carried from then on.
    pub(super) blocked: Option<Option<Wall>>,
}

impl Dates {
    /// What a row says of its code.
    ///
    /// Errors: the field of the date that is in question, and why.
    pub(super) fn under(&self, said: Said) -> Result<Life, (Field, &'static str)> {
        let end = self.end(said);
        let begin = self.from.or(self.sheet_from);
        // A change on one day, and the row says it twice.
        let changes = said != Said::Offered && end.is_none_or(|(at, _)| self.from == Some(at));
        if let (Some(begin), Some((end, field)), false) = (begin, end, changes)
            && begin >= end
        {
            return Err((field, "ends before it begins"));
        }
        let until = end.map(|(at, _)| at);
        // The date of a change is the end of a price that began before; a date above the header is no date of a change.
        let before = || self.from.map(|at| (self.sheet_from.filter(|s| *s < at), Some(at)));
        let price = if changes { before() } else { Some((begin, until)) };
        match said {
            Said::Offered => Ok(Life { price, removed: None, blocked: self.blocked.map(Some) }),
            Said::Removed if self.blocked.is_some() => Err((
                Field::BlockedFrom,
                "the status says that the code is removed, and the date that it is not carried; map the column to removed_from if a shorter code prices its numbers",
            )),
            Said::Removed => Ok(Life { price, removed: Some(until.or(begin)), blocked: None }),
            Said::Blocked => match (self.blocked, end) {
                (Some(at), _) => Ok(Life { price, removed: None, blocked: Some(Some(at)) }),
                (None, Some((_, field))) => Err((
                    field,
                    "not carried until then, or from then on? map the column to blocked_from if from then on, or ignore it by name",
                )),
                (None, None) => Ok(Life { price, removed: None, blocked: Some(begin) }),
            },
        }
    }

    /// The first of the row's ends, and where it stands. The end of the whole sheet ends prices: it neither delays a removal
    /// nor ends a block.
    fn end(&self, said: Said) -> Option<(Wall, Field)> {
        let sheet = self.sheet_until.filter(|_| said == Said::Offered);
        let ends = [
            (self.until.or(sheet), Field::Expires),
            (self.removed, Field::RemovedFrom),
            (self.blocked, Field::BlockedFrom),
        ];
        ends.into_iter().filter_map(|(at, field)| Some((at?, field))).min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: [Said; 3] = [Said::Offered, Said::Removed, Said::Blocked];

    /// Every status with every set of dates: after the last date nothing of the row's price counts but an offer without an end,
    /// a blocked code is never left to a shorter one, and a removed code never makes a hole.
    #[test]
    fn every_status_with_every_set_of_dates() {
        let mut taken = 0;
        for said in SAID {
            for bits in 0u32..64 {
                let at = |bit: u32, t: i64| (bits & (1 << bit) != 0).then_some(Wall(t));
                let dates = Dates {
                    sheet_from: at(0, 1),
                    from: at(1, 2),
                    until: at(2, 30),
                    removed: at(3, 40),
                    blocked: at(4, 50),
                    sheet_until: at(5, 60),
                };
                let ends = dates.until.is_some() || dates.removed.is_some();
                let life = dates.under(said);
                let refused = match said {
                    Said::Offered => false,
                    Said::Removed => dates.blocked.is_some(),
                    Said::Blocked => ends && dates.blocked.is_none(),
                };
                let Ok(life) = life else {
                    assert!(refused, "{said:?} {dates:?}");
                    continue;
                };
                assert!(!refused, "{said:?} {dates:?}");
                taken += 1;
                let begin = dates.from.or(dates.sheet_from);
                let first = [dates.until, dates.removed, dates.blocked].into_iter().flatten().min();
                match said {
                    Said::Offered => {
                        let end = first.or(dates.sheet_until);
                        let want = Life {
                            price: Some((begin, end)),
                            removed: None,
                            blocked: dates.blocked.map(Some),
                        };
                        assert_eq!(life, want, "{dates:?}");
                    }
                    Said::Removed => {
                        assert_eq!((life.removed, life.blocked), (Some(first.or(begin)), None), "{dates:?}");
                        assert_eq!(life.price.map(|p| p.1), first.or(dates.from).map(Some), "{dates:?}");
                    }
                    Said::Blocked => {
                        assert_eq!(
                            (life.removed, life.blocked),
                            (None, Some(dates.blocked.or(begin))),
                            "{dates:?}"
                        );
                        assert_eq!(life.price.map(|p| p.1), first.or(dates.from).map(Some), "{dates:?}");
                    }
                }
            }
        }
        assert_eq!(taken, 64 + 32 + 32 + 8);
    }

    #[test]
    fn a_row_that_ends_before_it_begins() {
        for said in SAID {
            let d = Dates {
                from: Some(Wall(5)),
                removed: Some(Wall(4)),
                blocked: (said != Said::Removed).then_some(Wall(9)),
                ..Dates::default()
            };
            assert_eq!(d.under(said), Err((Field::RemovedFrom, "ends before it begins")), "{said:?}");
        }
        // One day, said twice, is the day of the change.
        let d = Dates { from: Some(Wall(5)), removed: Some(Wall(5)), ..Dates::default() };
        assert_eq!(
            d.under(Said::Removed),
            Ok(Life { price: Some((None, Some(Wall(5)))), removed: Some(Some(Wall(5))), blocked: None })
        );
        assert!(d.under(Said::Offered).is_err());
    }
}
