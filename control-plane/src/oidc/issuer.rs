//! An issuer as we ask it: its discovery document (OpenID Connect Discovery 1.0) and its keys.
//!
//! Limits (T-API-02): a key that is not known is asked for at most once in [`ASK_EVERY`], by one request at a time; keys are read
//! again every [`REFRESH`], so that one that was taken back ends; when the issuer is away the known ones stay for [`KEEP`]. An answer
//! has at most 256 KiB and five seconds, redirections are not followed, and every address is of https (on loopback also http).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use warp_model::{Mono, Secret};

use super::code::{Tokens, encoded, form};
use super::jwks::{Key, KeySet};

/// Shortest time between two questions to an issuer.
pub const ASK_EVERY: Duration = Duration::from_secs(60);
/// Age at which known keys are read again.
pub const REFRESH: Duration = Duration::from_secs(600);
/// How long known keys are taken when the issuer does not answer.
pub const KEEP: Duration = Duration::from_secs(86_400);
/// Largest answer, in bytes.
const ANSWER_BYTES: u64 = 256 << 10;
/// Longest time of one question.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What a deployment says of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Its name, to the letter, as tokens and its discovery document say it. Auth0's ends with a slash.
    pub issuer: String,
    /// What tokens for this API say in `aud`.
    pub audience: String,
    /// Our application there, by which browsers sign in; `None`: they do not.
    pub client: Option<ClientSettings>,
}

/// An application of ours at an issuer: browsers come in through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Its id there (`client_id`).
    pub id: String,
    /// File with its secret; `None`: it is a public client, and PKCE alone binds the code to us.
    pub secret_file: Option<PathBuf>,
    /// Where browsers reach this API: scheme, host and port, without a path. The issuer sends them back there.
    pub url: String,
    /// What is asked for as `acr_values` when a second factor is wanted; `None`: nothing, the issuer decides by its own rules.
    pub step_up_acr: Option<String>,
}

/// Why an issuer gives no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoTokens {
    /// It says no (RFC 6749 §5.2), with this word: the code or the refresh token is used, taken back or not ours.
    Refused(String),
    /// It does not answer, or answers what it must not.
    Away(Away),
}

/// An issuer does not answer, or answers what it must not; in words, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away(pub String);

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Away {}

/// What is needed of a discovery document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Discovery {
    /// Must be the configured name.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where a browser is sent to sign in.
    pub authorization_endpoint: String,
    /// Where a code becomes a token.
    pub token_endpoint: String,
    /// Where a browser is sent to sign out there too.
    #[serde(default)]
    pub end_session_endpoint: Option<String>,
    /// What can be asked for; `None`: it does not say.
    #[serde(default)]
    pub scopes_supported: Option<Vec<String>>,
    /// How a client may prove itself to the token endpoint; `None`: `client_secret_basic`.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// An issuer, and what is known of it.
pub struct Issuer {
    settings: IssuerSettings,
    agent: ureq::Agent,
    held: ArcSwap<Held>,
    /// When it was asked last; held while it is asked.
    asked: tokio::sync::Mutex<Option<Mono>>,
}

#[derive(Default)]
struct Held {
    keys: KeySet,
    discovery: Option<Discovery>,
    /// When they were read; `None`: never.
    read_at: Option<Mono>,
}

