//! The keys of an issuer (JWK Set, RFC 7517): which ones are taken, and for which algorithm each of them stands. A key of the set is
//! for one algorithm only, so that a token cannot say another one (T-API-02).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// Most keys of a set that are looked at; issuers have two or three.
pub const KEYS_MOST: usize = 64;
/// Longest id of a key, in bytes.
pub const KID_BYTES: usize = 256;
/// Bytes of a modulus: 2,048 to 8,192 bits (RFC 7518 §3.3).
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// The public keys of an issuer, by their ids.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A public key, and the only algorithm that it is for.
#[derive(Clone)]
pub struct Key {
    kid: String,
    /// RS256 or ES256, from the type of the key.
    pub algorithm: Algorithm,
    /// What signatures are checked with.
    pub decoding: DecodingKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys that cannot be used here (other types and curves, for encryption, too short, without id) are left out, and
    /// so are keys that share an id. Errors: it is no JWK set.
    pub fn read(text: &[u8]) -> Result<Self, &'static str> {
        let set: Set = serde_json::from_slice(text).map_err(|_| "the keys are no JWK set")?;
        let usable = set.keys.into_iter().take(KEYS_MOST);
        let mut keys: Vec<Key> =
            usable.filter_map(|k| serde_json::from_value(k).ok()).filter_map(key).collect();
        let ids: Vec<String> = keys.iter().map(|k| k.kid.clone()).collect();
        keys.retain(|k| ids.iter().filter(|id| **id == k.kid).count() == 1);
        Ok(Self { keys })
    }

    /// The key of exactly this id.
    pub fn find(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|k| k.kid == kid)
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn key(jwk: Jwk) -> Option<Key> {
    if jwk.purpose.is_some_and(|p| p != "sig") {
        return None;
    }
    let kid = jwk.kid.filter(|k| (1..=KID_BYTES).contains(&k.len()))?;
    let (algorithm, decoding) = match jwk.kty.as_str() {
        "RSA" => {
            let (n, e) = (jwk.n?, jwk.e?);
            let modulus = URL_SAFE_NO_PAD.decode(&n).ok()?;
            let significant = modulus.iter().skip_while(|b| **b == 0).count();
            if !MODULUS_BYTES.contains(&significant) {
                return None;
            }
            (Algorithm::RS256, DecodingKey::from_rsa_components(&n, &e).ok()?)
        }
        "EC" if jwk.crv.as_deref() == Some("P-256") => {
            (Algorithm::ES256, DecodingKey::from_ec_components(&jwk.x?, &jwk.y?).ok()?)
        }
        _ => return None,
    };
    let name = if algorithm == Algorithm::RS256 { "RS256" } else { "ES256" };
    if jwk.alg.is_some_and(|a| a != name) {
        return None;
    }
    Some(Key { kid, algorithm, decoding })
}
