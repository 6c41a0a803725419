//! UDP in batches: recvmmsg(2) into preallocated buffers, sendmmsg(2) from a queue that survives a full socket.
//!
//! One [`RecvBatch`] serves all sockets of a thread, one [`SendBatch`] belongs to each socket: datagrams leave in the order in
//! which they were pushed, also across a full send buffer.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use crate::udp::{Received, UdpSocket, is_pending_error};
use crate::wrapped;

/// Most datagrams that one system call carries.
pub const BATCH_MAX: usize = 64;

/// What came of [`RecvBatch::recv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvOutcome {
    /// This many datagrams (at least 1) are in the batch. As many as it can hold: ask again.
    Datagrams(usize),
    /// No datagram waits in the socket.
    Empty,
    /// A pending error of an earlier send was taken off the socket; reading may go on (F-NET-05).
    Error(io::ErrorKind),
}

/// Preallocated receive buffers. A page of them costs memory only once a datagram has touched it.
pub struct RecvBatch {
    arena: Arena,
    filled: usize,
}

impl RecvBatch {
    /// `count` buffers (1 to [`BATCH_MAX`]) of `size` bytes each. A datagram longer than `size` is cut and flagged.
    pub fn new(count: usize, size: usize) -> RecvBatch {
        RecvBatch { arena: Arena::new(count.clamp(1, BATCH_MAX), size.max(1)), filled: 0 }
    }

    /// Reads what waits on `socket`, up to the batch's count, without blocking. The previous contents are gone.
    pub fn recv(&mut self, socket: &UdpSocket) -> RecvOutcome {
        self.arena.reset(self.filled);
        self.filled = 0;
        if wrapped::is_on() {
            return self.recv_wrapped(socket);
        }
        loop {
            // SAFETY: the arena's headers point to buffers, iovecs and names that it owns, live as long as `self`, and
            // are not borrowed now (`&mut self`); the kernel writes within the lengths stated there.
            let n = unsafe {
                libc::recvmmsg(
                    socket.as_fd().as_raw_fd(),
                    self.arena.headers,
                    self.arena.count as libc::c_uint,
                    libc::MSG_DONTWAIT,
                    ptr::null_mut(),
                )
            };
            if n > 0 {
                self.filled = n as usize;
                return RecvOutcome::Datagrams(self.filled);
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock => return RecvOutcome::Empty,
                io::ErrorKind::Interrupted => {}
                kind => return RecvOutcome::Error(kind),
            }
        }
    }

    /// One datagram, by a function that preloaded libraries wrap.
    fn recv_wrapped(&mut self, socket: &UdpSocket) -> RecvOutcome {
        // SAFETY: buffer 0 is `size` initialised bytes of the arena, borrowed exclusively by `&mut self`.
        let buffer = unsafe { std::slice::from_raw_parts_mut(self.arena.buffers, self.arena.size) };
        match socket.recv_from(buffer) {
            Received::Datagram { len, from } => {
                // SAFETY: the arena has at least one header and one name; nothing else borrows them.
                let (header, name) = unsafe { (&mut *self.arena.headers, &mut *self.arena.names) };
                header.msg_hdr.msg_namelen = encode_address(from, name);
                header.msg_hdr.msg_flags = 0;
                header.msg_len = u32::try_from(len).unwrap_or(u32::MAX);
                self.filled = 1;
                RecvOutcome::Datagrams(1)
            }
            Received::Empty => RecvOutcome::Empty,
            Received::Error(kind) => RecvOutcome::Error(kind),
        }
    }

    /// Number of datagrams of the last [`recv`](RecvBatch::recv).
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether the last [`recv`](RecvBatch::recv) brought nothing.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Most datagrams of one [`recv`](RecvBatch::recv).
    pub fn capacity(&self) -> usize {
        self.arena.count
    }

    /// Datagram `i` of the last [`recv`](RecvBatch::recv): its bytes and its source. `None` beyond the end, or when the
    /// kernel gave no IP address.
    pub fn datagram(&self, i: usize) -> Option<(&[u8], SocketAddr)> {
        if i >= self.filled {
            return None;
        }
        // SAFETY: `i < filled <= count`, so header and name `i` are inside the arena, were initialised by `new` and
        // last written by the kernel before `recv` returned.
        let (header, name) = unsafe { (&*self.arena.headers.add(i), &*self.arena.names.add(i)) };
        let from = decode_address(name)?;
        let len = (header.msg_len as usize).min(self.arena.size);
        // SAFETY: buffer `i` is `size` initialised bytes (zeroed at allocation) inside the arena, `len <= size`; nothing
        // writes to it while `self` is borrowed.
        let bytes = unsafe { std::slice::from_raw_parts(self.arena.buffers.add(i * self.arena.size), len) };
        Some((bytes, from))
    }

