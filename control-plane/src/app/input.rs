//! What a use case takes: values that check themselves, every problem reported at once (UX §8).
//!
//! [`input!`](crate::input) declares one once: its fields are types that read themselves from JSON, and the same declaration
//! is the published schema. An unknown field is a problem, not ignored.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value};
use utoipa::PartialSchema;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::{
    AdditionalProperties, AllOfBuilder, ArrayBuilder, ObjectBuilder, SchemaType, Type as Kind,
};
use utoipa::openapi::{RefOr, Schema};
use warp_model::id::Kind as IdKind;
use warp_model::{Currency, Id};

use super::fault::{Fault, Kind as FaultKind, Problem};
use super::forms;
use crate::store::types::{Amount, Time, parse_rfc3339};

/// RFC 7396 merge of `patch` into `target`, for PATCH.
pub fn merge_patch(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = Value::Object(Map::new());
            }
            if let Value::Object(map) = target {
                for (key, value) in fields {
                    if value.is_null() {
                        map.remove(key);
                    } else {
                        merge_patch(map.entry(key.clone()).or_insert(Value::Null), value);
                    }
                }
            }
        }
        other => *target = other.clone(),
    }
}

/// A type that reads itself from JSON and says what is wrong with it.
pub trait Field: Sized {
    /// `None` when the key is absent. Problems are added with `path` as their field.
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self>;
    /// The schema that is published for it.
    fn field_schema() -> RefOr<Schema>;
    /// Whether the key must be there.
    fn required() -> bool {
        true
    }
}

/// A whole body; made by [`input!`](crate::input).
pub trait Input: Sized {
    /// Names of its fields.
    const FIELDS: &'static [&'static str];
    /// All field problems, or the value.
    fn from_json(value: &Value) -> Result<Self, Fault>;
}

/// Reads an object that is a field of another one; its problems have the path of that field before their own.
pub fn nested<T: Input>(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Option<T> {
    match T::from_json(value) {
        Ok(v) => Some(v),
        Err(e) if e.details.is_empty() => {
            problems.push(Problem::new(path, "wrong_type", "must be an object"));
            None
        }
        Err(e) => {
            let inner = e.details.into_iter();
            problems.extend(inner.map(|p| Problem { field: format!("{path}.{}", p.field), ..p }));
            None
        }
    }
}

/// Declares a request body: a struct whose fields are [`Field`]s.
#[macro_export]
macro_rules! input {
    ($(#[doc = $top:literal])* pub struct $name:ident { $($(#[doc = $doc:literal])* pub $field:ident: $ty:ty,)* }) => {
        $(#[doc = $top])*
        #[derive(Clone, Debug)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $ty,)* }

        impl $crate::app::input::Input for $name {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
            fn from_json(value: &serde_json::Value) -> Result<Self, $crate::app::fault::Fault> {
                let mut problems = Vec::new();
                let map = $crate::app::input::object(value)?;
                $(let $field = <$ty as $crate::app::input::Field>::read(map.get(stringify!($field)), stringify!($field), &mut problems);)*
                $crate::app::input::unknown(map, Self::FIELDS, &mut problems);
                match ($($field,)*) {
                    ($(Some($field),)*) if problems.is_empty() => Ok(Self { $($field,)* }),
                    _ => Err($crate::app::fault::Fault::fields(problems)),
                }
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let mut object = utoipa::openapi::schema::ObjectBuilder::new()
                    .description(Some(concat!($($top),*).trim_ascii()))
                    .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::<utoipa::openapi::Schema>::FreeForm(false)));
                $(
                    object = object.property(stringify!($field), $crate::app::input::described(
                        <$ty as $crate::app::input::Field>::field_schema(), concat!($($doc),*).trim_ascii()));
                    if <$ty as $crate::app::input::Field>::required() {
                        object = object.required(stringify!($field));
                    }
                )*
                object.into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

/// The body as an object.
pub fn object(value: &Value) -> Result<&Map<String, Value>, Fault> {
    value.as_object().ok_or_else(|| Fault::new(FaultKind::ValidationFailed, "the body must be a JSON object"))
}

/// Adds a problem for each key that is not a field; at most 20 of them.
pub fn unknown(map: &Map<String, Value>, fields: &[&str], problems: &mut Vec<Problem>) {
    for key in map.keys().filter(|k| !fields.contains(&k.as_str())).take(20) {
        let shown: String = key.chars().take(64).collect();
        problems.push(Problem::new(shown, "unknown_field", "there is no such field"));
    }
}

/// The schema with a description.
pub fn described(schema: RefOr<Schema>, text: &str) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut o)) => {
            o.description = Some(text.to_owned());
            RefOr::T(Schema::Object(o))
        }
        RefOr::T(Schema::Array(mut a)) => {
            a.description = Some(text.to_owned());
            RefOr::T(Schema::Array(a))
        }
        RefOr::T(Schema::OneOf(mut o)) => {
            o.description = Some(text.to_owned());
            RefOr::T(Schema::OneOf(o))
        }
        RefOr::T(Schema::AllOf(mut o)) => {
            o.description = Some(text.to_owned());
            RefOr::T(Schema::AllOf(o))
        }
        // What stands beside a reference is ignored by 3.0.3.
        RefOr::Ref(r) => RefOr::T(Schema::AllOf(AllOfBuilder::new().item(r).description(Some(text)).build())),
        other => other,
    }
}

fn missing<T>(path: &str, problems: &mut Vec<Problem>) -> Option<T> {
    problems.push(Problem::new(path, "required", "this field is required"));
    None
}

fn wrong<T>(
    path: &str,
    code: &'static str,
    message: impl Into<String>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    problems.push(Problem::new(path, code, message));
    None
}

fn text<'v>(value: Option<&'v Value>, path: &str, problems: &mut Vec<Problem>) -> Option<&'v str> {
    match value {
        None | Some(Value::Null) => missing(path, problems),
        Some(Value::String(s)) => Some(s),
        Some(_) => wrong(path, "wrong_type", "must be a string", problems),
    }
}

