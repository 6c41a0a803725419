//! What can go wrong on disk or in Kafka, and whether waiting helps.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::cursor::Cursor;

/// Errors of the journal and the log.
#[derive(Debug)]
pub enum EventsError {
    /// No space, or our own limit of bytes is reached: nothing was acknowledged; works again when space is free (F-DISK-01).
    Full,
    /// Reading or writing failed: nothing was acknowledged (F-DISK-02).
    Io {
        /// The operation that was tried, as a word of the message: `write`, `rename` …
        what: &'static str,
        /// The file that it was tried on.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A record is larger than a frame may be.
    TooLarge {
        /// Size of the record in bytes.
        bytes: usize,
    },
    /// A file has a format version that this program does not know.
    Version {
        /// The file that has the unknown version.
        path: PathBuf,
        /// The version it carries.
        found: u16,
    },
    /// The cursor lies below the floor: what it names was deleted by retention.
    Gone {
        /// Where the oldest record that is kept stands.
        floor: Cursor,
        /// How many records lie between the cursor and the floor.
        missed: u64,
    },
    /// The cursor lies beyond the newest durable record: the log lost its end.
    Ahead {
        /// Behind the newest durable record.
        end: Cursor,
    },
    /// The cursor is one of another log, or this log has taken its numbers again.
    Foreign {
        /// The log that was asked.
        log: String,
    },
    /// The text is no cursor, or one of a newer version.
    NoCursor,
    /// Kafka does not answer, or is not as our promise needs it: nothing was acknowledged; works again when it is (F-KAFKA-01).
    Away {
        /// In words, for the operator.
        why: String,
    },
}

impl EventsError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> EventsError {
        let path = path.into();
        move |error| {
            if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                EventsError::Full
            } else {
                EventsError::Io { what, path, error }
            }
        }
    }
}

impl fmt::Display for EventsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("no space left for the journal or event log"),
            Self::Io { what, path, error } => write!(f, "{what} {}: {error}", path.display()),
            Self::TooLarge { bytes } => write!(f, "record of {bytes} bytes is too large"),
            Self::Version { path, found } => {
                write!(f, "{}: unknown format version {found}", path.display())
            }
            Self::Gone { floor, missed } => {
                write!(f, "{missed} records were deleted before they were read; the oldest stands at {floor}")
            }
            Self::Ahead { end } => write!(f, "the cursor lies beyond the end of the log, {end}"),
            Self::Foreign { log } => write!(f, "the cursor is not one of the log {log}"),
            Self::Away { why } => write!(f, "kafka: {why}"),
            Self::NoCursor => f.write_str("no cursor of an event log, or one of a newer version"),
        }
    }
}

impl std::error::Error for EventsError {}
