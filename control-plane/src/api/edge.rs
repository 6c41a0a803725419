//! The edge: what happens to every request before and after its handler, in this order: request id → address limit → key →
//! permission → key and customer limit → query → body (size, time, type) → Idempotency-Key → handler (in its own task, so
//! that a panic ends one request only, G-1) → envelope, headers, metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Query, RawPathParams};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_MATCH, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, TRANSFER_ENCODING,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use warp_model::Secret;

use super::auth;
use super::docs;
use super::endpoint::{Access, Answer, Caller, Endpoint, Reply, Request, Takes};
use super::error::{ApiError, Code};
use super::events::Live;
use super::framing::Framing;
use super::idempotency;
use super::limiter::Allowance;
use super::sessions;
use crate::app::Expected;
use crate::metrics::EndpointMetrics;
use crate::{App, Edge};

/// Longest If-Match, over all its lines.
pub(super) const IF_MATCH_BYTES: usize = 256;
/// The longest Idempotency-Key that is taken, in bytes.
pub(super) const IDEMPOTENCY_KEY_BYTES: usize = 128;

/// Source address of a connection, put into each request by the listener.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Serves one request of an endpoint.
pub async fn serve(
    app: Arc<App>,
    endpoint: Arc<Endpoint>,
    metrics: EndpointMetrics,
    params: Option<RawPathParams>,
    request: axum::extract::Request,
) -> Response {
    let started = Instant::now();
    let in_flight = app.metrics.in_flight();
    let (parts, body) = request.into_parts();
    let id = request_id(&app, &parts.headers);
    let mut verdict = None;
    let path = match &params {
        Some(params) => Ok(params.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>()),
        None => Err(ApiError::new(Code::BadRequest, "the path is not UTF-8")),
    };
    let outcome = match path {
        Ok(path) => run(&app, &endpoint, &id, path, &parts, body, &mut verdict).await,
        Err(e) => Err(e),
    };
    if matches!(&outcome, Err(e) if e.code == Code::RateLimited) {
        metrics.rate_limited();
    }
    let rendered = outcome.unwrap_or_else(|e| render(&app, &id, &Err(e)));
    let mut response = respond(rendered, verdict);
    close_after_chunks(&parts.headers, &mut response);
    metrics.done(&endpoint.method, response.status(), started.elapsed());
    drop(in_flight);
    response
}

/// Answers for a path or method that does not exist.
pub fn refuse(app: &App, headers: &HeaderMap, code: Code, message: &'static str) -> Response {
    let id = request_id(app, headers);
    let mut response = respond(render(app, &id, &Err(ApiError::new(code, message))), None);
    close_after_chunks(headers, &mut response);
    response
}

/// Answers where things are.
pub fn index(app: &App, headers: &HeaderMap) -> Response {
    let id = request_id(app, headers);
    let mut response = respond(render(app, &id, &docs::index(app)), None);
    close_after_chunks(headers, &mut response);
    response
}

