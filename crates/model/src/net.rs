//! What an IP address tells by itself: whether it names a host at all, and whether that host can be reached from elsewhere.
//!
//! One meaning for signalling and media. An IPv4-mapped IPv6 address (`::ffff:0:0/96`) is the IPv4 address in it, everywhere here.

use std::net::{IpAddr, Ipv6Addr};

/// True for an address that only its own network can reach: loopback, RFC 1918, shared address space (RFC 6598), link-local
/// (RFC 3927, RFC 4291 §2.5.6) and unique local addresses (RFC 4193). An address that names no host is not private either.
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// True for an address that can name a single host: not "this network" (`0.0.0.0/8`, `::`), not multicast, not broadcast and
/// not of the reserved block `240.0.0.0/4` (RFC 6890).
pub fn is_unicast(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => (1..224).contains(&v4.octets()[0]),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    }
}

/// True for an address that names a host and is reached from everywhere.
pub fn is_public(ip: IpAddr) -> bool {
    is_unicast(ip) && !is_private(ip)
}

/// True for loopback addresses (`127.0.0.0/8`, `::1`).
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// True for addresses that end at the next router (`169.254.0.0/16`, `fe80::/10`).
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The address that stands for everything one subscriber may use at will: an IPv4 address itself, the first address of the
/// /64 of an IPv6 address (RFC 4291 §2.5.4). What is paced by source is paced by this (T-SIP-12, T-API-08).
pub fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_meaning_of_private_public_and_nobody() {
        let private = [
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.1.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "::ffff:10.1.2.3",
            "::ffff:100.64.0.1",
        ];
        let public = [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "169.253.0.1",
            "169.255.0.1",
            "1.0.0.0",
            "223.255.255.255",
            "192.0.2.1",
            "fbff::1",
            "fe00::1",
            "fec0::1",
            "2001:db8::1",
            "::ffff:192.0.2.1",
        ];
        let nobody = [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "ff02::1",
            "::ffff:0.0.0.0",
            "::ffff:224.0.0.1",
        ];
        let facts = |text: &str| {
            let ip: IpAddr = text.parse().unwrap();
            (is_private(ip), is_public(ip), is_unicast(ip))
        };
        for ip in private {
            assert_eq!(facts(ip), (true, false, true), "{ip}");
        }
        for ip in public {
            assert_eq!(facts(ip), (false, true, true), "{ip}");
        }
        for ip in nobody {
            assert_eq!(facts(ip), (false, false, false), "{ip}");
        }
    }

    #[test]
    fn loopback_and_link_local_are_kinds_of_private() {
        let is = |text: &str| {
            let ip: IpAddr = text.parse().unwrap();
            (is_loopback(ip), is_link_local(ip))
        };
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(is(ip), (true, false), "{ip}");
        }
        for ip in ["169.254.0.1", "fe80::1", "::ffff:169.254.0.1"] {
            assert_eq!(is(ip), (false, true), "{ip}");
        }
        for ip in ["10.0.0.1", "192.0.2.1", "126.255.255.255", "::2", "fec0::1"] {
            assert_eq!(is(ip), (false, false), "{ip}");
        }
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_a_64() {
        let source = |text: &str| source_of(text.parse().unwrap()).to_string();
        assert_eq!(source("198.51.100.7"), "198.51.100.7");
        assert_eq!(source("::ffff:198.51.100.7"), "198.51.100.7");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
    }
}
