//! Where a sheet's header is, and what its columns hold. Every column is known, mapped, ignored by name, or empty.

use super::amounts::AmountRules;
use super::codes::begins_with_country;
use super::currency;
use super::options::{Field, ImportOptions, PriceUnit};
use super::table::{Line, Table};
use super::words::{heading, plain};
use super::{DeckKind, LineError, MAX_COLUMNS};

/// The header stands in one of so many first rows.
pub(super) const HEADER_WITHIN: usize = 60;

/// What is done with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Read as this.
    As(Field),
    /// The upload says not to read it.
    Ignored,
    /// No row has anything in it.
    Empty,
    /// Its name is not known.
    Unknown,
}

/// A column of the sheet and what it means.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) used: Use,
    /// The upload's mapping says so.
    mapped: bool,
    pub(super) currency: Option<String>,
    pub(super) unit: Option<PriceUnit>,
    pub(super) utc: bool,
}

/// The header and what it means.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Row of the table.
    pub(super) header: usize,
    pub(super) columns: Vec<Column>,
    /// Codes follow the country code of another column.
    pub(super) apart: bool,
}

impl Layout {
    /// The column of a field.
    pub(super) fn at(&self, field: Field) -> Option<usize> {
        self.columns.iter().position(|c| c.used == Use::As(field))
    }

    /// Its name; empty when there is none.
    pub(super) fn name(&self, field: Field) -> String {
        self.at(field).and_then(|i| self.columns.get(i)).map(|c| c.name.clone()).unwrap_or_default()
    }

    fn has(&self, field: Field) -> bool {
        self.at(field).is_some()
    }
}

/// How well rows look like a header: whether code and price are there, and how many names are known.
pub(super) fn likeness(table: &Table, options: &ImportOptions) -> Option<(usize, bool, usize)> {
    let mut best = None;
    for (i, line) in table.lines_from(0).take(HEADER_WITHIN).enumerate() {
        if line.len() > MAX_COLUMNS {
            continue;
        }
        let columns = columns_of(line, options);
        let has = |f: Field| columns.iter().any(|c| c.used == Use::As(f));
        let code = has(Field::Code)
            || has(Field::FullCode)
            || has(Field::AreaCode)
            || has(Field::Npa)
            || has(Field::CountryCode);
        let price = has(Field::Rate) || has(Field::Interstate) && has(Field::Intrastate);
        let known = columns.iter().filter(|c| c.used != Use::Unknown).count();
        let found = (i, code && price, known);
        if best.is_none_or(|(_, b, k)| (found.1, found.2) > (b, k)) {
            best = Some(found);
        }
        if found.1 {
            return Some(found);
        }
    }
    best
}

fn columns_of(line: Line<'_>, options: &ImportOptions) -> Vec<Column> {
    let named = |name: &str| {
        let text = plain(name);
        options.sheet.mapping.iter().find(|(k, _)| !text.is_empty() && plain(k) == text).map(|(_, f)| *f)
    };
    line.cells()
        .map(|cell| {
            let name: String =
                cell.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(64).collect();
            let read = heading(&name);
            let mapped = named(&name);
            let used = match mapped.or(read.field) {
                _ if is_ignored(&name, options) => Use::Ignored,
                Some(field) => Use::As(field),
                None => Use::Unknown,
            };
            Column {
                name,
                used,
                mapped: mapped.is_some(),
                currency: read.currency,
                unit: read.unit,
                utc: read.utc,
            }
        })
        .collect()
}

/// The upload says not to read what has this name or text.
pub(super) fn is_ignored(name: &str, options: &ImportOptions) -> bool {
    if options.sheet.ignore.is_empty() {
        return false;
    }
    let text = plain(name);
    !text.is_empty() && options.sheet.ignore.iter().any(|i| plain(i) == text)
}

