//! Which addresses are of the internet: what a stranger's URL may lead to (T-HOOK-01), for webhooks and for callbacks of messages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of a host in the internet. All others are refused: the IANA registries of special-purpose addresses
/// (RFC 6890 and its updates), and forms of IPv6 that hide an IPv4 address.
pub fn is_of_the_internet(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_of_the_internet_v4(ip),
        IpAddr::V6(ip) => is_of_the_internet_v6(ip),
    }
}

fn is_of_the_internet_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, d] = ip.octets();
    !matches!(
        (a, b, c, d),
        (0 | 10 | 127, ..)              // this network, private, loopback
            | (100, 64..=127, ..)       // carriers' NAT (RFC 6598)
            | (169, 254, ..)            // link-local, metadata services
            | (172, 16..=31, ..)        // private
            | (192, 0, 0, _)            // protocol assignments
            | (192, 0, 2, _)            // documentation
            | (192, 31, 196, _)         // AS112
            | (192, 52, 193, _)         // AMT
            | (192, 88, 99, _)          // 6to4 relays
            | (192, 168, ..)            // private
            | (192, 175, 48, _)         // AS112
            | (198, 18 | 19, ..)        // benchmarks
            | (198, 51, 100, _)         // documentation
            | (203, 0, 113, _)          // documentation
            | (224..=255, ..) // multicast, reserved, broadcast
    )
}

fn is_of_the_internet_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_of_the_internet_v4(v4);
    }
    let [a, b, c, ..] = ip.segments();
    // Global unicast is 2000::/3; everything else (loopback, unique local, link-local, multicast, IPv4-compatible, 64:ff9b::/96 and
    // 64:ff9b:1::/48 of NAT64, discard, …) is not.
    let global = a & 0xe000 == 0x2000;
    let special = matches!(
        (a, b),
        (0x2001, 0x0000..=0x01ff)       // protocol assignments: Teredo, benchmarks, ORCHID
            | (0x2001, 0x0db8)          // documentation
            | (0x2002, _)               // 6to4 hides an IPv4 address
            | (0x3fff, 0x0000..=0x0fff) // documentation (RFC 9637)
    ) || (a, b, c) == (0x2620, 0x004f, 0x8000);
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn t_hook_01_only_addresses_of_the_internet_are_public() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2620:4f:8000::1",
            "4000::1",
        ] {
            assert!(!is_of_the_internet(ip(text)), "{text}");
        }
        for text in [
            "8.8.8.8",
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "223.255.255.1",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "2001:4860:4860::8888",
        ] {
            assert!(is_of_the_internet(ip(text)), "{text}");
        }
    }

    proptest! {
        /// However an IPv4 address is hidden in IPv6, it is public only if it is.
        #[test]
        fn t_hook_01_a_hidden_address_is_never_more_public_than_it_is(v4 in any::<u32>()) {
            let v4 = Ipv4Addr::from(v4);
            prop_assert_eq!(is_of_the_internet(v4.to_ipv6_mapped().into()), is_of_the_internet(v4.into()));
            let [a, b] = [(u32::from(v4) >> 16) as u16, u32::from(v4) as u16];
            for hidden in [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, a, b),
                Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
            ] {
                prop_assert!(!is_of_the_internet(hidden.into()), "{}", hidden);
            }
        }
    }
}
