//! Calls to our numbers: a vendor calls, the customer's trunks are asked, everything is rated on both sides and recorded.

use std::sync::Arc;

use warp_model::cdr::{CallRecord, Direction, Outcome, ReleaseSide};
use warp_model::{BanId, CustomerId, DeckId, Mono, Nanos, NumberId, TrunkId, VendorTrunkId};
use warp_ng::Command as Ng;
use warp_policy::credit::Purse;
use warp_policy::directory::*;
use warp_policy::inbound::{Destination, Number, TrunkTarget};
use warp_policy::{InboundRecord, NumberBook};

use super::tests_records::cancel;
use super::tests_static::{addr, at, line};
use super::tests_world::*;

const OURS: &str = "+14155550199";
/// Where vendor 1 calls from; its own INVITEs go to another address.
pub(super) const FROM_VENDOR: &str = "203.0.113.99:5060";
pub(super) const PBX: &str = "192.0.2.10:5060";
const PBX2: &str = "192.0.2.11:5060";

/// Vendor 1 brings calls, customer 1 has two trunks that take them.
pub(super) fn numbered(rows: &mut DirectoryBuilder) {
    rows.vendors[0].inbound = InboundTerms { decks: vec![DeckId::from_u128(300)], ..Default::default() };
    rows.vendor_trunks[0].inbound_networks = vec!["203.0.113.96/28".parse().unwrap()];
    rows.customers[0].inbound = InboundTerms { decks: vec![DeckId::from_u128(200)], ..Default::default() };
    rows.trunks[0].deliver = Deliver { addresses: vec![addr(PBX)], ..Default::default() };
    let deliver =
        Deliver { addresses: vec![addr(PBX2)], number_format: NumberFormat::National, ..Default::default() };
    let second = Trunk {
        id: TrunkId::from_u128(2),
        name: "second".into(),
        acl: vec![],
        digest: vec![],
        deliver,
        ..rows.trunks[0].clone()
    };
    rows.trunks.push(second);
}

pub(super) fn world(tweak: Tweak) -> World {
    let mut w = World::new(true, tweak);
    let target =
        |n: u128| TrunkTarget { trunk: TrunkId::from_u128(n), user: None, priority: n as u16, weight: 1 };
    let book = NumberBook::of(vec![Number {
        id: NumberId::from_u128(9),
        number: OURS.parse().unwrap(),
        customer: CustomerId::from_u128(1),
        sell_decks: vec![],
        destination: Destination::Trunks(vec![target(1), target(2)]),
    }]);
    let now = w.core.tx.snapshot.clone().unwrap();
    let next = now.with_numbers(Arc::new(book.unwrap()));
    w.core.handle_snapshot(Arc::new(next), super::tests_static::at(w.ms));
    w
}

pub(super) fn calls(number: &str, call: &str, extra: &str) -> String {
    invite(number, call, extra, SDP).replace(CUSTOMER, FROM_VENDOR)
}

pub(super) fn back(text: &str) -> String {
    text.replace(CUSTOMER, FROM_VENDOR)
}

fn decision(w: &World) -> InboundRecord {
    serde_json::from_str(w.ended[0].decision.as_ref().unwrap().get()).unwrap()
}

