//! Customers' trunks: limits, IP ACL, digest users.

use md5::Digest as _;
use sqlx::Row;
use warp_model::id::{BanKind, DeckKind, TrunkKind};
use warp_model::{Currency, CustomerId, TrunkId, hex};
use warp_policy::number_plan::{ClassSet, DestinationClass};

use super::fault::{Fault, Kind, Problem};
use super::input::{DialPrefix, Int, Ip, List, Net, Password, Ref, SipUser, Text};
use super::paging::{Page, Paging};
use super::routing::PartitionKind;
use super::{Change, Ctx, check_count, check_decks, ids, nanos, none_wrong, not_updated, patched, saved};
use crate::store::types::{Amount, Time};
use crate::store::{StoreError, Tx, sql};

/// Trunks of one customer.
pub const TRUNKS_PER_CUSTOMER: i64 = 1_000;
/// Digest users of one trunk.
pub const CREDENTIALS_PER_TRUNK: i64 = 1_000;
/// Addresses of one trunk.
pub const IPS_PER_TRUNK: i64 = 256;

crate::record! {
    /// A trunk.
    pub struct Trunk {
        /// `trk_…`
        pub id: String,
        /// Whose.
        pub customer_id: String,
        /// Which account pays.
        pub ban_id: Option<String>,
        /// Unique within the customer.
        pub name: String,
        /// `active`, or `disabled`: every call is refused.
        pub status: String,
        /// Calls at once.
        pub channels: Option<i32>,
        /// Calls per second.
        pub cps: Option<i32>,
        /// The highest price per minute that it will pay.
        pub max_rate_per_min: Option<Amount>,
        /// Spend per day in the customer's zone.
        pub daily_spend: Option<Amount>,
        /// Longest call in seconds.
        pub max_duration_s: Option<i32>,
        /// Classes of destinations that it may call.
        pub destinations: Vec<String>,
        /// Further addresses that its media may come from.
        pub media_ips: Vec<String>,
        /// Technical prefixes that are taken off the dialled number.
        pub strip_prefixes: Vec<String>,
        /// Refuse numbers without one of them.
        pub strip_required: bool,
        /// Refuse calls without a valid caller number.
        pub require_valid_caller: bool,
        /// Believe its P-Asserted-Identity.
        pub trust_asserted: bool,
        /// Price lists in order; empty = the customer's.
        pub sell_deck_ids: Vec<String>,
        /// Partition; null = the customer's.
        pub partition_id: Option<String>,
        /// Made.
        pub created_at: Time,
        /// Last change.
        pub updated_at: Time,
        /// Rises with each change; the ETag.
        pub version: i32,
    }
}

crate::choice! {
    /// Whether a trunk takes calls.
    pub enum TrunkStatus {
        /// Yes.
        Active = "active",
        /// No.
        Disabled = "disabled",
    }
}

crate::choice! {
    /// Classes of destinations; those after `international` are denied unless an operator allows them.
    pub enum Destination {
        /// The 50 states and DC.
        Domestic = "domestic",
        /// 8YY.
        TollFree = "toll_free",
        /// Canada.
        Canada = "canada",
        /// PR, VI, GU, AS, MP.
        UsTerritory = "us_territory",
        /// Other countries of country code 1.
        NanpCountry = "nanp_country",
        /// Everything else abroad.
        International = "international",
        /// Premium ranges.
        Premium = "premium",
        /// Satellite.
        Satellite = "satellite",
        /// Known from fraud.
        HighRisk = "high_risk",
        /// Personal numbers.
        Personal = "personal",
        /// Everything special.
        Special = "special",
    }
}

