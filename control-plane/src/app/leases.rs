//! Leases of credit as operators see them, and the release of one whose node is lost (RFC 0014).

use serde_json::json;
use warp_model::id::BanKind;
use warp_model::{BanId, CustomerId};

use super::Ctx;
use super::fault::{Fault, Kind};
use super::input::{Field, Ref, Text};
use super::paging::{Page, Paging};
use crate::store::StoreError;
use crate::store::credit::{self as rows, LeaseRow};
use crate::store::types::{Amount, Time};

crate::view! {
    /// Money of a billing account that is lent to one process of a node, for the calls that it carries.
    pub struct CreditLease from LeaseRow {
        /// The number of the lease.
        pub number: i64,
        /// The billing account whose money it is.
        pub ban_id: String,
        /// The customer that the account belongs to.
        pub customer_id: String,
        /// Which lease of its account it is. An older one is never given again.
        pub epoch: i64,
        /// The name of the node that has it.
        pub node: String,
        /// All that was lent, less what came back.
        pub granted: Amount,
        /// What its calls have cost, as far as their records are posted.
        pub posted: Amount,
        /// What may still be posted, and is therefore lent to nobody else.
        pub held: Amount,
        /// When it ends, unless it is extended. Its node has cut its calls by then.
        pub expires_at: Time,
        /// Whether its node has said what its calls have cost, or it was released.
        pub closed: bool,
        /// When it was given.
        pub created_at: Time,
    }
}

crate::input! {
    /// Why the money of a lost node comes back to its account.
    pub struct ReleaseInput {
        /// The reason of it, in words.
        pub reason: Text<1, 500>,
    }
}

/// What a list of leases is filtered by.
pub const FILTERS: &[super::calls::FilterDoc] =
    &[("ban", Ref::<BanKind>::field_schema, "Only leases of this billing account (ban_…).")];

/// Leases that hold money or may get more, newest first.
pub async fn list(ctx: &Ctx<'_>, ban: Option<&str>, paging: &Paging) -> Result<Page<CreditLease>, Fault> {
    let mut problems = Vec::new();
    let value = ban.map(serde_json::Value::from);
    let ban = value.and_then(|v| Ref::<BanKind>::read(Some(&v), "ban", &mut problems));
    super::none_wrong(problems)?;
    let before = paging.number_after();
    let mut tx = ctx.begin().await?;
    let rows = rows::list(&mut tx, ban.map(|b| b.0), before, paging.rows()).await?;
    let keyed: Vec<(String, LeaseRow)> = rows.into_iter().map(|r| (r.number.to_string(), r)).collect();
    Ok(Page::of(keyed, paging.limit, |(key, _)| key).map(|(_, row)| row.into()))
}

/// The money of a lease that its node will not spend any more comes back. Errors: there is no such lease, or it has not ended by the
/// bank's clock: its node may still spend it.
pub async fn release(ctx: &Ctx<'_>, number: i64, input: ReleaseInput) -> Result<CreditLease, Fault> {
    let mut tx = ctx.begin().await?;
    let unknown = || Fault::not_found("lease");
    let lease = rows::get(&mut tx, number).await?.ok_or_else(unknown)?;
    let read = |_| StoreError::Internal("an id cannot be read".into());
    let ban: BanId = lease.ban_id.parse().map_err(read)?;
    let customer: CustomerId = lease.customer_id.parse().map_err(read)?;
    let mut locked = rows::lock(&mut tx, ban).await?.ok_or_else(unknown)?;
    if !locked.account.release(lease.epoch, locked.now) {
        let message = "the lease has not ended, or holds nothing any more";
        return Err(Fault::new(Kind::Conflict, message).hint(
            "a node that lives gives its money back by itself; wait for expires_at of one that is lost",
        ));
    }
    rows::write(&mut tx, ban, &locked, None).await?;
    let after: CreditLease = rows::get(&mut tx, number).await?.ok_or_else(unknown)?.into();
    let detail =
        json!({ "reason": input.reason.0, "held": lease.held, "node": lease.node, "ban_id": lease.ban_id });
    ctx.audit(&mut tx, Some(customer), "lease.release", &number.to_string(), Some(detail)).await?;
    tx.commit().await?;
    Ok(after)
}
