//! A webhook: where events of a customer, or those that the carrier reads, are sent.

use serde_json::{Value, json};
use warp_model::id::CustomerKind;

use crate::app::caller::Audience;
use crate::app::input::{Ref, Text};
use crate::app::webhooks::WebhookStatus;
use crate::store::types::{Sealed, Time};

crate::noun! {
    /// Webhooks: where events are sent, those of a customer to its own, those of all to the carrier's.
    WEBHOOK: webhook in webhooks, of customers by customer_id or the carrier "Make a webhook of the carrier; its secret is shown once";
    for Everybody, called "webhook", at "webhooks", below its parent "webhooks", scopes of "webhooks";
    row WebhookRow; values WebhookValues;
    verbs {
        List "Webhooks", "Webhooks of the carrier and of all customers";
        Create "Make a webhook; its secret is shown once", "Make a webhook of a customer; its secret is shown once";
        Read "A webhook";
        Change "Change a webhook; `status` active takes one up again that was disabled";
        Replace "Replace a webhook";
        Delete "Delete a webhook with its deliveries";
    }
    examples made, changed, seen;
    given {
        id: String,
        customer_id: Option<String>,
        secret_before_until: Option<Time>,
        failing_since: Option<Time>,
        disabled_at: Option<Time>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        name: String,
        url: String,
        events: Vec<String>,
        status: String,
        secret_sealed: Sealed as Secret (signing_secret),
    }
    sorted {
        created_at by Id for Everybody,
        updated_at by Time for Everybody,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only webhooks of this customer (cus_…).",
        name on name as Text<1, 256>, for Everybody: "Only webhooks of this name, as it is written.",
        status on status as WebhookStatus, for Everybody: "Only webhooks in this state.",
    }
    listed { customer_id, name, status, events, url }
}

fn made() -> Value {
    json!({
        "name": "billing",
        "url": "https://hooks.acme.example/warp",
        "events": ["balance.low", "limit.reached"]
    })
}

fn changed() -> Value {
    json!({ "events": ["balance.low", "limit.reached", "call.completed"] })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "whk_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "customer_id": "cus_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "name": "billing",
        "url": "https://hooks.acme.example/warp",
        "events": ["balance.low", "limit.reached"],
        "status": "active",
        "secret_before_until": null,
        "failing_since": null,
        "disabled_at": null,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
