//! Inbound calls: whose the number is, where it goes, what it costs both sides; written down, decided again, kept and loaded.
mod world;

use std::sync::Arc;

use proptest::prelude::*;
use warp_model::{CustomerId, DeckId, NumberId, TrunkId, Wall};
use warp_policy::deck::DeckKind;
use warp_policy::directory::{Customer, Deliver, InboundTerms, PricedBy, Trunk};
use warp_policy::inbound::{
    self, Brings, Destination, Number, NumberBook, TrunkTarget, decide_inbound, explain_inbound,
    rate_inbound_record, replay_inbound,
};
use warp_policy::{
    DirectoryBuilder, InboundDecision, InboundInput, InboundRecord, LcrIndex, NumberPlan, Snapshot, TrunkIx,
    VendorTrunkIx,
};
use world::*;

const OURS: &str = "+14155550199";

fn trunk_n(n: u128) -> Trunk {
    let deliver =
        Deliver { addresses: vec![format!("192.0.2.{n}:5060").parse().unwrap()], ..Deliver::default() };
    Trunk { id: TrunkId::from_u128(n), name: format!("pbx {n}"), acl: vec![], deliver, ..trunk() }
}

fn terms(deck: u128) -> InboundTerms {
    InboundTerms { decks: vec![DeckId::from_u128(deck)], priced_by: PricedBy::Called }
}

fn number(of: u128, targets: &[(u128, u16, u16)]) -> Number {
    let target = |t: &(u128, u16, u16)| TrunkTarget {
        trunk: TrunkId::from_u128(t.0),
        user: None,
        priority: t.1,
        weight: t.2,
    };
    Number {
        id: NumberId::from_u128(9),
        number: OURS.parse().unwrap(),
        customer: CustomerId::from_u128(of),
        sell_decks: vec![],
        destination: Destination::Trunks(targets.iter().map(target).collect()),
    }
}

/// Customer 1 with trunks 1 to 3, customer 2 with trunk 4; vendor 1 brings calls from 198.51.100.0/24.
fn directory() -> DirectoryBuilder {
    let mut rows = rows();
    rows.customers[0].inbound = terms(200);
    rows.vendors[0].inbound = terms(300);
    rows.vendor_trunks[0].inbound_networks = vec!["198.51.100.0/24".parse().unwrap()];
    rows.trunks = (1..=3).map(trunk_n).collect();
    rows.trunks[0].acl = vec!["192.0.2.0/24".parse().unwrap()];
    rows.customers.push(Customer { id: CustomerId::from_u128(2), inbound: terms(200), ..customer() });
    rows.trunks.push(Trunk { customer: CustomerId::from_u128(2), ..trunk_n(4) });
    rows
}

/// Inbound lists: 200 sells at 0.005 (intra 0.006), 201 one number at 0.02 and by callers of 202; 300 buys at 0.001.
fn index() -> LcrIndex {
    let m = 1_000_000;
    let sells = [
        deck(200, DeckKind::Us, &[("1415", [5 * m, 6 * m, 7 * m])]),
        deck(201, DeckKind::Us, &[("1415", [5 * m; 3]), ("14155550199", [20 * m; 3])]),
        deck(202, DeckKind::Us, &[("1202", [50 * m; 3]), ("1415", [5 * m; 3])]),
        deck(300, DeckKind::Us, &[("1415", [m; 3])]),
    ];
    let lists: Vec<_> = sells.iter().map(|d| list(&[d])).collect();
    LcrIndex::build(&[], &lists, &NumberPlan::seed(), Wall(0)).unwrap()
}

fn snapshot(rows: DirectoryBuilder, numbers: Vec<Number>) -> Snapshot {
    let directory = Arc::new(rows.build().unwrap());
    let book = Arc::new(NumberBook::of(numbers).unwrap());
    Snapshot::of(directory, Arc::new(index()), Arc::new(NumberPlan::seed()), book)
}

fn input<'a>(caller: &'a str, called: &'a str) -> InboundInput<'a> {
    InboundInput {
        from: Brings::Vendor(VendorTrunkIx(0)),
        caller: caller.as_bytes(),
        called: called.as_bytes(),
        at: Wall(0),
        call_hash: 42,
        callback: false,
    }
}

/// Decides; whatever is decided is explained, kept, read again and decided again.
fn decided(s: &Snapshot, i: &InboundInput<'_>) -> (InboundDecision, InboundRecord) {
    let d = decide_inbound(s, i);
    let record = explain_inbound(s, i, &d);
    assert_eq!(replay_inbound(s, &record).unwrap(), d);
    let text = serde_json::to_string(&record).unwrap();
    let back: InboundRecord = serde_json::from_str(&text).unwrap();
    assert_eq!(back, record);
    (d, record)
}

