//! URIs in place: sip and sips (RFC 3261 §19.1), tel (RFC 3966, with the number portability of RFC 4694), any other scheme as text.
//!
//! Invariant: escaped text stays escaped in the message; it is unescaped only into buffers of the reader, so that `%0d%0a` never
//! becomes a line (T-SIP-16).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memmem;

use crate::lex::{self, Malformed};
use crate::params::Params;

/// Scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// A SIP URI: `sip:`.
    Sip,
    /// A SIPS URI: `sips:`.
    Sips,
    /// A telephone number: `tel:` (RFC 3966).
    Tel,
    /// Any other; a Request-URI of such a scheme is answered 416.
    Other,
}

impl Scheme {
    /// Scheme of a URI that is not read further. Errors: no colon, or what stands before it is no scheme.
    pub fn of(uri: &[u8]) -> Result<Scheme, Malformed> {
        scheme(uri).map(|(scheme, _)| scheme)
    }
}

/// A URI, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The whole URI as written.
    pub raw: &'a [u8],
    /// The scheme of the URI.
    pub scheme: Scheme,
    /// sip, sips: the user part without its password, escaped as written. tel: the number with its visual separators.
    pub user: Option<&'a [u8]>,
    /// Password, as written. Never log it.
    pub password: Option<&'a [u8]>,
    /// Host; an IPv6 reference with its brackets. Empty for tel. For other schemes everything after the colon.
    pub host: &'a [u8],
    /// The port, if one is written.
    pub port: Option<u16>,
    /// The parameters of the URI, in their order.
    pub params: Params<'a>,
    /// Embedded headers after `?`, as written. Never turned into headers (T-SIP-16).
    pub headers: Option<&'a [u8]>,
}

