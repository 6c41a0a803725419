//! Keys and flags of `offer` and `answer` that shape the other side's SDP or the call's ports (`ref/ng-protocol.md` §4).

use std::net::IpAddr;

use warp_media_relay::core::book::{Book, BookConfig};
use warp_media_relay::core::ports::PortPool;
use warp_media_relay::core::{EndOfCall, Output};
use warp_model::{Mono, Now, Wall};
use warp_ng::{AddressFamily, AttributeEdits, CallStats, Command, Delete, Query, Reply, SdpCommand};

fn at(s: u64) -> Now {
    Now { mono: Mono(s * 1_000_000_000), wall: Wall(s as i64 * 1_000_000) }
}

/// A book on a public and a private interface, each with IPv4 and IPv6.
fn book() -> Book {
    let ips = ["203.0.113.9", "2001:db8::9", "10.0.0.9", "fd00::9"].map(|t| t.parse::<IpAddr>().unwrap());
    let interfaces = ["pub", "pub", "priv", "priv"].map(str::to_owned).to_vec();
    let pool = PortPool::new(&ips, 30_000..=30_999, 42).unwrap();
    Book::new(BookConfig { interfaces, ..BookConfig::default() }, Box::new(pool))
}

fn sdp(ip: &str, port: u16, more: &str) -> String {
    let family = if ip.contains(':') { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n{more}"
    )
}

fn offer(change: impl FnOnce(&mut SdpCommand)) -> Command {
    let mut c = SdpCommand::new("c", "f", sdp("198.51.100.1", 4000, ""));
    change(&mut c);
    Command::Offer(c)
}

fn answer(change: impl FnOnce(&mut SdpCommand)) -> Command {
    let mut c = SdpCommand::new("c", "f", sdp("192.0.2.2", 5000, ""));
    c.to_tag = Some(b"t".to_vec());
    change(&mut c);
    Command::Answer(c)
}

fn text(book: &mut Book, command: Command) -> String {
    match book.handle_command(command, None, at(0)) {
        Reply::Sdp { sdp, .. } => String::from_utf8(sdp).unwrap(),
        other => panic!("no SDP: {other:?}"),
    }
}

fn stats(book: &mut Book) -> CallStats {
    let query = Query { call_id: b"c".to_vec(), ..Query::default() };
    match book.handle_command(Command::Query(query), None, at(1)) {
        Reply::Stats(stats) => *stats,
        other => panic!("no statistics: {other:?}"),
    }
}

fn address(sdp: &str) -> &str {
    sdp.split("c=IN ").nth(1).unwrap().split_once(' ').unwrap().1.split("\r\n").next().unwrap()
}

#[test]
fn direction_names_logical_interfaces_and_is_remembered() {
    let named = |a: &str, b: &str| Some((a.as_bytes().to_vec(), b.as_bytes().to_vec()));
    let mut b = book();
    assert_eq!(address(&text(&mut b, offer(|c| c.direction = named("pub", "priv")))), "10.0.0.9");
    assert_eq!(address(&text(&mut b, answer(|_| ()))), "203.0.113.9");
    // A second line in a re-offer without the key gets ports on the same interfaces.
    let two = sdp("198.51.100.1", 4000, "m=audio 4010 RTP/AVP 0\r\n");
    let again = offer(|c| (c.sdp, c.to_tag) = (two.into_bytes(), Some(b"t".to_vec())));
    assert_eq!(address(&text(&mut b, again)), "10.0.0.9");
    let used = |b: &Book, ip: u8| b.ports().usage(ip).0;
    assert_eq!([0, 1, 2, 3].map(|ip| used(&b, ip)), [2, 0, 2, 0]);
    // The family within the interface; an address as its own name; unknown names are the default.
    let six = offer(|c| (c.direction, c.address_family) = (named("pub", "priv"), Some(AddressFamily::Ip6)));
    assert_eq!(address(&text(&mut book(), six)), "fd00::9");
    assert_eq!(address(&text(&mut book(), offer(|c| c.direction = named("x", "10.0.0.9")))), "10.0.0.9");
    assert_eq!(address(&text(&mut book(), offer(|c| c.direction = named("x", "y")))), "203.0.113.9");
}

