//! The rows that a snapshot is made from, by section, and their policy form.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sqlx::Row;
use sqlx::postgres::PgRow;
use warp_model::{CustomerId, DeckId, Nanos, Secret, TrunkId, VendorId, VendorTrunkId, Wall};
use warp_policy::directory::{
    Block, CallerRules, Credentials, Customer, Deliver, DigestUser, DiversionForm, Ha1s, HeaderTerms,
    IdentityForm, InboundTerms, Limits, Margin, NumberFormat, Partition, PartitionVendor, Payer, PricedBy,
    ReasonForm, Strategy, Transport, Trunk, Vendor, VendorTrunk,
};
use warp_policy::inbound::{Destination, Number, TrunkTarget};
use warp_policy::number_plan::{ClassSet, DestinationClass, DialRules, State};
use warp_policy::{Cidr, Code};

use super::rules::rounding;
use super::seal::{Seal, password_place};
use super::sql::statements;
use super::vendors::EMERGENCY_LIST;
use super::{StoreError, Tx};

/// Name of the partition of trunks that have none: it has no vendors, so that their calls find no route.
pub const NO_PARTITION: &str = "(none)";

/// A deck in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeckRef {
    /// The deck that the version is of.
    pub id: DeckId,
    /// The version that is in force.
    pub number: i32,
    /// The SHA-256 of the version, in hex.
    pub sha256: String,
}

/// Pages that customers stand on.
pub const PAGES: i32 = 64;

/// A section of the policy snapshot: what is read again when its version has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Customers of a page, with their trunks and digest users.
    Customers(i32),
    /// Vendors, their trunks, exclusions and the emergency route.
    Vendors,
    /// Partitions and their vendors.
    Partitions,
    /// Addresses of customers' trunks.
    Addresses,
    /// Versions of decks in force.
    Decks,
    /// What inbound calls go by: prices, networks of vendors, where trunks take calls.
    Inbound,
    /// Assigned numbers of a page.
    Numbers(u8),
    /// Overrides, blocks of calls and exchange rates.
    Rules,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customers(page) => write!(f, "customers/{page}"),
            Self::Vendors => f.write_str("vendors"),
            Self::Partitions => f.write_str("partitions"),
            Self::Addresses => f.write_str("addresses"),
            Self::Decks => f.write_str("decks"),
            Self::Inbound => f.write_str("inbound"),
            Self::Numbers(page) => write!(f, "numbers/{page}"),
            Self::Rules => f.write_str("rules"),
        }
    }
}

/// The page that a customer stands on (SQL `customer_page`).
pub fn page_of(customer: &str) -> i32 {
    use md5::Digest as _;
    md5::Md5::digest(customer.as_bytes()).first().map_or(0, |b| i32::from(*b) % PAGES)
}

/// Versions of the sections; one that was never touched is absent.
pub async fn versions(tx: &mut Tx) -> Result<BTreeMap<Section, i64>, StoreError> {
    let mut out = BTreeMap::new();
    for row in all(tx, PUBLISH_VERSIONS).await? {
        let section = match text(&row, "section")?.as_str() {
            "customers" => Section::Customers(row.try_get("page")?),
            "vendors" => Section::Vendors,
            "partitions" => Section::Partitions,
            "addresses" => Section::Addresses,
            "decks" => Section::Decks,
            "inbound" => Section::Inbound,
            "rules" => Section::Rules,
            "numbers" => Section::Numbers(small(row.try_get("page")?)),
            other => return Err(StoreError::Internal(format!("unknown section {other}"))),
        };
        out.insert(section, row.try_get("version")?);
    }
    Ok(out)
}

/// Customers of a page and their trunks.
#[derive(Clone, Default)]
pub struct PageRows {
    /// The customers, with their trunks and digest users.
    pub customers: Vec<Customer>,
    /// Trunks without their addresses, with the id of their partition instead of its name.
    pub trunks: Vec<Trunk>,
}

/// Vendors and what belongs to them.
#[derive(Clone, Default)]
pub struct VendorRows {
    /// The vendors that sell to us.
    pub vendors: Vec<Vendor>,
    /// The vendors' trunks, in the order of their ids.
    pub vendor_trunks: Vec<VendorTrunk>,
    /// The exclusions of vendors.
    pub blocks: Vec<Block>,
    /// Where emergency calls go.
    pub emergency_route: Vec<warp_model::VendorTrunkId>,
}