fn string_schema() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Kind::String))
}

/// Text of MIN to MAX characters, without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<const MIN: usize, const MAX: usize>(pub String);

impl<const MIN: usize, const MAX: usize> Field for Text<MIN, MAX> {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let s = of_length(text(value, path, problems)?, MIN, MAX, path, problems)?;
        if s.chars().any(char::is_control) {
            return wrong(path, "invalid", "must not contain control characters", problems);
        }
        if MIN > 0 && !forms::is_visible(s) {
            return wrong(path, "invalid", "must not be blank", problems);
        }
        Some(Self(s.to_owned()))
    }
    fn field_schema() -> RefOr<Schema> {
        let pattern = if MIN > 0 { forms::VISIBLE } else { forms::PLAIN };
        string_schema().min_length(Some(MIN)).max_length(Some(MAX)).pattern(Some(pattern)).into()
    }
}

/// A whole number of MIN to MAX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int<const MIN: i64, const MAX: i64>(pub i64);

impl<const MIN: i64, const MAX: i64> Int<MIN, MAX> {
    /// For an `integer` column; the bounds of all our fields fit.
    pub fn as_i32(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }
}

impl<const MIN: i64, const MAX: i64> Field for Int<MIN, MAX> {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let n = match value {
            None | Some(Value::Null) => return missing(path, problems),
            Some(Value::Number(n)) if !n.is_f64() => n.as_i64(),
            Some(_) => return wrong(path, "wrong_type", "must be a whole number", problems),
        };
        match n {
            Some(n) if (MIN..=MAX).contains(&n) => Some(Self(n)),
            _ => wrong(path, "out_of_range", format!("must be {MIN} to {MAX}"), problems),
        }
    }
    fn field_schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Kind::Integer))
            .minimum(Some(MIN))
            .maximum(Some(MAX))
            .into()
    }
}

impl Field for bool {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        match value {
            None | Some(Value::Null) => missing(path, problems),
            Some(Value::Bool(b)) => Some(*b),
            Some(_) => wrong(path, "wrong_type", "must be true or false", problems),
        }
    }
    fn field_schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::Type(Kind::Boolean)).into()
    }
}

