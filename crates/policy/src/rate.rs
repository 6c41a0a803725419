//! The price of a call (`ref/telecom-domain` §4): increments, set-up fee, and one division at the end, in 128 bits.

use std::fmt;

use serde::{Deserialize, Serialize};
use warp_model::cdr::{CallRating, RatedSide};
use warp_model::text::ShortText;
use warp_model::{Currency, Money, Nanos};

use crate::code::Code;
use crate::deck::Terms;

/// A price that was matched for a call, with everything that is needed to charge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// The price per minute, in nano-units of the deck's currency.
    pub rate_per_min: Nanos,
    /// Increments and set-up fee of the price.
    pub terms: Terms,
    /// The dial code that matched.
    pub code: Code,
    /// Position of its deck in [`LcrIndex::decks`](crate::LcrIndex::decks).
    pub deck: u32,
    /// The currency of the deck.
    pub currency: Currency,
    /// The rounding that the contract says.
    pub rounding: Rounding,
}

impl Rate {
    /// Whether no call of it costs anything, however long it is.
    pub fn is_free(&self) -> bool {
        self.rate_per_min == Nanos::ZERO && self.terms.setup_fee == Nanos::ZERO
    }
}

/// What the customer pays.
pub type SellRate = Rate;
/// What a vendor charges.
pub type BuyRate = Rate;

/// How a charge is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundingMode {
    /// 0.5 of the last place goes away from zero.
    HalfAwayFromZero,
    /// 0.5 of the last place goes to the even neighbour.
    HalfEven,
    /// Away from zero, always up.
    Up,
    /// The fraction is cut off, towards zero.
    Down,
}

/// What happens to a part of a second of the duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartialSecond {
    /// A begun second counts.
    Up,
    /// From 500 ms on it counts as a second.
    HalfUp,
    /// A begun second is not counted.
    Down,
}

/// The contract's rounding. Default: half away from zero at six decimals, begun seconds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rounding {
    /// How the charge is rounded.
    pub mode: RoundingMode,
    /// Decimal places of the charge, 0 to 9.
    pub places: u8,
    /// What becomes of a begun second of the duration.
    pub partial_second: PartialSecond,
    /// Where `places` are rounded to.
    #[serde(skip_serializing_if = "RoundingLevel::is_call")]
    pub level: RoundingLevel,
}

/// Where a contract rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundingLevel {
    /// Each call is rounded.
    #[default]
    Call,
    /// Calls are summed to the nano-unit, and each line of an invoice is rounded once.
    Line,
}

impl RoundingLevel {
    pub(crate) fn is_call(&self) -> bool {
        *self == RoundingLevel::Call
    }
}

impl Rounding {
    /// Whether this is the rounding that is meant where none is written.
    pub fn is_default(&self) -> bool {
        *self == Rounding::default()
    }
}

impl Default for Rounding {
    fn default() -> Self {
        Rounding {
            mode: RoundingMode::HalfAwayFromZero,
            places: 6,
            partial_second: PartialSecond::Up,
            level: RoundingLevel::Call,
        }
    }
}

/// Why a call cannot be rated. Such a call is never carried; after the fact it is an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RatingError {
    /// The sum does not fit in ±9.2 billion.
    Overflow,
    /// The rate names a deck that the snapshot does not have.
    UnknownDeck,
    /// An increment of zero.
    BadTerms,
}

impl fmt::Display for RatingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow => "the charge is out of range",
            Self::UnknownDeck => "the rate belongs to another snapshot",
            Self::BadTerms => "an increment of zero",
        })
    }
}

impl std::error::Error for RatingError {}

/// Seconds to be billed of an answered call: `d ≤ a ? a : a + ⌈(d − a)/b⌉·b`.
pub fn billable_s(duration_ms: u64, terms: Terms, partial: PartialSecond) -> Result<u64, RatingError> {
    let d = match partial {
        PartialSecond::Up => duration_ms.div_ceil(1_000),
        PartialSecond::HalfUp => duration_ms.saturating_add(500) / 1_000,
        PartialSecond::Down => duration_ms / 1_000,
    };
    let (a, b) = (u64::from(terms.initial_s), u64::from(terms.next_s));
    if a == 0 || b == 0 {
        return Err(RatingError::BadTerms);
    }
    if d <= a {
        return Ok(a);
    }
    (d - a).div_ceil(b).checked_mul(b).and_then(|s| s.checked_add(a)).ok_or(RatingError::Overflow)
}

