//! An SMPP account: what a customer sends and receives short messages by.

use serde_json::{Value, json};
use warp_model::id::{BanKind, CustomerKind};

use crate::app::caller::Audience;
use crate::app::input::{Ref, Text};
use crate::store::types::{Sealed, Time};

crate::noun! {
    /// SMPP accounts: who binds, how much it may send, and from which addresses. Messages over REST go by one too.
    SMPP_ACCOUNT: smpp_account in smpp_accounts, of customers by customer_id;
    for Everybody, called "SMPP account", at "smpp-accounts", below its parent "smpp-accounts", scopes of "messages";
    row SmppAccountRow; values SmppAccountValues;
    verbs {
        List "SMPP accounts", "SMPP accounts of all customers";
        Create "", "Make an SMPP account";
        Read "An SMPP account";
        Change "", "Change an SMPP account; live within 1 s";
        Replace "", "Replace an SMPP account; live within 1 s";
        Delete "", "Delete an SMPP account; its binds end";
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
        /// Never NULL: what is written without one gets the customer's first.
        ban_id: Option<String>,
        name: String,
        status: String,
        system_id: String,
        secret: Sealed as Secret (password),
        messages_per_s: Option<i32>,
        binds: i32,
        send_window: i32,
        senders: Option<Vec<String>>,
        group_name: Option<String>,
        marketing: bool,
    }
    sorted {
        created_at by Id for Everybody,
        updated_at by Time for Everybody,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only this customer (cus_…).",
        name on name as Text<1, 256>, for Everybody: "Only the account of this name, as it is written.",
        system_id on system_id as Text<1, 15>, for Everybody: "Only the account that binds by this name.",
        ban on ban_id as Ref<BanKind>, for Everybody: "Only accounts that this billing account pays for (ban_…).",
    }
    listed { customer_id, name, system_id, status, messages_per_s, binds }
}

fn made() -> Value {
    json!({
        "name": "alerts",
        "system_id": "acme-alerts",
        "password": "k7#Lw2pX",
        "messages_per_s": 50,
        "senders": ["+12025550100", "ACME"]
    })
}

fn changed() -> Value {
    json!({ "messages_per_s": 100, "senders": null })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "sac_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "customer_id": "cus_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "ban_id": "ban_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "name": "alerts",
        "status": "active",
        "system_id": "acme-alerts",
        "messages_per_s": 50,
        "binds": 8,
        "send_window": 100,
        "senders": ["+12025550100", "ACME"],
        "group_name": null,
        "marketing": false,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
