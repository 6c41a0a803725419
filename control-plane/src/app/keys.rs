//! API keys (T-API-12): 200 random bits, a checksum that secret scanners can match, only a hash in the database.
//!
//! Form: `wk_live_` or `wk_test_`, 40 characters of Crockford base32, 6 characters of checksum (the first 30 bits of
//! SHA-256 over what stands before). A text with a wrong checksum is refused without asking the database.

use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::openapi::{RefOr, Schema};
use warp_model::{CustomerId, KeyId, Secret, Wall};
use warp_policy::Cidr;

use super::caller::{Audience, Caller, Who};
use super::events::catalogue::{KeyCreated, KeyRecovered, KeyRevoked, KeyRotated};
use super::fault::{Fault, Kind, Problem};
use super::input::{Field, Int, List, Net, Text, word, words_schema};
use super::paging::{Page, Paging};
use super::permission::{Permission, Permissions};
use super::view::Word;
use crate::App;
use crate::app::{Ctx, check_count};
use crate::store::audit;
use crate::store::keys::{self as rows, KeyRow, KeyValues};
use crate::store::outbox::tell;
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
        /// The key that follows it. Both live until this one ends.
        pub replaced_by: Option<String>,
        /// Made by `warp keys recover` when the last key was lost: it manages keys only.
        pub recovered: bool,
        /// The operator who looks through the customer's eyes with it. Null: it is no such key.
        pub viewer: Option<String>,
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

crate::input! {
    /// How a key is followed by a new one.
    pub struct RotationInput {
        /// Seconds that the old key lives on, up to 7 days. 0: it ends at once. Absent: one day.
        pub overlap_s: Option<Int<0, 604_800>>,
    }
}

/// Seconds that a key lives on beside the one that follows it, when nobody says.
const OVERLAP_S: i32 = 86_400;

/// How long a recovered key lives.
pub const RECOVERED_LIVES: std::time::Duration = DAY;

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
    /// What the key would be allowed in the API that it opens.
    fn permissions(&self, audience: Audience) -> Permissions {
        let all = match self.scopes.0.as_slice() {
            [] => Permissions::of_scopes(["*"]),
            scopes => Permissions::of_scopes(scopes.iter().map(|s| s.0.as_str())),
        };
        all.and(Permissions::of_audience(audience))
    }

    /// When the key would end.
    fn ends(&self, now: Wall) -> Option<Wall> {
        let days = self.expires_in_days.as_ref()?.as_i32().unsigned_abs();
        Some(now.plus(DAY.saturating_mul(days)))
    }

    /// A key without limits of its own, for the program's own use: bootstrap, the demo world.
    pub fn everything(name: &str) -> Self {
        Self {
            name: Text(name.to_owned()),
            scopes: List(vec![
                ScopeName("*".into()),
                ScopeName(Permission::SensitiveUnattended.as_str().into()),
            ]),
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
    let nets: Vec<&str> = input.ip_allow.0.iter().map(|n| n.0.as_str()).collect();
    let ends = input.ends(now);
    Wanted { permissions: input.permissions(caller.audience), ip_allow: &nets, ends }.is_within(caller)
}

/// Refuses the scope that lets a key do alone what wants a second factor, unless a person grants it, who has shown one to get
/// here, and the key is bound to addresses.
pub fn may_grant(caller: &Caller, input: &ApiKeyInput) -> Result<(), Fault> {
    if !input.permissions(caller.audience).has(Permission::SensitiveUnattended) {
        return Ok(());
    }
    let word = Permission::SensitiveUnattended.as_str();
    // Who recovered a key owns the machine.
    if matches!(caller.who, Who::Key(_)) && !caller.recovered {
        return Err(Fault::new(Kind::Forbidden, format!("only a person may grant {word}")));
    }
    if input.ip_allow.0.is_empty() {
        let wants = format!("a key with {word} is bound to addresses");
        return Err(Fault::field("ip_allow", "belongs_together", wants));
    }
    Ok(())
}

/// The same of scopes alone: an operator's key makes one for a customer, who sits elsewhere and stays for longer.
pub fn no_more_scopes(caller: &Caller, input: &ApiKeyInput) -> Result<(), Fault> {
    no_more_permissions(caller, input.permissions(Audience::Customer))
}

fn no_more_permissions(caller: &Caller, wanted: Permissions) -> Result<(), Fault> {
    // A recovered key is there to make the keys that were lost; what it makes is in the audit log.
    if caller.recovered || caller.permissions.cover(wanted) {
        return Ok(());
    }
    Err(Fault::new(Kind::Forbidden, "a key cannot make a key that may more than itself"))
}

/// What a key that is made would reach.
struct Wanted<'a> {
    permissions: Permissions,
    /// From where. Empty: from everywhere.
    ip_allow: &'a [&'a str],
    /// How long. `None`: for ever.
    ends: Option<Wall>,
}

