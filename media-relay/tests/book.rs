//! The call book end to end: ng commands in, exact SDP and outputs out (`ref/ng-protocol.md` §3–§5, T-RTP and T-NG ids).

mod desk;

use std::net::SocketAddr;
use std::time::Duration;

use desk::*;
use warp_media::{Carries, SourcePolicy};
use warp_media_relay::core::book::{Book, BookConfig};
use warp_media_relay::core::ports::PortPool;
use warp_model::Wall;
use warp_ng::{AddressFamily, Command, Delete, Query, Reply, SdpCommand, Transport};

#[test]
fn offer_answer_delete_with_exact_sdp() {
    let (mut book, mut rules) = (book(), Rules::default());
    let mut o = offer(
        "c1",
        "f",
        sdp(
            "198.51.100.1",
            4000,
            "a=ptime:20\r\na=candidate:1 1 UDP 1 10.0.0.1 9 typ host\r\na=sendrecv\r\na=x:y\r\n",
        ),
    );
    o.replace.origin = true;
    let to_callee = text(run(&mut book, Command::Offer(o), at(0)));
    let b = port(&to_callee);
    assert_eq!(
        to_callee,
        format!(
            "v=0\r\no=- 1 1 IN IP4 203.0.113.9\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\nm=audio {b} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\na=x:y\r\na=rtcp:{}\r\n",
            b + 1
        )
    );
    rules.drain(&mut book);
    assert!(!rules.has(b), "nobody may send before the answer");
    let to_caller =
        text(run(&mut book, Command::Answer(answer("c1", "f", "t", sdp("192.0.2.2", 5000, ""))), at(1)));
    let a = port(&to_caller);
    assert_eq!(
        to_caller,
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\nm=audio {a} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:{}\r\n",
            a + 1
        )
    );
    rules.drain(&mut book);
    let from_caller = rules.at(a);
    assert_eq!(from_caller.source, SourcePolicy::Exact(sock("198.51.100.1:4000")));
    assert_eq!(from_caller.rtp.unwrap().to, Some(sock("192.0.2.2:5000")));
    assert_eq!(from_caller.rtp.unwrap().port.port, b);
    assert_eq!(from_caller.max_packets_per_s, 200);
    assert_eq!(from_caller.clocks.hz(101), 8_000);
    let rtcp = rules.at(b + 1);
    assert_eq!(rtcp.carries, Carries::Rtcp);
    assert_eq!(rtcp.source, SourcePolicy::Exact(sock("192.0.2.2:5001")));
    assert_eq!(rtcp.rtcp.unwrap().to, Some(sock("198.51.100.1:4001")));
    // An echo: one SSRC on both sides, but the losses are those of each direction.
    for (port, received) in [(a, 90), (b, 100)] {
        let c = &rules.at(port).counters;
        for (counter, value) in [(&c.packets, received), (&c.received, received), (&c.expected, 100)] {
            counter.store(value, std::sync::atomic::Ordering::Relaxed);
        }
    }
    assert_eq!((book.calls(), book.pairs_used()), (1, 2));
    assert_eq!(run(&mut book, Command::List { limit: 9 }, at(2)), Reply::Calls(vec![b"c1".to_vec()]));

    let end = Delete { from_tag: Some("f".into()), delete_delay: Some(0), ..Delete::call("c1") };
    let figures = stats(run(&mut book, Command::Delete(end.clone()), at(9)));
    assert_eq!(figures.created, Wall(EPOCH_US));
    assert_eq!(figures.tags.len(), 2);
    assert_eq!(figures.tags[0].peers, [b"t".to_vec()]);
    assert_eq!(figures.tags[1].medias[0].streams[0].local, SocketAddr::new(ip("203.0.113.9"), b));
    assert_eq!(figures.tags[1].medias[0].streams[1].endpoint, Some(sock("192.0.2.2:5001")));
    assert_eq!((figures.figures_from(b"f").packets, figures.figures_from(b"f").lost), (90, 10));
    assert_eq!((figures.figures_from(b"t").packets, figures.figures_from(b"t").lost), (100, 0));
    rules.drain(&mut book);
    assert!(rules.0.is_empty());
    assert_eq!((book.calls(), book.pairs_used(), book.poll_timeout()), (0, 0, None));
    assert_eq!(
        run(&mut book, Command::Delete(end.clone()), at(9)),
        Reply::Ok { warning: Some("Call-ID not found or tags didn't match".into()) }
    );
    let fatal = Delete { fatal: true, ..end };
    assert_eq!(
        reason(run(&mut book, Command::Delete(fatal), at(9))),
        "Call-ID not found or tags didn't match"
    );
}

#[test]
fn errors_have_the_texts_of_the_original() {
    let mut book = book();
    let a = answer("no", "f", "t", sdp("192.0.2.2", 5000, ""));
    assert_eq!(reason(run(&mut book, Command::Answer(a), at(0))), "Unknown call-id");
    let q = Query { call_id: "no".into(), ..Query::default() };
    assert_eq!(reason(run(&mut book, Command::Query(q), at(0))), "Unknown call-id");
    assert_eq!(
        reason(run(&mut book, Command::Offer(offer("c", "f", "nonsense")), at(0))),
        "Failed to parse SDP"
    );
    let bare = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";
    assert_eq!(
        reason(run(&mut book, Command::Offer(offer("c", "f", bare)), at(0))),
        "Incomplete SDP specification"
    );
    text(run(&mut book, Command::Offer(offer("c", "f", sdp("192.0.2.1", 4000, ""))), at(0)));
    let stranger = answer("c", "other", "t", sdp("192.0.2.2", 5000, ""));
    assert_eq!(reason(run(&mut book, Command::Answer(stranger), at(0))), "Invalid dialogue association");
    assert_eq!((book.calls(), book.pairs_used()), (1, 2));
}

