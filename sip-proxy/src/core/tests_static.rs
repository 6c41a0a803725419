//! Static mode, driven by bytes: caller and callee are written out by hand, the core is in the middle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp_model::{Mono, Now, Wall};
use warp_sip::flow::{Flow, LinkId, Transport};

use super::*;

pub(super) const A: &str = "127.0.0.1:5071";
pub(super) const B: &str = "127.0.0.1:5072";
const US: &str = "127.0.0.1:5060";

pub(super) fn addr(s: &str) -> SocketAddr {
    s.parse().unwrap()
}

pub(super) fn at(ms: u64) -> Now {
    Now {
        mono: Mono(1_000_000_000 + ms * 1_000_000),
        wall: Wall::from_unix_ms(1_700_000_000_000 + ms as i64),
    }
}

pub(super) fn config(trusted: &[&str]) -> CoreConfig {
    let udp = |bind: &str| Listener { transport: Transport::Udp, bind: addr(bind), advertise: None };
    let mode = Mode::Static { next: addr(B), trusted: trusted.iter().map(|c| c.parse().unwrap()).collect() };
    let mut c = CoreConfig::new(
        mode,
        vec![udp(US), Listener { transport: Transport::Tcp, ..udp(US) }, udp("[::1]:5060")],
    );
    c.domains = vec!["example.com".into()];
    c
}

pub(super) fn core_with(config: CoreConfig) -> Core {
    let shared = Arc::new(Shared::new([3; 32]));
    Core::new(Arc::new(config), 0, [9; 32], shared)
}

pub(super) fn core() -> Core {
    core_with(config(&["127.0.0.1/32", "::1/128"]))
}

pub(super) fn udp(remote: &str) -> Flow {
    Flow::udp(addr(US), addr(remote))
}

/// What a core sends: where to, and the text.
pub(super) fn sent(core: &mut Core) -> Vec<(SocketAddr, String)> {
    let mut all = vec![];
    while let Some(o) = core.poll_output() {
        if let Output::Transmit { flow, bytes } = o {
            all.push((flow.remote, String::from_utf8(bytes.to_vec()).unwrap()));
            core.recycle(bytes);
        }
    }
    all
}

pub(super) fn give(core: &mut Core, from: &str, text: &str, ms: u64) -> Vec<(SocketAddr, String)> {
    core.handle_message(udp(from), text.as_bytes(), at(ms));
    sent(core)
}

pub(super) fn line<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

pub(super) fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).collect()
}

fn request(method: &str, uri: &str, branch: &str, extra: &str) -> String {
    let cseq = if method == "ACK" || method == "CANCEL" { 1 } else { 2 };
    let cseq = if method == "INVITE" { 1 } else { cseq };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@{A}>;tag=at\r\nCall-ID: call-1\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:a@{A}>\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

pub(super) fn invite() -> String {
    request("INVITE", &format!("sip:100@{US}"), "i1", "To: <sip:100@us>\r\n")
}

/// The answer of a far end to a request that reached it.
pub(super) fn response(request: &str, status: &str, contact: &str) -> String {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "Record-Route"] {
        for v in lines(request, name) {
            out += &format!("{name}: {v}\r\n");
        }
    }
    let to = line(request, "To");
    let tag = if to.contains("tag=") || status.starts_with("100") { "" } else { ";tag=bt" };
    out + &format!(
        "From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:b@{contact}>\r\nContent-Length: 0\r\n\r\n",
        line(request, "From"),
        line(request, "Call-ID"),
        line(request, "CSeq"),
    )
}

/// INVITE through to the callee: 100 to the caller, then what the callee got.
fn begin(core: &mut Core) -> String {
    let out = give(core, A, &invite(), 0);
    assert_eq!(out.len(), 2);
    assert_eq!(out[0].0, addr(A));
    assert!(out[0].1.starts_with("SIP/2.0 100 "), "{}", out[0].1);
    assert!(!line(&out[0].1, "To").contains("tag="));
    assert_eq!(out[1].0, addr(B));
    out[1].1.clone()
}

