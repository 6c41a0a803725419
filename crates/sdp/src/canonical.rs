//! The canonical rendering: an SDP written anew from what it says, in the order of lines of rtpengine 26
//! (`ref/ng-protocol.md`, "Canonical rendering"). Clients that compare text line by line expect it.
//!
//! | part | lines, in order |
//! | --- | --- |
//! | session | `v` `o` `s` · `i` `u` `e` `p` · `b` (AS, RR, RS, CT, TIAS) · `t` · our own attributes · the others as received |
//! | media | `m` `i` `c` `b` · `mid` `label` `bundle-only` · for each format `rtpmap` `fmtp` `rtcp-fb` · `extmap` · the others as received · direction · `rtcp` `rtcp-mux` · `crypto` `setup` `fingerprint` `tls-id` · `ptime` `maxptime` · ICE · what is added |
//!
//! No `c=` stands in the session part, each section has its own. A refused section ends behind `bundle-only`. Sections that
//! are not RTP are passed on whole. `k`, `r`, `z` and other kinds of `b=` are left out. Lines end in CRLF.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::direction::Direction;
use crate::edit::{AttributeChanges, Missing, OriginEdit, RefusedSection, Strip};
use crate::fields::{self, attribute, words};
use crate::view::{Line, Media, Sdp};

/// Kinds of `b=` that are written, in this order (RFC 8866 §5.8, RFC 3556, RFC 3890).
const BANDWIDTHS: [&[u8]; 5] = [b"AS", b"RR", b"RS", b"CT", b"TIAS"];

/// Static payload types (RFC 3551 §6) with what their `a=rtpmap` says.
const STATIC: [(u8, &str); 24] = [
    (0, "PCMU/8000"),
    (3, "GSM/8000"),
    (4, "G723/8000"),
    (5, "DVI4/8000"),
    (6, "DVI4/16000"),
    (7, "LPC/8000"),
    (8, "PCMA/8000"),
    (9, "G722/8000"),
    (10, "L16/44100/2"),
    (11, "L16/44100"),
    (12, "QCELP/8000"),
    (13, "CN/8000"),
    (14, "MPA/90000"),
    (15, "G728/8000"),
    (16, "DVI4/11025"),
    (17, "DVI4/22050"),
    (18, "G729/8000"),
    (25, "CelB/90000"),
    (26, "JPEG/90000"),
    (28, "nv/90000"),
    (31, "H261/90000"),
    (32, "MPV/90000"),
    (33, "MP2T/90000"),
    (34, "H263/90000"),
];

/// What the session part says otherwise than its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanonicalSession<'e> {
    /// Changes to the `o=` line.
    pub origin: OriginEdit<'e>,
    /// Text of the `s=` line.
    pub name: Option<&'e [u8]>,
    /// Attributes to take out.
    pub strip: Strip,
    /// Attributes to change by value.
    pub attributes: AttributeChanges<'e>,
    /// Keep a direction of the session's own: it is not written in each section (flag `original-sendrecv`).
    pub keep_direction: bool,
    /// Whole lines before the attributes that are passed on.
    pub own: Vec<String>,
    /// Whole lines at the end of the part.
    pub add: Vec<String>,
}

/// What one media section says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalMedia<'e> {
    /// Port; 0 = refused.
    pub port: u16,
    /// Address of the `c=` line; the unspecified one is written as `0.0.0.0` or `::`.
    pub ip: IpAddr,
    /// The protocol of `m=`; `None` keeps the one that is there.
    pub protocol: Option<&'e str>,
    /// Formats to keep, in this order; `None` keeps all.
    pub formats: Option<Vec<&'e [u8]>>,
    /// The direction to write; `None` passes on the one that is there, if any.
    pub direction: Option<Direction>,
    /// The section is not RTP: its attributes are passed on as they are.
    pub whole: bool,
    /// `mid` to give to a section without one.
    pub mid: Option<String>,
    /// The value of the attribute `a=rtcp`; `None` writes none.
    pub rtcp: Option<String>,
    /// Whether to write `a=rtcp-mux` below it.
    pub mux: bool,
    /// Whole lines of keys, in the place of those of the source.
    pub keys: Vec<String>,
    /// Whole lines of ICE, behind the packet times.
    pub ice: Vec<String>,
    /// Attributes to take out.
    pub strip: Strip,
    /// Attributes to change by value.
    pub attributes: AttributeChanges<'e>,
    /// Whole lines at the end of the section.
    pub add: Vec<String>,
    /// The section is left out. Nothing else counts then.
    pub remove: bool,
}

