//! Bencode to a [`Tape`]: iterative, bounded, borrowed strings.
//!
//! Read leniently where real clients are lenient (unsorted keys, leading zeros, trailing white space), strictly where a
//! second reading would be possible (keys must be strings, integers must fit 64 bits, nothing may follow the document).

use std::borrow::Cow;

use crate::tape::{Builder, DocumentError, Tape};

/// Decodes one whole document.
pub fn decode(bytes: &[u8]) -> Result<Tape<'_>, DocumentError> {
    let mut build = Builder::new(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        if build.is_complete() {
            // Trailing white space is what a person with netcat sends.
            if rest.iter().all(u8::is_ascii_whitespace) {
                break;
            }
            return Err(DocumentError::Syntax);
        }
        rest = match first {
            b'd' => {
                build.open(true)?;
                after
            }
            b'l' => {
                build.open(false)?;
                after
            }
            b'e' => {
                build.close()?;
                after
            }
            b'i' => {
                let (value, after) = integer(after)?;
                build.int(value)?;
                after
            }
            b'0'..=b'9' => {
                let (text, after) = string(rest)?;
                build.text(Cow::Borrowed(text))?;
                after
            }
            _ => return Err(DocumentError::Syntax),
        };
    }
    build.finish()
}

/// A whole number behind its `i`: `[-]digits e`.
fn integer(bytes: &[u8]) -> Result<(i64, &[u8]), DocumentError> {
    let (negative, mut rest) = match bytes.split_first() {
        Some((b'-', after)) => (true, after),
        _ => (false, bytes),
    };
    let mut value: i64 = 0;
    let mut digits = 0usize;
    while let Some((b, after)) = rest.split_first() {
        match b {
            b'0'..=b'9' => {
                let digit = i64::from(b.wrapping_sub(b'0'));
                // Built downwards, so that the smallest i64 is readable.
                value =
                    value.checked_mul(10).and_then(|v| v.checked_sub(digit)).ok_or(DocumentError::Syntax)?;
                digits = digits.saturating_add(1);
            }
            b'e' if digits > 0 => {
                let value = if negative { Some(value) } else { value.checked_neg() };
                return Ok((value.ok_or(DocumentError::Syntax)?, after));
            }
            _ => return Err(DocumentError::Syntax),
        }
        rest = after;
    }
    Err(DocumentError::Syntax)
}

/// A string with its length before it: `length:bytes`.
fn string(bytes: &[u8]) -> Result<(&[u8], &[u8]), DocumentError> {
    let mut length: usize = 0;
    let mut rest = bytes;
    while let Some((b, after)) = rest.split_first() {
        rest = after;
        match b {
            b'0'..=b'9' => {
                length = length
                    .checked_mul(10)
                    .and_then(|l| l.checked_add(usize::from(b.wrapping_sub(b'0'))))
                    .ok_or(DocumentError::Syntax)?;
            }
            b':' => return rest.split_at_checked(length).ok_or(DocumentError::Syntax),
            _ => return Err(DocumentError::Syntax),
        }
    }
    Err(DocumentError::Syntax)
}
