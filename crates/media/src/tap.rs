//! A tap on what a party sends, for whoever writes it down: copies of its packets in a ring of fixed size (RFC 0054).
//!
//! A [`Tap`] is the last stage of a rule's pipeline: it sees what is heard, in the clear, and changes nothing. It puts each
//! packet into the [`Ring`] of its shard, which another thread empties. Putting takes no lock, allocates nothing and never
//! waits: what does not fit is counted and gone. A rule without a tap pays nothing.
//!
//! The ring is words that one thread writes and one reads; `head` and `tail` say which are whose. A second writer would spoil
//! records, never memory: a reader that finds one spoiled forgets what is there and counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use warp_model::Mono;

use crate::packet::RoomyPacket;
use crate::port::{DropReason, MediaPath};
use crate::stage::{Stage, StageMaker};

/// Bytes of a packet that are kept at most; speech has less, and of a longer one the beginning is kept.
pub const TAP_BYTES: usize = 2_048;
/// Words before the bytes of a packet: number of the leg; time; path, length as it came and as it is kept.
const HEAD_WORDS: usize = 3;
const WORD: usize = 8;
const RTCP: u64 = 1 << 63;

/// Packets on their way from a shard to whoever writes them down.
#[derive(Debug)]
pub struct Ring {
    words: Box<[AtomicU64]>,
    /// Words ever written, and ever read.
    head: AtomicUsize,
    tail: AtomicUsize,
    lost: AtomicU64,
}

/// A packet as the reader gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tapped<'b> {
    /// The leg whose tap it was.
    pub leg: u64,
    /// When its shard woke up for it.
    pub at: Mono,
    /// RTP or RTCP, by its port.
    pub path: MediaPath,
    /// Bytes that it had.
    pub length: usize,
    /// The first [`TAP_BYTES`] of it.
    pub bytes: &'b [u8],
}