impl<T: Field> Field for Option<T> {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        match value {
            None | Some(Value::Null) => Some(None),
            some => T::read(some, path, problems).map(Some),
        }
    }
    fn field_schema() -> RefOr<Schema> {
        match T::field_schema() {
            RefOr::T(Schema::Object(mut o)) => {
                if let SchemaType::Type(kind) = o.schema_type.clone() {
                    o.schema_type = SchemaType::Array(vec![kind, Kind::Null]);
                }
                // Without null in its list an enum refuses it, nullable or not.
                if let Some(values) = &mut o.enum_values {
                    values.push(Value::Null);
                }
                RefOr::T(Schema::Object(o))
            }
            RefOr::T(Schema::Array(mut a)) => {
                a.schema_type = SchemaType::Array(vec![Kind::Array, Kind::Null]);
                RefOr::T(Schema::Array(a))
            }
            other => other,
        }
    }
    fn required() -> bool {
        false
    }
}

/// MIN to MAX items; absent means empty. Null is no list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize, const MIN: usize = 0>(pub Vec<T>);

impl<T: Field, const MAX: usize, const MIN: usize> Field for List<T, MAX, MIN> {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let items = match value {
            None if MIN == 0 => return Some(Self(Vec::new())),
            None => return missing(path, problems),
            Some(Value::Array(items)) => items,
            Some(_) => return wrong(path, "wrong_type", "must be a list", problems),
        };
        if items.len() < MIN {
            return wrong(path, "out_of_range", format!("must have at least {MIN} items"), problems);
        }
        if items.len() > MAX {
            return wrong(path, "out_of_range", format!("must have at most {MAX} items"), problems);
        }
        let read: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(i, item)| T::read(Some(item), &format!("{path}[{i}]"), problems))
            .collect();
        read.into_iter().collect::<Option<Vec<T>>>().map(Self)
    }
    fn field_schema() -> RefOr<Schema> {
        let list = ArrayBuilder::new().items(T::field_schema()).max_items(Some(MAX));
        if MIN > 0 { list.min_items(Some(MIN)).into() } else { list.into() }
    }
    fn required() -> bool {
        MIN > 0
    }
}

/// An id of one kind.
pub struct Ref<K>(pub Id<K>);

impl<K: IdKind> fmt::Debug for Ref<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<K> Clone for Ref<K> {
    fn clone(&self) -> Self {
        Ref(self.0)
    }
}

impl<K: IdKind> Field for Ref<K> {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        match text(value, path, problems)?.parse::<Id<K>>() {
            Ok(id) => Some(Self(id)),
            Err(e) => wrong(path, "invalid", e.to_string(), problems),
        }
    }
    fn field_schema() -> RefOr<Schema> {
        string_schema().pattern(Some(forms::id_pattern(K::PREFIX))).into()
    }
}

macro_rules! parsed {
    ($($(#[$doc:meta])* $name:ident($inner:ty), $what:literal, $pattern:expr, |$s:ident| $read:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl Field for $name {
            fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
                let $s = text(value, path, problems)?;
                let read: Option<$inner> = $read;
                match read {
                    Some(v) => Some(Self(v)),
                    None => wrong(path, "invalid", concat!("must be ", $what), problems),
                }
            }
            fn field_schema() -> RefOr<Schema> {
                string_schema().pattern(Some($pattern)).description(Some($what)).into()
            }
        }
    )*};
}

