//! What reading and sending a datagram comes to, and the address that the kernel gives with one: for every kind of socket here.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// What came of [`crate::udp::UdpSocket::recv_from`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A datagram of `len` bytes from `from`. (One longer than the buffer is cut to it, as recvfrom does.)
    Datagram {
        /// Bytes written to the buffer.
        len: usize,
        /// The address that sent it.
        from: SocketAddr,
    },
    /// No datagram waits in the socket.
    Empty,
    /// A pending error of an earlier send (ICMP) was taken off the socket; reading may go on.
    Error(io::ErrorKind),
}

/// Outcome of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Handed to the kernel.
    Done,
    /// The send buffer is full: drop it (media) or wait for writability (signalling).
    Full,
    /// Not sent: unreachable, refused, too long, not permitted.
    Failed(io::ErrorKind),
}

/// The address in a `sockaddr_in` or `sockaddr_in6`, told apart by its family.
#[inline]
pub(crate) fn address(from: &libc::sockaddr_in6) -> Option<SocketAddr> {
    match i32::from(from.sin6_family) {
        libc::AF_INET => {
            // In a `sockaddr_in`, the four bytes after the port are the address: where `sockaddr_in6` has its flow label.
            let ip = Ipv4Addr::from(from.sin6_flowinfo.to_ne_bytes());
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(from.sin6_port))))
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(from.sin6_addr.s6_addr);
            let port = u16::from_be(from.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, from.sin6_scope_id)))
        }
        _ => None,
    }
}