crate::input! {
    /// A trunk to make or replace.
    pub struct TrunkInput {
        /// Unique within the customer.
        pub name: Text<1, 100>,
        /// Which account pays.
        pub ban_id: Option<Ref<BanKind>>,
        /// `active` when absent.
        pub status: Option<TrunkStatus>,
        /// Calls at once.
        pub channels: Option<Int<0, 1_000_000>>,
        /// Calls per second.
        pub cps: Option<Int<0, 100_000>>,
        /// The highest price per minute that it will pay.
        pub max_rate_per_min: Option<Amount>,
        /// Spend per day in the customer's zone.
        pub daily_spend: Option<Amount>,
        /// Longest call in seconds.
        pub max_duration_s: Option<Int<1, 86_400>>,
        /// Classes of destinations that it may call; when absent all but the risky ones.
        pub destinations: Option<List<Destination, 11>>,
        /// Further addresses that its media may come from.
        pub media_ips: List<Ip, 32>,
        /// Technical prefixes that are taken off the dialled number.
        pub strip_prefixes: List<DialPrefix, 16>,
        /// Refuse numbers without one of them.
        pub strip_required: Option<bool>,
        /// Refuse calls without a valid caller number.
        pub require_valid_caller: Option<bool>,
        /// Believe its P-Asserted-Identity.
        pub trust_asserted: Option<bool>,
        /// Price lists in order; empty = the customer's. Operators only.
        pub sell_deck_ids: List<Ref<DeckKind>, 16>,
        /// Partition; null = the customer's. Operators only.
        pub partition_id: Option<Ref<PartitionKind>>,
    }
}

crate::record! {
    /// An address of an IP ACL.
    pub struct TrunkIp {
        /// Address or network.
        pub address: String,
        /// Made.
        pub created_at: Time,
    }
}

crate::input! {
    /// An address to add.
    pub struct TrunkIpInput {
        /// Address or network; it belongs to one trunk of the whole platform.
        pub address: Net,
    }
}

crate::record! {
    /// A digest user of a trunk; the password is not kept.
    pub struct Credential {
        /// SIP user name, unique.
        pub username: String,
        /// Realm that its keys were made for.
        pub realm: String,
        /// Made.
        pub created_at: Time,
    }
}

crate::input! {
    /// A digest user to add. Only HA1 values (MD5 and SHA-256) are kept.
    pub struct CredentialInput {
        /// SIP user name, unique over all trunks.
        pub username: SipUser,
        /// 12 to 128 characters.
        pub password: Password,
    }
}

/// Newest first; of one customer or of all that the scope sees.
pub async fn list(
    ctx: &Ctx<'_>,
    customer: Option<CustomerId>,
    paging: &Paging,
) -> Result<Page<Trunk>, Fault> {
    let mut tx = ctx.begin().await?;
    let statement = paging.statement(sql::TRUNK_LIST, sql::TRUNK_LIST_OLDEST);
    let query = sqlx::query(statement)
        .bind(customer.map(|c| c.to_string()))
        .bind(paging.after.as_deref())
        .bind(paging.rows());
    Ok(Page::of(tx.all(query).await?, paging.limit, |t: &Trunk| &t.id))
}

/// One.
pub async fn get(ctx: &Ctx<'_>, id: TrunkId) -> Result<Trunk, Fault> {
    let mut tx = ctx.begin().await?;
    read(&mut tx, id).await
}

async fn read(tx: &mut Tx, id: TrunkId) -> Result<Trunk, Fault> {
    let row = tx.first(sqlx::query(sql::TRUNK_GET).bind(id.to_string())).await?;
    row.ok_or_else(|| Fault::not_found("trunk"))
}

/// A new trunk of a customer.
pub async fn create(ctx: &Ctx<'_>, customer: CustomerId, input: TrunkInput) -> Result<Trunk, Fault> {
    let currency = super::customers::get(ctx, customer).await?.currency;
    operators_only(ctx, &input, None)?;
    let mut tx = ctx.begin().await?;
    check_count(&mut tx, sql::TRUNK_COUNT, Some(customer.to_string()), TRUNKS_PER_CUSTOMER, "trunks").await?;
    drop(tx);
    let id: TrunkId = ctx.new_id::<TrunkKind>();
    let row = write(ctx, sql::TRUNK_INSERT, id, customer, &currency, input, None).await?;
    row.ok_or_else(|| Fault::not_found("customer"))
}