parsed! {
    /// The address of one host, IPv4 or IPv6.
    Ip(IpAddr), "the IPv4 or IPv6 address of one host (not unspecified, multicast, broadcast, reserved or IPv4-mapped)",
        forms::host_pattern(), |s| forms::host(s);
    /// The address of one host that other networks can reach.
    FarIp(IpAddr), "the IPv4 or IPv6 address of one host (not link-local, unspecified, multicast, broadcast, reserved or IPv4-mapped)",
        forms::far_host_pattern(), |s| forms::far_host(s);
    /// An address or a network: `198.51.100.7`, `198.51.100.0/28`, host bits zero.
    Net(String), "an address or network such as 198.51.100.0/28 (IPv4 /24 to /32, IPv6 /64 to /128, host bits zero)",
        forms::network_pattern(), |s| forms::network(s);
    /// Address and port of one host.
    Socket(SocketAddr), "the address and port of one host, such as 192.0.2.1:5060 or [2001:db8::1]:5060",
        forms::socket_pattern(), |s| forms::socket(s);
    /// A host by its name, perhaps with a port.
    HostName(String), "a host name such as sip.example.com or sip.example.com:5080 (at most 6 labels of 40 letters, digits and hyphens; the last begins with a letter)",
        forms::hostname_pattern(), |s| forms::hostname(s);
    /// A rule of a header, as the policy reads it.
    HeaderRule(String), "remove NAME, add NAME: VALUE or set NAME: VALUE (a name of at most 40 letters, digits and hyphens; a value of at most 200 printable ASCII characters)",
        forms::HEADER_RULE, |s| s.parse::<warp_policy::directory::HeaderRule>().is_ok().then(|| s.to_owned());
    /// The name of a codec in SDP (`a=rtpmap`), perhaps with its clock rate.
    CodecName(String), "the name of a codec such as PCMU or opus/48000", forms::CODEC, |s| forms::is_codec(s).then(|| s.to_owned());
    /// A phone number in any usual writing; read as E.164 with `+`.
    Phone(String), "a phone number", forms::phone_pattern(), |s| forms::phone(s);
    /// A SIP Call-ID as it stands in traces.
    SipCallId(String), "a Call-ID that can be seen", forms::VISIBLE,
        |s| (forms::is_visible(s) && !s.chars().any(char::is_control)).then(|| s.to_owned());
    /// Any text without control characters.
    Plain(String), "a text without control characters", forms::PLAIN,
        |s| (!s.chars().any(char::is_control)).then(|| s.to_owned());
    /// Digits of a number's beginning, without +.
    Digits(String), "1 to 15 digits", "^[0-9]{1,15}$",
        |s| (!s.is_empty() && s.len() <= 15 && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.to_owned());
    /// A dial code: digits of an E.164 number's beginning, without +.
    DialCode(String), "1 to 15 digits, the first not 0", "^[1-9][0-9]{0,14}$",
        |s| (!s.is_empty() && s.len() <= 15 && !s.starts_with('0') && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.to_owned());
    /// Hours of a day: `08:00-18:00`; `22:00-06:00` reaches into the next day.
    DayHours(String), "hours such as 08:00-18:00", "^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
        |s| DayHours::minutes(s).map(|_| s.to_owned());
    /// Digits, `*` and `#`, up to 15, may be empty.
    DialPrefix(String), "at most 15 of 0-9, * and #", "^[0-9*#]{0,15}$",
        |s| (s.len() <= 15 && s.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#')).then(|| s.to_owned());
    /// Digits, `*` and `#`, 1 to 15: a prefix that is taken off.
    TechPrefix(String), "1 to 15 of 0-9, * and #", "^[0-9*#]{1,15}$",
        |s| ((1..=15).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#')).then(|| s.to_owned());
    /// Digits, up to 15, may be empty.
    OptionalDigits(String), "at most 15 digits", "^[0-9]{0,15}$",
        |s| (s.len() <= 15 && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.to_owned());
    /// Lower-case letters, digits and hyphens.
    Slug(String), "1 to 32 of a-z, 0-9 and -, not starting with -", "^[a-z0-9][a-z0-9-]{0,31}$", |s| slug(s);
    /// Two letters.
    State(String), "a US state's two letters", "^[A-Z]{2}$",
        |s| (s.len() == 2 && s.bytes().all(|b| b.is_ascii_uppercase())).then(|| s.to_owned());
    /// SIP user name of a digest account.
    SipUser(String), "1 to 64 of letters, digits and -_.+", "^[A-Za-z0-9_.+-]{1,64}$",
        |s| (!s.is_empty() && s.len() <= 64 && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b)))
            .then(|| s.to_owned());
    /// A name that is shown where a number calls (CNAM).
    Cnam(String), "1 to 15 printable ASCII characters", "^[ -~]{1,15}$",
        |s| ((1..=15).contains(&s.len()) && s.bytes().all(|b| (0x20..0x7F).contains(&b))).then(|| s.to_owned());
    /// Where a route of messages leads: an id of a bind or of an SMPP account.
    MessageTarget(String), "an id of a bind (vbd_…) or of an SMPP account (sac_…)", forms::id_pattern("(vbd|sac)"),
        |s| s.split_once('_').is_some_and(|(kind, id)| matches!(kind, "vbd" | "sac") && forms::is_id(id)).then(|| s.to_owned());
    /// A number or short code that messages are from, with or without +.
    Sender(String), "3 to 15 digits, perhaps with + before them, the first not 0", "^[+]?[1-9][0-9]{2,14}$",
        |s| message_address(s, 3);
    /// The number of a handset, with or without +.
    Handset(String), "5 to 15 digits, perhaps with + before them, the first not 0", "^[+]?[1-9][0-9]{4,14}$",
        |s| message_address(s, 5);
    /// A number as people write it; separators are removed.
    DialString(String), "a phone number", forms::dialled_pattern(), |s| forms::dialled(s);
}

