//! `warp jobs export|cancel|retry|download`: what can be done with jobs besides what can be done with each noun.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, encoded};
use super::names::id_of;
use super::nouns::Body;
use super::nouns::fields::{forms_of, row, whole};
use super::output::Output;
use super::{Common, Failure};
use warp_control_plane::noun::job::JOB;

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Begin an export of call records: format=parquet, setup_from=2026-11-01T00:00:00Z, outcome=answered, cursor=…
    Export {
        /// Wait until it is done, and write the file there; - is the standard output.
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        body: Body,
    },
    /// End a job that is not over.
    Cancel {
        /// job_…, or its name.
        job: String,
    },
    /// Begin a job anew that failed or was cancelled.
    Retry {
        /// job_…, or its name.
        job: String,
    },
    /// Download the file that a job made.
    Download {
        /// job_…, or its name.
        job: String,
        /// Where to; - is the standard output. Absent: a file of its own name in this folder.
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

const COLUMNS: &[&str] = &["id", "kind", "name", "status", "percent", "attempts", "error"];

pub(super) fn run(verb: &Verb, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    match verb {
        Verb::Export { out, body } => {
            let body = body.read(&client, &forms_of("CallExportInput"), "jobs", None)?;
            let job = client.either(|of| client.json("POST", &format!("{of}/calls/export"), &body))?;
            match out {
                None => print(&job, common),
                Some(out) => {
                    let job = waited(&client, text(&job, "id"))?;
                    saved(&client, &job, Some(out), common)?;
                }
            }
        }
        Verb::Cancel { job } => print(&steered(&client, job, "cancel")?, common),
        Verb::Retry { job } => print(&steered(&client, job, "retry")?, common),
        Verb::Download { job, out } => {
            let id = id_of(&client, &JOB, job)?;
            saved(&client, &shown(&client, &id)?, out.as_deref(), common)?;
        }
    }
    Ok(0)
}

fn steered(client: &Client, job: &str, verb: &str) -> Result<Value, Failure> {
    let id = id_of(client, &JOB, job)?;
    client.either(|of| client.json("POST", &format!("{of}/jobs/{}/{verb}", encoded(&id)), &json!({})))
}

fn shown(client: &Client, id: &str) -> Result<Value, Failure> {
    client.either(|of| client.get(&format!("{of}/jobs/{}", encoded(id))))
}

/// The job when it is done. Errors: it failed or was cancelled.
fn waited(client: &Client, id: &str) -> Result<Value, Failure> {
    loop {
        let job = shown(client, id)?;
        match text(&job, "status") {
            "done" => return Ok(job),
            "queued" | "running" => std::thread::sleep(Duration::from_millis(200)),
            other => {
                let why = job["error"].as_str().map(|e| format!(": {e}")).unwrap_or_default();
                return Err(Failure::new(format!("job {id} is {other}{why}")));
            }
        }
    }
}

/// Writes the file of a job beside its place and puts it there when it is whole.
fn saved(client: &Client, job: &Value, out: Option<&Path>, common: &Common) -> Result<(), Failure> {
    let id = text(job, "id");
    let from = |of: &str| format!("{of}/jobs/{}/file", encoded(id));
    if out.is_some_and(|path| path == Path::new("-")) {
        client.either(|of| client.download(&from(of), &mut io::stdout().lock()))?;
        return io::stdout().flush().map_err(|e| Failure::new(format!("standard output: {e}")));
    }
    // A name of the API's is no path.
    let own = job["file"]["name"].as_str().unwrap_or(id).replace('/', "_");
    let path = out.map_or_else(|| PathBuf::from(own), Path::to_path_buf);
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let wrong = |e: io::Error| Failure::new(format!("{}: {e}", path.display()));
    let file = File::create(&part).map_err(wrong)?;
    let written = client.either(|of| {
        file.set_len(0).map_err(wrong)?;
        client.download(&from(of), &mut &file)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    let bytes = written?;
    std::fs::rename(&part, &path).map_err(wrong)?;
    let place = path.display().to_string();
    Output::new(common, &["id", "file", "bytes"]).item(
        || json!({ "id": id, "file": place, "bytes": bytes }),
        || vec![id.to_owned(), place.clone(), bytes.to_string()],
        || format!("{place}: {bytes} bytes"),
    );
    Ok(())
}

fn print(job: &Value, common: &Common) {
    Output::new(common, COLUMNS).item(|| job.clone(), || row(COLUMNS, job), || whole(job, COLUMNS));
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}