impl Ring {
    /// A ring of at least so many bytes, heads of packets included; their number is rounded up to a power of two.
    pub fn new(bytes: usize) -> Self {
        let words = bytes.div_ceil(WORD).max(2 * (HEAD_WORDS + TAP_BYTES / WORD)).next_power_of_two();
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        }
    }

    fn word(&self, at: usize) -> Option<&AtomicU64> {
        self.words.get(at & self.words.len().wrapping_sub(1))
    }

    /// Puts a packet in. False: there is no room, and it is counted.
    #[inline]
    pub fn put(&self, leg: u64, path: MediaPath, packet: &[u8], now: Mono) -> bool {
        let kept = packet.get(..TAP_BYTES).unwrap_or(packet);
        let need = kept.len().div_ceil(WORD).wrapping_add(HEAD_WORDS);
        let (head, tail) = (self.head.load(Ordering::Relaxed), self.tail.load(Ordering::Acquire));
        if head.wrapping_sub(tail).wrapping_add(need) > self.words.len() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let lengths = (packet.len() as u64 & 0xFFFF_FFFF) << 16 | kept.len() as u64;
        let path = if path == MediaPath::Rtcp { RTCP } else { 0 };
        let heads = [leg, now.0, path | lengths];
        let body = kept.chunks(WORD).map(|chunk| {
            let mut word = [0; WORD];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            u64::from_ne_bytes(word)
        });
        for (n, value) in heads.into_iter().chain(body).enumerate() {
            if let Some(word) = self.word(head.wrapping_add(n)) {
                word.store(value, Ordering::Relaxed);
            }
        }
        self.head.store(head.wrapping_add(need), Ordering::Release);
        true
    }

    /// Where the last packet that is there now ends: for [`Ring::take`].
    pub fn end(&self) -> usize {
        self.head.load(Ordering::Acquire)
    }

    /// Hands out what stands before `end`, oldest first, and makes room of it.
    pub fn take(&self, end: usize, mut each: impl FnMut(Tapped<'_>)) {
        let mut bytes = [0; TAP_BYTES];
        let mut at = self.tail.load(Ordering::Relaxed);
        while at != end {
            let value = |n: usize| self.word(at.wrapping_add(n)).map_or(0, |w| w.load(Ordering::Relaxed));
            let (leg, time, about) = (value(0), value(1), value(2));
            let kept = (about & 0xFFFF) as usize;
            let need = kept.div_ceil(WORD).wrapping_add(HEAD_WORDS);
            let Some(room) = bytes.get_mut(..kept).filter(|_| need <= end.wrapping_sub(at)) else {
                self.lost.fetch_add(1, Ordering::Relaxed);
                self.tail.store(end, Ordering::Release);
                return;
            };
            for (n, chunk) in room.chunks_mut(WORD).enumerate() {
                let word = value(HEAD_WORDS.wrapping_add(n)).to_ne_bytes();
                chunk.iter_mut().zip(word).for_each(|(to, from)| *to = from);
            }
            let path = if about & RTCP != 0 { MediaPath::Rtcp } else { MediaPath::Rtp };
            let length = ((about & !RTCP) >> 16) as usize;
            each(Tapped { leg, at: Mono(time), path, length, bytes: room });
            at = at.wrapping_add(need);
            self.tail.store(at, Ordering::Release);
        }
    }

    /// Packets that found no room since the last question.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// A tap on one leg: the maker of its stage.
#[derive(Clone, Debug)]
pub struct Tap {
    /// Names the leg to the reader.
    pub leg: u64,
    /// The ring of the shard that the leg's ports are on.
    pub ring: Arc<Ring>,
}

impl StageMaker for Tap {
    fn make(&self) -> Box<dyn Stage> {
        Box::new(self.clone())
    }
}

impl Stage for Tap {
    #[inline]
    fn run(&mut self, packet: &mut RoomyPacket<'_>, path: MediaPath, now: Mono) -> Result<(), DropReason> {
        // What is lost to the recording is not lost to the call.
        let _ = self.ring.put(self.leg, path, packet.bytes(), now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ring: &Ring) -> Vec<(u64, u64, MediaPath, usize, Vec<u8>)> {
        let mut found = Vec::new();
        ring.take(ring.end(), |t| found.push((t.leg, t.at.0, t.path, t.length, t.bytes.to_vec())));
        found
    }

    #[test]
    fn what_goes_in_comes_out_in_order_and_whole() {
        let ring = Ring::new(0);
        // Over the end of the ring many times, each length.
        for n in 0..5_000usize {
            let packet: Vec<u8> = (0..n % 700).map(|b| (b + n) as u8).collect();
            let path = if n % 3 == 0 { MediaPath::Rtcp } else { MediaPath::Rtp };
            assert!(ring.put(n as u64, path, &packet, Mono(n as u64 * 7)));
            assert_eq!(all(&ring), [(n as u64, n as u64 * 7, path, packet.len(), packet)]);
        }
        assert_eq!(all(&ring), []);
        // Two at once, and only as far as was asked.
        ring.put(1, MediaPath::Rtp, b"one", Mono(1));
        let end = ring.end();
        ring.put(2, MediaPath::Rtp, b"two", Mono(2));
        let mut legs = Vec::new();
        ring.take(end, |t| legs.push(t.leg));
        assert_eq!(legs, [1]);
        assert_eq!(all(&ring).len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_what_is_there_stays() {
        let ring = Ring::new(8_192);
        let taken = (0..1_000u64).filter(|n| ring.put(*n, MediaPath::Rtp, &[7; 172], Mono(*n))).count();
        assert_eq!(taken, 8_192 / (172usize.div_ceil(8) * 8 + 24), "as many as it has room for");
        assert_eq!((ring.take_lost(), ring.take_lost()), (1_000 - taken as u64, 0));
        let legs: Vec<u64> = all(&ring).into_iter().map(|t| t.0).collect();
        assert_eq!(legs, (0..taken as u64).collect::<Vec<_>>());
        assert!(ring.put(1, MediaPath::Rtp, &[7; 172], Mono(0)), "there is room again");
    }

    #[test]
    fn of_a_long_packet_the_beginning_is_kept_with_its_length() {
        let ring = Ring::new(0);
        let long: Vec<u8> = (0..9_000).map(|n| n as u8).collect();
        assert!(ring.put(3, MediaPath::Rtp, &long, Mono(9)));
        assert_eq!(all(&ring), [(3, 9, MediaPath::Rtp, 9_000, long[..TAP_BYTES].to_vec())]);
    }

    /// Two threads, and no packet torn.
    #[test]
    fn a_reader_beside_the_writer_sees_whole_packets_only() {
        let ring = Ring::new(16_384);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut taken = 0u64;
                for n in 0..200_000u64 {
                    let packet = [n as u8; 180];
                    taken += u64::from(ring.put(n, MediaPath::Rtp, &packet[..(n % 180) as usize], Mono(n)));
                }
                taken
            });
            let (mut next, mut read) = (0, 0);
            loop {
                let is_last = writer.is_finished();
                ring.take(ring.end(), |t| {
                    assert!(t.leg >= next && t.at.0 == t.leg && t.length == (t.leg % 180) as usize);
                    assert!(t.bytes.len() == t.length && t.bytes.iter().all(|b| *b == t.leg as u8));
                    (next, read) = (t.leg + 1, read + 1);
                });
                if is_last {
                    break;
                }
            }
            assert_eq!(writer.join().unwrap(), read);
            assert_eq!(ring.take_lost(), 200_000 - read);
        });
    }
}
