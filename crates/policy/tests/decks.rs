//! Decks at their edges: what a row may say, which row is in force, what the next version keeps, and which bytes are a deck.

use warp_model::{Currency, DeckId, Nanos, Wall};
use warp_policy::code::{Code, CodeError};
use warp_policy::deck::{
    Deck, DeckError, DeckKind, DeckMeta, DeckRows, MAX_PRICE, Recognised, Report, Row, Terms,
};

fn meta(version: u32) -> DeckMeta {
    DeckMeta {
        id: DeckId::from_u128(7),
        version,
        name: "d".into(),
        kind: DeckKind::Us,
        currency: Currency::USD,
    }
}

fn code(text: &str) -> Code {
    text.parse().unwrap()
}

fn row(c: &str, rate: i64) -> Row {
    Row {
        code: code(c),
        rates: [Nanos(rate); 3],
        terms: Terms::of(6, 6),
        from: None,
        until: None,
        blocked: false,
    }
}

fn dated(c: &str, rate: i64, from: i64, until: i64) -> Row {
    let t = |t: i64| (t != 0).then_some(Wall(t));
    Row { from: t(from), until: t(until), ..row(c, rate) }
}

fn deck(rows: Vec<Row>) -> Deck {
    Deck::new(meta(3), rows).unwrap()
}

#[test]
fn figures_of_a_row_at_their_limits_and_one_beyond() {
    type Set = fn(&mut Row, i64);
    let rules: [(Set, i64, i64, DeckError); 8] = [
        (|r, n| r.rates[0] = Nanos(n), 0, -1, DeckError::Negative(code("44"))),
        (|r, n| r.rates[2] = Nanos(n), 0, -1, DeckError::Negative(code("44"))),
        (|r, n| r.terms.setup_fee = Nanos(n), 0, -1, DeckError::Negative(code("44"))),
        (|r, n| r.rates[1] = Nanos(n), MAX_PRICE, MAX_PRICE + 1, DeckError::TooDear(code("44"))),
        (|r, n| r.terms.setup_fee = Nanos(n), MAX_PRICE, MAX_PRICE + 1, DeckError::TooDear(code("44"))),
        (|r, n| r.terms.initial_s = n as u32, 3_600, 3_601, DeckError::Increment(code("44"))),
        (|r, n| r.terms.next_s = n as u32, 1, 0, DeckError::Increment(code("44"))),
        (|r, n| (r.from, r.until) = (Some(Wall(5)), Some(Wall(n))), 6, 5, DeckError::Period(code("44"))),
    ];
    for (i, (set, good, bad, error)) in rules.into_iter().enumerate() {
        let with = |n| {
            let mut r = row("44", 5);
            set(&mut r, n);
            Deck::new(meta(1), vec![row("1", 1), r])
        };
        let made = with(good).unwrap_or_else(|e| panic!("{i}: {e}"));
        assert_eq!(Deck::from_bytes(&made.to_bytes()).as_ref(), Ok(&made));
        assert_eq!(with(bad), Err(error), "{i}");
    }
    let said = |e: DeckError| e.to_string();
    assert_eq!(said(DeckError::Empty), "the deck has no rows");
    assert_eq!(said(DeckError::Duplicate(code("44"))), "code 44 twice with one effective date");
    assert_eq!(said(DeckError::Increment(code("44"))), "code 44: increments are 1 to 3,600 seconds");
    assert_eq!(said(DeckError::Malformed("count")), "not a stored deck: count");
    assert_eq!((DeckKind::Us.usual_terms(), DeckKind::Az.usual_terms()), (Terms::of(6, 6), Terms::of(1, 1)));
    assert!(meta(4).label().ends_with("@4") && meta(4).label().starts_with("deck_"));
    assert_eq!(MAX_PRICE, 1_000_000_000_000_000);
}

#[test]
fn too_many_different_terms_or_periods() {
    let codes = |n: usize| (0..n).map(|i| Code::of(10_000_000 + i as u64, 8));
    let fees = |n: usize| {
        let rows = codes(n).enumerate().map(|(i, code)| {
            let terms = Terms { setup_fee: Nanos(i as i64), ..Terms::of(6, 6) };
            Row { code, terms, ..row("1", 5_000_000_000) }
        });
        Deck::new(meta(1), rows.collect())
    };
    assert_eq!(fees(32_767).unwrap().rows().last().unwrap().terms.setup_fee, Nanos(32_766));
    assert_eq!(fees(32_768), Err(DeckError::TooVaried));
    let dates = |n: usize| {
        let rows =
            codes(n).enumerate().map(|(i, code)| Row { code, from: Some(Wall(i as i64)), ..row("1", 5) });
        Deck::new(meta(1), rows.collect())
    };
    assert_eq!(dates(65_535).unwrap().rows().last().unwrap().from, Some(Wall(65_534)));
    assert_eq!(dates(65_536), Err(DeckError::TooVaried));
}

