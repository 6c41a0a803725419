//! Rows of rating again: the calls to look at, and later versions of their prices.

use sqlx::Row as _;
use warp_model::{CallId, CustomerId, Nanos, PostingId};

use super::sql::statements;
use super::types::{Amount, Json, Time};
use super::{StoreError, Tx};

/// Which calls are rated again; each `None` is no condition.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Begun at or after, microseconds.
    pub setup_from: i64,
    /// Begun before this time, in microseconds.
    pub setup_before: i64,
    /// Only calls of this customer.
    pub customer: Option<String>,
    /// Only calls of this trunk.
    pub trunk: Option<String>,
    /// Only calls after this one, by id.
    pub after: Option<String>,
    /// The most calls that are given.
    pub limit: i64,
}

/// A call with the price that counts.
#[derive(Debug)]
pub struct Priced {
    /// The id of the call.
    pub id: CallId,
    /// The customer who pays.
    pub customer: CustomerId,
    /// The account that paid.
    pub ban: Option<String>,
    /// The version of the price that counts.
    pub version: i32,
    /// What the customer pays by it.
    pub sell: Nanos,
    /// What the carrier pays by it.
    pub buy: Nanos,
    /// The currency of the sale.
    pub currency: String,
    /// The whole record, packed.
    pub packed: Vec<u8>,
}

/// A later version of a price.
#[derive(Debug)]
pub struct NewRating {
    /// The call that it is of.
    pub call: Priced,
    /// What the customer pays by it.
    pub sell: Nanos,
    /// The currency of that.
    pub currency: String,
    /// What the carrier pays by it.
    pub buy: Nanos,
    /// The currency of that.
    pub buy_currency: String,
    /// The difference of both, when it can be told.
    pub margin: Option<Nanos>,
    /// The whole of it.
    pub rating: serde_json::Value,
    /// The posting that takes the difference in; `None`: there is none, or nobody is there to pay.
    pub posting: Option<PostingId>,
}

crate::row! {
    /// A later version of the price of a call.
    pub struct RatingRow {
        version: i32,
        price: Amount,
        cost: Amount,
        margin: Option<Amount>,
        difference: Amount,
        rating: Json,
        posting_id: Option<String>,
        reason: String,
        actor: String,
        created_at: Time,
    }
}

/// Nobody else rates calls again until the transaction ends.
pub async fn alone(tx: &mut Tx) -> Result<(), StoreError> {
    sqlx::query(RERATE_LOCK).execute(tx.db()).await?;
    Ok(())
}

/// Calls that have a price, by id. Reconstructed ones are not among them: their record may still come.
pub async fn priced(tx: &mut Tx, of: &Asked) -> Result<Vec<Priced>, StoreError> {
    tx.plan_for_values().await?;
    let query = sqlx::query(RERATE_CALLS)
        .bind(of.setup_from)
        .bind(of.setup_before)
        .bind(of.customer.as_deref())
        .bind(of.trunk.as_deref())
        .bind(of.after.as_deref())
        .bind(of.limit);
    let unreadable = |what: &str| StoreError::Internal(format!("{what} of a call cannot be read"));
    let mut out = Vec::new();
    for row in query.fetch_all(tx.db()).await? {
        let (id, customer): (String, String) = (row.try_get("id")?, row.try_get("customer_id")?);
        out.push(Priced {
            id: id.parse().map_err(|_| unreadable("the id"))?,
            customer: customer.parse().map_err(|_| unreadable("the customer"))?,
            ban: row.try_get("ban_id")?,
            version: row.try_get("version")?,
            sell: Nanos(row.try_get("sell")?),
            buy: Nanos(row.try_get("buy")?),
            currency: row.try_get("currency")?,
            packed: row.try_get("packed")?,
        });
    }
    Ok(out)
}

/// Writes the next versions.
pub async fn write(tx: &mut Tx, all: &[NewRating], reason: &str, actor: &str) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        (|$r:ident| $value:expr) => {
            all.iter().map(|$r| $value).collect::<Vec<_>>()
        };
    }
    let query = sqlx::query(RERATE_WRITE)
        .bind(column!(|r| r.call.id.to_string()))
        .bind(column!(|r| r.call.version.saturating_add(1)))
        .bind(column!(|r| r.call.customer.to_string()))
        .bind(column!(|r| r.call.ban.as_deref()))
        .bind(column!(|r| r.sell.0))
        .bind(column!(|r| r.currency.as_str()))
        .bind(column!(|r| r.buy.0))
        .bind(column!(|r| r.buy_currency.as_str()))
        .bind(column!(|r| r.margin.map(|m| m.0)))
        .bind(column!(|r| r.sell.0.saturating_sub(r.call.sell.0)))
        .bind(column!(|r| r.rating.clone()))
        .bind(column!(|r| r.posting.map(|p| p.to_string())))
        .bind(reason)
        .bind(actor);
    tx.run(query).await?;
    Ok(())
}

/// The later versions of the price of a call, the oldest first.
pub async fn of_call(tx: &mut Tx, id: CallId) -> Result<Vec<RatingRow>, StoreError> {
    tx.all(sqlx::query(RERATE_OF_CALL).bind(id.to_string())).await
}

statements! {
    /// One at a time, until the transaction ends.
    RERATE_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('rating again', 0))";
    /// Calls with a price: `$1` and `$2` when they began, then customer, trunk and the call before, each NULL when absent.
    RERATE_CALLS = "SELECT c.cdr_id AS id, c.customer_id, c.ban_id, coalesce(r.version, 1) AS version, coalesce(r.sell, c.sell) AS sell,
            coalesce(r.buy, c.buy) AS buy, c.currency, coalesce(c.packed, convert_to(c.record::text, 'UTF8')) AS packed
        FROM calls c LEFT JOIN LATERAL (SELECT version, sell, buy FROM call_ratings x WHERE x.cdr_id = c.cdr_id
            ORDER BY version DESC LIMIT 1) r ON true
        WHERE c.setup_at >= ts($1) AND c.setup_at < ts($2) AND c.sell IS NOT NULL AND c.customer_id IS NOT NULL AND NOT c.recovered
          AND ($3::text IS NULL OR c.customer_id = $3) AND ($4::text IS NULL OR c.trunk_id = $4)
          AND ($5::text IS NULL OR c.cdr_id > $5)
        ORDER BY c.cdr_id LIMIT $6";
    /// Later versions, one array per column.
    RERATE_WRITE = "INSERT INTO call_ratings (cdr_id, version, customer_id, ban_id, sell, currency, buy, buy_currency, margin,
            difference, rating, posting_id, reason, actor)
        SELECT n.*, $13, $14 FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bigint[],
            $8::text[], $9::bigint[], $10::bigint[], $11::jsonb[], $12::text[]) AS n";
    /// Later versions of a call's price.
    RERATE_OF_CALL = "SELECT version, amount_text(sell, currency) AS price, amount_text(buy, buy_currency) AS cost,
            amount_text(margin, currency) AS margin, amount_text(difference, currency) AS difference,
            rating, posting_id, reason, actor, us(created_at) AS created_at
        FROM call_ratings WHERE cdr_id = $1 ORDER BY version";
}
