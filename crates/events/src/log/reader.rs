//! Reads a topic in order, wherever it is kept.

use std::time::{Duration, Instant};

#[cfg(feature = "kafka")]
use super::kafka::Fetcher;
use super::segment_reader::SegmentReader;
use super::{Event, Kept, Topic};
use crate::cursor::Cursor;
use crate::error::EventsError;

/// Reads a topic in order.
pub struct Reader {
    topic: Topic,
    at: At,
    open: Open,
}

/// Between two records.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    /// Number of the record to read next.
    pub(super) next: u64,
    /// Of the record before; 0: it was not read.
    pub(super) mark: u32,
}

impl At {
    pub(super) fn after(event: &Event) -> At {
        At { next: event.after.next, mark: event.after.mark }
    }
}

/// What stopped a read.
pub(super) enum Stop {
    /// What was wanted lies below the floor.
    Gone,
    Failed(EventsError),
}

impl From<EventsError> for Stop {
    fn from(error: EventsError) -> Self {
        Self::Failed(error)
    }
}

/// What it has open of where the topic is kept.
enum Open {
    Local(SegmentReader),
    #[cfg(feature = "kafka")]
    Kafka(Fetcher),
}

impl Reader {
    pub(super) fn new(topic: Topic, next: u64) -> Self {
        let open = match &topic.inner.kept {
            Kept::Local(_) => Open::Local(SegmentReader::default()),
            #[cfg(feature = "kafka")]
            Kept::Kafka(_) => Open::Kafka(Fetcher::default()),
        };
        Self { topic, at: At { next, mark: 0 }, open }
    }

    /// Where it stands: before the record that it reads next.
    pub fn cursor(&self) -> Cursor {
        Cursor { mark: self.at.mark, ..self.topic.at(self.at.next) }
    }

    /// Goes on at another place. Errors: [`EventsError::Foreign`], and it stays.
    pub fn seek(&mut self, cursor: &Cursor) -> Result<(), EventsError> {
        self.topic.own(cursor)?;
        self.go(At { next: cursor.next, mark: cursor.mark });
        Ok(())
    }

    fn go(&mut self, at: At) {
        self.at = at;
        match &mut self.open {
            Open::Local(open) => open.close(),
            // It sees by itself that it stands elsewhere.
            #[cfg(feature = "kafka")]
            Open::Kafka(_) => {}
        }
    }

    /// Goes to the floor from below it. Gives the number of records that are missed by that, which are counted; 0 from
    /// anywhere else, and it stays.
    pub fn skip_to_floor(&mut self) -> u64 {
        let floor = self.topic.floor_number();
        let missed = floor.saturating_sub(self.at.next);
        if missed > 0 {
            self.topic.inner.metrics.missed.add((), missed);
            self.go(At { next: floor, mark: 0 });
        }
        missed
    }

    /// The consumer has everything before this place: later records are kept until it says so of them.
    pub fn acknowledge(&self, consumer: &str) {
        self.topic.acknowledged(consumer, self.at.next);
    }

    /// Number of the next record.
    #[cfg(test)]
    pub(crate) fn number(&self) -> u64 {
        self.at.next
    }

    /// Up to `max` durable records, none when there is no news. The cursor moves behind them.
    /// Errors: [`EventsError::Gone`] below the floor ([`Reader::skip_to_floor`] goes on), [`EventsError::Ahead`] beyond the
    /// end, or reading failed.
    pub fn next_batch(&mut self, max: usize) -> Result<Vec<Event>, EventsError> {
        let mut out = Vec::new();
        let end = self.topic.end_number_for(self.at.next)?;
        if self.at.next > end {
            // The log is younger than the cursor: somebody removed it. The consumer decides.
            return Err(EventsError::Ahead { end: self.topic.at(end) });
        }
        let log = &self.topic.inner.name;
        let read = match (&mut self.open, &self.topic.inner.kept) {
            (Open::Local(open), Kept::Local(segments)) => {
                open.read(segments, log, &mut self.at, end, max, &mut out)
            }
            #[cfg(feature = "kafka")]
            (Open::Kafka(open), Kept::Kafka(kafka)) => {
                open.read(kafka, log, &mut self.at, end, max, &mut out)
            }
            #[cfg(feature = "kafka")]
            _ => Ok(()),
        };
        match read {
            Ok(()) => {
                // Not behind numbers that name no record: who stores the last record's place has this one.
                if let Some(last) = out.last() {
                    self.at = At::after(last);
                }
                Ok(out)
            }
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Gone) => {
                let floor = self.topic.floor();
                Err(EventsError::Gone { missed: floor.next.saturating_sub(self.at.next), floor })
            }
        }
    }

    /// Waits until there is a record to read, or the time is up. True when there is one.
    pub fn wait(&self, at_most: Duration) -> bool {
        self.wait_for(1, at_most)
    }

    /// Waits until there are `records` to read, or the time is up. True when there are.
    pub fn wait_for(&self, records: u64, at_most: Duration) -> bool {
        let wanted = self.at.next.saturating_add(records);
        let deadline = Instant::now() + at_most;
        match &self.topic.inner.kept {
            Kept::Local(segments) => segments.wait_until(wanted, deadline),
            #[cfg(feature = "kafka")]
            Kept::Kafka(kafka) => kafka.wait_until(wanted, deadline),
        }
    }
}
