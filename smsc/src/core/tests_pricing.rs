//! Prices and money in the world of the core: what has no price is not carried, who has no money is told so, and what is paid is in the record.

use std::sync::Arc;
use std::time::Duration;

use warp_model::{BanId, Currency, Money, Mono, Nanos};
use warp_policy::credit::Purse;
use warp_policy::directory::Payer;
use warp_policy::messaging::{Filter, Kind, Pattern, PriceList, Route};
use warp_smpp::pdu::{Address, Body, Message};
use warp_smpp::receipt::MessageState;
use warp_smpp::record::{Direction, Record, Terms};
use warp_smpp::{Command, Status};

use super::StorageFault;
use super::jasmin::{JasminReply, Refusal, Submission};
use super::slab::Key;
use super::tests_world::{World, config, submit, vendor_at};
use crate::config::{Config, Vendor};
use crate::metrics::Unpaid;

const CUSTOMER: u128 = 77;
const DAY: u64 = 86_400;

fn ban() -> BanId {
    BanId::from_u128(5)
}

fn list(prices: &[(&str, i64)]) -> Arc<PriceList> {
    Arc::new(PriceList::new(Currency::USD, prices.iter().map(|(code, n)| (*code, Nanos(*n)))))
}

/// foo pays ahead, 10 for a segment to 49 and 20 to 4917; SIM asks 6, and 30 in 4918.
fn kept() -> Config {
    let mut config = config();
    config.recorded = true;
    if let Some(foo) = config.accounts.first_mut() {
        foo.name = "sac_foo".to_owned();
        foo.customer = CUSTOMER;
        foo.payer = Some(Payer { ban: ban(), ahead: true });
        foo.sell = vec![list(&[("4917", 20)]), list(&[("49", 10), ("1", 10)])];
    }
    if let Some(vendor) = config.vendors.first_mut() {
        vendor.buy = Some(list(&[("49", 6), ("4918", 30)]));
    }
    config
}

fn world(money: i64) -> (World, Arc<Purse>) {
    let w = World::new(kept());
    let ends = Mono(DAY * 1_000_000_000);
    let purse = Arc::new(Purse::new(ban(), 3, Nanos(money), ends));
    w.config.wallet.place(ban()).put(Some(Arc::clone(&purse)));
    (w, purse)
}

fn to<'a>(destination: &'a [u8], text: &'a [u8]) -> Message<'a> {
    Message { destination: Address { ton: 1, npi: 1, text: destination }, ..submit(text) }
}

fn status(w: &mut World, key: Key, message: Message<'_>) -> Status {
    w.status(key, Command::SUBMIT_SM, &Body::Message(message))
}

fn accepted(w: &World) -> Vec<(String, String, Option<Terms>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let read = w.disk.iter().filter_map(|record| match Record::decode(record) {
        Some(Record::Accepted { account, vendor, terms, .. }) => {
            Some((text(account), text(vendor), Terms::decode(terms)))
        }
        _ => None,
    });
    read.collect()
}

fn usd(amount: i64) -> Option<Money> {
    Some(Money { amount: Nanos(amount), currency: Currency::USD })
}

#[test]
fn a_message_is_paid_by_its_segments_when_it_is_durable_and_its_record_says_so() {
    let (mut w, purse) = world(100);
    let foo = w.customer("foo");
    w.syncs = false;
    // 200 octets that a network cuts into two.
    w.ask(foo, Command::SUBMIT_SM, &Body::Message(to(b"491701234567", &[b'a'; 200])));
    assert_eq!((purse.free().0, purse.held().0, purse.spent().0), (60, 40, 0), "held until it is durable");
    w.sync();
    assert_eq!((purse.free().0, purse.held().0, purse.spent().0), (60, 0, 40));
    w.syncs = true;
    assert_eq!(status(&mut w, foo, to(b"+49301234567", b"x")), Status::ROK);
    assert_eq!(purse.spent().0, 50, "the next list prices what the first one does not");
    let records = accepted(&w);
    let terms = |n: usize| records[n].2.expect("terms");
    assert_eq!((records[0].0.as_str(), records[0].1.as_str()), ("sac_foo", "SIM"));
    assert_eq!(
        terms(0),
        Terms {
            customer: CUSTOMER,
            ban: ban().as_u128(),
            lease: 3,
            whole: 0,
            parts: 1,
            segments: 2,
            sell: usd(40),
            buy: usd(12),
        }
    );
    assert_eq!((terms(1).segments, terms(1).sell, terms(1).buy), (1, usd(10), usd(6)));
    w.restart(false);
    assert_eq!(w.waiting(), 2);
    assert_eq!(purse.spent().0, 50, "a restart pays nothing twice");
}

