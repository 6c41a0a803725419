//! Limits: reserved at INVITE time, given back on every path, never passed by many calls at once.

mod world;

use std::sync::Arc;

use warp_model::{Mono, Nanos, Now, Wall};
use warp_policy::screen::Reservation;
use warp_policy::*;
use world::*;

const NY: &str = "+12125550100";

fn now(ms: u64) -> Now {
    Now {
        mono: Mono(1_000_000_000_000 + ms * 1_000_000),
        wall: Wall::from_unix_ms(1_700_000_000_000 + ms as i64),
    }
}

fn sold(s: &Snapshot) -> SellRate {
    decide(s, &input(NY, "+14155550123"), &Live::default()).sell.unwrap()
}

#[test]
fn channels_are_held_and_given_back() {
    let mut r = rows();
    r.trunks[0].limits.channels = Some(2);
    r.customers[0].limits.channels = Some(1);
    let s = snapshot_of(r);
    let usage = Usage::new();
    let bound = usage.bind(&s.directory);
    let sell = sold(&s);
    let a = bound.admit(TrunkIx(0), Some(&sell), now(0)).unwrap();
    assert_eq!(bound.admit(TrunkIx(0), Some(&sell), now(0)).unwrap_err(), Refusal::CustomerChannels);
    assert_eq!(bound.trunk(TrunkIx(0)).unwrap().channels, 1);
    // An emergency call passes a full trunk.
    assert!(bound.admit(TrunkIx(0), None, now(0)).is_ok());
    // A new snapshot sees the same call.
    let again = usage.bind(&s.directory);
    assert_eq!(again.trunk(TrunkIx(0)).unwrap().channels, 1);
    drop(a);
    assert_eq!(again.trunk(TrunkIx(0)).unwrap().channels, 0);
    assert_eq!(again.trunk(TrunkIx(0)).unwrap().spent, Nanos(0));
}

/// A panic between what a call takes and its end costs no channel and no money.
#[test]
fn g_1_what_a_call_holds_goes_back_by_an_unwind() {
    let s = snapshot_of(rows());
    let bound = Usage::new().bind(&s.directory);
    let sell = sold(&s);
    let vendor = VendorTrunkIx(0);
    let step = std::panic::AssertUnwindSafe(|| {
        let held = bound.admit(TrunkIx(0), Some(&sell), now(0)).unwrap();
        let _attempts = (bound.take_vendor_trunk(vendor, now(0)), bound.count_vendor_trunk(vendor));
        let gauges = bound.trunk(TrunkIx(0)).unwrap();
        assert_eq!((gauges.channels, gauges.spent), (1, held.reserved()));
        assert_eq!(bound.vendor_trunk_channels(vendor), Some(2));
        panic!("meant");
    });
    let why = std::panic::catch_unwind(step).unwrap_err();
    assert_eq!(why.downcast_ref(), Some(&"meant"));
    let gauges = bound.trunk(TrunkIx(0)).unwrap();
    assert_eq!((gauges.channels, gauges.spent), (0, Nanos(0)));
    assert_eq!(bound.vendor_trunk_channels(vendor), Some(0));
}

#[test]
fn calls_per_second() {
    let mut r = rows();
    r.trunks[0].limits.cps = Some(10);
    let s = snapshot_of(r);
    let bound = Usage::new().bind(&s.directory);
    let sell = sold(&s);
    let admitted = |ms| (0..100).filter(|_| bound.admit(TrunkIx(0), Some(&sell), now(ms)).is_ok()).count();
    assert_eq!(admitted(0), 10);
    assert_eq!(admitted(99), 0);
    assert_eq!(admitted(100), 1);
    assert_eq!(admitted(5_000), 10);
}

