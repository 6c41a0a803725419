//! What a sheet would change, or has changed: the answer of a check, and what is kept with each version.
//!
//! [`Report`] has nearly the same fields and stays a type of its own: that one is stored with the version and may change with
//! the policy, this one is published and may not (RFC 0012). [`DeckReport::of`] is the one place where they meet.

use warp_model::Currency;
use warp_policy::deck::{LineError, Report};

use super::prices::DeckPrice;

use crate::app::fault::Problem;
use crate::store::types::{Amount, Time};

crate::view! {
    /// What a sheet changes. Prices are compared as they will be when every announced change has come.
    pub struct DeckReport {
        /// The version in force that the sheet was compared with. Null: there was none.
        pub base: Option<u32>,
        /// How many rows the sheet has below its header, those that were not understood among them.
        pub rows_read: usize,
        /// How many rows the version has, of all dates.
        pub rows: usize,
        /// How many codes the base does not price.
        pub new: usize,
        /// How many codes have a price, fee or increment that rises, whatever else falls.
        pub dearer: usize,
        /// How many codes have something that falls and nothing that rises.
        pub cheaper: usize,
        /// How many codes do not change.
        pub same: usize,
        /// How many codes the base prices and this version will not.
        pub ended: usize,
        /// How many codes the vendor does not carry: no price of the deck holds for them, that of a shorter code neither.
        pub blocked: usize,
        /// How many places were not understood; one line may have several. A version is made only when there are none.
        pub not_understood: usize,
        /// How many lines have a place that was not understood. Null: the report was made before they were counted.
        pub lines_not_understood: Option<usize>,
        /// How many codes have a price at once.
        pub in_force: usize,
        /// How many rows begin later.
        pub begin_later: usize,
        /// How many rows of the base stay until the sheet's word on their code begins.
        pub carried: usize,
        /// The next moment at which the price of a code begins, changes or ends. Null: there is none.
        pub next_change: Option<Time>,
        /// The ten largest moves: by absolute change of a price per minute or of a set-up fee, then by that of the increments.
        pub largest: Vec<PriceMove>,
        /// What was recognised in the sheet.
        pub recognised: RecognisedSheet,
        /// The first places that were not understood, each with its line, its column and the reason.
        pub problems: Vec<SheetProblem>,
        /// Some rows of the sheet as they were understood: the first five, the three dearest and the two cheapest of the others, in
        /// the order of the sheet. Null: the report was made before they were kept.
        pub sample: Option<Vec<DeckPrice>>,
    }
}

crate::view! {
    /// One code whose price, set-up fee or increments move: of the jurisdiction where the price moves most.
    pub struct PriceMove {
        /// The dial code whose price moves.
        pub code: String,
        /// The price per minute before.
        pub old: Amount,
        /// The price per minute after.
        pub new: Amount,
        /// The increments before, in seconds: the first and the further ones, as `60/1`. Null: the report was made before they were kept.
        pub old_increments: Option<String>,
        /// The increments after. Null: the report was made before they were kept.
        pub new_increments: Option<String>,
        /// The set-up fee of a call before. Null: the report was made before it was kept.
        pub old_setup_fee: Option<Amount>,
        /// The set-up fee of a call after. Null: the report was made before it was kept.
        pub new_setup_fee: Option<Amount>,
        /// When the price moves. Null: at once.
        pub from: Option<Time>,
    }
}

crate::view! {
    /// What was recognised in a sheet.
    pub struct RecognisedSheet {
        /// The encoding of a text file, or XLSX.
        pub format: String,
        /// What separates cells: a character. For a workbook it is the sheet's name, as `sheet "Rates"`.
        pub separator: String,
        /// The line that the header stands on, from 1.
        pub header_line: u64,
        /// What each column was read as.
        pub columns: Vec<RecognisedColumn>,
        /// The mark before decimal places: `point` or `comma`.
        pub decimal: String,
        /// The zone of dates and times that state none.
        pub zone: String,
        /// The ISO 4217 currency of all amounts.
        pub currency: String,
        /// What prices are for: `per_minute`, `cents_per_minute` or `per_second`.
        pub price_unit: String,
        /// The increments of rows that state none, in seconds: the first and the further ones.
        pub usual_increments: String,
        /// How many rows state no increments: their cells are empty, or there is no such column.
        pub rows_without_increments: usize,
        /// How many rows state no date: they count at once.
        pub rows_without_date: usize,
        /// Things that a person should know.
        pub notes: Vec<String>,
    }
}

crate::view! {
    /// A column of a sheet.
    pub struct RecognisedColumn {
        /// Its name in the sheet.
        pub name: String,
        /// The field that it was read as, or `not read` (names and remarks), `ignored` or `empty`.
        pub read_as: String,
    }
}

crate::view! {
    /// A place that was not understood.
    pub struct SheetProblem {
        /// The line, from 1. 0 is the file as a whole.
        pub line: u64,
        /// The name of the column. Empty: it is the whole line.
        pub column: String,
        /// Why it was not understood.
        pub message: String,
    }
}

/// First and further increments as they are shown: `60/1`.
pub(super) fn increments(terms: &warp_policy::deck::Terms) -> String {
    format!("{}/{}", terms.initial_s, terms.next_s)
}

impl DeckReport {
    /// The policy's report in the API's words.
    pub fn of(report: Report, currency: Currency, problems: &[LineError], most: usize) -> DeckReport {
        let r = report.recognised;
        let mut lines: Vec<u64> = problems.iter().map(|p| p.line).collect();
        lines.sort_unstable();
        lines.dedup();
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
            lines_not_understood: Some(lines.len()),
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
                    old_increments: Some(increments(&m.old_terms)),
                    new_increments: Some(increments(&m.new_terms)),
                    old_setup_fee: Some(Amount(m.old_terms.setup_fee.of(currency))),
                    new_setup_fee: Some(Amount(m.new_terms.setup_fee.of(currency))),
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
            sample: Some(report.sample.into_iter().map(|row| DeckPrice::of(row, currency)).collect()),
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
        "" if e.line == 0 => "the file".to_owned(),
        "" => format!("line {}", e.line),
        column => format!("line {}, {column}", e.line),
    };
    Problem::new(place, "invalid_line", e.message)
}
