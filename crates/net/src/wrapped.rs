//! Datagrams by the functions of libc that a preloaded library wraps.
//!
//! Test suites of other relays put a library before libc (`LD_PRELOAD`) that turns internet sockets into sockets of the file
//! system, so that a run needs no addresses of its own. Such libraries wrap what their daemon calls: `recvmsg` to receive,
//! `sendto` and `send` to send. Off, which is the default, sockets are read by direct system calls and `recvfrom`.
#![allow(unsafe_code)]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::datagram::{Received, address};

static ON: AtomicBool = AtomicBool::new(false);

/// From now on every datagram socket of this process is read by `recvmsg` and written by `sendto` and `send` of libc. To be
/// called before the first socket is made.
pub fn turn_on() {
    ON.store(true, Ordering::Relaxed);
}

#[inline]
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Reads one datagram with its source.
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Received {
    // SAFETY: all zeros is a valid `sockaddr_in6` (family AF_UNSPEC).
    let mut from: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeros is a valid `msghdr`: no name, no parts, no control data.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut from).cast();
    header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    // SAFETY: the descriptor is open as long as `socket`; name and part point to memory that is borrowed exclusively for the
    // call, with their true lengths.
    let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_and_its_source_come_by_recvmsg_on_both_families() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let [here, there] = [(); 2].map(|()| UdpSocket::bind(ip).unwrap());
            here.set_nonblocking(true).unwrap();
            let mut buffer = [0; 16];
            assert_eq!(receive(&here, &mut buffer), Received::Empty);
            there.send_to(b"hello", here.local_addr().unwrap()).unwrap();
            let from = there.local_addr().unwrap();
            assert_eq!(receive(&here, &mut buffer), Received::Datagram { len: 5, from });
            assert_eq!(&buffer[..5], b"hello");
        }
    }
}
