//! Bodies and streams of the other kind (T-SMS-01, T-SMS-02, T-SMS-03): the right status, and nothing else is lost.

use warp_smpp::frame::{Frame, Framer, PDU_BYTES};
use warp_smpp::fuzzing::{fuzz_receipt, fuzz_stream, fuzz_text};
use warp_smpp::pdu::{self, Address, Bind, Body, Message, Multi};
use warp_smpp::tlv::{self, Tag, Tlvs};
use warp_smpp::{Command, Header, Status};

fn of(command: Command, body: &[u8]) -> Result<(), Status> {
    let header = Header { length: 16 + body.len() as u32, command, status: Status::ROK, sequence: 9 };
    pdu::decode(&header, body).map(drop).map_err(|e| e.status)
}

fn submit() -> Vec<u8> {
    let mut optional = Vec::new();
    tlv::push(&mut optional, Tag::USER_MESSAGE_REFERENCE, &[0, 7]);
    let message = Message {
        source: Address { ton: 5, npi: 0, text: b"WARP" },
        destination: Address { ton: 1, npi: 1, text: b"491701234567" },
        validity: b"000001000000000R",
        short_message: b"Hello",
        tlvs: Tlvs::parse(&optional).unwrap(),
        ..Message::default()
    };
    let mut out = Vec::new();
    pdu::encode(&mut out, Command::SUBMIT_SM, Status::ROK, 9, &Body::Message(message)).unwrap();
    out
}

#[test]
fn t_sms_02_each_wrong_field_has_its_status() {
    let long = [b'1'; 40];
    let body =
        |service: &[u8], source: &[u8], destination: &[u8], schedule: &[u8], validity: &[u8], rest: &[u8]| {
            [
                service,
                &[0, 1, 1],
                source,
                &[0, 1, 1],
                destination,
                &[0, 0, 0, 0],
                schedule,
                &[0],
                validity,
                &[0],
                rest,
            ]
            .concat()
        };
    let fine = [0, 0, 0, 0, 2, b'h', b'i'];
    let status = |b: Vec<u8>| of(Command::SUBMIT_SM, &b).err();
    assert_eq!(status(body(b"", b"1", b"2", b"", b"", &fine)), None);
    assert_eq!(status(body(b"longer", b"1", b"2", b"", b"", &fine)), Some(Status::RINVSERTYP));
    assert_eq!(status(body(b"", &long, b"2", b"", b"", &fine)), Some(Status::RINVSRCADR));
    assert_eq!(status(body(b"", b"1", &long, b"", b"", &fine)), Some(Status::RINVDSTADR));
    assert_eq!(status(body(b"", b"1", b"2", b"soon", b"", &fine)), Some(Status::RINVSCHED));
    assert_eq!(status(body(b"", b"1", b"2", b"", b"12345678901234567", &fine)), Some(Status::RINVEXPIRY));
    assert_eq!(status(body(b"", b"1", b"2", b"", b"", &[0, 0, 0, 0, 9, b'h'])), Some(Status::RINVMSGLEN));
    let long = [&[0, 0, 0, 0, 255][..], &[b'x'; 255]].concat();
    assert_eq!(status(body(b"", b"1", b"2", b"", b"", &long)), Some(Status::RINVMSGLEN));
    for tlv in [&[0x02][..], &[0x02, 0x04, 0], &[0x02, 0x04, 0, 9, 1], &[0x02, 0x04, 0, 0, 1]] {
        let rest = [&fine[..], tlv].concat();
        assert_eq!(status(body(b"", b"1", b"2", b"", b"", &rest)), Some(Status::RINVTLVSTREAM));
    }
    // The text twice.
    let mut optional = Vec::new();
    tlv::push(&mut optional, Tag::MESSAGE_PAYLOAD, b"again");
    let twice = Message { short_message: b"x", tlvs: Tlvs::parse(&optional).unwrap(), ..Message::default() };
    assert_eq!(twice.payload(), Err(Status::RINVMSGLEN));
    assert_eq!(Message { short_message: b"", ..twice }.payload(), Ok(&b"again"[..]));
}

