//! Sharded metrics behind the `prometheus` crate's registry.
//!
//! A product's catalogue is a struct made by one function, so that series exist at 0 from the start (those of a large family once
//! they were counted):
//!
//! ```
//! use warp_telemetry::label_enum;
//! use warp_telemetry::metrics::{Counters, Registry};
//!
//! label_enum! {
//!     /// Seen from WARP.
//!     pub enum Direction = "direction" { Ingress = "ingress", Egress = "egress" }
//! }
//! label_enum! {
//!     /// SIP transports.
//!     pub enum Transport = "transport" { Udp = "udp", Tcp = "tcp" }
//! }
//! struct Metrics { requests: Counters<(Direction, Transport)> }
//! let registry = Registry::new();
//! let m = Metrics { requests: registry.counters("warp_example_requests_total", "Requests.") };
//! m.requests.inc((Direction::Ingress, Transport::Udp));
//! assert!(registry.render().contains("warp_example_requests_total{direction=\"ingress\",transport=\"udp\"} 1"));
//! ```
//!
//! Families are cheap to clone (an `Arc`). Adding is a relaxed add on a cell that belongs to the calling thread's shard;
//! reading sums the shards. Absent on purpose: labels from free text, summaries, native histograms.

mod cells;
mod family;
mod keyed;
mod label;
mod open;
mod registry;

pub use cells::SHARDS;
pub use family::{Amounts, Counter, Counters, FloatGauge, Gauge, Gauges, Histogram, Histograms, NanoCounter};
pub use keyed::{Keyed, KeyedFamily, OTHER};
pub use label::{Label, LabelSet};
pub use open::{OPENMETRICS, TEXT, wants_openmetrics};
pub use registry::{Entry, Kind, Registry, Sample};

/// Bucket bounds of latencies inside WARP, 25 µs to 50 ms, in seconds.
pub const LATENCY_SECONDS: &[f64] =
    &[0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05];
/// Bucket bounds of requests to others (database, HTTP), in seconds.
pub const REQUEST_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

#[cfg(test)]
mod tests;
