//! The HTTP door and the calls to customers, in the world of the core: durability, levels, restarts, ends that hang.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use warp_smpp::pdu::{self, Address, Body, Message};
use warp_smpp::{Command, Status};

use super::jasmin::args::{Request, read};
use super::jasmin::{JasminReply, Refusal};
use super::message::id_text;
use super::tests_world::{World, config, text_of};
use super::{Call, StorageFault};
use crate::config::{Config, Destination, HttpClient};

const S: Duration = Duration::from_secs(1);

fn ask(w: &mut World, token: u64, more: &str) {
    let query = format!("username=foo&password=bar&to=49170&{more}");
    ask_as(w, token, "/send", &query);
}

fn ask_as(w: &mut World, token: u64, path: &str, query: &str) {
    let request = Request { path, query: query.as_bytes(), content_type: "", authorization: "", body: b"" };
    let ask = read(&request, 5).expect("understood");
    w.core.ask(token, IpAddr::from([192, 0, 2, 77]), &ask, w.now);
    w.turn();
}

fn answer(w: &mut World) -> Option<(u64, JasminReply)> {
    w.core.poll_answer()
}

fn sent(w: &mut World, more: &str) -> String {
    ask(w, 9, more);
    match answer(w) {
        Some((9, JasminReply::Sent(id))) => String::from_utf8(id_text(id).to_vec()).expect("ASCII"),
        other => panic!("{other:?}"),
    }
}

fn calls(w: &mut World) -> VecDeque<Call> {
    std::iter::from_fn(|| w.core.poll_call()).collect()
}

/// The only call that is to be made.
fn call(w: &mut World) -> Call {
    let mut all = calls(w);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).expect("one")
}

fn taken(w: &mut World, call: &Call, taken: bool) {
    w.core.called(call.key, call.lane, taken, w.now);
    w.turn();
}

fn value(call: &Call, name: &str) -> String {
    let pairs = call.form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(n, _)| *n == name).map(|(_, v)| v.to_owned()).next().unwrap_or_default()
}

const DLR: &str = "content=x&dlr-url=http://a.example/d&dlr-level=";

#[test]
fn f_proc_03_a_request_is_answered_when_all_its_parts_are_durable() {
    let mut w = World::new(config());
    let vendor = w.vendor(0);
    w.syncs = false;
    ask(&mut w, 5, &format!("from=ACME&content={}", "a".repeat(200)));
    assert_eq!(answer(&mut w), None, "not before it is durable");
    w.sync();
    assert!(matches!(answer(&mut w), Some((5, JasminReply::Sent(_)))));
    assert_eq!(answer(&mut w), None, "one answer for all parts");
    w.syncs = true;
    w.turn();
    let parts = w.submitted(vendor);
    let pdus: Vec<_> = parts.iter().map(|(h, b)| pdu::decode(h, b).expect("a PDU")).collect();
    let [Body::Message(a), Body::Message(b)] = pdus.as_slice() else { panic!("{pdus:?}") };
    assert_eq!((a.esm_class, b.esm_class, a.source.ton, a.destination.text), (0x40, 0x40, 5, &b"49170"[..]));
    assert_eq!(a.short_message.get(..3), Some(&[5, 0, 3][..]));
    assert_eq!(
        (a.short_message.get(4..6), b.short_message.get(4..6)),
        (Some(&[2, 1][..]), Some(&[2, 2][..]))
    );
    assert_eq!(a.short_message.get(3), b.short_message.get(3), "one reference");
    assert_eq!((a.short_message.len(), b.short_message.len()), (159, 53));
    for part in &parts {
        w.reply(vendor, part, Status::ROK, b"1");
    }
    assert_eq!(w.waiting(), 0, "nobody wants to hear more");
}

