//! Reports of users of Jasmin, Kannel and their clients, tried on this core. Each test names what they had seen.

use std::time::Duration;

use warp_smpp::pdu::{self, Address, Body, Message};
use warp_smpp::receipt::IdForm;
use warp_smpp::tlv::{self, Tag, Tlvs};
use warp_smpp::{Command, Status};

use super::tests_world::{World, config, submit, text_of};

/// A submit_sm whose text ends with a NUL that sm_length does not count, and `behind` after it.
fn with_a_nul(sequence: u32, text: &[u8], behind: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    pdu::encode(&mut bytes, Command::SUBMIT_SM, Status::ROK, sequence, &Body::Message(submit(text))).unwrap();
    bytes.push(0);
    bytes.extend_from_slice(behind);
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// php-smpp does so by default. Jasmin (issue 218) answers ESME_RINVMSGLEN, cloudhopper (issue 64) ends the session.
#[test]
fn a_text_that_ends_with_a_nul_beyond_its_length_is_taken() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let mut tlvs = Vec::new();
    tlv::push(&mut tlvs, Tag::SAR_MSG_REF_NUM, &[0x12, 0x34]);
    for (sequence, behind) in [(1, &[][..]), (2, &tlvs)] {
        w.raw(customer, &with_a_nul(sequence, b"hello", behind));
        assert_eq!(w.got(customer)[0].0.status, Status::ROK);
        let sent = w.submitted(vendor).remove(0);
        let Ok(Body::Message(m)) = pdu::decode(&sent.0, &sent.1) else { panic!() };
        assert_eq!(m.short_message, b"hello");
        assert_eq!(m.tlvs.get(Tag::SAR_MSG_REF_NUM), (sequence == 2).then_some(&[0x12, 0x34][..]));
        assert!(!sent.1.ends_with(b"hello\0"), "the NUL does not go on");
    }
    // Two of them are no text of anybody.
    w.raw(customer, &with_a_nul(3, b"hello", &[0]));
    assert_eq!(w.got(customer)[0].0.status, Status::RINVTLVSTREAM);
}

/// Jasmin, issues 885 and 916: a vendor says ACCEPTD at once and DELIVRD later. The customer hears the last word, once.
#[test]
fn accepted_is_not_the_last_word_of_a_vendor() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    w.submit(customer, "one");
    let sent = w.submitted(vendor).remove(0);
    w.reply(vendor, &sent, Status::ROK, b"A1");
    w.receipt(vendor, "A1", "ACCEPTD");
    assert!(w.deliveries(customer).is_empty());
    w.receipt(vendor, "A1", "DELIVRD");
    let heard = w.deliveries(customer);
    assert_eq!(heard.len(), 1);
    assert!(text_of(&heard[0]).contains("stat:DELIVRD"));
    // Both before the response: the one that says more counts, in either order.
    for (n, [first, second]) in [["ACCEPTD", "UNDELIV"], ["UNDELIV", "ACCEPTD"]].into_iter().enumerate() {
        w.submit(customer, "two");
        let sent = w.submitted(vendor).remove(0);
        w.receipt(vendor, &format!("B{n}"), first);
        w.receipt(vendor, &format!("B{n}"), second);
        w.reply(vendor, &sent, Status::ROK, format!("B{n}").as_bytes());
        let heard = w.deliveries(customer);
        assert_eq!(heard.len(), 1, "{first} {second}");
        assert!(text_of(&heard[0]).contains("stat:UNDELIV"));
    }
    assert_eq!(w.waiting(), 0);
}

/// The same vendor, when nothing follows: the customer hears ACCEPTD when the wait is over, also after a restart.
#[test]
fn accepted_is_what_is_told_when_nothing_follows() {
    for restart in [false, true] {
        let mut w = World::new(config());
        let (mut customer, vendor) = (w.customer("foo"), w.vendor(0));
        w.submit(customer, "one");
        let sent = w.submitted(vendor).remove(0);
        w.receipt(vendor, "A1", "ACCEPTD");
        w.reply(vendor, &sent, Status::ROK, b"A1");
        if restart {
            w.restart(false);
        }
        w.pass(Duration::from_secs(49 * 3_600));
        if restart {
            customer = w.customer("foo");
            w.turn();
        } else {
            customer = w.customer("foo");
        }
        let heard = w.deliveries(customer);
        assert_eq!(heard.len(), 1);
        assert!(text_of(&heard[0]).contains("stat:ACCEPTD"), "{}", text_of(&heard[0]));
    }
}

