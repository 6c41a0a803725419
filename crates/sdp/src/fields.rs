//! Values of single lines. Lenient where another reading is impossible (blanks, tabs, letter case, a TTL), strict on what
//! decides where media goes.

use std::net::IpAddr;

use warp_model::limits::SDP_FORMATS;

use crate::error::SdpFault;

/// Value of a `c=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Unicast address, possibly unspecified (`0.0.0.0`: hold of RFC 2543).
    pub ip: IpAddr,
}

impl Connection {
    /// Whether the address is `0.0.0.0` or `::`.
    pub fn is_zero(self) -> bool {
        self.ip.is_unspecified()
    }
}

/// Value of `a=rtcp` (RFC 3605).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// The RTCP port, never 0.
    pub port: u16,
    /// Unicast address, when one is written.
    pub ip: Option<IpAddr>,
}

/// Fields of `o=` (RFC 8866 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// User name, often `-`; as it was written, so possibly empty or with blanks in it.
    pub username: &'a [u8],
    /// Session id, the same for all versions of a description.
    pub session_id: &'a [u8],
    /// Version of this session's description.
    pub version: &'a [u8],
    /// Type of the address, `IP4` or `IP6`.
    pub address_type: &'a [u8],
    /// Address or host name.
    pub address: &'a [u8],
}

/// An attribute: `a=name` or `a=name:value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// What stands before the colon.
    pub name: &'a [u8],
    /// What stands after the colon, when there is one.
    pub value: Option<&'a [u8]>,
}

/// `a=rtpmap` (RFC 8866 §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Name of the encoding, for example `PCMU`.
    pub name: &'a [u8],
    /// Clock rate in Hz.
    pub clock: u32,
    /// Channels of audio, when written.
    pub channels: Option<&'a [u8]>,
}

/// Stands between words.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| is_blank(*b)).filter(|w| !w.is_empty())
}

fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 10 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn port_number(text: &[u8]) -> Option<u16> {
    number(text).and_then(|n| u16::try_from(n).ok())
}

/// Checks an `m=` value and gives its port. Of several ports (`4000/2`, hierarchical coding) the first is relayed.
pub(crate) fn media_port(value: &[u8]) -> Result<u16, SdpFault> {
    let mut w = words(value);
    let (_kind, port, _protocol) =
        w.next().zip(w.next()).zip(w.next()).map(|((k, p), t)| (k, p, t)).ok_or(SdpFault::Media)?;
    if w.count() > SDP_FORMATS {
        return Err(SdpFault::TooManyFormats);
    }
    let (port, count) = match port.iter().position(|b| *b == b'/') {
        Some(at) => (port.get(..at).unwrap_or_default(), port.get(at.saturating_add(1)..)),
        None => (port, None),
    };
    if count.is_some_and(|count| number(count).is_none_or(|n| n == 0)) {
        return Err(SdpFault::Media);
    }
    port_number(port).ok_or(SdpFault::Media)
}

/// An address behind its family. A TTL (`/127`) means nothing on a unicast address.
fn unicast(network: &[u8], family: &[u8], text: &[u8]) -> Option<IpAddr> {
    let text = match text.iter().position(|b| *b == b'/') {
        Some(at) if number(text.get(at.saturating_add(1)..)?).is_some() => text.get(..at)?,
        Some(_) => return None,
        None => text,
    };
    let ip: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    let fits = match ip {
        IpAddr::V4(_) => family.eq_ignore_ascii_case(b"IP4"),
        IpAddr::V6(_) => family.eq_ignore_ascii_case(b"IP6"),
    };
    (fits && network.eq_ignore_ascii_case(b"IN") && !ip.is_multicast()).then_some(ip)
}

pub(crate) fn connection(value: &[u8]) -> Result<Connection, SdpFault> {
    let mut w = words(value);
    let ip = w.next().zip(w.next()).zip(w.next()).and_then(|((n, f), t)| unicast(n, f, t));
    match (ip, w.next()) {
        (Some(ip), None) => Ok(Connection { ip }),
        _ => Err(SdpFault::Connection),
    }
}

/// `a=rtcp` that names a place to send to; all else says nothing (a host name, `9 IN IP4 0.0.0.0` beside rtcp-mux, rubbish).
pub(crate) fn rtcp(value: &[u8]) -> Option<Rtcp> {
    let mut w = words(value);
    let port = w.next().and_then(port_number).filter(|port| *port != 0)?;
    let Some(network) = w.next() else { return Some(Rtcp { port, ip: None }) };
    let ip = w.next().zip(w.next()).and_then(|(f, t)| unicast(network, f, t));
    Some(Rtcp { port, ip: Some(ip.filter(|ip| !ip.is_unspecified() && w.next().is_none())?) })
}

/// `o=`, read from its end: the user name is what stands before the last five words.
pub(crate) fn origin(value: &[u8]) -> Option<Origin<'_>> {
    let mut rest = value;
    let mut last = || {
        let end = rest.iter().rposition(|b| !is_blank(*b))?.saturating_add(1);
        let text = rest.get(..end)?;
        let start = text.iter().rposition(|b| is_blank(*b)).map_or(0, |at| at.saturating_add(1));
        rest = text.get(..start)?;
        text.get(start..)
    };
    let (address, address_type, network) = (last()?, last()?, last()?);
    let (version, session_id) = (last()?, last()?);
    let username = rest.trim_ascii_end();
    network.eq_ignore_ascii_case(b"IN").then_some(Origin {
        username,
        session_id,
        version,
        address_type,
        address,
    })
}

pub(crate) fn attribute(value: &[u8]) -> Attribute<'_> {
    match value.iter().position(|b| *b == b':') {
        Some(at) => {
            Attribute { name: value.get(..at).unwrap_or_default(), value: value.get(at.saturating_add(1)..) }
        }
        None => Attribute { name: value, value: None },
    }
}

pub(crate) fn rtpmap(value: &[u8]) -> Option<RtpMap<'_>> {
    let mut w = words(value);
    let payload_type = number(w.next()?).and_then(|n| u8::try_from(n).ok()).filter(|n| *n < 128)?;
    let mut parts = w.next()?.split(|b| *b == b'/');
    let (name, clock) = (parts.next()?, number(parts.next()?)?);
    Some(RtpMap { payload_type, name, clock, channels: parts.next() })
}