impl<'a> Uri<'a> {
    /// From bytes without brackets. Errors: longer than `limits::SIP_URI_BYTES`, no scheme, characters that may not stand there,
    /// bad escapes, bad host or port, bad or more than `limits::SIP_PARAMS` parameters.
    pub fn parse(raw: &'a [u8]) -> Result<Uri<'a>, Malformed> {
        if raw.len() > warp_model::limits::SIP_URI_BYTES {
            return Err(Malformed("URI too long"));
        }
        let (scheme, rest) = scheme(raw)?;
        match scheme {
            Scheme::Sip | Scheme::Sips => Self::parse_sip(raw, scheme, rest),
            Scheme::Tel => Self::parse_tel(raw, rest),
            Scheme::Other => {
                if rest.is_empty() || rest.iter().any(|b| !is_uri_byte(*b)) {
                    return Err(Malformed("URI"));
                }
                Ok(Uri { host: rest, ..Uri::empty(raw, scheme) })
            }
        }
    }

    /// Reads of an odd URI what says where it leads: the Contact that a peer chose, come back as the Request-URI of its dialog's requests
    /// (`sip:b@192.0.2.1;thinfo="x="`, `sip:a@b@192.0.2.1`, `sip:192.0.2.1;`).
    ///
    /// The host stands behind the last `@` before the parameters; a parameter that is broken ends them. Where no host can be told, all of it
    /// is the text of an unknown scheme. Never for what is looked up by its user part: two readers could see two users (T-SIP-03).
    /// Errors: longer than `limits::SIP_URI_BYTES`, empty, or with characters that would not stay within its brackets.
    pub fn parse_target(raw: &'a [u8]) -> Result<Uri<'a>, Malformed> {
        match Self::parse(raw) {
            Ok(uri) => Ok(uri),
            Err(_) => Self::odd_target(raw),
        }
    }

    #[cold]
    fn odd_target(raw: &'a [u8]) -> Result<Uri<'a>, Malformed> {
        let breaks = |b: &u8| b.is_ascii_control() || matches!(b, b' ' | b'<' | b'>');
        if raw.is_empty() || raw.len() > warp_model::limits::SIP_URI_BYTES || raw.iter().any(breaks) {
            return Err(Malformed("URI"));
        }
        let opaque = Uri { host: raw, ..Uri::empty(raw, Scheme::Other) };
        let Ok((scheme @ (Scheme::Sip | Scheme::Sips), rest)) = scheme(raw) else {
            return Ok(opaque);
        };
        // A user part may hold ';' and '?' and a quoted parameter may hold '@': what leaves a host and parameters behind it is it.
        let cut = rest.iter().position(|b| matches!(b, b';' | b'?')).unwrap_or(rest.len());
        let (head, tail) = rest.split_at_checked(cut).unwrap_or((rest, b""));
        let after_at = |s: &'a [u8]| {
            memchr::memrchr(b'@', s).map_or(s, |at| s.get(at.saturating_add(1)..).unwrap_or(b""))
        };
        let whole = host_and_port(after_at(rest)).filter(|(.., left)| matches!(left, [] | [b';' | b'?', ..]));
        let short = || {
            host_and_port(after_at(head)).filter(|(.., left)| left.is_empty()).map(|(h, p, _)| (h, p, tail))
        };
        let Some((host, port, left)) = whole.or_else(short) else {
            return Ok(opaque);
        };
        let params = memchr::memchr(b'?', left).map_or(left, |q| left.get(..q).unwrap_or(left));
        Ok(Uri { host, port, params: Params(params), ..Uri::empty(raw, scheme) })
    }

    fn empty(raw: &'a [u8], scheme: Scheme) -> Uri<'a> {
        Uri {
            raw,
            scheme,
            user: None,
            password: None,
            host: b"",
            port: None,
            params: Params(b""),
            headers: None,
        }
    }

    fn parse_sip(raw: &'a [u8], scheme: Scheme, rest: &'a [u8]) -> Result<Uri<'a>, Malformed> {
        let mut uri = Uri::empty(raw, scheme);
        // A user part may hold ';', '?' and '/' (RFC 3261 §25.1 user-unreserved), so the '@' is looked for first. None may stand
        // unescaped after it.
        let rest = match memchr::memchr(b'@', rest) {
            None => rest,
            Some(at) => {
                let (userinfo, after) = rest.split_at_checked(at).ok_or(Malformed("URI"))?;
                let (user, password) = match memchr::memchr(b':', userinfo) {
                    None => (userinfo, None),
                    Some(c) => (userinfo.get(..c).unwrap_or(b""), userinfo.get(c.saturating_add(1)..)),
                };
                if user.is_empty() {
                    return Err(Malformed("URI with empty user"));
                }
                check_text(user, lex::USER)?;
                if let Some(password) = password {
                    check_text(password, lex::PASSWORD)?;
                }
                uri.user = Some(user);
                uri.password = password;
                after.get(1..).unwrap_or(b"")
            }
        };
        let (host, port, rest) = host_and_port(rest).ok_or(Malformed("URI host or port"))?;
        (uri.host, uri.port) = (host, port);
        let (params, headers) = match memchr::memchr(b'?', rest) {
            None => (rest, None),
            Some(q) => (rest.get(..q).unwrap_or(b""), rest.get(q.saturating_add(1)..)),
        };
        check_params(params)?;
        uri.params = Params(params);
        if let Some(headers) = headers {
            if headers.is_empty() {
                return Err(Malformed("URI headers"));
            }
            check_text(headers, lex::URI_HEADERS)?;
            uri.headers = Some(headers);
        }
        Ok(uri)
    }

    fn parse_tel(raw: &'a [u8], rest: &'a [u8]) -> Result<Uri<'a>, Malformed> {
        let n = memchr::memchr(b';', rest).unwrap_or(rest.len());
        let (number, params) = rest.split_at_checked(n).ok_or(Malformed("tel URI"))?;
        let digits = number.strip_prefix(b"+").unwrap_or(number);
        let global = digits.len() != number.len();
        let ok = |b: &u8| match b {
            b'0'..=b'9' | b'-' | b'.' | b'(' | b')' => true,
            b'*' | b'#' | b'a'..=b'f' | b'A'..=b'F' => !global,
            _ => false,
        };
        if !digits.iter().all(ok) || !digits.iter().any(|b| b.is_ascii_hexdigit() || matches!(b, b'*' | b'#'))
        {
            return Err(Malformed("tel number"));
        }
        check_params(params)?;
        Ok(Uri { user: Some(number), params: Params(params), ..Uri::empty(raw, Scheme::Tel) })
    }

    /// Host as an address, when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        host_ip(self.host)
    }