#[test]
fn a_call_from_invite_to_bye() {
    let mut core = core();
    let at_b = begin(&mut core);
    assert!(at_b.starts_with(&format!("INVITE sip:100@{US} SIP/2.0\r\n")));
    assert_eq!(line(&at_b, "Max-Forwards"), "69");
    let vias = lines(&at_b, "Via");
    assert_eq!(vias.len(), 2);
    assert!(vias[0].starts_with("SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKw"));
    let rr = line(&at_b, "Record-Route").to_owned();
    assert!(rr.starts_with("<sip:127.0.0.1:5060;lr;w="));

    // The caller repeats its INVITE: the 100 again, nothing downstream.
    let again = give(&mut core, A, &invite(), 10);
    assert_eq!(again.len(), 1);
    assert!(again[0].1.starts_with("SIP/2.0 100 "));

    // 100 of the callee ends here, 180 and 200 go back without our Via.
    assert!(give(&mut core, B, &response(&at_b, "100 Trying", B), 20).is_empty());
    let ringing = give(&mut core, B, &response(&at_b, "180 Ringing", B), 20);
    assert_eq!(ringing.len(), 1);
    assert_eq!(lines(&ringing[0].1, "Via").len(), 1);
    let ok = response(&at_b, "200 OK", B);
    for ms in [30, 530] {
        let answered = give(&mut core, B, &ok, ms);
        assert_eq!(answered.len(), 1, "each 2xx is passed on (RFC 6026)");
        assert!(answered[0].1.starts_with("SIP/2.0 200 "));
        assert_eq!(answered[0].0, addr(A));
    }
    // A repeated INVITE after the 2xx is swallowed.
    assert!(give(&mut core, A, &invite(), 540).is_empty());

    let dialog = format!("Route: {rr}\r\nTo: <sip:100@us>;tag=bt\r\n");
    let ack = give(&mut core, A, &request("ACK", &format!("sip:b@{B}"), "k1", &dialog), 600);
    assert_eq!(ack.len(), 1);
    assert_eq!(ack[0].0, addr(B));
    assert!(ack[0].1.starts_with(&format!("ACK sip:b@{B} SIP/2.0\r\n")));
    assert!(lines(&ack[0].1, "Route").is_empty());
    assert!(lines(&ack[0].1, "Record-Route").is_empty());

    let bye = give(&mut core, A, &request("BYE", &format!("sip:b@{B}"), "b1", &dialog), 900);
    assert_eq!(bye.len(), 1);
    let done = give(&mut core, B, &response(&bye[0].1, "200 OK", B), 910);
    assert_eq!(done.len(), 1);
    assert!(done[0].1.starts_with("SIP/2.0 200 "));
    // BYE again: the same 200 again.
    let again = give(&mut core, A, &request("BYE", &format!("sip:b@{B}"), "b1", &dialog), 950);
    assert_eq!(again, done);

    assert_eq!(core.transactions(), (2, 2));
    run_down(&mut core, 900);
    assert_eq!(core.transactions(), (0, 0));
    assert_eq!(core.tx.shared.transactions(), 0);
}

/// Lets all timers run out; returns what was sent meanwhile.
fn run_down(core: &mut Core, ms: u64) -> Vec<(SocketAddr, String)> {
    let mut all = vec![];
    let mut steps = 0;
    while let Some(next) = core.poll_timeout() {
        assert!(next.since(at(ms).mono) < Duration::from_secs(400), "timers are bounded");
        core.handle_timeout(Now { mono: next, ..at(ms) });
        all.extend(sent(core));
        steps += 1;
        assert!(steps < 10_000);
    }
    all
}

#[test]
fn a_failure_is_acknowledged_here_and_repeated_until_its_ack() {
    let mut core = core();
    let at_b = begin(&mut core);
    let busy = give(&mut core, B, &response(&at_b, "486 Busy Here", B), 50);
    assert_eq!(busy.len(), 2);
    let (ack, to_a) = (&busy[0], &busy[1]);
    assert_eq!(ack.0, addr(B));
    assert!(ack.1.starts_with("ACK sip:100@"));
    assert_eq!(lines(&ack.1, "Via"), [lines(&at_b, "Via")[0]]);
    assert!(line(&ack.1, "To").ends_with(";tag=bt"));
    assert!(to_a.1.starts_with("SIP/2.0 486 "));
    // The callee repeats: ACK again, nothing to the caller.
    let again = give(&mut core, B, &response(&at_b, "486 Busy Here", B), 60);
    assert_eq!(again.len(), 1);
    // Timer G, until the caller's ACK.
    core.handle_timeout(at(700));
    let repeated = sent(&mut core);
    assert_eq!(repeated.len(), 1);
    assert_eq!(repeated[0], *to_a);
    let ack = request("ACK", &format!("sip:100@{US}"), "i1", "To: <sip:100@us>;tag=bt\r\n");
    assert!(give(&mut core, A, &ack, 800).is_empty());
    let rest = run_down(&mut core, 800);
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(core.transactions(), (0, 0));
}

