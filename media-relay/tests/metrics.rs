//! The metrics of the relay: every name fed by a real call (`ref/metrics-and-dashboards.md` §2 Media).

mod common;

use std::collections::BTreeSet;
use std::net::UdpSocket;

use common::{DEADLINE, Phone, World, answer, offer, rtp};
use warp_media::StreamSnapshot;
use warp_media_relay::core::EndedStream;
use warp_media_relay::core::ports::PortPool;
use warp_media_relay::metrics::{Metrics, TRUNKS};
use warp_model::Mono;
use warp_model::id::{TrunkId, VendorTrunkId};
use warp_ng::{Command, Reply};
use warp_telemetry::metrics::Registry;

/// A call whose parties are labelled, with media both ways.
fn labelled(world: &World, id: &str, labels: [&str; 2]) -> [Phone; 2] {
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    let (mut o, mut w) = (offer(id, &a.sdp()), answer(id, &b.sdp()));
    (o.label, w.label) = (Some(labels[0].into()), Some(labels[1].into()));
    b.relay = Some(world.sdp(Command::Offer(o)));
    a.relay = Some(world.sdp(Command::Answer(w)));
    for _ in 0..5 {
        a.send_rtp();
        b.recv_rtp();
        b.send_rtp();
        a.recv_rtp();
    }
    [a, b]
}

#[test]
fn streams_are_counted_by_trunk() {
    let world = World::new(|_| ());
    let (trunk, vendor) = (TrunkId::from_u128(7).to_string(), VendorTrunkId::from_u128(8).to_string());
    let _phones = labelled(&world, "one", [&trunk, &vendor]);
    // A stranger's label is no series of its own, however much it looks like one.
    let _more = labelled(&world, "two", ["trk_00000000000000000000000000x", "Alice\"} 1\n"]);
    for id in ["one", "two"] {
        assert!(world.delete(id).is_ok());
    }
    for name in ["stream_mos", "stream_jitter_seconds", "stream_loss_ratio"] {
        for (label, count) in [(trunk.as_str(), 1.0), (&vendor, 1.0), ("_other", 2.0)] {
            let series = format!("warp_media_{name}_count{{trunk=\"{label}\"}}");
            assert_eq!(world.metric(&series), count, "{series}");
        }
    }
    let text = world.registry.render();
    assert!(!text.contains("Alice") && !text.contains("trk_00000000000000000000000000x"));
}

fn ended(trunk: u128) -> EndedStream {
    let heard = StreamSnapshot {
        packets: 100,
        expected: 100,
        mos_x100: 420,
        rtt_us: 80_000,
        late: 2,
        ..StreamSnapshot::default()
    };
    let label = TrunkId::from_u128(trunk).to_string().into_bytes();
    EndedStream { figures: [heard, StreamSnapshot::default()], labels: [Some(label), None], shared: false }
}

fn detached() -> (Registry, Metrics) {
    let registry = Registry::new();
    let pool = PortPool::new(&["127.0.0.1".parse().unwrap()], 20_000..=20_003, 1).unwrap();
    let metrics = Metrics::new(&registry, &["lo".to_owned()], &pool);
    (registry, metrics)
}

fn series(text: &str, start: &str) -> usize {
    text.lines().filter(|l| l.starts_with(start)).count()
}

#[test]
fn trunks_beyond_the_cap_fold_and_silent_ones_go() {
    let (registry, metrics) = detached();
    for trunk in 0..(TRUNKS as u128 + 10) {
        metrics.stream_ended(&ended(trunk), Mono(0));
    }
    let text = registry.render();
    // `_other` is there from the start and takes one place.
    assert_eq!(series(&text, "warp_media_stream_mos_count"), TRUNKS);
    assert!(text.contains("warp_media_stream_mos_count{trunk=\"_other\"} 11"), "11 that found no place");
    assert!(
        text.contains("warp_metrics_label_overflow_total{label=\"trunk\"} 33"),
        "for each of three families"
    );
    // A minute later the next stream marks them all; after 15 more, those without a stream since are gone.
    let at = |s: u64| Mono(s * 1_000_000_000);
    for s in [60, 200, 1_000] {
        metrics.stream_ended(&ended(1), at(s));
    }
    let text = registry.render();
    assert_eq!(series(&text, "warp_media_stream_mos_count"), 2, "{text}");
    assert!(text.contains("warp_media_stream_mos_count{trunk=\"_other\"}"));
}

#[test]
fn round_trips_late_packets_and_one_way_streams_are_counted() {
    let (registry, metrics) = detached();
    metrics.stream_ended(&ended(1), Mono(0));
    let text = registry.render();
    for line in [
        "warp_media_rtt_seconds_bucket{le=\"0.05\"} 0",
        "warp_media_rtt_seconds_bucket{le=\"0.1\"} 1",
        "warp_media_packets_late_total{direction=\"ingress\"} 2",
        "warp_media_one_way_sessions_total 1",
    ] {
        assert!(text.contains(line), "{line} missing in\n{text}");
    }
}

#[test]
fn packets_out_of_order_twice_and_late_are_counted_at_the_end() {
    let world = World::new(|_| ());
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("order", &mut a, &mut b);
    // 1 is late by five places, 5 by one; 6 comes twice.
    for s in [0, 2, 3, 4, 6, 5, 1, 6] {
        a.rtp.send_to(&rtp(1, s), a.relay.as_ref().unwrap().rtp).unwrap();
        assert_eq!(b.recv_rtp(), rtp(1, s));
    }
    assert!(world.delete("order").is_ok());
    for (name, count) in [("reordered", 2.0), ("late", 1.0), ("duplicate", 1.0), ("lost", 0.0)] {
        let series = format!("warp_media_packets_{name}_total{{direction=\"ingress\"}}");
        assert_eq!(world.metric(&series), count, "{series}");
    }
}

