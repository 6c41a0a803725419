//! The I/O crate: clocks, epoll, UDP single and in batches, TCP streams, TLS over bytes, mailboxes between threads, scheduler helpers.
//!
//! It carries bytes and addresses; it knows no protocol and none of the cores' types. Everything is non-blocking and
//! made for one owner thread per socket; only [`mailbox`] and [`eventfd`] cross threads.
//!
//! Invariants:
//! - The only crate of WARP with `unsafe` (G-6). Each block states why it is sound; each module that needs it allows
//!   it by name.
//! - A socket error never ends a listener (F-NET-05): what an ICMP message or a full buffer causes is a value, not an `Err`.
//! - Nothing allocates per packet.
//!
//! Absent on purpose: tokio (control plane only), WebSocket (pure, in `crates/sip`), resolvers, timers (cores have their own).
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]

pub mod batch;
pub mod clock;
pub mod datagram;
pub mod epoll;
pub mod eventfd;
pub mod interfaces;
pub mod mailbox;
pub mod media;
pub mod sched;
pub mod tcp;
pub mod tls;
pub mod udp;
pub mod wrapped;

/// The error of a process that may open no more files (EMFILE).
pub fn no_descriptors() -> std::io::Error {
    std::io::Error::from_raw_os_error(libc::EMFILE)
}

/// Whether an error says that the process, or the system, may open no more files (EMFILE, ENFILE).
pub fn lacks_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
