//! From the event log to rows: the CDR consumer; the postings of the ledger that they make; rating again, at once or later; retention.

pub mod consumer;
mod paid;
pub mod recheck;
pub mod rerate;
pub mod retention;
