//! Jobs: work that takes longer than a request (RFC 0019). A job is begun, looked at, cancelled, repeated and deleted here; it is carried
//! out by [`crate::jobs`].

use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use warp_model::id::{CustomerKind, JobKind, TrunkKind, VendorKind};
use warp_model::{CustomerId, JobId};

use super::calls::{CallDirection, CallOutcome};
use super::fault::{Fault, Kind, Problem};
use super::input::{Field, Int, Phone, Ref, SipCallId, Text, nested};
use super::paging::Cursor;
use super::permission::Permission;
use super::resource::{self, Of, Owner, Resource};
use super::view::{Shaped, Word};
use super::{Ctx, check_count, none_wrong};
use crate::noun::job::{JobRow, JobValues};
use crate::store::calls::CallQuery;
use crate::store::types::Time;
use crate::store::{Scope, Tx, jobs as rows, nouns};

/// Jobs of one customer, or of the carrier, that are not over.
pub const OPEN: i64 = 20;

crate::choice! {
    /// What a job does.
    pub enum JobTask {
        /// Writes call records into a file.
        CallExport = "call_export",
    }
}

crate::choice! {
    /// Where a job stands.
    pub enum JobStatus {
        /// It waits, also for its next attempt.
        Queued = "queued",
        /// Somebody carries it out.
        Running = "running",
        /// It was carried out, whole.
        Done = "done",
        /// It failed, and is not tried again by itself.
        Failed = "failed",
        /// Somebody cancelled it before its end.
        Cancelled = "cancelled",
    }
}

crate::choice! {
    /// The form of a file of records.
    pub enum FileFormat {
        /// RFC 4180 with a line of names, for spreadsheets and scripts.
        Csv = "csv",
        /// Apache Parquet, for analysts' tools: times and amounts have types.
        Parquet = "parquet",
    }
}

crate::input! {
    /// Which call records go into the file. Each filter that is absent is no condition.
    pub struct CallExportInput {
        /// The form of the file; `csv` when absent.
        pub format: Option<FileFormat>,
        /// Only calls of this trunk.
        pub trunk_id: Option<Ref<TrunkKind>>,
        /// Only calls with this final SIP status.
        pub code: Option<Int<100, 699>>,
        /// Only calls that ended so.
        pub outcome: Option<CallOutcome>,
        /// Only calls that went this way, seen from the customer.
        pub direction: Option<CallDirection>,
        /// Only calls to this number, in any usual writing.
        pub called: Option<Phone>,
        /// Only calls from this number, in any usual writing.
        pub caller: Option<Phone>,
        /// Only calls that began at or after this time.
        pub setup_from: Option<Time>,
        /// Only calls that began before this time.
        pub setup_before: Option<Time>,
        /// Only calls whose record became readable at or after this time.
        pub posted_from: Option<Time>,
        /// Only calls whose record became readable before this time; when absent, before the job was begun.
        pub posted_before: Option<Time>,
        /// Only calls with this SIP Call-ID.
        pub call_id: Option<SipCallId>,
        /// Only calls whose records became readable after those of an earlier export: its `last_cursor`.
        pub cursor: Option<CallCursor>,
        /// Only calls that this vendor carried. Only an operator's key can set it.
        pub vendor_id: Option<Ref<VendorKind>>,
        /// Only calls of this customer. Only an operator's key can set it.
        pub customer_id: Option<Ref<CustomerKind>>,
    }
}

crate::input! {
    /// A job to begin.
    pub struct JobInput {
        /// Its name, for people.
        pub name: Option<Text<1, 100>>,
        /// What the job is to do.
        pub kind: JobTask,
        /// For `call_export`, the one kind that there is: which calls, and into what.
        pub call_export: CallExportInput,
    }
}

impl Field for CallExportInput {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        nested(value?, path, problems)
    }
    fn field_schema() -> RefOr<Schema> {
        <Self as utoipa::PartialSchema>::schema()
    }
}

