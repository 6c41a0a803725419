//! From what was dialled to a number: the user part of a SIP or tel URI in, a canonical E.164 number out.
//!
//! Understood: `+1…`, `1NPANXXXXXX`, ten NANP digits, `011…`, bare E.164, visual separators (RFC 3966 §5.1.1), `%2B`, the
//! parameters `npdi` and `rn` (RFC 4694) and `phone-context=+…`; a trunk's own technical prefix. Everything else is
//! refused: guessing a number means rating the wrong one.

use serde::{Deserialize, Serialize};
use warp_model::E164;

use super::{NpaClass, NumberPlan};
use crate::code::pow10;
use crate::refusal::Refusal;

/// How a trunk dials. The default fits a US wholesale trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DialRules {
    /// Technical prefixes taken off the front (the longest that matches); digits, `#` and `*`, at most 16 characters each.
    pub strip: Vec<String>,
    /// Refuse numbers without one of them; emergency codes need none.
    pub strip_required: bool,
    /// Ten digits without country code are NANP numbers.
    pub nanp_home: bool,
    /// Prefixes for international dialling, for example `011` or `00`.
    pub international: Vec<String>,
    /// Seven to fifteen digits without `+` that are nothing else are E.164.
    pub bare_e164: bool,
    /// Believe `rn=` and `npdi` of this trunk.
    pub trust_rn: bool,
}

impl Default for DialRules {
    fn default() -> Self {
        DialRules {
            strip: Vec::new(),
            strip_required: false,
            nanp_home: true,
            international: vec!["011".to_owned()],
            bare_e164: true,
            trust_rn: false,
        }
    }
}

/// What the dialled text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// A number, with what the URI said about portability.
    Number {
        /// The number that was dialled.
        number: E164,
        /// `rn=` of a trusted trunk: the routing number of the serving switch.
        rn: Option<E164>,
        /// `npdi`: somebody has looked already.
        npdi: bool,
    },
    /// An emergency call: no commercial check applies.
    Emergency(u16),
    /// Another service code (N11, 988).
    Service(u16),
}

/// Bytes of a user part with its parameters; a longer one is no number.
pub const MAX_USER_BYTES: usize = 256;
/// Digits of the shortest number, country code included.
const FEWEST_DIGITS: usize = 7;
/// Digits of the longest accepted user part, technical prefix included.
const MAX_DIGITS: usize = 40;

/// At most `N` bytes on the stack.
struct Digits {
    buf: [u8; MAX_DIGITS],
    len: usize,
}

impl Digits {
    fn as_slice(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or(&[])
    }

    fn push(&mut self, b: u8) -> Option<()> {
        *self.buf.get_mut(self.len)? = b;
        self.len += 1;
        Some(())
    }
}

/// Digits, `+`, `*` and `#` without separators and escapes. `None` for anything else, or too many.
fn clean(text: &[u8]) -> Option<Digits> {
    let mut out = Digits { buf: [0; MAX_DIGITS], len: 0 };
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let b = match *first {
            b'%' => {
                let (hex, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?
            }
            b => b,
        };
        match b {
            b'0'..=b'9' | b'*' | b'#' => out.push(b)?,
            b'+' if out.len == 0 => out.push(b)?,
            b'-' | b'.' | b'(' | b')' => {}
            _ => return None,
        }
    }
    Some(out)
}

type Pair<'a> = (&'a [u8], Option<&'a [u8]>);

/// Splits the parameters off a user part: the number, then `name=value` pairs.
fn params(text: &[u8]) -> (&[u8], impl Iterator<Item = Pair<'_>>) {
    let mut parts = text.split(|b| *b == b';');
    let number = parts.next().unwrap_or(&[]);
    let pairs = parts.map(|p| match p.iter().position(|b| *b == b'=') {
        Some(i) => (p.get(..i).unwrap_or(&[]), p.get(i + 1..)),
        None => (p, None),
    });
    (number, pairs)
}

