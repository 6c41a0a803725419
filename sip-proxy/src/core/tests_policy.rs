//! Policy mode, driven by bytes: customer, three vendors and a relay are played by hand.

use warp_model::cdr::{Outcome, ReleaseSide};
use warp_ng::Command as Ng;
use warp_sip::digest::{self, Algorithm, Challenge, Ha1};

use super::tests_static::{addr, line, lines};
use super::tests_world::*;
use super::types::Command;
use crate::core::Resume;

#[test]
fn an_answered_call_is_routed_anchored_rated_and_recorded() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "P-Asserted-Identity: <sip:999@x>\r\n", SDP));
    let at_v = w.to(V1);
    assert!(at_v.starts_with(&format!("INVITE sip:{NUMBER}@{V1} SIP/2.0\r\n")));
    assert_eq!(body(&at_v), format!("relay:{SDP}"));
    assert!(!at_v.contains("P-Asserted-Identity"), "T-SIP-03");
    assert!(line(&at_v, "Record-Route").starts_with(&format!("<sip:{US};lr;w=")));
    let Ng::Offer(offer) = w.questions().remove(0) else { panic!() };
    assert_eq!(offer.from_tag, b"at");
    assert_eq!(offer.received_from, Some("192.0.2.10".parse().unwrap()));
    assert_eq!(offer.media_ips, ["192.0.2.200".parse::<std::net::IpAddr>().unwrap()]);
    assert!(offer.via_branch.is_some() && offer.label.unwrap().starts_with(b"trk_"));

    w.wait(1_000);
    w.give(V1, &reply(&at_v, "183 Session Progress", "bt", V1, "", SDP));
    assert_eq!(body(&w.to(CUSTOMER)), format!("relay:{SDP}"));
    let Ng::Answer(a) = w.questions().remove(0) else { panic!() };
    assert!(a.label.unwrap().starts_with(b"vtk_"));
    assert_eq!((a.from_tag.as_slice(), a.to_tag.as_deref()), (&b"at"[..], Some(&b"bt"[..])));
    assert_eq!(a.via_branch, offer.via_branch);

    w.order.clear();
    let final_ok = reply(&at_v, "200 OK", "bt", V1, "", SDP);
    w.give(V1, &final_ok);
    assert_eq!(w.order, "AJT", "the journal knows before the 200 goes");
    let ok = w.to(CUSTOMER);
    assert_eq!(body(&ok), format!("relay:{SDP}"));
    assert_eq!(w.answered.len(), 1);
    assert_eq!(w.answered[0].outcome, Outcome::Answered);
    // The vendor repeats its 200: the caller's copy again, the relay is not asked.
    w.questions();
    w.give(V1, &final_ok);
    assert_eq!(w.to(CUSTOMER), ok);
    assert!(w.questions().is_empty());
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    assert!(w.to(V1).starts_with("ACK "));
    let calls = std::sync::Arc::new(std::sync::Mutex::new(vec![]));
    let got = calls.clone();
    w.command(Command::ListCalls { reply: Box::new(move |all| *got.lock().unwrap() = all) });
    assert_eq!(calls.lock().unwrap()[0].state, "answered");

    w.wait(60_000);
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "Reason: Q.850;cause=31\r\n", ""));
    let bye = w.to(V1);
    assert!(bye.starts_with("BYE "));
    let Ng::Delete(d) = w.questions().remove(0) else { panic!() };
    assert_eq!(d.delete_delay, Some(0));
    w.give(V1, &reply(&bye, "200 OK", "", V1, "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));

    assert_eq!(w.ended.len(), 1);
    let r = &w.ended[0];
    assert_eq!(r.cdr_id, w.answered[0].cdr_id);
    assert_eq!(r.sip_code, 200);
    assert_eq!(r.q850, Some(31));
    assert_eq!(r.release_side, ReleaseSide::Caller);
    assert!((60_000..60_100).contains(&r.duration_ms), "{}", r.duration_ms);
    assert!(r.pdd_ms.is_some_and(|p| (1_000..1_100).contains(&p)), "{:?}", r.pdd_ms);
    assert_eq!(r.called_e164.as_deref(), Some(NUMBER));
    assert_eq!(r.vendor_id.unwrap().as_u128(), 1);
    assert_eq!(r.route_rank, Some(1));
    assert_eq!(r.legs.len(), 1);
    assert_eq!(r.legs[0].sip_code, 200);
    assert!(r.media.is_some());
    let rating = r.rating.as_ref().unwrap();
    assert_eq!((rating.sell.billable_s, rating.buy.billable_s), (66, 66));
    assert_eq!(rating.sell.charge.to_string(), "0.011");
    assert_eq!(rating.margin.unwrap().to_string(), "0.0099");
    assert!(r.decision.as_ref().unwrap().get().contains("candidates"));
    assert_eq!(r.snapshot_id, w.core.tx.snapshot.as_ref().unwrap().id.to_string());
    w.nothing_is_left();
    assert_eq!(w.ended.len(), 1);
}

#[test]
fn failover_from_a_503_and_from_a_dead_vendor() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = w.to(V1);
    w.give(V1, &reply(&first, "503 Service Unavailable", "x", V1, "", ""));
    let out = w.take();
    assert!(out.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("ACK ")));
    assert!(out.iter().all(|(to, _)| *to != addr(CUSTOMER)), "the caller hears nothing of it");
    let second = &out.iter().find(|(to, t)| *to == addr(V2) && t.starts_with("INVITE")).unwrap().1;
    assert!(second.starts_with(&format!("INVITE sip:77%23{NUMBER}@{V2} ")), "tech prefix");
    // Each branch has its own media, and the failed one's is gone.
    let q = w.questions();
    let branches: Vec<_> = q
        .iter()
        .filter_map(|c| match c {
            Ng::Offer(o) => o.via_branch.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(branches.len(), 2);
    assert_ne!(branches[0], branches[1]);
    assert!(q.iter().any(|c| matches!(c, Ng::Delete(d) if d.via_branch.as_ref() == Some(&branches[0]))));
    // F-NET-02: vendor 2 is silent for 2 s.
    w.wait(2_100);
    let out = w.take();
    let third = out.iter().find(|(to, t)| *to == addr(V3) && t.starts_with("INVITE")).unwrap().1.clone();
    w.give(V3, &reply(&third, "100 Trying", "", V3, "", ""));
    w.wait(5_000);
    assert!(w.take().iter().all(|(to, _)| *to != addr(V2)), "nothing more is sent to it");
    w.give(V3, &reply(&third, "200 OK", "bt", V3, "", SDP));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
    let r = &w.answered[0];
    assert_eq!(r.legs.len(), 3);
    assert_eq!(r.legs.iter().map(|l| l.sip_code).collect::<Vec<_>>(), [503, 408, 200]);
    assert_eq!(r.legs[1].ended_by, "no_response");
    assert_eq!(r.vendor_id.unwrap().as_u128(), 3);
    assert_eq!(w.core.stats().failovers, 2);
}

#[test]
fn a_late_2xx_of_an_abandoned_vendor_is_acked_and_byed() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = w.to(V1);
    w.wait(2_100);
    let second = w.take().into_iter().find(|(to, _)| *to == addr(V2)).unwrap().1;
    w.give(V2, &reply(&second, "200 OK", "b2", V2, "", SDP));
    w.take();
    let late = reply(&first, "200 OK", "b1", V1, "", SDP);
    w.give(V1, &late);
    let out = w.take();
    assert_eq!(out.len(), 2, "{out:#?}");
    assert!(out.iter().all(|(to, _)| *to == addr(V1)));
    assert!(out[0].1.starts_with(&format!("ACK sip:b@{V1} ")));
    assert!(out[1].1.starts_with(&format!("BYE sip:b@{V1} ")));
    assert_eq!(line(&out[0].1, "CSeq"), "1 ACK");
    assert_eq!(line(&out[1].1, "CSeq"), "2 BYE");
    assert!(line(&out[1].1, "To").ends_with(";tag=b1"));
    // Its repetition gets the same ACK again, and no second BYE.
    let ack = out[0].1.clone();
    w.give(V1, &late);
    assert_eq!(w.to(V1), ack);
    w.give(V1, &reply(&out[1].1, "200 OK", "", V1, "", ""));
    assert_eq!(w.answered.len(), 1);
    assert!(w.take().is_empty());
}

