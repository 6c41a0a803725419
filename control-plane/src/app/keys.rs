//! API keys (T-API-12): 200 random bits, a checksum that secret scanners can match, only a hash in the database.
//!
//! Form: `wk_live_` or `wk_test_`, 40 characters of Crockford base32, 6 characters of checksum (the first 30 bits of
//! SHA-256 over what stands before). A text with a wrong checksum is refused without asking the database.

use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::openapi::{RefOr, Schema};
use warp_model::{CustomerId, KeyId, Secret, Wall};
use warp_policy::Cidr;

use super::caller::{Audience, Caller};
use super::fault::{Fault, Kind, Problem};
use super::input::{Field, Int, List, Net, Text, word, words_schema};
use super::paging::{Page, Paging};
use super::permission::{Permission, Permissions};
use super::view::Word;
use crate::app::{Ctx, check_count};
use crate::store::keys::{self as rows, KeyRow, KeyValues};
use crate::store::types::Time;
use crate::store::{Scope, Store, StoreError};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Live keys of one customer, or of operators.
pub const LIVE_KEYS: i64 = 1_000;

crate::choice! {
    /// Whose API a key opens.
    pub enum KeyAudience {
        /// A customer's own things, under `/api/v1`.
        Customer = "customer",
        /// The operator's API: everything, under `/api/v1/admin`.
        Operator = "operator",
    }
}

crate::view! {
    /// An API key, without its secret.
    pub struct ApiKey from KeyRow {
        /// The key's id: `key_` and 26 characters.
        pub id: String,
        /// The customer that it belongs to. Null: it is an operator's.
        pub customer_id: Option<String>,
        /// Whose API it opens.
        pub audience: Word<KeyAudience>,
        /// Its name, for people.
        pub name: String,
        /// Its first characters, to tell keys apart.
        pub hint: String,
        /// What it may do; `*` is everything of its audience.
        pub scopes: Vec<String>,
        /// The addresses and networks that may use it. Empty: all.
        pub ip_allow: Vec<String>,
        /// When it was made.
        pub created_at: Time,
        /// When it ends. Null: it does not.
        pub expires_at: Option<Time>,
        /// When it was used last, to the minute.
        pub last_used_at: Option<Time>,
        /// When it was revoked. Null: it was not.
        pub revoked_at: Option<Time>,
    }
}

crate::view! {
    /// A new key: the only time that its secret is shown.
    pub struct NewApiKey {
        /// The key, without its secret.
        pub key: ApiKey,
        /// The secret, to be sent as `Authorization: Bearer …`. It is shown only this once.
        pub secret: String,
    }
}

crate::input! {
    /// An API key to make.
    pub struct ApiKeyInput {
        /// Its name, for people.
        pub name: Text<1, 100>,
        /// What it may do, for example `trunks:read`. Absent or empty: everything of its audience.
        pub scopes: List<ScopeName, 32>,
        /// The addresses and networks that may use it. Empty: all.
        pub ip_allow: List<Net, 32>,
        /// Days until it ends. Absent: it does not end.
        pub expires_in_days: Option<Int<1, 3650>>,
    }
}

/// The name of a scope, one of [`Permission::SCOPES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeName(pub String);

impl Field for ScopeName {
    fn read(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        word(value, path, Permission::SCOPES, problems).map(|s| Self(s.to_owned()))
    }
    fn field_schema() -> RefOr<Schema> {
        words_schema(Permission::SCOPES)
    }
}

impl ApiKeyInput {
    /// A key without limits of its own, for the program's own use: bootstrap, the demo world.
    pub fn everything(name: &str) -> Self {
        Self {
            name: Text(name.to_owned()),
            scopes: List(Vec::new()),
            ip_allow: List(Vec::new()),
            expires_in_days: None,
        }
    }
}

/// Text of a new key from 25 random bytes.
pub fn format_key(live: bool, random: &[u8; 25]) -> Secret<String> {
    let mut text = String::with_capacity(54);
    text.push_str(if live { "wk_live_" } else { "wk_test_" });
    push_base32(&mut text, random);
    let sum = checksum(&text);
    text.push_str(&sum);
    Secret::new(text)
}