    /// Whether it is the emergency service or one of its kinds (RFC 5031 §4.2): `urn:service:sos`, `urn:service:sos.fire`.
    pub fn is_emergency_service(&self) -> bool {
        const SOS: &[u8] = b"urn:service:sos";
        let (head, rest) = self.raw.split_at_checked(SOS.len()).unwrap_or((self.raw, b""));
        head.eq_ignore_ascii_case(SOS) && matches!(rest, [] | [b'.', ..])
    }

    /// Whether the URI routes loosely (`lr`, RFC 3261 §16.12).
    pub fn is_loose(&self) -> bool {
        self.params.has(b"lr")
    }

    /// The user part unescaped into `out`: `None` when there is none or it does not fit.
    pub fn user_unescaped<'o>(&self, out: &'o mut [u8]) -> Option<&'o [u8]> {
        unescape(self.user?, out)
    }

    /// The number that this URI dials, digits only with an optional `+`, into `out`: of a tel URI, or of a sip user part that reads as one
    /// (with or without `user=phone`); parameters within the user part (`+1415;npdi`) are left out. `None` when it is not a number.
    pub fn number<'o>(&self, out: &'o mut [u8]) -> Option<&'o [u8]> {
        let user = self.user?;
        let user = user.split(|b| *b == b';').next()?;
        let mut n = 0_usize;
        let mut at = 0_usize;
        while let Some(b) = user.get(at) {
            let (b, step) = match b {
                b'%' => (hex_pair(user.get(at.saturating_add(1)..)?)?, 3),
                b => (*b, 1),
            };
            at = at.saturating_add(step);
            match b {
                b'0'..=b'9' | b'*' | b'#' => {}
                b'+' if n == 0 => {}
                b'-' | b'.' | b'(' | b')' => continue,
                _ => return None,
            }
            *out.get_mut(n)? = b;
            n = n.saturating_add(1);
        }
        let number = out.get(..n)?;
        number.iter().any(u8::is_ascii_digit).then_some(number)
    }

    /// Parameter of a telephone number (`npdi`, `rn`, `cic`, `phone-context`, RFC 3966, RFC 4694): of a tel URI, or of the user part of a sip
    /// URI (`sip:+14155550100;npdi;rn=+14155550199@gw`, RFC 3398 §12).
    pub fn number_param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        if self.scheme == Scheme::Tel {
            return self.params.find(name);
        }
        let user = self.user?;
        let at = memchr::memchr(b';', user)?;
        Params(user.get(at..)?).find(name)
    }

    /// Routing number of a ported number (RFC 4694 §5.1).
    pub fn routing_number(&self) -> Option<&'a [u8]> {
        self.number_param(b"rn").flatten()
    }

    /// Whether the number portability query was done (`npdi`, RFC 4694 §5.2).
    pub fn has_npdi(&self) -> bool {
        self.number_param(b"npdi").is_some()
    }

    /// Whether two URIs are equal: RFC 3261 §19.1.4 for sip and sips, RFC 3966 §5 for tel, same bytes for others.
    pub fn is_equal(&self, other: &Uri<'_>) -> bool {
        if self.scheme != other.scheme {
            return false;
        }
        match self.scheme {
            Scheme::Sip | Scheme::Sips => {
                same_opt(self.user, other.user, false)
                    && same_opt(self.password, other.password, false)
                    && same_host(self.host, other.host)
                    && self.port == other.port
                    && sip_params_agree(self.params, other.params)
                    && sip_params_agree(other.params, self.params)
                    && same_headers(self.headers, other.headers)
            }
            Scheme::Tel => {
                same_number(self.user, other.user)
                    && tel_params_within(self.params, other.params)
                    && tel_params_within(other.params, self.params)
            }
            Scheme::Other => self.raw == other.raw,
        }
    }
}

/// Host, port if written, and what is left.
#[inline]
fn host_and_port(s: &[u8]) -> Option<(&[u8], Option<u16>, &[u8])> {
    let (host, rest) = host_part(s)?;
    let Some(rest) = rest.strip_prefix(b":") else {
        return Some((host, None, rest));
    };
    let n = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at_checked(n)?;
    Some((host, Some(lex::port(digits)?), rest))
}

