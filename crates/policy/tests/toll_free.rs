//! Toll-free numbers (`ref/telecom-domain` §1): never dipped, never routed or priced by a routing number, whoever names one.

mod world;

use warp_model::{Nanos, Wall};
use warp_policy::deck::DeckKind;
use warp_policy::directory::*;
use warp_policy::number_plan::{ClassSet, DestinationClass, NumberPlan};
use warp_policy::*;
use world::*;

const NY: &str = "+12125550100";

/// One vendor and one customer with a price for 1800 and a cheaper one for 1415; the trunk believes `rn=`.
fn world_with_toll_free() -> Snapshot {
    let m = 1_000_000;
    let rows_of = |factor: i64| {
        [("1800", [factor * 9 * m; 3]), ("1415", [factor * 2 * m; 3])].map(|(code, rates)| (code, rates))
    };
    let buy = deck(1, DeckKind::Us, &rows_of(1));
    let sell = deck(100, DeckKind::Us, &rows_of(2));
    let index =
        LcrIndex::build(&[list(&[&buy])], &[list(&[&sell])], &NumberPlan::seed(), Wall(0)).expect("an index");
    let mut t = trunk();
    t.dial.trust_rn = true;
    t.destinations = ClassSet::of(&DestinationClass::ALL);
    let directory = DirectoryBuilder::default()
        .customer(customer())
        .trunk(t)
        .vendor(vendor(1, "alpha", &[1]))
        .vendor_trunk(vendor_trunk(1, 1))
        .partition(partition(&[1]));
    Snapshot::new(directory.build().expect("a directory").into(), index.into(), NumberPlan::seed().into())
}

#[test]
fn a_toll_free_number_is_never_routed_by_a_routing_number() {
    let s = world_with_toll_free();
    let by = |called: &str, lrn: Option<&str>| {
        let mut i = input(NY, called);
        i.lrn = lrn.map(|n| n.parse().expect("a number"));
        let d = decide(&s, &i, &Live::default());
        let record = explain(&s, &i, &Live::default(), &d);
        assert_eq!(replay(&s, &record).expect("replays"), d);
        let first = d.result.expect("a route").get(0).copied().expect("a candidate");
        (
            d.routed.expect("routed").to_string(),
            d.sell.expect("sold").rate_per_min,
            first.buy.expect("bought").rate_per_min,
        )
    };
    let own = ("+18005550123".to_owned(), Nanos(18_000_000), Nanos(9_000_000));
    assert_eq!(by("+18005550123", None), own);
    // The caller's URI names a routing number; a dip of ours does.
    assert_eq!(by("+18005550123;npdi;rn=+14155550000", None), own);
    assert_eq!(by("+18005550123", Some("+14155550000")), own);
    // The same routing number moves a geographic number: the test would see it.
    let moved = ("+14155550000".to_owned(), Nanos(4_000_000), Nanos(2_000_000));
    assert_eq!(by("+12135550123;npdi;rn=+14155550000", None), moved);
    assert_eq!(by("+12135550123", Some("+14155550000")), moved);
}
