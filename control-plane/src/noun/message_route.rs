//! A route of short messages (RFC 0034).

use serde_json::{Value, json};

use crate::app::caller::Audience;
use crate::app::messaging::MessageDirection;
use crate::store::types::Time;

crate::noun! {
    /// Routes of short messages, of both directions.
    MESSAGE_ROUTE: message_route in message_routes;
    for Operators, called "message route", at "message-routes", scopes of "routing";
    row MessageRouteRow; values MessageRouteValues;
    verbs {
        List "Routes of messages";
        Create "Make a route of messages";
        Read "A route of messages";
        Change "Change a route of messages; live within 1 s";
        Replace "Replace a route of messages; live within 1 s";
        Delete "Delete a route of messages; those under way go on";
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
        direction: String,
        place: i32,
        kind: String,
        targets: Vec<String>,
        account_id: Option<String>,
        group_name: Option<String>,
        bind_id: Option<String>,
        source: Option<String>,
        destination: Option<String>,
        message: Option<String>,
        tag: Option<String>,
        next_when_undelivered: bool,
        next_without_receipt_s: Option<i32>,
        loss_ok: bool,
        reason: String,
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
    }
    filtered {
        direction on direction as MessageDirection, for Operators: "Only routes of this direction.",
    }
    listed { direction, place, kind, destination, source, account_id, targets, reason }
}

fn made() -> Value {
    json!({
        "direction": "from_customer",
        "place": 10,
        "kind": "failover",
        "targets": ["vbd_06f7jv8c1gdyzv3n1v8d5h2k4m"],
        "destination": "1415",
        "next_when_undelivered": true,
        "reason": "the east of the network first"
    })
}

fn changed() -> Value {
    json!({ "destination": "1(415|628)", "next_without_receipt_s": 600 })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "mrt_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "direction": "from_customer",
        "place": 10,
        "kind": "failover",
        "targets": ["vbd_06f7jv8c1gdyzv3n1v8d5h2k4m"],
        "account_id": null,
        "group_name": null,
        "bind_id": null,
        "source": null,
        "destination": "1415",
        "message": null,
        "tag": null,
        "next_when_undelivered": true,
        "next_without_receipt_s": null,
        "loss_ok": false,
        "reason": "the east of the network first",
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