#[test]
fn a_vendors_call_to_our_number_reaches_the_trunk_and_is_rated_on_both_sides_and_recorded() {
    let mut w = world(numbered);
    w.give(FROM_VENDOR, &calls("14155550199", "c1", "P-Asserted-Identity: <sip:+12025550100@x>\r\n"));
    let at_pbx = w.to(PBX);
    assert!(at_pbx.starts_with(&format!("INVITE sip:{OURS}@{PBX} SIP/2.0\r\n")), "{at_pbx}");
    assert_eq!(body(&at_pbx), format!("relay:{SDP}"));
    assert!(at_pbx.contains("P-Asserted-Identity: <sip:+12025550100@x>"), "what a vendor says goes on");
    let Ng::Offer(offer) = w.questions().remove(0) else { panic!() };
    assert!(offer.label.unwrap().starts_with(b"vtk_"), "the caller's media is the vendor's");
    w.give(PBX, &reply(&at_pbx, "180 Ringing", "bt", PBX, "", ""));
    assert!(w.to(FROM_VENDOR).starts_with("SIP/2.0 180 "));
    w.give(PBX, &reply(&at_pbx, "200 OK", "bt", PBX, "", SDP));
    let ok = w.to(FROM_VENDOR);
    assert!(ok.starts_with("SIP/2.0 200 "));
    let Ng::Answer(answer) = w.questions().remove(0) else { panic!() };
    assert!(answer.label.unwrap().starts_with(b"trk_"));
    w.give(FROM_VENDOR, &back(&inside("ACK", &ok, true, "ack", "", "").replace(V1, PBX)));
    assert!(w.to(PBX).starts_with("ACK "));
    assert_eq!(w.answered[0].direction, Direction::Inbound);
    w.wait(60_000);
    // From another address of the vendor's networks: it may.
    let bye = back(&inside("BYE", &ok, true, "bye", "", "").replace(V1, PBX));
    w.give("203.0.113.98:5060", &bye.replace(FROM_VENDOR, "203.0.113.98:5060"));
    let bye = w.to(PBX);
    assert!(bye.starts_with("BYE "));
    w.give(PBX, &reply(&bye, "200 OK", "", PBX, "", ""));
    let r = &w.ended[0];
    assert_eq!((r.direction, r.sip_code, r.outcome), (Direction::Inbound, 200, Outcome::Answered));
    assert_eq!((r.customer_id, r.trunk_id), (Some(CustomerId::from_u128(1)), Some(TrunkId::from_u128(1))));
    assert_eq!(
        (r.number_id, r.vendor_trunk_id),
        (Some(NumberId::from_u128(9)), Some(VendorTrunkId::from_u128(1)))
    );
    assert_eq!((r.caller_e164.as_deref(), r.called_e164.as_deref()), (Some("+12025550100"), Some(OURS)));
    assert_eq!(r.jurisdiction.as_deref(), Some("interstate"));
    assert_eq!(r.legs.iter().map(|l| (l.trunk_id, l.vendor_id)).collect::<Vec<_>>(), [(r.trunk_id, None)]);
    let rating = r.rating.as_ref().unwrap();
    assert_eq!(
        (rating.sell.charge.to_string(), rating.buy.charge.to_string()),
        ("0.0055".into(), "0.0011".into())
    );
    assert_eq!(rating.margin.unwrap().to_string(), "0.0044");
    assert_eq!(decision(&w).targets.len(), 2);
    w.nothing_is_left();
    assert_eq!(w.ended.len(), 1);
}

#[test]
fn the_callee_may_hang_up_and_a_vendor_who_cancels_is_told_so() {
    let mut w = world(numbered);
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    let at_pbx = w.to(PBX);
    w.give(PBX, &reply(&at_pbx, "200 OK", "bt", PBX, "", SDP));
    let ok = w.to(FROM_VENDOR);
    w.give(FROM_VENDOR, &back(&inside("ACK", &ok, true, "ack", "", "").replace(V1, PBX)));
    w.take();
    let bye = back(&inside("BYE", &at_pbx, false, "bye", "", "").replace(V1, PBX));
    let bye = bye.replacen(line(&bye, "From"), line(&ok, "To"), 1);
    w.give(PBX, &bye);
    let sent = w.take();
    assert!(sent.iter().any(|(to, t)| *to == addr(FROM_VENDOR) && t.starts_with("BYE ")), "{sent:#?}");
    assert_eq!(w.ended[0].release_side, ReleaseSide::Callee);
    let mut w = world(numbered);
    w.give(FROM_VENDOR, &calls(OURS, "c2", ""));
    let at_pbx = w.to(PBX);
    w.give(PBX, &reply(&at_pbx, "180 Ringing", "bt", PBX, "", ""));
    w.take();
    let cancel = calls(OURS, "c2", "").replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL");
    w.give(FROM_VENDOR, &cancel);
    let sent = w.take();
    assert!(sent.iter().any(|(to, t)| *to == addr(PBX) && t.starts_with("CANCEL ")), "{sent:#?}");
    w.give(PBX, &reply(&at_pbx, "487 Request Terminated", "bt", PBX, "", ""));
    assert_eq!((w.ended[0].sip_code, w.ended[0].outcome), (487, Outcome::Cancelled));
    w.nothing_is_left();
}

