//! Datagrams and SDPs damaged at random, from the bytes of the wire to the rules of the packet path (T-NG-02, T-NG-06);
//! and changes of media within a call.

use std::net::IpAddr;

use warp_media::{Carries, SourcePolicy};
use warp_media_relay::core::Output;
use warp_media_relay::core::book::{Book, BookConfig};
use warp_media_relay::core::ports::PortPool;
use warp_model::{Mono, Now, Wall};
use warp_ng::codec::{decode_reply, decode_request, encode_reply, encode_request};
use warp_ng::{Command, Delete, Encoding, NgError, Reply, SdpCommand};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\na=group:BUNDLE 1 2\r\nm=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:4001 IN IP4 198.51.100.1\r\na=rtcp-mux\r\na=ptime:20\r\nm=video 4002 RTP/AVP 99\r\nc=IN IP4 10.0.0.9\r\na=rtpmap:99 H264/90000\r\n";
const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\na=sendrecv\r\nm=video 0 RTP/AVP 99\r\n";

fn ip(t: &str) -> IpAddr {
    t.parse().unwrap()
}

fn now(s: u64) -> Now {
    Now { mono: Mono(s * 1_000_000_000), wall: Wall(s as i64 * 1_000_000) }
}

fn book() -> Book {
    let pool = PortPool::new(&[ip("203.0.113.9"), ip("2001:db8::9")], 30_000..=30_999, 5).unwrap();
    Book::new(BookConfig { max_calls: 50, ..BookConfig::default() }, Box::new(pool))
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
    }

    fn damage(&mut self, data: &mut Vec<u8>) {
        let at = self.below(data.len());
        match self.below(5) {
            0 => data[at] = self.below(256) as u8,
            1 => drop(data.remove(at)),
            2 => data.insert(at, b"\r\n =:/0123456789mcaIP-"[self.below(22)]),
            3 => data.truncate(at.max(1)),
            _ => {
                let piece = data[at..(at + self.below(40)).min(data.len())].to_vec();
                data.extend(piece);
            }
        }
    }
}

/// Every rule that comes out obeys T-NG-06, whatever went in.
fn check_outputs(book: &mut Book) -> usize {
    let mut rules = 0;
    while let Some(output) = book.poll_output() {
        let Output::Install { rule, .. } = output else { continue };
        rules += 1;
        let targets = [rule.rtp, rule.rtcp].into_iter().flatten().filter_map(|e| e.to);
        let exact = match rule.source {
            SourcePolicy::Exact(at) => Some(at),
            _ => None,
        };
        for at in targets.chain(exact) {
            let ip = at.ip();
            assert!(!ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified(), "{rule:?}");
            assert!(at.port() != 0, "{rule:?}");
        }
    }
    rules
}

#[test]
fn t_ng_06_damaged_sdp_never_breaks_the_book_or_its_rules() {
    let mut random = Random(0x5D9_0001);
    let mut book = book();
    let (mut taken, mut refused) = (0, 0);
    for i in 0..6_000u64 {
        let (mut offer, mut answer) = (OFFER.as_bytes().to_vec(), ANSWER.as_bytes().to_vec());
        for _ in 0..random.below(3) {
            random.damage(&mut offer);
        }
        for _ in 0..random.below(3) {
            random.damage(&mut answer);
        }
        let id = format!("c{}", i % 60);
        let mut o = SdpCommand::new(id.clone(), "f", offer);
        o.received_from = Some(ip("198.51.100.77"));
        let mut a = SdpCommand::new(id.clone(), "f", answer);
        a.to_tag = Some(b"t".to_vec());
        for command in [Command::Offer(o), Command::Answer(a)] {
            match book.handle_command(command, None, now(i)) {
                // What we send on must be readable by the other side.
                Reply::Sdp { sdp, .. } => {
                    taken += 1;
                    if sdp.len() <= warp_model::limits::SDP_BYTES {
                        assert!(warp_sdp::Sdp::parse(&sdp).is_ok(), "{}", String::from_utf8_lossy(&sdp));
                    }
                }
                _ => refused += 1,
            }
            check_outputs(&mut book);
        }
        if i % 3 == 0 {
            book.handle_command(Command::Delete(Delete::call(id)), None, now(i));
        }
        book.handle_timeout(now(i));
        assert_eq!(book.pairs_used(), book.ports().usage(0).0 + book.ports().usage(1).0);
    }
    assert!(taken > 1_000 && refused > 1_000, "{taken} taken, {refused} refused: the damage proves little");
    for i in 0..60 {
        book.handle_command(Command::Delete(Delete::call(format!("c{i}"))), None, now(9_999));
    }
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
}

