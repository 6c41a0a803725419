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

    /// Makes a segment file; see [`segment::create`].
    pub(crate) fn create(&self, path: &Path, header: &Header, bytes: u64) -> Result<File, EventsError> {
        match &self.0 {
            Kind::System => segment::create(path, header, bytes),
            #[cfg(test)]
            Kind::Faulty(faults) => faults.create(path, header, bytes),
            #[cfg(feature = "breaking-disk")]
            Kind::Breaking(_) => segment::create(path, header, bytes),
        }
    }

    /// Puts a small file of this name in the place of the one before it: whole and durable, or the old one stays.
    pub(crate) fn replace(&self, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), EventsError> {
        let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
        let opened = File::options().read(true).write(true).create(true).truncate(true).open(&new);
        let written = opened.and_then(|file| {
            #[cfg(test)]
            if let Kind::Faulty(faults) = &self.0 {
                faults.made(&file);
            }
            self.write_all_at(&file, bytes, 0)?;
            self.sync_data(&file)
        });
        written.map_err(EventsError::io("write", &new))?;
        #[cfg(test)]
        self.step("replace");
        std::fs::rename(&new, &path).map_err(EventsError::io("rename", &path))?;
        segment::sync_dir(dir)?;
        #[cfg(test)]
        self.step("replaced");
        Ok(())
    }

    /// Deletes a file; one that is not there is deleted.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), EventsError> {
        #[cfg(test)]
        if let Kind::Faulty(faults) = &self.0 {
            faults.remove(path)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EventsError::io("remove", path)(error));
            }
            _ => {}
        }
        #[cfg(test)]
        self.step("removed");
        Ok(())
    }

    /// Tells the faulty disk of a place where a process may be killed.
    #[cfg(test)]
    fn step(&self, what: &'static str) {
        if let Kind::Faulty(faults) = &self.0 {
            faults.step(what);
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