#[test]
fn who_may_not_is_told_so() {
    let mut c = config();
    c.accounts[0].sources = Some(vec!["ACME".to_owned()]);
    let mut w = World::new(c);
    ask_as(&mut w, 1, "/send", "username=foo&password=wrong&to=1&content=x");
    let wrong = |user: &str| JasminReply::Refused(Refusal::Authentication(user.to_owned()));
    assert_eq!(answer(&mut w), Some((1, wrong("foo"))));
    ask_as(&mut w, 2, "/balance", "username=nobody&password=bar");
    assert_eq!(answer(&mut w), Some((2, wrong("nobody"))));
    ask(&mut w, 3, "content=x&from=OTHER");
    assert_eq!(
        answer(&mut w),
        Some((3, JasminReply::Refused(Refusal::Source("foo".to_owned())))),
        "T-SMS-07"
    );
    ask(&mut w, 4, "content=x&from=ACME&sdt=991301000000000%2B");
    let Some((4, JasminReply::Refused(why))) = answer(&mut w) else { panic!() };
    assert_eq!(why.text(), "Argument [sdt] has an invalid value: [991301000000000+].");
    ask_as(&mut w, 5, "/rate", "username=foo&password=bar&to=1&content=x");
    assert_eq!(answer(&mut w), Some((5, JasminReply::Rate { parts: 1, unit: warp_model::Nanos::ZERO })));
    // T-SMS-08: the limit of the account holds at this door too.
    let slow = "username=slow&password=bar&to=1&content=x";
    let refused = (0..6).filter(|n| {
        ask_as(&mut w, 10 + n, "/send", slow);
        matches!(answer(&mut w), Some((_, JasminReply::Refused(Refusal::Throughput))))
    });
    assert_eq!(refused.count(), 4);
    let mut w = World::new(Config { mt_default: None, ..config() });
    ask(&mut w, 1, "content=x");
    assert_eq!(answer(&mut w), Some((1, JasminReply::Refused(Refusal::NoRoute))));
}

/// T-SMS-05: who guesses at this door is slowed down at both.
#[test]
fn t_sms_05_guessing_by_http_is_guessing() {
    let mut w = World::new(config());
    for n in 0..6 {
        ask_as(&mut w, n, "/balance", "username=foo&password=wrong");
    }
    while answer(&mut w).is_some() {}
    ask_as(&mut w, 7, "/balance", "username=foo&password=bar");
    assert!(
        matches!(answer(&mut w), Some((7, JasminReply::Refused(_)))),
        "the right one too, for some seconds"
    );
    w.pass(5 * S);
    ask_as(&mut w, 8, "/balance", "username=foo&password=bar");
    assert_eq!(answer(&mut w), Some((8, JasminReply::Balance)));
}

#[test]
fn f_disk_02_what_cannot_be_kept_is_refused_whole() {
    let mut w = World::new(config());
    for (fault, why) in [(StorageFault::Full, Refusal::Full), (StorageFault::Broken, Refusal::Storage)] {
        w.syncs = false;
        ask(&mut w, 1, &format!("content={}", "a".repeat(200)));
        let end = w.disk.len() as u64;
        w.core.storage_failed(fault, Some(end));
        assert_eq!(answer(&mut w), Some((1, JasminReply::Refused(why))));
        assert_eq!(w.waiting(), 0, "no part stays");
    }
}

#[test]
fn level_1_hears_that_the_vendor_took_it_and_level_2_of_the_end() {
    let mut w = World::new(config());
    let vendor = w.vendor(0);
    let one = sent(&mut w, &format!("{DLR}1&dlr-method=get"));
    let part = w.submitted(vendor).remove(0);
    let Ok(Body::Message(pdu)) = pdu::decode(&part.0, &part.1) else { panic!() };
    assert_eq!(pdu.registered_delivery, 0, "nobody wants to hear of the end");
    assert!(calls(&mut w).is_empty());
    w.reply(vendor, &part, Status::ROK, b"AB");
    let made = call(&mut w);
    assert_eq!((made.url.as_str(), made.post), ("http://a.example/d", false));
    assert_eq!(made.form, format!("id={one}&message_status=ESME_ROK&level=1&connector=SIM"));
    taken(&mut w, &made, true);
    assert_eq!(w.waiting(), 0);

    let two = sent(&mut w, &format!("{DLR}2"));
    let part = w.submitted(vendor).remove(0);
    w.reply(vendor, &part, Status::ROK, b"00AC");
    assert!(calls(&mut w).is_empty(), "level 2 is about the end");
    w.receipt(vendor, "ac", "DELIVRD");
    let made = call(&mut w);
    assert!(made.post);
    assert_eq!((value(&made, "id"), value(&made, "message_status")), (two, "DELIVRD".to_owned()));
    assert_eq!((value(&made, "level"), value(&made, "connector")), ("2".to_owned(), "SIM".to_owned()));
    assert_eq!(value(&made, "id_smsc").to_lowercase(), "ac");
    assert_eq!(
        (value(&made, "sub"), value(&made, "dlvrd"), value(&made, "err")),
        ("001".into(), "001".into(), "000".into())
    );
    assert_eq!((value(&made, "text"), value(&made, "donedate").len()), ("x".to_owned(), 10));
    taken(&mut w, &made, true);
    assert_eq!(w.waiting(), 0);
}