fn outcome(s: &Snapshot, i: &InboundInput<'_>) -> String {
    let (d, record) = decided(s, i);
    match d.result {
        Err(r) => r.code().to_owned(),
        Ok(_) => record.targets.iter().map(|t| t.trunk_name.clone()).collect::<Vec<_>>().join(" "),
    }
}

fn price(rate: Option<warp_policy::Rate>) -> String {
    rate.map_or_else(|| "none".into(), |r| format!("{}@{}", r.rate_per_min, r.code))
}

#[test]
fn a_number_of_ours_goes_to_its_trunk_and_is_priced_on_both_sides() {
    let s = snapshot(directory(), vec![number(1, &[(1, 0, 1)])]);
    for called in [OURS, "14155550199", "4155550199", "%2B14155550199", "+1-415-555-0199"] {
        let (d, record) = decided(&s, &input("+12025550100", called));
        assert_eq!(d.result.unwrap().iter().collect::<Vec<_>>(), [TrunkIx(0)], "{called}");
        assert_eq!((price(d.sell), price(d.buy)), ("0.005@1415".into(), "0.001@1415".into()));
        assert_eq!(record.jurisdiction.unwrap().as_str(), "interstate");
        assert_eq!(
            record.summary,
            "Inbound call of alpha to +14155550199 goes to trunk pbx 1, first of 1, interstate; sold for 0.005 USD/min, \
             bought for 0.001 USD/min."
        );
    }
    // Of the same state, and of nobody: the deck's own columns.
    assert_eq!(price(decide_inbound(&s, &input("+12135550100", OURS)).sell), "0.006@1415");
    assert_eq!(price(decide_inbound(&s, &input("anonymous", OURS)).sell), "0.007@1415");
}

#[test]
fn a_number_that_is_nobodys_here_is_404_and_one_without_a_destination_480() {
    let s = snapshot(directory(), vec![number(1, &[])]);
    for called in ["+14155550198", "911", "+442071234567", "bob", "", "411", "+999"] {
        let (d, _) = decided(&s, &input("+12025550100", called));
        assert_eq!(d.result.unwrap_err().code(), "number_not_here", "{called}");
        assert_eq!(d.result.unwrap_err().sip_status(), 404);
    }
    let (d, record) = decided(&s, &input("+12025550100", OURS));
    assert_eq!((d.result.unwrap_err().sip_status(), d.result.unwrap_err().q850()), (480, 20));
    assert_eq!(record.number, Some(NumberId::from_u128(9)));
}

#[test]
fn a_number_never_leads_to_somebody_elses_trunk_nor_to_one_that_takes_no_calls() {
    let mut rows = directory();
    rows.trunks[1].enabled = false;
    rows.trunks[2].deliver = Deliver::default();
    let s = snapshot(rows.clone(), vec![number(1, &[(4, 0, 1), (2, 0, 1), (3, 0, 1), (1, 9, 1)])]);
    assert_eq!(outcome(&s, &input("", OURS)), "pbx 1");
    let (_, record) = decided(&s, &input("", OURS));
    assert_eq!(record.unusable, [4, 2, 3].map(TrunkId::from_u128));
    let s = snapshot(rows.clone(), vec![number(1, &[(4, 0, 1)])]);
    assert_eq!(outcome(&s, &input("", OURS)), "no_destination");
    rows.customers[0].enabled = false;
    let s = snapshot(rows, vec![number(1, &[(1, 0, 1)])]);
    assert_eq!(outcome(&s, &input("", OURS)), "no_destination");
}

#[test]
fn the_list_of_a_number_goes_before_that_of_its_customer_and_a_list_by_caller_reads_the_caller() {
    let mut own = number(1, &[(1, 0, 1)]);
    own.sell_decks = vec![DeckId::from_u128(201)];
    let s = snapshot(directory(), vec![own]);
    assert_eq!(price(decide_inbound(&s, &input("+12025550100", OURS)).sell), "0.02@14155550199");
    let mut rows = directory();
    rows.customers[0].inbound =
        InboundTerms { decks: vec![DeckId::from_u128(202)], priced_by: PricedBy::Caller };
    let s = snapshot(rows, vec![number(1, &[(1, 0, 1)])]);
    assert_eq!(price(decide_inbound(&s, &input("+12025550100", OURS)).sell), "0.05@1202");
    // Who calls without a number is priced by the called one.
    assert_eq!(price(decide_inbound(&s, &input("anonymous", OURS)).sell), "0.005@1415");
    // A caller whom the list does not have cannot be rated.
    assert_eq!(outcome(&s, &input("+13055550100", OURS)), "rating_failed");
}

