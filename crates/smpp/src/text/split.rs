//! A long text into parts.

use std::ops::Range;

use super::coding::Alphabet;
use super::gsm::ESCAPE;

/// How parts say which message they belong to: what it takes of each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A user data header with 8 bits, 6 octets.
    Udh8,
    /// A user data header with 16 bits, 7 octets.
    Udh16,
    /// Optional parameters (sar_…): the network's own header is made of them, which takes as much as [`Reference::Udh16`].
    Sar,
}

/// Most parts of one message: their number is one octet.
pub const PARTS: usize = 255;

/// Where to cut a text: one range when it fits whole, else the parts. `octets` are as [`super::encode_gsm`] or
/// [`super::alphabet::encode_ucs2`] write them. An escape is never cut from what follows, nor a surrogate pair.
/// Errors: more than `limit` parts (at most [`PARTS`]) would be needed; how many is told.
pub fn split(
    octets: &[u8],
    alphabet: Alphabet,
    reference: Reference,
    limit: usize,
) -> Result<Vec<Range<usize>>, usize> {
    if octets.len() <= alphabet.capacity(0) {
        return Ok(std::iter::once(0..octets.len()).collect());
    }
    let header = match reference {
        Reference::Udh8 => 6,
        Reference::Udh16 | Reference::Sar => 7,
    };
    let room = alphabet.capacity(header);
    let mut parts = Vec::new();
    let mut at = 0usize;
    while at < octets.len() {
        let end = at.saturating_add(room).min(octets.len());
        let end = if end < octets.len() { before_a_whole(octets, at, end, alphabet) } else { end };
        parts.push(at..end);
        at = end;
    }
    if parts.len() > limit.min(PARTS) { Err(parts.len()) } else { Ok(parts) }
}

/// The place at or before `end` that cuts no character.
fn before_a_whole(octets: &[u8], begin: usize, end: usize, alphabet: Alphabet) -> usize {
    let back = match alphabet {
        Alphabet::Default => {
            // An escape is the last septet: unless it is itself escaped, it goes with the next part.
            let run = octets.get(begin..end).unwrap_or_default();
            let escapes = run.iter().rev().take_while(|s| **s == ESCAPE).count();
            escapes % 2
        }
        Alphabet::Ucs2 => {
            let high = end.checked_sub(2).and_then(|at| octets.get(at)).copied().unwrap_or(0);
            if (0xD8..=0xDB).contains(&high) { 2 } else { 0 }
        }
        _ => 0,
    };
    end.saturating_sub(back)
}
