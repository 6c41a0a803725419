//! Rules about calls, each for a time: overrides say which partition routes them, blocks say which are not carried.
//!
//! The rows are what the control plane stores. [`RuleIndex`] is made of them once per directory, so that a call finds its rule by a few
//! look-ups however many rules there are: by whose it is, and within that by the longest dial code, the class, or all numbers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};
use warp_model::hash::mix;
use warp_model::{CustomerId, TrunkId, Wall};

use crate::code::Code;
use crate::number_plan::DestinationClass;

/// A window that comes back every week: on these days from one minute to another, by a fixed offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// The days on which it begins: bit 0 is Monday, bit 6 Sunday.
    pub days: u8,
    /// The minute of the day that it begins at, 0 to 1,439.
    pub from_min: u16,
    /// The minute that it ends before, 1 to 1,440. When it is not after the beginning the window reaches into the next day; when both are
    /// equal it is 24 hours long.
    pub until_min: u16,
    /// Minutes east of UTC that the days are counted by.
    pub utc_offset_min: i16,
}

impl Hours {
    /// Whether a moment lies within a window.
    pub fn holds(&self, at: Wall) -> bool {
        let minutes = at.0.div_euclid(60_000_000).saturating_add(i64::from(self.utc_offset_min));
        let minute = minutes.rem_euclid(1_440);
        // 1970-01-01 was a Thursday.
        let today = minutes.div_euclid(1_440).wrapping_add(3).rem_euclid(7);
        let yesterday = today.wrapping_add(6).rem_euclid(7);
        let begins_on = |day: i64| self.days >> day & 1 == 1;
        let (from, until) = (i64::from(self.from_min), i64::from(self.until_min));
        match from < until {
            true => begins_on(today) && (from..until).contains(&minute),
            false => (minute >= from && begins_on(today)) || (minute < until && begins_on(yesterday)),
        }
    }

    fn is_sound(&self) -> bool {
        (1..128).contains(&self.days) && self.from_min < 1_440 && (1..=1_440).contains(&self.until_min)
    }
}

/// Which calls a rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Applies {
    /// Only calls that come in on this trunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk: Option<TrunkId>,
    /// Only calls of this customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// Only numbers that begin with this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Only numbers of this class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<DestinationClass>,
    /// When it begins; `None` = it has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Wall>,
    /// When it ends (exclusive); `None` = never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Wall>,
    /// Only at these hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
}

/// How specific a rule is: the first that has a rule in force decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It names a trunk.
    Trunk,
    /// It names a customer: the contract.
    Customer,
    /// It names no one, and a dial code or a class.
    Route,
    /// It is for every call.
    Default,
}

impl Level {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trunk => "trunk",
            Self::Customer => "customer",
            Self::Route => "route",
            Self::Default => "default",
        }
    }
}

impl Applies {
    /// How specific the rule is.
    pub fn level(&self) -> Level {
        match (self.trunk, self.customer, self.code.is_some() || self.class.is_some()) {
            (Some(_), ..) => Level::Trunk,
            (None, Some(_), _) => Level::Customer,
            (None, None, true) => Level::Route,
            (None, None, false) => Level::Default,
        }
    }

    /// Whether it is in force at a moment.
    pub fn in_force(&self, at: Wall) -> bool {
        self.from.is_none_or(|f| f <= at)
            && self.until.is_none_or(|u| at < u)
            && self.hours.is_none_or(|h| h.holds(at))
    }

    /// What is wrong with it, in words.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match () {
            () if self.code.is_some() && self.class.is_some() => Some("a code or a class, not both"),
            () if self.trunk.is_some() && self.customer.is_some() => Some("a trunk or a customer, not both"),
            () if self.hours.is_some_and(|h| !h.is_sound()) => Some("hours that no week has"),
            () => None,
        }
    }
}

/// Calls that another partition routes than that of their trunk. What the customer pays stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Names the rule in explanations.
    pub id: String,
    /// The calls. Codes and classes are compared with the number that is routed: of a ported one its routing number.
    pub applies: Applies,
    /// The name of the partition that routes them.
    pub partition: String,
    /// Why, in words for people.
    pub reason: String,
}

/// Calls that are not carried. Never a call for help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallBlock {
    /// Names the rule in explanations.
    pub id: String,
    /// The calls. Codes and classes are compared with the number that was dialled.
    pub applies: Applies,
    /// Only calls whose caller's number begins with this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Code>,
    /// Why, in words for people.
    pub reason: String,
}

/// Whose call it is that a rule is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whose {
    pub(crate) trunk: TrunkId,
    pub(crate) customer: CustomerId,
}

/// Positions of rules, by what they are for. Within one place: those of certain hours first, then the later began.
#[derive(Debug, Default)]
pub(crate) struct RuleIndex {
    trunks: HashMap<TrunkId, Places>,
    customers: HashMap<CustomerId, Places>,
    everybody: Places,
    any: bool,
}

