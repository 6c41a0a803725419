//! Sheets to versions: check (nothing is stored), upload, activate.

use sha2::{Digest, Sha256};
use warp_model::{Currency, DeckId};
use warp_policy::deck::report::sample;
use warp_policy::deck::sheet::{LineError, SheetOptions, check_table, check_text};
use warp_policy::deck::{Deck as PolicyDeck, DeckKind, DeckMeta, DeckRows, ImportOptions, Report};

use super::options::remembered;
use super::report::{DeckReport, problem};
use super::workbook;
use super::{Deck, DeckVersion, known as in_store, row};
use crate::app::Ctx;
use crate::app::events::catalogue::DeckActivated;
use crate::app::fault::{Fault, Kind};
use crate::store::decks::{self as store, DeckRow};
use crate::store::outbox;

/// Lines told in one answer.
const PROBLEMS: usize = 200;

crate::choice! {
    /// What a file says of the rows that it does not name.
    pub enum UploadMode {
        /// They are gone: the file is the whole deck.
        Full = "full",
        /// They stay: the file is laid over the version in force.
        Partial = "partial",
    }
}

/// A sheet as it comes.
pub struct Sheet<B> {
    /// What the file was called.
    pub source_name: String,
    /// CSV in any of its forms, or XLSX.
    pub bytes: B,
    /// Whether the sheet is full or partial.
    pub mode: UploadMode,
    /// What the upload says of it, over what is remembered.
    pub options: SheetOptions,
}

/// What was read, with the options that it was read by.
struct Read {
    kind: DeckKind,
    currency: Currency,
    rows: DeckRows,
    errors: Vec<LineError>,
}

async fn read<B: AsRef<[u8]> + Send + 'static>(
    deck: &DeckRow,
    bytes: B,
    options: SheetOptions,
) -> Result<Read, Fault> {
    let kind = if deck.kind == "az" { DeckKind::Az } else { DeckKind::Us };
    let currency: Currency = deck.currency.parse().map_err(|_| Fault::internal())?;
    blocking(move || {
        let options = ImportOptions { kind, currency, sheet: options, ..ImportOptions::default() };
        let bytes = bytes.as_ref();
        let (rows, errors) = if workbook::is_workbook(bytes) {
            let repeat = options.sheet.repeat_cells == Some(true);
            match workbook::read(bytes, options.sheet.sheet.as_deref(), repeat) {
                Ok((table, recognised)) => check_table(&table, &options, recognised),
                Err(e) => (DeckRows::default(), vec![e]),
            }
        } else {
            check_text(bytes, &options)
        };
        Read { kind, currency, rows, errors }
    })
    .await
}

/// The version in force, and what the sheet makes of it.
fn made(
    read: &Read,
    meta: DeckMeta,
    base: Option<&PolicyDeck>,
    mode: UploadMode,
) -> Result<(PolicyDeck, Report, bool), warp_policy::deck::DeckError> {
    let now = crate::wall_now();
    let mut recognised = read.rows.recognised.clone();
    let over = read.rows.rows.iter().filter(|r| r.until.is_some_and(|until| until <= now)).count();
    if over > 0 {
        recognised.notes.push(format!("rows that are over already: {over}; they price nothing"));
    }
    let (deck, carried) = match (mode, base) {
        (UploadMode::Partial, Some(base)) => {
            let unknown = read.rows.ended.iter().filter(|(code, _)| !base.names(*code)).take(50);
            recognised
                .notes
                .extend(unknown.map(|(code, _)| format!("{code} is ended and was not in the deck")));
            (base.merged(meta, &read.rows, now)?, 0)
        }
        _ => PolicyDeck::replaced(base, meta, &read.rows, now)?,
    };
    let mut report = Report::of(base, &deck, now, recognised);
    report.carried = carried;
    report.sample = sample(&read.rows.rows);
    Ok((deck, report, mode == UploadMode::Partial || carried > 0))
}

fn not_a_deck(e: &warp_policy::deck::DeckError) -> Fault {
    Fault::new(Kind::DeckInvalid, format!("the rows do not make a deck: {e}"))
}

