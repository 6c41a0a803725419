//! `warp decks`: rate decks and their sheets. `import FILE --dry-run` says what a sheet would change and what of it is not
//! understood; without `--dry-run` it becomes a version.

mod prices;

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::{Client, encoded};
use super::nouns::Body;
use super::nouns::fields::{forms_of, whole};
use super::output::{Output, Table};
use super::{Common, Failure};

#[derive(Args, Debug)]
pub(super) struct DecksArgs {
    #[command(subcommand)]
    command: DecksCommand,
}

#[derive(Subcommand, Debug)]
enum DecksCommand {
    /// Decks with the version that is in force.
    List,
    /// Make a deck, without prices yet: name='Retail A-Z', kind=az or us, currency=EUR.
    Make {
        #[command(flatten)]
        body: Body,
    },
    /// Delete a deck that nothing sells or buys by.
    Delete {
        /// Name or id (deck_…).
        deck: String,
    },
    /// Versions of a deck, newest first.
    Versions {
        /// Name or id (deck_…).
        deck: String,
    },
    /// The rows of a version: what each dial code costs, and from when.
    Prices(prices::PricesArgs),
    /// What is remembered of how the deck's sheets are read.
    Options {
        /// Name or id (deck_…).
        deck: String,
        /// Forgets all of it.
        #[arg(long)]
        clear: bool,
    },
    /// Reads a rate sheet (CSV or XLSX) into a new version.
    Import(Box<ImportArgs>),
    /// Puts a version into force.
    Activate {
        /// Name or id (deck_…).
        deck: String,
        /// 1, 2, 3 …
        number: u32,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// The sheet is the whole deck.
    Full,
    /// The sheet is laid over the version in force.
    Partial,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DateOrder {
    /// 05/12/2026 is 5 December.
    DayFirst,
    /// 05/12/2026 is May 12.
    MonthFirst,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PriceUnit {
    /// Units of the currency for a minute.
    PerMinute,
    /// Hundredths for a minute.
    CentsPerMinute,
    /// Units of the currency for a second.
    PerSecond,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Decimal {
    /// 0.0125
    Point,
    /// 0,0125
    Comma,
}

#[derive(Args, Debug)]
struct ImportArgs {
    /// The sheet: CSV in any of its forms, or XLSX.
    file: PathBuf,
    /// Deck by name or id (deck_…); needed unless there is only one.
    #[arg(long)]
    deck: Option<String>,
    /// The full report; nothing is stored.
    #[arg(long)]
    dry_run: bool,
    /// What the sheet says of rows that it does not name.
    #[arg(long, value_enum, default_value = "full")]
    mode: Mode,
    /// Put the version into force at once.
    #[arg(long, conflicts_with = "dry_run")]
    activate: bool,
    /// What a column holds, for example --map "Dst Prefix=code"; may be repeated.
    #[arg(long = "map", value_name = "COLUMN=FIELD")]
    map: Vec<String>,
    /// A column, or a line above or below the rows, that is not to be read; may be repeated.
    #[arg(long, value_name = "NAME")]
    ignore: Vec<String>,
    /// Increments where the sheet says nothing, for example 60/6.
    #[arg(long, value_name = "FIRST/NEXT")]
    terms: Option<String>,
    /// Order of dates that can be read two ways.
    #[arg(long, value_enum)]
    date_order: Option<DateOrder>,
    /// Zone of dates and times without one: UTC (the default) or an offset such as +01:00.
    #[arg(long)]
    zone: Option<String>,
    /// The sheet's currency, where a sign such as $ may mean several.
    #[arg(long)]
    currency: Option<String>,
    /// What the numbers in price columns are.
    #[arg(long, value_enum)]
    price_unit: Option<PriceUnit>,
    /// Mark before decimal places.
    #[arg(long, value_enum)]
    decimal: Option<Decimal>,
    /// A price of 0 is an offer; =false takes it back where it is remembered.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    free_rows: Option<bool>,
    /// Cells left empty by merged cells mean the ones above; =false takes it back where it is remembered.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    repeat_cells: Option<bool>,
    /// Which sheet of a workbook.
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// Highest price per minute and fee that is believed.
    #[arg(long)]
    cap: Option<String>,
    /// A remembered option that counts no more, by its name without the dashes, for example date-order; may be repeated.
    /// `mapping` and `ignore` are all of theirs.
    #[arg(long, value_name = "OPTION")]
    reset: Vec<String>,
    /// These options are for this sheet alone: they are not remembered for the next one of this vendor.
    #[arg(long, alias = "forget")]
    once: bool,
}

pub(super) fn run(args: &DecksArgs, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    match &args.command {
        DecksCommand::List => list(&client, common),
        DecksCommand::Make { body } => {
            let body = body.read(&client, &forms_of("DeckInput"), "decks", None)?;
            let made = client.json("POST", "/admin/rate-decks", &body)?;
            Output::new(common, DECK).item(|| made.clone(), || fields(&made, DECK), || whole(&made, DECK));
            Ok(0)
        }
        DecksCommand::Delete { deck } => {
            let id = find(&client, Some(deck))?;
            client.delete(&format!("/admin/rate-decks/{id}"))?;
            Output::new(common, &["id", "deleted"]).item(
                || json!({ "id": id, "deleted": true }),
                || vec![id.clone(), true.to_string()],
                || format!("deleted {id}"),
            );
            Ok(0)
        }
        DecksCommand::Versions { deck } => versions(&client, common, deck),
        DecksCommand::Prices(args) => prices::run(&client, common, args),
        DecksCommand::Options { deck, clear } => remembered(&client, common, deck, *clear),
        DecksCommand::Import(import) => run_import(&client, common, import),
        DecksCommand::Activate { deck, number } => {
            let id = find(&client, Some(deck))?;
            let path = format!("/admin/rate-decks/{id}/versions/{number}/activate");
            let done = client.json("POST", &path, &Value::Null)?;
            let people = format!("version {number} of {} is in force", text(&done["name"]));
            Output::new(common, DECK).item(|| done.clone(), || fields(&done, DECK), || people);
            Ok(0)
        }
    }
}

const DECK: &[&str] = &["id", "name", "kind", "currency", "active_version"];
const VERSION: &[&str] =
    &["number", "row_count", "created_at", "activated_at", "base_number", "source_name", "in_force"];

fn fields(value: &Value, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| text(&value[name])).collect()
}

fn list(client: &Client, common: &Common) -> Result<u8, Failure> {
    let mut out = Table::new(common, DECK, ["id", "kind", "currency", "in force", "name"]);
    for d in all(client)? {
        let active = d["active_version"].as_i64().map_or("none".to_owned(), |n| format!("version {n}"));
        let cells = || {
            let [id, kind, currency, name] = ["id", "kind", "currency", "name"].map(|n| text(&d[n]));
            vec![id, kind, currency, active, name]
        };
        out.item(|| d.clone(), || fields(&d, DECK), cells);
    }
    Ok(0)
}

fn versions(client: &Client, common: &Common, deck: &str) -> Result<u8, Failure> {
    let id = find(client, Some(deck))?;
    let active = client.get(&format!("/admin/rate-decks/{id}"))?["active_version"].take();
    let mut out = Table::new(common, VERSION, ["version", "rows", "made (UTC)", "sheet", "in force"]);
    for v in client.page(&format!("/admin/rate-decks/{id}/versions"))?.items {
        let mut row = v.clone();
        row["in_force"] = (!active.is_null() && v["number"] == active).into();
        out.item(|| v.clone(), || fields(&row, VERSION), || version_cells(&row));
    }
    Ok(0)
}

/// A version for people. Each one that ever came into force has a time of it; only one is in force.
fn version_cells(v: &Value) -> Vec<String> {
    let since = match (v["activated_at"].as_str(), v["in_force"].as_bool()) {
        (Some(at), Some(true)) => format!("in force since {at}"),
        (Some(at), _) => format!("no more in force; it came into force at {at}"),
        (None, _) => String::new(),
    };
    let of = |name: &str| text(&v[name]);
    vec![of("number"), of("row_count"), of("created_at"), of("source_name"), since]
}

fn remembered(client: &Client, common: &Common, deck: &str, clear: bool) -> Result<u8, Failure> {
    let path = format!("/admin/rate-decks/{}/sheet-options", find(client, Some(deck))?);
    let known = if clear { client.json("PUT", &path, &json!({}))? } else { client.get(&path)? };
    let people = || match known["options"].as_object().filter(|all| !all.is_empty()) {
        None => format!("nothing is remembered of {}", text(&known["owner"])),
        Some(all) => {
            let lines = all.iter().map(|(name, value)| format!("  {name} = {}", text(value)));
            let head = format!("remembered of {}, for all decks that it sells by:", text(&known["owner"]));
            std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
        }
    };
    let columns = ["owner", "options"];
    Output::new(common, &columns).item(|| known.clone(), || fields(&known, &columns), people);
    Ok(0)
}

fn all(client: &Client) -> Result<Vec<Value>, Failure> {
    let mut out = Vec::new();
    let mut path = "/admin/rate-decks?limit=200".to_owned();
    loop {
        let page = client.page(&path)?;
        out.extend(page.items);
        match page.next {
            Some(cursor) => path = format!("/admin/rate-decks?limit=200&cursor={}", encoded(&cursor)),
            None => return Ok(out),
        }
    }
}

/// A deck's id by id or name; the only one when none is named.
fn find(client: &Client, wanted: Option<&str>) -> Result<String, Failure> {
    if let Some(id) = wanted.filter(|w| w.starts_with("deck_")) {
        return Ok(id.to_owned());
    }
    let decks = all(client)?;
    let names = || decks.iter().map(|d| text(&d["name"])).collect::<Vec<_>>().join(", ");
    let found = match wanted {
        Some(name) => decks.iter().find(|d| d["name"] == name),
        None if decks.len() == 1 => decks.first(),
        None => {
            return Err(Failure::new("which deck?")
                .with_code(2)
                .hint(format!("name one with --deck: {}", names())));
        }
    };
    found.map(|d| text(&d["id"])).ok_or_else(|| {
        Failure::new(format!("there is no deck {}", wanted.unwrap_or("")))
            .with_code(3)
            .hint(format!("there are: {}", names()))
    })
}

fn run_import(client: &Client, common: &Common, args: &ImportArgs) -> Result<u8, Failure> {
    let unread = |e: std::io::Error| Failure::new(format!("{}: {e}", args.file.display())).with_code(2);
    let bytes = std::fs::read(&args.file).map_err(unread)?;
    let id = find(client, args.deck.as_deref())?;
    let options = options(args)?;
    let mode = match args.mode {
        Mode::Full => "full",
        Mode::Partial => "partial",
    };
    let query = format!("mode={mode}&options={}", encoded(&options.to_string()));
    let content_type = if bytes.starts_with(b"PK\x03\x04") { XLSX } else { "text/csv" };
    let bar = || Bar::of(bytes.len() as u64, common);
    let out = Output::new(common, REPORT);
    let check = || {
        client.upload(&format!("/admin/rate-decks/{id}/check?{query}"), content_type, bytes.clone(), bar())
    };
    let show = |report: &Value| {
        out.item(|| report.clone(), || fields(report, REPORT), || report_text(report).trim_end().to_owned());
    };
    if args.dry_run {
        let report = check()?;
        show(&report);
        return Ok(if report["not_understood"] == 0 { 0 } else { 2 });
    }
    let name = args.file.file_name().map_or("sheet".into(), |n| n.to_string_lossy());
    let path = format!(
        "/admin/rate-decks/{id}/versions?{query}&source_name={}&activate={}&remember={}",
        encoded(&name),
        args.activate,
        !args.once
    );
    let in_flags = |why: Failure| Failure { message: in_flags(&why.message), ..why };
    let version = match client.upload(&path, content_type, bytes.clone(), bar()) {
        Ok(version) => version,
        Err(why) => {
            // The sheet was understood, and what it makes may not come into force: what that would be is what the buyer asks next.
            if args.activate
                && why.code == CONFLICT
                && let Ok(report) = check()
            {
                show(&report);
            }
            return Err(in_flags(why));
        }
    };
    let report = &version["report"];
    let people = || {
        let state = match args.activate {
            true => "in force",
            false => "stored; `warp decks activate` puts it into force",
        };
        format!("{}version {} is {state}", report_text(report), version["number"])
    };
    out.item(|| version.clone(), || fields(report, REPORT), people);
    Ok(0)
}

/// The exit code of what the API refuses because of the state that things are in (409).
const CONFLICT: u8 = 5;

/// Figures of a report, as columns of CSV.
const REPORT: &[&str] = &[
    "rows_read",
    "new",
    "dearer",
    "cheaper",
    "same",
    "ended",
    "blocked",
    "not_understood",
    "in_force",
    "begin_later",
    "carried",
];

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// What the flags say, as SheetOptions.
fn options(args: &ImportArgs) -> Result<Value, Failure> {
    let mut out = Map::new();
    let mut mapping = Map::new();
    for pair in &args.map {
        let (column, field) = pair
            .rsplit_once('=')
            .ok_or_else(|| Failure::new(format!("--map {pair}: want COLUMN=FIELD")).with_code(2))?;
        mapping.insert(column.to_owned(), field.into());
    }
    if !mapping.is_empty() {
        out.insert("mapping".into(), mapping.into());
    }
    if !args.ignore.is_empty() {
        out.insert("ignore".into(), json!(args.ignore));
    }
    let name = |v: &dyn std::fmt::Debug| snake(&format!("{v:?}"));
    let texts = [
        ("terms", args.terms.clone()),
        ("date_order", args.date_order.map(|v| name(&v))),
        ("zone", args.zone.clone()),
        ("currency", args.currency.clone()),
        ("price_unit", args.price_unit.map(|v| name(&v))),
        ("decimal", args.decimal.map(|v| name(&v))),
        ("sheet", args.sheet.clone()),
        ("cap", args.cap.clone()),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            out.insert(key.into(), value.into());
        }
    }
    for (key, on) in [("free_rows", args.free_rows), ("repeat_cells", args.repeat_cells)] {
        if let Some(on) = on {
            out.insert(key.into(), on.into());
        }
    }
    if !args.reset.is_empty() {
        let names: Vec<String> = args
            .reset
            .iter()
            .map(|n| if n == "map" { "mapping".to_owned() } else { n.replace('-', "_") })
            .collect();
        out.insert("reset".into(), json!(names));
    }
    Ok(Value::Object(out))
}

/// The name of a variant as the API writes it: `DayFirst` → `day_first`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A report for people.
fn report_text(r: &Value) -> String {
    let n = |name: &str| r[name].as_u64().unwrap_or(0);
    let known = &r["recognised"];
    let base = r["base"]
        .as_u64()
        .map_or("no version in force".to_owned(), |v| format!("version {v}, which is in force"));
    // Where no line is the header, nothing was read: figures would only hide the line that says why.
    let nothing = known["header_line"].as_u64().unwrap_or(0) == 0;
    if nothing {
        let mut out = "  not read: no line of it is a header whose columns are all understood\n".to_owned();
        push_notes(&mut out, r);
        push_problems(&mut out, r);
        return out;
    }
    let mut out = format!(
        "  read as {}, {}, header on line {}; rows: {}, decimal {}, {} {}, dates in {}\n",
        text(&known["format"]),
        separated(&text(&known["separator"])),
        known["header_line"],
        n("rows_read"),
        text(&known["decimal"]),
        text(&known["currency"]),
        text(&known["price_unit"]).replace('_', " "),
        text(&known["zone"])
    );
    let columns = known["columns"].as_array().into_iter().flatten();
    let columns: Vec<String> =
        columns.map(|c| format!("{} = {}", text(&c["name"]), text(&c["read_as"]))).collect();
    out.push_str(&format!("  columns: {}\n", columns.join(", ")));
    if known["rows_without_increments"].as_u64().unwrap_or(0) > 0 {
        out.push_str(&format!(
            "  rows that state no increments: {}, which get {}\n",
            known["rows_without_increments"],
            text(&known["usual_increments"])
        ));
    }
    push_notes(&mut out, r);
    out.push_str(&format!("  compared with {base}:\n"));
    for (label, name) in [
        ("new", "new"),
        ("dearer", "dearer"),
        ("cheaper", "cheaper"),
        ("same", "same"),
        ("ended", "ended"),
        ("not carried", "blocked"),
        ("not understood", "not_understood"),
        ("in force at once", "in_force"),
        ("begin later", "begin_later"),
        ("kept until then", "carried"),
    ] {
        out.push_str(&format!(
            "  {label:<18} {:>9}{}\n",
            n(name),
            if name == "not_understood" { on_lines(r) } else { String::new() }
        ));
    }
    if n("rows_read") > 0 && n("in_force") == 0 && n("carried") == 0 {
        out.push_str("  no row has a price now: such a version cannot be put into force before one begins\n");
    }
    let sample: Vec<&Value> = r["sample"].as_array().into_iter().flatten().collect();
    if !sample.is_empty() {
        let head = "rows as understood (the first ones, the dearest and the cheapest)";
        out.push_str(&format!("  {head}:\n    {}\n", prices::HEADING));
    }
    for row in sample {
        out.push_str(&format!("    {}\n", prices::line(row)));
    }
    let moves: Vec<&Value> = r["largest"].as_array().into_iter().flatten().collect();
    if !moves.is_empty() {
        out.push_str("  largest changes:\n");
    }
    for m in moves {
        let from = m["from"].as_str().map_or(String::new(), |t| format!("  from {t}"));
        out.push_str(&format!(
            "    {:<15} {:>12} -> {:<12}{}{from}\n",
            text(&m["code"]),
            text(&m["old"]["amount"]),
            text(&m["new"]["amount"]),
            terms_of(m)
        ));
    }
    push_problems(&mut out, r);
    out
}

/// One line may have several places that are not understood.
fn on_lines(r: &Value) -> String {
    match (r["not_understood"].as_u64(), r["lines_not_understood"].as_u64()) {
        (Some(places), Some(lines)) if places > 0 => {
            let of = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
            format!("  ({} on {})", of(places, "place", "places"), of(lines, "line", "lines"))
        }
        _ => String::new(),
    }
}

/// What moves beside the price: increments and set-up fee, where they do.
fn terms_of(m: &Value) -> String {
    let moved = |old: &Value, new: &Value, label: &str| match (old.as_str(), new.as_str()) {
        (Some(old), Some(new)) if old != new => format!("  {label} {old} -> {new}"),
        _ => String::new(),
    };
    let fees = [&m["old_setup_fee"]["amount"], &m["new_setup_fee"]["amount"]];
    moved(&m["old_increments"], &m["new_increments"], "increments") + &moved(fees[0], fees[1], "fee")
}

/// A sign that stands for itself is hard to see between others. A workbook has the name of its sheet there.
fn separated(by: &str) -> String {
    let sign = match by {
        "," => "commas",
        ";" => "semicolons",
        "\t" => "tabs",
        "|" => "bars",
        sheet if sheet.starts_with("sheet ") => return by.to_owned(),
        other => other,
    };
    format!("separated by {sign}")
}

fn push_notes(out: &mut String, r: &Value) {
    for note in r["recognised"]["notes"].as_array().into_iter().flatten() {
        out.push_str(&format!("  note: {}\n", in_flags(&text(note))));
    }
}

fn push_problems(out: &mut String, r: &Value) {
    for p in r["problems"].as_array().into_iter().flatten() {
        let column =
            p["column"].as_str().filter(|c| !c.is_empty()).map_or(String::new(), |c| format!(", {c}"));
        // Line 0 is the file as a whole.
        let place = p["line"].as_u64().filter(|line| *line > 0);
        let place = place.map_or("the file".to_owned(), |line| format!("line {line}"));
        out.push_str(&format!("  {place}{column}: {}\n", in_flags(&text(&p["message"]))));
    }
}

/// Advice that names options as the API does, in the flags of this command.
fn in_flags(text: &str) -> String {
    let mut out = text.to_owned();
    for (api, flag) in [
        ("say date_order: day_first or month_first", "say --date-order day-first or month-first"),
        ("say decimal: point or comma", "say --decimal point or comma"),
        ("say repeat_cells", "say --repeat-cells"),
        ("say free_rows", "say --free-rows"),
        ("as free_rows says", "as --free-rows says"),
        ("give price_unit", "give --price-unit"),
        ("(option cap)", "(--cap)"),
    ] {
        out = out.replace(api, flag);
    }
    out
}

fn text(v: &Value) -> String {
    v.as_str().map_or_else(|| if v.is_null() { String::new() } else { v.to_string() }, str::to_owned)
}

/// How much of the file has gone out, on a terminal's stderr.
pub(crate) struct Bar {
    all: u64,
    done: u64,
    shown: u64,
    on: bool,
}

impl Bar {
    fn of(all: u64, common: &Common) -> Bar {
        let on = !common.quiet && !common.json && std::io::stderr().is_terminal();
        Bar { all, done: 0, shown: u64::MAX, on }
    }

    /// So much more went out. The line as it is to be drawn, when it changed.
    fn step(&mut self, bytes: u64) -> Option<String> {
        self.done = (self.done + bytes).min(self.all);
        let percent = (self.done * 100).checked_div(self.all).unwrap_or(100);
        if !self.on || percent == self.shown {
            return None;
        }
        self.shown = percent;
        let filled = (percent / 4) as usize;
        let end = if percent == 100 { "  reading …" } else { "" };
        Some(format!("\r[{}{}] {percent:>3} %{end}", "#".repeat(filled), "-".repeat(25 - filled)))
    }

    fn draw(&mut self, bytes: u64) {
        if let Some(line) = self.step(bytes) {
            let _ = write!(std::io::stderr(), "{line}");
        }
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        if self.on && self.shown != u64::MAX {
            let _ = write!(std::io::stderr(), "\r{}\r", " ".repeat(48));
        }
    }
}

/// A body that shows how much of it was taken.
pub(crate) struct Metered {
    bytes: std::io::Cursor<Vec<u8>>,
    bar: Bar,
}

impl Metered {
    pub(crate) fn of(bytes: Vec<u8>, bar: Bar) -> Metered {
        Metered { bytes: std::io::Cursor::new(bytes), bar }
    }
}

impl Read for Metered {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.bytes.read(buf)?;
        self.bar.draw(n as u64);
        Ok(n)
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.bar.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_apis_options() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            import: ImportArgs,
        }
        let line = "x sheet.csv --map Dst=Prefix=full_code --ignore Peak --terms 60/6 --date-order day-first --zone +01:00 \
            --price-unit cents-per-minute --decimal comma --free-rows --cap 5";
        let parsed = |line: &str| <Line as clap::Parser>::parse_from(line.split_whitespace()).import;
        let args = parsed(line);
        assert_eq!(
            options(&args).unwrap(),
            json!({"mapping": {"Dst=Prefix": "full_code"}, "ignore": ["Peak"], "terms": "60/6", "date_order": "day_first",
                "zone": "+01:00", "price_unit": "cents_per_minute", "decimal": "comma", "free_rows": true, "cap": "5"})
        );
        let back =
            parsed("x sheet.csv --free-rows=false --repeat-cells=false --reset date-order --reset map");
        assert_eq!(
            options(&back).unwrap(),
            json!({"free_rows": false, "repeat_cells": false, "reset": ["date_order", "mapping"]})
        );
    }

