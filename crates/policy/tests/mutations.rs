//! Seeded mutations of everything that this crate reads: no panic, memory in proportion to the input, errors with their
//! place, and nothing half read.

mod world;

use std::sync::Arc;

use sha2::{Digest, Sha256};
use warp_model::hash::SplitMix;
use warp_model::{E164, Nanos, Wall};
use warp_policy::Cidr;
use warp_policy::deck::sheet::{MAX_COLUMNS, MAX_ERRORS, SheetOptions, Zone};
use warp_policy::deck::{Deck, DeckKind, ImportOptions, read_text};
use warp_policy::directory::DirectoryBuilder;
use warp_policy::number_plan::DialRules;
use warp_policy::*;
use world::*;

struct Rng(SplitMix);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        (self.0.draw() % n.max(1) as u64) as usize
    }
}

const WORDS: &[&[u8]] = &[
    b"\0",
    b"\xef\xbb\xbf",
    b"\r",
    b"\r\n",
    b"\n",
    b"\"",
    b"\"\"",
    b",",
    b",,,,,,",
    b"-",
    b"--1",
    b"1e9",
    b"0,005",
    b"1,000.5",
    b"9223372036854775807",
    b"0.0000000001",
    b"\xff\xfe",
    b"\xc3\x28",
    b"Removed",
    b"2026-02-30",
    b"2026-01-01T10:00:00Z",
    b"60/60/1",
    b"/",
    b"0/0",
    b"+",
    b"%2B",
    b"%",
    b";rn=",
    b";npdi",
    b"/0",
    b"/33",
    b"::",
    b"'",
    b"=cmd()",
    b"\xe2\x80\x8f",
];

fn mutated(rng: &mut Rng, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=rng.below(6) {
        let at = rng.below(bytes.len() + 1);
        match rng.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 if at < bytes.len() => bytes[at] = rng.0.draw() as u8,
            2 if at < bytes.len() => {
                bytes.remove(at);
            }
            3 => bytes.truncate(at),
            4 => {
                let from = rng.below(bytes.len() + 1);
                let piece = bytes[from..(from + rng.below(200)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let huge = vec![b"0a,\"\xff"[rng.below(5)]; rng.below(20_000)];
                bytes.splice(at..at, huge);
            }
            _ => {
                bytes.splice(at..at, WORDS[rng.below(WORDS.len())].iter().copied());
            }
        }
    }
    bytes
}

/// Runs and returns what it gave, with the highest number of bytes it held at one time.
fn measured<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let mut out = None;
    let info = allocation_counter::measure(|| out = Some(work()));
    (out.unwrap(), info.bytes_max)
}

fn bound(len: usize) -> u64 {
    64 * len as u64 + 65_536
}

const US: &str = "Prefix,Interstate,Intrastate,Indeterminate,Effective,Expiration,Increment,Setup,Change,LATA\n\
    212555,0.0012,0.003,0.0035,2026-01-01,2027-01-01,6/6,0.001,New,132\n\
    1415555,0.00125,.004,,11/22/2026,,30/6,,,722\r\n\
    \"415\",0.1,0.2,0.1,,,,,Same,\"a \"\"quoted\"\" name, with a comma\"\n\
    2125551,0.1,0.2,0.1,,,,,,\n";
const AZ: &str = "Country,Destination,Country Code,Dial Codes,Rate,Billing Increment,Connection Fee,Status\n\
    Russia,Mobile,7,\"90,95\",\"1.02\",60/60,0.01,Increase\n\
    UK,Fixed,44,,0.005,1/1,,\n\
    France,Old,33,,,,,Removed\n";

#[test]
fn mutated_decks_are_read_whole_or_refused_with_line_and_column() {
    let mut rng = Rng(SplitMix::new(0xDEC5));
    for round in 0..6_000 {
        let (good, kind) = if round % 2 == 0 { (US, DeckKind::Us) } else { (AZ, DeckKind::Az) };
        let bytes = mutated(&mut rng, good.as_bytes());
        let mut options = ImportOptions { kind, ..ImportOptions::default() };
        options.sheet.free_rows = Some(round % 3 == 0);
        options.sheet.repeat_cells = Some(round % 5 == 0);
        let (read, held) = measured(|| read_text(bytes.as_slice(), &options));
        // A range of codes in one cell is more than its text, up to its own bound.
        if kind == DeckKind::Us || !bytes.contains(&b'-') {
            assert!(held <= bound(bytes.len()), "{held} bytes held for {}", bytes.len());
        }
        let lines = bytes.iter().filter(|b| matches!(b, b'\n' | b'\r')).count() as u64 + 1;
        match read {
            Ok(read) => {
                assert!(!read.rows.is_empty() || !read.ended.is_empty());
                for row in &read.rows {
                    assert!(row.rates.iter().all(|r| *r >= Nanos::ZERO && *r <= options.cap()));
                }
                if !read.rows.is_empty() {
                    let deck = Deck::new(world::deck(1, kind, &[("1415", [1; 3])]).meta().clone(), read.rows)
                        .unwrap();
                    assert_eq!(Deck::from_bytes(&deck.to_bytes()).unwrap().hash(), deck.hash());
                }
            }
            Err(errors) => {
                assert!(!errors.is_empty() && errors.len() <= MAX_ERRORS);
                for e in &errors {
                    assert!(e.line <= lines && e.message.len() < 300, "{e}");
                    assert!(!e.message.contains('\0') && e.column.chars().count() <= 64);
                }
            }
        }
    }
}

