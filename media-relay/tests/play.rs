//! `play media`, `stop media` and `play DTMF` (RFC 0049): what the parties hear, from where sounds may come, and the answers
//! that clients get, ours and those of Debian's rtpengine.

mod common;
mod engine;
mod programs;

use std::time::Instant;

use common::{Phone, World, both_ways};
use engine::Client;
use programs::has;
use serde_json::{Value, json};
use warp_media::MediaPath;
use warp_media::g711::{from_pcma, from_pcmu};
use warp_media::packet::RoomyPacket;
use warp_media::pipeline::StageMaker;
use warp_media::rtp::RtpView;
use warp_media::srtp::{CryptoLine, SrtpMaker, Suite};
use warp_model::Mono;
use warp_ng::{Command, SdpCommand, Transport};

fn world(sounds: Option<&std::path::Path>) -> World {
    World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        c.sounds = sounds.map(|s| s.to_str().unwrap().to_owned());
    })
}

/// A command about the call `c`.
fn ask(client: &mut Client, command: &str, more: Value) -> Value {
    let mut c = json!({"command":command,"call-id":"c"});
    for (key, value) in more.as_object().unwrap() {
        c[key] = value.clone();
    }
    client.ask(&c)
}

/// A WAV file of 16-bit samples.
fn wav(samples: &[i16]) -> Vec<u8> {
    let mut file =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1F\0\0\x80\x3E\0\0\x02\0\x10\0data".to_vec();
    file.extend((samples.len() as u32 * 2).to_le_bytes());
    file.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    file
}

fn steps(packets: usize) -> Vec<i16> {
    (0..packets * 160).map(|n| (n / 160 % 30) as i16 * 1_000 + 500).collect()
}

fn talking(world: &World) -> (Phone, Phone) {
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("c", &mut a, &mut b);
    both_ways(&mut a, &mut b);
    (a, b)
}

struct Heard {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload_type: u8,
    payload: Vec<u8>,
}

fn heard(packet: &[u8]) -> Heard {
    let rtp = RtpView::parse(packet).unwrap();
    Heard {
        ssrc: rtp.ssrc(),
        sequence: rtp.sequence(),
        timestamp: rtp.timestamp(),
        marker: rtp.marker(),
        payload_type: rtp.payload_type(),
        payload: rtp.payload().to_vec(),
    }
}

/// A sound from the folder: a stream of its own, 20 ms a packet, instead of what the other one says; then that again.
#[test]
fn a_party_hears_a_file_instead_of_the_other_one_and_then_that_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("en")).unwrap();
    std::fs::write(folder.path().join("en/please-wait.wav"), wav(&steps(10))).unwrap();
    let world = world(Some(folder.path()));
    let mut client = Client::ours(&world);
    let (mut a, mut b) = talking(&world);
    // The name alone, or as a script for rtpengine has it.
    let whole = folder.path().join("en/please-wait.wav");
    let mut last: Option<Heard> = None;
    for name in ["en/please-wait.wav", whole.to_str().unwrap()] {
        let begun = Instant::now();
        let reply = ask(&mut client, "play media", json!({"from-tag":"caller","file":name}));
        assert_eq!(reply, json!({"result":"ok","duration":200}));
        let dropped = |w: &World| w.metric("warp_media_packet_errors_total{reason=\"no_session\"}");
        let before = dropped(&world);
        let first = heard(&a.recv_rtp());
        assert!(first.marker && ![1, 2].contains(&first.ssrc));
        if let Some(last) = &last {
            assert_eq!((first.ssrc, first.sequence), (last.ssrc, last.sequence.wrapping_add(1)));
            assert!(first.timestamp.wrapping_sub(last.timestamp) > 160, "its clock went on");
        }
        b.send_rtp();
        let packet = a.send_rtp();
        assert_eq!(b.recv_rtp(), packet, "the other one hears as before");
        world.wait("it is kept back", |w| dropped(w) == before + 1.0);
        for n in 0..10u16 {
            let next = if n == 0 { heard_again(&first) } else { heard(&a.recv_rtp()) };
            assert_eq!((next.ssrc, next.payload_type, next.marker), (first.ssrc, 0, n == 0));
            assert_eq!(next.sequence, first.sequence.wrapping_add(n));
            assert_eq!(next.timestamp, first.timestamp.wrapping_add(u32::from(n) * 160));
            let is_right =
                |byte: &u8| (i32::from(from_pcmu(*byte)) - (i32::from(n) * 1_000 + 500)).abs() < 260;
            assert!(next.payload.len() == 160 && next.payload.iter().all(is_right), "{n}");
            last = Some(next);
        }
        assert!(begun.elapsed().as_millis() >= 175, "paced");
        // The rule is as before a moment later.
        let end = Instant::now() + common::DEADLINE;
        let packet = b.next_rtp();
        a.rtp.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
        let mut buffer = [0; 512];
        while a.rtp.recv(&mut buffer).is_err() {
            assert!(Instant::now() < end, "never heard again");
            b.rtp.send_to(&packet, b.relay.as_ref().unwrap().rtp).unwrap();
        }
        assert_eq!(buffer[..packet.len()], packet);
        a.rtp.set_read_timeout(Some(common::DEADLINE)).unwrap();
        drain(&a);
        both_ways(&mut a, &mut b);
    }
    assert_eq!(world.metric("warp_media_panics_total"), 0.0);
}

