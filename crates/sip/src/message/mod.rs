//! SIP messages in place: one pass makes an index of the header lines, and everything else is a view into the same bytes.
//!
//! Invariants: no heap allocation while reading; the parser in [`Message::parse`] is the only one, so that every layer sees the same
//! message (T-SIP-03); what a stranger may send is bounded by `warp_model::limits`. A message that was parsed has one readable top Via, From,
//! To, Call-ID and CSeq. Absent on purpose: an owned message tree; a message is changed by [`crate::edit::Edit`].

mod check;
mod method;
mod outline;
mod parse;
mod respond;

pub use check::{Reject, check, check_lenient, check_proxy, max_breadth};
pub use method::Method;
pub use outline::Outline;
pub(crate) use parse::stream_length;
pub use parse::{ParseError, call_id_of, kind_of};
pub use respond::{ResponseDraft, reason_phrase, respond};

use crate::header::{Header, NameAddr, Values, Via, lex};

/// A parsed message over the buffer that it came in.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    pub(crate) buf: &'a [u8],
    kind: Kind<'a>,
    entries: [Entry; MAX_LINES],
    count: u8,
    /// First line of each known header, [`NO_LINE`] when absent.
    first: [u8; Header::COUNT],
    /// Where the blank line begins.
    head_end: usize,
    body: &'a [u8],
    via: Via<'a>,
    cseq: (u32, Method),
    call_id: &'a [u8],
    from: NameAddr<'a>,
    to: NameAddr<'a>,
    from_tag: Option<&'a [u8]>,
    to_tag: Option<&'a [u8]>,
    max_forwards: Option<u32>,
}

/// What kind of message, from its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A request, known by its method.
    Request {
        /// The method of the first line.
        method: Method,
        /// The Request-URI as it was written.
        uri: &'a [u8],
    },
    /// A response, known by its status.
    Response {
        /// The status, from 100 to 699.
        status: u16,
        /// Reason phrase as written, perhaps empty.
        reason: &'a [u8],
    },
}

const MAX_LINES: usize = warp_model::limits::SIP_HEADERS;
const NO_LINE: u8 = u8::MAX;

/// One header line: offsets into the buffer. Headers are at most 16 KiB, so 16 bits do.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u16,
    name_len: u8,
    header: Header,
    value: u16,
    value_end: u16,
}

/// The only address of a Contact line that the commas of a sloppy name would cut.
pub(crate) fn sloppy_contact(line: &[u8]) -> Option<NameAddr<'_>> {
    memchr::memchr(b',', line)?;
    let is_address = |v: &[u8]| {
        v == b"*" || NameAddr::parse(v).is_ok_and(|a| a.bracketed || crate::uri::Scheme::of(a.uri).is_ok())
    };
    if Values::new(line).all(is_address) {
        return None;
    }
    NameAddr::parse_lenient(line).ok().filter(|a| a.sloppy)
}

