//! Replies: [`Reply`] to document and back.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use warp_model::now::Wall;

use super::statistics::write_statistics;
use super::{Encoding, NgError, open};
use crate::reply::{
    CallStats, Counts, MediaFlags, MediaStats, MosFigures, Reply, SsrcStats, StreamStats, TagStats, reasons,
};
use crate::tape::View;
use crate::write::Writer;

/// Paths of recordings that are read of a reply.
const RECORDINGS: usize = 16;

/// Encodes one reply datagram: `cookie SP document`, in the encoding of the request.
///
/// `load_limit`: the client supports that result; else it is written as an ordinary error of the same text.
pub fn encode_reply(cookie: &[u8], encoding: Encoding, load_limit: bool, reply: &Reply, out: &mut Vec<u8>) {
    out.extend_from_slice(cookie);
    out.push(b' ');
    let mut w = Writer::new(out, encoding);
    w.open_dict();
    match reply {
        Reply::Pong => w.pair_text("result", "pong"),
        Reply::Ok { warning } => {
            write_warning(&mut w, warning.as_deref());
            w.pair_text("result", "ok");
        }
        Reply::Sdp { sdp, warning, recordings } => {
            w.pair_list("recordings", recordings.iter());
            w.pair_text("sdp", sdp);
            write_warning(&mut w, warning.as_deref());
            w.pair_text("result", "ok");
        }
        Reply::Calls(calls) => {
            w.key("calls");
            w.open_list();
            for call in calls {
                w.text(call);
            }
            w.close_list();
            w.pair_text("result", "ok");
        }
        Reply::Playing { duration_ms } => {
            w.pair_count("duration", *duration_ms);
            w.pair_text("result", "ok");
        }
        Reply::Stopped { position_ms } => {
            w.pair_count("last-frame-pos", *position_ms);
            w.pair_text("result", "ok");
        }
        Reply::Statistics(statistics) => {
            write_statistics(&mut w, statistics);
            w.pair_text("result", "ok");
        }
        Reply::Stats(stats) => {
            write_stats(&mut w, stats);
            w.pair_text("result", "ok");
        }
        Reply::LoadLimit { message } if load_limit => {
            w.pair_text("result", "load limit");
            w.pair_text("message", message.as_bytes());
        }
        Reply::LoadLimit { message: reason } | Reply::Error { reason } => {
            w.pair_text("result", "error");
            w.pair_text("error-reason", reason.as_bytes());
        }
    }
    w.close_dict();
}

fn write_warning(w: &mut Writer<'_>, warning: Option<&str>) {
    if let Some(text) = warning {
        w.pair_text("warning", text);
    }
}

fn seconds(at: Wall) -> i64 {
    at.0.div_euclid(1_000_000)
}

fn write_stats(w: &mut Writer<'_>, s: &CallStats) {
    w.pair_int("created", seconds(s.created));
    w.pair_int("created_us", s.created.0.rem_euclid(1_000_000));
    w.pair_int("created_ts", s.created.0);
    w.pair_int("last signal", seconds(s.last_signal));
    if let Some(text) = &s.metadata {
        w.pair_text("metadata", text);
    }
    w.key("SSRC");
    w.open_dict();
    for source in &s.ssrcs {
        write_ssrc(w, source);
    }
    w.close_dict();
    w.key("tags");
    w.open_dict();
    for tag in &s.tags {
        write_tag(w, tag);
    }
    w.close_dict();
    w.key("totals");
    w.open_dict();
    write_counts(w, "RTP", s.rtp);
    write_counts(w, "RTCP", s.rtcp);
    w.close_dict();
}

fn write_counts(w: &mut Writer<'_>, key: &str, c: Counts) {
    w.key(key);
    w.open_dict();
    w.pair_count("packets", c.packets);
    w.pair_count("bytes", c.bytes);
    w.pair_count("errors", c.errors);
    w.close_dict();
}

fn write_ssrc(w: &mut Writer<'_>, s: &SsrcStats) {
    w.key(s.ssrc.to_string());
    w.open_dict();
    w.pair_count("bytes", s.bytes);
    w.pair_count("packets", s.packets);
    w.pair_int("last RTP timestamp", i64::from(s.last_timestamp));
    w.pair_int("last RTP seq", i64::from(s.last_sequence));
    w.pair_count("cumulative loss", s.lost);
    write_mos(w, "average MOS", &s.average);
    if let Some(figures) = &s.lowest {
        write_mos(w, "lowest MOS", figures);
    }
    if let Some(figures) = &s.highest {
        write_mos(w, "highest MOS", figures);
    }
    if !s.progression.is_empty() {
        w.key("MOS progression");
        w.open_dict();
        w.pair_count("interval", s.progression_s);
        w.key("entries");
        w.open_list();
        for figures in &s.progression {
            write_figures(w, figures);
        }
        w.close_list();
        w.close_dict();
    }
    w.close_dict();
}

