//! Which message belongs to which call: messages by Call-ID, as many as fit, the least recently touched go first.
//!
//! Two shelves, so that what is no call drives out none: calls (an INVITE of a known peer, and what follows it) and strangers (the last
//! requests of each address that has no account here, and what it was answered). Requests of known peers that are no part of a call
//! (OPTIONS, REGISTER) are not kept.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use warp_model::Wall;
use warp_sip::flow::Transport;
use warp_sip::message::{Kind, Message, Method};

use crate::entry::{EndedCall, Head};

/// How much is held at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes of all messages of calls.
    pub bytes: usize,
    /// Bytes of the messages of one call; of those after, only that they were is kept.
    pub call_bytes: usize,
    /// Messages of one call.
    pub call_messages: usize,
    /// Strangers' addresses that are remembered.
    pub strangers: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room { bytes: 64 << 20, call_bytes: 256 << 10, call_messages: 200, strangers: 1_000 }
    }
}

/// A message that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// When it was read, or given to the socket.
    pub at: Wall,
    /// It came to us.
    pub ingress: bool,
    /// What it travelled by.
    pub transport: Transport,
    /// The address of ours.
    pub local: SocketAddr,
    /// The address of the other side.
    pub remote: SocketAddr,
    /// Its bytes as they travelled.
    pub bytes: Box<[u8]>,
}

/// The messages of one Call-ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Talk {
    /// In the order in which they were seen.
    pub messages: Vec<Held>,
    /// Messages that were not kept, because there were too many or they were too large.
    pub missing: u32,
    /// The first one that is held began the call; else its beginning was given up.
    pub begun: bool,
    /// The calls that ended with this Call-ID: two when both sides are customers.
    pub ended: Vec<EndedCall>,
    bytes: usize,
    touched: Touch,
}

/// In which order calls go: those that are over first, then by when they were touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Touch {
    in_the_air: bool,
    at: u64,
}

/// What a stranger wanted last, and what it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The address that it came from.
    pub remote: SocketAddr,
    /// The transport that it came by.
    pub transport: Transport,
    /// When its last request came.
    pub at: Wall,
    /// How many requests of it were seen.
    pub requests: u64,
    /// The method of the last one.
    pub method: String,
    /// The Request-URI of that one.
    pub uri: String,
    /// Whom it said that it was (From).
    pub from: String,
    /// What it says that it is (User-Agent); empty: it says nothing.
    pub agent: String,
    /// What it was answered; `None`: nothing.
    pub status: Option<u16>,
}

/// All that is held.
#[derive(Debug, Default)]
pub struct Book {
    room: Room,
    talks: HashMap<Box<[u8]>, Talk>,
    by_touch: BTreeMap<Touch, Box<[u8]>>,
    by_id: HashMap<u128, Box<[u8]>>,
    bytes: usize,
    next_touch: u64,
    /// Calls whose messages were given up for room.
    pub given_up: u64,
    strangers: HashMap<IpAddr, Refusal>,
    strangers_by_age: BTreeMap<(Wall, IpAddr), ()>,
}

impl Book {
    /// A book without any message.
    pub fn new(room: Room) -> Book {
        Book { room, ..Book::default() }
    }

    /// A message was seen.
    pub fn message(&mut self, head: &Head, bytes: &[u8]) {
        let Ok(msg) = Message::parse(bytes) else { return };
        if head.stranger {
            self.stranger(head, &msg);
            return;
        }
        let method = msg.method_of_cseq();
        if matches!(method, Method::Options | Method::Register) {
            return;
        }
        let key: Box<[u8]> = msg.call_id().into();
        let known = self.talks.contains_key(&key);
        let begins = method == Method::Invite && msg.is_request() && msg.to_tag().is_none();
        // What no INVITE came before: of a call whose beginning was given up, or no call at all.
        if !known && !begins && matches!(method, Method::Message | Method::Subscribe | Method::Publish) {
            return;
        }
        self.next_touch += 1;
        let touch = Touch { in_the_air: true, at: self.next_touch };
        let talk = self.talks.entry(key.clone()).or_default();
        self.by_touch.remove(&talk.touched);
        self.by_touch.insert(touch, key);
        talk.touched = touch;
        talk.begun |= begins && talk.messages.is_empty();
        let fits = talk.messages.len() < self.room.call_messages
            && talk.bytes.saturating_add(bytes.len()) <= self.room.call_bytes;
        if !fits {
            talk.missing = talk.missing.saturating_add(1);
            return;
        }
        let Head { at, ingress, transport, local, remote, .. } = *head;
        talk.messages.push(Held { at, ingress, transport, local, remote, bytes: bytes.into() });
        talk.bytes += bytes.len();
        self.bytes += bytes.len();
        while self.bytes > self.room.bytes && self.talks.len() > 1 {
            let Some((_, oldest)) = self.by_touch.pop_first() else { return };
            self.given_up += 1;
            self.drop_talk(&oldest);
        }
    }

