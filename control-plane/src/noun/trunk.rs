//! A customer's trunk.

use serde_json::{Value, json};
use warp_model::id::{BanKind, CustomerKind};

use crate::app::caller::Audience;
use crate::app::customers::Status;
use crate::app::input::{Ref, Text};
use crate::app::routing::PartitionKind;
use crate::store::types::{Amount, Time};

crate::noun! {
    /// Trunks of customers. Limits without `own_` are the carrier's, those with it the customer's.
    TRUNK: trunk in trunks, of customers by customer_id;
    for Everybody, called "trunk", at "trunks", below its parent "trunks", scopes of "trunks";
    row TrunkRow; values TrunkValues;
    verbs {
        List "Trunks", "Trunks of all customers";
        Create "Make a trunk", "Make a trunk of a customer";
        Read "A trunk";
        Change "Change a trunk; live within 1 s";
        Replace "Replace a trunk; live within 1 s";
        Delete "Delete a trunk; calls in the air go on";
    }
    examples made, changed, seen;
    given {
        id: String,
        customer_id: String,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {
        currency: String,
    }
    written {
        /// Never NULL: what is written without one gets the customer's first.
        ban_id: Option<String>,
        name: String,
        status: String,
        channels: Option<i32>,
        cps: Option<i32>,
        max_rate_per_min: Option<Amount>,
        daily_spend: Option<Amount>,
        max_duration_s: Option<i32>,
        destinations: Vec<String>,
        require_valid_caller: bool,
        own_status: String,
        own_channels: Option<i32>,
        own_cps: Option<i32>,
        own_max_rate_per_min: Option<Amount>,
        own_daily_spend: Option<Amount>,
        own_max_duration_s: Option<i32>,
        /// Destinations that the customer wants; NULL = all that it may.
        own_destinations: Option<Vec<String>>,
        own_require_valid_caller: bool,
        media_ips: Vec<String>,
        strip_prefixes: Vec<String>,
        strip_required: bool,
        trust_asserted: bool,
        identity_trusted: bool,
        identity_form: String,
        caller_format: String,
        diversion_form: String,
        reason_form: String,
        header_rules: Vec<String>,
        codecs: Vec<String>,
        session_expires_s: Option<i32>,
        session_min_s: Option<i32>,
        recording: bool,
        sell_deck_ids: Vec<String>,
        partition_id: Option<String>,
        rounding_mode: String,
        rounding_places: i32,
        partial_second: String,
        rounding_level: String,
    }
    sorted {
        created_at by Id for Everybody,
        updated_at by Time for Everybody,
        customer_id by OtherId for Operators,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only this customer (cus_…).",
        name on name as Text<1, 256>, for Everybody: "Only the trunk of this name, as it is written.",
        ban on ban_id as Ref<BanKind>, for Everybody: "Only trunks that this billing account pays for (ban_…).",
        status on status as Status, for Everybody: "Only trunks that the carrier has in this status.",
        partition on partition_id as Ref<PartitionKind>, for Operators: "Only trunks of this partition (prt_…).",
    }
    listed { customer_id, name, status, channels, cps, partition_id }
}

fn made() -> Value {
    json!({
        "name": "pbx-1",
        "channels": 30,
        "cps": 5,
        "max_rate_per_min": { "amount": "0.05", "currency": "USD" },
        "destinations": ["domestic", "toll_free"],
        "media_ips": ["198.51.100.9"]
    })
}

fn changed() -> Value {
    json!({ "channels": 60, "max_rate_per_min": null })
}

fn seen(audience: Audience) -> Value {
    let given = json!({
        "status": "active",
        "channels": 30,
        "cps": 5,
        "max_rate_per_min": { "amount": "0.05", "currency": "USD" },
        "daily_spend": null,
        "max_duration_s": null,
        "destinations": ["domestic", "toll_free"],
        "require_valid_caller": false
    });
    // What the other side says when it has said nothing.
    let other = |destinations: Value| {
        json!({
            "status": "active",
            "channels": null,
            "cps": null,
            "max_rate_per_min": null,
            "daily_spend": null,
            "max_duration_s": null,
            "destinations": destinations,
            "require_valid_caller": false
        })
    };
    let (carrier, customer) = match audience {
        Audience::Customer => {
            let usual =
                json!(["domestic", "toll_free", "canada", "us_territory", "nanp_country", "international"]);
            (other(usual), given.clone())
        }
        Audience::Operator => (given.clone(), other(Value::Null)),
    };
    let mut whole = json!({
        "id": "trk_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "customer_id": "cus_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "ban_id": "ban_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "name": "pbx-1",
        "media_ips": ["198.51.100.9"],
        "strip_prefixes": [],
        "strip_required": false,
        "trust_asserted": false,
        "identity_trusted": false,
        "identity_form": "as_received",
        "caller_format": "as_received",
        "diversion_form": "as_received",
        "reason_form": "as_received",
        "header_rules": [],
        "codecs": [],
        "session_expires_s": null,
        "session_min_s": null,
        "recording": false,
        "sell_deck_ids": [],
        "partition_id": null,
        "rounding_mode": "half_away_from_zero",
        "rounding_places": 6,
        "partial_second": "up",
        "rounding_level": "call",
        "limits": { "in_force": given, "carrier": carrier, "customer": customer },
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    });
    if let (Value::Object(whole), Value::Object(given)) = (&mut whole, given) {
        whole.extend(given);
    }
    whole
}
