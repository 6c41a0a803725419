//! Overrides, blocks of calls and exchange rates: which rule decides, when, and what is written of it.

mod world;

use std::sync::Arc;

use warp_model::{Currency, CustomerId, E164, Nanos, TrunkId, Wall};
use warp_policy::deck::{Deck, DeckKind, DeckMeta, Row};
use warp_policy::directory::*;
use warp_policy::number_plan::DestinationClass;
use warp_policy::*;
use world::*;

const NY: &str = "+12125550100";
const SF: &str = "+14155550123";
const LONDON: &str = "+442071234567";

fn go(s: &Snapshot, called: &str) -> String {
    decided(s, &input(NY, called), &Live::default())
}

fn code(text: &str) -> Applies {
    Applies { code: Some(text.parse().unwrap()), ..Applies::default() }
}

fn of_trunk() -> Applies {
    Applies { trunk: Some(TrunkId::from_u128(1)), ..Applies::default() }
}

fn of_customer() -> Applies {
    Applies { customer: Some(CustomerId::from_u128(1)), ..Applies::default() }
}

/// A partition of one vendor, by its name.
fn only(vendor: u128, name: &str) -> Partition {
    Partition { name: name.into(), ..partition(&[vendor]) }
}

fn over(id: &str, applies: Applies, to: &str) -> Override {
    Override { id: id.into(), applies, partition: to.into(), reason: format!("because of {id}") }
}

/// Partitions `a`, `b` and `g` of one vendor each, with these overrides.
fn overridden(all: Vec<Override>) -> Snapshot {
    let mut r = rows().partition(only(1, "a")).partition(only(2, "b")).partition(only(3, "g"));
    r.overrides = all;
    snapshot_of(r)
}

#[test]
fn the_most_specific_override_decides_trunk_then_customer_then_route_then_default() {
    let trunk = over("t", of_trunk(), "a");
    let customer = over("c", of_customer(), "b");
    let route = over("r", code("1415"), "g");
    let default = over("d", Applies::default(), "b");
    let all = [trunk, customer, route, default];
    for (skipped, want) in [(0, "alpha@14155550"), (1, "beta@1415"), (2, "gamma@1"), (3, "beta@1415")] {
        // In any order of arrival.
        let rest: Vec<Override> = all.iter().skip(skipped).rev().cloned().collect();
        let s = overridden(rest);
        assert_eq!(go(&s, SF), want);
        let i = input(NY, SF);
        let record = explain(&s, &i, &Live::default(), &decide(&s, &i, &Live::default()));
        let rule = record.overridden_by.unwrap();
        let id = &all[skipped].id;
        assert_eq!((&rule.id, &rule.reason), (id, &format!("because of {id}")));
        assert_eq!(rule.level, all[skipped].applies.level());
        assert!(record.summary.contains(&format!("by override {id}")), "{}", record.summary);
        assert_eq!(record.partition.as_deref(), Some(all[skipped].partition.as_str()));
    }
    let none = overridden(vec![]);
    assert_eq!(go(&none, SF), "alpha@14155550 beta@1415 gamma@1");
}

#[test]
fn within_a_level_the_longest_code_decides_then_the_class_then_all_numbers() {
    let class = |class| Applies { class: Some(class), ..Applies::default() };
    let s = overridden(vec![
        over("1", code("1"), "a"),
        over("1415", code("1415"), "b"),
        over("1415555", code("1415555"), "g"),
        over("abroad", class(DestinationClass::International), "g"),
        over("rest", Applies::default(), "b"),
    ]);
    let by = |called: &str| {
        let i = input(NY, called);
        explain(&s, &i, &Live::default(), &decide(&s, &i, &Live::default())).overridden_by.unwrap().id
    };
    assert_eq!([by(SF), by("+14157770123"), by("+12125550123")], ["1415555", "1415", "1"]);
    assert_eq!((by(LONDON), by("+12045550123")), ("abroad".to_owned(), "1".to_owned()));
    // A trunk's rule without a code goes before everybody's with the longest one.
    let s = overridden(vec![over("1415555", code("1415555"), "g"), over("mine", of_trunk(), "a")]);
    assert_eq!(go(&s, SF), "alpha@14155550");
    // Nor is a rule of another trunk or another customer anybody else's.
    let s = overridden(vec![
        over("t2", Applies { trunk: Some(TrunkId::from_u128(2)), ..Applies::default() }, "a"),
        over("c2", Applies { customer: Some(CustomerId::from_u128(2)), ..Applies::default() }, "a"),
    ]);
    assert_eq!(go(&s, SF), "alpha@14155550 beta@1415 gamma@1");
}

