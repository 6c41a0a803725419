//! Rows of API keys: only a hash of the secret is kept (T-API-12).

use sqlx::Row;
use warp_model::{CustomerId, KeyId, Wall};

use super::sql::statements;
use super::types::Time;
use super::{StoreError, Tx};
use crate::app::paging::Paging;

crate::row! {
    /// A key as it is stored.
    pub struct KeyRow {
        id: String,
        /// Tenant; NULL for operators' keys.
        customer_id: Option<String>,
        audience: String,
        name: String,
        hint: String,
        scopes: Vec<String>,
        ip_allow: Vec<String>,
        created_at: Time,
        expires_at: Option<Time>,
        last_used_at: Option<Time>,
        revoked_at: Option<Time>,
        /// The key that follows it.
        replaced_by: Option<String>,
        /// Made by `warp keys recover`.
        recovered: bool,
        /// The operator who looks through the customer's eyes with it.
        viewer: Option<String>,
    }
}

/// What is written of a key.
pub struct KeyValues {
    /// Tenant; `None` for operators' keys.
    pub customer: Option<CustomerId>,
    /// The audience as a word: `customer` or `operator`.
    pub audience: &'static str,
    /// Its name, for people.
    pub name: String,
    /// The first characters of the key, to be recognised by.
    pub hint: String,
    /// SHA-256 of the secret.
    pub hash: Vec<u8>,
    /// The scopes of the key: what it may do.
    pub scopes: Vec<String>,
    /// Addresses that may use it.
    pub ip_allow: Vec<String>,
    /// When the key ends; `None`: it does not.
    pub expires_at: Option<Wall>,
    /// Made by `warp keys recover`.
    pub recovered: bool,
    /// The operator who looks through the customer's eyes with it.
    pub viewer: Option<String>,
}

crate::row! {
    /// Who holds a secret.
    pub struct HolderRow {
        id: String,
        /// Tenant; NULL for operators.
        customer_id: Option<String>,
        scopes: Vec<String>,
        /// From where it may be used; empty: from everywhere.
        ip_allow: Vec<String>,
        expires_at: Option<Time>,
        /// Made by `warp keys recover`.
        recovered: bool,
        /// Its last use is to be noted.
        touch: bool,
    }
}

/// One page, of one customer or (`None`) of operators.
pub async fn list(
    tx: &mut Tx,
    customer: Option<CustomerId>,
    paging: &Paging,
) -> Result<Vec<KeyRow>, StoreError> {
    let query = sqlx::query(KEY_LIST)
        .bind(customer.map(|c| c.to_string()))
        .bind(paging.after.as_deref())
        .bind(paging.rows());
    tx.all(query).await
}

/// The row with this id, or `None` when the scope sees none.
pub async fn get(tx: &mut Tx, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
    tx.first(sqlx::query(KEY_GET).bind(id.to_string())).await
}

/// The same, locked until the transaction ends.
pub async fn lock(tx: &mut Tx, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
    tx.first(sqlx::query(KEY_LOCK).bind(id.to_string())).await
}

/// One key is followed by another one, and ends at this time at the latest.
pub async fn follow(tx: &mut Tx, id: KeyId, by: KeyId, until: Wall) -> Result<(), StoreError> {
    tx.run(sqlx::query(KEY_FOLLOW).bind(id.to_string()).bind(by.to_string()).bind(until.0)).await?;
    Ok(())
}

/// How many keys were ever recovered.
pub async fn recovered(tx: &mut Tx) -> Result<i64, StoreError> {
    let row = sqlx::query(KEY_RECOVERED).fetch_one(tx.db()).await?;
    Ok(row.try_get(0)?)
}