    #[test]
    fn one_version_is_in_force_and_the_others_were() {
        let of = |in_force: bool, at: Value| {
            let version = json!({"number": 2, "row_count": 7, "created_at": "T0", "activated_at": at,
                "source_name": "a.csv", "in_force": in_force});
            version_cells(&version).join("  ")
        };
        assert!(of(true, "T1".into()).ends_with("in force since T1"));
        let was = of(false, "T1".into());
        assert!(was.ends_with("no more in force; it came into force at T1"), "{was}");
        assert!(of(false, Value::Null).ends_with("a.csv  "));
    }

    /// A dry run says what the real one would be refused for.
    #[test]
    fn a_sheet_without_a_price_in_force_says_that_it_cannot_be_activated() {
        let report = |in_force: u64, carried: u64| {
            report_text(
                &json!({"rows_read": 1, "new": 1, "in_force": in_force, "begin_later": 1, "carried": carried,
                "recognised": {"header_line": 1, "format": "UTF-8", "separator": ",", "rows_without_increments": 1,
                    "usual_increments": "1/1"}}),
            )
        };
        let said = "no row has a price now: such a version cannot be put into force before one begins";
        assert!(report(0, 0).contains(said) && !report(1, 0).contains(said) && !report(0, 7).contains(said));
        assert!(report(1, 0).contains("separated by commas, header on line 1; rows: 1,"), "{}", report(1, 0));
        assert!(report(1, 0).contains("rows that state no increments: 1, which get 1/1"), "{}", report(1, 0));
    }