#[test]
fn streams_by_codec_ports_by_interface_and_every_value_from_the_start() {
    let world = World::new(|c| {
        c.ips = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(|t| t.parse().unwrap()).to_vec();
        c.interfaces = ["pub", "priv", "priv"].map(str::to_owned).to_vec();
        c.ports = 20_000..=20_999;
    });
    let text = world.registry.render();
    for zero in [
        "warp_media_packet_errors_total{reason=\"bad_ssrc\"} 0",
        "warp_media_packet_errors_total{reason=\"srtp_replay\"} 0",
        "warp_media_packets_late_total{direction=\"egress\"} 0",
        "warp_media_packets_total{direction=\"egress\",path=\"kernel\"} 0",
        "warp_media_forward_latency_seconds_count{path=\"kernel\"} 0",
        "warp_media_stream_jitter_seconds_count{trunk=\"_other\"} 0",
        "warp_media_silent_timeouts_total 0",
    ] {
        assert!(text.contains(zero), "{zero} missing");
    }
    // A large family shows what was counted: nobody offers keys here, so no stream has any.
    for absent in ["warp_media_streams{", "warp_media_ng_request_seconds_count{"] {
        assert!(!text.contains(absent), "{absent} is zero for ever");
    }
    assert_eq!(world.metric("warp_media_ports{interface=\"pub\"}"), 500.0);
    assert_eq!(world.metric("warp_media_ports{interface=\"priv\"}"), 1_000.0);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    let mut o = offer("c", &a.sdp());
    o.direction = Some((b"pub".to_vec(), b"priv".to_vec()));
    b.relay = Some(world.sdp(Command::Offer(o)));
    assert!(!world.registry.render().contains("warp_media_streams{"), "an offer is no stream yet");
    a.relay = Some(world.sdp(Command::Answer(answer("c", &b.sdp()))));
    assert_eq!(world.metric("warp_media_streams{codec=\"pcmu\",srtp=\"none\"}"), 2.0);
    assert_eq!(b.relay.as_ref().unwrap().rtp.ip().to_string(), "127.0.0.2");
    for interface in ["pub", "priv"] {
        assert_eq!(world.metric(&format!("warp_media_ports_used{{interface=\"{interface}\"}}")), 1.0);
    }
    assert!(world.delete("c").is_ok());
    assert_eq!(world.metric("warp_media_streams{codec=\"pcmu\",srtp=\"none\"}"), 0.0);
    assert_eq!(world.metric("warp_media_ports_used{interface=\"priv\"}"), 0.0);
}

#[test]
fn one_packet_in_1024_is_timed() {
    let world = World::new(|_| ());
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    let mut o = offer("timed", &a.sdp());
    // The highest packet rate that an SDP can ask for: none of these is over the limit.
    o.sdp.extend_from_slice(b"a=ptime:1\r\n");
    b.relay = Some(world.sdp(Command::Offer(o)));
    a.relay = Some(world.sdp(Command::Answer(answer("timed", &b.sdp()))));
    let timed = "warp_media_forward_latency_seconds_count{path=\"user\"}";
    for _ in 0..1_023 {
        let packet = a.send_rtp();
        assert_eq!(b.recv_rtp(), packet);
    }
    assert_eq!(world.metric(timed), 0.0);
    let packet = a.send_rtp();
    assert_eq!(b.recv_rtp(), packet);
    world.wait("the sample", |w| w.metric(timed) == 1.0);
}

#[test]
fn commands_are_counted_by_result() {
    let world = World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        c.max_calls = 1;
    });
    let phone = Phone::new("127.0.0.1", false, 1);
    let ask = |command: Command| world.relay.control().ask(command);
    assert!(ask(Command::Offer(offer("a", &phone.sdp()))).is_ok());
    assert!(matches!(ask(Command::Offer(offer("b", &phone.sdp()))), Reply::LoadLimit { .. }));
    assert!(!ask(Command::Answer(answer("none", &phone.sdp()))).is_ok());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(world.relay.ng_addr().unwrap()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut buffer = [0; 2_048];
    for datagram in ["c1 d7:command4:pinge", "c1 d7:command4:pinge", "c2 nonsense"] {
        socket.send(datagram.as_bytes()).unwrap();
        assert!(socket.recv(&mut buffer).is_ok());
    }
    let text = world.registry.render();
    let counted: BTreeSet<&str> = text
        .lines()
        .filter(|l| l.starts_with("warp_media_ng_requests_total{") && !l.ends_with(" 0"))
        .collect();
    let expected = [
        r#"warp_media_ng_requests_total{command="answer",result="error"} 1"#,
        r#"warp_media_ng_requests_total{command="bad",result="error"} 1"#,
        r#"warp_media_ng_requests_total{command="offer",result="load_limit"} 1"#,
        r#"warp_media_ng_requests_total{command="offer",result="ok"} 1"#,
        r#"warp_media_ng_requests_total{command="ping",result="ok"} 1"#,
        r#"warp_media_ng_requests_total{command="ping",result="repeated"} 1"#,
    ];
    assert_eq!(counted, BTreeSet::from(expected));
    assert_eq!(world.metric(r#"warp_media_ng_request_seconds_count{command="offer",result="ok"}"#), 1.0);
}
