//! Routes in the SMSC (RFC 0034): who gets which message, and what happens when a vendor does not take it.

use std::time::Duration;

use warp_model::{Currency, Money, Nanos};
use warp_policy::messaging::{Filter, Kind, Pattern, Route};
use warp_smpp::pdu::{self, Address, Body, Message};
use warp_smpp::tlv::{self, Tag, Tlvs};
use warp_smpp::{Command, Status};

use super::Key;
use super::jasmin::{Credentials, JasminReply, JasminRequest, Receipts, Refusal, Submission, What};
use super::tests_world::{World, config, submit, text_of, vendor_at};
use crate::config::{Config, Destination, HttpClient, OnStatus, Vendor};
use crate::metrics::{Handed, ReceiptResult};

const S: Duration = Duration::from_secs(1);

/// SIM, B and C, each with one bind.
fn three() -> Config {
    let mut config = config();
    for (n, name) in [(2, "B"), (3, "C")] {
        config.vendors.push(Vendor::new(name, name, "sim", vec![vendor_at(n)]));
    }
    config
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).expect("a pattern")
}

fn any(order: u16, kind: Kind, targets: &[usize]) -> Route<usize> {
    Route::of(order, kind, targets.to_vec(), vec![Filter::Transparent])
}

/// All vendors' links, bound.
fn bound(w: &mut World) -> [Key; 3] {
    [w.vendor(0), w.vendor(1), w.vendor(2)]
}

fn send(w: &mut World, customer: Key, message: Message<'_>) {
    assert_eq!(w.status(customer, Command::SUBMIT_SM, &Body::Message(message)), Status::ROK);
}

/// Which of the vendors have got something since the last look.
fn takers(w: &mut World, vendors: [Key; 3]) -> Vec<usize> {
    let got = vendors.into_iter().enumerate().map(|(n, key)| vec![n; w.submitted(key).len()]);
    got.collect::<Vec<_>>().concat()
}

#[test]
fn messages_take_the_route_whose_filters_fit() {
    let mut config = three();
    config.groups = vec!["retail".to_owned()];
    config.accounts[1].group = Some(0);
    config.accounts[1].rate = None;
    config.mt = vec![
        Route::to(30, 1, vec![Filter::Group(0), Filter::Destination(pattern("^49"))]),
        Route::to(20, 2, vec![Filter::Text(pattern("(?i).*code"))]),
    ];
    let mut w = World::new(config);
    let (foo, slow, vendors) = (w.customer("foo"), w.customer("slow"), bound(&mut w));
    send(&mut w, slow, submit(b"x"));
    assert_eq!(takers(&mut w, vendors), [1], "by group and destination");
    send(&mut w, foo, submit(b"x"));
    assert_eq!(takers(&mut w, vendors), [0], "the default route");
    // Your Code, in UCS-2.
    send(&mut w, foo, Message { data_coding: 8, ..submit(b"\0Y\0o\0u\0r\0 \0C\0O\0D\0E") });
    assert_eq!(takers(&mut w, vendors), [2], "by text");
    send(&mut w, foo, Message { data_coding: 4, ..submit(b"code") });
    assert_eq!(takers(&mut w, vendors), [0], "octets that are no text");
}

#[test]
fn without_a_route_that_fits_both_doors_refuse() {
    let mut config = three();
    config.mt_default = None;
    config.mt = vec![Route::to(5, 1, vec![Filter::Tag("gold".to_owned())])];
    let mut w = World::new(config);
    let (foo, vendors) = (w.customer("foo"), bound(&mut w));
    assert_eq!(w.status(foo, Command::SUBMIT_SM, &Body::Message(submit(b"x"))), Status::RINVDSTADR);
    assert_eq!(ask(&mut w, What::Send(Box::new(text("x", &[])))), JasminReply::Refused(Refusal::NoRoute));
    assert!(matches!(ask(&mut w, What::Send(Box::new(text("x", &["gold"])))), JasminReply::Sent(_)));
    assert_eq!(takers(&mut w, vendors), [1], "by tag");
    assert_eq!(ask(&mut w, What::Rate(Box::new(text("x", &[])))), JasminReply::Refused(Refusal::NoRoute));
}

fn text(words: &str, tags: &[&str]) -> Submission {
    Submission {
        to: "491701234567".to_owned(),
        from: "WARP".to_owned(),
        text: words.as_bytes().to_vec(),
        parts: std::iter::once(0..words.len()).collect(),
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        ..Submission::default()
    }
}

fn ask(w: &mut World, what: What) -> JasminReply {
    let who = Credentials { user: "foo".to_owned(), password: warp_model::Secret::new("bar".to_owned()) };
    w.core.ask(7, [192, 0, 2, 9].into(), &JasminRequest { who, what }, w.now);
    w.turn();
    let (token, answer) = w.core.poll_answer().expect("an answer");
    assert_eq!(token, 7);
    answer
}

