//! Customers (tenants) and their billing accounts.

use warp_model::id::{BanKind, CustomerKind, DeckKind};
use warp_model::{BanId, Currency, CustomerId};

use super::fault::{Fault, Problem};
use super::input::{CurrencyCode, Int, List, Ref, Text};
use super::paging::{Page, Paging};
use super::routing::PartitionKind;
use super::{Change, Ctx, check_decks, ids, nanos, none_wrong, not_updated, patched, saved};
use crate::store::sql;
use crate::store::types::{Amount, Time};

crate::record! {
    /// A customer.
    pub struct Customer {
        /// `cus_…`
        pub id: String,
        /// For people.
        pub name: String,
        /// `active`, or `suspended`: no key works and every call is refused.
        pub status: String,
        /// Of all its amounts; it never changes.
        pub currency: String,
        /// Calls at once over all trunks.
        pub channels: Option<i32>,
        /// Calls per second over all trunks.
        pub cps: Option<i32>,
        /// The highest price per minute that it will pay.
        pub max_rate_per_min: Option<Amount>,
        /// Spend per day in its zone.
        pub daily_spend: Option<Amount>,
        /// Minutes east of UTC: when its day begins.
        pub utc_offset_min: i32,
        /// Price lists of its trunks, in order, unless a trunk has its own.
        pub sell_deck_ids: Vec<String>,
        /// Partition of its trunks, unless a trunk has its own.
        pub partition_id: Option<String>,
        /// Made.
        pub created_at: Time,
        /// Last change.
        pub updated_at: Time,
        /// Rises with each change; the ETag.
        pub version: i32,
    }
}

crate::choice! {
    /// Whether a customer or vendor is in business with us.
    pub enum Status {
        /// Yes.
        Active = "active",
        /// Not now.
        Suspended = "suspended",
    }
}

crate::input! {
    /// A customer to make or replace.
    pub struct CustomerInput {
        /// For people.
        pub name: Text<1, 100>,
        /// `active` when absent.
        pub status: Option<Status>,
        /// ISO 4217; `USD` when absent. It cannot change.
        pub currency: Option<CurrencyCode>,
        /// Calls at once over all trunks.
        pub channels: Option<Int<0, 1_000_000>>,
        /// Calls per second over all trunks.
        pub cps: Option<Int<0, 100_000>>,
        /// The highest price per minute that it will pay.
        pub max_rate_per_min: Option<Amount>,
        /// Spend per day in its zone.
        pub daily_spend: Option<Amount>,
        /// Minutes east of UTC: when its day begins; 0 when absent.
        pub utc_offset_min: Option<Int<-840, 840>>,
        /// Price lists of its trunks, in order.
        pub sell_deck_ids: List<Ref<DeckKind>, 16>,
        /// Partition of its trunks.
        pub partition_id: Option<Ref<PartitionKind>>,
    }
}

crate::record! {
    /// A billing account number: the unit of cycle, terms, currency and invoice.
    pub struct Ban {
        /// `ban_…`
        pub id: String,
        /// Whose.
        pub customer_id: String,
        /// For people.
        pub name: String,
        /// ISO 4217.
        pub currency: String,
        /// Day of the month, 1 to 28.
        pub cycle_day: i32,
        /// Net days: 0, 15, 30, 60.
        pub terms_days: i32,
        /// `prepaid` or `postpaid`.
        pub mode: String,
        /// Made.
        pub created_at: Time,
    }
}

crate::choice! {
    /// How a billing account pays.
    pub enum BanMode {
        /// Before.
        Prepaid = "prepaid",
        /// After.
        Postpaid = "postpaid",
    }
}

crate::input! {
    /// A billing account to make.
    pub struct BanInput {
        /// For people.
        pub name: Text<1, 100>,
        /// Day of the month; 1 when absent.
        pub cycle_day: Option<Int<1, 28>>,
        /// Net days: 0, 15, 30 (when absent) or 60.
        pub terms_days: Option<Int<0, 60>>,
        /// `postpaid` when absent.
        pub mode: Option<BanMode>,
    }
}

/// Newest first.
pub async fn list(ctx: &Ctx<'_>, paging: &Paging) -> Result<Page<Customer>, Fault> {
    let mut tx = ctx.begin().await?;
    let statement = paging.statement(sql::CUSTOMER_LIST, sql::CUSTOMER_LIST_OLDEST);
    let rows = tx.all(sqlx::query(statement).bind(paging.after.as_deref()).bind(paging.rows())).await?;
    Ok(Page::of(rows, paging.limit, |c: &Customer| &c.id))
}

