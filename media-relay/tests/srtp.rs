//! SRTP by SDES: what is negotiated, what passes and what does not, and both ways through Debian's rtpengine.

mod common;
mod desk;
mod engine;
mod programs;

use std::net::UdpSocket;

use desk::{answer, at, offer, run, text};
use engine::Client;
use programs::{audio_port, has, rtp, socket, wait_for};
use serde_json::{Value, json};
use warp_media::packet::RoomyPacket;
use warp_media::pipeline::{Stage, StageMaker};
use warp_media::srtp::{CryptoLine, SrtpMaker, Suite};
use warp_media::{DropReason, MediaPath};
use warp_media_relay::core::book::{Book, BookConfig, KeySource};
use warp_model::Mono;
use warp_ng::{Command, Reply, SdpCommand, Transport};

/// Keys that a test can tell: the bytes count on.
fn counting(bytes: &mut [u8]) -> bool {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    bytes.iter_mut().for_each(|b| *b = NEXT.fetch_add(1, Ordering::Relaxed));
    true
}

fn book() -> Book {
    desk::book_with(BookConfig { keys: KeySource(counting), ..BookConfig::default() }, 30_000..=30_999)
}

fn plain(ip: &str, port: u16) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n")
}

fn secure(ip: &str, port: u16, lines: &[CryptoLine]) -> String {
    let lines: String = lines.iter().map(|l| format!("{}\r\n", l.line(false))).collect();
    format!("{}{lines}", plain(ip, port).replace("RTP/AVP", "RTP/SAVP"))
}

fn some_line(tag: u32, suite: Suite, first: u8) -> CryptoLine {
    let master = (0..suite.master_len()).map(|n| first.wrapping_add(n as u8)).collect();
    CryptoLine::new(tag, suite, master).unwrap()
}

/// The lines of keys in an SDP.
fn lines_of(sdp: &str) -> Vec<CryptoLine> {
    let line = |l: &str| CryptoLine::parse(l.strip_prefix("a=crypto:")?.as_bytes());
    sdp.lines().filter_map(line).collect()
}

fn to(transport: Transport, c: SdpCommand) -> SdpCommand {
    SdpCommand { transport_protocol: Some(transport), ..c }
}