/// Reads these pages; a page without customers is absent. Rows that cannot be read are named in `faults`.
pub async fn pages(
    tx: &mut Tx,
    wanted: &[i32],
    faults: &mut Vec<String>,
) -> Result<BTreeMap<i32, PageRows>, StoreError> {
    let mut out: BTreeMap<i32, PageRows> = BTreeMap::new();
    for row in sqlx::query(PUBLISH_CUSTOMERS).bind(wanted).fetch_all(tx.db()).await? {
        let page = out.entry(row.try_get("page")?).or_default();
        keep(customer(&row), &row, &mut page.customers, faults);
    }
    let mut users: HashMap<String, Vec<DigestUser>> = HashMap::new();
    for row in sqlx::query(PUBLISH_CREDENTIALS).bind(wanted).fetch_all(tx.db()).await? {
        let secret = |name: &str| text(&row, name).map(|t| Some(Secret::new(t)));
        let ha1 =
            Ha1s { realm: text(&row, "realm")?, md5: secret("ha1_md5")?, sha256: secret("ha1_sha256")? };
        let user = DigestUser { username: text(&row, "username")?, ha1 };
        users.entry(text(&row, "trunk_id")?).or_default().push(user);
    }
    for row in sqlx::query(PUBLISH_TRUNKS).bind(wanted).fetch_all(tx.db()).await? {
        let id = text(&row, "id")?;
        let read = trunk(&row).map(|mut t| {
            t.digest = users.remove(&id).unwrap_or_default();
            t
        });
        let page = out.entry(row.try_get("page")?).or_default();
        keep(read, &row, &mut page.trunks, faults);
    }
    Ok(out)
}

/// Reads vendors and what belongs to them.
pub async fn vendors(tx: &mut Tx, seal: &Seal, faults: &mut Vec<String>) -> Result<VendorRows, StoreError> {
    let mut out = VendorRows::default();
    for row in all(tx, PUBLISH_VENDORS).await? {
        keep(vendor(&row), &row, &mut out.vendors, faults);
    }
    for row in all(tx, PUBLISH_VENDOR_TRUNKS).await? {
        keep(vendor_trunk(&row, seal), &row, &mut out.vendor_trunks, faults);
    }
    for row in all(tx, PUBLISH_EXCLUSIONS).await? {
        keep(exclusion(&row), &row, &mut out.blocks, faults);
    }
    for row in all(tx, EMERGENCY_LIST).await? {
        out.emergency_route.push(id(&row, "vendor_trunk_id")?);
    }
    Ok(out)
}

/// Reads partitions by id, and the one of trunks that have none.
pub async fn partitions(
    tx: &mut Tx,
    faults: &mut Vec<String>,
) -> Result<BTreeMap<String, Partition>, StoreError> {
    let mut members: BTreeMap<String, Vec<PartitionVendor>> = BTreeMap::new();
    for row in all(tx, PUBLISH_PARTITION_VENDORS).await? {
        let member = PartitionVendor {
            vendor: id(&row, "vendor_id")?,
            priority: small(row.try_get("priority")?),
            weight: small::<u16>(row.try_get("weight")?).max(1),
        };
        members.entry(text(&row, "partition_id")?).or_default().push(member);
    }
    let mut out = BTreeMap::from([(NO_PARTITION.to_owned(), empty_partition())]);
    for row in all(tx, PUBLISH_PARTITIONS).await? {
        let id = text(&row, "id")?;
        let mut read = Vec::new();
        keep(partition(&row, members.remove(&id).unwrap_or_default()), &row, &mut read, faults);
        out.extend(read.pop().map(|p| (id, p)));
    }
    Ok(out)
}

/// Reads the addresses of all trunks.
pub async fn addresses(tx: &mut Tx) -> Result<HashMap<TrunkId, Vec<Cidr>>, StoreError> {
    let mut out: HashMap<TrunkId, Vec<Cidr>> = HashMap::new();
    for row in all(tx, PUBLISH_IPS).await? {
        if let Some(cidr) = cidr(&text(&row, "address")?) {
            out.entry(id(&row, "trunk_id")?).or_default().push(cidr);
        }
    }
    Ok(out)
}

