//! Quality figures of one received stream: loss, duplicates, reordering, jitter, MOS. Integer arithmetic only.
//!
//! Follows RFC 3550 A.1, A.3 and A.8 with two stated differences: the first packet counts at once (a relay passes it on,
//! so there is no probation), and a duplicate does not count as received (it would hide a loss).

use warp_model::Mono;

/// A larger jump forward is a restart of the source, when the next packet confirms it (RFC 3550 A.1).
const MAX_DROPOUT: u16 = 3_000;
/// Packets this far behind are late; further behind is a restart (RFC 3550 A.1). The history bit map covers it.
const MAX_MISORDER: u16 = 100;

/// Packets this far behind are late: at 20 ms each, a jitter buffer of 100 ms has played over them.
pub const LATE_PLACES: u16 = 5;

/// What one sequence number meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeqEvent {
    /// First packet of this SSRC.
    First,
    /// Next, or later with this many missing in between.
    InOrder {
        /// How many numbers were skipped before this one.
        gap: u16,
    },
    /// The number has been seen before.
    Duplicate,
    /// Came after a later one.
    Reordered,
    /// Far off; not counted until the next packet confirms the jump.
    Suspect,
    /// The jump was confirmed: counting starts again.
    Restart,
}

/// Sequence numbers of one stream, over SSRC changes and restarts.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeqTracker {
    started: bool,
    ssrc: u32,
    /// Extended numbers begin at 65,536, so that a late packet before the first one has a place.
    base: u64,
    max: u64,
    suspect: Option<u16>,
    /// Bit i: `max - i` has been received.
    history: u128,
    expected_before: u64,
    received: u64,
    duplicates: u64,
    reordered: u64,
    late: u64,
}

impl SeqTracker {
    /// Counts one received packet, and says what it is in the sequence.
    #[inline]
    pub fn update(&mut self, ssrc: u32, sequence: u16) -> SeqEvent {
        if !self.started || ssrc != self.ssrc {
            self.restart(ssrc, sequence);
            return SeqEvent::First;
        }
        let ahead = sequence.wrapping_sub(self.max as u16);
        if ahead == 1 {
            // Nearly every packet.
            self.max = self.max.wrapping_add(1);
            self.history = (self.history << 1) | 1;
            self.received = self.received.wrapping_add(1);
            return SeqEvent::InOrder { gap: 0 };
        }
        self.update_odd(sequence, ahead)
    }

    fn update_odd(&mut self, sequence: u16, ahead: u16) -> SeqEvent {
        if ahead == 0 {
            self.duplicates = self.duplicates.wrapping_add(1);
            return SeqEvent::Duplicate;
        }
        if ahead < MAX_DROPOUT {
            self.max = self.max.wrapping_add(u64::from(ahead));
            self.history = self.history.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.received = self.received.wrapping_add(1);
            self.suspect = None;
            return SeqEvent::InOrder { gap: ahead.saturating_sub(1) };
        }
        let behind = ahead.wrapping_neg();
        if behind > MAX_MISORDER {
            if self.suspect == Some(sequence) {
                self.restart(self.ssrc, sequence);
                return SeqEvent::Restart;
            }
            self.suspect = Some(sequence.wrapping_add(1));
            return SeqEvent::Suspect;
        }
        let bit = 1u128.checked_shl(u32::from(behind)).unwrap_or(0);
        if self.history & bit != 0 {
            self.duplicates = self.duplicates.wrapping_add(1);
            return SeqEvent::Duplicate;
        }
        self.history |= bit;
        self.base = self.base.min(self.max.saturating_sub(u64::from(behind)));
        self.received = self.received.wrapping_add(1);
        self.reordered = self.reordered.wrapping_add(1);
        if behind >= LATE_PLACES {
            self.late = self.late.wrapping_add(1);
        }
        SeqEvent::Reordered
    }

    fn restart(&mut self, ssrc: u32, sequence: u16) {
        self.expected_before = self.expected();
        self.started = true;
        self.ssrc = ssrc;
        self.base = u64::from(sequence).wrapping_add(65_536);
        self.max = self.base;
        self.suspect = None;
        self.history = 1;
        self.received = self.received.wrapping_add(1);
    }

