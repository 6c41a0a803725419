//! `[sip]`: the proxy's part of `warp.toml`, as people write it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use warp_sip_proxy::core::{CoreConfig, Listener, Mode, Realm, StrangerLimits, Transport};
use warp_sip_proxy::{Dns, TlsFiles};

use super::Span;
use super::rules::Rule;

/// `[sip]`: the proxy, its addresses, timers and limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sip {
    /// The sockets that are listened on: `udp:ADDRESS:PORT`, `tcp:…`, `tls:…`, `ws:…` (WebSocket, RFC 7118) and `wss:…`.
    pub listen: Vec<Listen>,
    /// Address that peers are told, when it is not the one listened on.
    pub advertise: Option<IpAddr>,
    /// Names that are us in a Request-URI, besides our addresses.
    pub domains: Vec<String>,
    /// Certificate of the `tls:` and `wss:` sockets (PEM, with those that lead to its root). A renewed one is taken by itself.
    pub tls_certificate: Option<PathBuf>,
    /// Private key of that certificate (PEM).
    pub tls_key: Option<PathBuf>,
    /// Roots that peers are trusted by which we connect to by TLS (PEM). Absent: those of web browsers.
    pub tls_roots: Option<PathBuf>,
    /// Web sites whose scripts may connect by WebSocket, such as `https://console.example.com`; empty: all of them.
    pub web_origins: Vec<String>,
    /// DNS servers that names of peers are looked up with (RFC 3263); empty: those of this machine.
    pub dns_servers: Vec<SocketAddr>,
    /// How long a call waits for DNS where a name is not known, or its last answer is too old.
    pub dns_deadline: Span,
    /// Threads, each with its own sockets and calls; 1 to 255.
    pub shards: u16,
    /// Keep each shard on a CPU of its own.
    pub pin_shards: bool,
    /// Realm of digest challenges.
    pub realm: String,
    /// Algorithms offered: `sha-256`, `md5`. Where both are, SHA-256 stands first, whatever the order here (RFC 8760 §2.4).
    pub digest: Vec<Algorithm>,
    /// `Server` header of our own responses; empty = none.
    pub server_name: String,
    /// T1 of RFC 3261 §17.1.1.1: the expected round trip.
    pub t1: Span,
    /// T2 of RFC 3261 §17.1.2.2: the longest interval between repetitions.
    pub t2: Span,
    /// T4 of RFC 3261 §17.1.2.2: how long a message may stay in the network.
    pub t4: Span,
    /// Timer C of RFC 3261 §16.6: how long an INVITE may go on without a final response and without a further 1xx.
    pub timer_c: Span,
    /// Give up a vendor that sends no 1xx for so long.
    pub first_1xx: Span,
    /// Give up a vendor that has said 100 and rings nobody for so long.
    pub first_18x: Span,
    /// How long the media relay may take to answer.
    pub media_deadline: Span,
    /// Longest call unless its trunk says less.
    pub max_duration: Span,
    /// Most vendors tried for one call.
    pub max_attempts: u16,
    /// Status that whoever calls one of our numbers gets when its customer has no money for the call.
    pub called_without_credit: u16,
    /// Failures in a row of a vendor trunk's transport until it is out of rotation.
    pub trunk_down_after: u32,
    /// How long a vendor trunk that is out of rotation stays out before it is tried again.
    pub trunk_down_for: Span,
    /// Requests a second that one stranger may send in the long run.
    pub stranger_rate: u32,
    /// Requests that one stranger may send at once, beyond `stranger_rate`.
    pub stranger_burst: u32,
    /// Requests a second that all strangers together may send.
    pub strangers_rate: u32,
    /// Most transactions of one stranger that are open at once.
    pub stranger_transactions: u32,
    /// Most transactions of everybody together that are open at once.
    pub transactions: u32,
    /// Leave scanners without an answer.
    pub drop_scanners: bool,
    /// Send media through the relay.
    pub anchor_media: bool,
    /// Send media through a relay of another process, at this ng address, instead of the one in this process.
    pub media_ng: Option<SocketAddr>,
}