/// What inbound calls go by.
#[derive(Clone, Default)]
pub struct InboundRows {
    /// What they are sold by.
    pub customers: HashMap<CustomerId, InboundTerms>,
    /// What they are bought by.
    pub vendors: HashMap<VendorId, InboundTerms>,
    /// Where they come from.
    pub networks: HashMap<VendorTrunkId, Vec<Cidr>>,
    /// Where the calls of trunks go.
    pub trunks: HashMap<TrunkId, Deliver>,
}

/// Reads what inbound calls go by.
pub async fn inbound(tx: &mut Tx, faults: &mut Vec<String>) -> Result<InboundRows, StoreError> {
    let mut out = InboundRows::default();
    let mut customers = Vec::new();
    for row in all(tx, PUBLISH_CUSTOMER_INBOUND).await? {
        keep(terms(&row), &row, &mut customers, faults);
    }
    out.customers.extend(customers);
    let mut vendors = Vec::new();
    for row in all(tx, PUBLISH_VENDOR_INBOUND).await? {
        keep(terms(&row), &row, &mut vendors, faults);
    }
    out.vendors.extend(vendors);
    for row in all(tx, PUBLISH_NETWORKS).await? {
        if let Some(network) = cidr(&text(&row, "network")?) {
            out.networks.entry(id(&row, "id")?).or_default().push(network);
        }
    }
    for row in all(tx, PUBLISH_TRUNK_INBOUND).await? {
        let deliver = Deliver {
            hosts: parsed(&row, "hosts")?,
            addresses: parsed(&row, "addresses")?,
            transport: transport(&text(&row, "transport")?),
            number_format: number_format(&text(&row, "number_format")?),
        };
        out.trunks.insert(id(&row, "id")?, deliver);
    }
    Ok(out)
}

fn terms<T: FromStr>(row: &PgRow) -> Result<(T, InboundTerms), StoreError> {
    let priced_by = match text(row, "priced_by")?.as_str() {
        "caller" => PricedBy::Caller,
        _ => PricedBy::Called,
    };
    Ok((id(row, "id")?, InboundTerms { decks: decks(row, "deck_ids")?, priced_by }))
}

fn number_format(word: &str) -> NumberFormat {
    match word {
        "e164" => NumberFormat::E164,
        "national" => NumberFormat::National,
        _ => NumberFormat::PlusE164,
    }
}

/// Reads the assigned numbers of these pages; a page without numbers is absent.
pub async fn numbers(
    tx: &mut Tx,
    wanted: &[u8],
    faults: &mut Vec<String>,
) -> Result<BTreeMap<u8, Vec<Number>>, StoreError> {
    let pages: Vec<i32> = wanted.iter().map(|p| i32::from(*p)).collect();
    let mut out: BTreeMap<u8, Vec<Number>> = BTreeMap::new();
    for row in sqlx::query(PUBLISH_NUMBERS).bind(pages).fetch_all(tx.db()).await? {
        let page = out.entry(small(row.try_get("page")?)).or_default();
        keep(number(&row), &row, page, faults);
    }
    Ok(out)
}

fn number(row: &PgRow) -> Result<Number, StoreError> {
    let deck: Option<String> = row.try_get("sell_deck_id")?;
    let targets: Vec<String> = row.try_get("targets")?;
    let deck = deck.map(|d| d.parse::<DeckId>()).transpose();
    let targets: Option<Vec<TrunkTarget>> = targets.iter().map(|t| target(t)).collect();
    let targets = targets.ok_or_else(|| StoreError::Internal("its targets cannot be read".into()))?;
    Ok(Number {
        id: id(row, "id")?,
        number: id(row, "number")?,
        customer: id(row, "customer_id")?,
        sell_decks: deck
            .map_err(|_| StoreError::Internal("its deck cannot be read".into()))?
            .into_iter()
            .collect(),
        destination: if targets.is_empty() { Destination::Nowhere } else { Destination::Trunks(targets) },
    })
}

/// Reads a target as the statement writes it: `trk_… priority weight`, and perhaps a user of the trunk.
fn target(text: &str) -> Option<TrunkTarget> {
    let mut parts = text.split(' ');
    let (trunk, priority, weight) = (parts.next()?, parts.next()?, parts.next()?);
    Some(TrunkTarget {
        trunk: trunk.parse().ok()?,
        user: parts.next().map(str::to_owned),
        priority: priority.parse().ok()?,
        weight: weight.parse().ok()?,
    })
}

