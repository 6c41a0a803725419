//! The published shape of a call's record and of a decision. The data itself is the stored JSON (`warp_model::cdr`,
//! `warp_policy::explain`): readers ignore unknown fields and writers only add, so what stands here is what a client can count
//! on. A test holds living records against it.

use super::calls::{CallDirection, CallOutcome, JurisdictionName, ReleaseSideName};
use super::routing::StrategyName;
use super::trunks::Destination;
use super::view::{Sometimes, Word};

crate::view! {
    /// The whole record of a call. Operators see all of it; customers do not see whom the carrier bought from and at what price.
    /// Times are microseconds since 1970 in UTC, amounts are exact decimals as text.
    pub struct CallRecord {
        /// The call's id, also the key of its record everywhere.
        pub cdr_id: String,
        /// The version of this form.
        pub version: u16,
        /// The Call-ID of the caller's INVITE.
        pub sip_call_id: String,
        /// The customer. Null: the call was refused before a trunk was known.
        pub customer_id: Option<String>,
        /// The trunk that the call came in on; of an inbound call the one that took it, or was tried last.
        pub trunk_id: Option<String>,
        /// Which way the call went. Absent: `outbound`.
        pub direction: Sometimes<Word<CallDirection>>,
        /// True when both parties are customers of ours: no vendor had a part in the call.
        pub on_net: Sometimes<bool>,
        /// The number of the customer that was called. Inbound calls only.
        pub number_id: Sometimes<String>,
        /// The address that the INVITE came from. Of an inbound call only operators see it.
        pub ingress_ip: Sometimes<String>,
        /// The digest user that the INVITE was signed by.
        pub ingress_user: Option<String>,
        /// The caller as received. To a customer who is called: `anonymous`, when the caller asked not to be named.
        pub caller: String,
        /// Whether the caller asked not to be named. Absent: no.
        pub private: Sometimes<bool>,
        /// The number as dialled.
        pub called: String,
        /// The caller in E.164.
        pub caller_e164: Option<String>,
        /// The called number in E.164.
        pub called_e164: Option<String>,
        /// Which of the three US prices applied.
        pub jurisdiction: Option<Word<JurisdictionName>>,
        /// When the INVITE came.
        pub setup_at: i64,
        /// When the first ringing or progress came.
        pub progress_at: Option<i64>,
        /// When it was answered.
        pub answer_at: Option<i64>,
        /// When the call ended, in microseconds since 1970.
        pub end_at: i64,
        /// Post-dial delay: from the INVITE to the first ringing, in milliseconds.
        pub pdd_ms: Option<u64>,
        /// From answer to end, in milliseconds.
        pub duration_ms: u64,
        /// The final SIP status.
        pub sip_code: u16,
        /// The cause of Q.850, 1 to 127.
        pub q850: Option<u16>,
        /// Who ended the call.
        pub release_side: Word<ReleaseSideName>,
        /// Our own reason, when the SIP status does not say all. Empty otherwise.
        pub internal_code: String,
        /// How the call ended.
        pub outcome: Word<CallOutcome>,
        /// Whether the end was reconstructed after a crash.
        pub recovered: bool,
        /// The policy snapshot that decided the call.
        pub snapshot_id: String,
        /// The rank of the vendor that carried it; 1 is the first choice.
        pub route_rank: Option<u16>,
        /// The vendor that carried it, or brought an inbound call. Only operators see it.
        pub vendor_id: Sometimes<Option<String>>,
        /// The vendor trunk that carried it, or brought an inbound call. Only operators see it.
        pub vendor_trunk_id: Sometimes<Option<String>>,
        /// What the call costs, with the sums written out. Null: there is nothing to pay.
        pub rating: Option<CallRating>,
        /// Figures of the media. Null: there was none, or it is not known.
        pub media: Option<CallMedia>,
        /// How the call was decided. Null: it was refused before a decision.
        pub decision: Option<DecisionRecord>,
        /// One entry per vendor that was tried, or of an inbound call per trunk.
        pub legs: Vec<CallLeg>,
        /// The node that carried it. Only operators see it.
        pub node: Sometimes<String>,
    }
}

