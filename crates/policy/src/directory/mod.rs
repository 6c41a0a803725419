//! Who may call and where calls may go: customers and their trunks, vendors and theirs, partitions, blocks.
//!
//! [`DirectoryBuilder`] holds plain rows (as the control plane reads them from its store) and checks them as a whole;
//! [`Directory`] is immutable, with dense indices for the call path and fast lookups by address and digest user. Indices
//! hold within one directory only: what outlives a snapshot keeps ids.

mod build;
mod headers;
mod rules;
mod types;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use warp_model::{Currency, CustomerId, Nanos, TrunkId, VendorId, VendorTrunkId, Wall};

pub use build::{DirectoryBuilder, DirectoryError};
pub use headers::{
    DiversionForm, HeaderRule, HeaderTerms, IdentityForm, MAX_CODECS, MAX_HEADER_RULES, ReasonForm,
};
pub use rules::{Applies, CallBlock, Hours, Level, Override};
pub(crate) use rules::{RuleIndex, Whose};
pub use types::{
    Block, CallerRules, Credentials, Customer, Deliver, DigestUser, ExchangeRate, Ha1s, HostPort,
    InboundTerms, Limits, Margin, NumberFormat, Partition, PartitionVendor, Payer, PricedBy, Strategy,
    Transport, Trunk, Vendor, VendorTrunk,
};

use crate::cidr::CidrTable;
use crate::code::Code;
use crate::number_plan::DestinationClass;