/// Another state of it.
pub async fn update(
    ctx: &Ctx<'_>,
    id: TrunkId,
    change: Change<'_>,
    version: Option<i32>,
) -> Result<Trunk, Fault> {
    let mut tx = ctx.begin().await?;
    let current = read(&mut tx, id).await?;
    let (customer, currency) = owner(&mut tx, id).await?;
    drop(tx);
    let input: TrunkInput = patched(&current, change)?;
    operators_only(ctx, &input, Some(&current))?;
    // Without If-Match the version just read guards against losing somebody else's change of another field.
    let version = Some(version.unwrap_or(current.version));
    let row = write(ctx, sql::TRUNK_UPDATE, id, customer, &currency, input, Some(version)).await?;
    row.ok_or_else(|| not_updated(true, "trunk"))
}

/// Gone; calls in the air go on, new ones are refused.
pub async fn delete(ctx: &Ctx<'_>, id: TrunkId) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    let row = sqlx::query(sql::TRUNK_DELETE).bind(id.to_string()).fetch_optional(tx.db()).await;
    let Some(row) = row.map_err(StoreError::from)? else { return Err(Fault::not_found("trunk")) };
    let customer: String = row.try_get(0).map_err(StoreError::from)?;
    ctx.audit(&mut tx, customer.parse().ok(), "trunk.delete", &id.to_string(), None).await?;
    ctx.commit(tx).await?;
    Ok(())
}

/// What a customer cannot decide for itself: prices, routing, risky destinations.
fn operators_only(ctx: &Ctx<'_>, input: &TrunkInput, current: Option<&Trunk>) -> Result<(), Fault> {
    if ctx.scope.customer().is_none() {
        return Ok(());
    }
    let mut problems = Vec::new();
    let mut refuse = |field: &str| {
        problems.push(Problem::new(field, "operators_only", "only the carrier can change this"));
    };
    let decks = ids(&input.sell_deck_ids);
    if decks != current.map(|c| c.sell_deck_ids.clone()).unwrap_or_default() {
        refuse("sell_deck_ids");
    }
    if input.partition_id.as_ref().map(|p| p.0.to_string()) != current.and_then(|c| c.partition_id.clone()) {
        refuse("partition_id");
    }
    let usual = ClassSet::default();
    for d in input.destinations.iter().flat_map(|l| &l.0) {
        let risky = DestinationClass::parse(d.as_str()).is_none_or(|c| !usual.contains(c));
        let had = current.is_some_and(|c| c.destinations.iter().any(|x| x == d.as_str()));
        if risky && !had {
            refuse("destinations");
        }
    }
    if input.trust_asserted.unwrap_or(false) && !current.is_some_and(|c| c.trust_asserted) {
        refuse("trust_asserted");
    }
    if problems.is_empty() { Ok(()) } else { Err(Fault { kind: Kind::Forbidden, ..Fault::fields(problems) }) }
}

