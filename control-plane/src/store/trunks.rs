//! Rows that belong to customers' trunks: addresses and digest users; and the tightest limits over several trunks. The rows of
//! trunks themselves are declared in [`crate::noun::trunk`].

use sqlx::Row;
use warp_model::{CustomerId, TrunkId};

use super::sql::statements;
use super::types::Time;
use super::{StoreError, Tx};
use crate::app::paging::Paging;

crate::row! {
    /// The carrier's tightest limits over trunks of a customer.
    pub struct TightestRow {
        all_active: bool,
        channels: Option<i32>,
        cps: Option<i32>,
        max_rate_per_min: Option<i64>,
        daily_spend: Option<i64>,
        max_duration_s: Option<i32>,
        /// Some trunk refuses calls without a valid caller.
        require_valid_caller: bool,
        /// The list of classes of each trunk, words with commas.
        destinations: Vec<String>,
    }
}

crate::row! {
    /// An address of an IP ACL.
    pub struct AddressRow {
        address: String,
        created_at: Time,
    }
}

crate::row! {
    /// The row of a digest user.
    pub struct CredentialRow {
        username: String,
        /// Realm that its keys were made for.
        realm: String,
        created_at: Time,
    }
}

/// The carrier's tightest limits over the trunks of a customer, without the one of this id.
pub async fn tightest(
    tx: &mut Tx,
    customer: CustomerId,
    without: Option<TrunkId>,
) -> Result<Option<TightestRow>, StoreError> {
    let query = sqlx::query(TRUNK_TIGHTEST).bind(customer.to_string()).bind(without.map(|t| t.to_string()));
    tx.first(query).await
}

/// One page of its addresses; `after` is an address as it is listed.
pub async fn addresses(
    tx: &mut Tx,
    id: TrunkId,
    address: Option<&str>,
    paging: &Paging,
) -> Result<Vec<AddressRow>, StoreError> {
    let query = sqlx::query(TRUNK_IP_LIST)
        .bind(id.to_string())
        .bind(paging.after.as_deref())
        .bind(address)
        .bind(paging.rows());
    tx.all(query).await
}

/// How many addresses it has.
pub async fn count_addresses(tx: &mut Tx, id: TrunkId) -> Result<i64, StoreError> {
    counted(tx, TRUNK_IP_COUNT, id.to_string()).await
}

/// Writes one more address of a trunk.
pub async fn insert_address(
    tx: &mut Tx,
    customer: CustomerId,
    id: TrunkId,
    address: &str,
) -> Result<Option<AddressRow>, StoreError> {
    let query = sqlx::query(TRUNK_IP_INSERT).bind(customer.to_string()).bind(id.to_string()).bind(address);
    tx.first(query).await
}

/// One address less; how many there were.
pub async fn delete_address(tx: &mut Tx, id: TrunkId, address: &str) -> Result<u64, StoreError> {
    tx.run(sqlx::query(TRUNK_IP_DELETE).bind(id.to_string()).bind(address)).await
}

/// One page of its digest users; `after` is a user name.
pub async fn credentials(
    tx: &mut Tx,
    id: TrunkId,
    paging: &Paging,
) -> Result<Vec<CredentialRow>, StoreError> {
    let query =
        sqlx::query(CREDENTIAL_LIST).bind(id.to_string()).bind(paging.after.as_deref()).bind(paging.rows());
    tx.all(query).await
}

/// The row of one digest user.
pub async fn credential(
    tx: &mut Tx,
    id: TrunkId,
    username: &str,
) -> Result<Option<CredentialRow>, StoreError> {
    tx.first(sqlx::query(CREDENTIAL_GET).bind(id.to_string()).bind(username)).await
}

/// How many digest users it has.
pub async fn count_credentials(tx: &mut Tx, id: TrunkId) -> Result<i64, StoreError> {
    counted(tx, CREDENTIAL_COUNT, id.to_string()).await
}

