//! Public ids: a prefix and a UUIDv7 in base32 (PRODUCT §6), for example `trk_01jd7f…` (26 characters after the prefix).
//!
//! Text order equals time order. The alphabet is Crockford's, lower case; reading is strict (no aliases, no upper case),
//! so that one id has one spelling and can be a text key in stores and URLs.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::ToJson;
use crate::now::Wall;
use crate::text::ShortText;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What an id names; gives the prefix.
pub trait Kind {
    /// Without the underscore, for example `trk`.
    const PREFIX: &'static str;
}

/// An id of kind `K`: 128 bits, UUIDv7 layout (RFC 9562 §5.7).
pub struct Id<K> {
    raw: u128,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Id<K> {
    /// From the wall clock and 128 random bits, of which 74 are used (RFC 9562 §5.7).
    pub fn new(at: Wall, random: u128) -> Self {
        let ms = (at.unix_ms().max(0) as u128) & 0xFFFF_FFFF_FFFF;
        let rand_a = (random >> 64) & 0xFFF;
        let rand_b = random & 0x3FFF_FFFF_FFFF_FFFF;
        Self::from_u128((ms << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b)
    }

    /// From all 128 bits.
    pub const fn from_u128(raw: u128) -> Self {
        Self { raw, kind: PhantomData }
    }

    /// All 128 bits of the UUID.
    pub const fn as_u128(self) -> u128 {
        self.raw
    }

    /// The prefix of its kind and 26 digits of base 32, as it is written everywhere.
    pub fn text(self) -> ShortText {
        let mut text = ShortText::default();
        text.push(K::PREFIX.as_bytes());
        text.push(b"_");
        text.push(&self.digits());
        text
    }

    fn digits(self) -> [u8; 26] {
        let mut out = [0u8; 26];
        let mut slots = out.iter_mut().rev();
        // Twelve digits are 60 bits: one register instead of two for each shift.
        for (digits, bits) in [(12, self.raw), (12, self.raw >> 60), (2, self.raw >> 120)] {
            let mut rest = bits as u64;
            for slot in slots.by_ref().take(digits) {
                *slot = ALPHABET[(rest & 31) as usize];
                rest >>= 5;
            }
        }
        out
    }

    /// When it was made, to the millisecond.
    pub fn made_at(self) -> Wall {
        Wall::from_unix_ms((self.raw >> 80) as i64)
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdError {
    /// The prefix that was wanted.
    pub wanted: &'static str,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an id of the form {}_…", self.wanted)
    }
}

impl std::error::Error for IdError {}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let wrong = IdError { wanted: K::PREFIX };
        let (prefix, text) = s.split_once('_').ok_or(wrong)?;
        if prefix != K::PREFIX || text.len() != 26 {
            return Err(wrong);
        }
        let mut raw: u128 = 0;
        for (i, c) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|a| *a == c).ok_or(wrong)? as u128;
            // 26 × 5 = 130 bits: the first digit carries only three.
            if i == 0 && digit > 7 {
                return Err(wrong);
            }
            raw = (raw << 5) | digit;
        }
        Ok(Self::from_u128(raw))
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.raw.cmp(&other.raw)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw.hash(state);
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.text().as_str())
    }
}

impl<K: Kind> ToJson for Id<K> {
    fn to_json(&self, out: &mut Vec<u8>) {
        // Some twenty stand in each call record: straight into it.
        out.push(b'"');
        out.extend_from_slice(K::PREFIX.as_bytes());
        out.push(b'_');
        out.extend_from_slice(&self.digits());
        out.push(b'"');
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $alias:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind {}
        impl Kind for $kind {
            const PREFIX: &'static str = $prefix;
        }
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

kinds! {
    /// A customer (legal entity, tenant).
    CustomerKind, CustomerId, "cus";
    /// A customer's trunk.
    TrunkKind, TrunkId, "trk";
    /// A vendor, from whom we buy.
    VendorKind, VendorId, "vnd";
    /// A vendor's trunk.
    VendorTrunkKind, VendorTrunkId, "vtk";
    /// A call: also its `cdr_id`.
    CallKind, CallId, "call";
    /// A short message, either way.
    MessageKind, MessageId, "msg";
    /// A number of the inventory, which customers are called at.
    NumberKind, NumberId, "num";
    /// A rate deck (all its versions).
    DeckKind, DeckId, "deck";
    /// An API key.
    KeyKind, KeyId, "key";
    /// An API request.
    RequestKind, RequestId, "req";
    /// An event in the event log.
    EventKind, EventId, "evt";
    /// A job.
    JobKind, JobId, "job";
    /// A billing account number.
    BanKind, BanId, "ban";
    /// A posting of the ledger.
    PostingKind, PostingId, "pst";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_round_trip(raw in any::<u128>()) {
            let id = TrunkId::from_u128(raw);
            prop_assert_eq!(id.to_string().parse::<TrunkId>(), Ok(id));
        }

        #[test]
        fn text_order_is_number_order(a in any::<u128>(), b in any::<u128>()) {
            let (x, y) = (CallId::from_u128(a), CallId::from_u128(b));
            prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<CustomerId>();
        }
    }

    #[test]
    fn uuid_v7_layout() {
        let id = CallId::new(Wall::from_unix_ms(1_700_000_000_123), u128::MAX);
        assert_eq!((id.as_u128() >> 76) & 0xF, 7);
        assert_eq!((id.as_u128() >> 62) & 0b11, 0b10);
        assert_eq!(id.made_at(), Wall::from_unix_ms(1_700_000_000_123));
    }

    #[test]
    fn wrong_kind_is_refused() {
        let id = CallId::from_u128(7);
        assert!(id.to_string().parse::<TrunkId>().is_err());
        assert!("call_zzzzzzzzzzzzzzzzzzzzzzzzzz".parse::<CallId>().is_err());
    }
}
