//! The session description of a message: its whole body, or one part of a multipart body (RFC 3261 §7.4, RFC 5621, RFC 2046 §5.1).
//!
//! A proxy that anchors media must find it, or know that it cannot: what is ambiguous, sealed or encoded is an error here, because a description
//! that passes unseen is media that passes unanchored. Limits: two levels of multipart (T-SIP-18), [`PARTS`] parts in all, [`HEAD`] bytes of
//! headers a part. Work is linear in the body, nothing is allocated until a body is rebuilt.

use memchr::memmem;

use crate::header::{Header, Params, lex};
use crate::message::Message;

/// Parts of all levels together. More: 415.
pub const PARTS: usize = 32;
/// Bytes of one part's headers. More: 400.
pub const HEAD: usize = 4_096;
/// Levels of multipart that are looked into. Deeper: 415.
pub const DEPTH: usize = 2;

/// Why no session description could be read out of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Not a multipart body: 400.
    Malformed(&'static str),
    /// Well formed, and more than is understood here: 415.
    Unsupported(&'static str),
    /// Behind a content encoding, which is passed on and not unpacked (T-SIP-18): 415.
    Encoded,
}

impl BodyError {
    /// The SIP status that it is answered with.
    pub fn status(self) -> u16 {
        match self {
            BodyError::Malformed(_) => 400,
            BodyError::Unsupported(_) | BodyError::Encoded => 415,
        }
    }

    /// The reason phrase of the refusal.
    pub fn phrase(self) -> &'static str {
        match self {
            BodyError::Malformed(why) | BodyError::Unsupported(why) => why,
            BodyError::Encoded => "Encoded Body",
        }
    }

    /// What a 415 must say (RFC 3261 §21.4.13).
    pub fn headers(self) -> &'static [(&'static str, &'static [u8])] {
        match self {
            BodyError::Malformed(_) => &[],
            BodyError::Unsupported(_) => &[("Accept", b"application/sdp, multipart/mixed")],
            BodyError::Encoded => &[("Accept-Encoding", b"identity")],
        }
    }
}

/// A session description within a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session<'a> {
    /// The bytes of the session description.
    pub sdp: &'a [u8],
    body: &'a [u8],
    /// It is a part of the body, not all of it.
    is_part: bool,
    /// Digits of the part's own Content-Length, which some senders write.
    length: Option<&'a [u8]>,
}

impl<'a> Session<'a> {
    /// Finds the session description. `None`: the message has none. Errors: there is, or may be, one that cannot be taken out alone.
    pub fn of(msg: &Message<'a>) -> Result<Option<Session<'a>>, BodyError> {
        let Some((kind, body)) = msg.content() else {
            return Ok(None);
        };
        let content = Content::of(kind)?;
        if content == Content::Other {
            return Ok(None);
        }
        if msg.values(Header::ContentEncoding).any(|v| !v.eq_ignore_ascii_case(b"identity")) {
            return Err(BodyError::Encoded);
        }
        match content {
            Content::Other => Ok(None),
            Content::Sealed => Err(SEALED),
            Content::Sdp => Ok(Some(Session { sdp: body, body, is_part: false, length: None })),
            Content::Multipart { sealed } => {
                let value = msg.header(Header::ContentType).unwrap_or(b"");
                let mut walk = Walk { body, found: None, parts: 0 };
                walk.multipart(body, value, sealed, 1)?;
                Ok(walk.found)
            }
        }
    }

    /// Whether its part has a Content-Length of its own.
    pub(crate) fn has_length(&self) -> bool {
        self.length.is_some()
    }

    /// The whole body with another description in the place of this one, every other byte as it was; `None` when the description is the
    /// body.
    pub fn rebuilt(&self, sdp: &[u8]) -> Option<Vec<u8>> {
        if !self.is_part {
            return None;
        }
        let digits = sdp.len().to_string();
        let edits = [self.length.map(|old| (old, digits.as_bytes())), Some((self.sdp, sdp))];
        let mut out = Vec::with_capacity(self.body.len().saturating_add(sdp.len()));
        let mut at = 0_usize;
        for (old, new) in edits.into_iter().flatten() {
            let from = lex::offset_in(self.body, old)?;
            out.extend_from_slice(self.body.get(at..from)?);
            out.extend_from_slice(new);
            at = from.checked_add(old.len())?;
        }
        out.extend_from_slice(self.body.get(at..)?);
        Some(out)
    }
}

const SEALED: BodyError = BodyError::Unsupported("Sealed Session Description");

/// What a media type means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Sdp,
    /// `sealed`: what is in it must not be changed.
    Multipart {
        sealed: bool,
    },
    /// May hold a description that only its receiver can read (RFC 3261 §23).
    Sealed,
    Other,
}

