//! A sheet as rows of text cells, with the line each row stands on; made from CSV text here, from a workbook elsewhere.

use super::LineError;

/// Bytes of text that a table holds at most. One long text that a workbook's cells share counts as often as it is used.
pub const MAX_TEXT: usize = 160 << 20;
/// Cells that a table holds at most.
pub const MAX_CELLS: usize = 40_000_000;

/// Rows of cells, trimmed; rows without any text are left out.
#[derive(Clone, Debug, Default)]
pub struct Table {
    text: String,
    ends: Vec<u32>,
    rows: Vec<RowAt>,
    /// First cell of the row that is being made.
    open: usize,
    /// A row without text was left out since the last one.
    blank: bool,
    /// Line and column of cells that a merged region covers.
    merged: Vec<(u64, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct RowAt {
    line: u32,
    first: u32,
    cells: u32,
    after_blank: bool,
}

/// The table would be larger than [`MAX_TEXT`] or [`MAX_CELLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl Table {
    /// Adds a cell to the row that is being made; blanks and invisible marks around its text are taken off.
    ///
    /// Errors: [`TooLarge`].
    pub fn cell(&mut self, text: &str) -> Result<(), TooLarge> {
        let text = trimmed(text);
        let end = self.text.len() + text.len();
        if end > MAX_TEXT || self.ends.len() >= MAX_CELLS {
            return Err(TooLarge);
        }
        self.text.push_str(text);
        self.ends.push(end as u32);
        Ok(())
    }

    /// Says that a cell is empty because a merged region covers it.
    pub fn merged(&mut self, line: u64, column: usize) {
        self.merged.push((line, column));
    }

    /// Line and column of cells that merged regions cover.
    pub fn merged_cells(&self) -> &[(u64, usize)] {
        &self.merged
    }

    /// Ends the row, which stands on this line (from 1).
    pub fn end_row(&mut self, line: u64) {
        let start = self.open.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        if self.text.len() as u32 == start {
            self.ends.truncate(self.open);
            self.blank = true;
            return;
        }
        self.rows.push(RowAt {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            first: self.open as u32,
            cells: (self.ends.len() - self.open) as u32,
            after_blank: std::mem::take(&mut self.blank),
        });
        self.open = self.ends.len();
    }

    /// How many rows have text in them.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// No row has text.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A row by its position among those with text.
    pub fn line(&self, i: usize) -> Option<Line<'_>> {
        self.rows.get(i).map(|at| Line { table: self, at: *at })
    }

    /// Rows from a position on.
    pub fn lines_from(&self, i: usize) -> impl DoubleEndedIterator<Item = Line<'_>> {
        self.rows.get(i..).unwrap_or_default().iter().map(|at| Line { table: self, at: *at })
    }

    /// Cells of all rows together.
    pub(super) fn cells(&self) -> usize {
        self.ends.len()
    }
}

/// A row of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    table: &'a Table,
    at: RowAt,
}

impl<'a> Line<'a> {
    /// Where it stands in the file, from 1.
    pub fn number(&self) -> u64 {
        u64::from(self.at.line)
    }

    /// Cells, empty ones too.
    pub fn len(&self) -> usize {
        self.at.cells as usize
    }

    /// Never true for a row that was kept.
    pub fn is_empty(&self) -> bool {
        self.at.cells == 0
    }

    /// A row without text stands before it.
    pub fn is_after_blank(&self) -> bool {
        self.at.after_blank
    }

    /// A cell; empty when there is none.
    pub fn cell(&self, i: usize) -> &'a str {
        if i >= self.len() {
            return "";
        }
        let at = self.at.first as usize + i;
        let from = at.checked_sub(1).and_then(|b| self.table.ends.get(b)).copied().unwrap_or(0) as usize;
        let to = self.table.ends.get(at).copied().unwrap_or(0) as usize;
        self.table.text.get(from..to).unwrap_or("")
    }

    /// The cells of the row, in order.
    pub fn cells(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).map(move |i| self.cell(i))
    }
}

/// Without blanks, byte order marks and marks of writing direction at both ends.
pub(super) fn trimmed(text: &str) -> &str {
    let b = text.as_bytes();
    if b.first().is_none_or(u8::is_ascii_graphic) && b.last().is_none_or(u8::is_ascii_graphic) {
        return text;
    }
    text.trim_matches(|c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}')
    })
}

