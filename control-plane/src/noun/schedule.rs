//! A schedule: a job that is begun at times of a calendar.

use serde_json::{Value, json};
use warp_model::id::CustomerKind;

use crate::app::caller::Audience;
use crate::app::input::{Ref, Text};
use crate::app::jobs::JobTask;
use crate::app::schedules::ScheduleStatus;
use crate::store::types::{Json, Time};

crate::noun! {
    /// Schedules: a customer's own, and the carrier's.
    SCHEDULE: schedule in schedules;
    for Everybody, called "schedule", at "schedules", scopes of "jobs";
    row ScheduleRow; values ScheduleValues;
    verbs {
        List "Schedules", "Schedules of the carrier and of all customers";
        Create "Make a schedule, which begins a job at each of its times", "Make a schedule of the carrier";
        Read "A schedule";
        Change "Change a schedule; `status` paused lets its times go by";
        Replace "Replace a schedule";
        Delete "Delete a schedule; its jobs stay";
    }
    examples made, changed, seen;
    given {
        id: String,
        last_due_at: Option<Time>,
        last_job_id: Option<String>,
        missed: i32,
        last_missed_at: Option<Time>,
        error: Option<String>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        customer_id: Option<String>,
        name: String,
        kind: String,
        call_export: Option<Json>,
        period_of: String,
        every: String,
        at: String,
        day: Option<i32>,
        time_zone: String,
        missed_runs: String,
        status: String,
        next_at: Option<Time>,
    }
    sorted {
        created_at by Id for Everybody,
        updated_at by Time for Everybody,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only schedules of this customer (cus_…).",
        name on name as Text<1, 256>, for Everybody: "Only schedules of this name, as it is written.",
        kind on kind as JobTask, for Everybody: "Only schedules that begin such jobs.",
        status on status as ScheduleStatus, for Everybody: "Only schedules that stand so.",
    }
    listed { customer_id, name, kind, status, every, next_at, error }
}

fn made() -> Value {
    json!({
        "name": "calls-of-each-day",
        "kind": "call_export",
        "call_export": { "format": "csv" },
        "every": "day",
        "at": "02:00",
        "time_zone": "America/New_York"
    })
}

fn changed() -> Value {
    json!({ "at": "03:30" })
}

fn seen(audience: Audience) -> Value {
    let operator = audience == Audience::Operator;
    json!({
        "id": "sch_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "customer_id": if operator { Value::Null } else { json!("cus_06f7jv8bxm3e7s0q9tk4w1n2pr") },
        "name": "calls-of-each-day",
        "kind": "call_export",
        "call_export": {
            "format": "csv",
            "trunk_id": null,
            "code": null,
            "outcome": null,
            "direction": null,
            "called": null,
            "caller": null,
            "setup_from": null,
            "setup_before": null,
            "posted_from": null,
            "posted_before": null,
            "call_id": null,
            "cursor": null,
            "vendor_id": null,
            "customer_id": null
        },
        "period_of": "posted",
        "every": "day",
        "at": "02:00",
        "day": null,
        "time_zone": "America/New_York",
        "missed_runs": "each",
        "status": "active",
        "next_at": "2026-12-01T07:00:00.000Z",
        "last_due_at": null,
        "last_job_id": null,
        "missed": 0,
        "last_missed_at": null,
        "error": null,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
