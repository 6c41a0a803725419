//! Rows of customers.

use warp_model::{Currency, CustomerId};

use super::sql::statements;
use super::types::{Amount, Time};
use super::{StoreError, Tx};
use crate::app::paging::Paging;

crate::row! {
    /// A customer as it is stored.
    pub struct CustomerRow {
        id: String,
        name: String,
        status: String,
        currency: String,
        channels: Option<i32>,
        cps: Option<i32>,
        max_rate_per_min: Option<Amount>,
        daily_spend: Option<Amount>,
        utc_offset_min: i32,
        sell_deck_ids: Vec<String>,
        partition_id: Option<String>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
}

/// What is written of a customer.
pub struct CustomerValues {
    /// Its name, for people.
    pub name: String,
    /// The status as a word: `active` or `suspended`.
    pub status: &'static str,
    /// Of all its amounts.
    pub currency: Currency,
    /// Most calls at once; `None` is no limit.
    pub channels: Option<i32>,
    /// Most calls a second; `None` is no limit.
    pub cps: Option<i32>,
    /// Highest price in nano-units per minute; `None` is no limit.
    pub max_rate_per_min: Option<i64>,
    /// Most spent in a day, in nano-units; `None` is no limit.
    pub daily_spend: Option<i64>,
    /// Minutes east of UTC.
    pub utc_offset_min: i32,
    /// The ids of its price lists, in order.
    pub sell_deck_ids: Vec<String>,
    /// The id of its partition; `None` = none of its own.
    pub partition_id: Option<String>,
}

/// One page, in the order that `paging` says, and one row more.
pub async fn list(tx: &mut Tx, paging: &Paging) -> Result<Vec<CustomerRow>, StoreError> {
    let statement = paging.statement(CUSTOMER_LIST, CUSTOMER_LIST_OLDEST);
    tx.all(sqlx::query(statement).bind(paging.after.as_deref()).bind(paging.rows())).await
}

/// The row with this id, or `None` when the scope sees none.
pub async fn get(tx: &mut Tx, id: CustomerId) -> Result<Option<CustomerRow>, StoreError> {
    tx.first(sqlx::query(CUSTOMER_GET).bind(id.to_string())).await
}

/// One, so that nobody else changes it until the transaction ends.
pub async fn lock(tx: &mut Tx, id: CustomerId) -> Result<Option<CustomerRow>, StoreError> {
    tx.first(sqlx::query(CUSTOMER_LOCK).bind(id.to_string())).await
}

/// Writes a new customer; gives its row.
pub async fn insert(
    tx: &mut Tx,
    id: CustomerId,
    values: CustomerValues,
) -> Result<Option<CustomerRow>, StoreError> {
    tx.first(bound(CUSTOMER_INSERT, id, values)).await
}

/// Replaces one. Its currency stays.
pub async fn update(
    tx: &mut Tx,
    id: CustomerId,
    values: CustomerValues,
) -> Result<Option<CustomerRow>, StoreError> {
    tx.first(bound(CUSTOMER_UPDATE, id, values)).await
}

fn bound(statement: &'static str, id: CustomerId, v: CustomerValues) -> super::Query<'static> {
    sqlx::query(statement)
        .bind(id.to_string())
        .bind(v.name)
        .bind(v.status)
        .bind(v.currency.as_str().to_owned())
        .bind(v.channels)
        .bind(v.cps)
        .bind(v.max_rate_per_min)
        .bind(v.daily_spend)
        .bind(v.utc_offset_min)
        .bind(v.sell_deck_ids)
        .bind(v.partition_id)
}

macro_rules! customer_columns {
    () => {
        "id, name, status, currency, channels, cps, amount_text(max_rate_per_min, currency) AS max_rate_per_min,
         amount_text(daily_spend, currency) AS daily_spend, utc_offset_min, sell_deck_ids, partition_id,
         us(created_at) AS created_at, us(updated_at) AS updated_at, version"
    };
}
macro_rules! customer_page {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            customer_columns!(),
            " FROM customers
        WHERE ($1::text IS NULL OR id ",
            $after,
            " $1) ORDER BY id ",
            $order,
            " LIMIT $2"
        )
    };
}

statements! {
    /// One page.
    CUSTOMER_LIST = customer_page!("<", "DESC");
    /// The same, oldest first.
    CUSTOMER_LIST_OLDEST = customer_page!(">", "ASC");
    /// One.
    CUSTOMER_GET = concat!("SELECT ", customer_columns!(), " FROM customers WHERE id = $1");
    /// One, locked.
    CUSTOMER_LOCK = concat!("SELECT ", customer_columns!(), " FROM customers WHERE id = $1 FOR UPDATE");
    /// New.
    CUSTOMER_INSERT = concat!("INSERT INTO customers (id, name, status, currency, channels, cps, max_rate_per_min,
            daily_spend, utc_offset_min, sell_deck_ids, partition_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING ", customer_columns!());
    /// Replaces. The currency stays.
    CUSTOMER_UPDATE = concat!("UPDATE customers SET name = $2, status = $3, channels = $5, cps = $6, max_rate_per_min = $7,
            daily_spend = $8, utc_offset_min = $9, sell_deck_ids = $10, partition_id = $11, updated_at = now(),
            version = version + 1
        WHERE id = $1 AND currency = $4 RETURNING ", customer_columns!());
}
