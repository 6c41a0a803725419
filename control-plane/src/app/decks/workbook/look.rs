//! How the cells of a sheet look: what a number format puts around a number, what is struck out, which rows are hidden.
//!
//! A buyer reads `€ 0.0125`, and the cell holds 0.0125: the sign stands in the cell's format. What is read is what is seen, so that a
//! currency or a unit there is known, or refused, like one that is written into the cell.

use std::collections::HashMap;
use std::io::{BufReader, Cursor};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use warp_policy::deck::sheet::LineError;
use zip::ZipArchive;

/// Formats that a workbook may declare; the form itself ends at some 65,000.
const MAX_STYLES: usize = 65_536;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// How a sheet looks, where that says more than its values do.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// What stands around numbers, by style.
    around: Vec<Around>,
    /// Row, column and style of cells with something around them, in the order of the file.
    cells: Vec<(u32, u32, u32)>,
    /// Rows with values that are hidden, from 1.
    pub(super) hidden: Vec<u32>,
    /// The first line with a value that is struck out, from 1.
    pub(super) struck: Option<u32>,
    /// Whether there are comments on cells of the workbook.
    pub(super) comments: bool,
}

/// What a format writes before and behind a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) before: String,
    pub(super) behind: String,
}

impl Look {
    /// Of a sheet of a workbook, by its name.
    ///
    /// Errors: parts that cannot be read.
    pub(super) fn of(bytes: &[u8], sheet: &str) -> Result<Look, LineError> {
        let broken = || {
            LineError::at(
                0,
                "",
                "the formats of the workbook cannot be read; save it as XLSX again, or as CSV",
            )
        };
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| broken())?;
        let mut look = Look {
            comments: archive.file_names().flatten().any(|n| n.to_lowercase().contains("comments")),
            ..Look::default()
        };
        let styles = Styles::read(&mut archive).ok_or_else(broken)?;
        if styles.say_nothing() && !look.comments && !has_hidden_rows(&mut archive, sheet) {
            return Ok(look);
        }
        let part = part_of(&mut archive, sheet).ok_or_else(broken)?;
        look.see(&mut archive, &part, &styles).ok_or_else(broken)?;
        look.around = styles.around;
        Ok(look)
    }

    fn see(&mut self, archive: &mut Archive<'_>, part: &str, styles: &Styles) -> Option<()> {
        let (mut row, mut hidden, mut seen) = (0u32, false, false);
        let mut at = None;
        events(archive, part, |event, name| match (event, name) {
            (Event::Start(e) | Event::Empty(e), "row") => {
                row = attribute(e, "r").and_then(|r| r.parse().ok()).unwrap_or(row + 1);
                hidden = attribute(e, "hidden").is_some_and(|h| matches!(h.as_str(), "1" | "true"));
                seen = false;
            }
            (Event::Start(e), "c") => {
                let column = attribute(e, "r").and_then(|r| column_of(&r));
                let style = attribute(e, "s").and_then(|s| s.parse::<u32>().ok()).unwrap_or(0);
                at = column.map(|c| (c, style));
            }
            (Event::Start(_), "v" | "is") => {
                if hidden && !seen {
                    seen = true;
                    self.hidden.push(row);
                }
                let Some((column, style)) = at else { return };
                let i = style as usize;
                if styles.struck.get(i) == Some(&true) {
                    self.struck = self.struck.or(Some(row));
                }
                if styles.around.get(i).is_some_and(|a| *a != Around::default()) {
                    self.cells.push((row.saturating_sub(1), column, style));
                }
            }
            (Event::End(_), "c") => at = None,
            _ => {}
        })
    }

    /// What stands around the number of a cell. Rows and columns from 0, asked for in the order of the file.
    pub(super) fn around(&self, from: &mut usize, row: u32, column: u32) -> Option<&Around> {
        while let Some((r, c, style)) = self.cells.get(*from).copied() {
            if (r, c) > (row, column) {
                return None;
            }
            *from += 1;
            if (r, c) == (row, column) {
                return self.around.get(style as usize);
            }
        }
        None
    }
}

/// What the styles of cells say, by their number.
#[derive(Default)]
struct Styles {
    around: Vec<Around>,
    struck: Vec<bool>,
}

