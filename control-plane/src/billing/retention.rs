//! Records leave by retention (`api.calls_keep`): in batches, oldest first. A call that has a price and is on no bill stays
//! (`api.calls_unbilled = "keep"`) and is counted; where the operator lets it go, how many went is said.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use warp_model::Wall;
use warp_model::cdr::CallRecord;

use crate::App;
use crate::store::{Scope, StoreError, retention as rows};

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
    /// How many calls were deleted.
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

/// Calls that began before this moment leave.
fn oldest(app: &App, retention: Retention) -> Wall {
    let keep = i64::try_from(retention.keep.as_micros()).unwrap_or(i64::MAX);
    Wall(app.wall().0.saturating_sub(keep).max(0))
}

/// Whether the row of this call may have left already.
pub(super) fn is_over(app: &App, call: &CallRecord) -> bool {
    let before = oldest(app, app.config.retention);
    call.cdr_id.made_at() < before && call.setup_at < before
}

/// One pass over everything that is too old. Errors: the database; what went is gone.
pub async fn expire(
    app: &App,
    retention: Retention,
    stop: &watch::Receiver<bool>,
) -> Result<Expired, StoreError> {
    let before = oldest(app, retention);
    let mut done = Expired::default();
    let mut after = String::new();
    while !*stop.borrow() {
        let mut tx = app.store.begin(Scope::Operator("retention")).await?;
        let batch = rows::expire(&mut tx, before, (&after, BATCH), retention.unbilled_too).await?;
        tx.commit().await?;
        done.gone += u64::try_from(batch.gone).unwrap_or(0);
        done.unbilled += u64::try_from(batch.unbilled).unwrap_or(0);
        match batch.last {
            Some(last) if batch.gone >= BATCH => after = last,
            _ => break,
        }
    }
    let mut tx = app.store.begin(Scope::Operator("retention")).await?;
    done.overdue = u64::try_from(rows::overdue(&mut tx, before).await?).unwrap_or(0);
    app.metrics.calls_overdue.set((), i64::try_from(done.overdue).unwrap_or(i64::MAX));
    Ok(done)
}
