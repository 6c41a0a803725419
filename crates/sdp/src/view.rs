//! The view: lines, session facts, media sections.
//!
//! Read leniently: LF or CRLF, blanks at line ends, a missing last line end, NULs behind the whole, unknown line types and
//! attributes, any order of lines inside a section, and the oddities that [`crate::fields`] takes. Read strictly what decides
//! where media goes: `m=` ports, and the `c=` line that a live section uses.

use warp_model::limits::{SDP_ATTRIBUTES, SDP_BYTES, SDP_MEDIA};

use crate::direction::Direction;
use crate::error::{SdpError, SdpFault};
use crate::fields::{self, Attribute, Connection, Origin, Rtcp, RtpMap, attribute, is_blank, words};

/// One line, as offsets: SDPs are far below 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The letter before `=`; 0 for an empty line.
    pub(crate) kind: u8,
    pub(crate) start: u32,
    /// After the value, blanks at its end left out.
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
    /// Has a `c=` line, readable or not.
    has_connection_line: bool,
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

impl<'a> Sdp<'a> {
    /// Indexes one SDP. Allocates two lists, of lines and of sections. NULs behind the text are not part of it.
    ///
    /// Errors: the first fault, with its line.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SdpError> {
        let whole = |cause| SdpError { cause, line: 0, offset: 0 };
        if bytes.len() > SDP_BYTES {
            return Err(whole(SdpFault::TooLong));
        }
        let text = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at.saturating_add(1));
        let bytes = bytes.get(..text).unwrap_or_default();
        let mut sdp = Sdp {
            bytes,
            lines: Vec::with_capacity((bytes.len() / 20).clamp(8, 512)),
            sections: Vec::new(),
            connection: None,
        };
        if let Err((line, cause)) = sdp.index_lines().and_then(|()| sdp.index_sections()) {
            // A line that could not be indexed begins where the last good one ended.
            let after_last = sdp.lines.last().map_or(0, |l| l.next);
            let offset = sdp.lines.get(line).map_or(after_last, |l| l.start);
            let line = u32::try_from(line).unwrap_or(u32::MAX).saturating_add(1);
            return Err(SdpError { cause, line, offset });
        }
        Ok(sdp)
    }

    /// Errors: index of the line, cause.
    fn index_lines(&mut self) -> Result<(), (usize, SdpFault)> {
        let mut at = 0usize;
        while let Some(rest) = self.bytes.get(at..).filter(|r| !r.is_empty()) {
            let (length, taken) = match rest.iter().position(|b| *b == b'\n') {
                Some(lf) => (lf, lf.saturating_add(1)),
                None => (rest.len(), rest.len()),
            };
            let mut text = rest.get(..length).unwrap_or_default();
            text = text.strip_suffix(b"\r").unwrap_or(text);
            let fault = (self.lines.len(), SdpFault::Line);
            if text.iter().any(|b| matches!(b, 0 | b'\r')) {
                return Err(fault);
            }
            let full = text.iter().rposition(|b| !is_blank(*b)).map_or(0, |last| last.saturating_add(1));
            text = text.get(..full).unwrap_or_default();
            let kind = match text {
                [] => 0,
                [kind, b'=', ..] if kind.is_ascii_alphabetic() => *kind,
                _ => return Err(fault),
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
            _ => Err((0, SdpFault::Version)),
        }
    }

    /// Errors: index of the line, cause.
    fn index_sections(&mut self) -> Result<(), (usize, SdpFault)> {
        let mut attributes = 0usize;
        // The line of the session's c=, when it cannot be read.
        let mut bad_session: Option<usize> = None;
        // The same of the latest section.
        let mut bad_section: Option<usize> = None;
        for (i, line) in self.lines.iter().enumerate() {
            let text = self.bytes.get(line.start as usize..line.end as usize).unwrap_or_default();
            let value = text.get(2..).unwrap_or_default();
            match line.kind {
                b'm' => {
                    check_connection(self.sections.last(), bad_section.take())?;
                    if self.sections.len() >= SDP_MEDIA {
                        return Err((i, SdpFault::TooManySections));
                    }
                    attributes = 0;
                    if let Some(last) = self.sections.last_mut() {
                        last.end = i;
                    }
                    self.sections.push(Section {
                        first: i,
                        end: self.lines.len(),
                        port: fields::media_port(value).map_err(|cause| (i, cause))?,
                        connection: None,
                        has_connection_line: false,
                        rtcp: None,
                    });
                }
                // The first one counts; what a refused section says of its address is never used.
                b'c' => match self.sections.last_mut() {
                    Some(section) if !section.has_connection_line => {
                        section.has_connection_line = true;
                        section.connection = fields::connection(value).ok();
                        bad_section = Some(i).filter(|_| section.connection.is_none());
                    }
                    None if self.connection.is_none() && bad_session.is_none() => {
                        self.connection = fields::connection(value).ok();
                        bad_session = Some(i).filter(|_| self.connection.is_none());
                    }
                    _ => {}
                },
                b'o' if fields::origin(value).is_none() => return Err((i, SdpFault::Origin)),
                b'a' => {
                    attributes = attributes.saturating_add(1);
                    if attributes > SDP_ATTRIBUTES {
                        return Err((i, SdpFault::TooManyAttributes));
                    }
                    if let Some(text) = value.strip_prefix(b"rtcp:")
                        && let Some(section) = self.sections.last_mut()
                    {
                        section.rtcp = section.rtcp.or_else(|| fields::rtcp(text));
                    }
                }
                _ => {}
            }
        }
        check_connection(self.sections.last(), bad_section)?;
        let session = self.connection;
        match self.sections.iter().find(|s| s.port != 0 && s.connection.or(session).is_none()) {
            Some(_) if bad_session.is_some() => Err((bad_session.unwrap_or(0), SdpFault::Connection)),
            Some(lost) => Err((lost.first, SdpFault::Incomplete)),
            None => Ok(()),
        }
    }

    /// The bytes, unchanged, without NULs at their end.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn text(&self, line: Line) -> &'a [u8] {
        self.bytes.get(line.start as usize..line.end as usize).unwrap_or_default()
    }

    pub(crate) fn value(&self, line: Line) -> &'a [u8] {
        self.text(line).get(2..).unwrap_or_default()
    }

    pub(crate) fn session_lines(&self) -> &[Line] {
        let end = self.sections.first().map_or(self.lines.len(), |s| s.first);
        self.lines.get(..end).unwrap_or_default()
    }

    /// The `o=` line, when there is one.
    pub fn origin(&self) -> Option<Origin<'a>> {
        let line = self.session_lines().iter().find(|l| l.kind == b'o')?;
        fields::origin(self.value(*line))
    }

    /// Text of the `s=` line, when there is one.
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

    /// The media section at a position, from 0; `None` beyond the last.
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

    /// What kind of media it is: `audio`, `video`, `image` …
    pub fn kind(&self) -> &'a [u8] {
        self.words().next().unwrap_or_default()
    }

    /// Port, the first of several; 0 = rejected (RFC 3264 §6).
    pub fn port(&self) -> u16 {
        self.section.port
    }

    /// Port 0, and not an inactive bundled section.
    pub fn is_rejected(&self) -> bool {
        self.section.port == 0
    }

    /// The protocol as it is written: `RTP/AVP`, `udptl` …
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

    /// True when the section has a `c=` line of its own, readable or not.
    pub fn has_connection_line(&self) -> bool {
        self.section.has_connection_line
    }

    pub(crate) fn lines(&self) -> &'s [Line] {
        self.sdp.lines.get(self.section.first..self.section.end).unwrap_or_default()
    }

    /// Attributes of the section.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'s, 'a> {
        let sdp = self.sdp;
        self.lines().iter().filter(|l| l.kind == b'a').map(move |l| attribute(sdp.value(*l)))
    }

    /// Attributes of the session part, which hold for a section that does not say otherwise.
    pub fn session_attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'s, 'a> {
        let sdp = self.sdp;
        sdp.session_lines().iter().filter(|l| l.kind == b'a').map(move |l| attribute(sdp.value(*l)))
    }

    /// First attribute of this name.
    pub fn attribute(&self, name: &[u8]) -> Option<Attribute<'a>> {
        self.attributes().find(|a| a.name == name)
    }

    /// Whether the section has `a=rtcp-mux` (RFC 5761).
    pub fn has_rtcp_mux(&self) -> bool {
        self.attribute(b"rtcp-mux").is_some()
    }

    /// The first `a=rtcp` (RFC 3605) that names a port and, if any, a unicast address.
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

    /// Packet time of `a=ptime` in milliseconds; `None` without a readable one.
    pub fn ptime_ms(&self) -> Option<u32> {
        let value = self.attribute(b"ptime")?.value?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    }

    /// `a=rtpmap` lines that can be read.
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap<'a>> + use<'s, 'a> {
        self.attributes().filter(|a| a.name == b"rtpmap").filter_map(|a| fields::rtpmap(a.value?))
    }

    /// Direction with the old hold in mind: `c=` 0.0.0.0 takes "wants to receive" away (RFC 3264 §8.4, RFC 2543 §B.5).
    pub fn effective_direction(&self) -> Direction {
        let said = self.direction();
        if self.connection().is_some_and(|c| c.is_zero()) { Direction::of(said.sends(), false) } else { said }
    }

    /// The author does not want to receive: the other side is on hold.
    pub fn is_hold(&self) -> bool {
        !self.is_rejected() && !self.effective_direction().receives()
    }
}

/// A live section needs the address that it names.
fn check_connection(section: Option<&Section>, bad: Option<usize>) -> Result<(), (usize, SdpFault)> {
    match bad {
        Some(line) if section.is_some_and(|s| s.port != 0) => Err((line, SdpFault::Connection)),
        _ => Ok(()),
    }
}
