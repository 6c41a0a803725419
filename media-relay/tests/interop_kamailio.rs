//! A real Kamailio with its rtpengine module drives our relay over ng: INVITE, 200, RTP both ways, BYE, all on loopback.

mod kamailio;
mod programs;

use std::net::UdpSocket;

use kamailio::{Kamailio, header, sip};
use programs::{DEADLINE, audio_port, has, rtp, socket, wait_for};
use warp_media_relay::{Config, Relay, start};
use warp_ng::{Command, Reply};
use warp_telemetry::metrics::Registry;

/// `CALLEE`, `FLAGS` and `GONE` are put in.
const KAMAILIO: &str = r#"
modparam("rtpengine", "mos_average_pv", "$avp(mos)")
modparam("rtpengine", "mos_average_samples_pv", "$avp(samples)")
modparam("rtpengine", "mos_min_pv", "$avp(lowest)")
modparam("rtpengine", "mos_min_packetloss_pv", "$avp(loss)")
modparam("rtpengine", "mos_max_roundtrip_leg_pv", "$avp(leg)")
modparam("rtpengine", "mos_A_label_pv", "$avp(label)")
modparam("rtpengine", "mos_average_A_pv", "$avp(of_label)")

request_route {
    if (has_totag()) {
        if (is_method("BYE")) {
            $avp(label) = "caller";
            GONE
            rtpengine_manage();
            append_hf("X-Quality: $avp(mos) $avp(samples) $avp(lowest) $avp(loss) $avp(leg) $avp(of_label)\r\n");
        }
        loose_route();
        t_relay();
        exit;
    }
    if (is_method("INVITE")) {
        record_route();
        $du = "sip:127.0.0.1:CALLEE";
        FLAGS
        t_on_reply("ANSWER");
        t_relay();
    }
    exit;
}

onreply_route[ANSWER] {
    if (has_body("application/sdp")) rtpengine_manage("replace-origin ICE=remove via-branch=2");
}
"#;

struct World {
    _kamailio: Kamailio,
    relay: Relay,
    sip: u16,
    caller: UdpSocket,
    callee: UdpSocket,
}

impl World {
    fn start(flags: &str, first_port: u16) -> World {
        Self::with([&format!("rtpengine_manage(\"{flags}\");"), ""], first_port, None)
    }

    /// What its script does with an INVITE, and with a BYE.
    fn with(does: [&str; 2], first_port: u16, record: Option<&std::path::Path>) -> World {
        let config = Config {
            record: record.map(|folder| folder.to_str().unwrap().to_owned()),
            ng: Some("127.0.0.1:0".parse().unwrap()),
            ports: first_port..=first_port + 199,
            ..Config::default()
        };
        let relay = start(config, [7; 32], &Registry::new(), Box::new(|_, _| ())).unwrap();
        let (caller, callee) = (socket(), socket());
        let text = KAMAILIO
            .replace("CALLEE", &callee.local_addr().unwrap().port().to_string())
            .replace("FLAGS", does[0])
            .replace("GONE", does[1]);
        let kamailio = Kamailio::start(relay.ng_addr().unwrap().port(), &text);
        World { sip: kamailio.sip, _kamailio: kamailio, relay, caller, callee }
    }

    fn to_proxy(&self, from: &UdpSocket, message: &str) {
        from.send_to(message.as_bytes(), ("127.0.0.1", self.sip)).unwrap();
    }

    fn calls(&self) -> Vec<Vec<u8>> {
        match self.relay.control().ask(Command::List { limit: 100 }) {
            Reply::Calls(calls) => calls,
            other => panic!("{other:?}"),
        }
    }
}

fn body(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 18\r\na=rtpmap:18 G729/8000\r\na=ice-ufrag:x\r\n"
    )
}

fn local(s: &UdpSocket) -> u16 {
    s.local_addr().unwrap().port()
}

