//! Metrics, logs, health: what every process tells its operators.
//!
//! Invariants: counting on a hot path is one relaxed add on a cell of the caller's thread; a scrape takes no lock that
//! such a path takes; label values come from closed enums (or from capped, provisioned names such as trunk ids).
//! Absent on purpose: anything that knows a product. Each product defines its own catalogue with the types here.
#![forbid(unsafe_code)]

pub mod health;
#[cfg(feature = "http")]
pub mod http;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod redact;
pub mod seldom;

pub use health::Health;
pub use metrics::Registry;
pub use seldom::Seldom;
