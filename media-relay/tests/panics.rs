//! A panic in the middle of a command costs that command only: what was lent goes back, and the book goes on (G-1).

mod desk;

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use desk::*;
use warp_media_relay::core::Output;
use warp_media_relay::core::book::{Book, BookConfig};
use warp_media_relay::core::ports::{PortPair, PortPool, Ports};
use warp_model::Mono;
use warp_ng::{Command, Delete, Reply};

/// A supply of ports that panics at a call of its own choice.
struct Bomb {
    pool: PortPool,
    /// Calls until it goes off; below 0 = never.
    fuse: Arc<AtomicI64>,
}

impl Bomb {
    fn tick(&self) {
        if self.fuse.fetch_sub(1, Relaxed) == 0 {
            panic!("meant");
        }
    }
}

impl Ports for Bomb {
    fn take(&mut self, ip: u8, now: Mono) -> Option<PortPair> {
        self.tick();
        self.pool.take(ip, now)
    }
    fn give_back(&mut self, pair: PortPair, now: Mono) {
        self.tick();
        self.pool.give_back(pair, now);
    }
    fn ips(&self) -> &[IpAddr] {
        self.tick();
        self.pool.ips()
    }
    fn has(&self, port: u16) -> bool {
        self.tick();
        self.pool.has(port)
    }
    fn usage(&self, ip: u8) -> (usize, usize) {
        self.pool.usage(ip)
    }
    fn last(&self, ip: u8) -> u16 {
        self.pool.last(ip)
    }
    fn resting(&self, ip: u8, now: Mono) -> usize {
        self.pool.resting(ip, now)
    }
    fn given_early(&self) -> u64 {
        self.pool.given_early()
    }
}

const VIDEO: &str = "m=video 4100 RTP/AVP 99\r\n";

/// The steps of a call with branches, a re-offer that adds a line, an answer that refuses one, and its end.
fn steps() -> Vec<(u64, Option<Command>)> {
    let branch = |mut c: warp_ng::SdpCommand, b: &str| {
        c.via_branch = Some(b.into());
        c
    };
    let first = |b: &str| Command::Offer(branch(offer("c", "f", sdp("198.51.100.1", 4000, "")), b));
    vec![
        (0, Some(first("b1"))),
        (0, Some(first("b2"))),
        (1, Some(Command::Answer(branch(answer("c", "f", "t", sdp("192.0.2.2", 5000, "")), "b2")))),
        (2, Some(Command::Offer(answer("c", "f", "t", sdp("198.51.100.1", 4000, VIDEO))))),
        (3, Some(Command::Answer(answer("c", "f", "t", sdp("192.0.2.2", 5000, "m=video 0 RTP/AVP 99\r\n"))))),
        (4, Some(Command::Delete(Delete { via_branch: Some("b1".into()), ..Delete::call("c") }))),
        (5, Some(Command::Delete(Delete { delete_delay: Some(3), ..Delete::call("c") }))),
        (8, None),
        (9, Some(Command::Offer(offer("d", "f", sdp("198.51.100.1", 4000, ""))))),
        (10, Some(Command::Answer(answer("d", "f", "t", sdp("192.0.2.2", 5000, ""))))),
        (80, None),
    ]
}

#[test]
fn g_1_a_panic_within_a_command_gives_back_what_was_lent() {
    let mut went_off = 0;
    for at_call in 0.. {
        let fuse = Arc::new(AtomicI64::new(-1));
        let pool = PortPool::new(&[ip("203.0.113.9"), ip("2001:db8::9")], 30_000..=30_039, 5).unwrap();
        let mut book = Book::new(BookConfig::default(), Box::new(Bomb { pool, fuse: Arc::clone(&fuse) }));
        fuse.store(at_call, Relaxed);
        let mut panicked = false;
        let mut open = std::collections::BTreeSet::new();
        for (s, command) in steps() {
            let done = catch_unwind(AssertUnwindSafe(|| match command {
                Some(command) => drop(book.handle_command(command, None, at(s))),
                None => book.handle_timeout(at(s)),
            }));
            panicked |= done.is_err();
            while let Some(output) = book.poll_output() {
                match output {
                    Output::Install { rule, .. } => drop(open.insert(rule.local)),
                    Output::Close { port, .. } => drop(open.remove(&port)),
                    _ => {}
                }
            }
            let used = book.ports().usage(0).0 + book.ports().usage(1).0;
            assert_eq!(book.pairs_used(), used, "call {at_call} of the ports, second {s}");
            assert!(
                open.len() <= 2 * used,
                "call {at_call} of the ports, second {s}: a rule outlived its port"
            );
        }
        let is_over = fuse.load(Relaxed) >= 0;
        fuse.store(-1, Relaxed);
        // Whatever is left can be ended as ever.
        for call in ["c", "d"] {
            book.handle_command(Command::Delete(Delete::call(call)), None, at(100));
        }
        book.handle_timeout(at(200));
        assert_eq!((book.calls(), book.pairs_used()), (0, 0), "call {at_call} of the ports");
        assert_eq!((book.ports().usage(0).0, book.poll_timeout()), (0, None), "call {at_call} of the ports");
        went_off += usize::from(panicked);
        if is_over {
            break;
        }
    }
    assert!(went_off > 30, "only {went_off} places were tried");
}

#[test]
fn g_1_a_call_in_progress_goes_on_after_a_panic_and_what_panics_is_not_tried_again_at_once() {
    let fuse = Arc::new(AtomicI64::new(-1));
    let pool = PortPool::new(&[ip("203.0.113.9")], 30_000..=30_039, 5).unwrap();
    let mut book = Book::new(BookConfig::default(), Box::new(Bomb { pool, fuse: Arc::clone(&fuse) }));
    text(run(&mut book, Command::Offer(offer("c", "f", sdp("198.51.100.1", 4000, ""))), at(0)));
    let ok = || Command::Answer(answer("c", "f", "t", sdp("192.0.2.2", 5000, "")));
    let a = port(&text(run(&mut book, ok(), at(1))));
    let mut rules = Rules::default();
    rules.drain(&mut book);
    // The re-offer panics once; the next is answered as if nothing had been.
    let moved = || Command::Offer(answer("c", "f", "t", sdp("198.51.100.1", 4200, "")));
    fuse.store(1, Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| run(&mut book, moved(), at(2)))).is_err());
    rules.drain(&mut book);
    assert_eq!(rules.at(a).source, warp_media::SourcePolicy::Exact(sock("198.51.100.1:4000")));
    text(run(&mut book, moved(), at(3)));
    text(run(&mut book, ok(), at(3)));
    rules.drain(&mut book);
    assert_eq!(rules.at(a).source, warp_media::SourcePolicy::Exact(sock("198.51.100.1:4200")));
    // Its end panics: it is tried again, a second later.
    fuse.store(0, Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| book.handle_timeout(at(70)))).is_err());
    assert_eq!(book.poll_timeout(), Some(at(71).mono));
    book.handle_timeout(at(71));
    assert_eq!((book.calls(), book.pairs_used()), (0, 0));
    assert!(matches!(run(&mut book, Command::Delete(Delete::call("c")), at(72)), Reply::Stats(_)));
}
