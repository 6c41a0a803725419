//! Documentation pages, the OpenAPI files, and health.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::http::Method;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use super::error::Code;
use super::openapi;
use crate::App;
use crate::app::permission::Permission;

/// Health of the API.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = Health)]
struct HealthView {
    /// `ok`, or `degraded` while the database is away. Calls go on meanwhile.
    status: &'static str,
    /// Whether the database answers.
    database: bool,
    /// The policy snapshot that calls are decided from.
    snapshot_id: String,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let public = Access::Public;
    vec![
        endpoint(Method::GET, "/api/v1/health", public, "Health of the API", health).gives::<HealthView>(200),
        endpoint(Method::GET, "/api/v1/openapi.json", public, "OpenAPI of the customer API", customer)
            .raw("application/json"),
        endpoint(
            Method::GET,
            "/api/v1/admin/openapi.json",
            Access::Scope(Audience::Operator, Permission::DocsRead),
            "OpenAPI of the operator API",
            operator,
        )
        .raw("application/json"),
        endpoint(Method::GET, "/api/docs", public, "Documentation for people", page)
            .raw("text/html; charset=utf-8"),
        endpoint(Method::GET, "/api/docs/errors", public, "Error codes for people", errors)
            .raw("text/html; charset=utf-8"),
    ]
}

/// Somewhere that the index of the API leads to.
#[derive(serde::Serialize)]
struct Link {
    /// The path on this server.
    href: &'static str,
    /// What is there, in a sentence.
    what: &'static str,
}

/// What stands at the address of the API itself: where things are, and how one comes in.
#[derive(serde::Serialize)]
struct Index {
    name: &'static str,
    sign_in: &'static str,
    links: Vec<Link>,
}

/// Who opens the address that the program has printed finds his way. It is no endpoint: it has nothing of anybody's.
pub(super) fn index(app: &App) -> Answer {
    let link = |href, what| Link { href, what };
    let mut links = vec![
        link("/api/docs", "All paths of the customer API, for people."),
        link("/api/docs/errors", "What each error code means."),
        link("/api/v1/openapi.json", "The customer API as an OpenAPI file."),
        link("/api/v1/admin/openapi.json", "The operator API as an OpenAPI file, with an operator's key."),
        link("/api/v1/health", "Whether the API and its database work."),
    ];
    if app.config.consoles.is_some() {
        links.push(link("/console/", "The customers' console."));
        links.push(link("/admin/", "The operators' portal."));
    }
    let sign_in = "Send `Authorization: Bearer wk_…` with an API key.";
    Reply::ok(&Index { name: "WARP API", sign_in, links })
}

async fn health(app: Arc<App>, _: Request) -> Answer {
    let database = app.store.is_up().await;
    let snapshot_id = app.snapshot_id();
    Reply::ok(&HealthView { status: if database { "ok" } else { "degraded" }, database, snapshot_id })
}

async fn customer(app: Arc<App>, _: Request) -> Answer {
    Ok(file(&app, Audience::Customer))
}

async fn operator(app: Arc<App>, _: Request) -> Answer {
    Ok(file(&app, Audience::Operator))
}

fn file(app: &App, audience: Audience) -> Reply {
    let body = openapi::document(&app.endpoints, audience).to_string();
    Reply::Raw { content_type: "application/json", body }
}

/// One table of the customer API, made from the same endpoints.
async fn page(app: Arc<App>, _: Request) -> Answer {
    let mut rows = String::new();
    for e in app.endpoints.iter().filter(|e| !e.path.starts_with("/api/v1/admin")) {
        let scope = match e.access {
            Access::Public | Access::Browser(_) | Access::Anyone(_) => "",
            Access::Scope(_, p) => p.as_str(),
        };
        let _ = write!(
            rows,
            "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td><code>{scope}</code></td></tr>",
            e.method, e.path, e.summary
        );
    }
    let body = format!(
        "<p>JSON in and out. Send <code>Authorization: Bearer wk_…</code>. The machine-readable form is \
         <a href=\"/api/v1/openapi.json\">openapi.json</a>; errors are explained <a href=\"/api/docs/errors\">here</a>. What operators \
         may do is another document: <a href=\"/api/v1/admin/openapi.json\">/api/v1/admin/openapi.json</a>, with an operator's key that \
         has the scope <code>docs:read</code>.</p>\
         <table><tr><th>Method</th><th>Path</th><th>What</th><th>Scope</th></tr>{rows}</table>"
    );
    Ok(html("WARP API", &body))
}

async fn errors(_: Arc<App>, _: Request) -> Answer {
    let mut rows = String::new();
    for c in Code::ALL {
        let name = c.as_str();
        let _ = write!(
            rows,
            "<tr id=\"{name}\"><td><code>{name}</code></td><td>{}</td><td>{}</td></tr>",
            c.status(),
            c.meaning()
        );
    }
    Ok(html(
        "WARP API errors",
        &format!(
            "<p><a href=\"/api/docs\">The API</a></p><table><tr><th>Code</th><th>Status</th><th>Meaning</th></tr>{rows}</table>"
        ),
    ))
}

fn html(title: &str, body: &str) -> Reply {
    let style = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
                 td,th{text-align:left;padding:.25rem 1rem .25rem 0;vertical-align:top}";
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{style}</style></head>\
         <body><h1>{title}</h1>{body}</body></html>"
    );
    Reply::Raw { content_type: "text/html; charset=utf-8", body }
}
