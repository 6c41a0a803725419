//! A vendor's sheet in, rows out, or every error with its line and column: a sheet is understood or refused (RFC 0009).
//!
//! [`read_text`] takes the bytes of a text file (commas, semicolons, tabs or bars; UTF-8, UTF-16 or Latin-1), [`read_table`]
//! what a workbook was split into. Whatever may carry money, dates, scope or removal is known, mapped by the upload, ignored
//! by its name, or refused; the result says what was recognised. Bounds: [`ImportOptions::max_rows`], 256 columns, 1,000
//! errors, 10,000 codes in one cell.

mod amounts;
mod codes;
mod currency;
mod dates;
mod encoding;
mod layout;
mod life;
mod names;
mod options;
mod prose;
mod remarks;
mod rows;
mod table;
mod words;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::options::{
    DateOrder, DecimalMark, Field, ImportOptions, Increments, OptionName, PriceUnit, SheetOptions, Zone,
};
pub use self::rows::check_table;
pub use self::table::{Line, MAX_CELLS, MAX_TEXT, Table, TooLarge};
use super::{DeckKind, DeckRows};

/// At most this many errors are reported; the last one says so.
pub const MAX_ERRORS: usize = 1_000;
/// More columns than this are no deck.
pub const MAX_COLUMNS: usize = 256;

/// What is wrong at one place of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineError {
    /// From 1, as an editor or a spreadsheet counts; 0 = the file as a whole.
    pub line: u64,
    /// Header of the column, or empty.
    pub column: String,
    /// In words for the person who uploads.
    pub message: String,
}

impl LineError {
    /// At a line and a column.
    pub fn at(line: u64, column: &str, message: &str) -> LineError {
        LineError { line, column: column.to_owned(), message: message.to_owned() }
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.message),
            c => write!(f, "line {}, {c}: {}", self.line, self.message),
        }
    }
}

/// What was recognised in a sheet, for the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recognised {
    /// Encoding of a text file, or the kind of workbook.
    pub format: String,
    /// What separates cells, or the name of the sheet.
    pub separator: String,
    /// Line of the header.
    pub header_line: u64,
    /// Each column's name and what it was read as: a field, `ignored` or `empty`.
    pub columns: Vec<(String, String)>,
    /// Mark before decimal places: `point` or `comma`.
    pub decimal: String,
    /// Zone of dates without one.
    pub zone: String,
    /// Currency of all amounts.
    pub currency: String,
    /// What prices are for: `per_minute`, `cents_per_minute`, `per_second`.
    pub price_unit: String,
    /// Increments of rows that state none.
    pub usual_increments: String,
    /// Rows that state no increments: their cells are empty, or there is no column of them.
    pub rows_without_increments: usize,
    /// Rows that state no date: they count at once.
    pub rows_without_date: usize,
    /// Rows of the sheet below its header, those that were not understood among them.
    pub rows_read: usize,
    /// Things a person should know: lines that were not read, and the like.
    pub notes: Vec<String>,
}

/// Reads the bytes of a text file.
///
/// Out: the rows, or all errors, at most [`MAX_ERRORS`], in the order of lines.
pub fn read_text(bytes: &[u8], options: &ImportOptions) -> Result<DeckRows, Vec<LineError>> {
    whole(check_text(bytes, options))
}

/// Reads a table, as [`read_text`].
pub fn read_table(
    table: &Table,
    options: &ImportOptions,
    recognised: Recognised,
) -> Result<DeckRows, Vec<LineError>> {
    whole(check_table(table, options, recognised))
}

/// A sheet is understood, or it is not.
fn whole((rows, errors): (DeckRows, Vec<LineError>)) -> Result<DeckRows, Vec<LineError>> {
    if errors.is_empty() { Ok(rows) } else { Err(errors) }
}

/// Reads the bytes of a text file for a report: what was understood, and the errors of the rest. Rows beside errors are
/// never to become a version.
pub fn check_text(bytes: &[u8], options: &ImportOptions) -> (DeckRows, Vec<LineError>) {
    let none = |e: LineError| (DeckRows::default(), vec![e]);
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
        let message = "this is a workbook of a kind that is not read here; save it as XLSX or CSV";
        return none(LineError::at(0, "", message));
    }
    let (text, format) = match encoding::decode(bytes) {
        Ok(read) => read,
        Err(e) => return none(e),
    };
    let delimiter = delimiter_of(&text, options);
    let table = match table::split(&text, delimiter) {
        Ok(table) => table,
        Err(e) => return none(e),
    };
    let recognised = Recognised {
        format: format.to_owned(),
        separator: match delimiter {
            b'\t' => "tab".to_owned(),
            d => char::from(d).to_string(),
        },
        ..Recognised::default()
    };
    check_table(&table, options, recognised)
}

/// The separator that makes the best header: one with code and price first, then by names that are known.
fn delimiter_of(text: &str, options: &ImportOptions) -> u8 {
    if let Some([d, end, ..]) = text.get(..8).and_then(|t| t.strip_prefix("sep=")).map(str::as_bytes)
        && matches!(end, b'\r' | b'\n')
    {
        return *d;
    }
    let end = text.char_indices().map(|(i, _)| i).find(|i| *i >= 1 << 16).unwrap_or(text.len());
    let head = text.get(..end).unwrap_or(text);
    let mut best = (b',', (false, 0usize, 0usize));
    for d in [b',', b';', b'\t', b'|'] {
        let table = table::head(head, d, layout::HEADER_WITHIN);
        let Some((_, whole, known)) = layout::likeness(&table, options) else { continue };
        let score = (whole, known, table.cells());
        if (whole || known > 0) && score > best.1 {
            best = (d, score);
        }
    }
    best.0
}
