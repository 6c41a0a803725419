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

/// Whether a byte is white space within a header value: SP, HT, and CR or LF, which the index only leaves there as part of a fold.
#[inline]
pub fn is_lws(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// The slice without white space at its start.
#[inline]
pub fn trim_start(mut s: &[u8]) -> &[u8] {
    while let [b, rest @ ..] = s {
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
        if !is_lws(*b) {
            break;
        }
        s = rest;
    }
    s
}

/// The slice without white space on either side.
#[inline]
pub fn trim(s: &[u8]) -> &[u8] {
    trim_end(trim_start(s))
}

/// Splits a token off the front: (token, rest). The token may be empty.
#[inline]
pub fn token(s: &[u8]) -> (&[u8], &[u8]) {
    let n = s.iter().position(|b| !is_token_byte(*b)).unwrap_or(s.len());
    s.split_at_checked(n).unwrap_or((s, b""))
}

/// Splits a quoted string off the front, quotes included: (string, rest). `None` when it does not start with a quote or does not end.
pub fn quoted(s: &[u8]) -> Option<(&[u8], &[u8])> {
    let body = s.strip_prefix(b"\"")?;
    let mut escaped = false;
    for (i, b) in body.iter().enumerate() {
        match (escaped, b) {
            (true, _) => escaped = false,
            (false, b'\\') => escaped = true,
            (false, b'"') => return s.split_at_checked(i.checked_add(2)?),
            _ => {}
        }
    }
    None
}

/// Splits the first of several comma-separated values off: (value trimmed, rest after its comma, or `None` at the end).
/// Commas within quotes or angle brackets do not separate. `Err` when a quote or a bracket stays open.
#[allow(clippy::type_complexity)]
pub fn split_comma(s: &[u8]) -> Result<(&[u8], Option<&[u8]>), Malformed> {
    let mut escaped = false;
    let mut in_quotes = false;
    let mut in_angle = false;
    for (i, b) in s.iter().enumerate() {
        if in_quotes {
            match b {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_quotes = false,
                _ => {}
            }
            continue;
        }
        match b {
            b'"' if !in_angle => in_quotes = true,
            b'<' => in_angle = true,
            b'>' => in_angle = false,
            b',' if !in_angle => {
                let (value, rest) = s.split_at_checked(i).ok_or(Malformed("comma"))?;
                return Ok((trim(value), rest.get(1..)));
            }
            _ => {}
        }
    }
    if in_quotes || in_angle {
        return Err(Malformed("unclosed quote or bracket"));
    }
    Ok((trim(s), None))
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

/// A port: 1 to 5 digits, 0 to 65535.
pub fn port(s: &[u8]) -> Option<u16> {
    if s.is_empty() || s.len() > 5 || !s.iter().all(u8::is_ascii_digit) {
        return None;
    }
    u16::try_from(number(s)?).ok()
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
#[allow(clippy::indexing_slicing)] // evaluated by the compiler
static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b.is_ascii_alphanumeric() {
            table[i] = TOKEN | UNRESERVED;
        }
        i += 1;
    }
    let token = b"-.!%*_+`'~";
    let mut i = 0;
    while i < token.len() {
        table[token[i] as usize] |= TOKEN;
        i += 1;
    }
    let mark = b"-_.!~*'()";
    let mut i = 0;
    while i < mark.len() {
        table[mark[i] as usize] |= UNRESERVED;
        i += 1;
    }
    table
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
        assert!(split_comma(b"\"open").is_err());
        assert!(split_comma(b"<open").is_err());
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