/// Reads which decks have a version in force.
pub async fn decks_in_force(tx: &mut Tx, faults: &mut Vec<String>) -> Result<Vec<DeckRef>, StoreError> {
    let mut decks = Vec::new();
    for row in all(tx, PUBLISH_DECKS).await? {
        let read = (|| {
            Ok(DeckRef { id: id(&row, "id")?, number: row.try_get("number")?, sha256: text(&row, "sha256")? })
        })();
        keep(read, &row, &mut decks, faults);
    }
    Ok(decks)
}

fn customer(row: &PgRow) -> Result<Customer, StoreError> {
    Ok(Customer {
        id: id(row, "id")?,
        name: text(row, "name")?,
        enabled: text(row, "status")? == "active",
        limits: Limits {
            max_rate_per_min: nanos(row, "max_rate_per_min")?,
            daily_spend: nanos(row, "daily_spend")?,
            ..limits(row)?
        },
        utc_offset_min: row.try_get("utc_offset_min")?,
        inbound: Default::default(),
    })
}

fn trunk(row: &PgRow) -> Result<Trunk, StoreError> {
    let partition: Option<String> = row.try_get("partition_id")?;
    let max_duration: Option<i32> = row.try_get("max_duration_s")?;
    let classes: Vec<String> = row.try_get("destinations")?;
    let classes: Vec<DestinationClass> = classes.iter().filter_map(|c| DestinationClass::parse(c)).collect();
    Ok(Trunk {
        id: id(row, "id")?,
        customer: id(row, "customer_id")?,
        name: text(row, "name")?,
        enabled: text(row, "status")? == "active",
        limits: Limits {
            max_rate_per_min: nanos(row, "max_rate_per_min")?,
            daily_spend: nanos(row, "daily_spend")?,
            max_duration_s: max_duration.map(small),
            ..limits(row)?
        },
        destinations: ClassSet::of(&classes),
        sell_decks: decks(row, "sell_deck_ids")?,
        partition: partition.unwrap_or_else(|| NO_PARTITION.to_owned()),
        acl: Vec::new(),
        digest: Vec::new(),
        media_ips: parsed(row, "media_ips")?,
        dial: DialRules {
            strip: row.try_get("strip_prefixes")?,
            strip_required: row.try_get("strip_required")?,
            ..DialRules::default()
        },
        caller: CallerRules {
            require_valid: row.try_get("require_valid_caller")?,
            trust_asserted: row.try_get("trust_asserted")?,
        },
        rounding: rounding(row)?,
        deliver: Default::default(),
        headers: header_terms(row)?,
        payer: Some(Payer { ban: id(row, "ban_id")?, ahead: row.try_get("paid_ahead")? }),
    })
}

fn header_terms(row: &PgRow) -> Result<HeaderTerms, StoreError> {
    let terms = HeaderTerms {
        trusted: row.try_get("identity_trusted")?,
        identity: match text(row, "identity_form")?.as_str() {
            "p_asserted_identity" => IdentityForm::PAssertedIdentity,
            "remote_party_id" => IdentityForm::RemotePartyId,
            "none" => IdentityForm::None,
            _ => IdentityForm::AsReceived,
        },
        caller_format: Some(text(row, "caller_format")?)
            .filter(|word| word != "as_received")
            .map(|word| number_format(&word)),
        diversion: match text(row, "diversion_form")?.as_str() {
            "diversion" => DiversionForm::Diversion,
            "history_info" => DiversionForm::HistoryInfo,
            "none" => DiversionForm::None,
            _ => DiversionForm::AsReceived,
        },
        reason: match text(row, "reason_form")?.as_str() {
            "always" => ReasonForm::Always,
            "none" => ReasonForm::None,
            _ => ReasonForm::AsReceived,
        },
        rules: parsed(row, "header_rules")?,
        codecs: row.try_get("codecs")?,
        session_expires_s: row.try_get::<Option<i32>, _>("session_expires_s")?.map(small),
        session_min_s: row.try_get::<Option<i32>, _>("session_min_s")?.map(small),
        recording: row.try_get("recording")?,
    };
    // One row that nobody can carry out keeps no other from being published.
    match terms.fault() {
        None => Ok(terms),
        Some(why) => Err(StoreError::Internal(why.to_owned())),
    }
}

