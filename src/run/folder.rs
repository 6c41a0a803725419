//! `run/` in the data folder: what other commands may know about the running process.
//!
//! `warp.pid` · `config.json` (values in force, secrets masked) · `reload.json` (outcome of the last reload) · `lock`.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    dir: PathBuf,
}

/// Outcome of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Counts reloads of this process.
    pub number: u64,
    /// `key: old -> new`.
    pub changes: Vec<String>,
    /// `file:line:column: key: …`; when there are any, nothing was changed.
    pub errors: Vec<String>,
}

impl RunFolder {
    /// Of the node that this configuration describes.
    pub fn of(config: &Config) -> Self {
        Self { dir: config.node.data_dir.join("run") }
    }

    /// Makes the data folder (mode 0700) and takes it for this process until the file is dropped.
    /// Errors: another process has it, or it cannot be written.
    pub fn take(&self) -> io::Result<File> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let lock = File::options().create(true).truncate(false).write(true).open(self.dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = self.pid().map_or_else(String::new, |pid| format!(" (process {pid})"));
                let message = format!("{} is in use by another warp{pid}", self.data_dir().display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        self.write("warp.pid", &std::process::id().to_string())?;
        Ok(lock)
    }

    fn data_dir(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let new = self.dir.join(format!("{name}.new"));
        std::fs::write(&new, text)?;
        std::fs::rename(new, self.dir.join(name))
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The process that has the folder now.
    pub fn pid(&self) -> Option<i32> {
        let lock = File::options().write(true).open(self.dir.join("lock")).ok()?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                std::fs::read_to_string(self.dir.join("warp.pid")).ok()?.trim().parse().ok()
            }
            _ => None,
        }
    }

    /// Values in force in the running process.
    pub fn values(&self) -> Option<BTreeMap<String, String>> {
        self.pid()?;
        serde_json::from_str(&std::fs::read_to_string(self.dir.join("config.json")).ok()?).ok()
    }

    /// Outcome of the last reload.
    pub fn last_reload(&self) -> Option<Reload> {
        serde_json::from_str(&std::fs::read_to_string(self.dir.join("reload.json")).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_a_data_folder() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.data_dir = dir.path().join("data");
        let folder = RunFolder::of(&config);
        assert_eq!(folder.pid(), None);
        let lock = folder.take().unwrap();
        assert_eq!(folder.pid(), Some(std::process::id() as i32));
        let taken = folder.take().unwrap_err();
        assert!(taken.to_string().contains("in use by another warp"), "{taken}");
        drop(lock);
        assert_eq!(folder.pid(), None);
        assert!(folder.take().is_ok());
    }
}
