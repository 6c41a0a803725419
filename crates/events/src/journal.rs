//! The call journal of one SIP shard.
//!
//! The shard thread appends: one `pwrite` into a preallocated file, done when [`Journal::append`] returns. Finished records of one turn of
//! the shard go by one `pwrite` together ([`Journal::gather`]). A syncer thread per journal calls `fdatasync` at most 20 ms after a write began to wait for it (so within 50 ms on a healthy disk) and
//! keeps one spare preallocated segment ready.
//!
//! Disk full (F-DISK-01): a journal takes new calls only while a whole spare segment exists ([`Journal::accepting`]).
//! When none can be made, running calls still end with records in the spare that is already there; beyond that, finished
//! records wait in memory (bounded) and are written first when space returns, which is tried each second.
//! I/O error (F-DISK-02): the append fails, nothing is acknowledged, and the next append goes to a fresh segment. After a
//! failed sync the kernel may have thrown away what it could not write, and a second sync of the same file would succeed all
//! the same: so that file is never trusted again, and the records since its last good sync, which are kept in memory until
//! then, are written once more to the fresh segment (readers drop doubles by `cdr_id`). New calls are refused until a write
//! and its sync have worked again; the heartbeat is the probe, so that takes about a second and no restart. A sync that does
//! not come back at all refuses new calls when [`UNSYNCED_RECORDS`] wait for it.
//!
//! Each live segment is held under an exclusive file lock: that is how the pump and recovery tell it from a finished one.

mod files;
mod sync;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use warp_model::cdr::{CallRecord, JournalRecord};
use warp_model::json::ToJson;
use warp_model::sync::lock;
use warp_model::{CallId, Wall};

use crate::disk::Disk;
use crate::error::EventsError;
use crate::metrics::{EventsMetrics, RecordKind, Sink, WriteResult};
use crate::segment::{self, FRAME_BYTES, HEADER_BYTES, Header};
use files::{Locked, new_run, new_segment, newest_run};
pub(crate) use files::{file_name, list, remove_unnamed};

/// Frame kinds of a journal.
pub mod kind {
    /// [`warp_model::cdr::JournalRecord::Answered`]: a call record as JSON.
    pub const ANSWERED: u8 = 1;
    /// [`warp_model::cdr::JournalRecord::Ended`]: a call record as JSON.
    pub const ENDED: u8 = 2;
    /// Sign of life: the wall clock in µs.
    pub const HEARTBEAT: u8 = 3;
    /// The journal was closed in good order.
    pub const CLOSED: u8 = 4;
}

/// Extension of journal segments.
pub const EXTENSION: &str = "jrn";

/// Finished records kept in memory while the disk is full. Beyond it they are lost, counted and logged.
pub const BACKLOG_RECORDS: usize = 10_000;

/// Records that are written while no sync comes back, and kept in memory until one does. From then on no new call is taken;
/// the ends of running calls are kept beyond it, so their number is bounded by the calls that a shard may carry.
pub const UNSYNCED_RECORDS: usize = 10_000;

/// Finished records that wait to be written together.
const GATHERED_RECORDS: usize = 64;

/// Buffers of records that are kept for the next ones: more than a busy shard writes between two syncs.
pub(crate) const SPARE_BUFFERS: usize = 64;
/// A larger one is given back.
const SPARE_BYTES: usize = 64 << 10;

/// From one try to mend what failed to the next.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How a journal is kept.
#[derive(Clone)]
pub struct JournalOptions {
    /// Size of one preallocated segment; two of them per shard exist at any time.
    pub segment_bytes: u64,
    /// Bytes of all segments in the folder, above which the disk counts as full.
    pub limit_bytes: u64,
    /// The counters that the journal adds to.
    pub metrics: EventsMetrics,
    /// The disk that it writes to: the real one, or one that fails in tests.
    pub disk: Disk,
}

impl JournalOptions {
    /// 64 MiB segments, 50 GiB in all.
    pub fn new(metrics: EventsMetrics) -> Self {
        Self { segment_bytes: 64 << 20, limit_bytes: 50 << 30, metrics, disk: Disk::default() }
    }
}

