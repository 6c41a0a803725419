//! Prices against sums done by hand, and the margin guard with the increments of both sides.

mod world;

use std::sync::Arc;

use warp_model::{Currency, Nanos, Wall};
use warp_policy::deck::{DeckKind, Row, Terms};
use warp_policy::rate::{PartialSecond, RoundingMode, billable_s, charge};
use warp_policy::*;
use world::*;

#[test]
fn prices_are_those_of_a_sheet_of_paper() {
    // Rate per minute, increments, set-up fee, ms, seconds billed, charge at six decimals.
    let sheet = [
        // 62 begun seconds; 6 + 10 · 6 = 66; 66 · 0.0123 / 60 = 0.01353.
        ("0.0123", (6, 6), "0", 61_001, 66, "0.01353"),
        // 61 s: 60 + 6 = 66; 66 · 0.1 / 60 = 0.11.
        ("0.1", (60, 6), "0", 61_000, 66, "0.11"),
        // 31 s: 30 + 6 = 36; 36 · 0.0075 / 60 = 0.0045.
        ("0.0075", (30, 6), "0", 31_000, 36, "0.0045"),
        // 7 s; 7 · 0.004567 / 60 = 0.00053281 6…
        ("0.004567", (1, 1), "0", 7_000, 7, "0.000533"),
        // One second at 0.00003: half a millionth goes away from zero.
        ("0.00003", (1, 1), "0", 1_000, 1, "0.000001"),
        // 61 s: two minutes; 0.005 + 2 · 0.1.
        ("0.1", (60, 60), "0.005", 61_000, 120, "0.205"),
        // Four hours of 6/6: 14,400 · 0.0021 / 60.
        ("0.0021", (6, 6), "0", 14_400_000, 14_400, "0.504"),
        // Answered and gone at once: the first increment.
        ("0.06", (60, 60), "0", 0, 60, "0.06"),
        // 2,401 s of 60/60: 41 minutes at nine decimals; 41 · 0.012345678 = 0.506172798.
        ("0.012345678", (60, 60), "0", 2_400_001, 2_460, "0.506173"),
        // A fee of a nano-unit beside 3 s at a third: 0.000000001 + 3 · 0.3333333 / 60 = 0.016666666.
        ("0.3333333", (1, 1), "0.000000001", 2_001, 3, "0.016667"),
        ("1000", (60, 60), "0", 14_400_000, 14_400, "240000"),
    ];
    for (per_min, (a, b), fee, ms, billed, want) in sheet {
        let terms = Terms { setup_fee: fee.parse().unwrap(), ..Terms::of(a, b) };
        let rate = Rate {
            rate_per_min: per_min.parse().unwrap(),
            terms,
            code: "1415".parse().unwrap(),
            deck: 0,
            currency: Currency::USD,
            rounding: Rounding::default(),
        };
        let seconds = billable_s(ms, terms, PartialSecond::Up).unwrap();
        assert_eq!(
            (seconds, charge(&rate, seconds).unwrap()),
            (billed, want.parse().unwrap()),
            "{per_min} {a}/{b}"
        );
    }
}

#[test]
fn one_division_and_one_rounding() {
    let rate = |mode, places| Rate {
        rate_per_min: "0.00003".parse().unwrap(),
        terms: Terms { setup_fee: "0.0000005".parse().unwrap(), ..Terms::of(1, 1) },
        code: "1415".parse().unwrap(),
        deck: 0,
        currency: Currency::USD,
        rounding: Rounding { mode, places, ..Rounding::default() },
    };
    let text = |mode, places| charge(&rate(mode, places), 1).unwrap().to_string();
    // Half a millionth for the second and half a millionth of a fee are one: rounded apart they would be two, or none.
    assert_eq!(text(RoundingMode::HalfAwayFromZero, 6), "0.000001");
    assert_eq!(text(RoundingMode::HalfEven, 6), "0.000001");
    assert_eq!(text(RoundingMode::Down, 6), "0.000001");
    assert_eq!(text(RoundingMode::Up, 2), "0.01");
    assert_eq!(text(RoundingMode::HalfEven, 9), "0.000001");
}

fn flat(n: u128, per_min: &str, terms: Terms) -> Arc<deck::Deck> {
    let rate: Nanos = per_min.parse().unwrap();
    let row = Row {
        code: "1415".parse().unwrap(),
        rates: [rate; 3],
        terms,
        from: None,
        until: None,
        blocked: false,
    };
    deck_of(n, DeckKind::Us, vec![row])
}

#[test]
fn the_margin_guard_bills_the_expected_call_on_both_sides() {
    // Bought at 0.006 in whole minutes, sold at 0.010 by the second.
    let (buy, sell) = (flat(1, "0.006", Terms::of(60, 60)), flat(100, "0.01", Terms::of(1, 1)));
    let index = LcrIndex::build(&[list(&[&buy])], &[list(&[&sell])], &NumberPlan::seed(), Wall(0)).unwrap();
    let index = Arc::new(index);
    let go = |expected_s: u32, loss_ok: bool| {
        let mut r = rows();
        r.partitions[0].expected_duration_s = expected_s;
        r.partitions[0].loss_ok = loss_ok;
        let s = Snapshot::new(Arc::new(r.build().unwrap()), index.clone(), Arc::new(NumberPlan::seed()));
        decided(&s, &input("+12125550100", "+14155550123"), &Live::default())
    };
    // 60 s: 0.006 against 0.010. 61 s: 0.012 against 0.010166…: a loss, though the minute is cheaper.
    assert_eq!(go(60, false), "alpha@1415");
    assert_eq!(go(61, false), "no_route_at_margin");
    assert_eq!(go(61, true), "alpha@1415");
    // 72 s: 0.012 against 0.012: no loss. 71 s: 0.012 against 0.011833…
    assert_eq!((go(72, false), go(71, false)), ("alpha@1415".into(), "no_route_at_margin".into()));
}
