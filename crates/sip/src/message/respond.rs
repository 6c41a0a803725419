//! Responses that we make ourselves (RFC 3261 §8.2.6): copied fields, our tag, extra headers, a body.

use std::io::Write;
use std::net::SocketAddr;

use warp_model::hash::fnv1a;

use super::parse::{ParseError, salvage};
use super::{Kind, Message, Method};
use crate::header::Header;

/// A response in the making.
#[derive(Clone, Copy, Debug)]
pub struct ResponseDraft<'x> {
    /// The status, from 100 to 699.
    pub status: u16,
    /// Reason phrase; empty means the standard's ([`reason_phrase`]).
    pub reason: &'x str,
    /// Tag to add to To when it has none. Never added to a 100.
    pub to_tag: Option<&'x [u8]>,
    /// Where the request came from: `received` and `rport` are written into the top Via (RFC 3261 §18.2.1, RFC 3581 §4). `None` when the
    /// Via has them already.
    pub source: Option<SocketAddr>,
    /// Further headers: name and value.
    pub headers: &'x [(&'x str, &'x [u8])],
    /// The Content-Type and the body that goes with it.
    pub body: Option<(&'x str, &'x [u8])>,
}

impl<'x> ResponseDraft<'x> {
    /// A response with the standard's phrase and nothing else.
    pub fn new(status: u16) -> ResponseDraft<'x> {
        ResponseDraft { status, reason: "", to_tag: None, source: None, headers: &[], body: None }
    }

    /// Appends the response to `msg` to `out`. Writes nothing when `msg` is a response.
    pub fn write(&self, msg: &Message<'_>, out: &mut Vec<u8>) {
        if !msg.is_request() {
            return;
        }
        let reason = if self.reason.is_empty() { reason_phrase(self.status) } else { self.reason };
        let _ = write!(out, "SIP/2.0 {} {reason}\r\n", self.status);
        self.write_vias(msg, out);
        copy(msg, Header::From, out);
        if let Some(to) = msg.header(Header::To) {
            out.extend_from_slice(b"To: ");
            out.extend_from_slice(to);
            if let Some(tag) = self.to_tag
                && msg.to_tag().is_none()
                && !msg.to().raw.is_empty()
                && self.status != 100
            {
                out.extend_from_slice(b";tag=");
                out.extend_from_slice(tag);
            }
            out.extend_from_slice(b"\r\n");
        }
        copy(msg, Header::CallId, out);
        copy(msg, Header::CSeq, out);
        if self.status == 100 {
            copy(msg, Header::Timestamp, out); // RFC 3261 §8.2.6.1
        } else if self.makes_dialog(msg) {
            for value in msg.lines_of(Header::RecordRoute) {
                line(b"Record-Route", value, out);
            }
        }
        for (name, value) in self.headers {
            line(name.as_bytes(), value, out);
        }
        let (kind, body) = self.body.unwrap_or(("", b""));
        if !kind.is_empty() {
            line(b"Content-Type", kind.as_bytes(), out);
        }
        let _ = write!(out, "Content-Length: {}\r\n\r\n", body.len());
        out.extend_from_slice(body);
    }

    /// Answers a message that did not parse, from what can be read of it. Returns whether something was written. Without a `to_tag` it gets one
    /// that is the same for a repetition of the request (RFC 3261 §8.2.7); nothing is refused by it later, so it is no secret.
    pub fn broken(self, buf: &[u8], error: &ParseError, out: &mut Vec<u8>) -> bool {
        let (Some(status), Some(msg)) = (error.status, salvage(buf)) else {
            return false;
        };
        let parts = [
            msg.top_via().raw,
            msg.header(Header::CallId).unwrap_or(b""),
            msg.header(Header::CSeq).unwrap_or(b""),
        ];
        let hash = fnv1a(parts.iter().flat_map(|p| p.iter().copied()));
        let mut tag = [b'b'; 16];
        for (i, digit) in tag.iter_mut().enumerate().skip(1) {
            *digit = b'a'.wrapping_add((hash >> (i & 15).wrapping_mul(4)) as u8 & 15);
        }
        let reason = if status == 400 { error.reason } else { "" };
        let to_tag = self.to_tag.unwrap_or(&tag);
        ResponseDraft { status, reason, to_tag: Some(to_tag), ..self }.write(&msg, out);
        true
    }

    /// Responses that make a dialog carry the route set (RFC 3261 §12.1.1).
    fn makes_dialog(&self, msg: &Message<'_>) -> bool {
        let method = matches!(msg.kind(), Kind::Request { method, .. }
            if matches!(method, Method::Invite | Method::Subscribe | Method::Refer | Method::Notify));
        method && (101..300).contains(&self.status)
    }

    fn write_vias(&self, msg: &Message<'_>, out: &mut Vec<u8>) {
        let mut first = true;
        for value in msg.lines_of(Header::Via) {
            if first && let Some(source) = self.source {
                out.extend_from_slice(b"Via: ");
                let top = msg.top_via();
                top.write_received(source, out);
                let rest = crate::lex::offset_in(value, top.raw)
                    .and_then(|at| value.get(at.saturating_add(top.raw.len())..))
                    .unwrap_or(b"");
                out.extend_from_slice(rest);
                out.extend_from_slice(b"\r\n");
            } else {
                line(b"Via", value, out);
            }
            first = false;
        }
    }
}

/// Appends a response to `msg` to `out`: status, reason (empty: the standard's), our tag for a To without one, extra headers, no body.
/// The top Via is copied as it is; [`ResponseDraft`] can also mark it with the source.
pub fn respond(
    msg: &Message<'_>,
    status: u16,
    reason: &str,
    to_tag: Option<&[u8]>,
    headers: &[(&str, &[u8])],
    out: &mut Vec<u8>,
) {
    ResponseDraft { reason, to_tag, headers, ..ResponseDraft::new(status) }.write(msg, out);
}

fn copy(msg: &Message<'_>, header: Header, out: &mut Vec<u8>) {
    if let Some(value) = msg.header(header) {
        line(header.name().as_bytes(), value, out);
    }
}

fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Phrase of a status code (RFC 3261 §21 and the registry's additions); a generic one of its class for others.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ => match status / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirected",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
