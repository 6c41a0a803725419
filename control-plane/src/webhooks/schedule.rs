//! When a delivery is tried again. Pure: how often it was tried, how old it is and a random number go in.

use std::time::Duration;

/// The pause after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(5);
/// The longest pause.
const MOST: Duration = Duration::from_secs(3_600);
/// How long a delivery is tried.
pub const LIVES: Duration = Duration::from_secs(24 * 3_600);
/// How long every delivery of a webhook may fail before it is disabled.
pub const FAILS: Duration = Duration::from_secs(3 * 24 * 3_600);

/// The pause before the next attempt, or `None` when there is none: it would come when the delivery is older than [`LIVES`].
/// `attempts` is how often it was tried, `age` how long ago it was due first. A tenth is added or taken by chance (`random`), so that
/// what failed together does not come back together.
pub fn pause(attempts: u32, age: Duration, random: u32) -> Option<Duration> {
    let doubled = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let base = FIRST.saturating_mul(doubled).min(MOST);
    let tenths = base / 10;
    // 0 to 2 tenths, around one.
    let more = tenths.saturating_mul(random % 2_001) / 1_000;
    let pause = base.saturating_sub(tenths).saturating_add(more).min(MOST);
    (age.saturating_add(pause) <= LIVES).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t_hook_03_retries_grow_to_an_hour_and_end_after_a_day() {
        for random in [0, 1_000, 2_000] {
            let (mut age, mut attempts, mut last) = (Duration::ZERO, 1, Duration::ZERO);
            while let Some(next) = pause(attempts, age, random) {
                assert!(next >= last.mul_f64(0.8) && next <= MOST, "{attempts}: {next:?} after {last:?}");
                (age, last) = (age + next, next);
                attempts += 1;
            }
            assert!(age <= LIVES && age > LIVES - MOST.mul_f64(1.1), "{age:?}");
            assert!((30..=40).contains(&attempts), "{attempts} attempts");
        }
        assert_eq!(pause(1, Duration::ZERO, 1_000), Some(FIRST));
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_an_hour_and_none_ends_after_the_day(
            attempts in any::<u32>(), age_s in 0u64..200_000, random in any::<u32>()
        ) {
            let age = Duration::from_secs(age_s);
            match pause(attempts, age, random) {
                Some(next) => prop_assert!(next <= MOST && age + next <= LIVES && next >= FIRST.mul_f64(0.89)),
                None => prop_assert!(age + MOST > LIVES),
            }
        }
    }
}
