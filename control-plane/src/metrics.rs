//! The control plane's metrics (`ref/metrics-and-dashboards` §2, API and business).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use warp_model::{GiveBack, Lent, Mono};
use warp_telemetry::Registry;
use warp_telemetry::label_enum;
use warp_telemetry::metrics::{Counter, Counters, FloatGauge, Gauge, Histograms, Keyed, Kind, Label, Sample};

mod business;
mod jobs;
mod webhooks;

pub use business::{Business, RatingFailure};
pub use jobs::{JobLabel, JobOutcome, Jobs};
pub use webhooks::{DeliveryResult, Webhooks};

label_enum! {
    /// HTTP methods of our endpoints.
    pub enum HttpMethod = "method" { Get = "GET", Post = "POST", Put = "PUT", Patch = "PATCH", Delete = "DELETE" }
}

label_enum! {
    /// Why a token was refused.
    pub enum TokenRefusal = "reason" {
        Malformed = "malformed", BringsKeys = "brings_keys", Algorithm = "algorithm", UnknownKey = "unknown_key",
        Signature = "signature", Claims = "claims", Issuer = "issuer", Audience = "audience", Stale = "stale", Early = "early"
    }
}

label_enum! {
    /// What rating a call again said. The bar for `mismatch` is 0.
    pub enum RatingResult = "result" { Confirmed = "confirmed", Mismatch = "mismatch", Unchecked = "unchecked" }
}

/// Waits for a connection to PostgreSQL that were in vain, of all pools of this process.
pub(crate) static POOL_EMPTY: AtomicU64 = AtomicU64::new(0);

const LATENCY: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// All of them. Clones share their cells.
#[derive(Clone)]
pub struct Metrics {
    in_flight: Gauge,
    panics: Counter,
    rows: Arc<std::sync::RwLock<Vec<Arc<Row>>>>,
    seconds: Keyed<Histograms<HttpMethod>>,
    rate_limited: Keyed<Counter>,
    /// Age of the oldest CDR that is not posted yet; 0 when all are.
    pub cdr_lag_seconds: FloatGauge,
    /// Seconds since the oldest record of messages that is not posted was written.
    pub messages_lag_seconds: FloatGauge,
    /// Messages that were posted.
    pub messages_posted: Counter,
    /// Records of messages that could not be posted.
    pub messages_put_aside: Counter,
    /// Calls older than the retention that stay because they have a price and are on no bill.
    pub calls_overdue: Gauge,
    ratings: Counters<RatingResult>,
    tokens_refused: Counters<TokenRefusal>,
    /// Operators' keys that were ever recovered on a machine of the deployment.
    pub keys_recovered: Gauge,
    /// Revenue, cost and what rating found.
    pub business: Business,
    /// Jobs that ended, and how.
    pub jobs: Jobs,
    /// Deliveries of webhooks, and how they go.
    pub webhooks: Webhooks,
    routes_loaded: Keyed<Gauge>,
    /// Snapshots that were published since the start.
    pub snapshots_published: Counter,
    /// Time from a change to its snapshot's publication.
    pub publish_seconds: warp_telemetry::metrics::Histogram,
    /// Publications that failed; the last good snapshot stays.
    pub publish_failures: Counter,
}

/// Requests of one endpoint by status class.
struct Row {
    route: &'static str,
    method: String,
    classes: [AtomicU64; 4],
}

/// Handles of one endpoint.
#[derive(Clone)]
pub struct EndpointMetrics {
    row: Arc<Row>,
    seconds: Histograms<HttpMethod>,
    rate_limited: Counter,
}

/// A request that is counted as in flight until it goes back.
pub struct InFlight(Gauge);

