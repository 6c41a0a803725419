//! What one SDP says, in the relay's terms, and the SDP that the other side gets.
//!
//! Pure functions: [`read`] turns a media section and the facts of its signalling into [`Spoken`]; [`MuxPlan`] decides on
//! rtcp-mux; [`rewrite`] writes the outgoing SDP with as few changes as possible. Who may send to us is decided here:
//! the address of the SDP, exactly, unless the leg is behind a NAT as PRODUCT §6 defines it (T-RTP-01 to T-RTP-04).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::codecs::{codecs, kept_formats, payload_type, static_name};
use super::secure::{self, DtlsSaid, IceSaid};
use warp_media::play::PlayCodec;
use warp_media::srtp::CryptoLine;
use warp_media::{ClockTable, LearnPolicy, SourcePolicy, packet_limit};
use warp_model::net::{is_link_local, is_loopback, is_private, is_public, is_unicast};
use warp_ng::{AttributeEdits, Codecs, Flags, Replace, RtcpMux, SdpCommand};
use warp_sdp::{
    AttributeChanges, Connection, Direction, Media, MediaEdit, Missing, OriginEdit, RefusedSection, Sdp,
    SessionEdit, Strip,
};

/// What a media section is to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Plain RTP: `RTP/AVP` and `RTP/AVPF`.
    Rtp,
    /// RTP/SAVP, RTP/SAVPF: passed through unopened, keys of the SDP unchanged.
    Srtp,
    /// UDP/TLS/RTP/SAVP and SAVPF: the keys come by a handshake with each side (RFC 5764).
    Dtls,
    /// Datagrams of another kind: UDPTL of T.38 fax.
    Raw,
    /// TCP and what we do not know: offered on as rejected.
    Foreign,
}

impl Class {
    /// By the protocol of the `m=` line, in any letter case.
    pub fn of(protocol: &[u8]) -> Self {
        let is = |names: [&str; 2]| names.iter().any(|n| protocol.eq_ignore_ascii_case(n.as_bytes()));
        if is(["RTP/AVP", "RTP/AVPF"]) {
            Self::Rtp
        } else if is(["RTP/SAVP", "RTP/SAVPF"]) {
            Self::Srtp
        } else if is(["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"]) {
            Self::Dtls
        } else if is(["udptl", "UDPTL"]) {
            Self::Raw
        } else {
            Self::Foreign
        }
    }

    /// For the packet path.
    pub fn media(self) -> super::compile::Media {
        match self {
            Self::Srtp => super::compile::Media::ProtectedRtp,
            Self::Raw => super::compile::Media::Raw,
            Self::Rtp | Self::Dtls | Self::Foreign => super::compile::Media::Rtp,
        }
    }
}

/// Where a party's packets may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Not said (`c=` 0.0.0.0): what was said before stays.
    Unsaid,
    /// The addresses of the SDP and nothing else.
    Strict,
    /// Media goes where the SDP says until another port or address of these, and no third, has been learnt.
    Open(Vec<IpAddr>),
    /// Behind a NAT: learn from these addresses only (T-RTP-04); what the SDP says is of no use.
    Nat(Vec<IpAddr>),
}