#[test]
fn forked_branches_share_the_callers_ports() {
    let mut book = book();
    let mut ports = Vec::new();
    for branch in ["b1", "b2", "b3"] {
        let mut o = offer("c", "f", sdp("198.51.100.1", 4000, ""));
        o.via_branch = Some(branch.into());
        ports.push(port(&text(run(&mut book, Command::Offer(o), at(0)))));
    }
    assert_eq!(book.pairs_used(), 4, "one towards the caller, one towards each branch");
    assert!(ports[0] != ports[1] && ports[1] != ports[2]);
    // The second branch answers: its own ports, not those of the first.
    let mut a = answer("c", "f", "t2", sdp("192.0.2.2", 5000, ""));
    a.via_branch = Some("b2".into());
    let first = text(run(&mut book, Command::Answer(a.clone()), at(1)));
    let mut rules = Rules::default();
    rules.drain(&mut book);
    assert_eq!(rules.at(ports[1]).source, SourcePolicy::Exact(sock("192.0.2.2:5000")));
    assert!(!rules.has(ports[0]));
    // 200 after 183: the same again.
    assert_eq!(text(run(&mut book, Command::Answer(a.clone()), at(2))), first);
    // A fork behind the next hop: another tag on the same branch.
    a.to_tag = Some("t2b".into());
    a.sdp = sdp("192.0.2.77", 5500, "").into_bytes();
    assert_eq!(port(&text(run(&mut book, Command::Answer(a), at(3)))), port(&first));
    rules.drain(&mut book);
    assert_eq!(rules.at(ports[1]).source, SourcePolicy::Exact(sock("192.0.2.77:5500")));
    // The losers are deleted by branch; the winner stays.
    for branch in ["b1", "b3"] {
        let d = Delete { from_tag: Some("f".into()), via_branch: Some(branch.into()), ..Delete::call("c") };
        stats(run(&mut book, Command::Delete(d), at(4)));
    }
    assert_eq!((book.calls(), book.pairs_used()), (1, 2));
    // BYE from the callee, with the BYE's own branch and the old tag as an alias.
    let d = Delete {
        from_tag: Some("t2".into()),
        to_tag: Some("f".into()),
        via_branch: Some("bye".into()),
        ..Delete::call("c")
    };
    stats(run(&mut book, Command::Delete(d), at(5)));
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
}

#[test]
fn re_offers_keep_ports_and_change_nothing_before_their_answer() {
    let (mut book, mut rules) = (book(), Rules::default());
    let b =
        port(&text(run(&mut book, Command::Offer(offer("c", "f", sdp("198.51.100.1", 4000, ""))), at(0))));
    let a = port(&text(run(
        &mut book,
        Command::Answer(answer("c", "f", "t", sdp("192.0.2.2", 5000, ""))),
        at(1),
    )));
    // The callee re-offers from another address, and holds.
    let mut o = offer("c", "t", sdp("192.0.2.3", 5002, "a=sendonly\r\n"));
    o.to_tag = Some("f".into());
    let to_caller = text(run(&mut book, Command::Offer(o), at(2)));
    assert_eq!(port(&to_caller), a);
    assert!(to_caller.contains("a=sendonly\r\n"));
    rules.drain(&mut book);
    assert_eq!(rules.at(b).source, SourcePolicy::Exact(sock("192.0.2.2:5000")));
    let mut r = answer("c", "t", "f", sdp("198.51.100.1", 4000, "a=recvonly\r\n"));
    r.to_tag = Some("f".into());
    assert_eq!(port(&text(run(&mut book, Command::Answer(r), at(3)))), b);
    rules.drain(&mut book);
    assert_eq!(rules.at(b).source, SourcePolicy::Exact(sock("192.0.2.3:5002")));
    assert_eq!(rules.at(a).source, SourcePolicy::Exact(sock("198.51.100.1:4000")));
    assert_eq!(book.pairs_used(), 2);
}

#[test]
fn hold_by_zero_address_is_kept_unless_told_otherwise() {
    let (mut book, mut rules) = (book(), Rules::default());
    let held = |zero_address: bool, tag: &str| {
        let mut o = offer("c", tag, sdp("0.0.0.0", 4000, ""));
        o.replace.zero_address = zero_address;
        o
    };
    let b = text(run(&mut book, Command::Offer(held(false, "f")), at(0)));
    assert!(b.contains("c=IN IP4 0.0.0.0\r\n") && b.contains("a=sendonly\r\n"), "{b}");
    let other = text(run(&mut book, Command::Offer(held(true, "g")), at(0)));
    assert!(other.contains("c=IN IP4 203.0.113.9\r\n") && other.contains("a=sendonly\r\n"), "{other}");
    rules.drain(&mut book);
    assert!(!rules.has(port(&b)), "what comes from the callee before its answer goes nowhere");
}