fn heard_again(h: &Heard) -> Heard {
    Heard { payload: h.payload.clone(), ..*h }
}

/// What is on its way has come.
fn drain(phone: &Phone) {
    phone.rtp.set_nonblocking(true).unwrap();
    while phone.rtp.recv(&mut [0; 512]).is_ok() {}
    phone.rtp.set_nonblocking(false).unwrap();
}

/// A blob, again and again, over a re-INVITE, until it is stopped; each party in its own codec.
#[test]
fn a_blob_goes_on_over_a_reoffer_until_it_is_stopped() {
    let world = world(None);
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    let [offered, answered] =
        [("0 101", &a), ("8 101", &b)].map(|(formats, phone)| phone.sdp().replace("0 101", formats));
    let set_up = |a: &mut Phone, b: &mut Phone| {
        b.relay = Some(world.sdp(Command::Offer(common::offer("c", &offered.replace("0 101", "8 0 101")))));
        a.relay = Some(world.sdp(Command::Answer(common::answer("c", &answered))));
    };
    set_up(&mut a, &mut b);
    use base64::Engine;
    let blob = base64::engine::general_purpose::STANDARD.encode(wav(&steps(2)));
    let more = json!({"all":"all","blob64":blob,"repeat-times":500,"start-pos":20});
    assert_eq!(ask(&mut client, "play media", more), json!({"result":"ok","duration":40}));
    let mut next = None;
    for n in 0..20usize {
        if n == 10 {
            set_up(&mut a, &mut b);
        }
        for phone in [&a, &b] {
            let packet = heard(&phone.recv_rtp());
            assert_eq!((packet.payload_type, packet.marker), (8, n == 0), "what both have: {n}");
            let value = i32::from(from_pcma(packet.payload[0]));
            let wanted = if n % 2 == 0 { 1_500 } else { 500 };
            assert!((value - wanted).abs() < 100, "{n}: {value}");
            if std::ptr::eq(phone, &a) {
                assert!(next.is_none_or(|next| next == packet.sequence), "{n}");
                next = Some(packet.sequence.wrapping_add(1));
            }
        }
    }
    let reply = ask(&mut client, "stop media", json!({"from-tag":"caller"}));
    assert_eq!(reply["result"], "ok");
    assert!(reply["last-frame-pos"].as_u64().unwrap() < 40, "{reply}");
    assert_eq!(
        ask(&mut client, "stop media", json!({"from-tag":"caller"}))["error-reason"],
        "Not currently playing media"
    );
    assert_eq!(ask(&mut client, "stop media", json!({"from-tag":"callee"}))["result"], "ok");
    for phone in [&mut a, &mut b] {
        drain(phone);
    }
    both_ways(&mut a, &mut b);
}

