//! Reads a topic in order: from segment to segment, over damaged places and withdrawn numbers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use warp_model::Wall;
use warp_model::sync::lock;

use super::{Event, Topic};
use crate::cursor::{Cursor, LogName, mark};
use crate::error::EventsError;
use crate::pump::read_at_most;
use crate::segment::{self, FRAME_BYTES, HEADER_BYTES, Header, Item, Scan};

/// A segment's first number, its path, and the number after its last record when another segment follows.
pub(super) type Place = (u64, PathBuf, Option<u64>);

/// Reads a topic in order.
pub struct Reader {
    topic: Topic,
    next: u64,
    /// Of the record before; 0: it was not read.
    mark: u32,
    open: Option<OpenSegment>,
    buffer: Vec<u8>,
}

struct OpenSegment {
    first: u64,
    header: Header,
    file: File,
    position: u64,
}

/// Bytes read at once; grows to one whole frame when a record is larger.
const CHUNK: usize = 64 << 10;
const CHUNK_MAX: usize = segment::PAYLOAD_BYTES + FRAME_BYTES;

impl Reader {
    pub(super) fn new(topic: Topic, next: u64) -> Self {
        Self { topic, next, mark: 0, open: None, buffer: Vec::new() }
    }

    /// Where it stands: before the record that it reads next.
    pub fn cursor(&self) -> Cursor {
        Cursor { mark: self.mark, ..self.topic.at(self.next) }
    }

    /// Goes on at another place. Errors: [`EventsError::Foreign`], and it stays.
    pub fn seek(&mut self, cursor: &Cursor) -> Result<(), EventsError> {
        self.topic.own(cursor)?;
        (self.next, self.mark, self.open) = (cursor.next, cursor.mark, None);
        Ok(())
    }

    /// Goes to the floor from below it. Gives the number of records that are missed by that, which are counted; 0 from
    /// anywhere else, and it stays.
    pub fn skip_to_floor(&mut self) -> u64 {
        let floor = self.topic.floor_number();
        let missed = floor.saturating_sub(self.next);
        if missed > 0 {
            self.topic.inner.options.metrics.missed.add((), missed);
            (self.next, self.mark, self.open) = (floor, 0, None);
        }
        missed
    }

    /// The consumer has everything before this place: later segments are kept until it says so of them.
    pub fn acknowledge(&self, consumer: &str) {
        self.topic.acknowledged(consumer, self.next);
    }

    /// Number of the next record.
    #[cfg(test)]
    pub(crate) fn number(&self) -> u64 {
        self.next
    }

    /// Up to `max` durable records, none when there is no news. The cursor moves behind them.
    /// Errors: [`EventsError::Gone`] below the floor ([`Reader::skip_to_floor`] goes on), [`EventsError::Ahead`] beyond the
    /// end, or reading failed.
    pub fn next_batch(&mut self, max: usize) -> Result<Vec<Event>, EventsError> {
        let mut out = Vec::new();
        let end = self.topic.end_number();
        if self.next > end {
            // The log is younger than the cursor: somebody removed it. The consumer decides.
            return Err(EventsError::Ahead { end: self.topic.at(end) });
        }
        while out.len() < max && self.next < end {
            let (first, path, after) = match self.topic.segment_of(self.next) {
                Some(Ok(segment)) => segment,
                Some(Err(after_hole)) => {
                    (self.next, self.mark) = (after_hole, 0);
                    continue;
                }
                None => return Err(self.gone()),
            };
            let before = self.next;
            let segment_end = after.unwrap_or(end).min(end);
            self.read_segment(first, &path, segment_end, max, &mut out)?;
            if self.next == before {
                // Nothing whole is left here: the damaged records are gone, the next segment goes on.
                (self.next, self.mark) = (segment_end, 0);
            }
        }
        // Not behind numbers that name no record: who stores the last record's place has this one.
        if let Some(last) = out.last() {
            (self.next, self.mark) = (last.after.next, last.after.mark);
        }
        Ok(out)
    }

    fn gone(&self) -> EventsError {
        let floor = self.topic.floor();
        EventsError::Gone { missed: floor.next.saturating_sub(self.next), floor }
    }

