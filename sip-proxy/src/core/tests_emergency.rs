//! Emergency calls: recognised whatever the trunk's prefixes are, and never refused, delayed or limited (`ref/integrations` §11,
//! `ref/telecom-domain` §9).

use warp_policy::DirectoryBuilder;

use super::tests_static::addr;
use super::tests_world::*;
use super::types::Command;

/// Vendors 1 and 2 take emergency calls, in this order.
fn route(d: &mut DirectoryBuilder) {
    d.emergency_route = [1, 2].map(warp_model::VendorTrunkId::from_u128).into();
}

/// The INVITE that went to a vendor.
fn invite_to(w: &mut World, who: &str) -> String {
    let all = w.take();
    let found = all.iter().find(|(to, t)| *to == addr(who) && t.starts_with("INVITE "));
    found.unwrap_or_else(|| panic!("no INVITE to {who}: {all:#?}")).1.clone()
}

#[test]
fn the_code_is_recognised_and_sent_whatever_prefixes_the_trunk_has() {
    for strip in ["77#", "9", "91", "911"] {
        for required in [false, true] {
            let mut w = World::new(false, route);
            let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
            rows.trunks[0].dial.strip = vec![strip.to_owned()];
            rows.trunks[0].dial.strip_required = required;
            w.change(rows);
            let prefixed = format!("{}911", strip.replace('#', "%23"));
            for (n, dialled) in ["911", "+911", &prefixed].into_iter().enumerate() {
                w.give(CUSTOMER, &invite(dialled, &format!("c{n}"), "", ""));
                let sent = invite_to(&mut w, V1);
                assert!(sent.starts_with(&format!("INVITE sip:911@{V1} SIP/2.0\r\n")), "{strip}: {sent}");
                assert_eq!(w.core.calls.all.iter().last().unwrap().1.emergency(), Some(911));
            }
            let urn = invite("911", "urn", "", "").replacen(&format!("sip:911@{US}"), "urn:service:sos", 1);
            w.give(CUSTOMER, &urn);
            assert!(
                invite_to(&mut w, V1).starts_with(&format!("INVITE sip:911@{V1} SIP/2.0\r\n")),
                "{strip}"
            );
        }
    }
}