/// True when a text has the form and the checksum of a key.
pub fn looks_like_key(text: &str) -> bool {
    let known = text.starts_with("wk_live_") || text.starts_with("wk_test_");
    known && text.len() == 54 && text.is_ascii() && {
        let (body, sum) = text.split_at(48);
        subtle::ConstantTimeEq::ct_eq(checksum(body).as_bytes(), sum.as_bytes()).into()
    }
}

/// A key cannot make a key that may more than itself: not more scopes, nor from more addresses, nor for longer (T-API-12).
pub fn no_more_than(caller: &Caller, input: &ApiKeyInput, now: Wall) -> Result<(), Fault> {
    no_more_scopes(caller, input)?;
    let allowed: Vec<Cidr> = caller.ip_allow.iter().filter_map(|n| n.parse().ok()).collect();
    let within = |net: &Net| {
        net.0
            .parse::<Cidr>()
            .is_ok_and(|n| allowed.iter().any(|a| a.contains(n.base()) && a.prefix_len() <= n.prefix_len()))
    };
    let bound = !caller.ip_allow.is_empty();
    if bound && (input.ip_allow.0.is_empty() || !input.ip_allow.0.iter().all(within)) {
        return Err(Fault::new(
            Kind::Forbidden,
            "this key is bound to addresses: ip_allow of the new key must name some of them",
        ));
    }
    let Some(end) = caller.expires_at else { return Ok(()) };
    let wanted =
        input.expires_in_days.as_ref().map(|d| now.plus(DAY.saturating_mul(d.as_i32().unsigned_abs())));
    if wanted.is_none_or(|wanted| wanted > end) {
        return Err(Fault::new(
            Kind::Forbidden,
            "this key ends: expires_in_days of the new key must lie before its end",
        ));
    }
    Ok(())
}

/// The same of scopes alone: an operator's key makes one for a customer, who sits elsewhere and stays for longer.
pub fn no_more_scopes(caller: &Caller, input: &ApiKeyInput) -> Result<(), Fault> {
    let wanted = match input.scopes.0.as_slice() {
        [] => Permissions::all(),
        scopes => Permissions::of_scopes(scopes.iter().map(|s| s.0.as_str())),
    };
    if caller.permissions().cover(wanted) {
        return Ok(());
    }
    Err(Fault::new(Kind::Forbidden, "a key cannot make a key that may more than itself"))
}

fn checksum(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    let mut out = String::with_capacity(8);
    push_base32(&mut out, digest.get(..5).unwrap_or(&[]));
    out.truncate(6);
    out
}