crate::view! {
    /// One attempt to reach the called number through a vendor.
    pub struct CallLeg {
        /// 1 for the first attempt.
        pub attempt_no: u16,
        /// The vendor. Only operators see it.
        pub vendor_id: Sometimes<Option<String>>,
        /// The vendor trunk. Only operators see it.
        pub vendor_trunk_id: Sometimes<Option<String>>,
        /// The customer's trunk that was tried. Inbound calls only.
        pub trunk_id: Sometimes<String>,
        /// Where the INVITE was sent. Only operators see it.
        pub egress_ip: Sometimes<String>,
        /// When it began, in microseconds since 1970.
        pub start_at: i64,
        /// Post-dial delay in milliseconds.
        pub pdd_ms: Option<u64>,
        /// The final SIP status of this attempt.
        pub sip_code: u16,
        /// The cause of Q.850, 1 to 127.
        pub q850: Option<u16>,
        /// When it ended, in microseconds since 1970.
        pub end_at: i64,
        /// Why the attempt ended, as a word.
        pub ended_by: String,
    }
}

crate::view! {
    /// The price of a call.
    pub struct CallRating {
        /// What the customer pays.
        pub sell: RatedSide,
        /// What the carrier pays. Only operators see it.
        pub buy: Sometimes<RatedSide>,
        /// The difference, as text. Only operators see it; null when the currencies differ.
        pub margin: Sometimes<Option<String>>,
    }
}

crate::view! {
    /// One side's price of a call. Amounts are exact decimals as text, in the currency that stands beside them.
    pub struct RatedSide {
        /// The price list and its version, `deck_…@N`.
        pub deck_version: String,
        /// The code of the price list that matched.
        pub prefix: String,
        /// The price per minute.
        pub rate_per_min: String,
        /// The first increment in seconds.
        pub increment_initial_s: u32,
        /// Each further increment in seconds.
        pub increment_next_s: u32,
        /// What each answered call costs besides.
        pub setup_fee: String,
        /// The seconds that are paid for, after rounding to increments.
        pub billable_s: u64,
        /// The sum for the whole call.
        pub charge: String,
        /// The ISO 4217 currency.
        pub currency: String,
        /// How the sum was formed, in words and figures.
        pub sum: String,
    }
}

crate::view! {
    /// Figures of a call's media, in both directions.
    pub struct CallMedia {
        /// What went to the called side.
        pub to_callee: MediaStream,
        /// What went to the caller.
        pub to_caller: MediaStream,
    }
}

crate::view! {
    /// Figures of one direction.
    pub struct MediaStream {
        /// RTP packets that arrived.
        pub packets: u64,
        /// Bytes of the packets that arrived.
        pub bytes: u64,
        /// Packets that were lost.
        pub lost: u64,
        /// Jitter in microseconds (RFC 3550).
        pub jitter_us: u64,
        /// The estimated mean opinion score, times 100.
        pub mos_x100: Option<u16>,
    }
}

crate::view! {
    /// How a call was decided: the candidates in order, who was excluded by which rule, and the prices with the sums written out.
    pub struct DecisionRecord {
        /// The version of this form.
        pub version: u16,
        /// The policy snapshot that it was decided from.
        pub snapshot_id: String,
        /// What the decision was asked for.
        pub inputs: DecisionInputs,
        /// The decision in one sentence. Only operators see it.
        pub summary: Sometimes<String>,
        /// Why there is no way. Null: there is one.
        pub refusal: Option<Word<RefusalName>>,
        /// The dialled number in E.164.
        pub called: Option<String>,
        /// `inbound` for a call to a number of ours. Absent: the customer called.
        pub direction: Sometimes<Word<CallDirection>>,
        /// The number of ours that was called, when it is one. Inbound calls only.
        pub number: Sometimes<Option<String>>,
        /// The customer who has that number. Inbound calls only, and only operators see it.
        pub customer: Sometimes<Option<String>>,
        /// The vendor that brought the call. Inbound calls only, and only operators see it.
        pub vendor: Sometimes<Option<String>>,
        /// That vendor's name. Inbound calls only, and only operators see it.
        pub vendor_name: Sometimes<String>,
        /// What that vendor charges. Inbound calls only, and only operators see it.
        pub buy: Sometimes<Option<DecisionPrice>>,
        /// What a unit of that vendor's currency is worth in the customer's, as text. Inbound calls only, and only operators see it.
        pub exchange: Sometimes<String>,
        /// The trunks that would take the call, in order. Inbound calls only.
        pub targets: Sometimes<Vec<DecisionTarget>>,
        /// Trunks of the number's destination that take no call now. Inbound calls only.
        pub unusable: Sometimes<Vec<String>>,
        /// The number that was priced: the routing number of a ported one. Outbound calls only.
        pub routed: Sometimes<Option<String>>,
        /// The class of the destination.
        pub class: Option<Word<Destination>>,
        /// The emergency number that was dialled. Outbound calls only.
        pub emergency: Sometimes<Option<u16>>,
        /// The caller in E.164, when it is valid.
        pub caller: Option<String>,
        /// The class of the caller.
        pub caller_class: Option<String>,
        /// The US state of the caller's number.
        pub orig_state: Option<String>,
        /// The state of the number that was priced.
        pub term_state: Option<String>,
        /// Which of the three US prices applies.
        pub jurisdiction: Option<Word<JurisdictionName>>,
        /// The rule that says so.
        pub jurisdiction_rule: Option<String>,
        /// What the customer pays.
        pub sell: Option<DecisionPrice>,
        /// The number of ours that was called, so that no vendor was asked. Outbound calls only, and only operators see it.
        pub on_net: Sometimes<String>,
        /// The block that holds the call. Absent: none does. Only operators see it.
        pub blocked_by: Sometimes<DecisionRule>,
        /// The override that says which partition routes the call. Absent: the trunk's own. Only operators see it.
        pub overridden_by: Sometimes<DecisionRule>,
        /// The partition. Only operators see it.
        pub partition: Sometimes<Option<String>>,
        /// How the partition orders its vendors. Only operators see it.
        pub strategy: Sometimes<Option<Word<StrategyName>>>,
        /// The duration in seconds that prices are compared for. Only operators see it.
        pub expected_duration_s: Sometimes<Option<u32>>,
        /// The vendors that would be tried, in order. Outbound calls only.
        pub candidates: Sometimes<Vec<DecisionCandidate>>,
        /// The vendors that would not be tried. Outbound calls only.
        pub excluded: Sometimes<Vec<DecisionExclusion>>,
        /// The longest that the call may last, in seconds.
        pub max_duration_s: u32,
    }
}

