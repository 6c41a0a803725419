//! RTP and RTCP without I/O: header views, quality figures, and the forward rule that is the packet fast path.
//!
//! Invariants: bytes from the network never panic, nothing here allocates per packet, time is an argument.
//! Absent on purpose: SRTP, DTLS, STUN and codecs (the media issue), sockets (`warp_net`), calls (`warp_media_relay`).
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

pub mod counters;
pub mod forward;
pub mod quality;
pub mod rtcp;
pub mod rtp;

pub use counters::{StreamCounters, StreamSnapshot};
pub use forward::{
    Carries, ClockTable, DropReason, Egress, ForwardRule, LearnPolicy, LocalPort, RuleState, SourcePolicy,
    Verdict,
};
