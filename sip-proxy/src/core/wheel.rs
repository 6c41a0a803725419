//! The shard's timer wheel: three levels of 256 slots, one tick about 8.4 ms (2²³ ns), reach 39 hours.
//!
//! Arming is lazy: an entry only means "look at this key then"; the owner compares real deadlines, acts on what is due
//! and arms again. So a later deadline costs nothing until the earlier look, and nothing is ever cancelled.
//! A key is never handed out before its time, and at most one tick after it.

use warp_model::Mono;

const TICK_SHIFT: u32 = 23;
const SLOTS: u64 = 256;
const MASK: u64 = SLOTS - 1;

#[derive(Debug)]
struct Level<K> {
    slots: Vec<Vec<(u64, K)>>,
    used: [u64; 4],
}

impl<K> Level<K> {
    fn new() -> Self {
        Level { slots: (0..SLOTS).map(|_| Vec::new()).collect(), used: [0; 4] }
    }

    fn push(&mut self, slot: u64, tick: u64, key: K) {
        let slot = (slot & MASK) as usize;
        self.slots[slot].push((tick, key));
        self.used[slot / 64] |= 1 << (slot % 64);
    }

    fn take(&mut self, slot: u64) -> Vec<(u64, K)> {
        let slot = (slot & MASK) as usize;
        self.used[slot / 64] &= !(1 << (slot % 64));
        std::mem::take(&mut self.slots[slot])
    }

    fn give_back(&mut self, slot: u64, mut empty: Vec<(u64, K)>) {
        let slot = &mut self.slots[(slot & MASK) as usize];
        if slot.is_empty() {
            empty.clear();
            *slot = empty;
        }
    }

    /// The first used position after `at`, less than 256 further on.
    fn next_after(&self, at: u64) -> Option<u64> {
        let start = (at + 1) & MASK;
        for i in 0..5 {
            let word = ((start / 64 + i) % 4) as usize;
            let mut bits = self.used[word];
            if i == 0 {
                bits &= u64::MAX << (start % 64);
            } else if i == 4 {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let slot = word as u64 * 64 + u64::from(bits.trailing_zeros());
                return Some(at + 1 + ((slot + SLOTS - start) & MASK));
            }
        }
        None
    }
}

/// A wheel of timers, each with a key.
#[derive(Debug)]
pub(crate) struct Wheel<K> {
    now: u64,
    /// What [`Wheel::next_tick`] says: asked at each wake-up, and changed by few of them.
    soonest: Option<u64>,
    levels: [Level<K>; 3],
}

impl<K: Copy> Wheel<K> {
    /// Empty, at time zero.
    pub(crate) fn new() -> Self {
        Wheel { now: 0, soonest: None, levels: [Level::new(), Level::new(), Level::new()] }
    }

    /// Look at `key` at `at` (or at the next tick when that is past).
    pub(crate) fn arm(&mut self, at: Mono, key: K) {
        let tick = at.0.div_ceil(1 << TICK_SHIFT).max(self.now + 1);
        self.insert(tick, key);
    }

    fn insert(&mut self, tick: u64, key: K) {
        let now = self.now;
        let at = if tick - now < SLOTS {
            self.levels[0].push(tick, tick, key);
            tick
        } else if (tick >> 8) - (now >> 8) < SLOTS {
            self.levels[1].push(tick >> 8, tick, key);
            tick >> 8 << 8
        } else {
            // Beyond the reach: looked at early, armed again.
            let slot = (tick >> 16).min((now >> 16) + MASK);
            self.levels[2].push(slot, tick, key);
            slot << 16
        };
        self.soonest = Some(self.soonest.map_or(at, |soonest| soonest.min(at)));
    }

    /// When [`Wheel::advance`] should be called next.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.soonest.map(|t| Mono(t << TICK_SHIFT))
    }

    fn next_tick(&self) -> Option<u64> {
        let [a, b, c] = &self.levels;
        let a = a.next_after(self.now);
        let b = b.next_after(self.now >> 8).map(|t| t << 8);
        let c = c.next_after(self.now >> 16).map(|t| t << 16);
        [a, b, c].into_iter().flatten().min()
    }

    /// Moves to `now`; keys whose time has come are appended to `due` in the order of their times.
    pub(crate) fn advance(&mut self, now: Mono, due: &mut Vec<K>) {
        let target = now.0 >> TICK_SHIFT;
        while self.now < target {
            let Some(tick) = self.soonest.filter(|t| *t <= target) else {
                self.now = target;
                return;
            };
            self.now = tick;
            for (level, shift) in [(2usize, 16u32), (1, 8)] {
                if tick & ((1 << shift) - 1) == 0 {
                    let slot = tick >> shift;
                    let mut moved = self.levels[level].take(slot);
                    for (t, key) in moved.drain(..) {
                        if t <= tick {
                            self.levels[0].push(tick, tick, key);
                        } else {
                            self.insert(t, key);
                        }
                    }
                    self.levels[level].give_back(slot, moved);
                }
            }
            let mut fired = self.levels[0].take(tick);
            due.extend(fired.drain(..).map(|(_, key)| key));
            self.levels[0].give_back(tick, fired);
            self.soonest = self.next_tick();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TICK: u64 = 1 << TICK_SHIFT;

    proptest! {
        /// Against a sorted list: nothing early, nothing later than a tick, nothing lost.
        #[test]
        fn fires_each_key_once_and_in_time(
            times in prop::collection::vec(0u64..200_000_000_000_000, 1..80),
            steps in prop::collection::vec(1u64..3_000_000_000_000, 1..200),
        ) {
            let mut w = Wheel::new();
            for (i, t) in times.iter().enumerate() {
                w.arm(Mono(*t), i);
            }
            let mut fired = vec![None; times.len()];
            let (mut now, mut steps) = (0u64, steps.into_iter().cycle());
            while let Some(next) = w.next() {
                // Either exactly when asked for, or late.
                let step = steps.next().unwrap();
                now = if step % 2 == 0 { next.0 } else { next.0.max(now + step) };
                let mut due = vec![];
                w.advance(Mono(now), &mut due);
                prop_assert_eq!(w.soonest, w.next_tick());
                for key in due {
                    if times[key] > now {
                        w.arm(Mono(times[key]), key);
                        prop_assert_eq!(w.soonest, w.next_tick());
                    } else {
                        prop_assert!(fired[key].is_none());
                        fired[key] = Some(now);
                    }
                }
                for (i, t) in times.iter().enumerate() {
                    prop_assert!(fired[i].is_some() || *t + TICK > now, "{i} at {t} late at {now}");
                }
            }
            prop_assert!(fired.iter().all(Option::is_some));
        }
    }

    #[test]
    fn past_times_fire_at_the_next_tick() {
        let mut w = Wheel::new();
        let mut due = vec![];
        w.advance(Mono(1_000 * TICK), &mut due);
        w.arm(Mono(3), "late");
        assert_eq!(w.next(), Some(Mono(1_001 * TICK)));
        w.advance(Mono(1_001 * TICK), &mut due);
        assert_eq!(due, ["late"]);
        assert_eq!(w.next(), None);
    }
}
