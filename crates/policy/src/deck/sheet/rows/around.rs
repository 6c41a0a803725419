//! Lines above the header and below the rows.

use super::super::amounts::quoted;
use super::super::layout::is_ignored;
use super::super::prose;
use super::super::table::{Line, Table};
use super::{Import, NONE};

impl<'a> Import<'a> {
    /// Lines above the header.
    pub(super) fn preamble(&mut self, table: &'a Table) {
        for line in table.lines_from(0).take(self.layout.header) {
            self.prose(line, "above the header");
        }
    }

    /// Rows below the last one that has a price: where a blank row or a word of ours sets them apart. Gives where rows end.
    pub(super) fn footer(&mut self, table: &'a Table) -> usize {
        const BEGIN: &[&str] = &[
            "total",
            "end of",
            "end",
            "note",
            "notes",
            "disclaimer",
            "confidential",
            "copyright",
            "©",
            "page",
            "generated",
            "created",
            "this ",
            "all ",
            "rates ",
            "prices ",
            "please",
            "contact",
            "tel",
            "phone",
            "email",
            "e-mail",
            "www",
            "http",
            "*",
            "---",
            "===",
        ];
        let first = self.layout.header + 1;
        let mut end = table.len();
        let mut from = end;
        while from > first {
            let Some(line) = table.line(from - 1) else { break };
            let mut filled = line.cells().filter(|c| !c.is_empty());
            let (Some(text), second, None) = (filled.next(), filled.next(), filled.next()) else { break };
            let letters = |t: &str| t.chars().any(char::is_alphabetic) || t.starts_with(['*', '-', '=', '©']);
            if !letters(text)
                || second.is_some_and(|s| {
                    !text.ends_with(':') && !text.to_lowercase().starts_with("total") || s.len() > 200
                })
            {
                break;
            }
            from -= 1;
            let small = text.to_lowercase();
            let word = BEGIN.iter().any(|b| small.starts_with(b));
            if line.is_after_blank() || word {
                end = from;
            }
        }
        for line in table.lines_from(end) {
            self.prose(line, "below the rows");
        }
        end
    }

    fn prose(&mut self, line: Line<'a>, place: &str) {
        let text = line.cells().filter(|c| !c.is_empty()).collect::<Vec<_>>().join(" ");
        let shown = quoted(&text);
        if is_ignored(&text, self.options) {
            self.note(format!("line {}: {shown} stands {place} and is ignored", line.number()));
            return;
        }
        if text.starts_with("sep=") && text.len() <= 5 {
            return;
        }
        let (order, zone) = (self.options.sheet.date_order, self.options.sheet.zone.unwrap_or_default());
        match prose::read(&text, order, zone, &self.rules) {
            Ok(said) => {
                if self.from.is_some() && said.from.is_some() || self.until.is_some() && said.until.is_some()
                {
                    self.error(line.number(), NONE, "a second line says when prices count");
                }
                self.from = self.from.or(said.from);
                self.until = self.until.or(said.until);
                let dates = match (said.from, said.until) {
                    (None, None) => "was not read".to_owned(),
                    (Some(f), None) => format!("says that prices count from {f}"),
                    (None, Some(u)) => format!("says that prices count until {u}"),
                    (Some(f), Some(u)) => format!("says that prices count from {f} until {u}"),
                };
                self.note(format!("line {}: {shown} stands {place} and {dates}", line.number()));
            }
            Err(why) => {
                let message = format!(
                    "the line {place} is not understood: {why}; ignore it by its text if it does not count: {shown}"
                );
                self.error(line.number(), NONE, &message);
            }
        }
    }
}
