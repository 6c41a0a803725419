//! Times in zones whose clocks are turned, and what becomes of times that were missed.
use proptest::prelude::*;

use super::*;
use crate::store::types::parse_rfc3339;

fn at(text: &str) -> Wall {
    parse_rfc3339(text).unwrap_or_else(|| panic!("{text}"))
}

fn rule(every: Every, time: &str, day: Option<i32>, zone: &str) -> Rule {
    Rule::read(every, time, day, zone).unwrap()
}

/// The next times after one.
fn times(rule: &Rule, after: &str, count: usize) -> Vec<String> {
    let mut now = at(after);
    let mut out = Vec::new();
    for _ in 0..count {
        now = rule.next_after(now).unwrap();
        out.push(now.to_string().replace(":00.000Z", "Z"));
    }
    out
}

#[test]
fn a_day_begins_by_the_clock_of_its_zone_also_when_that_is_turned() {
    let new_york = rule(Every::Day, "02:30", None, "America/New_York");
    // 02:30 is left out on 8 March 2026 (03:30 it is), and comes twice at 01:30 on 1 November.
    assert_eq!(
        times(&new_york, "2026-03-06T12:00:00Z", 3),
        ["2026-03-07T07:30Z", "2026-03-08T07:30Z", "2026-03-09T06:30Z"]
    );
    let twice = rule(Every::Day, "01:30", None, "America/New_York");
    assert_eq!(
        times(&twice, "2026-10-31T12:00:00Z", 2),
        ["2026-11-01T05:30Z", "2026-11-02T06:30Z"],
        "once, the first of both"
    );
    // A zone of a half hour, and one across the date line.
    assert_eq!(
        times(&rule(Every::Day, "00:00", None, "Asia/Kolkata"), "2026-01-01T00:00:00Z", 1),
        ["2026-01-01T18:30Z"]
    );
    assert_eq!(
        times(&rule(Every::Day, "00:00", None, "Pacific/Apia"), "2026-06-01T00:00:00Z", 1),
        ["2026-06-01T11:00Z"]
    );
}

#[test]
fn weeks_months_and_hours_come_as_they_are_called() {
    let monday = rule(Every::Week, "06:00", Some(1), "UTC");
    assert_eq!(times(&monday, "2026-12-01T00:00:00Z", 2), ["2026-12-07T06:00Z", "2026-12-14T06:00Z"]);
    let last = rule(Every::Month, "00:00", Some(31), "UTC");
    assert_eq!(
        times(&last, "2026-01-31T00:00:00Z", 3),
        ["2026-02-28T00:00Z", "2026-03-31T00:00Z", "2026-04-30T00:00Z"],
        "the last day of a shorter month"
    );
    assert_eq!(times(&last, "2028-02-01T00:00:00Z", 1), ["2028-02-29T00:00Z"]);
    let hourly = rule(Every::Hour, "00:15", None, "America/New_York");
    assert_eq!(
        times(&hourly, "2026-11-01T04:15:00Z", 3),
        ["2026-11-01T05:15Z", "2026-11-01T06:15Z", "2026-11-01T07:15Z"],
        "an hour that comes twice is two hours"
    );
    assert_eq!(
        times(&rule(Every::Hour, "00:15", None, "Asia/Kolkata"), "2026-01-01T00:00:00Z", 1),
        ["2026-01-01T00:45Z"]
    );
}

#[test]
fn what_is_no_time_and_no_zone_is_no_rule() {
    for (time, day, zone) in [
        ("24:00", None, "UTC"),
        ("12:60", None, "UTC"),
        ("12", None, "UTC"),
        ("a:b", None, "UTC"),
        ("12:00", Some(0), "UTC"),
        ("12:00", Some(32), "UTC"),
        ("12:00", None, "Mars/Olympus"),
        ("12:00", None, "../etc/passwd"),
        ("12:00", None, ""),
    ] {
        assert!(Rule::read(Every::Day, time, day, zone).is_none(), "{time} {day:?} {zone}");
    }
}

fn standing(next: &str, now: &str, covered: Option<&str>, missed_runs: MissedRuns) -> Standing {
    Standing { next: at(next), now: at(now), covered: covered.map(at), missed_runs }
}

