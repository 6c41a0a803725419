//! From the event log to rows: the CDR consumer; rating again, at once or later; retention.

pub mod consumer;
pub mod recheck;
pub mod rerate;
pub mod retention;
