//! A call as a picture: lanes for the parties, an arrow for each message, repetitions named as such.
//!
//! Sides are told by addresses: where the call's INVITE came from, and where its branches led. What can be neither is of no side, and is
//! shown to operators only.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use warp_sip::message::{Kind, Message, Method};

use crate::book::{Held, Talk};
use crate::entry::EndedCall;
use crate::mask::{Mask, mask};

/// Which side of a call a message was exchanged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Whoever began the call.
    Origin,
    /// Whoever was called by it.
    Target,
    /// It cannot be told.
    Unknown,
}

/// A party of the picture. The first lane is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its address; ours is empty, because it may have several.
    pub address: String,
    /// Which side it is of; ours is of none.
    pub side: Side,
}

/// A message of a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrow {
    /// When it travelled, in microseconds since 1970.
    pub at_us: i64,
    /// From which lane, by its index.
    pub from: usize,
    /// To which lane, the same.
    pub to: usize,
    /// Which side it was exchanged with.
    pub side: Side,
    /// What it travelled by: `UDP`, `TCP`, `TLS`, `WS` or `WSS`.
    pub transport: String,
    /// The method of a request; of a response the one that it answers.
    pub method: String,
    /// The status of a response.
    pub status: Option<u16>,
    /// The reason phrase of a response.
    pub reason: String,
    /// The number of CSeq.
    pub cseq: u32,
    /// It has a session description.
    pub sdp: bool,
    /// It repeats this earlier arrow, byte for byte.
    pub repeats: Option<usize>,
    /// Our address, where it was read or sent from.
    pub local: String,
    /// The other side's address.
    pub remote: String,
    /// The text of the message, masked.
    pub text: String,
}

/// Whose call of a Call-ID it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The call's public id, as a number.
    pub id: u128,
    /// The customer, as a number.
    pub customer: Option<u128>,
    /// He is the called side.
    pub inbound: bool,
}

/// The messages of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The Call-ID of SIP.
    pub sip_call_id: String,
    /// The calls with it, on-net one for each side.
    pub owners: Vec<Owner>,
    /// The call is over.
    pub over: bool,
    /// Its beginning is there.
    pub begun: bool,
    /// Messages that were not kept.
    pub missing: u32,
    /// Numbers are masked, and not only secrets.
    pub numbers_masked: bool,
    /// The parties, ours the first.
    pub lanes: Vec<Lane>,
    /// The messages, in the order in which they were seen.
    pub arrows: Vec<Arrow>,
}

/// What a stranger wanted, for whoever asks why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrangerSeen {
    /// Its address and port.
    pub remote: String,
    /// The transport that it came by.
    pub transport: String,
    /// When its last request came, in microseconds since 1970.
    pub at_us: i64,
    /// How many requests of it were seen.
    pub requests: u64,
    /// The method of the last one.
    pub method: String,
    /// The Request-URI of that one.
    pub uri: String,
    /// Whom it said that it was.
    pub from: String,
    /// What it says that it is.
    pub agent: String,
    /// What it was answered; `None`: nothing.
    pub status: Option<u16>,
}

/// Where the two sides of a call are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Where its INVITE came from; the port is 0 when it is not known.
    pub origin: Vec<SocketAddr>,
    /// Where its branches led, the same.
    pub targets: Vec<SocketAddr>,
}

impl Places {
    /// Of calls that ended, whose records have no ports.
    pub fn of_ended(calls: &[EndedCall]) -> Places {
        let at = |ip: &IpAddr| SocketAddr::new(*ip, 0);
        Places {
            origin: calls.iter().map(|c| at(&c.origin)).collect(),
            targets: calls.iter().flat_map(|c| c.targets.iter().map(at)).collect(),
        }
    }

    /// The same with the ports that the INVITEs of the call show.
    fn with_ports(&self, talk: &Talk) -> Places {
        let mut out = Places::default();
        for held in &talk.messages {
            let Ok(msg) = Message::parse(&held.bytes) else { continue };
            if !msg.is_request() || msg.method() != Method::Invite || msg.to_tag().is_some() {
                continue;
            }
            let (own, known) = match held.ingress {
                true => (&mut out.origin, &self.origin),
                false => (&mut out.targets, &self.targets),
            };
            let is = |a: &SocketAddr| {
                same_host(a.ip(), held.remote.ip()) && [0, held.remote.port()].contains(&a.port())
            };
            if known.iter().any(is) && !own.contains(&held.remote) {
                own.push(held.remote);
            }
        }
        out
    }

