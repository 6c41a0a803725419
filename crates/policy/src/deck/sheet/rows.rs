//! The rows of a sheet, one after another.

mod around;

use warp_model::{Nanos, Wall};

use super::amounts::{self, AmountRules, Evidence, Price, quoted};
use super::codes::{self, CodeCells, Within};
use super::currency;
use super::dates::{date, end};
use super::layout::{self, Layout, Use};
use super::life::{Dates, Life};
use super::options::{DecimalMark, Field, ImportOptions, PriceUnit};
use super::remarks;
use super::table::{Line, Table};
use super::words::{self, Said};
use super::{DeckKind, LineError, MAX_ERRORS, Recognised};
use crate::code::Code;
use crate::deck::{DeckRows, Row, Terms, start};

/// Reads the rows of a table. `recognised` says what is known of the file; the rest is filled in.
///
/// Out: the rows that were understood, and all errors, at most [`MAX_ERRORS`], in the order of lines. Errors are among others
/// rows with more or fewer cells than the header, words and columns that are not understood, prices of 0 without the option,
/// one code twice with one effective date.
pub fn check_table(
    table: &Table,
    options: &ImportOptions,
    recognised: Recognised,
) -> (DeckRows, Vec<LineError>) {
    let mut rules = AmountRules {
        currency: options.currency,
        stated: options.sheet.currency.is_some(),
        mark: options.sheet.decimal,
        cents: options.sheet.price_unit == Some(PriceUnit::CentsPerMinute),
        cap: options.cap(),
    };
    let empty = DeckRows { recognised, ..DeckRows::default() };
    if let Some(stated) = options.sheet.currency.filter(|c| *c != options.currency) {
        let message = format!("the upload says {stated} and the deck is in {}", options.currency);
        return (empty, vec![LineError::at(0, "", &message)]);
    }
    let (layout, wrong) = layout::find(table, options, &rules);
    let Some(layout) = layout else { return (empty, wrong) };
    let mut import = Import {
        options,
        fallback: options.usual_terms(),
        slots: Slots::of(&layout),
        errors: Vec::new(),
        seen: Vec::new(),
        codes: Vec::new(),
        before: Vec::new(),
        dates: [("", None); 4],
        days: [false; 4],
        free: 0,
        within: Within::default(),
        from: None,
        until: None,
        out: empty,
        layout: &layout,
        rules,
    };
    if !wrong.is_empty() {
        // What the rows mean is not known; the lines above them are told of in the same answer as the header.
        import.errors = wrong;
        import.preamble(table);
        let mut errors = import.errors;
        errors.sort_by_key(|e| e.line);
        return (DeckRows { recognised: import.out.recognised, ..DeckRows::default() }, errors);
    }
    let end = import.footer(table);
    import.preamble(table);
    import.decimal_mark(table, end, &mut rules);
    import.rules = rules;
    import.say();
    import.merged_cells(table, end);
    import.within = import.within_codes(table, end);
    import.read(table, end);
    import.say_of_rows();
    let Import { mut errors, out, .. } = import;
    if errors.is_empty() && out.rows.is_empty() && out.ended.is_empty() {
        errors.push(LineError::at(0, "", "no rows"));
    }
    errors.sort_by_key(|e| e.line);
    if errors.len() > MAX_ERRORS {
        errors.truncate(MAX_ERRORS - 1);
        let line = errors.last().map_or(0, |e| e.line);
        errors.push(LineError::at(line, "", "more than 1,000 errors; stopped here"));
    }
    (out, errors)
}

/// Positions of the columns; `NONE` where there is none.
#[derive(Clone, Copy, Debug)]
struct Slots {
    code: usize,
    country: usize,
    npa: usize,
    nxx: usize,
    block: usize,
    rate: usize,
    prices: [usize; 3],
    /// From, until, removed from, not carried from.
    dates: [usize; 4],
    initial: usize,
    next: usize,
    both: usize,
    fee: usize,
    status: usize,
    blocked: usize,
    offered: usize,
    currency: usize,
    unit: usize,
}

const NONE: usize = usize::MAX;

/// The dates of a row, in the order of [`Slots::dates`].
const DATES: [Field; 4] = [Field::Effective, Field::Expires, Field::RemovedFrom, Field::BlockedFrom];

