//! The ng control protocol of RTP relays, without I/O (`ref/ng-protocol.md`).
//!
//! Commands and replies are typed values ([`Command`], [`Reply`]): the same values travel inside one process and, through
//! [`codec`], as `COOKIE SP DOCUMENT` datagrams in bencode or JSON. [`CookieCache`] keeps replies for repeated cookies.
//!
//! Invariants: decoding is iterative and bounded (depth, elements, string length), never panics, and an undecodable
//! document still yields the cookie to answer to. Unknown keys, flags and values are ignored, never an error.
//! Absent on purpose: sockets, the meaning of commands (that is the relay's call book), HTTP and WebSocket framing.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod bencode;
pub mod codec;
pub mod command;
pub mod cookie;
pub mod fuzzing;
pub mod json;
pub mod reply;
mod rtpp_flags;
pub mod statistics;
pub mod tape;
mod write;

pub use codec::{Encoding, NgError, Request};
pub use command::{
    AddressFamily, AttributeEdits, Codecs, Command, Delete, Dtls, FILE_KEYS, Flags, Ice, IceLite, KeepAction,
    KeepBack, Kept, Play, PlayAction, Query, Record, RecordAction, Replace, RtcpMux, SdpCommand, Sound,
    Transport, dtmf_event,
};
pub use cookie::{Channel, CookieCache};
pub use reply::{
    CallStats, Counts, MediaFlags, MediaStats, MosFigures, Reply, SsrcStats, StreamStats, TagStats,
};
