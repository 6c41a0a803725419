//! The core with customers and vendors that speak bytes: the path of a message, its faults, and what is refused.

use std::time::Duration;

use warp_smpp::pdu::{self, Body, Message};
use warp_smpp::tlv::Tag;
use warp_smpp::{Command, Status};

use super::StorageFault;
use super::tests_world::{World, config, id_of, submit, text_of, vendor_at};
use crate::config::{OnStatus, Vendor};
use crate::metrics::ReceiptResult;

const S: Duration = Duration::from_secs(1);

/// Each step in its order: nothing is answered or sent before it is durable, and the receipt comes back under our id.
#[test]
fn f_proc_03_a_message_is_answered_when_durable_sent_then_and_receipted_under_our_id() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    w.got(customer);
    w.syncs = false;
    w.ask(customer, Command::SUBMIT_SM, &Body::Message(submit(b"hello")));
    assert!(w.got(customer).is_empty(), "not answered before it is durable");
    assert!(w.submitted(vendor).is_empty(), "not sent before it is durable");
    w.sync();
    let answer = w.got(customer).remove(0);
    assert_eq!((answer.0.command, answer.0.status), (Command::SUBMIT_SM.response(), Status::ROK));
    let id = id_of(&answer);
    w.syncs = true;
    w.turn();
    let sent = w.submitted(vendor);
    assert_eq!(sent.iter().map(text_of).collect::<Vec<_>>(), ["hello"]);
    w.reply(vendor, &sent[0], Status::ROK, b"00AB12");

    w.syncs = false;
    let sequence = w.receipt(vendor, "ab12", "DELIVRD");
    assert!(w.got(vendor).is_empty(), "the vendor keeps its receipt until we have it");
    assert!(w.got(customer).is_empty());
    w.sync();
    assert_eq!(w.got(vendor)[0].0.sequence, sequence);
    w.syncs = true;
    w.turn();
    let receipts = w.deliveries(customer);
    let Ok(Body::Message(m)) = pdu::decode(&receipts[0].0, &receipts[0].1) else { panic!() };
    assert_eq!((m.esm_class, m.source.text, m.destination.text), (4, &b"491701234567"[..], &b"WARP"[..]));
    assert_eq!(m.tlvs.text(Tag::RECEIPTED_MESSAGE_ID), Some(id.as_bytes()));
    assert_eq!(m.tlvs.octet(Tag::MESSAGE_STATE), Some(2));
    let text = text_of(&receipts[0]);
    assert!(
        text.starts_with(&format!("id:{id} sub:001 dlvrd:001 "))
            && text.ends_with("stat:DELIVRD err:000 text:hello"),
        "{text}"
    );
    assert_eq!(w.waiting(), 0, "nothing is left to do");
}

#[test]
fn who_wants_no_receipt_gets_none_and_who_wants_failures_gets_those() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    for (wanted, stat, heard, asked) in [
        (0, "DELIVRD", 0, 0),
        (2, "DELIVRD", 0, 1),
        (2, "UNDELIV", 1, 1),
        (3, "DELIVRD", 1, 1),
        (3, "EXPIRED", 0, 1),
    ] {
        let message = Message { registered_delivery: wanted, ..submit(b"x") };
        w.ask(customer, Command::SUBMIT_SM, &Body::Message(message));
        w.got(customer);
        let sent = w.submitted(vendor).remove(0);
        let Ok(Body::Message(m)) = pdu::decode(&sent.0, &sent.1) else { panic!() };
        assert_eq!(m.registered_delivery, asked);
        w.reply(vendor, &sent, Status::ROK, format!("{wanted}{stat}").as_bytes());
        if asked == 1 {
            w.receipt(vendor, &format!("{wanted}{stat}"), stat);
        }
        assert_eq!(w.deliveries(customer).len(), heard, "{wanted} {stat}");
        assert_eq!(w.waiting(), 0);
    }
}