#[test]
fn level_3_hears_both_in_order_though_the_receipt_is_faster() {
    let mut w = World::new(config());
    let vendor = w.vendor(0);
    sent(&mut w, &format!("{DLR}3"));
    let part = w.submitted(vendor).remove(0);
    w.reply(vendor, &part, Status::ROK, b"AD");
    let first = call(&mut w);
    assert_eq!(value(&first, "level"), "1");
    w.receipt(vendor, "AD", "UNDELIV");
    assert!(calls(&mut w).is_empty(), "the first is in the air");
    taken(&mut w, &first, true);
    let second = call(&mut w);
    assert_eq!((value(&second, "level"), value(&second, "message_status")), ("2".into(), "UNDELIV".into()));
    taken(&mut w, &second, true);
    assert_eq!(w.waiting(), 0);
}

#[test]
fn a_refusal_of_the_vendor_is_told_once() {
    let mut w = World::new(config());
    let vendor = w.vendor(0);
    for (level, status) in [("1", "ESME_RINVDSTADR"), ("3", "ESME_RINVDSTADR"), ("2", "UNDELIV")] {
        sent(&mut w, &format!("{DLR}{level}"));
        let part = w.submitted(vendor).remove(0);
        w.reply(vendor, &part, Status::RINVDSTADR, b"");
        let made = call(&mut w);
        assert_eq!(value(&made, "message_status"), status, "level {level}");
        taken(&mut w, &made, true);
        assert!(calls(&mut w).is_empty() && w.waiting() == 0);
    }
}

#[test]
fn a_call_that_is_not_taken_is_made_again_later_and_later_until_it_is_too_old() {
    let mut w = World::new(config());
    let vendor = w.vendor(0);
    sent(&mut w, &format!("{DLR}1"));
    let part = w.submitted(vendor).remove(0);
    w.reply(vendor, &part, Status::ROK, b"AE");
    for rest in [30, 60, 120] {
        let made = call(&mut w);
        taken(&mut w, &made, false);
        w.pass((rest - 1) * S);
        assert!(calls(&mut w).is_empty(), "it rests for {rest} s");
        w.pass(2 * S);
    }
    let made = call(&mut w);
    taken(&mut w, &made, false);
    w.pass(73 * 3_600 * S);
    assert_eq!((w.waiting(), calls(&mut w).len()), (0, 0), "given up");
}

#[test]
fn f_proc_03_calls_that_are_owed_are_made_after_a_restart() {
    let mut w = World::new(config());
    let vendor = w.vendor(0);
    sent(&mut w, &format!("{DLR}3"));
    let part = w.submitted(vendor).remove(0);
    w.reply(vendor, &part, Status::ROK, b"B1");
    let lost = call(&mut w);
    assert_eq!(value(&lost, "level"), "1");
    w.restart(false);
    let again = call(&mut w);
    assert_eq!((&again.form, &again.url), (&lost.form, &lost.url), "nobody had said that it was taken");
    taken(&mut w, &again, true);
    w.restart(false);
    assert!(calls(&mut w).is_empty(), "that it was taken stands on disk");
    let vendor = w.vendor(0);
    w.receipt(vendor, "B1", "DELIVRD");
    let lost = call(&mut w);
    w.restart(false);
    let again = call(&mut w);
    assert_eq!(again.form, lost.form);
    taken(&mut w, &again, true);
    w.restart(false);
    assert_eq!((w.waiting(), calls(&mut w).len()), (0, 0));
}

#[test]
fn an_end_that_hangs_delays_no_other_one() {
    let mut w = World::new(config());
    let vendor = w.vendor(0);
    for _ in 0..40 {
        sent(&mut w, &format!("{DLR}1"));
        for part in w.submitted(vendor) {
            w.reply(vendor, &part, Status::ROK, b"C");
        }
    }
    assert_eq!(calls(&mut w).len(), 16, "so many of one account are in the air");
    ask_as(&mut w, 9, "/send", &format!("username=slow&password=bar&to=1&{DLR}1"));
    for part in w.submitted(vendor) {
        w.reply(vendor, &part, Status::ROK, b"C");
    }
    let other = calls(&mut w);
    assert_eq!(other.len(), 1, "the other account is called all the same");
}