fn vendor(row: &PgRow) -> Result<Vendor, StoreError> {
    let state: Option<String> = row.try_get("interconnection")?;
    Ok(Vendor {
        id: id(row, "id")?,
        name: text(row, "name")?,
        enabled: text(row, "status")? == "active",
        buy_decks: decks(row, "buy_deck_ids")?,
        interconnection: state.as_deref().and_then(State::parse),
        rounding: rounding(row)?,
        inbound: Default::default(),
    })
}

fn transport(text: &str) -> Transport {
    match text {
        "tcp" => Transport::Tcp,
        "tls" => Transport::Tls,
        "auto" => Transport::Auto,
        _ => Transport::Udp,
    }
}

fn vendor_trunk(row: &PgRow, seal: &Seal) -> Result<VendorTrunk, StoreError> {
    let username: Option<String> = row.try_get("auth_username")?;
    let secret: Option<Vec<u8>> = row.try_get("auth_secret")?;
    let password = secret.map(|sealed| password(&text(row, "id")?, &sealed, seal)).transpose()?;
    let realm: Option<String> = row.try_get("auth_realm")?;
    Ok(VendorTrunk {
        id: id(row, "id")?,
        vendor: id(row, "vendor_id")?,
        name: text(row, "name")?,
        enabled: text(row, "status")? == "active",
        hosts: parsed(row, "hosts")?,
        addresses: parsed(row, "addresses")?,
        transport: transport(&text(row, "transport")?),
        limits: limits(row)?,
        credentials: username.zip(password).map(|(username, password)| Credentials {
            username,
            password,
            realm,
        }),
        tech_prefix: text(row, "tech_prefix")?,
        number_format: number_format(&text(row, "number_format")?),
        media_ips: parsed(row, "media_ips")?,
        signalling_ips: parsed(row, "signalling_ips")?,
        follow_redirects: row.try_get("follow_redirects")?,
        allow_refer: row.try_get("allow_refer")?,
        headers: header_terms(row)?,
        inbound_networks: Vec::new(),
        priority: small(row.try_get("priority")?),
        weight: small(row.try_get("weight")?),
    })
}

/// A password that cannot be opened takes its trunk out of the snapshot: without it the vendor would refuse each call.
fn password(id: &str, sealed: &[u8], seal: &Seal) -> Result<Secret<String>, StoreError> {
    let closed = |why: String| StoreError::Internal(format!("its password: {why}"));
    let clear = seal.unseal(&password_place(id), sealed).map_err(|e| closed(e.to_string()))?;
    let text = std::str::from_utf8(clear.reveal()).map_err(|e| closed(e.to_string()))?;
    Ok(Secret::new(text.to_owned()))
}

fn partition(row: &PgRow, vendors: Vec<PartitionVendor>) -> Result<Partition, StoreError> {
    Ok(Partition {
        name: text(row, "name")?,
        strategy: match text(row, "strategy")?.as_str() {
            "priority_cost" => Strategy::PriorityCost,
            "weighted_share" => Strategy::WeightedShare,
            _ => Strategy::Cost,
        },
        vendors,
        max_candidates: small(row.try_get("max_candidates")?),
        expected_duration_s: small(row.try_get("expected_duration_s")?),
        margin: Margin {
            per_min: Nanos(row.try_get("margin_per_min")?),
            currency: text(row, "margin_currency")?
                .parse()
                .map_err(|_| StoreError::Internal("a margin's currency cannot be read".into()))?,
            bps: small(row.try_get("margin_bps")?),
        },
        loss_ok: row.try_get("loss_ok")?,
    })
}

fn empty_partition() -> Partition {
    Partition {
        name: NO_PARTITION.to_owned(),
        strategy: Strategy::Cost,
        vendors: Vec::new(),
        max_candidates: 1,
        expected_duration_s: 180,
        margin: Margin::default(),
        loss_ok: false,
    }
}