/// The full report on a sheet, as an upload of it would be now. Nothing is stored. Lines that are not understood are listed;
/// the counts are of the others.
pub async fn check<B: AsRef<[u8]> + Send + 'static>(
    ctx: &Ctx<'_>,
    id: DeckId,
    sheet: Sheet<B>,
) -> Result<DeckReport, Fault> {
    let mut tx = ctx.begin().await?;
    tx.allow_long_statements().await?;
    let deck = row(&mut tx, id).await?;
    let known = remembered(&mut tx, id).await?;
    let options = known.options.under(&sheet.options);
    let content = content_in_force(&mut tx, id, deck.active_version, sheet.mode).await?;
    drop(tx);
    let mut read = read(&deck, sheet.bytes, options).await?;
    read.rows.recognised.notes.splice(0..0, known.note(&sheet.options));
    let in_force = deck.active_version.and_then(|v| u32::try_from(v).ok());
    let meta = meta_of(&deck, id, deck.active_version.unwrap_or(0).saturating_add(1), &read);
    blocking(move || {
        let base = content.map(|c| PolicyDeck::from_bytes(&c)).transpose();
        let result = base.and_then(|base| made(&read, meta, base.as_ref(), sheet.mode).map(|m| m.1));
        let report = match result {
            Ok(report) => report,
            // Nothing was understood: the places say why.
            Err(_) if !read.errors.is_empty() => Report {
                base: in_force,
                rows_read: read.rows.recognised.rows_read,
                recognised: read.rows.recognised.clone(),
                sample: sample(&read.rows.rows),
                ..Report::default()
            },
            Err(e) => return Err(not_a_deck(&e)),
        };
        Ok(DeckReport::of(report, read.currency, &read.errors, PROBLEMS))
    })
    .await?
}

fn meta_of(deck: &DeckRow, id: DeckId, number: i32, read: &Read) -> DeckMeta {
    DeckMeta {
        id,
        version: u32::try_from(number).unwrap_or(1),
        name: deck.name.clone(),
        kind: read.kind,
        currency: read.currency,
    }
}

/// Reads a sheet into a new version; `activate` puts it into force in the same transaction. Nothing changes when a line is
/// not understood: the answer lists the lines. A partial sheet needs a version in force; rows without a date begin now.
/// `remember` keeps the options for the next sheet of this vendor.
pub async fn upload<B: AsRef<[u8]> + Send + 'static>(
    ctx: &Ctx<'_>,
    id: DeckId,
    sheet: Sheet<B>,
    activate: bool,
    remember: bool,
) -> Result<DeckVersion, Fault> {
    let (deck, known) = {
        let mut tx = ctx.begin().await?;
        (row(&mut tx, id).await?, remembered(&mut tx, id).await?)
    };
    let options = known.options.under(&sheet.options);
    let mut read = read(&deck, sheet.bytes, options.clone()).await?;
    read.rows.recognised.notes.splice(0..0, known.note(&sheet.options));
    if !read.errors.is_empty() {
        return Err(line_errors(read.errors));
    }
    let mut tx = ctx.begin().await?;
    tx.allow_long_statements().await?;
    let locked = in_store(store::lock(&mut tx, id).await?)?;
    let content = content_in_force(&mut tx, id, locked.active_version, sheet.mode).await?;
    let number = store::next_number(&mut tx, id).await?;
    let meta = meta_of(&deck, id, number, &read);
    let mode = sheet.mode;
    let compiled = blocking(move || {
        let base = content.map(|c| PolicyDeck::from_bytes(&c)).transpose()?;
        let (deck, report, depends) = made(&read, meta, base.as_ref(), mode)?;
        let bytes = deck.to_bytes();
        let sha256: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        let report = DeckReport::of(report, read.currency, &[], 0);
        Ok((deck.len(), sha256, bytes, report, depends))
    });
    let (len, sha256, content, report, depends) = compiled.await?.map_err(|e| not_a_deck(&e))?;
    let notes = report.recognised.notes.iter().take(50).cloned().collect();
    let new = store::NewVersion {
        number,
        row_count: i32::try_from(len).unwrap_or(i32::MAX),
        sha256,
        source_name: sheet.source_name,
        notes,
        content,
        report: serde_json::to_value(&report).map_err(|_| Fault::internal())?,
        base_number: locked.active_version.filter(|_| depends),
    };
    let version = store::insert_version(&mut tx, id, new).await?;
    let mut version: DeckVersion = version.ok_or_else(|| Fault::not_found("deck"))?.into();
    let detail = serde_json::json!({ "number": number, "rows": version.row_count, "sha256": version.sha256 });
    ctx.audit(&mut tx, None, "deck.upload", &deck.id, Some(detail)).await?;
    if remember && options != known.options {
        let json = serde_json::to_value(&options).map_err(|_| Fault::internal())?;
        store::set_options(&mut tx, &known.owner, &json).await?;
        ctx.audit(&mut tx, None, "deck.options", &known.owner, Some(json)).await?;
    }
    if activate {
        put_into_force(ctx, &mut tx, id, number).await?;
        version.activated_at = store::activated_at(&mut tx, id, number).await?;
    }
    ctx.commit(tx).await?;
    Ok(version)
}

