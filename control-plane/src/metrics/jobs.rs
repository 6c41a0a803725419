//! Jobs by what they do and how they ended (`ref/metrics-and-dashboards` §2).

use warp_model::Wall;
use warp_telemetry::Registry;
use warp_telemetry::label_enum;
use warp_telemetry::metrics::{Counters, Gauges};

label_enum! {
    /// What a job does.
    pub enum JobLabel = "job" { CallExport = "call_export" }
}

label_enum! {
    /// How an attempt ended: a retried one is taken up again.
    pub enum JobOutcome = "result" { Done = "done", Failed = "failed", Retried = "retried" }
}

/// All of them. Clones share their cells.
#[derive(Clone)]
pub struct Jobs {
    ended: Counters<(JobLabel, JobOutcome)>,
    last: Gauges<(JobLabel,)>,
}

impl Jobs {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            ended: registry
                .counters("warp_jobs_total", "Attempts of jobs that ended, by what they do and how."),
            last: registry.gauges(
                "warp_job_last_success_timestamp_seconds",
                "When a job of this kind was done last by this process, in seconds since 1970 (Unix time); 0: not yet.",
            ),
        }
    }

    /// An attempt ended.
    pub(crate) fn ended(&self, job: JobLabel, outcome: JobOutcome) {
        self.ended.inc((job, outcome));
    }

    /// A job is done.
    pub(crate) fn succeeded(&self, job: JobLabel, at: Wall) {
        self.ended(job, JobOutcome::Done);
        self.last.set((job,), at.0 / 1_000_000);
    }
}
