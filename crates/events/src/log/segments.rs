//! The local variant of a topic: a folder of [`segment`] files named by their first record's number.
//!
//! Appending writes; a sync makes durable, and concurrent callers share one `fdatasync` (group commit). When a sync fails,
//! the records that it was to cover are withdrawn: a second sync of the same file would succeed without them (F-DISK-02).
//! Their numbers are not used again, their callers are told, and a fresh segment goes on. Segments go when they are older
//! than the retention *and* every registered consumer has acknowledged them. The floor, the number of the oldest record
//! that is kept, is durable before they go ([`head`]): it never goes back. No number is given twice, whatever retention, a
//! kill or a damaged disk left of the segments.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use warp_model::Wall;
use warp_model::sync::lock;

use super::LogOptions;
use super::head::{self, Head};
use super::segment_reader::Place;
use crate::error::EventsError;
use crate::journal::wall;
use crate::metrics::EventsMetrics;
use crate::segment::{self, FRAME_BYTES, HEADER_BYTES, Header, Item, Scan, SegmentKind};

/// Extension of topic segments.
const EXTENSION: &str = "log";
/// The only frame kind of a topic.
const RECORD: u8 = 1;

/// One topic's segments.
pub(super) struct Segments {
    dir: PathBuf,
    options: LogOptions,
    writer: Mutex<Writer>,
    /// Held during a sync: who waits for it shares the next one.
    syncing: Mutex<()>,
    /// Number of the first record that is not durable yet.
    durable: AtomicU64,
    durable_changed: (Mutex<()>, Condvar),
}

struct Writer {
    header: Header,
    file: Arc<File>,
    position: u64,
    next: u64,
    /// By first record's number; the last one is written to.
    segments: BTreeMap<u64, SegmentInfo>,
    to_sync: Vec<Arc<File>>,
    consumers: BTreeMap<String, u64>,
    /// A write or sync failed: the next append begins a fresh segment.
    failed: bool,
    /// Numbers whose records were never made durable, oldest first.
    withdrawn: Vec<Range<u64>>,
    /// As it stands on disk.
    head: Head,
}

impl Writer {
    /// Number of the oldest record that is kept, or of the next one. A segment that could not be deleted may lie below it.
    fn floor(&self) -> u64 {
        self.segments.keys().next().copied().unwrap_or(0).max(self.head.floor)
    }
}

impl Drop for Segments {
    /// An orderly end: the numbers go on right behind the last one.
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if writer.head.given == writer.next {
            return;
        }
        let head = Head { given: writer.next, ..writer.head };
        if let Err(error) = head.save(&self.dir, &self.options.disk) {
            tracing::warn!(%error, "numbers of the event log are left out at the next start: its head cannot be written");
        }
    }
}

#[derive(Clone)]
struct SegmentInfo {
    path: PathBuf,
    bytes: u64,
    created: Wall,
}

