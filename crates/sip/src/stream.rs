//! Framing of SIP over streams (RFC 3261 §18.3, keep-alives of RFC 5626 §4.4.1): bytes in, whole messages out.
//!
//! Invariants: the same frames come out however the bytes are split; work is linear in the bytes; at most one unfinished message is kept,
//! within `limits::SIP_STREAM_BYTES`. Lengths are read by the one parser ([`crate::message`]). After a framing fault nothing more is read:
//! where a message ends is then a matter of opinion, and the rest would be somebody's smuggled request (T-SIP-04).

use memchr::memmem;
use warp_model::limits;

use crate::message::{ParseError, stream_length};

/// What a stream brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// One whole message, for [`crate::message::Message::parse`].
    Message(&'a [u8]),
    /// A double line end between messages: answer with [`PONG`] (RFC 5626 §4.4.1).
    Ping,
    /// A framing fault: answer it with [`crate::message::ResponseDraft::broken`] when it has a status, then close. No frame follows.
    Broken {
        /// What can be read of the message: up to the end of its headers.
        head: &'a [u8],
        /// What is wrong: 400, 513, or nothing to answer.
        error: ParseError,
    },
}

/// The answer to a [`Frame::Ping`].
pub const PONG: &[u8] = b"\r\n";

/// Cuts one direction of a stream into messages.
#[derive(Debug, Default)]
pub struct Framer {
    buf: Vec<u8>,
    /// Where the next message begins.
    start: usize,
    /// The end of the headers was looked for up to here.
    scanned: usize,
    /// Length of the message at `start`, once its headers are whole.
    length: Option<usize>,
    /// One line end was read between messages; a second one makes a ping.
    half_ping: bool,
    closed: bool,
}

impl Framer {
    /// A framer at the beginning of a stream.
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Adds received bytes. Call [`Framer::poll_frame`] until it gives `None` before adding more: that is what bounds the memory to one
    /// message and one read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        if self.start > 0 {
            self.buf.drain(..self.start.min(self.buf.len()));
            self.scanned = self.scanned.saturating_sub(self.start);
            self.start = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// The next frame, if it is whole.
    pub fn poll_frame(&mut self) -> Option<Frame<'_>> {
        if self.closed {
            return None;
        }
        loop {
            let rest = self.buf.get(self.start..).unwrap_or(b"");
            match rest {
                [] => {
                    self.shrink();
                    return None;
                }
                [b'\r', b'\n', ..] => {
                    self.skip(2);
                    self.half_ping = !self.half_ping;
                    if !self.half_ping {
                        return Some(Frame::Ping);
                    }
                }
                [b'\r'] => return None,
                _ => break,
            }
        }
        if self.length.is_none()
            && let Err((head, error)) = self.read_head()?
        {
            self.closed = true;
            let end = self.start.saturating_add(head);
            let head = self.buf.get(self.start..end).unwrap_or(b"");
            return Some(Frame::Broken { head, error });
        }
        let (start, length) = (self.start, self.length?);
        let end = start.saturating_add(length);
        if self.buf.len() < end {
            return None;
        }
        self.half_ping = false;
        self.length = None;
        self.start = end;
        self.scanned = end;
        self.buf.get(start..end).map(Frame::Message)
    }

    /// Whether a fault ended the stream.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether part of a message is waiting for the rest: such a stream is not idle but slow (`limits::SIP_STREAM_FIRST_MESSAGE_S`).
    pub fn is_partial(&self) -> bool {
        self.start < self.buf.len()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.buf.capacity()
    }

    /// Looks for the end of the headers and reads the length. `None`: more bytes are needed. `Err`: length of what is readable, and why.
    #[allow(clippy::type_complexity)]
    fn read_head(&mut self) -> Option<Result<(), (usize, ParseError)>> {
        let rest = self.buf.get(self.start..).unwrap_or(b"");
        if !maybe_sip(rest) {
            return Some(Err((rest.len().min(64), ParseError { status: None, reason: "not SIP" })));
        }
        let seen = self.scanned.saturating_sub(self.start).saturating_sub(3);
        let end = memmem::find(rest.get(seen..).unwrap_or(b""), b"\r\n\r\n");
        let Some(end) = end.and_then(|n| n.checked_add(seen)?.checked_add(4)) else {
            self.scanned = self.buf.len();
            if rest.len() > limits::SIP_HEADER_BYTES {
                let error = ParseError::on_stream(rest, 513, "Message Too Large");
                return Some(Err((rest.len(), error)));
            }
            return None;
        };
        let head = rest.get(..end).unwrap_or(rest);
        Some(match stream_length(head) {
            Ok(body) => match end.checked_add(body) {
                Some(all) if all <= limits::SIP_STREAM_BYTES => {
                    self.length = Some(all);
                    Ok(())
                }
                _ => Err((end, ParseError::on_stream(head, 513, "Message Too Large"))),
            },
            Err(error) => Err((end, error)),
        })
    }

    fn skip(&mut self, n: usize) {
        self.start = self.start.saturating_add(n);
        self.scanned = self.scanned.max(self.start);
    }

    /// An idle connection keeps little memory (`ref/threats-and-faults` §1: 8 KiB).
    fn shrink(&mut self) {
        self.buf.clear();
        self.start = 0;
        self.scanned = 0;
        if self.buf.capacity() > IDLE_BYTES {
            self.buf.shrink_to(IDLE_BYTES);
        }
    }
}

const IDLE_BYTES: usize = 4_096;

