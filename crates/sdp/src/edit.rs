//! Minimal-change edits: named lines change, everything else keeps its bytes and its place.
//!
//! | line | what happens |
//! | --- | --- |
//! | `o=` | fields of [`OriginEdit`] |
//! | `s=` | [`SessionEdit::name`] |
//! | `c=` | the address; further `c=` lines of one section go; one is added after `m=` (and `i=`) where none would fit |
//! | `m=` | port, protocol, formats; whole sections are left out or added as refused |
//! | `a=` | those of [`Strip`] go; direction replaced in its place; [`MediaEdit::add`] at the end of the section |

use std::io::Write;
use std::net::IpAddr;

use crate::direction::Direction;
use crate::fields::{self, attribute, is_blank, words};
use crate::view::{Line, Sdp};

/// What changes in the line `o=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginEdit<'e> {
    /// The address to write, with its family.
    pub address: Option<IpAddr>,
    /// The new user name; `None` keeps the old one.
    pub username: Option<&'e [u8]>,
    /// The new session id; `None` keeps the old one.
    pub session_id: Option<&'e [u8]>,
    /// The version to write.
    pub version: Option<u64>,
}

/// Attributes to take out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strip {
    /// `candidate`, `remote-candidates`, `end-of-candidates` and all `ice-…` (RFC 8839).
    pub ice: bool,
    /// `fingerprint`, `setup`, `tls-id` (RFC 8122, RFC 8842).
    pub dtls: bool,
    /// SRTP keys: `a=crypto` (RFC 4568).
    pub crypto: bool,
    /// The RTCP port: `a=rtcp` (RFC 3605).
    pub rtcp: bool,
    /// `rtcp-mux` and `rtcp-mux-only` (RFC 5761, RFC 8858).
    pub rtcp_mux: bool,
    /// `group:BUNDLE` and `bundle-only` (RFC 9143).
    pub bundle: bool,
    /// Names of media sections: `a=mid` (RFC 5888).
    pub mid: bool,
}

impl Strip {
    pub(crate) fn takes(self, line_value: &[u8]) -> bool {
        let a = attribute(line_value);
        match a.name {
            b"candidate" | b"remote-candidates" | b"end-of-candidates" => self.ice,
            b"fingerprint" | b"setup" | b"tls-id" => self.dtls,
            b"crypto" => self.crypto,
            b"rtcp" => self.rtcp,
            b"rtcp-mux" | b"rtcp-mux-only" => self.rtcp_mux,
            b"bundle-only" => self.bundle,
            b"mid" => self.mid,
            b"group" => self.bundle && a.value.is_some_and(|v| v.starts_with(b"BUNDLE")),
            name => self.ice && name.starts_with(b"ice-"),
        }
    }
}

/// Attributes named by their whole value (what follows `a=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributeChanges<'e> {
    /// To take out: the whole value, or only the name for all attributes of that name.
    pub remove: &'e [Vec<u8>],
    /// Whole values, and what to write in their place. The first that fits counts.
    pub substitute: &'e [(Vec<u8>, Vec<u8>)],
}

impl<'e> AttributeChanges<'e> {
    pub(crate) fn takes(&self, value: &[u8]) -> bool {
        let name = attribute(value).name;
        self.remove.iter().any(|r| r == value || r == name)
    }

    pub(crate) fn instead(&self, value: &[u8]) -> Option<&'e [u8]> {
        self.substitute.iter().find(|(from, _)| from == value).map(|(_, to)| to.as_slice())
    }
}

/// Changes to the lines before the first `m=`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionEdit<'e> {
    /// Changes to the `o=` line.
    pub origin: OriginEdit<'e>,
    /// Text of the `s=` line.
    pub name: Option<&'e [u8]>,
    /// Address of an existing `c=`; never added here.
    pub connection: Option<IpAddr>,
    /// Attributes to take out.
    pub strip: Strip,
    /// Attributes to change by value.
    pub attributes: AttributeChanges<'e>,
    /// Whole lines (without line end) added at the end of the session part.
    pub add: Vec<String>,
}

