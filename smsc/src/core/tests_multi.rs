//! submit_multi and data_sm: several destinations, other bodies, the same keeping.

use std::time::Duration;

use warp_smpp::pdu::{self, Address, Body, Data, Destination, Destinations, Message, Multi};
use warp_smpp::tlv::{self, Tag, Tlvs};
use warp_smpp::{Command, Status};

use super::tests_world::{Got, World, config, submit, text_of};
use super::{Key, StorageFault};

fn address(text: &[u8]) -> Address<'_> {
    Address { ton: 1, npi: 1, text }
}

/// Sends one text to several; gives the answer.
fn send(w: &mut World, customer: Key, to: &[Destination<'_>]) -> Got {
    ask(w, customer, to);
    w.got(customer)
        .into_iter()
        .find(|(h, _)| h.command == Command::SUBMIT_MULTI.response())
        .expect("an answer")
}

fn ask(w: &mut World, customer: Key, to: &[Destination<'_>]) {
    let mut list = Vec::new();
    for destination in to {
        pdu::push_destination(&mut list, destination).unwrap();
    }
    let message = Message { destination: Address::default(), ..submit(b"to many") };
    let destinations = Destinations::new(&list).unwrap();
    w.ask(customer, Command::SUBMIT_MULTI, &Body::Multi(Multi { message, destinations }));
}

/// The id, and who was refused with which status.
fn read(answer: &Got) -> (String, Vec<(String, Status)>) {
    let Ok(Body::MultiResp(m)) = pdu::decode(&answer.0, &answer.1) else { panic!("{answer:?}") };
    let text = |t: &[u8]| String::from_utf8_lossy(t).into_owned();
    (text(m.message_id), m.unsuccessful().map(|u| (text(u.address.text), u.status)).collect())
}

#[test]
fn each_destination_gets_its_message_and_receipts_bear_the_one_id() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let to: Vec<String> = (0..3).map(|n| format!("4917{n}")).collect();
    let list: Vec<Destination<'_>> = to.iter().map(|t| Destination::Address(address(t.as_bytes()))).collect();
    let answer = send(&mut w, customer, &list);
    let (id, refused) = read(&answer);
    assert_eq!((answer.0.status, id.len(), refused.len()), (Status::ROK, 36, 0));
    let sent = w.submitted(vendor);
    let reached: Vec<String> = sent
        .iter()
        .map(|got| match pdu::decode(&got.0, &got.1) {
            Ok(Body::Message(m)) => String::from_utf8_lossy(m.destination.text).into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reached, to);
    for (n, got) in sent.iter().enumerate() {
        w.reply(vendor, got, Status::ROK, format!("c{n}").as_bytes());
    }
    w.restart(false);
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    for n in [2, 0, 1] {
        w.receipt(vendor, &format!("c{n}"), "DELIVRD");
        let heard = w.deliveries(customer);
        let Ok(Body::Message(m)) = pdu::decode(&heard[0].0, &heard[0].1) else { panic!() };
        assert_eq!((heard.len(), m.source.text), (1, to[n].as_bytes()), "which one it is about");
        assert!(text_of(&heard[0]).contains(&id), "also after a restart");
    }
    assert_eq!(w.waiting(), 0);
}

#[test]
fn what_is_refused_of_them_is_named_and_the_others_go() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let bad = Destination::Address(address(b"49 170"));
    let good = Destination::Address(address(b"49170"));
    let answer = send(&mut w, customer, &[bad, good, Destination::List(b"friends")]);
    let (id, refused) = read(&answer);
    assert_eq!((answer.0.status, id.len()), (Status::ROK, 36));
    assert_eq!(
        refused,
        [("49 170".to_owned(), Status::RINVDSTADR), ("friends".to_owned(), Status::RINVDLNAME)]
    );
    assert_eq!(w.submitted(vendor).len(), 1);
    // None of them: the status says so too.
    let answer = send(&mut w, customer, &[bad, bad]);
    assert_eq!((answer.0.status, read(&answer).1.len()), (Status::RINVDSTADR, 2));
    // T-SMS-08: each destination is a message.
    let slow = w.customer("slow");
    let answer = send(&mut w, slow, &[good; 5]);
    assert_eq!(
        (answer.0.status, read(&answer).1),
        (Status::ROK, vec![("49170".to_owned(), Status::RTHROTTLED); 3])
    );
}

#[test]
fn f_disk_01_none_is_answered_before_all_are_durable_and_a_full_disk_refuses_all() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    w.got(customer);
    w.syncs = false;
    ask(&mut w, customer, &[Destination::Address(address(b"491")); 3]);
    assert!(w.got(customer).is_empty() && w.submitted(vendor).is_empty());
    w.core.storage_failed(StorageFault::Full, Some(w.disk.len() as u64));
    w.turn();
    let answers = w.got(customer);
    assert_eq!(answers.iter().map(|(h, _)| h.status).collect::<Vec<_>>(), [Status::RMSGQFUL]);
    assert_eq!(w.waiting(), 0);
    w.syncs = true;
    assert_eq!(send(&mut w, customer, &[Destination::Address(address(b"491")); 3]).0.status, Status::ROK);
}