impl Segments {
    /// Opens the topic in its folder below `log`. Gives it with the id of its log.
    pub(super) fn open(log: &Path, name: &str, options: LogOptions) -> Result<(Self, u128), EventsError> {
        let dir = &log.join(name);
        std::fs::create_dir_all(dir).map_err(EventsError::io("create", dir))?;
        let head = Head::open(dir, &options)?;
        let mut segments = BTreeMap::new();
        // Number after the newest record.
        let mut next = None;
        // First number of the segment that was looked at before.
        let mut after = 0;
        // Newest first: only the newest one that holds records is read through, the others are finished and known by name.
        for path in list(dir)?.into_iter().rev() {
            let (info, first, end) = if next.is_none() {
                let Some(newest) = newest(dir, path, &options)? else { continue };
                newest
            } else {
                let file = File::open(&path).map_err(EventsError::io("open", &path))?;
                let Some(header) = segment::read_header(&path, &file)? else {
                    put_aside(dir, &path, &options.metrics, 0)?;
                    continue;
                };
                let bytes = file.metadata().map_err(EventsError::io("read", &path))?.len();
                (SegmentInfo { path, bytes, created: header.created }, header.first, after)
            };
            next.get_or_insert(end);
            after = first;
            if end <= head.floor {
                // A retention that a crash cut short: what it had begun to delete may be there in part only.
                match options.disk.remove(&info.path) {
                    Ok(()) => continue,
                    Err(error) => {
                        tracing::warn!(%error, path = %info.path.display(), "segment cannot be deleted");
                    }
                }
            }
            segments.insert(first, info);
        }
        // All that had numbers may be gone, or damaged so that nobody sees that it was there: none is given twice.
        let next = next.unwrap_or(0).max(head.floor).max(head.given);
        let head = Head { given: next + head::BLOCK, ..head };
        head.save(dir, &options.disk)?;
        let (header, file, info) = new_segment(dir, next, &options)?;
        segments.insert(next, info);
        let id = head.id;
        let segments = Segments {
            dir: dir.to_owned(),
            writer: Mutex::new(Writer {
                header,
                file: Arc::new(file),
                position: HEADER_BYTES as u64,
                next,
                segments,
                to_sync: Vec::new(),
                consumers: BTreeMap::new(),
                failed: false,
                withdrawn: Vec::new(),
                head,
            }),
            syncing: Mutex::new(()),
            durable: AtomicU64::new(next),
            durable_changed: (Mutex::new(()), Condvar::new()),
            options,
        };
        Ok((segments, id))
    }

    /// Writes records in order and gives the number after the last one. They are durable, and readable, after
    /// [`Segments::sync`] to that number.
    pub(super) fn append<'a>(
        &self,
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<u64, EventsError> {
        self.append_locked(&mut lock(&self.writer), records)
    }

    fn append_locked<'a>(
        &self,
        writer: &mut Writer,
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<u64, EventsError> {
        let at = wall();
        let mut frames = Vec::new();
        let mut payload = Vec::new();
        let mut pending = 0u64;
        if writer.failed {
            self.leave_failed(writer)?;
        }
        for (key, value) in records {
            payload.clear();
            payload.extend_from_slice(&at.0.to_le_bytes());
            let key_len = u16::try_from(key.len()).map_err(|_| EventsError::TooLarge { bytes: key.len() })?;
            payload.extend_from_slice(&key_len.to_le_bytes());
            payload.extend_from_slice(key);
            payload.extend_from_slice(value);
            let size = (FRAME_BYTES + payload.len()) as u64;
            if writer.position + frames.len() as u64 + size > self.options.segment_bytes
                && writer.position + frames.len() as u64 > HEADER_BYTES as u64
            {
                self.flush(writer, &mut frames, &mut pending)?;
                self.rotate(writer)?;
            }
            let position = writer.position + frames.len() as u64;
            let number = writer.next + pending;
            if number >= writer.head.given {
                let head = Head { given: number + head::BLOCK, ..writer.head };
                head.save(&self.dir, &self.options.disk)?;
                writer.head = head;
            }
            segment::encode_frame(&writer.header, position, RECORD, number, &payload, &mut frames)?;
            pending += 1;
        }
        self.flush(writer, &mut frames, &mut pending)?;
        Ok(writer.next)
    }

    fn flush(&self, writer: &mut Writer, frames: &mut Vec<u8>, pending: &mut u64) -> Result<(), EventsError> {
        if frames.is_empty() {
            return Ok(());
        }
        let written = self.options.disk.write_all_at(&writer.file, frames, writer.position);
        if let Err(error) = written {
            // A part may stand there: what is written next must not be mixed with it.
            writer.failed = true;
            return Err(EventsError::io("write log in", &self.dir)(error));
        }
        writer.position += frames.len() as u64;
        writer.next += *pending;
        frames.clear();
        *pending = 0;
        let (first, position) = (writer.header.first, writer.position);
        if let Some(info) = writer.segments.get_mut(&first) {
            info.bytes = position;
        }
        Ok(())
    }