/// One call through Kamailio and our relay; gives the SDP that each side got, and the BYE.
fn call(world: &World, id: &str) -> [String; 3] {
    let (caller_rtp, callee_rtp) = (socket(), socket());
    let me = local(&world.caller);
    let sdp = body(local(&caller_rtp));
    let invite = format!(
        "INVITE sip:123@127.0.0.1:{} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{me};branch=z9hG4bK-{id}\r\nMax-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=ft1\r\nTo: <sip:123@127.0.0.1>\r\nCall-ID: {id}\r\nCSeq: 1 INVITE\r\nContact: <sip:a@127.0.0.1:{me}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        world.sip,
        sdp.len(),
    );
    // Kamailio needs a moment to listen: repeat like a SIP client does.
    let end = std::time::Instant::now() + DEADLINE;
    let mut buffer = vec![0; 65_536];
    let at_callee = loop {
        assert!(std::time::Instant::now() < end, "the INVITE never came through Kamailio");
        world.to_proxy(&world.caller, &invite);
        if let Ok(n) = world.callee.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with("INVITE ") && text.contains(&format!("Call-ID: {id}\r\n")) {
                break text;
            }
        }
    };
    let answer = body(local(&callee_rtp));
    let copied = ["Via", "From", "Call-ID", "CSeq", "Record-Route"]
        .into_iter()
        .flat_map(|name| header(&at_callee, name))
        .map(|l| format!("{l}\r\n"))
        .collect::<String>();
    let ok = format!(
        "SIP/2.0 200 OK\r\n{copied}To: <sip:123@127.0.0.1>;tag=tt1\r\nContact: <sip:123@127.0.0.1:{}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{answer}",
        local(&world.callee),
        answer.len(),
    );
    world.to_proxy(&world.callee, &ok);
    let at_caller = sip(&world.caller, "SIP/2.0 200");
    let route = header(&at_caller, "Record-Route")[0].replace("Record-Route", "Route");
    let in_dialog = |method: &str, cseq: u32| {
        format!(
            "{method} sip:123@127.0.0.1:{} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{me};branch=z9hG4bK-{id}-{method}\r\nMax-Forwards: 70\r\n{route}\r\nFrom: <sip:a@127.0.0.1>;tag=ft1\r\nTo: <sip:123@127.0.0.1>;tag=tt1\r\nCall-ID: {id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n",
            local(&world.callee),
        )
    };
    world.to_proxy(&world.caller, &in_dialog("ACK", 1));
    sip(&world.callee, "ACK ");
    assert_eq!(world.calls(), [id.as_bytes().to_vec()]);

    // Media both ways, and nothing of a stranger.
    let (to_callee, to_caller) = (audio_port(&at_callee), audio_port(&at_caller));
    let stranger = socket();
    for n in 1..=20 {
        stranger.send_to(&rtp(666, n), ("127.0.0.1", to_caller)).unwrap();
        caller_rtp.send_to(&rtp(7, n), ("127.0.0.1", to_caller)).unwrap();
        callee_rtp.send_to(&rtp(9, n), ("127.0.0.1", to_callee)).unwrap();
    }
    for n in 1..=20 {
        wait_for(&callee_rtp, "RTP of the caller", |p, from| {
            assert_ne!(p, rtp(666, n), "T-RTP-02");
            (p == rtp(7, n) && from.port() == to_callee).then_some(())
        });
        wait_for(&caller_rtp, "RTP of the callee", |p, _| (p == rtp(9, n)).then_some(()));
    }

    world.to_proxy(&world.caller, &in_dialog("BYE", 2));
    let bye = sip(&world.callee, "BYE ");
    [at_callee, at_caller, bye]
}

