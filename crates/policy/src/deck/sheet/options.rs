//! What the person who uploads says of a sheet, where the sheet alone does not say it. Kept per vendor and used again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use warp_model::{Currency, Nanos};

use super::super::{DeckKind, Terms};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Dial code, NPANXX, or (A–Z) a list of codes and ranges. Beside a country code it may be whole, or what follows the
    /// country code: the sheet decides, or is refused.
    Code,
    /// A dial code that is whole, whatever a country code beside it says.
    FullCode,
    /// What follows the country code of another column.
    AreaCode,
    /// The country code that area codes are appended to.
    CountryCode,
    /// Area code of the North American plan, three digits.
    Npa,
    /// Exchange of the North American plan, three digits, appended to the area code.
    Nxx,
    /// Thousands block of an exchange, one digit; `A` is the whole exchange.
    Block,
    /// The price per minute of interstate calls.
    Interstate,
    /// The price per minute of intrastate calls.
    Intrastate,
    /// The price per minute of calls whose jurisdiction is not known.
    Indeterminate,
    /// The only price per minute, for all jurisdictions.
    Rate,
    /// The day from which the row is in force.
    Effective,
    /// The last day on which the price counts; with a time, the moment from which it does not.
    Expires,
    /// From this day on the row is gone, and a shorter code prices its numbers.
    RemovedFrom,
    /// From this day on the vendor does not carry the code, and nothing of the deck prices its numbers.
    BlockedFrom,
    /// The first increment, in seconds.
    IncrementInitial,
    /// Each further increment, in seconds.
    IncrementNext,
    /// Both: `60/6`, or one number for both.
    Increments,
    /// Once per answered call.
    SetupFee,
    /// `New`, `Increase`, `Removed`, `Blocked` …
    Status,
    /// Yes: the vendor does not carry the code.
    Blocked,
    /// No: the vendor does not carry the code.
    Offered,
    /// The currency of the row's amounts.
    Currency,
    /// What the price is for: a minute.
    Unit,
    /// Price of some hours or days: not supported, refused where it is used.
    Peak,
    /// Price by origin: not supported, refused where it is used.
    Origin,
    /// Local and intraLATA prices: not supported (they need a LERG), refused where they are used.
    LocalRate,
    /// Names of places and networks and the like: not read.
    Info,
    /// Free remarks: not read, unless all that a cell says is that a code is not carried.
    Remark,
}

impl Field {
    /// Every field, in the order of the declaration.
    pub const ALL: &[Field] = &[
        Self::Code,
        Self::FullCode,
        Self::AreaCode,
        Self::CountryCode,
        Self::Npa,
        Self::Nxx,
        Self::Block,
        Self::Interstate,
        Self::Intrastate,
        Self::Indeterminate,
        Self::Rate,
        Self::Effective,
        Self::Expires,
        Self::RemovedFrom,
        Self::BlockedFrom,
        Self::IncrementInitial,
        Self::IncrementNext,
        Self::Increments,
        Self::SetupFee,
        Self::Status,
        Self::Blocked,
        Self::Offered,
        Self::Currency,
        Self::Unit,
        Self::Peak,
        Self::Origin,
        Self::LocalRate,
        Self::Info,
        Self::Remark,
    ];

    /// As it stands in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::FullCode => "full_code",
            Self::AreaCode => "area_code",
            Self::CountryCode => "country_code",
            Self::Npa => "npa",
            Self::Nxx => "nxx",
            Self::Block => "block",
            Self::Interstate => "interstate",
            Self::Intrastate => "intrastate",
            Self::Indeterminate => "indeterminate",
            Self::Rate => "rate",
            Self::Effective => "effective",
            Self::Expires => "expires",
            Self::RemovedFrom => "removed_from",
            Self::BlockedFrom => "blocked_from",
            Self::IncrementInitial => "increment_initial",
            Self::IncrementNext => "increment_next",
            Self::Increments => "increments",
            Self::SetupFee => "setup_fee",
            Self::Status => "status",
            Self::Blocked => "blocked",
            Self::Offered => "offered",
            Self::Currency => "currency",
            Self::Unit => "unit",
            Self::Peak => "peak",
            Self::Origin => "origin",
            Self::LocalRate => "local_rate",
            Self::Info => "info",
            Self::Remark => "remark",
        }
    }
}

/// Which number of `05/12/2026` is the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    /// The first: 5 December.
    DayFirst,
    /// The second: May 12.
    MonthFirst,
}

