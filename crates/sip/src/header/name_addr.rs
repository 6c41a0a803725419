//! `name-addr` and `addr-spec` with header parameters: From, To, Contact, Route, Record-Route, P-Asserted-Identity … (RFC 3261 §20.10).

use crate::lex::{self, Malformed};
use crate::params::Params;
use crate::uri::{Scheme, Uri};

/// One address value, in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The whole value as written.
    pub raw: &'a [u8],
    /// Display name as written, quotes included; empty when there is none.
    pub display: &'a [u8],
    /// The URI as written, without angle brackets.
    pub uri: &'a [u8],
    /// Whether the URI stood in angle brackets.
    pub bracketed: bool,
    /// Header parameters (`;tag=…`, `;expires=…`): never those of the URI.
    pub params: Params<'a>,
    /// The display name breaks its grammar, and still nobody can read another address out of the value ([`NameAddr::parse_lenient`]).
    pub sloppy: bool,
}

impl<'a> NameAddr<'a> {
    /// From one value. Errors: unclosed quote or bracket, characters that a display name may not have without quotes, an empty URI,
    /// a URI that needs brackets and has none. Parameters are not read: [`Params::check`].
    pub fn parse(raw: &'a [u8]) -> Result<NameAddr<'a>, Malformed> {
        let raw = lex::trim(raw);
        if raw.first() == Some(&b'"') {
            let (display, rest) = lex::quoted(raw).ok_or(Malformed("unclosed quote"))?;
            let rest =
                lex::trim_start(rest).strip_prefix(b"<").ok_or(Malformed("display name without address"))?;
            return Self::bracketed(raw, display, rest);
        }
        let stop =
            raw.iter().position(|b| matches!(b, b'<' | b';' | b'"' | b'?' | b',')).unwrap_or(raw.len());
        let (head, rest) = raw.split_at_checked(stop).ok_or(Malformed("address"))?;
        match rest.first() {
            Some(b'<') => {
                let display = lex::trim_end(head);
                // UTF-8 without quotes is against the grammar and common, and hides nothing that separates values.
                let plain = |b: &u8| lex::is_token_byte(*b) || lex::is_lws(*b) || !b.is_ascii();
                if !display.iter().all(plain) {
                    return Err(Malformed("display name needs quotes"));
                }
                Self::bracketed(raw, display, rest.get(1..).unwrap_or(b""))
            }
            None | Some(b';') => {
                let uri = lex::trim_end(head);
                if uri.is_empty() || uri.iter().any(|b| lex::is_lws(*b)) {
                    return Err(Malformed("address"));
                }
                Ok(NameAddr { raw, uri, params: Params(rest), ..NameAddr::default() })
            }
            _ => Err(Malformed("URI needs angle brackets")),
        }
    }

    fn bracketed(raw: &'a [u8], display: &'a [u8], rest: &'a [u8]) -> Result<NameAddr<'a>, Malformed> {
        let end = memchr::memchr(b'>', rest).ok_or(Malformed("unclosed bracket"))?;
        let (uri, rest) = rest.split_at_checked(end).ok_or(Malformed("address"))?;
        let params = lex::trim_start(rest.get(1..).unwrap_or(b""));
        if uri.is_empty() {
            return Err(Malformed("empty address"));
        }
        if !params.is_empty() && params.first() != Some(&b';') {
            return Err(Malformed("text after address"));
        }
        Ok(NameAddr { raw, display, uri, bracketed: true, params: Params(params), sloppy: false })
    }

    /// The same, and values whose display name breaks its grammar but leaves no doubt where the address is: exactly one `<…>` in the whole
    /// value, not within quotes (`O'Neil (Sales) <sip:…>`, `Bond, James <sip:…>`, `""Bond"" <sip:…>`). Those come out `sloppy`.
    ///
    /// For From, To and Contact, which peers write by hand; never for what routes or asserts an identity (PRODUCT §6).
    /// Errors: those of [`NameAddr::parse`].
    pub fn parse_lenient(raw: &'a [u8]) -> Result<NameAddr<'a>, Malformed> {
        match Self::parse(raw) {
            Ok(address) if address.bracketed || memchr::memchr(b'<', address.raw).is_none() => Ok(address),
            // `Bond; James <sip:…>` is no address with parameters, because `Bond` is no URI.
            Ok(address) if Scheme::of(address.uri).is_ok() => Ok(address),
            strict => Self::parse_sloppy(raw).map_or(strict, Ok),
        }
    }

    /// The one `<…>` of a value that does not follow the grammar before it.
    #[cold]
    fn parse_sloppy(raw: &'a [u8]) -> Option<NameAddr<'a>> {
        let raw = lex::trim(raw);
        lex::step(raw.len());
        let (open, close) = (memchr::memchr(b'<', raw)?, memchr::memchr(b'>', raw)?);
        let once = memchr::memrchr(b'<', raw) == Some(open) && memchr::memrchr(b'>', raw) == Some(close);
        let (before, rest) = raw.split_at_checked(open).filter(|_| once && open < close)?;
        if before.iter().any(|b| b.is_ascii_control() && !lex::is_lws(*b)) || !lex::quotes_close(before) {
            return None;
        }
        let address = Self::bracketed(raw, lex::trim_end(before), rest.get(1..)?).ok()?;
        Some(NameAddr { sloppy: true, ..address })
    }

    /// The URI, parsed. Errors: it is no URI.
    pub fn uri(&self) -> Result<Uri<'a>, Malformed> {
        Uri::parse(self.uri)
    }

    /// `tag` parameter (From, To).
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.value(b"tag")
    }

    /// Display name without quotes and escapes, as far as it is UTF-8.
    pub fn display_text(&self) -> String {
        let Some(inner) = self.display.strip_prefix(b"\"").and_then(|d| d.strip_suffix(b"\"")) else {
            return String::from_utf8_lossy(self.display).into_owned();
        };
        let mut out = Vec::with_capacity(inner.len());
        let mut escaped = false;
        for b in inner {
            if !escaped && *b == b'\\' {
                escaped = true;
            } else {
                escaped = false;
                out.push(*b);
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_decide_whose_parameters_they_are() {
        let a = NameAddr::parse(b"<sip:a@b;transport=tcp>;tag=1").unwrap();
        assert_eq!((a.uri, a.tag()), (&b"sip:a@b;transport=tcp"[..], Some(&b"1"[..])));
        let a = NameAddr::parse(b"sip:a@b;tag=1").unwrap();
        assert_eq!((a.uri, a.tag()), (&b"sip:a@b"[..], Some(&b"1"[..])));
        let a = NameAddr::parse(b"\"A \\\" <x>;\" <sip:a@b> ; tag = 1").unwrap();
        assert_eq!((a.uri, a.tag()), (&b"sip:a@b"[..], Some(&b"1"[..])));
        assert_eq!(a.display_text(), "A \" <x>;");
        let a = NameAddr::parse(b"Watson, Thomas <sip:t@b>");
        assert!(a.is_err());
        assert_eq!(NameAddr::parse(b"caller<sip:a@b>").unwrap().display, b"caller");
        assert_eq!(NameAddr::parse("José P. <sip:a@b>".as_bytes()).unwrap().display_text(), "José P.");
        for bad in
            [&b""[..], b"<>", b"<sip:a", b"\"x <sip:a@b>", b"<sip:a@b> x", b"sip:a@b?Route=x", b"a@b <sip:x>"]
        {
            assert!(NameAddr::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    /// Names as PBXs and telephones write them (nksip#20, RFC 4475 §3.1.2.15): refused by the strict reader, and read by the lenient one
    /// only where there is one address and no other way to see it.
    #[test]
    fn sloppy_names_are_read_where_they_can_be_delimited() {
        let names = [
            "O'Neil (Sales)",
            "Bond, James",
            "joe@x",
            "\"\"Joe\"\"",
            "\"Joe\" Bloggs",
            "a; b",
            "a:b",
            "[1]",
            "Bond?",
            "5\\6",
        ];
        for name in names {
            let text = format!(" {name} <sip:j@h;x=1>;tag=7 ");
            assert!(
                NameAddr::parse(text.as_bytes()).and_then(|a| a.params.check()).is_err(),
                "strictly {name}"
            );
            let a = NameAddr::parse_lenient(text.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(
                (a.display, a.uri, a.tag(), a.sloppy),
                (name.as_bytes(), &b"sip:j@h;x=1"[..], Some(&b"7"[..]), true)
            );
        }
        for plain in ["Joe <sip:j@h>;tag=1", "\"a <b> c\" <sip:j@h>", "sip:j@h;tag=1", "<sip:j@h>"] {
            assert_eq!(
                NameAddr::parse_lenient(plain.as_bytes()),
                NameAddr::parse(plain.as_bytes()),
                "{plain}"
            );
        }
        for bad in [
            "a, b <sip:1@h>, <sip:2@h>",
            "(\"<sip:evil@h>\") <sip:j@h>",
            "\"Joe <sip:j@h>;tag=1",
            "(x) sip:j@h",
            "(x) <sip:j@h",
            "(x) <sip:j@h> y",
            "(x) > <sip:j@h>",
            "(x) <sip:j@h>>",
            "(x) <<sip:j@h>",
            "(x\u{1}) <sip:j@h>",
            "(x) <>",
            "",
        ] {
            assert!(NameAddr::parse_lenient(bad.as_bytes()).is_err(), "{bad}");
        }
        // An address, and something behind it: its parameters are broken, and that is what it is refused for.
        let a = NameAddr::parse_lenient(b"sip:a@b;tag=1 <sip:c@d>;tag=2").unwrap();
        assert!(!a.sloppy && a.uri == b"sip:a@b" && a.params.check().is_err());
    }
}
