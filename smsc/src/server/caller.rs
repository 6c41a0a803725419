//! One call to a customer by HTTP: the name is looked up once, its addresses are judged, and the connection goes to one of those
//! (T-HOOK-01). No second look-up, no redirect, no connection that is used again. It is taken when the answer is 200 and its body is
//! `ACK/Jasmin`.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, version};
use warp_policy::Cidr;
use warp_policy::public::is_of_the_internet;

use super::web::Text;
use crate::config::Callbacks;
use crate::core::Call;

/// What a taken call is answered.
const TAKEN: &[u8] = b"ACK/Jasmin";
/// Bytes of an answer that are read.
const ANSWER: usize = 512;
/// Addresses of one name that are tried.
const ADDRESSES: usize = 2;

pub(super) struct Caller {
    networks: Vec<Cidr>,
    time: Duration,
    tls: TlsConnector,
}

impl Caller {
    pub(super) fn new(config: &Callbacks) -> Caller {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            // The provider has both versions.
            .unwrap_or_else(|_| ClientConfig::builder());
        let tls = builder.with_root_certificates(roots).with_no_client_auth();
        Caller {
            networks: config.networks.clone(),
            time: config.time,
            tls: TlsConnector::from(Arc::new(tls)),
        }
    }

    /// Makes the call. `false`: it was not taken, whyever.
    pub(super) async fn call(&self, call: &Call) -> bool {
        match tokio::time::timeout(self.time, self.called(call)).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(why)) => {
                tracing::debug!(why, "a call to a customer failed");
                false
            }
            Err(_) => false,
        }
    }

    async fn called(&self, call: &Call) -> Result<bool, &'static str> {
        let (url, body) = if call.post {
            (call.url.clone(), call.form.clone())
        } else {
            let joint = if call.url.contains('?') { '&' } else { '?' };
            (format!("{}{joint}{}", call.url, call.form), String::new())
        };
        let uri: Uri = url.parse().map_err(|_| "the URL is none")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("the URL is neither http nor https"),
        };
        let authority = uri.authority().ok_or("the URL has no host")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let addresses = self.addresses(host, port).await?;
        let mut request = Request::new(Text(Some(Bytes::from(body))));
        *request.method_mut() = if call.post { hyper::Method::POST } else { hyper::Method::GET };
        *request.uri_mut() = uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .parse()
            .map_err(|_| "the path of the URL is none")?;
        let agent = concat!("warp/", env!("CARGO_PKG_VERSION"));
        let host_value = authority.as_str().rsplit('@').next().unwrap_or_default();
        for (name, value) in [
            (HOST, host_value),
            (USER_AGENT, agent),
            (ACCEPT, "text/plain"),
            (CONTENT_TYPE, "application/x-www-form-urlencoded"),
        ] {
            request.headers_mut().insert(name, value.parse().map_err(|_| "the host is none")?);
        }
        let stream = connect(&addresses).await?;
        if !tls {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| "the host has no name for TLS")?;
        let stream = self.tls.connect(name, stream).await.map_err(|_| "TLS was not agreed on")?;
        exchange(stream, request).await
    }

    /// The addresses of a host, each of them allowed: a name that has one that is not is refused as a whole.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, &'static str> {
        let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => {
                tokio::net::lookup_host((host, port)).await.map_err(|_| "the host is not known")?.collect()
            }
        };
        let allowed = |at: &SocketAddr| {
            let ip = at.ip().to_canonical();
            is_of_the_internet(ip) || self.networks.iter().any(|n| n.contains(ip))
        };
        if found.is_empty() || !found.iter().all(allowed) {
            return Err("the host has an address that is not allowed");
        }
        Ok(found)
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, &'static str> {
    for address in addresses.iter().take(ADDRESSES) {
        if let Ok(stream) = TcpStream::connect(address).await {
            return Ok(stream);
        }
    }
    Err("nobody answers there")
}

/// The request and the beginning of its answer. The connection ends with it.
async fn exchange<S>(stream: S, request: Request<Text>) -> Result<bool, &'static str>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|_| "no HTTP is spoken there")?;
    let mut connection = pin!(connection);
    let mut answered = pin!(async {
        let response = sender.send_request(request).await.map_err(|_| "there is no answer")?;
        Ok(is_taken(response).await)
    });
    tokio::select! {
        biased;
        outcome = &mut answered => return outcome,
        _ = &mut connection => {}
    }
    // The connection has ended; what was read of the answer is there.
    answered.await
}

async fn is_taken(response: Response<Incoming>) -> bool {
    let status = response.status();
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER {
        let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        if let Ok(data) = frame.into_data() {
            let room = ANSWER.saturating_sub(bytes.len());
            bytes.extend(data.iter().take(room));
        }
    }
    status == StatusCode::OK && bytes.trim_ascii() == TAKEN
}
