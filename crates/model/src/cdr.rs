//! The call detail record: one [`CallRecord`] per call with one [`LegRecord`] per route attempt, also for calls that were
//! never answered (`ref/telecom-domain` §5). `cdr_id` is the call's public id and the exactly-once key everywhere.
//!
//! The record is JSON in the call journal, in the event log (`cdr.voice.v1`) and behind the API. Readers ignore unknown
//! fields and writers only add (F-UPG-02). The decision record is carried as JSON text made by `policy::explain`: this
//! crate does not know its shape.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{BanId, CallId, CustomerId, NumberId, TrunkId, VendorId, VendorTrunkId};
use crate::json::JsonText;
use crate::money::{Currency, Nanos};
use crate::now::Wall;
use crate::{json_object, json_words};

/// Version of the stored form.
pub const CDR_VERSION: u16 = 1;

/// One call, from INVITE to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallRecord {
    /// Public id of the call.
    pub cdr_id: CallId,
    /// [`CDR_VERSION`] of the writer.
    pub version: u16,
    /// SIP Call-ID as received, at most 256 bytes.
    pub sip_call_id: String,
    /// Who pays. Absent when the call was refused before a trunk was known (then nothing is billed).
    pub customer_id: Option<CustomerId>,
    /// Where it came in; of an inbound call, the trunk that it was delivered to (or tried last).
    pub trunk_id: Option<TrunkId>,
    /// Which way the call goes, seen from the customer.
    #[serde(default, skip_serializing_if = "Direction::is_outbound")]
    pub direction: Direction,
    /// Both parties are customers of ours: no vendor carried or brought the call, and each of the two has a record of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_net: bool,
    /// The number of ours that was called. Inbound calls only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_id: Option<NumberId>,
    /// Source address of the INVITE.
    pub ingress_ip: IpAddr,
    /// Digest user, when the trunk authenticates that way.
    pub ingress_user: Option<String>,
    /// Caller as received (user part of P-Asserted-Identity or From).
    pub caller: String,
    /// The caller asked that nobody be told who calls (`Privacy: id`, RFC 3325 §9.3).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Called number as dialled (user part of the Request-URI).
    pub called: String,
    /// Caller in E.164, when valid.
    pub caller_e164: Option<String>,
    /// Called number in E.164, when valid.
    pub called_e164: Option<String>,
    /// `interstate`, `intrastate`, `local`, `indeterminate`, or absent where no jurisdiction applies.
    pub jurisdiction: Option<String>,
    /// When the INVITE came.
    pub setup_at: Wall,
    /// First 18x towards the caller.
    pub progress_at: Option<Wall>,
    /// 200 forwarded to the caller.
    pub answer_at: Option<Wall>,
    /// BYE, final failure, CANCEL, or the last heartbeat before a crash.
    pub end_at: Wall,
    /// INVITE out to the first 18x or 200, in ms.
    pub pdd_ms: Option<u64>,
    /// Answer to end on the monotonic clock, in ms; 0 when not answered.
    pub duration_ms: u64,
    /// Final SIP status towards the caller (200 when answered).
    pub sip_code: u16,
    /// The Q.850 cause, 1 to 127; `None` = none was given.
    pub q850: Option<u8>,
    /// Which side ended the call.
    pub release_side: ReleaseSide,
    /// Closed list of our own reasons, for example `no_route_at_margin`; empty when the peer's code says all.
    pub internal_code: String,
    /// How the call ended for the statistics.
    pub outcome: Outcome,
    /// True when the end was reconstructed after a crash.
    pub recovered: bool,
    /// Policy snapshot that decided it.
    pub snapshot_id: String,
    /// Rank of the vendor that carried it (1 = first choice).
    pub route_rank: Option<u16>,
    /// Vendor that carried it (or was tried last); of an inbound call, the vendor that brought it.
    pub vendor_id: Option<VendorId>,
    /// The trunk of that vendor.
    pub vendor_trunk_id: Option<VendorTrunkId>,
    /// What the customer pays and what we pay; absent when not answered.
    pub rating: Option<CallRating>,
    /// Media figures; absent when no media was anchored.
    pub media: Option<MediaFigures>,
    /// The full decision record (`policy::explain`), as JSON.
    pub decision: Option<JsonText>,
    /// One per route attempt, in order.
    pub legs: Vec<LegRecord>,
    /// Which node and shard wrote it.
    pub node: String,
    /// Who pays for it, when that was known at its INVITE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<Paid>,
    /// Only in the journal's `Answered` record: what a restarted proxy needs to end the call, as JSON of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<JsonText>,
}

impl CallRecord {
    /// Whether the customer whose record it is may not read who called: he is called, and the caller asked for that.
    pub fn hides_caller(&self) -> bool {
        self.private && self.direction == Direction::Inbound
    }
}

/// Which way a call goes, seen from the customer who pays for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The customer calls somebody.
    #[default]
    Outbound,
    /// Somebody calls a number of the customer.
    Inbound,
}

impl Direction {
    /// The word as it stands in records and filters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }

    /// Whether the customer calls.
    pub fn is_outbound(&self) -> bool {
        *self == Self::Outbound
    }
}

/// Who pays for a call, and from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// The billing account whose money it is.
    pub ban_id: BanId,
    /// The lease of the account's credit that a call that is paid ahead was paid from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<i64>,
    /// How many milliseconds the call went on after the time that was paid for: nobody is charged for them, and they are not in
    /// `duration_ms`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub over_ms: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What a SIP shard writes to its call journal. `Answered` is written before the 200 is forwarded (PRODUCT §6).
#[derive(Clone, Debug)]
pub enum JournalRecord {
    /// The call as known at its answer; a crash turns it into a CDR that ends at the last heartbeat.
    Answered(Box<CallRecord>),
    /// The finished record, of an answered or an unanswered call.
    Ended(Box<CallRecord>),
}