/// Which mark stands before the decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecimalMark {
    /// `0.0125`; commas separate thousands.
    Point,
    /// `0,0125`; points separate thousands.
    Comma,
}

/// What the numbers in price columns are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceUnit {
    /// Units of the currency for a minute.
    #[default]
    PerMinute,
    /// Hundredths of the currency for a minute; fees are in hundredths too.
    CentsPerMinute,
    /// Units of the currency for a second; fees are in units.
    PerSecond,
}

/// First and further increments: `60/6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Increments(pub u32, pub u32);

/// Minutes east of UTC: `UTC`, `+01:00`, `-05:00`. Between −14:00 and +14:00.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone(pub i32);

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(Increments);
as_text!(Zone);

impl fmt::Display for Increments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.1)
    }
}

impl FromStr for Increments {
    type Err = &'static str;
    fn from_str(s: &str) -> Result<Self, &'static str> {
        let one = |t: &str| t.parse::<u32>().ok().filter(|n| (1..=3_600).contains(n));
        let parts = s.split_once('/').and_then(|(a, b)| Some(Increments(one(a)?, one(b)?)));
        parts.ok_or("increments are two numbers of 1 to 3,600 seconds, such as 60/6")
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("UTC");
        }
        let (sign, m) = (if self.0 < 0 { '-' } else { '+' }, self.0.unsigned_abs());
        write!(f, "{sign}{:02}:{:02}", m / 60, m % 60)
    }
}

impl FromStr for Zone {
    type Err = &'static str;
    fn from_str(s: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "a time zone is UTC or an offset from it such as +01:00";
        if s.eq_ignore_ascii_case("utc") || s.eq_ignore_ascii_case("z") {
            return Ok(Zone(0));
        }
        let sign = match s.as_bytes().first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(WRONG),
        };
        let (h, m) = s.get(1..).and_then(|t| t.split_once(':')).ok_or(WRONG)?;
        let two = |t: &str| (t.len() == 2).then(|| t.parse::<u8>().ok()).flatten().map(i32::from);
        match (two(h), two(m)) {
            (Some(h), Some(m)) if m < 60 && h * 60 + m <= 14 * 60 => Ok(Zone(sign * (h * 60 + m))),
            _ => Err(WRONG),
        }
    }
}

/// What an upload may say of its sheet. Everything has a default; the default never guesses with money.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SheetOptions {
    /// What columns hold, by their names in the sheet. Names are compared without case, blanks and punctuation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mapping: BTreeMap<String, Field>,
    /// Columns, and lines above the header or below the rows, that are not to be read: by their names or whole texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Increments where the sheet says nothing; the kind's usual ones when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Increments>,
    /// Order of slash and dash dates that can be read two ways; such a date is refused when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_order: Option<DateOrder>,
    /// Zone of dates and times without one; UTC when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// The sheet's currency, where signs such as `$` may mean several. It must be the deck's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// What the numbers in price columns are; per minute when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_unit: Option<PriceUnit>,
    /// Mark before decimal places; taken from the sheet's prices when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<DecimalMark>,
    /// A price of 0 is an offer. Refused when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_rows: Option<bool>,
    /// Empty country codes, dates, increments and currencies mean the ones above (merged cells).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_cells: Option<bool>,
    /// Which sheet of a workbook, by name; needed when more than one is visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// Highest price per minute, and highest fee, that is believed; 100 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<Nanos>,
    /// Remembered options that count no more. What the upload says besides stands; this itself is never remembered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reset: Vec<OptionName>,
}

/// One of the [`SheetOptions`], by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionName {
    /// What the columns of the sheet hold.
    Mapping,
    /// What is not read.
    Ignore,
    /// Increments where the sheet says nothing.
    Terms,
    /// Order of dates that can be read two ways.
    DateOrder,
    /// Zone of dates without one.
    Zone,
    /// The currency that the sheet says it is in.
    Currency,
    /// What the numbers in price columns are.
    PriceUnit,
    /// Mark before decimal places.
    Decimal,
    /// Whether a price of 0 is an offer.
    FreeRows,
    /// Whether empty cells mean the ones above.
    RepeatCells,
    /// Which sheet of a workbook.
    Sheet,
    /// Highest price that is believed.
    Cap,
}

