//! Rules about calls and exchange rates as a snapshot has them.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use warp_model::Nanos;
use warp_policy::Code;
use warp_policy::directory::{Applies, CallBlock, ExchangeRate, Hours, Override};
use warp_policy::number_plan::DestinationClass;
use warp_policy::rate::{PartialSecond, Rounding, RoundingLevel, RoundingMode};

use super::published::{all, id, keep, text};
use super::sql::statements;
use super::{StoreError, Tx};
use crate::app::input::DayHours;
use crate::app::rules::Weekday;

/// What the section `rules` holds.
#[derive(Clone, Default)]
pub struct RuleRows {
    /// Overrides, with the id of their partition instead of its name.
    pub overrides: Vec<Override>,
    /// Calls that are not carried.
    pub blocks: Vec<CallBlock>,
    /// What currencies are worth.
    pub exchange_rates: Vec<ExchangeRate>,
}

/// Reads the rules that have not ended. Rows that cannot be read are named in `faults`.
pub async fn rules(tx: &mut Tx, faults: &mut Vec<String>) -> Result<RuleRows, StoreError> {
    let mut out = RuleRows::default();
    for row in all(tx, PUBLISH_OVERRIDES).await? {
        let read = applies(&row).and_then(|applies| {
            let (id, partition) = (text(&row, "id")?, text(&row, "partition_id")?);
            Ok(Override { id, applies, partition, reason: text(&row, "reason")? })
        });
        keep(read, &row, &mut out.overrides, faults);
    }
    for row in all(tx, PUBLISH_BLOCKS).await? {
        let read = applies(&row).and_then(|applies| {
            let caller = code(&row, "caller_code")?;
            Ok(CallBlock { id: text(&row, "id")?, applies, caller, reason: text(&row, "reason")? })
        });
        keep(read, &row, &mut out.blocks, faults);
    }
    for row in all(tx, PUBLISH_EXCHANGE_RATES).await? {
        let read = (|| {
            let (from, to) = (id(&row, "currency")?, id(&row, "worth_currency")?);
            Ok(ExchangeRate { from, to, rate: Nanos(row.try_get("worth")?) })
        })();
        keep(read, &row, &mut out.exchange_rates, faults);
    }
    Ok(out)
}

fn applies(row: &PgRow) -> Result<Applies, StoreError> {
    let class: Option<String> = row.try_get("class")?;
    let class = class.map(|word| {
        DestinationClass::parse(&word)
            .ok_or_else(|| StoreError::Internal(format!("class cannot be read: {word}")))
    });
    let time = |name: &str| row.try_get::<Option<i64>, _>(name).map(|t| t.map(warp_model::Wall));
    Ok(Applies {
        trunk: optional(row, "trunk_id")?,
        customer: optional(row, "customer_id")?,
        code: code(row, "code")?,
        class: class.transpose()?,
        from: time("starts_at")?,
        until: time("ends_at")?,
        hours: hours(row)?,
    })
}

/// `None`: at all hours of all days.
fn hours(row: &PgRow) -> Result<Option<Hours>, StoreError> {
    let (days, hours): (Vec<String>, Option<String>) = (row.try_get("days")?, row.try_get("hours")?);
    if days.is_empty() && hours.is_none() {
        return Ok(None);
    }
    let bits =
        Weekday::WORDS.iter().zip(0..).filter(|(word, _)| days.is_empty() || days.iter().any(|d| d == *word));
    let minutes = match &hours {
        None => Some((0, 1_440)),
        Some(text) => DayHours::minutes(text),
    };
    let (from_min, until_min) =
        minutes.ok_or_else(|| StoreError::Internal("its hours cannot be read".into()))?;
    let offset: i32 = row.try_get("utc_offset_min")?;
    Ok(Some(Hours {
        days: bits.fold(0, |all, (_, bit)| all | 1 << bit),
        from_min,
        until_min,
        utc_offset_min: i16::try_from(offset).unwrap_or_default(),
    }))
}

fn code(row: &PgRow, name: &str) -> Result<Option<Code>, StoreError> {
    optional(row, name)
}

fn optional<T: std::str::FromStr>(row: &PgRow, name: &str) -> Result<Option<T>, StoreError> {
    let value: Option<String> = row.try_get(name)?;
    let read = |v: String| v.parse().map_err(|_| StoreError::Internal(format!("{name} cannot be read: {v}")));
    value.map(read).transpose()
}

/// How a row's contract rounds; the schema's checks leave no other words.
pub(super) fn rounding(row: &PgRow) -> Result<Rounding, StoreError> {
    let places: i32 = row.try_get("rounding_places")?;
    Ok(Rounding {
        mode: match text(row, "rounding_mode")?.as_str() {
            "half_even" => RoundingMode::HalfEven,
            "up" => RoundingMode::Up,
            "down" => RoundingMode::Down,
            _ => RoundingMode::HalfAwayFromZero,
        },
        places: u8::try_from(places).unwrap_or(6),
        partial_second: match text(row, "partial_second")?.as_str() {
            "half_up" => PartialSecond::HalfUp,
            "down" => PartialSecond::Down,
            _ => PartialSecond::Up,
        },
        level: match text(row, "rounding_level")?.as_str() {
            "line" => RoundingLevel::Line,
            _ => RoundingLevel::Call,
        },
    })
}

statements! {
    /// Overrides that have not ended.
    PUBLISH_OVERRIDES = "SELECT id, partition_id, trunk_id, customer_id, code, class, reason, us(starts_at) AS starts_at,
            us(ends_at) AS ends_at, days, hours, utc_offset_min
        FROM overrides WHERE ends_at IS NULL OR ends_at > now() ORDER BY id";
    /// Blocks that have not ended.
    PUBLISH_BLOCKS = "SELECT id, trunk_id, customer_id, code, class, caller_code, reason, us(starts_at) AS starts_at,
            us(ends_at) AS ends_at, days, hours, utc_offset_min
        FROM blocks WHERE ends_at IS NULL OR ends_at > now() ORDER BY id";
    /// What currencies are worth.
    PUBLISH_EXCHANGE_RATES = "SELECT id, currency, worth, worth_currency FROM exchange_rates ORDER BY id";
}
