//! Browsers: sign-in through the issuer, the cookie of the session, who one is, sign-out.
//!
//! Each portal has a cookie of its own, `HttpOnly` and `SameSite=Strict`, behind TLS also `Secure` with the prefix `__Host-`, so that no
//! other host can set it (RFC 6265bis §4.1.3.2). The cookie of a sign-in that has begun is `Lax`, because it must come back with the
//! issuer's redirection, and lives for ten minutes. A request with a cookie that changes something carries the header `Warp-Request`:
//! no form and no link of another site can (T-WEB-01).

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, Method};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use warp_model::Secret;

use super::auth;
use super::endpoint::{Access, Answer, Endpoint, Reply, Request, endpoint};
use super::error::{ApiError, Code};
use crate::App;
use crate::app::caller::Audience;
use crate::app::input::{Field, Plain};
use crate::app::sessions::{self, Back, SIGN_IN_TIME, Session, SignedOut, Wish};
use crate::oidc::code::escaped;

/// The header that a request with a cookie carries when it changes something. Its value does not matter.
pub const WRITES_WITH: HeaderName = HeaderName::from_static("warp-request");

/// Characters of what an issuer sends back.
const BACK_CHARS: usize = 4_096;

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cookie {
    /// Of a session.
    Session,
    /// Of sign-ins that have begun.
    Begun,
}

impl Cookie {
    /// Its name for an audience, where browsers reach us by https or not.
    fn name(self, audience: Audience, secure: bool) -> String {
        let prefix = if secure { "__Host-" } else { "" };
        let portal = if audience == Audience::Operator { "operator" } else { "customer" };
        let what = if self == Self::Begun { "-login" } else { "" };
        format!("{prefix}warp-{portal}{what}")
    }

    /// A `Set-Cookie` (RFC 6265 §4.1). An empty value takes the cookie away.
    fn set(self, audience: Audience, secure: bool, value: &str, lives: Duration) -> String {
        let name = self.name(audience, secure);
        let site = if self == Self::Begun { "Lax" } else { "Strict" };
        let secure = if secure { "; Secure" } else { "" };
        let lives = if value.is_empty() { 0 } else { lives.as_secs() };
        format!("{name}={value}; Path=/; Max-Age={lives}; HttpOnly; SameSite={site}{secure}")
    }

    /// Its value in the cookies of a request; `None`: it is not there, or there twice, and then one of them is not ours.
    fn read(self, audience: Audience, secure: bool, cookies: &str) -> Option<&str> {
        let name = self.name(audience, secure);
        let mut all = cookies.split(';').filter_map(|c| c.trim().split_once('='));
        let mut ours = all.by_ref().filter(|(n, _)| *n == name).map(|(_, value)| value);
        match (ours.next(), ours.next()) {
            (Some(value), None) => Some(value),
            _ => None,
        }
    }
}

/// Whether browsers reach the API of an audience by https; `None`: browsers do not sign in there.
fn secure(app: &App, audience: Audience) -> Option<bool> {
    let client = app.issuers.of(audience)?.settings().client.as_ref()?;
    Some(client.url.starts_with("https://"))
}