#[derive(Debug, Default)]
struct Places {
    /// Bit n: there are codes of n digits.
    lengths: u16,
    by_code: HashMap<Code, Vec<u32>, BuildHasherDefault<Mixed>>,
    by_class: HashMap<DestinationClass, Vec<u32>>,
    all: Vec<u32>,
}

impl RuleIndex {
    /// From rules in the order of their ids.
    pub(crate) fn new<'a>(rules: impl Iterator<Item = &'a Applies>) -> RuleIndex {
        let mut order: Vec<(u32, &Applies)> = (0..).zip(rules).collect();
        order.sort_by_key(|(at, a)| (a.hours.is_none(), std::cmp::Reverse(a.from), *at));
        let mut index = RuleIndex { any: !order.is_empty(), ..RuleIndex::default() };
        for (at, rule) in order {
            let places = match (rule.trunk, rule.customer) {
                (Some(trunk), _) => index.trunks.entry(trunk).or_default(),
                (None, Some(customer)) => index.customers.entry(customer).or_default(),
                (None, None) => &mut index.everybody,
            };
            match (rule.code, rule.class) {
                (Some(code), _) => {
                    places.lengths |= 1 << code.len();
                    places.by_code.entry(code).or_default().push(at);
                }
                (None, Some(class)) => places.by_class.entry(class).or_default().push(at),
                (None, None) => places.all.push(at),
            }
        }
        index
    }

    /// The first rule that `holds`, the most specific first.
    #[inline]
    pub(crate) fn find(
        &self,
        whose: Whose,
        number: Code,
        class: DestinationClass,
        mut holds: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        if !self.any {
            return None;
        }
        let places =
            [self.trunks.get(&whose.trunk), self.customers.get(&whose.customer), Some(&self.everybody)];
        places.into_iter().flatten().find_map(|p| p.find(number, class, &mut holds))
    }
}

impl Places {
    fn find(
        &self,
        number: Code,
        class: DestinationClass,
        holds: &mut impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let mut left = self.lengths & (u16::MAX >> (15usize.saturating_sub(number.len())));
        while left != 0 {
            let len = 15u32.saturating_sub(left.leading_zeros());
            left &= !(1 << len);
            let here = self.by_code.get(&number.head(len as usize)).map_or(&[][..], Vec::as_slice);
            if let Some(at) = here.iter().copied().find(|at| holds(*at)) {
                return Some(at);
            }
        }
        let of_class = self.by_class.get(&class).map_or(&[][..], Vec::as_slice);
        of_class.iter().chain(&self.all).copied().find(|at| holds(*at))
    }
}

/// Operators choose the codes, so that no keyed hash is needed.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = mix(self.0 ^ n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30 is a Monday.
    fn at(day: i64, hour: i64, minute: i64) -> Wall {
        Wall((20_787 + day) * 86_400_000_000 + (hour * 60 + minute) * 60_000_000)
    }

    #[test]
    fn hours_come_back_every_week_and_reach_into_the_next_day() {
        let office = Hours { days: 0b1_1111, from_min: 480, until_min: 1_080, utc_offset_min: 0 };
        for (day, hour, minute, holds) in [
            (0, 7, 59, false),
            (0, 8, 0, true),
            (0, 17, 59, true),
            (0, 18, 0, false),
            (4, 12, 0, true),
            (5, 12, 0, false),
            (6, 12, 0, false),
            (7, 12, 0, true),
            (-3, 12, 0, true),
            (-2, 12, 0, false),
        ] {
            assert_eq!(office.holds(at(day, hour, minute)), holds, "{day} {hour}:{minute}");
        }
        // Friday and Saturday night.
        let night = Hours { days: 0b11_0000, from_min: 1_320, until_min: 360, utc_offset_min: 0 };
        for (day, hour, holds) in
            [(4, 21, false), (4, 22, true), (5, 5, true), (5, 6, false), (6, 5, true), (6, 22, false)]
        {
            assert_eq!(night.holds(at(day, hour, 0)), holds, "{day} {hour}");
        }
        let whole = Hours { days: 1, from_min: 480, until_min: 480, utc_offset_min: 0 };
        assert!(whole.holds(at(0, 8, 0)) && whole.holds(at(1, 7, 59)) && !whole.holds(at(1, 8, 0)));
        // Eight in the morning of New York's winter is one in the afternoon of UTC.
        let ny = Hours { utc_offset_min: -300, ..office };
        assert!(!ny.holds(at(0, 12, 59)) && ny.holds(at(0, 13, 0)) && ny.holds(at(0, 22, 59)));
        assert!(!ny.holds(at(0, 2, 0)), "there it is still Sunday");
    }

    #[test]
    fn what_no_week_has_is_told() {
        let hours = |days, from_min, until_min| Hours { days, from_min, until_min, utc_offset_min: 0 };
        assert!(hours(127, 0, 1_440).is_sound());
        for wrong in
            [hours(0, 0, 60), hours(128, 0, 60), hours(1, 1_440, 60), hours(1, 0, 0), hours(1, 0, 1_441)]
        {
            assert!(!wrong.is_sound(), "{wrong:?}");
        }
    }
}
