//! First answers to requests with an Idempotency-Key (T-API-10), written in the transaction of the work that they answer for.

use sqlx::Row;
use warp_model::CustomerId;

use super::sql::statements;
use super::types::Json;
use super::{StoreError, Tx};

crate::row! {
    /// The row of a first answer.
    pub struct KeptRow {
        request: Vec<u8>,
        status: i32,
        headers: Json,
        /// NULL: it held a secret.
        body: Option<String>,
    }
}

/// Takes the key for this transaction; false while another one has it. A transaction that ends in any way gives it back.
pub async fn claim(tx: &mut Tx, owner: &str, key: &str) -> Result<bool, StoreError> {
    let row = sqlx::query(IDEMPOTENCY_CLAIM).bind(owner).bind(key).fetch_one(tx.db()).await?;
    Ok(row.try_get(0)?)
}

/// The first answer of the last 24 hours.
pub async fn find(tx: &mut Tx, owner: &str, key: &str) -> Result<Option<KeptRow>, StoreError> {
    tx.first(sqlx::query(IDEMPOTENCY_FIND).bind(owner).bind(key)).await
}

/// Keeps the first answer to a key.
pub async fn keep(
    tx: &mut Tx,
    (owner, key): (&str, &str),
    customer: Option<CustomerId>,
    kept: KeptRow,
) -> Result<(), StoreError> {
    let query = sqlx::query(IDEMPOTENCY_KEEP)
        .bind(owner)
        .bind(key)
        .bind(customer.map(|c| c.to_string()))
        .bind(kept.request)
        .bind(kept.status)
        .bind(kept.headers.0)
        .bind(kept.body);
    tx.run(query).await?;
    Ok(())
}

statements! {
    /// A lock that ends with the transaction, by key owner `$1` and key `$2`.
    IDEMPOTENCY_CLAIM = "SELECT pg_try_advisory_xact_lock(hashtextextended($1::text || ' ' || $2::text, 0))";
    /// The first request and its answer.
    IDEMPOTENCY_FIND = "SELECT request, status, headers, body FROM idempotency_keys
        WHERE key_id = $1 AND key = $2 AND created_at >= now() - interval '24 hours'";
    /// Keeps the answer; an expired one makes room.
    IDEMPOTENCY_KEEP = "INSERT INTO idempotency_keys (key_id, key, customer_id, request, status, headers, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (key_id, key) DO UPDATE SET request = excluded.request, status = excluded.status,
            headers = excluded.headers, body = excluded.body, created_at = now()";
}
