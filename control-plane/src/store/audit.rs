//! Rows of the audit log, which nobody changes.

use warp_model::CustomerId;

use super::sql::statements;
use super::types::{Json, Time};
use super::{StoreError, Tx};

crate::row! {
    /// A line as it is stored.
    pub struct AuditRow {
        id: i64,
        customer_id: Option<String>,
        actor: String,
        action: String,
        object: String,
        request_id: String,
        detail: Option<Json>,
        at: Time,
    }
}

/// A line, in the transaction of the change.
pub async fn insert(
    tx: &mut Tx,
    customer: Option<CustomerId>,
    (actor, request_id): (&str, &str),
    (action, object): (&str, &str),
    detail: Option<serde_json::Value>,
) -> Result<(), StoreError> {
    let query = sqlx::query(AUDIT_INSERT)
        .bind(customer.map(|c| c.to_string()))
        .bind(actor)
        .bind(action)
        .bind(object)
        .bind(request_id)
        .bind(detail);
    tx.run(query).await?;
    Ok(())
}

/// Newest first, before a line.
pub async fn list(tx: &mut Tx, before: Option<i64>, rows: i64) -> Result<Vec<AuditRow>, StoreError> {
    tx.all(sqlx::query(AUDIT_LIST).bind(before).bind(rows)).await
}

statements! {
    /// Audit line.
    AUDIT_INSERT = "INSERT INTO audit_log (customer_id, actor, action, object, request_id, detail)
        VALUES ($1, $2, $3, $4, $5, $6)";
    /// `$1` before this id, `$2` rows.
    AUDIT_LIST = "SELECT id, customer_id, actor, action, object, request_id, detail, us(at) AS at FROM audit_log
        WHERE ($1::bigint IS NULL OR id < $1) ORDER BY id DESC LIMIT $2";
}
