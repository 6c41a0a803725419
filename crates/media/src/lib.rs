//! RTP and RTCP without I/O: header views, quality figures, the rule of a port with its learnt peer, and the pipeline.
//!
//! Each file uses those before it: `rtp`, `rtcp`, `quality`, `packet`, `port`, `counters`, `stage`, `gate`, `tap`, `g711`, `play`, `srtp`, `stun`, `ice`,
//! `keying`, `session`, `pipeline`, `rule`, `learn`, `forward`.
//!
//! Invariants: bytes from the network never panic, nothing here allocates per packet, time is an argument.
//! Absent on purpose: the handshake of DTLS (`warp_dtls`), codecs but G.711, sockets (`warp_net`), calls (`warp_media_relay`).
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
pub mod g711;
pub mod gate;
pub mod ice;
pub mod keying;
pub mod learn;
pub mod packet;
pub mod pipeline;
pub mod play;
mod port;
pub mod quality;
pub mod rtcp;
pub mod rtp;
mod rule;
pub mod session;
pub mod srtp;
mod stage;
pub mod stun;
pub mod tap;

pub use counters::{StreamCounters, StreamSnapshot};
pub use forward::{Judgement, RuleState};
pub use learn::LearntPeer;
pub use port::{Carries, DropReason, Egress, LocalPort, MediaPath};
pub use rule::{
    ClockTable, DYNAMIC_CLOCKS, ForwardRule, LEARN_ADDRESSES, LearnPolicy, SourcePolicy, packet_limit,
};