/// Has a connection closed after a request whose length only its chunks say ([`super::framing`]).
fn close_after_chunks(request: &HeaderMap, response: &mut Response) {
    if request.contains_key(TRANSFER_ENCODING) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

async fn run(
    app: &Arc<App>,
    endpoint: &Arc<Endpoint>,
    id: &str,
    path: Vec<(String, String)>,
    parts: &axum::http::request::Parts,
    body: Body,
    verdict: &mut Option<Allowance>,
) -> Result<Rendered, ApiError> {
    let headers = &parts.headers;
    let edge = app.edge();
    let connection = parts.extensions.get::<Peer>().map_or(IpAddr::from([127, 0, 0, 1]), |p| p.0);
    let peer = client_address(&edge, connection, headers);
    if parts.extensions.get::<Framing>().is_some_and(Framing::is_doubled) {
        return Err(ApiError::new(Code::BadRequest, "the length of the body is stated twice"));
    }
    let caller = match endpoint.access {
        Access::Public | Access::Browser(_) => None,
        Access::Anyone(audience) | Access::Scope(audience, _) => {
            let caller = auth::authenticate(app, &edge, audience, headers, peer, verdict).await?;
            if caller.audience != audience {
                return Err(ApiError::new(Code::Forbidden, "this key is for another audience"));
            }
            if caller.session.is_some() {
                sessions::check_intent(&endpoint.method, headers)?;
            }
            if let Access::Scope(_, permission) = endpoint.access {
                if !caller.permissions.has(permission) {
                    let lacks = format!("{} lacks the scope {}", caller.who.called(), permission.as_str());
                    return Err(ApiError::new(Code::Forbidden, lacks));
                }
                auth::step_up(app, permission, &caller)?;
            }
            limit(app, &edge, &caller, verdict)?;
            Some(caller)
        }
    };
    let cookies = match endpoint.access {
        Access::Browser(_) => sessions::cookies(headers),
        _ => Secret::new(String::new()),
    };
    let query = read_query(endpoint, &parts.uri)?;
    check_content_type(endpoint, headers)?;
    let body = read_body(&edge, endpoint, headers, body).await?;
    let idempotency_key = idempotency_key(endpoint, headers)?;
    let request = Request {
        caller,
        id: id.to_owned(),
        path,
        query,
        body,
        replaces: endpoint.method == Method::PUT,
        expected: expected(headers)?,
        work: None,
        peer,
        place: parts.uri.path().to_owned(),
        cursor: endpoint.cursor,
        idempotency_key: idempotency_key.clone(),
        last_event_id: headers.get(&LAST_EVENT_ID).and_then(|v| v.to_str().ok()).map(str::to_owned),
        wants_stream: headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .any(|v| v.to_ascii_lowercase().contains("text/event-stream")),
        cookies,
    };
    match idempotency_key {
        Some(key) => idempotency::once(app, endpoint, key, request).await,
        None => Ok(render(app, id, &perform(app.clone(), endpoint.clone(), request).await)),
    }
}

/// Runs the handler in its own task: it ends its work when the client leaves, and a panic ends one request only.
pub(super) async fn perform(app: Arc<App>, endpoint: Arc<Endpoint>, request: Request) -> Answer {
    let id = request.id.clone();
    let future = (endpoint.handler)(app.clone(), request);
    match tokio::spawn(future).await {
        Ok(answer) => answer,
        Err(e) => {
            app.metrics.panicked();
            tracing::error!(request_id = id, route = endpoint.path, error = %e, "a handler panicked");
            Err(ApiError::new(Code::Internal, "something went wrong on our side"))
        }
    }
}

fn request_id(app: &App, headers: &HeaderMap) -> String {
    let given = headers.get(&REQUEST_ID).and_then(|v| v.to_str().ok()).filter(|t| {
        (1..=64).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    });
    match given {
        Some(text) => text.to_owned(),
        None => warp_model::RequestId::new(app.wall(), app.random_id()).to_string(),
    }
}

/// Who speaks: the source of the connection, unless that is a proxy of ours. Then it is the last address of
/// `X-Forwarded-For` that no proxy of ours added; what stands left of it anybody can have written (T-API-08).
fn client_address(edge: &Edge, connection: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut speaker = connection;
    let lines: Vec<&str> = headers.get_all(&FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).collect();
    let mut said = lines.iter().flat_map(|l| l.split(',')).rev().take(FORWARDERS);
    while edge.trusts(speaker) {
        // Nothing readable: the proxy speaks for itself.
        let Some(ip) = said.next().and_then(address) else { break };
        speaker = ip;
    }
    speaker
}

/// The address in a forwarded header: `192.0.2.1`, `192.0.2.1:5000`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5000`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()))?;
    Some(ip.to_canonical())
}