#[test]
fn cancel_waits_for_the_first_1xx_and_ends_with_487() {
    let mut core = core();
    let at_b = begin(&mut core);
    let cancel = request("CANCEL", &format!("sip:100@{US}"), "i1", "To: <sip:100@us>\r\n");
    let out = give(&mut core, A, &cancel, 20);
    assert_eq!(out.len(), 1, "{out:?}");
    assert!(out[0].1.starts_with("SIP/2.0 200 "));
    assert_eq!(line(&out[0].1, "CSeq"), "1 CANCEL");
    let out = give(&mut core, B, &response(&at_b, "100 Trying", B), 30);
    assert_eq!(out.len(), 1);
    let sent_cancel = out[0].1.clone();
    assert!(sent_cancel.starts_with(&format!("CANCEL sip:100@{US} SIP/2.0\r\n")));
    assert_eq!(lines(&sent_cancel, "Via"), [lines(&at_b, "Via")[0]]);
    // Its 200 ends here, the 487 goes back.
    assert!(give(&mut core, B, &response(&sent_cancel, "200 OK", B), 40).is_empty());
    let out = give(&mut core, B, &response(&at_b, "487 Request Terminated", B), 50);
    assert_eq!(out.len(), 2);
    assert!(out[1].1.starts_with("SIP/2.0 487 "));
    // The caller repeats its CANCEL: the same 200.
    let out = give(&mut core, A, &cancel, 60);
    assert_eq!(out.len(), 1);
    assert!(out[0].1.starts_with("SIP/2.0 200 "));
    run_down(&mut core, 60);
    assert_eq!(core.transactions(), (0, 0));
}

#[test]
fn t_sip_11_cancel_from_elsewhere_is_481() {
    let mut config = config(&["127.0.0.0/8"]);
    config.drop_scanners = false;
    let mut core = core_with(config);
    begin(&mut core);
    let cancel = request("CANCEL", &format!("sip:100@{US}"), "i1", "To: <sip:100@us>\r\n");
    let out = give(&mut core, "127.0.0.9:5071", &cancel, 20);
    assert_eq!(out.len(), 1);
    assert!(out[0].1.starts_with("SIP/2.0 481 "));
    assert_eq!(core.stats().spoofed, 1);
    let unknown = cancel.replace("z9hG4bKi1", "z9hG4bKi2");
    assert!(give(&mut core, A, &unknown, 20)[0].1.starts_with("SIP/2.0 481 "));
}

#[test]
fn silence_ends_as_408_and_stray_responses_are_dropped() {
    let mut core = core();
    let at_b = begin(&mut core);
    let out = run_down(&mut core, 0);
    let resent = out.iter().filter(|(to, t)| *to == addr(B) && t.starts_with("INVITE")).count();
    assert_eq!(resent, 6, "timer A");
    let finals: Vec<_> =
        out.iter().filter(|(to, t)| *to == addr(A) && t.starts_with("SIP/2.0 408")).collect();
    assert!(!finals.is_empty());
    assert!(finals.iter().all(|f| f == &finals[0]));
    // The late answer finds nothing.
    assert!(give(&mut core, B, &response(&at_b, "200 OK", B), 90_000).is_empty());
    assert_eq!(core.stats().stray, 1);
    // T-SIP-11: a guessed nonce finds nothing either.
    let mut core = core_with(config(&["127.0.0.1/32"]));
    let at_b = begin(&mut core);
    let via = lines(&at_b, "Via")[0];
    let forged =
        response(&at_b, "200 OK", B).replace(&via[via.len() - 24..via.len() - 8], "0123456789abcdef");
    assert!(give(&mut core, B, &forged, 10).is_empty());
    // And so does one from an address that was not asked.
    assert!(give(&mut core, "192.0.2.66:5072", &response(&at_b, "200 OK", B), 10).is_empty());
}

#[test]
fn timer_c_cancels_a_branch_that_rings_for_ever() {
    let mut core = core();
    let at_b = begin(&mut core);
    give(&mut core, B, &response(&at_b, "180 Ringing", B), 1_000);
    core.handle_timeout(at(181_000));
    assert!(sent(&mut core).is_empty(), "timer C ran anew with the 180");
    core.handle_timeout(at(182_100));
    let out = sent(&mut core);
    assert_eq!(out.len(), 1);
    assert!(out[0].1.starts_with("CANCEL "));
    let out = run_down(&mut core, 182_100);
    assert!(out.iter().any(|(to, t)| *to == addr(A) && t.starts_with("SIP/2.0 487")), "{out:?}");
    assert_eq!(core.transactions(), (0, 0));
}

