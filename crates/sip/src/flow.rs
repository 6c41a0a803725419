//! Flows: over which transport, from where to where. A flow is a value; the sockets behind it live in the servers.
//!
//! Invariant: two messages with an equal [`Flow`] came over the same socket and, on streams, the same connection.

use std::fmt;
use std::net::SocketAddr;

/// Transport of a hop (RFC 3261 §18, RFC 7118 for WS and WSS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// UDP: one message a datagram.
    Udp,
    /// SIP over TCP, without TLS.
    Tcp,
    /// SIP over TLS over TCP.
    Tls,
    /// SIP over WebSocket (RFC 7118).
    Ws,
    /// SIP over WebSocket over TLS (RFC 7118).
    Wss,
}

impl Transport {
    /// Token of a Via line: `UDP`, `TCP`, `TLS`, `WS`, `WSS` (RFC 3261 §25.1, RFC 7118 §5.2).
    pub fn token(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// Value of a `transport` URI parameter: lower case.
    pub fn param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// From a token of either spelling; `None` for a transport that we do not speak.
    pub fn from_token(token: &[u8]) -> Option<Transport> {
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss]
            .into_iter()
            .find(|t| token.eq_ignore_ascii_case(t.token().as_bytes()))
    }

    /// Whether the transport itself delivers: no retransmissions above it (RFC 3261 §17).
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    /// Whether hops are encrypted.
    pub fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// Port when none is written (RFC 3261 §19.1.2, RFC 7118 §8).
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

/// Names one connection within its process, for as long as the process lives: numbers are not given twice. [`LinkId::NONE`] is no
/// connection: a datagram, or "whichever leads there".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl LinkId {
    /// No connection in particular.
    pub const NONE: LinkId = LinkId(0);

    /// Whether it names a connection.
    pub fn is_some(self) -> bool {
        self != LinkId::NONE
    }
}

/// Where a message came from, or goes to. On streams `link` names the connection in its server, so that a response goes back over the one
/// that the request came by (RFC 3261 §18.2.2); without it the connection is found by transport *and* address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Transport of the hop.
    pub transport: Transport,
    /// Our address and port.
    pub local: SocketAddr,
    /// Their address and port.
    pub remote: SocketAddr,
    /// [`LinkId::NONE`] for datagrams and for "any, or open one"; else the connection.
    pub link: LinkId,
}

impl Flow {
    /// A flow over UDP between two addresses.
    pub fn udp(local: SocketAddr, remote: SocketAddr) -> Flow {
        Flow::unlinked(Transport::Udp, local, remote)
    }

    /// A flow of that transport over no connection in particular.
    pub fn unlinked(transport: Transport, local: SocketAddr, remote: SocketAddr) -> Flow {
        Flow { transport, local, remote, link: LinkId::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        for t in ["UDP", "tcp", "Tls", "ws", "WSS"] {
            let parsed = Transport::from_token(t.as_bytes()).unwrap();
            assert!(parsed.token().eq_ignore_ascii_case(t));
            assert_eq!(Transport::from_token(parsed.param().as_bytes()), Some(parsed));
        }
        assert_eq!(Transport::from_token(b"SCTP"), None);
    }
}
