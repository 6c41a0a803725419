//! Times of schedules: when one comes next in the time zone of whoever made it, and what is to be begun at a look. Pure: the zones are in
//! the program (IANA's database), the time goes in.
//!
//! A time of day that a zone leaves out (the clock goes forward) comes as much later as was left out; one that it has twice is the first of
//! them (RFC 5545 §3.3.5). A day that a month does not have is its last one.

use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use warp_model::Wall;

use super::schedules::{Every, MissedRuns};

/// A job that begins so much later than its time was missed, in microseconds.
pub const LATE_US: i64 = 300_000_000;
/// Times that are gone through at one look; what is beyond is seen at the next one.
const LOOKED_AT: usize = 10_000;
/// Days that are looked through for the next one; a month has at most 31.
const DAYS: usize = 63;
/// An hour in microseconds.
const HOUR_US: i64 = 3_600_000_000;

/// The zone of this name in IANA's database.
pub fn zone(name: &str) -> Option<TimeZone> {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    ZONES.get_or_init(TimeZoneDatabase::bundled).get(name).ok()
}

/// When a schedule comes.
#[derive(Clone, Debug)]
pub struct Rule {
    /// How often it comes.
    pub every: Every,
    /// The hour of the day, 0 to 23; an hourly one has none.
    pub hour: i8,
    /// The minute, 0 to 59.
    pub minute: i8,
    /// Of a weekly one the day of the week, 1 is Monday; of a monthly one that of the month.
    pub day: i8,
    /// Where the clock hangs.
    pub zone: TimeZone,
}

impl Rule {
    /// As a row has it. `None`: nothing that comes.
    pub fn read(every: Every, at: &str, day: Option<i32>, zone_name: &str) -> Option<Self> {
        let (hour, minute) = at.split_once(':')?;
        let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
        let day = i8::try_from(day.unwrap_or(1)).ok()?;
        let fits = (0..24).contains(&hour) && (0..60).contains(&minute) && (1..=31).contains(&day);
        fits.then_some(Self { every, hour, minute, day, zone: zone(zone_name)? })
    }

    /// The first time after this one. `None`: beyond all calendars.
    pub fn next_after(&self, after: Wall) -> Option<Wall> {
        if self.every == Every::Hour {
            return self.next_hour(after);
        }
        let mut date = self.date(after)?;
        for _ in 0..DAYS {
            if let Some(at) = self.on(date).filter(|at| *at > after) {
                return Some(at);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// The last time before this one.
    pub fn last_before(&self, before: Wall) -> Option<Wall> {
        if self.every == Every::Hour {
            let next = self.next_hour(Wall(before.0.checked_sub(HOUR_US)?.checked_sub(1)?))?;
            return (next < before).then_some(next).or_else(|| Some(Wall(next.0.checked_sub(HOUR_US)?)));
        }
        let mut date = self.date(before)?;
        for _ in 0..DAYS {
            if let Some(at) = self.on(date).filter(|at| *at < before) {
                return Some(at);
            }
            date = date.yesterday().ok()?;
        }
        None
    }

    fn date(&self, at: Wall) -> Option<Date> {
        Some(Timestamp::from_microsecond(at.0).ok()?.to_zoned_datetime(self.zone.clone()).date())
    }

    /// Its time on this date, when it has one then.
    fn on(&self, date: Date) -> Option<Wall> {
        let comes = match self.every {
            Every::Hour | Every::Day => true,
            Every::Week => date.weekday().to_monday_one_offset() == self.day,
            Every::Month => date.day() == self.day.min(date.days_in_month()),
        };
        let local = comes.then(|| date.at(self.hour, self.minute, 0, 0))?;
        Some(Wall(self.zone.to_zoned_datetime(local).ok()?.timestamp().as_microsecond()))
    }

    /// By the minutes of the clock: hours are as long as they are whatever it is turned to.
    fn next_hour(&self, after: Wall) -> Option<Wall> {
        let now = Timestamp::from_microsecond(after.0).ok()?.to_zoned_datetime(self.zone.clone());
        let past = i64::from(now.minute()) * 60_000_000
            + i64::from(now.second()) * 1_000_000
            + i64::from(now.subsec_nanosecond()) / 1_000;
        let wait = (i64::from(self.minute) * 60_000_000 - past).rem_euclid(HOUR_US);
        Some(Wall(after.0.checked_add(if wait == 0 { HOUR_US } else { wait })?))
    }
}

/// What stands in the row of a schedule that is due.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The time that is due.
    pub next: Wall,
    /// Now, by the clock that it is due by.
    pub now: Wall,
    /// Where the period of the last job ended.
    pub covered: Option<Wall>,
    /// What becomes of times that were missed.
    pub missed_runs: MissedRuns,
}

/// What is done at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The time that a job is begun for, with the period that it covers; `None`: none is begun.
    pub begins: Option<(Wall, Wall)>,
    /// The time that comes next.
    pub next: Wall,
    /// Where the next period begins.
    pub covered: Wall,
    /// Times that were missed: left out, or begun late.
    pub missed: i32,
    /// The last of these.
    pub last_missed: Option<Wall>,
}

/// What is done with a schedule that is due. `None`: its calendar is at an end.
pub fn plan(rule: &Rule, at: Standing) -> Option<Plan> {
    let late = |due: Wall| at.now.0.saturating_sub(due.0) > LATE_US;
    let before = |due: Wall| rule.last_before(due).unwrap_or(due);
    // The first job covers what is since the time before the first one that is due, whatever passed meanwhile.
    let from = |due: Wall| at.covered.filter(|c| *c < due).unwrap_or_else(|| before(at.next));
    let mut missed = 0;
    let mut last_missed = None;
    let mut miss = |due: Wall| {
        missed += 1;
        last_missed = Some(due);
    };
    let mut due = at.next;
    if at.missed_runs == MissedRuns::Each {
        if late(due) {
            miss(due);
        }
        let (begins, next) = (Some((due, from(due))), rule.next_after(due)?);
        return Some(Plan { begins, next, covered: due, missed, last_missed });
    }
    // All but the last of those that are over were missed.
    for _ in 0..LOOKED_AT {
        let next = rule.next_after(due)?;
        let passed = match at.missed_runs {
            MissedRuns::One => next <= at.now,
            _ => late(due),
        };
        if !passed {
            break;
        }
        miss(due);
        due = next;
    }
    match at.missed_runs {
        // None is due any more: all that were are left out.
        MissedRuns::Skip if due > at.now || late(due) => {
            Some(Plan { begins: None, next: due, covered: before(due), missed, last_missed })
        }
        MissedRuns::Skip => {
            let (begins, next) = (Some((due, before(due))), rule.next_after(due)?);
            Some(Plan { begins, next, covered: due, missed, last_missed })
        }
        _ => {
            if late(due) {
                miss(due);
            }
            let (begins, next) = (Some((due, from(due))), rule.next_after(due)?);
            Some(Plan { begins, next, covered: due, missed, last_missed })
        }
    }
}

#[cfg(test)]
#[path = "tests_calendar.rs"]
mod tests;
