//! Rows of where vendor trunks stood when each node was looked at last.

use super::sql::statements;
use super::{StoreError, Tx};

crate::row! {
    /// A vendor trunk, and where it stood on a node.
    pub struct StandingRow {
        /// The trunk.
        id: String,
        vendor_id: String,
        vendor_name: String,
        name: String,
        /// It was out of rotation.
        down: bool,
    }
}

/// Every vendor trunk, as a node saw it last; one that it never saw was up. Until the transaction ends nobody else compares for this
/// node, so that a change is one event.
pub async fn all(tx: &mut Tx, node: &str) -> Result<Vec<StandingRow>, StoreError> {
    tx.run(sqlx::query(STANDINGS_LOCK).bind(node)).await?;
    tx.all(sqlx::query(STANDINGS_ALL).bind(node)).await
}

/// A node sees a trunk so now.
pub async fn set(tx: &mut Tx, node: &str, trunk: &str, down: bool) -> Result<(), StoreError> {
    tx.run(sqlx::query(STANDINGS_SET).bind(node).bind(trunk).bind(down)).await?;
    Ok(())
}

statements! {
    /// One at a time for node `$1`.
    STANDINGS_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('vendor trunks of ' || $1::text, 0))";
    /// Vendor trunks, as node `$1` saw them last.
    STANDINGS_ALL = "SELECT t.id, t.vendor_id, v.name AS vendor_name, t.name, coalesce(s.down, false) AS down
        FROM vendor_trunks t JOIN vendors v ON v.id = t.vendor_id
            LEFT JOIN vendor_trunk_standings s ON s.vendor_trunk_id = t.id AND s.node = $1
        ORDER BY t.id";
    /// Node `$1` sees trunk `$2` so now.
    STANDINGS_SET = "INSERT INTO vendor_trunk_standings (node, vendor_trunk_id, down) VALUES ($1, $2, $3)
        ON CONFLICT (node, vendor_trunk_id) DO UPDATE SET down = excluded.down, since = now()";
}