#[test]
fn t_sip_07_what_cannot_be_rated_on_either_side_is_refused_unless_it_may_be_the_call_back_of_help() {
    for side in 0..2 {
        let mut rows = directory();
        match side {
            0 => rows.customers[0].inbound = InboundTerms::default(),
            _ => rows.vendors[0].inbound = InboundTerms::default(),
        }
        let s = snapshot(rows, vec![number(1, &[(1, 0, 1)])]);
        assert_eq!(outcome(&s, &input("+12025550100", OURS)), "rating_failed");
        // Whose price it is that is missing.
        let summary = decided(&s, &input("+12025550100", OURS)).1.summary;
        let whose = ["customer", "vendor"][side];
        assert_eq!(
            summary,
            format!("Inbound call refused: the {whose}'s inbound decks have no price for it.")
        );
        let back = InboundInput { callback: true, ..input("+12025550100", OURS) };
        let (d, record) = decided(&s, &back);
        assert!(d.result.is_ok() && record.refusal.is_none());
        assert_eq!(rate_inbound_record(&record, 60_000), Ok(None), "nobody pays for what has no price");
    }
}

#[test]
fn an_inbound_call_is_rated_from_its_record() {
    let s = snapshot(directory(), vec![number(1, &[(1, 0, 1)])]);
    let (d, record) = decided(&s, &input("+12025550100", OURS));
    let rating = rate_inbound_record(&record, 60_001).unwrap().unwrap();
    assert_eq!(rating.sell.charge.to_string(), "0.0055");
    assert_eq!(rating.buy.charge.to_string(), "0.0011");
    assert_eq!(rating.margin.unwrap().to_string(), "0.0044");
    let again = warp_policy::rate_call(&s, &d.sell.unwrap(), &d.buy.unwrap(), 60_001).unwrap();
    assert_eq!(again, rating);
}

#[test]
fn an_address_of_a_vendor_and_a_customer_is_told_by_the_number_then_by_the_prefix() {
    let mut rows = directory();
    rows.trunks[0].dial.strip = vec!["77#".into()];
    let s = snapshot(rows, vec![number(1, &[(1, 0, 1)])]);
    let is_customers = |called: &str| inbound::is_customers(&s, TrunkIx(0), called.as_bytes());
    assert!(!is_customers(OURS), "our number: the vendor's call");
    assert!(is_customers("77#12125550100"));
    assert!(is_customers("77#14155550199"), "the prefix says that the customer dials it");
    assert!(is_customers("911"), "a call for help is never taken for a vendor's");
    assert!(!is_customers("+12125550100"), "nothing tells: it is refused as the vendor's");
}

#[test]
fn the_networks_of_a_vendor_that_is_off_are_nobodys() {
    let ip = "198.51.100.7".parse().unwrap();
    let find = |rows: DirectoryBuilder| rows.build().unwrap().inbound_trunk(ip);
    assert_eq!(find(directory()), Some(VendorTrunkIx(0)));
    let mut off = directory();
    off.vendors[0].enabled = false;
    assert_eq!(find(off), None);
    let mut off = directory();
    off.vendor_trunks[0].enabled = false;
    assert_eq!(find(off), None);
}

#[test]
fn a_page_of_numbers_is_stored_by_itself_and_what_is_known_is_not_fetched() {
    let other = Number { number: "+14155550200".parse().unwrap(), ..number(1, &[(2, 0, 1)]) };
    let s = snapshot(directory(), vec![number(1, &[(1, 0, 1)]), other]);
    let (manifest, bytes) = s.store();
    assert_eq!(manifest.sections.len(), 5);
    let fetch = |section: &warp_policy::Section| {
        let at = manifest.sections.iter().position(|x| x == section)?;
        bytes.get(at).cloned()
    };
    let loaded = Snapshot::load(&manifest, None, fetch).unwrap();
    assert_eq!((loaded.id, &*loaded.numbers), (s.id, &*s.numbers));
    // One number changes: one section is new.
    let moved = Number { number: "+14155550200".parse().unwrap(), ..number(1, &[(3, 0, 1)]) };
    let next = s.with_numbers(Arc::new(NumberBook::of(vec![number(1, &[(1, 0, 1)]), moved]).unwrap()));
    assert_ne!(next.id, s.id);
    let (manifest, bytes) = next.store();
    let mut fetched = Vec::new();
    let loaded = Snapshot::load(&manifest, Some(&s), |section| {
        fetched.push(section.kind);
        bytes.get(manifest.sections.iter().position(|x| x == section)?).cloned()
    });
    assert_eq!(loaded.unwrap().id, next.id);
    assert_eq!(fetched.len(), 1, "{fetched:?}");
    // Without a number it is what it was before there were any.
    let none = s.with_numbers(Arc::new(NumberBook::default()));
    assert_eq!(none.id, Snapshot::new(s.directory.clone(), s.lcr.clone(), s.number_plan.clone()).id);
}

