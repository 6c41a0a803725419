//! The files of journals: names in the order of time, new segments that get their names when they are locked, and what is left of those.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{EXTENSION, JournalOptions, wall};
use crate::error::EventsError;
use crate::segment::{Header, SegmentKind};

/// Ending of a segment that is being made.
const UNNAMED: &str = ".new";

/// A segment that this process writes; nobody else has its lock until it is dropped.
pub(super) struct Locked(File);

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

/// The lock goes by name, not with the descriptor: a process that another thread is starting has a copy of every descriptor
/// until it runs its program, and the lock would last as long as the last copy (flock(2)).
impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// `<run>-<shard>-<number>.jrn`: name order is time order.
pub(crate) fn file_name(run: u128, shard: u16, first: u64) -> String {
    format!("{run:032x}-{shard:05}-{first:08}.{EXTENSION}")
}

pub(super) fn new_segment(
    dir: &Path,
    shard: u16,
    run: u128,
    first: u64,
    options: &JournalOptions,
) -> Result<(Header, Locked), EventsError> {
    let used: u64 = list(dir)?.iter().filter_map(|path| path.metadata().ok()).map(|m| m.len()).sum();
    if used + options.segment_bytes > options.limit_bytes {
        return Err(EventsError::Full);
    }
    let header = Header { kind: SegmentKind::Journal, shard: shard.into(), run, first, created: wall() };
    let path = dir.join(file_name(run, shard, first));
    // It gets its name when it is locked: the pump takes a journal without a lock for a finished one, and deletes it.
    let unnamed = dir.join(format!("{}{UNNAMED}", file_name(run, shard, first)));
    let file = Locked(options.disk.create(&unnamed, &header, options.segment_bytes)?);
    let named = file
        .try_lock()
        .map_err(|error| io::Error::other(error.to_string()))
        .and_then(|()| std::fs::rename(&unnamed, &path));
    if let Err(error) = named {
        let _ = std::fs::remove_file(&unnamed);
        return Err(EventsError::io("lock", &path)(error));
    }
    Ok((header, file))
}

/// Removes what a killed process was about to name. Only while nobody writes journals here.
pub(crate) fn remove_unnamed(dir: &Path) -> Result<(), EventsError> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(()) };
    let whole = format!(".{EXTENSION}{UNNAMED}");
    for path in entries.filter_map(|entry| entry.ok().map(|e| e.path())) {
        if path.to_str().is_some_and(|p| p.ends_with(&whole)) {
            std::fs::remove_file(&path).map_err(EventsError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// All journal segments of a folder, oldest run first.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, EventsError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(EventsError::io("list", dir)(error)),
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == EXTENSION))
        .collect();
    paths.sort();
    Ok(paths)
}

/// The newest run that has files here. A later run comes after it in name order even when the wall clock went back
/// (F-TIME-01): the end of a call is then never read before its beginning.
pub(super) fn newest_run(dir: &Path) -> Result<u128, EventsError> {
    let run = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        u128::from_str_radix(name.get(..32)?, 16).ok().filter(|run| *run < u128::MAX)
    };
    Ok(list(dir)?.iter().filter_map(run).max().unwrap_or(0))
}

pub(super) fn new_run() -> u128 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let wall_us = wall().0.max(0) as u128;
    (wall_us << 64) | (u128::from(std::process::id()) << 32) | u128::from(count & 0xFFFF_FFFF)
}
