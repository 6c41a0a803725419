//! What one segment of a short message costs, by the digits with which its destination begins: the longest code that fits counts.
//!
//! A destination that no code fits has no price, and a message without a price is not carried (RFC 0037).

use std::collections::HashMap;

use warp_model::{Currency, Money, Nanos};

/// Prices of one seller or buyer, in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList {
    currency: Currency,
    by_code: HashMap<u64, Nanos>,
    /// Bit n: there is a code of n digits.
    lengths: u16,
}

/// Digits of the longest code: those of the longest number of E.164.
const DIGITS: usize = 15;

impl PriceList {
    /// A list of these prices of one segment. A code that is none (other characters, none at all, more than 15) prices nothing; of two
    /// prices for one code the last one counts.
    pub fn new<C: AsRef<str>>(currency: Currency, prices: impl IntoIterator<Item = (C, Nanos)>) -> PriceList {
        let mut list = PriceList { currency, by_code: HashMap::new(), lengths: 0 };
        for (code, price) in prices {
            let digits = code.as_ref().as_bytes();
            if let Some(key) = packed(digits).filter(|_| (1..=DIGITS).contains(&digits.len())) {
                list.by_code.insert(key, price);
                list.lengths |= 1 << digits.len();
            }
        }
        list
    }

    /// The currency of all its prices.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Whether it prices nothing.
    pub fn is_empty(&self) -> bool {
        self.by_code.is_empty()
    }

    /// What one segment to this destination costs, and how many of its digits decided that. The destination may have a plus.
    /// `None`: no code fits, or it is no number.
    pub fn of(&self, destination: &[u8]) -> Option<(usize, Money)> {
        let digits = destination.strip_prefix(b"+").unwrap_or(destination);
        if digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        (1..=digits.len()).rev().filter(|n| self.lengths & (1 << n) != 0).find_map(|n| {
            let amount = *self.by_code.get(&packed(digits.get(..n)?)?)?;
            Some((n, Money { amount, currency: self.currency }))
        })
    }
}

/// Digits as one number: a leading one, then four bits each.
fn packed(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(1u64, |number, digit| match digit.checked_sub(b'0') {
        Some(value @ 0..=9) => Some((number << 4) | u64::from(value)),
        _ => None,
    })
}

/// Whether what is bought for `buy` may be sold for `sell`: it costs no more, in the same currency. With `loss_ok` everything may.
pub fn is_within_margin(sell: Money, buy: Money, loss_ok: bool) -> bool {
    loss_ok || (sell.currency == buy.currency && buy.amount <= sell.amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(prices: &[(&str, i64)]) -> PriceList {
        PriceList::new(Currency::USD, prices.iter().map(|(code, n)| (*code, Nanos(*n))))
    }

    #[test]
    fn the_longest_code_counts_and_what_has_none_has_no_price() {
        let prices = list(&[("1", 10), ("1415", 20), ("14155550", 30), ("44", 40), ("", 50), ("x4", 60)]);
        let of = |to: &[u8]| prices.of(to).map(|(n, m)| (n, m.amount.0));
        assert_eq!(of(b"+14155550123"), Some((8, 30)));
        assert_eq!(of(b"14155560123"), Some((4, 20)));
        assert_eq!(of(b"12125550123"), Some((1, 10)));
        assert_eq!(of(b"447700900123"), Some((2, 40)));
        assert_eq!(of(b"14"), Some((1, 10)));
        for unpriced in [&b"3312345678"[..], b"", b"+", b"ACME", b"1415555012345678", b"1415-555"] {
            assert_eq!(of(unpriced), None, "{unpriced:?}");
        }
        assert!(list(&[]).is_empty() && !prices.is_empty());
        assert_eq!(list(&[("1", 1), ("1", 2)]).of(b"1").map(|(_, m)| m.amount.0), Some(2));
    }

    #[test]
    fn nothing_is_sold_below_its_cost_or_in_a_currency_that_cannot_be_compared() {
        let usd = |n| Money { amount: Nanos(n), currency: Currency::USD };
        let eur = |n| Money { amount: Nanos(n), currency: "EUR".parse().expect("a currency") };
        assert!(is_within_margin(usd(5), usd(5), false));
        assert!(!is_within_margin(usd(5), usd(6), false));
        assert!(!is_within_margin(usd(5), eur(1), false));
        assert!(is_within_margin(usd(5), eur(6), true));
    }
}