#[test]
fn what_has_no_price_or_costs_more_than_it_brings_is_not_carried() {
    let (mut w, purse) = world(100);
    let foo = w.customer("foo");
    for (destination, why) in [
        (&b"3312345678"[..], Unpaid::NoSellPrice),
        // It is sold, and the only vendor has no price for it.
        (b"14155550123", Unpaid::NoVendor),
        // It is sold for 10, and asked 30 for.
        (b"4918123456", Unpaid::NoVendor),
    ] {
        let before = w.metrics.unpaid.value(why);
        assert_eq!(status(&mut w, foo, to(destination, b"x")), Status::RINVDSTADR, "{destination:?}");
        assert_eq!(w.metrics.unpaid.value(why), before + 1);
    }
    assert_eq!((w.waiting(), purse.free().0), (0, 100));
    assert!(accepted(&w).is_empty());
}

/// A beginning of a number has the price of that beginning, and reaches nobody: it is refused at both doors before anything is held, and so are
/// short codes and codes of services. (`+1415` was taken for the price of 1 and said to be delivered.)
#[test]
fn what_is_no_number_is_refused_before_it_costs_anything() {
    let (mut w, purse) = world(100);
    let foo = w.customer("foo");
    for ton in [0, 1] {
        for none in
            [&b"1415"[..], b"+1415", b"49", b"491701", b"22395", b"911", b"12005550123", b"14151115555"]
        {
            let to = Message { destination: Address { ton, npi: 1, text: none }, ..submit(b"x") };
            assert_eq!(status(&mut w, foo, to), Status::RINVDSTADR, "{none:?} with TON {ton}");
        }
    }
    for none in ["+1415", "1415", "49170", "911"] {
        let refused = sent(&mut w, none);
        assert!(
            matches!(&refused, JasminReply::Refused(Refusal::Argument(why)) if why.contains(none)),
            "{none}: {refused:?}"
        );
    }
    assert_eq!((w.waiting(), purse.free().0, purse.spent().0), (0, 100, 0));
    assert!(accepted(&w).is_empty());
    assert_eq!(w.metrics.unpaid.value(Unpaid::NoSellPrice), 0, "that is not why");
}

/// Ten digits that are a number of the North American plan are priced and routed as one, where nothing says that they have a country code; they
/// had the price of Switzerland (41). They go to the vendor as they came.
#[test]
fn a_national_number_has_the_price_of_its_country() {
    let mut config = kept();
    config.accounts[0].sell = vec![list(&[("41", 3), ("1415", 10)])];
    config.vendors[0].buy = Some(list(&[("41", 2), ("1415", 7)]));
    let mut w = World::new(config);
    let purse = Arc::new(Purse::new(ban(), 3, Nanos(100), Mono(DAY * 1_000_000_000)));
    w.config.wallet.place(ban()).put(Some(purse));
    let foo = w.customer("foo");
    for (ton, text, sell, buy) in [
        (0, "4155550123", 10, 7),
        (1, "4155550123", 3, 2),
        (1, "14155550123", 10, 7),
        (0, "+14155550123", 10, 7),
    ] {
        let to = Message { destination: Address { ton, npi: 1, text: text.as_bytes() }, ..submit(b"x") };
        assert_eq!(status(&mut w, foo, to), Status::ROK, "{text}");
        let terms = accepted(&w).pop().and_then(|(_, _, terms)| terms).expect("terms");
        assert_eq!((terms.sell, terms.buy), (usd(sell), usd(buy)), "{text} with TON {ton}");
    }
}