#[test]
fn sdp_attr_adds_removes_and_substitutes() {
    let edits = vec![
        AttributeEdits {
            add: vec![b"tool:x".to_vec()],
            remove: vec![b"charset:UTF-8".to_vec()],
            ..AttributeEdits::default()
        },
        AttributeEdits {
            kind: b"audio".to_vec(),
            add: vec![b"added".to_vec()],
            remove: vec![b"gone".to_vec()],
            substitute: vec![(b"ptime:20".to_vec(), b"ptime:30".to_vec())],
        },
        AttributeEdits { kind: b"video".to_vec(), add: vec![b"never".to_vec()], ..AttributeEdits::default() },
    ];
    let mut said = sdp("198.51.100.1", 4000, "a=gone:1\r\na=gone:2\r\na=ptime:20\r\na=stays\r\n");
    said = said.replace("m=audio", "a=charset:UTF-8\r\nm=audio");
    let out = text(&mut book(), offer(|c| (c.attributes, c.sdp) = (edits, said.into_bytes())));
    let port = out.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().parse::<u16>().unwrap();
    let head = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\na=tool:x\r\n";
    let media =
        format!("m=audio {port} RTP/AVP 0\r\na=ptime:30\r\na=stays\r\na=rtcp:{}\r\na=added\r\n", port + 1);
    assert_eq!(out, format!("{head}{media}"));
}

#[test]
fn removed_media_is_not_offered_on_takes_no_ports_and_comes_back_rejected() {
    let mut b = book();
    let two = |port: u16| sdp("198.51.100.1", 4000, &format!("m=video {port} RTP/AVP 31\r\n"));
    let out =
        text(&mut b, offer(|c| (c.media_remove, c.sdp) = (vec![b"video".to_vec()], two(4010).into_bytes())));
    assert!(!out.contains("m=video"), "{out}");
    assert_eq!(b.pairs_used(), 2);
    let back = text(&mut b, answer(|_| ()));
    assert!(back.contains("m=video 0 RTP/AVP 31\r\n"), "{back}");
    let only = Command::Offer(SdpCommand {
        media_remove: vec![b"audio".to_vec()],
        ..SdpCommand::new("d", "f", two(0))
    });
    let refused = b.handle_command(only, None, at(0));
    assert!(
        matches!(&refused, Reply::Error { reason } if reason.starts_with("Error rewriting SDP: section 1")),
        "{refused:?}"
    );
}

#[test]
fn identifications_are_generated_once_each_and_do_not_come_back() {
    let mut b = book();
    let said = sdp("198.51.100.1", 4000, "m=video 4010 RTP/AVP 31\r\na=mid:1\r\nm=audio 0 RTP/AVP 0\r\n");
    let out = text(&mut b, offer(|c| (c.flags.generate_mid, c.sdp) = (true, said.into_bytes())));
    let mids: Vec<&str> = out.lines().filter_map(|l| l.strip_prefix("a=mid:")).collect();
    assert_eq!(mids, ["101", "1"], "a name that is taken is passed over, and rejected sections have none");
    let said =
        sdp("192.0.2.2", 5000, "a=mid:101\r\nm=video 5010 RTP/AVP 31\r\na=mid:1\r\nm=audio 0 RTP/AVP 0\r\n");
    let back = text(&mut b, answer(|c| c.sdp = said.into_bytes()));
    let mids: Vec<&str> = back.lines().filter_map(|l| l.strip_prefix("a=mid:")).collect();
    assert_eq!(mids, ["1"], "only where the caller had offered one");
}

#[test]
fn masked_and_ignored_codecs_are_hidden() {
    let hide = |change: fn(&mut SdpCommand)| {
        let said = sdp("198.51.100.1", 4000, "a=rtpmap:96 opus/48000/2\r\n").replace("AVP 0", "AVP 0 8 96");
        let out = text(&mut book(), offer(|c| (c.sdp = said.into_bytes(), change(c)).1));
        out.lines().find_map(|l| l.split_once("AVP ")).unwrap().1.to_owned()
    };
    assert_eq!(hide(|c| c.codec.mask = vec![b"pcma".to_vec()]), "0 96");
    assert_eq!(hide(|c| c.codec.consume = vec![b"opus/48000/2".to_vec()]), "0 8");
    assert_eq!(hide(|c| c.codec.ignore = vec![b"PCMU".to_vec()]), "8 96");
    assert_eq!(
        hide(|c| (c.codec.mask, c.codec.offer) = (vec![b"all".to_vec()], vec![b"opus".to_vec()])),
        "96"
    );
    assert_eq!(hide(|c| c.codec.mask = vec![b"full".to_vec()]), "0 8 96", "never the last one");
    // A rate and channels count when they are named, as in the original.
    for (spec, left) in [
        ("opus/48000", "0 8 96"),
        ("opus/48000/2", "0 8"),
        ("OPUS/48000/2/64000", "0 8"),
        ("PCMU/8000", "8 96"),
        ("PCMU/8000/1", "8 96"),
        ("PCMU/16000", "0 8 96"),
        ("PCMU/x", "0 8 96"),
        ("/8000", "0 8 96"),
    ] {
        let said = sdp("198.51.100.1", 4000, "a=rtpmap:96 opus/48000/2\r\n").replace("AVP 0", "AVP 0 8 96");
        let strip = vec![spec.as_bytes().to_vec()];
        let out = text(&mut book(), offer(|c| (c.sdp, c.codec.strip) = (said.into_bytes(), strip)));
        assert_eq!(out.lines().find_map(|l| l.split_once("AVP ")).unwrap().1, left, "{spec}");
    }
}

