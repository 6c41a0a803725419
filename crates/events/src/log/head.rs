//! What a topic knows besides its segments: which log it is, its floor, the number of the oldest record that it may
//! still have, and which numbers it may have given.
//!
//! File `topic.head`. Text: `v1` and the checksum of the rest, then the lines `log ID` (32 hex digits), `floor NUMBER` and
//! `given NUMBER` (not written by versions before; then 0).
//! The floor is durable before the first segment below it is deleted. So it never goes back, whatever a crash leaves of a
//! retention: what still lies below it is not read, and goes at the next start. A log of a version that had no such file
//! gets one. Numbers below `given` may stand in records that somebody has read, whatever the segments show: none of them is
//! given at a later start. It is durable before the first of those numbers is given, and exact after an orderly end. So a
//! kill leaves a hole of at most [`BLOCK`] numbers, and a disk that lost records does not make two records of one number.
//! A damaged file is put aside and counted; the log then counts as another one, with the floor of its segments.

use std::path::Path;

use super::LogOptions;
use super::segments::move_aside;
use crate::disk::Disk;
use crate::error::EventsError;

/// Name of the file.
const FILE: &str = "topic.head";

/// How many numbers are taken at once: one small file is made durable for so many records.
pub(super) const BLOCK: u64 = 16_384;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Names the log: made once, at random.
    pub(super) id: u128,
    /// No record below this number is there.
    pub(super) floor: u64,
    /// Every number that may have been given is below this one.
    pub(super) given: u64,
}

impl Head {
    /// Of the topic in `dir`; a log without one gets it.
    /// Errors: the file has a version that this program does not know; it cannot be read or written.
    pub(super) fn open(dir: &Path, options: &LogOptions) -> Result<Head, EventsError> {
        let path = dir.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => match Self::parse(&bytes) {
                Some(Ok(head)) => return Ok(head),
                Some(Err(found)) => return Err(EventsError::Version { path, found }),
                None => move_aside(dir, &path, &options.metrics, bytes.len())?,
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(EventsError::io("read", path)(error)),
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|e| EventsError::io("name", dir)(std::io::Error::other(e.to_string())))?;
        let head = Head { id: u128::from_le_bytes(id), floor: 0, given: 0 };
        head.save(dir, &options.disk)?;
        Ok(head)
    }

    /// Writes the file: whole and durable, or the old one stays.
    pub(super) fn save(self, dir: &Path, disk: &Disk) -> Result<(), EventsError> {
        let rest = format!("log {:032x}\nfloor {}\ngiven {}\n", self.id, self.floor, self.given);
        let crc = crc32c::crc32c(rest.as_bytes());
        disk.replace(dir, FILE, format!("v1 {crc:08x}\n{rest}").as_bytes())
    }

    /// `None`: damaged; `Err`: of another version.
    fn parse(bytes: &[u8]) -> Option<Result<Head, u16>> {
        let (head, rest) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        let (version, crc) = head.split_once(' ')?;
        if crc != format!("{:08x}", crc32c::crc32c(rest.as_bytes())) {
            return None;
        }
        match version.strip_prefix('v')?.parse().ok()? {
            1 => {}
            newer => return Some(Err(newer)),
        }
        let mut lines = rest.lines();
        let id = u128::from_str_radix(lines.next()?.strip_prefix("log ")?, 16).ok()?;
        let floor = lines.next()?.strip_prefix("floor ")?.parse().ok()?;
        let given = match lines.next() {
            Some(line) => line.strip_prefix("given ")?.parse().ok()?,
            None => 0,
        };
        Some(Ok(Head { id, floor, given }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::EventsMetrics;

    #[test]
    fn f_disk_03_a_damaged_head_is_put_aside_and_one_of_another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions::new(EventsMetrics::detached());
        let path = dir.path().join(FILE);
        let made = Head { floor: 7, given: 9, ..Head::open(dir.path(), &options).unwrap() };
        made.save(dir.path(), &options.disk).unwrap();
        assert_eq!(Head::open(dir.path(), &options).unwrap(), made);
        let good = std::fs::read(&path).unwrap();

        let before = format!("log {:032x}\nfloor 7\n", made.id);
        std::fs::write(&path, format!("v1 {:08x}\n{before}", crc32c::crc32c(before.as_bytes()))).unwrap();
        let read = Head::open(dir.path(), &options).unwrap();
        assert_eq!(read, Head { given: 0, ..made }, "as versions before wrote it");

        let rest = "log 0\nfloor 0\n";
        std::fs::write(&path, format!("v2 {:08x}\n{rest}", crc32c::crc32c(rest.as_bytes()))).unwrap();
        assert!(matches!(Head::open(dir.path(), &options), Err(EventsError::Version { found: 2, .. })));
        assert!(path.exists(), "a newer program's file stays");

        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x15;
            std::fs::write(&path, &bad).unwrap();
            let torn = options.metrics.torn.value(());
            let fresh = Head::open(dir.path(), &options).unwrap();
            assert!(fresh.id != made.id && fresh.floor == 0, "byte {at}");
            assert_eq!(options.metrics.torn.value(()), torn + 1, "byte {at}");
            assert_eq!(Head::open(dir.path(), &options).unwrap(), fresh);
        }
    }
}