impl Metrics {
    /// Registers them all; they are shown from then on.
    pub fn new(registry: &Registry) -> Self {
        let rows: Arc<std::sync::RwLock<Vec<Arc<Row>>>> = Arc::default();
        let seen = rows.clone();
        registry.observe(
            Kind::Counter,
            "warp_http_requests_total",
            "API requests by route template, method and class of the answer.",
            &["route", "method", "status_class"],
            move || {
                let rows = seen.read().unwrap_or_else(|e| e.into_inner());
                let mut out = Vec::new();
                for row in rows.iter() {
                    for (class, count) in CLASSES.iter().zip(&row.classes) {
                        let count = count.load(Ordering::Relaxed);
                        // Of each endpoint its successes from the start; a class that never came has no series.
                        if count == 0 && *class != "2xx" {
                            continue;
                        }
                        let labels = vec![
                            ("route", row.route.to_owned()),
                            ("method", row.method.clone()),
                            ("status_class", (*class).to_owned()),
                        ];
                        out.push(Sample::number(labels, count as f64));
                    }
                }
                out
            },
        );
        let cdr_lag_seconds = FloatGauge::default();
        let lag = cdr_lag_seconds.clone();
        registry.observe(
            Kind::Gauge,
            "warp_cdr_lag_seconds",
            "Age of the oldest call record that is not posted yet, in seconds; 0 when all are.",
            &["sink"],
            move || vec![Sample::number(vec![("sink", "postgres".to_owned())], lag.value())],
        );
        let ratings = Counters::<RatingResult>::detached();
        let shown = ratings.clone();
        registry.observe(
            Kind::Counter,
            "warp_rating_total",
            "Answered calls whose price was worked out again when they were posted, by whether it came out the same.",
            &["product", "result"],
            move || {
                RatingResult::ALL
                    .iter()
                    .map(|r| {
                        let name = RatingResult::VALUES.get(r.index()).copied().unwrap_or("");
                        let labels = vec![("product", "voice".to_owned()), ("result", name.to_owned())];
                        Sample::number(labels, shown.value(*r) as f64)
                    })
                    .collect()
            },
        );
        registry.observe(
            Kind::Counter,
            "warp_database_pool_exhausted_total",
            "Waits for a connection to PostgreSQL that were in vain, because all were in use or it was away.",
            &[],
            || {
                let count = POOL_EMPTY.load(Ordering::Relaxed);
                vec![Sample::number(Vec::new(), count as f64)]
            },
        );
        let keys_recovered = Gauge::detached();
        let recovered = keys_recovered.clone();
        registry.observe(
            Kind::Counter,
            "warp_keys_recovered_total",
            "Operators' keys that were made on the machine itself (warp keys recover) since the first start.",
            &[],
            move || vec![Sample::number(Vec::new(), recovered.value(()) as f64)],
        );
        Self {
            ratings,
            tokens_refused: registry.counters("warp_tokens_refused_total", "Tokens of people that were refused, by reason."),
            keys_recovered,
            business: Business::new(registry),
            jobs: Jobs::new(registry),
            webhooks: Webhooks::new(registry),
            in_flight: registry.gauge("warp_http_in_flight", "API requests that are being served now."),
            panics: registry.counter("warp_http_panics_total", "API requests that were answered with 500 because of a fault of ours."),
            rows,
            seconds: registry.keyed(
                "warp_http_request_seconds",
                "Time to answer an API request, in seconds.",
                "route",
                200,
                LATENCY,
            ),
            rate_limited: registry.keyed(
                "warp_http_rate_limited_total",
                "API requests refused by a rate limit.",
                "route",
                200,
                (),
            ),
            cdr_lag_seconds,
            messages_lag_seconds: registry.float_gauge(
                "warp_messages_lag_seconds",
                "Age of the oldest record of messages that is not posted, in seconds.",
            ),
            messages_posted: registry.counter("warp_messages_posted_total", "Messages that were posted to PostgreSQL."),
            messages_put_aside: registry.counter(
                "warp_messages_put_aside_total",
                "Records of messages that could not be posted and were put aside.",
            ),
            calls_overdue: registry.gauge(
                "warp_cdr_overdue_records",
                "Calls that are older than the retention and stay, because they have a price and are on no bill.",
            ),
            routes_loaded: registry.keyed(
                "warp_lcr_routes_loaded",
                "Prices of each rate deck that calls are routed by.",
                "deck",
                1_000,
                (),
            ),
            snapshots_published: registry
                .counter("warp_snapshot_published_total", "Changes of customers, trunks, vendors and rates that were put into force for calls."),
            publish_seconds: registry.histogram(
                "warp_snapshot_publish_seconds",
                "Time from a change to the moment from which calls go by it, in seconds.",
                LATENCY,
            ),
            publish_failures: registry.counter(
                "warp_snapshot_failures_total",
                "Changes that could not be put into force; calls go on by what was in force before.",
            ),
        }
    }

    /// Handles of an endpoint; its series exist from now on.
    pub fn endpoint(&self, route: &'static str, method: &Method) -> EndpointMetrics {
        let row = Arc::new(Row { route, method: method.to_string(), classes: Default::default() });
        self.rows.write().unwrap_or_else(|e| e.into_inner()).push(row.clone());
        EndpointMetrics { row, seconds: self.seconds.of(route), rate_limited: self.rate_limited.of(route) }
    }

    /// One more is in flight until the guard is dropped.
    pub fn in_flight(&self) -> Lent<InFlight> {
        self.in_flight.inc(());
        Lent::new(InFlight(self.in_flight.clone()))
    }

    /// A posted call was rated again; `None`: there was nothing to rate.
    pub fn rated(&self, result: Option<RatingResult>) {
        if let Some(result) = result {
            self.ratings.inc(result);
        }
    }

    /// These decks with so many rows are in the published snapshot; the series of others go after a while.
    pub fn decks_loaded(&self, decks: &[(String, usize)], now: Mono) {
        for (deck, rows) in decks {
            self.routes_loaded.of(deck).set((), i64::try_from(*rows).unwrap_or(i64::MAX));
        }
        self.routes_loaded.retire(|name| decks.iter().any(|(deck, _)| deck == name), now);
    }

    /// Counts a token that was refused.
    pub fn token_refused(&self, why: impl Into<TokenRefusal>) {
        self.tokens_refused.inc(why.into());
    }

    /// Counts a handler that panicked.
    pub fn panicked(&self) {
        self.panics.inc(());
    }
}

impl GiveBack for InFlight {
    fn give_back(&mut self) {
        self.0.dec(());
    }
}

impl EndpointMetrics {
    /// A request was answered.
    pub fn done(&self, method: &Method, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(2).min(3);
        if let Some(count) = self.row.classes.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let method = match method.as_str() {
            "POST" => HttpMethod::Post,
            "PUT" => HttpMethod::Put,
            "PATCH" => HttpMethod::Patch,
            "DELETE" => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        self.seconds.observe(method, took);
    }

    /// A request was refused by a rate limit.
    pub fn rate_limited(&self) {
        self.rate_limited.inc(());
    }
}
