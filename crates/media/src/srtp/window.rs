//! The packet index of one source: rollover counter, replay window (RFC 3711 §3.3.1, §3.3.2, Appendix A).

/// Indices that the window remembers.
const WINDOW: u64 = 128;
/// Highest 48-bit index; beyond it a key may not be used (RFC 3711 §9.2).
const LAST: u64 = (1 << 48) - 1;

/// Highest index so far, and which of those below it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    highest: u64,
    seen: u128,
}

impl Window {
    /// The 48-bit index that a sequence number most likely has; for a source not heard before its own number.
    /// `None`: it lies before the first index or behind the last.
    pub(super) fn index_of(&self, sequence: u16) -> Option<u64> {
        if self.seen == 0 {
            return Some(u64::from(sequence));
        }
        let (roc, last) = (self.highest >> 16, (self.highest & 0xFFFF) as u16);
        let ahead = sequence.wrapping_sub(last);
        let roc = match (ahead < 0x8000, sequence < last) {
            // Ahead, over the end of the 16 bits.
            (true, true) => roc.checked_add(1)?,
            // Behind, over the same end.
            (false, false) => roc.checked_sub(1)?,
            _ => roc,
        };
        Some(roc.checked_shl(16)? | u64::from(sequence)).filter(|index| *index <= LAST)
    }

    /// Neither seen nor too old.
    pub(super) fn is_new(&self, index: u64) -> bool {
        if self.seen == 0 || index > self.highest {
            return true;
        }
        let behind = self.highest.wrapping_sub(index);
        behind < WINDOW && self.seen >> behind & 1 == 0
    }

    /// It came and was authentic.
    pub(super) fn take(&mut self, index: u64) {
        if self.seen == 0 {
            (self.highest, self.seen) = (index, 1);
        } else if index > self.highest {
            let ahead = index.wrapping_sub(self.highest);
            self.seen = if ahead < WINDOW { self.seen << ahead } else { 0 } | 1;
            self.highest = index;
        } else {
            let behind = self.highest.wrapping_sub(index);
            if behind < WINDOW {
                self.seen |= 1 << behind;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_rolls_over_forwards_and_backwards() {
        let mut w = Window::default();
        assert_eq!(w.index_of(65_530), Some(65_530));
        w.take(65_530);
        assert_eq!((w.index_of(65_535), w.index_of(3)), (Some(65_535), Some(65_539)));
        w.take(65_539);
        // A late one of the round before.
        assert_eq!(w.index_of(65_529), Some(65_529));
        assert!(w.is_new(65_529) && !w.is_new(65_530) && !w.is_new(65_539));
        // At the very beginning nothing lies before.
        let mut w = Window::default();
        w.take(5);
        assert_eq!(w.index_of(65_000), None);
        w.highest = LAST;
        assert_eq!(w.index_of(0), None, "the key is used up");
    }

    #[test]
    fn the_window_takes_each_index_once_and_refuses_old_ones() {
        let mut w = Window::default();
        w.take(1_000);
        for index in [1_002, 1_001, 1_130, 1_003] {
            assert!(w.is_new(index), "{index}");
            w.take(index);
            assert!(!w.is_new(index), "{index}");
        }
        assert!(!w.is_new(1_002), "too old to be known");
        assert!(w.is_new(1_004));
        w.take(5_000);
        assert!(!w.is_new(1_130) && w.is_new(4_999) && !w.is_new(5_000));
    }
}
