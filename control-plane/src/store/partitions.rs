//! Rows of partitions, their vendors, and exclusions.

use super::sql::statements;
use super::types::{Amount, Time};
use super::{StoreError, Tx};
use crate::app::paging::Paging;

crate::row! {
    /// A partition as it is stored.
    pub struct PartitionRow {
        id: String,
        name: String,
        strategy: String,
        max_candidates: i32,
        /// Duration that prices are compared for.
        expected_duration_s: i32,
        margin_per_min: Amount,
        /// Margin in hundredths of a percent.
        margin_bps: i32,
        /// Carry calls below the margin too.
        loss_ok: bool,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
}

/// What is written of a partition.
pub struct PartitionValues {
    /// Its name, for people.
    pub name: String,
    /// How candidates are ordered.
    pub strategy: &'static str,
    /// Vendors tried per call.
    pub max_candidates: i32,
    /// Duration that prices are compared for.
    pub expected_duration_s: i32,
    /// Least margin in nano-units per minute.
    pub margin_per_min: i64,
    /// The currency of the margin per minute.
    pub margin_currency: String,
    /// Margin in hundredths of a percent.
    pub margin_bps: i32,
    /// Carry calls below the margin too.
    pub loss_ok: bool,
}

crate::row! {
    /// A vendor of a partition.
    pub struct MemberRow {
        partition_id: String,
        vendor_id: String,
        priority: i32,
        weight: i32,
    }
}

crate::row! {
    /// An exclusion as it is stored.
    pub struct ExclusionRow {
        id: String,
        vendor_id: String,
        code: Option<String>,
        kind: String,
        reason: String,
        starts_at: Option<Time>,
        ends_at: Option<Time>,
        created_at: Time,
    }
}

/// What is written of an exclusion.
pub struct ExclusionValues {
    /// The vendor that gets no calls.
    pub vendor_id: String,
    /// Only below this dial code.
    pub code: Option<String>,
    /// Why, as a word.
    pub kind: &'static str,
    /// Why the vendor is excluded, in words.
    pub reason: String,
    /// When it begins, in microseconds since 1970; `None` = at once.
    pub starts_at: Option<i64>,
    /// When it ends, in microseconds since 1970; `None` = never.
    pub ends_at: Option<i64>,
}

/// One page, in the order that `paging` says, and one row more.
pub async fn list(tx: &mut Tx, paging: &Paging) -> Result<Vec<PartitionRow>, StoreError> {
    tx.all(sqlx::query(PARTITION_LIST).bind(paging.after.as_deref()).bind(paging.rows())).await
}

/// The row with this id, or `None` when the scope sees none.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<PartitionRow>, StoreError> {
    tx.first(sqlx::query(PARTITION_GET).bind(id)).await
}

/// One, so that nobody else changes it until the transaction ends.
pub async fn lock(tx: &mut Tx, id: &str) -> Result<Option<PartitionRow>, StoreError> {
    tx.first(sqlx::query(PARTITION_LOCK).bind(id)).await
}

/// Writes a new partition; gives its row.
pub async fn insert(tx: &mut Tx, id: &str, v: PartitionValues) -> Result<Option<PartitionRow>, StoreError> {
    tx.first(bound(PARTITION_INSERT, id, v)).await
}

/// Writes an object anew; `None` when the scope sees none.
pub async fn update(tx: &mut Tx, id: &str, v: PartitionValues) -> Result<Option<PartitionRow>, StoreError> {
    tx.first(bound(PARTITION_UPDATE, id, v)).await
}

fn bound<'q>(statement: &'static str, id: &'q str, v: PartitionValues) -> super::Query<'q> {
    sqlx::query(statement)
        .bind(id)
        .bind(v.name)
        .bind(v.strategy)
        .bind(v.max_candidates)
        .bind(v.expected_duration_s)
        .bind(v.margin_per_min)
        .bind(v.margin_currency)
        .bind(v.margin_bps)
        .bind(v.loss_ok)
}

/// Deletes one; how many there were.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<u64, StoreError> {
    tx.run(sqlx::query(PARTITION_DELETE).bind(id)).await
}

/// The vendors of these partitions.
pub async fn members(tx: &mut Tx, ids: Vec<String>) -> Result<Vec<MemberRow>, StoreError> {
    tx.all(sqlx::query(PARTITION_VENDOR_LIST).bind(ids)).await
}

/// Replaces the vendors of a partition: who, priorities and weights.
pub async fn set_members(
    tx: &mut Tx,
    id: &str,
    vendors: Vec<String>,
    priorities: Vec<i32>,
    weights: Vec<i32>,
) -> Result<(), StoreError> {
    tx.run(sqlx::query(PARTITION_VENDOR_CLEAR).bind(id)).await?;
    let fill = sqlx::query(PARTITION_VENDOR_FILL).bind(id).bind(vendors).bind(priorities).bind(weights);
    tx.run(fill).await?;
    Ok(())
}

