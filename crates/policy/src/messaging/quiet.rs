//! Quiet hours: at which hours of the recipient a marketing message may be sent (47 CFR 64.1200(c)(1): 8 a.m. to 9 p.m. local time at
//! the called party's location). The location is guessed by the area code; where that lies in several zones, all of them must allow it.
//!
//! Daylight time follows 15 U.S.C. 260a: from the second Sunday of March to the first of November, at 2:00 local time.

use warp_model::{E164, Wall};

use super::calendar::{days, year_of};
use crate::number_plan::NumberPlan;

/// A zone of the North American numbering plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// UTC−3:30: the island of Newfoundland.
    Newfoundland,
    /// UTC−4: the maritime provinces of Canada.
    Atlantic,
    /// UTC−4 without daylight time: Puerto Rico, US Virgin Islands.
    AtlanticStandard,
    /// UTC−5: New York, Ontario, Quebec.
    Eastern,
    /// UTC−6: Chicago, Texas, Manitoba.
    Central,
    /// UTC−6 without daylight time: Saskatchewan.
    CentralStandard,
    /// UTC−7: Denver, Utah, Alberta.
    Mountain,
    /// UTC−7 without daylight time: Arizona, Yukon.
    MountainStandard,
    /// UTC−8: California, Washington, British Columbia.
    Pacific,
    /// UTC−9: Alaska without its islands.
    Alaska,
    /// UTC−10 without daylight time.
    Hawaii,
    /// UTC−11 without daylight time.
    Samoa,
    /// UTC+10 without daylight time: Guam, Northern Marianas.
    Chamorro,
}

use Zone::{
    Alaska, Atlantic, AtlanticStandard, Central, CentralStandard, Chamorro, Eastern, Hawaii, Mountain,
    MountainStandard, Newfoundland, Pacific, Samoa,
};

/// The zones in which a recipient may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zones(&'static [Zone]);

/// Where nothing is known of the place: any of the contiguous states.
const ANYWHERE: &[Zone] = &[Eastern, Pacific];
/// Where an area code says less than that: from Atlantic to Hawaii.
const EVERYWHERE: &[Zone] = &[AtlanticStandard, Atlantic, Hawaii];

/// Zones, and the states and provinces (by their two letters) that lie in them and in no other. Area codes of those that lie in several zones
/// are below, when they lie in one of them.
const STATES: &[(&[Zone], &[&str])] = &[
    (&[Mountain], &["AB", "CO", "MT", "NM", "NT", "UT", "WY"]),
    (&[Alaska, Hawaii], &["AK"]),
    (&[Central], &["AL", "AR", "IA", "IL", "LA", "MB", "MN", "MO", "MS", "OK", "WI"]),
    (&[Samoa], &["AS"]),
    (&[MountainStandard, Mountain], &["AZ"]),
    (&[Pacific, Mountain], &["BC", "NV", "OR"]),
    (&[Pacific], &["CA", "WA"]),
    (
        &[Eastern],
        &[
            "CT", "DC", "DE", "GA", "MA", "MD", "ME", "NC", "NH", "NJ", "NY", "OH", "PA", "RI", "SC", "VA",
            "VT", "WV",
        ],
    ),
    (&[Eastern, Central], &["FL", "IN", "KY", "MI", "ON", "TN"]),
    (&[Chamorro], &["GU", "MP"]),
    (&[Hawaii], &["HI"]),
    (&[Mountain, Pacific], &["ID"]),
    (&[Central, Mountain], &["KS", "ND", "NE", "SD", "TX"]),
    (&[Atlantic], &["NB", "NS", "PE"]),
    (&[Newfoundland, Atlantic], &["NL"]),
    (&[Eastern, Central, Mountain], &["NU"]),
    (&[AtlanticStandard], &["PR", "VI"]),
    (&[Eastern, AtlanticStandard], &["QC"]),
    (&[CentralStandard, Mountain], &["SK"]),
    (&[MountainStandard], &["YT"]),
];

/// Area codes of split states that lie in one zone.
const AREAS: &[(&[Zone], &[u16])] = &[
    (
        &[Eastern],
        &[
            239, 305, 321, 352, 386, 407, 561, 645, 656, 689, 727, 728, 754, 772, 786, 813, 863, 904, 941,
            954, // Florida
            260, 317, 463, 765, // Indiana
            502, 859, // Kentucky
            231, 248, 269, 313, 517, 586, 616, 679, 734, 810, 947, 989, // Michigan
            226, 249, 289, 343, 365, 416, 437, 519, 548, 613, 647, 705, 905, // Ontario
            865, // Tennessee
        ],
    ),
    (
        &[Central],
        &[
            316, 913, // Kansas
            402, 531, // Nebraska
            615, 629, 731, 901, // Tennessee
            210, 214, 254, 281, 325, 346, 361, 409, 430, 469, 512, 682, 713, 726, 737, 806, 817, 830, 832,
            903, 936, 940, 945, 956, 972, 979, // Texas
        ],
    ),
    (&[Pacific], &[503, 971, 702, 725, 604]),
];

