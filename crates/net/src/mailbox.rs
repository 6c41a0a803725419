//! A bounded mailbox into an epoll loop: many senders, one owner, wake-ups coalesced.
//!
//! Order: messages of one sender arrive in the order it sent them. A burst of messages costs one eventfd write, not one
//! each. When full, the sender gets its message back and decides (drop and meter, answer 503): nothing blocks (G-2).
//! The queue is the standard library's bounded channel (lock-free); this adds the wake-up.
//!
//! What can wait for the owner's next wake-up is put without one ([`Sender::put`]); an owner that looks for it whenever it wakes
//! up ([`Mailbox::has_news`]) knows it before anything that came later.
//!
//! Why no wake-up is lost: a sender first puts its message, then swaps the flag to true and writes the eventfd if it was
//! false. The owner first swaps the flag to false, then takes messages. If a sender's swap came before the owner's, the
//! owner's swap acquires it and so sees the message; if it came after, it finds false and writes the eventfd.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use crate::eventfd::EventFd;

/// A mailbox for `capacity` messages (at least 1). Errors: out of descriptors.
pub fn mailbox<T>(capacity: usize) -> io::Result<(Sender<T>, Mailbox<T>)> {
    let (tx, rx) = mpsc::sync_channel(capacity.max(1));
    let wake =
        Arc::new(Wake { fd: EventFd::new()?, pending: AtomicBool::new(false), news: AtomicBool::new(false) });
    let sender = Sender { tx, wake: Arc::clone(&wake) };
    Ok((sender, Mailbox { rx, wake }))
}

/// Why a message was not taken; it comes back to the sender.
#[derive(PartialEq, Eq)]
pub enum SendError<T> {
    /// The mailbox holds as many messages as it may.
    Full(T),
    /// Its owner is gone.
    Closed(T),
}

/// The sending end. Clone one per sending thread.
pub struct Sender<T> {
    tx: mpsc::SyncSender<T>,
    wake: Arc<Wake>,
}

/// The owner's end. Watch it with epoll (`Interest::READ.edge()`) and call [`drain`](Mailbox::drain) on each event.
pub struct Mailbox<T> {
    rx: mpsc::Receiver<T>,
    wake: Arc<Wake>,
}

struct Wake {
    fd: EventFd,
    pending: AtomicBool,
    /// A message was put since the owner last began to take them.
    news: AtomicBool,
}

impl<T> Sender<T> {
    /// Puts a message and wakes the owner. Never blocks.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.put(message)?;
        self.wake();
        Ok(())
    }

    /// Puts a message without waking: for a batch, ended by [`wake`](Sender::wake), or for what can wait. What the owner did
    /// before it found no news is seen by the sender after this.
    pub fn put(&self, message: T) -> Result<(), SendError<T>> {
        self.tx.try_send(message).map_err(|e| match e {
            mpsc::TrySendError::Full(m) => SendError::Full(m),
            mpsc::TrySendError::Disconnected(m) => SendError::Closed(m),
        })?;
        self.wake.news.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Wakes the owner unless a wake-up is already on its way.
    pub fn wake(&self) {
        self.wake.wake();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { tx: self.tx.clone(), wake: Arc::clone(&self.wake) }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mailbox::Sender")
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full(_) => "Full",
            SendError::Closed(_) => "Closed",
        })
    }
}

impl<T> Mailbox<T> {
    /// Hands up to `max` waiting messages to `each`, oldest first, and returns how many. What remains is announced again
    /// by a new wake-up, so that one busy mailbox cannot keep its owner from the sockets.
    pub fn drain(&mut self, max: usize, mut each: impl FnMut(T)) -> usize {
        self.wake.pending.swap(false, Ordering::AcqRel);
        self.wake.news.swap(false, Ordering::SeqCst);
        for taken in 0..max {
            match self.rx.try_recv() {
                Ok(message) => each(message),
                Err(_) => return taken,
            }
        }
        self.wake.news.store(true, Ordering::SeqCst);
        self.wake.wake();
        max
    }

