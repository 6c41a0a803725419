//! Rows of the vendors of partitions. Those of partitions themselves are declared in [`crate::noun::partition`].

use super::sql::statements;
use super::{StoreError, Tx};

crate::row! {
    /// A vendor of a partition.
    pub struct MemberRow {
        partition_id: String,
        vendor_id: String,
        priority: i32,
        weight: i32,
    }
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

statements! {
    /// Its vendors.
    PARTITION_VENDOR_LIST = "SELECT partition_id, vendor_id, priority, weight FROM partition_vendors
        WHERE partition_id = ANY($1) ORDER BY partition_id, priority, vendor_id";
    /// Empties it.
    PARTITION_VENDOR_CLEAR = "DELETE FROM partition_vendors WHERE partition_id = $1";
    /// Fills it.
    PARTITION_VENDOR_FILL = "INSERT INTO partition_vendors (partition_id, vendor_id, priority, weight)
        SELECT $1, * FROM unnest($2::text[], $3::integer[], $4::integer[])";
}