fn limit(app: &App, edge: &Edge, caller: &Caller, verdict: &mut Option<Allowance>) -> Result<(), ApiError> {
    let now = app.mono();
    let by_key = app.limits.by_key.take(edge.key_limit, caller.who, now);
    *verdict = Some(by_key);
    if !by_key.allowed {
        return Err(limited(by_key));
    }
    if let Some(customer) = caller.customer {
        let by_customer = app.limits.by_customer.take(edge.customer_limit, customer, now);
        if by_customer.remaining < by_key.remaining {
            *verdict = Some(by_customer);
        }
        if !by_customer.allowed {
            return Err(limited(by_customer));
        }
    }
    Ok(())
}

pub(super) fn limited(v: Allowance) -> ApiError {
    ApiError {
        retry_after_s: Some(v.reset_s.max(1)),
        ..ApiError::new(Code::RateLimited, "too many requests")
    }
}

fn read_query(endpoint: &Endpoint, uri: &axum::http::Uri) -> Result<Vec<(String, String)>, ApiError> {
    let wrong = |m: String| ApiError::new(Code::InvalidQuery, m);
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| wrong("the query cannot be read".into()))?;
    for (i, (name, value)) in pairs.iter().enumerate() {
        let shown = crate::app::input::shown(name);
        if !endpoint.query.iter().any(|q| q.name == name) {
            if endpoint.ignores_others {
                continue;
            }
            return Err(wrong(format!("there is no query parameter {shown}")));
        }
        if pairs.iter().take(i).any(|(n, _)| n == name) {
            return Err(wrong(format!("{shown} is there twice")));
        }
        let fixed =
            endpoint.query.iter().find(|q| q.name == name && !q.filter).map_or(&[] as &[&str], |q| q.values);
        if !fixed.is_empty() && !fixed.contains(&value.as_str()) {
            return Err(wrong(format!("{shown} must be one of {}", fixed.join(", "))));
        }
        let most = endpoint.query.iter().find(|q| q.name == name).map_or(0, |q| q.most);
        if value.chars().count() > most || value.chars().any(char::is_control) {
            return Err(wrong(format!("{shown} cannot be read")));
        }
    }
    Ok(pairs)
}

fn check_content_type(endpoint: &Endpoint, headers: &HeaderMap) -> Result<(), ApiError> {
    let wanted: &[&str] = match endpoint.takes {
        Takes::Nothing => return Ok(()),
        Takes::Json(_) => &["application/json"],
        Takes::Patch(_) => &["application/merge-patch+json", "application/json"],
        Takes::Csv(_) => &["text/csv", "application/csv", "text/tab-separated-values", XLSX],
    };
    let given = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    if wanted.iter().any(|w| essence.eq_ignore_ascii_case(w)) {
        return Ok(());
    }
    Err(ApiError::new(Code::UnsupportedMediaType, format!("send the body as {}", wanted.join(" or "))))
}

async fn read_body(
    edge: &Edge,
    endpoint: &Endpoint,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, ApiError> {
    let max = match endpoint.takes {
        Takes::Nothing => 4_096,
        Takes::Csv(most) => most.min(edge.upload_bytes),
        Takes::Json(_) | Takes::Patch(_) => edge.body_bytes,
    };
    let too_large = || ApiError::new(Code::BodyTooLarge, format!("the body is larger than {max} bytes"));
    let stated =
        headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|t| t.parse::<u64>().ok());
    if stated.is_some_and(|n| n > max as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(edge.body_timeout, to_bytes(body, max)).await {
        Err(_) => Err(ApiError::new(Code::RequestTimeout, "the body did not arrive in time")),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(e)) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&e);
            while let Some(c) = cause {
                if c.to_string().contains("length limit exceeded") {
                    return Err(too_large());
                }
                cause = c.source();
            }
            Err(ApiError::new(Code::BadRequest, "the body could not be read"))
        }
    }
}

