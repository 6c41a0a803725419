//! Diversion (RFC 5806) and History-Info (RFC 7044), one written as the other (RFC 7544).
//!
//! Values are a peer's words: what cannot be read as an address is left out, embedded headers of a URI are not carried over (T-SIP-16), and
//! no line end gets into what is written. Absent on purpose: whose words are believed, which is a matter of the peer.

use crate::header::NameAddr;
use crate::params::Params;
use crate::uri::Uri;

/// Most diversions that are carried over; further ones are left out, the oldest first.
const MOST: usize = 8;

/// History-Info that says what Diversion values said (RFC 7544 §6), oldest first; `target` is where the call goes now. `None`: no value is an
/// address.
pub fn history_of_diversions<'a>(
    values: impl Iterator<Item = NameAddr<'a>>,
    target: &[u8],
) -> Option<Vec<u8>> {
    // The top value is the latest diversion.
    let mut diversions: Vec<NameAddr<'a>> = values.filter(|v| is_plain(v.uri)).take(MOST).collect();
    diversions.reverse();
    let mut out = Vec::new();
    let mut index = b"1".to_vec();
    let mut reason = None;
    for value in &diversions {
        let private = value.params.value(b"privacy").is_some_and(|p| !p.eq_ignore_ascii_case(b"off"));
        entry(value.uri, reason, private, &index, &mut out);
        reason = Some(cause_of(value.params.value(b"reason").unwrap_or(b"unknown")));
        index.extend_from_slice(b".1");
    }
    reason?;
    if is_plain(target) {
        entry(target, reason, false, &index, &mut out);
    }
    Some(out)
}

/// Diversion values that say what History-Info said (RFC 7544 §7): one for each entry that another with a cause follows, the latest first.
/// `all_private`: the message asks for privacy of its history as a whole (RFC 7044 §10.1.2). `None`: it tells of no diversion.
pub fn diversions_of_history<'a>(
    values: impl Iterator<Item = NameAddr<'a>>,
    all_private: bool,
) -> Option<Vec<u8>> {
    let entries: Vec<NameAddr<'a>> = values.filter(|v| Uri::parse(v.uri).is_ok()).collect();
    let mut out: Vec<u8> = Vec::new();
    let pairs = entries.iter().zip(entries.iter().skip(1)).rev();
    let diverted = pairs.filter_map(|(from, to)| {
        let cause = Uri::parse(to.uri).ok()?.params.value(b"cause")?;
        Some((from, cause))
    });
    for (from, cause) in diverted.take(MOST) {
        let (uri, _) = cut(from.uri);
        if !is_plain(uri) {
            continue;
        }
        let private = all_private || is_private_entry(from.uri);
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        let privacy: &[u8] = if private { b"full" } else { b"off" };
        let parts: [&[u8]; 7] =
            [b"<", &without_cause(uri), b">;reason=", reason_of(cause), b";counter=1;privacy=", privacy, b""];
        parts.iter().for_each(|p| out.extend_from_slice(p));
    }
    (!out.is_empty()).then_some(out)
}

/// Whether an entry of History-Info asks for privacy by an embedded header (RFC 7044 §10.1.2).
pub fn is_private_entry(uri: &[u8]) -> bool {
    let (_, headers) = cut(uri);
    headers.to_ascii_lowercase().windows(8).any(|w| w == b"privacy=")
}

fn entry(uri: &[u8], cause: Option<&[u8]>, private: bool, index: &[u8], out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.extend_from_slice(b", ");
    }
    let (uri, _) = cut(uri);
    out.push(b'<');
    out.extend_from_slice(&without_cause(uri));
    if let Some(cause) = cause {
        out.extend_from_slice(b";cause=");
        out.extend_from_slice(cause);
    }
    if private {
        out.extend_from_slice(b"?Privacy=history");
    }
    out.extend_from_slice(b">;index=");
    out.extend_from_slice(index);
}

/// A URI and its embedded headers.
fn cut(uri: &[u8]) -> (&[u8], &[u8]) {
    match uri.iter().position(|b| *b == b'?') {
        Some(at) => (uri.get(..at).unwrap_or(b""), uri.get(at..).unwrap_or(b"")),
        None => (uri, b""),
    }
}

/// A URI that can stand between brackets as it is.
fn is_plain(uri: &[u8]) -> bool {
    Uri::parse(uri).is_ok() && !uri.iter().any(|b| matches!(b, b'\r' | b'\n' | b'<' | b'>' | b'"'))
}