#[test]
fn who_has_no_money_is_refused_and_who_gets_some_in_a_moment_is_asked_to_come_again() {
    let (mut w, purse) = world(25);
    let foo = w.customer("foo");
    assert_eq!(status(&mut w, foo, to(b"491701234567", b"1")), Status::ROK);
    assert_eq!(status(&mut w, foo, to(b"491701234567", b"2")), Status::RSUBMITFAIL);
    let place = w.config.wallet.place(ban());
    let missed = place.missed();
    assert_eq!(
        (missed.want, missed.need),
        (Nanos(20), Nanos(20)),
        "it is asked for behind the message's back"
    );
    assert_eq!((w.metrics.unpaid.value(Unpaid::NoCredit), w.metrics.unpaid.value(Unpaid::Later)), (1, 0));
    place.bank_has(Nanos(1_000), Mono(0));
    assert_eq!(status(&mut w, foo, to(b"491701234567", b"3")), Status::RTHROTTLED);
    purse.extend(Nanos(20), Mono(0));
    assert_eq!(status(&mut w, foo, to(b"491701234567", b"4")), Status::ROK);
    assert_eq!(purse.spent().0, 40);
    // Over HTTP it is said in words.
    assert!(matches!(sent(&mut w, "491701234567"), JasminReply::Refused(Refusal::Throughput)));
    place.bank_has(Nanos(0), Mono(0));
    let refused = sent(&mut w, "491701234567");
    assert!(matches!(refused, JasminReply::Refused(Refusal::NoCredit)), "{refused:?}");
    assert_eq!(Refusal::NoCredit.status(), 403);
}

fn submission(to: &str, text: &str, parts: &[std::ops::Range<usize>]) -> Submission {
    Submission {
        to: to.to_owned(),
        from: "WARP".to_owned(),
        text: text.as_bytes().to_vec(),
        parts: parts.to_vec(),
        ..Submission::default()
    }
}

fn sent(w: &mut World, to: &str) -> JasminReply {
    w.core.send_for(4, "sac_foo", &submission(to, "x", std::slice::from_ref(&(0..1))), w.now);
    w.turn();
    w.core.poll_answer().expect("an answer").1
}

#[test]
fn f_disk_01_what_cannot_be_kept_costs_nothing() {
    let (mut w, purse) = world(100);
    let foo = w.customer("foo");
    let mut out = Vec::new();
    warp_smpp::pdu::encode(
        &mut out,
        Command::SUBMIT_SM,
        Status::ROK,
        9,
        &Body::Message(to(b"491701234567", b"x")),
    )
    .expect("fits");
    w.core.bytes(foo, &out, w.now);
    assert_eq!(purse.held().0, 20);
    w.core.storage_failed(StorageFault::Full, None);
    assert_eq!((purse.free().0, purse.held().0, purse.spent().0), (100, 0, 0));
    w.flush();
    assert_eq!(w.got(foo).pop().expect("an answer").0.status, Status::RMSGQFUL);
}

#[test]
fn a_text_in_parts_is_paid_once_by_the_part_that_stands_for_it() {
    let (mut w, purse) = world(1_000);
    let text = "a".repeat(400);
    let parts = [0..153, 153..306, 306..400];
    w.core.send_for(4, "sac_foo", &submission("491701234567", &text, &parts), w.now);
    w.turn();
    let Some((4, JasminReply::Sent(id))) = w.core.poll_answer() else { panic!("not sent") };
    assert_eq!(purse.spent().0, 60);
    let terms: Vec<Terms> = accepted(&w).into_iter().map(|(.., terms)| terms.expect("terms")).collect();
    let of = |n: usize| (terms[n].whole, terms[n].segments, terms[n].sell, terms[n].parts);
    assert_eq!([of(0), of(1), of(2)], [(id, 0, None, 3), (id, 0, None, 3), (0, 3, usd(60), 3)]);
}

