//! Rows of vendors, their trunks, and the emergency route.

use sqlx::Row;
use warp_model::{VendorId, VendorTrunkId};

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

crate::row! {
    /// The row of a vendor trunk.
    pub struct VendorTrunkRow {
        id: String,
        vendor_id: String,
        name: String,
        status: String,
        transport: String,
        addresses: Vec<String>,
        channels: Option<i32>,
        cps: Option<i32>,
        tech_prefix: String,
        number_format: String,
        media_ips: Vec<String>,
        signalling_ips: Vec<String>,
        follow_redirects: bool,
        priority: i32,
        weight: i32,
        auth_username: Option<String>,
        auth_realm: Option<String>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
}

/// What is written of a vendor trunk.
pub struct VendorTrunkValues {
    /// Its name, for people.
    pub name: String,
    /// The status as a word: `active` or `disabled`.
    pub status: &'static str,
    /// The transport as a word: `udp` or `tcp`.
    pub transport: &'static str,
    /// Where its INVITEs go.
    pub addresses: Vec<String>,
    /// Most calls at once; `None` is no limit.
    pub channels: Option<i32>,
    /// Most calls a second; `None` is no limit.
    pub cps: Option<i32>,
    /// In front of the number.
    pub tech_prefix: String,
    /// `plus_e164`, `e164` or `national`.
    pub number_format: &'static str,
    /// Further addresses that media may come from.
    pub media_ips: Vec<String>,
    /// Other nodes of its platform.
    pub signalling_ips: Vec<String>,
    /// Follow its redirections to its own addresses.
    pub follow_redirects: bool,
    /// Its place in the order: the smaller one is tried first.
    pub priority: i32,
    /// Among equal priorities the larger one is tried first.
    pub weight: i32,
    /// The user name that we sign in with.
    pub auth_username: Option<String>,
    /// Sealed password; `None` keeps the old one while there is a user.
    pub auth_secret: Option<Vec<u8>>,
    /// Only towards this realm.
    pub auth_realm: Option<String>,
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

/// One page of trunks, of one vendor or of all.
pub async fn list_trunks(
    tx: &mut Tx,
    vendor: Option<VendorId>,
    paging: &Paging,
) -> Result<Vec<VendorTrunkRow>, StoreError> {
    let query = sqlx::query(paging.statement(VENDOR_TRUNK_LIST, VENDOR_TRUNK_LIST_OLDEST))
        .bind(vendor.map(|v| v.to_string()))
        .bind(paging.after.as_deref())
        .bind(paging.rows());
    tx.all(query).await
}

/// The vendor trunk with this id, or `None` when there is none.
pub async fn get_trunk(tx: &mut Tx, id: VendorTrunkId) -> Result<Option<VendorTrunkRow>, StoreError> {
    tx.first(sqlx::query(VENDOR_TRUNK_GET).bind(id.to_string())).await
}

/// One trunk, so that nobody else changes it until the transaction ends.
pub async fn lock_trunk(tx: &mut Tx, id: VendorTrunkId) -> Result<Option<VendorTrunkRow>, StoreError> {
    tx.first(sqlx::query(VENDOR_TRUNK_LOCK).bind(id.to_string())).await
}

/// Writes a new vendor trunk; gives its row.
pub async fn insert_trunk(
    tx: &mut Tx,
    id: VendorTrunkId,
    vendor: VendorId,
    v: VendorTrunkValues,
) -> Result<Option<VendorTrunkRow>, StoreError> {
    tx.first(bound_trunk(VENDOR_TRUNK_INSERT, id, vendor, v)).await
}

/// Replaces the values of a vendor trunk; `None` when there is none.
pub async fn update_trunk(
    tx: &mut Tx,
    id: VendorTrunkId,
    vendor: VendorId,
    v: VendorTrunkValues,
) -> Result<Option<VendorTrunkRow>, StoreError> {
    tx.first(bound_trunk(VENDOR_TRUNK_UPDATE, id, vendor, v)).await
}

fn bound_trunk(
    statement: &'static str,
    id: VendorTrunkId,
    vendor: VendorId,
    v: VendorTrunkValues,
) -> super::Query<'static> {
    sqlx::query(statement)
        .bind(id.to_string())
        .bind(vendor.to_string())
        .bind(v.name)
        .bind(v.status)
        .bind(v.transport)
        .bind(v.addresses)
        .bind(v.channels)
        .bind(v.cps)
        .bind(v.tech_prefix)
        .bind(v.number_format)
        .bind(v.media_ips)
        .bind(v.priority)
        .bind(v.weight)
        .bind(v.auth_username)
        .bind(v.auth_secret)
        .bind(v.auth_realm)
        .bind(v.signalling_ips)
        .bind(v.follow_redirects)
}

/// Deletes a trunk; how many there were.
pub async fn delete_trunk(tx: &mut Tx, id: VendorTrunkId) -> Result<u64, StoreError> {
    tx.run(sqlx::query(VENDOR_TRUNK_DELETE).bind(id.to_string())).await
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
macro_rules! vendor_trunk_columns {
    () => {
        "id, vendor_id, name, status, transport, addresses, channels, cps, tech_prefix, number_format, media_ips,
         signalling_ips, follow_redirects, priority, weight, auth_username, auth_realm, us(created_at) AS created_at, us(updated_at) AS updated_at, version"
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
macro_rules! vendor_trunk_page {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            vendor_trunk_columns!(),
            " FROM vendor_trunks
        WHERE ($1::text IS NULL OR vendor_id = $1) AND ($2::text IS NULL OR id ",
            $after,
            " $2) ORDER BY id ",
            $order,
            " LIMIT $3"
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
    /// One page; `$1` = vendor or NULL.
    VENDOR_TRUNK_LIST = vendor_trunk_page!("<", "DESC");
    /// The same, oldest first.
    VENDOR_TRUNK_LIST_OLDEST = vendor_trunk_page!(">", "ASC");
    /// One.
    VENDOR_TRUNK_GET = concat!("SELECT ", vendor_trunk_columns!(), " FROM vendor_trunks WHERE id = $1");
    /// One, locked.
    VENDOR_TRUNK_LOCK = concat!("SELECT ", vendor_trunk_columns!(), " FROM vendor_trunks WHERE id = $1 FOR UPDATE");
    /// New.
    VENDOR_TRUNK_INSERT = concat!("INSERT INTO vendor_trunks (id, vendor_id, name, status, transport, addresses, channels,
            cps, tech_prefix, number_format, media_ips, priority, weight, auth_username, auth_secret, auth_realm,
            signalling_ips, follow_redirects)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) RETURNING ", vendor_trunk_columns!());
    /// Replaces; a NULL password keeps the old one while there is a user.
    VENDOR_TRUNK_UPDATE = concat!("UPDATE vendor_trunks SET name = $3, status = $4, transport = $5, addresses = $6,
            channels = $7, cps = $8, tech_prefix = $9, number_format = $10, media_ips = $11, priority = $12, weight = $13,
            auth_username = $14,
            auth_secret = CASE WHEN $14::text IS NULL THEN NULL ELSE coalesce($15, auth_secret) END, auth_password = NULL,
            auth_realm = $16, signalling_ips = $17, follow_redirects = $18, updated_at = now(), version = version + 1
        WHERE id = $1 AND vendor_id = $2 RETURNING ", vendor_trunk_columns!());
    /// Gone.
    VENDOR_TRUNK_DELETE = "DELETE FROM vendor_trunks WHERE id = $1";
    /// Emergency route, in order.
    EMERGENCY_LIST = "SELECT vendor_trunk_id FROM emergency_route ORDER BY position";
    /// Empties it.
    EMERGENCY_CLEAR = "DELETE FROM emergency_route";
    /// Fills it in order.
    EMERGENCY_FILL = "INSERT INTO emergency_route (position, vendor_trunk_id)
        SELECT n, id FROM unnest($1::text[]) WITH ORDINALITY AS x(id, n)";
}
