//! Rate decks, their versions and the options of sheets: statements of [`sql`](super::sql) with their binds. What a row
//! becomes is the caller's type.

use serde_json::Value;
use sqlx::Row;
use warp_model::DeckId;

use super::types::Time;
use super::{FromRow, StoreError, Tx, sql};

/// A version to store.
pub struct NewVersion {
    /// 1, 2, 3 …
    pub number: i32,
    /// Rows of all dates.
    pub row_count: i32,
    /// Hex.
    pub sha256: String,
    /// What the file was called.
    pub source_name: String,
    /// For people.
    pub notes: Vec<String>,
    /// Canonical form.
    pub content: Vec<u8>,
    /// What was shown when it was made.
    pub report: Value,
    /// The version that some of its rows were taken from.
    pub base_number: Option<i32>,
}

/// What decides whether a version may come into force.
pub struct VersionState {
    /// The version that some of its rows were taken from.
    pub base_number: Option<i32>,
    /// When it came into force last.
    pub activated_at: Option<Time>,
    /// The version that is in force.
    pub active_version: Option<i32>,
}

impl FromRow for VersionState {
    fn from_row(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            base_number: row.try_get("base_number")?,
            activated_at: row.try_get("activated_at")?,
            active_version: row.try_get("active_version")?,
        })
    }
}

/// A deck, locked so that two uploads cannot take one number.
pub async fn lock<D: FromRow>(tx: &mut Tx, id: DeckId) -> Result<Option<D>, StoreError> {
    tx.first(sqlx::query(sql::DECK_LOCK).bind(id.to_string())).await
}

/// The number of the next version.
pub async fn next_number(tx: &mut Tx, id: DeckId) -> Result<i32, StoreError> {
    let row = sqlx::query(sql::DECK_VERSION_NEXT).bind(id.to_string()).fetch_one(tx.db()).await?;
    Ok(row.try_get(0)?)
}

/// Stores a version.
pub async fn insert_version<V: FromRow>(
    tx: &mut Tx,
    id: DeckId,
    v: NewVersion,
) -> Result<Option<V>, StoreError> {
    let query = sqlx::query(sql::DECK_VERSION_INSERT)
        .bind(id.to_string())
        .bind(v.number)
        .bind(v.row_count)
        .bind(v.sha256)
        .bind(v.source_name)
        .bind(v.notes)
        .bind(v.content)
        .bind(v.report)
        .bind(v.base_number);
    tx.first(query).await
}

/// A version's canonical bytes.
pub async fn content(tx: &mut Tx, id: DeckId, number: i32) -> Result<Option<Vec<u8>>, StoreError> {
    let query = sqlx::query(sql::DECK_VERSION_CONTENT).bind(id.to_string()).bind(number);
    let row = query.fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// What decides whether it may come into force.
pub async fn version_state(tx: &mut Tx, id: DeckId, number: i32) -> Result<Option<VersionState>, StoreError> {
    tx.first(sqlx::query(sql::DECK_VERSION_STATE).bind(id.to_string()).bind(number)).await
}

/// When it came into force last.
pub async fn activated_at(tx: &mut Tx, id: DeckId, number: i32) -> Result<Option<Time>, StoreError> {
    Ok(version_state(tx, id, number).await?.and_then(|s| s.activated_at))
}

/// It is in force from now on.
pub async fn activate<D: FromRow>(tx: &mut Tx, id: DeckId, number: i32) -> Result<Option<D>, StoreError> {
    let deck = tx.first(sqlx::query(sql::DECK_ACTIVATE).bind(id.to_string()).bind(number)).await?;
    tx.run(sqlx::query(sql::DECK_VERSION_ACTIVATED).bind(id.to_string()).bind(number)).await?;
    Ok(deck)
}

/// Who owns the options of the deck's sheets: the one vendor who sells by it, else the deck.
pub async fn options_owner(tx: &mut Tx, id: DeckId) -> Result<String, StoreError> {
    let rows = sqlx::query(sql::DECK_SELLERS).bind(id.to_string()).fetch_all(tx.db()).await?;
    match rows.as_slice() {
        [one] => Ok(one.try_get(0)?),
        _ => Ok(id.to_string()),
    }
}

/// Remembered options.
pub async fn options(tx: &mut Tx, owner: &str) -> Result<Option<Value>, StoreError> {
    let row = sqlx::query(sql::SHEET_OPTIONS_GET).bind(owner).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// Remembers them.
pub async fn set_options(tx: &mut Tx, owner: &str, options: &Value) -> Result<(), StoreError> {
    tx.run(sqlx::query(sql::SHEET_OPTIONS_SET).bind(owner).bind(options)).await?;
    Ok(())
}
