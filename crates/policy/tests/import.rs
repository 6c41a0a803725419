//! CSV import: columns as they come, exact prices, every error with its line, any bytes without a panic.

use proptest::prelude::*;
use warp_model::{Currency, DeckId, Nanos, Wall};
use warp_policy::deck::sheet::{MAX_ERRORS, SheetOptions, Zone};
use warp_policy::deck::{Deck, DeckKind, DeckMeta, Field, ImportOptions, Terms, read_text};

fn us() -> ImportOptions {
    ImportOptions::default()
}

fn az() -> ImportOptions {
    ImportOptions { kind: DeckKind::Az, ..ImportOptions::default() }
}

fn errors(text: &str, options: &ImportOptions) -> Vec<(u64, String, String)> {
    read_text(text.as_bytes(), options)
        .unwrap_err()
        .into_iter()
        .map(|e| (e.line, e.column, e.message))
        .collect()
}

#[test]
fn a_us_deck_with_and_without_the_leading_1() {
    let text = "\u{feff}NPANXX,LATA,Inter Rate,Intra,IJ,Effective Date\r\n\
        212555,132,0.0012,0.003,0.0035,2026-01-01\r\n\
        1415555,722,0.00125,.004,,11/22/2026\r\n\
        2125551,132,0.001,0.001,0.001,\r\n\
        415,722,0.000000001,0.2,0.1,20260102\r\n";
    let deck = read_text(text.as_bytes(), &us()).unwrap();
    let rows: Vec<_> = deck.rows.iter().map(|r| (r.code.to_string(), r.rates.map(|n| n.0))).collect();
    assert_eq!(
        rows,
        [
            ("1212555".into(), [1_200_000, 3_000_000, 3_500_000]),
            // No indeterminate price: the dearer one.
            ("1415555".into(), [1_250_000, 4_000_000, 4_000_000]),
            ("12125551".into(), [1_000_000; 3]),
            ("1415".into(), [1, 200_000_000, 100_000_000]),
        ]
    );
    assert_eq!(deck.rows[1].from, Some(Wall::from_unix_ms(1_795_305_600_000)));
    assert_eq!(deck.rows[0].terms, Terms::of(6, 6));
    assert_eq!(deck.recognised.columns[0], ("NPANXX".to_owned(), "code".to_owned()));
}

#[test]
fn an_a_z_deck_with_lists_and_ranges() {
    let text = "Country,Destination,Country Code,Dial Codes,Rate,Billing Increment,Connection Fee,Status\n\
        Russia,Mobile,7,\"9-11,95\",\"$1,000.02\",60/60,0.01,Increase\n\
        UK,Fixed,44,,0.005,1/1,,\n\
        France,Old,33,,,,,Removed\n";
    let mut options = az();
    // 9-11 is no range: two lengths.
    assert_eq!(errors(text, &options)[0].0, 2);
    options.sheet.cap = Some(Nanos(2_000_000_000_000));
    let text = text.replace("9-11,95", "90-92,95");
    let deck = read_text(text.as_bytes(), &options).unwrap();
    let codes: Vec<_> = deck.rows.iter().map(|r| r.code.to_string()).collect();
    assert_eq!(codes, ["790", "791", "792", "795", "44"]);
    assert_eq!(deck.rows[0].rates[0], Nanos(1_000_020_000_000));
    assert_eq!(deck.rows[0].terms.initial_s, 60);
    assert_eq!(deck.rows[0].terms.setup_fee, Nanos(10_000_000));
    assert_eq!(deck.ended.len(), 1);
}

