//! A short message, as its records tell it. Nobody writes one here but the reader of the queue.

use serde_json::{Value, json};
use warp_model::id::CustomerKind;

use crate::app::caller::Audience;
use crate::app::input::{Digits, Ref, Text};
use crate::app::messages::MessageStatus;
use crate::app::messaging::{MessageDirection, SmppAccountKind, VendorBindKind};
use crate::store::types::{Amount, Json, Time};

crate::noun! {
    /// Short messages of the last 30 days, either way.
    MESSAGE: message in messages, of customers by customer_id;
    for Everybody, called "message", at "messages", below its parent "messages", scopes of "messages";
    row MessageRow; values MessageValues;
    verbs {
        List "Messages, newest first", "Messages of all customers, newest first";
        Read "A message with its timeline";
    }
    examples nothing, nothing, seen;
    given {
        id: String,
        customer_id: String,
        account_id: String,
        direction: String,
        status: String,
        source: String,
        destination: String,
        segments: i32,
        parts: i32,
        error: Option<i32>,
        not_before: Option<Time>,
        expires_at: Option<Time>,
        finished_at: Option<Time>,
        timeline: Json,
        currency: String,
        price: Option<Amount>,
        refunded: bool,
        cost: Option<Json> as Operators,
        bind_id: Option<String> as Operators,
        carrier_id: Option<String> as Operators,
        place: i32 as Operators,
        moves: i32 as Operators,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        dropped_at: Option<Time> as Operators,
    }
    sorted {
        created_at by Id for Everybody,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only messages of this customer (cus_…).",
        account on account_id as Ref<SmppAccountKind>, for Everybody: "Only messages of this account (sac_…).",
        direction on direction as MessageDirection, for Everybody: "Only messages that went this way.",
        status on status as MessageStatus, for Everybody: "Only messages that stand so.",
        to on destination as Digits, for Everybody: "Only messages to this number: its digits, without +.",
        from on source as Text<1, 20>, for Everybody: "Only messages from this address, as it was sent; of a number its digits, without +.",
        bind on bind_id as Ref<VendorBindKind>, for Operators: "Only messages that this bind had last (vbd_…).",
    }
    listed { direction, source, destination, status, segments, price }
}

/// A message is neither made nor changed here.
fn nothing() -> Value {
    json!({})
}

fn seen(audience: Audience) -> Value {
    let mut message = json!({
        "id": "msg_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "customer_id": "cus_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "account_id": "sac_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "direction": "from_customer",
        "status": "delivered",
        "source": "12025550100",
        "destination": "14155550124",
        "segments": 1,
        "parts": 1,
        "error": 0,
        "explanation": "It was delivered 180 ms after it was taken.",
        "not_before": null,
        "expires_at": "2026-12-01T12:00:00.000Z",
        "finished_at": "2026-11-30T12:00:00.180Z",
        "timeline": [
            { "at": "2026-11-30T12:00:00.000Z", "step": "accepted" },
            { "at": "2026-11-30T12:00:00.002Z", "step": "sent" },
            { "at": "2026-11-30T12:00:00.040Z", "step": "carried" },
            { "at": "2026-11-30T12:00:00.180Z", "step": "delivered", "error": 0 }
        ],
        "currency": "USD",
        "price": { "amount": "0.0075", "currency": "USD" },
        "refunded": false,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.180Z",
        "version": 1
    });
    if audience == Audience::Operator {
        message["cost"] = json!({ "amount": "0.0051", "currency": "USD" });
        message["bind_id"] = json!("vbd_06f7jv8bxm3e7s0q9tk4w1n2pr");
        message["carrier_id"] = json!("5f3a9");
        message["place"] = json!(10);
        message["moves"] = json!(0);
        message["dropped_at"] = Value::Null;
    }
    message
}
