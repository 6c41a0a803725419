//! The file format of journals and topics, version 1.
//!
//! A segment is a header of 64 bytes and frames. All integers are little-endian.
//!
//! | header | bytes | | frame | bytes |
//! |---|---|---|---|---|
//! | magic `WARPSEG1` | 0–7 | | crc32c of everything after it, salted with run, first and position | 0–3 |
//! | format version | 8–9 | | payload length | 4–7 |
//! | kind (1 journal, 2 topic) | 10 | | kind (never 0) | 8 |
//! | 0 | 11 | | 0 | 9–11 |
//! | shard | 12–15 | | stamp: ns of the run's monotonic clock (journal), µs of the wall clock (topic) | 12–19 |
//! | run id | 16–31 | | payload | 20– |
//! | number of the first record | 32–39 | | | |
//! | wall clock at creation, µs | 40–47 | | | |
//! | 0 | 48–59 | | | |
//! | crc32c of bytes 0–59 | 60–63 | | | |
//!
//! Files are preallocated with zeros: a frame header of zeros is the clean end. Because the checksum is salted with the
//! frame's position, bytes of another file or of another place never pass as a frame. After a damaged place the scan goes on
//! at the next whole frame, so one bad sector costs the records in it and no others (F-DISK-03).

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use warp_model::Wall;

use crate::error::EventsError;

/// Bytes of the file header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of a frame header.
pub const FRAME_BYTES: usize = 20;
/// Largest payload. A larger one is refused by the writer and never believed by a reader.
pub const PAYLOAD_BYTES: usize = 1 << 20;
/// Version of the format.
pub const VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"WARPSEG1";

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// Call journal of one shard.
    Journal,
    /// Records of one topic.
    Topic,
}

/// The header of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the file holds: a journal, or a topic.
    pub kind: SegmentKind,
    /// Shard that wrote it (journals).
    pub shard: u32,
    /// Process run that wrote it: stamps compare within one run only.
    pub run: u128,
    /// Number of its first record (topics), or of the file within its run (journals).
    pub first: u64,
    /// When it was made.
    pub created: Wall,
}

impl Header {
    /// The header as it stands in the file.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0u8; HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10] = match self.kind {
            SegmentKind::Journal => 1,
            SegmentKind::Topic => 2,
        };
        out[12..16].copy_from_slice(&self.shard.to_le_bytes());
        out[16..32].copy_from_slice(&self.run.to_le_bytes());
        out[32..40].copy_from_slice(&self.first.to_le_bytes());
        out[40..48].copy_from_slice(&self.created.0.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// From bytes. `Ok(None)`: not a whole header of ours (torn or foreign); `Err(version)`: ours, but of an unknown version.
    pub fn decode(bytes: &[u8]) -> Result<Option<Header>, u16> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        if &bytes[..8] != MAGIC || u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60]) {
            return Ok(None);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(version);
        }
        let kind = match bytes[10] {
            1 => SegmentKind::Journal,
            2 => SegmentKind::Topic,
            _ => return Ok(None),
        };
        let mut run = [0u8; 16];
        run.copy_from_slice(&bytes[16..32]);
        Ok(Some(Header {
            kind,
            shard: u32_at(bytes, 12),
            run: u128::from_le_bytes(run),
            first: u64_at(bytes, 32),
            created: Wall(u64_at(bytes, 40) as i64),
        }))
    }

    fn salt(&self) -> u32 {
        let crc = crc32c::crc32c(&self.run.to_le_bytes());
        crc32c::crc32c_append(crc, &self.first.to_le_bytes())
    }
}

/// One whole frame of a segment: its checksum was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where it begins in the file.
    pub position: u64,
    /// What the payload is; never 0.
    pub kind: u8,
    /// See the table above.
    pub stamp: u64,
    /// The bytes of the record.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Where the next frame begins.
    pub fn end(&self) -> u64 {
        self.position + (FRAME_BYTES + self.payload.len()) as u64
    }
}

/// Appends one frame for `position` to `out`.
/// Errors: [`EventsError::TooLarge`].
pub fn encode_frame(
    header: &Header,
    position: u64,
    kind: u8,
    stamp: u64,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EventsError> {
    let too_large = EventsError::TooLarge { bytes: payload.len() };
    if payload.len() > PAYLOAD_BYTES {
        return Err(too_large);
    }
    let len = u32::try_from(payload.len()).map_err(|_| too_large)?;
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&stamp.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = frame_crc(header.salt(), position, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

fn frame_crc(salt: u32, position: u64, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt, &position.to_le_bytes()), rest)
}

/// What a scan meets next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A whole record, with a right checksum.
    Frame(Frame<'a>),
    /// A damaged place: these bytes of the file are no record.
    Damaged(Range<u64>),
}

/// Walks the frames of a segment held in memory.
pub struct Scan<'a> {
    salt: u32,
    bytes: &'a [u8],
    /// Position in the file of `bytes[0]`.
    base: u64,
    at: usize,
}

