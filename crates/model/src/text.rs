//! Short texts without an allocation, and bytes as text: what a call record is written with. A record has some hundred values
//! of ids, numbers and money, and the formatting machinery of the standard library costs more than the values.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

/// An ASCII text of at most 64 bytes; what is longer is cut.
#[derive(Clone, Copy, Debug)]
pub struct ShortText {
    bytes: [u8; 64],
    len: usize,
}

impl Default for ShortText {
    fn default() -> Self {
        Self { bytes: [0; 64], len: 0 }
    }
}

impl ShortText {
    /// Appends a text. Bytes beyond ASCII become `?`, so that it stays readable whatever comes.
    pub fn push(&mut self, text: &[u8]) {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let fits = room.len().min(text.len());
        let (Some(to), Some(from)) = (room.get_mut(..fits), text.get(..fits)) else { return };
        to.copy_from_slice(from);
        if !to.is_ascii() {
            to.iter_mut().filter(|b| !b.is_ascii()).for_each(|b| *b = b'?');
        }
        self.len += fits;
    }

    /// Appends a number in decimal digits, with zeros before it up to `width` digits (20 at most).
    pub fn push_number(&mut self, n: u64, width: usize) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(n).as_bytes();
        let zeros = width.min(ZEROS.len()).saturating_sub(digits.len());
        if zeros > 0 {
            self.push(ZEROS.get(..zeros).unwrap_or_default());
        }
        self.push(digits);
    }

    /// Takes away what `c` stands for at the end.
    pub fn trim_end(&mut self, c: u8) {
        while self.len > 0 && self.bytes.get(self.len - 1) == Some(&c) {
            self.len -= 1;
        }
    }

    /// The bytes of the text so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The text so far.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

const ZEROS: &[u8; 20] = b"00000000000000000000";

impl AsRef<[u8]> for ShortText {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// An address as its `Display` writes it. Those of IPv4, nearly all, without the formatting machinery.
pub fn of_ip(ip: IpAddr) -> ShortText {
    let mut text = ShortText::default();
    match ip {
        IpAddr::V4(v4) => {
            // The digits of each octet where they come to stand, a dot behind each.
            let mut out = [b'.'; 16];
            let mut slots = out.iter_mut();
            let mut len = 0;
            for octet in v4.octets() {
                let digits = [octet / 100, octet / 10 % 10, octet % 10];
                let zeros = usize::from(octet < 100) + usize::from(octet < 10);
                for digit in digits.into_iter().skip(zeros) {
                    if let Some(slot) = slots.next() {
                        *slot = b'0' | digit;
                    }
                }
                slots.next();
                len += 4 - zeros;
            }
            text.push(out.get(..len.saturating_sub(1)).unwrap_or_default());
        }
        // A ShortText takes everything.
        IpAddr::V6(v6) => {
            let _ = write!(text, "{v6}");
        }
    }
    text
}

/// An address with its port as its `Display` writes it: `192.0.2.1:5060`, `[2001:db8::1]:5060`.
pub fn of_address(addr: SocketAddr) -> ShortText {
    if let SocketAddr::V6(v6) = addr {
        let mut text = ShortText::default();
        let _ = write!(text, "{v6}");
        return text;
    }
    let mut text = of_ip(addr.ip());
    text.push(b":");
    text.push_number(u64::from(addr.port()), 1);
    text
}

/// Bytes of SIP in JSON as a text, each byte one character (`U+0000` to `U+00FF`), for `#[serde(with = "…")]`. Reads the lists
/// of numbers that earlier versions wrote, too.
pub mod bytes {
    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    /// Writes them as text.
    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.is_ascii() => s.serialize_str(text),
            _ => s.serialize_str(&bytes.iter().map(|b| char::from(*b)).collect::<String>()),
        }
    }

    /// Reads either form. Errors: a character above `U+00FF`, a number above 255.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text of bytes, or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
                text.chars().map(|c| u8::try_from(c).map_err(E::custom)).collect()
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u8>, A::Error> {
                let mut out = Vec::new();
                while let Some(byte) = list.next_element()? {
                    out.push(byte);
                }
                Ok(out)
            }
        }
        d.deserialize_any(Bytes)
    }
}