#[test]
fn an_override_begins_and_ends_and_one_of_certain_hours_goes_before_one_of_all() {
    let dated = Applies { from: Some(Wall(1_000)), until: Some(Wall(2_000)), ..of_trunk() };
    let s = overridden(vec![over("dated", dated, "b")]);
    let at = |s: &Snapshot, us: i64| {
        let i = CallInput { at: Wall(us), ..input(NY, SF) };
        decided(s, &i, &Live::default())
    };
    assert_eq!([at(&s, 999), at(&s, 2_000)], ["alpha@14155550 beta@1415 gamma@1"; 2]);
    assert_eq!([at(&s, 1_000), at(&s, 1_999)], ["beta@1415"; 2]);
    // 1970-01-01 was a Thursday.
    let office = Hours { days: 0b1000, from_min: 480, until_min: 1_080, utc_offset_min: 0 };
    let s = overridden(vec![
        over("always", of_trunk(), "g"),
        over("office", Applies { hours: Some(office), ..of_trunk() }, "b"),
    ]);
    let hour = |h: i64| at(&s, h * 3_600_000_000);
    assert_eq!(
        [hour(7), hour(8), hour(17), hour(18), hour(24 + 8)],
        ["gamma@1", "beta@1415", "beta@1415", "gamma@1", "gamma@1"]
    );
    // Of two at all hours, the one that began later.
    let s = overridden(vec![
        over("a", Applies { from: Some(Wall(10)), ..of_trunk() }, "a"),
        over("b", Applies { from: Some(Wall(20)), ..of_trunk() }, "b"),
    ]);
    assert_eq!(
        [at(&s, 9), at(&s, 15), at(&s, 25)],
        ["alpha@14155550 beta@1415 gamma@1", "alpha@14155550", "beta@1415"]
    );
}

#[test]
fn an_override_goes_by_the_number_that_is_routed_and_changes_no_price() {
    let s = overridden(vec![over("sf", code("1415"), "g")]);
    let ported =
        CallInput { lrn: Some("+14155550000".parse::<E164>().unwrap()), ..input(NY, "+12125550123") };
    assert_eq!(decided(&s, &ported, &Live::default()), "gamma@1");
    assert!(decide(&s, &ported, &Live::default()).overridden_by.is_some());
    let without = decide(&overridden(vec![]), &ported, &Live::default());
    assert_eq!(decide(&s, &ported, &Live::default()).sell, without.sell);
    // A partition without a vendor that has a price refuses: what is overridden is not used.
    let s = overridden(vec![over("none", of_trunk(), "b")]);
    assert_eq!(go(&s, LONDON), "no_route");
}

fn block(id: &str, applies: Applies, caller: Option<&str>) -> CallBlock {
    CallBlock {
        id: id.into(),
        applies,
        caller: caller.map(|c| c.parse().unwrap()),
        reason: "fraud, ticket 7".into(),
    }
}

#[test]
fn t_sip_06_a_block_holds_a_destination_a_caller_or_both() {
    let blocked = |blocks: Vec<CallBlock>, caller: &str, called: &str| {
        let mut r = rows();
        r.call_blocks = blocks;
        let s = snapshot_of(r);
        decided(&s, &input(caller, called), &Live::default()) == "call_blocked"
    };
    let to = vec![block("b", code("1415555"), None)];
    assert!(blocked(to.clone(), NY, SF) && !blocked(to, NY, "+14157770123"));
    let from = vec![block("b", Applies::default(), Some("1212"))];
    assert!(blocked(from.clone(), NY, SF) && !blocked(from.clone(), "+12135550100", SF));
    assert!(!blocked(from, "anonymous", SF), "nobody knows who calls");
    let both = vec![block("b", code("1415"), Some("1212"))];
    assert!(blocked(both.clone(), NY, SF) && !blocked(both.clone(), NY, LONDON));
    assert!(!blocked(both, "+12135550100", SF));
    // One that does not hold leaves the less specific one to decide.
    let two = vec![block("b1", code("1415"), Some("1999")), block("b2", of_customer(), None)];
    assert!(blocked(two, NY, SF));
    let ended = vec![block("b", Applies { until: Some(Wall(0)), ..Applies::default() }, None)];
    assert!(!blocked(ended, NY, SF));
}

