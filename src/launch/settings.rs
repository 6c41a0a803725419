//! `key=value` arguments of a profile.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::cli::Failure;

/// What was given and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pairs: Vec<(String, String)>,
}

/// A range of UDP ports, written `A-B`.
pub(crate) struct Ports(pub(crate) RangeInclusive<u16>);

impl FromStr for Ports {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a range of ports such as 30000-39999".to_owned();
        let (a, b) = text.split_once('-').ok_or_else(wrong)?;
        Ok(Ports(a.parse().map_err(|_| wrong())?..=b.parse().map_err(|_| wrong())?))
    }
}

/// `[NAME/]IP[!ADVERTISED]`, as rtpengine writes a local interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: Option<String>,
    pub(crate) ip: IpAddr,
    pub(crate) advertised: Option<IpAddr>,
}

impl FromStr for Interface {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |what: &str| format!("{what:?} is no address; an interface looks like pub/192.0.2.1!203.0.113.1");
        let address = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
            bare.parse::<IpAddr>().map_err(|_| wrong(text))
        };
        let (name, rest) = match text.split_once('/') {
            Some((name, rest)) => (Some(name.to_owned()), rest),
            None => (None, text),
        };
        let (ip, advertised) = match rest.split_once('!') {
            Some((ip, advertised)) => (ip, Some(address(advertised)?)),
            None => (rest, None),
        };
        Ok(Self { name, ip: address(ip)?, advertised })
    }
}

/// Sets a relay's local addresses; nothing is changed for an empty list. Where one has a name, those without are called
/// `default`, as rtpengine calls them.
pub(crate) fn set_interfaces(config: &mut warp_media_relay::Config, list: &[Interface]) {
    if list.is_empty() {
        return;
    }
    config.ips = list.iter().map(|i| i.ip).collect();
    config.advertise = Vec::new();
    if list.iter().any(|i| i.advertised.is_some()) {
        config.advertise = list.iter().map(|i| i.advertised.unwrap_or(i.ip)).collect();
    }
    config.interfaces = Vec::new();
    if list.iter().any(|i| i.name.is_some()) {
        let name = |i: &Interface| i.name.clone().unwrap_or_else(|| "default".to_owned());
        config.interfaces = list.iter().map(name).collect();
    }
}

/// Threads of the proxy, each with its own sockets and calls.
pub(crate) struct Shards(pub(crate) u16);

impl FromStr for Shards {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shards = text.parse().ok().filter(|n| (1..=255).contains(n));
        shards.map(Self).ok_or("1 to 255")
    }
}

/// An address with a port, `IP:PORT`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(pub(crate) SocketAddr);

impl FromStr for At {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| NO_ADDRESS)
    }
}

/// Names are not looked up: what a test or a comparison means must not depend on DNS.
pub(crate) const NO_ADDRESS: &str = "an address and a port such as 127.0.0.1:5060 are wanted, no name";

/// A switch that is `on` or `off`.
pub(crate) struct Switch(pub(crate) bool);

impl FromStr for Switch {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" | "true" => Ok(Self(true)),
            "off" | "false" => Ok(Self(false)),
            _ => Err("on or off"),
        }
    }
}

impl Settings {
    /// The relay's addresses: `interface=` and `ip=`, each as often as wanted.
    pub(crate) fn take_interfaces(&mut self) -> Result<Vec<Interface>, Failure> {
        let mut all = self.take_all::<Interface>("interface")?;
        let plain = |ip| Interface { name: None, ip, advertised: None };
        all.extend(self.take_all("ip")?.into_iter().map(plain));
        Ok(all)
    }

    pub(crate) fn parse(args: &[String]) -> Result<Self, Failure> {
        let pairs = args
            .iter()
            .map(|arg| match arg.split_once('=') {
                Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
                None => Err(Failure::new(format!("{arg:?} is not key=value")).with_code(2)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { pairs })
    }

    /// All values of a key that may repeat.
    pub(crate) fn take_all<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<Vec<T>, Failure> {
        let (mine, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(k, _)| k == key);
        self.pairs = rest;
        let mine: Vec<(String, String)> = mine;
        mine.iter()
            .map(|(_, value)| {
                value.parse().map_err(|why| Failure::new(format!("{key}={value}: {why}")).with_code(2))
            })
            .collect()
    }

    /// An address and a port.
    pub(crate) fn take_at(&mut self, key: &str) -> Result<Option<SocketAddr>, Failure> {
        Ok(self.take::<At>(key)?.map(|at| at.0))
    }

    /// The value of a key; the last one when given twice.
    pub(crate) fn take<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<Option<T>, Failure> {
        Ok(self.take_all(key)?.pop())
    }

    /// What is left and has a dot goes to the configuration (`section.key=value`).
    pub(crate) fn take_dotted(&mut self) -> Vec<(String, String)> {
        let (dotted, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(k, _)| k.contains('.'));
        self.pairs = rest;
        dotted
    }

    /// Nothing may be left.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        match self.pairs.first() {
            None => Ok(()),
            Some((key, _)) => Err(Failure::new(format!("unknown setting {key}="))
                .with_code(2)
                .hint("see loadtests/README.md")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(list: &[&str]) -> warp_media_relay::Config {
        let mut config = warp_media_relay::Config::default();
        let list: Vec<Interface> = list.iter().map(|text| text.parse().unwrap()).collect();
        set_interfaces(&mut config, &list);
        assert_eq!(config.check(), Ok(()));
        config
    }

    #[test]
    fn interfaces_are_written_as_rtpengine_writes_them() {
        let plain = config(&["127.0.0.1", "::1"]);
        assert_eq!((plain.ips.len(), plain.advertise.len(), plain.interfaces.len()), (2, 0, 0));
        let named = config(&["pub/192.0.2.1!203.0.113.1", "10.0.0.1", "six/[2001:db8::1]"]);
        let text = |all: &[IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(&named.ips), ["192.0.2.1", "10.0.0.1", "2001:db8::1"]);
        assert_eq!(text(&named.advertise), ["203.0.113.1", "10.0.0.1", "2001:db8::1"]);
        assert_eq!(named.interfaces, ["pub", "default", "six"]);
        assert_eq!(config(&[]), warp_media_relay::Config::default());
        for wrong in ["pub/", "here", "10.0.0.1!", "10.0.0.1!there", "a/b/c"] {
            assert!(wrong.parse::<Interface>().unwrap_err().contains("is no address"), "{wrong}");
        }
    }
}
