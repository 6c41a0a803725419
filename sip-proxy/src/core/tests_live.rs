//! Calls in the air: what is seen of them while they last, by whom, and what becomes of one that somebody hangs up.

use std::sync::{Arc, Mutex};

use warp_model::cdr::{Direction, ReleaseSide};
use warp_model::{CallId, CustomerId, Nanos, TrunkId, VendorId};

use super::live::PIECE;
use super::tests_static::{addr, line};
use super::tests_world::*;
use super::types::{Command, HangUpBy, HungUp, LiveCall, LookFor, LookedAt};

fn piece(w: &mut World, which: LookFor, from: u32) -> LookedAt {
    let got = Arc::new(Mutex::new(None));
    let reply = {
        let got = got.clone();
        Box::new(move |seen| *got.lock().unwrap() = Some(seen))
    };
    w.command(Command::LookAtCalls { which, from, reply });
    got.lock().unwrap().take().unwrap()
}

pub(super) fn look(w: &mut World, which: LookFor) -> Vec<LiveCall> {
    let seen = piece(w, which, 0);
    assert_eq!(seen.next, None, "a small table is one piece");
    seen.calls
}

fn hang_up(w: &mut World, cdr_id: CallId, customer: Option<u128>, by: HangUpBy) -> HungUp {
    let got = Arc::new(Mutex::new(None));
    let reply = {
        let got = got.clone();
        Box::new(move |came| *got.lock().unwrap() = Some(came))
    };
    let customer = customer.map(CustomerId::from_u128);
    w.command(Command::HangUp { cdr_id, customer, by, reply });
    got.lock().unwrap().take().unwrap()
}

fn money(call: &LiveCall) -> (Option<String>, Option<String>) {
    (call.price.map(|m| m.amount.to_string()), call.cost.map(|m| m.amount.to_string()))
}

#[test]
fn a_call_in_the_air_says_how_it_stands_and_what_it_has_cost_so_far() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    let call = look(&mut w, LookFor::default()).remove(0);
    assert_eq!((call.state, call.duration_ms, call.attempts, money(&call)), ("setup", 0, 1, (None, None)));
    assert_eq!(
        (call.customer_id, call.trunk_id),
        (Some(CustomerId::from_u128(1)), Some(TrunkId::from_u128(1)))
    );
    assert_eq!((call.vendor_id, call.direction), (Some(VendorId::from_u128(1)), Direction::Outbound));
    assert_eq!((call.origin, call.targets.as_slice()), (addr(CUSTOMER), &[addr(V1)][..]));
    assert_eq!(call.called_e164.as_deref(), Some(NUMBER));
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    assert_eq!(look(&mut w, LookFor::default())[0].state, "ringing");
    w.take();
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    w.wait(60_000);
    // 66 seconds at 0.01 and 0.001 a minute: what the record of a call that ends now would say.
    let call = look(&mut w, LookFor::default()).remove(0);
    assert_eq!((call.state, money(&call)), ("answered", (Some("0.011".into()), Some("0.0011".into()))));
    assert!((60_000..60_100).contains(&call.duration_ms), "{}", call.duration_ms);
    w.take();
    assert_eq!(hang_up(&mut w, call.cdr_id, None, HangUpBy::Operator), HungUp::Ended("answered"));
    // A BYE of ours that nobody answers is repeated (RFC 3261 §17.1.2.2, timer E).
    let byes = |w: &mut World| w.take().iter().filter(|(_, t)| t.starts_with("BYE ")).count();
    assert_eq!(byes(&mut w), 2);
    w.wait(600);
    assert_eq!(byes(&mut w), 2);
    assert_eq!(w.ended[0].rating.as_ref().unwrap().sell.charge, Nanos(11_000_000));
    assert!(look(&mut w, LookFor::default()).is_empty(), "it is over");
}

#[test]
fn a_look_finds_by_customer_trunk_vendor_number_and_id() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    w.give(CUSTOMER, &invite("+14155550124", "c2", "", SDP));
    let all = look(&mut w, LookFor::default());
    assert_eq!(all.len(), 2);
    let of = |change: &dyn Fn(&mut LookFor)| {
        let mut which = LookFor::default();
        change(&mut which);
        which
    };
    let yes = [
        of(&|f| f.customer = Some(CustomerId::from_u128(1))),
        of(&|f| f.trunk = Some(TrunkId::from_u128(1))),
        of(&|f| f.vendor = Some(VendorId::from_u128(1))),
        of(&|f| f.number = Some("(415) 555-01".into())),
    ];
    for which in yes {
        assert_eq!(look(&mut w, which.clone()).len(), 2, "{which:?}");
    }
    let one = [
        of(&|f| f.id = Some(all[1].cdr_id)),
        of(&|f| f.number = Some("+14155550124".into())),
        of(&|f| f.sip_call_id = Some(all[1].sip_call_id.clone())),
    ];
    for which in one {
        assert_eq!(look(&mut w, which.clone()), [all[1].clone()], "{which:?}");
    }
    let none = [
        of(&|f| f.customer = Some(CustomerId::from_u128(2))),
        of(&|f| f.trunk = Some(TrunkId::from_u128(2))),
        of(&|f| f.vendor = Some(VendorId::from_u128(2))),
        of(&|f| (f.id, f.customer) = (Some(all[1].cdr_id), Some(CustomerId::from_u128(2)))),
    ];
    for which in none {
        assert!(look(&mut w, which.clone()).is_empty(), "{which:?}");
    }
}