impl DayHours {
    /// The minute of the day that they begin at (0 to 1,439), and the one that they end before (1 to 1,440). `None`: no such text.
    pub fn minutes(text: &str) -> Option<(u16, u16)> {
        let (from, until) = text.split_once('-')?;
        let minute = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let two =
                |t: &str| (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse().ok())?;
            let (hour, minute): (u16, u16) = (two(hour)?, two(minute)?);
            (hour <= 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let (from, until) = (minute(from)?, minute(until)?);
        let until = if until == 0 { 1_440 } else { until };
        (from < 1_440 && until <= 1_440).then_some((from, until))
    }
}

/// The digits of an address of messages as the SMSC compares them.
fn message_address(s: &str, least: usize) -> Option<String> {
    let digits = s.strip_prefix('+').unwrap_or(s);
    if digits.len() < least || digits.starts_with('0') {
        return None;
    }
    static PLAN: std::sync::LazyLock<warp_policy::NumberPlan> =
        std::sync::LazyLock::new(warp_policy::NumberPlan::seed);
    warp_policy::messaging::optout::number(&PLAN, s.as_bytes(), false).map(|number| number.to_string())
}

fn slug(s: &str) -> Option<String> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (!s.is_empty() && s.len() <= 32 && !s.starts_with('-') && s.bytes().all(good)).then(|| s.to_owned())
}

/// ISO 4217: money that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrencyCode(pub Currency);

impl Field for CurrencyCode {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let read = text(value, path, problems)?.parse().ok().filter(Currency::is_iso_4217);
        match read {
            Some(currency) => Some(Self(currency)),
            None => wrong(path, "invalid", "must be an ISO 4217 currency code such as USD", problems),
        }
    }
    fn field_schema() -> RefOr<Schema> {
        words_schema(Currency::IN_USE)
    }
}

impl Field for Amount {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        match value {
            None | Some(Value::Null) => missing(path, problems),
            Some(v) => match serde_json::from_value::<Amount>(v.clone()) {
                Ok(a) if !a.0.currency.is_iso_4217() => {
                    wrong(path, "invalid", "its currency must be an ISO 4217 code such as USD", problems)
                }
                Ok(a) if a.0.amount.0 < 0 => wrong(path, "out_of_range", "must not be negative", problems),
                Ok(a) if v["amount"].as_str().is_some_and(forms::is_amount) => Some(a),
                Ok(_) => {
                    let message = "its amount must be digits such as 12 or 0.0042, less than 9000000000";
                    wrong(path, "out_of_range", message, problems)
                }
                Err(_) => wrong(
                    path,
                    "invalid",
                    r#"must be money such as {"amount":"0.0042","currency":"USD"}, at most 9 decimals"#,
                    problems,
                ),
            },
        }
    }
    fn field_schema() -> RefOr<Schema> {
        let amount = string_schema().pattern(Some(forms::AMOUNT)).examples([Value::from("0.0042")]);
        ObjectBuilder::new()
            .property("amount", amount)
            .property("currency", words_schema(Currency::IN_USE))
            .required("amount")
            .required("currency")
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
            .into()
    }
}

impl Field for Time {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        match parse_rfc3339(text(value, path, problems)?) {
            Some(wall) => Some(Time(wall)),
            None => wrong(path, "invalid", "must be an RFC 3339 time such as 2026-01-31T12:00:00Z", problems),
        }
    }
    fn field_schema() -> RefOr<Schema> {
        <Time as PartialSchema>::schema()
    }
}

/// A secret that is never printed: a SIP password.
#[derive(Clone, Debug)]
pub struct Password(pub warp_model::Secret<String>);

impl Field for Password {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let s = text(value, path, problems)?;
        if !(12..=128).contains(&s.chars().count()) || s.chars().any(char::is_control) {
            return wrong(
                path,
                "out_of_range",
                "must have 12 to 128 characters, no control characters",
                problems,
            );
        }
        Some(Self(warp_model::Secret::new(s.to_owned())))
    }
    fn field_schema() -> RefOr<Schema> {
        let length = string_schema().min_length(Some(12)).max_length(Some(128));
        length.pattern(Some(forms::PLAIN)).write_only(true).into()
    }
}

