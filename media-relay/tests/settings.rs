//! Each value of `[media]` changes what the relay does. Those with tests of their own stand beside their key in the list; the rest is
//! tried here.

mod common;

use std::io::{BufRead, BufReader};

use common::{Phone, World, answer, offer};
use warp_media_relay::Config;
use warp_ng::{Command, Reply};

/// Every key, and the test that shows its effect through `start`.
const SHOWN_BY: &[(&str, &str)] = &[
    ("ng", "ng.rs: ping_in_both_encodings_and_errors_with_the_cookie"),
    ("ng_tcp", "doors.rs: t_ng_02_03_over_tcp_messages_follow_each_other_and_a_cookie_counts_once"),
    ("http", "doors.rs: over_http_documents_come_with_and_without_a_cookie"),
    ("ng_allow_public", "ng.rs: t_ng_01_start_is_refused_on_a_wildcard_address"),
    ("ng_allow", "ng.rs: t_ng_01_only_allowed_sources_are_answered"),
    ("ips", "relay.rs: ipv6_call"),
    ("advertise", "settings.rs: what_sdp_and_metrics_say_is_configured"),
    ("interfaces", "settings.rs: what_sdp_and_metrics_say_is_configured"),
    ("ports", "settings.rs: what_sdp_and_metrics_say_is_configured"),
    ("threads", "settings.rs: packet_threads_are_as_many_as_configured_and_pinned_when_told"),
    ("pin_cpus", "settings.rs: packet_threads_are_as_many_as_configured_and_pinned_when_told"),
    ("max_calls", "ng.rs: t_ng_04_offers_beyond_the_limit_are_refused_and_calls_go_on"),
    ("media_timeout_s", "relay.rs: t_rtp_10_a_call_without_media_is_reported"),
    ("hold_timeout_s", "settings.rs: t_rtp_10_calls_on_hold_and_without_an_answer_end_when_configured"),
    ("offer_timeout_s", "settings.rs: t_rtp_10_calls_on_hold_and_without_an_answer_end_when_configured"),
    ("delete_delay_s", "ng.rs: a_delete_without_delay_ends_the_call_at_once_however_it_is_written"),
    ("tos", "settings.rs: packets_are_marked_as_configured"),
    ("b2b_url", "timeout_callback.rs: t_rtp_10_a_media_timeout_is_told_as_rtpengine_tells_it"),
    ("xmlrpc_format", "timeout_callback.rs: t_rtp_10_a_media_timeout_is_told_as_rtpengine_tells_it"),
    ("connect_sockets", "relay.rs: t_rtp_01_02_strangers_neither_hear_nor_speak"),
    ("sounds", "play.rs: t_ng_05_a_sound_is_a_name_in_the_folder_or_nothing"),
    ("record", "record.rs: each_party_is_in_its_file_and_both_are_in_the_mixed_one"),
    ("record_files", "record.rs: t_ng_05_no_name_of_a_client_is_a_name_of_a_file"),
    ("record_keep_days", "record.rs: recordings_are_kept_as_long_as_is_said_and_no_more_than_is_said"),
    ("record_limit_mib", "record.rs: recordings_are_kept_as_long_as_is_said_and_no_more_than_is_said"),
    ("sdp", "canonical.rs: the_ng_door_says_either_rendering_of_one_negotiation"),
];

#[test]
fn every_key_has_a_test_that_shows_its_effect() {
    let all = serde_json::to_value(Config::default()).unwrap();
    let mut keys: Vec<&str> = all.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known: Vec<&str> = SHOWN_BY.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    known.sort_unstable();
    assert_eq!(keys, known, "a key is new or gone: say which test shows what it does");
    for (key, test) in SHOWN_BY {
        let (file, name) = test.split_once(": ").unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{key}: there is no {test}");
    }
}

/// What SDP says of our address, which names metrics have, and out of which range ports come.
#[test]
fn what_sdp_and_metrics_say_is_configured() {
    let phone = Phone::new("127.0.0.1", false, 1);
    let sdp = |world: &World| match world.relay.control().ask(Command::Offer(offer("a", &phone.sdp()))) {
        Reply::Sdp { sdp, .. } => String::from_utf8(sdp).unwrap(),
        other => panic!("{other:?}"),
    };
    let port =
        |sdp: &str| sdp.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().parse::<u16>().unwrap();
    let plain = World::new(|c| c.ports = 32_100..=32_119);
    let text = sdp(&plain);
    assert!(text.contains("c=IN IP4 127.0.0.1\r\n") && (32_100..=32_119).contains(&port(&text)), "{text}");
    assert!(plain.registry.render().contains("interface=\"127.0.0.1\""));
    let other = World::new(|c| {
        c.ports = 32_200..=32_219;
        c.advertise = vec!["192.0.2.77".parse().unwrap()];
        c.interfaces = vec!["outside".into()];
    });
    let text = sdp(&other);
    assert!(text.contains("c=IN IP4 192.0.2.77\r\n") && (32_200..=32_219).contains(&port(&text)), "{text}");
    let shown = other.registry.render();
    assert!(shown.contains("interface=\"outside\"") && !shown.contains("interface=\"127.0.0.1\""));
}

