//! Non-blocking UDP, one datagram at a time. Batches are in `batch`.
//!
//! F-NET-05: nothing that the network does ends a socket. ICMP errors, a full send buffer, an unreachable route come back
//! as values ([`Received`], [`Sent`]); only errors of our own making (a bad descriptor) are `Err`-like `Failed`.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

pub use crate::datagram::{Received, Sent};

/// How a UDP socket is bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpOptions {
    /// `SO_REUSEPORT`: several sockets on one address, the kernel spreads senders over them.
    pub reuse_port: bool,
    /// `SO_RCVBUF` in bytes; `None` leaves the system's default. Beyond `net.core.rmem_max` only for the privileged.
    pub receive_buffer: Option<usize>,
    /// `SO_SNDBUF` in bytes; `None` leaves the system's default.
    pub send_buffer: Option<usize>,
}

/// A bound, non-blocking UDP socket (IPv4 or IPv6; an IPv6 socket carries IPv6 only).
#[derive(Debug)]
pub struct UdpSocket {
    inner: StdUdpSocket,
    local: SocketAddr,
}

impl UdpSocket {
    /// Binds `address` (port 0: the system chooses). Errors: in use, not ours, out of descriptors.
    pub fn bind(address: SocketAddr, options: &UdpOptions) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        // The kernel clips to its maximum; a smaller buffer is no reason not to start.
        if let Some(n) = options.receive_buffer {
            let _ = socket.set_recv_buffer_size(n);
        }
        if let Some(n) = options.send_buffer {
            let _ = socket.set_send_buffer_size(n);
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let inner: StdUdpSocket = socket.into();
        let local = inner.local_addr()?;
        Ok(UdpSocket { inner, local })
    }

    /// The address it is bound to, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Reads one datagram into `buffer`, without waiting.
    pub fn recv_from(&self, buffer: &mut [u8]) -> Received {
        if crate::wrapped::is_on() {
            return crate::wrapped::receive(&self.inner, buffer);
        }
        loop {
            match self.inner.recv_from(buffer) {
                Ok((len, from)) => return Received::Datagram { len, from },
                Err(e) => match e.kind() {
                    io::ErrorKind::WouldBlock => return Received::Empty,
                    io::ErrorKind::Interrupted => {}
                    kind => return Received::Error(kind),
                },
            }
        }
    }

    /// Sends one datagram. A pending ICMP error of an earlier datagram is taken off first, not mistaken for this one's.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> Sent {
        let mut pending_errors = 2;
        loop {
            match self.inner.send_to(bytes, to) {
                Ok(_) => return Sent::Done,
                Err(e) => match e.kind() {
                    io::ErrorKind::WouldBlock => return Sent::Full,
                    io::ErrorKind::Interrupted => {}
                    _ if pending_errors > 0 && is_pending_error(&e) => pending_errors -= 1,
                    kind => return Sent::Failed(kind),
                },
            }
        }
    }

    /// Sends only to and receives only from `peer` from now on, with ICMP errors reported (used by clients and tests).
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.inner.connect(peer)
    }

    /// Type of service byte of sent packets (DSCP in the upper six bits), IPv4 or IPv6.
    pub fn set_tos(&self, tos: u8) -> io::Result<()> {
        let socket = socket2::SockRef::from(&self.inner);
        match self.local.ip() {
            IpAddr::V4(_) => socket.set_tos_v4(u32::from(tos)),
            IpAddr::V6(_) => socket.set_tclass_v6(u32::from(tos)),
        }
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

/// Errors that Linux may report on the next call although an earlier datagram caused them.
pub(crate) fn is_pending_error(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EMSGSIZE
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoll::{Epoll, Events, Interest};
    use std::time::Duration;

    fn pair(ip: &str) -> (UdpSocket, UdpSocket) {
        let at = SocketAddr::new(ip.parse().unwrap(), 0);
        let options = UdpOptions::default();
        (UdpSocket::bind(at, &options).unwrap(), UdpSocket::bind(at, &options).unwrap())
    }

    pub(crate) fn wait_readable(socket: &UdpSocket) {
        let epoll = Epoll::new().unwrap();
        epoll.add(socket, 0, Interest::READ).unwrap();
        let mut events = Events::with_capacity(1);
        epoll.wait(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert_eq!(events.len(), 1, "nothing arrived");
    }

    #[test]
    fn one_datagram_each_way_on_both_families() {
        for ip in ["127.0.0.1", "::1"] {
            let (a, b) = pair(ip);
            let mut buffer = [0; 64];
            assert_eq!(a.recv_from(&mut buffer), Received::Empty);
            assert_eq!(a.send_to(b"hello", b.local_addr()), Sent::Done);
            wait_readable(&b);
            let from = a.local_addr();
            assert_eq!(b.recv_from(&mut buffer), Received::Datagram { len: 5, from });
            assert_eq!(&buffer[..5], b"hello");
            a.set_tos(0xB8).unwrap();
        }
    }

    /// F-NET-05: a port that refuses (ICMP port unreachable) leaves the socket working.
    #[test]
    fn f_net_05_refused_datagrams_do_not_end_the_socket() {
        let (a, b) = pair("127.0.0.1");
        let (gone, c) = pair("127.0.0.1");
        let dead = gone.local_addr();
        drop(gone);
        a.connect(dead).unwrap();
        assert_eq!(a.send_to(b"x", dead), Sent::Done);
        wait_readable(&a); // the refusal
        assert_eq!(a.send_to(b"x", dead), Sent::Done, "the pending error is not this datagram's");
        wait_readable(&a);
        let mut buffer = [0; 64];
        assert_eq!(a.recv_from(&mut buffer), Received::Error(io::ErrorKind::ConnectionRefused));
        assert_eq!(a.recv_from(&mut buffer), Received::Empty);
        assert_eq!(b.send_to(b"y", c.local_addr()), Sent::Done);
        wait_readable(&c);
    }

    #[test]
    fn too_long_is_a_value() {
        let (a, b) = pair("127.0.0.1");
        assert!(matches!(a.send_to(&[0; 65_508], b.local_addr()), Sent::Failed(_)));
    }

    #[test]
    fn two_sockets_share_an_address_with_reuse_port() {
        let options =
            UdpOptions { reuse_port: true, receive_buffer: Some(4 << 20), send_buffer: Some(4 << 20) };
        let a = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        UdpSocket::bind(a.local_addr(), &options).unwrap();
        assert!(UdpSocket::bind(a.local_addr(), &UdpOptions::default()).is_err());
    }
}
