//! Decisions: order, jurisdiction, exclusions, refusals; each one explained and replayed.

mod world;

use warp_model::{E164, Nanos, Wall};
use warp_policy::directory::*;
use warp_policy::number_plan::{Jurisdiction, State};
use warp_policy::*;
use world::*;

fn go(s: &Snapshot, caller: &str, called: &str) -> String {
    decided(s, &input(caller, called), &Live::default())
}

const NY: &str = "+12125550100";
const LA: &str = "+12135550100";

#[test]
fn cheapest_first_by_jurisdiction_and_longest_code() {
    let s = snapshot_of(rows());
    // Interstate: alpha's thousands block, its exchange, its area code.
    assert_eq!(go(&s, NY, "+14155550123"), "alpha@14155550 beta@1415 gamma@1");
    assert_eq!(go(&s, NY, "+14155559123"), "alpha@1415555 beta@1415 gamma@1");
    assert_eq!(go(&s, NY, "+14157770123"), "beta@1415 alpha@1415 gamma@1");
    // Intrastate prices turn the order round.
    assert_eq!(go(&s, LA, "+14155550123"), "gamma@1 alpha@14155550 beta@1415");
    assert_eq!(go(&s, LA, "+14155559123"), "gamma@1 alpha@1415555 beta@1415");
    assert_eq!(go(&s, NY, "+442071234567"), "gamma@4420");
    assert_eq!(go(&s, NY, "+441611234567"), "gamma@44");
    // One price where there is no jurisdiction: the dearest of three.
    let d = decide(&s, &input(NY, "+12045550123"), &Live::default());
    let buy = d.result.unwrap().get(0).unwrap().buy.unwrap();
    assert_eq!((buy.rate_per_min, d.jurisdiction), (Nanos(3_000_000), None));
}

#[test]
fn a_bare_1_reaches_the_usa_only() {
    let s = snapshot_of(rows());
    // Jamaica has a sell price, and gamma's `1` is no offer for it.
    assert_eq!(go(&s, NY, "+18765550123"), "no_route");
    assert_eq!(go(&s, NY, "+18005550123"), "no_route");
    assert_eq!(go(&s, NY, "+12125550123"), "gamma@1");
}

#[test]
fn indeterminate_is_never_the_cheaper() {
    let s = snapshot_of(rows());
    let d = decide(&s, &input("anonymous", "+14155550123"), &Live::default());
    assert_eq!(d.jurisdiction, Some(Jurisdiction::Indeterminate));
    assert_eq!(d.sell.unwrap().rate_per_min, Nanos(12_000_000));
}

#[test]
fn t_sip_06_classes_rates_and_limits_are_denied() {
    let s = snapshot_of(rows());
    assert_eq!(go(&s, NY, "+881612345678"), "destination_blocked");
    assert_eq!(go(&s, NY, "+19005550123"), "destination_blocked");
    let mut open = rows();
    open.trunks[0].destinations = number_plan::ClassSet::of(&number_plan::DestinationClass::ALL);
    let mut capped = open.clone();
    assert_eq!(go(&snapshot_of(open), NY, "+881612345678"), "gamma@881");
    capped.trunks[0].limits.max_rate_per_min = Some(Nanos(1_000_000_000));
    assert_eq!(go(&snapshot_of(capped), NY, "+881612345678"), "max_rate");
}

#[test]
fn t_sip_07_what_cannot_be_rated_is_refused() {
    let mut r = rows();
    r.trunks[0].sell_decks = vec![];
    let s = snapshot_of(r);
    assert_eq!(go(&s, NY, "+14155550123"), "rating_failed");
    assert_eq!(go(&s, NY, "+4915112345678"), "no_route");
}