#[test]
fn a_rate_is_that_of_the_route() {
    let mut config = three();
    let mut route = any(5, Kind::Static, &[1]);
    route.rate = Some(Money { amount: Nanos(2_800_000_000), currency: Currency::USD });
    config.mt = vec![route];
    let mut w = World::new(config);
    let answer = ask(&mut w, What::Rate(Box::new(text("x", &[]))));
    let body = answer.write(super::jasmin::Form::Json).2;
    assert_eq!(body, r#"{"unit_rate": 2.8, "submit_sm_count": 1}"#);
    let mut w = World::new(three());
    let body = ask(&mut w, What::Rate(Box::new(text("x", &[])))).write(super::jasmin::Form::Json).2;
    assert_eq!(body, r#"{"unit_rate": 0.0, "submit_sm_count": 1}"#);
}

#[test]
fn failover_takes_the_first_that_is_bound_and_waits_for_the_first_when_none_is() {
    let mut config = three();
    config.mt = vec![any(5, Kind::Failover, &[0, 1, 2])];
    let mut w = World::new(config);
    let foo = w.customer("foo");
    let b = w.vendor(1);
    send(&mut w, foo, submit(b"one"));
    assert_eq!(w.submitted(b).iter().map(text_of).collect::<Vec<_>>(), ["one"]);
    w.break_link(b);
    send(&mut w, foo, submit(b"two"));
    let a = w.vendor(0);
    assert_eq!(w.submitted(a).iter().map(text_of).collect::<Vec<_>>(), ["two"], "it waited for the first");
}

/// jookies/jasmin, issue 1219: a route whose connector refuses is the end there.
#[test]
fn what_a_vendor_refuses_goes_to_the_next_and_the_customer_hears_the_last_outcome_only() {
    let mut config = three();
    config.mt = vec![any(5, Kind::Failover, &[0, 1, 2])];
    let mut w = World::new(config);
    let (foo, vendors) = (w.customer("foo"), bound(&mut w));
    let id = w.submit(foo, "hello");
    for (n, status) in [Status::RSUBMITFAIL, Status(0x450)].into_iter().enumerate() {
        let sent = w.submitted(vendors[n]).remove(0);
        w.reply(vendors[n], &sent, status, b"");
        assert!(w.deliveries(foo).is_empty());
    }
    assert_eq!(w.metrics.handed.value(Handed::Moved), 2);
    // The last one has no next one: it is tried there again, as usual, and then it is over.
    for _ in 0..3 {
        let sent = w.submitted(vendors[2]).remove(0);
        w.reply(vendors[2], &sent, Status::RSYSERR, b"");
        w.pass(31 * S);
    }
    let heard = w.deliveries(foo);
    assert_eq!(heard.len(), 1);
    assert!(text_of(&heard[0]).contains(&id) && text_of(&heard[0]).contains("stat:UNDELIV err:008"));
    assert_eq!((takers(&mut w, vendors), w.waiting()), (vec![], 0));
}

/// What each status does with a route of two, and what a vendor's own table makes of it.
#[test]
fn statuses_move_a_message_or_do_not() {
    let again = OnStatus::Retry { after: S, most: 1 };
    for (status, special, moved) in [
        (Status::RSYSERR, None, true),
        (Status::RMSGQFUL, None, true),
        (Status::RINVDSTADR, None, true),
        (Status(0x499), None, true),
        (Status(0x500), None, false),
        (Status::RTHROTTLED, None, false),
        (Status::RINVMSGLEN, None, false),
        (Status::RINVMSGLEN, Some(OnStatus::Next), true),
        (Status::RSYSERR, Some(OnStatus::Refuse), false),
        (Status::RSYSERR, Some(again), false),
    ] {
        let mut config = three();
        config.mt = vec![any(5, Kind::Failover, &[0, 1])];
        config.vendors[0].on_status = special.map(|meaning| (status, meaning)).into_iter().collect();
        let mut w = World::new(config);
        let (foo, vendors) = (w.customer("foo"), bound(&mut w));
        w.submit(foo, "x");
        let sent = w.submitted(vendors[0]).remove(0);
        w.reply(vendors[0], &sent, status, b"");
        assert_eq!(takers(&mut w, vendors) == [1], moved, "{status} {special:?}");
        if special == Some(again) {
            w.pass(2 * S);
            let sent = w.submitted(vendors[0]).remove(0);
            w.reply(vendors[0], &sent, status, b"");
            assert_eq!(takers(&mut w, vendors), [1], "its tries are used up");
        }
    }
}

#[test]
fn one_that_may_be_with_a_vendor_is_not_given_to_another() {
    let mut config = three();
    config.mt = vec![any(5, Kind::Failover, &[0, 1])];
    let mut w = World::new(config);
    let (foo, vendors) = (w.customer("foo"), bound(&mut w));
    w.submit(foo, "x");
    assert_eq!(takers(&mut w, vendors), [0]);
    w.break_link(vendors[0]);
    assert_eq!(takers(&mut w, vendors), [0usize; 0], "it waits for the vendor that may have it");
}

#[test]
fn what_a_receipt_says_undelivered_goes_on_where_the_route_says_so() {
    for wants in [false, true] {
        let mut config = three();
        let mut route = any(5, Kind::Failover, &[0, 1]);
        route.next_when_undelivered = wants;
        config.mt = vec![route];
        let mut w = World::new(config);
        let (foo, vendors) = (w.customer("foo"), bound(&mut w));
        w.submit(foo, "x");
        let sent = w.submitted(vendors[0]).remove(0);
        w.reply(vendors[0], &sent, Status::ROK, b"A1");
        w.receipt(vendors[0], "A1", "UNDELIV");
        if !wants {
            assert!(text_of(&w.deliveries(foo)[0]).contains("stat:UNDELIV"));
            continue;
        }
        assert!(w.deliveries(foo).is_empty());
        let sent = w.submitted(vendors[1]).remove(0);
        // The first vendor's word does not count any more, nor does its id at the second.
        w.receipt(vendors[0], "A1", "DELIVRD");
        assert!(w.deliveries(foo).is_empty());
        w.reply(vendors[1], &sent, Status::ROK, b"A1");
        w.receipt(vendors[1], "A1", "DELIVRD");
        assert!(text_of(&w.deliveries(foo)[0]).contains("stat:DELIVRD"));
        assert_eq!(w.waiting(), 0);
    }
}

#[test]
fn a_vendor_that_says_nothing_loses_the_message_where_the_route_says_so() {
    let mut config = three();
    let mut route = any(5, Kind::Failover, &[0, 1]);
    route.next_without_receipt = Some(60 * S);
    config.mt = vec![route];
    let mut w = World::new(config);
    let (foo, vendors) = (w.customer("foo"), bound(&mut w));
    w.submit(foo, "x");
    let sent = w.submitted(vendors[0]).remove(0);
    w.reply(vendors[0], &sent, Status::ROK, b"A1");
    w.pass(59 * S);
    assert_eq!(takers(&mut w, vendors), [0usize; 0]);
    w.pass(2 * S);
    let sent = w.submitted(vendors[1]).remove(0);
    w.receipt(vendors[0], "A1", "DELIVRD");
    assert_eq!(w.metrics.receipts.value(ReceiptResult::Duplicate), 1, "its late receipt is about nothing");
    w.reply(vendors[1], &sent, Status::ROK, b"B1");
    // There is no third: the second is waited for to the end.
    w.pass(120 * S);
    w.receipt(vendors[1], "B1", "DELIVRD");
    assert_eq!(w.deliveries(foo).len(), 1);
}

/// F-PROC-03: where it is, and how many vendors had their turn, is on disk.
#[test]
fn f_proc_03_a_moved_message_is_with_its_vendor_after_a_restart() {
    let mut config = three();
    config.mt = vec![any(5, Kind::Failover, &[0, 1, 2])];
    let mut w = World::new(config);
    let (foo, vendors) = (w.customer("foo"), bound(&mut w));
    let id = w.submit(foo, "x");
    for vendor in vendors.iter().take(2) {
        let sent = w.submitted(*vendor).remove(0);
        w.reply(*vendor, &sent, Status::RSUBMITFAIL, b"");
    }
    assert_eq!(takers(&mut w, vendors), [2]);
    w.restart(false);
    let (foo, vendors) = (w.customer("foo"), bound(&mut w));
    w.turn();
    let sent = w.submitted(vendors[2]).remove(0);
    assert_eq!((takers(&mut w, vendors), w.metrics.possible_duplicates.value(())), (vec![], 1));
    w.reply(vendors[2], &sent, Status::RSUBMITFAIL, b"");
    assert_eq!(takers(&mut w, vendors), [0usize; 0], "all three had their turn");
    let heard = w.deliveries(foo);
    assert!(text_of(&heard[0]).contains(&id) && text_of(&heard[0]).contains("stat:UNDELIV err:069"));
}

/// All parts of a text take one way: where the share is random, and where the text decides.
#[test]
fn all_parts_of_a_text_take_one_way() {
    let mut config = three();
    config.vendors.iter_mut().for_each(|vendor| vendor.window = 1_000);
    config.mt =
        vec![Route::to(9, 2, vec![Filter::Text(pattern("code"))]), any(5, Kind::RandomRoundRobin, &[0, 1])];
    let mut w = World::new(config);
    let (foo, vendors) = (w.customer("foo"), bound(&mut w));
    let mut ways = [0u32; 3];
    for reference in 0..40u8 {
        for number in [2, 1, 3] {
            let part = [5, 0, 3, reference, 3, number, b'x'];
            send(&mut w, foo, Message { esm_class: 0x40, ..submit(&part) });
        }
        let took = takers(&mut w, vendors);
        assert!(took.len() == 3 && took.iter().all(|n| *n == took[0]), "{took:?}");
        ways[took[0]] += 1;
    }
    assert!(ways[0] > 5 && ways[1] > 5, "{ways:?}");
    // By parameters instead of a header: the part that comes first has the word, or has not.
    for (reference, first, way) in [(1u8, &b"code 1"[..], Some(2)), (2, b"a", None)] {
        for (number, words) in [(1u8, first), (2, b"code 2")] {
            let mut tlvs = Vec::new();
            tlv::push(&mut tlvs, Tag::SAR_MSG_REF_NUM, &[0, reference]);
            tlv::push(&mut tlvs, Tag::SAR_TOTAL_SEGMENTS, &[2]);
            tlv::push(&mut tlvs, Tag::SAR_SEGMENT_SEQNUM, &[number]);
            send(&mut w, foo, Message { tlvs: Tlvs::parse(&tlvs).unwrap(), ..submit(words) });
        }
        let took = takers(&mut w, vendors);
        assert!(took.len() == 2 && took[0] == took[1] && way.is_none_or(|way| took[0] == way), "{took:?}");
    }
}

#[test]
fn messages_of_handsets_take_their_routes() {
    let mut config = three();
    config.http_clients =
        vec![HttpClient { name: "mo".to_owned(), url: "http://198.51.100.9/mo".to_owned(), post: true }];
    config.mo = vec![
        Route::to(20, Destination::Http(0), vec![Filter::Connector(1)]),
        Route::of(
            10,
            Kind::Failover,
            vec![Destination::Account(1), Destination::Account(0)],
            vec![Filter::Destination(pattern("^555"))],
        ),
    ];
    let mut w = World::new(config);
    let (foo, vendors) = (w.customer("foo"), bound(&mut w));
    let originate = |w: &mut World, vendor: Key, to: &str| {
        let message = Message {
            source: Address { ton: 1, npi: 1, text: b"491701234567" },
            destination: Address { ton: 0, npi: 1, text: to.as_bytes() },
            short_message: b"hi",
            ..Message::default()
        };
        assert_eq!(w.status(vendor, Command::DELIVER_SM, &Body::Message(message)), Status::ROK);
    };
    originate(&mut w, vendors[1], "12345");
    assert_eq!(w.core.poll_call().expect("a call").url, "http://198.51.100.9/mo", "by connector");
    originate(&mut w, vendors[0], "5551");
    assert_eq!(w.deliveries(foo).len(), 1, "slow has no bind: the next of the route gets it");
    let slow = w.customer("slow");
    originate(&mut w, vendors[0], "5551");
    assert_eq!((w.deliveries(slow).len(), w.deliveries(foo).len()), (1, 0));
    originate(&mut w, vendors[0], "777");
    assert_eq!(w.deliveries(foo).len(), 1, "the default route");
}

/// Receipts of the HTTP door name the vendor that had the message in the end.
#[test]
fn news_by_http_name_the_last_vendor() {
    let mut config = three();
    config.mt = vec![any(5, Kind::Failover, &[0, 1])];
    let mut w = World::new(config);
    let vendors = bound(&mut w);
    let receipts = Receipts { level: 3, post: true, url: "http://198.51.100.9/dlr".to_owned() };
    let message = Submission { receipts: Some(receipts), ..text("x", &[]) };
    assert!(matches!(ask(&mut w, What::Send(Box::new(message))), JasminReply::Sent(_)));
    let sent = w.submitted(vendors[0]).remove(0);
    w.reply(vendors[0], &sent, Status::RSUBMITFAIL, b"");
    assert_eq!(w.core.poll_call(), None);
    let sent = w.submitted(vendors[1]).remove(0);
    w.reply(vendors[1], &sent, Status::ROK, b"B1");
    let call = w.core.poll_call().expect("a call");
    assert!(call.form.contains("level=1") && call.form.contains("connector=B"), "{}", call.form);
    let Ok(Body::Message(m)) = pdu::decode(&sent.0, &sent.1) else { panic!() };
    assert_eq!(m.registered_delivery, 1);
}
