//! A dialog as a transparent proxy tracks it (RFC 3261 §12, PRODUCT §6): both parties' tags, targets, route sets and CSeqs,
//! so that the proxy can originate BYE towards both sides (prepaid end, media time-out, operator).
//!
//! The route sets are those *from us*: of the Record-Route list of the answer, what stands above our own entry leads to the
//! callee (reversed), what stands below it leads to the caller. Serialisable, to survive a restart or to be mirrored.
//! Absent on purpose: bytes of whole messages, and when to send what.

use serde::{Deserialize, Serialize};
use warp_model::json;
use warp_model::json_object;
use warp_model::text::{byte_list, bytes};

use crate::header::NameAddr;
use crate::uri::Uri;

/// One of the two parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Sent the first INVITE.
    Caller,
    /// The side that answered it.
    Callee,
}

impl Side {
    /// The other side of the two.
    pub fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }
}

/// What is known of one party.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// From/To value of this party as it stands in the dialog's messages, tag included.
    #[serde(with = "bytes")]
    pub address: Vec<u8>,
    /// The tag of the party.
    #[serde(with = "bytes")]
    pub tag: Vec<u8>,
    /// Its remote target: the URI of its latest Contact, without angle brackets.
    #[serde(with = "bytes")]
    pub target: Vec<u8>,
    /// From us to it: route values with angle brackets, nearest first.
    #[serde(with = "byte_list")]
    pub routes: Vec<Vec<u8>>,
    /// Highest CSeq number seen from it (or sent by us in its name); 0 when it has not sent a request yet.
    pub cseq: u32,
}

/// A dialog seen from the middle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// Call-ID, unchanged on both sides.
    #[serde(with = "bytes")]
    pub call_id: Vec<u8>,
    /// The party that called.
    pub caller: Party,
    /// The party that answered.
    pub callee: Party,
    /// The caller's From/To value in what the callee gets, tag included, where it is not `caller.address`; else empty.
    #[serde(default, with = "bytes", skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<u8>,
}

// A call writes its dialog when it is answered: without serde.
json_object!(Party {
    address by(json::bytes),
    tag by(json::bytes),
    target by(json::bytes),
    routes by(json::byte_list),
    cseq,
});
json_object!(Dialog { call_id by(json::bytes), caller, callee, shown by(json::bytes) unless(Vec::is_empty) });

impl Dialog {
    /// The party on `side`.
    pub fn party(&self, side: Side) -> &Party {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    /// The caller's From/To value in what goes to this side.
    pub fn caller_towards(&self, side: Side) -> &[u8] {
        match side {
            Side::Callee if !self.shown.is_empty() => &self.shown,
            _ => &self.caller.address,
        }
    }

    /// The party on `side`, to be changed.
    pub fn party_mut(&mut self, side: Side) -> &mut Party {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }

    /// Remembers a request of `side`: its CSeq, and its Contact when the method refreshes targets (INVITE, UPDATE,
    /// SUBSCRIBE, NOTIFY: pass `None` otherwise). False when the CSeq is lower than one already seen (RFC 3261 §12.2.2;
    /// the proxy still forwards: the far end answers 500).
    pub fn on_request(&mut self, side: Side, cseq: u32, target: Option<&[u8]>) -> bool {
        let party = self.party_mut(side);
        let in_order = cseq >= party.cseq;
        party.cseq = party.cseq.max(cseq);
        if let (true, Some(target)) = (in_order, target) {
            party.target.clear();
            party.target.extend_from_slice(target);
        }
        in_order
    }

    /// Sets both route sets from the Record-Route values of the first 2xx, top first. `is_ours` tells our own entries
    /// (one, or two when we changed transport or address family).
    pub fn set_routes<'a>(
        &mut self,
        record_routes: impl Iterator<Item = &'a [u8]>,
        is_ours: impl Fn(&[u8]) -> bool,
    ) {
        let (mut above, mut below, mut seen_us) = (Vec::new(), Vec::new(), false);
        for value in record_routes {
            if is_ours(value) {
                seen_us = true;
            } else if seen_us {
                below.push(value.to_vec());
            } else {
                above.push(value.to_vec());
            }
        }
        above.reverse();
        self.callee.routes = above;
        self.caller.routes = below;
    }

