//! The last good snapshot on the node's own disk: calls can be decided before PostgreSQL answers (RFC 0003).
//!
//! A folder with one file per section, named by the hash of its content, and the file `manifest`, whose first line carries the
//! hash of the rest. A section that did not change is not written again: the index is large, and most changes are not about
//! it. Files are written whole, made durable and then named; what the manifest does not name is removed afterwards. So a crash
//! leaves the old snapshot or the new one. The directory holds vendors' passwords: it is sealed like the rows are (G-7).

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};
use warp_model::Wall;
use warp_policy::snapshot::{Manifest, Section, SectionKind};
use warp_policy::{Snapshot, SnapshotId};

use crate::App;
use crate::store::seal::{Seal, SealError};
use warp_model::hex;

/// A snapshot as it was kept.
pub struct Kept {
    /// To decide calls from.
    pub snapshot: Snapshot,
    /// When it was written.
    pub written_at: Wall,
}

/// Why nothing can be kept or read.
#[derive(Debug)]
pub enum KeptError {
    /// Reading or writing a file.
    File(PathBuf, io::Error),
    /// The manifest has another form than ours, which a newer version wrote, or is damaged.
    Manifest(PathBuf, &'static str),
    /// A section cannot be sealed, or not be opened.
    Seal(SealError),
    /// There is no key to open the directory with.
    NoKey(PathBuf),
    /// A section is damaged, or of another version; in words.
    Load(String),
}

impl fmt::Display for KeptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, e) => write!(f, "{}: {e}", path.display()),
            Self::Manifest(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Seal(e) => write!(f, "{e}"),
            Self::NoKey(path) => write!(f, "the key {} is not there", path.display()),
            Self::Load(e) => f.write_str(e),
        }
    }
}

impl std::error::Error for KeptError {}