/// MIN to MAX visible characters of ASCII, without blanks: a name of SMPP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graphic<const MIN: usize, const MAX: usize>(pub String);

impl<const MIN: usize, const MAX: usize> Field for Graphic<MIN, MAX> {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let s = of_length(text(value, path, problems)?, MIN, MAX, path, problems)?;
        if !forms::is_graphic(s) {
            return wrong(path, "invalid", "must be visible characters of ASCII, without blanks", problems);
        }
        Some(Self(s.to_owned()))
    }
    fn field_schema() -> RefOr<Schema> {
        string_schema().min_length(Some(MIN)).max_length(Some(MAX)).pattern(Some(forms::GRAPHIC)).into()
    }
}

/// MIN to MAX characters of ASCII, blanks too; where MIN is more than 0, one of them can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printable<const MIN: usize, const MAX: usize>(pub String);

impl<const MIN: usize, const MAX: usize> Field for Printable<MIN, MAX> {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let s = of_length(text(value, path, problems)?, MIN, MAX, path, problems)?;
        if !forms::is_printable(s) {
            return wrong(path, "invalid", "must be characters of ASCII", problems);
        }
        if MIN > 0 && !forms::is_visible(s) {
            return wrong(path, "invalid", "must not be blank", problems);
        }
        Some(Self(s.to_owned()))
    }
    fn field_schema() -> RefOr<Schema> {
        let pattern = if MIN > 0 { forms::PRINTABLE_VISIBLE } else { forms::PRINTABLE };
        string_schema().min_length(Some(MIN)).max_length(Some(MAX)).pattern(Some(pattern)).into()
    }
}

/// A password of SMPP, never printed: MIN to MAX visible characters of ASCII, without blanks.
#[derive(Clone, Debug)]
pub struct GraphicPassword<const MIN: usize, const MAX: usize>(pub warp_model::Secret<String>);

impl<const MIN: usize, const MAX: usize> Field for GraphicPassword<MIN, MAX> {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        Graphic::<MIN, MAX>::read(value, path, problems).map(|text| Self(warp_model::Secret::new(text.0)))
    }
    fn field_schema() -> RefOr<Schema> {
        let length = string_schema().min_length(Some(MIN)).max_length(Some(MAX));
        length.pattern(Some(forms::GRAPHIC)).write_only(true).into()
    }
}

/// The text, when it has MIN to MAX characters.
fn of_length<'v>(
    text: &'v str,
    min: usize,
    max: usize,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<&'v str> {
    if (min..=max).contains(&text.chars().count()) {
        return Some(text);
    }
    wrong(path, "out_of_range", format!("must have {min} to {max} characters"), problems)
}

/// Declares a closed list of words as a [`Field`].
#[macro_export]
macro_rules! choice {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// All words of the list, in the order of their declaration.
            pub const WORDS: &'static [&'static str] = &[$($text),+];
            /// The word as it stands in JSON and in rows.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
            /// The value of a word; `None` for any other text.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl $crate::app::view::Words for $name {
            const WORDS: &'static [&'static str] = Self::WORDS;
        }

        impl $crate::noun::Filtering for $name {
            fn stored(self) -> String {
                self.as_str().to_owned()
            }
        }

        impl $crate::app::input::Field for $name {
            fn read(value: Option<&serde_json::Value>, path: &str, problems: &mut Vec<$crate::app::fault::Problem>) -> Option<Self> {
                $crate::app::input::word(value, path, Self::WORDS, problems).and_then(Self::parse)
            }
            fn field_schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::app::input::words_schema(Self::WORDS)
            }
        }
    };
}

