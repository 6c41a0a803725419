//! Money as `i64` nano-units (10⁻⁹) with a currency. No float comes near it; the lint below keeps it so.
#![deny(clippy::float_arithmetic, clippy::float_cmp)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::{ToJson, word};
use crate::text::ShortText;

/// Nano-units per unit of currency.
pub const NANOS_PER_UNIT: i64 = 1_000_000_000;

/// An amount in nano-units, without its currency: rates and sums inside one currency.
/// Text form: a decimal with up to 9 places, no exponent, no thousands separator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i64);

/// ISO 4217 code, for example `USD`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// An amount with its currency. Amounts of different currencies cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// How much, in nano-units (10⁻⁹) of the currency.
    pub amount: Nanos,
    /// The currency of the amount, by ISO 4217.
    pub currency: Currency,
}

/// Why a text is not money, or a sum cannot be formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyError {
    /// Not a plain decimal number.
    NotDecimal,
    /// More than nine places after the point.
    TooManyPlaces,
    /// Outside ±9.2 billion units.
    OutOfRange,
    /// Two currencies in one sum.
    CurrencyMismatch,
    /// Not three capital letters.
    BadCurrency,
}

impl fmt::Display for MoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDecimal => "not a decimal number",
            Self::TooManyPlaces => "more than 9 decimal places",
            Self::OutOfRange => "out of range",
            Self::CurrencyMismatch => "currencies differ",
            Self::BadCurrency => "not an ISO 4217 currency code",
        })
    }
}

impl std::error::Error for MoneyError {}

impl Nanos {
    /// No money at all.
    pub const ZERO: Nanos = Nanos(0);

    /// Sum, or `None` when it overflows.
    pub fn checked_add(self, other: Nanos) -> Option<Nanos> {
        self.0.checked_add(other.0).map(Nanos)
    }

    /// Difference, or `None` when it overflows.
    pub fn checked_sub(self, other: Nanos) -> Option<Nanos> {
        self.0.checked_sub(other.0).map(Nanos)
    }

    /// In whole units, with as many decimal places as there are and no other: `0.0079`, `-12`, `3`.
    pub fn text(self) -> ShortText {
        let abs = self.0.unsigned_abs();
        let (whole, places) = (abs / 1_000_000_000, abs % 1_000_000_000);
        let mut text = ShortText::default();
        if self.0 < 0 {
            text.push(b"-");
        }
        text.push_number(whole, 1);
        if places > 0 {
            // Prices have few places: their zeros go three at a time before they become digits.
            let (mut places, mut width) = (places, 9);
            while places % 1_000 == 0 {
                (places, width) = (places / 1_000, width - 3);
            }
            text.push(b".");
            text.push_number(places, width);
            text.trim_end(b'0');
        }
        text
    }

    /// The same amount as [`Money`] of a currency.
    pub fn of(self, currency: Currency) -> Money {
        Money { amount: self, currency }
    }
}

impl FromStr for Nanos {
    type Err = MoneyError;

    fn from_str(s: &str) -> Result<Self, MoneyError> {
        let (negative, digits) = match s.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, s),
        };
        let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && places.is_empty())
            || !plain(whole)
            || !plain(places)
            || (digits.contains('.') && places.is_empty())
        {
            return Err(MoneyError::NotDecimal);
        }
        if places.len() > 9 {
            return Err(MoneyError::TooManyPlaces);
        }
        let mut value: i128 = 0;
        for b in whole.bytes() {
            value = value
                .checked_mul(10)
                .and_then(|v| v.checked_add(i128::from(b - b'0')))
                .ok_or(MoneyError::OutOfRange)?;
        }
        let padding = (0..9 - places.len()).map(|_| b'0');
        for b in places.bytes().chain(padding) {
            value = value
                .checked_mul(10)
                .and_then(|v| v.checked_add(i128::from(b - b'0')))
                .ok_or(MoneyError::OutOfRange)?;
        }
        i64::try_from(if negative { -value } else { value }).map(Nanos).map_err(|_| MoneyError::OutOfRange)
    }
}

/// The shortest exact decimal: `0.0042`, `-1.5`, `3`.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.text().as_str())
    }
}