#[test]
fn a_late_1xx_of_an_abandoned_vendor_is_cancelled() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = w.to(V1);
    w.wait(2_100);
    w.take();
    w.give(V1, &reply(&first, "180 Ringing", "b1", V1, "", ""));
    assert!(w.to(V1).starts_with("CANCEL "));
    w.give(V1, &reply(&first, "487 Request Terminated", "b1", V1, "", ""));
    assert!(w.to(V1).starts_with("ACK "));
}

#[test]
fn busy_stops_and_is_passed_back() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "486 Busy Here", "bt", V1, "", ""));
    let out = w.take();
    assert!(out.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 486 ")));
    assert_eq!(w.ended.len(), 1);
    assert_eq!((w.ended[0].outcome, w.ended[0].sip_code, w.ended[0].q850), (Outcome::Busy, 486, Some(17)));
    assert_eq!(w.ended[0].release_side, ReleaseSide::Callee);
    assert!(w.ended[0].rating.is_none());
    w.nothing_is_left();
}

#[test]
fn all_vendors_fail() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    for v in [V1, V2, V3] {
        let at_v =
            w.take().into_iter().rev().find(|(to, t)| *to == addr(v) && t.starts_with("INVITE")).unwrap().1;
        w.give(v, &reply(&at_v, "500 Server Error", "x", v, "", ""));
    }
    let out = w.take();
    let failed = &out.iter().find(|(to, _)| *to == addr(CUSTOMER)).unwrap().1;
    assert!(failed.starts_with("SIP/2.0 503 "));
    assert!(line(failed, "Reason").starts_with("Q.850;cause=34"));
    assert_eq!(w.ended[0].internal_code, "vendors_exhausted");
    assert_eq!(w.ended[0].legs.len(), 3);
    w.nothing_is_left();
}