/// Splits text into a table (RFC 4180, any of `\n`, `\r\n`, `\r`).
///
/// Stricter than most readers, because a quote in the wrong place swallows rows: an open quote and text behind a closing one
/// are errors, with the line.
pub(super) fn split(text: &str, delimiter: u8) -> Result<Table, LineError> {
    let mut table = Table::default();
    rows(text, delimiter, usize::MAX, &mut table)?;
    Ok(table)
}

/// At most so many first rows, up to the first that is wrong or cut off.
pub(super) fn head(text: &str, delimiter: u8, most: usize) -> Table {
    let mut table = Table::default();
    let _ = rows(text, delimiter, most, &mut table);
    table
}

fn rows(text: &str, delimiter: u8, most: usize, table: &mut Table) -> Result<(), LineError> {
    let b = text.as_bytes();
    let (mut i, mut line) = (0usize, 1u64);
    let mut buffer = String::new();
    while i < b.len() && table.len() < most {
        let begun = line;
        loop {
            // Blanks before a quote are not part of the cell.
            let mut start = i;
            while b.get(start).is_some_and(|c| matches!(c, b' ' | b'\t') && *c != delimiter) {
                start += 1;
            }
            if b.get(start) == Some(&b'"') {
                let opened = line;
                buffer.clear();
                i = start + 1;
                loop {
                    let from = i;
                    while b.get(i).is_some_and(|c| !matches!(c, b'"' | b'\n' | b'\r')) {
                        i += 1;
                    }
                    buffer.push_str(text.get(from..i).unwrap_or(""));
                    match b.get(i) {
                        None => return Err(LineError::at(opened, "", "a quote is opened and never closed")),
                        Some(b'"') if b.get(i + 1) == Some(&b'"') => {
                            buffer.push('"');
                            i += 2;
                        }
                        Some(b'"') => {
                            i += 1;
                            break;
                        }
                        Some(c) => {
                            i += if *c == b'\r' && b.get(i + 1) == Some(&b'\n') { 2 } else { 1 };
                            line += 1;
                            buffer.push('\n');
                        }
                    }
                }
                while b.get(i).is_some_and(|c| matches!(c, b' ' | b'\t') && *c != delimiter) {
                    i += 1;
                }
                if b.get(i).is_some_and(|c| *c != delimiter && !matches!(c, b'\n' | b'\r')) {
                    return Err(LineError::at(line, "", "text stands behind a closing quote"));
                }
                table.cell(&buffer).map_err(|_| LineError::at(line, "", TOO_LARGE))?;
            } else {
                let from = i;
                while b.get(i).is_some_and(|c| *c != delimiter && !matches!(c, b'\n' | b'\r')) {
                    i += 1;
                }
                let cell = text.get(from..i).unwrap_or("");
                table.cell(cell).map_err(|_| LineError::at(line, "", TOO_LARGE))?;
            }
            if b.get(i) == Some(&delimiter) {
                i += 1;
                continue;
            }
            break;
        }
        table.end_row(begun);
        if b.get(i).is_some() {
            i += if b.get(i) == Some(&b'\r') && b.get(i + 1) == Some(&b'\n') { 2 } else { 1 };
            line += 1;
        }
    }
    Ok(())
}

/// Said of a sheet beyond the bounds.
pub(super) const TOO_LARGE: &str = "the sheet is too large: at most 160 MiB of text and 40 million cells";

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(u64, Vec<String>)> {
        let t = split(text, b',').unwrap();
        t.lines_from(0).map(|l| (l.number(), l.cells().map(str::to_owned).collect())).collect()
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let got = rows("a,b\r\n\r\n\"x\ny\", z \r1,2\n,,\n3,\"4 \"\"q\"\"\"");
        let want = [(1, ["a", "b"]), (3, ["x\ny", "z"]), (5, ["1", "2"]), (7, ["3", "4 \"q\""])];
        assert_eq!(got, want.map(|(n, c)| (n, c.map(str::to_owned).to_vec())));
    }

    #[test]
    fn quotes_in_the_wrong_place_are_errors() {
        let error = |text: &str| split(text, b',').unwrap_err().line;
        assert_eq!(error("a,b\n44,\"0.01\n33,0.02\n"), 2);
        assert_eq!(error("a,b\n44,\"UK\n33,\"France\n"), 3);
        assert_eq!(rows("12\" pipe,x")[0].1, ["12\" pipe", "x"]);
        assert_eq!(split(",,\n", b',').unwrap().len(), 0);
    }
}