/// What the book wants marked, as (ports, byte), since the last look.
fn marks(book: &mut Book) -> (usize, Option<Option<u8>>) {
    let mut all = Vec::new();
    while let Some(output) = book.poll_output() {
        if let Output::Mark { tos, .. } = output {
            all.push(tos);
        }
    }
    assert!(all.windows(2).all(|w| w[0] == w[1]));
    (all.len(), all.first().copied())
}

#[test]
fn tos_is_of_the_call_and_negative_keeps_it() {
    let mut b = book();
    let mut say = |command: Command| {
        text(&mut b, command);
        marks(&mut b)
    };
    let re_offer = |tos: Option<i64>| offer(|c| (c.tos, c.to_tag) = (tos, Some(b"t".to_vec())));
    assert_eq!(say(offer(|c| c.tos = Some(96))), (4, Some(Some(96))));
    assert_eq!(say(answer(|_| ())), (0, None));
    assert_eq!(say(re_offer(Some(96))), (0, None), "nothing new");
    assert_eq!(say(re_offer(Some(-1))), (0, None));
    assert_eq!(say(re_offer(None)), (0, None));
    // Ports that come later are marked like the others.
    let two = sdp("198.51.100.1", 4000, "m=audio 4010 RTP/AVP 0\r\n");
    assert_eq!(
        say(offer(|c| (c.sdp, c.to_tag) = (two.into_bytes(), Some(b"t".to_vec())))),
        (4, Some(Some(96)))
    );
    assert_eq!(say(re_offer(Some(0))), (8, Some(Some(0))));
    assert_eq!(say(re_offer(Some(256))), (8, Some(None)), "the default again");
    let mut plain = book();
    text(&mut plain, offer(|_| ()));
    assert_eq!(marks(&mut plain), (0, None));
}

#[test]
fn query_says_what_was_signalled() {
    let mut b = book();
    text(
        &mut b,
        offer(|c| {
            c.via_branch = Some(b"z9".to_vec());
            c.metadata = Some(b"invoice 7".to_vec());
            c.label = Some(b"caller".to_vec());
            c.flags.loop_protect = true;
            c.flags.asymmetric = true;
        }),
    );
    text(
        &mut b,
        answer(|c| {
            (c.label, c.sdp) =
                (Some(b"callee".to_vec()), sdp("192.0.2.2", 5000, "a=sendonly\r\n").into_bytes())
        }),
    );
    let s = stats(&mut b);
    assert_eq!(s.metadata.as_deref(), Some(&b"invoice 7"[..]));
    let [caller, callee] = s.tags.as_slice() else { panic!("{s:?}") };
    assert_eq!((&caller.label, &callee.label), (&Some(b"caller".to_vec()), &Some(b"callee".to_vec())));
    assert_eq!((&caller.via_branch, &callee.via_branch), (&None, &Some(b"z9".to_vec())));
    assert_eq!((&caller.peers, &callee.peers), (&vec![b"t".to_vec()], &vec![b"f".to_vec()]));
    let media = &caller.medias[0];
    assert_eq!((media.codec.as_slice(), media.index), (&b"PCMU/8000"[..], 1));
    assert!(media.flags.initialized && media.flags.asymmetric && media.flags.loop_check);
    assert!(media.flags.send && media.flags.recv && !media.flags.passthrough);
    assert!(!callee.medias[0].flags.asymmetric && !callee.medias[0].flags.send);
}

