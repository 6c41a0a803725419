//! Schedules (RFC 0033): jobs that are begun at times of a calendar. What a schedule says is checked here; [`crate::jobs::schedules`] begins
//! its jobs, and [`super::calendar`] knows when.

use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use warp_model::id::Kind as IdKind;
use warp_model::{CustomerId, Id};

use super::calendar::{self, Rule};
use super::fault::{Fault, Problem};
use super::input::{Field, Int, Text};
use super::jobs::{CallExport, CallExportInput, JobInput, JobTask, checked};
use super::resource::{Of, Owner, Resource};
use super::view::{Shaped, Word};
use super::{Ctx, check_count, none_wrong};
use crate::noun::schedule::{ScheduleRow, ScheduleValues};
use crate::store::types::Time;
use crate::store::{Tx, schedules as rows};

/// The kind of schedules' ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleKind {}
impl IdKind for ScheduleKind {
    const PREFIX: &'static str = "sch";
}
/// The id of a schedule: `sch_` and 26 characters.
pub type ScheduleId = Id<ScheduleKind>;

/// Schedules of one customer, or of the carrier.
const SCHEDULES: i64 = 50;

crate::choice! {
    /// Whether a schedule begins jobs.
    pub enum ScheduleStatus {
        /// It begins a job at each of its times.
        Active = "active",
        /// Its times go by, and none of them is missed.
        Paused = "paused",
    }
}

crate::choice! {
    /// How often a schedule comes.
    pub enum Every {
        /// Each hour, at the minutes of `at`.
        Hour = "hour",
        /// Each day, at `at`.
        Day = "day",
        /// Each week, on the day of the week `day`.
        Week = "week",
        /// Each month, on its day `day`.
        Month = "month",
    }
}

crate::choice! {
    /// What becomes of times at which nobody could begin a job.
    pub enum MissedRuns {
        /// A job is begun for each of them, one after another.
        Each = "each",
        /// One job is begun for all of them, which covers all that is since the last one.
        One = "one",
        /// They are left out, when they are more than five minutes past.
        Skip = "skip",
    }
}

crate::choice! {
    /// By which time of a call it belongs to a period.
    pub enum PeriodOf {
        /// When its record became readable: each call is in one file, whenever it was posted.
        Posted = "posted",
        /// When it began: a call that is posted later than its period ended is in no file.
        Setup = "setup",
    }
}

/// A time of day: `02:00`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeOfDay(pub String);

impl Field for TimeOfDay {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let text = Text::<1, 16>::read(value, path, problems)?.0;
        let digits = |t: &str| t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit());
        let below = |t: &str, most: u8| digits(t) && t.parse::<u8>().is_ok_and(|n| n < most);
        if text.split_once(':').is_some_and(|(hour, minute)| below(hour, 24) && below(minute, 60)) {
            return Some(Self(text));
        }
        problems.push(Problem::new(path, "invalid", "must be a time of day such as 02:00"));
        None
    }
    fn field_schema() -> RefOr<Schema> {
        form("^([01][0-9]|2[0-3]):[0-5][0-9]$")
    }
}

/// The name of a time zone of IANA's database: `America/New_York`, `UTC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZoneName(pub String);

impl Field for TimeZoneName {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let text = Text::<1, 40>::read(value, path, problems)?.0;
        let part =
            |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-".contains(&b));
        if !text.split('/').all(part) {
            problems.push(Problem::new(
                path,
                "invalid",
                "must be a time zone such as America/New_York or UTC",
            ));
            return None;
        }
        if calendar::zone(&text).is_none() {
            let message = "there is no such time zone; they have names such as America/New_York or UTC";
            problems.push(Problem::new(path, "no_such_object", message));
            return None;
        }
        Some(Self(text))
    }
    fn field_schema() -> RefOr<Schema> {
        form("^[A-Za-z0-9_+-]{1,14}(/[A-Za-z0-9_+-]{1,12}){0,2}$")
    }
}

fn form(pattern: &str) -> RefOr<Schema> {
    utoipa::openapi::schema::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::SchemaType::Type(utoipa::openapi::schema::Type::String))
        .pattern(Some(pattern))
        .into()
}

crate::input! {
    /// A schedule to make or to replace.
    pub struct ScheduleInput {
        /// Its name, for people. Its jobs have it too.
        pub name: Text<1, 100>,
        /// What its jobs do.
        pub kind: JobTask,
        /// For `call_export`, the one kind that there is: which calls, and into what. The times are those of the period.
        pub call_export: CallExportInput,
        /// By which time of a call it belongs to a period; `posted` when absent.
        pub period_of: Option<PeriodOf>,
        /// How often it comes.
        pub every: Every,
        /// At which time of day, in the zone; an hourly one at its minutes. Where the clock is turned: a time that is left out comes as
        /// much later, one that comes twice counts once.
        pub at: TimeOfDay,
        /// Of a weekly one the day of the week, 1 is Monday; of a monthly one that of the month, the last day where a month has fewer.
        pub day: Option<Int<1, 31>>,
        /// The zone of `at`, by its name in IANA's database.
        pub time_zone: TimeZoneName,
        /// What becomes of times at which nobody could begin a job; `each` when absent.
        pub missed_runs: Option<MissedRuns>,
        /// Whether it begins jobs; `active` when absent.
        pub status: Option<ScheduleStatus>,
    }
}