/// A URI without the parameter that says why it was reached (RFC 4458).
fn without_cause(uri: &[u8]) -> Vec<u8> {
    let Some(params) = Uri::parse(uri).ok().map(|u| u.params).filter(|p: &Params<'_>| p.has(b"cause")) else {
        return uri.to_vec();
    };
    let head = uri.len().saturating_sub(params.0.len());
    let mut out = uri.get(..head).unwrap_or(b"").to_vec();
    for param in params.0.split(|b| *b == b';').filter(|p| !p.is_empty()) {
        let name = param.split(|b| *b == b'=').next().unwrap_or(b"");
        if !name.trim_ascii().eq_ignore_ascii_case(b"cause") {
            out.push(b';');
            out.extend_from_slice(param);
        }
    }
    out
}

/// RFC 7544 §3.4, table of reasons.
const REASONS: [(&[u8], &[u8]); 6] = [
    (b"unconditional", b"302"),
    (b"user-busy", b"486"),
    (b"no-answer", b"408"),
    (b"deflection", b"480"),
    (b"unavailable", b"503"),
    (b"unknown", b"404"),
];

fn cause_of(reason: &[u8]) -> &'static [u8] {
    let reason = reason.strip_prefix(b"\"").and_then(|r| r.strip_suffix(b"\"")).unwrap_or(reason);
    REASONS.iter().find(|(word, _)| word.eq_ignore_ascii_case(reason)).map_or(b"404", |(_, cause)| cause)
}

fn reason_of(cause: &[u8]) -> &'static [u8] {
    // RFC 4458 has 487 for a deflection while it rings.
    let cause: &[u8] = if cause == b"487" { b"480" } else { cause };
    REASONS.iter().find(|(_, number)| *number == cause).map_or(b"unknown", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Values;

    fn addresses(text: &str) -> impl Iterator<Item = NameAddr<'_>> {
        Values::new(text.as_bytes()).filter_map(|v| NameAddr::parse(v).ok())
    }

    fn history(text: &str) -> Option<String> {
        history_of_diversions(addresses(text), b"sip:carol@c").map(|v| String::from_utf8(v).unwrap())
    }

    fn diversions(text: &str) -> Option<String> {
        diversions_of_history(addresses(text), false).map(|v| String::from_utf8(v).unwrap())
    }

    #[test]
    fn rfc_7544_6_diversion_becomes_history_info_the_oldest_first() {
        assert_eq!(
            history("<sip:bob@b>;reason=user-busy;privacy=off, \"A\" <sip:alice@a;user=phone>;reason=unconditional;privacy=full")
                .unwrap(),
            "<sip:alice@a;user=phone?Privacy=history>;index=1, <sip:bob@b;cause=302>;index=1.1, \
             <sip:carol@c;cause=486>;index=1.1.1"
        );
        assert_eq!(
            history("<tel:+12025550100>;reason=\"away\"").unwrap(),
            "<tel:+12025550100>;index=1, <sip:carol@c;cause=404>;index=1.1"
        );
        assert_eq!(history(""), None);
        assert_eq!(history("junk"), None);
    }

    #[test]
    fn rfc_7544_7_history_info_becomes_diversion_the_latest_first() {
        assert_eq!(
            diversions(
                "<sip:alice@a?Privacy=history>;index=1, <sip:bob@b;cause=302>;index=1.1, <sip:carol@c;cause=486>;index=1.1.1"
            )
            .unwrap(),
            "<sip:bob@b>;reason=user-busy;counter=1;privacy=off, <sip:alice@a>;reason=unconditional;counter=1;privacy=full"
        );
        // Retargeted without a diversion.
        assert_eq!(diversions("<sip:alice@a>;index=1, <sip:alice@192.0.2.1>;index=1.1"), None);
        assert_eq!(diversions("<sip:alice@a;cause=302>;index=1"), None, "whom it reached first is not told");
    }

    #[test]
    fn there_and_back_says_the_same() {
        for reason in ["unconditional", "user-busy", "no-answer", "deflection", "unavailable", "unknown"] {
            let first = format!("<sip:bob@b;user=phone>;reason={reason};counter=1;privacy=off");
            assert_eq!(diversions(&history(&first).unwrap()).unwrap(), first);
        }
    }

    #[test]
    fn t_sip_16_embedded_headers_are_not_carried_over_and_the_list_ends() {
        let got = history("<sip:bob@b?Route=%3Csip:evil%3E>;reason=user-busy").unwrap();
        assert!(!got.contains("Route"), "{got}");
        let got =
            diversions("<sip:bob@b?Route=%3Csip:evil%3E>;index=1, <sip:c@c;cause=302>;index=1.1").unwrap();
        assert_eq!(got, "<sip:bob@b>;reason=unconditional;counter=1;privacy=off");
        let many = vec!["<sip:x@b>;reason=user-busy"; 50].join(", ");
        assert_eq!(history(&many).unwrap().matches("index=").count(), MOST + 1);
        let many = vec!["<sip:x@b;cause=302>;index=1"; 50].join(", ");
        assert_eq!(diversions(&many).unwrap().matches("reason=").count(), MOST);
    }
}