#[test]
fn refusals_have_status_cause_and_record() {
    let mut w = World::new(true, |_| ());
    for (number, call, status, code) in [
        ("+19995550123", "r1", "404", "invalid_number"),
        ("+442071234567", "r2", "404", "no_route"),
        ("+12125550123", "r3", "404", "no_route"),
    ] {
        w.give(CUSTOMER, &invite(number, call, "", SDP));
        let out = w.to(CUSTOMER);
        let r = w.ended.last().unwrap();
        assert!(out.starts_with(&format!("SIP/2.0 {status} ")), "{number} {} {out}", r.internal_code);
        assert!(line(&out, "Reason").starts_with("Q.850;cause="));
        assert_eq!(r.internal_code, code, "{number}");
        assert_eq!(r.outcome, Outcome::Rejected);
        assert!(r.decision.is_some());
    }
    assert!(w.questions().is_empty(), "no media for what is refused");
    w.nothing_is_left();
    assert_eq!(w.ended.len(), 3);
}

#[test]
fn limits_are_503_with_retry_after_and_channels_come_back() {
    let mut w = World::new(false, |d| d.trunks[0].limits.channels = Some(1));
    let (ok, _) = answered(&mut w, "");
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", ""));
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 503 "));
    assert_eq!(line(&refused, "Retry-After"), "1");
    assert_eq!(w.ended[0].internal_code, "trunk_channels");
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "c3", "", ""));
    assert!(w.to(V1).starts_with("INVITE "));
}

#[test]
fn icmp_fails_over_at_once() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    w.to(V1);
    let flow = warp_sip::flow::Flow::udp(addr(US), addr(V1));
    w.core.handle_flow_error(flow, super::tests_static::at(w.ms));
    w.drain();
    assert!(w.to(V2).starts_with("INVITE "));
}

#[test]
fn cancel_before_and_after_the_first_1xx() {
    let mut w = World::new(true, |_| ());
    let cancel = |call: &str| {
        invite(NUMBER, call, "", "").replace("INVITE sip", "CANCEL sip").replace("1 INVITE", "1 CANCEL")
    };
    // Ringing: CANCEL goes on, its 487 ends the call.
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    w.take();
    w.give(CUSTOMER, &cancel("c1"));
    let out = w.take();
    assert!(out[0].1.starts_with("SIP/2.0 200 ") && out[1].1.starts_with("CANCEL "), "{out:#?}");
    w.give(V1, &reply(&at_v, "487 Request Terminated", "bt", V1, "", ""));
    let out = w.take();
    assert!(out.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 487 ")));
    assert!(out.iter().all(|(to, _)| *to != addr(V2)), "never re-routed after CANCEL");
    assert_eq!(w.ended[0].outcome, Outcome::Cancelled);
    // Nothing heard of the vendor: 487 at once.
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", SDP));
    w.to(V1);
    w.give(CUSTOMER, &cancel("c2"));
    let out = w.take();
    assert_eq!(out.iter().filter(|(to, _)| *to == addr(CUSTOMER)).count(), 2);
    assert!(out.iter().any(|(_, t)| t.starts_with("SIP/2.0 487 ")));
    assert_eq!(w.ended.len(), 2);
    w.nothing_is_left();
}

#[test]
fn t_sip_11_requests_from_elsewhere_are_481_and_change_nothing() {
    let mut w = World::new(false, |_| ());
    let (ok, _) = answered(&mut w, "");
    let bye = inside("BYE", &ok, true, "spoof", "", "");
    for source in ["192.0.2.99:5060", "203.0.113.2:5060", "127.0.0.1:5060"] {
        w.give(source, &bye.replace("spoof", &format!("s{}", source.len())));
        let out = w.take();
        assert!(out.iter().all(|(_, t)| t.starts_with("SIP/2.0 481 ")), "{source} {out:#?}");
    }
    assert_eq!(w.core.live_calls(), 1);
    // Nor in the callee's name: from an address that is neither's, and from the customer's own.
    let bye = inside("BYE", &ok, false, "callee", "", "");
    for source in ["198.18.0.9:5060", "203.0.113.2:5060", CUSTOMER] {
        w.give(source, &bye.replace("callee", &format!("t{}{source}", source.len()).replace([':', '.'], "")));
        let out = w.take();
        assert!(
            !out.is_empty() && out.iter().all(|(to, t)| *to == addr(source) && t.starts_with("SIP/2.0 481 ")),
            "{source} {out:#?}"
        );
    }
    // Nor with a tag that is not the dialog's, though it comes from where the party speaks: its own or the other's, longer, shorter, absent.
    for (source, caller) in [(CUSTOMER, true), (V1, false)] {
        let bye = inside("BYE", &ok, caller, "tag", "", "");
        for (n, (tag, wrong)) in
            [("tag=at", "tag=a"), ("tag=at", "tag=att"), ("tag=bt", "tag=b"), ("tag=bt", "tag=bt2")]
                .iter()
                .enumerate()
        {
            w.give(source, &bye.replace("z9hG4bKtag", &format!("z9hG4bKtag{n}{caller}")).replace(tag, wrong));
            let out = w.take();
            assert!(
                !out.is_empty()
                    && out.iter().all(|(to, t)| *to == addr(source) && t.starts_with("SIP/2.0 481 ")),
                "{source} {wrong} {out:#?}"
            );
        }
    }
    assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0));
    let bye = inside("BYE", &ok, true, "spoof", "", "");
    // An address of the trunk's own set may speak for it.
    w.give("192.0.2.11:5060", &bye);
    assert!(w.to(V1).starts_with("BYE "));
    assert_eq!(w.ended.len(), 1);
    // Unknown dialogs: 481.
    w.give(CUSTOMER, &inside("BYE", &ok, true, "b9", "", "").replace("Call-ID: c1", "Call-ID: c7"));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 481 "));
}

