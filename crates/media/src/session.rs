//! What comes to a media port and is meant for us, not for the far side: STUN and DTLS. One machine per shard.
//!
//! Today it takes keep-alives and answers nothing: an answer needs credentials of the SDP (T-RTP-07: binding answers only
//! with the right ones, otherwise silence; T-RTP-06: nothing is sent to a stranger's ClientHello). Those, and with them ICE
//! and DTLS, enter here (RFC 0011): a session per port, keyed by [`LocalPort`], that says what it makes of the packet.

use crate::port::{DropReason, LocalPort};
use crate::rtp::PacketClass;

/// Type of a STUN Binding Indication (RFC 8489 §6, §18.2).
const BINDING_INDICATION: [u8; 2] = [0x00, 0x11];
/// RFC 8489 §5.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// What a session made of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOutcome {
    /// It was for it, and wants no answer.
    Taken,
    /// Nobody awaits it: dropped in silence, for this reason.
    Unwanted(DropReason),
}

/// See the module. It keeps nothing yet: what a keep-alive says is forgotten when it is taken.
#[derive(Debug, Default)]
pub struct SessionMachine {}

impl SessionMachine {
    /// A packet that [`crate::Judgement::Session`] hands over. `expected`: it comes from the port's peer.
    pub fn handle(
        &mut self,
        _port: LocalPort,
        class: PacketClass,
        expected: bool,
        packet: &[u8],
    ) -> SessionOutcome {
        match class {
            // A stranger's is a stranger's packet, whatever it holds.
            _ if !expected => SessionOutcome::Unwanted(DropReason::Source),
            PacketClass::Stun if is_keep_alive(packet) => SessionOutcome::Taken,
            _ => SessionOutcome::Unwanted(DropReason::Kind),
        }
    }
}

/// A Binding Indication of whole length (RFC 8489 §5; RFC 8445 §11 and RFC 6263 §4.6 keep NAT bindings open with it).
fn is_keep_alive(packet: &[u8]) -> bool {
    let Some(head) = packet.first_chunk::<8>() else { return false };
    let [a, b, length @ .., c, d, e, f] = *head;
    let length = usize::from(u16::from_be_bytes(length));
    [a, b] == BINDING_INDICATION
        && [c, d, e, f] == MAGIC_COOKIE
        && length % 4 == 0
        && packet.len() == length.saturating_add(20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_rtp_06_07_keep_alives_of_the_peer_are_taken_and_all_else_meets_silence() {
        let port = LocalPort { ip: 0, port: 30_000 };
        let mut machine = SessionMachine::default();
        let stun = |kind: [u8; 2], attributes: &[u8]| {
            let length = (attributes.len() as u16).to_be_bytes();
            [&kind[..], &length, &MAGIC_COOKIE, &[9; 12], attributes].concat()
        };
        let indication = stun(BINDING_INDICATION, &[]);
        let with_software = stun(BINDING_INDICATION, &[0x80, 0x22, 0, 4, b'w', b'a', b'r', b'p']);
        for good in [&indication, &with_software] {
            assert_eq!(machine.handle(port, PacketClass::Stun, true, good), SessionOutcome::Taken);
            let stranger = machine.handle(port, PacketClass::Stun, false, good);
            assert_eq!(stranger, SessionOutcome::Unwanted(DropReason::Source));
        }
        let request = stun([0, 1], &[]);
        let mut no_cookie = indication.clone();
        no_cookie[4] = 0;
        let cut = &with_software[..26];
        let longer = [&indication[..], &[0]].concat();
        for bad in [&request[..], &no_cookie, cut, &longer, &indication[..7]] {
            let judged = machine.handle(port, PacketClass::Stun, true, bad);
            assert_eq!(judged, SessionOutcome::Unwanted(DropReason::Kind));
        }
        let hello = [22, 254, 253, 0, 0, 0, 0, 0, 0];
        let judged = machine.handle(port, PacketClass::Dtls, true, &hello);
        assert_eq!(judged, SessionOutcome::Unwanted(DropReason::Kind));
    }
}