impl CanonicalMedia<'_> {
    /// A refused section of that family.
    pub fn refused(ipv4: bool) -> Self {
        let ip = if ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Self {
            port: 0,
            ip,
            protocol: None,
            formats: None,
            direction: None,
            whole: false,
            mid: None,
            rtcp: None,
            mux: false,
            keys: Vec::new(),
            ice: Vec::new(),
            strip: Strip::default(),
            attributes: AttributeChanges::default(),
            add: Vec::new(),
            remove: false,
        }
    }
}

impl Sdp<'_> {
    /// Appends the canonical rendering to `out`: one of `media` for each section (sections beyond them are left out), and
    /// refused sections before those that they name.
    pub fn write_canonical(
        &self,
        session: &CanonicalSession<'_>,
        media: &[CanonicalMedia<'_>],
        missing: &[Missing<'_>],
        out: &mut Vec<u8>,
    ) {
        out.reserve(self.bytes.len().saturating_add(512));
        let mut writer = Writer { out };
        writer.session(self, session);
        for (i, (said, edit)) in self.media().zip(media).enumerate() {
            for (_, section) in missing.iter().filter(|(before, _)| *before == i) {
                writer.missing(section);
            }
            if !edit.remove {
                writer.media(self, &said, edit);
            }
        }
        for (_, section) in missing.iter().filter(|(before, _)| *before >= self.media_count()) {
            writer.missing(section);
        }
    }
}

/// Where an attribute of an RTP section stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Name,
    Codec,
    Extension,
    Other,
    Direction,
    Key,
    Time,
    /// Written anew, or of no use in what we write.
    Nowhere,
}

impl Place {
    fn of(value: &[u8]) -> Self {
        match attribute(value).name {
            b"mid" | b"label" | b"bundle-only" => Self::Name,
            b"rtpmap" | b"fmtp" => Self::Codec,
            b"rtcp-fb" => match attribute(value).value.and_then(|v| words(v).next()) {
                Some(b"*") => Self::Other,
                _ => Self::Codec,
            },
            b"extmap" | b"extmap-allow-mixed" => Self::Extension,
            b"rtcp" | b"rtcp-mux" => Self::Nowhere,
            b"crypto" | b"setup" | b"fingerprint" | b"tls-id" => Self::Key,
            b"ptime" | b"maxptime" => Self::Time,
            _ if Direction::from_name(value).is_some() => Self::Direction,
            _ => Self::Other,
        }
    }
}

struct Writer<'w> {
    out: &'w mut Vec<u8>,
}

