//! The pump: finished call records from the journals to the topic `cdr.voice.v1`, at least once, in the order of each shard.
//!
//! One thread looks into the folder twice a second, and reads of each segment only what is new. What it found is synced in
//! the topic once, then it counts as copied: after an error the next look reads it again. A segment is deleted when it is finished (its file lock is free), all of it is durable in the topic, and no call that was answered in it is
//! still open. The cursor file ([`cursor`]) is a hint that saves work after a restart: without it everything still
//! there is copied again, and consumers drop the doubles by `cdr_id`. It also tells recovery which answered calls have ended
//! in segments that are gone; so it is written before a segment is deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warp_model::CallId;

use crate::error::EventsError;
use crate::journal::{self, kind, wall};
use crate::log::Topic;
use crate::metrics::{EventsMetrics, Sink, WriteResult};
use crate::record::Packer;
use crate::segment::{self, FRAME_BYTES, HEADER_BYTES, Header, Item, PAYLOAD_BYTES, Scan, read_at_most};
use crate::spend::{Facts, Spend, Spent};
use cursor::Cursor;

pub(crate) mod cursor;

/// How the pump works.
#[derive(Clone, Debug)]
pub struct PumpOptions {
    /// Pause between two looks.
    pub every: Duration,
}

impl Default for PumpOptions {
    fn default() -> Self {
        // Each look costs a listing, a read and, with records, a sync, however many calls there are: most of what the pump
        // takes for a call at 50 calls/s. The consumer waits a quarter of a second for more: a record is posted within one.
        Self { every: Duration::from_millis(500) }
    }
}

/// A running pump. Dropping it stops it after one last look.
pub struct Pump {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    spent: Vec<Spent>,
}

impl Pump {
    /// Copies what earlier runs left behind, then starts the thread. Errors: it cannot be started.
    pub fn start(
        dir: &Path,
        topic: Topic,
        options: PumpOptions,
        metrics: EventsMetrics,
    ) -> Result<Pump, EventsError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let log = topic.clone();
        let mut copier = Copier::new(dir, topic, metrics);
        log.set_behind(true);
        if let Err(error) = copier.look() {
            // The thread goes on trying; what these records cost is counted then.
            copier.metrics.count_error(&error);
            tracing::error!(%error, "call records of an earlier run wait in the journal");
        } else {
            log.set_behind(false);
        }
        let spent = copier.spend.entries();
        let thread = std::thread::Builder::new()
            .name("cdr-pump".to_owned())
            .spawn(move || {
                let mut reported = false;
                loop {
                    let last = stopped.load(Ordering::Acquire);
                    match copier.look() {
                        Ok(_) => {
                            reported = false;
                            log.set_behind(false);
                        }
                        Err(error) => {
                            copier.metrics.count_error(&error);
                            if !std::mem::replace(&mut reported, true) {
                                tracing::error!(%error, "call records wait in the journal");
                            }
                        }
                    }
                    if last {
                        if let Err(error) = copier.save(true) {
                            tracing::warn!(%error, "the pump's cursor is not saved; the next start copies more than it must");
                        }
                        return;
                    }
                    std::thread::park_timeout(options.every);
                }
            })
            .map_err(EventsError::io("start pump of", dir))?;
        Ok(Pump { stop, thread: Some(thread), spent })
    }
}