#[test]
fn t_sip_06_a_thousand_invites_cannot_each_see_the_old_balance() {
    let mut r = rows();
    // The first 60 s cost 0.01: room for 25 calls.
    r.customers[0].limits.daily_spend = Some(Nanos(250_000_000));
    let s = snapshot_of(r);
    let bound = Arc::new(Usage::new().bind(&s.directory));
    let sell = sold(&s);
    let held = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    match bound.admit(TrunkIx(0), Some(&sell), now(0)) {
                        Ok(r) => held.lock().unwrap().push(r),
                        Err(e) => assert_eq!(e, Refusal::DailySpend),
                    }
                }
            });
        }
    });
    let mut held = held.into_inner().unwrap();
    assert_eq!(held.len(), 25);
    assert_eq!(bound.trunk(TrunkIx(0)).unwrap().channels, 25);
    // One was answered and cost more, the others never were.
    Reservation::settle(held.pop().unwrap(), Nanos(200_000_000));
    held.clear();
    let gauges = bound.trunk(TrunkIx(0)).unwrap();
    assert_eq!((gauges.channels, gauges.spent), (0, Nanos(200_000_000)));
    assert_eq!((0..9).filter(|_| bound.admit(TrunkIx(0), Some(&sell), now(0)).is_ok()).count(), 9);
    // A new day.
    let tomorrow = now(86_400_000);
    assert!(bound.admit(TrunkIx(0), Some(&sell), tomorrow).is_ok());
    assert_eq!(bound.trunk(TrunkIx(0)).unwrap().spent, Nanos(0));
}

#[test]
fn vendor_trunks_and_live_figures() {
    let mut r = rows();
    r.vendor_trunks[0].limits.channels = Some(1);
    r.vendor_trunks[1].limits.cps = Some(1);
    let s = snapshot_of(r);
    let bound = Usage::new().bind(&s.directory);
    let held = bound.take_vendor_trunk(VendorTrunkIx(0), now(0)).unwrap();
    assert!(bound.take_vendor_trunk(VendorTrunkIx(0), now(0)).is_none());
    assert!(bound.take_vendor_trunk(VendorTrunkIx(1), now(0)).is_some());
    let look = |ix: VendorTrunkIx| bound.look(ix, now(0), ix.0 != 2);
    assert_eq!(decided(&s, &input(NY, "+14155550123"), &Live::lazily(&look)), "no_route_available");
    drop(held);
    let look = |ix: VendorTrunkIx| bound.look(ix, now(1_000), true);
    assert_eq!(
        decided(&s, &input(NY, "+14155550123"), &Live::lazily(&look)),
        "alpha@14155550 beta@1415 gamma@1"
    );
}

/// A decision looks at the trunks that could carry its call, however many others there are, and its explanation sees the same figures.
#[test]
fn only_the_trunks_of_a_call_are_looked_at() {
    let mut r = rows();
    let extra = r.vendor_trunks[0].clone();
    for n in 0..1_000_u128 {
        r.vendors.push(directory::Vendor {
            id: warp_model::VendorId::from_u128(5_000 + n),
            ..r.vendors[0].clone()
        });
        r.vendor_trunks.push(directory::VendorTrunk {
            id: warp_model::VendorTrunkId::from_u128(5_000 + n),
            vendor: warp_model::VendorId::from_u128(5_000 + n),
            name: format!("idle {n}"),
            ..extra.clone()
        });
    }
    let s = snapshot_of(r);
    let mut looked = Looked::default();
    for round in 1..3 {
        looked.begin();
        let cell = std::cell::RefCell::new(&mut looked);
        let count = std::cell::Cell::new(0);
        let look = |ix: VendorTrunkIx| {
            cell.borrow_mut().at(ix, || {
                count.set(count.get() + 1);
                VendorTrunkLive { channels_used: round, ..VendorTrunkLive::default() }
            })
        };
        let live = Live::lazily(&look);
        let i = input(NY, "+14155550123");
        let d = decide(&s, &i, &live);
        let record = explain(&s, &i, &live, &d);
        assert!(d.result.is_ok() && (1..=6).contains(&count.get()), "{}", count.get());
        assert_eq!(record.inputs.live.len(), count.get());
        assert!(record.inputs.live.iter().all(|l| l.channels_used == round), "and each round looks anew");
    }
}