macro_rules! indices {
    ($($(#[$doc:meta])* $name:ident($int:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl $name {
            /// The index as a position in the rows, from 0.
            pub fn at(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

indices! {
    /// Position of a customer in its directory.
    CustomerIx(u32);
    /// Position of a trunk in its directory.
    TrunkIx(u32);
    /// Position of a vendor in its directory.
    VendorIx(u16);
    /// Position of a vendor trunk in its directory.
    VendorTrunkIx(u32);
    /// Position of a partition in its directory.
    PartitionIx(u16);
    /// Position of an override in its directory.
    OverrideIx(u32);
    /// Position of a block of calls in its directory.
    CallBlockIx(u32);
}

/// The checked, immutable directory.
#[derive(Debug)]
pub struct Directory {
    rows: DirectoryBuilder,
    hash: [u8; 32],
    customer_of: Vec<CustomerIx>,
    partition_of: Vec<PartitionIx>,
    vendor_of: Vec<VendorIx>,
    trunks_of_vendor: Vec<Vec<VendorTrunkIx>>,
    blocks_of_vendor: Vec<Vec<usize>>,
    emergency: Vec<VendorTrunkIx>,
    overrides: RuleIndex,
    override_partition: Vec<PartitionIx>,
    call_blocks: RuleIndex,
    exchange: HashMap<(Currency, Currency), Nanos>,
    trunk_by_id: HashMap<TrunkId, TrunkIx>,
    customer_by_id: HashMap<CustomerId, CustomerIx>,
    vendor_by_id: HashMap<VendorId, VendorIx>,
    vendor_trunk_by_id: HashMap<VendorTrunkId, VendorTrunkIx>,
    acl: CidrTable,
    users: BTreeMap<String, (TrunkIx, usize)>,
    vendor_by_ip: HashMap<IpAddr, Vec<VendorTrunkIx>>,
    inbound: CidrTable,
    names: Vec<(HostPort, Transport)>,
}

impl Directory {
    /// A directory without anybody: every call is refused.
    pub fn empty() -> Directory {
        build::assemble(DirectoryBuilder::default())
    }

    /// SHA-256 of the stored form.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The rows it was made from.
    pub fn rows(&self) -> &DirectoryBuilder {
        &self.rows
    }

    /// The trunk that a source address belongs to: the most specific entry of all IP ACLs.
    pub fn trunk_by_ip(&self, ip: IpAddr) -> Option<TrunkIx> {
        self.acl.find(ip).map(TrunkIx)
    }

    /// The trunk and keys of a digest user.
    pub fn digest_user(&self, user: &str) -> Option<(TrunkIx, &Ha1s)> {
        let (ix, at) = self.users.get(user)?;
        Some((*ix, &self.trunk(*ix)?.digest.get(*at)?.ha1))
    }

    /// A trunk. `None` only for an index of another directory.
    pub fn trunk(&self, ix: TrunkIx) -> Option<&Trunk> {
        self.rows.trunks.get(ix.at())
    }

    /// All trunks in index order.
    pub fn trunks(&self) -> impl Iterator<Item = (TrunkIx, &Trunk)> {
        (0..).map(TrunkIx).zip(&self.rows.trunks)
    }

    /// The index of the trunk with this id; `None` = there is none.
    pub fn trunk_ix(&self, id: TrunkId) -> Option<TrunkIx> {
        self.trunk_by_id.get(&id).copied()
    }

    /// Whose trunk it is.
    pub fn customer_of(&self, trunk: TrunkIx) -> Option<CustomerIx> {
        self.customer_of.get(trunk.at()).copied()
    }

    /// The customer with this index.
    pub fn customer(&self, ix: CustomerIx) -> Option<&Customer> {
        self.rows.customers.get(ix.at())
    }

    /// All customers in index order.
    pub fn customers(&self) -> impl Iterator<Item = (CustomerIx, &Customer)> {
        (0..).map(CustomerIx).zip(&self.rows.customers)
    }

    /// The index of the customer with this id; `None` = there is none.
    pub fn customer_ix(&self, id: CustomerId) -> Option<CustomerIx> {
        self.customer_by_id.get(&id).copied()
    }

    /// The partition of a trunk.
    pub fn partition_of(&self, trunk: TrunkIx) -> Option<PartitionIx> {
        self.partition_of.get(trunk.at()).copied()
    }

    /// The partition with this index.
    pub fn partition(&self, ix: PartitionIx) -> Option<&Partition> {
        self.rows.partitions.get(ix.at())
    }

    /// The vendor with this index.
    pub fn vendor(&self, ix: VendorIx) -> Option<&Vendor> {
        self.rows.vendors.get(ix.at())
    }

    /// All vendors in index order.
    pub fn vendors(&self) -> impl Iterator<Item = (VendorIx, &Vendor)> {
        (0..).map(VendorIx).zip(&self.rows.vendors)
    }

    /// The index of the vendor with this id; `None` = there is none.
    pub fn vendor_ix(&self, id: VendorId) -> Option<VendorIx> {
        self.vendor_by_id.get(&id).copied()
    }

    /// A vendor trunk. `None` only for an index of another directory.
    pub fn vendor_trunk(&self, ix: VendorTrunkIx) -> Option<&VendorTrunk> {
        self.rows.vendor_trunks.get(ix.at())
    }

    /// All vendor trunks in index order.
    pub fn vendor_trunks(&self) -> impl Iterator<Item = (VendorTrunkIx, &VendorTrunk)> {
        (0..).map(VendorTrunkIx).zip(&self.rows.vendor_trunks)
    }

    /// The index of the vendor trunk with this id; `None` = there is none.
    pub fn vendor_trunk_ix(&self, id: VendorTrunkId) -> Option<VendorTrunkIx> {
        self.vendor_trunk_by_id.get(&id).copied()
    }

    /// Whose vendor trunk it is.
    pub fn vendor_of(&self, trunk: VendorTrunkIx) -> Option<VendorIx> {
        self.vendor_of.get(trunk.at()).copied()
    }

    /// The enabled trunks of a vendor, by priority, then weight, then id.
    pub fn trunks_of_vendor(&self, vendor: VendorIx) -> &[VendorTrunkIx] {
        self.trunks_of_vendor.get(vendor.at()).map_or(&[], Vec::as_slice)
    }

    /// The blocks that name a vendor.
    pub fn blocks_of_vendor(&self, vendor: VendorIx) -> impl Iterator<Item = &Block> {
        self.blocks_of_vendor.get(vendor.at()).into_iter().flatten().filter_map(|i| self.rows.blocks.get(*i))
    }

    /// The override that routes a call: the most specific one that is in force.
    #[inline]
    pub(crate) fn override_of(
        &self,
        whose: Whose,
        routed: Code,
        class: DestinationClass,
        at: Wall,
    ) -> Option<OverrideIx> {
        let rows = &self.rows.overrides;
        let in_force = |ix: u32| rows.get(ix as usize).is_some_and(|r| r.applies.in_force(at));
        self.overrides.find(whose, routed, class, in_force).map(OverrideIx)
    }

    /// The block that a call falls under.
    #[inline]
    pub(crate) fn call_block_of(
        &self,
        whose: Whose,
        called: Code,
        class: DestinationClass,
        caller: Option<Code>,
        at: Wall,
    ) -> Option<CallBlockIx> {
        let rows = &self.rows.call_blocks;
        let holds = |ix: u32| {
            rows.get(ix as usize).is_some_and(|r| {
                r.applies.in_force(at) && r.caller.is_none_or(|c| caller.is_some_and(|n| c.covers(n)))
            })
        };
        self.call_blocks.find(whose, called, class, holds).map(CallBlockIx)
    }

    /// The override with this index.
    pub fn override_at(&self, ix: OverrideIx) -> Option<&Override> {
        self.rows.overrides.get(ix.at())
    }

    /// The partition that an override names.
    pub(crate) fn partition_of_override(&self, ix: OverrideIx) -> Option<PartitionIx> {
        self.override_partition.get(ix.at()).copied()
    }

    /// The block of calls with this index.
    pub fn call_block(&self, ix: CallBlockIx) -> Option<&CallBlock> {
        self.rows.call_blocks.get(ix.at())
    }

    /// What one unit of a currency is in another one, in nano-units of that. `None`: nobody has said.
    pub fn exchange(&self, from: Currency, to: Currency) -> Option<Nanos> {
        self.exchange.get(&(from, to)).copied()
    }

    /// Whether any exchange rate is known.
    pub(crate) fn exchanges(&self) -> bool {
        !self.exchange.is_empty()
    }

    /// Where emergency calls go, in order.
    pub fn emergency_route(&self) -> &[VendorTrunkIx] {
        &self.emergency
    }

    /// True when an address is one of a vendor's: in-dialog requests from it are believed.
    pub fn is_vendor_ip(&self, ip: IpAddr) -> bool {
        self.vendor_by_ip.contains_key(&ip.to_canonical())
    }

    /// The vendor trunks at an address.
    pub fn vendor_trunks_by_ip(&self, ip: IpAddr) -> &[VendorTrunkIx] {
        self.vendor_by_ip.get(&ip.to_canonical()).map_or(&[], Vec::as_slice)
    }

    /// The vendor trunk whose calls to our numbers come from an address: the most specific entry of all inbound networks.
    pub fn inbound_trunk(&self, ip: IpAddr) -> Option<VendorTrunkIx> {
        self.inbound.find(ip).map(VendorTrunkIx)
    }

    /// The host names of all peers, each once with each transport that it is reached by.
    pub fn names(&self) -> &[(HostPort, Transport)] {
        &self.names
    }

    /// Every address of a vendor trunk is known to be this socket address or host.
    pub fn vendor_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.rows.vendor_trunks.iter().flat_map(|t| t.addresses.iter().copied())
    }
}