/// All cookies of a request, as one text.
pub(super) fn cookies(headers: &HeaderMap) -> Secret<String> {
    let lines = headers.get_all(axum::http::header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    Secret::new(lines.collect::<Vec<_>>().join("; "))
}

/// The secret of the session that a request of this audience comes by.
pub(super) fn secret(app: &App, audience: Audience, headers: &HeaderMap) -> Option<Secret<String>> {
    let secure = secure(app, audience)?;
    let all = cookies(headers);
    Cookie::Session.read(audience, secure, all.reveal()).map(|s| Secret::new(s.to_owned()))
}

/// Refuses a change by a cookie that another site could have had sent (T-WEB-01).
pub(super) fn check_intent(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    if method.is_safe() || headers.contains_key(WRITES_WITH) {
        return Ok(());
    }
    let wants = "a change by the cookie of a session needs the header Warp-Request";
    Err(ApiError::new(Code::Forbidden, wants).hint("send Warp-Request: 1 with every request of the portal"))
}

macro_rules! of_session {
    ($audience:expr, $rest:literal) => {
        match $audience {
            Audience::Customer => concat!("/api/v1/session", $rest),
            Audience::Operator => concat!("/api/v1/admin/session", $rest),
        }
    };
}

/// The published form of what [`is_local_path`](crate::oidc::code::is_local_path) takes.
fn local_path() -> RefOr<Schema> {
    let text = SchemaType::Type(Type::String);
    let form = r"^/([!-.0-\[\]-~][!-\[\]-~]{0,510})?$";
    ObjectBuilder::new().schema_type(text).pattern(Some(form)).into()
}

pub(super) fn endpoints(audience: Audience) -> Vec<Endpoint> {
    let (browser, anyone) = (Access::Browser(audience), Access::Anyone(audience));
    let long = |e: Endpoint, name, what| e.query_up_to(BACK_CHARS, name, Plain::field_schema, what);
    let sign_in = endpoint(
        Method::GET,
        of_session!(audience, "/login"),
        browser,
        "Sign in with a browser",
        move |app, r| login(app, r, audience),
    )
    .moves()
    .query_up_to(512, "return_to", local_path, "The page to go to afterwards: a path of this host.")
    .query_of("step_up", &["true"], "Sign in anew, with a second factor.")
    .query("login_hint", Plain::field_schema, "Who it probably is, for the issuer.")
    .query(
        "organization",
        Plain::field_schema,
        "The organisation to sign in through, for issuers that have them.",
    );
    let back = endpoint(
        Method::GET,
        of_session!(audience, "/callback"),
        browser,
        "Where the issuer sends browsers back to",
        move |app, r| callback(app, r, audience),
    )
    .raw("text/html; charset=utf-8")
    .ignores_other_queries();
    let back = long(back, "code", "What tokens are given for.");
    let back = long(back, "state", "What was sent along.");
    let back = long(back, "error", "Why there is no code.");
    let back = long(back, "iss", "Which issuer answers (RFC 9207).");
    vec![
        sign_in,
        back,
        endpoint(Method::GET, of_session!(audience, ""), anyone, "Who you are and what you may", show)
            .gives::<Session>(200),
        endpoint(Method::DELETE, of_session!(audience, ""), anyone, "Sign out", end)
            .gives::<SignedOut>(200)
            .query_of("everywhere", &["true"], "End all sessions of the person."),
    ]
}

async fn login(app: Arc<App>, r: Request, audience: Audience) -> Answer {
    let secure = secure(&app, audience).unwrap_or(true);
    let wish = Wish {
        return_to: r.query("return_to"),
        step_up: r.query("step_up").is_some(),
        login_hint: r.query("login_hint"),
        organisation: r.query("organization"),
    };
    let all = r.cookies.reveal();
    let known = Cookie::Begun.read(audience, secure, all);
    let session = Cookie::Session.read(audience, secure, all);
    let sent = sessions::begin(&app, audience, wish, known, session).await?;
    let begun = Cookie::Begun.set(audience, secure, &sent.begun, SIGN_IN_TIME);
    Ok(Reply::Moved { location: sent.location }.with_cookies(vec![begun]))
}

/// The issuer's redirection comes from another site, so the browser would send no `Strict` cookie along if it were redirected once
/// more: a page of ours sends it on.
async fn callback(app: Arc<App>, r: Request, audience: Audience) -> Answer {
    let secure = secure(&app, audience).unwrap_or(true);
    let edge = app.edge();
    let mut verdict = None;
    auth::pace(&app, &edge, r.peer, &mut verdict)?;
    let known = Cookie::Begun.read(audience, secure, r.cookies.reveal());
    let back = Back {
        code: r.query("code"),
        state: r.query("state"),
        error: r.query("error"),
        issuer: r.query("iss"),
    };
    let done = match sessions::finish(&app, audience, back, known, &r.id).await {
        Ok(done) => done,
        Err(fault) => {
            auth::note_failure(&app, &edge, r.peer);
            return Err(fault.into());
        }
    };
    let to = escaped(&done.return_to);
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>WARP</title>\
         <meta http-equiv=\"refresh\" content=\"0;url={to}\"></head><body><a href=\"{to}\">Go on</a></body></html>"
    );
    let session = Cookie::Session.set(audience, secure, &done.secret, done.lives);
    let begun = Cookie::Begun.set(audience, secure, done.begun.as_deref().unwrap_or(""), SIGN_IN_TIME);
    Ok(Reply::Raw { content_type: "text/html; charset=utf-8", body }.with_cookies(vec![session, begun]))
}

async fn show(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&sessions::show(&r.ctx(&app)?, r.caller()?, auth::SECOND_FACTOR_LIVES).await?)
}

async fn end(app: Arc<App>, r: Request) -> Answer {
    let caller = r.caller()?;
    let ended = sessions::end(&r.ctx(&app)?, caller, r.query("everywhere").is_some()).await?;
    let secure = secure(&app, caller.audience).unwrap_or(true);
    let gone = Cookie::Session.set(caller.audience, secure, "", Duration::ZERO);
    Ok(Reply::ok(&ended)?.with_cookies(vec![gone]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_web_01_cookies_are_for_one_portal_and_out_of_reach_of_scripts_and_of_other_sites() {
        let session = Cookie::Session.set(Audience::Operator, true, "s", Duration::from_secs(60));
        assert_eq!(session, "__Host-warp-operator=s; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure");
        let begun = Cookie::Begun.set(Audience::Customer, true, "b", SIGN_IN_TIME);
        assert_eq!(
            begun,
            "__Host-warp-customer-login=b; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
        );
        // Without TLS no browser takes the prefix.
        let plain = Cookie::Session.set(Audience::Customer, false, "", Duration::from_secs(60));
        assert_eq!(plain, "warp-customer=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn a_cookie_that_is_there_twice_is_none() {
        let read = |cookies| Cookie::Session.read(Audience::Customer, false, cookies);
        assert_eq!(read("a=b; warp-customer=s;c=d"), Some("s"));
        assert_eq!(read("warp-customer=s; warp-customer=t"), None);
        for none in [
            "",
            "warp-operator=s",
            "warp-customer",
            "x-warp-customer=s",
            "Warp-Customer=s",
            "__Host-warp-customer=s",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
