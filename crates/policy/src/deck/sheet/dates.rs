//! Dates and times of sheets. A date that can be read two ways is read as the upload says, or not at all.

use warp_model::Wall;

use super::options::{DateOrder, Zone};

/// Reads a date, with a time or without: in the zone, unless it names one itself.
///
/// Errors: in words for the person who uploads.
pub(super) fn date(text: &str, order: Option<DateOrder>, zone: Zone) -> Result<Wall, String> {
    moment(text, order, zone, false)
}

/// The moment from which a price does not count that is valid until, through or to this date: a day without a time counts
/// whole, with its last minute or second named (`23:59`) too; another time is the moment itself.
///
/// Errors: as [`date`].
pub(super) fn end(text: &str, order: Option<DateOrder>, zone: Zone) -> Result<Wall, String> {
    moment(text, order, zone, true)
}

fn moment(text: &str, order: Option<DateOrder>, zone: Zone, last: bool) -> Result<Wall, String> {
    const DAY: i64 = 86_400;
    let (day, time) = parts(text, order)?;
    let (seconds, own_zone) = match time {
        "" => (if last { DAY } else { 0 }, None),
        t => match clock(t).ok_or_else(|| "the time of the date is not understood".to_owned())? {
            (s, zone) if last && (s == DAY - 60 || s == DAY - 1) => (DAY, zone),
            read => read,
        },
    };
    let offset = i64::from(own_zone.unwrap_or(zone).0) * 60;
    let s = day * DAY + seconds - offset;
    Ok(Wall::from_unix_ms(s * 1_000))
}

/// Days since 1970, and the text of the time.
fn parts(text: &str, order: Option<DateOrder>) -> Result<(i64, &str), String> {
    let not = || "not a date that is understood; 2026-12-31 always is".to_owned();
    if !text.is_ascii() {
        return Err(not());
    }
    let b = text.as_bytes();
    if b.iter().all(|c| c.is_ascii_digit() || *c == b'.') {
        let whole = text.strip_suffix(".0").unwrap_or(text);
        if whole.len() == 5 && !whole.contains('.') {
            return serial(whole).map(|d| (d, "")).ok_or_else(not);
        }
        if whole.len() == 8 && !whole.contains('.') {
            let n = |from: usize, to: usize| whole.get(from..to).and_then(|t| t.parse().ok());
            let (Some(y), Some(m), Some(d)) = (n(0, 4), n(4, 6), n(6, 8)) else { return Err(not()) };
            return days(y, m, d).map(|d| (d, "")).ok_or_else(not);
        }
    }
    if b.iter().any(u8::is_ascii_alphabetic)
        && let Some(found) = named_month(text)
    {
        return found.ok_or_else(not);
    }
    let end = b.iter().position(|c| matches!(c, b' ' | b'T')).unwrap_or(b.len());
    let (date, time) =
        (text.get(..end).unwrap_or(""), text.get(end..).unwrap_or("").trim_start_matches([' ', 'T']));
    let Some(mark) = date.bytes().find(|c| matches!(c, b'-' | b'/' | b'.')) else { return Err(not()) };
    let mut pieces = date.split(char::from(mark));
    let (Some(a), Some(b), Some(c), None) = (pieces.next(), pieces.next(), pieces.next(), pieces.next())
    else {
        return Err(not());
    };
    let (Some(x), Some(y), Some(z)) = (number(a), number(b), number(c)) else { return Err(not()) };
    let day = match (a.len(), c.len()) {
        (4, ..=2) => days(x, y, z),
        (..=2, 4) if mark == b'.' => days(z, y, x),
        (..=2, 4) => {
            // Where one of them cannot be a month, or both are equal, there is one reading.
            let two_ways = x <= 12 && y <= 12 && x != y;
            match order {
                Some(DateOrder::DayFirst) => days(z, y, x),
                Some(DateOrder::MonthFirst) => days(z, x, y),
                None if two_ways => {
                    return Err(
                        "the date can be read two ways; say date_order: day_first or month_first".to_owned()
                    );
                }
                None if x > 12 => days(z, y, x),
                None => days(z, x, y),
            }
        }
        (..=2, ..=2) => return Err("the year has two digits; write it with four".to_owned()),
        _ => None,
    };
    day.map(|d| (d, time)).ok_or_else(not)
}

