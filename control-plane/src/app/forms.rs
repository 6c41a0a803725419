//! Forms of texts that come from outside: each is a check and, beside it, the pattern that is published for it. Every text of a
//! pattern passes its check (a test makes such texts); a check that takes more than its pattern says so.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use warp_model::E164;

/// Hexadecimal digit, group of an IPv6 address, part of an IPv4 one.
const X: &str = "[0-9a-fA-F]";
const GROUP: &str = "[0-9a-fA-F]{1,4}";
const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
/// The first octet of a host: 1 to 223.
const FIRST_OCTET: &str = "(22[0-3]|2[01][0-9]|1[0-9]{2}|[1-9][0-9]?)";
const PORT: &str = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
/// What people write between digits.
const GAP: &str = "[ .()/-]*";
/// What an id has behind its prefix: 26 digits of Crockford's alphabet, the first of three bits.
const ID_DIGITS: &str = "[0-7][0-9a-hjkmnp-tv-z]{25}";
/// A text without any control character.
pub const PLAIN: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
/// At least one character that can be seen, no control characters.
pub const VISIBLE: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f\u00ad\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0][^\x00-\x1f\x7f-\x9f]*$";
/// An amount of an input: at most nine places, less than nine billion units.
pub const AMOUNT: &str = r"^([0-9]{1,9}|[1-8][0-9]{9})(\.[0-9]{1,9})?$";

/// A rule of a header (`warp_policy::directory::HeaderRule`).
pub const HEADER_RULE: &str =
    r"^(remove [A-Za-z0-9-]{1,40}|(add|set) [A-Za-z0-9-]{1,40}: [!-~]([ -~]{0,198}[!-~])?)$";
/// The name of a codec.
pub const CODEC: &str = r"^[A-Za-z0-9_.-]{1,24}(/[1-9][0-9]{3,5})?$";

/// Whether a text is the name of a codec as [`CODEC`] says.
pub fn is_codec(text: &str) -> bool {
    let (name, clock) = text.split_once('/').unwrap_or((text, "8000"));
    (1..=24).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && (4..=6).contains(&clock.len())
        && clock.bytes().all(|b| b.is_ascii_digit())
        && !clock.starts_with('0')
}

/// A character that nobody sees: a name of such characters only is no name.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}')
}

/// Whether a text has a character that can be seen ([`VISIBLE`], but for control characters).
pub fn is_visible(text: &str) -> bool {
    !text.chars().all(is_blank)
}

/// Whether an amount's text is as [`AMOUNT`] says.
pub fn is_amount(text: &str) -> bool {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str, most| (1..=most).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    digits(places, 9) && (digits(whole, 9) || (digits(whole, 10) && !whole.starts_with(['0', '9'])))
}

/// An address that one host can have and that calls can come from or go to. `0.0.0.0/8`, multicast, `240.0.0.0/4` with the
/// broadcast address and what of IPv6 begins with sixteen zero bits, but for loopback, are none: there stand the forms of IPv4
/// addresses, which would never be equal to what a socket says.
pub fn is_a_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => warp_model::net::is_unicast(ip),
        IpAddr::V6(a) => {
            a == Ipv6Addr::LOCALHOST || (a.segments()[0] != 0 && warp_model::net::is_unicast(ip))
        }
    }
}

/// The address of one host; without a zone, without IPv4 inside IPv6, and loopback as `::1`.
pub fn host(text: &str) -> Option<IpAddr> {
    let ip = text.parse().ok().filter(|ip| is_a_host(*ip))?;
    let usual = match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(a) => !text.contains('.') && (a != Ipv6Addr::LOCALHOST || text == "::1"),
    };
    usual.then_some(ip)
}

/// The form of [`host`].
pub fn host_pattern() -> String {
    format!("^({}|{})$", v4_host(), v6_host())
}

/// Whether a text is the address of one host that other networks can reach: no link-local one.
pub fn far_host(text: &str) -> Option<IpAddr> {
    host(text).filter(|ip| !warp_model::net::is_link_local(*ip))
}

/// The form of [`far_host`]: that of [`host`] without `169.254.0.0/16` and `fe80::/10`.
pub fn far_host_pattern() -> String {
    let first = "(22[0-3]|2[01][0-9]|1[0-57-9][0-9]|16[0-8]|[1-9][0-9]?)";
    let second = "(25[0-35]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let v4 = format!(r"({first}\.{OCTET}|169\.{second})(\.{OCTET}){{2}}");
    format!("^({v4}|{})$", v6_of(&v6_far_first()))
}

