//! The one parser: first line, index of header lines, limits, and the five headers that every message needs.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memchr3};
use warp_model::limits;

use super::{Entry, Kind, MAX_LINES, Message, Method, NO_LINE};
use crate::header::{Header, NameAddr, Via, lex};

/// Why bytes are not a message that can be handled, and what to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Status to answer with [`super::ResponseDraft::broken`]; `None`: drop without a word (a broken response or ACK, no readable Via,
    /// a keep-alive).
    pub status: Option<u16>,
    /// What is wrong: fit for the reason phrase, a log line and a metric label (a closed set).
    pub reason: &'static str,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for ParseError {}

impl ParseError {
    /// A fault that the framing found: it keeps its status when the message can be answered.
    pub(crate) fn on_stream(head: &[u8], status: u16, reason: &'static str) -> ParseError {
        refuse(head, Fault(status, reason))
    }
}

/// Length of the body by Content-Length, which a stream must have (RFC 3261 §20.14). `head`: one message up to its blank line.
/// Errors: a head that cannot be indexed, a value longer than a stream may bring, no Content-Length, more than one, not a number.
pub(crate) fn stream_length(head: &[u8]) -> Result<usize, ParseError> {
    let length = || {
        let mut m = blank(head);
        index(&mut m, Mode::Strict)?;
        if m.headers().any(|l| l.value.len() > limits::SIP_HEADER_VALUE_BYTES) {
            return Err(Fault(513, "Message Too Large"));
        }
        let value = m.header(Header::ContentLength).ok_or(bad("no Content-Length"))?;
        lex::number(value).and_then(|n| usize::try_from(n).ok()).ok_or(bad("Content-Length"))
    };
    length().map_err(|fault| refuse(head, fault))
}

/// How a message is wrong, before it is known whether it can be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault(u16, &'static str);

const fn bad(reason: &'static str) -> Fault {
    Fault(400, reason)
}

pub(super) fn parse(buf: &[u8]) -> Result<Message<'_>, ParseError> {
    // Filled where it is, not handed up from function to function: it is more than a kilobyte.
    let mut m = blank(buf);
    match fill(&mut m, Mode::Strict) {
        Ok(()) => Ok(m),
        Err(fault) => Err(refuse(buf, fault)),
    }
}

/// Finds out whether a broken message can be answered: its sender must be readable, and it must want an answer.
#[cold]
fn refuse(buf: &[u8], Fault(status, reason): Fault) -> ParseError {
    let answerable = status != 0 && salvage(buf).is_some_and(|m| m.is_request() && m.method() != Method::Ack);
    ParseError { status: answerable.then_some(status), reason }
}

/// What can still be read of a broken message: first line and top Via are good; From, To, Call-ID and CSeq may be missing.
pub(super) fn salvage(buf: &[u8]) -> Option<Message<'_>> {
    let mut m = blank(buf);
    fill(&mut m, Mode::Salvage).ok()?;
    Some(m)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Strict,
    Salvage,
}

#[inline]
fn fill(m: &mut Message<'_>, mode: Mode) -> Result<(), Fault> {
    let counts = index(m, mode)?;
    fields(m, counts, mode)
}

/// A message of which nothing is read yet.
#[inline(always)]
pub(super) fn blank(whole: &[u8]) -> Message<'_> {
    let buf = begin_of(whole);
    Message {
        buf,
        kind: Kind::Response { status: 0, reason: b"" },
        entries: [EMPTY; MAX_LINES],
        count: 0,
        first: [NO_LINE; Header::COUNT],
        head_end: 0,
        body: b"",
        via: Via::default(),
        cseq: (0, Method::Other),
        call_id: b"",
        from: NameAddr::default(),
        to: NameAddr::default(),
        from_tag: None,
        to_tag: None,
        max_forwards: None,
    }
}

/// How many values of the limited headers there are at most: lines plus commas, before anybody has looked at quotes.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    vias: usize,
    routes: usize,
    contacts: usize,
}

pub(super) const EMPTY: Entry =
    Entry { start: 0, name_len: 0, header: Header::Other, value: 0, value_end: 0 };

/// The three digits of a status line, and what follows them.
#[inline]
fn status(rest: &[u8]) -> Result<(u16, &[u8]), Fault> {
    let (digits, rest) = rest.split_at_checked(3).ok_or(bad("status line"))?;
    let status = lex::number(digits)
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| (100..=699).contains(n) && digits.iter().all(u8::is_ascii_digit))
        .ok_or(bad("status code"))?;
    Ok((status, rest))
}

