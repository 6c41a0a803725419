//! Message text: what a user agent writes. Reading is `warp_sip`'s.

use std::net::{IpAddr, SocketAddr};

use warp_sip::flow::Transport;
use warp_sip::header::Header;
use warp_sip::message::Message;

/// Where an agent's messages come from.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// The address that the SIP socket is bound to.
    pub addr: SocketAddr,
    /// The transport of this call.
    pub transport: Transport,
}

impl Local {
    /// The Via of a request: `SIP/2.0/UDP 127.0.0.1:5080;branch=…;rport`.
    pub fn via(&self, branch: &str) -> String {
        format!("SIP/2.0/{} {};branch={branch};rport", self.transport.token(), self.addr)
    }

    /// Our Contact, for example `<sip:user@127.0.0.1:5080;transport=udp>`.
    pub fn contact(&self, user: &str) -> String {
        format!("<sip:{user}@{};transport={}>", self.addr, self.transport.param())
    }
}

/// A request to write.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method, for example `INVITE`.
    pub method: &'a str,
    /// The Request-URI, without angle brackets.
    pub uri: &'a str,
    /// The value of the only Via.
    pub via: String,
    /// From value with tag.
    pub from: &'a str,
    /// To value, with tag inside a dialog.
    pub to: &'a str,
    /// The Call-ID of the dialog.
    pub call_id: &'a str,
    /// The number of the CSeq.
    pub cseq: u32,
    /// Route values in order.
    pub routes: &'a [String],
    /// Further header lines, each with CRLF.
    pub extra: &'a str,
    /// The session description; empty when there is none.
    pub sdp: &'a str,
}

impl Request<'_> {
    /// The request as bytes, with its Content-Length.
    pub fn write(&self) -> Vec<u8> {
        let mut t =
            format!("{} {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\n", self.method, self.uri, self.via);
        for r in self.routes {
            t.push_str(&format!("Route: {r}\r\n"));
        }
        t.push_str(&format!(
            "From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n{}",
            self.from, self.to, self.call_id, self.cseq, self.method, self.extra
        ));
        finish(t, self.sdp)
    }
}

/// A response to `request`; `tag` goes into To when it has none.
pub fn response(
    request: &Message<'_>,
    status: u16,
    reason: &str,
    tag: Option<&str>,
    extra: &str,
    sdp: &str,
) -> Vec<u8> {
    let mut t = format!("SIP/2.0 {status} {reason}\r\n");
    for (header, name) in [
        (Header::Via, "Via"),
        (Header::RecordRoute, "Record-Route"),
        (Header::From, "From"),
        (Header::To, "To"),
        (Header::CallId, "Call-ID"),
        (Header::CSeq, "CSeq"),
    ] {
        for line in request.lines_of(header) {
            t.push_str(&format!("{name}: {}", String::from_utf8_lossy(line)));
            if let (Header::To, Some(tag), None) = (header, tag, request.to_tag()) {
                t.push_str(&format!(";tag={tag}"));
            }
            t.push_str("\r\n");
        }
    }
    t.push_str(extra);
    finish(t, sdp)
}

fn finish(mut head: String, sdp: &str) -> Vec<u8> {
    if !sdp.is_empty() {
        head.push_str("Content-Type: application/sdp\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n{sdp}", sdp.len()));
    head.into_bytes()
}

/// One PCMU stream at `media`.
pub fn sdp(media: SocketAddr) -> String {
    let family = if media.is_ipv6() { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=warp-ua 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n",
        ip = media.ip(),
        port = media.port()
    )
}

/// Where the other side's SDP wants audio: the first `m=audio` with the connection address in force there.
pub fn media_address(sdp: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(sdp).ok()?;
    let mut session: Option<IpAddr> = None;
    let mut port: Option<u16> = None;
    let mut own: Option<IpAddr> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("m=") {
            if port.is_some() {
                break;
            }
            if let Some(audio) = rest.strip_prefix("audio ") {
                port = audio.split([' ', '/']).next()?.parse().ok();
            }
        } else if let Some(rest) = line.strip_prefix("c=IN ") {
            let ip = rest.split_whitespace().nth(1).and_then(|a| a.split('/').next()?.parse().ok());
            if port.is_some() { own = ip } else { session = ip }
        }
    }
    Some(SocketAddr::new(own.or(session)?, port.filter(|p| *p != 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_addresses() {
        let a: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        assert_eq!(media_address(sdp(a).as_bytes()), Some(a));
        let b: SocketAddr = "[::1]:4002".parse().unwrap();
        assert_eq!(media_address(sdp(b).as_bytes()), Some(b));
        let own = "v=0\r\nc=IN IP4 10.0.0.1\r\nm=video 9 RTP/AVP 31\r\nm=audio 7000 RTP/AVP 0\r\nc=IN IP4 10.0.0.2\r\n";
        assert_eq!(media_address(own.as_bytes()), Some("10.0.0.2:7000".parse().unwrap()));
        assert_eq!(media_address(b"m=audio 0 RTP/AVP 0\r\nc=IN IP4 1.2.3.4\r\n"), None);
    }
}
