//! From the event log to rows: the CDR consumer.

pub mod consumer;
pub mod rerate;
