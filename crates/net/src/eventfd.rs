//! eventfd(2): how one thread wakes another that sits in epoll.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A wake-up descriptor. Any thread may [`signal`](EventFd::signal); the owner watches it with epoll, best with
/// [`edge`](crate::epoll::Interest::edge) interest: then it needs no read at all.
#[derive(Debug)]
pub struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    /// A new descriptor, not signalled. Errors: out of descriptors.
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers; the result is checked before use.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just returned by the kernel and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EventFd { fd })
    }

    /// Wakes the owner. Cannot block; a counter at its maximum is already a pending wake-up.
    pub fn signal(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `one` is eight readable bytes, which is what an eventfd takes.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes the pending signals (level-triggered owners need this). Returns how many there were.
    pub fn clear(&self) -> u64 {
        let mut count = [0_u8; 8];
        // SAFETY: `count` is eight writable bytes, which is what an eventfd gives.
        let n = unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        if n == 8 { u64::from_ne_bytes(count) } else { 0 }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_counted_until_cleared() {
        let fd = EventFd::new().unwrap();
        assert_eq!(fd.clear(), 0);
        fd.signal();
        fd.signal();
        assert_eq!(fd.clear(), 2);
        assert_eq!(fd.clear(), 0);
    }
}