/// 60 × the exact charge in nano-units: `60·setup + billable·rate`. Comparable without a division.
pub fn charge_x60(rate_per_min: Nanos, setup_fee: Nanos, billable_s: u64) -> i128 {
    (i128::from(billable_s) * i128::from(rate_per_min.0)).saturating_add(i128::from(setup_fee.0) * 60)
}

/// An amount in another currency, rounded up to whole nano-units: what is bought is never taken for cheaper than it is.
/// `rate`: units of the other currency for one unit, in nano-units.
pub fn exchanged(amount: i128, rate: Nanos) -> i128 {
    let product = amount.saturating_mul(i128::from(rate.0));
    let unit = i128::from(warp_model::money::NANOS_PER_UNIT);
    product.div_euclid(unit).saturating_add(i128::from(product.rem_euclid(unit) != 0))
}

/// The charge of `billable_s` seconds: the one division, rounded by the contract's rule.
pub fn charge(rate: &Rate, billable_s: u64) -> Result<Nanos, RatingError> {
    let exact_x60 = charge_x60(rate.rate_per_min, rate.terms.setup_fee, billable_s);
    round(exact_x60, 60, rate.rounding)
}

/// The most that can be had of a call of `duration_ms` for so much money: seconds in whole increments, and their charge. `None`: not even the
/// first increment, or it cannot be computed.
pub fn affordable(rate: &Rate, duration_ms: u64, most: Nanos) -> Option<(u64, Nanos)> {
    let whole = billable_s(duration_ms, rate.terms, rate.rounding.partial_second).ok()?;
    let at = |seconds: u64| charge(rate, seconds).ok().filter(|c| *c <= most).map(|c| (seconds, c));
    if let Some(all) = at(whole) {
        return Some(all);
    }
    let (first, step) = (u64::from(rate.terms.initial_s), u64::from(rate.terms.next_s));
    let mut best = at(first)?;
    // The charge never falls with the time: the last step that can be paid lies between.
    let (mut low, mut high) = (0, whole.saturating_sub(first).checked_div(step)?);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match at(first.checked_add(middle.checked_mul(step)?)?) {
            Some(paid) => (best, low) = (paid, middle),
            None => high = middle.saturating_sub(1),
        }
    }
    Some(best)
}

/// `numerator / denominator` nano-units, rounded to the contract's places.
fn round(numerator: i128, denominator: i128, rounding: Rounding) -> Result<Nanos, RatingError> {
    let places = match rounding.level {
        RoundingLevel::Call => rounding.places.min(9),
        RoundingLevel::Line => 9,
    };
    let unit = i128::from(crate::code::pow10(9 - usize::from(places)));
    let divisor = denominator.checked_mul(unit).filter(|d| *d > 0).ok_or(RatingError::Overflow)?;
    let (q, r) = (numerator / divisor, numerator % divisor);
    let away = if numerator < 0 { -1 } else { 1 };
    let twice = r.unsigned_abs() * 2;
    let bump = match rounding.mode {
        RoundingMode::HalfAwayFromZero => twice >= divisor.unsigned_abs(),
        RoundingMode::HalfEven => {
            twice > divisor.unsigned_abs() || (twice == divisor.unsigned_abs() && q % 2 != 0)
        }
        RoundingMode::Up => r != 0,
        RoundingMode::Down => false,
    };
    (q + if bump { away } else { 0 })
        .checked_mul(unit)
        .and_then(|v| i64::try_from(v).ok())
        .map(Nanos)
        .ok_or(RatingError::Overflow)
}

/// One side of an answered call, with the sum written out.
pub fn rate_side(rate: &Rate, deck_version: String, duration_ms: u64) -> Result<RatedSide, RatingError> {
    let billable_s = billable_s(duration_ms, rate.terms, rate.rounding.partial_second)?;
    let charge = charge(rate, billable_s)?;
    let fee = rate.terms.setup_fee;
    let mut sum = String::with_capacity(64);
    if fee != Nanos::ZERO {
        sum.push_str(fee.text().as_str());
        sum.push_str(" + ");
    }
    let mut seconds = ShortText::default();
    seconds.push_number(billable_s, 1);
    for part in [
        seconds.as_str(),
        " s × ",
        rate.rate_per_min.text().as_str(),
        " / 60 = ",
        charge.text().as_str(),
        " ",
        rate.currency.as_str(),
    ] {
        sum.push_str(part);
    }
    Ok(RatedSide {
        deck_version,
        prefix: rate.code.to_string(),
        rate_per_min: rate.rate_per_min,
        increment_initial_s: rate.terms.initial_s,
        increment_next_s: rate.terms.next_s,
        setup_fee: fee,
        billable_s,
        charge,
        currency: rate.currency,
        sum,
    })
}

