//! How messages of calls are written towards a peer, a trunk or a vendor trunk (RFC 0046): who is told who calls, in which header and
//! format, what is said of diversions and causes, which headers are added or taken away, which codecs are offered.
//!
//! Only the terms are here; the SIP proxy applies them. A rule never has a line end in it, and never names a header by which messages are
//! routed, paired or framed ([`HeaderRule::is_protected`]): rows with such a rule make no directory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::types::NumberFormat;

/// Most rules of one peer.
pub const MAX_HEADER_RULES: usize = 8;
/// Most codecs that one peer is held to.
pub const MAX_CODECS: usize = 16;
/// Session intervals, in seconds (RFC 4028 §4 has the least).
const SESSION_INTERVALS: std::ops::RangeInclusive<u32> = 90..=86_400;
/// Longest name of a header in a rule.
const MAX_NAME: usize = 40;
/// Longest value in a rule.
const MAX_VALUE: usize = 200;

/// Where the caller's asserted identity is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityForm {
    /// As a peer that we believe wrote it; from any other peer nothing.
    #[default]
    AsReceived,
    /// P-Asserted-Identity (RFC 3325 §9.1).
    PAssertedIdentity,
    /// In the header Remote-Party-ID (draft-ietf-sip-privacy-04).
    RemotePartyId,
    /// Nowhere but in From.
    None,
}

/// How diversions are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiversionForm {
    /// As they came to us.
    #[default]
    AsReceived,
    /// As Diversion (RFC 5806), converted where they came as History-Info (RFC 7544).
    Diversion,
    /// As History-Info (RFC 7044), converted where they came as Diversion (RFC 7544).
    HistoryInfo,
    /// It hears of no diversion.
    None,
}

/// What is said of causes (RFC 3326).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonForm {
    /// As it came to us.
    #[default]
    AsReceived,
    /// A failure without a Q.850 cause gets the one of its status.
    Always,
    /// It hears of no cause.
    None,
}

/// One header that is added, set or taken away in each message of a call that goes to the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HeaderRule {
    /// All lines of this name go: `remove X-Account`.
    Remove(String),
    /// A line more: `add X-Account: 4711`.
    Add(String, String),
    /// One line instead of all of this name: `set User-Agent: WARP`.
    Set(String, String),
}

impl HeaderRule {
    /// The header that it is about.
    pub fn name(&self) -> &str {
        match self {
            Self::Remove(name) | Self::Add(name, _) | Self::Set(name, _) => name,
        }
    }

    /// Whether it names a header that no rule may touch: what messages are routed, paired, framed, agreed on or signed by, and what other
    /// terms of the peer decide.
    pub fn is_protected(&self) -> bool {
        PROTECTED.iter().any(|name| name.eq_ignore_ascii_case(self.name()))
    }
}

/// Headers that no rule may name, with their compact forms.
const PROTECTED: &[&str] = &[
    // How a message is routed, paired and framed.
    "Via",
    "v",
    "Route",
    "Record-Route",
    "Path",
    "Service-Route",
    "Contact",
    "m",
    "Call-ID",
    "i",
    "CSeq",
    "From",
    "f",
    "To",
    "t",
    "Max-Forwards",
    "Max-Breadth",
    "Content-Length",
    "l",
    "Content-Type",
    "c",
    "Content-Encoding",
    "e",
    "Content-Disposition",
    "MIME-Version",
    "RSeq",
    "RAck",
    "Replaces",
    "Join",
    "Target-Dialog",
    "Request-Disposition",
    "d",
    "Accept-Contact",
    "a",
    "Reject-Contact",
    "j",
    "Subscription-State",
    "Info-Package",
    "Recv-Info",
    "Allow",
    "Date",
    "Refer-To",
    "r",
    "Referred-By",
    "b",
    "Event",
    "o",
    "Expires",
    "Retry-After",
    // What was agreed.
    "Require",
    "Proxy-Require",
    "Supported",
    "k",
    "Unsupported",
    "Session-Expires",
    "x",
    "Min-SE",
    // Credentials.
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Authentication-Info",
    "Proxy-Authentication-Info",
    "Identity",
    "y",
    "Identity-Info",
    "n",
    // What other terms decide.
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    "Privacy",
    "Diversion",
    "History-Info",
    "Reason",
    "X-Internal",
];

impl FromStr for HeaderRule {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<HeaderRule, Self::Err> {
        const FORM: &str = "must be remove NAME, add NAME: VALUE or set NAME: VALUE, in printable ASCII";
        let (verb, rest) = text.split_once(' ').ok_or(FORM)?;
        let name_of = |name: &str| {
            let token = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            (token && (1..=MAX_NAME).contains(&name.len())).then(|| name.to_owned()).ok_or(FORM)
        };
        if verb == "remove" {
            return Ok(HeaderRule::Remove(name_of(rest)?));
        }
        let (name, value) = rest.split_once(": ").ok_or(FORM)?;
        let printable = value.bytes().all(|b| (0x20..0x7F).contains(&b)) && value.trim_ascii() == value;
        if !printable || !(1..=MAX_VALUE).contains(&value.len()) {
            return Err(FORM);
        }
        match verb {
            "add" => Ok(HeaderRule::Add(name_of(name)?, value.to_owned())),
            "set" => Ok(HeaderRule::Set(name_of(name)?, value.to_owned())),
            _ => Err(FORM),
        }
    }
}

impl TryFrom<String> for HeaderRule {
    type Error = &'static str;
    fn try_from(text: String) -> Result<HeaderRule, Self::Error> {
        text.parse()
    }
}

impl From<HeaderRule> for String {
    fn from(of: HeaderRule) -> String {
        of.to_string()
    }
}