impl<'a> Scan<'a> {
    /// Over a whole file: `bytes` begins with the header.
    pub fn new(header: &Header, bytes: &'a [u8]) -> Self {
        Self::from(header, bytes, 0, HEADER_BYTES)
    }

    /// Over a part of a file: `bytes[0]` lies at `base`, and a frame begins at `bytes[at]`.
    pub fn from(header: &Header, bytes: &'a [u8], base: u64, at: usize) -> Self {
        Self { salt: header.salt(), bytes, base, at }
    }

    /// Position in the file of what comes next.
    pub fn position(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next record when it is whole and stands right here; else `None`, and the scan stays where it is. For a file that
    /// is being written: what comes behind its last record is not looked at.
    pub fn next_frame(&mut self) -> Option<Frame<'a>> {
        let frame = self.frame_at(self.at)?;
        self.at += FRAME_BYTES + frame.payload.len();
        Some(frame)
    }

    fn frame_at(&self, at: usize) -> Option<Frame<'a>> {
        let rest = self.bytes.get(at..)?;
        let head = rest.first_chunk::<FRAME_BYTES>()?;
        let len = u32_at(head, 4) as usize;
        let kind = head[8];
        if kind == 0 || head[9..12] != [0, 0, 0] || len > PAYLOAD_BYTES {
            return None;
        }
        let whole = rest.get(..FRAME_BYTES + len)?;
        let position = self.base + at as u64;
        if u32_at(head, 0) != frame_crc(self.salt, position, &whole[4..]) {
            return None;
        }
        Some(Frame { position, kind, stamp: u64_at(head, 12), payload: &whole[FRAME_BYTES..] })
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if let Some(frame) = self.next_frame() {
            return Some(Item::Frame(frame));
        }
        let rest = self.bytes.get(self.at..)?;
        // Zeros to the end of what there is: the clean end.
        let used = rest.iter().rposition(|b| *b != 0)? + 1;
        let start = self.at;
        let end = start + used;
        let next = (start + 1..end).find(|at| self.frame_at(*at).is_some());
        self.at = next.unwrap_or(self.bytes.len());
        let range = self.base + start as u64..self.base + next.unwrap_or(end) as u64;
        Some(Item::Damaged(range))
    }
}

/// Whether a record may begin here that needs more bytes than these.
pub fn is_cut(bytes: &[u8]) -> bool {
    match bytes.first_chunk::<FRAME_BYTES>() {
        None => bytes.iter().any(|b| *b != 0),
        Some(head) => head[8] != 0 && u32_at(head, 4) as usize > bytes.len() - FRAME_BYTES,
    }
}

/// Reads the header and all bytes of a segment. `None` for a file without a whole header.
/// Errors: reading, or an unknown version.
pub fn read(path: &Path) -> Result<Option<(Header, Vec<u8>)>, EventsError> {
    let bytes = std::fs::read(path).map_err(EventsError::io("read", path))?;
    Ok(header_of(path, &bytes)?.map(|header| (header, bytes)))
}

fn header_of(path: &Path, bytes: &[u8]) -> Result<Option<Header>, EventsError> {
    Header::decode(bytes).map_err(|found| EventsError::Version { path: path.to_owned(), found })
}

/// Reads the header only.
pub fn read_header(path: &Path, file: &File) -> Result<Option<Header>, EventsError> {
    let mut bytes = [0u8; HEADER_BYTES];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => header_of(path, &bytes),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(EventsError::io("read", path)(error)),
    }
}

/// Makes a new file with real blocks for `bytes` and writes its header. A half-made file is removed.
/// Errors: [`EventsError::Full`] when the disk has no such space.
pub fn create(path: &Path, header: &Header, bytes: u64) -> Result<File, EventsError> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(EventsError::io("create", path))?;
    let filled = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)
        .or_else(|errno| match errno {
            // Some file systems cannot reserve: then the length only.
            rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS => Ok(()),
            other => Err(other),
        })
        .map_err(std::io::Error::from)
        .and_then(|()| file.set_len(bytes))
        .and_then(|()| file.write_all_at(&header.encode(), 0));
    match filled {
        Ok(()) => Ok(file),
        Err(error) => {
            let _ = std::fs::remove_file(path);
            Err(EventsError::io("allocate", path)(error))
        }
    }
}