/// The version that a sheet is compared with and laid over, in its stored form.
async fn content_in_force(
    tx: &mut crate::store::Tx,
    id: DeckId,
    number: Option<i32>,
    mode: UploadMode,
) -> Result<Option<Vec<u8>>, Fault> {
    let none = || Fault::new(Kind::DeckInvalid, "a partial file needs a version in force to change");
    match (number, mode) {
        (None, UploadMode::Full) => Ok(None),
        (None, UploadMode::Partial) => Err(none()),
        (Some(number), _) => Ok(Some(store::content(tx, id, number).await?.ok_or_else(none)?)),
    }
}

/// Puts a version into force; one that was in force before again is a roll-back.
///
/// Errors: a version with rows of another base than the one in force, unless it was in force before; one without a price in
/// force.
pub async fn activate(ctx: &Ctx<'_>, id: DeckId, number: i32) -> Result<Deck, Fault> {
    let mut tx = ctx.begin().await?;
    tx.allow_long_statements().await?;
    in_store(store::lock(&mut tx, id).await?)?;
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
    let missing = || Fault::not_found("deck version");
    let state = store::version_state(tx, id, number).await?.ok_or_else(missing)?;
    if let Some(base) = state.base_number
        && state.activated_at.is_none()
        && state.active_version != Some(base)
    {
        let now = state.active_version.map_or("none".to_owned(), |v| v.to_string());
        let message = format!("version {number} was made from version {base}, and version {now} is in force");
        return Err(Fault::new(Kind::Conflict, message)
            .hint("upload the sheet again, so that it is laid over the version in force"));
    }
    let content = store::content(tx, id, number).await?.ok_or_else(missing)?;
    let now = crate::wall_now();
    let priced =
        blocking(move || PolicyDeck::from_bytes(&content).map(|d| (d.has_price_at(now), d.next_change(now))));
    let (priced, next) = priced.await?.map_err(|e| {
        tracing::error!(deck = %id, number, error = %e, "a stored deck is damaged");
        Fault::internal()
    })?;
    if !priced {
        let when = next.map_or(String::new(), |t| format!("; the next row begins or ends at {t}"));
        let message = format!(
            "version {number} has no price in force now, so that no call could be priced by it{when}"
        );
        return Err(Fault::new(Kind::Conflict, message)
            .hint("activate it when its rows begin, or upload it while a version is in force, which then stays until they do"));
    }
    let deck: Deck = store::activate(tx, id, number).await?.ok_or_else(missing)?.into();
    ctx.audit(tx, None, "deck.activate", &deck.id, Some(number.into())).await?;
    let (deck_id, name) = (deck.id.clone(), deck.name.clone());
    outbox::tell(tx, None, DeckActivated { deck_id, name, number, previous: state.active_version }).await?;
    Ok(deck)
}

fn line_errors(errors: Vec<LineError>) -> Fault {
    let total = errors.len();
    let details = errors.into_iter().take(PROBLEMS).map(problem).collect();
    let lines = if total == 1 { "1 place is".to_owned() } else { format!("{total} places are") };
    Fault { details, ..Fault::new(Kind::DeckInvalid, format!("{lines} not understood; nothing was changed")) }
}

/// Work of more than a few milliseconds leaves the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|e| {
        tracing::error!(error = %e, "work on a deck failed");
        Fault::internal()
    })
}
