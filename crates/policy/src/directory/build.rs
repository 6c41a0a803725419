//! Checks rows as a whole and builds the lookups.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use warp_model::VendorTrunkId;
use warp_model::net::is_unicast;

use super::{
    Block, CallBlock, Customer, CustomerIx, Directory, ExchangeRate, Override, Partition, PartitionIx,
    RuleIndex, Trunk, TrunkIx, Vendor, VendorIx, VendorTrunk, VendorTrunkIx,
};
use crate::cidr::CidrTable;

/// The rows of a directory, in any order. JSON of this struct (sorted by id) is the stored form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectoryBuilder {
    /// The customers, who pay for calls.
    pub customers: Vec<Customer>,
    /// Where calls come in.
    pub trunks: Vec<Trunk>,
    /// From whom we buy.
    pub vendors: Vec<Vendor>,
    /// Where calls go out.
    pub vendor_trunks: Vec<VendorTrunk>,
    /// The partitions: sets of vendors with a strategy.
    pub partitions: Vec<Partition>,
    /// Vendors not to be used.
    pub blocks: Vec<Block>,
    /// Where emergency calls go, in order.
    pub emergency_route: Vec<VendorTrunkId>,
    /// Calls that another partition routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// Calls that are not carried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub call_blocks: Vec<CallBlock>,
    /// What currencies are worth in others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exchange_rates: Vec<ExchangeRate>,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirectoryError {
    /// Id or name of the row.
    pub row: String,
    /// What is wrong, in words.
    pub message: String,
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.row, self.message)
    }
}

impl std::error::Error for DirectoryError {}

impl DirectoryBuilder {
    /// Adds the row of a customer.
    pub fn customer(mut self, row: Customer) -> Self {
        self.customers.push(row);
        self
    }

    /// Adds the row of a customer's trunk.
    pub fn trunk(mut self, row: Trunk) -> Self {
        self.trunks.push(row);
        self
    }

    /// Adds the row of a vendor.
    pub fn vendor(mut self, row: Vendor) -> Self {
        self.vendors.push(row);
        self
    }

    /// Adds a vendor trunk.
    pub fn vendor_trunk(mut self, row: VendorTrunk) -> Self {
        self.vendor_trunks.push(row);
        self
    }

    /// Adds the row of a partition.
    pub fn partition(mut self, row: Partition) -> Self {
        self.partitions.push(row);
        self
    }

    /// Adds the row of a block.
    pub fn block(mut self, row: Block) -> Self {
        self.blocks.push(row);
        self
    }

    /// Adds the row of an override.
    pub fn route_override(mut self, row: Override) -> Self {
        self.overrides.push(row);
        self
    }

    /// Adds a block of calls.
    pub fn call_block(mut self, row: CallBlock) -> Self {
        self.call_blocks.push(row);
        self
    }

    /// Adds an exchange rate.
    pub fn exchange_rate(mut self, row: ExchangeRate) -> Self {
        self.exchange_rates.push(row);
        self
    }

    /// Checks everything. All errors at once.
    pub fn build(self) -> Result<Directory, Vec<DirectoryError>> {
        let errors = check(&self);
        if errors.is_empty() { Ok(assemble(self)) } else { Err(errors) }
    }
}

