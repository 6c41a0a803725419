//! Rows of schedules besides those of the declared noun: which one is due, and the job that is begun for a time.

use sqlx::Row;
use warp_model::{JobId, Wall};

use super::sql::statements;
use super::types::{Json, Time};
use super::{StoreError, Tx};
use crate::app::schedules::ScheduleId;

crate::row! {
    /// A schedule that is due, locked until the transaction ends.
    pub struct DueRow {
        id: String,
        customer_id: Option<String>,
        name: String,
        call_export: Option<Json>,
        period_of: String,
        every: String,
        at: String,
        day: Option<i32>,
        time_zone: String,
        missed_runs: String,
        next_at: Time,
        covered_until: Option<Time>,
        /// Now, by the clock that it is due by.
        now: Time,
    }
}

/// A job that is begun for a time of a schedule.
pub struct NewRun<'a> {
    /// The id of the new job.
    pub id: JobId,
    /// The time that it is begun for.
    pub due: Wall,
    /// What it exports, with the period.
    pub call_export: &'a serde_json::Value,
}

/// What a schedule stands at after a look.
pub struct Looked {
    /// The time that comes next.
    pub next: Wall,
    /// Where the next period begins.
    pub covered: Wall,
    /// The time and the job that were begun.
    pub begun: Option<(Wall, JobId)>,
    /// Times that were missed, and the last of these.
    pub missed: (i32, Option<Wall>),
}

/// How many schedules this customer has, or the carrier (`None`).
pub async fn count(tx: &mut Tx, customer: Option<&str>) -> Result<i64, StoreError> {
    Ok(sqlx::query(SCHEDULES_COUNT).bind(customer).fetch_one(tx.db()).await?.try_get(0)?)
}

/// The next schedule that is due and that nobody looks at now. `None`: there is none.
pub async fn due(tx: &mut Tx) -> Result<Option<DueRow>, StoreError> {
    tx.first(sqlx::query(SCHEDULE_DUE)).await
}

/// Begins the job of a time, unless it was begun. It waits for a minute, so that what was being posted at that time is readable.
pub async fn begin(tx: &mut Tx, of: &DueRow, run: &NewRun<'_>) -> Result<bool, StoreError> {
    let query = sqlx::query(SCHEDULED_JOB)
        .bind(run.id.to_string())
        .bind(&of.id)
        .bind(run.due.0)
        .bind(run.call_export);
    Ok(tx.run(query).await? > 0)
}

/// What came of a look.
pub async fn looked(tx: &mut Tx, of: &DueRow, looked: &Looked) -> Result<(), StoreError> {
    let query = sqlx::query(SCHEDULE_LOOKED)
        .bind(&of.id)
        .bind(looked.next.0)
        .bind(looked.covered.0)
        .bind(looked.begun.map(|(due, _)| due.0))
        .bind(looked.begun.map(|(_, job)| job.to_string()))
        .bind(looked.missed.0)
        .bind(looked.missed.1.map(|at| at.0));
    tx.run(query).await?;
    Ok(())
}

/// No job could be begun; it is looked at again in a minute.
pub async fn later(tx: &mut Tx, of: &DueRow, why: &str) -> Result<(), StoreError> {
    tx.run(sqlx::query(SCHEDULE_LATER).bind(&of.id).bind(why)).await?;
    Ok(())
}

/// It is looked at as soon as it is due.
pub async fn look_again(tx: &mut Tx, schedule: ScheduleId) -> Result<(), StoreError> {
    tx.run(sqlx::query(SCHEDULE_LOOK).bind(schedule.to_string())).await?;
    Ok(())
}

statements! {
    /// How many a customer has, or the carrier.
    SCHEDULES_COUNT = "SELECT count(*) FROM schedules WHERE customer_id IS NOT DISTINCT FROM $1::text";
    /// The next one that is due.
    SCHEDULE_DUE = "SELECT id, customer_id, name, call_export, period_of, every, at, day, time_zone, missed_runs, us(next_at) AS next_at,
            us(covered_until) AS covered_until, us(now()) AS now
        FROM schedules WHERE status = 'active' AND next_at <= now() AND (look_at IS NULL OR look_at <= now())
        ORDER BY next_at, id LIMIT 1 FOR UPDATE SKIP LOCKED";
    /// The job `$1` of schedule `$2` for the time `$3`.
    SCHEDULED_JOB = "INSERT INTO jobs (id, customer_id, name, kind, call_export, schedule_id, due_at, next_at)
        SELECT $1, customer_id, name, kind, $4::jsonb, id, ts($3), greatest(now(), ts($3) + interval '1 minute') FROM schedules WHERE id = $2
        ON CONFLICT (schedule_id, due_at) DO NOTHING";
    /// After a look: the next time `$2`, where the next period begins (`$3`), what was begun, what was missed.
    SCHEDULE_LOOKED = "UPDATE schedules SET next_at = ts($2), covered_until = ts($3), look_at = NULL, error = NULL,
            last_due_at = coalesce(ts($4), last_due_at), last_job_id = coalesce($5, last_job_id), missed = missed + $6,
            last_missed_at = coalesce(ts($7), last_missed_at)
        WHERE id = $1";
    /// Not now.
    SCHEDULE_LATER = "UPDATE schedules SET look_at = now() + interval '1 minute', error = $2 WHERE id = $1";
    /// Now.
    SCHEDULE_LOOK = "UPDATE schedules SET look_at = NULL WHERE id = $1 AND look_at IS NOT NULL";
}