/// Finds the header and settles every column.
///
/// Out: the layout, when a line is a header with code and price, and all mistakes: what is missing, doubled or not understood, each
/// with the header's line and the column's name. With a mistake the layout is good for the lines above the header only.
pub(super) fn find(
    table: &Table,
    options: &ImportOptions,
    rules: &AmountRules,
) -> (Option<Layout>, Vec<LineError>) {
    let wide = table.lines_from(0).take(HEADER_WITHIN).find(|l| l.len() > MAX_COLUMNS);
    if let Some(l) = wide {
        let message = format!("{} columns; a sheet has at most {MAX_COLUMNS}", l.len());
        return (None, vec![LineError::at(l.number(), "", &message)]);
    }
    let header = likeness(table, options).and_then(|(at, whole, _)| Some((at, whole, table.line(at)?)));
    let Some((header, whole, line)) = header else {
        return (None, vec![LineError::at(0, "", "no rows")]);
    };
    let mut layout = Layout { header, columns: columns_of(line, options), apart: false };
    let mut errors = Vec::new();
    rename(&mut layout, table, options);
    missing(&layout, line.number(), options, &mut errors);
    doubled(&layout, line.number(), &mut errors);
    // Which column has the codes is known only now.
    let sure = errors.is_empty();
    empties(&mut layout, table, line.number(), &mut errors);
    amounts(&layout, table, line.number(), options, rules, &mut errors);
    if sure {
        layout.apart = apart(&layout, table, line.number(), options, &mut errors);
    }
    // As the reader goes through the header: line by line, from left to right.
    let place = |name: &str| layout.columns.iter().position(|c| c.name == name).map_or(0, |at| at + 1);
    errors.sort_by_cached_key(|e| (e.line, place(&e.column)));
    (whole.then_some(layout), errors)
}

/// Names whose meaning depends on the other columns.
fn rename(layout: &mut Layout, table: &Table, options: &ImportOptions) {
    let us = options.kind == DeckKind::Us;
    // Beside an exchange an area code is an NPA; a block without either is a question: blocked or not?
    let (exchange, npa) = (layout.has(Field::Nxx), layout.has(Field::Npa));
    for c in layout.columns.iter_mut().filter(|c| !c.mapped) {
        match c.used {
            Use::As(Field::AreaCode) if us && exchange && !npa => c.used = Use::As(Field::Npa),
            Use::As(Field::Block) if !us && !npa => c.used = Use::As(Field::Blocked),
            _ => {}
        }
    }
    // Area codes of a US sheet without country codes are NPAs.
    if us && !layout.has(Field::CountryCode) && !layout.has(Field::Code) {
        for c in layout.columns.iter_mut().filter(|c| c.used == Use::As(Field::AreaCode)) {
            c.used = Use::As(Field::Code);
        }
    }
    // `Country Code: GB` is a name when the codes stand in another column.
    let coded = layout.has(Field::Code) || layout.has(Field::FullCode);
    if let Some(at) = layout.at(Field::CountryCode).filter(|_| coded) {
        let letters = |t: &str| t.bytes().all(|b| b.is_ascii_alphabetic() || b == b' ');
        let mut cells =
            table.lines_from(layout.header + 1).map(|l| l.cell(at)).filter(|c| !c.is_empty()).peekable();
        let iso = cells.peek().is_some() && cells.all(letters);
        if let Some(c) = layout.columns.get_mut(at).filter(|c| iso && !c.mapped) {
            c.used = Use::As(Field::Info);
        }
    }
    // `Current Rate` beside `New Rate` is the price until then.
    let new = |c: &Column| {
        c.used == Use::As(Field::Rate) && matches!(plain(&c.name).as_str(), "newrate" | "newprice")
    };
    if layout.columns.iter().any(new) {
        for c in layout.columns.iter_mut().filter(|c| c.used == Use::As(Field::Rate) && !c.mapped) {
            if is_price_until_then(&c.name) {
                c.used = Use::As(Field::Info);
            }
        }
    }
}

/// The name of a column with the price that a new one replaces.
pub(super) fn is_price_until_then(name: &str) -> bool {
    matches!(plain(name).as_str(), "currentrate" | "currentprice" | "activerate")
}