/// One header line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which header it is.
    pub header: Header,
    /// The name as it was written.
    pub name: &'a [u8],
    /// Value as written, without white space around it; folds are still in it.
    pub value: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a datagram, or one message that a [`crate::stream::Framer`] cut out of a stream.
    ///
    /// In: the bytes. Out: the view; bytes after the length in Content-Length are ignored (RFC 3261 §18.3).
    /// Errors: [`ParseError`], which says what to answer; nothing is answered to a broken response or ACK, or when Via cannot be read.
    #[inline]
    pub fn parse(buf: &'a [u8]) -> Result<Message<'a>, ParseError> {
        parse::parse(buf)
    }

    /// Whether it is a request or a response, with what its first line says.
    pub fn kind(&self) -> Kind<'a> {
        self.kind
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.kind, Kind::Request { .. })
    }

    /// Method of a request; of a response the one in CSeq.
    pub fn method(&self) -> Method {
        match self.kind {
            Kind::Request { method, .. } => method,
            Kind::Response { .. } => self.cseq.1,
        }
    }

    /// Token of the method, also of an unknown one.
    pub fn method_text(&self) -> &'a [u8] {
        let cseq = self.header(Header::CSeq).unwrap_or(b"");
        let at = cseq.iter().rposition(|b| lex::is_lws(*b)).map_or(0, |i| i.saturating_add(1));
        cseq.get(at..).unwrap_or(b"")
    }

    /// Request-URI as written; `None` for a response.
    pub fn request_uri(&self) -> Option<&'a [u8]> {
        match self.kind {
            Kind::Request { uri, .. } => Some(uri),
            Kind::Response { .. } => None,
        }
    }

    /// Status of a response.
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            Kind::Request { .. } => None,
            Kind::Response { status, .. } => Some(status),
        }
    }

    /// Sequence number and method of CSeq.
    pub fn cseq(&self) -> (u32, Method) {
        self.cseq
    }

    /// The method that CSeq names; in a request, that of the first line.
    pub fn method_of_cseq(&self) -> Method {
        self.cseq.1
    }

    /// The value of Call-ID, whole (RFC 3261 §20.8).
    pub fn call_id(&self) -> &'a [u8] {
        self.call_id
    }

    /// The value of From: who began the dialog (RFC 3261 §20.20).
    pub fn from(&self) -> NameAddr<'a> {
        self.from
    }

    /// The value of To: whom the dialog is with (RFC 3261 §20.39).
    pub fn to(&self) -> NameAddr<'a> {
        self.to
    }

    /// The tag of From, `None` without one.
    pub fn from_tag(&self) -> Option<&'a [u8]> {
        self.from_tag
    }

    /// The tag of To; `None` in a first request.
    pub fn to_tag(&self) -> Option<&'a [u8]> {
        self.to_tag
    }

    /// The first Via value.
    pub fn top_via(&self) -> Via<'a> {
        self.via
    }

    /// All Via values from the top; ends before a malformed one (which [`check`] refuses).
    pub fn vias(&self) -> impl Iterator<Item = Via<'a>> + '_ {
        self.values(Header::Via).map_while(|v| Via::parse(v).ok())
    }

    /// How many hops are left by Max-Forwards, 0 to 255 when well-formed; `None` without the header.
    pub fn max_forwards(&self) -> Option<u32> {
        self.max_forwards
    }

    /// Route values from the top; ends before a malformed one (which [`check`] refuses).
    pub fn routes(&self) -> impl Iterator<Item = NameAddr<'a>> + '_ {
        self.addresses(Header::Route)
    }

    /// Record-Route values from the top; ends before a malformed one.
    pub fn record_routes(&self) -> impl Iterator<Item = NameAddr<'a>> + '_ {
        self.addresses(Header::RecordRoute)
    }

    /// Contact values but `*`; ends before a malformed one. A line that cannot be split at its commas and has one address that nobody can
    /// mistake ([`NameAddr::parse_lenient`]) is one value.
    pub fn contacts(&self) -> impl Iterator<Item = NameAddr<'a>> + '_ {
        self.lines_of(Header::Contact)
            .flat_map(|line| {
                let sloppy = sloppy_contact(line);
                let values = sloppy.is_none().then(|| Values::new(line)).into_iter().flatten();
                let values = values.filter(|v| *v != b"*").map(|v| NameAddr::parse_lenient(v).ok());
                sloppy.map(Some).into_iter().chain(values)
            })
            .map_while(|address| address)
    }

    /// Whether From or To has a display name that breaks its grammar ([`NameAddr::sloppy`]). [`check`] refuses such a message,
    /// [`check_lenient`] does not.
    pub fn is_sloppy(&self) -> bool {
        self.from.sloppy || self.to.sloppy
    }

    /// Values of any header made of addresses; ends before a malformed one.
    pub fn addresses(&self, header: Header) -> impl Iterator<Item = NameAddr<'a>> + '_ {
        self.values(header).map_while(|v| NameAddr::parse(v).ok()).filter(|a| a.uri != b"*")
    }

    /// Value of the first line of a header, folds included.
    pub fn header(&self, header: Header) -> Option<&'a [u8]> {
        self.entry(self.first_line(header)?).map(|e| self.value(e))
    }

    /// Whether the header is there.
    pub fn has(&self, header: Header) -> bool {
        self.first_line(header).is_some()
    }

    /// Values of all lines of a header, one per line, in order.
    pub fn lines_of(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + '_ {
        let from = self.first_line(header).unwrap_or(usize::from(self.count));
        self.lines_from(from).filter(move |l| l.header == header).map(|l| l.value)
    }

    /// Values of a comma-separated header over all its lines, in order.
    pub fn values(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.lines_of(header).flat_map(Values::new)
    }

    /// Whether one of a header's tokens is `token`, in any case (`Require`, `Supported`, `Allow`).
    pub fn has_token(&self, header: Header, token: &[u8]) -> bool {
        self.values(header).any(|v| v.eq_ignore_ascii_case(token))
    }

    /// Value of the first line with that name, known or not.
    pub fn header_named(&self, name: &[u8]) -> Option<&'a [u8]> {
        match Header::from_name(name) {
            Header::Other => self.headers().find(|l| l.name.eq_ignore_ascii_case(name)).map(|l| l.value),
            header => self.header(header),
        }
    }

    /// All header lines in order.
    pub fn headers(&self) -> impl Iterator<Item = Line<'a>> + '_ {
        self.lines_from(0)
    }

    /// Body: Content-Length bytes, or all that followed on a datagram.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Body and media type, when there is a body: `application/sdp` without parameters, as written.
    pub fn content(&self) -> Option<(&'a [u8], &'a [u8])> {
        if self.body.is_empty() {
            return None;
        }
        let value = self.header(Header::ContentType).unwrap_or(b"");
        let kind = value.split(|b| *b == b';').next().unwrap_or(b"");
        Some((lex::trim(kind), self.body))
    }

    /// The SDP body, if the body is one.
    pub fn sdp(&self) -> Option<&'a [u8]> {
        let (kind, body) = self.content()?;
        kind.eq_ignore_ascii_case(b"application/sdp").then_some(body)
    }

    /// A header that is a number (Expires, Retry-After, Min-Expires …), without the comment or parameters behind it. `None` when it is absent
    /// or no 32-bit number.
    pub fn number(&self, header: Header) -> Option<u32> {
        let value = self.header(header)?;
        // Retry-After and others may be followed by a comment or parameters (RFC 3261 §20.33).
        let end =
            value.iter().position(|b| matches!(b, b';' | b'(') || lex::is_lws(*b)).unwrap_or(value.len());
        lex::number(value.get(..end)?)
    }

    /// The bytes of the message as they came, up to the end of its body.
    pub fn bytes(&self) -> &'a [u8] {
        let end = lex::offset_in(self.buf, self.body)
            .map_or(self.buf.len(), |at| at.saturating_add(self.body.len()));
        self.buf.get(..end).unwrap_or(self.buf)
    }

    pub(crate) fn line_count(&self) -> usize {
        usize::from(self.count)
    }

    pub(crate) fn first_line(&self, header: Header) -> Option<usize> {
        let at = *self.first.get(header as usize)?;
        (at != NO_LINE).then_some(usize::from(at))
    }

    /// Byte range of a line with its line end.
    pub(crate) fn line_range(&self, at: usize) -> Option<(usize, usize)> {
        let start = usize::from(self.entry(at)?.start);
        let end = self.entry(at.saturating_add(1)).map_or(self.head_end, |e| usize::from(e.start));
        Some((start, end))
    }

    pub(crate) fn line_header(&self, at: usize) -> Option<Header> {
        self.entry(at).map(|e| e.header)
    }

    pub(crate) fn line_value(&self, at: usize) -> Option<&'a [u8]> {
        self.entry(at).map(|e| self.value(e))
    }

    pub(crate) fn head_end(&self) -> usize {
        self.head_end
    }

    fn entry(&self, at: usize) -> Option<&Entry> {
        if at >= usize::from(self.count) {
            return None;
        }
        self.entries.get(at)
    }

    fn value(&self, e: &Entry) -> &'a [u8] {
        self.buf.get(usize::from(e.value)..usize::from(e.value_end)).unwrap_or(b"")
    }

    fn lines_from(&self, from: usize) -> impl Iterator<Item = Line<'a>> + '_ {
        self.entries.get(from..usize::from(self.count)).unwrap_or(&[]).iter().map(|e| {
            let start = usize::from(e.start);
            Line {
                header: e.header,
                name: self.buf.get(start..start.saturating_add(usize::from(e.name_len))).unwrap_or(b""),
                value: self.value(e),
            }
        })
    }
}
