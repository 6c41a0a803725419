//! An opt-out: a recipient does not want to hear of a sender.

use serde_json::{Value, json};
use warp_model::id::CustomerKind;

use crate::app::caller::Audience;
use crate::app::input::{Digits, Ref};
use crate::app::opt_outs::OptOutStatus;
use crate::store::types::Time;

crate::noun! {
    /// Recipients who do not want to hear of a sender of a customer: by STOP, or written down for them. They are lifted, and never deleted.
    OPT_OUT: opt_out in opt_outs, of customers by customer_id;
    for Everybody, called "opt-out", at "opt-outs", below its parent "opt-outs", scopes of "messages";
    row OptOutRow; values OptOutValues;
    verbs {
        List "Opt-outs", "Opt-outs of all customers";
        Create "Write down that a recipient wants no more messages of a sender; live within 1 s",
            "Write down that a recipient wants no more messages of a sender; live within 1 s";
        Read "An opt-out";
        Change "Lift an opt-out, with the reason; live within 1 s";
    }
    examples made, changed, seen;
    given {
        id: String,
        customer_id: String,
        message_id: Option<String>,
        said_at: Time,
        lifted_at: Option<Time>,
        lifted_message_id: Option<String>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        sender: String,
        recipient: String,
        status: String,
        reason: String,
    }
    sorted {
        created_at by Id for Everybody,
        updated_at by Time for Everybody,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only this customer (cus_…).",
        sender on sender as Digits, for Everybody: "Only opt-outs of this sender: its digits, without +.",
        recipient on recipient as Digits, for Everybody: "Only this recipient: its digits, without +.",
        status on status as OptOutStatus, for Everybody: "Only those that stand so.",
    }
    listed { customer_id, sender, recipient, status, reason }
}

fn made() -> Value {
    json!({ "sender": "+12025550100", "recipient": "+14155550124", "reason": "asked for it by telephone, ticket 5120" })
}

fn changed() -> Value {
    json!({ "status": "lifted", "reason": "wants the messages again, letter of 1 December" })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "opt_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "customer_id": "cus_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "sender": "12025550100",
        "recipient": "14155550124",
        "status": "out",
        "reason": "asked for it by telephone, ticket 5120",
        "message_id": null,
        "said_at": "2026-11-30T12:00:00.000Z",
        "lifted_at": null,
        "lifted_message_id": null,
        "explanation": "It was written down that 14155550124 wants no messages from 12025550100; they are refused.",
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
