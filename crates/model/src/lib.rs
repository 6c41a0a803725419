//! The nouns of WARP. Every other package speaks in these types; this one imports nothing of ours.
//!
//! Invariants: no I/O, no clock, no randomness: values that need either take it as an argument.
//! Absent on purpose: protocol types (they live in their core) and anything with behaviour over time.
#![forbid(unsafe_code)]

pub mod cdr;
pub mod hash;
pub mod hex;
pub mod id;
pub mod json;
pub mod lent;
pub mod limits;
pub mod money;
pub mod net;
pub mod now;
pub mod number;
pub mod secret;
pub mod sync;
pub mod text;

pub use id::{
    BanId, CallId, CustomerId, DeckId, EventId, Id, JobId, KeyId, MessageId, NumberId, PostingId, RequestId,
    TrunkId, VendorId, VendorTrunkId,
};
pub use lent::{GiveBack, Lent};
pub use money::{Currency, Money, MoneyError, Nanos};
pub use now::{Mono, Now, Wall};
pub use number::{E164, NumberError};
pub use secret::Secret;