#[test]
fn a_message_of_a_handset_goes_to_the_http_client_of_its_route() {
    let mut c = config();
    let url = "https://mo.example/in".to_owned();
    c.http_clients = vec![HttpClient { name: "in".to_owned(), url, post: false }];
    c.mo_default = Some(Destination::Http(0));
    let mut w = World::new(c);
    let vendor = w.vendor(0);
    w.got(vendor);
    let message = Message {
        source: Address { ton: 1, npi: 1, text: b"491701234567" },
        destination: Address { ton: 0, npi: 1, text: b"12345" },
        short_message: b"STOP \xE9",
        data_coding: 3,
        ..Message::default()
    };
    w.ask(vendor, Command::DELIVER_SM, &Body::Message(message));
    assert_eq!(w.got(vendor)[0].0.status, Status::ROK);
    let made = call(&mut w);
    assert_eq!((made.url.as_str(), made.post), ("https://mo.example/in", false));
    assert!(
        made.form.ends_with(
            "&from=491701234567&to=12345&origin-connector=SIM&content=STOP+%E9&binary=53544f5020e9&priority=0&coding=3"
        ),
        "{}",
        made.form
    );
    w.restart(false);
    let again = call(&mut w);
    assert_eq!(again.form, made.form);
    taken(&mut w, &again, true);
    assert_eq!(w.waiting(), 0);
    let foo = w.customer("foo");
    assert!(w.deliveries(foo).is_empty(), "and to nobody else");
}

/// jookies/jasmin, issues 513 and 1257: parts that come in another order are lost there, and two handsets with one reference mixed.
#[test]
fn parts_of_a_handset_are_told_as_one_text_in_any_order_also_after_a_restart() {
    let mut c = config();
    let url = "https://mo.example/in".to_owned();
    c.http_clients = vec![HttpClient { name: "in".to_owned(), url, post: false }];
    c.mo_default = Some(Destination::Http(0));
    let mut w = World::new(c);
    let vendor = w.vendor(0);
    let part = |w: &mut World, vendor, from: &[u8], number: u8, text: &[u8]| {
        let payload = [&[5, 0, 3, 77, 3, number], text].concat();
        let message = Message {
            source: Address { ton: 1, npi: 1, text: from },
            destination: Address { ton: 0, npi: 1, text: b"12345" },
            esm_class: 0x40,
            short_message: &payload,
            ..Message::default()
        };
        assert_eq!(w.status(vendor, Command::DELIVER_SM, &Body::Message(message)), Status::ROK);
    };
    part(&mut w, vendor, b"491", 3, b"three");
    part(&mut w, vendor, b"492", 1, b"other");
    part(&mut w, vendor, b"491", 1, b"one ");
    part(&mut w, vendor, b"491", 1, b"one ");
    assert!(calls(&mut w).is_empty(), "the second part is missing");
    w.restart(false);
    let vendor = w.vendor(0);
    part(&mut w, vendor, b"491", 2, b"two ");
    let made = call(&mut w);
    assert!(
        made.form.contains("&from=491&") && made.form.contains("&content=one+two+three&"),
        "{}",
        made.form
    );
    taken(&mut w, &made, false);
    w.restart(false);
    let made = call(&mut w);
    assert!(made.form.contains("&content=one+two+three&"), "it is told again as a whole: {}", made.form);
    taken(&mut w, &made, true);
    assert_eq!(w.waiting(), 1, "the part of the other handset waits");
    w.pass(Duration::from_secs(301));
    let made = call(&mut w);
    assert!(made.form.contains("&from=492&") && made.form.contains("&content=other&"), "{}", made.form);
    taken(&mut w, &made, true);
    assert_eq!(w.waiting(), 0);
}

/// Who sends by HTTP hears by HTTP: a bind of the same account gets no receipt of it.
#[test]
fn a_bind_hears_nothing_of_messages_of_the_other_door() {
    let mut w = World::new(config());
    let (foo, vendor) = (w.customer("foo"), w.vendor(0));
    sent(&mut w, &format!("{DLR}2"));
    let part = w.submitted(vendor).remove(0);
    assert_eq!(text_of(&part), "x");
    w.reply(vendor, &part, Status::ROK, b"D1");
    w.receipt(vendor, "D1", "DELIVRD");
    assert!(w.deliveries(foo).is_empty());
    assert_eq!(calls(&mut w).len(), 1);
}
