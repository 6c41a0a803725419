//! Business figures of posted calls: revenue, cost, seconds, and what rating found (`ref/metrics-and-dashboards` §2).
//!
//! For graphs only: invoices come from the ledger. Amounts are kept in nano-units and shown as a fraction, each currency as a series of
//! its own; those of US dollars stand once more under the names that have the unit in them.

use std::time::Duration;

use warp_model::cdr::{CallRating, CallRecord};
use warp_model::money::NANOS_PER_UNIT;
use warp_model::{Currency, Nanos};
use warp_telemetry::Registry;
use warp_telemetry::label_enum;
use warp_telemetry::metrics::{Amounts, Counter, Counters, Histogram, Keyed, NanoCounter};

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
    revenue_by_currency: Keyed<Amounts>,
    billed_seconds: Keyed<Counter>,
    cost: Keyed<NanoCounter>,
    cost_by_currency: Keyed<Amounts>,
    cost_of_revenue: Keyed<NanoCounter>,
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
                "What posted calls cost their customers, in US dollars; what is paid in other currencies is in warp_revenue_total only.",
                "customer",
                CUSTOMERS,
                (),
            ),
            revenue_by_currency: registry.keyed(
                "warp_revenue_total",
                "What posted calls cost their customers, by the currency that they pay in. Amounts of two currencies have no sum.",
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
                "What posted calls cost us at their vendors, in US dollars; what is charged in other currencies is in warp_cost_total only.",
                "vendor",
                VENDORS,
                (),
            ),
            cost_by_currency: registry.keyed(
                "warp_cost_total",
                "What posted calls cost us at their vendors, by the currency of the vendor. Amounts of two currencies have no sum.",
                "vendor",
                VENDORS,
                (),
            ),
            cost_of_revenue: registry.keyed(
                "warp_cost_of_revenue_total",
                "What posted calls cost us, in the currency that their customers pay in, by the exchange rate of each decision.",
                "currency",
                Currency::IN_USE.len(),
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
        let (sell, buy) = (&rating.sell, &rating.buy);
        // A price below zero is none that a counter could show.
        let amount = |charge: Nanos| u64::try_from(charge.0).unwrap_or(0);
        if let Some(customer) = call.customer_id {
            let customer = customer.to_string();
            self.billed_seconds.of(&customer).add((), sell.billable_s);
            self.revenue_by_currency.of(&customer).add(sell.currency, amount(sell.charge));
            if sell.currency == Currency::USD {
                self.revenue.of(&customer).add(amount(sell.charge));
            }
            if let Some(cost) = in_the_customers_currency(call, rating) {
                self.cost_of_revenue.of(sell.currency.as_str()).add(amount(cost));
            }
        }
        if let Some(vendor) = call.vendor_id {
            let vendor = vendor.to_string();
            self.cost_seconds.of(&vendor).add((), buy.billable_s);
            self.cost_by_currency.of(&vendor).add(buy.currency, amount(buy.charge));
            if buy.currency == Currency::USD {
                self.cost.of(&vendor).add(amount(buy.charge));
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

/// What the vendor charges for a call, in the currency that its customer pays in. `None`: they are two, and the decision knew no rate.
fn in_the_customers_currency(call: &CallRecord, rating: &CallRating) -> Option<Nanos> {
    let (sell, buy) = (&rating.sell, &rating.buy);
    if sell.currency == buy.currency {
        return Some(buy.charge);
    }
    let decision: serde_json::Value = serde_json::from_str(call.decision.as_ref()?.get()).ok()?;
    // Of an inbound call the decision has it, of an outbound one each candidate.
    let candidates = decision["candidates"].as_array().into_iter().flatten();
    let mut rates = std::iter::once(&decision)
        .chain(candidates.filter(|c| c["buy"]["currency"] == buy.currency.as_str()))
        .filter_map(|of| of["exchange"].as_str()?.parse::<Nanos>().ok());
    let cost =
        i128::from(buy.charge.0).checked_mul(i128::from(rates.next()?.0))? / i128::from(NANOS_PER_UNIT);
    i64::try_from(cost).ok().map(Nanos)
}