impl Styles {
    fn say_nothing(&self) -> bool {
        !self.struck.contains(&true) && self.around.iter().all(|a| *a == Around::default())
    }

    fn read(archive: &mut Archive<'_>) -> Option<Styles> {
        let Some(part) = named(archive, "xl/styles.xml") else { return Some(Styles::default()) };
        let mut formats: HashMap<String, Around> = HashMap::new();
        let mut fonts: Vec<bool> = Vec::new();
        let mut out = Styles::default();
        let (mut in_fonts, mut in_cells) = (false, false);
        events(archive, &part, |event, name| match (event, name) {
            (Event::Start(_), "fonts") => in_fonts = true,
            (Event::End(_), "fonts") => in_fonts = false,
            (Event::Start(_), "cellXfs") => in_cells = true,
            (Event::End(_), "cellXfs") => in_cells = false,
            (Event::Start(_) | Event::Empty(_), "font") if in_fonts && fonts.len() < MAX_STYLES => {
                fonts.push(false);
            }
            (Event::Start(e) | Event::Empty(e), "strike") if in_fonts => {
                let off = attribute(e, "val").is_some_and(|v| matches!(v.as_str(), "0" | "false"));
                if let Some(font) = fonts.last_mut() {
                    *font = !off;
                }
            }
            (Event::Start(e) | Event::Empty(e), "numFmt") if formats.len() < MAX_STYLES => {
                if let (Some(id), Some(code)) = (attribute(e, "numFmtId"), attribute(e, "formatCode")) {
                    formats.insert(id, around(&code));
                }
            }
            (Event::Start(e) | Event::Empty(e), "xf") if in_cells && out.around.len() < MAX_STYLES => {
                let id = attribute(e, "numFmtId").unwrap_or_default();
                let percent = || Around { behind: "%".to_owned(), ..Around::default() };
                let built_in = matches!(id.as_str(), "9" | "10").then(percent);
                out.around.push(formats.get(&id).cloned().or(built_in).unwrap_or_default());
                let font = attribute(e, "fontId").and_then(|f| f.parse::<usize>().ok());
                out.struck.push(font.and_then(|f| fonts.get(f)).copied().unwrap_or(false));
            }
            _ => {}
        })?;
        Some(out)
    }
}

/// What the first section of a number format writes around a number, where it is a word, a sign of a currency or a percent sign.
/// `#,##0.00\ "€"` is `€` behind it, `[$USD] 0.00` is `USD` before it.
pub(super) fn around(code: &str) -> Around {
    let (mut before, mut behind) = (String::new(), String::new());
    let mut number = false;
    let mut chars = code.chars();
    while let Some(c) = chars.next() {
        let text = match c {
            ';' => break,
            '"' => chars.by_ref().take_while(|c| *c != '"').collect::<String>(),
            '\\' => chars.next().map(String::from).unwrap_or_default(),
            '_' | '*' => {
                chars.next();
                " ".to_owned()
            }
            '[' => {
                let inner: String = chars.by_ref().take_while(|c| *c != ']').collect();
                // `[$€-407]` is a currency and a language; others are colours and conditions.
                let named = inner.strip_prefix('$').map(|n| n.split('-').next().unwrap_or(n).to_owned());
                named.unwrap_or_default()
            }
            '0' | '#' | '?' | '@' => {
                number = true;
                continue;
            }
            'G' if chars.as_str().starts_with("eneral") => {
                chars.nth(5);
                number = true;
                continue;
            }
            '.' | ',' | '/' | 'E' | 'e' => continue,
            // Letters of dates.
            c if c.is_ascii_alphabetic() => continue,
            c => c.to_string(),
        };
        if number { &mut behind } else { &mut before }.push_str(&text);
    }
    let tells = |t: &str| {
        t.chars().any(|c| c.is_alphabetic() || !c.is_ascii() && !c.is_whitespace() || matches!(c, '%' | '$'))
    };
    let kept = |t: String| if tells(&t) { t.trim().to_owned() } else { String::new() };
    Around { before: kept(before), behind: kept(behind) }
}

