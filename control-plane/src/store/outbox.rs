//! Rows of events: written in the transaction of the fact, read in the order of their places (RFC 0016).

use sqlx::Row;
use warp_model::id::EventKind;
use warp_model::{CustomerId, EventId, Id};

use super::sql::statements;
use super::types::{Json, Time};
use super::{StoreError, Tx};
use crate::app::events::catalogue::Event;
use crate::app::paging::Paging;

crate::row! {
    /// An event as it is stored.
    pub struct EventRow {
        id: String,
        customer_id: Option<String>,
        kind: String,
        data: Json,
        created_at: Time,
        position: i64,
    }
}

/// Which events are read. `None`: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Only events of this name.
    pub kind: Option<String>,
    /// Only events of this customer.
    pub customer: Option<String>,
}

/// A new id of an event.
pub fn new_id() -> Result<EventId, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| StoreError::Internal(format!("no randomness: {e}")))?;
    Ok(Id::<EventKind>::new(crate::wall_now(), u128::from_le_bytes(bytes)))
}

/// Tells of something, in the transaction that makes it so. An event that is for operators only belongs to no customer.
pub async fn tell(
    tx: &mut Tx,
    customer: Option<CustomerId>,
    event: impl Into<Event>,
) -> Result<(), StoreError> {
    let event = event.into();
    let query = sqlx::query(OUTBOX_INSERT)
        .bind(new_id()?.to_string())
        .bind(customer.map(|c| c.to_string()))
        .bind(event.entry().name)
        .bind(event.data());
    tx.run(query).await?;
    Ok(())
}

/// One page, in the order of places.
pub async fn list(tx: &mut Tx, which: &Which, paging: &Paging) -> Result<Vec<EventRow>, StoreError> {
    let query = sqlx::query(paging.statement(OUTBOX_LIST, OUTBOX_LIST_OLDEST))
        .bind(which.kind.as_deref())
        .bind(which.customer.as_deref())
        .bind(paging.after.as_deref())
        .bind(paging.rows());
    tx.all(query).await
}

/// What stands behind a place, in order.
pub async fn after(tx: &mut Tx, which: &Which, place: i64, most: i64) -> Result<Vec<EventRow>, StoreError> {
    let query = sqlx::query(OUTBOX_AFTER)
        .bind(which.kind.as_deref())
        .bind(which.customer.as_deref())
        .bind(place)
        .bind(most);
    tx.all(query).await
}

/// The event with this id, or `None` when the scope sees none.
pub async fn get(tx: &mut Tx, id: EventId) -> Result<Option<EventRow>, StoreError> {
    tx.first(sqlx::query(OUTBOX_GET).bind(id.to_string())).await
}

/// The place of an event, or `None` when the scope sees none.
pub async fn place_of(tx: &mut Tx, id: EventId) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query(OUTBOX_PLACE).bind(id.to_string()).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// The last place that was given.
pub async fn last_place(tx: &mut Tx) -> Result<i64, StoreError> {
    Ok(sqlx::query(OUTBOX_LAST).fetch_one(tx.db()).await?.try_get(0)?)
}

macro_rules! events {
    ($rest:literal) => {
        concat!(
            "SELECT id, customer_id, type AS kind, data, us(created_at) AS created_at, position FROM outbox
            WHERE position IS NOT NULL AND ",
            $rest
        )
    };
}

statements! {
    /// An event; its place is given when the transaction ends.
    OUTBOX_INSERT = "INSERT INTO outbox (id, customer_id, type, data) VALUES ($1, $2, $3, $4)";
    /// One page: `$1` name or NULL, `$2` customer or NULL, `$3` the last one seen. Of one that is gone every kept one is newer.
    OUTBOX_LIST = events!("($1::text IS NULL OR type = $1) AND ($2::text IS NULL OR customer_id = $2)
        AND ($3::text IS NULL OR position < coalesce((SELECT o.position FROM outbox o WHERE o.id = $3), 0))
        ORDER BY position DESC LIMIT $4");
    /// The same, oldest first.
    OUTBOX_LIST_OLDEST = events!("($1::text IS NULL OR type = $1) AND ($2::text IS NULL OR customer_id = $2)
        AND ($3::text IS NULL OR position > coalesce((SELECT o.position FROM outbox o WHERE o.id = $3), 0))
        ORDER BY position LIMIT $4");
    /// Behind a place.
    OUTBOX_AFTER = events!("($1::text IS NULL OR type = $1) AND ($2::text IS NULL OR customer_id = $2) AND position > $3
        ORDER BY position LIMIT $4");
    /// The event with this id.
    OUTBOX_GET = events!("id = $1");
    /// The place of an event.
    OUTBOX_PLACE = "SELECT position FROM outbox WHERE id = $1 AND position IS NOT NULL";
    /// The last place that was given.
    OUTBOX_LAST = "SELECT position FROM outbox_clock";
}
