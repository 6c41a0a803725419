//! JSON written in one pass, for the records that each call writes: no intermediate values, each name of a field a constant
//! with its punctuation, each text copied whole when nothing in it needs an escape.
//!
//! The form is serde's, byte for byte; `tests/json.rs` and its like in other packages hold that field by field. Only what is
//! written for each call has this second writer: everything else serialises by serde, and everything is read by serde.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::text::{of_address, of_ip};

/// What writes itself as JSON, byte for byte as its `Serialize` does.
pub trait ToJson {
    /// Appends it to `out`.
    fn to_json(&self, out: &mut Vec<u8>);
}

/// JSON that is done: a value that was written once and is carried as text. A copy shares the text.
#[derive(Clone)]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// Writes a value and keeps it.
    pub fn of(value: &impl ToJson) -> JsonText {
        Self::with(value, &mut Vec::new())
    }

    /// Writes a value by way of a buffer that is kept for the next one, so that the text is as long as it must be and
    /// nothing grows step by step.
    pub fn with(value: &impl ToJson, buffer: &mut Vec<u8>) -> JsonText {
        buffer.clear();
        value.to_json(buffer);
        // It is UTF-8: names and texts are. To be told so takes a look at each sixteen bytes; to mend it would take one at each.
        JsonText(
            std::str::from_utf8(buffer).map_or_else(|_| String::from_utf8_lossy(buffer).into(), Arc::from),
        )
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
    fn to_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
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
            fn to_json(&self, out: &mut Vec<u8>) {
                let $type { $first, $($field),* } = self;
                out.extend_from_slice(concat!("{\"", stringify!($first), "\":").as_bytes());
                $crate::json_value!(out, $first $(by($first_by))?);
                $($crate::json_field!(out, $field $(by($by))? $(unless($skip))?);)*
                out.push(b'}');
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
        $out.extend_from_slice(concat!(",\"", stringify!($field), "\":").as_bytes());
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
            fn to_json(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(match self {
                    $($type::$variant => concat!("\"", $word, "\"").as_bytes()),*
                });
            }
        }
    };
}

/// A word that needs no escapes, in quotes.
pub fn word(word: impl AsRef<[u8]>, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(word.as_ref());
    out.push(b'"');
}

/// A text, in quotes, with the escapes of RFC 8259 §7.
pub fn text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    // One look at all bytes without a way out of the loop: the compiler takes sixteen at a time.
    if text.bytes().fold(false, |any, b| any | needs_escape(b)) {
        text.bytes().for_each(|b| escaped(b, out));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

fn needs_escape(b: u8) -> bool {
    (b < 0x20) | (b == b'"') | (b == b'\\')
}

/// One byte of a text: those of characters beyond ASCII stay as they are.
fn escaped(b: u8, out: &mut Vec<u8>) {
    let short = match b {
        b'"' | b'\\' => b,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        0..0x20 => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[crate::hex::digit(b >> 4), crate::hex::digit(b)]);
            return;
        }
        plain => {
            out.push(plain);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Bytes of SIP as a text, each byte one character: the form of [`crate::text::bytes`].
pub fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(ascii) if ascii.is_ascii() => text(ascii, out),
        _ => text(&bytes.iter().map(|b| char::from(*b)).collect::<String>(), out),
    }
}

/// A list of [`bytes`]: the form of [`crate::text::byte_list`].
pub fn byte_list(all: &[Vec<u8>], out: &mut Vec<u8>) {
    list(all, out, |one, out| bytes(one, out));
}

/// A list, each element by a function.
fn list<T>(all: &[T], out: &mut Vec<u8>, mut each: impl FnMut(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (at, one) in all.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        each(one, out);
    }
    out.push(b']');
}

impl ToJson for bool {
    fn to_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { &b"false"[..] });
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl ToJson for $number {
            fn to_json(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, i64);

impl ToJson for str {
    fn to_json(&self, out: &mut Vec<u8>) {
        text(self, out);
    }
}

impl ToJson for String {
    fn to_json(&self, out: &mut Vec<u8>) {
        text(self, out);
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.to_json(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self, out: &mut Vec<u8>) {
        list(self, out, T::to_json);
    }
}

impl ToJson for IpAddr {
    fn to_json(&self, out: &mut Vec<u8>) {
        word(of_ip(*self), out);
    }
}

impl ToJson for SocketAddr {
    fn to_json(&self, out: &mut Vec<u8>) {
        word(of_address(*self), out);
    }
}