#[test]
fn kamailio_carries_a_call_over_our_relay() {
    if !has("kamailio", "kamailio_carries_a_call_over_our_relay") {
        return;
    }
    let world =
        World::start("replace-origin replace-session-connection ICE=remove RTP/AVP via-branch=1", 36_000);
    for id in ["one", "two"] {
        let [at_callee, at_caller, _] = call(&world, id);
        for sdp in [&at_callee, &at_caller] {
            assert!((36_000..36_200).contains(&audio_port(sdp)), "{sdp}");
            assert!(sdp.contains("a=rtcp:") && !sdp.contains("ice-ufrag"), "{sdp}");
        }
        // Kamailio sends no delete-delay: the call stays for the relay's default, then goes.
        assert_eq!(world.calls(), [id.as_bytes().to_vec()]);
        let gone = Command::Delete(warp_ng::Delete::call(id));
        let Reply::Stats(stats) = world.relay.control().ask(gone) else { panic!("already gone") };
        assert_eq!((stats.figures_from(b"ft1").packets, stats.figures_from(b"tt1").packets), (20, 20));
        assert!(world.calls().is_empty());
    }
}

/// The flags of the captured dialogue (`ref/ng-protocol.md` §10), all at once.
#[test]
fn kamailio_with_every_flag_of_the_capture() {
    if !has("kamailio", "kamailio_with_every_flag_of_the_capture") {
        return;
    }
    let world = World::start(
        "replace-origin replace-session-connection ICE=remove RTP/AVP direction=a direction=b via-branch=1 codec-strip-G729 codec-transcode-PCMA SDES-off DTLS=off rtcp-mux-demux record-call=off TOS=184 media-address=127.0.0.1 label=caller trust-address",
        36_200,
    );
    let [_, _, bye] = call(&world, "flags");
    // What its script reads of our `delete`: MOS in all and of the labelled party, samples, loss and round trip.
    let quality = header(&bye, "X-Quality");
    let figures: Vec<f64> = quality[0]
        .split(' ')
        .skip(1)
        .map(|f| f.trim().parse().unwrap_or_else(|_| panic!("{quality:?}")))
        .collect();
    let [mos, samples, lowest, loss, leg, of_label] = figures.as_slice() else { panic!("{quality:?}") };
    for mos in [mos, lowest, of_label] {
        assert!((1.0..=4.5).contains(mos), "{quality:?}");
    }
    assert_eq!((*samples, *loss, *leg), (1.0, 0.0, 0.0), "{quality:?}");
}

/// `start_recording()` and `stop_recording()` of its script: what each party said is in its file.
#[test]
fn kamailio_has_a_call_recorded() {
    if !has("kamailio", "kamailio_has_a_call_recorded") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let does = [
        "rtpengine_manage(\"replace-origin ICE=remove RTP/AVP via-branch=1 metadata=from-kamailio\"); start_recording();",
        "stop_recording();",
    ];
    let world = World::with(does, 36_400, Some(folder.path()));
    call(&world, "recorded");
    let end = std::time::Instant::now() + DEADLINE;
    let about: serde_json::Value = loop {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().path());
        let mut whole = files.filter(|p| {
            let name = p.file_name().unwrap().to_str().unwrap();
            name.starts_with("rec-") && name.ends_with(".json") && !name.ends_with(".recording.json")
        });
        if let Some(path) = whole.next() {
            break serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        }
        assert!(std::time::Instant::now() < end, "never complete");
        std::thread::yield_now();
    };
    assert_eq!(
        (&about["call_id"], &about["metadata"]),
        (&"recorded".into(), &"from-kamailio".into()),
        "{about}"
    );
    let legs = about["legs"].as_array().unwrap();
    let told: Vec<_> =
        legs.iter().map(|l| (l["tag"].as_str().unwrap(), l["packets"].as_u64().unwrap())).collect();
    assert_eq!(told, [("ft1", 20), ("tt1", 20)]);
    for leg in legs {
        let size = folder.path().join(leg["file"].as_str().unwrap()).metadata().unwrap().len();
        assert!(size > 44, "{size}");
    }
}