impl Pump {
    /// What was spent in the day before the start, the calls of a crashed run included.
    pub fn spent(&self) -> &[Spent] {
        &self.spent
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// The pump without its thread.
pub struct Copier {
    dir: PathBuf,
    topic: Topic,
    metrics: EventsMetrics,
    segments: BTreeMap<PathBuf, Segment>,
    /// Answered calls without an end, and where they were answered.
    open: BTreeMap<CallId, PathBuf>,
    /// What the cursor file of an earlier run says: copied up to here.
    before: Cursor,
    /// In the topic, and not known to be durable there.
    copied: Vec<Copied>,
    spend: Spend,
    packer: Packer,
    buffer: Vec<u8>,
    saved: Instant,
    spend_saved: Instant,
    unsaved: bool,
}

struct Segment {
    header: Header,
    file: File,
    /// Durable in the topic up to here.
    position: u64,
    /// Read up to here.
    read: u64,
    finished: bool,
    /// Finished, and read to its end.
    drained: bool,
}

/// What one read of a segment brought into the topic.
struct Copied {
    path: PathBuf,
    found: Found,
    /// It is durable when the topic has synced this.
    handed: u64,
}

const SAVE_EVERY: Duration = Duration::from_secs(1);
const SAVE_SPEND_EVERY: Duration = Duration::from_secs(10);
/// Read at once; a larger record makes it grow for that record.
const CHUNK: usize = 64 << 10;
/// Where the first record of a segment stands.
const BEGIN: u64 = HEADER_BYTES as u64;
/// Records in the topic that are synced at the latest, so that what is remembered of them is bounded.
const SYNC_RECORDS: usize = 10_000;

impl Copier {
    /// Over the journals of `dir`. Reads from the topic what was spent today.
    pub fn new(dir: &Path, topic: Topic, metrics: EventsMetrics) -> Self {
        let before = Cursor::load(dir);
        let left_behind = journal::list(dir).is_ok_and(|paths| !paths.is_empty());
        // Without the cursor old records are copied again: then it must be known which ones were counted.
        let spend = Spend::open(dir, &topic, wall(), left_behind && !before.known());
        Self {
            dir: dir.to_owned(),
            topic,
            metrics,
            segments: BTreeMap::new(),
            open: BTreeMap::new(),
            before,
            copied: Vec::new(),
            spend,
            packer: Packer::default(),
            buffer: Vec::new(),
            saved: Instant::now(),
            spend_saved: Instant::now(),
            unsaved: false,
        }
    }

    /// What was spent in the last day, as far as records were copied.
    pub fn spent(&self) -> Vec<Spent> {
        self.spend.entries()
    }

    /// Copies what is new, deletes what is done with; gives the number of records copied.
    /// Errors: nothing is lost, the next look goes on where this one stopped.
    pub fn look(&mut self) -> Result<usize, EventsError> {
        let done = self.look_through();
        if done.is_err() {
            self.copied.clear();
            for segment in self.segments.values_mut().filter(|s| s.read != s.position) {
                segment.read = segment.position;
                segment.drained = false;
            }
        }
        done
    }

    fn look_through(&mut self) -> Result<usize, EventsError> {
        let paths = journal::list(&self.dir)?;
        self.metrics.journal_segments.set((), i64::try_from(paths.len()).unwrap_or(i64::MAX));
        let mut copied = 0;
        for path in &paths {
            copied += self.copy(path)?;
        }
        copied += self.keep()?;
        self.delete_done()?;
        if self.unsaved && self.saved.elapsed() >= SAVE_EVERY {
            self.save(false)?;
        }
        Ok(copied)
    }

    /// Brings what is new into the topic; gives the number of records that are durable there.
    fn copy(&mut self, path: &Path) -> Result<usize, EventsError> {
        if !self.segments.contains_key(path) {
            let file = match File::open(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
                opened => opened.map_err(EventsError::io("open", path))?,
            };
            let Some(header) = segment::read_header(path, &file)? else {
                // Being made at this moment, or torn: then recovery puts it aside at the next start.
                return Ok(0);
            };
            let segment =
                Segment { header, file, position: BEGIN, read: BEGIN, finished: false, drained: false };
            self.segments.insert(path.to_owned(), segment);
        }
        let copied_before = self.before.position_of(path);
        let mut durable = 0;
        loop {
            let Some(segment) = self.segments.get_mut(path) else {
                return Ok(durable);
            };
            if segment.drained {
                return Ok(durable);
            }
            if !segment.finished {
                // Asked before reading: what is read after a lock came free is the whole rest.
                segment.finished = segment.file.try_lock_shared().is_ok();
                if segment.finished {
                    let _ = segment.file.unlock();
                }
            }
            let found = scan(segment, path, &mut self.buffer, copied_before, &mut self.packer)?;
            if found.end == segment.read {
                segment.drained = segment.finished;
                return Ok(durable);
            }
            let last = found.last && !segment.finished;
            let keys: Vec<String> = found.fresh().map(|(facts, _)| facts.cdr_id.to_string()).collect();
            let values = found.fresh().map(|(_, packed)| packed);
            let handed = self.topic.append(keys.iter().map(String::as_bytes).zip(values))?;
            segment.read = found.end;
            self.copied.push(Copied { path: path.to_owned(), found, handed });
            if self.copied.iter().map(|c| c.found.ended.len()).sum::<usize>() >= SYNC_RECORDS {
                durable += self.keep()?;
            }
            if last {
                return Ok(durable);
            }
        }
    }

    /// What was copied is durable from now on; gives the number of records.
    fn keep(&mut self) -> Result<usize, EventsError> {
        let fresh = self.copied.iter().map(|c| c.found.fresh().count()).sum::<usize>();
        let mut counted = None;
        if let Some(handed) = self.copied.last().map(|c| c.handed).filter(|_| fresh > 0) {
            counted = Some(self.topic.sync(handed)?);
            self.unsaved = true;
        }
        self.metrics.cdr_written.add((Sink::EventLog, WriteResult::Ok), fresh as u64);
        let now = wall();
        for Copied { path, found, .. } in self.copied.drain(..) {
            if let Some(segment) = self.segments.get_mut(&path) {
                segment.position = found.end;
            }
            for (facts, _) in found.fresh() {
                self.spend.count(facts, now);
            }
            for id in found.answered {
                self.open.insert(id, path.clone());
            }
            for (facts, _) in &found.ended {
                self.open.remove(&facts.cdr_id);
            }
        }
        if let Some(end) = counted {
            self.spend.counted_to(end);
        }
        Ok(fresh)
    }

    fn delete_done(&mut self) -> Result<(), EventsError> {
        let in_use: BTreeSet<&PathBuf> = self.open.values().collect();
        let done: Vec<PathBuf> = self
            .segments
            .iter()
            .filter(|(path, s)| s.finished && !in_use.contains(path))
            .map(|(path, _)| path.clone())
            .collect();
        if done.is_empty() {
            return Ok(());
        }
        // First: what ended in a segment that goes, while it was answered in one that stays, is told by the cursor alone.
        self.save(false)?;
        for path in &done {
            match std::fs::remove_file(path) {
                // A journal that closes takes its unused spare away itself.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                done => done.map_err(EventsError::io("delete", path))?,
            }
            self.segments.remove(path);
            self.unsaved = true;
        }
        Ok(())
    }

    /// The cursor first, then what was spent: a record that is copied again after a crash is then one that the topic tells.
    fn save(&mut self, last: bool) -> Result<(), EventsError> {
        // A node that never carried a call has no journals: there is no place for a cursor, and nothing for it to say.
        if self.segments.is_empty() && !self.dir.exists() {
            return Ok(());
        }
        let positions = self.segments.iter().map(|(path, s)| (path.as_path(), s.position));
        let open = self.open.iter().map(|(id, path)| (path.as_path(), *id));
        Cursor::save(&self.dir, positions, open)?;
        self.saved = Instant::now();
        self.unsaved = false;
        if last || self.spend_saved.elapsed() >= SAVE_SPEND_EVERY {
            self.spend.save(wall())?;
            self.spend_saved = Instant::now();
        }
        Ok(())
    }
}

/// What one read of a segment found.
#[derive(Default)]
struct Found {
    /// What it says, and the record for the topic; `None`: an earlier run has copied it.
    ended: Vec<(Facts, Option<Vec<u8>>)>,
    answered: BTreeSet<CallId>,
    end: u64,
    /// Nothing stood behind it.
    last: bool,
}

impl Found {
    fn take(&mut self, frame: &segment::Frame<'_>, copied_before: u64, packer: &mut Packer) {
        self.end = frame.end();
        match frame.kind {
            kind::ANSWERED => self.answered.extend(Facts::id_of(frame.payload)),
            kind::ENDED => {
                let Some(facts) = Facts::read(frame.payload) else { return };
                self.answered.remove(&facts.cdr_id);
                let fresh = frame.position >= copied_before;
                self.ended.push((facts, fresh.then(|| packer.pack(frame.payload))));
            }
            _ => {}
        }
    }

    /// Records that the topic does not have yet.
    fn fresh(&self) -> impl Iterator<Item = (&Facts, &[u8])> {
        self.ended.iter().filter_map(|(facts, packed)| Some((facts, packed.as_deref()?)))
    }
}

/// The whole frames from where the segment was read to, as many as one chunk holds.
fn scan(
    segment: &Segment,
    path: &Path,
    buffer: &mut Vec<u8>,
    copied_before: u64,
    packer: &mut Packer,
) -> Result<Found, EventsError> {
    let mut found = Found { end: segment.read, ..Found::default() };
    let failed = || EventsError::io("read", path);
    // Most looks find nothing: then a frame's head is all that is read.
    let mut head = [0; FRAME_BYTES];
    if !segment.finished {
        let read = read_at_most(&segment.file, &mut head, segment.read).map_err(failed())?;
        if read < FRAME_BYTES || head == [0; FRAME_BYTES] {
            return Ok(found);
        }
    }
    let mut size = CHUNK;
    loop {
        // Kept from look to look: nothing is cleared, what is read lies at its beginning.
        if buffer.len() < size {
            buffer.resize(size, 0);
        }
        let read = read_at_most(&segment.file, &mut buffer[..size], segment.read).map_err(failed())?;
        let bytes = &buffer[..read];
        let mut scan = Scan::from(&segment.header, bytes, segment.read, 0);
        while let Some(frame) = scan.next_frame() {
            found.take(&frame, copied_before, packer);
        }
        if found.end > segment.read {
            let rest = usize::try_from(found.end - segment.read).ok().and_then(|at| bytes.get(at..));
            found.last = rest.is_some_and(|rest| rest.starts_with(&[0; FRAME_BYTES]));
            buffer.truncate(CHUNK);
            return Ok(found);
        }
        if segment::is_cut(bytes) && size < CHUNK_MAX && read == size {
            // A record that is larger than the chunk.
            size = CHUNK_MAX;
            continue;
        }
        if !segment.finished {
            // Nothing new, or being written at this moment: the next look has it whole.
            return Ok(found);
        }
        return scan_rest(segment, path, copied_before, packer);
    }
}

/// The rest of a finished segment in which something else than a record comes next: its clean end, or a damaged place.
fn scan_rest(
    segment: &Segment,
    path: &Path,
    copied_before: u64,
    packer: &mut Packer,
) -> Result<Found, EventsError> {
    let mut found = Found { end: segment.read, ..Found::default() };
    let len = segment.file.metadata().map_err(EventsError::io("read", path))?.len();
    let size = usize::try_from(len.saturating_sub(segment.read)).unwrap_or(0);
    let mut bytes = vec![0u8; size];
    let read =
        read_at_most(&segment.file, &mut bytes, segment.read).map_err(EventsError::io("read", path))?;
    bytes.truncate(read);
    for item in Scan::from(&segment.header, &bytes, segment.read, 0) {
        match item {
            Item::Frame(frame) => found.take(&frame, copied_before, packer),
            // Recovery has put it aside.
            Item::Damaged(range) => found.end = range.end,
        }
    }
    Ok(found)
}

const CHUNK_MAX: usize = PAYLOAD_BYTES + FRAME_BYTES;
