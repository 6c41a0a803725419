//! The policy snapshot: everything that a decision reads, immutable, under one id.
//!
//! Its sections are known by their content (SHA-256): the number plan, the directory, the prefix index, pages of numbers. A change replaces
//! the sections that changed and shares the others, so that provisioning does not build the index again (PRODUCT §6).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use warp_model::hex;
use warp_model::text::ShortText;

use crate::bindings::Bindings;
use crate::directory::Directory;
use crate::lcr::LcrIndex;
use crate::number_plan::NumberPlan;
use crate::numbers::{NumberBook, Page};

/// Names a snapshot: the first 16 bytes of a hash over its sections' hashes; 32 hexadecimal digits as text.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId([u8; 16]);

impl SnapshotId {
    /// 32 hexadecimal digits.
    pub(crate) fn text(self) -> ShortText {
        let mut digits = [0; 32];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [hex::digit(byte >> 4), hex::digit(byte)];
        }
        let mut text = ShortText::default();
        text.push(&digits);
        text
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSnapshotId;

impl fmt::Display for BadSnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a snapshot id has 32 hexadecimal digits")
    }
}

impl std::error::Error for BadSnapshotId {}

impl FromStr for SnapshotId {
    type Err = BadSnapshotId;

    fn from_str(s: &str) -> Result<Self, BadSnapshotId> {
        let ok = s.len() == 32 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let raw = u128::from_str_radix(s, 16).map_err(|_| BadSnapshotId)?;
        if ok { Ok(SnapshotId(raw.to_be_bytes())) } else { Err(BadSnapshotId) }
    }
}

impl Serialize for SnapshotId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.text().as_str())
    }
}

impl<'de> Deserialize<'de> for SnapshotId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Everything that a decision reads.
pub struct Snapshot {
    /// The hash of the snapshot's content.
    pub id: SnapshotId,
    /// Customers, trunks, vendors, partitions.
    pub directory: Arc<Directory>,
    /// The index over the prices of all decks in force.
    pub lcr: Arc<LcrIndex>,
    /// The number plan that numbers are read by.
    pub number_plan: Arc<NumberPlan>,
    /// Whose our numbers are, and where their calls go.
    pub numbers: Arc<NumberBook>,
    pub(crate) bindings: Bindings,
}

impl Snapshot {
    /// Puts sections together. Takes microseconds to milliseconds (a few lookups per trunk), however large the index.
    pub fn new(directory: Arc<Directory>, lcr: Arc<LcrIndex>, number_plan: Arc<NumberPlan>) -> Snapshot {
        Snapshot::of(directory, lcr, number_plan, Arc::new(NumberBook::default()))
    }

    /// The same with a book of numbers. Without a number it is the snapshot that [`Snapshot::new`] makes.
    pub fn of(
        directory: Arc<Directory>,
        lcr: Arc<LcrIndex>,
        number_plan: Arc<NumberPlan>,
        numbers: Arc<NumberBook>,
    ) -> Snapshot {
        let mut h = Sha256::new();
        h.update(b"warp-snapshot-1");
        for part in [directory.hash(), lcr.key(), number_plan.hash()] {
            h.update(part);
        }
        for (page, content) in numbers.pages() {
            h.update([page]);
            h.update(content.key());
        }
        let full: [u8; 32] = h.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(full.first_chunk::<16>().unwrap_or(&[0; 16]));
        Snapshot {
            id: SnapshotId(id),
            bindings: Bindings::new(&directory, &lcr),
            directory,
            lcr,
            number_plan,
            numbers,
        }
    }

    /// A snapshot without anybody and anything: every call is refused.
    pub fn empty() -> Snapshot {
        Snapshot::new(Arc::new(Directory::empty()), Arc::new(LcrIndex::empty()), Arc::new(NumberPlan::seed()))
    }

    /// This one with another directory; the index is shared.
    pub fn with_directory(&self, directory: Arc<Directory>) -> Snapshot {
        Snapshot::of(directory, self.lcr.clone(), self.number_plan.clone(), self.numbers.clone())
    }

    /// This one with another index; the directory is shared.
    pub fn with_lcr(&self, lcr: Arc<LcrIndex>) -> Snapshot {
        Snapshot::of(self.directory.clone(), lcr, self.number_plan.clone(), self.numbers.clone())
    }

    /// This one with another book of numbers; all else is shared.
    pub fn with_numbers(&self, numbers: Arc<NumberBook>) -> Snapshot {
        Snapshot::of(self.directory.clone(), self.lcr.clone(), self.number_plan.clone(), numbers)
    }
}

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SectionKind {
    /// The [`NumberPlan`], as its text.
    NumberPlan,
    /// [`Directory`], as JSON of its rows.
    Directory,
    /// [`LcrIndex`], in its stored form.
    Lcr,
    /// One page of the [`NumberBook`], as JSON of its rows.
    Numbers {
        /// The number of the page.
        page: u8,
    },
}

/// One section of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// What the section holds.
    pub kind: SectionKind,
    /// Names the content: a node that has this key already does not fetch the bytes.
    pub key: String,
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// How many bytes the section has.
    pub len: u64,
}

/// What a snapshot is made of; a few hundred bytes that nodes poll for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this form: 1.
    pub version: u16,
    /// The id of the snapshot: the hash of its content.
    pub id: SnapshotId,
    /// The sections that it is made of, by content address.
    pub sections: Vec<Section>,
}