/// A side that speaks SRTP gets what is played under its keys.
#[test]
fn t_rtp_05_what_is_played_to_a_protected_side_is_protected() {
    let world = world(None);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    let offer = SdpCommand { transport_protocol: Some(Transport::RtpSavp), ..common::offer("c", &a.sdp()) };
    b.relay = Some(world.sdp(Command::Offer(offer)));
    let lines = |sdp: &str| -> Vec<CryptoLine> {
        sdp.lines().filter_map(|l| CryptoLine::parse(l.strip_prefix("a=crypto:")?.as_bytes())).collect()
    };
    let ours = lines(&b.relay.as_ref().unwrap().text).into_iter().find(|l| l.suite == Suite::Gcm128).unwrap();
    let theirs = CryptoLine::new(ours.tag, ours.suite, vec![7; ours.suite.master_len()]).unwrap();
    let answer = format!("{}{}\r\n", b.sdp().replace("RTP/AVP", "RTP/SAVP"), theirs.line(false));
    a.relay = Some(world.sdp(Command::Answer(common::answer("c", &answer))));
    let mut client = Client::ours(&world);
    use base64::Engine;
    let blob = base64::engine::general_purpose::STANDARD.encode(wav(&steps(5)));
    let mut open = SrtpMaker::unprotect(&ours).unwrap().make();
    let mut sequences = Vec::new();
    for _ in 0..2 {
        let more = json!({"from-tag":"callee","blob64":blob});
        assert_eq!(ask(&mut client, "play media", more)["result"], "ok");
        for n in 0..5 {
            let mut packet = b.recv_rtp();
            let end = packet.len();
            assert_eq!(end, 12 + 160 + 16);
            let mut packet = RoomyPacket::new(&mut packet, 0, end).unwrap();
            open.run(&mut packet, MediaPath::Rtp, Mono(n)).unwrap();
            let packet = heard(packet.bytes());
            assert!((i32::from(from_pcmu(packet.payload[9])) - (n as i32 * 1_000 + 500)).abs() < 260);
            sequences.push(packet.sequence);
        }
    }
    assert!(
        sequences.windows(2).all(|two| two[1] == two[0].wrapping_add(1)),
        "no number twice: {sequences:?}"
    );
}

/// A call whose protection passes us unopened has no keys of ours: nothing is said there in the clear, and whoever asks hears so.
#[test]
fn t_rtp_05_nothing_is_played_into_what_we_cannot_protect() {
    let world = world(None);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    let protected = |phone: &Phone, n: u8| {
        let line = CryptoLine::new(1, Suite::Gcm128, vec![n; Suite::Gcm128.master_len()]).unwrap();
        format!("{}{}\r\n", phone.sdp().replace("RTP/AVP", "RTP/SAVP"), line.line(false))
    };
    b.relay = Some(world.sdp(Command::Offer(common::offer("c", &protected(&a, 1)))));
    a.relay = Some(world.sdp(Command::Answer(common::answer("c", &protected(&b, 2)))));
    let mut client = Client::ours(&world);
    use base64::Engine;
    let blob = base64::engine::general_purpose::STANDARD.encode(wav(&steps(20)));
    let refused = ask(&mut client, "play media", json!({"from-tag":"callee","blob64":blob}));
    assert_eq!(refused["result"], "error", "{refused}");
    let refused = ask(&mut client, "play DTMF", json!({"from-tag":"caller","code":5,"duration":200}));
    assert_eq!(refused["result"], "error", "{refused}");
    // What the parties send goes on, and nothing else comes.
    let sent = a.send_rtp();
    assert_eq!(b.recv_rtp(), sent);
}

/// RFC 3264 §8.3.2: what an offer takes away is not sent any more, nor anything to who is on hold.
#[test]
fn a_sound_is_silent_where_an_offer_took_its_codec_or_its_hearer_away() {
    let world = world(None);
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    let set_up = |a: &mut Phone, b: &mut Phone, formats: &str, direction: &str| {
        let [offered, answered] = [&*a, &*b].map(|phone| {
            let sdp = phone.sdp().replace("0 101", formats);
            if direction.is_empty() { sdp } else { format!("{sdp}{direction}\r\n") }
        });
        b.relay = Some(world.sdp(Command::Offer(common::offer("c", &offered))));
        a.relay = Some(world.sdp(Command::Answer(common::answer("c", &answered))));
    };
    set_up(&mut a, &mut b, "8 101", "");
    use base64::Engine;
    let blob = base64::engine::general_purpose::STANDARD.encode(wav(&steps(2)));
    let more = json!({"from-tag":"callee","blob64":blob,"repeat-times":500});
    assert_eq!(ask(&mut client, "play media", more)["result"], "ok");
    assert_eq!(heard(&b.recv_rtp()).payload_type, 8);
    for (formats, direction) in [("0 101", ""), ("8 101", "a=inactive")] {
        set_up(&mut a, &mut b, formats, direction);
        drain(&b);
        if direction.is_empty() {
            // The other party is heard again.
            let sent = a.send_rtp();
            assert_eq!(b.recv_rtp(), sent, "{formats}");
        }
        // And it goes on where it may be heard again.
        set_up(&mut a, &mut b, "8 101", "");
        assert_eq!(heard(&b.recv_rtp()).payload_type, 8, "{formats} {direction}");
    }
}