fn first_line(line: &[u8], mode: Mode) -> Result<Kind<'_>, Fault> {
    if memchr3(0, b'\r', b'\t', line).is_some() {
        return Err(bad("control character in first line"));
    }
    if let Some(rest) = line.strip_prefix(b"SIP/2.0 ") {
        let (status, rest) = status(rest)?;
        let reason = match rest.strip_prefix(b" ") {
            Some(reason) => reason,
            // RFC 3261 §7.2 wants the space; some leave it out with the phrase.
            None if rest.is_empty() => b"",
            None => return Err(bad("status code")),
        };
        return Ok(Kind::Response { status, reason });
    }
    let (token, rest) = lex::token(line);
    let rest = rest.strip_prefix(b" ").ok_or(bad("request line"))?;
    if token.is_empty() {
        return Err(bad("request line"));
    }
    let last = memchr::memrchr(b' ', rest);
    let (uri, version) = match last {
        Some(at) => rest.split_at_checked(at).ok_or(bad("request line"))?,
        None => return Err(bad("request line")),
    };
    let version = version.get(1..).unwrap_or(b"");
    if version != b"SIP/2.0" && mode == Mode::Strict {
        let sip = version.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(b"SIP/"));
        return Err(if version.eq_ignore_ascii_case(b"SIP/2.0") {
            bad("protocol name in lower case")
        } else if sip {
            Fault(505, "Version Not Supported")
        } else {
            bad("request line")
        });
    }
    if mode == Mode::Strict {
        if uri.is_empty() || memchr(b' ', uri).is_some() {
            return Err(bad("spaces in request line"));
        }
        if uri.len() > limits::SIP_URI_BYTES {
            return Err(Fault(414, "Request-URI Too Long"));
        }
        if uri.first() == Some(&b'<') {
            return Err(bad("Request-URI in brackets"));
        }
    }
    Ok(Kind::Request { method: Method::from_token(token), uri })
}

/// Reads the first line and indexes the others, up to the blank line.
fn index(m: &mut Message<'_>, mode: Mode) -> Result<Counts, Fault> {
    let buf = m.buf;
    let head = buf.get(..limits::SIP_HEADER_BYTES).unwrap_or(buf);
    if head.is_empty() {
        return Err(Fault(0, "keep-alive"));
    }
    let line_end = memchr(b'\n', head).ok_or(bad("first line"))?;
    let first = head.get(..line_end).and_then(|l| l.strip_suffix(b"\r")).ok_or(bad("first line end"))?;
    m.kind = first_line(first, mode)?;
    let mut at = line_end.saturating_add(1);
    let mut counts = Counts::default();
    let too_long = || {
        if buf.len() > limits::SIP_HEADER_BYTES {
            Fault(513, "Message Too Large")
        } else {
            bad("headers without end")
        }
    };
    loop {
        let rest = head.get(at..).unwrap_or(b"");
        if rest.starts_with(b"\r\n") {
            m.head_end = at;
            return Ok(counts);
        }
        if rest.is_empty() {
            // Salvage takes what there is of a cut message.
            m.head_end = at;
            return if mode == Mode::Salvage { Ok(counts) } else { Err(too_long()) };
        }
        match line(m, &mut counts, head, at, mode) {
            Ok(next) => at = next,
            Err(fault) if mode == Mode::Strict => {
                return Err(if fault.1 == CUT { too_long() } else { fault });
            }
            Err(_) => {
                // Salvage: on to the next line.
                let skip = memchr(b'\n', rest).map_or(rest.len(), |n| n.saturating_add(1));
                at = at.saturating_add(skip);
            }
        }
    }
}

const CUT: &str = "line without end";
/// Bytes of a header's name with the white space after it.
const MAX_NAME: usize = 250;

/// One line with its folds: adds it to the index, gives the offset of the next.
#[inline]
fn line(
    m: &mut Message<'_>,
    counts: &mut Counts,
    head: &[u8],
    at: usize,
    mode: Mode,
) -> Result<usize, Fault> {
    let rest = head.get(at..).unwrap_or(b"");
    let (header, name_len, colon) = match Header::at_start(rest) {
        Some((header, colon)) => (header, colon, colon),
        None => {
            let (header, name) = odd_name(rest)?;
            (header, name.0, name.1)
        }
    };
    let value_at = at.wrapping_add(colon).wrapping_add(1);
    let (value_to, next) = value_end(head, value_at)?;
    let value = lex::trim(head.get(value_at..value_to).unwrap_or(b""));
    let value_start = lex::offset_in(head, value).unwrap_or(value_to);
    let count = usize::from(m.count);
    // Offsets below SIP_HEADER_BYTES fit 16 bits, names below MAX_NAME fit 8.
    let entry = Entry {
        start: at as u16,
        name_len: name_len as u8,
        header,
        value: value_start as u16,
        value_end: value_start.wrapping_add(value.len()) as u16,
    };
    *m.entries.get_mut(count).ok_or(bad("too many headers"))? = entry;
    if let Some(first) = m.first.get_mut(header as usize) {
        if *first == NO_LINE {
            *first = m.count;
        } else if header.is_single() && mode == Mode::Strict {
            return Err(bad("header given twice"));
        }
    }
    m.count = m.count.saturating_add(1);
    let counter = match header {
        Header::Via => &mut counts.vias,
        Header::Route | Header::RecordRoute => &mut counts.routes,
        Header::Contact => &mut counts.contacts,
        _ => return Ok(next),
    };
    let commas = if memchr(b',', value).is_some() { memchr_iter(b',', value).count() } else { 0 };
    *counter = counter.saturating_add(1).saturating_add(commas);
    Ok(next)
}