/// What one side's SDP says of one media section. Kept by each side and by the offer that waits: its texts are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Spoken {
    /// What the section is to the relay.
    pub class: Class,
    /// Kind of media as in `m=`: `audio`, `video` …
    pub kind: Arc<[u8]>,
    /// Protocol of the `m=` line, as it was written.
    pub protocol: Arc<[u8]>,
    /// The section is rejected: its port is 0.
    pub rejected: bool,
    /// The `c=` line is IPv4.
    pub ipv4: bool,
    /// Address and port of the SDP; `None` when rejected or on hold by 0.0.0.0.
    pub rtp: Option<SocketAddr>,
    /// RTCP by `a=rtcp`, else port + 1.
    pub rtcp: Option<SocketAddr>,
    /// The section has `a=rtcp-mux` (RFC 5761).
    pub mux: bool,
    /// Direction, with 0.0.0.0 taken into account.
    pub direction: Direction,
    /// `c=` is 0.0.0.0 or `::`.
    pub zero: bool,
    /// Where this side's packets may come from.
    pub origin: Origin,
    /// Clocks of its payload types.
    pub clocks: ClockTable,
    /// Its payload types of telephone events (RFC 4733), a bit for each.
    pub events: u128,
    /// Packets a second it may send (T-RTP-11).
    pub max_packets_per_s: u32,
    /// First codec that is neither DTMF nor comfort noise, as `PCMU/8000`; empty when there is none.
    pub codec: Arc<[u8]>,
    /// Its payload types that we can write ourselves, in its order (RFC 0049).
    pub plays: [Option<(u8, PlayCodec)>; 3],
    /// The section's `a=mid` (RFC 5888).
    pub mid: Option<Arc<[u8]>>,
    /// What it says of ICE.
    pub ice: Option<Arc<IceSaid>>,
    /// What it says of DTLS.
    pub dtls: Option<Arc<DtlsSaid>>,
    /// Flag `asymmetric`: it receives elsewhere than it sends from.
    pub asymmetric: bool,
    /// Keys that it offers for what it sends, those that we can use, in its order.
    pub crypto: Arc<[CryptoLine]>,
    /// Payload types or sub-types, words with one blank between them; what is beyond [`FORMAT_BYTES`] is left out.
    pub formats: Arc<[u8]>,
    /// Digests of its codecs by name, clock and channels; of an offer those that are offered on. `0`: something without a name.
    pub codecs: Arc<[u32]>,
}

/// Most bytes of a line's formats that are kept.
const FORMAT_BYTES: usize = 256;

/// Facts about the SIP message that carried an SDP.
#[derive(Clone, Copy, Debug)]
pub struct Signalling<'a> {
    /// Source of the SIP message.
    pub received_from: Option<IpAddr>,
    /// The trunk's media set.
    pub media_ips: &'a [IpAddr],
    /// `flags` of the command: `SIP-source-address`, `trust-address`, `symmetric` and `asymmetric` count here.
    pub flags: Flags,
    /// Our own addresses, as they are and as SDP shows them.
    pub own: &'a [IpAddr],
}

impl<'a> Signalling<'a> {
    /// The facts that one command tells; `own` are the relay's addresses, which no peer may claim.
    pub fn of(command: &'a SdpCommand, own: &'a [IpAddr]) -> Self {
        Self {
            // A dual-stack socket's spelling of an IPv4 source is that IPv4 address.
            received_from: command.received_from.map(|ip| ip.to_canonical()),
            media_ips: &command.media_ips,
            flags: command.flags,
            own,
        }
    }
}

