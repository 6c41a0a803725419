//! Rate decks: names for immutable versions that are made from vendors' sheets. [`upload`](mod@upload) reads and activates,
//! [`workbook`] takes XLSX apart, [`options`](mod@options) remembers how a vendor's sheets are read, [`report`] is what a
//! sheet changes, [`prices`](mod@prices) what a version holds.

mod options;
mod prices;
mod report;
mod upload;
mod workbook;

use warp_model::id::DeckKind as DeckIdKind;
use warp_model::{Currency, DeckId};

pub use self::options::{RememberedOptions, SheetOptionsInput, replace as set_options, show as options};
pub use self::prices::{DeckPrice, prices};
pub use self::report::{DeckReport, PriceMove, RecognisedColumn, RecognisedSheet, SheetProblem};
pub use self::upload::{Sheet, UploadMode, activate, check, upload};
use super::Ctx;
use super::fault::{Fault, Kind};
use super::input::{CurrencyCode, Text};
use super::paging::{Page, Paging};
use super::view::{Shaped, Word};
use crate::store::Tx;
use crate::store::decks::{self as rows, DeckRow, DeckVersionRow};
use crate::store::types::Time;

/// The largest deck file that is read, in bytes.
pub const DECK_BYTES: usize = 64 * 1024 * 1024;

crate::view! {
    /// A rate deck: a name for its versions.
    pub struct Deck from DeckRow {
        /// The deck's id: `deck_` and 26 characters.
        pub id: String,
        /// Its name. No other deck has the same.
        pub name: String,
        /// `us`: codes of the North American plan with three prices each. `az`: dial codes of the world with one.
        pub kind: Word<DeckKindName>,
        /// The ISO 4217 currency of all its prices. It never changes.
        pub currency: String,
        /// The version that calls are priced by. Null: none yet.
        pub active_version: Option<i32>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
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
    /// A rate deck to make.
    pub struct DeckInput {
        /// Its name. No other deck may have the same.
        pub name: Text<1, 100>,
        /// `us`: codes of the North American plan with three prices each. `az`: dial codes of the world with one.
        pub kind: DeckKindName,
        /// The ISO 4217 currency of all its prices; `USD` when absent. It cannot change.
        pub currency: Option<CurrencyCode>,
    }
}

crate::view! {
    /// A version of a deck. It never changes.
    pub struct DeckVersion from DeckVersionRow {
        /// The deck that it belongs to.
        pub deck_id: String,
        /// Its number: 1, 2, 3 and so on.
        pub number: i32,
        /// How many rows it has, of all dates.
        pub row_count: i32,
        /// The SHA-256 of its canonical form, in hex: two versions with the same one are the same.
        pub sha256: String,
        /// What the uploaded file was called.
        pub source_name: String,
        /// Things that a person should know, for example lines of the sheet that were not read.
        pub notes: Vec<String>,
        /// The version that some of its rows were taken from: that of the time of a partial sheet, or of a full one that
        /// begins later. It comes into force over that version only.
        pub base_number: Option<i32>,
        /// What it changed when it was made. Null: it was made before reports were kept.
        pub report: Option<Shaped<DeckReport>>,
        /// When it came into force last. Null: never.
        pub activated_at: Option<Time>,
        /// When it was made.
        pub created_at: Time,
    }
}

/// A page of decks, newest first.
pub async fn list(ctx: &Ctx<'_>, paging: &Paging) -> Result<Page<Deck>, Fault> {
    let mut tx = ctx.begin().await?;
    Ok(Page::of(rows::list(&mut tx, paging).await?, paging.limit, |d| &d.id).map(Deck::from))
}

/// The deck with this id, or `None` when there is none.
pub async fn get(ctx: &Ctx<'_>, id: DeckId) -> Result<Deck, Fault> {
    Ok(row(&mut ctx.begin().await?, id).await?.into())
}

async fn row(tx: &mut Tx, id: DeckId) -> Result<DeckRow, Fault> {
    known(rows::get(tx, id).await?)
}

fn known(row: Option<DeckRow>) -> Result<DeckRow, Fault> {
    row.ok_or_else(|| Fault::not_found("deck"))
}

/// A new deck, without a version.
pub async fn create(ctx: &Ctx<'_>, input: DeckInput) -> Result<Deck, Fault> {
    let mut tx = ctx.begin().await?;
    let currency = input.currency.map_or(Currency::USD, |c| c.0);
    let values = (input.name.0.as_str(), input.kind.as_str(), currency.as_str());
    let deck: Deck = known(rows::insert(&mut tx, ctx.new_id::<DeckIdKind>(), values).await?)?.into();
    ctx.audit(&mut tx, None, "deck.create", &deck.id, None).await?;
    tx.commit().await?;
    Ok(deck)
}

/// Gone with its versions, unless somebody uses it or one of its versions was ever in force (decisions refer to it).
pub async fn delete(ctx: &Ctx<'_>, id: DeckId) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    known(rows::lock(&mut tx, id).await?)?;
    if rows::users(&mut tx, id).await? > 0 {
        return Err(Fault::new(
            Kind::InUse,
            "a customer, trunk or vendor uses this deck, or calls were priced by it",
        ));
    }
    rows::delete(&mut tx, id).await?;
    ctx.audit(&mut tx, None, "deck.delete", &id.to_string(), None).await?;
    ctx.commit(tx).await?;
    Ok(())
}

/// A page of a deck's versions, newest first.
pub async fn versions(ctx: &Ctx<'_>, id: DeckId, paging: &Paging) -> Result<Page<DeckVersion>, Fault> {
    let mut tx = ctx.begin().await?;
    row(&mut tx, id).await?;
    let found = rows::versions(&mut tx, id, paging.number_after(), paging.rows()).await?;
    let keyed: Vec<(String, DeckVersionRow)> = found.into_iter().map(|v| (v.number.to_string(), v)).collect();
    Ok(Page::of(keyed, paging.limit, |(key, _)| key).map(|(_, v)| v.into()))
}

/// A version of a deck. Errors: there is none of this number.
pub async fn version(ctx: &Ctx<'_>, id: DeckId, number: i32) -> Result<DeckVersion, Fault> {
    let mut tx = ctx.begin().await?;
    let found = rows::version(&mut tx, id, number).await?;
    Ok(found.ok_or_else(|| Fault::not_found("deck version"))?.into())
}