#[test]
fn other_requests_that_time_out_are_not_answered() {
    let mut core = core();
    let out = give(&mut core, A, &request("INFO", &format!("sip:100@{US}"), "o1", "To: <sip:100@us>\r\n"), 0);
    assert_eq!(out.len(), 1, "no 100 to other requests (RFC 4320)");
    let out = run_down(&mut core, 0);
    assert!(out.iter().all(|(to, _)| *to == addr(B)));
    assert_eq!(out.len(), 10, "timer E");
    assert_eq!(core.transactions(), (0, 0));
}

#[test]
fn max_forwards_loops_and_proxy_require() {
    let mut core = core();
    let hops = invite().replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert!(give(&mut core, A, &hops, 0)[0].1.starts_with("SIP/2.0 483 "));
    let require = invite().replace("Contact:", "Proxy-Require: foo\r\nContact:");
    let out = give(&mut core, A, &require, 0);
    assert!(out[0].1.starts_with("SIP/2.0 420 "));
    assert_eq!(line(&out[0].1, "Unsupported"), "foo");
    // Our own copy comes back unchanged: a loop (RFC 5393). With another Request-URI: a spiral, which goes on.
    let at_b = begin(&mut core);
    let via = lines(&at_b, "Via")[0];
    let through_b = |branch: &str| format!("Via: SIP/2.0/UDP {B};branch=z9hG4bK{branch}\r\nVia: {via}");
    let copy = at_b.replace(&format!("Via: {via}"), &through_b("lp"));
    let looped = give(&mut core, B, &copy, 5);
    assert_eq!(looped.len(), 1);
    assert!(looped[0].1.starts_with("SIP/2.0 482 "), "{}", looped[0].1);
    let spiral = at_b.replace(&format!("INVITE sip:100@{US}"), &format!("INVITE sip:200@{US}"));
    let spiral = spiral.replace(&format!("Via: {via}"), &through_b("sp"));
    let out = give(&mut core, B, &spiral, 6);
    assert!(out.iter().any(|(to, t)| *to == addr(B) && t.starts_with("INVITE sip:200@")));
}

#[test]
fn options_to_us_and_through_us_and_draining() {
    let mut core = core();
    let options = |uri: &str, b: &str| request("OPTIONS", uri, b, "To: <sip:us>\r\n");
    let out = give(&mut core, A, &options(&format!("sip:{US}"), "x1"), 0);
    assert!(out[0].1.starts_with("SIP/2.0 200 "));
    let out = give(&mut core, A, &options("sip:example.com", "x1a"), 0);
    assert!(out[0].1.starts_with("SIP/2.0 200 "));
    let out = give(&mut core, A, &options(&format!("sip:100@{US}"), "x2"), 0);
    assert_eq!(out[0].0, addr(B));
    // No hop left: enough for us, too few for anybody behind us (RFC 4475 §3.3.11).
    let spent = |uri: &str, b: &str| options(uri, b).replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert!(give(&mut core, A, &spent(&format!("sip:{US}"), "x4"), 0)[0].1.starts_with("SIP/2.0 200 "));
    assert!(give(&mut core, A, &spent(&format!("sip:100@{US}"), "x5"), 0)[0].1.starts_with("SIP/2.0 483 "));
    core.handle_command(Command::Drain { end_calls: false }, at(1));
    let out = give(&mut core, A, &options(&format!("sip:{US}"), "x3"), 2);
    assert!(out[0].1.starts_with("SIP/2.0 503 "), "F-UPG-01");
    assert!(give(&mut core, A, &invite(), 3)[0].1.starts_with("SIP/2.0 503 "));
}

