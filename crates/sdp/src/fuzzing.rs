//! Bodies of fuzz targets; each panics only when a promise of this crate is broken.

use std::net::{IpAddr, Ipv4Addr};

use crate::edit::{MediaEdit, OriginEdit, RefusedSection, SessionEdit, Strip};
use crate::view::Sdp;

/// Any bytes: no panic; unedited output is the input; edited output parses and says what was asked.
pub fn fuzz_sdp(data: &[u8]) {
    let Ok(sdp) = Sdp::parse(data) else { return };
    let mut same = Vec::new();
    sdp.write(&SessionEdit::default(), &[], &mut same);
    let text = data.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    assert_eq!(
        Some(&same[..]),
        data.get(..text),
        "an SDP without edits must keep its bytes, NULs at its end apart"
    );
    let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    let all =
        Strip { ice: true, dtls: true, crypto: true, rtcp: true, rtcp_mux: true, bundle: true, mid: true };
    let session = SessionEdit {
        origin: OriginEdit { address: Some(ip), ..OriginEdit::default() },
        connection: Some(ip),
        strip: all,
        ..SessionEdit::default()
    };
    let media: Vec<MediaEdit<'_>> = (0..sdp.media_count())
        .map(|i| MediaEdit {
            port: Some(4_000 + i as u16),
            connection: Some(ip),
            protocol: Some("RTP/AVP"),
            strip: all,
            add: vec!["a=added".to_owned()],
            ..MediaEdit::default()
        })
        .collect();
    let mut out = Vec::new();
    sdp.write(&session, &media, &mut out);
    assert!(out.len() <= data.len() + 64 + 64 * sdp.media_count(), "output grew too much");
    if out.len() <= warp_model::limits::SDP_BYTES {
        let again = Sdp::parse(&out);
        assert_eq!(again.as_ref().err(), None, "edited SDP must parse");
        let Ok(again) = again else { return };
        assert_eq!(again.media_count(), sdp.media_count());
        // Who says nothing of his origin gets none.
        assert_eq!(
            again.origin().map(|o| o.address.to_vec()),
            sdp.origin().map(|_| ip.to_string().into_bytes())
        );
        for (i, m) in again.media().enumerate() {
            assert_eq!(m.port(), 4_000 + i as u16);
            assert_eq!(m.connection().map(|c| c.ip), Some(ip));
            assert!(m.rtcp().is_none() && !m.has_rtcp_mux());
        }
    }
    // An answer as long as another offer: without its first section, and with one more.
    let without: Vec<MediaEdit<'_>> =
        (0..sdp.media_count()).map(|i| MediaEdit { remove: i == 0, ..MediaEdit::default() }).collect();
    let more = [RefusedSection { kind: b"video", protocol: b"RTP/AVP", formats: b"" }];
    let mut out = Vec::new();
    sdp.write_padded(&SessionEdit::default(), &without, &more, &mut out);
    if out.len() <= warp_model::limits::SDP_BYTES {
        let again = Sdp::parse(&out);
        assert_eq!(again.as_ref().err(), None, "a padded SDP must parse");
        let Ok(again) = again else { return };
        assert_eq!(again.media_count(), sdp.media_count().max(1));
        let last = again.media().last();
        assert!(last.is_some_and(|m| m.kind() == b"video" && m.is_rejected()));
    }
}
