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
            tracing::warn!(
                shard,
                shedding = level > 0,
                "overload: a share of new calls is refused while it lasts"
            );
        }
        Some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
