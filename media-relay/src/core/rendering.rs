//! The canonical rendering of a negotiation's outgoing SDP: what the ng door says unless it is told otherwise.
//!
//! The same decisions as in [`super::negotiate::rewrite`], written in rtpengine's order of lines
//! ([`warp_sdp::canonical`]). What differs on purpose: every section has its own `c=`, static payload types have an
//! `a=rtpmap`, and the direction is always written (unless the flag `original-sendrecv` leaves it alone).

use warp_sdp::{CanonicalMedia, CanonicalSession, Media, Missing, Sdp, Strip};

use super::codecs::{kept_formats, offered_formats};
use super::negotiate::{
    Class, Mids, OutLine, OutOptions, by_value, lite_line, loop_line, rtcp_value, session_words,
};

/// Writes the SDP for the other side.
pub(super) fn canonical(
    sdp: &Sdp<'_>,
    lines: &[OutLine],
    options: OutOptions<'_>,
    missing: &[Missing<'_>],
) -> Vec<u8> {
    let any = Strip { ice: true, rtcp: true, rtcp_mux: true, bundle: true, ..Strip::default() };
    let (origin, name) = session_words(lines, &options);
    let mut session = CanonicalSession {
        origin,
        name,
        strip: Strip { dtls: true, ..any },
        keep_direction: options.flags.original_sendrecv,
        own: options
            .flags
            .loop_protect
            .then(|| loop_line(options.instance))
            .into_iter()
            .chain(lite_line(lines))
            .collect(),
        ..CanonicalSession::default()
    };
    session.attributes = by_value(options.attributes, b"", &mut session.add);
    let mut mids = Mids::new(sdp, options.flags.generate_mid);
    let media: Vec<CanonicalMedia<'_>> = lines
        .iter()
        .zip(sdp.media())
        .map(|(line, said)| {
            // The zeros of a refused line and of a hold are in the family of who gets them.
            let mut media = CanonicalMedia::refused(line.ip.is_ipv4());
            media.remove = line.remove;
            // Each party keeps the names that it gave.
            let mid = line.mid.as_ref().and_then(|mid| std::str::from_utf8(mid).ok()).map(str::to_owned);
            media.strip = Strip { mid: line.drop_mid || mid.is_some(), dtls: true, crypto: true, ..any };
            media.attributes = by_value(options.attributes, said.kind(), &mut media.add);
            if line.port == 0 {
                media.add.clear();
                return media;
            }
            media.port = line.port;
            if !line.zero || options.replace.zero_address {
                media.ip = line.ip;
            }
            media.protocol = spelled(line.protocol.as_deref(), &said);
            media.formats = kept_formats(&said, options.codec);
            if let Some(offered) = &line.offered {
                media.formats = offered_formats(&said, media.formats.take(), offered);
            }
            media.whole = line.class == Class::Raw;
            media.direction = if media.whole { sdp.direction() } else { Some(line.direction) };
            media.direction = media.direction.filter(|_| !options.flags.original_sendrecv);
            media.mid = mid.or(mids.number(&said, line));
            media.rtcp = rtcp_value(line, &options);
            media.mux = line.mux;
            media.keys.clone_from(&line.keys);
            media.ice.clone_from(&line.ice);
            let keeps_keys = !matches!(line.class, Class::Rtp | Class::Dtls) && line.keys.is_empty();
            (media.strip.dtls, media.strip.crypto) = (!keeps_keys, !keeps_keys);
            media
        })
        .collect();
    let mut out = Vec::new();
    sdp.write_canonical(&session, &media, missing, &mut out);
    out
}

/// Protocols that are written in the letters of their registration (RFC 8866 §8.2.3).
const PROTOCOLS: [&str; 7] =
    ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "udptl"];

/// The protocol to write: one that we know, whatever its letters in the source.
fn spelled<'p>(wanted: Option<&'p str>, said: &Media<'_, 'p>) -> Option<&'p str> {
    let text = wanted.map_or(said.protocol(), str::as_bytes);
    PROTOCOLS.into_iter().find(|known| text.eq_ignore_ascii_case(known.as_bytes())).or(wanted)
}