impl SheetOptions {
    /// These options without those that count no more.
    fn without(&self, names: &[OptionName]) -> SheetOptions {
        let mut kept = self.clone();
        for name in names {
            match name {
                OptionName::Mapping => kept.mapping.clear(),
                OptionName::Ignore => kept.ignore.clear(),
                OptionName::Terms => kept.terms = None,
                OptionName::DateOrder => kept.date_order = None,
                OptionName::Zone => kept.zone = None,
                OptionName::Currency => kept.currency = None,
                OptionName::PriceUnit => kept.price_unit = None,
                OptionName::Decimal => kept.decimal = None,
                OptionName::FreeRows => kept.free_rows = None,
                OptionName::RepeatCells => kept.repeat_cells = None,
                OptionName::Sheet => kept.sheet = None,
                OptionName::Cap => kept.cap = None,
            }
        }
        kept
    }

    /// These options with what `newer` says over them: what it resets is gone, then each of its values that is there wins;
    /// mappings are joined by name, ignored names are added.
    pub fn under(&self, newer: &SheetOptions) -> SheetOptions {
        let old = self.without(&newer.reset);
        let mut mapping = old.mapping;
        mapping.extend(newer.mapping.iter().map(|(k, v)| (k.clone(), *v)));
        let mut ignore = old.ignore;
        for name in &newer.ignore {
            if !ignore.contains(name) {
                ignore.push(name.clone());
            }
        }
        SheetOptions {
            mapping,
            ignore,
            terms: newer.terms.or(old.terms),
            date_order: newer.date_order.or(old.date_order),
            zone: newer.zone.or(old.zone),
            currency: newer.currency.or(old.currency),
            price_unit: newer.price_unit.or(old.price_unit),
            decimal: newer.decimal.or(old.decimal),
            free_rows: newer.free_rows.or(old.free_rows),
            repeat_cells: newer.repeat_cells.or(old.repeat_cells),
            sheet: newer.sheet.clone().or(old.sheet),
            cap: newer.cap.or(old.cap),
            reset: Vec::new(),
        }
    }
}

/// How to read a sheet: what the deck fixes, and what the upload says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportOptions {
    /// The kind of the deck: US, or A–Z.
    pub kind: DeckKind,
    /// The currency of the deck, which is that of all amounts.
    pub currency: Currency,
    /// Rows after the expansion of code lists.
    pub max_rows: usize,
    /// Of the upload, or remembered.
    pub sheet: SheetOptions,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions {
            kind: DeckKind::Us,
            currency: Currency::USD,
            max_rows: 2_000_000,
            sheet: SheetOptions::default(),
        }
    }
}

impl ImportOptions {
    /// Increments and fee where the sheet says nothing.
    pub fn usual_terms(&self) -> Terms {
        match self.sheet.terms {
            Some(Increments(a, b)) => Terms::of(a, b),
            None => self.kind.usual_terms(),
        }
    }

    /// Highest price per minute and fee that is believed.
    pub fn cap(&self) -> Nanos {
        self.sheet.cap.unwrap_or(Nanos(100_000_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_read_by_its_word() {
        for field in Field::ALL {
            let json = format!("\"{}\"", field.as_str());
            assert_eq!(serde_json::from_str::<Field>(&json).unwrap(), *field);
        }
        let last = Field::ALL.iter().max().unwrap();
        assert_eq!((*last, Field::ALL.len()), (Field::Remark, Field::Remark as usize + 1));
    }

    #[test]
    fn options_travel_as_json_and_newer_ones_win() {
        let text =
            r#"{"mapping":{"Dst":"full_code"},"terms":"60/6","zone":"-05:00","cap":"2.5","free_rows":true}"#;
        let old: SheetOptions = serde_json::from_str(text).unwrap();
        assert_eq!(old.zone, Some(Zone(-300)));
        assert_eq!(serde_json::from_str::<SheetOptions>(&serde_json::to_string(&old).unwrap()).unwrap(), old);
        let newer = SheetOptions { terms: Some(Increments(1, 1)), ..SheetOptions::default() };
        let both = old.under(&newer);
        assert_eq!((both.terms, both.zone, both.mapping.len()), (newer.terms, old.zone, 1));
        for bad in [
            r#"{"terms":"0/6"}"#,
            r#"{"zone":"CET"}"#,
            r#"{"zone":"+15:00"}"#,
            r#"{"colour":1}"#,
            r#"{"cap":"x"}"#,
        ] {
            assert!(serde_json::from_str::<SheetOptions>(bad).is_err(), "{bad}");
        }
    }
}
