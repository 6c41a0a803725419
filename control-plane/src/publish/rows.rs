//! The rows that a snapshot is made from, read in one consistent transaction, and their policy form.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::str::FromStr;

use sqlx::Row;
use sqlx::postgres::PgRow;
use warp_model::{DeckId, Nanos, Secret, Wall};
use warp_policy::directory::{
    Block, CallerRules, Credentials, Customer, DigestUser, DirectoryBuilder, Ha1s, Limits, Margin,
    NumberFormat, Partition, PartitionVendor, Strategy, Transport, Trunk, Vendor, VendorTrunk,
};
use warp_policy::number_plan::{ClassSet, DestinationClass, DialRules, State};
use warp_policy::{Cidr, Code, Rounding};

use crate::store::seal::{Seal, password_place};
use crate::store::{StoreError, Tx, sql};

/// Name of the partition of trunks that have none: it has no vendors, so that their calls find no route.
pub const NO_PARTITION: &str = "(none)";

/// A deck in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeckRef {
    /// Which.
    pub id: DeckId,
    /// Version in force.
    pub number: i32,
    /// Content address.
    pub sha256: String,
}

/// Everything but the decks' content.
pub struct Rows {
    /// Customers, trunks, vendors …; lists of decks name only decks in force.
    pub directory: DirectoryBuilder,
    /// Decks in force that somebody uses.
    pub decks: Vec<DeckRef>,
    /// Rows that could not be read, for the log.
    pub faults: Vec<String>,
}

/// Reads them.
pub async fn read(tx: &mut Tx, seal: &Seal) -> Result<Rows, StoreError> {
    let mut faults = Vec::new();
    let decks = read_decks(tx, &mut faults).await?;
    let in_force: HashSet<DeckId> = decks.iter().map(|d| d.id).collect();
    let mut directory = DirectoryBuilder::default();
    for row in all(tx, sql::PUBLISH_CUSTOMERS).await? {
        keep(customer(&row), &row, &mut directory.customers, &mut faults);
    }
    let mut ips: HashMap<String, Vec<Cidr>> = HashMap::new();
    for row in all(tx, sql::PUBLISH_IPS).await? {
        if let Some(cidr) = cidr(&text(&row, "address")?) {
            ips.entry(text(&row, "trunk_id")?).or_default().push(cidr);
        }
    }
    let mut users: HashMap<String, Vec<DigestUser>> = HashMap::new();
    for row in all(tx, sql::PUBLISH_CREDENTIALS).await? {
        let secret = |name: &str| text(&row, name).map(|t| Some(Secret::new(t)));
        let ha1 =
            Ha1s { realm: text(&row, "realm")?, md5: secret("ha1_md5")?, sha256: secret("ha1_sha256")? };
        let user = DigestUser { username: text(&row, "username")?, ha1 };
        users.entry(text(&row, "trunk_id")?).or_default().push(user);
    }
    for row in all(tx, sql::PUBLISH_TRUNKS).await? {
        let id = text(&row, "id")?;
        let read = trunk(&row, &in_force).map(|mut t| {
            t.acl = ips.remove(&id).unwrap_or_default();
            t.digest = users.remove(&id).unwrap_or_default();
            t
        });
        keep(read, &row, &mut directory.trunks, &mut faults);
    }
    for row in all(tx, sql::PUBLISH_VENDORS).await? {
        keep(vendor(&row, &in_force), &row, &mut directory.vendors, &mut faults);
    }
    for row in all(tx, sql::PUBLISH_VENDOR_TRUNKS).await? {
        keep(vendor_trunk(&row, seal), &row, &mut directory.vendor_trunks, &mut faults);
    }
    let mut members: BTreeMap<String, Vec<PartitionVendor>> = BTreeMap::new();
    for row in all(tx, sql::PUBLISH_PARTITION_VENDORS).await? {
        let member = PartitionVendor {
            vendor: id(&row, "vendor_id")?,
            priority: small(row.try_get("priority")?),
            weight: small::<u16>(row.try_get("weight")?).max(1),
        };
        members.entry(text(&row, "partition_id")?).or_default().push(member);
    }
    for row in all(tx, sql::PUBLISH_PARTITIONS).await? {
        let vendors = members.remove(&text(&row, "id")?).unwrap_or_default();
        keep(partition(&row, vendors), &row, &mut directory.partitions, &mut faults);
    }
    directory.partitions.push(empty_partition());
    for row in all(tx, sql::PUBLISH_EXCLUSIONS).await? {
        keep(exclusion(&row), &row, &mut directory.blocks, &mut faults);
    }
    for row in all(tx, sql::EMERGENCY_LIST).await? {
        directory.emergency_route.push(id(&row, "vendor_trunk_id")?);
    }
    Ok(Rows { directory, decks, faults })
}

async fn read_decks(tx: &mut Tx, faults: &mut Vec<String>) -> Result<Vec<DeckRef>, StoreError> {
    let mut decks = Vec::new();
    for row in all(tx, sql::PUBLISH_DECKS).await? {
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
    })
}

fn trunk(row: &PgRow, in_force: &HashSet<DeckId>) -> Result<Trunk, StoreError> {
    let partition: Option<String> = row.try_get("partition")?;
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
        sell_decks: decks(row, "sell_deck_ids", in_force)?,
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
        rounding: Rounding::default(),
    })
}

fn vendor(row: &PgRow, in_force: &HashSet<DeckId>) -> Result<Vendor, StoreError> {
    let state: Option<String> = row.try_get("interconnection")?;
    Ok(Vendor {
        id: id(row, "id")?,
        name: text(row, "name")?,
        enabled: text(row, "status")? == "active",
        buy_decks: decks(row, "buy_deck_ids", in_force)?,
        interconnection: state.as_deref().and_then(State::parse),
        rounding: Rounding::default(),
    })
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
        addresses: parsed(row, "addresses")?,
        transport: if text(row, "transport")? == "tcp" { Transport::Tcp } else { Transport::Udp },
        limits: limits(row)?,
        credentials: username.zip(password).map(|(username, password)| Credentials {
            username,
            password,
            realm,
        }),
        tech_prefix: text(row, "tech_prefix")?,
        number_format: match text(row, "number_format")?.as_str() {
            "e164" => NumberFormat::E164,
            "national" => NumberFormat::National,
            _ => NumberFormat::PlusE164,
        },
        media_ips: parsed(row, "media_ips")?,
        signalling_ips: Vec::new(),
        follow_redirects: false,
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

async fn all(tx: &mut Tx, statement: &'static str) -> Result<Vec<PgRow>, StoreError> {
    Ok(sqlx::query(statement).fetch_all(tx.db()).await?)
}

/// Takes what could be read; a row that could not is named.
fn keep<T>(read: Result<T, StoreError>, row: &PgRow, into: &mut Vec<T>, faults: &mut Vec<String>) {
    match read {
        Ok(v) => into.push(v),
        Err(e) => faults.push(format!("{}: {e}", text(row, "id").unwrap_or_default())),
    }
}

fn text(row: &PgRow, name: &str) -> Result<String, StoreError> {
    Ok(row.try_get(name)?)
}

fn id<T: FromStr>(row: &PgRow, name: &str) -> Result<T, StoreError> {
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

fn decks(row: &PgRow, name: &str, in_force: &HashSet<DeckId>) -> Result<Vec<DeckId>, StoreError> {
    let ids: Vec<String> = row.try_get(name)?;
    Ok(ids.iter().filter_map(|t| t.parse().ok()).filter(|id| in_force.contains(id)).collect())
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
