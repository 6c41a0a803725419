//! What a record says of a call's attempts, prices, causes and figures, and what is given back, held or rested at its end.

use warp_model::cdr::Outcome;
use warp_model::{Nanos, VendorTrunkId};
use warp_ng::{CallStats, Command as Ng, Counts, MediaStats, Reply, StreamStats, TagStats};
use warp_policy::directory::NumberFormat;
use warp_policy::{DirectoryBuilder, DownCause, TrunkIx, VendorTrunkIx};
use warp_sip::flow::Flow;

use super::health::TrunkState;
use super::tests_static::{addr, at, line};
use super::tests_world::*;
use super::types::{Command, MediaError};
use super::{is_emergency, overload};

/// The first message to an address that begins so.
fn sent_to(w: &mut World, who: &str, starts: &str) -> String {
    let all = w.take();
    let found = all.iter().find(|(to, t)| *to == addr(who) && t.starts_with(starts));
    found.unwrap_or_else(|| panic!("no {starts}to {who}: {all:#?}")).1.clone()
}

/// Channels in use: of the customer's trunk, and of the vendors'.
fn channels(w: &World) -> (u32, Vec<u32>) {
    let directory = w.core.tx.snapshot.clone().unwrap().directory.clone();
    let bound = w.core.tx.shared.usage.bind(&directory);
    let of = |n| bound.vendor_trunk_channels(VendorTrunkIx(n)).unwrap();
    (bound.trunk(TrunkIx(0)).unwrap().channels, (0..3).map(of).collect())
}

fn state(w: &World, vendor: u128) -> TrunkState {
    w.core.tx.shared.vendor_trunk(VendorTrunkId::from_u128(vendor), at(w.ms).mono).unwrap()
}

pub(super) fn cancel(invite: &str) -> String {
    let head = invite.split_once("\r\n\r\n").unwrap().0.replace("INVITE", "CANCEL");
    let lines = head.split("\r\n").filter(|line| !line.starts_with("Content-"));
    lines.collect::<Vec<_>>().join("\r\n") + "\r\nContent-Length: 0\r\n\r\n"
}

#[test]
fn the_vendor_that_carries_a_call_has_its_price_and_each_attempt_its_cause() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let first = w.to(V1);
    w.give(V1, &reply(&first, "503 Service Unavailable", "x", V1, "Reason: Q.850;cause=42\r\n", ""));
    let second = sent_to(&mut w, V2, "INVITE ");
    assert_eq!(channels(&w), (1, vec![0, 1, 0]));
    w.give(V2, &reply(&second, "200 OK", "bt", V2, "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    w.wait(59_000);
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert_eq!(channels(&w), (0, vec![0, 0, 0]), "at once");
    let r = &w.ended[0];
    let rating = r.rating.as_ref().unwrap();
    assert_eq!((rating.sell.rate_per_min, rating.buy.rate_per_min), (Nanos(10_000_000), Nanos(2_000_000)));
    let second = Some(VendorTrunkId::from_u128(2));
    assert_eq!((r.vendor_trunk_id, r.route_rank, r.q850), (second, Some(2), Some(16)));
    let legs: Vec<_> = r.legs.iter().map(|l| (l.sip_code, l.q850, l.ended_by.as_str())).collect();
    assert_eq!(legs, [(503, Some(42), "failover"), (200, Some(16), "answered")]);
    assert_eq!((r.legs[1].end_at, r.legs[0].vendor_trunk_id), (r.end_at, Some(VendorTrunkId::from_u128(1))));
    assert!(!is_emergency(r));
    w.nothing_is_left();
}

#[test]
fn a_call_that_fails_is_told_by_its_status_and_the_vendors_reason() {
    for (status, reason, outcome, cause) in [
        ("486 Busy Here", "", Outcome::Busy, 17),
        ("600 Busy Everywhere", "", Outcome::Busy, 17),
        ("404 Not Found", "Reason: Q.850;cause=3\r\n", Outcome::Failed, 3),
        ("486 Busy Here", "Reason: SIP;cause=486, Q.850;cause=21\r\n", Outcome::Busy, 21),
    ] {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, status, "x", V1, reason, ""));
        assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.contains(&status[..3])), "{status}");
        let r = &w.ended[0];
        assert_eq!((r.outcome, r.q850, r.legs[0].q850), (outcome, Some(cause), Some(cause)), "{status}");
        assert_eq!(channels(&w), (0, vec![0, 0, 0]), "{status}: at once");
    }
}

