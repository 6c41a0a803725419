//! Which codecs of a line are told to the other side: what the `codec` key leaves of an offer, and what an offer leaves of its
//! answer.

use std::sync::Arc;

use warp_media::ClockTable;
use warp_ng::Codecs;
use warp_sdp::Media;

use super::negotiate::Class;

/// Codecs of one line whose digests are kept.
const CODECS: usize = 64;

/// Digests of the formats of a line, or of those that are `kept`.
pub(super) fn codecs(media: &Media<'_, '_>, kept: Option<&[&[u8]]>) -> Arc<[u32]> {
    let named = |format| Named::of(format, media).digest();
    match kept {
        Some(kept) => kept.iter().take(CODECS).map(|format| named(format)).collect(),
        None => media.formats().take(CODECS).map(named).collect(),
    }
}

/// Names of the static payload types in use (RFC 3551 §6), for media without `a=rtpmap` lines.
const STATIC_NAMES: [(u8, &str); 12] = [
    (0, "PCMU"),
    (3, "GSM"),
    (4, "G723"),
    (8, "PCMA"),
    (9, "G722"),
    (10, "L16"),
    (11, "L16"),
    (13, "CN"),
    (15, "G728"),
    (18, "G729"),
    (31, "H261"),
    (34, "H263"),
];

pub(super) fn payload_type(format: &[u8]) -> Option<u8> {
    std::str::from_utf8(format).ok()?.parse().ok()
}

pub(super) fn static_name(payload_type: u8) -> Option<&'static str> {
    STATIC_NAMES.iter().find(|(n, _)| *n == payload_type).map(|(_, name)| *name)
}

/// A format with what its payload type stands for.
struct Named<'a> {
    format: &'a [u8],
    name: &'a [u8],
    clock: u32,
    channels: &'a [u8],
}

impl<'a> Named<'a> {
    /// Without a name when nothing says what it is.
    fn of(format: &'a [u8], media: &Media<'_, 'a>) -> Self {
        let number = payload_type(format);
        let mapped = number.and_then(|n| media.rtpmaps().find(|m| m.payload_type == n));
        match (mapped, number) {
            (Some(m), _) => {
                Self { format, name: m.name, clock: m.clock, channels: m.channels.unwrap_or(b"1") }
            }
            (None, Some(n)) => Self {
                format,
                name: static_name(n).unwrap_or_default().as_bytes(),
                clock: ClockTable::new().hz(n),
                channels: b"1",
            },
            (None, None) => Self { format, name: b"", clock: 0, channels: b"" },
        }
    }

    /// The same for the same codec, whatever its payload type and letter case; 0 for what has no name.
    fn digest(&self) -> u32 {
        if self.name.is_empty() {
            return 0;
        }
        let name = self.name.iter().map(u8::to_ascii_lowercase);
        let all = name.chain([b'/']).chain(self.clock.to_be_bytes()).chain(self.channels.iter().copied());
        // The lower half of a digest is as good as the whole.
        u32::try_from(warp_model::hash::fnv1a(all) & 0xFFFF_FFFF).unwrap_or_default().max(1)
    }

    /// It rides beside a codec of its clock (RFC 4733 §2.1, RFC 3389).
    fn is_aside(&self) -> bool {
        [&b"telephone-event"[..], b"CN"].iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// `NAME`, or `NAME/rate` and `NAME/rate/channels` with one channel where none is named; further parameters are those of
    /// an encoder and say nothing here.
    fn is(&self, wanted: &[u8]) -> bool {
        let mut parts = wanted.split(|b| *b == b'/');
        let name = parts.next().unwrap_or_default();
        let rate = parts.next().map(|r| std::str::from_utf8(r).ok().and_then(|r| r.parse::<u32>().ok()));
        let channels = parts.next().unwrap_or(b"1");
        !name.is_empty()
            && self.name.eq_ignore_ascii_case(name)
            && rate.is_none_or(|rate| rate == Some(self.clock) && channels == self.channels)
    }
}

/// The formats that the `codec` key leaves, in the order to write them; `None` when all stay as they are. Taking away the
/// last one is undone: media without a codec is worth nothing. Events and comfort noise go with the last codec of their
/// clock. What hides a codec from the other side only (`mask`,
/// `consume`) takes it from both here, because nothing is transcoded.
pub(super) fn kept_formats<'a>(media: &Media<'_, 'a>, codec: &Codecs) -> Option<Vec<&'a [u8]>> {
    let away = || [&codec.strip, &codec.mask, &codec.consume, &codec.ignore].into_iter().flatten();
    if away().next().is_none()
        || !matches!(Class::of(media.protocol()), Class::Rtp | Class::Srtp | Class::Dtls)
    {
        return None;
    }
    // Each name is looked up once: lists, formats and lines may all be as long as the limits allow.
    let formats: Vec<Named<'a>> = media.formats().map(|f| Named::of(f, media)).collect();
    let all = away().any(|s| s == b"all" || s == b"full");
    let kept: Vec<&[u8]> = if all {
        let offered = codec.offer.iter().flat_map(|wanted| formats.iter().filter(move |f| f.is(wanted)));
        let excepted = formats.iter().filter(|f| codec.except.iter().any(|wanted| f.is(wanted)));
        let mut kept: Vec<&[u8]> = Vec::new();
        for named in offered.chain(excepted) {
            if !kept.contains(&named.format) {
                kept.push(named.format);
            }
        }
        kept
    } else {
        formats.iter().filter(|f| !away().any(|wanted| f.is(wanted))).map(|f| f.format).collect()
    };
    let clocks = |is_kept: bool| -> Vec<u32> {
        let main = formats.iter().filter(|f| !f.is_aside() && (!is_kept || kept.contains(&f.format)));
        main.map(|f| f.clock).collect()
    };
    let (before, after) = (clocks(false), clocks(true));
    if after.is_empty() && !before.is_empty() {
        return None;
    }
    let lost = |f: &&Named<'_>| f.is_aside() && before.contains(&f.clock) && !after.contains(&f.clock);
    let lost: Vec<&[u8]> = formats.iter().filter(lost).map(|f| f.format).collect();
    let kept: Vec<&[u8]> = kept.into_iter().filter(|f| !lost.contains(f)).collect();
    Some(kept).filter(|kept| !kept.is_empty())
}

/// The formats of an answer that its asker knows of, by the digests of what it offered ([`super::negotiate::Spoken::codecs`]): an answer names a
/// subset of the offer (RFC 3264 §6.1). `None`: all stay, also where no codec would be left.
pub(super) fn offered_formats<'a>(
    media: &Media<'_, 'a>,
    kept: Option<Vec<&'a [u8]>>,
    offered: &[u32],
) -> Option<Vec<&'a [u8]>> {
    let is_rtp = matches!(Class::of(media.protocol()), Class::Rtp | Class::Srtp | Class::Dtls);
    if !is_rtp || offered.is_empty() || offered.contains(&0) || offered.len() >= CODECS {
        return kept;
    }
    let formats: Vec<&[u8]> = kept.clone().unwrap_or_else(|| media.formats().collect());
    let named: Vec<Named<'a>> = formats.iter().map(|f| Named::of(f, media)).collect();
    let known: Vec<&Named<'a>> =
        named.iter().filter(|f| f.name.is_empty() || offered.contains(&f.digest())).collect();
    if known.len() == named.len() || known.iter().all(|f| f.is_aside()) {
        return kept;
    }
    Some(known.into_iter().map(|f| f.format).collect())
}
