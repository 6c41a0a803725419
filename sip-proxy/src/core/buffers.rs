//! Buffers for messages, used again and again: to write into, and for copies that live as long as their transactions.
//!
//! Copies are what a shard's memory grows by: three or four messages a call are kept for 32 seconds. So they come in three sizes, and
//! memory for new ones is asked for ahead ([`Buffers::fresh`]).

/// Buffers of one shard.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    small: Vec<Vec<u8>>,
    middle: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// Bytes of new buffers until memory is asked for ahead again.
    ahead: usize,
}

impl Buffers {
    /// An empty one that nearly every message fits into without growing.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        match self.large.pop() {
            Some(buf) => buf,
            None => self.fresh(LARGE),
        }
    }

    /// Takes one back. Odd sizes, and more than are of use, go to the allocator.
    pub(crate) fn give(&mut self, mut buf: Vec<u8>) {
        let pool = match buf.capacity() {
            SMALL..MIDDLE => &mut self.small,
            MIDDLE..LARGE => &mut self.middle,
            LARGE..=LARGEST => &mut self.large,
            _ => return,
        };
        if pool.len() < KEPT {
            buf.clear();
            pool.push(buf);
        }
    }

    /// A copy of a message, in no more memory than its size wants.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (pool, size) = match bytes.len() {
            0..=SMALL => (&mut self.small, SMALL),
            len if len <= MIDDLE => (&mut self.middle, MIDDLE),
            _ => (&mut self.large, LARGE),
        };
        let mut buf = match pool.pop() {
            Some(buf) => buf,
            None => self.fresh(size),
        };
        buf.extend_from_slice(bytes);
        buf
    }

    /// A new one. glibc lets the memory of a thread grow by the pages that the request at hand lacks and no more, with one mprotect(2) each
    /// time: 1.5 a call while calls come in. What was asked for at once and is given back stays with the thread, for the next ones.
    fn fresh(&mut self, size: usize) -> Vec<u8> {
        match self.ahead.checked_sub(size) {
            Some(left) => self.ahead = left,
            None => {
                drop(std::hint::black_box(Vec::<u8>::with_capacity(AHEAD)));
                self.ahead = AHEAD / 4;
            }
        }
        Vec::with_capacity(size)
    }
}

/// BYE, ACK and most responses.
const SMALL: usize = 512;
/// INVITE and 200 with the SDP of a telephone.
const MIDDLE: usize = 1_024;
const LARGE: usize = 2_048;
/// What has grown beyond is given back.
const LARGEST: usize = 8_192;
/// Of each size.
const KEPT: usize = 4_096;
/// Below what the allocator maps by itself or gives back to the system at once (both 128 KiB), and a quarter of it is buffers: the rest is what
/// else a call keeps.
const AHEAD: usize = 96 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_for_messages_of_its_size() {
        let mut buffers = Buffers::default();
        for (len, room) in [(0, SMALL), (512, SMALL), (513, MIDDLE), (1_024, MIDDLE), (1_025, LARGE)] {
            let message = vec![7; len];
            let copy = buffers.copy(&message);
            assert_eq!((copy.as_slice(), copy.capacity()), (&message[..], room));
            let at = copy.as_ptr();
            buffers.give(copy);
            let again = buffers.copy(&message);
            assert_eq!((again.as_slice(), again.as_ptr()), (&message[..], at), "{len}");
        }
        let written = buffers.take();
        assert_eq!((written.len(), written.capacity()), (0, LARGE));
        let at = written.as_ptr();
        buffers.give(written);
        let again = buffers.take();
        assert_eq!(again.as_ptr(), at);
    }

    /// Every buffer of a pool has room for what is copied into it, wherever it came from.
    #[test]
    fn what_is_too_small_too_large_or_too_many_is_not_kept() {
        let mut buffers = Buffers::default();
        for odd in [0, 1, SMALL - 1, LARGEST + 1] {
            buffers.give(Vec::with_capacity(odd));
        }
        assert!([&buffers.small, &buffers.middle, &buffers.large].iter().all(|pool| pool.is_empty()));
        for (size, of) in [(SMALL, 0), (MIDDLE - 1, 0), (MIDDLE, 1), (LARGE - 1, 1), (LARGE, 2), (LARGEST, 2)]
        {
            buffers.give(Vec::with_capacity(size));
            let pools = [&mut buffers.small, &mut buffers.middle, &mut buffers.large];
            assert_eq!(pools[of].pop().map(|buf| buf.capacity()), Some(size));
        }
        for _ in 0..=KEPT {
            buffers.give(Vec::with_capacity(SMALL));
        }
        assert_eq!(buffers.small.len(), KEPT);
    }
}
