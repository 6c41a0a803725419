//! A partition: a set of vendors and how to choose among them. Its vendors stand in a table of their own.

use serde_json::{Value, json};

use crate::app::caller::Audience;
use crate::app::input::Text;
use crate::store::types::{Amount, Time};

crate::noun! {
    /// Partitions. What the customer pays does not depend on them.
    PARTITION: partition in partitions;
    for Operators, called "partition", at "partitions", scopes of "routing", amounts in margin_currency;
    row PartitionRow; values PartitionValues;
    verbs {
        List "Partitions";
        Create "Make a partition";
        Read "A partition";
        Change "Change a partition";
        Replace "Replace a partition";
        Delete "Delete an unused partition";
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
        name: String,
        strategy: String,
        max_candidates: i32,
        /// Duration that prices are compared for.
        expected_duration_s: i32,
        margin_per_min: Amount,
        margin_currency: String,
        /// Margin in hundredths of a percent.
        margin_bps: i32,
        /// Carry calls below the margin too.
        loss_ok: bool,
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
        name by Text for Operators,
    }
    filtered {
        name on name as Text<1, 256>, for Operators: "Only the partition of this name.",
    }
    listed { name, strategy, max_candidates, loss_ok }
}

fn made() -> Value {
    json!({
        "name": "Premium",
        "strategy": "priority_cost",
        "max_candidates": 3,
        "margin_per_min": { "amount": "0.001", "currency": "USD" },
        "margin_bps": 500
    })
}

fn changed() -> Value {
    json!({ "strategy": "cost", "max_candidates": 2 })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "prt_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "name": "Premium",
        "strategy": "priority_cost",
        "max_candidates": 3,
        "expected_duration_s": 180,
        "margin_per_min": { "amount": "0.001", "currency": "USD" },
        "margin_bps": 500,
        "loss_ok": false,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1,
        "vendors": []
    })
}
