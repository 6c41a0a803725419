//! SMPP 3.4 (issue 1.2) and the useful parts of 5.0, without I/O. Section numbers in doc comments are those of 3.4 where nothing else is said.
//!
//! Bytes of a connection go through [`frame::Framer`]; a whole PDU is read in place by [`pdu::decode`] and written by [`pdu::encode`].
//! [`session::Session`] is the machine of one connection, for both sides: states, windows, sequence numbers, timers. [`text`] has the
//! alphabets, user data headers, splitting and joining; [`receipt`] reads and writes delivery receipts;
//! [`record`] is how the steps of a message are kept; [`time`] the two forms of times.
//!
//! Invariants: decoding borrows and allocates nothing, and never panics on any bytes; a PDU whose length is sane but whose body is not is
//! an error with the status to answer, and framing goes on behind it (T-SMS-02); every collection has a limit.
//! Absent on purpose: sockets, clocks, accounts, routing, the queue (those are the SMSC's), and broadcast (5.0 §4.4.1).
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod command;
pub mod frame;
pub mod fuzzing;
pub mod pdu;
pub mod receipt;
pub mod record;
pub mod session;
pub mod status;
pub mod text;
pub mod time;
pub mod tlv;

pub use command::Command;
pub use frame::{Frame, Framer, Header};
pub use pdu::{Address, Body, BodyError, Message};
pub use session::{Session, Side, State};
pub use status::Status;