#[test]
fn t_sms_02_a_submit_sm_cut_anywhere_is_an_error_and_the_next_pdu_is_read() {
    let whole = submit();
    for cut in 16..whole.len() {
        let mut bytes = whole[..cut].to_vec();
        bytes[..4].copy_from_slice(&u32::try_from(cut).unwrap().to_be_bytes());
        bytes.extend_from_slice(&whole);
        let mut framer = Framer::new(PDU_BYTES);
        framer.push(&bytes);
        let Some(Frame::Pdu(header, body)) = framer.poll_frame() else { panic!() };
        let read = pdu::decode(&header, body);
        // Without its optional part it is whole as well.
        assert_eq!(read.is_err(), cut != whole.len() - 6, "cut at {cut}: {read:?}");
        let Some(Frame::Pdu(header, body)) = framer.poll_frame() else { panic!("framing was lost at {cut}") };
        assert!(pdu::decode(&header, body).is_ok());
    }
}

#[test]
fn t_sms_03_an_unknown_command_is_nacked_with_its_own_sequence_number() {
    assert_eq!(of(Command(0x0777), b"anything"), Err(Status::RINVCMDID));
    let mut out = Vec::new();
    pdu::reply(&mut out, Command(0x0777), Status::RINVCMDID, 0x1234);
    assert_eq!(out, [0, 0, 0, 16, 0x80, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0x12, 0x34]);
    // A response cannot be answered by a response.
    out.clear();
    pdu::reply(&mut out, Command::ENQUIRE_LINK, Status::ROK, 5);
    assert_eq!(out[4..8], [0x80, 0, 0, 0x15]);
}

#[test]
fn answers_of_an_error_may_come_without_a_body() {
    for command in [Command::SUBMIT_SM, Command::BIND_TRANSCEIVER, Command::QUERY_SM, Command::SUBMIT_MULTI] {
        assert_eq!(of(command.response(), b""), Ok(()));
    }
}

#[test]
fn submit_multi_has_1_to_254_destinations_of_two_kinds() {
    let head = b"\0\0\0from\0";
    let tail = b"\0\0\0\0\0\0\0\0\0\x02hi";
    let read = |destinations: &[u8]| {
        let body = [&head[..], destinations, tail].concat();
        let header = Header { length: 0, command: Command::SUBMIT_MULTI, status: Status::ROK, sequence: 1 };
        match pdu::decode(&header, &body) {
            Ok(Body::Multi(Multi { destinations, message })) => {
                assert_eq!(message.short_message, b"hi");
                Ok(destinations.iter().count())
            }
            Ok(other) => panic!("{other:?}"),
            Err(e) => Err(e.status),
        }
    };
    assert_eq!(read(b"\x02\x01\x01\x01491\0\x02friends\0"), Ok(2));
    assert_eq!(read(b"\0"), Err(Status::RINVNUMDESTS));
    assert_eq!(read(b"\xFF"), Err(Status::RINVNUMDESTS));
    assert_eq!(read(b"\x01\x03\x01\x01491\0"), Err(Status::RINVDESTFLAG));
}

/// xorshift64*.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % n.max(1) as u64) as usize
    }

    fn damage(&mut self, data: &mut Vec<u8>) {
        let at = self.below(data.len());
        match self.below(5) {
            0 if at < data.len() => data[at] = self.below(256) as u8,
            1 if at < data.len() => data[at] ^= 1 << self.below(8),
            2 => data.insert(at, [0, 0xFF, 0x1B, 5, 16, b':'][self.below(6)]),
            3 => data.truncate(at),
            _ => {
                let piece = data[at..(at + self.below(40)).min(data.len())].to_vec();
                data.extend(piece);
            }
        }
    }
}

/// Seeded mutations through the fuzz targets: the same bytes on every run.
#[test]
fn damaged_streams_texts_and_receipts_break_no_promise() {
    let bind = Bind { system_id: b"foo", password: b"bar", interface_version: 0x34, ..Bind::default() };
    let mut stream = submit();
    pdu::encode(&mut stream, Command::BIND_TRANSCEIVER, Status::ROK, 1, &Body::Bind(bind)).unwrap();
    pdu::header_only(&mut stream, Command::ENQUIRE_LINK, Status::ROK, 2);
    let receipt =
        b"id:0123456789 sub:001 dlvrd:001 submit date:2611301504 done date:2611301505 stat:DELIVRD err:000 text:hello";
    let text = b"\x06\x08\x04\x12\x34\x03\x01Hello \x1B\x65 and \xD8\x3D\xDE\x00";
    let mut random = Seeded(0x0053_4D53);
    for _ in 0..20_000 {
        for (whole, target) in
            [(&stream[..], fuzz_stream as fn(&[u8])), (&receipt[..], fuzz_receipt), (&text[..], fuzz_text)]
        {
            let mut data = whole.to_vec();
            for _ in 0..=random.below(4) {
                random.damage(&mut data);
            }
            target(&data);
        }
    }
}