/// A host off the front: bracketed IPv6, or characters of names and IPv4.
pub(crate) fn host_part(s: &[u8]) -> Option<(&[u8], &[u8])> {
    if s.first() == Some(&b'[') {
        let end = s.iter().take(48).position(|b| *b == b']')?;
        let (host, rest) = s.split_at_checked(end.checked_add(1)?)?;
        host_ip(host)?;
        return Some((host, rest));
    }
    let n = s.iter().position(|b| !lex::is_host_byte(*b)).unwrap_or(s.len());
    (n > 0).then(|| s.split_at_checked(n)).flatten()
}

/// An address in a host part or parameter: IPv4, IPv6 with or without brackets (RFC 5118 §4.5 asks for both in `received`).
pub fn host_ip(host: &[u8]) -> Option<IpAddr> {
    let first = host.first()?;
    if !(first.is_ascii_digit() || *first == b'[' || host.contains(&b':')) {
        return None;
    }
    if let Some(inner) = host.strip_prefix(b"[") {
        return v6(inner.strip_suffix(b"]")?).map(IpAddr::V6);
    }
    if host.contains(&b':') {
        return v6(host).map(IpAddr::V6);
    }
    v4(host).map(IpAddr::V4)
}

/// Four decimal numbers without leading zeros, as the standard library reads them.
fn v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let (mut nth, mut digits, mut n) = (0_usize, 0_u8, 0_u16);
    for b in text {
        match b {
            b'0'..=b'9' if digits < 3 && !(digits > 0 && n == 0) => {
                n = n.saturating_mul(10).saturating_add(u16::from(b.wrapping_sub(b'0')));
                digits = digits.saturating_add(1);
            }
            b'.' if digits > 0 && nth < 3 => {
                *octets.get_mut(nth)? = u8::try_from(n).ok()?;
                nth = nth.saturating_add(1);
                (digits, n) = (0, 0);
            }
            _ => return None,
        }
    }
    *octets.get_mut(3)? = u8::try_from(n).ok()?;
    (nth == 3 && digits > 0).then(|| octets.into())
}

/// An IPv6 address; also with the third colon before an embedded IPv4 address that the grammar of RFC 3261 asks for by mistake
/// (RFC 5118 §4.10: both forms must be taken; RFC 5954 corrects the grammar).
fn v6(text: &[u8]) -> Option<Ipv6Addr> {
    let parse = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    if let Some(ip) = parse(text) {
        return Some(ip);
    }
    let at = memmem::find(text, b":::")?;
    let (front, back) = text.split_at_checked(at)?;
    if front.is_empty()
        || !back.get(3..)?.split(|b| *b == b'.').all(|part| part.iter().all(u8::is_ascii_digit))
    {
        return None;
    }
    let mut copy = [0_u8; 48];
    let mut len = 0_usize;
    for b in front.iter().chain(back.get(1..)?) {
        *copy.get_mut(len)? = *b;
        len = len.saturating_add(1);
    }
    parse(copy.get(..len)?)
}

/// Unescapes `%HH` into `out`: `None` when an escape is bad or `out` is too small.
pub fn unescape<'o>(text: &[u8], out: &'o mut [u8]) -> Option<&'o [u8]> {
    let mut n = 0_usize;
    for b in Unescaped(text) {
        *out.get_mut(n)? = b?;
        n = n.saturating_add(1);
    }
    out.get(..n)
}

/// Bytes with escapes resolved; `None` for a bad escape.
struct Unescaped<'a>(&'a [u8]);

impl Iterator for Unescaped<'_> {
    type Item = Option<u8>;
    fn next(&mut self) -> Option<Option<u8>> {
        match self.0 {
            [] => None,
            [b'%', rest @ ..] => {
                self.0 = rest.get(2..).unwrap_or(b"");
                Some(hex_pair(rest))
            }
            [b, rest @ ..] => {
                self.0 = rest;
                Some(Some(*b))
            }
        }
    }
}

