//! Parameters: `;name`, `;name=token`, `;name="quoted"`, of header values and of URIs. Read in place, in order.

use crate::lex::{self, Malformed};

/// Parameters as written, starting at the first `;` (or empty). Iterating yields what is well formed and stops at the first that is not;
/// [`Params::check`] tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(pub &'a [u8]);

impl<'a> Params<'a> {
    /// The first parameter of that name (case-insensitive): `Some(None)` when it has no value. Quotes are part of a value.
    pub fn find(self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// Value of the first parameter of that name; `None` when it is absent or has none.
    pub fn value(self, name: &[u8]) -> Option<&'a [u8]> {
        self.find(name).flatten()
    }

    /// Whether there is a parameter of that name.
    pub fn has(self, name: &[u8]) -> bool {
        self.find(name).is_some()
    }

    /// Reads them all. Errors: not a list of parameters, or more than `limits::SIP_PARAMS`.
    pub fn check(self) -> Result<(), Malformed> {
        self.checked(b"").map(|_| ())
    }

    /// Reads them all, and gives the value of the one of that name: [`Params::check`] and [`Params::value`] in one pass. Twice that name
    /// is an error too: whoever reads the other one would see another dialog (T-SIP-03).
    pub fn checked(self, name: &[u8]) -> Result<Option<&'a [u8]>, Malformed> {
        let mut rest = lex::trim(self.0);
        let mut count = 0_usize;
        let mut found = None;
        while !rest.is_empty() {
            let ((this, value), after) = next(rest)?;
            if this.eq_ignore_ascii_case(name) && found.replace(value).is_some() {
                return Err(Malformed("parameter given twice"));
            }
            rest = after;
            count = count.saturating_add(1);
            if count > warp_model::limits::SIP_PARAMS {
                return Err(Malformed("too many parameters"));
            }
        }
        Ok(found.flatten())
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = ParamIter<'a>;
    fn into_iter(self) -> ParamIter<'a> {
        ParamIter(lex::trim(self.0))
    }
}

/// The iterator over [`Params`], in their order.
#[derive(Clone, Debug)]
pub struct ParamIter<'a>(&'a [u8]);

impl<'a> Iterator for ParamIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        match next(self.0) {
            Ok((param, rest)) => {
                self.0 = rest;
                Some(param)
            }
            Err(_) => {
                self.0 = b"";
                None
            }
        }
    }
}

type Param<'a> = (&'a [u8], Option<&'a [u8]>);

/// One parameter off the front of `s`, which starts with `;`: (name, value) and the rest.
pub(crate) fn next(s: &[u8]) -> Result<(Param<'_>, &[u8]), Malformed> {
    let s = s.strip_prefix(b";").ok_or(Malformed("parameter without semicolon"))?;
    let s = lex::trim_start(s);
    let (name, rest) = param_text(s);
    if name.is_empty() {
        return Err(Malformed("empty parameter name"));
    }
    let rest = lex::trim_start(rest);
    let Some(rest) = rest.strip_prefix(b"=") else {
        return Ok(((name, None), rest));
    };
    let rest = lex::trim_start(rest);
    if rest.first() == Some(&b'"') {
        let (value, rest) = lex::quoted(rest).ok_or(Malformed("unclosed quote"))?;
        return Ok(((name, Some(value)), lex::trim_start(rest)));
    }
    let (value, rest) = param_text(rest);
    if value.is_empty() {
        return Err(Malformed("empty parameter value"));
    }
    Ok(((name, Some(value)), lex::trim_start(rest)))
}

/// What may stand in a parameter's name or value: token, host (brackets, colons) and URI parameter characters (RFC 3261 §25.1
/// `gen-value`, `paramchar`).
#[inline]
fn param_text(s: &[u8]) -> (&[u8], &[u8]) {
    let n = s.iter().position(|b| !lex::is_param_byte(*b)).unwrap_or(s.len());
    lex::step(n);
    s.split_at_checked(n).unwrap_or((s, b""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_forms() {
        let p = Params(b"; a=1 ;b ;C=\"x;y\\\"\";received=[2001:db8::1]");
        let all: Vec<_> = p.into_iter().collect();
        assert_eq!(
            all,
            [
                (&b"a"[..], Some(&b"1"[..])),
                (b"b", None),
                (b"C", Some(b"\"x;y\\\"\"")),
                (b"received", Some(b"[2001:db8::1]")),
            ]
        );
        assert_eq!(p.find(b"B"), Some(None));
        assert_eq!(p.value(b"c"), Some(&b"\"x;y\\\"\""[..]));
        assert!(p.check().is_ok());
        for bad in [&b"a"[..], b";", b";a=", b";a=\"x", b";;a", b";a b"] {
            assert!(Params(bad).check().is_err(), "{}", bad.escape_ascii());
        }
        let many = b";a".repeat(65);
        assert!(Params(&many).check().is_err());
    }
}