/// The versions of If-Match, over all its lines; `*` is any that exists (RFC 9110 §13.1.1). A weak tag, or one that we never
/// gave, is a version that no object has.
fn expected(headers: &HeaderMap) -> Result<Expected, ApiError> {
    let lines: Vec<&str> = headers.get_all(IF_MATCH).iter().map(|v| v.to_str().unwrap_or("")).collect();
    if lines.is_empty() {
        return Ok(Expected::Any);
    }
    if lines.iter().map(|l| l.len()).sum::<usize>() > IF_MATCH_BYTES {
        return Err(ApiError::new(
            Code::BadRequest,
            format!("If-Match has at most {IF_MATCH_BYTES} characters"),
        ));
    }
    let tags: Vec<&str> = lines.iter().flat_map(|l| l.split(',')).map(str::trim).collect();
    if tags == ["*"] {
        return Ok(Expected::Any);
    }
    Ok(Expected::OneOf(tags.iter().filter_map(|t| t.trim_matches('"').parse().ok()).collect()))
}

fn idempotency_key(endpoint: &Endpoint, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    if endpoint.method != Method::POST || matches!(endpoint.access, Access::Public | Access::Browser(_)) {
        return Ok(None);
    }
    let Some(value) = headers.get(&IDEMPOTENCY_KEY) else {
        if endpoint.keyed {
            return Err(ApiError::new(Code::BadRequest, "this request needs an Idempotency-Key"));
        }
        return Ok(None);
    };
    match value.to_str() {
        Ok(t)
            if (1..=IDEMPOTENCY_KEY_BYTES).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(Some(t.to_owned()))
        }
        _ => {
            let message = "Idempotency-Key must have 1 to 128 letters, digits and signs of ASCII, no blanks";
            Err(ApiError::new(Code::BadRequest, message))
        }
    }
}

/// An answer as it is sent and as it is kept for replays: all but Date, the rate limits and what belongs to the connection.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The HTTP status, 200 to 599.
    pub status: u16,
    /// The headers, in the order in which they are sent.
    pub headers: Vec<(String, String)>,
    /// The body as it is sent, UTF-8.
    pub body: String,
    /// What is left of such a request must not be read as another one (T-API-11).
    pub close: bool,
    /// What is sent instead of the body, while it is made. It is not kept for replays: only GET has it.
    pub live: Option<Live>,
}

