//! Browsers that are signed in. A browser is sent to the issuer ([`begin`]) and comes back with a code ([`finish`]); then it holds a
//! random secret in a cookie, and the issuer's tokens stay here, sealed. While the session lives the issuer is asked again each time its
//! access token ends, by one process at a time, because a refresh token works once. What the person may is read with each request.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use warp_model::Wall;

use super::caller::{self, Audience, Caller, SessionId, Who};
use super::fault::{Fault, Kind};
use super::permission::{Permission, Permissions};
use super::{Ctx, keys, users};
use crate::App;
use crate::noun::operator::OperatorRow;
use crate::noun::user::UserRow;
use crate::oidc::code::{self, Mismatch, Wanted, challenge};
use crate::oidc::issuer::{ClientSettings, Issuer, NoTokens};
use crate::oidc::token::{Claims, LIVES_S};
use crate::oidc::{self, Doubt};
use crate::store::sessions::{self as rows, SessionRow, SessionValues};
use crate::store::types::Time;
use crate::store::users::{self as people, PersonRow};
use crate::store::{Scope, StoreError, keys as key_rows, nouns};

/// How long somebody may take at the issuer.
pub const SIGN_IN_TIME: Duration = Duration::from_secs(600);
/// Sign-ins that one browser may have begun at once, in as many tabs; when there are more, the oldest is forgotten.
const BEGUN: usize = 4;
/// Sessions of one person; when there are more, the oldest ends.
const SESSIONS: i64 = 50;
/// The issuer is asked again so long before its word ends: then no request has to wait for it.
const EARLY: Duration = Duration::from_secs(60);
/// How long a request waits for another one that asks the issuer.
const LONGEST_WAIT: Duration = Duration::from_secs(6);
/// How often it looks meanwhile.
const LOOKS: Duration = Duration::from_millis(100);
/// Characters of a secret: 256 random bits in base64.
const SECRET_CHARS: usize = 43;

/// What a browser asks for that wants to sign in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// The page that it goes to afterwards: a path of ours. Absent: the portal's first page.
    pub return_to: Option<&'a str>,
    /// The person signs in anew, with a second factor.
    pub step_up: bool,
    /// Who it probably is, for the issuer.
    pub login_hint: Option<&'a str>,
    /// The organisation that it signs in through, for Auth0.
    pub organisation: Option<&'a str>,
}

/// A sign-in that has begun: what the callback must fit. It stands sealed in a cookie of the browser, so that nothing of it can be
/// made by another one (T-WEB-01), and whoever begins many of them fills nothing of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    return_to: String,
    step_up: bool,
    /// In milliseconds since 1970.
    at: i64,
    /// Hash of the session that this one follows, in base64.
    after: Option<String>,
}

/// Where a browser is sent, and the cookie that it brings back.
pub struct Sent {
    /// The address at the issuer.
    pub location: String,
    /// Value of the cookie of the sign-in.
    pub begun: String,
}

/// What came back from the issuer (RFC 6749 §4.1.2, RFC 9207).
#[derive(Clone, Copy, Debug, Default)]
pub struct Back<'a> {
    /// What tokens are given for.
    pub code: Option<&'a str>,
    /// What was sent along.
    pub state: Option<&'a str>,
    /// Why there is no code.
    pub error: Option<&'a str>,
    /// The name of the issuer that answers.
    pub issuer: Option<&'a str>,
}

/// A browser that is signed in now.
pub struct SignedIn {
    /// The page that it goes to.
    pub return_to: String,
    /// Value of the cookie of the session.
    pub secret: String,
    /// How long that cookie is kept.
    pub lives: Duration,
    /// Value of the cookie of sign-ins; `None`: no other one has begun.
    pub begun: Option<String>,
}

/// The issuer's tokens, as they are sealed.
#[derive(Default, Serialize, Deserialize)]
struct Tokens {
    refresh: Option<String>,
    id: Option<String>,
}

fn refused(why: impl Into<String>) -> Fault {
    Fault::new(Kind::LoginRefused, why).hint("begin again with GET …/session/login")
}

fn away(why: &str) -> Fault {
    tracing::warn!(error = why, "nobody can sign in");
    let away = Fault::new(Kind::Unavailable, "the issuer of tokens does not answer");
    Fault { retry_after_s: Some(10), ..away }
}

