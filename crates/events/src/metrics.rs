//! The catalogue of the journal and the event log.

use warp_telemetry::label_enum;
use warp_telemetry::metrics::{Counter, Counters, Gauge, Histogram, Registry};

label_enum! {
    /// Kind of a journal record.
    pub enum RecordKind = "kind" { Answered = "answered", Ended = "ended", Heartbeat = "heartbeat", Closed = "closed" }
}
label_enum! {
    /// Why the disk, or Kafka, did not do what it should.
    pub enum DiskError = "reason" { Full = "full", Io = "io", TooLarge = "too_large", Away = "away" }
}
label_enum! {
    /// Where call records go.
    pub enum Sink = "sink" { Journal = "journal", EventLog = "event_log", Postgres = "postgres" }
}
label_enum! {
    /// How a write to a topic went.
    pub enum WriteResult = "result" { Ok = "ok", Duplicate = "duplicate", Error = "error" }
}

/// Bounds of a disk sync, in seconds.
const SYNC_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// Metrics of all journals and topics of a process. Clones share it.
#[derive(Clone)]
pub struct EventsMetrics {
    /// Records appended to journals.
    pub journal_records: Counters<RecordKind>,
    /// Failures of journals and topics.
    pub errors: Counters<DiskError>,
    /// Time of a data sync.
    pub sync_seconds: Histogram,
    /// Damaged places found in files (F-DISK-03).
    pub torn: Counter,
    /// The bytes of those damaged places.
    pub torn_bytes: Counter,
    /// Calls whose end was reconstructed after a crash.
    pub recovered_calls: Counter,
    /// Journals that refuse new calls for lack of space or for an error.
    pub refusing: Gauge,
    /// Finished records that wait in memory for space.
    pub backlog: Gauge,
    /// How many journal files there are.
    pub journal_segments: Gauge,
    /// Records of the event log that were deleted before a consumer had read them.
    pub missed: Counter,
    /// Call records by sink.
    pub cdr_written: Counters<(Sink, WriteResult)>,
}

impl EventsMetrics {
    /// Registers all of it.
    pub fn new(r: &Registry) -> Self {
        Self {
            journal_records: r.counters("warp_journal_records_total", "Records of calls that were written to disk as the calls went on."),
            errors: r.counters(
                "warp_journal_errors_total",
                "Writes of call records and events to disk, or to Kafka, that failed.",
            ),
            sync_seconds: r.histogram(
                "warp_journal_sync_seconds",
                "Time that the disk took to make written records durable, in seconds.",
                SYNC_SECONDS,
            ),
            torn: r.counter(
                "warp_journal_torn_total",
                "Damaged places found in files of call records and events, and put aside.",
            ),
            torn_bytes: r.counter("warp_journal_torn_bytes_total", "Bytes of damaged places that were found in files of call records and events, and put aside."),
            recovered_calls: r
                .counter("warp_journal_recovered_calls_total", "Calls that were in the air when a process died, and were ended and recorded by the next one."),
            refusing: r
                .gauge("warp_journal_refusing", "Parts of this node that refuse new calls because they cannot write call records (disk full or failing)."),
            backlog: r.gauge(
                "warp_journal_backlog_records",
                "Records of finished calls that wait in memory for space on disk.",
            ),
            journal_segments: r.gauge("warp_journal_segments", "Files of call records on disk that are still needed."),
            missed: r.counter(
                "warp_event_log_missed_records_total",
                "Records of finished calls and events that were deleted before everybody had read them.",
            ),
            cdr_written: r.counters("warp_cdr_written_total", "Call records that were written, by where to."),
        }
    }

    /// For tests and tools: counts, shown nowhere.
    pub fn detached() -> Self {
        Self::new(&Registry::new())
    }

    pub(crate) fn count_error(&self, error: &crate::EventsError) {
        self.errors.inc(match error {
            crate::EventsError::Full => DiskError::Full,
            crate::EventsError::TooLarge { .. } => DiskError::TooLarge,
            crate::EventsError::Away { .. } => DiskError::Away,
            _ => DiskError::Io,
        });
    }
}
