//! The RTP relay: call book and negotiation in core, packet shards in server.
#![forbid(unsafe_code)]

pub mod core;
pub mod metrics;
mod server;
