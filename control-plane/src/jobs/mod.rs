//! Jobs are carried out (RFC 0019): taken up one after another, held by a lease and an epoch, tried again when they fail.
//!
//! [`schedules`] begins those that a [`calendar`] says; [`export`] reads and [`columns`] says what of a call is written; [`csv`] and [`parquet`] are the forms of files, [`spool`] is where
//! these stand; here stands who carries out what, when. A process carries out [`AT_ONCE`] jobs at a time. A job whose process is gone is
//! taken up by any other one when its lease is over; what the late process says then is not written (its epoch is another one).

pub mod columns;
pub mod csv;
pub mod export;
pub mod parquet;
pub mod schedules;
pub mod spool;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::App;
use crate::app::events::catalogue::{JobDone, JobFailed};
use crate::app::jobs::JobTask;
use crate::metrics::{JobLabel, JobOutcome};
use crate::store::jobs::{self as rows, ClaimRow, Ended};
use crate::store::{Scope, StoreError, Tx, outbox};

/// Jobs that a process carries out at once.
pub const AT_ONCE: usize = 2;
/// How long a job belongs to whoever took it up and does not say that it goes on, in seconds.
pub const LEASE_S: i64 = 30;
/// How often a job is taken up before it has failed.
pub const ATTEMPTS: i32 = 5;
/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const MOST_PAUSE: Duration = Duration::from_secs(600);
/// How often it is looked for what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the spool is looked through for files that nobody needs.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// What a customer reads of a job whose last worker is gone.
const GONE: &str = "whoever carried it out was gone each time";

/// Where jobs put their files, and who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// The folder; made when it does not exist.
    pub dir: PathBuf,
    /// The name of this node.
    pub node: String,
}

/// Why a job was not carried out.
#[derive(Debug)]
pub enum Failed {
    /// Somebody cancelled it, or another worker has taken it up.
    NotOurs,
    /// This process is told to end.
    Stopped,
    /// Another attempt may go well. What people read of it.
    Now(String),
    /// None will. What people read of it.
    Ever(String),
}

impl From<StoreError> for Failed {
    fn from(e: StoreError) -> Self {
        tracing::warn!(error = %e, "a job waits for the database");
        Self::Now("the database did not answer".into())
    }
}

/// What a job made.
#[derive(Debug)]
pub struct Made {
    /// What came of it, for programs.
    pub result: serde_json::Value,
    /// The file, whole and in its place.
    pub file: Option<spool::Kept>,
}

/// Carries out jobs until told to stop; then those that run are given back.
pub async fn run(app: Arc<App>, spool: Spool, mut stop: watch::Receiver<bool>) {
    let mut workers: JoinSet<()> = JoinSet::new();
    let mut swept: Option<Instant> = None;
    loop {
        while workers.try_join_next().is_some() {}
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            if let Err(error) = spool::sweep(&app, &spool.dir).await {
                tracing::warn!(%error, "the spool of jobs is not looked through");
            }
            swept = Some(Instant::now());
        }
        if let Err(error) = schedules::begin_due(&app).await {
            tracing::debug!(%error, "schedules wait for PostgreSQL");
        }
        while workers.len() < AT_ONCE {
            match take_up(&app, &spool).await {
                Ok(Some(claim)) => {
                    let (app, spool, stop) = (app.clone(), spool.clone(), stop.clone());
                    workers.spawn(async move { work(app, spool, claim, stop).await });
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "jobs wait for PostgreSQL");
                    break;
                }
            }
        }
        tokio::select! {
            _ = stop.wait_for(|s| *s) => break,
            _ = workers.join_next(), if !workers.is_empty() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    while workers.join_next().await.is_some() {}
}

async fn take_up(app: &App, spool: &Spool) -> Result<Option<ClaimRow>, StoreError> {
    let mut tx = app.store.begin(Scope::Operator("jobs")).await?;
    for gone in rows::give_up(&mut tx, ATTEMPTS, GONE).await? {
        app.metrics.jobs.ended(label(&gone.kind), JobOutcome::Failed);
        tell_failed(&mut tx, (gone.id, gone.customer_id, gone.name, gone.kind), GONE).await?;
    }
    let claim = rows::claim(&mut tx, &spool.node, LEASE_S).await?;
    tx.commit().await?;
    Ok(claim)
}

fn label(kind: &str) -> JobLabel {
    match JobTask::parse(kind) {
        Some(JobTask::CallExport) | None => JobLabel::CallExport,
    }
}