#[test]
fn t_rtp_12_a_plain_caller_is_offered_on_with_strong_suites_and_the_chosen_one_stays_over_reoffers() {
    let mut b = book();
    let first = to(Transport::RtpSavp, offer("c", "f", plain("198.51.100.1", 4000)));
    let told = text(run(&mut b, Command::Offer(first.clone()), at(0)));
    assert!(told.contains(" RTP/SAVP 0"), "{told}");
    let shown = lines_of(&told);
    assert_eq!(shown.iter().map(|l| l.suite).collect::<Vec<_>>(), Suite::ALL);
    assert_eq!(shown.iter().map(|l| l.tag).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    // A key that was not offered: refused, and the right one is still taken.
    let theirs = some_line(5, Suite::Cm128Long, 100);
    for wrong in [&[][..], &[some_line(9, Suite::Cm128Long, 1)], &[some_line(5, Suite::Gcm128, 1)]] {
        let bad = answer("c", "f", "t", secure("192.0.2.2", 5000, wrong));
        let Reply::Error { reason } = run(&mut b, Command::Answer(bad), at(1)) else { panic!("taken") };
        assert!(reason.starts_with("Error rewriting SDP: section 1"), "{reason}");
    }
    let good = answer("c", "f", "t", secure("192.0.2.2", 5000, std::slice::from_ref(&theirs)));
    let back = text(run(&mut b, Command::Answer(good.clone()), at(1)));
    assert!(back.contains(" RTP/AVP 0") && !back.contains("crypto"), "{back}");
    // The same key again: its context goes on.
    let again = SdpCommand { to_tag: Some(b"t".to_vec()), ..first };
    let told = text(run(&mut b, Command::Offer(again), at(2)));
    assert_eq!(lines_of(&told), [shown[4].clone()]);
    text(run(&mut b, Command::Answer(good), at(3)));
    let query = warp_ng::Query { call_id: b"c".to_vec(), ..warp_ng::Query::default() };
    let Reply::Stats(stats) = run(&mut b, Command::Query(query), at(4)) else { panic!("no statistics") };
    let sdes = |tag: &[u8]| stats.tags.iter().find(|t| t.tag == tag).unwrap().medias[0].flags.sdes;
    assert!(sdes(b"t") && !sdes(b"f"));
}

#[test]
fn t_rtp_12_only_what_the_command_lets_us_use_is_offered() {
    let mut b = book();
    let mut c = to(Transport::RtpSavp, offer("a", "f", plain("198.51.100.1", 4000)));
    c.sdes_only = vec![b"AES_CM_128_HMAC_SHA1_80".to_vec(), b"NULL_HMAC_SHA1_80".to_vec()];
    c.sdes_pad = true;
    let told = text(run(&mut b, Command::Offer(c), at(0)));
    assert_eq!(lines_of(&told).iter().map(|l| l.suite).collect::<Vec<_>>(), [Suite::Cm128Long]);
    let mut off = to(Transport::RtpSavp, offer("b", "f", plain("198.51.100.1", 4000)));
    off.sdes_off = true;
    assert!(matches!(run(&mut b, Command::Offer(off), at(0)), Reply::Error { .. }));
    // Without a source of keys nothing is promised, and no port is taken.
    let mut poor = desk::book();
    let c = to(Transport::RtpSavp, offer("a", "f", plain("198.51.100.1", 4000)));
    assert!(matches!(run(&mut poor, Command::Offer(c), at(0)), Reply::Error { .. }));
    assert_eq!((poor.pairs_used(), poor.calls()), (0, 0));
    // A caller with nothing but suites that are too weak.
    let weak = secure("198.51.100.1", 4000, &[])
        + "a=crypto:1 NULL_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR\r\n";
    let c = to(Transport::RtpAvp, offer("d", "f", weak));
    assert!(matches!(run(&mut b, Command::Offer(c), at(0)), Reply::Error { .. }));
}

#[test]
fn a_protected_caller_is_answered_in_its_own_profile_and_each_branch_has_its_key() {
    let mut b = book();
    let lines = [some_line(3, Suite::Cm128Short, 7), some_line(4, Suite::Gcm128, 9)];
    let mut keys = Vec::new();
    for (branch, tag) in [("z1", "t1"), ("z2", "t2")] {
        let mut c = to(Transport::RtpAvp, offer("c", "f", secure("198.51.100.1", 4000, &lines)));
        c.via_branch = Some(branch.into());
        let told = text(run(&mut b, Command::Offer(c), at(0)));
        assert!(told.contains(" RTP/AVP 0") && !told.contains("crypto"), "{told}");
        let mut a = answer("c", "f", tag, plain("192.0.2.2", 5000));
        a.via_branch = Some(branch.into());
        for _ in 0..2 {
            // The 200 repeats the key of its 18x.
            let back = text(run(&mut b, Command::Answer(a.clone()), at(1)));
            assert!(back.contains(" RTP/SAVP 0"), "{back}");
            let ours = lines_of(&back);
            assert_eq!((ours.len(), ours[0].tag, ours[0].suite), (1, 3, Suite::Cm128Short));
            keys.push(ours[0].clone());
        }
    }
    assert!(keys[0] == keys[1] && keys[2] == keys[3] && keys[0] != keys[2] && keys[0] != lines[0]);
}

/// The phone's half of SRTP.
struct Phone {
    socket: UdpSocket,
    protect: Box<dyn Stage>,
    unprotect: Box<dyn Stage>,
}

fn step(stage: &mut dyn Stage, packet: &[u8], path: MediaPath) -> Result<Vec<u8>, DropReason> {
    let mut buffer = [&[0; 64], packet, &[0; 64]].concat();
    let mut roomy = RoomyPacket::new(&mut buffer, 64, 64 + packet.len()).unwrap();
    stage.run(&mut roomy, path, Mono(0))?;
    Ok(roomy.bytes().to_vec())
}

fn report(ssrc: u32) -> Vec<u8> {
    [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat()
}

#[test]
fn t_rtp_05_12_a_protected_phone_talks_to_a_plain_one_and_forged_packets_do_not_pass() {
    for suite in Suite::ALL {
        let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
        let mut ng = Client::ours(&world);
        let (caller, callee) = (socket(), socket());
        let port = |s: &UdpSocket| s.local_addr().unwrap().port();
        let theirs = some_line(1, suite, 50);
        let offer = json!({"command":"offer","call-id":"s","from-tag":"f","transport-protocol":"RTP/AVP",
            "rtcp-mux":["accept"],
            "sdp":secure("127.0.0.1", port(&caller), std::slice::from_ref(&theirs)) + "a=rtcp-mux\r\n"});
        let to_callee = audio_port(&ng.sdp(&offer));
        let back = ng.sdp(&json!({"command":"answer","call-id":"s","from-tag":"f","to-tag":"t",
            "sdp":plain("127.0.0.1", port(&callee)) + "a=rtcp-mux\r\n"}));
        let to_caller = audio_port(&back);
        let ours = lines_of(&back).pop().unwrap();
        let mut phone = Phone {
            socket: caller,
            protect: SrtpMaker::protect(&theirs).unwrap().make(),
            unprotect: SrtpMaker::unprotect(&ours).unwrap().make(),
        };
        for n in 65_530..65_545u32 {
            let sequence = n as u16;
            let sealed = step(&mut *phone.protect, &rtp(7, sequence), MediaPath::Rtp).unwrap();
            if n == 65_533 {
                // Plain, changed and repeated ones of the right source.
                let mut changed = sealed.clone();
                *changed.last_mut().unwrap() ^= 1;
                for forged in [rtp(7, sequence), changed] {
                    phone.socket.send_to(&forged, ("127.0.0.1", to_caller)).unwrap();
                }
            }
            phone.socket.send_to(&sealed, ("127.0.0.1", to_caller)).unwrap();
            let came = wait_for(&callee, "the caller's packet", |p, _| Some(p.to_vec()));
            assert_eq!(came, rtp(7, sequence), "{suite:?}: nothing else passes");
            callee.send_to(&rtp(9, sequence), ("127.0.0.1", to_callee)).unwrap();
            let came = wait_for(&phone.socket, "the callee's packet", |p, _| Some(p.to_vec()));
            assert_ne!(came[12..], rtp(9, sequence)[12..]);
            assert_eq!(step(&mut *phone.unprotect, &came, MediaPath::Rtp).unwrap(), rtp(9, sequence));
        }
        let sealed = step(&mut *phone.protect, &report(7), MediaPath::Rtcp).unwrap();
        for _ in 0..2 {
            phone.socket.send_to(&sealed, ("127.0.0.1", to_caller)).unwrap();
        }
        wait_for(&callee, "the caller's report", |p, _| (p == report(7)).then_some(()));
        callee.send_to(&report(9), ("127.0.0.1", to_callee)).unwrap();
        let unprotect = &mut phone.unprotect;
        wait_for(&phone.socket, "the callee's report", |p, _| {
            (step(&mut **unprotect, p, MediaPath::Rtcp).ok()? == report(9)).then_some(())
        });
        let errors = |reason: &str| format!("warp_media_packet_errors_total{{reason=\"{reason}\"}}");
        world.wait("two forged packets", |w| w.metric(&errors("srtp_auth")) == 2.0);
        world.wait("a repeated one", |w| w.metric(&errors("srtp_replay")) == 1.0);
    }
}

/// Offers through `first` to `second`, and the answer back: (port towards the caller, port towards the callee).
fn chain(
    first: &mut Client,
    second: &mut Client,
    name: &str,
    keys: [&Value; 2],
    phones: [&UdpSocket; 2],
) -> (u16, u16) {
    let port = |s: &UdpSocket| s.local_addr().unwrap().port();
    let ask = |command: &str, sdp: String, more: &Value| {
        let mut c =
            json!({"command":command,"call-id":name,"from-tag":"f","sdp":sdp,"ICE":"remove","DTLS":"off"});
        if command == "answer" {
            c["to-tag"] = json!("t");
        }
        for (key, value) in more.as_object().unwrap() {
            c[key] = value.clone();
        }
        c
    };
    let middle = first.sdp(&ask("offer", plain("127.0.0.1", port(phones[0])), keys[0]));
    assert!(middle.contains("RTP/SAVP ") && middle.contains("a=crypto:"), "{middle}");
    let last = second.sdp(&ask("offer", middle, keys[1]));
    assert!(last.contains("RTP/AVP ") && !last.contains("a=crypto:"), "{last}");
    let back = second.sdp(&ask("answer", plain("127.0.0.1", port(phones[1])), &json!({})));
    assert!(back.contains("RTP/SAVP ") && back.contains("a=crypto:"), "{back}");
    let end = first.sdp(&ask("answer", back, &json!({})));
    assert!(end.contains("RTP/AVP ") && !end.contains("a=crypto:"), "{end}");
    (audio_port(&end), audio_port(&last))
}

#[test]
fn srtp_of_each_suite_passes_between_us_and_rtpengine_in_both_orders() {
    if !has("rtpengine", "srtp_of_each_suite_passes_between_us_and_rtpengine_in_both_orders") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut theirs = Client::rtpengine(&folder, 38_000);
    let world = common::World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let mut ours = Client::ours(&world);
    for suite in Suite::ALL {
        for we_are_first in [true, false] {
            let (caller, callee) = (socket(), socket());
            let protect =
                json!({"transport-protocol":"RTP/SAVP","SDES":[format!("only-{}", suite.as_str())]});
            let open = json!({"transport-protocol":"RTP/AVP"});
            let name = format!("{}-{we_are_first}", suite.as_str());
            let pair = [&caller, &callee];
            let (to_caller, to_callee) = match we_are_first {
                true => chain(&mut ours, &mut theirs, &name, [&protect, &open], pair),
                false => chain(&mut theirs, &mut ours, &name, [&protect, &open], pair),
            };
            for n in 65_530..65_550u32 {
                let sequence = n as u16;
                caller.send_to(&rtp(7, sequence), ("127.0.0.1", to_caller)).unwrap();
                wait_for(&callee, &format!("{name}: the caller's packet"), |p, _| {
                    (p == rtp(7, sequence)).then_some(())
                });
                callee.send_to(&rtp(9, sequence), ("127.0.0.1", to_callee)).unwrap();
                wait_for(&caller, &format!("{name}: the callee's packet"), |p, _| {
                    (p == rtp(9, sequence)).then_some(())
                });
            }
        }
    }
    // Reports have ports of their own, and keys of their own.
    for we_are_first in [true, false] {
        let (caller, callee) = (socket(), socket());
        let beside = |s: &UdpSocket| UdpSocket::bind(("127.0.0.1", s.local_addr().unwrap().port() + 1));
        let (Ok(caller_rtcp), Ok(callee_rtcp)) = (beside(&caller), beside(&callee)) else { continue };
        for s in [&caller_rtcp, &callee_rtcp] {
            s.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        }
        let protect = json!({"transport-protocol":"RTP/SAVP"});
        let open = json!({"transport-protocol":"RTP/AVP"});
        let name = format!("reports-{we_are_first}");
        let pair = [&caller, &callee];
        let (to_caller, to_callee) = match we_are_first {
            true => chain(&mut ours, &mut theirs, &name, [&protect, &open], pair),
            false => chain(&mut theirs, &mut ours, &name, [&protect, &open], pair),
        };
        caller_rtcp.send_to(&report(7), ("127.0.0.1", to_caller + 1)).unwrap();
        wait_for(&callee_rtcp, "the caller's report", |p, _| (p == report(7)).then_some(()));
        callee_rtcp.send_to(&report(9), ("127.0.0.1", to_callee + 1)).unwrap();
        wait_for(&caller_rtcp, "the callee's report", |p, _| (p == report(9)).then_some(()));
    }
}
