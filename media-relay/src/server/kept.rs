//! Sockets that stay bound while their port rests, so that a call costs no `socket`, `bind`, watching and `close`.
//!
//! A kept socket stays with the shard that had it, watched by its epoll; the control thread knows where it is, lends it again
//! and holds it only until its first rule. Whose turn it is stands in the socket's word ([`Stand`]), which either thread
//! changes by compare-and-swap only.
//!
//! A resting port hears nobody: the shard reads and forgets what arrives, and after [`STRAYS`] datagrams closes the socket, so
//! that a sender who goes on gets the kernel's refusal, as from any closed port. What waits when it is lent is forgotten too.
//! How many sockets rest is bounded ([`Keep`]); beyond the bound a port is closed when its call ends.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use warp_net::media::SharedSocket;

/// Datagrams that a resting port reads and forgets before it is closed: a second of a phone that has not heard the end.
pub(super) const STRAYS: u8 = 64;

/// Descriptors of everything else in this process.
const OTHER_DESCRIPTORS: usize = 1_000;
/// Of the descriptors, the part that no port gets, at most [`OTHER_DESCRIPTORS`]: records, connections of signalling and the API
/// go on where there are more ports than descriptors.
const SPARED: u64 = 16;

/// Where a socket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stand {
    /// The shard's, with a rule; or nobody has kept it yet.
    Busy = 0,
    /// The socket rests: it belongs to no call.
    Resting = 1,
    /// A call's, and the shard has no rule for it yet.
    Lent = 2,
    /// The same, and something came: the shard watches it again with the rule.
    LentUnwatched = 3,
    /// About to be closed by the shard.
    Gone = 4,
}

impl Stand {
    /// Of this socket now.
    pub(super) fn of(socket: &SharedSocket) -> Stand {
        match socket.word().load(Ordering::SeqCst) {
            1 => Stand::Resting,
            2 => Stand::Lent,
            3 => Stand::LentUnwatched,
            4 => Stand::Gone,
            _ => Stand::Busy,
        }
    }

    /// Sets it, whatever it was.
    pub(super) fn set(self, word: &AtomicU8) {
        word.store(self as u8, Ordering::SeqCst);
    }

    /// Goes on to `next`, if the socket still stands here.
    pub(super) fn step(self, socket: &SharedSocket, next: Stand) -> bool {
        let (order, word) = (Ordering::SeqCst, socket.word());
        word.compare_exchange(self as u8, next as u8, order, order).is_ok()
    }
}

/// How many sockets may rest.
#[derive(Debug)]
pub(crate) struct Keep {
    most: usize,
    /// The first descriptor that is not for ports.
    spared_from: u64,
    now: AtomicUsize,
}

impl Keep {
    /// An empty list with room for `most` sockets.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, spared_from: u64::MAX, now: AtomicUsize::new(0) }
    }

    /// As many as there are ports, where this process has a descriptor for each; else a quarter of the descriptors, and the rest
    /// is for calls.
    pub(crate) fn within(ports: usize, descriptors: u64) -> Self {
        let spared = (descriptors / SPARED).min(OTHER_DESCRIPTORS as u64);
        let spared_from = descriptors.saturating_sub(spared);
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let is_enough = ports.saturating_add(OTHER_DESCRIPTORS) <= descriptors;
        Self { spared_from, ..Self::new(if is_enough { ports } else { descriptors / 4 }) }
    }

    /// Whether a port must not have this descriptor.
    pub(super) fn is_spared(&self, descriptor: u64) -> bool {
        descriptor >= self.spared_from
    }

    /// One more, if there is room.
    pub(super) fn take(&self) -> bool {
        let more = |now: usize| (now < self.most).then_some(now + 1);
        self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// One socket less is kept.
    pub(super) fn give_back(&self) {
        let less = |now: usize| now.checked_sub(1);
        let _ = self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_rest_and_no_more() {
        let keep = Keep::within(10_000, 8);
        assert!(keep.take() && keep.take() && !keep.take());
        keep.give_back();
        assert!(keep.take() && !keep.take());
        let keep = Keep::within(2, 1_002);
        assert!(keep.take() && keep.take() && !keep.take(), "never more than there are ports");
        assert_eq!((Keep::within(10_000, 11_000).most, Keep::within(10_000, 10_999).most), (10_000, 2_749));
        assert!(!Keep::new(0).take());
    }

    #[test]
    fn f_proc_07_some_descriptors_are_for_no_port() {
        for (descriptors, first) in [(1_024, 960), (8_000, 7_500), (20_000, 19_000), (1_000_000, 999_000)] {
            let keep = Keep::within(100_000, descriptors);
            assert!(!keep.is_spared(first - 1) && keep.is_spared(first), "{descriptors}");
        }
        assert!(!Keep::new(4).is_spared(1 << 20));
    }
}
