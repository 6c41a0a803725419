//! SIP over WebSocket (RFC 7118 on RFC 6455), the server's side without I/O: bytes in, SIP messages and bytes to send out.
//!
//! Invariants: a length is believed only within `limits::SIP_STREAM_BYTES`, before anything is kept for it; at most one unfinished message
//! and one handshake are held; after a fault nothing more is read. Not here on purpose: extensions (none is ever agreed on, so reserved bits
//! are a fault), subprotocols other than `sip`.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use sha1::{Digest, Sha1};
use warp_model::limits;

/// What a WebSocket brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The payload of one message: one SIP message (RFC 7118 §5), or a keep-alive of line ends.
    Message(Vec<u8>),
    /// The peer lives: a ping that was answered, or a pong.
    Alive,
}

/// Why it ended: HTTP status of a refused handshake, or the code of our close frame (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(pub u16);

/// The server's side of one connection.
#[derive(Debug, Default)]
pub struct WebSocket {
    buf: Vec<u8>,
    open: bool,
    ended: bool,
    /// Payload of the fragments so far, and whether there are any.
    message: Vec<u8>,
    fragmented: bool,
}

/// Bytes of a handshake.
const HANDSHAKE: usize = 8_192;
/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

mod opcode {
    pub(super) const CONTINUATION: u8 = 0;
    pub(super) const TEXT: u8 = 1;
    pub(super) const BINARY: u8 = 2;
    pub(super) const CLOSE: u8 = 8;
    pub(super) const PING: u8 = 9;
    pub(super) const PONG: u8 = 10;
}

/// Codes of close frames.
mod code {
    pub(super) const NORMAL: u16 = 1_000;
    pub(super) const PROTOCOL: u16 = 1_002;
    pub(super) const TOO_BIG: u16 = 1_009;
}

impl WebSocket {
    /// A connection whose handshake is still to come.
    pub fn new() -> WebSocket {
        WebSocket::default()
    }

    /// Whether the handshake is done.
    pub fn is_open(&self) -> bool {
        self.open && !self.ended
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.buf.capacity().saturating_add(self.message.capacity())
    }