#[test]
fn errors_name_the_line_as_an_editor_counts_it() {
    let errors = |text: &str| -> Vec<(u64, String)> {
        let options = ImportOptions { kind: DeckKind::Az, ..ImportOptions::default() };
        read_text(text.as_bytes(), &options).unwrap_err().into_iter().map(|e| (e.line, e.column)).collect()
    };
    assert_eq!(errors("code,rate\n\n\n44,x\n"), [(4, "rate".into())]);
    assert_eq!(errors("code,rate\r\n\r\n44,x\r\n45,y\r\n"), [(3, "rate".into()), (4, "rate".into())]);
    assert_eq!(errors("code,rate\r44,1\r45,y\r"), [(3, "rate".into())]);
    assert_eq!(errors("\u{feff}code,rate\n\"44\",x"), [(2, "rate".into())]);
    assert_eq!(errors("code,rate,name\n44,1,\"two\nlines\"\n45,x,\n"), [(4, "rate".into())]);
}

#[test]
fn what_a_vendor_may_get_wrong_is_never_read_as_something_else() {
    let us = |text: &str| {
        let sheet = SheetOptions { zone: Some(Zone(-300)), ..SheetOptions::default() };
        read_text(text.as_bytes(), &ImportOptions { sheet, ..ImportOptions::default() })
    };
    let refused = |text: &str, column: &str| {
        let e = us(text).unwrap_err();
        assert_eq!((e[0].line, e[0].column.as_str()), (2, column), "{text}: {e:?}");
    };
    // An empty code is no price for all of the USA.
    for code in ["", "-", "+", "  ", "\"\""] {
        refused(&format!("Prefix,Inter,Intra\n{code},0.1,0.1\n"), "Prefix");
    }
    // Beside a decimal point a comma separates thousands, and nothing else.
    for price in ["0,005", "1,00", "1,0000", ",005", "0.1,000", "12,34.5", "1,,000", "1234,567"] {
        assert!(us(&format!("Prefix,Inter,Intra\n415,\"{price}\",0.1\n")).is_err(), "{price}");
    }
    refused("Prefix,Inter,Intra\n415,,\n", "Inter");
    refused("Prefix,Inter,Intra\n415,0.1\n", "Intra");
    // Midnight is the vendor's, a time with Z is not.
    let rows = us("Prefix,Rate,Effective\n415,0.1,2026-01-01\n416,0.1,2026-01-01T05:00:00Z\n").unwrap().rows;
    assert_eq!(rows[0].from, rows[1].from);
    assert_eq!(rows[0].from, Some(Wall::from_unix_ms(1_767_243_600_000)));
    // Nor is a column read over that says when a price counts.
    let e = us("Prefix,Rate,Effective (EST)\n415,0.1,2030-01-01\n").unwrap_err();
    assert_eq!((e[0].line, e[0].column.as_str()), (1, "Effective (EST)"));
    let rows = us("Prefix,Rate,Eff. Date,Old Rate\n415,0.1,2030-01-01,0.2\n").unwrap().rows;
    assert!(rows[0].from.is_some());
    let wide = format!("Prefix,Rate{}\n415,0.1\n", ",".repeat(MAX_COLUMNS));
    assert!(us(&wide).unwrap_err()[0].message.contains("columns"));
}

/// A separator too many or too few in a row moves money into other columns: such a sheet is never read.
#[test]
fn a_separator_that_is_lost_or_gained_refuses_the_sheet() {
    for (good, kind) in [(US, DeckKind::Us), (AZ, DeckKind::Az)] {
        let options = ImportOptions { kind, ..ImportOptions::default() };
        read_text(good.as_bytes(), &options).unwrap();
        let header = good.find('\n').unwrap();
        for at in header + 1..good.len() {
            if good.as_bytes()[at] == b',' {
                let mut lost = good.to_owned();
                lost.remove(at);
                let read = read_text(lost.as_bytes(), &options);
                let inside = good[..at].rsplit('\n').next().unwrap().matches('"').count() % 2 == 1;
                assert!(read.is_err() || inside, "{lost}");
            }
            let mut gained = good.to_owned();
            gained.insert(at, ',');
            let line = good[..at].rsplit('\n').next().unwrap();
            let quoted = line.matches('"').count() % 2 == 1;
            // Behind `\r` it would stand on a line of its own, which is blank.
            if !quoted && good.as_bytes()[at - 1] != b'\r' {
                assert!(read_text(gained.as_bytes(), &options).is_err(), "{gained}");
            }
        }
    }
}

