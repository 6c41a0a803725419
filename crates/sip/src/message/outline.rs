//! A message that was read once and waits for an answer from elsewhere: whoever keeps its bytes keeps with them where everything stands, and
//! need not read them again.

use super::{Entry, Kind, Message, Method};
use crate::header::{Header, NameAddr, Params, Via, lex};

/// What was read of a message, without its bytes.
#[derive(Clone, Debug)]
pub struct Outline {
    kind: OutlineKind,
    entries: [Entry; LINES],
    count: u8,
    first: [u8; Header::COUNT],
    head_end: usize,
    body_len: usize,
    via: ViaOutline,
    cseq: (u32, Method),
    call_id: Span,
    from: AddressOutline,
    to: AddressOutline,
    from_tag: Option<Span>,
    to_tag: Option<Span>,
    max_forwards: Option<u32>,
}

/// A message with more lines has none: it is read again.
const LINES: usize = 32;

#[derive(Clone, Copy, Debug)]
enum OutlineKind {
    Request(Method, Span),
    Response(u16, Span),
}

/// A part of the headers, which are at most 16 KiB.
#[derive(Clone, Copy, Debug)]
struct Span {
    at: u16,
    len: u16,
}

#[derive(Clone, Copy, Debug)]
struct ViaOutline {
    raw: Span,
    transport: Span,
    host: Span,
    port: Option<u16>,
    branch: Option<Span>,
    received: Option<Span>,
    rport: Option<Option<u16>>,
    maddr: Option<Span>,
    params: Span,
}

#[derive(Clone, Copy, Debug)]
struct AddressOutline {
    raw: Span,
    display: Span,
    uri: Span,
    bracketed: bool,
    params: Span,
    sloppy: bool,
}

impl Message<'_> {
    /// Where everything stands in its bytes. `None`: it has more lines than an outline holds.
    pub fn outline(&self) -> Option<Outline> {
        let entries = self.entries.get(..usize::from(self.count))?;
        let mut kept = [super::parse::EMPTY; LINES];
        kept.get_mut(..entries.len())?.copy_from_slice(entries);
        let span = |part: &[u8]| Span::of(self.buf, part);
        let some = |part: Option<&[u8]>| part.map_or(Some(None), |part| span(part).map(Some));
        let address = |a: &NameAddr<'_>| {
            Some(AddressOutline {
                raw: span(a.raw)?,
                display: span(a.display)?,
                uri: span(a.uri)?,
                bracketed: a.bracketed,
                params: span(a.params.0)?,
                sloppy: a.sloppy,
            })
        };
        let via = &self.via;
        Some(Outline {
            kind: match self.kind {
                Kind::Request { method, uri } => OutlineKind::Request(method, span(uri)?),
                Kind::Response { status, reason } => OutlineKind::Response(status, span(reason)?),
            },
            entries: kept,
            count: self.count,
            first: self.first,
            head_end: self.head_end,
            body_len: self.body.len(),
            via: ViaOutline {
                raw: span(via.raw)?,
                transport: span(via.transport)?,
                host: span(via.host)?,
                port: via.port,
                branch: some(via.branch)?,
                received: some(via.received)?,
                rport: via.rport,
                maddr: some(via.maddr)?,
                params: span(via.params.0)?,
            },
            cseq: self.cseq,
            call_id: span(self.call_id)?,
            from: address(&self.from)?,
            to: address(&self.to)?,
            from_tag: some(self.from_tag)?,
            to_tag: some(self.to_tag)?,
            max_forwards: self.max_forwards,
        })
    }
}

impl Outline {
    /// The message of bytes that were read before: by its outline when there is one, else it is read again. `None`: it is none.
    pub fn message<'b>(held: Option<&Outline>, bytes: &'b [u8]) -> Option<Message<'b>> {
        match held {
            Some(outline) => outline.over(bytes),
            None => Message::parse(bytes).ok(),
        }
    }

    /// The message again, over the bytes that it was read from or a copy of them ([`Message::bytes`] is enough). `None`: they are too few.
    /// Over other bytes it is a message that says nothing of use, and no more than that.
    pub fn over<'b>(&self, bytes: &'b [u8]) -> Option<Message<'b>> {
        let mut m = super::parse::blank(bytes);
        let buf = m.buf;
        let part = |span: Span| span.within(buf);
        let some = |span: Option<Span>| span.map_or(Some(None), |span| part(span).map(Some));
        let address = |a: &AddressOutline| {
            Some(NameAddr {
                raw: part(a.raw)?,
                display: part(a.display)?,
                uri: part(a.uri)?,
                bracketed: a.bracketed,
                params: Params(part(a.params)?),
                sloppy: a.sloppy,
            })
        };
        m.kind = match self.kind {
            OutlineKind::Request(method, uri) => Kind::Request { method, uri: part(uri)? },
            OutlineKind::Response(status, reason) => Kind::Response { status, reason: part(reason)? },
        };
        m.entries.get_mut(..LINES)?.copy_from_slice(&self.entries);
        m.count = self.count;
        m.first = self.first;
        m.head_end = self.head_end;
        m.body = buf.get(self.head_end.checked_add(2)?..)?.get(..self.body_len)?;
        let via = &self.via;
        m.via = Via {
            raw: part(via.raw)?,
            transport: part(via.transport)?,
            host: part(via.host)?,
            port: via.port,
            branch: some(via.branch)?,
            received: some(via.received)?,
            rport: via.rport,
            maddr: some(via.maddr)?,
            params: Params(part(via.params)?),
        };
        m.cseq = self.cseq;
        m.call_id = part(self.call_id)?;
        (m.from, m.to) = (address(&self.from)?, address(&self.to)?);
        (m.from_tag, m.to_tag) = (some(self.from_tag)?, some(self.to_tag)?);
        m.max_forwards = self.max_forwards;
        Some(m)
    }
}

