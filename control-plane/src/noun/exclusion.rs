//! An exclusion: a vendor that is not used, everywhere or below a dial code, for a time.

use serde_json::{Value, json};
use warp_model::id::VendorKind;

use crate::app::caller::Audience;
use crate::app::input::{Digits, Ref};
use crate::app::routing::ExclusionReason;
use crate::store::types::Time;

crate::noun! {
    /// Exclusions of vendors. All but permanent ones end by themselves.
    EXCLUSION: exclusion in exclusions;
    for Operators, called "exclusion", at "exclusions", scopes of "routing";
    row ExclusionRow; values ExclusionValues;
    verbs {
        List "Vendors not to be used";
        Create "Exclude a vendor for a time";
        Read "An exclusion";
        Change "Change an exclusion, for example when it ends";
        Replace "Replace an exclusion";
        Delete "End an exclusion at once";
    }
    examples made, changed, seen;
    given {
        id: String,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        vendor_id: String,
        code: Option<String>,
        kind: String,
        reason: String,
        starts_at: Option<Time>,
        ends_at: Option<Time>,
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
        vendor_id by OtherId for Operators,
    }
    filtered {
        vendor on vendor_id as Ref<VendorKind>, for Operators: "Only exclusions of this vendor (vnd_…).",
        kind on kind as ExclusionReason, for Operators: "Only exclusions of this kind.",
        code on code as Digits, for Operators: "Only exclusions of exactly this dial code.",
    }
    listed { vendor_id, code, kind, starts_at, ends_at, reason }
}

fn made() -> Value {
    json!({
        "vendor_id": "vnd_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "code": "4420",
        "kind": "quality",
        "reason": "one-way audio, ticket 4711",
        "ends_at": "2099-01-01T00:00:00.000Z"
    })
}

fn changed() -> Value {
    json!({ "ends_at": "2098-01-01T00:00:00.000Z", "reason": "one-way audio, ticket 4711, half solved" })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "exc_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "vendor_id": "vnd_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "code": "4420",
        "kind": "quality",
        "reason": "one-way audio, ticket 4711",
        "starts_at": null,
        "ends_at": "2099-01-01T00:00:00.000Z",
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
