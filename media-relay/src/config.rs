//! Configuration of the relay. Every key has a default that works on a laptop; unknown keys are errors.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use warp_model::net::{is_private, is_unicast};

pub use crate::core::callback::CallbackUrl;

/// What the relay listens on and how far it may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the ng protocol over UDP; absent = in process only.
    pub ng: Option<SocketAddr>,
    /// Address of the ng protocol over TCP: messages one after the other, in bencode or JSON; absent = none.
    pub ng_tcp: Option<SocketAddr>,
    /// Address of the ng protocol over HTTP (`POST /ng`, `POST /ng-plain`) and WebSocket; absent = none.
    pub http: Option<SocketAddr>,
    /// Allow an ng address that is neither loopback nor private (T-NG-01). Needs `ng_allow`.
    pub ng_allow_public: bool,
    /// Sources that may send ng commands; empty = any (only with a loopback or private address).
    pub ng_allow: Vec<Prefix>,
    /// Local addresses for media, at most 256; the first of a family is its default.
    pub ips: Vec<IpAddr>,
    /// What the SDP says instead of `ips`, by position (NAT in front of us); empty = the same.
    pub advertise: Vec<IpAddr>,
    /// Logical names of `ips`, by position, for the `direction` key and the `interface` label; several addresses may share
    /// one name. Empty = the addresses themselves.
    pub interfaces: Vec<String>,
    /// UDP ports for media, `A-B`.
    #[serde(with = "range")]
    pub ports: RangeInclusive<u16>,
    /// Packet threads, 1 to 64.
    pub threads: u16,
    /// Bind packet threads to CPUs, one each.
    pub pin_cpus: bool,
    /// Calls at most; beyond it offers are answered with `load limit` (T-NG-04).
    pub max_calls: u32,
    /// Seconds without any packet until a call is ended (T-RTP-10).
    pub media_timeout_s: u32,
    /// Seconds without any packet until a call on hold is ended.
    pub hold_timeout_s: u32,
    /// Seconds until a call that was offered and never answered is ended.
    pub offer_timeout_s: u32,
    /// Seconds that a deleted call's media still flows, when the command does not say.
    pub delete_delay_s: u32,
    /// DSCP and ECN byte of sent packets (184 = expedited forwarding); 0 leaves the system's default.
    pub tos: u8,
    /// Who is told by XML-RPC that the media of a call set up over ng has timed out: `http://HOST[:PORT]/PATH`, where a host
    /// `%%` is the client that set the call up or the address that it named (`xmlrpc-callback`). Absent = nobody.
    pub b2b_url: Option<String>,
    /// What is said to `b2b_url`: 0 = `di` of SEMS for each tag, 1 = `teardown` with the Call-ID, 2 = `dlg.terminate_dlg` of Kamailio.
    pub xmlrpc_format: u8,
    /// Connect media sockets to their only peer: cheaper sends, and strangers are refused by the kernel.
    pub connect_sockets: bool,
    /// How ng clients get SDP: `canonical` is written anew in rtpengine's order of lines, `transparent` keeps the bytes of
    /// what is not changed. WARP's own proxy gets the transparent one always.
    pub sdp: Rendering,
    /// Folder of the sounds that `play media` may name: WAV, AU and raw G.711 or L16, 8,000 samples a second. Nothing outside
    /// it is ever opened (T-NG-05). Absent = only sounds that come with the command.
    pub sounds: Option<String>,
    /// Folder into which calls are recorded, by `start recording` or `record-call`. Names in it are ours (T-NG-05). Absent =
    /// nothing is recorded.
    pub record: Option<String>,
    /// What is written of each recording: `legs` (a WAV file of what each party says), `mixed` (one of all), `pcap`.
    pub record_files: Vec<RecordFiles>,
    /// Days after which a recording is deleted; 0 = never.
    pub record_keep_days: u32,
    /// MiB that all recordings may have; beyond, the oldest are deleted. 0 = no limit.
    pub record_limit_mib: u32,
}