impl NumberPlan {
    /// Reads what was dialled under a trunk's rules.
    ///
    /// Errors: [`Refusal::InvalidNumber`], [`Refusal::IncompleteNumber`], [`Refusal::UnassignedNumber`].
    pub fn dialled(&self, user: &[u8], rules: &DialRules) -> Result<Dialled, Refusal> {
        if user.len() > MAX_USER_BYTES {
            return Err(Refusal::InvalidNumber);
        }
        // What nearly every call has: `+1` or `1` and ten digits, nothing else.
        let plain = match user {
            [b'+', b'1', ten @ ..] if rules.strip.is_empty() => Some(ten),
            [b'1', ten @ ..] if rules.strip.is_empty() && rules.nanp_home => Some(ten),
            _ => None,
        };
        if let Some(ten) = plain.filter(|t| t.len() == 10 && t.iter().all(u8::is_ascii_digit))
            && !rules.international.iter().any(|p| user.starts_with(p.as_bytes()))
        {
            let number = self.nanp(ten)?;
            return Ok(Dialled::Number { number, rn: None, npdi: false });
        }
        let (text, pairs) = params(user);
        let (mut rn, mut npdi, mut context) = (None, false, None);
        for (name, value) in pairs {
            if name.eq_ignore_ascii_case(b"npdi") {
                npdi = rules.trust_rn;
            } else if name.eq_ignore_ascii_case(b"rn") && rules.trust_rn {
                rn = value.and_then(|v| self.routing_number(v));
            } else if name.eq_ignore_ascii_case(b"phone-context") {
                context = value.and_then(clean);
            }
        }
        let digits = clean(text).ok_or(Refusal::InvalidNumber)?;
        let mut digits = digits.as_slice();
        // A call for help needs no prefix, and none may eat its digits (47 CFR §9.16: dialled directly, whatever the trunk's rules).
        if let Some(code) = self.emergency(digits, &rules.strip) {
            return Ok(Dialled::Emergency(code));
        }
        if !rules.strip.is_empty() {
            match longest_prefix(digits, &rules.strip) {
                Some(n) => digits = digits.get(n..).unwrap_or(&[]),
                None if rules.strip_required => return Err(Refusal::InvalidNumber),
                None => {}
            }
        }
        if let Some(rest) = digits.strip_prefix(b"+") {
            return match self.service(rest) {
                Some(s) => Ok(s),
                None => self.e164(rest).map(|number| Dialled::Number { number, rn, npdi }),
            };
        }
        if let Some(s) = self.service(digits) {
            return Ok(s);
        }
        if digits.iter().any(|b| !b.is_ascii_digit()) {
            return Err(Refusal::InvalidNumber);
        }
        let number = if let Some(context) = context.filter(|c| c.as_slice().first() == Some(&b'+')) {
            let mut joined = context;
            for d in digits {
                joined.push(*d).ok_or(Refusal::InvalidNumber)?;
            }
            self.e164(joined.as_slice().get(1..).unwrap_or(&[]))?
        } else if let Some(n) = longest_prefix(digits, &rules.international) {
            self.e164(digits.get(n..).unwrap_or(&[]))?
        } else if rules.nanp_home && digits.len() == 10 {
            self.nanp(digits)?
        } else if rules.nanp_home && digits.len() == 11 && digits.first() == Some(&b'1') {
            self.nanp(digits.get(1..).unwrap_or(&[]))?
        } else if rules.nanp_home && digits.len() < 10 {
            return Err(Refusal::IncompleteNumber);
        } else if rules.bare_e164 {
            self.e164(digits)?
        } else {
            return Err(Refusal::InvalidNumber);
        };
        Ok(Dialled::Number { number, rn, npdi })
    }

    /// The emergency code in what was dialled: as it stands, or behind any of the technical prefixes; with `+` as some phones write it.
    fn emergency(&self, digits: &[u8], prefixes: &[String]) -> Option<u16> {
        let behind = prefixes.iter().filter_map(|p| digits.strip_prefix(p.as_bytes()));
        [digits].into_iter().chain(behind).find_map(|d| {
            match self.service(d.strip_prefix(b"+").unwrap_or(d)) {
                Some(Dialled::Emergency(code)) => Some(code),
                _ => None,
            }
        })
    }

    /// Whether this may be a call for help of a caller whose technical prefixes are not known yet: an emergency code, behind so little
    /// (or behind `#` or `*`) that the whole is no number. For limits, which such a call passes.
    pub fn may_be_emergency(&self, user: &[u8]) -> bool {
        let Some(digits) = clean(params(user).0).filter(|_| user.len() <= MAX_USER_BYTES) else {
            return false;
        };
        let digits = digits.as_slice();
        let no_number = digits.len() < FEWEST_DIGITS || digits.iter().any(|b| matches!(b, b'#' | b'*'));
        let code = digits.len().checked_sub(3).and_then(|n| digits.get(n..));
        no_number && code.is_some_and(|code| self.emergency(code, &[]).is_some())
    }

