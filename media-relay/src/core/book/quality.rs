//! How a party's stream has sounded over time: loss, jitter, round trip and MOS of each interval.
//!
//! Pure and small: twenty-odd bytes an entry, at most [`ENTRIES`] of them; when they are full every second one goes and the
//! interval of the rest doubles. The lowest and the highest are of all intervals. An interval without packets (hold,
//! silence suppression) says nothing of the quality and is not an entry.

use std::time::Duration;

use warp_media::StreamSnapshot;
use warp_media::quality::{Impairment, mos_x100};
use warp_model::Wall;
use warp_ng::{MosFigures, SsrcStats};

/// One look at each stream in this time.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// Entries of one stream.
const ENTRIES: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: Wall,
    mos_x100: u16,
    loss_percent: u8,
    jitter_us: u32,
    rtt_us: u32,
    leg_us: u32,
}

/// The judged intervals of a call's streams.
#[derive(Clone, Debug, Default)]
pub(super) struct QualityLog {
    entries: Vec<Entry>,
    /// Looks for one entry, as a power of two, and looks since the last.
    doubled: u32,
    looks: u32,
    /// Packets expected and lost at the last look.
    expected: u64,
    lost: u64,
    lowest: Option<Entry>,
    highest: Option<Entry>,
    /// Over all intervals with packets.
    samples: u64,
    mos_sum: u64,
    jitter_sum: u64,
    rtt_sum: u64,
    leg_sum: u64,
}

impl Entry {
    fn figures(self) -> MosFigures {
        MosFigures {
            mos_x100: Some(self.mos_x100),
            round_trip_us: u64::from(self.rtt_us),
            round_trip_leg_us: u64::from(self.leg_us),
            jitter_us: u64::from(self.jitter_us),
            loss_percent: u64::from(self.loss_percent),
            samples: 0,
            reported_at: Some(self.at),
        }
    }
}

impl QualityLog {
    /// Looks at the stream now. `far_rtt_us`: round trip of the sender's own leg.
    pub(super) fn look(&mut self, s: &StreamSnapshot, far_rtt_us: u32, at: Wall) {
        let expected = s.expected.saturating_sub(self.expected);
        if expected == 0 {
            return;
        }
        // Packets that came late make up for a loss of the interval before: never less than none.
        let lost = s.lost.saturating_sub(self.lost).min(expected);
        (self.expected, self.lost) = (s.expected, s.lost);
        let loss_x10000 = lost.saturating_mul(10_000).checked_div(expected).unwrap_or(0);
        let loss_x10000 = u32::try_from(loss_x10000).unwrap_or(10_000);
        let rtt_us = s.rtt_us.saturating_add(far_rtt_us);
        let entry = Entry {
            at,
            mos_x100: mos_x100(Impairment { loss_x10000, jitter_us: s.jitter_us, rtt_us }),
            loss_percent: u8::try_from(loss_x10000 / 100).unwrap_or(100),
            jitter_us: s.jitter_us,
            rtt_us,
            leg_us: s.rtt_us,
        };
        self.samples = self.samples.saturating_add(1);
        self.mos_sum = self.mos_sum.saturating_add(u64::from(entry.mos_x100));
        self.jitter_sum = self.jitter_sum.saturating_add(u64::from(entry.jitter_us));
        self.rtt_sum = self.rtt_sum.saturating_add(u64::from(entry.rtt_us));
        self.leg_sum = self.leg_sum.saturating_add(u64::from(entry.leg_us));
        if self.lowest.is_none_or(|l| entry.mos_x100 < l.mos_x100) {
            self.lowest = Some(entry);
        }
        if self.highest.is_none_or(|h| entry.mos_x100 > h.mos_x100) {
            self.highest = Some(entry);
        }
        self.keep(entry);
    }

    fn keep(&mut self, entry: Entry) {
        self.looks = self.looks.saturating_add(1);
        if self.looks < 1u32.checked_shl(self.doubled).unwrap_or(u32::MAX) {
            return;
        }
        self.looks = 0;
        if self.entries.len() >= ENTRIES {
            let mut odd = false;
            self.entries.retain(|_| {
                odd = !odd;
                !odd
            });
            self.doubled = self.doubled.saturating_add(1).min(16);
        }
        self.entries.push(entry);
    }

