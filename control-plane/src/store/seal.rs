//! Secrets at rest (G-7): what we must be able to read again, such as the password that we send to a vendor, is sealed before
//! it is written, so that a copy of the database or of its disk does not give it away.
//!
//! XChaCha20-Poly1305; the place of the value (table, column, row) is authenticated with it, so that a sealed value that is
//! moved to another row does not open. Form: version byte 1, nonce of 24 bytes, ciphertext with its tag of 16.
//!
//! The key is a file of its own, readable by its owner only: in the data folder, or where `api.seal_key` says. Without it the
//! sealed values are lost. All nodes of one deployment need the same key.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sqlx::Row;
use warp_model::Secret;

use super::snapshots::SECTION_GET;
use super::{Scope, Store, StoreError, sql};

/// Seals and opens. Cloning shares the key.
#[derive(Clone)]
pub struct Seal {
    key: Arc<Secret<[u8; KEY_BYTES]>>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(***)")
    }
}

/// Why a key cannot be used, or a value not be opened.
#[derive(Debug)]
pub enum SealError {
    /// The key file cannot be read or written.
    File(String, io::Error),
    /// The key file holds no key.
    Malformed(String),
    /// The database holds sealed values, and the key is not in its file.
    Lost(String),
    /// The value was sealed with another key, for another place, or is damaged.
    Closed,
    /// The database refused, or is away.
    Store(StoreError),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, e) => write!(f, "seal key {path}: {e}"),
            Self::Malformed(path) => write!(f, "seal key {path}: not the base64 text of {KEY_BYTES} bytes"),
            Self::Lost(path) => write!(
                f,
                "vendors' passwords are sealed with a key that is not in {path}: copy it from the node that made it, or name it \
                 by api.seal_key"
            ),
            Self::Closed => f.write_str("sealed with another key, for another place, or damaged"),
            Self::Store(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for SealError {}

impl From<StoreError> for SealError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl Seal {
    /// A key that is kept nowhere: for tests.
    pub fn ephemeral() -> Self {
        Self::new(random())
    }

    /// A seal with this key.
    pub fn new(key: [u8; KEY_BYTES]) -> Self {
        Self { key: Arc::new(Secret::new(key)) }
    }

    /// The key of this file; `None`: there is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>, SealError> {
        let name = || path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Secret::new(text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(SealError::File(name(), e)),
        };
        let bytes = STANDARD.decode(text.reveal().trim()).map(Secret::new);
        let key = bytes.ok().and_then(|b| <[u8; KEY_BYTES]>::try_from(b.reveal().as_slice()).ok());
        key.map(|key| Some(Self::new(key))).ok_or_else(|| SealError::Malformed(name()))
    }

    /// A new key in a new file that only its owner may read, on disk before this returns.
    fn make(path: &Path) -> Result<Self, SealError> {
        let failed = |e| SealError::File(path.display().to_string(), e);
        let seal = Self::ephemeral();
        let text = Secret::new(format!("{}\n", STANDARD.encode(seal.key.reveal())));
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(text.reveal().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        if let Some(dir) = path.parent().and_then(|dir| File::open(dir).ok()) {
            dir.sync_all().map_err(failed)?;
        }
        Ok(seal)
    }

    /// The key of this file, or a new one when there is no file and nothing that an old key was needed for.
    pub(crate) async fn open(path: &Path, store: &Store) -> Result<Self, SealError> {
        if let Some(seal) = Self::read(path)? {
            return Ok(seal);
        }
        let mut tx = store.begin(Scope::Operator("seal")).await?;
        let row = sqlx::query(sql::SEALED_COUNT).fetch_one(tx.db()).await.map_err(StoreError::from)?;
        let sealed: i64 = row.try_get(0).map_err(StoreError::from)?;
        if sealed > 0 {
            return Err(SealError::Lost(path.display().to_string()));
        }
        Self::make(path)
    }

    /// Seals a value for its place.
    pub fn seal(&self, place: &str, clear: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_BYTES] = random();
        let payload = Payload { msg: clear, aad: place.as_bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Closed)?;
        let mut out = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Opens a value of this place.
    pub fn unseal(&self, place: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::Closed)?;
        let (nonce, msg) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Closed)?;
        if *version != VERSION {
            return Err(SealError::Closed);
        }
        let payload = Payload { msg, aad: place.as_bytes() };
        let clear = self.cipher().decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Closed)?;
        Ok(Secret::new(clear))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key.reveal().into())
    }
}