#[test]
fn margin_guard() {
    let mut r = rows();
    r.partitions[0].margin.per_min = Nanos(9_000_000);
    let s = snapshot_of(r.clone());
    // 0.010 sold: what costs more than 0.001 is out.
    assert_eq!(go(&s, NY, "+14155559123"), "alpha@1415555");
    assert_eq!(go(&s, NY, "+14157770123"), "no_route_at_margin");
    r.partitions[0].loss_ok = true;
    assert_eq!(go(&snapshot_of(r.clone()), NY, "+14157770123"), "beta@1415 alpha@1415 gamma@1");
    // Yen cannot be taken off a price in dollars, however few they are; no margin is none in any currency.
    let yen = |amount| Margin { per_min: Nanos(amount), currency: "JPY".parse().unwrap(), bps: 0 };
    r.partitions[0].loss_ok = false;
    r.partitions[0].margin = yen(1);
    let s = snapshot_of(r.clone());
    assert_eq!(go(&s, NY, "+14155559123"), "no_route_at_margin");
    let d = decide(&s, &input(NY, "+14155559123"), &Live::default());
    let record = explain(&s, &input(NY, "+14155559123"), &Live::default(), &d);
    assert_eq!(record.excluded[0].rule, "must leave 0.000000001 JPY a minute, sold in USD");
    r.partitions[0].margin = yen(0);
    assert_eq!(go(&snapshot_of(r.clone()), NY, "+14155559123"), "alpha@1415555 beta@1415 gamma@1");
    r.partitions[0].loss_ok = false;
    r.partitions[0].margin = Margin { bps: 8_000, ..Margin::default() };
    assert_eq!(go(&snapshot_of(r), NY, "+14157770123"), "beta@1415");
}

#[test]
fn live_figures_exclude() {
    let mut r = rows();
    r.vendor_trunks[0].limits.channels = Some(2);
    let s = snapshot_of(r);
    let mut live = vec![VendorTrunkLive::default(); 3];
    let at = |live: &[VendorTrunkLive]| decided(&s, &input(NY, "+14155550123"), &Live::new(live));
    live[0].channels_used = 2;
    assert_eq!(at(&live), "beta@1415 gamma@1");
    live[1].up = false;
    assert_eq!(at(&live), "gamma@1");
    live[2].cps_ok = false;
    assert_eq!(at(&live), "no_route_available");
    let d = decide(&s, &input(NY, "+14155550123"), &Live::new(&live));
    let record = explain(&s, &input(NY, "+14155550123"), &Live::new(&live), &d);
    let reasons: Vec<_> = record
        .excluded
        .iter()
        .map(|e| (e.vendor_name.as_str(), e.reason.as_str(), e.rule.as_str()))
        .collect();
    assert_eq!(reasons, [("alpha", "channels", "limit 2"), ("beta", "down", ""), ("gamma", "cps", "")]);
    assert_eq!(record.inputs.live.len(), 3);
}

#[test]
fn f_net_02_a_share_is_drawn_by_the_hash_of_the_call_and_only_grows() {
    let s = snapshot_of(rows());
    let first = |share: u8, hash: u64| {
        let mut live = vec![VendorTrunkLive::default(); 3];
        live[0].share = share;
        let i = CallInput { call_hash: hash, ..input(NY, "+14155550123") };
        decided(&s, &i, &Live::new(&live))
    };
    let taken = |share| (0..1_000).filter(|h| first(share, *h).starts_with("alpha")).collect::<Vec<u64>>();
    let (tenth, half) = (taken(10), taken(50));
    assert!((70..=130).contains(&tenth.len()) && (450..=550).contains(&half.len()));
    assert!(tenth.iter().all(|h| half.contains(h)), "a call that is taken at 10 % is taken at 50 %");
    assert_eq!(taken(100).len(), 1_000);
    let passed = (0..).find(|h| !tenth.contains(h)).unwrap();
    assert_eq!(first(10, passed), "beta@1415 gamma@1 alpha@14155550", "behind all others, not away");
    // Where there is room for two, it is named among those left out.
    let mut r = rows();
    r.partitions[0].max_candidates = 2;
    let s = snapshot_of(r);
    let live = [VendorTrunkLive { share: 10, ..VendorTrunkLive::default() }];
    let live = Live::new(&live);
    let i = CallInput { call_hash: passed, ..input(NY, "+14155550123") };
    let record = explain(&s, &i, &live, &decide(&s, &i, &live));
    let why: Vec<_> = record.excluded.iter().map(|e| (e.reason.as_str(), e.rule.as_str())).collect();
    assert_eq!(why, [("ramp_up", "takes 10 % of calls while it comes back")]);
}