#[test]
fn t_ng_02_damaged_datagrams_get_an_answer_and_the_next_one_is_served() {
    let mut random = Random(0x00DA_7A97);
    let mut book = book();
    let mut whole = Vec::new();
    let command = Command::Offer(SdpCommand::new("call", "f", OFFER));
    encode_request(b"cookie", Encoding::Bencode, true, &command, &mut whole);
    for i in 0..6_000u64 {
        let mut document = whole[7..].to_vec();
        for _ in 0..=random.below(2) {
            random.damage(&mut document);
        }
        let datagram = [b"cookie ".to_vec(), document].concat();
        let mut out = Vec::new();
        match decode_request(&datagram) {
            Ok(request) => {
                let reply = book.handle_command(request.command, None, now(i));
                encode_reply(request.cookie, request.encoding, request.load_limit, &reply, &mut out);
            }
            Err(NgError::Bad { cookie, encoding, reason }) => {
                encode_reply(cookie, encoding, false, &Reply::error(reason), &mut out);
            }
            Err(NgError::NoCookie) => panic!("the cookie was not touched"),
        }
        assert!(decode_reply(&out).is_ok_and(|(cookie, _)| cookie == b"cookie"));
        check_outputs(&mut book);
        assert_eq!(book.handle_command(Command::Ping, None, now(i)), Reply::Pong);
    }
}

#[test]
fn a_call_turns_from_audio_to_fax_and_back() {
    let mut book = book();
    let body = |at: &str, media: &str| {
        format!("v=0\r\no=- 1 1 IN IP4 {at}\r\ns=-\r\nc=IN IP4 {at}\r\nt=0 0\r\n{media}\r\n")
    };
    let mut exchange = |media: [&str; 2], again: bool| {
        let mut o = SdpCommand::new("c", "f", body("198.51.100.1", media[0]));
        o.to_tag = again.then(|| b"t".to_vec());
        let Reply::Sdp { sdp, .. } = book.handle_command(Command::Offer(o), None, now(1)) else { panic!() };
        let mut a = SdpCommand::new("c", "f", body("192.0.2.2", media[1]));
        a.to_tag = Some(b"t".to_vec());
        assert!(book.handle_command(Command::Answer(a), None, now(1)).is_ok());
        let mut carries = Vec::new();
        while let Some(output) = book.poll_output() {
            if let Output::Install { rule, .. } = output
                && rule.source != SourcePolicy::Nobody
            {
                carries.push(rule.carries);
            }
        }
        (String::from_utf8(sdp).unwrap(), carries.pop().unwrap(), book.pairs_used())
    };
    let audio = ["m=audio 4000 RTP/AVP 0", "m=audio 5000 RTP/AVP 0"];
    let fax = ["m=image 4000 udptl t38", "m=image 5000 udptl t38"];
    assert_eq!(exchange(audio, false).1, Carries::Rtcp);
    let (sdp, carries, pairs) = exchange(fax, true);
    assert!(sdp.contains(" udptl t38\r\n") && !sdp.contains("a=rtcp"), "{sdp}");
    assert_eq!((carries, pairs), (Carries::Raw, 2));
    assert_eq!(exchange(audio, true).1, Carries::Rtcp);
}

/// A datagram to the reply, and what it took: at most 64 bytes for each of its own, and 64 KiB.
fn cost(book: &mut Book, datagram: &[u8]) {
    let used = allocation_counter::measure(|| {
        if let Ok(request) = decode_request(datagram) {
            let reply = book.handle_command(request.command, None, now(1));
            let mut out = Vec::new();
            encode_reply(request.cookie, request.encoding, true, &reply, &mut out);
        }
        while book.poll_output().is_some() {}
    });
    let limit = datagram.len() as u64 * 64 + 65_536;
    assert!(used.bytes_max <= limit, "{} bytes took {}", datagram.len(), used.bytes_max);
}

