//! Which call a message belongs to, over which flow each party is reached, which address of a vendor is asked, and what is held for a minute.

use std::sync::Arc;

use warp_model::cdr::Outcome;
use warp_model::{Currency, DeckId, Nanos, Wall};
use warp_ng::Reply;
use warp_policy::deck::{Deck, DeckKind, DeckMeta, Row};
use warp_policy::{LcrIndex, NumberPlan, RateList, Snapshot};
use warp_sip::flow::{Flow, LinkId, Transport};

use super::overload;
use super::tests_static::{addr, at, config, core_with, line};
use super::tests_world::*;
use super::types::{AskId, Command, CoreConfig, Listener};

/// Another number, so another call of the same Call-ID.
const OTHER: &str = "+14155550199";

/// Of the world of tests_static.
const A_US: &str = "127.0.0.1:5060";

fn fork(number: &str, branch: &str) -> String {
    invite(number, "c1", "", SDP).replace("branch=z9hG4bKc1", &format!("branch=z9hG4bK{branch}"))
}

/// The last question, answered.
fn answer_last(w: &mut World) {
    let id: AskId = w.asked.pop_back().unwrap().0;
    w.answer(id, Ok(Reply::Sdp { sdp: b"x".to_vec(), warning: None, recordings: Vec::new() }));
}

fn info(ok: &str, caller: bool, branch: &str) -> String {
    inside("INFO", ok, caller, branch, "", "")
}

/// A request goes to the call whose dialog it names, whatever a younger call of the same Call-ID waits for.
#[test]
fn a_request_does_not_wait_for_another_fork() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &fork(NUMBER, "f1"));
    let one = w.to(V1);
    w.give(CUSTOMER, &fork(OTHER, "f2"));
    let two = w.to(V1);
    w.give(V1, &reply(&one, "200 OK", "b1", V1, "", SDP));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "a1", "", ""));
    w.take();
    w.relay = false;
    w.give(V1, &reply(&two, "200 OK", "b2", V1, "", SDP));
    w.give(CUSTOMER, &info(&ok, true, "i1"));
    assert!(line(&w.to(V1), "To").ends_with(";tag=b1"));
    // Both wait: it is held by its own call, and goes on with it.
    w.give(CUSTOMER, &inside("UPDATE", &ok, true, "u1", "", SDP).replace("CSeq: 2", "CSeq: 3"));
    w.give(CUSTOMER, &info(&ok, true, "i2").replace("CSeq: 2", "CSeq: 4"));
    assert!(w.take().iter().all(|(to, _)| *to == addr(CUSTOMER)));
    answer_last(&mut w);
    let sent: Vec<String> = w.take().into_iter().filter(|(to, _)| *to == addr(V1)).map(|(_, t)| t).collect();
    assert!(sent.iter().any(|t| t.starts_with("INFO ")), "{sent:#?}");
}