impl Wanted<'_> {
    fn is_within(&self, caller: &Caller) -> Result<(), Fault> {
        no_more_permissions(caller, self.permissions)?;
        if caller.recovered {
            return Ok(());
        }
        let allowed: Vec<Cidr> = caller.ip_allow.iter().filter_map(|n| n.parse().ok()).collect();
        let within = |net: &&str| {
            net.parse::<Cidr>().is_ok_and(|n| {
                allowed.iter().any(|a| a.contains(n.base()) && a.prefix_len() <= n.prefix_len())
            })
        };
        let bound = !caller.ip_allow.is_empty();
        if bound && (self.ip_allow.is_empty() || !self.ip_allow.iter().all(within)) {
            return Err(Fault::new(
                Kind::Forbidden,
                "this key is bound to addresses: ip_allow of the new key must name some of them",
            ));
        }
        let Some(end) = caller.expires_at else { return Ok(()) };
        if self.ends.is_none_or(|wanted| wanted > end) {
            return Err(Fault::new(
                Kind::Forbidden,
                "this key ends: expires_in_days of the new key must lie before its end",
            ));
        }
        Ok(())
    }
}

fn checksum(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    let mut out = String::with_capacity(8);
    push_base32(&mut out, digest.get(..5).unwrap_or(&[]));
    out.truncate(6);
    out
}

/// Five bytes become eight characters; the input's length is a multiple of five.
pub(super) fn push_base32(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.chunks(5) {
        let value = chunk.iter().fold(0u64, |v, b| (v << 8) | u64::from(*b));
        for i in (0..8).rev() {
            let digit = (value >> (i * 5)) & 31;
            out.push(char::from(*ALPHABET.get(usize::try_from(digit).unwrap_or(0)).unwrap_or(&b'0')));
        }
    }
}

/// What is kept of a secret: SHA-256.
pub(super) fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// A secret that nobody has yet, with what is kept of it.
pub(super) struct Minted {
    pub(super) secret: Secret<String>,
    pub(super) hint: String,
    pub(super) hash: Vec<u8>,
}

impl Minted {
    fn new(live: bool, random: &[u8; 25]) -> Self {
        let secret = format_key(live, random);
        let hint = secret.reveal().get(..14).unwrap_or("").to_owned();
        let hash = hash(secret.reveal());
        Self { secret, hint, hash }
    }

    pub(super) fn of(app: &App) -> Self {
        let mut random = [0u8; 25];
        app.random(&mut random);
        Self::new(app.config.live_keys, &random)
    }
}

