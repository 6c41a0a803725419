//! Pictures of calls that ended, in files: segments that are only appended to, an index in memory, oldest segments go first.
//!
//! A segment is `captures-MS-N.seg`, MS the Unix time in milliseconds of its beginning. A record is a header of 21 bytes and its payload:
//!
//! | header | bytes |
//! | --- | --- |
//! | magic `WCP1` | 0–3 |
//! | length of the payload (u32, little endian) | 4–7 |
//! | crc32c of the payload | 8–11 |
//! | when it was written, Unix milliseconds (i64) | 12–19 |
//! | how many ids the payload begins with, 16 bytes each (u128) | 20 |
//!
//! Behind the ids is the picture as JSON in one Zstandard frame. What is torn or does not fit its checksum is left out and counted. Pictures
//! are no records: nothing is synced, and what the last second had may be lost with the machine.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use warp_model::Wall;

use crate::picture::Picture;

const MAGIC: &[u8; 4] = b"WCP1";
const HEADER: usize = 21;
/// A picture has no more than that when it is packed, nor unpacked.
const LARGEST: usize = 8 << 20;
const SEGMENT_BYTES: u64 = 16 << 20;

/// How much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf {
    /// The folder of the segments.
    pub dir: PathBuf,
    /// How long a picture is kept.
    pub keep: Duration,
    /// Bytes of all segments.
    pub limit: u64,
}

/// Pictures of calls, in files.
#[derive(Debug)]
pub struct Store {
    shelf: Shelf,
    segments: VecDeque<Segment>,
    open: Option<File>,
    index: HashMap<u128, Place>,
    next: u64,
    /// Records that could not be read when the store was opened, or since.
    pub damaged: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    bytes: u64,
    /// The time of its last record.
    newest: Wall,
    ids: Vec<u128>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    segment: u64,
    at: u64,
}

struct Header {
    length: usize,
    crc: u32,
    at: Wall,
    ids: usize,
}

impl Store {
    /// Opens the folder, which is made when it is not there, and reads where everything stands.
    pub fn open(shelf: Shelf) -> io::Result<Store> {
        std::fs::create_dir_all(&shelf.dir)?;
        let mut names: Vec<(i64, u64, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&shelf.dir)? {
            let path = entry?.path();
            if let Some((ms, n)) = name_of(&path) {
                names.push((ms, n, path));
            }
        }
        names.sort();
        let mut store = Store {
            shelf,
            segments: VecDeque::new(),
            open: None,
            index: HashMap::new(),
            next: 0,
            damaged: 0,
        };
        for (_, _, path) in names {
            store.read_segment(path)?;
        }
        Ok(store)
    }

    fn read_segment(&mut self, path: PathBuf) -> io::Result<()> {
        let mut file = File::open(&path)?;
        let size = file.metadata()?.len();
        let number = self.next;
        self.next += 1;
        let mut segment = Segment { number, path, bytes: size, newest: Wall(0), ids: Vec::new() };
        let mut at = 0;
        while at < size {
            let mut head = [0; HEADER];
            file.seek(SeekFrom::Start(at))?;
            let whole = file.read_exact(&mut head).is_ok();
            let header = Some(&head).filter(|_| whole).and_then(Header::read);
            let end = header.as_ref().map_or(u64::MAX, |h| at + (HEADER + h.length) as u64);
            let Some(header) = header.filter(|_| end <= size) else {
                // Torn: nothing after it can be found.
                self.damaged += 1;
                break;
            };
            let mut ids = vec![0; header.ids * 16];
            file.read_exact(&mut ids)?;
            for id in
                ids.chunks_exact(16).filter_map(|c| <[u8; 16]>::try_from(c).ok()).map(u128::from_le_bytes)
            {
                self.index.insert(id, Place { segment: number, at });
                segment.ids.push(id);
            }
            segment.newest = header.at;
            at = end;
        }
        self.segments.push_back(segment);
        Ok(())
    }