/// The call journal of one SIP shard: records go to preallocated segments of one folder.
pub struct Journal {
    shared: Arc<Shared>,
    file: Arc<Locked>,
    header: Header,
    position: u64,
    frame: Vec<u8>,
    json: Vec<u8>,
    /// Encoded `Ended` records that are to be written together, and the calls that they are of.
    gathered: Vec<(CallId, Vec<u8>)>,
    /// Encoded `Ended` records that could not be written.
    backlog: VecDeque<Vec<u8>>,
    /// Written and not known to be synced: sequence number, kind, record.
    unsynced: VecDeque<(u64, u8, Vec<u8>)>,
    /// Buffers of what is synced, for what comes next.
    spare: Vec<Vec<u8>>,
    /// When a segment was last left because of a failure.
    left_at: Option<Instant>,
    syncer: Option<JoinHandle<()>>,
}

struct Shared {
    dir: PathBuf,
    shard: u16,
    run: u128,
    options: JournalOptions,
    accepting: AtomicBool,
    has_spare: AtomicBool,
    /// Bytes were written since the last sync began.
    dirty: AtomicBool,
    /// The current segment cannot be trusted with more: go to a fresh one.
    failed: AtomicBool,
    /// A write or sync failed, and none has worked since: no new calls.
    ill: AtomicBool,
    /// So much waits for a sync that no new call is taken.
    waits_for_sync: AtomicBool,
    /// A segment was made whose name is not durable yet.
    new_name: AtomicBool,
    /// Records written so far.
    written: AtomicU64,
    /// So many of them are synced.
    synced: AtomicU64,
    /// Goes up with each failed sync: what was not synced by then has to be written again.
    lost: AtomicU64,
    /// The failed syncs up to this one are made good.
    rewritten: AtomicU64,
    stop: AtomicBool,
    files: Mutex<Files>,
}

struct Files {
    current: Arc<Locked>,
    /// A sync of the current segment failed.
    current_lost: bool,
    /// Left behind by rotation, not yet synced.
    to_sync: Vec<Arc<Locked>>,
    spare: Option<(Header, Locked)>,
    next: u64,
}

