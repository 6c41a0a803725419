//! Rows of the emergency route. Those of vendors and of their trunks are declared in [`crate::noun`].

use sqlx::Row;

use super::sql::statements;
use super::{StoreError, Tx};

/// Vendor trunks that emergency calls go to, in order.
pub async fn emergency_route(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(EMERGENCY_LIST).fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?)
}

/// Replaces the emergency route.
pub async fn set_emergency_route(tx: &mut Tx, ids: &[String]) -> Result<(), StoreError> {
    tx.run(sqlx::query(EMERGENCY_CLEAR)).await?;
    tx.run(sqlx::query(EMERGENCY_FILL).bind(ids)).await?;
    Ok(())
}

statements! {
    /// Emergency route, in order.
    EMERGENCY_LIST = "SELECT vendor_trunk_id FROM emergency_route ORDER BY position";
    /// Empties it.
    EMERGENCY_CLEAR = "DELETE FROM emergency_route";
    /// Fills it in order.
    EMERGENCY_FILL = "INSERT INTO emergency_route (position, vendor_trunk_id)
        SELECT n, id FROM unnest($1::text[]) WITH ORDINALITY AS x(id, n)";
}
