//! Rate decks: names for immutable versions that are made from vendors' sheets. [`upload`](mod@upload) reads and activates,
//! [`workbook`] takes XLSX apart, [`options`](mod@options) remembers how a vendor's sheets are read, [`report`] is what a
//! sheet changes.

mod options;
mod report;
mod upload;
mod workbook;

use sqlx::Row;
use warp_model::id::DeckKind as DeckIdKind;
use warp_model::{Currency, DeckId};

pub use self::options::{RememberedOptions, SheetOptionsInput, replace as set_options, show as options};
pub use self::report::{DeckReport, PriceMove, RecognisedColumn, RecognisedSheet, SheetProblem};
pub use self::upload::{Sheet, UploadMode, activate, check, upload};
use super::Ctx;
use super::fault::{Fault, Kind};
use super::input::{CurrencyCode, Text};
use super::paging::{Page, Paging};
use crate::store::types::Time;
use crate::store::{StoreError, sql};

/// Largest deck file.
pub const DECK_BYTES: usize = 64 * 1024 * 1024;

crate::record! {
    /// A rate deck: a name for its versions.
    pub struct Deck {
        /// `deck_…`
        pub id: String,
        /// Unique.
        pub name: String,
        /// `us` (NPANXX, three jurisdictions) or `az` (dial codes of the world).
        pub kind: String,
        /// Of all its prices.
        pub currency: String,
        /// The version that calls are priced by; null = none yet.
        pub active_version: Option<i32>,
        /// Made.
        pub created_at: Time,
        /// Last change.
        pub updated_at: Time,
        /// Rises with each change; the ETag.
        pub version: i32,
    }
}

crate::choice! {
    /// Kind of codes of a deck.
    pub enum DeckKindName {
        /// NPA, NPANXX and longer, three prices.
        Us = "us",
        /// Dial codes of the world, one price.
        Az = "az",
    }
}

crate::input! {
    /// A deck to make.
    pub struct DeckInput {
        /// Unique.
        pub name: Text<1, 100>,
        /// Kind of codes.
        pub kind: DeckKindName,
        /// ISO 4217; `USD` when absent.
        pub currency: Option<CurrencyCode>,
    }
}

crate::record! {
    /// A version of a deck: immutable.
    pub struct DeckVersion {
        /// Of which deck.
        pub deck_id: String,
        /// 1, 2, 3 …
        pub number: i32,
        /// Rows.
        pub row_count: i32,
        /// Content address of its canonical form.
        pub sha256: String,
        /// What the file was called.
        pub source_name: String,
        /// Things a person should know, for example lines of the sheet that were not read.
        pub notes: Vec<String>,
        /// The version that some of its rows were taken from: that of the time of a partial sheet, or of a full one that
        /// begins later. It comes into force over that version only.
        pub base_number: Option<i32>,
        /// What it changed when it was made; null for versions that were made before reports were kept.
        pub report: Option<DeckReport>,
        /// When it came into force last.
        pub activated_at: Option<Time>,
        /// Made.
        pub created_at: Time,
    }
}

/// Newest first.
pub async fn list(ctx: &Ctx<'_>, paging: &Paging) -> Result<Page<Deck>, Fault> {
    let mut tx = ctx.begin().await?;
    let query = sqlx::query(sql::DECK_LIST).bind(paging.after.as_deref()).bind(paging.rows());
    Ok(Page::of(tx.all(query).await?, paging.limit, |d: &Deck| &d.id))
}

/// One.
pub async fn get(ctx: &Ctx<'_>, id: DeckId) -> Result<Deck, Fault> {
    let mut tx = ctx.begin().await?;
    let row = tx.first(sqlx::query(sql::DECK_GET).bind(id.to_string())).await?;
    row.ok_or_else(|| Fault::not_found("deck"))
}

/// A new deck, without a version.
pub async fn create(ctx: &Ctx<'_>, input: DeckInput) -> Result<Deck, Fault> {
    let mut tx = ctx.begin().await?;
    let query = sqlx::query(sql::DECK_INSERT)
        .bind(ctx.new_id::<DeckIdKind>().to_string())
        .bind(input.name.0)
        .bind(input.kind.as_str())
        .bind(input.currency.map_or(Currency::USD, |c| c.0).as_str().to_owned());
    let row: Option<Deck> = tx.first(query).await?;
    let row = row.ok_or_else(|| Fault::not_found("deck"))?;
    ctx.audit(&mut tx, None, "deck.create", &row.id, None).await?;
    tx.commit().await?;
    Ok(row)
}

/// Gone with its versions, unless somebody uses it or one of its versions was ever in force (decisions refer to it).
pub async fn delete(ctx: &Ctx<'_>, id: DeckId) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    let locked: Option<Deck> = tx.first(sqlx::query(sql::DECK_LOCK).bind(id.to_string())).await?;
    locked.ok_or_else(|| Fault::not_found("deck"))?;
    let row = sqlx::query(sql::DECK_USERS).bind(id.to_string()).fetch_one(tx.db()).await;
    let users: i64 = row.and_then(|r| r.try_get(0)).map_err(StoreError::from)?;
    if users > 0 {
        return Err(Fault::new(
            Kind::InUse,
            "a customer, trunk or vendor uses this deck, or calls were priced by it",
        ));
    }
    tx.run(sqlx::query(sql::DECK_DELETE).bind(id.to_string())).await?;
    ctx.audit(&mut tx, None, "deck.delete", &id.to_string(), None).await?;
    ctx.commit(tx).await?;
    Ok(())
}

/// Versions, newest first.
pub async fn versions(ctx: &Ctx<'_>, id: DeckId, paging: &Paging) -> Result<Page<DeckVersion>, Fault> {
    get(ctx, id).await?;
    let wrong = || Fault::new(Kind::InvalidCursor, "cursor must be a value of meta.next_cursor");
    let before = paging.after.as_deref().map(|t| t.parse::<i32>().map_err(|_| wrong())).transpose()?;
    let mut tx = ctx.begin().await?;
    let query = sqlx::query(sql::DECK_VERSION_LIST).bind(id.to_string()).bind(before).bind(paging.rows());
    let rows: Vec<DeckVersion> = tx.all(query).await?;
    let keyed: Vec<(String, DeckVersion)> = rows.into_iter().map(|v| (v.number.to_string(), v)).collect();
    Ok(Page::of(keyed, paging.limit, |(key, _)| key).map(|(_, v)| v))
}

/// One version.
pub async fn version(ctx: &Ctx<'_>, id: DeckId, number: i32) -> Result<DeckVersion, Fault> {
    let mut tx = ctx.begin().await?;
    let query = sqlx::query(sql::DECK_VERSION_GET).bind(id.to_string()).bind(number);
    tx.first(query).await?.ok_or_else(|| Fault::not_found("deck version"))
}
