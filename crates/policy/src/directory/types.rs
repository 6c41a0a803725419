//! The rows of a directory: what the control plane stores and the nodes get, as JSON (`deny_unknown_fields`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use warp_model::{
    BanId, Currency, CustomerId, DeckId, Nanos, Secret, TrunkId, VendorId, VendorTrunkId, Wall,
};

use crate::cidr::Cidr;
use crate::code::Code;
use crate::directory::headers::HeaderTerms;
use crate::number_plan::{ClassSet, DialRules, State};
use crate::rate::Rounding;

/// Limits of a trunk, a customer or a vendor trunk; `None` = no limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls at once, from INVITE to the end.
    pub channels: Option<u32>,
    /// Calls per second; bursts up to one second's worth (at least 1).
    pub cps: Option<u32>,
    /// The highest price per minute that the customer will pay (customers and trunks).
    pub max_rate_per_min: Option<Nanos>,
    /// Spend per day in the customer's zone (customers and trunks).
    pub daily_spend: Option<Nanos>,
    /// Longest call in seconds (default of the platform: 4 h).
    pub max_duration_s: Option<u32>,
}

/// By which number an inbound call is priced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PricedBy {
    /// By the number of ours that was called: a price for a number, or for a group of numbers.
    #[default]
    Called,
    /// By the caller's number; by the called one when the caller gave none.
    Caller,
}

/// The price lists of inbound calls (origination): what a customer pays for the calls that reach its numbers, or what a vendor charges for
/// bringing them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InboundTerms {
    /// Decks in order; the longest code over all wins. Empty: no inbound call is priced, and none is carried.
    pub decks: Vec<DeckId>,
    /// The number that is looked up in them.
    pub priced_by: PricedBy,
}

impl InboundTerms {
    /// Whether there is no price list.
    pub fn is_none(&self) -> bool {
        *self == InboundTerms::default()
    }
}

/// Where inbound calls of a trunk go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deliver {
    /// Names that are looked up in DNS (RFC 3263), in order; they come before `addresses`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostPort>,
    /// Addresses that its INVITEs go to, in order. Neither these nor `hosts`: the trunk takes no calls.
    pub addresses: Vec<SocketAddr>,
    /// The transport that they go by.
    pub transport: Transport,
    /// How the called number is written.
    pub number_format: NumberFormat,
}

impl Deliver {
    /// Whether the trunk takes no calls.
    pub fn is_none(&self) -> bool {
        self.addresses.is_empty() && self.hosts.is_empty()
    }
}

/// A customer: who pays for calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// The id of the customer.
    pub id: CustomerId,
    /// The name, for people.
    pub name: String,
    /// Off: every call is refused.
    pub enabled: bool,
    /// Over all trunks together.
    #[serde(default)]
    pub limits: Limits,
    /// Minutes east of UTC: when its day begins.
    #[serde(default)]
    pub utc_offset_min: i32,
    /// What calls to its numbers cost it.
    #[serde(default, skip_serializing_if = "InboundTerms::is_none")]
    pub inbound: InboundTerms,
}

/// HA1 values of a digest user for one realm: lower-case hex of H(user:realm:password).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ha1s {
    /// Realm they were made for.
    pub realm: String,
    /// MD5 (legacy realms only).
    #[serde(with = "secret_option", skip_serializing_if = "Option::is_none")]
    pub md5: Option<Secret<String>>,
    /// HA1 by SHA-256 (RFC 8760 §2.3).
    #[serde(with = "secret_option", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Secret<String>>,
}

/// A digest user of a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestUser {
    /// Unique over all trunks.
    pub username: String,
    /// The hashes that the user's answers are checked with.
    pub ha1: Ha1s,
}

/// What a trunk's contract says about caller numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallerRules {
    /// Refuse calls without a valid caller number.
    pub require_valid: bool,
    /// Believe P-Asserted-Identity and Remote-Party-ID of this trunk.
    pub trust_asserted: bool,
}

/// A customer's trunk: where calls come in, with its limits and rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trunk {
    /// The id of the trunk.
    pub id: TrunkId,
    /// The customer that the trunk is of.
    pub customer: CustomerId,
    /// The name, for people.
    pub name: String,
    /// Off: every call is refused.
    pub enabled: bool,
    /// Limits of this trunk.
    #[serde(default)]
    pub limits: Limits,
    /// What it may call.
    #[serde(default)]
    pub destinations: ClassSet,
    /// Sell decks in order; the longest code over all wins, among equal ones the first deck.
    pub sell_decks: Vec<DeckId>,
    /// Name of its partition.
    pub partition: String,
    /// The addresses and networks that its calls come from.
    #[serde(default)]
    pub acl: Vec<Cidr>,
    /// The digest users that its calls are signed by.
    #[serde(default)]
    pub digest: Vec<DigestUser>,
    /// Further addresses that its media may come from.
    #[serde(default)]
    pub media_ips: Vec<IpAddr>,
    /// How the customer writes the numbers that he dials.
    #[serde(default)]
    pub dial: DialRules,
    /// What is asked of caller numbers.
    #[serde(default)]
    pub caller: CallerRules,
    /// How its charges are rounded.
    #[serde(default)]
    pub rounding: Rounding,
    /// Where calls to numbers of its customer go.
    #[serde(default, skip_serializing_if = "Deliver::is_none")]
    pub deliver: Deliver,
    /// Which billing account pays for its calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Payer>,
    /// How messages of calls are written towards it.
    #[serde(default, skip_serializing_if = "HeaderTerms::is_none")]
    pub headers: HeaderTerms,
}

