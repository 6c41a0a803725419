//! JSON written in one pass, for the records that each call writes: no intermediate values, each name of a field a constant
//! with its punctuation, each text copied whole when nothing in it needs an escape.
//!
//! The form is serde's, byte for byte; `tests/json.rs` and its like in other packages hold that field by field. Only what is
//! written for each call has this second writer: everything else serialises by serde, and everything is read by serde.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// What writes itself as JSON, byte for byte as its `Serialize` does.
pub trait ToJson {
    /// Appends it to `out`.
    fn to_json(&self, out: &mut String);
}

/// JSON that is done: a value that was written once and is carried as text. A copy shares the text.
#[derive(Clone)]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// Writes a value and keeps it.
    pub fn of(value: &impl ToJson) -> JsonText {
        Self::with(value, &mut String::new())
    }

    /// Writes a value by way of a buffer that is kept for the next one, so that the text is as long as it must be and
    /// nothing grows step by step.
    pub fn with(value: &impl ToJson, buffer: &mut String) -> JsonText {
        buffer.clear();
        value.to_json(buffer);
        JsonText(Arc::from(buffer.as_str()))
    }

    /// Takes JSON from outside. Errors: it is none.
    pub fn parse(text: String) -> Result<JsonText, serde_json::Error> {
        RawValue::from_string(text).map(JsonText::from)
    }

    /// The text of the value, as it stands in the record.
    pub fn get(&self) -> &str {
        &self.0
    }
}

impl From<Box<RawValue>> for JsonText {
    fn from(raw: Box<RawValue>) -> JsonText {
        JsonText(Arc::from(Box::<str>::from(raw)))
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ToJson for JsonText {
    fn to_json(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

/// As the value that it is, not as a text. Errors: the format is not JSON.
impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(s)
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(d).map(JsonText::from)
    }
}

/// Writes [`ToJson`] for a struct: all its fields, in the order of serde (a field that is forgotten does not compile). `by(f)`
/// after a field: `f(field, out)` writes it; `unless(f)`: it is left out when `f(field)` holds.
#[macro_export]
macro_rules! json_object {
    ($type:ident {
        $first:ident $(by($first_by:path))?
        $(, $field:ident $(by($by:path))? $(unless($skip:path))?)* $(,)?
    }) => {
        impl $crate::json::ToJson for $type {
            fn to_json(&self, out: &mut String) {
                let $type { $first, $($field),* } = self;
                out.push_str(concat!("{\"", stringify!($first), "\":"));
                $crate::json_value!(out, $first $(by($first_by))?);
                $($crate::json_field!(out, $field $(by($by))? $(unless($skip))?);)*
                out.push('}');
            }
        }
    };
}

/// A part of [`json_object`].
#[doc(hidden)]
#[macro_export]
macro_rules! json_field {
    ($out:ident, $field:ident $(by($by:path))? unless($skip:path)) => {
        if !$skip($field) {
            $crate::json_field!($out, $field $(by($by))?);
        }
    };
    ($out:ident, $field:ident $(by($by:path))?) => {
        $out.push_str(concat!(",\"", stringify!($field), "\":"));
        $crate::json_value!($out, $field $(by($by))?);
    };
}

/// A part of [`json_object`].
#[doc(hidden)]
#[macro_export]
macro_rules! json_value {
    ($out:ident, $field:ident) => {
        $crate::json::ToJson::to_json($field, $out)
    };
    ($out:ident, $field:ident by($by:path)) => {
        $by($field, $out)
    };
}

/// Writes [`ToJson`] for an enum of plain words (a variant that is forgotten does not compile).
#[macro_export]
macro_rules! json_words {
    ($type:ident { $($variant:ident => $word:literal),* $(,)? }) => {
        impl $crate::json::ToJson for $type {
            fn to_json(&self, out: &mut String) {
                out.push_str(match self {
                    $($type::$variant => concat!("\"", $word, "\"")),*
                });
            }
        }
    };
}

/// A word that needs no escapes, in quotes.
pub fn word(word: &str, out: &mut String) {
    out.push('"');
    out.push_str(word);
    out.push('"');
}

/// A text, in quotes, with the escapes of RFC 8259 §7.
pub fn text(text: &str, out: &mut String) {
    out.push('"');
    // One look at all bytes without a way out of the loop: the compiler takes sixteen at a time.
    if text.bytes().fold(false, |any, b| any | needs_escape(b)) {
        escaped(text, out);
    } else {
        out.push_str(text);
    }
    out.push('"');
}

fn needs_escape(b: u8) -> bool {
    (b < 0x20) | (b == b'"') | (b == b'\\')
}

#[cold]
fn escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                out.push_str("\\u00");
                out.push(char::from(crate::hex::digit(c as u8 >> 4)));
                out.push(char::from(crate::hex::digit(c as u8)));
            }
            c => out.push(c),
        }
    }
}

/// Bytes of SIP as a text, each byte one character: the form of [`crate::text::bytes`].
pub fn bytes(bytes: &[u8], out: &mut String) {
    match std::str::from_utf8(bytes) {
        Ok(ascii) if ascii.is_ascii() => text(ascii, out),
        _ => text(&bytes.iter().map(|b| char::from(*b)).collect::<String>(), out),
    }
}

/// A list of [`bytes`]: the form of [`crate::text::byte_list`].
pub fn byte_list(all: &[Vec<u8>], out: &mut String) {
    list(all, out, |one, out| bytes(one, out));
}

/// A list, each element by a function.
fn list<T>(all: &[T], out: &mut String, mut each: impl FnMut(&T, &mut String)) {
    out.push('[');
    for (at, one) in all.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        each(one, out);
    }
    out.push(']');
}

impl ToJson for bool {
    fn to_json(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl ToJson for $number {
            fn to_json(&self, out: &mut String) {
                out.push_str(itoa::Buffer::new().format(*self));
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, i64);

impl ToJson for str {
    fn to_json(&self, out: &mut String) {
        text(self, out);
    }
}

impl ToJson for String {
    fn to_json(&self, out: &mut String) {
        text(self, out);
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self, out: &mut String) {
        match self {
            Some(value) => value.to_json(out),
            None => out.push_str("null"),
        }
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self, out: &mut String) {
        list(self, out, T::to_json);
    }
}

/// An address without the formatting machinery where it is one of IPv4.
fn address(ip: &IpAddr, out: &mut String) {
    match ip {
        IpAddr::V4(v4) => {
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push('.');
                }
                octet.to_json(out);
            }
        }
        // A String takes everything.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

impl ToJson for IpAddr {
    fn to_json(&self, out: &mut String) {
        out.push('"');
        address(self, out);
        out.push('"');
    }
}

impl ToJson for SocketAddr {
    fn to_json(&self, out: &mut String) {
        out.push('"');
        match self {
            SocketAddr::V4(v4) => {
                address(&IpAddr::V4(*v4.ip()), out);
                out.push(':');
                v4.port().to_json(out);
            }
            SocketAddr::V6(v6) => drop(write!(out, "{v6}")),
        }
        out.push('"');
    }
}