#[test]
fn an_end_of_ours_has_the_cause_of_its_reason() {
    for (reason, cause) in
        [("operator", 16), ("media_timeout", 41), ("media_unavailable", 47), ("max_duration", 31)]
    {
        let mut w = World::new(false, |_| ());
        answered(&mut w, "");
        let cdr_id = w.answered[0].cdr_id;
        w.command(Command::EndCall { cdr_id, reason });
        let r = &w.ended[0];
        assert_eq!((r.q850, r.legs[0].q850, r.internal_code.as_str()), (Some(cause), Some(cause), reason));
    }
    // While it rings: its attempt ends with it.
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    let mut calls = w.core.calls.list(super::tests_static::at(w.ms).mono);
    assert_eq!((calls.len(), calls[0].state), (1, "ringing"));
    w.command(Command::EndCall { cdr_id: calls.remove(0).cdr_id, reason: "operator" });
    let legs: Vec<_> = w.ended[0].legs.iter().map(|l| (l.sip_code, l.ended_by.as_str())).collect();
    assert_eq!(legs, [(487, "ended_by_us")]);
    assert_eq!(
        (channels(&w), w.core.calls.list(super::tests_static::at(w.ms).mono).len()),
        ((0, vec![0, 0, 0]), 0)
    );
}

/// The caller gives up: before anything was heard of the vendor, and while it rings and the vendor then fails.
#[test]
fn a_cancelled_call_ends_its_attempt_and_tries_no_other() {
    let mut w = World::new(false, |_| ());
    let first = invite(NUMBER, "c1", "", "");
    w.give(CUSTOMER, &first);
    w.give(CUSTOMER, &cancel(&first));
    let legs = |w: &World| {
        let all = w.ended[0].legs.iter();
        all.map(|l| (l.sip_code, l.ended_by.clone())).collect::<Vec<_>>()
    };
    assert_eq!((legs(&w), channels(&w)), (vec![(487, "cancelled".into())], (0, vec![0, 0, 0])));
    w.nothing_is_left();
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &first);
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    w.give(CUSTOMER, &cancel(&first));
    w.take();
    w.give(V1, &reply(&at_v, "503 Service Unavailable", "bt", V1, "", ""));
    let sent = w.take();
    assert!(sent.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 487 ")), "{sent:#?}");
    assert!(!sent.iter().any(|(to, _)| *to == addr(V2)));
    assert_eq!((legs(&w), w.ended[0].outcome), (vec![(503, "cancelled".into())], Outcome::Cancelled));
    w.nothing_is_left();
}

#[test]
fn a_vendor_gets_the_number_in_its_own_form() {
    fn formed(format: NumberFormat) -> impl Fn(&mut DirectoryBuilder) {
        move |d| d.vendor_trunks.iter_mut().for_each(|t| t.number_format = format)
    }
    for (format, first, abroad) in [
        (NumberFormat::PlusE164, "+14155550123", "+442071838750"),
        (NumberFormat::E164, "14155550123", "442071838750"),
        (NumberFormat::National, "4155550123", "011442071838750"),
    ] {
        let mut w = World::new(false, |_| ());
        let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
        formed(format)(&mut rows);
        w.change(rows);
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let at_v = w.to(V1);
        assert!(at_v.starts_with(&format!("INVITE sip:{first}@{V1} ")), "{at_v}");
        // Nobody here sells numbers abroad.
        let id = w.core.calls.all.iter().next().unwrap().0;
        let call = w.core.calls.all.get_mut(id).unwrap();
        call.decision.as_mut().unwrap().called = Some("+442071838750".parse().unwrap());
        w.give(V1, &reply(&at_v, "503 Service Unavailable", "x", V1, "", ""));
        let at_v = sent_to(&mut w, V2, "INVITE ");
        assert!(at_v.starts_with(&format!("INVITE sip:77%23{abroad}@{V2} ")), "{at_v}");
    }
}

/// T-SIP-03: an asserted identity is believed, and passed on, of trunks that we trust only.
#[test]
fn t_sip_03_who_calls_is_asserted_by_trusted_trunks_only() {
    let text = invite(NUMBER, "c1", "P-Asserted-Identity: <sip:+14155550999@x>\r\n", "");
    let worlds: [(Tweak, &str, bool); 2] = [
        (|_| (), "+14155550100", false),
        (|d| d.trunks[0].caller.trust_asserted = true, "+14155550999", true),
    ];
    for (tweak, caller, passes) in worlds {
        let mut w = World::new(false, tweak);
        w.give(CUSTOMER, &text);
        let at_v = w.to(V1);
        assert_eq!(at_v.contains("P-Asserted-Identity: <sip:+14155550999@x>"), passes, "{at_v}");
        assert_eq!(w.core.calls.list(super::tests_static::at(w.ms).mono)[0].caller, caller);
    }
    // T-SIP-19: without what would steer a terminal.
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &text.replace("<sip:+14155550100@", "<sip:a%1bb%07@"));
    assert_eq!(w.core.calls.list(super::tests_static::at(w.ms).mono)[0].caller, "ab");
}

