//! CSV import: a vendor's file in, rows out, or every error with its line.
//!
//! Columns are guessed from the header (`ref/telecom-domain` §3) or given; prices are read as exact decimals; nothing is
//! rounded, guessed or skipped in silence. Bounds: [`ImportOptions::max_rows`], 256 columns, 1,000 errors, 10,000 codes in one
//! cell.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::Read;

use serde::{Deserialize, Serialize};
use warp_model::{Nanos, Wall};

use super::{DeckKind, DeckRows, Row, Terms};
use crate::code::Code;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Dial code, NPANXX, or (A–Z) a list of codes and ranges.
    Code,
    /// A–Z: the country code that the codes are appended to.
    CountryCode,
    /// Interstate price.
    Interstate,
    /// Intrastate price.
    Intrastate,
    /// Indeterminate price.
    Indeterminate,
    /// The only price.
    Rate,
    /// In force from.
    Effective,
    /// In force until (exclusive).
    Expires,
    /// First increment, seconds.
    IncrementInitial,
    /// Further increments, seconds.
    IncrementNext,
    /// Both: `60/6`.
    Increments,
    /// Set-up fee.
    SetupFee,
    /// `Increase`, `New`, `Removed` …: only removals matter.
    Change,
    /// Price by origin: not supported, so a file that uses it is refused.
    Origin,
    /// Local and intraLATA prices: read over with a note (they need a LERG).
    LocalRate,
    /// Names, OCN, LATA, state, tier: read over.
    Info,
}

/// Which column of the file holds what; `None` = unknown column, read over with a note.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// One entry per column.
    pub fields: Vec<Option<Field>>,
}

/// How to read a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImportOptions {
    /// US or A–Z.
    pub kind: DeckKind,
    /// Remembered mapping of this vendor; guessed when absent.
    pub mapping: Option<Mapping>,
    /// Increments and fee where the file says nothing.
    pub terms: Option<Terms>,
    /// Take `$`, `€`, `£`, spaces and thousands separators out of prices.
    pub strip_money: bool,
    /// `3/4/2026` is 3 April.
    pub day_first: bool,
    /// Dates without a time begin at midnight of this zone: minutes east of UTC.
    pub utc_offset_min: i32,
    /// Rows after the expansion of code lists.
    pub max_rows: usize,
    /// Sanity cap of a price per minute and of a fee.
    pub max_rate: Nanos,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions {
            kind: DeckKind::Us,
            mapping: None,
            terms: None,
            strip_money: false,
            day_first: false,
            utc_offset_min: 0,
            max_rows: 2_000_000,
            max_rate: Nanos(100_000_000_000),
        }
    }
}

/// What is wrong at one place of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineError {
    /// From 1; 0 = the file as a whole.
    pub line: u64,
    /// Header of the column, or empty.
    pub column: String,
    /// In words.
    pub message: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.message),
            c => write!(f, "line {}, {c}: {}", self.line, self.message),
        }
    }
}

/// At most this many errors are reported; the last one says so.
pub const MAX_ERRORS: usize = 1_000;
/// More columns than this are no deck.
pub const MAX_COLUMNS: usize = 256;
/// Codes that one cell may expand to.
const MAX_CODES_PER_CELL: u64 = 10_000;

