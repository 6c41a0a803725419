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
        if common.output == Form::Csv && !common.json {
            print(common, format_args!("{}", columns.join(",")));
        }
        out
    }

    /// A line over a table, on a terminal only: a pipe gets nothing but rows.
    pub(crate) fn heading(&self, text: &str) {
        if self.is_for_people() && std::io::stdout().is_terminal() {
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
        } else if self.common.output == Form::Csv {
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
        !self.common.json && self.common.output == Form::Table
    }
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
