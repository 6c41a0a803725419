//! API keys (T-API-12): 200 random bits, a checksum that secret scanners can match, only a hash in the database.
//!
//! Form: `wk_live_` or `wk_test_`, 40 characters of Crockford base32, 6 characters of checksum (the first 30 bits of
//! SHA-256 over what stands before). A text with a wrong checksum is refused without asking the database.

use sha2::{Digest, Sha256};
use warp_model::{CustomerId, KeyId, Secret};

use super::caller::{Audience, Caller};
use super::fault::{Fault, Kind};
use super::input::{Int, List, Net, Text};
use super::paging::{Page, Paging};
use crate::app::{Ctx, check_count};
use crate::store::types::Time;
use crate::store::{Scope, Store, StoreError, sql};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Live keys of one customer, or of operators.
pub const LIVE_KEYS: i64 = 1_000;

/// Scopes that exist; a key holds some of them, or `*`.
pub const SCOPES: &[&str] = &[
    "customers:read",
    "customers:write",
    "trunks:read",
    "trunks:write",
    "vendors:read",
    "vendors:write",
    "decks:read",
    "decks:write",
    "routing:read",
    "routing:write",
    "calls:read",
    "route:test",
    "keys:read",
    "keys:write",
    "audit:read",
];

crate::record! {
    /// An API key, without its secret.
    pub struct ApiKey {
        /// `key_…`
        pub id: String,
        /// Tenant; null for operators' keys.
        pub customer_id: Option<String>,
        /// `customer` or `operator`.
        pub audience: String,
        /// For people.
        pub name: String,
        /// Its first characters, to tell keys apart.
        pub hint: String,
        /// What it may; `*` is everything of its audience.
        pub scopes: Vec<String>,
        /// Addresses that may use it; empty = all.
        pub ip_allow: Vec<String>,
        /// When it was made.
        pub created_at: Time,
        /// When it ends.
        pub expires_at: Option<Time>,
        /// Last use, to the minute.
        pub last_used_at: Option<Time>,
        /// When it was revoked.
        pub revoked_at: Option<Time>,
    }
}

/// A new key: the only time that the secret is seen.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct NewApiKey {
    /// The key's description.
    pub key: ApiKey,
    /// The secret: shown once.
    pub secret: String,
}

crate::input! {
    /// A key to make.
    pub struct ApiKeyInput {
        /// For people.
        pub name: Text<1, 100>,
        /// What it may, for example `trunks:read`; absent or empty = everything of its audience.
        pub scopes: List<Text<1, 32>, 32>,
        /// Addresses and networks that may use it; empty = all.
        pub ip_allow: List<Net, 32>,
        /// Days until it ends; absent = no end.
        pub expires_in_days: Option<Int<1, 3650>>,
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

/// A key cannot make a key that may more than itself.
pub fn no_more_than(caller: &Caller, input: &ApiKeyInput) -> Result<(), Fault> {
    let everything = caller.scopes.iter().any(|s| s == "*");
    let wanted_everything = input.scopes.0.is_empty() || input.scopes.0.iter().any(|s| s.0 == "*");
    let more = input.scopes.0.iter().any(|s| !caller.scopes.contains(&s.0));
    if everything || !(wanted_everything || more) {
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
    let mut problems = Vec::new();
    for (i, s) in input.scopes.0.iter().enumerate() {
        if s.0 != "*" && !SCOPES.contains(&s.0.as_str()) {
            problems.push(super::fault::Problem::new(
                format!("scopes[{i}]"),
                "invalid",
                format!("must be * or one of {}", SCOPES.join(", ")),
            ));
        }
    }
    if !problems.is_empty() {
        return Err(Fault::fields(problems));
    }
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
    check_count(&mut tx, sql::KEY_COUNT, customer.map(|c| c.to_string()), LIVE_KEYS, "live keys").await?;
    let key: Option<ApiKey> = tx
        .first(
            sqlx::query(sql::KEY_INSERT)
                .bind(KeyId::new(ctx.app.wall(), ctx.app.random_id()).to_string())
                .bind(customer.map(|c| c.to_string()))
                .bind(audience.as_str())
                .bind(&input.name.0)
                .bind(secret.reveal().get(..14).unwrap_or(""))
                .bind(hash(secret.reveal()))
                .bind(scopes)
                .bind(input.ip_allow.0.into_iter().map(|n| n.0).collect::<Vec<_>>())
                .bind(input.expires_in_days.map(|d| d.as_i32())),
        )
        .await?;
    let key = key.ok_or_else(|| Fault::not_found("customer"))?;
    ctx.audit(&mut tx, customer, "key.create", &key.id, None).await?;
    tx.commit().await?;
    Ok(NewApiKey { key, secret: secret.reveal().clone() })
}

/// The first operator's key, when there is none that lives: its secret is shown once (T-CFG-02).
pub async fn bootstrap(ctx: &Ctx<'_>) -> Result<Option<NewApiKey>, Fault> {
    use sqlx::Row;
    let mut tx = ctx.begin().await?;
    let row = sqlx::query(sql::KEY_OPERATORS).fetch_one(tx.db()).await.map_err(StoreError::from)?;
    let count: i64 = row.try_get(0).map_err(StoreError::from)?;
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
    let rows = tx
        .all(
            sqlx::query(sql::KEY_LIST)
                .bind(customer.map(|c| c.to_string()))
                .bind(paging.after.as_deref())
                .bind(paging.rows()),
        )
        .await?;
    Ok(Page::of(rows, paging.limit, |k: &ApiKey| &k.id))
}

/// Ends a key at once.
pub async fn revoke(ctx: &Ctx<'_>, id: KeyId) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    if tx.run(sqlx::query(sql::KEY_REVOKE).bind(id.to_string())).await? == 0 {
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
    use sqlx::Row;
    let mut tx = store.begin(Scope::Operator("authentication")).await?;
    let row =
        sqlx::query(sql::KEY_FIND).bind(hash(secret)).bind(peer.to_string()).fetch_optional(tx.db()).await?;
    let Some(row) = row else { return Ok(None) };
    let id: String = row.try_get("id")?;
    let customer: Option<String> = row.try_get("customer_id")?;
    let caller = Caller {
        key: id.parse().map_err(|_| StoreError::Internal("a key's id cannot be read".into()))?,
        audience: if customer.is_some() { Audience::Customer } else { Audience::Operator },
        customer: customer
            .map(|c| c.parse())
            .transpose()
            .map_err(|_| StoreError::Internal("a customer's id cannot be read".into()))?,
        scopes: row.try_get("scopes")?,
    };
    if row.try_get("touch")? {
        tx.run(sqlx::query(sql::KEY_TOUCH).bind(&id)).await?;
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