/// Jasmin, issues 366, 408, 643, 1034, 1129: zeros in front, another case, a UUID, hexadecimal here and decimal there.
#[test]
fn receipts_find_their_message_however_the_id_is_written() {
    for (form, response, receipt) in [
        (IdForm::AsGiven, "00B8BE19", "00b8be19"),
        (IdForm::AsGiven, "04062581461565934000241", "4062581461565934000241"),
        (IdForm::AsGiven, "0e999f21-81ef-4974-a414-3de98174e3c7", "0E999F21-81EF-4974-A414-3DE98174E3C7"),
        (IdForm::AsGiven, "1101C1-C9D03D-F000", "1101c1-c9d03d-f000"),
        (IdForm::ResponseHex, "39f99dd5", "0972660181"),
        (IdForm::ResponseHex, "812FC7470000001B", "9308878062554710043"),
        (IdForm::ResponseDecimal, "281605133", "10C8F40D"),
    ] {
        let mut config = config();
        config.vendors[0].ids = form;
        let mut w = World::new(config);
        let (customer, vendor) = (w.customer("foo"), w.vendor(0));
        w.submit(customer, "x");
        let sent = w.submitted(vendor).remove(0);
        w.reply(vendor, &sent, Status::ROK, response.as_bytes());
        w.receipt(vendor, receipt, "DELIVRD");
        assert_eq!(w.deliveries(customer).len(), 1, "{response} {receipt}");
    }
}

/// Jasmin, issue 612: an element before the one of the parts. ksmppd, issue 135: a parameter that the SMSC does not know. Both go on as
/// they came.
#[test]
fn headers_and_parameters_that_mean_nothing_to_us_go_on_as_they_came() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let mut tlvs = Vec::new();
    tlv::push(&mut tlvs, Tag(0x1400), b"1701158019811140068");
    let text = b"\x09\x70\x02\x00\x01\x00\x03\x63\x02\x01part";
    let message =
        Message { esm_class: 0x40, data_coding: 0xF6, tlvs: Tlvs::parse(&tlvs).unwrap(), ..submit(text) };
    assert_eq!(w.status(customer, Command::SUBMIT_SM, &Body::Message(message)), Status::ROK);
    let sent = w.submitted(vendor).remove(0);
    let Ok(Body::Message(m)) = pdu::decode(&sent.0, &sent.1) else { panic!() };
    assert_eq!((m.short_message, m.esm_class, m.data_coding), (&text[..], 0x40, 0xF6));
    assert_eq!(m.tlvs.get(Tag(0x1400)), Some(&b"1701158019811140068"[..]));
}

/// smpp.pdu, change 6, and cloudhopper, change 31: a refusal without a body, or with the beginning of one.
#[test]
fn a_refusal_with_any_body_is_a_refusal() {
    for body in [&[][..], &[0], b"\x00\x1D\x00\x02no", b"no end"] {
        let mut w = World::new(config());
        let (customer, vendor) = (w.customer("foo"), w.vendor(0));
        w.submit(customer, "x");
        let sent = w.submitted(vendor).remove(0);
        let mut answer = Vec::new();
        let status = Status::RINVDSTADR;
        pdu::header_only(&mut answer, Command::SUBMIT_SM.response(), status, sent.0.sequence);
        answer.extend_from_slice(body);
        let length = u32::try_from(answer.len()).unwrap();
        answer[..4].copy_from_slice(&length.to_be_bytes());
        w.raw(vendor, &answer);
        let heard = w.deliveries(customer);
        assert!(text_of(&heard[0]).contains("stat:UNDELIV err:011"), "{body:?}");
        assert!(w.vendor_links.iter().any(|(key, _)| *key == vendor), "the bind stays");
    }
}

/// Jasmin, issue 796: throttled messages keep their receipt; issue 623: each try has the validity.
#[test]
fn a_throttled_message_keeps_its_receipt_and_its_validity() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let message = Message { validity: b"000000010000000R", ..submit(b"x") };
    w.ask(customer, Command::SUBMIT_SM, &Body::Message(message));
    w.got(customer);
    let sent = w.submitted(vendor).remove(0);
    w.reply(vendor, &sent, Status::RTHROTTLED, b"");
    w.pass(Duration::from_secs(2));
    let again = w.submitted(vendor).remove(0);
    for got in [&sent, &again] {
        let Ok(Body::Message(m)) = pdu::decode(&got.0, &got.1) else { panic!() };
        assert_eq!((m.validity.len(), m.registered_delivery), (16, 1));
        assert!(m.validity.ends_with(b"+"), "absolute, {}", String::from_utf8_lossy(m.validity));
    }
    w.reply(vendor, &again, Status::ROK, b"7");
    w.receipt(vendor, "7", "DELIVRD");
    assert_eq!(w.deliveries(customer).len(), 1);
}

