//! Few wake-ups under load: a shard that has much to do looks at its sockets at most once a millisecond, as a network card
//! that moderates its interrupts. A task switch costs as much as a message; what came meanwhile is read, answered and sent in
//! one turn. A shard with little to do looks at once.

use std::time::Duration;

use warp_model::Mono;

/// A busy shard looks so often at most. Each message waits half of it on average, where a call is set up in tens of milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// From so many messages a second on a shard is busy: two in each look.
const BUSY_PER_S: u128 = 2_000;
/// Over this time messages are counted.
const WINDOW: Duration = Duration::from_millis(50);
/// Below this the kernel's timer is too coarse.
const NAP_MIN: Duration = Duration::from_micros(100);

/// What a shard had to do lately.
#[derive(Debug)]
pub(super) struct Pace {
    window_began: Mono,
    handled: u32,
    is_busy: bool,
    woke: Mono,
}

impl Pace {
    pub(super) fn new(now: Mono) -> Pace {
        Pace { window_began: now, handled: 0, is_busy: false, woke: now }
    }

    /// A message or a note is handled.
    pub(super) fn handled(&mut self) {
        self.handled = self.handled.saturating_add(1);
    }

    /// A wake-up began at `now`.
    pub(super) fn woke(&mut self, now: Mono) {
        self.woke = now;
        let passed = now.since(self.window_began);
        if passed >= WINDOW {
            self.is_busy = u128::from(self.handled) * 1_000 >= BUSY_PER_S * passed.as_millis();
            (self.window_began, self.handled) = (now, 0);
        }
    }

    /// How long to leave the sockets alone at `now`, with a timer due at `deadline`.
    pub(super) fn nap(&self, now: Mono, deadline: Mono) -> Option<Duration> {
        let until = (self.woke + LOOK_EVERY).min(deadline);
        (self.is_busy).then(|| until.since(now)).filter(|nap| *nap >= NAP_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_us(us: u64) -> Mono {
        Mono(us * 1_000)
    }

    #[test]
    fn a_busy_shard_looks_once_a_millisecond_and_an_idle_one_at_once() {
        let later = at_us(10_000_000);
        let mut pace = Pace::new(at_us(0));
        // One message a millisecond: not busy, also after the window.
        for ms in 1..=50 {
            pace.handled();
            pace.woke(at_us(ms * 1_000));
            assert_eq!(pace.nap(at_us(ms * 1_000), later), None);
        }
        // Two a millisecond, from the next window on.
        for ms in 51..=100 {
            pace.handled();
            pace.handled();
            pace.woke(at_us(ms * 1_000));
        }
        assert_eq!(pace.nap(at_us(100_000), later), Some(Duration::from_millis(1)));
        assert_eq!(
            pace.nap(at_us(100_300), later),
            Some(Duration::from_micros(700)),
            "counted from the wake-up"
        );
        assert_eq!(pace.nap(at_us(100_950), later), None, "hardly worth it");
        assert_eq!(pace.nap(at_us(103_000), later), None, "a turn that took long");
        // A timer is not late because of it.
        assert_eq!(pace.nap(at_us(100_000), at_us(100_400)), Some(Duration::from_micros(400)));
        assert_eq!(pace.nap(at_us(100_000), at_us(99_000)), None, "already due");
        // Quiet again: the next window ends it.
        pace.woke(at_us(149_000));
        assert!(pace.nap(at_us(149_000), later).is_some());
        pace.woke(at_us(150_000));
        assert_eq!(pace.nap(at_us(150_000), later), None);
    }
}
