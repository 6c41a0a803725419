//! The issuer of `warp dev`: discovery, keys, authorization code with PKCE (RFC 7636) and tokens, as an issuer of production speaks
//! them, so that consoles and tests take the real path. Nobody proves who he is here: whoever reaches it picks one of the demo people.
//! It answers on the API's own listener below [`PLACE`], and only where a deployment asked for it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use warp_model::sync::lock;
use warp_model::{Secret, Wall};

use super::code::{challenge, encoded, escaped};
use super::issuer::is_safe;
use crate::audience::Audience;
use crate::wall_now;

/// Where it stands on the API's listener.
pub const PLACE: &str = "/dev";
/// The name of our application there.
pub const CLIENT: &str = "warp-dev";
/// Seconds that a token lives.
const TOKEN_S: i64 = 3_600;
/// How long a code can be used.
const CODE_LIVES: Duration = Duration::from_secs(60);
/// How long a refresh token can be used.
const REFRESH_LIVES: Duration = Duration::from_secs(86_400);
/// Codes that wait, and refresh tokens that live; when there are more, the oldest goes.
const CODES: usize = 1_000;

/// Somebody who can sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who it is to the issuer, and what it picks.
    pub subject: String,
    /// The name, for people.
    pub name: String,
    /// Whose API it uses.
    pub audience: Audience,
}

/// What tokens of the demo issuer say in `aud`.
pub fn audience(of: Audience) -> &'static str {
    match of {
        Audience::Customer => "warp-dev-customers",
        Audience::Operator => "warp-dev-operators",
    }
}

/// The issuer while it runs.
pub struct DevIssuer {
    issuer: String,
    people: Vec<Person>,
    signing: EncodingKey,
    kid: String,
    public: Value,
    codes: Mutex<HashMap<String, Granted>>,
    refreshes: Mutex<HashMap<String, Granted>>,
}

/// What a code stands for.
#[derive(Clone)]
struct Granted {
    at: Wall,
    /// When the person signed in.
    signed_in: Wall,
    subject: String,
    audience: &'static str,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
    amr: Vec<&'static str>,
}

impl DevIssuer {
    /// With the key of this file, which is made when it does not exist; `at` is the base URL of the API.
    /// Errors: the file cannot be read or written.
    pub fn open(key_file: &Path, at: &str, people: Vec<Person>) -> Result<Self, String> {
        let scalar = key_of(key_file)?;
        let signing = EncodingKey::from_ec_der(&pkcs8(scalar.reveal()));
        let jwk = Jwk::from_encoding_key(&signing, Algorithm::ES256).map_err(|e| format!("key: {e}"))?;
        let mut public = serde_json::to_value(jwk).map_err(|e| format!("key: {e}"))?;
        let point = format!("{}{}", public["x"], public["y"]);
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(point.as_bytes()));
        public["kid"] = kid.clone().into();
        public["use"] = "sig".into();
        public["alg"] = "ES256".into();
        let issuer = format!("{at}{PLACE}");
        Ok(Self {
            issuer,
            people,
            signing,
            kid,
            public,
            codes: Mutex::default(),
            refreshes: Mutex::default(),
        })
    }

    /// Its name, as tokens say it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The people who can sign in.
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// Its pages, to stand on the API's listener.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/dev/.well-known/openid-configuration", get(discovery))
            .route("/dev/jwks", get(jwks))
            .route("/dev/authorize", get(authorize))
            .route("/dev/token", post(token))
            .route("/dev/signed-out", get(signed_out))
            .with_state(self.clone())
    }

    /// An access token of this person, as the token endpoint gives it.
    fn access_token(&self, granted: &Granted, now: Wall) -> Result<String, String> {
        let now = now.unix_ms() / 1_000;
        let claims = json!({
            "iss": self.issuer, "sub": granted.subject, "aud": [granted.audience], "azp": CLIENT,
            "iat": now, "nbf": now, "exp": now + TOKEN_S, "auth_time": granted.signed_in.unix_ms() / 1_000, "amr": granted.amr,
        });
        self.signed("at+jwt", &claims)
    }

    fn signed(&self, kind: &str, claims: &Value) -> Result<String, String> {
        let mut head = Header::new(Algorithm::ES256);
        head.kid = Some(self.kid.clone());
        head.typ = Some(kind.to_owned());
        jsonwebtoken::encode(&head, claims, &self.signing).map_err(|e| e.to_string())
    }

    /// What a code stands for; it works once.
    fn take(&self, code: &str, now: Wall) -> Option<Granted> {
        lock(&self.codes).remove(code).filter(|g| now <= g.at.plus(CODE_LIVES))
    }

    /// What a refresh token stands for; it works once, and another one is given with its tokens.
    fn take_refresh(&self, token: &str, now: Wall) -> Option<Granted> {
        lock(&self.refreshes).remove(token).filter(|g| now <= g.at.plus(REFRESH_LIVES))
    }

    /// The people of a subject are signed out: no refresh token of theirs works any more. For tests of what follows.
    pub fn forget(&self, subject: &str) {
        lock(&self.refreshes).retain(|_, g| g.subject != subject);
    }
}