crate::view! {
    /// A schedule: a job that is begun at times of a calendar.
    pub struct Schedule from ScheduleRow {
        /// The schedule's id: `sch_` and 26 characters.
        pub id: String,
        /// Whose it is. Null: the carrier's own.
        pub customer_id: Option<String>,
        /// Its name, for people.
        pub name: String,
        /// What its jobs do.
        pub kind: Word<JobTask>,
        /// Of a `call_export`: which calls, and into what.
        pub call_export: Option<Shaped<CallExport>>,
        /// By which time of a call it belongs to a period.
        pub period_of: Word<PeriodOf>,
        /// How often it comes.
        pub every: Word<Every>,
        /// At which time of day, in the zone.
        pub at: String,
        /// The day of the week, 1 is Monday, or that of the month.
        pub day: Option<i32>,
        /// The zone of `at`.
        pub time_zone: String,
        /// What becomes of times at which nobody could begin a job.
        pub missed_runs: Word<MissedRuns>,
        /// Whether it begins jobs.
        pub status: Word<ScheduleStatus>,
        /// The time that comes next. Null: it is paused.
        pub next_at: Option<Time>,
        /// The time that a job was begun for last.
        pub last_due_at: Option<Time>,
        /// The job that was begun then.
        pub last_job_id: Option<String>,
        /// How many times were missed since it was made: left out, or begun more than five minutes late.
        pub missed: i32,
        /// The last of these.
        pub last_missed_at: Option<Time>,
        /// Why no job could be begun at the last look. Null: one was.
        pub error: Option<String>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

/// Schedules, as the API offers them.
pub struct Schedules;

impl Resource for Schedules {
    type Row = ScheduleRow;
    type Kind = ScheduleKind;
    type Parent = Owner;
    type Input = ScheduleInput;
    type View = Schedule;

    fn view(_: &Ctx<'_>, row: ScheduleRow) -> Schedule {
        row.into()
    }

    fn customer(row: &ScheduleRow) -> Option<CustomerId> {
        row.customer_id.as_deref()?.parse().ok()
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        of: Of<'_, Self>,
        input: &ScheduleInput,
    ) -> Result<ScheduleValues, Fault> {
        let owner = match &of {
            Of::New(..) => ctx.scope.customer().map(|c| c.to_string()),
            Of::Now(_, row) => row.customer_id.clone(),
        };
        let mut problems = Vec::new();
        let most = match input.every {
            Every::Hour | Every::Day => 0,
            Every::Week => 7,
            Every::Month => 31,
        };
        match input.day {
            None if most > 0 => {
                let message = format!("a schedule of each {} says on which day", input.every.as_str());
                problems.push(Problem::new("day", "belongs_together", message));
            }
            Some(day) if day.0 > most => {
                let message =
                    if most == 0 { "only weeks and months have a day" } else { "a week has seven days" };
                problems.push(Problem::new("day", "contradicts", message));
            }
            _ => {}
        }
        let export = &input.call_export;
        for (field, given) in [
            ("setup_from", export.setup_from.is_some()),
            ("setup_before", export.setup_before.is_some()),
            ("posted_from", export.posted_from.is_some()),
            ("posted_before", export.posted_before.is_some()),
            ("cursor", export.cursor.is_some()),
        ] {
            if given {
                let message = "is that of the period of each job";
                problems.push(Problem::new(format!("call_export.{field}"), "contradicts", message));
            }
        }
        none_wrong(problems)?;
        let job = JobInput { name: None, kind: input.kind, call_export: export.clone() };
        let job = checked(ctx, &job)?;
        if matches!(of, Of::New(..)) {
            check_count(rows::count(tx, owner.as_deref()).await?, SCHEDULES, "schedules")?;
        }
        let status = input.status.unwrap_or(ScheduleStatus::Active);
        let day = input.day.map(Int::as_i32);
        let rule = Rule::read(input.every, &input.at.0, day, &input.time_zone.0);
        let next = rule.and_then(|rule| rule.next_after(ctx.app.wall())).ok_or_else(Fault::internal)?;
        // A time that has not been begun yet stays due: whoever changes the name of a schedule takes none of its times away.
        let same = |row: &ScheduleRow| {
            let rule = (row.every.as_str(), row.at.as_str(), row.day, row.time_zone.as_str());
            rule == (input.every.as_str(), input.at.0.as_str(), day, input.time_zone.0.as_str())
        };
        let due = match &of {
            Of::Now(_, row) if same(row) => row.next_at.map(|t| t.0),
            _ => None,
        };
        Ok(ScheduleValues {
            customer_id: owner,
            name: input.name.0.clone(),
            kind: input.kind.as_str().to_owned(),
            call_export: job.call_export,
            period_of: input.period_of.unwrap_or(PeriodOf::Posted).as_str().to_owned(),
            every: input.every.as_str().to_owned(),
            at: input.at.0.clone(),
            day,
            time_zone: input.time_zone.0.clone(),
            missed_runs: input.missed_runs.unwrap_or(MissedRuns::Each).as_str().to_owned(),
            status: status.as_str().to_owned(),
            next_at: (status == ScheduleStatus::Active).then(|| due.unwrap_or(next).0),
        })
    }

    /// What was changed is looked at anew.
    async fn beside(tx: &mut Tx, id: ScheduleId, _: &ScheduleInput) -> Result<(), Fault> {
        Ok(rows::look_again(tx, id).await?)
    }
}