#[test]
fn t_sms_02_a_bad_body_is_answered_and_the_others_of_the_window_are_not_lost() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let mut bytes = Vec::new();
    for (sequence, text) in [(1, &b"one"[..]), (2, b"two"), (3, b"three")] {
        let begin = bytes.len();
        let body = Body::Message(submit(text));
        pdu::encode(&mut bytes, Command::SUBMIT_SM, Status::ROK, sequence, &body).unwrap();
        if sequence == 2 {
            // The length of its text is not true.
            let at = begin + bytes[begin..].windows(3).position(|w| w == b"two").unwrap() - 1;
            bytes[at] = 200;
        }
    }
    w.raw(customer, &bytes);
    let mut answers: Vec<(u32, Status)> =
        w.got(customer).iter().map(|(h, _)| (h.sequence, h.status)).collect();
    answers.sort();
    assert_eq!(answers, [(1, Status::ROK), (2, Status::RINVMSGLEN), (3, Status::ROK)]);
    assert_eq!(w.submitted(vendor).iter().map(text_of).collect::<Vec<_>>(), ["one", "three"]);
    // An unknown command, then a length that cannot be: only that one closes.
    w.raw(customer, &[0, 0, 0, 16, 0, 0, 7, 7, 0, 0, 0, 0, 0, 0, 0, 9]);
    let nack = w.got(customer).remove(0).0;
    assert_eq!((nack.command, nack.status, nack.sequence), (Command::GENERIC_NACK, Status::RINVCMDID, 9));
    w.raw(customer, &[0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 10]);
    let nack = w.got(customer).remove(0).0;
    assert_eq!((nack.command, nack.status), (Command::GENERIC_NACK, Status::RINVCMDLEN));
    assert_eq!(w.closed, [customer]);
}

#[test]
fn what_is_wrong_with_a_message_is_told_and_nothing_is_kept() {
    let mut w = World::new(config());
    let (customer, _) = (w.customer("foo"), w.vendor(0));
    let fine = submit(b"x");
    let mut to_nobody = fine;
    to_nobody.destination.text = b"";
    let mut to_words = fine;
    to_words.destination.text = b"49 170";
    for (message, status) in [
        (to_nobody, Status::RINVDSTADR),
        (to_words, Status::RINVDSTADR),
        (Message { priority: 9, ..fine }, Status::RINVPRTFLG),
        (Message { registered_delivery: 0x20, ..fine }, Status::RINVREGDLVFLG),
        (Message { schedule: b"notatimenotatime", ..fine }, Status::RINVSCHED),
        (Message { schedule: b"010000000000000R", ..fine }, Status::RINVSCHED),
        (Message { validity: b"200101000000000+", ..fine }, Status::RINVEXPIRY),
        // T-SMS-09: a header that is longer than the message.
        (Message { esm_class: 0x40, short_message: b"\x09\0\x03\x01\x02\x01", ..fine }, Status::RINVMSGLEN),
    ] {
        assert_eq!(w.status(customer, Command::SUBMIT_SM, &Body::Message(message)), status, "{message:?}");
    }
    assert_eq!((w.waiting(), w.disk.len()), (0, 0));
    for command in [Command::SUBMIT_MULTI, Command::REPLACE_SM] {
        let mut bytes = Vec::new();
        pdu::header_only(&mut bytes, command, Status::ROK, 77);
        w.raw(customer, &bytes);
        assert!(!w.got(customer)[0].0.status.is_ok());
    }
}

#[test]
fn t_sms_05_wrong_password_and_unknown_account_have_one_answer_and_guessing_waits() {
    let mut w = World::new(config());
    let at = [192, 0, 2, 66];
    let wrong = w.connect(at);
    assert_eq!(w.bind_status(wrong, Command::BIND_TRANSCEIVER, "foo", "no"), Status::RINVPASWD);
    let unknown = w.connect(at);
    assert_eq!(w.bind_status(unknown, Command::BIND_TRANSCEIVER, "nobody", "no"), Status::RINVPASWD);
    for _ in 0..3 {
        let key = w.connect(at);
        w.ask(
            key,
            Command::BIND_TRANSCEIVER,
            &Body::Bind(pdu::Bind { system_id: b"foo", password: b"no", ..Default::default() }),
        );
    }
    // The right one comes too late for this source: it waits like the others.
    let late = w.connect(at);
    let bind = pdu::Bind { system_id: b"foo", password: b"bar", ..pdu::Bind::default() };
    w.ask(late, Command::BIND_TRANSCEIVER, &Body::Bind(bind));
    assert!(w.got(late).is_empty(), "no answer yet");
    w.pass(3 * S);
    assert_eq!(w.got(late)[0].0.status, Status::RINVPASWD);
    w.pass(60 * S);
    let again = w.connect(at);
    assert_eq!(w.bind_status(again, Command::BIND_TRANSCEIVER, "foo", "bar"), Status::ROK);
}

