//! Non-blocking TCP: a listener that survives everything, and connections with a bounded write buffer.
//!
//! A connection costs its owner two system calls only when there is something to read or write; its write buffer is empty
//! and unallocated while the kernel keeps up. Framing is the protocol's business.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// A bound, non-blocking listener (IPv4 or IPv6; an IPv6 listener takes IPv6 only).
#[derive(Debug)]
pub struct TcpListener {
    inner: StdTcpListener,
    local: SocketAddr,
}

/// What came of [`TcpListener::accept`].
#[derive(Debug)]
pub enum Accepted {
    /// A new connection, already non-blocking. Drop it to refuse.
    Connection(TcpConnection),
    /// No connection waits to be accepted.
    Empty,
    /// Out of descriptors or memory (F-PROC-07): pause accepting until something was closed.
    Exhausted,
    /// This one failed (the peer left again, …); the next may work.
    Failed(io::ErrorKind),
}

impl TcpListener {
    /// Binds `address` and listens. `reuse_port`: several listeners on one address, the kernel spreads connections.
    /// Errors: in use, not ours, out of descriptors.
    pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let inner: StdTcpListener = socket.into();
        let local = inner.local_addr()?;
        Ok(TcpListener { inner, local })
    }

    /// The address it is bound to, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Takes one waiting connection; its write buffer holds at most `write_limit` bytes.
    pub fn accept(&self, write_limit: usize) -> Accepted {
        loop {
            match self.inner.accept() {
                Ok((stream, remote)) => {
                    return match TcpConnection::accepted(stream, remote, write_limit) {
                        Ok(connection) => Accepted::Connection(connection),
                        Err(e) => Accepted::Failed(e.kind()),
                    };
                }
                Err(e) => match (e.kind(), e.raw_os_error()) {
                    (io::ErrorKind::WouldBlock, _) => return Accepted::Empty,
                    (io::ErrorKind::Interrupted, _) => {}
                    (_, Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)) => {
                        return Accepted::Exhausted;
                    }
                    (kind, _) => return Accepted::Failed(kind),
                },
            }
        }
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// A connection, accepted or being established. Watch it with epoll for `READ`, and for `READ_WRITE` while
/// [`wants_write`](TcpConnection::wants_write).
#[derive(Debug)]
pub struct TcpConnection {
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    connecting: bool,
    /// Bytes that wait for the kernel: `out[sent..]`.
    out: Vec<u8>,
    sent: usize,
    write_limit: usize,
}

/// What came of [`TcpConnection::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// This many bytes (at least 1) were read.
    Bytes(usize),
    /// No bytes wait in the socket.
    Empty,
    /// The peer closed its side in order.
    Closed,
    /// The connection broke, with this kind of error.
    Failed(io::ErrorKind),
}

/// What came of [`TcpConnection::flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushOutcome {
    /// All is with the kernel.
    Done,
    /// Some bytes wait: watch for writability and flush again.
    Pending,
    /// The connection could not be made or broke.
    Failed(io::ErrorKind),
}

impl TcpConnection {
    /// Starts a connection to `remote`, from `local_ip` if given, without waiting. Bytes may be queued at once; writability
    /// or an error event tells how it went: call [`flush`](TcpConnection::flush).
    /// Errors: no route, out of descriptors or ports.
    pub fn connect(
        remote: SocketAddr,
        local_ip: Option<IpAddr>,
        write_limit: usize,
    ) -> io::Result<TcpConnection> {
        let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(ip) = local_ip
            && !ip.is_unspecified()
        {
            socket.bind(&SocketAddr::new(ip, 0).into())?;
        }
        if let Err(e) = socket.connect(&remote.into())
            && e.raw_os_error() != Some(libc::EINPROGRESS)
            && e.kind() != io::ErrorKind::WouldBlock
        {
            return Err(e);
        }
        let stream: TcpStream = socket.into();
        let local = stream.local_addr()?;
        Ok(TcpConnection { stream, local, remote, connecting: true, out: Vec::new(), sent: 0, write_limit })
    }

    fn accepted(stream: TcpStream, remote: SocketAddr, write_limit: usize) -> io::Result<TcpConnection> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        Ok(TcpConnection { stream, local, remote, connecting: false, out: Vec::new(), sent: 0, write_limit })
    }

    /// Our address of this connection.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The address of the peer.
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// Whether the connection is still being established.
    pub fn is_connecting(&self) -> bool {
        self.connecting
    }

    /// Bytes that wait for the kernel.
    pub fn pending(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Whether to watch for writability.
    pub fn wants_write(&self) -> bool {
        self.connecting || self.pending() > 0
    }

    /// Reads once into `buffer`.
    pub fn read(&mut self, buffer: &mut [u8]) -> ReadOutcome {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return ReadOutcome::Closed,
                Ok(n) => return ReadOutcome::Bytes(n),
                Err(e) => match e.kind() {
                    io::ErrorKind::WouldBlock => return ReadOutcome::Empty,
                    io::ErrorKind::Interrupted => {}
                    kind => return ReadOutcome::Failed(kind),
                },
            }
        }
    }

    /// Queues `bytes` behind what waits; [`flush`](TcpConnection::flush) sends. All or nothing: `false` when the buffer
    /// would exceed its limit (the peer does not read: close it).
    #[must_use]
    pub fn queue(&mut self, bytes: &[u8]) -> bool {
        if self.pending() + bytes.len() > self.write_limit {
            return false;
        }
        if self.sent > 0 && self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        self.out.extend_from_slice(bytes);
        true
    }

    /// Gives the kernel what waits, in order.
    pub fn flush(&mut self) -> FlushOutcome {
        if self.connecting {
            match SockRef::from(&self.stream).take_error() {
                Ok(None) => {}
                Ok(Some(e)) | Err(e) => return FlushOutcome::Failed(e.kind()),
            }
            // Without an error, connected means that the peer's name is known.
            match self.stream.peer_addr() {
                Ok(_) => self.connecting = false,
                Err(e) if e.kind() == io::ErrorKind::NotConnected => return FlushOutcome::Pending,
                Err(e) => return FlushOutcome::Failed(e.kind()),
            }
        }
        while let Some(rest) = self.out.get(self.sent..).filter(|r| !r.is_empty()) {
            match self.stream.write(rest) {
                Ok(n) => self.sent += n,
                Err(e) => match e.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.out.drain(..self.sent);
                        self.sent = 0;
                        return FlushOutcome::Pending;
                    }
                    io::ErrorKind::Interrupted => {}
                    kind => return FlushOutcome::Failed(kind),
                },
            }
        }
        self.out.clear();
        self.sent = 0;
        if self.out.capacity() > KEPT_CAPACITY {
            self.out = Vec::new();
        }
        FlushOutcome::Done
    }
}