fn exclusion(row: &PgRow) -> Result<Block, StoreError> {
    let code: Option<String> = row.try_get("code")?;
    let time = |name: &str| row.try_get::<Option<i64>, _>(name).map(|t| t.map(Wall));
    Ok(Block {
        id: text(row, "id")?,
        vendor: id(row, "vendor_id")?,
        code: match code {
            Some(c) => Some(Code::parse(c.as_bytes()).map_err(|e| StoreError::Internal(format!("{e:?}")))?),
            None => None,
        },
        from: time("starts_at")?,
        until: time("ends_at")?,
        reason: text(row, "reason")?,
    })
}

pub(super) async fn all(tx: &mut Tx, statement: &'static str) -> Result<Vec<PgRow>, StoreError> {
    Ok(sqlx::query(statement).fetch_all(tx.db()).await?)
}

/// Takes what could be read; a row that could not is named.
pub(super) fn keep<T>(read: Result<T, StoreError>, row: &PgRow, into: &mut Vec<T>, faults: &mut Vec<String>) {
    match read {
        Ok(v) => into.push(v),
        Err(e) => faults.push(format!("{}: {e}", text(row, "id").unwrap_or_default())),
    }
}

pub(super) fn text(row: &PgRow, name: &str) -> Result<String, StoreError> {
    Ok(row.try_get(name)?)
}

pub(super) fn id<T: FromStr>(row: &PgRow, name: &str) -> Result<T, StoreError> {
    let value = text(row, name)?;
    value.parse().map_err(|_| StoreError::Internal(format!("{name} cannot be read: {value}")))
}

fn nanos(row: &PgRow, name: &str) -> Result<Option<Nanos>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(name)?.map(Nanos))
}

fn limits(row: &PgRow) -> Result<Limits, StoreError> {
    let count = |name: &str| row.try_get::<Option<i32>, _>(name).map(|n| n.map(small));
    Ok(Limits { channels: count("channels")?, cps: count("cps")?, ..Limits::default() })
}

/// A checked column's number in a smaller type; the schema's checks make it fit.
fn small<T: TryFrom<i32> + Default>(n: i32) -> T {
    T::try_from(n).unwrap_or_default()
}

fn decks(row: &PgRow, name: &str) -> Result<Vec<DeckId>, StoreError> {
    let ids: Vec<String> = row.try_get(name)?;
    Ok(ids.iter().filter_map(|t| t.parse().ok()).collect())
}

fn parsed<T: FromStr>(row: &PgRow, name: &str) -> Result<Vec<T>, StoreError> {
    let texts: Vec<String> = row.try_get(name)?;
    let read =
        |t: &String| t.parse().map_err(|_| StoreError::Internal(format!("{name} cannot be read: {t}")));
    texts.iter().map(read).collect()
}

fn cidr(text: &str) -> Option<Cidr> {
    let (address, length) = text.split_once('/')?;
    Cidr::new(address.parse::<IpAddr>().ok()?, length.parse().ok()?).ok()
}

