//! `COOKIE SP DOCUMENT` to typed values and back (`ref/ng-protocol.md` §1).
//!
//! | bytes | read as |
//! | --- | --- |
//! | no space, a space first, or a cookie of more than 256 bytes | [`NgError::NoCookie`]: drop, no reply |
//! | `d…` after the cookie | bencode |
//! | `{…` after the cookie | JSON |
//! | anything else, or a bad document | [`NgError::Bad`]: answer `error` with this cookie and reason |

mod frame;
mod play;
mod reply;
mod request;
mod statistics;

pub use frame::{Frame, Framer};
pub use reply::{decode_reply, encode_reply};
pub use request::{decode_request, encode_request};

pub use crate::write::Encoding;

use crate::bencode;
use crate::json;
use crate::reply::reasons;
use crate::tape::{DocumentError, Tape};
use warp_model::limits::NG_BYTES;

/// Longest cookie that is answered. Kamailio's have about 12 bytes.
pub const COOKIE_BYTES: usize = 256;

/// A decoded request: cookie, encoding and command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Goes in front of the reply.
    pub cookie: &'a [u8],
    /// The encoding that the reply must have too.
    pub encoding: Encoding,
    /// The client said `supports: ["load limit"]`.
    pub load_limit: bool,
    /// What the client wants done.
    pub command: crate::Command,
    /// Keys and flags that mean nothing here, for the log: the first few, at most 40 bytes of each.
    pub ignored: Vec<Vec<u8>>,
}

/// Why a datagram is not a request (or a reply).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NgError<'a> {
    /// Nothing to answer to: drop.
    NoCookie,
    /// Answer with [`crate::Reply::error`] of this reason.
    Bad {
        /// Goes in front of the reply.
        cookie: &'a [u8],
        /// For the reply; bencode when it could not be told.
        encoding: Encoding,
        /// Exact text for `error-reason`.
        reason: &'static str,
    },
}

impl std::fmt::Display for NgError<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoCookie => f.write_str("no cookie"),
            Self::Bad { reason, .. } => f.write_str(reason),
        }
    }
}

impl std::error::Error for NgError<'_> {}

/// Splits the cookie off and decodes the document behind it.
fn open(datagram: &[u8]) -> Result<(&[u8], Encoding, Tape<'_>), NgError<'_>> {
    if datagram.len() > NG_BYTES {
        return Err(NgError::NoCookie);
    }
    let space = datagram
        .iter()
        .take(COOKIE_BYTES.saturating_add(1))
        .position(|b| *b == b' ')
        .filter(|at| *at > 0)
        .ok_or(NgError::NoCookie)?;
    let (cookie, rest) = datagram.split_at_checked(space).ok_or(NgError::NoCookie)?;
    let document = rest.get(1..).unwrap_or_default();
    let bad = |encoding, reason| NgError::Bad { cookie, encoding, reason };
    match document.first() {
        None => Err(bad(Encoding::Bencode, reasons::NO_PAYLOAD)),
        Some(b'd') => match bencode::decode(document) {
            Ok(tape) => Ok((cookie, Encoding::Bencode, tape)),
            Err(_) => Err(bad(Encoding::Bencode, reasons::BAD_BENCODE)),
        },
        Some(b'{') => match json::decode(document) {
            Ok(tape) => Ok((cookie, Encoding::Json, tape)),
            Err(DocumentError::Syntax) => Err(bad(Encoding::Json, reasons::BAD_JSON)),
            Err(DocumentError::TooLarge) => Err(bad(Encoding::Json, reasons::BAD_JSON_DICTIONARY)),
        },
        Some(_) => Err(bad(Encoding::Bencode, reasons::INVALID_FORMAT)),
    }
}

/// A key, flag or value in its canonical spelling: space and `_` become `-`. Longer ones than any we know become empty.
#[derive(Clone, Copy, Debug)]
struct Word {
    bytes: [u8; 40],
    len: usize,
}

impl Word {
    fn new(text: &[u8]) -> Self {
        let mut word = Word { bytes: [0; 40], len: 0 };
        if text.len() <= word.bytes.len() {
            for (to, from) in word.bytes.iter_mut().zip(text) {
                *to = match from {
                    b' ' | b'_' => b'-',
                    other => *other,
                };
            }
            word.len = text.len();
        }
        word
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