/// Reads one media section.
pub fn read(media: &Media<'_, '_>, signalling: Signalling<'_>) -> Spoken {
    let ip = media.connection().map(|c| c.ip).filter(|ip| !ip.is_unspecified());
    let live = !media.is_rejected();
    let rtp = ip.filter(|_| live).map(|ip| SocketAddr::new(ip, media.port()));
    let rtcp = rtp.map(|at| rtcp_address(media, at));
    let mut clocks = ClockTable::new();
    for map in media.rtpmaps() {
        clocks.set(map.payload_type, map.clock);
    }
    let (crypto, dtls, ice) = (crypto(media), secure::dtls(media), secure::ice(media));
    // Browsers of before RFC 8841 named the profile alone.
    let class = match Class::of(media.protocol()) {
        Class::Srtp if crypto.is_empty() && dtls.is_some() => Class::Dtls,
        class => class,
    };
    // With ICE an address of zeros says that candidates will come, and holds nobody (RFC 8839 §4.3.1).
    let is_zero = media.connection().is_some_and(|c| c.is_zero()) && ice.is_none();
    Spoken {
        class,
        kind: media.kind().into(),
        protocol: media.protocol().into(),
        rejected: !live,
        ipv4: media.connection().is_none_or(|c| c.ip.is_ipv4()),
        rtp,
        rtcp,
        mux: media.has_rtcp_mux(),
        direction: if is_zero { media.effective_direction() } else { media.direction() },
        zero: is_zero,
        origin: rtp.map_or(Origin::Unsaid, |at| origin(at.ip(), Class::of(media.protocol()), signalling)),
        clocks,
        events: media
            .rtpmaps()
            .filter(|m| m.name.eq_ignore_ascii_case(b"telephone-event"))
            .filter_map(|m| 1u128.checked_shl(u32::from(m.payload_type)))
            .fold(0, |all, one| all | one),
        max_packets_per_s: if media.kind() == b"audio" {
            packet_limit(media.ptime_ms().unwrap_or(0))
        } else {
            VIDEO_PACKETS_PER_S
        },
        codec: main_codec(media).into(),
        plays: plays(media),
        mid: media.attribute(b"mid").and_then(|a| a.value).filter(|v| v.len() <= 64).map(Arc::from),
        ice: ice.map(Arc::new),
        dtls: dtls.map(Arc::new),
        asymmetric: signalling.flags.asymmetric,
        crypto: crypto.into(),
        formats: formats(media).into(),
        codecs: codecs(media, None),
    }
}

/// Lines that one section may offer; rtpengine offers 12.
const CRYPTO_LINES: usize = 32;

/// The keys that a line offers by `a=crypto`.
fn crypto(media: &Media<'_, '_>) -> Vec<CryptoLine> {
    if Class::of(media.protocol()) != Class::Srtp {
        return Vec::new();
    }
    let lines = media.attributes().filter(|a| a.name == b"crypto").take(CRYPTO_LINES);
    lines.filter_map(|a| CryptoLine::parse(a.value?)).collect()
}

/// The formats of a line, as they are written.
fn formats(media: &Media<'_, '_>) -> Vec<u8> {
    let mut out = Vec::new();
    for format in media.formats() {
        if out.len().saturating_add(format.len()) >= FORMAT_BYTES {
            break;
        }
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(format);
    }
    out
}

/// Payload types of PCMU, PCMA and L16 at 8,000 Hz and one channel.
fn plays(media: &Media<'_, '_>) -> [Option<(u8, PlayCodec)>; 3] {
    let mut found = media.formats().filter_map(|format| {
        let number = payload_type(format)?;
        let mapped = media.rtpmaps().find(|m| m.payload_type == number);
        let (name, fits) = match &mapped {
            Some(m) => (m.name, m.clock == 8_000 && m.channels.is_none_or(|c| c == b"1")),
            None => (static_name(number)?.as_bytes(), matches!(number, 0 | 8)),
        };
        let codecs = [(&b"PCMU"[..], PlayCodec::Pcmu), (b"PCMA", PlayCodec::Pcma), (b"L16", PlayCodec::L16)];
        let codec = codecs.into_iter().find(|(n, _)| fits && name.eq_ignore_ascii_case(n))?.1;
        Some((number, codec))
    });
    std::array::from_fn(|_| found.next())
}

/// The name of the codec that a line is about: events, comfort noise and redundancy stand aside.
fn main_codec(media: &Media<'_, '_>) -> Vec<u8> {
    let aside = |name: &[u8]| {
        [&b"telephone-event"[..], b"CN", b"red"].iter().any(|other| name.eq_ignore_ascii_case(other))
    };
    for format in media.formats() {
        let Some(number) = payload_type(format) else { continue };
        let mapped = media.rtpmaps().find(|m| m.payload_type == number);
        let mut text = match mapped {
            Some(m) => m.name.to_vec(),
            None => static_name(number).unwrap_or_default().as_bytes().to_vec(),
        };
        if text.is_empty() || aside(&text) {
            continue;
        }
        let clock = mapped.map_or(ClockTable::new().hz(number), |m| m.clock);
        text.extend_from_slice(format!("/{clock}").as_bytes());
        if let Some(channels) = mapped.and_then(|m| m.channels).filter(|c| *c != b"1") {
            text.push(b'/');
            text.extend_from_slice(channels);
        }
        return text;
    }
    Vec::new()
}

