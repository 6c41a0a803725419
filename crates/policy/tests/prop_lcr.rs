//! The prefix index against a plain reference: for each list, the longest code of the number, searched one by one.

mod world;

use std::sync::Arc;

use proptest::prelude::*;
use warp_model::{E164, Nanos, Wall};
use warp_policy::deck::{Deck, DeckKind, Row, Terms};
use warp_policy::number_plan::{DestinationClass, Jurisdiction};
use warp_policy::*;
use world::*;

/// What a list asks for a number, by plain search: matched code, price, terms.
fn plain(
    decks: &[Arc<Deck>],
    number: E164,
    j: Option<Jurisdiction>,
    plan: &NumberPlan,
) -> Option<(Code, i64, Terms)> {
    let whole = Code::whole(number);
    let us = plan.class(number) == Some(DestinationClass::Domestic) || plan.code_has_jurisdiction(whole);
    let mut best: Option<Row> = None;
    for deck in decks {
        for row in deck.in_force(Wall(0)) {
            let bare = row.code.len() < 4 && row.code.to_string().starts_with('1');
            if row.code.covers(whole) && (us || !bare) && best.is_none_or(|b| row.code.len() > b.code.len()) {
                best = Some(row);
            }
        }
    }
    let row = best?;
    let [a, b, c] = row.rates.map(|r| r.0);
    let rate = match j {
        _ if !plan.code_has_jurisdiction(whole) => a.max(b).max(c),
        Some(Jurisdiction::Interstate) => a,
        Some(Jurisdiction::Intrastate) => b,
        _ => c,
    };
    Some((row.code, rate, row.terms))
}

fn code() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("1".to_owned()),
        "1(415|212|204|787|876|800)",
        "1(415|212|204|876)[23](0|1)",
        "1(415|212|204)[23](0|1)[0-2]",
        "1(415|212)[23](0|1)[0-2][0-3]",
        "1(415|212)[23](0|1)[0-2][0-3]{1,3}",
        "(44|7|49)[0-3]{0,4}",
    ]
}

/// Code, prices, first increment, set-up fee.
type Priced = (String, [i64; 3], u32, i64);

/// Prices that most columns can code in 16 bits, prices of odd decimals, and prices above 32 bits.
fn rates() -> impl Strategy<Value = [i64; 3]> {
    prop_oneof![
        6 => [0i64..60_000, 0i64..60_000, 0i64..60_000].prop_map(|r| r.map(|v| v * 1_000)),
        2 => [0i64..50_000_000, 0i64..50_000_000, 0i64..50_000_000],
        1 => [0i64..9_000_000_000, 0i64..50_000_000, 0i64..50_000_000],
    ]
}

fn row() -> impl Strategy<Value = Priced> {
    (
        code(),
        rates(),
        prop_oneof![4 => Just(6u32), 1 => 1u32..60],
        prop_oneof![4 => Just(0i64), 1 => 0i64..1_000],
    )
}

