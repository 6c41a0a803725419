//! JSON (RFC 8259) to a [`Tape`]: iterative and bounded like the bencode decoder.
//!
//! Numbers must be integers of 64 bits (ng has no others; a fraction is refused). `true`, `false` and `null` become the
//! strings of those names. Strings are UTF-8; only those with escapes are copied.

use std::borrow::Cow;

use crate::tape::{Builder, DocumentError, Tape};

/// Decodes one whole document.
pub fn decode(bytes: &[u8]) -> Result<Tape<'_>, DocumentError> {
    let mut build = Builder::new(bytes.len());
    let mut rest = skip_space(bytes);
    // What may come next: a value (or key, or the end of an empty container), or a comma (or the end).
    let mut after_value = false;
    let mut after_comma = false;
    while let Some((first, after)) = rest.split_first() {
        if build.is_complete() {
            return Err(DocumentError::Syntax);
        }
        match first {
            b'}' | b']' => {
                if after_comma || build.in_dict() != Some(*first == b'}') {
                    return Err(DocumentError::Syntax);
                }
                build.close()?;
                after_value = true;
                rest = after;
            }
            b',' => {
                if !after_value {
                    return Err(DocumentError::Syntax);
                }
                (after_value, after_comma) = (false, true);
                rest = after;
            }
            _ if after_value => return Err(DocumentError::Syntax),
            b'"' => {
                let is_key = build.wants_key();
                let (text, tail) = string(after)?;
                build.text(text)?;
                rest = tail;
                after_comma = false;
                if is_key {
                    rest = skip_space(rest).strip_prefix(b":").ok_or(DocumentError::Syntax)?;
                    after_comma = true; // a value must follow: no closing bracket, no comma
                } else {
                    after_value = true;
                }
            }
            b'{' | b'[' => {
                build.open(*first == b'{')?;
                after_comma = false;
                rest = after;
            }
            b'-' | b'0'..=b'9' => {
                let (value, tail) = number(rest)?;
                build.int(value)?;
                (after_value, after_comma) = (true, false);
                rest = tail;
            }
            b't' | b'f' | b'n' => {
                let word = [&b"true"[..], b"false", b"null"]
                    .into_iter()
                    .find(|w| rest.starts_with(w))
                    .ok_or(DocumentError::Syntax)?;
                if build.wants_key() {
                    return Err(DocumentError::Syntax);
                }
                build.text(Cow::Borrowed(word))?;
                (after_value, after_comma) = (true, false);
                rest = rest.get(word.len()..).unwrap_or_default();
            }
            _ => return Err(DocumentError::Syntax),
        }
        rest = skip_space(rest);
    }
    build.finish()
}

fn skip_space(bytes: &[u8]) -> &[u8] {
    let n = bytes.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
    bytes.get(n..).unwrap_or_default()
}

fn number(bytes: &[u8]) -> Result<(i64, &[u8]), DocumentError> {
    let n = bytes.iter().take_while(|b| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')).count();
    let (text, rest) = bytes.split_at_checked(n).ok_or(DocumentError::Syntax)?;
    if text.starts_with(b"+") {
        return Err(DocumentError::Syntax);
    }
    let value = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(DocumentError::Syntax)?;
    Ok((value, rest))
}

/// After the opening quote.
fn string(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), DocumentError> {
    let plain = bytes.iter().take_while(|b| **b != b'"' && **b != b'\\' && **b >= 0x20).count();
    let (head, mut rest) = bytes.split_at_checked(plain).ok_or(DocumentError::Syntax)?;
    if let Some(after) = rest.strip_prefix(b"\"") {
        std::str::from_utf8(head).map_err(|_| DocumentError::Syntax)?;
        return Ok((Cow::Borrowed(head), after));
    }
    let mut out = Vec::with_capacity(plain.saturating_add(64));
    out.extend_from_slice(head);
    while let Some((b, after)) = rest.split_first() {
        rest = after;
        match b {
            b'"' => {
                std::str::from_utf8(&out).map_err(|_| DocumentError::Syntax)?;
                return Ok((Cow::Owned(out), rest));
            }
            b'\\' => {
                let (c, after) = escape(rest)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            0x00..=0x1F => return Err(DocumentError::Syntax),
            other => out.push(*other),
        }
    }
    Err(DocumentError::Syntax)
}

/// After the backslash.
fn escape(bytes: &[u8]) -> Result<(char, &[u8]), DocumentError> {
    let (kind, rest) = bytes.split_first().ok_or(DocumentError::Syntax)?;
    let c = match kind {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let (high, rest) = hex4(rest)?;
            if !(0xD800..0xDC00).contains(&high) {
                return Ok((char::from_u32(high).ok_or(DocumentError::Syntax)?, rest));
            }
            let rest = rest.strip_prefix(b"\\u").ok_or(DocumentError::Syntax)?;
            let (low, rest) = hex4(rest)?;
            if !(0xDC00..0xE000).contains(&low) {
                return Err(DocumentError::Syntax);
            }
            let code = (((high & 0x3FF) << 10) | (low & 0x3FF)).saturating_add(0x1_0000);
            return Ok((char::from_u32(code).ok_or(DocumentError::Syntax)?, rest));
        }
        _ => return Err(DocumentError::Syntax),
    };
    Ok((c, rest))
}

fn hex4(bytes: &[u8]) -> Result<(u32, &[u8]), DocumentError> {
    let (digits, rest) = bytes.split_at_checked(4).ok_or(DocumentError::Syntax)?;
    let mut value = 0u32;
    for d in digits {
        let d = char::from(*d).to_digit(16).ok_or(DocumentError::Syntax)?;
        value = (value << 4) | d;
    }
    Ok((value, rest))
}
