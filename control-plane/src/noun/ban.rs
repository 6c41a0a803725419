//! A billing account.

use serde_json::{Value, json};
use warp_model::id::CustomerKind;

use crate::app::bans::BanMode;
use crate::app::caller::Audience;
use crate::app::input::{Ref, Text};
use crate::store::types::{Amount, Time};

crate::noun! {
    /// Billing accounts: who pays for calls, how, and how far it may owe.
    BAN: ban in bans, of customers by customer_id;
    for Everybody, called "billing account", at "bans", below its parent "bans", scopes of "customers";
    row BanRow; values BanValues;
    verbs {
        List "Billing accounts", "Billing accounts of all customers";
        Create "", "Make a billing account";
        Read "A billing account";
        Change "", "Change a billing account";
        Replace "", "Replace a billing account";
        Delete "", "Delete a billing account that nothing refers to";
    }
    examples made, changed, seen;
    given {
        id: String,
        customer_id: String,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        name: String,
        /// That of the customer.
        currency: String,
        cycle_day: i32,
        terms_days: i32,
        mode: String,
        credit_limit: Option<Amount>,
        low_balance: Option<Amount>,
    }
    sorted {
        created_at by Id for Everybody,
        updated_at by Time for Everybody,
        customer_id by OtherId for Operators,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only billing accounts of this customer (cus_…).",
        name on name as Text<1, 256>, for Everybody: "Only the billing account of this name, as it is written.",
        mode on mode as BanMode, for Everybody: "Only accounts that pay in this way.",
    }
    listed { customer_id, name, mode, currency, credit_limit }
}

fn made() -> Value {
    json!({
        "name": "voice",
        "cycle_day": 15,
        "terms_days": 15,
        "mode": "postpaid",
        "credit_limit": { "amount": "2500", "currency": "USD" },
        "low_balance": { "amount": "100", "currency": "USD" }
    })
}

fn changed() -> Value {
    json!({ "credit_limit": { "amount": "5000", "currency": "USD" } })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "ban_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "customer_id": "cus_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "name": "voice",
        "currency": "USD",
        "cycle_day": 15,
        "terms_days": 15,
        "mode": "postpaid",
        "credit_limit": { "amount": "2500", "currency": "USD" },
        "low_balance": { "amount": "100", "currency": "USD" },
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