#[test]
fn the_row_in_force_from_its_first_to_before_its_last_moment() {
    let d = deck(vec![
        dated("44", 1, 0, 100),
        dated("44", 2, 50, 80),
        dated("44", 3, 90, 0),
        dated("33", 9, 60, 70),
    ]);
    let at = |t: i64| -> Vec<(String, i64)> {
        d.in_force(Wall(t)).map(|r| (r.code.to_string(), r.rates[0].0)).collect()
    };
    let pair = |c: &str, r: i64| (c.to_owned(), r);
    for (t, want) in [
        (49, vec![pair("44", 1)]),
        (50, vec![pair("44", 2)]),
        (60, vec![pair("33", 9), pair("44", 2)]),
        (69, vec![pair("33", 9), pair("44", 2)]),
        (70, vec![pair("44", 2)]),
        (79, vec![pair("44", 2)]),
        (80, vec![pair("44", 1)]),
        (90, vec![pair("44", 3)]),
        (100, vec![pair("44", 3)]),
    ] {
        assert_eq!(at(t), want, "{t}");
    }
    for (t, next) in
        [(0, Some(50)), (49, Some(50)), (50, Some(60)), (80, Some(90)), (99, Some(100)), (100, None)]
    {
        assert_eq!(d.next_change(Wall(t)), next.map(Wall), "{t}");
    }
    assert!(d.names(code("44")) && !d.names(code("4")));
    assert_eq!((d.len(), d.is_empty(), d.row(3).unwrap().rates[0].0, d.row(4)), (4, false, 3, None));
    assert_eq!((d.meta().version, format!("{d:?}")), (3, format!("Deck({}, 4 rows)", meta(3).label())));
    let only = deck(vec![dated("44", 1, 50, 60)]);
    assert!(only.has_price_at(Wall(50)) && !only.has_price_at(Wall(60)) && !only.has_price_at(Wall(49)));
    assert_ne!(only, d);
}

/// What a full file leaves of the version in force, at the moment of its date and around it.
#[test]
fn a_full_file_takes_over_to_the_moment() {
    let base = deck(vec![row("44", 1), row("33", 2), dated("49", 3, 0, 200)]);
    let file = |rows: Vec<Row>, ended: &[(&str, Option<i64>)]| DeckRows {
        rows,
        ended: ended.iter().map(|(c, t)| (code(c), t.map(Wall))).collect(),
        ..DeckRows::default()
    };
    let shown = |d: &Deck| -> Vec<(String, i64, Option<i64>, Option<i64>)> {
        let t = |w: Option<Wall>| w.map(|w| w.0);
        d.rows().map(|r| (r.code.to_string(), r.rates[0].0, t(r.from), t(r.until))).collect()
    };
    let line = |c: &str, r, f, u| (c.to_owned(), r, f, u);
    // A row that begins at the very moment of the take-over counts at once: what it does not name ends.
    let (next, carried) =
        Deck::replaced(Some(&base), meta(4), &file(vec![dated("44", 5, 100, 0)], &[]), Wall(100)).unwrap();
    assert_eq!((shown(&next), carried), (vec![line("44", 5, Some(100), None)], 0));
    // One moment later it leaves all in force until then, and not beyond their own end.
    let (next, carried) =
        Deck::replaced(Some(&base), meta(4), &file(vec![dated("44", 5, 101, 0)], &[]), Wall(100)).unwrap();
    assert_eq!(
        (shown(&next), carried),
        (
            vec![
                line("33", 2, None, Some(101)),
                line("44", 1, None, Some(101)),
                line("44", 5, Some(101), None),
                line("49", 3, None, Some(101)),
            ],
            3
        )
    );
    let late = file(vec![dated("44", 5, 300, 0)], &[]);
    let (next, carried) = Deck::replaced(Some(&base), meta(4), &late, Wall(200)).unwrap();
    assert_eq!(carried, 2, "what is over at the take-over is not carried");
    assert!(shown(&next).iter().all(|r| r.0 != "49"));
    // A row that the same file ends later is cut there; one that it ends when it begins is a contradiction.
    let cut = file(
        vec![row("44", 5), dated("33", 6, 150, 0)],
        &[("44", Some(250)), ("44", Some(240)), ("33", Some(120))],
    );
    let (next, _) = Deck::replaced(None, meta(4), &cut, Wall(100)).unwrap();
    assert_eq!(shown(&next), [line("33", 6, Some(150), None), line("44", 5, None, Some(240))]);
    let same = file(vec![dated("44", 5, 250, 0)], &[("44", Some(250))]);
    assert_eq!(Deck::replaced(None, meta(4), &same, Wall(100)), Err(DeckError::Duplicate(code("44"))));
}