    fn rotate(&self, writer: &mut Writer) -> Result<(), EventsError> {
        self.retain_locked(writer, wall());
        let used: u64 = writer.segments.values().map(|s| s.bytes).sum();
        if used + self.options.segment_bytes > self.options.limit_bytes {
            return Err(EventsError::Full);
        }
        let (header, file, info) = new_segment(&self.dir, writer.next, &self.options)?;
        writer.segments.insert(writer.next, info);
        let old = std::mem::replace(&mut writer.file, Arc::new(file));
        writer.to_sync.push(old);
        writer.header = header;
        writer.position = HEADER_BYTES as u64;
        Ok(())
    }

    /// Goes to a fresh segment after a failure. One that holds nothing that counts is removed first.
    fn leave_failed(&self, writer: &mut Writer) -> Result<(), EventsError> {
        let first = writer.header.first;
        if first == writer.next || writer.withdrawn.last().is_some_and(|w| w.start <= first) {
            if let Some(info) = writer.segments.remove(&first)
                && let Err(error) = self.options.disk.remove(&info.path)
            {
                writer.segments.insert(first, info.clone());
                return Err(error);
            }
            let (header, file, info) = new_segment(&self.dir, writer.next, &self.options)?;
            writer.segments.insert(writer.next, info);
            writer.header = header;
            writer.file = Arc::new(file);
            writer.position = HEADER_BYTES as u64;
        } else {
            self.rotate(writer)?;
            if writer.withdrawn.last().is_some_and(|w| w.end == writer.next) {
                // What is not durable in the old file is withdrawn: nothing of it waits for a sync.
                writer.to_sync.clear();
            }
        }
        writer.failed = false;
        Ok(())
    }

    /// What was to be made durable is not, and never will be by these files.
    fn withdraw(&self, writer: &mut Writer) {
        let lost = self.durable.load(Ordering::Acquire)..writer.next;
        writer.failed = true;
        writer.to_sync.clear();
        if lost.is_empty() {
            return;
        }
        writer.withdrawn.retain(|w| w.start < lost.start);
        writer.withdrawn.push(lost);
    }

    /// Returns when every record below `number` is durable. Concurrent callers share a sync.
    /// Errors: the sync failed, this one or an earlier one that was to cover the record before `number`; nothing may be
    /// acknowledged, and the records are to be appended again.
    pub(super) fn sync(&self, number: u64) -> Result<(), EventsError> {
        let inner = self;
        if self.is_durable(number)? {
            return Ok(());
        }
        let _one_at_a_time = lock(&inner.syncing);
        if self.is_durable(number)? {
            return Ok(());
        }
        let (files, next) = {
            let mut writer = lock(&inner.writer);
            let mut files = std::mem::take(&mut writer.to_sync);
            files.push(writer.file.clone());
            (files, writer.next)
        };
        let began = Instant::now();
        for file in &files {
            if let Err(error) = inner.options.disk.sync_data(file) {
                self.withdraw(&mut lock(&inner.writer));
                let error = EventsError::io("sync log in", &inner.dir)(error);
                inner.options.metrics.count_error(&error);
                return Err(error);
            }
        }
        inner.options.metrics.sync_seconds.observe((), began.elapsed());
        inner.durable.store(next, Ordering::Release);
        let _told = lock(&inner.durable_changed.0);
        inner.durable_changed.1.notify_all();
        Ok(())
    }

    fn is_durable(&self, number: u64) -> Result<bool, EventsError> {
        if let Some(last) = number.checked_sub(1)
            && lock(&self.writer).withdrawn.iter().any(|w| w.contains(&last))
        {
            let error = io::Error::other("an earlier sync of these records failed");
            return Err(EventsError::io("sync log in", &self.dir)(error));
        }
        Ok(self.durable.load(Ordering::Acquire) >= number)
    }