#[test]
fn the_callee_hangs_up() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    w.give(V1, &inside("BYE", &ok, false, "bye", "", ""));
    let bye = w.to(CUSTOMER);
    assert!(bye.starts_with("BYE "));
    assert_eq!(w.ended[0].release_side, ReleaseSide::Callee);
    w.give(CUSTOMER, &reply(&bye, "200 OK", "", CUSTOMER, "", ""));
    assert!(w.to(V1).starts_with("SIP/2.0 200 "));
    // Both hang up at once: the other BYE is passed on too, the record is one.
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye2", "", ""));
    assert!(w.to(V1).starts_with("BYE "));
    w.nothing_is_left();
    assert_eq!(w.ended.len(), 1);
}

#[test]
fn we_end_calls_with_bye_both_ways() {
    for (n, reason) in ["operator", "media_timeout", "max_duration", "drain"].iter().enumerate() {
        let mut w = World::new(true, |d| d.trunks[0].limits.max_duration_s = Some(600));
        let (_, _) = answered(&mut w, SDP);
        w.wait(5_000);
        w.take();
        let cdr_id = w.answered[0].cdr_id;
        match n {
            0 => w.command(Command::EndCall { cdr_id, reason: "operator" }),
            1 => w.command(Command::MediaTimeout {
                media_id: cdr_id.to_string().into_bytes(),
                due: super::tests_static::at(w.ms).mono,
            }),
            2 => w.wait(600_000),
            _ => w.command(Command::Drain { end_calls: true }),
        }
        let out = w.take();
        let byes: Vec<_> = out.iter().filter(|(_, t)| t.starts_with("BYE ")).collect();
        assert!(byes.iter().any(|(to, t)| *to == addr(V1) && line(t, "To").ends_with("tag=bt")), "{out:#?}");
        assert!(byes.iter().any(|(to, t)| *to == addr(CUSTOMER) && line(t, "To").ends_with("tag=at")));
        assert!(byes.iter().any(|(_, t)| line(t, "CSeq") == "2 BYE"));
        let r = &w.ended[0];
        assert_eq!((r.internal_code.as_str(), r.release_side), (*reason, ReleaseSide::System));
        assert!(r.rating.is_some());
        w.nothing_is_left();
        assert_eq!(w.ended.len(), 1);
    }
}

/// The daily spend holds a call that is in the air: it ends with the last minute that is left, and the next call is refused.
#[test]
fn t_sip_06_a_long_call_ends_when_the_daily_spend_is_reached() {
    // A minute costs 0.01; there is money for three and a half.
    let mut w = World::new(true, |d| d.customers[0].limits.daily_spend = Some(warp_model::Nanos(35_000_000)));
    let (_, _) = answered(&mut w, SDP);
    w.wait(178_000);
    assert!(w.ended.is_empty());
    w.take();
    w.wait(3_000);
    let out = w.take();
    let byes = |to: &str| out.iter().any(|(at, t)| *at == addr(to) && t.starts_with("BYE "));
    assert!(byes(V1) && byes(CUSTOMER), "{out:#?}");
    let r = &w.ended[0];
    assert_eq!((r.internal_code.as_str(), r.release_side), ("daily_spend", ReleaseSide::System));
    assert!((178_000..180_000).contains(&r.duration_ms), "{}", r.duration_ms);
    let cost = r.rating.as_ref().unwrap().sell.charge;
    assert!(cost <= warp_model::Nanos(30_000_000), "{cost}");
    w.nothing_is_left();
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", SDP));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 403 "), "five thousandths are left");
}