    /// Whether datagram `i` was longer than its buffer.
    pub fn truncated(&self, i: usize) -> bool {
        // SAFETY: as in `datagram`.
        i < self.filled && unsafe { (*self.arena.headers.add(i)).msg_hdr.msg_flags } & libc::MSG_TRUNC != 0
    }
}

/// The memory of a receive batch. Held by raw pointers, because the headers point into it: no reference to any part lives
/// across a system call, and moving the owner moves no memory.
struct Arena {
    buffers: *mut u8,
    names: *mut libc::sockaddr_storage,
    iovecs: *mut libc::iovec,
    headers: *mut libc::mmsghdr,
    count: usize,
    size: usize,
}

// SAFETY: the arena owns all memory that its pointers reach, exclusively; sending it sends that ownership.
unsafe impl Send for Arena {}

impl Arena {
    fn new(count: usize, size: usize) -> Arena {
        let buffers = leak(vec![0_u8; count * size]);
        // SAFETY: all-zero is a valid sockaddr_storage, iovec and mmsghdr (plain C data, null pointers).
        let (name, iovec, header) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        let names = leak::<libc::sockaddr_storage>(vec![name; count]);
        let iovecs = leak::<libc::iovec>(vec![iovec; count]);
        let headers = leak::<libc::mmsghdr>(vec![header; count]);
        for i in 0..count {
            // SAFETY: `i < count`, the length of the three lists; `i * size` is inside the buffers.
            unsafe {
                (*iovecs.add(i)).iov_base = buffers.add(i * size).cast();
                (*iovecs.add(i)).iov_len = size;
                let header = &mut (*headers.add(i)).msg_hdr;
                header.msg_name = names.add(i).cast();
                header.msg_namelen = NAME_LEN;
                header.msg_iov = iovecs.add(i);
                header.msg_iovlen = 1;
            }
        }
        Arena { buffers, names, iovecs, headers, count, size }
    }

    /// Undoes what the kernel wrote into the first `used` headers.
    fn reset(&mut self, used: usize) {
        for i in 0..used.min(self.count) {
            // SAFETY: `i < count`; exclusive access by `&mut self`.
            unsafe { (*self.headers.add(i)).msg_hdr.msg_namelen = NAME_LEN };
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: each pointer came from `leak` with this length and is freed once.
        unsafe {
            unleak(self.buffers, self.count * self.size);
            unleak(self.names, self.count);
            unleak(self.iovecs, self.count);
            unleak(self.headers, self.count);
        }
    }
}

fn leak<T>(list: Vec<T>) -> *mut T {
    Box::into_raw(list.into_boxed_slice()).cast()
}

/// # Safety
/// `pointer` came from [`leak`] of a list of `len` elements and is not used afterwards.
unsafe fn unleak<T>(pointer: *mut T, len: usize) {
    // SAFETY: by the caller's promise this is the boxed slice that `leak` took apart.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(pointer, len)) });
}

/// What came of [`SendBatch::flush`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Datagrams handed to the kernel.
    pub sent: usize,
    /// Datagrams the kernel refused; each was reported.
    pub failed: usize,
    /// The send buffer is full: the rest waits in the queue for the socket to become writable.
    pub full: bool,
}

/// The outgoing queue of one socket. `B` owns the bytes of a datagram until they are sent.
pub struct SendBatch<B> {
    queue: VecDeque<(SocketAddr, B)>,
    scratch: Scratch,
    limit: usize,
}

impl<B: AsRef<[u8]>> SendBatch<B> {
    /// An empty queue that holds at most `limit` datagrams while the socket is full (G-2).
    pub fn new(limit: usize) -> SendBatch<B> {
        SendBatch {
            queue: VecDeque::with_capacity(BATCH_MAX.min(limit.max(1))),
            scratch: Scratch::new(),
            limit: limit.max(1),
        }
    }

    /// Queues a datagram. When the queue is at its limit it comes back: drop it and count.
    pub fn push(&mut self, to: SocketAddr, bytes: B) -> Result<(), B> {
        if self.queue.len() >= self.limit {
            return Err(bytes);
        }
        self.queue.push_back((to, bytes));
        Ok(())
    }