/// Where a value with its folds ends, and where the next line begins.
#[inline]
fn value_end(head: &[u8], value_at: usize) -> Result<(usize, usize), Fault> {
    let mut nuls = 0_u32;
    let mut from = value_at;
    loop {
        let seek = head.get(from..).unwrap_or(b"");
        let hit = memchr3(b'\r', b'\n', 0, seek).ok_or(bad(CUT))?;
        lex::step(hit);
        let pos = from.wrapping_add(hit); // all within `head`
        match seek.get(hit..) {
            Some([b'\r', b'\n', b' ' | b'\t', ..]) => from = pos.wrapping_add(2),
            // The blank line must still be in reach, so a line end at the very end is no end of the headers.
            Some([b'\r', b'\n', ..]) => return Ok((pos, pos.wrapping_add(2))),
            // A few only: each costs a look at the whole value.
            Some([0, ..]) if nuls < 8 && escaped_nul(head, value_at, pos) => {
                nuls = nuls.wrapping_add(1);
                from = pos.wrapping_add(1);
            }
            Some([0, ..]) => return Err(bad("NUL in header")),
            Some([b'\r', ..]) => return Err(bad("bare CR in header")),
            _ => return Err(bad("bare LF in header")),
        }
    }
}

/// The Call-ID of a message, by the rules of the parser but without reading the rest: for choosing who shall read it.
/// `None` when there is none before the first line that is no header, or it cannot be read.
pub fn call_id_of(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = begin_of(bytes);
    value_in(bytes, Header::CallId, |b| matches!(b, b'i' | b'I' | b'c' | b'C')).filter(|v| !v.is_empty())
}

/// What a message is, by the rules of the parser but without reading the rest: for counting it. The status of a response, `None` for a
/// request; and the method that it is about: of a response the one of its CSeq, [`Method::Other`] when there is none that can be read.
/// `None`: it does not begin as SIP does.
pub fn kind_of(bytes: &[u8]) -> Option<(Option<u16>, Method)> {
    let bytes = begin_of(bytes);
    let head = bytes.get(..limits::SIP_HEADER_BYTES).unwrap_or(bytes);
    let Some(rest) = head.strip_prefix(b"SIP/2.0 ") else {
        let (token, rest) = lex::token(head);
        return (!token.is_empty() && rest.starts_with(b" ")).then(|| (None, Method::from_token(token)));
    };
    let (status, rest) = status(rest).ok()?;
    if !rest.starts_with(b" ") && !rest.starts_with(b"\r\n") {
        return None;
    }
    let value = cseq_line(head).or_else(|| value_in(bytes, Header::CSeq, |b| matches!(b, b'c' | b'C')));
    let method = value.and_then(cseq).map_or(Method::Other, |(_, token)| Method::from_token(token));
    Some((Some(status), method))
}

/// The value of a CSeq line in its usual spelling, which two searches find sooner than a walk over the lines; in what stands before it there
/// is no end of the headers.
#[inline]
fn cseq_line(head: &[u8]) -> Option<&[u8]> {
    static LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\nCSeq:"));
    static BLANK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\r\n"));
    let at = LINE.find(head)?;
    let value_at = at.checked_add(b"\nCSeq:".len())?;
    let before = head.get(..=at)?;
    if BLANK.find(before).is_some() {
        return None;
    }
    let (value_to, _) = value_end(head, value_at).ok()?;
    head.get(value_at..value_to).map(lex::trim)
}

/// RFC 3261 §7.5: line ends before the first line are ignored.
#[inline(always)]
fn begin_of(whole: &[u8]) -> &[u8] {
    let mut bytes = whole;
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    bytes
}

