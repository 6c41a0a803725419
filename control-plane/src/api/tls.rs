//! TLS of the API: a certificate chain and its key, in two files of PEM. They are read at the start, and again when they have changed:
//! connections that begin after it get the new certificate. A change that cannot be read leaves the old one in place, with a warning.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, version};

/// How often the files are looked at.
pub const LOOKS: Duration = Duration::from_secs(60);

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead to its root, in this order.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
}

/// Why a certificate cannot be used: which file, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(pub String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// A certificate that is in use.
pub struct Tls {
    files: TlsFiles,
    now: ArcSwap<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    /// When the files were changed last, as far as their folder says.
    changed: [Option<SystemTime>; 2],
}

impl Tls {
    /// Reads the files. Errors: one cannot be read, or the key is not that of the certificate.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let now = ArcSwap::from_pointee(load(&files)?);
        Ok(Self { files, now })
    }

    /// What the next connection is taken with.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.now.load().config.clone())
    }

    /// Reads the files again when they have changed; whether they had. Errors: as [`Tls::open`], and the old certificate stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        if self.now.load().changed == changed(&self.files) {
            return Ok(false);
        }
        self.now.store(Arc::new(load(&self.files)?));
        Ok(true)
    }
}

fn changed(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    let at = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    [at(&files.certificate), at(&files.key)]
}

fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    // Before the reading: a change in between is seen by the next look.
    let changed = changed(files);
    let of = |path: &Path, why: &dyn fmt::Display| TlsError(format!("{}: {why}", path.display()));
    let chain =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain: Vec<CertificateDer<'static>> = chain.map_err(|e| of(&files.certificate, &e))?;
    if chain.is_empty() {
        return Err(of(&files.certificate, &"has no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| of(&files.key, &e))?;
    let versions = [&version::TLS13, &version::TLS12];
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&versions)
        .map_err(|e| of(&files.certificate, &e))?;
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|e| of(&files.certificate, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Loaded { config: Arc::new(config), changed })
}