async fn write(
    ctx: &Ctx<'_>,
    statement: &'static str,
    id: TrunkId,
    customer: CustomerId,
    currency: &str,
    input: TrunkInput,
    version: Option<Option<i32>>,
) -> Result<Option<Trunk>, Fault> {
    let currency: Currency = currency.parse().unwrap_or(Currency::USD);
    let mut problems = Vec::new();
    let max_rate = nanos(input.max_rate_per_min, currency, "max_rate_per_min", &mut problems);
    let daily = nanos(input.daily_spend, currency, "daily_spend", &mut problems);
    let decks = ids(&input.sell_deck_ids);
    for (i, p) in input.strip_prefixes.0.iter().enumerate() {
        if p.0.is_empty() {
            problems.push(Problem::new(format!("strip_prefixes[{i}]"), "invalid", "must not be empty"));
        }
    }
    let destinations: Vec<String> = match input.destinations {
        Some(list) => list.0.iter().map(|d| d.as_str().to_owned()).collect(),
        None => ClassSet::default().iter().map(|c| c.as_str().to_owned()).collect(),
    };
    let mut tx = ctx.begin().await?;
    check_decks(&mut tx, &decks, Some(currency), "sell_deck_ids", &mut problems).await?;
    none_wrong(problems)?;
    let mut query = sqlx::query(statement)
        .bind(id.to_string())
        .bind(customer.to_string())
        .bind(input.ban_id.map(|b| b.0.to_string()))
        .bind(input.name.0)
        .bind(input.status.unwrap_or(TrunkStatus::Active).as_str())
        .bind(input.channels.map(Int::as_i32))
        .bind(input.cps.map(Int::as_i32))
        .bind(max_rate)
        .bind(daily)
        .bind(input.max_duration_s.map(Int::as_i32))
        .bind(destinations)
        .bind(input.media_ips.0.iter().map(|i| i.0.to_string()).collect::<Vec<_>>())
        .bind(input.strip_prefixes.0.into_iter().map(|p| p.0).collect::<Vec<_>>())
        .bind(input.strip_required.unwrap_or(false))
        .bind(input.require_valid_caller.unwrap_or(false))
        .bind(input.trust_asserted.unwrap_or(false))
        .bind(decks)
        .bind(input.partition_id.map(|p| p.0.to_string()));
    if let Some(v) = version {
        query = query.bind(v);
    }
    let row: Option<Trunk> = tx.first(query).await?;
    saved(ctx, tx, Some(customer), "trunk", version.is_some(), (&id.to_string(), row)).await
}

/// Whose trunk it is, and in which currency; 404 when the scope does not see it.
async fn owner(tx: &mut Tx, id: TrunkId) -> Result<(CustomerId, String), Fault> {
    let row = sqlx::query(sql::TRUNK_OWNER).bind(id.to_string()).fetch_optional(tx.db()).await;
    let row = row.map_err(StoreError::from)?.ok_or_else(|| Fault::not_found("trunk"))?;
    let customer: String = row.try_get(0).map_err(StoreError::from)?;
    let currency: String = row.try_get(1).map_err(StoreError::from)?;
    let customer =
        customer.parse().map_err(|_| StoreError::Internal("a customer's id cannot be read".into()))?;
    Ok((customer, currency))
}

/// Its IP ACL.
pub async fn list_ips(ctx: &Ctx<'_>, id: TrunkId) -> Result<Page<TrunkIp>, Fault> {
    let mut tx = ctx.begin().await?;
    owner(&mut tx, id).await?;
    let items = tx.all(sqlx::query(sql::TRUNK_IP_LIST).bind(id.to_string())).await?;
    Ok(Page { items, next: None })
}

/// One more address.
pub async fn add_ip(ctx: &Ctx<'_>, id: TrunkId, input: TrunkIpInput) -> Result<TrunkIp, Fault> {
    let mut tx = ctx.begin().await?;
    let (customer, _) = owner(&mut tx, id).await?;
    check_count(&mut tx, sql::TRUNK_IP_COUNT, Some(id.to_string()), IPS_PER_TRUNK, "addresses on this trunk")
        .await?;
    let query = sqlx::query(sql::TRUNK_IP_INSERT)
        .bind(customer.to_string())
        .bind(id.to_string())
        .bind(&input.address.0);
    let row: Option<TrunkIp> = tx.first(query).await?;
    let row = row.ok_or_else(|| Fault::not_found("trunk"))?;
    ctx.audit(&mut tx, Some(customer), "trunk.ip.add", &id.to_string(), Some(row.address.clone().into()))
        .await?;
    ctx.commit(tx).await?;
    Ok(row)
}

