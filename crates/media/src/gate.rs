//! Steps that keep something of a party's media back: telephone events (RFC 4733), or what is said.

use warp_model::Mono;

use crate::packet::RoomyPacket;
use crate::port::{DropReason, MediaPath};
use crate::rtp::RtpView;
use crate::stage::{Stage, StageMaker};

/// Whether a payload type is one of a set, a bit for each.
fn is_of(set: u128, payload_type: u8) -> bool {
    set.checked_shr(u32::from(payload_type)).is_some_and(|rest| rest & 1 == 1)
}

fn payload_type(packet: &RoomyPacket<'_>) -> Option<u8> {
    packet.bytes().get(1).map(|b| b & 0x7F)
}

/// Drops telephone events; all else passes. The sequence has gaps where they were, as with packets that were lost.
#[derive(Clone, Copy, Debug)]
pub struct EventGate {
    events: u128,
}

impl EventGate {
    /// `events`: payload types of telephone events, a bit for each.
    pub fn new(events: u128) -> Self {
        Self { events }
    }
}

impl StageMaker for EventGate {
    fn make(&self) -> Box<dyn Stage> {
        Box::new(*self)
    }
}

impl Stage for EventGate {
    fn run(&mut self, packet: &mut RoomyPacket<'_>, path: MediaPath, _now: Mono) -> Result<(), DropReason> {
        let is_event = || payload_type(packet).is_some_and(|pt| is_of(self.events, pt));
        match path {
            MediaPath::Rtp if is_event() => Err(DropReason::NoDestination),
            _ => Ok(()),
        }
    }
}

/// Puts silence into G.711 (RFC 3551 §4.5.14). Speech in other codecs is dropped, because its silence is not one byte;
/// telephone events pass.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    events: u128,
}

impl Silence {
    /// `events`: payload types of telephone events, a bit for each.
    pub fn new(events: u128) -> Self {
        Self { events }
    }
}

impl StageMaker for Silence {
    fn make(&self) -> Box<dyn Stage> {
        Box::new(*self)
    }
}

impl Stage for Silence {
    fn run(&mut self, packet: &mut RoomyPacket<'_>, path: MediaPath, _now: Mono) -> Result<(), DropReason> {
        if path == MediaPath::Rtcp {
            return Ok(());
        }
        let quiet = match payload_type(packet) {
            Some(0) => 0xFF,
            Some(8) => 0xD5,
            Some(pt) if is_of(self.events, pt) => return Ok(()),
            _ => return Err(DropReason::NoDestination),
        };
        let spoken = RtpView::parse(packet.bytes()).map_err(|_| DropReason::Malformed)?.payload().len();
        let bytes = packet.bytes_mut();
        // Padding stands behind what is said, and its last byte counts it: a packet without is the usual one.
        let is_padded = bytes.first().is_some_and(|b| b & 0x20 != 0);
        let behind = if is_padded { bytes.last().map_or(0, |n| usize::from(*n)) } else { 0 };
        let end = bytes.len().saturating_sub(behind);
        if let Some(said) = bytes.get_mut(end.saturating_sub(spoken)..end) {
            said.fill(quiet);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stage: &mut dyn Stage, bytes: &[u8], path: MediaPath) -> Result<Vec<u8>, DropReason> {
        let mut buffer = bytes.to_vec();
        let end = buffer.len();
        let mut packet = RoomyPacket::new(&mut buffer, 0, end).unwrap();
        stage.run(&mut packet, path, Mono(0)).map(|()| packet.bytes().to_vec())
    }

    fn rtp(first: u8, payload_type: u8, behind: &[u8]) -> Vec<u8> {
        [&[first, payload_type, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7][..], behind].concat()
    }

    const EVENTS: u128 = 1 << 101 | 1 << 96;

    #[test]
    fn events_are_kept_back_and_nothing_else() {
        let mut gate = EventGate::new(EVENTS);
        for event in [101, 101 | 0x80, 96] {
            assert_eq!(
                run(&mut gate, &rtp(0x80, event, &[1; 4]), MediaPath::Rtp),
                Err(DropReason::NoDestination)
            );
        }
        for other in [0, 8, 97, 127, 111 | 0x80] {
            let packet = rtp(0x80, other, &[1; 4]);
            assert_eq!(run(&mut gate, &packet, MediaPath::Rtp), Ok(packet));
        }
        let report = rtp(0x80, 200, &[]);
        assert_eq!(run(&mut gate, &report, MediaPath::Rtcp), Ok(report));
    }

    #[test]
    fn silence_stands_where_something_was_said() {
        let mut silence = Silence::new(EVENTS);
        assert_eq!(run(&mut silence, &rtp(0x80, 0, &[9; 5]), MediaPath::Rtp), Ok(rtp(0x80, 0, &[0xFF; 5])));
        assert_eq!(
            run(&mut silence, &rtp(0x80, 0x88, &[9; 5]), MediaPath::Rtp),
            Ok(rtp(0x80, 0x88, &[0xD5; 5]))
        );
        // An extension before it and padding behind it stay.
        let extended = [&[0xBE, 0xDE, 0, 1, 1, 2, 3, 4][..], &[9; 3]].concat();
        let quiet = [&[0xBE, 0xDE, 0, 1, 1, 2, 3, 4][..], &[0xFF; 3]].concat();
        assert_eq!(run(&mut silence, &rtp(0x90, 0, &extended), MediaPath::Rtp), Ok(rtp(0x90, 0, &quiet)));
        assert_eq!(
            run(&mut silence, &rtp(0xA0, 0, &[9, 9, 0, 2]), MediaPath::Rtp),
            Ok(rtp(0xA0, 0, &[0xFF, 0xFF, 0, 2]))
        );
        let event = rtp(0x80, 101, &[1; 4]);
        assert_eq!(run(&mut silence, &event, MediaPath::Rtp), Ok(event));
        assert_eq!(
            run(&mut silence, &rtp(0x80, 111, &[1; 4]), MediaPath::Rtp),
            Err(DropReason::NoDestination)
        );
        assert_eq!(run(&mut silence, &rtp(0xA0, 0, &[9, 0]), MediaPath::Rtp), Err(DropReason::Malformed));
    }
}
