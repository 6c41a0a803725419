//! The folder of recordings between calls: what a dead relay left is completed, and what is too old or too much is deleted.
//!
//! Touches files of our own names only, and of one relay only: the folder is locked. Deletes nothing while the lock is
//! somebody else's, and no recording that is being written.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use warp_model::Wall;

use super::Trouble;
use super::written::{OPEN, put};
use crate::core::record::files::{WAV_HEAD, wav_head};
use crate::metrics::RecordGone;

/// How often it looks for what is to be deleted.
const EVERY: Duration = Duration::from_secs(60);
/// Bytes of metadata that are read.
const METADATA_BYTES: u64 = 4 << 20;
/// Bytes of our names: `rec-`, a time, 64 bits.
const NAME: usize = 4 + 15 + 1 + 16;

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// So long after its end; zero: for ever.
    pub(crate) age: Duration,
    /// So many bytes, all together; zero: no limit.
    pub(crate) bytes: u64,
}

/// Looks after the folder.
pub(crate) struct Keeper {
    folder: PathBuf,
    kept: Kept,
    /// What was being written when a relay died.
    left: Vec<String>,
    _lock: Option<File>,
    trouble: Arc<Trouble>,
}

/// The name of a recording in the name of one of its files.
fn name_of(file: &str) -> Option<&str> {
    let name = file.get(..NAME)?;
    let is_ours = |(at, byte): (usize, u8)| match at {
        0..4 => b"rec-".get(at) == Some(&byte),
        12 => byte == b'T',
        19 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let is_end = file.get(NAME..).is_some_and(|rest| rest.starts_with(['.', '-']));
    (is_end && name.bytes().enumerate().all(is_ours)).then_some(name)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
    Ok(names.filter(|n| name_of(n).is_some()).collect())
}

impl Keeper {
    /// Makes the folder if it is not there, and notes what a dead relay has left in it.
    pub(crate) fn new(folder: PathBuf, kept: Kept, trouble: Arc<Trouble>) -> Self {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        let lock = made.and_then(|()| {
            let path = folder.join(".lock");
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
            file.try_lock().map_err(io::Error::from)?;
            Ok(file)
        });
        let mut new = Self { folder, kept, left: Vec::new(), _lock: None, trouble };
        match lock {
            Ok(lock) => {
                new._lock = Some(lock);
                let all = names(&new.folder).unwrap_or_default();
                new.left = all.into_iter().filter_map(|n| Some(n.strip_suffix(OPEN)?.to_owned())).collect();
            }
            Err(error) => new.trouble.tell("the folder of recordings (record)", &error),
        }
        new
    }

    /// Completes what was left, then deletes what is due, until it is told to stop.
    pub(crate) fn run(&mut self, stop: &Receiver<()>) {
        for name in std::mem::take(&mut self.left) {
            if let Err(error) = complete(&self.folder, &name) {
                self.trouble.tell(&name, &error);
            }
        }
        loop {
            if self._lock.is_some()
                && let Err(error) = self.delete_what_is_due(SystemTime::now())
            {
                self.trouble.tell("what is to be deleted", &error);
            }
            match stop.recv_timeout(EVERY) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
        }
    }

    fn delete_what_is_due(&self, now: SystemTime) -> io::Result<()> {
        if self.kept.age.is_zero() && self.kept.bytes == 0 {
            return Ok(());
        }
        // By name: in the order of their beginnings.
        let mut all: BTreeMap<String, Found> = BTreeMap::new();
        for file in names(&self.folder)? {
            let Some(name) = name_of(&file) else { continue };
            let Ok(about) = self.folder.join(&file).symlink_metadata() else { continue };
            let found = all.entry(name.to_owned()).or_default();
            found.bytes = found.bytes.saturating_add(about.blocks().saturating_mul(512));
            found.is_open |= file.ends_with(OPEN);
            let written = about.modified().unwrap_or(now);
            found.written = Some(found.written.map_or(written, |before| before.max(written)));
            found.files.push(file);
        }
        let mut bytes = all.values().fold(0u64, |sum, f| sum.saturating_add(f.bytes));
        for found in all.values_mut().filter(|f| !f.is_open) {
            let age = found.written.and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
            let why = if !self.kept.age.is_zero() && age > self.kept.age {
                RecordGone::Age
            } else if self.kept.bytes > 0 && bytes > self.kept.bytes {
                RecordGone::Bytes
            } else {
                continue;
            };
            // What says that there is a recording goes last.
            found.files.sort_by_key(|f| f.ends_with(".json"));
            for file in &found.files {
                std::fs::remove_file(self.folder.join(file))?;
            }
            bytes = bytes.saturating_sub(found.bytes);
            self.trouble.metrics.record_gone.inc(why);
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Found {
    files: Vec<String>,
    bytes: u64,
    written: Option<SystemTime>,
    is_open: bool,
}

/// Completes a recording that nobody writes any more: its WAV files are as long as the longest and say so, its pcap file ends
/// with a whole packet, and its metadata say that it was cut.
fn complete(folder: &Path, name: &str) -> io::Result<()> {
    let open = folder.join(format!("{name}{OPEN}"));
    if folder.join(format!("{name}.json")).exists() {
        // Only this was left to be done.
        return std::fs::remove_file(open);
    }
    let mut text = Vec::new();
    File::open(&open)?.take(METADATA_BYTES).read_to_end(&mut text)?;
    let mut about: Value =
        serde_json::from_slice(&text).unwrap_or_else(|_| json!({"version": 1, "name": name}));
    let files = names(folder)?.into_iter().filter(|n| name_of(n) == Some(name));
    let (mut wavs, mut longest, mut written) = (Vec::new(), 0u64, None);
    for file in files {
        let path = folder.join(&file);
        let is_wav = file.ends_with(".wav");
        if !is_wav && !file.ends_with(".pcap") {
            continue;
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let stat = file.metadata()?;
        written = written.max(stat.modified().ok());
        if is_wav {
            longest = longest.max(stat.len().saturating_sub(WAV_HEAD as u64) & !1);
            wavs.push(file);
        } else {
            let whole = whole_packets(&file)?;
            file.set_len(whole)?;
        }
    }
    for wav in wavs {
        wav.set_len(longest.saturating_add(WAV_HEAD as u64))?;
        wav.write_all_at(&wav_head(longest), 0)?;
    }
    let ended = written.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let ended = ended.and_then(|d| i64::try_from(d.as_micros()).ok()).map(|us| Wall(us).to_string());
    if let Some(about) = about.as_object_mut() {
        about.insert("state".into(), "cut".into());
        about.insert("ended".into(), ended.into());
        about.insert("duration_ms".into(), longest.checked_div(16).into());
    }
    put(folder, &format!("{name}.json"), &about)?;
    std::fs::remove_file(open)
}

/// Bytes of a pcap file up to the end of its last whole packet.
fn whole_packets(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut reader = io::BufReader::new(file);
    let mut at = 24u64;
    reader.seek(SeekFrom::Start(at))?;
    let mut head = [0; 16];
    while at.saturating_add(16) <= length {
        reader.read_exact(&mut head)?;
        let [.., a, b, c, d, _, _, _, _] = head;
        let kept = u32::from_le_bytes([a, b, c, d]);
        let next = at.saturating_add(16).saturating_add(u64::from(kept));
        if next > length {
            break;
        }
        reader.seek_relative(i64::from(kept))?;
        at = next;
    }
    Ok(at.min(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_ng_05_only_files_of_our_own_names_are_ours() {
        let name = "rec-20261201T153631-5a334f33005f162f";
        for file in [".json", "-1.wav", "-mix.wav", ".pcap", OPEN] {
            assert_eq!(name_of(&format!("{name}{file}")), Some(name), "{file}");
        }
        for other in [
            "",
            "rec-",
            name,
            ".lock",
            "notes.json",
            "rec-20261201T153631-5a334f33005f162f0.json",
            "rec-20261201T153631_5a334f33005f162f.json",
            "rec-2026120xT153631-5a334f33005f162f.json",
            "Rec-20261201T153631-5a334f33005f162f.json",
            "rec-20261201T153631-5a334f33005f162é.json",
        ] {
            assert_eq!(name_of(other), None, "{other}");
        }
    }
}