#[test]
fn routes_loose_strict_and_request_uri() {
    let mut core = core();
    // Request-URI elsewhere: by RFC 3261, not to `next`.
    let elsewhere = "192.0.2.7:5090";
    let msg = request("MESSAGE", &format!("sip:x@{elsewhere}"), "m1", "To: <sip:x>\r\n");
    assert_eq!(give(&mut core, A, &msg, 0)[0].0, addr(elsewhere));
    // Loose: our entry comes off, the next one decides and stays.
    let two = format!("Route: <sip:{US};lr>, <sip:{elsewhere};lr>\r\nTo: <sip:x>\r\n");
    let out = give(&mut core, A, &request("MESSAGE", &format!("sip:x@{B}"), "m2", &two), 0);
    assert_eq!(out[0].0, addr(elsewhere));
    assert_eq!(lines(&out[0].1, "Route"), [format!("<sip:{elsewhere};lr>")]);
    // Strict next hop: it gets the Request-URI, the target goes last.
    let strict = format!("Route: <sip:{US};lr>, <sip:{elsewhere}>\r\nTo: <sip:x>\r\n");
    let out = give(&mut core, A, &request("MESSAGE", &format!("sip:x@{B}"), "m3", &strict), 0);
    assert_eq!(out[0].0, addr(elsewhere));
    assert!(out[0].1.starts_with(&format!("MESSAGE sip:{elsewhere} ")));
    assert_eq!(lines(&out[0].1, "Route"), [format!("<sip:x@{B}>")]);
    // A strict router before us: the Request-URI is our Record-Route, the real one is last in Route.
    let before = format!("Route: <sip:y@{elsewhere}>\r\nTo: <sip:x>\r\n");
    let ours = format!("sip:{US};lr;w=0123456789abcdef");
    let out = give(&mut core, A, &request("MESSAGE", &ours, "m4", &before), 0);
    assert_eq!(out[0].0, addr(elsewhere));
    assert!(out[0].1.starts_with(&format!("MESSAGE sip:y@{elsewhere} ")));
    assert!(lines(&out[0].1, "Route").is_empty());
    // A name that is not ours, and no DNS.
    let name = request("MESSAGE", "sip:x@elsewhere.example", "m5", "To: <sip:x>\r\n");
    assert!(give(&mut core, A, &name, 0)[0].1.starts_with("SIP/2.0 404 "));
}

#[test]
fn t_sip_05_strangers_reach_only_us() {
    let mut core = core_with(config(&["127.0.0.1/32"]));
    let stranger = "198.51.100.7:5060";
    let foreign = request("INVITE", "sip:x@192.0.2.7", "s1", "To: <sip:x>\r\n");
    assert!(give(&mut core, stranger, &foreign, 0)[0].1.starts_with("SIP/2.0 403 "));
    let preloaded =
        request("INVITE", "sip:x@192.0.2.7", "s2", &format!("Route: <sip:{US};lr>\r\nTo: <sip:x>\r\n"));
    assert!(give(&mut core, stranger, &preloaded, 0)[0].1.starts_with("SIP/2.0 403 "));
    let to_us = request(
        "INVITE",
        &format!("sip:100@{US}"),
        "s3",
        "To: <sip:x>\r\nP-Asserted-Identity: <sip:fake@x>\r\n",
    );
    let out = give(&mut core, stranger, &to_us, 0);
    let at_b = &out.iter().find(|(to, _)| *to == addr(B)).unwrap().1;
    assert!(!at_b.contains("P-Asserted-Identity"), "T-SIP-03");
    assert!(lines(at_b, "Via")[1].contains(";received=198.51.100.7"));
    // In its dialog, our cookie opens the way.
    let rr = line(at_b, "Record-Route").to_owned();
    let inside = format!("Route: {rr}\r\nTo: <sip:x>;tag=bt\r\n");
    let out = give(&mut core, stranger, &request("BYE", &format!("sip:b@{B}"), "s4", &inside), 10);
    assert_eq!(out[0].0, addr(B));
    // Another Call-ID, another cookie.
    let other = request("BYE", &format!("sip:b@{B}"), "s5", &inside).replace("call-1", "call-2");
    assert!(give(&mut core, stranger, &other, 10)[0].1.starts_with("SIP/2.0 403 "));
}

#[test]
fn t_sip_12_strangers_are_dropped_beyond_their_rate_and_peers_are_not() {
    let mut core = core_with(config(&["127.0.0.1/32"]));
    let options = |n: usize| request("OPTIONS", &format!("sip:{US}"), &format!("f{n}"), "To: <sip:us>\r\n");
    let stranger = "198.51.100.7:5060";
    let answered = (0..1_000).filter(|n| !give(&mut core, stranger, &options(*n), 0).is_empty()).count();
    assert_eq!(answered, 40);
    assert_eq!(core.stats().stranger_dropped, 960);
    let answered = (0..1_000).filter(|n| !give(&mut core, A, &options(*n), 0).is_empty()).count();
    assert_eq!(answered, 1_000);
    assert_eq!(core.transactions(), (0, 0), "no state for either");
}

