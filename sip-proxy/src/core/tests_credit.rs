//! Calls that are paid ahead: refused before a vendor is tried, paid on while they run, and ended at the second that is paid (RFC 0014).

use std::sync::Arc;

use warp_model::cdr::ReleaseSide;
use warp_model::{BanId, Mono, Nanos};
use warp_policy::DirectoryBuilder;
use warp_policy::credit::{Purse, WAITING_IN_ALL, WAITING_OF_ACCOUNT};
use warp_policy::directory::Payer;

use super::tests_records::cancel;
use super::tests_static::{addr, at, line, lines};
use super::tests_world::*;
use super::types::Command;

fn ban() -> BanId {
    BanId::from_u128(7)
}

fn paid_ahead(d: &mut DirectoryBuilder) {
    d.trunks[0].payer = Some(Payer { ban: ban(), ahead: true });
}

/// Puts a lease of so much into the wallet, which ends after so many milliseconds.
fn lend(w: &World, amount: i64, ends_ms: u64) -> Arc<Purse> {
    let purse = Arc::new(Purse::new(ban(), 5, Nanos(amount), at(ends_ms).mono));
    w.core.tx.shared.usage.wallet().place(ban()).put(Some(Arc::clone(&purse)));
    purse
}

/// What a minute costs.
const MINUTE: i64 = 10_000_000;
const NEVER: u64 = 100_000_000;

/// How many of the two parties were told that it is over.
fn byes(w: &mut World) -> usize {
    let out = w.take();
    [V1, CUSTOMER]
        .iter()
        .filter(|who| out.iter().any(|(to, t)| *to == addr(who) && t.starts_with("BYE ")))
        .count()
}

#[test]
fn without_credit_a_call_is_402_before_a_vendor_is_tried() {
    let mut w = World::new(false, paid_ahead);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 402 Payment Required"), "{refused}");
    assert!(line(&refused, "Reason").starts_with("Q.850;cause=21"), "{refused}");
    let r = &w.ended[0];
    assert_eq!((r.internal_code.as_str(), r.sip_code, r.q850, r.legs.len()), ("no_credit", 402, Some(21), 0));
    assert_eq!(r.paid.map(|p| (p.ban_id, p.lease)), Some((ban(), None)));
    let missed = w.core.tx.shared.usage.wallet().place(ban()).missed();
    assert_eq!(missed.want, Nanos(MINUTE), "it is asked for");
    w.give(CUSTOMER, &with_ack(&refused));
    w.nothing_is_left();
}

