//! Reason (RFC 3326): why a request or response was sent, as `Q.850;cause=16;text="Normal"` or `SIP;cause=487`.

use crate::lex::{self, Malformed};
use crate::params::Params;

/// One Reason value, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// Protocol token as written: `SIP`, `Q.850`, …
    pub protocol: &'a [u8],
    /// `cause`, when there is one: a status code, or a Q.850 cause (0 to 127).
    pub cause: Option<u16>,
    /// `text` without its quotes, escapes as written.
    pub text: Option<&'a [u8]>,
}

impl<'a> Reason<'a> {
    /// From one value. Errors: no protocol, bad parameters, a cause that is no number below 65,536.
    pub fn parse(raw: &'a [u8]) -> Result<Reason<'a>, Malformed> {
        let (protocol, rest) = lex::token(lex::trim(raw));
        if protocol.is_empty() {
            return Err(Malformed("Reason without protocol"));
        }
        let params = Params(lex::trim_start(rest));
        let cause = match params.checked(b"cause")? {
            None => None,
            Some(text) => {
                let cause = lex::number(text).and_then(|n| u16::try_from(n).ok());
                Some(cause.ok_or(Malformed("Reason cause"))?)
            }
        };
        let text = params.value(b"text").map(|t| {
            let inner = t.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\""));
            inner.unwrap_or(t)
        });
        Ok(Reason { protocol, cause, text })
    }

    /// Whether it is of ISDN: `Q.850`.
    pub fn is_q850(&self) -> bool {
        self.protocol.eq_ignore_ascii_case(b"Q.850")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3326_2_examples() {
        let r = Reason::parse(b"SIP ;cause=200 ;text=\"Call completed elsewhere\"").unwrap();
        assert_eq!((r.protocol, r.cause), (&b"SIP"[..], Some(200)));
        assert_eq!(r.text, Some(&b"Call completed elsewhere"[..]));
        let r = Reason::parse(b"Q.850 ;cause=16 ;text=\"Terminated\"").unwrap();
        assert!(r.is_q850());
        assert_eq!(r.cause, Some(16));
        assert_eq!(Reason::parse(b"Preemption").unwrap().cause, None);
        for bad in [
            &b""[..],
            b";cause=1",
            b"SIP;cause=x",
            b"SIP;cause=70000",
            b"SIP;cause=1;cause=2",
            b"SIP cause=1",
        ] {
            assert!(Reason::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
