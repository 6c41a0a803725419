//! Vendors, from whom we buy, their trunks, and the emergency route.

use sqlx::Row;
use warp_model::id::{DeckKind, VendorKind, VendorTrunkKind};
use warp_model::{Secret, VendorId, VendorTrunkId};

use super::customers::Status;
use super::fault::{Fault, Kind, Problem};
use super::input::{DialPrefix, Int, Ip, List, Ref, Slug, Socket, State, Text};
use super::paging::{Page, Paging};
use super::trunks::TrunkStatus;
use super::{Change, Ctx, check_decks, ids, none_wrong, not_updated, patched, saved};
use crate::store::types::Time;
use crate::store::{StoreError, seal, sql};

crate::record! {
    /// A vendor.
    pub struct Vendor {
        /// `vnd_…`
        pub id: String,
        /// Short name: the label in metrics and the banner.
        pub slug: String,
        /// For people.
        pub name: String,
        /// `active`, or `suspended`: never a candidate.
        pub status: String,
        /// Its price lists, in order.
        pub buy_deck_ids: Vec<String>,
        /// State of the point of interconnection, when it decides the jurisdiction.
        pub interconnection: Option<String>,
        /// Made.
        pub created_at: Time,
        /// Last change.
        pub updated_at: Time,
        /// Rises with each change; the ETag.
        pub version: i32,
    }
}

crate::input! {
    /// A vendor to make or replace.
    pub struct VendorInput {
        /// Short name, unique.
        pub slug: Slug,
        /// For people.
        pub name: Text<1, 100>,
        /// `active` when absent.
        pub status: Option<Status>,
        /// Its price lists, in order.
        pub buy_deck_ids: List<Ref<DeckKind>, 16>,
        /// State of the point of interconnection, when it decides the jurisdiction.
        pub interconnection: Option<State>,
    }
}

crate::record! {
    /// A vendor's trunk: where calls go out.
    pub struct VendorTrunk {
        /// `vtk_…`
        pub id: String,
        /// Whose.
        pub vendor_id: String,
        /// Unique within the vendor.
        pub name: String,
        /// `active` or `disabled`.
        pub status: String,
        /// `udp` or `tcp`.
        pub transport: String,
        /// Where its INVITEs go, in order.
        pub addresses: Vec<String>,
        /// Calls at once.
        pub channels: Option<i32>,
        /// Calls per second.
        pub cps: Option<i32>,
        /// Put in front of the number.
        pub tech_prefix: String,
        /// `plus_e164`, `e164` or `national`.
        pub number_format: String,
        /// Further addresses that its media may come from.
        pub media_ips: Vec<String>,
        /// The smaller first.
        pub priority: i32,
        /// Among equal priorities: the larger first.
        pub weight: i32,
        /// Our user name towards it.
        pub auth_username: Option<String>,
        /// Only towards this realm.
        pub auth_realm: Option<String>,
        /// Made.
        pub created_at: Time,
        /// Last change.
        pub updated_at: Time,
        /// Rises with each change; the ETag.
        pub version: i32,
    }
}

crate::choice! {
    /// SIP transport towards a vendor.
    pub enum VendorTransport {
        /// UDP.
        Udp = "udp",
        /// TCP.
        Tcp = "tcp",
    }
}

crate::choice! {
    /// How numbers are written towards a vendor.
    pub enum NumberFormat {
        /// `+14155550123`.
        PlusE164 = "plus_e164",
        /// `14155550123`.
        E164 = "e164",
        /// `4155550123` inside NANP.
        National = "national",
    }
}

