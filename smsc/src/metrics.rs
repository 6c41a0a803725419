//! The catalogue of `warp_smsc_*` metrics for what exists.

use warp_telemetry::Registry;
use warp_telemetry::label_enum;
use warp_telemetry::metrics::{Counter, Counters, Gauge};

label_enum! {
    /// What was done about what recipients want.
    pub enum Consented = "result" {
        Stop = "stop", Start = "start", Answered = "answered", Unanswered = "unanswered", OptedOut = "opted_out", Held = "held",
        Quiet = "quiet",
    }
}
label_enum! {
    /// What came of a message that was handed to us.
    pub enum Taken = "result" {
        Accepted = "accepted", Throttled = "throttled", Refused = "refused", Full = "full", Malformed = "malformed",
        Storage = "storage",
    }
}
label_enum! {
    /// Why a message was not taken for the sake of its price.
    pub enum Unpaid = "reason" {
        NoSellPrice = "no_sell_price", NoVendor = "no_vendor", NoCredit = "no_credit", Later = "later",
    }
}
label_enum! {
    /// What came of a message that was handed to a vendor.
    pub enum Handed = "result" {
        Accepted = "accepted", Retried = "retried", Refused = "refused", Unanswered = "unanswered", Moved = "moved",
    }
}
label_enum! {
    /// What came of a receipt of a vendor.
    pub enum ReceiptResult = "result" {
        Matched = "matched", Parked = "parked", Duplicate = "duplicate", Unmatched = "unmatched", Malformed = "malformed",
        Full = "full",
    }
}
label_enum! {
    /// What came of a delivery to a customer.
    pub enum DeliveryResult = "result" { Taken = "taken", Retried = "retried", Refused = "refused", Expired = "expired" }
}
label_enum! {
    /// What came of a call by HTTP.
    pub enum CallbackResult = "result" { Taken = "taken", Retried = "retried" }
}
label_enum! {
    /// Which side of the SMSC a session is on.
    pub enum Peer = "peer" { Customer = "customer", Vendor = "vendor" }
}
label_enum! {
    /// What a request of the HTTP door was answered.
    pub enum StatusClass = "status" { Success = "2xx", Client = "4xx", Server = "5xx" }
}
label_enum! {
    /// What came of a request to bind.
    pub enum BindResult = "result" { Bound = "bound", Refused = "refused" }
}

/// Metrics of one SMSC. Clones share it.
#[derive(Clone)]
pub struct Metrics {
    /// Messages of customers, by outcome.
    pub submits: Counters<Taken>,
    /// Messages of handsets, by outcome.
    pub mobile_originated: Counters<Taken>,
    /// Messages that were not taken for the sake of their price, by reason.
    pub unpaid: Counters<Unpaid>,
    /// Opt-outs and quiet hours, by what was done.
    pub consent: Counters<Consented>,
    /// Messages given to vendors, by their answer.
    pub handed: Counters<Handed>,
    /// Receipts of vendors, by what became of them.
    pub receipts: Counters<ReceiptResult>,
    /// Receipts and messages given to customers.
    pub deliveries: Counters<DeliveryResult>,
    /// Calls of customers by HTTP, by whether they were taken.
    pub callbacks: Counters<CallbackResult>,
    /// Requests of the HTTP door, by the class of their status.
    pub http_requests: Counters<StatusClass>,
    /// Requests to bind, ours and theirs.
    pub binds: Counters<(Peer, BindResult)>,
    /// Messages sent again though the vendor may have them.
    pub possible_duplicates: Counter,
    /// Messages whose validity ended before a vendor took them.
    pub expired: Counter,
    /// PDUs whose body or length was wrong.
    pub malformed: Counter,
    /// Responses that belonged to no request.
    pub strays: Counter,
    /// Failed writes or syncs of the queue.
    pub storage_errors: Counter,
    /// Messages that are not done.
    pub messages: Gauge,
    /// Connections that are open.
    pub connections: Gauge,
}

impl Metrics {
    /// Registers all of it.
    pub fn register(r: &Registry) -> Metrics {
        Metrics {
            submits: r.counters("warp_smsc_submits_total", "Messages that customers handed in, by outcome."),
            mobile_originated: r.counters(
                "warp_smsc_mobile_originated_total",
                "Messages of handsets that vendors brought, by outcome.",
            ),
            unpaid: r.counters(
                "warp_smsc_unpaid_total",
                "Messages that were not taken because a price or money was missing.",
            ),
            consent: r.counters(
                "warp_smsc_consent_total",
                "Keywords of recipients that were kept and answered, and messages that their wishes or quiet hours held or refused.",
            ),
            handed: r.counters("warp_smsc_handed_total", "Messages given to vendors, by their answer."),
            receipts: r.counters("warp_smsc_receipts_total", "Receipts of vendors, by what became of them."),
            deliveries: r.counters("warp_smsc_deliveries_total", "Receipts and messages given to customers."),
            callbacks: r.counters("warp_smsc_callbacks_total", "Calls of customers by HTTP, by outcome."),
            http_requests: r.counters(
                "warp_smsc_http_requests_total",
                "Requests to the HTTP interface for messages, by status.",
            ),
            binds: r.counters("warp_smsc_binds_total", "Requests to bind, of customers and to vendors."),
            possible_duplicates: r.counter(
                "warp_smsc_possible_duplicates_total",
                "Messages sent again though the vendor may have them.",
            ),
            expired: r.counter(
                "warp_smsc_expired_total",
                "Messages whose validity ended before a vendor took them.",
            ),
            malformed: r
                .counter("warp_smsc_malformed_total", "PDUs (SMPP messages) whose body or length was wrong."),
            strays: r
                .counter("warp_smsc_strays_total", "Answers of peers that belonged to no request of ours."),
            storage_errors: r
                .counter("warp_smsc_storage_errors_total", "Failed writes or syncs of the queue."),
            messages: r.gauge(
                "warp_smsc_messages",
                "Messages that are not done yet, neither delivered nor given up.",
            ),
            connections: r
                .gauge("warp_smsc_connections", "Connections of customers and to vendors that are open."),
        }
    }
}