/// The other one hears the keys of a party, one after the other, also while a sound waits.
#[test]
fn keys_are_heard_as_events_or_as_tones() {
    let world = world(None);
    let mut client = Client::ours(&world);
    let (mut a, b) = talking(&world);
    use base64::Engine;
    let blob = base64::engine::general_purpose::STANDARD.encode(wav(&steps(20)));
    assert_eq!(ask(&mut client, "play media", json!({"from-tag":"callee","blob64":blob}))["duration"], 400);
    let sound = heard(&b.recv_rtp());
    for (code, volume) in [(json!(1), 8), (json!("#"), 20), (json!("D"), 8)] {
        let more = json!({"from-tag":"caller","code":code,"duration":100,"pause":100,"volume":-volume});
        assert_eq!(ask(&mut client, "play DTMF", more), json!({"result":"ok"}));
    }
    let mut events = Vec::new();
    let mut stamps = Vec::new();
    while events.len() < 21 {
        let packet = heard(&b.recv_rtp());
        assert_eq!(packet.ssrc, sound.ssrc, "one voice");
        if packet.payload_type == 101 {
            let [event, flags, high, low] = packet.payload[..] else { panic!("an event has four bytes") };
            assert_eq!(packet.marker, events.len() % 7 == 0);
            events.push((event, flags, u16::from_be_bytes([high, low])));
            stamps.push(packet.timestamp);
        }
    }
    for (key, said) in events.chunks(7).enumerate() {
        let (event, volume) = [(1, 8), (11, 20), (15, 8)][key];
        let wanted: Vec<_> = [1, 2, 3, 4, 5, 5, 5]
            .iter()
            .enumerate()
            .map(|(n, ticks)| (event, if n < 4 { volume } else { 0x80 | volume }, ticks * 160))
            .collect();
        assert_eq!(said, wanted);
        assert!(stamps.chunks(7).nth(key).unwrap().iter().all(|s| *s == stamps[key * 7]));
    }
    // The sound goes on where it was.
    loop {
        let packet = heard(&b.recv_rtp());
        if packet.payload_type == 0 {
            break;
        }
    }
    ask(&mut client, "stop media", json!({"from-tag":"callee"}));
    // A party without events hears the tones.
    let (mut c, mut d) = (Phone::new("127.0.0.1", false, 3), Phone::new("127.0.0.1", false, 4));
    let plain = d.sdp().replace("0 101", "0").replace("a=rtpmap:101 telephone-event/8000\r\n", "");
    d.relay = Some(world.sdp(Command::Offer(common::offer("d", &c.sdp()))));
    c.relay = Some(world.sdp(Command::Answer(common::answer("d", &plain))));
    let more = json!({"command":"play DTMF","call-id":"d","from-tag":"caller","code":5,"duration":200});
    assert_eq!(client.ask(&more), json!({"result":"ok"}));
    let samples: Vec<i16> = (0..10).flat_map(|_| heard(&d.recv_rtp()).payload).map(from_pcmu).collect();
    let energy = |hz: f64| {
        let k = 2.0 * (std::f64::consts::TAU * hz / 8_000.0).cos();
        let (x, y) = samples.iter().fold((0.0, 0.0), |(x, y), s| (f64::from(*s) + k * x - y, x));
        (x * x + y * y - k * x * y).sqrt() / samples.len() as f64
    };
    for hz in [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0] {
        assert_eq!(energy(hz) > 1_000.0, hz == 770.0 || hz == 1_336.0, "{hz}");
    }
    // Nor has an offerer events whose peer did not take them (RFC 3264 §7).
    let more = json!({"command":"play DTMF","call-id":"d","from-tag":"callee","code":5,"duration":200});
    assert_eq!(client.ask(&more), json!({"result":"ok"}));
    assert_eq!(heard(&c.recv_rtp()).payload_type, 0);
    // No more wait than may.
    let press = json!({"from-tag":"caller","code":5,"duration":5_000});
    let refused =
        (0..40).map(|_| ask(&mut client, "play DTMF", press.clone())).find(|r| r["result"] == "error");
    assert_eq!(refused.expect("a limit")["error-reason"], "Too many DTMF events are waiting");
    drain(&b);
    a.send_rtp();
}