#[test]
fn codec_of_a_stream_is_its_first_real_one() {
    let of = |formats: &str, more: &str| {
        let mut b = book();
        let said = sdp("198.51.100.1", 4000, more).replace("AVP 0", &format!("AVP {formats}"));
        text(&mut b, offer(|c| c.sdp = said.into_bytes()));
        String::from_utf8(stats(&mut b).tags[0].medias[0].codec.clone()).unwrap()
    };
    assert_eq!(of("8 0", ""), "PCMA/8000");
    let maps = "a=rtpmap:101 telephone-event/8000\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 AMR/8000/1\r\n";
    assert_eq!(of("101 13 96 0", maps), "opus/48000/2");
    assert_eq!(of("97 0", maps), "AMR/8000");
    assert_eq!(of("101 13", maps), "");
    assert_eq!(of("99 x", ""), "");
}

#[test]
fn t_rtp_11_the_limit_follows_the_faster_packet_time_of_both_sides() {
    let mut b = book();
    let with = |ip: &str, port: u16, ptime: u32| sdp(ip, port, &format!("a=ptime:{ptime}\r\n")).into_bytes();
    text(&mut b, offer(|c| c.sdp = with("198.51.100.1", 4000, 60)));
    text(&mut b, answer(|c| c.sdp = with("192.0.2.2", 5000, 5)));
    let mut limits = Vec::new();
    while let Some(output) = b.poll_output() {
        if let Output::Install { rule, .. } = output {
            limits.push(rule.max_packets_per_s);
        }
    }
    // 2 × 200 packets a second + 100 on all four ports, since the answer (the four rules of the offer come before).
    assert_eq!(limits.split_off(limits.len() - 4), [500; 4]);
}

#[test]
fn t_rtp_11_the_packet_limit_survives_re_offers() {
    use warp_media::{DropReason, Judgement, RuleState};
    let mut b = book();
    let rule_of_caller = |b: &mut Book| {
        let mut found = None;
        while let Some(output) = b.poll_output() {
            if let Output::Install { rule, .. } = output
                && rule.rtp.is_some_and(|e| e.to == Some("192.0.2.2:5000".parse().unwrap()))
            {
                found = Some(*rule);
            }
        }
        found.expect("a rule for what the caller sends")
    };
    text(&mut b, offer(|_| ()));
    text(&mut b, answer(|_| ()));
    let mut state = RuleState::new(rule_of_caller(&mut b));
    let from = "198.51.100.1:4000".parse().unwrap();
    let mut sequence = 0u16;
    let mut flood = |state: &mut RuleState| {
        let mut passed = 0;
        for _ in 0..1_000 {
            sequence += 1;
            let mut packet = [0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4];
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            match state.apply(&packet, from, at(5).mono) {
                Judgement::Forward { .. } => passed += 1,
                Judgement::Drop(reason) => assert_eq!(reason, DropReason::Rate),
                other => panic!("{other:?}"),
            }
        }
        passed
    };
    let first = flood(&mut state);
    assert!((100..=201).contains(&first), "{first}");
    // A re-offer within the same instant opens nothing, however often.
    for _ in 0..5 {
        let again = |c: &mut SdpCommand| c.to_tag = Some(b"t".to_vec());
        text(&mut b, offer(again));
        text(&mut b, answer(|_| ()));
        state.replace(rule_of_caller(&mut b));
        assert_eq!(flood(&mut state), 0);
    }
}