/// One attempt towards one vendor trunk, or of an inbound call towards one trunk of the customer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LegRecord {
    /// 1, 2, 3 …
    pub attempt_no: u16,
    /// The vendor that was tried.
    pub vendor_id: Option<VendorId>,
    /// The trunk of that vendor.
    pub vendor_trunk_id: Option<VendorTrunkId>,
    /// The customer's trunk that was tried. Inbound calls only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk_id: Option<TrunkId>,
    /// Where the INVITE went.
    pub egress_ip: IpAddr,
    /// When the INVITE was sent to the vendor.
    pub start_at: Wall,
    /// First 18x or 200 of this leg, ms after `start_at`.
    pub pdd_ms: Option<u64>,
    /// Final code of this leg; 408 for a time-out, 0 when it was still open at a crash.
    pub sip_code: u16,
    /// Q.850 cause from the Reason header or the table.
    pub q850: Option<u8>,
    /// Final answer, time-out or cancel.
    pub end_at: Wall,
    /// Why the next one was tried, or the call ended: a closed list.
    pub ended_by: String,
}

/// The money of one answered call, with the sum written out so that it can be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRating {
    /// What the customer pays for the call.
    pub sell: RatedSide,
    /// What we pay the vendor for it.
    pub buy: RatedSide,
    /// sell − buy when both are in one currency.
    pub margin: Option<Nanos>,
}

/// The price of one side of a call: the customer's or the vendor's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatedSide {
    /// Deck version, as `deck_…@N`.
    pub deck_version: String,
    /// The dial code of the deck that priced the call.
    pub prefix: String,
    /// Price of a minute.
    pub rate_per_min: Nanos,
    /// First increment in seconds.
    pub increment_initial_s: u32,
    /// Further increments in seconds.
    pub increment_next_s: u32,
    /// Once per answered call.
    pub setup_fee: Nanos,
    /// Seconds after rounding to increments.
    pub billable_s: u64,
    /// setup_fee + billable_s × rate_per_min / 60, rounded by the contract's rule.
    pub charge: Nanos,
    /// Of all amounts here.
    pub currency: Currency,
    /// The sum in words and figures.
    pub sum: String,
}

/// Media figures of a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MediaFigures {
    /// From the caller to the callee.
    pub to_callee: StreamFigures,
    /// From the callee to the caller.
    pub to_caller: StreamFigures,
}

/// Figures of the media in one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamFigures {
    /// RTP packets that were relayed.
    pub packets: u64,
    /// Their bytes, RTP header included.
    pub bytes: u64,
    /// Lost, from sequence numbers (RFC 3550 A.3).
    pub lost: u64,
    /// Interarrival jitter in microseconds (RFC 3550 A.8).
    pub jitter_us: u64,
    /// Mean opinion score × 100 (1.00 to 4.50), absent without enough packets.
    pub mos_x100: Option<u16>,
}

/// Who ended the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseSide {
    /// BYE or CANCEL of the caller.
    Caller,
    /// BYE or final failure of the callee.
    Callee,
    /// We did: limit, time-out, drain, crash.
    System,
}

/// How the call ended, for ASR and the metric `warp_sip_calls_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Somebody answered: a 2xx.
    Answered,
    /// The called party is busy: 486 or 600.
    Busy,
    /// 480 of the called side, 408 after ringing, timer C. A target that could not be reached, or said nothing, is none.
    NoAnswer,
    /// CANCEL by the caller.
    Cancelled,
    /// The call was refused by us, before any vendor was asked.
    Rejected,
    /// It failed on the way, for any other reason.
    Failed,
}

impl Outcome {
    /// The word as it stands in records, filters and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

// Written twice for each call, so without serde.
json_object!(CallRecord {
    cdr_id,
    version,
    sip_call_id,
    customer_id,
    trunk_id,
    direction unless(Direction::is_outbound),
    on_net unless(std::ops::Not::not),
    number_id unless(Option::is_none),
    ingress_ip,
    ingress_user,
    caller,
    private unless(std::ops::Not::not),
    called,
    caller_e164,
    called_e164,
    jurisdiction,
    setup_at,
    progress_at,
    answer_at,
    end_at,
    pdd_ms,
    duration_ms,
    sip_code,
    q850,
    release_side,
    internal_code,
    outcome,
    recovered,
    snapshot_id,
    route_rank,
    vendor_id,
    vendor_trunk_id,
    rating,
    media,
    decision,
    legs,
    node,
    paid unless(Option::is_none),
    resume unless(Option::is_none),
});
json_object!(Paid { ban_id, lease unless(Option::is_none), over_ms unless(is_zero) });
json_object!(LegRecord {
    attempt_no,
    vendor_id,
    vendor_trunk_id,
    trunk_id unless(Option::is_none),
    egress_ip,
    start_at,
    pdd_ms,
    sip_code,
    q850,
    end_at,
    ended_by
});
json_object!(CallRating { sell, buy, margin });
json_object!(RatedSide {
    deck_version,
    prefix,
    rate_per_min,
    increment_initial_s,
    increment_next_s,
    setup_fee,
    billable_s,
    charge,
    currency,
    sum
});
json_object!(MediaFigures { to_callee, to_caller });
json_object!(StreamFigures { packets, bytes, lost, jitter_us, mos_x100 });
json_words!(Direction { Outbound => "outbound", Inbound => "inbound" });
json_words!(ReleaseSide { Caller => "caller", Callee => "callee", System => "system" });
json_words!(Outcome {
    Answered => "answered",
    Busy => "busy",
    NoAnswer => "no_answer",
    Cancelled => "cancelled",
    Rejected => "rejected",
    Failed => "failed",
});
