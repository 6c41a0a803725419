//! HEP3, as collectors of captures read it (Homer): one packet for each message (`ref/metrics-and-dashboards` §7; the specification's
//! revision 37). Only generic chunks are written; all integers are in network order.

use std::net::SocketAddr;

use warp_model::Wall;
use warp_sip::flow::Transport;

/// A message, for the packet.
#[derive(Clone, Copy, Debug)]
pub struct HepMessage<'a> {
    /// When the message travelled.
    pub at: Wall,
    /// What it travelled by.
    pub transport: Transport,
    /// Where it came from.
    pub from: SocketAddr,
    /// Where it went to.
    pub to: SocketAddr,
    /// What joins the legs of a call: the Call-ID of the caller's side; empty: none.
    pub correlation: &'a [u8],
    /// The message as it travels in the packet.
    pub payload: &'a [u8],
}

/// Who sends the packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HepAgent {
    /// The number of the node at the collector.
    pub id: u32,
    /// Its name; empty: none is sent.
    pub name: String,
}

/// Protocol of the payload: SIP.
const SIP: u8 = 1;
const LARGEST: usize = 65_535;

/// Writes a packet into `out`, which is emptied first. False: it would be larger than a packet may be.
pub fn write(out: &mut Vec<u8>, agent: &HepAgent, message: &HepMessage<'_>) -> bool {
    out.clear();
    out.extend_from_slice(b"HEP3\0\0");
    let protocol = if message.transport == Transport::Udp { 17 } else { 6 };
    // Linux' numbers, whatever the system.
    chunk(out, 0x01, &[if message.from.is_ipv4() { 2 } else { 10 }]);
    chunk(out, 0x02, &[protocol]);
    address(out, message.from, 0x03, 0x05);
    address(out, message.to, 0x04, 0x06);
    chunk(out, 0x07, &message.from.port().to_be_bytes());
    chunk(out, 0x08, &message.to.port().to_be_bytes());
    let (seconds, micros) = (message.at.0.div_euclid(1_000_000), message.at.0.rem_euclid(1_000_000));
    chunk(out, 0x09, &u32::try_from(seconds).unwrap_or(0).to_be_bytes());
    chunk(out, 0x0a, &u32::try_from(micros).unwrap_or(0).to_be_bytes());
    chunk(out, 0x0b, &[SIP]);
    chunk(out, 0x0c, &agent.id.to_be_bytes());
    for (kind, text) in [(0x11, message.correlation), (0x13, agent.name.as_bytes())] {
        if !text.is_empty() {
            chunk(out, kind, text);
        }
    }
    if out.len() + 6 + message.payload.len() > LARGEST {
        return false;
    }
    chunk(out, 0x0f, message.payload);
    let length = u16::try_from(out.len()).unwrap_or(u16::MAX);
    if let Some(place) = out.get_mut(4..6) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    true
}

fn chunk(out: &mut Vec<u8>, kind: u16, bytes: &[u8]) {
    // Of what is longer than a packet the caller finds out.
    let Ok(length) = u16::try_from(bytes.len() + 6) else {
        out.resize(LARGEST + 1, 0);
        return;
    };
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn address(out: &mut Vec<u8>, address: SocketAddr, v4: u16, v6: u16) {
    match address {
        SocketAddr::V4(a) => chunk(out, v4, &a.ip().octets()),
        SocketAddr::V6(a) => chunk(out, v6, &a.ip().octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification, made of its fields.
    #[test]
    fn the_vector_of_the_specification() {
        let mut wanted = b"HEP3\x00\x71".to_vec();
        for (kind, bytes) in [
            (1_u16, &[2_u8][..]),
            (2, &[17]),
            (3, &[212, 202, 0, 1]),
            (4, &[82, 116, 0, 211]),
            (7, &12_010_u16.to_be_bytes()),
            (8, &5_060_u16.to_be_bytes()),
            (9, &1_313_440_459_u32.to_be_bytes()),
            (10, &120_000_u32.to_be_bytes()),
            (11, &[1]),
            (12, &228_u32.to_be_bytes()),
            (15, b"INVITE sip:bob"),
        ] {
            wanted.extend_from_slice(&[0, 0]);
            wanted.extend_from_slice(&kind.to_be_bytes());
            wanted.extend_from_slice(&u16::try_from(bytes.len() + 6).unwrap().to_be_bytes());
            wanted.extend_from_slice(bytes);
        }
        let message = HepMessage {
            at: Wall(1_313_440_459_120_000),
            transport: Transport::Udp,
            from: "212.202.0.1:12010".parse().unwrap(),
            to: "82.116.0.211:5060".parse().unwrap(),
            correlation: b"",
            payload: b"INVITE sip:bob",
        };
        let mut out = Vec::new();
        assert!(write(&mut out, &HepAgent { id: 228, ..HepAgent::default() }, &message));
        assert_eq!((out.len(), out), (113, wanted));
    }

    #[test]
    fn a_payload_beyond_a_packet_is_refused() {
        let at = "[2001:db8::1]:5060".parse().unwrap();
        let payload = vec![b'x'; 65_500];
        let message = HepMessage {
            at: Wall(0),
            transport: Transport::Tls,
            from: at,
            to: at,
            correlation: b"c1",
            payload: &payload,
        };
        let mut out = Vec::new();
        assert!(!write(&mut out, &HepAgent::default(), &message));
        assert!(write(&mut out, &HepAgent::default(), &HepMessage { payload: b"x", ..message }));
    }
}
