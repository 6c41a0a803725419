//! Other settings while it runs: what stays is not touched, what is new works at once, what is gone is closed and loses nothing.

use std::time::Duration;

use warp_policy::messaging::published::Standing;
use warp_policy::messaging::{Filter, Pattern, Route};
use warp_smpp::pdu::{Address, Body, Message};
use warp_smpp::{Command, Status};

use super::tests_world::{World, config, submit, text_of, vendor_at};
use crate::config::{Account, Config, Vendor};

fn wanted(accounts: &[&str], vendors: &[(&str, u8)]) -> Config {
    Config {
        accounts: accounts.iter().map(|name| Account::new(name, "bar")).collect(),
        vendors: vendors
            .iter()
            .map(|(name, n)| Vendor::new(name, name, "sim", vec![vendor_at(*n)]))
            .collect(),
        mt_default: Some(0),
        ..Config::new("WARP")
    }
}

fn change(w: &mut World, wanted: Config) {
    w.core.configure(wanted, w.now).expect("they can be carried out");
    w.turn();
}

#[test]
fn an_account_that_is_new_binds_at_once_and_one_that_is_gone_is_unbound() {
    let mut w = World::new(config());
    let vendor = w.vendor(0);
    let (foo, slow) = (w.customer("foo"), w.customer("slow"));
    // The order of accounts is another one: names count.
    change(&mut w, wanted(&["new", "foo"], &[("SIM", 1)]));
    let new = w.customer("new");
    assert!(w.got(foo).is_empty(), "a bind that did not change hears nothing");
    let unbound: Vec<Command> = w.got(slow).iter().map(|(h, _)| h.command).collect();
    assert_eq!(unbound, [Command::UNBIND]);
    let again = w.connect([192, 0, 2, 9]);
    assert_eq!(w.bind_status(again, Command::BIND_TRANSCEIVER, "slow", "bar"), Status::RINVPASWD);
    assert_eq!(w.vendor_links.len(), 1, "the vendor's bind stands");
    // Who sent it is still who hears of it.
    w.submit(foo, "of foo");
    w.submit(new, "of new");
    let got = w.submitted(vendor);
    assert_eq!(got.iter().map(text_of).collect::<Vec<_>>(), ["of foo", "of new"]);
    for (sent, id) in got.iter().zip([b"a1", b"a2"]) {
        w.reply(vendor, sent, Status::ROK, id);
    }
    w.receipt(vendor, "a1", "DELIVRD");
    assert_eq!((w.deliveries(foo).len(), w.deliveries(new).len()), (1, 0));
}

#[test]
fn another_password_ends_the_binds_of_the_old_one() {
    let mut w = World::new(config());
    let foo = w.customer("foo");
    let mut other = wanted(&["slow"], &[("SIM", 1)]);
    other.accounts.push(Account::new("foo", "another"));
    change(&mut w, other);
    assert_eq!(w.got(foo).iter().map(|(h, _)| h.command).collect::<Vec<_>>(), [Command::UNBIND]);
    let key = w.connect([192, 0, 2, 9]);
    assert_eq!(w.bind_status(key, Command::BIND_TRANSCEIVER, "foo", "bar"), Status::RINVPASWD);
    let key = w.connect([192, 0, 2, 10]);
    assert_eq!(w.bind_status(key, Command::BIND_TRANSCEIVER, "foo", "another"), Status::ROK);
}

#[test]
fn a_vendor_that_is_paused_keeps_its_messages_and_one_that_is_closed_gives_them_on() {
    let both = |first: Standing| {
        let mut both = wanted(&["foo"], &[("SIM", 1), ("TWO", 2)]);
        both.vendors[0].standing = first;
        let pattern = Filter::Destination(Pattern::new("49").expect("a pattern"));
        let route = Route::of(10, warp_policy::messaging::Kind::Failover, vec![0, 1], vec![pattern]);
        (both.mt, both.mt_default) = (vec![route], None);
        both
    };
    let mut w = World::new(both(Standing::Active));
    let (sim, two) = (w.vendor(0), w.vendor(1));
    let foo = w.customer("foo");
    change(&mut w, both(Standing::Paused));
    w.submit(foo, "waits");
    assert!(w.submitted(sim).is_empty() && w.submitted(two).is_empty());
    assert_eq!(w.core.queues()[0].ready, 1);
    change(&mut w, both(Standing::Active));
    let got = w.submitted(sim);
    assert_eq!(got.iter().map(text_of).collect::<Vec<_>>(), ["waits"]);
    w.reply(sim, &got[0], Status::ROK, b"a1");
    change(&mut w, both(Standing::Paused));
    w.submit(foo, "goes on");
    change(&mut w, both(Standing::Closed));
    assert_eq!(w.got(sim).iter().map(|(h, _)| h.command).collect::<Vec<_>>(), [Command::UNBIND]);
    assert_eq!(w.submitted(two).iter().map(text_of).collect::<Vec<_>>(), ["goes on"]);
    // It comes back, and its receipt of before is known.
    change(&mut w, both(Standing::Active));
    let at = w.vendor_links.iter().rposition(|(_, at)| *at == vendor_at(1)).expect("a new connection");
    let sim = w.vendor(at);
    w.receipt(sim, "a1", "DELIVRD");
    assert_eq!(w.deliveries(foo).len(), 1);
}

#[test]
fn a_vendor_at_another_address_is_bound_anew_and_routes_that_contradict_change_nothing() {
    let mut w = World::new(config());
    w.vendor(0);
    let foo = w.customer("foo");
    change(&mut w, wanted(&["foo"], &[("SIM", 7)]));
    let at = w.vendor_links.iter().position(|(_, at)| *at == vendor_at(7)).expect("the other address");
    let sim = w.vendor(at);
    w.submit(foo, "there");
    assert_eq!(w.submitted(sim).len(), 1);
    let mut wrong = wanted(&["foo", "new"], &[("SIM", 7)]);
    wrong.mt = vec![Route::to(10, 0, Vec::new())];
    assert!(w.core.configure(wrong, w.now).is_err(), "a route without a filter hides those below it");
    let key = w.connect([192, 0, 2, 9]);
    assert_eq!(w.bind_status(key, Command::BIND_TRANSCEIVER, "new", "bar"), Status::RINVPASWD);
    w.submit(foo, "still");
    assert_eq!(w.submitted(sim).len(), 1);
}

/// Names of records are those of accounts, not of who binds: an account that binds by another name keeps its messages.
#[test]
fn an_account_that_is_renamed_keeps_its_messages_over_a_restart() {
    let mut first = config();
    first.accounts[0].name = "sac_1".to_owned();
    let mut w = World::new(first.clone());
    let vendor = w.vendor(0);
    let foo = w.customer("foo");
    w.submit(foo, "x");
    let got = w.submitted(vendor);
    w.reply(vendor, &got[0], Status::ROK, b"a1");
    first.accounts[0].system_id = "renamed".to_owned();
    w.config = std::sync::Arc::new(first);
    w.restart(false);
    let vendor = w.vendor(0);
    w.receipt(vendor, "a1", "DELIVRD");
    let renamed = w.customer("renamed");
    w.pass(Duration::from_millis(200));
    assert_eq!(w.deliveries(renamed).len(), 1);
    let to_it = Message { destination: Address { ton: 1, npi: 1, text: b"1" }, ..submit(b"mo") };
    w.ask(vendor, Command::DELIVER_SM, &Body::Message(to_it));
}