    /// How many datagrams wait to be sent.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the queue has no datagram.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends all that waits, in order, one system call per [`BATCH_MAX`]. A datagram that the kernel refuses is dropped and
    /// told to `failed`; the others go on. `done` takes back each buffer, for reuse.
    pub fn flush(
        &mut self,
        socket: &UdpSocket,
        mut failed: impl FnMut(SocketAddr, io::ErrorKind),
        mut done: impl FnMut(B),
    ) -> Flushed {
        let mut outcome = Flushed::default();
        let mut retries = 2;
        while !self.queue.is_empty() {
            let n = self.scratch.send(socket, self.queue.iter().take(BATCH_MAX));
            match n {
                Ok(n) => {
                    outcome.sent += n;
                    retries = 2;
                    for (_, bytes) in self.queue.drain(..n) {
                        done(bytes);
                    }
                }
                Err(e) => match e.kind() {
                    io::ErrorKind::WouldBlock => {
                        outcome.full = true;
                        return outcome;
                    }
                    io::ErrorKind::Interrupted => {}
                    // Perhaps the echo of an earlier datagram: this one gets another try.
                    _ if retries > 0 && is_pending_error(&e) => retries -= 1,
                    kind => {
                        retries = 2;
                        outcome.failed += 1;
                        if let Some((to, bytes)) = self.queue.pop_front() {
                            failed(to, kind);
                            done(bytes);
                        }
                    }
                },
            }
        }
        outcome
    }
}

/// Headers for one sendmmsg. Filled anew for each call; between calls its pointers are stale and never followed.
struct Scratch {
    names: Box<[libc::sockaddr_storage; BATCH_MAX]>,
    iovecs: Box<[libc::iovec; BATCH_MAX]>,
    headers: Box<[libc::mmsghdr; BATCH_MAX]>,
}

// SAFETY: the pointers inside are only followed during `send`, which fills them first; sending the stale ones is harmless.
unsafe impl Send for Scratch {}

impl Scratch {
    fn new() -> Scratch {
        // SAFETY: all-zero is valid for these three plain C types.
        let (name, iovec, header) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Scratch {
            names: Box::new([name; BATCH_MAX]),
            iovecs: Box::new([iovec; BATCH_MAX]),
            headers: Box::new([header; BATCH_MAX]),
        }
    }

    fn send<'a, B: AsRef<[u8]> + 'a>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl Iterator<Item = &'a (SocketAddr, B)>,
    ) -> io::Result<usize> {
        let names = self.names.as_mut_ptr();
        let iovecs = self.iovecs.as_mut_ptr();
        let headers = self.headers.as_mut_ptr();
        let mut count = 0;
        for (to, bytes) in datagrams.take(BATCH_MAX) {
            let bytes = bytes.as_ref();
            // SAFETY: `count < BATCH_MAX`, the length of the three lists. The bytes stay borrowed by the iterator's
            // items (lifetime 'a) until after the system call; the kernel only reads them.
            unsafe {
                let name_len = encode_address(*to, &mut *names.add(count));
                *iovecs.add(count) =
                    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
                let header = &mut (*headers.add(count)).msg_hdr;
                header.msg_name = names.add(count).cast();
                header.msg_namelen = name_len;
                header.msg_iov = iovecs.add(count);
                header.msg_iovlen = 1;
            }
            count += 1;
        }
        // SAFETY: the first `count` headers were just filled with pointers to live names, iovecs and bytes.
        let n = unsafe {
            libc::sendmmsg(socket.as_fd().as_raw_fd(), headers, count as libc::c_uint, libc::MSG_DONTWAIT)
        };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(n as usize)
    }
}

/// A report of the network about a datagram that we sent: see [`report_errors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendReport {
    /// Where the datagram was sent.
    pub to: SocketAddr,
    /// What the network said (`ConnectionRefused` for port unreachable, `HostUnreachable`, …).
    pub kind: io::ErrorKind,
}

