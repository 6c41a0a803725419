//! Times as SMPP writes them (3.4 §7.1.1): `YYMMDDhhmmsstnnp`, and the `YYMMDDhhmm` of receipts.

use std::time::Duration;

use warp_model::Wall;
use warp_model::now::{civil_from_days, days_from_civil};

/// A schedule or validity as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// A point in time.
    At(Wall),
    /// So long after now.
    After(Duration),
}

impl Time {
    /// Reads the 16 characters. `now` is needed for relative months and years, which are those of the calendar.
    /// `None`: not of the form, or no such date.
    pub fn parse(text: &[u8], now: Wall) -> Option<Time> {
        let text: &[u8; 16] = text.try_into().ok()?;
        let pair = |at: usize| -> Option<i64> {
            match text.get(at..at.checked_add(2)?)? {
                [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(i64::from(a - b'0') * 10 + i64::from(b - b'0')),
                _ => None,
            }
        };
        let (years, months, days) = (pair(0)?, pair(2)?, pair(4)?);
        let (hours, minutes, seconds) = (pair(6)?, pair(8)?, pair(10)?);
        let tenths = i64::from(text.get(12)?.checked_sub(b'0').filter(|d| *d <= 9)?);
        let quarters = pair(13)?;
        let sign = *text.get(15)?;
        if sign == b'R' {
            let (year, month, day) = civil_from_days(now.0.div_euclid(DAY_US));
            let month = year * 12 + month - 1 + years * 12 + months;
            let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
            // The 31st of a month that has none is its last day.
            let date = days_from_civil(year, month, day.min(days_of_month(year, month)));
            let moved = date - now.0.div_euclid(DAY_US) + days;
            let s = moved * 86_400 + hours * 3_600 + minutes * 60 + seconds;
            return Some(Time::After(Duration::from_millis(
                u64::try_from(s).ok()?.checked_mul(1_000)?.checked_add(tenths.unsigned_abs() * 100)?,
            )));
        }
        let ahead = match sign {
            b'+' => quarters,
            b'-' => -quarters,
            _ => return None,
        };
        let wanted = (1..=12).contains(&months)
            && (1..=days_of_month(2_000 + years, months)).contains(&days)
            && hours <= 23
            && minutes <= 59
            && seconds <= 59
            && quarters <= 48;
        if !wanted {
            return None;
        }
        // Two digits of a year: 2000 to 2099; the protocol is younger than the century before.
        let date = days_from_civil(2_000 + years, months, days);
        let s = date * 86_400 + hours * 3_600 + minutes * 60 + seconds - ahead * 900;
        Some(Time::At(Wall::from_unix_ms(s * 1_000 + tenths * 100)))
    }

    /// The point in time that it means now.
    pub fn from_now(self, now: Wall) -> Wall {
        match self {
            Time::At(at) => at,
            Time::After(d) => now.plus(d),
        }
    }
}

/// A point in time as an absolute one in UTC, 16 characters.
pub fn absolute(at: Wall) -> [u8; 16] {
    let mut out = *b"000000000000000+";
    let day = at.0.div_euclid(DAY_US);
    let us = at.0.rem_euclid(DAY_US);
    let (year, month, day) = civil_from_days(day);
    let s = us / 1_000_000;
    let pairs = [year % 100, month, day, s / 3_600, s / 60 % 60, s % 60];
    put_pairs(&mut out, &pairs);
    if let Some(tenth) = out.get_mut(12) {
        *tenth = digit(us / 100_000 % 10);
    }
    out
}

/// A point in time as receipts write it: `YYMMDDhhmm` in UTC.
pub fn of_receipt(at: Wall) -> [u8; 10] {
    let mut out = [b'0'; 10];
    let (year, month, day) = civil_from_days(at.0.div_euclid(DAY_US));
    let s = at.0.rem_euclid(DAY_US) / 1_000_000;
    put_pairs(&mut out, &[year % 100, month, day, s / 3_600, s / 60 % 60]);
    out
}

/// Reads the date of a receipt: 10 or 12 digits, or 14 with the century. `None`: anything else.
pub fn parse_receipt(text: &[u8]) -> Option<Wall> {
    let text = match text.len() {
        14 => text.get(2..)?,
        _ => text,
    };
    if !matches!(text.len(), 10 | 12) {
        return None;
    }
    let mut whole = *b"000000000000000+";
    whole.get_mut(..text.len())?.copy_from_slice(text);
    match Time::parse(&whole, Wall(0))? {
        Time::At(at) => Some(at),
        Time::After(_) => None,
    }
}

const DAY_US: i64 = 86_400_000_000;

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn put_pairs(out: &mut [u8], pairs: &[i64]) {
    for (place, value) in out.chunks_exact_mut(2).zip(pairs) {
        place.copy_from_slice(&[digit(value / 10 % 10), digit(value % 10)]);
    }
}

fn digit(n: i64) -> u8 {
    b'0'.saturating_add(u8::try_from(n.rem_euclid(10)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> Wall {
        parse_receipt(text.as_bytes()).expect("a date")
    }

    #[test]
    fn absolute_times_carry_quarter_hours_from_utc() {
        let now = wall("2611301500");
        // §7.1.1: a local time of two hours east of UTC (8 quarters) is two hours less in UTC.
        assert_eq!(Time::parse(b"261130170000008+", now), Some(Time::At(now)));
        assert_eq!(Time::parse(b"261130100000020-", now), Some(Time::At(now)));
        assert_eq!(absolute(now), *b"261130150000000+");
        assert_eq!(Time::parse(&absolute(now), now), Some(Time::At(now)));
    }

    #[test]
    fn relative_times_are_days_and_calendar_months() {
        let now = wall("2601311200");
        assert_eq!(Time::parse(b"000001000000000R", now), Some(Time::After(Duration::from_secs(86_400))));
        assert_eq!(Time::parse(b"000000000130500R", now), Some(Time::After(Duration::from_millis(90_500))));
        // One month after the 31st of January is the 28th of February.
        let Some(Time::After(d)) = Time::parse(b"000100000000000R", now) else { panic!() };
        assert_eq!(now.plus(d), wall("2602281200"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        let now = Wall(0);
        for bad in [
            &b"261330150000000+"[..],
            b"260230150000000+",
            b"261130240000000+",
            b"26113015000000+",
            b"261130150000000X",
            b"26113015000000a+",
            b"261130150000049+",
            b"",
            b"26-130150000000+",
        ] {
            assert_eq!(Time::parse(bad, now), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn receipts_have_ten_twelve_or_fourteen_digits() {
        let at = wall("2611301504");
        assert_eq!(of_receipt(at), *b"2611301504");
        assert_eq!(wall("261130150400"), at);
        assert_eq!(wall("20261130150400"), at);
        assert_eq!(parse_receipt(b"26113015"), None);
    }
}