fn mux_case(offered: bool, answered: bool, set: fn(&mut warp_ng::RtcpMux)) -> (String, String) {
    let mut book = book();
    let line = |on: bool| if on { "a=rtcp-mux\r\n" } else { "" };
    let mut o = offer("c", "f", sdp("198.51.100.1", 4000, line(offered)));
    set(&mut o.rtcp_mux);
    let to_callee = text(run(&mut book, Command::Offer(o), at(0)));
    let a = answer("c", "f", "t", sdp("192.0.2.2", 5000, line(answered)));
    let to_caller = text(run(&mut book, Command::Answer(a), at(0)));
    // Only what follows the last known line, with our RTP port as P.
    let tail = |s: &str| {
        let p = port(s);
        let tail = s.split("telephone-event/8000\r\n").nth(1).unwrap();
        tail.replace(&(p + 1).to_string(), "P+1").replace(&p.to_string(), "P").replace("\r\n", " ")
    };
    (tail(&to_callee), tail(&to_caller))
}

#[test]
fn rtcp_mux_offered_accepted_demuxed() {
    // What rtpengine 10.5.3 answers to the same dialogues (run by hand); RFC 5761.
    let plain = "a=rtcp:P+1 ".to_owned();
    let mux_offer = "a=rtcp:P+1 a=rtcp-mux ".to_owned();
    let mux_answer = "a=rtcp:P a=rtcp-mux ".to_owned();
    let case = |o, a, set| mux_case(o, a, set);
    assert_eq!(case(false, false, |_| ()), (plain.clone(), plain.clone()));
    assert_eq!(case(true, true, |_| ()), (mux_offer.clone(), mux_answer.clone()));
    assert_eq!(case(true, false, |_| ()), (mux_offer.clone(), plain.clone()));
    assert_eq!(case(true, false, |m| m.demux = true), (plain.clone(), mux_answer.clone()));
    assert_eq!(case(true, false, |m| m.accept = true), (mux_offer.clone(), mux_answer.clone()));
    assert_eq!(case(true, true, |m| m.reject = true), (mux_offer.clone(), plain.clone()));
    assert_eq!(case(false, true, |m| m.offer = true), (mux_offer, plain.clone()));
    assert_eq!(case(false, true, |m| (m.offer, m.require) = (true, true)), (mux_answer, plain));
}

/// rtpengine#28 and #1236: the caller muxes and takes nothing else, as browsers do; the callee never did. What it offers later (a hold, a
/// session refresh) is offered on with mux, and nobody else is asked to.
#[test]
fn a_side_that_muxes_is_offered_it_again() {
    let mux = "a=rtcp-mux\r\n";
    let (mut book, mut rules) = (book(), Rules::default());
    let mut o = offer("c", "f", sdp("198.51.100.1", 4000, mux));
    o.rtcp_mux.demux = true;
    text(run(&mut book, Command::Offer(o), at(0)));
    let ok = answer("c", "f", "t", sdp("192.0.2.2", 5000, ""));
    let to_caller = port(&text(run(&mut book, Command::Answer(ok), at(0))));
    // Asks in the callee's name; gives what the caller sees of the offer, and the callee of the answer.
    let mut again = |rules: &mut Rules, demux: bool, answered: &str| {
        let mut o = answer("c", "t", "f", sdp("192.0.2.2", 5000, "a=sendonly\r\n"));
        o.rtcp_mux.demux = demux;
        let asked = text(run(&mut book, Command::Offer(o), at(1)));
        let a = answer("c", "t", "f", sdp("198.51.100.1", 4000, answered));
        let said = text(run(&mut book, Command::Answer(a), at(1)));
        rules.drain(&mut book);
        (asked.contains(mux), said.contains(mux), rules.at(to_caller).carries)
    };
    use warp_media::Carries;
    for _ in 0..2 {
        assert_eq!(again(&mut rules, false, mux), (true, false, Carries::Mux));
    }
    assert_eq!(again(&mut rules, false, ""), (true, false, Carries::Rtp), "it has stopped");
    assert_eq!(again(&mut rules, false, mux), (false, false, Carries::Rtp), "and is not asked again");
    // Nor is a side that is not to mux.
    let (mut other, mut rules) = (desk::book(), Rules::default());
    text(run(&mut other, Command::Offer(offer("d", "f", sdp("198.51.100.1", 4000, mux))), at(0)));
    text(run(&mut other, Command::Answer(answer("d", "f", "t", sdp("192.0.2.2", 5000, mux))), at(0)));
    let mut o = answer("d", "t", "f", sdp("192.0.2.2", 5000, ""));
    o.rtcp_mux.demux = true;
    assert!(!text(run(&mut other, Command::Offer(o), at(1))).contains(mux));
    rules.drain(&mut other);
}

#[test]
fn rtcp_attribute_flags() {
    let mut book = book();
    let mut o = offer("c", "f", sdp("198.51.100.1", 4000, "a=rtcp:4009\r\n"));
    o.flags.full_rtcp_attribute = true;
    let full = text(run(&mut book, Command::Offer(o.clone()), at(0)));
    assert!(full.ends_with(&format!("a=rtcp:{} IN IP4 203.0.113.9\r\n", port(&full) + 1)), "{full}");
    o.flags.no_rtcp_attribute = true;
    assert!(!text(run(&mut book, Command::Offer(o), at(0))).contains("a=rtcp"));
    let a = answer("c", "f", "t", sdp("192.0.2.2", 5000, "a=rtcp:5009 IN IP4 192.0.2.99\r\n"));
    text(run(&mut book, Command::Answer(a), at(0)));
    let mut rules = Rules::default();
    rules.drain(&mut book);
    let b = port(&full);
    assert_eq!(rules.at(b + 1).source, SourcePolicy::Exact(sock("192.0.2.99:5009")));
    assert_eq!(rules.at(b + 1).rtcp.unwrap().to, Some(sock("198.51.100.1:4009")));
}

