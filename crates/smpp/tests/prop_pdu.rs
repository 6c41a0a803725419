//! Decoding what was encoded gives the same values, for every command with a body.

use proptest::prelude::*;
use warp_smpp::frame::{Frame, Framer, PDU_BYTES};
use warp_smpp::pdu::{
    Address, Alert, Bind, BindResp, Body, Cancel, Data, Message, Outbind, Query, QueryResp, Replace, decode,
    encode,
};
use warp_smpp::tlv::{self, Tag, Tlvs};
use warp_smpp::{Command, Status};

fn text(limit: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1u8..=255, 0..limit)
}

fn time() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), prop::collection::vec(1u8..=255, 16)]
}

fn optional() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)), 0..5).prop_map(|list| {
        let mut out = Vec::new();
        for (tag, value) in list {
            assert!(tlv::push(&mut out, Tag(tag), &value));
        }
        out
    })
}

/// Encodes, frames and decodes; the values must be the same.
fn round(command: Command, status: u32, sequence: u32, body: &Body<'_>) -> Result<(), TestCaseError> {
    let mut out = vec![0xEE; 3];
    encode(&mut out, command, Status(status), sequence, body).expect("fits");
    prop_assert_eq!(&out[..3], &[0xEE; 3]);
    let mut framer = Framer::new(PDU_BYTES);
    framer.push(&out[3..]);
    let Some(Frame::Pdu(header, bytes)) = framer.poll_frame() else { panic!("no frame") };
    prop_assert_eq!((header.command, header.status.0, header.sequence), (command, status, sequence));
    prop_assert_eq!(&decode(&header, bytes).expect("decodes"), body);
    prop_assert_eq!(framer.held(), 0);
    Ok(())
}

proptest! {
    #[test]
    fn messages_survive(
        service in text(6), source in text(21), destination in text(21), schedule in time(), validity in time(),
        octets in any::<[u8; 12]>(), short in prop::collection::vec(any::<u8>(), 0..=254), optional in optional(),
        sequence in any::<u32>(),
    ) {
        let address = |text, at: usize| Address { ton: octets[at], npi: octets[at + 1], text };
        let message = Message {
            service_type: &service, source: address(&source[..], 0), destination: address(&destination[..], 2),
            esm_class: octets[4], protocol_id: octets[5], priority: octets[6], schedule: &schedule, validity: &validity,
            registered_delivery: octets[7], replace_if_present: octets[8], data_coding: octets[9], default_message: octets[10],
            short_message: &short, tlvs: Tlvs::parse(&optional).expect("whole"),
        };
        for command in [Command::SUBMIT_SM, Command::DELIVER_SM] {
            round(command, 0, sequence, &Body::Message(message))?;
        }
        let data = Data {
            service_type: &service, source: address(&source[..], 0), destination: address(&destination[..], 2),
            esm_class: octets[4], registered_delivery: octets[7], data_coding: octets[9], tlvs: message.tlvs,
        };
        round(Command::DATA_SM, 0, sequence, &Body::Data(data))?;
        let replace = Replace {
            message_id: &source, source: address(&destination[..], 2), schedule: &schedule, validity: &validity,
            registered_delivery: octets[7], default_message: octets[10], short_message: &short, tlvs: message.tlvs,
        };
        round(Command::REPLACE_SM, 0, sequence, &Body::Replace(replace))?;
    }

    #[test]
    fn the_others_survive(
        id in text(65), system in text(16), password in text(65), kind in text(13), range in text(41), long in text(65),
        octets in any::<[u8; 4]>(), date in time(), optional in optional(), status in any::<u32>(), sequence in any::<u32>(),
    ) {
        let tlvs = Tlvs::parse(&optional).expect("whole");
        let address = |text| Address { ton: octets[0], npi: octets[1], text };
        let bind = Bind { system_id: &system, password: &password, system_type: &kind, interface_version: octets[2], range: address(&range[..]) };
        for command in [Command::BIND_RECEIVER, Command::BIND_TRANSMITTER, Command::BIND_TRANSCEIVER] {
            round(command, 0, sequence, &Body::Bind(bind))?;
            round(command.response(), status, sequence, &Body::BindResp(BindResp { system_id: &system, tlvs }))?;
        }
        for command in [Command::SUBMIT_SM, Command::DELIVER_SM, Command::DATA_SM] {
            round(command.response(), status, sequence, &Body::MessageId { id: &id, tlvs })?;
        }
        let short = &long[..long.len().min(20)];
        round(Command::OUTBIND, 0, sequence, &Body::Outbind(Outbind { system_id: &system, password: &password }))?;
        round(Command::QUERY_SM, 0, sequence, &Body::Query(Query { message_id: &id, source: address(short) }))?;
        round(Command::QUERY_SM.response(), status, sequence, &Body::QueryResp(QueryResp {
            message_id: &id, final_date: &date, message_state: octets[2], error_code: octets[3], tlvs,
        }))?;
        round(Command::CANCEL_SM, 0, sequence, &Body::Cancel(Cancel {
            service_type: &kind[..kind.len().min(5)], message_id: &id, source: address(short), destination: address(short),
        }))?;
        round(Command::ALERT_NOTIFICATION, 0, sequence, &Body::Alert(Alert { source: address(&long[..]), esme: address(&long[..]), tlvs }))?;
        for command in [Command::ENQUIRE_LINK, Command::UNBIND, Command::GENERIC_NACK, Command::CANCEL_SM.response()] {
            round(command, status, sequence, &Body::Empty)?;
        }
    }
}

/// What Kannel's and smpplib's peers put on the wire, by hand: the fields stand where the specification says.
#[test]
fn a_submit_sm_as_the_specification_lays_it_out() {
    let body = b"\0\x05\0WARP\0\x01\x01491701234567\0\0\0\0\0\0\x01\0\0\0\x05Hello\x02\x04\0\x02\x00\x07";
    let header = warp_smpp::Header {
        length: 16 + body.len() as u32,
        command: Command::SUBMIT_SM,
        status: Status::ROK,
        sequence: 1,
    };
    let Ok(Body::Message(m)) = decode(&header, body) else { panic!() };
    assert_eq!((m.source.ton, m.source.text), (5, &b"WARP"[..]));
    assert_eq!((m.destination.npi, m.destination.text), (1, &b"491701234567"[..]));
    assert_eq!((m.registered_delivery, m.short_message), (1, &b"Hello"[..]));
    assert_eq!(m.tlvs.short(Tag::USER_MESSAGE_REFERENCE), Some(7));
}