fn write_mos(w: &mut Writer<'_>, key: &str, m: &MosFigures) {
    if m.mos_x100.is_some() {
        w.key(key);
        write_figures(w, m);
    }
}

fn write_figures(w: &mut Writer<'_>, m: &MosFigures) {
    let mos = m.mos_x100.unwrap_or(0);
    w.open_dict();
    // × 10 on the wire, rounded.
    w.pair_count("MOS", u64::from(mos).saturating_add(5) / 10);
    w.pair_count("round-trip time", m.round_trip_us);
    w.pair_count("round-trip time leg", m.round_trip_leg_us);
    w.pair_count("jitter", m.jitter_us.saturating_add(500) / 1_000);
    w.pair_count("packet loss", m.loss_percent);
    match m.reported_at {
        Some(at) => w.pair_int("reported at", seconds(at)),
        None => w.pair_count("samples", m.samples),
    }
    w.close_dict();
}

fn write_tag(w: &mut Writer<'_>, t: &TagStats) {
    w.key(&t.tag);
    w.open_dict();
    w.pair_text("tag", &t.tag);
    if let Some(branch) = &t.via_branch {
        w.pair_text("via-branch", branch);
    }
    if let Some(label) = &t.label {
        w.pair_text("label", label);
    }
    w.pair_int("created", seconds(t.created));
    if let Some(peer) = t.peers.first() {
        w.pair_text("in dialogue with", peer);
    }
    for key in ["subscriptions", "subscribers"] {
        w.key(key);
        w.open_list();
        for peer in &t.peers {
            w.open_dict();
            w.pair_text("tag", peer);
            w.pair_text("type", "offer/answer");
            w.close_dict();
        }
        w.close_list();
    }
    w.key("medias");
    w.open_list();
    for media in &t.medias {
        write_media(w, media);
    }
    w.close_list();
    w.close_dict();
}

fn write_media(w: &mut Writer<'_>, m: &MediaStats) {
    w.open_dict();
    w.pair_int("index", i64::from(m.index));
    w.pair_text("type", &m.kind);
    w.pair_text("protocol", &m.protocol);
    if !m.codec.is_empty() {
        w.pair_text("codec", &m.codec);
    }
    w.key("streams");
    w.open_list();
    for stream in &m.streams {
        write_stream(w, stream);
    }
    w.close_list();
    w.key("flags");
    w.open_list();
    let f = m.flags;
    for (name, on) in [
        ("initialized", f.initialized),
        ("rtcp-mux", f.rtcp_mux),
        ("DTLS-SRTP", f.dtls),
        ("SDES", f.sdes),
        ("passthrough", f.passthrough),
        ("ICE", f.ice),
        ("ICE controlling", f.ice_controlling),
        ("asymmetric", f.asymmetric),
        ("send", f.send),
        ("recv", f.recv),
        ("loop check", f.loop_check),
    ] {
        if on {
            w.text(name);
        }
    }
    w.close_list();
    w.close_dict();
}