/// Video and fax have no packet time; this is 2 × 1,000 + 100 packets a second.
const VIDEO_PACKETS_PER_S: u32 = 2_100;

/// `a=rtcp`; its address counts only when it is the media address or a public one (else it is a NAT's leftover, or
/// nobody's). `9 IN IP4 0.0.0.0` says that there is no RTCP port yet (RFC 8829 §5.2.1): the one that holds without the line.
fn rtcp_address(media: &Media<'_, '_>, rtp: SocketAddr) -> SocketAddr {
    match media.rtcp() {
        Some(rtcp) if rtcp.port != 0 && !(rtcp.port == 9 && rtcp.ip.is_some_and(|ip| !is_unicast(ip))) => {
            let ip = rtcp.ip.filter(|ip| ip.is_ipv4() == rtp.is_ipv4() && is_public(*ip));
            SocketAddr::new(ip.unwrap_or(rtp.ip()), rtcp.port)
        }
        _ => SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)),
    }
}

/// Who may be learnt, by the address of the SDP and the source of its message (PRODUCT §6). The first row that fits counts:
///
/// | SDP's address | source | flag | media goes to | may be learnt |
/// | --- | --- | --- | --- | --- |
/// | our own | any | any | that port of ours | nobody |
/// | any | not said | `symmetric` or none | SDP | any port of the SDP's address with `symmetric`, else nobody |
/// | any | any | `trust-address` | SDP | the same |
/// | any | the same | `SIP-source-address` | SDP | any port of it, the media set |
/// | any | another | `SIP-source-address` | who is learnt | the source, the media set |
/// | public, or of the media set | any | `symmetric` or none | SDP | as in the second row |
/// | private | the same | `symmetric` or none | SDP | as in the second row |
/// | private | private | `symmetric` or none | SDP | the SDP's address, the source, the media set |
/// | private | public | `symmetric` or none | who is learnt | the source, the media set |
///
/// The media set is the trunk's (`media-ips`): an address in it is taken at its word (T-RTP-03).
fn origin(sdp: IpAddr, class: Class, signalling: Signalling<'_>) -> Origin {
    let flags = signalling.flags;
    // Nothing says that protected packets are the peer's: there the port counts as well (T-RTP-05).
    let any_port = flags.symmetric && class != Class::Srtp;
    let at_its_word = || if any_port { Origin::Open(vec![sdp]) } else { Origin::Strict };
    if signalling.own.contains(&sdp) {
        return Origin::Strict;
    }
    let Some(source) = signalling.received_from.filter(|_| !flags.trust_address) else {
        return at_its_word();
    };
    let with_media_set = |first: &[IpAddr]| {
        let mut allowed = first.to_vec();
        for ip in signalling.media_ips {
            if !allowed.contains(ip) {
                allowed.push(*ip);
            }
        }
        allowed
    };
    let differs = source != sdp;
    match (flags.sip_source_address, differs) {
        (true, true) => return Origin::Nat(with_media_set(&[source])),
        (true, false) => return Origin::Open(with_media_set(&[sdp])),
        _ => {}
    }
    if !differs || !is_private(sdp) || signalling.media_ips.contains(&sdp) {
        at_its_word()
    } else if is_private(source) {
        Origin::Open(with_media_set(&[sdp, source]))
    } else {
        Origin::Nat(with_media_set(&[source]))
    }
}

