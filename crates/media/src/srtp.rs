//! SRTP and SRTCP (RFC 3711, RFC 6188, RFC 7714): contexts of our own on audited ciphers, as stages of a pipeline.
//!
//! A [`SrtpMaker`] holds one master key of one direction and makes [`Unprotect`] or [`Protect`] stages of it. Both work in
//! place in the room around the packet and allocate nothing. Invariants: what has no valid tag, or was seen before, is
//! dropped before anything is read of it (T-RTP-05); the NULL ciphers, F8 and AES-192 do not exist here (T-RTP-12); one
//! keystream is never used for two packets of ours: a packet that comes twice is sent once, and the counter of SRTCP is
//! shared by all stages of one key. Absent on purpose: keys (the call book makes them), DTLS, session parameters that
//! weaken a suite (RFC 4568 §6.3).

mod cipher;
pub mod sdes;
mod stages;
mod window;

pub use cipher::SessionKeys;
pub use sdes::{CryptoLine, Suite};
pub use stages::{Protect, SrtpMaker, Unprotect};

/// Sources that one direction keeps apart. A new one takes the place of the one longest not heard, where we receive; where
/// we send, it is refused: forgetting a source would use its keystream again.
pub const SOURCES: usize = 32;
