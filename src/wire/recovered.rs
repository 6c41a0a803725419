//! What a start finds of the runs before it. A call whose end was reconstructed gets the longest duration that it was allowed
//! and its price by `policy`; what customers spent today goes to the limits.

use std::time::Duration;

use warp_model::cdr::{CallRecord, Direction};
use warp_policy::inbound::rate_inbound_record;
use warp_policy::{DecisionRecord, InboundRecord, rate_recorded};

/// Completes a recovered record. `longest` is this node's bound of every call (`sip.max_duration`).
///
/// A call never lasted longer than its decision and its node allowed, whatever the last heartbeat says. A record that cannot
/// be rated says so (`rating_failed`) and is an alarm, never free.
pub(super) fn complete(call: &mut CallRecord, longest: Duration) {
    if call.direction == Direction::Inbound {
        return complete_inbound(call, longest);
    }
    let decision = call.decision.as_ref().map(|d| serde_json::from_str::<DecisionRecord>(d.get()));
    let decided = decision.as_ref().and_then(|d| d.as_ref().ok());
    let allowed = decided.map_or(longest, |d| Duration::from_secs(u64::from(d.max_duration_s)).min(longest));
    shorten(call, allowed);
    let why = match decision {
        None => "it has no decision record".to_owned(),
        Some(Err(error)) => error.to_string(),
        Some(Ok(decision)) => match rate_recorded(&decision, call.vendor_trunk_id, call.duration_ms) {
            Ok(rating) => {
                call.rating = rating;
                return;
            }
            Err(error) => error.to_string(),
        },
    };
    tracing::error!(cdr_id = %call.cdr_id, why, "recovered call cannot be rated");
    call.internal_code = "rating_failed".to_owned();
}

/// The same of a call to one of our numbers, whose decision has another form.
fn complete_inbound(call: &mut CallRecord, longest: Duration) {
    let decision = call.decision.as_ref().map(|d| serde_json::from_str::<InboundRecord>(d.get()));
    let decided = decision.as_ref().and_then(|d| d.as_ref().ok());
    let allowed = decided.map_or(longest, |d| Duration::from_secs(u64::from(d.max_duration_s)).min(longest));
    shorten(call, allowed);
    let why = match decision {
        None => "it has no decision record".to_owned(),
        Some(Err(error)) => error.to_string(),
        Some(Ok(decision)) => match rate_inbound_record(&decision, call.duration_ms) {
            Ok(rating) => {
                call.rating = rating;
                return;
            }
            Err(error) => error.to_string(),
        },
    };
    tracing::error!(cdr_id = %call.cdr_id, why, "recovered inbound call cannot be rated");
    call.internal_code = "rating_failed".to_owned();
}

/// What the event log knows, as the limits take it.
pub(super) fn spent(of: &warp_events::Spent) -> warp_policy::Spent {
    warp_policy::Spent { customer: of.customer, trunk: of.trunk, at: of.at, amount: of.amount }
}

