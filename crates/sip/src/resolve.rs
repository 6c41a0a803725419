//! Where a SIP URI's server is, by DNS (RFC 3263): which questions to ask, in which order, and what their answers mean together.
//!
//! [`Lookup`] asks one question after the other and takes their answers; it opens no socket and knows no time but the TTLs. What it finds
//! is [`Servers`]: groups in the order of their preference, and within a group by weight (RFC 2782), drawn anew for each request.
//!
//! DNS is a stranger: every list is cut, every name is checked, and no answer makes it ask more than [`QUESTIONS`].

use std::net::{IpAddr, SocketAddr};

use crate::flow::Transport;

/// Questions of one look-up, whatever the answers say.
pub const QUESTIONS: usize = 32;
/// Questions without any answer after which no further one is asked, unless an address was found before.
const FAILURES: u32 = 2;
/// NAPTR or SRV records of one answer that are read.
const RECORDS: usize = 32;
/// Addresses of one name that are used.
const ADDRESSES: usize = 16;
/// Addresses of one look-up that are used.
const ALL_ADDRESSES: usize = 64;
/// Seconds that an answer is believed: at least, so that a TTL of 0 does not make a question of each call, and at most.
const TTL: std::ops::RangeInclusive<u32> = 5..=86_400;
/// Seconds that a name without a server is believed to have none: at most.
const NOTHING_TTL: u32 = 300;

/// Whose server is looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wanted {
    /// The host name, in lower case and without a dot at its end.
    pub host: String,
    /// The port, when the URI says one.
    pub port: Option<u16>,
    /// The transport, when the URI says one; else DNS may choose (NAPTR).
    pub transport: Option<Transport>,
    /// `sips:`, so that only encrypted transports will do.
    pub secure: bool,
}

impl Wanted {
    /// A host by name. `None`: it is no host name (RFC 1123 §2.1: letters, digits, hyphens; labels of 63 bytes, 253 in all, and the
    /// last one is no number, or it would be an address).
    pub fn new(host: &str, port: Option<u16>, transport: Option<Transport>, secure: bool) -> Option<Wanted> {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let last = host.rsplit('.').next()?;
        let fine = is_name(&host) && !last.bytes().all(|b| b.is_ascii_digit()) && port != Some(0);
        fine.then_some(Wanted { host, port, transport, secure })
    }
}

/// Labels of letters, digits, hyphens and underscores (which SRV names have).
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// A type of record that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordType {
    /// Which transports a domain has (RFC 3403).
    Naptr,
    /// Which hosts and ports serve it (RFC 2782).
    Srv,
    /// IPv4 addresses of a host.
    A,
    /// IPv6 addresses of a host.
    Aaaa,
}

/// One question to DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsQuestion {
    /// The whole name, without the dot at its end.
    pub name: String,
    /// Which records of it.
    pub kind: RecordType,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsRecord {
    /// A NAPTR record; its regular expression is not followed (RFC 3263 §4.1 has none).
    Naptr {
        /// The smaller order is used first.
        order: u16,
        /// Among equal orders the smaller first.
        preference: u16,
        /// `s`: the replacement is the name of SRV records.
        flags: Vec<u8>,
        /// The service, such as `SIP+D2U`.
        service: Vec<u8>,
        /// The name to go on with.
        replacement: String,
    },
    /// An SRV record: a server of a service.
    Srv {
        /// The smaller priority is tried first.
        priority: u16,
        /// The share among equal priorities.
        weight: u16,
        /// The port that it serves at.
        port: u16,
        /// Its host; empty: the service is not offered (RFC 2782).
        target: String,
    },
    /// An IPv4 or IPv6 address.
    Address(IpAddr),
}

/// What DNS has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsAnswer {
    /// These records, for so many seconds.
    Records(Vec<DnsRecord>, u32),
    /// There is no such record, or no such name, for so many seconds.
    Nothing(u32),
    /// No answer, or one that is none: a time-out, SERVFAIL, REFUSED, a loop.
    Failed,
}

/// Why there is no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// DNS says that there is none, for so many seconds.
    NoServer(u32),
    /// DNS did not answer.
    Failed,
}

/// One server that may be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// How it is spoken to.
    pub transport: Transport,
    /// Those of the smallest group are tried first.
    pub group: u16,
    /// The share within the group.
    pub weight: u16,
    /// Its addresses, in the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
}

/// The servers that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// The servers, in the order of their groups.
    pub list: Vec<Server>,
    /// For how many seconds this may be believed.
    pub ttl: u32,
}