crate::input! {
    /// A vendor trunk to make or replace.
    pub struct VendorTrunkInput {
        /// Unique within the vendor.
        pub name: Text<1, 100>,
        /// `active` when absent.
        pub status: Option<TrunkStatus>,
        /// `udp` when absent.
        pub transport: Option<VendorTransport>,
        /// Where its INVITEs go, in order; at least one.
        pub addresses: List<Socket, 16>,
        /// Calls at once.
        pub channels: Option<Int<0, 1_000_000>>,
        /// Calls per second.
        pub cps: Option<Int<0, 100_000>>,
        /// Put in front of the number.
        pub tech_prefix: Option<DialPrefix>,
        /// `plus_e164` when absent.
        pub number_format: Option<NumberFormat>,
        /// Further addresses that its media may come from.
        pub media_ips: List<Ip, 32>,
        /// The smaller first; 0 when absent.
        pub priority: Option<Int<0, 1000>>,
        /// Among equal priorities the larger first; 1 when absent.
        pub weight: Option<Int<1, 1000>>,
        /// Our user name towards it.
        pub auth_username: Option<Text<1, 128>>,
        /// Our password towards it; never shown. On a change, absent keeps the old one.
        pub auth_password: Option<Text<1, 128>>,
        /// Only towards this realm.
        pub auth_realm: Option<Text<1, 128>>,
    }
}

crate::input! {
    /// The emergency route, in order.
    pub struct EmergencyRouteInput {
        /// Vendor trunks; empty = emergency calls are refused, with an alarm.
        pub vendor_trunk_ids: List<Ref<VendorTrunkKind>, 16>,
    }
}

/// The emergency route.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct EmergencyRoute {
    /// Vendor trunks in order.
    pub vendor_trunk_ids: Vec<String>,
}

/// Newest first.
pub async fn list(ctx: &Ctx<'_>, paging: &Paging) -> Result<Page<Vendor>, Fault> {
    let mut tx = ctx.begin().await?;
    let statement = paging.statement(sql::VENDOR_LIST, sql::VENDOR_LIST_OLDEST);
    let query = sqlx::query(statement).bind(paging.after.as_deref()).bind(paging.rows());
    Ok(Page::of(tx.all(query).await?, paging.limit, |v: &Vendor| &v.id))
}

/// One.
pub async fn get(ctx: &Ctx<'_>, id: VendorId) -> Result<Vendor, Fault> {
    let mut tx = ctx.begin().await?;
    let row = tx.first(sqlx::query(sql::VENDOR_GET).bind(id.to_string())).await?;
    row.ok_or_else(|| Fault::not_found("vendor"))
}

/// A new vendor.
pub async fn create(ctx: &Ctx<'_>, input: VendorInput) -> Result<Vendor, Fault> {
    let row = write(ctx, sql::VENDOR_INSERT, ctx.new_id::<VendorKind>(), input, None).await?;
    row.ok_or_else(|| Fault::not_found("vendor"))
}

/// Another state of it.
pub async fn update(
    ctx: &Ctx<'_>,
    id: VendorId,
    change: Change<'_>,
    version: Option<i32>,
) -> Result<Vendor, Fault> {
    let current = get(ctx, id).await?;
    let version = Some(version.unwrap_or(current.version));
    let row = write(ctx, sql::VENDOR_UPDATE, id, patched(&current, change)?, Some(version)).await?;
    row.ok_or_else(|| not_updated(true, "vendor"))
}

async fn write(
    ctx: &Ctx<'_>,
    statement: &'static str,
    id: VendorId,
    input: VendorInput,
    version: Option<Option<i32>>,
) -> Result<Option<Vendor>, Fault> {
    let decks = ids(&input.buy_deck_ids);
    let mut problems = Vec::new();
    let mut tx = ctx.begin().await?;
    check_decks(&mut tx, &decks, None, "buy_deck_ids", &mut problems).await?;
    none_wrong(problems)?;
    let mut query = sqlx::query(statement)
        .bind(id.to_string())
        .bind(input.slug.0)
        .bind(input.name.0)
        .bind(input.status.unwrap_or(Status::Active).as_str())
        .bind(decks)
        .bind(input.interconnection.map(|s| s.0));
    if let Some(v) = version {
        query = query.bind(v);
    }
    let row: Option<Vendor> = tx.first(query).await?;
    saved(ctx, tx, None, "vendor", version.is_some(), (&id.to_string(), row)).await
}