/// A place in the list of calls by when they were posted: a `last_cursor` or `next_cursor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallCursor(pub String);

impl Field for CallCursor {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let text = Text::<1, 64>::read(value, path, problems)?;
        match Cursor::Call.read(&text.0) {
            Ok(cursor) => Some(Self(cursor)),
            Err(why) => {
                problems.push(Problem::new(path, "invalid", why.message));
                None
            }
        }
    }
    fn field_schema() -> RefOr<Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::SchemaType::Type(utoipa::openapi::schema::Type::String))
            .pattern(Some(Cursor::Call.pattern()))
            .into()
    }
}

impl CallExportInput {
    /// As the job keeps it: each field, null where there is no condition.
    pub(crate) fn kept(&self) -> Value {
        let time = |t: &Option<Time>| t.map(|t| t.0.to_string());
        json!({
            "format": self.format.unwrap_or(FileFormat::Csv).as_str(),
            "trunk_id": self.trunk_id.as_ref().map(|r| r.0.to_string()),
            "code": self.code.map(Int::as_i32),
            "outcome": self.outcome.map(CallOutcome::as_str),
            "direction": self.direction.map(CallDirection::as_str),
            "called": self.called.as_ref().map(|p| &p.0),
            "caller": self.caller.as_ref().map(|p| &p.0),
            "setup_from": time(&self.setup_from),
            "setup_before": time(&self.setup_before),
            "posted_from": time(&self.posted_from),
            "posted_before": time(&self.posted_before),
            "call_id": self.call_id.as_ref().map(|c| &c.0),
            "cursor": self.cursor.as_ref().map(|c| &c.0),
            "vendor_id": self.vendor_id.as_ref().map(|r| r.0.to_string()),
            "customer_id": self.customer_id.as_ref().map(|r| r.0.to_string()),
        })
    }

    /// What is read, in this scope. `begun`: when the job was.
    pub(crate) fn query(self, scope: Scope, begun: Time) -> CallQuery {
        let moment = |t: Time| t.0.0;
        CallQuery {
            trunk: self.trunk_id.map(|r| r.0.to_string()),
            code: self.code.map(Int::as_i32),
            outcome: self.outcome.map(CallOutcome::as_str),
            direction: self.direction.map(CallDirection::as_str),
            called: self.called.map(|p| p.0),
            caller: self.caller.map(|p| p.0),
            setup_from: self.setup_from.map(moment),
            setup_before: self.setup_before.map(moment),
            sip_call_id: self.call_id.map(|c| c.0),
            vendor: self.vendor_id.map(|r| r.0.to_string()),
            // For a tenant this says again what row-level security does.
            customer: match scope.customer() {
                Some(own) => Some(own.to_string()),
                None => self.customer_id.map(|r| r.0.to_string()),
            },
            posted_from: self.posted_from.map(moment),
            posted_before: Some(moment(self.posted_before.unwrap_or(begun))),
        }
    }
}

crate::view! {
    /// Which call records an export writes. Null: no condition.
    pub struct CallExport {
        /// The form of the file.
        pub format: Word<FileFormat>,
        /// Only calls of this trunk.
        pub trunk_id: Option<String>,
        /// Only calls with this final SIP status.
        pub code: Option<i32>,
        /// Only calls that ended so.
        pub outcome: Option<Word<CallOutcome>>,
        /// Only calls that went this way.
        pub direction: Option<Word<CallDirection>>,
        /// Only calls to this number.
        pub called: Option<String>,
        /// Only calls from this number.
        pub caller: Option<String>,
        /// Only calls that began at or after this time.
        pub setup_from: Option<Time>,
        /// Only calls that began before this time.
        pub setup_before: Option<Time>,
        /// Only calls whose record became readable at or after this time.
        pub posted_from: Option<Time>,
        /// Only calls whose record became readable before this time. Null: before the job was begun.
        pub posted_before: Option<Time>,
        /// Only calls with this SIP Call-ID.
        pub call_id: Option<String>,
        /// Only calls whose records became readable after this place.
        pub cursor: Option<String>,
        /// Only calls that this vendor carried. Null for customers.
        pub vendor_id: Option<String>,
        /// Only calls of this customer. Null for customers: their jobs read their calls only.
        pub customer_id: Option<String>,
    }
}