/// T-NG-06: media is never sent to loopback or link-local addresses (unless we live there ourselves), to broadcast, "this
/// network" or multicast addresses, or to one of `forbidden` (our control ports).
pub fn may_send(local: IpAddr, to: SocketAddr, forbidden: &[SocketAddr]) -> bool {
    let ip = to.ip();
    let elsewhere = (is_loopback(ip) && !is_loopback(local)) || (is_link_local(ip) && !is_link_local(local));
    // A mapped address is IPv4 in the clothes of the other family: no socket of ours sends there.
    let mapped = ip.to_canonical() != ip;
    let bad = !is_unicast(ip) || elsewhere || mapped;
    !bad && to.port() != 0 && ip.is_ipv4() == local.is_ipv4() && !forbidden.contains(&to)
}

/// Source policies for RTP and RTCP of a party. `before` stays when nothing is said.
pub fn policies(spoken: &Spoken, epoch: u32, before: [SourcePolicy; 2]) -> [SourcePolicy; 2] {
    match (&spoken.origin, spoken.rtp, spoken.rtcp) {
        // The address of the SDP at its word, any port of it, and only until the first is locked. Nothing says that protected
        // packets are the peer's: there the port counts as well (T-RTP-05).
        (Origin::Strict, Some(rtp), Some(_)) if spoken.asymmetric && spoken.class != Class::Srtp => {
            [SourcePolicy::Learn(LearnPolicy::new([rtp.ip()], epoch).source_only()); 2]
        }
        (Origin::Strict, Some(rtp), Some(rtcp)) => [SourcePolicy::Exact(rtp), SourcePolicy::Exact(rtcp)],
        (Origin::Open(allowed) | Origin::Nat(allowed), Some(_), Some(_)) => {
            [SourcePolicy::Learn(LearnPolicy::new(allowed.iter().copied(), epoch)); 2]
        }
        _ => before,
    }
}

/// How rtcp-mux of one media section is negotiated (RFC 5761 §5.1.1 and the `rtcp-mux` key).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MuxPlan {
    /// The offerer offered it.
    offered: bool,
    /// We offer it on.
    pub sent: bool,
    /// We offer nothing else (`require`).
    pub required: bool,
    /// What the offerer gets whatever the answerer says.
    forced: Option<bool>,
}

impl MuxPlan {
    /// The offerer gets it whatever the answerer says: a browser takes no answer without (RFC 8829 §4.1.1).
    pub fn kept(self, wanted: bool) -> Self {
        Self { forced: self.forced.or(wanted.then_some(true)), ..self }
    }

    /// The plan of an offer: `offered` says that the offerer muxes.
    pub fn offer(offered: bool, flags: RtcpMux) -> Self {
        Self {
            offered,
            sent: (offered || flags.offer || flags.require) && !flags.demux,
            required: flags.require && !flags.demux,
            forced: if flags.reject {
                Some(false)
            } else if flags.demux || flags.accept {
                Some(true)
            } else {
                None
            },
        }
    }

    /// The same for a side that muxes already: it is offered it again, whether the other side does or not. Some take no offer without (RFC
    /// 8829 §4.1.1, policy `require`), and a hold of the other side would end their call.
    pub fn again(self, muxes: bool, flags: RtcpMux) -> Self {
        Self { sent: self.sent || muxes && !flags.demux, ..self }
    }

    /// At the answer: is RTCP muxed (towards the offerer, towards the answerer)?
    pub fn answer(self, answered: bool) -> (bool, bool) {
        let theirs = self.sent && (answered || self.required);
        // `require` is about the other side alone.
        (self.offered && self.forced.unwrap_or(self.sent && answered), theirs)
    }
}