/// CPUs that each packet thread of this name may run on, as the kernel says them. Relays of tests beside this one have threads of the
/// same names, with lower numbers.
fn packet_threads(name: &str) -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::path::PathBuf| {
        let comm = std::fs::read_to_string(task.join("comm")).ok()?;
        let status = std::fs::read_to_string(task.join("status")).ok()?;
        let allowed = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"))?.trim().to_owned();
        (comm.trim() == name).then_some(allowed)
    };
    tasks.filter_map(|task| of(task.ok()?.path())).collect()
}

#[test]
fn packet_threads_are_as_many_as_configured_and_pinned_when_told() {
    // No other test of this program has so many.
    let whole = {
        let world = World::new(|c| (c.threads, c.ports) = (5, 32_300..=32_319));
        world.wait("the fifth thread", |_| !packet_threads("media-4").is_empty());
        assert!(packet_threads("media-5").is_empty());
        packet_threads("media-4").remove(0)
    };
    let world = World::new(|c| (c.threads, c.pin_cpus, c.ports) = (7, true, 32_320..=32_359));
    let one = |list: &String| list.parse::<u32>().is_ok();
    world.wait("the seventh thread on a CPU of its own", |_| packet_threads("media-6").iter().any(one));
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert!(cpus == 1 || !one(&whole), "one that is not pinned may run on all: {whole}");
}

/// A receiver that says its port, then the DSCP and ECN byte of the first packet that comes.
const SEES_TOS: &str = "
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
s.bind((\"127.0.0.1\", 0))
s.settimeout(20)
print(s.getsockname()[1], flush=True)
_, said, _, _ = s.recvmsg(2048, 64)
print([d[0] for level, kind, d in said if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS)][0], flush=True)
";

/// RFC 2474: what the relay sends carries the configured byte.
#[test]
fn packets_are_marked_as_configured() {
    let marked = |tos: u8, ports: std::ops::RangeInclusive<u16>| {
        let world = World::new(|c| (c.tos, c.ports) = (tos, ports));
        let mut python = std::process::Command::new("python3")
            .args(["-c", SEES_TOS])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = BufReader::new(python.stdout.take().unwrap()).lines();
        let port: u16 = said.next().unwrap().unwrap().parse().unwrap();
        let (mut a, b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
        let theirs = b.sdp().replace(&b.rtp.local_addr().unwrap().port().to_string(), &port.to_string());
        world.sdp(Command::Offer(offer("a", &a.sdp())));
        a.relay = Some(world.sdp(Command::Answer(answer("a", &theirs))));
        a.send_rtp();
        let tos = said.next().unwrap().unwrap().parse::<u8>().unwrap();
        assert!(python.wait().unwrap().success());
        Some(tos)
    };
    let Some(first) = marked(184, 32_400..=32_419) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI=true and no python3");
        println!("skipped: no python3");
        return;
    };
    assert_eq!((first, marked(96, 32_420..=32_439)), (184, Some(96)));
}

/// T-RTP-10: a call on hold may be silent for longer than another one; an offer that nobody answers is over in time.
#[test]
fn t_rtp_10_calls_on_hold_and_without_an_answer_end_when_configured() {
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    let world = World::new(|c| {
        (c.hold_timeout_s, c.ports) = (1, 32_500..=32_539);
    });
    let held = |sdp: String| sdp.replace("a=sendrecv", "a=inactive");
    b.relay = Some(world.sdp(Command::Offer(offer("held", &held(b.sdp())))));
    a.relay = Some(world.sdp(Command::Answer(answer("held", &held(a.sdp())))));
    world.call("talking", &mut a, &mut b);
    assert_eq!(world.timed_out.recv_timeout(common::DEADLINE).unwrap(), b"held");
    assert!(world.timed_out.try_recv().is_err(), "the other one has its minute");

    let world = World::new(|c| {
        (c.offer_timeout_s, c.ports) = (1, 32_540..=32_579);
    });
    world.sdp(Command::Offer(offer("ringing", &a.sdp())));
    world.call("talking", &mut a, &mut b);
    let known = |id: &str| match world.relay.control().ask(Command::List { limit: 9 }) {
        Reply::Calls(calls) => calls.iter().any(|call| call == id.as_bytes()),
        other => panic!("{other:?}"),
    };
    world.wait("the end of an offer without an answer", |_| !known("ringing"));
    assert!(known("talking"));
}
