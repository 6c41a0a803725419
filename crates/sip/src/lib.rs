//! SIP without I/O: messages, transactions, dialogs, proxying, digest.
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
pub mod proxy;
pub mod transaction;
