//! UDP sockets of the media relay: one per local port, read and written one datagram at a time.
//!
//! What differs from [`crate::udp`]: a socket may be connected to its only peer, so that the kernel refuses everybody else
//! and keeps the route, and it may be disconnected again; errors are taken off without retries that cost media nothing.
//! The owner still checks every source itself: packets that came in before the connect are in the queue.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::datagram::{Received, Sent, address};
use crate::wrapped;

/// A bound, non-blocking UDP socket, connected to at most one peer. It belongs to the thread that reads it; what others may do
/// with it is in [`SharedSocket`].
#[derive(Debug)]
pub struct MediaSocket {
    /// The descriptor of `shared`, which keeps it open: beside the peer, where a packet finds it at once.
    fd: RawFd,
    peer: Option<SocketAddr>,
    shared: Arc<SharedSocket>,
}

/// What several threads may hold of a socket: it stays bound as long as one of them holds it.
#[derive(Debug)]
pub struct SharedSocket {
    inner: StdUdpSocket,
    is_ipv4: bool,
    /// As set last; [`UNMARKED`]: never.
    tos: AtomicU16,
    word: AtomicU8,
}

const UNMARKED: u16 = u16::MAX;

impl SharedSocket {
    /// A byte by which its holders agree on whose turn it is; 0 at first. It means nothing here.
    pub fn word(&self) -> &AtomicU8 {
        &self.word
    }

    /// Reads and forgets what waits, at most `most` datagrams; returns how many there were. Pending errors are taken off too.
    pub fn drain(&self, most: usize) -> usize {
        let mut buffer = [0; 1];
        let mut done = 0;
        while done < most {
            let received = match wrapped::is_on() {
                true => match wrapped::receive(&self.inner, &mut buffer) {
                    Received::Empty => return done,
                    Received::Datagram { .. } => Ok(0),
                    Received::Error(kind) => Err(kind),
                },
                false => self.inner.recv(&mut buffer).map_err(|e| e.kind()),
            };
            match received {
                Ok(_) => done += 1,
                Err(io::ErrorKind::WouldBlock) => return done,
                // An error counts too, so that a socket that has nothing else ends this.
                Err(_) => done += 1,
            }
        }
        done
    }

    /// DSCP and ECN byte of sent packets.
    pub fn set_tos(&self, tos: u8) -> io::Result<()> {
        let socket = SockRef::from(&self.inner);
        if self.is_ipv4 {
            socket.set_tos_v4(u32::from(tos))?;
        } else {
            socket.set_tclass_v6(u32::from(tos))?;
        }
        self.tos.store(u16::from(tos), Ordering::Relaxed);
        Ok(())
    }

    /// The DSCP and ECN byte that was set last; `None`: the system's default.
    pub fn tos(&self) -> Option<u8> {
        u8::try_from(self.tos.load(Ordering::Relaxed)).ok()
    }
}