/// One media section of an outgoing SDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutLine {
    /// Our port; 0 = rejected.
    pub port: u16,
    /// Our address as advertised.
    pub ip: IpAddr,
    /// Port for `a=rtcp`; `None` = no such line.
    pub rtcp_port: Option<u16>,
    /// Whether to add `a=rtcp-mux` (RFC 5761).
    pub mux: bool,
    /// The protocol to write in `m=`; `None` keeps the one that is there.
    pub protocol: Option<String>,
    /// What the section is to the relay.
    pub class: Class,
    /// The author said 0.0.0.0.
    pub zero: bool,
    /// Direction with 0.0.0.0 taken into account.
    pub direction: Direction,
    /// Take `a=mid` out: the offer that this answers had none (RFC 5888 §9.1).
    pub drop_mid: bool,
    /// Whole lines of keys of ours, of the SDP or of DTLS, in the place of those of the source.
    pub keys: Vec<String>,
    /// Whole lines of our ICE.
    pub ice: Vec<String>,
    /// We only answer checks of this side.
    pub lite: bool,
    /// What its reader calls the section (RFC 5888 §9.1, RFC 9143 §7.3); `None`: whatever the author says.
    pub mid: Option<Arc<[u8]>>,
    /// What the asker offered, where this is an answer: digests as in [`Spoken::codecs`].
    pub offered: Option<Arc<[u32]>>,
    /// Leave the section out: the offer that this answers had no such line (RFC 3264 §6).
    pub remove: bool,
}

/// What the command wants of the outgoing SDP.
#[derive(Clone, Copy, Debug)]
pub struct OutOptions<'a> {
    /// The list `replace` of the command.
    pub replace: Replace,
    /// The list `flags` of the command.
    pub flags: Flags,
    /// Our mark for loop protection.
    pub instance: &'a str,
    /// The dictionary `codec` of the command.
    pub codec: &'a Codecs,
    /// The dictionary `sdp-attr` of the command, by kind of section.
    pub attributes: &'a [AttributeEdits],
    /// `o=` version to write.
    pub version: Option<u64>,
    /// What the receiver was told first, for `replace`.
    pub names: Option<&'a Names>,
    /// Lines that the SDP does not have and its reader knows of: they are refused (RFC 3264 §6). Each with the section of
    /// the SDP that it stands before.
    pub missing: &'a [(usize, &'a Spoken)],
    /// Write the SDP anew in rtpengine's order ([`super::rendering`]), instead of keeping its bytes.
    pub canonical: bool,
}

/// Names that `replace` holds still in all SDPs to one party, whoever wrote them: those of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// User name of `o=`.
    username: Vec<u8>,
    /// Session id of `o=`.
    session_id: Vec<u8>,
    /// `s=`.
    session: Vec<u8>,
}

impl Names {
    /// Of one SDP; `None` when something is missing or longer than anybody's name.
    pub fn of(sdp: &Sdp<'_>) -> Option<Self> {
        let (origin, session) = (sdp.origin()?, sdp.session_name()?);
        let parts = [origin.username, origin.session_id, session];
        parts.iter().all(|p| p.len() <= 256).then(|| Self {
            username: origin.username.to_vec(),
            session_id: origin.session_id.to_vec(),
            session: session.to_vec(),
        })
    }
}