#[test]
fn addresses_of_both_families() {
    let (mut book, mut rules) = (book(), Rules::default());
    let mut o = offer("c", "f", sdp("198.51.100.1", 4000, ""));
    o.address_family = Some(AddressFamily::Ip6);
    let to_callee = text(run(&mut book, Command::Offer(o), at(0)));
    assert!(to_callee.contains("c=IN IP6 2001:db8::9\r\n"), "{to_callee}");
    let a = answer("c", "f", "t", sdp("2001:db8::77", 5000, ""));
    let to_caller = text(run(&mut book, Command::Answer(a), at(0)));
    assert!(to_caller.contains("c=IN IP4 203.0.113.9\r\n"), "{to_caller}");
    rules.drain(&mut book);
    assert_eq!(rules.at(port(&to_caller)).rtp.unwrap().to, Some(sock("[2001:db8::77]:5000")));
    // An answer in a family that the offered port does not have is refused.
    text(run(&mut book, Command::Offer(offer("d", "f", sdp("198.51.100.1", 4000, ""))), at(0)));
    let bad = answer("d", "f", "t", sdp("2001:db8::77", 5000, ""));
    assert_eq!(reason(run(&mut book, Command::Answer(bad), at(0))), "Failed to parse SDP");
    // A named interface.
    let mut o = offer("e", "f", sdp("198.51.100.1", 4000, ""));
    o.direction = Some((b"203.0.113.9".to_vec(), b"nonsense".to_vec()));
    text(run(&mut book, Command::Offer(o), at(0)));
}

/// A family that this process asks for and the relay has no address of: the speaker's, since a peer that signals by IPv6 may have
/// media by IPv4. An ng client that names a family means it.
#[test]
fn a_family_that_is_not_there_is_a_wish_of_this_process_and_an_error_of_ng() {
    let mut book = {
        let pool = PortPool::new(&[ip("203.0.113.9")], 30_000..=30_099, 42).unwrap();
        Book::new(BookConfig::default(), Box::new(pool))
    };
    let mut o = offer("c", "f", sdp("198.51.100.1", 4000, ""));
    o.address_family = Some(AddressFamily::Ip6);
    let ours = text(run(&mut book, Command::Offer(o.clone()), at(0)));
    assert!(ours.contains("c=IN IP4 203.0.113.9\r\n"), "{ours}");
    o.call_id = b"d".to_vec();
    let theirs = book.handle_command(Command::Offer(o), Some("127.0.0.1".parse().unwrap()), at(0));
    assert!(matches!(theirs, Reply::Error { .. }), "{theirs:?}");
}

#[test]
fn rejected_lines_stay_rejected_and_hold_no_ports() {
    let (mut book, mut rules) = (book(), Rules::default());
    let three = sdp(
        "198.51.100.1",
        4000,
        "m=video 4002 RTP/AVP 99\r\nm=image 0 udptl t38\r\nm=message 9 TCP/MSRP *\r\n",
    );
    let to_callee = text(run(&mut book, Command::Offer(offer("c", "f", &three)), at(0)));
    assert!(to_callee.contains("m=image 0 udptl t38\r\nm=message 0 TCP/MSRP *\r\n"), "{to_callee}");
    assert_eq!(book.pairs_used(), 4);
    let a =
        sdp("192.0.2.2", 5000, "m=video 0 RTP/AVP 99\r\nm=image 0 udptl t38\r\nm=message 0 TCP/MSRP *\r\n");
    let to_caller = text(run(&mut book, Command::Answer(answer("c", "f", "t", &a)), at(0)));
    assert!(to_caller.contains("m=video 0 RTP/AVP 99\r\nm=image 0 udptl t38\r\nm=message 0"), "{to_caller}");
    assert_eq!(book.pairs_used(), 2);
    rules.drain(&mut book);
    assert_eq!(rules.0.len(), 4);
    // A re-offer revives the video line with new ports.
    let mut o = offer("c", "f", &three);
    o.to_tag = Some("t".into());
    text(run(&mut book, Command::Offer(o), at(1)));
    assert_eq!(book.pairs_used(), 4);
}

#[test]
fn protocols_that_would_need_keys_are_not_bridged() {
    let mut book = book();
    let dtls = sdp("198.51.100.1", 4000, "").replace("RTP/AVP", "UDP/TLS/RTP/SAVPF");
    assert_eq!(reason(run(&mut book, Command::Offer(offer("c", "f", dtls)), at(0))), "Error rewriting SDP");
    let mut o = offer("c", "f", sdp("198.51.100.1", 4000, ""));
    o.transport_protocol = Some(Transport::RtpSavp);
    assert_eq!(reason(run(&mut book, Command::Offer(o.clone()), at(0))), "Error rewriting SDP");
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
    o.transport_protocol = Some(Transport::RtpAvpf);
    let to_callee = text(run(&mut book, Command::Offer(o), at(0)));
    assert!(to_callee.contains(" RTP/AVPF 0 101\r\n"));
    let a = sdp("192.0.2.2", 5000, "").replace("RTP/AVP", "RTP/AVPF");
    assert!(
        text(run(&mut book, Command::Answer(answer("c", "f", "t", a)), at(0))).contains(" RTP/AVP 0 101\r\n")
    );
}