/// The purse of a node that had no such call yet may be too small, and the money is at the bank: refusing it would lose a call that is
/// paid.
#[test]
fn a_call_waits_a_moment_for_money_that_the_bank_has() {
    let mut w = World::new(false, paid_ahead);
    let place = w.core.tx.shared.usage.wallet().place(ban());
    lend(&w, 1_000, NEVER);
    place.bank_has(Nanos(MINUTE), Mono(0));
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let first = w.take();
    assert!(first.iter().all(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 100 ")), "{first:?}");
    assert_eq!(place.missed().want, Nanos(MINUTE), "it is asked for");
    w.wait(200);
    assert_eq!(w.take(), [], "it waits");
    place.purse().expect("lent").extend(Nanos(MINUTE), at(NEVER).mono);
    w.wait(100);
    let sent = w.take();
    assert!(sent.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("INVITE ")), "{sent:?}");
    assert_eq!(sent.iter().filter(|(_, t)| t.starts_with("INVITE ")).count(), 1);
}

#[test]
fn money_that_does_not_come_is_waited_for_once_and_not_long() {
    let mut w = World::new(false, paid_ahead);
    w.core.tx.shared.usage.wallet().place(ban()).bank_has(Nanos(MINUTE), Mono(0));
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    w.wait(700);
    assert!(w.take().iter().all(|(_, t)| t.starts_with("SIP/2.0 100 ")));
    w.wait(200);
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 402 Payment Required"), "{refused}");
    assert_eq!(w.ended[0].internal_code, "no_credit");
    w.give(CUSTOMER, &with_ack(&refused));
    w.nothing_is_left();
}

/// An account, and then all of them, fill their places with calls that wait: one more is refused as it was before calls waited, at once.
#[test]
fn t_sip_06_only_so_many_calls_wait_for_money() {
    for of_account in [true, false] {
        let mut w = World::new(false, paid_ahead);
        let wallet = Arc::clone(w.core.tx.shared.usage.wallet());
        let place = wallet.place(ban());
        place.bank_has(Nanos(MINUTE), Mono(0));
        let full: Vec<_> = match of_account {
            true => (0..WAITING_OF_ACCOUNT).map(|_| place.wait().expect("a place")).collect(),
            false => (0..WAITING_IN_ALL)
                .map(|n| {
                    wallet
                        .place(BanId::from_u128(100 + u128::from(n % 8)))
                        .wait()
                        .expect("a place of another account")
                })
                .collect(),
        };
        assert!(place.wait().is_none(), "of the account: {of_account}");
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let refused = w.to(CUSTOMER);
        assert!(refused.starts_with("SIP/2.0 402 "), "{refused}");
        w.give(CUSTOMER, &with_ack(&refused));
        assert_eq!((w.core.stats().credit_waits, w.core.stats().credit_waits_full), (0, 1));
        drop(full);
        w.give(CUSTOMER, &invite("+14155550124", "c2", "", ""));
        assert!(w.take().iter().all(|(_, t)| t.starts_with("SIP/2.0 100 ")), "there is room again");
        assert_eq!((w.core.stats().credit_waits, place.waiting()), (1, 1));
        lend(&w, MINUTE, NEVER);
        w.wait(100);
        let sent = w.take();
        assert!(sent.iter().any(|(_, t)| t.starts_with("INVITE ")), "{sent:?}");
        assert_eq!(place.waiting(), 0, "who goes on gives his place back");
    }
}

#[test]
fn a_caller_who_gives_up_while_his_call_waits_for_money_is_let_go() {
    let mut w = World::new(false, paid_ahead);
    let place = w.core.tx.shared.usage.wallet().place(ban());
    place.bank_has(Nanos(MINUTE), Mono(0));
    let invite = invite(NUMBER, "c1", "", "");
    w.give(CUSTOMER, &invite);
    w.wait(100);
    w.take();
    w.give(CUSTOMER, &cancel(&invite));
    let out = w.take();
    let refused =
        out.iter().find(|(_, t)| t.starts_with("SIP/2.0 487 ")).map(|(_, t)| t.clone()).expect("487");
    w.give(CUSTOMER, &with_ack(&refused));
    assert_eq!(place.waiting(), 0);
    lend(&w, MINUTE, NEVER);
    w.wait(1_000);
    assert!(w.take().iter().all(|(_, t)| !t.starts_with("INVITE ")), "nobody is called for it");
    assert_eq!((w.ended.len(), w.ended[0].sip_code), (1, 487));
    w.nothing_is_left();
}

fn with_ack(refused: &str) -> String {
    format!(
        "ACK sip:{NUMBER}@{US} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 ACK\r\n\
         Content-Length: 0\r\n\r\n",
        line(refused, "Via"),
        line(refused, "From"),
        line(refused, "To"),
        line(refused, "Call-ID")
    )
}

#[test]
fn a_prepaid_call_ends_both_ways_at_the_second_that_is_paid() {
    let mut w = World::new(true, paid_ahead);
    let purse = lend(&w, 2 * MINUTE + MINUTE / 4, NEVER);
    answered(&mut w, SDP);
    let began = w.ms - 10;
    w.take();
    let (rate, next) = {
        let sell = w.core.calls.all.iter().last().unwrap().1.decision.unwrap().sell.unwrap();
        (sell.rate_per_min, u64::from(sell.terms.next_s))
    };
    assert_eq!(rate, Nanos(MINUTE));
    // Two minutes and a quarter, in whole increments.
    let paid_s = 135 / next * next;
    w.wait(paid_s * 1_000 - 200);
    assert_eq!((w.ended.len(), byes(&mut w)), (0, 0), "it goes on while it is paid");
    w.wait(400);
    assert_eq!(byes(&mut w), 2);
    let r = w.ended[0].clone();
    assert_eq!((r.internal_code.as_str(), r.release_side), ("no_credit", ReleaseSide::System));
    assert!(r.duration_ms <= paid_s * 1_000 && r.duration_ms > paid_s * 1_000 - 100, "{}", r.duration_ms);
    let sell = r.rating.unwrap().sell;
    assert_eq!((sell.billable_s, sell.charge), (paid_s, purse.spent()));
    assert!(sell.charge <= Nanos(2 * MINUTE + MINUTE / 4));
    assert_eq!(r.paid.map(|p| p.lease), Some(Some(5)));
    assert!(began > 0);
    w.nothing_is_left();
    assert_eq!((purse.calls(), purse.held()), (0, Nanos(0)));
}

#[test]
fn a_timer_that_is_late_makes_nobody_pay_more_than_was_granted() {
    let mut w = World::new(false, paid_ahead);
    let purse = lend(&w, MINUTE / 10, NEVER);
    answered(&mut w, "");
    // Six seconds are paid; the shard was busy until the ninth.
    w.ms += 9_000;
    let now = at(w.ms);
    w.core.handle_timeout(now);
    w.drain();
    let r = w.ended[0].clone();
    assert_eq!((r.duration_ms, r.internal_code.as_str()), (6_000, "no_credit"));
    assert!((2_900..3_100).contains(&r.paid.unwrap().over_ms), "{:?}", r.paid);
    assert_eq!(r.rating.unwrap().sell.charge, Nanos(MINUTE / 10));
    assert_eq!(purse.spent(), Nanos(MINUTE / 10));
}

/// The call that this node ends at its longest duration is charged for that duration, however late its timer was: with 60/60 a millisecond
/// would cost a minute.
#[test]
fn a_call_that_reaches_its_longest_duration_is_charged_no_more() {
    let mut w = World::new(false, |d| {
        paid_ahead(d);
        d.trunks[0].limits.max_duration_s = Some(30);
    });
    lend(&w, MINUTE, NEVER);
    answered(&mut w, "");
    w.take();
    w.ms += 30_004;
    let now = at(w.ms);
    w.core.handle_timeout(now);
    w.drain();
    assert_eq!(byes(&mut w), 2);
    let r = w.ended[0].clone();
    assert_eq!(r.internal_code, "max_duration");
    assert_eq!((r.duration_ms, r.rating.unwrap().sell.billable_s), (30_000, 30));
    w.nothing_is_left();
}

/// T-RTP-10: a call whose media stopped is charged until the time-out was due, whenever the relay's word of it comes; the record says how
/// much later that was.
#[test]
fn t_rtp_10_a_call_that_ends_by_silence_is_charged_until_that_was_due() {
    let mut w = World::new(false, paid_ahead);
    lend(&w, 10 * MINUTE, NEVER);
    answered(&mut w, "");
    w.take();
    let media_id = w.answered[0].cdr_id.to_string().into_bytes();
    // A minute behind the answer, which was one step ago.
    let due = at(w.ms + 59_990).mono;
    w.wait(60_000);
    w.ms += 2_500;
    w.command(Command::MediaTimeout { media_id, due });
    assert_eq!(byes(&mut w), 2);
    let r = w.ended[0].clone();
    assert_eq!((r.internal_code.as_str(), r.duration_ms), ("media_timeout", 60_000));
    assert_eq!(r.rating.unwrap().sell.billable_s, 60);
    assert!((2_500..2_600).contains(&r.paid.unwrap().over_ms), "{:?}", r.paid);
    w.nothing_is_left();
}

#[test]
fn a_running_call_is_paid_on_when_more_was_borrowed_and_gives_back_what_it_did_not_use() {
    let mut w = World::new(false, paid_ahead);
    let purse = lend(&w, MINUTE, NEVER);
    let (ok, _) = answered(&mut w, "");
    w.wait(30_000);
    purse.extend(Nanos(10 * MINUTE), Mono(0));
    w.wait(60_000);
    assert!(w.ended.is_empty());
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    let charge = w.ended[0].rating.as_ref().unwrap().sell.charge;
    assert_eq!((purse.spent(), purse.free()), (charge, Nanos(11 * MINUTE - charge.0)));
    assert!(charge < Nanos(2 * MINUTE), "{charge}");
}

#[test]
fn calls_are_cut_when_their_lease_ends_and_go_on_when_it_was_extended() {
    for extended in [false, true] {
        let mut w = World::new(false, paid_ahead);
        let purse = lend(&w, 100 * MINUTE, 40_000);
        answered(&mut w, "");
        w.take();
        w.wait(20_000);
        if extended {
            purse.extend(Nanos(0), at(200_000).mono);
        }
        w.wait(21_000);
        assert_eq!(w.ended.len(), usize::from(!extended));
        if extended {
            w.wait(160_000);
        }
        assert_eq!(byes(&mut w), 2);
        let r = &w.ended[0];
        assert_eq!(r.internal_code, "lease_ended");
        assert!(r.rating.is_some() && r.paid.unwrap().over_ms == 0);
        assert_eq!(purse.calls(), 0);
    }
}

/// What rings when another call of the account has used up the rest keeps what it holds, and ends at its own paid second. (Elsewhere such
/// calls went on for ever: kamailio 2346.)
#[test]
fn a_call_that_rings_while_another_one_uses_up_the_account_ends_at_its_paid_second_too() {
    let mut w = World::new(false, paid_ahead);
    let purse = lend(&w, 2 * MINUTE, NEVER);
    answered(&mut w, "");
    w.give(CUSTOMER, &invite("+14155550124", "c2", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "b2", V1, "", ""));
    w.wait(61_000);
    assert_eq!(w.ended.len(), 1, "the first one had a minute");
    assert_eq!((w.ended[0].internal_code.as_str(), purse.spent()), ("no_credit", Nanos(MINUTE)));
    w.take();
    w.give(V1, &reply(&at_v, "200 OK", "b2", V1, "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack2", "", ""));
    w.take();
    w.wait(59_000);
    assert_eq!(w.ended.len(), 1, "it has the minute that it held while it rang");
    // By now the BYEs of the first call, which nobody answers, are given up.
    w.take();
    w.wait(2_000);
    assert_eq!(byes(&mut w), 2);
    assert_eq!((w.ended[1].internal_code.as_str(), w.ended[1].duration_ms), ("no_credit", 60_000));
    assert_eq!((purse.spent(), purse.free(), purse.calls()), (Nanos(2 * MINUTE), Nanos(0), 0));
}

/// BYE at the paid second goes by the route set of each side (RFC 3261 §12.2.1.1), and none is left out because the other side was faster
/// to answer. (Elsewhere it was: kamailio 1216, 4169, 4268.)
#[test]
fn both_sides_hear_the_end_by_their_routes_however_fast_one_of_them_is() {
    let mut w = World::new(false, paid_ahead);
    lend(&w, MINUTE, NEVER);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "Record-Route: <sip:192.0.2.12;lr>\r\n", ""));
    let at_v = w.to(V1);
    let (top, routes) = ("Record-Route: <sip:203.0.113.1:5062;lr>\r\n", lines(&at_v, "Record-Route").len());
    assert_eq!(routes, 2);
    let ok = reply(&at_v, "200 OK", "bt", V1, "", "").replacen(
        "Record-Route: ",
        &format!("{top}Record-Route: "),
        1,
    );
    w.give(V1, &ok);
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    w.take();
    let mut heard = Vec::new();
    for _ in 0..70 {
        w.wait(1_000);
        for (to, text) in w.take() {
            if text.starts_with("BYE ") {
                w.give(&to.to_string(), &reply(&text, "200 OK", "", V1, "", ""));
                heard.push((to, line(&text, "Route").to_owned()));
            }
        }
    }
    heard.sort();
    let callers = (addr("192.0.2.12:5060"), "<sip:192.0.2.12;lr>".to_owned());
    let callees = (addr("203.0.113.1:5062"), "<sip:203.0.113.1:5062;lr>".to_owned());
    assert_eq!(heard, [callers, callees], "each once");
    w.nothing_is_left();
}

#[test]
fn a_call_for_help_passes_an_empty_account() {
    let mut w = World::new(false, |d| {
        paid_ahead(d);
        d.emergency_route = [1].map(warp_model::VendorTrunkId::from_u128).into();
    });
    w.give(CUSTOMER, &invite("911", "c1", "", ""));
    let all = w.take();
    assert!(all.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("INVITE sip:911@")), "{all:#?}");
}