fn a_deck(rows: Vec<Priced>, n: u128) -> Arc<Deck> {
    let rows: std::collections::BTreeMap<String, Row> = rows
        .into_iter()
        .map(|(code, rates, inc, fee)| {
            let row = Row {
                code: code.parse().unwrap(),
                rates: rates.map(Nanos),
                terms: Terms { initial_s: inc, next_s: 6, setup_fee: Nanos(fee) },
                from: None,
                until: None,
                blocked: false,
            };
            (code, row)
        })
        .collect();
    deck_of(n, DeckKind::Us, rows.into_values().collect())
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "1(415|212|204|787|876|800)[23](0|1)[0-3][0-4]{4}",
        1 => "(44|7|49)[0-3]{8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_column_gives_the_longest_code(
        decks in proptest::collection::vec(proptest::collection::vec(row(), 1..25), 2..40),
        numbers in proptest::collection::vec(number(), 1..30),
    ) {
        let plan = NumberPlan::seed();
        let decks: Vec<_> = decks.into_iter().zip(1..).map(|(r, n)| a_deck(r, n)).collect();
        // The first two decks are one list; every deck is also sold.
        let mut lists = vec![decks[..2].to_vec()];
        lists.extend(decks[2..].iter().map(|d| vec![d.clone()]));
        let given: Vec<RateList> = lists.iter().map(|l| RateList { decks: l.clone() }).collect();
        let built = LcrIndex::build(&given, &given, &plan, Wall(0)).unwrap();
        prop_assert_eq!(built.key(), LcrIndex::key_of(&given, &given, &plan, Wall(5)));
        // One round trip in four: the tables of all exchanges take a while to hash.
        let index = if numbers.len() % 4 == 0 { LcrIndex::from_bytes(&built.to_bytes()).unwrap() } else { built };
        {
            for n in &numbers {
                let n: E164 = n.parse().unwrap();
                for j in [None, Some(Jurisdiction::Interstate), Some(Jurisdiction::Intrastate)] {
                    for (column, list) in lists.iter().enumerate() {
                        let want = plain(list, n, j, &plan);
                        let row = index.find(n);
                        let shape = |r: Rate| (r.code, r.rate_per_min.0, r.terms);
                        let buy = row.and_then(|r| index.buy_rate(column, r, Code::whole(n), j, Rounding::default()));
                        prop_assert_eq!(buy.map(shape), want, "buy {} {:?}", n, j);
                        let sell = row.and_then(|r| index.sell_rate(column, r, Code::whole(n), j, Rounding::default()));
                        prop_assert_eq!(sell.map(shape), want, "sell {} {:?}", n, j);
                        if let Some(buy) = buy {
                            prop_assert!(index.deck(buy.deck).is_some());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_key_moves_with_the_rows_in_force() {
    let plan = NumberPlan::seed();
    let row = |from: i64| Row {
        code: "1415".parse().unwrap(),
        rates: [Nanos(from); 3],
        terms: Terms::of(6, 6),
        from: Some(Wall(from)),
        until: None,
        blocked: false,
    };
    let d = deck_of(1, DeckKind::Us, vec![row(10), row(20)]);
    let lists = [list(&[&d])];
    let key = |t| LcrIndex::key_of(&lists, &[], &plan, Wall(t));
    assert_eq!(key(10), key(19));
    assert_ne!(key(19), key(20));
    let index = LcrIndex::build(&lists, &[], &plan, Wall(15)).unwrap();
    assert_eq!(index.next_change(), Some(Wall(20)));
}

/// Every own row of a deck, read back through the index.
fn check_all(index: &LcrIndex, column: usize, deck: &Deck, plan: &NumberPlan) {
    for row in deck.rows() {
        // A number below the code.
        let digits = format!("{:0<11}", row.code.to_string());
        let n: E164 = digits.parse().unwrap();
        for (j, want) in [
            (Jurisdiction::Interstate, row.rates[0]),
            (Jurisdiction::Intrastate, row.rates[1]),
            (Jurisdiction::Indeterminate, row.rates[2]),
        ] {
            let at = index.find(n).unwrap();
            assert_eq!(index.code(at), Some(row.code));
            let got = index.buy_rate(column, at, Code::whole(n), Some(j), Rounding::default()).unwrap();
            assert_eq!((got.rate_per_min, got.code, got.terms), (want, row.code, row.terms), "{n} {j:?}");
        }
    }
    assert!(plan.code_has_jurisdiction("1415".parse().unwrap()));
}

fn us_rows(n: usize, mut rates: impl FnMut(i64) -> [i64; 3]) -> Vec<Row> {
    let plan = NumberPlan::seed();
    (200..1_000u32)
        .filter(|npa| plan.npa(*npa as u16).us)
        .flat_map(|npa| (200..1_000u32).map(move |nxx| npa * 1_000 + nxx))
        .take(n)
        .enumerate()
        .map(|(i, npanxx)| Row {
            code: Code::npanxx(npanxx),
            rates: rates(i as i64).map(Nanos),
            terms: Terms::of(6, 6),
            from: None,
            until: None,
            blocked: false,
        })
        .collect()
}

#[test]
fn more_distinct_prices_than_codes_spill_and_stay_exact() {
    let plan = NumberPlan::seed();
    // 80,000 different prices a nano-unit apart in each group: 65,536 have codes, the others do not.
    let many = deck_of(1, DeckKind::Us, us_rows(80_000, |i| [i + 7, 200_000 - i, i * 3 % 79_999]));
    // Prices of nine decimals, a few very large, and 0.
    let odd = deck_of(2, DeckKind::Us, us_rows(3_000, |i| [i * i * 977, 0, 4_294_967_295 + i % 3]));
    let lists = [list(&[&many]), list(&[&odd])];
    let built = LcrIndex::build(&lists, &[], &plan, Wall(0)).unwrap();
    let stored = built.to_bytes();
    let index = LcrIndex::from_bytes(&stored).unwrap();
    assert!(stored == index.to_bytes());
    for index in [&built, &index] {
        check_all(index, 0, &many, &plan);
        check_all(index, 1, &odd, &plan);
    }
}

#[test]
fn a_deck_that_replaces_another_leaves_the_old_index_as_it_was() {
    let plan = NumberPlan::seed();
    let old = deck_of(1, DeckKind::Us, us_rows(2_000, |i| [i * 1_000; 3]));
    // Another unit, another span, and the last thousand codes are gone.
    let new = deck_of(1, DeckKind::Us, us_rows(1_000, |i| [i * 100_000, i * 100_100, 5_000_000_000 + i]));
    let other = deck_of(2, DeckKind::Us, us_rows(2_000, |i| [i * 10 + 3; 3]));
    let first = LcrIndex::build(&[list(&[&old]), list(&[&other])], &[], &plan, Wall(0)).unwrap();
    let second = LcrIndex::build(&[list(&[&new]), list(&[&other])], &[], &plan, Wall(0)).unwrap();
    assert_ne!(first.key(), second.key());
    check_all(&first, 0, &old, &plan);
    check_all(&second, 0, &new, &plan);
    for index in [&first, &second] {
        check_all(index, 1, &other, &plan);
    }
    let gone: E164 = format!("{:0<11}", old.rows().last().unwrap().code.to_string()).parse().unwrap();
    let at = second.find(gone).unwrap();
    assert_eq!(second.buy_rate(0, at, Code::whole(gone), None, Rounding::default()), None);
}

#[test]
fn f_upg_02_a_stored_index_of_another_version_is_refused_in_words() {
    let snapshot = Snapshot::empty();
    let (mut manifest, mut bodies) = snapshot.store();
    assert!(
        Snapshot::load(&manifest, None, |s| {
            let at = manifest.sections.iter().position(|x| x == s)?;
            bodies.get(at).cloned()
        })
        .is_ok()
    );
    let at = manifest.sections.iter().position(|s| s.kind == snapshot::SectionKind::Lcr).unwrap();
    for version in [*b"01", *b"03"] {
        bodies[at][7..9].copy_from_slice(&version);
        // As that version would have written it: with the right hash in the manifest.
        manifest.sections[at].sha256 = sha256_hex(&bodies[at]);
        let refused = Snapshot::load(&manifest, None, |s| {
            let at = manifest.sections.iter().position(|x| x == s)?;
            bodies.get(at).cloned()
        });
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("another version") && words.contains("built again"), "{words}");
        // A node that holds the same index in memory does not fetch it at all.
        assert!(Snapshot::load(&manifest, Some(&snapshot), |_| None).is_ok());
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn row_strategy_of(vendors: usize) -> impl Strategy<Value = Vec<Vec<Priced>>> {
    proptest::collection::vec(proptest::collection::vec(row(), 1..12), vendors..vendors + 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// The order of a decision against prices computed one by one from the decks: with few vendors, as many as are priced
    /// from one copied block, and more than a word of columns.
    #[test]
    fn candidates_are_the_cheapest_by_plain_sums(
        decks in prop_oneof![row_strategy_of(3), row_strategy_of(29), row_strategy_of(40)],
        numbers in proptest::collection::vec(number(), 1..20),
        shared in any::<bool>(),
    ) {
        use std::sync::Arc;
        use warp_policy::directory::*;
        let plan = NumberPlan::seed();
        let decks: Vec<_> = decks.into_iter().zip(1u128..).map(|(r, n)| a_deck(r, n)).collect();
        let sell = deck(1_000, DeckKind::Us, &[("1", [i64::MAX / 1_000_000_000; 3]), ("44", [900_000_000_000; 3]),
            ("7", [900_000_000_000; 3]), ("49", [900_000_000_000; 3])]);
        let lists: Vec<RateList> = decks.iter().map(|d| list(&[d])).collect();
        let index = LcrIndex::build(&lists, &[list(&[&sell])], &plan, Wall(0)).unwrap();
        let mut rows = DirectoryBuilder::default().customer(customer());
        let mut t = trunk();
        t.sell_decks = vec![sell.meta().id];
        rows = rows.trunk(t);
        let mut names: Vec<u128> = (1..=decks.len() as u128).collect();
        let mut deck_of_vendor: Vec<usize> = (0..decks.len()).collect();
        if shared {
            // Two vendors with one deck: then a column has two entries.
            names.push(900);
            deck_of_vendor.push(0);
        }
        for (v, d) in names.iter().zip(&deck_of_vendor) {
            rows = rows.vendor(vendor(*v, &format!("v{v}"), &[*d as u128 + 1]));
            rows = rows.vendor_trunk(vendor_trunk(*v % 250, *v));
        }
        let mut p = partition(&names);
        p.loss_ok = true;
        rows = rows.partition(p);
        let snapshot = Snapshot::new(Arc::new(rows.build().unwrap()), Arc::new(index), Arc::new(NumberPlan::seed()));
        for n in &numbers {
            for caller in ["+12125550100", "+14155550100", ""] {
                let dialled = format!("+{n}");
                let decision = decide(&snapshot, &input(caller, &dialled), &Live::default());
                let Ok(got) = decision.result else { continue };
                let e164: E164 = n.parse().unwrap();
                let mut want: Vec<(i128, usize)> = deck_of_vendor
                    .iter()
                    .enumerate()
                    .filter_map(|(at, d)| {
                        let (_, rate, terms) = plain(&decks[*d..*d + 1], e164, decision.jurisdiction, &plan)?;
                        // 180 s expected: first increment, then steps.
                        let (a, b) = (i128::from(terms.initial_s), i128::from(terms.next_s));
                        let billed = if a >= 180 { a } else { a + (180 - a + b - 1) / b * b };
                        Some((billed * i128::from(rate) + 60 * i128::from(terms.setup_fee.0), at))
                    })
                    .collect();
                want.sort_unstable();
                let want: Vec<u128> = want.iter().take(4).map(|(_, at)| names[*at]).collect();
                let got: Vec<u128> = got
                    .iter()
                    .map(|c| snapshot.directory.vendor(c.vendor).unwrap().id.as_u128())
                    .collect();
                prop_assert_eq!(got, want, "{} from {:?}", n, caller);
            }
        }
    }
}
