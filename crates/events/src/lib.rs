//! Call journal and event log on local disk.
//!
//! * [`journal`]: one per SIP shard. `append` has the bytes in the kernel when it returns, so kill −9 loses nothing;
//!   a syncer thread makes them durable within 50 ms, so a power cut loses at most that.
//! * [`recover`]: after a crash, each answered call without an end becomes exactly one record that ends at the last sign
//!   of life.
//! * [`log`]: topics of numbered records with group commit; consumers keep their own [`Cursor`]. What retention deleted lies
//!   below the floor: who wants it hears so, and how much.
//! * [`pump`]: copies finished records from the journals to the topic `cdr.voice.v1`, at least once, in their packed form
//!   ([`record`]), and keeps count of what customers spent today ([`spend`]).
//!
//! Invariants: nothing is acknowledged that was not written; every file is a [`segment`] with a checksum per record; a
//! damaged part is put aside and metered, never guessed at; every file count and size has a limit.
//! The log has two variants behind the same methods, which `tests/conformance.rs` holds to the same promises: segments on
//! this machine's disk, and Apache Kafka (feature `kafka`).
//! Absent on purpose: knowledge of SIP, rating or SQL.
#![forbid(unsafe_code)]

mod cursor;
pub mod disk;
pub mod error;
#[cfg(test)]
mod faults;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod pump;
pub mod record;
pub mod recover;
pub mod segment;
pub mod spend;

pub use cursor::Cursor;
pub use disk::Disk;
pub use error::EventsError;
pub use journal::{Journal, JournalOptions};
#[cfg(feature = "kafka")]
pub use log::KafkaOptions;
pub use log::{Event, EventLog, LogOptions, Reader, Topic};
pub use metrics::EventsMetrics;
pub use pump::{Pump, PumpOptions};
pub use recover::{Recovery, recover};
pub use spend::{Spend, Spent};

/// Topic of finished call records; the key is the `cdr_id`, the value a [`warp_model::cdr::CallRecord`] as JSON,
/// packed ([`record`]).
pub const TOPIC_CDR_VOICE: &str = "cdr.voice.v1";
