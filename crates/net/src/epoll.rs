//! epoll(7): one per thread, tokens chosen by the owner, no allocation while waiting.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// What to be woken for. Level-triggered unless [`Interest::edge`] is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(u32);

impl Interest {
    /// Bytes, datagrams or connections wait to be read; also the peer closing its sending side.
    pub const READ: Interest = Interest((libc::EPOLLIN | libc::EPOLLRDHUP) as u32);
    /// There is room to write.
    pub const WRITE: Interest = Interest(libc::EPOLLOUT as u32);
    /// Both: bytes to read, and room to write.
    pub const READ_WRITE: Interest = Interest((libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLOUT) as u32);
    /// Errors and hang-up only (the kernel always reports those).
    pub const NONE: Interest = Interest(0);

    /// Edge-triggered: one event per change, the owner reads until nothing is left.
    pub const fn edge(self) -> Interest {
        Interest(self.0 | libc::EPOLLET as u32)
    }
}

/// One event of [`Epoll::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The token given when the descriptor was added.
    pub token: u64,
    bits: u32,
}

impl Event {
    /// Something can be read, or the peer closed its side.
    pub fn readable(&self) -> bool {
        self.bits & (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP) as u32 != 0
    }
    /// Something can be written.
    pub fn writable(&self) -> bool {
        self.bits & libc::EPOLLOUT as u32 != 0
    }
    /// An error is pending: on UDP an ICMP message, on TCP a failed or broken connection.
    pub fn error(&self) -> bool {
        self.bits & libc::EPOLLERR as u32 != 0
    }
    /// Both directions are closed.
    pub fn hang_up(&self) -> bool {
        self.bits & libc::EPOLLHUP as u32 != 0
    }
}

/// The preallocated list that [`Epoll::wait`] fills.
pub struct Events {
    list: Vec<libc::epoll_event>,
    len: usize,
}

impl Events {
    /// Room for `capacity` events per wake-up (at least 1); more stay in the kernel for the next one.
    pub fn with_capacity(capacity: usize) -> Events {
        Events { list: vec![libc::epoll_event { events: 0, u64: 0 }; capacity.max(1)], len: 0 }
    }

    /// The events of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.list.iter().take(self.len).map(|e| Event { token: e.u64, bits: e.events })
    }

    /// Event number `i` of the last wait, for owners that change themselves while they walk the list.
    pub fn at(&self, i: usize) -> Option<Event> {
        let e = self.list.get(..self.len)?.get(i)?;
        Some(Event { token: e.u64, bits: e.events })
    }

    /// Number of events of the last wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the last wait ended by its time-out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// One epoll instance, owned by one thread.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    /// A new, empty instance. Errors: out of descriptors.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers; the result is checked before use.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just returned by the kernel and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { fd })
    }

    /// Watches `fd`; events carry `token`. The kernel forgets a descriptor when it is closed.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_fd(), token, interest)
    }

    /// Changes what `fd` is watched for.
    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_fd(), token, interest)
    }

    /// Stops watching the descriptor `fd`.
    pub fn delete(&self, fd: impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd.as_fd(), 0, Interest(0))
    }

    /// Waits for events, at most `timeout` (rounded up to a millisecond, so that a timer is never early; `None` waits
    /// for ever; zero polls). A signal ends the wait with no events.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.len = 0;
        let ms = match timeout {
            None => -1,
            Some(t) => i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
        };
        let capacity = i32::try_from(events.list.len()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most `capacity` elements into `list`, which has that many and is borrowed
        // exclusively.
        let n = unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.list.as_mut_ptr(), capacity, ms) };
        if n < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            };
        }
        events.len = n as usize;
        Ok(())
    }

    fn control(&self, op: i32, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.0, u64: token };
        // SAFETY: both descriptors are borrowed and open; `event` lives for the length of the call.
        let rc = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), op, fd.as_raw_fd(), &mut event) };
        if rc < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventfd::EventFd;

    #[test]
    fn level_edge_and_delete() {
        let epoll = Epoll::new().unwrap();
        let fd = EventFd::new().unwrap();
        let mut events = Events::with_capacity(4);
        epoll.add(&fd, 7, Interest::READ).unwrap();
        epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());

        fd.signal();
        for _ in 0..2 {
            epoll.wait(&mut events, Some(Duration::from_secs(5))).unwrap();
            assert_eq!(events.len(), 1);
            let e = events.at(0).unwrap();
            assert_eq!((e.token, e.readable(), e.writable(), e.error()), (7, true, false, false));
            assert_eq!(events.iter().count(), 1);
            assert!(events.at(1).is_none());
        }
        epoll.modify(&fd, 8, Interest::READ.edge()).unwrap();
        epoll.wait(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert_eq!(events.at(0).unwrap().token, 8);
        epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "an edge is reported once");
        fd.signal();
        epoll.wait(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert_eq!(events.len(), 1, "a second signal is a new edge even if the first was never read");
        epoll.delete(&fd).unwrap();
        fd.signal();
        epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }
}