#[test]
fn the_relays_figures_keep_to_their_direction() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    let asked = w.questions();
    let provisional: Vec<bool> = asked
        .iter()
        .filter_map(|c| match c {
            Ng::Offer(c) | Ng::Answer(c) => Some(c.flags.provisional),
            _ => None,
        })
        .collect();
    assert_eq!(provisional, [true, false], "while it rings, and for good");
    w.relay = false;
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    let (id, command) = w.asked.pop_front().unwrap();
    assert!(matches!(command, Ng::Delete(_)));
    let heard = |tag: &str, packets| TagStats {
        tag: tag.into(),
        medias: vec![MediaStats {
            streams: vec![StreamStats {
                local: addr(US),
                endpoint: None,
                advertised: None,
                last_packet: None,
                ssrc: None,
                rtcp: false,
                confirmed: true,
                received: Counts { packets, ..Counts::default() },
                sent: Counts::default(),
                source: None,
            }],
            ..MediaStats::default()
        }],
        ..TagStats::default()
    };
    let stats = CallStats { tags: vec![heard("at", 7), heard("bt", 9)], ..CallStats::default() };
    w.answer(id, Ok(Reply::Stats(Box::new(stats))));
    let media = w.ended[0].media.as_ref().unwrap();
    assert_eq!((media.to_callee.packets, media.to_caller.packets), (7, 9));
    assert_eq!(w.core.stats().media_failures, 0);
}

/// A relay that fails is no answer of the vendor: its attempt has neither status nor cause.
#[test]
fn an_attempt_that_was_never_sent_has_no_cause() {
    for (answer, status, cause, code) in [
        (Err(MediaError::Timeout), 503, 47, "media_unavailable"),
        (Ok(Reply::error("Failed to parse SDP")), 488, 65, "media_refused"),
    ] {
        let mut w = World::new(true, |_| ());
        w.relay = false;
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let id = w.asked.pop_front().unwrap().0;
        w.answer(id, answer);
        let r = &w.ended[0];
        assert_eq!((r.sip_code, r.q850, r.internal_code.as_str()), (status, Some(cause), code));
        assert_eq!((r.legs[0].sip_code, r.legs[0].q850), (0, None));
        assert_eq!(w.core.stats().media_failures, 1);
        // A relay that was silent may hold it all the same, and is told to forget it.
        assert_eq!(
            w.asked.iter().filter(|(_, c)| matches!(c, Ng::Delete(_))).count(),
            usize::from(status == 503)
        );
        w.relay = true;
        w.drain();
        w.nothing_is_left();
    }
}

/// T-RTP-10: silence of the media ends an answered call, and none that rings.
#[test]
fn t_rtp_10_silence_while_it_rings_ends_nothing() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let media_id = w.core.calls.list(super::tests_static::at(w.ms).mono)[0].cdr_id.to_string().into_bytes();
    w.command(Command::MediaTimeout { media_id, due: super::tests_static::at(w.ms).mono });
    assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0));
}

#[test]
fn no_call_lasts_longer_than_the_configuration_allows() {
    for (of_trunk, of_config, ends) in [(30, 60, 30), (60, 30, 30)] {
        let mut w = World::new(false, |_| ());
        let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
        rows.trunks[0].limits.max_duration_s = Some(of_trunk);
        w.change(rows);
        let mut config = (**w.core.config()).clone();
        config.max_duration = std::time::Duration::from_secs(of_config);
        w.command(Command::Configure(std::sync::Arc::new(config)));
        answered(&mut w, "");
        w.wait(45_000);
        assert_eq!(
            (w.ended[0].duration_ms / 1_000, w.ended[0].internal_code.as_str()),
            (ends, "max_duration")
        );
    }
}