/// Writes the SDP for the other side.
///
/// Touched: `c=` and the `m=` port and protocol; `a=rtcp` and `a=rtcp-mux` (at the end of a section); ICE, bundle and (on
/// unprotected media) key lines go; `o=` and `s=` by `replace`; what `sdp-attr` names. All else keeps its bytes and its order.
pub fn rewrite(sdp: &Sdp<'_>, lines: &[OutLine], options: OutOptions<'_>) -> Vec<u8> {
    let missing: Vec<Missing<'_>> = options
        .missing
        .iter()
        .map(|(before, m)| {
            (*before, RefusedSection { kind: &m.kind, protocol: &m.protocol, formats: &m.formats })
        })
        .collect();
    if options.canonical {
        return super::rendering::canonical(sdp, lines, options, &missing);
    }
    let keep_zero = |zero: bool| zero && !options.replace.zero_address;
    let session_zero = sdp.connection().is_some_and(|c| c.is_zero());
    let any = Strip { ice: true, rtcp: true, rtcp_mux: true, bundle: true, ..Strip::default() };
    let (origin, name) = session_words(lines, &options);
    let mut session = SessionEdit {
        origin,
        name,
        connection: told_ip(lines)
            .and_then(|ip| told_connection(ip, sdp.connection(), keep_zero(session_zero))),
        // Keys for all sections at once: only the protected ones may keep them.
        strip: Strip { dtls: true, ..any },
        attributes: AttributeChanges::default(),
        add: Vec::new(),
    };
    if options.flags.loop_protect {
        session.add.push(loop_line(options.instance));
    }
    session.add.extend(lite_line(lines));
    session.attributes = by_value(options.attributes, b"", &mut session.add);
    let mut mids = Mids::new(sdp, options.flags.generate_mid);
    let media: Vec<MediaEdit<'_>> = lines
        .iter()
        .zip(sdp.media())
        .map(|(line, said)| {
            let connection = told_connection(line.ip, said.connection(), keep_zero(line.zero));
            let mut edit = media_edit(line, options, any, connection);
            edit.formats = kept_formats(&said, options.codec);
            edit.strip.mid = line.drop_mid;
            edit.remove = line.remove;
            if line.port != 0 {
                edit.add.extend(
                    restored_mid(line, &said).or(mids.number(&said, line)).map(|n| format!("a=mid:{n}")),
                );
            }
            edit.attributes = by_value(options.attributes, said.kind(), &mut edit.add);
            edit
        })
        .collect();
    let mut out = Vec::new();
    sdp.write_with(&session, &media, &missing, &mut out);
    out
}

/// Our address in an SDP: that of the first living line.
fn told_ip(lines: &[OutLine]) -> Option<IpAddr> {
    lines.iter().find(|l| l.port != 0).or(lines.first()).map(|l| l.ip)
}

/// What a `c=` line becomes for a side that is reached at `ip`; `None`: it stays as it was said. The zeros of a hold stay zeros, in
/// the family of who gets them: an IPv4 phone cannot take `IN IP6 ::` (RFC 3264 §8.4, RFC 6157 §3).
fn told_connection(ip: IpAddr, said: Option<Connection>, keep_zero: bool) -> Option<IpAddr> {
    match said {
        Some(said) if keep_zero && said.ip.is_ipv4() == ip.is_ipv4() => None,
        _ if keep_zero => Some(zeros(ip)),
        _ => Some(ip),
    }
}

/// The unspecified address of the family of `ip`.
pub(super) fn zeros(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// What `replace` makes of `o=` and of `s=`.
pub(super) fn session_words<'e>(
    lines: &[OutLine],
    options: &OutOptions<'e>,
) -> (OriginEdit<'e>, Option<&'e [u8]>) {
    let replace = options.replace;
    let held = |wanted: bool, part: fn(&Names) -> &Vec<u8>| {
        options.names.filter(|_| wanted).map(|names| part(names).as_slice())
    };
    let origin = OriginEdit {
        address: told_ip(lines).filter(|_| replace.origin || replace.origin_full),
        username: held(replace.username || replace.origin_full, |n| &n.username),
        session_id: held(replace.origin_full, |n| &n.session_id),
        version: options.version,
    };
    (origin, held(replace.session_name, |n| &n.session))
}

/// The changes of `sdp-attr` for one kind of section; its additions go to `add`.
pub(super) fn by_value<'e>(
    edits: &'e [AttributeEdits],
    kind: &[u8],
    add: &mut Vec<String>,
) -> AttributeChanges<'e> {
    let Some(edit) = edits.iter().find(|e| e.kind == kind) else {
        return AttributeChanges::default();
    };
    let text = |value: &Vec<u8>| Some(format!("a={}", std::str::from_utf8(value).ok()?));
    add.extend(edit.add.iter().filter_map(text));
    AttributeChanges { remove: &edit.remove, substitute: &edit.substitute }
}

/// Gives the sections without an `a=mid` one each (flag `generate-mid`; RFC 5888 §4).
pub(super) struct Mids {
    taken: Option<Vec<Vec<u8>>>,
}

