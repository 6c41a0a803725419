//! Edits: a forwarded message is the received one plus a short list of insertions and deletions, applied once while it is copied out.
//!
//! Invariants: whatever no edit names is copied byte for byte (T-SIP-01: valid but odd messages are forwarded as they came); the only
//! memory used is the output buffer. Text given to an edit is written as it is: the caller must not pass line ends from a stranger.

use std::net::SocketAddr;

use crate::flow::Transport;
use crate::header::{Header, lex};
use crate::message::Message;

/// More edits than an [`Edit`] holds. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EditFull;

impl std::fmt::Display for EditFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too many edits")
    }
}

impl std::error::Error for EditFull {}

/// A Via value to push.
#[derive(Clone, Copy, Debug)]
pub struct NewVia<'x> {
    /// Transport of the hop.
    pub transport: Transport,
    /// `host:port` as others reach us.
    pub sent_by: &'x [u8],
    /// Whole branch, cookie included.
    pub branch: &'x [u8],
    /// Whether to ask for `rport` (RFC 3581).
    pub rport: bool,
}

/// Edits to one message. Positions are those of the original: the order of calls matters only among insertions at the same place.
#[derive(Clone, Debug)]
pub struct Edit<'m, 'a> {
    msg: &'m Message<'a>,
    ops: [Op<'m>; OPS],
    /// What [`Put::Via`] stands for: kept out of the list, whose elements are many and small.
    via: Option<NewVia<'m>>,
    count: usize,
    full: bool,
    /// Bit n: line n is left out.
    removed: u128,
    routes_popped: usize,
    vias_popped: usize,
    body: Option<&'m [u8]>,
}

const OPS: usize = 32;

/// At `at`, leave out `del` bytes and write `put`. Headers are at most 16 KiB, so 32 bits do.
#[derive(Clone, Copy, Debug)]
struct Op<'m> {
    at: u32,
    del: u32,
    put: Put<'m>,
}