    fn service(&self, digits: &[u8]) -> Option<Dialled> {
        if digits.len() != 3 || digits.iter().any(|b| !b.is_ascii_digit()) {
            return None;
        }
        let code = digits.iter().fold(0u16, |v, b| v * 10 + u16::from(b - b'0'));
        Some(if self.is_emergency(code) { Dialled::Emergency(code) } else { Dialled::Service(code) })
    }

    /// E.164 digits without `+`.
    fn e164(&self, digits: &[u8]) -> Result<E164, Refusal> {
        if digits.first() == Some(&b'1') {
            return match digits.len() {
                11 => self.nanp(digits.get(1..).unwrap_or(&[])),
                0..=10 => Err(Refusal::IncompleteNumber),
                _ => Err(Refusal::InvalidNumber),
            };
        }
        if digits.len() < FEWEST_DIGITS {
            return Err(Refusal::IncompleteNumber);
        }
        E164::parse(digits).map_err(|_| Refusal::InvalidNumber)
    }

    /// Ten national digits.
    fn nanp(&self, digits: &[u8]) -> Result<E164, Refusal> {
        let number = nanp_number(digits).ok_or(Refusal::InvalidNumber)?;
        match self.npa_of(number).map(|n| n.class) {
            None | Some(NpaClass::Unassigned) => Err(Refusal::UnassignedNumber),
            Some(_) => Ok(number),
        }
    }

    /// A routing number: ten or eleven NANP digits with or without `+` (RFC 4694 §5).
    fn routing_number(&self, text: &[u8]) -> Option<E164> {
        let digits = clean(text)?;
        let digits = digits.as_slice();
        let digits = digits.strip_prefix(b"+").unwrap_or(digits);
        match digits.len() {
            10 => nanp_number(digits),
            11 if digits.first() == Some(&b'1') => nanp_number(digits.get(1..)?),
            _ => None,
        }
    }
}

/// Valid form of a NANP number: `[2-9][0-8][0-9] [2-9][0-9][0-9] XXXX`, exchange not N11.
pub(super) fn nanp_number(digits: &[u8]) -> Option<E164> {
    if digits.len() != 10 || digits.iter().any(|b| !b.is_ascii_digit()) {
        return None;
    }
    let value = digits.iter().fold(0u64, |v, b| v * 10 + u64::from(b - b'0'));
    let (npa, nxx) = (value / pow10(7), value / pow10(4) % 1_000);
    let valid =
        (200..1_000).contains(&npa) && npa / 10 % 10 != 9 && (200..1_000).contains(&nxx) && nxx % 100 != 11;
    if !valid {
        return None;
    }
    E164::from_value(pow10(10) + value)
}