/// The first group of [`v6_first`], and not `fe80` to `febf`.
fn v6_far_first() -> String {
    format!(
        "(0{{0,3}}[1-9a-fA-F]|0{{0,2}}[1-9a-fA-F]{X}|0?[1-9a-fA-F]{X}{{2}}|[1-9a-eA-E]{X}{{3}}|[fF]([0-9a-dA-D]{X}|[eE][0-7c-fC-F]){X})"
    )
}

/// Texts of visible ASCII, blanks excepted: names and passwords of SMPP.
pub fn is_graphic(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

/// Texts of ASCII that can be printed.
pub fn is_printable(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~'))
}

/// The form of [`is_graphic`].
pub const GRAPHIC: &str = "^[!-~]*$";
/// The form of [`is_printable`].
pub const PRINTABLE: &str = "^[ -~]*$";
/// The form of [`is_printable`] with something that can be seen in it.
pub const PRINTABLE_VISIBLE: &str = "^ *[!-~][ -~]*$";
/// A text of several lines: of the control characters tabs, line feeds, form feeds and carriage returns only.
pub const LINES: &str = r"^[^\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]*$";

/// Whether a text is of the form [`LINES`].
pub fn is_lines(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\u{c}' | '\r'))
}

fn v4_host() -> String {
    format!(r"{FIRST_OCTET}(\.{OCTET}){{3}}")
}

/// The first group is neither zero nor `ff00` to `ffff`; `::` stands for at least one group.
fn v6_first() -> String {
    format!(
        "(0{{0,3}}[1-9a-fA-F]|0{{0,2}}[1-9a-fA-F]{X}|0?[1-9a-fA-F]{X}{{2}}|[1-9a-eA-E]{X}{{3}}|[fF][0-9a-eA-E]{X}{{2}})"
    )
}

fn v6_host() -> String {
    v6_of(&v6_first())
}

/// Addresses that begin with this group, and loopback.
fn v6_of(first: &str) -> String {
    let rest = |before: usize| {
        let after = 5_usize.saturating_sub(before);
        format!("(:{GROUP}){{{before}}}::({GROUP}(:{GROUP}){{0,{after}}})?")
    };
    let short: Vec<String> = (0..6).map(rest).collect();
    format!("({first}((:{GROUP}){{7}}|{}|(:{GROUP}){{6}}::)|::1)", short.join("|"))
}

/// Canonical text of an address or network for an `inet` column: IPv4 /24 to /32, IPv6 /64 to /128, host bits zero.
pub fn network(text: &str) -> Option<String> {
    let (address, length) = match text.split_once('/') {
        Some((a, l)) => (a, Some(l.parse::<u32>().ok().filter(|_| !l.starts_with(['0', '+']))?)),
        None => (text, None),
    };
    let ip = host(address)?;
    let (bits, shortest, value) = match ip {
        IpAddr::V4(a) => (32, 24, u128::from(a.to_bits())),
        IpAddr::V6(a) => (128, 64, a.to_bits()),
    };
    let length = length.unwrap_or(bits);
    let host_bits = bits.checked_sub(length).filter(|_| length >= shortest)?;
    let mask = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |m| m.saturating_sub(1));
    (value & mask == 0).then(|| format!("{ip}/{length}"))
}

/// The form of [`network`]. An IPv6 network is one of at most four groups and `::`; the check takes others too, when their host
/// bits are zero, which a pattern cannot say.
pub fn network_pattern() -> String {
    let steps = |step: usize| (0..256).step_by(step).map(|n| n.to_string()).collect::<Vec<_>>().join("|");
    let last: Vec<String> =
        (1..=8).map(|bits| format!("({})/{}", steps(1 << bits), 32_u32.saturating_sub(bits))).collect();
    let v4 = format!(r"{FIRST_OCTET}(\.{OCTET}){{2}}\.({OCTET}(/32)?|{})", last.join("|"));
    let v6 = format!(
        "{}(/128)?|{}(:{GROUP}){{0,3}}::/(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])",
        v6_host(),
        v6_first()
    );
    format!("^({v4}|{v6})$")
}

/// Address and port of one host: `192.0.2.1:5060`, `[2001:db8::1]:5060`.
pub fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|n| *n != 0 && !port.starts_with(['0', '+']))?;
    let inner = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    let ip = host(inner.unwrap_or(address))?;
    (ip.is_ipv6() == inner.is_some()).then(|| SocketAddr::new(ip, port))
}

