//! The view: lines, session facts, media sections.
//!
//! Read leniently: LF or CRLF, a missing last line end, unknown line types and attributes, any order of lines inside a
//! section. Read strictly what decides where media goes: `m=` ports, `c=` and `a=rtcp` addresses.

use std::net::IpAddr;

use warp_model::limits::{SDP_ATTRIBUTES, SDP_BYTES, SDP_FORMATS, SDP_MEDIA};

use crate::offer_answer::Direction;

/// Why bytes are not an SDP that we take. All of them are a 488 towards a SIP peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// More than `SDP_BYTES`, `SDP_MEDIA`, `SDP_FORMATS` or `SDP_ATTRIBUTES`.
    TooLarge,
    /// A line is not `x=…`, or holds NUL or a stray CR.
    Line,
    /// The first line is not `v=0`.
    Version,
    /// `m=` without kind, port, protocol or format; a port that is no number of 16 bits.
    Media,
    /// `c=` that is not `IN IP4|IP6 address`, a multicast address, or a host name.
    Connection,
    /// `a=rtcp` that is not a port with an optional address.
    Rtcp,
    /// `o=` without six fields.
    Origin,
    /// A media section in use without any `c=`.
    Incomplete,
}

impl SdpError {
    /// One line for logs and replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "SDP is beyond the limits",
            Self::Line => "SDP line is not type=value",
            Self::Version => "SDP does not begin with v=0",
            Self::Media => "bad m= line",
            Self::Connection => "bad c= line",
            Self::Rtcp => "bad a=rtcp line",
            Self::Origin => "bad o= line",
            Self::Incomplete => "media without c= line",
        }
    }
}

impl std::fmt::Display for SdpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for SdpError {}

/// One line, as offsets: SDPs are far below 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The letter before `=`; 0 for an empty line.
    pub(crate) kind: u8,
    pub(crate) start: u32,
    /// After the value.
    pub(crate) end: u32,
    /// After the line end.
    pub(crate) next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// Index of the `m=` line.
    pub(crate) first: usize,
    /// Index after its last line.
    pub(crate) end: usize,
    port: u16,
    connection: Option<Connection>,
    rtcp: Option<Rtcp>,
}

/// A parsed SDP; borrows the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) lines: Vec<Line>,
    pub(crate) sections: Vec<Section>,
    connection: Option<Connection>,
}

/// Value of a `c=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Unicast address, possibly unspecified (`0.0.0.0`: hold of RFC 2543).
    pub ip: IpAddr,
}

impl Connection {
    /// `0.0.0.0` or `::`.
    pub fn is_zero(self) -> bool {
        self.ip.is_unspecified()
    }
}

/// Value of `a=rtcp` (RFC 3605).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// Port.
    pub port: u16,
    /// Address, when it differs from `c=`.
    pub ip: Option<IpAddr>,
}

/// Fields of `o=` (RFC 8866 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// User name, often `-`.
    pub username: &'a [u8],
    /// Session id.
    pub session_id: &'a [u8],
    /// Version of this session's description.
    pub version: &'a [u8],
    /// `IP4` or `IP6`.
    pub address_type: &'a [u8],
    /// Address or host name.
    pub address: &'a [u8],
}

/// `a=name` or `a=name:value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Before the colon.
    pub name: &'a [u8],
    /// After it.
    pub value: Option<&'a [u8]>,
}

/// `a=rtpmap` (RFC 8866 §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// 0–127.
    pub payload_type: u8,
    /// For example `PCMU`.
    pub name: &'a [u8],
    /// Hz.
    pub clock: u32,
    /// Channels of audio, when written.
    pub channels: Option<&'a [u8]>,
}

