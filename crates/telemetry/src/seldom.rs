//! A log line for what may happen thousands of times a second: at most one in ten seconds, with how often it happened.

use std::sync::atomic::{AtomicU64, Ordering};

use warp_model::Mono;

/// How long a line stands for what follows it, in ns.
const EVERY_NS: u64 = 10_000_000_000;

/// Counts something, and says when a line about it is due. It takes no lock and may be a `static`; threads that meet in it at
/// the same moment write one line between them.
#[derive(Debug, Default)]
pub struct Seldom {
    /// When the last line was due, plus one; 0 = never.
    told: AtomicU64,
    untold: AtomicU64,
}

impl Seldom {
    /// Nothing has happened yet: the first time is told at once.
    pub const fn new() -> Seldom {
        Seldom { told: AtomicU64::new(0), untold: AtomicU64::new(0) }
    }

    /// It happened once more. How often since the last line, this time included, when a line is due now.
    pub fn due(&self, now: Mono) -> Option<u64> {
        self.untold.fetch_add(1, Ordering::Relaxed);
        let (told, at) = (self.told.load(Ordering::Relaxed), now.0.saturating_add(1));
        if told != 0 && at.saturating_sub(told) < EVERY_NS {
            return None;
        }
        self.told.compare_exchange(told, at, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(self.untold.swap(0, Ordering::Relaxed)).filter(|times| *times > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_in_ten_seconds_with_its_count() {
        let at = |ms: u64| Mono(ms * 1_000_000);
        let seldom = Seldom::new();
        assert_eq!(seldom.due(at(0)), Some(1), "the first at once, also at time 0");
        let told: Vec<u64> = (1..1_000).filter_map(|ms| seldom.due(at(ms))).collect();
        assert!(told.is_empty(), "{told:?}");
        assert_eq!(seldom.due(at(9_999)), None);
        assert_eq!(seldom.due(at(10_000)), Some(1_001), "all that came since the first");
        assert_eq!(seldom.due(at(10_001)), None);
        assert_eq!(seldom.due(at(60_000)), Some(2));
    }
}