/// Changes to one media section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaEdit<'e> {
    /// The port to write in the `m=` line.
    pub port: Option<u16>,
    /// New address: on its own `c=` line when there is one, or when the session's would be another.
    pub connection: Option<IpAddr>,
    /// The protocol to write in the `m=` line.
    pub protocol: Option<&'e str>,
    /// New direction, in the place of the old attribute, else at the end.
    pub direction: Option<Direction>,
    /// Formats to keep, in this order; `rtpmap`, `fmtp` and `rtcp-fb` lines of the others go.
    pub formats: Option<Vec<&'e [u8]>>,
    /// Attributes to take out.
    pub strip: Strip,
    /// Attributes to change by value.
    pub attributes: AttributeChanges<'e>,
    /// Whole lines (without line end) added at the end of the section.
    pub add: Vec<String>,
    /// The section is left out: an answer has as many as its offer (RFC 3264 §6). Nothing else of the edit counts then.
    pub remove: bool,
}

/// A refused section to be added: `m=KIND 0 PROTOCOL FORMATS` and nothing more (RFC 3264 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedSection<'e> {
    /// `audio`, `video` …, one word.
    pub kind: &'e [u8],
    /// `RTP/AVP` …, one word.
    pub protocol: &'e [u8],
    /// What follows it, words with one blank between them; `0` where it is empty (RFC 8866 §5.14 wants at least one).
    pub formats: &'e [u8],
}

/// A refused section, and the section of the source that it stands before; behind all of them when there is none.
pub type Missing<'e> = (usize, RefusedSection<'e>);