/// A list of [`bytes`].
pub mod byte_list {
    use serde::ser::SerializeSeq;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    struct One<'a>(&'a [u8]);
    impl Serialize for One<'_> {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            super::bytes::serialize(self.0, s)
        }
    }

    #[derive(Deserialize)]
    struct Read(#[serde(with = "super::bytes")] Vec<u8>);

    /// Writes each as text.
    pub fn serialize<S: Serializer>(list: &[Vec<u8>], s: S) -> Result<S::Ok, S::Error> {
        let mut seq = s.serialize_seq(Some(list.len()))?;
        list.iter().try_for_each(|bytes| seq.serialize_element(&One(bytes)))?;
        seq.end()
    }

    /// Reads either form of each. Errors: those of [`super::bytes::deserialize`].
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Vec<u8>>, D::Error> {
        Ok(Vec::<Read>::deserialize(d)?.into_iter().map(|read| read.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[test]
    fn numbers_are_written_with_their_zeros_and_no_other() {
        let number = |n, width| {
            let mut text = ShortText::default();
            text.push_number(n, width);
            text.as_str().to_owned()
        };
        assert_eq!((number(0, 0), number(0, 1), number(0, 9)), ("0".into(), "0".into(), "000000000".into()));
        assert_eq!((number(7_900_000, 9), number(1_000, 2)), ("007900000".into(), "1000".into()));
        assert_eq!(number(u64::MAX, 1), u64::MAX.to_string());
        assert_eq!(number(42, 99), "00000000000000000042");
    }

    #[test]
    fn addresses_are_written_as_everywhere() {
        for text in ["192.0.2.1:5060", "0.0.0.0:0", "255.255.255.255:65535", "[2001:db8::1]:5060", "[::]:1"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(of_address(addr).as_str(), text);
            assert_eq!(of_ip(addr.ip()).as_str(), addr.ip().to_string());
        }
        let longest: SocketAddr =
            "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535".parse().unwrap();
        assert_eq!(of_address(longest).as_str(), longest.to_string());
    }

    #[test]
    fn what_is_too_long_is_cut_and_what_is_no_ascii_is_marked() {
        let mut text = ShortText::default();
        text.push(&[b'x'; 63]);
        text.push("é1".as_bytes());
        assert_eq!(text.as_str(), format!("{}?", "x".repeat(63)));
        text.trim_end(b'?');
        text.trim_end(b'x');
        text.trim_end(b'x');
        assert_eq!(text.as_str(), "");
    }

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Both {
        #[serde(with = "bytes")]
        one: Vec<u8>,
        #[serde(with = "byte_list")]
        many: Vec<Vec<u8>>,
    }

    #[test]
    fn bytes_are_text_and_lists_of_numbers_are_read() {
        let all: Vec<u8> = (0..=255).collect();
        let both = Both { one: all.clone(), many: vec![b"<sip:a\"b>".to_vec(), Vec::new()] };
        let json = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<Both>(&json).unwrap(), both);
        assert!(json.ends_with(r#""many":["<sip:a\"b>",""]}"#), "{json}");
        let old = format!(r#"{{"one":{},"many":[[60,62],[]]}}"#, serde_json::to_string(&all).unwrap());
        let read: Both = serde_json::from_str(&old).unwrap();
        assert_eq!((read.one, read.many), (all, vec![b"<>".to_vec(), Vec::new()]));
        for wrong in [r#"{"one":"Ā","many":[]}"#, r#"{"one":[256],"many":[]}"#, r#"{"one":5,"many":[]}"#] {
            assert!(serde_json::from_str::<Both>(wrong).is_err(), "{wrong}");
        }
    }
}