/// One.
pub async fn get(ctx: &Ctx<'_>, id: CustomerId) -> Result<Customer, Fault> {
    let mut tx = ctx.begin().await?;
    let row = tx.first(sqlx::query(sql::CUSTOMER_GET).bind(id.to_string())).await?;
    row.ok_or_else(|| Fault::not_found("customer"))
}

/// A new customer.
pub async fn create(ctx: &Ctx<'_>, input: CustomerInput) -> Result<Customer, Fault> {
    let id: CustomerId = ctx.new_id::<CustomerKind>();
    let row = write(ctx, sql::CUSTOMER_INSERT, id, input, None).await?;
    row.ok_or_else(|| Fault::not_found("customer"))
}

/// Another state of it; `version` is what If-Match said.
pub async fn update(
    ctx: &Ctx<'_>,
    id: CustomerId,
    change: Change<'_>,
    version: Option<i32>,
) -> Result<Customer, Fault> {
    let current = get(ctx, id).await?;
    let input: CustomerInput = patched(&current, change)?;
    if input.currency.as_ref().is_some_and(|c| c.0.as_str() != current.currency) {
        return Err(Fault::field("currency", "invalid", "the currency of a customer cannot change"));
    }
    // Without If-Match the version just read guards against losing somebody else's change of another field.
    let version = Some(version.unwrap_or(current.version));
    let row = write(ctx, sql::CUSTOMER_UPDATE, id, input, Some(version)).await?;
    row.ok_or_else(|| not_updated(true, "customer"))
}

/// `version` is `None` for an INSERT.
async fn write(
    ctx: &Ctx<'_>,
    statement: &'static str,
    id: CustomerId,
    input: CustomerInput,
    version: Option<Option<i32>>,
) -> Result<Option<Customer>, Fault> {
    let currency = input.currency.as_ref().map_or(Currency::USD, |c| c.0);
    let mut problems: Vec<Problem> = Vec::new();
    let max_rate = nanos(input.max_rate_per_min, currency, "max_rate_per_min", &mut problems);
    let daily = nanos(input.daily_spend, currency, "daily_spend", &mut problems);
    let decks = ids(&input.sell_deck_ids);
    let mut tx = ctx.begin().await?;
    check_decks(&mut tx, &decks, Some(currency), "sell_deck_ids", &mut problems).await?;
    none_wrong(problems)?;
    let mut query = sqlx::query(statement)
        .bind(id.to_string())
        .bind(input.name.0.clone())
        .bind(input.status.unwrap_or(Status::Active).as_str())
        .bind(currency.as_str().to_owned())
        .bind(input.channels.map(Int::as_i32))
        .bind(input.cps.map(Int::as_i32))
        .bind(max_rate)
        .bind(daily)
        .bind(input.utc_offset_min.map_or(0, Int::as_i32))
        .bind(decks)
        .bind(input.partition_id.map(|p| p.0.to_string()));
    if let Some(v) = version {
        query = query.bind(v);
    }
    let row: Option<Customer> = tx.first(query).await?;
    saved(ctx, tx, Some(id), "customer", version.is_some(), (&id.to_string(), row)).await
}

/// Billing accounts, newest first; of one customer or of all.
pub async fn list_bans(
    ctx: &Ctx<'_>,
    customer: Option<CustomerId>,
    paging: &Paging,
) -> Result<Page<Ban>, Fault> {
    let mut tx = ctx.begin().await?;
    let query = sqlx::query(sql::BAN_LIST)
        .bind(customer.map(|c| c.to_string()))
        .bind(paging.after.as_deref())
        .bind(paging.rows());
    Ok(Page::of(tx.all(query).await?, paging.limit, |b: &Ban| &b.id))
}

/// A new billing account, in the customer's currency.
pub async fn create_ban(ctx: &Ctx<'_>, customer: CustomerId, input: BanInput) -> Result<Ban, Fault> {
    let terms = input.terms_days.map_or(30, Int::as_i32);
    if ![0, 15, 30, 60].contains(&terms) {
        return Err(Fault::field("terms_days", "invalid", "must be 0, 15, 30 or 60"));
    }
    let currency = get(ctx, customer).await?.currency;
    let id: BanId = ctx.new_id::<BanKind>();
    let mut tx = ctx.begin().await?;
    let row: Option<Ban> = tx
        .first(
            sqlx::query(sql::BAN_INSERT)
                .bind(id.to_string())
                .bind(customer.to_string())
                .bind(input.name.0)
                .bind(currency)
                .bind(input.cycle_day.map_or(1, Int::as_i32))
                .bind(terms)
                .bind(input.mode.unwrap_or(BanMode::Postpaid).as_str()),
        )
        .await?;
    let row = row.ok_or_else(|| Fault::not_found("customer"))?;
    ctx.audit(&mut tx, Some(customer), "ban.create", &row.id, None).await?;
    tx.commit().await?;
    Ok(row)
}