impl Mapping {
    /// Guesses from a header line. Errors name what is missing.
    pub fn guess<'a>(
        header: impl Iterator<Item = &'a str>,
        kind: DeckKind,
    ) -> Result<Mapping, Vec<LineError>> {
        let names: Vec<&str> = header.collect();
        let mapping = Mapping { fields: names.iter().map(|n| field_of(n)).collect() };
        mapping.check(kind)?;
        // Reading over a date would put a price of next month into force today.
        let dates: Vec<LineError> = names
            .iter()
            .zip(&mapping.fields)
            .filter(|(name, field)| {
                let name = name.to_ascii_lowercase();
                field.is_none() && (name.contains("effective") || name.contains("expir"))
            })
            .map(|(name, _)| LineError {
                line: 1,
                column: shown(name),
                message: "looks like a date that counts; give the mapping".to_owned(),
            })
            .collect();
        if dates.is_empty() { Ok(mapping) } else { Err(dates) }
    }

    fn check(&self, kind: DeckKind) -> Result<(), Vec<LineError>> {
        let mut errors = Vec::new();
        let mut wrong = |message: &str| {
            errors.push(LineError { line: 1, column: String::new(), message: message.to_owned() });
        };
        let has = |f: Field| self.fields.contains(&Some(f));
        let country = kind == DeckKind::Az && has(Field::CountryCode);
        if !has(Field::Code) && !country {
            wrong("no column with the dial code (Prefix, NPANXX, Code …)");
        }
        let three = has(Field::Interstate) && has(Field::Intrastate);
        if !three && !has(Field::Rate) {
            wrong(match kind {
                DeckKind::Us => "no price: give Interstate and Intrastate, or Rate",
                DeckKind::Az => "no column with the price (Rate)",
            });
        }
        for (i, f) in self.fields.iter().enumerate() {
            let informal = matches!(f, None | Some(Field::Info | Field::LocalRate));
            if !informal && self.fields.iter().take(i).any(|g| g == f) {
                wrong(&format!("two columns look like {f:?}; give the mapping"));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// Reads a header cell.
fn field_of(name: &str) -> Option<Field> {
    let plain: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    Some(match plain.as_str() {
        "prefix" | "npanxx" | "lrnprefix" | "code" | "codes" | "dialcode" | "dialcodes" | "npanxxx"
        | "npa" | "dialprefix" | "destinationcode" | "areacode" | "lrnnpanxx" => Field::Code,
        "countrycode" | "cc" => Field::CountryCode,
        "interstate" | "inter" | "interrate" | "interstaterate" => Field::Interstate,
        "intrastate" | "intra" | "intrarate" | "intrastaterate" => Field::Intrastate,
        "indeterminate" | "indeterm" | "ij" | "default" | "indeterminaterate" | "ijrate" | "indetermrate"
        | "indet" | "defaultrate" => Field::Indeterminate,
        "rate" | "price" | "ratepermin" | "rateperminute" | "newrate" | "rateusd" | "permin" | "cost" => {
            Field::Rate
        }
        "effective" | "effectivedate" | "effectivefrom" | "effectiveon" | "effdate" | "dateeffective"
        | "validfrom" | "startdate" | "from" => Field::Effective,
        "expiration" | "expires" | "expirationdate" | "enddate" | "validto" | "until" => Field::Expires,
        "initialincrement" | "min" | "billingstart" | "initial" | "minimum" | "initialinterval"
        | "firstincrement" => Field::IncrementInitial,
        "subsequentincrement" | "inc" | "subsequent" | "nextincrement" | "subsequentinterval" | "next" => {
            Field::IncrementNext
        }
        "billingincrement" | "billingincrements" | "increment" | "increments" | "billing" | "interval" => {
            Field::Increments
        }
        "connectionfee" | "setup" | "setupfee" | "connectfee" => Field::SetupFee,
        "change" | "status" | "changetype" => Field::Change,
        "origin" | "anigroup" | "origingroup" | "originani" | "originbased" => Field::Origin,
        "local" | "localrate" | "intralata" | "intralatarate" => Field::LocalRate,
        "lata" | "ocn" | "state" | "ratecenter" | "tier" | "country" | "destination" | "description"
        | "name" | "notes" | "comment" => Field::Info,
        _ => return None,
    })
}

/// Reads a deck.
///
/// In: the bytes of a CSV file (RFC 4180; a byte order mark and CR are taken off). Out: the rows, or all errors, at most
/// [`MAX_ERRORS`]. Refused: more than nine decimals, prices below zero or above the cap, one code twice with one effective
/// date, codes that are none.
pub fn parse_csv(input: impl Read, options: &ImportOptions) -> Result<DeckRows, Vec<LineError>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(Lines::of(input));
    let mut import = Import {
        options,
        fallback: options.terms.unwrap_or(options.kind.usual_terms()),
        header: Vec::new(),
        errors: Vec::new(),
        seen: BTreeMap::new(),
        out: DeckRows::default(),
    };
    let mut record = csv::ByteRecord::new();
    let mut first = true;
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                let at = e.position().map_or(0, csv::Position::byte);
                let line = reader.get_mut().line_at(at);
                import.error(line, "", &format!("not readable as CSV: {}", kind_of(&e)));
                break;
            }
        }
        let at = record.position().map_or(0, csv::Position::byte);
        let line = reader.get_mut().line_at(at);
        if first {
            first = false;
            import.read_header(&record)?;
            continue;
        }
        if record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        import.read_row(line, &record);
        if import.errors.len() >= MAX_ERRORS {
            import.errors.truncate(MAX_ERRORS - 1);
            import.error(line, "", "more than 1,000 errors; stopped here");
            break;
        }
        if import.out.rows.len() > options.max_rows {
            import.error(line, "", "more rows than a deck may have; stopped here");
            break;
        }
    }
    if import.errors.is_empty() && import.out.rows.is_empty() && import.out.ended.is_empty() {
        import.error(0, "", "no rows");
    }
    if import.errors.is_empty() { Ok(import.out) } else { Err(import.errors) }
}

