//! Bodies of fuzz targets: plain functions that any driver can call (a fuzzer, the mutation tests, a corpus replay).
//! Each panics only when a promise of this crate is broken.

use crate::frame::{Frame, Framer, PDU_BYTES};
use crate::pdu::{self, Body};
use crate::receipt;
use crate::text::{Alphabet, Udh, alphabet};
use crate::tlv::Tlvs;

/// Any bytes as a connection: the same frames come however they are split, and what was read survives writing.
pub fn fuzz_stream(data: &[u8]) {
    let (mut whole, mut bytewise) = (Framer::new(PDU_BYTES), Framer::new(PDU_BYTES));
    whole.push(data);
    let (mut frames, mut split) = (0usize, 0usize);
    while let Some(frame) = whole.poll_frame() {
        frames = frames.saturating_add(1);
        let Frame::Pdu(header, body) = frame else { break };
        let Ok(read) = pdu::decode(&header, body) else { continue };
        let mut out = Vec::new();
        if pdu::encode(&mut out, header.command, header.status, header.sequence, &read).is_err() {
            continue;
        }
        let mut again = Framer::new(PDU_BYTES);
        again.push(&out);
        let Some(Frame::Pdu(same, body)) = again.poll_frame() else {
            assert!(out.len() > PDU_BYTES, "what was written is no frame");
            continue;
        };
        assert_eq!((same.command, same.sequence), (header.command, header.sequence));
        // A body without a word of its own may be written shorter than it came.
        if !matches!(read, Body::Empty) {
            assert_eq!(pdu::decode(&same, body), Ok(read), "what was written is read otherwise");
        }
    }
    for byte in data {
        bytewise.push(std::slice::from_ref(byte));
        while bytewise.poll_frame().is_some() {
            split = split.saturating_add(1);
        }
    }
    assert_eq!(frames, split, "frames depend on how the bytes were split");
}

/// Any bytes as the text of a message, in each alphabet, with and without a header.
pub fn fuzz_text(data: &[u8]) {
    let (shift, text) = match Udh::split(data) {
        Some((udh, text)) => {
            assert!(udh.octets().saturating_add(text.len()) == data.len());
            assert!(udh.concatenation().is_none_or(|c| c.number >= 1 && c.number <= c.total));
            (udh.shift(), text)
        }
        None => (Default::default(), data),
    };
    for alphabet in [
        Alphabet::Default,
        Alphabet::Ia5,
        Alphabet::Latin1,
        Alphabet::Cyrillic,
        Alphabet::Hebrew,
        Alphabet::Ucs2,
    ] {
        let read = alphabet::decode(text, alphabet, shift).unwrap_or_default();
        assert!(read.chars().count() <= text.len());
    }
}

/// Any bytes as the text of a receipt, the second half as its optional parameters.
pub fn fuzz_receipt(data: &[u8]) {
    let (text, optional) = data.split_at_checked(data.len() / 2).unwrap_or_default();
    for (text, tlvs) in [(data, Tlvs::NONE), (text, Tlvs::parse(optional).unwrap_or_default())] {
        if let Some(receipt) = receipt::read(text, tlvs) {
            assert!(!receipt.id.is_empty());
        }
    }
}
