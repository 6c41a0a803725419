//! Endpoints of jobs besides those of the declared noun: cancel, begin anew, download; and the export of calls, which begins one.

use std::io::SeekFrom;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint, to_json};
use super::error::{ApiError, Code};
use super::events::Live;
use crate::App;
use crate::app::fault::Fault;
use crate::app::jobs::{self, CallExportInput, Job, JobInput, JobTask, Jobs};
use crate::app::permission::Permission;
use crate::app::resource::{self, Owner};

/// How long a reader may take for the next piece.
const SLOW: Duration = Duration::from_secs(30);
/// Bytes of a piece.
const PIECE: usize = 64 << 10;

macro_rules! paths {
    ($audience:expr, $rest:literal) => {
        match $audience {
            Audience::Customer => concat!("/api/v1", $rest),
            Audience::Operator => concat!("/api/v1/admin", $rest),
        }
    };
}

pub(super) fn endpoints(audience: Audience) -> Vec<Endpoint> {
    let read = Access::Scope(audience, Permission::JobsRead);
    let write = Access::Scope(audience, Permission::JobsWrite);
    let mut all = super::nouns::endpoints::<Jobs>(audience);
    all.extend([
        endpoint(
            Method::POST,
            paths!(audience, "/jobs/{job_id}/cancel"),
            write,
            "End a job that is not over",
            cancel,
        )
        .gives::<Job>(200),
        endpoint(
            Method::POST,
            paths!(audience, "/jobs/{job_id}/retry"),
            write,
            "Begin a job anew that failed or was cancelled",
            retry,
        )
        .gives::<Job>(200),
        endpoint(
            Method::GET,
            paths!(audience, "/jobs/{job_id}/file"),
            read,
            "Download the file that a job made",
            download,
        )
        .raw("application/octet-stream"),
        endpoint(
            Method::POST,
            paths!(audience, "/calls/export"),
            write,
            "Begin a job that writes call records into a file",
            export,
        )
        .takes::<CallExportInput>()
        .gives::<Job>(202),
    ]);
    all
}

/// What this caller is answered of a job.
fn seen(r: &Request, job: &Job) -> Result<Value, ApiError> {
    Ok(resource::noun::<Jobs>().answered(r.caller()?.audience, to_json(job)?))
}

async fn cancel(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&seen(&r, &jobs::cancel(&r.ctx(&app)?, r.id("job_id", "job")?).await?)?)
}

async fn retry(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&seen(&r, &jobs::retry(&r.ctx(&app)?, r.id("job_id", "job")?).await?)?)
}

async fn export(app: Arc<App>, r: Request) -> Answer {
    let (ctx, caller) = (r.ctx(&app)?, r.caller()?);
    let input = JobInput { name: None, kind: JobTask::CallExport, call_export: r.input()? };
    let (id, made) = resource::create::<Jobs>(&ctx, Owner(caller.customer), input).await?;
    let at = format!("{}/{id}", resource::noun::<Jobs>().paths.list(caller.audience));
    Ok(match Reply::created(at, &seen(&r, &made)?)? {
        Reply::Data { data, next, last, version, location, .. } => {
            Reply::Data { status: 202, data, next, last, version, location }
        }
        other => other,
    })
}

async fn download(app: Arc<App>, r: Request) -> Answer {
    let name = jobs::file(&r.ctx(&app)?, r.id("job_id", "job")?).await?;
    let full = || ApiError {
        retry_after_s: Some(10),
        ..ApiError::new(Code::RateLimited, "there are too many downloads at this moment")
    };
    let place = app.downloads.clone().try_acquire_owned().map_err(|_| full())?;
    let path = app.config.spool.as_ref().map(|spool| spool.dir.join(&name));
    let opened = match path {
        Some(path) => tokio::fs::File::open(path).await.ok(),
        None => None,
    };
    let elsewhere =
        || Fault::not_found("file on this node").hint("the job names the node that made it; ask that one");
    let mut file = opened.ok_or_else(elsewhere)?;
    let broken = |error: std::io::Error| {
        tracing::error!(%error, "a file of the spool cannot be read");
        ApiError::new(Code::Internal, "something went wrong on our side")
    };
    let bytes = file.seek(SeekFrom::End(0)).await.map_err(broken)?;
    file.seek(SeekFrom::Start(0)).await.map_err(broken)?;
    let (out, live) = Live::new();
    tokio::spawn(async move {
        let _place = place;
        let mut piece = vec![0; PIECE];
        // An answer that ends before its length tells the reader that it is not whole.
        while let Ok(n @ 1..) = file.read(&mut piece).await {
            let bytes = Bytes::copy_from_slice(piece.get(..n).unwrap_or_default());
            if !matches!(tokio::time::timeout(SLOW, out.send(bytes)).await, Ok(Ok(()))) {
                return;
            }
        }
    });
    Ok(Reply::File { name, bytes, live })
}