    fn side(&self, remote: SocketAddr) -> Side {
        let host = |all: &[SocketAddr]| all.iter().any(|a| same_host(a.ip(), remote.ip()));
        match (self.targets.contains(&remote), self.origin.contains(&remote)) {
            // One address for both: what is the vendor's is shown to no customer.
            (true, _) => Side::Target,
            (false, true) => Side::Origin,
            (false, false) => match (host(&self.targets), host(&self.origin)) {
                (true, false) => Side::Target,
                (false, true) => Side::Origin,
                _ => Side::Unknown,
            },
        }
    }
}

fn same_host(a: IpAddr, b: IpAddr) -> bool {
    a.to_canonical() == b.to_canonical()
}

impl Picture {
    /// Draws the messages of a Call-ID. `owners`: whose call it is, when it has not ended.
    pub fn of(talk: &Talk, sip_call_id: &str, places: &Places, owners: Vec<Owner>, how: Mask) -> Picture {
        let ended = talk.ended.iter();
        let ended = ended.map(|c| Owner { id: c.id, customer: c.customer, inbound: c.inbound });
        let owners: Vec<Owner> = if owners.is_empty() { ended.collect() } else { owners };
        let places = places.with_ports(talk);
        // Messages of one shard are in their order; those that came over another one, by their time.
        let mut messages: Vec<&Held> = talk.messages.iter().collect();
        messages.sort_by_key(|held| held.at);
        let mut lanes = vec![Lane { address: String::new(), side: Side::Unknown }];
        let mut arrows: Vec<Arrow> = Vec::new();
        for (index, held) in messages.iter().enumerate() {
            let side = places.side(held.remote);
            let remote = held.remote.to_string();
            let lane = lanes.iter().skip(1).position(|l| l.address == remote).map(|at| at + 1);
            let lane = lane.unwrap_or_else(|| {
                lanes.push(Lane { address: remote.clone(), side });
                lanes.len() - 1
            });
            let earlier = messages.get(..index).unwrap_or_default();
            arrows.push(arrow(held, lane, side, repeated(held, earlier), how));
        }
        Picture {
            sip_call_id: sip_call_id.to_owned(),
            owners,
            over: !talk.ended.is_empty(),
            begun: talk.begun,
            missing: talk.missing,
            numbers_masked: how == Mask::Numbers,
            lanes,
            arrows,
        }
    }
}

fn repeated(held: &Held, earlier: &[&Held]) -> Option<usize> {
    earlier.iter().position(|e| e.ingress == held.ingress && e.remote == held.remote && e.bytes == held.bytes)
}

