//! TLS 1.2 and 1.3 over bytes (rustls): a session takes what a socket brought and gives what it shall send; certificates from files of PEM,
//! read again when they have changed. No socket here: [`crate::tcp`] has it.

use std::fmt;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection, version,
};
use warp_model::sync::lock;

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead to its root, in this order.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// Roots that peers we connect to are trusted by; `None`: those of web browsers.
    pub roots: Option<PathBuf>,
}

/// Why a certificate cannot be used, or a session ended: which file, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(pub String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// A certificate that is in use. Sessions that have begun keep the one they began with.
pub struct Tls {
    files: TlsFiles,
    now: Mutex<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// When the files were changed last, as far as their folder says.
    changed: [Option<SystemTime>; 3],
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. Errors: one cannot be read, or the key is not that of the certificate.
    pub fn open(files: TlsFiles) -> Result<Tls, TlsError> {
        let now = Mutex::new(load(&files)?);
        Ok(Tls { files, now })
    }

    /// Reads the files again when they have changed; whether they had. Errors: as [`Tls::open`], and the old certificate stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        if lock(&self.now).changed == changed(&self.files) {
            return Ok(false);
        }
        let loaded = load(&self.files)?;
        *lock(&self.now) = loaded;
        Ok(true)
    }

    /// Our side of a connection that was accepted.
    pub fn accept(&self) -> Result<TlsSession, TlsError> {
        let config = Arc::clone(&lock(&self.now).server);
        ServerConnection::new(config).map(|c| TlsSession::of(c.into())).map_err(|e| TlsError(e.to_string()))
    }

    /// Our side of a connection that we open; the peer's certificate must name this address.
    pub fn connect(&self, peer: IpAddr) -> Result<TlsSession, TlsError> {
        let config = Arc::clone(&lock(&self.now).client);
        let name = ServerName::IpAddress(peer.to_canonical().into());
        ClientConnection::new(config, name)
            .map(|c| TlsSession::of(c.into()))
            .map_err(|e| TlsError(e.to_string()))
    }

    /// The same where the peer was found by a host name: its certificate must have that name, and is asked for by it (SNI).
    /// Errors: it is no host name.
    pub fn connect_to(&self, host: &str) -> Result<TlsSession, TlsError> {
        let config = Arc::clone(&lock(&self.now).client);
        TlsClient(config).connect(host)
    }
}

/// What is needed to open connections alone: whom to trust. We show no certificate.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

impl TlsClient {
    /// Trusts the roots of this file; `None`: those of web browsers. Errors: it cannot be read, or has no certificate.
    pub fn open(roots: Option<&Path>) -> Result<TlsClient, TlsError> {
        client(roots).map(|config| TlsClient(Arc::new(config)))
    }

    /// Our side of a connection that we open; the peer's certificate must have this name: a host name or an address.
    /// Errors: it is neither.
    pub fn connect(&self, name: &str) -> Result<TlsSession, TlsError> {
        let wrong = |why: &dyn fmt::Display| TlsError(format!("{name}: {why}"));
        let server = ServerName::try_from(name.to_owned()).map_err(|e| wrong(&e))?;
        ClientConnection::new(Arc::clone(&self.0), server)
            .map(|c| TlsSession::of(c.into()))
            .map_err(|e| wrong(&e))
    }
}

fn client(roots: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut store = RootCertStore::empty();
    match roots {
        None => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            for root in certificates(path)? {
                store.add(root).map_err(|e| TlsError(format!("{}: {e}", path.display())))?;
            }
        }
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|e| TlsError(e.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth())
}

fn changed(files: &TlsFiles) -> [Option<SystemTime>; 3] {
    let at = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    [at(&files.certificate), at(&files.key), files.roots.as_deref().and_then(at)]
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let of = |why: &dyn fmt::Display| TlsError(format!("{}: {why}", path.display()));
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all: Vec<CertificateDer<'static>> = all.map_err(|e| of(&e))?;
    if all.is_empty() { Err(of(&"has no certificate")) } else { Ok(all) }
}

fn load(files: &TlsFiles) -> Result<Loaded, TlsError> {
    // Before the reading: a change in between is seen by the next look.
    let changed = changed(files);
    let of = |path: &Path, why: &dyn fmt::Display| TlsError(format!("{}: {why}", path.display()));
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| of(&files.key, &e))?;
    let versions = [&version::TLS13, &version::TLS12];
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|e| of(&files.certificate, &e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| of(&files.certificate, &e))?;
    let client = client(files.roots.as_deref())?;
    Ok(Loaded { server: Arc::new(server), client: Arc::new(client), changed })
}

/// One side of a TLS connection, as bytes in and bytes out.
pub struct TlsSession {
    inner: Connection,
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSession")
    }
}

impl TlsSession {
    fn of(mut inner: Connection) -> TlsSession {
        // What waits is bounded where it is written: the limit of the connection's own buffer.
        inner.set_buffer_limit(None);
        TlsSession { inner }
    }