/// Makes a key for a customer, or for operators.
pub async fn create(
    ctx: &Ctx<'_>,
    customer: Option<CustomerId>,
    input: ApiKeyInput,
) -> Result<NewApiKey, Fault> {
    let Minted { secret, hint, hash } = Minted::of(ctx.app);
    let expires_at = input.ends(ctx.app.wall());
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
        hint,
        hash,
        scopes,
        ip_allow: input.ip_allow.0.into_iter().map(|n| n.0).collect(),
        expires_at,
        recovered: false,
        viewer: None,
    };
    let row = rows::insert(&mut tx, ctx.new_id(), values).await?;
    let key: ApiKey = row.ok_or_else(|| Fault::not_found("customer"))?.into();
    let made = serde_json::to_value(&key).ok();
    ctx.audit(&mut tx, customer, "key.create", &key.id, made).await?;
    tell(&mut tx, customer, created(&key)).await?;
    tx.commit().await?;
    Ok(NewApiKey { key, secret: secret.reveal().clone() })
}

/// What is told of a new key.
pub(super) fn created(key: &ApiKey) -> KeyCreated {
    KeyCreated {
        key_id: key.id.clone(),
        name: key.name.clone(),
        scopes: key.scopes.clone(),
        ip_allow: key.ip_allow.clone(),
        expires_at: key.expires_at,
    }
}

/// A key that follows another one: it may the same, from the same addresses, until the same end. Both live during the overlap
/// (T-API-12). Errors: there is no such live key, it is followed already, or it may more than whoever asks.
pub async fn rotate(
    ctx: &Ctx<'_>,
    caller: &Caller,
    id: KeyId,
    input: RotationInput,
) -> Result<NewApiKey, Fault> {
    let now = ctx.app.wall();
    let mut tx = ctx.begin().await?;
    let old = rows::lock(&mut tx, id).await?.ok_or_else(|| Fault::not_found("key"))?;
    if old.revoked_at.is_some() || old.expires_at.is_some_and(|t| t.0 <= now) {
        return Err(Fault::new(Kind::Conflict, "this key has ended: make a new one"));
    }
    if let Some(next) = &old.replaced_by {
        let told = format!("this key is followed by {next} already: rotate that one");
        return Err(Fault::new(Kind::Conflict, told));
    }
    let customer: Option<CustomerId> = old.customer_id.as_deref().and_then(|c| c.parse().ok());
    let audience = if customer.is_some() { Audience::Customer } else { Audience::Operator };
    let permissions = Permissions::of_scopes(old.scopes.iter().map(String::as_str));
    let permissions = permissions.and(Permissions::of_audience(audience));
    let nets: Vec<&str> = old.ip_allow.iter().map(String::as_str).collect();
    if caller.audience == Audience::Operator && customer.is_some() {
        no_more_permissions(caller, permissions)?;
    } else if old.id != caller.who.to_string() {
        Wanted { permissions, ip_allow: &nets, ends: old.expires_at.map(|t| t.0) }.is_within(caller)?;
    }
    check_count(rows::count(&mut tx, customer).await?, LIVE_KEYS, "live keys")?;
    let overlap = input.overlap_s.map_or(OVERLAP_S, |s| s.as_i32()).unsigned_abs();
    let until = now.plus(std::time::Duration::from_secs(u64::from(overlap)));
    let Minted { secret, hint, hash } = Minted::of(ctx.app);
    let values = KeyValues {
        customer,
        audience: audience.as_str(),
        name: old.name,
        hint,
        hash,
        scopes: old.scopes,
        ip_allow: old.ip_allow,
        expires_at: old.expires_at.map(|t| t.0),
        recovered: old.recovered,
        // Whoever looks through a customer's eyes does so by the key that follows, too.
        viewer: old.viewer,
    };
    let next: KeyId = ctx.new_id();
    let row = rows::insert(&mut tx, next, values).await?;
    let key: ApiKey = row.ok_or_else(Fault::internal)?.into();
    rows::follow(&mut tx, id, next, until).await?;
    let detail = serde_json::json!({ "replaced_by": key.id, "until": until.to_string() });
    ctx.audit(&mut tx, customer, "key.rotate", &old.id, Some(detail)).await?;
    let (key_id, replaced_by) = (old.id, key.id.clone());
    tell(&mut tx, customer, KeyRotated { key_id, replaced_by, ends_at: Time(until) }).await?;
    tx.commit().await?;
    Ok(NewApiKey { key, secret: secret.reveal().clone() })
}