#[test]
fn a_trunk_that_is_silent_refuses_or_is_full_gives_way_to_the_next_one() {
    let mut w = world(numbered);
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    w.to(PBX);
    w.wait(2_100);
    let sent = w.take();
    let (_, second) = sent.iter().find(|(to, t)| *to == addr(PBX2) && t.starts_with("INVITE ")).unwrap();
    assert!(second.starts_with(&format!("INVITE sip:4155550199@{PBX2} ")), "in its own format: {second}");
    w.give(PBX2, &reply(second, "503 Service Unavailable", "x", PBX2, "", ""));
    let sent = w.take();
    let (_, refused) = sent.iter().find(|(to, _)| *to == addr(FROM_VENDOR)).unwrap();
    assert!(refused.starts_with("SIP/2.0 480 "), "one number is not the whole platform: {refused}");
    let r = &w.ended[0];
    assert_eq!((r.internal_code.as_str(), r.q850), ("targets_exhausted", Some(27)));
    assert_eq!(r.legs.iter().map(|l| l.trunk_id.unwrap().as_u128()).collect::<Vec<_>>(), [1, 2]);
    w.nothing_is_left();

    let mut w = world(|rows| {
        numbered(rows);
        rows.trunks[0].limits.channels = Some(0);
    });
    w.give(FROM_VENDOR, &calls(OURS, "c2", ""));
    let at_second = w.to(PBX2);
    w.give(PBX2, &reply(&at_second, "486 Busy Here", "x", PBX2, "", ""));
    let sent = w.take();
    assert!(
        sent.iter().any(|(to, t)| *to == addr(FROM_VENDOR) && t.starts_with("SIP/2.0 486 ")),
        "{sent:#?}"
    );
    assert_eq!(w.ended[0].outcome, Outcome::Busy);
    w.nothing_is_left();
}

/// `no_answer` means that somebody was reached who did not take the call. A PBX that is switched off (its machine says by ICMP that nothing listens),
/// one that says nothing, and one that answers 503 did not take it: the call failed, from a vendor and between two customers alike.
#[test]
fn a_target_that_is_switched_off_is_not_nobody_who_answers() {
    #[derive(Clone, Copy, Debug)]
    enum Target {
        Off,
        Silent,
        Busy503,
        Trying,
        Says480,
        Rings,
    }
    for (target, outcome, ended_by) in [
        (Target::Off, Outcome::Failed, "transport_error"),
        (Target::Silent, Outcome::Failed, "no_response"),
        (Target::Busy503, Outcome::Failed, "failover"),
        (Target::Trying, Outcome::Failed, "no_progress"),
        (Target::Says480, Outcome::NoAnswer, "final"),
        (Target::Rings, Outcome::NoAnswer, "no_answer"),
    ] {
        for on_net in [false, true] {
            let mut w = world(|rows| {
                numbered(rows);
                rows.trunks[1].deliver.addresses.clear();
            });
            let from = if on_net { CUSTOMER } else { FROM_VENDOR };
            w.give(from, &if on_net { invite(OURS, "c1", "", SDP) } else { calls(OURS, "c1", "") });
            let at_pbx = w.to(PBX);
            match target {
                Target::Off => w.core.handle_flow_error(super::Flow::udp(addr(US), addr(PBX)), at(w.ms)),
                Target::Silent => {}
                Target::Busy503 => w.give(PBX, &reply(&at_pbx, "503 Service Unavailable", "x", PBX, "", "")),
                Target::Trying => w.give(PBX, &reply(&at_pbx, "100 Trying", "", PBX, "", "")),
                Target::Says480 => w.give(PBX, &reply(&at_pbx, "480 Unavailable", "x", PBX, "", "")),
                Target::Rings => w.give(PBX, &reply(&at_pbx, "180 Ringing", "x", PBX, "", "")),
            }
            w.wait(400_000);
            w.drain();
            let want = if on_net { 2 } else { 1 };
            let ends: Vec<_> =
                w.ended.iter().map(|r| (r.outcome, r.legs.last().map(|l| l.ended_by.as_str()))).collect();
            assert_eq!(ends, vec![(outcome, Some(ended_by)); want], "{target:?} on_net {on_net}");
            w.nothing_is_left();
        }
    }
}