impl Default for Sip {
    fn default() -> Self {
        let core = CoreConfig::new(Mode::Policy, Vec::new());
        let at = SocketAddr::from(([127, 0, 0, 1], 5060));
        Self {
            listen: vec![Listen { transport: Transport::Udp, at }, Listen { transport: Transport::Tcp, at }],
            advertise: None,
            domains: Vec::new(),
            tls_certificate: None,
            tls_key: None,
            tls_roots: None,
            web_origins: Vec::new(),
            dns_servers: Vec::new(),
            dns_deadline: Span(core.dns_deadline),
            shards: 1,
            pin_shards: false,
            realm: core.realm.name.clone(),
            digest: vec![Algorithm::Sha256, Algorithm::Md5],
            server_name: core.server_name.clone(),
            t1: Span(core.timers.t1),
            t2: Span(core.timers.t2),
            t4: Span(core.timers.t4),
            timer_c: Span(core.timers.c),
            first_1xx: Span(core.first_1xx),
            first_18x: Span(core.first_18x),
            media_deadline: Span(core.ask_deadline),
            max_duration: Span(core.max_duration),
            max_attempts: core.max_attempts,
            called_without_credit: core.called_without_credit,
            trunk_down_after: core.trunk_down_after,
            trunk_down_for: Span(core.trunk_down_for),
            stranger_rate: core.strangers.per_source_per_s,
            stranger_burst: core.strangers.per_source_burst,
            strangers_rate: core.strangers.all_per_s,
            stranger_transactions: u32::try_from(core.transactions_per_stranger).unwrap_or(u32::MAX),
            transactions: u32::try_from(core.transactions).unwrap_or(u32::MAX),
            drop_scanners: core.drop_scanners,
            anchor_media: core.anchor_media,
            media_ng: None,
        }
    }
}

/// Far beyond every RFC's value, and small enough that sums of times cannot overflow.
const MOST: Duration = Duration::from_secs(7 * 86_400);

fn is_wait(wait: Span) -> bool {
    !wait.0.is_zero() && wait.0 <= MOST
}

