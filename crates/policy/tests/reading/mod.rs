//! Reads sheets for tests and shows what was read in one line of text.
#![allow(dead_code)]

use warp_model::{Nanos, Wall};
use warp_policy::deck::sheet::SheetOptions;
use warp_policy::deck::{DeckKind, DeckRows, ImportOptions, LineError, read_text};

/// Reads a sheet with the options in JSON.
pub fn read(kind: &str, sheet: &str, bytes: &[u8]) -> Result<DeckRows, Vec<LineError>> {
    let kind = if kind == "us" { DeckKind::Us } else { DeckKind::Az };
    let sheet: SheetOptions = serde_json::from_str(if sheet.is_empty() { "{}" } else { sheet }).unwrap();
    read_text(bytes, &ImportOptions { kind, sheet, ..ImportOptions::default() })
}

/// `code rate initial/next[ fee][ from][ until][ blocked]`, ended codes as `-code`.
pub fn shown(rows: &DeckRows) -> String {
    let day = |w: Option<Wall>, mark: &str| {
        w.map_or(String::new(), |w| format!(" {mark}{}", &w.to_string()[..16].replace("T00:00", "")))
    };
    let mut out: Vec<String> = rows
        .rows
        .iter()
        .map(|r| {
            let [a, b, c] = r.rates;
            let rates = if a == b && b == c { a.to_string() } else { format!("{a}|{b}|{c}") };
            let price = if r.blocked {
                "blocked".to_owned()
            } else {
                format!("{rates} {}/{}", r.terms.initial_s, r.terms.next_s)
            };
            let fee = if r.terms.setup_fee == Nanos::ZERO {
                String::new()
            } else {
                format!(" fee {}", r.terms.setup_fee)
            };
            format!("{} {price}{fee}{}{}", r.code, day(r.from, ">"), day(r.until, "<"))
        })
        .collect();
    out.extend(rows.ended.iter().map(|(c, when)| format!("-{c}{}", day(*when, ">"))));
    out.join("; ")
}

/// It is read, as this.
#[track_caller]
pub fn ok(kind: &str, sheet: &str, text: &str, want: &str) {
    match read(kind, sheet, text.as_bytes()) {
        Ok(rows) => assert_eq!(shown(&rows), want, "{text}"),
        Err(e) => panic!("refused: {e:?}\n{text}"),
    }
}

/// It is refused: the first error has this line and column, and its message these words.
#[track_caller]
pub fn no(kind: &str, sheet: &str, text: &str, line: u64, column: &str, words: &str) {
    match read(kind, sheet, text.as_bytes()) {
        Ok(rows) => panic!("read as {}\n{text}", shown(&rows)),
        Err(errors) => {
            let e = &errors[0];
            assert_eq!((e.line, e.column.as_str()), (line, column), "{errors:?}\n{text}");
            assert!(e.message.contains(words), "{e} has not \"{words}\"");
        }
    }
}
