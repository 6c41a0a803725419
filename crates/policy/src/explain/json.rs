//! The decision record as bytes, for the call path: written in one pass, without serde (`warp_model::json`).
//! `tests/written.rs` holds that both forms are one.

use warp_model::json::{ToJson, word};
use warp_model::{json_object, json_words};

use super::{
    CandidateRecord, DecisionRecord, ExclusionRecord, Inputs, LiveRecord, PricedRate, RuleRecord, is_whole,
};
use crate::directory::{Level, Strategy};
use crate::number_plan::{CallerClass, DestinationClass, Jurisdiction, JurisdictionRule};
use crate::rate::{PartialSecond, Rounding, RoundingLevel, RoundingMode};
use crate::refusal::Refusal;
use crate::snapshot::SnapshotId;

json_object!(DecisionRecord {
    version,
    snapshot_id,
    inputs,
    summary,
    refusal,
    called,
    routed,
    class,
    emergency,
    caller,
    caller_class,
    orig_state,
    term_state,
    jurisdiction,
    jurisdiction_rule,
    sell,
    on_net unless(Option::is_none),
    blocked_by unless(Option::is_none),
    overridden_by unless(Option::is_none),
    partition,
    strategy,
    expected_duration_s,
    candidates,
    excluded,
    max_duration_s,
});
json_object!(Inputs { trunk, caller, called, at, call_hash, lrn, live });
json_object!(LiveRecord {
    vendor_trunk,
    up,
    channels_used,
    cps_ok,
    share unless(is_whole),
});
json_object!(PricedRate {
    deck_version,
    prefix,
    rate_per_min,
    increment_initial_s,
    increment_next_s,
    setup_fee,
    currency,
    rounding unless(Rounding::is_default),
    expected_charge,
    sum,
});
json_object!(CandidateRecord {
    rank,
    vendor,
    vendor_name,
    vendor_trunk,
    vendor_trunk_name,
    jurisdiction,
    jurisdiction_rule,
    buy,
    expected_margin,
    exchange unless(Option::is_none),
    passed_over unless(Option::is_none),
});
json_object!(ExclusionRecord { vendor, vendor_name, vendor_trunk, reason, rule, rate_per_min, prefix });
json_object!(Rounding { mode, places, partial_second, level unless(RoundingLevel::is_call) });
json_object!(RuleRecord { id, level, reason });
json_words!(RoundingLevel {
    Call => "call",
    Line => "line",
});
json_words!(RoundingMode {
    HalfAwayFromZero => "half_away_from_zero",
    HalfEven => "half_even",
    Up => "up",
    Down => "down",
});
json_words!(PartialSecond {
    Up => "up",
    HalfUp => "half_up",
    Down => "down",
});
json_words!(Strategy {
    Cost => "cost",
    PriorityCost => "priority_cost",
    WeightedShare => "weighted_share",
});
json_words!(CallerClass {
    Domestic => "domestic",
    DomesticTollFree => "domestic_toll_free",
    International => "international",
    NonGeographic => "non_geographic",
    Invalid => "invalid",
    Missing => "missing",
});
json_words!(JurisdictionRule {
    SameState => "same_state",
    DifferentState => "different_state",
    CallerMissing => "caller_missing",
    CallerInvalid => "caller_invalid",
    CallerTollFree => "caller_toll_free",
    CallerNonGeographic => "caller_non_geographic",
    CallerForeign => "caller_foreign",
    CalledUnknown => "called_unknown",
    CalledTollFree => "called_toll_free",
    NotApplicable => "not_applicable",
    InterconnectionSameState => "interconnection_same_state",
    InterconnectionDifferentState => "interconnection_different_state",
});

/// Enums whose words have a name of their own already.
macro_rules! named {
    ($($type:ident by $name:ident),*) => {$(
        impl ToJson for $type {
            fn to_json(&self, out: &mut Vec<u8>) {
                word(self.$name(), out);
            }
        }
    )*};
}

named!(Refusal by code, DestinationClass by as_str, Jurisdiction by as_str, Level by as_str);

impl ToJson for SnapshotId {
    fn to_json(&self, out: &mut Vec<u8>) {
        word(self.text(), out);
    }
}