crate::view! {
    /// What came of a job so far.
    pub struct JobResult {
        /// Records that were written.
        pub rows: i64,
        /// Where the next export goes on, so that none is missed and none comes twice. Null: there was no record yet.
        pub last_cursor: Option<String>,
    }
}

crate::view! {
    /// The file that a job made.
    pub struct JobFile {
        /// Its name, for whoever keeps it.
        pub name: String,
        /// Its size in bytes.
        pub bytes: i64,
        /// SHA-256 of what is in it, in hex.
        pub sha256: String,
        /// When it is deleted.
        pub expires_at: Time,
    }
}

crate::view! {
    /// A job: work that takes longer than a request.
    pub struct Job from JobRow {
        /// The job's id: `job_` and 26 characters.
        pub id: String,
        /// Whose it is. Null: the carrier's own.
        pub customer_id: Option<String>,
        /// Its name, for people.
        pub name: Option<String>,
        /// What the job is to do.
        pub kind: Word<JobTask>,
        /// Of a `call_export`: which calls, and into what.
        pub call_export: Option<Shaped<CallExport>>,
        /// Where the job stands now.
        pub status: Word<JobStatus>,
        /// How often it was taken up since it was begun, or begun anew.
        pub attempts: i32,
        /// How far it is, 0 to 100: of an export, by the time that is covered.
        pub percent: i32,
        /// Not before then is it taken up.
        pub next_at: Time,
        /// The node that took it up last. A file stands there.
        pub node: Option<String>,
        /// Why the last attempt failed.
        pub error: Option<String>,
        /// What came of it so far.
        pub result: Option<Shaped<JobResult>>,
        /// The file that it made, until that is deleted.
        pub file: Option<Shaped<JobFile>>,
        /// The schedule that began it. Null: somebody did, or the schedule is deleted.
        pub schedule_id: Option<String>,
        /// The time of that schedule that it was begun for.
        pub due_at: Option<Time>,
        /// When it was taken up first.
        pub started_at: Option<Time>,
        /// When it was over.
        pub finished_at: Option<Time>,
        /// When it was begun.
        pub created_at: Time,
        /// When anything of it changed last.
        pub updated_at: Time,
        /// A number that rises with each change of its status. The ETag header carries it.
        pub version: i32,
    }
}

/// Jobs, as the API offers them.
pub struct Jobs;

impl Resource for Jobs {
    type Row = JobRow;
    type Kind = JobKind;
    type Parent = Owner;
    type Input = JobInput;
    type View = Job;

    fn view(_: &Ctx<'_>, row: JobRow) -> Job {
        row.into()
    }

    fn customer(row: &JobRow) -> Option<CustomerId> {
        row.customer_id.as_deref()?.parse().ok()
    }

    async fn values(
        ctx: &Ctx<'_>,
        tx: &mut Tx,
        _: Of<'_, Self>,
        input: &JobInput,
    ) -> Result<JobValues, Fault> {
        // Jobs are made, not changed: whose it is says the scope of whoever begins it.
        let owner = ctx.scope.customer().map(|c| c.to_string());
        let values = checked(ctx, input)?;
        check_count(rows::open(tx, owner.as_deref()).await?, OPEN, "jobs that are not over")?;
        Ok(JobValues { customer_id: owner, ..values })
    }

    async fn may_go(_: &Ctx<'_>, _: &mut Tx, row: &JobRow) -> Result<(), Fault> {
        if [JobStatus::Queued, JobStatus::Running].iter().any(|open| row.status == open.as_str()) {
            return Err(Fault::new(Kind::Conflict, "this job is not over").hint("cancel it first"));
        }
        Ok(())
    }
}

