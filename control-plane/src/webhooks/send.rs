//! One delivery over HTTP: the name is looked up once, its addresses are judged, and the connection goes to one of those (T-HOOK-01).
//! There is no second look-up, no redirect, no proxy of the environment and no connection that is used again. The answer has
//! [`ANSWER_TIME`] in all; of its body the first [`ANSWER_BYTES`] are read (T-HOOK-03).

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, version};
use warp_policy::Cidr;

use crate::destination::target::Target;

/// Time of a whole delivery.
pub const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How much of an answer is read and kept.
pub const ANSWER_BYTES: usize = 512;
/// Addresses of one name that are tried.
const ADDRESSES: usize = 2;

/// What a deployment says of where webhooks may lead.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Networks that are allowed besides public addresses; there also by http and on any port.
    pub networks: Vec<Cidr>,
    /// Certificates (PEM) that an endpoint's may come from besides the public ones.
    pub ca: Option<std::path::PathBuf>,
}

/// Looks names up: a function, so that a test says what a name leads to, and how often it was asked.
pub type Resolve = Arc<
    dyn Fn(String, u16) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>>
        + Send
        + Sync,
>;

/// Sends deliveries, each over a connection of its own.
#[derive(Clone)]
pub struct Sender {
    networks: Vec<Cidr>,
    tls: TlsConnector,
    resolve: Resolve,
}

/// What came of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The HTTP status; `None`: there was no answer.
    pub status: Option<u16>,
    /// The first bytes of the answer, as text.
    pub answer: String,
    /// Why there is no answer; empty when there is one.
    pub error: String,
    /// No further attempt can do better: a mail server says that of an address that is none.
    pub forever: bool,
}

impl Outcome {
    fn failed(error: impl Into<String>) -> Self {
        Self { error: error.into(), ..Self::default() }
    }

    /// The endpoint has taken it.
    pub fn is_good(&self) -> bool {
        self.status.is_some_and(|s| (200..300).contains(&s))
    }
}

impl Sender {
    /// With these settings. Errors: the certificates cannot be read; in words.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &settings.ca {
            own_roots(&mut roots, path).map_err(|why| format!("{}: {why}", path.display()))?;
        }
        Ok(Self::with(settings.networks.clone(), roots))
    }

    /// To public addresses, with public certificates.
    pub fn public() -> Self {
        Self::with(Vec::new(), RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }

    fn with(networks: Vec<Cidr>, roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12]);
        // The provider has both versions.
        let config = config.unwrap_or_else(|_| ClientConfig::builder());
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let resolve: Resolve = Arc::new(|host, port| {
            Box::pin(async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) })
        });
        Self { networks, tls: TlsConnector::from(Arc::new(config)), resolve }
    }

    /// The same with another way to look names up.
    #[must_use]
    pub fn resolving(self, resolve: Resolve) -> Self {
        Self { resolve, ..self }
    }

    /// The networks that are allowed besides public addresses.
    pub fn networks(&self) -> &[Cidr] {
        &self.networks
    }

    /// Sends a body with these headers. Never longer than [`ANSWER_TIME`].
    pub async fn send(&self, url: &str, headers: &[(&'static str, String)], body: &str) -> Outcome {
        match tokio::time::timeout(ANSWER_TIME, self.sent(url, headers, body)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => Outcome::failed(why),
            Err(_) => Outcome::failed(format!("no answer within {} s", ANSWER_TIME.as_secs())),
        }
    }

    async fn sent(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: &str,
    ) -> Result<Outcome, String> {
        let target = Target::parse(url).map_err(|e| e.to_string())?;
        let addresses = self.addresses(&target).await?;
        let mut request = Request::post(target.path.as_str())
            .header(HOST, target.authority.as_str())
            .header(USER_AGENT, concat!("warp/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(body.to_owned())).map_err(|e| e.to_string())?;
        let stream = connect(&addresses).await?;
        if !target.tls {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| "its host has no name for TLS")?;
        let stream = self.tls.connect(name, stream).await.map_err(|e| format!("TLS: {e}"))?;
        exchange(stream, request).await
    }

    /// The addresses of a target, each of them allowed: a name that has one that is not is refused as a whole.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, String> {
        let found = match target.host.parse() {
            Ok(ip) => vec![SocketAddr::new(ip, target.port)],
            Err(_) => {
                let found = (self.resolve)(target.host.clone(), target.port).await;
                found.map_err(|_| "its host is not known")?
            }
        };
        for address in &found {
            target.check_address(address.ip(), &self.networks).map_err(|e| e.to_string())?;
        }
        if found.is_empty() {
            return Err("its host has no address".to_owned());
        }
        Ok(found)
    }
}

fn own_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| e.to_string())? {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    }
    Ok(())
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut why = String::new();
    for address in addresses.iter().take(ADDRESSES) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => why = e.kind().to_string(),
        }
    }
    Err(why)
}

/// The request and the beginning of its answer. The connection ends with it.
async fn exchange<S>(stream: S, request: Request<Body>) -> Result<Outcome, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = hyper::client::conn::http1::Builder::new()
        .max_buf_size(warp_model::limits::HTTP_HEADER_BYTES)
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|e| e.to_string())?;
    let mut connection = pin!(connection);
    let mut answered = pin!(async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        Ok::<_, String>(read(response).await)
    });
    tokio::select! {
        biased;
        outcome = &mut answered => return outcome,
        _ = &mut connection => {}
    }
    // The connection has ended; what was read of the answer is there.
    answered.await
}

async fn read(response: Response<Incoming>) -> Outcome {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES {
        // A body that breaks off is as long as it is: the status was there.
        let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        if let Ok(data) = frame.into_data() {
            let room = ANSWER_BYTES.saturating_sub(bytes.len());
            bytes.extend(data.iter().take(room));
        }
    }
    let answer = String::from_utf8_lossy(&bytes).replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
    Outcome { status: Some(status), answer, ..Outcome::default() }
}