impl Mids {
    pub(super) fn new(sdp: &Sdp<'_>, wanted: bool) -> Self {
        let known = || sdp.media().filter_map(|m| m.attribute(b"mid")?.value.map(<[u8]>::to_vec)).collect();
        Self { taken: wanted.then(known) }
    }

    pub(super) fn number(&mut self, media: &Media<'_, '_>, line: &OutLine) -> Option<String> {
        // An answer names what its offer had named (RFC 5888 §9.1).
        let is_unnamed = media.attribute(b"mid").is_none() && !line.drop_mid;
        let taken = self.taken.as_mut().filter(|_| is_unnamed)?;
        // The place of the section, as the original numbers them, unless somebody else has that name.
        let mut number = media.index().saturating_add(1);
        while taken.iter().any(|t| *t == number.to_string().as_bytes()) {
            number = number.saturating_add(100);
        }
        taken.push(number.to_string().into_bytes());
        Some(number.to_string())
    }
}

fn media_edit<'l>(
    line: &'l OutLine,
    options: OutOptions<'_>,
    strip: Strip,
    connection: Option<IpAddr>,
) -> MediaEdit<'l> {
    if line.port == 0 {
        return MediaEdit { port: Some(0), connection: Some(line.ip), strip, ..MediaEdit::default() };
    }
    let mut add = Vec::new();
    add.extend(rtcp_value(line, &options).map(|value| format!("a=rtcp:{value}")));
    if line.mux {
        add.push("a=rtcp-mux".to_owned());
    }
    let plain = matches!(line.class, Class::Rtp | Class::Dtls) || !line.keys.is_empty();
    add.extend(line.keys.iter().chain(&line.ice).cloned());
    MediaEdit {
        formats: None,
        attributes: AttributeChanges::default(),
        port: Some(line.port),
        connection,
        protocol: line.protocol.as_deref(),
        direction: Some(line.direction).filter(|_| line.zero && !options.flags.original_sendrecv),
        strip: Strip { dtls: plain, crypto: plain, ..strip },
        add,
        remove: false,
    }
}

/// What `a=rtcp` says of a line; `None`: there is no such attribute.
pub(super) fn rtcp_value(line: &OutLine, options: &OutOptions<'_>) -> Option<String> {
    let port = line.rtcp_port.filter(|_| !options.flags.no_rtcp_attribute)?;
    let family = if line.ip.is_ipv4() { "IP4" } else { "IP6" };
    Some(match options.flags.full_rtcp_attribute {
        true => format!("{port} IN {family} {}", line.ip),
        false => port.to_string(),
    })
}

/// The session's line that says that we only answer checks (RFC 8839 §5.3).
pub(super) fn lite_line(lines: &[OutLine]) -> Option<String> {
    lines.iter().any(|l| l.lite).then(|| "a=ice-lite".to_owned())
}

/// The name to give to a section that has none, as [`OutLine::mid`] says: a browser looks for it.
pub(super) fn restored_mid(line: &OutLine, said: &Media<'_, '_>) -> Option<String> {
    let is_wanted = line.class == Class::Dtls && said.attribute(b"mid").is_none();
    let mid = line.mid.as_ref().filter(|_| is_wanted)?;
    std::str::from_utf8(mid).ok().map(str::to_owned)
}

/// The line that marks an SDP as ours (flag `loop-protect`).
pub(super) fn loop_line(instance: &str) -> String {
    format!("a={LOOP_ATTRIBUTE}:{instance}")
}

/// Session attribute that marks SDP which went through a relay, as the original writes it.
const LOOP_ATTRIBUTE: &str = "rtpengine";

/// True when the SDP carries our own mark.
pub fn is_loop(sdp: &Sdp<'_>, instance: &str) -> bool {
    sdp.attributes().any(|a| a.name == LOOP_ATTRIBUTE.as_bytes() && a.value == Some(instance.as_bytes()))
}