/// Writes an answer or a refusal as it is sent.
pub fn render(app: &App, id: &str, outcome: &Answer) -> Rendered {
    if let Ok(Reply::WithCookies { reply, cookies }) = outcome {
        let mut rendered = render(app, id, &Ok(Reply::clone(reply)));
        let lines = cookies.iter().map(|c| (SET_COOKIE.as_str().to_owned(), c.clone()));
        rendered.headers.extend(lines);
        return rendered;
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut set = |name: &HeaderName, value: &str| headers.push((name.as_str().to_owned(), value.to_owned()));
    let content_type = match outcome {
        Ok(Reply::Raw { content_type, .. } | Reply::Stream { content_type, .. }) => content_type,
        Ok(Reply::Moved { .. }) => "",
        Ok(Reply::File { .. }) => "application/octet-stream",
        _ => "application/json",
    };
    if !content_type.is_empty() {
        set(&CONTENT_TYPE, content_type);
    }
    set(&X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&CACHE_CONTROL, "no-store");
    set(&REQUEST_ID, id);
    let (status, body) = envelope(app, id, outcome);
    let mut close = false;
    match outcome {
        Ok(Reply::Data { version, location, .. }) => {
            if let Some(v) = version {
                set(&ETAG, &format!("\"{v}\""));
            }
            if let Some(at) = location {
                set(&LOCATION, at);
            }
        }
        Ok(Reply::Raw { content_type, .. }) if content_type.starts_with("text/html") => {
            let csp = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
            set(&CONTENT_SECURITY_POLICY, csp);
            // The address of a page may hold a code of the issuer.
            set(&REFERRER_POLICY, "no-referrer");
        }
        Ok(Reply::Moved { location }) => set(&LOCATION, location),
        Ok(Reply::File { name, bytes, .. }) => {
            set(&CONTENT_LENGTH, &bytes.to_string());
            set(&CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
        }
        Ok(Reply::Raw { .. } | Reply::Stream { .. } | Reply::WithCookies { .. }) => {}
        Err(e) => {
            match e.code {
                Code::Unauthorized => {
                    set(&WWW_AUTHENTICATE, "Bearer realm=\"warp\", error=\"invalid_token\"")
                }
                // RFC 9470 §3.
                Code::StepUpRequired => set(
                    &WWW_AUTHENTICATE,
                    "Bearer realm=\"warp\", error=\"insufficient_user_authentication\", acr_values=\"mfa\", max_age=900",
                ),
                _ => {}
            }
            close |= matches!(e.code, Code::BadRequest | Code::RequestTimeout | Code::BodyTooLarge);
            if let Some(s) = e.retry_after_s {
                set(&RETRY_AFTER, &s.to_string());
            }
        }
    }
    let live = match outcome {
        Ok(Reply::Stream { live, .. } | Reply::File { live, .. }) => Some(live.clone()),
        _ => None,
    };
    Rendered { status, headers, body, close, live }
}

/// The JSON text of an answer, with its status.
fn envelope(app: &App, id: &str, outcome: &Answer) -> (u16, String) {
    let mut meta = json!({ "timestamp": app.wall().to_string(), "request_id": id });
    let (status, body) = match outcome {
        Ok(Reply::Data { status, data, next, last, .. }) => {
            if let Some(next) = next {
                meta["next_cursor"] = next.clone().map_or(Value::Null, Value::String);
                meta["has_more"] = Value::Bool(next.is_some());
            }
            if let Some(last) = last {
                meta["last_cursor"] = Value::String(last.clone());
            }
            (*status, json!({ "success": true, "data": data, "meta": meta }))
        }
        Ok(Reply::Raw { body, .. }) => return (200, body.clone()),
        Ok(Reply::Stream { .. } | Reply::File { .. }) => return (200, String::new()),
        Ok(Reply::Moved { .. }) => return (302, String::new()),
        Ok(Reply::WithCookies { reply, .. }) => return envelope(app, id, &Ok(Reply::clone(reply))),
        Err(e) => {
            let mut error = json!({
                "code": e.code.as_str(),
                "message": e.message,
                "doc_url": format!("/api/docs/errors#{}", e.code.as_str()),
            });
            if let [one] = e.details.as_slice() {
                error["field"] = Value::String(one.field.clone());
            }
            if let Some(hint) = e.hint {
                error["hint"] = Value::String(hint.to_owned());
            }
            if !e.details.is_empty() {
                error["details"] = json!(e.details);
            }
            (e.code.status(), json!({ "success": false, "error": error, "meta": meta }))
        }
    };
    (status, body.to_string())
}

fn respond(rendered: Rendered, verdict: Option<Allowance>) -> Response {
    let mut response = Response::new(match rendered.live {
        Some(live) => Body::new(live),
        None => Body::from(rendered.body),
    });
    *response.status_mut() =
        StatusCode::from_u16(rendered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in &rendered.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            // A reply may have several cookies, and one of everything else.
            if name == SET_COOKIE {
                headers.append(name, value);
            } else {
                headers.insert(name, value);
            }
        }
    }
    if let Some(v) = verdict {
        headers.insert("ratelimit-limit", v.limit.into());
        headers.insert("ratelimit-remaining", v.remaining.into());
        headers.insert("ratelimit-reset", v.reset_s.into());
    }
    if rendered.close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Proxies in a row that are looked at.
const FORWARDERS: usize = 32;

/// The media type of an XLSX workbook.
pub(super) const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