#[test]
fn t_rtp_05_srtp_passes_unopened_with_its_keys_and_flagged() {
    let (mut book, mut rules) = (book(), Rules::default());
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let savp = |ip, p| sdp(ip, p, key).replace("RTP/AVP", "RTP/SAVP");
    let to_callee = text(run(&mut book, Command::Offer(offer("c", "f", savp("198.51.100.1", 4000))), at(0)));
    assert!(to_callee.contains(key));
    text(run(&mut book, Command::Answer(answer("c", "f", "t", savp("192.0.2.2", 5000))), at(0)));
    rules.drain(&mut book);
    assert!(rules.0.values().all(|r| r.protected));
    // Keys on a plain line would promise what nobody keeps.
    let plain = text(run(&mut book, Command::Offer(offer("d", "f", sdp("198.51.100.1", 4000, key))), at(0)));
    assert!(!plain.contains("crypto"));
}

#[test]
fn codecs_are_taken_away_but_never_the_last_one() {
    let mut book = book();
    let many = sdp("198.51.100.1", 4000, "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n")
        .replace(" 0 101", " 0 18 96 8 101");
    let formats = |s: &str| {
        s.lines().find_map(|l| l.strip_prefix("m=audio ")?.split_once("AVP ")).unwrap().1.to_owned()
    };
    let mut with = |set: fn(&mut warp_ng::Codecs)| {
        let mut o = offer("c", "f", &many);
        set(&mut o.codec);
        text(run(&mut book, Command::Offer(o), at(0)))
    };
    let one = with(|c| c.strip = vec![b"g729".to_vec(), b"OPUS/48000/2".to_vec()]);
    assert_eq!(formats(&one), "0 8 101");
    assert!(!one.contains("opus") && !one.contains("fmtp:96") && one.contains("rtpmap:101"));
    let ordered = with(|c| {
        c.strip = vec![b"all".to_vec()];
        c.offer = vec![b"PCMA".to_vec(), b"AMR".to_vec(), b"PCMU".to_vec()];
        c.except = vec![b"telephone-event".to_vec(), b"PCMU".to_vec()];
    });
    assert_eq!(formats(&ordered), "8 0 101");
    let none = with(|c| c.strip = vec![b"all".to_vec()]);
    assert_eq!(formats(&none), "0 18 96 8 101");
}

#[test]
fn loop_protection_marks_and_recognises() {
    let mut book = book();
    let mut o = offer("c", "f", sdp("198.51.100.1", 4000, ""));
    o.flags.loop_protect = true;
    let marked = text(run(&mut book, Command::Offer(o.clone()), at(0)));
    assert!(marked.contains("a=rtpengine:warp\r\nm=audio"), "{marked}");
    o.sdp = marked.clone().into_bytes();
    o.call_id = b"again".to_vec();
    assert_eq!(text(run(&mut book, Command::Offer(o), at(0))), marked);
    assert_eq!(book.calls(), 1);
}

#[test]
fn version_of_the_origin_counts_up_only_with_changes() {
    let mut book = book();
    let mut o = offer("c", "f", sdp("198.51.100.1", 4000, ""));
    o.replace.sdp_version = true;
    let version =
        |s: &str| s.split("o=- 1 ").nth(1).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap();
    let mut say = |o: &SdpCommand| version(&text(run(&mut book, Command::Offer(o.clone()), at(0))));
    assert_eq!(say(&o), 1);
    assert_eq!(say(&o), 1);
    o.sdp = sdp("198.51.100.1", 4000, "a=sendonly\r\n").into_bytes();
    assert_eq!(say(&o), 2);
    o.replace.force_increment_sdp_version = true;
    assert_eq!(say(&o), 3);
}

// --- T-RTP: who may send -----------------------------------------------------------------------------------------

fn source_of_caller(
    sdp_ip: &str,
    received: Option<&str>,
    media_ips: &[&str],
) -> (SourcePolicy, Option<SocketAddr>) {
    let (mut book, mut rules) = (book(), Rules::default());
    let mut o = offer("c", "f", sdp(sdp_ip, 4000, ""));
    o.received_from = received.map(ip);
    o.media_ips = media_ips.iter().map(|t| ip(t)).collect();
    let b = port(&text(run(&mut book, Command::Offer(o), at(0))));
    let a = port(&text(run(
        &mut book,
        Command::Answer(answer("c", "f", "t", sdp("192.0.2.2", 5000, ""))),
        at(0),
    )));
    rules.drain(&mut book);
    (rules.at(a).source, rules.at(b).rtp.unwrap().to)
}