#[test]
fn addresses_and_users_find_their_trunk() {
    let mut r = rows();
    r.trunks[0].digest.push(directory::DigestUser { username: "demo".into(), ha1: Default::default() });
    let d = r.clone().build().unwrap();
    assert_eq!(d.trunk_by_ip("192.0.2.9".parse().unwrap()), Some(TrunkIx(0)));
    assert_eq!(d.trunk_by_ip("::ffff:192.0.2.9".parse().unwrap()), Some(TrunkIx(0)));
    assert_eq!(d.trunk_by_ip("203.0.113.1".parse().unwrap()), None);
    assert_eq!(d.digest_user("demo").unwrap().0, TrunkIx(0));
    assert!(d.digest_user("nobody").is_none());
    assert!(d.is_vendor_ip("198.51.100.2".parse().unwrap()));
    // The stored form does not depend on the order of rows, and reads back.
    let mut turned = r.clone();
    turned.vendors.reverse();
    turned.vendor_trunks.reverse();
    assert_eq!(turned.build().unwrap().hash(), d.hash());
    let text = serde_json::to_string(d.rows()).unwrap();
    let back: DirectoryBuilder = serde_json::from_str(&text).unwrap();
    assert_eq!(back.build().unwrap().hash(), d.hash());
    assert!(!format!("{d:?}").is_empty());
}

#[test]
fn a_directory_names_all_its_errors() {
    let mut r = rows();
    let mut twin = r.trunks[0].clone();
    twin.id = warp_model::TrunkId::from_u128(9);
    twin.customer = warp_model::CustomerId::from_u128(77);
    twin.partition = "none".into();
    r.trunks.push(twin);
    r.vendor_trunks[0].addresses = vec!["224.0.0.1:5060".parse().unwrap()];
    r.vendor_trunks[1].addresses.clear();
    r.partitions[0].max_candidates = 9;
    let errors: Vec<_> = r.build().unwrap_err().iter().map(ToString::to_string).collect();
    for part in [
        "unknown customer",
        "unknown partition",
        "also belongs",
        "cannot be sent to",
        "no address",
        "1 to 8 tries",
    ] {
        assert!(errors.iter().any(|e| e.contains(part)), "{part}: {errors:?}");
    }
}

/// Spent today on trunk and customer.
fn spent(bound: &warp_policy::screen::Bound) -> i64 {
    bound.trunk(TrunkIx(0)).unwrap().spent.0
}

#[test]
fn t_sip_06_what_was_spent_before_a_restart_counts_on_its_day_in_the_customers_zone() {
    // The first 60 s cost 0.01. It is 22:13:20 UTC, 17:13:20 at the customer's.
    const CALL: i64 = 10_000_000;
    let mut r = rows();
    r.customers[0].limits.daily_spend = Some(Nanos(5 * CALL));
    r.customers[0].utc_offset_min = -300;
    let (trunk, customer) = (r.trunks[0].id, r.customers[0].id);
    let s = snapshot_of(r);
    let hours_ago = |h: i64| Wall(now(0).wall.0 - h * 3_600_000_000);
    let one = |at, amount| Spent { customer, trunk, at, amount: Nanos(amount) };
    let usage = Usage::new();
    // Out of order; the oldest is yesterday's there, though today's in UTC.
    usage.restore([one(hours_ago(2), CALL), one(hours_ago(18), 100 * CALL), one(hours_ago(17), 2 * CALL)]);
    // Of somebody whom the directory does not know.
    usage.restore([Spent { customer: warp_model::CustomerId::from_u128(404), ..one(hours_ago(1), CALL) }]);
    let bound = usage.bind(&s.directory);
    assert_eq!(spent(&bound), 3 * CALL);
    let sell = sold(&s);
    let held: Vec<_> = (0..9).filter_map(|_| bound.admit(TrunkIx(0), Some(&sell), now(0)).ok()).collect();
    assert_eq!(held.len(), 2, "three of five were spent");
    assert_eq!(bound.admit(TrunkIx(0), Some(&sell), now(0)).unwrap_err(), Refusal::DailySpend);
    // A second shard, a second snapshot: nothing is counted twice.
    assert_eq!(spent(&usage.bind(&s.directory)), 5 * CALL);
    drop(held);
    assert_eq!(spent(&bound), 3 * CALL);
    // The day is over at midnight there.
    let evening = now(6 * 3_600_000);
    assert_eq!(bound.admit(TrunkIx(0), Some(&sell), evening).map(|r| r.reserved()), Ok(Nanos(CALL)));
    let morning = now(7 * 3_600_000);
    let _one = bound.admit(TrunkIx(0), Some(&sell), morning).unwrap();
    assert_eq!(spent(&bound), CALL);
}

