//! `run/` in the data folder: what other commands may know about the running process.
//!
//! `warp.pid` · `config.json` (values in force, secrets masked) · `reload.json` (outcome of the last reload) · `lock`.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// How long a process that was killed may take to give up what it had.
const DYING: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOKS: Duration = Duration::from_millis(5);

/// The folder `run/` of one data folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    dir: PathBuf,
}

/// The folder is this process's until this is dropped. Then its pid is gone too, so that nobody signals whoever has that number next.
#[derive(Debug)]
pub struct Taken {
    // Unlocked after the pid is gone.
    _lock: File,
    folder: RunFolder,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.folder.owner() == Some(process_id()) {
            let _ = std::fs::remove_file(self.folder.path("warp.pid"));
        }
    }
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

    /// Of a folder that has no configuration: the queue of the launch profile `smsc`.
    pub fn within(dir: &Path) -> Self {
        Self { dir: dir.join("run") }
    }

    /// Makes the data folder (mode 0700) and takes it for this process until what it gives is dropped. A process that is dying has it
    /// a moment longer: that is waited for, at most [`DYING`].
    /// Errors: another process has it, or it cannot be written.
    pub fn take(&self) -> io::Result<Taken> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let lock = File::options().create(true).truncate(false).write(true).open(self.dir.join("lock"))?;
        let until = Instant::now() + DYING;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let owner = self.owner();
                    if owner.is_some_and(is_dying) && Instant::now() < until {
                        std::thread::sleep(LOOKS);
                        continue;
                    }
                    let pid = owner.map_or_else(String::new, |pid| format!(" (process {pid})"));
                    let message = format!("in use by another warp{pid}");
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        // Its sockets may be closed after its lock: they are among the same descriptors.
        self.outlive(until);
        self.write("warp.pid", &std::process::id().to_string())?;
        Ok(Taken { _lock: lock, folder: self.clone() })
    }

    /// Waits until a dying process that had the folder has closed its sockets, at most [`DYING`]: whoever looks for free
    /// ports before that takes them for taken.
    pub fn wait_for_the_dying(&self) {
        self.outlive(Instant::now() + DYING);
    }

    fn outlive(&self, until: Instant) {
        if let Some(owner) = self.owner().filter(|pid| *pid != process_id()) {
            while is_dying(owner) && has_descriptors(owner) && Instant::now() < until {
                std::thread::sleep(LOOKS);
            }
        }
    }

    /// The process that took the folder last.
    fn owner(&self) -> Option<i32> {
        std::fs::read_to_string(self.dir.join("warp.pid")).ok()?.trim().parse().ok()
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
            Err(TryLockError::WouldBlock) => self.owner(),
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

fn process_id() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Whether a process has ended, is ending, or was told to by SIGKILL and has not begun to (proc(5)).
fn is_dying(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    // State and flags, counted after the command name, which may hold spaces and brackets.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next().unwrap_or("X");
    let flags: u64 = fields.nth(5).and_then(|flags| flags.parse().ok()).unwrap_or(0);
    const PF_EXITING: u64 = 4;
    if matches!(state, "Z" | "X" | "x") || flags & PF_EXITING != 0 {
        return true;
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    const SIGKILL: u64 = 1 << 8;
    let pending = |line: &str| {
        let mask = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    status.lines().filter_map(pending).any(|mask| mask & SIGKILL != 0)
}

/// Whether a dying process may have files and sockets still: one of its threads has not ended.
fn has_descriptors(pid: i32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    tasks.flatten().any(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_ascii_whitespace().next().map(str::to_owned));
        state.is_some_and(|state| !matches!(state.as_str(), "Z" | "X" | "x"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_proc_04_the_lock_of_a_dying_process_is_waited_for_and_that_of_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.data_dir = dir.path().join("data");
        let folder = RunFolder::of(&config);
        let lock = folder.take().unwrap();
        // A process that has ended and that nobody has waited for is what a dying one looks like from outside.
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(ended.id()).unwrap();
        // It is a dying one a moment before its descriptors are gone.
        while !is_dying(pid) || has_descriptors(pid) {
            std::thread::yield_now();
        }
        folder.write("warp.pid", &pid.to_string()).unwrap();
        let (waits, began) = std::sync::mpsc::channel();
        let other = folder.clone();
        let taking = std::thread::spawn(move || {
            waits.send(()).unwrap();
            other.take().map(|_| ())
        });
        began.recv().unwrap();
        drop(lock);
        assert!(taking.join().unwrap().is_ok());
        ended.wait().unwrap();
        assert!(is_dying(pid) && !is_dying(process_id()) && has_descriptors(process_id()));
    }

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
        assert!(!folder.path("warp.pid").exists(), "a pid of nobody is there");
        assert!(folder.take().is_ok());
    }
}
