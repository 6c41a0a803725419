//! Where one message ends in a stream: ng over TCP has no length, its reader finds the end by reading the document.
//!
//! `COOKIE SP DOCUMENT`, one after the other, white space between them. The scan goes on where it stopped, so that a
//! message in small pieces costs no more than one in a piece. It judges no document; the decoder does that.

use warp_model::limits::NG_BYTES;

use super::COOKIE_BYTES;

/// What is known of the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// It is not whole yet.
    Partial,
    /// It lies at these places of the bytes given: from its cookie to the end of its document.
    Whole(usize, usize),
    /// It can never be whole: the stream has to be closed.
    Broken,
}

/// Finds the end of one message; a new one for each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Framer {
    /// Where the scan goes on.
    at: usize,
    /// Where the cookie begins.
    start: usize,
    part: Part,
    depth: usize,
    escaped: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Before,
    Cookie,
    Document,
    Bencode,
    Json,
    JsonText,
}

impl Framer {
    /// Looks at all bytes of the stream from the beginning of this message on; they must begin with those of the last call.
    pub fn scan(&mut self, bytes: &[u8]) -> Frame {
        loop {
            if self.at.saturating_sub(self.start) > NG_BYTES {
                return Frame::Broken;
            }
            let Some(byte) = bytes.get(self.at).copied() else { return Frame::Partial };
            let next = self.at.saturating_add(1);
            match self.part {
                Part::Before if byte.is_ascii_whitespace() => self.start = next,
                Part::Before => self.part = Part::Cookie,
                Part::Cookie if byte == b' ' => self.part = Part::Document,
                Part::Cookie if next.saturating_sub(self.start) > COOKIE_BYTES => return Frame::Broken,
                Part::Cookie => {}
                Part::Document => match byte {
                    b'd' => (self.part, self.depth) = (Part::Bencode, 1),
                    b'{' => (self.part, self.depth) = (Part::Json, 1),
                    _ => return Frame::Broken,
                },
                Part::Bencode => match self.bencode(bytes, byte) {
                    Ok(Some(at)) if self.depth > 0 => {
                        self.at = at;
                        continue;
                    }
                    Ok(Some(at)) => return Frame::Whole(self.start, at),
                    Ok(None) => return Frame::Partial,
                    Err(()) => return Frame::Broken,
                },
                Part::Json => match byte {
                    b'"' => self.part = Part::JsonText,
                    b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            return Frame::Whole(self.start, next);
                        }
                    }
                    _ => {}
                },
                Part::JsonText => {
                    if byte == b'"' && !self.escaped {
                        self.part = Part::Json;
                    }
                    self.escaped = byte == b'\\' && !self.escaped;
                }
            }
            self.at = next;
        }
    }

    /// Where the token at hand ends; `None`: it is not whole.
    fn bencode(&mut self, bytes: &[u8], byte: u8) -> Result<Option<usize>, ()> {
        let rest = bytes.get(self.at..).unwrap_or_default();
        let next = self.at.saturating_add(1);
        // The longest number that means anything.
        const DIGITS: usize = 21;
        let number = |end: u8| match rest.iter().take(DIGITS).position(|b| *b == end) {
            Some(at) => Ok(Some(at)),
            None if rest.len() >= DIGITS => Err(()),
            None => Ok(None),
        };
        match byte {
            b'd' | b'l' => {
                self.depth = self.depth.saturating_add(1);
                Ok(Some(next))
            }
            b'e' => {
                self.depth = self.depth.saturating_sub(1);
                Ok(Some(next))
            }
            b'i' => Ok(number(b'e')?.map(|at| self.at.saturating_add(at).saturating_add(1))),
            b'0'..=b'9' => {
                let Some(colon) = number(b':')? else { return Ok(None) };
                let digits = rest.get(..colon).and_then(|d| std::str::from_utf8(d).ok()).ok_or(())?;
                let length: usize = digits.parse().map_err(|_| ())?;
                let taken = colon.checked_add(1).and_then(|n| n.checked_add(length)).ok_or(())?;
                if taken > NG_BYTES {
                    return Err(());
                }
                Ok(Some(taken).filter(|n| *n <= rest.len()).map(|n| self.at.saturating_add(n)))
            }
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(stream: &[u8]) -> Vec<Result<String, ()>> {
        let (mut out, mut buffer, mut framer) = (Vec::new(), Vec::new(), Framer::default());
        for byte in stream {
            buffer.push(*byte);
            match framer.scan(&buffer) {
                Frame::Partial => continue,
                Frame::Whole(from, to) => out.push(Ok(String::from_utf8(buffer[from..to].to_vec()).unwrap())),
                Frame::Broken => {
                    out.push(Err(()));
                    return out;
                }
            }
            (buffer, framer) = (Vec::new(), Framer::default());
        }
        out
    }

    #[test]
    fn messages_are_found_in_a_stream_of_single_bytes() {
        let texts = [
            "c1 d7:command4:pinge",
            "c2 {\"command\":\"ping\",\"x\":[\"a}\\\"]\",{}]}",
            "c3 d1:ai-5e1:bl1:d1:ee4:e2e:d2:xxdeee",
        ];
        let stream = texts.join("\n ");
        let found: Vec<String> = in_pieces(stream.as_bytes()).into_iter().map(Result::unwrap).collect();
        assert_eq!(found, texts);
        let mut framer = Framer::default();
        assert_eq!(framer.scan(stream.as_bytes()), Frame::Whole(0, texts[0].len()));
    }

    #[test]
    fn t_ng_02_what_never_ends_is_given_up() {
        for bad in [
            "c1 x",
            "c1 d99999999999999999999999",
            "c1 d70000:",
            "c1 di999999999999999999999999",
            "c1 dx",
            "c1 d5x:",
        ] {
            assert_eq!(in_pieces(bad.as_bytes()), [Err(())], "{bad}");
        }
        assert_eq!(in_pieces(&[b'c'; 4_096]), [Err(())]);
        // The longest cookie that has an answer passes; with one byte more it is given up at that byte, and not kept for what may come.
        let longest = format!("{} d7:command4:pinge", "c".repeat(COOKIE_BYTES));
        assert_eq!(in_pieces(longest.as_bytes()), [Ok(longest.clone())]);
        let mut framer = Framer::default();
        let (fits, over) = (vec![b'c'; COOKIE_BYTES], vec![b'c'; COOKIE_BYTES + 1]);
        assert_eq!((framer.scan(&fits), framer.scan(&over)), (Frame::Partial, Frame::Broken));
        assert_eq!(Framer::default().scan(&over), Frame::Broken);
        let endless = [&b"c1 {\"a\":\""[..], &vec![b'a'; 70_000]].concat();
        assert_eq!(in_pieces(&endless), [Err(())]);
        assert_eq!(in_pieces(b"c1 d7:comm"), []);
    }

    /// A message is as long as a datagram may be, and no longer: in a text of bencode, in JSON, in a cookie.
    #[test]
    fn t_ng_02_a_message_without_an_end_is_given_up() {
        let scan = |stream: &[u8]| Framer::default().scan(stream);
        // The text is the last of the message: its end is at the limit, and one byte behind it.
        let bencode = |text: usize| [format!("c d1:x{text}:").as_bytes(), &vec![b'x'; text], b"e"].concat();
        let head = "c d1:x".len() + format!("{NG_BYTES}:").len();
        let most = NG_BYTES - format!("{NG_BYTES}:").len();
        assert_eq!(scan(&bencode(most - head)), Frame::Whole(0, bencode(most - head).len()));
        assert_eq!(scan(format!("c d1:x{}:", most).as_bytes()), Frame::Partial);
        assert_eq!(scan(format!("c d1:x{}:", most + 1).as_bytes()), Frame::Broken);
        let json = |length: usize| [&b"c {\""[..], &vec![b'x'; length - 6], b"\"}"].concat();
        assert_eq!(scan(&json(NG_BYTES)), Frame::Whole(0, NG_BYTES));
        assert_eq!(
            scan(&json(NG_BYTES + 1)),
            Frame::Whole(0, NG_BYTES + 1),
            "its last byte is there already"
        );
        assert_eq!(scan(&json(NG_BYTES + 2)), Frame::Broken);
        assert_eq!(scan(&json(NG_BYTES + 2)[..NG_BYTES]), Frame::Partial);
        // White space before a message does not count.
        assert_eq!(
            scan(&[&vec![b' '; NG_BYTES + 9][..], &json(20)].concat()),
            Frame::Whole(NG_BYTES + 9, NG_BYTES + 29)
        );
    }
}