/// A key of operators when the last one was lost, made on the machine itself by whoever owns the schema: it manages keys only
/// and ends after [`RECOVERED_LIVES`]. `who` is said in the audit log.
pub async fn recover(store: &Store, live: bool, who: &str, now: Wall) -> Result<NewApiKey, Fault> {
    let (mut random, mut bits) = ([0u8; 25], [0u8; 16]);
    if getrandom::fill(&mut random).and(getrandom::fill(&mut bits)).is_err() {
        return Err(Fault::new(Kind::Unavailable, "there is no randomness, so no secret can be made"));
    }
    let Minted { secret, hint, hash } = Minted::new(live, &random);
    let scopes = [Permission::KeysRead, Permission::KeysWrite];
    let values = KeyValues {
        customer: None,
        audience: Audience::Operator.as_str(),
        name: "recovered".to_owned(),
        hint,
        hash,
        scopes: scopes.map(|p| p.as_str().to_owned()).to_vec(),
        ip_allow: Vec::new(),
        expires_at: Some(now.plus(RECOVERED_LIVES)),
        recovered: true,
        viewer: None,
    };
    let mut tx = store.begin(Scope::Operator("key recovery")).await?;
    let row = rows::insert(&mut tx, KeyId::new(now, u128::from_le_bytes(bits)), values).await?;
    let key: ApiKey = row.ok_or_else(Fault::internal)?.into();
    let detail = serde_json::to_value(&key).ok();
    let actor = audit::Actor { name: who, own: false, request_id: "keys recover" };
    let difference = audit::Difference { before: None, detail };
    audit::insert(&mut tx, None, actor, ("key.recover", &key.id), difference).await?;
    let (key_id, actor) = (key.id.clone(), who.to_owned());
    tell(&mut tx, None, KeyRecovered { key_id, actor, expires_at: key.expires_at }).await?;
    tx.commit().await?;
    Ok(NewApiKey { key, secret: secret.reveal().clone() })
}

/// Counts the keys that were ever recovered, and says when there is a new one.
pub async fn watch_recovered(app: &App) -> Result<(), StoreError> {
    let mut tx = app.store.begin(Scope::Operator("recovered keys")).await?;
    let count = rows::recovered(&mut tx).await?;
    drop(tx);
    let before = app.metrics.keys_recovered.value(());
    app.metrics.keys_recovered.set((), count);
    if count > before {
        tracing::warn!(
            count,
            "operators' keys were recovered on the machine: the audit log (key.recover) says when and by whom"
        );
    }
    Ok(())
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
    let key = rows::get(&mut tx, id).await?;
    if rows::revoke(&mut tx, id).await? == 0 {
        return Err(Fault::not_found("key"));
    }
    ctx.audit(&mut tx, ctx.scope.customer(), "key.revoke", &id.to_string(), None).await?;
    if let Some(key) = key {
        let customer = key.customer_id.as_deref().and_then(|c| c.parse().ok());
        tell(&mut tx, customer, KeyRevoked { key_id: key.id, name: key.name }).await?;
    }
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
        who: Who::Key(row.id.parse().map_err(|_| StoreError::Internal("a key's id cannot be read".into()))?),
        audience: if row.customer_id.is_some() { Audience::Customer } else { Audience::Operator },
        customer: row
            .customer_id
            .map(|c| c.parse())
            .transpose()
            .map_err(|_| StoreError::Internal("a customer's id cannot be read".into()))?,
        permissions: Permissions::of_scopes(row.scopes.iter().map(String::as_str)),
        ip_allow: row.ip_allow,
        expires_at: row.expires_at.map(|t| t.0),
        recovered: row.recovered,
        second_factor_at: None,
        session: None,
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
