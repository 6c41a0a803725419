//! The record of a call that says little, for tests of what carries it.

use warp_model::cdr::{CDR_VERSION, CallRecord, Outcome, ReleaseSide};
use warp_model::{CallId, Wall};

/// The call of this number, answered or busy, at a time of its own.
pub fn call(n: u128, answered: bool) -> Box<CallRecord> {
    let at = Wall::from_unix_ms(1_700_000_000_000 + n as i64);
    Box::new(CallRecord {
        cdr_id: CallId::new(at, n),
        version: CDR_VERSION,
        sip_call_id: format!("call-{n}@test"),
        customer_id: None,
        trunk_id: None,
        direction: Default::default(),
        on_net: false,
        number_id: None,
        ingress_ip: [127, 0, 0, 1].into(),
        ingress_user: None,
        caller: "+12025550100".into(),
        private: false,
        called: "+14155550123".into(),
        caller_e164: None,
        called_e164: None,
        jurisdiction: None,
        setup_at: at,
        progress_at: None,
        answer_at: answered.then_some(at),
        end_at: at,
        pdd_ms: None,
        duration_ms: 0,
        sip_code: if answered { 200 } else { 486 },
        q850: None,
        release_side: ReleaseSide::Caller,
        internal_code: String::new(),
        outcome: if answered { Outcome::Answered } else { Outcome::Busy },
        recovered: false,
        snapshot_id: "snap".into(),
        route_rank: None,
        vendor_id: None,
        vendor_trunk_id: None,
        rating: None,
        media: None,
        decision: None,
        legs: Vec::new(),
        node: "test".into(),
        paid: None,
        resume: None,
    })
}
