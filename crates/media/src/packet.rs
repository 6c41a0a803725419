//! A packet in a buffer with room before and behind it, so that a header or a tag can be added in place.

/// Bytes free before each received packet: enough for a TURN Send indication (RFC 8656 §11.1).
pub const HEAD_ROOM: usize = 64;
/// Bytes free behind it: enough for an SRTP tag of 16 bytes, an MKI of 4, and the index of SRTCP (RFC 3711 §3.4).
pub const TAIL_ROOM: usize = 64;

/// One packet and the room around it; borrows the buffer.
#[derive(Debug)]
pub struct RoomyPacket<'b> {
    buffer: &'b mut [u8],
    start: usize,
    end: usize,
}

impl<'b> RoomyPacket<'b> {
    /// The packet at `start..end` of `buffer`; all else of it is room. `None` when it does not lie inside.
    pub fn new(buffer: &'b mut [u8], start: usize, end: usize) -> Option<Self> {
        (start <= end && end <= buffer.len()).then_some(Self { buffer, start, end })
    }

    /// The bytes of the packet, without the room around it.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The packet, to be changed in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Where it lies in the buffer.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.end
    }

    /// Adds `count` bytes in front, to be written by the caller; `None` when there is no room.
    pub fn grow_head(&mut self, count: usize) -> Option<&mut [u8]> {
        let start = self.start.checked_sub(count)?;
        let old = std::mem::replace(&mut self.start, start);
        self.buffer.get_mut(start..old)
    }

    /// Adds `count` bytes at the end, to be written by the caller; `None` when there is no room.
    pub fn grow_tail(&mut self, count: usize) -> Option<&mut [u8]> {
        let end = self.end.checked_add(count).filter(|end| *end <= self.buffer.len())?;
        let old = std::mem::replace(&mut self.end, end);
        self.buffer.get_mut(old..end)
    }

    /// Takes `count` bytes away in front; false when it has not as many.
    pub fn cut_head(&mut self, count: usize) -> bool {
        match self.start.checked_add(count).filter(|start| *start <= self.end) {
            Some(start) => {
                self.start = start;
                true
            }
            None => false,
        }
    }

    /// Takes `count` bytes away at the end; false when it has not as many.
    pub fn cut_tail(&mut self, count: usize) -> bool {
        match self.end.checked_sub(count).filter(|end| *end >= self.start) {
            Some(end) => {
                self.end = end;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_grows_and_shrinks_in_its_room_and_never_beyond() {
        let mut buffer = [0u8; 12];
        buffer[4..8].copy_from_slice(b"abcd");
        let mut p = RoomyPacket::new(&mut buffer, 4, 8).unwrap();
        p.grow_tail(2).unwrap().copy_from_slice(b"ef");
        p.grow_head(4).unwrap().copy_from_slice(b"1234");
        assert_eq!((p.bytes(), p.range()), (&b"1234abcdef"[..], 0..10));
        assert!(p.grow_head(1).is_none() && p.grow_tail(3).is_none());
        assert_eq!(p.bytes(), b"1234abcdef", "a refusal changes nothing");
        assert!(p.cut_head(5) && p.cut_tail(1));
        p.bytes_mut()[0] = b'B';
        assert_eq!(p.bytes(), b"Bcde");
        assert!(!p.cut_head(5) && !p.cut_tail(5));
        assert!(p.cut_tail(4) && p.bytes().is_empty());
        assert!(RoomyPacket::new(&mut [0; 4], 3, 5).is_none());
        assert!(RoomyPacket::new(&mut [0; 4], 3, 2).is_none());
    }
}
