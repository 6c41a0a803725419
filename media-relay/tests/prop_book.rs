//! Any sequence of commands: ports taken = ports of calls in the book, errors change nothing, nothing outlives its call,
//! and the same inputs give the same outputs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use warp_media_relay::core::Output;
use warp_media_relay::core::book::{Book, BookConfig};
use warp_media_relay::core::ports::PortPool;
use warp_model::{Mono, Now, Wall};
use warp_ng::{AttributeEdits, Command, Delete, Query, Reply, SdpCommand};

const SDPS: &[&str] = &[
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\na=rtcp-mux\r\na=sendonly\r\n",
    "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\nm=video 5002 RTP/AVP 99\r\n",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP 99\r\n",
    "v=0\r\no=- 1 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=image 4000 udptl t38\r\n",
    "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n",
    "v=0\r\ns=-\r\nt=0 0\r\n",
    "rubbish",
];

fn word(all: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    select(all).prop_map(|w| w.as_bytes().to_vec())
}

fn sdp_command() -> impl Strategy<Value = SdpCommand> {
    (
        word(&["c1", "c2", "c3"]),
        word(&["f", "t", "u"]),
        option::of(word(&["f", "t", "u"])),
        option::of(word(&["b1", "b2"])),
        word(SDPS),
        option::of(select(&["192.0.2.200", "10.0.0.1"][..])),
        any::<u32>(),
    )
        .prop_map(|(call_id, from_tag, to_tag, via_branch, sdp, source, bits)| {
            let mut c = SdpCommand { to_tag, via_branch, ..SdpCommand::new(call_id, from_tag, sdp) };
            c.received_from = source.and_then(|s| s.parse().ok());
            c.rtcp_mux.demux = bits & 1 != 0;
            c.rtcp_mux.offer = bits & 2 != 0;
            c.replace.sdp_version = bits & 4 != 0;
            c.replace.zero_address = bits & 8 != 0;
            c.flags.reset = bits & 16 != 0;
            c.replace.origin_full = bits & 32 != 0;
            c.replace.username = bits & 64 != 0;
            c.flags.generate_mid = bits & 128 != 0;
            c.flags.loop_protect = bits & 256 != 0;
            c.tos = [None, Some(-1), Some(8), Some(300)][(bits >> 9) as usize % 4];
            if bits & 0x800 != 0 {
                c.media_remove = vec![b"video".to_vec()];
            }
            if bits & 0x1000 != 0 {
                c.codec.mask = vec![b"all".to_vec()];
                c.codec.except = vec![b"PCMA".to_vec()];
            }
            if bits & 0x2000 != 0 {
                c.attributes = vec![AttributeEdits {
                    kind: b"audio".to_vec(),
                    add: vec![b"x".to_vec()],
                    remove: vec![b"rtpmap".to_vec()],
                    ..AttributeEdits::default()
                }];
            }
            if bits & 0x4000 != 0 {
                c.direction = Some((b"203.0.113.9".to_vec(), b"2001:db8::9".to_vec()));
            }
            c
        })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => sdp_command().prop_map(Command::Offer),
        4 => sdp_command().prop_map(|mut c| {
            c.to_tag.get_or_insert(b"t".to_vec());
            Command::Answer(c)
        }),
        2 => (word(&["c1", "c2", "c3", "c9"]), option::of(word(&["f", "t"])), option::of(word(&["b1", "b2"])), option::of(0u64..40))
            .prop_map(|(call_id, from_tag, via_branch, delete_delay)| {
                Command::Delete(Delete { from_tag, via_branch, delete_delay, ..Delete::call(call_id) })
            }),
        1 => word(&["c1", "c2"]).prop_map(|call_id| Command::Query(Query { call_id, ..Query::default() })),
        1 => Just(Command::List { limit: 2 }),
    ]
}

fn book(seed: u64) -> Book {
    let ips: [IpAddr; 2] = ["203.0.113.9".parse().unwrap(), "2001:db8::9".parse().unwrap()];
    // 12 pairs on each address: running out is part of the test.
    let pool = PortPool::new(&ips, 30_000..=30_023, seed).unwrap();
    let config = BookConfig {
        shards: 3,
        max_calls: 2,
        max_ports_per_call: 16,
        media_timeout: Duration::from_secs(20),
        ..BookConfig::default()
    };
    Book::new(config, Box::new(pool))
}

fn now(s: u64) -> Now {
    Now { mono: Mono(s * 1_000_000_000), wall: Wall(s as i64 * 1_000_000) }
}

fn used(book: &Book) -> usize {
    book.ports().usage(0).0 + book.ports().usage(1).0
}