/// A name of RFC 3261 §25.1 `host` (with underscores, which there are), or an address.
fn is_host(text: &str) -> bool {
    let address = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    address.parse::<IpAddr>().is_ok()
        || text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

const WAIT: &str = "more than 0 and at most 7d";
const COUNT: &str = "at least 1";

/// What the keys of the section must be.
pub(super) const RULES: &[Rule<Sip>] = &[
    Rule::new("listen", "at least one address", |sip| !sip.listen.is_empty()),
    Rule::new("listen", "each once", |sip| {
        let again =
            |(at, l): (usize, &Listen)| l.at.port() != 0 && sip.listen.iter().take(at).any(|b| b == l);
        !sip.listen.iter().enumerate().any(again)
    }),
    Rule::new("advertise", "an address that peers can reach: no wildcard, no multicast", |sip| {
        sip.advertise.is_none_or(|ip| !ip.is_unspecified() && !ip.is_multicast())
    }),
    Rule::new("domains", "each a host's name or address, without a port", |sip| {
        sip.domains.iter().all(|domain| is_host(domain))
    }),
    // What goes into a header must not end its line, and the realm stands in quotes.
    Rule::new("realm", "1 to 128 characters, no quotation mark, backslash or control character", |sip| {
        (1..=128).contains(&sip.realm.len())
            && !sip.realm.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'))
    }),
    Rule::new("server_name", "at most 128 characters, no control character", |sip| {
        sip.server_name.len() <= 128 && !sip.server_name.chars().any(char::is_control)
    }),
    Rule::new("shards", "1 to 255", |sip| (1..=255).contains(&sip.shards)),
    Rule::new("t1", "more than 0 and not above t2", |sip: &Sip| !sip.t1.0.is_zero() && sip.t1.0 <= sip.t2.0)
        .with(&["t2"]),
    Rule::new("t2", "at most 7d", |sip| sip.t2.0 <= MOST),
    Rule::new("t4", "at most 7d", |sip| sip.t4.0 <= MOST),
    Rule::new("timer_c", "more than 180s (RFC 3261 §16.6) and at most 7d", |sip| {
        sip.timer_c.0 > Duration::from_secs(180) && sip.timer_c.0 <= MOST
    }),
    Rule::new("tls_key", "certificate and key belong together", |sip: &Sip| {
        sip.tls_certificate.is_some() == sip.tls_key.is_some()
    })
    .with(&["tls_certificate"]),
    Rule::new("tls_certificate", "`tls:` and `wss:` sockets need a certificate", |sip: &Sip| {
        sip.tls_certificate.is_some() || !sip.listen.iter().any(|l| l.transport.is_secure())
    })
    .with(&["listen"]),
    Rule::new("dns_deadline", WAIT, |sip| is_wait(sip.dns_deadline)),
    Rule::new("first_1xx", WAIT, |sip| is_wait(sip.first_1xx)),
    Rule::new("first_18x", WAIT, |sip| is_wait(sip.first_18x)),
    Rule::new("first_18x", "not below first_1xx", |sip: &Sip| sip.first_18x.0 >= sip.first_1xx.0)
        .with(&["first_1xx"]),
    Rule::new("media_deadline", WAIT, |sip| is_wait(sip.media_deadline)),
    Rule::new("max_duration", WAIT, |sip| is_wait(sip.max_duration)),
    Rule::new("trunk_down_for", WAIT, |sip| is_wait(sip.trunk_down_for)),
    Rule::new("trunk_down_after", COUNT, |sip| sip.trunk_down_after > 0),
    Rule::new("stranger_rate", COUNT, |sip| sip.stranger_rate > 0),
    Rule::new("stranger_burst", COUNT, |sip| sip.stranger_burst > 0),
    Rule::new("strangers_rate", COUNT, |sip| sip.strangers_rate > 0),
    Rule::new("stranger_transactions", COUNT, |sip| sip.stranger_transactions > 0),
    Rule::new("transactions", "1 to 1000000", |sip| (1..=1_000_000).contains(&sip.transactions)),
    Rule::new("digest", "at least one of \"sha-256\", \"md5\"", |sip| !sip.digest.is_empty()),
    Rule::new("max_attempts", "1 to 8", |sip| (1..=8).contains(&sip.max_attempts)),
    Rule::new("called_without_credit", "400 to 699", |sip| (400..=699).contains(&sip.called_without_credit)),
];

impl Sip {
    /// The certificate of its sockets for TLS; `None`: there is none.
    pub fn tls(&self) -> Option<TlsFiles> {
        let (certificate, key) = (self.tls_certificate.clone()?, self.tls_key.clone()?);
        Some(TlsFiles { certificate, key, roots: self.tls_roots.clone() })
    }

    /// Where names of peers are looked up.
    pub fn dns(&self) -> Dns {
        Dns { servers: self.dns_servers.clone(), ..Dns::default() }
    }

    /// The configuration of the core that this section makes.
    pub fn core(&self, mode: Mode, node: &str) -> CoreConfig {
        let listeners = self
            .listen
            .iter()
            .map(|l| Listener {
                transport: l.transport,
                bind: l.at,
                advertise: self.advertise.map(|ip| SocketAddr::new(ip, l.at.port())),
            })
            .collect();
        let mut core = CoreConfig::new(mode, listeners);
        core.domains = self.domains.clone();
        core.node = node.to_owned();
        core.server_name = self.server_name.clone();
        core.realm = Realm {
            name: self.realm.clone(),
            sha256: self.digest.contains(&Algorithm::Sha256),
            md5: self.digest.contains(&Algorithm::Md5),
        };
        core.timers.t1 = self.t1.0;
        core.timers.t2 = self.t2.0;
        core.timers.t4 = self.t4.0;
        core.timers.c = self.timer_c.0;
        core.first_1xx = self.first_1xx.0;
        core.first_18x = self.first_18x.0;
        core.ask_deadline = self.media_deadline.0;
        core.dns_deadline = self.dns_deadline.0;
        core.max_duration = self.max_duration.0;
        core.max_attempts = self.max_attempts;
        core.called_without_credit = self.called_without_credit;
        core.trunk_down_after = self.trunk_down_after;
        core.trunk_down_for = self.trunk_down_for.0;
        core.strangers = StrangerLimits {
            per_source_per_s: self.stranger_rate,
            per_source_burst: self.stranger_burst,
            all_per_s: self.strangers_rate,
        };
        core.transactions_per_stranger = self.stranger_transactions as usize;
        core.transactions = self.transactions as usize;
        core.drop_scanners = self.drop_scanners;
        core.anchor_media = self.anchor_media;
        core
    }
}

/// An algorithm of digest authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// SHA-256, as RFC 8760 adds it.
    #[serde(rename = "sha-256")]
    Sha256,
    /// RFC 2617; for SIPp and old PBXs.
    #[serde(rename = "md5")]
    Md5,
}

/// One socket to listen on, written `udp:127.0.0.1:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What it takes: UDP, TCP, TLS, WebSocket, or WebSocket over TLS.
    pub transport: Transport,
    /// The address and port.
    pub at: SocketAddr,
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a socket such as \"udp:0.0.0.0:5060\", \"tcp:[::]:5060\" or \"tls:0.0.0.0:5061\""
            )
        };
        let (transport, at) = text.split_once(':').ok_or_else(wrong)?;
        let transport = Transport::from_token(transport.as_bytes())
            .filter(|t| t.param() == transport)
            .ok_or_else(wrong)?;
        Ok(Self { transport, at: at.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.param(), self.at)
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