#[derive(Clone, Copy, Debug)]
enum Put<'m> {
    Nothing,
    Text(&'m [u8]),
    Line(&'m [u8], &'m [u8]),
    Number(u64),
    NumberLine(&'static str, u64),
    /// The pushed Via.
    Via,
    /// The top Via as this source may be told.
    Received(SocketAddr),
}

impl<'m, 'a: 'm> Edit<'m, 'a> {
    /// No edits yet: [`Edit::write_to`] would copy the message.
    pub fn new(msg: &'m Message<'a>) -> Edit<'m, 'a> {
        Edit {
            msg,
            ops: [NO_OP; OPS],
            via: None,
            count: 0,
            full: false,
            removed: 0,
            routes_popped: 0,
            vias_popped: 0,
            body: None,
        }
    }

    /// Puts a Via line above the others: one, for a hop adds one.
    pub fn push_via(&mut self, via: NewVia<'m>) -> &mut Self {
        if self.via.replace(via).is_some() {
            self.full = true;
        }
        let at = self.before(Header::Via);
        self.op(at, 0, Put::Via)
    }

    /// Takes the top Via value off; again: the next one.
    pub fn pop_via(&mut self) -> &mut Self {
        let n = self.vias_popped;
        self.vias_popped = n.saturating_add(1);
        self.remove_value(Header::Via, n)
    }

    /// Writes `received` and, if asked for, `rport` into the top Via of a request (RFC 3261 §18.2.1, RFC 3581 §4). What the sender wrote
    /// there itself is replaced. Does nothing when sent-by already tells the source and no rport is asked for.
    pub fn mark_received_rport(&mut self, source: SocketAddr) -> &mut Self {
        let via = self.msg.top_via();
        if via.rport.is_none() && via.received.is_none() && via.ip() == Some(source.ip()) {
            return self;
        }
        match lex::offset_in(self.msg.buf, via.raw) {
            Some(at) => self.op(at, via.raw.len(), Put::Received(source)),
            None => self,
        }
    }

    /// Another Request-URI. Does nothing to a response.
    pub fn set_uri(&mut self, uri: &'m [u8]) -> &mut Self {
        let Some(old) = self.msg.request_uri() else {
            return self;
        };
        match lex::offset_in(self.msg.buf, old) {
            Some(at) => self.op(at, old.len(), Put::Text(uri)),
            None => self,
        }
    }

    /// Sets Max-Forwards, adding the line where there is none.
    pub fn set_max_forwards(&mut self, hops: u32) -> &mut Self {
        let old = self.msg.header(Header::MaxForwards);
        match old.and_then(|v| Some((lex::offset_in(self.msg.buf, v)?, v.len()))) {
            Some((at, len)) => self.op(at, len, Put::Number(u64::from(hops))),
            None => {
                let at = self.before(Header::Via);
                self.op(at, 0, Put::NumberLine("Max-Forwards", u64::from(hops)))
            }
        }
    }

    /// Puts a Record-Route line above the others. `value` with its brackets: `<sip:192.0.2.1;lr>`.
    pub fn add_record_route(&mut self, value: &'m [u8]) -> &mut Self {
        let at = match self.msg.first_line(Header::RecordRoute) {
            Some(_) => self.before(Header::RecordRoute),
            None => self.after_vias(),
        };
        self.op(at, 0, Put::Line(b"Record-Route", value))
    }

    /// Takes the top Route value off; again: the next one.
    pub fn remove_route_top(&mut self) -> &mut Self {
        let n = self.routes_popped;
        self.routes_popped = n.saturating_add(1);
        self.remove_value(Header::Route, n)
    }

    /// Takes the last Route value off: a strict router before us had put the Request-URI there (RFC 3261 §16.4).
    pub fn remove_route_last(&mut self) -> &mut Self {
        match self.msg.values(Header::Route).count().checked_sub(1) {
            Some(last) => self.remove_value(Header::Route, last),
            None => self,
        }
    }

    /// Puts a Route value above the others. With its brackets.
    pub fn push_route(&mut self, value: &'m [u8]) -> &mut Self {
        let at = match self.msg.first_line(Header::Route) {
            Some(_) => self.before(Header::Route),
            None => self.after_vias(),
        };
        self.op(at, 0, Put::Line(b"Route", value))
    }

    /// Puts a Route value below the others: the Request-URI before a strict router (RFC 3261 §16.6 step 6). With its brackets.
    pub fn add_route_last(&mut self, value: &'m [u8]) -> &mut Self {
        let last = (0..self.msg.line_count()).rev().find(|n| self.msg.line_header(*n) == Some(Header::Route));
        let at = match last.and_then(|n| self.msg.line_range(n)) {
            Some((_, end)) => end,
            None => self.after_vias(),
        };
        self.op(at, 0, Put::Line(b"Route", value))
    }

    /// Removes all lines of a header by its parsed name, whatever their spelling (T-SIP-03).
    pub fn remove_header(&mut self, header: Header) -> &mut Self {
        if let Some(first) = self.msg.first_line(header) {
            for n in first..self.msg.line_count() {
                if self.msg.line_header(n) == Some(header) {
                    self.remove_line(n);
                }
            }
        }
        self
    }

    /// Removes all lines of a header that has no id, by name in any case. For a known name the same as [`Edit::remove_header`].
    pub fn remove_named(&mut self, name: &[u8]) -> &mut Self {
        match Header::from_name(name) {
            Header::Other => {
                for (n, line) in self.msg.headers().enumerate() {
                    if line.name.eq_ignore_ascii_case(name) {
                        self.remove_line(n);
                    }
                }
                self
            }
            header => self.remove_header(header),
        }
    }

    /// Removes the headers by which a trusted peer vouches for a caller, as they must not pass from an untrusted one (T-SIP-03):
    /// P-Asserted-Identity, P-Preferred-Identity, P-Charge-Info, Remote-Party-ID, Diversion, History-Info, X-Internal.
    pub fn remove_trust_headers(&mut self) -> &mut Self {
        for header in TRUST_HEADERS {
            self.remove_header(*header);
        }
        self
    }

    /// Adds a line after all others.
    pub fn add_header(&mut self, name: &'m [u8], value: &'m [u8]) -> &mut Self {
        let at = self.msg.head_end();
        self.op(at, 0, Put::Line(name, value))
    }

    /// Removes a header's lines and adds one with this value at the end.
    pub fn replace_header(&mut self, header: Header, value: &'m [u8]) -> &mut Self {
        self.remove_header(header);
        self.add_header(header.name().as_bytes(), value)
    }

    /// Replaces one value within the message (a slice got from it, such as a Contact's URI) by another text.
    pub fn replace_slice(&mut self, old: &[u8], new: &'m [u8]) -> &mut Self {
        match lex::offset_in(self.msg.buf, old) {
            Some(at) => self.op(at, old.len(), Put::Text(new)),
            None => self,
        }
    }

    /// Another body with its Content-Type; an empty one removes both.
    pub fn replace_body(&mut self, content_type: &'m [u8], body: &'m [u8]) -> &mut Self {
        self.remove_header(Header::ContentType);
        self.remove_header(Header::ContentLength);
        if body.is_empty() {
            self.remove_header(Header::ContentDisposition);
        } else {
            self.add_header(b"Content-Type", content_type);
        }
        let at = self.msg.head_end();
        self.body = Some(body);
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        self.op(at, 0, Put::NumberLine("Content-Length", length))
    }

    /// Another body of the same Content-Type.
    pub fn replace_content(&mut self, body: &'m [u8]) -> &mut Self {
        self.remove_header(Header::ContentLength);
        let at = self.msg.head_end();
        self.body = Some(body);
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        self.op(at, 0, Put::NumberLine("Content-Length", length))
    }

    /// Adds Content-Length when the message has none: a datagram that goes on over a stream (RFC 3261 §20.14).
    pub fn ensure_content_length(&mut self) -> &mut Self {
        if self.msg.has(Header::ContentLength) || self.body.is_some() {
            return self;
        }
        let at = self.msg.head_end();
        let length = u64::try_from(self.msg.body().len()).unwrap_or(u64::MAX);
        self.op(at, 0, Put::NumberLine("Content-Length", length))
    }

    /// Appends the edited message to `out`. Errors: [`EditFull`], nothing written.
    pub fn write_to(&mut self, out: &mut Vec<u8>) -> Result<(), EditFull> {
        if self.full {
            return Err(EditFull);
        }
        let buf = self.msg.buf;
        let head_end = self.msg.head_end();
        let body = self.body.unwrap_or(self.msg.body());
        out.reserve(head_end.saturating_add(body.len()).saturating_add(512));
        let ops = self.ops.get_mut(..self.count).unwrap_or(&mut []);
        ops.sort_by_key(|op| op.at); // stable: calls keep their order at one place; a short list is sorted in place
        let mut removed = self.removed;
        let mut at = 0_usize;
        let copy = |from: usize, to: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(buf.get(from..to).unwrap_or(b""));
        };
        let mut cut = next_removed(self.msg, &mut removed);
        for op in ops {
            let (op_at, op_del) = (op.at as usize, op.del as usize);
            while let Some((start, end)) = cut
                && start < op_at
            {
                copy(at, start, out);
                at = at.max(end);
                cut = next_removed(self.msg, &mut removed);
            }
            // An edit within a removed line goes with it.
            if op_del > 0 && op_at < at {
                continue;
            }
            copy(at, op_at, out);
            at = at.max(op_at.saturating_add(op_del));
            op.put.write(self.msg, self.via.as_ref(), out);
        }
        while let Some((start, end)) = cut {
            copy(at, start, out);
            at = at.max(end);
            cut = next_removed(self.msg, &mut removed);
        }
        copy(at, head_end, out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        Ok(())
    }

    fn op(&mut self, at: usize, del: usize, put: Put<'m>) -> &mut Self {
        match (self.ops.get_mut(self.count), u32::try_from(at), u32::try_from(del)) {
            (Some(slot), Ok(at), Ok(del)) => {
                *slot = Op { at, del, put };
                self.count = self.count.saturating_add(1);
            }
            _ => self.full = true,
        }
        self
    }

    fn remove_line(&mut self, n: usize) {
        match u32::try_from(n).ok().and_then(|n| 1_u128.checked_shl(n)) {
            Some(bit) => self.removed |= bit,
            None => self.full = true,
        }
    }

    /// Start of the first line of a header, else the end of the headers.
    fn before(&self, header: Header) -> usize {
        self.msg
            .first_line(header)
            .and_then(|n| self.msg.line_range(n))
            .map_or(self.msg.head_end(), |(start, _)| start)
    }

    /// End of the last Via line.
    fn after_vias(&self) -> usize {
        (0..self.msg.line_count())
            .rev()
            .find(|n| self.msg.line_header(*n) == Some(Header::Via))
            .and_then(|n| self.msg.line_range(n))
            .map_or(self.msg.head_end(), |(_, end)| end)
    }

    /// Removes the `nth` value of a list header: its whole line when no other value is left in it.
    fn remove_value(&mut self, header: Header, nth: usize) -> &mut Self {
        let mut seen = 0_usize;
        let Some(first) = self.msg.first_line(header) else { return self };
        for n in first..self.msg.line_count() {
            if self.msg.line_header(n) != Some(header) {
                continue;
            }
            let mut values = crate::header::Values::new(self.msg.line_value(n).unwrap_or(b""));
            let mut within = 0_usize;
            let mut before: Option<&[u8]> = None;
            while let Some(value) = values.next() {
                if seen != nth {
                    seen = seen.saturating_add(1);
                    within = within.saturating_add(1);
                    before = Some(value);
                    continue;
                }
                let next = values.next();
                // Values that were popped, this one or all before it, are gone already.
                let popped = match header {
                    Header::Via => self.vias_popped,
                    Header::Route => self.routes_popped,
                    _ => 0,
                };
                if next.is_none() && (within == 0 || popped >= seen) {
                    self.remove_line(n);
                    return self;
                }
                let offset = |s: &[u8]| lex::offset_in(self.msg.buf, s);
                let (from, to) = match next {
                    Some(next) => (offset(value), offset(next)),
                    // The last of several: from the end of the one before it.
                    None => {
                        let from = before.and_then(|b| offset(b)?.checked_add(b.len()));
                        (from, offset(value).and_then(|v| v.checked_add(value.len())))
                    }
                };
                if let (Some(from), Some(to)) = (from, to) {
                    self.op(from, to.saturating_sub(from), Put::Nothing);
                }
                return self;
            }
        }
        self
    }
}

