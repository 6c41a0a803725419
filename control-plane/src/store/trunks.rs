//! Rows of customers' trunks, their addresses and digest users. Each limit stands twice: the carrier's and the customer's own.

use sqlx::Row;
use warp_model::{CustomerId, TrunkId};

use super::sql::statements;
use super::types::{Amount, Time};
use super::{StoreError, Tx};
use crate::app::paging::Paging;

crate::row! {
    /// A trunk. Limits without `own_` are the carrier's, those with it the customer's.
    pub struct TrunkRow {
        id: String,
        customer_id: String,
        currency: String,
        ban_id: Option<String>,
        name: String,
        status: String,
        channels: Option<i32>,
        cps: Option<i32>,
        max_rate_per_min: Option<Amount>,
        daily_spend: Option<Amount>,
        max_duration_s: Option<i32>,
        destinations: Vec<String>,
        require_valid_caller: bool,
        own_status: String,
        own_channels: Option<i32>,
        own_cps: Option<i32>,
        own_max_rate_per_min: Option<Amount>,
        own_daily_spend: Option<Amount>,
        own_max_duration_s: Option<i32>,
        /// Destinations that the customer wants; NULL = all that it may.
        own_destinations: Option<Vec<String>>,
        own_require_valid_caller: bool,
        media_ips: Vec<String>,
        strip_prefixes: Vec<String>,
        strip_required: bool,
        trust_asserted: bool,
        sell_deck_ids: Vec<String>,
        partition_id: Option<String>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
}

/// The limits of one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedLimits {
    /// The status as a word: `active` or `disabled`.
    pub status: String,
    /// Most calls at once; `None` is no limit.
    pub channels: Option<i32>,
    /// Most calls a second; `None` is no limit.
    pub cps: Option<i32>,
    /// Highest price in nano-units per minute; `None` is no limit.
    pub max_rate_per_min: Option<i64>,
    /// Most spent in a day, in nano-units; `None` is no limit.
    pub daily_spend: Option<i64>,
    /// The longest call, in seconds.
    pub max_duration_s: Option<i32>,
    /// Classes; `None` only on the customer's side: all that the carrier allows.
    pub destinations: Option<Vec<String>>,
    /// Refuse calls without a valid caller.
    pub require_valid_caller: bool,
}

/// What is written of a trunk.
pub struct TrunkValues {
    /// The billing account that pays.
    pub ban_id: Option<String>,
    /// Its name, for people.
    pub name: String,
    /// The limits that the carrier sets.
    pub carrier: OwnedLimits,
    /// The limits that the customer sets itself.
    pub own: OwnedLimits,
    /// Further addresses that media may come from.
    pub media_ips: Vec<String>,
    /// Prefixes that are taken off.
    pub strip_prefixes: Vec<String>,
    /// Refuse numbers without one of them.
    pub strip_required: bool,
    /// Whether its P-Asserted-Identity is believed.
    pub trust_asserted: bool,
    /// The ids of its price lists, in order.
    pub sell_deck_ids: Vec<String>,
    /// The id of its partition; `None` = none of its own.
    pub partition_id: Option<String>,
}

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

/// One page, of one customer or of all that the scope sees.
pub async fn list(
    tx: &mut Tx,
    customer: Option<CustomerId>,
    paging: &Paging,
) -> Result<Vec<TrunkRow>, StoreError> {
    let query = sqlx::query(paging.statement(TRUNK_LIST, TRUNK_LIST_OLDEST))
        .bind(customer.map(|c| c.to_string()))
        .bind(paging.after.as_deref())
        .bind(paging.rows());
    tx.all(query).await
}

/// The row with this id, or `None` when the scope sees none.
pub async fn get(tx: &mut Tx, id: TrunkId) -> Result<Option<TrunkRow>, StoreError> {
    tx.first(sqlx::query(TRUNK_GET).bind(id.to_string())).await
}

/// One, so that nobody else changes it until the transaction ends.
pub async fn lock(tx: &mut Tx, id: TrunkId) -> Result<Option<TrunkRow>, StoreError> {
    tx.first(sqlx::query(TRUNK_LOCK).bind(id.to_string())).await
}

/// Writes a new trunk; gives its row.
pub async fn insert(
    tx: &mut Tx,
    id: TrunkId,
    customer: CustomerId,
    v: TrunkValues,
) -> Result<Option<TrunkRow>, StoreError> {
    tx.first(bound(TRUNK_INSERT, id, customer, v)).await
}

/// Writes an object anew; `None` when the scope sees none.
pub async fn update(
    tx: &mut Tx,
    id: TrunkId,
    customer: CustomerId,
    v: TrunkValues,
) -> Result<Option<TrunkRow>, StoreError> {
    tx.first(bound(TRUNK_UPDATE, id, customer, v)).await
}

fn bound(
    statement: &'static str,
    id: TrunkId,
    customer: CustomerId,
    v: TrunkValues,
) -> super::Query<'static> {
    sqlx::query(statement)
        .bind(id.to_string())
        .bind(customer.to_string())
        .bind(v.ban_id)
        .bind(v.name)
        .bind(v.media_ips)
        .bind(v.strip_prefixes)
        .bind(v.strip_required)
        .bind(v.trust_asserted)
        .bind(v.sell_deck_ids)
        .bind(v.partition_id)
        .bind(v.carrier.status)
        .bind(v.carrier.channels)
        .bind(v.carrier.cps)
        .bind(v.carrier.max_rate_per_min)
        .bind(v.carrier.daily_spend)
        .bind(v.carrier.max_duration_s)
        .bind(v.carrier.destinations.unwrap_or_default())
        .bind(v.carrier.require_valid_caller)
        .bind(v.own.status)
        .bind(v.own.channels)
        .bind(v.own.cps)
        .bind(v.own.max_rate_per_min)
        .bind(v.own.daily_spend)
        .bind(v.own.max_duration_s)
        .bind(v.own.destinations)
        .bind(v.own.require_valid_caller)
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

