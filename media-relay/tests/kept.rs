//! Ports between two calls: sockets stay bound while they rest, and nothing of one call reaches the next.

mod common;

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Instant;

use common::{DEADLINE, Phone, World, answer, both_ways, offer, rtp};
use warp_ng::{Command, Delete};

/// A relay with so many pairs of ports at `first`, and phones that have called over all of them.
fn used(first: u16, pairs: u16, threads: u16) -> (World, Phone, Phone) {
    let world = World::new(|c| {
        c.ports = first..=first + 2 * pairs - 1;
        c.threads = threads;
    });
    let (mut a, mut b) = phones();
    for i in 0..pairs {
        talk(&world, &format!("before-{i}"), &mut a, &mut b);
    }
    (world, a, b)
}

fn phones() -> (Phone, Phone) {
    (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2))
}

/// Asks until ports are free: a shard says a moment after the `delete` that a pair rests.
fn call(world: &World, id: &str, a: &mut Phone, b: &mut Phone) {
    let end = Instant::now() + DEADLINE;
    while !world.relay.control().ask(Command::Offer(offer(id, &a.sdp()))).is_ok() {
        assert!(Instant::now() < end, "no ports");
    }
    world.call(id, a, b);
}

fn talk(world: &World, id: &str, a: &mut Phone, b: &mut Phone) {
    call(world, id, a, b);
    both_ways(a, b);
    assert!(world.delete(id).is_ok());
}

#[test]
fn t_rtp_09_nothing_of_a_call_reaches_the_next_on_the_same_ports() {
    // Two pairs: each call has them all. The same phones, so that only the time tells the calls apart.
    for threads in [1, 2] {
        let (world, mut a, mut b) = used(19_400 + 8 * threads, 2, threads);
        for i in 0..20 {
            let id = format!("next-{i}");
            let port = a.relay.clone().unwrap().rtp;
            for _ in 0..5 {
                let late = a.next_rtp();
                let _ = a.rtp.send_to(&late, port);
            }
            call(&world, &id, &mut a, &mut b);
            both_ways(&mut a, &mut b);
            assert!(a.is_quiet() && b.is_quiet(), "{threads}, {i}");
            assert!(world.delete(&id).is_ok());
        }
        assert_eq!(world.metric("warp_media_panics_total"), 0.0);
    }
}

#[test]
fn media_that_comes_before_the_answer_is_heard_after_it() {
    let (world, mut a, mut b) = used(19_432, 2, 1);
    for i in 0..20 {
        let id = format!("early-{i}");
        let end = Instant::now() + DEADLINE;
        b.relay = loop {
            match world.relay.control().ask(Command::Offer(offer(&id, &a.sdp()))).is_ok() {
                true => break Some(world.sdp(Command::Offer(offer(&id, &a.sdp())))),
                false => assert!(Instant::now() < end, "no ports"),
            }
        };
        let early = b.send_rtp();
        a.relay = Some(world.sdp(Command::Answer(answer(&id, &b.sdp()))));
        assert_eq!(a.recv_rtp(), early);
        both_ways(&mut a, &mut b);
        assert!(world.delete(&id).is_ok());
    }
}

#[test]
fn what_a_shard_is_told_without_a_wake_up_counts_for_the_next_packet() {
    // So many pairs that nobody waits for one: neither a rule for a kept port nor the end of a call wakes the shard up.
    let (world, mut a, mut b) = used(19_440, 140, 1);
    for i in 0..50 {
        let id = format!("told-{i}");
        talk(&world, &id, &mut a, &mut b);
        for _ in 0..3 {
            a.send_rtp();
            b.send_rtp();
        }
        // The shard has read what was sent before this one, and nothing has passed.
        talk(&world, &format!("{id}-next"), &mut a, &mut b);
        assert!(a.is_quiet() && b.is_quiet(), "{i}");
    }
}

#[test]
fn a_sender_that_goes_on_after_the_call_is_refused_by_the_kernel() {
    let (world, a, _) = used(19_424, 2, 1);
    let port = a.relay.clone().unwrap().rtp;
    assert!(UdpSocket::bind(port).is_err(), "its socket is kept");
    a.rtp.connect(port).unwrap();
    let (end, mut sent) = (Instant::now() + DEADLINE, 0);
    while a.rtp.send(&rtp(1, sent)).map_err(|e| e.kind()) != Err(ErrorKind::ConnectionRefused) {
        assert!(Instant::now() < end, "never refused");
        sent = sent.wrapping_add(1);
        std::thread::yield_now();
    }
    assert!(sent >= 64, "a few late packets of a call are no reason: {sent}");
    // The port is closed, and the next call has it all the same.
    let (mut a, mut b) = phones();
    call(&world, "after", &mut a, &mut b);
    both_ways(&mut a, &mut b);
    assert!(world.delete("after").is_ok());
}

#[test]
fn an_offer_that_is_never_answered_leaves_its_ports_as_they_were() {
    let (world, mut a, mut b) = used(19_428, 2, 1);
    for i in 0..20 {
        let id = format!("unanswered-{i}");
        let end = Instant::now() + DEADLINE;
        let control = world.relay.control();
        while !control.ask(Command::Offer(offer(&id, &a.sdp()))).is_ok() {
            assert!(Instant::now() < end, "no ports");
        }
        let to_b = world.sdp(Command::Offer(offer(&id, &a.sdp())));
        if i % 2 == 0 {
            // Something came for it, and nobody is going to read it.
            b.relay = Some(to_b);
            b.send_rtp();
        }
        assert!(control.ask(Command::Delete(Delete::call(id.as_str()))).is_ok());
        talk(&world, &format!("{id}-next"), &mut a, &mut b);
        assert!(a.is_quiet() && b.is_quiet(), "{i}");
    }
}
