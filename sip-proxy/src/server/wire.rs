//! The little that the runtime itself knows of SIP messages.

use std::net::SocketAddr;

use warp_sip::flow::{Flow, Transport};
use warp_sip::header::Header;
use warp_sip::message::{Message, Method};

use crate::core::TransmitBuf;
use crate::metrics::{Stream, Via};

/// Where to connect when a named connection is gone: for a response the port of the Via that it goes back to, because the
/// client's own port was chosen for that connection (RFC 3261 §18.2.2).
pub(super) fn reconnect_address(flow: &Flow, bytes: &[u8]) -> SocketAddr {
    let mut remote = flow.remote;
    if flow.link.is_some()
        && let Ok(message) = Message::parse(bytes)
        && !message.is_request()
    {
        remote.set_port(message.top_via().port.unwrap_or_else(|| flow.transport.default_port()));
    }
    remote
}

/// A 2xx to an INVITE.
pub(super) fn is_answer(bytes: &[u8]) -> bool {
    Message::parse(bytes).is_ok_and(|m| matches!(m.status(), Some(200..=299)) && m.cseq().1 == Method::Invite)
}

/// A 503 in the place of a 200: same Via, From, To, Call-ID and CSeq, no body. Other messages stay as they are.
pub(super) fn refuse(bytes: TransmitBuf) -> TransmitBuf {
    let Ok(message) = Message::parse(&bytes) else { return bytes };
    if !matches!(message.status(), Some(200..=299)) {
        return bytes;
    }
    let mut out = b"SIP/2.0 503 Service Unavailable\r\n".to_vec();
    for line in message.headers() {
        let name: &[u8] = match line.header {
            Header::Via => b"Via",
            Header::From => b"From",
            Header::To => b"To",
            Header::CallId => b"Call-ID",
            Header::CSeq => b"CSeq",
            _ => continue,
        };
        for part in [name, b": ", line.value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"Retry-After: 10\r\nContent-Length: 0\r\n\r\n");
    TransmitBuf::new(out)
}

pub(super) fn via(transport: Transport) -> Via {
    match transport {
        Transport::Udp => Via::Udp,
        Transport::Tcp => Via::Tcp,
        Transport::Tls => Via::Tls,
        Transport::Ws => Via::Ws,
        Transport::Wss => Via::Wss,
    }
}

/// The label of a connection; a datagram's never asks.
pub(super) fn stream_kind(transport: Transport) -> Stream {
    match transport {
        Transport::Udp | Transport::Tcp => Stream::Tcp,
        Transport::Tls => Stream::Tls,
        Transport::Ws => Stream::Ws,
        Transport::Wss => Stream::Wss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp_sip::flow::LinkId;

    const OK: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 192.0.2.7:5070;branch=z9hG4bK1\r\n\
        Record-Route: <sip:192.0.2.1;lr>\r\nf: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:b@h>\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0";

    /// F-DISK-01: an answer that could not be written does not reach the caller; other messages are not touched.
    #[test]
    fn f_disk_01_a_503_takes_the_place_of_a_200_and_of_nothing_else() {
        let refused = refuse(TransmitBuf::new(OK.as_bytes().to_vec()));
        let message = Message::parse(&refused).unwrap();
        assert_eq!(message.status(), Some(503));
        assert_eq!(
            (message.call_id(), message.from_tag(), message.to_tag()),
            (&b"c"[..], Some(&b"1"[..]), Some(&b"2"[..]))
        );
        assert_eq!((message.body(), message.contacts().count()), (&b""[..], 0));
        let ringing = OK.replace("200 OK", "180 Ringing");
        assert!(is_answer(OK.as_bytes()) && !is_answer(ringing.as_bytes()));
        assert!(!is_answer(OK.replace("1 INVITE", "1 BYE").as_bytes()));
        assert_eq!(&*refuse(TransmitBuf::new(ringing.clone().into_bytes())), ringing.as_bytes());
    }

    /// RFC 3261 §18.2.2: a response whose connection is gone goes to the port of its Via, a request to where it was going.
    #[test]
    fn reconnecting_goes_to_the_port_of_the_via() {
        let flow = Flow {
            transport: Transport::Tcp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.7:49152".parse().unwrap(),
            link: LinkId(3),
        };
        assert_eq!(reconnect_address(&flow, OK.as_bytes()), "192.0.2.7:5070".parse().unwrap());
        let request = OK.replace("SIP/2.0 200 OK", "BYE sip:a@h SIP/2.0").replace("1 INVITE", "1 BYE");
        assert_eq!(reconnect_address(&flow, request.as_bytes()), flow.remote);
        let fresh = Flow { link: LinkId::NONE, ..flow };
        assert_eq!(reconnect_address(&fresh, OK.as_bytes()), flow.remote);
    }
}
