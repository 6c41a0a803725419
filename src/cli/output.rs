//! What `--json`, `--output csv` and `-q` mean, for every verb alike.
//!
//! A verb gives each thing it has to say in three forms at once: a JSON value, the fields of a line, a text for people. The flags
//! choose one of them, or none. Absent on purpose: a verb that prints by itself.

use std::fmt;
use std::io::{IsTerminal, Write};

use serde_json::Value;

use super::{Common, Form};

/// A list, or one thing, in the form that the flags ask for.
pub(crate) struct Output<'a> {
    common: &'a Common,
    columns: &'a [&'a str],
}

impl<'a> Output<'a> {
    /// `columns` name the fields of a line of CSV. The line of names is printed at once.
    pub(crate) fn new(common: &'a Common, columns: &'a [&'a str]) -> Self {
        let out = Self { common, columns };
        if common.form() == Form::Csv && !common.json {
            print(common, format_args!("{}", columns.join(",")));
        }
        out
    }

    /// A line over a table, on a terminal, or where a table was asked for by name: any other pipe gets nothing but rows.
    pub(crate) fn heading(&self, text: &str) {
        let wanted = self.common.output == Some(Form::Table);
        if self.is_for_people() && (wanted || std::io::stdout().is_terminal()) {
            print(self.common, format_args!("{text}"));
        }
    }

    /// One thing. `fields` has a text for each column; `text` is for people and may have several lines.
    pub(crate) fn item(
        &self,
        json: impl FnOnce() -> Value,
        fields: impl FnOnce() -> Vec<String>,
        text: impl FnOnce() -> String,
    ) {
        if self.common.json {
            print(self.common, format_args!("{}", json()));
        } else if self.common.form() == Form::Csv {
            let fields = fields();
            debug_assert_eq!(fields.len(), self.columns.len());
            let line: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
            print(self.common, format_args!("{}", line.join(",")));
        } else {
            let text = text();
            if !text.is_empty() {
                print(self.common, format_args!("{text}"));
            }
        }
    }

    /// A text is wanted: neither JSON nor CSV.
    pub(crate) fn is_for_people(&self) -> bool {
        !self.common.json && self.common.form() == Form::Table
    }
}

/// Rows from which the widths of columns are taken; those of later ones are at least as wide.
const TOGETHER: usize = 200;

/// A list that people see in columns, under their names.
pub(crate) struct Table<'a> {
    out: Output<'a>,
    head: Vec<String>,
    widths: Vec<usize>,
    waiting: Vec<Vec<String>>,
    begun: bool,
}

impl<'a> Table<'a> {
    /// `columns` are those of CSV, `head` those for people.
    pub(crate) fn new<H: Into<String>>(
        common: &'a Common,
        columns: &'a [&'a str],
        head: impl IntoIterator<Item = H>,
    ) -> Self {
        let head: Vec<String> = head.into_iter().map(Into::into).collect();
        let widths = head.iter().map(|name| name.chars().count()).collect();
        Self { out: Output::new(common, columns), head, widths, waiting: Vec::new(), begun: false }
    }

    /// One row; `cells` has a text for each name of the head.
    pub(crate) fn item(
        &mut self,
        json: impl FnOnce() -> Value,
        fields: impl FnOnce() -> Vec<String>,
        cells: impl FnOnce() -> Vec<String>,
    ) {
        if !self.out.is_for_people() {
            return self.out.item(json, fields, String::new);
        }
        let cells = cells();
        debug_assert_eq!(cells.len(), self.head.len());
        self.waiting.push(cells);
        if self.waiting.len() >= TOGETHER {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let rows = std::mem::take(&mut self.waiting);
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        if !std::mem::replace(&mut self.begun, true) && !rows.is_empty() {
            self.out.heading(&aligned(&self.head, &self.widths));
        }
        for row in &rows {
            print(self.out.common, format_args!("{}", aligned(row, &self.widths)));
        }
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Cells at the left of their columns; where nothing is, a dash, so that a line has as many words as its head.
fn aligned(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let cell = if cell.is_empty() { "-" } else { cell.as_str() };
        line.push_str(&format!("{cell:<width$}  "));
    }
    line.trim_end().to_owned()
}

/// Prints a line unless `-q` was said.
fn print(common: &Common, line: fmt::Arguments<'_>) {
    if !common.quiet {
        // A reader that went away ends the command by SIGPIPE.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

/// RFC 4180: quotes where a separator, a quote or a line end is inside. A number as dialled is a peer's text: one that a
/// spreadsheet would take for a formula gets an apostrophe. A negative amount is a number.
fn quoted(field: &str) -> String {
    let number = field
        .strip_prefix(['+', '-'])
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    let formula = !number && field.starts_with(['=', '@', '-', '+', '\t']);
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    if field.contains([',', '"', '\r', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_under_their_names_and_an_empty_one_is_a_dash() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let common = Common { quiet: true, ..Common::default() };
        let mut table = Table::new(&common, &[], ["id", "name", "reason"]);
        for cells in [row(["trk_1", "Zürich", "a b"]), row(["trk_22", "", "x"])] {
            table.item(Value::default, Vec::new, || cells);
        }
        let shown = |table: &Table<'_>| {
            let lines = std::iter::once(&table.head).chain(&table.waiting);
            lines.map(|cells| aligned(cells, &table.widths)).collect::<Vec<_>>()
        };
        let rows = table.waiting.clone();
        table.flush();
        table.waiting = rows;
        assert_eq!(shown(&table), ["id      name    reason", "trk_1   Zürich  a b", "trk_22  -       x"]);
        table.waiting.clear();
    }

    #[test]
    fn csv_is_quoted_and_holds_no_formula() {
        for (field, written) in [
            ("a,b", "\"a,b\""),
            ("=HYPERLINK(\"x\",1)", "\"'=HYPERLINK(\"\"x\"\",1)\""),
            ("@sum", "'@sum"),
            ("+12025550100", "+12025550100"),
            ("-0.0042", "-0.0042"),
            ("-1+1", "'-1+1"),
            ("+", "'+"),
            ("two\nlines", "\"two\nlines\""),
            ("", ""),
        ] {
            assert_eq!(quoted(field), written);
        }
    }
}