    fn drop_talk(&mut self, key: &[u8]) -> Option<Talk> {
        let talk = self.talks.remove(key)?;
        self.by_touch.remove(&talk.touched);
        self.bytes = self.bytes.saturating_sub(talk.bytes);
        for call in &talk.ended {
            self.by_id.remove(&call.id);
        }
        Some(talk)
    }

    fn stranger(&mut self, head: &Head, msg: &Message<'_>) {
        let ip = head.remote.ip();
        let text = |bytes: &[u8]| -> String {
            let shown = bytes.get(..bytes.len().min(256)).unwrap_or_default();
            String::from_utf8_lossy(shown).chars().filter(|c| !c.is_control()).collect()
        };
        match msg.kind() {
            Kind::Response { status, .. } => {
                // The final one, or a challenge; 100 says nothing.
                if let Some(seen) = self.strangers.get_mut(&ip).filter(|_| !head.ingress && status >= 200) {
                    seen.status = Some(status);
                }
            }
            Kind::Request { .. } if head.ingress && msg.method() != Method::Ack => {
                let before = self.strangers.remove(&ip);
                if let Some(before) = &before {
                    self.strangers_by_age.remove(&(before.at, ip));
                }
                let seen = Refusal {
                    remote: head.remote,
                    transport: head.transport,
                    at: head.at,
                    requests: before.map_or(0, |b| b.requests).saturating_add(1),
                    method: text(msg.method_text()),
                    uri: text(msg.request_uri().unwrap_or_default()),
                    from: text(msg.from().uri),
                    agent: text(msg.header_named(b"User-Agent").unwrap_or_default()),
                    status: None,
                };
                self.strangers_by_age.insert((seen.at, ip), ());
                self.strangers.insert(ip, seen);
                while self.strangers.len() > self.room.strangers {
                    let Some(((_, oldest), ())) = self.strangers_by_age.pop_first() else { return };
                    self.strangers.remove(&oldest);
                }
            }
            Kind::Request { .. } => {}
        }
    }

    /// A call ended; false: none of its messages is held.
    pub fn ended(&mut self, call: EndedCall) -> bool {
        let key = call.sip_call_id.as_bytes();
        let Some(talk) = self.talks.get_mut(key) else { return false };
        // A few at the most: forks below a PBX share a Call-ID.
        if talk.ended.len() < 64 {
            self.by_id.insert(call.id, key.into());
            talk.ended.push(call);
        }
        true
    }

    /// The messages of a Call-ID.
    pub fn by_call_id(&self, call_id: &[u8]) -> Option<&Talk> {
        self.talks.get(call_id)
    }

    /// The messages of a call that ended a moment ago.
    pub fn by_id(&self, id: u128) -> Option<&Talk> {
        self.talks.get(self.by_id.get(&id)?)
    }

    /// It is over: of all calls those that are over make room first.
    pub fn is_over(&mut self, call_id: &[u8]) {
        let Some(talk) = self.talks.get_mut(call_id) else { return };
        let Some(key) = self.by_touch.remove(&talk.touched) else { return };
        talk.touched.in_the_air = false;
        self.by_touch.insert(talk.touched, key);
    }

    /// They are kept elsewhere, or not at all.
    pub fn forget(&mut self, call_id: &[u8]) -> Option<Talk> {
        self.drop_talk(call_id)
    }

    /// What this address wanted, when it is a stranger's.
    pub fn stranger_at(&self, ip: IpAddr) -> Option<&Refusal> {
        self.strangers.get(&ip)
    }

    /// Strangers that came last, the last first.
    pub fn strangers(&self, most: usize) -> impl Iterator<Item = &Refusal> {
        self.strangers_by_age.keys().rev().take(most).filter_map(|(_, ip)| self.strangers.get(ip))
    }