impl MediaSocket {
    /// Binds `local`, with a port number (one chosen by the system would be lost on a disconnect). Errors: in use, not ours, out of descriptors.
    pub fn bind(local: SocketAddr) -> io::Result<MediaSocket> {
        // Non-blocking from its birth: a call opens four of them.
        let kind = Type::DGRAM.nonblocking();
        let socket = Socket::new(Domain::for_address(local), kind, Some(Protocol::UDP))?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&local.into())?;
        let (tos, word) = (AtomicU16::new(UNMARKED), AtomicU8::new(0));
        let shared = SharedSocket { inner: socket.into(), is_ipv4: local.is_ipv4(), tos, word };
        Ok(MediaSocket::of(Arc::new(shared)))
    }

    /// A socket that others hold too and that is connected to nobody, for the thread that reads it from now on.
    pub fn of(shared: Arc<SharedSocket>) -> MediaSocket {
        MediaSocket { fd: shared.inner.as_raw_fd(), peer: None, shared }
    }

    /// What other threads may hold of it.
    pub fn shared(&self) -> &Arc<SharedSocket> {
        &self.shared
    }

    /// The number of its descriptor. The system gives the lowest one that is free, so about as many are in use.
    pub fn descriptor(&self) -> u64 {
        u64::try_from(self.fd).unwrap_or(0)
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.inner.local_addr()
    }

    /// The peer it is connected to.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// From now on packets are taken from `peer` only (`None`: from anybody). What is queued already stays queued.
    /// Errors: no route; the socket is then connected to nobody.
    pub fn set_peer(&mut self, peer: Option<SocketAddr>) -> io::Result<()> {
        if self.peer == peer {
            return Ok(());
        }
        let connected = match peer {
            Some(address) => self.shared.inner.connect(address),
            None => self.disconnect(),
        };
        if connected.is_ok() {
            self.peer = peer;
        } else if self.peer.take().is_some() {
            self.disconnect()?;
        }
        connected
    }

    fn disconnect(&self) -> io::Result<()> {
        // SAFETY: all zeros is a valid `sockaddr` of family AF_UNSPEC (0), which dissolves the association (connect(2)).
        let nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr>()).unwrap_or(0);
        // SAFETY: `shared` keeps the descriptor open as long as `self`; `nobody` lives for the call and has `length` bytes.
        let result = unsafe { libc::connect(self.fd, &nobody, length) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Reads one datagram with its source.
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> Received {
        if wrapped::is_on() {
            return wrapped::receive(&self.shared.inner, buffer);
        }
        // SAFETY: all zeros is a valid `sockaddr_storage` (family AF_UNSPEC).
        let mut from: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        // SAFETY: `shared` keeps the descriptor open as long as `self`. The kernel writes at most `buffer.len()` bytes to `buffer` and at
        // most `length` bytes to `from`, both borrowed exclusively; a `sockaddr_in6` has room for either family. The
        // system call is made directly because libc's wrapper is a cancellation point and pays for it with two locked
        // instructions; no thread of ours is ever cancelled.
        let n = unsafe {
            libc::syscall(
                libc::SYS_recvfrom,
                self.fd,
                buffer.as_mut_ptr(),
                buffer.len(),
                0,
                &raw mut from,
                &raw mut length,
            )
        };
        match usize::try_from(n) {
            Ok(len) => match address(&from) {
                Some(from) => Received::Datagram { len, from },
                None => Received::Error(io::ErrorKind::InvalidData),
            },
            Err(_) => match io::Error::last_os_error().kind() {
                io::ErrorKind::WouldBlock => Received::Empty,
                kind => Received::Error(kind),
            },
        }
    }

    /// Reads one datagram of the peer, without asking for its source: only for a socket that is connected and from which
    /// everything has been read that came in before. Not connected: nothing is read.
    #[inline]
    pub fn recv_from_peer(&self, buffer: &mut [u8]) -> Received {
        let Some(from) = self.peer else { return Received::Empty };
        if wrapped::is_on() {
            return wrapped::receive(&self.shared.inner, buffer);
        }
        let nobody = std::ptr::null_mut::<libc::sockaddr>();
        let no_length = std::ptr::null_mut::<libc::socklen_t>();
        // SAFETY: `shared` keeps the descriptor open as long as `self`. The kernel writes at most `buffer.len()` bytes to `buffer`, borrowed
        // exclusively; no address is asked for. Direct for the same reason as in `recv`.
        let n = unsafe {
            libc::syscall(
                libc::SYS_recvfrom,
                self.fd,
                buffer.as_mut_ptr(),
                buffer.len(),
                0,
                nobody,
                no_length,
            )
        };
        match usize::try_from(n) {
            Ok(len) => Received::Datagram { len, from },
            Err(_) => match io::Error::last_os_error().kind() {
                io::ErrorKind::WouldBlock => Received::Empty,
                kind => Received::Error(kind),
            },
        }
    }

    /// Sends one datagram to `to`. A pending ICMP error of an earlier one is taken off once, not mistaken for this one's.
    #[inline]
    pub fn send(&self, bytes: &[u8], to: SocketAddr) -> Sent {
        if self.peer == Some(to) && self.send_to_peer(bytes) {
            return Sent::Done;
        }
        self.send_with_address(bytes, to)
    }

    /// The usual send, in one system call; false = look closer.
    #[inline]
    fn send_to_peer(&self, bytes: &[u8]) -> bool {
        if wrapped::is_on() {
            return self.shared.inner.send(bytes).is_ok();
        }
        let nobody = std::ptr::null::<libc::sockaddr>();
        // SAFETY: `shared` keeps the descriptor open as long as `self`; the kernel reads `bytes.len()` bytes of `bytes`; no address is
        // given. Direct for the same reason as in `recv`.
        let n =
            unsafe { libc::syscall(libc::SYS_sendto, self.fd, bytes.as_ptr(), bytes.len(), 0, nobody, 0) };
        n >= 0
    }

    fn send_with_address(&self, bytes: &[u8], to: SocketAddr) -> Sent {
        for last in [false, true] {
            match self.shared.inner.send_to(bytes, to) {
                Ok(_) => return Sent::Done,
                Err(e) => match e.kind() {
                    io::ErrorKind::WouldBlock => return Sent::Full,
                    io::ErrorKind::Interrupted => {}
                    _ if !last && crate::udp::is_pending_error(&e) => {}
                    kind => return Sent::Failed(kind),
                },
            }
        }
        Sent::Failed(io::ErrorKind::Interrupted)
    }

    /// DSCP and ECN byte of sent packets.
    pub fn set_tos(&self, tos: u8) -> io::Result<()> {
        self.shared.set_tos(tos)
    }
}