/// Whether a sheet hides any row: a quick look, because most do not.
fn has_hidden_rows(archive: &mut Archive<'_>, sheet: &str) -> bool {
    let Some(part) = part_of(archive, sheet) else { return false };
    let Ok(mut file) = archive.by_name(&part) else { return false };
    let mut text = Vec::new();
    // Bounded by the look that was taken before: a workbook unpacks to 64 MiB at most.
    let read = std::io::Read::read_to_end(&mut file, &mut text);
    read.is_ok() && text.windows(8).any(|w| w == b" hidden=")
}

/// The part of the archive with a sheet of this name.
fn part_of(archive: &mut Archive<'_>, sheet: &str) -> Option<String> {
    let mut id = None;
    let book = named(archive, "xl/workbook.xml")?;
    events(archive, &book, |event, name| {
        if let (Event::Start(e) | Event::Empty(e), "sheet") = (event, name)
            && attribute(e, "name").is_some_and(|n| n == sheet)
        {
            id = attribute(e, "id");
        }
    })?;
    let id = id?;
    let mut target = None;
    let rels = named(archive, "xl/_rels/workbook.xml.rels")?;
    events(archive, &rels, |event, name| {
        if let (Event::Start(e) | Event::Empty(e), "Relationship") = (event, name)
            && attribute(e, "Id").is_some_and(|i| i == id)
        {
            target = attribute(e, "Target");
        }
    })?;
    let target = target?;
    let path = target.strip_prefix('/').map_or_else(|| format!("xl/{target}"), str::to_owned);
    named(archive, &path)
}

/// The name of a part as the archive writes it: some differ in case.
fn named(archive: &Archive<'_>, part: &str) -> Option<String> {
    archive.file_names().flatten().find(|n| n.eq_ignore_ascii_case(part)).map(std::borrow::Cow::into_owned)
}

/// Gives each event of a part with the local name of its element. `None`: it cannot be read.
fn events(archive: &mut Archive<'_>, part: &str, mut each: impl FnMut(&Event<'_>, &str)) -> Option<()> {
    let file = archive.by_name(part).ok()?;
    let mut reader = Reader::from_reader(BufReader::new(file));
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer).ok()?;
        match &event {
            Event::Eof => return Some(()),
            Event::Start(e) | Event::Empty(e) => each(&event, e.local_name().as_ref()),
            Event::End(e) => each(&event, e.local_name().as_ref()),
            _ => {}
        }
    }
}

/// An attribute by its local name, unescaped.
fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element.attributes().flatten().find(|a| a.key.local_name().as_ref() == name)?;
    found.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok().map(|v| v.into_owned())
}

/// The column of `B12`, from 0.
fn column_of(cell: &str) -> Option<u32> {
    let letters = cell.bytes().take_while(u8::is_ascii_alphabetic);
    let mut column = 0u32;
    for b in letters {
        column = column.checked_mul(26)?.checked_add(u32::from(b.to_ascii_uppercase() - b'A') + 1)?;
    }
    column.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_format_writes_around_a_number() {
        for (code, before, behind) in [
            ("General", "", ""),
            ("0.0000", "", ""),
            ("#,##0.00_);[Red](#,##0.00)", "", ""),
            ("[$€-407] #,##0.0000", "€", ""),
            ("_-* #,##0.00\\ \"€\"_-;\\-* #,##0.00\\ \"€\"_-", "", "€"),
            ("_(\"$\"* #,##0.00_)", "$", ""),
            ("$0.0000", "$", ""),
            ("[$USD] 0.0000", "USD", ""),
            ("0.0000 \"cents\"", "", "cents"),
            ("0.00%", "", "%"),
            ("\"Rs. \"0.00", "Rs.", ""),
            ("[Blue][<1]0.00;0.0", "", ""),
            ("General\" sec\"", "", "sec"),
            ("yyyy-mm-dd hh:mm", "", ""),
            ("0.0E+00", "", ""),
        ] {
            assert_eq!(around(code), Around { before: before.into(), behind: behind.into() }, "{code}");
        }
        assert_eq!((column_of("A1"), column_of("XFD9"), column_of("9")), (Some(0), Some(16_383), None));
    }
}
