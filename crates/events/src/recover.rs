//! Recovery after a crash: from the journals of dead runs to whole call records.
//!
//! Each call with an `Answered` record and no `Ended` one, neither here nor in a segment that the pump copied and deleted, gets
//! exactly one `Ended`, which says `recovered: true` and lasts
//! until the last sign of life of its run (heartbeat or any later record), measured on that run's monotonic clock.
//! It is written to a journal segment of its own before this returns: a crash in the middle repeats to the same result.
//! Damaged places are copied to `torn/` beside the journals and counted (F-DISK-03); whole records after them are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use warp_model::CallId;
use warp_model::cdr::{CallRecord, JournalRecord, Outcome, ReleaseSide};

use crate::error::EventsError;
use crate::journal::{self, Journal, JournalOptions, kind};
use crate::pump::cursor::Cursor;
use crate::segment::{self, Item, Scan};

/// Shard number in the segments that recovery writes.
pub const RECOVERY_SHARD: u16 = u16::MAX;

/// `internal_code` of a recovered call.
pub const INTERNAL_CODE: &str = "process_restart";

/// What recovery found in the journals of dead runs.
#[derive(Debug, Default)]
pub struct Recovery {
    /// The calls that it ended, oldest first.
    pub calls: Vec<CallRecord>,
    /// Number of whole records that were read.
    pub records: u64,
    /// Damaged places put aside.
    pub damaged: u64,
}

/// Reads every journal of `dir` and ends what is open. Call it before any journal is opened and before traffic is taken.
///
/// `finish` may complete each record (rate it for its known duration) before it is written.
/// Errors: the folder cannot be read or written, a file has an unknown version, or another process is using the journals.
pub fn recover(
    dir: &Path,
    options: &JournalOptions,
    finish: &mut dyn FnMut(&mut CallRecord),
) -> Result<Recovery, EventsError> {
    let mut recovery = Recovery::default();
    let mut open: BTreeMap<CallId, (RunShard, u64, Box<CallRecord>)> = BTreeMap::new();
    let mut ended: BTreeSet<CallId> = BTreeSet::new();
    let mut last_stamp: BTreeMap<RunShard, u64> = BTreeMap::new();
    let cursor = Cursor::load(dir);
    for path in journal::list(dir)? {
        refuse_if_live(&path)?;
        let Some((header, bytes)) = segment::read(&path)? else {
            // Killed while the file was being made: it holds nothing.
            put_aside(dir, &path, &std::fs::read(&path).unwrap_or_default(), 0..u64::MAX, options)?;
            std::fs::remove_file(&path).map_err(EventsError::io("remove", &path))?;
            recovery.damaged += 1;
            continue;
        };
        let run = (header.run, header.shard);
        for item in Scan::new(&header, &bytes) {
            let frame = match item {
                Item::Frame(frame) => frame,
                Item::Damaged(range) => {
                    recovery.damaged += 1;
                    put_aside(dir, &path, &bytes, range, options)?;
                    continue;
                }
            };
            recovery.records += 1;
            let last = last_stamp.entry(run).or_default();
            *last = frame.stamp.max(*last);
            if frame.kind != kind::ANSWERED && frame.kind != kind::ENDED {
                continue;
            }
            match serde_json::from_slice::<CallRecord>(frame.payload) {
                Ok(call) if frame.kind == kind::ENDED => {
                    ended.insert(call.cdr_id);
                }
                // Its end was read when the segment that held it was still there: no heartbeat's end beside the real one.
                Ok(call) if cursor.has_ended(&path, frame.position, call.cdr_id) => {
                    ended.insert(call.cdr_id);
                }
                Ok(call) => {
                    // Written again after a failed sync it has a later stamp: the call began with the first one.
                    open.entry(call.cdr_id).or_insert((run, frame.stamp, Box::new(call)));
                }
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), "journal record cannot be read");
                    recovery.damaged += 1;
                    put_aside(dir, &path, &bytes, frame.position..frame.end(), options)?;
                }
            }
        }
    }
    journal::remove_unnamed(dir)?;
    open.retain(|id, _| !ended.contains(id));
    if open.is_empty() {
        return Ok(recovery);
    }
    let options = JournalOptions { segment_bytes: options.segment_bytes.min(16 << 20), ..options.clone() };
    let mut out = Journal::open(dir, RECOVERY_SHARD, options.clone())?;
    for (_, (run, answered, mut call)) in open {
        let last = last_stamp.get(&run).copied().unwrap_or(answered);
        end_at_last_sign(&mut call, Duration::from_nanos(last.saturating_sub(answered)));
        // For whoever ends the call; no part of a finished record.
        let resume = call.resume.take();
        finish(&mut call);
        out.append(&JournalRecord::Ended(call.clone()))?;
        call.resume = resume;
        options.metrics.recovered_calls.inc(());
        recovery.calls.push(*call);
    }
    drop(out);
    Ok(recovery)
}

type RunShard = (u128, u32);

fn end_at_last_sign(call: &mut CallRecord, lived: Duration) {
    let answer_at = *call.answer_at.get_or_insert(call.setup_at);
    call.duration_ms = u64::try_from(lived.as_millis()).unwrap_or(u64::MAX);
    call.end_at = answer_at.plus(lived);
    call.recovered = true;
    call.outcome = Outcome::Answered;
    call.release_side = ReleaseSide::System;
    call.internal_code = INTERNAL_CODE.to_owned();
    if let Some(leg) = call.legs.last_mut() {
        leg.end_at = call.end_at;
    }
}

fn refuse_if_live(path: &Path) -> Result<(), EventsError> {
    let file = File::open(path).map_err(EventsError::io("open", path))?;
    match file.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(EventsError::io("recover", path)(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another process is writing this journal",
        ))),
        Err(TryLockError::Error(error)) => Err(EventsError::io("lock", path)(error)),
    }
}

/// Copies a damaged place to `torn/<file>.<position>`; once per place, however often the file is read.
fn put_aside(
    dir: &Path,
    path: &Path,
    bytes: &[u8],
    range: Range<u64>,
    options: &JournalOptions,
) -> Result<(), EventsError> {
    let torn = dir.join("torn");
    std::fs::create_dir_all(&torn).map_err(EventsError::io("create", &torn))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = torn.join(format!("{name}.{}", range.start));
    let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(bytes.len());
    let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
    let damaged = bytes.get(start..end).unwrap_or_default();
    options.metrics.torn.inc(());
    options.metrics.torn_bytes.add((), damaged.len() as u64);
    tracing::warn!(bytes = damaged.len(), aside = %aside.display(), "damaged journal bytes put aside");
    if aside.exists() {
        return Ok(());
    }
    std::fs::write(&aside, damaged).map_err(EventsError::io("write", &aside))
}
