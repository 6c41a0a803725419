//! The pump: finished call records from the journals to the topic `cdr.voice.v1`, at least once, in the order of each shard.
//!
//! One thread looks into the folder a few times a second. A segment is deleted when it is finished (its file lock is free),
//! all of it is durable in the topic, and no call that was answered in it is still open. The cursor file is a hint that
//! saves work after a restart: without it everything still there is copied again, and consumers drop the doubles by `cdr_id`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Deserialize;
use warp_model::CallId;

use crate::error::EventsError;
use crate::journal::{self, kind};
use crate::log::Topic;
use crate::metrics::{EventsMetrics, Sink, WriteResult};
use crate::segment::{self, FRAME_BYTES, HEADER_BYTES, Header, Item, PAYLOAD_BYTES, Scan};

/// How the pump works.
#[derive(Clone, Debug)]
pub struct PumpOptions {
    /// Pause between two looks.
    pub every: Duration,
}

impl Default for PumpOptions {
    fn default() -> Self {
        Self { every: Duration::from_millis(50) }
    }
}

/// A running pump. Dropping it stops it after one last look.
pub struct Pump {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    /// Starts the thread. Errors: it cannot be started.
    pub fn start(
        dir: &Path,
        topic: Topic,
        options: PumpOptions,
        metrics: EventsMetrics,
    ) -> Result<Pump, EventsError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let mut copier = Copier::new(dir, topic, metrics);
        let thread = std::thread::Builder::new()
            .name("cdr-pump".to_owned())
            .spawn(move || {
                let mut reported = false;
                loop {
                    let last = stopped.load(Ordering::Acquire);
                    match copier.look() {
                        Ok(_) => reported = false,
                        Err(error) => {
                            copier.metrics.count_error(&error);
                            if !std::mem::replace(&mut reported, true) {
                                tracing::error!(%error, "call records wait in the journal");
                            }
                        }
                    }
                    if last {
                        return;
                    }
                    std::thread::park_timeout(options.every);
                }
            })
            .map_err(EventsError::io("start pump of", dir))?;
        Ok(Pump { stop, thread: Some(thread) })
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
    copied_before: BTreeMap<String, u64>,
    saved: Instant,
    unsaved: bool,
}

struct Segment {
    header: Header,
    file: File,
    position: u64,
    finished: bool,
}

const CURSOR_FILE: &str = "pump.cursor";
const SAVE_EVERY: Duration = Duration::from_millis(250);
const CHUNK: usize = 2 * (PAYLOAD_BYTES + FRAME_BYTES);

impl Copier {
    /// Over the journals of `dir`.
    pub fn new(dir: &Path, topic: Topic, metrics: EventsMetrics) -> Self {
        Self {
            dir: dir.to_owned(),
            topic,
            metrics,
            segments: BTreeMap::new(),
            open: BTreeMap::new(),
            copied_before: load_cursor(&dir.join(CURSOR_FILE)),
            saved: Instant::now(),
            unsaved: false,
        }
    }

