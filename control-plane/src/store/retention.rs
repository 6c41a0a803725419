//! Calls leave by retention.

use sqlx::Row;
use warp_model::{CallId, Wall};

use super::sql::statements;
use super::{StoreError, Tx};

/// What one batch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// How many calls were deleted.
    pub gone: i64,
    /// The last of them in the order of their ids.
    pub last: Option<String>,
    /// Of them, calls with a price that were on no bill.
    pub unbilled: i64,
}

/// Deletes calls that began before a moment and whose ids are of before `until`, after an id and `most` at most. What is priced and on
/// no bill stays unless `unbilled_too`.
pub async fn expire(
    tx: &mut Tx,
    (before, until): (Wall, Wall),
    (after, most): (&str, i64),
    unbilled_too: bool,
) -> Result<Batch, StoreError> {
    let query = sqlx::query(CALLS_EXPIRE)
        .bind(first_id(until))
        .bind(before.0)
        .bind(after)
        .bind(most)
        .bind(unbilled_too);
    let row = query.fetch_one(tx.db()).await?;
    Ok(Batch { gone: row.try_get(0)?, last: row.try_get(1)?, unbilled: row.try_get(2)? })
}

/// Calls that began before a moment and stay because they are priced and on no bill.
pub async fn overdue(tx: &mut Tx, before: Wall) -> Result<i64, StoreError> {
    let query = sqlx::query(CALLS_OVERDUE).bind(first_id(before)).bind(before.0);
    Ok(query.fetch_one(tx.db()).await?.try_get(0)?)
}

/// The smallest id of a moment: ids sort by the time of their INVITE.
fn first_id(at: Wall) -> String {
    CallId::new(at, 0).to_string()
}

statements! {
    /// Calls that are older than the retention: `$1` and `$2` say the same moment as an id and as a time, `$3` after this id,
    /// `$4` rows at most. What is priced and not billed stays unless `$5` says that it may go.
    CALLS_EXPIRE = "WITH old AS (
            SELECT cdr_id FROM calls WHERE cdr_id < $1 AND setup_at < ts($2) AND cdr_id > $3
              AND (billed_at IS NOT NULL OR coalesce(sell, 0) = 0 OR $5) ORDER BY cdr_id LIMIT $4),
        gone AS (DELETE FROM calls USING old WHERE calls.cdr_id = old.cdr_id
            RETURNING calls.cdr_id, calls.billed_at IS NULL AND coalesce(calls.sell, 0) <> 0 AS unbilled)
        SELECT count(*), max(cdr_id), count(*) FILTER (WHERE unbilled) FROM gone";
    /// Calls that stay beyond the retention because they are priced and not billed.
    CALLS_OVERDUE = "SELECT count(*) FROM calls WHERE cdr_id < $1 AND setup_at < ts($2) AND billed_at IS NULL
        AND coalesce(sell, 0) <> 0";
}
