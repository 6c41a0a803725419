//! XLSX workbooks to tables. The one visible sheet, or the one that the upload names; numbers by the shortest decimal that
//! gives the stored number again, so that 0.0125 is 0.0125.
//!
//! A workbook is a packed archive from outside: it is unpacked once in pieces to see how large it is (64 MiB at most), and
//! its cells are read one by one, so that neither a bomb nor a sheet with one cell far away takes memory.

mod look;

use std::io::{Cursor, Read};

use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx};
use warp_policy::deck::sheet::{LineError, MAX_COLUMNS, Recognised, Table};

use look::Look;

/// Bytes that a workbook may unpack to.
const MAX_UNPACKED: u64 = 64 << 20;
/// Parts that it may have.
const MAX_PARTS: usize = 4_096;
/// Merged regions that are looked at.
const MAX_MERGED: usize = 100_000;

/// The first bytes of a packed archive.
pub(super) fn is_workbook(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Reads a sheet of a workbook. `fill`: cells of a merged region get the value of its first one.
///
/// Errors: too large, not a workbook, no or several visible sheets, merged cells in rows without `fill`.
pub(super) fn read(bytes: &[u8], name: Option<&str>, fill: bool) -> Result<(Table, Recognised), LineError> {
    let wrong = |message: &str| LineError::at(0, "", message);
    bounded(bytes)?;
    let not = |e: calamine::XlsxError| {
        tracing::debug!(error = %e, "a workbook cannot be read");
        LineError::at(0, "", "the workbook cannot be read; save it as XLSX again, or as CSV")
    };
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(not)?;
    let visible: Vec<String> = book
        .sheets_metadata()
        .iter()
        .filter(|s| s.visible == SheetVisible::Visible && s.typ == SheetType::WorkSheet)
        .map(|s| s.name.clone())
        .collect();
    let sheet = match (name, visible.as_slice()) {
        (Some(name), all) => {
            let known = book.sheets_metadata().iter().map(|s| &s.name).find(|n| n.eq_ignore_ascii_case(name));
            let known = known.cloned();
            known.ok_or_else(|| {
                wrong(&format!("there is no sheet \"{name}\"; there are {}", all.join(", ")))
            })?
        }
        (None, [one]) => one.clone(),
        (None, []) => return Err(wrong("the workbook has no visible sheet")),
        (None, many) => {
            let names = many.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
            return Err(wrong(&format!(
                "the workbook has several visible sheets; say which, as sheet: {names}"
            )));
        }
    };
    let merged = merged(&mut book, &sheet)?;
    let look = Look::of(bytes, &sheet)?;
    if let Some(line) = look.struck {
        let message = "a cell is struck out: is the row withdrawn? take it out, or give it a status";
        return Err(LineError::at(u64::from(line), "", message));
    }
    let cells = cells(&mut book, &sheet, &look, not)?;
    let table = table(cells, &merged, fill)?;
    let recognised = Recognised {
        format: "XLSX".to_owned(),
        separator: format!("sheet \"{sheet}\""),
        notes: notes(&look),
        ..Recognised::default()
    };
    Ok((table, recognised))
}

/// What a person should know of what a spreadsheet shows otherwise, or beside the cells.
fn notes(look: &Look) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(first) = look.hidden.first() {
        let n = look.hidden.len();
        out.push(format!("rows that are hidden in the workbook: {n}, the first in line {first}; they are read like the others"));
    }
    if look.comments {
        out.push("the workbook has comments on cells, which are not read".to_owned());
    }
    out
}

/// Unpacks every part once and counts, because what a part says of its own size may be wrong.
fn bounded(bytes: &[u8]) -> Result<(), LineError> {
    let too_large = || LineError::at(0, "", "the workbook unpacks to more than 64 MiB");
    let broken = |_| LineError::at(0, "", "the file begins like a workbook and is broken or cut short");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > MAX_PARTS {
        return Err(too_large());
    }
    let mut left = MAX_UNPACKED;
    for i in 0..archive.len() {
        let part = archive.by_index(i).map_err(broken)?;
        if part.size() > left {
            return Err(too_large());
        }
        let mut bounded = part.take(left + 1);
        let n = std::io::copy(&mut bounded, &mut std::io::sink()).map_err(|_| {
            LineError::at(0, "", "the file begins like a workbook and is broken or cut short")
        })?;
        left = left.checked_sub(n).ok_or_else(too_large)?;
    }
    Ok(())
}

/// Regions of several rows that are one cell: first row, last row, first column, last column.
type Merged = Vec<(u32, u32, u32, u32)>;