fn kind_of(e: &csv::Error) -> &'static str {
    match e.kind() {
        csv::ErrorKind::Io(_) => "the input ended early",
        csv::ErrorKind::Utf8 { .. } => "not UTF-8",
        _ => "bad structure",
    }
}

/// Counts lines as an editor does (`\n`, `\r\n`, `\r`, blank ones too). The CSV reader's own count stands before the blank
/// lines that it passes over.
struct Lines<R> {
    inner: R,
    offset: u64,
    line: u64,
    /// Nothing of the line was seen yet.
    fresh: bool,
    after_cr: bool,
    /// Where lines that are not blank begin, and their numbers; those not yet asked for.
    starts: VecDeque<(u64, u64)>,
}

impl<R> Lines<R> {
    fn of(inner: R) -> Lines<R> {
        Lines { inner, offset: 0, line: 1, fresh: true, after_cr: false, starts: VecDeque::new() }
    }

    /// The first line that is not blank from this byte on. Bytes are asked for in order.
    fn line_at(&mut self, byte: u64) -> u64 {
        while self.starts.front().is_some_and(|(start, _)| *start < byte) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |(_, line)| *line)
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        for b in buf.iter().take(n) {
            match b {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    self.line += 1;
                    self.fresh = true;
                    self.after_cr = *b == b'\r';
                }
                _ => {
                    if std::mem::take(&mut self.fresh) {
                        self.starts.push_back((self.offset, self.line));
                    }
                    self.after_cr = false;
                }
            }
            self.offset += 1;
        }
        Ok(n)
    }
}

struct Import<'a> {
    options: &'a ImportOptions,
    fallback: Terms,
    header: Vec<String>,
    errors: Vec<LineError>,
    /// Line of each code and date.
    seen: BTreeMap<(Code, i64), u64>,
    out: DeckRows,
}

