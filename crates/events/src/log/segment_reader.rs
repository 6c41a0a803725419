//! Reads a topic's segments in order: from segment to segment, over damaged places and withdrawn numbers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use warp_model::Wall;

use super::Event;
use super::reader::{At, Stop};
use super::segments::Segments;
use crate::cursor::{Cursor, LogName, mark};
use crate::error::EventsError;
use crate::segment::read_at_most;
use crate::segment::{self, FRAME_BYTES, HEADER_BYTES, Header, Item, Scan};

/// A segment's first number, its path, and the number after its last record when another segment follows.
pub(super) type Place = (u64, PathBuf, Option<u64>);

/// What a reader has open.
#[derive(Default)]
pub(super) struct SegmentReader {
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

impl SegmentReader {
    /// Forgets what is open: the reader was sent elsewhere.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Up to `max` records below `end` into `out`; `at` moves behind them.
    pub(super) fn read(
        &mut self,
        segments: &Segments,
        log: &Arc<LogName>,
        at: &mut At,
        end: u64,
        max: usize,
        out: &mut Vec<Event>,
    ) -> Result<(), Stop> {
        while out.len() < max && at.next < end {
            let (first, path, after) = match segments.segment_of(at.next) {
                Some(Ok(segment)) => segment,
                Some(Err(after_hole)) => {
                    *at = At { next: after_hole, mark: 0 };
                    continue;
                }
                None => return Err(Stop::Gone),
            };
            let before = at.next;
            let segment_end = after.unwrap_or(end).min(end);
            self.read_segment(segments, log, at, (first, &path, segment_end), max, out)?;
            if at.next == before {
                // Nothing whole is left here: the damaged records are gone, the next segment goes on.
                *at = At { next: segment_end, mark: 0 };
            }
        }
        Ok(())
    }

    fn read_segment(
        &mut self,
        segments: &Segments,
        log: &Arc<LogName>,
        at: &mut At,
        (first, path, end): (u64, &Path, u64),
        max: usize,
        out: &mut Vec<Event>,
    ) -> Result<(), Stop> {
        if self.open.as_ref().is_none_or(|open| open.first != first) {
            let file = match File::open(path) {
                // Retention was faster.
                Err(error)
                    if error.kind() == std::io::ErrorKind::NotFound && at.next < segments.floor_number() =>
                {
                    return Err(Stop::Gone);
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
        while out.len() < max && at.next < end {
            // Kept from batch to batch: nothing is cleared, what is read lies at its beginning.
            self.buffer.resize(self.buffer.len().max(want), 0);
            let space = self.buffer.get_mut(..want).unwrap_or_default();
            let read =
                read_at_most(&open.file, space, open.position).map_err(EventsError::io("read", path))?;
            let bytes = self.buffer.get(..read).unwrap_or_default();
            let began = open.position;
            let mut scan = Scan::from(&open.header, bytes, open.position, 0);
            while out.len() < max
                && at.next < end
                && let Some(frame) = scan.next_frame()
            {
                open.position = frame.end();
                if frame.stamp >= at.next
                    && let Some(event) = event(log, frame.stamp, frame.payload)
                {
                    *at = At::after(&event);
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
            return Ok(self.over_damage(log, at, (end, max), out)?);
        }
        Ok(())
    }

    /// Goes on behind a damaged place of the open segment, if whole records come after it.
    fn over_damage(
        &mut self,
        log: &Arc<LogName>,
        at: &mut At,
        (end, max): (u64, usize),
        out: &mut Vec<Event>,
    ) -> Result<(), EventsError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let failed = || EventsError::io("read", format!("segment {}", open.first));
        let len = open.file.metadata().map_err(failed())?.len();
        let mut bytes = vec![0; usize::try_from(len.saturating_sub(open.position)).unwrap_or(0)];
        let read = read_at_most(&open.file, &mut bytes, open.position).map_err(failed())?;
        bytes.truncate(read);
        for item in Scan::from(&open.header, &bytes, open.position, 0) {
            if out.len() >= max || at.next >= end {
                break;
            }
            match item {
                Item::Damaged(range) => open.position = range.end,
                Item::Frame(frame) => {
                    open.position = frame.end();
                    if frame.stamp >= at.next
                        && let Some(event) = event(log, frame.stamp, frame.payload)
                    {
                        *at = At::after(&event);
                        out.push(event);
                    }
                }
            }
        }
        Ok(())
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
    use std::time::Duration;

    use super::*;
    use crate::log::Kept;
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
        let segments = match &topic.inner.kept {
            Kept::Local(segments) => segments,
            #[cfg(feature = "kafka")]
            Kept::Kafka(_) => panic!("a folder was opened"),
        };
        let Some(Ok((first, path, end))) = segments.segment_of(1) else { panic!("it is there") };
        assert!(topic.retain(Wall(i64::MAX)) > 0);
        let read = |next: u64, (first, end): (u64, u64)| {
            let mut at = At { next, mark: 0 };
            let mut reader = SegmentReader::default();
            reader.read_segment(segments, &topic.inner.name, &mut at, (first, &path, end), 1, &mut Vec::new())
        };
        assert!(matches!(read(1, (first, end.unwrap())), Err(Stop::Gone)));
        // Taken by somebody else: that is no retention.
        let stale = topic.floor_number();
        assert!(matches!(
            read(stale, (stale, stale + 1)),
            Err(Stop::Failed(EventsError::Io { what: "open", .. }))
        ));
    }
}
