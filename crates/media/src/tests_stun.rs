//! Tests of [`crate::stun`]: the vectors of RFC 5769, what is written is read, and no bytes surprise the reader.

use super::*;

/// RFC 5769 §2.1.
const REQUEST: [u8; 108] = [
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa,
    0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20,
    0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff, 0x80, 0x29, 0x00,
    0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a,
    0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf,
    0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28,
    0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
];

/// RFC 5769 §2.2.
const RESPONSE: [u8; 80] = [
    0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa,
    0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63, 0x74, 0x6f,
    0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43, 0x00, 0x08, 0x00,
    0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3, 0x8c, 0x74, 0x89, 0xf9, 0x2a, 0xf9, 0xba, 0x53,
    0xf0, 0x6b, 0xe7, 0xd7, 0x80, 0x28, 0x00, 0x04, 0xc0, 0x7d, 0x4c, 0x96,
];
/// The same by IPv6, RFC 5769 §2.3.
const RESPONSE_6: [u8; 92] = [
    0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa,
    0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63, 0x74, 0x6f,
    0x72, 0x20, 0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1,
    0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9, 0x00, 0x08, 0x00, 0x14, 0xa3, 0x82, 0x95, 0x4e,
    0x4b, 0xe6, 0x7b, 0xf1, 0x17, 0x84, 0xc9, 0x7c, 0x82, 0x92, 0xc2, 0x75, 0xbf, 0xe3, 0xed, 0x41, 0x80,
    0x28, 0x00, 0x04, 0xc8, 0xfb, 0x0b, 0x4c,
];
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

#[test]
fn the_vectors_of_rfc_5769_are_read() {
    let request = StunView::parse(&REQUEST).unwrap();
    assert_eq!(request.kind(), StunKind::Request);
    assert_eq!(request.username(), Some(&b"evtj:h6vY"[..]));
    assert_eq!(request.priority(), Some(0x6e00_01ff));
    assert_eq!(request.role(), Some(Role::Controlled(0x932f_f9b1_5126_3b36)));
    assert!(
        request.is_from(PASSWORD) && !request.is_from(b"VOkJxbRl1RmTxUk/WvJxBT") && !request.is_from(b"")
    );
    assert!(!request.nominates());
    for (bytes, address) in
        [(&RESPONSE[..], "192.0.2.1:32853"), (&RESPONSE_6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let response = StunView::parse(bytes).unwrap();
        assert_eq!(
            (response.kind(), mapped_address(&response)),
            (StunKind::Success, Some(address.parse().unwrap()))
        );
        assert!(response.is_from(PASSWORD));
    }
}

#[test]
fn what_is_written_is_read() {
    let id = [7; 12];
    for address in ["192.0.2.9:1", "[2001:db8::9]:65535"] {
        let address = address.parse().unwrap();
        let bytes = StunWriter::new(StunKind::Success, id).mapped(address).signed(b"pass");
        let view = StunView::parse(&bytes).unwrap();
        assert_eq!((view.transaction(), mapped_address(&view)), (id, Some(address)));
        assert!(view.is_from(b"pass"));
    }
    let request = StunWriter::new(StunKind::Request, id)
        .username("their", "ours1")
        .priority(9)
        .role(Role::Controlling(5))
        .use_candidate(true)
        .signed(b"pass");
    let view = StunView::parse(&request).unwrap();
    assert_eq!((view.username(), view.priority()), (Some(&b"their:ours1"[..]), Some(9)));
    assert_eq!((view.role(), view.nominates(), view.unknown()), (Some(Role::Controlling(5)), true, None));
    let error = StunWriter::new(StunKind::Error, id).error(487).signed(b"pass");
    assert_eq!(StunView::parse(&error).unwrap().error_code(), Some(487));
    let odd = StunWriter::new(StunKind::Request, id).attribute(0x7abc, b"?").with_fingerprint();
    assert_eq!(StunView::parse(&odd).unwrap().unknown(), Some(0x7abc));
}

/// What an attacker puts behind the integrity is not the author's.
#[test]
fn t_rtp_07_nothing_behind_the_integrity_is_believed() {
    let mut signed = StunWriter::new(StunKind::Request, [1; 12]).username("a", "b");
    let tag = integrity(&signed.bytes, b"pass").unwrap().finalize().into_bytes();
    signed = signed.attribute(MESSAGE_INTEGRITY, &tag).use_candidate(true);
    let bytes = signed.with_fingerprint();
    let view = StunView::parse(&bytes).unwrap();
    assert!(view.is_from(b"pass") && !view.nominates());
}

#[test]
fn t_rtp_07_every_cut_and_every_turned_bit_is_refused_or_not_authentic() {
    for cut in 0..REQUEST.len() {
        assert!(StunView::parse(&REQUEST[..cut]).is_none(), "{cut}");
    }
    for at in 0..REQUEST.len() * 8 {
        let mut bytes = REQUEST;
        bytes[at / 8] ^= 1 << (at % 8);
        let believed = StunView::parse(&bytes).is_some_and(|v| v.is_from(PASSWORD));
        // What stands behind the integrity is nobody's word: a FINGERPRINT of another name is passed over.
        assert!(!believed || at >= (REQUEST.len() - FINGERPRINT) * 8, "bit {at}");
    }
}

proptest::proptest! {
    #[test]
    fn t_rtp_07_no_bytes_surprise_the_reader(mut bytes in proptest::collection::vec(0u8.., 0..200), cookie in proptest::bool::ANY) {
        if cookie && bytes.len() >= 20 {
            bytes[0] = 0;
            bytes[1] = 1;
            let length = (bytes.len() - 20) as u16;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        }
        if let Some(view) = StunView::parse(&bytes) {
            let _ = (view.username(), view.priority(), view.role(), view.error_code(), view.unknown(), mapped_address(&view));
            proptest::prop_assert!(!view.is_from(b"pass"));
        }
    }
}