#[test]
fn t_sip_08_digest_trunks_sign_in_from_anywhere() {
    let mut w = World::new(false, |_| ());
    let home = "198.18.0.5:5060";
    let plain = invite(NUMBER, "d1", "", "").replace(CUSTOMER, home);
    w.give(home, &plain);
    let challenge = w.to(home);
    assert!(challenge.starts_with("SIP/2.0 407 "));
    let offers = lines(&challenge, "Proxy-Authenticate");
    assert!(offers[0].contains("SHA-256") && offers[1].contains("MD5"));
    assert_eq!(w.core.transactions(), (0, 0), "no state before the caller is known");
    let sign = |password: &[u8], offer: &str, user: &str, call: &str| {
        let c = Challenge::parse(offer.as_bytes()).unwrap();
        let ha1 = Ha1::new(c.algorithm, user.as_bytes(), b"warp", password);
        let uri = format!("sip:{NUMBER}@{US}");
        let mut value = vec![];
        digest::respond(&c, user.as_bytes(), &ha1, b"INVITE", uri.as_bytes(), b"cn", 1, &mut value);
        let header = format!("Proxy-Authorization: {}\r\n", String::from_utf8(value).unwrap());
        invite(NUMBER, call, &header, "").replace(CUSTOMER, home)
    };
    // Wrong password and unknown user: the same answer.
    w.give(home, &sign(b"wrong", offers[0], "pbx", "d2"));
    let wrong = w.to(home);
    w.give(home, &sign(b"secret", offers[0], "nobody", "d3"));
    let unknown = w.to(home);
    assert!(wrong.starts_with("SIP/2.0 403 ") && unknown.starts_with("SIP/2.0 403 "));
    assert_eq!(wrong.len(), unknown.len());
    for (offer, call) in [(offers[0], "d4"), (offers[1], "d5")] {
        let good = sign(b"secret", offer, "pbx", call);
        w.give(home, &good);
        if call == "d5" {
            // T-SIP-09: the same nonce count again is a replay, whatever the algorithm.
            let again = w.to(home);
            assert!(again.starts_with("SIP/2.0 407 ") && again.contains("stale=true"), "{again}");
            continue;
        }
        let at_v = w.to(V1);
        assert!(!at_v.contains("Proxy-Authorization"), "T-SIP-10");
        let record = w.core.calls.all.iter().find_map(|(_, c)| c.record.clone()).unwrap();
        assert_eq!(record.ingress_user.as_deref(), Some("pbx"));
    }
    assert_eq!(Challenge::parse(offers[1].as_bytes()).unwrap().algorithm, Algorithm::Md5);
}

#[test]
fn t_sip_08_brute_force_is_silenced() {
    let mut w = World::new(false, |_| ());
    let home = "198.18.0.6:5060";
    w.give(home, &invite(NUMBER, "b0", "", "").replace(CUSTOMER, home));
    let challenge = w.to(home);
    let offer = lines(&challenge, "Proxy-Authenticate")[0].to_owned();
    let mut refused = 0;
    for n in 1..20 {
        let c = Challenge::parse(offer.as_bytes()).unwrap();
        let ha1 = Ha1::new(c.algorithm, b"pbx", b"warp", format!("guess{n}").as_bytes());
        let mut value = vec![];
        let uri = format!("sip:{NUMBER}@{US}");
        digest::respond(&c, b"pbx", &ha1, b"INVITE", uri.as_bytes(), b"cn", n, &mut value);
        let header = format!("Proxy-Authorization: {}\r\n", String::from_utf8(value).unwrap());
        w.give(home, &invite(NUMBER, &format!("b{n}"), &header, "").replace(CUSTOMER, home));
        refused += w.take().len();
    }
    assert_eq!(refused, 10);
    w.give(CUSTOMER, &invite(NUMBER, "good", "", ""));
    assert!(w.to(V1).starts_with("INVITE "), "others are not touched");
}

#[test]
fn t_sip_05_only_our_names_and_no_foreign_routes() {
    let mut w = World::new(false, |_| ());
    let ours = invite(NUMBER, "n1", "", "").replace(&format!("@{US} SIP"), "@sip.example.com SIP");
    w.give(CUSTOMER, &ours);
    assert!(w.to(V1).starts_with("INVITE "));
    let foreign = invite(NUMBER, "n2", "", "").replace(&format!("@{US} SIP"), "@192.0.2.77 SIP");
    w.give(CUSTOMER, &foreign);
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 403 "));
    w.give(CUSTOMER, &invite(NUMBER, "n3", "Route: <sip:192.0.2.77;lr>\r\n", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 403 "));
    for (method, status) in [("SUBSCRIBE", "405"), ("REGISTER", "401")] {
        w.give(CUSTOMER, &invite(NUMBER, method, "", "").replace("INVITE", method));
        assert!(w.to(CUSTOMER).starts_with(&format!("SIP/2.0 {status} ")), "{method}");
    }
}

#[test]
fn the_same_invite_by_another_way_is_482() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    w.take();
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", "").replace("z9hG4bKc1", "z9hG4bKother"));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 482 "));
}