/// Carries out one job, and says what came of it.
async fn work(app: Arc<App>, spool: Spool, claim: ClaimRow, stop: watch::Receiver<bool>) {
    let claim = Arc::new(claim);
    let carried = {
        let (app, dir, claim) = (app.clone(), spool.dir.clone(), claim.clone());
        // A task of its own: what panics is an attempt that failed.
        tokio::spawn(async move { export::carry_out(&app, &claim, &dir, &stop).await })
    };
    let outcome = carried.await.unwrap_or_else(|error| {
        tracing::error!(%error, job = claim.id, "a job panicked");
        Err(Failed::Now("something went wrong on our side".into()))
    });
    let file = match &outcome {
        Ok(Made { file: Some(file), .. }) => Some(spool.dir.join(&file.name)),
        _ => None,
    };
    match ended(&app, &claim, outcome).await {
        Ok(true) => {}
        // Nobody knows of the file: the next look through the spool would find it as well.
        Ok(false) => {
            if let Some(path) = file {
                let _ = tokio::fs::remove_file(path).await;
            }
        }
        // The lease says the rest.
        Err(error) => tracing::warn!(%error, job = claim.id, "what came of a job is not written"),
    }
}

/// Writes what came of a job. False: it was not ours any more.
async fn ended(app: &App, claim: &ClaimRow, outcome: Result<Made, Failed>) -> Result<bool, StoreError> {
    let mut tx = app.store.begin(Scope::Operator("jobs")).await?;
    let ours = match outcome {
        Ok(made) => {
            let file = made.file.as_ref().map(|f| f.shown(app.wall()));
            let ended = Ended { result: Some(&made.result), file: file.as_ref() };
            let ours = rows::done(&mut tx, claim, &ended).await?;
            if ours {
                let (customer, kind) = (claim.customer_id.as_deref(), claim.kind.clone());
                let event = JobDone { job_id: claim.id.clone(), kind: kind.into(), name: claim.name.clone() };
                outbox::tell(&mut tx, customer.and_then(|c| c.parse().ok()), event).await?;
                app.metrics.jobs.succeeded(label(&claim.kind), app.wall());
            }
            ours
        }
        Err(Failed::NotOurs) => false,
        Err(Failed::Stopped) => {
            rows::give_back(&mut tx, claim).await?;
            true
        }
        Err(Failed::Now(why)) => {
            let pause = pause(claim.attempts);
            let pause_ms = pause.map(|p| i64::try_from(p.as_millis()).unwrap_or(i64::MAX));
            failed(app, &mut tx, claim, &why, pause_ms).await?
        }
        Err(Failed::Ever(why)) => failed(app, &mut tx, claim, &why, None).await?,
    };
    tx.commit().await?;
    Ok(ours)
}

async fn failed(
    app: &App,
    tx: &mut Tx,
    claim: &ClaimRow,
    why: &str,
    pause_ms: Option<i64>,
) -> Result<bool, StoreError> {
    let ours = rows::failed(tx, claim, why, pause_ms).await?;
    if ours && pause_ms.is_none() {
        tracing::warn!(job = claim.id, why, "a job failed");
        app.metrics.jobs.ended(label(&claim.kind), JobOutcome::Failed);
        let who = (claim.id.clone(), claim.customer_id.clone(), claim.name.clone(), claim.kind.clone());
        tell_failed(tx, who, why).await?;
    } else if ours {
        app.metrics.jobs.ended(label(&claim.kind), JobOutcome::Retried);
    }
    Ok(ours)
}

async fn tell_failed(
    tx: &mut Tx,
    (job_id, customer, name, kind): (String, Option<String>, Option<String>, String),
    why: &str,
) -> Result<(), StoreError> {
    let event = JobFailed { job_id, kind: kind.into(), name, error: why.to_owned() };
    outbox::tell(tx, customer.and_then(|c| c.parse().ok()), event).await
}

/// The pause after so many attempts, or `None` when there is no further one. Pure.
pub fn pause(attempts: i32) -> Option<Duration> {
    if attempts >= ATTEMPTS {
        return None;
    }
    let doubled = 1u32.checked_shl(attempts.max(1).unsigned_abs() - 1).unwrap_or(u32::MAX);
    Some(FIRST_PAUSE.saturating_mul(doubled).min(MOST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_tried_five_times_with_growing_pauses() {
        let pauses: Vec<Option<u64>> = (1..=6).map(|n| pause(n).map(|p| p.as_secs())).collect();
        assert_eq!(pauses, [Some(5), Some(10), Some(20), Some(40), None, None]);
        assert_eq!(pause(i32::MIN), Some(FIRST_PAUSE), "whatever stands in the row");
    }
}
