//! Money. Credit that is borrowed for calls; from the event log to rows: the CDR consumer, and that of messages; the postings of the ledger that they make; rating again, at once or later; retention.

pub mod consumer;
pub mod credit;
mod fold;
pub mod messages;
mod paid;
pub mod recheck;
pub mod replay;
pub mod rerate;
pub mod retention;