#[test]
fn f_cfg_02_another_configuration_holds_between_two_messages_and_fixed_parts_stay() {
    let mut core = core_with(config(&["127.0.0.1/32"]));
    let options = |n: usize| request("OPTIONS", &format!("sip:{US}"), &format!("g{n}"), "To: <sip:us>\r\n");
    let stranger = "198.51.100.7:5060";
    // A call under way.
    let invite = request("INVITE", &format!("sip:100@{US}"), "h1", "To: <sip:x>\r\n");
    let out = give(&mut core, A, &invite, 0);
    let at_b = out.iter().find(|(to, _)| *to == addr(B)).unwrap().1.clone();

    let mut wanted = CoreConfig::new(Mode::Policy, vec![]);
    wanted.domains = vec!["example.net".into()];
    wanted.realm.name = "elsewhere".into();
    wanted.strangers.per_source_burst = 3;
    wanted.transactions = 77;
    core.handle_command(Command::Configure(Arc::new(wanted)), at(1));
    let answered = (0..100).filter(|n| !give(&mut core, stranger, &options(*n), 1).is_empty()).count();
    assert_eq!(answered, 3, "the new limit");
    let now = core.config();
    assert_eq!((now.transactions, now.domains.as_slice()), (77, &["example.net".to_owned()][..]));
    let old = config(&["127.0.0.1/32"]);
    assert_eq!((&now.mode, &now.listeners, &now.realm), (&old.mode, &old.listeners, &old.realm));
    // The call goes on: its 200 finds its way back.
    let out = give(&mut core, B, &response(&at_b, "200 OK", B), 10);
    assert!(out.iter().any(|(to, text)| *to == addr(A) && text.starts_with("SIP/2.0 200 ")), "{out:?}");
}

#[test]
fn t_sip_13_no_amplification_no_repetition_no_answer_to_scanners() {
    let mut core = core_with(config(&["127.0.0.1/32"]));
    let stranger = "198.51.100.7:5060";
    let scan =
        request("OPTIONS", &format!("sip:{US}"), "z1", "To: <sip:us>\r\nUser-Agent: Friendly-Scanner\r\n");
    assert!(give(&mut core, stranger, &scan, 0).is_empty());
    // A stranger's INVITE that fails: one failure, never repeated by timer G.
    let to_us = request("INVITE", &format!("sip:100@{US}"), "z2", "To: <sip:x>\r\n");
    let out = give(&mut core, stranger, &to_us, 0);
    let at_b = out.iter().find(|(to, _)| *to == addr(B)).unwrap().1.clone();
    give(&mut core, B, &response(&at_b, "486 Busy Here", B), 10);
    let later = run_down(&mut core, 10);
    assert!(later.iter().all(|(to, _)| *to != addr("127.0.0.1:5071")), "{later:?}");
    assert!(later.is_empty(), "{later:?}");
}

#[test]
fn t_sip_14_nothing_is_sent_to_nobody_everybody_or_inside() {
    let mut core = core();
    for target in ["255.255.255.255", "224.0.0.1", "0.0.0.0"] {
        let msg = request("MESSAGE", &format!("sip:x@{target}"), target, "To: <sip:x>\r\n");
        let out = give(&mut core, A, &msg, 0);
        assert_eq!(out.len(), 1);
        assert!(out[0].1.starts_with("SIP/2.0 403 "), "{target}");
    }
    assert_eq!(core.stats().refused_destination, 3);
    // A public interface does not lead inside, and nothing but loopback leads to loopback.
    let flow = |local: &str, remote: &str| Flow::udp(addr(local), addr(remote));
    let config = config(&[]);
    assert!(route::is_refused(&config, &flow("203.0.113.1:5060", "10.0.0.1:5060")));
    assert!(route::is_refused(&config, &flow("203.0.113.1:5060", "169.254.1.1:5060")));
    assert!(route::is_refused(&config, &flow("10.0.0.1:5060", "127.0.0.1:5090")));
    assert!(route::is_refused(&config, &flow(US, US)));
    assert!(!route::is_refused(&config, &flow("10.0.0.1:5060", "10.0.0.2:5060")));
}