#[test]
fn t_rtp_01_02_03_a_usable_address_is_taken_at_its_word() {
    let exact = |t: &str| (SourcePolicy::Exact(sock(t)), Some(sock(t)));
    // Public address, whatever the signalling source and the media set are.
    assert_eq!(
        source_of_caller("198.51.100.1", Some("198.51.100.200"), &["192.0.2.50"]),
        exact("198.51.100.1:4000")
    );
    assert_eq!(source_of_caller("198.51.100.1", None, &[]), exact("198.51.100.1:4000"));
    // Private and equal to the signalling source: a LAN, not a NAT.
    assert_eq!(source_of_caller("10.0.0.5", Some("10.0.0.5"), &[]), exact("10.0.0.5:4000"));
    // Private and named by the trunk.
    assert_eq!(source_of_caller("10.0.0.5", Some("10.0.0.1"), &["10.0.0.5"]), exact("10.0.0.5:4000"));
}

#[test]
fn t_rtp_04_nat_learns_only_from_the_signalling_source_and_the_media_set() {
    for private in ["10.0.0.5", "192.168.1.1", "172.16.3.4", "100.64.0.9"] {
        let (source, to) = source_of_caller(private, Some("198.51.100.200"), &["192.0.2.50"]);
        let SourcePolicy::Learn(policy) = source else { panic!("{private}: {source:?}") };
        assert!(policy.allows(ip("198.51.100.200")) && policy.allows(ip("192.0.2.50")));
        assert!(!policy.allows(ip(private)) && !policy.allows(ip("198.51.100.201")));
        assert_eq!(to, None, "the private address is never sent to");
    }
}

#[test]
fn t_rtp_04_learning_starts_again_only_with_new_sdp() {
    let (mut book, mut rules) = (book(), Rules::default());
    let nat = |port: u16, to: Option<&str>| {
        let mut o = offer("c", "f", sdp("10.0.0.5", port, ""));
        o.received_from = Some(ip("198.51.100.200"));
        o.to_tag = to.map(Into::into);
        Command::Offer(o)
    };
    let ok = || Command::Answer(answer("c", "f", "t", sdp("192.0.2.2", 5000, "")));
    text(run(&mut book, nat(4000, None), at(0)));
    let a = port(&text(run(&mut book, ok(), at(0))));
    rules.drain(&mut book);
    let first = rules.at(a).source;
    text(run(&mut book, nat(4000, Some("t")), at(1)));
    text(run(&mut book, ok(), at(1)));
    rules.drain(&mut book);
    let (SourcePolicy::Learn(before), SourcePolicy::Learn(again)) = (first, rules.at(a).source) else {
        panic!()
    };
    assert!(
        again.keeps(&before) && again.spoken != before.spoken,
        "the same SDP keeps what was learnt, to be earned anew"
    );
    assert!(!again.on_hold);
    // New SDP of the other party is none of this one's.
    let mut of_callee = offer("c", "t", sdp("192.0.2.2", 5000, "a=inactive\r\n"));
    of_callee.to_tag = Some("f".into());
    text(run(&mut book, Command::Offer(of_callee), at(1)));
    let mut answered = answer("c", "t", "f", sdp("10.0.0.5", 4000, "a=inactive\r\n"));
    answered.received_from = Some(ip("198.51.100.200"));
    text(run(&mut book, Command::Answer(answered), at(1)));
    rules.drain(&mut book);
    let SourcePolicy::Learn(held) = rules.at(a).source else { panic!() };
    assert!(held.keeps(&before) && held.on_hold, "on hold silence says nothing");
    text(run(&mut book, nat(4002, Some("t")), at(2)));
    text(run(&mut book, ok(), at(2)));
    rules.drain(&mut book);
    let SourcePolicy::Learn(moved) = rules.at(a).source else { panic!() };
    assert!(!moved.keeps(&before) && !moved.on_hold, "another port is another place");
    // What a shard learnt shows in the statistics.
    let local = rules.at(a).local;
    book.handle_learnt(local, sock("198.51.100.200:61234"));
    let q = Query { call_id: "c".into(), ..Query::default() };
    let figures = stats(run(&mut book, Command::Query(q), at(3)));
    let stream = &figures.tags[0].medias[0].streams[0];
    assert_eq!(stream.endpoint, Some(sock("198.51.100.200:61234")));
    assert_eq!(stream.advertised, Some(sock("10.0.0.5:4002")));
}

#[test]
fn t_rtp_09_a_call_is_never_refused_for_a_resting_port() {
    let mut book = book_with(BookConfig::default(), 30_000..=30_003);
    let o = |call: &str| Command::Offer(offer(call, "f", sdp("198.51.100.1", 4000, "")));
    text(run(&mut book, o("c"), at(0)));
    assert_eq!(reason(run(&mut book, o("d"), at(0))), "Ran out of ports");
    stats(run(&mut book, Command::Delete(Delete::call("c")), at(1)));
    assert_eq!(book.ports().resting(0, at(2).mono), 2);
    text(run(&mut book, o("d"), at(2)));
    assert_eq!((book.calls(), book.pairs_used(), book.ports().given_early()), (1, 2, 2));
}

