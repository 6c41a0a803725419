//! SIP without I/O: messages, transactions, dialogs, proxying, digest.
//!
//! Invariants: pure functions and state machines over values and a time; no sockets, clocks, threads or global state. What a stranger sends
//! is never trusted: no indexing that can panic, no allocation that he can size.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod dialog;
pub mod digest;
pub mod diversion;
pub mod edit;
pub mod flow;
pub mod fuzzing;
pub mod header;
pub mod lex;
pub mod message;
pub mod params;
pub mod proxy;
pub mod registrar;
pub mod resolve;
pub mod session;
pub mod session_timer;
pub mod stream;
pub mod transaction;
pub mod uri;
pub mod ws;
