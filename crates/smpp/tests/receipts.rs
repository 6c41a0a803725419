//! Receipts in the dialects of the field, and the standard text (SMPP 3.4 appendix B).

use proptest::prelude::*;
use warp_model::Wall;
use warp_smpp::receipt::{self, IdForm, MessageState, id_of_receipt, id_of_response};
use warp_smpp::tlv::{self, Tag, Tlvs};

fn at(text: &str) -> Wall {
    warp_smpp::time::parse_receipt(text.as_bytes()).unwrap()
}

#[test]
fn the_standard_text_is_written_in_order_with_one_blank() {
    let mut out = Vec::new();
    let (submitted, done) = (at("2611301504"), at("2611301505"));
    receipt::write(
        &mut out,
        b"0190-ab",
        MessageState::Delivered,
        submitted,
        done,
        0,
        b"Hello, this is a long text",
    );
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "id:0190-ab sub:001 dlvrd:001 submit date:2611301504 done date:2611301505 stat:DELIVRD err:000 text:Hello, this is a lon"
    );
    let mut out = Vec::new();
    receipt::write(&mut out, b"1", MessageState::Undeliverable, submitted, done, 11, "é\nx".as_bytes());
    assert!(String::from_utf8(out).unwrap().ends_with(
        "sub:001 dlvrd:000 submit date:2611301504 done date:2611301505 stat:UNDELIV err:011 text:x"
    ));
}

#[test]
fn every_dialect_of_the_list_is_read() {
    let read =
        |text: &'static str| receipt::read(text.as_bytes(), Tlvs::NONE).unwrap_or_else(|| panic!("{text}"));
    // As the appendix has it, with Text in capitals and 12 digits.
    let r = read(
        "id:00AB12 sub:001 dlvrd:001 submit date:261130150400 done date:261130150510 stat:DELIVRD err:000 Text:hi you",
    );
    assert_eq!((r.id, r.state, r.text), (&b"00AB12"[..], Some(MessageState::Delivered), &b"hi you"[..]));
    assert_eq!((r.submitted, r.delivered, r.error), (Some(1), Some(1), &b"000"[..]));
    assert_eq!(r.done_date.unwrap().0 - r.submit_date.unwrap().0, 70_000_000);
    // Jasmin's own: neither sub, dlvrd nor text.
    let r = read("id:5a2c submit date:2611301504 done date:2611301505 stat:UNDELIV err:000");
    assert_eq!((r.submitted, r.state), (None, Some(MessageState::Undeliverable)));
    // Quotes, other case, other order, longer errors, words of the sender's own.
    let r = read("STAT:Expired ID:\"12 34\" vendor:x ERR:0x0B1 SUB:000 Done Date:20261130150510");
    assert_eq!((r.id, r.state, r.error), (&b"12 34"[..], Some(MessageState::Expired), &b"0x0B1"[..]));
    assert_eq!(r.done_date, Some(at("261130150510")));
    assert_eq!(read("id:'7' stat:REJECTED").state, Some(MessageState::Rejected));
    assert_eq!(read("id:7 stat:WHATEVER").state, None);
    assert_eq!(receipt::read(b"stat:DELIVRD err:000", Tlvs::NONE), None, "about nothing");
    assert_eq!(receipt::read(b"", Tlvs::NONE), None);
}

#[test]
fn parameters_alone_are_a_receipt_and_win_over_the_text() {
    let mut optional = Vec::new();
    tlv::push(&mut optional, Tag::RECEIPTED_MESSAGE_ID, b"abc\0");
    tlv::push(&mut optional, Tag::MESSAGE_STATE, &[5]);
    tlv::push(&mut optional, Tag::NETWORK_ERROR_CODE, &[3, 1, 2]);
    let tlvs = Tlvs::parse(&optional).unwrap();
    for text in [&b""[..], b"id:zzz stat:DELIVRD"] {
        let r = receipt::read(text, tlvs).unwrap();
        assert_eq!((r.id, r.state), (&b"abc"[..], Some(MessageState::Undeliverable)));
        assert_eq!(r.network_error, Some((3, 0x0102)));
    }
}

#[test]
fn ids_match_by_the_form_of_the_connector() {
    let same = |response: &str, receipt: &str, form| {
        id_of_response(response.as_bytes(), form) == id_of_receipt(receipt.as_bytes(), form)
    };
    assert!(same("00ab12", "AB12", IdForm::AsGiven), "case and leading zeros do not count");
    assert!(same("000", "0", IdForm::AsGiven));
    assert!(!same("ab12", "43794", IdForm::AsGiven));
    assert!(same("ab12", "43794", IdForm::ResponseHex));
    assert!(same("43794", "0000AB12", IdForm::ResponseDecimal));
    assert!(!same("10", "10", IdForm::ResponseHex));
    assert!(same("not-a-number", "NOT-A-NUMBER", IdForm::ResponseHex), "what is no number stays a text");
}

#[test]
fn states_are_those_of_5_2_28_and_final_ones_are_final() {
    let letters = [
        "SCHEDLD", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD",
        "SKIPPED",
    ];
    for (n, stat) in (0u8..).zip(letters) {
        let state = MessageState::from_octet(n).unwrap();
        assert_eq!(
            (state.octet(), state.stat(), MessageState::from_stat(stat.as_bytes())),
            (n, stat, Some(state))
        );
        assert_eq!(state.is_final(), matches!(n, 2 | 3 | 4 | 5 | 8 | 9));
    }
    assert_eq!(MessageState::from_octet(10), None);
}

proptest! {
    #[test]
    fn what_was_written_is_read(id in "[0-9a-fA-F-]{1,64}", state in 0u8..10, error in 0u16..1_000, minutes in 0i64..40_000_000, text in "[ -~]{0,20}") {
        let state = MessageState::from_octet(state).unwrap();
        let (submitted, done) = (Wall::from_unix_ms(946_684_800_000 + minutes * 60_000), Wall::from_unix_ms(946_684_800_000 + minutes * 60_000));
        let mut out = Vec::new();
        receipt::write(&mut out, id.as_bytes(), state, submitted, done, error, text.as_bytes());
        let read = receipt::read(&out, Tlvs::NONE).unwrap();
        prop_assert_eq!((read.id, read.state, read.submit_date, read.done_date), (id.as_bytes(), Some(state), Some(submitted), Some(done)));
        let digits = format!("{error:03}");
        prop_assert_eq!((read.text, read.error), (text.as_bytes(), digits.as_bytes()));
    }
}