/// F-NET-03: five minutes at most; none for `0`; of one node the address rests, not its trunk.
#[test]
fn f_net_03_a_rest_is_as_long_as_asked_for_within_bounds() {
    for (asked, rests) in [("0", 0), ("20", 20), ("100000", 300)] {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let at_v = w.to(V1);
        let retry = format!("Retry-After: {asked}\r\n");
        w.give(V1, &reply(&at_v, "503 Service Unavailable", "x", V1, &retry, ""));
        match state(&w, 1) {
            TrunkState::Up => assert_eq!(rests, 0),
            TrunkState::Down(left, _) => assert_eq!(left.as_secs(), rests),
            other => panic!("{other:?}"),
        }
    }
    let mut w = World::new(false, |d| d.vendor_trunks[0].addresses.push(addr("203.0.113.11:5060")));
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "503 Service Unavailable", "x", V1, "Retry-After: 20\r\n", ""));
    sent_to(&mut w, "203.0.113.11:5060", "INVITE ");
    assert_eq!(state(&w, 1), TrunkState::Up);
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    assert!(w.to("203.0.113.11:5060").starts_with("INVITE "), "the other one comes first");
}

/// F-NET-02: who says 100 Trying and no more is no dead trunk, and one whose time had come is not asked for his next address.
#[test]
fn f_net_02_a_vendor_that_has_spoken_is_not_to_blame() {
    let other = |d: &mut DirectoryBuilder| d.vendor_trunks[0].addresses.push(addr("203.0.113.11:5060"));
    let mut w = World::with(false, other, |c| c.trunk_down_after = 1);
    for n in 0..4 {
        w.give(CUSTOMER, &invite(NUMBER, &format!("c{n}"), "", ""));
        let at_v = sent_to(&mut w, V1, "INVITE ");
        w.give(V1, &reply(&at_v, "100 Trying", "", V1, "", ""));
        w.wait(21_000);
        assert!(!w.take().iter().any(|(to, _)| *to == addr("203.0.113.11:5060")));
        assert_eq!(state(&w, 1), TrunkState::Up, "{n}");
        w.wait(120_000);
        w.take();
    }
    // Who cannot be reached is told apart from who says nothing.
    for (fails, cause) in [(true, DownCause::Unreachable), (false, DownCause::NoResponse)] {
        let mut w = World::with(false, |_| (), |c| c.trunk_down_after = 1);
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        if fails {
            w.core.handle_flow_error(Flow::udp(w.us, addr(V1)), at(w.ms));
            w.drain();
        }
        w.wait(2_100);
        assert!(matches!(state(&w, 1), TrunkState::Down(_, why) if why == cause), "{:?}", state(&w, 1));
    }
}

/// T-SIP-14: callees of one branch, and of late answers, are bounded.
#[test]
fn t_sip_14_forks_behind_a_vendor_are_counted() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    for n in 0..80 {
        w.give(V1, &reply(&at_v, "180 Ringing", &format!("t{n}"), V1, "", ""));
    }
    let peers = |w: &World| w.core.calls.all.iter().next().unwrap().1.peers.len();
    assert_eq!(peers(&w), 64);
    w.give(V1, &reply(&at_v, "200 OK", "t0", V1, "", ""));
    assert_eq!(peers(&w), 0);
    w.take();
    for n in 1..=80 {
        w.give(V1, &reply(&at_v, "200 OK", &format!("t{n}"), V1, "", ""));
    }
    assert_eq!(w.take().iter().filter(|(_, t)| t.starts_with("BYE ")).count(), 64);
}

/// A full table answers INVITE only: others are repeated by who sent them (RFC 3261 §17.1.2).
#[test]
fn a_full_table_is_silent_to_all_but_invite() {
    let mut w = World::new(false, |_| ());
    let (ok, _) = answered(&mut w, "");
    let mut config = (**w.core.config()).clone();
    config.transactions = 0;
    w.command(Command::Configure(std::sync::Arc::new(config)));
    w.give(CUSTOMER, &inside("INFO", &ok, true, "i1", "", ""));
    assert!(w.take().is_empty());
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re", "", "").replace("CSeq: 2", "CSeq: 3"));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 503 "));
}