fn longest_prefix(digits: &[u8], prefixes: &[String]) -> Option<usize> {
    prefixes.iter().filter(|p| !p.is_empty() && digits.starts_with(p.as_bytes())).map(|p| p.len()).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dial(text: &str) -> Result<String, Refusal> {
        dial_by(text, &DialRules::default())
    }

    fn dial_by(text: &str, rules: &DialRules) -> Result<String, Refusal> {
        NumberPlan::seed().dialled(text.as_bytes(), rules).map(|d| match d {
            Dialled::Number { number, rn, npdi } => format!(
                "{number}{}{}",
                rn.map(|r| format!(" rn {r}")).unwrap_or_default(),
                if npdi { " npdi" } else { "" }
            ),
            Dialled::Emergency(c) => format!("emergency {c}"),
            Dialled::Service(c) => format!("service {c}"),
        })
    }

    #[test]
    fn forms_of_one_number() {
        for text in [
            "+14155550123",
            "14155550123",
            "4155550123",
            "+1-415-555-0123",
            "(415)555.0123",
            "%2B14155550123",
            "5550123;phone-context=+1415",
            "01114155550123",
            "4155550123;isub=1",
        ] {
            assert_eq!(dial(text).as_deref(), Ok("+14155550123"), "{text}");
        }
        assert_eq!(dial("011442071234567").as_deref(), Ok("+442071234567"));
        assert_eq!(dial("442071234567").as_deref(), Ok("+442071234567"));
        assert_eq!(dial("911").as_deref(), Ok("emergency 911"));
        assert_eq!(dial("+112").as_deref(), Ok("emergency 112"));
        assert_eq!(dial("411").as_deref(), Ok("service 411"));
    }

    #[test]
    fn refusals() {
        assert_eq!(dial(""), Err(Refusal::IncompleteNumber));
        assert_eq!(dial("alice"), Err(Refusal::InvalidNumber));
        assert_eq!(dial("5550123"), Err(Refusal::IncompleteNumber));
        assert_eq!(dial("+1415555012"), Err(Refusal::IncompleteNumber));
        assert_eq!(dial("+141555501234"), Err(Refusal::InvalidNumber));
        assert_eq!(dial("+11155550123"), Err(Refusal::InvalidNumber));
        assert_eq!(dial("4151550123"), Err(Refusal::InvalidNumber));
        assert_eq!(dial("4159110123"), Err(Refusal::InvalidNumber));
        assert_eq!(dial("2215550123"), Err(Refusal::UnassignedNumber));
        assert_eq!(dial("+0442071234567"), Err(Refusal::InvalidNumber));
        assert_eq!(dial("4%z5"), Err(Refusal::InvalidNumber));
        assert_eq!(dial(&"4".repeat(60)), Err(Refusal::InvalidNumber));
    }

    /// `ref/integrations` §11 (Kari's law): dialled directly, behind a prefix or without, whatever prefixes the trunk has.
    #[test]
    fn an_emergency_call_needs_no_prefix_and_none_eats_its_digits() {
        let rules = |strip: &[&str], strip_required| DialRules {
            strip: strip.iter().map(|p| (*p).to_owned()).collect(),
            strip_required,
            ..DialRules::default()
        };
        for strip in [&["77#"][..], &["9"], &["91"], &["911"], &["1", "112"], &["9", "99"], &["+9"]] {
            for required in [false, true] {
                let rules = rules(strip, required);
                for text in ["911", "+911", "9-1-1", "%2B911", "911;phone-context=+1"] {
                    assert_eq!(dial_by(text, &rules).as_deref(), Ok("emergency 911"), "{strip:?} {text}");
                }
                assert_eq!(dial_by("112", &rules).as_deref(), Ok("emergency 112"), "{strip:?}");
                let prefixed = format!("{}911", strip[0].replace('#', "%23"));
                assert_eq!(dial_by(&prefixed, &rules).as_deref(), Ok("emergency 911"), "{prefixed}");
            }
        }
        // The longest prefix would leave `11`; the short one leaves the code.
        assert_eq!(dial_by("9911", &rules(&["9", "99"], true)).as_deref(), Ok("emergency 911"));
        // Whose prefixes are not known yet.
        let plan = NumberPlan::seed();
        for text in ["911", "+911", "9911", "77%23911", "12345678#112", "911;x=1"] {
            assert!(plan.may_be_emergency(text.as_bytes()), "{text}");
        }
        for text in ["", "11", "411", "9110", "4155550911", "9999911", "a911", "*"] {
            assert!(!plan.may_be_emergency(text.as_bytes()), "{text}");
        }
        // Other service codes and numbers are read as before.
        assert_eq!(dial_by("411", &rules(&["77#"], true)), Err(Refusal::InvalidNumber));
        assert_eq!(dial_by("9411", &rules(&["9"], true)).as_deref(), Ok("service 411"));
        assert_eq!(dial_by("914155550123", &rules(&["9"], true)).as_deref(), Ok("+14155550123"));
        assert_eq!(dial_by("9114155550123", &rules(&["91"], true)).as_deref(), Ok("+14155550123"));
    }

    #[test]
    fn a_trunks_rules() {
        let rules = DialRules {
            strip: vec!["9".into(), "99#".into()],
            strip_required: true,
            trust_rn: true,
            ..DialRules::default()
        };
        assert_eq!(dial_by("99#4155550123", &rules).as_deref(), Ok("+14155550123"));
        assert_eq!(dial_by("4155550123", &rules), Err(Refusal::InvalidNumber));
        assert_eq!(
            dial_by("92155551212;npdi;rn=+12155550000", &rules).as_deref(),
            Ok("+12155551212 rn +12155550000 npdi")
        );
        // Without trust the parameters are read over.
        assert_eq!(dial("2155551212;npdi;rn=+12155550000").as_deref(), Ok("+12155551212"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let plan = NumberPlan::seed();
            let rules = DialRules { trust_rn: true, strip: vec!["7".into()], ..DialRules::default() };
            if let Ok(Dialled::Number { number, .. }) = plan.dialled(&text, &rules) {
                // What was read reads the same again.
                let again = plan.dialled(number.to_string().as_bytes(), &DialRules::default());
                prop_assert_eq!(again, Ok(Dialled::Number { number, rn: None, npdi: false }));
            }
        }
    }
}
