//! What must not be read by everybody who may see a picture: passwords' digests, keys of media, and the middle of telephone numbers.
//!
//! Nothing changes its length, so that Content-Length and every offset stay true. It works on lines and needs no whole message, so a
//! message that cannot be parsed is masked too.

use memchr_free::find;

/// How much is masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    /// Credentials and keys of media.
    Secrets,
    /// These, and all but the first four and the last two digits of numbers.
    #[default]
    Numbers,
}

/// Masks a message in place.
pub fn mask(message: &mut [u8], how: Mask) {
    let head = find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 2);
    let Some((head, body)) = message.split_at_mut_checked(head) else { return };
    let mut first = true;
    let mut secret = false;
    for line in head.split_inclusive_mut(|b| *b == b'\n') {
        // A folded line goes on with what is before it (RFC 3261 §7.3.1).
        let folded = line.first().is_some_and(|b| matches!(b, b' ' | b'\t'));
        if first {
            first = false;
            if how == Mask::Numbers {
                numbers(line);
            }
            continue;
        }
        let colon = line.iter().position(|b| *b == b':').unwrap_or(0);
        let (name, value) = line.split_at_mut(if folded { 0 } else { (colon + 1).min(line.len()) });
        let name = name.strip_suffix(b":").unwrap_or(name).trim_ascii();
        secret = if folded { secret } else { is_one_of(name, SECRET) };
        if secret {
            stars(value);
        } else if how == Mask::Numbers {
            match is_one_of(name, SIGNED) {
                true => stars(value),
                false => numbers(value),
            }
        }
    }
    for line in body.split_inclusive_mut(|b| *b == b'\n') {
        if line.starts_with(b"a=crypto:") {
            if let Some(at) = find(line, b"inline:") {
                stars(line.get_mut(at + 7..).unwrap_or_default());
            }
        } else if let Some(prefix) = KEYS.iter().find(|k| line.starts_with(k)) {
            stars(line.get_mut(prefix.len()..).unwrap_or_default());
        }
    }
}

/// Headers whose whole value is a secret.
const SECRET: &[&[u8]] = &[b"authorization", b"proxy-authorization"];
/// Headers that hold numbers in a form that is not read here (RFC 8224).
const SIGNED: &[&[u8]] = &[b"identity", b"y"];
/// Lines of SDP with keys (RFC 4566 §5.12, RFC 3830, RFC 8839).
const KEYS: &[&[u8]] = &[b"k=", b"a=key-mgmt:", b"a=ice-pwd:"];

fn is_one_of(name: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|n| name.eq_ignore_ascii_case(n))
}

/// Everything but white space and line ends.
fn stars(text: &mut [u8]) {
    text.iter_mut().filter(|b| !b.is_ascii_whitespace()).for_each(|b| *b = b'*');
}

/// Runs of seven digits and more in names and user parts: after `sip:`, `sips:`, `tel:` up to `@` (`;`, `>`, a blank), and in a display name.
/// Hosts, ports, tags, branches and Call-IDs stay: who reads a picture follows them.
fn numbers(line: &mut [u8]) {
    let mut at = 0;
    if let Some(open) = line.iter().position(|b| *b == b'<') {
        runs(line.get_mut(..open).unwrap_or_default());
    }
    while let Some((begin, tel)) = next_uri(line, at) {
        let rest = line.get(begin..).unwrap_or_default();
        let end = rest.iter().position(|b| b";>@? \r\n,".contains(b)).unwrap_or(rest.len());
        // A user part with parameters: `+1415;npdi@host`.
        let whole = rest.iter().position(|b| b">@ \r\n,".contains(b)).unwrap_or(rest.len());
        let user = if tel || rest.get(whole) != Some(&b'@') { end } else { whole };
        let named = tel || rest.get(user) == Some(&b'@');
        if named {
            runs(line.get_mut(begin..begin + user).unwrap_or_default());
        }
        at = begin + user.max(1);
    }
}

/// Where the next URI's user part begins, and whether it is a `tel:` one.
fn next_uri(line: &[u8], from: usize) -> Option<(usize, bool)> {
    let rest = line.get(from..)?;
    let of = |scheme: &[u8]| {
        rest.windows(scheme.len()).position(|w| w.eq_ignore_ascii_case(scheme)).map(|at| at + scheme.len())
    };
    let found = [(of(b"sip:"), false), (of(b"sips:"), false), (of(b"tel:"), true)];
    let first = found.into_iter().filter_map(|(at, tel)| Some((at?, tel))).min();
    first.map(|(at, tel)| (from + at, tel))
}

