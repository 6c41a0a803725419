//! Days and times of UTC as numbers and in words.

/// A day since 1970-01-01 as a date (proleptic Gregorian).
pub fn day(days: i64) -> String {
    // Days since 0000-03-01, in eras of 400 years (146,097 days).
    let shifted = days.saturating_add(719_468);
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era.saturating_mul(400).saturating_add(year_of_era) + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Seconds since midnight as a time.
pub fn time(seconds: u32) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A date in days since 1970-01-01 (proleptic Gregorian). Month and day count from 1.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year.saturating_sub(1) } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let months = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * months + 2) / 5;
    let in_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era.saturating_mul(146_097)
        .saturating_add(in_era)
        .saturating_sub(719_468)
        .saturating_add(day.saturating_sub(1))
}

/// The year of a day.
pub fn year_of(days: i64) -> i64 {
    // 400 years have 146,097 days: a first guess that is at most one too large.
    let guess = days.saturating_mul(400).div_euclid(146_097).saturating_add(1_970);
    if begin(guess) > days {
        guess.saturating_sub(1)
    } else if begin(guess.saturating_add(1)) <= days {
        guess.saturating_add(1)
    } else {
        guess
    }
}

fn begin(year: i64) -> i64 {
    days(year, 1, 1)
}
