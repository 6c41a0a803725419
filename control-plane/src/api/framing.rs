//! Heads that state the length of their body twice (T-API-11), seen in the bytes before hyper reads them.
//!
//! hyper is safe by itself: it goes by Transfer-Encoding, drops Content-Length, joins equal lengths and closes the connection. But
//! it does so in silence, and a request that two readers could take for different ones is one that an attacker wrote: it gets
//! 400. The watch follows heads and counted bodies. After a chunked body it no longer knows where a head begins, so the answer to
//! a chunked request closes the connection. Whatever the watch gets wrong, hyper alone decides what a request is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether a head on this connection stated two lengths; for the requests of the connection.
#[derive(Clone, Debug, Default)]
pub struct Framing {
    doubled: Arc<AtomicBool>,
}

impl Framing {
    /// It did: nothing on this connection is to be believed any more.
    pub fn is_doubled(&self) -> bool {
        self.doubled.load(Ordering::Acquire)
    }
}

/// A connection whose incoming bytes are watched.
pub(super) struct Watched<S> {
    inner: S,
    watch: Watch,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, framing: &Framing) -> Self {
        Self { inner, watch: Watch::new(framing.clone()) }
    }
}

struct Watch {
    framing: Framing,
    state: State,
    /// Beginning of the line under way.
    line: Vec<u8>,
    lengths: u32,
    chunked: bool,
    length: u64,
}

enum State {
    /// Between two requests: empty lines are skipped (RFC 9112 §2.2).
    Before,
    /// Within a head.
    Head,
    /// So many bytes of a body are left.
    Body(u64),
    /// After a chunked request, or one with two lengths.
    Lost,
}

/// Bytes of a line that are looked at: the longest name, a colon, and more digits than a length has.
const LINE_BYTES: usize = 64;

impl Watch {
    fn new(framing: Framing) -> Self {
        Self { framing, state: State::Before, line: Vec::new(), lengths: 0, chunked: false, length: 0 }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            match self.state {
                State::Lost => return,
                State::Body(left) => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(skipped..).unwrap_or_default();
                    let left = left.saturating_sub(skipped as u64);
                    self.state = if left == 0 { State::Before } else { State::Body(left) };
                }
                State::Before | State::Head => {
                    bytes = rest;
                    if *first == b'\n' {
                        self.end_of_line();
                    } else if self.line.len() < LINE_BYTES {
                        self.line.push(*first);
                    }
                }
            }
        }
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.strip_suffix(b"\r").unwrap_or(&line);
        match (&self.state, text.is_empty()) {
            (State::Before, true) => {}
            (State::Before, false) => {
                (self.lengths, self.chunked, self.length) = (0, false, 0);
                self.state = State::Head;
            }
            (_, false) => self.header(text),
            (_, true) => self.end_of_head(),
        }
    }

    fn header(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { return };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            let value = value.get(1..).unwrap_or_default();
            self.length = std::str::from_utf8(value).ok().and_then(|v| v.trim().parse().ok()).unwrap_or(0);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
        }
    }

    fn end_of_head(&mut self) {
        let doubled = self.lengths > 1 || (self.lengths == 1 && self.chunked);
        if doubled {
            self.framing.doubled.store(true, Ordering::Release);
        }
        self.state = match self.length {
            _ if doubled || self.chunked => State::Lost,
            0 => State::Before,
            length => State::Body(length),
        };
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.watch.feed(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn doubled(parts: &[&[u8]]) -> bool {
        let framing = Framing::default();
        let mut watch = Watch::new(framing.clone());
        parts.iter().for_each(|p| watch.feed(p));
        framing.is_doubled()
    }

    #[test]
    fn t_api_11_two_lengths_are_seen_in_any_head_and_in_no_body() {
        let plain = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n";
        let both = b"POST / HTTP/1.1\r\nContent-Length: 5\r\ntransfer-ENCODING: chunked\r\n\r\n";
        let twice = b"POST / HTTP/1.1\ncontent-length:5\nContent-Length: 5\n\nhello";
        let body = b"POST / HTTP/1.1\r\nContent-Length: 66\r\n\r\n";
        assert!(!doubled(&[plain, plain]));
        assert!(doubled(&[both]) && doubled(&[plain, both]) && doubled(&[b"\r\n\r\n", twice]));
        assert_eq!(both.len(), 66, "as long as the next body");
        assert!(!doubled(&[body, both, plain]), "a body that looks like a head is a body");
        assert!(doubled(&[body, both, plain, twice]), "and the head after it is a head");
        assert!(!doubled(&[b"POST / HTTP/1.1\r\nX-Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", plain]));
        assert!(
            !doubled(&[b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", both]),
            "lost after chunks"
        );
    }

    proptest! {
        #[test]
        fn pieces_and_any_bytes_are_the_same_as_the_whole(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), any::<u8>()], 0..300),
            cut in 0usize..300,
        ) {
            let mut all = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n".to_vec();
            all.extend(bytes);
            let (a, b) = all.split_at(cut.min(all.len()));
            prop_assert_eq!(doubled(&[a, b]), doubled(&[&all]));
        }
    }
}