crate::view! {
    /// A rule that decided about a call.
    pub struct DecisionRule {
        /// The override or the block, `ovr_…` or `blk_…`.
        pub id: String,
        /// How specific it is: `trunk`, `customer`, `route` or `default`.
        pub level: String,
        /// Why it was made, in words.
        pub reason: String,
    }
}

crate::view! {
    /// What a decision was made from, besides the snapshot.
    pub struct DecisionInputs {
        /// The trunk that the call came in on. Of an inbound call the one of a customer of ours who called, and only operators see it.
        pub trunk: Sometimes<String>,
        /// The vendor trunk that the call came from. Inbound calls only, and only operators see it.
        pub vendor_trunk: Sometimes<String>,
        /// Whether the called number had called for help lately, so that nothing may hold the call up. Inbound calls only.
        pub callback: Sometimes<bool>,
        /// The caller as received.
        pub caller: String,
        /// The number as dialled.
        pub called: String,
        /// When, in microseconds since 1970.
        pub at: i64,
        /// A hash of the call, which decides about shares.
        pub call_hash: String,
        /// The routing number of our own look-up. Outbound calls only.
        pub lrn: Sometimes<Option<String>>,
        /// What was known of the vendor trunks at that moment. Only operators see it.
        pub live: Sometimes<Vec<DecisionLive>>,
    }
}

crate::view! {
    /// What was known of a vendor trunk when a call was decided.
    pub struct DecisionLive {
        /// The id of the vendor trunk.
        pub vendor_trunk: String,
        /// Whether it was in rotation.
        pub up: bool,
        /// The calls on it.
        pub channels_used: u32,
        /// Whether another call could begin.
        pub cps_ok: bool,
        /// The percentage of calls that it took in its turn. Absent: all.
        pub share: Sometimes<u16>,
    }
}

crate::view! {
    /// A price with the sum for the expected call. Amounts are exact decimals as text.
    pub struct DecisionPrice {
        /// The price list and its version, `deck_…@N`.
        pub deck_version: String,
        /// The code of the price list that matched.
        pub prefix: String,
        /// The price per minute.
        pub rate_per_min: String,
        /// The first increment in seconds.
        pub increment_initial_s: u32,
        /// Each further increment in seconds.
        pub increment_next_s: u32,
        /// What each answered call costs besides.
        pub setup_fee: String,
        /// The ISO 4217 currency.
        pub currency: String,
        /// The price of a call of the expected duration.
        pub expected_charge: String,
        /// How that was formed, in words and figures.
        pub sum: String,
    }
}

crate::view! {
    /// A trunk that would take an inbound call.
    pub struct DecisionTarget {
        /// 1 is the first choice.
        pub rank: u16,
        /// The id of the trunk.
        pub trunk: String,
        /// The trunk's name at that time.
        pub trunk_name: String,
    }
}