    /// Takes received bytes. Events go to `events`, what is to be sent to `out`. `origins`: the web sites whose scripts may connect, such as
    /// `https://console.example.com`; empty: all (T-SIP-20). Error: send `out`, then close.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        origins: &[String],
        events: &mut Vec<Event>,
        out: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        if self.ended {
            return Err(Ended(code::NORMAL));
        }
        self.buf.extend_from_slice(bytes);
        let result = self.read(origins, events, out);
        if self.buf.is_empty() && self.buf.capacity() > IDLE_BYTES {
            self.buf.shrink_to(IDLE_BYTES);
        }
        if let Err(Ended(code)) = result {
            self.ended = true;
            self.buf = Vec::new();
            self.message = Vec::new();
            if self.open {
                frame(opcode::CLOSE, &code.to_be_bytes(), out);
            } else {
                let _ = write!(out, "HTTP/1.1 {code} {}\r\n", http_reason(code));
                let more =
                    if code == 426 { "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n" } else { "" };
                let _ = write!(out, "{more}Connection: close\r\nContent-Length: 0\r\n\r\n");
            }
        }
        result
    }

    fn read(&mut self, origins: &[String], events: &mut Vec<Event>, out: &mut Vec<u8>) -> Result<(), Ended> {
        if !self.open {
            let Some(end) = memmem::find(&self.buf, b"\r\n\r\n") else {
                return if self.buf.len() > HANDSHAKE { Err(Ended(431)) } else { Ok(()) };
            };
            let end = end.saturating_add(4);
            if end > HANDSHAKE {
                return Err(Ended(431));
            }
            let key = accept(self.buf.get(..end).unwrap_or(b""), origins)?;
            let _ = write!(
                out,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {key}\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
            );
            self.buf.drain(..end);
            self.open = true;
        }
        let mut at = 0_usize;
        let result = loop {
            match self.one_frame(at, events, out) {
                Ok(Some(used)) => at = at.saturating_add(used),
                Ok(None) => break Ok(()),
                Err(ended) => break Err(ended),
            }
        };
        self.buf.drain(..at.min(self.buf.len()));
        result
    }

    /// Reads the frame at `at` (RFC 6455 §5.2); gives its length. `None`: it is not whole yet.
    fn one_frame(
        &mut self,
        at: usize,
        events: &mut Vec<Event>,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, Ended> {
        let rest = self.buf.get(at..).unwrap_or(b"");
        let Some(([first, second], after)) = rest.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let (fin, kind) = (first & 0x80 != 0, first & 0x0F);
        let control = kind & 8 != 0;
        let known = matches!(
            kind,
            opcode::CONTINUATION
                | opcode::TEXT
                | opcode::BINARY
                | opcode::CLOSE
                | opcode::PING
                | opcode::PONG
        );
        // A client masks each frame (RFC 6455 §5.1); control frames are whole and short (§5.5).
        let short = second & 0x7F;
        if first & 0x70 != 0 || !known || second & 0x80 == 0 || (control && (!fin || short > 125)) {
            return Err(Ended(code::PROTOCOL));
        }
        let (length, after) = match short {
            126 => match after.split_first_chunk::<2>() {
                Some((n, after)) => (u64::from(u16::from_be_bytes(*n)), after),
                None => return Ok(None),
            },
            127 => match after.split_first_chunk::<8>() {
                Some((n, after)) => (u64::from_be_bytes(*n), after),
                None => return Ok(None),
            },
            n => (u64::from(n), after),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length.saturating_add(self.message.len()) > limits::SIP_STREAM_BYTES {
            return Err(Ended(code::TOO_BIG));
        }
        let Some((mask, after)) = after.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some(masked) = after.get(..length) else {
            return Ok(None);
        };
        let used = rest.len().saturating_sub(after.len()).saturating_add(length);
        let payload = masked.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m);
        match kind {
            opcode::PING => {
                let payload: Vec<u8> = payload.collect();
                frame(opcode::PONG, &payload, out);
                events.push(Event::Alive);
            }
            opcode::PONG => events.push(Event::Alive),
            opcode::CLOSE => return Err(Ended(code::NORMAL)),
            _ => {
                // A first fragment begins anew, a further one goes on (§5.4).
                if (kind == opcode::CONTINUATION) != self.fragmented {
                    return Err(Ended(code::PROTOCOL));
                }
                self.message.extend(payload);
                self.fragmented = !fin;
                if fin {
                    events.push(Event::Message(std::mem::take(&mut self.message)));
                }
            }
        }
        Ok(Some(used))
    }
}

/// One message to the peer: text when it can be, else binary (RFC 7118 §5).
pub fn write_message(message: &[u8], out: &mut Vec<u8>) {
    let kind = if std::str::from_utf8(message).is_ok() { opcode::TEXT } else { opcode::BINARY };
    frame(kind, message, out);
}

/// Asks whether the peer lives; a browser answers by itself.
pub fn write_ping(out: &mut Vec<u8>) {
    frame(opcode::PING, b"", out);
}

/// A server's frame: whole, without a mask.
fn frame(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | kind);
    match payload.len() {
        n @ 0..=125 => out.push(u8::try_from(n).unwrap_or(0)),
        n => match u16::try_from(n) {
            Ok(n) => {
                out.push(126);
                out.extend_from_slice(&n.to_be_bytes());
            }
            Err(_) => {
                out.push(127);
                out.extend_from_slice(&u64::try_from(n).unwrap_or(0).to_be_bytes());
            }
        },
    }
    out.extend_from_slice(payload);
}

