//! Deliveries of webhooks (`ref/metrics-and-dashboards` §2).

use std::time::Duration;

use warp_telemetry::Registry;
use warp_telemetry::label_enum;
use warp_telemetry::metrics::{Counters, Gauge, Histogram};

label_enum! {
    /// What came of an attempt: taken, to be tried again, or given up.
    pub enum DeliveryResult = "result" { Delivered = "delivered", Failed = "failed", Dead = "dead" }
}

const SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// All of them. Clones share their cells.
#[derive(Clone)]
pub struct Webhooks {
    results: Counters<(DeliveryResult,)>,
    seconds: Histogram,
    /// Deliveries that wait, in the whole deployment.
    pub pending: Gauge,
}

impl Webhooks {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            results: registry.counters(
                "warp_webhook_deliveries_total",
                "Attempts to deliver an event to a webhook: taken, to be tried again, given up.",
            ),
            seconds: registry.histogram(
                "warp_webhook_delivery_seconds",
                "How long an attempt to deliver an event took, in seconds.",
                SECONDS,
            ),
            pending: registry.gauge(
                "warp_webhook_pending",
                "Deliveries that are tried or will be, in the whole deployment, as of the last ten seconds.",
            ),
        }
    }

    /// An attempt ended.
    pub(crate) fn attempt(&self, result: DeliveryResult, took: Duration) {
        self.results.inc((result,));
        self.seconds.observe((), took);
    }
}
