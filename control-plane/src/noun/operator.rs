//! A person of the carrier.

use serde_json::{Value, json};

use crate::app::caller::Audience;
use crate::app::input::Text;
use crate::app::permission::OperatorRole;
use crate::store::types::Time;

crate::noun! {
    /// The carrier's own people. Who they are, the issuer says; what they may, their role.
    OPERATOR: operator in operators;
    for Operators, called "operator", at "operators", scopes of "users";
    row OperatorRow; values OperatorValues;
    verbs {
        List "The carrier's people";
        Create "Make an operator";
        Read "An operator";
        Change "Change an operator; in force with its next request";
        Replace "Replace an operator; in force with its next request";
        Delete "Delete an operator; its next request is refused";
    }
    examples made, changed, seen;
    given {
        id: String,
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
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
    }
    filtered {
        role on role as OperatorRole, for Operators: "Only operators with this role.",
        subject on subject as Text<1, 256>, for Operators: "Only the operator of this subject at the issuer.",
    }
    listed { name, email, role, status }
}

fn made() -> Value {
    json!({ "name": "Grace Hopper", "email": "grace@carrier.example", "role": "noc", "subject": "auth0|65f0c2b2" })
}

fn changed() -> Value {
    json!({ "role": "billing", "email": null })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "usr_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "name": "Grace Hopper",
        "email": "grace@carrier.example",
        "role": "noc",
        "status": "active",
        "issuer": "https://login.example/",
        "subject": "auth0|65f0c2b2",
        "last_seen_at": null,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
