//! Session timers of calls (RFC 4028 §8, RFC 0047).

use std::time::Duration;

use warp_policy::directory::DirectoryBuilder;

use super::tests_static::{addr, at, line, lines};
use super::tests_world::*;

fn refreshed(rows: &mut DirectoryBuilder) {
    rows.vendor_trunks[0].headers.session_expires_s = Some(300);
    rows.trunks[0].headers.session_expires_s = Some(1800);
}

const KNOWS: &str = "Supported: timer\r\n";
const SAYS: &str = "Session-Expires: 300;refresher=uas\r\nRequire: timer\r\n";

/// An answered call with these lines in INVITE and 200; the INVITE at the vendor and the 200 at the caller.
fn call(w: &mut World, asks: &str, says: &str) -> (String, String) {
    w.give(CUSTOMER, &invite(NUMBER, "c1", asks, ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, says, ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "k", "", ""));
    w.to(V1);
    (at_v, ok)
}

/// RFC 0047: our BYE both ways, our own code, and the duration is until then.
#[test]
fn rfc_4028_8_3_a_call_that_nobody_refreshes_ends_both_ways_and_its_record_says_so() {
    let mut w = World::new(false, refreshed);
    let (at_v, ok) = call(&mut w, "", SAYS);
    assert_eq!(line(&at_v, "Session-Expires"), "300", "the smaller of both, without a refresher");
    assert_eq!(line(&ok, "Session-Expires"), "300;refresher=uas", "what the callee says is not changed");
    w.wait(299_000);
    assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0));
    w.wait(2_000);
    let out = w.take();
    for who in [CUSTOMER, V1] {
        let byes = out.iter().filter(|(to, text)| *to == addr(who) && text.starts_with("BYE ")).count();
        assert!(byes >= 1, "{who}: {out:#?}");
    }
    let r = &w.ended[0];
    assert_eq!((r.internal_code.as_str(), r.q850), ("session_expired", Some(102)));
    let lasted = Duration::from_millis(r.duration_ms);
    assert!((Duration::from_secs(299)..Duration::from_secs(302)).contains(&lasted), "{lasted:?}");
    assert!(r.rating.is_some(), "it was answered, and is paid for");
    w.nothing_is_left();
}

/// A refresh of either side, by INVITE or UPDATE, begins the interval anew; one that was refused does not.
#[test]
fn rfc_4028_8_2_a_refresh_of_either_side_begins_the_interval_anew() {
    for (method, caller) in [("INVITE", true), ("UPDATE", true), ("INVITE", false), ("UPDATE", false)] {
        for (status, goes_on) in [("200 OK", true), ("500 Oops", false)] {
            let mut w = World::new(false, refreshed);
            let (_, ok) = call(&mut w, KNOWS, SAYS);
            w.wait(200_000);
            let (here, there) = if caller { (CUSTOMER, V1) } else { (V1, CUSTOMER) };
            w.give(here, &inside(method, &ok, caller, "r", KNOWS, ""));
            let refresh = w.to(there);
            assert_eq!(line(&refresh, "Session-Expires"), "300", "{method} {caller}");
            w.give(there, &reply(&refresh, status, "", there, if goes_on { SAYS } else { "" }, ""));
            if method == "INVITE" {
                w.give(here, &inside("ACK", &ok, caller, "rk", "", "").replace("CSeq: 1 ACK", "CSeq: 2 ACK"));
            }
            w.wait(150_000);
            assert_eq!(w.core.live_calls(), usize::from(goes_on), "{method} {caller} {status}");
            w.wait(200_000);
            assert_eq!((w.core.live_calls(), w.ended.len()), (0, 1), "{method} {caller} {status}");
        }
    }
}

/// RFC 4028 §9: where the asker knows no timers, only the answerer can refresh; what it writes otherwise cuts no call.
#[test]
fn rfc_4028_9_a_wrong_refresher_cuts_no_call() {
    for says in ["Session-Expires: 300;refresher=uac\r\n", "Session-Expires: 300\r\n"] {
        let mut w = World::new(false, refreshed);
        call(&mut w, "", says);
        w.wait(400_000);
        assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0), "{says}");
    }
}

