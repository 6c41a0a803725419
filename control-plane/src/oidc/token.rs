//! What a token must be: an access token of a configured issuer (JWT, RFC 7519 and 9068), for our audience, signed by one of the
//! issuer's own keys, in force now. Everything else is refused, and the caller is told nothing but that (T-API-02, T-API-03).
//! Pure: keys and time are arguments.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Validation;
use serde::Deserialize;
use serde_json::{Map, Value};
use warp_model::Wall;

use super::jwks::{KID_BYTES, Key};
use crate::metrics::TokenRefusal;

/// Longest token, in bytes.
pub const TOKEN_BYTES: usize = 16 << 10;
/// How far the clocks of an issuer and ours may lie apart, in seconds.
pub const LEEWAY_S: i64 = 30;
/// Seconds that a token is taken after it was issued, whatever it says of its end.
pub const LIVES_S: i64 = 3_600;

/// Why a token is refused. For the log and for tests: the client hears of none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no JWT of three parts, or its head cannot be read.
    Malformed,
    /// Its head names a key or a meaning of its own: jku, jwk, x5u, x5c, crit.
    BringsKeys,
    /// Its head names an algorithm that is not RS256 or ES256.
    Algorithm,
    /// It names no key, or one that the issuer does not have.
    UnknownKey,
    /// The signature is not that of the key, or the key is for another algorithm.
    Signature,
    /// A claim that must be there is not, or is of another type.
    Claims,
    /// Another issuer made it.
    Issuer,
    /// It is for another audience.
    Audience,
    /// It has ended, or is too old.
    Stale,
    /// It begins later, or was issued in the future.
    Early,
}

impl From<Refused> for TokenRefusal {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Malformed => Self::Malformed,
            Refused::BringsKeys => Self::BringsKeys,
            Refused::Algorithm => Self::Algorithm,
            Refused::UnknownKey => Self::UnknownKey,
            Refused::Signature => Self::Signature,
            Refused::Claims => Self::Claims,
            Refused::Issuer => Self::Issuer,
            Refused::Audience => Self::Audience,
            Refused::Stale => Self::Stale,
            Refused::Early => Self::Early,
        }
    }
}

/// What a token says, once it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who it is, to the issuer.
    pub subject: String,
    /// The organisation that it signed in through; empty when through none.
    pub organisation: String,
    /// When it was issued, in seconds since 1970.
    pub issued_at: i64,
    /// When it ends, in seconds since 1970.
    pub expires_at: i64,
    /// When the person showed two factors of different kinds; `None` when the token does not say so.
    pub second_factor_at: Option<i64>,
    /// When the person signed in, in seconds since 1970; `None` when the token does not say so.
    pub signed_in_at: Option<i64>,
    /// Of ID tokens: what the question carried that it answers.
    pub nonce: Option<String>,
    /// The client that it was made for (`azp`), when it says so.
    pub authorized_party: Option<String>,
    /// How many audiences it has.
    pub audiences: usize,
}

/// The id of the key that a token names. Errors: its head asks for what is never given.
pub fn key_id(token: &str) -> Result<String, Refused> {
    if token.len() > TOKEN_BYTES || token.split('.').count() != 3 {
        return Err(Refused::Malformed);
    }
    let head = token.split('.').next().ok_or(Refused::Malformed)?;
    let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| Refused::Malformed)?;
    let head: Map<String, Value> = serde_json::from_slice(&head).map_err(|_| Refused::Malformed)?;
    if ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"].iter().any(|name| head.contains_key(*name)) {
        return Err(Refused::BringsKeys);
    }
    if !matches!(head.get("alg").and_then(Value::as_str), Some("RS256" | "ES256")) {
        return Err(Refused::Algorithm);
    }
    let kid = head.get("kid").and_then(Value::as_str).filter(|k| (1..=KID_BYTES).contains(&k.len()));
    kid.map(str::to_owned).ok_or(Refused::UnknownKey)
}

#[derive(Deserialize)]
struct Said {
    iss: String,
    sub: String,
    aud: OneOrMore,
    exp: f64,
    iat: f64,
    #[serde(default)]
    nbf: Option<f64>,
    // Auth0 lets nobody add a claim to an access token whose name is no URL.
    #[serde(default, alias = "https://warp/auth_time")]
    auth_time: Option<f64>,
    #[serde(default, alias = "https://warp/amr")]
    amr: Vec<String>,
    #[serde(default)]
    org_id: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    azp: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Checks a token against the key that it names. `issuer` and `audience` are what it must say, to the letter.
pub fn verify(token: &str, key: &Key, issuer: &str, audience: &str, now: Wall) -> Result<Claims, Refused> {
    key_id(token)?;
    let mut wanted = Validation::new(key.algorithm);
    // Claims and times are checked below, by our clock and our leeway.
    wanted.required_spec_claims.clear();
    (wanted.validate_exp, wanted.validate_nbf, wanted.validate_aud) = (false, false, false);
    let said =
        jsonwebtoken::decode::<Value>(token, &key.decoding, &wanted).map_err(|_| Refused::Signature)?;
    let said: Said = serde_json::from_value(said.claims).map_err(|_| Refused::Claims)?;
    if said.iss != issuer {
        return Err(Refused::Issuer);
    }
    let (for_us, audiences) = match &said.aud {
        OneOrMore::One(one) => (one == audience, 1),
        OneOrMore::More(all) => (all.iter().any(|a| a == audience), all.len()),
    };
    if !for_us {
        return Err(Refused::Audience);
    }
    if said.sub.is_empty() || said.sub.len() > 256 || said.org_id.as_ref().is_some_and(|o| o.len() > 256) {
        return Err(Refused::Claims);
    }
    let now = now.unix_ms() / 1_000;
    let (expires_at, issued_at) = (seconds(said.exp)?, seconds(said.iat)?);
    if now >= expires_at.saturating_add(LEEWAY_S) || now >= issued_at.saturating_add(LIVES_S + LEEWAY_S) {
        return Err(Refused::Stale);
    }
    let begins = said.nbf.map(seconds).transpose()?.unwrap_or(issued_at).max(issued_at);
    if now.saturating_add(LEEWAY_S) < begins {
        return Err(Refused::Early);
    }
    let shown = said.auth_time.map(seconds).transpose()?;
    Ok(Claims {
        subject: said.sub,
        organisation: said.org_id.unwrap_or_default(),
        issued_at,
        expires_at,
        second_factor_at: shown.filter(|at| *at <= now.saturating_add(LEEWAY_S) && two_factors(&said.amr)),
        signed_in_at: shown,
        nonce: said.nonce,
        authorized_party: said.azp,
        audiences,
    })
}

/// NumericDate (RFC 7519 §2): seconds, which may have a fraction.
fn seconds(date: f64) -> Result<i64, Refused> {
    if (0.0..=253_402_300_799.0).contains(&date) { Ok(date as i64) } else { Err(Refused::Claims) }
}

/// Whether methods of authentication (RFC 8176) are a second factor: `mfa` says so, else two of different kinds do.
fn two_factors(methods: &[String]) -> bool {
    let any = |kinds: &[&str]| methods.iter().any(|m| kinds.contains(&m.as_str()));
    let known = any(&["pwd", "pin", "kba"]);
    let held = any(&["otp", "hwk", "swk", "sc", "sms", "tel"]);
    let bodily = any(&["face", "fpt", "iris", "retina", "vbm"]);
    any(&["mfa"]) || [known, held, bodily].iter().filter(|k| **k).count() >= 2
}