#[test]
fn kinds_and_ends_of_streams_are_told_once_each() {
    let mut b = book();
    let told = |b: &mut Book| {
        let (mut kinds, mut streams, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(output) = b.poll_output() {
            match output {
                Output::StreamKind { from, to } => {
                    let name = |k: Option<warp_media_relay::core::StreamKind>| {
                        k.map(|k| String::from_utf8(k.codec).unwrap()).unwrap_or_default()
                    };
                    kinds.push((name(from), name(to)));
                }
                Output::StreamEnded(s) => streams.push(s.labels),
                Output::CallEnded { why, lasted } => ends.push((why, lasted.as_secs())),
                _ => {}
            }
        }
        (kinds, streams, ends)
    };
    let pair = |a: &str, b: &str| vec![(a.to_owned(), b.to_owned())];
    text(&mut b, offer(|c| c.label = Some(b"one".to_vec())));
    assert_eq!(told(&mut b).0, vec![], "not negotiated yet");
    text(&mut b, answer(|c| c.label = Some(b"two".to_vec())));
    assert_eq!(told(&mut b).0, pair("", "PCMU/8000"));
    text(&mut b, answer(|_| ()));
    assert_eq!(told(&mut b).0, vec![]);
    text(&mut b, offer(|c| c.to_tag = Some(b"t".to_vec())));
    text(&mut b, answer(|c| c.sdp = sdp("192.0.2.2", 5000, "").replace("AVP 0", "AVP 8").into_bytes()));
    assert_eq!(told(&mut b).0, pair("PCMU/8000", "PCMA/8000"));
    b.handle_command(Command::Delete(Delete::call("c")), None, at(7));
    let labels = [Some(b"one".to_vec()), Some(b"two".to_vec())];
    assert_eq!(told(&mut b), (pair("PCMA/8000", ""), vec![labels], vec![(EndOfCall::Deleted, 7)]));
    // By time-out: never answered, silent, silent on hold.
    for (answered, direction, why, when) in [
        (false, "", EndOfCall::NeverAnswered, 3_600),
        (true, "", EndOfCall::Silent, 60),
        (true, "a=inactive\r\n", EndOfCall::SilentOnHold, 3_600),
    ] {
        let mut b = book();
        text(&mut b, offer(|c| c.sdp = sdp("198.51.100.1", 4000, direction).into_bytes()));
        if answered {
            text(&mut b, answer(|c| c.sdp = sdp("192.0.2.2", 5000, direction).into_bytes()));
        }
        b.handle_timeout(at(when - 1));
        assert_eq!(told(&mut b).2, vec![]);
        b.handle_timeout(at(when));
        assert_eq!(told(&mut b).2, vec![(why, when)]);
        b.handle_command(Command::Delete(Delete::call("c")), None, at(when));
        assert_eq!(told(&mut b).2, vec![], "it was gone already");
    }
}

#[test]
fn quality_is_looked_at_every_ten_seconds_and_told_as_lowest_highest_and_progression() {
    use std::sync::atomic::Ordering::Relaxed;
    let mut b = book();
    text(&mut b, offer(|_| ()));
    assert_eq!(b.poll_sample(), None, "not answered");
    text(&mut b, answer(|_| ()));
    let mut counters = Vec::new();
    while let Some(output) = b.poll_output() {
        if let Output::Install { rule, .. } = output {
            counters.push(rule.counters);
        }
    }
    let caller = counters.last().unwrap().clone();
    let heard = |expected: u64, received: u64| {
        caller.packets.store(received, Relaxed);
        caller.expected.store(expected, Relaxed);
        caller.received.store(received, Relaxed);
    };
    assert_eq!(b.poll_sample(), Some(at(10).mono));
    heard(500, 500);
    b.handle_samples(at(9));
    b.handle_samples(at(10));
    heard(1_000, 900);
    b.handle_samples(at(20));
    let s = stats(&mut b);
    let [source] = s.ssrcs.as_slice() else { panic!("{:?}", s.ssrcs) };
    let reported: Vec<i64> =
        source.progression.iter().filter_map(|e| Some(e.reported_at?.0 / 1_000_000)).collect();
    assert_eq!((reported, source.progression_s, source.average.samples), (vec![10, 20], 10, 2));
    assert!(source.lowest.unwrap().mos_x100 < source.highest.unwrap().mos_x100);
    // A re-answer starts no second clock, an ended call none at all.
    text(&mut b, answer(|_| ()));
    assert_eq!(b.poll_sample(), Some(at(30).mono));
    b.handle_command(Command::Delete(Delete::call("c")), None, at(25));
    b.handle_samples(at(30));
    assert_eq!(b.poll_sample(), None);
}

#[test]
fn t_ng_04_what_is_kept_with_a_call_is_short() {
    let long = || Some(vec![b'x'; 1_025]);
    let refused = Reply::error("Invalid dialogue association");
    let mut b = book();
    for command in [
        offer(|c| c.call_id = vec![b'x'; 1_025]),
        offer(|c| c.from_tag = vec![b'x'; 1_025]),
        offer(|c| c.to_tag = long()),
        offer(|c| c.via_branch = long()),
    ] {
        assert_eq!(b.handle_command(command, None, at(0)), refused);
    }
    assert_eq!((b.calls(), b.pairs_used()), (0, 0));
    let kept = |c: &mut SdpCommand| (c.label, c.metadata) = (Some(b"short".to_vec()), Some(b"text".to_vec()));
    text(&mut b, offer(kept));
    assert_eq!(b.handle_command(answer(|c| c.to_tag = long()), None, at(0)), refused);
    text(&mut b, offer(|c| (c.label, c.metadata) = (Some(vec![b'x'; 257]), Some(vec![b'x'; 4_097]))));
    let s = stats(&mut b);
    assert_eq!(
        (s.tags[0].label.as_deref(), s.metadata.as_deref()),
        (Some(&b"short"[..]), Some(&b"text"[..]))
    );
}

#[test]
fn t_ng_04_a_list_is_cut_to_one_datagram() {
    let pool = PortPool::new(&["203.0.113.9".parse().unwrap()], 20_000..=29_999, 1).unwrap();
    let mut b = Book::new(BookConfig::default(), Box::new(pool));
    for i in 0..1_000 {
        text(&mut b, offer(|c| c.call_id = format!("{i:0100}").into_bytes()));
    }
    let list = |b: &mut Book, limit| match b.handle_command(Command::List { limit }, None, at(0)) {
        Reply::Calls(calls) => calls,
        other => panic!("{other:?}"),
    };
    assert_eq!((list(&mut b, 0).len(), list(&mut b, 7).len()), (0, 7));
    let all = list(&mut b, u64::MAX);
    assert!((500..600).contains(&all.len()), "{}", all.len());
    for encoding in [warp_ng::Encoding::Bencode, warp_ng::Encoding::Json] {
        let mut out = Vec::new();
        warp_ng::codec::encode_reply(b"c", encoding, true, &Reply::Calls(all.clone()), &mut out);
        assert!(out.len() < 65_507);
    }
}

#[test]
fn a_held_origin_is_one_session_whoever_writes_it() {
    let mut b = book();
    let origin = |text: &str| text.lines().find(|l| l.starts_with("o=")).unwrap().to_owned();
    let said = |names: &str, more: &str| {
        sdp("198.51.100.1", 4000, more).replace("o=- 1 1", &format!("o={names}")).into_bytes()
    };
    let mut offer_of = |names: &str, more: &str| {
        origin(&text(
            &mut b,
            offer(|c| {
                c.replace.origin_full = true;
                c.sdp = said(names, more);
            }),
        ))
    };
    assert_eq!(offer_of("ann 7 7", ""), "o=ann 7 7 IN IP4 203.0.113.9");
    assert_eq!(offer_of("bob 9 400", ""), "o=ann 7 7 IN IP4 203.0.113.9", "the same to its receiver");
    assert_eq!(offer_of("bob 9 400", "a=sendonly\r\n"), "o=ann 7 8 IN IP4 203.0.113.9");
    // Names longer than anybody's are not kept, and go through.
    let long = "x".repeat(300);
    let mut other = book();
    let c = offer(|c| (c.replace.username, c.sdp) = (true, said(&format!("{long} 1 1"), "")));
    assert!(origin(&text(&mut other, c)).starts_with(&format!("o={long} ")));
}

#[test]
fn delete_looks_at_the_to_tag_only_when_told_and_fast_says_nothing() {
    let mut b = book();
    text(&mut b, offer(|_| ()));
    text(&mut b, answer(|_| ()));
    let delete = |to: &str, look: bool| {
        let tags = (Some(b"f".to_vec()), Some(to.as_bytes().to_vec()));
        Delete { from_tag: tags.0, to_tag: tags.1, match_to_tag: look, fast: true, ..Delete::call("c") }
    };
    let mut ask = |d: Delete| b.handle_command(Command::Delete(d), None, at(1));
    let unknown = Reply::Ok { warning: Some("Call-ID not found or tags didn't match".into()) };
    assert_eq!(ask(delete("other", true)), unknown);
    assert_eq!(
        ask(Delete { fatal: true, ..delete("other", true) }),
        Reply::error("Call-ID not found or tags didn't match")
    );
    assert_eq!(ask(Delete { from_tag: Some(b"x".to_vec()), ..delete("t", false) }), unknown);
    assert_eq!(ask(delete("t", true)), Reply::Ok { warning: None });
    assert_eq!((b.calls(), b.pairs_used()), (0, 0));
    // Without the flag the tag says nothing.
    text(&mut b, offer(|_| ()));
    text(&mut b, answer(|_| ()));
    assert_eq!(
        b.handle_command(Command::Delete(delete("other", false)), None, at(1)),
        Reply::Ok { warning: None }
    );
    assert_eq!(b.calls(), 0);
}

#[test]
fn t_rtp_04_reset_lets_an_address_be_learnt_anew() {
    let mut b = book();
    text(
        &mut b,
        offer(|c| {
            c.sdp = sdp("10.1.1.1", 4000, "").into_bytes();
            c.received_from = Some("198.51.100.200".parse().unwrap());
        }),
    );
    let policy = |b: &mut Book, reset: bool| {
        let nat = |c: &mut SdpCommand| {
            c.sdp = sdp("192.168.9.9", 5000, "").into_bytes();
            c.received_from = Some("192.0.2.200".parse().unwrap());
            c.flags.reset = reset;
        };
        text(b, answer(nat));
        let mut last = None;
        while let Some(output) = b.poll_output() {
            if let Output::Install { rule, .. } = output
                && matches!(rule.source, warp_media::SourcePolicy::Learn(p) if p.allows("192.0.2.200".parse().unwrap()))
            {
                last = Some(rule.source);
            }
        }
        last.expect("the callee's port learns")
    };
    let mut learnt = |reset| match policy(&mut b, reset) {
        warp_media::SourcePolicy::Learn(policy) => policy,
        other => panic!("{other:?}"),
    };
    let first = learnt(false);
    assert!(learnt(false).keeps(&first), "the same SDP again keeps what was learnt");
    assert!(!learnt(true).keeps(&first));
}

#[test]
fn t_rtp_05_an_asymmetric_flag_opens_no_port_of_a_protected_stream() {
    let source = |protocol: &str| {
        let mut b = book();
        let plain = |ip: &str, port: u16| sdp(ip, port, "").replace("RTP/AVP", protocol).into_bytes();
        text(&mut b, offer(|c| (c.flags.asymmetric, c.sdp) = (true, plain("198.51.100.1", 4000))));
        text(&mut b, answer(|c| c.sdp = plain("192.0.2.2", 5000)));
        let mut of_caller = None;
        while let Some(output) = b.poll_output() {
            if let Output::Install { rule, .. } = output
                && rule.rtp.is_some_and(|e| e.to == Some("192.0.2.2:5000".parse().unwrap()))
            {
                of_caller = Some(rule.source);
            }
        }
        of_caller.unwrap()
    };
    let warp_media::SourcePolicy::Learn(policy) = source("RTP/AVP") else { panic!() };
    assert!(policy.source_only && policy.allows("198.51.100.1".parse().unwrap()));
    assert!(!policy.allows("198.51.100.2".parse().unwrap()));
    assert_eq!(source("RTP/SAVP"), warp_media::SourcePolicy::Exact("198.51.100.1:4000".parse().unwrap()));
}

#[test]
fn t_rtp_04_sip_source_address_makes_any_leg_a_nat_leg() {
    let source = |flag: bool, received: &str| {
        let mut b = book();
        text(
            &mut b,
            offer(|c| {
                c.flags.sip_source_address = flag;
                c.received_from = Some(received.parse().unwrap());
            }),
        );
        text(&mut b, answer(|_| ()));
        let mut of_caller = None;
        while let Some(output) = b.poll_output() {
            if let Output::Install { rule, .. } = output
                && rule.rtp.is_some_and(|e| e.to == Some("192.0.2.2:5000".parse().unwrap()))
            {
                of_caller = Some(rule.source);
            }
        }
        of_caller.unwrap()
    };
    let exact = warp_media::SourcePolicy::Exact("198.51.100.1:4000".parse().unwrap());
    assert_eq!(source(false, "203.0.113.200"), exact);
    // The right address behind a NAT that gave another port: any port of it, and of no other.
    let warp_media::SourcePolicy::Learn(policy) = source(true, "198.51.100.1") else { panic!() };
    assert!(
        policy.allows("198.51.100.1".parse().unwrap()) && !policy.allows("203.0.113.200".parse().unwrap())
    );
    let warp_media::SourcePolicy::Learn(policy) = source(true, "203.0.113.200") else { panic!() };
    assert!(
        policy.allows("203.0.113.200".parse().unwrap()) && !policy.allows("198.51.100.1".parse().unwrap())
    );
    assert!(!policy.source_only);
}
