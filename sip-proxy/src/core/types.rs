//! What goes into a [`super::Core`] and what comes out of it, as values.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use warp_model::cdr::JournalRecord;
use warp_model::{CallId, CustomerId, Mono};
use warp_policy::Snapshot;
use warp_sip::flow::Flow;
pub use warp_sip::flow::Transport;
use warp_sip::message::Method;
use warp_sip::resolve::{LookupError, Servers, Wanted};
use warp_sip::transaction::Timers;

pub use super::live::{HangUpBy, HungUp, LiveCall, LookFor, LookedAt};
pub use super::strangers::StrangerLimits;
pub use warp_policy::Cidr;
pub use warp_sip::registrar::Bounds;
use warp_state::{Aor, Write};

/// What the core wants done. Outputs are carried out in the order in which they are polled:
/// the journal record of an answer comes before the 200 that it belongs to.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // lives in one queue between two calls
pub enum Output {
    /// Send these bytes. A flow without a link on a stream transport means: use a connection of that transport to that remote
    /// address, open one if there is none. When a named connection is gone, the same. A failure comes back as
    /// [`super::Core::handle_flow_error`].
    Transmit {
        /// From where to where.
        flow: Flow,
        /// The bytes of one whole message.
        bytes: TransmitBuf,
    },
    /// Ask outside; the answer returns through [`super::Core::handle_answer`] with the same id. The core has its own
    /// deadline ([`CoreConfig::ask_deadline`]); an answer after it is ignored.
    Ask {
        /// Returned with the answer.
        id: AskId,
        /// What is asked, and of whom.
        question: Question,
    },
    /// Write to the call journal; return from the write before going on with the next output.
    Journal(JournalRecord),
    /// The rest of this stream must not be read any more (T-SIP-04): close it after what was sent.
    CloseFlow(Flow),
}

/// Bytes to send. Give the buffer back with [`super::Core::recycle`] when done, so that it is used again.
pub struct TransmitBuf {
    pub(crate) bytes: Vec<u8>,
    /// Of a response that a transaction sends: its status, and the method that it answers.
    pub(crate) answers: Option<(u16, Method)>,
}

impl Deref for TransmitBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for TransmitBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl TransmitBuf {
    pub(crate) fn new(bytes: Vec<u8>) -> TransmitBuf {
        TransmitBuf { bytes, answers: None }
    }

    /// The bytes as a vector.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }
}

/// What a message is: the status of a response, `None` for a request; and its method, of a response the one of its CSeq.
pub type MessageKind = (Option<u16>, Method);

/// The number that a question and its answer share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// A question for outside.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // lives for microseconds
pub enum Question {
    /// A command to the media relay.
    Media(warp_ng::Command),
    /// The contacts of an address of record that other nodes know of; answered by [`super::Core::handle_state`].
    Look(Aor),
    /// The servers of a name (RFC 3263).
    Locate(Wanted),
    /// Changes of registrations, for the other nodes; with `wait`, the same is called when they are written.
    Write {
        /// The rows that come and go.
        write: Write,
        /// Somebody waits for the answer.
        wait: bool,
    },
}

/// The answer to a [`Question`].
#[derive(Debug)]
pub enum AskReply {
    /// What the media relay answers to [`Question::Media`].
    Media(Result<warp_ng::Reply, MediaError>),
    /// What DNS says of the name of a [`Question::Locate`].
    Located(Wanted, Result<Servers, LookupError>),
}

/// Why the media relay did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaError {
    /// No answer in time.
    Timeout,
    /// Refused, no socket, no relay configured.
    Unreachable,
}