/// Keeps what a new secret stands for; gives the secret.
fn keep(of: &Mutex<HashMap<String, Granted>>, granted: Granted) -> Result<String, String> {
    let secret = random()?;
    let mut all = lock(of);
    if all.len() >= CODES {
        let oldest = all.iter().min_by_key(|(_, g)| g.at.0).map(|(secret, _)| secret.clone());
        oldest.map(|secret| all.remove(&secret));
    }
    all.insert(secret.clone(), granted);
    Ok(secret)
}

async fn discovery(State(this): State<Arc<DevIssuer>>) -> Response {
    let at = &this.issuer;
    answer(
        200,
        &json!({
            "issuer": at, "jwks_uri": format!("{at}/jwks"),
            "authorization_endpoint": format!("{at}/authorize"), "token_endpoint": format!("{at}/token"),
            "end_session_endpoint": format!("{at}/signed-out"),
            "response_types_supported": ["code"], "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"], "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["openid", "offline_access"]
        }),
    )
}

async fn jwks(State(this): State<Arc<DevIssuer>>) -> Response {
    answer(200, &json!({ "keys": [this.public] }))
}

/// Who is asked for is signed in at once (`login_hint`); else a page shows the demo people, each with a link that says so.
async fn authorize(State(this): State<Arc<DevIssuer>>, uri: Uri) -> Response {
    let asked = match pairs(&uri) {
        Some(asked) => asked,
        None => return refused("invalid_request", "the query cannot be read"),
    };
    let of = |name: &str| asked.get(name).map(String::as_str);
    let (Some(redirect_uri), Some(challenge)) = (of("redirect_uri"), of("code_challenge")) else {
        return refused("invalid_request", "redirect_uri and code_challenge must be there");
    };
    let local = redirect_uri.starts_with("http://") && is_safe(redirect_uri);
    if of("client_id") != Some(CLIENT) || !local {
        return refused(
            "unauthorized_client",
            "client_id is warp-dev, redirect_uri an http address of this machine",
        );
    }
    if of("response_type") != Some("code")
        || of("code_challenge_method") != Some("S256")
        || challenge.len() != 43
    {
        return refused("invalid_request", "response_type is code, code_challenge_method S256 (RFC 7636)");
    }
    let wanted =
        [Audience::Customer, Audience::Operator].into_iter().find(|a| of("audience") == Some(audience(*a)));
    let Some(wanted) = wanted else {
        return refused("invalid_target", "audience is warp-dev-customers or warp-dev-operators");
    };
    let Some(hint) = of("login_hint") else { return choice(&this, &uri, wanted) };
    let Some(person) = this.people.iter().find(|p| p.audience == wanted && p.subject == hint) else {
        return refused("access_denied", "there is nobody of this name");
    };
    let amr = if of("acr_values") == Some("pwd") { vec!["pwd"] } else { vec!["pwd", "otp"] };
    let now = wall_now();
    let granted = Granted {
        at: now,
        signed_in: now,
        subject: person.subject.clone(),
        audience: audience(wanted),
        redirect_uri: redirect_uri.to_owned(),
        challenge: challenge.to_owned(),
        nonce: of("nonce").map(str::to_owned),
        amr,
    };
    let Ok(code) = keep(&this.codes, granted) else {
        return refused("server_error", "there is no randomness");
    };
    let glue = if redirect_uri.contains('?') { '&' } else { '?' };
    let mut to = format!("{redirect_uri}{glue}code={code}");
    if let Some(state) = of("state") {
        let _ = write!(to, "&state={}", encoded(state));
    }
    response(302, &[(LOCATION.as_str(), &to)], String::new())
}

/// The demo people of an audience.
fn choice(this: &DevIssuer, uri: &Uri, wanted: Audience) -> Response {
    let query = escaped(uri.query().unwrap_or(""));
    let mut rows = String::new();
    for p in this.people.iter().filter(|p| p.audience == wanted) {
        let (subject, name) = (escaped(&p.subject), escaped(&p.name));
        let _ = write!(
            rows,
            "<li><a href=\"{PLACE}/authorize?{query}&amp;login_hint={subject}\">{subject}</a> {name}</li>"
        );
    }
    page(&format!(
        "<h1>Sign in to the demo world</h1><p>Nobody has to prove anything here. Pick somebody:</p><ul>{rows}</ul>"
    ))
}

fn page(body: &str) -> Response {
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>WARP dev sign-in</title></head><body>{body}</body></html>"
    );
    let headers = [
        (CONTENT_TYPE.as_str(), "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY.as_str(), "default-src 'none'; frame-ancestors 'none'"),
    ];
    response(200, &headers, body)
}