impl Import<'_> {
    fn error(&mut self, line: u64, column: &str, message: &str) {
        self.errors.push(LineError { line, column: column.to_owned(), message: message.to_owned() });
    }

    fn read_header(&mut self, record: &csv::ByteRecord) -> Result<(), Vec<LineError>> {
        if record.len() > MAX_COLUMNS {
            let message = format!("{} columns; a deck has at most {MAX_COLUMNS}", record.len());
            return Err(vec![LineError { line: 1, column: String::new(), message }]);
        }
        self.header = record
            .iter()
            .map(|c| {
                let text = String::from_utf8_lossy(c);
                text.trim_start_matches('\u{feff}').trim().chars().take(64).collect()
            })
            .collect();
        let mapping = match &self.options.mapping {
            Some(m) => {
                m.check(self.options.kind)?;
                m.clone()
            }
            None => Mapping::guess(self.header.iter().map(String::as_str), self.options.kind)?,
        };
        for (name, field) in self.header.iter().zip(&mapping.fields) {
            match field {
                None => self.out.notes.push(format!("column \"{name}\" is read over")),
                Some(Field::LocalRate) => self.out.notes.push(format!(
                    "column \"{name}\" is read over: local prices need a LERG; the intrastate price is used"
                )),
                _ => {}
            }
        }
        self.out.mapping = mapping;
        Ok(())
    }

    fn column_name(&self, field: Field) -> String {
        self.out
            .mapping
            .fields
            .iter()
            .position(|f| *f == Some(field))
            .and_then(|i| self.header.get(i).cloned())
            .unwrap_or_default()
    }

    fn read_row(&mut self, line: u64, record: &csv::ByteRecord) {
        let fields = self.out.mapping.fields.clone();
        let cell = |field: Field| -> &str {
            fields
                .iter()
                .position(|f| *f == Some(field))
                .and_then(|i| record.get(i))
                .and_then(|b| std::str::from_utf8(b).ok())
                .unwrap_or("")
        };
        let before = self.errors.len();
        for (i, c) in record.iter().enumerate() {
            if std::str::from_utf8(c).is_err() && !matches!(fields.get(i), Some(Some(Field::Info))) {
                let name = self.header.get(i).cloned().unwrap_or_default();
                self.error(line, &name, "not UTF-8");
            }
        }
        if !cell(Field::Origin).is_empty() {
            let name = self.column_name(Field::Origin);
            self.error(line, &name, "prices by origin are not supported");
        }
        let from = self.date(line, Field::Effective, cell(Field::Effective));
        let until = self.date(line, Field::Expires, cell(Field::Expires));
        let codes = self.codes(line, cell(Field::CountryCode), cell(Field::Code));
        let change = cell(Field::Change).to_ascii_lowercase();
        let removed =
            ["removed", "remove", "deleted", "delete", "ended", "end", "closed"].contains(&change.as_str());
        if removed {
            if self.errors.len() == before {
                self.out.ended.extend(codes.into_iter().map(|c| (c, from)));
            }
            return;
        }
        let terms = Terms { initial_s: 0, next_s: 0, ..self.fallback };
        let terms = self.terms(
            line,
            terms,
            cell(Field::Increments),
            cell(Field::IncrementInitial),
            cell(Field::IncrementNext),
            cell(Field::SetupFee),
        );
        let rates = self.rates(
            line,
            cell(Field::Rate),
            cell(Field::Interstate),
            cell(Field::Intrastate),
            cell(Field::Indeterminate),
        );
        if let (Some(a), Some(b)) = (from, until)
            && a >= b
        {
            let name = self.column_name(Field::Expires);
            self.error(line, &name, "ends before it begins");
        }
        let (Some(terms), Some(rates)) = (terms, rates) else {
            return;
        };
        for code in codes {
            if let Some(other) = self.seen.insert((code, super::start(from)), line) {
                let name = self.column_name(Field::Code);
                self.error(
                    line,
                    &name,
                    &format!("code {code} with this effective date is also on line {other}"),
                );
            }
            if self.errors.len() >= MAX_ERRORS {
                return;
            }
            if self.errors.len() == before {
                self.out.rows.push(Row { code, rates, terms, from, until });
            }
        }
    }

    fn rates(
        &mut self,
        line: u64,
        one: &str,
        inter: &str,
        intra: &str,
        indeterminate: &str,
    ) -> Option<[Nanos; 3]> {
        let flat = self.out.mapping.fields.contains(&Some(Field::Rate));
        if flat && inter.is_empty() && intra.is_empty() {
            let rate = self.price(line, Field::Rate, one)?;
            let third = match indeterminate {
                "" => rate,
                text => self.price(line, Field::Indeterminate, text)?,
            };
            return Some([rate, rate, third]);
        }
        let inter = self.price(line, Field::Interstate, inter);
        let intra = self.price(line, Field::Intrastate, intra);
        let third = match indeterminate {
            "" => Some(None),
            text => self.price(line, Field::Indeterminate, text).map(Some),
        };
        let (inter, intra, third) = (inter?, intra?, third?);
        // No column of its own: the dearer, never the cheaper (§2 rule 4).
        Some([inter, intra, third.unwrap_or(inter.max(intra))])
    }

    fn price(&mut self, line: u64, field: Field, text: &str) -> Option<Nanos> {
        let mut plain = text.to_owned();
        if self.options.strip_money {
            plain.retain(|c| !matches!(c, '$' | '€' | '£' | ' '));
            // `0,005` is five thousandths somewhere, and never five: only a comma between groups of three is taken out.
            if !groups_of_three(&plain) {
                let name = self.column_name(field);
                self.error(line, &name, &format!("a comma that separates no thousands: \"{}\"", shown(text)));
                return None;
            }
            plain.retain(|c| c != ',');
        }
        let problem = match plain.parse::<Nanos>() {
            Ok(n) if n.0 < 0 => "below zero".to_owned(),
            Ok(n) if n > self.options.max_rate => {
                format!("above the cap of {}", self.options.max_rate)
            }
            Ok(n) => return Some(n),
            Err(_) if plain.is_empty() => "no price".to_owned(),
            Err(e) => format!("{e}: \"{}\"", shown(text)),
        };
        let name = self.column_name(field);
        self.error(line, &name, &problem);
        None
    }

    fn terms(
        &mut self,
        line: u64,
        mut terms: Terms,
        both: &str,
        initial: &str,
        next: &str,
        fee: &str,
    ) -> Option<Terms> {
        let before = self.errors.len();
        let (mut a, mut b) = (initial, next);
        let mut field = (Field::IncrementInitial, Field::IncrementNext);
        if !both.is_empty() {
            (a, b) = both.split_once('/').unwrap_or((both, both));
            field = (Field::Increments, Field::Increments);
        }
        for (text, fallback, slot, field) in [
            (a, self.fallback.initial_s, &mut terms.initial_s, field.0),
            (b, self.fallback.next_s, &mut terms.next_s, field.1),
        ] {
            *slot = match text.trim() {
                "" => fallback,
                t => match t.parse::<u32>() {
                    Ok(n) if (1..=3_600).contains(&n) => n,
                    _ => {
                        let name = self.column_name(field);
                        let message = format!("increments are 1 to 3,600 seconds: \"{}\"", shown(t));
                        self.error(line, &name, &message);
                        fallback
                    }
                },
            };
        }
        if !fee.is_empty() {
            terms.setup_fee = self.price(line, Field::SetupFee, fee)?;
        }
        (self.errors.len() == before).then_some(terms)
    }

    fn date(&mut self, line: u64, field: Field, text: &str) -> Option<Wall> {
        if text.is_empty() {
            return None;
        }
        match parse_date(text, self.options.day_first) {
            Some(s) => {
                // A time that says UTC is UTC.
                let utc = text.ends_with(['Z', 'z']);
                let offset_s = if utc { 0 } else { i64::from(self.options.utc_offset_min) * 60 };
                let s = s - offset_s;
                Some(Wall::from_unix_ms(s * 1_000))
            }
            None => {
                let name = self.column_name(field);
                self.error(line, &name, &format!("not a date: \"{}\"", shown(text)));
                None
            }
        }
    }

    fn codes(&mut self, line: u64, country: &str, text: &str) -> Vec<Code> {
        let made = match self.options.kind {
            DeckKind::Us => us_code(text).map(|c| vec![c]),
            DeckKind::Az => az_codes(country, text),
        };
        match made {
            Ok(codes) => codes,
            Err(message) => {
                let name = self.column_name(Field::Code);
                self.error(line, &name, &format!("{message}: \"{}\"", shown(text)));
                Vec::new()
            }
        }
    }
}