#[test]
fn t_sms_04_before_the_bind_and_twice() {
    let mut w = World::new(config());
    let key = w.connect([192, 0, 2, 1]);
    assert_eq!(w.status(key, Command::SUBMIT_SM, &Body::Message(submit(b"x"))), Status::RINVBNDSTS);
    assert_eq!(w.bind_status(key, Command::BIND_RECEIVER, "foo", "bar"), Status::ROK);
    assert_eq!(w.bind_status(key, Command::BIND_TRANSMITTER, "foo", "bar"), Status::RALYBND);
    assert_eq!(w.status(key, Command::SUBMIT_SM, &Body::Message(submit(b"x"))), Status::RINVBNDSTS);
}

#[test]
fn t_sms_07_a_message_of_another_account_does_not_exist() {
    let mut w = World::new(config());
    let (foo, slow) = (w.customer("foo"), w.customer("slow"));
    let id = w.submit(foo, "mine");
    let query =
        |id: &str| pdu::Query { message_id: id.to_owned().leak().as_bytes(), ..pdu::Query::default() };
    let cancel =
        |id: &str| pdu::Cancel { message_id: id.to_owned().leak().as_bytes(), ..pdu::Cancel::default() };
    assert_eq!(w.status(slow, Command::QUERY_SM, &Body::Query(query(&id))), Status::RINVMSGID);
    assert_eq!(w.status(slow, Command::CANCEL_SM, &Body::Cancel(cancel(&id))), Status::RINVMSGID);
    w.ask(foo, Command::QUERY_SM, &Body::Query(query(&id)));
    let answer = w.got(foo).remove(0);
    let Ok(Body::QueryResp(state)) = pdu::decode(&answer.0, &answer.1) else { panic!() };
    assert_eq!((state.message_id, state.message_state), (id.as_bytes(), 1));
    // The vendor is not bound: it can still be cancelled, and its customer hears so.
    assert_eq!(w.status(foo, Command::CANCEL_SM, &Body::Cancel(cancel(&id))), Status::ROK);
    let vendor = w.vendor(0);
    assert!(w.submitted(vendor).is_empty(), "what was cancelled is not sent");
    w.submit(foo, "sent");
    let sent = w.submitted(vendor);
    assert_eq!(sent.len(), 1);
    let mut forged = config();
    forged.accounts[0].sources = Some(vec!["OTHER".to_owned()]);
    let mut w = World::new(forged);
    let foo = w.customer("foo");
    assert_eq!(w.status(foo, Command::SUBMIT_SM, &Body::Message(submit(b"x"))), Status::RINVSRCADR);
}

#[test]
fn a_cancelled_message_is_receipted_as_deleted() {
    let mut w = World::new(config());
    let foo = w.customer("foo");
    let id = w.submit(foo, "mine");
    let cancel = pdu::Cancel { message_id: id.as_bytes(), ..pdu::Cancel::default() };
    let sequence = w.ask(foo, Command::CANCEL_SM, &Body::Cancel(cancel));
    let got = w.got(foo);
    assert!(got.iter().any(|(h, _)| h.sequence == sequence && h.status.is_ok()));
    let receipt = got.iter().find(|(h, _)| h.command == Command::DELIVER_SM).expect("a receipt");
    assert!(text_of(receipt).contains(&format!("id:{id} ")) && text_of(receipt).contains("stat:DELETED"));
}

#[test]
fn t_sms_08_over_the_rate_is_throttled() {
    let mut w = World::new(config());
    let slow = w.customer("slow");
    let mut taken = 0;
    for _ in 0..20 {
        match w.status(slow, Command::SUBMIT_SM, &Body::Message(submit(b"x"))) {
            Status::ROK => taken += 1,
            other => assert_eq!(other, Status::RTHROTTLED),
        }
        w.pass(S / 10);
    }
    assert!((4..=6).contains(&taken), "{taken} in two seconds at 2 a second");
}