impl Writer<'_> {
    fn line(&mut self, kind: u8, value: &[u8]) {
        self.out.extend_from_slice(&[kind, b'=']);
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }

    fn whole(&mut self, lines: &[String]) {
        for line in lines {
            self.out.extend_from_slice(line.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// An attribute, as the changes leave it.
    fn attribute(&mut self, value: &[u8], changes: &AttributeChanges<'_>) {
        if !changes.takes(value) {
            self.line(b'a', changes.instead(value).unwrap_or(value));
        }
    }

    fn bandwidths<'s>(&mut self, sdp: &Sdp<'s>, lines: &[Line]) {
        let said: Vec<&[u8]> = lines.iter().filter(|l| l.kind == b'b').map(|l| sdp.value(*l)).collect();
        for kind in BANDWIDTHS {
            let of_kind = |v: &&&[u8]| v.strip_prefix(kind).is_some_and(|rest| rest.starts_with(b":"));
            if let Some(value) = said.iter().find(of_kind) {
                self.line(b'b', value);
            }
        }
    }

    fn session(&mut self, sdp: &Sdp<'_>, edit: &CanonicalSession<'_>) {
        let lines = sdp.session_lines();
        self.line(b'v', b"0");
        self.origin(sdp, &edit.origin);
        // RFC 8866 §5.3: a session without a name says "-".
        self.line(b's', edit.name.or(sdp.session_name()).unwrap_or(b"-"));
        for line in lines.iter().filter(|l| matches!(l.kind, b'i' | b'u' | b'e' | b'p')) {
            self.line(line.kind, sdp.value(*line));
        }
        self.bandwidths(sdp, lines);
        let time = lines.iter().find(|l| l.kind == b't').map(|l| sdp.value(*l));
        self.line(b't', time.unwrap_or(b"0 0"));
        self.whole(&edit.own);
        for line in lines.iter().filter(|l| l.kind == b'a') {
            let value = sdp.value(*line);
            let is_direction = Direction::from_name(value).is_some();
            if !edit.strip.takes(value) && (edit.keep_direction || !is_direction) {
                self.attribute(value, &edit.attributes);
            }
        }
        self.whole(&edit.add);
    }

    fn origin(&mut self, sdp: &Sdp<'_>, edit: &OriginEdit<'_>) {
        let nobody = fields::Origin {
            username: b"-",
            session_id: b"0",
            version: b"0",
            address_type: b"IP4",
            address: b"0.0.0.0",
        };
        let said = sdp.origin().unwrap_or(nobody);
        // RFC 8866 §5.2: a host without user names writes "-".
        let username = if said.username.is_empty() { b"-" } else { said.username };
        let version = edit.version.map(|n| n.to_string());
        let address = edit.address.map(|ip| (family(ip), ip.to_string()));
        let (kind, address) = match &address {
            Some((kind, ip)) => (kind.as_bytes(), ip.as_bytes()),
            None => (said.address_type, said.address),
        };
        let parts: [&[u8]; 6] = [
            edit.username.unwrap_or(username),
            edit.session_id.unwrap_or(said.session_id),
            version.as_deref().map_or(said.version, str::as_bytes),
            b"IN",
            kind,
            address,
        ];
        self.line(b'o', &parts.join(&b' '));
    }

    fn missing(&mut self, section: &RefusedSection<'_>) {
        let formats = if section.formats.is_empty() { b"0" } else { section.formats };
        self.line(b'm', &[section.kind, b"0", section.protocol, formats].join(&b' '));
    }

    fn connection(&mut self, ip: IpAddr) {
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "c=IN {} {ip}\r\n", family(ip));
    }

    fn media(&mut self, sdp: &Sdp<'_>, said: &Media<'_, '_>, edit: &CanonicalMedia<'_>) {
        let formats: Vec<&[u8]> = edit.formats.clone().unwrap_or_else(|| said.formats().collect());
        let port = edit.port.to_string();
        let protocol = edit.protocol.map_or(said.protocol(), str::as_bytes);
        let mut words = vec![said.kind(), port.as_bytes(), protocol];
        words.extend(&formats);
        self.line(b'm', &words.join(&b' '));
        let lines = said.lines();
        for line in lines.iter().filter(|l| l.kind == b'i') {
            self.line(b'i', sdp.value(*line));
        }
        self.connection(edit.ip);
        self.bandwidths(sdp, lines);
        let all = lines.iter().filter(|l| l.kind == b'a').map(|l| sdp.value(*l));
        let values: Vec<&[u8]> = all.filter(|value| !edit.strip.takes(value)).collect();
        let changes = &edit.attributes;
        if edit.whole && edit.port != 0 {
            for value in &values {
                self.attribute(value, changes);
            }
            // What the session said for all its sections holds for this one too.
            if let Some(d) =
                edit.direction.filter(|_| !values.iter().any(|v| Direction::from_name(v).is_some()))
            {
                self.attribute(d.as_str().as_bytes(), changes);
            }
            return self.whole(&edit.add);
        }
        let at = |place: Place| values.iter().copied().filter(move |v| Place::of(v) == place);
        for name in [&b"mid"[..], b"label", b"bundle-only"] {
            if let Some(mid) = edit.mid.as_ref().filter(|_| name == b"mid") {
                self.attribute(format!("mid:{mid}").as_bytes(), changes);
            }
            for value in at(Place::Name).filter(|v| attribute(v).name == name) {
                self.attribute(value, changes);
            }
        }
        if edit.port == 0 {
            return;
        }
        self.codecs(&formats, at(Place::Codec), changes);
        for value in at(Place::Extension).chain(at(Place::Other)) {
            self.attribute(value, changes);
        }
        match edit.direction {
            Some(d) => self.attribute(d.as_str().as_bytes(), changes),
            None => at(Place::Direction).for_each(|value| self.attribute(value, changes)),
        }
        if let Some(rtcp) = &edit.rtcp {
            self.attribute(format!("rtcp:{rtcp}").as_bytes(), changes);
        }
        if edit.mux {
            self.attribute(b"rtcp-mux", changes);
        }
        self.whole(&edit.keys);
        for name in [&b"crypto"[..], b"setup", b"fingerprint", b"tls-id", b"ptime", b"maxptime"] {
            let place = if name.ends_with(b"ptime") { Place::Time } else { Place::Key };
            for value in at(place).filter(|v| attribute(v).name == name) {
                self.attribute(value, changes);
            }
        }
        self.whole(&edit.ice);
        self.whole(&edit.add);
    }

    /// `rtpmap`, `fmtp` and `rtcp-fb` of each format, in the order of the formats.
    fn codecs<'v>(
        &mut self,
        formats: &[&[u8]],
        values: impl Iterator<Item = &'v [u8]>,
        changes: &AttributeChanges<'_>,
    ) {
        let places: HashMap<&[u8], usize> = formats.iter().enumerate().rev().map(|(i, f)| (*f, i)).collect();
        let kind = |value: &[u8]| match attribute(value).name {
            b"rtpmap" => 0usize,
            b"fmtp" => 1,
            _ => 2,
        };
        let mut known: Vec<(usize, usize, &[u8])> = values
            .filter_map(|value| {
                let format = attribute(value).value.and_then(|v| words(v).next())?;
                Some((*places.get(format)?, kind(value), value))
            })
            .collect();
        // Stable: several of one kind stay in their order.
        known.sort_by_key(|(place, kind, _)| (*place, *kind));
        let mut rest = known.as_slice();
        for (i, format) in formats.iter().enumerate().filter(|(i, f)| places.get(**f) == Some(i)) {
            let (mine, others) = rest.split_at(rest.partition_point(|(place, ..)| *place <= i));
            rest = others;
            if !mine.iter().any(|(_, kind, _)| *kind == 0)
                && let Some(name) = static_map(format)
            {
                self.attribute(format!("rtpmap:{name}").as_bytes(), changes);
            }
            let mut has_map = false;
            for (_, kind, value) in mine {
                match (kind, fields::rtpmap(attribute(value).value.unwrap_or_default())) {
                    // One is enough, and a single channel is not written.
                    (0, _) if std::mem::replace(&mut has_map, true) => {}
                    (0, Some(map)) if map.channels == Some(b"1") => {
                        let name = String::from_utf8_lossy(map.name);
                        let text = format!("rtpmap:{} {name}/{}", map.payload_type, map.clock);
                        self.attribute(text.as_bytes(), changes);
                    }
                    _ => self.attribute(value, changes),
                }
            }
        }
    }
}

/// `0 PCMU/8000` for the static payload type 0.
fn static_map(format: &[u8]) -> Option<String> {
    let number: u8 = std::str::from_utf8(format).ok()?.parse().ok()?;
    let (_, name) = STATIC.iter().find(|(n, _)| *n == number)?;
    Some(format!("{number} {name}"))
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IP4" } else { "IP6" }
}