/// A customer's call to a number of another one: what each pays, and no vendor.
#[test]
fn a_customers_call_to_our_number_needs_no_vendor_and_both_sides_pay() {
    let mut rows = directory();
    rows.trunks[3].acl = vec!["203.0.113.0/28".parse().unwrap()];
    for trunk in &mut rows.trunks {
        trunk.sell_decks = vec![DeckId::from_u128(200)];
    }
    let s = snapshot(rows, vec![number(1, &[(1, 0, 1)])]);
    let caller = s.directory.trunk_ix(TrunkId::from_u128(4)).unwrap();
    let out = warp_policy::CallInput {
        trunk: caller,
        caller: b"+12025550100",
        called: OURS.as_bytes(),
        at: Wall(0),
        call_hash: 1,
        lrn: None,
    };
    let live = warp_policy::Live::default();
    let d = warp_policy::decide(&s, &out, &live);
    assert!(d.on_net && d.result.unwrap().is_empty());
    let record = warp_policy::explain(&s, &out, &live, &d);
    assert_eq!(record.on_net, Some(NumberId::from_u128(9)));
    assert!(record.summary.contains("without a vendor; sold for 0.005 USD/min"), "{}", record.summary);
    assert_eq!(warp_policy::replay(&s, &record).unwrap(), d);
    let paid = warp_policy::rate_recorded(&record, None, 60_000).unwrap().unwrap();
    assert_eq!((paid.sell.charge.to_string(), paid.buy.charge.to_string()), ("0.005".into(), "0".into()));
    assert_eq!(paid, warp_policy::rate_call_on_net(&s, &d.sell.unwrap(), 60_000).unwrap());
    let i = InboundInput { from: Brings::Trunk(caller), ..input("+12025550100", OURS) };
    let (d, record) = decided(&s, &i);
    assert_eq!((d.result.unwrap().len(), d.buy, price(d.sell)), (1, None, "0.005@1415".into()));
    let gets = rate_inbound_record(&record, 60_000).unwrap().unwrap();
    assert_eq!((gets.sell.charge.to_string(), gets.buy.deck_version.as_str()), ("0.005".into(), "on-net"));
    // A call that the caller's decks do not price is carried by nobody, whoever is called.
    let mut rows = directory();
    rows.trunks[3].sell_decks = vec![];
    let s = snapshot(rows, vec![number(1, &[(1, 0, 1)])]);
    let decision = warp_policy::decide(&s, &out, &live);
    assert_eq!(decision.result.as_ref().unwrap_err().code(), "rating_failed");
    let summary = warp_policy::explain(&s, &out, &live, &decision).summary;
    assert_eq!(summary, "Refused: the number is one of ours, the customer's decks have no price for it.");
}

proptest! {
    /// Priority decides, and among equals the weights, over all calls; the same call always gives the same order.
    #[test]
    fn targets_come_by_priority_and_then_by_weight(hash in any::<u64>()) {
        let s = snapshot(directory(), vec![number(1, &[(1, 5, 1), (2, 0, 3), (3, 0, 1)])]);
        let of = |hash: u64| outcome(&s, &InboundInput { call_hash: hash, ..input("", OURS) });
        let first = of(hash);
        prop_assert_eq!(&first, &of(hash));
        prop_assert!(first == "pbx 2 pbx 3 pbx 1" || first == "pbx 3 pbx 2 pbx 1", "{}", first);
        let heavy = (0..400u64).filter(|n| of(hash.wrapping_add(*n)).starts_with("pbx 2")).count();
        prop_assert!((240..360).contains(&heavy), "{} of 400 with weight 3 of 4", heavy);
    }

    #[test]
    fn whatever_is_called_is_decided_without_panic(
        caller in proptest::collection::vec(any::<u8>(), 0..40), called in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let s = snapshot(directory(), vec![number(1, &[(1, 0, 1)])]);
        let i = InboundInput { caller: &caller, called: &called, ..input("", "") };
        let (d, _) = decided(&s, &i);
        let _ = inbound::is_customers(&s, TrunkIx(0), &called);
        prop_assert!(d.result.is_ok() || d.result.is_err());
    }
}
