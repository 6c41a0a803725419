//! Records leave by retention (`api.calls_keep`): in batches, oldest first. A call that has a price and is on no bill stays
//! (`api.calls_unbilled = "keep"`) and is counted; where the operator lets it go, how many went is said.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row;
use tokio::sync::watch;
use warp_model::{CallId, Wall};

use crate::App;
use crate::store::{Scope, StoreError, sql};

/// Rows of one transaction: well below a second.
const BATCH: i64 = 2_000;
const EVERY: Duration = Duration::from_secs(3_600);
const RETRY: Duration = Duration::from_secs(60);

/// How long calls are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// From their INVITE on.
    pub keep: Duration,
    /// Calls with a price that are on no bill may go too.
    pub unbilled_too: bool,
}

/// What one pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Calls that went.
    pub gone: u64,
    /// Of them, calls with a price that were on no bill.
    pub unbilled: u64,
    /// Calls beyond the retention that stay because they are on no bill.
    pub overdue: u64,
}

/// Works until told to stop.
pub async fn run(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        let pause = match expire(&app, app.config.retention, &stop).await {
            Ok(done) => {
                say(done);
                EVERY
            }
            Err(e) => {
                tracing::debug!(error = %e, "retention waits for the database");
                RETRY
            }
        };
        if tokio::time::timeout(pause, stop.wait_for(|s| *s)).await.is_ok() {
            return;
        }
    }
}

fn say(done: Expired) {
    if done.gone > 0 {
        tracing::info!(calls = done.gone, "calls left by retention");
    }
    if done.unbilled > 0 {
        tracing::warn!(calls = done.unbilled, "calls left by retention that had a price and were on no bill");
    }
    if done.overdue > 0 {
        tracing::warn!(
            calls = done.overdue,
            "calls are older than api.calls_keep and stay, because they are on no bill"
        );
    }
}

/// One pass over everything that is too old. Errors: the database; what went is gone.
pub async fn expire(
    app: &App,
    retention: Retention,
    stop: &watch::Receiver<bool>,
) -> Result<Expired, StoreError> {
    let keep = i64::try_from(retention.keep.as_micros()).unwrap_or(i64::MAX);
    let before = Wall(app.wall().0.saturating_sub(keep).max(0));
    // The smallest id of that moment: ids sort by the time of their INVITE.
    let before_id = CallId::new(before, 0).to_string();
    let mut done = Expired::default();
    let mut after = String::new();
    while !*stop.borrow() {
        let mut tx = app.store.begin(Scope::Operator("retention")).await?;
        let query = sqlx::query(sql::CALLS_EXPIRE)
            .bind(&before_id)
            .bind(before.0)
            .bind(&after)
            .bind(BATCH)
            .bind(retention.unbilled_too);
        let row = query.fetch_one(tx.db()).await?;
        let (gone, last, unbilled): (i64, Option<String>, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        tx.commit().await?;
        done.gone += u64::try_from(gone).unwrap_or(0);
        done.unbilled += u64::try_from(unbilled).unwrap_or(0);
        match last {
            Some(last) if gone >= BATCH => after = last,
            _ => break,
        }
    }
    let mut tx = app.store.begin(Scope::Operator("retention")).await?;
    let row = sqlx::query(sql::CALLS_OVERDUE).bind(&before_id).bind(before.0).fetch_one(tx.db()).await?;
    done.overdue = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
    app.metrics.calls_overdue.set((), i64::try_from(done.overdue).unwrap_or(i64::MAX));
    Ok(done)
}