/// A kind of file of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordFiles {
    /// A WAV file of what each party says.
    Legs,
    /// A WAV file of what all say.
    Mixed,
    /// All packets, as rtpengine writes them.
    Pcap,
}

/// How an SDP is written for ng clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rendering {
    /// Anew, in rtpengine's order of lines.
    #[default]
    Canonical,
    /// The bytes of what is not changed are kept.
    Transparent,
}

impl FromStr for Rendering {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "canonical" => Ok(Self::Canonical),
            "transparent" => Ok(Self::Transparent),
            _ => Err("canonical or transparent"),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ng: None,
            ng_tcp: None,
            http: None,
            ng_allow_public: false,
            ng_allow: Vec::new(),
            ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            advertise: Vec::new(),
            interfaces: Vec::new(),
            ports: 30_000..=39_999,
            threads: 1,
            pin_cpus: false,
            max_calls: 20_000,
            media_timeout_s: 60,
            hold_timeout_s: 3_600,
            offer_timeout_s: 3_600,
            delete_delay_s: 30,
            tos: 184,
            b2b_url: None,
            xmlrpc_format: 0,
            connect_sockets: true,
            sdp: Rendering::Canonical,
            sounds: None,
            record: None,
            record_files: vec![RecordFiles::Legs, RecordFiles::Mixed, RecordFiles::Pcap],
            record_keep_days: 0,
            record_limit_mib: 0,
        }
    }
}

/// Which key is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The wrong key, without its section.
    pub key: &'static str,
    /// Reason, for an operator.
    pub reason: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

impl std::error::Error for ConfigError {}

/// What a key must be, beyond its type.
pub struct Rule {
    /// The key, without its section.
    pub key: &'static str,
    /// What it must be in words, as a refusal says it.
    pub must: &'static str,
    /// Other keys that it is weighed against.
    pub with: &'static [&'static str],
    /// Whether a configuration obeys the rule.
    pub holds: fn(&Config) -> bool,
}

const fn rule(
    key: &'static str,
    must: &'static str,
    with: &'static [&'static str],
    holds: fn(&Config) -> bool,
) -> Rule {
    Rule { key, must, with, holds }
}

