//! Overload control of one shard (F-LOAD-01; in the manner of RFC 7339's loss algorithm, with this proxy as its own client).
//!
//! The signal is a standing queue: a shard that has not once emptied its sockets and mailbox for a whole interval is behind, and every message
//! waits for all that stands before it. A burst, or a stall of the machine, is worked off within an interval and is none. While the queue stands,
//! the share of new calls that is admitted falls; when it is gone, the share rises towards the busy share that leaves the queue short. What is
//! not admitted is answered 503 before anything else is done for it, so that the shard's time goes to calls that it can finish.
//!
//! Pure: times and what a wake-up saw come in, a level goes out.

use std::time::Duration;

use warp_model::Mono;

/// Level at which every new call is refused; 0 refuses none.
pub const FULL: u32 = 1_000_000;

/// Time over which a queue must stand to count.
const INTERVAL: Duration = Duration::from_millis(100);
/// Standing intervals in a row before the first call is refused: one may be a stall, or what it left.
const PATIENCE: u32 = 2;
/// The least that is admitted (2 %): without any new call nothing would tell that the flood is over.
const LEAST: u32 = 20_000;
/// Busy share (in thousandths) aimed at while shedding: short of full, where any queue would stand for ever.
const AIM: u64 = 985;

/// The controller of one shard.
#[derive(Clone, Copy, Debug)]
pub struct Overload {
    /// Share of new calls that is admitted, of [`FULL`].
    admitted: u32,
    /// Standing intervals in a row.
    streak: u32,
    /// The queue has gone at least once since calls are refused.
    settled: bool,
    since: Mono,
    idle: Duration,
    drained: bool,
}

impl Overload {
    /// A control that is calm: everything is admitted.
    pub fn new(now: Mono) -> Overload {
        Overload {
            admitted: FULL,
            streak: 0,
            settled: false,
            since: now,
            idle: Duration::ZERO,
            drained: false,
        }
    }

    /// One wake-up that began at `now` is done: how long the thread had slept before it, and whether it read everything that had come.
    pub fn woke(&mut self, now: Mono, slept: Duration, drained: bool) {
        self.idle += slept;
        self.drained |= drained;
        let passed = now.since(self.since);
        if passed < INTERVAL {
            return;
        }
        let (passed, idle) = (passed.as_micros().max(1), self.idle.as_micros());
        let busy = 1_000_u128.saturating_sub(idle.saturating_mul(1_000) / passed);
        self.interval(!self.drained, u64::try_from(busy).unwrap_or(0));
        (self.since, self.idle, self.drained) = (now, Duration::ZERO, false);
    }

    /// Share of new calls to be refused, of [`FULL`].
    pub fn level(&self) -> u32 {
        FULL.saturating_sub(self.admitted)
    }

    fn interval(&mut self, standing: bool, busy: u64) {
        self.streak = if standing { self.streak.saturating_add(1) } else { 0 };
        let admitted = u64::from(self.admitted);
        let next = match self.streak {
            // Nothing stands: up by a part of what is missing, more of it when much is.
            0 if busy < 700 => (admitted * (busy.max(1) + AIM) / (busy.max(1) * 2)).min(admitted * 3 / 2),
            0 => (admitted * (busy * 3 + AIM) / (busy * 4)).max(admitted),
            n if n < PATIENCE => admitted,
            // Near the right share already: a little, and wait for what it does.
            n if self.settled && n < 16 => admitted * 95 / 100,
            PATIENCE => admitted * 9 / 10,
            3 => admitted * 8 / 10,
            _ => admitted * 7 / 10,
        };
        let next = u32::try_from(next).unwrap_or(FULL).clamp(LEAST, FULL);
        // The last hundredth comes at once: a level that nobody would notice is no level.
        self.admitted = if self.streak == 0 && next > FULL / 100 * 99 { FULL } else { next };
        self.settled = self.admitted < FULL && (self.settled || self.streak == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn f_load_01_bursts_and_stalls_are_no_overload() {
        let mut o = Overload::new(Mono(0));
        // A second of full wake-ups, each drained in the end.
        for ms in 1..1_000 {
            o.woke(Mono(ms * MS), Duration::ZERO, ms % 50 == 0);
            assert_eq!(o.level(), 0);
        }
        // Stopped for three seconds, then what came meanwhile is worked off in less than an interval.
        o.woke(Mono(4_000 * MS), Duration::ZERO, false);
        for ms in 4_001..4_090 {
            o.woke(Mono(ms * MS), Duration::ZERO, false);
            assert_eq!(o.level(), 0);
        }
        o.woke(Mono(4_090 * MS), Duration::ZERO, true);
        // Idle for long.
        o.woke(Mono(60_000 * MS), Duration::from_secs(55), true);
        assert_eq!(o.level(), 0);
    }

    #[test]
    fn f_load_01_a_standing_queue_raises_the_level_and_its_end_takes_it_back_at_once() {
        let mut o = Overload::new(Mono(0));
        let mut levels = vec![];
        for n in 1..=40 {
            o.woke(Mono(n * 100 * MS), Duration::ZERO, false);
            levels.push(o.level());
        }
        assert_eq!(levels[..3], [0, 100_000, 280_000]);
        assert!(levels.is_sorted());
        assert_eq!(*levels.last().unwrap(), FULL - LEAST, "never everything");
        // Load is gone: by a half more at a time where much is missing, and within two seconds nothing is refused.
        let mut n = 41;
        o.woke(Mono(n * 100 * MS), Duration::from_millis(90), true);
        assert_eq!(o.level(), FULL - LEAST / 2 * 3);
        while o.level() > 0 {
            n += 1;
            o.woke(Mono(n * 100 * MS), Duration::from_millis(90), true);
        }
        assert!(n <= 60, "{n}");
    }
}
