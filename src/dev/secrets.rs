//! `secrets.toml` of a dev world (mode 0600): generated once per checkout, never fixed ones.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use toml::Value;

use crate::cli::Failure;

/// Its content; every change is written at once.
pub(crate) struct Secrets {
    path: std::path::PathBuf,
    table: toml::Table,
}

impl Secrets {
    /// Reads the file of `dir`, or begins an empty one.
    pub(super) fn open(dir: &Path) -> Self {
        let table = crate::cli::client::dev_secrets(dir).unwrap_or_default();
        Self { path: dir.join("secrets.toml"), table }
    }

    pub(crate) fn get(&self, section: &str, key: &str) -> Option<String> {
        self.table.get(section)?.get(key)?.as_str().map(str::to_owned)
    }

    pub(super) fn set(&mut self, section: &str, key: &str, value: &str) -> Result<(), Failure> {
        let section = self.table.entry(section).or_insert_with(|| Value::Table(toml::Table::new()));
        if let Value::Table(section) = section {
            section.insert(key.to_owned(), Value::String(value.to_owned()));
        }
        self.save().map_err(|e| Failure::new(format!("{}: {e}", self.path.display())))
    }

    /// The value, generated when it is not there yet.
    pub(super) fn password(&mut self, section: &str, key: &str) -> Result<String, Failure> {
        self.made(section, key, 16)
    }

    /// The same of as many characters as SMPP has room for (3.4 §4.1.1: a C-octet string of 9); clients cut what is longer.
    pub(super) fn smpp_password(&mut self, key: &str) -> Result<String, Failure> {
        self.made("smpp", key, 8)
    }

    fn made(&mut self, section: &str, key: &str, length: usize) -> Result<String, Failure> {
        if let Some(known) = self.get(section, key) {
            return Ok(known);
        }
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).map_err(|e| Failure::new(format!("no randomness: {e}")))?;
        let made: String =
            bytes.iter().take(length).map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect();
        self.set(section, key, &made)?;
        Ok(made)
    }

    fn save(&self) -> std::io::Result<()> {
        let new = self.path.with_extension("toml.new");
        let _ = std::fs::remove_file(&new);
        let mut file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(
            b"# Of this checkout's dev world; regenerated when deleted together with the folder.\n\n",
        )?;
        file.write_all(self.table.to_string().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_are_made_once_and_only_for_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let made = Secrets::open(dir.path()).password("sip", "demo1001").unwrap();
        assert_eq!(made.len(), 16);
        assert_eq!(Secrets::open(dir.path()).password("sip", "demo1001").unwrap(), made);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Secrets::open(other.path()).password("sip", "demo1001").unwrap(), made);
        let mode = std::fs::metadata(dir.path().join("secrets.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
