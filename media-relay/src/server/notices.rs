//! Log lines that a client could make as often as it likes, held back (G-3).

use std::collections::HashMap;
use std::time::Duration;

use warp_model::Mono;

/// How often a thing is said.
const EVERY: Duration = Duration::from_secs(10);
/// Names remembered; what is beyond them is not logged.
const NAMES: usize = 256;
/// Lines of [`Budget`] in [`EVERY`].
const LINES: u32 = 50;

/// Which things were said, and when: one log line for a name in ten seconds.
#[derive(Default)]
pub(super) struct Notices(HashMap<Vec<u8>, (Mono, u64)>);

impl Notices {
    /// How often this name came since it was last logged, when it is to be logged now.
    pub(super) fn due(&mut self, name: &[u8], now: Mono) -> Option<u64> {
        let full = self.0.len() >= NAMES;
        match self.0.get_mut(name) {
            Some((at, times)) => {
                *times = times.saturating_add(1);
                if now.since(*at) < EVERY {
                    return None;
                }
                *at = now;
                Some(std::mem::take(times))
            }
            None if full => None,
            None => {
                self.0.insert(name.to_vec(), (now, 0));
                Some(1)
            }
        }
    }
}

/// A line for each event, up to a number in ten seconds; those beyond it are counted.
#[derive(Default)]
pub(super) struct Budget {
    since: Mono,
    lines: u32,
    left_out: u64,
}

impl Budget {
    /// How many were left out before this one, when it is to be logged.
    pub(super) fn due(&mut self, now: Mono) -> Option<u64> {
        if now.since(self.since) >= EVERY {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines >= LINES {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Mono {
        Mono(s * 1_000_000_000)
    }

    #[test]
    fn g_3_a_name_is_logged_once_in_ten_seconds_with_its_count() {
        let mut notices = Notices::default();
        assert_eq!(notices.due(b"a", at(0)), Some(1));
        assert_eq!((notices.due(b"a", at(1)), notices.due(b"a", at(9))), (None, None));
        assert_eq!((notices.due(b"b", at(9)), notices.due(b"a", at(10))), (Some(1), Some(3)));
        assert_eq!(notices.due(b"a", at(20)), Some(1));
        let told = (0..1_000u32).filter(|i| notices.due(&i.to_be_bytes(), at(30)).is_some()).count();
        assert_eq!((told, notices.0.len()), (NAMES - 2, NAMES), "names made up do not fill memory");
    }

    #[test]
    fn g_3_a_flood_of_refusals_does_not_fill_the_log() {
        let mut budget = Budget::default();
        let told = (0..1_000).filter(|_| budget.due(at(5)).is_some()).count();
        assert_eq!(told, 50);
        assert_eq!(budget.due(at(15)), Some(950), "and says how many it left out");
        assert_eq!(budget.due(at(15)), Some(0));
    }
}