fn check(rows: &DirectoryBuilder) -> Vec<DirectoryError> {
    let mut errors = Vec::new();
    let mut wrong = |row: String, message: String| errors.push(DirectoryError { row, message });
    let mut ids = BTreeSet::new();
    for id in rows
        .customers
        .iter()
        .map(|r| r.id.to_string())
        .chain(rows.trunks.iter().map(|r| r.id.to_string()))
        .chain(rows.vendors.iter().map(|r| r.id.to_string()))
        .chain(rows.vendor_trunks.iter().map(|r| r.id.to_string()))
        .chain(rows.partitions.iter().map(|p| format!("partition {}", p.name)))
        .chain(rows.blocks.iter().map(|b| format!("block {}", b.id)))
        .chain(rows.overrides.iter().map(|o| format!("override {}", o.id)))
        .chain(rows.call_blocks.iter().map(|b| format!("call block {}", b.id)))
        .chain(rows.exchange_rates.iter().map(|r| format!("exchange rate {} {}", r.from, r.to)))
    {
        if !ids.insert(id.clone()) {
            wrong(id, "twice".into());
        }
    }
    let customers: BTreeSet<_> = rows.customers.iter().map(|r| r.id).collect();
    let vendors: BTreeSet<_> = rows.vendors.iter().map(|r| r.id).collect();
    let vendor_trunks: BTreeSet<_> = rows.vendor_trunks.iter().map(|r| r.id).collect();
    let partitions: BTreeSet<_> = rows.partitions.iter().map(|p| p.name.as_str()).collect();
    let (mut users, mut addresses) = (BTreeSet::new(), BTreeMap::new());
    for t in &rows.trunks {
        let row = t.id.to_string();
        if !customers.contains(&t.customer) {
            wrong(row.clone(), format!("unknown customer {}", t.customer));
        }
        if !partitions.contains(t.partition.as_str()) {
            wrong(row.clone(), format!("unknown partition {}", t.partition));
        }
        if t.rounding.places > 9 {
            wrong(row.clone(), "at most 9 decimal places".into());
        }
        for u in &t.digest {
            if u.username.is_empty() || !users.insert(u.username.as_str()) {
                wrong(row.clone(), format!("digest user {} twice or empty", u.username));
            }
        }
        for c in &t.acl {
            if let Some(other) = addresses.insert(*c, t.id) {
                wrong(row.clone(), format!("address {c} also belongs to {other}"));
            }
        }
        for a in &t.deliver.addresses {
            if !is_unicast(a.ip()) || a.port() == 0 {
                wrong(row.clone(), format!("{a} cannot be sent to"));
            }
        }
        if let Some(fault) = t.headers.fault() {
            wrong(row.clone(), fault.into());
        }
        for p in t.dial.strip.iter().chain(&t.dial.international) {
            let fine = !p.is_empty()
                && p.len() <= 16
                && p.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#');
            if !fine {
                wrong(row.clone(), format!("not a dial prefix: \"{p}\""));
            }
        }
    }
    for t in &rows.vendor_trunks {
        let row = t.id.to_string();
        if !vendors.contains(&t.vendor) {
            wrong(row.clone(), format!("unknown vendor {}", t.vendor));
        }
        if let Some(fault) = t.headers.fault() {
            wrong(row.clone(), fault.into());
        }
        if t.addresses.is_empty() && t.hosts.is_empty() {
            wrong(row.clone(), "no address".into());
        }
        for a in &t.addresses {
            if !is_unicast(a.ip()) || a.port() == 0 {
                wrong(row.clone(), format!("{a} cannot be sent to"));
            }
        }
    }
    for p in &rows.partitions {
        let row = format!("partition {}", p.name);
        let mut seen = BTreeSet::new();
        for v in &p.vendors {
            if !vendors.contains(&v.vendor) || !seen.insert(v.vendor) {
                wrong(row.clone(), format!("vendor {} unknown or twice", v.vendor));
            }
            if v.weight == 0 {
                wrong(row.clone(), format!("vendor {}: weights are at least 1", v.vendor));
            }
        }
        if p.vendors.len() > 1_024 {
            wrong(row.clone(), "at most 1,024 vendors".into());
        }
        if !(1..=8).contains(&p.max_candidates) {
            wrong(row.clone(), "1 to 8 tries".into());
        }
        if !(1..=86_400).contains(&p.expected_duration_s) {
            wrong(row.clone(), "an expected duration of 1 second to a day".into());
        }
        if p.margin.bps > 10_000 {
            wrong(row.clone(), "a margin of at most 10,000 hundredths of a percent".into());
        }
    }
    for b in &rows.blocks {
        if !vendors.contains(&b.vendor) {
            wrong(format!("block {}", b.id), format!("unknown vendor {}", b.vendor));
        }
    }
    for o in &rows.overrides {
        let row = format!("override {}", o.id);
        if !partitions.contains(o.partition.as_str()) {
            wrong(row.clone(), format!("unknown partition {}", o.partition));
        }
        if let Some(fault) = o.applies.fault() {
            wrong(row, fault.into());
        }
    }
    for b in &rows.call_blocks {
        if let Some(fault) = b.applies.fault() {
            wrong(format!("call block {}", b.id), fault.into());
        }
    }
    for r in &rows.exchange_rates {
        if r.rate.0 <= 0 || r.from == r.to {
            wrong(
                format!("exchange rate {} {}", r.from, r.to),
                "a rate above 0 between two currencies".into(),
            );
        }
    }
    for id in &rows.emergency_route {
        if !vendor_trunks.contains(id) {
            wrong("emergency route".into(), format!("unknown vendor trunk {id}"));
        }
    }
    if rows.vendors.len() > usize::from(u16::MAX) || rows.partitions.len() > usize::from(u16::MAX) {
        wrong("directory".into(), "more than 65,535 vendors or partitions".into());
    }
    errors
}