#[test]
fn the_vendor_that_asks_least_is_taken_and_the_next_one_must_be_cheap_enough_too() {
    let mut config = kept();
    let vendor = |name: &str, n: u8, asks: i64| {
        let mut vendor = Vendor::new(name, name, "sim", vec![vendor_at(n)]);
        vendor.buy = Some(list(&[("49", asks)]));
        vendor
    };
    config.vendors =
        vec![vendor("DEAR", 1, 9), vendor("CHEAP", 2, 5), vendor("LOSS", 3, 21), vendor("MID", 4, 7)];
    config.mt_default = None;
    let pattern = Filter::Destination(Pattern::new("49").expect("a pattern"));
    let mut route = Route::of(10, Kind::LeastCost, vec![0, 1, 2, 3], vec![pattern]);
    route.costs = vec![Money { amount: Nanos(0), currency: Currency::USD }; 4];
    route.next_when_undelivered = true;
    config.mt = vec![route];
    let mut w = World::new(config);
    let purse = Arc::new(Purse::new(ban(), 3, Nanos(1_000), Mono(DAY * 1_000_000_000)));
    w.config.wallet.place(ban()).put(Some(purse));
    let foo = w.customer("foo");
    let links: Vec<Key> = (0..4).map(|n| w.vendor(n)).collect();
    assert_eq!(status(&mut w, foo, to(b"491701234567", b"x")), Status::ROK);
    assert_eq!(accepted(&w).last().expect("one").1, "CHEAP");
    assert_eq!(accepted(&w).last().expect("one").2.expect("terms").buy, usd(5));
    let got = w.submitted(links[1]);
    w.reply(links[1], &got[0], Status::RSUBMITFAIL, b"");
    // LOSS asks more than the message is sold for: it is passed over.
    let moved = w.disk.iter().find_map(|record| match Record::decode(record) {
        Some(Record::Moved { vendor, buy, .. }) => Some((vendor.to_vec(), buy)),
        _ => None,
    });
    assert_eq!(moved, Some((b"MID".to_vec(), usd(7))));
    w.break_link(links[3]);
    w.break_link(links[1]);
    assert_eq!(status(&mut w, foo, to(b"491701234567", b"y")), Status::ROK);
    assert_eq!(accepted(&w).last().expect("one").1, "DEAR", "of those that can be reached");
}

#[test]
fn how_a_message_ended_is_written_also_when_nobody_is_told() {
    let (mut w, _) = world(1_000);
    let vendor = w.vendor(0);
    let foo = w.customer("foo");
    let quiet = Message { registered_delivery: 0, ..to(b"491701234567", b"x") };
    assert_eq!(status(&mut w, foo, quiet), Status::ROK);
    let got = w.submitted(vendor);
    let Ok(Body::Message(sent)) = warp_smpp::pdu::decode(&got[0].0, &got[0].1) else { panic!("{got:?}") };
    assert_eq!(sent.registered_delivery, 1, "the platform wants to know");
    w.reply(vendor, &got[0], Status::ROK, b"a1");
    w.receipt(vendor, "a1", "DELIVRD");
    assert!(w.deliveries(foo).is_empty(), "the customer wanted nothing");
    let finals: Vec<MessageState> = w
        .disk
        .iter()
        .filter_map(|record| match Record::decode(record) {
            Some(Record::Final { outcome, .. }) => Some(outcome.state),
            _ => None,
        })
        .collect();
    assert_eq!(finals, [MessageState::Delivered]);
    // A message of a handset, from its arrival to the customer's answer.
    let deliver = Message { destination: Address { ton: 5, npi: 0, text: b"WARP" }, ..submit(b"hello") };
    w.ask(vendor, Command::DELIVER_SM, &Body::Message(Message { registered_delivery: 0, ..deliver }));
    assert_eq!(w.deliveries(foo).len(), 1);
    let last: Vec<_> = w.disk.iter().rev().filter_map(|r| Record::decode(r)).take(3).collect();
    let [Record::Done { .. }, Record::Final { outcome, .. }, Record::Accepted { direction, terms, .. }] =
        last.as_slice()
    else {
        panic!("{last:?}")
    };
    assert_eq!((outcome.state, *direction), (MessageState::Delivered, Direction::Originated));
    let terms = Terms::decode(terms).expect("terms");
    assert_eq!((terms.customer, terms.sell), (CUSTOMER, None));
}

/// What lives long is written again at the end of the queue; whoever reads it is told that it says nothing new.
#[test]
fn records_that_are_written_again_are_announced() {
    let (mut w, _) = world(1_000_000);
    let vendor = w.vendor(0);
    let foo = w.customer("foo");
    assert_eq!(status(&mut w, foo, to(b"491701234567", b"x")), Status::ROK);
    let got = w.submitted(vendor);
    w.reply(vendor, &got[0], Status::ROK, b"a1");
    let before = w.disk.len();
    w.core.oldest(1_000_000);
    w.turn();
    let again: Vec<_> = w.disk[before..].iter().map(|r| Record::decode(r).expect("a record")).collect();
    let [Record::Again { id, records: 2 }, Record::Accepted { id: a, .. }, Record::Carried { id: b, .. }] =
        again.as_slice()
    else {
        panic!("{again:?}")
    };
    assert!(id == a && id == b);
    w.pass(Duration::from_secs(1));
    w.restart(false);
    assert_eq!(w.waiting(), 1);
}
