//! Customers' trunks: limits with their owners, IP ACL, digest users.
//!
//! Each limit has two owners. What an operator's key writes is the carrier's, what a customer's key writes is the customer's
//! own; the lower of both counts, so that a customer's key lifts nothing that the carrier has set. A trunk that a customer
//! makes begins with the tightest of the carrier's limits on its other trunks, and one that is held tighter than all others is
//! not deleted with a customer's key: else a new trunk would lift what the old one held.

use md5::Digest as _;
use warp_model::id::{BanKind, CustomerKind, DeckKind, TrunkKind};
use warp_model::{Currency, CustomerId, TrunkId, hex};
use warp_policy::number_plan::ClassSet;

use super::fault::{Fault, Kind, Problem};
use super::forms::network;
use super::input::{Int, Ip, List, Net, Password, Ref, SipUser, TechPrefix, Text};
use super::listing::Listing;
use super::paging::{Page, Paging};
use super::resource::{self, Resource};
use super::routing::PartitionKind;
use super::view::Word;
use super::{
    Change, Ctx, Expected, check_count, check_decks, customers, deleted, ids, nanos, none_wrong, patched,
};
use crate::noun::Noun;
use crate::noun::trunk::{TRUNK, TrunkRow, TrunkValues};
use crate::store::nouns;
use crate::store::trunks::{self as rows, AddressRow, CredentialRow, TightestRow};
use crate::store::types::{Amount, Time};
use crate::store::{StoreError, Tx};

/// Trunks of one customer.
pub const TRUNKS_PER_CUSTOMER: i64 = 1_000;
/// Digest users of one trunk.
pub const CREDENTIALS_PER_TRUNK: i64 = 1_000;
/// Addresses of one trunk.
pub const IPS_PER_TRUNK: i64 = 256;

crate::view! {
    /// A trunk: where a customer's calls come in, and what they may do. Its own fields are what the side of this key has set, so
    /// that sending them back by PUT changes nothing; `limits.in_force` is what counts.
    pub struct Trunk {
        /// The trunk's id: `trk_` and 26 characters.
        pub id: String,
        /// The customer that it belongs to.
        pub customer_id: String,
        /// The billing account that pays for its calls.
        pub ban_id: String,
        /// Its name, unique within the customer.
        pub name: String,
        /// `active`, or `disabled`: what this side says. The trunk takes calls when both sides say `active`.
        pub status: Word<TrunkStatus>,
        /// How many calls may be up at once, by this side. Null: this side sets no limit.
        pub channels: Option<i32>,
        /// How many calls may begin per second, by this side. Null: this side sets no limit.
        pub cps: Option<i32>,
        /// The highest price per minute that it pays, by this side; dearer calls are refused. Null: this side sets no limit.
        pub max_rate_per_min: Option<Amount>,
        /// The most that it spends in one day of the customer's time zone, by this side. Null: this side sets no limit.
        pub daily_spend: Option<Amount>,
        /// The longest that a call may last, in seconds, by this side. Null: this side sets no limit.
        pub max_duration_s: Option<i32>,
        /// The classes of destinations that this side allows. Null: all that the other side allows.
        pub destinations: Option<Vec<Word<Destination>>>,
        /// Further addresses that its media may come from.
        pub media_ips: Vec<String>,
        /// Technical prefixes that are taken off the dialled number.
        pub strip_prefixes: Vec<String>,
        /// Whether numbers without one of these prefixes are refused. Emergency numbers need none.
        pub strip_required: bool,
        /// Whether this side refuses calls without a valid caller number.
        pub require_valid_caller: bool,
        /// Whether its P-Asserted-Identity is believed.
        pub trust_asserted: bool,
        /// Its price lists, in order. Empty: those of the customer.
        pub sell_deck_ids: Vec<String>,
        /// Its partition. Null: that of the customer.
        pub partition_id: Option<String>,
        /// What counts, and who has set which limit.
        pub limits: TrunkLimits,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// A number that rises with each change. The ETag header carries it.
        pub version: i32,
    }
}

