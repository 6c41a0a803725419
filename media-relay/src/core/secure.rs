//! What an SDP says of ICE and of DTLS, and what we say of them (RFC 8839, RFC 8122, RFC 5763).
//!
//! Pure: lines in, values out, and back. What a section does not say for itself holds from the session. Candidates that we
//! can do nothing with (TCP, names of mDNS, another family) are passed over.

use std::net::{IpAddr, SocketAddr};

use warp_media::ice::{Candidate, Credentials};
use warp_media::keying::Fingerprint;
use warp_sdp::Media;

/// Candidates of one component that are kept.
const CANDIDATES: usize = 16;
/// Fingerprints of one section that are kept.
const FINGERPRINTS: usize = 4;
/// The longest fragment or password (RFC 8839 §5.4).
const WORD: usize = 256;
/// Type preference of a host candidate (RFC 8445 §5.1.2.2), and the local preference of the only one.
const HOST: u32 = 126 << 24 | 65_535 << 8;

/// What one side says of ICE in one section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceSaid {
    /// Its user fragment and password.
    pub credentials: Credentials,
    /// Its candidates for RTP, and for RTCP beside it.
    pub candidates: [Vec<Candidate>; 2],
    /// It only answers checks.
    pub lite: bool,
    /// More candidates may come (RFC 8838).
    pub trickle: bool,
}

/// Who begins the handshake (RFC 4145 §4, RFC 5763 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The author of the line does.
    Active,
    /// The reader of the line does.
    Passive,
    /// The answerer says who.
    ActPass,
}

/// What one side says of DTLS in one section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DtlsSaid {
    /// Who begins the handshake.
    pub setup: Setup,
    /// Digests of its certificate.
    pub fingerprints: Vec<Fingerprint>,
}

/// The value of an attribute of the section, else of the session.
fn inherited<'a>(media: &Media<'_, 'a>, name: &[u8]) -> Option<&'a [u8]> {
    let own = media.attribute(name);
    own.or_else(|| media.session_attributes().find(|a| a.name == name))?.value
}

