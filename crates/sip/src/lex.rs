//! Small lexical pieces of RFC 3261 §25.1, over byte slices. Nothing here allocates or looks past its slice.

/// Whether a byte belongs to `token` (RFC 3261 §25.1).
#[inline]
pub fn is_token_byte(b: u8) -> bool {
    CLASS.get(usize::from(b)).is_some_and(|c| c & TOKEN != 0)
}

/// Whether the slice is a non-empty token.
pub fn is_token(s: &[u8]) -> bool {
    !s.is_empty() && s.iter().all(|b| is_token_byte(*b))
}

/// Whether a byte is `unreserved` of RFC 3261 §25.1 (alphanumeric or mark).
pub fn is_unreserved(b: u8) -> bool {
    CLASS.get(usize::from(b)).is_some_and(|c| c & UNRESERVED != 0)
}

/// Whether a byte may stand in a parameter's name or unquoted value: `token`, and what hosts and URI parameters add to it.
#[inline]
pub fn is_param_byte(b: u8) -> bool {
    CLASS.get(usize::from(b)).is_some_and(|c| c & PARAM != 0)
}

/// Whether a byte may stand in a host name or an IPv4 address; `_` is not in the grammar and common.
#[inline]
pub(crate) fn is_host_byte(b: u8) -> bool {
    CLASS.get(usize::from(b)).is_some_and(|c| c & HOST != 0)
}

/// Whether all bytes are of one of the classes in `mask`, but for escapes `%HH`.
#[inline]
pub(crate) fn all_escaped(s: &[u8], mask: u8) -> bool {
    let mut rest = s;
    while let [b, tail @ ..] = rest {
        step(0);
        rest = tail;
        if CLASS.get(usize::from(*b)).is_some_and(|c| c & mask != 0) {
            continue;
        }
        match (b, tail) {
            (b'%', [hi, lo, after @ ..]) if hi.is_ascii_hexdigit() && lo.is_ascii_hexdigit() => rest = after,
            _ => return false,
        }
    }
    true
}

/// Whether a byte is white space within a header value: SP, HT, and CR or LF, which the index only leaves there as part of a fold.
#[inline]
pub fn is_lws(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// The slice without white space at its start.
#[inline]
pub fn trim_start(mut s: &[u8]) -> &[u8] {
    while let [b, rest @ ..] = s {
        step(0);
        if !is_lws(*b) {
            break;
        }
        s = rest;
    }
    s
}

/// The slice without white space at its end.
#[inline]
pub fn trim_end(mut s: &[u8]) -> &[u8] {
    while let [rest @ .., b] = s {
        step(0);
        if !is_lws(*b) {
            break;
        }
        s = rest;
    }
    s
}

/// The slice without white space on either side.
#[inline(always)]
pub fn trim(s: &[u8]) -> &[u8] {
    // Nearly every value has one space in front and none behind.
    let s = s.strip_prefix(b" ").unwrap_or(s);
    match s {
        [first, .., last] if !is_lws(*first) && !is_lws(*last) => s,
        _ => trim_end(trim_start(s)),
    }
}

/// Where the first colon is. Eight bytes at a time: header names are too short for vector instructions to pay.
#[inline]
pub(crate) fn find_colon(s: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0_usize;
    let mut rest = s;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        // A byte becomes zero where it was a colon, and the lowest zero byte is the one whose high bit the subtraction sets.
        let x = u64::from_le_bytes(*chunk) ^ (ONES.wrapping_mul(b':' as u64));
        let zero = x.wrapping_sub(ONES) & !x & HIGH;
        if zero != 0 {
            return Some(at.saturating_add((zero.trailing_zeros() >> 3) as usize));
        }
        at = at.saturating_add(8);
        rest = tail;
    }
    rest.iter().position(|b| *b == b':').map(|n| at.saturating_add(n))
}

/// Splits a token off the front: (token, rest). The token may be empty.
#[inline]
pub fn token(s: &[u8]) -> (&[u8], &[u8]) {
    let n = s.iter().position(|b| !is_token_byte(*b)).unwrap_or(s.len());
    step(n);
    s.split_at_checked(n).unwrap_or((s, b""))
}

