//! SDP (RFC 4566, RFC 8866) without I/O: a view over the bytes, and edits that change as little as possible.
//!
//! [`Sdp`] indexes lines and media sections and never copies them; [`edit`] writes the same bytes in the same order with
//! only the named lines changed; [`canonical`] writes the description anew, in rtpengine's order of lines.
//! Invariants: parsing never panics and is linear; what is parsed and written without edits is byte for byte the same; sizes are bounded by `model::limits` (a proxy answers 488 to what is beyond).
//! Absent on purpose: who may send media where (the relay's call book), ICE and keys beyond removing their lines.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod canonical;
mod direction;
pub mod edit;
mod error;
mod fields;
pub mod fuzzing;
mod view;

pub use canonical::{CanonicalMedia, CanonicalSession};
pub use direction::Direction;
pub use edit::{AttributeChanges, MediaEdit, Missing, OriginEdit, RefusedSection, SessionEdit, Strip};
pub use error::{SdpError, SdpFault};
pub use fields::{Attribute, Connection, Origin, Rtcp, RtpMap};
pub use view::{Media, Sdp};