#[test]
fn t_rtp_10_media_timeouts_end_the_call_through_signalling() {
    let (mut book, mut rules) = (book(), Rules::default());
    text(run(&mut book, Command::Offer(offer("c", "f", sdp("198.51.100.1", 4000, ""))), at(0)));
    assert_eq!(book.poll_timeout(), Some(at(3_600).mono), "never answered");
    let a = port(&text(run(
        &mut book,
        Command::Answer(answer("c", "f", "t", sdp("192.0.2.2", 5000, ""))),
        at(10),
    )));
    assert_eq!(book.poll_timeout(), Some(at(70).mono));
    rules.drain(&mut book);
    // A packet that was let in puts it off.
    let counters = rules.at(a).counters.clone();
    counters.last_packet_ns.store(at(50).mono.0, std::sync::atomic::Ordering::Relaxed);
    counters.packets.store(7, std::sync::atomic::Ordering::Relaxed);
    book.handle_timeout(at(70));
    assert!(rules.drain(&mut book).is_empty());
    assert_eq!(book.poll_timeout(), Some(at(110).mono));
    // On hold: 3,600 s.
    let mut o = offer("c", "f", sdp("198.51.100.1", 4000, "a=inactive\r\n"));
    o.to_tag = Some("t".into());
    text(run(&mut book, Command::Offer(o), at(100)));
    text(run(
        &mut book,
        Command::Answer(answer("c", "f", "t", sdp("192.0.2.2", 5000, "a=inactive\r\n"))),
        at(100),
    ));
    book.handle_timeout(at(400));
    assert!(rules.drain(&mut book).is_empty());
    book.handle_timeout(at(3_700));
    assert_eq!(rules.drain(&mut book), [b"c".to_vec()]);
    assert!(rules.0.is_empty());
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
    // The proxy's delete still gets the figures, once.
    let figures = stats(run(&mut book, Command::Delete(Delete::call("c")), at(3_701)));
    assert_eq!(figures.rtp.packets, 7);
    assert!(matches!(
        run(&mut book, Command::Delete(Delete::call("c")), at(3_701)),
        Reply::Ok { warning: Some(_) }
    ));
    assert_eq!(book.poll_timeout(), None);
}

#[test]
fn delete_delay_lets_media_flow_and_a_new_offer_revives() {
    let mut book = book();
    let o = || Command::Offer(offer("c", "f", sdp("198.51.100.1", 4000, "")));
    let d = || Command::Delete(Delete { delete_delay: None, ..Delete::call("c") });
    text(run(&mut book, o(), at(0)));
    stats(run(&mut book, d(), at(1)));
    assert_eq!(book.poll_timeout(), Some(at(31).mono));
    assert_eq!(book.pairs_used(), 2);
    text(run(&mut book, o(), at(20)));
    book.handle_timeout(at(31));
    assert_eq!(book.calls(), 1);
    stats(run(&mut book, d(), at(40)));
    book.handle_timeout(at(69));
    assert_eq!(book.calls(), 1);
    book.handle_timeout(at(70));
    assert_eq!((book.calls(), book.pairs_used(), book.poll_timeout()), (0, 0, None));
}

// --- T-NG --------------------------------------------------------------------------------------------------------

#[test]
fn t_ng_04_sessions_and_ports_have_limits_and_calls_in_progress_go_on() {
    let mut book = book_with(BookConfig { max_calls: 2, ..BookConfig::default() }, 30_000..=30_999);
    let o = |call: &str| Command::Offer(offer(call, "f", sdp("198.51.100.1", 4000, "")));
    text(run(&mut book, o("a"), at(0)));
    text(run(&mut book, o("b"), at(0)));
    let full = run(&mut book, o("c"), at(0));
    assert_eq!(full, Reply::LoadLimit { message: "Parallel session limit reached".into() });
    text(run(&mut book, o("a"), at(0)));
    text(run(&mut book, Command::Answer(answer("b", "f", "t", sdp("192.0.2.2", 5000, ""))), at(0)));
    // 64 branches a call; they share the caller's ports.
    for i in 0..64 {
        let mut c = offer("a", "f", sdp("198.51.100.1", 4000, ""));
        c.via_branch = Some(format!("b{i}").into_bytes());
        let reply = run(&mut book, Command::Offer(c), at(0));
        assert_eq!(reply.is_ok(), i < 63, "{i}: {reply:?}");
    }
    assert_eq!(book.pairs_used(), 2 + 1 + 64);
    // 512 ports a call: those of 16 media lines, two pairs each, eight times.
    let lines = "m=audio 4000 RTP/AVP 0\r\n".repeat(15);
    for i in 0..9 {
        let mut c = offer("b", "f", sdp("198.51.100.1", 5000 + 2 * i, &lines));
        c.via_branch = Some(format!("b{i}").into_bytes());
        let reply = run(&mut book, Command::Offer(c), at(0));
        assert_eq!(reply.is_ok(), i < 7, "{i}: {reply:?}");
    }
}

/// Calls in the air go on, and are looked at by the new time-outs from the next look on.
#[test]
fn f_cfg_02_other_limits_hold_for_the_next_call_and_the_next_look_at_the_clock() {
    use warp_media_relay::core::book::RelayLimits;
    let mut book = book_with(BookConfig { max_calls: 1, ..BookConfig::default() }, 30_000..=30_999);
    let o = |call: &str| Command::Offer(offer(call, "f", sdp("198.51.100.1", 4000, "")));
    text(run(&mut book, o("a"), at(0)));
    text(run(&mut book, Command::Answer(answer("a", "f", "t", sdp("192.0.2.2", 5000, ""))), at(0)));
    assert!(!run(&mut book, o("b"), at(0)).is_ok(), "full");
    let second = Duration::from_secs(1);
    book.set_limits(&RelayLimits {
        max_calls: 2,
        media_timeout: 5 * second,
        hold_timeout: second,
        offer_timeout: second,
        delete_delay: Duration::ZERO,
    });
    text(run(&mut book, o("b"), at(0)));
    assert!(!run(&mut book, o("c"), at(0)).is_ok(), "full again");
    // The call that began under 60 s is ended by 5 s, at the look that its own timer made.
    book.handle_timeout(at(61));
    assert_eq!(book.calls(), 0, "neither the call without packets nor the offer without an answer is left");
}