    /// Bytes of the messages that are held, and how many calls they are of.
    pub fn held(&self) -> (usize, usize) {
        (self.bytes, self.talks.len())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn head(remote: &str, ingress: bool, at: i64) -> Head {
        Head {
            at: Wall(at),
            ingress,
            stranger: false,
            transport: Transport::Udp,
            local: "198.51.100.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    pub(crate) fn request(method: &str, call: &str, cseq: u32, to_tag: &str) -> String {
        let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        format!(
            "{method} sip:+14155550123@198.51.100.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{method}{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+12025550100@192.0.2.10>;tag=at\r\nTo: <sip:+14155550123@198.51.100.1>{tag}\r\n\
             Call-ID: {call}\r\nCSeq: {cseq} {method}\r\nUser-Agent: pbx/1\r\nContent-Length: 0\r\n\r\n"
        )
    }

    pub(crate) fn response(status: &str, method: &str, call: &str, cseq: u32) -> String {
        format!(
            "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{method}{cseq}\r\n\
             From: <sip:+12025550100@192.0.2.10>;tag=at\r\nTo: <sip:+14155550123@198.51.100.1>;tag=bt\r\n\
             Call-ID: {call}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
        )
    }

    #[test]
    fn messages_come_to_their_call_and_what_is_no_call_is_not_kept() {
        let mut book = Book::new(Room::default());
        let pbx = head("192.0.2.10:5060", true, 1);
        book.message(&pbx, request("INVITE", "c1", 1, "").as_bytes());
        book.message(&head("192.0.2.10:5060", false, 2), response("200 OK", "INVITE", "c1", 1).as_bytes());
        for method in ["OPTIONS", "REGISTER", "MESSAGE", "SUBSCRIBE"] {
            book.message(&pbx, request(method, method, 1, "").as_bytes());
        }
        book.message(&pbx, b"not SIP at all");
        assert_eq!(book.held().1, 1);
        let talk = book.by_call_id(b"c1").unwrap();
        assert_eq!((talk.messages.len(), talk.begun, talk.missing), (2, true, 0));
        // Of a call whose beginning was given up, what comes is kept, and said to be a part.
        book.message(&pbx, request("BYE", "c2", 2, "bt").as_bytes());
        assert!(!book.by_call_id(b"c2").unwrap().begun);
    }

    #[test]
    fn the_least_recently_touched_call_goes_first_and_one_call_cannot_take_all() {
        let room = Room { bytes: 1_700, call_bytes: 900, call_messages: 5, strangers: 2 };
        let mut book = Book::new(room);
        for (i, call) in ["a", "b", "c", "d", "a", "e", "f"].iter().enumerate() {
            let text = request("INVITE", call, 1, "");
            assert!((260..280).contains(&text.len()), "{}", text.len());
            book.message(&head("192.0.2.10:5060", true, i as i64), text.as_bytes());
        }
        assert_eq!(book.given_up, 1);
        assert!(book.by_call_id(b"b").is_none(), "a was touched after it");
        assert_eq!(book.by_call_id(b"a").unwrap().messages.len(), 2);
        for _ in 0..20 {
            book.message(&head("192.0.2.10:5060", true, 9), request("INVITE", "a", 1, "").as_bytes());
        }
        let talk = book.by_call_id(b"a").unwrap();
        assert_eq!((talk.messages.len(), talk.missing), (3, 19));
        // One that is over goes before those in the air, however lately it was touched.
        book.is_over(b"a");
        book.message(&head("192.0.2.10:5060", true, 10), request("INVITE", "g", 1, "").as_bytes());
        assert!(book.by_call_id(b"a").is_none() && book.by_call_id(b"f").is_some());
        assert!(book.held().0 <= 1_700);
    }

    #[test]
    fn a_stranger_is_remembered_with_what_it_wanted_and_was_answered_and_drives_out_no_call() {
        let mut book = Book::new(Room { strangers: 2, ..Room::default() });
        book.message(&head("192.0.2.10:5060", true, 1), request("INVITE", "c1", 1, "").as_bytes());
        let from = |ip: &str, at| Head { stranger: true, ..head(ip, true, at) };
        let to = |ip: &str, at| Head { stranger: true, ..head(ip, false, at) };
        book.message(&from("203.0.113.5:5060", 2), request("INVITE", "s1", 1, "").as_bytes());
        book.message(&to("203.0.113.5:5060", 3), response("100 Trying", "INVITE", "s1", 1).as_bytes());
        book.message(&to("203.0.113.5:5060", 3), response("403 Forbidden", "INVITE", "s1", 1).as_bytes());
        book.message(&from("203.0.113.5:5060", 4), request("ACK", "s1", 1, "bt").as_bytes());
        let seen = book.stranger_at("203.0.113.5".parse().unwrap()).unwrap();
        assert_eq!((seen.status, seen.requests, seen.method.as_str()), (Some(403), 1, "INVITE"));
        assert_eq!((seen.agent.as_str(), seen.from.as_str()), ("pbx/1", "sip:+12025550100@192.0.2.10"));
        for n in 0..50 {
            book.message(
                &from(&format!("203.0.113.{n}:9"), 10 + i64::from(n)),
                request("INVITE", "x", 1, "").as_bytes(),
            );
        }
        let last: Vec<_> = book.strangers(9).map(|s| s.remote.to_string()).collect();
        assert_eq!(last, ["203.0.113.49:9", "203.0.113.48:9"]);
        assert_eq!(book.held().1, 1, "the call is still there");
    }

    #[test]
    fn a_call_that_ended_is_found_by_its_id_until_it_is_forgotten() {
        let mut book = Book::new(Room::default());
        book.message(&head("192.0.2.10:5060", true, 1), request("INVITE", "c1", 1, "").as_bytes());
        let call = EndedCall {
            id: 7,
            sip_call_id: "c1".into(),
            well: true,
            failover: false,
            inbound: false,
            customer: None,
            origin: "192.0.2.10".parse().unwrap(),
            targets: vec![],
        };
        assert!(!book.ended(EndedCall { sip_call_id: "c9".into(), ..call.clone() }));
        assert!(book.ended(call) && book.by_id(7).is_some());
        assert_eq!(book.forget(b"c1").map(|t| t.messages.len()), Some(1));
        assert!(book.by_id(7).is_none() && book.held() == (0, 0));
    }
}
