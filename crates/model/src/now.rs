//! Both clocks as values. Cores never read a clock: they are given a [`Now`], read once per wake-up.
//!
//! Timers and durations use [`Mono`] (F-TIME-01: a wall clock jump changes no duration); [`Wall`] is for records.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the monotonic clock: nanoseconds since an origin that the process (or the simulator) chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// A point on the wall clock: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub i64);

/// Both clocks, read together once per wake-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For timers and durations.
    pub mono: Mono,
    /// For records that people read.
    pub wall: Wall,
}

impl Mono {
    /// Time since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl crate::json::ToJson for Wall {
    fn to_json(&self, out: &mut Vec<u8>) {
        self.0.to_json(out);
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, d: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Mono {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Mono> for Mono {
    type Output = Duration;
    fn sub(self, earlier: Mono) -> Duration {
        self.since(earlier)
    }
}

impl Wall {
    /// Milliseconds since the Unix epoch, rounded down.
    pub fn unix_ms(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// From milliseconds since the Unix epoch; saturates.
    pub fn from_unix_ms(ms: i64) -> Wall {
        Wall(ms.saturating_mul(1_000))
    }

    /// This time plus `d`; saturates.
    pub fn plus(self, d: Duration) -> Wall {
        Wall(self.0.saturating_add(i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-22T13:14:45.123Z`.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.unix_ms();
        let (days, ms_of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
        let (year, month, day) = civil_from_days(days);
        let s = ms_of_day / 1_000;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            s / 3_600,
            s / 60 % 60,
            s % 60,
            ms_of_day % 1_000
        )
    }
}

/// Proleptic Gregorian date (year, month 1 to 12, day 1 to 31) of a day number (0 = 1970-01-01).
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days.saturating_add(719_468);
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The day number (0 = 1970-01-01) of a proleptic Gregorian date; [`civil_from_days`] leads back. Years are those of four digits.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_prints_rfc3339() {
        assert_eq!(Wall(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Wall::from_unix_ms(1_795_353_285_123).to_string(), "2026-11-22T13:14:45.123Z");
        assert_eq!(Wall::from_unix_ms(951_782_400_000).to_string(), "2000-02-29T00:00:00.000Z");
        assert_eq!(Wall(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn dates_and_day_numbers_lead_back_to_each_other() {
        for days in -800_000..800_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn mono_differences_never_go_below_zero() {
        assert_eq!(Mono(5) - Mono(9), Duration::ZERO);
        assert_eq!(Mono(5) + Duration::from_nanos(4), Mono(9));
    }
}