/// Place of a vendor trunk's password.
pub(crate) fn password_place(vendor_trunk: &str) -> String {
    format!("vendor_trunks.auth_secret/{vendor_trunk}")
}

/// Place of a webhook's secret, the one before included.
pub(crate) fn webhook_place(webhook: &str) -> String {
    format!("webhooks.secret/{webhook}")
}

/// Place of a kept section of a snapshot.
pub(crate) fn section_place(sha256: &str) -> String {
    format!("snapshot_sections.content/{sha256}")
}

/// Seals what an earlier version wrote in clear: directories of kept snapshots. Done again it changes nothing.
pub(crate) async fn seal_what_is_clear(store: &Store) -> Result<(), SealError> {
    let seal = store.seal();
    let mut tx = store.begin(Scope::Operator("seal")).await?;
    tx.allow_long_statements().await?;
    let sections = sqlx::query(sql::CLEAR_SECTIONS).fetch_all(tx.db()).await.map_err(StoreError::from)?;
    for row in &sections {
        let sha256: String = row.try_get(0).map_err(StoreError::from)?;
        let found = sqlx::query(SECTION_GET).bind(&sha256).fetch_one(tx.db()).await;
        let content: Vec<u8> = found.and_then(|r| r.try_get(0)).map_err(StoreError::from)?;
        let sealed = seal.seal(&section_place(&sha256), &content)?;
        tx.run(sqlx::query(sql::SEAL_SECTION).bind(sha256).bind(sealed)).await?;
    }
    tx.commit().await?;
    if !sections.is_empty() {
        tracing::info!(sections = sections.len(), "sealed what was stored in clear");
    }
    Ok(())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(e) = getrandom::fill(&mut bytes) {
        // Without randomness nothing may be sealed; Linux never gets here after boot.
        tracing::error!(error = %e, "no randomness");
        std::process::abort();
    }
    bytes
}

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g_7_a_sealed_value_opens_with_its_key_in_its_place_only() {
        let seal = Seal::ephemeral();
        let one = seal.seal("a/1", b"hunter2").unwrap();
        assert_eq!(seal.unseal("a/1", &one).unwrap().reveal(), b"hunter2");
        assert!(!one.windows(7).any(|w| w == b"hunter2"));
        assert_ne!(one, seal.seal("a/1", b"hunter2").unwrap(), "never the same bytes twice");
        assert!(seal.unseal("a/2", &one).is_err(), "moved to another row");
        assert!(Seal::ephemeral().unseal("a/1", &one).is_err(), "another key");
        assert!(format!("{seal:?} {:?}", seal.unseal("a/1", &one)).find("hunter2").is_none());
        for at in 0..one.len() {
            let mut bent = one.clone();
            bent[at] ^= 1;
            assert!(seal.unseal("a/1", &bent).is_err(), "byte {at}");
            assert!(seal.unseal("a/1", &one[..at]).is_err(), "cut at {at}");
        }
        // The form is stored: XChaCha20-Poly1305 of the key of zeros, written by this version.
        let stored = STANDARD.decode(STORED).unwrap();
        assert_eq!(Seal::new([0; 32]).unseal("a/1", &stored).unwrap().reveal(), b"kept");
    }

    /// Made once with the key of zeros, so that a change of the form is seen.
    const STORED: &str = "ARhjQ/yEOLYoJ8jA4KPT2fKwXk2vySPY5dKWIohZB+gnhyQEjSEdvmUy2IA/";

    #[test]
    fn t_cfg_01_the_key_file_is_its_owners_only_and_a_broken_one_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        assert!(Seal::read(&path).unwrap().is_none());
        let made = Seal::make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = made.seal("p", b"x").unwrap();
        assert_eq!(Seal::read(&path).unwrap().unwrap().unseal("p", &sealed).unwrap().reveal(), b"x");
        assert!(Seal::make(&path).is_err(), "a key is never written over");
        std::fs::write(&path, "c2hvcnQ=").unwrap();
        let why = Seal::read(&path).unwrap_err().to_string();
        assert!(why.contains("seal.key") && !why.contains("c2hvcnQ"), "{why}");
    }
}