fn missing(layout: &Layout, line: u64, options: &ImportOptions, errors: &mut Vec<LineError>) {
    let mut wrong = |column: &str, message: String| errors.push(LineError::at(line, column, &message));
    let known = |name: &str| layout.columns.iter().any(|c| plain(&c.name) == plain(name));
    for name in options.sheet.mapping.keys().filter(|n| !known(n)) {
        wrong("", format!("the mapping names a column that the sheet does not have: \"{name}\""));
    }
    if layout.has(Field::Nxx) && !layout.has(Field::Npa) {
        wrong(&layout.name(Field::Nxx), "an exchange without a column of area codes (NPA)".to_owned());
    }
    // `201555` under NPANXX is a place in New Jersey; as a code of the world it is one in Egypt.
    if options.kind == DeckKind::Az
        && let Some(c) = layout.columns.iter().find(|c| c.used == Use::As(Field::Code) && !c.mapped)
        && plain(&c.name).contains("npanxx")
    {
        let message = "codes of the North American plan in an A-Z deck; map the column to full_code if they begin with 1";
        wrong(&c.name, message.to_owned());
    }
    let us = options.kind == DeckKind::Us;
    let coded = [Field::Code, Field::FullCode, Field::Npa].into_iter().any(|f| layout.has(f));
    let country = layout.has(Field::CountryCode);
    if !coded && us {
        wrong("", "no column with the dial code (Prefix, NPANXX, Code …)".to_owned());
    } else if !coded && !country {
        let area = layout.name(Field::AreaCode);
        match area.as_str() {
            "" => wrong("", "no column with the dial code (Prefix, Code, Dial Code …)".to_owned()),
            _ => wrong(
                &area,
                "area codes without a column of country codes; map it to full_code if they are whole"
                    .to_owned(),
            ),
        }
    }
    let three = layout.has(Field::Interstate) && layout.has(Field::Intrastate);
    if !three && !layout.has(Field::Rate) {
        let message = match options.kind {
            DeckKind::Us => "no price: give Interstate and Intrastate, or Rate",
            DeckKind::Az => "no column with the price (Rate)",
        };
        wrong("", message.to_owned());
    }
    let pair = (layout.has(Field::IncrementInitial), layout.has(Field::IncrementNext));
    if pair.0 != pair.1 && !layout.has(Field::Increments) && options.sheet.terms.is_none() {
        let (field, other) = match pair.0 {
            true => (Field::IncrementInitial, "further increments"),
            false => (Field::IncrementNext, "the first increment"),
        };
        wrong(&layout.name(field), format!("no column says {other}; give them as terms, for example 60/60"));
    }
}

/// Has any row something in this column?
fn has_values(layout: &Layout, table: &Table, column: usize) -> bool {
    table.lines_from(layout.header + 1).any(|l| l.len() == layout.columns.len() && !l.cell(column).is_empty())
}

/// Columns without values carry nothing; of the others every one must be understood.
fn empties(layout: &mut Layout, table: &Table, header: u64, errors: &mut Vec<LineError>) {
    let open: Vec<usize> = layout
        .columns
        .iter()
        .enumerate()
        .filter(|(_, c)| {
            matches!(c.used, Use::Unknown | Use::As(Field::Peak | Field::Origin | Field::LocalRate))
        })
        .map(|(i, _)| i)
        .collect();
    for i in open {
        let value = table
            .lines_from(layout.header + 1)
            .find(|l| l.len() == layout.columns.len() && !l.cell(i).is_empty());
        let Some(c) = layout.columns.get_mut(i) else { continue };
        let Some(value) = value else {
            c.used = Use::Empty;
            continue;
        };
        let (line, message) = match c.used {
            Use::As(Field::Peak) => (
                value.number(),
                "prices of some hours or days are not supported; ignore the column by name if the other price holds at every hour",
            ),
            Use::As(Field::Origin) => (
                value.number(),
                "prices by origin are not supported; ignore the column by name if the price holds for every caller",
            ),
            Use::As(Field::LocalRate) => (
                value.number(),
                "local prices are not supported; ignore the column by name if the other prices hold for local calls too",
            ),
            _ if c.name.is_empty() => (value.number(), "a column without a name has values"),
            _ => (
                header,
                "this column is not understood, and it may carry money; map it, or ignore it by name",
            ),
        };
        let column = if c.name.is_empty() { format!("column {}", i + 1) } else { c.name.clone() };
        errors.push(LineError::at(line, &column, message));
    }
}

fn doubled(layout: &Layout, line: u64, errors: &mut Vec<LineError>) {
    let informal = |u: Use| !matches!(u, Use::As(f) if !matches!(f, Field::Info | Field::Remark));
    for (i, c) in layout.columns.iter().enumerate() {
        let first = layout.columns.iter().take(i).find(|d| d.used == c.used);
        if let (Some(first), false, Use::As(field)) = (first, informal(c.used), c.used) {
            let message = format!(
                "two columns look like {}: \"{}\" too; give the mapping, or ignore one by name",
                field.as_str(),
                first.name
            );
            errors.push(LineError::at(line, &c.name, &message));
        }
    }
    if layout.has(Field::Code) && layout.has(Field::FullCode)
        || layout.has(Field::Code) && layout.has(Field::AreaCode)
    {
        let other = if layout.has(Field::FullCode) { Field::FullCode } else { Field::AreaCode };
        let message = format!(
            "a code in two columns, \"{}\" too; give the mapping, or ignore one by name",
            layout.name(Field::Code)
        );
        errors.push(LineError::at(line, &layout.name(other), &message));
    }
}

