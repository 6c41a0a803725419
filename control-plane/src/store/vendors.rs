//! Rows of vendors, and the emergency route. The rows of their trunks are declared in [`crate::noun::vendor_trunk`].

use sqlx::Row;
use warp_model::VendorId;

use super::sql::statements;
use super::types::Time;
use super::{StoreError, Tx};
use crate::app::paging::Paging;

crate::row! {
    /// A vendor as it is stored.
    pub struct VendorRow {
        id: String,
        slug: String,
        name: String,
        status: String,
        buy_deck_ids: Vec<String>,
        /// State of the point of interconnection.
        interconnection: Option<String>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
}

/// What is written of a vendor.
pub struct VendorValues {
    /// A short name: lower-case letters, digits and hyphens.
    pub slug: String,
    /// Its name, for people.
    pub name: String,
    /// The status as a word: `active` or `suspended`.
    pub status: &'static str,
    /// The ids of its price lists, in order.
    pub buy_deck_ids: Vec<String>,
    /// State of the point of interconnection.
    pub interconnection: Option<String>,
}

/// One page, in the order that `paging` says, and one row more.
pub async fn list(tx: &mut Tx, paging: &Paging) -> Result<Vec<VendorRow>, StoreError> {
    let statement = paging.statement(VENDOR_LIST, VENDOR_LIST_OLDEST);
    tx.all(sqlx::query(statement).bind(paging.after.as_deref()).bind(paging.rows())).await
}

/// The row with this id, or `None` when the scope sees none.
pub async fn get(tx: &mut Tx, id: VendorId) -> Result<Option<VendorRow>, StoreError> {
    tx.first(sqlx::query(VENDOR_GET).bind(id.to_string())).await
}

/// One, so that nobody else changes it until the transaction ends.
pub async fn lock(tx: &mut Tx, id: VendorId) -> Result<Option<VendorRow>, StoreError> {
    tx.first(sqlx::query(VENDOR_LOCK).bind(id.to_string())).await
}

/// Writes a new vendor; gives its row.
pub async fn insert(tx: &mut Tx, id: VendorId, v: VendorValues) -> Result<Option<VendorRow>, StoreError> {
    tx.first(bound(VENDOR_INSERT, id, v)).await
}

/// Writes an object anew; `None` when the scope sees none.
pub async fn update(tx: &mut Tx, id: VendorId, v: VendorValues) -> Result<Option<VendorRow>, StoreError> {
    tx.first(bound(VENDOR_UPDATE, id, v)).await
}

fn bound(statement: &'static str, id: VendorId, v: VendorValues) -> super::Query<'static> {
    sqlx::query(statement)
        .bind(id.to_string())
        .bind(v.slug)
        .bind(v.name)
        .bind(v.status)
        .bind(v.buy_deck_ids)
        .bind(v.interconnection)
}

/// Deletes one; how many there were.
pub async fn delete(tx: &mut Tx, id: VendorId) -> Result<u64, StoreError> {
    tx.run(sqlx::query(VENDOR_DELETE).bind(id.to_string())).await
}

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

macro_rules! vendor_columns {
    () => {
        "id, slug, name, status, buy_deck_ids, interconnection, us(created_at) AS created_at,
         us(updated_at) AS updated_at, version"
    };
}
macro_rules! vendor_page {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            vendor_columns!(),
            " FROM vendors
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
    VENDOR_LIST = vendor_page!("<", "DESC");
    /// The same, oldest first.
    VENDOR_LIST_OLDEST = vendor_page!(">", "ASC");
    /// One.
    VENDOR_GET = concat!("SELECT ", vendor_columns!(), " FROM vendors WHERE id = $1");
    /// One, locked.
    VENDOR_LOCK = concat!("SELECT ", vendor_columns!(), " FROM vendors WHERE id = $1 FOR UPDATE");
    /// New.
    VENDOR_INSERT = concat!("INSERT INTO vendors (id, slug, name, status, buy_deck_ids, interconnection)
        VALUES ($1, $2, $3, $4, $5, $6) RETURNING ", vendor_columns!());
    /// Replaces.
    VENDOR_UPDATE = concat!("UPDATE vendors SET slug = $2, name = $3, status = $4, buy_deck_ids = $5, interconnection = $6,
            updated_at = now(), version = version + 1
        WHERE id = $1 RETURNING ", vendor_columns!());
    /// Gone, unless something refers to it.
    VENDOR_DELETE = "DELETE FROM vendors WHERE id = $1";
    /// Emergency route, in order.
    EMERGENCY_LIST = "SELECT vendor_trunk_id FROM emergency_route ORDER BY position";
    /// Empties it.
    EMERGENCY_CLEAR = "DELETE FROM emergency_route";
    /// Fills it in order.
    EMERGENCY_FILL = "INSERT INTO emergency_route (position, vendor_trunk_id)
        SELECT n, id FROM unnest($1::text[]) WITH ORDINALITY AS x(id, n)";
}