impl Slots {
    fn of(layout: &Layout) -> Slots {
        let at = |f: Field| layout.at(f).unwrap_or(NONE);
        let code = [Field::FullCode, Field::AreaCode, Field::Code].into_iter().find_map(|f| layout.at(f));
        Slots {
            code: code.unwrap_or(NONE),
            country: at(Field::CountryCode),
            npa: at(Field::Npa),
            nxx: at(Field::Nxx),
            block: at(Field::Block),
            rate: at(Field::Rate),
            prices: [at(Field::Interstate), at(Field::Intrastate), at(Field::Indeterminate)],
            dates: DATES.map(at),
            initial: at(Field::IncrementInitial),
            next: at(Field::IncrementNext),
            both: at(Field::Increments),
            fee: at(Field::SetupFee),
            status: at(Field::Status),
            blocked: at(Field::Blocked),
            offered: at(Field::Offered),
            currency: at(Field::Currency),
            unit: at(Field::Unit),
        }
    }
}

struct Import<'a> {
    options: &'a ImportOptions,
    layout: &'a Layout,
    rules: AmountRules,
    fallback: Terms,
    slots: Slots,
    errors: Vec<LineError>,
    /// Code, date and line of each row, to find those that are there twice.
    seen: Vec<(Code, i64, u32)>,
    codes: Vec<Code>,
    /// Prices that count until the row's own removal, with their lines: where no other row of the code says one.
    before: Vec<(Row, u32)>,
    /// The last date of each column, with its text: most rows repeat it.
    dates: [(&'a str, Option<Wall>); 4],
    /// A date without a time was read in this column.
    days: [bool; 4],
    /// Rows with a price of 0.
    free: usize,
    /// Codes of the USA in this column may have these marks within.
    within: Within,
    /// What lines above the header say of all rows.
    from: Option<Wall>,
    until: Option<Wall>,
    out: DeckRows,
}

/// Cells that a merged cell above may fill.
#[derive(Clone, Copy, Default)]
struct Above<'a> {
    cells: [&'a str; 9],
}

impl<'a> Import<'a> {
    fn error(&mut self, line: u64, slot: usize, message: &str) {
        let column = self.layout.columns.get(slot).map_or("", |c| c.name.as_str());
        self.errors.push(LineError::at(line, column, message));
    }

    fn note(&mut self, text: String) {
        if self.out.recognised.notes.len() < 50 {
            self.out.recognised.notes.push(text);
        }
    }

    fn rows_of(&self, table: &'a Table, end: usize) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let first = self.layout.header + 1;
        table.lines_from(first).take(end.saturating_sub(first))
    }

    /// Point or comma: as the upload says, else as the prices of the whole sheet tell.
    fn decimal_mark(&mut self, table: &'a Table, end: usize, rules: &mut AmountRules) {
        if rules.mark.is_some() {
            return;
        }
        let s = self.slots;
        let columns: Vec<usize> =
            [s.rate, s.fee].into_iter().chain(s.prices).filter(|i| *i != NONE).collect();
        let mut seen = Evidence::default();
        for line in self.rows_of(table, end).filter(|l| l.len() == self.layout.columns.len()) {
            for i in &columns {
                seen.see(line.cell(*i), line.number());
            }
            if seen.point.is_some() && seen.comma.is_some() {
                break;
            }
        }
        match (seen.point, seen.comma) {
            (Some(p), Some(c)) => {
                let slot = columns.first().copied().unwrap_or(NONE);
                let message = format!(
                    "decimal points (line {p}) and decimal commas (line {c}) in one sheet; say decimal: point or comma"
                );
                self.error(p.max(c), slot, &message);
                rules.mark = Some(DecimalMark::Point);
            }
            (None, Some(_)) => rules.mark = Some(DecimalMark::Comma),
            (Some(_), None) => rules.mark = Some(DecimalMark::Point),
            (None, None) => {}
        }
    }

    /// What was recognised.
    fn say(&mut self) {
        let comma = self.rules.mark == Some(DecimalMark::Comma);
        let r = &mut self.out.recognised;
        r.decimal = if comma { "comma" } else { "point" }.to_owned();
        r.zone = self.options.sheet.zone.unwrap_or_default().to_string();
        r.currency = self.options.currency.to_string();
        let named = self.layout.at(Field::Rate).and_then(|i| self.layout.columns.get(i)).and_then(|c| c.unit);
        r.price_unit = match named.or(self.options.sheet.price_unit).unwrap_or_default() {
            PriceUnit::PerMinute => "per_minute",
            PriceUnit::CentsPerMinute => "cents_per_minute",
            PriceUnit::PerSecond => "per_second",
        }
        .to_owned();
        r.usual_increments = format!("{}/{}", self.fallback.initial_s, self.fallback.next_s);
        r.columns = self
            .layout
            .columns
            .iter()
            .map(|c| {
                let used = match c.used {
                    Use::As(Field::Info | Field::Remark) => "not read",
                    Use::As(f) => f.as_str(),
                    Use::Ignored => "ignored",
                    Use::Empty | Use::Unknown => "empty",
                };
                (c.name.clone(), used.to_owned())
            })
            .collect();
        let passed_over =
            |c: &&layout::Column| c.used == Use::As(Field::Info) && layout::is_price_until_then(&c.name);
        for c in self.layout.columns.iter().filter(passed_over) {
            r.notes.push(format!(
                "column \"{}\" is not read: until the new price begins, the deck's own price counts, and a code that is new has none",
                c.name
            ));
        }
        for c in self.layout.columns.iter().filter(|c| c.used == Use::Ignored) {
            r.notes.push(format!("column \"{}\" is ignored, as the upload says", c.name));
        }
    }

    /// What a person should know of the rows that were read.
    fn say_of_rows(&mut self) {
        let zone = self.options.sheet.zone.unwrap_or_default();
        for (i, slot) in self.slots.dates.into_iter().enumerate() {
            let (Some(c), true) =
                (self.layout.columns.get(slot), self.dates.get(i).is_some_and(|d| d.1.is_some()))
            else {
                continue;
            };
            let means = match DATES.get(i) {
                Some(Field::Expires) if self.days.get(i) == Some(&true) => {
                    format!("a date without a time is the last day on which a price counts, in zone {zone}")
                }
                Some(Field::RemovedFrom) => {
                    "from its date on the row is gone, and a shorter code prices its numbers".to_owned()
                }
                Some(Field::BlockedFrom) => {
                    "from its date on the code is not carried, and no shorter code prices its numbers"
                        .to_owned()
                }
                _ => continue,
            };
            self.note(format!("column \"{}\": {means}", c.name));
        }
        if self.free > 0 {
            self.note(format!("rows with a price of 0: {}; they are offers, as free_rows says", self.free));
        }
    }

    /// What stands within the codes of this column: commas as its other codes tell; in a US code hyphens as the column's name says, else
    /// as those of its codes say that can be no range.
    fn within_codes(&self, table: &'a Table, end: usize) -> Within {
        let slot = self.slots.code;
        let Some(c) = self.layout.columns.get(slot) else { return Within::default() };
        let codes = || self.rows_of(table, end).map(|l| l.cell(slot));
        let thousands = codes().any(codes::may_be_one_number) && !codes().any(codes::tells_of_lists);
        if self.options.kind != DeckKind::Us {
            return Within { thousands, ..Within::default() };
        }
        if words::plain(&c.name).contains("npanxx") {
            return Within { thousands, hyphens: true, blanks: true };
        }
        let hyphens = codes().filter(|t| t.contains('-')).any(codes::is_no_range);
        Within { thousands, hyphens, blanks: false }
    }

    /// Merged cells of a workbook in columns that count: empty ones would mean something else.
    fn merged_cells(&mut self, table: &'a Table, end: usize) {
        let lines = table.line(self.layout.header).map_or(0, |l| l.number())
            ..table.line(end).map_or(u64::MAX, |l| l.number());
        let mut told = Vec::new();
        for (line, column) in table.merged_cells() {
            let used = self.layout.columns.get(*column).map(|c| c.used);
            let counts = matches!(used, Some(Use::As(f)) if !matches!(f, Field::Info | Field::Remark));
            if counts && lines.contains(line) && *line > lines.start && !told.contains(column) {
                told.push(*column);
                self.error(
                    *line,
                    *column,
                    "the cell is merged with the one above; say repeat_cells if it means the same",
                );
            }
        }
    }

    fn read(&mut self, table: &'a Table, end: usize) {
        let header = table.line(self.layout.header);
        self.out.recognised.header_line = header.map_or(0, |h| h.number());
        // Remarks, and names of places and networks.
        let unread: Vec<(usize, bool)> = self
            .layout
            .columns
            .iter()
            .enumerate()
            .filter_map(|(i, c)| match c.used {
                Use::As(Field::Remark) => Some((i, true)),
                Use::As(Field::Info) => Some((i, false)),
                _ => None,
            })
            .collect();
        let mut above = Above::default();
        for line in self.rows_of(table, end) {
            if line.len() != self.layout.columns.len() {
                self.out.recognised.rows_read += 1;
                self.wrong_length(line);
            } else if header.is_some_and(|h| {
                h.cell(self.slots.code.min(h.len() - 1)) == line.cell(self.slots.code.min(h.len() - 1))
                    && h.cells().eq(line.cells())
            }) {
                self.note(format!("line {} repeats the header", line.number()));
            } else {
                self.out.recognised.rows_read += 1;
                self.read_row(line, &unread, &mut above);
            }
            if self.errors.len() > MAX_ERRORS {
                return;
            }
            if self.out.rows.len() + self.before.len() > self.options.max_rows {
                self.error(line.number(), NONE, "more rows than a deck may have; stopped here");
                return;
            }
        }
        self.twice();
        self.settle_before();
    }

    fn wrong_length(&mut self, line: Line<'a>) {
        let (want, got) = (self.layout.columns.len(), line.len());
        let column = match self.layout.columns.get(got) {
            Some(c) if !c.name.is_empty() => c.name.clone(),
            _ => format!("column {}", got.min(want) + 1),
        };
        let hint =
            if got > want { "; is a comma or a separator part of a value, without quotes?" } else { "" };
        let message = format!("the row has {got} cells and the header {want}{hint}");
        self.errors.push(LineError::at(line.number(), &column, &message));
    }

    /// One code twice with one date.
    fn twice(&mut self) {
        self.seen.sort_unstable();
        let doubled: Vec<_> = self
            .seen
            .windows(2)
            .filter_map(|w| match w {
                [(a, from, first), (b, other, second)] if (a, from) == (b, other) => {
                    Some((*a, *first, *second))
                }
                _ => None,
            })
            .take(MAX_ERRORS + 1)
            .collect();
        for (code, first, second) in doubled {
            let message = format!("code {code} with this effective date is also on line {first}");
            self.error(u64::from(second), self.slots.code, &message);
        }
    }

    /// Prices until a removal, where no other row of the code says one for that time.
    fn settle_before(&mut self) {
        let mut before = std::mem::take(&mut self.before);
        before.sort_unstable_by_key(|(row, line)| (row.code, *line));
        let mut last: Option<(Code, u32)> = None;
        for (row, line) in before {
            if let Some((code, first)) = last
                && code == row.code
            {
                let message = format!("the price of code {code} until its removal is also on line {first}");
                self.error(u64::from(line), self.slots.code, &message);
            }
            last = Some((row.code, line));
            let at = self.seen.partition_point(|(code, ..)| *code < row.code);
            let other = self.seen.get(at).filter(|(code, ..)| *code == row.code);
            if other.is_none_or(|(_, from, _)| row.until.is_some_and(|until| *from >= until.0)) {
                self.out.rows.push(row);
            }
        }
    }

    /// What is not read may still say that the code is not carried, or that its price is another one.
    fn unread(&mut self, line: Line<'a>, unread: &[(usize, bool)]) {
        for (i, remark) in unread {
            let text = line.cell(*i);
            let name =
                || remarks::name_says_gone(text).then_some("the name says that the code is not carried");
            let said = if *remark { remarks::remark_says(text, &self.rules) } else { name() };
            if let Some(said) = said {
                let hint = if said.ends_with("carried") {
                    "map the column to status, or ignore it"
                } else {
                    "ignore the column"
                };
                let message = format!("{said}: {}; {hint} by name", quoted(text));
                self.error(line.number(), *i, &message);
            }
        }
    }

    fn read_row(&mut self, line: Line<'a>, unread: &[(usize, bool)], above: &mut Above<'a>) {
        let s = self.slots;
        let n = line.number();
        let before = self.errors.len();
        let [from, until, removed, blocked] = s.dates;
        let slots = [s.country, s.initial, s.next, s.both, s.currency, from, until, removed, blocked];
        let mut filled = slots.map(|i| line.cell(i));
        if self.options.sheet.repeat_cells == Some(true) {
            for (cell, last) in filled.iter_mut().zip(&mut above.cells) {
                if cell.is_empty() {
                    *cell = last;
                }
                *last = cell;
            }
        }
        let [country, initial, next, both, currency, dates @ ..] = filled;
        let said = self.said(line);
        let dates = self.dates_of(n, dates);
        self.out.recognised.rows_without_date += usize::from(dates.from.or(dates.sheet_from).is_none());
        self.expand(line, country);
        let Some(mut said) = said else { return };
        let mut rates = None;
        if said == Said::Offered {
            match self.rates(line) {
                Some(Some(r)) => rates = Some(r),
                Some(None) => said = Said::Blocked,
                None => {}
            }
            self.names(n, currency, line.cell(s.unit));
        }
        // Where the row says it itself, nothing is passed over.
        if said == Said::Offered {
            self.unread(line, unread);
        }
        let life = match dates.under(said) {
            Ok(life) => life,
            Err((field, why)) => {
                let at = DATES.iter().position(|f| *f == field).and_then(|i| s.dates.get(i)).copied();
                self.error(n, at.unwrap_or(NONE), why);
                Life::default()
            }
        };
        // The price of a row that is taken out counts until then, when it says one.
        if said != Said::Offered && life.price.is_some() && self.says_a_price(line) {
            rates = self.rates(line).flatten();
            self.names(n, currency, line.cell(s.unit));
        }
        let offered = said == Said::Offered;
        let terms = if offered || rates.is_some() { self.terms(line, initial, next, both) } else { None };
        let number = u32::try_from(n).unwrap_or(u32::MAX);
        let fine = self.errors.len() == before;
        for i in 0..self.codes.len() {
            let Some(code) = self.codes.get(i).copied() else { break };
            if let Some((from, until)) = life.price {
                if offered {
                    self.seen.push((code, start(from), number));
                }
                if let (Some(rates), Some(terms), true) = (rates, terms, fine) {
                    let row = Row { code, rates, terms, from, until, blocked: false };
                    match offered {
                        true => self.out.rows.push(row),
                        false => self.before.push((row, number)),
                    }
                }
            }
            if let Some(from) = life.blocked {
                let (rates, terms) = ([Nanos::ZERO; 3], Terms::of(1, 1));
                self.seen.push((code, start(from), number));
                let row = Row { code, rates, terms, from, until: None, blocked: true };
                self.out.rows.extend(fine.then_some(row));
            }
            if let Some(when) = life.removed.filter(|_| fine) {
                self.out.ended.push((code, when));
            }
        }
        self.free += usize::from(fine && rates.is_some_and(|r| r.contains(&Nanos::ZERO)));
    }

    /// The dates of a row.
    fn dates_of(&mut self, line: u64, cells: [&'a str; 4]) -> Dates {
        let mut at = [None; 4];
        for (i, (at, text)) in at.iter_mut().zip(cells).enumerate() {
            if !text.is_empty() {
                *at = self.date(line, i, text);
            }
        }
        let [from, until, removed, blocked] = at;
        Dates { from, until, removed, blocked, sheet_from: self.from, sheet_until: self.until }
    }

    /// Is there a price in the row, other than 0 and a dash?
    fn says_a_price(&self, line: Line<'a>) -> bool {
        let s = self.slots;
        [s.rate].into_iter().chain(s.prices).any(|i| line.cell(i).bytes().any(|b| matches!(b, b'1'..=b'9')))
    }

    /// Offered, removed or not carried, by all columns that can say it; `None`: an error was noted.
    fn said(&mut self, line: Line<'a>) -> Option<Said> {
        let (s, n) = (self.slots, line.number());
        let mut out = Said::Offered;
        let status = line.cell(s.status);
        if !status.is_empty() {
            match words::said(status) {
                Some(said) => out = said,
                None => {
                    let message = format!("a status that is not understood: {}", quoted(status));
                    self.error(n, s.status, &message);
                    return None;
                }
            }
        }
        for (slot, carried) in [(s.blocked, false), (s.offered, true)] {
            let text = line.cell(slot);
            if text.is_empty() {
                continue;
            }
            let yes = match (words::yes(text), words::said(text)) {
                (Some(yes), _) => yes,
                (None, Some(said)) => (said == Said::Offered) == carried,
                (None, None) => {
                    let message = format!("neither yes nor no: {}", quoted(text));
                    self.error(n, slot, &message);
                    return None;
                }
            };
            if yes != carried {
                out = Said::Blocked;
            }
        }
        Some(out)
    }

    /// Prices of the three jurisdictions; `Some(None)`: the price says that the code is not carried.
    fn rates(&mut self, line: Line<'a>) -> Option<Option<[Nanos; 3]>> {
        let (s, n) = (self.slots, line.number());
        let [inter, intra, indeterminate] = s.prices;
        let flat = line.cell(s.rate);
        let three = !line.cell(inter).is_empty() || !line.cell(intra).is_empty();
        if s.rate != NONE && three && !flat.is_empty() {
            self.error(n, s.rate, "one price and interstate or intrastate prices in one row");
            return None;
        }
        let mut read = |slot: usize| self.price(n, slot, line.cell(slot), true);
        let found = if s.rate != NONE && !three {
            let rate = read(s.rate);
            let third = if line.cell(indeterminate).is_empty() { rate } else { read(indeterminate) };
            [rate?, rate?, third?]
        } else {
            let (a, b) = (read(inter), read(intra));
            let third = match line.cell(indeterminate) {
                "" => None,
                _ => Some(read(indeterminate)),
            };
            let (a, b) = (a?, b?);
            let third = match third {
                Some(t) => t?,
                // No column of its own: the dearer, never the cheaper (§2 rule 4).
                None => match (a, b) {
                    (Price::Of(x), Price::Of(y)) => Price::Of(x.max(y)),
                    _ => Price::Blocked,
                },
            };
            [a, b, third]
        };
        match found {
            [Price::Of(a), Price::Of(b), Price::Of(c)] => Some(Some([a, b, c])),
            [Price::Blocked, Price::Blocked, Price::Blocked] => Some(None),
            _ => {
                self.error(n, inter, "carried for some jurisdictions only, which is not supported");
                None
            }
        }
    }

    fn price(&mut self, line: u64, slot: usize, text: &str, per_minute: bool) -> Option<Price> {
        let column = self.layout.columns.get(slot);
        let unit = column.and_then(|c| c.unit).or(self.options.sheet.price_unit).unwrap_or_default();
        let unit = match unit {
            PriceUnit::PerSecond if !per_minute => PriceUnit::PerMinute,
            u => u,
        };
        match amounts::price(text, unit, &self.rules) {
            Ok(Price::Of(n))
                if n == Nanos::ZERO && per_minute && self.options.sheet.free_rows != Some(true) =>
            {
                self.error(
                    line,
                    slot,
                    "a price of 0: is it free, or not offered? say free_rows if it is free",
                );
                None
            }
            Ok(p) => Some(p),
            Err(message) => {
                self.error(line, slot, &message);
                None
            }
        }
    }

    /// The row's own words on currency and unit.
    fn names(&mut self, line: u64, named: &str, unit: &str) {
        if !named.is_empty()
            && let Err(e) = currency::check(named, &self.rules)
        {
            self.error(line, self.slots.currency, &e);
        }
        let minutes =
            ["min", "minute", "minutes", "mins", "permin", "perminute", "1min", "1minute", "60sec", "60s"];
        if !unit.is_empty() && !minutes.contains(&words::plain(unit).as_str()) {
            let message = format!("prices for another unit than a minute: {}", quoted(unit));
            self.error(line, self.slots.unit, &message);
        }
    }

    fn terms(&mut self, line: Line<'a>, initial: &str, next: &str, both: &str) -> Option<Terms> {
        let (s, n) = (self.slots, line.number());
        let before = self.errors.len();
        let mut terms = self.fallback;
        let (mut a, mut b) = (None, None);
        for (text, slot, place) in [(initial, s.initial, &mut a), (next, s.next, &mut b)] {
            if text.is_empty() {
                continue;
            }
            match amounts::seconds(text).filter(|v| (1..=3_600).contains(v)) {
                Some(v) => *place = Some(v),
                None => {
                    let message = format!("increments are 1 to 3,600 seconds: {}", quoted(text));
                    self.error(n, slot, &message);
                }
            }
        }
        if !both.is_empty() {
            match amounts::increments(both) {
                // One number beside a first increment is the further one.
                Ok((x, y)) if a.is_some() && b.is_none() && amounts::seconds(both).is_some() && x == y => {
                    b = Some(y)
                }
                Ok((x, y)) if a.is_none_or(|a| a == x) && b.is_none_or(|b| b == y) => {
                    (a, b) = (Some(x), Some(y))
                }
                Ok(_) => self.error(n, s.both, "the columns of increments contradict each other"),
                Err(message) => self.error(n, s.both, &message),
            }
        }
        // One that says something which is not understood is no row that says nothing.
        let silent = [initial, next, both].iter().all(|text| text.is_empty());
        self.out.recognised.rows_without_increments += usize::from(silent);
        if a.is_some() != b.is_some() && self.options.sheet.terms.is_none() && self.errors.len() == before {
            let (slot, what) =
                if a.is_some() { (s.next, "further increments") } else { (s.initial, "first increment") };
            let message = format!("no {what} beside the other; give them as terms, for example 60/60");
            self.error(n, if slot == NONE { s.both } else { slot }, &message);
        }
        terms.initial_s = a.unwrap_or(terms.initial_s);
        terms.next_s = b.unwrap_or(terms.next_s);
        let fee = line.cell(s.fee);
        if !fee.is_empty() {
            match self.price(n, s.fee, fee, false) {
                Some(Price::Of(n)) => terms.setup_fee = n,
                Some(Price::Blocked) => self.error(n, s.fee, "a fee that is no amount"),
                None => {}
            }
        }
        (self.errors.len() == before).then_some(terms)
    }

    fn date(&mut self, line: u64, which: usize, text: &'a str) -> Option<Wall> {
        if let Some((last, value)) = self.dates.get(which)
            && *last == text
            && value.is_some()
        {
            return *value;
        }
        let always: &[&str] = match which {
            0 => &["immediate", "immediately", "now"],
            _ => &["never", "none", "open", "openended", "unlimited", "untilfurthernotice", "ufn", "tfn"],
        };
        if text.bytes().any(|b| b.is_ascii_alphabetic()) && always.contains(&words::plain(text).as_str()) {
            return None;
        }
        let last = DATES.get(which) == Some(&Field::Expires);
        let read = if last { end } else { date };
        match read(text, self.options.sheet.date_order, self.options.sheet.zone.unwrap_or_default()) {
            Ok(at) => {
                if let Some(last) = self.dates.get_mut(which) {
                    *last = (text, Some(at));
                }
                if let Some(day) = self.days.get_mut(which) {
                    *day |= !text.contains(':');
                }
                Some(at)
            }
            Err(e) => {
                let slot = self.slots.dates.get(which).copied().unwrap_or(NONE);
                let message = format!("{e}: {}", quoted(text));
                self.error(line, slot, &message);
                None
            }
        }
    }

    /// The row's codes, into `self.codes`.
    fn expand(&mut self, line: Line<'a>, country: &'a str) {
        let s = self.slots;
        let cells = CodeCells {
            code: line.cell(s.code),
            country,
            npa: line.cell(s.npa),
            nxx: line.cell(s.nxx),
            block: line.cell(s.block),
        };
        self.codes.clear();
        let made = match self.options.kind {
            _ if self.within.thousands && codes::may_be_one_number(cells.code) => {
                Err("a list of codes, or one with separators of thousands? write it without commas, or a blank behind each".to_owned())
            }
            DeckKind::Us => codes::usa(cells, self.within, &mut self.codes),
            DeckKind::Az => codes::world(cells, self.layout.apart, &mut self.codes),
        };
        if let Err(message) = made {
            let slot = [s.code, s.npa, s.country].into_iter().find(|i| *i != NONE).unwrap_or(NONE);
            let message = format!("{message}: {}", quoted(line.cell(slot)));
            self.codes.clear();
            self.error(line.number(), slot, &message);
        }
        if self.codes.len() > 1 {
            let mut sorted = self.codes.clone();
            sorted.sort_unstable();
            let twice = sorted.windows(2).find_map(|w| match w {
                [a, b] if a == b => Some(*a),
                _ => None,
            });
            if let Some(code) = twice {
                self.codes.clear();
                self.error(line.number(), s.code, &format!("code {code} is on this line twice"));
            }
        }
    }
}
