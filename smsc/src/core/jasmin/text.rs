//! Forms (`application/x-www-form-urlencoded`) as octets, and texts cut into parts.

use std::ops::Range;

use warp_smpp::text::{Alphabet, DataCoding, Reference, encode_gsm, split};

/// Names and values in order; a `%` that is none stands for itself, as Python reads it.
pub(super) fn form_decode(form: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = form.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).take(limit);
    pairs
        .map(|pair| {
            let mut halves = pair.splitn(2, |b| *b == b'=');
            (unescape(halves.next().unwrap_or_default()), unescape(halves.next().unwrap_or_default()))
        })
        .collect()
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, behind @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                out.push(digit(*high).unwrap_or(0) << 4 | digit(*low).unwrap_or(0));
                rest = behind;
            }
            _ => out.push(*first),
        }
    }
    out
}

/// The value of a hexadecimal digit in either case.
fn digit(c: u8) -> Option<u8> {
    warp_model::hex::value(c.to_ascii_lowercase())
}

/// Octets of hexadecimal digits in either case. `None`: an odd number of them, or others.
pub(super) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Writes names and values as a form.
pub(crate) fn form_encode<'a>(pairs: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        for b in value {
            match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                    out.push(char::from(*b))
                }
                b' ' => out.push('+'),
                b => {
                    out.push('%');
                    for nibble in [b >> 4, b & 15] {
                        out.push(char::from(warp_model::hex::digit(nibble).to_ascii_uppercase()));
                    }
                }
            }
        }
    }
    out
}

/// The septets of a text, one in each octet; what the alphabet lacks is a question mark.
pub(super) fn gsm(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut one = [0u8; 4];
    for c in text.chars() {
        if encode_gsm(c.encode_utf8(&mut one), &mut out).is_err() {
            out.push(b'?');
        }
    }
    out
}

/// Where a text is cut. Errors: how many parts it would need, more than `most`.
pub(super) fn parts(text: &[u8], coding: u8, most: usize) -> Result<Vec<Range<usize>>, usize> {
    let alphabet = match DataCoding(coding).alphabet() {
        // Octets with the width of two are not cut apart: JIS, KS C 5601 and their like.
        Alphabet::Opaque => Alphabet::Ucs2,
        alphabet => alphabet,
    };
    split(text, alphabet, Reference::Udh8, most)
}