/// A code becomes tokens, once, for whoever knows what its challenge was made of.
async fn token(State(this): State<Arc<DevIssuer>>, body: Bytes) -> Response {
    let form = std::str::from_utf8(&body).ok().and_then(|t| format!("/?{t}").parse::<Uri>().ok());
    let Some(asked) = form.as_ref().and_then(pairs) else {
        return refused("invalid_request", "the form cannot be read");
    };
    let of = |name: &str| asked.get(name).map(String::as_str);
    let now = wall_now();
    match of("grant_type") {
        Some("authorization_code") => {}
        Some("refresh_token") if of("client_id") == Some(CLIENT) => {
            return match of("refresh_token").and_then(|t| this.take_refresh(t, now)) {
                Some(granted) => tokens(&this, granted, now),
                None => refused("invalid_grant", "the refresh token is not yours, or was used"),
            };
        }
        _ => {
            return refused("unsupported_grant_type", "grant_type is authorization_code or refresh_token");
        }
    }
    let granted = of("code").and_then(|code| this.take(code, now));
    let verifier = of("code_verifier").filter(|v| (43..=128).contains(&v.len()));
    let proven = |g: &Granted| {
        let hashed = verifier.map(challenge);
        of("client_id") == Some(CLIENT)
            && of("redirect_uri") == Some(g.redirect_uri.as_str())
            && hashed.as_deref() == Some(g.challenge.as_str())
    };
    let Some(granted) = granted.filter(proven) else {
        return refused("invalid_grant", "the code is not yours, or was used");
    };
    tokens(&this, granted, now)
}

/// The tokens of a person, with a refresh token that works once.
fn tokens(this: &DevIssuer, granted: Granted, now: Wall) -> Response {
    let seconds = now.unix_ms() / 1_000;
    let mut id = json!({
        "iss": this.issuer, "sub": granted.subject, "aud": CLIENT, "iat": seconds, "exp": seconds + TOKEN_S,
        "auth_time": granted.signed_in.unix_ms() / 1_000, "amr": granted.amr,
    });
    if let Some(nonce) = &granted.nonce {
        id["nonce"] = nonce.clone().into();
    }
    let (access, id) = (this.access_token(&granted, now), this.signed("JWT", &id));
    let refresh = keep(&this.refreshes, Granted { at: now, nonce: None, ..granted });
    match (access, id, refresh) {
        (Ok(access), Ok(id), Ok(refresh)) => answer(
            200,
            &json!({
                "access_token": access, "id_token": id, "refresh_token": refresh, "token_type": "Bearer",
                "expires_in": TOKEN_S
            }),
        ),
        _ => refused("server_error", "the token cannot be signed"),
    }
}

/// Who signs out here was never signed in: the demo issuer knows no sessions of its own.
async fn signed_out() -> Response {
    page("<h1>Signed out</h1>")
}

/// The parameters of a query, each once.
fn pairs(uri: &Uri) -> Option<HashMap<String, String>> {
    let Query(all) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let count = all.len();
    let map: HashMap<String, String> = all.into_iter().collect();
    (map.len() == count).then_some(map)
}

fn refused(error: &str, why: &str) -> Response {
    answer(400, &json!({ "error": error, "error_description": why }))
}

fn answer(status: u16, body: &Value) -> Response {
    response(status, &[(CONTENT_TYPE.as_str(), "application/json")], body.to_string())
}

fn response(status: u16, headers: &[(&str, &str)], body: String) -> Response {
    let mut out = Response::builder().status(StatusCode::from_u16(status).unwrap_or(StatusCode::OK));
    out = out.header(CACHE_CONTROL, "no-store").header("referrer-policy", "no-referrer");
    for (name, value) in headers {
        out = out.header(*name, *value);
    }
    out.body(Body::from(body)).unwrap_or_default()
}

fn random() -> Result<String, String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| format!("no randomness: {e}"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The private scalar in a file, which only its owner can read; a new one when there is no file.
fn key_of(path: &Path) -> Result<Secret<Vec<u8>>, String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let bytes = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|e| failed(&e))?;
            if bytes.len() != 32 {
                return Err(failed(&"is not a key of the demo issuer"));
            }
            Ok(Secret::new(bytes))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = vec![0u8; 32];
            getrandom::fill(&mut bytes).map_err(|e| failed(&e))?;
            // Below the order of the curve, whose first byte is 0xFF; and not zero.
            if let Some(first) = bytes.first_mut() {
                *first = (*first & 0x7F) | 1;
            }
            let file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(path);
            let mut file = file.map_err(|e| failed(&e))?;
            file.write_all(URL_SAFE_NO_PAD.encode(&bytes).as_bytes()).map_err(|e| failed(&e))?;
            Ok(Secret::new(bytes))
        }
        Err(e) => Err(failed(&e)),
    }
}

/// PrivateKeyInfo (RFC 5208) of an ECPrivateKey (RFC 5915) on P-256, without its public part.
fn pkcs8(scalar: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] = &[
        0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
        0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04,
        0x20,
    ];
    [HEAD, scalar].concat()
}