fn write_stream(w: &mut Writer<'_>, s: &StreamStats) {
    w.open_dict();
    w.pair_int("local port", i64::from(s.local.port()));
    w.pair_text("local address", s.local.ip().to_string());
    w.pair_text("family", family(s.local.ip()));
    if let Some(at) = s.endpoint {
        write_endpoint(w, "endpoint", at);
    }
    if let Some(at) = s.advertised {
        write_endpoint(w, "advertised endpoint", at);
    }
    w.pair_int("last packet", s.last_packet.map_or(0, seconds));
    w.key("flags");
    w.open_list();
    w.text(if s.rtcp { "RTCP" } else { "RTP" });
    if s.endpoint.is_some() {
        w.text("filled");
    }
    if s.confirmed {
        w.text("confirmed");
    }
    w.close_list();
    if let Some(ssrc) = s.ssrc {
        w.pair_int("SSRC", i64::from(ssrc));
    }
    write_counts(w, "stats", s.received);
    if s.sent != Counts::default() {
        write_counts(w, "stats_out", s.sent);
    }
    w.close_dict();
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn write_endpoint(w: &mut Writer<'_>, key: &str, at: SocketAddr) {
    w.key(key);
    w.open_dict();
    w.pair_text("family", family(at.ip()));
    w.pair_text("address", at.ip().to_string());
    w.pair_int("port", i64::from(at.port()));
    w.close_dict();
}

/// Decodes one reply datagram of a relay, ours or another: its cookie and the reply. That of `statistics` is for the tools
/// of operators and comes back as [`Reply::Ok`].
pub fn decode_reply(datagram: &[u8]) -> Result<(&[u8], Reply), NgError<'_>> {
    let (cookie, encoding, tape) = open(datagram)?;
    let bad = NgError::Bad { cookie, encoding, reason: reasons::INVALID_FORMAT };
    let root = tape.root().ok_or(bad)?;
    let text = |key: &str| root.get(key).and_then(View::text);
    let owned =
        |key: &str| text(key).map(|t| Cow::Owned::<'static, str>(String::from_utf8_lossy(&t).into_owned()));
    let reply = match text("result").as_deref() {
        Some(b"pong") => Reply::Pong,
        Some(b"error") => Reply::Error { reason: owned("error-reason").unwrap_or_default() },
        Some(b"load limit") => Reply::LoadLimit { message: owned("message").unwrap_or_default() },
        Some(b"ok") => {
            if let Some(sdp) = text("sdp") {
                let recordings = root.get("recordings").into_iter().flat_map(View::items);
                let recordings =
                    recordings.filter_map(|r| Some(r.text()?.into_owned())).take(RECORDINGS).collect();
                Reply::Sdp { sdp: sdp.into_owned(), warning: owned("warning"), recordings }
            } else if let Some(calls) = root.get("calls") {
                Reply::Calls(calls.items().filter_map(|c| Some(c.text()?.into_owned())).collect())
            } else if root.get("totals").is_some() || root.get("tags").is_some() {
                Reply::Stats(Box::new(read_stats(root)))
            } else if root.get("duration").is_some() {
                Reply::Playing { duration_ms: count(root, "duration") }
            } else if root.get("last-frame-pos").is_some() {
                Reply::Stopped { position_ms: count(root, "last-frame-pos") }
            } else {
                Reply::Ok { warning: owned("warning") }
            }
        }
        _ => return Err(bad),
    };
    Ok((cookie, reply))
}

fn number(view: View<'_, '_>, key: &str) -> i64 {
    view.get(key).and_then(View::int).unwrap_or(0)
}

fn count(view: View<'_, '_>, key: &str) -> u64 {
    u64::try_from(number(view, key)).unwrap_or(0)
}

fn word32(view: View<'_, '_>, key: &str) -> u32 {
    u32::try_from(number(view, key)).unwrap_or(0)
}

fn wall(seconds: i64) -> Wall {
    Wall(seconds.saturating_mul(1_000_000))
}

fn counts(view: Option<View<'_, '_>>) -> Counts {
    view.map_or_else(Counts::default, |v| Counts {
        packets: count(v, "packets"),
        bytes: count(v, "bytes"),
        errors: count(v, "errors"),
    })
}

fn bytes(view: View<'_, '_>, key: &str) -> Vec<u8> {
    view.get(key).and_then(View::text).map(Cow::into_owned).unwrap_or_default()
}

fn has_flag(view: View<'_, '_>, name: &str) -> bool {
    view.get("flags").is_some_and(|f| f.items().any(|i| i.str() == Some(name.as_bytes())))
}

fn read_stats(root: View<'_, '_>) -> CallStats {
    let totals = root.get("totals");
    CallStats {
        created: Wall(
            number(root, "created").saturating_mul(1_000_000).saturating_add(number(root, "created_us")),
        ),
        last_signal: wall(number(root, "last signal")),
        metadata: root.get("metadata").and_then(View::text).map(Cow::into_owned),
        rtp: counts(totals.and_then(|t| t.get("RTP"))),
        rtcp: counts(totals.and_then(|t| t.get("RTCP"))),
        ssrcs: root
            .get("SSRC")
            .map(|s| s.entries().filter_map(|(key, v)| Some(read_ssrc(text_u32(key)?, v))).collect())
            .unwrap_or_default(),
        tags: root
            .get("tags")
            .map(|t| t.entries().map(|(key, v)| read_tag(key, v)).collect())
            .unwrap_or_default(),
    }
}

fn text_u32(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn read_ssrc(ssrc: u32, v: View<'_, '_>) -> SsrcStats {
    SsrcStats {
        ssrc,
        packets: count(v, "packets"),
        bytes: count(v, "bytes"),
        lost: count(v, "cumulative loss"),
        last_timestamp: word32(v, "last RTP timestamp"),
        last_sequence: word32(v, "last RTP seq"),
        average: read_mos(v.get("average MOS")).unwrap_or_default(),
        lowest: read_mos(v.get("lowest MOS")),
        highest: read_mos(v.get("highest MOS")),
        progression: v
            .get("MOS progression")
            .and_then(|p| p.get("entries"))
            .map(|e| e.items().filter_map(|i| read_mos(Some(i))).collect())
            .unwrap_or_default(),
        progression_s: v.get("MOS progression").map_or(0, |p| count(p, "interval")),
    }
}

fn read_mos(view: Option<View<'_, '_>>) -> Option<MosFigures> {
    let v = view?;
    Some(MosFigures {
        mos_x100: v.get("MOS").and_then(View::int).and_then(|m| u16::try_from(m.saturating_mul(10)).ok()),
        round_trip_us: count(v, "round-trip time"),
        round_trip_leg_us: count(v, "round-trip time leg"),
        jitter_us: count(v, "jitter").saturating_mul(1_000),
        loss_percent: count(v, "packet loss"),
        samples: count(v, "samples"),
        reported_at: v.get("reported at").and_then(View::int).map(wall),
    })
}

fn read_tag(key: &[u8], v: View<'_, '_>) -> TagStats {
    let mut peers: Vec<Vec<u8>> =
        v.get("subscriptions").map(|s| s.items().map(|i| bytes(i, "tag")).collect()).unwrap_or_default();
    if peers.is_empty()
        && let Some(old) = v.get("in dialogue with").and_then(View::text)
    {
        peers.push(old.into_owned());
    }
    TagStats {
        tag: key.to_vec(),
        via_branch: v.get("via-branch").and_then(View::text).map(Cow::into_owned),
        label: v.get("label").and_then(View::text).map(Cow::into_owned),
        created: wall(number(v, "created")),
        peers,
        medias: v.get("medias").map(|m| m.items().map(read_media).collect()).unwrap_or_default(),
    }
}

fn read_media(v: View<'_, '_>) -> MediaStats {
    MediaStats {
        index: word32(v, "index"),
        kind: bytes(v, "type"),
        protocol: bytes(v, "protocol"),
        codec: bytes(v, "codec"),
        flags: MediaFlags {
            initialized: has_flag(v, "initialized"),
            rtcp_mux: has_flag(v, "rtcp-mux"),
            passthrough: has_flag(v, "passthrough"),
            sdes: has_flag(v, "SDES"),
            dtls: has_flag(v, "DTLS-SRTP"),
            ice: has_flag(v, "ICE"),
            ice_controlling: has_flag(v, "ICE controlling"),
            asymmetric: has_flag(v, "asymmetric"),
            loop_check: has_flag(v, "loop check"),
            send: has_flag(v, "send"),
            recv: has_flag(v, "recv"),
        },
        streams: v.get("streams").map(|s| s.items().filter_map(read_stream).collect()).unwrap_or_default(),
    }
}

fn read_ip(v: View<'_, '_>, key: &str) -> Option<IpAddr> {
    std::str::from_utf8(v.get(key)?.str()?).ok()?.parse().ok()
}

fn read_endpoint(view: Option<View<'_, '_>>) -> Option<SocketAddr> {
    let v = view?;
    let port = u16::try_from(number(v, "port")).ok()?;
    Some(SocketAddr::new(read_ip(v, "address")?, port))
}

/// `None` when it has no local address (10.5 leaves it out for unused streams).
fn read_stream(v: View<'_, '_>) -> Option<StreamStats> {
    let port = u16::try_from(number(v, "local port")).ok()?;
    let ip = read_ip(v, "local address").unwrap_or(IpAddr::from([0, 0, 0, 0]));
    Some(StreamStats {
        local: SocketAddr::new(ip, port),
        endpoint: read_endpoint(v.get("endpoint")),
        advertised: read_endpoint(v.get("advertised endpoint")),
        last_packet: v.get("last packet").and_then(View::int).filter(|s| *s > 0).map(wall),
        ssrc: v.get("SSRC").and_then(View::int).and_then(|s| u32::try_from(s).ok()),
        rtcp: has_flag(v, "RTCP"),
        confirmed: has_flag(v, "confirmed"),
        received: counts(v.get("stats")),
        sent: counts(v.get("stats_out")),
        source: None,
    })
}