    /// The statistics of the stream, with the interval that runs.
    pub(super) fn source(&self, s: &StreamSnapshot, far_rtt_us: u32, at: Wall) -> SsrcStats {
        let mut log = self.clone();
        log.look(s, far_rtt_us, at);
        let mean = |sum: u64| sum.checked_div(log.samples).unwrap_or(0);
        SsrcStats {
            ssrc: s.ssrc,
            packets: s.packets,
            bytes: s.bytes,
            lost: s.lost,
            last_timestamp: s.timestamp,
            last_sequence: u32::from(s.sequence),
            average: MosFigures {
                mos_x100: u16::try_from(mean(log.mos_sum)).ok().filter(|m| *m > 0),
                round_trip_us: mean(log.rtt_sum),
                round_trip_leg_us: mean(log.leg_sum),
                jitter_us: mean(log.jitter_sum),
                loss_percent: u64::from(s.loss_x10000) / 100,
                samples: log.samples,
                reported_at: None,
            },
            lowest: log.lowest.map(Entry::figures),
            highest: log.highest.map(Entry::figures),
            progression: log.entries.iter().map(|e| e.figures()).collect(),
            progression_s: INTERVAL.as_secs().checked_shl(log.doubled).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Wall {
        Wall(s * 1_000_000)
    }

    fn heard(expected: u64, lost: u64) -> StreamSnapshot {
        StreamSnapshot {
            packets: expected - lost,
            expected,
            lost,
            jitter_us: 4_000,
            rtt_us: 60_000,
            loss_x10000: (lost * 10_000 / expected.max(1)) as u32,
            ..StreamSnapshot::default()
        }
    }

    #[test]
    fn each_interval_is_judged_by_its_own_losses() {
        let mut log = QualityLog::default();
        log.look(&heard(500, 0), 40_000, at(10));
        log.look(&heard(1_000, 100), 40_000, at(20)); // 20 % of these
        log.look(&heard(1_000, 100), 40_000, at(30)); // on hold
        log.look(&heard(1_500, 90), 40_000, at(40)); // ten of the lost came after all
        let s = log.source(&heard(2_000, 90), 40_000, at(45));
        assert_eq!((s.average.samples, s.progression.len(), s.progression_s), (4, 4, 10));
        // Of each interval its own, not of the call so far: late packets are not counted against the next one either.
        let losses: Vec<u64> = s.progression.iter().map(|e| e.loss_percent).collect();
        assert_eq!(losses, [0, 20, 0, 0]);
        let mut more = log.clone();
        more.look(&heard(2_000, 140), 40_000, at(50));
        assert_eq!(more.entries.last().map(|e| e.loss_percent), Some(10), "fifty of these five hundred");
        let (low, high) = (s.lowest.unwrap(), s.highest.unwrap());
        assert_eq!((low.loss_percent, low.reported_at), (20, Some(at(20))));
        assert_eq!((high.loss_percent, high.reported_at), (0, Some(at(10))));
        assert!(low.mos_x100 < s.average.mos_x100 && s.average.mos_x100 < high.mos_x100);
        assert_eq!((high.round_trip_us, high.round_trip_leg_us, high.jitter_us), (100_000, 60_000, 4_000));
        assert_eq!(s.average.loss_percent, 4);
        // Looking does not change it.
        assert_eq!(log.source(&heard(2_000, 90), 40_000, at(45)), s);
    }

    #[test]
    fn entries_are_bounded_and_cover_the_whole_call() {
        let mut log = QualityLog::default();
        for i in 1..=10_000u32 {
            log.look(&heard(u64::from(i) * 500, 0), 0, at(i64::from(i) * 10));
            assert!(log.entries.len() <= ENTRIES);
        }
        let s = log.source(&heard(5_000_000, 0), 0, at(100_000));
        let first = s.progression.first().and_then(|e| e.reported_at).unwrap();
        let last = s.progression.last().and_then(|e| e.reported_at).unwrap();
        assert!(first < at(20_000) && last > at(80_000), "{first:?} {last:?}");
        assert_eq!((s.progression_s, s.average.samples), (10 << 9, 10_000));
    }

    #[test]
    fn without_sequence_numbers_there_is_no_opinion() {
        let fax = StreamSnapshot { packets: 40, ..StreamSnapshot::default() };
        let s = QualityLog::default().source(&fax, 0, at(1));
        assert_eq!((s.average.mos_x100, s.lowest, s.progression.len()), (None, None, 0));
    }
}
