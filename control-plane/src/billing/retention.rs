//! Records leave by retention (`api.calls_keep`): by the partition of a week, when all of it is over and everything in it may go; what stands
//! among calls that stay leaves in batches, oldest first. A call that has a price and is on no bill stays (`api.calls_unbilled = "keep"`) and is
//! counted; where the operator lets it go, how many went is said. The weeks to come get their partitions here, ahead of their calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use warp_model::Wall;
use warp_model::cdr::CallRecord;

use crate::App;
use crate::store::call_weeks::{self as weeks, Partition};
use crate::store::{Scope, StoreError, retention as rows};

/// Rows of one transaction: well below a second.
const BATCH: i64 = 2_000;
/// Weeks that have a partition ahead of their calls.
const AHEAD: i32 = 4;
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
        if let Err(e) = make_ahead(&app).await {
            tracing::warn!(error = %e, "partitions of the next weeks are not made now; the reader of the event log makes them when it needs them");
        }
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

/// Makes the partitions of this week and the next [`AHEAD`].
pub async fn make_ahead(app: &App) -> Result<(), StoreError> {
    let week = weeks::week_of(app.wall());
    for week in week..=week.saturating_add(AHEAD) {
        let mut tx = app.store.begin(Scope::Operator("partitions of calls")).await?;
        weeks::make(&mut tx, week).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Drops the partitions whose weeks are over and that hold nothing that must stay.
async fn drop_weeks(
    app: &App,
    retention: Retention,
    done: &mut Expired,
) -> Result<Vec<Partition>, StoreError> {
    let before = oldest(app, retention);
    let mut tx = app.store.begin(Scope::Operator("retention")).await?;
    let mut partitions = weeks::all(&mut tx).await?;
    drop(tx);
    let over = partitions.iter().filter(|p| p.to_week <= weeks::week_of(before));
    let mut dropped = Vec::new();
    for partition in over {
        let mut tx = app.store.begin(Scope::Operator("retention")).await?;
        let content = weeks::content(&mut tx, partition, before, retention.unbilled_too).await?;
        if content.kept > 0 || !weeks::drop_over(&mut tx, partition, content.posted).await? {
            continue;
        }
        tx.commit().await?;
        done.gone = done.gone.saturating_add(u64::try_from(content.calls).unwrap_or(0));
        done.unbilled = done.unbilled.saturating_add(u64::try_from(content.unbilled).unwrap_or(0));
        dropped.push(partition.to_week);
    }
    partitions.retain(|p| !dropped.contains(&p.to_week));
    Ok(partitions)
}

/// One pass over everything that is too old. Errors: the database; what went is gone.
pub async fn expire(
    app: &App,
    retention: Retention,
    stop: &watch::Receiver<bool>,
) -> Result<Expired, StoreError> {
    let before = oldest(app, retention);
    let mut done = Expired::default();
    let partitions = drop_weeks(app, retention, &mut done).await?;
    // A week that is not over yet leaves as a whole when it is.
    let week = weeks::week_of(before);
    let begun = partitions.iter().any(|p| p.from_week.is_some_and(|from| from <= week) && week < p.to_week);
    let until = if begun { weeks::start_of(week) } else { before };
    let mut after = String::new();
    while !*stop.borrow() {
        let mut tx = app.store.begin(Scope::Operator("retention")).await?;
        let batch = rows::expire(&mut tx, (before, until), (&after, BATCH), retention.unbilled_too).await?;
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
