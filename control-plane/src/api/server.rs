//! The listener: accepts connections, bounds them, and hands requests to the router made from the endpoint table.
//!
//! Limits (`ref/threats-and-faults` §1): 16 KiB of head (431), [`crate::Edge::head_timeout`] to the end of the head (the connection is closed),
//! [`CONNECTIONS`] at once (more wait in the accept queue). An error on one connection ends that connection only.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::RawPathParams;
use axum::http::{HeaderMap, Method};
use axum::routing::{MethodFilter, get, on};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::edge::{self, Peer};
use super::endpoint::Endpoint;
use super::error::Code;
use super::framing::{Framing, Watched};
use crate::App;

/// Connections served at once.
pub const CONNECTIONS: usize = 1_024;
/// Time that running requests get when the program stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The router of all endpoints.
pub fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new();
    for endpoint in app.endpoints.iter() {
        let endpoint: Arc<Endpoint> = Arc::new(endpoint.clone());
        let metrics = app.metrics.endpoint(endpoint.path, &endpoint.method);
        let app = app.clone();
        let filter = filter(&endpoint.method);
        let path = endpoint.path;
        let handler =
            move |params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
                  request: axum::extract::Request| {
                edge::serve(app.clone(), endpoint.clone(), metrics.clone(), params.ok(), request)
            };
        router = router.route(path, on(filter, handler));
    }
    // The address itself, as it is printed at the start; `/` is the portals' door where they are.
    let printed: &[&str] = match app.config.consoles {
        Some(_) => &["/api/v1", "/api/v1/"],
        None => &["/", "/api/v1", "/api/v1/"],
    };
    for path in printed {
        let app = app.clone();
        router =
            router.route(path, get(move |headers: HeaderMap| async move { edge::index(&app, &headers) }));
    }
    let (missing, wrong) = (app.clone(), app.clone());
    let router = match &app.dev_issuer {
        Some(dev) => router.merge(dev.router()),
        None => router,
    };
    let router = match app.config.consoles {
        Some(consoles) => router.merge(consoles.router()),
        None => router,
    };
    router
        .fallback(move |headers: HeaderMap| {
            let app = missing.clone();
            async move { edge::refuse(&app, &headers, Code::NotFound, "there is no such path") }
        })
        .method_not_allowed_fallback(move |headers: HeaderMap| {
            let app = wrong.clone();
            async move { edge::refuse(&app, &headers, Code::MethodNotAllowed, "this path has no such method") }
        })
}

/// Accepts until `stop` turns true, then lets running requests end.
pub async fn run(listener: TcpListener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let router = router(&app);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            a = listener.accept() => a,
            () = stopped(&mut stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(a) => a,
            Err(e) => {
                // Out of descriptors, or the peer went away: never the end of the listener (F-NET-05).
                tracing::warn!(error = %e, "accept failed");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (router, tls) = (router.clone(), app.tls.as_ref().map(|t| t.acceptor()));
        let head_timeout = app.edge().head_timeout;
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let _slot = slot;
            let Some(tls) = tls else {
                serve_connection(stream, peer, head_timeout, router, &mut stop).await;
                return;
            };
            // Who says nothing holds no place.
            match tokio::time::timeout(head_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => serve_connection(stream, peer, head_timeout, router, &mut stop).await,
                Ok(Err(e)) => tracing::debug!(error = %e, "no TLS was agreed on"),
                Err(_) => tracing::debug!("no TLS within the time of a head"),
            }
        });
    }
    let everything = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(STOP_TIMEOUT, slots.acquire_many(everything)).await;
}

async fn serve_connection<S>(
    stream: S,
    peer: SocketAddr,
    head_timeout: Duration,
    router: Router,
    stop: &mut watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let peer = Peer(canonical(peer.ip()));
    let framing = Framing::default();
    let stream = Watched::new(stream, &framing);
    let service = router.layer(axum::Extension(peer)).layer(axum::Extension(framing));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(warp_model::limits::HTTP_HEADER_BYTES)
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(error = %e, "connection ended");
    }
}

/// Returns when the program stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

/// An IPv4 address that came over an IPv6 socket is the IPv4 address.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

fn filter(method: &Method) -> MethodFilter {
    match method.as_str() {
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        "PATCH" => MethodFilter::PATCH,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}