#[test]
fn cancelling_the_id_cancels_all_that_wait() {
    let mut w = World::new(config());
    let customer = w.customer("foo");
    // No vendor is bound: they wait.
    let (id, _) = read(&send(&mut w, customer, &[Destination::Address(address(b"491")); 254]));
    assert_eq!(w.waiting(), 254);
    let stranger = w.customer("slow");
    let cancel = Body::Cancel(pdu::Cancel { message_id: id.as_bytes(), ..pdu::Cancel::default() });
    assert_eq!(w.status(stranger, Command::CANCEL_SM, &cancel), Status::RINVMSGID, "T-SMS-07");
    assert_eq!(w.status(customer, Command::CANCEL_SM, &cancel), Status::ROK);
    let mut heard = 0;
    for _ in 0..4 {
        heard += w.deliveries(customer).len();
    }
    assert_eq!((heard, w.waiting()), (254, 0));
}

/// data_sm both ways: a text in message_payload, its own answer, receipts as for any message.
#[test]
fn data_sm_is_a_message_as_any_other() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let mut tlvs = Vec::new();
    tlv::push(&mut tlvs, Tag::MESSAGE_PAYLOAD, b"by data");
    let data = Data {
        source: Address { ton: 5, npi: 0, text: b"WARP" },
        destination: address(b"491701234567"),
        registered_delivery: 1,
        tlvs: Tlvs::parse(&tlvs).unwrap(),
        ..Data::default()
    };
    w.ask(customer, Command::DATA_SM, &Body::Data(data));
    let answer = w.got(customer).remove(0);
    assert_eq!((answer.0.command, answer.0.status), (Command::DATA_SM.response(), Status::ROK));
    let sent = w.submitted(vendor).remove(0);
    let Ok(Body::Message(m)) = pdu::decode(&sent.0, &sent.1) else { panic!() };
    assert_eq!(m.payload(), Ok(&b"by data"[..]));
    w.reply(vendor, &sent, Status::ROK, b"1");
    w.receipt(vendor, "1", "DELIVRD");
    assert_eq!(w.deliveries(customer).len(), 1);
    w.got(vendor);
    // From a handset.
    let data = Data { source: address(b"491701234567"), destination: address(b"12345"), ..data };
    w.ask(vendor, Command::DATA_SM, &Body::Data(data));
    let answer = w.got(vendor).remove(0);
    assert_eq!((answer.0.command, answer.0.status), (Command::DATA_SM.response(), Status::ROK));
    assert_eq!(w.deliveries(customer).len(), 1);
    // A notice that a handset can be reached has no answer, and harms nothing.
    let alert = pdu::Alert { source: address(b"491"), esme: address(b"12345"), ..pdu::Alert::default() };
    w.ask(vendor, Command::ALERT_NOTIFICATION, &Body::Alert(alert));
    assert!(w.got(vendor).is_empty());
    w.pass(Duration::from_secs(1));
    assert!(!w.closed.contains(&vendor));
}
