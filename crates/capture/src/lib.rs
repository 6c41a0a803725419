//! Messages of calls, kept as pictures (RFC 0044).
//!
//! A shard writes each message that it takes or sends into a buffer of its own ([`tap`]): no allocation, no lock, no look at the bytes.
//! A thread beside it ([`sink`]) reads the buffers ([`entry`]), knows which message belongs to which call ([`book`]), keeps what is worth it
//! in files ([`store`]), draws a call when somebody asks ([`picture`]) and sends copies to a collector ([`hep`], [`export`]). Whatever leaves
//! is masked first ([`mask`]).
//!
//! Invariants: everything is bounded, in bytes, in messages and in time, and what does not fit is dropped and counted, never waited for; what
//! strangers send cannot drive out what calls are made of.
#![forbid(unsafe_code)]

pub mod book;
mod channel;
pub mod entry;
pub mod export;
pub mod hep;
pub mod mask;
pub mod picture;
pub mod sink;
pub mod store;
pub mod tap;

pub use channel::Sought;
pub use entry::{EndedCall, Head};
pub use export::Collector;
pub use mask::Mask;
pub use picture::{Arrow, Lane, Owner, Picture, Side, StrangerSeen};
pub use sink::{Capture, CaptureConfig, Keep, Running};
pub use tap::Tap;