/// Judges a handshake (RFC 6455 §4.2, RFC 7118 §4): the value of Sec-WebSocket-Accept, or the HTTP status of the refusal.
fn accept(head: &[u8], origins: &[String]) -> Result<String, Ended> {
    let text = std::str::from_utf8(head).map_err(|_| Ended(400))?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or("").split(' ');
    if first.next() != Some("GET") {
        return Err(Ended(405));
    }
    if first.nth(1) != Some("HTTP/1.1") || first.next().is_some() {
        return Err(Ended(400));
    }
    let headers: Vec<(&str, &str)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n, v.trim()))
        .take(limits::SIP_HEADERS)
        .collect();
    let all = |name: &str| {
        headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v).collect::<Vec<_>>()
    };
    let lists = |name: &str, word: &str| {
        all(name).iter().flat_map(|v| v.split(',')).any(|w| w.trim().eq_ignore_ascii_case(word))
    };
    if !lists("Upgrade", "websocket") || !lists("Connection", "Upgrade") {
        return Err(Ended(400));
    }
    if all("Sec-WebSocket-Version") != ["13"] {
        return Err(Ended(426));
    }
    // Without the subprotocol it is somebody else's WebSocket.
    if !lists("Sec-WebSocket-Protocol", "sip") {
        return Err(Ended(400));
    }
    let origin = all("Origin");
    if !origins.is_empty() && !origin.iter().all(|o| origins.iter().any(|a| a.eq_ignore_ascii_case(o))) {
        return Err(Ended(403));
    }
    match all("Sec-WebSocket-Key")[..] {
        [key] if STANDARD.decode(key).is_ok_and(|k| k.len() == 16) => {
            let mut hash = Sha1::new();
            hash.update(key.as_bytes());
            hash.update(GUID);
            Ok(STANDARD.encode(hash.finalize()))
        }
        _ => Err(Ended(400)),
    }
}

fn http_reason(status: u16) -> &'static str {
    match status {
        403 => "Forbidden",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        _ => "Bad Request",
    }
}

