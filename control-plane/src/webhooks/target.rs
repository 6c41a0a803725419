//! Where a webhook may lead (T-HOOK-01). Pure: a URL is taken apart, and each address that its name has is judged.
//!
//! A URL leads to a public address by https on port 443 or 8443. Addresses of networks that the configuration names
//! (`api.webhook_networks`) are allowed besides, with any port, also by http.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::Uri;
use warp_policy::Cidr;

/// The longest URL, in characters.
pub const URL_CHARS: usize = 2_048;

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// By https; else by http.
    pub tls: bool,
    /// The name or the address, without brackets.
    pub host: String,
    /// The port, 443 or 80 when the URL has none.
    pub port: u16,
    /// What stands in `Host`.
    pub authority: String,
    /// The path, with the query.
    pub path: String,
}

/// Why nothing is sent there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The text is no URL that we send to.
    Url(&'static str),
    /// The port is none of 443 and 8443.
    Port,
    /// It is not https.
    Http,
    /// The name leads to an address that is not public.
    Address(IpAddr),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => f.write_str(why),
            Self::Port => f.write_str("the port must be 443 or 8443"),
            Self::Http => f.write_str("must begin with https://"),
            // Which address a name has within our network is nobody's business.
            Self::Address(_) => f.write_str("its host has an address that is not public"),
        }
    }
}

impl Target {
    /// Takes a URL apart.
    pub fn parse(url: &str) -> Result<Self, Refused> {
        if url.chars().count() > URL_CHARS {
            return Err(Refused::Url("has at most 2048 characters"));
        }
        if url.contains('#') || !url.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Refused::Url("must be a URL of ASCII characters without blanks and fragment"));
        }
        let uri: Uri =
            url.parse().map_err(|_| Refused::Url("must be a URL such as https://example.com/hook"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Refused::Http),
        };
        let authority = uri.authority().ok_or(Refused::Url("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(Refused::Url("must not have a user name: deliveries are signed"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        if host.is_empty() {
            return Err(Refused::Url("has no host"));
        }
        let usual = if tls { 443 } else { 80 };
        let port = match authority.as_str().rsplit_once(':') {
            // A colon without digits after it, or one within the brackets of IPv6.
            Some((_, digits)) if !digits.ends_with(']') => {
                digits.parse().ok().filter(|p| *p != 0).ok_or(Refused::Url("has a port that is none"))?
            }
            _ => usual,
        };
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
            authority: authority.as_str().to_owned(),
            path,
        })
    }

    /// Judges what is known before the name is looked up: a host that is an address, scheme and port. What might lead to a
    /// network of the configuration passes.
    pub fn check(&self, networks: &[Cidr]) -> Result<(), Refused> {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => self.check_address(ip, networks),
            Err(_) if networks.is_empty() => self.check_public_door(),
            Err(_) => Ok(()),
        }
    }

    /// Judges an address that its name has.
    pub fn check_address(&self, ip: IpAddr, networks: &[Cidr]) -> Result<(), Refused> {
        let ip = ip.to_canonical();
        if networks.iter().any(|n| n.contains(ip)) {
            return Ok(());
        }
        if !is_of_the_internet(ip) {
            return Err(Refused::Address(ip));
        }
        self.check_public_door()
    }

    fn check_public_door(&self) -> Result<(), Refused> {
        if !self.tls {
            return Err(Refused::Http);
        }
        if ![443, 8443].contains(&self.port) {
            return Err(Refused::Port);
        }
        Ok(())
    }
}

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
    let s = ip.segments();
    // Global unicast is 2000::/3; everything else (loopback, unique local, link-local, multicast, IPv4-compatible, 64:ff9b::/96 and
    // 64:ff9b:1::/48 of NAT64, discard, …) is not.
    let global = s[0] & 0xe000 == 0x2000;
    let special = matches!(
        (s[0], s[1]),
        (0x2001, 0x0000..=0x01ff)       // protocol assignments: Teredo, benchmarks, ORCHID
            | (0x2001, 0x0db8)          // documentation
            | (0x2002, _)               // 6to4 hides an IPv4 address
            | (0x3fff, 0x0000..=0x0fff) // documentation (RFC 9637)
    ) || (s[0], s[1], s[2]) == (0x2620, 0x004f, 0x8000);
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

        #[test]
        fn any_text_is_taken_apart_without_panic(text in "\\PC{0,80}", host in "[a-z0-9.:\\[\\]@-]{0,40}") {
            let _ = Target::parse(&text);
            if let Ok(t) = Target::parse(&format!("https://{host}/x?y")) {
                prop_assert!(!t.host.is_empty() && t.port != 0 && t.path.starts_with('/'));
            }
        }
    }

    #[test]
    fn t_hook_01_a_url_is_https_on_its_ports_and_names_no_user() {
        let check = |url: &str| Target::parse(url).and_then(|t| t.check(&[]));
        for url in [
            "https://example.com",
            "https://example.com:8443/a?b=c",
            "https://Example.com./x",
            "https://8.8.8.8/",
            "https://[2a00:1450::1]:443/",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for url in [
            "http://example.com/",
            "ftp://example.com/",
            "example.com",
            "https://",
            "https:///x",
            "https://example.com:80/",
            "https://example.com:22/",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://example.com:/",
            "https://u@example.com/",
            "https://u:p@example.com/",
            "https://example.com/#x",
            "https://exa mple.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest",
            "file:///etc/passwd",
            "gopher://example.com/",
        ] {
            assert!(check(url).is_err(), "{url}");
        }
        let t = Target::parse("https://Example.com:8443/a?b=c").unwrap();
        assert_eq!((t.host.as_str(), t.port, t.path.as_str()), ("example.com", 8443, "/a?b=c"));
    }

    #[test]
    fn networks_of_the_configuration_are_let_in_with_http_and_any_port() {
        let networks: Vec<Cidr> = vec!["127.0.0.0/8".parse().unwrap()];
        let t = Target::parse("http://localhost:9000/").unwrap();
        assert_eq!(t.check(&networks), Ok(()), "what the name leads to is not known yet");
        assert_eq!(t.check_address(ip("127.0.0.1"), &networks), Ok(()));
        assert_eq!(t.check_address(ip("::ffff:127.0.0.1"), &networks), Ok(()));
        assert_eq!(t.check_address(ip("10.0.0.1"), &networks), Err(Refused::Address(ip("10.0.0.1"))));
        assert_eq!(
            t.check_address(ip("8.8.8.8"), &networks),
            Err(Refused::Http),
            "the rest is as without them"
        );
    }
}
