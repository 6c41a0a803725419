//! The price of a call whose end was reconstructed: from the rates in its decision record, for its known duration.

use warp_model::cdr::{CallRating, CallRecord, RatedSide};
use warp_policy::explain::{CandidateRecord, DecisionRecord, PricedRate};
use warp_policy::rate::{self, Rate, Rounding};

/// Completes a recovered record. A record that cannot be rated says so (`rating_failed`) and is an alarm, never free.
pub(super) fn rate(call: &mut CallRecord) {
    match rating(call) {
        Some(rating) => call.rating = Some(rating),
        None => {
            tracing::error!(cdr_id = %call.cdr_id, "recovered call cannot be rated");
            call.internal_code = "rating_failed".to_owned();
        }
    }
}

fn rating(call: &CallRecord) -> Option<CallRating> {
    let decision: DecisionRecord = serde_json::from_str(call.decision.as_ref()?.get()).ok()?;
    let carried = |c: &&CandidateRecord| Some(c.vendor_trunk) == call.vendor_trunk_id;
    let buy = decision.candidates.iter().find(carried)?.buy.as_ref()?;
    let sell = side(decision.sell.as_ref()?, call.duration_ms)?;
    let buy = side(buy, call.duration_ms)?;
    let margin = (sell.currency == buy.currency).then(|| sell.charge.checked_sub(buy.charge)).flatten();
    Some(CallRating { sell, buy, margin })
}

fn side(priced: &PricedRate, duration_ms: u64) -> Option<RatedSide> {
    let rate = Rate {
        rate_per_min: priced.rate_per_min,
        terms: warp_policy::deck::Terms {
            initial_s: priced.increment_initial_s,
            next_s: priced.increment_next_s,
            setup_fee: priced.setup_fee,
        },
        code: priced.prefix.parse().ok()?,
        deck: 0,
        currency: priced.currency,
        rounding: Rounding::default(),
    };
    rate::rate_side(&rate, priced.deck_version.clone(), duration_ms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_model::cdr::{CDR_VERSION, Outcome, ReleaseSide};
    use warp_model::{CallId, Nanos, TrunkId, VendorId, VendorTrunkId, Wall};

    fn priced(rate: &str) -> serde_json::Value {
        serde_json::json!({
            "deck_version": "deck_x@1", "prefix": "1415555", "rate_per_min": rate, "increment_initial_s": 6,
            "increment_next_s": 6, "setup_fee": "0", "currency": "USD", "expected_charge": "0", "sum": "",
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
            ingress_ip: [127, 0, 0, 1].into(),
            ingress_user: None,
            caller: String::new(),
            called: String::new(),
            caller_e164: None,
            called_e164: None,
            jurisdiction: None,
            setup_at: at,
            progress_at: None,
            answer_at: Some(at),
            end_at: at,
            pdd_ms: None,
            duration_ms,
            sip_code: 200,
            q850: None,
            release_side: ReleaseSide::System,
            internal_code: "process_restart".into(),
            outcome: Outcome::Answered,
            recovered: true,
            snapshot_id: String::new(),
            route_rank: Some(2),
            vendor_id: Some(VendorId::from_u128(2)),
            vendor_trunk_id: Some(VendorTrunkId::from_u128(22)),
            rating: None,
            media: None,
            decision: decision.map(|d| serde_json::value::to_raw_value(&d).unwrap()),
            legs: Vec::new(),
            node: String::new(),
            resume: None,
        }
    }

    fn decision() -> serde_json::Value {
        let candidate = |rank: u16, id: u128, rate: &str| {
            serde_json::json!({
                "rank": rank, "vendor": VendorId::from_u128(id), "vendor_name": "v",
                "vendor_trunk": VendorTrunkId::from_u128(id * 11), "vendor_trunk_name": "main",
                "jurisdiction": null, "jurisdiction_rule": null, "buy": priced(rate), "expected_margin": null,
            })
        };
        serde_json::json!({
            "version": 1, "snapshot_id": warp_policy::Snapshot::empty().id,
            "inputs": {"trunk": TrunkId::from_u128(5), "caller": "", "called": "", "at": Wall(0), "call_hash": "0",
                       "lrn": null, "live": []},
            "summary": "", "sell": priced("0.012"), "candidates": [candidate(1, 1, "0.002"), candidate(2, 2, "0.004")],
            "excluded": [], "max_duration_s": 3600,
        })
    }

    #[test]
    fn a_recovered_call_costs_what_its_decision_said_for_its_known_duration() {
        let mut call = call(61_001, Some(decision()));
        rate(&mut call);
        let rating = call.rating.unwrap();
        // 62 begun seconds are 66 in increments of six; the vendor that carried it was the second choice.
        assert_eq!((rating.sell.billable_s, rating.sell.charge), (66, Nanos(13_200_000)));
        assert_eq!(rating.buy.charge, Nanos(4_400_000));
        assert_eq!(rating.margin, Some(Nanos(8_800_000)));
        assert_eq!(call.internal_code, "process_restart");
    }

    #[test]
    fn a_recovered_call_that_cannot_be_rated_is_an_alarm_not_free() {
        let mut call = call(61_001, None);
        rate(&mut call);
        assert!(call.rating.is_none());
        assert_eq!(call.internal_code, "rating_failed");
    }
}