impl Issuer {
    /// Of these settings; nothing is asked yet.
    pub fn new(settings: IssuerSettings) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER_TIME))
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        Self { settings, agent: agent.into(), held: ArcSwap::default(), asked: tokio::sync::Mutex::default() }
    }

    /// The settings that it was made with.
    pub fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// The key of this id, or `None` when the issuer has none. Errors: nothing is known and the issuer does not answer.
    pub async fn key(self: &Arc<Self>, kid: &str, now: Mono) -> Result<Option<Key>, Away> {
        let held = self.held.load();
        if let (Some(key), Some(age)) = (held.keys.find(kid), held.age(now)) {
            if age >= REFRESH {
                // Not by this request: it has its key.
                let issuer = self.clone();
                tokio::spawn(async move { issuer.ask(now, REFRESH).await });
            }
            if age < KEEP {
                return Ok(Some(key.clone()));
            }
        }
        drop(held);
        let asked = self.ask(now, Duration::ZERO).await;
        let held = self.held.load();
        match (held.age(now), asked) {
            (Some(age), _) if age < KEEP => Ok(held.keys.find(kid).cloned()),
            (_, Err(away)) => Err(away),
            (_, Ok(())) => Err(Away("its keys are not known".to_owned())),
        }
    }

    /// Its discovery document. Errors: it is not known and the issuer does not answer.
    pub async fn discovery(self: &Arc<Self>, now: Mono) -> Result<Discovery, Away> {
        if self.held.load().discovery.is_none() {
            self.ask(now, Duration::ZERO).await?;
        }
        let known = self.held.load().discovery.clone();
        known.ok_or_else(|| Away("it was asked a moment ago and did not answer".to_owned()))
    }

    /// Reads its keys again when they are at least this old, unless it was asked within [`ASK_EVERY`].
    async fn ask(self: &Arc<Self>, now: Mono, age: Duration) -> Result<(), Away> {
        let mut asked = self.asked.lock().await;
        let fresh = self.held.load().age(now).is_some_and(|a| a < age);
        if fresh || asked.is_some_and(|at| now.since(at) < ASK_EVERY) {
            return Ok(());
        }
        *asked = Some(now);
        let issuer = self.clone();
        let read = tokio::task::spawn_blocking(move || issuer.read()).await;
        match read.unwrap_or_else(|e| Err(Away(e.to_string()))) {
            Ok((discovery, keys)) => {
                tracing::debug!(
                    issuer = self.settings.issuer,
                    keys = keys.len(),
                    "the issuer's keys were read"
                );
                self.held.store(Arc::new(Held { keys, discovery: Some(discovery), read_at: Some(now) }));
                Ok(())
            }
            Err(away) => {
                tracing::warn!(issuer = self.settings.issuer, error = %away, "the issuer's keys cannot be read; known ones stay");
                Err(away)
            }
        }
    }

    /// Asks for the document and the keys. Blocking.
    fn read(&self) -> Result<(Discovery, KeySet), Away> {
        let base = self.settings.issuer.trim_end_matches('/');
        let document = self.get(&format!("{base}/.well-known/openid-configuration"))?;
        let document: Discovery = serde_json::from_slice(&document)
            .map_err(|_| Away("its discovery document cannot be read".into()))?;
        if document.issuer != self.settings.issuer {
            return Err(Away("its discovery document names another issuer".into()));
        }
        let needed = [&document.jwks_uri, &document.authorization_endpoint, &document.token_endpoint];
        for url in needed.into_iter().chain(&document.end_session_endpoint) {
            if !is_safe(url) {
                return Err(Away("its discovery document names an address that is not of https".into()));
            }
        }
        let keys = KeySet::read(&self.get(&document.jwks_uri)?).map_err(|why| Away(why.into()))?;
        if keys.is_empty() {
            return Err(Away(
                "it has no key that can be used (RS256 of at least 2,048 bits, or ES256)".into(),
            ));
        }
        Ok((document, keys))
    }

    /// Asks the token endpoint, as our client there. `grant` is what is asked for: `grant_type` and what belongs to it.
    pub async fn tokens(
        self: &Arc<Self>,
        grant: Vec<(&'static str, String)>,
        now: Mono,
    ) -> Result<Tokens, NoTokens> {
        let discovery = self.discovery(now).await.map_err(NoTokens::Away)?;
        let issuer = self.clone();
        let asked = tokio::task::spawn_blocking(move || issuer.ask_for_tokens(&discovery, grant)).await;
        asked.unwrap_or_else(|e| Err(NoTokens::Away(Away(e.to_string()))))
    }

    /// Exchanges a code for tokens at the issuer; it blocks its thread.
    fn ask_for_tokens(
        &self,
        discovery: &Discovery,
        mut grant: Vec<(&'static str, String)>,
    ) -> Result<Tokens, NoTokens> {
        let away = |why: String| NoTokens::Away(Away(why));
        let client = self.settings.client.as_ref().ok_or_else(|| away("we have no client there".into()))?;
        let url = &discovery.token_endpoint;
        let mut request = self.agent.post(url).header("Accept", "application/json");
        let secret = client.secret_file.as_deref().map(read_secret).transpose().map_err(away)?;
        let methods = discovery.token_endpoint_auth_methods_supported.as_deref();
        match &secret {
            // RFC 6749 §2.3.1: both are encoded before they are joined.
            Some(secret) if methods.is_none_or(|m| m.iter().any(|m| m == "client_secret_basic")) => {
                let pair = Secret::new(format!("{}:{}", encoded(&client.id), encoded(secret.reveal())));
                request =
                    request.header("Authorization", format!("Basic {}", STANDARD.encode(pair.reveal())));
            }
            Some(secret) => grant.push(("client_secret", secret.reveal().clone())),
            None => {}
        }
        grant.push(("client_id", client.id.clone()));
        let pairs: Vec<(&str, &str)> = grant.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let body = Secret::new(form(&pairs));
        let answer = request
            .header("Content-Type", "application/x-www-form-urlencoded")
            .send(body.reveal().as_str())
            .map_err(|e| away(format!("{url}: {e}")))?;
        let status = answer.status().as_u16();
        let body = read_answer(url, answer).map_err(NoTokens::Away)?;
        match status {
            200 => Tokens::read(&body).map_err(|why| away(why.into())),
            400..=403 => Err(NoTokens::Refused(refusal(&body))),
            other => Err(away(format!("{url}: status {other}"))),
        }
    }

    fn get(&self, url: &str) -> Result<Vec<u8>, Away> {
        let answer = self.agent.get(url).header("Accept", "application/json").call();
        let answer = answer.map_err(|e| Away(format!("{url}: {e}")))?;
        if answer.status() != 200 {
            return Err(Away(format!("{url}: status {}", answer.status().as_u16())));
        }
        read_answer(url, answer)
    }
}

fn read_answer(url: &str, mut answer: ureq::http::Response<ureq::Body>) -> Result<Vec<u8>, Away> {
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES).read_to_vec();
    body.map_err(|e| Away(format!("{url}: {e}")))
}

