//! Business figures of posted calls: revenue, cost, seconds, and what rating found (`ref/metrics-and-dashboards` §2).
//!
//! For graphs only: invoices come from the ledger. Amounts are kept in nano-units and shown as a fraction; calls in another
//! currency than US dollars count their seconds and no dollars.

use std::time::Duration;

use warp_model::cdr::CallRecord;
use warp_telemetry::Registry;
use warp_telemetry::label_enum;
use warp_telemetry::metrics::{Counter, Counters, Histogram, Keyed, NanoCounter};

label_enum! {
    /// How rating failed: the call was refused because one side had no price, or its price could not be repeated.
    pub enum RatingFailure = "reason" { Refused = "refused", Mismatch = "mismatch" }
}

/// Customers and vendors with series of their own.
const CUSTOMERS: usize = 5_000;
const VENDORS: usize = 300;
/// 1 µs to 10 ms.
const SECONDS: &[f64] =
    &[0.000_001, 0.000_002_5, 0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.01];

/// All of them. Clones share their cells.
#[derive(Clone)]
pub struct Business {
    revenue: Keyed<NanoCounter>,
    billed_seconds: Keyed<Counter>,
    cost: Keyed<NanoCounter>,
    cost_seconds: Keyed<Counter>,
    failures: Counters<(RatingFailure,)>,
    rating_seconds: Histogram,
    lookup_seconds: Histogram,
}

impl Business {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            revenue: registry.keyed(
                "warp_revenue_dollars_total",
                "What posted calls cost their customers, in US dollars; calls in other currencies are not in it.",
                "customer",
                CUSTOMERS,
                (),
            ),
            billed_seconds: registry.keyed(
                "warp_billed_seconds_total",
                "Seconds of posted calls as customers are billed, rounded to increments.",
                "customer",
                CUSTOMERS,
                (),
            ),
            cost: registry.keyed(
                "warp_cost_dollars_total",
                "What posted calls cost us at their vendors, in US dollars; calls in other currencies are not in it.",
                "vendor",
                VENDORS,
                (),
            ),
            cost_seconds: registry.keyed(
                "warp_cost_seconds_total",
                "Seconds of posted calls as vendors bill them, rounded to increments.",
                "vendor",
                VENDORS,
                (),
            ),
            failures: registry.counters(
                "warp_rating_failures_total",
                "Calls refused because they could not be rated, and prices that could not be repeated. The bar is 0.",
            ),
            rating_seconds: registry.histogram(
                "warp_rating_seconds",
                "Time to decide and price a posted call again, in seconds.",
                SECONDS,
            ),
            lookup_seconds: registry.histogram(
                "warp_lcr_lookup_seconds",
                "Time of one routing decision as the route tester makes it, in seconds.",
                SECONDS,
            ),
        }
    }

    /// A call was posted for the first time; `mismatch`: its price could not be repeated.
    pub fn posted(&self, call: &CallRecord, mismatch: bool) {
        if call.internal_code == "rating_failed" {
            self.failures.inc((RatingFailure::Refused,));
        }
        if mismatch {
            self.failures.inc((RatingFailure::Mismatch,));
        }
        let Some(rating) = &call.rating else { return };
        if let Some(customer) = call.customer_id {
            let customer = customer.to_string();
            self.billed_seconds.of(&customer).add((), rating.sell.billable_s);
            if rating.sell.currency.as_str() == "USD" {
                self.revenue.of(&customer).add(u64::try_from(rating.sell.charge.0).unwrap_or(0));
            }
        }
        if let Some(vendor) = call.vendor_id {
            let vendor = vendor.to_string();
            self.cost_seconds.of(&vendor).add((), rating.buy.billable_s);
            if rating.buy.currency.as_str() == "USD" {
                self.cost.of(&vendor).add(u64::try_from(rating.buy.charge.0).unwrap_or(0));
            }
        }
    }

    /// A posted call was rated again.
    pub fn rated(&self, took: Duration) {
        self.rating_seconds.observe((), took);
    }

    /// The route tester decided.
    pub fn decided(&self, took: Duration) {
        self.lookup_seconds.observe((), took);
    }
}
