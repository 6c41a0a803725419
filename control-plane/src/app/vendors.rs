//! Vendors, from whom we buy, their trunks, and the emergency route.

use warp_model::id::{DeckKind, VendorKind, VendorTrunkKind};
use warp_model::net::is_link_local;
use warp_model::{CustomerId, Secret, VendorId, VendorTrunkId};

use super::customers::Status;
use super::fault::{Fault, Problem};
use super::input::{DialPrefix, Int, Ip, List, Ref, Slug, Socket, State, Text};
use super::listing::Listing;
use super::paging::{Page, Paging};
use super::resource::{self, Resource};
use super::trunks::TrunkStatus;
use super::view::Word;
use super::{Change, Ctx, Expected, check_decks, deleted, ids, none_wrong, patched, saved};
use crate::noun::Noun;
use crate::noun::vendor_trunk::{VENDOR_TRUNK, VendorTrunkRow, VendorTrunkValues};
use crate::store::types::{SealedChange, Time};
use crate::store::vendors::{self as rows, VendorRow, VendorValues};
use crate::store::{StoreError, Tx, nouns, seal};

crate::view! {
    /// A vendor: a carrier that we buy from.
    pub struct Vendor from VendorRow {
        /// The vendor's id: `vnd_` and 26 characters.
        pub id: String,
        /// Its short name, as it stands in metrics and in the banner.
        pub slug: String,
        /// Its name, for people.
        pub name: String,
        /// `active`, or `suspended`: then it never gets a call.
        pub status: Word<Status>,
        /// Its price lists, in order.
        pub buy_deck_ids: Vec<String>,
        /// The state of the point of interconnection, when that decides the jurisdiction instead of the caller's state.
        pub interconnection: Option<String>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::input! {
    /// A vendor to make or to replace.
    pub struct VendorInput {
        /// Its short name. No other vendor has the same.
        pub slug: Slug,
        /// Its name, for people.
        pub name: Text<1, 100>,
        /// Whether the vendor gets calls; `active` when absent.
        pub status: Option<Status>,
        /// Its price lists, in order.
        pub buy_deck_ids: List<Ref<DeckKind>, 16>,
        /// The state of the point of interconnection, when that decides the jurisdiction.
        pub interconnection: Option<State>,
    }
}

crate::view! {
    /// A vendor trunk: where calls go out to a vendor.
    pub struct VendorTrunk from VendorTrunkRow {
        /// The vendor trunk's id: `vtk_` and 26 characters.
        pub id: String,
        /// The vendor that it belongs to.
        pub vendor_id: String,
        /// Its name, unique within the vendor.
        pub name: String,
        /// `active`, or `disabled`: then it never gets a call.
        pub status: Word<TrunkStatus>,
        /// The SIP transport towards it.
        pub transport: Word<VendorTransport>,
        /// Where its INVITEs go, in order.
        pub addresses: Vec<String>,
        /// How many calls it takes at once. Null: no limit.
        pub channels: Option<i32>,
        /// How many calls it takes per second. Null: no limit.
        pub cps: Option<i32>,
        /// Digits that are put in front of the number.
        pub tech_prefix: String,
        /// How numbers are written towards it.
        pub number_format: Word<NumberFormat>,
        /// Further addresses that its media may come from.
        pub media_ips: Vec<String>,
        /// The other nodes of its platform: addresses that its requests within a call may come from, and that those of ours may go to.
        pub signalling_ips: Vec<String>,
        /// Whether its redirections (3xx) are followed, to its own addresses only. If not, a redirection is the next candidate's turn.
        pub follow_redirects: bool,
        /// Trunks of one vendor are tried by priority: the smaller number first.
        pub priority: i32,
        /// Among equal priorities the larger weight is tried first.
        pub weight: i32,
        /// Our user name towards it.
        pub auth_username: Option<String>,
        /// The only realm that our password is used for.
        pub auth_realm: Option<String>,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::choice! {
    /// SIP transport towards a vendor.
    pub enum VendorTransport {
        /// SIP over UDP, the usual one.
        Udp = "udp",
        /// SIP over TCP, without TLS.
        Tcp = "tcp",
    }
}

crate::choice! {
    /// How numbers are written towards a vendor.
    pub enum NumberFormat {
        /// E.164 with a plus: `+14155550123`.
        PlusE164 = "plus_e164",
        /// E.164 without a plus: `14155550123`.
        E164 = "e164",
        /// National form inside the North American plan: `4155550123`.
        National = "national",
    }
}

crate::input! {
    /// A vendor trunk to make or to replace.
    pub struct VendorTrunkInput {
        /// Its name, unique within the vendor.
        pub name: Text<1, 100>,
        /// Whether the trunk gets calls; `active` when absent.
        pub status: Option<TrunkStatus>,
        /// The transport of its SIP; `udp` when absent.
        pub transport: Option<VendorTransport>,
        /// Where its INVITEs go, in order; at least one.
        pub addresses: List<Socket, 16, 1>,
        /// How many calls it takes at once. Absent: no limit.
        pub channels: Option<Int<0, 1_000_000>>,
        /// How many calls it takes per second. Absent: no limit.
        pub cps: Option<Int<0, 100_000>>,
        /// Digits that are put in front of the number.
        pub tech_prefix: Option<DialPrefix>,
        /// How numbers are written; `plus_e164` when absent.
        pub number_format: Option<NumberFormat>,
        /// Further addresses that its media may come from.
        pub media_ips: List<Ip, 32>,
        /// The other nodes of its platform: addresses, without port, that its requests within a call may come from, and that those of
        /// ours may go to. No call begins there.
        pub signalling_ips: List<Ip, 32>,
        /// Whether its redirections (3xx) are followed, to its own addresses (`addresses` and `signalling_ips`) only and with the number
        /// that was priced. False when absent: a redirection is the next candidate's turn.
        pub follow_redirects: Option<bool>,
        /// The smaller number is tried first; 0 when absent.
        pub priority: Option<Int<0, 1000>>,
        /// Among equal priorities the larger weight is tried first; 1 when absent.
        pub weight: Option<Int<1, 1000>>,
        /// Our user name towards it. It needs a password.
        pub auth_username: Option<Text<1, 128>>,
        /// Our password towards it. It is never shown; a change without it keeps the old one.
        pub auth_password: Option<Text<1, 128>>,
        /// The only realm that our password is used for.
        pub auth_realm: Option<Text<1, 128>>,
    }
}

crate::input! {
    /// Where emergency calls go.
    pub struct EmergencyRouteInput {
        /// Vendor trunks in order, each once. Empty: emergency calls are refused, with an alarm.
        pub vendor_trunk_ids: List<Ref<VendorTrunkKind>, 16>,
    }
}

crate::view! {
    /// Where emergency calls go.
    pub struct EmergencyRoute {
        /// Vendor trunks in order.
        pub vendor_trunk_ids: Vec<String>,
    }
}

/// A page of vendors, newest first.
pub async fn list(ctx: &Ctx<'_>, paging: &Paging) -> Result<Page<Vendor>, Fault> {
    let mut tx = ctx.begin().await?;
    let rows = rows::list(&mut tx, paging).await?;
    Ok(Page::of(rows, paging.limit, |v| &v.id).map(Vendor::from))
}

/// The vendor with this id. Errors: there is none.
pub async fn get(ctx: &Ctx<'_>, id: VendorId) -> Result<Vendor, Fault> {
    let mut tx = ctx.begin().await?;
    Ok(known(rows::get(&mut tx, id).await?)?.into())
}

fn known(row: Option<VendorRow>) -> Result<VendorRow, Fault> {
    row.ok_or_else(|| Fault::not_found("vendor"))
}

/// Makes a new vendor. Errors: a deck that does not exist, or a value that cannot be.
pub async fn create(ctx: &Ctx<'_>, input: VendorInput) -> Result<Vendor, Fault> {
    let id: VendorId = ctx.new_id::<VendorKind>();
    let mut tx = ctx.begin().await?;
    let values = values(&mut tx, input).await?;
    let row = known(rows::insert(&mut tx, id, values).await?)?;
    saved(ctx, tx, None, ("vendor.create", &id.to_string()), row.into()).await
}

/// Another state of a vendor.
pub async fn update(
    ctx: &Ctx<'_>,
    id: VendorId,
    change: Change<'_>,
    expected: &Expected,
) -> Result<Vendor, Fault> {
    let mut tx = ctx.begin().await?;
    let current: Vendor = known(rows::lock(&mut tx, id).await?)?.into();
    expected.check(current.version)?;
    let values = values(&mut tx, patched(&current, change)?).await?;
    let row = known(rows::update(&mut tx, id, values).await?)?;
    saved(ctx, tx, None, ("vendor.update", &id.to_string()), row.into()).await
}

async fn values(tx: &mut Tx, input: VendorInput) -> Result<VendorValues, Fault> {
    let buy_deck_ids = ids(&input.buy_deck_ids);
    let mut problems = Vec::new();
    check_decks(tx, &buy_deck_ids, None, "buy_deck_ids", &mut problems).await?;
    none_wrong(problems)?;
    Ok(VendorValues {
        slug: input.slug.0,
        name: input.name.0,
        status: input.status.unwrap_or(Status::Active).as_str(),
        buy_deck_ids,
        interconnection: input.interconnection.map(|s| s.0),
    })
}

/// Gone, unless a trunk, partition or exclusion refers to it.
pub async fn delete(ctx: &Ctx<'_>, id: VendorId, expected: &Expected) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    expected.check(known(rows::lock(&mut tx, id).await?)?.version)?;
    let rows = rows::delete(&mut tx, id).await;
    deleted(ctx, tx, rows, ("vendor", &id.to_string()), None).await
}

/// Vendor trunks, as the API offers them.
pub struct VendorTrunks;

impl Resource for VendorTrunks {
    const NOUN: &'static Noun = &VENDOR_TRUNK;
    type Kind = VendorTrunkKind;
    type Parent = VendorKind;
    type Input = VendorTrunkInput;
    type View = VendorTrunk;

    fn id(view: &VendorTrunk) -> &str {
        &view.id
    }
    fn of_customer(_: CustomerId) -> Option<VendorId> {
        None
    }
    async fn list(ctx: &Ctx<'_>, listing: &Listing) -> Result<Page<VendorTrunk>, Fault> {
        list_trunks(ctx, listing).await
    }
    async fn create(ctx: &Ctx<'_>, vendor: VendorId, input: VendorTrunkInput) -> Result<VendorTrunk, Fault> {
        create_trunk(ctx, vendor, input).await
    }
    async fn get(ctx: &Ctx<'_>, id: VendorTrunkId) -> Result<VendorTrunk, Fault> {
        get_trunk(ctx, id).await
    }
    async fn update(
        ctx: &Ctx<'_>,
        id: VendorTrunkId,
        change: Change<'_>,
        expected: &Expected,
    ) -> Result<VendorTrunk, Fault> {
        update_trunk(ctx, id, change, expected).await
    }
    async fn delete(ctx: &Ctx<'_>, id: VendorTrunkId, expected: &Expected) -> Result<(), Fault> {
        delete_trunk(ctx, id, expected).await
    }
}

/// One page of vendor trunks.
pub async fn list_trunks(ctx: &Ctx<'_>, listing: &Listing) -> Result<Page<VendorTrunk>, Fault> {
    let mut tx = ctx.begin().await?;
    let rows: Vec<VendorTrunkRow> = nouns::list(&mut tx, listing).await?;
    Ok(listing.page(rows).map(VendorTrunk::from))
}

/// The vendor trunk of an id. Errors: there is none.
pub async fn get_trunk(ctx: &Ctx<'_>, id: VendorTrunkId) -> Result<VendorTrunk, Fault> {
    let mut tx = ctx.begin().await?;
    Ok(known_trunk(nouns::get(&mut tx, id).await?)?.into())
}

fn known_trunk(row: Option<VendorTrunkRow>) -> Result<VendorTrunkRow, Fault> {
    row.ok_or_else(|| Fault::not_found("vendor trunk"))
}

/// A new trunk of a vendor.
pub async fn create_trunk(
    ctx: &Ctx<'_>,
    vendor: VendorId,
    input: VendorTrunkInput,
) -> Result<VendorTrunk, Fault> {
    let mut tx = ctx.begin().await?;
    known(rows::get(&mut tx, vendor).await?)?;
    if input.auth_username.is_some() != input.auth_password.is_some() {
        return Err(together());
    }
    let id: VendorTrunkId = ctx.new_id::<VendorTrunkKind>();
    let values = trunk_values(ctx, id, input)?;
    let row = known_trunk(nouns::insert(&mut tx, id, vendor, values).await?)?;
    resource::saved(ctx, tx, None, ("create", row), VendorTrunk::from).await
}

fn together() -> Fault {
    Fault::field("auth_password", "belongs_together", "user name and password belong together")
}

/// Another state of a vendor trunk.
pub async fn update_trunk(
    ctx: &Ctx<'_>,
    id: VendorTrunkId,
    change: Change<'_>,
    expected: &Expected,
) -> Result<VendorTrunk, Fault> {
    let mut tx = ctx.begin().await?;
    let current: VendorTrunk = known_trunk(nouns::lock(&mut tx, id).await?)?.into();
    expected.check(current.version)?;
    let input: VendorTrunkInput = patched(&current, change)?;
    let needs_password = current.auth_username.is_none() && input.auth_password.is_none();
    if (input.auth_username.is_some() && needs_password)
        || (input.auth_username.is_none() && input.auth_password.is_some())
    {
        return Err(together());
    }
    let values = trunk_values(ctx, id, input)?;
    let row = known_trunk(nouns::update(&mut tx, id, &current.vendor_id, values).await?)?;
    resource::saved(ctx, tx, None, ("update", row), VendorTrunk::from).await
}

fn trunk_values(
    ctx: &Ctx<'_>,
    id: VendorTrunkId,
    input: VendorTrunkInput,
) -> Result<VendorTrunkValues, Fault> {
    let mut problems = Vec::new();
    for (i, a) in input.addresses.0.iter().enumerate() {
        if input.addresses.0.iter().take(i).any(|other| other == a) {
            problems.push(Problem::new(format!("addresses[{i}]"), "taken", "this address is there twice"));
        }
    }
    for (i, ip) in input.signalling_ips.0.iter().enumerate() {
        let field = format!("signalling_ips[{i}]");
        // The core sends nothing to such an address (T-SIP-05): it would stand here without a meaning.
        if is_link_local(ip.0) {
            problems.push(Problem::new(field, "invalid", "must not be a link-local address"));
        } else if input.signalling_ips.0.iter().take(i).any(|other| other == ip) {
            problems.push(Problem::new(field, "taken", "this address is there twice"));
        }
    }
    none_wrong(problems)?;
    let auth_secret = match input.auth_password {
        Some(password) => SealedChange::Set(seal_password(ctx, id, password.0)?),
        // A change without a password keeps the old one while there is a user.
        None if input.auth_username.is_some() => SealedChange::Keep,
        None => SealedChange::Forget,
    };
    Ok(VendorTrunkValues {
        name: input.name.0,
        status: input.status.unwrap_or(TrunkStatus::Active).as_str().to_owned(),
        transport: input.transport.unwrap_or(VendorTransport::Udp).as_str().to_owned(),
        addresses: input.addresses.0.iter().map(|a| a.0.to_string()).collect(),
        channels: input.channels.map(Int::as_i32),
        cps: input.cps.map(Int::as_i32),
        tech_prefix: input.tech_prefix.map_or_else(String::new, |p| p.0),
        number_format: input.number_format.unwrap_or(NumberFormat::PlusE164).as_str().to_owned(),
        media_ips: input.media_ips.0.iter().map(|i| i.0.to_string()).collect(),
        signalling_ips: input.signalling_ips.0.iter().map(|i| i.0.to_string()).collect(),
        follow_redirects: input.follow_redirects.unwrap_or(false),
        priority: input.priority.map_or(0, Int::as_i32),
        weight: input.weight.map_or(1, Int::as_i32),
        auth_username: input.auth_username.map(|t| t.0),
        auth_secret,
        auth_realm: input.auth_realm.map(|t| t.0),
    })
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
pub async fn delete_trunk(ctx: &Ctx<'_>, id: VendorTrunkId, expected: &Expected) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    expected.check(known_trunk(nouns::lock(&mut tx, id).await?)?.version)?;
    let rows = nouns::delete::<VendorTrunkRow>(&mut tx, id).await;
    deleted(ctx, tx, rows, ("vendor trunk", &id.to_string()), None).await
}

/// Where emergency calls go.
pub async fn emergency_route(ctx: &Ctx<'_>) -> Result<EmergencyRoute, Fault> {
    let mut tx = ctx.begin().await?;
    Ok(EmergencyRoute { vendor_trunk_ids: rows::emergency_route(&mut tx).await? })
}

/// Replaces the emergency route. Errors: a trunk that does not exist.
pub async fn set_emergency_route(ctx: &Ctx<'_>, input: EmergencyRouteInput) -> Result<EmergencyRoute, Fault> {
    let ids = ids(&input.vendor_trunk_ids);
    let mut tx = ctx.begin().await?;
    match rows::set_emergency_route(&mut tx, &ids).await {
        Err(StoreError::Reference(_) | StoreError::Conflict(_)) => {
            let message = "each must be an existing vendor trunk, once";
            return Err(Fault::field("vendor_trunk_ids", "no_such_object", message));
        }
        other => other?,
    }
    ctx.audit(&mut tx, None, "emergency_route.update", "emergency_route", Some(ids.clone().into())).await?;
    ctx.commit(tx).await?;
    Ok(EmergencyRoute { vendor_trunk_ids: ids })
}