/// Whether a beginning may still become a first line: a token or `SIP/2.0`, then a space. Closes HTTP, TLS and noise early.
fn maybe_sip(rest: &[u8]) -> bool {
    let first = rest.iter().take(64).position(|b| !crate::header::lex::is_token_byte(*b));
    match first {
        None => rest.len() < 64,
        Some(n) => match rest.get(n) {
            Some(b' ') => n > 0,
            Some(b'/') => rest.starts_with(b"SIP/"),
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(n: usize, body: &str) -> String {
        format!(
            "MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK{n}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: {n}\r\nCSeq: 1 MESSAGE\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Frames as text: messages as they are, pings and faults by name.
    fn frames(pieces: &[&[u8]]) -> Vec<String> {
        let mut framer = Framer::new();
        let mut out = Vec::new();
        for piece in pieces {
            framer.push(piece);
            while let Some(frame) = framer.poll_frame() {
                out.push(match frame {
                    Frame::Message(m) => String::from_utf8_lossy(m).into_owned(),
                    Frame::Ping => "ping".into(),
                    Frame::Broken { error, .. } => format!("{:?} {error}", error.status),
                });
            }
        }
        out
    }

    proptest! {
        /// Any split of the stream gives the same frames as the whole (`ref/threats-and-faults` §4 (e)).
        #[test]
        fn any_split_gives_the_same_frames(
            parts in prop::collection::vec(prop_oneof![
                Just("\r\n".to_string()),
                Just("\r\n\r\n".to_string()),
                (0..9_usize, "[a-z\r\n]{0,40}").prop_map(|(n, b)| message(n, &b)),
                Just("BAD\r\n\r\n".to_string()),
                Just("X sip:a SIP/2.0\r\nContent-Length: 1\r\nl: 1\r\n\r\n".to_string()),
            ], 0..6),
            cuts in prop::collection::vec(0..2_000_usize, 0..8),
        ) {
            let whole = parts.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(whole.len())).collect();
            cuts.push(0);
            cuts.push(whole.len());
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
            prop_assert_eq!(frames(&pieces), frames(&[&whole]));
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            prop_assert_eq!(frames(&bytes), frames(&[&whole]));
        }
    }

    #[test]
    fn messages_and_keep_alives() {
        let (a, b) = (message(1, "hello"), message(2, ""));
        let stream = format!("\r\n\r\n{a}{b}\r\n\r\n\r\n{a}");
        assert_eq!(frames(&[stream.as_bytes()]), ["ping".into(), a.clone(), b, "ping".into(), a]);
    }

    #[test]
    fn t_sip_04_bad_lengths_end_the_stream() {
        let good = message(1, "hello");
        for (length, verdict) in [
            ("Content-Length: -5\r\n", "Some(400)"),
            ("Content-Length: 5x\r\n", "Some(400)"),
            ("Content-Length: 99999999999999999999\r\n", "Some(400)"),
            ("", "Some(400)"),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", "Some(400)"),
            ("Content-Length: 5\r\nl: 4\r\n", "Some(400)"),
            ("Content-Length: 70000\r\n", "Some(513)"),
        ] {
            let bad = good.replace("Content-Length: 5\r\n", length);
            let stream = format!("{bad}{good}");
            let got = frames(&[stream.as_bytes()]);
            assert_eq!(got.len(), 1, "{length:?} {got:?}");
            assert!(got[0].starts_with(verdict), "{length:?} {got:?}");
        }
    }

    #[test]
    fn t_sip_04_a_length_too_short_ends_the_stream_at_the_rest() {
        let bad = message(1, "hello").replace("Content-Length: 5", "Content-Length: 2");
        let stream = format!("{bad}{}", message(2, ""));
        let got = frames(&[stream.as_bytes()]);
        assert_eq!(got.len(), 2, "{got:?}");
        assert!(got[0].ends_with("he"));
    }

    #[test]
    fn one_header_value_has_a_limit_on_streams() {
        let with =
            |n: usize| message(1, "").replace("Call-ID: 1", &format!("Call-ID: 1\r\nX-A: {}", "x".repeat(n)));
        assert_eq!(frames(&[with(8_192).as_bytes()]).len(), 1);
        assert!(frames(&[with(8_192).as_bytes()])[0].starts_with("MESSAGE"));
        assert_eq!(frames(&[with(8_193).as_bytes()]), ["Some(513) Message Too Large"]);
        assert!(
            crate::message::Message::parse(with(8_193).as_bytes()).is_ok(),
            "over UDP the limit of all headers counts"
        );
    }

    #[test]
    fn t_sip_15_memory_is_bounded() {
        let mut framer = Framer::new();
        let mut sent = 0;
        framer.push(b"INVITE sip:a@b SIP/2.0\r\n");
        let broken = loop {
            framer.push(&[b'a'; 1000]);
            sent += 1000;
            match framer.poll_frame() {
                None => assert!(sent < 20_000 && !framer.is_closed()),
                Some(f) => break matches!(f, Frame::Broken { .. }),
            }
        };
        assert!(broken && framer.is_closed());
        framer.push(&[b'a'; 100_000]);
        assert!(framer.memory() < 64_000);

        let mut framer = Framer::new();
        framer.push(message(1, &"x".repeat(60_000)).as_bytes());
        assert!(matches!(framer.poll_frame(), Some(Frame::Message(_))));
        assert_eq!(framer.poll_frame(), None);
        assert!(framer.memory() <= 8_192, "idle: {}", framer.memory());
    }

    #[test]
    fn other_protocols_are_closed_early() {
        for noise in [
            &b"\x16\x03\x01\x02\x00"[..],
            b"GET / HTTP",
            b"\r\nx\ty",
            b"\rX",
            b" INVITE sip:a@b SIP/2.0",
            b"/SIP",
        ] {
            let got = frames(&[noise]);
            let early = got.iter().any(|f| f.contains("not SIP"));
            assert!(early || noise.starts_with(b"GET "), "{}", noise.escape_ascii());
        }
        assert_eq!(frames(&[b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]).len(), 1);
    }
}