impl Sdp<'_> {
    /// Appends the edited SDP to `out`. Sections beyond the end of `media` stay as they are.
    pub fn write(&self, session: &SessionEdit<'_>, media: &[MediaEdit<'_>], out: &mut Vec<u8>) {
        self.write_padded(session, media, &[], out);
    }

    /// As [`Sdp::write`], with refused sections behind those that are there: an answer that left lines out becomes one
    /// that fits its offer.
    pub fn write_padded(
        &self,
        session: &SessionEdit<'_>,
        media: &[MediaEdit<'_>],
        missing: &[RefusedSection<'_>],
        out: &mut Vec<u8>,
    ) {
        let missing: Vec<Missing<'_>> = missing.iter().map(|m| (usize::MAX, *m)).collect();
        self.write_with(session, media, &missing, out);
    }

    /// As [`Sdp::write`], with refused sections before those that they name.
    pub fn write_with(
        &self,
        session: &SessionEdit<'_>,
        media: &[MediaEdit<'_>],
        missing: &[Missing<'_>],
        out: &mut Vec<u8>,
    ) {
        out.reserve(self.bytes.len().saturating_add(256));
        let mut writer = Writer { sdp: self, begin: out.len(), out, line_end: self.line_end() };
        writer.session(session);
        let session_ip = session.connection.or(self.connection().map(|c| c.ip));
        let unchanged = MediaEdit::default();
        // Blank lines behind the last section stay behind everything.
        let mut ending: &[Line] = &[];
        for (i, section) in self.sections.iter().enumerate() {
            let edit = media.get(i).unwrap_or(&unchanged);
            for (_, section) in missing.iter().filter(|(before, _)| *before == i) {
                writer.copy_all(std::mem::take(&mut ending));
                writer.refused(section);
            }
            if edit.remove {
                continue;
            }
            writer.copy_all(ending);
            let lines = self.lines.get(section.first..section.end).unwrap_or_default();
            let (lines, blank) = split_trailing_blank(lines);
            writer.media(lines, edit, session_ip);
            ending = blank;
        }
        for (_, section) in missing.iter().filter(|(before, _)| *before >= self.sections.len()) {
            writer.refused(section);
        }
        writer.copy_all(ending);
    }

    pub(crate) fn line_end(&self) -> &'static [u8] {
        let first = self.lines.first().and_then(|l| self.bytes.get(l.start as usize..l.next as usize));
        let ends_in_lf = first.is_some_and(|text| text.ends_with(b"\n") && !text.ends_with(b"\r\n"));
        if ends_in_lf { b"\n" } else { b"\r\n" }
    }
}

struct Writer<'w, 'a> {
    sdp: &'w Sdp<'a>,
    out: &'w mut Vec<u8>,
    /// Where this SDP starts in `out`.
    begin: usize,
    line_end: &'static [u8],
}

impl<'a> Writer<'_, 'a> {
    fn session(&mut self, edit: &SessionEdit<'_>) {
        let lines = self.sdp.session_lines();
        let (lines, blank) = split_trailing_blank(lines);
        let mut connection_done = false;
        for line in lines {
            let value = self.value(*line);
            match (line.kind, edit.connection) {
                (b'o', _) if edit.origin != OriginEdit::default() => self.origin(value, &edit.origin),
                (b's', _) if edit.name.is_some() => {
                    self.out.extend_from_slice(b"s=");
                    self.out.extend_from_slice(edit.name.unwrap_or_default());
                    self.end_line();
                }
                (b'c', Some(ip)) => {
                    if !std::mem::replace(&mut connection_done, true) {
                        self.connection(ip);
                    }
                }
                (b'a', _) => self.attribute(*line, value, edit.strip, &edit.attributes),
                _ => self.copy(*line),
            }
        }
        self.add(&edit.add);
        self.copy_all(blank);
    }

    fn media(&mut self, lines: &[Line], edit: &MediaEdit<'_>, session_ip: Option<IpAddr>) {
        let has_own = lines.iter().any(|l| l.kind == b'c');
        // A new c= line, while none of ours has been written and the session's does not do.
        let mut wanted = edit.connection.filter(|ip| has_own || session_ip != Some(*ip));
        let mut direction = edit.direction;
        for line in lines {
            let value = self.value(*line);
            // RFC 8866 §5: i= comes before c=, everything else after it.
            if !has_own
                && !matches!(line.kind, b'm' | b'i')
                && let Some(ip) = wanted.take()
            {
                self.connection(ip);
            }
            match line.kind {
                b'm' if edit.port.is_some() || edit.protocol.is_some() || edit.formats.is_some() => {
                    self.media_line(value, edit)
                }
                b'c' if edit.connection.is_some() => {
                    if let Some(ip) = wanted.take() {
                        self.connection(ip);
                    }
                }
                b'a' if is_of_other_format(value, edit.formats.as_deref()) => {}
                b'a' if edit.direction.is_some() && Direction::from_name(value).is_some() => {
                    if let Some(d) = direction.take() {
                        self.line(b"a=", d.as_str());
                    }
                }
                b'a' => self.attribute(*line, value, edit.strip, &edit.attributes),
                _ => self.copy(*line),
            }
        }
        if let Some(ip) = wanted {
            self.connection(ip);
        }
        if let Some(d) = direction {
            self.line(b"a=", d.as_str());
        }
        self.add(&edit.add);
    }

    fn refused(&mut self, section: &RefusedSection<'_>) {
        let formats = if section.formats.is_empty() { b"0" } else { section.formats };
        self.start_line();
        for part in [b"m=", section.kind, b" 0 ", section.protocol, b" ", formats] {
            self.out.extend_from_slice(part);
        }
        self.end_line();
    }

    fn value(&self, line: Line) -> &'a [u8] {
        self.sdp.text(line).get(2..).unwrap_or_default()
    }

    fn attribute(&mut self, line: Line, value: &[u8], strip: Strip, changes: &AttributeChanges<'_>) {
        if strip.takes(value) || changes.takes(value) {
            return;
        }
        let Some(instead) = changes.instead(value) else { return self.copy(line) };
        self.start_line();
        self.out.extend_from_slice(b"a=");
        self.out.extend_from_slice(instead);
        self.end_line();
    }

    /// The line with its own line end; one that had none (the last) gets one, so that something may follow.
    fn copy(&mut self, line: Line) {
        let bytes = self.sdp.bytes.get(line.start as usize..line.next as usize).unwrap_or_default();
        self.start_line();
        self.out.extend_from_slice(bytes);
    }

    fn copy_all(&mut self, lines: &[Line]) {
        for line in lines {
            self.copy(*line);
        }
    }

    /// Ends a last line that came without a line end.
    fn start_line(&mut self) {
        match self.out.last() {
            _ if self.out.len() <= self.begin => {}
            Some(b'\n') => {}
            // Half a line end.
            Some(b'\r') => self.out.push(b'\n'),
            _ => self.end_line(),
        }
    }

    fn end_line(&mut self) {
        self.out.extend_from_slice(self.line_end);
    }

    fn line(&mut self, start: &[u8], rest: &str) {
        self.start_line();
        self.out.extend_from_slice(start);
        self.out.extend_from_slice(rest.as_bytes());
        self.end_line();
    }

    fn add(&mut self, lines: &[String]) {
        for line in lines {
            self.line(b"", line);
        }
    }

    fn connection(&mut self, ip: IpAddr) {
        self.start_line();
        self.out.extend_from_slice(b"c=IN ");
        self.address(ip);
        self.end_line();
    }

    fn address(&mut self, ip: IpAddr) {
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "{family} {ip}");
    }

    fn origin(&mut self, value: &[u8], edit: &OriginEdit<'_>) {
        self.start_line();
        self.out.extend_from_slice(b"o=");
        // The view refuses an o= line that cannot be taken apart.
        let Some(said) = fields::origin(value) else {
            self.out.extend_from_slice(value);
            return self.end_line();
        };
        // RFC 8866 §5.2: a host without user names writes "-".
        let username = if said.username.is_empty() { b"-" } else { said.username };
        self.out.extend_from_slice(edit.username.unwrap_or(username));
        self.out.push(b' ');
        self.out.extend_from_slice(edit.session_id.unwrap_or(said.session_id));
        self.out.push(b' ');
        match edit.version {
            Some(n) => {
                let _ = write!(self.out, "{n}");
            }
            None => self.out.extend_from_slice(said.version),
        }
        self.out.extend_from_slice(b" IN ");
        match edit.address {
            Some(ip) => self.address(ip),
            None => {
                self.out.extend_from_slice(said.address_type);
                self.out.push(b' ');
                self.out.extend_from_slice(said.address);
            }
        }
        self.end_line();
    }

    /// Only the port and the protocol change; the words around them keep their bytes.
    fn media_line(&mut self, value: &[u8], edit: &MediaEdit<'_>) {
        self.start_line();
        self.out.extend_from_slice(b"m=");
        let mut nth = 0usize;
        let formats = edit.formats.as_deref();
        for piece in value.split_inclusive(|b| is_blank(*b)) {
            let word = piece.strip_suffix(b" ").or(piece.strip_suffix(b"\t")).unwrap_or(piece);
            if nth > 2 && formats.is_some() {
                break;
            }
            if word.is_empty() {
                self.out.extend_from_slice(piece);
                continue;
            }
            match (nth, edit.port, edit.protocol) {
                (1, Some(port), _) => {
                    let _ = write!(self.out, "{port}");
                }
                (2, _, Some(protocol)) => self.out.extend_from_slice(protocol.as_bytes()),
                _ => self.out.extend_from_slice(word),
            }
            self.out.extend_from_slice(piece.get(word.len()..).unwrap_or_default());
            nth = nth.saturating_add(1);
        }
        if let Some(formats) = formats {
            self.out.extend_from_slice(&formats.join(&b' '));
        }
        self.end_line();
    }
}

/// A line about a format that is not kept (RFC 8866 §6.6, §6.15; RFC 4585 §4.2).
fn is_of_other_format(value: &[u8], kept: Option<&[&[u8]]>) -> bool {
    let Some(kept) = kept else { return false };
    let a = attribute(value);
    let format = a.value.and_then(|v| words(v).next());
    matches!(a.name, b"rtpmap" | b"fmtp" | b"rtcp-fb")
        && format.is_some_and(|f| f != b"*" && !kept.contains(&f))
}

/// Blank lines at the end stay at the end.
fn split_trailing_blank(lines: &[Line]) -> (&[Line], &[Line]) {
    let full = lines.iter().rposition(|l| l.kind != 0).map_or(0, |at| at.saturating_add(1));
    lines.split_at_checked(full).unwrap_or((lines, &[]))
}