#[test]
fn a_partial_file_begins_and_ends_at_the_take_over() {
    let base = deck(vec![row("44", 1), dated("33", 2, 0, 100), dated("49", 3, 0, 101)]);
    let delta = DeckRows {
        rows: vec![row("44", 5)],
        ended: vec![(code("49"), Some(Wall(101)))],
        ..DeckRows::default()
    };
    let next = base.merged(meta(4), &delta, Wall(100)).unwrap();
    let rows: Vec<_> = next.rows().map(|r| (r.code.to_string(), r.rates[0].0, r.from, r.until)).collect();
    assert_eq!(
        rows,
        [
            ("44".to_owned(), 5, Some(Wall(100)), None),
            // Over at 100: left out. Until 101: in force at 100.
            ("49".to_owned(), 3, None, Some(Wall(101))),
        ]
    );
}

/// Each figure of the report with a value of its own.
#[test]
fn a_report_counts_what_moves() {
    let with = |terms: Terms, rates: [i64; 3], c: &str| Row { terms, rates: rates.map(Nanos), ..row(c, 0) };
    let usual = Terms::of(6, 6);
    let old = deck(vec![
        with(usual, [10, 10, 10], "1201"),
        with(usual, [10, 10, 10], "1202"),
        with(usual, [10, 10, 10], "1203"),
        with(usual, [10, 10, 10], "1204"),
        with(usual, [10, 20, 30], "1205"),
        Row { blocked: true, ..row("1206", 0) },
        row("1207", 1),
    ]);
    let new = Deck::new(
        meta(4),
        vec![
            // A fee that rises, whatever else falls.
            with(Terms { setup_fee: Nanos(1), ..usual }, [1, 1, 1], "1201"),
            with(Terms::of(6, 1), [10, 10, 10], "1202"),
            with(Terms::of(30, 6), [10, 10, 10], "1203"),
            with(usual, [10, 10, 10], "1204"),
            with(usual, [10, 50, 5], "1205"),
            row("1206", 7),
            Row { blocked: true, ..row("1207", 0) },
            Row { from: Some(Wall(900)), ..row("1208", 3) },
        ],
    )
    .unwrap();
    let recognised = Recognised { rows_read: 8, ..Recognised::default() };
    let r = Report::of(Some(&old), &new, Wall(100), recognised);
    assert_eq!((r.base, r.rows_read, r.rows), (Some(3), 8, 8));
    assert_eq!((r.dearer, r.cheaper, r.same), (3, 1, 1));
    assert_eq!((r.new, r.ended, r.blocked), (2, 1, 1));
    assert_eq!((r.in_force, r.begin_later, r.next_change), (6, 1, Some(Wall(900))));
    let moves: Vec<_> = r.largest.iter().map(|m| (m.code.to_string(), m.old.0, m.new.0, m.from)).collect();
    // By price and fee, then by increments.
    let want = [("1205", 20, 50), ("1201", 10, 1), ("1203", 10, 10), ("1202", 10, 10)];
    assert_eq!(moves, want.map(|(code, old, new)| (code.to_owned(), old, new, None)));
}

/// Rows that all end some day are compared as they are at the take-over, or as the next ones will be.
#[test]
fn a_report_knows_the_row_of_the_moment() {
    let old = deck(vec![dated("33", 1, 0, 101), dated("44", 1, 0, 100), dated("49", 1, 100, 300)]);
    let new = deck(vec![dated("33", 2, 0, 200), dated("44", 2, 0, 200), dated("49", 3, 101, 300)]);
    let r = Report::of(Some(&old), &new, Wall(100), Recognised::default());
    // 44 is over at the take-over and counts as new; 33 is in its last moment, 49 in its first, and rises in the next.
    assert_eq!((r.new, r.dearer, r.cheaper, r.same, r.ended), (1, 2, 0, 0, 0));
    assert_eq!((r.in_force, r.begin_later, r.next_change), (2, 1, Some(Wall(101))));
    let from: Vec<_> = r.largest.iter().map(|m| (m.code.to_string(), m.new.0, m.from)).collect();
    assert_eq!(from, [("49".to_owned(), 3, Some(Wall(101))), ("33".to_owned(), 2, None)]);
}

