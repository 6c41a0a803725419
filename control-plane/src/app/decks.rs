//! Rate decks: upload as CSV with all line errors, immutable versions, activation.

use sha2::{Digest, Sha256};
use sqlx::Row;
use warp_model::id::DeckKind as DeckIdKind;
use warp_model::{Currency, DeckId};
use warp_policy::deck::{Deck as PolicyDeck, DeckKind, DeckMeta, ImportOptions, LineError, read_text};

use super::Ctx;
use super::fault::{Fault, Kind, Problem};
use super::input::{CurrencyCode, Text};
use super::paging::{Page, Paging};
use crate::store::types::Time;
use crate::store::{StoreError, sql};

/// Largest deck file.
pub const DECK_BYTES: usize = 64 * 1024 * 1024;
/// Line errors told in one answer.
const LINE_ERRORS: usize = 200;

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
        /// Things a person should know, for example columns that were read over.
        pub notes: Vec<String>,
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
pub async fn versions(ctx: &Ctx<'_>, id: DeckId) -> Result<Page<DeckVersion>, Fault> {
    get(ctx, id).await?;
    let mut tx = ctx.begin().await?;
    let items = tx.all(sqlx::query(sql::DECK_VERSION_LIST).bind(id.to_string())).await?;
    Ok(Page { items, next: None })
}

crate::choice! {
    /// What a file says of the rows that it does not name.
    pub enum UploadMode {
        /// They are gone: the file is the whole deck.
        Full = "full",
        /// They stay: the file is laid over the version in force.
        Partial = "partial",
    }
}

/// Reads a CSV file into a new version; `activate` puts it into force in the same transaction. Nothing changes when a
/// line is wrong: the answer lists the lines. A partial file needs a version in force; rows without a date begin now.
pub async fn upload(
    ctx: &Ctx<'_>,
    id: DeckId,
    source_name: &str,
    csv: impl AsRef<[u8]> + Send + 'static,
    mode: UploadMode,
    activate: bool,
) -> Result<DeckVersion, Fault> {
    let deck = get(ctx, id).await?;
    let kind = if deck.kind == "az" { DeckKind::Az } else { DeckKind::Us };
    let currency = deck.currency.parse().unwrap_or(Currency::USD);
    let options = ImportOptions { kind, currency, ..ImportOptions::default() };
    let parsed = blocking(move || read_text(csv.as_ref(), &options)).await?;
    let rows = parsed.map_err(line_errors)?;
    let mut tx = ctx.begin().await?;
    tx.allow_long_statements().await?;
    let locked: Option<Deck> = tx.first(sqlx::query(sql::DECK_LOCK).bind(id.to_string())).await?;
    let locked = locked.ok_or_else(|| Fault::not_found("deck"))?;
    let base = match (mode, locked.active_version) {
        (UploadMode::Full, None) => None,
        (_, number) => Some(content_in_force(&mut tx, id, number).await?),
    };
    let next = sqlx::query(sql::DECK_VERSION_NEXT).bind(id.to_string()).fetch_one(tx.db()).await;
    let number: i32 = next.and_then(|r| r.try_get(0)).map_err(StoreError::from)?;
    let meta = DeckMeta {
        id,
        version: u32::try_from(number).unwrap_or(1),
        name: deck.name.clone(),
        kind,
        currency: deck.currency.parse().unwrap_or(Currency::USD),
    };
    let now = crate::wall_now();
    let compiled = blocking(move || {
        let mut notes = rows.recognised.notes.clone();
        let base = base.map(|content| PolicyDeck::from_bytes(&content)).transpose();
        let made = base.and_then(|base| match (mode, &base) {
            (UploadMode::Partial, Some(base)) => {
                let unknown = rows.ended.iter().filter(|(code, _)| !base.names(*code));
                notes.extend(unknown.map(|(code, _)| format!("{code} is ended and was not in the deck")));
                base.merged(meta, &rows, now)
            }
            _ => PolicyDeck::replaced(base.as_ref(), meta, &rows, now).map(|(d, _)| d),
        });
        notes.truncate(50);
        made.map(|d| {
            let bytes = d.to_bytes();
            let sha256: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            (d.len(), sha256, bytes, notes)
        })
    });
    let (len, sha256, content, notes) = compiled
        .await?
        .map_err(|e| Fault::new(Kind::DeckInvalid, format!("the rows do not make a deck: {e}")))?;
    let query = sqlx::query(sql::DECK_VERSION_INSERT)
        .bind(id.to_string())
        .bind(number)
        .bind(i32::try_from(len).unwrap_or(i32::MAX))
        .bind(sha256)
        .bind(source_name)
        .bind(notes)
        .bind(content);
    let version: Option<DeckVersion> = tx.first(query).await?;
    let version = version.ok_or_else(|| Fault::not_found("deck"))?;
    let detail = serde_json::json!({ "number": number, "rows": version.row_count, "sha256": version.sha256 });
    ctx.audit(&mut tx, None, "deck.upload", &deck.id, Some(detail)).await?;
    if activate {
        put_into_force(ctx, &mut tx, id, number).await?;
    }
    ctx.commit(tx).await?;
    Ok(version)
}

/// The version that a partial file is laid over, in its stored form.
async fn content_in_force(
    tx: &mut crate::store::Tx,
    id: DeckId,
    number: Option<i32>,
) -> Result<Vec<u8>, Fault> {
    let none = || Fault::new(Kind::DeckInvalid, "a partial file needs a version in force to change");
    let query = sqlx::query(sql::DECK_VERSION_CONTENT).bind(id.to_string()).bind(number.ok_or_else(none)?);
    let row = query.fetch_optional(tx.db()).await.map_err(StoreError::from)?;
    row.ok_or_else(none)?.try_get(0).map_err(StoreError::from).map_err(Fault::from)
}

/// Puts a version into force; an older one again is a roll-back.
pub async fn activate(ctx: &Ctx<'_>, id: DeckId, number: i32) -> Result<Deck, Fault> {
    let mut tx = ctx.begin().await?;
    let deck = put_into_force(ctx, &mut tx, id, number).await?;
    ctx.commit(tx).await?;
    Ok(deck)
}

async fn put_into_force(
    ctx: &Ctx<'_>,
    tx: &mut crate::store::Tx,
    id: DeckId,
    number: i32,
) -> Result<Deck, Fault> {
    let query = sqlx::query(sql::DECK_ACTIVATE).bind(id.to_string()).bind(number);
    let deck: Option<Deck> = tx.first(query).await?;
    let deck = deck.ok_or_else(|| Fault::not_found("deck version"))?;
    tx.run(sqlx::query(sql::DECK_VERSION_ACTIVATED).bind(id.to_string()).bind(number)).await?;
    ctx.audit(tx, None, "deck.activate", &deck.id, Some(number.into())).await?;
    Ok(deck)
}

fn line_errors(errors: Vec<LineError>) -> Fault {
    let total = errors.len();
    let details = errors
        .into_iter()
        .take(LINE_ERRORS)
        .map(|e| {
            let place = match e.column.as_str() {
                "" => format!("line {}", e.line),
                column => format!("line {}, {column}", e.line),
            };
            Problem::new(place, "invalid_line", e.message)
        })
        .collect();
    Fault {
        details,
        ..Fault::new(Kind::DeckInvalid, format!("{total} lines cannot be read; nothing was changed"))
    }
}

/// Work of more than a few milliseconds leaves the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|e| {
        tracing::error!(error = %e, "deck import failed");
        Fault::internal()
    })
}
