//! Idempotency-Key (T-API-10): one key, one request, one answer, for 24 hours.
//!
//! The work and its answer become durable in one transaction: there is no moment at which the one is there without the other,
//! whoever leaves or dies. The transaction holds an advisory lock on the key, so that the same request at the same moment gets
//! 409 and not a second run; the lock ends with the transaction, however that ends. A replay is the first answer to the byte,
//! with its status and headers, but for Date and the rate limits. An answer that held a secret is not kept: its replay is 409.
//!
//! Kept are answers that say how the work ended (2xx, 404, 409, 412). Of a refusal the work is undone before it is kept. What says
//! that the request was no request (400, 401, 403, 413, 415, 422), or that it may be tried again (429, 5xx), is not kept.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::edge::{Rendered, perform, render};
use super::endpoint::{Endpoint, Request};
use super::error::{ApiError, Code};
use crate::App;
use crate::store::idempotency::{self as rows, KeptRow};
use crate::store::types::Json;
use crate::store::work::Work;

/// Runs the endpoint at most once for this key. The task goes on when the client leaves.
pub async fn once(
    app: &Arc<App>,
    endpoint: &Arc<Endpoint>,
    key: String,
    request: Request,
) -> Result<Rendered, ApiError> {
    let (app, endpoint) = (app.clone(), endpoint.clone());
    let ended = tokio::spawn(async move { work(&app, &endpoint, &key, request).await }).await;
    ended.unwrap_or_else(|e| {
        tracing::error!(error = %e, "a request with an Idempotency-Key panicked");
        Err(ApiError::new(Code::Internal, "something went wrong on our side"))
    })
}

async fn work(
    app: &Arc<App>,
    endpoint: &Arc<Endpoint>,
    key: &str,
    mut request: Request,
) -> Result<Rendered, ApiError> {
    let scope = request.scope()?;
    let owner = request.caller()?.who.to_string();
    let id = request.id.clone();
    let hash = fingerprint(endpoint, &request);
    let conflict = |m: &str| Err(ApiError::new(Code::IdempotencyConflict, m));
    let mut tx = app.store.begin(scope).await?;
    if !rows::claim(&mut tx, &owner, key).await? {
        return conflict("a request with this Idempotency-Key is being worked on");
    }
    if let Some(kept) = rows::find(&mut tx, &owner, key).await? {
        // The lock on the key ends before the answer goes out: who asks once more at once is no second request at the same moment.
        tx.roll_back().await?;
        if kept.request != hash {
            return conflict("this Idempotency-Key was used for another request");
        }
        return match again(kept) {
            Some(first) => Ok(first),
            None => conflict("the first answer held a secret that is shown only once"),
        };
    }
    let work = Work::over(tx).await?;
    request.work = Some(work.clone());
    let answer = perform(app.clone(), endpoint.clone(), request).await;
    let rendered = render(app, &id, &answer);
    if !(matches!(rendered.status, 404 | 409 | 412) || (200..300).contains(&rendered.status)) {
        if let Err(error) = work.abandon().await {
            // Its connection is gone, and the transaction with it.
            tracing::debug!(%error, "a refused request is not rolled back by hand");
        }
        return Ok(rendered);
    }
    if answer.is_err() {
        work.undo().await?;
    }
    let secret = endpoint.secret && answer.is_ok();
    let kept = KeptRow {
        request: hash,
        status: i32::from(rendered.status),
        headers: Json(serde_json::json!(rendered.headers)),
        body: (!secret).then(|| rendered.body.clone()),
    };
    let mut tx = work.begin(scope)?;
    rows::keep(&mut tx, (&owner, key), scope.customer(), kept).await?;
    drop(tx);
    if work.finish().await? {
        app.changed.notify_one();
    }
    Ok(rendered)
}

/// The first answer; `None` when it held a secret.
fn again(kept: KeptRow) -> Option<Rendered> {
    Some(Rendered {
        status: u16::try_from(kept.status).ok()?,
        headers: serde_json::from_value(kept.headers.0).ok()?,
        body: kept.body?,
        close: false,
        live: None,
    })
}

fn fingerprint(endpoint: &Endpoint, request: &Request) -> Vec<u8> {
    let mut h = Sha256::new();
    h.update(endpoint.method.as_str());
    h.update([0]);
    h.update(endpoint.path);
    for (name, value) in request.path.iter().chain(&request.query) {
        h.update([0]);
        h.update(name);
        h.update([1]);
        h.update(value);
    }
    h.update([2]);
    h.update(&request.body);
    h.finalize().to_vec()
}