impl Zones {
    /// The zones in which the owner of this number may be: by its area code. A number that is not of the plan has no zone: `None`.
    pub fn of(number: E164, plan: &NumberPlan) -> Option<Zones> {
        let npa = plan.npa_of(number)?;
        let code = number.nanp().and_then(|n| u16::try_from(n / 10_000_000).ok())?;
        if let Some((zones, _)) = AREAS.iter().find(|(_, codes)| codes.contains(&code)) {
            return Some(Zones(zones));
        }
        let by_state =
            npa.state.and_then(|state| STATES.iter().find(|(_, names)| names.contains(&state.as_str())));
        Some(match by_state {
            Some((zones, _)) => Zones(zones),
            // Toll-free and other codes without a place, or a country of the plan that is not in the table.
            None if npa.state.is_none() => Zones(ANYWHERE),
            None => Zones(EVERYWHERE),
        })
    }

    /// One zone, for a recipient whose place is known better.
    pub fn only(zone: Zone) -> Zones {
        let all: &'static [Zone] = &[
            Newfoundland,
            Atlantic,
            AtlanticStandard,
            Eastern,
            Central,
            CentralStandard,
            Mountain,
            MountainStandard,
            Pacific,
            Alaska,
            Hawaii,
            Samoa,
            Chamorro,
        ];
        let at = all.iter().position(|z| *z == zone).unwrap_or(0);
        Zones(all.get(at..at.saturating_add(1)).unwrap_or(all))
    }

    /// The zones themselves, one at least.
    pub fn zones(self) -> &'static [Zone] {
        self.0
    }
}

/// The hours in which messages may be sent, local time of the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// Sending begins: seconds since midnight.
    pub opens: u32,
    /// Sending ends: seconds since midnight, later than `opens`.
    pub closes: u32,
}

impl Default for QuietHours {
    /// From 8 a.m. to 9 p.m.
    fn default() -> QuietHours {
        QuietHours { opens: 8 * 3_600, closes: 21 * 3_600 }
    }
}

impl QuietHours {
    /// When a message to somebody in these zones may be sent, `now` at the earliest. `None`: these hours never come at the same time in all
    /// of them, so that it must not be sent.
    pub fn from(self, zones: Zones, now: Wall) -> Option<Wall> {
        let mut at = now.0.div_euclid(SECOND).saturating_add(i64::from(now.0.rem_euclid(SECOND) > 0));
        let first = at;
        // Each round goes to the next opening of one zone; two days have an opening of each zone by which all of them are known.
        for _ in 0..ROUNDS {
            let later = zones.0.iter().map(|zone| self.opening(*zone, at)).max().unwrap_or(at);
            if later == at {
                return Some(if at == first { now } else { Wall(at.saturating_mul(SECOND)) });
            }
            if later.saturating_sub(first) > 2 * DAY {
                return None;
            }
            at = later;
        }
        None
    }

    /// The first second from `at` on that is within the hours of a zone.
    fn opening(self, zone: Zone, at: i64) -> i64 {
        let local = at.saturating_add(offset(zone, at));
        let (day, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (opens, closes) = (i64::from(self.opens), i64::from(self.closes));
        if (opens..closes).contains(&second) {
            return at;
        }
        let day = if second < opens { day } else { day.saturating_add(1) };
        let local = day.saturating_mul(DAY).saturating_add(opens);
        // The offset at the opening: the clock may be changed in the night before.
        let guess = local.saturating_sub(offset(zone, at));
        local.saturating_sub(offset(zone, guess))
    }
}

const ROUNDS: usize = 16;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400;

/// Seconds that local time is ahead of UTC, at this second of UTC.
fn offset(zone: Zone, at: i64) -> i64 {
    let minutes = match zone {
        Newfoundland => -210,
        Atlantic | AtlanticStandard => -240,
        Eastern => -300,
        Central | CentralStandard => -360,
        Mountain | MountainStandard => -420,
        Pacific => -480,
        Alaska => -540,
        Hawaii => -600,
        Samoa => -660,
        Chamorro => 600,
    };
    let changes =
        !matches!(zone, AtlanticStandard | CentralStandard | MountainStandard | Hawaii | Samoa | Chamorro);
    let standard = minutes * 60;
    if changes && is_daylight(at.saturating_add(standard)) { standard + 3_600 } else { standard }
}

/// Whether clocks are ahead at this second of local standard time: from the second Sunday of March, 2:00, to the first of November, 2:00
/// of daylight time, which is 1:00 of standard time.
fn is_daylight(standard: i64) -> bool {
    let today = standard.div_euclid(DAY);
    let year = year_of(today);
    let begin = sunday(days(year, 3, 1), 2).saturating_mul(DAY) + 2 * 3_600;
    let end = sunday(days(year, 11, 1), 1).saturating_mul(DAY) + 3_600;
    (begin..end).contains(&standard)
}

/// The n-th Sunday from a day on.
fn sunday(day: i64, n: i64) -> i64 {
    // 1970-01-01 was a Thursday: day 3 was the first Sunday.
    let until = (3i64.saturating_sub(day)).rem_euclid(7);
    day.saturating_add(until).saturating_add(7 * (n - 1))
}