crate::view! {
    /// The limits of a trunk by their owner. The lower of both counts.
    pub struct TrunkLimits {
        /// What counts: of each limit the lower of both.
        pub in_force: SideLimits,
        /// What the carrier has set. A customer's key cannot lift it.
        pub carrier: SideLimits,
        /// What the customer has set for itself.
        pub customer: SideLimits,
    }
}

crate::view! {
    /// Limits of a trunk: those of one side, or those in force. Null: no limit.
    pub struct SideLimits {
        /// Whether the trunk takes calls.
        pub status: Word<TrunkStatus>,
        /// How many calls may be up at once.
        pub channels: Option<i32>,
        /// How many calls may begin per second.
        pub cps: Option<i32>,
        /// The highest price per minute; dearer calls are refused.
        pub max_rate_per_min: Option<Amount>,
        /// The most that is spent in one day of the customer's time zone.
        pub daily_spend: Option<Amount>,
        /// The longest that a call may last, in seconds. Null in force: the platform's own limit.
        pub max_duration_s: Option<i32>,
        /// The classes of destinations that are allowed. Null: all that the other side allows.
        pub destinations: Option<Vec<Word<Destination>>>,
        /// Whether calls without a valid caller number are refused.
        pub require_valid_caller: bool,
    }
}

impl Trunk {
    /// As the side of this key sees it.
    fn seen_by(ctx: &Ctx<'_>, row: TrunkRow) -> Self {
        let words = |list: Vec<String>| list.into_iter().map(Word::from).collect::<Vec<_>>();
        let carrier = SideLimits {
            status: row.status.into(),
            channels: row.channels,
            cps: row.cps,
            max_rate_per_min: row.max_rate_per_min,
            daily_spend: row.daily_spend,
            max_duration_s: row.max_duration_s,
            destinations: Some(words(row.destinations)),
            require_valid_caller: row.require_valid_caller,
        };
        let customer = SideLimits {
            status: row.own_status.into(),
            channels: row.own_channels,
            cps: row.own_cps,
            max_rate_per_min: row.own_max_rate_per_min,
            daily_spend: row.own_daily_spend,
            max_duration_s: row.own_max_duration_s,
            destinations: row.own_destinations.map(words),
            require_valid_caller: row.own_require_valid_caller,
        };
        let own = if is_customer(ctx) { &customer } else { &carrier }.clone();
        Self {
            id: row.id,
            customer_id: row.customer_id,
            ban_id: row.ban_id.unwrap_or_default(),
            name: row.name,
            status: own.status,
            channels: own.channels,
            cps: own.cps,
            max_rate_per_min: own.max_rate_per_min,
            daily_spend: own.daily_spend,
            max_duration_s: own.max_duration_s,
            destinations: own.destinations,
            media_ips: row.media_ips,
            strip_prefixes: row.strip_prefixes,
            strip_required: row.strip_required,
            require_valid_caller: own.require_valid_caller,
            trust_asserted: row.trust_asserted,
            sell_deck_ids: row.sell_deck_ids,
            partition_id: row.partition_id,
            limits: TrunkLimits { in_force: SideLimits::in_force(&carrier, &customer), carrier, customer },
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

impl SideLimits {
    /// Of each limit the lower of both.
    fn in_force(a: &Self, b: &Self) -> Self {
        let destinations = match (&a.destinations, &b.destinations) {
            (Some(a), Some(b)) => Some(a.iter().filter(|d| b.contains(d)).cloned().collect()),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Self {
            status: if a.status == TrunkStatus::Active.as_str() { &b.status } else { &a.status }.clone(),
            channels: lower(a.channels, b.channels),
            cps: lower(a.cps, b.cps),
            max_rate_per_min: lower_amount(a.max_rate_per_min, b.max_rate_per_min),
            daily_spend: lower_amount(a.daily_spend, b.daily_spend),
            max_duration_s: lower(a.max_duration_s, b.max_duration_s),
            destinations,
            require_valid_caller: a.require_valid_caller || b.require_valid_caller,
        }
    }
}

/// Which side of a trunk's limits the key writes.
fn is_customer(ctx: &Ctx<'_>) -> bool {
    ctx.scope.customer().is_some()
}

/// The lower of two limits, of which each may be absent.
fn lower<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The same for amounts, which are in one currency: the customer's.
fn lower_amount(a: Option<Amount>, b: Option<Amount>) -> Option<Amount> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0.amount < a.0.amount { b } else { a }),
        (a, b) => a.or(b),
    }
}

crate::choice! {
    /// Whether a trunk takes calls.
    pub enum TrunkStatus {
        /// It takes calls, when the other side says so too.
        Active = "active",
        /// It refuses every call.
        Disabled = "disabled",
    }
}

crate::choice! {
    /// Classes of destinations; those after `international` are denied unless an operator allows them.
    pub enum Destination {
        /// The 50 states and DC.
        Domestic = "domestic",
        /// Toll-free numbers of the North American plan (8YY).
        TollFree = "toll_free",
        /// Numbers of Canada, geographic ones.
        Canada = "canada",
        /// PR, VI, GU, AS, MP.
        UsTerritory = "us_territory",
        /// Other countries of country code 1.
        NanpCountry = "nanp_country",
        /// Everything abroad that no other class has.
        International = "international",
        /// Ranges of premium services, in any country.
        Premium = "premium",
        /// Networks that are reached by satellite.
        Satellite = "satellite",
        /// Numbers that are known from fraud.
        HighRisk = "high_risk",
        /// Personal numbers, which follow their holder.
        Personal = "personal",
        /// Every other special range.
        Special = "special",
    }
}

crate::input! {
    /// A trunk to make or to replace. The limits are those of the side whose key is used: the carrier's with an operator's key,
    /// the customer's own with a customer's key. The lower of both counts.
    pub struct TrunkInput {
        /// Its name, unique within the customer.
        pub name: Text<1, 100>,
        /// The billing account that pays for its calls; the customer's first when absent.
        pub ban_id: Option<Ref<BanKind>>,
        /// Whether the trunk takes calls; `active` when absent.
        pub status: Option<TrunkStatus>,
        /// How many calls may be up at once. Absent: no limit of this side.
        pub channels: Option<Int<0, 1_000_000>>,
        /// How many calls may begin per second. Absent: no limit of this side.
        pub cps: Option<Int<0, 100_000>>,
        /// The highest price per minute that it pays. Absent: no limit of this side.
        pub max_rate_per_min: Option<Amount>,
        /// The most that it spends in one day of the customer's time zone. Absent: no limit of this side.
        pub daily_spend: Option<Amount>,
        /// The longest that a call may last, in seconds. Absent: no limit of this side.
        pub max_duration_s: Option<Int<1, 86_400>>,
        /// The classes of destinations that it may call. Absent: for an operator all but the risky ones, for a customer all
        /// that the carrier allows.
        pub destinations: Option<List<Destination, 11>>,
        /// Further addresses that its media may come from.
        pub media_ips: List<Ip, 32>,
        /// Technical prefixes that are taken off the dialled number.
        pub strip_prefixes: List<TechPrefix, 16>,
        /// Whether numbers without one of these prefixes are refused; false when absent. Emergency numbers need none.
        pub strip_required: Option<bool>,
        /// Whether calls without a valid caller number are refused; false when absent.
        pub require_valid_caller: Option<bool>,
        /// Whether its P-Asserted-Identity is believed; false when absent. Only an operator's key can turn it on.
        pub trust_asserted: Option<bool>,
        /// Its price lists, in order. Empty: those of the customer. Only an operator's key can set them.
        pub sell_deck_ids: List<Ref<DeckKind>, 16>,
        /// Its partition. Null: that of the customer. Only an operator's key can set it.
        pub partition_id: Option<Ref<PartitionKind>>,
    }
}

crate::view! {
    /// An address of a trunk: calls from there are this trunk's.
    pub struct TrunkIp from AddressRow {
        /// The address or network, in CIDR form.
        pub address: String,
        /// When it was added.
        pub created_at: Time,
    }
}

crate::input! {
    /// An address to add to a trunk.
    pub struct TrunkIpInput {
        /// An address or a network. It can belong to one trunk of the whole platform only.
        pub address: Net,
    }
}

crate::view! {
    /// A digest user of a trunk. Its password is never shown, because it is not kept.
    pub struct Credential from CredentialRow {
        /// The SIP user name. No other trunk has the same.
        pub username: String,
        /// The realm that the user registers in.
        pub realm: String,
        /// When it was added.
        pub created_at: Time,
    }
}

crate::input! {
    /// A digest user to add. Only hashes of the password (HA1 by MD5 and SHA-256) are kept.
    pub struct CredentialInput {
        /// The SIP user name. It must be unique over all trunks of the platform.
        pub username: SipUser,
        /// The password, 12 to 128 characters.
        pub password: Password,
    }
}

/// Trunks, as the API offers them.
pub struct Trunks;

impl Resource for Trunks {
    const NOUN: &'static Noun = &TRUNK;
    type Kind = TrunkKind;
    type Parent = CustomerKind;
    type Input = TrunkInput;
    type View = Trunk;

