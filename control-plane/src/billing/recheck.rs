//! Rating again later: calls whose snapshot was not in memory when they were posted (they were in the air while decks
//! changed, or the program was started anew) are checked against the archived snapshot that they pinned.
//!
//! Posting never waits for it: making an archived snapshot again may take seconds. Each snapshot is made once for all of its
//! calls. One that is not kept any more leaves its calls `unchecked`, and says so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use warp_model::cdr::CallRecord;
use warp_policy::{Snapshot, SnapshotId};

use super::rerate::{self, RatingCheck};
use crate::App;
use crate::publish::{PublishError, archive};
use crate::store::{Scope, StoreError, posting as rows};

/// Also without a ring: calls of an earlier run of the program.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a failure.
const RETRY: Duration = Duration::from_secs(2);
/// A snapshot that cannot be made is tried again after this.
const GONE_FOR: Duration = Duration::from_secs(3_600);

/// What cannot be made again, and since when.
#[derive(Debug, Default)]
pub struct Gone(HashMap<String, Instant>);

/// Works until told to stop.
pub async fn run(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut gone = Gone::default();
    loop {
        let wait = match check_all(&app, &mut gone, &stop).await {
            Ok(_) => LOOK_EVERY,
            Err(e) => {
                tracing::debug!(error = %e, "rating again waits");
                RETRY
            }
        };
        tokio::select! {
            () = app.unchecked.notified() => {}
            _ = stop.wait_for(|s| *s) => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Checks every call that can be checked; gives how many. Errors: the database; what was checked is kept.
pub async fn check_all(app: &App, gone: &mut Gone, stop: &watch::Receiver<bool>) -> Result<u64, StoreError> {
    gone.0.retain(|_, since| since.elapsed() < GONE_FOR);
    let mut checked = 0;
    loop {
        let known: Vec<&str> = gone.0.keys().map(String::as_str).collect();
        let mut tx = app.store.begin(Scope::Operator("rating again")).await?;
        let ids = rows::unchecked_snapshots(&mut tx, known).await?;
        drop(tx);
        if ids.is_empty() || *stop.borrow() {
            return Ok(checked);
        }
        for id in ids {
            if *stop.borrow() {
                return Ok(checked);
            }
            match snapshot_of(app, &id).await {
                Ok(Some(snapshot)) => checked += check_snapshot(app, &id, &snapshot).await?,
                Ok(None) => {
                    tracing::warn!(
                        snapshot = id,
                        "a snapshot is not kept; the prices of its calls stay unchecked"
                    );
                    gone.0.insert(id, Instant::now());
                }
                Err(PublishError::Store(e)) => return Err(e),
                Err(e) => {
                    tracing::error!(snapshot = id, error = %e, "an archived snapshot cannot be made again");
                    gone.0.insert(id, Instant::now());
                }
            }
        }
    }
}

async fn snapshot_of(app: &App, id: &str) -> Result<Option<Arc<Snapshot>>, PublishError> {
    let Ok(id) = id.parse::<SnapshotId>() else { return Ok(None) };
    if let Some(recent) = app.publication.recent(id) {
        return Ok(Some(recent));
    }
    Ok(archive::load(&app.store, id).await?.map(Arc::new))
}

async fn check_snapshot(app: &App, id: &str, snapshot: &Snapshot) -> Result<u64, StoreError> {
    let mut checked = 0;
    loop {
        let mut tx = app.store.begin(Scope::Operator("rating again")).await?;
        let calls = rows::unchecked(&mut tx, id).await?;
        if calls.is_empty() {
            return Ok(checked);
        }
        let (mut ids, mut verdicts) = (Vec::new(), Vec::new());
        for (cdr_id, packed) in calls {
            let verdict = verdict_of(snapshot, &packed);
            if verdict == RatingCheck::Mismatch {
                tracing::error!(cdr_id, snapshot = id, "a call's price cannot be repeated");
            }
            ids.push(cdr_id);
            verdicts.push(verdict);
        }
        let words: Vec<&str> = verdicts.iter().map(|v| v.as_str()).collect();
        rows::rating_checked(&mut tx, &ids, words).await?;
        tx.commit().await?;
        for verdict in verdicts {
            app.metrics.rated(verdict.counted());
        }
        checked += ids.len() as u64;
    }
}

fn verdict_of(snapshot: &Snapshot, packed: &[u8]) -> RatingCheck {
    let record = warp_events::record::unpack(packed)
        .ok()
        .and_then(|json| serde_json::from_slice::<CallRecord>(&json).ok());
    // A stored record that cannot be read has no price that could be confirmed.
    record.map_or(RatingCheck::Mismatch, |record| rerate::check(Some(snapshot), &record))
}