fn word(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let fits = (1..=WORD).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// What a section says of ICE. `None`: its author does not speak it.
pub fn ice(media: &Media<'_, '_>) -> Option<IceSaid> {
    let ufrag = word(inherited(media, b"ice-ufrag")?)?;
    let password = word(inherited(media, b"ice-pwd")?)?;
    let mut candidates: [Vec<Candidate>; 2] = Default::default();
    for attribute in media.attributes().filter(|a| a.name == b"candidate") {
        let Some((component, candidate)) = attribute.value.and_then(candidate) else { continue };
        if let Some(list) = candidates.get_mut(component)
            && list.len() < CANDIDATES
        {
            list.push(candidate);
        }
    }
    let lite = media.session_attributes().any(|a| a.name == b"ice-lite");
    let options = inherited(media, b"ice-options").unwrap_or_default();
    let trickle = options.split(|b| *b == b' ').any(|o| o == b"trickle");
    Some(IceSaid { credentials: Credentials { ufrag, password }, candidates, lite, trickle })
}

/// `foundation component transport priority address port typ …` (RFC 8839 §5.1). The component from 0.
fn candidate(value: &[u8]) -> Option<(usize, Candidate)> {
    let mut words = std::str::from_utf8(value).ok()?.split_ascii_whitespace();
    let _foundation = words.next()?;
    let component: usize = words.next()?.parse().ok()?;
    let is_udp = words.next()?.eq_ignore_ascii_case("udp");
    let priority: u32 = words.next()?.parse().ok()?;
    let ip: IpAddr = words.next()?.parse().ok()?;
    let port: u16 = words.next()?.parse().ok().filter(|port| *port != 0)?;
    let is_typed = words.next() == Some("typ");
    let component = component.checked_sub(1).filter(|c| *c < 2 && is_udp && is_typed)?;
    Some((component, Candidate { address: SocketAddr::new(ip, port), priority }))
}

/// What a section says of DTLS. `None`: it names no certificate that we could check.
pub fn dtls(media: &Media<'_, '_>) -> Option<DtlsSaid> {
    let own = |name: &'static [u8]| media.attributes().filter(move |a| a.name == name);
    let mut fingerprints: Vec<Fingerprint> =
        own(b"fingerprint").filter_map(|a| Fingerprint::parse(a.value?)).take(FINGERPRINTS).collect();
    if own(b"fingerprint").next().is_none() {
        let session = media.session_attributes().filter(|a| a.name == b"fingerprint");
        fingerprints.extend(session.filter_map(|a| Fingerprint::parse(a.value?)).take(FINGERPRINTS));
    }
    let setup = match inherited(media, b"setup") {
        Some(b"active") => Setup::Active,
        Some(b"passive") => Setup::Passive,
        _ => Setup::ActPass,
    };
    (!fingerprints.is_empty()).then_some(DtlsSaid { setup, fingerprints })
}

/// Priority of our candidate of a component, from 0.
pub fn priority(component: u32) -> u32 {
    HOST | 256u32.saturating_sub(component.saturating_add(1))
}

/// Our lines of ICE: `ports` are those of RTP and, unless it is muxed, of RTCP.
pub fn ice_lines(ours: &Credentials, ip: IpAddr, ports: &[u16], trickle: bool) -> Vec<String> {
    let mut lines = vec![format!("a=ice-ufrag:{}", ours.ufrag), format!("a=ice-pwd:{}", ours.password)];
    if trickle {
        lines.push("a=ice-options:trickle".to_owned());
    }
    for (component, port) in (0u32..).zip(ports) {
        let (number, priority) = (component.saturating_add(1), priority(component));
        lines.push(format!("a=candidate:1 {number} UDP {priority} {ip} {port} typ host"));
    }
    if trickle {
        lines.push("a=end-of-candidates".to_owned());
    }
    lines
}

/// Our lines of DTLS.
pub fn dtls_lines(setup: Setup, fingerprint: &Fingerprint) -> Vec<String> {
    let setup = match setup {
        Setup::Active => "active",
        Setup::Passive => "passive",
        Setup::ActPass => "actpass",
    };
    vec![format!("a=setup:{setup}"), format!("a=fingerprint:{fingerprint}")]
}

#[cfg(test)]
mod tests {
    use warp_sdp::Sdp;

    use super::*;

    fn sdp(session: &str, media: &str) -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n{session}m=audio 5000 UDP/TLS/RTP/SAVPF 0\r\n{media}"
        )
    }

    #[test]
    fn a_section_says_it_itself_or_its_session_does() {
        let print = format!("sha-256 {}", ["0A"; 32].join(":"));
        let lines = format!(
            "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:{print}\r\na=setup:active\r\na=ice-options:trickle renomination\r\n"
        );
        for (session, media) in [(lines.as_str(), ""), ("", lines.as_str())] {
            let text = sdp(session, media);
            let parsed = Sdp::parse(text.as_bytes()).unwrap();
            let section = parsed.media().next().unwrap();
            let said = ice(&section).unwrap();
            assert_eq!((said.credentials.ufrag.as_str(), said.trickle, said.lite), ("abcd", true, false));
            let said = dtls(&section).unwrap();
            assert_eq!((said.setup, said.fingerprints[0].to_string()), (Setup::Active, print.clone()));
        }
        // A section's own word comes first.
        let text = sdp(
            "a=setup:active\r\na=ice-lite\r\na=ice-ufrag:x\r\na=ice-pwd:y\r\n",
            &format!("a=setup:passive\r\na=fingerprint:{print}\r\n"),
        );
        let parsed = Sdp::parse(text.as_bytes()).unwrap();
        let section = parsed.media().next().unwrap();
        assert_eq!((dtls(&section).unwrap().setup, ice(&section).unwrap().lite), (Setup::Passive, true));
    }

    #[test]
    fn what_cannot_be_used_is_passed_over() {
        let media = "a=ice-ufrag:abcd\r\na=ice-pwd:p\r\na=candidate:1 1 udp 9 192.0.2.7 5000 typ host generation 0\r\n\
            a=candidate:2 1 tcp 9 192.0.2.7 9 typ host tcptype active\r\na=candidate:3 1 udp 9 f00.local 5000 typ host\r\n\
            a=candidate:4 2 UDP 8 2001:db8::7 5001 typ srflx raddr 0.0.0.0 rport 0\r\na=candidate:5 3 udp 9 192.0.2.7 5000 typ host\r\n\
            a=candidate:6 1 udp 9 192.0.2.7 0 typ host\r\na=candidate:7 1 udp x 192.0.2.7 1 typ host\r\n";
        let text = sdp("", media);
        let parsed = Sdp::parse(text.as_bytes()).unwrap();
        let said = ice(&parsed.media().next().unwrap()).unwrap();
        let addresses =
            said.candidates.each_ref().map(|c| c.iter().map(|c| c.address.to_string()).collect::<Vec<_>>());
        assert_eq!(addresses, [vec!["192.0.2.7:5000".to_owned()], vec!["[2001:db8::7]:5001".to_owned()]]);
        for bad in ["md5 AA:BB", "sha-256 AA", "sha-256", ""] {
            let text = sdp("", &format!("a=fingerprint:{bad}\r\na=setup:actpass\r\n"));
            let parsed = Sdp::parse(text.as_bytes()).unwrap();
            assert_eq!(dtls(&parsed.media().next().unwrap()), None, "{bad}");
        }
        let many: String = (0..99)
            .map(|n| format!("a=candidate:1 1 udp {n} 192.0.2.7 {} typ host\r\n", 5_000 + n))
            .collect();
        let text = sdp("a=ice-ufrag:a\r\na=ice-pwd:b\r\n", &many);
        let parsed = Sdp::parse(text.as_bytes()).unwrap();
        assert_eq!(ice(&parsed.media().next().unwrap()).unwrap().candidates[0].len(), CANDIDATES);
    }
}