/// No comma, or commas between a first group of one to three digits (not `0`) and groups of three, before the point.
fn groups_of_three(text: &str) -> bool {
    if !text.contains(',') {
        return true;
    }
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let mut groups = whole.trim_start_matches('-').split(',');
    let first = groups.next().unwrap_or("");
    (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && groups.all(|g| g.len() == 3)
        && !places.contains(',')
}

/// At most 40 characters of a cell, for a message.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// NPA, NPANXX, NPANXX-X or longer, with or without the leading 1.
fn us_code(text: &str) -> Result<Code, String> {
    let digits: String = text.trim_start_matches('+').chars().filter(|c| *c != '-').collect();
    if digits.is_empty() {
        // An empty cell is a mistake, and no price for all of the USA.
        return Err("no dial code".to_owned());
    }
    let full = if digits.starts_with('1') { digits } else { format!("1{digits}") };
    let code: Code = full.parse().map_err(|e| format!("{e}"))?;
    let ok = match full.as_bytes() {
        [_] => true,
        [_, npa, rest @ ..] => {
            (b'2'..=b'9').contains(npa)
                && matches!(full.len(), 4 | 7..=11)
                && rest.get(2).is_none_or(|nxx| (b'2'..=b'9').contains(nxx))
        }
        [] => false,
    };
    if ok { Ok(code) } else { Err("not an NPA, NPANXX or NPANXX-X".to_owned()) }
}

/// `71-79,712` below a country code, or without one.
fn az_codes(country: &str, text: &str) -> Result<Vec<Code>, String> {
    let country = country.trim_start_matches('+');
    let mut out = Vec::new();
    let mut parts = text.split([',', ';', ' ', '|']).map(str::trim).filter(|p| !p.is_empty()).peekable();
    if parts.peek().is_none() {
        return match Code::parse(country.as_bytes()) {
            Ok(c) => Ok(vec![c]),
            Err(_) => Err("no dial code".to_owned()),
        };
    }
    for part in parts {
        let part = part.trim_start_matches('+');
        let (a, b) = part.split_once('-').unwrap_or((part, part));
        let (a, b) = (format!("{country}{}", a.trim()), format!("{country}{}", b.trim()));
        let first: Code = a.parse().map_err(|e| format!("{e}"))?;
        let last: Code = b.parse().map_err(|e| format!("{e}"))?;
        if first.len() != last.len() || first > last {
            return Err("a range runs between two codes of one length".to_owned());
        }
        let count = last.value() - first.value() + 1;
        if count + out.len() as u64 > MAX_CODES_PER_CELL {
            return Err("more than 10,000 codes in one cell".to_owned());
        }
        out.extend((first.value()..=last.value()).map(|v| Code::of(v, first.len())));
    }
    Ok(out)
}

/// Seconds since 1970 of a date: `2026-11-22`, `20261122`, `11/22/2026`, with an optional time `T10:00:00Z`.
fn parse_date(text: &str, day_first: bool) -> Option<i64> {
    let (date, time) = match text.find(['T', ' ']) {
        Some(i) => (text.get(..i)?, text.get(i + 1..)?.trim_end_matches(['Z', 'z'])),
        None => (text, ""),
    };
    let number = |t: &str| -> Option<i64> {
        (!t.is_empty() && t.len() <= 4 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse().ok())?
    };
    let parts: Vec<&str> = date.split(['-', '/', '.']).collect();
    let (y, m, d) = match parts.as_slice() {
        [y, m, d] if y.len() == 4 => (number(y)?, number(m)?, number(d)?),
        [a, b, y] if y.len() == 4 && day_first => (number(y)?, number(b)?, number(a)?),
        [a, b, y] if y.len() == 4 => (number(y)?, number(a)?, number(b)?),
        [one] if one.len() == 8 => (number(one.get(..4)?)?, number(one.get(4..6)?)?, number(one.get(6..)?)?),
        _ => return None,
    };
    let leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let days_in = match m {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1970..=2200).contains(&y) || !(1..=days_in).contains(&d) {
        return None;
    }
    let mut s = 0;
    if !time.is_empty() {
        let mut unit = 3_600;
        let parts: Vec<&str> = time.split('.').next()?.split(':').collect();
        if !(2..=3).contains(&parts.len()) {
            return None;
        }
        for (i, p) in parts.into_iter().enumerate() {
            let n = number(p)?;
            if n > if i == 0 { 23 } else { 59 } {
                return None;
            }
            s += n * unit;
            unit /= 60;
        }
    }
    // Days from 1970-01-01 (proleptic Gregorian).
    let (yy, mm) = if m <= 2 { (y - 1, m + 9) } else { (y, m - 3) };
    let era = yy / 400;
    let yoe = yy - era * 400;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * mm + 2) / 5 + d - 1;
    Some((era * 146_097 + doe - 719_468) * 86_400 + s)
}