impl Servers {
    /// All addresses in the order of one request: group by group, within a group by a draw that heeds the weights (RFC 2782). `draw` gives
    /// a number of 0 to its argument, that one included.
    pub fn order(&self, mut draw: impl FnMut(u32) -> u32) -> Vec<(Transport, SocketAddr)> {
        let mut out = Vec::new();
        let mut left: Vec<&Server> = self.list.iter().collect();
        while let Some(group) = left.iter().map(|s| s.group).min() {
            // Those without weight first, so that they have a small chance (RFC 2782).
            left.sort_by_key(|s| (s.group, s.weight != 0));
            let sum = |list: &[&Server]| -> u32 {
                list.iter().filter(|s| s.group == group).map(|s| u32::from(s.weight)).sum()
            };
            let drawn = draw(sum(&left));
            let mut running = 0_u32;
            let at = left.iter().take_while(|s| s.group == group).position(|s| {
                running = running.saturating_add(u32::from(s.weight));
                running >= drawn
            });
            let server = left.remove(at.unwrap_or(0));
            out.extend(server.addresses.iter().map(|a| (server.transport, *a)));
        }
        out
    }
}

/// What is asked next, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Naptr,
    Srv {
        name: String,
        transport: Transport,
    },
    /// Addresses of the domain itself, because it has no SRV records.
    Host {
        transport: Transport,
    },
    /// Addresses of a server.
    Addresses {
        host: String,
        kind: RecordType,
        server: usize,
    },
}

/// One look-up under way. [`Lookup::question`] gives what is to be asked; [`Lookup::answer`] takes what came of it; when there is nothing
/// to ask any more, [`Lookup::result`] says what was found.
#[derive(Debug)]
pub struct Lookup {
    wanted: Wanted,
    /// What we can send by, in our order.
    ours: Vec<Transport>,
    steps: std::collections::VecDeque<Step>,
    /// With the port of each; its host's addresses are being asked for.
    found: Vec<(Server, u16)>,
    asked: usize,
    ttl: u32,
    nothing_ttl: u32,
    /// Questions that came to nothing because nobody answered.
    failures: u32,
    /// SRV records said so much, if only that there is no server.
    has_srv: bool,
    groups: u16,
}

impl Lookup {
    /// Begins a look-up. `ours`: the transports that we can send requests by, the preferred ones first.
    pub fn begin(wanted: Wanted, ours: &[Transport]) -> Lookup {
        let usable = |t: &Transport| match wanted.transport {
            Some(named) => *t == named,
            None => matches!(t, Transport::Udp | Transport::Tcp | Transport::Tls),
        };
        let ours: Vec<Transport> =
            ours.iter().copied().filter(usable).filter(|t| !wanted.secure || t.is_secure()).collect();
        let mut lookup = Lookup {
            steps: std::collections::VecDeque::new(),
            found: Vec::new(),
            asked: 0,
            ttl: *TTL.end(),
            nothing_ttl: NOTHING_TTL,
            failures: 0,
            has_srv: false,
            groups: 0,
            wanted,
            ours,
        };
        match (lookup.wanted.port, lookup.wanted.transport) {
            // RFC 3263 §4.2: a port leaves nothing for SRV to say.
            (Some(_), _) => lookup.look_at_host(),
            (None, Some(_)) => lookup.look_for_srv(),
            (None, None) => lookup.steps.push_back(Step::Naptr),
        }
        lookup
    }

    /// Whose server it looks for.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// What is to be asked now; the same until it is answered. `None`: all is known.
    pub fn question(&mut self) -> Option<DnsQuestion> {
        let nobody_answers =
            self.failures >= FAILURES && self.found.iter().all(|(s, _)| s.addresses.is_empty());
        if self.asked >= QUESTIONS || nobody_answers {
            self.steps.clear();
        }
        let host = || self.wanted.host.clone();
        let (name, kind) = match self.steps.front()? {
            Step::Naptr => (host(), RecordType::Naptr),
            Step::Srv { name, .. } => (name.clone(), RecordType::Srv),
            Step::Host { .. } => (host(), RecordType::A),
            Step::Addresses { host, kind, .. } => (host.clone(), *kind),
        };
        Some(DnsQuestion { name, kind })
    }

    /// What came of the question.
    pub fn answer(&mut self, answer: DnsAnswer) {
        let Some(step) = self.steps.pop_front() else { return };
        self.asked = self.asked.saturating_add(1);
        let records = match answer {
            DnsAnswer::Records(records, ttl) => {
                self.ttl = self.ttl.min(ttl);
                records
            }
            DnsAnswer::Nothing(ttl) => {
                self.nothing_ttl = self.nothing_ttl.min(ttl);
                Vec::new()
            }
            DnsAnswer::Failed => {
                self.failures = self.failures.saturating_add(1);
                Vec::new()
            }
        };
        match step {
            Step::Naptr => self.on_naptr(records),
            Step::Srv { transport, .. } => self.on_srv(records, transport),
            Step::Host { transport } => {
                let port = self.wanted.port.unwrap_or(transport.default_port());
                let server = self.add_server(transport, 0, 0, port);
                self.on_addresses(records, server);
                let host = self.wanted.host.clone();
                self.steps.push_front(Step::Addresses { host, kind: RecordType::Aaaa, server });
            }
            Step::Addresses { server, .. } => self.on_addresses(records, server),
        }
    }