/// `22-Nov-2026`, `22 November 2026 10:00`, `Nov 22, 2026`. `None`: there is no month's name.
fn named_month(text: &str) -> Option<Option<(i64, &str)>> {
    let mut tokens = [""; 3];
    let mut at = 0;
    let mut n = 0;
    let b = text.as_bytes();
    while n < 3 && at < b.len() {
        while b.get(at).is_some_and(|c| matches!(c, b' ' | b'-' | b'/' | b',' | b'.')) {
            at += 1;
        }
        let from = at;
        let letters = b.get(at).is_some_and(u8::is_ascii_alphabetic);
        while b.get(at).is_some_and(|c| if letters { c.is_ascii_alphabetic() } else { c.is_ascii_digit() }) {
            at += 1;
        }
        if at == from {
            break;
        }
        if let Some(slot) = tokens.get_mut(n) {
            *slot = text.get(from..at).unwrap_or("");
        }
        n += 1;
    }
    let [a, b3, c] = tokens;
    let (day, month, year) = match (month_of(a), month_of(b3)) {
        (Some(m), _) => (b3, m, c),
        (_, Some(m)) => (a, m, c),
        _ => return None,
    };
    let time = text.get(at..).unwrap_or("").trim_start_matches([' ', 'T', ',']);
    let made = (year.len() == 4).then(|| days(number(year)?, month, number(day)?)).flatten();
    Some(made.map(|d| (d, time)))
}

fn month_of(text: &str) -> Option<i64> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let small = text.to_ascii_lowercase();
    if small == "sept" {
        return Some(9);
    }
    let at =
        NAMES.iter().position(|n| small.len() >= 3 && (small == *n || n.get(..3) == Some(small.as_str())))?;
    Some(at as i64 + 1)
}

fn number(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// A day as spreadsheets count them (1900 system): 2000-01-01 to 2100-12-31.
fn serial(text: &str) -> Option<i64> {
    let n: i64 = text.parse().ok()?;
    (36_526..=73_415).contains(&n).then_some(n - 25_569)
}

/// Days from 1970-01-01 (proleptic Gregorian), years 1900 to 9999.
fn days(y: i64, m: i64, d: i64) -> Option<i64> {
    let leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let in_month = match m {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1900..=9999).contains(&y) || !(1..=in_month).contains(&d) {
        return None;
    }
    let (yy, mm) = if m <= 2 { (y - 1, m + 9) } else { (y, m - 3) };
    let era = yy / 400;
    let yoe = yy - era * 400;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * mm + 2) / 5 + d - 1;
    Some(era * 146_097 + doe - 719_468)
}