impl From<SealError> for KeptError {
    fn from(e: SealError) -> Self {
        Self::Seal(e)
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Written {
    written_at: Wall,
    manifest: Manifest,
}

/// Keeps a snapshot in `dir` in the place of the last one. Gives the number of sections that were written.
pub fn write(dir: &Path, snapshot: &Snapshot, seal: &Seal, now: Wall) -> Result<usize, KeptError> {
    std::fs::create_dir_all(dir).map_err(|e| KeptError::File(dir.to_owned(), e))?;
    let last = read_manifest(dir).ok().flatten();
    let known = |kind: SectionKind, key: &str| {
        let section = last.as_ref()?.manifest.sections.iter().find(|s| s.kind == kind && s.key == key)?;
        dir.join(file_of(section)).is_file().then(|| section.clone())
    };
    let parts = [
        (SectionKind::NumberPlan, hex::encode(&snapshot.number_plan.hash())),
        (SectionKind::Directory, hex::encode(&snapshot.directory.hash())),
        (SectionKind::Lcr, hex::encode(&snapshot.lcr.key())),
    ];
    let pages = snapshot.numbers.pages();
    let pages = pages.map(|(page, content)| (SectionKind::Numbers { page }, hex::encode(&content.key())));
    let mut manifest = Manifest { version: 1, id: snapshot.id, sections: Vec::new() };
    let mut written = 0;
    for (kind, key) in parts.into_iter().chain(pages) {
        if let Some(section) = known(kind, &key) {
            manifest.sections.push(section);
            continue;
        }
        let clear = match kind {
            SectionKind::NumberPlan => snapshot.number_plan.text().as_bytes().to_vec(),
            SectionKind::Directory => serde_json::to_vec(snapshot.directory.rows())
                .map_err(|e| KeptError::Load(format!("directory: {e}")))?,
            SectionKind::Lcr => snapshot.lcr.to_bytes(),
            SectionKind::Numbers { page } => {
                snapshot.numbers.page(page).map(|p| p.to_bytes()).unwrap_or_default()
            }
        };
        let section =
            Section { kind, key, sha256: hex::encode(&Sha256::digest(&clear)), len: clear.len() as u64 };
        let bytes = match kind {
            SectionKind::Directory => seal.seal(&place(&section), &clear)?,
            _ => clear,
        };
        put(&dir.join(file_of(&section)), &bytes)?;
        manifest.sections.push(section);
        written += 1;
    }
    let needed: BTreeSet<String> = manifest.sections.iter().map(file_of).collect();
    let json = serde_json::to_string(&Written { written_at: now, manifest })
        .map_err(|e| KeptError::Load(format!("manifest: {e}")))?;
    let text = format!("{FORM} {}\n{json}", hex::encode(&Sha256::digest(json.as_bytes())));
    put(&dir.join(MANIFEST), text.as_bytes())?;
    sweep(dir, &needed);
    Ok(written)
}

/// Reads what is kept in `dir`. `None`: nothing is. Errors: what is there cannot be trusted whole, and is not used in part.
pub fn read(dir: &Path, key: &Path) -> Result<Option<Kept>, KeptError> {
    let Some(Written { written_at, manifest }) = read_manifest(dir)? else { return Ok(None) };
    let seal = Seal::read(key)?.ok_or_else(|| KeptError::NoKey(key.to_owned()))?;
    let mut failed = None;
    let snapshot = Snapshot::load(&manifest, None, |section| {
        let path = dir.join(file_of(section));
        let bytes = std::fs::read(&path).map_err(|e| KeptError::File(path, e));
        let clear = bytes.and_then(|bytes| match section.kind {
            SectionKind::Directory => Ok(seal.unseal(&place(section), &bytes)?.reveal().clone()),
            _ => Ok(bytes),
        });
        clear.map_err(|e| failed = Some(e)).ok()
    });
    match (snapshot, failed) {
        (Ok(snapshot), _) => Ok(Some(Kept { snapshot, written_at })),
        (Err(_), Some(why)) => Err(why),
        (Err(e), None) => Err(KeptError::Load(e.to_string())),
    }
}

fn read_manifest(dir: &Path) -> Result<Option<Written>, KeptError> {
    let path = dir.join(MANIFEST);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(KeptError::File(path, e)),
    };
    let Some((head, json)) = text.split_once('\n') else {
        return Err(KeptError::Manifest(path, "cut short"));
    };
    let Some(hash) = head.strip_prefix(FORM).and_then(|h| h.strip_prefix(' ')) else {
        return Err(KeptError::Manifest(path, "another form than this version knows"));
    };
    if hash != hex::encode(&Sha256::digest(json.as_bytes())) {
        return Err(KeptError::Manifest(path, "damaged: its hash is another"));
    }
    let read = serde_json::from_str(json);
    read.map(Some).map_err(|_| KeptError::Manifest(path, "cannot be read"))
}

/// Writes a file whole: a crash leaves the old one or the new one.
fn put(path: &Path, bytes: &[u8]) -> Result<(), KeptError> {
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    let written = (|| {
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    })();
    written.map_err(|e| KeptError::File(path.to_owned(), e))
}

/// Removes sections that no manifest names any more. What cannot be removed costs space only.
fn sweep(dir: &Path, needed: &BTreeSet<String>) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != MANIFEST && !needed.contains(&name) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn file_of(section: &Section) -> String {
    format!("{}.section", section.sha256)
}

fn place(section: &Section) -> String {
    format!("kept snapshot/{}", section.sha256)
}

/// Keeps each published snapshot until told to stop; a burst of changes is one write.
pub async fn run(app: Arc<App>, dir: PathBuf, mut stop: watch::Receiver<bool>) {
    let news = Arc::new(Notify::new());
    let ring = news.clone();
    let _listening = app.publication.on_change(move || ring.notify_one());
    news.notify_one();
    let mut kept: Option<SnapshotId> = None;
    loop {
        tokio::select! {
            () = news.notified() => {}
            _ = stop.wait_for(|s| *s) => return,
        }
        let snapshot = app.publication.latest();
        if kept == Some(snapshot.id) {
            continue;
        }
        let (id, seal, now, to) = (snapshot.id, app.store.seal().clone(), app.wall(), dir.clone());
        let done = tokio::task::spawn_blocking(move || write(&to, &snapshot, &seal, now)).await;
        match done {
            Ok(Ok(sections)) => {
                tracing::debug!(snapshot = %id, sections, "snapshot kept on disk");
                kept = Some(id);
            }
            Ok(Err(e)) => {
                tracing::warn!(snapshot = %id, error = %e, "the snapshot is not kept on disk: a start without PostgreSQL begins with an older one")
            }
            Err(e) => tracing::error!(error = %e, "keeping the snapshot ended badly"),
        }
    }
}

/// Form of the manifest's first line.
const FORM: &str = "warp-kept-snapshot-1";
const MANIFEST: &str = "manifest";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_what_is_damaged_is_refused_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (at, key) = (dir.path().join("snapshot"), dir.path().join("seal.key"));
        assert!(read(&at, &key).unwrap().is_none());
        std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
        let seal = Seal::read(&key).unwrap().unwrap();
        let snapshot = Snapshot::empty();
        assert_eq!(write(&at, &snapshot, &seal, Wall(7)).unwrap(), 3);
        assert_eq!(write(&at, &snapshot, &seal, Wall(8)).unwrap(), 0, "nothing changed");
        let kept = read(&at, &key).unwrap().unwrap();
        assert_eq!((kept.snapshot.id, kept.written_at), (snapshot.id, Wall(8)));
        assert_eq!(std::fs::read_dir(&at).unwrap().count(), 4);
        std::fs::write(at.join("0.section"), "of an older snapshot").unwrap();
        write(&at, &snapshot, &seal, Wall(9)).unwrap();
        assert_eq!(std::fs::read_dir(&at).unwrap().count(), 4, "swept");

        for entry in std::fs::read_dir(&at).unwrap().map(|e| e.unwrap().path()) {
            let whole = std::fs::read(&entry).unwrap();
            for bent in [whole[..whole.len() / 2].to_vec(), {
                let mut bent = whole.clone();
                bent[whole.len() / 2] ^= 1;
                bent
            }] {
                std::fs::write(&entry, bent).unwrap();
                assert!(read(&at, &key).is_err(), "{}", entry.display());
            }
            std::fs::remove_file(&entry).unwrap();
            assert!(!read(&at, &key).is_ok_and(|k| k.is_some()), "{}", entry.display());
            std::fs::write(&entry, whole).unwrap();
        }
        assert!(read(&at, &key).unwrap().is_some());
        assert!(matches!(read(&at, &dir.path().join("other.key")), Err(KeptError::NoKey(_))));
        let manifest = at.join(MANIFEST);
        let text = std::fs::read_to_string(&manifest).unwrap();
        std::fs::write(&manifest, text.replace("snapshot-1 ", "snapshot-2 ")).unwrap();
        let refused = read(&at, &key).err().unwrap().to_string();
        assert!(refused.contains("another form"), "{refused}");
    }
}
