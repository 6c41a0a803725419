//! The pump's cursor file: how far each journal segment is copied, and which calls that were answered there are still open.
//!
//! Text. Version 2: `v2` and the checksum of the rest, then lines `segment NAME POSITION` and `open NAME CDR_ID`. Version 1
//! had positions only (`NAME POSITION`) and is still read; what it does not tell is then not known. A file that is damaged
//! or of another version counts as none.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use warp_model::CallId;

use crate::error::EventsError;
use crate::segment;

/// What the file of an earlier run says.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// By the segment's file name.
    positions: BTreeMap<String, u64>,
    /// Calls that were answered below a segment's position and have not ended; `None`: version 1, not told.
    open: Option<BTreeSet<(String, CallId)>>,
    known: bool,
}

impl Cursor {
    /// Of the journals in `dir`.
    pub(crate) fn load(dir: &Path) -> Cursor {
        let text = std::fs::read_to_string(dir.join(FILE)).unwrap_or_default();
        Self::parse(&text).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Cursor> {
        let (head, rest) = text.split_once('\n')?;
        let (version, crc) = head.split_once(' ')?;
        if crc != format!("{:08x}", crc32c::crc32c(rest.as_bytes())) {
            return None;
        }
        let mut cursor = Cursor { known: true, ..Cursor::default() };
        match version {
            "v1" => {
                for line in rest.lines() {
                    let (name, position) = line.split_once(' ')?;
                    cursor.positions.insert(name.to_owned(), position.parse().ok()?);
                }
            }
            "v2" => {
                let mut open = BTreeSet::new();
                for line in rest.lines() {
                    let mut words = line.split(' ');
                    let (what, name, value) = (words.next()?, words.next()?, words.next()?);
                    if what == "segment" {
                        cursor.positions.insert(name.to_owned(), value.parse().ok()?);
                    } else if what == "open" {
                        open.insert((name.to_owned(), value.parse().ok()?));
                    }
                }
                cursor.open = Some(open);
            }
            _ => return None,
        }
        Some(cursor)
    }

    /// There was a file that could be read.
    pub(crate) fn known(&self) -> bool {
        self.known
    }

    /// What lies below this position of a segment is in the topic.
    pub(crate) fn position_of(&self, path: &Path) -> u64 {
        name_of(path).and_then(|name| self.positions.get(&name).copied()).unwrap_or(0)
    }

    /// The call that was answered at this place has ended, and its end is in the topic.
    pub(crate) fn has_ended(&self, path: &Path, position: u64, call: CallId) -> bool {
        let (Some(open), Some(name)) = (&self.open, name_of(path)) else { return false };
        let copied = self.positions.get(&name).is_some_and(|copied| position < *copied);
        copied && !open.contains(&(name, call))
    }

    /// Writes the file: whole and durable, or the old one stays.
    pub(crate) fn save<'a>(
        dir: &Path,
        positions: impl Iterator<Item = (&'a Path, u64)>,
        open: impl Iterator<Item = (&'a Path, CallId)>,
    ) -> Result<(), EventsError> {
        let mut text = String::new();
        for (path, position) in positions {
            if let Some(name) = name_of(path) {
                text.push_str(&format!("segment {name} {position}\n"));
            }
        }
        for (path, id) in open {
            if let Some(name) = name_of(path) {
                text.push_str(&format!("open {name} {id}\n"));
            }
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let (path, new) = (dir.join(FILE), dir.join(NEW));
        let written = std::fs::File::create(&new).and_then(|mut file| {
            file.write_all(format!("v2 {crc:08x}\n{text}").as_bytes())?;
            file.sync_data()
        });
        written.map_err(EventsError::io("write", &new))?;
        std::fs::rename(&new, &path).map_err(EventsError::io("rename", &path))?;
        segment::sync_dir(dir)
    }
}

fn name_of(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

const FILE: &str = "pump.cursor";
const NEW: &str = "pump.cursor.new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_and_anything_else_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.jrn"), dir.path().join("b.jrn"));
        let id = CallId::from_u128;
        let write = |version: &str, rest: &str| {
            let crc = crc32c::crc32c(rest.as_bytes());
            std::fs::write(dir.path().join(FILE), format!("{version} {crc:08x}\n{rest}")).unwrap();
        };
        assert!(!Cursor::load(dir.path()).known());
        let positions = [(a.as_path(), 500), (b.as_path(), 64)];
        Cursor::save(dir.path(), positions.into_iter(), [(a.as_path(), id(1))].into_iter()).unwrap();
        let saved = Cursor::load(dir.path());
        assert!(saved.known());
        assert_eq!(
            (saved.position_of(&a), saved.position_of(&b), saved.position_of(dir.path())),
            (500, 64, 0)
        );
        assert!(saved.has_ended(&a, 499, id(2)), "answered below the position and not open");
        assert!(!saved.has_ended(&a, 499, id(1)), "open");
        assert!(!saved.has_ended(&a, 500, id(2)), "not looked at yet");
        assert!(!saved.has_ended(dir.path(), 1, id(2)), "a segment that it does not know");

        write("v1", "a.jrn 500\n");
        let first = Cursor::load(dir.path());
        assert_eq!((first.known(), first.position_of(&a)), (true, 500));
        assert!(!first.has_ended(&a, 1, id(2)), "version 1 does not tell");

        write("v3", "segment a.jrn 500\n");
        assert!(!Cursor::load(dir.path()).known());
        std::fs::write(dir.path().join(FILE), "v2 00000000\nsegment a.jrn 500\n").unwrap();
        assert!(!Cursor::load(dir.path()).known(), "a wrong checksum");
    }
}