/// Makes the names in a folder durable.
pub fn sync_dir(dir: &Path) -> Result<(), EventsError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(EventsError::io("sync", dir))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Reads from a place of a file on until the buffer is full or the file is over; gives how much.
pub(crate) fn read_at_most(file: &File, bytes: &mut [u8], position: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            kind: SegmentKind::Journal,
            shard: 3,
            run: 0x1234_5678_9abc,
            first: 7,
            created: Wall(1_700_000_000_000_000),
        }
    }

    fn segment(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<u64>) {
        let header = header();
        let mut bytes = header.encode().to_vec();
        let mut ends = Vec::new();
        for (i, payload) in payloads.iter().enumerate() {
            let position = bytes.len() as u64;
            encode_frame(&header, position, 2, i as u64, payload, &mut bytes).unwrap();
            ends.push(bytes.len() as u64);
        }
        (bytes, ends)
    }

    fn frames(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        Scan::new(&header(), bytes)
            .filter_map(|item| match item {
                Item::Frame(f) => Some((f.stamp, f.payload.to_vec())),
                Item::Damaged(_) => None,
            })
            .collect()
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..12)
    }

    proptest! {
        #[test]
        fn f_disk_03_any_truncation_keeps_all_whole_records(payloads in payloads(), cut in any::<prop::sample::Index>(), zeros in 0usize..100) {
            let (mut bytes, ends) = segment(&payloads);
            let cut = HEADER_BYTES + cut.index(bytes.len() - HEADER_BYTES + 1);
            bytes.truncate(cut);
            bytes.resize(cut + zeros, 0);
            let whole = ends.iter().filter(|end| **end <= cut as u64).count();
            let seen = frames(&bytes);
            // A cut inside trailing zeros of a payload is invisible once zeros follow: then one more is whole.
            prop_assert!(seen.len() == whole || (zeros > 0 && seen.len() == whole + 1));
            for (i, (stamp, payload)) in seen.iter().enumerate() {
                prop_assert_eq!(*stamp, i as u64);
                prop_assert_eq!(payload, &payloads[i]);
            }
        }

        #[test]
        fn f_disk_03_one_damaged_byte_costs_one_record(payloads in payloads(), at in any::<prop::sample::Index>(), flip in 1u8..) {
            let (mut bytes, ends) = segment(&payloads);
            let at = HEADER_BYTES + at.index(bytes.len() - HEADER_BYTES);
            bytes[at] ^= flip;
            let hit = ends.iter().position(|end| (at as u64) < *end).unwrap();
            let mut wanted: Vec<_> = payloads.iter().cloned().enumerate().map(|(i, p)| (i as u64, p)).collect();
            wanted.remove(hit);
            prop_assert_eq!(frames(&bytes), wanted);
            prop_assert!(Scan::new(&header(), &bytes).any(|i| matches!(i, Item::Damaged(_))));
        }

        #[test]
        fn garbage_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Header::decode(&bytes);
            let mut file = header().encode().to_vec();
            file.extend_from_slice(&bytes);
            prop_assert!(Scan::new(&header(), &file).count() <= bytes.len() + 1);
        }
    }

    #[test]
    fn headers_round_trip_and_versions_are_checked() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Ok(Some(header())));
        let mut newer = bytes;
        newer[8] = 9;
        assert_eq!(Header::decode(&newer), Ok(None), "checksum first");
        let crc = crc32c::crc32c(&newer[..60]);
        newer[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Header::decode(&newer), Err(9));
        assert_eq!(Header::decode(&bytes[..63]), Ok(None));
    }

    #[test]
    fn frames_do_not_pass_at_another_place() {
        let (bytes, ends) = segment(&[b"first".to_vec(), b"second".to_vec()]);
        let mut moved = bytes[..HEADER_BYTES].to_vec();
        moved.extend_from_slice(&bytes[ends[0] as usize..]);
        assert!(frames(&moved).is_empty());
    }

    #[test]
    fn too_large_is_refused() {
        let mut out = Vec::new();
        let wrong = encode_frame(&header(), 64, 1, 0, &vec![0; PAYLOAD_BYTES + 1], &mut out);
        assert!(matches!(wrong, Err(EventsError::TooLarge { .. })));
        assert!(out.is_empty());
    }
}
