//! Signing in with a browser: the authorization code flow (OpenID Connect Core §3.1) with PKCE by S256 (RFC 7636). What is sent to the
//! issuer and what of its answer is believed. Pure: randomness, time and answers are arguments.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::token::{Claims, LEEWAY_S};

/// Longest token that an issuer may give, in bytes: each is kept sealed, or checked as a JWT.
const TOKEN_BYTES: usize = 16 << 10;

/// What PKCE sends ahead of a verifier: the SHA-256 of it, in base64 of URLs (RFC 7636 §4.2).
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// A text as it stands in a query or in a form: all but unreserved characters (RFC 3986 §2.3) in percent form.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// A text as it stands in HTML, also between quotes.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Pairs as a query or as a form (`application/x-www-form-urlencoded`).
pub fn form(pairs: &[(&str, &str)]) -> String {
    let parts: Vec<String> = pairs.iter().map(|(n, v)| format!("{}={}", encoded(n), encoded(v))).collect();
    parts.join("&")
}

/// An address with more parameters; the address may have some already.
pub fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    let glue = if url.contains('?') { '&' } else { '?' };
    format!("{url}{glue}{}", form(pairs))
}

/// What the token endpoint gives (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
#[derive(Clone, Deserialize)]
pub struct Tokens {
    /// Opens our API: a JWT of our audience.
    pub access_token: String,
    /// Says who signed in to this client. A refreshed answer may be without one.
    #[serde(default)]
    pub id_token: Option<String>,
    /// Asks for new tokens. Some issuers give none.
    #[serde(default)]
    pub refresh_token: Option<String>,
}

impl Tokens {
    /// Reads an answer of the token endpoint. Errors: it is none, or a token is longer than 16 KiB.
    pub fn read(body: &[u8]) -> Result<Self, &'static str> {
        let tokens: Self = serde_json::from_slice(body).map_err(|_| "its tokens cannot be read")?;
        let others = [&tokens.id_token, &tokens.refresh_token];
        let longest = others.iter().filter_map(|t| t.as_ref().map(String::len)).max().unwrap_or(0);
        if longest.max(tokens.access_token.len()) > TOKEN_BYTES {
            return Err("it gives a token that is too long");
        }
        Ok(tokens)
    }
}

/// What an ID token must say besides what every token must.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Our client at the issuer.
    pub client: &'a str,
    /// What was sent ahead, to the letter.
    pub nonce: &'a str,
    /// The person had to sign in anew at this time or later, in seconds since 1970; `None`: not.
    pub anew_since: Option<i64>,
}

/// Why an ID token is not the answer to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It answers another question: the nonce is not ours.
    Nonce,
    /// It was made for another client.
    Client,
    /// The person should have signed in anew and did not, or the token does not say when.
    NotAnew,
}

/// Checks what an ID token says, after its signature, issuer, audience and times (OpenID Connect Core §3.1.3.7).
pub fn check(id: &Claims, wanted: Wanted<'_>) -> Result<(), Mismatch> {
    if id.nonce.as_deref() != Some(wanted.nonce) {
        return Err(Mismatch::Nonce);
    }
    let other = id.authorized_party.as_deref().is_some_and(|azp| azp != wanted.client);
    if other || (id.audiences > 1 && id.authorized_party.is_none()) {
        return Err(Mismatch::Client);
    }
    match wanted.anew_since {
        Some(since) if id.signed_in_at.is_none_or(|at| at.saturating_add(LEEWAY_S) < since) => {
            Err(Mismatch::NotAnew)
        }
        _ => Ok(()),
    }
}

/// Whether a place to return to is one of our own pages: a path, which no browser reads as another host.
pub fn is_local_path(text: &str) -> bool {
    let path = text.strip_prefix('/');
    path.is_some_and(|rest| !rest.starts_with('/'))
        && text.len() <= 512
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn what_is_sent_cannot_add_parameters() {
        assert_eq!(form(&[("a", "x&b=y"), ("c", "ü /")]), "a=x%26b%3Dy&c=%C3%BC%20%2F");
        assert_eq!(with_query("https://i/a?t=1", &[("b", "2")]), "https://i/a?t=1&b=2");
        assert_eq!(with_query("https://i/a", &[("b", "2")]), "https://i/a?b=2");
    }

    #[test]
    fn t_web_01_nobody_is_sent_to_another_host() {
        for good in ["/", "/admin", "/a/b?c=d&e=%20#f", "/a//b", "/@x"] {
            assert!(is_local_path(good), "{good}");
        }
        let long = format!("/{}", "a".repeat(512));
        for bad in [
            "",
            "admin",
            "//evil.example",
            "/\\evil.example",
            "/a\\b",
            "https://evil.example/",
            "/\t/evil.example",
            "/\n/evil.example",
            " /a",
            "/a b",
            "javascript:alert(1)",
            "/ü",
            &long,
        ] {
            assert!(!is_local_path(bad), "{bad:?}");
        }
    }

    #[test]
    fn t_api_03_an_id_token_answers_our_question_and_no_other() {
        let id = Claims {
            subject: "s".into(),
            organisation: String::new(),
            issued_at: 1_000,
            expires_at: 2_000,
            second_factor_at: None,
            signed_in_at: Some(970),
            nonce: Some("n".into()),
            authorized_party: None,
            audiences: 1,
        };
        let wanted = Wanted { client: "warp", nonce: "n", anew_since: None };
        assert_eq!(check(&id, wanted), Ok(()));
        assert_eq!(check(&id, Wanted { nonce: "m", ..wanted }), Err(Mismatch::Nonce));
        assert_eq!(check(&Claims { nonce: None, ..id.clone() }, wanted), Err(Mismatch::Nonce));
        let others = Claims { authorized_party: Some("other".into()), ..id.clone() };
        assert_eq!(check(&others, wanted), Err(Mismatch::Client));
        assert_eq!(check(&Claims { audiences: 2, ..id.clone() }, wanted), Err(Mismatch::Client));
        let ours = Claims { audiences: 2, authorized_party: Some("warp".into()), ..id.clone() };
        assert_eq!(check(&ours, wanted), Ok(()));
        // Thirty seconds of leeway, as for every time of an issuer.
        assert_eq!(check(&id, Wanted { anew_since: Some(1_000), ..wanted }), Ok(()));
        assert_eq!(check(&id, Wanted { anew_since: Some(1_001), ..wanted }), Err(Mismatch::NotAnew));
        let silent = Claims { signed_in_at: None, ..id };
        assert_eq!(check(&silent, Wanted { anew_since: Some(1_000), ..wanted }), Err(Mismatch::NotAnew));
    }

    #[test]
    fn an_answer_of_the_token_endpoint_is_read_or_refused() {
        let good = Tokens::read(
            br#"{"access_token":"a","id_token":"i","refresh_token":"r","expires_in":3600,"x":1}"#,
        );
        assert_eq!(good.ok().and_then(|t| t.refresh_token).as_deref(), Some("r"));
        assert!(Tokens::read(br#"{"access_token":"a"}"#).is_ok());
        let long = format!(r#"{{"access_token":"a","refresh_token":"{}"}}"#, "r".repeat(TOKEN_BYTES + 1));
        for bad in ["", "{}", "[]", r#"{"access_token":7}"#, &long] {
            assert!(Tokens::read(bad.as_bytes()).is_err(), "{bad:.40}");
        }
    }
}