    /// Appends a picture. Errors: the disk's, or the picture is too large.
    pub fn put(&mut self, picture: &Picture, now: Wall) -> io::Result<()> {
        let json = serde_json::to_vec(picture).map_err(io::Error::other)?;
        let packed = zstd::bulk::compress(&json, 1)?;
        let ids: Vec<u128> = picture.owners.iter().map(|o| o.id).take(usize::from(u8::MAX)).collect();
        let mut payload: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        payload.extend_from_slice(&packed);
        if payload.len() > LARGEST || json.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the picture is too large"));
        }
        let mut record = Vec::with_capacity(HEADER + payload.len());
        record.extend_from_slice(MAGIC);
        record.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        record.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
        record.extend_from_slice(&now.unix_ms().to_le_bytes());
        record.push(u8::try_from(ids.len()).unwrap_or(u8::MAX));
        record.extend_from_slice(&payload);
        self.append(&record, &ids, now)
    }

    fn append(&mut self, record: &[u8], ids: &[u128], now: Wall) -> io::Result<()> {
        if self.open.is_none() || self.segments.back().is_none_or(|s| s.bytes >= SEGMENT_BYTES) {
            self.begin(now)?;
        }
        let (Some(file), Some(segment)) = (&mut self.open, self.segments.back_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.write_all(record) {
            // What is half written is the end of this segment: the next record begins another one.
            self.open = None;
            return Err(error);
        }
        for id in ids {
            self.index.insert(*id, Place { segment: segment.number, at: segment.bytes });
            segment.ids.push(*id);
        }
        segment.bytes += record.len() as u64;
        segment.newest = now;
        Ok(())
    }

    fn begin(&mut self, now: Wall) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        let path = self.shelf.dir.join(format!("captures-{}-{number}.seg", now.unix_ms()));
        self.open = Some(OpenOptions::new().create_new(true).append(true).open(&path)?);
        self.segments.push_back(Segment { number, path, bytes: 0, newest: now, ids: Vec::new() });
        self.retire(now);
        Ok(())
    }

    /// Old segments go, and the oldest while there are too many bytes. The one that is written to stays.
    pub fn retire(&mut self, now: Wall) {
        let oldest = now.0.saturating_sub(i64::try_from(self.shelf.keep.as_micros()).unwrap_or(i64::MAX));
        while self.segments.len() > 1 {
            let bytes: u64 = self.segments.iter().map(|s| s.bytes).sum();
            let old = self.segments.front().is_some_and(|s| s.newest.0 < oldest);
            if !old && bytes.saturating_add(SEGMENT_BYTES) <= self.shelf.limit {
                return;
            }
            let Some(gone) = self.segments.pop_front() else { return };
            for id in gone.ids {
                if self.index.get(&id).is_some_and(|p| p.segment == gone.number) {
                    self.index.remove(&id);
                }
            }
            if let Err(error) = std::fs::remove_file(&gone.path) {
                tracing::warn!(%error, "a segment of captures cannot be deleted");
            }
        }
    }

    /// The picture of a call; `None`: there is none, or it is damaged.
    pub fn get(&mut self, id: u128) -> Option<Picture> {
        let place = *self.index.get(&id)?;
        let segment = self.segments.iter().find(|s| s.number == place.segment)?;
        match read_at(&segment.path, place.at) {
            Ok(picture) => Some(picture),
            Err(error) => {
                self.damaged += 1;
                tracing::warn!(%error, "a kept capture cannot be read");
                None
            }
        }
    }

    /// Whether there is a picture of a call.
    pub fn has(&self, id: u128) -> bool {
        self.index.contains_key(&id)
    }

    /// How many calls have a picture, and the bytes of all segments.
    pub fn held(&self) -> (usize, u64) {
        (self.index.len(), self.segments.iter().map(|s| s.bytes).sum())
    }
}

impl Header {
    fn read(bytes: &[u8; HEADER]) -> Option<Header> {
        let number = |from: usize| -> Option<u32> {
            Some(u32::from_le_bytes(bytes.get(from..from + 4)?.try_into().ok()?))
        };
        let length = usize::try_from(number(4)?).ok()?;
        let ids = usize::from(*bytes.get(20)?);
        let at = i64::from_le_bytes(bytes.get(12..20)?.try_into().ok()?);
        let fits = bytes.starts_with(MAGIC) && length <= LARGEST && ids * 16 <= length;
        fits.then_some(Header { length, crc: number(8)?, at: Wall::from_unix_ms(at), ids })
    }
}