#[test]
fn t_sip_01_broken_requests_get_400_and_strangers_streams_are_closed() {
    let mut core = core();
    let broken = invite().replace("CSeq: 1 INVITE", "CSeq: x INVITE");
    let out = give(&mut core, A, &broken, 0);
    assert_eq!(out.len(), 1);
    assert!(out[0].1.starts_with("SIP/2.0 400 "));
    // RFC 3261 §18.2.1: where it came from, when it says another place.
    let elsewhere = broken.replace("SIP/2.0/UDP 127.0.0.1", "SIP/2.0/UDP pbx.example.com");
    let (_, refused) = give(&mut core, A, &elsewhere, 0).remove(0);
    assert!(line(&refused, "Via").contains(";received=127.0.0.1"), "{refused}");
    assert!(give(&mut core, A, "nonsense", 0).is_empty());
    let mut closes = |remote: &str| {
        let flow = Flow { transport: Transport::Tcp, link: LinkId(4), ..udp(remote) };
        core.handle_message(flow, broken.replace("/UDP", "/TCP").as_bytes(), at(0));
        let mut closes = false;
        while let Some(o) = core.poll_output() {
            closes |= matches!(o, Output::CloseFlow(f) if f == flow);
        }
        closes
    };
    assert!(!closes(A), "a known peer's connection carries other calls");
    assert!(closes("203.0.113.7:5060"), "a stranger's is closed");
}

#[test]
fn tcp_goes_on_over_tcp_and_over_the_same_connection_back() {
    let mut core = core();
    let flow = Flow { transport: Transport::Tcp, link: LinkId(4), ..udp(A) };
    core.handle_message(flow, invite().replace("/UDP", "/TCP").as_bytes(), at(0));
    let mut flows = vec![];
    let mut at_b = String::new();
    while let Some(Output::Transmit { flow, bytes }) = core.poll_output() {
        flows.push(flow);
        at_b = String::from_utf8(bytes.into_vec()).unwrap();
    }
    assert_eq!(flows[0], flow);
    assert_eq!((flows[1].transport, flows[1].remote, flows[1].link), (Transport::Tcp, addr(B), LinkId::NONE));
    assert!(line(&at_b, "Record-Route").contains(";transport=tcp;lr;w="));
    // Refused: 503 to the caller, at once.
    core.handle_flow_error(flows[1], at(5));
    let out = sent(&mut core);
    assert_eq!(out.len(), 1);
    assert!(out[0].1.starts_with("SIP/2.0 503 "));
}

#[test]
fn families_and_transports_that_differ_get_two_record_routes() {
    let mut config = config(&["127.0.0.1/32"]);
    config.mode = Mode::Static { next: addr("[::1]:5072"), trusted: vec!["127.0.0.1".parse().unwrap()] };
    let mut core = core_with(config);
    let out = give(&mut core, A, &invite(), 0);
    assert_eq!(out[1].0, addr("[::1]:5072"));
    let rr = lines(&out[1].1, "Record-Route");
    assert_eq!(rr.len(), 2);
    assert!(rr[0].starts_with("<sip:[::1]:5060;lr;w="), "{rr:?}");
    assert!(rr[1].starts_with("<sip:127.0.0.1:5060;lr;w="));
    assert!(lines(&out[1].1, "Via")[0].starts_with("SIP/2.0/UDP [::1]:5060;"));
    // The caller's route set names us twice: both come off.
    let inside = format!("Route: {}\r\nRoute: {}\r\nTo: <sip:x>;tag=bt\r\n", rr[1], rr[0]);
    let out = give(&mut core, A, &request("BYE", "sip:b@[::1]:5072", "d1", &inside), 10);
    assert_eq!(out[0].0, addr("[::1]:5072"));
    assert!(lines(&out[0].1, "Route").is_empty());
    // So does the ACK of a 2xx, which has no transaction.
    let out = give(&mut core, A, &request("ACK", "sip:b@[::1]:5072", "k1", &inside), 12);
    assert_eq!(out[0].0, addr("[::1]:5072"));
    assert!(lines(&out[0].1, "Via")[0].starts_with("SIP/2.0/UDP [::1]:5060;"), "{}", out[0].1);
}

#[test]
fn the_table_is_bounded() {
    let mut config = config(&["127.0.0.1/32"]);
    config.transactions = 4;
    let mut core = core_with(config);
    for n in 0..3 {
        let msg = invite().replace("z9hG4bKi1", &format!("z9hG4bKn{n}"));
        let out = give(&mut core, A, &msg, 0);
        let full = out.iter().any(|(_, t)| t.starts_with("SIP/2.0 503 "));
        assert_eq!(full, n == 2, "{n} {out:?}");
    }
    assert_eq!(core.stats().table_full, 1);
    run_down(&mut core, 0);
    assert_eq!(core.tx.shared.transactions(), 0);
}

