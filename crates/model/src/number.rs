//! Phone numbers: E.164, at most 15 digits, country code first. Printed with `+`, masked in `Debug` (G-7, PII in logs).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::{ToJson, word};
use crate::text::ShortText;

/// An E.164 number: 3 to 15 digits that do not start with 0, kept as an integer (ITU-T E.164 §6.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E164(u64);

/// Why a text is not an E.164 number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// Something other than digits after an optional `+`.
    NotDigits,
    /// Fewer than 3 or more than 15 digits.
    Length,
    /// Starts with 0: no country code does.
    LeadingZero,
}

impl fmt::Display for NumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDigits => "a number has digits only, after an optional +",
            Self::Length => "an E.164 number has 3 to 15 digits",
            Self::LeadingZero => "an E.164 number starts with a country code, never with 0",
        })
    }
}

impl std::error::Error for NumberError {}

impl E164 {
    /// From digits, with or without `+`.
    pub fn parse(text: &[u8]) -> Result<E164, NumberError> {
        let digits = text.strip_prefix(b"+").unwrap_or(text);
        if !(3..=15).contains(&digits.len()) {
            return Err(NumberError::Length);
        }
        if digits.first() == Some(&b'0') {
            return Err(NumberError::LeadingZero);
        }
        let mut value: u64 = 0;
        for d in digits {
            if !d.is_ascii_digit() {
                return Err(NumberError::NotDigits);
            }
            value = value * 10 + u64::from(d - b'0'); // 15 digits < 2^50
        }
        Ok(E164(value))
    }

    /// From the digits as a number, when it has 3 to 15 of them.
    pub fn from_value(value: u64) -> Option<E164> {
        (100..1_000_000_000_000_000).contains(&value).then_some(E164(value))
    }

    /// A plus and the digits, as it is written everywhere.
    pub fn text(self) -> ShortText {
        let mut text = ShortText::default();
        text.push(b"+");
        text.push_number(self.0, 1);
        text
    }

    /// The digits as a number: `+14155550123` is 14155550123.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// How many digits it has.
    pub fn len(self) -> usize {
        self.0.checked_ilog10().unwrap_or(0) as usize + 1
    }

    /// Never true: a number has at least three digits.
    pub fn is_empty(self) -> bool {
        false
    }

    /// The ten national digits of an 11-digit number of country code 1, else `None`.
    pub fn nanp(self) -> Option<u64> {
        (10_000_000_000..20_000_000_000).contains(&self.0).then(|| self.0 - 10_000_000_000)
    }

    /// The first six national digits of a NANP number (0 to 999,999), else `None`.
    pub fn npanxx(self) -> Option<u32> {
        self.nanp().map(|n| (n / 10_000) as u32)
    }
}

impl FromStr for E164 {
    type Err = NumberError;
    fn from_str(s: &str) -> Result<Self, NumberError> {
        E164::parse(s.as_bytes())
    }
}

/// Written with a leading `+` (ITU-T E.123).
impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// Masked: the last four digits are hidden, because `Debug` ends up in logs.
impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let kept = text.len().saturating_sub(4);
        write!(f, "+{}****", text.get(..kept).unwrap_or(""))
    }
}

impl Serialize for E164 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.text().as_str())
    }
}

impl ToJson for E164 {
    fn to_json(&self, out: &mut Vec<u8>) {
        word(self.text(), out);
    }
}

impl<'de> Deserialize<'de> for E164 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        let n: E164 = "+14155550123".parse().unwrap();
        assert_eq!(n.to_string(), "+14155550123");
        assert_eq!(format!("{n:?}"), "+1415555****");
        assert_eq!(n.npanxx(), Some(415_555));
        assert_eq!(n.len(), 11);
        assert_eq!("442071234567".parse::<E164>().unwrap().npanxx(), None);
    }

    #[test]
    fn refuses() {
        assert_eq!("+1415x".parse::<E164>(), Err(NumberError::NotDigits));
        assert_eq!("0044".parse::<E164>(), Err(NumberError::LeadingZero));
        assert_eq!("1234567890123456".parse::<E164>(), Err(NumberError::Length));
        assert_eq!("".parse::<E164>(), Err(NumberError::Length));
    }
}
