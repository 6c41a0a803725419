//! Topics of numbered records, with readers that go on where they stopped.
//!
//! A topic is kept in one of two ways behind the same methods: in segments on this machine's disk ([`segments`]), or in a
//! topic of Apache Kafka (feature `kafka`). `tests/conformance.rs` says what both do. [`Topic::append`] hands records over;
//! [`Topic::sync`] returns when they are durable. Readers see durable records only, so that a number once read never names
//! another record. A consumer keeps its own [`Cursor`] where it keeps its results, which makes "exactly once" its own
//! transaction. Records go when they are older than the retention *and* every registered consumer has acknowledged them.
//! The floor, the number of the oldest record that is kept, never goes back, and no number is given twice.

mod head;
#[cfg(feature = "kafka")]
mod kafka;
mod place;
mod reader;
mod segment_reader;
mod segments;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use warp_model::Wall;
use warp_model::sync::lock;

use crate::cursor::{Cursor, LogName};
use crate::disk::Disk;
use crate::error::EventsError;
use crate::metrics::EventsMetrics;
#[cfg(feature = "kafka")]
use kafka::Kafka;
#[cfg(feature = "kafka")]
pub use kafka::KafkaOptions;
pub use reader::Reader;
use segments::Segments;

/// How a log is kept.
#[derive(Clone)]
pub struct LogOptions {
    /// Size of one segment.
    pub segment_bytes: u64,
    /// Acknowledged segments older than this go.
    pub keep: Duration,
    /// Bytes of one topic above which appends are refused ([`EventsError::Full`]): unacknowledged records never go.
    pub limit_bytes: u64,
    /// The counters that the log adds to.
    pub metrics: EventsMetrics,
    /// The disk that it writes to: the real one, or one that fails in tests.
    pub disk: Disk,
}

impl LogOptions {
    /// 64 MiB segments, 7 days, 50 GiB.
    pub fn new(metrics: EventsMetrics) -> Self {
        Self {
            segment_bytes: 64 << 20,
            keep: Duration::from_secs(7 * 86_400),
            limit_bytes: 50 << 30,
            metrics,
            disk: Disk::default(),
        }
    }
}

/// All topics of a node. Clones share it.
#[derive(Clone)]
pub struct EventLog {
    inner: Arc<LogInner>,
}

struct LogInner {
    place: Place,
    options: LogOptions,
    topics: Mutex<BTreeMap<String, Topic>>,
}

/// Where its topics are.
enum Place {
    Folder(PathBuf),
    #[cfg(feature = "kafka")]
    Kafka(KafkaOptions),
}

/// One topic. Clones share it.
#[derive(Clone)]
pub struct Topic {
    inner: Arc<TopicInner>,
}

struct TopicInner {
    name: Arc<LogName>,
    metrics: EventsMetrics,
    /// Journals of earlier runs may still hold records for it.
    behind: AtomicBool,
    kept: Kept,
}

/// Where the records are.
enum Kept {
    Local(Box<Segments>),
    #[cfg(feature = "kafka")]
    Kafka(Kafka),
}

/// One record as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number, for people to read: no cursor is made of it.
    pub offset: u64,
    /// Where a consumer stands that has taken it.
    pub after: Cursor,
    /// When it was appended.
    pub at: Wall,
    /// For partitions and de-duplication.
    pub key: Vec<u8>,
    /// The record as it was appended.
    pub value: Vec<u8>,
}

impl EventLog {
    /// Opens the log in `dir`. Topics are opened when they are first named.
    pub fn open(dir: &Path, options: LogOptions) -> Result<Self, EventsError> {
        std::fs::create_dir_all(dir).map_err(EventsError::io("create", dir))?;
        Ok(Self::of(Place::Folder(dir.to_owned()), options))
    }

    /// The log that Kafka keeps. Of `options`, how long records are kept and the counters are used. Kafka may be away: topics
    /// are there when it is.
    /// Errors: a setting that the client library does not take.
    #[cfg(feature = "kafka")]
    pub fn kafka(kafka: KafkaOptions, options: LogOptions) -> Result<Self, EventsError> {
        kafka.check().map_err(|why| EventsError::Away { why })?;
        Ok(Self::of(Place::Kafka(kafka), options))
    }

    fn of(place: Place, options: LogOptions) -> Self {
        Self { inner: Arc::new(LogInner { place, options, topics: Mutex::new(BTreeMap::new()) }) }
    }

    /// The topic of this name (our own names only: letters, digits, dots). Damaged places of its newest segment are put
    /// aside and metered.
    pub fn topic(&self, name: &str) -> Result<Topic, EventsError> {
        let mut topics = lock(&self.inner.topics);
        if let Some(topic) = topics.get(name) {
            return Ok(topic.clone());
        }
        let options = self.inner.options.clone();
        let metrics = options.metrics.clone();
        let (kept, id) = match &self.inner.place {
            Place::Folder(dir) => {
                let (segments, id) = Segments::open(dir, name, options)?;
                (Kept::Local(Box::new(segments)), id)
            }
            #[cfg(feature = "kafka")]
            Place::Kafka(kafka) => {
                let (kafka, id) = Kafka::open(name, kafka, options.keep)?;
                (Kept::Kafka(kafka), id)
            }
        };
        let topic = Topic {
            inner: Arc::new(TopicInner {
                name: Arc::new(LogName { topic: name.to_owned(), id }),
                metrics,
                behind: AtomicBool::new(false),
                kept,
            }),
        };
        topics.insert(name.to_owned(), topic.clone());
        Ok(topic)
    }

