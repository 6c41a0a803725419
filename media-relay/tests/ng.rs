//! ng over UDP against the whole relay: cookies, bad input, errors (T-NG).

mod common;

use std::net::UdpSocket;

use common::{DEADLINE, Phone, World};
use warp_media_relay::{Config, StartError, start};
use warp_telemetry::metrics::Registry;

fn client(world: &World) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(world.relay.ng_addr().unwrap()).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn ask(socket: &UdpSocket, request: &str) -> String {
    socket.send(request.as_bytes()).unwrap();
    let mut buffer = [0; 65_536];
    let len = socket.recv(&mut buffer).expect("no answer");
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

fn world() -> World {
    World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()))
}

fn offer(cookie: &str, id: &str, sdp: &str) -> String {
    format!("{cookie} d3:sdp{}:{sdp}7:call-id{}:{id}8:from-tag1:f7:command5:offere", sdp.len(), id.len())
}

#[test]
fn ping_in_both_encodings_and_errors_with_the_cookie() {
    let world = world();
    let socket = client(&world);
    assert_eq!(ask(&socket, "c1 d7:command4:pinge"), "c1 d6:result4:ponge");
    assert_eq!(ask(&socket, "c2 {\"command\":\"ping\"}"), "c2 {\"result\":\"pong\"}");
    assert!(ask(&socket, "c3 hello").contains("Invalid NG data format"));
    assert!(ask(&socket, "c4 d7:command5:offere").contains("No SDP body in message"));
    assert!(ask(&socket, "c5 d7:call-id1:x7:command5:querye").contains("Unknown call-id"));
}

#[test]
fn t_ng_02_bad_documents_are_answered_or_dropped_and_the_loop_lives() {
    let world = world();
    let socket = client(&world);
    for silent in ["", "nocookie", " d7:command4:pinge"] {
        socket.send(silent.as_bytes()).unwrap();
    }
    let deep = format!("deep {}{}", "d1:a".repeat(5_000), "e".repeat(5_000));
    for bad in [
        "b1 d7:command99999999999999999999:x",
        "b2 d7:commandi99999999999999999999999ee",
        "b3 d7:command4:pin",
        "b4 {\"command\":",
        &deep,
    ] {
        let cookie = bad.split(' ').next().unwrap();
        let reply = ask(&socket, bad);
        assert!(reply.starts_with(&format!("{cookie} ")) && reply.contains("error"), "{bad:.40}: {reply}");
    }
    let mut random = 0x5EED_u64;
    let good = offer("m", "mutated", &Phone::new("127.0.0.1", false, 1).sdp());
    for i in 0..2_000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 33) as usize % bytes.len();
            bytes[at] = (random >> 24) as u8;
        }
        let _ = socket.send(&bytes);
        if i % 50 == 0 {
            // Replies come in order: read on until the one to this ping.
            let mut reply = ask(&socket, &format!("alive{i} d7:command4:pinge"));
            while !reply.starts_with(&format!("alive{i} ")) {
                let mut buffer = [0; 65_536];
                let len = socket.recv(&mut buffer).expect("no answer");
                reply = String::from_utf8_lossy(&buffer[..len]).into_owned();
            }
        }
    }
    assert_eq!(world.metric("warp_media_panics_total"), 0.0);
}

#[test]
fn t_ng_03_a_repeated_cookie_gets_the_stored_answer_and_runs_once() {
    let world = world();
    let (one, two) = (client(&world), client(&world));
    let phone = Phone::new("127.0.0.1", false, 1);
    let sdp = phone.sdp();
    // Each run counts the version up: what is written tells how often the command ran.
    let request = |cookie: &str| {
        format!(
            "{cookie} d7:command5:offer7:call-id1:r8:from-tag1:f7:replacel23:force-increment-sdp-vere3:sdp{}:{sdp}e",
            sdp.len()
        )
    };
    let version =
        |reply: &str| reply.split("o=").nth(1).unwrap().split(' ').nth(2).unwrap().parse::<u64>().unwrap();
    let first = ask(&one, &request("same"));
    assert!(first.starts_with("same ") && first.contains("m=audio"), "{first}");
    for _ in 0..5 {
        assert_eq!(ask(&one, &request("same")), first);
    }
    assert_eq!(version(&ask(&one, &request("other"))), version(&first) + 1, "it ran once");
    // What ends a call the first time would find none the second.
    let delete = |cookie: &str| format!("{cookie} d7:command6:delete7:call-id1:r12:delete-delayi0ee");
    let gone = ask(&one, &delete("gone"));
    assert!(gone.contains("totals") && !gone.contains("warning"), "{gone}");
    assert_eq!(ask(&one, &delete("gone")), gone);
    assert!(ask(&one, &delete("again")).contains("warning"));
    // Another client with the same cookie is another request.
    assert_eq!(ask(&two, "same d7:command4:pinge"), "same d6:result4:ponge");
    let repeated = world.metric("warp_media_ng_requests_total{command=\"offer\",result=\"repeated\"}");
    assert_eq!(repeated, 5.0);
}

