//! The shard's side: a buffer that messages are written into, handed over when it is full or a tenth of a second old.
//!
//! The buffers of a shard are made at its start; one that was read comes back. When all are with the reader, messages are dropped and
//! counted: a shard never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use warp_model::{Mono, Wall};

use crate::channel::ToSink;
use crate::entry::{self, EndedCall, HEAD_BYTES, Head};

/// Bytes of a buffer: more than the largest message.
const BUFFER_BYTES: usize = 160 * 1_024;
/// A buffer that holds so much is handed over.
const FULL_ENOUGH: usize = 64 * 1_024;
/// Buffers of a shard.
const BUFFERS: usize = 8;
/// Longest time that a message waits in a buffer while the shard has turns.
const OLD: Duration = Duration::from_millis(100);
/// Messages a second of peers that are known, and of strangers: what is more is dropped.
const KNOWN_PER_S: u32 = 30_000;
const STRANGERS_PER_S: u32 = 200;

/// Messages that were seen, and that were dropped: because all buffers were full, or because there were too many in a second.
#[derive(Debug, Default)]
pub struct TapCounts {
    /// Messages that were written.
    pub seen: AtomicU64,
    /// Messages that were not.
    pub dropped: AtomicU64,
}

/// Where a shard writes its messages.
pub struct Tap {
    buf: Vec<u8>,
    began: Mono,
    out: Sender<ToSink>,
    back: Sender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    second: Mono,
    known_left: u32,
    strangers_left: u32,
    counts: Arc<TapCounts>,
}

impl Tap {
    pub(crate) fn new(out: Sender<ToSink>, counts: Arc<TapCounts>) -> Tap {
        let (back, empty) = channel();
        for _ in 1..BUFFERS {
            let _ = back.send(Vec::with_capacity(BUFFER_BYTES));
        }
        Tap {
            buf: Vec::with_capacity(BUFFER_BYTES),
            began: Mono(0),
            out,
            back,
            empty,
            second: Mono(0),
            known_left: KNOWN_PER_S,
            strangers_left: STRANGERS_PER_S,
            counts,
        }
    }

    /// A message was read, or is about to be sent.
    pub fn message(&mut self, head: &Head, bytes: &[u8], now: Mono) {
        if now.since(self.second) >= Duration::from_secs(1) {
            (self.second, self.known_left, self.strangers_left) = (now, KNOWN_PER_S, STRANGERS_PER_S);
        }
        let left = if head.stranger { &mut self.strangers_left } else { &mut self.known_left };
        if *left == 0 || !self.has_room(HEAD_BYTES + bytes.len(), now) {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let left = if head.stranger { &mut self.strangers_left } else { &mut self.known_left };
        *left -= 1;
        entry::put_message(&mut self.buf, head, bytes);
        self.counts.seen.fetch_add(1, Ordering::Relaxed);
    }

    /// A call ended: its mark goes behind its messages.
    pub fn ended(&mut self, at: Wall, call: &EndedCall, now: Mono) {
        // Its own fields are bounded: an id, a Call-ID of one datagram at most, a few addresses.
        if self.has_room(HEAD_BYTES + ENDED_BYTES + 2 * call.sip_call_id.len(), now) {
            entry::put_ended(&mut self.buf, at, call);
        }
    }

    fn has_room(&mut self, bytes: usize, now: Mono) -> bool {
        if self.buf.len() + bytes > BUFFER_BYTES {
            self.hand_over();
        }
        if self.buf.capacity() == 0 {
            // All were with the reader when the last one went.
            match self.empty.try_recv() {
                Ok(buf) => self.buf = buf,
                Err(_) => return false,
            }
        }
        if self.buf.is_empty() {
            self.began = now;
        }
        self.buf.len() + bytes <= BUFFER_BYTES
    }

    /// The end of a turn of the shard: what is full or old enough goes.
    pub fn turn(&mut self, now: Mono) {
        if self.buf.len() >= FULL_ENOUGH || (!self.buf.is_empty() && now.since(self.began) >= OLD) {
            self.hand_over();
        }
    }

    /// Everything goes now: somebody asks.
    pub fn hand_over(&mut self) {
        if self.buf.is_empty() {
            return;
        }
        let next = self.empty.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.buf, next);
        let _ = self.out.send(ToSink::Batch(full, self.back.clone()));
    }
}

