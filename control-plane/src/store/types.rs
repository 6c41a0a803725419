//! Column types: how times, amounts and ids travel between rows and JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};
use sqlx::encode::IsNull;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type, ValueRef};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type as SchemaKind};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};
use warp_model::{Money, Wall};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A time: microseconds in the row (SQL `us(…)`), RFC 3339 UTC with milliseconds in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Wall);

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        <i64 as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Time {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxError> {
        <i64 as Decode<Postgres>>::decode(value).map(|us| Time(Wall(us)))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(d)?;
        parse_rfc3339(&text).map(Time).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

/// Of sealed bytes, whether they are there: the bytes themselves are not read with the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed(pub bool);

impl Type<Postgres> for Sealed {
    fn type_info() -> PgTypeInfo {
        <bool as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Sealed {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxError> {
        <bool as Decode<Postgres>>::decode(value).map(Sealed)
    }
}

/// What is written of sealed bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum SealedChange {
    /// They stay as they are.
    Keep,
    /// There are none any more.
    Forget,
    /// These, which are not empty: sealed bytes carry a nonce and a tag.
    Set(Vec<u8>),
}

impl Type<Postgres> for SealedChange {
    fn type_info() -> PgTypeInfo {
        <Vec<u8> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for SealedChange {
    fn encode_by_ref(&self, out: &mut PgArgumentBuffer) -> Result<IsNull, BoxError> {
        match self {
            Self::Keep => Ok(IsNull::Yes),
            Self::Forget => <&[u8] as Encode<Postgres>>::encode(b"".as_slice(), out),
            Self::Set(bytes) => <&[u8] as Encode<Postgres>>::encode(bytes, out),
        }
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(SchemaKind::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("A time by RFC 3339, in UTC with milliseconds."))
            .into()
    }
}

impl ToSchema for Time {}

/// An amount with its currency: text `NANOS CURRENCY` in the row (SQL `amount_text(…)`), `{"amount","currency"}` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(pub Money);

impl Type<Postgres> for Amount {
    fn type_info() -> PgTypeInfo {
        <String as Type<Postgres>>::type_info()
    }
    fn compatible(ty: &PgTypeInfo) -> bool {
        <String as Type<Postgres>>::compatible(ty)
    }
}

impl<'r> Decode<'r, Postgres> for Amount {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxError> {
        let text = <&str as Decode<Postgres>>::decode(value)?;
        let (nanos, currency) = text.split_once(' ').ok_or("not an amount")?;
        Ok(Amount(warp_model::Nanos(nanos.parse()?).of(currency.parse()?)))
    }
}

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        let text = |pattern: &str, example: &str| {
            ObjectBuilder::new()
                .schema_type(SchemaType::Type(SchemaKind::String))
                .pattern(Some(pattern))
                .examples([serde_json::Value::from(example)])
        };
        ObjectBuilder::new()
            .property(
                "amount",
                text(r"^-?[0-9]+(\.[0-9]{1,9})?$", "0.0042")
                    .description(Some("An exact decimal of at most nine places.")),
            )
            .property("currency", text("^[A-Z]{3}$", "USD").description(Some("The ISO 4217 currency.")))
            .required("amount")
            .required("currency")
            .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::<Schema>::FreeForm(
                false,
            )))
            .description(Some("An amount: an exact decimal and its ISO 4217 currency."))
            .into()
    }
}

impl ToSchema for Amount {
    fn name() -> Cow<'static, str> {
        "Money".into()
    }
}

/// Free JSON of a `jsonb` column, or of a `bytea` one that holds a packed record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(pub serde_json::Value);

impl Type<Postgres> for Json {
    fn type_info() -> PgTypeInfo {
        <serde_json::Value as Type<Postgres>>::type_info()
    }
    fn compatible(ty: &PgTypeInfo) -> bool {
        <serde_json::Value as Type<Postgres>>::compatible(ty) || is_bytes(ty)
    }
}

fn is_bytes(ty: &PgTypeInfo) -> bool {
    <Vec<u8> as Type<Postgres>>::compatible(ty)
}

impl<'r> Decode<'r, Postgres> for Json {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxError> {
        if is_bytes(&value.type_info()) {
            let packed = <&[u8] as Decode<Postgres>>::decode(value)?;
            let json = warp_events::record::unpack(packed)?;
            return Ok(Json(serde_json::from_slice(&json)?));
        }
        <serde_json::Value as Decode<Postgres>>::decode(value).map(Json)
    }
}

impl PartialSchema for Json {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::Type(SchemaKind::Object)).into()
    }
}

impl ToSchema for Json {}

/// A row: each field is the column of the same name, and means what the migration and the view of that noun say; a comment stands
/// only where the row means something else. What is answered is another type ([`crate::view!`]).
#[macro_export]
macro_rules! row {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name { $($(#[$fmeta])* pub(crate) $field: $ty,)* }

        impl $crate::store::FromRow for $name {
            fn from_row(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
                use sqlx::Row as _;
                Ok(Self { $($field: row.try_get(stringify!($field))?,)* })
            }
        }
    };
}

/// Reads `2026-11-22T13:14:45[.fraction](Z|±hh:mm)`; `None` for anything else. Of a fraction the first six places count.
pub fn parse_rfc3339(text: &str) -> Option<Wall> {
    let b = text.as_bytes();
    let digits = |from: usize, to: usize| -> Option<i64> {
        let part = b.get(from..to)?;
        part.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(part).ok()?.parse().ok())?
    };
    let is = |i: usize, set: &[u8]| b.get(i).is_some_and(|c| set.contains(c));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let month_days = [
        31,
        if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let days_in_month = *month_days.get(usize::try_from(month - 1).ok()?)?;
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let n = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if n == 0 {
            return None;
        }
        let (places, after) = fraction.split_at(n);
        micros = format!("{places:0<6}").get(..6)?.parse::<i64>().ok()?;
        rest = after;
    }
    let offset_minutes = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (h, m) = rest.get(1..)?.split_once(':')?;
            let two = |t: &str| {
                (t.len() == 2 && t.bytes().all(|c| c.is_ascii_digit())).then(|| t.parse::<i64>().ok())?
            };
            let (h, m) = (two(h)?, two(m)?);
            if h > 23 || m > 59 {
                return None;
            }
            sign * (h * 60 + m)
        }
    };
    // Days from civil (proleptic Gregorian), 0 = 1970-01-01.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset_minutes * 60;
    Some(Wall(seconds * 1_000_000 + micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_round_trip(ms in 0i64..4_102_444_800_000) {
            let wall = Wall::from_unix_ms(ms);
            prop_assert_eq!(parse_rfc3339(&wall.to_string()), Some(wall));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = parse_rfc3339(&text);
        }
    }

    #[test]
    fn offsets_and_wrong_dates() {
        assert_eq!(parse_rfc3339("2026-11-22T14:14:45+01:00"), parse_rfc3339("2026-11-22T13:14:45Z"));
        for wrong in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "",
        ] {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }
}