/// The form of [`socket`].
pub fn socket_pattern() -> String {
    format!(r"^({}|\[{}\]):{PORT}$", v4_host(), v6_host())
}

/// A label of a host name, and the last one, which is no number.
const LABEL: &str = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,38}[a-zA-Z0-9])?";
const LAST_LABEL: &str = "[a-zA-Z]([a-zA-Z0-9-]{0,38}[a-zA-Z0-9])?";

/// The name of a host, in lower case, with its port when there is one; `None`: it is none, or an address.
pub fn hostname(text: &str) -> Option<String> {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let fine = |port: &str| port.parse::<u16>().is_ok_and(|n| n != 0) && !port.starts_with(['0', '+']);
    let label = |label: &str| {
        (1..=40).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().is_some_and(|l| l.starts_with(|c: char| c.is_ascii_alphabetic()));
    let name = host.split('.').count() <= 6 && host.split('.').all(label) && last;
    (name && port.is_none_or(fine)).then(|| text.to_ascii_lowercase())
}

/// The form of [`hostname`].
pub fn hostname_pattern() -> String {
    format!(r"^({LABEL}\.){{0,5}}{LAST_LABEL}(:{PORT})?$")
}

/// E.164 with `+` from any usual writing of a US or international number; `None` when it is no number.
pub fn phone(text: &str) -> Option<String> {
    let kept: String = text.chars().filter(|c| !" .()/-".contains(*c)).collect();
    let digits = kept.strip_prefix('+').unwrap_or(&kept);
    let number = match (kept.starts_with('+'), digits.strip_prefix("011")) {
        (false, Some(abroad)) => abroad.to_owned(),
        (false, None) if digits.len() == 10 && !digits.starts_with('0') => format!("1{digits}"),
        _ => digits.to_owned(),
    };
    // A plus within is no digit, and so refused.
    number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse::<E164>().ok())?.map(|n| n.to_string())
}

/// The form of [`phone`].
pub fn phone_pattern() -> String {
    let number = format!("[1-9]({GAP}[0-9]){{2,14}}{GAP}");
    format!(r"^{GAP}(\+{GAP}{number}|0{GAP}1{GAP}1{GAP}{number}|{number})$")
}

/// A number as it would be dialled, its separators removed: digits, `*` and `#`, perhaps `+` before them.
pub fn dialled(text: &str) -> Option<String> {
    let kept: String = text.chars().filter(|c| !" .()/-".contains(*c)).collect();
    let digits = kept.strip_prefix('+').unwrap_or(&kept);
    let known = |b: u8| b.is_ascii_digit() || b == b'*' || b == b'#';
    ((1..=32).contains(&digits.len()) && digits.bytes().all(known)).then_some(kept)
}

/// The form of [`dialled`].
pub fn dialled_pattern() -> String {
    format!(r"^{GAP}\+?({GAP}[0-9*#]){{1,32}}{GAP}$")
}

/// The form of an id of one kind.
pub fn id_pattern(prefix: &str) -> String {
    format!("^{prefix}_{ID_DIGITS}$")
}

/// Whether a text is an id of any kind, as [`id_pattern`] of `[a-z]{2,8}` says it.
pub fn is_any_id(text: &str) -> bool {
    let kind = |t: &str| (2..=8).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_lowercase());
    text.split_once('_').is_some_and(|(prefix, rest)| kind(prefix) && is_id(rest))
}

