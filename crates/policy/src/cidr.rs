//! Address blocks and the table that finds the most specific one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An address block: `192.0.2.0/24`, `2001:db8::/32`, or one address. Bits below the prefix are zero; IPv4-mapped IPv6
/// addresses are IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    base: IpAddr,
    len: u8,
}

/// Why a text is no address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CidrError {
    /// The text is not an address.
    Address,
    /// Not a prefix length of this family.
    Length,
    /// Bits are set below the prefix.
    HostBits,
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not an IP address",
            Self::Length => "a prefix length is 0 to 32 (IPv4) or 128 (IPv6)",
            Self::HostBits => "bits are set below the prefix length",
        })
    }
}

impl std::error::Error for CidrError {}

impl Cidr {
    /// The block of one address only.
    pub fn host(ip: IpAddr) -> Cidr {
        let base = ip.to_canonical();
        Cidr { base, len: if base.is_ipv4() { 32 } else { 128 } }
    }

    /// A block of addresses. Errors: a length beyond 32 (IPv4) or 128 (IPv6), or host bits that are not zero.
    pub fn new(ip: IpAddr, len: u8) -> Result<Cidr, CidrError> {
        let base = ip.to_canonical();
        if len > if base.is_ipv4() { 32 } else { 128 } {
            return Err(CidrError::Length);
        }
        if masked(base, len) != base {
            return Err(CidrError::HostBits);
        }
        Ok(Cidr { base, len })
    }

    /// Is an address in it?
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.base.is_ipv4() && masked(ip, self.len) == self.base
    }

    /// The first address of the block.
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// The length of the prefix in bits: 0 to 32, or 0 to 128.
    pub fn prefix_len(&self) -> u8 {
        self.len
    }

    /// Whether the block is one address only.
    pub fn is_host(&self) -> bool {
        self.len == if self.base.is_ipv4() { 32 } else { 128 }
    }
}

fn masked(ip: IpAddr, len: u8) -> IpAddr {
    match ip {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(s: &str) -> Result<Self, CidrError> {
        match s.split_once('/') {
            None => s.parse().map(Cidr::host).map_err(|_| CidrError::Address),
            Some((ip, len)) => {
                let ip: IpAddr = ip.parse().map_err(|_| CidrError::Address)?;
                let digits = !len.is_empty() && len.bytes().all(|b| b.is_ascii_digit());
                let len = len.parse().ok().filter(|_| digits).ok_or(CidrError::Length)?;
                Cidr::new(ip, len)
            }
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { write!(f, "{}", self.base) } else { write!(f, "{}/{}", self.base, self.len) }
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Blocks with a value each; a lookup gives the value of the most specific block: one hash probe for a listed address, one
/// more for each prefix length in use.
#[derive(Clone, Debug, Default)]
pub struct CidrTable {
    hosts: HashMap<IpAddr, u32>,
    /// Longest first.
    v4: Vec<(u8, HashMap<IpAddr, u32>)>,
    v6: Vec<(u8, HashMap<IpAddr, u32>)>,
}

impl CidrTable {
    /// From blocks; of two equal ones the last counts.
    pub fn build(blocks: impl Iterator<Item = (Cidr, u32)>) -> CidrTable {
        let mut hosts = HashMap::new();
        let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
        for (c, value) in blocks {
            if c.is_host() {
                hosts.insert(c.base, value);
            } else {
                let family: &mut BTreeMap<u8, HashMap<IpAddr, u32>> =
                    if c.base.is_ipv4() { &mut v4 } else { &mut v6 };
                family.entry(c.len).or_default().insert(c.base, value);
            }
        }
        CidrTable { hosts, v4: v4.into_iter().rev().collect(), v6: v6.into_iter().rev().collect() }
    }

    /// The value of the most specific block with this address.
    pub fn find(&self, ip: IpAddr) -> Option<u32> {
        let ip = ip.to_canonical();
        if let Some(v) = self.hosts.get(&ip) {
            return Some(*v);
        }
        let family = if ip.is_ipv4() { &self.v4 } else { &self.v6 };
        family.iter().find_map(|(len, blocks)| blocks.get(&masked(ip, *len)).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_most_specific_block_wins() {
        let rows = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "0.0.0.0/0"];
        let table = CidrTable::build(rows.iter().zip(0..).map(|(r, i)| (r.parse().unwrap(), i)));
        let find = |ip: &str| table.find(ip.parse().unwrap());
        assert_eq!(find("10.9.9.9"), Some(0));
        assert_eq!(find("10.1.9.9"), Some(1));
        assert_eq!(find("10.1.2.3"), Some(2));
        assert_eq!(find("::ffff:10.1.2.3"), Some(2));
        assert_eq!(find("2001:db8::1"), Some(3));
        assert_eq!(find("2001:db9::1"), None);
        assert_eq!(find("192.0.2.1"), Some(4));
    }

    #[test]
    fn bad_blocks_are_refused() {
        let parse = |t: &str| t.parse::<Cidr>();
        assert_eq!(parse("10.0.0.1/8"), Err(CidrError::HostBits));
        assert_eq!(parse("10.0.0.0/33"), Err(CidrError::Length));
        assert_eq!(parse("10.0.0.0/+8"), Err(CidrError::Length));
        assert_eq!(parse("10.0.0.0/"), Err(CidrError::Length));
        assert_eq!(parse("host"), Err(CidrError::Address));
        assert_eq!(parse("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_a_plain_search(
            blocks in proptest::collection::vec((any::<u32>(), 0u8..=32), 1..20), ip in any::<u32>(),
        ) {
            let blocks: Vec<Cidr> = blocks
                .iter()
                .map(|(a, l)| Cidr::new(masked(Ipv4Addr::from_bits(*a).into(), *l), *l).unwrap())
                .collect();
            let table = CidrTable::build(blocks.iter().copied().zip(0..));
            let ip: IpAddr = Ipv4Addr::from_bits(ip).into();
            let best = blocks.iter().filter(|b| b.contains(ip)).map(|b| b.len).max();
            let found = table.find(ip).map(|i| blocks[i as usize].len);
            prop_assert_eq!(found, best);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,30}") {
            let _ = text.parse::<Cidr>();
        }
    }
}
