//! What can go wrong on disk, and whether waiting helps.

use std::fmt;
use std::io;
use std::path::PathBuf;

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
    /// A cursor lies before the oldest record that is kept, or behind the newest.
    Cursor {
        /// What was asked for.
        wanted: u64,
        /// The oldest record that exists.
        oldest: u64,
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
            Self::Cursor { wanted, oldest } => {
                write!(f, "record {wanted} is not there (oldest is {oldest})")
            }
        }
    }
}

impl std::error::Error for EventsError {}
