//! How a buy column's three prices become 16-bit codes: `base + unit · code`, chosen per column so that most rows fit.
//!
//! A deck's prices are multiples of a decimal place and lie close together; those of one exchange lie closer still, so
//! intrastate and indeterminate prices are counted from the interstate one. Nothing is rounded: a row whose prices are not
//! hit exactly has no codes and is kept in the table of wide prices.

/// Bases and units of the groups inter, intra, indeterminate, in nano-units per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    base: [i64; 3],
    unit: [i64; 3],
}

impl Default for Scale {
    fn default() -> Self {
        Scale { base: [0; 3], unit: [1; 3] }
    }
}

impl Scale {
    /// The scale that the most of these rows fit.
    pub(crate) fn fitting(rows: &[[i64; 3]]) -> Scale {
        let mut scale = Scale::default();
        for group in 0..3 {
            let mut values: Vec<i64> = rows
                .iter()
                .map(|[inter, intra, other]| match group {
                    0 => *inter,
                    1 => intra - inter,
                    _ => other - inter,
                })
                .filter(|v| v.unsigned_abs() <= u64::from(u32::MAX))
                .collect();
            values.sort_unstable();
            let (base, unit) = best(&values);
            if let (Some(b), Some(u)) = (scale.base.get_mut(group), scale.unit.get_mut(group)) {
                (*b, *u) = (base, unit);
            }
        }
        scale
    }

    /// The codes of a row's prices, when they can be given exactly and the prices fit in 32 bits.
    pub(crate) fn codes(&self, rates: [i64; 3]) -> Option<[u16; 3]> {
        let [inter, intra, other] = rates;
        if rates.iter().any(|r| u32::try_from(*r).is_err()) {
            return None;
        }
        let of = |group: usize, value: i64| {
            let (base, unit) = (self.base.get(group)?, self.unit.get(group)?);
            let above = value.checked_sub(*base)?;
            (above % unit == 0).then(|| u16::try_from(above / unit).ok())?
        };
        Some([of(0, inter)?, of(1, intra - inter)?, of(2, other - inter)?])
    }

    /// The price of a group from the code of the interstate price and its own code (for group 0 the same one).
    #[inline]
    pub(crate) fn price(&self, group: usize, first: u16, own: u16) -> i64 {
        let [base, of_first, of_own] = self.terms(group);
        base.wrapping_add(of_first.wrapping_mul(i64::from(first)))
            .wrapping_add(of_own.wrapping_mul(i64::from(own)))
    }

    /// A group's price is `[0] + [1] · code of the interstate price + [2] · own code`.
    #[inline]
    pub(crate) fn terms(&self, group: usize) -> [i64; 3] {
        let [base, ..] = self.base;
        let [unit, ..] = self.unit;
        match (group, self.base.get(group), self.unit.get(group)) {
            (1 | 2, Some(b), Some(u)) => [base.wrapping_add(*b), unit, *u],
            _ => [base, unit, 0],
        }
    }

    /// Bases and units, to be stored.
    pub(crate) fn parts(&self) -> ([i64; 3], [i64; 3]) {
        (self.base, self.unit)
    }

    /// From what was stored; `None` when a code could give a price that no sum holds.
    pub(crate) fn from_parts(base: [i64; 3], unit: [i64; 3]) -> Option<Scale> {
        let sound = base.iter().all(|b| b.unsigned_abs() <= 1 << 40)
            && unit.iter().all(|u| (1..=LARGEST_UNIT).contains(u));
        sound.then_some(Scale { base, unit })
    }
}