/// `10:00`, `10:00:00.000Z`, `12:00:00 AM`, `10:00+01:00`, `10:00 UTC`: seconds of the day, and the zone it names.
fn clock(text: &str) -> Option<(i64, Option<Zone>)> {
    let mut rest = text.trim();
    let mut zone = None;
    for name in ["UTC", "GMT", "utc", "gmt", "Z", "z"] {
        if let Some(r) = rest.strip_suffix(name) {
            rest = r.trim_end();
            zone = Some(Zone(0));
            break;
        }
    }
    if zone.is_none()
        && let Some(at) = rest.rfind(['+', '-'])
    {
        zone = Some(rest.get(at..)?.parse().ok()?);
        rest = rest.get(..at)?.trim_end();
    }
    let mut half = None;
    let upper = rest.to_ascii_uppercase();
    for (name, later) in [("AM", 0), ("PM", 12)] {
        if upper.ends_with(name) {
            half = Some(later);
            rest = rest.get(..rest.len() - 2)?.trim_end();
        }
    }
    let whole = match rest.split_once('.') {
        Some((whole, part)) if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) => whole,
        Some(_) => return None,
        None => rest,
    };
    let mut pieces = whole.split(':');
    let (h, m, s) =
        (number(pieces.next()?)?, number(pieces.next()?)?, pieces.next().map_or(Some(0), number)?);
    if pieces.next().is_some() || m > 59 || s > 59 {
        return None;
    }
    let h = match half {
        Some(later) if (1..=12).contains(&h) => h % 12 + later,
        Some(_) => return None,
        None if h <= 23 => h,
        None => return None,
    };
    Some((h * 3_600 + m * 60 + s, zone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, order: Option<DateOrder>) -> Option<String> {
        date(text, order, Zone(0)).ok().map(|w| w.to_string())
    }

    #[test]
    fn one_reading_is_read_and_two_are_refused() {
        for (text, want) in [
            ("2026-12-05", "2026-12-05T00:00:00.000Z"),
            ("2026/12/05", "2026-12-05T00:00:00.000Z"),
            ("20261205", "2026-12-05T00:00:00.000Z"),
            ("05.12.2026", "2026-12-05T00:00:00.000Z"),
            ("13/12/2026", "2026-12-13T00:00:00.000Z"),
            ("8/16/2022", "2022-08-16T00:00:00.000Z"),
            ("5-5-2026", "2026-05-05T00:00:00.000Z"),
            ("46357", "2026-12-01T00:00:00.000Z"),
            ("5-Dec-2026", "2026-12-05T00:00:00.000Z"),
            ("December 5, 2026", "2026-12-05T00:00:00.000Z"),
            ("5 Dec 2026 10:30", "2026-12-05T10:30:00.000Z"),
            ("12/25/2026 12:00:00 AM", "2026-12-25T00:00:00.000Z"),
            ("2026-12-05 01:00 PM", "2026-12-05T13:00:00.000Z"),
            ("2026-12-05T00:00:00+01:00", "2026-12-04T23:00:00.000Z"),
            ("2026-12-05 00:00:00 UTC", "2026-12-05T00:00:00.000Z"),
        ] {
            assert_eq!(read(text, None).as_deref(), Some(want), "{text}");
        }
        for text in [
            "05/12/2026",
            "05-12-2026",
            "5/12/26",
            "05.12.26",
            "2026-02-30",
            "01122026",
            "1796083200",
            "soon",
            "Dec 2026",
            "26-Nov-22",
            "46357.5",
            "2026-12-05 25:00",
            "2026-12-05 10:00 CET",
            "99999",
            "12345",
            "",
            "2026-12",
            "２０２６-12-05",
        ] {
            assert_eq!(read(text, None), None, "{text}");
        }
        assert_eq!(read("05/12/2026", Some(DateOrder::DayFirst)).unwrap().get(..10), Some("2026-12-05"));
        assert_eq!(read("05/12/2026", Some(DateOrder::MonthFirst)).unwrap().get(..10), Some("2026-05-12"));
        assert_eq!(read("8/16/2022", Some(DateOrder::DayFirst)), None);
    }

    #[test]
    fn midnight_is_the_zones() {
        let at = |text: &str| date(text, None, Zone(-300)).unwrap().to_string();
        assert_eq!(at("2026-01-01"), "2026-01-01T05:00:00.000Z");
        assert_eq!(at("2026-01-01T05:00:00Z"), "2026-01-01T05:00:00.000Z");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,24}", numeric in "[0-9./: TZ+-]{0,20}") {
            let _ = date(&text, None, Zone(0));
            let _ = date(&numeric, Some(DateOrder::DayFirst), Zone(60));
        }
    }
}
