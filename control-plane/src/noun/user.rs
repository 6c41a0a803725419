//! A person of a customer.

use serde_json::{Value, json};
use warp_model::id::CustomerKind;

use crate::app::caller::Audience;
use crate::app::input::{Ref, Text};
use crate::app::permission::CustomerRole;
use crate::store::types::Time;

crate::noun! {
    /// Users of customers. Who they are, the issuer says; what they may, their role.
    USER: user in users, of customers by customer_id;
    for Everybody, called "user", at "users", below its parent "users", scopes of "users";
    row UserRow; values UserValues;
    verbs {
        List "Users", "Users of all customers";
        Create "Make a user", "Make a user of a customer";
        Read "A user";
        Change "Change a user; in force with its next request";
        Replace "Replace a user; in force with its next request";
        Delete "Delete a user; its next request is refused";
    }
    examples made, changed, seen;
    given {
        id: String,
        customer_id: String,
        last_seen_at: Option<Time>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        name: String,
        email: Option<String>,
        role: String,
        status: String,
        issuer: String,
        subject: String,
        organisation: String,
    }
    sorted {
        created_at by Id for Everybody,
        updated_at by Time for Everybody,
        customer_id by OtherId for Operators,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only users of this customer (cus_…).",
        role on role as CustomerRole, for Everybody: "Only users with this role.",
        subject on subject as Text<1, 256>, for Everybody: "Only the user of this subject at the issuer.",
    }
    listed { customer_id, name, email, role, status }
}

fn made() -> Value {
    json!({ "name": "Ada Byron", "email": "ada@acme.example", "role": "engineer", "subject": "auth0|65f0c2a1" })
}

fn changed() -> Value {
    json!({ "role": "billing", "email": null })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "usr_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "customer_id": "cus_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "name": "Ada Byron",
        "email": "ada@acme.example",
        "role": "engineer",
        "status": "active",
        "issuer": "https://login.example/",
        "subject": "auth0|65f0c2a1",
        "organisation": "",
        "last_seen_at": null,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