impl ToJson for Nanos {
    fn to_json(&self, out: &mut Vec<u8>) {
        word(self.text(), out);
    }
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Currency {
    /// The US dollar, the default currency.
    pub const USD: Currency = Currency(*b"USD");
    /// The codes that [`Currency::is_iso_4217`] knows, sorted.
    pub const IN_USE: &'static [&'static str] = ISO_4217;

    /// The three letters of ISO 4217.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// Whether ISO 4217 lists it as money that is in use (list one as of November 2026, without metals, units of account, test
    /// codes and "no currency"). Three capital letters alone may be a slip of the pen.
    pub fn is_iso_4217(&self) -> bool {
        ISO_4217.binary_search(&self.as_str()).is_ok()
    }
}

/// Codes of money in use, sorted.
const ISO_4217: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BHD", "BIF", "BMD",
    "BND", "BOB", "BOV", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHE", "CHF", "CHW", "CLF",
    "CLP", "CNY", "COP", "COU", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB",
    "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF",
    "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW",
    "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT",
    "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD",
    "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD",
    "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS",
    "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "USN", "UYI", "UYU", "UYW", "UZS",
    "VED", "VES", "VND", "VUV", "WST", "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
];

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(s: &str) -> Result<Self, MoneyError> {
        match s.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|x| x.is_ascii_uppercase()) => Ok(Currency([*a, *b, *c])),
            _ => Err(MoneyError::BadCurrency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl ToJson for Currency {
    fn to_json(&self, out: &mut Vec<u8>) {
        word(self.as_str(), out);
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Money {
    /// Sum of two amounts in one currency.
    pub fn checked_add(self, other: Money) -> Result<Money, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch);
        }
        self.amount.checked_add(other.amount).map(|a| a.of(self.currency)).ok_or(MoneyError::OutOfRange)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoneyText {
    amount: Nanos,
    currency: Currency,
}

/// Amount and currency as text: `{"amount":"0.0042","currency":"USD"}` (PRODUCT §6).
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        MoneyText { amount: self.amount, currency: self.currency }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let MoneyText { amount, currency } = MoneyText::deserialize(d)?;
        Ok(Money { amount, currency })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_money_in_use_is_iso_4217() {
        assert!(ISO_4217.is_sorted());
        for code in ["USD", "EUR", "GBP", "XOF", "AED", "ZWG"] {
            assert!(code.parse::<Currency>().unwrap().is_iso_4217(), "{code}");
        }
        for code in ["XXX", "XTS", "XAU", "USX", "EUX", "AAA", "DEM", "BGN", "HRK"] {
            assert!(!code.parse::<Currency>().unwrap().is_iso_4217(), "{code}");
        }
    }

    proptest! {
        #[test]
        fn nanos_round_trip(n in any::<i64>()) {
            prop_assert_eq!(Nanos(n).to_string().parse::<Nanos>(), Ok(Nanos(n)));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Nanos>();
        }
    }

    #[test]
    fn refusals_name_the_reason() {
        assert_eq!("1e3".parse::<Nanos>(), Err(MoneyError::NotDecimal));
        assert_eq!("1.".parse::<Nanos>(), Err(MoneyError::NotDecimal));
        assert_eq!("".parse::<Nanos>(), Err(MoneyError::NotDecimal));
        assert_eq!("0.0000000001".parse::<Nanos>(), Err(MoneyError::TooManyPlaces));
        assert_eq!("9300000000".parse::<Nanos>(), Err(MoneyError::OutOfRange));
        assert_eq!(".5".parse::<Nanos>(), Ok(Nanos(500_000_000)));
    }

    #[test]
    fn json_form() {
        let m = Nanos(4_200_000).of(Currency::USD);
        let text = serde_json::to_string(&m).unwrap();
        assert_eq!(text, r#"{"amount":"0.0042","currency":"USD"}"#);
        assert_eq!(serde_json::from_str::<Money>(&text).unwrap(), m);
    }

    #[test]
    fn currencies_do_not_mix() {
        let eur: Currency = "EUR".parse().unwrap();
        assert_eq!(
            Nanos(1).of(eur).checked_add(Nanos(1).of(Currency::USD)),
            Err(MoneyError::CurrencyMismatch)
        );
    }
}
