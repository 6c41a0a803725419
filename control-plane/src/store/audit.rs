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
        own: bool,
        action: String,
        object: String,
        request_id: String,
        before: Option<Json>,
        detail: Option<Json>,
        at: Time,
    }
}

/// Who did what the line says.
pub struct Actor<'a> {
    /// The key or the user, or `system`.
    pub name: &'a str,
    /// It is the customer's own.
    pub own: bool,
    /// The id of the request.
    pub request_id: &'a str,
}

/// What an object was, and what it is since then.
#[derive(Debug, Default)]
pub struct Difference {
    /// What it was; `None` for a new one, and where that is not said.
    pub before: Option<serde_json::Value>,
    /// What it is since then, or what was done to it.
    pub detail: Option<serde_json::Value>,
}

/// Which lines are read. `None`: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Lines of this object only.
    pub object: Option<String>,
    /// By this key or user.
    pub actor: Option<String>,
    /// That concern this customer.
    pub customer: Option<String>,
    /// Of this action, as a whole word.
    pub action: Option<String>,
    /// Not before, in microseconds since 1970.
    pub from: Option<i64>,
    /// Before, in microseconds since 1970.
    pub until: Option<i64>,
    /// Only of these kinds of objects: what stands before the first dot of the action.
    pub kinds: Option<Vec<String>>,
}

/// A line, in the transaction of the change.
pub async fn insert(
    tx: &mut Tx,
    customer: Option<CustomerId>,
    actor: Actor<'_>,
    (action, object): (&str, &str),
    difference: Difference,
) -> Result<(), StoreError> {
    let query = sqlx::query(AUDIT_INSERT)
        .bind(customer.map(|c| c.to_string()))
        .bind(actor.name)
        .bind(actor.own)
        .bind(action)
        .bind(object)
        .bind(actor.request_id)
        .bind(difference.before)
        .bind(difference.detail);
    tx.run(query).await?;
    Ok(())
}

/// Newest first, before a line.
pub async fn list(
    tx: &mut Tx,
    which: &AuditQuery,
    before: Option<i64>,
    rows: i64,
) -> Result<Vec<AuditRow>, StoreError> {
    tx.plan_for_values().await?;
    let query = sqlx::query(AUDIT_LIST)
        .bind(which.object.as_deref())
        .bind(which.actor.as_deref())
        .bind(which.customer.as_deref())
        .bind(which.action.as_deref())
        .bind(which.from)
        .bind(which.until)
        .bind(which.kinds.clone())
        .bind(before)
        .bind(rows);
    tx.all(query).await
}

statements! {
    /// Audit line.
    AUDIT_INSERT = "INSERT INTO audit_log (customer_id, actor, own, action, object, request_id, before, detail)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    /// `$1` to `$7` filters, each NULL when absent; `$8` before this id, `$9` rows.
    AUDIT_LIST = "SELECT id, customer_id, actor, own, action, object, request_id, before, detail, us(at) AS at FROM audit_log
        WHERE ($1::text IS NULL OR object = $1) AND ($2::text IS NULL OR actor = $2)
          AND ($3::text IS NULL OR customer_id = $3) AND ($4::text IS NULL OR action = $4)
          AND ($5::bigint IS NULL OR at >= ts($5)) AND ($6::bigint IS NULL OR at < ts($6))
          AND ($7::text[] IS NULL OR split_part(action, '.', 1) = ANY($7))
          AND ($8::bigint IS NULL OR id < $8) ORDER BY id DESC LIMIT $9";
}