proptest! {
    #[test]
    fn ports_taken_are_ports_in_use(steps in vec((command(), 0u64..15), 1..60), seed: u64) {
        let (mut book, mut twin) = (book(seed), book(seed));
        let mut kinds = 0i64;
        let mut open: BTreeSet<(u8, u16)> = BTreeSet::new();
        let mut s = 0;
        for (command, later) in steps {
            s += later;
            for book in [&mut book, &mut twin] {
                book.handle_timeout(now(s));
                book.handle_samples(now(s));
            }
            let before = (book.pairs_used(), book.calls());
            let reply = book.handle_command(command.clone(), None, now(s));
            prop_assert_eq!(&reply, &twin.handle_command(command, None, now(s)));
            if !reply.is_ok() {
                prop_assert_eq!((book.pairs_used(), book.calls()), before, "an error took something");
            }
            prop_assert_eq!(book.pairs_used(), used(&book));
            prop_assert!(book.calls() <= 2);
            while let Some(output) = book.poll_output() {
                prop_assert_eq!(format!("{output:?}"), format!("{:?}", twin.poll_output().unwrap()));
                match output {
                    Output::Install { rule, .. } => {
                        open.insert((rule.local.ip, rule.local.port));
                        for to in [rule.rtp, rule.rtcp].into_iter().flatten().filter_map(|e| e.to) {
                            prop_assert!(!to.ip().is_loopback() && !to.ip().is_unspecified());
                        }
                    }
                    Output::Close { port, .. } => {
                        open.remove(&(port.ip, port.port));
                    }
                    Output::StreamKind { from, to } => {
                        kinds += i64::from(to.is_some()) - i64::from(from.is_some());
                        prop_assert!(kinds >= 0, "a stream ended that had not begun");
                    }
                    Output::TimedOut { .. }
                    | Output::StreamEnded(_)
                    | Output::Mark { .. }
                    | Output::Record(_)
                    | Output::CallEnded { .. } => {}
                }
            }
            prop_assert!(twin.poll_output().is_none());
            prop_assert!(open.len() <= 2 * book.pairs_used(), "a rule outlived its ports");
            prop_assert!(book.poll_timeout().is_none_or(|at| at > now(s).mono) || book.calls() > 0);
        }
        for call in ["c1", "c2", "c3"] {
            book.handle_command(Command::Delete(Delete::call(call)), None, now(s));
        }
        prop_assert_eq!((book.calls(), book.pairs_used(), used(&book)), (0, 0, 0));
        prop_assert_eq!(book.poll_timeout(), None);
        while let Some(output) = book.poll_output() {
            if let Output::StreamKind { from, to } = output {
                kinds += i64::from(to.is_some()) - i64::from(from.is_some());
            }
        }
        prop_assert_eq!(kinds, 0, "streams that never ended");
    }
}

/// A reply is never larger than a datagram, even for the largest call that the limits allow.
#[test]
fn t_ng_04_the_largest_call_fits_in_one_reply() {
    for (branches, sources) in [(4, 5), (7, 8), (15, 16), (16, 0), (64, 0)] {
        largest(branches, sources);
    }
}

/// A call of so many branches whose reply tells of so many sources.
fn largest(branches: usize, sources: usize) {
    let pool = PortPool::new(&["203.0.113.9".parse().unwrap()], 30_000..=30_999, 1).unwrap();
    let mut book = Book::new(BookConfig::default(), Box::new(pool));
    for i in 0..branches {
        let mut c = SdpCommand::new("call-id-of-some-length@203.0.113.200", "from-tag-0123456789", SDPS[0]);
        c.via_branch = Some(format!("z9hG4bK-0123456789-{i}").into_bytes());
        assert!(book.handle_command(Command::Offer(c.clone()), None, now(1)).is_ok());
        c.to_tag = Some(format!("to-tag-0123456789-{i}").into_bytes());
        assert!(book.handle_command(Command::Answer(c), None, now(1)).is_ok());
    }
    // Each side has been heard, well and badly, for a long time.
    let mut source = u32::MAX;
    while let Some(output) = book.poll_output() {
        if let Output::Install { rule, .. } = output {
            source -= 1;
            rule.counters.ssrc.store(source, Relaxed);
            rule.counters.packets.store(1 << 40, Relaxed);
            rule.counters.rtcp_packets.store(1 << 40, Relaxed);
            for (expected, received) in [(500, 500), (1_000, 600), (1_500, 1_100)] {
                rule.counters.expected.store(expected, Relaxed);
                rule.counters.received.store(received, Relaxed);
            }
        }
    }
    book.handle_samples(now(20));
    let query = Query { call_id: b"call-id-of-some-length@203.0.113.200".to_vec(), ..Query::default() };
    let Reply::Stats(stats) = book.handle_command(Command::Query(query), None, now(2)) else { panic!() };
    assert_eq!(stats.ssrcs.len(), sources);
    let mut out = Vec::new();
    warp_ng::codec::encode_reply(
        b"c",
        warp_ng::Encoding::Bencode,
        false,
        &Reply::Stats(stats.clone()),
        &mut out,
    );
    assert!(out.len() < 65_507, "{} bytes", out.len());
    // And it is read back by the decoder's own limits.
    assert!(warp_ng::codec::decode_reply(&out).is_ok());
}