#[test]
fn a_blocked_call_is_403_says_which_rule_and_never_holds_a_call_for_help() {
    let mut r = rows();
    r.call_blocks = vec![block("blk_1", Applies::default(), None)];
    r.emergency_route = vec![r.vendor_trunks[0].id];
    let s = snapshot_of(r);
    let i = input(NY, SF);
    let d = decide(&s, &i, &Live::default());
    let refusal = d.result.unwrap_err();
    assert_eq!((refusal.sip_status(), refusal.q850(), refusal.retry_after()), (403, 21, false));
    let record = explain(&s, &i, &Live::default(), &d);
    assert_eq!(record.summary, "Refused (call_blocked): blk_1: fraud, ticket 7.");
    let rule = record.blocked_by.unwrap();
    assert_eq!((rule.id.as_str(), rule.level), ("blk_1", Level::Default));
    assert_eq!(go(&s, "911"), "alpha");
}

#[test]
fn rules_that_cannot_be_are_refused_with_their_names() {
    let mut r = rows();
    let hours = Hours { days: 0, from_min: 0, until_min: 60, utc_offset_min: 0 };
    r.overrides = vec![
        over("nowhere", Applies::default(), "moon"),
        over("both", Applies { customer: Some(CustomerId::from_u128(1)), ..of_trunk() }, "premium"),
    ];
    r.call_blocks = vec![block("never", Applies { hours: Some(hours), ..Applies::default() }, None)];
    let usd = Currency::USD;
    r.exchange_rates = vec![ExchangeRate { from: usd, to: usd, rate: Nanos(1) }];
    let errors: Vec<String> = r.build().unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "override nowhere: unknown partition moon",
            "override both: a trunk or a customer, not both",
            "call block never: hours that no week has",
            "exchange rate USD USD: a rate above 0 between two currencies",
        ]
    );
}

/// A hundred thousand rules cost a call a few look-ups: what is asked is counted.
#[test]
fn a_call_asks_as_many_rules_as_it_has_lengths_of_codes_however_many_there_are() {
    let mut r = rows().partition(only(2, "b"));
    for n in 0..50_000u64 {
        r.overrides.push(over(&format!("o{n}"), code(&format!("44{}", 1_000_000 + n)), "b"));
        r.call_blocks.push(block(&format!("b{n}"), code(&format!("44{}", 2_000_000 + n)), None));
    }
    let s = snapshot_of(r);
    assert_eq!(go(&s, "+441000017"), "no_route", "only vendor b, which has no price abroad");
    assert_eq!(go(&s, "+442000017"), "call_blocked");
    let i = input(NY, SF);
    let allocated = allocation_counter::measure(|| {
        assert!(decide(&s, &i, &Live::default()).overridden_by.is_none());
    });
    assert_eq!(allocated.count_total, 0);
}

/// Alpha asks in euros.
fn euro_world(rates: &[(&str, &str, i64)]) -> DirectoryBuilder {
    let mut r = rows();
    r.exchange_rates = rates
        .iter()
        .map(|(from, to, rate)| ExchangeRate {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            rate: Nanos(*rate),
        })
        .collect();
    r
}

fn euro_snapshot(r: DirectoryBuilder) -> Snapshot {
    let m = 1_000_000;
    let row = |code: &str, rates: [i64; 3]| Row {
        code: code.parse().unwrap(),
        rates: rates.map(Nanos),
        terms: DeckKind::Us.usual_terms(),
        from: None,
        until: None,
        blocked: false,
    };
    let meta = DeckMeta {
        id: warp_model::DeckId::from_u128(1),
        version: 1,
        name: "euro".into(),
        kind: DeckKind::Us,
        currency: "EUR".parse().unwrap(),
    };
    let alpha = Arc::new(Deck::new(meta, vec![row("1415", [3 * m, 3 * m, 3 * m])]).unwrap());
    let beta = deck(2, DeckKind::Us, &[("1415", [4 * m, 8 * m, 8 * m])]);
    let sell = deck(100, DeckKind::Us, &[("1", [10 * m, 12 * m, 12 * m])]);
    let index =
        LcrIndex::build(&[list(&[&alpha]), list(&[&beta])], &[list(&[&sell])], &NumberPlan::seed(), Wall(0))
            .unwrap();
    Snapshot::new(Arc::new(r.build().unwrap()), Arc::new(index), Arc::new(NumberPlan::seed()))
}

