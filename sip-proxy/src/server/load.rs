//! How loaded a shard is, seen from its wake-ups (F-LOAD-01): nothing is measured per packet, and no clock is read for it.

use std::time::Duration;

use warp_model::Mono;

use crate::core::overload::Overload;
use crate::metrics::Metrics;

/// The overload controller of one shard, and what the wake-up at hand tells it.
pub(super) struct Load {
    control: Overload,
    left_over: bool,
}

impl Load {
    pub(super) fn new(now: Mono) -> Load {
        Load { control: Overload::new(now), left_over: false }
    }

    /// A source had more than a wake-up takes of it.
    pub(super) fn left_over(&mut self, more: bool) {
        self.left_over |= more;
    }

    /// Share of new calls to be refused.
    pub(super) fn level(&self) -> u32 {
        self.control.level()
    }

    /// A wake-up is done that began at `now` after `slept`. The new share when it has changed.
    pub(super) fn woke(&mut self, shard: u16, now: Mono, slept: Duration, metrics: &Metrics) -> Option<u32> {
        let before = self.control.level();
        self.control.woke(now, slept, !std::mem::take(&mut self.left_over));
        let level = self.control.level();
        if level == before {
            return None;
        }
        metrics.overload.set(shard, level);
        if before == 0 || level == 0 {
            if level > 0 {
                tracing::warn!(shard, "overload: a share of new calls is refused while it lasts");
            } else {
                tracing::warn!(shard, "overload is over: every new call is taken again");
            }
        }
        Some(level)
    }
}

/// Refusals for want of room (transactions, calls): told at most every ten seconds, with how many there were.
#[derive(Debug, Default)]
pub(super) struct Full {
    refused: u64,
    told: Option<Mono>,
}

impl Full {
    /// `more` were refused. Gives their number since the last time when it is due to be told.
    pub(super) fn due(&mut self, more: u64, now: Mono) -> Option<u64> {
        self.refused = self.refused.saturating_add(more);
        let quiet = self.told.is_some_and(|at| now.since(at) < Duration::from_secs(10));
        if self.refused == 0 || quiet {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exhaustion_is_told_once_in_ten_seconds_with_all_that_was_refused() {
        let at = |s: u64| Mono(s * 1_000_000_000);
        let mut full = Full::default();
        assert_eq!(full.due(0, at(1)), None);
        assert_eq!(full.due(3, at(2)), Some(3));
        assert_eq!((full.due(4, at(3)), full.due(5, at(11))), (None, None));
        assert_eq!(full.due(0, at(12)), Some(9));
        assert_eq!(full.due(0, at(30)), None, "nothing new");
    }

    #[test]
    fn f_load_01_wake_ups_that_leave_something_unread_raise_the_level_of_their_shard() {
        let metrics = Metrics::detached();
        let at = |n: u64| Mono(n * 50_000_000);
        let mut load = Load::new(at(0));
        // Two wake-ups in each interval, one of which read everything: calm.
        for n in 1..=20 {
            load.left_over(n % 2 == 0);
            assert_eq!(load.woke(3, at(n), Duration::ZERO, &metrics), None);
        }
        let mut told = vec![];
        for n in 21..=26 {
            load.left_over(false);
            load.left_over(true);
            told.extend(load.woke(3, at(n), Duration::ZERO, &metrics));
        }
        assert_eq!((told.len(), told.last().copied()), (2, Some(load.level())));
        assert!(load.level() > 0);
        // Idle again: down to nothing, and told so.
        told.clear();
        for n in 27..=60 {
            told.extend(load.woke(3, at(n), Duration::from_millis(45), &metrics));
        }
        assert_eq!((told.last(), load.level()), (Some(&0), 0));
    }
}
