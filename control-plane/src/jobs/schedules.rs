//! Schedules that are due: the job of a time is begun in the transaction that moves its schedule on, by whichever process holds the row
//! then. So each time has one job, however many processes look, and one that dies has begun all of it or nothing.

use serde_json::{Value, json};
use warp_model::Wall;
use warp_model::id::JobKind;

use crate::App;
use crate::app::calendar::{Plan, Rule, Standing, plan};
use crate::app::events::catalogue::ScheduleMissed;
use crate::app::jobs::OPEN;
use crate::app::schedules::{Every, MissedRuns, PeriodOf};
use crate::store::schedules::{self as rows, DueRow, Looked, NewRun};
use crate::store::{Scope, StoreError, Tx, jobs, outbox};

/// Schedules that are looked at at once; the others at the next look.
const AT_ONCE: usize = 100;

/// Begins the jobs of schedules that are due. Gives how many were looked at.
pub async fn begin_due(app: &App) -> Result<usize, StoreError> {
    let mut looked = 0;
    while looked < AT_ONCE && begin_next(app).await? {
        looked += 1;
    }
    Ok(looked)
}

async fn begin_next(app: &App) -> Result<bool, StoreError> {
    let mut tx = app.store.begin(Scope::Operator("schedules")).await?;
    let Some(row) = rows::due(&mut tx).await? else { return Ok(false) };
    match planned(&row) {
        None => rows::later(&mut tx, &row, "this version does not understand when it comes").await?,
        Some(plan) => begin(app, &mut tx, &row, &plan).await?,
    }
    tx.commit().await?;
    Ok(true)
}

fn planned(row: &DueRow) -> Option<Plan> {
    let rule = Rule::read(Every::parse(&row.every)?, &row.at, row.day, &row.time_zone)?;
    let standing = Standing {
        next: row.next_at.0,
        now: row.now.0,
        covered: row.covered_until.map(|t| t.0),
        missed_runs: MissedRuns::parse(&row.missed_runs)?,
    };
    plan(&rule, standing)
}

async fn begin(app: &App, tx: &mut Tx, row: &DueRow, plan: &Plan) -> Result<(), StoreError> {
    let mut begun = None;
    if let Some((due, from)) = plan.begins {
        if jobs::open(tx, row.customer_id.as_deref()).await? >= OPEN {
            let why = format!("there are {OPEN} jobs that are not over");
            return rows::later(tx, row, &why).await;
        }
        let id = warp_model::Id::<JobKind>::new(app.wall(), app.random_id());
        let export = with_period(row, from, due);
        if rows::begin(tx, row, &NewRun { id, due, call_export: &export }).await? {
            begun = Some((due, id));
        }
    }
    let missed = (plan.missed, plan.last_missed);
    let looked = Looked { next: plan.next, covered: plan.covered, begun, missed };
    rows::looked(tx, row, &looked).await?;
    if let Some(last) = plan.last_missed {
        tracing::warn!(schedule = row.id, missed = plan.missed, "times of a schedule were missed");
        let event = ScheduleMissed {
            schedule_id: row.id.clone(),
            name: row.name.clone(),
            missed: plan.missed,
            last_missed_at: crate::store::types::Time(last),
            job_id: begun.map(|(_, job)| job.to_string()),
        };
        outbox::tell(tx, row.customer_id.as_deref().and_then(|c| c.parse().ok()), event).await?;
    }
    Ok(())
}

/// What the job of a period exports.
fn with_period(row: &DueRow, from: Wall, until: Wall) -> Value {
    let mut export = row.call_export.as_ref().map_or_else(|| json!({}), |json| json.0.clone());
    let names = match PeriodOf::parse(&row.period_of) {
        Some(PeriodOf::Setup) => ["setup_from", "setup_before"],
        _ => ["posted_from", "posted_before"],
    };
    for (name, at) in names.into_iter().zip([from, until]) {
        export[name] = json!(at.to_string());
    }
    export
}