/// Whether a text is an id without its kind.
pub fn is_id(text: &str) -> bool {
    format!("call_{text}").parse::<warp_model::CallId>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::string::string_regex;

    /// Texts of a published pattern; anchors are no matter of making them.
    fn texts(pattern: &str) -> impl Strategy<Value = String> {
        let inner = pattern.trim_start_matches('^').trim_end_matches('$');
        // ECMA's way to name a character is not that of the generator.
        let mut rust = String::new();
        let mut rest = inner;
        while let Some((before, after)) = rest.split_once(r"\u") {
            rust.push_str(before);
            let (code, further) = after.split_at(4);
            rust.push_str(&format!(r"\x{{{code}}}"));
            rest = further;
        }
        rust.push_str(rest);
        string_regex(&rust).unwrap_or_else(|e| panic!("{rust}: {e}"))
    }

    macro_rules! every_text_passes {
        ($($name:ident: $pattern:expr, $check:expr;)*) => {
            proptest! {$(
                #[test]
                fn $name(text in texts(&$pattern)) {
                    let check = $check;
                    prop_assert!(check(&text), "{text:?} is of {}", $pattern);
                }
            )*}
        };
    }

    every_text_passes! {
        hosts_of_the_pattern: host_pattern(), |t: &str| host(t).is_some();
        far_hosts_of_the_pattern: far_host_pattern(), |t: &str| far_host(t).is_some();
        graphic_of_the_pattern: GRAPHIC, is_graphic;
        printable_of_the_pattern: PRINTABLE, is_printable;
        printable_and_visible_of_the_pattern: PRINTABLE_VISIBLE, |t: &str| is_printable(t) && is_visible(t);
        lines_of_the_pattern: LINES, is_lines;
        networks_of_the_pattern: network_pattern(), |t: &str| network(t).is_some();
        sockets_of_the_pattern: socket_pattern(), |t: &str| socket(t).is_some();
        hostnames_of_the_pattern: hostname_pattern(), |t: &str| hostname(t).is_some();
        phones_of_the_pattern: phone_pattern(), |t: &str| phone(t).is_some();
        dialled_of_the_pattern: dialled_pattern(), |t: &str| dialled(t).is_some();
        amounts_of_the_pattern: AMOUNT, |t: &str| is_amount(t) && t.parse::<warp_model::Nanos>().is_ok();
        visible_of_the_pattern: VISIBLE, |t: &str| is_visible(t) && !t.chars().any(char::is_control);
        rules_of_the_pattern: HEADER_RULE, |t: &str| t.parse::<warp_policy::directory::HeaderRule>().is_ok();
        codecs_of_the_pattern: CODEC, is_codec;
        ids_of_the_pattern: id_pattern("trk"), |t: &str| t.parse::<warp_model::TrunkId>().is_ok();
    }

    /// The other direction: what is taken is of the pattern.
    fn is_of(pattern: &str, text: &str) -> bool {
        regex_lite::Regex::new(pattern).unwrap().is_match(text)
    }

    #[test]
    fn what_is_taken_is_of_the_pattern_and_what_is_refused_is_not() {
        let cases: &[(&str, String, &[&str], &[&str])] = &[
            (
                "host",
                host_pattern(),
                &[
                    "1.2.3.4",
                    "223.255.255.255",
                    "127.0.0.1",
                    "2001:db8::1",
                    "::1",
                    "fe80::1",
                    "1:2:3:4:5:6:7:8",
                    "64:ff9b::a",
                    "1:2:3:4:5:6:7::",
                ],
                &[
                    "0.0.0.0",
                    "0.1.2.3",
                    "224.0.0.1",
                    "240.0.0.1",
                    "255.255.255.255",
                    "::",
                    "ff02::1",
                    "::ffff:192.0.2.1",
                    "::1.2.3.4",
                    "::5",
                    "fe80::1%1",
                    "1:2:3:4:5:6:7::8",
                    "01.2.3.4",
                    "2001:db8::1.2.3.4",
                    "0:0:0:0:0:0:0:1",
                    "",
                    "x",
                ],
            ),
            (
                "far host",
                far_host_pattern(),
                &[
                    "169.253.1.1",
                    "169.255.1.1",
                    "168.254.1.1",
                    "1.254.0.0",
                    "fe7f::1",
                    "fec0::1",
                    "fd00::1",
                    "::1",
                ],
                &[
                    "169.254.1.1",
                    "169.254.255.255",
                    "fe80::1",
                    "FEBF::1",
                    "fe90:1::",
                    "ff02::1",
                    "0.0.0.0",
                    "x",
                ],
            ),
            (
                "graphic",
                GRAPHIC.to_owned(),
                &["", "acme-1", "!~"],
                &[" ", "a b", "\u{1}", "\u{7f}", "\u{e9}", "a\n"],
            ),
            (
                "printable",
                PRINTABLE_VISIBLE.to_owned(),
                &["ACME 1", " a", "~ "],
                &["", " ", "a\u{1}", "\u{e9}", "a\n"],
            ),
            (
                "lines",
                LINES.to_owned(),
                &["", "a\r\nb\tc\u{c}", "\u{e9}\u{1f600}"],
                &["\u{0}", "\u{1}", "a\u{b}", "\u{1b}[", "\u{7f}", "\u{85}"],
            ),
            (
                "network",
                network_pattern(),
                &[
                    "198.51.100.7",
                    "198.51.100.0/28",
                    "198.51.100.240/28",
                    "10.0.0.254/31",
                    "10.0.0.128/25",
                    "2001:db8::/64",
                    "2001:db8::1/128",
                    "2001:db8:1:2::/80",
                    "2001:db8::7",
                ],
                &[
                    "0.0.0.0/24",
                    "224.0.0.0/24",
                    "198.51.100.1/28",
                    "10.0.0.0/8",
                    "1.2.3.4/33",
                    "1.2.3.4/",
                    "::/0",
                    "::/64",
                    "1.2.3.0/+24",
                    "1.2.3.4/032",
                    "::ffff:0:0/96",
                    "2001:db8::/63",
                    "x",
                ],
            ),
            (
                "hostname",
                hostname_pattern(),
                &["sip.example.com", "SIP.example.com:5080", "a", "x-1.co", "node:65535", "1.2.3.a"],
                &[
                    "",
                    ".",
                    "a.",
                    ".a",
                    "a..b",
                    "192.0.2.1",
                    "-a.b",
                    "a-.b",
                    "a b",
                    "a:0",
                    "a:05",
                    "a:65536",
                    "a_b",
                    "a.b.c.d.e.f.g",
                    "[::1]",
                ],
            ),
            (
                "socket",
                socket_pattern(),
                &["192.0.2.1:5060", "[2001:db8::1]:5060", "[::1]:65535", "127.0.0.1:1"],
                &[
                    "192.0.2.1:0",
                    "192.0.2.1",
                    "192.0.2.1:65536",
                    "192.0.2.1:05060",
                    "2001:db8::1:5060",
                    "[192.0.2.1]:5060",
                    "[fe80::1%1]:5060",
                    "0.0.0.0:5060",
                    "192.0.2.1:+5",
                ],
            ),
            (
                "phone",
                phone_pattern(),
                &["+1 415 555 0123", "(415) 555-0123", "4155550123", "011 44 20 7123 4567", "+442071234567"],
                &[
                    "",
                    "sip:bob",
                    "+",
                    "12345678901234567",
                    "41555 x",
                    "0155550123",
                    "1+2345",
                    "+0112345",
                    "12",
                    "01",
                ],
            ),
            (
                "dialled",
                dialled_pattern(),
                &["*86", "+1 (415) 555-0123", "011442071234567", "#"],
                &["", "+", "1+2", "sip:x", "123456789012345678901234567890123"],
            ),
        ];
        for (name, pattern, good, bad) in cases {
            let takes = |text: &str| match *name {
                "host" => host(text).is_some(),
                "far host" => far_host(text).is_some(),
                "graphic" => is_graphic(text),
                "printable" => is_printable(text) && is_visible(text),
                "lines" => is_lines(text),
                "network" => network(text).is_some(),
                "socket" => socket(text).is_some(),
                "hostname" => hostname(text).is_some(),
                "phone" => phone(text).is_some(),
                _ => dialled(text).is_some(),
            };
            for text in *good {
                assert!(takes(text) && is_of(pattern, text), "{name} {text}");
            }
            for text in *bad {
                assert!(!takes(text) && !is_of(pattern, text), "{name} {text}");
            }
        }
        // Taken, and not of the pattern: host bits of IPv6 are more than a pattern says.
        assert_eq!(network("2001:db8::10/124").as_deref(), Some("2001:db8::10/124"));
        assert_eq!(network("2001:db8::11/124"), None);
        for (amount, good) in [
            ("0", true),
            ("8999999999.999999999", true),
            ("9000000000", false),
            (".5", false),
            ("1.", false),
            ("-1", false),
            ("1.0000000001", false),
        ] {
            assert_eq!((is_amount(amount), is_of(AMOUNT, amount)), (good, good), "{amount}");
        }
    }

    #[test]
    fn numbers_in_any_writing() {
        for text in ["+1 415 555 0123", "(415) 555-0123", "4155550123", "14155550123"] {
            assert_eq!(phone(text).as_deref(), Some("+14155550123"), "{text}");
        }
        assert_eq!(phone("011 44 20 7123 4567").as_deref(), Some("+442071234567"));
        assert_eq!(phone("+442071234567").as_deref(), Some("+442071234567"));
        assert_eq!(dialled("+1 (415) 555-0123").as_deref(), Some("+14155550123"));
    }

    #[test]
    fn networks_are_canonical() {
        assert_eq!(network("198.51.100.7").as_deref(), Some("198.51.100.7/32"));
        assert_eq!(network("198.51.100.0/28").as_deref(), Some("198.51.100.0/28"));
        assert_eq!(network("2001:DB8:0:0::/64").as_deref(), Some("2001:db8::/64"));
    }
}