impl AsFd for TcpConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Connections that wait to be accepted; the kernel clips to `net.core.somaxconn`.
const BACKLOG: i32 = 1_024;

/// Write buffers larger than this are given back when empty: an idle connection stays under 8 KiB.
const KEPT_CAPACITY: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoll::{Epoll, Event, Events, Interest};
    use std::time::Duration;

    fn wait(fd: impl AsFd, interest: Interest) -> Event {
        let epoll = Epoll::new().unwrap();
        epoll.add(fd, 0, interest).unwrap();
        let mut events = Events::with_capacity(1);
        epoll.wait(&mut events, Some(Duration::from_secs(10))).unwrap();
        events.at(0).expect("nothing happened in time")
    }

    fn pair(ip: &str, limit: usize) -> (TcpConnection, TcpConnection) {
        let listener = TcpListener::bind(SocketAddr::new(ip.parse().unwrap(), 0), false).unwrap();
        assert!(matches!(listener.accept(limit), Accepted::Empty));
        let mut out = TcpConnection::connect(listener.local_addr(), None, limit).unwrap();
        assert!(out.is_connecting() && out.wants_write());
        wait(&listener, Interest::READ);
        let Accepted::Connection(accepted) = listener.accept(limit) else { panic!("no connection") };
        wait(&out, Interest::WRITE);
        assert_eq!(out.flush(), FlushOutcome::Done);
        assert!(!out.is_connecting() && !out.wants_write());
        assert_eq!(out.remote_addr(), accepted.local_addr());
        assert_eq!(accepted.remote_addr(), out.local_addr());
        (out, accepted)
    }

    fn read_some(connection: &mut TcpConnection, buffer: &mut [u8]) -> usize {
        wait(&*connection, Interest::READ);
        match connection.read(buffer) {
            ReadOutcome::Bytes(n) => n,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_both_ways_then_an_orderly_end_on_both_families() {
        for ip in ["127.0.0.1", "::1"] {
            let (mut a, mut b) = pair(ip, 1_000);
            let mut buffer = [0; 100];
            assert_eq!(b.read(&mut buffer), ReadOutcome::Empty);
            assert!(a.queue(b"one ") && a.queue(b"two"));
            assert_eq!(a.flush(), FlushOutcome::Done);
            let n = read_some(&mut b, &mut buffer);
            assert_eq!(&buffer[..n], b"one two");
            assert!(b.queue(b"three"));
            assert_eq!(b.flush(), FlushOutcome::Done);
            let n = read_some(&mut a, &mut buffer);
            assert_eq!(&buffer[..n], b"three");
            drop(a);
            wait(&b, Interest::READ);
            assert_eq!(b.read(&mut buffer), ReadOutcome::Closed);
        }
    }

    /// T-SIP-15: a peer that does not read cannot make the write buffer grow; what it gets later is in order and whole.
    #[test]
    fn t_sip_15_the_write_buffer_is_bounded_and_keeps_order() {
        let limit = 300_000;
        let (mut a, mut b) = pair("127.0.0.1", limit);
        let mut queued = Vec::new();
        let mut next = 0_u8;
        loop {
            let chunk = [next; 1_000];
            next = next.wrapping_add(1);
            if !a.queue(&chunk) {
                break;
            }
            queued.extend_from_slice(&chunk);
            a.flush();
        }
        assert!(a.pending() <= limit && a.wants_write());
        let mut got = Vec::new();
        let mut buffer = vec![0; 65_536];
        while got.len() < queued.len() {
            let n = read_some(&mut b, &mut buffer);
            got.extend_from_slice(&buffer[..n]);
            a.flush();
        }
        assert!(got == queued);
        assert_eq!(a.flush(), FlushOutcome::Done);
        assert!(a.out.capacity() <= KEPT_CAPACITY, "an idle connection keeps no large buffer");
    }

    #[test]
    fn a_refused_connection_is_a_value_and_what_was_queued_is_gone_with_it() {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let dead = listener.local_addr();
        drop(listener);
        let ip = Some("127.0.0.1".parse().unwrap());
        let mut c = match TcpConnection::connect(dead, ip, 100) {
            Ok(c) => c,
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused);
                return;
            }
        };
        assert!(c.queue(b"x"));
        let event = wait(&c, Interest::READ_WRITE);
        assert!(event.error() || event.hang_up());
        assert_eq!(c.flush(), FlushOutcome::Failed(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn listeners_share_an_address_with_reuse_port() {
        let a = TcpListener::bind("127.0.0.1:0".parse().unwrap(), true).unwrap();
        TcpListener::bind(a.local_addr(), true).unwrap();
    }
}