#[test]
fn every_error_has_its_line_and_column() {
    let text = "Prefix,Interstate,Intrastate,Effective Date,Increment\n\
        212555,0.0000000001,0.1,,6/6\n\
        112555,0.1,0.1,,6/6\n\
        212556,-0.1,0.1,,6/6\n\
        212557,0.1,1e3,,6/6\n\
        212558,200,0.1,,6/6\n\
        212559,0.1,0.1,2026-02-30,6/6\n\
        212560,0.1,0.1,,0/6\n\
        212561,0.1,0.1,,\n\
        1212561,0.1,0.1,,\n\
        212562,0.1,,,\n";
    let got = errors(text, &us());
    let lines: Vec<_> = got.iter().map(|(l, c, _)| (*l, c.as_str())).collect();
    assert_eq!(
        lines,
        [
            (2, "Interstate"),
            (3, "Prefix"),
            (4, "Interstate"),
            (5, "Intrastate"),
            (6, "Interstate"),
            (7, "Effective Date"),
            (8, "Increment"),
            (10, "Prefix"),
            (11, "Intrastate"),
        ]
    );
    assert!(got[0].2.contains("9 decimal places"));
    assert!(got[7].2.contains("also on line 9"));
}

#[test]
fn files_that_are_no_decks() {
    assert_eq!(errors("", &us())[0].2, "no rows");
    assert!(errors("a,b\n1,2\n", &us())[0].2.contains("dial code"));
    assert!(errors("prefix,rate,rate\n1,2,3\n", &us())[0].2.contains("two columns"));
    assert!(errors("code,rate,origin group\n44,0.1,EEA\n", &az())[0].2.contains("origin"));
    let many = format!("code,rate\n{}", "x,y\n".repeat(5_000));
    assert_eq!(errors(&many, &az()).len(), MAX_ERRORS);
    let mut small = az();
    small.max_rows = 10;
    assert!(errors("code,rate\n4410-4499,1\n", &small).last().unwrap().2.contains("more rows"));
    assert!(errors("code,rate\n4400000-4499999,1\n", &az())[0].2.contains("10,000 codes"));
}

#[test]
fn a_remembered_mapping_is_used() {
    let mapping = [("x".to_owned(), Field::Rate), ("Z!".to_owned(), Field::Code)].into();
    let sheet =
        SheetOptions { mapping, ignore: vec!["Y".into()], zone: Some(Zone(-300)), ..SheetOptions::default() };
    let options = ImportOptions { sheet, ..az() };
    let deck = read_text("x,y,z\n0.5,?,44\n".as_bytes(), &options).unwrap();
    assert_eq!(deck.rows[0].rates[0], Nanos(500_000_000));
    assert_eq!(deck.recognised.notes.len(), 1);
}

fn meta() -> DeckMeta {
    DeckMeta {
        id: DeckId::from_u128(1),
        version: 1,
        name: "m".into(),
        kind: DeckKind::Us,
        currency: Currency::USD,
    }
}

const GOOD: &str = "Prefix,Interstate,Intrastate,Indeterminate,Effective,Expiration,Increment,Setup,Change\n\
    212555,0.0012,0.003,0.0035,2026-01-01,2027-01-01,6/6,0.001,New\n\
    1415555,0.00125,.004,,11/22/2026,,30/6,,\n\
    \"415\",0.1,0.2,0.1,,,,,Same\n";

proptest! {
    #[test]
    fn mutated_files_never_panic(
        edits in proptest::collection::vec((0usize..400, any::<u8>(), 0u8..3), 1..12), kind in any::<bool>(),
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, value, how) in edits {
            let at = at % bytes.len();
            match how {
                0 => bytes[at] = value,
                1 => bytes.insert(at, value),
                _ => { bytes.remove(at); }
            }
        }
        let options = if kind { us() } else { az() };
        match read_text(bytes.as_slice(), &options) {
            // What is read without an error makes a deck, and the deck survives being stored.
            Ok(read) if !read.rows.is_empty() => {
                let deck = Deck::new(meta(), read.rows).unwrap();
                prop_assert_eq!(Deck::from_bytes(&deck.to_bytes()).unwrap().hash(), deck.hash());
            }
            Ok(_) => {}
            Err(e) => prop_assert!(!e.is_empty() && e.len() <= MAX_ERRORS),
        }
    }

    #[test]
    fn prices_are_read_exactly(whole in 0u64..100, nanos in 0u64..1_000_000_000) {
        let text = format!("code,rate\n44,{whole}.{nanos:09}\n");
        let deck = read_text(text.as_bytes(), &az()).unwrap();
        prop_assert_eq!(deck.rows[0].rates[0].0 as u64, whole * 1_000_000_000 + nanos);
    }
}