#[test]
fn a_receipt_before_its_response_is_kept_and_one_that_comes_twice_is_none() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let id = w.submit(customer, "fast");
    let sent = w.submitted(vendor).remove(0);
    w.receipt(vendor, "77", "DELIVRD");
    assert_eq!(w.metrics.receipts.value(ReceiptResult::Parked), 1);
    assert!(w.deliveries(customer).is_empty());
    w.reply(vendor, &sent, Status::ROK, b"77");
    let got = w.deliveries(customer);
    assert!(text_of(&got[0]).contains(&id), "matched at once when the response came");
    for stat in ["DELIVRD", "UNDELIV"] {
        w.receipt(vendor, "77", stat);
        assert_eq!(w.got(vendor).last().map(|g| g.0.status), Some(Status::ROK));
    }
    assert_eq!(w.metrics.receipts.value(ReceiptResult::Duplicate), 2);
    assert!(w.deliveries(customer).is_empty(), "a final state is never overwritten");
    // The vendor counts its ids anew: the same id is another message.
    w.submit(customer, "again");
    let sent = w.submitted(vendor).remove(0);
    w.reply(vendor, &sent, Status::ROK, b"77");
    w.receipt(vendor, "77", "UNDELIV");
    assert!(text_of(&w.deliveries(customer)[0]).contains("stat:UNDELIV"));
}

#[test]
fn a_receipt_for_a_message_of_another_vendor_is_not_its() {
    let mut config = config();
    config.vendors.push(Vendor::new("OTHER", "X", "x", vec![vendor_at(2)]));
    let mut w = World::new(config);
    let customer = w.customer("foo");
    let (sim, other) = (w.vendor(0), w.vendor(1));
    w.submit(customer, "mine");
    let sent = w.submitted(sim).remove(0);
    w.reply(sim, &sent, Status::ROK, b"5");
    w.receipt(other, "5", "UNDELIV");
    assert!(w.deliveries(customer).is_empty());
    w.receipt(sim, "5", "DELIVRD");
    assert!(text_of(&w.deliveries(customer)[0]).contains("stat:DELIVRD"));
    w.pass(601 * S);
    assert_eq!(w.metrics.receipts.value(ReceiptResult::Unmatched), 1, "it is given up after its time");
}

#[test]
fn f_net_06_a_lost_link_sends_its_window_again_in_order_and_marked() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    for n in 0..25 {
        w.submit(customer, &format!("{n}"));
    }
    let sent: Vec<String> = w.submitted(vendor).iter().map(text_of).collect();
    assert_eq!(sent, (0..10).map(|n| n.to_string()).collect::<Vec<_>>(), "the window");
    w.break_link(vendor);
    assert_eq!(w.metrics.possible_duplicates.value(()), 10);
    w.pass(2 * S);
    let vendor = w.vendor(0);
    let mut all = Vec::new();
    loop {
        let sent = w.submitted(vendor);
        if sent.is_empty() {
            break;
        }
        for got in &sent {
            all.push(text_of(got));
            w.reply(vendor, got, Status::ROK, text_of(got).as_bytes());
        }
    }
    assert_eq!(all, (0..25).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn reconnecting_backs_off_and_a_refused_bind_is_no_bind() {
    let mut w = World::new(config());
    let mut gaps = Vec::new();
    let mut last = w.now.mono;
    for _ in 0..5 {
        let key = w.vendor_links[0].0;
        w.break_link(key);
        while w.vendor_links.is_empty() {
            w.pass(S / 10);
        }
        gaps.push(w.now.mono.since(last).as_secs());
        last = w.now.mono;
    }
    assert_eq!(gaps, [1, 2, 4, 8, 16]);
    let key = w.vendor_links[0].0;
    let bind = w.got(key).remove(0);
    let mut out = Vec::new();
    pdu::header_only(&mut out, bind.0.command.response(), Status::RINVPASWD, bind.0.sequence);
    w.raw(key, &out);
    assert_eq!(w.closed.last(), Some(&key));
}

#[test]
fn a_vendor_that_throttles_is_left_alone_and_one_that_refuses_ends_the_message() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let id = w.submit(customer, "x");
    let sent = w.submitted(vendor).remove(0);
    w.reply(vendor, &sent, Status::RTHROTTLED, b"");
    w.submit(customer, "y");
    assert!(w.submitted(vendor).is_empty(), "the whole vendor slows down");
    w.pass(S);
    let sent = w.submitted(vendor);
    assert_eq!(sent.iter().map(text_of).collect::<Vec<_>>(), ["x", "y"]);
    w.reply(vendor, &sent[0], Status::RINVDSTADR, b"");
    let got = w.deliveries(customer);
    assert!(
        text_of(&got[0]).contains(&id) && text_of(&got[0]).contains("stat:UNDELIV err:011"),
        "{}",
        text_of(&got[0])
    );
    // A fault of the vendor's own: twice more after half a minute, then the end.
    let mut sent = vec![sent[1].clone()];
    for _ in 0..2 {
        w.reply(vendor, &sent[0], Status::RSYSERR, b"");
        assert!(w.submitted(vendor).is_empty());
        w.pass(31 * S);
        sent = w.submitted(vendor);
        assert_eq!(sent.len(), 1);
    }
    w.reply(vendor, &sent[0], Status::RSYSERR, b"");
    assert!(text_of(&w.deliveries(customer)[0]).contains("stat:UNDELIV err:008"));
}