/// Everything that is refused because it cannot work or must not be (T-NG-01).
pub const RULES: &[Rule] = &[
    rule(
        "ng",
        "loopback or a private address, unless ng_allow_public is set (T-NG-01)",
        &["ng_allow_public"],
        |c| !is_public_door(c.ng) || c.ng_allow_public,
    ),
    rule(
        "ng_tcp",
        "loopback or a private address, unless ng_allow_public is set (T-NG-01)",
        &["ng_allow_public"],
        |c| !is_public_door(c.ng_tcp) || c.ng_allow_public,
    ),
    rule(
        "http",
        "loopback or a private address, unless ng_allow_public is set (T-NG-01)",
        &["ng_allow_public"],
        |c| !is_public_door(c.http) || c.ng_allow_public,
    ),
    rule("ng_allow", "needed with ng_allow_public", &["ng", "ng_tcp", "http", "ng_allow_public"], |c| {
        !c.has_public_ng() || !c.ng_allow_public || !c.ng_allow.is_empty()
    }),
    rule("ips", "1 to 256 addresses", &[], |c| (1..=256).contains(&c.ips.len())),
    rule("ips", "addresses of this machine, not a wildcard", &[], |c| c.ips.iter().all(|ip| is_unicast(*ip))),
    rule("advertise", "one for each of ips, of the same family", &["ips"], |c| {
        let same = |(a, b): (&IpAddr, &IpAddr)| a.is_ipv4() == b.is_ipv4();
        c.advertise.is_empty()
            || (c.advertise.len() == c.ips.len() && c.advertise.iter().zip(&c.ips).all(same))
    }),
    rule("interfaces", "one name for each of ips: letters, digits, - _ . and at most 40", &["ips"], |c| {
        let good = |name: &String| {
            (1..=40).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        c.interfaces.is_empty() || (c.interfaces.len() == c.ips.len() && c.interfaces.iter().all(good))
    }),
    rule("ports", "a range of ports from 1024 up", &[], |c| !c.ports.is_empty() && *c.ports.start() >= 1_024),
    rule("threads", "1 to 64", &[], |c| (1..=64).contains(&c.threads)),
    rule("b2b_url", "http://HOST[:PORT]/PATH; the host %% is the client of the call", &[], |c| {
        c.b2b_url.as_deref().is_none_or(|url| url.parse::<CallbackUrl>().is_ok())
    }),
    rule("xmlrpc_format", "0 (SEMS), 1 (Call-ID) or 2 (Kamailio)", &[], |c| c.xmlrpc_format <= 2),
    rule("sounds", "the absolute path of a folder", &[], |c| {
        c.sounds.as_deref().is_none_or(|path| path.len() > 1 && path.starts_with('/'))
    }),
    rule("record", "the absolute path of a folder", &[], |c| {
        c.record.as_deref().is_none_or(|path| path.len() > 1 && path.starts_with('/'))
    }),
    rule("record_files", "at least one of legs, mixed, pcap", &[], |c| !c.record_files.is_empty()),
    rule("max_calls", "at least 1", &[], |c| c.max_calls > 0),
];

/// Others than this machine and its private networks reach it.
fn is_public_door(at: Option<SocketAddr>) -> bool {
    at.is_some_and(|at| !is_private(at.ip()))
}

impl Config {
    /// Refuses what cannot work or must not be (T-NG-01). Errors: the first of [`RULES`] that does not hold.
    pub fn check(&self) -> Result<(), ConfigError> {
        let broken = RULES.iter().find(|rule| !(rule.holds)(self));
        broken.map_or(Ok(()), |rule| Err(ConfigError { key: rule.key, reason: rule.must }))
    }

    fn has_public_ng(&self) -> bool {
        [self.ng, self.ng_tcp, self.http].into_iter().any(is_public_door)
    }

    /// The name of each of `ips`: the logical one, else the address as text.
    pub fn interface_names(&self) -> Vec<String> {
        let name = |(at, ip): (usize, &IpAddr)| self.interfaces.get(at).cloned().unwrap_or(ip.to_string());
        self.ips.iter().enumerate().map(name).collect()
    }

    /// True when `source` may send ng commands.
    pub fn ng_allows(&self, source: IpAddr) -> bool {
        self.ng_allow.is_empty() || self.ng_allow.iter().any(|p| p.holds(source))
    }
}

/// An address prefix, `192.0.2.0/24` or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    ip: IpAddr,
    bits: u8,
}

impl Prefix {
    /// True when `ip` is in it.
    pub fn holds(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32u32.saturating_sub(u32::from(self.bits));
                u32::from(a).checked_shr(shift) == u32::from(b).checked_shr(shift)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128u32.saturating_sub(u32::from(self.bits));
                u128::from(a).checked_shr(shift) == u128::from(b).checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| "not an address or prefix")?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(b) => b.parse().ok().filter(|b| *b <= most).ok_or("bad prefix length")?,
        };
        Ok(Self { ip, bits })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads and writes a range of ports as text, `A-B`.
mod range {
    use super::*;