/// What a sheet says does not depend on how its text is written down.
#[test]
fn separator_and_encoding_change_nothing() {
    let options = ImportOptions { kind: DeckKind::Us, ..ImportOptions::default() };
    let want = read_text(US.as_bytes(), &options).unwrap().rows;
    let text = US.replace("a \"\"quoted\"\" name, with a comma", "a name");
    for separator in [";", "\t", "|"] {
        let text = text.replace(',', separator);
        assert_eq!(read_text(text.as_bytes(), &options).unwrap().rows, want, "{separator}");
        let comma = text.replace("0.", "0,").replace(".004", ",004");
        assert_eq!(
            read_text(comma.as_bytes(), &options).unwrap().rows,
            want,
            "{separator} with decimal commas"
        );
    }
    let utf_16: Vec<u8> = US.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read_text(&utf_16, &options).unwrap().rows, want, "without a mark");
    let marked = [b"\xff\xfe".to_vec(), utf_16].concat();
    assert_eq!(read_text(&marked, &options).unwrap().rows, want);
}

#[test]
fn reading_a_deck_is_linear_work() {
    let work = |rows: usize| {
        let mut text = String::from("code,rate,effective\n");
        for n in 0..rows {
            text.push_str(&format!("44{n:07},0.{:06},2026-01-01\n", n + 1));
        }
        let options = ImportOptions { kind: DeckKind::Az, ..ImportOptions::default() };
        let info = allocation_counter::measure(|| {
            read_text(text.as_bytes(), &options).unwrap();
        });
        (info.count_total, info.bytes_total)
    };
    let (few, many) = (work(2_000), work(16_000));
    assert!(many.0 <= few.0 * 9 && many.1 <= few.1 * 9, "{few:?} {many:?}");
    // One cell with very many equal codes, and very many columns: bounded errors, bounded memory.
    let cell = format!("code,rate\n\"{}\",1\n", "44,".repeat(9_000));
    let options = ImportOptions { kind: DeckKind::Az, ..ImportOptions::default() };
    let (read, held) = measured(|| read_text(cell.as_bytes(), &options));
    assert!(read.unwrap_err().len() <= MAX_ERRORS);
    assert!(held <= bound(cell.len()), "{held}");
    let columns = format!("{}\n", ",".repeat(1 << 20));
    let (read, held) = measured(|| read_text(columns.as_bytes(), &options));
    assert_eq!(read.unwrap_err().len(), 1);
    assert!(held <= bound(columns.len()), "{held}");
}

#[test]
fn mutated_stored_decks_are_refused_or_sound() {
    let good = {
        let options = ImportOptions::default();
        let rows = read_text(US.as_bytes(), &options).unwrap().rows;
        Deck::new(world::deck(1, DeckKind::Us, &[("1415", [1; 3])]).meta().clone(), rows).unwrap().to_bytes()
    };
    let mut rng = Rng(SplitMix::new(0x5704ED));
    for _ in 0..4_000 {
        let bytes = mutated(&mut rng, &good);
        let (read, held) = measured(|| Deck::from_bytes(&bytes));
        assert!(held <= bound(bytes.len()), "{held} for {}", bytes.len());
        if let Ok(deck) = read {
            assert_eq!(deck.rows().count(), deck.len());
            assert!(deck.in_force(Wall(0)).count() <= deck.len());
        }
    }
}