impl<'a> Sdp<'a> {
    /// Indexes one SDP. Allocates two lists, of lines and of sections.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SdpError> {
        if bytes.len() > SDP_BYTES {
            return Err(SdpError::TooLarge);
        }
        let mut sdp = Sdp {
            bytes,
            lines: Vec::with_capacity((bytes.len() / 20).clamp(8, 512)),
            sections: Vec::new(),
            connection: None,
        };
        sdp.index_lines()?;
        sdp.index_sections()?;
        Ok(sdp)
    }

    fn index_lines(&mut self) -> Result<(), SdpError> {
        let mut at = 0usize;
        while let Some(rest) = self.bytes.get(at..).filter(|r| !r.is_empty()) {
            let (length, taken) = match rest.iter().position(|b| *b == b'\n') {
                Some(lf) => (lf, lf.saturating_add(1)),
                None => (rest.len(), rest.len()),
            };
            let mut text = rest.get(..length).unwrap_or_default();
            text = text.strip_suffix(b"\r").unwrap_or(text);
            if text.iter().any(|b| matches!(b, 0 | b'\r')) {
                return Err(SdpError::Line);
            }
            let kind = match text {
                [] => 0,
                [kind, b'=', ..] if kind.is_ascii_alphabetic() => *kind,
                _ => return Err(SdpError::Line),
            };
            let next = at.saturating_add(taken);
            self.lines.push(Line {
                kind,
                start: at as u32,
                end: at.saturating_add(text.len()) as u32,
                next: next as u32,
            });
            at = next;
        }
        match self.lines.first() {
            Some(first) if self.text(*first) == b"v=0" => Ok(()),
            _ => Err(SdpError::Version),
        }
    }

    fn index_sections(&mut self) -> Result<(), SdpError> {
        let mut attributes = 0usize;
        for (i, line) in self.lines.iter().enumerate() {
            let text = self.bytes.get(line.start as usize..line.end as usize).unwrap_or_default();
            let value = text.get(2..).unwrap_or_default();
            match line.kind {
                b'm' => {
                    if self.sections.len() >= SDP_MEDIA {
                        return Err(SdpError::TooLarge);
                    }
                    attributes = 0;
                    if let Some(last) = self.sections.last_mut() {
                        last.end = i;
                    }
                    self.sections.push(Section {
                        first: i,
                        end: self.lines.len(),
                        port: media_port(value)?,
                        connection: None,
                        rtcp: None,
                    });
                }
                b'c' => {
                    let connection = parse_connection(value)?;
                    let slot = match self.sections.last_mut() {
                        Some(section) => &mut section.connection,
                        None => &mut self.connection,
                    };
                    slot.get_or_insert(connection);
                }
                b'o' if words(value).count() != 6 => return Err(SdpError::Origin),
                b'a' => {
                    attributes = attributes.saturating_add(1);
                    if attributes > SDP_ATTRIBUTES {
                        return Err(SdpError::TooLarge);
                    }
                    if let Some(rtcp) = value.strip_prefix(b"rtcp:")
                        && let Some(section) = self.sections.last_mut()
                    {
                        section.rtcp.get_or_insert(parse_rtcp(rtcp)?);
                    }
                }
                _ => {}
            }
        }
        let session = self.connection;
        let lost = |s: &Section| s.port != 0 && s.connection.or(session).is_none();
        if self.sections.iter().any(lost) {
            return Err(SdpError::Incomplete);
        }
        Ok(())
    }

    /// The bytes, unchanged.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn text(&self, line: Line) -> &'a [u8] {
        self.bytes.get(line.start as usize..line.end as usize).unwrap_or_default()
    }

    fn value(&self, line: Line) -> &'a [u8] {
        self.text(line).get(2..).unwrap_or_default()
    }

    pub(crate) fn session_lines(&self) -> &[Line] {
        let end = self.sections.first().map_or(self.lines.len(), |s| s.first);
        self.lines.get(..end).unwrap_or_default()
    }

    /// `o=`.
    pub fn origin(&self) -> Option<Origin<'a>> {
        let line = self.session_lines().iter().find(|l| l.kind == b'o')?;
        let mut w = words(self.value(*line));
        let (username, session_id, version) = (w.next()?, w.next()?, w.next()?);
        let _network = w.next()?;
        Some(Origin { username, session_id, version, address_type: w.next()?, address: w.next()? })
    }

    /// `s=`.
    pub fn session_name(&self) -> Option<&'a [u8]> {
        self.session_lines().iter().find(|l| l.kind == b's').map(|l| self.value(*l))
    }

    /// `c=` of the session.
    pub fn connection(&self) -> Option<Connection> {
        self.connection
    }

    /// Attributes of the session.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> {
        self.session_lines().iter().filter(|l| l.kind == b'a').map(|l| attribute(self.value(*l)))
    }

    /// Direction given for the whole session.
    pub fn direction(&self) -> Option<Direction> {
        self.attributes().find_map(|a| Direction::from_name(a.name))
    }

    /// How many media sections.
    pub fn media_count(&self) -> usize {
        self.sections.len()
    }

    /// One media section.
    pub fn media_at(&self, index: usize) -> Option<Media<'_, 'a>> {
        let section = *self.sections.get(index)?;
        Some(Media { sdp: self, section, index })
    }

    /// Media sections in order.
    pub fn media(&self) -> impl Iterator<Item = Media<'_, 'a>> {
        self.sections.iter().enumerate().map(|(index, section)| Media { sdp: self, section: *section, index })
    }
}

/// One media section: `m=` and the lines up to the next.
#[derive(Clone, Copy, Debug)]
pub struct Media<'s, 'a> {
    sdp: &'s Sdp<'a>,
    section: Section,
    index: usize,
}

