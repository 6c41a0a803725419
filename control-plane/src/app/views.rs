//! Support looks through a customer's eyes: by a key of that customer which only reads and ends after half an hour. It is made and
//! audited with the name of whoever looks and the reason, and the customer sees it among its keys.

use warp_model::CustomerId;

use super::caller::Audience;
use super::fault::Fault;
use super::input::Text;
use super::keys::{LIVE_KEYS, Minted, NewApiKey, created};
use super::permission::{CustomerRole, Permission, Role};
use super::{Ctx, check_count, customers, resource};
use crate::store::keys::{self as rows, KeyValues};
use crate::store::outbox;

/// How long a look lasts.
pub const VIEW_LIVES: std::time::Duration = std::time::Duration::from_secs(30 * 60);

crate::input! {
    /// Why an operator looks through a customer's eyes.
    pub struct ViewInput {
        /// The reason, for the audit log and for the customer: a ticket, a call.
        pub reason: Text<3, 200>,
    }
}

/// A key that sees what the customer's read-only users see. Errors: there is no such customer.
pub async fn start(ctx: &Ctx<'_>, customer: CustomerId, input: ViewInput) -> Result<NewApiKey, Fault> {
    resource::get::<customers::Customers>(ctx, customer).await?;
    let looks = Role::Customer(CustomerRole::ReadOnly);
    let scopes = Permission::ALL.iter().filter(|p| p.is_of(looks)).map(|p| p.as_str().to_owned());
    let Minted { secret, hint, hash } = Minted::of(ctx.app);
    let until = ctx.app.wall().plus(VIEW_LIVES);
    let values = KeyValues {
        customer: Some(customer),
        audience: Audience::Customer.as_str(),
        name: format!("view: {}", input.reason.0),
        hint,
        hash,
        scopes: scopes.collect(),
        ip_allow: Vec::new(),
        expires_at: Some(until),
        recovered: false,
        viewer: Some(ctx.actor.clone()),
    };
    let mut tx = ctx.begin().await?;
    check_count(rows::count(&mut tx, Some(customer)).await?, LIVE_KEYS, "live keys")?;
    let row =
        rows::insert(&mut tx, ctx.new_id(), values).await?.ok_or_else(|| Fault::not_found("customer"))?;
    let detail =
        serde_json::json!({ "viewer": ctx.actor, "reason": input.reason.0, "until": until.to_string() });
    ctx.audit(&mut tx, Some(customer), "view.start", &row.id, Some(detail)).await?;
    let key = row.into();
    outbox::tell(&mut tx, Some(customer), created(&key)).await?;
    tx.commit().await?;
    Ok(NewApiKey { key, secret: secret.reveal().clone() })
}
