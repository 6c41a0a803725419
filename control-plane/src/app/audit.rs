//! Reading the audit log.

use super::Ctx;
use super::fault::{Fault, Kind};
use super::paging::{Page, Paging};
use crate::store::sql;
use crate::store::types::{Json, Time};

crate::record! {
    /// One change: who did what to which object.
    pub struct AuditEntry {
        /// Order of writing.
        pub id: i64,
        /// Tenant that it concerns.
        pub customer_id: Option<String>,
        /// Key that did it, or `system`.
        pub actor: String,
        /// What, for example `trunk.update`.
        pub action: String,
        /// To which object.
        pub object: String,
        /// In which request.
        pub request_id: String,
        /// What changed.
        pub detail: Option<Json>,
        /// When.
        pub at: Time,
    }
}

/// Newest first.
pub async fn list(ctx: &Ctx<'_>, paging: &Paging) -> Result<Page<AuditEntry>, Fault> {
    let wrong = || Fault::new(Kind::InvalidCursor, "cursor must be a value of meta.next_cursor");
    let before = paging.after.as_deref().map(|t| t.parse::<i64>().map_err(|_| wrong())).transpose()?;
    let mut tx = ctx.begin().await?;
    let rows: Vec<AuditEntry> = tx.all(sqlx::query(sql::AUDIT_LIST).bind(before).bind(paging.rows())).await?;
    let keyed: Vec<(String, AuditEntry)> = rows.into_iter().map(|r| (r.id.to_string(), r)).collect();
    let page = Page::of(keyed, paging.limit, |(key, _)| key);
    Ok(Page { items: page.items.into_iter().map(|(_, r)| r).collect(), next: page.next })
}
