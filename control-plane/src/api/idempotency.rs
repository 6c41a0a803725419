//! Idempotency-Key (T-API-10): one key, one request, one answer, for 24 hours.
//!
//! The key is claimed before the handler runs and carries the hash of method, path and body. The same request again gets
//! the first answer; another request, or the same one while the first is being worked on, gets 409. Answers with a status
//! of 500 or more are not kept: the request may be tried again. A secret that is shown once is not kept either.

use std::future::Future;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use sqlx::Row;

use super::edge::envelope;
use super::endpoint::{Answer, Endpoint, Reply, Request};
use super::error::{ApiError, Code};
use crate::App;
use crate::store::sql;

/// Runs `perform` at most once for this key.
pub async fn once<F, Fut>(
    app: &Arc<App>,
    endpoint: &Arc<Endpoint>,
    key: String,
    request: Request,
    perform: F,
) -> Answer
where
    F: FnOnce(Arc<App>, Arc<Endpoint>, Request) -> Fut,
    Fut: Future<Output = Answer>,
{
    let scope = request.scope()?;
    let owner = request.caller()?.key.to_string();
    let id = request.id.clone();
    let hash = fingerprint(endpoint, &request);
    let mut tx = app.store.begin(scope).await?;
    let claimed = tx
        .run(
            sqlx::query(sql::IDEMPOTENCY_CLAIM)
                .bind(&owner)
                .bind(&key)
                .bind(scope.customer().map(|c| c.to_string()))
                .bind(&hash),
        )
        .await?;
    if claimed == 0 {
        let row = sqlx::query(sql::IDEMPOTENCY_FIND).bind(&owner).bind(&key).fetch_one(tx.db()).await;
        let row = row.map_err(crate::store::StoreError::from)?;
        let read = |e: sqlx::Error| ApiError::from(crate::store::StoreError::from(e));
        let conflict = |m: &str| Err(ApiError::new(Code::IdempotencyConflict, m));
        if row.try_get::<Vec<u8>, _>("request").map_err(read)? != hash {
            return conflict("this Idempotency-Key was used for another request");
        }
        let body: Option<String> = row.try_get("body").map_err(read)?;
        let status: Option<i32> = row.try_get("status").map_err(read)?;
        return match (status, body) {
            (Some(status), Some(body)) => replay(status, &body),
            (Some(_), None) => conflict("the first answer held a secret that is shown only once"),
            _ => conflict("a request with this Idempotency-Key is being worked on"),
        };
    }
    tx.commit().await?;
    let answer = perform(app.clone(), endpoint.clone(), request).await;
    let (status, body) = envelope(app, &id, &answer);
    let mut tx = app.store.begin(scope).await?;
    if status >= 500 || status == 429 {
        tx.run(sqlx::query(sql::IDEMPOTENCY_FORGET).bind(&owner).bind(&key)).await?;
    } else {
        let kept = if endpoint.secret && status < 300 { None } else { Some(body) };
        tx.run(sqlx::query(sql::IDEMPOTENCY_KEEP).bind(&owner).bind(&key).bind(i32::from(status)).bind(kept))
            .await?;
    }
    tx.commit().await?;
    answer
}

/// The first answer's payload again; its meta is new.
fn replay(status: i32, body: &str) -> Answer {
    let internal = || ApiError::new(Code::Internal, "something went wrong on our side");
    let mut value: serde_json::Value = serde_json::from_str(body).map_err(|_| internal())?;
    let status = u16::try_from(status).map_err(|_| internal())?;
    if status < 300 {
        return Ok(Reply::Data { status, data: value["data"].take(), next: None, version: None });
    }
    let error = &value["error"];
    let code = Code::ALL.iter().copied().find(|c| Some(c.as_str()) == error["code"].as_str());
    let mut again =
        ApiError::new(code.ok_or_else(internal)?, error["message"].as_str().unwrap_or("").to_owned());
    for d in error["details"].as_array().into_iter().flatten() {
        let text = |k: &str| d[k].as_str().unwrap_or("").to_owned();
        again.details.push(crate::app::fault::Problem::new(text("field"), "invalid", text("message")));
    }
    Err(again)
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