/// Gone, unless a trunk, partition or exclusion refers to it.
pub async fn delete(ctx: &Ctx<'_>, id: VendorId) -> Result<(), Fault> {
    delete_row(ctx, sql::VENDOR_DELETE, &id.to_string(), "vendor").await
}

/// Deletes one row of something that others may refer to.
pub(super) async fn delete_row(
    ctx: &Ctx<'_>,
    statement: &'static str,
    id: &str,
    what: &str,
) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    match tx.run(sqlx::query(statement).bind(id)).await {
        Ok(0) => Err(Fault::not_found(what)),
        Ok(_) => {
            ctx.audit(&mut tx, None, &format!("{}.delete", what.replace(' ', "_")), id, None).await?;
            Ok(ctx.commit(tx).await?)
        }
        Err(StoreError::Reference(_)) => {
            let message = format!("something still refers to this {what}");
            Err(Fault::new(Kind::InUse, message))
        }
        Err(e) => Err(e.into()),
    }
}

/// Trunks, newest first; of one vendor or of all.
pub async fn list_trunks(
    ctx: &Ctx<'_>,
    vendor: Option<VendorId>,
    paging: &Paging,
) -> Result<Page<VendorTrunk>, Fault> {
    let mut tx = ctx.begin().await?;
    let statement = paging.statement(sql::VENDOR_TRUNK_LIST, sql::VENDOR_TRUNK_LIST_OLDEST);
    let query = sqlx::query(statement)
        .bind(vendor.map(|v| v.to_string()))
        .bind(paging.after.as_deref())
        .bind(paging.rows());
    Ok(Page::of(tx.all(query).await?, paging.limit, |t: &VendorTrunk| &t.id))
}

/// One.
pub async fn get_trunk(ctx: &Ctx<'_>, id: VendorTrunkId) -> Result<VendorTrunk, Fault> {
    let mut tx = ctx.begin().await?;
    let row = tx.first(sqlx::query(sql::VENDOR_TRUNK_GET).bind(id.to_string())).await?;
    row.ok_or_else(|| Fault::not_found("vendor trunk"))
}

/// A new trunk of a vendor.
pub async fn create_trunk(
    ctx: &Ctx<'_>,
    vendor: VendorId,
    input: VendorTrunkInput,
) -> Result<VendorTrunk, Fault> {
    get(ctx, vendor).await?;
    let mut problems = Vec::new();
    if input.auth_username.is_some() != input.auth_password.is_some() {
        problems.push(Problem::new("auth_password", "required", "user name and password belong together"));
    }
    none_wrong(problems)?;
    let id: VendorTrunkId = ctx.new_id::<VendorTrunkKind>();
    let row = write_trunk(ctx, sql::VENDOR_TRUNK_INSERT, id, vendor, input, None).await?;
    row.ok_or_else(|| Fault::not_found("vendor"))
}

/// Another state of it.
pub async fn update_trunk(
    ctx: &Ctx<'_>,
    id: VendorTrunkId,
    change: Change<'_>,
    version: Option<i32>,
) -> Result<VendorTrunk, Fault> {
    let current = get_trunk(ctx, id).await?;
    let vendor = current.vendor_id.parse().map_err(|_| Fault::not_found("vendor"))?;
    let input: VendorTrunkInput = patched(&current, change)?;
    if input.auth_username.is_some() && current.auth_username.is_none() && input.auth_password.is_none() {
        return Err(Fault::field("auth_password", "required", "user name and password belong together"));
    }
    let version = Some(version.unwrap_or(current.version));
    let row = write_trunk(ctx, sql::VENDOR_TRUNK_UPDATE, id, vendor, input, Some(version)).await?;
    row.ok_or_else(|| not_updated(true, "vendor trunk"))
}

