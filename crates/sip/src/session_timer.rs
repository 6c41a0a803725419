//! Session timers as a proxy may have them (RFC 4028 §8): what becomes of Session-Expires and Min-SE in a session refresh request (INVITE,
//! UPDATE), and of a 2xx to it.
//!
//! Pure: what was asked can be told again from the request and the policy, so nothing is kept of it. The refresher is never chosen in a
//! request, and never changed in a response. Absent on purpose: when a session that nobody refreshes ends.

use crate::header::Header;
use crate::lex;
use crate::message::Message;

/// The least interval there is, in seconds (RFC 4028 §4).
pub const LEAST: u32 = 90;

/// What the proxy would like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Sessions are refreshed at least this often, in seconds; `None`: no timer is asked for.
    pub wanted: Option<u32>,
    /// The least interval that is accepted, in seconds; below [`LEAST`] it is [`LEAST`].
    pub least: u32,
    /// Whether the request may be refused at all.
    pub may_refuse: bool,
}

/// What becomes of a request (RFC 4028 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// 422 with Min-SE of so many seconds.
    TooSmall(u32),
    /// It goes on with what is asked now.
    Goes(Sent),
}

/// How a request goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The interval that stands in it; `None`: no Session-Expires.
    pub interval: Option<u32>,
    /// The interval is not the one it came with.
    pub changed: bool,
    /// Min-SE that it gets.
    pub least: Option<u32>,
    /// Who asks knows session timers.
    pub asker_knows: bool,
}

/// What becomes of a 2xx (RFC 4028 §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// No session timer: nothing is changed, and a former expiry is over.
    Untimed,
    /// It says the interval, in seconds, counted from when it is forwarded.
    Says(u32),
    /// The answerer knows no timers and the asker does: it gets Session-Expires of so many seconds with `refresher=uac`, and Require: timer.
    Add(u32),
}

/// Whether the sender knows session timers.
pub fn knows(msg: &Message<'_>) -> bool {
    msg.has_token(Header::Supported, b"timer")
}

/// The seconds of Session-Expires or Min-SE; `None`: there is none, or it is no number. A larger one than fits is the largest.
pub fn seconds(msg: &Message<'_>, header: Header) -> Option<u32> {
    let value = msg.header(header)?;
    let digits = value.split(|b| *b == b';').next().map(<[u8]>::trim_ascii)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    Some(text.parse().unwrap_or(u32::MAX))
}

/// What becomes of an INVITE or UPDATE (RFC 4028 §8.1).
pub fn asked(msg: &Message<'_>, policy: &Policy) -> Asked {
    let knows = knows(msg);
    let ours = policy.least.max(LEAST);
    let (came, least) = (seconds(msg, Header::SessionExpires), seconds(msg, Header::MinSe));
    let too_small = came.is_some_and(|interval| interval < ours);
    if too_small && knows && policy.may_refuse {
        return Asked::TooSmall(ours);
    }
    let mut sent = Sent { interval: came, asker_knows: knows, ..Sent::default() };
    // Who does not know timers cannot be told: the interval is made large enough, and who comes next is told the least.
    let least = match too_small && !knows {
        true => {
            let raised = least.unwrap_or(LEAST).max(ours);
            sent.least = (least != Some(raised)).then_some(raised);
            raised
        }
        false => least.unwrap_or(LEAST).max(LEAST),
    };
    sent.interval = match (came, policy.wanted) {
        // Never increased, but up to Min-SE where it is too small.
        (Some(interval), _) if interval < least => Some(if knows { interval } else { least }),
        (Some(interval), Some(wanted)) => Some(interval.min(wanted.max(least).max(ours))),
        (Some(interval), None) => Some(interval),
        (None, Some(wanted)) => Some(wanted.max(least).max(ours)),
        (None, None) => None,
    };
    sent.changed = sent.interval != came;
    Asked::Goes(sent)
}

/// The value of Session-Expires in a request: its parameters, a refresher among them, are left alone (RFC 4028 §8.1).
pub fn expires_value(msg: &Message<'_>, interval: u32) -> Vec<u8> {
    let came = msg.header(Header::SessionExpires).unwrap_or(b"");
    let params = came.iter().position(|b| *b == b';').and_then(|at| came.get(at..)).unwrap_or(b"");
    let mut out = Vec::new();
    lex::write_number(u64::from(interval), &mut out);
    out.extend(params.iter().filter(|b| !matches!(b, b'\r' | b'\n')));
    out
}