    /// Applies the retention now (it also runs whenever a segment is full). Gives the number of segments deleted.
    pub(super) fn retain(&self, now: Wall) -> usize {
        self.retain_locked(&mut lock(&self.writer), now)
    }

    fn retain_locked(&self, writer: &mut Writer, now: Wall) -> usize {
        let wanted = writer.consumers.values().copied().min().unwrap_or(u64::MAX);
        let firsts: Vec<u64> = writer.segments.keys().copied().collect();
        let mut done = Vec::new();
        let mut floor = writer.floor();
        for pair in firsts.windows(2) {
            let &[first, end] = pair else { continue };
            let Some(info) = writer.segments.get(&first) else {
                continue;
            };
            // The age of a segment is that of its newest record: when the next one was begun.
            let finished = writer.segments.get(&end).map_or(info.created, |s| s.created);
            if end > wanted || finished.plus(self.options.keep) > now {
                break;
            }
            done.push((first, info.path.clone()));
            floor = floor.max(end);
        }
        if done.is_empty() {
            return 0;
        }
        // First what is no longer there, then that it goes: a crash in between leaves too much, never a hole.
        if floor > writer.head.floor {
            let head = Head { floor, ..writer.head };
            if let Err(error) = head.save(&self.dir, &self.options.disk) {
                self.options.metrics.count_error(&error);
                tracing::warn!(%error, "the event log keeps old segments: its floor cannot be written");
                return 0;
            }
            writer.head = head;
        }
        let mut deleted = 0;
        for (first, path) in done {
            if let Err(error) = self.options.disk.remove(&path) {
                tracing::warn!(%error, path = %path.display(), "segment cannot be deleted");
                break;
            }
            writer.segments.remove(&first);
            deleted += 1;
        }
        deleted
    }