/// Buffers that grew to a usual size are kept, larger ones go.
#[test]
fn a_buffer_is_used_again_when_it_is_not_too_large() {
    let mut w = World::new(false, |_| ());
    let mut given = |bytes: usize| {
        w.core.tx.give_buf(Vec::with_capacity(bytes));
        w.core.tx.take_buf().capacity()
    };
    assert_eq!([given(4_000), given(8_192), given(8_193)], [4_000, 8_192, 2_048]);
}

/// T-SIP-11: an ACK from elsewhere does not end the repetitions of a final.
#[test]
fn t_sip_11_a_final_is_repeated_until_its_own_asker_has_it() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "486 Busy Here", "x", V1, "", ""));
    let heard = sent_to(&mut w, CUSTOMER, "SIP/2.0 486 ");
    let ack = format!(
        "ACK sip:{NUMBER}@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {CUSTOMER};branch=z9hG4bKc1\r\nMax-Forwards: 70\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: c1\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
        line(&heard, "From"),
        line(&heard, "To"),
    );
    w.give(V3, &ack);
    assert_eq!(w.core.stats().spoofed, 1);
    w.wait(600);
    assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 486 ")));
    w.give(CUSTOMER, &ack);
    w.wait(10_000);
    assert!(w.take().is_empty());
}

/// F-LOAD-01: what belongs to a call that was admitted is never shed.
#[test]
fn f_load_01_overload_sheds_first_invites_only() {
    let mut w = World::new(false, |_| ());
    let (ok, _) = answered(&mut w, "");
    w.core.set_overload(overload::FULL);
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re", "", ""));
    assert!(sent_to(&mut w, V1, "INVITE ").contains("CSeq: 2 INVITE"));
    let ping = invite(NUMBER, "o1", "", "").replace("INVITE", "OPTIONS").replace(&format!("{NUMBER}@"), "");
    w.give(CUSTOMER, &ping);
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
    assert_eq!(w.core.stats().shed, 0);
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 503 "));
}

/// A vendor's answer may come from another address that we know (T-SIP-11), and from no other.
#[test]
fn t_sip_11_an_answer_comes_from_a_known_peer() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give("198.18.0.9:5060", &reply(&at_v, "486 Busy Here", "x", V1, "", ""));
    assert_eq!((w.take().len(), w.core.stats().stray), (0, 1));
    w.give(V2, &reply(&at_v, "180 Ringing", "bt", V2, "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 180 "));
}

/// RFC 3261 §9.1: the answer to our CANCEL has the branch of its INVITE, and ends the CANCEL's repetitions.
#[test]
fn a_cancel_that_was_answered_is_not_repeated() {
    let mut w = World::new(false, |_| ());
    let first = invite(NUMBER, "c1", "", "");
    w.give(CUSTOMER, &first);
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    w.give(CUSTOMER, &cancel(&first));
    let ours = sent_to(&mut w, V1, "CANCEL ");
    w.wait(600);
    assert!(sent_to(&mut w, V1, "CANCEL ") == ours, "repeated until then");
    w.give(V1, &reply(&ours, "200 OK", "bt", V1, "", ""));
    w.wait(5_000);
    assert!(!w.take().iter().any(|(_, t)| t.starts_with("CANCEL ")));
}

/// A vendor that answers after it was given up, and again: the record has the time of the first.
#[test]
fn an_attempt_that_was_answered_late_ended_then() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v1 = w.to(V1);
    w.wait(2_100);
    let at_v2 = sent_to(&mut w, V2, "INVITE ");
    w.give(V2, &reply(&at_v2, "180 Ringing", "x", V2, "", ""));
    w.give(V1, &reply(&at_v1, "200 OK", "b1", V1, "", ""));
    w.wait(5_000);
    w.give(V1, &reply(&at_v1, "200 OK", "b2", V1, "", ""));
    w.give(V2, &reply(&at_v2, "486 Busy Here", "x", V2, "", ""));
    let r = &w.ended[0];
    assert_eq!((r.legs[0].ended_by.as_str(), r.legs[0].sip_code), ("late_answer", 200));
    let after = r.legs[0].end_at.0 - r.setup_at.0;
    assert!((2_000_000..3_000_000).contains(&after), "{after} µs");
}

