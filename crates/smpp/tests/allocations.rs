//! The hot PDUs cost no allocation: read in place, written into a buffer that has room (issue 8, figures).

use allocation_counter::measure;
use warp_model::Mono;
use warp_smpp::frame::{Frame, Framer, PDU_BYTES};
use warp_smpp::pdu::{self, Address, Body, Message};
use warp_smpp::{Command, Session, Side, State, Status};

#[test]
fn reading_and_writing_hot_pdus_allocates_nothing() {
    let message = Message {
        source: Address { ton: 5, npi: 0, text: b"WARP" },
        destination: Address { ton: 1, npi: 1, text: b"491701234567" },
        short_message: b"Hello, this is a message of the usual length, with a code 123456 in it.",
        registered_delivery: 1,
        ..Message::default()
    };
    let mut out = Vec::with_capacity(4_096);
    let mut session = Session::new(Side::Smsc, Default::default(), 10, 10, Mono(0));
    session.bound(State::BoundTrx);
    let mut framer = Framer::new(PDU_BYTES);
    let mut read = 0;
    // The first round makes the framer's buffer.
    for round in 0..3 {
        let used = measure(|| {
            out.clear();
            pdu::encode(&mut out, Command::SUBMIT_SM, Status::ROK, 1, &Body::Message(message)).unwrap();
            pdu::encode(&mut out, Command::DELIVER_SM, Status::ROK, 2, &Body::Message(message)).unwrap();
            let id =
                Body::MessageId { id: b"0190c8f4-0000-7000-8000-000000000000", tlvs: Default::default() };
            pdu::encode(&mut out, Command::SUBMIT_SM.response(), Status::ROK, 3, &id).unwrap();
            pdu::reply(&mut out, Command::DELIVER_SM, Status::ROK, 4);
            pdu::header_only(&mut out, Command::ENQUIRE_LINK, Status::ROK, 5);
            framer.push(&out);
            while let Some(Frame::Pdu(header, body)) = framer.poll_frame() {
                session.handle(&header, Mono(1));
                session.answered();
                pdu::decode(&header, body).unwrap();
                read += 1;
            }
        });
        assert!(round == 0 || used.count_total == 0, "{} allocations", used.count_total);
    }
    assert_eq!(read, 15);
}