fn read_at(path: &Path, at: u64) -> io::Result<Picture> {
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut head = [0; HEADER];
    file.read_exact(&mut head)?;
    let header = Header::read(&head).ok_or_else(|| damaged("its header is none"))?;
    let mut payload = vec![0; header.length];
    file.read_exact(&mut payload)?;
    if crc32c::crc32c(&payload) != header.crc {
        return Err(damaged("its checksum is another"));
    }
    let packed = payload.get(header.ids * 16..).unwrap_or_default();
    let json = zstd::bulk::decompress(packed, LARGEST)?;
    serde_json::from_slice(&json).map_err(io::Error::other)
}

fn name_of(path: &Path) -> Option<(i64, u64)> {
    let name = path.file_name()?.to_str()?.strip_prefix("captures-")?.strip_suffix(".seg")?;
    let (ms, n) = name.split_once('-')?;
    Some((ms.parse().ok()?, n.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Owner;

    fn picture(id: u128, text: &str) -> Picture {
        Picture {
            sip_call_id: text.to_owned(),
            owners: vec![
                Owner { id, customer: Some(1), inbound: false },
                Owner { id: id + 1_000, customer: None, inbound: true },
            ],
            over: true,
            begun: true,
            missing: 0,
            numbers_masked: true,
            lanes: Vec::new(),
            arrows: Vec::new(),
        }
    }

    fn shelf(dir: &Path) -> Shelf {
        Shelf { dir: dir.join("captures"), keep: Duration::from_secs(3_600), limit: 1 << 30 }
    }

    #[test]
    fn what_was_put_is_found_by_each_of_its_ids_also_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(shelf(dir.path())).unwrap();
        for n in 1..=3 {
            store.put(&picture(n, &format!("c{n}")), Wall(n as i64)).unwrap();
        }
        for mut store in [store, Store::open(shelf(dir.path())).unwrap()] {
            for n in 1..=3 {
                assert_eq!(store.get(n), Some(picture(n, &format!("c{n}"))));
                assert_eq!(store.get(n + 1_000).map(|p| p.sip_call_id), Some(format!("c{n}")));
            }
            assert_eq!((store.get(9), store.held().0, store.damaged), (None, 6, 0));
        }
    }

    /// A kill in the middle of a write, at each byte: what was whole before is there, and the next start goes on.
    #[test]
    fn a_torn_or_changed_record_is_left_out_and_those_before_it_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(shelf(dir.path())).unwrap();
        store.put(&picture(1, "first"), Wall(1)).unwrap();
        store.put(&picture(2, "second"), Wall(2)).unwrap();
        let path = store.segments[0].path.clone();
        let whole = std::fs::read(&path).unwrap();
        let first = whole.windows(4).rposition(|w| w == MAGIC).unwrap();
        for cut in first + 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut store = Store::open(shelf(dir.path())).unwrap();
            assert_eq!(
                (store.get(1).is_some(), store.get(2).is_some(), store.damaged),
                (true, false, 1),
                "{cut}"
            );
        }
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let mut store = Store::open(shelf(dir.path())).unwrap();
        assert_eq!((store.get(1).is_some(), store.get(2).is_some(), store.damaged), (true, false, 1));
        store.put(&picture(3, "third"), Wall(3)).unwrap();
        assert!(
            store.get(3).is_some() && store.segments.len() == 2,
            "a segment of another process is not written to"
        );
    }

    #[test]
    fn old_segments_and_too_many_bytes_go_from_the_oldest_on() {
        let dir = tempfile::tempdir().unwrap();
        let hour = 3_600_000_000;
        let mut store = Store::open(shelf(dir.path())).unwrap();
        for n in 1..=4_i64 {
            store.put(&picture(n as u128, "x"), Wall(n * hour)).unwrap();
            // The next record begins another segment.
            store.segments.back_mut().unwrap().bytes = SEGMENT_BYTES;
        }
        assert_eq!((store.segments.len(), store.get(1)), (2, None), "beyond an hour");
        store.shelf.limit = 2 * SEGMENT_BYTES;
        store.retire(Wall(4 * hour));
        assert_eq!((store.segments.len(), store.get(3), store.held().0), (1, None, 2));
        assert!(store.segments[0].path.exists());
        assert_eq!(std::fs::read_dir(dir.path().join("captures")).unwrap().count(), 1);
    }
}
