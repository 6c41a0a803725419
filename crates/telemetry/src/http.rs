//! The ops listener: `GET /metrics` (OpenMetrics 1.0 for those who ask, else text 0.0.4), `/healthz` (the process turns), `/readyz` (it takes new work).
//!
//! Absent on purpose: anything with a customer's data; this listener is for the scrape network.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::health::Health;
use crate::metrics::{OPENMETRICS, Registry, TEXT, wants_openmetrics};

#[derive(Clone)]
struct Ops {
    registry: Registry,
    health: Health,
}

/// The three routes, to be served anywhere.
pub fn router(registry: Registry, health: Health) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Ops { registry, health })
}

/// Serves on `listener` (bound by the caller, so that a taken port is the caller's decision) until `stop` resolves.
/// Errors: the listener cannot be handed to the runtime.
pub async fn serve(
    listener: std::net::TcpListener,
    registry: Registry,
    health: Health,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    axum::serve(listener, router(registry, health)).with_graceful_shutdown(stop).await
}

/// Address of a bound listener; a convenience for banners.
pub fn addr(listener: &std::net::TcpListener) -> io::Result<SocketAddr> {
    listener.local_addr()
}

async fn metrics(State(ops): State<Ops>, headers: HeaderMap) -> impl IntoResponse {
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let (kind, text) = if wants_openmetrics(&accept.join(",")) {
        (OPENMETRICS, ops.registry.render_openmetrics())
    } else {
        (TEXT, ops.registry.render())
    };
    ([(header::CONTENT_TYPE, kind), (header::VARY, "Accept")], text)
}

async fn ready(State(ops): State<Ops>) -> impl IntoResponse {
    let now = ops.health.readiness();
    let status = if now.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{}\n", now.to_json()))
}