/// RFC 8760 §2.4, RFC 7616 §3.5: the stronger algorithm of a vendor's challenges, whatever their order; then the nonce that it names next.
#[test]
fn a_vendors_stronger_challenge_is_answered_and_its_next_nonce_used() {
    let mut w = World::new(false, |d| {
        d.vendor_trunks[0].credentials = Some(warp_policy::directory::Credentials {
            username: "us".into(),
            password: warp_model::Secret::new("pw".into()),
            realm: Some("vendor1".into()),
        });
    });
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    let one = |algorithm: &str, nonce: &str| {
        format!(
            "Proxy-Authenticate: Digest realm=\"vendor1\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"\r\n"
        )
    };
    let three = one("MD5", "m1") + &one("SHA-256", "s1") + &one("MD5", "m2");
    w.give(V1, &reply(&at_v, "407 Proxy Authentication Required", "x", V1, &three, ""));
    let signed = sent_to(&mut w, V1, "INVITE ");
    let value = line(&signed, "Proxy-Authorization");
    assert!(value.contains("SHA-256") && value.contains("nonce=\"s1\""), "{value}");
    w.give(V1, &reply(&signed, "200 OK", "bt", V1, "Proxy-Authentication-Info: nextnonce=\"s2\"\r\n", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    w.take();
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    let bye = w.to(V1);
    let value = line(&bye, "Proxy-Authorization");
    assert!(value.contains("nonce=\"s2\"") && value.contains("nc=00000001"), "{value}");
}

/// RFC 5393 §4.2: our Via is found at the top, and below however many others.
#[test]
fn rfc_5393_a_loop_is_found_whoever_passed_it_on() {
    for others in 0..4 {
        let mut w = World::new(false, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
        let sent = w.to(V1);
        let (_, rest) = sent.split_once("\r\n").unwrap();
        let above: String =
            (0..others).map(|n| format!("Via: SIP/2.0/UDP {CUSTOMER};branch=z9hG4bKo{n}\r\n")).collect();
        // With a number of its own: the same one would be found as the same request by two ways.
        let back = rest.replacen("Via: ", &format!("{above}Via: "), 1).replace("CSeq: 1 ", "CSeq: 2 ");
        w.give(CUSTOMER, &format!("INVITE sip:{NUMBER}@{US} SIP/2.0\r\n{back}"));
        assert_eq!((w.core.stats().loops, w.core.live_calls()), (1, 1), "{others}");
    }
}

/// RFC 3261 §9.1: a vendor that rings on after our CANCEL does not keep the call.
#[test]
fn a_vendor_that_rings_on_after_the_cancel_is_left_in_time() {
    let mut w = World::new(false, |_| ());
    let first = invite(NUMBER, "c1", "", "");
    w.give(CUSTOMER, &first);
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    w.give(CUSTOMER, &cancel(&first));
    w.take();
    for _ in 0..4 {
        w.wait(9_000);
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    }
    assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 487 ")));
    assert_eq!(w.ended.len(), 1);
}

/// A re-offer that rings is still open; one that the relay did not answer is taken back.
#[test]
fn what_was_agreed_is_told_again_when_an_offer_came_to_nothing_and_not_before() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.questions();
    let other = SDP.replace("4000", "6000");
    w.give(CUSTOMER, &inside("INVITE", &ok, true, "re", "", &other));
    let again = sent_to(&mut w, V1, "INVITE ");
    assert_eq!(w.questions().len(), 1);
    w.give(V1, &reply(&again, "180 Ringing", "", V1, "", ""));
    assert_eq!(w.questions(), []);
    let agreed = |w: &mut World| match &w.questions()[..] {
        [Ng::Offer(offer), ..] => assert_eq!(offer.sdp, SDP.as_bytes()),
        all => panic!("{all:?}"),
    };
    w.give(V1, &reply(&again, "488 Not Acceptable Here", "", V1, "", ""));
    agreed(&mut w);
    w.relay = false;
    let third = inside("INVITE", &ok, true, "re3", "", &other).replace("CSeq: 2", "CSeq: 3");
    w.give(CUSTOMER, &third);
    let id = w.asked.pop_front().unwrap().0;
    w.answer(id, Err(MediaError::Timeout));
    assert!(w.take().iter().any(|(_, t)| t.starts_with("SIP/2.0 503 ")));
    agreed(&mut w);
}