/// What an operator (or another part of the process) wants.
pub enum Command {
    /// Take no new calls (503) and answer OPTIONS with 503; calls in the air go on. With `end_calls`, BYE them all now.
    Drain {
        /// End running calls too.
        end_calls: bool,
    },
    /// End one call with BYE both ways.
    EndCall {
        /// Public id of the call.
        cdr_id: CallId,
        /// Closed list for the CDR's `internal_code`: `operator`, `recovered` …
        reason: &'static str,
    },
    /// The relay has seen no media for too long (T-RTP-10).
    MediaTimeout {
        /// What the call is called towards the relay: its public id.
        media_id: Vec<u8>,
        /// When the time-out was due, by the clock of this machine: the call is charged until then, however late this comes.
        due: Mono,
    },
    /// End a call of a dead process, which recovery found in its journal: BYE both ways. For the shard of its Call-ID only.
    EndRecovered(Box<super::Resume>),
    /// Another configuration (F-CFG-02): for everything that is done after this command. See [`super::Core::config`].
    Configure(Arc<CoreConfig>),
    /// Calls in the air, in the order of their beginning.
    ListCalls {
        /// Is called with the list, on the shard's thread.
        reply: Box<dyn FnOnce(Vec<LiveCall>) + Send>,
    },
    /// Those of the calls in the air that somebody looks for, of a piece of the table.
    LookAtCalls {
        /// Which calls are looked for.
        which: LookFor,
        /// Where the piece begins: 0, then [`LookedAt::next`].
        from: u32,
        /// Is called with what was found, on the shard's thread.
        reply: Box<dyn FnOnce(LookedAt) + Send>,
    },
    /// Somebody hangs up a call: BYE both ways, or CANCEL and a final response before it is answered.
    HangUp {
        /// Public id of the call, on-net of either side.
        cdr_id: CallId,
        /// Only if this is a call of theirs.
        customer: Option<CustomerId>,
        /// Stands in the record as `internal_code`.
        by: HangUpBy,
        /// Is called with what came of it, on the shard's thread.
        reply: Box<dyn FnOnce(HungUp) + Send>,
    },
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Command::Drain { .. } => "Drain",
            Command::EndCall { .. } => "EndCall",
            Command::MediaTimeout { .. } => "MediaTimeout",
            Command::EndRecovered(_) => "EndRecovered",
            Command::Configure(_) => "Configure",
            Command::ListCalls { .. } => "ListCalls",
            Command::LookAtCalls { .. } => "LookAtCalls",
            Command::HangUp { .. } => "HangUp",
        })
    }
}

/// A phone of a user, for operators and its customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What it registered, as it wrote it; what is no text is left out.
    pub contact: String,
    /// The transport that it registered by.
    pub transport: Transport,
    /// Where it registered from.
    pub source: SocketAddr,
    /// What it says of itself; `None`: nothing.
    pub user_agent: Option<String>,
    /// Until it has to register again.
    pub expires_in: Duration,
}

/// One address that we listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it takes: datagrams, or connections of that kind.
    pub transport: Transport,
    /// As bound; [`Flow::local`] of its messages, or the same port on a concrete address when bound to the wildcard.
    pub bind: SocketAddr,
    /// What peers are told in Via and Record-Route; `None`: the bound address.
    pub advertise: Option<SocketAddr>,
}

/// Which proxy this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Launch profile `proxy`: a stateful record-routing proxy without policy or media.
    Static {
        /// Takes every request that is addressed to the proxy itself.
        next: SocketAddr,
        /// Known peers; everybody else is a stranger under [`CoreConfig::strangers`]. `next` is known by itself.
        trusted: Vec<Cidr>,
    },
    /// Launch profile `registrar`: users of one domain register here, and requests for them go to where they are.
    Registrar(RegistrarConfig),
    /// Everything: trunks, routing, rating, media, records, from the policy snapshot.
    Policy,
}

impl Mode {
    /// Whether users register here.
    pub(crate) fn is_registrar(&self) -> bool {
        matches!(self, Mode::Registrar(_))
    }
}

/// What a registrar must know. Its realm is [`CoreConfig::realm`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// The domain of its users; our addresses and [`CoreConfig::domains`] mean it, too.
    pub domain: String,
    /// Whose passwords are right.
    pub accounts: Accounts,
    /// What is granted: intervals, and how many contacts.
    pub bounds: Bounds,
    /// Known peers, which call users without signing in.
    pub trusted: Vec<Cidr>,
    /// The registrations are shared with other nodes through Redis; `None`: this one is alone.
    pub shared: Option<SharedRegistrations>,
}

/// How registrations are shared with other nodes (RFC 0036).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedRegistrations {
    /// Who registers is answered when it is written.
    pub through: bool,
    /// `server_id` of our rows.
    pub server_id: u32,
    /// How long a request waits for what other nodes know, and a REGISTER until it is written as well: both together; 20 ms.
    pub deadline: Duration,
}

/// The accounts of a registrar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accounts {
    /// Every name has an account, with the password `PREFIX` + name: for tests and load.
    Derived {
        /// What stands before the name.
        prefix: String,
    },
    /// The digest users of the trunks of the policy.
    OfTrunks,
}

/// One digest realm (PRODUCT §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// Its name in challenges.
    pub name: String,
    /// Offer SHA-256, before MD5.
    pub sha256: bool,
    /// Offer MD5 (SIPp and old PBXs know nothing else).
    pub md5: bool,
}

