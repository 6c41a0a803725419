//! A dial code: the prefix of E.164 numbers that a rate applies to.
//!
//! Packed so that plain integer order is the order of a dictionary: a code sorts right before everything below it, and all
//! codes below one code are neighbours. The LCR index rests on that.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use warp_model::E164;
use warp_model::text::ShortText;

/// 1 to 15 digits, first one not 0, packed: digits aligned to 15 places, then the length in the low four bits.
/// Codes of the North American plan always carry their leading 1.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u64);

/// Why a text is no dial code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// Something other than digits.
    NotDigits,
    /// None, or more than 15.
    Length,
    /// The code starts with 0, as no E.164 number does.
    LeadingZero,
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDigits => "a dial code has digits only",
            Self::Length => "a dial code has 1 to 15 digits",
            Self::LeadingZero => "a dial code never starts with 0",
        })
    }
}

impl std::error::Error for CodeError {}

impl Code {
    /// From 1 to 15 digits. Errors: none, more, or something else than digits.
    pub fn parse(text: &[u8]) -> Result<Code, CodeError> {
        if text.is_empty() || text.len() > 15 {
            return Err(CodeError::Length);
        }
        if text.first() == Some(&b'0') {
            return Err(CodeError::LeadingZero);
        }
        let mut value = 0u64;
        for d in text {
            if !d.is_ascii_digit() {
                return Err(CodeError::NotDigits);
            }
            value = value * 10 + u64::from(d - b'0');
        }
        Ok(Code::of(value, text.len()))
    }

    /// From the digits as a number and how many there are (1 to 15; clamped).
    pub fn of(value: u64, len: usize) -> Code {
        let len = len.clamp(1, 15);
        Code((value.saturating_mul(pow10(15 - len)) << 4) | len as u64)
    }

    /// The six or seven digits that select a NANP exchange, with the leading 1: `1415555`.
    pub fn npanxx(npanxx: u32) -> Code {
        Code::of(1_000_000 + u64::from(npanxx), 7)
    }

    /// All digits of a number.
    pub fn whole(number: E164) -> Code {
        Code::of(number.as_u64(), number.len())
    }

    /// How many digits the code has, 1 to 15.
    pub fn len(self) -> usize {
        (self.0 & 15) as usize
    }

    /// True for the default value only, which is no code.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The digits as a number.
    pub fn value(self) -> u64 {
        self.aligned() / pow10(15 - self.len().min(15))
    }

    /// The digits followed by zeros up to 15 places.
    pub fn aligned(self) -> u64 {
        self.0 >> 4
    }

    /// True when `other` starts with this code (or is it).
    pub fn covers(self, other: Code) -> bool {
        let len = self.len();
        len != 0
            && len <= other.len()
            && other.aligned() / pow10(15 - len) == self.aligned() / pow10(15 - len)
    }

    /// The first `len` digits.
    pub fn head(self, len: usize) -> Code {
        let len = len.clamp(1, self.len().max(1));
        Code::of(self.aligned() / pow10(15 - len), len)
    }

    /// The packed form; integer order is dictionary order.
    pub fn packed(self) -> u64 {
        self.0
    }

    /// From the packed form, when it is one.
    pub fn from_packed(raw: u64) -> Option<Code> {
        let code = Code(raw);
        let len = code.len();
        let fits = code.aligned() < pow10(15) && code.aligned() >= pow10(14);
        (len != 0 && fits && code.aligned().is_multiple_of(pow10(15 - len))).then_some(code)
    }

    /// For a NANP code with at least an area code: the area code.
    pub fn npa(self) -> Option<u16> {
        (self.len() >= 4 && self.aligned() / pow10(14) == 1)
            .then(|| (self.aligned() / pow10(11) % 1_000) as u16)
    }

    /// For a NANP code with at least an exchange: area code and exchange.
    pub fn npanxx_part(self) -> Option<u32> {
        (self.len() >= 7 && self.aligned() / pow10(14) == 1)
            .then(|| (self.aligned() / pow10(8) % 1_000_000) as u32)
    }
}

/// 10^n for n ≤ 15.
pub(crate) fn pow10(n: usize) -> u64 {
    const POW: [u64; 16] = [
        1,
        10,
        100,
        1_000,
        10_000,
        100_000,
        1_000_000,
        10_000_000,
        100_000_000,
        1_000_000_000,
        10_000_000_000,
        100_000_000_000,
        1_000_000_000_000,
        10_000_000_000_000,
        100_000_000_000_000,
        1_000_000_000_000_000,
    ];
    POW.get(n).copied().unwrap_or(1)
}

impl FromStr for Code {
    type Err = CodeError;
    fn from_str(s: &str) -> Result<Self, CodeError> {
        Code::parse(s.as_bytes())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        let mut text = ShortText::default();
        text.push_number(self.value(), 1);
        f.write_str(text.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_is_dictionary_order(a in "[1-9][0-9]{0,14}", b in "[1-9][0-9]{0,14}") {
            let (x, y): (Code, Code) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.covers(y), b.starts_with(&a));
            prop_assert_eq!(x.to_string(), a);
            prop_assert_eq!(Code::from_packed(x.packed()), Some(x));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,24}") {
            let _ = text.parse::<Code>();
        }
    }

    #[test]
    fn parts() {
        let c: Code = "14155551".parse().unwrap();
        assert_eq!(c.npa(), Some(415));
        assert_eq!(c.npanxx_part(), Some(415_555));
        assert_eq!(c.head(4).to_string(), "1415");
        assert_eq!(Code::npanxx(415_555).to_string(), "1415555");
        assert_eq!("4420".parse::<Code>().unwrap().npa(), None);
    }
}