/// Value of the first line with this header. `may_be`: letters that its names begin with.
#[inline]
fn value_in(bytes: &[u8], header: Header, may_be: impl Fn(u8) -> bool) -> Option<&[u8]> {
    let head = bytes.get(..limits::SIP_HEADER_BYTES).unwrap_or(bytes);
    let mut at = memchr(b'\n', head)?.checked_add(1)?;
    loop {
        let rest = head.get(at..)?;
        let found = match *rest.first()? {
            b'\r' | b'\n' => return None,
            b if may_be(b) => Header::at_start(rest).or_else(|| odd_name(rest).ok().map(|(h, n)| (h, n.1))),
            _ => None,
        };
        if let Some((name, colon)) = found
            && name == header
        {
            let value_at = at.checked_add(colon)?.checked_add(1)?;
            let (value_to, _) = value_end(head, value_at).ok()?;
            return head.get(value_at..value_to).map(lex::trim);
        }
        at = at.checked_add(memchr(b'\n', rest)?)?.checked_add(1)?;
    }
}

/// A name that is long, unknown or has white space behind it: its header, its length and where its colon is.
fn odd_name(rest: &[u8]) -> Result<(Header, (usize, usize)), Fault> {
    let Some(colon) = lex::find_colon(rest.get(..MAX_NAME).unwrap_or(rest)) else {
        return Err(if rest.len() < MAX_NAME { bad(CUT) } else { bad("header name too long") });
    };
    let mut name = rest.get(..colon).unwrap_or(b"");
    while let [front @ .., b' ' | b'\t'] = name {
        name = front;
    }
    let header = Header::from_name(name);
    // A known name is a token; what is not one (a line without colon, say) is neither.
    if header == Header::Other && !lex::is_token(name) {
        return Err(bad("header name"));
    }
    Ok((header, (name.len(), colon)))
}

/// Whether the NUL at `pos` is a quoted-pair within a quoted string, the one place where the grammar allows it (RFC 3261 §25.1;
/// RFC 4475 §3.1.1.2 has such a message).
#[cold]
fn escaped_nul(head: &[u8], value_at: usize, pos: usize) -> bool {
    let (mut in_quotes, mut escaped) = (false, false);
    for b in head.get(value_at..pos).unwrap_or(b"") {
        lex::step(0);
        match b {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' => in_quotes = !in_quotes,
            _ => {}
        }
    }
    in_quotes && escaped
}

/// The headers that every message needs, the counts, and the body.
fn fields(m: &mut Message<'_>, counts: Counts, mode: Mode) -> Result<(), Fault> {
    let strict = mode == Mode::Strict;
    let via = m.values(Header::Via).next().ok_or(bad("no Via"))?;
    let parsed = if strict { Via::parse(via) } else { Via::parse_any_version(via) };
    m.via = parsed.map_err(|_| bad("Via"))?;
    if let Some(value) = m.header(Header::CSeq) {
        match cseq(value) {
            Some((number, token)) => {
                m.cseq = (number, Method::from_token(token));
                if let Kind::Request { method, .. } = m.kind {
                    let same =
                        m.cseq.1 == method && (method != Method::Other || Some(token) == first_token(m.buf));
                    if strict && !same {
                        return Err(bad("CSeq method differs"));
                    }
                }
            }
            None if strict => return Err(bad("CSeq")),
            None => {}
        }
    } else if strict {
        return Err(bad("no CSeq"));
    }
    match m.header(Header::CallId) {
        Some(value) if !value.is_empty() && !value.iter().any(|b| lex::is_lws(*b)) => {
            m.call_id = value;
        }
        Some(_) if strict => return Err(bad("Call-ID")),
        None if strict => return Err(bad("no Call-ID")),
        _ => {}
    }
    (m.from, m.from_tag) = address(m, Header::From, mode, "no From", "From")?;
    (m.to, m.to_tag) = address(m, Header::To, mode, "no To", "To")?;
    if let Some(value) = m.header(Header::MaxForwards) {
        m.max_forwards = lex::number(value).filter(|n| *n <= 255);
        if strict && m.max_forwards.is_none() {
            return Err(bad("Max-Forwards"));
        }
    }
    if strict {
        limited(m, counts)?;
    }
    body(m, mode)
}

fn first_token(buf: &[u8]) -> Option<&[u8]> {
    Some(lex::token(buf).0)
}