#[test]
fn bytes_that_are_no_deck() {
    let mut rows = vec![row("1", 5_000_000_000), dated("1415", 7, 5, 9), row("44", 8)];
    rows.push(Row { blocked: true, ..row("7", 0) });
    let good = deck(rows).to_bytes();
    assert!(Deck::from_bytes(&good).is_ok());
    for cut in 0..good.len() {
        assert!(Deck::from_bytes(&good[..cut]).is_err(), "{cut}");
    }
    let longer = [&good[..], &[0]].concat();
    assert_eq!(Deck::from_bytes(&longer), Err(DeckError::Malformed("bytes after the end")));
    assert_eq!(Deck::from_bytes(b"WARPDECK9\n"), Err(DeckError::Malformed("wrong first bytes")));
    // The last word is the position of the row that is not carried: no other row may be called so.
    let mut other = good.clone();
    let n = other.len();
    other[n - 4] = 0;
    assert_eq!(Deck::from_bytes(&other), Err(DeckError::Malformed("a price of a code that is not carried")));
    other[n - 4] = 4;
    assert_eq!(Deck::from_bytes(&other), Err(DeckError::Malformed("codes that are not carried")));
    // A count that the bytes cannot hold is refused before anything is reserved.
    let at = 10 + 4 + u32::from_le_bytes(good[10..14].try_into().unwrap()) as usize;
    let mut huge = good.clone();
    huge[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Deck::from_bytes(&huge), Err(DeckError::Malformed("count")));
}

#[test]
fn dial_codes_are_packed_digits() {
    assert_eq!("".parse::<Code>(), Err(CodeError::Length));
    assert_eq!("1234567890123456".parse::<Code>(), Err(CodeError::Length));
    assert_eq!("123456789012345".parse::<Code>().unwrap().len(), 15);
    assert_eq!("044".parse::<Code>(), Err(CodeError::LeadingZero));
    assert_eq!("4a".parse::<Code>(), Err(CodeError::NotDigits));
    assert_eq!(CodeError::Length.to_string(), "a dial code has 1 to 15 digits");
    assert_eq!(CodeError::LeadingZero.to_string(), "a dial code never starts with 0");
    let c = code("14155551");
    assert_eq!((c.value(), c.len(), c.aligned(), c.is_empty()), (14_155_551, 8, 141_555_510_000_000, false));
    assert_eq!(format!("{c:?} {c}"), "14155551 14155551");
    assert!(Code::default().is_empty() && Code::default().to_string().is_empty());
    assert!(!Code::default().covers(c) && c.covers(c) && code("1415").covers(c) && !c.covers(code("1415")));
    assert!(!code("1416").covers(c));
    assert_eq!((c.head(4).to_string(), c.head(0).to_string(), c.head(99)), ("1415".into(), "1".into(), c));
    for (text, npa, exchange) in [
        ("141", None, None),
        ("1415", Some(415), None),
        ("141555", Some(415), None),
        ("1415555", Some(415), Some(415_555)),
        ("14155550123", Some(415), Some(415_555)),
        ("4415555", None, None),
    ] {
        assert_eq!((code(text).npa(), code(text).npanxx_part()), (npa, exchange), "{text}");
    }
    assert_eq!(Code::npanxx(415_555), code("1415555"));
    assert_eq!(Code::whole("+14155550123".parse().unwrap()), code("14155550123"));
    // Packed forms that no digits give: no length, a first digit of 0, digits beyond the length, more than fifteen places.
    let digits = |aligned: u64, len: u64| Code::from_packed(aligned << 4 | len);
    assert_eq!(digits(440_000_000_000_000, 2), Some(code("44")));
    assert_eq!(digits(440_000_000_000_000, 0), None);
    assert_eq!(digits(44_000_000_000_000, 2), None);
    assert_eq!(digits(441_000_000_000_000, 2), None);
    assert_eq!(digits(1_000_000_000_000_000, 15), None);
    assert_eq!(digits(999_999_999_999_999, 15), Some(code("999999999999999")));
    assert_eq!(digits(100_000_000_000_000, 1), Some(code("1")));
}