/// Writes a new key; gives its row.
pub async fn insert(tx: &mut Tx, id: KeyId, v: KeyValues) -> Result<Option<KeyRow>, StoreError> {
    let query = sqlx::query(KEY_INSERT)
        .bind(id.to_string())
        .bind(v.customer.map(|c| c.to_string()))
        .bind(v.audience)
        .bind(v.name)
        .bind(v.hint)
        .bind(v.hash)
        .bind(v.scopes)
        .bind(v.ip_allow)
        .bind(v.expires_at.map(|t| t.0))
        .bind(v.recovered)
        .bind(v.viewer);
    tx.first(query).await
}

/// Ends one; how many there were.
pub async fn revoke(tx: &mut Tx, id: KeyId) -> Result<u64, StoreError> {
    tx.run(sqlx::query(KEY_REVOKE).bind(id.to_string())).await
}

/// Live keys of one customer, or (`None`) of operators.
pub async fn count(tx: &mut Tx, customer: Option<CustomerId>) -> Result<i64, StoreError> {
    let row = sqlx::query(KEY_COUNT).bind(customer.map(|c| c.to_string())).fetch_one(tx.db()).await?;
    Ok(row.try_get(0)?)
}

/// The live key with this hash, when it may be used from this address.
pub async fn find(
    tx: &mut Tx,
    hash: Vec<u8>,
    peer: std::net::IpAddr,
) -> Result<Option<HolderRow>, StoreError> {
    tx.first(sqlx::query(KEY_FIND).bind(hash).bind(peer.to_string())).await
}

/// Notes that the key was used now.
pub async fn touch(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    tx.run(sqlx::query(KEY_TOUCH).bind(id)).await?;
    Ok(())
}

macro_rules! key_columns {
    () => {
        "id, customer_id, audience, name, hint, scopes, ip_allow, us(created_at) AS created_at, us(expires_at) AS expires_at,
         us(last_used_at) AS last_used_at, us(revoked_at) AS revoked_at, replaced_by, recovered, viewer"
    };
}

statements! {
    /// New key.
    KEY_INSERT = concat!("INSERT INTO api_keys (id, customer_id, audience, name, hint, hash, scopes, ip_allow, expires_at, recovered, viewer)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ts($9), $10, $11) RETURNING ", key_columns!());
    /// Keys of one customer, or (`$1` NULL) of operators.
    KEY_LIST = concat!("SELECT ", key_columns!(), " FROM api_keys
        WHERE customer_id IS NOT DISTINCT FROM $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3");
    /// One key.
    KEY_GET = concat!("SELECT ", key_columns!(), " FROM api_keys WHERE id = $1");
    /// One key, so that nobody else changes it until the transaction ends.
    KEY_LOCK = concat!("SELECT ", key_columns!(), " FROM api_keys WHERE id = $1 FOR UPDATE");
    /// Key `$1` is followed by `$2` and ends at `$3`, or before as it was to.
    KEY_FOLLOW = "UPDATE api_keys SET replaced_by = $2, expires_at = least(coalesce(expires_at, 'infinity'), ts($3)) WHERE id = $1";
    /// How many keys were recovered since the first start.
    KEY_RECOVERED = "SELECT count(*) FROM api_keys WHERE recovered";
    /// Ends a key.
    KEY_REVOKE = "UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL";
    /// Live key by hash `$1`, used from address `$2`.
    KEY_FIND = "SELECT k.id, k.customer_id, k.scopes, k.ip_allow, us(k.expires_at) AS expires_at, k.recovered,
            (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute') AS touch
        FROM api_keys k LEFT JOIN customers c ON c.id = k.customer_id
        WHERE k.hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
          AND (k.customer_id IS NULL OR c.status = 'active')
          AND (cardinality(k.ip_allow) = 0
               OR EXISTS (SELECT FROM unnest(k.ip_allow) AS a WHERE $2::text::inet <<= a::inet))";
    /// Last use, to the minute.
    KEY_TOUCH = "UPDATE api_keys SET last_used_at = now() WHERE id = $1";
    /// How many live keys a customer, or (`$1` NULL) operators have.
    KEY_COUNT = "SELECT count(*) FROM api_keys WHERE customer_id IS NOT DISTINCT FROM $1 AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > now())";
}