#[test]
fn schedule_and_validity_are_kept_while_no_vendor_is_there() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let later = Message { schedule: b"000000000130000R", ..submit(b"later") };
    assert_eq!(w.status(customer, Command::SUBMIT_SM, &Body::Message(later)), Status::ROK);
    w.pass(89 * S);
    assert!(w.submitted(vendor).is_empty());
    w.pass(2 * S);
    assert_eq!(w.submitted(vendor).len(), 1);
    w.break_link(vendor);
    let short = Message { validity: b"000000000010000R", ..submit(b"short") };
    assert_eq!(w.status(customer, Command::SUBMIT_SM, &Body::Message(short)), Status::ROK);
    w.pass(11 * S);
    assert!(text_of(&w.deliveries(customer)[0]).contains("stat:EXPIRED"));
}

#[test]
fn receipts_and_messages_of_handsets_wait_for_the_customer_and_a_temporary_no_is_asked_again() {
    let mut w = World::new(config());
    let vendor = w.vendor(0);
    let mo = Message { short_message: b"hi there", registered_delivery: 0, ..submit(b"") };
    w.syncs = false;
    w.ask(vendor, Command::DELIVER_SM, &Body::Message(mo));
    assert!(w.got(vendor).is_empty(), "not answered before it is durable");
    w.sync();
    assert_eq!(w.got(vendor)[0].0.status, Status::ROK);
    w.syncs = true;
    w.pass(3_600 * S);
    let transmitter = w.connect([192, 0, 2, 1]);
    assert_eq!(w.bind_status(transmitter, Command::BIND_TRANSMITTER, "foo", "bar"), Status::ROK);
    assert!(w.got(transmitter).is_empty(), "a transmitter receives nothing");
    let receiver = w.customer("foo");
    w.turn();
    let got = w.got(receiver).into_iter().find(|(h, _)| h.command == Command::DELIVER_SM).expect("delivered");
    assert_eq!(text_of(&got), "hi there");
    w.reply(receiver, &got, Status::RX_T_APPN, b"");
    w.pass(9 * S);
    assert!(w.got(receiver).is_empty());
    w.pass(2 * S);
    assert_eq!(w.deliveries(receiver).len(), 1);
    assert_eq!(w.waiting(), 0);
}