#[test]
fn t_ng_06_media_is_never_sent_where_nobody_may_be_sent_to() {
    let mut config = BookConfig::default();
    config.forbidden.push(sock("203.0.113.50:2223"));
    let mut book = book_with(config, 30_000..=30_999);
    for (bad, port) in [
        ("127.0.0.1", 4000),
        ("127.8.8.8", 4000),
        ("169.254.1.1", 4000),
        ("255.255.255.255", 4000),
        ("0.1.2.3", 4000),
        ("240.0.0.1", 4000),
        ("224.0.0.1", 4000),
        ("203.0.113.50", 2223),
        ("203.0.113.50", 2222), // its RTCP would hit the control port
        ("::1", 4000),
        ("fe80::1", 4000),
        ("ff02::1", 4000),
        ("::ffff:127.0.0.1", 4000),
    ] {
        let reply = run(&mut book, Command::Offer(offer("c", "f", sdp(bad, port, ""))), at(0));
        assert_eq!(reason(reply), "Failed to parse SDP", "{bad}:{port}");
    }
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
    // The same for an answer; the call stays as it was.
    text(run(&mut book, Command::Offer(offer("c", "f", sdp("198.51.100.1", 4000, ""))), at(0)));
    let bad = answer("c", "f", "t", sdp("127.0.0.1", 5000, ""));
    assert_eq!(reason(run(&mut book, Command::Answer(bad), at(0))), "Failed to parse SDP");
    text(run(&mut book, Command::Answer(answer("c", "f", "t", sdp("192.0.2.2", 5000, ""))), at(0)));
}

#[test]
fn t_ng_06_a_call_is_never_sent_to_itself() {
    let mut book = book();
    let first = text(run(&mut book, Command::Offer(offer("c", "f", sdp("198.51.100.1", 4000, ""))), at(0)));
    let own = answer("c", "f", "t", sdp("203.0.113.9", port(&first), ""));
    assert_eq!(reason(run(&mut book, Command::Answer(own), at(0))), "Failed to parse SDP");
    // The same call through us a second time, on another branch, does speak of our own port.
    let mut again = offer("c", "f", sdp("203.0.113.9", port(&first), ""));
    again.via_branch = Some("second pass".into());
    text(run(&mut book, Command::Offer(again), at(0)));
}

#[test]
fn a_ringing_call_with_silent_early_media_is_not_timed_out() {
    let mut book = book();
    text(run(&mut book, Command::Offer(offer("c", "f", sdp("198.51.100.1", 4000, ""))), at(0)));
    let mut a = answer("c", "f", "t", sdp("192.0.2.2", 5000, ""));
    a.flags.provisional = true;
    text(run(&mut book, Command::Answer(a.clone()), at(1)));
    assert_eq!(book.poll_timeout(), Some(at(3_601).mono));
    // Media of both sides says that the call was answered after all.
    let mut rules = Rules::default();
    rules.drain(&mut book);
    for rule in rules.0.values() {
        rule.counters.packets.store(1, std::sync::atomic::Ordering::Relaxed);
    }
    book.handle_timeout(at(3_601));
    assert_eq!(rules.drain(&mut book), [b"c".to_vec()]);
    text(run(&mut book, Command::Offer(offer("c", "f", sdp("198.51.100.1", 4000, ""))), at(90)));
    text(run(&mut book, Command::Answer(a.clone()), at(90)));
    a.flags.provisional = false;
    text(run(&mut book, Command::Answer(a), at(100)));
    assert_eq!(book.poll_timeout(), Some(at(160).mono));
}

#[test]
fn a_relay_on_loopback_may_send_to_loopback() {
    let pool = PortPool::new(&[ip("127.0.0.1")], 30_000..=30_099, 1).unwrap();
    let mut book = Book::new(
        BookConfig { media_timeout: Duration::from_secs(5), ..BookConfig::default() },
        Box::new(pool),
    );
    text(run(&mut book, Command::Offer(offer("c", "f", sdp("127.0.0.1", 4000, ""))), at(0)));
    assert_eq!(book.ports().usage(0).0, 2);
}

/// The limit of a call's ports is how many it may have, not one more than that.
#[test]
fn t_ng_04_a_call_may_have_as_many_ports_as_its_limit_says() {
    let offered = |max_ports_per_call| {
        let mut book = book_with(BookConfig { max_ports_per_call, ..BookConfig::default() }, 30_000..=30_999);
        let c = offer("c", "f", sdp("198.51.100.1", 4000, "m=video 4002 RTP/AVP 96\r\n"));
        let reply = run(&mut book, Command::Offer(c), at(0));
        (matches!(reply, Reply::Sdp { .. }), matches!(reply, Reply::LoadLimit { .. }), book.pairs_used() * 2)
    };
    let (taken, _, ports) = offered(512);
    assert!(taken && ports >= 4, "two lines: {ports}");
    assert_eq!(offered(ports), (true, false, ports));
    assert_eq!(offered(ports - 1), (false, true, 0));
}