impl Journal {
    /// Opens a new run of `shard` in `dir`: allocates two segments, starts the syncer. Files of earlier runs stay as they
    /// are ([`crate::recover()`] and the pump read them).
    /// Errors: no space, or the folder cannot be written.
    pub fn open(dir: &Path, shard: u16, options: JournalOptions) -> Result<Journal, EventsError> {
        std::fs::create_dir_all(dir).map_err(EventsError::io("create", dir))?;
        let run = new_run().max(newest_run(dir)? + 1);
        let (header, file) = new_segment(dir, shard, run, 0, &options)?;
        let spare = new_segment(dir, shard, run, 1, &options)?;
        segment::sync_dir(dir)?;
        let file = Arc::new(file);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            shard,
            run,
            options,
            accepting: AtomicBool::new(true),
            has_spare: AtomicBool::new(true),
            dirty: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            ill: AtomicBool::new(false),
            waits_for_sync: AtomicBool::new(false),
            new_name: AtomicBool::new(false),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            rewritten: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            files: Mutex::new(Files {
                current: file.clone(),
                current_lost: false,
                to_sync: Vec::new(),
                spare: Some(spare),
                next: 2,
            }),
        });
        let of_syncer = shared.clone();
        let syncer = std::thread::Builder::new()
            .name(format!("journal-{shard}"))
            .spawn(move || of_syncer.sync_until_stopped())
            .map_err(EventsError::io("start syncer of", dir))?;
        Ok(Journal {
            shared,
            file,
            header,
            position: HEADER_BYTES as u64,
            frame: Vec::new(),
            json: Vec::new(),
            gathered: Vec::new(),
            backlog: VecDeque::new(),
            unsynced: VecDeque::new(),
            spare: Vec::new(),
            left_at: None,
            syncer: Some(syncer),
        })
    }

    /// False while the disk is full or failing: new calls must be refused, running calls end as usual.
    pub fn accepting(&self) -> bool {
        self.shared.accepting.load(Ordering::Relaxed)
    }

    /// A handle that tells [`Journal::accepting`] from other threads.
    pub fn watch(&self) -> JournalWatch {
        JournalWatch(self.shared.clone())
    }

    /// Appends; the bytes are in the kernel when this returns `Ok`.
    ///
    /// Errors: nothing was written. An `Ended` record is then kept in memory and written first when the disk works again;
    /// an `Answered` one is not: the call must not be connected.
    pub fn append(&mut self, record: &JournalRecord) -> Result<(), EventsError> {
        self.catch_up();
        let (kind, label, call) = match record {
            JournalRecord::Answered(call) => (kind::ANSWERED, RecordKind::Answered, call),
            JournalRecord::Ended(call) => (kind::ENDED, RecordKind::Ended, call),
        };
        let mut json = std::mem::take(&mut self.json);
        encode(call, &mut json);
        let mut done = if kind == kind::ANSWERED && (self.only_reserve_left() || self.waits_for_sync()) {
            self.shared.set_accepting(false);
            Err(EventsError::Full)
        } else {
            self.write(kind, &json)
        };
        if let Err(EventsError::TooLarge { .. }) = done {
            // The record without its explanation is worth more than none.
            let mut bare = call.clone();
            bare.decision = None;
            encode(&bare, &mut json);
            done = self.write(kind, &json);
        }
        match &done {
            Ok(()) if kind == kind::ENDED => self.count_ended(),
            Ok(()) => self.shared.options.metrics.journal_records.inc(label),
            Err(_) if kind == kind::ENDED => self.keep(call.cdr_id, json.clone()),
            Err(_) => {}
        }
        self.json = json;
        done
    }

    /// Takes the record of a call that is over, to be written with those that come after it: by [`Journal::write_gathered`], or before
    /// whatever is appended next.
    pub fn gather(&mut self, ended: &CallRecord) {
        let mut json = self.spare.pop().unwrap_or_default();
        encode(ended, &mut json);
        if json.len() > segment::PAYLOAD_BYTES {
            // By itself: it may lose its explanation. What cannot be written is kept.
            let _ = self.append(&JournalRecord::Ended(Box::new(ended.clone())));
            return;
        }
        self.gathered.push((ended.cdr_id, json));
        if self.gathered.len() >= GATHERED_RECORDS {
            let _ = self.write_gathered();
        }
    }

    /// Writes what was gathered, by one system call where the segment has room for all of it. Its bytes are in the kernel when this returns
    /// `Ok`.
    ///
    /// Errors: what was not written is kept in memory, and written first when the disk works again.
    pub fn write_gathered(&mut self) -> Result<(), EventsError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.flush_backlog();
        let mut left = std::mem::take(&mut self.gathered).into_iter();
        let mut done = Ok(());
        while done.is_ok() && !left.as_slice().is_empty() {
            let payloads = left.as_slice().iter().map(|(_, json)| json.as_slice());
            let written = self.write_lost_again().and_then(|()| self.write_frames(kind::ENDED, payloads));
            match written {
                Ok(count) => left.by_ref().take(count).for_each(|(_, json)| {
                    self.written(kind::ENDED, Some(json));
                    self.count_ended();
                }),
                Err(error) => done = Err(error),
            }
        }
        left.for_each(|(cdr_id, json)| self.keep(cdr_id, json));
        done
    }

    /// Everything that waits goes before what is written next.
    fn catch_up(&mut self) {
        // What cannot be written is kept.
        let _ = self.write_gathered();
        self.flush_backlog();
    }

    fn count_ended(&self) {
        let metrics = &self.shared.options.metrics;
        metrics.journal_records.inc(RecordKind::Ended);
        metrics.cdr_written.inc((Sink::Journal, WriteResult::Ok));
    }

    /// Keeps a finished record that could not be written.
    fn keep(&mut self, cdr_id: CallId, json: Vec<u8>) {
        let metrics = &self.shared.options.metrics;
        if self.backlog.len() < BACKLOG_RECORDS {
            self.backlog.push_back(json);
            metrics.backlog.inc(());
        } else {
            metrics.cdr_written.inc((Sink::Journal, WriteResult::Error));
            tracing::error!(%cdr_id, "call record lost: disk and memory are full");
        }
    }

    /// Appends a sign of life: a call without an end is taken to have lived until the last one. Call it each second.
    pub fn heartbeat(&mut self, now: Wall) -> Result<(), EventsError> {
        self.catch_up();
        self.write(kind::HEARTBEAT, &now.0.to_le_bytes())?;
        self.shared.options.metrics.journal_records.inc(RecordKind::Heartbeat);
        Ok(())
    }

    /// The last segment is in use, a quarter of it is full, and no further one can be made: the rest is for the ends of
    /// running calls.
    fn only_reserve_left(&self) -> bool {
        if self.position <= self.shared.options.segment_bytes / 4
            || self.shared.has_spare.load(Ordering::Acquire)
        {
            return false;
        }
        let mut files = self.shared.files();
        files.spare.is_none() && self.shared.prepare(&mut files).is_err()
    }

    fn flush_backlog(&mut self) {
        while let Some(json) = self.backlog.pop_front() {
            if self.write(kind::ENDED, &json).is_err() {
                self.backlog.push_front(json);
                return;
            }
            self.shared.options.metrics.backlog.dec(());
            self.count_ended();
        }
    }

    fn write(&mut self, kind: u8, payload: &[u8]) -> Result<(), EventsError> {
        self.write_lost_again()?;
        self.write_frame(kind, payload)?;
        let is_record = kind == kind::ANSWERED || kind == kind::ENDED;
        let kept = is_record.then(|| {
            let mut kept = self.spare.pop().unwrap_or_default();
            kept.clear();
            kept.extend_from_slice(payload);
            kept
        });
        self.written(kind, kept);
        Ok(())
    }

    /// A frame is in the kernel: it is to be synced, and a record is kept until it is.
    fn written(&mut self, kind: u8, kept: Option<Vec<u8>>) {
        let number = self.shared.written.fetch_add(1, Ordering::AcqRel) + 1;
        self.waits_for_sync();
        if let Some(kept) = kept {
            self.unsynced.push_back((number, kind, kept));
        }
        if !self.shared.dirty.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// How many buffers are kept for further records.
    #[cfg(test)]
    pub(crate) fn spare_buffers(&self) -> usize {
        self.spare.len()
    }

    /// Forgets what is durable; tells whether so much is left that no new call may be taken.
    fn waits_for_sync(&mut self) -> bool {
        let synced = self.shared.synced.load(Ordering::Acquire);
        while let Some((_, _, kept)) = self.unsynced.pop_front_if(|(n, ..)| *n <= synced) {
            if self.spare.len() < SPARE_BUFFERS && kept.capacity() <= SPARE_BYTES {
                self.spare.push(kept);
            }
        }
        let waits = self.unsynced.len() >= UNSYNCED_RECORDS;
        self.shared.waits_for_sync.store(waits, Ordering::Release);
        waits
    }

    /// After a failed sync: the records since the last good one go to the fresh segment.
    fn write_lost_again(&mut self) -> Result<(), EventsError> {
        let lost = self.shared.lost.load(Ordering::Acquire);
        if lost == self.shared.rewritten.load(Ordering::Acquire) {
            return Ok(());
        }
        let soon = self.left_at.is_some_and(|at| at.elapsed() < RETRY_EVERY);
        if soon && self.shared.files().current_lost {
            return Ok(());
        }
        let synced = self.shared.synced.load(Ordering::Acquire);
        let records = std::mem::take(&mut self.unsynced);
        let done = records
            .iter()
            .filter(|(number, ..)| *number > synced)
            .try_for_each(|(_, kind, payload)| self.write_frame(*kind, payload));
        self.unsynced = records;
        done?;
        self.shared.rewritten.store(lost, Ordering::Release);
        Ok(())
    }

    fn write_frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), EventsError> {
        self.write_frames(kind, std::iter::once(payload)).map(|_| ())
    }

    /// Writes as many frames as the segment has room for, at least the first, by one system call. Gives how many.
    fn write_frames<'p>(
        &mut self,
        kind: u8,
        payloads: impl Iterator<Item = &'p [u8]>,
    ) -> Result<usize, EventsError> {
        let mut payloads = payloads.peekable();
        self.find_place(payloads.peek().map_or(0, |first| size_of(first)))?;
        self.frame.clear();
        let (stamp, limit) = (mono_ns(), self.shared.options.segment_bytes);
        let (mut end, mut count, mut encoded) = (self.position, 0_usize, Ok(()));
        while let Some(payload) = payloads.next_if(|next| count == 0 || end + size_of(next) <= limit) {
            encoded = segment::encode_frame(&self.header, end, kind, stamp, payload, &mut self.frame);
            if encoded.is_err() {
                break;
            }
            end += size_of(payload);
            count += 1;
        }
        let disk = &self.shared.options.disk;
        let written = encoded.and_then(|()| {
            disk.write_all_at(&self.file, &self.frame, self.position)
                .map_err(EventsError::io("write journal in", &self.shared.dir))
        });
        if let Err(error) = written {
            self.shared.count(&error);
            if !matches!(error, EventsError::TooLarge { .. }) {
                self.shared.failed.store(true, Ordering::Relaxed);
                self.shared.fall_ill();
                self.wake();
            }
            return Err(error);
        }
        self.position = end;
        Ok(count)
    }

    /// Goes to another segment when this one is to be left, or has no room for so many bytes.
    fn find_place(&mut self, size: u64) -> Result<(), EventsError> {
        let failed = self.shared.failed.swap(false, Ordering::Relaxed);
        // A failing disk shall not eat a segment per try: it is left once a second at most, and never when it is empty. Until
        // then writing goes on in the old one, over what a failed write left behind; what is lost there is still in memory.
        let soon = self.left_at.is_some_and(|at| at.elapsed() < RETRY_EVERY);
        let leave = failed && self.position > HEADER_BYTES as u64 && !soon;
        let no_room = self.position + size > self.shared.options.segment_bytes;
        if leave || no_room {
            self.rotate().inspect_err(|_| self.shared.failed.store(failed, Ordering::Relaxed))?;
            if failed {
                self.left_at = Some(Instant::now());
            }
        } else if failed && self.shared.files().current_lost {
            self.shared.failed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), EventsError> {
        let (header, file) = {
            let mut files = self.shared.files();
            if files.spare.is_none() {
                // The syncer was not fast enough, or the disk is full.
                self.shared.prepare(&mut files)?;
            }
            let (header, file) = files.spare.take().ok_or(EventsError::Full)?;
            self.shared.has_spare.store(false, Ordering::Release);
            let file = Arc::new(file);
            let old = std::mem::replace(&mut files.current, file.clone());
            // A second sync of a file whose sync failed says nothing.
            if !std::mem::take(&mut files.current_lost) {
                files.to_sync.push(old);
            }
            (header, file)
        };
        self.header = header;
        self.file = file;
        self.position = HEADER_BYTES as u64;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        if let Some(syncer) = &self.syncer {
            syncer.thread().unpark();
        }
    }
}