/// What a job is to do, when whoever asks may have it done.
pub(crate) fn checked(ctx: &Ctx<'_>, input: &JobInput) -> Result<JobValues, Fault> {
    let mut problems = Vec::new();
    let JobTask::CallExport = input.kind;
    may_read(ctx, input.kind)?;
    let export = &input.call_export;
    for (field, given) in
        [("vendor_id", export.vendor_id.is_some()), ("customer_id", export.customer_id.is_some())]
    {
        if given && ctx.scope.customer().is_some() {
            let message = "only an operator's key can set it";
            problems.push(Problem::new(format!("call_export.{field}"), "operators_only", message));
        }
    }
    none_wrong(problems)?;
    Ok(JobValues {
        customer_id: None,
        name: input.name.as_ref().map(|n| n.0.clone()),
        kind: input.kind.as_str().to_owned(),
        call_export: Some(export.kept()),
    })
}

/// What a job reads, whoever begins it or takes its file must be allowed to read.
fn may_read(ctx: &Ctx<'_>, task: JobTask) -> Result<(), Fault> {
    let needed = match task {
        JobTask::CallExport => Permission::CallsRead,
    };
    if ctx.may.has(needed) {
        return Ok(());
    }
    let message = format!("a {} also needs the scope {}", task.as_str(), needed.as_str());
    Err(Fault::new(Kind::Forbidden, message))
}

/// Ends a job that is not over. Errors: there is none; it is over.
pub async fn cancel(ctx: &Ctx<'_>, id: JobId) -> Result<Job, Fault> {
    let mut tx = ctx.begin().await?;
    let row = resource::known::<JobRow>(nouns::lock(&mut tx, id).await?)?;
    if row.status == JobStatus::Cancelled.as_str() {
        return Ok(row.into());
    }
    if rows::cancel(&mut tx, id).await? == 0 {
        return Err(Fault::new(Kind::Conflict, format!("this job is {} already", row.status)));
    }
    steered(ctx, tx, &row, "job.cancel").await
}

/// Begins a job anew that failed or was cancelled. Errors: there is none; it stands otherwise; there are too many.
pub async fn retry(ctx: &Ctx<'_>, id: JobId) -> Result<Job, Fault> {
    let mut tx = ctx.begin().await?;
    let row = resource::known::<JobRow>(nouns::lock(&mut tx, id).await?)?;
    may_read(ctx, JobTask::parse(&row.kind).ok_or_else(Fault::internal)?)?;
    check_count(rows::open(&mut tx, row.customer_id.as_deref()).await?, OPEN, "jobs that are not over")?;
    if rows::again(&mut tx, id).await? == 0 {
        let message = format!("this job is {}: only what failed or was cancelled begins anew", row.status);
        return Err(Fault::new(Kind::Conflict, message));
    }
    steered(ctx, tx, &row, "job.retry").await
}

async fn steered(ctx: &Ctx<'_>, mut tx: Tx, row: &JobRow, action: &str) -> Result<Job, Fault> {
    ctx.audit(&mut tx, Jobs::customer(row), action, &row.id, None).await?;
    let now = resource::read::<JobRow>(&mut tx, &row.id).await?;
    tx.commit().await?;
    Ok(now.into())
}

/// The name of the file that a job made. Errors: there is no such job, or no file (any more); whoever asks may not read what is in it.
pub async fn file(ctx: &Ctx<'_>, id: JobId) -> Result<String, Fault> {
    let mut tx = ctx.begin().await?;
    let row = resource::read::<JobRow>(&mut tx, id).await?;
    may_read(ctx, JobTask::parse(&row.kind).ok_or_else(Fault::internal)?)?;
    let name = row.file.as_ref().and_then(|f| f.0["name"].as_str());
    match name {
        Some(name) => Ok(name.to_owned()),
        None if row.status == JobStatus::Done.as_str() => {
            Err(Fault::not_found("file: it was deleted after seven days"))
        }
        None => Err(Fault::new(Kind::Conflict, format!("this job is {} and has no file", row.status))),
    }
}