/// Headers that only a trusted peer may set (T-SIP-03).
pub const TRUST_HEADERS: &[Header] = &[
    Header::PAssertedIdentity,
    // What a user would like to be called is for whom it signs in at (RFC 3325 §9.2), and goes no further.
    Header::PPreferredIdentity,
    Header::PChargeInfo,
    Header::RemotePartyId,
    Header::Diversion,
    Header::HistoryInfo,
    Header::XInternal,
];

/// Headers in which a caller may be named besides those, and which do not go on to who must not know him (RFC 3323 §5.3; a
/// PASSporT of RFC 8225 has his number too).
pub const PERSONAL_HEADERS: &[Header] = &[
    Header::ReplyTo,
    Header::CallInfo,
    Header::ReferredBy,
    Header::Organization,
    Header::Subject,
    Header::InReplyTo,
    Header::Identity,
    Header::Geolocation,
];

const NO_OP: Op<'static> = Op { at: 0, del: 0, put: Put::Nothing };

fn next_removed(msg: &Message<'_>, removed: &mut u128) -> Option<(usize, usize)> {
    if *removed == 0 {
        return None;
    }
    let n = removed.trailing_zeros();
    *removed &= removed.wrapping_sub(1);
    msg.line_range(usize::try_from(n).ok()?)
}

impl Put<'_> {
    fn write(&self, msg: &Message<'_>, via: Option<&NewVia<'_>>, out: &mut Vec<u8>) {
        match self {
            Put::Nothing => {}
            Put::Text(text) => out.extend_from_slice(text),
            Put::Line(name, value) => {
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            Put::Number(n) => lex::write_number(*n, out),
            Put::NumberLine(name, n) => {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                lex::write_number(*n, out);
                out.extend_from_slice(b"\r\n");
            }
            Put::Via => {
                let Some(via) = via else { return };
                out.extend_from_slice(b"Via: SIP/2.0/");
                out.extend_from_slice(via.transport.token().as_bytes());
                out.push(b' ');
                out.extend_from_slice(via.sent_by);
                if via.rport {
                    out.extend_from_slice(b";rport");
                }
                out.extend_from_slice(b";branch=");
                out.extend_from_slice(via.branch);
                out.extend_from_slice(b"\r\n");
            }
            Put::Received(source) => msg.top_via().write_received(*source, out),
        }
    }
}