    /// What was found; asked for when there is no question any more. Errors: nothing was.
    pub fn result(self) -> Result<Servers, LookupError> {
        let list: Vec<Server> =
            self.found.into_iter().map(|(s, _)| s).filter(|s| !s.addresses.is_empty()).collect();
        match (list.is_empty(), self.failures > 0) {
            (false, _) => Ok(Servers { list, ttl: self.ttl.clamp(*TTL.start(), *TTL.end()) }),
            (true, true) => Err(LookupError::Failed),
            (true, false) => Err(LookupError::NoServer(self.nothing_ttl.max(*TTL.start()))),
        }
    }

    /// The domain has a transport of ours (RFC 3263 §4.1), or says nothing about transports.
    fn on_naptr(&mut self, records: Vec<DnsRecord>) {
        let mut rows: Vec<(u16, u16, Transport, String)> = records
            .into_iter()
            .take(RECORDS)
            .filter_map(|record| match record {
                DnsRecord::Naptr { order, preference, flags, service, replacement } => {
                    let transport = transport_of(&service)?;
                    let fine = flags.eq_ignore_ascii_case(b"s")
                        && self.ours.contains(&transport)
                        && is_name(&replacement);
                    fine.then_some((order, preference, transport, replacement))
                }
                _ => None,
            })
            .collect();
        rows.sort_by_key(|(order, preference, ..)| (*order, *preference));
        if rows.is_empty() {
            return self.look_for_srv();
        }
        self.steps.extend(rows.into_iter().map(|(_, _, transport, name)| Step::Srv { name, transport }));
    }

    /// SRV records of each transport of ours.
    fn look_for_srv(&mut self) {
        let names = self.ours.iter().filter_map(|transport| {
            let prefix = match transport {
                Transport::Udp => "_sip._udp",
                Transport::Tcp => "_sip._tcp",
                Transport::Tls => "_sips._tcp",
                Transport::Ws | Transport::Wss => return None,
            };
            Some(Step::Srv { name: format!("{prefix}.{}", self.wanted.host), transport: *transport })
        });
        let names: Vec<Step> = names.collect();
        match names.is_empty() {
            true => self.look_at_host(),
            false => self.steps.extend(names),
        }
    }

    fn on_srv(&mut self, records: Vec<DnsRecord>, transport: Transport) {
        let mut rows: Vec<(u16, u16, u16, String)> = records
            .into_iter()
            .take(RECORDS)
            .filter_map(|record| match record {
                DnsRecord::Srv { priority, weight, port, target } => Some((priority, weight, port, target)),
                _ => None,
            })
            .collect();
        self.has_srv |= !rows.is_empty();
        rows.sort_by_key(|(priority, ..)| *priority);
        let (mut last, mut next) = (None, Vec::new());
        for (priority, weight, port, target) in rows {
            let target = target.strip_suffix('.').unwrap_or(&target).to_ascii_lowercase();
            if !is_name(&target) || port == 0 {
                continue;
            }
            if last != Some(priority) {
                self.groups = self.groups.saturating_add(1);
                last = Some(priority);
            }
            let server = self.add_server(transport, self.groups, weight, port);
            for kind in [RecordType::A, RecordType::Aaaa] {
                next.push(Step::Addresses { host: target.clone(), kind, server });
            }
        }
        // The best first: where answers are slow, the others may come too late.
        for step in next.into_iter().rev() {
            self.steps.push_front(step);
        }
        if self.steps.is_empty() && !self.has_srv {
            self.look_at_host();
        }
    }

    /// The addresses of the domain itself (RFC 3263 §4.2), by the named transport, else by UDP, or TLS where it must be secure.
    fn look_at_host(&mut self) {
        let other = if self.wanted.secure { Transport::Tls } else { Transport::Udp };
        let transport = self.wanted.transport.unwrap_or(other);
        if self.ours.contains(&transport) {
            self.steps.push_back(Step::Host { transport });
        }
    }

    /// Gives its place in the list.
    fn add_server(&mut self, transport: Transport, group: u16, weight: u16, port: u16) -> usize {
        let place = self.found.len();
        self.found.push((Server { transport, group, weight, addresses: Vec::new() }, port));
        place
    }

    fn on_addresses(&mut self, records: Vec<DnsRecord>, server: usize) {
        let held: usize = self.found.iter().map(|(s, _)| s.addresses.len()).sum();
        let Some((server, port)) = self.found.get_mut(server) else { return };
        let room = ADDRESSES.min(ALL_ADDRESSES.saturating_sub(held).saturating_add(server.addresses.len()));
        for record in records {
            if let DnsRecord::Address(ip) = record {
                let at = SocketAddr::new(ip.to_canonical(), *port);
                if server.addresses.len() < room && !server.addresses.contains(&at) {
                    server.addresses.push(at);
                }
            }
        }
    }
}

/// The services of RFC 3263 §4.1.
fn transport_of(service: &[u8]) -> Option<Transport> {
    let services: [(&[u8], Transport); 3] =
        [(b"SIP+D2U", Transport::Udp), (b"SIP+D2T", Transport::Tcp), (b"SIPS+D2T", Transport::Tls)];
    services.into_iter().find(|(name, _)| service.eq_ignore_ascii_case(name)).map(|(_, transport)| transport)
}