/// Currencies and units that names of columns state.
fn amounts(
    layout: &Layout,
    table: &Table,
    line: u64,
    options: &ImportOptions,
    rules: &AmountRules,
    errors: &mut Vec<LineError>,
) {
    let of_money = |c: &Column| match c.used {
        Use::As(Field::Rate | Field::Interstate | Field::Intrastate | Field::Indeterminate) => Some(false),
        Use::As(Field::SetupFee) => Some(true),
        _ => None,
    };
    for c in layout.columns.iter().filter(|c| of_money(c).is_some()) {
        if let Some(Err(e)) = c.currency.as_deref().map(|named| currency::check(named, rules)) {
            errors.push(LineError::at(line, &c.name, &e));
        }
        // A currency alone says whole units of it, and nothing of minutes and seconds.
        let whole = c.currency.is_some() && options.sheet.price_unit == Some(PriceUnit::CentsPerMinute);
        let said = c.unit.or(whole.then_some(PriceUnit::PerMinute));
        if let (Some(said), Some(stated)) = (said, options.sheet.price_unit)
            && said != stated
        {
            errors.push(LineError::at(
                line,
                &c.name,
                "the name of the column says another price unit than the upload",
            ));
        }
    }
    // A unit in one name: are the other amounts in it too? A currency without a unit (`Setup Fee (USD)`) says that they are not.
    let told = |c: &&Column| c.unit.is_some_and(|u| u != PriceUnit::PerMinute);
    let told = layout.columns.iter().find(|c| of_money(c).is_some() && told(c));
    if let (Some(told), None) = (told, options.sheet.price_unit) {
        for (i, c) in layout.columns.iter().enumerate() {
            let Some(fee) = of_money(c) else { continue };
            // A price for a second leaves what is for a call.
            let apart = fee && told.unit == Some(PriceUnit::PerSecond);
            let silent = c.unit.is_none() && c.currency.is_none();
            if silent && !apart && has_values(layout, table, i) {
                let message = format!(
                    "the column \"{}\" says what its amounts are in, and this one does not; give price_unit if all are in it, or write the currency or the unit into the name",
                    told.name
                );
                errors.push(LineError::at(line, &c.name, &message));
            }
        }
    }
    let named = layout.columns.iter().find(|c| c.utc);
    if let Some(c) = named.filter(|_| options.sheet.zone.is_some_and(|z| z.0 != 0)) {
        errors.push(LineError::at(line, &c.name, "the column says UTC and the upload another time zone"));
    }
}

/// Do the codes follow the country code, or contain it? Decided by all rows together; what stays open is refused.
fn apart(
    layout: &Layout,
    table: &Table,
    header: u64,
    options: &ImportOptions,
    errors: &mut Vec<LineError>,
) -> bool {
    let Some(country) = layout.at(Field::CountryCode) else { return false };
    if options.kind == DeckKind::Us || layout.has(Field::FullCode) {
        return false;
    }
    let area = layout.at(Field::AreaCode);
    let Some(code) = area.or(layout.at(Field::Code)) else { return true };
    let mapped = layout.columns.get(code).is_some_and(|c| c.mapped);
    if area.is_some() && mapped {
        return true;
    }
    let (mut with, mut without) = (0usize, 0usize);
    let (mut countries, mut equal) = (Vec::new(), false);
    let mut first_with = None;
    for l in table.lines_from(layout.header + 1).filter(|l| l.len() == layout.columns.len()) {
        let (cc, text) = (l.cell(country), l.cell(code));
        if cc.is_empty() || text.is_empty() {
            continue;
        }
        match begins_with_country(text, cc) {
            Some(true) => {
                with += 1;
                equal |= text == cc;
                first_with = first_with.or(Some(l.number()));
                if countries.len() < 2 && !countries.contains(&cc) {
                    countries.push(cc);
                }
            }
            Some(false) => without += 1,
            None => {}
        }
    }
    let name = layout.columns.get(code).map(|c| c.name.clone()).unwrap_or_default();
    let mut refuse = |line: u64| {
        errors.push(LineError::at(
            line,
            &name,
            "with the country code, or behind it? map the column to full_code or to area_code",
        ));
    };
    match (area.is_some(), with, without) {
        (_, 0, _) => true,
        // An area code may begin like its country code; all of them hardly do.
        (true, _, 1..) => true,
        (true, _, 0) => {
            refuse(header);
            true
        }
        (false, _, 0)
            if countries.len() > 1 || equal || with > 2 && countries.iter().all(|c| c.len() > 1) =>
        {
            false
        }
        (false, _, _) => {
            refuse(first_with.unwrap_or(header));
            false
        }
    }
}
