//! Bodies of fuzz targets: plain functions that any driver can call (a fuzzer, the mutation tests, a corpus replay).
//! Each panics only when a promise of this crate is broken.

use crate::codec::{Encoding, decode_reply, decode_request, encode_reply, encode_request};
use crate::tape::Tape;
use crate::{bencode, json};

/// Any bytes as a document: both decoders, bounded results.
pub fn fuzz_document(data: &[u8]) {
    for tape in [bencode::decode(data), json::decode(data)].into_iter().flatten() {
        assert!(tape.len() <= warp_model::limits::NG_ELEMENTS);
        assert!(
            tape.allocated_bytes() <= data.len().saturating_mul(64).saturating_add(65_536),
            "a document of {} bytes took {}",
            data.len(),
            tape.allocated_bytes()
        );
        walk(&tape);
    }
}

/// Any bytes as a datagram: a decoded request survives encoding in both forms.
pub fn fuzz_request(data: &[u8]) {
    if let Ok(request) = decode_request(data) {
        for encoding in [Encoding::Bencode, Encoding::Json] {
            let mut out = Vec::new();
            encode_request(request.cookie, encoding, request.load_limit, &request.command, &mut out);
            let again = decode_request(&out);
            // JSON carries text only: calls with other bytes in them come back changed, but still decode.
            let text_only = std::str::from_utf8(data).is_ok();
            match again {
                Ok(again) => {
                    assert_eq!(again.command.name(), request.command.name());
                    if encoding == Encoding::Bencode || text_only {
                        assert_eq!(again.command, request.command);
                    }
                }
                Err(e) => assert!(out.len() > warp_model::limits::NG_STRING_BYTES, "{e:?}"),
            }
        }
    }
    if let Ok((cookie, reply)) = decode_reply(data) {
        let mut out = Vec::new();
        encode_reply(cookie, Encoding::Bencode, true, &reply, &mut out);
        if let Err(e) = decode_reply(&out) {
            assert!(data.len() > 256, "{e:?}");
        }
    }
}

fn walk(tape: &Tape<'_>) {
    let Some(root) = tape.root() else { return };
    let mut seen = 0usize;
    let mut todo = vec![root];
    while let Some(view) = todo.pop() {
        seen = seen.saturating_add(1);
        assert!(seen <= tape.len());
        let _ = (view.text(), view.int());
        if view.is_dict() {
            todo.extend(view.entries().map(|(_, v)| v));
        } else if matches!(view.node(), crate::tape::Node::List { .. }) {
            todo.extend(view.items());
        }
    }
}