    /// Whether nothing can be received yet.
    pub fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    /// Takes bytes of the socket; what they say is appended to `plain`. True: the peer ended its side in order.
    /// Errors: not TLS, or broken; what [`TlsSession::take_output`] then gives tells the peer why.
    pub fn receive(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<bool, TlsError> {
        let mut closed = false;
        while !bytes.is_empty() && !closed {
            let read = self.inner.read_tls(&mut bytes).map_err(|e| TlsError(e.to_string()))?;
            let state = self.inner.process_new_packets().map_err(|e| TlsError(e.to_string()))?;
            let waiting = state.plaintext_bytes_to_read();
            let from = plain.len();
            plain.resize(from.saturating_add(waiting), 0);
            if let Some(to) = plain.get_mut(from..) {
                self.inner.reader().read_exact(to).map_err(|e| TlsError(e.to_string()))?;
            }
            closed = state.peer_has_closed();
            if read == 0 && waiting == 0 {
                break;
            }
        }
        Ok(closed)
    }

    /// Takes bytes for the peer; they go out encrypted, after the handshake.
    pub fn send(&mut self, plain: &[u8]) {
        // Into memory: it takes all.
        let _ = self.inner.writer().write_all(plain);
    }

    /// Says that nothing more is sent.
    pub fn close(&mut self) {
        self.inner.send_close_notify();
    }

    /// Appends what the socket shall send.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        while self.inner.wants_write() {
            if self.inner.write_tls(out).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> TlsFiles {
        let files = TlsFiles {
            certificate: dir.join("cert.pem"),
            key: dir.join("key.pem"),
            roots: Some(dir.join("cert.pem")),
        };
        write(&files);
        files
    }

    fn write(files: &TlsFiles) {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    /// Carries bytes both ways until neither side has any; what each has read.
    fn run(a: &mut TlsSession, b: &mut TlsSession) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
        let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
        loop {
            let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
            a.take_output(&mut from_a);
            b.take_output(&mut from_b);
            if from_a.is_empty() && from_b.is_empty() {
                return Ok((to_a, to_b));
            }
            b.receive(&from_a, &mut to_b)?;
            a.receive(&from_b, &mut to_a)?;
        }
    }

    #[test]
    fn both_sides_agree_and_speak_even_before_the_handshake_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let tls = Tls::open(files(dir.path())).unwrap();
        let (mut client, mut server) =
            (tls.connect("127.0.0.1".parse().unwrap()).unwrap(), tls.accept().unwrap());
        let long = vec![b'x'; 200_000];
        client.send(&long);
        assert!(client.is_handshaking());
        let (_, got) = run(&mut client, &mut server).unwrap();
        assert!(got == long && !server.is_handshaking());
        server.send(b"pong");
        assert_eq!(run(&mut client, &mut server).unwrap().0, b"pong");
        client.close();
        let mut bytes = Vec::new();
        client.take_output(&mut bytes);
        assert_eq!(server.receive(&bytes, &mut Vec::new()), Ok(true));
    }

    #[test]
    fn who_opens_connections_alone_trusts_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let tls = Tls::open(files.clone()).unwrap();
        let ours = TlsClient::open(files.roots.as_deref()).unwrap();
        let (mut client, mut server) = (ours.connect("127.0.0.1").unwrap(), tls.accept().unwrap());
        client.send(b"ping");
        assert_eq!(run(&mut client, &mut server).unwrap().1, b"ping");
        let (mut client, mut server) = (ours.connect("smpp.example").unwrap(), tls.accept().unwrap());
        assert!(run(&mut client, &mut server).is_err(), "another name");
        assert!(ours.connect("no name").is_err() && TlsClient::open(Some(dir.path())).is_err());
        let browsers = TlsClient::open(None).unwrap();
        let (mut client, mut server) = (browsers.connect("127.0.0.1").unwrap(), tls.accept().unwrap());
        assert!(run(&mut client, &mut server).is_err(), "nobody that it trusts has signed it");
    }

    #[test]
    fn a_peer_of_another_name_or_without_tls_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tls = Tls::open(files(dir.path())).unwrap();
        let (mut client, mut server) =
            (tls.connect("127.0.0.2".parse().unwrap()).unwrap(), tls.accept().unwrap());
        assert!(run(&mut client, &mut server).is_err());
        let mut server = tls.accept().unwrap();
        assert!(server.receive(b"OPTIONS sip:x SIP/2.0\r\n\r\n", &mut Vec::new()).is_err());
    }

    #[test]
    fn a_changed_certificate_is_for_new_sessions_and_a_broken_one_for_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let tls = Tls::open(files.clone()).unwrap();
        let (mut client, mut server) =
            (tls.connect("127.0.0.1".parse().unwrap()).unwrap(), tls.accept().unwrap());
        run(&mut client, &mut server).unwrap();
        assert_eq!(tls.reload(), Ok(false));
        let touch = |path: &Path, seconds| {
            let at = SystemTime::now() + std::time::Duration::from_secs(seconds);
            std::fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
        };
        let mut old = tls.connect("127.0.0.1".parse().unwrap()).unwrap();
        write(&files);
        touch(&files.certificate, 10);
        assert_eq!(tls.reload(), Ok(true));
        let mut server_new = tls.accept().unwrap();
        assert!(run(&mut old, &mut server_new).is_err(), "who trusts the old one alone sees another");
        client.send(b"still here");
        assert_eq!(run(&mut client, &mut server).unwrap().1, b"still here");
        std::fs::write(&files.key, "no key").unwrap();
        touch(&files.key, 20);
        assert!(tls.reload().is_err());
        assert!(tls.accept().is_ok(), "the former one stays");
    }
}
