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

fn row() -> impl Strategy<Value = (String, [i64; 3], u32, i64)> {
    (
        code(),
        [0i64..9_000_000_000, 0i64..50_000_000, 0i64..50_000_000],
        prop_oneof![4 => Just(6u32), 1 => 1u32..60],
        prop_oneof![4 => Just(0i64), 1 => 0i64..1_000],
    )
}

fn a_deck(rows: Vec<(String, [i64; 3], u32, i64)>, n: u128) -> Arc<Deck> {
    let rows: std::collections::BTreeMap<String, Row> = rows
        .into_iter()
        .map(|(code, rates, inc, fee)| {
            let row = Row {
                code: code.parse().unwrap(),
                rates: rates.map(Nanos),
                terms: Terms { initial_s: inc, next_s: 6, setup_fee: Nanos(fee) },
                from: None,
                until: None,
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
    };
    let d = deck_of(1, DeckKind::Us, vec![row(10), row(20)]);
    let lists = [list(&[&d])];
    let key = |t| LcrIndex::key_of(&lists, &[], &plan, Wall(t));
    assert_eq!(key(10), key(19));
    assert_ne!(key(19), key(20));
    let index = LcrIndex::build(&lists, &[], &plan, Wall(15)).unwrap();
    assert_eq!(index.next_change(), Some(Wall(20)));
}