/// Closes in good order: a last frame, a last sync.
impl Drop for Journal {
    fn drop(&mut self) {
        self.catch_up();
        if self.write(kind::CLOSED, &[]).is_ok() {
            let metrics = &self.shared.options.metrics;
            metrics.journal_records.inc(RecordKind::Closed);
        }
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(syncer) = self.syncer.take() {
            let _ = syncer.join();
        }
        self.shared.set_accepting(true);
        if let Some((header, _file)) = self.shared.files().spare.take() {
            let _ = std::fs::remove_file(self.shared.path(header.first));
        }
    }
}

/// Tells from any thread whether a journal takes new calls.
#[derive(Clone)]
pub struct JournalWatch(Arc<Shared>);

impl JournalWatch {
    /// False while the disk is full or failing, as [`Journal::accepting`] says it to its own thread.
    pub fn accepting(&self) -> bool {
        self.0.accepting.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn files(&self) -> MutexGuard<'_, Files> {
        lock(&self.files)
    }

    fn path(&self, first: u64) -> PathBuf {
        self.dir.join(file_name(self.run, self.shard, first))
    }

    fn count(&self, error: &EventsError) {
        self.options.metrics.count_error(error);
        tracing::warn!(%error, shard = self.shard, "call journal");
    }

    fn fall_ill(&self) {
        self.ill.store(true, Ordering::Release);
        self.set_accepting(false);
    }

    fn set_accepting(&self, accepting: bool) {
        if self.accepting.swap(accepting, Ordering::Relaxed) != accepting {
            let step = if accepting { -1 } else { 1 };
            self.options.metrics.refusing.add((), step);
            if accepting {
                tracing::info!(shard = self.shard, "call journal takes new calls again");
            } else {
                tracing::error!(shard = self.shard, "call journal refuses new calls");
            }
        }
    }

    fn prepare(&self, files: &mut Files) -> Result<(), EventsError> {
        let spare = new_segment(&self.dir, self.shard, self.run, files.next, &self.options)?;
        files.next += 1;
        self.new_name.store(true, Ordering::Release);
        files.spare = Some(spare);
        self.has_spare.store(true, Ordering::Release);
        Ok(())
    }
}

/// Bytes of a frame with this payload.
fn size_of(payload: &[u8]) -> u64 {
    (FRAME_BYTES + payload.len()) as u64
}

fn encode(call: &CallRecord, json: &mut Vec<u8>) {
    json.clear();
    call.to_json(json);
}

/// Nanoseconds since the first use in this process.
pub(crate) fn mono_ns() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(Instant::now);
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn wall() -> Wall {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(Wall(0), |d| Wall(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
}