    fn id(view: &Trunk) -> &str {
        &view.id
    }
    fn of_customer(customer: CustomerId) -> Option<CustomerId> {
        Some(customer)
    }
    async fn list(ctx: &Ctx<'_>, listing: &Listing) -> Result<Page<Trunk>, Fault> {
        list(ctx, listing).await
    }
    async fn create(ctx: &Ctx<'_>, customer: CustomerId, input: TrunkInput) -> Result<Trunk, Fault> {
        create(ctx, customer, input).await
    }
    async fn get(ctx: &Ctx<'_>, id: TrunkId) -> Result<Trunk, Fault> {
        get(ctx, id).await
    }
    async fn update(ctx: &Ctx<'_>, id: TrunkId, change: Change<'_>, e: &Expected) -> Result<Trunk, Fault> {
        update(ctx, id, change, e).await
    }
    async fn delete(ctx: &Ctx<'_>, id: TrunkId, expected: &Expected) -> Result<(), Fault> {
        delete(ctx, id, expected).await
    }
}

/// One page of the trunks that the scope sees.
pub async fn list(ctx: &Ctx<'_>, listing: &Listing) -> Result<Page<Trunk>, Fault> {
    let mut tx = ctx.begin().await?;
    let rows = nouns::list(&mut tx, listing).await?;
    Ok(listing.page(rows).map(|row| Trunk::seen_by(ctx, row)))
}

/// The trunk with this id. Errors: there is none that the scope sees.
pub async fn get(ctx: &Ctx<'_>, id: TrunkId) -> Result<Trunk, Fault> {
    let mut tx = ctx.begin().await?;
    Ok(Trunk::seen_by(ctx, read(&mut tx, id).await?))
}

async fn read(tx: &mut Tx, id: TrunkId) -> Result<TrunkRow, Fault> {
    known(nouns::get(tx, id).await?)
}

fn known(row: Option<TrunkRow>) -> Result<TrunkRow, Fault> {
    row.ok_or_else(|| Fault::not_found("trunk"))
}

fn owner(row: &TrunkRow) -> Result<CustomerId, Fault> {
    let read = row.customer_id.parse();
    Ok(read.map_err(|_| StoreError::Internal("a customer's id cannot be read".into()))?)
}

/// A new trunk of a customer.
pub async fn create(ctx: &Ctx<'_>, customer: CustomerId, input: TrunkInput) -> Result<Trunk, Fault> {
    let currency = customers::get(ctx, customer).await?.currency;
    let mut tx = ctx.begin().await?;
    check_count(nouns::count::<TrunkRow>(&mut tx, customer).await?, TRUNKS_PER_CUSTOMER, "trunks")?;
    let carrier = match ctx.scope.customer() {
        Some(_) => begins_with(rows::tightest(&mut tx, customer, None).await?),
        None => OwnedLimits { destinations: Some(usual_words()), ..no_limits() },
    };
    let sides = Sides { carrier, own: no_limits() };
    operators_only(ctx, &input, None, &sides)?;
    let values = values(ctx, &mut tx, input, &currency, sides).await?;
    let id: TrunkId = ctx.new_id::<TrunkKind>();
    let row = nouns::insert(&mut tx, id, customer, values).await?;
    let row: TrunkRow = row.ok_or_else(|| Fault::not_found("customer"))?;
    resource::saved(ctx, tx, Some(customer), ("create", row), |row| Trunk::seen_by(ctx, row)).await
}

/// Another state of a trunk.
pub async fn update(
    ctx: &Ctx<'_>,
    id: TrunkId,
    change: Change<'_>,
    expected: &Expected,
) -> Result<Trunk, Fault> {
    let mut tx = ctx.begin().await?;
    let current = known(nouns::lock(&mut tx, id).await?)?;
    expected.check(current.version)?;
    let customer = owner(&current)?;
    let sides = Sides::of(&current);
    let input: TrunkInput = patched(&Trunk::seen_by(ctx, current.clone()), change)?;
    operators_only(ctx, &input, Some(&current), &sides)?;
    let values = values(ctx, &mut tx, input, &current.currency, sides).await?;
    let row = known(nouns::update(&mut tx, id, customer, values).await?)?;
    resource::saved(ctx, tx, Some(customer), ("update", row), |row| Trunk::seen_by(ctx, row)).await
}

/// Gone; calls in the air go on, new ones are refused.
pub async fn delete(ctx: &Ctx<'_>, id: TrunkId, expected: &Expected) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    let current = known(nouns::lock(&mut tx, id).await?)?;
    expected.check(current.version)?;
    let customer = owner(&current)?;
    if is_customer(ctx) {
        let others = begins_with(rows::tightest(&mut tx, customer, Some(id)).await?);
        if !held_as_tightly(&Sides::of(&current).carrier, &others) {
            let message = "the carrier has set limits on this trunk; ask the carrier to delete it";
            return Err(Fault::new(Kind::Forbidden, message));
        }
    }
    let rows = nouns::delete::<TrunkRow>(&mut tx, id).await;
    deleted(ctx, tx, rows, ("trunk", &id.to_string()), Some(customer)).await
}

/// The limits of one owner.
struct OwnedLimits {
    status: String,
    channels: Option<i32>,
    cps: Option<i32>,
    /// In nano-units.
    max_rate_per_min: Option<i64>,
    /// In nano-units.
    daily_spend: Option<i64>,
    max_duration_s: Option<i32>,
    /// Classes; `None` only on the customer's side: all that the carrier allows.
    destinations: Option<Vec<String>>,
    require_valid_caller: bool,
}

/// Both sides' limits.
struct Sides {
    carrier: OwnedLimits,
    own: OwnedLimits,
}

impl Sides {
    fn of(row: &TrunkRow) -> Self {
        let nanos = |a: Option<Amount>| a.map(|a| a.0.amount.0);
        Self {
            carrier: OwnedLimits {
                status: row.status.clone(),
                channels: row.channels,
                cps: row.cps,
                max_rate_per_min: nanos(row.max_rate_per_min),
                daily_spend: nanos(row.daily_spend),
                max_duration_s: row.max_duration_s,
                destinations: Some(row.destinations.clone()),
                require_valid_caller: row.require_valid_caller,
            },
            own: OwnedLimits {
                status: row.own_status.clone(),
                channels: row.own_channels,
                cps: row.own_cps,
                max_rate_per_min: nanos(row.own_max_rate_per_min),
                daily_spend: nanos(row.own_daily_spend),
                max_duration_s: row.own_max_duration_s,
                destinations: row.own_destinations.clone(),
                require_valid_caller: row.own_require_valid_caller,
            },
        }
    }
}

fn no_limits() -> OwnedLimits {
    OwnedLimits {
        status: TrunkStatus::Active.as_str().to_owned(),
        channels: None,
        cps: None,
        max_rate_per_min: None,
        daily_spend: None,
        max_duration_s: None,
        destinations: None,
        require_valid_caller: false,
    }
}

/// What the carrier allows where it has not said anything else.
fn usual_words() -> Vec<String> {
    ClassSet::default().iter().map(|c| c.as_str().to_owned()).collect()
}

/// The carrier's limits that a customer's new trunk begins with: the tightest of its other trunks.
fn begins_with(tightest: Option<TightestRow>) -> OwnedLimits {
    let Some(t) = tightest else {
        return OwnedLimits { destinations: Some(usual_words()), ..no_limits() };
    };
    let everywhere = |class: &String| t.destinations.iter().all(|list| list.split(',').any(|d| d == class));
    OwnedLimits {
        status: if t.all_active { TrunkStatus::Active } else { TrunkStatus::Disabled }.as_str().to_owned(),
        channels: t.channels,
        cps: t.cps,
        max_rate_per_min: t.max_rate_per_min,
        daily_spend: t.daily_spend,
        max_duration_s: t.max_duration_s,
        destinations: Some(usual_words().into_iter().filter(everywhere).collect()),
        require_valid_caller: t.require_valid_caller,
    }
}

/// Whether a new trunk, which would begin with `others`, is held as tightly as this one.
fn held_as_tightly(this: &OwnedLimits, others: &OwnedLimits) -> bool {
    fn at_most<T: Ord>(other: Option<T>, this: Option<T>) -> bool {
        match (other, this) {
            (_, None) => true,
            (Some(other), Some(this)) => other <= this,
            (None, Some(_)) => false,
        }
    }
    let none = Vec::new();
    let (mine, theirs) =
        (this.destinations.as_ref().unwrap_or(&none), others.destinations.as_ref().unwrap_or(&none));
    this.status == TrunkStatus::Active.as_str()
        && at_most(others.channels, this.channels)
        && at_most(others.cps, this.cps)
        && at_most(others.max_rate_per_min, this.max_rate_per_min)
        && at_most(others.daily_spend, this.daily_spend)
        && at_most(others.max_duration_s, this.max_duration_s)
        && theirs.iter().all(|d| mine.contains(d))
        && (others.require_valid_caller || !this.require_valid_caller)
}

/// What a customer cannot decide for itself: prices, routing, destinations that the carrier does not allow.
fn operators_only(
    ctx: &Ctx<'_>,
    input: &TrunkInput,
    current: Option<&TrunkRow>,
    sides: &Sides,
) -> Result<(), Fault> {
    if !is_customer(ctx) {
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
    let allowed = sides.carrier.destinations.clone().unwrap_or_default();
    let had = sides.own.destinations.clone().unwrap_or_default();
    let wanted = input.destinations.iter().flat_map(|l| &l.0).map(|d| d.as_str().to_owned());
    if wanted.into_iter().any(|d| !allowed.contains(&d) && !had.contains(&d)) {
        refuse("destinations");
    }
    if input.trust_asserted.unwrap_or(false) && !current.is_some_and(|c| c.trust_asserted) {
        refuse("trust_asserted");
    }
    if problems.is_empty() { Ok(()) } else { Err(Fault { kind: Kind::Forbidden, ..Fault::fields(problems) }) }
}

/// What is written: the side of this key as the input says, the other side as it was.
async fn values(
    ctx: &Ctx<'_>,
    tx: &mut Tx,
    input: TrunkInput,
    currency: &str,
    sides: Sides,
) -> Result<TrunkValues, Fault> {
    let currency: Currency = currency.parse().unwrap_or(Currency::USD);
    let mut problems = Vec::new();
    let max_rate_per_min = nanos(input.max_rate_per_min, currency, "max_rate_per_min", &mut problems);
    let daily_spend = nanos(input.daily_spend, currency, "daily_spend", &mut problems);
    let sell_deck_ids = ids(&input.sell_deck_ids);
    check_decks(tx, &sell_deck_ids, Some(currency), "sell_deck_ids", &mut problems).await?;
    none_wrong(problems)?;
    let mut written = OwnedLimits {
        status: input.status.unwrap_or(TrunkStatus::Active).as_str().to_owned(),
        channels: input.channels.map(Int::as_i32),
        cps: input.cps.map(Int::as_i32),
        max_rate_per_min,
        daily_spend,
        max_duration_s: input.max_duration_s.map(Int::as_i32),
        destinations: input.destinations.map(|l| l.0.iter().map(|d| d.as_str().to_owned()).collect()),
        require_valid_caller: input.require_valid_caller.unwrap_or(false),
    };
    let sides = if is_customer(ctx) {
        Sides { own: written, ..sides }
    } else {
        written.destinations.get_or_insert_with(usual_words);
        Sides { carrier: written, ..sides }
    };
    let Sides { carrier, own } = sides;
    Ok(TrunkValues {
        ban_id: input.ban_id.map(|b| b.0.to_string()),
        name: input.name.0,
        status: carrier.status,
        channels: carrier.channels,
        cps: carrier.cps,
        max_rate_per_min: carrier.max_rate_per_min,
        daily_spend: carrier.daily_spend,
        max_duration_s: carrier.max_duration_s,
        destinations: carrier.destinations.unwrap_or_default(),
        require_valid_caller: carrier.require_valid_caller,
        own_status: own.status,
        own_channels: own.channels,
        own_cps: own.cps,
        own_max_rate_per_min: own.max_rate_per_min,
        own_daily_spend: own.daily_spend,
        own_max_duration_s: own.max_duration_s,
        own_destinations: own.destinations,
        own_require_valid_caller: own.require_valid_caller,
        media_ips: input.media_ips.0.iter().map(|i| i.0.to_string()).collect(),
        strip_prefixes: input.strip_prefixes.0.into_iter().map(|p| p.0).collect(),
        strip_required: input.strip_required.unwrap_or(false),
        trust_asserted: input.trust_asserted.unwrap_or(false),
        sell_deck_ids,
        partition_id: input.partition_id.map(|p| p.0.to_string()),
    })
}

/// Its IP ACL, in the order of the addresses; only one address when it is named.
pub async fn list_ips(
    ctx: &Ctx<'_>,
    id: TrunkId,
    address: Option<&str>,
    paging: &Paging,
) -> Result<Page<TrunkIp>, Fault> {
    let wrong =
        || Fault::field("address", "invalid", "must be an address or network such as 198.51.100.0/28");
    let address = address.map(|a| network(a).ok_or_else(wrong)).transpose()?;
    let mut tx = ctx.begin().await?;
    read(&mut tx, id).await?;
    let rows = rows::addresses(&mut tx, id, address.as_deref(), paging).await?;
    Ok(Page::of(rows, paging.limit, |a| &a.address).map(TrunkIp::from))
}

/// Adds an address to a trunk. Errors: an unknown trunk, an address that another trunk has, or too many.
pub async fn add_ip(ctx: &Ctx<'_>, id: TrunkId, input: TrunkIpInput) -> Result<TrunkIp, Fault> {
    let mut tx = ctx.begin().await?;
    let customer = owner(&read(&mut tx, id).await?)?;
    check_count(rows::count_addresses(&mut tx, id).await?, IPS_PER_TRUNK, "addresses on this trunk")?;
    let row = rows::insert_address(&mut tx, customer, id, &input.address.0).await?;
    let ip: TrunkIp = row.ok_or_else(|| Fault::not_found("trunk"))?.into();
    let detail = Some(ip.address.clone().into());
    ctx.audit(&mut tx, Some(customer), "trunk.ip.add", &id.to_string(), detail).await?;
    ctx.commit(tx).await?;
    Ok(ip)
}

/// One less; `address` in any writing.
pub async fn remove_ip(ctx: &Ctx<'_>, id: TrunkId, address: &str) -> Result<(), Fault> {
    let address = network(address).ok_or_else(|| Fault::not_found("address"))?;
    let mut tx = ctx.begin().await?;
    let customer = owner(&read(&mut tx, id).await?)?;
    if rows::delete_address(&mut tx, id, &address).await? == 0 {
        return Err(Fault::not_found("address"));
    }
    ctx.audit(&mut tx, Some(customer), "trunk.ip.remove", &id.to_string(), Some(address.into())).await?;
    ctx.commit(tx).await?;
    Ok(())
}

/// Its digest users, by name.
pub async fn list_credentials(
    ctx: &Ctx<'_>,
    id: TrunkId,
    paging: &Paging,
) -> Result<Page<Credential>, Fault> {
    let mut tx = ctx.begin().await?;
    read(&mut tx, id).await?;
    let rows = rows::credentials(&mut tx, id, paging).await?;
    Ok(Page::of(rows, paging.limit, |c| &c.username).map(Credential::from))
}

/// The digest user of a name. Errors: there is none on the trunk.
pub async fn get_credential(ctx: &Ctx<'_>, id: TrunkId, username: &str) -> Result<Credential, Fault> {
    let mut tx = ctx.begin().await?;
    read(&mut tx, id).await?;
    let row = rows::credential(&mut tx, id, username).await?;
    Ok(row.ok_or_else(|| Fault::not_found("user"))?.into())
}

/// One more digest user.
pub async fn add_credential(ctx: &Ctx<'_>, id: TrunkId, input: CredentialInput) -> Result<Credential, Fault> {
    let realm = ctx.app.config.realm.clone();
    let username = input.username.0;
    let ha1 = ha1(&username, &realm, input.password.0.reveal());
    let mut tx = ctx.begin().await?;
    let customer = owner(&read(&mut tx, id).await?)?;
    check_count(rows::count_credentials(&mut tx, id).await?, CREDENTIALS_PER_TRUNK, "users on this trunk")?;
    let row = rows::insert_credential(&mut tx, (customer, id), &username, &realm, ha1).await?;
    let credential: Credential = row.ok_or_else(|| Fault::not_found("trunk"))?.into();
    let detail = Some(username.into());
    ctx.audit(&mut tx, Some(customer), "trunk.credential.add", &id.to_string(), detail).await?;
    ctx.commit(tx).await?;
    Ok(credential)
}

/// Takes a digest user away. Errors: the trunk or the user does not exist.
pub async fn remove_credential(ctx: &Ctx<'_>, id: TrunkId, username: &str) -> Result<(), Fault> {
    let mut tx = ctx.begin().await?;
    let customer = owner(&read(&mut tx, id).await?)?;
    if rows::delete_credential(&mut tx, id, username).await? == 0 {
        return Err(Fault::not_found("user"));
    }
    let detail = Some(username.into());
    ctx.audit(&mut tx, Some(customer), "trunk.credential.remove", &id.to_string(), detail).await?;
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
    use warp_policy::number_plan::DestinationClass;

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