    /// The URI where a request to `side` goes first: its first route, else its target.
    pub fn next_hop(&self, side: Side) -> &[u8] {
        let party = self.party(side);
        party.routes.first().map_or(party.target.as_slice(), |r| uri_of(r))
    }

    /// Writes a request that we originate towards `towards` in the other party's name (RFC 3261 §12.2.1.1), with the next
    /// CSeq of that party, which is returned. `via` is the whole Via value with our branch; `extra` whole header lines, each
    /// with CRLF.
    pub fn write_request(
        &mut self,
        method: &str,
        towards: Side,
        via: &[u8],
        extra: &[u8],
        out: &mut Vec<u8>,
    ) -> u32 {
        let from = self.party_mut(towards.other());
        from.cseq = from.cseq.saturating_add(1).max(1);
        let cseq = from.cseq;
        self.write(method, towards, cseq, via, extra, out);
        cseq
    }

    /// Writes the ACK for a 2xx of `towards` to the INVITE numbered `cseq` (RFC 3261 §13.2.2.4). `extra`: whole header lines, each with CRLF.
    pub fn write_ack(&self, towards: Side, cseq: u32, via: &[u8], extra: &[u8], out: &mut Vec<u8>) {
        self.write("ACK", towards, cseq, via, extra, out);
    }

    /// The Request-URI of a request that we originate towards `towards`: its first route when that is a strict router, else its target.
    pub fn request_uri(&self, towards: Side) -> &[u8] {
        let to = self.party(towards);
        match to.routes.first() {
            Some(first) if !is_loose(first) => uri_of(first),
            _ => &to.target,
        }
    }

    fn write(&self, method: &str, towards: Side, cseq: u32, via: &[u8], extra: &[u8], out: &mut Vec<u8>) {
        let (to, from) = (self.party(towards), self.party(towards.other()));
        // A first route without lr is a strict router (RFC 3261 §12.2.1.1): it gets the Request-URI, the target goes last.
        let strict = to.routes.first().is_some_and(|r| !is_loose(r));
        let (uri, routes): (&[u8], &[Vec<u8>]) = match to.routes.split_first() {
            Some((first, rest)) if strict => (uri_of(first), rest),
            _ => (&to.target, &to.routes),
        };
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|p| out.extend_from_slice(p));
            out.extend_from_slice(b"\r\n");
        };
        line(&[method.as_bytes(), b" ", uri, b" SIP/2.0"]);
        line(&[b"Via: ", via]);
        line(&[b"Max-Forwards: 70"]);
        for r in routes {
            line(&[b"Route: ", r]);
        }
        if strict {
            line(&[b"Route: <", &to.target, b">"]);
        }
        let (from, to): (&[u8], &[u8]) = match towards {
            Side::Callee => (self.caller_towards(towards), &to.address),
            Side::Caller => (&from.address, &to.address),
        };
        line(&[b"From: ", from]);
        line(&[b"To: ", to]);
        line(&[b"Call-ID: ", &self.call_id]);
        line(&[b"CSeq: ", cseq.to_string().as_bytes(), b" ", method.as_bytes()]);
        out.extend_from_slice(extra);
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    }
}

/// The URI of a route value, without its brackets; the value itself when it is none.
pub fn uri_of(value: &[u8]) -> &[u8] {
    NameAddr::parse(value).map_or(value, |a| a.uri)
}

