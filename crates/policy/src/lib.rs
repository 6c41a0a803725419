//! Policy without I/O: number plan, rate decks, least-cost routing, rating, screening, snapshot, explain.
//!
//! One library, two doors (guide §1): the data plane calls [`decide`] in process for each call, the control plane calls the
//! same function for its route tester, and [`explain`] writes down for both why the call goes where it goes.
//!
//! Invariants: no clock, no socket, no thread, no randomness (a weighted share is a stable hash of the call); money is
//! integer nano-units with one division at the end of a price; a call that cannot be rated is refused (PRODUCT §2.10).
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::float_cmp)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod again;
mod bindings;
pub mod cidr;
pub mod code;
pub mod credit;
pub mod deck;
pub mod directory;
pub mod explain;
pub mod inbound;
pub mod lcr;
pub mod messaging;
pub mod number_plan;
pub mod numbers;
pub mod price;
pub mod public;
pub mod rate;
pub mod recorded;
pub mod refusal;
pub mod route;
pub mod screen;
pub mod snapshot;

pub use again::{AgainError, rate_again};
pub use cidr::Cidr;
pub use code::Code;
pub use deck::{Deck, DeckMeta, DeckRows, LineError};
pub use directory::{
    Customer, CustomerIx, Directory, DirectoryBuilder, PartitionIx, Trunk, TrunkIx, Vendor, VendorIx,
    VendorTrunk, VendorTrunkIx,
};
pub use explain::{DecisionRecord, explain, replay};
pub use inbound::{
    InboundDecision, InboundInput, InboundRecord, decide_inbound, explain_inbound, replay_inbound,
};
pub use lcr::{LcrBuilder, LcrIndex, RateList};
pub use number_plan::{Jurisdiction, NumberPlan};
pub use numbers::NumberBook;
pub use price::{rate_call, rate_call_on_net};
pub use rate::{BuyRate, Rate, RatingError, Rounding, SellRate};
pub use recorded::{RecordedError, rate_recorded};
pub use refusal::{Refusal, Unpriced};
pub use route::{
    CallInput, Candidate, Candidates, Decision, DownCause, Live, Looked, VendorTrunkLive, WHOLE, decide,
};
pub use screen::{Spent, Usage};
pub use snapshot::{Manifest, Section, Snapshot, SnapshotId};
