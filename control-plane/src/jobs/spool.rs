//! The folder of files that jobs make. A file is written beside its place, synced and put there whole; its name has the epoch of its job,
//! so that two workers of one job never write the same file. What no job names is deleted (after a kill, a cancellation, a deletion).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use warp_model::{JobId, Wall, hex};

use crate::App;
use crate::store::{Scope, StoreError, jobs as rows};

/// How long a file is kept; `JOB_FILES_EXPIRE` says the same.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 86_400);
/// The longest file. A job that needs more fails, and says so.
pub const FILE_BYTES: u64 = 4 << 30;
/// What an unfinished file ends with.
const UNFINISHED: &str = ".part";

/// A file that is being written: it knows its length and its digest.
pub struct Writing {
    out: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
    dir: PathBuf,
    name: String,
}

/// A file that is whole and in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name in the folder.
    pub name: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
}

impl Kept {
    /// As a job shows it.
    pub fn shown(&self, now: Wall) -> Value {
        json!({
            "name": self.name,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "expires_at": now.plus(KEPT_FOR).to_string(),
        })
    }
}

/// The name of the file of a job.
pub fn name(job: &str, epoch: i32, extension: &str) -> String {
    format!("{job}-{epoch}.{extension}")
}

/// The job and the epoch that a name tells of; `None`: it is no file of a job.
fn told(name: &str) -> Option<(&str, i32)> {
    let (stem, _) = name.split_once('.')?;
    let (job, epoch) = stem.split_once('-')?;
    job.parse::<JobId>().ok()?;
    Some((job, epoch.parse().ok()?))
}

impl Writing {
    /// Begins a file of this name; what an earlier attempt of the same name left is overwritten.
    pub fn begin(dir: &Path, name: &str) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let file = private(&dir.join(format!("{name}{UNFINISHED}")))?;
        let out = BufWriter::with_capacity(128 << 10, file);
        let (dir, name) = (dir.to_owned(), name.to_owned());
        Ok(Self { out, digest: Sha256::new(), bytes: 0, dir, name })
    }

    /// Syncs it and puts it in its place.
    pub fn keep(self) -> io::Result<Kept> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(self.dir.join(format!("{}{UNFINISHED}", self.name)), self.dir.join(&self.name))?;
        File::open(&self.dir)?.sync_all()?;
        let sha256 = hex::encode(&self.digest.finalize());
        Ok(Kept { name: self.name, bytes: self.bytes, sha256 })
    }
}

/// Call records are read by nobody else on this machine.
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.digest.update(bytes.get(..n).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        if self.bytes > FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Deletes the files that no job needs. A job that is taken up has its epoch in the database before its file exists, so that a file is
/// never taken from whoever writes it.
pub async fn sweep(app: &App, dir: &Path) -> Result<(), StoreError> {
    let folder = dir.to_owned();
    let listed = tokio::task::spawn_blocking(move || listed(&folder)).await;
    let names = match listed {
        Ok(Ok(names)) => names,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the spool of jobs cannot be listed");
            return Ok(());
        }
        Err(e) => return Err(StoreError::Internal(e.to_string())),
    };
    for some in names.chunks(1_000) {
        let ids: Vec<String> = some.iter().filter_map(|n| told(n)).map(|(job, _)| job.to_owned()).collect();
        let mut tx = app.store.begin(Scope::Operator("jobs")).await?;
        let known = rows::files(&mut tx, &ids).await?;
        drop(tx);
        for name in some {
            let Some((job, epoch)) = told(name) else { continue };
            let needed = known.iter().any(|row| {
                row.id == job
                    && (row.file_name.as_ref() == Some(name)
                        || (row.status == "running" && row.epoch <= epoch))
            });
            if !needed {
                tracing::info!(file = name, "a file of a job that nobody needs is deleted");
                let _ = tokio::fs::remove_file(dir.join(name)).await;
            }
        }
    }
    Ok(())
}

fn listed(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| told(name).is_some()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "job_06f7jv8c1gdyzv3n1v8d5h2k4m";

    #[test]
    fn a_file_is_in_its_place_when_it_is_whole_and_has_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let name = name(JOB, 3, "csv");
        let mut file = Writing::begin(dir.path(), &name).unwrap();
        file.write_all(b"abc").unwrap();
        assert!(!dir.path().join(&name).exists(), "not before it is whole");
        let kept = file.keep().unwrap();
        assert_eq!(kept.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((kept.bytes, std::fs::read(dir.path().join(&name)).unwrap()), (3, b"abc".to_vec()));
        assert_eq!(listed(dir.path()).unwrap(), [name], "and nothing beside it");
    }

    #[test]
    fn only_files_of_jobs_are_known() {
        for name in ["", "x", "README.md", "job_x-1.csv", &format!("{JOB}.csv"), &format!("{JOB}-x.csv")] {
            assert_eq!(told(name), None, "{name}");
        }
        assert_eq!(told(&format!("{JOB}-3.csv.part")), Some((JOB, 3)));
        assert_eq!(told(&name(JOB, 12, "parquet")), Some((JOB, 12)));
    }
}