/// The billing account that pays for a trunk's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payer {
    /// The id of the account.
    pub ban: BanId,
    /// It is prepaid, or its credit has a limit: its calls are paid ahead from a lease, and end when that has nothing more.
    pub ahead: bool,
}

/// From whom we buy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vendor {
    /// The id of the vendor.
    pub id: VendorId,
    /// The name, for people.
    pub name: String,
    /// Off: never a candidate.
    pub enabled: bool,
    /// Buy decks in order; see [`Trunk::sell_decks`].
    pub buy_decks: Vec<DeckId>,
    /// Point of interconnection: jurisdiction is decided by this state against the called one.
    #[serde(default)]
    pub interconnection: Option<State>,
    /// How its invoices round.
    #[serde(default)]
    pub rounding: Rounding,
    /// What the calls cost that it brings to our numbers.
    #[serde(default, skip_serializing_if = "InboundTerms::is_none")]
    pub inbound: InboundTerms,
}

/// SIP transport towards a vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// SIP over UDP, the default.
    #[default]
    Udp,
    /// SIP over TCP, without TLS.
    Tcp,
    /// SIP over TLS; the certificate must have the name that was looked up, or the address.
    Tls,
    /// As DNS says (NAPTR and SRV of RFC 3263 §4.1); UDP for addresses, and where DNS says nothing.
    Auto,
}

/// How numbers are written towards a vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberFormat {
    /// E.164 with a plus: `+14155550123`.
    #[default]
    PlusE164,
    /// E.164 without a plus: `14155550123`.
    E164,
    /// `4155550123` inside NANP, `011…` elsewhere.
    National,
}

/// A host by its name, perhaps with a port: `sip.example.com`, `sip.example.com:5080`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    /// The name, in lower case.
    pub host: String,
    /// The port; without one DNS says it (SRV), or it is the usual one.
    pub port: Option<u16>,
}

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<HostPort, Self::Err> {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => {
                let digits = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
                let number = port.parse::<u16>().ok().filter(|n| digits && *n > 0);
                (host, Some(number.ok_or("the port must be a number of 1 to 65535")?))
            }
            None => (text, None),
        };
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_number = host.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
        if host.len() > 253 || is_number || !host.split('.').all(label) {
            return Err("must be a host name such as sip.example.com or sip.example.com:5080");
        }
        Ok(HostPort { host: host.to_ascii_lowercase(), port })
    }
}

impl TryFrom<String> for HostPort {
    type Error = &'static str;
    fn try_from(text: String) -> Result<HostPort, Self::Error> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(of: HostPort) -> String {
        of.to_string()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Digest credentials that we use towards a vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The user name that we answer a challenge with.
    pub username: String,
    /// The password of that user.
    #[serde(with = "secret_text")]
    pub password: Secret<String>,
    /// Only towards this realm (T-SIP-10); any realm of this trunk's addresses when absent.
    #[serde(default)]
    pub realm: Option<String>,
}

/// A vendor's trunk: where calls go out, with its limits and formats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VendorTrunk {
    /// The id of the vendor trunk.
    pub id: VendorTrunkId,
    /// The vendor that the trunk is of.
    pub vendor: VendorId,
    /// The name, for people.
    pub name: String,
    /// Off: never a candidate.
    pub enabled: bool,
    /// Names of its platform that are looked up in DNS (RFC 3263), in order; they come before `addresses`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostPort>,
    /// Where its INVITEs go, in order.
    pub addresses: Vec<SocketAddr>,
    /// The transport that requests go out by.
    #[serde(default)]
    pub transport: Transport,
    /// Most calls at once, and most calls a second.
    #[serde(default)]
    pub limits: Limits,
    /// What a challenge (401 or 407) is answered with.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// Put in front of the number.
    #[serde(default)]
    pub tech_prefix: String,
    /// How the number is written.
    #[serde(default)]
    pub number_format: NumberFormat,
    /// Further addresses that its media may come from.
    #[serde(default)]
    pub media_ips: Vec<IpAddr>,
    /// Further addresses that it signals from and to within a dialog: other nodes of its platform.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signalling_ips: Vec<IpAddr>,
    /// Follow its redirections (3xx), to its own addresses only; else a redirection is the next candidate's turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow_redirects: bool,
    /// Pass REFER within a call on to it: with one it may place a call that nobody has priced. Else it is 403.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_refer: bool,
    /// Networks that its calls to our numbers come from. Those of a trunk that is off, or whose vendor is, are nobody's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inbound_networks: Vec<Cidr>,
    /// Among the trunks of one vendor: the smaller first.
    #[serde(default)]
    pub priority: u16,
    /// Among equal priorities: the larger first.
    #[serde(default = "one")]
    pub weight: u16,
    /// How messages of calls are written towards it. Absent: a carrier like us, which is told who calls.
    #[serde(default = "HeaderTerms::of_a_carrier")]
    pub headers: HeaderTerms,
}