#[test]
fn t_ng_06_an_offer_costs_no_more_than_its_size_allows() {
    let of = |sdp: &[u8], change: &dyn Fn(&mut SdpCommand)| {
        let mut c = SdpCommand::new("c", "f", sdp);
        change(&mut c);
        let mut datagram = Vec::new();
        encode_request(b"k", Encoding::Bencode, true, &Command::Offer(c), &mut datagram);
        datagram
    };
    let mut random = Random(0xA110C);
    for _ in 0..2_000 {
        let mut sdp = OFFER.as_bytes().to_vec();
        for _ in 0..=random.below(3) {
            random.damage(&mut sdp);
        }
        cost(&mut book(), &of(&sdp, &|c| c.replace.sdp_version = true));
    }
    // As many sections, formats, attributes, codec names and edits as fit.
    let head = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n";
    let formats: String = (64..128).map(|n| format!(" {n}")).collect();
    let maps: String = (64..128).map(|n| format!("a=rtpmap:{n} x/8000\r\n")).collect();
    let sections: String =
        (0..8).map(|i| format!("m=audio {} RTP/AVP{formats}\r\n{maps}", 4_000 + 2 * i)).collect();
    let names: Vec<Vec<u8>> = (0..64).map(|i| format!("name{i}/8000/1").into_bytes()).collect();
    let values: Vec<Vec<u8>> = (0..64).map(|i| format!("value:{i}").into_bytes()).collect();
    let full = of(format!("{head}{sections}").as_bytes(), &|c| {
        (c.replace.sdp_version, c.replace.origin_full, c.flags.generate_mid) = (true, true, true);
        (c.codec.strip, c.codec.mask, c.codec.except) = (names.clone(), names.clone(), names.clone());
        let edit = |kind: &str| warp_ng::AttributeEdits {
            kind: kind.into(),
            add: values.clone(),
            remove: values.clone(),
            substitute: Vec::new(),
        };
        c.attributes = vec![edit(""), edit("audio")];
    });
    let mut all = book();
    cost(&mut all, &full);
    assert_eq!((all.calls(), all.pairs_used()), (1, 16), "it was taken");
}

#[test]
fn t_ng_06_two_calls_never_send_in_a_circle() {
    let mut b = book();
    let sdp = |at: &str, port: u16, more: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 {at}\r\ns=-\r\nc=IN IP4 {at}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n{more}"
        )
    };
    let us = "203.0.113.9";
    let mut say = |call: &str, offer: bool, [from, to]: [&str; 2], sdp: String| {
        let mut c = SdpCommand::new(call, from, sdp);
        c.to_tag = Some(to.into()).filter(|t: &Vec<u8>| !t.is_empty());
        let command = if offer { Command::Offer(c) } else { Command::Answer(c) };
        match b.handle_command(command, None, now(1)) {
            Reply::Sdp { sdp, .. } => {
                let text = String::from_utf8(sdp).unwrap();
                Ok(text.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().parse::<u16>().unwrap())
            }
            other => Err(other),
        }
    };
    // The first call's callee is the second call's caller port: a call that comes through us twice.
    say("one", true, ["a", ""], sdp("198.51.100.1", 4_000, "")).unwrap();
    say("two", true, ["c", ""], sdp("198.51.100.3", 4_000, "")).unwrap();
    let second = say("two", false, ["c", "d"], sdp("192.0.2.4", 5_000, "")).unwrap();
    let first = say("one", false, ["a", "b"], sdp(us, second, "")).unwrap();
    // Now the second call's callee would be the first call's caller port, as a whole or by its RTCP only.
    let refused = Err(Reply::error("Failed to parse SDP: media would come back to where it came from"));
    assert_eq!(say("two", true, ["d", "c"], sdp(us, first, "")), refused);
    let rtcp = format!("a=rtcp:{} IN IP4 {us}\r\n", first + 1);
    assert_eq!(say("two", true, ["d", "c"], sdp("192.0.2.4", 5_000, &rtcp)), refused);
    // A phone is no circle, and the call goes on.
    assert!(say("two", true, ["d", "c"], sdp("192.0.2.4", 5_002, "")).is_ok());
    assert!(say("two", false, ["d", "c"], sdp("198.51.100.3", 4_000, "")).is_ok());
    // As an answer, of a third call in a row.
    say("three", true, ["e", ""], sdp("198.51.100.5", 4_000, "")).unwrap();
    let third = say("three", false, ["e", "f"], sdp(us, first, "")).unwrap();
    assert_eq!(say("two", true, ["d", "c"], sdp(us, third, "")), refused, "two, three, one, two");
}
