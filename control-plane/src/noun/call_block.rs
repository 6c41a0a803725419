//! A block: calls that are not carried, for a time.

use serde_json::{Value, json};
use warp_model::id::{CustomerKind, TrunkKind};

use crate::app::caller::Audience;
use crate::app::input::{DialCode, Ref};
use crate::store::types::Time;

crate::noun! {
    /// Blocks of calls, by destination, by caller or by both. A call for help is never blocked.
    BLOCK: block in blocks;
    for Operators, called "block", at "blocks", scopes of "routing";
    row BlockRow; values BlockValues;
    verbs {
        List "Blocks of calls";
        Create "Refuse calls for a time";
        Read "A block";
        Change "Change a block; live within 1 s";
        Replace "Replace a block; live within 1 s";
        Delete "End a block at once";
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
        trunk_id: Option<String>,
        customer_id: Option<String>,
        code: Option<String>,
        /// A class of destinations.
        class: Option<String>,
        caller_code: Option<String>,
        reason: String,
        starts_at: Option<Time>,
        ends_at: Option<Time>,
        days: Vec<String>,
        hours: Option<String>,
        utc_offset_min: i32,
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
    }
    filtered {
        trunk on trunk_id as Ref<TrunkKind>, for Operators: "Only blocks of this trunk (trk_…).",
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only blocks of this customer (cus_…).",
        code on code as DialCode, for Operators: "Only blocks of exactly this dial code.",
        caller_code on caller_code as DialCode, for Operators: "Only blocks of exactly this code of callers.",
    }
    listed { trunk_id, customer_id, code, class, caller_code, ends_at, reason }
}

fn made() -> Value {
    json!({
        "code": "2524",
        "reason": "calls to Somalia in the night, ticket 915",
        "ends_at": "2099-01-01T00:00:00.000Z"
    })
}

fn changed() -> Value {
    json!({ "ends_at": "2098-01-01T00:00:00.000Z", "caller_code": "1212" })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "blk_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "trunk_id": null,
        "customer_id": null,
        "code": "2524",
        "class": null,
        "caller_code": null,
        "reason": "calls to Somalia in the night, ticket 915",
        "starts_at": null,
        "ends_at": "2099-01-01T00:00:00.000Z",
        "days": [],
        "hours": null,
        "utc_offset_min": 0,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