impl VendorTrunk {
    /// Whether an address is one of its own: where INVITEs go, or another node of its platform.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.addresses.iter().any(|a| a.ip().to_canonical() == ip)
            || self.signalling_ips.iter().any(|i| i.to_canonical() == ip)
    }
}

/// How the candidates of a partition are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The vendor who is cheapest for the call comes first.
    #[default]
    Cost,
    /// By priority, then cheapest first.
    PriorityCost,
    /// By weight: a stable hash of the call, so that it replays.
    WeightedShare,
}

/// What must be left of the customer's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Margin {
    /// Per minute of the expected call, in nano-units of `currency`.
    pub per_min: Nanos,
    /// The currency of `per_min`. A call that is sold in another one is carried by nobody while `per_min` is not 0: amounts
    /// of two currencies cannot be compared.
    pub currency: Currency,
    /// In hundredths of a percent of the customer's price.
    pub bps: u32,
}

impl Default for Margin {
    fn default() -> Self {
        Self { per_min: Nanos(0), currency: Currency::USD, bps: 0 }
    }
}

impl Margin {
    /// Whether it can be taken off a price in this currency.
    pub fn fits(&self, currency: Currency) -> bool {
        self.per_min == Nanos(0) || self.currency == currency
    }
}

/// A vendor in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionVendor {
    /// The id of the vendor.
    pub vendor: VendorId,
    /// The smaller first ([`Strategy::PriorityCost`]).
    #[serde(default)]
    pub priority: u16,
    /// Share ([`Strategy::WeightedShare`]); breaks ties elsewhere.
    #[serde(default = "one")]
    pub weight: u16,
}

/// A set of vendors with a strategy. The customer's price does not depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// The name, which no other partition has.
    pub name: String,
    /// In what order the vendors are tried.
    #[serde(default)]
    pub strategy: Strategy,
    /// The vendors that may carry calls of the partition.
    pub vendors: Vec<PartitionVendor>,
    /// Tries per call, 1 to 8.
    #[serde(default = "four")]
    pub max_candidates: u8,
    /// Duration that prices are compared for.
    #[serde(default = "three_minutes")]
    pub expected_duration_s: u32,
    /// What must be left.
    #[serde(default)]
    pub margin: Margin,
    /// Carry calls below the margin too.
    #[serde(default)]
    pub loss_ok: bool,
}

/// What one unit of a currency is worth in another one, for margins and the order of vendors. Prices are never converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeRate {
    /// The currency that is bought in.
    pub from: Currency,
    /// The currency that is sold in.
    pub to: Currency,
    /// Units of `to` for one unit of `from`; above 0.
    pub rate: Nanos,
}

/// A vendor is not used (for a destination, for a time): quality, dispute, maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Names the rule in explanations.
    pub id: String,
    /// The id of the vendor.
    pub vendor: VendorId,
    /// Only below this code; everything when absent.
    #[serde(default)]
    pub code: Option<Code>,
    /// When it begins; `None` = it has begun.
    #[serde(default)]
    pub from: Option<Wall>,
    /// When it ends (exclusive); `None` = never.
    #[serde(default)]
    pub until: Option<Wall>,
    /// Why, in words for people.
    pub reason: String,
}

impl Block {
    /// Does it hold for a number at a time?
    pub fn holds(&self, number: Code, at: Wall) -> bool {
        self.from.is_none_or(|f| f <= at)
            && self.until.is_none_or(|u| at < u)
            && self.code.is_none_or(|c| c.covers(number))
    }
}

fn one() -> u16 {
    1
}

fn four() -> u8 {
    4
}

fn three_minutes() -> u32 {
    180
}

/// A secret in the snapshot's own JSON (nodes need it); everywhere else it prints as `***`.
mod secret_text {
    use super::*;

    pub fn serialize<S: Serializer>(s: &Secret<String>, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(s.reveal())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Secret<String>, D::Error> {
        String::deserialize(d).map(Secret::new)
    }
}

mod secret_option {
    use super::*;

    pub fn serialize<S: Serializer>(s: &Option<Secret<String>>, out: S) -> Result<S::Ok, S::Error> {
        match s {
            Some(s) => out.serialize_some(s.reveal()),
            None => out.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Secret<String>>, D::Error> {
        Ok(Option::<String>::deserialize(d)?.map(Secret::new))
    }
}