impl fmt::Display for HeaderRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove(name) => write!(f, "remove {name}"),
            Self::Add(name, value) => write!(f, "add {name}: {value}"),
            Self::Set(name, value) => write!(f, "set {name}: {value}"),
        }
    }
}

/// The terms of one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderTerms {
    /// It is within our circle of trust (RFC 3324): it is told who calls also where the caller asked for privacy.
    pub trusted: bool,
    /// Where it is told who calls.
    pub identity: IdentityForm,
    /// How the caller's number is written in From, and in what `identity` writes; `None`: as it came.
    pub caller_format: Option<NumberFormat>,
    /// How diversions are told.
    pub diversion: DiversionForm,
    /// What it is told of causes.
    pub reason: ReasonForm,
    /// In their order; at most [`MAX_HEADER_RULES`].
    pub rules: Vec<HeaderRule>,
    /// Only these are offered to it, and by it to others (names of `a=rtpmap`); empty: all.
    pub codecs: Vec<String>,
    /// Session timers (RFC 4028): its calls are refreshed at least this often, in seconds, or end; `None`: nobody is asked to.
    pub session_expires_s: Option<u32>,
    /// The least interval that it may ask for, in seconds; `None`: whatever it likes.
    pub session_min_s: Option<u32>,
    /// Its calls are recorded by the relay (RFC 0054).
    pub recording: bool,
}

impl HeaderTerms {
    /// Those of a vendor that has none of its own: carriers tell each other who calls, and whether the caller may be shown (47 CFR §64.1601).
    pub fn of_a_carrier() -> HeaderTerms {
        HeaderTerms { trusted: true, ..HeaderTerms::default() }
    }

    /// Whether nothing is asked for.
    pub fn is_none(&self) -> bool {
        *self == HeaderTerms::default()
    }

    /// Why a directory with them is refused; `None`: they can be carried out.
    pub fn fault(&self) -> Option<&'static str> {
        let codec = |name: &String| {
            (1..=32).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        };
        let intervals = [self.session_expires_s, self.session_min_s];
        if intervals.iter().flatten().any(|s| !SESSION_INTERVALS.contains(s)) {
            Some("a session interval is 90 seconds to a day")
        } else if self.rules.len() > MAX_HEADER_RULES {
            Some("too many header rules")
        } else if self.rules.iter().any(HeaderRule::is_protected) {
            Some("a header rule names a header that no rule may touch")
        } else if self.codecs.len() > MAX_CODECS || !self.codecs.iter().all(codec) {
            Some("its codecs are not names of codecs")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_sip_03_a_rule_has_no_line_end_and_no_name_that_is_none() {
        for text in ["remove X-A", "add X-A: 1", "set User-Agent: WARP (carrier), \"x\"; a=b"] {
            assert_eq!(text.parse::<HeaderRule>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "remove",
            "remove ",
            "remove X A",
            "remove X:",
            "add X-A",
            "add X-A:1",
            "add X-A: ",
            "add X-A: a\r\nVia: x",
            "add X-A: a\nb",
            "add X-A: \u{7f}",
            "add X-A:  two",
            "set : x",
            "put X-A: 1",
            "remove X\r\n",
            "add X-Ä: 1",
            "add X-A: ä",
            "add X-A: a\0",
        ] {
            assert!(text.parse::<HeaderRule>().is_err(), "{text:?}");
        }
        assert!(format!("add X: {}", "a".repeat(201)).parse::<HeaderRule>().is_err());
        assert!(format!("remove {}", "X".repeat(41)).parse::<HeaderRule>().is_err());
        assert!(serde_json::from_str::<HeaderRule>("\"add X: a\\r\\nVia: b\"").is_err());
    }

    #[test]
    fn what_routes_pairs_and_frames_is_protected_in_any_spelling() {
        for name in [
            "Via",
            "v",
            "ROUTE",
            "record-route",
            "Contact",
            "M",
            "Call-ID",
            "i",
            "CSeq",
            "max-forwards",
            "Content-Length",
            "L",
            "From",
            "t",
            "Session-Expires",
            "P-Asserted-Identity",
            "Privacy",
            "Identity",
            "Join",
            "Target-Dialog",
            "d",
            "accept-contact",
            "J",
            "Subscription-State",
            "Info-Package",
            "Allow",
            "Date",
        ] {
            assert!(HeaderRule::Remove(name.into()).is_protected(), "{name}");
            assert!(HeaderRule::Add(name.into(), "x".into()).is_protected(), "{name}");
        }
        for name in ["X-Account", "User-Agent", "Server", "P-Charge-Info", "Call-Info", "s"] {
            assert!(!HeaderRule::Set(name.into(), "x".into()).is_protected(), "{name}");
        }
        let rules = vec![HeaderRule::Remove("VIA".into())];
        assert!(HeaderTerms { rules, ..HeaderTerms::default() }.fault().is_some());
        let rules = vec![HeaderRule::Remove("X".into()); MAX_HEADER_RULES + 1];
        assert!(HeaderTerms { rules, ..HeaderTerms::default() }.fault().is_some());
        for (seconds, fine) in [(89, false), (90, true), (86_400, true), (86_401, false)] {
            let expires = HeaderTerms { session_expires_s: Some(seconds), ..HeaderTerms::default() };
            let least = HeaderTerms { session_min_s: Some(seconds), ..HeaderTerms::default() };
            assert_eq!((expires.fault().is_none(), least.fault().is_none()), (fine, fine), "{seconds}");
        }
        let codecs = vec!["PCMU\r\na=x".to_owned()];
        assert!(HeaderTerms { codecs, ..HeaderTerms::default() }.fault().is_some());
        let codecs = vec!["PCMU".to_owned(), "telephone-event/8000".to_owned()];
        assert_eq!(HeaderTerms { codecs, ..HeaderTerms::default() }.fault(), None);
    }
}