#[test]
fn record_routes_of_others_are_kept_for_our_own_bye() {
    let mut w = World::new(false, |_| ());
    let rr = "Record-Route: <sip:192.0.2.12:5062;lr>\r\n";
    w.give(CUSTOMER, &invite(NUMBER, "c1", rr, ""));
    let at_v = w.to(V1);
    let ok = reply(&at_v, "200 OK", "bt", V1, "", "").replacen(
        "Record-Route: ",
        "Record-Route: <sip:203.0.113.1:5064;lr>\r\nRecord-Route: ",
        1,
    );
    w.give(V1, &ok);
    w.take();
    let cdr_id = w.answered[0].cdr_id;
    w.command(Command::EndCall { cdr_id, reason: "operator" });
    let out = w.take();
    let to_callee = &out.iter().find(|(to, _)| *to == addr("203.0.113.1:5064")).unwrap().1;
    assert_eq!(lines(to_callee, "Route"), ["<sip:203.0.113.1:5064;lr>"]);
    let to_caller = &out.iter().find(|(to, _)| *to == addr("192.0.2.12:5062")).unwrap().1;
    assert_eq!(lines(to_caller, "Route"), ["<sip:192.0.2.12:5062;lr>"]);
}

#[test]
fn a_vendor_that_says_100_and_nothing_more_is_given_up() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = w.to(V1);
    w.give(V1, &reply(&first, "100 Trying", "", V1, "", ""));
    w.wait(21_000);
    let out = w.take();
    assert!(out.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("CANCEL ")));
    assert!(out.iter().any(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")));
    let record = w.core.calls.all.iter().find_map(|(_, c)| c.record.clone()).unwrap();
    assert_eq!(record.legs[0].ended_by, "no_progress");
}

/// RFC 3261 §16.8: what rings for ever is cancelled, and its caller hears 408, whatever the vendor then says, or says not. No other vendor
/// is asked: the called side was reached.
#[test]
fn timer_c_ends_a_call_that_rings_for_ever_with_408() {
    for vendor_answers in [true, false] {
        let mut w = World::new(true, |_| ());
        w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
        w.take();
        // It runs anew with each 101 to 199.
        w.wait(100_000);
        w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
        w.take();
        w.wait(180_900);
        assert!(w.take().is_empty());
        w.wait(200);
        let cancel = w.to(V1);
        assert!(cancel.starts_with("CANCEL "));
        if vendor_answers {
            w.give(V1, &reply(&at_v, "487 Request Terminated", "bt", V1, "", ""));
        } else {
            w.wait(32_100);
        }
        let out = w.take();
        let heard: Vec<_> = out.iter().filter(|(to, _)| *to == addr(CUSTOMER)).collect();
        assert!(heard[0].1.starts_with("SIP/2.0 408 "), "{heard:#?}");
        assert!(out.iter().all(|(_, t)| !t.starts_with("INVITE ")), "{out:#?}");
        let r = &w.ended[0];
        assert_eq!((r.sip_code, r.outcome, r.q850), (408, Outcome::NoAnswer, Some(19)));
        assert_eq!(r.legs.len(), 1);
        w.nothing_is_left();
    }
}

/// The delay after dialling counts from the INVITE of the attempt to its first 18x, not from the caller's, and later ones change nothing.
#[test]
fn the_post_dial_delay_is_that_of_the_attempt_until_its_first_18x() {
    let mut w = World::new(true, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    w.to(V1);
    w.wait(2_100);
    let at_v = w.take().into_iter().find(|(to, t)| *to == addr(V2) && t.starts_with("INVITE ")).unwrap().1;
    w.give(V2, &reply(&at_v, "100 Trying", "", V2, "", ""));
    w.wait(600);
    w.give(V2, &reply(&at_v, "180 Ringing", "bt", V2, "", ""));
    w.wait(900);
    w.give(V2, &reply(&at_v, "183 Session Progress", "bt", V2, "", SDP));
    w.wait(3_000);
    w.give(V2, &reply(&at_v, "200 OK", "bt", V2, "", SDP));
    let r = &w.answered[0];
    // The second INVITE went out when the first had been silent for two seconds, and a tick of the timers.
    let (first, second) = (r.legs[0].pdd_ms, r.legs[1].pdd_ms.unwrap());
    assert!(first.is_none() && (700..=720).contains(&second), "{second}");
    assert_eq!(r.pdd_ms, Some(second));
    let rang = r.progress_at.unwrap().0 - r.setup_at.0;
    let answered = r.answer_at.unwrap().0 - r.setup_at.0;
    assert_eq!((rang, answered), (2_720_000, 6_640_000), "microseconds");
}

#[test]
fn a_stream_that_closed_is_replaced_by_the_written_address() {
    let mut w = World::new(false, |d| {
        d.vendor_trunks[0].transport = warp_policy::directory::Transport::Tcp;
    });
    let listener =
        super::types::Listener { transport: warp_sip::flow::Transport::Tcp, bind: addr(US), advertise: None };
    let mut config = (*w.core.tx.config).clone();
    config.listeners.push(listener);
    let shared = w.core.tx.shared.clone();
    w.core = super::Core::new(std::sync::Arc::new(config), 0, [9; 32], shared);
    w.core.handle_snapshot(
        snapshot(|d| d.vendor_trunks[0].transport = warp_policy::directory::Transport::Tcp),
        super::tests_static::at(0),
    );
    let tcp = |remote: &str, link| warp_sip::flow::Flow {
        transport: warp_sip::flow::Transport::Tcp,
        link: warp_sip::flow::LinkId(link),
        ..warp_sip::flow::Flow::udp(addr(US), addr(remote))
    };
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    assert!(lines(&at_v, "Record-Route").len() == 2, "UDP on one side, TCP on the other");
    assert!(at_v.starts_with(&format!("INVITE sip:{NUMBER}@{V1};transport=tcp ")));
    let ok = reply(&at_v, "200 OK", "bt", &format!("{V1};transport=tcp"), "", "");
    w.core.handle_message(tcp(V1, 5), ok.as_bytes(), super::tests_static::at(50));
    w.drain();
    let ok = w.to(CUSTOMER);
    w.core.handle_flow_error(tcp(V1, 5), super::tests_static::at(60));
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    let out = w.take();
    assert!(out.iter().any(|(to, t)| *to == addr(V1) && t.starts_with("BYE ") && t.contains("SIP/2.0/TCP")));
}

fn cseq(text: &str) -> u32 {
    line(text, "CSeq").split(' ').next().unwrap().parse().unwrap()
}

/// What an earlier version wrote is read; what a later one writes is not guessed at. The transport is named, whatever it is.
#[test]
fn the_transport_of_a_dialog_is_kept_as_transport() {
    let mut w = World::new(false, |_| ());
    answered(&mut w, "");
    let json = w.answered[0].resume.clone().unwrap();
    assert!(json.get().contains("\"transport\":\"UDP\"") && json.get().contains("\"version\":3"), "{json:?}");
    assert!(json.get().contains("\"call_id\":\"c1\""), "bytes are text: {json:?}");
    let read = |text: String| Resume::read(&warp_model::json::JsonText::parse(text).unwrap());
    let second = with_lists(serde_json::from_str(json.get()).unwrap()).to_string();
    let second = second.replace("\"version\":3", "\"version\":2");
    assert!(second.contains("\"call_id\":[99,49]"), "{second}");
    let plain = |r: Resume| serde_json::to_string(&r).unwrap().replace("\"version\":2", "\"version\":3");
    assert_eq!(read(second.clone()).map(plain).as_deref(), Some(json.get()), "version 2");
    let first = second.replace(",\"version\":2", "").replace("\"transport\":\"UDP\"", "\"tcp\":true");
    let mut next = World::with(
        false,
        |_| (),
        |c| {
            let tcp = super::types::Transport::Tcp;
            c.listeners.push(super::types::Listener { transport: tcp, bind: addr(US), advertise: None });
        },
    );
    next.command(Command::EndRecovered(Box::new(read(first).expect("version 1"))));
    assert!(next.take().iter().all(|(_, t)| t.starts_with("BYE ") && t.contains("Via: SIP/2.0/TCP ")));
    assert!(read(json.get().replace("\"version\":3", "\"version\":4")).is_none());
}

/// As versions 1 and 2 wrote it: bytes are lists of numbers.
fn with_lists(mut json: serde_json::Value) -> serde_json::Value {
    const BYTES: [&str; 5] = ["address", "tag", "target", "call_id", "media_id"];
    let list = |text: &serde_json::Value| serde_json::Value::from(text.as_str().unwrap().as_bytes());
    for (name, value) in json.as_object_mut().unwrap() {
        match (name.as_str(), &mut *value) {
            (name, text) if BYTES.contains(&name) => *text = list(text),
            ("routes", serde_json::Value::Array(routes)) => routes.iter_mut().for_each(|r| *r = list(r)),
            (_, serde_json::Value::Object(_)) => *value = with_lists(value.take()),
            _ => {}
        }
    }
    json
}

#[test]
fn f_proc_01_a_call_of_a_dead_process_ends_with_bye_both_ways() {
    let mut w = World::new(true, |_| ());
    let (ok, _) = answered(&mut w, SDP);
    let json = w.answered[0].resume.clone().unwrap();
    let resume = Resume::read(&json).unwrap();
    assert_eq!(resume.call_id(), b"c1");
    // The dialog goes on after its record was written: both count on.
    let mut last = [0; 2];
    for n in 2..40_u32 {
        for (side, caller) in [(0, true), (1, false)] {
            let (from, to) = if caller { (CUSTOMER, V1) } else { (V1, CUSTOMER) };
            let info = inside("INFO", &ok, caller, &format!("i{n}{side}"), "", "");
            w.give(from, &info.replace("CSeq: 2", &format!("CSeq: {n}")));
            let there = w.to(to);
            last[side] = cseq(&there);
            w.give(to, &reply(&there, "200 OK", "", to, "", ""));
            w.take();
        }
    }
    // Another process, later.
    let mut next = World::new(true, |_| ());
    next.command(Command::EndRecovered(Box::new(resume)));
    let out = next.take();
    let to = |who: &str| &out.iter().find(|(to, _)| *to == addr(who)).unwrap().1;
    assert!(to(V1).starts_with(&format!("BYE sip:b@{V1} ")));
    assert!(line(to(V1), "To").ends_with(";tag=bt"));
    // RFC 3261 §12.2.2: a lower number is refused with 500, one that is ahead by more than one is not.
    assert!(cseq(to(V1)) > last[0] && cseq(to(CUSTOMER)) > last[1] && cseq(to(V1)) < 1 << 31);
    assert!(to(CUSTOMER).starts_with(&format!("BYE sip:a@{CUSTOMER} ")));
    assert!(line(to(CUSTOMER), "To").ends_with(";tag=at"));
    let media_id = w.answered[0].cdr_id.to_string();
    // Nobody waits for its figures.
    assert!(matches!(&next.questions()[0], Ng::Delete(d) if d.call_id == media_id.as_bytes() && d.fast));
    next.give(V1, &reply(to(V1), "200 OK", "", V1, "", ""));
    assert!(next.ended.is_empty(), "its record was written by recovery");
    next.nothing_is_left();
    // The finished record of a call that goes on does not carry it.
    w.command(Command::Drain { end_calls: true });
    assert!(w.ended[0].resume.is_none());
}

#[test]
fn a_caller_may_try_again_with_the_same_call_id() {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "486 Busy Here", "bt", V1, "", ""));
    w.take();
    let again =
        invite(NUMBER, "c1", "", "").replace("z9hG4bKc1", "z9hG4bKc1b").replace("1 INVITE", "2 INVITE");
    w.give(CUSTOMER, &again);
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt2", V1, "", ""));
    let ok = w.to(CUSTOMER);
    // The first attempt's entry dies out; the second call's dialog is still found.
    w.wait(40_000);
    w.take();
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert!(w.to(V1).starts_with("BYE "));
    assert_eq!(w.ended.len(), 2);
    w.nothing_is_left();
}

