//! What the parser leaves open because it costs more than every message should pay: the values that a proxy is about to rely on, and the
//! answers of RFC 3261 §16.3. The verdicts follow RFC 4475 and RFC 5118 (`tests/torture.rs` walks them).

use std::net::IpAddr;

use super::{Kind, Message, Method, sloppy_contact};
use crate::header::{Header, Malformed, NameAddr, Via};
use crate::uri::{Scheme, Uri};

/// A verdict against a well-formed message. Requests are answered, responses and ACKs dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject<'a> {
    /// The status to answer with: 400, 416, 420 or 483.
    pub status: u16,
    /// Reason phrase, of a closed set.
    pub reason: &'static str,
    /// Option tags for an `Unsupported` header with 420, as the request wrote them.
    pub unsupported: Option<&'a [u8]>,
}

impl<'a> Reject<'a> {
    fn new(status: u16, reason: &'static str) -> Reject<'a> {
        Reject { status, reason, unsupported: None }
    }
}

impl From<Malformed> for Reject<'_> {
    fn from(m: Malformed) -> Self {
        Reject::new(400, m.0)
    }
}

/// Reads every value that routing relies on: Request-URI, From, To, Via, Route, Record-Route, Contact.
///
/// Within a dialog the Request-URI is what the peer's Contact said, and a Contact is its peer's own business: both need to be delimited
/// only (a REGISTER's Contact is ours to read). Errors: 400 with the rule that is broken. For a response the error means: drop it
/// (T-SIP-02), also when it would be sent on to a broadcast, multicast or unspecified address (T-SIP-14, RFC 4475 §3.3.12).
pub fn check<'a>(msg: &Message<'a>) -> Result<(), Reject<'a>> {
    if msg.is_sloppy() {
        return Err(Reject::new(400, NEEDS_QUOTES));
    }
    check_values(msg, false)
}

/// [`check`], but display names in From, To and Contact may break their grammar as long as the address can be told
/// ([`NameAddr::parse_lenient`]): for peers with an account (PRODUCT §6).
pub fn check_lenient<'a>(msg: &Message<'a>) -> Result<(), Reject<'a>> {
    check_values(msg, true)
}

const NEEDS_QUOTES: &str = "display name needs quotes";

fn check_values<'a>(msg: &Message<'a>, lenient: bool) -> Result<(), Reject<'a>> {
    match msg.kind() {
        Kind::Request { uri, .. } if msg.to_tag().is_some() => {
            Uri::parse_target(uri)?;
        }
        Kind::Request { uri, .. } => {
            let uri = Uri::parse(uri)?;
            if uri.headers.is_some() {
                return Err(Reject::new(400, "headers in Request-URI"));
            }
        }
        Kind::Response { .. } => {}
    }
    // The parser has read the parameters of these two, for their tags, and the first Via.
    check_uri(&msg.from())?;
    check_uri(&msg.to())?;
    let mut nth = 0_usize;
    let mut nowhere = !msg.is_request() && leads_nowhere(&msg.top_via());
    check_list(msg, Header::Via, |v| {
        nth = nth.saturating_add(1);
        if nth > 1 {
            let via = Via::parse(v)?;
            nowhere |= nth == 2 && !msg.is_request() && leads_nowhere(&via);
        }
        Ok(())
    })?;
    if nowhere {
        return Err(Reject::new(400, "response to nowhere"));
    }
    for header in [Header::Route, Header::RecordRoute] {
        check_list(msg, header, |v| {
            let address = NameAddr::parse(v)?;
            if !address.bracketed {
                return Err(Malformed("Route without brackets"));
            }
            address.params.check()?;
            address.uri().map(|_| ())
        })?;
    }
    let mut star = false;
    let binds = msg.method() == Method::Register;
    let contact = |address: NameAddr<'_>| match () {
        () if address.sloppy && !lenient => Err(Malformed(NEEDS_QUOTES)),
        () if binds => check_address(&address),
        // Without brackets the scheme is all that tells a URI from a piece of a name.
        () if !address.bracketed => Scheme::of(address.uri).and(Uri::parse_target(address.uri)).map(|_| ()),
        () => Uri::parse_target(address.uri).map(|_| ()),
    };
    for line in msg.lines_of(Header::Contact) {
        if let Some(address) = sloppy_contact(line) {
            contact(address)?;
            continue;
        }
        each_value(line, |v| {
            if v == b"*" {
                star = true;
                return Ok(());
            }
            contact(NameAddr::parse_lenient(v)?)
        })?;
    }
    if star && !(msg.method() == Method::Register && msg.values(Header::Contact).count() == 1) {
        return Err(Reject::new(400, "Contact"));
    }
    Ok(())
}