fn merged(book: &mut Xlsx<Cursor<&[u8]>>, sheet: &str) -> Result<Merged, LineError> {
    let broken = || LineError::at(0, "", "the merged cells of the workbook cannot be read");
    let regions = book.merge_cells_by_sheet_name(sheet).map_err(|_| broken())?;
    if regions.len() > MAX_MERGED {
        return Err(LineError::at(0, "", "the workbook has more than 100,000 merged cells"));
    }
    let all = regions.iter().map(|d| (d.start.0, d.end.0, d.start.1, d.end.1));
    Ok(all.filter(|(first, last, ..)| last > first).collect())
}

/// Cells with text, in the order of rows.
#[derive(Default)]
struct Cells {
    text: String,
    /// Row, column, end of the text.
    at: Vec<(u32, u32, u32)>,
    columns: u32,
}

impl Cells {
    fn text(&self, i: usize) -> &str {
        let from = i.checked_sub(1).and_then(|b| self.at.get(b)).map_or(0, |a| a.2) as usize;
        let to = self.at.get(i).map_or(0, |a| a.2) as usize;
        self.text.get(from..to).unwrap_or("")
    }
}

fn cells(
    book: &mut Xlsx<Cursor<&[u8]>>,
    sheet: &str,
    look: &Look,
    not: impl Fn(calamine::XlsxError) -> LineError,
) -> Result<Cells, LineError> {
    let mut reader = book.worksheet_cells_reader(sheet).map_err(&not)?;
    let mut out = Cells::default();
    let mut seen = 0;
    while let Some(cell) = reader.next_cell().map_err(&not)? {
        let (row, column) = cell.get_position();
        let line = u64::from(row) + 1;
        let before = out.text.len();
        let number = matches!(cell.get_value(), DataRef::Int(_) | DataRef::Float(_));
        let around = look.around(&mut seen, row, column).filter(|_| number);
        out.text.push_str(around.map_or("", |a| &a.before));
        write(cell.get_value(), &mut out.text);
        out.text.push_str(around.map_or("", |a| &a.behind));
        if out.text.get(before..).is_none_or(|t| t.trim().is_empty()) {
            out.text.truncate(before);
            continue;
        }
        if column as usize >= MAX_COLUMNS {
            return Err(LineError::at(
                line,
                "",
                &format!("a cell beyond column {MAX_COLUMNS}; a sheet has at most {MAX_COLUMNS}"),
            ));
        }
        if out.at.last().is_some_and(|(r, c, _)| (*r, *c) >= (row, column)) {
            return Err(LineError::at(line, "", "the cells of the workbook are not in order"));
        }
        // One long text that many cells share counts as often as it is used.
        if out.text.len() as u64 > MAX_UNPACKED {
            return Err(LineError::at(line, "", "the workbook unpacks to more than 64 MiB"));
        }
        out.columns = out.columns.max(column + 1);
        out.at.push((row, column, out.text.len() as u32));
    }
    Ok(out)
}

/// A value as it would stand in a text file.
fn write(value: &DataRef<'_>, out: &mut String) {
    use std::fmt::Write as _;
    let _ = match value {
        DataRef::Int(n) => write!(out, "{n}"),
        DataRef::Float(f) => write!(out, "{f}"),
        DataRef::String(s) => write!(out, "{s}"),
        DataRef::SharedString(s) => write!(out, "{s}"),
        DataRef::Bool(b) => write!(out, "{}", if *b { "TRUE" } else { "FALSE" }),
        DataRef::DateTime(d) if d.is_datetime() => {
            let (y, m, d, h, min, s, _) = d.to_ymd_hms_milli();
            match (h, min, s) {
                (0, 0, 0) => write!(out, "{y:04}-{m:02}-{d:02}"),
                _ => write!(out, "{y:04}-{m:02}-{d:02} {h:02}:{min:02}:{s:02}"),
            }
        }
        DataRef::DateTime(d) => write!(out, "a duration of {} days", d.as_f64()),
        DataRef::DateTimeIso(s) | DataRef::DurationIso(s) => write!(out, "{s}"),
        DataRef::Error(e) => write!(out, "{e}"),
        DataRef::Empty => Ok(()),
    };
}

