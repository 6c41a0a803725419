//! A bind to a vendor of short messages.

use serde_json::{Value, json};
use warp_model::id::VendorKind;

use crate::app::caller::Audience;
use crate::app::input::{Ref, Text};
use crate::app::messaging::BindStatus;
use crate::store::types::{Sealed, Time};

crate::noun! {
    /// Binds to vendors, where short messages go out.
    VENDOR_BIND: vendor_bind in vendor_binds, of vendors by vendor_id;
    for Operators, called "vendor bind", at "vendor-binds", below its parent "binds", scopes of "vendors";
    row VendorBindRow; values VendorBindValues;
    verbs {
        List "Binds to vendors of messages";
        Create "Make a bind to a vendor";
        Read "A bind to a vendor";
        Change "Change a bind to a vendor; live within 1 s";
        Replace "Replace a bind to a vendor; live within 1 s";
        Delete "Delete a bind to a vendor; what waits for it goes to the next of its route";
    }
    examples made, changed, seen;
    given {
        id: String,
        vendor_id: String,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        name: String,
        status: String,
        addresses: Vec<String>,
        tls_name: Option<String>,
        system_id: String,
        password: Sealed as Secret,
        system_type: String,
        send_window: i32,
        messages_per_s: Option<i32>,
        message_ids: String,
        in_doubt: String,
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
    }
    filtered {
        vendor on vendor_id as Ref<VendorKind>, for Operators: "Only this vendor (vnd_…).",
        name on name as Text<1, 256>, for Operators: "Only the bind of this name, as it is written.",
        status on status as BindStatus, for Operators: "Only binds that stand so.",
    }
    listed { vendor_id, name, status, system_id, addresses }
}

fn made() -> Value {
    json!({
        "name": "east",
        "addresses": ["192.0.2.30:2775", "192.0.2.31:2775"],
        "system_id": "warp",
        "password": "theirs-1",
        "send_window": 10,
        "messages_per_s": 100,
        "message_ids": "hex_then_decimal"
    })
}

fn changed() -> Value {
    json!({ "status": "paused", "messages_per_s": null })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "vbd_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "vendor_id": "vnd_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "name": "east",
        "status": "active",
        "addresses": ["192.0.2.30:2775", "192.0.2.31:2775"],
        "tls_name": null,
        "system_id": "warp",
        "system_type": "",
        "send_window": 10,
        "messages_per_s": 100,
        "message_ids": "hex_then_decimal",
        "in_doubt": "send_again",
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
