//! Rows of jobs besides those of the declared noun: who holds which, how far it is, and what came of it.

use sqlx::Row;
use warp_model::JobId;

use super::sql::statements;
use super::types::{Json, Time};
use super::{StoreError, Tx};

crate::row! {
    /// A job that somebody carries out now.
    pub struct ClaimRow {
        id: String,
        customer_id: Option<String>,
        name: Option<String>,
        kind: String,
        call_export: Option<Json>,
        /// How often it was taken up, this time included.
        attempts: i32,
        /// Whoever took it knows by it that it is still his.
        epoch: i32,
        created_at: Time,
    }
}

crate::row! {
    /// What a file of the spool is compared with.
    pub struct FileRow {
        id: String,
        status: String,
        epoch: i32,
        /// The name of the file that it has.
        file_name: Option<String>,
    }
}

crate::row! {
    /// A job that ended.
    pub struct EndedRow {
        id: String,
        customer_id: Option<String>,
        name: Option<String>,
        kind: String,
    }
}

/// What a job ends with.
pub struct Ended<'a> {
    /// What came of it, for programs.
    pub result: Option<&'a serde_json::Value>,
    /// The file that it made.
    pub file: Option<&'a serde_json::Value>,
}

/// Takes up one job for so many seconds: the next of whoever has fewest of them running. `None`: there is none.
pub async fn claim(tx: &mut Tx, node: &str, lease_s: i64) -> Result<Option<ClaimRow>, StoreError> {
    tx.first(sqlx::query(JOB_CLAIM).bind(node).bind(lease_s)).await
}

/// Ends jobs whose workers are gone for the last time that they are tried.
pub async fn give_up(tx: &mut Tx, most: i32, why: &str) -> Result<Vec<EndedRow>, StoreError> {
    tx.all(sqlx::query(JOBS_GIVE_UP).bind(most).bind(why)).await
}

/// It goes on: how far it is. False: it is not ours any more.
pub async fn goes_on(
    tx: &mut Tx,
    claim: &ClaimRow,
    percent: i32,
    result: Option<&serde_json::Value>,
    lease_s: i64,
) -> Result<bool, StoreError> {
    let query = sqlx::query(JOB_GOES_ON).bind(&claim.id).bind(claim.epoch).bind(percent);
    Ok(tx.run(query.bind(result).bind(lease_s)).await? > 0)
}

/// It goes on, as far as was said last. False: as above.
pub async fn still(tx: &mut Tx, claim: &ClaimRow, lease_s: i64) -> Result<bool, StoreError> {
    Ok(tx.run(sqlx::query(JOB_STILL).bind(&claim.id).bind(claim.epoch).bind(lease_s)).await? > 0)
}

/// It is done. False: it is not ours any more.
pub async fn done(tx: &mut Tx, claim: &ClaimRow, ended: &Ended<'_>) -> Result<bool, StoreError> {
    let query = sqlx::query(JOB_DONE).bind(&claim.id).bind(claim.epoch).bind(ended.result).bind(ended.file);
    Ok(tx.run(query).await? > 0)
}

/// It is not; it is taken up again after a pause, or never (`None`). False: it is not ours any more.
pub async fn failed(
    tx: &mut Tx,
    claim: &ClaimRow,
    why: &str,
    pause_ms: Option<i64>,
) -> Result<bool, StoreError> {
    let status = if pause_ms.is_some() { "queued" } else { "failed" };
    let query = sqlx::query(JOB_FAILED)
        .bind(&claim.id)
        .bind(claim.epoch)
        .bind(status)
        .bind(why)
        .bind(pause_ms.unwrap_or(0));
    Ok(tx.run(query).await? > 0)
}

/// It is given back as it was taken up: this process ends.
pub async fn give_back(tx: &mut Tx, claim: &ClaimRow) -> Result<(), StoreError> {
    tx.run(sqlx::query(JOB_GIVE_BACK).bind(&claim.id).bind(claim.epoch)).await?;
    Ok(())
}

/// It is cancelled, unless it is over; how many there were.
pub async fn cancel(tx: &mut Tx, id: JobId) -> Result<u64, StoreError> {
    tx.run(sqlx::query(JOB_CANCEL).bind(id.to_string())).await
}

/// It begins anew, when it failed or was cancelled; how many there were.
pub async fn again(tx: &mut Tx, id: JobId) -> Result<u64, StoreError> {
    tx.run(sqlx::query(JOB_AGAIN).bind(id.to_string())).await
}

/// How many jobs of this customer, or of the carrier, are not over.
pub async fn open(tx: &mut Tx, customer: Option<&str>) -> Result<i64, StoreError> {
    Ok(sqlx::query(JOBS_OPEN).bind(customer).fetch_one(tx.db()).await?.try_get(0)?)
}