/// Of the end of a call, beside its Call-ID: 64 attempts with the longest addresses.
const ENDED_BYTES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, entries};
    use warp_sip::flow::Transport;

    fn head(stranger: bool) -> Head {
        let at = "192.0.2.1:5060".parse().unwrap();
        Head { at: Wall(1), ingress: true, stranger, transport: Transport::Udp, local: at, remote: at }
    }

    fn read(batches: &Receiver<ToSink>) -> Vec<usize> {
        batches
            .try_iter()
            .map(|b| match b {
                ToSink::Batch(buf, _) => entries(&buf).count(),
                _ => 0,
            })
            .collect()
    }

    #[test]
    fn a_buffer_goes_when_it_is_old_or_full_and_never_more_than_there_are() {
        let (out, batches) = channel();
        let counts = Arc::new(TapCounts::default());
        let mut tap = Tap::new(out, counts.clone());
        let ms = |n: u64| Mono(n * 1_000_000);
        tap.message(&head(false), b"x", ms(5_000));
        tap.turn(ms(5_050));
        assert!(read(&batches).is_empty(), "young and small");
        tap.turn(ms(5_101));
        assert_eq!(read(&batches), [1]);
        // A reader that gives nothing back: eight buffers, then drops.
        let big = vec![b'x'; 60_000];
        for _ in 0..200 {
            tap.message(&head(false), &big, ms(5_200));
            tap.turn(ms(5_200));
        }
        let held: usize = read(&batches).iter().sum();
        assert_eq!(held + counts.dropped.load(Ordering::Relaxed) as usize, 200);
        assert!((7..=16).contains(&held), "{held}");
    }

    #[test]
    fn what_comes_back_is_used_again_and_nothing_is_made_new() {
        let (out, batches) = channel();
        let mut tap = Tap::new(out, Arc::default());
        for round in 0..100_u64 {
            tap.message(&head(false), b"INVITE", Mono(round * 1_000_000_000));
            tap.hand_over();
            let Ok(ToSink::Batch(mut buf, back)) = batches.try_recv() else { panic!("{round}") };
            assert_eq!(buf.capacity(), BUFFER_BYTES);
            assert!(matches!(entries(&buf).next(), Some(Entry::Message(..))));
            buf.clear();
            back.send(buf).unwrap();
        }
    }

    #[test]
    fn a_flood_of_strangers_takes_its_share_of_a_second_and_no_more() {
        let (out, batches) = channel();
        let counts = Arc::new(TapCounts::default());
        let mut tap = Tap::new(out, counts.clone());
        let at = Mono(3_000_000_000);
        for _ in 0..5_000 {
            tap.message(&head(true), b"OPTIONS", at);
        }
        tap.message(&head(false), b"INVITE", at);
        assert_eq!(counts.seen.load(Ordering::Relaxed), u64::from(STRANGERS_PER_S) + 1);
        tap.hand_over();
        assert_eq!(read(&batches).iter().sum::<usize>(), STRANGERS_PER_S as usize + 1);
    }

    #[test]
    fn a_message_beyond_every_buffer_is_dropped_and_those_after_it_are_not() {
        let (out, batches) = channel();
        let mut tap = Tap::new(out, Arc::default());
        tap.message(&head(false), b"INVITE", Mono(1));
        tap.message(&head(false), &vec![0; BUFFER_BYTES], Mono(1));
        tap.message(&head(false), b"ACK", Mono(1));
        tap.hand_over();
        assert_eq!(read(&batches).iter().sum::<usize>(), 2);
    }
}