    /// SSRC of the latest packet; 0 before the first.
    #[inline]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Highest sequence number of that SSRC.
    #[inline]
    pub fn highest(&self) -> u16 {
        self.max as u16
    }

    /// Packets that should have come (RFC 3550 A.3), over all SSRCs.
    #[inline]
    pub fn expected(&self) -> u64 {
        if !self.started {
            return 0;
        }
        self.expected_before.wrapping_add(self.max.wrapping_sub(self.base)).wrapping_add(1)
    }

    /// Packets that came, duplicates not counted.
    #[inline]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets whose sequence number had come before.
    #[inline]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Packets out of order.
    #[inline]
    pub fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Packets out of order by [`LATE_PLACES`] or more.
    #[inline]
    pub fn late(&self) -> u64 {
        self.late
    }
}

/// Interarrival jitter (RFC 3550 A.8), kept as 16 times its value in units of the RTP clock.
///
/// Packets of one timestamp (DTMF events, frames of several packets) are measured once. A step of the timestamp of more
/// than a second against the clock (silence suppression done wrong, a new source) starts over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    scaled: u32,
    transit: u32,
    timestamp: u32,
    hz: u32,
}

impl Jitter {
    /// Count one packet of a clock of `hz` units a second; `hz` 0 is ignored.
    #[inline]
    pub fn update(&mut self, timestamp: u32, hz: u32, now: Mono) {
        if hz == 0 {
            return;
        }
        // Arrival in clock units, modulo 2³²; microseconds are exact enough and keep the product in 64 bits.
        let arrival = ((now.0 / 1_000).wrapping_mul(u64::from(hz)) / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if self.hz != hz {
            *self = Self { scaled: 0, transit, timestamp, hz };
            return;
        }
        if timestamp == self.timestamp {
            return;
        }
        let difference = (transit.wrapping_sub(self.transit) as i32).unsigned_abs();
        self.transit = transit;
        self.timestamp = timestamp;
        if difference > hz {
            return;
        }
        let decay = self.scaled.wrapping_add(8) >> 4;
        self.scaled = self.scaled.wrapping_add(difference).wrapping_sub(decay);
    }

    /// A new source: forget where the last packet was, keep the figure.
    pub fn new_source(&mut self) {
        self.hz = 0;
    }

    /// The jitter in microseconds.
    #[inline]
    pub fn micros(&self) -> u32 {
        let units = u64::from(self.scaled >> 4);
        u32::try_from(units.wrapping_mul(1_000_000).checked_div(u64::from(self.hz)).unwrap_or(0))
            .unwrap_or(u32::MAX)
    }
}

/// What makes a call sound bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// Lost packets per 10,000.
    pub loss_x10000: u32,
    /// Interarrival jitter in microseconds (RFC 3550 §6.4.1).
    pub jitter_us: u32,
    /// Round trip end to end, microseconds; 0 = not known.
    pub rtt_us: u32,
}