/// What there is of these jobs, for whoever looks after files.
pub async fn files(tx: &mut Tx, ids: &[String]) -> Result<Vec<FileRow>, StoreError> {
    tx.all(sqlx::query(JOB_FILES).bind(ids)).await
}

statements! {
    /// Takes up one job for `$2` seconds, by node `$1`.
    JOB_CLAIM = "UPDATE jobs j SET status = 'running', attempts = attempts + 1, epoch = epoch + 1, node = $1, percent = 0, result = NULL,
            lease_until = now() + $2::bigint * interval '1 second', started_at = coalesce(started_at, now()), updated_at = now(),
            version = version + 1
        FROM (SELECT q.id FROM jobs q WHERE (q.status = 'queued' AND q.next_at <= now()) OR (q.status = 'running' AND q.lease_until < now())
              ORDER BY (SELECT count(*) FROM jobs r WHERE r.status = 'running' AND r.lease_until >= now()
                        AND r.customer_id IS NOT DISTINCT FROM q.customer_id), q.next_at, q.id
              LIMIT 1 FOR UPDATE SKIP LOCKED) n
        WHERE j.id = n.id
        RETURNING j.id, j.customer_id, j.name, j.kind, j.call_export, j.attempts, j.epoch, us(j.created_at) AS created_at";
    /// Those that were taken up `$1` times and whose last worker is gone.
    JOBS_GIVE_UP = "UPDATE jobs SET status = 'failed', error = $2, lease_until = NULL, epoch = epoch + 1, finished_at = now(), updated_at = now(),
            version = version + 1
        WHERE status = 'running' AND lease_until < now() AND attempts >= $1 RETURNING id, customer_id, name, kind";
    /// How far it is, in the epoch `$2`.
    JOB_GOES_ON = "UPDATE jobs SET percent = $3, result = $4, lease_until = now() + $5::bigint * interval '1 second', updated_at = now()
        WHERE id = $1 AND epoch = $2 AND status = 'running'";
    /// It goes on, in the epoch `$2`.
    JOB_STILL = "UPDATE jobs SET lease_until = now() + $3::bigint * interval '1 second', updated_at = now()
        WHERE id = $1 AND epoch = $2 AND status = 'running'";
    /// What came of it.
    JOB_DONE = "UPDATE jobs SET status = 'done', percent = 100, result = $3, file = $4, error = NULL, lease_until = NULL, finished_at = now(),
            updated_at = now(), version = version + 1 WHERE id = $1 AND epoch = $2 AND status = 'running'";
    /// Why it did not work.
    JOB_FAILED = "UPDATE jobs SET status = $3, error = $4, lease_until = NULL, next_at = now() + $5::bigint * interval '1 millisecond',
            finished_at = CASE WHEN $3 = 'failed' THEN now() END, updated_at = now(), version = version + 1
        WHERE id = $1 AND epoch = $2 AND status = 'running'";
    /// As if it had not been taken up.
    JOB_GIVE_BACK = "UPDATE jobs SET status = 'queued', lease_until = NULL, attempts = attempts - 1, next_at = now(), percent = 0, result = NULL,
            updated_at = now(), version = version + 1 WHERE id = $1 AND epoch = $2 AND status = 'running'";
    /// Whoever carries it out finds that it is not his any more.
    JOB_CANCEL = "UPDATE jobs SET status = 'cancelled', lease_until = NULL, epoch = epoch + 1, finished_at = now(), updated_at = now(),
            version = version + 1 WHERE id = $1 AND status IN ('queued', 'running')";
    /// Begins anew.
    JOB_AGAIN = "UPDATE jobs SET status = 'queued', attempts = 0, percent = 0, next_at = now(), error = NULL, result = NULL, finished_at = NULL,
            started_at = NULL, updated_at = now(), version = version + 1 WHERE id = $1 AND status IN ('failed', 'cancelled')";
    /// Jobs that are not over.
    JOBS_OPEN = "SELECT count(*) FROM jobs WHERE customer_id IS NOT DISTINCT FROM $1 AND status IN ('queued', 'running')";
    /// What files are compared with.
    JOB_FILES = "SELECT id, status, epoch, file->>'name' AS file_name FROM jobs WHERE id = ANY($1)";
    /// Files are kept for seven days …
    JOB_FILES_EXPIRE = "UPDATE jobs SET file = NULL, updated_at = now(), version = version + 1
        WHERE file IS NOT NULL AND finished_at < now() - interval '7 days'";
    /// … and jobs for 30.
    JOBS_EXPIRE = "DELETE FROM jobs WHERE status NOT IN ('queued', 'running') AND finished_at < now() - interval '30 days'";
}
