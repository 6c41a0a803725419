//! Where a webhook may lead (T-HOOK-01). Pure: a URL is taken apart, and each address that its name has is judged.
//!
//! A URL leads to a public address by https on port 443 or 8443. Addresses of networks that the configuration names
//! (`api.webhook_networks`) are allowed besides, with any port, also by http.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use warp_policy::Cidr;
use warp_policy::public::is_of_the_internet;

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    proptest! {
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