/// Estimated MOS × 100, from 100 to 440: a simplified E-model (ITU-T G.107) for narrow-band speech with concealment.
///
/// One-way delay d = rtt/2 + 2·jitter (the receiver's buffer) + 10 ms. R = 93.2 − d/40 (below 160 ms) or − (d − 120)/10,
/// minus 2.5 per per cent of loss. MOS = 1 + 0.035·R + R·(R − 60)·(100 − R)·7·10⁻⁶.
pub fn mos_x100(i: Impairment) -> u16 {
    // R in thousandths; every term is at most a few millions, far from the edge of i64.
    let delay_us = (i64::from(i.rtt_us) / 2)
        .saturating_add(i64::from(i.jitter_us).saturating_mul(2))
        .saturating_add(10_000)
        .min(10_000_000);
    let delay_penalty =
        if delay_us < 160_000 { delay_us / 40 } else { delay_us.saturating_sub(120_000) / 10 };
    let loss_penalty = i64::from(i.loss_x10000.min(10_000)).saturating_mul(25);
    let r = 93_200i64.saturating_sub(delay_penalty).saturating_sub(loss_penalty).clamp(0, 100_000);
    // All in 10⁻¹³ of the result (MOS × 100), so that nothing is rounded before the end; below 2⁵³ in size.
    let cubic = r.saturating_mul(r.saturating_sub(60_000)).saturating_mul(100_000i64.saturating_sub(r));
    let sum = 1_000_000_000_000_000i64
        .saturating_add(r.saturating_mul(35_000_000_000))
        .saturating_add(cubic.saturating_mul(7));
    let mos = sum / 10_000_000_000_000;
    u16::try_from(mos.clamp(100, 440)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The sum of the doc comment in floating point, before it is cut to whole hundredths between 1 and 4.4.
    fn mos_by_the_formula(i: Impairment) -> f64 {
        let ms = |us: u32| f64::from(us) / 1_000.0;
        let delay = ms(i.rtt_us) / 2.0 + 2.0 * ms(i.jitter_us) + 10.0;
        let for_delay = if delay < 160.0 { delay / 40.0 } else { (delay - 120.0) / 10.0 };
        let r = (93.2 - for_delay - 2.5 * f64::from(i.loss_x10000) / 100.0).clamp(0.0, 100.0);
        1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6
    }

    #[test]
    fn mos_of_known_points() {
        let at = |loss_x10000, jitter_us, rtt_us| mos_x100(Impairment { loss_x10000, jitter_us, rtt_us });
        // By hand. Each term alone, with R beside it; between 1 and 4.4 nothing is cut.
        assert_eq!(at(0, 0, 0), 440); // 93.2 − 10/40 = 92.95: 1 + 3.25325 + 0.15115
        assert_eq!(at(100, 0, 0), 434); // 1 % of loss: 90.45
        assert_eq!(at(200, 0, 0), 428); // 87.95
        assert_eq!(at(0, 20_000, 0), 438); // jitter counts twice: 93.2 − 50/40 = 91.95
        assert_eq!(at(0, 0, 80_000), 438); // half of the round trip: the same 91.95
        assert_eq!(at(0, 0, 299_998), 431); // 159.999 ms: 93.2 − 4.0 = 89.2
        assert_eq!(at(0, 0, 300_000), 431); // 160 ms, (160 − 120) / 10: the same 89.2
        assert_eq!(at(0, 0, 600_000), 378); // 310 ms: 93.2 − 19 = 74.2
        assert_eq!(at(0, 100_000, 400_000), 331); // 410 ms: 93.2 − 29 = 64.2
        assert_eq!(at(500, 0, 100_000), 399); // 93.2 − 1.5 − 12.5 = 79.2
        assert_eq!(at(2_000, 0, 0), 221); // 42.95
        assert_eq!(at(3_600, 0, 0), 100); // 2.95, below 1 by the formula
        assert_eq!(at(10_000, 0, 0), 100);
        assert_eq!(at(u32::MAX, u32::MAX, u32::MAX), 100);
        for loss_x10000 in (0..=4_000).step_by(125) {
            for jitter_us in [0, 1_000, 7_500, 40_000, 74_999, 75_000, 75_001, 250_000] {
                for rtt_us in [0, 3_000, 50_000, 151_000, 299_999, 300_001, 700_000, 2_000_000] {
                    let i = Impairment { loss_x10000, jitter_us, rtt_us };
                    let exact = (mos_by_the_formula(i) * 100.0).clamp(100.0, 440.0);
                    let ours = f64::from(mos_x100(i));
                    assert!((exact - ours - 0.5).abs() <= 0.51, "{i:?}: {ours}, not {exact}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn mos_never_rises_with_trouble(loss in 0u32..10_000, jitter in 0u32..500_000, rtt in 0u32..3_000_000, more in 1u32..2_000) {
            let base = Impairment { loss_x10000: loss, jitter_us: jitter, rtt_us: rtt };
            let here = mos_x100(base);
            prop_assert!((100..=440).contains(&here));
            let worse = [
                Impairment { loss_x10000: loss + more, ..base },
                Impairment { jitter_us: jitter + more, ..base },
                Impairment { rtt_us: rtt + more, ..base },
            ];
            for w in worse {
                prop_assert!(mos_x100(w) <= here);
            }
        }

        /// Against a model that keeps every extended number in a set.
        #[test]
        fn tracker_agrees_with_a_set(start in any::<u16>(), steps in prop::collection::vec(-40i64..60, 1..300)) {
            let mut tracker = SeqTracker::default();
            let mut seen = std::collections::BTreeSet::new();
            let (mut at, mut duplicates, mut reordered) = (1_000_000i64 + i64::from(start), 0, 0);
            let mut max = at;
            seen.insert(at);
            tracker.update(7, at as u16);
            for step in steps {
                at = max + step;
                // Older than the bit map reaches is another rule's business.
                if seen.insert(at) {
                    if at < max { reordered += 1; }
                } else {
                    duplicates += 1;
                }
                max = max.max(at);
                tracker.update(7, at as u16);
            }
            let first = *seen.first().unwrap();
            prop_assert_eq!(tracker.duplicates(), duplicates);
            prop_assert_eq!(tracker.reordered(), reordered);
            prop_assert_eq!(tracker.received(), seen.len() as u64);
            prop_assert_eq!(tracker.expected(), (max - first + 1) as u64);
        }
    }

    #[test]
    fn late_is_five_places_behind() {
        let mut t = SeqTracker::default();
        for s in [0, 1, 2, 4, 5, 10, 11, 12] {
            t.update(1, s);
        }
        for (s, late) in [(8, 0), (7, 1), (3, 2), (3, 2)] {
            t.update(1, s);
            assert_eq!(t.late(), late, "{s}");
        }
        assert_eq!((t.reordered(), t.duplicates()), (3, 1));
    }

    #[test]
    fn jumps_have_their_edges() {
        let at = |first: u16, then: u16| {
            let mut t = SeqTracker::default();
            t.update(1, first);
            t.update(1, then)
        };
        assert_eq!(at(0, 2_999), SeqEvent::InOrder { gap: 2_998 });
        assert_eq!(at(0, 3_000), SeqEvent::Suspect);
        assert_eq!(at(200, 100), SeqEvent::Reordered);
        assert_eq!(at(200, 99), SeqEvent::Suspect);
        // A jump that was not confirmed at once is forgotten when the stream goes on.
        let mut t = SeqTracker::default();
        for s in 0..10 {
            t.update(0xABCD, s);
        }
        assert_eq!(t.update(0xABCD, 30_000), SeqEvent::Suspect);
        assert_eq!(t.update(0xABCD, 12), SeqEvent::InOrder { gap: 2 });
        assert_eq!(t.update(0xABCD, 30_001), SeqEvent::Suspect);
        assert_eq!((t.ssrc(), t.highest()), (0xABCD, 12));
    }

    #[test]
    fn a_step_of_more_than_a_second_is_no_jitter() {
        let after = |step: u32| {
            let mut j = Jitter::default();
            j.update(0, 8_000, Mono(0));
            j.update(160 + step, 8_000, Mono(20_000_000));
            j.micros()
        };
        // A sixteenth of the difference (RFC 3550 A.8).
        assert_eq!((after(8_000), after(1_600), after(8_001)), (62_500, 12_500, 0));
    }

    #[test]
    fn restart_needs_two_in_a_row_and_keeps_totals() {
        let mut t = SeqTracker::default();
        for s in 0..10 {
            t.update(1, s);
        }
        assert_eq!(t.update(1, 30_000), SeqEvent::Suspect);
        assert_eq!(t.update(1, 10), SeqEvent::InOrder { gap: 0 });
        assert_eq!(t.update(1, 40_000), SeqEvent::Suspect);
        assert_eq!(t.update(1, 40_001), SeqEvent::Restart);
        assert_eq!((t.expected(), t.received()), (12, 12));
        assert_eq!(t.update(2, 5), SeqEvent::First);
        assert_eq!(t.update(2, 8), SeqEvent::InOrder { gap: 2 });
        assert_eq!((t.expected(), t.received()), (16, 14));
    }

    #[test]
    fn jitter_of_a_steady_stream_is_zero_and_of_alternating_delay_converges() {
        let mut steady = Jitter::default();
        let mut shaky = Jitter::default();
        for i in 0..2_000u64 {
            let at = 1_000_000_000 + i * 20_000_000;
            steady.update((i * 160) as u32, 8_000, Mono(at));
            let late = if i % 2 == 0 { 0 } else { 5_000_000 };
            shaky.update((i * 160) as u32, 8_000, Mono(at + late));
        }
        assert_eq!(steady.micros(), 0);
        // |D| is 5 ms (40 units) each time: the mean goes there.
        assert!((4_750..=5_000).contains(&shaky.micros()), "{}", shaky.micros());
    }
}