/// The youngest call of a Call-ID is forgotten: the elder ones are found as before.
#[test]
fn a_forgotten_fork_takes_no_other_with_it() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &fork(NUMBER, "f1"));
    let one = w.to(V1);
    w.give(CUSTOMER, &fork(OTHER, "f2"));
    let two = w.to(V1);
    w.give(V1, &reply(&one, "200 OK", "b1", V1, "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "a1", "", ""));
    w.give(V1, &reply(&two, "486 Busy Here", "b2", V1, "", ""));
    w.wait(120_000);
    assert_eq!(w.core.calls.all.len(), 1, "it is forgotten");
    w.take();
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert!(w.to(V1).starts_with("BYE "));
    w.nothing_is_left();
}

/// Calls are listed as they began, wherever they are kept.
#[test]
fn calls_are_listed_in_the_order_of_their_beginning() {
    let mut w = World::new(false, |_| ());
    for n in 0..4 {
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
        let at_v = w.to(V1);
        // The first two end, and leave their places to others.
        let end = if n < 2 { "486 Busy Here" } else { "180 Ringing" };
        w.give(V1, &reply(&at_v, end, "x", V1, "", ""));
        w.take();
    }
    w.wait(60_000);
    w.take();
    for n in 4..7 {
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
        w.take();
    }
    let names: Vec<String> =
        w.core.calls.list(super::tests_static::at(w.ms).mono).into_iter().map(|c| c.sip_call_id).collect();
    assert_eq!(names, ["c2", "c3", "c4", "c5", "c6"]);
}

fn also_tcp(config: &mut CoreConfig) {
    config.listeners.push(Listener { transport: Transport::Tcp, bind: addr(US), advertise: None });
}

fn tcp(remote: &str, link: u64) -> Flow {
    Flow { transport: Transport::Tcp, link: LinkId(link), ..Flow::udp(addr(US), addr(remote)) }
}

fn give_over(w: &mut World, flow: Flow, text: &str) {
    w.ms += 10;
    let text = text.replacen("SIP/2.0/UDP", "SIP/2.0/TCP", 1);
    w.core.handle_message(flow, text.as_bytes(), at(w.ms));
    w.drain();
}

/// RFC 5923 in spirit: a vendor is reached over the connection that it opened last, and when that closes, at the address that it wrote. What the
/// other side was learnt at stays.
#[test]
fn a_stream_is_followed_and_its_end_costs_its_own_side_only() {
    const STREAM: &str = "203.0.113.1:41000";
    let mut w = World::with(
        false,
        |d| d.vendor_trunks[0].transport = warp_policy::directory::Transport::Tcp,
        also_tcp,
    );
    // The caller is behind a NAT: what he wrote leads nowhere.
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", "").replace("sip:a@192.0.2.10:5060", "sip:a@10.0.0.5:5060"));
    let at_v = w.to(V1);
    give_over(&mut w, tcp(V1, 8), &reply(&at_v, "200 OK", "bt", &format!("{V1};transport=tcp"), "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "a1", "", ""));
    w.take();
    let to_callee = |w: &mut World, n: u32| {
        w.give(CUSTOMER, &info(&ok, true, &format!("c{n}")).replace("CSeq: 2", &format!("CSeq: {n}")));
        let (to, text) = w.take().into_iter().find(|(_, t)| t.starts_with("INFO ")).unwrap();
        give_over(w, tcp(&to.to_string(), 8), &reply(&text, "200 OK", "", V1, "", ""));
        w.take();
        to
    };
    assert_eq!(to_callee(&mut w, 2), addr(V1));
    // It opens a connection of its own and asks over that.
    give_over(&mut w, tcp(STREAM, 9), &info(&ok, false, "v1"));
    assert!(w.to(CUSTOMER).starts_with("INFO "));
    assert_eq!(to_callee(&mut w, 3), addr(STREAM));
    // That closes.
    w.core.handle_flow_error(tcp(STREAM, 9), at(w.ms));
    w.drain();
    w.take();
    assert_eq!(to_callee(&mut w, 4), addr(V1));
    give_over(&mut w, tcp(V1, 8), &info(&ok, false, "v2").replace("CSeq: 2", "CSeq: 3"));
    assert!(w.to(CUSTOMER).starts_with("INFO "), "the caller where he spoke from");
    assert_eq!(w.core.live_calls(), 1);
}

/// One request over another transport moves nobody: his dialog's address is of the transport that it was made over.
#[test]
fn a_single_request_over_tcp_does_not_move_a_caller_on_udp() {
    let mut w = World::with(false, |_| (), also_tcp);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", "").replace("sip:a@192.0.2.10:5060", "sip:a@10.0.0.5:5060"));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "a1", "", ""));
    w.take();
    give_over(&mut w, tcp("192.0.2.10:41000", 7), &info(&ok, true, "c1"));
    assert!(w.to(V1).starts_with("INFO "));
    w.give(V1, &info(&ok, false, "v1"));
    assert!(w.to(CUSTOMER).starts_with("INFO "));
}

/// The addresses of one vendor are counted apart from those of the one before, our own is none, and one that speaks again is asked first.
#[test]
fn each_vendors_addresses_are_its_own() {
    const SECOND: [&str; 2] = ["203.0.113.11:5060", "203.0.113.12:5060"];
    let mut w = World::new(false, |d| {
        for (trunk, more) in d.vendor_trunks.iter_mut().zip(SECOND) {
            trunk.addresses.push(addr(more));
        }
    });
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let order = [V1, SECOND[0], V2, SECOND[1], V3];
    for (n, who) in order.into_iter().enumerate() {
        let sent = w.take().into_iter().find(|(_, t)| t.starts_with("INVITE ")).unwrap();
        assert_eq!(sent.0, addr(who), "{n}");
        w.give(who, &reply(&sent.1, "503 Service Unavailable", "x", who, "", ""));
    }
    // Ourselves.
    let mut w = World::new(false, |d| d.vendor_trunks[0].addresses = vec![addr(US)]);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    assert!(w.to(V2).starts_with("INVITE "));
    // Silent, so it rests; then it says something after all.
    for speaks in [false, true] {
        let mut w = World::with(
            false,
            |d| d.vendor_trunks[0].addresses.push(addr("203.0.113.11:5060")),
            |c| c.trunk_down_after = 1,
        );
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let at_v = w.to(V1);
        w.wait(2_100);
        w.take();
        if speaks {
            w.give(V1, &reply(&at_v, "100 Trying", "", V1, "", ""));
        }
        w.take();
        w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
        let first = if speaks { V1 } else { "203.0.113.11:5060" };
        assert!(w.to(first).starts_with("INVITE "), "{speaks}");
    }
}

/// A call that cannot be priced says so in its record: nobody is charged, and somebody must look.
#[test]
fn a_call_that_cannot_be_priced_says_so() {
    let mut w = World::new(false, |_| ());
    let (ok, _) = answered(&mut w, "");
    let id = w.core.calls.all.iter().next().unwrap().0;
    let call = w.core.calls.all.get_mut(id).unwrap();
    call.decision.as_mut().unwrap().sell.as_mut().unwrap().deck = 99;
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    let r = &w.ended[0];
    assert_eq!(
        (r.outcome, r.internal_code.as_str(), r.rating.is_none()),
        (Outcome::Answered, "rating_failed", true)
    );
}

/// A challenge that we have no credentials for is counted, unless the call was given up already.
#[test]
fn a_challenge_after_a_cancel_is_not_counted_as_unanswered() {
    for cancelled in [false, true] {
        let mut w = World::new(false, |_| ());
        let first = invite(NUMBER, "c1", "", "");
        w.give(CUSTOMER, &first);
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
        if cancelled {
            w.give(CUSTOMER, &first.replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL"));
        }
        let ask = "Proxy-Authenticate: Digest realm=\"v\", nonce=\"n\"\r\n";
        w.give(V1, &reply(&at_v, "407 Proxy Authentication Required", "bt", V1, ask, ""));
        assert_eq!(w.core.stats().challenges_unanswered, u64::from(!cancelled), "{cancelled}");
    }
}

/// F-LOAD-01: a share is a share: a draw that equals the level is admitted.
#[test]
fn f_load_01_a_draw_at_the_level_is_admitted() {
    let mut w = World::new(false, |_| ());
    let text = invite(NUMBER, "s1", "", "");
    let draw = w.core.tx.shared.keyed.hash64(&[b"shed", b"s1"]) % u64::from(overload::FULL);
    let draw = u32::try_from(draw).unwrap();
    w.core.set_overload(draw + 1);
    w.give(CUSTOMER, &text);
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 503 "));
    w.core.set_overload(draw);
    w.give(CUSTOMER, &text.replace("z9hG4bKs1", "z9hG4bKs2"));
    assert!(w.to(V1).starts_with("INVITE "));
}

fn by_the_second(n: u128, rate: i64) -> RateList {
    let kind = DeckKind::Az;
    let meta =
        DeckMeta { id: DeckId::from_u128(n), version: 1, name: "s".into(), kind, currency: Currency::USD };
    let row = Row {
        code: "1415".parse().unwrap(),
        rates: [Nanos(rate); 3],
        terms: kind.usual_terms(),
        from: None,
        until: None,
        blocked: false,
    };
    RateList { decks: vec![Arc::new(Deck::new(meta, vec![row]).unwrap())] }
}

/// T-SIP-06: the next minute is held whole, a second before it begins, and no more than that when the timer is late: a customer whose limit
/// allows two minutes has them.
#[test]
fn t_sip_06_the_second_minute_is_held_whole_and_no_more() {
    for late_ms in [0, 1, 999] {
        let mut w = World::new(false, |_| ());
        let directory = w.core.tx.snapshot.clone().unwrap().directory.clone();
        let (buys, sells) =
            ([1, 2, 3].map(|n| by_the_second(n, 6_000_000)), [by_the_second(100, 60_000_000)]);
        let index = LcrIndex::build(&buys, &sells, &NumberPlan::seed(), Wall(0)).unwrap();
        let snapshot = Snapshot::new(directory, Arc::new(index), Arc::new(NumberPlan::seed()));
        w.core.handle_snapshot(Arc::new(snapshot), at(w.ms));
        answered(&mut w, "");
        let (id, call) = w.core.calls.all.iter().next().unwrap();
        let due = call.hold_at;
        let held = |w: &World| w.core.calls.all.get(id).unwrap().reservation.as_ref().unwrap().reserved();
        assert_eq!(held(&w), Nanos(60_000_000));
        for n in 0..2 {
            let ms = due.since(at(0).mono).as_millis() as u64 + n * 60_000 + late_ms;
            w.core.tx.now = at(ms);
            w.core.calls.all.get_mut(id).unwrap().armed = at(ms).mono;
            w.core.calls.call_due(id, &mut w.core.tx);
            assert_eq!(held(&w), Nanos(60_000_000 * (n as i64 + 2)), "{late_ms} ms late");
        }
    }
}

/// T-SIP-11: a response belongs to a request of ours by its method and its transport, too.
#[test]
fn t_sip_11_a_response_of_another_method_or_transport_is_nobodys() {
    let mut w = World::with(false, |_| (), also_tcp);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    let busy = reply(&at_v, "486 Busy Here", "x", V1, "", "");
    w.give(V1, &busy.replace("1 INVITE", "1 OPTIONS"));
    w.core.handle_message(tcp(V1, 8), busy.as_bytes(), at(w.ms));
    w.drain();
    assert_eq!((w.take().len(), w.core.stats().stray, w.core.live_calls()), (0, 2, 1));
    w.give(V1, &busy);
    assert_eq!(w.ended.len(), 1);
    // Finals that come again are counted; an 18x that comes late is none.
    w.give(V1, &reply(&at_v, "180 Ringing", "x", V1, "", ""));
    assert_eq!(w.core.stats().repeated_responses_in, 0);
    w.give(V1, &busy);
    assert_eq!(w.core.stats().repeated_responses_in, 1);
}

/// RFC 5393 §4.2.1: a request with other tags is another one, whatever way it took.
#[test]
fn rfc_5393_other_tags_are_no_loop() {
    for (old, new, loops) in [
        ("tag=at", "tag=at", 1),
        ("tag=at", "tag=other", 0),
        (&*format!("To: <sip:{NUMBER}@{US}>"), &*format!("To: <sip:{NUMBER}@{US}>;tag=x"), 0),
    ] {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let sent = w.to(V1);
        let (_, rest) = sent.split_once("\r\n").unwrap();
        let back = rest.replace("CSeq: 1 ", "CSeq: 2 ").replace(old, new);
        w.give(CUSTOMER, &format!("INVITE sip:{NUMBER}@{US} SIP/2.0\r\n{back}"));
        assert_eq!(w.core.stats().loops, loops, "{new}");
    }
}

/// RFC 3261 §16.3: an ACK that has passed as many hops as it may goes no further.
#[test]
fn an_ack_that_is_not_sound_is_not_passed_on() {
    let mut w = World::new(false, |_| ());
    let (ok, _) = answered(&mut w, "");
    let ack = inside("ACK", &ok, true, "ack", "", "");
    w.give(CUSTOMER, &ack.replace("Max-Forwards: 70", "Max-Forwards: 0"));
    assert_eq!((w.take().len(), w.core.stats().stray), (0, 1));
}

/// T-SIP-12: scanners are silenced where the configuration says so.
#[test]
fn t_sip_12_scanners_are_dropped_when_that_is_configured() {
    for drops in [false, true] {
        let mut w = World::new(false, |_| ());
        let mut config = (**w.core.config()).clone();
        config.drop_scanners = drops;
        w.command(Command::Configure(Arc::new(config)));
        let text = invite(NUMBER, "c1", "User-Agent: friendly-scanner\r\n", "");
        w.give("198.18.0.9:5060", &text.replace(CUSTOMER, "198.18.0.9:5060"));
        assert_eq!((w.take().is_empty(), w.core.stats().scanner_dropped), (drops, u64::from(drops)));
    }
}

/// T-SIP-14: a stranger has as many transactions as the configuration says, and not one more.
#[test]
fn t_sip_14_a_strangers_transactions_are_counted() {
    let mut config = config(&["127.0.0.0/8"]);
    config.transactions_per_stranger = 2;
    let mut core = core_with(config);
    let stranger = "192.0.2.66:5060";
    for n in 0..4 {
        let text = invite("100", &format!("s{n}"), "", "").replace(US, A_US).replace(CUSTOMER, stranger);
        core.handle_message(Flow::udp(addr(A_US), addr(stranger)), text.as_bytes(), at(n));
    }
    assert_eq!(core.transactions().0, 2);
}

/// RFC 5393 §5.3: a request that goes on says how many branches may come of it. One branch at a time is open here, so each attempt has the
/// whole of what came; where nothing came it is 60, and where nothing is left it is 440.
#[test]
fn rfc_5393_a_request_goes_on_with_its_breadth_and_without_any_left_not_at_all() {
    for (said, goes_on) in [("", "60"), ("Max-Breadth: 7\r\n", "7"), ("max-breadth:   1 \r\n", "1")] {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", said, ""));
        let first = w.to(V1);
        let breadth = |text: &str| -> Vec<String> {
            let named = |l: &&str| l.to_ascii_lowercase().starts_with("max-breadth:");
            text.lines().filter(named).map(|l| l.split_once(':').unwrap().1.trim().to_owned()).collect()
        };
        assert_eq!(breadth(&first), [goes_on], "{first}");
        // The next vendor's turn begins when the first has answered: it has all of it again.
        w.give(V1, &reply(&first, "503 Service Unavailable", "x", V1, "", ""));
        let second =
            w.take().into_iter().find(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")).unwrap().1;
        assert_eq!(breadth(&second), [goes_on], "{second}");
        w.give(V2, &reply(&second, "200 OK", "bt", V2, "", ""));
        let ok = w.to(CUSTOMER);
        for method in ["ACK", "BYE"] {
            w.give(CUSTOMER, &inside(method, &ok, true, method, "", ""));
            let there = w.to(V2);
            assert_eq!(breadth(&there), Vec::<String>::new(), "within the dialog nothing is forked: {there}");
        }
    }
    for (said, answer) in [("0", "440 "), ("000", "440 "), ("many", "400 "), ("-1", "400 "), ("", "400 ")] {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", &format!("Max-Breadth: {said}\r\n"), ""));
        let refused = w.to(CUSTOMER);
        assert!(refused.starts_with(&format!("SIP/2.0 {answer}")), "{said}: {refused}");
        assert_eq!(w.core.live_calls(), 0);
        // A ping to us goes nowhere further.
        let ping = invite("ping", "o1", &format!("Max-Breadth: {said}\r\n"), "").replace("INVITE", "OPTIONS");
        w.give(CUSTOMER, &ping);
        let wanted = if answer == "440 " { "SIP/2.0 200 " } else { "SIP/2.0 400 " };
        assert!(w.to(CUSTOMER).starts_with(wanted), "{said}");
    }
}

/// RFC 3261 §17.1.1.2: a final that is repeated is acknowledged again, and the call hears of it once.
#[test]
fn a_repeated_challenge_is_counted_once() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    let challenge = "WWW-Authenticate: Digest realm=\"v\", nonce=\"n\"\r\n";
    for repeated in 0..3 {
        w.give(V1, &reply(&at_v, "401 Unauthorized", "x", V1, challenge, ""));
        let out = w.take();
        assert!(out.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("ACK ")), "{out:#?}");
        let further = out.iter().filter(|(_, t)| t.starts_with("INVITE ")).count();
        assert_eq!(further, usize::from(repeated == 0), "the next vendor is asked once: {out:#?}");
    }
    assert_eq!(w.core.stats().challenges_unanswered, 1);
}

/// A request of our own that finds no room in the table is counted, and the call is over all the same.
#[test]
fn a_bye_of_ours_without_room_is_counted() {
    let mut w = World::new(false, |_| ());
    answered(&mut w, "");
    let mut config = (**w.core.config()).clone();
    config.transactions = 1;
    w.command(Command::Configure(std::sync::Arc::new(config)));
    let cdr_id = w.answered[0].cdr_id;
    w.command(Command::EndCall { cdr_id, reason: "operator" });
    assert_eq!(w.ended.len(), 1);
    let byes = w.take().iter().filter(|(_, t)| t.starts_with("BYE ")).count();
    assert_eq!((byes, w.core.stats().table_full), (0, 2));
}