/// An idle connection keeps little memory.
const IDLE_BYTES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HELLO: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://a.test\r\nSec-WebSocket-Protocol: chat, sip\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(first & 0x0F, payload, &mut out);
        out[0] = first;
        out[1] |= 0x80;
        let at = out.len() - payload.len();
        let mask = [1, 2, 3, 4];
        out.splice(at..at, mask);
        for (i, b) in out[at + 4..].iter_mut().enumerate() {
            *b ^= mask[i % 4];
        }
        out
    }

    struct Peer(WebSocket, Vec<Event>, Vec<u8>);

    impl Peer {
        fn open() -> Peer {
            let mut peer = Peer(WebSocket::new(), vec![], vec![]);
            peer.give(HELLO.as_bytes()).unwrap();
            peer.2.clear();
            peer
        }
        fn give(&mut self, bytes: &[u8]) -> Result<(), Ended> {
            self.0.receive(bytes, &[], &mut self.1, &mut self.2)
        }
    }

    /// The example of RFC 6455 §1.3.
    #[test]
    fn the_handshake_of_the_standard() {
        let mut peer = Peer(WebSocket::new(), vec![], vec![]);
        peer.give(HELLO.as_bytes()).unwrap();
        let answer = String::from_utf8(peer.2).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert!(answer.contains("Sec-WebSocket-Protocol: sip\r\n") && peer.0.is_open());
    }

    #[test]
    fn t_sip_20_what_is_no_sip_client_of_an_allowed_site_is_refused() {
        for (from, to, status) in [
            ("GET /", "POST /", 405),
            ("HTTP/1.1", "HTTP/1.0", 400),
            ("Upgrade: websocket", "Upgrade: h2c", 400),
            ("keep-alive, Upgrade", "close", 400),
            ("Version: 13", "Version: 8", 426),
            ("chat, sip", "chat", 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400),
            ("https://a.test", "https://b.test", 403),
        ] {
            let (mut events, mut out) = (vec![], vec![]);
            let hello = HELLO.replacen(from, to, 1);
            let origins = ["https://A.test".to_owned()];
            let end = WebSocket::new().receive(hello.as_bytes(), &origins, &mut events, &mut out);
            assert_eq!(end, Err(Ended(status)), "{to}");
            assert!(out.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{to}");
        }
        let mut peer = Peer(WebSocket::new(), vec![], vec![]);
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(HANDSHAKE));
        assert_eq!(peer.give(endless.as_bytes()), Err(Ended(431)));
    }

    /// A WebSocket that lies about lengths is closed before anything is kept for it.
    #[test]
    fn t_sip_20_lengths_are_not_believed() {
        for (bytes, code) in [
            (vec![0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], 1_009),
            (vec![0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1], 1_009),
            (vec![0x89, 0xFE, 0, 200], 1_002),
            (masked(0xC1, b"x"), 1_002),
            (masked(0x83, b"x"), 1_002),
            (masked(0x80, b"x"), 1_002),
            (masked(0x09, b"x"), 1_002),
            (vec![0x81, 0x01, b'x'], 1_002),
        ] {
            let mut peer = Peer::open();
            assert_eq!(peer.give(&bytes), Err(Ended(code)), "{bytes:?}");
            assert_eq!(peer.2[..2], [0x88, 2], "a close frame");
            assert!(peer.0.memory() == 0 && peer.1.is_empty());
            assert!(peer.give(&masked(0x81, b"x")).is_err(), "nothing is read after it");
        }
        // Fragments do not add up to more than one message may be.
        let mut peer = Peer::open();
        let part = vec![b'x'; 60_000];
        assert_eq!(peer.give(&masked(0x01, &part)), Ok(()));
        assert_eq!(peer.give(&masked(0x80, &part)), Err(Ended(1_009)));
    }

    #[test]
    fn messages_pings_and_the_end() {
        let mut peer = Peer::open();
        let mut bytes = masked(0x01, b"one ");
        bytes.extend(masked(0x89, b"?"));
        bytes.extend(masked(0x80, b"message"));
        bytes.extend(masked(0x82, &[0xFF; 300]));
        bytes.extend(masked(0x8A, b""));
        peer.give(&bytes).unwrap();
        assert_eq!(
            peer.1,
            [
                Event::Alive,
                Event::Message(b"one message".to_vec()),
                Event::Message(vec![0xFF; 300]),
                Event::Alive
            ]
        );
        assert_eq!(peer.2, [0x8A, 1, b'?']);
        assert_eq!(peer.give(&masked(0x88, &[3, 0xE8])), Err(Ended(1_000)));
    }

    proptest! {
        /// Any split of the stream gives the same events as the whole.
        #[test]
        fn any_split_gives_the_same_events(
            sizes in prop::collection::vec(0..70_000_usize, 0..4),
            cuts in prop::collection::vec(0..80_000_usize, 0..8),
        ) {
            let mut whole = HELLO.as_bytes().to_vec();
            for (n, size) in sizes.iter().enumerate() {
                whole.extend(masked(if n == 1 { 0x89 } else { 0x82 }, &vec![n as u8; if n == 1 { size % 126 } else { *size }]));
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(whole.len())).chain([0, whole.len()]).collect();
            cuts.sort_unstable();
            let run = |pieces: Vec<&[u8]>| {
                let mut peer = Peer(WebSocket::new(), vec![], vec![]);
                let end = pieces.into_iter().try_for_each(|p| peer.give(p));
                (end, peer.1, peer.2)
            };
            let split = run(cuts.windows(2).map(|w| &whole[w[0]..w[1]]).collect());
            prop_assert_eq!(split, run(vec![&whole]));
        }

        /// Whatever comes, it ends or goes on; nothing panics, and little is kept.
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..4_000)) {
            let mut peer = Peer::open();
            let _ = peer.give(&bytes);
            prop_assert!(peer.0.memory() <= 2 * limits::SIP_STREAM_BYTES);
        }
    }

    #[test]
    fn a_message_goes_out_as_text_when_it_is_text() {
        let mut out = Vec::new();
        write_message(b"OPTIONS", &mut out);
        assert_eq!(out[..2], [0x81, 7]);
        out.clear();
        write_message(&[0xFF; 70_000], &mut out);
        assert_eq!(out[..4], [0x82, 127, 0, 0]);
        out.clear();
        write_message(&[b'a'; 126], &mut out);
        assert_eq!(out[..4], [0x81, 126, 0, 126]);
    }
}