#[test]
fn limits_of_the_called_customer_hold() {
    let mut w = world(|rows| {
        numbered(rows);
        rows.customers[0].limits.channels = Some(1);
    });
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    w.to(PBX);
    w.give(FROM_VENDOR, &calls(OURS, "c2", ""));
    let refused = w.to(FROM_VENDOR);
    assert!(refused.starts_with("SIP/2.0 480 "), "one customer is not the whole platform: {refused}");
    assert!(!refused.contains("Retry-After"), "the vendor goes on with its other calls: {refused}");
    assert_eq!((w.ended[0].internal_code.as_str(), w.ended[0].q850), ("customer_channels", Some(27)));
    assert!(w.ended[0].legs.is_empty());
    // The day's spend is as little the vendor's matter.
    let mut w = world(|rows| {
        numbered(rows);
        rows.customers[0].limits.daily_spend = Some(Nanos(1));
    });
    w.give(FROM_VENDOR, &calls(OURS, "c3", ""));
    let refused = w.to(FROM_VENDOR);
    assert!(refused.starts_with("SIP/2.0 480 ") && !refused.contains("Spend"), "{refused}");
    assert_eq!(w.ended[0].internal_code, "daily_spend");
}

#[test]
fn what_is_not_ours_or_cannot_be_rated_rings_nowhere() {
    let mut w = world(numbered);
    w.give(FROM_VENDOR, &calls("+14155550198", "c1", ""));
    assert!(w.to(FROM_VENDOR).starts_with("SIP/2.0 404 "));
    assert_eq!((w.ended[0].internal_code.as_str(), w.ended[0].customer_id), ("number_not_here", None));
    let mut w = world(|rows| {
        numbered(rows);
        rows.vendors[0].inbound = InboundTerms::default();
    });
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    assert!(w.to(FROM_VENDOR).starts_with("SIP/2.0 503 "), "T-SIP-07");
    assert_eq!(w.ended[0].internal_code, "rating_failed");
    w.nothing_is_left();
}

/// Only an address of the vendor's inbound networks brings calls; its own addresses, which it takes calls at, do not, and a stranger learns
/// nothing of our numbers.
#[test]
fn t_sip_05_who_is_no_vendor_learns_nothing_of_our_numbers() {
    let mut w = world(numbered);
    for who in ["198.18.0.5:5060", V1] {
        let mut heard = Vec::new();
        for number in [OURS, "+14155550198"] {
            w.give(who, &invite(number, &format!("{who}{number}"), "", "").replace(CUSTOMER, who));
            let answer = w.to(who);
            heard.push(answer.lines().next().unwrap().to_owned());
        }
        assert_eq!(heard, ["SIP/2.0 407 Proxy Authentication Required"; 2], "{who}");
    }
    assert!(w.ended.is_empty());
}

/// Our number: inbound; else the technical prefix; else refused.
#[test]
fn an_address_of_a_vendor_and_a_customer_is_told_apart_by_number_then_prefix() {
    let mut w = world(|rows| {
        numbered(rows);
        rows.vendor_trunks[0].inbound_networks = vec!["192.0.2.0/28".parse().unwrap()];
        rows.trunks[0].dial.strip = vec!["55#".into()];
        rows.emergency_route = vec![VendorTrunkId::from_u128(1)];
    });
    w.give(CUSTOMER, &invite(OURS, "c1", "", SDP));
    assert!(w.to(PBX).starts_with("INVITE "));
    w.give(CUSTOMER, &invite("55%2314155550123", "c2", "", SDP));
    assert!(w.to(V1).starts_with(&format!("INVITE sip:+14155550123@{V1} ")));
    w.give(CUSTOMER, &invite("911", "c3", "", SDP));
    assert!(w.to(V1).starts_with("INVITE sip:911@"));
    w.give(CUSTOMER, &invite("+14155550123", "c4", "", SDP));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 404 "));
    assert_eq!(w.ended[0].internal_code, "number_not_here");
}

/// The answering point calls back: no limit, no price and no drain holds it up.
#[test]
fn the_call_back_to_a_number_that_called_for_help_is_never_limited() {
    let mut w = world(|rows| {
        numbered(rows);
        rows.emergency_route = vec![VendorTrunkId::from_u128(2)];
        rows.customers[0].limits.channels = Some(0);
        rows.customers[0].inbound = InboundTerms::default();
        rows.customers[0].enabled = false;
        rows.trunks[0].enabled = false;
    });
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    assert!(w.to(FROM_VENDOR).starts_with("SIP/2.0 480 "), "before: refused like any other");
    let help = invite("911", "h1", "", "").replace("+14155550100", OURS);
    w.give(CUSTOMER, &help);
    w.to(V2);
    w.give(FROM_VENDOR, &calls(OURS, "c2", ""));
    let at_pbx = w.to(PBX);
    w.give(PBX, &reply(&at_pbx, "200 OK", "bt", PBX, "", SDP));
    let ok = w.to(FROM_VENDOR);
    w.give(FROM_VENDOR, &back(&inside("ACK", &ok, true, "ack", "", "").replace(V1, PBX)));
    w.take();
    w.wait(600_000);
    assert!(!w.take().iter().any(|(_, t)| t.starts_with("BYE ")), "nothing cuts it");
    w.command(super::Command::Drain { end_calls: false });
    w.give(FROM_VENDOR, &calls(OURS, "c3", ""));
    assert!(w.to(PBX).starts_with("INVITE "), "not refused for a drain");
    // A day later it is a number like any other.
    w.wait(24 * 3_600_000);
    w.take();
    w.give(FROM_VENDOR, &calls(OURS, "c4", ""));
    assert!(w.to(FROM_VENDOR).starts_with("SIP/2.0 503 "));
}