#[test]
fn t_sip_13_a_short_invite_gets_one_challenge() {
    let mut w = World::new(false, |_| ());
    let home = "198.18.0.5:5060";
    let short = format!(
        "INVITE sip:1@{US} SIP/2.0\r\nv: SIP/2.0/UDP {home};branch=z9hG4bKs\r\nf: <sip:a@b>;tag=1\r\nt: <sip:1@c>\r\n\
         i: s1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nm: <sip:a@{home}>\r\nUser-Agent: some phone 1.0\r\n\r\n"
    );
    w.give(home, &short);
    let challenge = w.to(home);
    assert!(challenge.len() <= 2 * short.len());
    assert_eq!(lines(&challenge, "Proxy-Authenticate").len(), 1);
    assert!(challenge.contains("MD5"));
}

#[test]
fn t_sip_10_a_vendor_challenge_is_answered_once_and_only_for_its_realm() {
    fn tweak(d: &mut warp_policy::DirectoryBuilder) {
        d.vendor_trunks[0].credentials = Some(warp_policy::directory::Credentials {
            username: "us".into(),
            password: warp_model::Secret::new("pw".into()),
            realm: Some("vendor1".into()),
        });
    }
    let challenge = |realm: &str| {
        format!("Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n")
    };
    let mut w = World::new(true, tweak);
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", SDP));
    let first = w.to(V1);
    w.give(V1, &reply(&first, "407 Proxy Authentication Required", "x", V1, &challenge("vendor1"), ""));
    let out = w.take();
    let second = &out.iter().find(|(to, t)| *to == addr(V1) && t.starts_with("INVITE")).unwrap().1;
    assert_eq!(body(second), format!("relay:{SDP}"));
    assert_ne!(lines(second, "Via")[0], lines(&first, "Via")[0]);
    let msg = warp_sip::message::Message::parse(second.as_bytes()).unwrap();
    let c = digest::credentials(&msg, warp_sip::header::Header::ProxyAuthorization, b"vendor1").unwrap();
    assert!(digest::verify(&c, b"INVITE", &Ha1::new(Algorithm::Md5, b"us", b"vendor1", b"pw")));
    // Again: our account is not good there, the next vendor is tried.
    w.give(V1, &reply(second, "407 Proxy Authentication Required", "x", V1, &challenge("vendor1"), ""));
    let out = w.take();
    assert!(
        out.iter().any(|(to, t)| *to == addr(V2) && t.starts_with("INVITE") && !t.contains("Authorization"))
    );
    // Another realm gets nothing.
    w.give(CUSTOMER, &invite(NUMBER, "c2", "", SDP));
    let first = w.to(V1);
    w.give(V1, &reply(&first, "407 Proxy Authentication Required", "x", V1, &challenge("other"), ""));
    assert!(w.take().iter().all(|(_, t)| !t.contains("Authorization: Digest")));
}