    pub(super) fn serialize<S: Serializer>(r: &RangeInclusive<u16>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{}-{}", r.start(), r.end()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<RangeInclusive<u16>, D::Error> {
        parse_ports(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// `A-B` as a range of ports.
pub fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, &'static str> {
    let (from, to) = text.split_once('-').ok_or("not A-B")?;
    match (from.trim().parse::<u16>(), to.trim().parse::<u16>()) {
        (Ok(from), Ok(to)) if from <= to => Ok(from..=to),
        _ => Err("not a range of ports"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_ng_01_a_wildcard_or_public_ng_address_is_refused() {
        let with = |ng: &str, public, allow: &[&str]| {
            Config {
                ng: Some(ng.parse().unwrap()),
                ng_allow_public: public,
                ng_allow: allow.iter().map(|a| a.parse().unwrap()).collect(),
                ..Config::default()
            }
            .check()
            .map_err(|e| e.key)
        };
        for inside in
            ["127.0.0.1:2223", "[::1]:2223", "10.1.2.3:1", "192.168.0.1:1", "100.64.0.1:1", "[fd00::1]:1"]
        {
            assert_eq!(with(inside, false, &[]), Ok(()), "{inside}");
        }
        for outside in ["0.0.0.0:2223", "[::]:2223", "203.0.113.1:2223", "[2001:db8::1]:2223"] {
            assert_eq!(with(outside, false, &["10.0.0.0/8"]), Err("ng"), "{outside}");
            assert_eq!(with(outside, true, &[]), Err("ng_allow"), "{outside}");
            assert_eq!(with(outside, true, &["10.0.0.0/8"]), Ok(()), "{outside}");
        }
    }

    #[test]
    fn t_ng_01_the_other_doors_have_the_same_walls() {
        let with = |public, allow: &[&str], set: fn(&mut Config, SocketAddr), at: &str| {
            let mut c = Config { ng_allow_public: public, ..Config::default() };
            c.ng_allow = allow.iter().map(|a| a.parse().unwrap()).collect();
            set(&mut c, at.parse().unwrap());
            c.check().map_err(|e| e.key)
        };
        type Set = fn(&mut Config, SocketAddr);
        let doors: [(&str, Set); 2] =
            [("ng_tcp", |c, at| c.ng_tcp = Some(at)), ("http", |c, at| c.http = Some(at))];
        for (key, set) in doors {
            assert_eq!(with(false, &[], set, "127.0.0.1:1"), Ok(()));
            assert_eq!(with(false, &[], set, "0.0.0.0:1"), Err(key));
            assert_eq!(with(true, &[], set, "203.0.113.1:1"), Err("ng_allow"));
            assert_eq!(with(true, &["10.0.0.0/8"], set, "203.0.113.1:1"), Ok(()));
        }
    }

    #[test]
    fn bad_values_name_their_key() {
        let key = |change: fn(&mut Config)| {
            let mut c = Config::default();
            change(&mut c);
            c.check().err().map(|e| e.key)
        };
        assert_eq!(key(|_| ()), None);
        assert_eq!(key(|c| c.ips.clear()), Some("ips"));
        assert_eq!(key(|c| c.ips = vec!["0.0.0.0".parse().unwrap()]), Some("ips"));
        assert_eq!(key(|c| c.advertise = vec!["::1".parse().unwrap()]), Some("advertise"));
        assert_eq!(key(|c| c.interfaces = vec!["pub".into(), "priv".into()]), Some("interfaces"));
        assert_eq!(key(|c| c.interfaces = vec!["two words".into()]), Some("interfaces"));
        assert_eq!(key(|c| c.interfaces = vec!["pub".into()]), None);
        assert_eq!(key(|c| c.ports = 80..=90), Some("ports"));
        assert_eq!(key(|c| c.threads = 0), Some("threads"));
    }

    #[test]
    fn prefixes() {
        let p: Prefix = "192.0.2.0/24".parse().unwrap();
        assert!(p.holds("192.0.2.77".parse().unwrap()) && !p.holds("192.0.3.1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Prefix>().unwrap().holds("8.8.8.8".parse().unwrap()));
        assert!("2001:db8::/32".parse::<Prefix>().unwrap().holds("2001:db8::9".parse().unwrap()));
        assert!("1.2.3.4/33".parse::<Prefix>().is_err() && "x".parse::<Prefix>().is_err());
        assert!(!p.holds("::1".parse().unwrap()));
    }

    #[test]
    fn text_form_round_trips() {
        let config = Config { ng_allow: vec!["10.0.0.0/8".parse().unwrap()], ..Config::default() };
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains("\"30000-39999\""));
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
        assert!(serde_json::from_str::<Config>("{\"prots\":\"1-2\"}").is_err());
        assert!(serde_json::from_str::<Config>("{\"ports\":\"9-2\"}").is_err());
    }
}