fn shorten(call: &mut CallRecord, allowed: Duration) {
    let ms = u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX);
    if call.duration_ms <= ms {
        return;
    }
    call.duration_ms = ms;
    call.end_at = call.answer_at.unwrap_or(call.setup_at).plus(allowed);
    if let Some(leg) = call.legs.last_mut() {
        leg.end_at = call.end_at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_model::cdr::{CDR_VERSION, LegRecord, Outcome, ReleaseSide};
    use warp_model::{CallId, Nanos, TrunkId, VendorId, VendorTrunkId, Wall};

    const HOURS: Duration = Duration::from_secs(4 * 3_600);

    fn priced(rate: &str) -> serde_json::Value {
        serde_json::json!({
            "deck_version": "deck_x@1", "prefix": "1415555", "rate_per_min": rate, "increment_initial_s": 6,
            "increment_next_s": 6, "setup_fee": "0", "currency": "USD",
            "rounding": {"mode": "up", "places": 2, "partial_second": "up"}, "expected_charge": "0", "sum": "",
        })
    }

    fn call(duration_ms: u64, decision: Option<serde_json::Value>) -> CallRecord {
        let at = Wall(0);
        CallRecord {
            cdr_id: CallId::from_u128(1),
            version: CDR_VERSION,
            sip_call_id: "a@b".into(),
            customer_id: None,
            trunk_id: None,
            direction: Default::default(),
            on_net: false,
            number_id: None,
            ingress_ip: [127, 0, 0, 1].into(),
            ingress_user: None,
            caller: String::new(),
            private: false,
            called: String::new(),
            caller_e164: None,
            called_e164: None,
            jurisdiction: None,
            setup_at: at,
            progress_at: None,
            answer_at: Some(Wall(2_000_000)),
            end_at: Wall(2_000_000).plus(Duration::from_millis(duration_ms)),
            pdd_ms: None,
            duration_ms,
            sip_code: 200,
            q850: None,
            release_side: ReleaseSide::System,
            internal_code: "process_restart".into(),
            outcome: Outcome::Answered,
            recovered: true,
            snapshot_id: String::new(),
            route_rank: Some(1),
            vendor_id: Some(VendorId::from_u128(1)),
            vendor_trunk_id: Some(VendorTrunkId::from_u128(11)),
            rating: None,
            media: None,
            decision: decision.map(|d| warp_model::json::JsonText::parse(d.to_string()).unwrap()),
            legs: vec![LegRecord {
                attempt_no: 1,
                vendor_id: None,
                vendor_trunk_id: None,
                trunk_id: None,
                egress_ip: [127, 0, 0, 1].into(),
                start_at: at,
                pdd_ms: None,
                sip_code: 200,
                q850: None,
                end_at: Wall(9),
                ended_by: "answered".into(),
            }],
            node: String::new(),
            paid: None,
            resume: None,
        }
    }

    fn decision() -> serde_json::Value {
        serde_json::json!({
            "version": 1, "snapshot_id": warp_policy::Snapshot::empty().id,
            "inputs": {"trunk": TrunkId::from_u128(5), "caller": "", "called": "", "at": Wall(0), "call_hash": "0",
                       "lrn": null, "live": []},
            "summary": "", "sell": priced("0.012"), "candidates": [{
                "rank": 1, "vendor": VendorId::from_u128(1), "vendor_name": "v",
                "vendor_trunk": VendorTrunkId::from_u128(11), "vendor_trunk_name": "main",
                "jurisdiction": null, "jurisdiction_rule": null, "buy": priced("0.002"), "expected_margin": null,
            }],
            "excluded": [], "max_duration_s": 600,
        })
    }

    #[test]
    fn a_recovered_call_is_rated_with_the_rounding_of_its_contract() {
        let mut call = call(61_001, Some(decision()));
        complete(&mut call, HOURS);
        let rating = call.rating.unwrap();
        // 66 s cost 0.0132 and 0.0022: each up to the next cent.
        assert_eq!((rating.sell.billable_s, rating.sell.charge), (66, Nanos(20_000_000)));
        assert_eq!((rating.buy.charge, rating.margin), (Nanos(10_000_000), Some(Nanos(10_000_000))));
        assert_eq!((call.internal_code.as_str(), call.duration_ms), ("process_restart", 61_001));
    }

    #[test]
    fn a_recovered_call_never_lasts_longer_than_it_was_allowed_to() {
        // The run lived two hours; the call was allowed ten minutes.
        let mut long = call(7_200_000, Some(decision()));
        complete(&mut long, HOURS);
        assert_eq!(
            (long.duration_ms, long.end_at, long.legs[0].end_at),
            (600_000, Wall(602_000_000), Wall(602_000_000))
        );
        assert_eq!(long.rating.unwrap().sell.billable_s, 600);
        // The node's own bound counts too, with or without a decision.
        let mut short = call(7_200_000, Some(decision()));
        complete(&mut short, Duration::from_secs(60));
        assert_eq!((short.duration_ms, short.rating.unwrap().sell.billable_s), (60_000, 60));
        let mut without = call(7_200_000, None);
        complete(&mut without, Duration::from_secs(60));
        assert_eq!(without.duration_ms, 60_000);
    }

    #[test]
    fn a_recovered_call_that_cannot_be_rated_is_an_alarm_not_free_and_an_emergency_call_is_no_alarm() {
        let mut call_ = call(61_001, None);
        complete(&mut call_, HOURS);
        assert!(call_.rating.is_none());
        assert_eq!(call_.internal_code, "rating_failed");
        let mut emergency = decision();
        emergency["emergency"] = 911.into();
        emergency["sell"] = serde_json::Value::Null;
        let mut call_ = call(61_001, Some(emergency));
        complete(&mut call_, HOURS);
        assert_eq!((call_.internal_code.as_str(), call_.rating), ("process_restart", None));
    }
}