    /// Number of the first record that is not durable yet.
    pub(super) fn end_number(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(super) fn floor_number(&self) -> u64 {
        lock(&self.writer).floor()
    }

    pub(super) fn acknowledged(&self, consumer: &str, number: u64) {
        lock(&self.writer).consumers.insert(consumer.to_owned(), number);
    }

    pub(super) fn since(&self, at: Wall) -> u64 {
        let writer = lock(&self.writer);
        // A segment's records are older than the next one's beginning.
        let before = writer.segments.iter().rfind(|(_, s)| s.created <= at).map(|(first, _)| *first);
        before.unwrap_or(0).max(writer.floor())
    }

    /// Waits until every record below this number is durable. False when the time was up before.
    pub(super) fn wait_until(&self, number: u64, deadline: Instant) -> bool {
        let (mutex, condvar) = &self.durable_changed;
        let mut guard = lock(mutex);
        loop {
            if self.end_number() >= number {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            guard = condvar.wait_timeout(guard, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// Segment of a record: its first number, its path, the number after its last one when another segment follows. `Err`:
    /// the record was withdrawn, and the number after those is this.
    pub(super) fn segment_of(&self, number: u64) -> Option<Result<Place, u64>> {
        let writer = lock(&self.writer);
        if number < writer.floor() {
            return None;
        }
        let mut after_hole = None;
        let mut stop = None;
        for w in &writer.withdrawn {
            if w.contains(&number) {
                after_hole = Some(w.end);
            } else if w.start > number && stop.is_none() {
                stop = Some(w.start);
            }
        }
        if let Some(after) = after_hole {
            return Some(Err(after));
        }
        let (first, info) = writer.segments.range(..=number).next_back()?;
        let after = writer.segments.range(first + 1..).next().map(|(n, _)| *n);
        let after = after.into_iter().chain(stop).min();
        Some(Ok((*first, info.path.clone(), after)))
    }
}

fn new_segment(
    dir: &Path,
    first: u64,
    options: &LogOptions,
) -> Result<(Header, File, SegmentInfo), EventsError> {
    let header = Header {
        kind: SegmentKind::Topic,
        shard: 0,
        // Tells a segment from an older one of the same number whose records were never durable.
        run: wall().0.max(0) as u128,
        first,
        created: wall(),
    };
    let path = dir.join(format!("{first:020}.{EXTENSION}"));
    let file = options.disk.create(&path, &header, options.segment_bytes)?;
    segment::sync_dir(dir)?;
    let info = SegmentInfo { path, bytes: HEADER_BYTES as u64, created: header.created };
    Ok((header, file, info))
}

/// Reads the newest segment through: what it is, its first record's number, and the number after its last one. `None`: it
/// held nothing whole and is gone.
fn newest(
    dir: &Path,
    path: PathBuf,
    options: &LogOptions,
) -> Result<Option<(SegmentInfo, u64, u64)>, EventsError> {
    let Some((header, bytes)) = segment::read(&path)? else {
        put_aside(dir, &path, &options.metrics, 0)?;
        return Ok(None);
    };
    let mut last = None;
    let mut used = HEADER_BYTES as u64;
    let mut damaged = Vec::new();
    for item in Scan::new(&header, &bytes) {
        match item {
            Item::Frame(frame) => {
                last = Some(frame.stamp.max(last.unwrap_or(0)));
                used = frame.end();
            }
            Item::Damaged(range) => damaged.push(range),
        }
    }
    let Some(last) = last else {
        // Nobody wrote to it, or nothing of it is whole: then the file is one damaged place.
        put_aside(dir, &path, &options.metrics, HEADER_BYTES)?;
        return Ok(None);
    };
    for range in damaged {
        options.metrics.torn.inc(());
        options.metrics.torn_bytes.add((), range.end - range.start);
        tracing::warn!(path = %path.display(), from = range.start, "damaged records in event log");
    }
    let rest = bytes.iter().skip(usize::try_from(used).unwrap_or(usize::MAX));
    if used < bytes.len() as u64 && rest.into_iter().all(|b| *b == 0) {
        // Give the unused preallocation back.
        let shrunk = File::options().write(true).open(&path).and_then(|f| f.set_len(used));
        shrunk.map_err(EventsError::io("shrink", &path))?;
    }
    let info = SegmentInfo { path, bytes: used, created: header.created };
    Ok(Some((info, header.first, last + 1)))
}

/// Moves a segment that holds nothing whole to `torn/` and counts what was written from byte `from` on as one damaged place.
/// One with a header or less, as a crash leaves it behind while it is made, is removed.
fn put_aside(dir: &Path, path: &Path, metrics: &EventsMetrics, from: usize) -> Result<(), EventsError> {
    let bytes = std::fs::read(path).map_err(EventsError::io("read", path))?;
    let written = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    if written <= HEADER_BYTES {
        return std::fs::remove_file(path).map_err(EventsError::io("remove", path));
    }
    move_aside(dir, path, metrics, written.saturating_sub(from))
}

/// Moves a file to `torn/` and counts it as one damaged place of so many bytes.
pub(super) fn move_aside(
    dir: &Path,
    path: &Path,
    metrics: &EventsMetrics,
    bytes: usize,
) -> Result<(), EventsError> {
    metrics.torn.inc(());
    metrics.torn_bytes.add((), bytes as u64);
    let torn = dir.join("torn");
    std::fs::create_dir_all(&torn).map_err(EventsError::io("create", &torn))?;
    let aside = torn.join(format!("{}.{}", path.file_name().unwrap_or_default().to_string_lossy(), wall().0));
    std::fs::rename(path, &aside).map_err(EventsError::io("put aside", path))
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, EventsError> {
    let entries = std::fs::read_dir(dir).map_err(EventsError::io("list", dir))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == EXTENSION))
        .collect();
    paths.sort();
    Ok(paths)
}
