//! Call records as CSV: RFC 4180, a line of names, times by RFC 3339, amounts as exact decimals.
//!
//! A cell that a spreadsheet would take for a formula gets a `'` before it: who calls sends what stands in `caller`. Numbers in E.164 stay
//! as they are.

use std::io::{self, Write};

use warp_model::{Nanos, Wall};

use super::columns::{Cell, Column};
use crate::store::calls::CallRow;

/// A CSV file that is being written.
pub struct CsvFile<W: Write> {
    out: csv::Writer<W>,
    columns: Vec<&'static Column>,
}

impl<W: Write> CsvFile<W> {
    /// With the line of names.
    pub fn new(out: W, columns: Vec<&'static Column>) -> io::Result<Self> {
        let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        out.write_record(columns.iter().map(|c| c.name)).map_err(io::Error::from)?;
        Ok(Self { out, columns })
    }

    /// One line for each row.
    pub fn write(&mut self, rows: &[CallRow]) -> io::Result<()> {
        for row in rows {
            for column in &self.columns {
                self.out.write_field(text(&(column.of)(row))).map_err(io::Error::from)?;
            }
            self.out.write_record(None::<&[u8]>).map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// All lines are written.
    pub fn finish(self) -> io::Result<W> {
        self.out.into_inner().map_err(|e| io::Error::other(e.to_string()))
    }
}

fn text(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Empty => String::new(),
        Cell::Text(text) => harmless(text),
        Cell::Int(number) => number.to_string(),
        Cell::Time(micros) => Wall(*micros).to_string(),
        Cell::Money(nanos) => Nanos(*nanos).to_string(),
        Cell::Flag(flag) => flag.to_string(),
    }
}

/// A text that no spreadsheet takes for a formula.
fn harmless(text: &str) -> String {
    let digits = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    let formula = match text.as_bytes().first() {
        Some(b'=' | b'@' | b'\t' | b'\r' | b'\n') => true,
        Some(b'+' | b'-') => !text.get(1..).is_some_and(digits),
        _ => false,
    };
    if formula { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_a_text() {
        for (raw, written) in [
            ("+12025550100", "+12025550100"),
            ("anonymous", "anonymous"),
            ("", ""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
            ("-2+3", "'-2+3"),
            ("+", "'+"),
            ("+ä", "'+ä"),
            ("\tx", "'\tx"),
        ] {
            assert_eq!(harmless(raw), written);
        }
    }

    #[test]
    fn amounts_are_exact_and_times_are_utc() {
        assert_eq!(text(&Cell::Money(-1)), "-0.000000001");
        assert_eq!(text(&Cell::Money(12_500_000)), "0.0125");
        assert_eq!(text(&Cell::Time(1_795_353_285_000_000)), "2026-11-22T13:14:45.000Z");
        assert_eq!(text(&Cell::Empty), "");
    }
}