/// A trunk that rests (after Retry-After), is on trial, or has its channels or calls per second used up is tried all the same: those last.
#[test]
fn trunks_that_rest_are_tried_last_and_none_is_left_out() {
    let mut w = World::new(false, |d| {
        route(d);
        d.vendor_trunks[0].limits.channels = Some(0);
        d.vendor_trunks[1].limits.cps = Some(0);
        d.trunks[0].limits.channels = Some(0);
        d.trunks[0].limits.max_duration_s = Some(60);
    });
    let health = w.core.calls.bound.clone().unwrap().1;
    let ix = |n| {
        w.core
            .tx
            .snapshot
            .as_ref()
            .unwrap()
            .directory
            .vendor_trunk_ix(warp_model::VendorTrunkId::from_u128(n))
    };
    // The first rests for 300 s.
    let first = health.of(ix(1).unwrap()).unwrap().clone();
    first.rest(super::tests_static::at(300_000).mono);
    w.give(CUSTOMER, &invite("911", "c1", "", ""));
    let at_v2 = invite_to(&mut w, V2);
    assert!(at_v2.starts_with(&format!("INVITE sip:77%23911@{V2} ")), "{at_v2}");
    w.give(V2, &reply(&at_v2, "503 Service Unavailable", "x", V2, "Retry-After: 300\r\n", ""));
    let at_v1 = invite_to(&mut w, V1);
    // Now both rest; a further call begins with the first of the route.
    w.give(CUSTOMER, &invite("911", "c2", "", ""));
    let again = invite_to(&mut w, V1);
    w.give(V1, &reply(&again, "486 Busy Here", "x", V1, "", ""));
    let last = invite_to(&mut w, V2);
    w.give(V2, &reply(&last, "486 Busy Here", "x", V2, "", ""));
    assert!(w.take().iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 486 ")));
    // Answered, it lasts as long as calls may; no limit of the customer ends it.
    w.give(V1, &reply(&at_v1, "200 OK", "bt", V1, "", ""));
    let ok = w.to(CUSTOMER);
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    w.wait(3_600_000);
    assert!(!w.take().iter().any(|(_, t)| t.starts_with("BYE ")));
    w.give(CUSTOMER, &inside("BYE", &ok, true, "bye", "", ""));
    assert!(w.to(V1).starts_with("BYE "));
    assert_eq!(w.ended.iter().map(|r| r.sip_code).collect::<Vec<_>>(), [486, 200]);
    w.nothing_is_left();
}

/// RFC 5393 §3: a call that has gone round does not begin anew.
#[test]
fn rfc_5393_a_call_for_help_that_loops_is_not_multiplied() {
    let mut w = World::new(false, route);
    w.give(CUSTOMER, &invite("911", "c1", "", ""));
    let at_v1 = invite_to(&mut w, V1);
    w.give(V1, &reply(&at_v1, "483 Too Many Hops", "x", V1, "", ""));
    let sent = w.take();
    assert!(sent.iter().any(|(to, t)| *to == addr(CUSTOMER) && t.starts_with("SIP/2.0 483 ")), "{sent:#?}");
    assert!(!sent.iter().any(|(to, _)| *to == addr(V2)));
}

/// On trial a trunk takes one call in two seconds; calls for help are not counted.
#[test]
fn a_trunk_on_trial_takes_every_call_for_help() {
    let mut w = World::new(false, |d| d.emergency_route = vec![warp_model::VendorTrunkId::from_u128(1)]);
    let health = w.core.calls.bound.clone().unwrap().1;
    let slot = health.of(warp_policy::VendorTrunkIx(0)).unwrap().clone();
    slot.failed(1, super::tests_static::at(0).mono, warp_policy::DownCause::NoResponse);
    for n in 0..3 {
        w.give(CUSTOMER, &invite("911", &format!("c{n}"), "", ""));
        invite_to(&mut w, V1);
    }
}

/// Every trunk of the route, though it is longer than a decision's list and than the attempts of a usual call.
#[test]
fn the_whole_route_is_tried() {
    let mut w = World::new(false, |_| ());
    let mut rows = w.core.tx.snapshot.clone().unwrap().directory.rows().clone();
    for n in 4..=12 {
        let mut trunk = rows.vendor_trunks[0].clone();
        trunk.id = warp_model::VendorTrunkId::from_u128(n);
        trunk.name = format!("vtk {n}");
        trunk.addresses = vec![addr(&format!("203.0.113.{n}:5060"))];
        rows.vendor_trunks.push(trunk);
    }
    rows.emergency_route = (1..=12).map(warp_model::VendorTrunkId::from_u128).collect();
    // Switched off: after those of the decision's list.
    rows.vendor_trunks[0].enabled = false;
    w.change(rows);
    w.give(CUSTOMER, &invite("911", "c1", "", ""));
    for n in [2, 3, 4, 5, 6, 7, 8, 9, 1, 10, 11, 12] {
        let who = format!("203.0.113.{n}:5060");
        let sent = invite_to(&mut w, &who);
        let status = if n % 2 == 0 { "603 Decline" } else { "404 Not Found" };
        w.give(&who, &reply(&sent, status, "x", &who, "", ""));
    }
    assert_eq!((w.ended[0].legs.len(), w.ended[0].sip_code), (12, 603));
    w.nothing_is_left();
}

/// A drain, a journal that cannot be written, and a full table refuse other calls.
#[test]
fn f_upg_01_f_disk_01_neither_drain_nor_journal_nor_a_full_table_refuses_a_call_for_help() {
    let mut w = World::new(false, route);
    let mut n = 0;
    let mut only_help = |w: &mut World| {
        n += 1;
        w.give(CUSTOMER, &invite(NUMBER, &format!("n{n}"), "", ""));
        assert!(w.to(CUSTOMER).starts_with("SIP/2.0 503 "));
        w.give(CUSTOMER, &invite("911", &format!("e{n}"), "", ""));
        invite_to(w, V1)
    };
    w.core.tx.shared.unrecorded(true);
    only_help(&mut w);
    w.core.tx.shared.unrecorded(false);
    let mut config = (**w.core.config()).clone();
    config.transactions = w.core.tx.shared.transactions();
    w.command(Command::Configure(std::sync::Arc::new(config)));
    only_help(&mut w);
    let mut config = (**w.core.config()).clone();
    (config.transactions, config.calls) = (1_000, w.core.calls.all.len());
    w.command(Command::Configure(std::sync::Arc::new(config)));
    only_help(&mut w);
    let mut config = (**w.core.config()).clone();
    config.calls = 1_000;
    w.command(Command::Configure(std::sync::Arc::new(config)));
    w.command(Command::Drain { end_calls: false });
    let at_v = only_help(&mut w);
    // It goes on until the drain's end, as other calls in the air do.
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
    assert_eq!(w.ended.iter().filter(|r| r.internal_code == "draining").count(), 2);
    // Nor had the others begun where there was no room: what is kept free is for calls for help alone.
    assert_eq!(w.core.stats().calls_started, 4 + 2);
    w.command(Command::Drain { end_calls: true });
    assert_eq!(w.core.live_calls(), 0);
}

/// F-LOAD-01: the user of a digest trunk, whose prefixes are not known before he signs in.
#[test]
fn f_load_01_overload_sheds_no_call_for_help_of_a_user_who_has_not_signed_in() {
    let mut w = World::new(false, route);
    w.core.set_overload(super::overload::FULL);
    let home = "198.18.0.5:5060";
    for (n, dialled, status) in
        [(1, "9911", "407"), (2, "911", "407"), (3, NUMBER, "503"), (4, "+14155550911", "503")]
    {
        w.give(home, &invite(dialled, &format!("c{n}"), "", "").replace(CUSTOMER, home));
        let heard = w.to(home);
        assert!(heard.starts_with(&format!("SIP/2.0 {status} ")), "{dialled}: {heard}");
    }
}
