//! The policy snapshot: everything that a decision reads, immutable, under one id.
//!
//! Its sections are known by their content (SHA-256): the number plan, the directory, the prefix index. A change replaces
//! the sections that changed and shares the others, so that provisioning does not build the index again (PRODUCT §6).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::directory::Directory;
use crate::lcr::LcrIndex;
use crate::number_plan::NumberPlan;
use crate::route::Bindings;

/// Names a snapshot: the first 16 bytes of a hash over its sections' hashes; 32 hexadecimal digits as text.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId([u8; 16]);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
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
        s.collect_str(self)
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
    /// Of its content.
    pub id: SnapshotId,
    /// Customers, trunks, vendors, partitions.
    pub directory: Arc<Directory>,
    /// Rates.
    pub lcr: Arc<LcrIndex>,
    /// Numbers.
    pub number_plan: Arc<NumberPlan>,
    pub(crate) bindings: Bindings,
}

impl Snapshot {
    /// Puts sections together. Takes microseconds to milliseconds (a few lookups per trunk), however large the index.
    pub fn new(directory: Arc<Directory>, lcr: Arc<LcrIndex>, number_plan: Arc<NumberPlan>) -> Snapshot {
        let mut h = Sha256::new();
        h.update(b"warp-snapshot-1");
        for part in [directory.hash(), lcr.key(), number_plan.hash()] {
            h.update(part);
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
        }
    }

    /// A snapshot without anybody and anything: every call is refused.
    pub fn empty() -> Snapshot {
        Snapshot::new(Arc::new(Directory::empty()), Arc::new(LcrIndex::empty()), Arc::new(NumberPlan::seed()))
    }

    /// This one with another directory; the index is shared.
    pub fn with_directory(&self, directory: Arc<Directory>) -> Snapshot {
        Snapshot::new(directory, self.lcr.clone(), self.number_plan.clone())
    }

    /// This one with another index; the directory is shared.
    pub fn with_lcr(&self, lcr: Arc<LcrIndex>) -> Snapshot {
        Snapshot::new(self.directory.clone(), lcr, self.number_plan.clone())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("id", &self.id).field("lcr", &self.lcr).finish_non_exhaustive()
    }
}
