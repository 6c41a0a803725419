//! The price of one segment of a short message.

use serde_json::{Value, json};
use warp_model::id::{CustomerKind, VendorKind};

use crate::app::caller::Audience;
use crate::app::input::{DialCode, Ref};
use crate::store::types::{Amount, Time};

crate::noun! {
    /// Prices of one segment, by the digits with which the destination begins: what customers pay, and what vendors ask.
    MESSAGE_PRICE: message_price in message_prices;
    for Operators, called "message price", at "message-prices", scopes of "decks";
    row MessagePriceRow; values MessagePriceValues;
    verbs {
        List "Prices of messages";
        Create "Say what a segment costs";
        Read "A price of messages";
        Change "Change a price of messages; live within 1 s";
        Replace "Replace a price of messages; live within 1 s";
        Delete "Forget a price of messages; what it priced is not carried";
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
        customer_id: Option<String>,
        vendor_id: Option<String>,
        code: String,
        price: Amount,
        currency: String,
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only what this customer pays (cus_…).",
        vendor on vendor_id as Ref<VendorKind>, for Operators: "Only what this vendor asks (vnd_…).",
        code on code as DialCode, for Operators: "Only the price of exactly this code.",
    }
    listed { customer_id, vendor_id, code, price }
}

fn made() -> Value {
    json!({ "code": "1", "price": { "amount": "0.0075", "currency": "USD" } })
}

fn changed() -> Value {
    json!({ "price": { "amount": "0.0079", "currency": "USD" } })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "smp_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "customer_id": null,
        "vendor_id": null,
        "code": "1",
        "price": { "amount": "0.0075", "currency": "USD" },
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
