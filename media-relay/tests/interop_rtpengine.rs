//! Our ng client side (`encode_request`, `decode_reply`) drives a real rtpengine in user space, and its SDP is compared
//! with ours for the same dialogues.

mod common;
mod programs;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use programs::{Program, audio_port, free_port, has, rtp, socket, wait_for};
use warp_media_relay::core::book::{Book, BookConfig};
use warp_media_relay::core::ports::PortPool;
use warp_model::Now;
use warp_ng::codec::{decode_reply, encode_request};
use warp_ng::{AddressFamily, Command, Delete, Encoding, Query, Reply, SdpCommand};

struct Engine {
    _program: Option<Program>,
    socket: UdpSocket,
    cookies: Cell<u32>,
}

impl Engine {
    fn start(folder: &tempfile::TempDir) -> Engine {
        let ng = free_port();
        // Each engine has a part of the range to itself.
        static ENGINES: AtomicU16 = AtomicU16::new(0);
        let base = 33_000 + ENGINES.fetch_add(1, Ordering::Relaxed) * 400;
        let program = Program::start(
            "rtpengine",
            &[
                "--config-file=none",
                "--foreground",
                "--table=-1",
                "--interface=127.0.0.1",
                "--log-level=1",
                &format!("--listen-ng=127.0.0.1:{ng}"),
                &format!("--port-min={base}"),
                &format!("--port-max={}", base + 399),
                &format!("--pidfile={}/pid", folder.path().display()),
            ],
        );
        let socket = socket();
        socket.connect(("127.0.0.1", ng)).unwrap();
        Engine { _program: Some(program), socket, cookies: Cell::new(0) }
    }

    /// Ours, by the same client.
    fn ours(world: &common::World) -> Engine {
        let socket = socket();
        socket.connect(world.relay.ng_addr().unwrap()).unwrap();
        Engine { _program: None, socket, cookies: Cell::new(0) }
    }

    /// One command, sent again until it is answered, as the clients do.
    fn ask(&self, command: &Command, encoding: Encoding) -> Reply {
        let cookie = format!("w{}", self.cookies.replace(self.cookies.get() + 1));
        let mut datagram = Vec::new();
        encode_request(cookie.as_bytes(), encoding, true, command, &mut datagram);
        // Refused until the daemon listens.
        let _ = self.socket.send(&datagram);
        wait_for_reply(&self.socket, &cookie, &datagram)
    }
}

fn wait_for_reply(socket: &UdpSocket, cookie: &str, datagram: &[u8]) -> Reply {
    let end = std::time::Instant::now() + programs::DEADLINE;
    let mut buffer = vec![0; 65_536];
    while std::time::Instant::now() < end {
        match socket.recv(&mut buffer) {
            Ok(n) => match decode_reply(&buffer[..n]) {
                Ok((c, reply)) if c == cookie.as_bytes() => return reply,
                Ok(_) => {}
                Err(e) => panic!("{e}: {}", String::from_utf8_lossy(&buffer[..n])),
            },
            Err(_) => {
                let _ = socket.send(datagram);
            }
        }
    }
    panic!("rtpengine does not answer");
}

fn sdp(port: u16, more: &str) -> String {
    format!(
        "v=0\r\no=u 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n{more}"
    )
}