impl Span {
    fn of(whole: &[u8], part: &[u8]) -> Option<Span> {
        if part.is_empty() {
            return Some(Span { at: 0, len: 0 });
        }
        let at = lex::offset_in(whole, part)?;
        Some(Span { at: u16::try_from(at).ok()?, len: u16::try_from(part.len()).ok()? })
    }

    fn within(self, whole: &[u8]) -> Option<&[u8]> {
        let at = usize::from(self.at);
        whole.get(at..at.saturating_add(usize::from(self.len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "\r\nINVITE sip:+14155550123@192.0.2.1;user=phone SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bK1;rport;received=192.0.2.8;maddr=192.0.2.9;x=y\r\nv: SIP/2.0/TCP h\r\n\
        Max-Forwards: 69\r\nf: \"A. B.\" <sip:a@h;p=1>;tag=one;q=1\r\nTo: sip:b@h;tag=two\r\nCall-ID: c@h\r\nCSeq: 7 INVITE\r\n\
        Contact: <sip:a@h>, <sip:c@h>\r\nX-Folded: a\r\n b\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0junk";
    const RINGING: &str = "SIP/2.0 180 Ringing there\r\nVia: SIP/2.0/UDP h:1;branch=z9hG4bK1\r\nFrom: Bond, James <sip:a@h>;tag=1\r\n\
        To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n";

    /// All that a message says, its lines included.
    fn said(m: &Message<'_>) -> String {
        let lines: Vec<_> = m.headers().collect();
        let parts = (m.kind(), lines, m.body(), m.top_via(), m.cseq(), m.call_id(), m.max_forwards());
        let ends = (m.from(), m.to(), m.from_tag(), m.to_tag(), m.bytes(), m.sdp(), m.is_sloppy());
        let contacts: Vec<_> = m.contacts().collect();
        format!("{parts:?} {ends:?} {contacts:?} {:?} {:?}", m.first, (m.head_end, m.count))
    }

    #[test]
    fn over_a_copy_of_its_bytes_a_message_says_the_same() {
        for text in [INVITE, RINGING] {
            let read = Message::parse(text.as_bytes()).unwrap();
            let outline = read.outline().unwrap();
            for copy in [text.as_bytes().to_vec(), read.bytes().to_vec()] {
                let again = outline.over(&copy).unwrap();
                assert_eq!(said(&again), said(&Message::parse(&copy).unwrap()));
                assert_eq!(again.outline().map(|o| format!("{o:?}")), Some(format!("{outline:?}")));
            }
        }
    }

    /// Whatever is put below it: no panic, and nothing from outside of those bytes.
    #[test]
    fn other_bytes_are_no_danger() {
        for text in [INVITE, RINGING] {
            let read = Message::parse(text.as_bytes()).unwrap();
            let outline = read.outline().unwrap();
            let whole = read.bytes();
            for len in 0..whole.len() {
                assert!(outline.over(&whole[..len]).is_none(), "{len}");
            }
            for other in [vec![0; 4_096], vec![b','; 4_096], b"\r\n".repeat(2_048), vec![0xFF; 70_000]] {
                if let Some(m) = outline.over(&other) {
                    let _ = said(&m);
                }
            }
        }
    }

    #[test]
    fn a_message_of_many_lines_is_read_again() {
        for (more, holds) in [(LINES - 5, true), (LINES - 4, false)] {
            let text = RINGING.replace("\r\n\r\n", &format!("\r\n{}\r\n", "X-A: 1\r\n".repeat(more)));
            let read = Message::parse(text.as_bytes()).unwrap();
            assert_eq!(read.outline().is_some(), holds, "{}", read.count);
        }
    }
}
