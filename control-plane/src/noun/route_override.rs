//! An override: calls that another partition routes than that of their trunk, for a time.

use serde_json::{Value, json};
use warp_model::id::{CustomerKind, TrunkKind};

use crate::app::caller::Audience;
use crate::app::input::{DialCode, Ref};
use crate::app::routing::PartitionKind;
use crate::store::types::Time;

crate::noun! {
    /// Overrides. The most specific one decides: of a trunk, of a customer, of a route, of every call.
    OVERRIDE: override in overrides;
    for Operators, called "override", at "overrides", scopes of "routing";
    row OverrideRow; values OverrideValues;
    verbs {
        List "Overrides of routing";
        Create "Route calls by another partition for a time";
        Read "An override";
        Change "Change an override; live within 1 s";
        Replace "Replace an override; live within 1 s";
        Delete "End an override at once";
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
        partition_id: String,
        trunk_id: Option<String>,
        customer_id: Option<String>,
        code: Option<String>,
        /// A class of destinations.
        class: Option<String>,
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
        trunk on trunk_id as Ref<TrunkKind>, for Operators: "Only overrides of this trunk (trk_…).",
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only overrides of this customer (cus_…).",
        partition on partition_id as Ref<PartitionKind>, for Operators: "Only overrides to this partition (prt_…).",
        code on code as DialCode, for Operators: "Only overrides of exactly this dial code.",
    }
    listed { partition_id, trunk_id, customer_id, code, class, ends_at, reason }
}

fn made() -> Value {
    json!({
        "partition_id": "prt_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "code": "1212",
        "reason": "maintenance of the New York switch, ticket 812",
        "ends_at": "2099-01-01T00:00:00.000Z",
        "days": ["sat", "sun"],
        "hours": "22:00-06:00",
        "utc_offset_min": -300
    })
}

fn changed() -> Value {
    json!({ "ends_at": "2098-01-01T00:00:00.000Z", "days": [] })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "ovr_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "partition_id": "prt_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "trunk_id": null,
        "customer_id": null,
        "code": "1212",
        "class": null,
        "reason": "maintenance of the New York switch, ticket 812",
        "starts_at": null,
        "ends_at": "2099-01-01T00:00:00.000Z",
        "days": ["sat", "sun"],
        "hours": "22:00-06:00",
        "utc_offset_min": -300,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