/// What is left, in the currency of the sale. `None`: two currencies without an exchange rate, or out of range.
pub(crate) fn margin(sell: Money, buy: Money, exchange: Option<Nanos>) -> Option<Nanos> {
    let cost = match (sell.currency == buy.currency, exchange) {
        (true, _) => buy.amount,
        (false, Some(rate)) => Nanos(i64::try_from(exchanged(i128::from(buy.amount.0), rate)).ok()?),
        (false, None) => return None,
    };
    sell.amount.checked_sub(cost)
}

/// Prices both sides with their deck labels. `exchange`: what a unit of the vendor's currency is in the customer's, where they differ.
pub(crate) fn rate_sides(
    (sell, sell_label): (&SellRate, String),
    (buy, buy_label): (&BuyRate, String),
    duration_ms: u64,
    exchange: Option<Nanos>,
) -> Result<CallRating, RatingError> {
    let sell_side = rate_side(sell, sell_label, duration_ms)?;
    let buy_side = rate_side(buy, buy_label, duration_ms)?;
    let margin = margin(sell_side.charge.of(sell.currency), buy_side.charge.of(buy.currency), exchange);
    Ok(CallRating { sell: sell_side, buy: buy_side, margin })
}

/// Prices one customer's side of a call between two customers: nobody is paid for carrying it.
pub(crate) fn rate_on_net(
    (sell, label): (&SellRate, String),
    duration_ms: u64,
) -> Result<CallRating, RatingError> {
    let sell_side = rate_side(sell, label, duration_ms)?;
    let buy = RatedSide {
        deck_version: ON_NET.to_owned(),
        prefix: String::new(),
        rate_per_min: Nanos::ZERO,
        increment_initial_s: 1,
        increment_next_s: 1,
        setup_fee: Nanos::ZERO,
        billable_s: 0,
        charge: Nanos::ZERO,
        currency: sell.currency,
        sum: "no vendor".to_owned(),
    };
    Ok(CallRating { margin: Some(sell_side.charge), sell: sell_side, buy })
}