/// One more digest user, with its HA1 values (MD5, SHA-256).
pub async fn insert_credential(
    tx: &mut Tx,
    (customer, id): (CustomerId, TrunkId),
    username: &str,
    realm: &str,
    ha1: (String, String),
) -> Result<Option<CredentialRow>, StoreError> {
    let query = sqlx::query(CREDENTIAL_INSERT)
        .bind(customer.to_string())
        .bind(id.to_string())
        .bind(username)
        .bind(realm)
        .bind(ha1.0)
        .bind(ha1.1);
    tx.first(query).await
}

/// One digest user less; how many there were.
pub async fn delete_credential(tx: &mut Tx, id: TrunkId, username: &str) -> Result<u64, StoreError> {
    tx.run(sqlx::query(CREDENTIAL_DELETE).bind(id.to_string()).bind(username)).await
}

async fn counted(tx: &mut Tx, statement: &'static str, owner: String) -> Result<i64, StoreError> {
    let row = sqlx::query(statement).bind(owner).fetch_one(tx.db()).await?;
    Ok(row.try_get(0)?)
}

statements! {
    /// The carrier's tightest limits over a customer's trunks; `$2` = one that does not count, or NULL.
    TRUNK_TIGHTEST = "SELECT coalesce(bool_and(status = 'active'), true) AS all_active,
            min(channels) AS channels, min(cps) AS cps, min(max_rate_per_min) AS max_rate_per_min,
            min(daily_spend) AS daily_spend, min(max_duration_s) AS max_duration_s,
            coalesce(bool_or(require_valid_caller), false) AS require_valid_caller,
            coalesce(array_agg(DISTINCT array_to_string(destinations, ',')), '{}') AS destinations
        FROM trunks WHERE customer_id = $1 AND ($2::text IS NULL OR id <> $2)";
    /// One page of an IP ACL: `$2` after this address, `$3` only this one.
    TRUNK_IP_LIST = "SELECT host(address) || '/' || masklen(address) AS address, us(created_at) AS created_at FROM trunk_ips
        WHERE trunk_id = $1 AND ($2::text IS NULL OR address > $2::text::inet) AND ($3::text IS NULL OR address = $3::text::inet)
        ORDER BY trunk_ips.address LIMIT $4";
    /// One more.
    TRUNK_IP_INSERT = "INSERT INTO trunk_ips (customer_id, trunk_id, address) VALUES ($1, $2, $3::text::inet)
        RETURNING host(address) || '/' || masklen(address) AS address, us(created_at) AS created_at";
    /// One less.
    TRUNK_IP_DELETE = "DELETE FROM trunk_ips WHERE trunk_id = $1 AND address = $2::text::inet";
    /// How many it has.
    TRUNK_IP_COUNT = "SELECT count(*) FROM trunk_ips WHERE trunk_id = $1";
    /// How many digest users a trunk has.
    CREDENTIAL_COUNT = "SELECT count(*) FROM trunk_credentials WHERE trunk_id = $1";
    /// One page of the digest users of a trunk: `$2` after this name.
    CREDENTIAL_LIST = "SELECT username, realm, us(created_at) AS created_at FROM trunk_credentials
        WHERE trunk_id = $1 AND ($2::text IS NULL OR username > $2) ORDER BY username LIMIT $3";
    /// One digest user.
    CREDENTIAL_GET = "SELECT username, realm, us(created_at) AS created_at FROM trunk_credentials
        WHERE trunk_id = $1 AND username = $2";
    /// One more.
    CREDENTIAL_INSERT = "INSERT INTO trunk_credentials (customer_id, trunk_id, username, realm, ha1_md5, ha1_sha256)
        VALUES ($1, $2, $3, $4, $5, $6) RETURNING username, realm, us(created_at) AS created_at";
    /// One less.
    CREDENTIAL_DELETE = "DELETE FROM trunk_credentials WHERE trunk_id = $1 AND username = $2";
}