/// One less; `address` as it was listed.
pub async fn remove_ip(ctx: &Ctx<'_>, id: TrunkId, address: &str) -> Result<(), Fault> {
    use super::input::Field;
    let given = serde_json::Value::from(address);
    let address =
        Net::read(Some(&given), "address", &mut Vec::new()).ok_or_else(|| Fault::not_found("address"))?;
    let mut tx = ctx.begin().await?;
    let (customer, _) = owner(&mut tx, id).await?;
    if tx.run(sqlx::query(sql::TRUNK_IP_DELETE).bind(id.to_string()).bind(&address.0)).await? == 0 {
        return Err(Fault::not_found("address"));
    }
    ctx.audit(&mut tx, Some(customer), "trunk.ip.remove", &id.to_string(), Some(address.0.into())).await?;
    ctx.commit(tx).await?;
    Ok(())
}

/// Its digest users.
pub async fn list_credentials(ctx: &Ctx<'_>, id: TrunkId) -> Result<Page<Credential>, Fault> {
    let mut tx = ctx.begin().await?;
    owner(&mut tx, id).await?;
    let items = tx.all(sqlx::query(sql::CREDENTIAL_LIST).bind(id.to_string())).await?;
    Ok(Page { items, next: None })
}

/// One more digest user.
pub async fn add_credential(ctx: &Ctx<'_>, id: TrunkId, input: CredentialInput) -> Result<Credential, Fault> {
    let realm = ctx.app.config.realm.clone();
    let ha1 = ha1(&input.username.0, &realm, input.password.0.reveal());
    let mut tx = ctx.begin().await?;
    let (customer, _) = owner(&mut tx, id).await?;
    let (limit, what) = (CREDENTIALS_PER_TRUNK, "users on this trunk");
    check_count(&mut tx, sql::CREDENTIAL_COUNT, Some(id.to_string()), limit, what).await?;
    let query = sqlx::query(sql::CREDENTIAL_INSERT)
        .bind(customer.to_string())
        .bind(id.to_string())
        .bind(&input.username.0)
        .bind(realm)
        .bind(ha1.0)
        .bind(ha1.1);
    let row: Option<Credential> = tx.first(query).await?;
    let row = row.ok_or_else(|| Fault::not_found("trunk"))?;
    ctx.audit(
        &mut tx,
        Some(customer),
        "trunk.credential.add",
        &id.to_string(),
        Some(input.username.0.into()),
    )
    .await?;
    ctx.commit(tx).await?;
    Ok(row)
}

/// One less.
pub async fn remove_credential(ctx: &Ctx<'_>, id: TrunkId, username: &str) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    let (customer, _) = owner(&mut tx, id).await?;
    if tx.run(sqlx::query(sql::CREDENTIAL_DELETE).bind(id.to_string()).bind(username)).await? == 0 {
        return Err(Fault::not_found("user"));
    }
    ctx.audit(&mut tx, Some(customer), "trunk.credential.remove", &id.to_string(), Some(username.into()))
        .await?;
    ctx.commit(tx).await?;
    Ok(())
}

/// H(user:realm:password) by MD5 and SHA-256, lower-case hex (RFC 2617 §3.2.2.2, RFC 8760 §2.3).
pub fn ha1(username: &str, realm: &str, password: &str) -> (String, String) {
    let text = format!("{username}:{realm}:{password}");
    (hex::encode(&md5::Md5::digest(text.as_bytes())), hex::encode(&sha2::Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ha1_of_rfc_2617_and_rfc_7616() {
        let rfc2617 = ha1("Mufasa", "testrealm@host.com", "Circle Of Life").0;
        assert_eq!(rfc2617, "939e7578ed9e3c518a452acee763bce9");
        let rfc7616 = ha1("Mufasa", "http-auth@example.org", "Circle of Life").1;
        assert_eq!(rfc7616, "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
    }

    #[test]
    fn destinations_are_those_of_policy() {
        for word in Destination::WORDS {
            assert!(DestinationClass::parse(word).is_some(), "{word}");
        }
        assert_eq!(Destination::WORDS.len(), DestinationClass::ALL.len());
    }
}