/// Asks the kernel to keep ICMP errors about our datagrams with their destination (`IP_RECVERR`), so that a dead peer is
/// known at once instead of after a timer. Then epoll reports `error()`; take them with [`take_report`].
pub fn report_errors(socket: &UdpSocket) -> io::Result<()> {
    let (level, option) = match socket.local_addr() {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int; `on` is one and lives through the call.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The next kept report of `socket`, oldest first; `None` when there is none. Never blocks.
///
/// A report is only a hint: whoever can spoof our peer's ICMP can forge it.
pub fn take_report(socket: &UdpSocket) -> Option<SendReport> {
    loop {
        let mut payload = [0_u8; 1];
        let mut control = [0_u64; 32];
        // SAFETY: all-zero is a valid sockaddr_storage and msghdr.
        let (mut name, mut header): (libc::sockaddr_storage, libc::msghdr) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let mut iovec = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = NAME_LEN;
        header.msg_iov = &raw mut iovec;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of_val(&control) as _;
        // SAFETY: the header points to locals of the stated sizes that live through the call.
        let n = unsafe {
            libc::recvmsg(socket.as_fd().as_raw_fd(), &mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)
        };
        if n < 0 {
            if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return None;
        }
        let errno = extended_error(&header)?;
        let to = decode_address(&name)?;
        let kind = io::Error::from_raw_os_error(errno).kind();
        return Some(SendReport { to, kind });
    }
}

/// The errno inside the control message of an error report.
fn extended_error(header: &libc::msghdr) -> Option<i32> {
    // SAFETY: the kernel filled `msg_control` up to `msg_controllen`; the CMSG macros stay inside it, and a message of this
    // level and type holds a sock_extended_err (read unaligned).
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let (level, kind) = ((*message).cmsg_level, (*message).cmsg_type);
            if (level == libc::IPPROTO_IP && kind == libc::IP_RECVERR)
                || (level == libc::IPPROTO_IPV6 && kind == libc::IPV6_RECVERR)
            {
                let data = libc::CMSG_DATA(message).cast::<libc::sock_extended_err>();
                return i32::try_from(data.read_unaligned().ee_errno).ok();
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

const NAME_LEN: libc::socklen_t = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// Writes `address` in the kernel's form; returns its length.
fn encode_address(address: SocketAddr, out: &mut libc::sockaddr_storage) -> libc::socklen_t {
    match address {
        SocketAddr::V4(a) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: a.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(a.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is larger than sockaddr_in and at least as strictly aligned.
            unsafe { (&raw mut *out).cast::<libc::sockaddr_in>().write(raw) };
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(a) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: a.port().to_be(),
                sin6_flowinfo: a.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: a.ip().octets() },
                sin6_scope_id: a.scope_id(),
            };
            // SAFETY: sockaddr_storage is larger than sockaddr_in6 and at least as strictly aligned.
            unsafe { (&raw mut *out).cast::<libc::sockaddr_in6>().write(raw) };
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// Reads the kernel's form of an IP address; `None` for other families. The flow label is dropped: it is not part of who
/// the peer is.
fn decode_address(raw: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(raw.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in, which fits and is aligned.
            let a = unsafe { &*(&raw const *raw).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(a.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(a.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a sockaddr_in6, which fits and is aligned.
            let a = unsafe { &*(&raw const *raw).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(a.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(a.sin6_port), 0, a.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoll::{Epoll, Events, Interest};
    use crate::udp::UdpOptions;
    use std::time::Duration;

    fn socket(ip: &str) -> UdpSocket {
        UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0), &UdpOptions::default()).unwrap()
    }

    fn wait(socket: &UdpSocket, interest: Interest) -> crate::epoll::Event {
        let epoll = Epoll::new().unwrap();
        epoll.add(socket, 0, interest).unwrap();
        let mut events = Events::with_capacity(1);
        epoll.wait(&mut events, Some(Duration::from_secs(10))).unwrap();
        events.at(0).expect("nothing happened in time")
    }

    fn no_failure(to: SocketAddr, kind: io::ErrorKind) {
        panic!("{to}: {kind:?}");
    }

    #[test]
    fn one_by_one_where_a_library_stands_between() {
        for ip in ["127.0.0.1", "::1"] {
            let (a, b) = (socket(ip), socket(ip));
            let mut lot = RecvBatch::new(4, 8);
            assert_eq!(lot.recv_wrapped(&b), RecvOutcome::Empty);
            for bytes in [b"one", b"two"] {
                a.send_to(bytes, b.local_addr());
                assert!(wait(&b, Interest::READ).readable());
                assert_eq!(lot.recv_wrapped(&b), RecvOutcome::Datagrams(1));
                assert_eq!(lot.datagram(0), Some((&bytes[..], a.local_addr())));
                assert!(lot.datagram(1).is_none() && !lot.truncated(0));
            }
        }
    }

    #[test]
    fn batches_keep_order_bytes_and_source_on_both_families() {
        for ip in ["127.0.0.1", "::1"] {
            let (a, b) = (socket(ip), socket(ip));
            let mut out = SendBatch::new(1_000);
            for i in 0..150_u8 {
                out.push(b.local_addr(), vec![i; usize::from(i) + 1]).unwrap();
            }
            let mut reusable = 0;
            let flushed = out.flush(&a, no_failure, |_| reusable += 1);
            assert_eq!(flushed, Flushed { sent: 150, failed: 0, full: false });
            assert_eq!(reusable, 150);
            let mut batch = RecvBatch::new(32, 2_048);
            let mut next = 0_u8;
            while next < 150 {
                wait(&b, Interest::READ);
                let RecvOutcome::Datagrams(n) = batch.recv(&b) else { panic!("readable but empty") };
                for i in 0..n {
                    let (bytes, from) = batch.datagram(i).unwrap();
                    assert_eq!((bytes, from), (&vec![next; usize::from(next) + 1][..], a.local_addr()));
                    assert!(!batch.truncated(i));
                    next += 1;
                }
                assert!(batch.datagram(n).is_none());
            }
            assert_eq!(batch.recv(&b), RecvOutcome::Empty);
            assert!(batch.is_empty());
        }
    }

    #[test]
    fn long_datagrams_are_cut_and_flagged() {
        let (a, b) = (socket("127.0.0.1"), socket("127.0.0.1"));
        a.send_to(&[7; 100], b.local_addr());
        a.send_to(&[8; 10], b.local_addr());
        wait(&b, Interest::READ);
        let mut batch = RecvBatch::new(4, 10);
        assert_eq!(batch.recv(&b), RecvOutcome::Datagrams(2));
        assert_eq!(batch.datagram(0).unwrap().0, [7; 10]);
        assert_eq!((batch.truncated(0), batch.truncated(1), batch.truncated(2)), (true, false, false));
    }

    /// F-NET-05: a datagram that cannot go does not hold up the others.
    #[test]
    fn f_net_05_one_bad_destination_does_not_stop_the_batch() {
        let (a, b) = (socket("127.0.0.1"), socket("127.0.0.1"));
        let mut out = SendBatch::new(10);
        out.push(b.local_addr(), b"one".to_vec()).unwrap();
        out.push("[::1]:9".parse().unwrap(), b"wrong family".to_vec()).unwrap();
        out.push(b.local_addr(), vec![0; 65_508]).unwrap();
        out.push(b.local_addr(), b"two".to_vec()).unwrap();
        let mut bad = Vec::new();
        let flushed = out.flush(&a, |to, _| bad.push(to), drop);
        assert_eq!(flushed, Flushed { sent: 2, failed: 2, full: false });
        assert_eq!(bad, ["[::1]:9".parse().unwrap(), b.local_addr()]);
        wait(&b, Interest::READ);
        let mut batch = RecvBatch::new(4, 100);
        assert_eq!(batch.recv(&b), RecvOutcome::Datagrams(2));
        assert_eq!((batch.datagram(0).unwrap().0, batch.datagram(1).unwrap().0), (&b"one"[..], &b"two"[..]));
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut out = SendBatch::new(2);
        let to = "127.0.0.1:9".parse().unwrap();
        out.push(to, [1_u8]).unwrap();
        out.push(to, [2]).unwrap();
        assert_eq!(out.push(to, [3]), Err([3]));
        assert_eq!(out.len(), 2);
    }

    /// F-NET-05: a refusing port is reported with its address, and datagrams to others still go out on the same socket.
    #[test]
    fn f_net_05_icmp_errors_name_their_destination_and_cost_no_other_datagram() {
        for ip in ["127.0.0.1", "::1"] {
            let (a, b) = (socket(ip), socket(ip));
            report_errors(&a).unwrap();
            assert_eq!(take_report(&a), None);
            let gone = socket(ip);
            let dead = gone.local_addr();
            drop(gone);
            let mut out = SendBatch::new(10);
            for round in 0..3 {
                out.push(dead, vec![round]).unwrap();
                out.push(b.local_addr(), vec![round]).unwrap();
                let flushed = out.flush(&a, no_failure, drop);
                assert_eq!(flushed, Flushed { sent: 2, failed: 0, full: false });
            }
            assert!(wait(&a, Interest::READ).error());
            let mut reports = 0;
            while let Some(report) = take_report(&a) {
                assert_eq!(report, SendReport { to: dead, kind: io::ErrorKind::ConnectionRefused });
                reports += 1;
            }
            assert!(reports >= 1);
            let mut batch = RecvBatch::new(4, 100);
            assert!(!matches!(batch.recv(&a), RecvOutcome::Datagrams(_)));
            wait(&b, Interest::READ);
            assert_eq!(batch.recv(&b), RecvOutcome::Datagrams(3));
        }
    }
}
