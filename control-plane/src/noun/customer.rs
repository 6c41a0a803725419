//! A customer: a tenant of the platform. Operators make and change customers; a customer reads itself at `/api/v1/customer`.

use serde_json::{Value, json};

use crate::app::caller::Audience;
use crate::app::customers::Status;
use crate::app::input::{Ref, Text};
use crate::app::routing::PartitionKind;
use crate::store::types::{Amount, Time};

crate::noun! {
    /// Customers. Their limits are the carrier's.
    CUSTOMER: customer in customers;
    for Operators, called "customer", at "customers", scopes of "customers";
    row CustomerRow; values CustomerValues;
    verbs {
        List "Customers";
        Create "Make a customer";
        Read "A customer";
        Change "Change a customer";
        Replace "Replace a customer";
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
        name: String,
        status: String,
        currency: String,
        channels: Option<i32>,
        cps: Option<i32>,
        max_rate_per_min: Option<Amount>,
        daily_spend: Option<Amount>,
        utc_offset_min: i32,
        sell_deck_ids: Vec<String>,
        partition_id: Option<String>,
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
        name by Text for Operators,
    }
    filtered {
        name on name as Text<1, 256>, for Operators: "Only customers of this name, as it is written.",
        status on status as Status, for Operators: "Only customers of this status.",
        partition on partition_id as Ref<PartitionKind>, for Operators: "Only customers of this partition (prt_…).",
    }
    listed { name, status, currency, daily_spend, partition_id }
}

fn made() -> Value {
    json!({
        "name": "Acme Telecom",
        "currency": "USD",
        "channels": 500,
        "cps": 20,
        "daily_spend": { "amount": "2500", "currency": "USD" },
        "utc_offset_min": -300
    })
}

fn changed() -> Value {
    json!({ "channels": 800, "daily_spend": null })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "cus_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "name": "Acme Telecom",
        "status": "active",
        "currency": "USD",
        "channels": 500,
        "cps": 20,
        "max_rate_per_min": null,
        "daily_spend": { "amount": "2500", "currency": "USD" },
        "utc_offset_min": -300,
        "sell_deck_ids": [],
        "partition_id": null,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