/// All that a core must know beforehand. Every value has a default that works on a laptop ([`CoreConfig::new`]).
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// Which proxy this is.
    pub mode: Mode,
    /// The addresses that we listen on.
    pub listeners: Vec<Listener>,
    /// The addresses of this machine: a listener on the wildcard is reached at each of them.
    pub own_addresses: Vec<IpAddr>,
    /// [`Mode::Static`] only: takes every request that is not of a dialog that we record-routed, whatever its Request-URI and
    /// Route say, by the transport that it came by.
    pub outbound: Option<SocketAddr>,
    /// [`Mode::Static`] only: how requests that came by TLS or WebSocket go on to the next hop, or to the way out; UDP.
    pub next_transport: Transport,
    /// Names that are us in a Request-URI or Route, besides our addresses.
    pub domains: Vec<String>,
    /// Node name in records.
    pub node: String,
    /// `Server` header of our own responses; empty: none.
    pub server_name: String,
    /// Realm for digest authentication.
    pub realm: Realm,
    /// The timers of RFC 3261 §17: T1, T2, T4, and timer C of §16.6.
    pub timers: Timers,
    /// Give up a vendor that sends no 1xx for so long (F-NET-02); 2 s.
    pub first_1xx: Duration,
    /// Give up a vendor that has said 100 but no 18x for so long; 20 s (`ref/telecom-domain` §7).
    pub first_18x: Duration,
    /// How long the media relay may take to answer; 1 s.
    pub ask_deadline: Duration,
    /// How long a call waits for DNS where a name is not known, or its answer is too old; 1 s.
    pub dns_deadline: Duration,
    /// Longest call unless its trunk says less (T-SIP-06); 4 h.
    pub max_duration: Duration,
    /// Most vendors tried for one call; 5.
    pub max_attempts: u16,
    /// Answered to whoever calls a number whose customer has no money for the call; 480, 400 to 699.
    pub called_without_credit: u16,
    /// Successive transport failures or time-outs until a vendor trunk is out of rotation; 3.
    pub trunk_down_after: u32,
    /// How long a vendor trunk then stays out before it is tried again; 30 s.
    pub trunk_down_for: Duration,
    /// Send media through the relay.
    pub anchor_media: bool,
    /// How much strangers may send before they are ignored.
    pub strangers: StrangerLimits,
    /// Transactions of all shards together.
    pub transactions: usize,
    /// Transactions of one stranger.
    pub transactions_per_stranger: usize,
    /// Calls of one shard, those that linger after their end included.
    pub calls: usize,
    /// Scanners (`friendly-scanner` and the like) get no answer (T-SIP-13).
    pub drop_scanners: bool,
    /// [`Mode::Static`] only: known peers may write display names that break their grammar but can be delimited (PRODUCT §6). Off by
    /// default; in [`Mode::Policy`] peers with an account always may.
    pub lenient_names: bool,
}

impl CoreConfig {
    /// Defaults for a proxy of that kind on these addresses.
    pub fn new(mode: Mode, listeners: Vec<Listener>) -> CoreConfig {
        CoreConfig {
            mode,
            listeners,
            own_addresses: Vec::new(),
            outbound: None,
            next_transport: Transport::Udp,
            domains: Vec::new(),
            node: "node-1".into(),
            server_name: String::new(),
            realm: Realm { name: "warp".into(), sha256: true, md5: true },
            timers: Timers::default(),
            first_1xx: Duration::from_secs(2),
            first_18x: Duration::from_secs(20),
            ask_deadline: Duration::from_secs(1),
            dns_deadline: Duration::from_secs(1),
            max_duration: Duration::from_secs(4 * 3_600),
            max_attempts: 5,
            called_without_credit: 480,
            trunk_down_after: 3,
            trunk_down_for: Duration::from_secs(30),
            anchor_media: true,
            strangers: StrangerLimits::default(),
            transactions: warp_model::limits::SIP_TRANSACTIONS,
            calls: warp_model::limits::SIP_CALLS,
            transactions_per_stranger: warp_model::limits::SIP_TRANSACTIONS_PER_STRANGER,
            drop_scanners: true,
            lenient_names: false,
        }
    }

    /// These values with what a running core cannot change taken from `now`: its kind, its addresses, its name in records,
    /// its realm (stored digests are made for it), and whether media is anchored (a call keeps the way it began with).
    #[must_use]
    pub fn keeping_fixed_parts_of(self, now: &CoreConfig) -> CoreConfig {
        CoreConfig {
            mode: now.mode.clone(),
            listeners: now.listeners.clone(),
            own_addresses: now.own_addresses.clone(),
            outbound: now.outbound,
            next_transport: now.next_transport,
            node: now.node.clone(),
            realm: Realm { name: now.realm.name.clone(), ..self.realm },
            anchor_media: now.anchor_media,
            ..self
        }
    }