/// Rows of one length each, with merged cells filled or told.
fn table(cells: Cells, merged: &Merged, fill: bool) -> Result<Table, LineError> {
    let mut table = Table::default();
    let mut firsts: std::collections::HashMap<(u32, u32), usize> = std::collections::HashMap::new();
    let mut covered: std::collections::BTreeMap<u32, Vec<usize>> = std::collections::BTreeMap::new();
    for (i, (first, ..)) in merged.iter().enumerate() {
        covered.entry(*first).or_default().push(i);
    }
    let mut open: Vec<usize> = Vec::new();
    let mut i = 0;
    while let Some((row, ..)) = cells.at.get(i).copied() {
        let line = u64::from(row) + 1;
        let too_large = |_| LineError::at(line, "", "the sheet is too large");
        while let Some(entry) = covered.first_entry().filter(|e| *e.key() <= row) {
            open.extend(entry.remove());
        }
        open.retain(|m| merged.get(*m).is_some_and(|(_, last, ..)| *last >= row));
        for column in 0..cells.columns {
            let own = cells.at.get(i).is_some_and(|(r, c, _)| (*r, *c) == (row, column));
            if own {
                firsts.insert((row, column), i);
                table.cell(cells.text(i)).map_err(too_large)?;
                i += 1;
                continue;
            }
            let region = open
                .iter()
                .filter_map(|m| merged.get(*m))
                .find(|(first, _, from, to)| *first < row && (*from..=*to).contains(&column));
            let above =
                region.and_then(|(first, _, from, _)| firsts.get(&(*first, *from))).map(|f| cells.text(*f));
            match above {
                Some(text) if fill => table.cell(text).map_err(too_large)?,
                Some(_) => {
                    table.merged(line, column as usize);
                    table.cell("").map_err(too_large)?;
                }
                None => table.cell("").map_err(too_large)?,
            }
        }
        table.end_row(line);
        // Only what a merged region may still need is kept.
        if merged.is_empty() {
            firsts.clear();
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A workbook of these sheets: name, hidden, XML of its rows and what follows them.
    pub(crate) fn book(sheets: &[(&str, bool, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        let mut part = |name: &str, text: &str| {
            zip.start_file(name, options).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        };
        let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
        let rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
        let pack = "http://schemas.openxmlformats.org/package/2006";
        part("[Content_Types].xml", &format!("<Types xmlns=\"{pack}/content-types\"/>"));
        part(
            "_rels/.rels",
            &format!(
                "<Relationships xmlns=\"{pack}/relationships\"><Relationship Id=\"r\" Type=\"{rel}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
            ),
        );
        let mut list = String::new();
        let mut rels = String::new();
        for (i, (name, hidden, _)) in sheets.iter().enumerate() {
            let state = if *hidden { " state=\"hidden\"" } else { "" };
            list += &format!("<sheet name=\"{name}\" sheetId=\"{0}\"{state} r:id=\"r{0}\"/>", i + 1);
            rels += &format!(
                "<Relationship Id=\"r{0}\" Type=\"{rel}/worksheet\" Target=\"worksheets/s{0}.xml\"/>",
                i + 1
            );
        }
        rels += &format!("<Relationship Id=\"st\" Type=\"{rel}/styles\" Target=\"styles.xml\"/>");
        part(
            "xl/workbook.xml",
            &format!("<workbook xmlns=\"{main}\" xmlns:r=\"{rel}\"><sheets>{list}</sheets></workbook>"),
        );
        part(
            "xl/_rels/workbook.xml.rels",
            &format!("<Relationships xmlns=\"{pack}/relationships\">{rels}</Relationships>"),
        );
        part(
            "xl/styles.xml",
            &format!(
                "<styleSheet xmlns=\"{main}\"><numFmts count=\"2\"><numFmt numFmtId=\"164\" formatCode=\"[$€-407] #,##0.0000\"/>\
                <numFmt numFmtId=\"165\" formatCode=\"0.0000&quot; cents&quot;\"/></numFmts>\
                <fonts count=\"2\"><font/><font><strike/></font></fonts>\
                <cellXfs count=\"6\"><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/><xf numFmtId=\"164\"/><xf numFmtId=\"165\"/>\
                <xf numFmtId=\"10\"/><xf numFmtId=\"0\" fontId=\"1\"/></cellXfs></styleSheet>"
            ),
        );
        for (i, (.., rows)) in sheets.iter().enumerate() {
            part(
                &format!("xl/worksheets/s{}.xml", i + 1),
                &format!("<worksheet xmlns=\"{main}\">{rows}</worksheet>"),
            );
        }
        zip.finish().unwrap().into_inner()
    }

    const ROWS: &str = "<sheetData><row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>Code</t></is></c><c r=\"B1\" t=\"inlineStr\"><is><t>Rate</t></is></c><c r=\"C1\" t=\"inlineStr\"><is><t>Effective</t></is></c></row>\
        <row r=\"3\"><c r=\"A3\"><v>4.47E+11</v></c><c r=\"B3\"><v>1.2500000000000001E-2</v></c><c r=\"C3\" s=\"1\"><v>46357</v></c></row>\
        <row r=\"4\"><c r=\"A4\"><v>44</v></c><c r=\"B4\"><v>0.1</v></c></row></sheetData>";

    fn lines(bytes: &[u8], name: Option<&str>, fill: bool) -> Result<Vec<String>, String> {
        let (table, _) = read(bytes, name, fill).map_err(|e| e.message)?;
        Ok(table
            .lines_from(0)
            .map(|l| format!("{}: {}", l.number(), l.cells().collect::<Vec<_>>().join("|")))
            .collect())
    }

    #[test]
    fn numbers_are_the_shortest_decimals_and_dates_are_dates() {
        let bytes = book(&[("Rates", false, ROWS), ("Old", true, ROWS)]);
        let got = lines(&bytes, None, false).unwrap();
        assert_eq!(got, ["1: Code|Rate|Effective", "3: 447000000000|0.0125|2026-12-01", "4: 44|0.1|"]);
    }

    /// What a buyer sees is what is read: a currency, a unit or a percent sign of the format, a row that is struck out or hidden.
    #[test]
    fn cells_are_read_as_they_look() {
        let styled = |s: u32| ROWS.replace("<c r=\"B4\"", &format!("<c r=\"B4\" s=\"{s}\""));
        let third = |s| lines(&book(&[("A", false, &styled(s))]), None, false).map(|l| l[2].clone());
        assert_eq!(third(0).unwrap(), "4: 44|0.1|");
        assert_eq!(third(2).unwrap(), "4: 44|€0.1|");
        assert_eq!(third(3).unwrap(), "4: 44|0.1cents|");
        assert_eq!(third(4).unwrap(), "4: 44|0.1%|");
        let bytes = book(&[("A", false, &styled(5))]);
        let Err(struck) = read(&bytes, None, false) else { panic!("a cell is struck out") };
        assert_eq!((struck.line, struck.message.contains("struck out")), (4, true));
        let hidden = ROWS.replace("<row r=\"4\">", "<row r=\"4\" hidden=\"1\">");
        let (_, seen) = read(&book(&[("A", false, &hidden)]), None, false).unwrap();
        assert!(seen.notes[0].contains("hidden in the workbook: 1, the first in line 4"), "{:?}", seen.notes);
        assert!(read(&book(&[("A", false, ROWS)]), None, false).unwrap().1.notes.is_empty());
    }

    #[test]
    fn the_one_visible_sheet_or_the_named_one() {
        let two = book(&[("A", false, ROWS), ("B", false, ROWS)]);
        assert!(lines(&two, None, false).unwrap_err().contains("sheet: A, B"));
        assert_eq!(lines(&two, Some("b"), false).unwrap().len(), 3);
        assert!(lines(&two, Some("C"), false).unwrap_err().contains("no sheet \"C\""));
        assert!(lines(&book(&[("A", true, ROWS)]), None, false).unwrap_err().contains("no visible sheet"));
    }

    #[test]
    fn merged_cells_are_told_or_filled() {
        let rows = ROWS.to_owned() + "<mergeCells count=\"1\"><mergeCell ref=\"C3:C4\"/></mergeCells>";
        let bytes = book(&[("A", false, &rows)]);
        assert_eq!(lines(&bytes, None, true).unwrap()[2], "4: 44|0.1|2026-12-01");
        let (table, _) = read(&bytes, None, false).unwrap();
        assert_eq!(table.merged_cells(), [(4, 2)]);
    }

    #[test]
    fn bombs_and_sheets_with_a_far_cell_take_no_memory() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("xl/workbook.xml", zip::write::SimpleFileOptions::default()).unwrap();
        let piece = vec![b' '; 1 << 20];
        for _ in 0..70 {
            zip.write_all(&piece).unwrap();
        }
        let bomb = zip.finish().unwrap().into_inner();
        assert!(bomb.len() < 1 << 20);
        assert!(lines(&bomb, None, false).unwrap_err().contains("64 MiB"));
        let far = "<sheetData><row r=\"1\"><c r=\"A1\"><v>1</v></c></row><row r=\"1048576\"><c r=\"XFD1048576\"><v>1</v></c></row></sheetData>";
        assert!(lines(&book(&[("A", false, far)]), None, false).unwrap_err().contains("beyond column"));
        for end in [4, 30, 200, 700] {
            let mut cut = book(&[("A", false, ROWS)]);
            cut.truncate(end);
            assert!(lines(&cut, None, false).is_err());
        }
    }
}
