//! Where journals and topics write: the system's disk. Tests put one in its place that fails to order (F-DISK-01, F-DISK-02).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::EventsError;
use crate::segment::{self, Header};

/// A disk. The default is the system's; there is no other outside of tests.
#[derive(Clone, Default)]
pub struct Disk(Kind);

#[derive(Clone, Default)]
enum Kind {
    #[default]
    System,
    #[cfg(test)]
    Faulty(std::sync::Arc<crate::faults::Faults>),
    /// Writes and syncs fail while the switch is on.
    #[cfg(feature = "breaking-disk")]
    Breaking(std::sync::Arc<std::sync::atomic::AtomicBool>),
}

#[cfg(feature = "breaking-disk")]
fn broken(switch: &std::sync::atomic::AtomicBool) -> io::Result<()> {
    match switch.load(std::sync::atomic::Ordering::Acquire) {
        true => Err(io::Error::other("the disk is broken")),
        false => Ok(()),
    }
}

impl Disk {
    #[cfg(test)]
    pub(crate) fn faulty(faults: &std::sync::Arc<crate::faults::Faults>) -> Disk {
        Disk(Kind::Faulty(faults.clone()))
    }

    /// A disk that fails while the switch is on: for tests of other packages.
    #[cfg(feature = "breaking-disk")]
    pub fn breaking(switch: &std::sync::Arc<std::sync::atomic::AtomicBool>) -> Disk {
        Disk(Kind::Breaking(switch.clone()))
    }

    /// See [`segment::create`].
    pub(crate) fn create(&self, path: &Path, header: &Header, bytes: u64) -> Result<File, EventsError> {
        match &self.0 {
            Kind::System => segment::create(path, header, bytes),
            #[cfg(test)]
            Kind::Faulty(faults) => faults.create(path, header, bytes),
            #[cfg(feature = "breaking-disk")]
            Kind::Breaking(_) => segment::create(path, header, bytes),
        }
    }

    pub(crate) fn write_all_at(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        match &self.0 {
            Kind::System => file.write_all_at(bytes, position),
            #[cfg(test)]
            Kind::Faulty(faults) => faults.write_all_at(file, bytes, position),
            #[cfg(feature = "breaking-disk")]
            Kind::Breaking(switch) => {
                broken(switch)?;
                file.write_all_at(bytes, position)
            }
        }
    }

    pub(crate) fn sync_data(&self, file: &File) -> io::Result<()> {
        match &self.0 {
            Kind::System => file.sync_data(),
            #[cfg(test)]
            Kind::Faulty(faults) => faults.sync_data(file),
            #[cfg(feature = "breaking-disk")]
            Kind::Breaking(switch) => {
                broken(switch)?;
                file.sync_data()
            }
        }
    }
}