fn text(reply: Reply) -> String {
    match reply {
        Reply::Sdp { sdp, .. } => String::from_utf8(sdp).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Lines of an SDP as a set, with ports by name: relays may differ in the order of attributes, and nowhere else.
fn facts(sdp: &str) -> BTreeSet<String> {
    let p = audio_port(sdp);
    let named = |line: &str| {
        let named = line.replace(&(p + 1).to_string(), "P+1").replace(&p.to_string(), "P");
        // The direction that holds when none is written.
        (named != "a=sendrecv").then_some(named)
    };
    sdp.lines().filter_map(named).collect()
}

#[test]
fn our_commands_drive_a_real_rtpengine() {
    if !has("rtpengine", "our_commands_drive_a_real_rtpengine") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(&folder);
    for encoding in [Encoding::Bencode, Encoding::Json] {
        let ask = |c: &Command| engine.ask(c, encoding);
        assert_eq!(ask(&Command::Ping), Reply::Pong);
        assert_eq!(ask(&Command::List { limit: 5 }), Reply::Calls(vec![]));
        let unknown = Query { call_id: b"none".to_vec(), ..Query::default() };
        assert_eq!(ask(&Command::Query(unknown)), Reply::error("Unknown call-id"));
        let gone = ask(&Command::Delete(Delete::call("none")));
        assert_eq!(gone, Reply::Ok { warning: Some("Call-ID not found or tags didn't match".into()) });

        // A call with one packet each way.
        let (caller, callee) = (socket(), socket());
        let port = |s: &UdpSocket| s.local_addr().unwrap().port();
        let mut offer = SdpCommand::new("call", "ft", sdp(port(&caller), "a=sendrecv\r\n"));
        offer.via_branch = Some(b"z9hG4bK1".to_vec());
        offer.received_from = Some([127, 0, 0, 1].into());
        offer.replace.origin = true;
        offer.label = Some(b"caller".to_vec());
        let to_callee = audio_port(&text(ask(&Command::Offer(offer.clone()))));
        let mut answer = SdpCommand::new("call", "ft", sdp(port(&callee), "a=sendrecv\r\n"));
        answer.to_tag = Some(b"tt".to_vec());
        answer.via_branch = offer.via_branch.clone();
        let to_caller = audio_port(&text(ask(&Command::Answer(answer))));
        caller.send_to(&rtp(7, 1), ("127.0.0.1", to_caller)).unwrap();
        wait_for(&callee, "the caller's packet", |p, from| {
            (p == rtp(7, 1) && from.port() == to_callee).then_some(())
        });
        callee.send_to(&rtp(9, 1), ("127.0.0.1", to_callee)).unwrap();
        wait_for(&caller, "the callee's packet", |p, _| (p == rtp(9, 1)).then_some(()));

        let query = Query { call_id: b"call".to_vec(), ..Query::default() };
        let Reply::Stats(stats) = ask(&Command::Query(query)) else { panic!("no statistics") };
        assert_eq!(stats.rtp.packets, 2);
        assert_eq!(stats.tags.len(), 2);
        assert_eq!(stats.figures_from(b"ft").packets, 1);
        let caller_tag = stats.tags.iter().find(|t| t.tag == b"ft").unwrap();
        assert_eq!(caller_tag.peers, [b"tt".to_vec()]);
        assert_eq!(caller_tag.medias[0].streams[0].local.port(), to_caller);
        assert_eq!(caller_tag.medias[0].streams[0].ssrc, Some(7));
        assert!(stats.created.0 > 1_700_000_000_000_000);
        assert_eq!(ask(&Command::List { limit: 5 }), Reply::Calls(vec![b"call".to_vec()]));
        // Version 10.5 gives figures only when a From-tag is named.
        let delete = Delete { from_tag: Some(b"ft".to_vec()), ..Delete::call("call") };
        let Reply::Stats(last) = ask(&Command::Delete(delete)) else { panic!("no statistics") };
        assert_eq!(last.rtp.packets, 2);
    }
}

#[test]
fn our_sdp_says_what_rtpengine_says() {
    if !has("rtpengine", "our_sdp_says_what_rtpengine_says") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(&folder);
    let pool = PortPool::new(&["127.0.0.1".parse().unwrap()], 20_000..=20_999, 1).unwrap();
    let mut book = Book::new(BookConfig::default(), Box::new(pool));
    let mut compare = |what: &str, command: Command| {
        let theirs = text(engine.ask(&command, Encoding::Bencode));
        let ours = text(book.handle_command(command, None, Now::default()));
        assert_eq!(facts(&ours), facts(&theirs), "{what}:\n{ours}\nagainst\n{theirs}");
    };
    type Set = fn(&mut SdpCommand);
    let cases: [(&str, &str, &str, Set); 20] = [
        ("a codec stripped", "", "", |c| c.codec.strip = vec![b"telephone-event".to_vec()]),
        ("all but one stripped", "", "", |c| {
            c.codec.strip = vec![b"all".to_vec()];
            c.codec.except = vec![b"PCMU".to_vec()];
        }),
        ("offer and except alone change nothing", "", "", |c| {
            c.codec.offer = vec![b"telephone-event".to_vec()];
            c.codec.except = vec![b"telephone-event".to_vec()];
        }),
        ("masked", "", "", |c| c.codec.mask = vec![b"telephone-event".to_vec()]),
        ("all masked but one", "", "", |c| {
            c.codec.mask = vec![b"all".to_vec()];
            c.codec.except = vec![b"PCMU".to_vec()];
        }),
        ("with an identification of its own", "a=mid:abc\r\n", "a=mid:abc\r\n", |c| {
            c.flags.generate_mid = true;
        }),
        ("another address shown", "", "", |c| c.media_address = Some([203, 0, 113, 9].into())),
        ("direction left alone", "a=sendonly\r\n", "a=recvonly\r\n", |c| {
            c.flags.original_sendrecv = true;
        }),
        ("plain", "", "", |_| ()),
        ("ptime and directions", "a=ptime:20\r\na=sendonly\r\n", "a=ptime:20\r\na=recvonly\r\n", |_| ()),
        ("inactive", "a=inactive\r\n", "a=inactive\r\n", |_| ()),
        ("mux both", "a=rtcp-mux\r\n", "a=rtcp-mux\r\n", |_| ()),
        ("mux refused", "a=rtcp-mux\r\n", "", |_| ()),
        ("demux", "a=rtcp-mux\r\n", "", |c| c.rtcp_mux.demux = true),
        ("mux offered by the relay", "", "a=rtcp-mux\r\n", |c| c.rtcp_mux.offer = true),
        ("mux required", "", "a=rtcp-mux\r\n", |c| (c.rtcp_mux.offer, c.rtcp_mux.require) = (true, true)),
        ("full rtcp attribute", "", "", |c| c.flags.full_rtcp_attribute = true),
        ("no rtcp attribute", "", "", |c| c.flags.no_rtcp_attribute = true),
        ("origin", "", "", |c| c.replace.origin = true),
        (
            "ice removed",
            "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=candidate:1 1 UDP 1 127.0.0.1 9 typ host\r\n",
            "",
            |c| {
                c.ice = Some(warp_ng::Ice::Remove);
                c.address_family = Some(AddressFamily::Ip4);
            },
        ),
    ];
    for (i, (what, offered, answered, set)) in cases.into_iter().enumerate() {
        let call = format!("call{i}");
        let mut offer = SdpCommand::new(call.clone(), "ft", sdp(40_000, offered));
        set(&mut offer);
        let mut answered = sdp(40_002, answered);
        if !offer.codec.strip.is_empty() || !offer.codec.mask.is_empty() {
            // An answer takes only what was offered (RFC 3264 §6.1).
            answered = answered.replace(" 0 101", " 0").replace("a=rtpmap:101 telephone-event/8000\r\n", "");
        }
        let mut answer = SdpCommand::new(call, "ft", answered);
        (answer.flags, answer.replace, answer.ice) = (offer.flags, offer.replace, offer.ice);
        answer.media_address = offer.media_address;
        answer.to_tag = Some(b"tt".to_vec());
        compare(&format!("offer, {what}"), Command::Offer(offer));
        compare(&format!("answer, {what}"), Command::Answer(answer));
    }
    // Names and versions over a whole dialogue, with changes of both sides.
    type Wish = fn(&mut warp_ng::Replace);
    let wishes: [Wish; 4] = [
        |r| r.username = true,
        |r| r.session_name = true,
        |r| r.sdp_version = true,
        |r| (r.username, r.session_name, r.sdp_version, r.origin) = (true, true, true, true),
    ];
    for (i, wish) in wishes.into_iter().enumerate() {
        let said = |port: u16, names: &str, session: &str| {
            sdp(port, "").replace("o=u 1 1", &format!("o={names}")).replace("s=-", &format!("s={session}"))
        };
        let [a, b] = [said(40_000, "u 1 1", "-"), said(40_002, "callee 5 5", "one")];
        let [a2, b2] = [said(40_000, "zzz 77 9", "other"), said(40_002, "c2 5 5", "two")];
        let (caller, callee) = (("ft", "tt"), ("tt", "ft"));
        for (step, (is_offer, (from, to), sdp)) in [
            (true, ("ft", ""), &a),
            (false, caller, &b),
            (true, caller, &a),
            (false, caller, &b),
            (true, caller, &a2),
            (false, caller, &b2),
            (true, callee, &b),
            (false, callee, &a2),
        ]
        .into_iter()
        .enumerate()
        {
            let mut c = SdpCommand::new(format!("names{i}"), from, sdp.as_str());
            c.to_tag = Some(to.as_bytes().to_vec()).filter(|t| !t.is_empty());
            wish(&mut c.replace);
            let command = if is_offer { Command::Offer(c) } else { Command::Answer(c) };
            compare(&format!("names {i}, step {step}"), command);
        }
    }
    // Hold by 0.0.0.0, kept, replaced, with its direction left alone; and two lines of which one is rejected.
    let zero = sdp(40_000, "").replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0");
    let held: [Set; 3] = [|_| (), |c| c.replace.zero_address = true, |c| c.flags.original_sendrecv = true];
    for (i, set) in held.into_iter().enumerate() {
        let mut offer = SdpCommand::new(format!("zero{i}"), "ft", zero.as_str());
        set(&mut offer);
        let mut answer = SdpCommand::new(format!("zero{i}"), "ft", sdp(40_002, ""));
        answer.to_tag = Some(b"tt".to_vec());
        answer.flags = offer.flags;
        compare(&format!("offer, zero {i}"), Command::Offer(offer));
        compare(&format!("answer, zero {i}"), Command::Answer(answer));
    }
    // A generated identification is in the offer only: who did not offer one must not get one (RFC 5888 §9.1).
    let mut generated = SdpCommand::new("mid", "ft", sdp(40_000, ""));
    generated.flags.generate_mid = true;
    compare("offer, identification generated", Command::Offer(generated));
    let mut answer = SdpCommand::new("mid", "ft", sdp(40_002, ""));
    answer.to_tag = Some(b"tt".to_vec());
    compare("answer, identification generated", Command::Answer(answer));
    let rejected = SdpCommand::new("rejected", "ft", sdp(40_000, "m=video 0 RTP/AVP 31\r\n"));
    compare("a rejected line", Command::Offer(rejected));
}

/// Every path in a document with the type of what is there. Tags, sources and places in lists have one name each.
fn shape(value: &serde_json::Value, path: &str, out: &mut BTreeSet<String>) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let by_name = path.ends_with("/tags") || path.ends_with("/SSRC");
                shape(inner, &format!("{path}/{}", if by_name { "*" } else { key }), out);
            }
        }
        Value::Array(list) => {
            for inner in list {
                shape(inner, &format!("{path}[]"), out);
            }
            out.insert(format!("{path}: list"));
        }
        Value::String(_) => drop(out.insert(format!("{path}: string"))),
        Value::Number(_) => drop(out.insert(format!("{path}: integer"))),
        other => panic!("{path}: {other}"),
    }
}