/// Five bytes become eight characters; the input's length is a multiple of five.
fn push_base32(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.chunks(5) {
        let value = chunk.iter().fold(0u64, |v, b| (v << 8) | u64::from(*b));
        for i in (0..8).rev() {
            let digit = (value >> (i * 5)) & 31;
            out.push(char::from(*ALPHABET.get(usize::try_from(digit).unwrap_or(0)).unwrap_or(&b'0')));
        }
    }
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// Makes a key for a customer, or for operators.
pub async fn create(
    ctx: &Ctx<'_>,
    customer: Option<CustomerId>,
    input: ApiKeyInput,
) -> Result<NewApiKey, Fault> {
    let mut random = [0u8; 25];
    ctx.app.random(&mut random);
    let secret = format_key(ctx.app.config.live_keys, &random);
    let scopes: Vec<String> = if input.scopes.0.is_empty() {
        vec!["*".into()]
    } else {
        input.scopes.0.into_iter().map(|s| s.0).collect()
    };
    let audience = if customer.is_some() { Audience::Customer } else { Audience::Operator };
    let mut tx = ctx.begin().await?;
    check_count(rows::count(&mut tx, customer).await?, LIVE_KEYS, "live keys")?;
    let values = KeyValues {
        customer,
        audience: audience.as_str(),
        name: input.name.0,
        hint: secret.reveal().get(..14).unwrap_or("").to_owned(),
        hash: hash(secret.reveal()),
        scopes,
        ip_allow: input.ip_allow.0.into_iter().map(|n| n.0).collect(),
        expires_in_days: input.expires_in_days.map(|d| d.as_i32()),
    };
    let id = KeyId::new(ctx.app.wall(), ctx.app.random_id());
    let row = rows::insert(&mut tx, id, values).await?;
    let key: ApiKey = row.ok_or_else(|| Fault::not_found("customer"))?.into();
    ctx.audit(&mut tx, customer, "key.create", &key.id, None).await?;
    tx.commit().await?;
    Ok(NewApiKey { key, secret: secret.reveal().clone() })
}

/// The first operator's key, when there is none that lives: its secret is shown once (T-CFG-02).
pub async fn bootstrap(ctx: &Ctx<'_>) -> Result<Option<NewApiKey>, Fault> {
    let mut tx = ctx.begin().await?;
    let count = rows::count(&mut tx, None).await?;
    drop(tx);
    if count > 0 {
        return Ok(None);
    }
    Ok(Some(create(ctx, None, ApiKeyInput::everything("first operator")).await?))
}

/// Keys, newest first; of one customer, or of operators.
pub async fn list(
    ctx: &Ctx<'_>,
    customer: Option<CustomerId>,
    paging: &Paging,
) -> Result<Page<ApiKey>, Fault> {
    let mut tx = ctx.begin().await?;
    let rows = rows::list(&mut tx, customer, paging).await?;
    Ok(Page::of(rows, paging.limit, |k| &k.id).map(ApiKey::from))
}

/// The key with this id, without its secret. Errors: there is none that the scope sees.
pub async fn get(ctx: &Ctx<'_>, id: KeyId) -> Result<ApiKey, Fault> {
    let mut tx = ctx.begin().await?;
    Ok(rows::get(&mut tx, id).await?.ok_or_else(|| Fault::not_found("key"))?.into())
}

/// Ends a key at once.
pub async fn revoke(ctx: &Ctx<'_>, id: KeyId) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    if rows::revoke(&mut tx, id).await? == 0 {
        return Err(Fault::not_found("key"));
    }
    ctx.audit(&mut tx, ctx.scope.customer(), "key.revoke", &id.to_string(), None).await?;
    tx.commit().await?;
    Ok(())
}

/// Who holds this secret: `None` when nobody does any more.
pub async fn authenticate(
    store: &Store,
    secret: &str,
    peer: std::net::IpAddr,
) -> Result<Option<Caller>, StoreError> {
    if !looks_like_key(secret) {
        return Ok(None);
    }
    let mut tx = store.begin(Scope::Operator("authentication")).await?;
    let Some(row) = rows::find(&mut tx, hash(secret), peer).await? else { return Ok(None) };
    let caller = Caller {
        key: row.id.parse().map_err(|_| StoreError::Internal("a key's id cannot be read".into()))?,
        audience: if row.customer_id.is_some() { Audience::Customer } else { Audience::Operator },
        customer: row
            .customer_id
            .map(|c| c.parse())
            .transpose()
            .map_err(|_| StoreError::Internal("a customer's id cannot be read".into()))?,
        scopes: row.scopes,
        ip_allow: row.ip_allow,
        expires_at: row.expires_at.map(|t| t.0),
    };
    if row.touch {
        rows::touch(&mut tx, &row.id).await?;
    }
    tx.commit().await?;
    Ok(Some(caller))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn t_api_12_keys_carry_their_checksum(random in any::<[u8; 25]>(), live in any::<bool>(), at in 8usize..54) {
            let key = format_key(live, &random);
            prop_assert_eq!(key.reveal().len(), 54);
            prop_assert!(looks_like_key(key.reveal()));
            let mut broken = key.reveal().clone().into_bytes();
            broken[at] = if broken[at] == b'7' { b'8' } else { b'7' };
            prop_assert!(!looks_like_key(&String::from_utf8(broken).unwrap()));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}") {
            let _ = looks_like_key(&text);
        }
    }
}
