//! What a shard writes into its buffer, and how it is read again: a message with where it came from and went to, or the end of a call.
//!
//! An entry is a byte of kind, a byte of flags, the length of its payload (u32, little endian), the time (i64), two addresses (19 bytes each:
//! family, address, port), and the payload. Both sides are this process; a reader stops at what it does not understand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use warp_model::Wall;
use warp_model::cdr::{CallRecord, Direction, Outcome};
use warp_sip::flow::{Flow, Transport};

/// Bytes of an entry before its payload.
pub const HEAD_BYTES: usize = 1 + 1 + 4 + 8 + 2 * ADDRESS_BYTES;
const ADDRESS_BYTES: usize = 19;

const MESSAGE: u8 = 1;
const ENDED: u8 = 2;

const INGRESS: u8 = 1;
const STRANGER: u8 = 2;

/// Of a message, what is not in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// When it was read, or given to the socket.
    pub at: Wall,
    /// It came to us; else we sent it.
    pub ingress: bool,
    /// The other side has no account here.
    pub stranger: bool,
    /// What it travelled by.
    pub transport: Transport,
    /// The address of ours.
    pub local: SocketAddr,
    /// The other side's address.
    pub remote: SocketAddr,
}

impl Head {
    /// Of a message on this flow.
    pub fn of(at: Wall, flow: &Flow, ingress: bool, stranger: bool) -> Head {
        Head { at, ingress, stranger, transport: flow.transport, local: flow.local, remote: flow.remote }
    }
}

/// A call that ended: what decides whether its messages are kept, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedCall {
    /// The public id, as in the record.
    pub id: u128,
    /// The Call-ID of SIP.
    pub sip_call_id: String,
    /// It was answered, and nothing of ours cut it off.
    pub well: bool,
    /// More than one vendor was tried.
    pub failover: bool,
    /// The customer sees it as a call to a number of his.
    pub inbound: bool,
    /// Whose call it is.
    pub customer: Option<u128>,
    /// Where its INVITE came from.
    pub origin: IpAddr,
    /// Where its attempts led.
    pub targets: Vec<IpAddr>,
}

impl EndedCall {
    /// What a record says of it.
    pub fn of(record: &CallRecord) -> EndedCall {
        let expected = matches!(
            record.outcome,
            Outcome::Answered | Outcome::Busy | Outcome::NoAnswer | Outcome::Cancelled
        );
        EndedCall {
            id: record.cdr_id.as_u128(),
            sip_call_id: record.sip_call_id.clone(),
            well: expected && record.internal_code.is_empty(),
            failover: record.legs.len() > 1,
            inbound: record.direction == Direction::Inbound,
            customer: record.customer_id.map(|c| c.as_u128()),
            origin: record.ingress_ip,
            targets: record.legs.iter().map(|leg| leg.egress_ip).collect(),
        }
    }
}

/// What stands in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'b> {
    /// A message and its bytes.
    Message(Head, &'b [u8]),
    /// A call ended, at this time.
    Ended(Wall, EndedCall),
}

/// Appends a message to a buffer.
pub fn put_message(buf: &mut Vec<u8>, head: &Head, bytes: &[u8]) {
    let flags = u8::from(head.ingress) * INGRESS + u8::from(head.stranger) * STRANGER;
    let transport = match head.transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
        Transport::Ws => 3,
        Transport::Wss => 4,
    };
    put_head(buf, MESSAGE, flags | transport << 4, bytes.len(), head.at, [head.local, head.remote]);
    buf.extend_from_slice(bytes);
}

/// Appends the end of a call.
pub fn put_ended(buf: &mut Vec<u8>, at: Wall, call: &EndedCall) {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let begin = buf.len();
    put_head(buf, ENDED, 0, 0, at, [nowhere; 2]);
    let from = buf.len();
    if serde_json::to_writer(&mut *buf, call).is_err() {
        buf.truncate(begin);
        return;
    }
    let len = u32::try_from(buf.len() - from).unwrap_or(0);
    if let Some(place) = buf.get_mut(begin + 2..begin + 6) {
        place.copy_from_slice(&len.to_le_bytes());
    }
}

fn put_head(buf: &mut Vec<u8>, kind: u8, flags: u8, len: usize, at: Wall, addresses: [SocketAddr; 2]) {
    buf.extend_from_slice(&[kind, flags]);
    buf.extend_from_slice(&u32::try_from(len).unwrap_or(0).to_le_bytes());
    buf.extend_from_slice(&at.0.to_le_bytes());
    for address in addresses {
        match address.ip() {
            IpAddr::V4(ip) => {
                buf.push(4);
                buf.extend_from_slice(&ip.octets());
                buf.extend_from_slice(&[0; 12]);
            }
            IpAddr::V6(ip) => {
                buf.push(6);
                buf.extend_from_slice(&ip.octets());
            }
        }
        buf.extend_from_slice(&address.port().to_le_bytes());
    }
}

/// The entries of a buffer, in their order.
pub fn entries(buf: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = buf;
    std::iter::from_fn(move || {
        let (entry, after) = take(rest)?;
        rest = after;
        Some(entry)
    })
}

fn take(buf: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (head, rest) = buf.split_at_checked(HEAD_BYTES)?;
    let (kind, flags) = (*head.first()?, *head.get(1)?);
    let len = u32::from_le_bytes(head.get(2..6)?.try_into().ok()?);
    let at = Wall(i64::from_le_bytes(head.get(6..14)?.try_into().ok()?));
    let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    let entry = match kind {
        MESSAGE => {
            let local = address(head.get(14..14 + ADDRESS_BYTES)?)?;
            let remote = address(head.get(14 + ADDRESS_BYTES..)?)?;
            let transport = match flags >> 4 {
                0 => Transport::Udp,
                1 => Transport::Tcp,
                2 => Transport::Tls,
                3 => Transport::Ws,
                _ => Transport::Wss,
            };
            let (ingress, stranger) = (flags & INGRESS != 0, flags & STRANGER != 0);
            Entry::Message(Head { at, ingress, stranger, transport, local, remote }, payload)
        }
        ENDED => Entry::Ended(at, serde_json::from_slice(payload).ok()?),
        _ => return None,
    };
    Some((entry, rest))
}

fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let ip = match bytes.first()? {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(1..5)?).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(1..17)?).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_le_bytes(bytes.get(17..19)?.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_a_torn_end_is_left_out() {
        let head = Head {
            at: Wall(7),
            ingress: true,
            stranger: false,
            transport: Transport::Wss,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "[2001:db8::9]:5061".parse().unwrap(),
        };
        let call = EndedCall {
            id: 9,
            sip_call_id: "a@b".into(),
            well: false,
            failover: true,
            inbound: true,
            customer: Some(3),
            origin: "192.0.2.9".parse().unwrap(),
            targets: vec!["2001:db8::7".parse().unwrap()],
        };
        let other = Head { stranger: true, ingress: false, transport: Transport::Udp, ..head };
        let mut buf = Vec::new();
        put_message(&mut buf, &head, b"INVITE");
        put_ended(&mut buf, Wall(8), &call);
        put_message(&mut buf, &other, b"");
        let wanted =
            [Entry::Message(head, b"INVITE"), Entry::Ended(Wall(8), call), Entry::Message(other, b"")];
        assert_eq!(entries(&buf).collect::<Vec<_>>(), wanted);
        for cut in 0..buf.len() {
            let read: Vec<_> = entries(&buf[..cut]).collect();
            assert!(read.len() < 3 && read.iter().zip(&wanted).all(|(a, b)| a == b), "{cut}");
        }
    }
}
