//! The sheets of `testdata/field`, one habit of vendors each: what a call costs by each, or where it is refused and why.
//! The deck goes through the index as it does for calls, so that codes that are not carried count too.

mod world;

use std::sync::Arc;

use warp_model::{Currency, DeckId, E164, Nanos, Wall};
use warp_policy::deck::sheet::{DateOrder, SheetOptions};
use warp_policy::deck::{Deck, DeckKind, DeckMeta, ImportOptions, LineError, Terms, read_text};
use warp_policy::{Code, LcrIndex, NumberPlan, RateList, Rounding};

/// 2026-11-29 12:00 UTC.
const NOW: Wall = Wall(1_795_953_600_000_000);

struct Priced {
    rate: Nanos,
    terms: Terms,
    code: String,
}

fn options(kind: DeckKind) -> ImportOptions {
    ImportOptions { kind, ..ImportOptions::default() }
}

fn deck(bytes: &[u8], options: &ImportOptions) -> Result<Deck, Vec<LineError>> {
    let rows = read_text(bytes, options)?;
    let meta = DeckMeta {
        id: DeckId::from_u128(1),
        version: 1,
        name: "field".into(),
        kind: options.kind,
        currency: Currency::USD,
    };
    Ok(Deck::replaced(None, meta, &rows, NOW).unwrap().0)
}