#[test]
fn blocks_hold_for_a_time_and_a_code() {
    let r = rows().block(Block {
        id: "b1".into(),
        vendor: warp_model::VendorId::from_u128(1),
        code: Some("1415555".parse().unwrap()),
        from: None,
        until: Some(Wall(1_000)),
        reason: "false answer".into(),
    });
    let s = snapshot_of(r);
    assert_eq!(go(&s, NY, "+14155550123"), "beta@1415 gamma@1");
    assert_eq!(go(&s, NY, "+14157770123"), "beta@1415 alpha@1415 gamma@1");
    let mut later = input(NY, "+14155550123");
    later.at = Wall(1_000);
    assert!(decided(&s, &later, &Live::default()).starts_with("alpha"));
    let i = input(NY, "+14155550123");
    let record = explain(&s, &i, &Live::default(), &decide(&s, &i, &Live::default()));
    assert_eq!(record.excluded[0].rule, "block b1: false answer");
}

#[test]
fn strategies() {
    let mut r = rows();
    r.partitions[0].strategy = Strategy::PriorityCost;
    r.partitions[0].vendors[0].priority = 5;
    assert_eq!(go(&snapshot_of(r.clone()), NY, "+14155550123"), "beta@1415 gamma@1 alpha@14155550");
    r.partitions[0].strategy = Strategy::WeightedShare;
    r.partitions[0].vendors[2].weight = 98;
    let s = snapshot_of(r);
    let gamma_first = (0..1_000u64)
        .filter(|h| {
            let mut i = input(NY, "+14155550123");
            i.call_hash = *h;
            decided(&s, &i, &Live::default()).starts_with("gamma")
        })
        .count();
    assert!((960..=995).contains(&gamma_first), "{gamma_first}");
}

#[test]
fn point_of_interconnection_changes_the_vendors_price_only() {
    let mut r = rows();
    r.vendors[0].interconnection = State::parse("CA");
    let s = snapshot_of(r);
    let d = decide(&s, &input(NY, "+14155559123"), &Live::default());
    assert_eq!(d.jurisdiction, Some(Jurisdiction::Interstate));
    assert_eq!(go(&s, NY, "+14155559123"), "beta@1415 gamma@1 alpha@1415555");
    let alpha = *d.result.unwrap().get(2).unwrap();
    assert_eq!(alpha.jurisdiction, Some(Jurisdiction::Intrastate));
    assert_eq!(alpha.buy.unwrap().rate_per_min, Nanos(5_000_000));
}

#[test]
fn a_routing_number_decides_price_and_state() {
    let s = snapshot_of(rows());
    let mut i = input(LA, "+12125550123");
    i.lrn = Some("+14155550000".parse::<E164>().unwrap());
    assert_eq!(decided(&s, &i, &Live::default()), "gamma@1 alpha@14155550 beta@1415");
    let d = decide(&s, &i, &Live::default());
    assert_eq!(d.jurisdiction, Some(Jurisdiction::Intrastate));
    assert_eq!(d.called.unwrap().to_string(), "+12125550123");
}

#[test]
fn emergency_calls_skip_every_commercial_check() {
    let mut r = rows();
    r.trunks[0].enabled = false;
    r.trunks[0].sell_decks = vec![];
    assert_eq!(go(&snapshot_of(r.clone()), NY, "911"), "no_emergency_route");
    assert_eq!(go(&snapshot_of(r.clone()), NY, "+14155550123"), "trunk_disabled");
    r.emergency_route = vec![r.vendor_trunks[1].id, r.vendor_trunks[0].id];
    assert_eq!(go(&snapshot_of(r.clone()), NY, "911"), "beta alpha");
    // Nor does a customer's limit cut it short; a trunk that is switched off is the last to be tried.
    r.trunks[0].limits.max_duration_s = Some(60);
    r.vendor_trunks[1].enabled = false;
    let s = snapshot_of(r.clone());
    assert_eq!(go(&s, NY, "911"), "alpha beta");
    let d = decide(&s, &input(NY, "911"), &Live::default());
    assert_eq!((d.emergency, d.max_duration_s), (Some(911), 4 * 3_600));
    // Behind a technical prefix or without one.
    r.trunks[0].dial.strip = vec!["9".into()];
    r.trunks[0].dial.strip_required = true;
    let s = snapshot_of(r);
    assert_eq!((go(&s, NY, "911").as_str(), go(&s, NY, "9911").as_str()), ("alpha beta", "alpha beta"));
    assert_eq!(go(&snapshot_of(rows()), NY, "411"), "service_code");
}