fn hex_pair(s: &[u8]) -> Option<u8> {
    let digit = |b: u8| (b as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
    match s {
        [a, b, ..] => Some(digit(*a)? << 4 | digit(*b)?),
        _ => None,
    }
}

/// The scheme and what follows its colon.
fn scheme(raw: &[u8]) -> Result<(Scheme, &[u8]), Malformed> {
    // Nearly every URI begins like this.
    if let Some(rest) = raw.strip_prefix(b"sip:") {
        return Ok((Scheme::Sip, rest));
    }
    let colon = lex::find_colon(raw).ok_or(Malformed("URI without scheme"))?;
    let (name, rest) = raw.split_at_checked(colon).ok_or(Malformed("URI"))?;
    let scheme = if name.eq_ignore_ascii_case(b"sip") {
        Scheme::Sip
    } else if name.eq_ignore_ascii_case(b"sips") {
        Scheme::Sips
    } else if name.eq_ignore_ascii_case(b"tel") {
        Scheme::Tel
    } else {
        let ok = name.first().is_some_and(u8::is_ascii_alphabetic)
            && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        ok.then_some(Scheme::Other).ok_or(Malformed("URI without scheme"))?
    };
    Ok((scheme, rest.get(1..).unwrap_or(b"")))
}

/// Good escapes, and characters of one class of [`lex`].
fn check_text(s: &[u8], class: u8) -> Result<(), Malformed> {
    if lex::all_escaped(s, class) { Ok(()) } else { Err(Malformed("character not allowed in URI")) }
}

fn check_params(params: &[u8]) -> Result<(), Malformed> {
    if params.is_empty() {
        return Ok(());
    }
    check_text(params, lex::URI_PARAMS)?;
    Params(params).check()
}

fn is_uri_byte(b: u8) -> bool {
    b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// Equal after resolving escapes. RFC 3261 §19.1.4: reserved characters differ from their escapes, others do not.
fn same(a: &[u8], b: &[u8], ignore_case: bool) -> bool {
    let fold = |b: Option<u8>| match b {
        Some(b) if ignore_case => Some(b.to_ascii_lowercase()),
        b => b,
    };
    if a.contains(&b'%') || b.contains(&b'%') {
        let reserved = |s: &[u8]| s.iter().filter(|b| b";/?:@&=+$,".contains(b)).count();
        return reserved(a) == reserved(b)
            && Unescaped(a).map(fold).eq(Unescaped(b).map(fold))
            && Unescaped(a).all(|b| b.is_some());
    }
    if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b }
}

fn same_opt(a: Option<&[u8]>, b: Option<&[u8]>, ignore_case: bool) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => same(a, b, ignore_case),
        _ => false,
    }
}

fn same_host(a: &[u8], b: &[u8]) -> bool {
    match (host_ip(a), host_ip(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.eq_ignore_ascii_case(b),
    }
}

/// Each parameter of `a` that `b` has too is equal there; those that must stand in both or none (user, ttl, method, maddr, transport) do.
fn sip_params_agree(a: Params<'_>, b: Params<'_>) -> bool {
    a.into_iter().all(|(name, value)| match b.find(name) {
        Some(other) => same_opt(value, other, true),
        None => ![&b"user"[..], b"ttl", b"method", b"maddr", b"transport"]
            .iter()
            .any(|n| name.eq_ignore_ascii_case(n)),
    })
}

/// Embedded headers are equal as sets (RFC 3261 §19.1.4: never ignored).
fn same_headers(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return a.is_none() && b.is_none();
    };
    let within = |a: &[u8], b: &[u8]| {
        a.split(|b| *b == b'&').all(|x| b.split(|b| *b == b'&').any(|y| same_header(x, y)))
    };
    within(a, b) && within(b, a)
}

/// `name=value`: names in any case, values as written.
fn same_header(a: &[u8], b: &[u8]) -> bool {
    let split = |s: &'_ [u8]| -> (usize, usize) {
        let n = s.iter().position(|b| *b == b'=').unwrap_or(s.len());
        (n, s.len())
    };
    let ((an, al), (bn, bl)) = (split(a), split(b));
    match (a.get(..an), b.get(..bn), a.get(an..al), b.get(bn..bl)) {
        (Some(a), Some(b), Some(av), Some(bv)) => same(a, b, true) && same(av, bv, false),
        _ => false,
    }
}