async fn write_trunk(
    ctx: &Ctx<'_>,
    statement: &'static str,
    id: VendorTrunkId,
    vendor: VendorId,
    input: VendorTrunkInput,
    version: Option<Option<i32>>,
) -> Result<Option<VendorTrunk>, Fault> {
    let mut problems = Vec::new();
    if input.addresses.0.is_empty() {
        problems.push(Problem::new("addresses", "required", "must have at least one address"));
    }
    for (i, a) in input.addresses.0.iter().enumerate() {
        if a.0.ip().is_unspecified() || a.0.ip().is_multicast() {
            problems.push(Problem::new(format!("addresses[{i}]"), "invalid", "cannot be sent to"));
        }
    }
    none_wrong(problems)?;
    let secret = input.auth_password.map(|t| seal_password(ctx, id, t.0)).transpose()?;
    let mut query = sqlx::query(statement)
        .bind(id.to_string())
        .bind(vendor.to_string())
        .bind(input.name.0)
        .bind(input.status.unwrap_or(TrunkStatus::Active).as_str())
        .bind(input.transport.unwrap_or(VendorTransport::Udp).as_str())
        .bind(input.addresses.0.iter().map(|a| a.0.to_string()).collect::<Vec<_>>())
        .bind(input.channels.map(Int::as_i32))
        .bind(input.cps.map(Int::as_i32))
        .bind(input.tech_prefix.map_or_else(String::new, |p| p.0))
        .bind(input.number_format.unwrap_or(NumberFormat::PlusE164).as_str())
        .bind(input.media_ips.0.iter().map(|i| i.0.to_string()).collect::<Vec<_>>())
        .bind(input.priority.map_or(0, Int::as_i32))
        .bind(input.weight.map_or(1, Int::as_i32))
        .bind(input.auth_username.map(|t| t.0))
        .bind(secret)
        .bind(input.auth_realm.map(|t| t.0));
    if let Some(v) = version {
        query = query.bind(v);
    }
    let mut tx = ctx.begin().await?;
    let row: Option<VendorTrunk> = tx.first(query).await?;
    saved(ctx, tx, None, "vendor_trunk", version.is_some(), (&id.to_string(), row)).await
}

fn seal_password(ctx: &Ctx<'_>, id: VendorTrunkId, password: String) -> Result<Vec<u8>, Fault> {
    let password = Secret::new(password);
    let place = seal::password_place(&id.to_string());
    ctx.app.store.seal().seal(&place, password.reveal().as_bytes()).map_err(|e| {
        tracing::error!(error = %e, "a password cannot be sealed");
        Fault::internal()
    })
}

/// Gone, unless the emergency route names it.
pub async fn delete_trunk(ctx: &Ctx<'_>, id: VendorTrunkId) -> Result<(), Fault> {
    delete_row(ctx, sql::VENDOR_TRUNK_DELETE, &id.to_string(), "vendor trunk").await
}

/// Where emergency calls go.
pub async fn emergency_route(ctx: &Ctx<'_>) -> Result<EmergencyRoute, Fault> {
    let mut tx = ctx.begin().await?;
    let rows = sqlx::query(sql::EMERGENCY_LIST).fetch_all(tx.db()).await.map_err(StoreError::from)?;
    let vendor_trunk_ids =
        rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>().map_err(StoreError::from)?;
    Ok(EmergencyRoute { vendor_trunk_ids })
}

/// Replaces it.
pub async fn set_emergency_route(ctx: &Ctx<'_>, input: EmergencyRouteInput) -> Result<EmergencyRoute, Fault> {
    let ids = ids(&input.vendor_trunk_ids);
    let mut tx = ctx.begin().await?;
    tx.run(sqlx::query(sql::EMERGENCY_CLEAR)).await?;
    match tx.run(sqlx::query(sql::EMERGENCY_FILL).bind(&ids)).await {
        Err(StoreError::Reference(_) | StoreError::Conflict(_)) => {
            let message = "each must be an existing vendor trunk, once";
            return Err(Fault::field("vendor_trunk_ids", "no_such_object", message));
        }
        other => other?,
    };
    ctx.audit(&mut tx, None, "emergency_route.update", "emergency_route", Some(ids.clone().into())).await?;
    ctx.commit(tx).await?;
    Ok(EmergencyRoute { vendor_trunk_ids: ids })
}