/// Counts bytes looked at, in unit tests: the parser's work is linear in its input (`ref/threats-and-faults` §4 (c)), which a clock
/// would show too late and too vaguely.
#[cfg(test)]
pub(crate) fn step(n: usize) {
    STEPS.with(|s| s.set(s.get() + n + 1));
}

#[cfg(test)]
thread_local! {
    pub(crate) static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step(_: usize) {}

/// Splits a quoted string off the front, quotes included: (string, rest). `None` when it does not start with a quote or does not end.
pub fn quoted(s: &[u8]) -> Option<(&[u8], &[u8])> {
    let body = s.strip_prefix(b"\"")?;
    let mut escaped = false;
    for (i, b) in body.iter().enumerate() {
        step(0);
        match (escaped, b) {
            (true, _) => escaped = false,
            (false, b'\\') => escaped = true,
            (false, b'"') => return s.split_at_checked(i.checked_add(2)?),
            _ => {}
        }
    }
    None
}

/// Whether every quoted string that begins in `s` ends in it.
pub(crate) fn quotes_close(s: &[u8]) -> bool {
    let mut rest = s;
    while let Some(at) = memchr::memchr(b'"', rest) {
        match rest.get(at..).and_then(quoted) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

/// Splits the first of several comma-separated values off: (value trimmed, rest after its comma, or `None` at the end).
/// Commas within quotes or angle brackets do not separate. `Err` when a quote or a bracket stays open
/// before a comma.
#[allow(clippy::type_complexity)]
pub fn split_comma(s: &[u8]) -> Result<(&[u8], Option<&[u8]>), Malformed> {
    // Most lines hold one value; whoever reads it finds a quote or bracket that stays open.
    if memchr::memchr(b',', s).is_none() {
        step(s.len());
        return Ok((trim(s), None));
    }
    let mut at = 0_usize;
    loop {
        let rest = s.get(at..).unwrap_or(b"");
        // Brackets in quotes, and quotes in brackets, are text.
        let Some(hit) = memchr::memchr3(b',', b'"', b'<', rest) else {
            step(rest.len());
            return Ok((trim(s), None));
        };
        step(hit);
        let from = rest.get(hit..).unwrap_or(b"");
        let skip = match from.first() {
            Some(b',') => {
                let (value, rest) = s.split_at_checked(at.saturating_add(hit)).ok_or(Malformed("comma"))?;
                return Ok((trim(value), rest.get(1..)));
            }
            Some(b'"') => quoted(from).map(|(text, _)| text.len()),
            _ => memchr::memchr(b'>', from).inspect(|n| step(*n)).map(|n| n.saturating_add(1)),
        };
        let skip = skip.ok_or(Malformed("unclosed quote or bracket"))?;
        at = at.saturating_add(hit).saturating_add(skip);
    }
}

/// A decimal number of at most 10 digits that fits `u32`; white space around it is allowed.
pub fn number(s: &[u8]) -> Option<u32> {
    let s = trim(s);
    if s.is_empty() || s.len() > 20 {
        return None;
    }
    let mut n: u64 = 0;
    for b in s {
        if !b.is_ascii_digit() {
            return None;
        }
        n = n.checked_mul(10)?.checked_add(u64::from(b.wrapping_sub(b'0')))?;
    }
    u32::try_from(n).ok()
}

/// Appends a number in decimal digits.
#[inline]
pub(crate) fn write_number(n: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut n = n;
    loop {
        at = at.saturating_sub(1);
        if let Some(d) = digits.get_mut(at) {
            *d = b'0'.wrapping_add(u8::try_from(n % 10).unwrap_or(0));
        }
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or(b""));
}

/// A port: 1 to 5 digits, 0 to 65535.
pub fn port(s: &[u8]) -> Option<u16> {
    if s.is_empty() || s.len() > 5 {
        return None;
    }
    let mut n = 0_u32;
    for b in s {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n = n.saturating_mul(10).saturating_add(u32::from(digit));
    }
    u16::try_from(n).ok()
}

/// Where `part`, a subslice of `whole`, begins in it. `None` when it is not one.
pub fn offset_in(whole: &[u8], part: &[u8]) -> Option<usize> {
    let at = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (at.checked_add(part.len())? <= whole.len()).then_some(at)
}

/// A value does not follow its grammar; the text says which rule, for the reason phrase and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

const TOKEN: u8 = 1;
const UNRESERVED: u8 = 2;
/// Letters and digits, and what else stands in names and IPv4 addresses.
const HOST: u8 = 128;
const PARAM: u8 = 4;
/// `unreserved` and `user-unreserved`, and `#`: carriers write it between a technical prefix and the number (`7890#14155550100`), although
/// the grammar wants it escaped.
pub(crate) const USER: u8 = 8;
/// `unreserved` and what a password may have besides.
pub(crate) const PASSWORD: u8 = 16;
/// `paramchar`, and the `;` and `=` between them.
pub(crate) const URI_PARAMS: u8 = 32;
/// `hnv-unreserved` and `unreserved`, and the `&` and `=` between them; `;` `,` and `@` are let pass, as most do.
pub(crate) const URI_HEADERS: u8 = 64;

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // evaluated by the compiler
const fn with(mut table: [u8; 256], bytes: &[u8], class: u8) -> [u8; 256] {
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] |= class;
        i += 1;
    }
    table
}

#[allow(clippy::indexing_slicing)] // evaluated by the compiler
static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        if (i as u8).is_ascii_alphanumeric() {
            table[i] = 255;
        }
        i += 1;
    }
    table = with(table, b"-._", HOST);
    table = with(table, b"-.!%*_+`'~", TOKEN | PARAM);
    table = with(table, b"[]:/&$()@", PARAM);
    table = with(table, b"-_.!~*'()", UNRESERVED | USER | PASSWORD | URI_PARAMS | URI_HEADERS);
    table = with(table, b"&=+$,;?/#", USER);
    table = with(table, b"&=+$,", PASSWORD);
    table = with(table, b"[]/:&+$;=", URI_PARAMS);
    with(table, b"[]/?:+$&=;,@", URI_HEADERS)
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let s = b"\"a,\\\"b\" <sip:x,y@z> , <sip:2>";
        let (first, rest) = split_comma(s).unwrap();
        assert_eq!(first, b"\"a,\\\"b\" <sip:x,y@z>");
        assert_eq!(split_comma(rest.unwrap()).unwrap(), (&b"<sip:2>"[..], None));
        // A comma in quotes is text, with brackets behind it or without.
        let (first, rest) = split_comma(b"\"a, \\\"b\"=\"c,d\", \"e, f\" <sip:2>").unwrap();
        assert_eq!(first, b"\"a, \\\"b\"=\"c,d\"");
        assert_eq!(split_comma(rest.unwrap()).unwrap(), (&b"\"e, f\" <sip:2>"[..], None));
        assert!(split_comma(b"\"open,").is_err());
        assert!(split_comma(b"<open,").is_err());
    }

    #[test]
    fn colons_are_found_wherever_they_are() {
        for n in 0..40 {
            let mut s = vec![b';'; n];
            assert_eq!(find_colon(&s), None);
            s.extend_from_slice(b":a:");
            assert_eq!(find_colon(&s), Some(n));
            s[..n].fill(0xba);
            assert_eq!(find_colon(&s), Some(n));
        }
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(number(b" 4294967295 "), Some(u32::MAX));
        assert_eq!(number(b"4294967296"), None);
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b""), None);
        assert_eq!(port(b"65536"), None);
        assert_eq!(port(b"5060"), Some(5060));
    }

    #[test]
    fn quoted_strings_end_at_the_unescaped_quote() {
        assert_eq!(quoted(b"\"a\\\"b\" c"), Some((&b"\"a\\\"b\""[..], &b" c"[..])));
        assert_eq!(quoted(b"\"a\\\""), None);
        assert_eq!(quoted(b"a"), None);
    }
}
