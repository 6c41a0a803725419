//! An export of call records: read page by page in the order in which they became readable, in the scope of whoever the job belongs to,
//! and written into a file of the spool. An attempt begins anew, so that the file is of one piece.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use super::csv::CsvFile;
use super::parquet::ParquetFile;
use super::spool::{Kept, Writing, name};
use super::{Failed, LEASE_S, Made, columns};
use crate::App;
use crate::app::calls::{conceal, cursor_of};
use crate::app::input::Input as _;
use crate::app::jobs::{CallExportInput, FileFormat};
use crate::app::paging::{Order, Paging};
use crate::store::calls::{self, CallOrder, CallQuery, CallRow};
use crate::store::jobs::{self as rows, ClaimRow};
use crate::store::{Scope, StoreError};

/// Rows that are read at once.
const PAGE: i64 = 2_000;
/// How often it is said, at least, that the job goes on.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The file in either form.
enum Output {
    Csv(Box<CsvFile<Writing>>),
    Parquet(Box<ParquetFile<Writing>>),
}

impl Output {
    fn begin(dir: &Path, name: &str, format: FileFormat, operator: bool) -> io::Result<Self> {
        let (file, columns) = (Writing::begin(dir, name)?, columns::of(operator));
        Ok(match format {
            FileFormat::Csv => Self::Csv(Box::new(CsvFile::new(file, columns)?)),
            FileFormat::Parquet => Self::Parquet(Box::new(ParquetFile::new(file, columns)?)),
        })
    }

    fn write(&mut self, rows: Vec<CallRow>) -> io::Result<()> {
        match self {
            Self::Csv(file) => file.write(&rows),
            Self::Parquet(file) => file.write(rows),
        }
    }

    fn keep(self) -> io::Result<Kept> {
        match self {
            Self::Csv(file) => file.finish()?.keep(),
            Self::Parquet(file) => file.finish()?.keep(),
        }
    }
}

/// Whose calls it reads.
fn scope(claim: &ClaimRow) -> Result<Scope, Failed> {
    match claim.customer_id.as_deref() {
        None => Ok(Scope::Operator("export")),
        Some(id) => id.parse().map(Scope::Customer).map_err(|_| Failed::Ever("its customer is gone".into())),
    }
}

/// Carries out an export.
pub async fn carry_out(
    app: &Arc<App>,
    claim: &ClaimRow,
    dir: &Path,
    stop: &watch::Receiver<bool>,
) -> Result<Made, Failed> {
    let scope = scope(claim)?;
    let asked = claim.call_export.as_ref().and_then(|json| CallExportInput::from_json(&json.0).ok());
    let asked =
        asked.ok_or_else(|| Failed::Ever("this version does not understand what it asks for".into()))?;
    let format = asked.format.unwrap_or(FileFormat::Csv);
    let mut last = asked.cursor.clone().map(|c| c.0);
    let query = asked.query(scope, claim.created_at);
    let operator = scope.customer().is_none();
    let (dir, name) = (dir.to_owned(), name(&claim.id, claim.epoch, format.as_str()));
    let mut out = blocking(move || Output::begin(&dir, &name, format, operator)).await?;
    let (mut count, mut first_at) = (0i64, None);
    loop {
        if *stop.borrow() {
            return Err(Failed::Stopped);
        }
        let page = page(app, scope, &query, last.as_deref());
        let mut page = saying_so(app, claim, page).await??;
        let more = i64::try_from(page.len()).is_ok_and(|n| n > PAGE);
        page.truncate(usize::try_from(PAGE).unwrap_or(0));
        if !operator {
            page.iter_mut().for_each(conceal);
        }
        count = count.saturating_add(i64::try_from(page.len()).unwrap_or(0));
        if let Some(row) = page.last() {
            last = Some(cursor_of(row));
            let (from, at) =
                (*first_at.get_or_insert(page.first().map_or(0, |r| r.posted_at.0.0)), row.posted_at);
            let percent =
                if more { percent(from, at.0.0, query.posted_before.unwrap_or(at.0.0)) } else { 99 };
            goes_on(app, claim, percent, Some(&result(count, last.as_deref()))).await?;
        }
        out = blocking(move || out.write(page).map(|()| out)).await?;
        if !more {
            break;
        }
    }
    let file = blocking(move || out.keep()).await?;
    Ok(Made { result: result(count, last.as_deref()), file: Some(file) })
}

fn result(rows: i64, last: Option<&str>) -> serde_json::Value {
    json!({ "rows": rows, "last_cursor": last })
}

/// How far it is, by time: 0 to 99.
fn percent(from: i64, at: i64, until: i64) -> i32 {
    let (whole, part) = (until.saturating_sub(from).max(1), at.saturating_sub(from).max(0));
    let percent = i128::from(part) * 100 / i128::from(whole);
    i32::try_from(percent.clamp(0, 99)).unwrap_or(0)
}

/// One page, and one row more when there is a next one.
async fn page(
    app: &App,
    scope: Scope,
    query: &CallQuery,
    after: Option<&str>,
) -> Result<Vec<CallRow>, StoreError> {
    let after = after.and_then(|cursor| {
        let (at, id) = cursor.split_once('.')?;
        Some((at.parse().ok(), id))
    });
    let mut tx = app.store.begin(scope).await?;
    tx.allow_long_statements().await?;
    let paging = Paging { after: None, limit: PAGE, order: Order::OldestFirst };
    calls::list(&mut tx, query, CallOrder::Posted, after, &paging).await
}

/// Waits for a page, and says meanwhile that the job goes on.
async fn saying_so<T>(
    app: &App,
    claim: &ClaimRow,
    page: impl Future<Output = Result<T, StoreError>>,
) -> Result<Result<T, Failed>, Failed> {
    let mut page = std::pin::pin!(page);
    loop {
        tokio::select! {
            page = &mut page => return Ok(page.map_err(Failed::from)),
            () = tokio::time::sleep(SAY_EVERY) => {
                let mut tx = app.store.begin(Scope::Operator("jobs")).await?;
                let ours = rows::still(&mut tx, claim, LEASE_S).await?;
                tx.commit().await?;
                if !ours {
                    return Err(Failed::NotOurs);
                }
            }
        }
    }
}

async fn goes_on(
    app: &App,
    claim: &ClaimRow,
    percent: i32,
    result: Option<&serde_json::Value>,
) -> Result<(), Failed> {
    let mut tx = app.store.begin(Scope::Operator("jobs")).await?;
    let ours = rows::goes_on(&mut tx, claim, percent, result, LEASE_S).await?;
    tx.commit().await?;
    if ours { Ok(()) } else { Err(Failed::NotOurs) }
}

/// Work on files, where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failed> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|e| Err(io::Error::other(e.to_string())));
    done.map_err(|error| {
        tracing::warn!(%error, "a file of a job cannot be written");
        match error.kind() {
            io::ErrorKind::FileTooLarge => {
                Failed::Ever("the file would be longer than 4 GiB: export a shorter time".into())
            }
            io::ErrorKind::StorageFull => Failed::Now("there is no room for the file".into()),
            _ => Failed::Now("the file could not be written".into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_is_stays_within_its_bounds() {
        assert_eq!([percent(0, 0, 100), percent(0, 50, 100), percent(0, 100, 100)], [0, 50, 99]);
        assert_eq!([percent(9, 9, 9), percent(9, 1, 5), percent(i64::MIN, i64::MAX, i64::MAX)], [0, 0, 99]);
    }
}