fn address<'a>(
    m: &Message<'a>,
    header: Header,
    mode: Mode,
    missing: &'static str,
    broken: &'static str,
) -> Result<(NameAddr<'a>, Option<&'a [u8]>), Fault> {
    let parsed = match m.header(header) {
        None => Err(bad(missing)),
        Some(value) => {
            // What breaks the grammar of its display name only is for `check` to refuse, which knows whom it came from.
            NameAddr::parse_lenient(value)
                .and_then(|a| Ok((a, a.params.checked(b"tag")?)))
                .map_err(|_| bad(broken))
        }
    };
    if mode == Mode::Salvage {
        return Ok(parsed.unwrap_or_default());
    }
    parsed
}

/// Number and method token of a CSeq value (RFC 3261 §20.16: less than 2^31, which §8.1.1.5 asks of those who choose it; any 32 bits are
/// read).
fn cseq(value: &[u8]) -> Option<(u32, &[u8])> {
    let at = value.iter().position(|b| lex::is_lws(*b))?;
    let (number, rest) = value.split_at_checked(at)?;
    let rest = lex::trim_start(rest);
    let (token, rest) = lex::token(rest);
    (rest.is_empty() && !token.is_empty()).then_some(())?;
    Some((lex::number(number)?, token))
}

/// Limits on how many values there are (`ref/threats-and-faults` §1). The values are counted exactly only when the upper bound is too high.
fn limited(m: &Message<'_>, counts: Counts) -> Result<(), Fault> {
    let over = |most: usize, limit: usize, headers: &[Header]| {
        most > limit
            && headers.iter().flat_map(|h| m.values(*h)).take(limit.saturating_add(1)).count() > limit
    };
    if over(counts.vias, limits::SIP_VIAS, &[Header::Via]) {
        return Err(bad("too many Via"));
    }
    if over(counts.routes, limits::SIP_ROUTES, &[Header::Route, Header::RecordRoute]) {
        return Err(bad("too many Route"));
    }
    if over(counts.contacts, limits::SIP_CONTACTS, &[Header::Contact]) {
        return Err(bad("too many Contact"));
    }
    Ok(())
}

fn body(m: &mut Message<'_>, mode: Mode) -> Result<(), Fault> {
    let rest = m.buf.get(m.head_end.saturating_add(2)..).unwrap_or(b"");
    m.body = rest;
    let Some(value) = m.header(Header::ContentLength) else {
        return Ok(());
    };
    let length = lex::number(value).and_then(|n| usize::try_from(n).ok());
    match length.and_then(|n| rest.get(..n)) {
        Some(body) => m.body = body,
        None if mode == Mode::Salvage => m.body = b"",
        None if length.is_none() => return Err(bad("Content-Length")),
        None => return Err(bad("Content-Length beyond the message")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ResponseDraft, check, check_proxy};

    /// Steps of reading, checking and answering `value` in each header that is looked into.
    fn steps(header: &str, value: &[u8]) -> (usize, usize) {
        let mut text =
            b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
            To: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"
                .to_vec();
        text.extend_from_slice(format!("{header}: ").as_bytes());
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n\r\n");
        lex::STEPS.with(|s| s.set(0));
        match parse(&text) {
            Ok(m) => {
                let _ = (check(&m).is_ok(), check_proxy(&m, &[]).is_ok());
                let _ = (m.vias().count(), m.routes().count(), m.contacts().count());
            }
            Err(e) => {
                ResponseDraft::new(0).broken(&text, &e, &mut Vec::new());
            }
        }
        (lex::STEPS.with(std::cell::Cell::get), text.len())
    }

    /// 64 times the input costs at most 100 times the steps (`ref/threats-and-faults` §4 (c)).
    #[test]
    fn t_sip_01_work_is_linear_in_the_input() {
        let pieces: [&[u8]; 16] = [
            b",",
            b"\"",
            b"\\",
            b"\"\\\0\"",
            b";a",
            b";a=b",
            b"<",
            b">,<",
            b"\r\n ",
            b" ",
            b"<sip:a>,",
            b"SIP/2.0/UDP h,",
            b"%41",
            b"a",
            b"\"a\",",
            b"[",
        ];
        for header in [
            "X-A",
            "Via",
            "From",
            "Contact",
            "Route",
            "Record-Route",
            "CSeq",
            "Call-ID",
            "Proxy-Require",
            "Max-Forwards",
        ] {
            for piece in pieces {
                let fill = |n: usize| piece.repeat(n / piece.len());
                let (small, few) = steps(header, &fill(120));
                let (large, many) = steps(header, &fill(7_680));
                assert!(many <= 64 * few);
                assert!(large <= 100 * small.max(few), "{header}: {} {small} {large}", piece.escape_ascii());
                assert!(
                    large <= 40 * many,
                    "{header}: {} {large} steps for {many} bytes",
                    piece.escape_ascii()
                );
            }
        }
    }
}