statements! {
    /// Customers of the pages `$1`.
    PUBLISH_CUSTOMERS = "SELECT customer_page(id) AS page, id, name, status, channels, cps, max_rate_per_min, daily_spend,
            utc_offset_min
        FROM customers WHERE customer_page(id) = ANY($1) ORDER BY id";
    /// With what they inherit from their customer; of each limit the lower of the carrier's and the customer's own.
    PUBLISH_TRUNKS = "SELECT customer_page(t.customer_id) AS page, t.id, t.customer_id, t.name,
            CASE WHEN t.own_status = 'active' THEN t.status ELSE t.own_status END AS status,
            least(t.channels, t.own_channels) AS channels, least(t.cps, t.own_cps) AS cps,
            least(t.max_rate_per_min, t.own_max_rate_per_min) AS max_rate_per_min,
            least(t.daily_spend, t.own_daily_spend) AS daily_spend,
            least(t.max_duration_s, t.own_max_duration_s) AS max_duration_s,
            CASE WHEN t.own_destinations IS NULL THEN t.destinations
                 ELSE ARRAY(SELECT d FROM unnest(t.destinations) AS d WHERE d = ANY(t.own_destinations)) END AS destinations,
            t.media_ips, t.strip_prefixes, t.strip_required,
            t.require_valid_caller OR t.own_require_valid_caller AS require_valid_caller, t.trust_asserted,
            t.identity_trusted, t.identity_form, t.caller_format, t.diversion_form, t.reason_form, t.header_rules, t.codecs,
            t.session_expires_s, t.session_min_s, t.recording,
            CASE WHEN cardinality(t.sell_deck_ids) > 0 THEN t.sell_deck_ids ELSE c.sell_deck_ids END AS sell_deck_ids,
            coalesce(t.partition_id, c.partition_id) AS partition_id, t.ban_id,
            t.rounding_mode, t.rounding_places, t.partial_second, t.rounding_level,
            b.mode = 'prepaid' OR b.credit_limit IS NOT NULL AS paid_ahead
        FROM trunks t JOIN customers c ON c.id = t.customer_id JOIN bans b ON b.id = t.ban_id
        WHERE customer_page(t.customer_id) = ANY($1) ORDER BY t.id";
    /// IP ACLs.
    PUBLISH_IPS = "SELECT trunk_id, host(address) || '/' || masklen(address) AS address FROM trunk_ips ORDER BY address";
    /// Digest users.
    PUBLISH_CREDENTIALS = "SELECT trunk_id, username, realm, ha1_md5, ha1_sha256 FROM trunk_credentials
        WHERE customer_page(customer_id) = ANY($1) ORDER BY username";
    /// Vendors.
    PUBLISH_VENDORS = "SELECT id, name, status, buy_deck_ids, interconnection, rounding_mode, rounding_places,
            partial_second, rounding_level FROM vendors ORDER BY id";
    /// Their trunks.
    PUBLISH_VENDOR_TRUNKS = "SELECT id, vendor_id, name, status, transport, hosts, addresses, channels, cps, tech_prefix,
            number_format, media_ips, signalling_ips, follow_redirects, allow_refer, priority, weight, auth_username, auth_secret, auth_realm,
            identity_trusted, identity_form, caller_format, diversion_form, reason_form, header_rules, codecs,
            session_expires_s, session_min_s, recording
        FROM vendor_trunks ORDER BY id";
    /// Partitions.
    PUBLISH_PARTITIONS = "SELECT id, name, strategy, max_candidates, expected_duration_s, margin_per_min, margin_currency,
            margin_bps, loss_ok
        FROM partitions ORDER BY id";
    /// Their vendors.
    PUBLISH_PARTITION_VENDORS = "SELECT partition_id, vendor_id, priority, weight FROM partition_vendors
        ORDER BY partition_id, priority, vendor_id";
    /// Exclusions that have not ended.
    PUBLISH_EXCLUSIONS = "SELECT id, vendor_id, code, reason, us(starts_at) AS starts_at, us(ends_at) AS ends_at
        FROM exclusions WHERE ends_at IS NULL OR ends_at > now() ORDER BY id";
    /// Decks with a version in force.
    PUBLISH_DECKS = "SELECT d.id, d.active_version AS number, v.sha256 FROM decks d
        JOIN deck_versions v ON v.deck_id = d.id AND v.number = d.active_version ORDER BY d.id";
    /// What inbound calls are sold by.
    PUBLISH_CUSTOMER_INBOUND = "SELECT customer_id AS id, deck_ids, priced_by FROM customer_inbound ORDER BY customer_id";
    /// What they are bought by.
    PUBLISH_VENDOR_INBOUND = "SELECT vendor_id AS id, deck_ids, priced_by FROM vendor_inbound ORDER BY vendor_id";
    /// Where they come from.
    PUBLISH_NETWORKS = "SELECT vendor_trunk_id AS id, host(network) || '/' || masklen(network) AS network
        FROM vendor_trunk_networks ORDER BY network";
    /// Where they go.
    PUBLISH_TRUNK_INBOUND = "SELECT trunk_id AS id, hosts, addresses, transport, number_format FROM trunk_inbound ORDER BY trunk_id";
    /// Numbers that somebody has.
    PUBLISH_NUMBERS = "SELECT number_page(number) AS page, id, number, customer_id, sell_deck_id, targets FROM numbers
        WHERE state = 'assigned' AND number_page(number) = ANY($1) ORDER BY number";
    /// Versions of the sections.
    PUBLISH_VERSIONS = "SELECT section, page, version FROM published_sections";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_stand_on_the_page_that_sql_says() {
        // md5('a') begins with 0c, md5('') with d4.
        assert_eq!((page_of("a"), page_of("")), (0x0c, 0xd4 % 64));
    }
}