impl<'s, 'a> Media<'s, 'a> {
    /// Place among the sections, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    fn words(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let value = self.sdp.lines.get(self.section.first).map(|l| self.sdp.value(*l)).unwrap_or_default();
        words(value)
    }

    /// `audio`, `video`, `image` …
    pub fn kind(&self) -> &'a [u8] {
        self.words().next().unwrap_or_default()
    }

    /// Port; 0 = rejected (RFC 3264 §6).
    pub fn port(&self) -> u16 {
        self.section.port
    }

    /// Port 0, and not an inactive bundled section.
    pub fn is_rejected(&self) -> bool {
        self.section.port == 0
    }

    /// `RTP/AVP` …
    pub fn protocol(&self) -> &'a [u8] {
        self.words().nth(2).unwrap_or_default()
    }

    /// Payload types (RTP) or sub-types.
    pub fn formats(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.words().skip(3)
    }

    /// Own `c=`, or that of the session.
    pub fn connection(&self) -> Option<Connection> {
        self.section.connection.or(self.sdp.connection)
    }

    /// True when the section has a `c=` line of its own.
    pub fn has_connection_line(&self) -> bool {
        self.section.connection.is_some()
    }

    fn lines(&self) -> &'s [Line] {
        self.sdp.lines.get(self.section.first..self.section.end).unwrap_or_default()
    }

    /// Attributes of the section.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'s, 'a> {
        let sdp = self.sdp;
        self.lines().iter().filter(|l| l.kind == b'a').map(move |l| attribute(sdp.value(*l)))
    }

    /// First attribute of this name.
    pub fn attribute(&self, name: &[u8]) -> Option<Attribute<'a>> {
        self.attributes().find(|a| a.name == name)
    }

    /// `a=rtcp-mux` (RFC 5761).
    pub fn has_rtcp_mux(&self) -> bool {
        self.attribute(b"rtcp-mux").is_some()
    }

    /// `a=rtcp` (RFC 3605).
    pub fn rtcp(&self) -> Option<Rtcp> {
        self.section.rtcp
    }

    /// Own direction, else that of the session, else `sendrecv` (RFC 8866 §6.7). What the SDP says, `c=` 0.0.0.0 apart.
    pub fn direction(&self) -> Direction {
        self.attributes()
            .find_map(|a| Direction::from_name(a.name))
            .or_else(|| self.sdp.direction())
            .unwrap_or_default()
    }

    /// `a=ptime` in ms.
    pub fn ptime_ms(&self) -> Option<u32> {
        let value = self.attribute(b"ptime")?.value?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    }

    /// `a=rtpmap` lines that can be read.
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap<'a>> + use<'s, 'a> {
        self.attributes().filter(|a| a.name == b"rtpmap").filter_map(|a| {
            let mut w = words(a.value?);
            let payload_type = number(w.next()?).and_then(|n| u8::try_from(n).ok()).filter(|n| *n < 128)?;
            let mut parts = w.next()?.split(|b| *b == b'/');
            let (name, clock) = (parts.next()?, number(parts.next()?)?);
            Some(RtpMap { payload_type, name, clock, channels: parts.next() })
        })
    }
}

pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b' ').filter(|w| !w.is_empty())
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

/// Checks an `m=` value and gives its port.
fn media_port(value: &[u8]) -> Result<u16, SdpError> {
    let mut w = words(value);
    let (_kind, port) = (w.next().ok_or(SdpError::Media)?, w.next().ok_or(SdpError::Media)?);
    let _protocol = w.next().ok_or(SdpError::Media)?;
    match w.count() {
        0 => return Err(SdpError::Media),
        1..=SDP_FORMATS => {}
        _ => return Err(SdpError::TooLarge),
    }
    let mut parts = port.split(|b| *b == b'/');
    let number_of_port = parts.next().and_then(port_number).ok_or(SdpError::Media)?;
    match parts.next() {
        // Several ports of one section (hierarchical coding) are not relayed: "1" is the only count taken.
        Some(count) if number(count) != Some(1) => Err(SdpError::Media),
        _ if parts.next().is_some() => Err(SdpError::Media),
        _ => Ok(number_of_port),
    }
}

fn address(family: &[u8], text: &[u8]) -> Option<IpAddr> {
    let ip: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    match (family, ip) {
        (b"IP4", IpAddr::V4(_)) | (b"IP6", IpAddr::V6(_)) => Some(ip),
        _ => None,
    }
}

fn parse_connection(value: &[u8]) -> Result<Connection, SdpError> {
    let mut w = words(value);
    let network = w.next();
    let ip = w.next().zip(w.next()).and_then(|(family, text)| address(family, text));
    match (network, ip, w.next()) {
        (Some(b"IN"), Some(ip), None) if !ip.is_multicast() => Ok(Connection { ip }),
        _ => Err(SdpError::Connection),
    }
}

fn parse_rtcp(value: &[u8]) -> Result<Rtcp, SdpError> {
    let mut w = words(value);
    let port = w.next().and_then(port_number).ok_or(SdpError::Rtcp)?;
    let ip = match w.next() {
        None => None,
        Some(b"IN") => Some(w.next().zip(w.next()).and_then(|(f, t)| address(f, t)).ok_or(SdpError::Rtcp)?),
        Some(_) => return Err(SdpError::Rtcp),
    };
    Ok(Rtcp { port, ip })
}

pub(crate) fn attribute(value: &[u8]) -> Attribute<'_> {
    match value.iter().position(|b| *b == b':') {
        Some(at) => {
            Attribute { name: value.get(..at).unwrap_or_default(), value: value.get(at.saturating_add(1)..) }
        }
        None => Attribute { name: value, value: None },
    }
}
