//! The record of an inbound decision as bytes, for the call path: written in one pass, without serde (`warp_model::json`).
//! `tests/written.rs` holds that both forms are one.

use warp_model::json::{ToJson, word};
use warp_model::{json_field, json_object};

use super::explain::{InboundInputs, InboundRecord, TargetRecord};
use crate::numbers::{Destination, TrunkTarget};

json_object!(InboundRecord {
    version,
    direction,
    snapshot_id,
    inputs,
    summary,
    refusal,
    vendor,
    vendor_name,
    called,
    number,
    customer,
    class,
    caller,
    caller_class,
    orig_state,
    term_state,
    jurisdiction,
    jurisdiction_rule,
    sell,
    buy,
    exchange unless(Option::is_none),
    destination,
    targets,
    unusable,
    max_duration_s,
});
json_object!(TargetRecord { rank, trunk, trunk_name, user unless(Option::is_none) });
json_object!(TrunkTarget { trunk, user unless(Option::is_none), priority, weight });

/// By hand, because its first fields may be left out.
impl ToJson for InboundInputs {
    fn to_json(&self, out: &mut Vec<u8>) {
        let InboundInputs { vendor_trunk, trunk, caller, called, at, call_hash, callback } = self;
        out.push(b'{');
        if let Some(id) = vendor_trunk {
            out.extend_from_slice(b"\"vendor_trunk\":");
            id.to_json(out);
            out.push(b',');
        }
        if let Some(id) = trunk {
            out.extend_from_slice(b"\"trunk\":");
            id.to_json(out);
            out.push(b',');
        }
        out.extend_from_slice(b"\"caller\":");
        caller.to_json(out);
        json_field!(out, called);
        json_field!(out, at);
        json_field!(out, call_hash);
        json_field!(out, callback);
        out.push(b'}');
    }
}

impl ToJson for Destination {
    fn to_json(&self, out: &mut Vec<u8>) {
        match self {
            Destination::Nowhere => word("nowhere", out),
            Destination::Trunks(list) => {
                out.extend_from_slice(b"{\"trunks\":");
                list.to_json(out);
                out.push(b'}');
            }
        }
    }
}