    /// Whether an address belongs to a peer that we know: one that the configuration names, or that has an account.
    pub(crate) fn is_known(&self, snapshot: Option<&Snapshot>, ip: IpAddr) -> bool {
        match &self.mode {
            Mode::Static { next, trusted } => {
                let own = [Some(*next), self.outbound];
                own.iter().flatten().any(|at| at.ip() == ip) || trusted.iter().any(|c| c.contains(ip))
            }
            Mode::Registrar(settings) => settings.trusted.iter().any(|c| c.contains(ip)),
            Mode::Policy => snapshot.map(|s| &s.directory).is_some_and(|d| {
                d.trunk_by_ip(ip).is_some() || d.is_vendor_ip(ip) || d.inbound_trunk(ip).is_some()
            }),
        }
    }

    /// Whether host (an address, or a name) and port are us.
    pub(crate) fn is_us(&self, ip: Option<IpAddr>, host: &[u8], port: Option<u16>) -> bool {
        match ip {
            Some(ip) => {
                let port = port.unwrap_or(5060);
                self.listeners.iter().any(|l| {
                    let a = l.advertise.unwrap_or(l.bind);
                    let wildcard = || {
                        l.bind.ip().is_unspecified()
                            && l.bind.is_ipv4() == ip.is_ipv4()
                            && self.own_addresses.contains(&ip)
                    };
                    (a.port() == port && (a.ip() == ip))
                        || (l.bind.port() == port && (l.bind.ip() == ip || wildcard()))
                })
            }
            None => self.domains.iter().any(|d| host.eq_ignore_ascii_case(d.as_bytes())),
        }
    }
}

/// Counters of a core, read by the server for its metrics. All monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CoreStats {
    /// Messages that were no SIP, by the parser's verdict.
    pub malformed: u64,
    /// Dropped because a stranger's bucket was empty (T-SIP-12).
    pub stranger_dropped: u64,
    /// Messages of scanners that were dropped (T-SIP-13).
    pub scanner_dropped: u64,
    /// Requests repeated by peers and answered from the transaction, and finals repeated by them.
    pub repeated_requests_in: u64,
    pub repeated_responses_in: u64,
    /// Requests and responses that we repeated.
    pub repeated_requests_out: u64,
    pub repeated_responses_out: u64,
    /// Responses and ACKs that belong to nothing of ours.
    pub stray: u64,
    /// Refused because who asks has no business here: not an address, not a user, not a dialog that we know (T-SIP-05).
    pub acl: u64,
    /// Destinations that we refuse to send to (T-SIP-14).
    pub refused_destination: u64,
    /// Loops found (RFC 5393).
    pub loops: u64,
    /// Requests refused because Max-Forwards was used up (483).
    pub max_forwards: u64,
    /// In-dialog requests and CANCELs from an address that has no business there (T-SIP-11).
    pub spoofed: u64,
    /// Requests refused because the transaction table was full.
    pub table_full: u64,
    /// First INVITEs refused by overload control (F-LOAD-01).
    pub shed: u64,
    /// Requests received, and responses received.
    pub requests_in: u64,
    pub responses_in: u64,
    /// Client transactions that ended without an answer.
    pub timeouts: u64,
    /// Digest: right answers, challenges sent, wrong passwords, nonces too old or used, unknown users.
    pub auth_ok: u64,
    pub auth_challenge: u64,
    pub auth_bad_credentials: u64,
    pub auth_stale: u64,
    pub auth_unknown: u64,
    /// Challenges of vendors (401, 407) that could not be answered: no credentials, another realm, wrong ones, not an address of the trunk.
    pub challenges_unanswered: u64,
    /// Calls begun, answered, ended.
    pub calls_started: u64,
    pub calls_answered: u64,
    pub calls_ended: u64,
    /// Failovers to a further vendor.
    pub failovers: u64,
    /// Questions to the media relay that failed or timed out.
    pub media_failures: u64,
    /// Calls that waited for money of their account, and those that were refused because too many waited already.
    pub credit_waits: u64,
    pub credit_waits_full: u64,
    /// Names of peers that DNS did not answer for.
    pub dns_failures: u64,
    /// Messages of a call that were dropped or refused, because too many of it waited for the media relay.
    pub held_full: u64,
    /// REGISTERs that were granted, and those that were refused after their sender had signed in.
    pub registrations: u64,
    pub registrations_refused: u64,
    /// Panics within calls, each of which ended its call (F-PROC-05).
    pub panics: u64,
}