    /// A first sheet has no changes to look at: its rows say whether cents were read as cents.
    #[test]
    fn a_report_shows_rows_and_says_how_many_lines_are_wrong() {
        let usd = |amount: &str| json!({"amount": amount, "currency": "USD"});
        let report = report_text(
            &json!({"rows_read": 2, "new": 1, "in_force": 1, "not_understood": 3, "lines_not_understood": 1,
            "recognised": {"header_line": 1, "format": "XLSX", "separator": "sheet \"Rates\""},
            "sample": [{"code": "44", "carried": true, "interstate": usd("0.0125"), "intrastate": usd("0.0125"),
                "indeterminate": usd("0.0125"), "increments": "1/1", "setup_fee": usd("0"), "from": null, "until": null}]}),
        );
        assert!(report.contains("read as XLSX, sheet \"Rates\", header on line 1"), "{report}");
        let line = report.lines().find(|l| l.trim_start().starts_with("44 ")).unwrap_or_default();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["44", "0.0125", "1/1", "0", "always"]);
        assert!(report.contains("3  (3 places on 1 line)\n"), "{report}");
    }

    #[test]
    fn a_sheet_that_cannot_be_read_is_told_by_its_problems_alone() {
        let report = json!({"rows_read": 0, "same": 1000, "base": 3,
            "recognised": {"header_line": 0, "notes": ["remembered of earlier sheets of this vendor: terms = 60/6"]},
            "problems": [{"line": 4, "column": "Takt", "message": "is not known"},
                {"line": 5, "message": "the date can be read two ways; say date_order: day_first or month_first"}]});
        let text = report_text(&report);
        assert!(text.contains("not read") && text.contains("line 4, Takt: is not known"), "{text}");
        let empty = report_text(&json!({"rows_read": 0, "problems": [{"line": 0, "message": "no rows"}]}));
        assert!(empty.contains("  the file: no rows\n"), "{empty}");
        assert!(
            text.contains("note: remembered") && !text.contains("1000") && !text.contains("line 0"),
            "{text}"
        );
    }

    #[test]
    fn the_bar_moves_by_percent_and_ends_full() {
        let mut bar = Bar { all: 1_000, done: 0, shown: u64::MAX, on: true };
        assert_eq!(bar.step(0).as_deref(), Some("\r[-------------------------]   0 %"));
        assert_eq!(bar.step(5), None);
        assert_eq!(bar.step(495).as_deref(), Some("\r[############-------------]  50 %"));
        assert!(bar.step(5_000).unwrap().contains("100 %  reading"));
        let mut quiet = Bar { all: 10, done: 0, shown: u64::MAX, on: false };
        assert_eq!(quiet.step(10), None);
    }
}