fn arrow(held: &Held, lane: usize, side: Side, repeats: Option<usize>, how: Mask) -> Arrow {
    let mut bytes = held.bytes.to_vec();
    let parsed = Message::parse(&held.bytes);
    let (method, status, reason, cseq, sdp) = match &parsed {
        Err(_) => (String::new(), None, String::new(), 0, false),
        Ok(msg) => {
            let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (cseq, of) = msg.cseq();
            let (method, status, reason) = match msg.kind() {
                Kind::Request { .. } => (lossy(msg.method_text()), None, String::new()),
                Kind::Response { status, .. } => {
                    (of.token().to_owned(), Some(status), reason_of(&held.bytes))
                }
            };
            (method, status, reason, cseq, msg.sdp().is_some())
        }
    };
    mask(&mut bytes, how);
    Arrow {
        at_us: held.at.0,
        from: if held.ingress { lane } else { 0 },
        to: if held.ingress { 0 } else { lane },
        side,
        transport: held.transport.token().to_owned(),
        method,
        status,
        reason,
        cseq,
        sdp,
        repeats,
        local: held.local.to_string(),
        remote: held.remote.to_string(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// `SIP/2.0 486 Busy Here`: what stands behind the status.
fn reason_of(bytes: &[u8]) -> String {
    let line = bytes.split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line.get(12..).unwrap_or_default()).trim().chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::{head, request, response};
    use crate::book::{Book, Room};

    const PBX: &str = "192.0.2.10:5060";
    const VENDOR: &str = "203.0.113.1:5060";
    const SECOND: &str = "203.0.113.2:5060";

    fn ended(origin: &str, targets: &[&str]) -> EndedCall {
        EndedCall {
            id: 7,
            sip_call_id: "c1".into(),
            well: true,
            failover: false,
            inbound: false,
            customer: Some(1),
            origin: origin.parse().unwrap(),
            targets: targets.iter().map(|t| t.parse().unwrap()).collect(),
        }
    }

    fn drawn(seen: &[(&str, bool, String)], call: EndedCall) -> Picture {
        let mut book = Book::new(Room::default());
        for (i, (remote, ingress, text)) in seen.iter().enumerate() {
            book.message(&head(remote, *ingress, i as i64), text.as_bytes());
        }
        book.ended(call);
        let talk = book.by_id(7).unwrap();
        Picture::of(talk, "c1", &Places::of_ended(&talk.ended), Vec::new(), Mask::Numbers)
    }

    #[test]
    fn each_party_has_a_lane_each_message_an_arrow_and_repetitions_are_named() {
        let invite = || request("INVITE", "c1", 1, "");
        let picture = drawn(
            &[
                (PBX, true, invite()),
                (PBX, false, response("100 Trying", "INVITE", "c1", 1)),
                (VENDOR, false, invite()),
                (VENDOR, true, response("503 Service Unavailable", "INVITE", "c1", 1)),
                (SECOND, false, invite()),
                (SECOND, false, invite()),
                (SECOND, true, response("200 OK", "INVITE", "c1", 1)),
                (PBX, false, response("200 OK", "INVITE", "c1", 1)),
                // A BYE from another port of the same host is the same side's.
                ("192.0.2.10:40000", true, request("BYE", "c1", 2, "bt")),
                ("198.18.0.9:5060", true, request("BYE", "c1", 3, "bt")),
            ],
            ended("192.0.2.10", &["203.0.113.1", "203.0.113.2"]),
        );
        let lanes: Vec<_> = picture.lanes.iter().map(|l| (l.address.as_str(), l.side)).collect();
        assert_eq!(
            lanes,
            [
                ("", Side::Unknown),
                (PBX, Side::Origin),
                (VENDOR, Side::Target),
                (SECOND, Side::Target),
                ("192.0.2.10:40000", Side::Origin),
                ("198.18.0.9:5060", Side::Unknown),
            ]
        );
        let arrows: Vec<_> = picture.arrows.iter().map(|a| (a.from, a.to, a.status, a.repeats)).collect();
        assert_eq!(arrows[0], (1, 0, None, None));
        assert_eq!(arrows[3], (2, 0, Some(503), None));
        assert_eq!(
            (arrows[4].3, arrows[5]),
            (None, (0, 3, None, Some(4))),
            "the same bytes to another vendor are none"
        );
        assert_eq!(
            (picture.arrows[3].reason.as_str(), picture.arrows[3].method.as_str()),
            ("Service Unavailable", "INVITE")
        );
        assert!(picture.arrows[0].text.contains("+1415*****23") && picture.over && picture.begun);
        assert_eq!(picture.owners, [Owner { id: 7, customer: Some(1), inbound: false }]);
    }

    /// Customer and vendor on one host (a laptop): ports tell them apart; the same address for both is the vendor's.
    #[test]
    fn one_host_for_both_sides_is_told_apart_by_ports_and_doubt_is_for_nobody_but_operators() {
        let picture = drawn(
            &[
                ("127.0.0.1:7000", true, request("INVITE", "c1", 1, "")),
                ("127.0.0.1:8000", false, request("INVITE", "c1", 1, "")),
                ("127.0.0.1:8000", true, response("200 OK", "INVITE", "c1", 1)),
                ("127.0.0.1:9000", true, request("BYE", "c1", 2, "bt")),
            ],
            ended("127.0.0.1", &["127.0.0.1"]),
        );
        let sides: Vec<_> = picture.arrows.iter().map(|a| a.side).collect();
        assert_eq!(sides, [Side::Origin, Side::Target, Side::Target, Side::Unknown]);
        let same = drawn(
            &[(PBX, true, request("INVITE", "c1", 1, "")), (PBX, false, request("INVITE", "c1", 1, ""))],
            ended("192.0.2.10", &["192.0.2.10"]),
        );
        assert!(same.arrows.iter().all(|a| a.side == Side::Target));
        // Somebody else used the same Call-ID: he is no side of this call.
        let other = drawn(
            &[
                (PBX, true, request("INVITE", "c1", 1, "")),
                ("192.0.2.99:5060", true, request("INVITE", "c1", 1, "")),
            ],
            ended("192.0.2.10", &[]),
        );
        assert_eq!(other.arrows[1].side, Side::Unknown);
    }
}