crate::view! {
    /// A vendor that would be tried. Customers see its rank and jurisdiction only.
    pub struct DecisionCandidate {
        /// 1 is the first choice.
        pub rank: u16,
        /// The vendor. Only operators see it.
        pub vendor: Sometimes<String>,
        /// The vendor's name. Only operators see it.
        pub vendor_name: Sometimes<String>,
        /// The vendor trunk. Only operators see it.
        pub vendor_trunk: Sometimes<String>,
        /// The vendor trunk's name. Only operators see it.
        pub vendor_trunk_name: Sometimes<String>,
        /// The vendor's own jurisdiction, where its point of interconnection decides.
        pub jurisdiction: Option<Word<JurisdictionName>>,
        /// The rule behind the vendor's own jurisdiction. Only operators see it.
        pub jurisdiction_rule: Sometimes<Option<String>>,
        /// What the carrier would pay. Only operators see it.
        pub buy: Sometimes<Option<DecisionPrice>>,
        /// What would be left, in the currency of the sale, as text. Only operators see it.
        pub expected_margin: Sometimes<Option<String>>,
        /// What a unit of the vendor's currency is worth in that one, as text. Absent: they are one, or no rate is known. Only operators
        /// see it.
        pub exchange: Sometimes<String>,
        /// Why it stands behind dearer ones. Only operators see it.
        pub passed_over: Sometimes<String>,
    }
}

crate::view! {
    /// A vendor that would not be tried. Customers see the reason only.
    pub struct DecisionExclusion {
        /// The vendor. Only operators see it.
        pub vendor: Sometimes<String>,
        /// The vendor's name. Only operators see it.
        pub vendor_name: Sometimes<String>,
        /// The vendor trunk, when it is about one. Only operators see it.
        pub vendor_trunk: Sometimes<Option<String>>,
        /// Why: `no_rate`, `vendor_disabled`, `blocked`, `currency`, `margin`, `no_trunk`, `down`, `channels`, `cps`, `ramp_up` or
        /// `tries`.
        pub reason: String,
        /// The rule behind it: a block's id, the margin, a limit. Only operators see it.
        pub rule: Sometimes<String>,
        /// What it would have cost per minute, as text. Only operators see it.
        pub rate_per_min: Sometimes<Option<String>>,
        /// The code of the price list that matched. Only operators see it.
        pub prefix: Sometimes<Option<String>>,
    }
}

crate::choice! {
    /// Why a call is not carried.
    pub enum RefusalName {
        /// What was dialled is no number.
        InvalidNumber = "invalid_number",
        /// The number is too short.
        IncompleteNumber = "incomplete_number",
        /// Nobody has such a number.
        UnassignedNumber = "unassigned_number",
        /// A service code that is not carried.
        ServiceCode = "service_code",
        /// There is no way for emergency calls.
        NoEmergencyRoute = "no_emergency_route",
        /// The trunk or its customer is not active.
        TrunkDisabled = "trunk_disabled",
        /// The trunk may not call this class of destinations.
        DestinationBlocked = "destination_blocked",
        /// A block of the carrier holds such calls.
        CallBlocked = "call_blocked",
        /// The price is above the limit.
        MaxRate = "max_rate",
        /// The caller is no valid number and must be one.
        InvalidCaller = "invalid_caller",
        /// No vendor has a price for it.
        NoRoute = "no_route",
        /// All vendors that have one are excluded.
        NoRouteAvailable = "no_route_available",
        /// All vendors that have one are too dear.
        NoRouteAtMargin = "no_route_at_margin",
        /// It cannot be rated.
        RatingFailed = "rating_failed",
        /// The trunk has all its calls up.
        TrunkChannels = "trunk_channels",
        /// The customer has all its calls up.
        CustomerChannels = "customer_channels",
        /// The trunk begins too many calls per second.
        TrunkCps = "trunk_cps",
        /// The customer begins too many calls per second.
        CustomerCps = "customer_cps",
        /// The day's spend is used up.
        DailySpend = "daily_spend",
        /// A vendor's call to a number that nobody here has.
        NumberNotHere = "number_not_here",
        /// The called number has no destination that takes calls.
        NoDestination = "no_destination",
        /// No trunk of the called number took the call.
        TargetsExhausted = "targets_exhausted",
        /// The account that pays has no money left for it.
        NoCredit = "no_credit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_those_of_policy() {
        let known: Vec<&str> = warp_policy::Refusal::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(known, RefusalName::WORDS);
    }
}