/// Deletes one with its addresses and users; how many there were.
pub async fn delete(tx: &mut Tx, id: TrunkId) -> Result<u64, StoreError> {
    tx.run(sqlx::query(TRUNK_DELETE).bind(id.to_string())).await
}

/// How many trunks a customer has.
pub async fn count(tx: &mut Tx, customer: CustomerId) -> Result<i64, StoreError> {
    counted(tx, TRUNK_COUNT, customer.to_string()).await
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

macro_rules! trunk_columns {
    () => {
        "t.id, t.customer_id, c.currency, t.ban_id, t.name, t.status, t.channels, t.cps,
         amount_text(t.max_rate_per_min, c.currency) AS max_rate_per_min,
         amount_text(t.daily_spend, c.currency) AS daily_spend, t.max_duration_s, t.destinations, t.require_valid_caller,
         t.own_status, t.own_channels, t.own_cps, amount_text(t.own_max_rate_per_min, c.currency) AS own_max_rate_per_min,
         amount_text(t.own_daily_spend, c.currency) AS own_daily_spend, t.own_max_duration_s, t.own_destinations,
         t.own_require_valid_caller, t.media_ips, t.strip_prefixes, t.strip_required, t.trust_asserted, t.sell_deck_ids,
         t.partition_id, us(t.created_at) AS created_at, us(t.updated_at) AS updated_at, t.version"
    };
}
macro_rules! trunk_page {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            trunk_columns!(),
            " FROM trunks t JOIN customers c ON c.id = t.customer_id
        WHERE ($1::text IS NULL OR t.customer_id = $1) AND ($2::text IS NULL OR t.id ",
            $after,
            " $2) ORDER BY t.id ",
            $order,
            " LIMIT $3"
        )
    };
}

statements! {
    /// One page; `$1` = customer or NULL.
    TRUNK_LIST = trunk_page!("<", "DESC");
    /// The same, oldest first.
    TRUNK_LIST_OLDEST = trunk_page!(">", "ASC");
    /// One.
    TRUNK_GET = concat!("SELECT ", trunk_columns!(), " FROM trunks t JOIN customers c ON c.id = t.customer_id
        WHERE t.id = $1");
    /// One, locked.
    TRUNK_LOCK = concat!("SELECT ", trunk_columns!(), " FROM trunks t JOIN customers c ON c.id = t.customer_id
        WHERE t.id = $1 FOR UPDATE OF t");
    /// New.
    TRUNK_INSERT = concat!("WITH t AS (INSERT INTO trunks (id, customer_id, ban_id, name, media_ips, strip_prefixes,
            strip_required, trust_asserted, sell_deck_ids, partition_id, status, channels, cps, max_rate_per_min, daily_spend,
            max_duration_s, destinations, require_valid_caller, own_status, own_channels, own_cps, own_max_rate_per_min,
            own_daily_spend, own_max_duration_s, own_destinations, own_require_valid_caller)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
            $25, $26) RETURNING *)
        SELECT ", trunk_columns!(), " FROM t JOIN customers c ON c.id = t.customer_id");
    /// Replaces.
    TRUNK_UPDATE = concat!("WITH t AS (UPDATE trunks SET ban_id = $3, name = $4, media_ips = $5, strip_prefixes = $6,
            strip_required = $7, trust_asserted = $8, sell_deck_ids = $9, partition_id = $10, status = $11, channels = $12,
            cps = $13, max_rate_per_min = $14, daily_spend = $15, max_duration_s = $16, destinations = $17,
            require_valid_caller = $18, own_status = $19, own_channels = $20, own_cps = $21, own_max_rate_per_min = $22,
            own_daily_spend = $23, own_max_duration_s = $24, own_destinations = $25, own_require_valid_caller = $26,
            updated_at = now(), version = version + 1
        WHERE id = $1 AND customer_id = $2 RETURNING *)
        SELECT ", trunk_columns!(), " FROM t JOIN customers c ON c.id = t.customer_id");
    /// The carrier's tightest limits over a customer's trunks; `$2` = one that does not count, or NULL.
    TRUNK_TIGHTEST = "SELECT coalesce(bool_and(status = 'active'), true) AS all_active,
            min(channels) AS channels, min(cps) AS cps, min(max_rate_per_min) AS max_rate_per_min,
            min(daily_spend) AS daily_spend, min(max_duration_s) AS max_duration_s,
            coalesce(bool_or(require_valid_caller), false) AS require_valid_caller,
            coalesce(array_agg(DISTINCT array_to_string(destinations, ',')), '{}') AS destinations
        FROM trunks WHERE customer_id = $1 AND ($2::text IS NULL OR id <> $2)";
    /// Gone, with its addresses and users.
    TRUNK_DELETE = "DELETE FROM trunks WHERE id = $1";
    /// How many trunks a customer has.
    TRUNK_COUNT = "SELECT count(*) FROM trunks WHERE customer_id = $1";
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