/// Of each run of seven digits and more, all but the first four and the last two.
fn runs(text: &mut [u8]) {
    let mut begin = 0;
    while begin < text.len() {
        let rest = text.get(begin..).unwrap_or_default();
        // Visual separators do not end a number.
        let length = rest.iter().take_while(|b| b.is_ascii_digit() || b"-.()".contains(b)).count();
        let digits = rest.iter().take(length).filter(|b| b.is_ascii_digit()).count();
        if digits >= 7 {
            let mut seen = 0;
            for b in text.iter_mut().skip(begin).take(length).filter(|b| b.is_ascii_digit()) {
                seen += 1;
                if seen > 4 && seen <= digits - 2 {
                    *b = b'*';
                }
            }
        }
        begin += length.max(1);
    }
}

/// A search for a few bytes, for texts of a few hundred.
mod memchr_free {
    /// The place in the text at which `wanted` begins first.
    pub(super) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
        text.windows(wanted.len()).position(|w| w == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str, how: Mask) -> String {
        let mut bytes = text.as_bytes().to_vec();
        mask(&mut bytes, how);
        assert_eq!(bytes.len(), text.len(), "nothing changes its length");
        String::from_utf8(bytes).unwrap()
    }

    const INVITE: &str = "INVITE sip:+14155550123@198.51.100.1:5060;user=phone SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK1234567890\r\n\
        From: \"Ana 2025550100\" <sip:2025550100@192.0.2.10>;tag=1234567890\r\nTo: <sips:+1-415-555-0123@x>\r\n\
        P-Asserted-Identity: <tel:+12025550100>, <sip:12025550100@y>\r\n\
        Call-ID: 12025550100@192.0.2.10\r\nCSeq: 1 INVITE\r\n\
        Proxy-Authorization: Digest username=\"pbx\",\r\n response=\"0123456789abcdef\"\r\nIdentity: eyJhbGci;info=x\r\n\
        Contact: <sip:192.0.2.10:5060>\r\nContent-Length: 90\r\n\r\n\
        v=0\r\no=- 1234567890 1 IN IP4 192.0.2.10\r\na=crypto:1 AES_CM_128 inline:SECRETKEY|2^20\r\na=ice-pwd:hush\r\n";

    #[test]
    fn secrets_and_the_middle_of_numbers_are_masked_and_what_a_reader_follows_is_not() {
        let text = masked(INVITE, Mask::Numbers);
        for there in [
            "INVITE sip:+1415*****23@198.51.100.1:5060;user=phone SIP/2.0\r\n",
            "branch=z9hG4bK1234567890",
            "\"Ana 2025****00\" <sip:2025****00@192.0.2.10>;tag=1234567890",
            "<sips:+1-415-***-**23@x>",
            "<tel:+1202*****00>, <sip:1202*****00@y>",
            "Call-ID: 12025550100@192.0.2.10",
            "Contact: <sip:192.0.2.10:5060>",
            "o=- 1234567890 1",
            "inline:**************\r\na=ice-pwd:****",
        ] {
            assert!(text.contains(there), "{there}\n{text}");
        }
        for gone in ["0123456789abcdef", "eyJhbGci", "SECRETKEY", "hush", "4155550123", "username"] {
            assert!(!text.contains(gone), "{gone}\n{text}");
        }
    }

    #[test]
    fn with_secrets_alone_numbers_stay() {
        let text = masked(INVITE, Mask::Secrets);
        assert!(text.contains("sip:+14155550123@") && text.contains("Identity: eyJhbGci"), "{text}");
        for gone in ["0123456789abcdef", "SECRETKEY", "hush"] {
            assert!(!text.contains(gone), "{gone}\n{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_masked_without_a_panic(bytes: Vec<u8>, cut in 0_usize..900) {
            let mut text = INVITE.as_bytes().to_vec();
            text.splice(cut.min(text.len()).., bytes);
            let length = text.len();
            mask(&mut text, Mask::Numbers);
            proptest::prop_assert_eq!(text.len(), length);
        }
    }
}