/// A look holds up a shard for a piece of its table, however many calls there are.
#[test]
fn a_look_is_at_a_piece_of_the_table_at_a_time() {
    let mut w = World::new(false, |_| ());
    let calls = PIECE as usize + 40;
    for i in 0..calls {
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{i}"), "", SDP));
        w.take();
    }
    let before = w.core.calls.all.looks();
    let first = piece(&mut w, LookFor::default(), 0);
    assert_eq!(w.core.calls.all.looks() - before, u64::from(PIECE));
    assert_eq!((first.calls.len(), first.next), (PIECE as usize, Some(PIECE)));
    let second = piece(&mut w, LookFor::default(), PIECE);
    assert_eq!((second.calls.len(), second.next), (40, None));
    // By its id, no other one is looked at.
    let before = w.core.calls.all.looks();
    let which = LookFor { id: Some(second.calls[0].cdr_id), ..LookFor::default() };
    assert_eq!(look(&mut w, which).len(), 1);
    assert_eq!(w.core.calls.all.looks() - before, 1);
}

#[test]
fn who_hangs_up_ends_the_call_both_ways_and_stands_in_its_record() {
    for (by, word) in [(HangUpBy::Operator, "operator"), (HangUpBy::Customer, "customer")] {
        let mut w = World::new(true, |_| ());
        let _ = answered(&mut w, SDP);
        w.wait(5_000);
        w.take();
        let cdr_id = w.answered[0].cdr_id;
        assert_eq!(hang_up(&mut w, cdr_id, Some(1), by), HungUp::Ended("answered"));
        let out = w.take();
        let byes: Vec<_> = out.iter().filter(|(_, t)| t.starts_with("BYE ")).collect();
        assert!(byes.iter().any(|(to, t)| *to == addr(V1) && line(t, "To").ends_with("tag=bt")), "{out:#?}");
        assert!(byes.iter().any(|(to, t)| *to == addr(CUSTOMER) && line(t, "To").ends_with("tag=at")));
        let r = &w.ended[0];
        assert_eq!((r.internal_code.as_str(), r.release_side), (word, ReleaseSide::System));
        assert!(r.rating.is_some());
        assert_eq!(hang_up(&mut w, cdr_id, None, by), HungUp::Over);
        assert_eq!(hang_up(&mut w, cdr_id, Some(1), by), HungUp::NotHere, "nothing in the air is his");
        w.nothing_is_left();
        assert_eq!((w.ended.len(), hang_up(&mut w, cdr_id, None, by)), (1, HungUp::NotHere));
    }
}

#[test]
fn a_call_that_rings_is_cancelled_and_its_caller_told() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    w.take();
    let cdr_id = look(&mut w, LookFor::default())[0].cdr_id;
    assert_eq!(hang_up(&mut w, cdr_id, None, HangUpBy::Operator), HungUp::Ended("ringing"));
    let out = w.take();
    assert!(out.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("CANCEL ")), "{out:#?}");
    assert!(out.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 480 ")), "{out:#?}");
    assert_eq!(w.ended[0].internal_code, "operator");
}

#[test]
fn nobody_hangs_up_another_ones_call_nor_one_for_help() {
    let mut w = World::new(true, |_| ());
    let _ = answered(&mut w, SDP);
    w.take();
    let cdr_id = w.answered[0].cdr_id;
    assert_eq!(hang_up(&mut w, cdr_id, Some(2), HangUpBy::Customer), HungUp::NotHere);
    assert_eq!(hang_up(&mut w, CallId::from_u128(7), None, HangUpBy::Operator), HungUp::NotHere);
    assert!(w.take().is_empty() && w.ended.is_empty());

    let mut w = World::new(true, |d| d.emergency_route = vec![warp_model::VendorTrunkId::from_u128(1)]);
    w.give(CUSTOMER, &invite("911", "help", "", SDP));
    w.take();
    let call = look(&mut w, LookFor::default()).remove(0);
    assert!(call.emergency);
    assert_eq!(hang_up(&mut w, call.cdr_id, None, HangUpBy::Operator), HungUp::Emergency);
    assert!(w.take().is_empty() && w.ended.is_empty(), "those who speak end it");
}