/// Base and unit that hit the most of these sorted values; the coarser unit when several do.
fn best(values: &[i64]) -> (i64, i64) {
    let mut chosen = (0, 1);
    let mut most = 0;
    let mut unit = LARGEST_UNIT;
    while unit > 0 && most < values.len() {
        let span = unit * i64::from(u16::MAX);
        let hit: Vec<i64> = values.iter().copied().filter(|v| v % unit == 0).collect();
        let mut from = 0;
        for (to, high) in hit.iter().enumerate() {
            while hit.get(from).is_some_and(|low| high - low > span) {
                from += 1;
            }
            if to + 1 - from > most {
                most = to + 1 - from;
                // In the middle, so that rows that were not sampled fit as well.
                let low = hit.get(from).copied().unwrap_or(*high);
                let slack = (span - (high - low)) / 2;
                chosen = (low - slack / unit * unit, unit);
            }
        }
        unit /= 10;
    }
    chosen
}

/// The largest unit that prices are packed in: a thousandth.
const LARGEST_UNIT: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_deck_of_six_decimals_fits() {
        // 0.000500 to 0.065000, intra up to 0.02 dearer or cheaper.
        let rows: Vec<[i64; 3]> = (0..10_000)
            .map(|i| {
                let inter = 500_000 + i * 6_450;
                [inter, inter + (i % 41 - 20) * 1_000_000, inter + i % 20 * 1_000_000]
                    .map(|v: i64| v.max(0) / 1_000 * 1_000)
            })
            .collect();
        let scale = Scale::fitting(&rows);
        assert_eq!(scale.unit[0], 1_000);
        assert!(rows.iter().all(|r| scale.codes(*r).is_some()));
    }

    #[test]
    fn the_most_rows_win_over_a_few_odd_ones() {
        let mut rows: Vec<[i64; 3]> = (0..1_000).map(|i| [i * 1_000; 3]).collect();
        rows.push([123_456_789; 3]);
        rows.push([4_000_000_000, 0, 0]);
        let scale = Scale::fitting(&rows);
        assert_eq!(rows.iter().filter(|r| scale.codes(**r).is_some()).count(), 1_000);
    }

    #[test]
    fn what_is_not_hit_exactly_has_no_code() {
        let scale = Scale::from_parts([500, -300, 0], [100, 10, 1]).unwrap();
        assert_eq!(scale.codes([700, 410, 700]), Some([2, 1, 0]));
        // By hand: 500 + 100·2 = 700; 700 − 300 + 10·1 = 410.
        assert_eq!([0, 1, 2].map(|g| scale.price(g, 2, [2, 1, 0][g])), [700, 410, 700]);
        assert_eq!(scale.codes([701, 410, 700]), None);
        assert_eq!(scale.codes([400, 400, 400]), None);
        assert_eq!(scale.codes([500 + 100 * 65_536; 3]), None);
        assert_eq!(scale.codes([700, 411, 700]), None);
        assert_eq!(scale.codes([700, 410, 699]), None);
        assert_eq!(scale.codes([-1, 0, 0]), None);
        assert_eq!(Scale::from_parts([0; 3], [1, 0, 1]), None);
        assert_eq!(Scale::from_parts([i64::MIN, 0, 0], [1; 3]), None);
    }

    #[test]
    fn nothing_to_fit_is_a_scale_too() {
        assert_eq!(Scale::fitting(&[]), Scale::default());
        assert!(Scale::fitting(&[[i64::MAX / 2; 3]]).codes([5; 3]).is_some());
    }

    proptest! {
        #[test]
        fn codes_give_the_price_back(
            rows in proptest::collection::vec(
                [0i64..5_000_000_000, 0i64..5_000_000_000, 0i64..5_000_000_000], 1..40),
            unit in proptest::sample::select(vec![1i64, 10, 1_000, 100_000, 1_000_000]),
        ) {
            let rows: Vec<[i64; 3]> = rows.into_iter().map(|r| r.map(|v| v / unit * unit)).collect();
            let scale = Scale::fitting(&rows);
            let (base, units) = scale.parts();
            prop_assert_eq!(Scale::from_parts(base, units), Some(scale));
            for rates in rows {
                if let Some(codes) = scale.codes(rates) {
                    for g in 0..3 {
                        prop_assert_eq!(scale.price(g, codes[0], codes[g]), rates[g]);
                    }
                }
            }
        }
    }
}
