//! Limits that are money: highest price per minute, longest call, a vendor in another currency, the spend of a day in the
//! customer's zone, and a call that is refused after its trunk's token was taken.

mod world;

use warp_model::{Currency, DeckId, Mono, Nanos, Now, Wall};
use warp_policy::deck::{Deck, DeckKind, DeckMeta, Row};
use warp_policy::screen::Reservation;
use warp_policy::*;
use world::*;

const NY: &str = "+12125550100";
/// Sold at 0.010 a minute interstate.
const CALIFORNIA: &str = "+14155550123";

fn at(wall_s: i64, mono_ms: u64) -> Now {
    Now { mono: Mono(1_000_000_000_000 + mono_ms * 1_000_000), wall: Wall(wall_s * 1_000_000) }
}

fn sold(s: &Snapshot) -> SellRate {
    decide(s, &input(NY, CALIFORNIA), &Live::default()).sell.unwrap()
}

#[test]
fn max_rate_per_min_refuses_what_is_dearer_and_takes_what_is_equal() {
    let price = Nanos(10_000_000);
    let below = Nanos(9_999_999);
    for (trunk, customer, carried) in [
        (None, None, true),
        (Some(price), None, true),
        (None, Some(price), true),
        (Some(below), None, false),
        (None, Some(below), false),
        // The lower of both counts, whichever it is.
        (Some(price), Some(below), false),
        (Some(below), Some(price), false),
    ] {
        let mut r = rows();
        r.trunks[0].limits.max_rate_per_min = trunk;
        r.customers[0].limits.max_rate_per_min = customer;
        let got = decided(&snapshot_of(r), &input(NY, CALIFORNIA), &Live::default());
        assert_eq!(got != "max_rate", carried, "{trunk:?} {customer:?}: {got}");
    }
}

#[test]
fn max_duration_s_is_the_lower_of_trunk_and_customer() {
    let longest = |trunk: Option<u32>, customer: Option<u32>| {
        let mut r = rows();
        r.trunks[0].limits.max_duration_s = trunk;
        r.customers[0].limits.max_duration_s = customer;
        decide(&snapshot_of(r), &input(NY, CALIFORNIA), &Live::default()).max_duration_s
    };
    let usual = longest(None, None);
    assert!(usual >= 3_600, "{usual}");
    assert_eq!(longest(Some(60), None), 60);
    assert_eq!(longest(None, Some(61)), 61);
    assert_eq!((longest(Some(60), Some(61)), longest(Some(61), Some(60))), (60, 60));
    assert_eq!(longest(Some(u32::MAX), None), usual, "no limit lifts the platform's own");
}

/// Alpha and gamma in USD, beta in EUR and cheapest by the figure: it is no candidate, and the record says why.
#[test]
fn a_vendor_in_another_currency_is_no_candidate_however_cheap() {
    let rate = |n: u128, currency: Currency, nanos: i64| {
        let row = Row {
            code: "1".parse().unwrap(),
            rates: [Nanos(nanos); 3],
            terms: DeckKind::Us.usual_terms(),
            from: None,
            until: None,
            blocked: false,
        };
        let meta = DeckMeta {
            id: DeckId::from_u128(n),
            version: 1,
            name: format!("d{n}"),
            kind: DeckKind::Us,
            currency,
        };
        std::sync::Arc::new(Deck::new(meta, vec![row]).unwrap())
    };
    let eur: Currency = "EUR".parse().unwrap();
    let buy = [rate(1, Currency::USD, 3_000_000), rate(2, eur, 1), rate(3, Currency::USD, 4_000_000)];
    let lists: Vec<RateList> = buy.iter().map(|d| list(&[d])).collect();
    let sell = list(&[&rate(100, Currency::USD, 10_000_000)]);
    let plan = NumberPlan::seed();
    let index = LcrIndex::build(&lists, &[sell], &plan, Wall(0)).unwrap();
    let directory = rows().build().unwrap();
    let s = Snapshot::new(directory.into(), index.into(), plan.into());
    let call = input(NY, CALIFORNIA);
    assert_eq!(decided(&s, &call, &Live::default()), "alpha@1 gamma@1");
    let decision = decide(&s, &call, &Live::default());
    let record = explain(&s, &call, &Live::default(), &decision);
    let beta = record.excluded.iter().find(|x| x.vendor_name == "beta").unwrap();
    assert_eq!(beta.reason, "currency");
}

