//! Rows of rate decks, of their versions, and the remembered options of sheets.

use serde_json::Value;
use sqlx::Row;
use warp_model::DeckId;

use super::sql::statements;
use super::types::{Json, Time};
use super::{StoreError, Tx};
use crate::app::paging::Paging;

crate::row! {
    /// A deck: a name for its versions.
    pub struct DeckRow {
        id: String,
        /// The name, which no other deck has.
        name: String,
        kind: String,
        /// The currency of all its prices.
        currency: String,
        /// The version in force; NULL = none yet.
        active_version: Option<i32>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
}

crate::row! {
    /// A version of a deck, without its content.
    pub struct DeckVersionRow {
        /// The deck that it belongs to.
        deck_id: String,
        number: i32,
        row_count: i32,
        /// SHA-256 of its canonical form, in hex.
        sha256: String,
        source_name: String,
        notes: Vec<String>,
        /// The version that some of its rows were taken from.
        base_number: Option<i32>,
        /// What it changed when it was made; NULL for versions that were made before reports were kept.
        report: Option<Json>,
        /// When it came into force last.
        activated_at: Option<Time>,
        created_at: Time,
    }
}

/// A version to store.
pub struct NewVersion {
    /// 1, 2, 3 …
    pub number: i32,
    /// Rows of all dates.
    pub row_count: i32,
    /// The SHA-256 of its canonical form, in hex.
    pub sha256: String,
    /// What the file was called.
    pub source_name: String,
    /// Things that a person should know.
    pub notes: Vec<String>,
    /// The version in its canonical form (`warp_policy::deck`).
    pub content: Vec<u8>,
    /// What was shown when it was made.
    pub report: Value,
    /// The version that some of its rows were taken from.
    pub base_number: Option<i32>,
}

crate::row! {
    /// What decides whether a version may come into force.
    pub struct VersionState {
        /// The version that some of its rows were taken from.
        base_number: Option<i32>,
        /// When it came into force last.
        activated_at: Option<Time>,
        /// The version that is in force.
        active_version: Option<i32>,
    }
}

/// The rows of a page of decks, newest first.
pub async fn list(tx: &mut Tx, paging: &Paging) -> Result<Vec<DeckRow>, StoreError> {
    tx.all(sqlx::query(DECK_LIST).bind(paging.after.as_deref()).bind(paging.rows())).await
}

/// The deck with this id, or `None` when there is none.
pub async fn get(tx: &mut Tx, id: DeckId) -> Result<Option<DeckRow>, StoreError> {
    tx.first(sqlx::query(DECK_GET).bind(id.to_string())).await
}

/// A new deck, without a version.
pub async fn insert(
    tx: &mut Tx,
    id: DeckId,
    (name, kind, currency): (&str, &'static str, &str),
) -> Result<Option<DeckRow>, StoreError> {
    tx.first(sqlx::query(DECK_INSERT).bind(id.to_string()).bind(name).bind(kind).bind(currency)).await
}

/// How many use a deck: customers, trunks, vendors, and versions that were ever in force.
pub async fn users(tx: &mut Tx, id: DeckId) -> Result<i64, StoreError> {
    let row = sqlx::query(DECK_USERS).bind(id.to_string()).fetch_one(tx.db()).await?;
    Ok(row.try_get(0)?)
}

/// Deletes a deck with its versions; how many decks there were.
pub async fn delete(tx: &mut Tx, id: DeckId) -> Result<u64, StoreError> {
    tx.run(sqlx::query(DECK_DELETE).bind(id.to_string())).await
}

/// Which of these decks exist, with their currencies.
pub async fn currencies(tx: &mut Tx, ids: &[String]) -> Result<Vec<(String, String)>, StoreError> {
    let rows = sqlx::query(DECK_KNOWN).bind(ids).fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?)
}

/// Versions of a deck, newest first, below a number.
pub async fn versions(
    tx: &mut Tx,
    id: DeckId,
    below: Option<i32>,
    rows: i64,
) -> Result<Vec<DeckVersionRow>, StoreError> {
    tx.all(sqlx::query(DECK_VERSION_LIST).bind(id.to_string()).bind(below).bind(rows)).await
}

/// One version of a deck.
pub async fn version(tx: &mut Tx, id: DeckId, number: i32) -> Result<Option<DeckVersionRow>, StoreError> {
    tx.first(sqlx::query(DECK_VERSION_GET).bind(id.to_string()).bind(number)).await
}

/// A deck, locked so that two uploads cannot take one number.
pub async fn lock(tx: &mut Tx, id: DeckId) -> Result<Option<DeckRow>, StoreError> {
    tx.first(sqlx::query(DECK_LOCK).bind(id.to_string())).await
}

/// The number of the next version.
pub async fn next_number(tx: &mut Tx, id: DeckId) -> Result<i32, StoreError> {
    let row = sqlx::query(DECK_VERSION_NEXT).bind(id.to_string()).fetch_one(tx.db()).await?;
    Ok(row.try_get(0)?)
}

/// Writes a new version of a deck.
pub async fn insert_version(
    tx: &mut Tx,
    id: DeckId,
    v: NewVersion,
) -> Result<Option<DeckVersionRow>, StoreError> {
    let query = sqlx::query(DECK_VERSION_INSERT)
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
    let query = sqlx::query(DECK_VERSION_CONTENT).bind(id.to_string()).bind(number);
    let row = query.fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// What decides whether it may come into force.
pub async fn version_state(tx: &mut Tx, id: DeckId, number: i32) -> Result<Option<VersionState>, StoreError> {
    tx.first(sqlx::query(DECK_VERSION_STATE).bind(id.to_string()).bind(number)).await
}

/// When it came into force last.
pub async fn activated_at(tx: &mut Tx, id: DeckId, number: i32) -> Result<Option<Time>, StoreError> {
    Ok(version_state(tx, id, number).await?.and_then(|s| s.activated_at))
}

/// It is in force from now on.
pub async fn activate(tx: &mut Tx, id: DeckId, number: i32) -> Result<Option<DeckRow>, StoreError> {
    let deck = tx.first(sqlx::query(DECK_ACTIVATE).bind(id.to_string()).bind(number)).await?;
    tx.run(sqlx::query(DECK_VERSION_ACTIVATED).bind(id.to_string()).bind(number)).await?;
    Ok(deck)
}

/// Who owns the options of the deck's sheets: the one vendor who sells by it, else the deck.
pub async fn options_owner(tx: &mut Tx, id: DeckId) -> Result<String, StoreError> {
    let rows = sqlx::query(DECK_SELLERS).bind(id.to_string()).fetch_all(tx.db()).await?;
    match rows.as_slice() {
        [one] => Ok(one.try_get(0)?),
        _ => Ok(id.to_string()),
    }
}

/// The options that are remembered for an owner, as JSON.
pub async fn options(tx: &mut Tx, owner: &str) -> Result<Option<Value>, StoreError> {
    let row = sqlx::query(SHEET_OPTIONS_GET).bind(owner).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// Remembers options for an owner, in place of those before.
pub async fn set_options(tx: &mut Tx, owner: &str, options: &Value) -> Result<(), StoreError> {
    tx.run(sqlx::query(SHEET_OPTIONS_SET).bind(owner).bind(options)).await?;
    Ok(())
}

macro_rules! deck_columns {
    () => {
        "id, name, kind, currency, active_version, us(created_at) AS created_at, us(updated_at) AS updated_at, version"
    };
}
macro_rules! deck_version_columns {
    () => {
        "deck_id, number, row_count, sha256, source_name, notes, base_number, report, us(activated_at) AS activated_at,
         us(created_at) AS created_at"
    };
}

statements! {
    /// One page of decks.
    DECK_LIST = concat!("SELECT ", deck_columns!(), " FROM decks
        WHERE ($1::text IS NULL OR id < $1) ORDER BY id DESC LIMIT $2");
    /// Reads the deck `$1`.
    DECK_GET = concat!("SELECT ", deck_columns!(), " FROM decks WHERE id = $1");
    /// One, so that two uploads cannot take one version number.
    DECK_LOCK = concat!("SELECT ", deck_columns!(), " FROM decks WHERE id = $1 FOR UPDATE");
    /// A new deck.
    DECK_INSERT = concat!("INSERT INTO decks (id, name, kind, currency) VALUES ($1, $2, $3, $4) RETURNING ", deck_columns!());
    /// Who uses a deck, or has used it: the decisions of calls refer to its versions.
    DECK_USERS = "SELECT (SELECT count(*) FROM deck_versions WHERE deck_id = $1 AND activated_at IS NOT NULL)
        + (SELECT count(*) FROM customers WHERE $1 = ANY(sell_deck_ids))
        + (SELECT count(*) FROM trunks WHERE $1 = ANY(sell_deck_ids))
        + (SELECT count(*) FROM vendors WHERE $1 = ANY(buy_deck_ids))";
    /// Gone with its versions.
    DECK_DELETE = "DELETE FROM decks WHERE id = $1";
    /// Which of these decks exist.
    DECK_KNOWN = "SELECT id, currency FROM decks WHERE id = ANY($1)";
    /// Versions of a deck, newest first.
    DECK_VERSION_LIST = concat!("SELECT ", deck_version_columns!(), " FROM deck_versions
        WHERE deck_id = $1 AND ($2::integer IS NULL OR number < $2) ORDER BY number DESC LIMIT $3");
    /// Reads the version with number `$2` of the deck `$1`.
    DECK_VERSION_GET = concat!("SELECT ", deck_version_columns!(), " FROM deck_versions WHERE deck_id = $1 AND number = $2");
    /// The next version number.
    DECK_VERSION_NEXT = "SELECT coalesce(max(number), 0) + 1 FROM deck_versions WHERE deck_id = $1";
    /// Stores a version, not yet in force.
    DECK_VERSION_INSERT = concat!("INSERT INTO deck_versions (deck_id, number, row_count, sha256, source_name, notes, content,
            report, base_number)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ", deck_version_columns!());
    /// Its canonical bytes.
    DECK_VERSION_CONTENT = "SELECT content FROM deck_versions WHERE deck_id = $1 AND number = $2";
    /// What decides whether a version may come into force.
    DECK_VERSION_STATE = "SELECT v.base_number, us(v.activated_at) AS activated_at, d.active_version
        FROM deck_versions v JOIN decks d ON d.id = v.deck_id WHERE v.deck_id = $1 AND v.number = $2";
    /// Vendors who sell by a deck; two are as many as many.
    DECK_SELLERS = "SELECT id FROM vendors WHERE $1 = ANY(buy_deck_ids) ORDER BY id LIMIT 2";
    /// How an owner's sheets are read.
    SHEET_OPTIONS_GET = "SELECT options FROM sheet_options WHERE owner = $1";
    /// Remembers the options of an owner in place of the earlier ones.
    SHEET_OPTIONS_SET = "INSERT INTO sheet_options (owner, options) VALUES ($1, $2)
        ON CONFLICT (owner) DO UPDATE SET options = excluded.options, updated_at = now()";
    /// This version is in force from now on.
    DECK_ACTIVATE = concat!("UPDATE decks SET active_version = $2, updated_at = now(), version = version + 1
        WHERE id = $1 AND EXISTS (SELECT FROM deck_versions WHERE deck_id = $1 AND number = $2) RETURNING ", deck_columns!());
    /// Notes when the version was put into force.
    DECK_VERSION_ACTIVATED = "UPDATE deck_versions SET activated_at = now() WHERE deck_id = $1 AND number = $2";
}