/// RFC 4028 §8.1: a caller who knows no timers cannot ask for another interval, so that a vendor's 422 is the next one's turn; one who does
/// is told. A call for help asks for none.
#[test]
fn rfc_4028_8_1_a_422_goes_to_who_can_do_something_about_it() {
    let small = "Min-SE: 1800\r\n";
    for (asks, told) in [("", false), (KNOWS, true)] {
        let mut w = World::new(false, refreshed);
        w.give(CUSTOMER, &invite(NUMBER, "c1", asks, ""));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "422 Session Interval Too Small", "bt", V1, small, ""));
        let out = w.take();
        assert_eq!(out.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 422 ")), told);
        assert_eq!(out.iter().any(|(to, t)| *to != addr(V1) && t.starts_with("INVITE ")), !told, "{out:#?}");
    }
    let mut w = World::new(false, |d| {
        refreshed(d);
        d.emergency_route = vec![d.vendor_trunks[0].id];
    });
    w.give(CUSTOMER, &invite("911", "c1", "", ""));
    assert!(lines(&w.to(V1), "Session-Expires").is_empty());
}

#[test]
fn rfc_4028_8_2_who_alone_knows_timers_is_told_to_refresh() {
    let mut w = World::new(false, refreshed);
    let (at_v, ok) = call(&mut w, KNOWS, "Require: 100rel\r\n");
    assert_eq!(line(&at_v, "Session-Expires"), "300");
    assert_eq!(lines(&ok, "Session-Expires"), ["300;refresher=uac"]);
    assert_eq!(lines(&ok, "Require"), ["100rel, timer"]);
    w.wait(301_000);
    assert_eq!(w.ended[0].internal_code, "session_expired");
    // Nobody knows them: there is no timer, and the call goes on.
    let mut w = World::new(false, refreshed);
    let (_, ok) = call(&mut w, "", "");
    assert!(!ok.contains("Session-Expires") && !ok.contains("Require"), "{ok}");
    w.wait(1_000_000);
    assert_eq!(w.core.live_calls(), 1);
}

/// What both sides agree on passes, and nothing ends, where no trunk says a word.
#[test]
fn timers_of_the_ends_alone_are_theirs() {
    let mut w = World::new(false, |_| ());
    let (at_v, ok) =
        call(&mut w, &format!("{KNOWS}Session-Expires: 90;refresher=uac\r\nMin-SE: 90\r\n"), SAYS);
    assert_eq!((line(&at_v, "Session-Expires"), line(&at_v, "Min-SE")), ("90;refresher=uac", "90"));
    assert_eq!(line(&ok, "Session-Expires"), "300;refresher=uas");
    w.wait(1_000_000);
    assert_eq!(w.core.live_calls(), 1);
}

#[test]
fn rfc_4028_8_1_too_small_an_interval_is_refused_before_anything_else() {
    let least: Tweak = |d| {
        d.trunks[0].headers.session_min_s = Some(600);
        d.emergency_route = vec![d.vendor_trunks[0].id];
    };
    let mut w = World::new(false, least);
    let small = format!("{KNOWS}Session-Expires: 300\r\n");
    w.give(CUSTOMER, &invite(NUMBER, "c1", &small, ""));
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 422 "), "{refused}");
    assert_eq!(line(&refused, "Min-SE"), "600");
    assert_eq!((w.core.live_calls(), w.ended.len()), (0, 0), "nothing was decided or recorded");
    // Who cannot be told has it raised.
    w.give(CUSTOMER, &invite(NUMBER, "c2", "Session-Expires: 300\r\n", ""));
    let at_v = w.to(V1);
    assert_eq!((line(&at_v, "Session-Expires"), line(&at_v, "Min-SE")), ("600", "600"));
    // A call for help is carried.
    w.give(CUSTOMER, &invite("911", "c3", &small, ""));
    assert!(w.to(V1).starts_with("INVITE "));
    // Within a call: refused, and the call goes on.
    let mut w = World::new(false, least);
    let (_, ok) = call(&mut w, KNOWS, "");
    w.give(CUSTOMER, &inside("UPDATE", &ok, true, "u", &small, ""));
    let refused = w.to(CUSTOMER);
    assert!(refused.starts_with("SIP/2.0 422 ") && line(&refused, "Min-SE") == "600", "{refused}");
    assert_eq!(w.core.live_calls(), 1);
    // The callee's side has no such least.
    w.give(V1, &inside("UPDATE", &ok, false, "v", &small, ""));
    assert_eq!(line(&w.to(CUSTOMER), "Session-Expires"), "300");
}

/// Those who answered a call for help end it, and nobody else.
#[test]
fn a_call_for_help_is_not_ended_by_a_session_timer() {
    let mut w = World::new(false, |d| {
        refreshed(d);
        d.emergency_route = vec![d.vendor_trunks[0].id];
    });
    w.give(CUSTOMER, &invite("911", "c1", KNOWS, ""));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, SAYS, ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "k", "", ""));
    w.wait(400_000);
    assert_eq!(w.core.live_calls(), 1);
    assert!(
        w.core.poll_timeout().is_none_or(|next| next > at(w.ms).mono),
        "and nobody looks at it again and again"
    );
}