/// A call for help passes all limits, so that somebody may make many with callers that he makes up.
#[test]
fn t_sip_12_made_up_callers_of_calls_for_help_make_no_real_one_forgotten() {
    let mut w = world(|rows| {
        numbered(rows);
        rows.emergency_route = vec![VendorTrunkId::from_u128(2)];
        rows.customers[0].limits.channels = Some(0);
    });
    w.give(CUSTOMER, &invite("911", "h1", "", "").replace("+14155550100", OURS));
    w.take();
    let (shared, snapshot) = (w.core.tx.shared.clone(), w.core.tx.snapshot.clone().unwrap());
    for n in 0..10_001_u64 {
        let made_up = format!("+1212{:07}", 2_000_000 + n).parse().unwrap();
        shared.callbacks.called_for_help(made_up, &snapshot.numbers, super::tests_static::at(w.ms + 1).mono);
    }
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    assert!(w.to(PBX).starts_with("INVITE "), "the call back is awaited");
}

/// Two customers of ours: no vendor is asked, each has a record of its own and pays by its own prices, and limits of both hold.
#[test]
fn a_customers_call_to_a_number_of_another_one_needs_no_vendor_and_both_pay() {
    let two: Tweak = |rows| {
        numbered(rows);
        let mut caller = rows.customers[0].clone();
        caller.id = CustomerId::from_u128(2);
        rows.customers.push(caller);
        // Trunk 1, with the ACL, calls; trunk 2 takes the calls.
        rows.trunks[0].customer = CustomerId::from_u128(2);
        rows.trunks[0].deliver = Deliver::default();
    };
    let mut w = world(two);
    w.give(CUSTOMER, &invite(OURS, "c1", "", SDP));
    let at_pbx = w.to(PBX2);
    assert!(at_pbx.starts_with(&format!("INVITE sip:4155550199@{PBX2} ")), "{at_pbx}");
    w.give(PBX2, &reply(&at_pbx, "200 OK", "bt", PBX2, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", "").replace(V1, PBX2));
    w.take();
    let kinds = |all: &[CallRecord]| all.iter().map(|r| (r.direction, r.on_net)).collect::<Vec<_>>();
    assert_eq!(kinds(&w.answered), [(Direction::Outbound, true), (Direction::Inbound, true)]);
    assert!(
        w.answered[0].resume.is_some() && w.answered[1].resume.is_none(),
        "it is ended once after a crash"
    );
    w.wait(60_000);
    // Each side sees what it pays itself so far.
    let live = super::tests_live::look(&mut w, super::types::LookFor::default());
    let prices: Vec<_> = live.iter().map(|c| c.price.map(|m| m.amount.to_string())).collect();
    assert_eq!(prices, [Some("0.011".to_owned()), Some("0.0055".to_owned())]);
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", "").replace(V1, PBX2));
    let bye = w.to(PBX2);
    w.give(PBX2, &reply(&bye, "200 OK", "", PBX2, "", ""));
    assert_eq!(kinds(&w.ended), [(Direction::Outbound, true), (Direction::Inbound, true)]);
    let (out, into) = (&w.ended[0], &w.ended[1]);
    assert_eq!(
        (out.customer_id, out.trunk_id),
        (Some(CustomerId::from_u128(2)), Some(TrunkId::from_u128(1)))
    );
    assert_eq!(
        (into.customer_id, into.trunk_id),
        (Some(CustomerId::from_u128(1)), Some(TrunkId::from_u128(2)))
    );
    assert_eq!(
        (out.legs[0].trunk_id, into.legs[0].trunk_id),
        (None, into.trunk_id),
        "whose trunk it is, is its own"
    );
    assert_eq!((out.number_id, into.number_id), (None, Some(NumberId::from_u128(9))));
    assert_ne!(out.cdr_id, into.cdr_id);
    for r in [out, into] {
        assert_eq!((r.vendor_id, r.sip_code, r.outcome), (None, 200, Outcome::Answered));
        assert_eq!(r.rating.as_ref().unwrap().buy.charge.to_string(), "0");
        assert!(r.media.is_some());
    }
    let paid = |r: &CallRecord| r.rating.as_ref().unwrap().sell.charge.to_string();
    assert_eq!((paid(out), paid(into)), ("0.011".into(), "0.0055".into()));
    w.nothing_is_left();
    // Nobody takes it: both records say so, and nobody pays.
    w.give(CUSTOMER, &invite(OURS, "c2", "", SDP));
    let at_pbx = w.to(PBX2);
    w.give(PBX2, &reply(&at_pbx, "486 Busy Here", "x", PBX2, "", ""));
    assert_eq!(
        w.ended[2..].iter().map(|r| (r.sip_code, r.rating.is_some())).collect::<Vec<_>>(),
        [(486, false); 2]
    );
    w.nothing_is_left();
    // The called customer is full: the caller hears that nobody takes the call, and not why; he holds nothing.
    let mut w = world(|rows| {
        numbered(rows);
        rows.customers.push(Customer { id: CustomerId::from_u128(2), ..rows.customers[0].clone() });
        rows.trunks[0].customer = CustomerId::from_u128(2);
        rows.customers[0].limits.channels = Some(0);
    });
    w.give(CUSTOMER, &invite(OURS, "c3", "", SDP));
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 480 ") && !refused.contains("Retry-After"), "{refused}");
    assert_eq!(
        w.ended.iter().map(|r| r.internal_code.as_str()).collect::<Vec<_>>(),
        ["targets_exhausted", "customer_channels"],
        "why is the called one's business"
    );
    w.nothing_is_left();
}

/// An inbound call that costs its customer something is paid ahead like one of his own, and ends at the paid second. (Elsewhere it went on
/// below nothing: ASTPP 474 and 476.)
#[test]
fn a_priced_inbound_call_is_paid_ahead_and_ends_at_its_paid_second() {
    let ban = BanId::from_u128(7);
    let ahead: Tweak = |rows| {
        numbered(rows);
        for trunk in &mut rows.trunks {
            trunk.payer = Some(Payer { ban: BanId::from_u128(7), ahead: true });
        }
    };
    let mut w = world(ahead);
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    let refused = w.to(FROM_VENDOR);
    assert!(refused.starts_with("SIP/2.0 480 "), "{refused}");
    assert_eq!(w.ended[0].internal_code, "no_credit");
    // Half a minute of 0.005.
    let purse = Purse::new(ban, 3, Nanos(2_500_000), Mono(u64::MAX / 2));
    let purse = Arc::new(purse);
    w.core.tx.shared.usage.wallet().place(ban).put(Some(purse.clone()));
    w.give(FROM_VENDOR, &calls(OURS, "c2", ""));
    let at_pbx = w.to(PBX);
    w.give(PBX, &reply(&at_pbx, "200 OK", "bt", PBX, "", SDP));
    let ok = w.to(FROM_VENDOR);
    w.give(FROM_VENDOR, &back(&inside("ACK", &ok, true, "ack", "", "").replace(V1, PBX)));
    w.take();
    w.wait(40_000);
    let r = w.ended[1].clone();
    assert_eq!((r.internal_code.as_str(), r.duration_ms), ("no_credit", 30_000));
    assert_eq!(r.paid.map(|p| (p.ban_id, p.lease)), Some((ban, Some(3))));
    assert_eq!((r.rating.unwrap().sell.charge, purse.free(), purse.calls()), (purse.spent(), Nanos(0), 0));
}

/// Carriers write more than digits into the user part: RFC 4694's parameters of number portability, RFC 3966's visual separators. (Elsewhere
/// such calls looped or were nobody's: sprout 1121.)
#[test]
fn a_number_of_ours_is_found_however_the_vendor_writes_it() {
    for written in
        ["+14155550199;npdi;rn=+14155551000", "4155550199;npdi", "+1-415-555-0199", "+1(415)5550199"]
    {
        let mut w = world(numbered);
        w.give(FROM_VENDOR, &calls(written, "c1", ""));
        let out = w.take();
        let rings = out.iter().find(|(to, _)| *to == addr(PBX)).map(|(_, text)| text.as_str());
        let rings = rings.unwrap_or_else(|| panic!("{written}: {out:#?}"));
        assert!(rings.starts_with(&format!("INVITE sip:{OURS}@{PBX} ")), "{written}: {rings}");
    }
}

/// RFC 3325 §7 and §9.3: the vendor tells us who calls, the customer is not told.
#[test]
fn t_sip_03_who_asks_for_privacy_is_not_named_to_the_customer() {
    let asserted = "P-Asserted-Identity: <sip:+12025550100@x>\r\nRemote-Party-ID: <sip:+12025550100@x>\r\n";
    for (privacy, named) in [("id", false), ("header; ID", false), ("critical;id", false), ("none", true)] {
        let mut w = world(numbered);
        w.give(FROM_VENDOR, &calls("14155550199", "c1", &format!("{asserted}Privacy: {privacy}\r\n")));
        let at_pbx = w.to(PBX);
        assert_eq!(at_pbx.contains("12025550100@x"), named, "{at_pbx}");
        assert!(at_pbx.contains(&format!("Privacy: {privacy}\r\n")), "{at_pbx}");
        w.give(PBX, &reply(&at_pbx, "486 Busy Here", "bt", PBX, "", ""));
        // The record is the carrier's, who may know; it says who may not.
        assert_eq!((w.ended[0].private, w.ended[0].hides_caller()), (!named, !named));
        assert_eq!(w.ended[0].caller_e164.as_deref(), Some("+12025550100"));
    }
}

/// What a caller hears when the called customer has no money is the carrier's choice; the record says what it was.
#[test]
fn a_called_customer_without_credit_is_480_or_as_configured() {
    for status in [480, 503, 486] {
        let mut w = world(|rows| {
            numbered(rows);
            for trunk in &mut rows.trunks {
                trunk.payer = Some(Payer { ban: BanId::from_u128(7), ahead: true });
            }
        });
        Arc::make_mut(&mut w.core.tx.config).called_without_credit = status;
        w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
        let out = w.take();
        let refused = &out.last().unwrap().1;
        assert!(refused.starts_with(&format!("SIP/2.0 {status} ")), "{refused}");
        assert!(line(refused, "Reason").starts_with("Q.850;cause=21"), "{refused}");
        assert!(!refused.contains("Retry-After"), "it is of one number only: {refused}");
        let r = &w.ended[0];
        assert_eq!((r.internal_code.as_str(), r.sip_code, r.legs.len()), ("no_credit", status, 0));
    }
}

fn paid_ahead(rows: &mut DirectoryBuilder) {
    numbered(rows);
    for trunk in &mut rows.trunks {
        trunk.payer = Some(Payer { ban: BanId::from_u128(7), ahead: true });
    }
}

/// What a minute of a call to a number costs.
const MINUTE: Nanos = Nanos(5_000_000);

/// The purse of a node that had no call of the account is small, and the money is at the bank: a call to its number waits for it as one of
/// its own does (RFC 0014), and still goes to the first trunk.
#[test]
fn a_call_to_a_number_waits_a_moment_for_money_that_the_bank_has() {
    let mut w = world(paid_ahead);
    let place = w.core.tx.shared.usage.wallet().place(BanId::from_u128(7));
    place.bank_has(MINUTE, Mono(0));
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    w.wait(200);
    assert!(w.take().iter().all(|(_, t)| t.starts_with("SIP/2.0 100 ")), "it waits");
    assert_eq!((place.missed().want, place.waiting()), (MINUTE, 1), "it is asked for");
    place.put(Some(Arc::new(Purse::new(place.ban(), 3, MINUTE, Mono(u64::MAX / 2)))));
    w.wait(100);
    let sent = w.take();
    let (to, at_pbx) = sent.iter().find(|(_, t)| t.starts_with("INVITE ")).expect("it goes on");
    assert_eq!((*to, place.waiting()), (addr(PBX), 0));
    w.give(PBX, &reply(at_pbx, "200 OK", "bt", PBX, "", SDP));
    let ok = w.to(FROM_VENDOR);
    w.give(FROM_VENDOR, &back(&inside("ACK", &ok, true, "ack", "", "").replace(V1, PBX)));
    w.take();
    w.wait(30_000);
    w.give(FROM_VENDOR, &back(&inside("BYE", &ok, true, "bye", "", "").replace(V1, PBX)));
    let r = w.ended[0].clone();
    assert_eq!(r.paid.map(|p| (p.ban_id, p.lease)), Some((BanId::from_u128(7), Some(3))));
    assert_eq!(r.rating.expect("rated").sell.charge, place.purse().expect("lent").spent());
}

#[test]
fn money_for_a_number_that_does_not_come_is_waited_for_once_over_all_its_trunks() {
    let mut w = world(paid_ahead);
    let place = w.core.tx.shared.usage.wallet().place(BanId::from_u128(7));
    place.bank_has(MINUTE, Mono(0));
    w.give(FROM_VENDOR, &calls(OURS, "c1", ""));
    w.wait(700);
    assert!(w.take().iter().all(|(_, t)| t.starts_with("SIP/2.0 100 ")));
    w.wait(200);
    let refused = w.to(FROM_VENDOR);
    assert!(refused.starts_with("SIP/2.0 480 "), "{refused}");
    assert_eq!((w.ended[0].internal_code.as_str(), w.ended.len(), place.waiting()), ("no_credit", 1, 0));
    w.nothing_is_left();
    // Who is told that the bank has none waits no longer.
    w.give(FROM_VENDOR, &calls(OURS, "c2", ""));
    w.wait(100);
    w.take();
    place.bank_has(Nanos::ZERO, Mono(0));
    w.wait(60);
    assert!(w.to(FROM_VENDOR).starts_with("SIP/2.0 480 "));
    // A trunk that was silent is followed by one that waits, and a caller who gives up meanwhile is let go.
    let purse = Arc::new(Purse::new(place.ban(), 3, MINUTE, Mono(u64::MAX / 2)));
    place.put(Some(purse.clone()));
    let invite = calls(OURS, "c3", "");
    w.give(FROM_VENDOR, &invite);
    assert!(w.to(PBX).starts_with("INVITE "));
    place.put(None);
    place.bank_has(MINUTE, Mono(0));
    w.wait(2_100);
    // (The first trunk's INVITE was repeated meanwhile.)
    assert!(w.take().iter().all(|(to, _)| *to != addr(PBX2)), "the second trunk's money is waited for");
    assert_eq!((place.waiting(), purse.calls()), (1, 0));
    w.give(FROM_VENDOR, &cancel(&invite));
    let sent = w.take();
    assert!(
        sent.iter().any(|(to, t)| *to == addr(FROM_VENDOR) && t.starts_with("SIP/2.0 487 ")),
        "{sent:#?}"
    );
    assert_eq!((place.waiting(), w.ended.len(), w.ended[2].sip_code), (0, 3, 487));
    w.wait(1_000);
    assert!(w.take().iter().all(|(_, t)| !t.starts_with("INVITE ")));
    w.nothing_is_left();
}

/// Both customers pay ahead: the caller's call is admitted, and waits for the money of the called one without losing what it holds.
#[test]
fn a_call_between_customers_waits_for_the_called_ones_money_too() {
    let mut w = world(|rows| {
        paid_ahead(rows);
        rows.customers.push(Customer { id: CustomerId::from_u128(2), ..rows.customers[0].clone() });
        rows.trunks[0].customer = CustomerId::from_u128(2);
        rows.trunks[0].payer = Some(Payer { ban: BanId::from_u128(8), ahead: true });
        rows.trunks[0].deliver = Deliver::default();
    });
    let wallet = w.core.tx.shared.usage.wallet().clone();
    let (called, calling) = (wallet.place(BanId::from_u128(7)), wallet.place(BanId::from_u128(8)));
    let purse = |ban| Arc::new(Purse::new(ban, 1, Nanos(20_000_000), Mono(u64::MAX / 2)));
    calling.put(Some(purse(calling.ban())));
    called.bank_has(MINUTE, Mono(0));
    w.give(CUSTOMER, &invite(OURS, "c1", "", SDP));
    w.wait(100);
    assert!(w.take().iter().all(|(_, t)| t.starts_with("SIP/2.0 100 ")), "it waits");
    assert_eq!((called.waiting(), calling.purse().expect("lent").calls()), (1, 1));
    called.put(Some(purse(called.ban())));
    w.wait(60);
    let sent = w.take();
    assert!(sent.iter().any(|(to, t)| *to == addr(PBX2) && t.starts_with("INVITE ")), "{sent:#?}");
    assert_eq!(sent.iter().filter(|(_, t)| t.starts_with("INVITE ")).count(), 1);
    assert_eq!(calling.purse().expect("lent").calls(), 1, "the caller pays once");
}