#[test]
fn a_directory_change_shares_the_index() {
    let s = snapshot_of(rows());
    let mut r = rows();
    r.vendors[0].enabled = false;
    let t = s.with_directory(std::sync::Arc::new(r.build().unwrap()));
    assert_ne!(s.id, t.id);
    assert!(std::sync::Arc::ptr_eq(&s.lcr, &t.lcr));
    assert_eq!(go(&t, NY, "+14155550123"), "beta@1415 gamma@1");
    assert_eq!(snapshot_of(rows()).id, s.id);
}

#[test]
fn a_call_is_rated_with_its_decision() {
    let s = snapshot_of(rows());
    let d = decide(&s, &input(NY, "+14155550123"), &Live::default());
    let buy = d.result.unwrap().get(0).unwrap().buy.unwrap();
    let rating = rate_call(&s, &d.sell.unwrap(), &buy, 60_500).unwrap();
    assert_eq!(rating.sell.charge, Nanos(11_000_000));
    assert_eq!(rating.sell.sum, "66 s × 0.01 / 60 = 0.011 USD");
    assert_eq!(rating.buy.prefix, "14155550");
    assert_eq!(rating.margin, Some(Nanos(10_450_000)));
}

#[test]
fn a_snapshot_is_stored_and_loaded_by_its_sections() {
    use warp_policy::snapshot::{LoadError, SectionKind};
    let s = snapshot_of(rows());
    let (manifest, bodies) = s.store();
    let text = serde_json::to_string(&manifest).unwrap();
    let manifest: Manifest = serde_json::from_str(&text).unwrap();
    let body = |kind| {
        let at = manifest.sections.iter().position(|s| s.kind == kind).unwrap();
        bodies[at].clone()
    };
    let loaded = Snapshot::load(&manifest, None, |s| Some(body(s.kind))).unwrap();
    assert_eq!(loaded.id, s.id);
    assert_eq!(go(&loaded, NY, "+14155550123"), "alpha@14155550 beta@1415 gamma@1");

    // A change of the directory fetches the directory only.
    let mut r = rows();
    r.vendors[0].enabled = false;
    let changed = s.with_directory(std::sync::Arc::new(r.build().unwrap()));
    let (next, next_bodies) = changed.store();
    let mut fetched = Vec::new();
    let swapped = Snapshot::load(&next, Some(&loaded), |s| {
        fetched.push(s.kind);
        Some(next_bodies[1].clone())
    })
    .unwrap();
    assert_eq!(fetched, [SectionKind::Directory]);
    assert_eq!(swapped.id, changed.id);
    assert!(std::sync::Arc::ptr_eq(&swapped.lcr, &loaded.lcr));

    // Wrong bytes, missing bytes, sections of another snapshot.
    let mut bad = body(SectionKind::Directory);
    bad[9] ^= 1;
    let wrong = Snapshot::load(&manifest, None, |s| {
        Some(if s.kind == SectionKind::Directory { bad.clone() } else { body(s.kind) })
    });
    assert_eq!(wrong.unwrap_err(), LoadError::WrongBytes(SectionKind::Directory));
    let gone = Snapshot::load(&manifest, None, |_| None);
    assert_eq!(gone.unwrap_err(), LoadError::NotFound(SectionKind::NumberPlan));
    let mut mixed = manifest.clone();
    mixed.sections[1] = next.sections[1].clone();
    let mixed = Snapshot::load(&mixed, Some(&changed), |s| Some(body(s.kind)));
    assert_eq!(mixed.unwrap_err(), LoadError::WrongId);
}