/// 0.01 for the first minute, a limit of 0.03 a day, a customer five hours west of UTC.
#[test]
fn daily_spend_adds_up_over_finished_calls_and_begins_anew_at_the_customers_midnight() {
    let mut r = rows();
    r.customers[0].limits.daily_spend = Some(Nanos(30_000_000));
    r.customers[0].utc_offset_min = -300;
    let s = snapshot_of(r);
    let bound = Usage::new().bind(&s.directory);
    let sell = sold(&s);
    // 2023-11-15 04:59:59 UTC is one second before midnight there.
    let (evening, midnight) = (1_700_024_399, 1_700_024_400);
    let admit = |wall_s: i64| bound.admit(TrunkIx(0), Some(&sell), at(wall_s, 0));
    // Two calls end; what they cost stays spent although nothing is held any more.
    Reservation::settle(admit(evening - 7_200).unwrap(), Nanos(12_000_000));
    Reservation::settle(admit(evening - 3_600).unwrap(), Nanos(9_000_000));
    assert_eq!(bound.trunk(TrunkIx(0)).unwrap().spent, Nanos(21_000_000));
    // 0.009 are left: the next first minute does not fit, not even at UTC's midnight.
    assert_eq!(admit(evening).unwrap_err(), Refusal::DailySpend);
    assert_eq!(admit(1_700_006_400).unwrap_err(), Refusal::DailySpend, "00:00 UTC is not their midnight");
    // Their midnight: a new day.
    let call = admit(midnight).unwrap();
    assert_eq!(bound.trunk(TrunkIx(0)).unwrap().spent, Nanos(10_000_000));
    Reservation::settle(call, Nanos(30_000_000));
    assert_eq!(admit(midnight + 1).unwrap_err(), Refusal::DailySpend);
    assert!(admit(midnight + 86_400).is_ok());
}

/// A call that cost less than its first minute gives the rest back; one that was never answered gives all back.
#[test]
fn what_a_call_did_not_use_is_spendable_again() {
    let mut r = rows();
    r.trunks[0].limits.daily_spend = Some(Nanos(10_000_000));
    let s = snapshot_of(r);
    let bound = Usage::new().bind(&s.directory);
    let sell = sold(&s);
    let first = bound.admit(TrunkIx(0), Some(&sell), at(0, 0)).unwrap();
    assert_eq!(bound.admit(TrunkIx(0), Some(&sell), at(0, 0)).unwrap_err(), Refusal::DailySpend);
    drop(first);
    Reservation::settle(bound.admit(TrunkIx(0), Some(&sell), at(0, 0)).unwrap(), Nanos(0));
    assert!(bound.admit(TrunkIx(0), Some(&sell), at(0, 0)).is_ok());
}

/// Two trunks of a customer with one call per second: the second trunk's call is refused by the customer's limit and must not
/// have used up its own trunk's second.
#[test]
fn a_refusal_by_the_customers_cps_gives_the_trunks_token_back() {
    let mut r = rows();
    r.trunks[0].limits.cps = Some(1);
    r.customers[0].limits.cps = Some(1);
    let mut other = r.trunks[0].clone();
    other.id = warp_model::TrunkId::from_u128(2);
    other.name = "other".into();
    other.acl = vec!["203.0.113.0/24".parse().unwrap()];
    other.limits.cps = None;
    r.trunks.push(other);
    let s = snapshot_of(r);
    let bound = Usage::new().bind(&s.directory);
    let sell = sold(&s);
    let admit = |trunk: u32, ms: u64| bound.admit(TrunkIx(trunk), Some(&sell), at(0, ms)).map(drop);
    // The other trunk takes the customer's token of this second.
    assert_eq!(admit(1, 0), Ok(()));
    // This trunk has its own token, takes it, and is refused by the customer …
    assert_eq!(admit(0, 999), Err(Refusal::CustomerCps));
    // … so at the moment when the customer may call again, its token is there.
    assert_eq!(admit(0, 1_000), Ok(()));
    assert_eq!(admit(0, 1_001), Err(Refusal::TrunkCps));
}