impl Content {
    /// Of a media type without parameters. White space around the slash is allowed in SIP. Errors: no type at all, or none that all readers
    /// take for the same.
    fn of(kind: &[u8]) -> Result<Content, BodyError> {
        if kind.eq_ignore_ascii_case(b"application/sdp") {
            return Ok(Content::Sdp);
        }
        let slash = kind.iter().position(|b| *b == b'/').unwrap_or(kind.len());
        let (main, sub) = kind.split_at_checked(slash).unwrap_or((kind, b""));
        let (main, sub) = (lex::trim(main), lex::trim(sub.strip_prefix(b"/").unwrap_or(b"")));
        if !lex::is_token(main) || !lex::is_token(sub) {
            return Err(BodyError::Malformed("Bad Content-Type"));
        }
        let is = |m: &[u8], s: &[u8]| main.eq_ignore_ascii_case(m) && sub.eq_ignore_ascii_case(s);
        let sealed = || [&b"signed"[..], b"encrypted"].iter().any(|s| sub.eq_ignore_ascii_case(s));
        Ok(if is(b"application", b"sdp") {
            Content::Sdp
        } else if is(b"application", b"pkcs7-mime") {
            Content::Sealed
        } else if main.eq_ignore_ascii_case(b"multipart") {
            Content::Multipart { sealed: sealed() }
        } else {
            Content::Other
        })
    }
}

struct Walk<'a> {
    body: &'a [u8],
    found: Option<Session<'a>>,
    parts: usize,
}

impl<'a> Walk<'a> {
    /// One multipart entity: `value` is its Content-Type with parameters.
    fn multipart(
        &mut self,
        body: &'a [u8],
        value: &'a [u8],
        sealed: bool,
        depth: usize,
    ) -> Result<(), BodyError> {
        let mut delimiter = [0; 72];
        let needle = delimiter_of(value, &mut delimiter)?;
        let finder = memmem::Finder::new(needle);
        // Where the part at hand began; `closed`: the last delimiter was seen.
        let (mut part, mut closed) = (None, false);
        for at in finder.find_iter(body) {
            let before = body.get(..at).unwrap_or(b"");
            if !before.is_empty() && !before.ends_with(b"\n") && !before.ends_with(b"\r") {
                continue;
            }
            // From here it looks like a delimiter, so it must be one: two readers that disagree about it would see two bodies (T-SIP-03).
            let content_end = match before {
                [] => 0,
                _ => before
                    .strip_suffix(b"\r\n")
                    .ok_or(BodyError::Malformed("Bare Line End In Multipart"))?
                    .len(),
            };
            if closed {
                return Err(BodyError::Malformed("Multipart Goes On After Its End"));
            }
            let rest = body.get(at.saturating_add(needle.len())..).unwrap_or(b"");
            let (last, rest) = match rest.strip_prefix(b"--") {
                Some(rest) => (true, rest),
                None => (false, rest),
            };
            let padding = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
            let rest = rest.get(padding..).unwrap_or(b"");
            let next = match rest.strip_prefix(b"\r\n") {
                Some(next) => next,
                None if last && rest.is_empty() => rest,
                None => return Err(BodyError::Malformed("Bad Multipart Boundary")),
            };
            if let Some(from) = part {
                let content = body.get(from..content_end).ok_or(BodyError::Malformed("Empty Body Part"))?;
                self.part(content, sealed, depth)?;
            }
            part = Some(body.len().saturating_sub(next.len()));
            closed = last;
        }
        if closed { Ok(()) } else { Err(BodyError::Malformed("Multipart Without End")) }
    }

    fn part(&mut self, part: &'a [u8], sealed: bool, depth: usize) -> Result<(), BodyError> {
        self.parts = self.parts.saturating_add(1);
        if self.parts > PARTS {
            return Err(BodyError::Unsupported("Too Many Body Parts"));
        }
        let (head, content) = match part.strip_prefix(b"\r\n") {
            Some(content) => (&b""[..], content),
            None => match memmem::find(part, b"\r\n\r\n") {
                Some(at) => (part.get(..at).unwrap_or(b""), part.get(at.saturating_add(4)..).unwrap_or(b"")),
                // Headers alone are a part too, but not one that something could be put into.
                None => (part, &b""[..]),
            },
        };
        let head = Head::read(head)?;
        let value = head.kind.unwrap_or(b"text/plain");
        let kind = value.split(|b| *b == b';').next().unwrap_or(b"");
        match Content::of(lex::trim(kind))? {
            Content::Other => Ok(()),
            _ if head.encoded => Err(BodyError::Encoded),
            Content::Sealed => Err(SEALED),
            Content::Sdp if content.is_empty() => Err(BodyError::Malformed("Empty Session Description")),
            Content::Sdp if sealed => Err(SEALED),
            Content::Sdp if self.found.is_some() => {
                Err(BodyError::Unsupported("More Than One Session Description"))
            }
            Content::Sdp if !head.is_session => {
                Err(BodyError::Unsupported("Session Description Of Another Disposition"))
            }
            Content::Sdp => {
                self.found =
                    Some(Session { sdp: content, body: self.body, is_part: true, length: head.length });
                Ok(())
            }
            Content::Multipart { .. } if depth >= DEPTH => Err(BodyError::Unsupported("Multipart Too Deep")),
            Content::Multipart { sealed: inner } => {
                self.multipart(content, value, sealed || inner, depth.saturating_add(1))
            }
        }
    }
}

