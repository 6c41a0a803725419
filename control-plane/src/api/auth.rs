//! Who calls: an API key, the access token of a person, or the cookie of a browser that has signed in. Guessing is paced by address before anything is asked (T-API-08). A token
//! that is not believed gets 401 and no reason (T-API-02, T-API-03); the metric `warp_tokens_refused_total` has the reasons.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::edge::limited;
use super::endpoint::{Audience, Caller};
use super::error::{ApiError, Code};
use super::limiter::Allowance;
use super::sessions;
use crate::app::caller::Who;
use crate::app::permission::Permission;
use crate::app::{self, keys, users};
use crate::oidc::{self, Doubt};
use crate::{App, Edge};

/// How long a second factor counts for what is sensitive.
pub const SECOND_FACTOR_LIVES: Duration = Duration::from_secs(15 * 60);

/// Who speaks to an endpoint of this audience.
pub(super) async fn authenticate(
    app: &Arc<App>,
    edge: &Edge,
    audience: Audience,
    headers: &HeaderMap,
    peer: IpAddr,
    verdict: &mut Option<Allowance>,
) -> Result<Caller, ApiError> {
    let secret = headers
        .get(AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|t| t.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, secret)| secret.trim());
    let secret = secret.filter(|s| keys::looks_like_key(s) || looks_like_token(s));
    // Who says who he is by a header is not somebody else by a cookie.
    let session = match headers.contains_key(AUTHORIZATION) {
        true => None,
        false => sessions::secret(app, audience, headers),
    };
    let session = session.as_ref().map(|s| s.reveal().as_str());
    // Guessing is paced by address (IPv6: by /64), before the database is asked. A key that was good a while ago is not slowed by what
    // others behind its address do.
    if !secret.or(session).is_some_and(|s| app.limits.is_known(s)) {
        pace(app, edge, peer, verdict)?;
    }
    let caller = match (secret, session) {
        (Some(key), _) if keys::looks_like_key(key) => keys::authenticate(&app.store, key, peer).await?,
        (Some(token), _) => person(app, audience, token).await?,
        (None, Some(session)) => app::sessions::authenticate(app, audience, session).await?,
        (None, None) => None,
    };
    if let (Some(secret), Some(caller)) = (secret.or(session), caller) {
        app.limits.know(secret);
        if caller.recovered {
            // It is counted at its first use at the latest.
            keys::watch_recovered(app).await?;
        }
        return Ok(caller);
    }
    note_failure(app, edge, peer);
    Err(ApiError::new(Code::Unauthorized, "send a valid API key or access token as: Authorization: Bearer …"))
}

/// Refuses who has failed too often from this address.
pub(super) fn pace(
    app: &App,
    edge: &Edge,
    peer: IpAddr,
    verdict: &mut Option<Allowance>,
) -> Result<(), ApiError> {
    let (source, now) = (warp_model::net::source_of(peer), app.mono());
    if !app.limits.by_address.is_exhausted(edge.address_limit, &source, now) {
        return Ok(());
    }
    let v = app.limits.by_address.take(edge.address_limit, source, now);
    *verdict = Some(v);
    Err(limited(v))
}

/// Somebody has failed to come in from this address.
pub(super) fn note_failure(app: &App, edge: &Edge, peer: IpAddr) {
    app.limits.by_address.take(edge.address_limit, warp_model::net::source_of(peer), app.mono());
}

/// Three parts with dots between them, as a signed JWT has.
fn looks_like_token(text: &str) -> bool {
    text.bytes().filter(|b| *b == b'.').count() == 2
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The person of a token; `None` when it is not believed, or when nobody here is bound to it.
async fn person(app: &Arc<App>, audience: Audience, token: &str) -> Result<Option<Caller>, ApiError> {
    let Some(issuer) = app.issuers.of(audience) else { return Ok(None) };
    let claims = match oidc::believe(issuer, token, app.wall(), app.mono()).await {
        Ok(claims) => claims,
        Err(Doubt::Refused(why)) => {
            app.metrics.token_refused(why);
            tracing::debug!(?why, "a token is refused");
            return Ok(None);
        }
        Err(Doubt::Away(why)) => {
            tracing::warn!(error = %why, "no token can be checked");
            let away = ApiError::new(Code::Unavailable, "the issuer of tokens does not answer");
            return Err(ApiError { retry_after_s: Some(oidc::issuer::ASK_EVERY.as_secs()), ..away });
        }
    };
    Ok(users::authenticate(&app.store, audience, &issuer.settings().issuer, &claims).await?)
}

/// Refuses what is sensitive (keys, users, money) to whoever has not shown a second factor within [`SECOND_FACTOR_LIVES`], and to keys
/// that nobody allowed to do it alone (RFC 9470).
pub(super) fn step_up(app: &App, permission: Permission, caller: &Caller) -> Result<(), ApiError> {
    if !permission.is_sensitive() {
        return Ok(());
    }
    match caller.who {
        Who::Key(_) if caller.recovered || caller.permissions.has(Permission::SensitiveUnattended) => Ok(()),
        Who::Key(_) => {
            let what = Permission::SensitiveUnattended.as_str();
            let lacks = format!("this key lacks the scope {what}, which a key needs for this operation");
            Err(ApiError::new(Code::Forbidden, lacks)
                .hint("a person who has shown a second factor may grant it"))
        }
        Who::User(_) => {
            let shown = caller.second_factor_at.map(|at| at.plus(SECOND_FACTOR_LIVES));
            if shown.is_some_and(|until| app.wall() <= until) {
                return Ok(());
            }
            let wants = "this operation wants a second factor that was shown within the last 15 minutes";
            Err(ApiError::new(Code::StepUpRequired, wants)
                .hint("sign in again with max_age=900 and a second factor, then repeat the request"))
        }
    }
}