impl AsFd for MediaSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.inner.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::epoll::{Epoll, Events, Interest};

    fn wait_readable(socket: &MediaSocket) -> bool {
        let epoll = Epoll::new().unwrap();
        epoll.add(socket, 0, Interest::READ).unwrap();
        let mut events = Events::with_capacity(1);
        epoll.wait(&mut events, Some(Duration::from_secs(10))).unwrap();
        !events.is_empty()
    }

    #[test]
    fn t_rtp_02_a_connected_socket_takes_only_its_peer_and_can_be_freed() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let any: SocketAddr = ip.parse().unwrap();
            let [peer, stranger] = [(); 2].map(|()| MediaSocket::bind(any).unwrap());
            // A port asked for by number stays over a disconnect; one chosen by the system would not.
            let mut relay = (0..100)
                .find_map(|_| {
                    let free = MediaSocket::bind(any).ok()?.local_addr().ok()?;
                    MediaSocket::bind(free).ok()
                })
                .unwrap();
            let at = |s: &MediaSocket| s.local_addr().unwrap();
            let here = at(&relay);
            let mut buffer = [0; 64];
            relay.set_peer(Some(at(&peer))).unwrap();
            stranger.send(b"stranger", here);
            assert_eq!(peer.send(b"peer", here), Sent::Done);
            assert!(wait_readable(&relay));
            assert_eq!(relay.recv(&mut buffer), Received::Datagram { len: 4, from: at(&peer) });
            assert_eq!(relay.recv(&mut buffer), Received::Empty);
            assert_eq!(relay.send(b"answer", at(&peer)), Sent::Done);
            assert!(wait_readable(&peer));
            assert_eq!(peer.recv(&mut buffer), Received::Datagram { len: 6, from: here });

            assert_eq!(peer.send(b"more", here), Sent::Done);
            assert!(wait_readable(&relay));
            assert_eq!(relay.recv_from_peer(&mut buffer), Received::Datagram { len: 4, from: at(&peer) });
            assert_eq!(
                (&buffer[..4], relay.recv_from_peer(&mut buffer.clone())),
                (&b"more"[..], Received::Empty)
            );

            relay.set_peer(None).unwrap();
            assert_eq!(
                relay.recv_from_peer(&mut buffer),
                Received::Empty,
                "of nobody in particular nothing is read"
            );
            assert_eq!(at(&relay), here, "the port stays");
            stranger.recv(&mut buffer); // takes off the refusal
            stranger.send(b"stranger", here);
            assert!(wait_readable(&relay));
            assert_eq!(relay.recv(&mut buffer), Received::Datagram { len: 8, from: at(&stranger) });
        }
    }

    #[test]
    fn f_net_05_a_refusal_is_a_value_and_goes_away() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut socket = MediaSocket::bind(any).unwrap();
        let gone = MediaSocket::bind(any).unwrap().local_addr().unwrap();
        socket.set_peer(Some(gone)).unwrap();
        assert_eq!(socket.send(b"x", gone), Sent::Done);
        assert!(wait_readable(&socket));
        assert_eq!(socket.send(b"x", gone), Sent::Done, "the pending error was taken off first");
        assert!(wait_readable(&socket));
        assert_eq!(socket.recv(&mut [0; 8]), Received::Error(io::ErrorKind::ConnectionRefused));
    }
}