/// Whether a route value's URI has the `lr` parameter.
pub fn is_loose(value: &[u8]) -> bool {
    Uri::parse(uri_of(value)).is_ok_and(|u| u.is_loose())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialog() -> Dialog {
        let party = |who: &str| Party {
            address: format!("<sip:{who}@example.com>;tag={who}-tag").into_bytes(),
            tag: format!("{who}-tag").into_bytes(),
            target: format!("sip:{who}@192.0.2.1:5070").into_bytes(),
            routes: vec![],
            cseq: 0,
        };
        Dialog {
            call_id: b"abc@host".to_vec(),
            caller: Party { cseq: 7, ..party("alice") },
            callee: party("bob"),
            shown: Vec::new(),
        }
    }

    #[test]
    fn route_sets_split_at_our_entry() {
        let mut d = dialog();
        let list: [&[u8]; 5] =
            [b"<sip:near-bob;lr>", b"<sip:next;lr>", b"<sip:us;lr>", b"<sip:us6;lr>", b"<sip:near-alice>"];
        d.set_routes(list.into_iter(), |v| v.starts_with(b"<sip:us"));
        assert_eq!(d.callee.routes, [b"<sip:next;lr>".to_vec(), b"<sip:near-bob;lr>".to_vec()]);
        assert_eq!(d.caller.routes, [b"<sip:near-alice>".to_vec()]);
        assert_eq!(d.next_hop(Side::Callee), b"sip:next;lr");
        assert_eq!(d.next_hop(Side::Caller), b"sip:near-alice");
    }

    #[test]
    fn bye_both_ways() {
        let mut d = dialog();
        d.callee.routes = vec![b"<sip:p1;lr>".to_vec()];
        d.caller.routes = vec![b"<sip:strict@p0>".to_vec(), b"<sip:p00;lr>".to_vec()];
        let mut out = Vec::new();
        assert_eq!(d.write_request("BYE", Side::Callee, b"SIP/2.0/UDP us;branch=z9hG4bK1", b"", &mut out), 8);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "BYE sip:bob@192.0.2.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP us;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             Route: <sip:p1;lr>\r\nFrom: <sip:alice@example.com>;tag=alice-tag\r\nTo: <sip:bob@example.com>;tag=bob-tag\r\n\
             Call-ID: abc@host\r\nCSeq: 8 BYE\r\nContent-Length: 0\r\n\r\n"
        );
        let mut out = Vec::new();
        assert_eq!(d.write_request("BYE", Side::Caller, b"v", b"Reason: Q.850;cause=16\r\n", &mut out), 1);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("BYE sip:strict@p0 SIP/2.0\r\n"), "{text}");
        assert!(text.contains("Route: <sip:p00;lr>\r\nRoute: <sip:alice@192.0.2.1:5070>\r\n"), "{text}");
        assert!(text.contains("Reason: Q.850;cause=16\r\nContent-Length: 0\r\n\r\n"));
    }

    /// RFC 3323 §4.1.1.3: who is not named to the callee is not named by our BYE either, also after a restart.
    #[test]
    fn a_hidden_caller_stays_hidden_in_requests_of_ours() {
        let mut d = dialog();
        d.shown = b"<sip:anonymous@anonymous.invalid>;tag=alice-tag".to_vec();
        let mut d: Dialog = serde_json::from_str(&serde_json::to_string(&d).unwrap()).unwrap();
        let written = |d: &mut Dialog, side| {
            let mut out = Vec::new();
            d.write_request("BYE", side, b"v", b"", &mut out);
            String::from_utf8(out).unwrap()
        };
        let to_callee = written(&mut d, Side::Callee);
        assert!(
            to_callee.contains("From: <sip:anonymous@anonymous.invalid>;tag=alice-tag\r\n"),
            "{to_callee}"
        );
        assert!(!to_callee.contains("alice@"), "{to_callee}");
        let to_caller = written(&mut d, Side::Caller);
        assert!(to_caller.contains("To: <sip:alice@example.com>;tag=alice-tag\r\n"), "{to_caller}");
    }

    #[test]
    fn targets_follow_refreshes_in_order_only() {
        let mut d = dialog();
        assert!(d.on_request(Side::Caller, 9, Some(b"sip:new@h")));
        assert!(!d.on_request(Side::Caller, 8, Some(b"sip:old@h")));
        assert_eq!(d.caller.target, b"sip:new@h");
        assert_eq!(d.caller.cseq, 9);
    }

    #[test]
    fn survives_storage() {
        let d = dialog();
        let text = serde_json::to_string(&d).unwrap();
        assert_eq!(serde_json::from_str::<Dialog>(&text).unwrap(), d);
    }
}