fn doubted(app: &App, doubt: Doubt) -> Fault {
    match doubt {
        Doubt::Away(why) => away(&why.0),
        Doubt::Refused(why) => {
            app.metrics.token_refused(why);
            tracing::warn!(?why, "the issuer gave a token that is not believed");
            refused("the issuer gave a token that is not for this API")
        }
    }
}

/// The issuer of an audience and our client there. Errors: browsers do not sign in here.
fn client(app: &App, audience: Audience) -> Result<(&Arc<Issuer>, &ClientSettings), Fault> {
    let issuer = app.issuers.of(audience);
    let known = issuer.and_then(|i| Some((i, i.settings().client.as_ref()?)));
    known.ok_or_else(|| Fault::new(Kind::NotFound, "browsers do not sign in here: [login] names no client"))
}

/// Where the issuer sends browsers back to.
fn callback(audience: Audience, client: &ClientSettings) -> String {
    let admin = if audience == Audience::Operator { "/admin" } else { "" };
    format!("{}/api/v1{admin}/session/callback", client.url)
}

fn random(app: &App) -> String {
    let mut bytes = [0u8; 32];
    app.random(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn is_secret(text: &str) -> bool {
    text.len() == SECRET_CHARS && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Sends a browser to the issuer. `known` is its cookie of sign-ins, `session` that of its session, where it has them.
/// Errors: browsers do not sign in here; the page to return to is not ours; the issuer does not answer.
pub async fn begin(
    app: &App,
    audience: Audience,
    wish: Wish<'_>,
    known: Option<&str>,
    session: Option<&str>,
) -> Result<Sent, Fault> {
    let (issuer, client) = client(app, audience)?;
    let first = if audience == Audience::Operator { "/admin" } else { "/" };
    let return_to = wish.return_to.unwrap_or(first);
    if !code::is_local_path(return_to) {
        let what = "must be a path of this host, such as /trunks?page=2";
        return Err(Fault::field("return_to", "invalid", what));
    }
    let discovery = issuer.discovery(app.mono()).await.map_err(|e| away(&e.0))?;
    let begun = Begun {
        state: random(app),
        nonce: random(app),
        verifier: random(app),
        return_to: return_to.to_owned(),
        step_up: wish.step_up,
        at: app.wall().unix_ms(),
        after: session.filter(|s| is_secret(s)).map(|s| URL_SAFE_NO_PAD.encode(keys::hash(s))),
    };
    // Without a refresh token the session would end with the first access token.
    let scopes = discovery.scopes_supported.unwrap_or_default();
    let offline = scopes.iter().any(|s| s == "offline_access");
    let back = callback(audience, client);
    let challenge = challenge(&begun.verifier);
    let mut asked = vec![
        ("response_type", "code"),
        ("client_id", &client.id),
        ("redirect_uri", &back),
        ("scope", if offline { "openid offline_access" } else { "openid" }),
        ("state", &begun.state),
        ("nonce", &begun.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("audience", &issuer.settings().audience),
    ];
    if wish.step_up {
        asked.extend([("prompt", "login"), ("max_age", "0")]);
        asked.extend(client.step_up_acr.as_deref().map(|acr| ("acr_values", acr)));
    }
    asked.extend(wish.login_hint.map(|hint| ("login_hint", hint)));
    asked.extend(wish.organisation.map(|org| ("organization", org)));
    let location = code::with_query(&discovery.authorization_endpoint, &asked);
    let mut all = vec![begun];
    all.extend(known.map(|text| open_begun(app, audience, text)).unwrap_or_default());
    all.truncate(BEGUN);
    Ok(Sent { location, begun: seal_begun(app, audience, &all)? })
}

fn begun_place(audience: Audience) -> String {
    format!("cookie.login/{}", audience.as_str())
}

fn seal_begun(app: &App, audience: Audience, all: &[Begun]) -> Result<String, Fault> {
    let text = serde_json::to_vec(all).map_err(|_| Fault::internal())?;
    let sealed = app.store.seal().seal(&begun_place(audience), &text).map_err(|_| Fault::internal())?;
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

/// The sign-ins of a cookie that are not too old. What cannot be opened is none of ours.
fn open_begun(app: &App, audience: Audience, text: &str) -> Vec<Begun> {
    let sealed = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let Ok(clear) = app.store.seal().unseal(&begun_place(audience), &sealed) else { return Vec::new() };
    let mut all: Vec<Begun> = serde_json::from_slice(clear.reveal()).unwrap_or_default();
    let now = app.wall();
    all.retain(|b| now <= Wall::from_unix_ms(b.at).plus(SIGN_IN_TIME));
    all
}

/// Makes a session of what the issuer sent back. `known` is the browser's cookie of sign-ins.
/// Errors: this browser began no such sign-in, or too long ago (T-WEB-01); the issuer refuses, or says something else than was asked;
/// nobody here is bound to whoever signed in.
pub async fn finish(
    app: &App,
    audience: Audience,
    back: Back<'_>,
    known: Option<&str>,
    request_id: &str,
) -> Result<SignedIn, Fault> {
    let (issuer, client) = client(app, audience)?;
    let mut all = known.map(|text| open_begun(app, audience, text)).unwrap_or_default();
    let at = all.iter().position(|b| Some(b.state.as_str()) == back.state);
    let Some(begun) = at.map(|at| all.remove(at)) else {
        return Err(refused("this browser began no such sign-in, or too long ago"));
    };
    if back.issuer.is_some_and(|name| name != issuer.settings().issuer) {
        return Err(refused("another issuer answers than was asked"));
    }
    if let Some(error) = back.error {
        let word: String = error.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(64).collect();
        return Err(refused(format!("the issuer refuses: {word}")));
    }
    let code = back.code.ok_or_else(|| refused("the issuer sent no code"))?;
    let grant = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.to_owned()),
        ("redirect_uri", callback(audience, client)),
        ("code_verifier", begun.verifier.clone()),
    ];
    let tokens = issuer.tokens(grant, app.mono()).await.map_err(|why| match why {
        NoTokens::Refused(word) => refused(format!("the issuer takes the code not: {word}")),
        NoTokens::Away(why) => away(&why.0),
    })?;
    let (claims, shown) = who_signed_in(app, (issuer, client), &begun, &tokens).await?;
    let mut tx = app.store.begin(Scope::Operator("authentication")).await?;
    let name = issuer.settings().issuer.clone();
    let identity = (name.as_str(), claims.subject.as_str(), claims.organisation.as_str());
    let person = people::find(&mut tx, audience, identity).await?;
    let person = person.ok_or_else(|| refused("you have signed in, but nobody here is bound to you"))?;
    tx.commit().await?;
    let caller = users::caller(audience, &person, shown)?;
    let now = app.wall();
    let vouched_until = vouched_until(&claims);
    let whole = now.plus(app.config.sessions.lifetime);
    let expires_at = if tokens.refresh_token.is_some() { whole } else { whole.min(vouched_until) };
    let id = SessionId::new(now, app.random_id());
    let secret = random(app);
    let values = SessionValues {
        customer: caller.customer,
        audience,
        user: caller.who.to_string(),
        issuer: name,
        subject: claims.subject,
        organisation: claims.organisation,
        hash: keys::hash(&secret),
        tokens: seal_tokens(app, &id.to_string(), tokens.refresh_token, tokens.id_token)?,
        second_factor_at: shown,
        expires_at,
        vouched_until,
    };
    let ctx = Ctx {
        app,
        scope: caller.scope(),
        actor: caller.who.to_string(),
        may: caller.permissions,
        request_id: request_id.to_owned(),
        work: None,
    };
    let mut tx = ctx.begin().await?;
    if let Some(hash) = begun.after.as_deref().and_then(|h| URL_SAFE_NO_PAD.decode(h).ok()) {
        rows::delete_by_hash(&mut tx, hash).await?;
    }
    rows::insert(&mut tx, id, values, SESSIONS).await?;
    let how = serde_json::json!({ "second_factor": shown.is_some(), "expires_at": expires_at.to_string() });
    ctx.audit(&mut tx, caller.customer, "session.start", &id.to_string(), Some(how)).await?;
    tx.commit().await?;
    let begun_left = if all.is_empty() { None } else { Some(seal_begun(app, audience, &all)?) };
    let lives = Duration::from_micros(u64::try_from(expires_at.0.saturating_sub(now.0)).unwrap_or(0));
    Ok(SignedIn { return_to: begun.return_to, secret, lives, begun: begun_left })
}

/// Who the tokens say that it is, and when a second factor was shown.
async fn who_signed_in(
    app: &App,
    (issuer, client): (&Arc<Issuer>, &ClientSettings),
    begun: &Begun,
    tokens: &code::Tokens,
) -> Result<(Claims, Option<Wall>), Fault> {
    let id = tokens.id_token.as_deref().ok_or_else(|| refused("the issuer gave no ID token"))?;
    let id = oidc::believe_for(issuer, id, &client.id, app.wall(), app.mono()).await;
    let id = id.map_err(|d| doubted(app, d))?;
    let anew_since = begun.step_up.then_some(begun.at / 1_000);
    let wanted = Wanted { client: &client.id, nonce: &begun.nonce, anew_since };
    code::check(&id, wanted).map_err(|why| {
        refused(match why {
            Mismatch::Nonce => "the issuer answers another sign-in",
            Mismatch::Client => "the issuer answers another client",
            Mismatch::NotAnew => "the issuer let nobody sign in anew",
        })
    })?;
    let access = oidc::believe(issuer, &tokens.access_token, app.wall(), app.mono()).await;
    let access = access.map_err(|d| doubted(app, d))?;
    if access.subject != id.subject {
        return Err(refused("the issuer gave tokens of two people"));
    }
    // Some issuers say it in the one token, some in the other.
    let shown = access.second_factor_at.max(id.second_factor_at);
    if begun.step_up && shown.is_none() {
        return Err(refused("the issuer asked for no second factor"));
    }
    let shown = shown.map(|s| Wall::from_unix_ms(s.saturating_mul(1_000)));
    Ok((access, shown))
}

/// Until when the issuer need not be asked again.
fn vouched_until(claims: &Claims) -> Wall {
    let until = claims.expires_at.min(claims.issued_at.saturating_add(LIVES_S));
    Wall::from_unix_ms(until.saturating_mul(1_000))
}

fn tokens_place(id: &str) -> String {
    format!("sessions.tokens/{id}")
}

fn seal_tokens(
    app: &App,
    id: &str,
    refresh: Option<String>,
    id_token: Option<String>,
) -> Result<Vec<u8>, Fault> {
    let text = serde_json::to_vec(&Tokens { refresh, id: id_token }).map_err(|_| Fault::internal())?;
    app.store.seal().seal(&tokens_place(id), &text).map_err(|_| Fault::internal())
}

/// `None`: they were sealed with another key, or are damaged.
fn open_tokens(app: &App, row: &SessionRow) -> Option<Tokens> {
    let clear = app.store.seal().unseal(&tokens_place(&row.id), &row.tokens).ok()?;
    serde_json::from_slice(clear.reveal()).ok()
}

/// Who the secret of a cookie is; `None`: nobody, or nobody any more. Errors: the issuer must be asked and does not answer.
pub async fn authenticate(app: &Arc<App>, audience: Audience, secret: &str) -> Result<Option<Caller>, Fault> {
    if !is_secret(secret) {
        return Ok(None);
    }
    let hash = keys::hash(secret);
    let (mut asked, mut waited) = (false, Duration::ZERO);
    loop {
        let Some(row) = find(app, audience, &hash).await? else { return Ok(None) };
        let (now, until) = (app.wall(), row.vouched_until.0);
        if asked || until >= now.plus(EARLY) {
            return Ok(Some(caller_of(audience, &row)?));
        }
        if claim(app, &row).await? {
            // The work goes on when the client leaves: the refresh token that was used is worth nothing any more.
            let work = tokio::spawn(ask_again(app.clone(), audience, row.clone()));
            match work.await.map_err(|_| Fault::internal())?? {
                Asked::Vouched => asked = true,
                Asked::Ended => return Ok(None),
                Asked::Silent(_) if now < until => return Ok(Some(caller_of(audience, &row)?)),
                Asked::Silent(why) => return Err(away(&why)),
            }
        } else if now < until {
            return Ok(Some(caller_of(audience, &row)?));
        } else if waited >= LONGEST_WAIT {
            return Err(away("another request asks the issuer and has no answer yet"));
        } else {
            tokio::time::sleep(LOOKS).await;
            waited += LOOKS;
        }
    }
}

async fn find(app: &App, audience: Audience, hash: &[u8]) -> Result<Option<SessionRow>, StoreError> {
    let mut tx = app.store.begin(Scope::Operator("authentication")).await?;
    let idle = app.config.sessions.idle;
    let Some(row) = rows::find(&mut tx, audience, hash.to_vec(), idle).await? else { return Ok(None) };
    if row.touch {
        rows::touch(&mut tx, &row.id).await?;
        people::touch(&mut tx, audience, &row.user_id).await?;
    }
    tx.commit().await?;
    Ok(Some(row))
}

async fn claim(app: &App, row: &SessionRow) -> Result<bool, StoreError> {
    let mut tx = app.store.begin(Scope::Operator("authentication")).await?;
    let ours = rows::claim(&mut tx, &row.id, row.vouched_until.0).await?;
    tx.commit().await?;
    Ok(ours)
}

fn caller_of(audience: Audience, row: &SessionRow) -> Result<Caller, StoreError> {
    let person = PersonRow {
        id: row.user_id.clone(),
        customer_id: row.customer_id.clone(),
        role: row.role.clone(),
        touch: false,
    };
    let id = row.id.parse().map_err(|_| StoreError::Internal("a session's id cannot be read".into()))?;
    let of = users::caller(audience, &person, row.second_factor_at.map(|t| t.0))?;
    Ok(Caller { session: Some(caller::Session { id, expires_at: row.expires_at.0 }), ..of })
}

/// What came of asking the issuer again.
enum Asked {
    /// It still speaks for the person.
    Vouched,
    /// It does not: the session is over.
    Ended,
    /// It does not answer, or there is no refresh token; why.
    Silent(String),
}

/// Asks the issuer for new tokens.
async fn ask_again(app: Arc<App>, audience: Audience, row: SessionRow) -> Result<Asked, Fault> {
    let known = open_tokens(&app, &row);
    let (Ok((issuer, _)), Some(known)) = (client(&app, audience), known) else {
        return over(&app, &row, "its tokens cannot be read, or browsers do not sign in any more").await;
    };
    let Some(refresh) = known.refresh else { return Ok(Asked::Silent("there is no refresh token".into())) };
    let grant = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh.clone())];
    let tokens = match issuer.tokens(grant, app.mono()).await {
        Ok(tokens) => tokens,
        Err(NoTokens::Refused(word)) => {
            return over(&app, &row, &format!("the issuer refuses: {word}")).await;
        }
        Err(NoTokens::Away(why)) => return Ok(Asked::Silent(why.0)),
    };
    let sealed = seal_tokens(
        &app,
        &row.id,
        Some(tokens.refresh_token.unwrap_or(refresh)),
        tokens.id_token.or(known.id),
    )?;
    let (until, shown, outcome) =
        match oidc::believe(issuer, &tokens.access_token, app.wall(), app.mono()).await {
            Ok(claims) if claims.subject == row.subject && claims.organisation == row.organisation => {
                let shown = claims.second_factor_at.map(|s| Wall::from_unix_ms(s.saturating_mul(1_000)));
                (vouched_until(&claims), shown, Asked::Vouched)
            }
            Ok(_) => return over(&app, &row, "the issuer speaks for somebody else now").await,
            Err(Doubt::Refused(why)) => {
                app.metrics.token_refused(why);
                return over(&app, &row, "the issuer's new token is not believed").await;
            }
            // The refresh token that was used is worth nothing any more: the new one is kept.
            Err(Doubt::Away(why)) => (row.vouched_until.0, None, Asked::Silent(why.0)),
        };
    let mut tx = app.store.begin(Scope::Operator("authentication")).await?;
    rows::vouched(&mut tx, &row.id, sealed, shown, until).await?;
    tx.commit().await?;
    Ok(outcome)
}

async fn over(app: &App, row: &SessionRow, why: &str) -> Result<Asked, Fault> {
    tracing::info!(session = row.id, why, "a session is over");
    let mut tx = app.store.begin(Scope::Operator("authentication")).await?;
    rows::delete(&mut tx, &row.id).await?;
    tx.commit().await?;
    Ok(Asked::Ended)
}

crate::view! {
    /// The end of a session.
    pub struct SignedOut {
        /// Where the browser goes to sign out at the issuer too. Null: the issuer has no such page.
        pub sign_out_url: Option<String>,
        /// How many sessions have ended.
        pub ended: i64,
    }
}

/// Ends the session of a request, or with `everywhere` all sessions of the person. Errors: the request came by no session.
pub async fn end(ctx: &Ctx<'_>, caller: &Caller, everywhere: bool) -> Result<SignedOut, Fault> {
    let none = || Fault::new(Kind::NotFound, "this request came by a key or a token: there is no session");
    let id = caller.session.ok_or_else(none)?.id.to_string();
    let mut tx = ctx.begin().await?;
    let tokens = rows::tokens(&mut tx, &id).await?;
    let ended = if everywhere {
        rows::delete_of(&mut tx, &caller.who.to_string()).await?
    } else {
        rows::delete(&mut tx, &id).await?
    };
    let how = serde_json::json!({ "everywhere": everywhere, "ended": ended });
    ctx.audit(&mut tx, caller.customer, "session.end", &id, Some(how)).await?;
    tx.commit().await?;
    let sealed = tokens.unwrap_or_default();
    let clear = ctx.app.store.seal().unseal(&tokens_place(&id), &sealed).ok();
    let known: Tokens = clear.and_then(|c| serde_json::from_slice(c.reveal()).ok()).unwrap_or_default();
    let sign_out_url = sign_out_url(ctx.app, caller.audience, known.id).await;
    Ok(SignedOut { sign_out_url, ended: i64::try_from(ended).unwrap_or(i64::MAX) })
}

/// Where a browser signs out at the issuer (OpenID Connect RP-Initiated Logout §2). The session is over whatever the issuer says.
async fn sign_out_url(app: &App, audience: Audience, id_token: Option<String>) -> Option<String> {
    let (issuer, client) = client(app, audience).ok()?;
    let to = issuer.discovery(app.mono()).await.ok()?.end_session_endpoint?;
    let home = format!("{}/", client.url);
    let mut pairs = vec![("client_id", client.id.as_str()), ("post_logout_redirect_uri", &home)];
    pairs.extend(id_token.as_deref().map(|token| ("id_token_hint", token)));
    Some(code::with_query(&to, &pairs))
}

crate::choice! {
    /// What kind of caller it is.
    pub enum CallerKind {
        /// A program, with a key.
        Key = "key",
        /// A person, with a token or a session.
        User = "user",
    }
}

crate::view! {
    /// Who the caller is, and what it may.
    pub struct Session {
        /// Whether a program or a person calls.
        pub kind: super::view::Word<CallerKind>,
        /// The id of the user (`usr_…`) or of the key (`key_…`).
        pub id: String,
        /// The name of the user or of the key.
        pub name: String,
        /// The customer that it belongs to. Null: it is the carrier's.
        pub customer_id: Option<String>,
        /// The role of a user. Null: it is a key.
        pub role: Option<String>,
        /// The words of the permissions that it has in this API.
        pub permissions: Vec<String>,
        /// The session of a browser. Null: the request came by a key or a token.
        pub session_id: Option<String>,
        /// When the session or the key ends, whatever is done with it. Null: it does not, or a token says so itself.
        pub expires_at: Option<Time>,
        /// Seconds without a request after which the session ends too. Null: there is no session.
        pub idle_s: Option<i64>,
        /// Until when keys, users and money can be changed without a second factor being shown again. Null: one must be shown first, or
        /// it is a key.
        pub second_factor_until: Option<Time>,
    }
}

/// Who the caller is.
pub async fn show(ctx: &Ctx<'_>, caller: &Caller, second_factor_lives: Duration) -> Result<Session, Fault> {
    let mut tx = ctx.begin().await?;
    let gone = || Fault::not_found("caller");
    let (kind, name, role) = match caller.who {
        Who::Key(id) => {
            let row = key_rows::get(&mut tx, id).await?.ok_or_else(gone)?;
            (CallerKind::Key, row.name, None)
        }
        Who::User(id) if caller.audience == Audience::Customer => {
            let row = nouns::get::<UserRow>(&mut tx, id).await?.ok_or_else(gone)?;
            (CallerKind::User, row.name, Some(row.role))
        }
        Who::User(id) => {
            let row = nouns::get::<OperatorRow>(&mut tx, id).await?.ok_or_else(gone)?;
            (CallerKind::User, row.name, Some(row.role))
        }
    };
    let may = caller.permissions.and(Permissions::of_audience(caller.audience));
    let held = Permission::ALL.iter().filter(|p| may.has(**p));
    let idle = i64::try_from(ctx.app.config.sessions.idle.as_secs()).unwrap_or(i64::MAX);
    let until = caller.second_factor_at.map(|at| at.plus(second_factor_lives));
    Ok(Session {
        kind: kind.as_str().to_owned().into(),
        id: caller.who.to_string(),
        name,
        customer_id: caller.customer.map(|c| c.to_string()),
        role,
        permissions: held.map(|p| p.as_str().to_owned()).collect(),
        session_id: caller.session.map(|s| s.id.to_string()),
        expires_at: caller.session.map(|s| s.expires_at).or(caller.expires_at).map(Time),
        idle_s: caller.session.map(|_| idle),
        second_factor_until: until.filter(|until| *until > ctx.app.wall()).map(Time),
    })
}