    fn read_segment(
        &mut self,
        first: u64,
        path: &Path,
        end: u64,
        max: usize,
        out: &mut Vec<Event>,
    ) -> Result<(), EventsError> {
        if self.open.as_ref().is_none_or(|open| open.first != first) {
            let file = match File::open(path) {
                // Retention was faster.
                Err(error)
                    if error.kind() == std::io::ErrorKind::NotFound
                        && self.next < self.topic.floor_number() =>
                {
                    return Err(self.gone());
                }
                opened => opened.map_err(EventsError::io("open", path))?,
            };
            let Some(header) = segment::read_header(path, &file)? else {
                return Ok(());
            };
            self.open = Some(OpenSegment { first, header, file, position: HEADER_BYTES as u64 });
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let mut want = CHUNK;
        while out.len() < max && self.next < end {
            // Kept from batch to batch: nothing is cleared, what is read lies at its beginning.
            self.buffer.resize(self.buffer.len().max(want), 0);
            let space = self.buffer.get_mut(..want).unwrap_or_default();
            let read =
                read_at_most(&open.file, space, open.position).map_err(EventsError::io("read", path))?;
            let bytes = self.buffer.get(..read).unwrap_or_default();
            let began = open.position;
            let mut scan = Scan::from(&open.header, bytes, open.position, 0);
            while out.len() < max
                && self.next < end
                && let Some(frame) = scan.next_frame()
            {
                open.position = frame.end();
                if frame.stamp >= self.next
                    && let Some(event) = event(&self.topic.inner.name, frame.stamp, frame.payload)
                {
                    (self.next, self.mark) = (event.after.next, event.after.mark);
                    out.push(event);
                }
            }
            if open.position > began {
                continue;
            }
            // Records below `end` are durable, so the next one stands here whole, or the place is damaged.
            if segment::is_cut(bytes) && read == want && want < CHUNK_MAX {
                want = CHUNK_MAX;
                continue;
            }
            return self.over_damage(end, max, out);
        }
        Ok(())
    }

    /// Goes on behind a damaged place of the open segment, if whole records come after it.
    fn over_damage(&mut self, end: u64, max: usize, out: &mut Vec<Event>) -> Result<(), EventsError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let failed = || EventsError::io("read", format!("segment {}", open.first));
        let len = open.file.metadata().map_err(failed())?.len();
        let mut bytes = vec![0; usize::try_from(len.saturating_sub(open.position)).unwrap_or(0)];
        let read = read_at_most(&open.file, &mut bytes, open.position).map_err(failed())?;
        bytes.truncate(read);
        for item in Scan::from(&open.header, &bytes, open.position, 0) {
            if out.len() >= max || self.next >= end {
                break;
            }
            match item {
                Item::Damaged(range) => open.position = range.end,
                Item::Frame(frame) => {
                    open.position = frame.end();
                    if frame.stamp >= self.next
                        && let Some(event) = event(&self.topic.inner.name, frame.stamp, frame.payload)
                    {
                        (self.next, self.mark) = (event.after.next, event.after.mark);
                        out.push(event);
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until there is a record to read, or the time is up. True when there is one.
    pub fn wait(&self, at_most: Duration) -> bool {
        self.wait_for(1, at_most)
    }

    /// Waits until there are `records` to read, or the time is up. True when there are.
    pub fn wait_for(&self, records: u64, at_most: Duration) -> bool {
        let wanted = self.next.saturating_add(records);
        let (mutex, condvar) = &self.topic.inner.durable_changed;
        let deadline = Instant::now() + at_most;
        let mut guard = lock(mutex);
        loop {
            if self.topic.end_number() >= wanted {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            guard = condvar.wait_timeout(guard, left).unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }
}

fn event(log: &Arc<LogName>, offset: u64, payload: &[u8]) -> Option<Event> {
    let (at, rest) = payload.split_first_chunk::<8>()?;
    let (key_len, rest) = rest.split_first_chunk::<2>()?;
    let (key, value) = rest.split_at_checked(u16::from_le_bytes(*key_len).into())?;
    let at = Wall(i64::from_le_bytes(*at));
    let after = Cursor { log: log.clone(), next: offset.checked_add(1)?, mark: mark(offset, at, key) };
    Some(Event { offset, after, at, key: key.to_vec(), value: value.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventLog, EventsMetrics, LogOptions};

    #[test]
    fn a_segment_that_retention_takes_while_it_is_opened_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions {
            segment_bytes: 512,
            keep: Duration::from_secs(86_400),
            ..LogOptions::new(EventsMetrics::detached())
        };
        let topic = EventLog::open(dir.path(), options).unwrap().topic("t").unwrap();
        for n in 0..50u8 {
            topic.append_durable(b"k", &[n; 40]).unwrap();
        }
        let mut reader = topic.reader_at(1);
        let Some(Ok((first, path, end))) = topic.segment_of(1) else { panic!("it is there") };
        assert!(topic.retain(Wall(i64::MAX)) > 0);
        let read = reader.read_segment(first, &path, end.unwrap(), 1, &mut Vec::new());
        assert!(matches!(read, Err(EventsError::Gone { floor, .. }) if floor == topic.floor()));
        // Taken by somebody else: that is no retention.
        let stale = topic.floor_number();
        let read = topic.reader_at(stale).read_segment(stale, &path, stale + 1, 1, &mut Vec::new());
        assert!(matches!(read, Err(EventsError::Io { what: "open", .. })));
    }
}