#[test]
fn over_the_window_requests_wait_a_second_and_are_throttled_then() {
    let mut config = config();
    config.accounts[0].window = 3;
    let mut w = World::new(config);
    let customer = w.customer("foo");
    w.syncs = false;
    let mut bytes = Vec::new();
    for sequence in 1..=6 {
        pdu::encode(&mut bytes, Command::SUBMIT_SM, Status::ROK, sequence, &Body::Message(submit(b"x")))
            .unwrap();
    }
    w.raw(customer, &bytes);
    assert!(w.got(customer).is_empty() && !w.core.wants_read(customer));
    w.sync();
    w.turn();
    assert_eq!(w.got(customer).len(), 3, "the first three were durable; the others are taken now");
    w.pass(S / 2);
    assert!(w.got(customer).is_empty());
    // A seventh to ninth: nothing is durable for a second.
    w.raw(customer, &bytes);
    w.pass(S);
    let throttled = w.got(customer);
    assert_eq!(throttled.len(), 6, "{throttled:?}");
    assert!(throttled.iter().all(|(h, _)| h.status == Status::RTHROTTLED));
    w.sync();
    assert_eq!(w.got(customer).len(), 3);
    assert!(w.core.wants_read(customer));
}

#[test]
fn f_disk_01_a_full_disk_refuses_and_goes_on_without_a_restart() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    w.submit(customer, "before");
    let sent = w.submitted(vendor).remove(0);
    for (fault, status) in [(StorageFault::Full, Status::RMSGQFUL), (StorageFault::Broken, Status::RSYSERR)] {
        let mut out = Vec::new();
        pdu::encode(&mut out, Command::SUBMIT_SM, Status::ROK, 900, &Body::Message(submit(b"no"))).unwrap();
        w.core.bytes(customer, &out, w.now);
        w.core.round(w.now);
        w.core.storage_failed(fault, None);
        w.turn();
        assert_eq!(w.got(customer).iter().map(|g| g.0.status).collect::<Vec<_>>(), [status]);
    }
    // A receipt that cannot be kept is asked for again.
    w.reply(vendor, &sent, Status::ROK, b"5");
    let mut out = Vec::new();
    let text = Message { esm_class: 4, short_message: b"id:5 stat:DELIVRD", ..submit(b"") };
    pdu::encode(&mut out, Command::DELIVER_SM, Status::ROK, 901, &Body::Message(text)).unwrap();
    w.core.bytes(vendor, &out, w.now);
    w.core.round(w.now);
    w.core.storage_failed(StorageFault::Full, None);
    w.turn();
    assert_eq!(w.got(vendor).last().map(|g| g.0.status), Some(Status::RX_T_APPN));
    assert_eq!(w.deliveries(customer).len(), 1, "it was written again, and then told");
    w.submit(customer, "after");
    let sent = w.submitted(vendor);
    assert_eq!(sent.iter().map(text_of).collect::<Vec<_>>(), ["after"], "what was refused is not sent");
}

#[test]
fn connections_have_limits() {
    let mut config = config();
    (config.limits.per_source, config.limits.connections, config.accounts[0].binds) = (2, 3, 1);
    let mut w = World::new(config);
    let at = |n: u8| std::net::SocketAddr::from(([192, 0, 2, n], 1));
    let first = w.customer("foo");
    let second = w.connect([192, 0, 2, 1]);
    assert_eq!(w.core.accepted(at(1), w.now), None, "of one source");
    assert_eq!(
        w.bind_status(second, Command::BIND_RECEIVER, "foo", "bar"),
        Status::RBINDFAIL,
        "of one account"
    );
    let stranger = w.connect([192, 0, 2, 2]);
    assert_eq!(w.core.accepted(at(3), w.now), None, "in all");
    w.core.closed(first, w.now);
    assert_eq!(w.bind_status(second, Command::BIND_RECEIVER, "foo", "bar"), Status::ROK);
    // T-SMS-06: who does not bind is closed.
    w.pass(31 * S);
    assert!(w.closed.contains(&stranger) && !w.closed.contains(&second));
}

#[test]
fn draining_unbinds_everybody_and_loses_nothing() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    w.submit(customer, "x");
    let sent = w.submitted(vendor).remove(0);
    w.core.drain(w.now);
    w.turn();
    let unbinds: Vec<_> = [customer, vendor].map(|key| w.got(key).remove(0)).into();
    assert!(unbinds.iter().all(|(h, _)| h.command == Command::UNBIND));
    w.reply(vendor, &sent, Status::ROK, b"9");
    for (key, unbind) in [customer, vendor].into_iter().zip(unbinds) {
        let mut out = Vec::new();
        pdu::reply(&mut out, Command::UNBIND, Status::ROK, unbind.0.sequence);
        w.raw(key, &out);
    }
    assert!(w.core.is_drained());
    assert_eq!(
        (w.waiting(), w.metrics.possible_duplicates.value(())),
        (1, 0),
        "the vendor's answer was waited for"
    );
}