/// Whether two numbers are the same without their visual separators (RFC 3966 §5.1.1).
fn same_number(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    fn digits(number: &[u8]) -> impl Iterator<Item = u8> + '_ {
        let separator = |b: &&u8| !matches!(**b, b'-' | b'.' | b'(' | b')');
        number.iter().filter(separator).map(u8::to_ascii_lowercase)
    }
    digits(a.unwrap_or(b"")).eq(digits(b.unwrap_or(b"")))
}

fn tel_params_within(a: Params<'_>, b: Params<'_>) -> bool {
    a.into_iter().all(|(name, value)| match b.find(name) {
        Some(other) => same_opt(value, other, true),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contacts of OpenSIPS' topology hiding, of gateways and of telephones, as targets: freeswitch#2824, SIP.js#419, #560, #593.
    #[test]
    fn odd_targets_lead_where_their_host_says() {
        let h = |text: &'static str| {
            let u = Uri::parse_target(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
            let host = std::str::from_utf8(u.host).unwrap();
            assert_eq!(u.raw, text.as_bytes());
            (u.scheme, host, u.port, u.params.value(b"transport"))
        };
        let sip = |host, port| (Scheme::Sip, host, port, None);
        for (text, host, port) in [
            ("sip:192.0.2.1;thinfo=\"aGVsbG8=\"", "192.0.2.1", None),
            ("sip:b@192.0.2.1:5070;thinfo=\"a@c\"", "192.0.2.1", Some(5070)),
            ("sip:192.0.2.1:5070;thinfo=\"a@c\"", "192.0.2.1", Some(5070)),
            ("sip:a@b@192.0.2.1:5080", "192.0.2.1", Some(5080)),
            ("sip:192.0.2.1;", "192.0.2.1", None),
            ("sip:b@192.0.2.1:5062;;lr", "192.0.2.1", Some(5062)),
            ("sip:a;x=1?y@192.0.2.1;", "192.0.2.1", None),
            ("sip:@192.0.2.1", "192.0.2.1", None),
            ("sip:a|b@[2001:db8::1]:5060", "[2001:db8::1]", Some(5060)),
        ] {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
            assert_eq!(h(text), sip(host, port), "{text}");
        }
        let tcp = h("sip:b@192.0.2.1;transport=tcp;x=\"@\";;");
        assert_eq!(tcp, (Scheme::Sip, "192.0.2.1", None, Some(&b"tcp"[..])));
        // What is not odd is read as always.
        assert_eq!(Uri::parse_target(b"sip:a@h;x"), Uri::parse(b"sip:a@h;x"));
        // No host can be told: the text of a scheme that nobody resolves.
        for text in
            ["sip:", "sip:;x", "sip:a@", "nonsense", "sip:a@h:99999", "tel:x y".trim_end_matches(" y")]
        {
            assert_eq!(h(text).0, Scheme::Other, "{text}");
        }
        for text in ["", "sip:a b@h", "sip:a@h>", "sip:<a@h", "sip:a@h\r\nX: y", "sip:a@h\0"] {
            assert!(Uri::parse_target(text.as_bytes()).is_err(), "{}", text.escape_debug());
        }
    }

    fn uri(s: &str) -> Uri<'_> {
        Uri::parse(s.as_bytes()).unwrap_or_else(|e| panic!("{s}: {e}"))
    }

    /// The same verdict as the standard library's parser, on everything near an address.
    #[test]
    fn ipv4_is_read_as_the_standard_library_reads_it() {
        let pieces =
            ["0", "1", "00", "01", "9", "99", "255", "256", "999", "1000", "", "a", " 1", "-1", "+1"];
        for a in pieces {
            for b in pieces {
                for text in [
                    format!("{a}.{b}.0.1"),
                    format!("1.2.{a}.{b}"),
                    format!("{a}.{b}"),
                    format!("1.2.3.{a}.{b}"),
                    format!("{a}.2.3.{b}."),
                    format!(".{a}.2.3.{b}"),
                ] {
                    assert_eq!(v4(text.as_bytes()), text.parse().ok(), "{text}");
                }
            }
        }
    }

    #[test]
    fn parts() {
        let u = uri("sips:al%69ce:pw@[2001:db8::9]:5070;transport=tcp;lr?subject=x&a=b");
        assert_eq!(u.scheme, Scheme::Sips);
        assert_eq!(u.user, Some(&b"al%69ce"[..]));
        assert_eq!(u.password, Some(&b"pw"[..]));
        assert_eq!(u.ip(), Some("2001:db8::9".parse().unwrap()));
        assert_eq!(u.port, Some(5070));
        assert!(u.is_loose());
        assert_eq!(u.headers, Some(&b"subject=x&a=b"[..]));
        assert_eq!(u.user_unescaped(&mut [0; 16]), Some(&b"alice"[..]));
        assert_eq!(u.user_unescaped(&mut [0; 4]), None);
        let u = uri("sip:user;par=u%40example.net@example.com");
        assert_eq!(u.user, Some(&b"user;par=u%40example.net"[..]));
        assert_eq!(u.host, b"example.com");
        let u = uri(
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
        );
        assert_eq!(u.host, b"example.com");
        assert_eq!(uri("nobodyKnowsThisScheme:totallyopaquecontent").scheme, Scheme::Other);
    }

    #[test]
    fn refuses() {
        for bad in [
            "",
            "sip",
            "sip:",
            "sip:@h",
            "sip:a@",
            "sip:a@h:99999",
            "sip:a@h:x",
            "sip:a@[::1",
            "sip:a@[1.2.3.4]",
            "sip:a b@h",
            "sip:a@h;x y",
            "sip:%4@h",
            "sip:a@h?",
            "sip:a@b@c",
            "<sip:a@h>",
            "tel:",
            "tel:+",
            "tel:+abc",
            "tel:5;",
            "1sip:a@h",
            "sip:a\"@h",
            "sip:a@h>",
        ] {
            assert!(Uri::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Uri::parse(format!("sip:{}@h", "a".repeat(1024)).as_bytes()).is_err());
    }

    #[test]
    fn numbers() {
        let n = |s| uri(s).number(&mut [0; 32]).map(|n| String::from_utf8_lossy(n).into_owned());
        assert_eq!(n("tel:+1-415-555.0100").as_deref(), Some("+14155550100"));
        assert_eq!(
            n("sip:%2B14155550100;npdi;rn=+14155550199@gw;user=phone").as_deref(),
            Some("+14155550100")
        );
        assert_eq!(n("sip:7890#14155550100@gw").as_deref(), Some("7890#14155550100"), "a technical prefix");
        assert_eq!(n("sip:alice@h"), None);
        assert_eq!(n("sip:h"), None);
        // A plus stands in front, or it is no number of one country: nobody dials what is behind it.
        for odd in ["sip:0111+442079460000@h", "sip:%2B%2B14155550100@h", "sip:+1-+415@h"] {
            assert_eq!(n(odd), None, "{odd}");
        }
        let u = uri("sip:+14155550100;npdi;rn=+14155550199@gw;user=phone");
        assert!(u.has_npdi());
        assert_eq!(u.routing_number(), Some(&b"+14155550199"[..]));
        let u = uri("tel:555-0100;phone-context=+1415;npdi;rn=+14155550199");
        assert!(u.has_npdi());
        assert_eq!(u.number_param(b"phone-context"), Some(Some(&b"+1415"[..])));
    }

    /// The lists of RFC 3261 §19.1.4.
    #[test]
    fn rfc3261_19_1_4_equality() {
        let equal = [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("tel:+1-201-555-0123", "tel:+12015550123"),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
        ];
        for (a, b) in equal {
            assert!(uri(a).is_equal(&uri(b)) && uri(b).is_equal(&uri(a)), "{a} {b}");
        }
        let different = [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a%40b@h", "sip:a@h"),
            ("sip:a%3Bb@h", "sip:a;b@h"),
            ("sip:a@h", "sips:a@h"),
            ("tel:555-0100;phone-context=+1415", "tel:555-0100"),
        ];
        for (a, b) in different {
            assert!(!uri(a).is_equal(&uri(b)) && !uri(b).is_equal(&uri(a)), "{a} {b}");
        }
    }
}