/// Jasmin, issue 1239: some customers read the receipt by its form, all fields of it, in the order of appendix B. node-smpp, issue 199.
#[test]
fn our_receipts_have_all_fields_of_appendix_b() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    let id = w.submit(customer, "some text");
    let sent = w.submitted(vendor).remove(0);
    w.reply(vendor, &sent, Status::ROK, b"7");
    w.receipt(vendor, "7", "DELIVRD");
    let heard = w.deliveries(customer);
    let Ok(Body::Message(m)) = pdu::decode(&heard[0].0, &heard[0].1) else { panic!() };
    assert_eq!((m.esm_class, m.data_coding), (4, 0));
    let source: Address<'_> = m.source;
    assert_eq!((source.ton, source.npi, source.text), (1, 1, &b"491701234567"[..]));
    let text = text_of(&heard[0]);
    let names = ["id:", " sub:", " dlvrd:", " submit date:", " done date:", " stat:", " err:", " text:"];
    let places: Vec<usize> =
        names.iter().map(|n| text.find(n).unwrap_or_else(|| panic!("{n} {text}"))).collect();
    assert!(places.is_sorted() && text.contains(&id), "{text}");
}

/// T-SMS-10: who lost the link before the answer sends again. Both messages stand, each is answered once, and none is taken for the other.
#[test]
fn t_sms_10_a_message_sent_again_after_a_reconnect_is_another_one_and_each_is_answered_once() {
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    w.got(customer);
    w.syncs = false;
    w.ask(customer, Command::SUBMIT_SM, &Body::Message(submit(b"once or twice")));
    assert!(w.got(customer).is_empty());
    w.break_link(customer);
    w.syncs = true;
    let again = w.customer("foo");
    w.ask(again, Command::SUBMIT_SM, &Body::Message(submit(b"once or twice")));
    let mut answers = w.got(again);
    answers.retain(|(h, _)| h.command == Command::SUBMIT_SM.response());
    assert_eq!(answers.len(), 1, "the new link hears nothing of the old one's requests");
    let sent = w.submitted(vendor);
    assert_eq!(sent.iter().map(text_of).collect::<Vec<_>>(), ["once or twice"; 2]);
    for (n, got) in sent.iter().enumerate() {
        w.reply(vendor, got, Status::ROK, format!("{n}").as_bytes());
        w.receipt(vendor, &format!("{n}"), "DELIVRD");
    }
    let heard = w.deliveries(again);
    assert_eq!(heard.len(), 2, "both have their receipt");
    assert_ne!(text_of(&heard[0]), text_of(&heard[1]), "under an id of its own");
    assert_eq!(w.waiting(), 0);
}

/// T-SMS-12: what a text does to those who read it later is kept out of every form that we write: octets stay octets.
#[test]
fn t_sms_12_texts_that_attack_their_readers_are_octets_here() {
    let hostile = "=HYPERLINK(\"x\")<script>&to=1\u{202E}\0\r\n";
    let mut ucs2 = Vec::new();
    assert_eq!(warp_smpp::text::encode_best(hostile, &mut ucs2).0, 8);
    let message = Message {
        source: Address { ton: 1, npi: 1, text: b"491701234567" },
        destination: Address { ton: 0, npi: 1, text: b"12345" },
        data_coding: 8,
        short_message: &ucs2,
        ..Message::default()
    };
    let mut by_http = config();
    by_http.http_clients = vec![crate::config::HttpClient {
        name: "mo".to_owned(),
        url: "http://198.51.100.9/mo".to_owned(),
        post: true,
    }];
    by_http.mo_default = Some(crate::config::Destination::Http(0));
    let mut w = World::new(by_http);
    let vendor = w.vendor(0);
    assert_eq!(w.status(vendor, Command::DELIVER_SM, &Body::Message(message)), Status::ROK);
    let form = w.core.poll_call().expect("a call").form;
    let plain = |c: char| c.is_ascii_alphanumeric() || "%&=+-_.".contains(c);
    assert!(form.chars().all(plain), "{form}");
    assert_eq!(form.matches("to=").count(), 1, "no field comes from the text");
    assert!(form.contains(&format!("binary={}", warp_model::hex::encode(&ucs2))));
    // Over a bind they are the same octets.
    let mut w = World::new(config());
    let (customer, vendor) = (w.customer("foo"), w.vendor(0));
    assert_eq!(w.status(vendor, Command::DELIVER_SM, &Body::Message(message)), Status::ROK);
    let got = w.deliveries(customer).remove(0);
    let Ok(Body::Message(m)) = pdu::decode(&got.0, &got.1) else { panic!() };
    assert_eq!((m.short_message, m.data_coding), (&ucs2[..], 8));
}