/// The secret of a client, from its file. Errors: it cannot be read, or is empty.
pub fn read_secret(path: &Path) -> Result<Secret<String>, String> {
    let text = std::fs::read_to_string(path).map(Secret::new);
    let text = text.map_err(|e| format!("client secret {}: {e}", path.display()))?;
    let secret = text.reveal().trim();
    if secret.is_empty() {
        return Err(format!("client secret {}: the file is empty", path.display()));
    }
    Ok(Secret::new(secret.to_owned()))
}

/// The word of a refusal (RFC 6749 §5.2), as far as it is one.
fn refusal(body: &[u8]) -> String {
    let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let word = said["error"].as_str().unwrap_or("");
    word.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(64).collect()
}

impl Held {
    fn age(&self, now: Mono) -> Option<Duration> {
        self.read_at.map(|at| now.since(at))
    }
}

/// Whether an address may be asked for keys and tokens: https, or http on this machine.
pub fn is_safe(url: &str) -> bool {
    let rest = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => return rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['),
        (None, Some(rest)) => rest,
        (None, None) => return false,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => authority.split(':').next().unwrap_or(""),
    };
    !authority.contains('@')
        && (host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_are_asked_for_over_https_or_on_this_machine_only() {
        for good in
            ["https://login.example/", "http://127.0.0.1:8080/dev", "http://[::1]:1/x", "http://localhost/a"]
        {
            assert!(is_safe(good), "{good}");
        }
        for bad in [
            "http://login.example/",
            "http://127.0.0.1@login.example/",
            "http://localhost.example/",
            "file:///etc/passwd",
            "ftp://127.0.0.1/",
            "https://",
            "",
        ] {
            assert!(!is_safe(bad), "{bad}");
        }
    }
}