/// replace_sm: what waits gets another text, for its own account only, durable before it is answered.
#[test]
fn a_message_that_waits_gets_another_text_and_one_that_is_sent_does_not() {
    let mut w = World::new(config());
    let (foo, slow) = (w.customer("foo"), w.customer("slow"));
    let id = w.submit(foo, "first");
    let replace = |text: &'static [u8], id: &str| pdu::Replace {
        message_id: Box::leak(id.to_owned().into_boxed_str()).as_bytes(),
        source: pdu::Address { ton: 5, npi: 0, text: b"WARP" },
        registered_delivery: 1,
        short_message: text,
        ..pdu::Replace::default()
    };
    let other = Body::Replace(replace(b"not mine", &id));
    assert_eq!(w.status(slow, Command::REPLACE_SM, &other), Status::RINVMSGID, "T-SMS-07");
    let source = pdu::Address { text: b"OTHER", ..pdu::Address::default() };
    let forged = Body::Replace(pdu::Replace { source, ..replace(b"forged", &id) });
    assert_eq!(w.status(foo, Command::REPLACE_SM, &forged), Status::RINVSRCADR);
    let second = Body::Replace(replace(b"second", &id));
    w.syncs = false;
    let sequence = w.ask(foo, Command::REPLACE_SM, &second);
    assert!(w.got(foo).is_empty(), "not answered before it is durable");
    w.core.storage_failed(StorageFault::Full, Some(w.disk.len() as u64));
    w.flush();
    let refused = w.got(foo);
    assert_eq!((refused[0].0.sequence, refused[0].0.status), (sequence, Status::RMSGQFUL));
    w.syncs = true;
    assert_eq!(w.status(foo, Command::REPLACE_SM, &second), Status::ROK);
    w.restart(false);
    let (foo, vendor) = (w.customer("foo"), w.vendor(0));
    let sent = w.submitted(vendor);
    assert_eq!(sent.iter().map(text_of).collect::<Vec<_>>(), ["second"], "once, with the new text");
    let third = Body::Replace(replace(b"third", &id));
    assert_eq!(w.status(foo, Command::REPLACE_SM, &third), Status::RREPLACEFAIL);
    w.reply(vendor, &sent[0], Status::ROK, b"E1");
    w.receipt(vendor, "E1", "DELIVRD");
    assert!(text_of(&w.deliveries(foo)[0]).ends_with("text:second"));
    assert_eq!(w.waiting(), 0);
}

/// What a status means is the vendor's to say: here one that is permanent elsewhere is tried again, and one that is temporary is not.
#[test]
fn a_vendors_own_table_says_what_its_statuses_mean() {
    let mut c = config();
    c.vendors[0].on_status = vec![
        (Status::RSUBMITFAIL, OnStatus::Retry { after: 5 * S, most: 1 }),
        (Status::RSYSERR, OnStatus::Refuse),
    ];
    let mut w = World::new(c);
    let (foo, vendor) = (w.customer("foo"), w.vendor(0));
    w.submit(foo, "again");
    let sent = w.submitted(vendor).remove(0);
    w.reply(vendor, &sent, Status::RSUBMITFAIL, b"");
    w.pass(4 * S);
    assert!(w.submitted(vendor).is_empty() && w.deliveries(foo).is_empty());
    w.pass(2 * S);
    let sent = w.submitted(vendor).remove(0);
    w.reply(vendor, &sent, Status::RSUBMITFAIL, b"");
    assert!(text_of(&w.deliveries(foo)[0]).contains("stat:UNDELIV err:069"), "once only");
    w.submit(foo, "no");
    let sent = w.submitted(vendor).remove(0);
    w.reply(vendor, &sent, Status::RSYSERR, b"");
    assert!(text_of(&w.deliveries(foo)[0]).contains("stat:UNDELIV err:008"));
}
