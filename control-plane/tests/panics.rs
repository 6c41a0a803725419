//! A handler that panics, and a client that leaves, cost their own request (G-1).

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::Method;
use common::{eventually, raw, with_database};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use warp_control_plane::api::endpoint::{Access, Answer, Request, endpoint};
use warp_control_plane::api::server;
use warp_control_plane::{App, Config, Database};
use warp_policy::Snapshot;
use warp_telemetry::metrics::Registry;

async fn panics(_: Arc<App>, _: Request) -> Answer {
    panic!("meant")
}

async fn waits(_: Arc<App>, _: Request) -> Answer {
    std::future::pending().await
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").into_bytes()
}

#[test]
fn g_1_a_panic_and_a_client_that_leaves_cost_their_own_request() {
    with_database(|store| async move {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let registry = Registry::new();
        let (publisher, _) = warp_feed::channel(Snapshot::empty());
        let config = Config::new(Database::Private { dir: PathBuf::new() }, any);
        let mut app = App::new(store, config, &registry, publisher, None);
        app.endpoints.extend([
            endpoint(Method::GET, "/api/v1/panics", Access::Public, "Panics.", panics),
            endpoint(Method::GET, "/api/v1/waits", Access::Public, "Waits for ever.", waits),
        ]);
        let listener = tokio::net::TcpListener::bind(any).await.unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let server = tokio::spawn(server::run(listener, Arc::new(app), stopping));
        let is = |line: &'static str| {
            let registry = registry.clone();
            eventually(line, move || {
                let found = registry.render().lines().any(|l| l == line);
                async move { found.then_some(()) }
            })
        };

        let failed = raw(at, &get("/api/v1/panics")).await;
        assert_eq!((failed.status, failed.code().as_str()), (500, "internal"), "{}", failed.body);
        assert!(!failed.body.contains("meant"), "{}", failed.body);
        is("warp_http_panics_total 1").await;
        is("warp_http_in_flight 0").await;
        // The next one is served, and one that nobody waits for any more is in flight no longer.
        let mut client = tokio::net::TcpStream::connect(at).await.unwrap();
        client.write_all(&get("/api/v1/waits")).await.unwrap();
        is("warp_http_in_flight 1").await;
        drop(client);
        is("warp_http_in_flight 0").await;
        assert_eq!(raw(at, &get("/api/v1/panics")).await.status, 500);
        stop.send_replace(true);
        server.await.unwrap();
    });
}