#[test]
fn mutated_sections_are_refused_and_a_wrong_table_costs_a_rate_but_never_the_process() {
    let snapshot = snapshot_of(rows());
    let (manifest, bodies) = snapshot.store();
    let at = manifest.sections.iter().position(|s| s.kind == snapshot::SectionKind::Lcr).unwrap();
    let good = &bodies[at];
    let filled: Vec<usize> = (0..good.len()).filter(|i| good[*i] != 0).collect();
    let numbers: Vec<String> =
        ["+14155550123", "+14157770123", "+12045550123", "+442071234567", "+881612345678"]
            .map(Into::into)
            .into();
    let mut rng = Rng(SplitMix::new(0x5EC7));
    let mut wrong_tables = 0;
    for round in 0..150 {
        let mut bytes = good.clone();
        for _ in 0..1 + rng.below(3) {
            let place = filled[rng.below(filled.len())];
            bytes[place] = if rng.below(2) == 0 { 0xFF } else { rng.0.draw() as u8 };
        }
        assert!(bytes == *good || LcrIndex::from_bytes(&bytes).is_err(), "the hash is checked");
        if round % 3 != 0 {
            continue;
        }
        // With the right hash over the wrong tables.
        let start = b"WARPLCR02\n".len();
        let hash = Sha256::digest(&bytes[start + 32..]);
        bytes[start..start + 32].copy_from_slice(&hash);
        let Ok(index) = LcrIndex::from_bytes(&bytes) else { continue };
        wrong_tables += 1;
        let wrong = snapshot.with_lcr(Arc::new(index));
        for called in &numbers {
            for caller in ["+12125550100", "+12135550100", ""] {
                let input = input(caller, called);
                let decision = decide(&wrong, &input, &Live::default());
                let _ = explain(&wrong, &input, &Live::default(), &decision);
            }
        }
    }
    assert!(wrong_tables > 10, "{wrong_tables}");
}

#[test]
fn mutated_plans_and_directories_never_panic() {
    let plan = NumberPlan::seed();
    let directory = serde_json::to_vec(&rows()).unwrap();
    let mut rng = Rng(SplitMix::new(0x91A2));
    for _ in 0..400 {
        let text = String::from_utf8_lossy(&mutated(&mut rng, plan.text().as_bytes())).into_owned();
        match NumberPlan::parse(&text) {
            Ok(read) => assert_eq!(read.text(), text),
            Err(e) => assert!(e.line >= 1 && e.line <= text.lines().count()),
        }
    }
    for _ in 0..4_000 {
        let bytes = mutated(&mut rng, &directory);
        let (read, held) =
            measured(|| serde_json::from_slice::<DirectoryBuilder>(&bytes).map(DirectoryBuilder::build));
        assert!(held <= bound(bytes.len()), "{held} for {}", bytes.len());
        if let Ok(Err(errors)) = read {
            assert!(!errors.is_empty());
        }
    }
}

#[test]
fn mutated_numbers_blocks_and_amounts_are_read_exactly_or_not_at_all() {
    let plan = NumberPlan::seed();
    let rules = [
        DialRules::default(),
        DialRules {
            strip: vec!["99#".into(), "011".into()],
            trust_rn: true,
            nanp_home: false,
            ..DialRules::default()
        },
    ];
    let mut rng = Rng(SplitMix::new(0xD1A1));
    let numbers: [&[u8]; 6] = [
        b"+14155550123",
        b"4155550123",
        b"011442071234567",
        b"99#+1415-555-0123;npdi;rn=+14155550000",
        b"911",
        b"%2B1(415)5550123;phone-context=+1",
    ];
    let blocks: [&[u8]; 4] = [b"192.0.2.0/24", b"2001:db8::/32", b"::ffff:192.0.2.1", b"10.0.0.0/8"];
    let amounts: [&[u8]; 4] = [b"0.000000001", b"-9223372036.854775808", b"1234.5", b".5"];
    for round in 0..8_000 {
        let user = mutated(&mut rng, numbers[round % numbers.len()]);
        for rules in &rules {
            let (read, held) = measured(|| plan.dialled(&user, rules));
            assert_eq!(held, 0, "numbers are read without memory");
            if let Ok(number_plan::Dialled::Number { number, .. }) = read {
                // Read again from its canonical form it is itself.
                let again = plan.dialled(number.to_string().as_bytes(), &DialRules::default());
                assert!(
                    matches!(again, Ok(number_plan::Dialled::Number { number: n, .. }) if n == number),
                    "{} gave {number}, which gives {again:?}",
                    user.escape_ascii()
                );
            }
        }
        let caller = plan.caller(&user, "14155550123".parse::<E164>().ok());
        assert!(caller.state.is_none() || caller.number.is_some());
        let text = String::from_utf8_lossy(&mutated(&mut rng, blocks[round % blocks.len()])).into_owned();
        let (read, held) = measured(|| text.parse::<Cidr>());
        assert!(held <= bound(text.len()));
        if let Ok(block) = read {
            assert_eq!(block.to_string().parse::<Cidr>(), Ok(block));
            assert!(block.contains(block.base()));
        }
        let text = String::from_utf8_lossy(&mutated(&mut rng, amounts[round % amounts.len()])).into_owned();
        let (read, held) = measured(|| text.parse::<Nanos>());
        assert_eq!(held, 0);
        if let Ok(amount) = read {
            assert_eq!(amount.to_string().parse::<Nanos>(), Ok(amount));
            assert!(text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-'), "{text}");
        }
    }
}