/// Builds from checked rows.
pub(super) fn assemble(mut rows: DirectoryBuilder) -> Directory {
    // One content, one form: the stored form does not depend on the order of arrival.
    rows.customers.sort_by_key(|r| r.id);
    rows.trunks.sort_by_key(|r| r.id);
    rows.vendors.sort_by_key(|r| r.id);
    rows.vendor_trunks.sort_by_key(|r| r.id);
    rows.partitions.sort_by(|a, b| a.name.cmp(&b.name));
    rows.blocks.sort_by(|a, b| a.id.cmp(&b.id));
    rows.overrides.sort_by(|a, b| a.id.cmp(&b.id));
    rows.call_blocks.sort_by(|a, b| a.id.cmp(&b.id));
    rows.exchange_rates.sort_by_key(|r| (r.from, r.to));
    let json = serde_json::to_vec(&rows).unwrap_or_default();
    let customer_by_id: HashMap<_, _> =
        rows.customers.iter().map(|r| r.id).zip((0..).map(CustomerIx)).collect();
    let trunk_by_id = rows.trunks.iter().map(|r| r.id).zip((0..).map(TrunkIx)).collect();
    let vendor_by_id: HashMap<_, _> = rows.vendors.iter().map(|r| r.id).zip((0..).map(VendorIx)).collect();
    let vendor_trunk_by_id: HashMap<_, _> =
        rows.vendor_trunks.iter().map(|r| r.id).zip((0..).map(VendorTrunkIx)).collect();
    let partition_by_name: HashMap<_, _> =
        rows.partitions.iter().map(|p| p.name.as_str()).zip((0..).map(PartitionIx)).collect();
    let customer_of =
        rows.trunks.iter().map(|t| customer_by_id.get(&t.customer).copied().unwrap_or_default()).collect();
    let partition_of = rows
        .trunks
        .iter()
        .map(|t| partition_by_name.get(t.partition.as_str()).copied().unwrap_or_default())
        .collect();
    let vendor_of: Vec<VendorIx> =
        rows.vendor_trunks.iter().map(|t| vendor_by_id.get(&t.vendor).copied().unwrap_or_default()).collect();
    let mut trunks_of_vendor = vec![Vec::new(); rows.vendors.len()];
    let mut vendor_by_ip: HashMap<IpAddr, Vec<VendorTrunkIx>> = HashMap::new();
    for ((ix, t), vendor) in (0..).map(VendorTrunkIx).zip(&rows.vendor_trunks).zip(&vendor_of) {
        if t.enabled
            && let Some(list) = trunks_of_vendor.get_mut(vendor.at())
        {
            list.push(ix);
        }
        for ip in t.addresses.iter().map(|a| a.ip()).chain(t.signalling_ips.iter().copied()) {
            let list = vendor_by_ip.entry(ip.to_canonical()).or_default();
            if list.last() != Some(&ix) {
                list.push(ix);
            }
        }
    }
    for list in &mut trunks_of_vendor {
        list.sort_by_key(|ix: &VendorTrunkIx| {
            rows.vendor_trunks.get(ix.at()).map(|t| (t.priority, std::cmp::Reverse(t.weight), t.id))
        });
    }
    let mut blocks_of_vendor = vec![Vec::new(); rows.vendors.len()];
    for (i, b) in rows.blocks.iter().enumerate() {
        if let Some(list) = vendor_by_id.get(&b.vendor).and_then(|v| blocks_of_vendor.get_mut(v.at())) {
            list.push(i);
        }
    }
    let emergency =
        rows.emergency_route.iter().filter_map(|id| vendor_trunk_by_id.get(id).copied()).collect();
    let override_partition = rows
        .overrides
        .iter()
        .map(|o| partition_by_name.get(o.partition.as_str()).copied().unwrap_or_default())
        .collect();
    let overrides = RuleIndex::new(rows.overrides.iter().map(|o| &o.applies));
    let call_blocks = RuleIndex::new(rows.call_blocks.iter().map(|b| &b.applies));
    let exchange = rows.exchange_rates.iter().map(|r| ((r.from, r.to), r.rate)).collect();
    let acl =
        CidrTable::build((0u32..).zip(&rows.trunks).flat_map(|(ix, t)| t.acl.iter().map(move |c| (*c, ix))));
    // What two trunks list belongs to the first of them; the API lets no second one in.
    let taking = (0u32..)
        .zip(&rows.vendor_trunks)
        .zip(&vendor_of)
        .filter(|((_, t), v)| t.enabled && rows.vendors.get(v.at()).is_some_and(|v| v.enabled));
    let networks: Vec<_> =
        taking.flat_map(|((ix, t), _)| t.inbound_networks.iter().map(move |c| (*c, ix))).collect();
    let inbound = CidrTable::build(networks.into_iter().rev());
    let vendors = rows.vendor_trunks.iter().flat_map(|t| t.hosts.iter().map(|h| (h, t.transport)));
    let deliver = rows.trunks.iter().map(|t| &t.deliver);
    let deliver = deliver.flat_map(|d| d.hosts.iter().map(|h| (h, d.transport)));
    let names: BTreeSet<_> = vendors.chain(deliver).map(|(host, t)| (host.clone(), t)).collect();
    let users = (0..)
        .map(TrunkIx)
        .zip(&rows.trunks)
        .flat_map(|(ix, t)| t.digest.iter().enumerate().map(move |(i, u)| (u.username.clone(), (ix, i))))
        .collect();
    Directory {
        hash: Sha256::digest(&json).into(),
        customer_of,
        partition_of,
        vendor_of,
        trunks_of_vendor,
        blocks_of_vendor,
        emergency,
        overrides,
        override_partition,
        call_blocks,
        exchange,
        trunk_by_id,
        customer_by_id,
        vendor_by_id,
        vendor_trunk_by_id,
        acl,
        users,
        vendor_by_ip,
        inbound,
        names: names.into_iter().collect(),
        rows,
    }
}
