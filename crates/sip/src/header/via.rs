//! Via (RFC 3261 §20.42, rport of RFC 3581).

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::flow::Transport;
use crate::lex::{self, Malformed};
use crate::params::{self, Params};
use crate::uri::{host_ip, host_part};

/// One Via value, in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Via<'a> {
    /// The whole value as written, for copying.
    pub raw: &'a [u8],
    /// Transport token as written: `UDP`, `TLS-SCTP` …
    pub transport: &'a [u8],
    /// Host of sent-by; an IPv6 address with its brackets.
    pub host: &'a [u8],
    /// Port of sent-by, if written.
    pub port: Option<u16>,
    /// Value of the parameter `branch`, if there is one.
    pub branch: Option<&'a [u8]>,
    /// `received`, if there (bare or bracketed address).
    pub received: Option<&'a [u8]>,
    /// `rport`: `Some(None)` asks for it, `Some(Some(port))` is filled in.
    pub rport: Option<Option<u16>>,
    /// Value of the parameter `maddr`, if there is one.
    pub maddr: Option<&'a [u8]>,
    /// All its parameters, in their order.
    pub params: Params<'a>,
}

/// The magic cookie of RFC 3261 §8.1.1.7.
pub const BRANCH_COOKIE: &[u8] = b"z9hG4bK";

impl<'a> Via<'a> {
    /// From one value. Errors: does not follow the grammar, more than `limits::SIP_PARAMS` parameters.
    pub fn parse(raw: &'a [u8]) -> Result<Via<'a>, Malformed> {
        let raw = lex::trim(raw);
        let rest = match raw.strip_prefix(b"SIP/2.0/") {
            Some(rest) => rest,
            None => spaced_protocol(raw, false)?,
        };
        Self::after_protocol(raw, rest)
    }

    /// The same of any SIP version: a request of another version is answered 505, along its Via.
    pub(crate) fn parse_any_version(raw: &'a [u8]) -> Result<Via<'a>, Malformed> {
        let raw = lex::trim(raw);
        Self::after_protocol(raw, spaced_protocol(raw, true)?)
    }

    fn after_protocol(raw: &'a [u8], rest: &'a [u8]) -> Result<Via<'a>, Malformed> {
        let (transport, rest) = lex::token(rest);
        if transport.is_empty() {
            return Err(Malformed("Via transport"));
        }
        let after = lex::trim_start(rest);
        if after.len() == rest.len() {
            return Err(Malformed("Via without sent-by"));
        }
        let (host, rest) = host_part(after).ok_or(Malformed("Via sent-by"))?;
        let rest = lex::trim_start(rest);
        let (port, rest) = match rest.strip_prefix(b":") {
            None => (None, rest),
            Some(rest) => {
                let (digits, rest) = lex::token(lex::trim_start(rest));
                let port = lex::port(digits).ok_or(Malformed("Via port"))?;
                (Some(port), lex::trim_start(rest))
            }
        };
        let mut via = Via { raw, transport, host, port, params: Params(rest), ..Via::default() };
        let mut rest = rest;
        let mut count = 0_usize;
        while !rest.is_empty() {
            let ((name, value), after) = params::next(rest)?;
            rest = after;
            count = count.saturating_add(1);
            if count > warp_model::limits::SIP_PARAMS {
                return Err(Malformed("too many Via parameters"));
            }
            match name.len() {
                6 if name.eq_ignore_ascii_case(b"branch") && via.branch.is_none() => {
                    via.branch = value;
                }
                8 if name.eq_ignore_ascii_case(b"received") => {
                    via.received = value;
                    if host_ip(value.unwrap_or(b"")).is_none() {
                        return Err(Malformed("Via received"));
                    }
                }
                5 if name.eq_ignore_ascii_case(b"rport") => {
                    via.rport = Some(match value {
                        None => None,
                        Some(v) => Some(lex::port(v).ok_or(Malformed("Via rport"))?),
                    });
                }
                5 if name.eq_ignore_ascii_case(b"maddr") => via.maddr = value,
                _ => {}
            }
        }
        Ok(via)
    }

    /// Transport, when it is one that we speak.
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_token(self.transport)
    }