#[test]
fn t_ng_01_only_allowed_sources_are_answered() {
    let world = World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        c.ng_allow = vec!["127.0.0.8/29".parse().unwrap()];
    });
    let from = |ip: &str| {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.connect(world.relay.ng_addr().unwrap()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    };
    let strangers = ["127.0.0.1", "127.0.0.7", "127.0.0.16"].map(from);
    for stranger in &strangers {
        stranger.send(b"s d7:command4:pinge").unwrap();
    }
    // Datagrams are taken in their order: when these have their answers, the strangers' have been looked at.
    for friend in ["127.0.0.8", "127.0.0.15"].map(from) {
        assert_eq!(ask(&friend, "f d7:command4:pinge"), "f d6:result4:ponge");
    }
    for stranger in &strangers {
        stranger.set_nonblocking(true).unwrap();
        assert!(stranger.recv(&mut [0; 64]).is_err(), "a stranger was answered");
    }
    assert_eq!(world.metric("warp_media_ng_requests_total{command=\"bad\",result=\"error\"}"), 3.0);
    assert_eq!(world.metric("warp_media_ng_requests_total{command=\"ping\",result=\"ok\"}"), 2.0);
}

#[test]
fn a_delete_without_delay_ends_the_call_at_once_however_it_is_written() {
    let world = World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        c.delete_delay_s = 30;
    });
    let socket = client(&world);
    let sdp = Phone::new("127.0.0.1", false, 1).sdp();
    for (i, delay) in ["12:delete-delayi0e", "12:delete delay1:0", "12:delete_delay1:0"].iter().enumerate() {
        let id = format!("d{i}");
        assert!(ask(&socket, &offer(&format!("o{i}"), &id, &sdp)).contains("m=audio"));
        let delete = format!("x{i} d7:command6:delete7:call-id{}:{id}{delay}e", id.len());
        assert!(ask(&socket, &delete).contains("totals"), "{delete}");
        assert_eq!(world.metric("warp_media_sessions"), 0.0, "{delete}");
    }
    // And by configuration.
    let world = World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        c.delete_delay_s = 0;
    });
    let socket = client(&world);
    assert!(ask(&socket, &offer("o", "c", &sdp)).contains("m=audio"));
    ask(&socket, "x d7:command6:delete7:call-id1:ce");
    assert_eq!((world.metric("warp_media_sessions"), world.metric("warp_media_ports_used")), (0.0, 0.0));
}

#[test]
fn exhausted_ports_are_counted_and_rested_ones_never_missed() {
    let world = World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        c.ports = 19_000..=19_007;
    });
    let socket = client(&world);
    let sdp = Phone::new("127.0.0.1", false, 1).sdp();
    let call = |i: u32| ask(&socket, &offer(&format!("o{i}"), &format!("c{i}"), &sdp));
    assert!(call(1).contains("m=audio") && call(2).contains("m=audio"));
    assert!(call(3).contains("Ran out of ports"));
    assert_eq!(world.metric("warp_media_ports_exhausted_total"), 1.0);
    assert_eq!(world.metric("warp_media_ports_given_early_total"), 0.0);
    ask(&socket, "x d7:command6:delete7:call-id2:c112:delete-delayi0ee");
    // The packet thread closes the sockets in its own time; until then the kernel has the ports in use.
    let end = std::time::Instant::now() + DEADLINE;
    let mut tries = 10;
    while !call(tries).contains("m=audio") {
        assert!(std::time::Instant::now() < end, "the ports never came back");
        tries += 1;
    }
    assert!(world.metric("warp_media_ports_given_early_total") >= 2.0);
}

#[test]
fn t_ng_04_offers_beyond_the_limit_are_refused_and_calls_go_on() {
    let world = World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        c.max_calls = 3;
    });
    let socket = client(&world);
    let phones: Vec<_> = (0..3).map(|i| Phone::new("127.0.0.1", false, i)).collect();
    for (i, phone) in phones.iter().enumerate() {
        assert!(
            ask(&socket, &offer(&format!("o{i}"), &format!("call{i}"), &phone.sdp())).contains("m=audio")
        );
    }
    let refused = ask(&socket, &offer("o9", "one too many", &phones[0].sdp()));
    assert!(refused.contains("error") && refused.contains("Parallel session limit reached"), "{refused}");
    assert!(ask(&socket, &offer("o10", "call1", &phones[1].sdp())).contains("m=audio"), "re-offer");
    assert_eq!(world.metric("warp_media_sessions"), 3.0);
    assert_eq!(world.metric("warp_media_exhausted_total{pool=\"sessions\"}"), 1.0);
    assert_eq!(world.metric("warp_media_exhausted_total{pool=\"ports\"}"), 0.0);
}

