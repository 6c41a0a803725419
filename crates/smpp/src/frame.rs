//! Framing of a connection: bytes in, whole PDUs out (SMPP 3.4 §3.2 and §5.1.1).
//!
//! Invariants: the same PDUs come out however the bytes are split; a length is judged from the header alone, and no room is made for what a
//! length merely promises (T-SMS-01); at most one unfinished PDU is kept. After a wrong length nothing more is read, because nobody can
//! tell where the next PDU begins.

use crate::command::Command;
use crate::status::Status;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 16;
/// Largest PDU, header included: a message_payload of 64 KiB with everything around it.
pub const PDU_BYTES: usize = 66_560;

/// The header of a PDU; `length` has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Octets of the whole PDU, 16 at least.
    pub length: u32,
    /// What it is, known or not.
    pub command: Command,
    /// The outcome in responses; 0 in requests.
    pub status: Status,
    /// Pairs a response with its request; 1 to 0x7FFFFFFF in order, any value is taken.
    pub sequence: u32,
}

/// What a connection brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// One whole PDU and the bytes behind its header.
    Pdu(Header, &'a [u8]),
    /// A length that cannot be: answer generic_nack ESME_RINVCMDLEN with this sequence number, then close. No frame follows.
    Broken {
        /// The sequence number of the header, 0 when the header is not whole.
        sequence: u32,
    },
}

/// Cuts one direction of a connection into PDUs.
#[derive(Debug)]
pub struct Framer {
    buf: Vec<u8>,
    start: usize,
    limit: usize,
    broken: bool,
}

impl Framer {
    /// At the beginning of a connection; `limit` is the largest PDU in octets, [`PDU_BYTES`] at most.
    pub fn new(limit: usize) -> Framer {
        Framer { buf: Vec::new(), start: 0, limit: limit.clamp(HEADER_BYTES, PDU_BYTES), broken: false }
    }

    /// Adds received bytes. Take all frames by [`Framer::poll_frame`] before adding more: that bounds the memory.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        if self.start > 0 {
            self.buf.drain(..self.start.min(self.buf.len()));
            self.start = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// The next PDU, if it is whole.
    pub fn poll_frame(&mut self) -> Option<Frame<'_>> {
        if self.broken {
            return None;
        }
        let rest = self.buf.get(self.start..).unwrap_or_default();
        if rest.is_empty() {
            self.start = 0;
            self.buf.clear();
            if self.buf.capacity() > KEPT_BYTES {
                self.buf = Vec::new();
            }
            return None;
        }
        let length = word(rest, 0)?;
        let octets = usize::try_from(length).unwrap_or(usize::MAX);
        if octets < HEADER_BYTES || octets > self.limit {
            // The sequence number is worth waiting for only when the bytes are there: who sends a wrong length may send no more.
            let sequence = word(rest, 12).unwrap_or(0);
            self.broken = true;
            self.buf = Vec::new();
            return Some(Frame::Broken { sequence });
        }
        if rest.len() < octets {
            return None;
        }
        let header = Header {
            length,
            command: Command(word(rest, 4)?),
            status: Status(word(rest, 8)?),
            sequence: word(rest, 12)?,
        };
        let (from, to) = (self.start.saturating_add(HEADER_BYTES), self.start.saturating_add(octets));
        self.start = to;
        Some(Frame::Pdu(header, self.buf.get(from..to).unwrap_or_default()))
    }

    /// Whether part of a PDU waits for its rest: the read timer runs then (T-SMS-06).
    pub fn is_partial(&self) -> bool {
        self.start < self.buf.len()
    }

    /// Whether a whole PDU waits to be taken by [`Framer::poll_frame`].
    pub fn has_frame(&self) -> bool {
        let rest = self.buf.get(self.start..).unwrap_or_default();
        word(rest, 0).is_some_and(|length| {
            let octets = usize::try_from(length).unwrap_or(usize::MAX);
            octets < HEADER_BYTES || octets > self.limit || rest.len() >= octets
        })
    }

    /// Octets that are held.
    pub fn held(&self) -> usize {
        self.buf.len().saturating_sub(self.start)
    }
}

/// Buffers larger than this are given back when empty.
const KEPT_BYTES: usize = 16_384;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pdu(length: u32, sequence: u32) -> Vec<u8> {
        [length, 0x15, 0, sequence].iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    #[test]
    fn many_pdus_in_one_read_and_one_in_many() {
        let mut framer = Framer::new(PDU_BYTES);
        let bytes = [pdu(16, 1), pdu(16, 2)].concat();
        framer.push(&bytes);
        for want in [1, 2] {
            let Some(Frame::Pdu(header, [])) = framer.poll_frame() else { panic!() };
            assert_eq!((header.sequence, header.command), (want, Command::ENQUIRE_LINK));
        }
        assert_eq!(framer.poll_frame(), None);
        for byte in &bytes[..15] {
            framer.push(&[*byte]);
            assert_eq!(framer.poll_frame(), None);
        }
        assert!(framer.is_partial() && !framer.has_frame());
        framer.push(&bytes[15..16]);
        assert!(framer.has_frame());
        assert!(matches!(framer.poll_frame(), Some(Frame::Pdu(h, [])) if h.sequence == 1));
        assert!(!framer.is_partial());
    }

    #[test]
    fn t_sms_01_a_wrong_length_ends_the_framing_and_reserves_nothing() {
        for length in [0, 8, 15, PDU_BYTES as u32 + 1, u32::MAX] {
            let mut framer = Framer::new(PDU_BYTES);
            framer.push(&pdu(length, 7));
            assert_eq!(framer.poll_frame(), Some(Frame::Broken { sequence: 7 }));
            framer.push(&pdu(16, 8));
            assert_eq!(framer.poll_frame(), None, "nothing is read after it");
            assert!(framer.buf.capacity() < 64);
            // The length alone tells it.
            let mut framer = Framer::new(PDU_BYTES);
            framer.push(&length.to_be_bytes());
            assert_eq!(framer.poll_frame(), Some(Frame::Broken { sequence: 0 }));
        }
        let mut framer = Framer::new(PDU_BYTES);
        framer.push(&pdu(PDU_BYTES as u32, 7));
        assert_eq!(framer.poll_frame(), None);
        assert!(framer.buf.capacity() < 64, "what is promised is not reserved");
    }
}
