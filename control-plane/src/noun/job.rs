//! A job: work that takes longer than a request.

use serde_json::{Value, json};
use warp_model::id::CustomerKind;

use crate::app::caller::Audience;
use crate::app::input::{Ref, Text};
use crate::app::jobs::{JobStatus, JobTask};
use crate::app::schedules::ScheduleKind;
use crate::store::types::{Json, Time};

crate::noun! {
    /// Jobs: a customer's own, and the carrier's.
    JOB: job in jobs;
    for Everybody, called "job", at "jobs", scopes of "jobs";
    row JobRow; values JobValues;
    verbs {
        List "Jobs", "Jobs of the carrier and of all customers";
        Create "Begin a job", "Begin a job of the carrier";
        Read "A job";
        Delete "Delete a job that is over, with its file";
    }
    examples made, changed, seen;
    given {
        id: String,
        status: String,
        attempts: i32,
        percent: i32,
        next_at: Time as Operators,
        node: Option<String> as Operators,
        error: Option<String>,
        result: Option<Json>,
        file: Option<Json>,
        schedule_id: Option<String>,
        due_at: Option<Time>,
        started_at: Option<Time>,
        finished_at: Option<Time>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        customer_id: Option<String>,
        name: Option<String>,
        kind: String,
        call_export: Option<Json>,
    }
    sorted {
        created_at by Id for Everybody,
        updated_at by Time for Everybody,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only jobs of this customer (cus_…).",
        name on name as Text<1, 256>, for Everybody: "Only jobs of this name, as it is written.",
        kind on kind as JobTask, for Everybody: "Only jobs that do this.",
        schedule on schedule_id as Ref<ScheduleKind>, for Everybody: "Only jobs that this schedule began (sch_…).",
        status on status as JobStatus, for Everybody: "Only jobs that stand so.",
    }
    listed { customer_id, name, kind, status, percent, error }
}

fn made() -> Value {
    json!({
        "name": "calls-of-november",
        "kind": "call_export",
        "call_export": {
            "format": "csv",
            "setup_from": "2026-11-01T00:00:00.000Z",
            "setup_before": "2026-12-01T00:00:00.000Z"
        }
    })
}

/// A job is not changed.
fn changed() -> Value {
    json!({})
}

fn seen(audience: Audience) -> Value {
    let operator = audience == Audience::Operator;
    let mut job = json!({
        "id": "job_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "customer_id": if operator { Value::Null } else { json!("cus_06f7jv8bxm3e7s0q9tk4w1n2pr") },
        "name": "calls-of-november",
        "kind": "call_export",
        "call_export": {
            "format": "csv",
            "trunk_id": null,
            "code": null,
            "outcome": null,
            "direction": null,
            "called": null,
            "caller": null,
            "setup_from": "2026-11-01T00:00:00.000Z",
            "setup_before": "2026-12-01T00:00:00.000Z",
            "posted_from": null,
            "posted_before": null,
            "call_id": null,
            "cursor": null,
            "vendor_id": null,
            "customer_id": null
        },
        "status": "queued",
        "attempts": 0,
        "percent": 0,
        "error": null,
        "result": null,
        "file": null,
        "schedule_id": null,
        "due_at": null,
        "started_at": null,
        "finished_at": null,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    });
    if operator {
        job["next_at"] = json!("2026-11-30T12:00:00.000Z");
        job["node"] = Value::Null;
    }
    job
}