/// What becomes of a 2xx to a request that went on as `sent` (RFC 4028 §8.2).
pub fn answered(ok: &Message<'_>, sent: &Sent) -> Answered {
    match (seconds(ok, Header::SessionExpires), sent.interval) {
        // Who does not know timers refreshes nothing, whatever the other side writes (RFC 4028 §9).
        (Some(_), _) if !sent.asker_knows && !refreshed_by_answerer(ok) => Answered::Untimed,
        (Some(interval), _) => Answered::Says(interval.max(LEAST)),
        (None, Some(interval)) if sent.asker_knows => Answered::Add(interval),
        _ => Answered::Untimed,
    }
}

/// `refresher=uas` in a 2xx.
fn refreshed_by_answerer(ok: &Message<'_>) -> bool {
    let value = ok.header(Header::SessionExpires).unwrap_or(b"");
    value.split(|b| *b == b';').skip(1).any(|param| {
        let mut parts = param.splitn(2, |b| *b == b'=').map(<[u8]>::trim_ascii);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"refresher"))
            && parts.next().is_some_and(|who| who.eq_ignore_ascii_case(b"uas"))
    })
}

/// The Require value of a 2xx that gets the option tag `timer` besides what it has.
pub fn require_value(ok: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for value in ok.values(Header::Require).filter(|v| !v.eq_ignore_ascii_case(b"timer")) {
        out.extend(value.iter().filter(|b| !matches!(b, b'\r' | b'\n')));
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(b"timer");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(start: &str, lines: &str) -> String {
        format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\n\
             CSeq: 1 INVITE\r\nMax-Forwards: 9\r\n{lines}\r\n"
        )
    }

    fn ask(lines: &str, wanted: Option<u32>, least: u32) -> Asked {
        let text = message("INVITE sip:c@d SIP/2.0", lines);
        asked(&Message::parse(text.as_bytes()).unwrap(), &Policy { wanted, least, may_refuse: true })
    }

    fn goes(interval: Option<u32>, changed: bool, least: Option<u32>, asker_knows: bool) -> Asked {
        Asked::Goes(Sent { interval, changed, least, asker_knows })
    }

    const KNOWS: &str = "Supported: 100rel, timer\r\n";

    #[test]
    fn rfc_4028_8_1_a_proxy_may_ask_where_nobody_did() {
        for (lines, knows) in [("", false), (KNOWS, true), ("k: timer\r\n", true)] {
            assert_eq!(ask(lines, Some(1800), 90), goes(Some(1800), true, None, knows), "{lines}");
            assert_eq!(ask(lines, None, 90), goes(None, false, None, knows), "{lines}");
        }
        // Not below Min-SE of the request, nor below our own least, nor below 90.
        assert_eq!(ask("Min-SE: 3600\r\n", Some(1800), 90), goes(Some(3600), true, None, false));
        assert_eq!(ask("", Some(100), 600), goes(Some(600), true, None, false));
        assert_eq!(ask("", Some(10), 0), goes(Some(90), true, None, false));
    }

    #[test]
    fn rfc_4028_8_1_an_interval_is_reduced_and_not_increased() {
        let with = |lines: &str| format!("{KNOWS}{lines}");
        assert_eq!(
            ask(&with("Session-Expires: 3600\r\n"), Some(1800), 90),
            goes(Some(1800), true, None, true)
        );
        assert_eq!(
            ask(&with("Session-Expires: 900\r\n"), Some(1800), 90),
            goes(Some(900), false, None, true)
        );
        assert_eq!(ask(&with("x: 900;refresher=uac\r\n"), None, 90), goes(Some(900), false, None, true));
        let least = with("Session-Expires: 3600\r\nMin-SE: 2000\r\n");
        assert_eq!(
            ask(&least, Some(1800), 90),
            goes(Some(2000), true, None, true),
            "Min-SE of the request holds"
        );
    }

    #[test]
    fn rfc_4028_8_1_too_small_is_422_for_who_knows_timers_and_made_larger_for_who_does_not() {
        assert_eq!(ask(&format!("{KNOWS}Session-Expires: 300\r\n"), None, 600), Asked::TooSmall(600));
        assert_eq!(
            ask(&format!("{KNOWS}Session-Expires: 50\r\n"), None, 0),
            Asked::TooSmall(90),
            "never below 90"
        );
        assert_eq!(
            ask(&format!("{KNOWS}Session-Expires: 600\r\n"), None, 600),
            goes(Some(600), false, None, true)
        );
        assert_eq!(ask("Session-Expires: 300\r\n", None, 600), goes(Some(600), true, Some(600), false));
        assert_eq!(
            ask("Session-Expires: 300\r\nMin-SE: 100\r\n", None, 600),
            goes(Some(600), true, Some(600), false)
        );
        let more = ask("Session-Expires: 300\r\nMin-SE: 900\r\n", None, 600);
        assert_eq!(more, goes(Some(900), true, None, false), "Min-SE is never decreased");
        // A call that may not be refused goes on as it is: Min-SE is not for a proxy to write where timers are known.
        let text = message("INVITE sip:c@d SIP/2.0", &format!("{KNOWS}Session-Expires: 300\r\n"));
        let policy = Policy { wanted: None, least: 600, may_refuse: false };
        assert_eq!(
            asked(&Message::parse(text.as_bytes()).unwrap(), &policy),
            goes(Some(300), false, None, true)
        );
    }

    #[test]
    fn rfc_4028_8_1_the_refresher_is_left_alone() {
        for (came, value) in [
            ("Session-Expires: 3600\r\n", "1800"),
            ("Session-Expires: 3600;refresher=uac\r\n", "1800;refresher=uac"),
            ("x: 3600 ;refresher=uas;x=y\r\n", "1800;refresher=uas;x=y"),
            ("", "1800"),
        ] {
            let text = message("INVITE sip:c@d SIP/2.0", came);
            let got = expires_value(&Message::parse(text.as_bytes()).unwrap(), 1800);
            assert_eq!(String::from_utf8(got).unwrap(), value);
        }
    }

    #[test]
    fn rfc_4028_8_2_every_answer() {
        let sent = |interval, asker_knows| Sent { interval, asker_knows, ..Sent::default() };
        let answer = |lines: &str, sent: Sent| {
            let text = message("SIP/2.0 200 OK", lines);
            answered(&Message::parse(text.as_bytes()).unwrap(), &sent)
        };
        let says = "Session-Expires: 1200;refresher=uas\r\nRequire: timer\r\n";
        for (lines, sent, expected) in [
            (says, sent(Some(1800), true), Answered::Says(1200)),
            (says, sent(Some(1800), false), Answered::Says(1200)),
            (says, sent(None, false), Answered::Says(1200)),
            ("", sent(Some(1800), true), Answered::Add(1800)),
            ("", sent(Some(1800), false), Answered::Untimed),
            ("", sent(None, true), Answered::Untimed),
            ("Session-Expires: 1\r\n", sent(Some(1800), true), Answered::Says(90)),
            ("Session-Expires: junk\r\n", sent(Some(1800), false), Answered::Untimed),
            ("Session-Expires: 99999999999999999999\r\n", sent(None, true), Answered::Says(u32::MAX)),
            // Nobody would refresh.
            ("Session-Expires: 1200\r\n", sent(Some(1800), false), Answered::Untimed),
            ("Session-Expires: 1200;refresher=uac\r\n", sent(Some(1800), false), Answered::Untimed),
            ("x: 1200;a=b; Refresher = UAS \r\n", sent(Some(1800), false), Answered::Says(1200)),
        ] {
            assert_eq!(answer(lines, sent), expected, "{lines} {sent:?}");
        }
        let text = message("SIP/2.0 200 OK", "Require: 100rel\r\nRequire: TIMER\r\n");
        assert_eq!(require_value(&Message::parse(text.as_bytes()).unwrap()), b"100rel, timer");
        let text = message("SIP/2.0 200 OK", "");
        assert_eq!(require_value(&Message::parse(text.as_bytes()).unwrap()), b"timer");
    }
}