/// What a call to this number costs by the deck, interstate or the only price; `None`: no price of this deck.
fn price(deck: &Deck, number: &str) -> Option<Priced> {
    let plan = NumberPlan::seed();
    let list = RateList { decks: vec![Arc::new(deck.clone())] };
    let index = LcrIndex::build(&[], &[list], &plan, NOW).unwrap();
    let number: E164 = number.parse().unwrap();
    let row = index.find(number)?;
    let jurisdiction = (deck.meta().kind == DeckKind::Us).then_some(warp_policy::Jurisdiction::Interstate);
    let rate = index.sell_rate(0, row, Code::whole(number), jurisdiction, Rounding::default())?;
    Some(Priced { rate: rate.rate_per_min, terms: rate.terms, code: rate.code.to_string() })
}

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/testdata/field/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A number, and its price per minute, increments and fee; `None`: no price at all.
type Call = (&'static str, Option<(&'static str, u32, u32, &'static str)>);

/// What must come of a file.
enum Must {
    /// These calls cost so much.
    Cost(&'static [Call]),
    /// Line and column; the reason contains the words.
    Refused(u64, &'static str, &'static str),
}
use Must::*;

const TABLE: &[(&str, DeckKind, Must)] = &[
    ("us-duration-increment.csv", DeckKind::Us, Cost(&[("+12015550123", Some(("0.007", 30, 6, "0")))])),
    ("az-min-int.csv", DeckKind::Az, Cost(&[("+525512345678", Some(("0.02", 60, 60, "0.001")))])),
    (
        "az-code-interval-1-interval-n.csv",
        DeckKind::Az,
        Cost(&[("+525512345678", Some(("0.02", 60, 60, "0")))]),
    ),
    ("az-surcharge.csv", DeckKind::Az, Cost(&[("+442071234567", Some(("0.02", 1, 1, "0.05")))])),
    ("az-plus-interval.csv", DeckKind::Az, Cost(&[("+442071234567", Some(("0.02", 6, 6, "0")))])),
    ("az-activation-date.csv", DeckKind::Az, Cost(&[("+442071234567", None)])),
    ("az-end-of-validity.csv", DeckKind::Az, Cost(&[("+442071234567", None)])),
    ("az-excel-serial-date.csv", DeckKind::Az, Cost(&[("+442071234567", None)])),
    (
        "az-status-blocked.csv",
        DeckKind::Az,
        Cost(&[("+442071234567", Some(("0.01", 1, 1, "0"))), ("+447400123456", None)]),
    ),
    (
        "az-status-withdrawn.csv",
        DeckKind::Az,
        Cost(&[("+442071234567", Some(("0.01", 1, 1, "0"))), ("+447400123456", None)]),
    ),
    (
        "az-blocked-column.csv",
        DeckKind::Az,
        Cost(&[("+442071234567", Some(("0.01", 1, 1, "0"))), ("+447400123456", None)]),
    ),
    (
        "az-rate-blocked-word.csv",
        DeckKind::Az,
        Cost(&[("+442071234567", Some(("0.01", 1, 1, "0"))), ("+447400123456", None)]),
    ),
    (
        "az-code-with-space.csv",
        DeckKind::Az,
        Cost(&[("+442071234567", Some(("0.01", 1, 1, "0"))), ("+20212345678", None), ("+4930123456", None)]),
    ),
    ("az-merged-country-cells.csv", DeckKind::Az, Refused(3, "Area Code", "repeat_cells")),
    (
        "az-country-code-and-full-code.csv",
        DeckKind::Az,
        Cost(&[("+442071234567", Some(("0.01", 1, 1, "0"))), ("+447400123456", Some(("0.05", 1, 1, "0")))]),
    ),
    ("az-excel-scientific-code.csv", DeckKind::Az, Refused(2, "Code", "digits are lost")),
    ("az-trailing-dot-zero.csv", DeckKind::Az, Cost(&[("+442071234567", Some(("0.01", 1, 1, "0")))])),
    ("az-origin-based.csv", DeckKind::Az, Refused(2, "Originating Prefix", "by origin")),
    ("az-decimal-comma-unquoted.csv", DeckKind::Az, Refused(2, "column 4", "4 cells and the header 3")),
    ("az-decimal-comma-quoted.csv", DeckKind::Az, Cost(&[("+442071234567", Some(("0.0125", 1, 1, "0")))])),
    ("az-dollar-sign.csv", DeckKind::Az, Cost(&[("+442071234567", Some(("0.0125", 1, 1, "0")))])),
    ("az-currency-column.csv", DeckKind::Az, Refused(2, "Currency", "EUR")),
    ("az-peak-rate.csv", DeckKind::Az, Refused(2, "Peak Rate", "hours")),
    ("preamble-rows.csv", DeckKind::Az, Cost(&[("+442071234567", Some(("0.01", 1, 1, "0")))])),
    ("semicolons.csv", DeckKind::Az, Cost(&[("+442071234567", Some(("0.01", 1, 1, "0")))])),
    ("utf-16.csv", DeckKind::Az, Cost(&[("+442071234567", Some(("0.01", 1, 1, "0")))])),
    (
        "us-bom-crlf-quotes.csv",
        DeckKind::Us,
        Cost(&[("+12015550123", Some(("0.0011", 6, 6, "0"))), ("+12125550123", Some(("0.0012", 6, 6, "0")))]),
    ),
    (
        "az-lists-and-ranges.csv",
        DeckKind::Az,
        Cost(&[
            ("+12015550123", Some(("0.004", 6, 6, "0"))),
            ("+525512345678", Some(("0.01", 60, 60, "0"))),
            ("+74951234567", Some(("0.02", 1, 1, "0"))),
            ("+12125550123", None),
        ]),
    ),
];

#[test]
fn every_row_gives_what_its_table_says() {
    let mut files: Vec<String> = std::fs::read_dir(format!("{}/testdata/field", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut named: Vec<&str> = TABLE.iter().map(|(n, ..)| *n).collect();
    named.sort_unstable();
    assert_eq!(files, named, "every file has a row");
    for (name, kind, must) in TABLE {
        let read = deck(&file(name), &options(*kind));
        match must {
            Cost(calls) => {
                let deck = read.unwrap_or_else(|e| panic!("{name}: {e:?}"));
                for (number, want) in *calls {
                    let got = price(&deck, number).map(|p| {
                        (p.rate.to_string(), p.terms.initial_s, p.terms.next_s, p.terms.setup_fee.to_string())
                    });
                    let want = want.map(|(r, a, b, fee)| (r.to_owned(), a, b, fee.to_owned()));
                    assert_eq!(got, want, "{name}: {number}");
                }
            }
            Refused(line, column, words) => {
                let errors = read.expect_err(name);
                let e = &errors[0];
                assert_eq!((e.line, e.column.as_str()), (*line, *column), "{name}: {errors:?}");
                assert!(e.message.contains(words), "{name}: {e}");
            }
        }
    }
}

#[test]
fn with_the_option_merged_cells_repeat_the_one_above() {
    let mut with = options(DeckKind::Az);
    with.sheet.repeat_cells = Some(true);
    let deck = deck(&file("az-merged-country-cells.csv"), &with).unwrap();
    assert_eq!(price(&deck, "+442071234567").unwrap().rate, Nanos(10_000_000));
    assert_eq!(price(&deck, "+447400123456").unwrap().code, "447");
    assert!(price(&deck, "+74951234567").is_none());
}

#[test]
fn npa_and_nxx_in_two_columns_are_one_code() {
    let deck = deck(
        b"npa,nxx,inter,intra,ij\n201,555,0.001,0.002,0.002\n212,,0.003,0.003,0.003\n",
        &options(DeckKind::Us),
    );
    let deck = deck.unwrap();
    assert_eq!(price(&deck, "+12015550123").unwrap().code, "1201555");
    assert!(price(&deck, "+12015560123").is_none(), "the row is no price of the whole area code");
    assert_eq!(price(&deck, "+12125550123").unwrap().code, "1212");
}

#[test]
fn an_ambiguous_date_needs_the_option() {
    let text = b"Code,Rate,Effective Date\n44,0.01,05/12/2026\n";
    let refused = deck(text, &options(DeckKind::Az)).unwrap_err();
    assert_eq!((refused[0].line, refused[0].column.as_str()), (2, "Effective Date"));
    assert!(refused[0].message.contains("date_order"));
    for (order, in_force) in [(DateOrder::DayFirst, false), (DateOrder::MonthFirst, true)] {
        let sheet = SheetOptions { date_order: Some(order), ..SheetOptions::default() };
        let with = ImportOptions { sheet, ..options(DeckKind::Az) };
        assert_eq!(price(&deck(text, &with).unwrap(), "+442071234567").is_some(), in_force);
    }
    let dots = deck(b"Code,Rate,Valid Till\n44,0.01,05.12.2026\n", &options(DeckKind::Az)).unwrap();
    assert!(price(&dots, "+442071234567").is_some(), "5 December is to come");
}

#[test]
fn a_code_that_is_not_carried_is_no_price_of_a_shorter_one_for_vendors_too() {
    let plan = NumberPlan::seed();
    let blocked = deck(
        b"Code,Rate,Status\n44,0.01,\n447,,Blocked\n44740,0.03,\n4474001,,Suspended\n",
        &options(DeckKind::Az),
    );
    let plain = deck(b"Code,Rate\n44,0.02\n", &options(DeckKind::Az)).unwrap();
    let lists = [blocked.unwrap(), plain].map(|d| RateList { decks: vec![Arc::new(d)] });
    let sell = world::list(&[&world::deck(9, DeckKind::Az, &[("44", [90_000_000; 3])])]);
    let index = LcrIndex::build(&lists, std::slice::from_ref(&sell), &plan, NOW).unwrap();
    let buys = |number: &str| -> Vec<(usize, i64)> {
        let number: E164 = number.parse().unwrap();
        let row = index.find(number).unwrap();
        let rate = |c| index.buy_rate(c, row, Code::whole(number), None, Rounding::default());
        (0..2).filter_map(|c| Some((c, rate(c)?.rate_per_min.0))).collect()
    };
    assert_eq!(buys("+442071234567"), [(0, 10_000_000), (1, 20_000_000)]);
    assert_eq!(buys("+447512345678"), [(1, 20_000_000)]);
    assert_eq!(buys("+447400923456"), [(0, 30_000_000), (1, 20_000_000)]);
    assert_eq!(buys("+447400123456"), [(1, 20_000_000)]);
    // The stored form of the index says the same.
    let number: E164 = "+447512345678".parse().unwrap();
    assert!(
        index
            .sell_rate(0, index.find(number).unwrap(), Code::whole(number), None, Rounding::default())
            .is_some()
    );
}