#[test]
fn a_time_that_is_due_is_begun_once_and_covers_what_is_since_the_last_one() {
    let daily = rule(Every::Day, "02:00", None, "UTC");
    for missed_runs in [MissedRuns::Each, MissedRuns::One, MissedRuns::Skip] {
        let first = plan(&daily, standing("2026-12-02T02:00:00Z", "2026-12-02T02:00:01Z", None, missed_runs))
            .unwrap();
        assert_eq!(
            first.begins,
            Some((at("2026-12-02T02:00:00Z"), at("2026-12-01T02:00:00Z"))),
            "{missed_runs:?}"
        );
        assert_eq!((first.next, first.missed), (at("2026-12-03T02:00:00Z"), 0));
        assert_eq!(first.covered, at("2026-12-02T02:00:00Z"));
    }
}

#[test]
fn times_that_were_missed_are_each_begun_or_once_for_all_or_left_out() {
    let daily = rule(Every::Day, "02:00", None, "UTC");
    // Four days away: those of the 2nd, 3rd and 4th, and that of the 5th, which was an hour ago.
    let (next, now, covered) = ("2026-12-02T02:00:00Z", "2026-12-05T03:00:00Z", Some("2026-12-01T02:00:00Z"));
    let each = plan(&daily, standing(next, now, covered, MissedRuns::Each)).unwrap();
    assert_eq!(each.begins, Some((at("2026-12-02T02:00:00Z"), at("2026-12-01T02:00:00Z"))));
    assert_eq!((each.next, each.missed), (at("2026-12-03T02:00:00Z"), 1), "the others at the next looks");
    let one = plan(&daily, standing(next, now, covered, MissedRuns::One)).unwrap();
    assert_eq!(one.begins, Some((at("2026-12-05T02:00:00Z"), at("2026-12-01T02:00:00Z"))), "all of them");
    assert_eq!(
        (one.next, one.missed, one.last_missed),
        (at("2026-12-06T02:00:00Z"), 4, Some(at("2026-12-05T02:00:00Z")))
    );
    let skip = plan(&daily, standing(next, now, covered, MissedRuns::Skip)).unwrap();
    assert_eq!((skip.begins, skip.missed), (None, 4));
    assert_eq!((skip.next, skip.covered), (at("2026-12-06T02:00:00Z"), at("2026-12-05T02:00:00Z")));
    // Back in time for the last one: it is begun, and covers its own day.
    let skip = plan(&daily, standing(next, "2026-12-05T02:01:00Z", covered, MissedRuns::Skip)).unwrap();
    assert_eq!(skip.begins, Some((at("2026-12-05T02:00:00Z"), at("2026-12-04T02:00:00Z"))));
    assert_eq!((skip.next, skip.missed), (at("2026-12-06T02:00:00Z"), 3));
}

proptest! {
    /// Whatever comes when: times rise, periods join, and no look begins anything that is not due.
    #[test]
    fn periods_join_without_gap_and_without_overlap(
        every in 0usize..4, day in 1i32..32, hour in 0u32..24, minute in 0u32..60, zone in 0usize..5,
        start in 1_700_000_000i64..1_900_000_000, waits in prop::collection::vec(0i64..5_000_000, 1..20), one in any::<bool>()
    ) {
        let every = [Every::Hour, Every::Day, Every::Week, Every::Month][every];
        let day = if every == Every::Week { day % 7 + 1 } else { day };
        let zone = ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"][zone];
        let rule = rule(every, &format!("{hour:02}:{minute:02}"), Some(day), zone);
        let mut now = Wall(start * 1_000_000);
        let mut next = rule.next_after(now).unwrap();
        prop_assert!(next > now && rule.last_before(next).unwrap() < next);
        let mut covered: Option<Wall> = None;
        let missed_runs = if one { MissedRuns::One } else { MissedRuns::Each };
        for wait in waits {
            now = Wall(now.0 + wait * 1_000_000);
            let mut looks = 0;
            while next <= now && looks < 200 {
                looks += 1;
                let plan = plan(&rule, Standing { next, now, covered, missed_runs }).unwrap();
                let (due, from) = plan.begins.unwrap();
                prop_assert!(due <= now && from < due && plan.next > due, "{:?}", plan);
                if let Some(covered) = covered {
                    prop_assert_eq!(from, covered);
                }
                covered = Some(due);
                next = plan.next;
            }
            if looks == 200 {
                break;
            }
        }
    }
}