/// What the headers of a part say.
struct Head<'a> {
    kind: Option<&'a [u8]>,
    /// No disposition, or that of a session, which is what SDP has by default (RFC 3261 §20.11).
    is_session: bool,
    encoded: bool,
    length: Option<&'a [u8]>,
}

impl<'a> Head<'a> {
    fn read(head: &'a [u8]) -> Result<Head<'a>, BodyError> {
        if head.len() > HEAD {
            return Err(BodyError::Malformed("Part Headers Too Long"));
        }
        let mut out = Head { kind: None, is_session: true, encoded: false, length: None };
        let (mut disposition, mut transfer) = (None, None);
        let mut rest = head;
        while !rest.is_empty() {
            let (line, after) = line(rest)?;
            rest = after;
            let colon = lex::find_colon(line).ok_or(BodyError::Malformed("Part Header Without Colon"))?;
            let (name, value) = line.split_at_checked(colon).unwrap_or((line, b""));
            let name = lex::trim_end(name);
            if !lex::is_token(name) {
                return Err(BodyError::Malformed("Bad Part Header Name"));
            }
            let value = lex::trim(value.strip_prefix(b":").unwrap_or(b""));
            let slot = match Header::from_name(name) {
                Header::ContentType => &mut out.kind,
                Header::ContentDisposition => &mut disposition,
                Header::ContentLength => &mut out.length,
                Header::ContentEncoding => {
                    out.encoded |= !value.eq_ignore_ascii_case(b"identity");
                    continue;
                }
                _ if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") => &mut transfer,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(BodyError::Malformed("Part Header Given Twice"));
            }
        }
        if out.length.is_some_and(|l| l.is_empty() || !l.iter().all(u8::is_ascii_digit)) {
            return Err(BodyError::Malformed("Bad Part Content-Length"));
        }
        let first = |v: &'a [u8]| lex::trim(v.split(|b| *b == b';').next().unwrap_or(b""));
        out.is_session = disposition.is_none_or(|d| first(d).eq_ignore_ascii_case(b"session"));
        let plain = |t: &[u8]| [&b"7bit"[..], b"8bit", b"binary"].iter().any(|p| t.eq_ignore_ascii_case(p));
        out.encoded |= transfer.is_some_and(|t| !plain(first(t)));
        Ok(out)
    }
}

/// One header line with its folds, and what follows it.
fn line(s: &[u8]) -> Result<(&[u8], &[u8]), BodyError> {
    let bad = BodyError::Malformed("Bad Line End In Part Header");
    let mut at = 0_usize;
    loop {
        let rest = s.get(at..).unwrap_or(b"");
        let Some(n) = rest.iter().position(|b| matches!(b, b'\r' | b'\n' | 0)) else {
            return Ok((s, b""));
        };
        let end = at.saturating_add(n);
        let next = rest.get(n..).and_then(|r| r.strip_prefix(b"\r\n")).ok_or(bad)?;
        if !matches!(next.first(), Some(b' ' | b'\t')) {
            return Ok((s.get(..end).unwrap_or(b""), next));
        }
        at = end.saturating_add(2);
    }
}

/// `--boundary` of a Content-Type (RFC 2046 §5.1.1: 1 to 70 characters, the last no space).
fn delimiter_of<'d>(value: &[u8], out: &'d mut [u8; 72]) -> Result<&'d [u8], BodyError> {
    let bad = BodyError::Malformed("Bad Multipart Boundary Parameter");
    let params = value.iter().position(|b| *b == b';').and_then(|at| value.get(at..)).unwrap_or(b"");
    let boundary = Params(params).checked(b"boundary").map_err(|_| bad)?.ok_or(bad)?;
    let boundary = match boundary {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    };
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(b);
    if boundary.is_empty() || boundary.ends_with(b" ") || !boundary.iter().all(allowed) {
        return Err(bad);
    }
    let len = boundary.len().saturating_add(2);
    let room = out.get_mut(..len).ok_or(bad)?;
    if let Some((dashes, text)) = room.split_first_chunk_mut::<2>() {
        *dashes = *b"--";
        text.copy_from_slice(boundary);
    }
    Ok(room)
}