    /// The metrics this log counts in.
    pub fn metrics(&self) -> &EventsMetrics {
        &self.inner.options.metrics
    }
}

impl Topic {
    /// Whether records of earlier runs still wait in the journals: then the end of this topic is not the end of what those runs did.
    pub fn is_behind(&self) -> bool {
        self.inner.behind.load(Ordering::Acquire)
    }

    pub(crate) fn set_behind(&self, behind: bool) {
        self.inner.behind.store(behind, Ordering::Release);
    }

    /// Returns when it is known where the log begins and ends. Errors: [`EventsError::Away`]; the local segments always know.
    pub fn ready(&self) -> Result<(), EventsError> {
        match &self.inner.kept {
            Kept::Local(_) => Ok(()),
            #[cfg(feature = "kafka")]
            Kept::Kafka(kafka) => kafka.ready(),
        }
    }

    /// Hands over records, key and value of each, in order. They are durable, and readable, when [`Topic::sync`] has returned
    /// for what this gives: a count that grows with each record. Errors: nothing of this call counts; a part may have been
    /// written and be read, so appending is at least once.
    pub fn append<'a>(
        &self,
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<u64, EventsError> {
        let done = match &self.inner.kept {
            Kept::Local(segments) => segments.append(records),
            #[cfg(feature = "kafka")]
            Kept::Kafka(kafka) => kafka.append(records),
        };
        done.inspect_err(|error| self.inner.metrics.count_error(error))
    }

    /// Returns when every record is durable that was handed over before [`Topic::append`] gave `handed`. Concurrent callers
    /// share the work. Gives the number after the newest record of this process that is durable.
    /// Errors: this attempt failed, or an earlier one that was to cover the last of them; nothing may be acknowledged, and the
    /// records are to be appended again.
    pub fn sync(&self, handed: u64) -> Result<u64, EventsError> {
        match &self.inner.kept {
            Kept::Local(segments) => segments.sync(handed).map(|()| handed),
            #[cfg(feature = "kafka")]
            Kept::Kafka(kafka) => kafka.sync(handed),
        }
    }

    /// [`Topic::append`] and [`Topic::sync`] of one record; gives its number, when nobody else writes at the same time.
    pub fn append_durable(&self, key: &[u8], value: &[u8]) -> Result<u64, EventsError> {
        let end = self.sync(self.append([(key, value)])?)?;
        Ok(end.saturating_sub(1))
    }

    /// Applies the retention now (it also runs by itself). Gives how many pieces were deleted.
    pub fn retain(&self, now: Wall) -> usize {
        match &self.inner.kept {
            Kept::Local(segments) => segments.retain(now),
            #[cfg(feature = "kafka")]
            Kept::Kafka(kafka) => kafka.retain(now),
        }
    }

    /// Whether other nodes write to it too.
    pub(crate) fn is_shared(&self) -> bool {
        match &self.inner.kept {
            Kept::Local(_) => false,
            #[cfg(feature = "kafka")]
            Kept::Kafka(_) => true,
        }
    }

    /// Number of the first record that is not durable yet.
    pub(crate) fn end_number(&self) -> u64 {
        match &self.inner.kept {
            Kept::Local(segments) => segments.end_number(),
            #[cfg(feature = "kafka")]
            Kept::Kafka(kafka) => kafka.end_number(),
        }
    }

    /// The same for a reader that stands at `next`: beyond the end, the end is asked for again first.
    fn end_number_for(&self, next: u64) -> Result<u64, EventsError> {
        #[cfg(feature = "kafka")]
        if let Kept::Kafka(kafka) = &self.inner.kept {
            match next > kafka.end_number() {
                true => kafka.ask()?,
                false => kafka.ready()?,
            }
        }
        let _ = next;
        Ok(self.end_number())
    }

    pub(crate) fn floor_number(&self) -> u64 {
        match &self.inner.kept {
            Kept::Local(segments) => segments.floor_number(),
            #[cfg(feature = "kafka")]
            Kept::Kafka(kafka) => kafka.floor_number(),
        }
    }

    pub(crate) fn acknowledged(&self, consumer: &str, number: u64) {
        match &self.inner.kept {
            Kept::Local(segments) => segments.acknowledged(consumer, number),
            #[cfg(feature = "kafka")]
            Kept::Kafka(kafka) => kafka.acknowledged(consumer, number),
        }
    }

    /// The number from which on records were appended at `at` or later; a few older ones may come first, none is missing.
    pub(crate) fn since(&self, at: Wall) -> u64 {
        match &self.inner.kept {
            Kept::Local(segments) => segments.since(at),
            #[cfg(feature = "kafka")]
            Kept::Kafka(kafka) => kafka.since(at),
        }
    }
}