/// Each thing that runs out is counted by its own name, and the client reads which it was.
#[test]
fn t_ng_04_a_call_may_have_so_many_branches_and_no_more() {
    let world = World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let socket = client(&world);
    let sdp = Phone::new("127.0.0.1", false, 1).sdp();
    let branch = |n: u32| {
        let (tag, via) = (format!("t{n:03}"), format!("z9hG4bK{n:03}"));
        let request = format!(
            "b{n} d7:command5:offer7:call-id4:fork8:from-tag4:{tag}3:sdp{}:{sdp}10:via-branch10:{via}e",
            sdp.len()
        );
        ask(&socket, &request)
    };
    let mut refused = None;
    for n in 0..200 {
        let answer = branch(n);
        if !answer.contains("m=audio") {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("branches have an end");
    assert!(refused.contains("Load limit exceeded: branches of one call"), "{refused}");
    assert_eq!(world.metric("warp_media_exhausted_total{pool=\"branches\"}"), 1.0);
    assert!(ask(&socket, &offer("other", "other", &sdp)).contains("m=audio"), "another call has its own");
}

#[test]
fn t_ng_01_start_is_refused_on_a_wildcard_address() {
    let config = Config { ng: Some("0.0.0.0:0".parse().unwrap()), ..Config::default() };
    let result = start(config, [1; 32], &Registry::new(), Box::new(|_, _| ()));
    assert!(matches!(result, Err(StartError::Config(e)) if e.key == "ng"));
}

#[test]
fn an_address_in_use_is_an_error_and_leaves_nothing_running() {
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = Config { ng: Some(held.local_addr().unwrap()), ..Config::default() };
    let result = start(config, [1; 32], &Registry::new(), Box::new(|_, _| ()));
    assert!(matches!(result, Err(StartError::Io("ng address", _))));
}

#[test]
fn statistics_are_the_real_figures() {
    let world = world();
    let socket = client(&world);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("counted", &mut a, &mut b);
    for _ in 0..7 {
        let packet = a.send_rtp();
        assert_eq!(b.recv_rtp(), packet);
    }
    let sent = "warp_media_packets_total{direction=\"egress\",path=\"user\"}";
    world.wait("the packets", |w| w.metric(sent) == 7.0);
    assert!(ask(&socket, "e1 nonsense").contains("error"));
    assert!(ask(&socket, "e2 {\"command\":\"ping\"}").contains("pong"));
    let all = |cookie: &str| {
        let reply = ask(&socket, &format!("{cookie} {{\"command\":\"statistics\"}}"));
        let document: serde_json::Value = serde_json::from_str(reply.split_once(' ').unwrap().1).unwrap();
        assert_eq!(document["result"], "ok");
        document["statistics"].clone()
    };
    let s = all("s1");
    assert_eq!(
        (&s["currentstatistics"]["sessionsown"], &s["currentstatistics"]["media_userspace"]),
        (&1.into(), &1.into())
    );
    let totals = &s["totalstatistics"];
    assert_eq!((&totals["relayedpackets"], &totals["relayedbytes"]), (&7.into(), &(7 * 172).into()));
    assert_eq!((&totals["managedsessions"], &totals["totalcallsduration"]), (&0.into(), &"0.000000".into()));
    let control = &s["controlstatistics"];
    assert_eq!((&control["totaloffercount"], &control["totalpingcount"]), (&1.into(), &1.into()));
    let proxy = &control["proxies"][0];
    // The call came from this process; the two requests and the nonsense from the client.
    assert_eq!((&proxy["proxy"], &proxy["offercount"]), (&"127.0.0.1".into(), &0.into()));
    assert_eq!((&proxy["pingcount"], &proxy["errorcount"]), (&1.into(), &1.into()));
    let interface = &s["interfaces"][0];
    assert_eq!((&interface["name"], &interface["ports"]["used"]), (&"127.0.0.1".into(), &4.into()));
    assert_eq!(
        (&interface["ports"]["totals"], &interface["ports"]["used_pct"]),
        (&12_000.into(), &"0.03".into())
    );
    assert!(world.delete("counted").is_ok());
    let s = all("s2");
    let totals = &s["totalstatistics"];
    assert_eq!((&totals["managedsessions"], &totals["regularterminatedsessions"]), (&1.into(), &1.into()));
    assert_eq!((&totals["onewaystreams"], &s["mos"]["mos_samples_total"]), (&1.into(), &1.into()));
    assert_eq!(s["controlstatistics"]["totalstatscount"], 1);
    assert_eq!(s["interfaces"][0]["ports"]["used"], 0);
}

#[test]
fn t_ng_04_a_reply_that_fits_in_no_datagram_is_an_error_and_not_silence() {
    let world = world();
    let socket = client(&world);
    let phone = Phone::new("127.0.0.1", false, 1);
    for i in 0..20u8 {
        // Bytes that take six characters each in JSON.
        let id = [vec![1u8; 1_000], vec![i + 2]].concat();
        let offer = warp_ng::SdpCommand::new(id, "f", phone.sdp());
        assert!(world.relay.control().ask(warp_ng::Command::Offer(offer)).is_ok());
    }
    let refused = ask(&socket, "big {\"command\":\"list\"}");
    assert_eq!(refused, "big {\"result\":\"error\",\"error-reason\":\"Reply does not fit in a datagram\"}");
    assert!(ask(&socket, "small {\"command\":\"list\",\"limit\":5}").contains("\"result\":\"ok\""));
    assert!(ask(&socket, "bencode d7:command4:liste").ends_with("6:result2:oke"));
}