#[test]
fn icmp_ends_branches_that_nobody_answered() {
    let mut core = core();
    begin(&mut core);
    core.handle_flow_error(udp(B), at(5));
    let out = sent(&mut core);
    assert_eq!(out.len(), 1);
    assert!(out[0].1.starts_with("SIP/2.0 503 "), "F-NET-05");
}

#[test]
fn same_seed_same_bytes() {
    let run = || {
        let mut core = core();
        let at_b = begin(&mut core);
        let mut all = give(&mut core, B, &response(&at_b, "486 Busy Here", B), 50);
        all.push((addr(B), at_b));
        all.extend(run_down(&mut core, 50));
        all
    };
    assert_eq!(run(), run());
}

#[test]
fn messages_of_one_call_meet_one_shard() {
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..64 {
        let a = invite().replace("call-1", &format!("call-{n}"));
        let b = a.replace("Call-ID: ", "i:\t").replace("INVITE", "BYE");
        let c = a.replace("Call-ID: ", "CALL-ID  :   ");
        let shard = shard_of(a.as_bytes(), 8);
        assert!(shard < 8);
        assert_eq!(shard, shard_of(b.as_bytes(), 8));
        assert_eq!(shard, shard_of(c.as_bytes(), 8));
        seen.insert(shard);
    }
    assert_eq!(seen.len(), 8);
    assert_eq!(shard_of(b"garbage", 8), 0);
    assert_eq!(shard_of(b"", 8), 0);
}

#[test]
fn our_name_stands_in_our_own_responses_only() {
    let mut config = config(&["127.0.0.1/32"]);
    config.server_name = "warp".into();
    let mut core = core_with(config);
    let out = give(&mut core, A, &request("OPTIONS", &format!("sip:{US}"), "n1", "To: <sip:us>\r\n"), 0);
    assert_eq!(line(&out[0].1, "Server"), "warp");
    let at_b = begin(&mut core);
    let busy = give(&mut core, B, &response(&at_b, "486 Busy Here", B), 5);
    assert!(busy.iter().all(|(_, t)| !t.contains("Server:")));
}

#[test]
fn bound_to_the_wildcard_we_are_the_address_that_was_called() {
    let mut config = config(&["127.0.0.1/32"]);
    config.listeners =
        vec![Listener { transport: Transport::Udp, bind: addr("0.0.0.0:5060"), advertise: None }];
    let mut core = core_with(config);
    let at_b = begin(&mut core);
    assert!(lines(&at_b, "Via")[0].starts_with("SIP/2.0/UDP 127.0.0.1:5060;"));
    let rr = line(&at_b, "Record-Route").to_owned();
    assert!(rr.starts_with("<sip:127.0.0.1:5060;lr;w="));
    give(&mut core, B, &response(&at_b, "200 OK", B), 30);
    let dialog = format!("Route: {rr}\r\nTo: <sip:100@us>;tag=bt\r\n");
    let bye = give(&mut core, A, &request("BYE", &format!("sip:b@{B}"), "b1", &dialog), 900);
    assert_eq!(bye[0].0, addr(B));
}

#[test]
fn a_503_is_passed_on_only_from_the_hop_that_takes_everything() {
    let mut core = core();
    let first = begin(&mut core);
    let out = give(&mut core, B, &response(&first, "503 Overloaded", B), 1);
    assert!(out.iter().any(|(to, t)| *to == addr(A) && t.starts_with("SIP/2.0 503 ")), "{out:?}");
    // Another hop's trouble is not ours: the caller may well try us again.
    let elsewhere = "192.0.2.7:5090";
    let invite = request("INVITE", &format!("sip:x@{elsewhere}"), "i2", "To: <sip:x>\r\n");
    let sent = give(&mut core, A, &invite.replace("call-1", "call-2"), 2);
    let away = &sent.iter().find(|(to, _)| *to == addr(elsewhere)).unwrap().1;
    let out = give(&mut core, elsewhere, &response(away, "503 Overloaded", elsewhere), 3);
    assert!(out.iter().any(|(to, t)| *to == addr(A) && t.starts_with("SIP/2.0 500 ")), "{out:?}");
    assert!(out.iter().any(|(to, t)| *to == addr(elsewhere) && t.starts_with("ACK ")));
}
