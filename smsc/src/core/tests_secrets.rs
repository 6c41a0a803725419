//! T-SMS-05: secrets that are checked elsewhere. The world plays the threads that check: what is right is what equals the hash.

use std::time::Duration;

use warp_model::Secret;
use warp_smpp::pdu::{self, Body};
use warp_smpp::{Command, Status};

use super::Key;
use super::jasmin::{Credentials, JasminReply, JasminRequest, What};
use super::tests_world::{World, config};

fn world() -> World {
    let mut config = config();
    config.accounts[0].secret = Some(Secret::new("bar".to_owned()));
    World::new(config)
}

fn bind(w: &mut World, key: Key, id: &str, password: &str) {
    let bind = pdu::Bind {
        system_id: id.as_bytes(),
        password: password.as_bytes(),
        interface_version: 0x34,
        ..pdu::Bind::default()
    };
    w.ask(key, Command::BIND_TRANSCEIVER, &Body::Bind(bind));
}

/// Checks what waits; gives how much that was.
fn check(w: &mut World) -> usize {
    let mut count = 0;
    while let Some(check) = w.core.poll_check() {
        count += 1;
        w.core.checked(check.token, check.hash.reveal().as_bytes() == check.password.reveal(), w.now);
    }
    w.turn();
    count
}

fn statuses(w: &mut World, key: Key) -> Vec<Status> {
    w.got(key)
        .into_iter()
        .filter(|(h, _)| h.command == Command::BIND_TRANSCEIVER.response())
        .map(|(h, _)| h.status)
        .collect()
}

#[test]
fn t_sms_05_a_bind_waits_for_the_check_and_nobody_else_does() {
    let mut w = world();
    let foo = w.connect([192, 0, 2, 1]);
    bind(&mut w, foo, "foo", "bar");
    assert!(statuses(&mut w, foo).is_empty(), "not answered before it is checked");
    let slow = w.customer("slow");
    assert!(
        w.waiting() == 0 && statuses(&mut w, slow).is_empty(),
        "whose password is plain is let in meanwhile"
    );
    bind(&mut w, foo, "foo", "bar");
    assert_eq!(statuses(&mut w, foo), [Status::RBINDFAIL], "one at a time");
    assert_eq!(check(&mut w), 1);
    assert_eq!(statuses(&mut w, foo), [Status::ROK]);
    // Who left meanwhile is not bound.
    let gone = w.connect([192, 0, 2, 1]);
    bind(&mut w, gone, "foo", "nar");
    w.break_link(gone);
    assert_eq!(check(&mut w), 1);
}

#[test]
fn t_sms_05_an_unknown_name_is_checked_as_long_as_a_known_one_and_both_have_one_answer() {
    let mut w = world();
    for (name, password) in [("foo", "wrong"), ("nobody", "wrong"), ("nobody", "bar")] {
        let key = w.connect([192, 0, 2, 1]);
        bind(&mut w, key, name, password);
        assert!(statuses(&mut w, key).is_empty());
        assert_eq!(check(&mut w), 1, "{name}");
        assert_eq!(statuses(&mut w, key), [Status::RINVPASWD], "{name} {password}");
    }
    // Guesses count: then it is not even checked.
    let mut last = 0;
    for _ in 0..6 {
        let key = w.connect([192, 0, 2, 1]);
        bind(&mut w, key, "foo", "wrong");
        last = check(&mut w);
    }
    assert_eq!(last, 0);
    // The right one too, from a source that has never bound; after the wait it is let in.
    let key = w.connect([192, 0, 2, 7]);
    bind(&mut w, key, "foo", "bar");
    assert_eq!(check(&mut w), 0);
    w.pass(Duration::from_secs(130));
    let key = w.connect([192, 0, 2, 7]);
    bind(&mut w, key, "foo", "bar");
    assert_eq!(check(&mut w), 1);
    assert_eq!(statuses(&mut w, key), [Status::ROK]);
}

fn ask(w: &mut World, token: u64, password: &str) {
    let who = Credentials { user: "foo".to_owned(), password: Secret::new(password.to_owned()) };
    w.core.ask(token, [192, 0, 2, 9].into(), &JasminRequest { who, what: What::Balance }, w.now);
}

#[test]
fn a_right_secret_is_remembered_for_a_minute_and_a_wrong_one_is_not() {
    let mut w = world();
    for (token, password, checks) in
        [(1, "bar", 1), (2, "bar", 0), (3, "baz", 1), (4, "baz", 1), (5, "bar", 0)]
    {
        ask(&mut w, token, password);
        assert_eq!(check(&mut w), checks, "{token}");
        let (answered, answer) = w.core.poll_answer().expect("an answer");
        assert_eq!((answered, answer == JasminReply::Balance), (token, password == "bar"));
    }
    w.pass(Duration::from_secs(61));
    ask(&mut w, 6, "bar");
    assert_eq!(check(&mut w), 1, "the minute is over");
}

#[test]
fn checks_that_wait_are_bounded() {
    let mut w = world();
    for token in 0..65 {
        ask(&mut w, token, "bar");
    }
    let (token, answer) = w.core.poll_answer().expect("an answer");
    assert_eq!((token, answer.write(super::jasmin::Form::Quoted).0), (64, 503));
    let key = w.connect([192, 0, 2, 1]);
    bind(&mut w, key, "foo", "bar");
    assert_eq!(statuses(&mut w, key), [Status::RBINDFAIL]);
    assert_eq!(check(&mut w), 64);
}