#[test]
fn vendors_of_another_currency_are_ordered_and_guarded_by_the_exchange_rate() {
    let out = euro_snapshot(euro_world(&[]));
    assert_eq!(go(&out, SF), "beta@1415", "without a rate nobody guesses");
    // 0.003 euros are 0.0033 or 0.006 dollars; beta asks 0.004.
    let cheap = euro_snapshot(euro_world(&[("EUR", "USD", 1_100_000_000)]));
    assert_eq!(go(&cheap, SF), "alpha@1415 beta@1415");
    let dear = euro_snapshot(euro_world(&[("EUR", "USD", 2_000_000_000)]));
    assert_eq!(go(&dear, SF), "beta@1415 alpha@1415");
    // The other way round is another rate.
    assert_eq!(go(&euro_snapshot(euro_world(&[("USD", "EUR", 1)])), SF), "beta@1415");
    // 0.010 sold; 0.0066 must be left: 0.0033 leaves it, a little more does not.
    let guarded = |rate: i64| {
        let mut r = euro_world(&[("EUR", "USD", rate)]);
        r.partitions[0].margin.per_min = Nanos(6_700_000);
        euro_snapshot(r)
    };
    assert_eq!(go(&guarded(1_100_000_000), SF), "alpha@1415");
    assert_eq!(
        go(&guarded(1_100_000_001), SF),
        "no_route_at_margin",
        "rounded up, never for cheaper than it is"
    );
    let s = guarded(1_200_000_000);
    let i = input(NY, SF);
    let record = explain(&s, &i, &Live::default(), &decide(&s, &i, &Live::default()));
    let alpha = record.excluded.iter().find(|e| e.vendor_name == "alpha").unwrap();
    assert_eq!(
        alpha.rule,
        "a call of 180 s costs 0.0108 (1 EUR = 1.2 USD), sold for 0.03; must leave 0.0067 a minute and 0 bps"
    );
}

#[test]
fn a_margin_of_another_currency_is_compared_by_the_exchange_rate() {
    let mut r = euro_world(&[("JPY", "USD", 10_000_000)]);
    r.partitions[0].vendors.remove(0);
    // Half a yen is half a cent; 0.010 − 0.005 is what beta may ask.
    r.partitions[0].margin = Margin { per_min: Nanos(500_000_000), currency: "JPY".parse().unwrap(), bps: 0 };
    assert_eq!(go(&euro_snapshot(r.clone()), SF), "beta@1415");
    r.partitions[0].margin.per_min = Nanos(700_000_000);
    assert_eq!(go(&euro_snapshot(r), SF), "no_route_at_margin");
}

#[test]
fn the_margin_of_a_call_is_in_the_currency_of_the_sale_by_snapshot_and_by_record() {
    let s = euro_snapshot(euro_world(&[("EUR", "USD", 1_100_000_000)]));
    let i = input(NY, SF);
    let d = decide(&s, &i, &Live::default());
    let first = *d.result.unwrap().get(0).unwrap();
    let rating = rate_call(&s, &d.sell.unwrap(), &first.buy.unwrap(), 60_000).unwrap();
    // 0.010 dollars less 0.003 euros.
    assert_eq!((rating.buy.currency.as_str(), rating.buy.charge), ("EUR", Nanos(3_000_000)));
    assert_eq!(rating.margin, Some(Nanos(6_700_000)));
    let record = explain(&s, &i, &Live::default(), &d);
    assert_eq!(record.candidates[0].exchange, Some(Nanos(1_100_000_000)));
    assert_eq!(record.candidates[0].expected_margin, Some(Nanos(20_100_000)));
    let carried = Some(record.candidates[0].vendor_trunk);
    assert_eq!(rate_recorded(&record, carried, 60_000).unwrap().unwrap(), rating);
}

/// What there was before these rules has the name that it had: old records find their snapshots.
#[test]
fn a_directory_without_such_rules_is_stored_as_before() {
    let stored = serde_json::to_string(rows().build().unwrap().rows()).unwrap();
    for word in ["overrides", "call_blocks", "exchange_rates", "level"] {
        assert!(!stored.contains(word), "{word}");
    }
    let s = overridden(vec![over(
        "x",
        Applies {
            hours: Some(Hours { days: 1, from_min: 0, until_min: 1, utc_offset_min: -60 }),
            ..code("44")
        },
        "a",
    )]);
    let (manifest, bytes) = s.store();
    let mut parts = bytes.into_iter();
    let again = Snapshot::load(&manifest, None, |_| parts.next()).unwrap();
    assert_eq!((again.id, again.directory.rows()), (s.id, s.directory.rows()));
}