/// Why a snapshot cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A manifest of another version.
    Version(u16),
    /// The manifest lacks a section.
    Missing(SectionKind),
    /// The section's bytes were not found.
    NotFound(SectionKind),
    /// The bytes are not the ones that the manifest names.
    WrongBytes(SectionKind),
    /// The bytes cannot be read; in words.
    Unreadable(SectionKind, String),
    /// The parts are fine and make another snapshot than the manifest says.
    WrongId,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(v) => write!(f, "a manifest of version {v}"),
            Self::Missing(k) => write!(f, "the manifest has no section {k:?}"),
            Self::NotFound(k) => write!(f, "section {k:?} was not found"),
            Self::WrongBytes(k) => write!(f, "section {k:?} has another hash than the manifest says"),
            Self::Unreadable(k, e) => write!(f, "section {k:?}: {e}"),
            Self::WrongId => f.write_str("the sections make another snapshot than the manifest says"),
        }
    }
}

impl std::error::Error for LoadError {}

impl Snapshot {
    /// The manifest with the bytes of each section, in the manifest's order. The index is copied: tens to hundreds of MB.
    pub fn store(&self) -> (Manifest, Vec<Vec<u8>>) {
        let rows = serde_json::to_vec(self.directory.rows()).unwrap_or_default();
        let pages = self
            .numbers
            .pages()
            .map(|(page, content)| (SectionKind::Numbers { page }, content.key(), content.to_bytes()));
        let parts = [
            (SectionKind::NumberPlan, self.number_plan.hash(), self.number_plan.text().as_bytes().to_vec()),
            (SectionKind::Directory, self.directory.hash(), rows),
            (SectionKind::Lcr, self.lcr.key(), self.lcr.to_bytes()),
        ];
        let mut manifest = Manifest { version: 1, id: self.id, sections: Vec::new() };
        let mut bytes = Vec::new();
        for (kind, key, body) in parts.into_iter().chain(pages) {
            manifest.sections.push(Section {
                kind,
                key: hex::encode(&key),
                sha256: hex::encode(&Sha256::digest(&body)),
                len: body.len() as u64,
            });
            bytes.push(body);
        }
        (manifest, bytes)
    }

    /// Loads what a manifest names and checks all of it. Sections that `current` has already are shared, not fetched.
    pub fn load(
        manifest: &Manifest,
        current: Option<&Snapshot>,
        mut fetch: impl FnMut(&Section) -> Option<Vec<u8>>,
    ) -> Result<Snapshot, LoadError> {
        if manifest.version != 1 {
            return Err(LoadError::Version(manifest.version));
        }
        let section = |kind: SectionKind| {
            manifest.sections.iter().find(|s| s.kind == kind).ok_or(LoadError::Missing(kind))
        };
        let mut bytes = |s: &Section| {
            let body = fetch(s).ok_or(LoadError::NotFound(s.kind))?;
            if body.len() as u64 != s.len || hex::encode(&Sha256::digest(&body)) != s.sha256 {
                return Err(LoadError::WrongBytes(s.kind));
            }
            Ok(body)
        };
        let unreadable = |kind, e: &dyn fmt::Display| LoadError::Unreadable(kind, e.to_string());

        let kind = SectionKind::NumberPlan;
        let s = section(kind)?;
        let number_plan = match current.filter(|c| hex::encode(&c.number_plan.hash()) == s.key) {
            Some(c) => c.number_plan.clone(),
            None => {
                let text = String::from_utf8(bytes(s)?).map_err(|e| unreadable(kind, &e))?;
                Arc::new(NumberPlan::parse(&text).map_err(|e| unreadable(kind, &e))?)
            }
        };
        let kind = SectionKind::Directory;
        let s = section(kind)?;
        let directory = match current.filter(|c| hex::encode(&c.directory.hash()) == s.key) {
            Some(c) => c.directory.clone(),
            None => {
                let rows: crate::directory::DirectoryBuilder =
                    serde_json::from_slice(&bytes(s)?).map_err(|e| unreadable(kind, &e))?;
                let built = rows.build().map_err(|errors| {
                    let first = errors.first().map(ToString::to_string).unwrap_or_default();
                    unreadable(kind, &first)
                })?;
                Arc::new(built)
            }
        };
        let kind = SectionKind::Lcr;
        let s = section(kind)?;
        let lcr = match current.filter(|c| hex::encode(&c.lcr.key()) == s.key) {
            Some(c) => c.lcr.clone(),
            None => Arc::new(LcrIndex::from_bytes(&bytes(s)?).map_err(|e| unreadable(kind, &e))?),
        };
        let mut numbers = NumberBook::default();
        for s in &manifest.sections {
            let SectionKind::Numbers { page } = s.kind else { continue };
            let known = current.and_then(|c| c.numbers.page(page)).filter(|p| hex::encode(&p.key()) == s.key);
            let content = match known {
                Some(known) => known.clone(),
                None => Arc::new(Page::from_bytes(page, &bytes(s)?).map_err(|e| unreadable(s.kind, &e))?),
            };
            numbers.put(page, content);
        }
        let snapshot = Snapshot::of(directory, lcr, number_plan, Arc::new(numbers));
        if snapshot.id == manifest.id { Ok(snapshot) } else { Err(LoadError::WrongId) }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("id", &self.id).field("lcr", &self.lcr).finish_non_exhaustive()
    }
}