    /// Whether a message was put since the last [`drain`](Mailbox::drain), with or without a wake-up. One plain read.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.wake.news.load(Ordering::SeqCst)
    }

    /// The oldest message, for owners that poll. Does not touch the wake-up state.
    pub fn take(&mut self) -> Option<T> {
        self.rx.try_recv().ok()
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.fd.as_fd()
    }
}

impl Wake {
    fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.fd.signal();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoll::{Epoll, Events, Interest};
    use std::time::{Duration, Instant};

    #[test]
    fn full_and_closed_give_the_message_back() {
        let (tx, mut rx) = mailbox(2).unwrap();
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        assert_eq!(tx.send(3), Err(SendError::Full(3)));
        assert_eq!(rx.take(), Some(1));
        tx.send(4).unwrap();
        let mut got = Vec::new();
        assert_eq!(rx.drain(10, |m| got.push(m)), 2);
        assert_eq!(got, [2, 4]);
        drop(rx);
        assert_eq!(tx.send(5), Err(SendError::Closed(5)));
    }

    #[test]
    fn a_burst_is_one_wake_up() {
        let (tx, mut rx) = mailbox(100).unwrap();
        for i in 0..50 {
            tx.send(i).unwrap();
        }
        assert_eq!(rx.wake.fd.clear(), 1);
        assert_eq!(rx.drain(100, |_| {}), 50);
        tx.send(50).unwrap();
        assert_eq!(rx.wake.fd.clear(), 1);
    }

    #[test]
    fn what_was_put_without_a_wake_up_is_news() {
        let (tx, mut rx) = mailbox(100).unwrap();
        assert!(!rx.has_news());
        tx.put(1).unwrap();
        assert!(rx.has_news());
        assert_eq!(rx.wake.fd.clear(), 0, "nobody was woken");
        assert_eq!(rx.drain(100, |_| {}), 1);
        assert!(!rx.has_news());
        for i in 0..3 {
            tx.put(i).unwrap();
        }
        assert_eq!(rx.drain(2, |_| {}), 2);
        assert!(rx.has_news(), "one is left");
        assert_eq!(rx.drain(2, |_| {}), 1);
        assert!(!rx.has_news());
    }

    #[test]
    fn what_a_limited_drain_leaves_is_announced_again() {
        let (tx, mut rx) = mailbox(100).unwrap();
        for i in 0..10 {
            tx.put(i).unwrap();
        }
        tx.wake();
        rx.wake.fd.clear();
        assert_eq!(rx.drain(4, |_| {}), 4);
        assert_eq!(rx.wake.fd.clear(), 1);
        assert_eq!(rx.drain(100, |_| {}), 6);
        assert_eq!(rx.wake.fd.clear(), 0);
    }

    /// Four senders against an owner that sleeps in epoll whenever it can, small capacity, edge-triggered: everything
    /// arrives, in order per sender, and no wake-up is lost (a lost one would hang until the deadline).
    #[test]
    fn no_message_and_no_wake_up_is_lost_under_contention() {
        const SENDERS: usize = 4;
        const EACH: usize = 20_000;
        let (tx, mut rx) = mailbox::<(usize, usize)>(64).unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(&rx, 1, Interest::READ.edge()).unwrap();
        let threads: Vec<_> = (0..SENDERS)
            .map(|s| {
                let tx = tx.clone();
                std::thread::spawn(move || {
                    for i in 0..EACH {
                        let mut message = (s, i);
                        while let Err(SendError::Full(back)) = tx.send(message) {
                            message = back;
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut next = [0_usize; SENDERS];
        let mut events = Events::with_capacity(4);
        let deadline = Instant::now() + Duration::from_secs(60);
        while next.iter().sum::<usize>() < SENDERS * EACH {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "a wake-up was lost: {next:?}");
            epoll.wait(&mut events, Some(left)).unwrap();
            rx.drain(33, |(s, i)| {
                assert_eq!(next[s], i, "order of sender {s}");
                next[s] += 1;
            });
        }
        for t in threads {
            t.join().unwrap();
        }
    }
}