#[test]
fn a_trunks_own_daily_spend_is_restored_too() {
    let mut r = rows();
    r.trunks[0].limits.daily_spend = Some(Nanos(10_000_000));
    let (trunk, customer) = (r.trunks[0].id, r.customers[0].id);
    let s = snapshot_of(r);
    let usage = Usage::new();
    usage.restore([Spent { customer, trunk, at: now(0).wall, amount: Nanos(1) }]);
    let bound = usage.bind(&s.directory);
    assert_eq!(bound.admit(TrunkIx(0), Some(&sold(&s)), now(0)).unwrap_err(), Refusal::DailySpend);
}

#[test]
fn a_long_call_is_held_to_the_daily_spend_while_it_runs() {
    const MINUTE: i64 = 10_000_000;
    let mut r = rows();
    r.customers[0].limits.daily_spend = Some(Nanos(4 * MINUTE));
    let s = snapshot_of(r);
    let bound = Usage::new().bind(&s.directory);
    let sell = sold(&s);
    let run = |s: u64| std::time::Duration::from_secs(s);
    let mut call = bound.admit(TrunkIx(0), Some(&sell), now(0)).unwrap();
    let other = bound.admit(TrunkIx(0), Some(&sell), now(0)).unwrap();
    // Asked again within its minute it takes no more.
    call.hold(run(0), now(0)).unwrap();
    assert_eq!(spent(&bound), 2 * MINUTE);
    call.hold(run(60), now(60_000)).unwrap();
    call.hold(run(120), now(120_000)).unwrap();
    assert_eq!((call.reserved(), spent(&bound)), (Nanos(3 * MINUTE), 4 * MINUTE));
    assert_eq!(call.hold(run(180), now(180_000)), Err(Refusal::DailySpend));
    assert_eq!((call.reserved(), spent(&bound)), (Nanos(3 * MINUTE), 4 * MINUTE), "nothing more was taken");
    // The other one was never answered: its minute is this call's.
    drop(other);
    call.hold(run(180), now(180_000)).unwrap();
    Reservation::settle(call, Nanos(35_000_000));
    assert_eq!(spent(&bound), 35_000_000);
    // An emergency call is ended by no limit.
    let mut emergency = bound.admit(TrunkIx(0), None, now(0)).unwrap();
    assert_eq!(emergency.hold(run(36_000), now(36_000_000)), Ok(()));
    assert_eq!(spent(&bound), 35_000_000);
}

#[test]
fn a_call_over_midnight_counts_on_each_day_what_fell_on_it() {
    const MINUTE: i64 = 10_000_000;
    let mut r = rows();
    r.trunks[0].limits.daily_spend = Some(Nanos(3 * MINUTE));
    let s = snapshot_of(r);
    let bound = Usage::new().bind(&s.directory);
    let sell = sold(&s);
    // 22:13:20 UTC; midnight is 6,400 s away.
    let minute = |n: u64| (std::time::Duration::from_secs(60 * n), now((6_400 - 120 + 60 * n) * 1_000));
    let mut call = bound.admit(TrunkIx(0), Some(&sell), minute(0).1).unwrap();
    for n in 1..=4 {
        let (run, at) = minute(n);
        call.hold(run, at).unwrap();
        // The minutes from the third on are the new day's.
        assert_eq!(spent(&bound), [2, 1, 2, 3][n as usize - 1] * MINUTE, "minute {n}");
    }
    let (run, at) = minute(5);
    assert_eq!(call.hold(run, at), Err(Refusal::DailySpend));
    // Five minutes cost 0.05, of which 0.02 fell on yesterday.
    Reservation::settle(call, Nanos(5 * MINUTE));
    assert_eq!(spent(&bound), 3 * MINUTE);
}