/// No name leads out of the folder, and nothing but a plain file is opened.
#[test]
fn t_ng_05_a_sound_is_a_name_in_the_folder_or_nothing() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = folder.path();
    let secret = outside.path().join("secret.wav");
    std::fs::write(&secret, wav(&steps(1))).unwrap();
    std::fs::write(root.join("good.wav"), wav(&steps(1))).unwrap();
    std::fs::write(root.join(".hidden.wav"), wav(&steps(1))).unwrap();
    std::fs::write(root.join("text.wav"), "not a sound").unwrap();
    std::fs::create_dir(root.join("folder.wav")).unwrap();
    std::os::unix::fs::symlink(&secret, root.join("link.wav")).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.join("linked")).unwrap();
    let big = std::fs::File::create(root.join("big.wav")).unwrap();
    big.set_len(11 << 20).unwrap();
    let world = world(Some(root));
    let mut client = Client::ours(&world);
    let _phones = talking(&world);
    let name = outside.path().file_name().unwrap().to_str().unwrap();
    let file = |name: &str| json!({"from-tag":"caller","file":name});
    let beside = format!("../{name}/secret.wav");
    let over = format!("{}/../{name}/secret.wav", root.display());
    for (bad, why) in [
        (secret.to_str().unwrap(), "not a name inside"),
        (&beside, "not a name inside"),
        (&over, "not a name inside"),
        ("./good.wav", "not a name inside"),
        (".hidden.wav", "not a name inside"),
        ("good.wav\0", "not a name inside"),
        ("//good.wav", "not a name inside"),
        ("a/b/c/d/good.wav", "not a name inside"),
        (&"x".repeat(300), "not a name inside"),
        ("http://127.0.0.1/x.wav", "not a name inside"),
        ("link.wav", "a link"),
        ("linked/secret.wav", "a link"),
        ("folder.wav", "not a plain file"),
        ("big.wav", "longer than"),
        ("missing.wav", "no such file"),
        ("text.wav", "neither WAV nor AU"),
    ] {
        let reply = ask(&mut client, "play media", file(bad));
        let reason = reply["error-reason"].as_str().unwrap_or_else(|| panic!("{bad}: {reply}"));
        let wanted = format!("Failed to start media playback from file: {why}");
        assert!(reason.starts_with(&wanted) || reason.contains(why), "{bad}: {reason}");
    }
    assert_eq!(ask(&mut client, "play media", file("good.wav"))["result"], "ok");
    let reply = ask(&mut client, "play media", json!({"from-tag":"caller","db-id":4}));
    assert_eq!(
        reply["error-reason"],
        "Failed to start media playback from database: there is no database of sounds"
    );
    // A folder that is not configured has no names.
    let world = self::world(None);
    let _phones = talking(&world);
    let reply = ask(&mut Client::ours(&world), "play media", file("good.wav"));
    assert!(reply["error-reason"].as_str().unwrap().contains("no folder of sounds"), "{reply}");
}

#[test]
fn the_answers_are_those_of_rtpengine() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(None);
    let mut clients = vec![Client::ours(&world)];
    if has("rtpengine", "play::the_answers_are_those_of_rtpengine") {
        clients.push(Client::rtpengine(&folder, 38_400));
    }
    let sdp = Phone::new("127.0.0.1", false, 1).sdp();
    for (at, client) in clients.iter_mut().enumerate() {
        let who = ["ours", "rtpengine"][at];
        let (offer, answer) = (
            json!({"command":"offer","call-id":"c","from-tag":"f","sdp":sdp,"flags":["inject-DTMF"]}),
            json!({"command":"answer","call-id":"c","from-tag":"f","to-tag":"t","sdp":sdp,"flags":["inject-DTMF"]}),
        );
        client.sdp(&offer);
        client.sdp(&answer);
        let mut error = |command: &str, more: Value| {
            let reply = ask(client, command, more);
            reply["error-reason"].as_str().unwrap_or_else(|| panic!("{who}: {command}: {reply}")).to_owned()
        };
        for command in ["play media", "stop media", "play DTMF"] {
            assert_eq!(error(command, json!({"call-id":"x","from-tag":"f"})), "Unknown call-ID", "{who}");
            assert_eq!(error(command, json!({})), "No participant party specified", "{who}");
            assert_eq!(
                error(command, json!({"label":"x"})),
                "No monologue matching the given label",
                "{who}"
            );
        }
        assert_eq!(error("play media", json!({"from-tag":"f"})), "No media file specified", "{who}");
        if at == 0 {
            // As of version 11 on; 10.5 says ok.
            assert_eq!(error("stop media", json!({"from-tag":"f"})), "Not currently playing media");
        }
        assert_eq!(
            error("play DTMF", json!({"from-tag":"f","code":99})),
            "Out of range 'code' specified",
            "{who}"
        );
        let file = error("play media", json!({"from-tag":"f","file":"/nowhere/x.wav"}));
        assert!(file.starts_with("Failed to start media playback from file"), "{who}: {file}");
        // 10.5 wants to have heard the party first, in whose SSRC it presses the key.
        let pressed = ask(client, "play DTMF", json!({"from-tag":"f","code":"5"}));
        let wanted = [
            json!({"result":"ok"}),
            json!({"result":"error","error-reason":"No SSRC context present for DTMF injection"}),
        ];
        assert_eq!(pressed, wanted[at], "{who}");
    }
}