/// One JSON command to a relay, sent until it is answered.
fn json(socket: &UdpSocket, cookie: &str, document: &str) -> serde_json::Value {
    let datagram = format!("{cookie} {document}");
    let _ = socket.send(datagram.as_bytes());
    let end = std::time::Instant::now() + programs::DEADLINE;
    let mut buffer = vec![0; 65_536];
    while std::time::Instant::now() < end {
        match socket.recv(&mut buffer) {
            Ok(n) => {
                let text = String::from_utf8(buffer[..n].to_vec()).unwrap();
                if let Some(rest) = text.strip_prefix(&format!("{cookie} ")) {
                    return serde_json::from_str(rest).unwrap();
                }
            }
            Err(_) => drop(socket.send(datagram.as_bytes())),
        }
    }
    panic!("no answer to {cookie}");
}

/// A call with media and reports both ways, asked about in every way; the replies by command.
fn documents(relay: &UdpSocket) -> Vec<(&'static str, serde_json::Value)> {
    let (caller, callee) = (socket(), socket());
    let port = |s: &UdpSocket| s.local_addr().unwrap().port();
    let sdp_of = |s: &UdpSocket| serde_json::Value::from(sdp(port(s), "a=rtcp-mux\r\n"));
    let ids = r#""call-id":"shape","from-tag":"ft","label":"x""#;
    let offer = format!(r#"{{"command":"offer",{ids},"via-branch":"z9","sdp":{}}}"#, sdp_of(&caller));
    let to_callee = audio_port(json(relay, "s1", &offer)["sdp"].as_str().unwrap());
    let answer = format!(r#"{{"command":"answer",{ids},"to-tag":"tt","sdp":{}}}"#, sdp_of(&callee));
    let to_caller = audio_port(json(relay, "s2", &answer)["sdp"].as_str().unwrap());
    // Sender reports that answer each other: the middle 32 bits of the NTP time come back as LSR.
    let report = |ssrc: u32, about: u32, last: u32| {
        let words = [ssrc, 0xE000_1234, 0x5678_0000, 160, 1, 160, about, 0, 1, 0, last, 1];
        let mut packet = vec![0x81, 200, 0, 12];
        packet.extend(words.iter().flat_map(|w| w.to_be_bytes()));
        packet
    };
    let [from_caller, from_callee] = [(&caller, to_caller, &callee), (&callee, to_callee, &caller)];
    let pass = |(from, port, to): (&UdpSocket, u16, &UdpSocket), packet: Vec<u8>| {
        from.send_to(&packet, ("127.0.0.1", port)).unwrap();
        // An RTCP packet may be rewritten on the way (its lengths are kept).
        wait_for(to, "a packet", |p, _| (p[1] == packet[1] && p.len() == packet.len()).then_some(()));
    };
    // The peers are three milliseconds away: rtpengine makes nothing of a round trip that took no time.
    let way = || {
        let sent = Instant::now();
        while sent.elapsed() < Duration::from_millis(3) {
            std::thread::yield_now();
        }
    };
    for n in 1..4 {
        pass(from_caller, rtp(7, n));
        pass(from_callee, rtp(9, n));
        pass(from_caller, report(7, 9, if n == 1 { 0 } else { 0x1234_5678 }));
        way();
        pass(from_callee, report(9, 7, 0x1234_5678));
        way();
    }
    let ask = |cookie: &str, command: &str| {
        json(relay, cookie, &format!(r#"{{"command":"{command}","call-id":"shape","from-tag":"ft"}}"#))
    };
    let list = json(relay, "s3", r#"{"command":"list","limit":"1"}"#);
    assert_eq!(list["calls"], serde_json::json!(["shape"]));
    vec![
        ("query", ask("s4", "query")),
        ("list", list),
        ("statistics", json(relay, "s5", r#"{"command":"statistics"}"#)),
        ("delete", ask("s6", "delete")),
        ("ping", json(relay, "s7", r#"{"command":"ping"}"#)),
        ("unknown delete", json(relay, "s8", r#"{"command":"delete","call-id":"none"}"#)),
    ]
}

#[test]
fn our_replies_have_the_keys_and_types_of_rtpengine() {
    if !has("rtpengine", "our_replies_have_the_keys_and_types_of_rtpengine") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(&folder);
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let ours = socket();
    ours.connect(world.relay.ng_addr().unwrap()).unwrap();
    for ((what, theirs), (_, ours)) in documents(&engine.socket).into_iter().zip(documents(&ours)) {
        let (mut their_shape, mut our_shape) = (BTreeSet::new(), BTreeSet::new());
        shape(&theirs, what, &mut their_shape);
        shape(&ours, what, &mut our_shape);
        let missing: Vec<&String> = their_shape.difference(&our_shape).collect();
        assert!(missing.is_empty(), "{what}: we lack {missing:#?} of\n{theirs:#}\nin\n{ours:#}");
        // What we say beyond it: keys of newer versions, and one that older clients read.
        let newer = ["created_ts", "in dialogue with", "stats_out/", "/SSRC/*/bytes", "/SSRC/*/packets"];
        let newest = ["/SSRC/*/last RTP timestamp", "/SSRC/*/last RTP seq"];
        let known = |path: &&&String| newer.iter().chain(&newest).any(|n| path.contains(n));
        let more: Vec<&String> = our_shape.difference(&their_shape).filter(|p| !known(&p)).collect();
        assert!(more.is_empty(), "{what}: {more:#?} is not in\n{theirs:#}");
    }
}

/// One row of the table of flags: what the caller's SDP says, where its message came from, and where it really is.
struct Row {
    what: &'static str,
    sdp: &'static str,
    /// The port of the SDP is another than the one it sends from: a NAT rewrote it.
    other_port: bool,
    source: &'static str,
    real: &'static str,
    set: fn(&mut warp_ng::Flags),
    /// Packets pass both ways here; in rtpengine they do in every row.
    ours: bool,
}

/// Packets that came each way, of ten. `refused` waits until the relay has refused the caller's.
fn through(relay: &Engine, row: &Row, call: &str, refused: Option<&dyn Fn()>) -> (usize, usize) {
    let bind = |ip: &str| {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        socket
    };
    let (caller, callee, elsewhere) = (bind(row.real), bind("127.0.10.200"), bind(row.sdp));
    let port = |s: &UdpSocket| s.local_addr().unwrap().port();
    let shown = if row.other_port { port(&elsewhere) } else { port(&caller) };
    let of = |ip: &str, port: u16| sdp(port, "").replace("127.0.0.1", ip);
    let mut offer = SdpCommand::new(call, "ft", of(row.sdp, shown));
    offer.received_from = Some(row.source.parse().unwrap());
    (row.set)(&mut offer.flags);
    let to_callee = audio_port(&text(relay.ask(&Command::Offer(offer), Encoding::Bencode)));
    let mut answer = SdpCommand::new(call, "ft", of("127.0.10.200", port(&callee)));
    answer.received_from = Some("127.0.10.200".parse().unwrap());
    answer.to_tag = Some(b"tt".to_vec());
    let to_caller = audio_port(&text(relay.ask(&Command::Answer(answer), Encoding::Bencode)));
    let (mut heard_by_callee, mut heard_by_caller) = (0, 0);
    for n in 1..=10 {
        caller.send_to(&rtp(7, n), ("127.0.0.1", to_caller)).unwrap();
        if refused.is_none() {
            wait_for(&callee, row.what, |p, _| (p == rtp(7, n)).then_some(()));
            heard_by_callee += 1;
        }
    }
    if let Some(refused) = refused {
        refused();
    }
    for n in 1..=10 {
        callee.send_to(&rtp(9, n), ("127.0.0.1", to_callee)).unwrap();
        if refused.is_none() {
            wait_for(&caller, row.what, |p, _| (p == rtp(9, n)).then_some(()));
            heard_by_caller += 1;
        }
    }
    if refused.is_some() {
        // The callee's go where the SDP says, and never to who only sent first.
        if row.other_port {
            wait_for(&elsewhere, row.what, |p, _| (p == rtp(9, 10)).then_some(()));
        }
        for (socket, count) in [(&callee, &mut heard_by_callee), (&caller, &mut heard_by_caller)] {
            socket.set_nonblocking(true).unwrap();
            while socket.recv(&mut [0; 2_048]).is_ok() {
                *count += 1;
            }
        }
    }
    (heard_by_callee, heard_by_caller)
}

#[test]
fn the_table_of_flags_row_by_row_beside_rtpengine() {
    const ROWS: [Row; 9] = [
        row("private media beside the signalling", false, "127.0.10.9", "127.0.10.1", |_| (), true),
        row(
            "the same with trust-address",
            false,
            "127.0.10.9",
            "127.0.10.1",
            |f| f.trust_address = true,
            true,
        ),
        row(
            "SIP-source-address, the port rewritten",
            true,
            "127.0.10.1",
            "127.0.10.1",
            |f| f.sip_source_address = true,
            true,
        ),
        row(
            "SIP-source-address, another address",
            false,
            "127.0.10.9",
            "127.0.10.9",
            |f| f.sip_source_address = true,
            true,
        ),
        row("symmetric, the port rewritten", true, "127.0.10.1", "127.0.10.1", |f| f.symmetric = true, true),
        row("two private networks, media from the source", false, "127.0.10.9", "127.0.10.9", |_| (), true),
        row("one private network", false, "127.0.10.1", "127.0.10.1", |_| (), true),
        // Ruled otherwise here (T-RTP-01 to T-RTP-03): who only speaks first is not believed.
        row("the port rewritten, no flag", true, "127.0.10.1", "127.0.10.1", |_| (), false),
        row("media from a third address", false, "127.0.10.9", "127.0.10.77", |_| (), false),
    ];
    const fn row(
        what: &'static str,
        other_port: bool,
        source: &'static str,
        real: &'static str,
        set: fn(&mut warp_ng::Flags),
        ours: bool,
    ) -> Row {
        Row { what, sdp: "127.0.10.1", other_port, source, real, set, ours }
    }
    let world = common::World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        // So that each refused packet is seen and counted here, and not by the kernel.
        c.connect_sockets = false;
    });
    let ours = Engine::ours(&world);
    let mut refusals = 0.0;
    for (i, row) in ROWS.iter().enumerate() {
        refusals += if row.ours { 0.0 } else { 10.0 };
        let wanted = refusals;
        let wait = || {
            let name = "warp_media_packet_errors_total{reason=\"bad_source\"}";
            world.wait("the caller's packets to be refused", |w| w.metric(name) >= wanted);
        };
        let refused = (!row.ours).then_some(&wait as &dyn Fn());
        let expected = if row.ours { (10, 10) } else { (0, 0) };
        assert_eq!(through(&ours, row, &format!("row{i}"), refused), expected, "ours: {}", row.what);
    }
    if !has("rtpengine", "the_table_of_flags_row_by_row_beside_rtpengine") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(&folder);
    for (i, row) in ROWS.iter().enumerate() {
        assert_eq!(through(&engine, row, &format!("row{i}"), None), (10, 10), "rtpengine: {}", row.what);
    }
}

#[test]
fn a_call_that_comes_through_twice_is_carried_as_in_rtpengine() {
    // A PBX in the signalling only: the second call's SDP is the relay's own address.
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let ours = Engine::ours(&world);
    let folder = tempfile::tempdir().unwrap();
    let theirs = has("rtpengine", "a_call_that_comes_through_twice_is_carried_as_in_rtpengine")
        .then(|| Engine::start(&folder));
    for relay in [Some(ours), theirs].iter().flatten() {
        let ask = |c: Command| audio_port(&text(relay.ask(&c, Encoding::Bencode)));
        let said = |call: &str, from: &str, to: Option<&str>, port: u16| {
            let mut c = SdpCommand::new(call, from, sdp(port, ""));
            c.to_tag = to.map(Into::into);
            // From the PBX, which has another address than the relay.
            c.received_from = Some("127.0.10.99".parse().unwrap());
            c
        };
        let (caller, callee) = (socket(), socket());
        let port = |s: &UdpSocket| s.local_addr().unwrap().port();
        let b1 = ask(Command::Offer(said("one", "a", None, port(&caller))));
        let b2 = ask(Command::Offer(said("two", "c", None, b1)));
        let a2 = ask(Command::Answer(said("two", "c", Some("d"), port(&callee))));
        let a1 = ask(Command::Answer(said("one", "a", Some("b"), a2)));
        for n in 1..=10 {
            caller.send_to(&rtp(7, n), ("127.0.0.1", a1)).unwrap();
            wait_for(&callee, "the caller's packet through both calls", |p, _| {
                (p == rtp(7, n)).then_some(())
            });
            callee.send_to(&rtp(9, n), ("127.0.0.1", b2)).unwrap();
            wait_for(&caller, "the callee's packet through both calls", |p, _| {
                (p == rtp(9, n)).then_some(())
            });
        }
    }
}

/// A re-INVITE that was refused: the relay, ours or an outside rtpengine, has taken its offer, and is told the old offer and answer again
/// (as `sip_proxy::core` does). Then media flows as before, both ways, and not to the port that was only proposed.
#[test]
fn a_refused_reoffer_leaves_media_as_it_was_in_rtpengine_too() {
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let ours = Engine::ours(&world);
    let folder = tempfile::tempdir().unwrap();
    let theirs = has("rtpengine", "a_refused_reoffer_leaves_media_as_it_was_in_rtpengine_too")
        .then(|| Engine::start(&folder));
    for (which, relay) in [Some(ours), theirs].iter().flatten().enumerate() {
        let (caller, callee, proposed) = (socket(), socket(), socket());
        let own = |s: &UdpSocket| s.local_addr().unwrap().port();
        let ask = |c: Command| audio_port(&text(relay.ask(&c, Encoding::Bencode)));
        let offer = |port: u16| {
            let mut c = SdpCommand::new("refused", "ft", sdp(port, "a=sendrecv\r\n"));
            c.received_from = Some([127, 0, 0, 1].into());
            Command::Offer(c)
        };
        let answer = || {
            let mut c = SdpCommand::new("refused", "ft", sdp(own(&callee), "a=sendrecv\r\n"));
            c.to_tag = Some(b"tt".to_vec());
            c.received_from = Some([127, 0, 0, 1].into());
            Command::Answer(c)
        };
        let in_dialog = |port: u16| match offer(port) {
            Command::Offer(mut c) => {
                c.to_tag = Some(b"tt".to_vec());
                Command::Offer(c)
            }
            other => other,
        };
        let to_callee = ask(offer(own(&caller)));
        let to_caller = ask(answer());
        let flows = |when: &str| {
            for n in 1..=10 {
                caller.send_to(&rtp(7, n), ("127.0.0.1", to_caller)).unwrap();
                wait_for(&callee, when, |p, from| (p == rtp(7, n) && from.port() == to_callee).then_some(()));
                callee.send_to(&rtp(9, n), ("127.0.0.1", to_callee)).unwrap();
                wait_for(&caller, when, |p, from| (p == rtp(9, n) && from.port() == to_caller).then_some(()));
            }
        };
        flows("before");
        // The offer of another port, which the callee refuses with 488.
        ask(in_dialog(own(&proposed)));
        // What both had agreed on, again.
        assert_eq!(ask(in_dialog(own(&caller))), to_callee, "relay {which}: the callee's port is the same");
        assert_eq!(ask(answer()), to_caller, "relay {which}: the caller's port is the same");
        flows("after the refused offer");
        proposed.set_nonblocking(true).unwrap();
        assert!(
            proposed.recv(&mut [0; 2_048]).is_err(),
            "relay {which}: nothing goes where nobody agreed to"
        );
    }
}
