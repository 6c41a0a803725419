//! What a sheet would change, or has changed: the answer of a check, and what is kept with each version.

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use sqlx::{Decode, Postgres, Type};
use utoipa::ToSchema;
use warp_model::Currency;
use warp_policy::deck::{LineError, Report};

use crate::app::fault::Problem;
use crate::store::types::{Amount, Time};

/// What a sheet changes. Prices are compared as they will be when every announced change has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeckReport {
    /// The version in force that the sheet was compared with; null when there was none.
    pub base: Option<u32>,
    /// Rows of the sheet that were read.
    pub rows_read: usize,
    /// Rows of the version, of all dates.
    pub rows: usize,
    /// Codes that the base does not price.
    pub new: usize,
    /// Codes of which a price, fee or increment rises, whatever else falls.
    pub dearer: usize,
    /// Codes of which something falls and nothing rises.
    pub cheaper: usize,
    /// Codes of which nothing changes.
    pub same: usize,
    /// Codes that the base prices and this version will not.
    pub ended: usize,
    /// Codes that the vendor does not carry: no price of the deck holds for them, that of a shorter code neither.
    pub blocked: usize,
    /// Lines that were not understood. A version is made only when there are none.
    pub not_understood: usize,
    /// Codes with a price at once.
    pub in_force: usize,
    /// Rows that begin later.
    pub begin_later: usize,
    /// Rows of the base that stay until the sheet's word on their code begins.
    pub carried: usize,
    /// The next moment at which a row begins or ends.
    pub next_change: Option<Time>,
    /// The ten largest moves, by absolute change of a price per minute.
    pub largest: Vec<PriceMove>,
    /// What was recognised in the sheet.
    pub recognised: RecognisedSheet,
    /// The first lines that were not understood, each with its column and the reason.
    pub problems: Vec<SheetProblem>,
}

/// One price that moves: of the jurisdiction where it moves most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PriceMove {
    /// Dial code.
    pub code: String,
    /// Price per minute before.
    pub old: Amount,
    /// Price per minute after.
    pub new: Amount,
    /// When; null: at once.
    pub from: Option<Time>,
}

/// What was recognised in a sheet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecognisedSheet {
    /// Encoding of a text file, or XLSX.
    pub format: String,
    /// What separates cells, or the name of the workbook's sheet.
    pub separator: String,
    /// Line of the header.
    pub header_line: u64,
    /// What each column was read as.
    pub columns: Vec<RecognisedColumn>,
    /// Mark before decimal places: `point` or `comma`.
    pub decimal: String,
    /// Zone of dates and times without one.
    pub zone: String,
    /// Currency of all amounts.
    pub currency: String,
    /// What prices are for: `per_minute`, `cents_per_minute` or `per_second`.
    pub price_unit: String,
    /// Increments of rows that state none.
    pub usual_increments: String,
    /// Rows that state no increments.
    pub rows_without_increments: usize,
    /// Rows that state no date: they count at once.
    pub rows_without_date: usize,
    /// Things a person should know.
    pub notes: Vec<String>,
}

/// A column of a sheet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecognisedColumn {
    /// Its name in the sheet.
    pub name: String,
    /// A field, `not read` (names and remarks), `ignored` or `empty`.
    pub read_as: String,
}

/// A place that was not understood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SheetProblem {
    /// Line, from 1; 0 = the file as a whole.
    pub line: u64,
    /// Name of the column; empty when it is the whole line.
    pub column: String,
    /// Why.
    pub message: String,
}

impl DeckReport {
    /// The policy's report in the API's words.
    pub fn of(report: Report, currency: Currency, problems: &[LineError], most: usize) -> DeckReport {
        let r = report.recognised;
        DeckReport {
            base: report.base,
            rows_read: report.rows_read,
            rows: report.rows,
            new: report.new,
            dearer: report.dearer,
            cheaper: report.cheaper,
            same: report.same,
            ended: report.ended,
            blocked: report.blocked,
            not_understood: problems.len(),
            in_force: report.in_force,
            begin_later: report.begin_later,
            carried: report.carried,
            next_change: report.next_change.map(Time),
            largest: report
                .largest
                .into_iter()
                .map(|m| PriceMove {
                    code: m.code.to_string(),
                    old: Amount(m.old.of(currency)),
                    new: Amount(m.new.of(currency)),
                    from: m.from.map(Time),
                })
                .collect(),
            recognised: RecognisedSheet {
                format: r.format,
                separator: r.separator,
                header_line: r.header_line,
                columns: r
                    .columns
                    .into_iter()
                    .map(|(name, read_as)| RecognisedColumn { name, read_as })
                    .collect(),
                decimal: r.decimal,
                zone: r.zone,
                currency: r.currency,
                price_unit: r.price_unit,
                usual_increments: r.usual_increments,
                rows_without_increments: r.rows_without_increments,
                rows_without_date: r.rows_without_date,
                notes: r.notes,
            },
            problems: problems.iter().take(most).map(SheetProblem::of).collect(),
        }
    }
}

impl SheetProblem {
    fn of(e: &LineError) -> SheetProblem {
        SheetProblem { line: e.line, column: e.column.clone(), message: e.message.clone() }
    }
}

/// A place as a field problem: `line 3, Rate`.
pub(super) fn problem(e: LineError) -> Problem {
    let place = match e.column.as_str() {
        "" => format!("line {}", e.line),
        column => format!("line {}, {column}", e.line),
    };
    Problem::new(place, "invalid_line", e.message)
}

impl Type<Postgres> for DeckReport {
    fn type_info() -> PgTypeInfo {
        <serde_json::Value as Type<Postgres>>::type_info()
    }
    fn compatible(ty: &PgTypeInfo) -> bool {
        <serde_json::Value as Type<Postgres>>::compatible(ty)
    }
}

impl<'r> Decode<'r, Postgres> for DeckReport {
    fn decode(value: PgValueRef<'r>) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(serde_json::from_value(<serde_json::Value as Decode<Postgres>>::decode(value)?)?)
    }
}