/// How many branches a request may still be forked into, by its Max-Breadth (RFC 5393 §5.3). `None`: it does not say;
/// `Some(None)`: what stands there is no number.
pub fn max_breadth(msg: &Message<'_>) -> Option<Option<u32>> {
    let line = msg.headers().find(|line| line.name.eq_ignore_ascii_case(b"Max-Breadth"))?;
    let digits = line.value.trim_ascii();
    let number = std::str::from_utf8(digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    Some(number.and_then(|t| t.parse().ok()))
}

/// What RFC 3261 §16.3 has a proxy check before it forwards a request: scheme (416), Max-Forwards (483), Proxy-Require (420).
///
/// `supported`: option tags that this proxy knows. OPTIONS with Max-Forwards 0 may be answered as its target instead (§16.3); the caller
/// decides by the status.
pub fn check_proxy<'a>(msg: &Message<'a>, supported: &[&[u8]]) -> Result<(), Reject<'a>> {
    let Some(uri) = msg.request_uri() else {
        return Ok(());
    };
    // Within a dialog it is the peer's Contact, whatever that is.
    let foreign =
        || Ok::<_, Malformed>(Scheme::of(uri)? == Scheme::Other && !Uri::parse(uri)?.is_emergency_service());
    if msg.to_tag().is_none() && foreign()? {
        return Err(Reject::new(416, "Unsupported URI Scheme"));
    }
    // CANCEL goes no further than its hop, whatever it says (RFC 3261 §9.1).
    if msg.max_forwards() == Some(0) && msg.method() != Method::Cancel {
        return Err(Reject::new(483, "Too Many Hops"));
    }
    // RFC 5393 §5.3.3.1: none left for as much as one branch. Who registers asks for none, and ACK and CANCEL follow their INVITE.
    if !matches!(msg.method(), Method::Ack | Method::Cancel | Method::Register) {
        match max_breadth(msg) {
            Some(Some(0)) => return Err(Reject::new(440, "Max-Breadth Exceeded")),
            Some(None) => return Err(Reject::new(400, "Max-Breadth")),
            _ => {}
        }
    }
    if msg.has(Header::ProxyRequire) && !matches!(msg.method(), Method::Ack | Method::Cancel) {
        let unknown = |tag: &&[u8]| !supported.iter().any(|s| s.eq_ignore_ascii_case(tag));
        if msg.values(Header::ProxyRequire).any(|t| unknown(&t)) {
            return Err(Reject {
                status: 420,
                reason: "Bad Extension",
                unsupported: msg.header(Header::ProxyRequire),
            });
        }
    }
    Ok(())
}

fn check_address(address: &NameAddr<'_>) -> Result<(), Malformed> {
    address.params.check()?;
    check_uri(address)
}

fn check_uri(address: &NameAddr<'_>) -> Result<(), Malformed> {
    address.uri().map(|_| ())
}

fn check_list<'a>(
    msg: &Message<'a>,
    header: Header,
    mut each: impl FnMut(&'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    msg.lines_of(header).try_for_each(|line| each_value(line, &mut each))
}

fn each_value<'a>(
    line: &'a [u8],
    mut each: impl FnMut(&'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut rest = Some(line);
    while let Some(text) = rest {
        let (value, after) = crate::header::lex::split_comma(text)?;
        each(value)?;
        rest = after;
    }
    Ok(())
}

/// Whether a response for this Via would go to an address that is nobody's.
fn leads_nowhere(via: &Via<'_>) -> bool {
    let nobody = |ip: IpAddr| !warp_model::net::is_unicast(ip);
    let target = via.maddr.and_then(crate::uri::host_ip);
    target.or(via.received_ip()).or(via.ip()).is_some_and(nobody)
}