/// Stands where the deck version of a vendor would, of a call that no vendor carried.
pub const ON_NET: &str = "on-net";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(per_min: i64, initial_s: u32, next_s: u32, fee: i64) -> Rate {
        Rate {
            rate_per_min: Nanos(per_min),
            terms: Terms { initial_s, next_s, setup_fee: Nanos(fee) },
            code: "1415".parse().unwrap(),
            deck: 0,
            currency: Currency::USD,
            rounding: Rounding::default(),
        }
    }

    #[test]
    fn the_sum_is_written_out() {
        let side = rate_side(&rate(4_200_000, 6, 6, 0), "d@1".into(), 61_001).unwrap();
        assert_eq!(side.billable_s, 66);
        assert_eq!(side.charge, Nanos(4_620_000));
        assert_eq!(side.sum, "66 s × 0.0042 / 60 = 0.00462 USD");
        let side = rate_side(&rate(100_000_000, 60, 60, 5_000_000), "d@1".into(), 61_000).unwrap();
        assert_eq!(side.sum, "0.005 + 120 s × 0.1 / 60 = 0.205 USD");
    }

    #[test]
    fn increments_as_in_the_reference() {
        let b = |ms, a, n| billable_s(ms, Terms::of(a, n), PartialSecond::Up).unwrap();
        assert_eq!(b(0, 6, 6), 6);
        assert_eq!(b(1, 1, 1), 1);
        assert_eq!(b(6_000, 6, 6), 6);
        assert_eq!(b(6_001, 6, 6), 12);
        assert_eq!(b(60_001, 60, 6), 66);
        assert_eq!(b(59_000, 60, 60), 60);
        let half = |ms| billable_s(ms, Terms::of(1, 1), PartialSecond::HalfUp).unwrap();
        assert_eq!((half(1_499), half(1_500)), (1, 2));
        let down = |ms| billable_s(ms, Terms::of(1, 1), PartialSecond::Down).unwrap();
        assert_eq!((down(1_999), down(2_000), down(2_001)), (1, 2, 2));
    }

    #[test]
    fn what_is_bought_in_another_currency_is_rounded_up_to_the_nano_unit() {
        let one_and_a_half = Nanos(1_500_000_000);
        assert_eq!(exchanged(3, one_and_a_half), 5, "4.5");
        assert_eq!(exchanged(2, one_and_a_half), 3, "exact: nothing is added");
        assert_eq!((exchanged(1, Nanos(1)), exchanged(0, Nanos(1))), (1, 0));
        assert_eq!(exchanged(-3, one_and_a_half), -4, "what comes back is not more than it is");
    }

    #[test]
    fn a_contract_that_rounds_by_line_keeps_each_call_to_the_nano_unit() {
        let mut r = rate(12_345_678, 1, 1, 0);
        r.rounding = Rounding { places: 2, ..Rounding::default() };
        assert_eq!(charge(&r, 60), Ok(Nanos(10_000_000)), "each call, to the cent");
        r.rounding.level = RoundingLevel::Line;
        assert_eq!(charge(&r, 60), Ok(Nanos(12_345_678)));
        assert_eq!(charge(&r, 5), Ok(Nanos(1_028_807)), "1028806.5, by the contract's mode");
    }

    #[test]
    fn rounding_modes() {
        let r = |n, mode, places| round(n, 60, Rounding { mode, places, ..Rounding::default() }).unwrap().0;
        use RoundingMode::*;
        // 2.5 millionths.
        let x = 2_500 * 60;
        assert_eq!(r(x, HalfAwayFromZero, 6), 3_000);
        assert_eq!(r(-x, HalfAwayFromZero, 6), -3_000);
        assert_eq!(r(x, HalfEven, 6), 2_000);
        assert_eq!(r(x + 1, HalfEven, 6), 3_000);
        assert_eq!(r(x, Up, 6), 3_000);
        assert_eq!(r(x, Down, 6), 2_000);
        assert_eq!(r(1, Up, 9), 1);
        assert_eq!(r(x, HalfAwayFromZero, 2), 0);
    }

    #[test]
    fn t_sip_07_what_cannot_be_summed_is_an_error() {
        let r = rate(i64::MAX, 1, 1, i64::MAX);
        assert_eq!(charge(&r, u64::MAX), Err(RatingError::Overflow));
        assert_eq!(billable_s(1, Terms::of(0, 1), PartialSecond::Up), Err(RatingError::BadTerms));
    }

    proptest! {
        #[test]
        fn never_falls_with_time(
            per_min in 0i64..10_000_000_000, a in 1u32..3_600, b in 1u32..3_600,
            fee in 0i64..1_000_000_000, ms in 0u64..86_400_000, more in 0u64..86_400_000,
        ) {
            let r = rate(per_min, a, b, fee);
            let at = |ms| charge(&r, billable_s(ms, r.terms, PartialSecond::Up).unwrap()).unwrap();
            prop_assert!(at(ms) <= at(ms + more));
        }

        #[test]
        fn is_the_exact_rational_rounded(
            per_min in 0i64..100_000_000_000, fee in 0i64..100_000_000_000, s in 0u64..100_000, places in 0u8..=9,
        ) {
            let mut r = rate(per_min, 1, 1, fee);
            r.rounding.places = places;
            let got = i128::from(charge(&r, s).unwrap().0);
            let exact_x60 = i128::from(fee) * 60 + i128::from(per_min) * i128::from(s);
            let unit = 10i128.pow(9 - u32::from(places));
            // Off by at most half of the last place, and a multiple of it.
            prop_assert_eq!(got % unit, 0);
            prop_assert!((got * 60 - exact_x60).abs() * 2 <= unit * 60);
        }

        #[test]
        fn what_can_be_afforded_is_the_longest_that_the_money_pays(
            per_min in 0i64..10_000_000_000, a in 1u32..120, b in 1u32..120, fee in 0i64..1_000_000_000,
            ms in 0u64..400_000, most in 0i64..20_000_000_000,
        ) {
            let r = rate(per_min, a, b, fee);
            let cost = |s| charge(&r, s).unwrap();
            match affordable(&r, ms, Nanos(most)) {
                None => prop_assert!(cost(u64::from(a)) > Nanos(most)),
                Some((s, c)) => {
                    prop_assert_eq!(c, cost(s));
                    prop_assert!(c <= Nanos(most));
                    let whole = billable_s(ms, r.terms, PartialSecond::Up).unwrap();
                    prop_assert!(s == whole || (s < whole && cost(s + u64::from(b)) > Nanos(most)));
                    prop_assert_eq!(billable_s(s * 1_000, r.terms, PartialSecond::Up), Ok(s), "whole increments");
                }
            }
        }

        #[test]
        fn billable_is_minimal(ms in 0u64..100_000_000, a in 1u32..3_600, b in 1u32..3_600) {
            let s = billable_s(ms, Terms::of(a, b), PartialSecond::Up).unwrap();
            let (a, b) = (u64::from(a), u64::from(b));
            prop_assert!(s * 1_000 >= ms && s >= a && (s - a).is_multiple_of(b));
            prop_assert!(s == a || (s - b) * 1_000 < ms);
        }
    }
}