    /// Copies what is new, deletes what is done with; gives the number of records copied.
    /// Errors: nothing is lost, the next look goes on where this one stopped.
    pub fn look(&mut self) -> Result<usize, EventsError> {
        let paths = journal::list(&self.dir)?;
        self.metrics.journal_segments.set((), i64::try_from(paths.len()).unwrap_or(i64::MAX));
        let mut copied = 0;
        for path in &paths {
            copied += self.copy(path)?;
        }
        let done = self.delete_done()?;
        if self.unsaved && (done || self.saved.elapsed() >= SAVE_EVERY) {
            self.save_cursor()?;
        }
        Ok(copied)
    }

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
            let segment = Segment { header, file, position: HEADER_BYTES as u64, finished: false };
            self.segments.insert(path.to_owned(), segment);
        }
        let copied_before = path
            .file_name()
            .and_then(|name| self.copied_before.get(&*name.to_string_lossy()))
            .copied()
            .unwrap_or(0);
        let mut copied = 0;
        loop {
            let Some(segment) = self.segments.get_mut(path) else {
                return Ok(copied);
            };
            if !segment.finished {
                // Asked before reading: what is read after a lock came free is the whole rest.
                segment.finished = segment.file.try_lock_shared().is_ok();
                if segment.finished {
                    let _ = segment.file.unlock();
                }
            }
            let found = scan(segment, path)?;
            if found.end == segment.position {
                return Ok(copied);
            }
            let fresh: Vec<_> =
                found.ended.iter().filter(|(position, _, _)| *position >= copied_before).collect();
            let keys: Vec<String> = fresh.iter().map(|(_, id, _)| id.to_string()).collect();
            let records =
                keys.iter().zip(&fresh).map(|(key, (_, _, json))| (key.as_bytes(), json.as_slice()));
            let end = self.topic.append(records)?;
            if !fresh.is_empty() {
                self.topic.sync(end)?;
                self.unsaved = true;
            }
            copied += fresh.len();
            self.metrics.cdr_written.add((Sink::EventLog, WriteResult::Ok), fresh.len() as u64);
            segment.position = found.end;
            for id in found.answered {
                self.open.insert(id, path.to_owned());
            }
            for (_, id, _) in &found.ended {
                self.open.remove(id);
            }
        }
    }

    fn delete_done(&mut self) -> Result<bool, EventsError> {
        let in_use: BTreeSet<PathBuf> = self.open.values().cloned().collect();
        let done: Vec<PathBuf> = self
            .segments
            .iter()
            .filter(|(path, s)| s.finished && !in_use.contains(*path))
            .map(|(path, _)| path.clone())
            .collect();
        for path in &done {
            match std::fs::remove_file(path) {
                // A journal that closes takes its unused spare away itself.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                done => done.map_err(EventsError::io("delete", path))?,
            }
            self.segments.remove(path);
            self.unsaved = true;
        }
        Ok(!done.is_empty())
    }

    fn save_cursor(&mut self) -> Result<(), EventsError> {
        let mut text = String::new();
        for (path, segment) in &self.segments {
            if let Some(name) = path.file_name() {
                text.push_str(&format!("{} {}\n", name.to_string_lossy(), segment.position));
            }
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let path = self.dir.join(CURSOR_FILE);
        let new = self.dir.join("pump.cursor.new");
        std::fs::write(&new, format!("v1 {crc:08x}\n{text}")).map_err(EventsError::io("write", &new))?;
        std::fs::rename(&new, &path).map_err(EventsError::io("rename", &path))?;
        self.saved = Instant::now();
        self.unsaved = false;
        Ok(())
    }
}

fn load_cursor(path: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let Some((head, rest)) = text.split_once('\n') else {
        return BTreeMap::new();
    };
    if head != format!("v1 {:08x}", crc32c::crc32c(rest.as_bytes())) {
        return BTreeMap::new();
    }
    rest.lines()
        .filter_map(|line| {
            let (name, position) = line.split_once(' ')?;
            Some((name.to_owned(), position.parse().ok()?))
        })
        .collect()
}

#[derive(Default)]
struct Found {
    ended: Vec<(u64, CallId, Vec<u8>)>,
    answered: Vec<CallId>,
    end: u64,
}

#[derive(Deserialize)]
struct OnlyId {
    cdr_id: CallId,
}

fn scan(segment: &Segment, path: &Path) -> Result<Found, EventsError> {
    let mut found = Found { end: segment.position, ..Found::default() };
    // Mostly there is nothing new: ask for that with few bytes first.
    let mut head = [0u8; FRAME_BYTES];
    let read = segment.file.read_at(&mut head, segment.position).map_err(EventsError::io("read", path))?;
    if !segment.finished && (read < FRAME_BYTES || head[8] == 0) {
        return Ok(found);
    }
    let size = if segment.finished {
        let len = segment.file.metadata().map(|m| m.len());
        let len = len.map_err(EventsError::io("read", path))?;
        usize::try_from(len.saturating_sub(segment.position)).unwrap_or(0)
    } else {
        CHUNK
    };
    let mut bytes = vec![0u8; size];
    let mut filled = 0;
    while filled < size {
        match segment.file.read_at(&mut bytes[filled..], segment.position + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(EventsError::io("read", path)(error)),
        }
    }
    bytes.truncate(filled);
    for item in Scan::from(&segment.header, &bytes, segment.position, 0) {
        let frame = match item {
            Item::Frame(frame) => frame,
            // Being written at this moment, or cut by the chunk: the next look has it whole.
            Item::Damaged(_) if !segment.finished => break,
            // Recovery has put it aside.
            Item::Damaged(range) => {
                found.end = range.end;
                continue;
            }
        };
        found.end = frame.end();
        if frame.kind != kind::ANSWERED && frame.kind != kind::ENDED {
            continue;
        }
        let Ok(OnlyId { cdr_id }) = serde_json::from_slice(frame.payload) else {
            continue;
        };
        if frame.kind == kind::ANSWERED {
            found.answered.push(cdr_id);
        } else {
            found.answered.retain(|id| *id != cdr_id);
            found.ended.push((frame.position, cdr_id, frame.payload.to_vec()));
        }
    }
    Ok(found)
}