/// One page of exclusions.
pub async fn list_exclusions(tx: &mut Tx, paging: &Paging) -> Result<Vec<ExclusionRow>, StoreError> {
    tx.all(sqlx::query(EXCLUSION_LIST).bind(paging.after.as_deref()).bind(paging.rows())).await
}

/// The exclusion with this id. Errors: there is none.
pub async fn get_exclusion(tx: &mut Tx, id: &str) -> Result<Option<ExclusionRow>, StoreError> {
    tx.first(sqlx::query(EXCLUSION_GET).bind(id)).await
}

/// Writes a new exclusion; gives its row.
pub async fn insert_exclusion(
    tx: &mut Tx,
    id: &str,
    v: ExclusionValues,
) -> Result<Option<ExclusionRow>, StoreError> {
    let query = sqlx::query(EXCLUSION_INSERT)
        .bind(id)
        .bind(v.vendor_id)
        .bind(v.code)
        .bind(v.kind)
        .bind(v.reason)
        .bind(v.starts_at)
        .bind(v.ends_at);
    tx.first(query).await
}

/// Deletes an exclusion; how many there were.
pub async fn delete_exclusion(tx: &mut Tx, id: &str) -> Result<u64, StoreError> {
    tx.run(sqlx::query(EXCLUSION_DELETE).bind(id)).await
}

macro_rules! partition_columns {
    () => {
        "id, name, strategy, max_candidates, expected_duration_s, amount_text(margin_per_min, margin_currency) AS margin_per_min,
         margin_bps, loss_ok, us(created_at) AS created_at, us(updated_at) AS updated_at, version"
    };
}
macro_rules! exclusion_columns {
    () => {
        "id, vendor_id, code, kind, reason, us(starts_at) AS starts_at, us(ends_at) AS ends_at,
         us(created_at) AS created_at"
    };
}

statements! {
    /// One page.
    PARTITION_LIST = concat!("SELECT ", partition_columns!(), " FROM partitions
        WHERE ($1::text IS NULL OR id < $1) ORDER BY id DESC LIMIT $2");
    /// One.
    PARTITION_GET = concat!("SELECT ", partition_columns!(), " FROM partitions WHERE id = $1");
    /// One, locked.
    PARTITION_LOCK = concat!("SELECT ", partition_columns!(), " FROM partitions WHERE id = $1 FOR UPDATE");
    /// New.
    PARTITION_INSERT = concat!("INSERT INTO partitions (id, name, strategy, max_candidates, expected_duration_s,
            margin_per_min, margin_currency, margin_bps, loss_ok)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ", partition_columns!());
    /// Replaces.
    PARTITION_UPDATE = concat!("UPDATE partitions SET name = $2, strategy = $3, max_candidates = $4,
            expected_duration_s = $5, margin_per_min = $6, margin_currency = $7, margin_bps = $8, loss_ok = $9, updated_at = now(),
            version = version + 1
        WHERE id = $1 RETURNING ", partition_columns!());
    /// Gone, unless a trunk or customer uses it.
    PARTITION_DELETE = "DELETE FROM partitions WHERE id = $1";
    /// Its vendors.
    PARTITION_VENDOR_LIST = "SELECT partition_id, vendor_id, priority, weight FROM partition_vendors
        WHERE partition_id = ANY($1) ORDER BY partition_id, priority, vendor_id";
    /// Empties it.
    PARTITION_VENDOR_CLEAR = "DELETE FROM partition_vendors WHERE partition_id = $1";
    /// Fills it.
    PARTITION_VENDOR_FILL = "INSERT INTO partition_vendors (partition_id, vendor_id, priority, weight)
        SELECT $1, * FROM unnest($2::text[], $3::integer[], $4::integer[])";
    /// One page.
    EXCLUSION_LIST = concat!("SELECT ", exclusion_columns!(), " FROM exclusions
        WHERE ($1::text IS NULL OR id < $1) ORDER BY id DESC LIMIT $2");
    /// One.
    EXCLUSION_GET = concat!("SELECT ", exclusion_columns!(), " FROM exclusions WHERE id = $1");
    /// New.
    EXCLUSION_INSERT = concat!("INSERT INTO exclusions (id, vendor_id, code, kind, reason, starts_at, ends_at)
        VALUES ($1, $2, $3, $4, $5, ts($6), ts($7)) RETURNING ", exclusion_columns!());
    /// Gone.
    EXCLUSION_DELETE = "DELETE FROM exclusions WHERE id = $1";
}
