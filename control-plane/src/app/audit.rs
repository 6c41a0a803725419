//! Reading the audit log.

use super::Ctx;
use super::fault::Fault;
use super::paging::{Page, Paging};
use crate::store::audit::{self as rows, AuditRow};
use crate::store::types::{Json, Time};

crate::view! {
    /// One line of the audit log: who did what to which object.
    pub struct AuditEntry from AuditRow {
        /// The line's number; lines are numbered in the order of writing.
        pub id: i64,
        /// The customer that the change concerns.
        pub customer_id: Option<String>,
        /// The key that did it, or `system`.
        pub actor: String,
        /// What was done, for example `trunk.update`.
        pub action: String,
        /// The object that was changed.
        pub object: String,
        /// The request that it was done in.
        pub request_id: String,
        /// What the object is since then, where that is known.
        pub detail: Option<Json>,
        /// When it was done.
        pub at: Time,
    }
}

/// One page of the audit log, newest first.
pub async fn list(ctx: &Ctx<'_>, paging: &Paging) -> Result<Page<AuditEntry>, Fault> {
    let before = paging.number_after();
    let mut tx = ctx.begin().await?;
    let rows = rows::list(&mut tx, before, paging.rows()).await?;
    let keyed: Vec<(String, AuditRow)> = rows.into_iter().map(|r| (r.id.to_string(), r)).collect();
    Ok(Page::of(keyed, paging.limit, |(key, _)| key).map(|(_, row)| row.into()))
}
