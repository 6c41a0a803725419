//! Calls stand in partitions of a week, by the time in their ids. The run-time role makes and drops them by two functions of the schema, and
//! can make or drop nothing else (T-PG-01).

use sqlx::Row;
use warp_model::{CallId, Wall};

use super::sql::statements;
use super::{StoreError, Tx};

/// Length of a week, in microseconds.
const WEEK_US: i64 = 604_800_000_000;

/// A partition of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The name of its table.
    pub name: String,
    /// Its first week; `None`: it begins with the first call that there ever was.
    pub from_week: Option<i32>,
    /// The first week that is not in it.
    pub to_week: i32,
}

/// What is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// How many calls stand in it.
    pub calls: i64,
    /// Of them, calls with a price that are on no bill.
    pub unbilled: i64,
    /// Calls that may not leave yet.
    pub kept: i64,
    /// When the last of them was posted, in microseconds since 1970.
    pub posted: Option<i64>,
}

/// The week of a moment, counted from 1970 in UTC.
pub fn week_of(at: Wall) -> i32 {
    i32::try_from(at.0.div_euclid(WEEK_US)).unwrap_or(i32::MAX)
}

/// When a week begins.
pub fn start_of(week: i32) -> Wall {
    Wall(i64::from(week).saturating_mul(WEEK_US))
}

/// No call that began in this week or later has a smaller id.
pub fn first_id(week: i32) -> String {
    let ms = u128::try_from(start_of(week).unix_ms().max(0)).unwrap_or(0);
    CallId::from_u128(ms << 80).to_string()
}

/// Makes the partition of a week, if it is not there. False: the week is older than all that are kept.
pub async fn make(tx: &mut Tx, week: i32) -> Result<bool, StoreError> {
    Ok(sqlx::query(CALL_PARTITION_MAKE).bind(week).fetch_one(tx.db()).await?.try_get(0)?)
}

/// All partitions, the oldest first.
pub async fn all(tx: &mut Tx) -> Result<Vec<Partition>, StoreError> {
    let rows = sqlx::query(CALL_PARTITIONS).fetch_all(tx.db()).await?;
    let partition = |row: &sqlx::postgres::PgRow| {
        Ok(Partition { name: row.try_get(0)?, from_week: row.try_get(1)?, to_week: row.try_get(2)? })
    };
    Ok(rows.iter().map(partition).collect::<Result<_, sqlx::Error>>()?)
}

/// What is in a partition. Calls that began at `before` or later may not leave; nor may those with a price that are on no bill, unless
/// `unbilled_too`. Reads all of it.
pub async fn content(
    tx: &mut Tx,
    of: &Partition,
    before: Wall,
    unbilled_too: bool,
) -> Result<Content, StoreError> {
    tx.allow_long_statements().await?;
    tx.plan_for_values().await?;
    let query = sqlx::query(CALL_PARTITION_CONTENT)
        .bind(of.from_week)
        .bind(of.to_week)
        .bind(before.0)
        .bind(unbilled_too);
    let row = query.fetch_one(tx.db()).await?;
    Ok(Content {
        calls: row.try_get(0)?,
        unbilled: row.try_get(1)?,
        kept: row.try_get(2)?,
        posted: row.try_get(3)?,
    })
}

/// Drops a partition whose weeks are over. False: something was posted to it after `posted`, or its weeks are not over by the clock of
/// PostgreSQL; it stays.
pub async fn drop_over(tx: &mut Tx, of: &Partition, posted: Option<i64>) -> Result<bool, StoreError> {
    let query = sqlx::query(CALL_PARTITION_DROP).bind(&of.name).bind(posted);
    Ok(query.fetch_one(tx.db()).await?.try_get(0)?)
}

statements! {
    /// Makes the partition of week `$1`.
    CALL_PARTITION_MAKE = "SELECT call_partition_make($1)";
    /// All partitions.
    CALL_PARTITIONS = "SELECT name, from_week, to_week FROM call_partitions ORDER BY to_week";
    /// What is in the weeks from `$1` (NULL: the first) to before `$2`.
    CALL_PARTITION_CONTENT = "SELECT count(*), count(*) FILTER (WHERE unbilled), count(*) FILTER (WHERE setup_at >= ts($3) OR (unbilled AND NOT $4)),
            us(max(posted_at))
        FROM (SELECT setup_at, posted_at, billed_at IS NULL AND coalesce(sell, 0) <> 0 AS unbilled FROM calls
              WHERE ($1::integer IS NULL OR cdr_id >= call_week_starts($1)) AND cdr_id < call_week_starts($2)) c";
    /// Drops partition `$1` when the last call in it was posted at `$2`.
    CALL_PARTITION_DROP = "SELECT call_partition_drop($1, ts($2::bigint))";
}