/// Declares a closed list of whole numbers as a [`Field`].
#[macro_export]
macro_rules! whole_of {
    ($(#[$meta:meta])* pub struct $name:ident: [$($n:literal),+];) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub i32);

        impl $crate::app::input::Field for $name {
            fn read(value: Option<&serde_json::Value>, path: &str, problems: &mut Vec<$crate::app::fault::Problem>) -> Option<Self> {
                const LIST: &[i32] = &[$($n),+];
                let read = $crate::app::input::Int::<{ i32::MIN as i64 }, { i32::MAX as i64 }>::read(value, path, problems)?;
                let known = LIST.iter().find(|n| i64::from(**n) == read.0);
                if known.is_none() {
                    let words: Vec<String> = LIST.iter().map(i32::to_string).collect();
                    problems.push($crate::app::fault::Problem::new(path, "invalid", format!("must be one of {}", words.join(", "))));
                }
                known.map(|n| Self(*n))
            }
            fn field_schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::SchemaType::Type(utoipa::openapi::schema::Type::Integer))
                    .enum_values(Some([$($n),+]))
                    .into()
            }
        }
    };
}

/// Reads one word of a closed list.
pub fn word<'v>(
    value: Option<&'v Value>,
    path: &str,
    words: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<&'v str> {
    let s = text(value, path, problems)?;
    if words.contains(&s) {
        return Some(s);
    }
    wrong(path, "invalid", format!("must be one of {}", words.join(", ")), problems)
}

/// Schema of a closed list of words.
pub fn words_schema(words: &'static [&'static str]) -> RefOr<Schema> {
    string_schema().enum_values(Some(words.iter().copied())).into()
}

/// The mark of words that only operators may say; the documents have it no more.
pub const OPERATORS_WORDS: &str = "x-operators";

/// The same, of which some are for operators only: the customers' document does not have those.
pub fn operators_words<'w>(
    schema: RefOr<Schema>,
    operators: impl Iterator<Item = &'w &'static str>,
) -> RefOr<Schema> {
    let words: Vec<&str> = operators.copied().collect();
    match schema {
        RefOr::T(Schema::Object(mut o)) => {
            o.extensions = Some(Extensions::builder().add(OPERATORS_WORDS, words).build());
            RefOr::T(Schema::Object(o))
        }
        other => other,
    }
}

/// Named so that error texts of other modules can use it.
pub fn shown(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(64) {
        Some((i, _)) => Cow::Owned(name.get(..i).unwrap_or("").to_owned()),
        None => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    crate::input! {
        /// An input of three fields, for the tests.
        pub struct Sample {
            /// A name of one to five characters.
            pub name: Text<1, 5>,
            /// A limit from 0 to 10.
            pub channels: Option<Int<0, 10>>,
            /// At most two addresses.
            pub ips: List<Ip, 2>,
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let body = serde_json::json!({"name":"","channels":11,"ips":["x","::1"],"extra":1});
        let good = serde_json::json!({"name":"a","channels":3,"ips":["::1"]});
        let sample = Sample::from_json(&good).unwrap();
        assert_eq!((sample.name.0.as_str(), sample.channels, sample.ips.0.len()), ("a", Some(Int(3)), 1));
        for blank in [" ", "\u{200b}", "\u{3000}\u{a0}"] {
            let e = Sample::from_json(&serde_json::json!({ "name": blank })).unwrap_err();
            assert_eq!(e.details[0].message, "must not be blank", "{blank:?}");
        }
        for impossible in ["0.0.0.0", "239.1.2.3", "::ffff:192.0.2.1", "::", "240.0.0.1"] {
            let e = Sample::from_json(&serde_json::json!({ "name": "a", "ips": [impossible] })).unwrap_err();
            assert_eq!(e.details[0].field, "ips[0]", "{impossible}");
        }
        let e = Sample::from_json(&serde_json::json!({ "name": "a", "ips": null })).unwrap_err();
        assert_eq!(
            (e.details[0].field.as_str(), e.details[0].code),
            ("ips", "wrong_type"),
            "null is no list"
        );
        let e = Sample::from_json(&body).unwrap_err();
        let fields: Vec<&str> = e.details.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(fields, ["name", "channels", "ips[0]", "extra"]);
    }

    proptest! {
        #[test]
        fn merging_twice_is_merging_once(a in "[a-z]{1,3}", b in 0i64..9) {
            let patch = serde_json::json!({ a.clone(): b, "gone": null });
            let mut once = serde_json::json!({"gone": 1, "kept": 2});
            merge_patch(&mut once, &patch);
            let mut twice = once.clone();
            merge_patch(&mut twice, &patch);
            prop_assert_eq!(&once, &twice);
            prop_assert!(once.get("gone").is_none());
        }
    }
}
