//! What people read: the sentence of a decision, the sums, the reasons and rules; and what the caller is told of a refusal.

mod world;

use warp_model::{Nanos, VendorId, VendorTrunkId, Wall};
use warp_policy::directory::*;
use warp_policy::number_plan::{DestinationClass, Jurisdiction};
use warp_policy::*;
use world::*;

const NY: &str = "+12125550100";
const CALIFORNIA: &str = "+14155550123";

fn record(s: &Snapshot, i: &CallInput<'_>, live: &[VendorTrunkLive]) -> DecisionRecord {
    let live = Live::new(live);
    explain(s, i, &live, &decide(s, i, &live))
}

fn excluded(r: &DecisionRecord) -> Vec<String> {
    r.excluded
        .iter()
        .map(|e| format!("{} {} {}", e.vendor_name, e.reason, e.rule).trim().to_owned())
        .collect()
}

#[test]
fn a_decision_is_written_down_with_its_sums() {
    let s = snapshot_of(rows());
    let r = record(&s, &input(NY, CALIFORNIA), &[]);
    assert_eq!(
        r.summary,
        "alpha is first of 3 candidates at 0.0005 USD/min for prefix 14155550, interstate; 0 excluded."
    );
    assert_eq!((r.version, r.snapshot_id, r.refusal), (explain::DECISION_VERSION, s.id, None));
    assert_eq!(r.called.unwrap().to_string(), CALIFORNIA);
    assert_eq!(r.routed, r.called);
    assert_eq!(r.caller.unwrap().to_string(), NY);
    assert_eq!((r.orig_state.as_deref(), r.term_state.as_deref()), (Some("NY"), Some("CA")));
    assert_eq!((r.class, r.jurisdiction), (Some(DestinationClass::Domestic), Some(Jurisdiction::Interstate)));
    assert_eq!((r.partition.as_deref(), r.strategy), (Some("premium"), Some(Strategy::Cost)));
    assert_eq!((r.expected_duration_s, r.max_duration_s), (Some(180), 14_400));
    assert_eq!(r.inputs.call_hash, "000000000000002a");
    // Three minutes: sold at 0.01, bought at 0.0005, 0.002 and 0.004.
    let sell = r.sell.unwrap();
    assert_eq!(
        (sell.expected_charge, sell.sum.as_str()),
        (Nanos(30_000_000), "180 s × 0.01 / 60 = 0.03 USD")
    );
    assert_eq!((sell.prefix.as_str(), sell.increment_initial_s, sell.increment_next_s), ("1", 6, 6));
    let rows: Vec<_> = r
        .candidates
        .iter()
        .map(|c| {
            let buy = c.buy.as_ref().unwrap();
            (
                c.rank,
                c.vendor_name.as_str(),
                c.vendor_trunk_name.as_str(),
                buy.expected_charge.0,
                c.expected_margin,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (1, "alpha", "vtk 1", 1_500_000, Some(Nanos(28_500_000))),
            (2, "beta", "vtk 2", 6_000_000, Some(Nanos(24_000_000))),
            (3, "gamma", "vtk 3", 12_000_000, Some(Nanos(18_000_000))),
        ]
    );
    assert_eq!(r.candidates[1].vendor_trunk, VendorTrunkId::from_u128(2));
    assert!(r.candidates.iter().all(|c| c.passed_over.is_none() && c.jurisdiction_rule.is_none()));
}

#[test]
fn a_call_abroad_has_no_jurisdiction_in_its_sentence_and_enough_better_ones_is_no_exclusion() {
    let mut r = rows();
    r.partitions[0].max_candidates = 1;
    let s = snapshot_of(r);
    let abroad = record(&s, &input(NY, "+442071234567"), &[]);
    assert_eq!(
        abroad.summary,
        "gamma is first of 1 candidates at 0.007 USD/min for prefix 4420; 2 excluded."
    );
    assert_eq!(excluded(&abroad), ["alpha no_rate", "beta no_rate"]);
    let home = record(&s, &input(NY, CALIFORNIA), &[]);
    assert_eq!(excluded(&home), ["beta tries at most 1 tries", "gamma tries at most 1 tries"]);
    assert!(home.summary.ends_with("0 excluded."), "{}", home.summary);
    assert_eq!(
        (home.excluded[0].rate_per_min, home.excluded[0].prefix.as_deref()),
        (Some(Nanos(2_000_000)), Some("1415"))
    );
}

#[test]
fn each_reason_has_its_rule() {
    let mut r = rows();
    r.vendor_trunks[0].limits.channels = Some(2);
    r.vendor_trunks[1].limits.cps = Some(7);
    let s = snapshot_of(r.clone());
    let mut live = [VendorTrunkLive::default(); 3];
    (live[0].channels_used, live[1].cps_ok, live[2].up) = (2, false, false);
    live[2].cause = Some(DownCause::RetryAfter);
    let all_out = record(&s, &input(NY, CALIFORNIA), &live);
    assert_eq!(
        excluded(&all_out),
        ["alpha channels limit 2", "beta cps limit 7", "gamma down it asked for a pause (Retry-After)"]
    );
    assert_eq!(
        all_out.summary,
        "Refused (no_route_available): 0 without a rate, 0 below the margin, 3 down, full or blocked."
    );
    assert_eq!(all_out.refusal, Some(Refusal::NoRouteAvailable));
    // The cause is said of trunks that are down, and of no other.
    live[0].cause = Some(DownCause::Unreachable);
    assert_eq!(excluded(&record(&s, &input(NY, CALIFORNIA), &live))[0], "alpha channels limit 2");
    let causes = DownCause::ALL.map(DownCause::as_str);
    assert_eq!(causes[0], "no response to several calls in a row");
    assert_eq!(causes[1], "several calls in a row could not be sent");

    // Sold at 0.01 a minute, 0.0099 must be left: nobody is cheap enough.
    r.partitions[0].margin = Margin { per_min: Nanos(9_900_000), ..Margin::default() };
    r.vendors[1].enabled = false;
    r.vendor_trunks.remove(2);
    let s = snapshot_of(r.clone());
    let dear = record(&s, &input(NY, CALIFORNIA), &[]);
    assert_eq!(
        excluded(&dear),
        [
            "alpha margin a call of 180 s costs 0.0015, sold for 0.03; must leave 0.0099 a minute and 0 bps",
            "gamma margin a call of 180 s costs 0.012, sold for 0.03; must leave 0.0099 a minute and 0 bps",
            "beta vendor_disabled",
        ]
    );
    assert_eq!(
        dear.summary,
        "Refused (no_route_at_margin): 0 without a rate, 2 below the margin, 0 down, full or blocked."
    );
    // Without the margin gamma is dear enough to sell, and has no trunk.
    r.partitions[0].margin = Margin::default();
    let none = record(&snapshot_of(r), &input(NY, CALIFORNIA), &[]);
    assert_eq!(excluded(&none), ["gamma no_trunk", "beta vendor_disabled"]);
}

#[test]
fn refusals_before_vendors_name_no_vendor() {
    let s = snapshot_of(rows());
    let blocked = record(&s, &input(NY, "+19005550123"), &[]);
    assert_eq!(
        (blocked.summary.as_str(), blocked.excluded.len()),
        ("Refused (destination_blocked): the trunk may not call the class premium.", 0)
    );
    assert!(blocked.candidates.is_empty());
    let mut r = rows();
    r.trunks[0].limits.max_rate_per_min = Some(Nanos(1));
    let dear = record(&snapshot_of(r), &input(NY, CALIFORNIA), &[]);
    assert!(
        dear.summary.starts_with("Refused (max_rate): the customer's price is above"),
        "{}",
        dear.summary
    );
    assert_eq!(dear.excluded.len(), 0);
    let mut r = rows();
    r.trunks[0].sell_decks.clear();
    let unpriced = record(&snapshot_of(r), &input(NY, CALIFORNIA), &[]);
    assert_eq!(
        unpriced.summary,
        "Refused: vendors offer the destination, the customer's decks have no price for it."
    );
    // Only 44 and 4420 are offered abroad, by gamma: nobody is asked for Germany.
    let nowhere = record(&s, &input(NY, "+4915112345678"), &[]);
    assert_eq!(nowhere.refusal, Some(Refusal::NoRoute));
    assert!(nowhere.summary.contains("no vendor has a price for it"), "{}", nowhere.summary);
    // Of a number that is none, the form that is wanted.
    let dialled = record(&s, &input(NY, "00442071234567"), &[]);
    assert_eq!(
        dialled.summary,
        "Refused (invalid_number): \"00442071234567\" is no number by the dial rules of the trunk; those of other countries \
            begin with + or 011."
    );
    // Who has no partition has an empty one: there is nobody to ask, whatever the decks say.
    let mut r = rows();
    r.partitions[0].vendors.clear();
    let alone = record(&snapshot_of(r), &input(NY, CALIFORNIA), &[]);
    assert_eq!(alone.refusal, Some(Refusal::NoRoute));
    assert!(alone.summary.contains("a partition with vendors"), "{}", alone.summary);
}

#[test]
fn an_emergency_call_is_explained_with_the_trunks_of_its_route() {
    let mut r = rows();
    assert_eq!(
        record(&snapshot_of(r.clone()), &input(NY, "911"), &[]).summary,
        "Emergency call 911: refused, no emergency route is configured."
    );
    r.emergency_route = [2, 1].map(VendorTrunkId::from_u128).to_vec();
    let s = snapshot_of(r);
    let usual = record(&s, &input(NY, "911"), &[]);
    assert_eq!(usual.summary, "Emergency call 911: goes to beta without commercial checks.");
    assert_eq!((usual.emergency, usual.sell.is_none(), usual.excluded.len()), (Some(911), true, 0));
    let live: Vec<_> = usual.inputs.live.iter().map(|l| l.vendor_trunk).collect();
    assert_eq!(live, [1, 2].map(VendorTrunkId::from_u128));
    // The trunks that are up first; one that is down is still tried, and one that comes back is not passed over.
    let down = [
        VendorTrunkLive { share: 1, ..VendorTrunkLive::default() },
        VendorTrunkLive { up: false, ..VendorTrunkLive::default() },
    ];
    let turned = record(&s, &input(NY, "911"), &down);
    let ranks: Vec<_> = turned.candidates.iter().map(|c| (c.rank, c.vendor_name.as_str())).collect();
    assert_eq!(ranks, [(1, "alpha"), (2, "beta")]);
    assert!(turned.candidates.iter().all(|c| c.passed_over.is_none() && c.buy.is_none()));
}

#[test]
fn a_trunk_that_comes_back_says_so() {
    let s = snapshot_of(rows());
    let live = [VendorTrunkLive { share: 0, ..VendorTrunkLive::default() }];
    let r = record(&s, &input(NY, CALIFORNIA), &live);
    let said: Vec<_> =
        r.candidates.iter().map(|c| (c.vendor_name.as_str(), c.passed_over.as_deref())).collect();
    let words = "takes 0 % of calls while it comes back";
    assert_eq!(said, [("beta", None), ("gamma", None), ("alpha", Some(words))]);
    // Whole figures are not written; others are.
    let text = serde_json::to_value(&r).unwrap();
    assert_eq!(text["inputs"]["live"][0]["share"], 0);
    assert!(text["inputs"]["live"][1].get("share").is_none());
}

/// What arrives is kept so that it replays: bytes outside of ASCII and `%` as `%XX`, at most 257 bytes.
#[test]
fn bytes_of_the_wire_are_escaped() {
    let s = snapshot_of(rows());
    let odd = CallInput { caller: b"a%41\x00\x7f\xffz ~", called: b"%", ..input("", "") };
    let r = record(&s, &odd, &[]);
    assert_eq!((r.inputs.caller.as_str(), r.inputs.called.as_str()), ("a%2541%00%7F%FFz ~", "%25"));
    let long = vec![b'9'; 400];
    let r = record(&s, &CallInput { called: &long, ..input(NY, "") }, &[]);
    assert_eq!((r.inputs.called.len(), r.refusal), (257, Some(Refusal::InvalidNumber)));
    // A record that somebody wrote by hand: what is no escape stands for itself.
    let mut by_hand = record(&s, &input(NY, CALIFORNIA), &[]);
    by_hand.inputs.called = "%2B14155550123".into();
    let plain = decide(&s, &input(NY, CALIFORNIA), &Live::default());
    assert_eq!(replay(&s, &by_hand), Some(plain));
    by_hand.inputs.called = "%zz".into();
    assert_eq!(replay(&s, &by_hand).unwrap().result, Err(Refusal::InvalidNumber));
    by_hand.inputs.call_hash = "none".into();
    assert_eq!(replay(&s, &by_hand), None);
    let mut elsewhere = record(&s, &input(NY, CALIFORNIA), &[]);
    elsewhere.inputs.trunk = warp_model::TrunkId::from_u128(99);
    assert_eq!(replay(&s, &elsewhere), None);
}

/// RFC 3261 §21 and RFC 3398 §8.2.6.1: 404 for what cannot be routed, 484 for too few digits, 403 for what the contract
/// forbids, 503 for what may pass later, each with its Q.850 cause; a pause is asked for by limits of the sender only (§21.5.4).
#[test]
fn refusals_towards_the_caller() {
    use Refusal::*;
    for (refusal, status, cause, reason, again) in [
        (InvalidNumber, 404, 28, "Not a number", false),
        (IncompleteNumber, 484, 28, "Address Incomplete", false),
        (UnassignedNumber, 404, 1, "Unassigned Number", false),
        (ServiceCode, 404, 3, "Service Code Not Routed", false),
        (NoEmergencyRoute, 503, 34, "No Emergency Route", false),
        (TrunkDisabled, 403, 21, "Trunk Disabled", false),
        (DestinationBlocked, 403, 21, "Destination Not Allowed", false),
        (MaxRate, 403, 21, "Rate Above Limit", false),
        (InvalidCaller, 403, 21, "Invalid Caller Number", false),
        (NoRoute, 404, 3, "No Route", false),
        (NoRouteAvailable, 503, 34, "No Route Available", false),
        (NoRouteAtMargin, 503, 34, "No Route At Margin", false),
        (RatingFailed, 503, 41, "Not Rateable", false),
        (TrunkChannels, 503, 42, "Channel Limit", true),
        (CustomerChannels, 503, 42, "Channel Limit", true),
        (TrunkCps, 503, 42, "Call Rate Limit", true),
        (CustomerCps, 503, 42, "Call Rate Limit", true),
        (DailySpend, 403, 21, "Spend Limit", false),
    ] {
        assert_eq!(
            (refusal.sip_status(), refusal.q850(), refusal.reason(), refusal.retry_after()),
            (status, cause, reason, again),
            "{refusal}"
        );
        assert_eq!(refusal.to_string(), refusal.code());
    }
}

/// Two vendors with one price: the heavier first, then by position; the same order in each strategy's ties.
#[test]
fn equal_prices_go_by_weight_and_priorities_by_their_order() {
    let m = 1_000_000;
    let buy: Vec<_> = (1..=3).map(|n| deck(n, deck::DeckKind::Us, &[("1", [2 * m; 3])])).collect();
    let sell = deck(100, deck::DeckKind::Us, &[("1", [10 * m; 3])]);
    let lists: Vec<RateList> = buy.iter().map(|d| list(&[d])).collect();
    let index = LcrIndex::build(&lists, &[list(&[&sell])], &NumberPlan::seed(), Wall(0)).unwrap();
    let index = std::sync::Arc::new(index);
    let go = |weights: [u16; 3], priorities: [u16; 3], strategy: Strategy| {
        let mut r = rows();
        let p = &mut r.partitions[0];
        p.strategy = strategy;
        for (i, v) in p.vendors.iter_mut().enumerate() {
            (v.weight, v.priority) = (weights[i], priorities[i]);
        }
        let directory = std::sync::Arc::new(r.build().unwrap());
        let s = Snapshot::new(directory, index.clone(), NumberPlan::seed().into());
        decided(&s, &input(NY, CALIFORNIA), &Live::default()).replace("@1", "")
    };
    assert_eq!(go([1, 1, 1], [0; 3], Strategy::Cost), "alpha beta gamma");
    assert_eq!(go([1, 3, 2], [0; 3], Strategy::Cost), "beta gamma alpha");
    assert_eq!(go([1, 3, 2], [7, 9, 9], Strategy::PriorityCost), "alpha beta gamma");
    assert_eq!(go([1, 1, 1], [9, 8, 500], Strategy::PriorityCost), "beta alpha gamma");
    assert_eq!(VendorId::from_u128(1), rows().vendors[0].id);
}