    /// Address of sent-by when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        host_ip(self.host)
    }

    /// The address in the parameter `received`; `None` without a readable one.
    pub fn received_ip(&self) -> Option<IpAddr> {
        host_ip(self.received?)
    }

    /// Branch with the cookie of RFC 3261 and something after it: fit for matching transactions (§17.1.3, §17.2.3).
    pub fn rfc3261_branch(&self) -> Option<&'a [u8]> {
        self.branch.filter(|b| {
            b.len() > BRANCH_COOKIE.len()
                && b.get(..BRANCH_COOKIE.len()).is_some_and(|c| c.eq_ignore_ascii_case(BRANCH_COOKIE))
        })
    }

    /// Appends the value with `received` and `rport` of the source (RFC 3261 §18.2.1, RFC 3581 §4), without those that the sender wrote.
    pub(crate) fn write_received(&self, source: SocketAddr, out: &mut Vec<u8>) {
        let head = self.raw.len().saturating_sub(self.params.0.len());
        out.extend_from_slice(lex::trim_end(self.raw.get(..head).unwrap_or(b"")));
        for (name, value) in self.params {
            if name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport") {
                continue;
            }
            out.push(b';');
            out.extend_from_slice(name);
            if let Some(value) = value {
                out.push(b'=');
                out.extend_from_slice(value);
            }
        }
        if self.rport.is_some() {
            out.extend_from_slice(b";rport=");
            lex::write_number(u64::from(source.port()), out);
        }
        if self.rport.is_some() || self.ip() != Some(source.ip()) {
            let _ = write!(out, ";received={}", source.ip());
        }
    }
}

/// `SIP / 2.0 / ` with white space, as the grammar allows. Another protocol is an error, and so is another version unless any may be.
fn spaced_protocol(raw: &[u8], any_version: bool) -> Result<&[u8], Malformed> {
    let (name, rest) = lex::token(raw);
    let rest = lex::trim_start(rest).strip_prefix(b"/");
    let (version, rest) = lex::token(lex::trim_start(rest.ok_or(Malformed("Via protocol"))?));
    let rest = lex::trim_start(rest).strip_prefix(b"/");
    if !name.eq_ignore_ascii_case(b"SIP") || !(any_version || version == b"2.0") {
        return Err(Malformed("Via protocol"));
    }
    Ok(lex::trim_start(rest.ok_or(Malformed("Via protocol"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_spaced_and_ipv6() {
        let v = Via::parse(
            b"SIP  / 2.0\r\n / TCP     [2001:db8::9:1] : 5070 ; branch = z9hG4bKx;rport;received=192.0.2.1",
        )
        .unwrap();
        assert_eq!(v.transport(), Some(Transport::Tcp));
        assert_eq!((v.host, v.port), (&b"[2001:db8::9:1]"[..], Some(5070)));
        assert_eq!(v.rport, Some(None));
        assert_eq!(v.received_ip(), Some([192, 0, 2, 1].into()));
        assert_eq!(v.rfc3261_branch(), Some(&b"z9hG4bKx"[..]));
        let v = Via::parse(b"SIP/2.0/UDP h;received=2001:db8::1;rport=5099;branch=z9hG4bK").unwrap();
        assert_eq!(v.rport, Some(Some(5099)));
        assert_eq!(v.rfc3261_branch(), None);
        assert_eq!(v.received_ip(), Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn refuses() {
        for bad in [
            &b""[..],
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDPhost",
            b"SIP/7.0/UDP h",
            b"SIP/2.0/UDP h:99999",
            b"SIP/2.0/UDP [::1",
            b"SIP/2.0/UDP h;branch=",
            b"SIP/2.0/UDP h;rport=x",
            b"SIP/2.0/UDP h;received=evil",
            b"SIP/2.0/UDP h junk",
            b"HTTP/2.0/UDP h",
        ] {
            assert!(Via::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
